/* A processor that counts the records of each key, and sends each key with its new count.
 *
 * The counts are in the store `counts`, so they commit together with what is sent. Config: `output`, the topic of the counts
 * (`counts` by default). A record without a key is refused.
 */
#include "processor_typed.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef exports_tidemill_plugin_typed_processor_context_t context;
typedef exports_tidemill_plugin_typed_processor_source_t source;
typedef exports_tidemill_plugin_typed_processor_list_record_in_t records_in;
typedef exports_tidemill_plugin_typed_processor_record_in_t record_in;
typedef exports_tidemill_plugin_typed_processor_list_record_out_t records_out;
typedef exports_tidemill_plugin_typed_processor_record_out_t record_out;
typedef exports_tidemill_plugin_typed_processor_fault_t fault;
typedef exports_tidemill_plugin_typed_processor_domain_t domain;
typedef exports_tidemill_plugin_typed_processor_list_timer_t timers;
typedef processor_typed_string_t string;

static string output_topic;

/* A refused allocation ends the instance, and the broker says that its memory was the reason. */
static void *allocate(size_t count, size_t size) {
    void *memory = calloc(count, size);
    if (memory == NULL && count > 0) {
        abort();
    }
    return memory;
}

bool exports_tidemill_plugin_typed_processor_init(context *context, string *error) {
    (void)error;
    string key;
    processor_typed_string_set(&key, "output");
    if (!tidemill_plugin_config_get(&key, &output_topic)) {
        processor_typed_string_dup(&output_topic, "counts");
    }
    exports_tidemill_plugin_typed_processor_context_free(context);
    return true;
}

/* Moves a record's key and headers to an output, whose value is the count as text. */
static record_out count_of(record_in *record, int64_t count, uint32_t index) {
    record_out out = {.source = index, .key = record->key, .headers = record->headers};
    record->key.is_some = false;
    record->headers.len = 0;
    char text[24];
    snprintf(text, sizeof text, "%" PRId64, count);
    processor_typed_string_t value;
    processor_typed_string_dup(&value, text);
    out.value = (processor_typed_option_list_u8_t){.is_some = true, .val = {value.ptr, value.len}};
    processor_typed_string_dup_n(&out.topic, (const char *)output_topic.ptr, output_topic.len);
    return out;
}

bool exports_tidemill_plugin_typed_processor_process(source *source, records_in *batch, records_out *output, fault *refusal) {
    string name;
    processor_typed_string_set(&name, "counts");
    tidemill_plugin_state_own_store_t counts = tidemill_plugin_state_constructor_store(&name);

    *output = (records_out){.ptr = allocate(batch->len, sizeof(record_out))};
    bool done = true;
    for (size_t index = 0; index < batch->len && done; index++) {
        record_in *record = &batch->ptr[index];
        done = record->key.is_some && record->key.val.len > 0;
        if (done) {
            tidemill_plugin_state_borrow_store_t store = tidemill_plugin_state_borrow_store(counts);
            int64_t count = tidemill_plugin_state_method_store_add(store, &record->key.val, 1);
            output->ptr[output->len++] = count_of(record, count, (uint32_t)index);
        } else {
            *refusal = (fault){.index = (uint32_t)index, .reason = TIDEMILL_PLUGIN_TYPES_FAULT_REASON_REJECT};
            processor_typed_string_dup(&refusal->message, "the record has no key");
        }
    }
    /* What is answered, the bindings free; what was given and what is not answered are ours to free. An empty list has no
     * memory for them. */
    if (output->len == 0) {
        free(output->ptr);
    } else if (!done) {
        exports_tidemill_plugin_typed_processor_list_record_out_free(output);
    }
    tidemill_plugin_state_store_drop_own(counts);
    exports_tidemill_plugin_typed_processor_source_free(source);
    exports_tidemill_plugin_typed_processor_list_record_in_free(batch);
    return done;
}

/* It sets no timers, and so has none to be told of. */
bool exports_tidemill_plugin_typed_processor_on_timers(domain domain, uint32_t attempt, timers *due, records_out *output,
                                                       fault *refusal) {
    (void)domain, (void)attempt, (void)refusal;
    *output = (records_out){0};
    exports_tidemill_plugin_typed_processor_list_timer_free(due);
    return true;
}
