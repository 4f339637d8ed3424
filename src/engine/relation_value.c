/* SPDX-License-Identifier: Apache-2.0
 *
 * One key, or a list of them:
 *
 *     "HOME"                              of a key of one column, its value
 *     {"game": 7, "line": 24.5}           the columns of the key
 *     {"table": "areas", "key": "HOME"}   either of them, and the table's name
 *     ["HOME", {…}]                       several
 *     HOME, WORK                          several, in CSV; or one of the above, as JSON
 *
 * What a key is, is the other table's business: its parts are brought to their canonical form as
 * those of its own records are.
 */
#include "engine/relation_value.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <yyjson.h>

#include "base/text.h"
#include "core/key.h"

#define SHOWN_MAX 80U

struct reading {
    const struct or_table *target;
    struct or_arena *arena;
    struct or_related_key *keys;
    size_t n;
    const char *reason;
    bool no_memory;
};

/* ---- failures ------------------------------------------------------------------------------- */

__attribute__((format(printf, 2, 3))) static bool refuse(struct reading *r, const char *format, ...)
{
    char text[256];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    r->reason = or_arena_copy(r->arena, or_span(text)).data;
    r->no_memory |= !r->reason;
    return false;
}

static bool no_memory(struct reading *r)
{
    r->no_memory = true;
    return false;
}

/* `{"a": …, "b": …}` */
static bool refuse_shape(struct reading *r)
{
    const struct onerow_table_spec *spec = &r->target->spec;
    struct or_buffer example;
    or_buffer_init(&example);
    for (size_t k = 0; k < spec->n_key; k++) {
        or_buffer_text(&example, k ? ", " : "{");
        or_buffer_json(&example, or_span(spec->key[k].name));
        or_buffer_text(&example, ": …");
    }
    (void)refuse(r, "names a page of %s by its key: %s}%s", spec->name, or_buffer_cstr(&example),
                 spec->n_key == 1 ? ", or the value alone" : "");
    or_buffer_finish(&example);
    return false;
}

/* ---- keys ----------------------------------------------------------------------------------- */

static bool finish_key(struct reading *r, const struct onerow_value *parts)
{
    struct or_buffer key;
    or_buffer_init(&key);
    bool fits = or_key_append(&key, parts, r->target->table->key_types, r->target->spec.n_key);
    struct onerow_span copy =
        fits ? or_arena_copy(r->arena, or_buffer_view(&key)) : (struct onerow_span){0};
    r->no_memory |= key.failed || (fits && !copy.data);
    or_buffer_finish(&key);
    if (!copy.data) {
        return refuse(r, "names a key of %s that is longer than 64 KiB", r->target->spec.name);
    }
    r->keys[r->n++] = (struct or_related_key){parts, copy};
    return true;
}

/* `parts` as they were given, in the key's order. */
static bool add_key(struct reading *r, struct onerow_value *parts)
{
    const struct onerow_table_spec *spec = &r->target->spec;
    const struct onerow_store_table *table = r->target->table;
    if (r->n == ONEROW_RELATED_MAX) {
        return refuse(r, "names more than %u pages", ONEROW_RELATED_MAX);
    }
    for (size_t k = 0; k < spec->n_key; k++) {
        const char *why = NULL;
        struct onerow_value part = {0};
        if (!or_key_part(&spec->key[k], table->key_types[k], &parts[k], r->arena, &part, &why)) {
            r->no_memory |= why == or_key_no_memory;
            return refuse(r, "names a page of %s: key column \"%s\" %s", spec->name,
                          spec->key[k].name, why);
        }
        parts[k] = part;
        parts[k].column = table->key[k];
    }
    return finish_key(r, parts);
}

static struct onerow_value *new_parts(struct reading *r)
{
    size_t size = r->target->spec.n_key * sizeof(struct onerow_value);
    struct onerow_value *parts = or_arena_alloc(r->arena, size);
    r->no_memory |= !parts;
    return parts;
}

static bool add_one(struct reading *r, const struct onerow_value *value)
{
    if (r->target->spec.n_key != 1) {
        return refuse_shape(r);
    }
    struct onerow_value *parts = new_parts(r);
    if (!parts) {
        return false;
    }
    parts[0] = *value;
    return add_key(r, parts);
}

/* ---- JSON ----------------------------------------------------------------------------------- */

static struct onerow_span text_of(yyjson_val *json)
{
    const char *raw = yyjson_get_raw(json);
    return (struct onerow_span){raw ? raw : yyjson_get_str(json), yyjson_get_len(json)};
}

static bool value_of(struct reading *r, yyjson_val *json, struct onerow_value *value)
{
    if (yyjson_is_null(json)) {
        *value = (struct onerow_value){.kind = ONEROW_NULL};
        return true;
    }
    bool boolean = yyjson_is_bool(json);
    struct onerow_span text =
        boolean ? or_span(yyjson_get_bool(json) ? "true" : "false") : text_of(json);
    if (!text.data || memchr(text.data, '\0', text.len)) {
        return refuse_shape(r);
    }
    text = or_arena_copy(r->arena, text);
    enum onerow_kind kind = boolean               ? ONEROW_BOOL
                            : yyjson_is_raw(json) ? ONEROW_NUMBER
                                                  : ONEROW_TEXT;
    *value =
        (struct onerow_value){.data = text.data, .len = (uint32_t)text.len, .kind = (uint8_t)kind};
    return text.data ? true : no_memory(r);
}

static bool is_key_column(const struct onerow_table_spec *spec, const char *name)
{
    bool is = false;
    for (size_t k = 0; k < spec->n_key && !is; k++) {
        is = strcmp(spec->key[k].name, name) == 0;
    }
    return is;
}

static bool refuse_member(struct reading *r, yyjson_val *object)
{
    yyjson_val *name = NULL;
    yyjson_val *value = NULL;
    size_t i;
    size_t n;
    yyjson_obj_foreach(object, i, n, name, value)
    {
        if (!is_key_column(&r->target->spec, yyjson_get_str(name))) {
            struct onerow_span shown = or_span_cut(text_of(name), SHOWN_MAX);
            return refuse(r, "names a page of %s by \"%.*s\", which is no column of its key",
                          r->target->spec.name, (int)shown.len, shown.data);
        }
    }
    return refuse_shape(r); /* a column is missing, or is there twice */
}

static bool add_columns(struct reading *r, yyjson_val *object)
{
    const struct onerow_table_spec *spec = &r->target->spec;
    struct onerow_value *parts = new_parts(r);
    bool whole = yyjson_obj_size(object) == spec->n_key;
    for (size_t k = 0; k < spec->n_key; k++) {
        whole &= yyjson_obj_get(object, spec->key[k].name) != NULL;
    }
    if (!parts || !whole) {
        return parts && refuse_member(r, object);
    }
    for (size_t k = 0; k < spec->n_key; k++) {
        if (!value_of(r, yyjson_obj_get(object, spec->key[k].name), &parts[k])) {
            return false;
        }
    }
    return add_key(r, parts);
}

/* {"table": T, "key": …}; columns of these names may be the key itself. */
static bool is_long_form(const struct reading *r, yyjson_val *object)
{
    yyjson_val *key = yyjson_obj_get(object, "key");
    const struct onerow_table_spec *spec = &r->target->spec;
    bool columns = is_key_column(spec, "table") && is_key_column(spec, "key");
    return yyjson_obj_size(object) == 2 && key && yyjson_obj_get(object, "table") &&
           (!columns || yyjson_is_obj(key));
}

static bool check_table(struct reading *r, yyjson_val *table)
{
    if (yyjson_equals_str(table, r->target->spec.name)) {
        return true;
    }
    struct onerow_span shown =
        or_span_cut(yyjson_is_str(table) ? text_of(table) : OR_SPAN("?"), SHOWN_MAX);
    return refuse(r, "relates to pages of %s, and table is \"%.*s\"", r->target->spec.name,
                  (int)shown.len, shown.data);
}

static bool add_plain(struct reading *r, yyjson_val *json)
{
    struct onerow_value value = {0};
    return value_of(r, json, &value) && add_one(r, &value);
}

static bool add_json(struct reading *r, yyjson_val *json)
{
    if (!yyjson_is_obj(json)) {
        return add_plain(r, json);
    }
    if (!is_long_form(r, json)) {
        return add_columns(r, json);
    }
    yyjson_val *key = yyjson_obj_get(json, "key");
    return check_table(r, yyjson_obj_get(json, "table")) &&
           (yyjson_is_obj(key) ? add_columns(r, key) : add_plain(r, key));
}

static bool add_all(struct reading *r, yyjson_val *root)
{
    yyjson_val *item = NULL;
    size_t i;
    size_t n;
    bool good = true;
    if (!yyjson_is_arr(root)) {
        return add_json(r, root);
    }
    yyjson_arr_foreach(root, i, n, item)
    {
        good = good && add_json(r, item);
    }
    return good;
}

static bool read_json(struct reading *r, struct onerow_span text)
{
    yyjson_read_err error = {0};
    yyjson_doc *doc = yyjson_read_opts((char *)(uintptr_t)text.data, text.len,
                                       YYJSON_READ_NUMBER_AS_RAW, NULL, &error);
    if (!doc) {
        return error.code == YYJSON_READ_ERROR_MEMORY_ALLOCATION ? no_memory(r) : refuse_shape(r);
    }
    bool good = add_all(r, yyjson_doc_get_root(doc));
    yyjson_doc_free(doc);
    return good;
}

/* ---- CSV ------------------------------------------------------------------------------------ */

static bool read_commas(struct reading *r, const struct onerow_value *value)
{
    struct onerow_value part = *value;
    for (size_t at = 0; at <= value->len;) {
        const char *start = value->data + at;
        const char *comma = memchr(start, ',', value->len - at);
        size_t len = comma ? (size_t)(comma - start) : value->len - at;
        struct onerow_span one = or_span_trim((struct onerow_span){start, len});
        part.data = one.data;
        part.len = (uint32_t)one.len;
        if (one.len && !add_one(r, &part)) {
            return false;
        }
        at += len + 1;
    }
    return true;
}

/* ---- values --------------------------------------------------------------------------------- */

static bool read_value(struct reading *r, const struct onerow_value *value)
{
    struct onerow_span text = {value->data, value->len};
    bool is_json = text.len && (text.data[0] == '[' || text.data[0] == '{');
    switch ((enum onerow_kind)value->kind) {
    case ONEROW_NULL: return true;
    case ONEROW_JSON: return read_json(r, text);
    case ONEROW_TEXT: return text.len == 0 || add_one(r, value);
    case ONEROW_UNTYPED:
        return text.len == 0 || (is_json ? read_json(r, text) : read_commas(r, value));
    default: return add_one(r, value);
    }
}

bool or_relation_keys(const struct or_table *target, const struct onerow_value *value,
                      struct or_arena *arena, struct or_related_key **keys, size_t *n,
                      const char **reason)
{
    struct reading r = {.target = target, .arena = arena};
    r.keys = or_arena_alloc(arena, ONEROW_RELATED_MAX * sizeof *r.keys);
    bool good = r.keys && read_value(&r, value);
    *keys = r.keys;
    *n = r.n;
    *reason = !r.keys || r.no_memory ? NULL : r.reason;
    return good && !r.no_memory;
}
