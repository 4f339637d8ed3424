/* SPDX-License-Identifier: Apache-2.0
 *
 * A key case, as the vector file and key_filter's commands write it:
 *
 *   {"columns": [{"type": "text", "normalize": ["nfc"], "nulls": "equal"}, …],
 *    "values":  ["HOME", 24.50, null, {"untyped": "a CSV field"}, {"hex": "ff"}, …]}
 *
 * Numbers are JSON numbers with their digits kept (YYJSON_READ_NUMBER_AS_RAW); "hex" is text
 * given as its bytes, which need not be UTF-8; any other object or array is a JSON value.
 */
#ifndef OR_TESTS_KEY_CASE_H
#define OR_TESTS_KEY_CASE_H

#include <stdlib.h>
#include <string.h>
#include <yyjson.h>

#include "base/text.h"
#include "core/key.h"

struct key_case {
    struct onerow_key_column columns[ONEROW_KEY_COLUMNS_MAX];
    enum onerow_type types[ONEROW_KEY_COLUMNS_MAX];
    struct onerow_value values[ONEROW_KEY_COLUMNS_MAX];
    size_t n;
};

static inline unsigned case_rule(const char *name)
{
    return strcmp(name, "nfc") == 0    ? ONEROW_NFC
           : strcmp(name, "trim") == 0 ? ONEROW_TRIM
                                       : ONEROW_CASEFOLD;
}

static inline struct onerow_span case_unhex(const char *hex, struct or_arena *arena)
{
    size_t len = strlen(hex) / 2;
    char *bytes = or_arena_bytes(arena, len + 1);
    for (size_t i = 0; bytes && i < len; i++) {
        char pair[3] = {hex[2 * i], hex[2 * i + 1], '\0'};
        bytes[i] = (char)strtoul(pair, NULL, 16);
    }
    return (struct onerow_span){bytes, len};
}

static inline struct onerow_value case_value(enum onerow_kind kind, struct onerow_span text)
{
    return (struct onerow_value){.data = text.data, .len = (uint32_t)text.len, .kind = kind};
}

static inline struct onerow_value case_read_value(yyjson_val *json, struct or_arena *arena)
{
    if (yyjson_is_null(json)) {
        return (struct onerow_value){.kind = ONEROW_NULL};
    }
    if (yyjson_is_bool(json)) {
        return case_value(ONEROW_BOOL, or_span(yyjson_get_bool(json) ? "true" : "false"));
    }
    if (yyjson_is_raw(json)) {
        return case_value(ONEROW_NUMBER, or_span(yyjson_get_raw(json)));
    }
    if (yyjson_is_str(json)) {
        struct onerow_span text = {yyjson_get_str(json), yyjson_get_len(json)};
        return case_value(ONEROW_TEXT, text);
    }
    yyjson_val *untyped = yyjson_obj_get(json, "untyped");
    if (untyped) {
        struct onerow_span text = {yyjson_get_str(untyped), yyjson_get_len(untyped)};
        return case_value(ONEROW_UNTYPED, text);
    }
    yyjson_val *hex = yyjson_obj_get(json, "hex");
    if (hex) {
        return case_value(ONEROW_TEXT, case_unhex(yyjson_get_str(hex), arena));
    }
    return case_value(ONEROW_JSON, or_span("{}"));
}

static inline void case_read(yyjson_val *json, struct or_arena *arena, struct key_case *key_case)
{
    yyjson_val *columns = yyjson_obj_get(json, "columns");
    yyjson_val *values = yyjson_obj_get(json, "values");
    *key_case = (struct key_case){.n = yyjson_arr_size(columns)};
    for (size_t i = 0; i < key_case->n && i < ONEROW_KEY_COLUMNS_MAX; i++) {
        yyjson_val *spec = yyjson_arr_get(columns, i);
        struct onerow_key_column *column = &key_case->columns[i];
        column->name = "column";
        column->type = or_type_of_name(or_span(yyjson_get_str(yyjson_obj_get(spec, "type"))));
        column->nulls_equal = yyjson_equals_str(yyjson_obj_get(spec, "nulls"), "equal");
        size_t at, n_rules;
        yyjson_val *rule;
        yyjson_arr_foreach(yyjson_obj_get(spec, "normalize"), at, n_rules, rule)
        {
            column->normalize |= case_rule(yyjson_get_str(rule));
        }
        key_case->types[i] = column->type;
        key_case->values[i] = case_read_value(yyjson_arr_get(values, i), arena);
    }
}

/* The case's key. On false, *column is the refused part (n: the key as a whole) and *reason
 * why. */
static inline bool case_key(const struct key_case *key_case, struct or_arena *arena,
                            struct or_buffer *key, size_t *column, const char **reason)
{
    struct onerow_value parts[ONEROW_KEY_COLUMNS_MAX];
    for (size_t i = 0; i < key_case->n; i++) {
        if (!or_key_part(&key_case->columns[i], key_case->types[i], &key_case->values[i], arena,
                         &parts[i], reason)) {
            *column = i;
            return false;
        }
    }
    *column = key_case->n;
    *reason = "is longer than a key may be";
    return or_key_append(key, parts, key_case->types, key_case->n);
}

#endif
