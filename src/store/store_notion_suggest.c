/* SPDX-License-Identifier: Apache-2.0
 *
 * `onerow init`: the data sources that were shared with the token, each with its title as the key,
 * which is what people tell pages apart by. They are found by Notion's search, which may not know
 * yet what was shared a moment ago; a location that is named is looked at itself.
 */
#include <string.h>

#include "base/status.h"
#include "base/text.h"
#include "store/store_notion.h"
#include "store/suggest.h"

#define SOURCES_MAX 4000U

struct list {
    struct or_suggested *rows; /* in the arena */
    size_t n;
    struct or_arena *arena;
    char *cursor; /* in the arena; NULL: there are no more */
};

static const char *title_property(yyjson_val *source)
{
    yyjson_val *name;
    yyjson_val *property;
    size_t i;
    size_t n;
    yyjson_obj_foreach(yyjson_obj_get(source, "properties"), i, n, name, property)
    {
        if (yyjson_equals_str(yyjson_obj_get(property, "type"), "title")) {
            return yyjson_get_str(name);
        }
    }
    return NULL;
}

/* False: no memory. */
static bool add_source(struct list *list, yyjson_val *source)
{
    char id[OR_NOTION_ID];
    const char *title = title_property(source);
    bool fits = yyjson_equals_str(yyjson_obj_get(source, "object"), "data_source") &&
                or_notion_id(or_notion_span(yyjson_obj_get(source, "id")), id);
    if (!fits || list->n == SOURCES_MAX || or_notion_in_trash(source)) {
        return true;
    }
    struct onerow_span name = or_notion_plain(yyjson_obj_get(source, "title"), list->arena);
    struct or_suggested *row = &list->rows[list->n++];
    *row = (struct or_suggested){.name = name.len ? name.data : "untitled",
                                 .location = or_arena_copy(list->arena, or_span(id)).data,
                                 .column = title ? or_arena_copy(list->arena, or_span(title)).data
                                                 : NULL};
    return name.data && row->location && (!title || row->column);
}

static bool add_sources(struct list *list, yyjson_val *root)
{
    yyjson_val *next = yyjson_obj_get(root, "next_cursor");
    yyjson_val *source;
    size_t i;
    size_t n;
    yyjson_arr_foreach(yyjson_obj_get(root, "results"), i, n, source)
    {
        if (!add_source(list, source)) {
            return false;
        }
    }
    bool more = yyjson_is_true(yyjson_obj_get(root, "has_more")) && yyjson_is_str(next) &&
                list->n < SOURCES_MAX;
    list->cursor =
        more ? (char *)(uintptr_t)or_arena_copy(list->arena, or_notion_span(next)).data : NULL;
    return !more || list->cursor;
}

static enum onerow_status search(struct or_notion_store *store, struct list *list,
                                 struct onerow_error *error)
{
    struct or_notion_ask ask = {.operation = "search for data sources",
                                .method = "POST",
                                .path = "/v1/search",
                                .version = store->version == OR_NOTION_2022 ? OR_NOTION_2025
                                                                            : store->version};
    struct or_buffer body;
    or_buffer_init(&body);
    or_buffer_text(&body, "{\"filter\":{\"property\":\"object\",\"value\":\"data_source\"},");
    if (list->cursor) {
        or_buffer_text(&body, "\"start_cursor\":");
        or_buffer_json(&body, or_span(list->cursor));
        or_buffer_char(&body, ',');
    }
    or_buffer_printf(&body, "\"page_size\":%u}", OR_NOTION_PAGE_SIZE);
    ask.body = or_buffer_view(&body);
    enum onerow_status status = body.failed ? or_fail(error, ONEROW_NOMEM, "out of memory")
                                            : or_notion_ask(store, &ask, error);
    if (status == ONEROW_OK && ask.answer.root && !add_sources(list, ask.answer.root)) {
        status = or_fail(error, ONEROW_NOMEM, "out of memory");
    }
    or_notion_ask_finish(&ask);
    or_buffer_finish(&body);
    return status;
}

/* The one that was named, as table_open finds it. */
static enum onerow_status name_one(struct onerow_store *store, const char *location,
                                   struct list *list, struct onerow_error *error)
{
    const struct onerow_table_spec spec = {
        .name = location, .location = location, .only_look = true};
    struct onerow_store_table *opened = NULL;
    enum onerow_status status = or_notion_table_open(store, &spec, &opened, error);
    if (status != ONEROW_OK) {
        return status;
    }
    const struct or_notion_table *table = or_notion_table_of(opened);
    struct or_suggested *row = &list->rows[list->n++];
    *row = (struct or_suggested){
        .name = or_arena_copy(list->arena, or_span(*table->name ? table->name : "untitled")).data,
        .location = or_arena_copy(list->arena, or_span(table->source)).data,
        .column = or_arena_copy(list->arena, or_span(table->columns[table->title].name)).data};
    or_notion_table_close(opened);
    return row->name && row->location && row->column
               ? ONEROW_OK
               : or_fail(error, ONEROW_NOMEM, "out of memory");
}

enum onerow_status or_notion_suggest(struct onerow_store *base, const char *name,
                                     const char *location, struct or_buffer *yaml,
                                     struct onerow_error *error)
{
    struct or_arena arena;
    or_arena_init(&arena);
    struct list list = {.arena = &arena};
    list.rows = or_arena_alloc(&arena, SOURCES_MAX * sizeof *list.rows);
    enum onerow_status status = !list.rows ? or_fail(error, ONEROW_NOMEM, "out of memory")
                                : location ? name_one(base, location, &list, error)
                                           : search(or_notion_store_of(base), &list, error);
    while (status == ONEROW_OK && list.cursor) {
        status = search(or_notion_store_of(base), &list, error);
    }
    if (status == ONEROW_OK && list.n == 0) {
        status = or_fail(error, ONEROW_ABSENT,
                         "notion: no database is shared with this token\n  in Notion: open the "
                         "database, ••• > Connections, and add the integration");
    }
    if (status == ONEROW_OK) {
        status = or_suggest_tables(base, name, list.rows, list.n, yaml, error);
    }
    or_arena_finish(&arena);
    return status;
}
