/* SPDX-License-Identifier: Apache-2.0
 *
 * The results of a query, as one answer or none. An answer is complete when every page of it was
 * read, and Notion did not say that it left something out: that it does at 10,000 results, with
 * has_more false as if that were all.
 */
#include <string.h>

#include "base/text.h"
#include "store/store_notion.h"

static const char NO_MEMORY[] = "out of memory";

bool or_notion_in_trash(yyjson_val *page)
{
    yyjson_val *trash = yyjson_obj_get(page, "in_trash");
    return yyjson_is_true(trash ? trash : yyjson_obj_get(page, "archived"));
}

/* ---- one page
 * ------------------------------------------------------------------------------------ */

static yyjson_val *property_of(const struct or_notion_table *table, yyjson_val *properties,
                               uint16_t column)
{
    return yyjson_obj_get(properties, table->columns[column].name);
}

/* False: no memory. */
static bool take_parts(const struct or_notion_table *table, yyjson_val *properties,
                       struct or_arena *arena, struct onerow_page *found)
{
    size_t n = table->spec.n_key;
    struct onerow_value *parts = or_arena_alloc(arena, n * sizeof *parts);
    if (!parts) {
        return false;
    }
    found->parts = parts;
    for (size_t k = 0; k < n; k++) {
        uint16_t column = table->base.key[k];
        yyjson_val *property = property_of(table, properties, column);
        if (!or_notion_value(property, arena, &parts[k])) {
            return false;
        }
        parts[k].column = column;
        if (parts[k].data) {
            struct onerow_span copy =
                or_arena_copy(arena, (struct onerow_span){parts[k].data, parts[k].len});
            parts[k].data = copy.data;
        }
        if (parts[k].kind != ONEROW_NULL && !parts[k].data) {
            return false;
        }
    }
    return true;
}

static bool has_relations(yyjson_val *properties)
{
    yyjson_val *name;
    yyjson_val *property;
    size_t i;
    size_t n;
    yyjson_obj_foreach(properties, i, n, name, property)
    {
        if (yyjson_equals_str(yyjson_obj_get(property, "type"), "relation") &&
            yyjson_arr_size(yyjson_obj_get(property, "relation"))) {
            return true;
        }
    }
    return false;
}

/* Whoever is not this token's own user counts as a person. */
static bool is_edited(const struct or_notion_table *table, yyjson_val *page)
{
    const char *bot = or_notion_store_of(table->base.store)->bot;
    char id[OR_NOTION_ID];
    yyjson_val *user = yyjson_obj_get(yyjson_obj_get(page, "last_edited_by"), "id");
    return !*bot || !yyjson_is_str(user) || !or_notion_id(or_notion_span(user), id) ||
           strcmp(id, bot) != 0;
}

static bool lacks_column(const struct or_notion_table *table, yyjson_val *properties)
{
    bool lacks = !property_of(table, properties, table->title);
    for (size_t k = 0; k < table->spec.n_key; k++) {
        lacks = lacks || !property_of(table, properties, table->base.key[k]);
    }
    return lacks;
}

const char *or_notion_take_page(const struct or_notion_table *table, yyjson_val *page,
                                struct or_arena *arena, struct onerow_page *found, bool *skip)
{
    char id[OR_NOTION_ID];
    yyjson_val *object = yyjson_obj_get(page, "object");
    yyjson_val *properties = yyjson_obj_get(page, "properties");
    yyjson_val *created = yyjson_obj_get(page, "created_time");
    *found = (struct onerow_page){0};
    *skip = yyjson_equals_str(object, "data_source") || yyjson_equals_str(object, "database");
    if (*skip) {
        return NULL;
    }
    if (!yyjson_equals_str(object, "page") ||
        !or_notion_id(or_notion_span(yyjson_obj_get(page, "id")), id)) {
        return "it holds something that is no page";
    }
    if (!yyjson_is_obj(properties)) {
        return "the token may not read the pages' content";
    }
    if (lacks_column(table, properties)) {
        return "a page lacks a property of the key: the database was changed";
    }
    struct onerow_span copy = or_arena_copy(arena, or_span(id));
    struct onerow_span title = or_notion_plain(
        yyjson_obj_get(property_of(table, properties, table->title), "title"), arena);
    found->id = copy;
    found->title = title;
    found->edited = is_edited(table, page);
    found->attached = has_relations(properties);
    if (!yyjson_is_str(created) || !or_timestamp_ms(or_notion_span(created), &found->created_ms)) {
        return "a page has no time of creation";
    }
    bool taken = or_notion_reserved(title) || take_parts(table, properties, arena, found);
    return copy.data && title.data && taken ? NULL : NO_MEMORY;
}

/* ---- a page of results
 * ----------------------------------------------------------------------------- */

static bool has_room(struct or_notion_results *results)
{
    if (results->n < results->room) {
        return true;
    }
    size_t room = results->room ? 2 * results->room : 16;
    struct onerow_page *pages = or_arena_alloc(results->arena, room * sizeof *pages);
    if (!pages) {
        return false;
    }
    for (size_t i = 0; i < results->n; i++) {
        pages[i] = results->pages[i];
    }
    results->pages = pages;
    results->room = room;
    return true;
}

static const char *take_rows(struct or_notion_results *results, yyjson_val *rows)
{
    yyjson_val *row;
    size_t i;
    size_t n;
    yyjson_arr_foreach(rows, i, n, row)
    {
        bool skip = false;
        if (!has_room(results)) {
            return NO_MEMORY;
        }
        const char *why = or_notion_take_page(results->table, row, results->arena,
                                              &results->pages[results->n], &skip);
        if (why) {
            return why;
        }
        results->n += !skip && !or_notion_in_trash(row);
    }
    results->seen += n;
    return NULL;
}

/* The next page's cursor, which must lead on. */
static const char *take_cursor(struct or_notion_results *results, yyjson_val *root)
{
    yyjson_val *more = yyjson_obj_get(root, "has_more");
    yyjson_val *next = yyjson_obj_get(root, "next_cursor");
    const char *before = results->cursor;
    results->cursor = NULL;
    if (!yyjson_is_bool(more)) {
        return "it does not say whether there is more";
    }
    if (yyjson_is_false(more)) {
        return NULL;
    }
    if (!yyjson_is_str(next) || !*yyjson_get_str(next) ||
        (before && strcmp(before, yyjson_get_str(next)) == 0)) {
        return "it says that there is more, and not where";
    }
    results->cursor = (char *)(uintptr_t)or_arena_copy(results->arena, or_notion_span(next)).data;
    return results->cursor ? NULL : NO_MEMORY;
}

const char *or_notion_take_results(struct or_notion_results *results, yyjson_val *root)
{
    yyjson_val *rows = yyjson_obj_get(root, "results");
    yyjson_val *state = yyjson_obj_get(root, "request_status");
    yyjson_val *type = yyjson_obj_get(state, "type");
    if (!yyjson_is_arr(rows)) {
        return "it holds no results";
    }
    const char *why = take_rows(results, rows);
    why = why ? why : take_cursor(results, root);
    results->cut = !why && ((type && !yyjson_equals_str(type, "complete")) ||
                            results->seen >= OR_NOTION_ROWS_MAX);
    return results->cut ? "Notion left results out: 10,000 are the most that one query gives" : why;
}
