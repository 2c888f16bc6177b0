/* The conformance list's interceptor in C: see ../README.md. */
#include "interceptor_typed.h"

#include "conformance.h"

#include <inttypes.h>

typedef exports_tidemill_plugin_typed_interceptor_attachment_t attachment;
typedef exports_tidemill_plugin_typed_interceptor_origin_t origin;
typedef exports_tidemill_plugin_typed_interceptor_list_passing_record_t records;
typedef exports_tidemill_plugin_typed_interceptor_passing_record_t record;
typedef exports_tidemill_plugin_typed_interceptor_list_verdict_t verdicts;
typedef exports_tidemill_plugin_typed_interceptor_verdict_t verdict;
typedef exports_tidemill_plugin_typed_interceptor_list_acknowledgement_t acknowledgements;
typedef exports_tidemill_plugin_typed_interceptor_acknowledgement_t acknowledgement;
typedef interceptor_typed_string_t string;
typedef interceptor_typed_option_list_u8_t optional_bytes;

/* What the bindings only read. */
static string string_of(text text) {
    return (string){(uint8_t *)text.at, text.length};
}

static text text_of(string string) {
    return (text){string.ptr, string.len};
}

static built copied(text text) {
    built copy = {0};
    add_text(&copy, text);
    return copy;
}

static string owned(built built) {
    return (string){built.at, built.length};
}

static void write_log(uint8_t level, text words) {
    string line = string_of(words);
    tidemill_plugin_log_write(level, &line);
}

static void log_built(built line) {
    write_log(TIDEMILL_PLUGIN_LOG_LEVEL_INFO, (text){line.at, line.length});
    free(line.at);
}

/* The contract has no words for a trap: the last line at level error stands for them. */
static _Noreturn void trap(text words) {
    write_log(TIDEMILL_PLUGIN_LOG_LEVEL_ERROR, words);
    abort();
}

bool exports_tidemill_plugin_typed_interceptor_configure(attachment *attachment, string *error) {
    string key = string_of(literal("init")), value = {0};
    tidemill_plugin_config_get(&key, &value);
    text words = text_of(value);
    text verb = next_word(&words);
    bool is_refused = is(verb, "refuse");
    if (is_refused) {
        *error = owned(copied(words));
    } else if (is(verb, "trap")) {
        trap(words);
    } else if (is(verb, "loop")) {
        spin();
    } else {
        built line = copied(literal("started "));
        add_text(&line, text_of(attachment->name));
        log_built(line);
    }
    interceptor_typed_string_free(&value);
    exports_tidemill_plugin_typed_interceptor_attachment_free(attachment);
    return !is_refused;
}

/* Another content in a record's place. Key and headers move to it, and the old value goes. */
static void replace(verdict *verdict, record *record, optional_bytes value) {
    verdict->tag = EXPORTS_TIDEMILL_PLUGIN_TYPED_INTERCEPTOR_VERDICT_REPLACE;
    verdict->val.replace.key = record->key;
    verdict->val.replace.value = value;
    verdict->val.replace.headers = record->headers;
    record->key.is_some = false;
    record->headers.len = 0;
}

static void replace_value(verdict *verdict, record *record, built value) {
    replace(verdict, record, (optional_bytes){true, {value.at, value.length}});
}

static void replace_nothing(verdict *verdict, record *record) {
    optional_bytes value = record->value;
    record->value.is_some = false;
    replace(verdict, record, value);
}

/* Does what gives another content; false if it is another command. */
static bool obey_replacement(text verb, text words, const char *path, const origin *origin, record *record, verdict *verdict) {
    if (is(verb, "copy")) {
        replace_nothing(verdict, record);
    } else if (is(verb, "replace")) {
        replace_value(verdict, record, copied(words));
    } else if (is(verb, "erase")) {
        verdict->tag = EXPORTS_TIDEMILL_PLUGIN_TYPED_INTERCEPTOR_VERDICT_REPLACE;
    } else if (is(verb, "retime")) {
        int64_t timestamp = (int64_t)number(words);
        replace_nothing(verdict, record);
        verdict->val.replace.timestamp = (interceptor_typed_option_s64_t){true, timestamp};
    } else if (is(verb, "config")) {
        string key = string_of(words), value = {0};
        bool is_some = tidemill_plugin_config_get(&key, &value);
        replace(verdict, record, (optional_bytes){is_some, {value.ptr, value.len}});
    } else if (is(verb, "where")) {
        built answer = copied(literal(path));
        add_text(&answer, literal(" "));
        add_text(&answer, text_of(origin->principal));
        add_text(&answer, literal(" "));
        add_text(&answer, text_of(origin->client_id));
        add_text(&answer, literal(" "));
        add_text(&answer, text_of(origin->topic));
        add_format(&answer, " %" PRIu32 " %s", origin->partition, origin->transactional ? "yes" : "no");
        if (record->offset.is_some) {
            add_format(&answer, " %" PRIu64, record->offset.val);
        } else {
            add_text(&answer, literal(" -"));
        }
        add_format(&answer, " %" PRId64, record->timestamp);
        replace_value(verdict, record, answer);
    } else {
        return false;
    }
    return true;
}

/* Does what a record's header `do` says, `copy` without one. False is an error. The verdict is `keep` at first. */
static bool obey(const char *path, const origin *origin, record *record, verdict *verdict, string *error) {
    static const char *const CODES[] = {"invalid-record", "policy-violation", "topic-authorization-failed"};
    text words = literal("copy");
    for (size_t header = 0; header < record->headers.len; header++) {
        if (is(text_of(record->headers.ptr[header].key), "do")) {
            interceptor_typed_list_u8_t value = record->headers.ptr[header].value.val;
            words = (text){value.ptr, value.len};
        }
    }
    text verb = next_word(&words);
    if (is(verb, "drop")) {
        verdict->tag = EXPORTS_TIDEMILL_PLUGIN_TYPED_INTERCEPTOR_VERDICT_DROP;
    } else if (is(verb, "reject")) {
        verdict->tag = EXPORTS_TIDEMILL_PLUGIN_TYPED_INTERCEPTOR_VERDICT_REJECT;
        verdict->val.reject.code = place(next_word(&words), CODES, 3);
        verdict->val.reject.message = owned(copied(words));
    } else if (is(verb, "log")) {
        uint8_t level = place(next_word(&words), LEVELS, 5);
        write_log(level, words);
    } else if (is(verb, "print")) {
        printf("%.*s\n", (int)words.length, (const char *)words.at);
    } else if (is(verb, "count")) {
        string counter = string_of(next_word(&words));
        tidemill_plugin_metrics_add(&counter, number(words));
    } else if (is(verb, "fail")) {
        *error = owned(copied(words));
        return false;
    } else if (is(verb, "trap")) {
        trap(words);
    } else if (is(verb, "loop")) {
        spin();
    } else if (is(verb, "grow")) {
        grow();
    } else if (!is(verb, "keep") && !obey_replacement(verb, words, path, origin, record, verdict)) {
        trap(words);
    }
    return true;
}

static bool judge(const char *path, origin *origin, records *batch, verdicts *verdicts, string *error) {
    verdicts->ptr = NULL;
    verdicts->len = batch->len;
    if (batch->len > 0) {
        verdicts->ptr = grown(NULL, batch->len * sizeof(verdict));
        memset(verdicts->ptr, 0, batch->len * sizeof(verdict));
    }
    bool is_done = true;
    for (size_t index = 0; index < batch->len && is_done; index++) {
        is_done = obey(path, origin, &batch->ptr[index], &verdicts->ptr[index], error);
    }
    if (!is_done) {
        exports_tidemill_plugin_typed_interceptor_list_verdict_free(verdicts);
    }
    exports_tidemill_plugin_typed_interceptor_origin_free(origin);
    exports_tidemill_plugin_typed_interceptor_list_passing_record_free(batch);
    return is_done;
}

bool exports_tidemill_plugin_typed_interceptor_on_send(origin *origin, records *batch, verdicts *verdicts, string *error) {
    return judge("send", origin, batch, verdicts, error);
}

bool exports_tidemill_plugin_typed_interceptor_on_consume(origin *origin, records *batch, verdicts *verdicts, string *error) {
    return judge("consume", origin, batch, verdicts, error);
}

void exports_tidemill_plugin_typed_interceptor_on_acknowledgement(acknowledgements *told) {
    for (size_t index = 0; index < told->len; index++) {
        acknowledgement *one = &told->ptr[index];
        built line = copied(literal("acknowledged "));
        add_text(&line, text_of(one->topic));
        add_format(&line, " %" PRIu32 " %" PRIu32 " ", one->partition, one->record_count);
        if (one->outcome.is_err) {
            add_text(&line, text_of(one->outcome.val.err));
        } else {
            add_format(&line, "%" PRIu64, one->outcome.val.ok);
        }
        log_built(line);
    }
    exports_tidemill_plugin_typed_interceptor_list_acknowledgement_free(told);
}

void exports_tidemill_plugin_typed_interceptor_close(void) {
    write_log(TIDEMILL_PLUGIN_LOG_LEVEL_INFO, literal("closed"));
}
