/* SPDX-License-Identifier: Apache-2.0
 *
 * Properties as plain values, and whether a page holds what a payload would write.
 *
 *     title, rich_text                      text, the runs joined; none: NULL
 *     url, email, phone_number              text or NULL
 *     select, status                        the option's name or NULL
 *     multi_select                          the options' names, a JSON array
 *     people, relation                      ids, a JSON array
 *     date                                  its start; with an end or a zone {"start", "end", …}
 *     unique_id                             the number without the prefix
 *     formula, rollup                       what they come to
 *
 * Both sides of a comparison are brought to the same form first: numbers to doubles, which is what
 * Notion keeps, instants to UTC, ids to one spelling; lists are compared as sets.
 */
#include <stdlib.h>
#include <string.h>

#include "base/number.h"
#include "base/text.h"
#include "store/store_notion.h"

static yyjson_val *member(yyjson_val *object, const char *name)
{
    return yyjson_obj_get(object, name);
}

static bool is_type(yyjson_val *property, const char *name)
{
    return yyjson_equals_str(member(property, "type"), name);
}

static void set_text(struct onerow_value *value, enum onerow_kind kind, struct onerow_span text)
{
    value->kind = (uint8_t)(text.data ? kind : ONEROW_NULL);
    value->data = text.data;
    value->len = (uint32_t)text.len;
}

/* ---- text ----------------------------------------------------------------------------------- */

/* What a run says: in an answer plain_text, in a request the text's content. */
static struct onerow_span run_text(yyjson_val *run)
{
    yyjson_val *plain = member(run, "plain_text");
    return or_notion_span(plain ? plain : member(member(run, "text"), "content"));
}

struct onerow_span or_notion_plain(yyjson_val *runs, struct or_arena *arena)
{
    yyjson_val *run;
    size_t i;
    size_t n;
    if (yyjson_arr_size(runs) == 1) {
        struct onerow_span only = run_text(yyjson_arr_get_first(runs));
        return or_arena_copy(arena, only.data ? only : OR_SPAN(""));
    }
    struct or_buffer text;
    or_buffer_init(&text);
    yyjson_arr_foreach(runs, i, n, run)
    {
        or_buffer_span(&text, run_text(run));
    }
    struct onerow_span copy =
        text.failed ? (struct onerow_span){0} : or_arena_copy(arena, or_buffer_view(&text));
    or_buffer_finish(&text);
    return copy;
}

/* ---- JSON -------------------------------------------------------------------------------------
 */

/* Any JSON, as it came. */
static void add_json(struct or_buffer *json, yyjson_val *value)
{
    char *text = value ? yyjson_val_write(value, YYJSON_WRITE_NOFLAG, NULL) : NULL;
    json->failed |= value && !text;
    or_buffer_text(json, text ? text : "null");
    free(text);
}

/* The strings of this name in a list's objects. */
static void add_strings(struct or_buffer *json, yyjson_val *list, const char *name)
{
    yyjson_val *item;
    size_t i;
    size_t n;
    or_buffer_char(json, '[');
    yyjson_arr_foreach(list, i, n, item)
    {
        struct onerow_span text = or_notion_span(member(item, name));
        or_buffer_text(json, i ? "," : "");
        or_buffer_json(json, text.data ? text : OR_SPAN(""));
    }
    or_buffer_char(json, ']');
}

static bool keep_json(struct or_buffer *json, struct or_arena *arena, struct onerow_value *value)
{
    struct onerow_span copy =
        json->failed ? (struct onerow_span){0} : or_arena_copy(arena, or_buffer_view(json));
    or_buffer_finish(json);
    set_text(value, ONEROW_JSON, copy);
    return copy.data != NULL;
}

static bool list_value(yyjson_val *list, const char *name, struct or_arena *arena,
                       struct onerow_value *value)
{
    struct or_buffer json;
    or_buffer_init(&json);
    add_strings(&json, list, name);
    return keep_json(&json, arena, value);
}

static bool any_value(yyjson_val *given, struct or_arena *arena, struct onerow_value *value)
{
    struct or_buffer json;
    or_buffer_init(&json);
    add_json(&json, given);
    return keep_json(&json, arena, value);
}

/* ---- one property -------------------------------------------------------------------------------
 */

/* A value that JSON has a word for. */
static bool plain_value(yyjson_val *given, struct or_arena *arena, struct onerow_value *value)
{
    if (yyjson_is_str(given)) {
        set_text(value, ONEROW_TEXT, or_notion_span(given));
    } else if (yyjson_is_raw(given)) {
        set_text(value, ONEROW_NUMBER,
                 (struct onerow_span){yyjson_get_raw(given), yyjson_get_len(given)});
    } else if (yyjson_is_bool(given)) {
        set_text(value, ONEROW_BOOL, yyjson_get_bool(given) ? OR_SPAN("true") : OR_SPAN("false"));
    } else if (yyjson_is_ctn(given)) {
        return any_value(given, arena, value);
    }
    return true;
}

static bool date_value(yyjson_val *date, struct or_arena *arena, struct onerow_value *value)
{
    bool plain = !yyjson_is_str(member(date, "end")) && !yyjson_is_str(member(date, "time_zone"));
    return plain_value(plain ? member(date, "start") : date, arena, value);
}

/* Formulas and rollups say the type of what they come to. */
static bool computed_value(yyjson_val *given, struct or_arena *arena, struct onerow_value *value)
{
    const char *type = yyjson_get_str(member(given, "type"));
    yyjson_val *inner = type ? member(given, type) : NULL;
    return type && strcmp(type, "date") == 0 ? date_value(inner, arena, value)
                                             : plain_value(inner, arena, value);
}

bool or_notion_value(yyjson_val *property, struct or_arena *arena, struct onerow_value *value)
{
    enum or_notion_type type = or_notion_type_of(or_notion_span(member(property, "type")));
    yyjson_val *given = member(property, or_notion_trait(type)->name);
    *value = (struct onerow_value){.kind = ONEROW_NULL};
    switch (type) {
    case OR_NOTION_TITLE:
    case OR_NOTION_RICH_TEXT: {
        struct onerow_span text = or_notion_plain(given, arena);
        set_text(value, ONEROW_TEXT, text.len ? text : (struct onerow_span){0});
        return text.data != NULL;
    }
    case OR_NOTION_SELECT:
    case OR_NOTION_STATUS: return plain_value(member(given, "name"), arena, value);
    case OR_NOTION_MULTI_SELECT: return list_value(given, "name", arena, value);
    case OR_NOTION_PEOPLE:
    case OR_NOTION_RELATION: return list_value(given, "id", arena, value);
    case OR_NOTION_DATE: return date_value(given, arena, value);
    case OR_NOTION_UNIQUE_ID: return plain_value(member(given, "number"), arena, value);
    case OR_NOTION_FORMULA:
    case OR_NOTION_ROLLUP: return computed_value(given, arena, value);
    case OR_NOTION_CREATED_BY:
    case OR_NOTION_EDITED_BY: return plain_value(member(given, "id"), arena, value);
    case OR_NOTION_OTHER: return true;
    default: return plain_value(given, arena, value);
    }
}

/* ---- comparing
 * ------------------------------------------------------------------------------------ */

struct comparing {
    struct or_arena *arena;
    bool no_memory;
};

static bool same_text(struct comparing *c, yyjson_val *wanted, yyjson_val *found)
{
    struct onerow_span a = or_notion_plain(wanted, c->arena);
    struct onerow_span b = or_notion_plain(found, c->arena);
    c->no_memory |= !a.data || !b.data;
    return or_span_equal(a, b);
}

/* Strings, words and null. */
static bool same_plain(yyjson_val *a, yyjson_val *b)
{
    bool a_null = !a || yyjson_is_null(a);
    bool b_null = !b || yyjson_is_null(b);
    if (a_null || b_null) {
        return a_null && b_null;
    }
    return yyjson_is_bool(a) ? yyjson_is_bool(b) && yyjson_get_bool(a) == yyjson_get_bool(b)
                             : yyjson_is_str(a) && yyjson_is_str(b) &&
                                   or_span_equal(or_notion_span(a), or_notion_span(b));
}

static bool read_number(struct comparing *c, yyjson_val *value, double *number)
{
    struct onerow_span digits = {yyjson_get_raw(value), yyjson_get_len(value)};
    if (!yyjson_is_raw(value)) {
        return false;
    }
    struct onerow_span text = or_arena_copy(c->arena, digits);
    c->no_memory |= !text.data;
    *number = text.data ? or_double_parse(text.data) : 0;
    return text.data != NULL;
}

static bool same_number(struct comparing *c, yyjson_val *a, yyjson_val *b)
{
    double x;
    double y;
    if (!yyjson_is_raw(a) || !yyjson_is_raw(b)) {
        return same_plain(a, b);
    }
    return read_number(c, a, &x) && read_number(c, b, &y) && x == y;
}

/* Two instants, or two days. */
static bool same_moment(yyjson_val *a, yyjson_val *b)
{
    char x[OR_TIMESTAMP_MAX];
    char y[OR_TIMESTAMP_MAX];
    size_t x_len = 0;
    size_t y_len = 0;
    if (!yyjson_is_str(a) || !yyjson_is_str(b) ||
        or_timestamp_canonical(or_notion_span(a), x, &x_len) ||
        or_timestamp_canonical(or_notion_span(b), y, &y_len)) {
        return same_plain(a, b);
    }
    return x_len == y_len && memcmp(x, y, x_len) == 0;
}

static bool same_date(yyjson_val *a, yyjson_val *b)
{
    if (!yyjson_is_obj(a) || !yyjson_is_obj(b)) {
        return same_plain(a, b);
    }
    return same_moment(member(a, "start"), member(b, "start")) &&
           same_moment(member(a, "end"), member(b, "end")) &&
           same_plain(member(a, "time_zone"), member(b, "time_zone"));
}

static bool is_in(yyjson_val *list, const char *name, struct onerow_span wanted, bool ids)
{
    yyjson_val *item;
    size_t i;
    size_t n;
    yyjson_arr_foreach(list, i, n, item)
    {
        char id[OR_NOTION_ID];
        struct onerow_span text = or_notion_span(member(item, name));
        if (or_span_equal(text, wanted) ||
            (ids && or_notion_id(text, id) && or_span_is(wanted, id))) {
            return true;
        }
    }
    return false;
}

/* Lists without repetitions, at most 100 long. */
static bool same_list(yyjson_val *wanted, yyjson_val *found, const char *name, bool ids)
{
    yyjson_val *item;
    size_t i;
    size_t n;
    if (!yyjson_is_arr(found) || yyjson_arr_size(wanted) != yyjson_arr_size(found)) {
        return false;
    }
    yyjson_arr_foreach(wanted, i, n, item)
    {
        if (!is_in(found, name, or_notion_span(member(item, name)), ids)) {
            return false;
        }
    }
    return true;
}

/* `wanted` as encode wrote it, `found` as Notion shows it. */
static bool same_property(struct comparing *c, enum or_notion_type type, yyjson_val *wanted,
                          yyjson_val *property)
{
    yyjson_val *found = member(property, or_notion_trait(type)->name);
    switch (type) {
    case OR_NOTION_TITLE:
    case OR_NOTION_RICH_TEXT: return same_text(c, wanted, found);
    case OR_NOTION_NUMBER: return same_number(c, wanted, found);
    case OR_NOTION_SELECT:
    case OR_NOTION_STATUS: return same_plain(member(wanted, "name"), member(found, "name"));
    case OR_NOTION_MULTI_SELECT: return same_list(wanted, found, "name", false);
    case OR_NOTION_PEOPLE:
    case OR_NOTION_RELATION: /* a page shows 25 of them at most, and says when there are more */
        return !yyjson_is_true(member(property, "has_more")) &&
               same_list(wanted, found, "id", true);
    case OR_NOTION_DATE: return same_date(wanted, found);
    default: return same_plain(wanted, found);
    }
}

bool or_notion_same(struct onerow_span payload, yyjson_val *properties, struct or_arena *arena,
                    bool *no_memory)
{
    struct comparing c = {arena, false};
    yyjson_doc *doc = yyjson_read(payload.data, payload.len, YYJSON_READ_NUMBER_AS_RAW);
    yyjson_val *name;
    yyjson_val *entry;
    size_t i;
    size_t n;
    bool same = doc != NULL;
    yyjson_obj_foreach(yyjson_doc_get_root(doc), i, n, name, entry)
    {
        yyjson_obj_iter members = yyjson_obj_iter_with(entry);
        yyjson_val *type = yyjson_obj_iter_next(&members);
        yyjson_val *property =
            yyjson_obj_getn(properties, yyjson_get_str(name), yyjson_get_len(name));
        same = same && type && is_type(property, yyjson_get_str(type)) &&
               same_property(&c, or_notion_type_of(or_notion_span(type)),
                             yyjson_obj_iter_get_val(type), property);
    }
    yyjson_doc_free(doc);
    *no_memory = c.no_memory;
    return same && !c.no_memory;
}
