/* What both kinds of conformance guest share: texts that are parts of others, and how a guest is told what to do.
 *
 * Include it behind the bindings of a world.
 */
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct {
    const uint8_t *at;
    size_t length;
} text;

static inline void *grown(void *memory, size_t size) {
    void *larger = realloc(memory, size);
    if (larger == NULL && size > 0) {
        abort();
    }
    return larger;
}

static inline text literal(const char *words) {
    return (text){(const uint8_t *)words, strlen(words)};
}

static inline bool is(text one, const char *other) {
    return one.length == strlen(other) && memcmp(one.at, other, one.length) == 0;
}

/* Takes the first word off. */
static inline text next_word(text *words) {
    text word = {words->at, 0};
    while (word.length < words->length && word.at[word.length] != ' ') {
        word.length++;
    }
    size_t taken = word.length < words->length ? word.length + 1 : word.length;
    *words = (text){words->at + taken, words->length - taken};
    return word;
}

/* A decimal number; a negative one as its two's complement. */
static inline uint64_t number(text digits) {
    bool is_negative = digits.length > 0 && digits.at[0] == '-';
    uint64_t value = 0;
    for (size_t index = is_negative; index < digits.length; index++) {
        value = value * 10 + (digits.at[index] - '0');
    }
    return is_negative ? -value : value;
}

/* Where a word stands in a list of words. */
static inline uint8_t place(text word, const char *const words[], uint8_t count) {
    for (uint8_t index = 0; index < count; index++) {
        if (is(word, words[index])) {
            return index;
        }
    }
    abort();
}

static const char *const LEVELS[] = {"trace", "debug", "info", "warn", "error"};

static inline _Noreturn void spin(void) {
    for (volatile unsigned turns = 0;; turns++) {
    }
}

/* Takes memory until there is no more. */
static inline _Noreturn void grow(void) {
    for (;;) {
        /* Memory that is looked at is not optimised away. */
        volatile uint8_t *taken = grown(NULL, 1 << 20);
        taken[0] = 1;
    }
}

/* Text that a guest puts together, for the bindings to free. */
typedef struct {
    uint8_t *at;
    size_t length;
} built;

static inline void add_text(built *whole, text part) {
    whole->at = grown(whole->at, whole->length + part.length);
    if (part.length > 0) {
        memcpy(whole->at + whole->length, part.at, part.length);
    }
    whole->length += part.length;
}

__attribute__((format(printf, 2, 3))) static inline void add_format(built *whole, const char *format, ...) {
    char line[256];
    va_list values;
    va_start(values, format);
    int length = vsnprintf(line, sizeof line, format, values);
    va_end(values);
    if (length < 0 || (size_t)length >= sizeof line) {
        abort();
    }
    add_text(whole, (text){(const uint8_t *)line, (size_t)length});
}
