/* SPDX-License-Identifier: Apache-2.0
 *
 * Pages: create, read, update, trash; and what other objects share with them.
 */
#include <stdlib.h>
#include <string.h>

#include "notion_sim/nsim_call.h"

/* ---- shared -------------------------------------------------------------------------------- */

char *or_nsim_json_copy(yyjson_val *value)
{
    char *json = value ? yyjson_val_write(value, YYJSON_WRITE_NOFLAG, NULL) : NULL;
    if (value && !json) {
        or_nsim_no_memory();
    }
    return json;
}

bool or_nsim_may(struct or_nsim_call *call, unsigned capability)
{
    return (call->token->can & capability) || or_nsim_fail_plain(call, OR_NSIM_RESTRICTED);
}

void or_nsim_touch(struct or_nsim_call *call, struct or_nsim_object *object)
{
    object->edited_ms = call->now_ms;
    object->edited_by = call->token;
}

bool or_nsim_is_shared(const struct or_nsim_object *object)
{
    for (; object; object = object->parent) {
        if (object->unshared) {
            return false;
        }
    }
    return true;
}

/* A page can be asked for as a block. */
static bool kind_fits(const struct or_nsim_object *object, enum or_nsim_kind kind)
{
    return object->kind == kind || (kind == OR_NSIM_BLOCK && (object->kind == OR_NSIM_PAGE ||
                                                              object->kind == OR_NSIM_DATABASE));
}

static struct or_nsim_object *find(struct or_nsim_call *call, const char *id,
                                   enum or_nsim_kind kind, const char *what)
{
    struct or_nsim_object *object = or_nsim_find(&call->sim->model, id);
    if (!object || !kind_fits(object, kind) || !or_nsim_is_shared(object)) {
        (void)or_nsim_not_found(call, what, id);
        return NULL;
    }
    return object;
}

struct or_nsim_object *or_nsim_target(struct or_nsim_call *call, unsigned arg,
                                      enum or_nsim_kind kind, const char *what)
{
    char id[OR_NSIM_ID];
    struct onerow_span text = call->args[arg];
    if (!or_nsim_read_id(text, id)) {
        (void)or_nsim_fail(call, OR_NSIM_VALIDATION,
                           "path failed validation: path.%s_id should be a valid uuid, instead was "
                           "`\"%.*s\"`.",
                           what, (int)or_span_cut(text, 100).len, text.data);
        return NULL;
    }
    return find(call, id, kind, what);
}

struct or_nsim_object *or_nsim_named(struct or_nsim_call *call, const struct or_nsim_path *path,
                                     yyjson_val *value, enum or_nsim_kind kind, const char *what)
{
    char id[OR_NSIM_ID];
    if (!yyjson_is_str(value) || !or_nsim_read_id(or_nsim_string(value), id)) {
        (void)or_nsim_invalid_value(call, path, value ? "a valid uuid" : "defined", value);
        return NULL;
    }
    return find(call, id, kind, what);
}

bool or_nsim_only_keys(struct or_nsim_call *call, const struct or_nsim_path *path,
                       yyjson_val *object, const char *const *keys)
{
    yyjson_val *name;
    yyjson_val *value;
    size_t i;
    size_t n;
    yyjson_obj_foreach(object, i, n, name, value)
    {
        size_t k = 0;
        while (keys[k] && !or_span_is(or_nsim_string(name), keys[k])) {
            k++;
        }
        if (!keys[k]) {
            const struct or_nsim_path at = {path, yyjson_get_str(name), 0};
            return or_nsim_invalid_value(call, &at, "not present", value);
        }
    }
    return true;
}

bool or_nsim_refuse_unknown(struct or_nsim_call *call, const char *const *keys)
{
    for (size_t i = 0; keys[i]; i++) {
        if (yyjson_obj_get(call->json, keys[i])) {
            return or_nsim_fail(call, OR_NSIM_INVALID_REQUEST,
                                "Unsupported request: body.%s is not simulated.", keys[i]);
        }
    }
    return true;
}

static const struct or_nsim_database *database_of(const struct or_nsim_object *object)
{
    if (object->kind == OR_NSIM_PAGE) {
        object = &((const struct or_nsim_page *)object)->source->o;
    }
    while (object && object->kind != OR_NSIM_DATABASE) {
        object = object->kind == OR_NSIM_SOURCE ? object->parent : NULL;
    }
    return (const struct or_nsim_database *)object;
}

bool or_nsim_single(struct or_nsim_call *call, const struct or_nsim_object *object)
{
    const struct or_nsim_database *database = database_of(object);
    if (!database || database->n_sources < 2 || call->api != OR_NSIM_2022) {
        return true;
    }
    or_buffer_clear(&call->additional);
    or_buffer_printf(&call->additional,
                     "\"error_type\":\"multiple_data_sources_for_database\",\"database_id\":\"%s\","
                     "\"child_data_source_ids\":[",
                     database->o.id);
    for (size_t i = 0; i < database->n_sources; i++) {
        or_buffer_printf(&call->additional, "%s\"%s\"", i ? "," : "", database->sources[i]->o.id);
    }
    or_buffer_text(&call->additional, "],\"minimum_api_version\":\"2025-09-03\"");
    return or_nsim_fail(
        call, OR_NSIM_VALIDATION,
        "Databases with multiple data sources are not supported in this API version.");
}

bool or_nsim_trash_flag(struct or_nsim_call *call, bool *given, bool *trash)
{
    static const char *const names[] = {"in_trash", "archived"};
    const struct or_nsim_path body = {.name = "body"};
    *given = false;
    for (size_t i = 0; i < 2; i++) {
        yyjson_val *value = yyjson_obj_get(call->json, names[i]);
        const struct or_nsim_path at = {&body, names[i], 0};
        if (!value) {
            continue;
        }
        if (i == 1 && call->api == OR_NSIM_2026) {
            return or_nsim_invalid_value(call, &at, "not present", value);
        }
        if (!yyjson_is_bool(value)) {
            return or_nsim_invalid_value(call, &at, "a boolean", value);
        }
        *given = true;
        *trash = yyjson_get_bool(value);
    }
    return true;
}

bool or_nsim_refuse_trashed(struct or_nsim_call *call)
{
    return or_nsim_fail(
        call, OR_NSIM_VALIDATION,
        "Can't edit block that is archived. You must unarchive the block before editing.");
}

static bool read_size(struct or_nsim_call *call, yyjson_val *given, struct onerow_span text,
                      bool in_body, size_t *size)
{
    const struct or_nsim_path root = {.name = in_body ? "body" : "query"};
    const struct or_nsim_path at = {&root, "page_size", 0};
    if (in_body && given && !yyjson_is_uint(given)) {
        return or_nsim_invalid_value(call, &at, "a number", given);
    }
    uint64_t wanted = in_body ? yyjson_get_uint(given) : 0;
    for (size_t i = 0; !in_body && i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9' || wanted > 10000) {
            return or_nsim_invalid(call, &at, " should be a number.");
        }
        wanted = wanted * 10 + (uint64_t)(text.data[i] - '0');
    }
    if (wanted > 100) {
        return or_nsim_invalid(call, &at, " should be ≤ `100`, instead was `%llu`.",
                               (unsigned long long)wanted);
    }
    if (wanted < 1) {
        return or_nsim_invalid(call, &at, " should be ≥ `1`, instead was `0`.");
    }
    *size = (size_t)wanted;
    return true;
}

bool or_nsim_list_span(struct or_nsim_call *call, bool in_body, struct or_nsim_span_of_list *span)
{
    yyjson_val *size = in_body ? yyjson_obj_get(call->json, "page_size") : NULL;
    yyjson_val *cursor = in_body ? yyjson_obj_get(call->json, "start_cursor") : NULL;
    struct onerow_span size_text = or_nsim_parameter(call, "page_size");
    *span = (struct or_nsim_span_of_list){.size = 100};
    if (in_body && yyjson_is_str(cursor)) {
        span->cursor = or_nsim_string(cursor);
    } else if (!in_body) {
        span->cursor = or_nsim_parameter(call, "start_cursor");
    }
    if (span->cursor.data && !span->cursor.len) {
        span->cursor.data = NULL;
    }
    return (!size && !size_text.data) || read_size(call, size, size_text, in_body, &span->size);
}

/* ---- parents ------------------------------------------------------------------------------- */

struct place {
    struct or_nsim_source *source; /* NULL: outside of data sources */
    struct or_nsim_object *parent; /* of such a page; NULL: the workspace */
};

static bool read_row_place(struct or_nsim_call *call, const struct or_nsim_path *path,
                           yyjson_val *parent, struct place *place)
{
    const struct or_nsim_path at_database = {path, "database_id", 0};
    const struct or_nsim_path at_source = {path, "data_source_id", 0};
    yyjson_val *source_id = yyjson_obj_get(parent, "data_source_id");
    if (source_id) {
        if (call->api == OR_NSIM_2022) {
            return or_nsim_invalid_value(call, &at_source, "not present", source_id);
        }
        place->source = (struct or_nsim_source *)or_nsim_named(call, &at_source, source_id,
                                                               OR_NSIM_SOURCE, "data_source");
        return place->source;
    }
    struct or_nsim_database *database = (struct or_nsim_database *)or_nsim_named(
        call, &at_database, yyjson_obj_get(parent, "database_id"), OR_NSIM_DATABASE, "database");
    if (!database || !or_nsim_single(call, &database->o)) {
        return false;
    }
    if (database->n_sources != 1) {
        return or_nsim_fail(call, OR_NSIM_VALIDATION,
                            "Databases with multiple data sources need a data_source_id parent.");
    }
    place->source = database->sources[0];
    return true;
}

static bool fail_parent(struct or_nsim_call *call)
{
    return or_nsim_fail(call, OR_NSIM_VALIDATION,
                        "body failed validation. Fix one:\n"
                        "body.parent.page_id should be defined, instead was `undefined`.\n"
                        "body.parent.database_id should be defined, instead was `undefined`.\n"
                        "body.parent.data_source_id should be defined, instead was `undefined`.");
}

static bool read_place(struct or_nsim_call *call, struct place *place)
{
    const struct or_nsim_path body = {.name = "body"};
    const struct or_nsim_path path = {&body, "parent", 0};
    const struct or_nsim_path at_page = {&path, "page_id", 0};
    yyjson_val *parent = yyjson_obj_get(call->json, "parent");
    yyjson_val *page_id = yyjson_obj_get(parent, "page_id");
    *place = (struct place){0};
    if (!yyjson_is_obj(parent)) {
        return or_nsim_invalid_value(call, &path, parent ? "an object" : "defined", parent);
    }
    if (page_id) {
        place->parent = or_nsim_named(call, &at_page, page_id, OR_NSIM_PAGE, "page");
        return place->parent && (!place->parent->in_trash || or_nsim_refuse_trashed(call));
    }
    if (yyjson_get_bool(yyjson_obj_get(parent, "workspace"))) {
        return true;
    }
    if (!yyjson_obj_get(parent, "database_id") && !yyjson_obj_get(parent, "data_source_id")) {
        return fail_parent(call);
    }
    if (!read_row_place(call, &path, parent, place)) {
        return false;
    }
    const struct or_nsim_source *source = place->source;
    bool trashed = source && (source->o.in_trash || source->o.parent->in_trash);
    return !trashed || or_nsim_refuse_trashed(call);
}

/* ---- create -------------------------------------------------------------------------------- */

/* A new page's status is the first option, where the request names none. */
static void set_defaults(const struct or_nsim_source *source, struct or_nsim_version *version)
{
    for (size_t i = 0; i < source->n_properties; i++) {
        const struct or_nsim_property *property = &source->properties[i];
        if (property->type == OR_NSIM_STATUS && !property->gone && property->n_options &&
            !or_nsim_value_of(version, property)) {
            struct or_nsim_value *value = or_nsim_value_new();
            value->items = or_nsim_take(OR_NSIM_ID);
            memcpy(value->items[value->n_items++], property->options[0].id, OR_NSIM_ID);
            or_nsim_version_set(version, property, value);
        }
    }
}

static yyjson_val *children_of(struct or_nsim_call *call)
{
    yyjson_val *children = yyjson_obj_get(call->json, "children");
    return children ? children : yyjson_obj_get(call->json, "content");
}

static bool check_children(struct or_nsim_call *call)
{
    const struct or_nsim_path body = {.name = "body"};
    const struct or_nsim_path path = {&body, "children", 0};
    yyjson_val *children = children_of(call);
    size_t total = 0;
    return !children || or_nsim_blocks_check(call, &path, children, 2, &total);
}

char *or_nsim_look(struct or_nsim_call *call, const char *name)
{
    yyjson_val *given = yyjson_obj_get(call->json, name);
    return yyjson_is_obj(given) ? or_nsim_json_copy(given) : NULL;
}

static struct or_nsim_page *make_page(struct or_nsim_call *call, const struct place *place,
                                      struct or_nsim_writing *writing)
{
    const struct or_nsim_object o = {.parent = place->source ? &place->source->o : place->parent,
                                     .created_ms = call->now_ms,
                                     .edited_ms = call->now_ms,
                                     .created_by = call->token,
                                     .edited_by = call->token,
                                     .icon = or_nsim_look(call, "icon"),
                                     .cover = or_nsim_look(call, "cover")};
    or_nsim_options_commit(call, writing);
    struct or_nsim_page *page =
        or_nsim_add_page(&call->sim->model, &o, writing->source, writing->version);
    if (children_of(call)) {
        or_nsim_blocks_add(call, &page->o, NULL, false, children_of(call), false);
    }
    memcpy(call->made, page->o.id, OR_NSIM_ID);
    call->sim->creates++;
    return page;
}

static void remember_key(struct or_nsim_call *call, const struct or_nsim_page *page)
{
    free(call->key);
    call->key = or_nsim_key_text(page);
}

bool or_nsim_page_create(struct or_nsim_call *call)
{
    static const char *const keys[] = {"parent",   "properties", "icon",        "cover",
                                       "children", "content",    "allow_async", NULL};
    static const char *const unknown[] = {"markdown", "template", "position", NULL};
    const struct or_nsim_path body = {.name = "body"};
    yyjson_val *properties = yyjson_obj_get(call->json, "properties");
    struct place place;
    if (!or_nsim_may(call, OR_NSIM_CAN_INSERT) || !or_nsim_refuse_unknown(call, unknown) ||
        !or_nsim_only_keys(call, &body, call->json, keys) || !read_place(call, &place)) {
        return false;
    }
    struct or_nsim_writing writing = {.source =
                                          place.source ? place.source : call->sim->model.plain};
    writing.version = or_nsim_version_new(NULL, writing.source->n_slots);
    if ((properties && !or_nsim_read_properties(call, properties, &writing)) ||
        !check_children(call) || !or_nsim_commit(call)) {
        or_nsim_version_free(writing.version);
        return false;
    }
    set_defaults(writing.source, writing.version);
    const struct or_nsim_page *page = make_page(call, &place, &writing);
    remember_key(call, page);
    bool async = call->fault && call->fault->id == OR_NSIM_FAULT_ASYNC &&
                 yyjson_get_bool(yyjson_obj_get(call->json, "allow_async"));
    if (async) {
        or_nsim_task_start(call);
    } else {
        or_nsim_show_page(call, page, page->now);
    }
    return true;
}

/* ---- read, update -------------------------------------------------------------------------- */

static const struct or_nsim_page *readable_page(struct or_nsim_call *call)
{
    const struct or_nsim_object *object =
        or_nsim_may(call, OR_NSIM_CAN_READ) ? or_nsim_target(call, 0, OR_NSIM_PAGE, "page") : NULL;
    return object && or_nsim_single(call, object) ? (const struct or_nsim_page *)object : NULL;
}

bool or_nsim_page_get(struct or_nsim_call *call)
{
    const struct or_nsim_page *page = readable_page(call);
    if (!page) {
        return false;
    }
    or_nsim_show_page(call, page, page->now);
    return true;
}

void or_nsim_set_look(struct or_nsim_call *call, const char *name, char **json)
{
    yyjson_val *given = yyjson_obj_get(call->json, name);
    if (given) {
        free(*json);
        *json = yyjson_is_null(given) ? NULL : or_nsim_json_copy(given);
    }
}

bool or_nsim_page_update(struct or_nsim_call *call)
{
    static const char *const keys[] = {"properties", "icon",     "cover", "is_locked",
                                       "in_trash",   "archived", NULL};
    static const char *const unknown[] = {"template", "is_archived", "erase_content", NULL};
    const struct or_nsim_path body = {.name = "body"};
    yyjson_val *properties = yyjson_obj_get(call->json, "properties");
    bool given = false;
    bool trash = false;
    struct or_nsim_page *page =
        or_nsim_may(call, OR_NSIM_CAN_UPDATE)
            ? (struct or_nsim_page *)or_nsim_target(call, 0, OR_NSIM_PAGE, "page")
            : NULL;
    if (!page || !or_nsim_single(call, &page->o) || !or_nsim_refuse_unknown(call, unknown) ||
        !or_nsim_only_keys(call, &body, call->json, keys) ||
        !or_nsim_trash_flag(call, &given, &trash)) {
        return false;
    }
    if (page->now->in_trash && (!given || trash)) {
        return or_nsim_refuse_trashed(call);
    }
    struct or_nsim_writing writing = {.source = page->source};
    writing.version = or_nsim_version_new(page->now, page->source->n_slots);
    if ((properties && !or_nsim_read_properties(call, properties, &writing)) ||
        !or_nsim_commit(call)) {
        or_nsim_version_free(writing.version);
        return false;
    }
    or_nsim_options_commit(call, &writing);
    writing.version->in_trash = given ? trash : page->now->in_trash;
    or_nsim_set_look(call, "icon", &page->o.icon);
    or_nsim_set_look(call, "cover", &page->o.cover);
    yyjson_val *lock = yyjson_obj_get(call->json, "is_locked");
    page->is_locked = lock ? yyjson_get_bool(lock) : page->is_locked;
    or_nsim_touch(call, &page->o);
    or_nsim_change(page, writing.version, call->now_ms);
    remember_key(call, page);
    or_nsim_show_page(call, page, page->now);
    return true;
}

/* ---- one property -------------------------------------------------------------------------- */

/* Types whose values are lists are answered as lists of items. */
static bool is_list(enum or_nsim_type type)
{
    return type == OR_NSIM_TITLE || type == OR_NSIM_RICH_TEXT || type == OR_NSIM_PEOPLE ||
           type == OR_NSIM_RELATION;
}

static void show_item_head(struct or_nsim_call *call, const struct or_nsim_property *property)
{
    const char *type = or_nsim_type_name(property->type);
    or_buffer_printf(&call->out,
                     "{\"object\":\"property_item\",\"id\":\"%s\",\"type\":\"%s\",\"%s\":",
                     property->id, type, type);
}

static bool show_runs(struct or_nsim_call *call, const struct or_nsim_property *property,
                      const struct or_nsim_value *value)
{
    yyjson_doc *doc =
        value && value->json ? yyjson_read(value->json, strlen(value->json), 0) : NULL;
    yyjson_val *run;
    size_t i;
    size_t n;
    yyjson_arr_foreach(yyjson_doc_get_root(doc), i, n, run)
    {
        char *json = or_nsim_json_copy(run);
        or_buffer_text(&call->out, i ? "," : "");
        show_item_head(call, property);
        or_buffer_printf(&call->out, "%s}", json);
        free(json);
    }
    yyjson_doc_free(doc);
    return true;
}

static size_t item_place(const struct or_nsim_value *value, struct onerow_span cursor)
{
    for (size_t i = 0; value && i < value->n_items; i++) {
        if (or_span_is(cursor, value->items[i])) {
            return i;
        }
    }
    return SIZE_MAX;
}

static bool show_items(struct or_nsim_call *call, const struct or_nsim_property *property,
                       const struct or_nsim_value *value, const char **next)
{
    struct or_nsim_span_of_list span;
    if (!or_nsim_list_span(call, false, &span)) {
        return false;
    }
    size_t n = value ? value->n_items : 0;
    size_t from = span.cursor.data ? item_place(value, span.cursor) : 0;
    if (from == SIZE_MAX) {
        return or_nsim_fail(call, OR_NSIM_VALIDATION, "The start_cursor provided is invalid: %.*s",
                            (int)span.cursor.len, span.cursor.data);
    }
    size_t to = from + span.size < n ? from + span.size : n;
    const char *user = property->type == OR_NSIM_PEOPLE ? "\"object\":\"user\"," : "";
    for (size_t i = from; i < to; i++) {
        or_buffer_text(&call->out, i > from ? "," : "");
        show_item_head(call, property);
        or_buffer_printf(&call->out, "{%s\"id\":\"%s\"}}", user, value->items[i]);
    }
    *next = to < n ? value->items[to] : NULL;
    return true;
}

bool or_nsim_page_property(struct or_nsim_call *call)
{
    const struct or_nsim_page *page = readable_page(call);
    if (!page) {
        return false;
    }
    const struct or_nsim_property *property = or_nsim_property_of(page->source, call->args[1]);
    if (!property) {
        return or_nsim_fail(call, OR_NSIM_NOT_FOUND,
                            "Could not find property with name or id: %.*s", (int)call->args[1].len,
                            call->args[1].data);
    }
    if (!is_list(property->type)) {
        or_buffer_printf(&call->out, "{\"object\":\"property_item\",\"id\":\"%s\",", property->id);
        or_nsim_show_value(call, page, page->now, property);
        or_buffer_char(&call->out, '}');
        return true;
    }
    const struct or_nsim_value *value = or_nsim_value_of(page->now, property);
    const char *type = or_nsim_type_name(property->type);
    const char *next = NULL;
    bool runs = property->type == OR_NSIM_TITLE || property->type == OR_NSIM_RICH_TEXT;
    or_buffer_text(&call->out, "{\"object\":\"list\",\"results\":[");
    if (!(runs ? show_runs(call, property, value) : show_items(call, property, value, &next))) {
        return false;
    }
    or_buffer_text(&call->out, "],");
    or_nsim_show_cursor(call, next);
    or_buffer_printf(
        &call->out,
        ",\"type\":\"property_item\",\"property_item\":{\"id\":\"%s\",\"next_url\":null,"
        "\"type\":\"%s\",\"%s\":{}}}",
        property->id, type, type);
    return true;
}
