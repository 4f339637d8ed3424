/* SPDX-License-Identifier: Apache-2.0
 *
 * Databases and data sources. In 2022-06-28 a database is its only data source: it has properties
 * and is queried; a second data source makes it unusable there. Later it is a container.
 */
#include <stdlib.h>
#include <string.h>

#include "notion_sim/nsim_call.h"

static const struct or_nsim_path body = {.name = "body"};
static const struct or_nsim_path at_title = {&body, "title", 0};
static const struct or_nsim_path at_description = {&body, "description", 0};

/* What a request says of titles, read before anything is changed. */
struct texts {
    struct or_buffer title;
    struct or_buffer plain;
    struct or_buffer description;
    bool has_title;
    bool has_description;
};

static bool read_texts(struct or_nsim_call *call, struct texts *texts)
{
    yyjson_val *title = yyjson_obj_get(call->json, "title");
    yyjson_val *description = yyjson_obj_get(call->json, "description");
    *texts = (struct texts){.has_title = title, .has_description = description};
    return (!title || or_nsim_rich_text(call, &at_title, title, &texts->title, &texts->plain)) &&
           (!description ||
            or_nsim_rich_text(call, &at_description, description, &texts->description, NULL));
}

static void finish_texts(struct texts *texts)
{
    or_buffer_finish(&texts->title);
    or_buffer_finish(&texts->plain);
    or_buffer_finish(&texts->description);
}

static void set_title(char **title, char **name, struct texts *texts)
{
    free(*title);
    free(*name);
    *title = or_nsim_copy(or_buffer_view(&texts->title));
    *name = or_nsim_copy(or_buffer_view(&texts->plain));
}

static struct or_nsim_object new_object(struct or_nsim_call *call, struct or_nsim_object *parent)
{
    return (struct or_nsim_object){.parent = parent,
                                   .created_ms = call->now_ms,
                                   .edited_ms = call->now_ms,
                                   .created_by = call->token,
                                   .edited_by = call->token};
}

/* ---- databases ----------------------------------------------------------------------------- */

static bool read_parent(struct or_nsim_call *call, struct or_nsim_object **parent)
{
    const struct or_nsim_path path = {&body, "parent", 0};
    const struct or_nsim_path at_page = {&path, "page_id", 0};
    yyjson_val *given = yyjson_obj_get(call->json, "parent");
    yyjson_val *page_id = yyjson_obj_get(given, "page_id");
    *parent = NULL;
    if (!yyjson_is_obj(given)) {
        return or_nsim_invalid_value(call, &path, given ? "an object" : "defined", given);
    }
    if (!page_id && yyjson_get_bool(yyjson_obj_get(given, "workspace"))) {
        return true;
    }
    *parent = or_nsim_named(call, &at_page, page_id, OR_NSIM_PAGE, "page");
    return *parent && (!(*parent)->in_trash || or_nsim_refuse_trashed(call));
}

/* The schema of a new database: its own in 2022-06-28, later its first data source's. */
static bool read_schema(struct or_nsim_call *call, yyjson_val **properties)
{
    yyjson_val *initial = yyjson_obj_get(call->json, "initial_data_source");
    *properties = yyjson_obj_get(call->api == OR_NSIM_2022 ? call->json : initial, "properties");
    if (!*properties && call->api != OR_NSIM_2022) {
        return true; /* a data source of one title */
    }
    return or_nsim_schema_check(call, *properties, NULL);
}

static struct or_nsim_source *make_source(struct or_nsim_call *call,
                                          struct or_nsim_database *database, yyjson_val *properties,
                                          struct texts *texts)
{
    const struct or_nsim_object o = new_object(call, &database->o);
    struct or_nsim_source *source = or_nsim_add_source(&call->sim->model, &o);
    if (texts->has_title) {
        set_title(&source->title, &source->name, texts);
    }
    if (properties) {
        or_nsim_schema_apply(call, properties, source);
    } else {
        (void)or_nsim_add_property(&call->sim->model, source, "Name", OR_NSIM_TITLE);
    }
    return source;
}

static bool create_database(struct or_nsim_call *call, struct texts *texts)
{
    static const char *const old_keys[] = {"parent", "title", "description", "is_inline",
                                           "icon",   "cover", "properties",  NULL};
    static const char *const keys[] = {"parent", "title", "description",         "is_inline",
                                       "icon",   "cover", "initial_data_source", NULL};
    struct or_nsim_object *parent = NULL;
    yyjson_val *properties = NULL;
    if (!or_nsim_may(call, OR_NSIM_CAN_INSERT) ||
        !or_nsim_only_keys(call, &body, call->json, call->api == OR_NSIM_2022 ? old_keys : keys) ||
        !read_parent(call, &parent) || !read_schema(call, &properties) ||
        !read_texts(call, texts) || !or_nsim_commit(call)) {
        return false;
    }
    struct or_nsim_object o = new_object(call, parent);
    o.icon = or_nsim_look(call, "icon");
    o.cover = or_nsim_look(call, "cover");
    struct or_nsim_database *database = or_nsim_add_database(&call->sim->model, &o);
    set_title(&database->title, &database->name, texts);
    database->description =
        texts->has_description ? or_nsim_copy(or_buffer_view(&texts->description)) : NULL;
    if (!texts->has_title) {
        free(database->title);
        database->title = NULL;
    }
    database->is_inline = yyjson_get_bool(yyjson_obj_get(call->json, "is_inline"));
    (void)make_source(call, database, properties, texts);
    memcpy(call->made, database->o.id, OR_NSIM_ID);
    or_nsim_show_database(call, database);
    return true;
}

bool or_nsim_database_create(struct or_nsim_call *call)
{
    struct texts texts = {0};
    bool fine = create_database(call, &texts);
    finish_texts(&texts);
    return fine;
}

static struct or_nsim_database *target_database(struct or_nsim_call *call, unsigned capability)
{
    struct or_nsim_database *database =
        or_nsim_may(call, capability)
            ? (struct or_nsim_database *)or_nsim_target(call, 0, OR_NSIM_DATABASE, "database")
            : NULL;
    return database && or_nsim_single(call, &database->o) ? database : NULL;
}

bool or_nsim_database_get(struct or_nsim_call *call)
{
    const struct or_nsim_database *database = target_database(call, OR_NSIM_CAN_READ);
    if (database) {
        or_nsim_show_database(call, database);
    }
    return database;
}

static bool update_database(struct or_nsim_call *call, struct texts *texts)
{
    static const char *const unknown[] = {"parent", "is_locked", NULL};
    static const char *const keys[] = {"title",    "description", "is_inline",  "icon", "cover",
                                       "in_trash", "archived",    "properties", NULL};
    yyjson_val *is_inline = yyjson_obj_get(call->json, "is_inline");
    yyjson_val *properties = yyjson_obj_get(call->json, "properties");
    bool given = false;
    bool trash = false;
    struct or_nsim_database *database = target_database(call, OR_NSIM_CAN_UPDATE);
    if (!database || !or_nsim_refuse_unknown(call, unknown) ||
        !or_nsim_only_keys(call, &body, call->json, keys) ||
        !or_nsim_trash_flag(call, &given, &trash) || !read_texts(call, texts)) {
        return false;
    }
    if (database->o.in_trash && (!given || trash)) {
        return or_nsim_refuse_trashed(call);
    }
    if (properties && call->api != OR_NSIM_2022) {
        const struct or_nsim_path path = {&body, "properties", 0};
        return or_nsim_invalid_value(call, &path, "not present", properties);
    }
    if ((properties && !or_nsim_schema_check(call, properties, database->sources[0])) ||
        !or_nsim_commit(call)) {
        return false;
    }
    if (properties) {
        or_nsim_schema_apply(call, properties, database->sources[0]);
    }
    if (texts->has_title) {
        set_title(&database->title, &database->name, texts);
    }
    if (texts->has_description) {
        free(database->description);
        database->description = or_nsim_copy(or_buffer_view(&texts->description));
    }
    database->o.in_trash = given ? trash : database->o.in_trash;
    database->is_inline = is_inline ? yyjson_get_bool(is_inline) : database->is_inline;
    or_nsim_set_look(call, "icon", &database->o.icon);
    or_nsim_set_look(call, "cover", &database->o.cover);
    or_nsim_touch(call, &database->o);
    or_nsim_show_database(call, database);
    return true;
}

bool or_nsim_database_update(struct or_nsim_call *call)
{
    struct texts texts = {0};
    bool fine = update_database(call, &texts);
    finish_texts(&texts);
    return fine;
}

/* ---- data sources -------------------------------------------------------------------------- */

static bool create_source(struct or_nsim_call *call, struct texts *texts)
{
    static const char *const keys[] = {"parent", "properties", "title", "icon", NULL};
    const struct or_nsim_path path = {&body, "parent", 0};
    const struct or_nsim_path at_database = {&path, "database_id", 0};
    yyjson_val *properties = yyjson_obj_get(call->json, "properties");
    yyjson_val *parent = yyjson_obj_get(call->json, "parent");
    if (!or_nsim_may(call, OR_NSIM_CAN_INSERT) ||
        !or_nsim_only_keys(call, &body, call->json, keys)) {
        return false;
    }
    struct or_nsim_database *database = (struct or_nsim_database *)or_nsim_named(
        call, &at_database, yyjson_obj_get(parent, "database_id"), OR_NSIM_DATABASE, "database");
    if (!database || !or_nsim_schema_check(call, properties, NULL) || !read_texts(call, texts)) {
        return false;
    }
    if (database->o.in_trash) {
        return or_nsim_refuse_trashed(call);
    }
    if (!or_nsim_commit(call)) {
        return false;
    }
    struct or_nsim_source *source = make_source(call, database, properties, texts);
    source->o.icon = or_nsim_look(call, "icon");
    memcpy(call->made, source->o.id, OR_NSIM_ID);
    or_nsim_show_source(call, source);
    return true;
}

bool or_nsim_source_create(struct or_nsim_call *call)
{
    struct texts texts = {0};
    bool fine = create_source(call, &texts);
    finish_texts(&texts);
    return fine;
}

static struct or_nsim_source *target_source(struct or_nsim_call *call, unsigned capability)
{
    return or_nsim_may(call, capability)
               ? (struct or_nsim_source *)or_nsim_target(call, 0, OR_NSIM_SOURCE, "data_source")
               : NULL;
}

bool or_nsim_source_get(struct or_nsim_call *call)
{
    const struct or_nsim_source *source = target_source(call, OR_NSIM_CAN_READ);
    if (source) {
        or_nsim_show_source(call, source);
    }
    return source;
}

static bool update_source(struct or_nsim_call *call, struct texts *texts)
{
    static const char *const unknown[] = {"parent", NULL};
    static const char *const keys[] = {"title", "icon", "properties", "in_trash", "archived", NULL};
    yyjson_val *properties = yyjson_obj_get(call->json, "properties");
    bool given = false;
    bool trash = false;
    struct or_nsim_source *source = target_source(call, OR_NSIM_CAN_UPDATE);
    if (!source || !or_nsim_refuse_unknown(call, unknown) ||
        !or_nsim_only_keys(call, &body, call->json, keys) ||
        !or_nsim_trash_flag(call, &given, &trash) || !read_texts(call, texts)) {
        return false;
    }
    if (source->o.in_trash && (!given || trash)) {
        return or_nsim_refuse_trashed(call);
    }
    if ((properties && !or_nsim_schema_check(call, properties, source)) || !or_nsim_commit(call)) {
        return false;
    }
    if (properties) {
        or_nsim_schema_apply(call, properties, source);
    }
    if (texts->has_title) {
        set_title(&source->title, &source->name, texts);
    }
    source->o.in_trash = given ? trash : source->o.in_trash;
    or_nsim_set_look(call, "icon", &source->o.icon);
    or_nsim_touch(call, &source->o);
    or_nsim_show_source(call, source);
    return true;
}

bool or_nsim_source_update(struct or_nsim_call *call)
{
    struct texts texts = {0};
    bool fine = update_source(call, &texts);
    finish_texts(&texts);
    return fine;
}
