/* Runs the interceptor natively, with a broker in memory. The bindings' own functions that free things are the real ones, so
 * that the address sanitizer sees what the interceptor forgets. */
#include "interceptor_typed.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef exports_tidemill_plugin_typed_interceptor_list_passing_record_t records;
typedef exports_tidemill_plugin_typed_interceptor_list_verdict_t verdicts;

enum {
    KEEP = EXPORTS_TIDEMILL_PLUGIN_TYPED_INTERCEPTOR_VERDICT_KEEP,
    REJECT = EXPORTS_TIDEMILL_PLUGIN_TYPED_INTERCEPTOR_VERDICT_REJECT,
    INVALID = TIDEMILL_PLUGIN_INTERCEPTION_REJECTION_CODE_INVALID_RECORD,
    POLICY = TIDEMILL_PLUGIN_INTERCEPTION_REJECTION_CODE_POLICY_VIOLATION,
};

/* The broker: one config value. */
static const char *bytes_max;

bool tidemill_plugin_config_get(interceptor_typed_string_t *key, interceptor_typed_string_t *ret) {
    assert(key->len == 9 && memcmp(key->ptr, "bytes_max", 9) == 0);
    if (bytes_max != NULL) {
        interceptor_typed_string_dup(ret, bytes_max);
    }
    return bytes_max != NULL;
}

static bool configure(const char *value, interceptor_typed_string_t *error) {
    bytes_max = value;
    exports_tidemill_plugin_typed_interceptor_attachment_t attachment;
    interceptor_typed_string_dup(&attachment.name, "text-only");
    return exports_tidemill_plugin_typed_interceptor_configure(&attachment, error);
}

typedef bool hook(exports_tidemill_plugin_typed_interceptor_origin_t *, records *, verdicts *, interceptor_typed_string_t *);

/* The verdict on one value, with the rejection's code. NULL is a tombstone. */
static int judged(hook *hook, const char *value, uint8_t *code) {
    records batch = {calloc(1, sizeof *batch.ptr), 1};
    if (value != NULL) {
        interceptor_typed_string_t copy;
        interceptor_typed_string_dup(&copy, value);
        batch.ptr[0].value = (interceptor_typed_option_list_u8_t){true, {copy.ptr, copy.len}};
    }
    exports_tidemill_plugin_typed_interceptor_origin_t origin = {0};
    verdicts given;
    interceptor_typed_string_t error;
    assert(hook(&origin, &batch, &given, &error) && given.len == 1);
    int tag = given.ptr[0].tag;
    *code = tag == REJECT ? given.ptr[0].val.reject.code : UINT8_MAX;
    exports_tidemill_plugin_typed_interceptor_list_verdict_free(&given);
    return tag;
}

static int sent(const char *value, uint8_t *code) {
    return judged(exports_tidemill_plugin_typed_interceptor_on_send, value, code);
}

static void texts_and_tombstones_pass(void) {
    const char *const texts[] = {"", "plain", "größe", "\xed\x9f\xbf", "\xee\x80\x80", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf", NULL};
    uint8_t code;
    for (size_t index = 0; index < sizeof texts / sizeof *texts; index++) {
        assert(sent(texts[index], &code) == KEEP);
    }
}

static void what_is_no_utf8_is_refused(void) {
    /* Cut short, a lone continuation, too long a form, surrogates, behind the last character, no first byte at all. */
    const char *const others[] = {
        "a\xc3", "\xe2\x82", "\xf0\x9f\x8c", "\x80", "\xc0\x80", "\xc1\xbf", "\xe0\x9f\xbf", "\xf0\x8f\xbf\xbf",
        "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff", "\xe2\x28\xa1", "\xe2\x82\x28", "\xf0\x90\x80\x28",
    };
    uint8_t code;
    for (size_t index = 0; index < sizeof others / sizeof *others; index++) {
        assert(sent(others[index], &code) == REJECT && code == INVALID);
    }
}

static void long_values_are_refused(void) {
    interceptor_typed_string_t error;
    uint8_t code;
    assert(configure("5", &error));
    assert(sent("12345", &code) == KEEP);
    assert(sent("123456", &code) == REJECT && code == POLICY);
    assert(configure(NULL, &error));
}

static void what_is_consumed_passes(void) {
    uint8_t code;
    assert(judged(exports_tidemill_plugin_typed_interceptor_on_consume, "\xff", &code) == KEEP);
}

static void a_limit_that_is_no_number_is_refused(void) {
    const char *const values[] = {"", "many", "-1", "12x", "1234567890"};
    for (size_t index = 0; index < sizeof values / sizeof *values; index++) {
        interceptor_typed_string_t error;
        assert(!configure(values[index], &error));
        interceptor_typed_string_free(&error);
    }
}

int main(void) {
    texts_and_tombstones_pass();
    what_is_no_utf8_is_refused();
    long_values_are_refused();
    what_is_consumed_passes();
    a_limit_that_is_no_number_is_refused();
    puts("text_only: 5 passed, 0 failed");
}
