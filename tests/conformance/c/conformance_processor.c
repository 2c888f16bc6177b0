/* The conformance list's processor in C: see ../README.md. */
#include "processor_typed.h"

#include "conformance.h"

#include <inttypes.h>
#include <unistd.h>

typedef exports_tidemill_plugin_typed_processor_context_t context;
typedef exports_tidemill_plugin_typed_processor_source_t source;
typedef exports_tidemill_plugin_typed_processor_list_record_in_t records_in;
typedef exports_tidemill_plugin_typed_processor_record_in_t record_in;
typedef exports_tidemill_plugin_typed_processor_list_record_out_t records_out;
typedef exports_tidemill_plugin_typed_processor_record_out_t record_out;
typedef exports_tidemill_plugin_typed_processor_fault_t fault;
typedef processor_typed_string_t string;
typedef processor_typed_list_u8_t bytes;
typedef processor_typed_option_list_u8_t optional_bytes;

/* What the bindings only read. */
static string string_of(text text) {
    return (string){(uint8_t *)text.at, text.length};
}

static bytes bytes_of(text text) {
    return (bytes){(uint8_t *)text.at, text.length};
}

static text text_of(string string) {
    return (text){string.ptr, string.len};
}

static string copied(text text) {
    built copy = {0};
    add_text(&copy, text);
    return (string){copy.at, copy.length};
}

static optional_bytes some(built value) {
    return (optional_bytes){.is_some = true, .val = {value.at, value.length}};
}

static void write_log(uint8_t level, text words) {
    string line = string_of(words);
    tidemill_plugin_log_write(level, &line);
}

/* The contract has no words for a trap: the last line at level error stands for them. */
static _Noreturn void trap(text words) {
    write_log(TIDEMILL_PLUGIN_LOG_LEVEL_ERROR, words);
    abort();
}

bool exports_tidemill_plugin_typed_processor_init(context *context, string *error) {
    string key = string_of(literal("init")), value = {0};
    tidemill_plugin_config_get(&key, &value);
    text words = text_of(value);
    text verb = next_word(&words);
    bool is_refused = is(verb, "refuse");
    if (is_refused) {
        *error = copied(words);
    } else if (is(verb, "trap")) {
        trap(words);
    } else if (is(verb, "loop")) {
        spin();
    } else {
        built line = {0};
        add_text(&line, literal("started "));
        add_text(&line, text_of(context->processor));
        add_text(&line, literal(" "));
        add_text(&line, text_of(context->topic));
        add_format(&line, " %" PRIu32, context->partition);
        write_log(TIDEMILL_PLUGIN_LOG_LEVEL_INFO, (text){line.at, line.length});
        free(line.at);
    }
    processor_typed_string_free(&value);
    exports_tidemill_plugin_typed_processor_context_free(context);
    return !is_refused;
}

static const char *const DOMAINS[] = {"event", "processing"};

/* Sends a record with another value. Key and headers move to it. */
static record_out *send(records_out *sent, record_in *record, size_t index, optional_bytes value) {
    sent->ptr = grown(sent->ptr, (sent->len + 1) * sizeof(record_out));
    record_out *out = &sent->ptr[sent->len++];
    *out = (record_out){.key = record->key, .value = value, .headers = record->headers, .source = (uint32_t)index};
    record->key.is_some = false;
    record->headers.len = 0;
    out->topic = copied(literal("out"));
    return out;
}

static record_out *send_whole(records_out *sent, record_in *record, size_t index) {
    optional_bytes value = record->value;
    record->value.is_some = false;
    return send(sent, record, index, value);
}

/* Does what concerns the state; false if it is another command. */
static bool obey_about_state(text verb, text words, record_in *record, size_t index, records_out *sent) {
    static const char *const DIRECTIONS[] = {"ascending", "descending"};
    string name = string_of(literal("s"));
    tidemill_plugin_state_own_store_t own = tidemill_plugin_state_constructor_store(&name);
    tidemill_plugin_state_borrow_store_t store = tidemill_plugin_state_borrow_store(own);
    bytes key = bytes_of(next_word(&words));
    bool is_known = true;
    built answer = {0};
    if (is(verb, "put")) {
        tidemill_plugin_state_method_store_put(store, &key, &record->value.val);
    } else if (is(verb, "get")) {
        optional_bytes value = {0};
        value.is_some = tidemill_plugin_state_method_store_get(store, &key, &value.val);
        send(sent, record, index, value);
    } else if (is(verb, "delete")) {
        tidemill_plugin_state_method_store_delete(store, &key);
    } else if (is(verb, "add")) {
        add_format(&answer, "%" PRId64, tidemill_plugin_state_method_store_add(store, &key, (int64_t)number(words)));
        send(sent, record, index, some(answer));
    } else if (is(verb, "scan")) {
        bytes last = bytes_of(next_word(&words));
        uint8_t direction = place(next_word(&words), DIRECTIONS, 2);
        tidemill_plugin_state_key_range_t range = {.first = {true, key}, .last = {true, last}};
        tidemill_plugin_state_page_t page;
        tidemill_plugin_state_method_store_scan(store, &range, direction, (uint32_t)number(words), &page);
        for (size_t entry = 0; entry < page.entries.len; entry++) {
            tidemill_plugin_state_entry_t *found = &page.entries.ptr[entry];
            add_text(&answer, (text){found->key.ptr, found->key.len});
            add_text(&answer, literal("="));
            add_text(&answer, (text){found->value.ptr, found->value.len});
            add_text(&answer, literal(" "));
        }
        add_text(&answer, literal(page.more ? "more" : "end"));
        tidemill_plugin_state_page_free(&page);
        send(sent, record, index, some(answer));
    } else {
        is_known = false;
    }
    tidemill_plugin_state_store_drop_own(own);
    return is_known;
}

/* Does what asks for something; false if it is another command. */
static bool obey_question(text verb, text words, const source *source, record_in *record, size_t index, records_out *sent) {
    built answer = {0};
    if (is(verb, "config")) {
        string key = string_of(words), value = {0};
        bool is_some = tidemill_plugin_config_get(&key, &value);
        send(sent, record, index, (optional_bytes){is_some, {value.ptr, value.len}});
        return true;
    }
    if (is(verb, "where")) {
        add_text(&answer, text_of(source->topic));
        add_format(&answer, " %" PRIu32 " %" PRIu32, source->partition, source->attempt);
        add_format(&answer, " %" PRIu64 " %" PRId64, record->offset, record->timestamp);
    } else if (is(verb, "clock")) {
        int64_t stream_time;
        add_format(&answer, "%" PRId64 " ", tidemill_plugin_clock_now());
        if (tidemill_plugin_clock_stream_time(&stream_time)) {
            add_format(&answer, "%" PRId64, stream_time);
        } else {
            add_text(&answer, literal("-"));
        }
    } else if (is(verb, "cancel")) {
        uint8_t domain = place(next_word(&words), DOMAINS, 2);
        bytes id = bytes_of(words);
        add_text(&answer, literal(tidemill_plugin_timers_cancel(domain, &id) ? "true" : "false"));
    } else if (is(verb, "random")) {
        uint64_t first = tidemill_plugin_random_next();
        add_format(&answer, "%" PRIu64 " %" PRIu64, first, tidemill_plugin_random_next());
    } else if (is(verb, "ambient")) {
        struct timespec now;
        uint64_t entropy;
        if (clock_gettime(CLOCK_REALTIME, &now) != 0 || getentropy(&entropy, sizeof entropy) != 0) {
            abort();
        }
        add_format(&answer, "%lld %" PRIu64, (long long)now.tv_sec * 1000 + now.tv_nsec / 1000000, entropy);
    } else {
        return false;
    }
    send(sent, record, index, some(answer));
    return true;
}

/* Does what a record's header `do` says, `copy` without one. False is a fault. */
static bool obey(const source *source, record_in *record, size_t index, records_out *sent, fault *fault) {
    static const char *const REASONS[] = {"reject", "retry", "fatal"};
    text words = literal("copy");
    for (size_t header = 0; header < record->headers.len; header++) {
        if (is(text_of(record->headers.ptr[header].key), "do")) {
            bytes value = record->headers.ptr[header].value.val;
            words = (text){value.ptr, value.len};
        }
    }
    text verb = next_word(&words);
    if (is(verb, "copy")) {
        send_whole(sent, record, index);
    } else if (is(verb, "send")) {
        string topic = copied(next_word(&words));
        uint32_t partition = (uint32_t)number(next_word(&words));
        int64_t timestamp = (int64_t)number(words);
        record_out *out = send_whole(sent, record, index);
        processor_typed_string_free(&out->topic);
        out->topic = topic;
        out->partition = (processor_typed_option_u32_t){true, partition};
        out->timestamp = (processor_typed_option_s64_t){true, timestamp};
    } else if (is(verb, "log")) {
        uint8_t level = place(next_word(&words), LEVELS, 5);
        write_log(level, words);
    } else if (is(verb, "print")) {
        printf("%.*s\n", (int)words.length, (const char *)words.at);
    } else if (is(verb, "count")) {
        string counter = string_of(next_word(&words));
        tidemill_plugin_metrics_add(&counter, number(words));
    } else if (is(verb, "timer")) {
        uint8_t domain = place(next_word(&words), DOMAINS, 2);
        bytes id = bytes_of(next_word(&words));
        tidemill_plugin_timers_set(domain, &id, (int64_t)number(words), &record->value.val);
    } else if (is(verb, "reject") || is(verb, "retry") || is(verb, "fatal")) {
        fault->index = (uint32_t)index;
        fault->reason = place(verb, REASONS, 3);
        fault->message = copied(words);
        return false;
    } else if (is(verb, "trap")) {
        trap(words);
    } else if (is(verb, "loop")) {
        spin();
    } else if (is(verb, "grow")) {
        grow();
    } else if (!is(verb, "nothing") && !obey_question(verb, words, source, record, index, sent)
               && !obey_about_state(verb, words, record, index, sent)) {
        trap(words);
    }
    return true;
}

bool exports_tidemill_plugin_typed_processor_process(source *source, records_in *batch, records_out *sent, fault *fault) {
    *sent = (records_out){0};
    bool is_done = true;
    for (size_t index = 0; index < batch->len && is_done; index++) {
        is_done = obey(source, &batch->ptr[index], index, sent, fault);
    }
    if (!is_done) {
        exports_tidemill_plugin_typed_processor_list_record_out_free(sent);
    }
    exports_tidemill_plugin_typed_processor_source_free(source);
    exports_tidemill_plugin_typed_processor_list_record_in_free(batch);
    return is_done;
}

bool exports_tidemill_plugin_typed_processor_on_timers(uint8_t domain, uint32_t attempt,
                                                       exports_tidemill_plugin_typed_processor_list_timer_t *due,
                                                       records_out *sent, fault *fault) {
    *sent = (records_out){0};
    bool is_done = true;
    for (size_t index = 0; index < due->len && is_done; index++) {
        exports_tidemill_plugin_typed_processor_timer_t *timer = &due->ptr[index];
        text payload = {timer->payload.ptr, timer->payload.len};
        if (is(payload, "reject")) {
            fault->index = (uint32_t)index;
            fault->reason = 0;
            fault->message = copied(literal("a bad timer"));
            is_done = false;
        } else {
            built line = {0};
            add_format(&line, "%s %" PRId64 " %" PRIu32 " ", DOMAINS[domain], timer->at, attempt);
            add_text(&line, payload);
            record_in record = {.key = {true, timer->id}};
            timer->id = (bytes){0};
            send(sent, &record, index, some(line));
        }
    }
    if (!is_done) {
        exports_tidemill_plugin_typed_processor_list_record_out_free(sent);
    }
    exports_tidemill_plugin_typed_processor_list_timer_free(due);
    return is_done;
}
