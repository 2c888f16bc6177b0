/* An interceptor that refuses values that are not UTF-8 text, or longer than `bytes_max` (config; 65536 by default).
 *
 * Tombstones and records on their way to consumers pass.
 */
#include "interceptor_typed.h"

#include <stdio.h>
#include <stdlib.h>

typedef exports_tidemill_plugin_typed_interceptor_attachment_t attachment;
typedef exports_tidemill_plugin_typed_interceptor_origin_t origin;
typedef exports_tidemill_plugin_typed_interceptor_list_passing_record_t records;
typedef exports_tidemill_plugin_typed_interceptor_passing_record_t record;
typedef exports_tidemill_plugin_typed_interceptor_list_verdict_t verdicts;
typedef exports_tidemill_plugin_typed_interceptor_verdict_t verdict;
typedef exports_tidemill_plugin_typed_interceptor_list_acknowledgement_t acknowledgements;
typedef interceptor_typed_string_t string;

static size_t bytes_max = 65536;

/* How many bytes the UTF-8 sequence at `at` has, at most `left`; 0 if it is none (RFC 3629, section 4). */
static size_t sequence_bytes(const uint8_t *at, size_t left) {
    uint8_t first = at[0];
    if (first < 0x80) {
        return 1;
    }
    size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    if (first < 0xc2 || first > 0xf4 || left < length) {
        return 0;
    }
    /* The second byte's range shuts out forms that are too long, surrogates, and what is behind the last character. */
    uint8_t second_min = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
    uint8_t second_max = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
    if (at[1] < second_min || at[1] > second_max) {
        return 0;
    }
    for (size_t index = 2; index < length; index++) {
        if ((at[index] & 0xc0) != 0x80) {
            return 0;
        }
    }
    return length;
}

static bool is_text(const uint8_t *bytes, size_t length) {
    for (size_t at = 0; at < length;) {
        size_t sequence = sequence_bytes(bytes + at, length - at);
        if (sequence == 0) {
            return false;
        }
        at += sequence;
    }
    return true;
}

static verdict rejected(tidemill_plugin_interception_rejection_code_t code, const char *message) {
    verdict rejected = {.tag = EXPORTS_TIDEMILL_PLUGIN_TYPED_INTERCEPTOR_VERDICT_REJECT};
    rejected.val.reject.code = code;
    interceptor_typed_string_dup(&rejected.val.reject.message, message);
    return rejected;
}

static verdict judge(const record *record) {
    if (!record->value.is_some) {
        return (verdict){.tag = EXPORTS_TIDEMILL_PLUGIN_TYPED_INTERCEPTOR_VERDICT_KEEP};
    }
    if (record->value.val.len > bytes_max) {
        char message[64];
        snprintf(message, sizeof message, "a value of %zu bytes is longer than %zu", record->value.val.len, bytes_max);
        return rejected(TIDEMILL_PLUGIN_INTERCEPTION_REJECTION_CODE_POLICY_VIOLATION, message);
    }
    if (!is_text(record->value.val.ptr, record->value.val.len)) {
        return rejected(TIDEMILL_PLUGIN_INTERCEPTION_REJECTION_CODE_INVALID_RECORD, "the value is not UTF-8");
    }
    return (verdict){.tag = EXPORTS_TIDEMILL_PLUGIN_TYPED_INTERCEPTOR_VERDICT_KEEP};
}

bool exports_tidemill_plugin_typed_interceptor_configure(attachment *attachment, string *error) {
    exports_tidemill_plugin_typed_interceptor_attachment_free(attachment);
    string key, text;
    interceptor_typed_string_set(&key, "bytes_max");
    if (!tidemill_plugin_config_get(&key, &text)) {
        return true;
    }
    bool is_number = text.len > 0 && text.len <= 9;
    bytes_max = 0;
    for (size_t at = 0; at < text.len && is_number; at++) {
        is_number = text.ptr[at] >= '0' && text.ptr[at] <= '9';
        bytes_max = bytes_max * 10 + (text.ptr[at] - '0');
    }
    interceptor_typed_string_free(&text);
    if (!is_number) {
        interceptor_typed_string_dup(error, "the config key `bytes_max` is no number of up to nine digits");
    }
    return is_number;
}

/* A verdict for each record; `keep` is what memory is when it is new. */
static void make_room(verdicts *verdicts, size_t length) {
    /* An empty list has no memory: the bindings would not free it. */
    verdicts->ptr = length > 0 ? calloc(length, sizeof(verdict)) : NULL;
    verdicts->len = length;
    if (verdicts->ptr == NULL && length > 0) {
        abort();
    }
}

bool exports_tidemill_plugin_typed_interceptor_on_send(origin *origin, records *batch, verdicts *verdicts, string *error) {
    (void)error;
    make_room(verdicts, batch->len);
    for (size_t index = 0; index < batch->len; index++) {
        verdicts->ptr[index] = judge(&batch->ptr[index]);
    }
    exports_tidemill_plugin_typed_interceptor_origin_free(origin);
    exports_tidemill_plugin_typed_interceptor_list_passing_record_free(batch);
    return true;
}

bool exports_tidemill_plugin_typed_interceptor_on_consume(origin *origin, records *batch, verdicts *verdicts, string *error) {
    (void)error;
    make_room(verdicts, batch->len);
    exports_tidemill_plugin_typed_interceptor_origin_free(origin);
    exports_tidemill_plugin_typed_interceptor_list_passing_record_free(batch);
    return true;
}

void exports_tidemill_plugin_typed_interceptor_on_acknowledgement(acknowledgements *told) {
    exports_tidemill_plugin_typed_interceptor_list_acknowledgement_free(told);
}

void exports_tidemill_plugin_typed_interceptor_close(void) {}
