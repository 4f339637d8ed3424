/* SPDX-License-Identifier: Apache-2.0
 *
 * Values that are made of parts: options, lists of options and ids, dates with an end. JSON says
 * them exactly; a CSV field says a list with commas, which neither an option's name nor an id can
 * hold.
 */
#include <string.h>

#include "base/text.h"
#include "store/store_notion_encode.h"

/* ---- options --------------------------------------------------------------------------------- */

static bool add_option(struct or_notion_encoding *e, struct onerow_span name, bool commas)
{
    if (!or_notion_check_units(e, name, OR_NOTION_OPTION_MAX, "names an option of")) {
        return false;
    }
    if (name.len == 0) {
        return or_notion_refuse(e, "names an option without a name");
    }
    if (!commas && memchr(name.data, ',', name.len)) {
        return or_notion_refuse(e, "names an option with a comma in it, which Notion refuses");
    }
    or_buffer_text(e->json, "{\"name\":");
    or_buffer_json(e->json, name);
    or_buffer_char(e->json, '}');
    return true;
}

static bool is_option(const struct or_notion_property *property, struct onerow_span name)
{
    for (size_t i = 0; i < property->n_options; i++) {
        if (or_span_is(name, property->options[i])) {
            return true;
        }
    }
    return false;
}

static bool refuse_status(struct or_notion_encoding *e)
{
    struct onerow_span shown = or_span_cut(e->text, 80);
    struct or_buffer known;
    or_buffer_init(&known);
    for (size_t i = 0; i < e->property->n_options && known.len < 200; i++) {
        or_buffer_printf(&known, "%s\"%s\"", i ? ", " : "", e->property->options[i]);
    }
    (void)or_notion_refuse(
        e, "is \"%.*s\", which is no option of this status (%s); Notion makes no new ones",
        (int)shown.len, shown.data, or_buffer_cstr(&known));
    or_buffer_finish(&known);
    return false;
}

bool or_notion_add_choice(struct or_notion_encoding *e)
{
    bool status = e->property->type == OR_NOTION_STATUS;
    if (e->value->kind != ONEROW_NULL && !or_notion_is_text(e->value)) {
        return or_notion_refuse_kind(e);
    }
    if (e->text.len == 0) {
        or_buffer_text(e->json, "null");
        return true;
    }
    if (status && !is_option(e->property, e->text)) {
        return refuse_status(e);
    }
    return add_option(e, e->text, status);
}

/* ---- lists -------------------------------------------------------------------------------------
 */

static const char KEYS[] = "; a table under `relations:` lets it be given by key";

struct list {
    struct onerow_span items[OR_NOTION_LIST_MAX];
    size_t n;
};

static bool add_item(struct or_notion_encoding *e, struct list *list, struct onerow_span item)
{
    for (size_t i = 0; i < list->n; i++) {
        if (or_span_equal(list->items[i], item)) {
            return true;
        }
    }
    if (list->n == OR_NOTION_LIST_MAX) {
        return or_notion_refuse(e, "lists more than %u; Notion takes no more", OR_NOTION_LIST_MAX);
    }
    list->items[list->n++] = item;
    return true;
}

/* Ids come in any spelling, options as they are. */
static bool add_given(struct or_notion_encoding *e, struct list *list, struct onerow_span item)
{
    char id[OR_NOTION_ID];
    if (e->property->type == OR_NOTION_MULTI_SELECT) {
        return add_item(e, list, item);
    }
    if (!or_notion_id(item, id)) {
        struct onerow_span shown = or_span_cut(item, 80);
        return or_notion_refuse(e, "lists \"%.*s\", which is no id of Notion%s", (int)shown.len,
                                shown.data, e->property->type == OR_NOTION_RELATION ? KEYS : "");
    }
    struct onerow_span copy = or_arena_copy(e->arena, or_span(id));
    e->no_memory |= !copy.data;
    return copy.data && add_item(e, list, copy);
}

static bool read_array(struct or_notion_encoding *e, struct list *list)
{
    yyjson_doc *doc = yyjson_read(e->text.data, e->text.len, YYJSON_READ_NUMBER_AS_RAW);
    yyjson_val *root = doc ? yyjson_doc_get_root(doc) : NULL;
    yyjson_val *item;
    size_t i;
    size_t n;
    bool good = yyjson_is_arr(root) || or_notion_refuse_kind(e);
    yyjson_arr_foreach(root, i, n, item)
    {
        struct onerow_span text =
            or_arena_copy(e->arena, yyjson_is_str(item) ? or_notion_span(item) : OR_SPAN(""));
        good =
            good && (yyjson_is_str(item) || or_notion_refuse(e, "is a list of texts or nothing"));
        e->no_memory |= !text.data;
        good = good && text.data && add_given(e, list, text);
    }
    yyjson_doc_free(doc);
    return good;
}

/* A CSV field: names or ids with commas between them, which neither can hold. */
static bool read_commas(struct or_notion_encoding *e, struct list *list)
{
    for (size_t at = 0; at <= e->text.len;) {
        const char *start = e->text.data + at;
        const char *comma = memchr(start, ',', e->text.len - at);
        size_t len = comma ? (size_t)(comma - start) : e->text.len - at;
        struct onerow_span item = or_span_trim((struct onerow_span){start, len});
        if (item.len && !add_given(e, list, item)) {
            return false;
        }
        at += len + 1;
    }
    return true;
}

static bool read_list(struct or_notion_encoding *e, struct list *list)
{
    bool array = e->text.len && e->text.data[0] == '[';
    switch ((enum onerow_kind)e->value->kind) {
    case ONEROW_NULL: return true;
    case ONEROW_JSON: return read_array(e, list);
    case ONEROW_TEXT: return e->text.len == 0 || add_given(e, list, e->text);
    case ONEROW_UNTYPED: return array ? read_array(e, list) : read_commas(e, list);
    default: return or_notion_refuse_kind(e);
    }
}

bool or_notion_add_list(struct or_notion_encoding *e)
{
    struct list list = {.n = 0};
    bool options = e->property->type == OR_NOTION_MULTI_SELECT;
    if (!read_list(e, &list)) {
        return false;
    }
    or_buffer_char(e->json, '[');
    for (size_t i = 0; i < list.n; i++) {
        or_buffer_text(e->json, i ? "," : "");
        if (options && !add_option(e, list.items[i], false)) {
            return false;
        }
        if (!options) {
            or_buffer_printf(e->json, "{\"id\":\"%.*s\"}", (int)list.items[i].len,
                             list.items[i].data);
        }
    }
    or_buffer_char(e->json, ']');
    return true;
}

/* ---- dates ------------------------------------------------------------------------------------
 */

/* A day, or an instant in UTC as fine as Notion keeps it. `local`: a zone is told beside it. */
static bool add_moment(struct or_notion_encoding *e, struct onerow_span text, bool local)
{
    char canonical[OR_TIMESTAMP_MAX];
    size_t len = 0;
    if (or_date_check(text) == NULL) {
        or_buffer_json(e->json, text);
        return true;
    }
    const char *reason = or_timestamp_canonical(text, canonical, &len);
    if (reason) {
        return or_notion_refuse(
            e, "is no date (YYYY-MM-DD) and no timestamp (YYYY-MM-DDTHH:MM:SS, then Z or "
               "±HH:MM)");
    }
    if (len > sizeof "2024-02-29T12:00:00.123Z" - 1) {
        return or_notion_refuse(e, "is finer than a millisecond, which Notion does not keep");
    }
    struct onerow_span moment = {canonical, local ? len - 1 : len};
    or_buffer_json(e->json, moment);
    return true;
}

static bool add_moment_of(struct or_notion_encoding *e, yyjson_val *date, const char *name,
                          bool local)
{
    yyjson_val *given = yyjson_obj_get(date, name);
    or_buffer_printf(e->json, "\"%s\":", name);
    if (yyjson_is_str(given)) {
        return add_moment(e, or_notion_span(given), local);
    }
    or_buffer_text(e->json, "null");
    return strcmp(name, "end") == 0 && (!given || yyjson_is_null(given)) ? true
                                                                         : or_notion_refuse_kind(e);
}

static bool add_range_of(struct or_notion_encoding *e, yyjson_val *date)
{
    yyjson_val *zone = yyjson_obj_get(date, "time_zone");
    bool local = yyjson_is_str(zone);
    size_t known = (yyjson_obj_get(date, "start") != NULL) + (yyjson_obj_get(date, "end") != NULL) +
                   (zone != NULL);
    if (!yyjson_is_obj(date) || yyjson_obj_size(date) != known ||
        (zone && !local && !yyjson_is_null(zone))) {
        return or_notion_refuse(e, "is a date of other parts than start, end and time_zone");
    }
    or_buffer_char(e->json, '{');
    bool good = add_moment_of(e, date, "start", local);
    or_buffer_char(e->json, ',');
    good = good && add_moment_of(e, date, "end", local);
    if (local) {
        or_buffer_text(e->json, ",\"time_zone\":");
        or_buffer_json(e->json, or_notion_span(zone));
    }
    or_buffer_char(e->json, '}');
    return good;
}

static bool add_range(struct or_notion_encoding *e)
{
    yyjson_doc *doc = yyjson_read(e->text.data, e->text.len, YYJSON_READ_NUMBER_AS_RAW);
    bool good = doc && add_range_of(e, yyjson_doc_get_root(doc));
    good = good || e->reason || or_notion_refuse_kind(e);
    yyjson_doc_free(doc);
    return good && !e->reason;
}

bool or_notion_add_date(struct or_notion_encoding *e)
{
    bool object = e->text.len && e->text.data[0] == '{';
    if (e->value->kind == ONEROW_NULL || (or_notion_is_text(e->value) && e->text.len == 0)) {
        or_buffer_text(e->json, "null");
        return true;
    }
    if (e->value->kind == ONEROW_JSON || (e->value->kind == ONEROW_UNTYPED && object)) {
        return add_range(e);
    }
    if (!or_notion_is_text(e->value)) {
        return or_notion_refuse_kind(e);
    }
    or_buffer_text(e->json, "{\"start\":");
    bool good = add_moment(e, e->text, false);
    or_buffer_char(e->json, '}');
    return good;
}
