/* Runs the processor natively, with a broker in memory. The bindings' own functions that free things are the real ones, so
 * that the address sanitizer sees what the processor forgets. */
#include "processor_typed.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef exports_tidemill_plugin_typed_processor_record_in_t record_in;
typedef exports_tidemill_plugin_typed_processor_record_out_t record_out;
typedef exports_tidemill_plugin_typed_processor_list_record_in_t records_in;
typedef exports_tidemill_plugin_typed_processor_list_record_out_t records_out;
typedef exports_tidemill_plugin_typed_processor_fault_t fault;

/* The broker: no config, and a store of up to eight counters. */

static struct {
    char key[16];
    size_t length;
    int64_t count;
} counters[8];

bool tidemill_plugin_config_get(processor_typed_string_t *key, processor_typed_string_t *ret) {
    (void)key, (void)ret;
    return false;
}

tidemill_plugin_state_own_store_t tidemill_plugin_state_constructor_store(processor_typed_string_t *name) {
    assert(name->len == 6 && memcmp(name->ptr, "counts", 6) == 0);
    return (tidemill_plugin_state_own_store_t){1};
}

tidemill_plugin_state_borrow_store_t tidemill_plugin_state_borrow_store(tidemill_plugin_state_own_store_t store) {
    return (tidemill_plugin_state_borrow_store_t){store.__handle};
}

void tidemill_plugin_state_store_drop_own(tidemill_plugin_state_own_store_t store) {
    assert(store.__handle == 1);
}

int64_t tidemill_plugin_state_method_store_add(tidemill_plugin_state_borrow_store_t store, processor_typed_list_u8_t *key, int64_t delta) {
    assert(store.__handle == 1 && key->len <= sizeof counters[0].key);
    size_t at = 0;
    while (counters[at].length > 0 && (counters[at].length != key->len || memcmp(counters[at].key, key->ptr, key->len) != 0)) {
        at++;
    }
    memcpy(counters[at].key, key->ptr, key->len);
    counters[at].length = key->len;
    return counters[at].count += delta;
}

/* The tests. */

static processor_typed_list_u8_t bytes(const char *text) {
    processor_typed_string_t copy;
    processor_typed_string_dup(&copy, text);
    return (processor_typed_list_u8_t){copy.ptr, copy.len};
}

static bool is(processor_typed_list_u8_t bytes, const char *text) {
    return bytes.len == strlen(text) && memcmp(bytes.ptr, text, bytes.len) == 0;
}

/* A batch of records with these keys; NULL is none. */
static bool process(size_t count, const char *const keys[], records_out *out, fault *refusal) {
    records_in batch = {count > 0 ? calloc(count, sizeof(record_in)) : NULL, count};
    for (size_t index = 0; index < count; index++) {
        record_in *record = &batch.ptr[index];
        record->value = (processor_typed_option_list_u8_t){true, bytes("value")};
        if (keys[index] != NULL) {
            record->key = (processor_typed_option_list_u8_t){true, bytes(keys[index])};
        }
        record->headers.ptr = calloc(1, sizeof *record->headers.ptr);
        record->headers.len = 1;
        processor_typed_string_dup(&record->headers.ptr[0].key, "trace");
    }
    exports_tidemill_plugin_typed_processor_source_t source = {0};
    processor_typed_string_dup(&source.topic, "in");
    return exports_tidemill_plugin_typed_processor_process(&source, &batch, out, refusal);
}

static void records_are_counted_by_key(void) {
    records_out out;
    fault refusal;
    assert(process(3, (const char *const[]){"ann", "bob", "ann"}, &out, &refusal));
    const char *const keys[] = {"ann", "bob", "ann"}, *const counts[] = {"1", "1", "2"};
    assert(out.len == 3);
    for (uint32_t index = 0; index < 3; index++) {
        record_out *record = &out.ptr[index];
        assert(is(record->key.val, keys[index]) && is(record->value.val, counts[index]));
        assert(record->source == index && record->headers.len == 1);
        assert(is((processor_typed_list_u8_t){record->topic.ptr, record->topic.len}, "counts"));
    }
    exports_tidemill_plugin_typed_processor_list_record_out_free(&out);
}

static void counts_go_on_from_batch_to_batch(void) {
    records_out out;
    fault refusal;
    assert(process(1, (const char *const[]){"bob"}, &out, &refusal));
    assert(is(out.ptr[0].value.val, "2"));
    exports_tidemill_plugin_typed_processor_list_record_out_free(&out);
}

static void a_record_without_a_key_is_rejected(void) {
    records_out out;
    fault refusal;
    assert(!process(3, (const char *const[]){"eve", NULL, "eve"}, &out, &refusal));
    assert(refusal.index == 1 && refusal.reason == TIDEMILL_PLUGIN_TYPES_FAULT_REASON_REJECT);
    tidemill_plugin_types_fault_free(&refusal);
    assert(!process(1, (const char *const[]){""}, &out, &refusal));
    tidemill_plugin_types_fault_free(&refusal);
}

static void an_empty_batch_gives_nothing(void) {
    records_out out;
    fault refusal;
    assert(process(0, NULL, &out, &refusal) && out.len == 0);
}

int main(void) {
    exports_tidemill_plugin_typed_processor_context_t context = {0};
    processor_typed_string_t error;
    assert(exports_tidemill_plugin_typed_processor_init(&context, &error));
    records_are_counted_by_key();
    counts_go_on_from_batch_to_batch();
    a_record_without_a_key_is_rejected();
    an_empty_batch_gives_nothing();
    puts("key_counter: 4 passed, 0 failed");
}
