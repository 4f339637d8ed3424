/* SPDX-License-Identifier: Apache-2.0
 *
 * Blocks. An append is never idempotent: the same request twice appends twice. At most 100 children
 * in one array, two levels in one request, 1,000 blocks in all
 * (developers.notion.com/reference/request-limits, /reference/patch-block-children).
 */
#include <stdlib.h>
#include <string.h>

#include "notion_sim/nsim_call.h"

#define CHILDREN_MAX 100U
#define BLOCKS_MAX   1000U
#define URL_MAX      2000U

static const char *const types[] = {"paragraph",
                                    "heading_1",
                                    "heading_2",
                                    "heading_3",
                                    "heading_4",
                                    "quote",
                                    "to_do",
                                    "bulleted_list_item",
                                    "numbered_list_item",
                                    "toggle",
                                    "callout",
                                    "code",
                                    "divider",
                                    "equation",
                                    "bookmark",
                                    "embed",
                                    "image",
                                    "video",
                                    "file",
                                    "pdf",
                                    "audio",
                                    "table",
                                    "table_row",
                                    "column_list",
                                    "column",
                                    "breadcrumb",
                                    "synced_block",
                                    "table_of_contents",
                                    "link_to_page",
                                    "template",
                                    NULL};

/* Static; NULL: the block has none that is known. */
static const char *type_of(yyjson_val *block)
{
    for (size_t i = 0; types[i]; i++) {
        if (yyjson_obj_get(block, types[i])) {
            return types[i];
        }
    }
    return NULL;
}

static yyjson_val *children_in(yyjson_val *block, yyjson_val *content)
{
    yyjson_val *children = yyjson_obj_get(content, "children");
    return children ? children : yyjson_obj_get(block, "children");
}

/* ---- the check ----------------------------------------------------------------------------- */

static bool check_texts(struct or_nsim_call *call, const struct or_nsim_path *path,
                        yyjson_val *content)
{
    static const char *const names[] = {"rich_text", "caption"};
    struct or_buffer out;
    bool fine = true;
    or_buffer_init(&out);
    for (size_t i = 0; fine && i < 2; i++) {
        yyjson_val *given = yyjson_obj_get(content, names[i]);
        const struct or_nsim_path at = {path, names[i], 0};
        fine = !given || or_nsim_rich_text(call, &at, given, &out, NULL);
    }
    or_buffer_finish(&out);
    return fine;
}

static bool check_url(struct or_nsim_call *call, const struct or_nsim_path *path,
                      yyjson_val *content)
{
    yyjson_val *external = yyjson_obj_get(content, "external");
    const struct or_nsim_path at_external = {path, "external", 0};
    const struct or_nsim_path at = {external ? &at_external : path, "url", 0};
    yyjson_val *url = yyjson_obj_get(external ? external : content, "url");
    size_t len = url ? or_nsim_utf16_length(or_nsim_string(url)) : 0;
    return len <= URL_MAX ||
           or_nsim_invalid(call, &at, ".length should be ≤ `%u`, instead was `%zu`.", URL_MAX, len);
}

static bool check_block(struct or_nsim_call *call, const struct or_nsim_path *path,
                        yyjson_val *block, unsigned depth, size_t *total)
{
    const char *type = type_of(block);
    yyjson_val *archived = yyjson_obj_get(block, "archived");
    if (archived) {
        const struct or_nsim_path at = {path, "archived", 0};
        return or_nsim_invalid_value(call, &at, "not present", archived);
    }
    if (!type) {
        return or_nsim_invalid(call, path, " should have a known type, such as paragraph.");
    }
    const struct or_nsim_path at = {path, type, 0};
    const struct or_nsim_path at_children = {&at, "children", 0};
    yyjson_val *content = yyjson_obj_get(block, type);
    yyjson_val *children = children_in(block, content);
    if (!yyjson_is_obj(content)) {
        return or_nsim_invalid_value(call, &at, "an object", content);
    }
    if (!check_texts(call, &at, content) || !check_url(call, &at, content)) {
        return false;
    }
    if (!children) {
        return true;
    }
    if (depth <= 1) {
        return or_nsim_invalid_value(call, &at_children, "not present", children);
    }
    return or_nsim_blocks_check(call, &at_children, children, depth - 1, total);
}

bool or_nsim_blocks_check(struct or_nsim_call *call, const struct or_nsim_path *path,
                          yyjson_val *children, unsigned depth, size_t *total)
{
    yyjson_val *block;
    size_t i;
    size_t n;
    if (!yyjson_is_arr(children)) {
        return or_nsim_invalid_value(call, path, "an array", children);
    }
    if (yyjson_arr_size(children) > CHILDREN_MAX) {
        return or_nsim_invalid(call, path, ".length should be ≤ `%u`, instead was `%zu`.",
                               CHILDREN_MAX, yyjson_arr_size(children));
    }
    *total += yyjson_arr_size(children);
    if (*total > BLOCKS_MAX) {
        return or_nsim_fail(call, OR_NSIM_VALIDATION,
                            "body failed validation: a request holds at most 1000 blocks.");
    }
    yyjson_arr_foreach(children, i, n, block)
    {
        const struct or_nsim_path at = {path, NULL, i};
        if (!check_block(call, &at, block, depth, total)) {
            return false;
        }
    }
    return true;
}

/* ---- the write ----------------------------------------------------------------------------- */

static void show_member(struct or_buffer *out, yyjson_val *name, const char *json)
{
    or_buffer_text(out, out->len > 1 ? "," : "");
    or_buffer_json(out, or_nsim_string(name));
    or_buffer_char(out, ':');
    or_buffer_text(out, json);
}

/* The content as it is answered: texts in full, without children. */
static char *content_json(struct or_nsim_call *call, yyjson_val *content)
{
    const struct or_nsim_path path = {.name = "body"};
    struct or_buffer out;
    struct or_buffer text;
    yyjson_val *name;
    yyjson_val *value;
    size_t i;
    size_t n;
    or_buffer_init(&out);
    or_buffer_init(&text);
    or_buffer_char(&out, '{');
    yyjson_obj_foreach(content, i, n, name, value)
    {
        bool rich = or_span_is(or_nsim_string(name), "rich_text") ||
                    or_span_is(or_nsim_string(name), "caption");
        if (or_span_is(or_nsim_string(name), "children")) {
            continue;
        }
        if (rich && or_nsim_rich_text(call, &path, value, &text, NULL)) {
            show_member(&out, name, or_buffer_cstr(&text));
        } else {
            char *json = or_nsim_json_copy(value);
            show_member(&out, name, json);
            free(json);
        }
    }
    if (yyjson_obj_get(content, "rich_text") && !yyjson_obj_get(content, "color")) {
        or_buffer_text(&out, ",\"color\":\"default\"");
    }
    or_buffer_char(&out, '}');
    or_buffer_finish(&text);
    return or_nsim_steal(&out);
}

void or_nsim_blocks_add(struct or_nsim_call *call, struct or_nsim_object *parent,
                        const struct or_nsim_object *after, bool first, yyjson_val *children,
                        bool tell)
{
    yyjson_val *given;
    size_t i;
    size_t n;
    yyjson_arr_foreach(children, i, n, given)
    {
        const struct or_nsim_object o = {.parent = parent,
                                         .created_ms = call->now_ms,
                                         .edited_ms = call->now_ms,
                                         .created_by = call->token,
                                         .edited_by = call->token};
        struct or_nsim_block *block = or_nsim_add_block(&call->sim->model, &o, after, first);
        block->type = type_of(given);
        yyjson_val *content = yyjson_obj_get(given, block->type);
        block->content = content_json(call, content);
        or_nsim_blocks_add(call, &block->o, NULL, false, children_in(given, content), false);
        if (tell) {
            or_buffer_printf(&call->made_children, "%s\"%s\"", i ? "," : "", block->o.id);
        }
        after = &block->o;
        first = false;
    }
}

/* ---- routes -------------------------------------------------------------------------------- */

static struct or_nsim_object *target(struct or_nsim_call *call, unsigned capability)
{
    struct or_nsim_object *object =
        or_nsim_may(call, capability) ? or_nsim_target(call, 0, OR_NSIM_BLOCK, "block") : NULL;
    return object && or_nsim_single(call, object) ? object : NULL;
}

bool or_nsim_block_get(struct or_nsim_call *call)
{
    const struct or_nsim_object *object = target(call, OR_NSIM_CAN_READ);
    if (object) {
        or_nsim_show_block(call, object);
    }
    return object;
}

bool or_nsim_block_delete(struct or_nsim_call *call)
{
    struct or_nsim_object *object = target(call, OR_NSIM_CAN_UPDATE);
    if (!object) {
        return false;
    }
    if (object->in_trash) {
        return or_nsim_refuse_trashed(call);
    }
    if (!or_nsim_commit(call)) {
        return false;
    }
    or_nsim_touch(call, object);
    or_nsim_set_trash(object, true, call->now_ms);
    or_nsim_show_block(call, object);
    return true;
}

/* New members replace old ones; the others stay. */
static char *merged_content(struct or_nsim_call *call, const struct or_nsim_block *block,
                            yyjson_val *content)
{
    char *fresh = content_json(call, content);
    yyjson_doc *old_doc = yyjson_read(block->content, strlen(block->content), 0);
    yyjson_doc *new_doc = yyjson_read(fresh, strlen(fresh), 0);
    yyjson_mut_doc *out = yyjson_doc_mut_copy(old_doc, NULL);
    yyjson_mut_val *root = out ? yyjson_mut_doc_get_root(out) : NULL;
    yyjson_val *name;
    yyjson_val *value;
    size_t i;
    size_t n;
    yyjson_obj_foreach(yyjson_doc_get_root(new_doc), i, n, name, value)
    {
        (void)yyjson_mut_obj_put(root, yyjson_val_mut_copy(out, name),
                                 yyjson_val_mut_copy(out, value));
    }
    char *json = yyjson_mut_write(out, YYJSON_WRITE_NOFLAG, NULL);
    if (!json) {
        or_nsim_no_memory();
    }
    yyjson_mut_doc_free(out);
    yyjson_doc_free(old_doc);
    yyjson_doc_free(new_doc);
    free(fresh);
    return json;
}

/* Everything in the body has a meaning here. */
static bool check_members(struct or_nsim_call *call)
{
    static const char *const unknown[] = {"tab", NULL};
    static const char *const others[] = {"type", "object", "in_trash", "archived", NULL};
    const struct or_nsim_path body = {.name = "body"};
    const char *keys[sizeof types / sizeof *types + sizeof others / sizeof *others];
    size_t n = 0;
    for (size_t i = 0; types[i]; i++) {
        keys[n++] = types[i];
    }
    for (size_t i = 0; others[i]; i++) {
        keys[n++] = others[i];
    }
    keys[n] = NULL;
    return or_nsim_refuse_unknown(call, unknown) &&
           or_nsim_only_keys(call, &body, call->json, keys);
}

bool or_nsim_block_update(struct or_nsim_call *call)
{
    bool given = false;
    bool trash = false;
    struct or_nsim_object *object = target(call, OR_NSIM_CAN_UPDATE);
    if (!object || !or_nsim_trash_flag(call, &given, &trash) || !check_members(call)) {
        return false;
    }
    struct or_nsim_block *block =
        object->kind == OR_NSIM_BLOCK ? (struct or_nsim_block *)object : NULL;
    const struct or_nsim_path body = {.name = "body"};
    const char *type = type_of(call->json);
    yyjson_val *content = type ? yyjson_obj_get(call->json, type) : NULL;
    if (object->in_trash && (!given || trash)) {
        return or_nsim_refuse_trashed(call);
    }
    if (type && (!block || strcmp(type, block->type) != 0)) {
        return or_nsim_fail(call, OR_NSIM_VALIDATION,
                            "body failed validation: body.%s should be not present: the block has "
                            "another type.",
                            type);
    }
    if (content) {
        const struct or_nsim_path at = {&body, type, 0};
        if (!yyjson_is_obj(content)) {
            return or_nsim_invalid_value(call, &at, "an object", content);
        }
        if (!check_texts(call, &at, content) || !check_url(call, &at, content)) {
            return false;
        }
    }
    if (!or_nsim_commit(call)) {
        return false;
    }
    if (content) {
        char *json = merged_content(call, block, content);
        free(block->content);
        block->content = json;
    }
    or_nsim_touch(call, object);
    or_nsim_set_trash(object, given ? trash : object->in_trash, call->now_ms);
    or_nsim_show_block(call, object);
    return true;
}

bool or_nsim_children_get(struct or_nsim_call *call)
{
    struct or_nsim_span_of_list span;
    const struct or_nsim_object *object = target(call, OR_NSIM_CAN_READ);
    if (!object || !or_nsim_list_span(call, false, &span)) {
        return false;
    }
    size_t at = 0;
    while (span.cursor.data && at < object->n_children &&
           !or_span_is(span.cursor, object->children[at]->id)) {
        at++;
    }
    if (span.cursor.data && at == object->n_children) {
        return or_nsim_fail(call, OR_NSIM_VALIDATION, "The start_cursor provided is invalid: %.*s",
                            (int)span.cursor.len, span.cursor.data);
    }
    size_t shown = 0;
    or_buffer_text(&call->out, "{\"object\":\"list\",\"results\":[");
    for (; at < object->n_children && shown < span.size; at++) {
        if (!object->children[at]->in_trash) {
            or_buffer_text(&call->out, shown++ ? "," : "");
            or_nsim_show_block(call, object->children[at]);
        }
    }
    while (at < object->n_children && object->children[at]->in_trash) {
        at++;
    }
    or_buffer_text(&call->out, "],");
    or_nsim_show_cursor(call, at < object->n_children ? object->children[at]->id : NULL);
    or_buffer_text(&call->out, ",\"type\":\"block\",\"block\":{}}");
    return true;
}

/* Where new children go: `after` of the older versions, `position` of 2026-03-11. */
static bool read_position(struct or_nsim_call *call, const struct or_nsim_object *parent,
                          const struct or_nsim_object **after, bool *first)
{
    const struct or_nsim_path body = {.name = "body"};
    const struct or_nsim_path at_after = {&body, "after", 0};
    const struct or_nsim_path at_position = {&body, "position", 0};
    yyjson_val *old = yyjson_obj_get(call->json, "after");
    yyjson_val *position = yyjson_obj_get(call->json, "position");
    *after = NULL;
    *first = false;
    if (call->api == OR_NSIM_2026 && old) {
        return or_nsim_invalid_value(call, &at_after, "not present", old);
    }
    if (call->api != OR_NSIM_2026 && position) {
        return or_nsim_invalid_value(call, &at_position, "not present", position);
    }
    const char *type = yyjson_get_str(yyjson_obj_get(position, "type"));
    *first = type && strcmp(type, "start") == 0;
    yyjson_val *id = position ? yyjson_obj_get(yyjson_obj_get(position, "after_block"), "id") : old;
    if (!id) {
        return !type || strcmp(type, "after_block") != 0 ||
               or_nsim_invalid_value(call, &at_position, "complete", position);
    }
    *after = or_nsim_named(call, position ? &at_position : &at_after, id, OR_NSIM_BLOCK, "block");
    if (*after && (*after)->parent != parent) {
        return or_nsim_fail(call, OR_NSIM_VALIDATION,
                            "Block to append children after is not a child of the parent.");
    }
    return *after;
}

/* The place of the first new child. */
static size_t place_behind(const struct or_nsim_object *parent, const struct or_nsim_object *after,
                           bool first)
{
    for (size_t i = 0; after && i < parent->n_children; i++) {
        if (parent->children[i] == after) {
            return i + 1;
        }
    }
    return first ? 0 : parent->n_children;
}

bool or_nsim_children_append(struct or_nsim_call *call)
{
    static const char *const keys[] = {"children", "after", "position", NULL};
    const struct or_nsim_path body = {.name = "body"};
    const struct or_nsim_path path = {&body, "children", 0};
    yyjson_val *children = yyjson_obj_get(call->json, "children");
    const struct or_nsim_object *after = NULL;
    bool first = false;
    size_t total = 0;
    struct or_nsim_object *parent = target(call, OR_NSIM_CAN_INSERT);
    if (!parent || !or_nsim_only_keys(call, &body, call->json, keys) ||
        !or_nsim_blocks_check(call, &path, children, 2, &total) ||
        !read_position(call, parent, &after, &first)) {
        return false;
    }
    if (parent->in_trash) {
        return or_nsim_refuse_trashed(call);
    }
    if (!or_nsim_commit(call)) {
        return false;
    }
    memcpy(call->made, parent->id, OR_NSIM_ID);
    size_t at = place_behind(parent, after, first);
    or_nsim_blocks_add(call, parent, after, first, children, true);
    or_buffer_text(&call->out, "{\"object\":\"list\",\"results\":[");
    for (size_t i = 0; i < yyjson_arr_size(children); i++) {
        or_buffer_text(&call->out, i ? "," : "");
        or_nsim_show_block(call, parent->children[at + i]);
    }
    or_buffer_text(&call->out, "],");
    or_nsim_show_cursor(call, NULL);
    or_buffer_text(&call->out, ",\"type\":\"block\",\"block\":{}}");
    return true;
}
