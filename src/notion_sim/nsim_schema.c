/* SPDX-License-Identifier: Apache-2.0
 *
 * "properties" of a data source in a request: what columns there are. First everything is checked,
 * then, once the write is committed, applied. A column's type does not change once it is there.
 */
#include <stdlib.h>
#include <string.h>

#include "notion_sim/nsim_call.h"

#define OPTIONS_MAX 100U

static enum or_nsim_type type_of(yyjson_val *config)
{
    for (unsigned i = 0; i < OR_NSIM_TYPES; i++) {
        if (yyjson_obj_get(config, or_nsim_type_name((enum or_nsim_type)i))) {
            return (enum or_nsim_type)i;
        }
    }
    return OR_NSIM_TYPES;
}

static bool has_options(enum or_nsim_type type)
{
    return type == OR_NSIM_SELECT || type == OR_NSIM_MULTI_SELECT || type == OR_NSIM_STATUS;
}

/* ---- the check ----------------------------------------------------------------------------- */

static bool check_options(struct or_nsim_call *call, const struct or_nsim_path *path,
                          yyjson_val *config)
{
    const struct or_nsim_path at = {path, "options", 0};
    yyjson_val *options = yyjson_obj_get(config, "options");
    yyjson_val *option;
    size_t i;
    size_t n;
    if (options && !yyjson_is_arr(options)) {
        return or_nsim_invalid_value(call, &at, "an array", options);
    }
    if (yyjson_arr_size(options) > OPTIONS_MAX) {
        return or_nsim_invalid(call, &at, ".length should be ≤ `%u`, instead was `%zu`.",
                               OPTIONS_MAX, yyjson_arr_size(options));
    }
    yyjson_arr_foreach(options, i, n, option)
    {
        const struct or_nsim_path at_item = {&at, NULL, i};
        const struct or_nsim_path at_name = {&at_item, "name", 0};
        yyjson_val *name = yyjson_obj_get(option, "name");
        if (!or_nsim_string(name).len && !yyjson_obj_get(option, "id")) {
            return or_nsim_invalid_value(call, &at_name, "defined", name);
        }
        if (yyjson_is_str(name) && memchr(yyjson_get_str(name), ',', yyjson_get_len(name))) {
            return or_nsim_fail(call, OR_NSIM_VALIDATION,
                                "Invalid select option, commas not allowed: %s",
                                yyjson_get_str(name));
        }
    }
    return true;
}

/* The data source that a relation leads to; NULL was answered. */
static struct or_nsim_object *related(struct or_nsim_call *call, const struct or_nsim_path *path,
                                      yyjson_val *config)
{
    const char *name = call->api == OR_NSIM_2022 ? "database_id" : "data_source_id";
    const struct or_nsim_path at = {path, name, 0};
    enum or_nsim_kind kind = call->api == OR_NSIM_2022 ? OR_NSIM_DATABASE : OR_NSIM_SOURCE;
    struct or_nsim_object *object =
        or_nsim_named(call, &at, yyjson_obj_get(config, name), kind,
                      call->api == OR_NSIM_2022 ? "database" : "data_source");
    if (!object || !or_nsim_single(call, object)) {
        return NULL;
    }
    return kind == OR_NSIM_SOURCE ? object : &((struct or_nsim_database *)object)->sources[0]->o;
}

/* A new name is nobody else's. */
static bool check_name(struct or_nsim_call *call, yyjson_val *name,
                       const struct or_nsim_property *old, const struct or_nsim_source *source)
{
    const struct or_nsim_property *other =
        old && name ? or_nsim_property_of(source, or_nsim_string(name)) : NULL;
    return !other || other == old ||
           or_nsim_fail(call, OR_NSIM_VALIDATION, "A property named \"%s\" exists already.",
                        other->name);
}

static bool check_config(struct or_nsim_call *call, const struct or_nsim_path *path,
                         yyjson_val *config, const struct or_nsim_property *old,
                         const struct or_nsim_source *source)
{
    enum or_nsim_type type = type_of(config);
    yyjson_val *name = yyjson_obj_get(config, "name");
    if (!check_name(call, name, old, source)) {
        return false;
    }
    if (type == OR_NSIM_TYPES) {
        return (old && or_nsim_string(name).len) ||
               or_nsim_invalid(call, path, " should have a known type, such as rich_text.");
    }
    const struct or_nsim_path at = {path, or_nsim_type_name(type), 0};
    yyjson_val *inner = yyjson_obj_get(config, or_nsim_type_name(type));
    if (!yyjson_is_obj(inner)) {
        return or_nsim_invalid_value(call, &at, "an object", inner);
    }
    if (old && old->type != type) {
        return or_nsim_fail(call, OR_NSIM_INVALID_REQUEST,
                            "Unsupported request: changing the type of %s is not simulated.",
                            old->name);
    }
    if (has_options(type) && !check_options(call, &at, inner)) {
        return false;
    }
    return type != OR_NSIM_RELATION || related(call, &at, inner);
}

/* Columns that the request removes or adds, as far as titles are concerned: there is always one. */
static bool check_title(struct or_nsim_call *call, unsigned titles,
                        const struct or_nsim_source *source)
{
    unsigned wanted = source ? 0 : 1;
    if (titles == wanted) {
        return true;
    }
    return or_nsim_fail(call, OR_NSIM_VALIDATION,
                        titles ? "Cannot create a second title property."
                               : "Title is not provided.");
}

bool or_nsim_schema_check(struct or_nsim_call *call, yyjson_val *properties,
                          const struct or_nsim_source *source)
{
    const struct or_nsim_path body = {.name = "body"};
    const struct or_nsim_path path = {&body, "properties", 0};
    yyjson_val *name;
    yyjson_val *config;
    size_t i;
    size_t n;
    unsigned titles = 0;
    if (!yyjson_is_obj(properties)) {
        return or_nsim_invalid_value(call, &path, "an object", properties);
    }
    yyjson_obj_foreach(properties, i, n, name, config)
    {
        const struct or_nsim_path at = {&path, yyjson_get_str(name), 0};
        const struct or_nsim_property *old =
            source ? or_nsim_property_of(source, or_nsim_string(name)) : NULL;
        if (yyjson_is_null(config)) {
            if (!old || old->type == OR_NSIM_TITLE) {
                return or_nsim_fail(call, OR_NSIM_VALIDATION,
                                    old ? "Cannot delete the title property."
                                        : "%s is not a property that exists.",
                                    yyjson_get_str(name));
            }
            continue;
        }
        if (!yyjson_is_obj(config)) {
            return or_nsim_invalid_value(call, &at, "an object", config);
        }
        if (!check_config(call, &at, config, old, source)) {
            return false;
        }
        titles += !old && type_of(config) == OR_NSIM_TITLE;
    }
    return check_title(call, titles, source);
}

/* ---- its application ----------------------------------------------------------------------- */

static void add_options(struct or_nsim_call *call, struct or_nsim_property *property,
                        yyjson_val *config)
{
    yyjson_val *options = yyjson_obj_get(config, "options");
    yyjson_val *option;
    size_t i;
    size_t n;
    yyjson_arr_foreach(options, i, n, option)
    {
        yyjson_val *name = yyjson_obj_get(option, "name");
        if (yyjson_is_str(name) && !or_nsim_option_by_name(property, or_nsim_string(name))) {
            (void)or_nsim_add_option(&call->sim->model, property, or_nsim_string(name),
                                     yyjson_get_str(yyjson_obj_get(option, "color")));
        }
    }
    if (property->type == OR_NSIM_STATUS && property->n_options == 0) {
        (void)or_nsim_add_option(&call->sim->model, property, OR_SPAN("Not started"), "default");
        (void)or_nsim_add_option(&call->sim->model, property, OR_SPAN("In progress"), "blue");
        (void)or_nsim_add_option(&call->sim->model, property, OR_SPAN("Done"), "green");
    }
}

static void set_extra(struct or_nsim_property *property, yyjson_val *config)
{
    yyjson_val *prefix = yyjson_obj_get(config, "prefix");
    free(property->extra);
    property->extra = NULL;
    if (property->type == OR_NSIM_UNIQUE_ID) {
        property->extra = yyjson_is_str(prefix) ? or_nsim_json_copy(prefix) : NULL;
    } else if (property->type == OR_NSIM_NUMBER && yyjson_obj_size(config) == 0) {
        property->extra = or_nsim_copy_text("{\"format\":\"number\"}");
    } else {
        property->extra = or_nsim_json_copy(config);
    }
}

static void apply_config(struct or_nsim_call *call, struct or_nsim_property *property,
                         yyjson_val *config)
{
    yyjson_val *inner = yyjson_obj_get(config, or_nsim_type_name(property->type));
    yyjson_val *name = yyjson_obj_get(config, "name");
    if (or_nsim_string(name).len) {
        free(property->name);
        property->name = or_nsim_copy(or_nsim_string(name));
    }
    if (!inner) {
        return;
    }
    if (has_options(property->type)) {
        add_options(call, property, inner);
    } else if (property->type == OR_NSIM_RELATION) {
        const struct or_nsim_path path = {.name = "body"};
        const struct or_nsim_object *other = related(call, &path, inner);
        memcpy(property->related, other ? other->id : "", other ? OR_NSIM_ID : 1);
    } else {
        set_extra(property, inner);
    }
}

/* A property may be named twice, by its name and by its id, or be renamed before it is named again:
 * what the check found is looked for anew. */
static void apply_one(struct or_nsim_call *call, struct or_nsim_source *source,
                      struct onerow_span name, yyjson_val *config)
{
    struct or_nsim_property *property = or_nsim_property_of(source, name);
    enum or_nsim_type type = type_of(config);
    if (yyjson_is_null(config)) {
        if (property) {
            property->gone = true;
        }
        return;
    }
    if (!property && type != OR_NSIM_TYPES) {
        char *copy = or_nsim_copy(name);
        property = or_nsim_add_property(&call->sim->model, source, copy, type);
        free(copy);
    }
    if (property) {
        apply_config(call, property, config);
    }
}

void or_nsim_schema_apply(struct or_nsim_call *call, yyjson_val *properties,
                          struct or_nsim_source *source)
{
    yyjson_val *name;
    yyjson_val *config;
    size_t i;
    size_t n;
    yyjson_obj_foreach(properties, i, n, name, config)
    {
        apply_one(call, source, or_nsim_string(name), config);
    }
}
