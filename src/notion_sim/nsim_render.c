/* SPDX-License-Identifier: Apache-2.0
 *
 * Objects as the API answers them, by version: 2022-06-28 knows databases with properties, later
 * versions databases that hold data sources; "archived" ends with 2026-03-11. Times are rounded
 * down to the minute.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/number.h"
#include "notion_sim/nsim_call.h"

#define RELATIONS_SHOWN 25U /* of a page's property; more are behind the property's own path */

void or_nsim_show_text(struct or_buffer *out, const char *text)
{
    if (text) {
        or_buffer_json(out, or_span(text));
    } else {
        or_buffer_text(out, "null");
    }
}

void or_nsim_show_number(struct or_buffer *out, double number)
{
    char text[OR_DOUBLE_TEXT];
    or_double_show(number, text);
    or_buffer_text(out, text);
}

void or_nsim_show_plain(struct or_buffer *out, const char *text)
{
    if (!text || !*text) {
        or_buffer_text(out, "[]");
        return;
    }
    or_buffer_text(out, "[{\"type\":\"text\",\"text\":{\"content\":");
    or_nsim_show_text(out, text);
    or_buffer_text(out, ",\"link\":null},\"annotations\":{\"bold\":false,\"italic\":false,"
                        "\"strikethrough\":false,\"underline\":false,\"code\":false,\"color\":"
                        "\"default\"},\"plain_text\":");
    or_nsim_show_text(out, text);
    or_buffer_text(out, ",\"href\":null}]");
}

struct or_nsim_value *or_nsim_plain_value(struct onerow_span text)
{
    struct or_buffer json;
    if (!text.len) {
        return NULL;
    }
    struct or_nsim_value *value = or_nsim_value_new();
    or_buffer_init(&json);
    value->text = or_nsim_copy(text);
    value->fold = or_nsim_fold(text);
    or_nsim_show_plain(&json, value->text);
    value->json = or_nsim_steal(&json);
    return value;
}

void or_nsim_show_cursor(struct or_nsim_call *call, const char *next)
{
    or_buffer_text(&call->out, "\"next_cursor\":");
    or_nsim_show_text(&call->out, next);
    or_buffer_printf(&call->out, ",\"has_more\":%s", next ? "true" : "false");
}

static void show_json(struct or_buffer *out, const char *json, const char *otherwise)
{
    or_buffer_text(out, json ? json : otherwise);
}

static void show_user(struct or_buffer *out, const struct or_nsim_token *token)
{
    or_buffer_printf(out, "{\"object\":\"user\",\"id\":\"%s\"}", token->bot);
}

static void show_times(struct or_buffer *out, const struct or_nsim_object *o)
{
    char created[OR_NSIM_TIME];
    char edited[OR_NSIM_TIME];
    or_nsim_time_minute(o->created_ms, created);
    or_nsim_time_minute(o->edited_ms, edited);
    or_buffer_printf(out,
                     "\"created_time\":\"%s\",\"last_edited_time\":\"%s\",\"created_by\":", created,
                     edited);
    show_user(out, o->created_by);
    or_buffer_text(out, ",\"last_edited_by\":");
    show_user(out, o->edited_by);
}

static void show_trash(struct or_nsim_call *call, bool in_trash)
{
    const char *flag = in_trash ? "true" : "false";
    if (call->api < OR_NSIM_2026) {
        or_buffer_printf(&call->out, "\"archived\":%s,", flag);
    }
    or_buffer_printf(&call->out, "\"in_trash\":%s", flag);
}

static void show_parent(struct or_nsim_call *call, const char *name,
                        const struct or_nsim_object *parent)
{
    static const char *const names[] = {"page_id", "database_id", "data_source_id", "block_id"};
    struct or_buffer *out = &call->out;
    if (!parent) {
        or_buffer_printf(out, "\"%s\":{\"type\":\"workspace\",\"workspace\":true}", name);
        return;
    }
    if (parent->kind == OR_NSIM_SOURCE && call->api == OR_NSIM_2022) {
        parent = parent->parent;
    }
    or_buffer_printf(out, "\"%s\":{\"type\":\"%s\",\"%s\":\"%s\"", name, names[parent->kind],
                     names[parent->kind], parent->id);
    if (parent->kind == OR_NSIM_SOURCE) {
        or_buffer_printf(out, ",\"database_id\":\"%s\"", parent->parent->id);
    }
    or_buffer_char(out, '}');
}

static void show_url(struct or_buffer *out, const char *id, const char *title)
{
    or_buffer_text(out, "\"url\":\"https://www.notion.so/");
    for (size_t i = 0; title && title[i] && i < 60; i++) {
        bool word = (title[i] >= '0' && title[i] <= '9') || (title[i] >= 'a' && title[i] <= 'z') ||
                    (title[i] >= 'A' && title[i] <= 'Z');
        or_buffer_char(out, word ? title[i] : '-');
    }
    or_buffer_text(out, title && *title ? "-" : "");
    for (const char *at = id; *at; at++) {
        if (*at != '-') {
            or_buffer_char(out, *at);
        }
    }
    or_buffer_text(out, "\",\"public_url\":null");
}

static void show_looks(struct or_buffer *out, const struct or_nsim_object *o)
{
    or_buffer_text(out, "\"cover\":");
    show_json(out, o->cover, "null");
    or_buffer_text(out, ",\"icon\":");
    show_json(out, o->icon, "null");
}

/* ---- values -------------------------------------------------------------------------------- */

static void show_option(struct or_buffer *out, const struct or_nsim_option *option)
{
    or_buffer_printf(out, "{\"id\":\"%s\",\"name\":", option->id);
    or_nsim_show_text(out, option->name);
    or_buffer_printf(out, ",\"color\":\"%s\"}", option->color);
}

static void show_options(struct or_buffer *out, const struct or_nsim_value *value,
                         const struct or_nsim_property *property)
{
    bool list = property->type == OR_NSIM_MULTI_SELECT;
    size_t shown = 0;
    or_buffer_text(out, list ? "[" : "");
    for (size_t i = 0; value && i < value->n_items; i++) {
        const struct or_nsim_option *option = or_nsim_option_by_id(property, value->items[i]);
        if (option) {
            or_buffer_text(out, shown++ ? "," : "");
            show_option(out, option);
        }
    }
    or_buffer_text(out, list ? "]" : shown ? "" : "null");
}

static void show_people(struct or_buffer *out, const struct or_nsim_value *value)
{
    or_buffer_char(out, '[');
    for (size_t i = 0; value && i < value->n_items; i++) {
        or_buffer_printf(out, "%s{\"object\":\"user\",\"id\":\"%s\"}", i ? "," : "",
                         value->items[i]);
    }
    or_buffer_char(out, ']');
}

static void show_relation(struct or_buffer *out, const struct or_nsim_value *value)
{
    size_t n = value ? value->n_items : 0;
    or_buffer_char(out, '[');
    for (size_t i = 0; i < n && i < RELATIONS_SHOWN; i++) {
        or_buffer_printf(out, "%s{\"id\":\"%s\"}", i ? "," : "", value->items[i]);
    }
    or_buffer_printf(out, "],\"has_more\":%s", n > RELATIONS_SHOWN ? "true" : "false");
}

static void show_automatic(struct or_buffer *out, const struct or_nsim_page *page,
                           const struct or_nsim_property *property)
{
    char time[OR_NSIM_TIME];
    switch (property->type) {
    case OR_NSIM_UNIQUE_ID:
        or_buffer_text(out, "{\"prefix\":");
        show_json(out, property->extra, "null");
        or_buffer_printf(out, ",\"number\":%llu}", (unsigned long long)page->number);
        break;
    case OR_NSIM_CREATED_TIME:
    case OR_NSIM_EDITED_TIME:
        or_nsim_time_minute(
            property->type == OR_NSIM_CREATED_TIME ? page->o.created_ms : page->o.edited_ms, time);
        or_buffer_printf(out, "\"%s\"", time);
        break;
    case OR_NSIM_CREATED_BY: show_user(out, page->o.created_by); break;
    case OR_NSIM_EDITED_BY: show_user(out, page->o.edited_by); break;
    case OR_NSIM_FORMULA: or_buffer_text(out, "{\"type\":\"string\",\"string\":null}"); break;
    case OR_NSIM_ROLLUP:
        or_buffer_text(out, "{\"type\":\"array\",\"array\":[],\"function\":\"show_original\"}");
        break;
    default: or_buffer_text(out, "null"); break;
    }
}

void or_nsim_show_value(struct or_nsim_call *call, const struct or_nsim_page *page,
                        const struct or_nsim_version *version,
                        const struct or_nsim_property *property)
{
    struct or_buffer *out = &call->out;
    const struct or_nsim_value *value = or_nsim_value_of(version, property);
    or_buffer_printf(out, "\"type\":\"%s\",\"%s\":", or_nsim_type_name(property->type),
                     or_nsim_type_name(property->type));
    switch (property->type) {
    case OR_NSIM_TITLE:
    case OR_NSIM_RICH_TEXT:
    case OR_NSIM_FILES: show_json(out, value ? value->json : NULL, "[]"); break;
    case OR_NSIM_DATE: show_json(out, value ? value->json : NULL, "null"); break;
    case OR_NSIM_URL:
    case OR_NSIM_EMAIL:
    case OR_NSIM_PHONE: or_nsim_show_text(out, value ? value->text : NULL); break;
    case OR_NSIM_NUMBER:
        if (value && value->set) {
            or_nsim_show_number(out, value->number);
        } else {
            or_buffer_text(out, "null");
        }
        break;
    case OR_NSIM_CHECKBOX:
        or_buffer_text(out, value && value->number != 0 ? "true" : "false");
        break;
    case OR_NSIM_SELECT:
    case OR_NSIM_STATUS:
    case OR_NSIM_MULTI_SELECT: show_options(out, value, property); break;
    case OR_NSIM_PEOPLE: show_people(out, value); break;
    case OR_NSIM_RELATION: show_relation(out, value); break;
    default: show_automatic(out, page, property); break;
    }
}

/* ---- pages --------------------------------------------------------------------------------- */

/* filter_properties of the URL names the only ones that are wanted. */
static bool wanted(const struct or_nsim_call *call, const struct or_nsim_property *property)
{
    bool any = false;
    for (size_t i = 0; i < call->n_query; i++) {
        if (or_span_is(call->query[i].name, "filter_properties") ||
            or_span_is(call->query[i].name, "filter_properties[]")) {
            any = true;
            if (or_nsim_property_is(property, call->query[i].value)) {
                return true;
            }
        }
    }
    return !any;
}

static void show_properties(struct or_nsim_call *call, const struct or_nsim_page *page,
                            const struct or_nsim_version *version)
{
    const struct or_nsim_source *source = page->source;
    size_t shown = 0;
    or_buffer_text(&call->out, "\"properties\":{");
    for (size_t i = 0; i < source->n_properties; i++) {
        const struct or_nsim_property *property = &source->properties[i];
        if (property->gone || !wanted(call, property)) {
            continue;
        }
        or_buffer_text(&call->out, shown++ ? "," : "");
        or_nsim_show_text(&call->out, property->name);
        or_buffer_printf(&call->out, ":{\"id\":\"%s\",", property->id);
        or_nsim_show_value(call, page, version, property);
        or_buffer_char(&call->out, '}');
    }
    or_buffer_char(&call->out, '}');
}

static const char *title_text(const struct or_nsim_page *page,
                              const struct or_nsim_version *version)
{
    const struct or_nsim_property *title = or_nsim_title_of(page->source);
    const struct or_nsim_value *value = title ? or_nsim_value_of(version, title) : NULL;
    return value ? value->text : NULL;
}

/* A token that may not read is told what it wrote by its id alone. */
static bool show_partial(struct or_nsim_call *call, const struct or_nsim_object *o,
                         const char *kind)
{
    or_buffer_printf(&call->out, "{\"object\":\"%s\",\"id\":\"%s\"", kind, o->id);
    if (call->token->can & OR_NSIM_CAN_READ) {
        return false;
    }
    or_buffer_char(&call->out, '}');
    return true;
}

void or_nsim_show_page(struct or_nsim_call *call, const struct or_nsim_page *page,
                       const struct or_nsim_version *version)
{
    struct or_buffer *out = &call->out;
    const struct or_nsim_object *parent =
        page->source == call->sim->model.plain ? page->o.parent : &page->source->o;
    if (show_partial(call, &page->o, "page")) {
        return;
    }
    or_buffer_char(out, ',');
    show_times(out, &page->o);
    or_buffer_char(out, ',');
    show_looks(out, &page->o);
    or_buffer_char(out, ',');
    show_parent(call, "parent", parent);
    or_buffer_char(out, ',');
    show_trash(call, version->in_trash);
    if (call->api != OR_NSIM_2022) {
        or_buffer_printf(out, ",\"is_archived\":false,\"is_locked\":%s",
                         page->is_locked ? "true" : "false");
    }
    or_buffer_char(out, ',');
    show_properties(call, page, version);
    or_buffer_char(out, ',');
    show_url(out, page->o.id, title_text(page, version));
    or_buffer_char(out, '}');
}

/* ---- schemas ------------------------------------------------------------------------------- */

static void show_schema_options(struct or_buffer *out, const struct or_nsim_property *property)
{
    or_buffer_text(out, "{\"options\":[");
    for (size_t i = 0; i < property->n_options; i++) {
        const struct or_nsim_option *option = &property->options[i];
        or_buffer_printf(out, "%s{\"id\":\"%s\",\"name\":", i ? "," : "", option->id);
        or_nsim_show_text(out, option->name);
        or_buffer_printf(out, ",\"color\":\"%s\",\"description\":null}", option->color);
    }
    or_buffer_char(out, ']');
    if (property->type == OR_NSIM_STATUS) {
        or_buffer_text(out, ",\"groups\":[]");
    }
    or_buffer_char(out, '}');
}

static void show_schema_relation(struct or_nsim_call *call, const struct or_nsim_property *property)
{
    const struct or_nsim_object *source = or_nsim_find(&call->sim->model, property->related);
    struct or_buffer *out = &call->out;
    or_buffer_char(out, '{');
    if (source && source->parent) {
        or_buffer_printf(out, "\"database_id\":\"%s\",", source->parent->id);
    }
    if (call->api != OR_NSIM_2022) {
        or_buffer_printf(out, "\"data_source_id\":\"%s\",", property->related);
    }
    or_buffer_text(out, "\"type\":\"single_property\",\"single_property\":{}}");
}

static void show_schema_property(struct or_nsim_call *call, const struct or_nsim_property *property)
{
    struct or_buffer *out = &call->out;
    const char *type = or_nsim_type_name(property->type);
    or_nsim_show_text(out, property->name);
    or_buffer_printf(out, ":{\"id\":\"%s\",\"name\":", property->id);
    or_nsim_show_text(out, property->name);
    or_buffer_printf(out, ",\"description\":null,\"type\":\"%s\",\"%s\":", type, type);
    switch (property->type) {
    case OR_NSIM_SELECT:
    case OR_NSIM_MULTI_SELECT:
    case OR_NSIM_STATUS: show_schema_options(out, property); break;
    case OR_NSIM_RELATION: show_schema_relation(call, property); break;
    case OR_NSIM_UNIQUE_ID:
        or_buffer_text(out, "{\"prefix\":");
        show_json(out, property->extra, "null");
        or_buffer_char(out, '}');
        break;
    default: show_json(out, property->extra, "{}"); break;
    }
    or_buffer_char(out, '}');
}

static void show_schema(struct or_nsim_call *call, const struct or_nsim_source *source)
{
    size_t shown = 0;
    or_buffer_text(&call->out, "\"properties\":{");
    for (size_t i = 0; i < source->n_properties; i++) {
        if (!source->properties[i].gone) {
            or_buffer_text(&call->out, shown++ ? "," : "");
            show_schema_property(call, &source->properties[i]);
        }
    }
    or_buffer_char(&call->out, '}');
}

void or_nsim_show_source(struct or_nsim_call *call, const struct or_nsim_source *source)
{
    struct or_buffer *out = &call->out;
    const struct or_nsim_database *database = (const struct or_nsim_database *)source->o.parent;
    if (show_partial(call, &source->o, "data_source")) {
        return;
    }
    or_buffer_char(out, ',');
    show_times(out, &source->o);
    or_buffer_char(out, ',');
    show_looks(out, &source->o);
    or_buffer_char(out, ',');
    show_trash(call, source->o.in_trash);
    or_buffer_text(out, ",\"title\":");
    show_json(out, source->title, "[]");
    or_buffer_printf(out,
                     ",\"description\":[],\"is_inline\":%s,\"parent\":{\"type\":\"database_id\","
                     "\"database_id\":\"%s\"},",
                     database->is_inline ? "true" : "false", database->o.id);
    show_parent(call, "database_parent", database->o.parent);
    or_buffer_char(out, ',');
    show_schema(call, source);
    or_buffer_char(out, ',');
    show_url(out, database->o.id, NULL);
    or_buffer_char(out, '}');
}

static void show_sources(struct or_buffer *out, const struct or_nsim_database *database)
{
    or_buffer_text(out, "\"data_sources\":[");
    for (size_t i = 0; i < database->n_sources; i++) {
        or_buffer_printf(out, "%s{\"id\":\"%s\",\"name\":", i ? "," : "",
                         database->sources[i]->o.id);
        or_buffer_json(out, or_span(database->sources[i]->name ? database->sources[i]->name : ""));
        or_buffer_char(out, '}');
    }
    or_buffer_char(out, ']');
}

void or_nsim_show_database(struct or_nsim_call *call, const struct or_nsim_database *database)
{
    struct or_buffer *out = &call->out;
    if (show_partial(call, &database->o, "database")) {
        return;
    }
    or_buffer_char(out, ',');
    show_times(out, &database->o);
    or_buffer_char(out, ',');
    show_looks(out, &database->o);
    or_buffer_text(out, ",\"title\":");
    show_json(out, database->title, "[]");
    or_buffer_text(out, ",\"description\":");
    show_json(out, database->description, "[]");
    or_buffer_printf(out, ",\"is_inline\":%s,\"is_locked\":false,",
                     database->is_inline ? "true" : "false");
    show_trash(call, database->o.in_trash);
    or_buffer_char(out, ',');
    show_parent(call, "parent", database->o.parent);
    or_buffer_char(out, ',');
    if (call->api == OR_NSIM_2022) {
        show_schema(call, database->sources[0]);
    } else {
        show_sources(out, database);
    }
    or_buffer_char(out, ',');
    show_url(out, database->o.id, database->name);
    or_buffer_char(out, '}');
}

/* ---- blocks -------------------------------------------------------------------------------- */

static const char *block_type(const struct or_nsim_object *object)
{
    switch (object->kind) {
    case OR_NSIM_BLOCK: return ((const struct or_nsim_block *)object)->type;
    case OR_NSIM_PAGE: return "child_page";
    default: return "child_database";
    }
}

static void show_content(struct or_buffer *out, const struct or_nsim_object *object)
{
    if (object->kind == OR_NSIM_BLOCK) {
        show_json(out, ((const struct or_nsim_block *)object)->content, "{}");
        return;
    }
    const char *title = NULL;
    if (object->kind == OR_NSIM_PAGE) {
        const struct or_nsim_page *page = (const struct or_nsim_page *)object;
        title = title_text(page, page->now);
    } else {
        title = ((const struct or_nsim_database *)object)->name;
    }
    or_buffer_text(out, "{\"title\":");
    or_nsim_show_text(out, title ? title : "");
    or_buffer_char(out, '}');
}

void or_nsim_show_block(struct or_nsim_call *call, const struct or_nsim_object *object)
{
    struct or_buffer *out = &call->out;
    const char *type = block_type(object);
    bool children = false;
    for (size_t i = 0; i < object->n_children; i++) {
        children |= !object->children[i]->in_trash;
    }
    if (show_partial(call, object, "block")) {
        return;
    }
    or_buffer_char(out, ',');
    show_parent(call, "parent", object->parent);
    or_buffer_char(out, ',');
    show_times(out, object);
    or_buffer_printf(out, ",\"has_children\":%s,", children ? "true" : "false");
    show_trash(call, object->in_trash);
    or_buffer_printf(out, ",\"type\":\"%s\",\"%s\":", type, type);
    show_content(out, object);
    or_buffer_char(out, '}');
}
