/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/infer.h"

#include <string.h>

#include "base/text.h"
#include "core/key.h"

enum seen { /* what a column's values were, or'ed */
            SEEN_BOOL = 1 << 0,
            SEEN_INT = 1 << 1,
            SEEN_DECIMAL = 1 << 2,
            SEEN_TIMESTAMP = 1 << 3,
            SEEN_JSON = 1 << 4,
            SEEN_TEXT = 1 << 5,
            SEEN_UNTYPED = 1 << 6, /* a CSV field, whatever it spells */
};

struct inference {
    struct onerow_new_column *columns;
    unsigned *seen;
    size_t n;
    struct or_arena *scratch;
};

/* Whether the text is a value of the type, spelled canonically: "007" is no int, it is text. */
static bool spells(struct inference *inference, enum onerow_type type,
                   const struct onerow_value *value)
{
    static const struct onerow_key_column column = {.name = ""};
    struct onerow_value canonical = {0};
    const char *reason = NULL;
    if (!or_key_part(&column, type, value, inference->scratch, &canonical, &reason)) {
        return false;
    }
    struct onerow_span text = {value->data, value->len};
    return type == ONEROW_TYPE_TIMESTAMP ||
           or_span_equal(text, (struct onerow_span){canonical.data, canonical.len});
}

#define INT64_DIGITS 18U /* that many digits fit 64 bits whatever they are */

static unsigned see_number(struct inference *inference, const struct onerow_value *value)
{
    bool small = value->len <= INT64_DIGITS;
    return small && spells(inference, ONEROW_TYPE_INT, value) ? SEEN_INT : SEEN_DECIMAL;
}

/* A decimal of a CSV field: digits that a person would take for a number, "24.50" included. */
static bool looks_decimal(struct inference *inference, const struct onerow_value *value)
{
    bool leading_zero = value->len > 1 && value->data[0] == '0' && value->data[1] != '.';
    struct onerow_value number = *value;
    number.kind = ONEROW_UNTYPED;
    static const struct onerow_key_column column = {.name = ""};
    struct onerow_value canonical = {0};
    const char *reason = NULL;
    return !leading_zero && value->len <= INT64_DIGITS && memchr(value->data, '.', value->len) &&
           or_key_part(&column, ONEROW_TYPE_DECIMAL, &number, inference->scratch, &canonical,
                       &reason);
}

static unsigned see_untyped(struct inference *inference, const struct onerow_value *value)
{
    if (value->len <= INT64_DIGITS && spells(inference, ONEROW_TYPE_INT, value)) {
        return SEEN_INT;
    }
    if (looks_decimal(inference, value)) {
        return SEEN_DECIMAL;
    }
    struct onerow_span text = {value->data, value->len};
    if (or_span_is(text, "true") || or_span_is(text, "false")) {
        return SEEN_BOOL;
    }
    return spells(inference, ONEROW_TYPE_TIMESTAMP, value) ? SEEN_TIMESTAMP : SEEN_TEXT;
}

static unsigned see(struct inference *inference, const struct onerow_value *value)
{
    switch ((enum onerow_kind)value->kind) {
    case ONEROW_NULL: return 0;
    case ONEROW_BOOL: return SEEN_BOOL;
    case ONEROW_NUMBER: return see_number(inference, value);
    case ONEROW_JSON: return SEEN_JSON;
    case ONEROW_UNTYPED: return SEEN_UNTYPED | see_untyped(inference, value);
    case ONEROW_TEXT:
        return spells(inference, ONEROW_TYPE_TIMESTAMP, value) ? SEEN_TIMESTAMP : SEEN_TEXT;
    }
    return SEEN_TEXT;
}

static enum onerow_type decide(unsigned seen)
{
    switch (seen & ~(unsigned)SEEN_UNTYPED) {
    case SEEN_BOOL: return ONEROW_TYPE_BOOL;
    case SEEN_INT: return ONEROW_TYPE_INT;
    case SEEN_DECIMAL:
    case SEEN_DECIMAL | SEEN_INT: return ONEROW_TYPE_DECIMAL;
    case SEEN_TIMESTAMP: return ONEROW_TYPE_TIMESTAMP;
    default: return seen & SEEN_JSON ? ONEROW_TYPE_JSON : ONEROW_TYPE_TEXT;
    }
}

static void note_field(struct inference *inference, const struct or_field *field)
{
    size_t at = 0;
    while (at < inference->n && !or_span_equal(inference->columns[at].name, field->name)) {
        at++;
    }
    if (at == ONEROW_COLUMNS_MAX) {
        return; /* the record will be refused for it */
    }
    if (at == inference->n) {
        inference->columns[inference->n++] = (struct onerow_new_column){.name = field->name};
        inference->seen[at] = 0;
    }
    inference->seen[at] |= see(inference, &field->value);
}

/* A key column without a named type. A CSV file does not say whether 7 and 007 are one key, so they
 * are two; a timestamp's spelling counts, too. */
static void decide_key_column(struct onerow_new_column *column, unsigned seen,
                              const struct onerow_table_spec *spec)
{
    for (size_t i = 0; i < spec->n_key; i++) {
        if (!or_span_is(column->name, spec->key[i].name)) {
            continue;
        }
        if (spec->key[i].type != ONEROW_TYPE_UNKNOWN) {
            column->type = spec->key[i].type;
        } else if (seen & SEEN_UNTYPED || column->type == ONEROW_TYPE_TIMESTAMP ||
                   column->type == ONEROW_TYPE_JSON) {
            column->type = ONEROW_TYPE_TEXT;
        }
    }
}

bool or_infer_columns(const struct or_item *items, size_t n, const struct onerow_table_spec *spec,
                      struct or_arena *arena, struct onerow_new_column **columns, size_t *n_columns)
{
    struct or_arena scratch;
    or_arena_init(&scratch);
    struct inference inference = {.scratch = &scratch};
    inference.columns = or_arena_alloc(arena, ONEROW_COLUMNS_MAX * sizeof *inference.columns);
    inference.seen = or_arena_alloc(&scratch, ONEROW_COLUMNS_MAX * sizeof *inference.seen);
    bool room = inference.columns && inference.seen;
    for (size_t i = 0; room && i < n; i++) {
        for (size_t f = 0; f < items[i].n_fields; f++) {
            note_field(&inference, &items[i].fields[f]);
        }
    }
    for (size_t i = 0; room && i < inference.n; i++) {
        inference.columns[i].type = decide(inference.seen[i]);
        decide_key_column(&inference.columns[i], inference.seen[i], spec);
    }
    or_arena_finish(&scratch);
    *columns = inference.columns;
    *n_columns = inference.n;
    return room;
}
