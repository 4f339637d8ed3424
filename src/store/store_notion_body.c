/* SPDX-License-Identifier: Apache-2.0
 *
 * The calls that are one request each. A page's id comes from the ledger and is checked before it
 * becomes part of a path.
 *
 * CREATE sends the title alone. CREATE_KEYED sends every property that can be written, those that
 * the record lacks as empty ones, so that what is made is told completely; status is left to
 * Notion, which has a default for it. PUBLISH is an edit: it sends the key, the payload, and, where
 * the title is of neither, an empty title in place of the blank's.
 */
#include "base/text.h"
#include "store/store_notion.h"

void or_notion_query_path(const struct or_notion_table *table, struct or_buffer *path)
{
    bool sources = or_notion_store_of(table->base.store)->version != OR_NOTION_2022;
    or_buffer_printf(path, "/v1/%s/%s/query", sources ? "data_sources" : "databases",
                     sources ? table->source : table->database);
}

static void add_parent(const struct or_notion_table *table, struct or_buffer *body)
{
    bool sources = or_notion_store_of(table->base.store)->version != OR_NOTION_2022;
    or_buffer_printf(body, "{\"parent\":{\"type\":\"%s\",\"%s\":\"%s\"},\"properties\":{",
                     sources ? "data_source_id" : "database_id",
                     sources ? "data_source_id" : "database_id",
                     sources ? table->source : table->database);
}

static bool add_key(const struct or_notion_table *table, const struct onerow_record *key,
                    struct or_buffer *body, const char **reason, struct or_arena *arena)
{
    bool good = true;
    for (size_t k = 0; good && k < table->spec.n_key; k++) {
        or_buffer_text(body, k ? "," : "");
        good = or_notion_encode_value(table, &key->values[k], body, arena, reason);
    }
    return good;
}

/* The payload's members, behind others. */
static void add_payload(struct onerow_span payload, bool first, struct or_buffer *body)
{
    if (payload.len > 2) { /* not {} */
        or_buffer_text(body, first ? "" : ",");
        or_buffer_add(body, payload.data + 1, payload.len - 2);
    }
}

static bool is_key(const struct or_notion_table *table, uint16_t column)
{
    for (size_t k = 0; k < table->spec.n_key; k++) {
        if (table->base.key[k] == column) {
            return true;
        }
    }
    return false;
}

static bool in_payload(yyjson_val *payload, const char *name)
{
    return yyjson_obj_get(payload, name) != NULL;
}

/* What neither key nor payload says: all of it, or the title alone. */
static void add_rest(const struct or_notion_table *table, struct onerow_span payload, bool all,
                     struct or_buffer *body)
{
    yyjson_doc *doc = yyjson_read(payload.data, payload.len, YYJSON_READ_NUMBER_AS_RAW);
    yyjson_val *given = yyjson_doc_get_root(doc);
    body->failed |= !doc;
    for (size_t i = 0; doc && i < table->base.n_columns; i++) {
        uint16_t column = (uint16_t)i;
        bool wanted = all ? table->properties[i].type != OR_NOTION_STATUS &&
                                table->properties[i].type != OR_NOTION_CHECKBOX &&
                                !table->columns[i].not_writable
                          : column == table->title;
        if (wanted && !is_key(table, column) && !in_payload(given, table->columns[i].name)) {
            or_buffer_char(body, ',');
            body->failed |= !or_notion_encode_empty(table, column, body);
        }
    }
    yyjson_doc_free(doc);
}

static bool add_page(const struct onerow_page_call *call, bool create, struct or_buffer *body,
                     const char **reason)
{
    const struct or_notion_table *table = or_notion_table_of(call->table);
    if (create) {
        add_parent(table, body);
    } else {
        or_buffer_text(body, "{\"properties\":{");
    }
    if (!add_key(table, call->keys[0], body, reason, call->arena)) {
        return false;
    }
    add_payload(call->payload, false, body);
    add_rest(table, call->payload, create, body);
    or_buffer_text(body, "}}");
    return true;
}

static void add_blank(const struct onerow_page_call *call, struct or_buffer *body)
{
    const struct or_notion_table *table = or_notion_table_of(call->table);
    add_parent(table, body);
    or_notion_encode_text(table, table->title, call->title, body);
    or_buffer_text(body, "}}");
}

static void add_trash(const struct onerow_page_call *call, bool trash, struct or_buffer *body)
{
    bool newest = or_notion_store_of(call->table->store)->version == OR_NOTION_2026;
    or_buffer_printf(body, "{\"%s\":%s}", newest ? "in_trash" : "archived",
                     trash ? "true" : "false");
}

/* The key's texts become the title; a key without any is emptied where it cannot be NULL. */
static bool add_moved(const struct onerow_page_call *call, struct or_buffer *body)
{
    const struct or_notion_table *table = or_notion_table_of(call->table);
    bool moved = false;
    or_buffer_text(body, "{\"properties\":{");
    for (size_t k = 0; k < table->spec.n_key; k++) {
        uint16_t column = table->base.key[k];
        enum or_notion_type type = table->properties[column].type;
        if (type == OR_NOTION_TITLE || type == OR_NOTION_RICH_TEXT) {
            or_buffer_text(body, moved ? "," : "");
            or_notion_encode_text(table, column, call->title, body);
            moved = true;
        }
    }
    for (size_t k = 0; !moved && k < table->spec.n_key; k++) {
        if (!table->spec.key[k].nulls_equal) {
            moved = or_notion_encode_empty(table, table->base.key[k], body);
        }
    }
    or_buffer_text(body, "}}");
    return moved;
}

/* False: it cannot be written, for the reason. */
static bool add_body(const struct onerow_page_call *call, struct or_buffer *body,
                     const char **reason)
{
    switch (call->what) {
    case ONEROW_PAGE_CREATE: add_blank(call, body); return true;
    case ONEROW_PAGE_CREATE_KEYED: return add_page(call, true, body, reason);
    case ONEROW_PAGE_PUBLISH: return add_page(call, false, body, reason);
    case ONEROW_PAGE_WRITE:
        or_buffer_text(body, "{\"properties\":");
        or_buffer_span(body, call->payload);
        or_buffer_char(body, '}');
        return true;
    case ONEROW_PAGE_RESTORE: add_trash(call, false, body); return true;
    case ONEROW_PAGE_TRASH: add_trash(call, true, body); return true;
    case ONEROW_PAGE_MOVE_KEY:
        *reason = "the key has no property that could hold something else";
        return add_moved(call, body);
    default: return true;
    }
}

bool or_notion_body(const struct onerow_page_call *call, const char **method,
                    struct or_buffer *path, struct or_buffer *body, const char **reason)
{
    bool create = call->what == ONEROW_PAGE_CREATE || call->what == ONEROW_PAGE_CREATE_KEYED;
    char id[OR_NOTION_ID] = "";
    *reason = NULL;
    if (!create && !or_notion_id(call->page, id)) {
        *reason = "the page's id in the ledger is no id of Notion";
        return false;
    }
    *method = create ? "POST" : call->what == ONEROW_PAGE_GET ? "GET" : "PATCH";
    or_buffer_printf(path, "/v1/pages%s%s", create ? "" : "/", id);
    if (!add_body(call, body, reason)) {
        return false;
    }
    if (body->len > OR_NOTION_BODY_MAX) {
        *reason = "the request is larger than the 500 KB that Notion takes";
        return false;
    }
    return true;
}
