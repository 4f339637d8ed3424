/* SPDX-License-Identifier: Apache-2.0
 *
 * "properties" of a page in a request: each is checked against its type and its limit and becomes
 * a value. Nothing is changed here but the version that is being written; options of select and
 * multi_select that do not exist yet are remembered, and made when the write is committed.
 */
#include <stdlib.h>
#include <string.h>

#include "notion_sim/nsim_call.h"

#define URL_MAX    2000U
#define SHORT_MAX  200U /* email and phone */
#define ITEMS_MAX  100U /* options, people, relations */
#define OPTION_MAX 100U /* characters of an option's name */

struct reading {
    struct or_nsim_call *call;
    struct or_nsim_writing *writing;
    const struct or_nsim_property *property;
    const struct or_nsim_path *path;
    struct or_nsim_value *value; /* being read */
};

static void set_text(struct or_nsim_value *value, struct onerow_span text)
{
    value->text = or_nsim_copy(text);
    value->fold = or_nsim_fold(text);
}

/* ---- text ---------------------------------------------------------------------------------- */

static bool read_rich(struct reading *r, yyjson_val *given)
{
    struct or_buffer json;
    struct or_buffer plain;
    or_buffer_init(&json);
    or_buffer_init(&plain);
    bool fine = or_nsim_rich_text(r->call, r->path, given, &json, &plain);
    if (fine && plain.len) {
        set_text(r->value, or_buffer_view(&plain));
        r->value->json = or_nsim_steal(&json);
    }
    or_buffer_finish(&json);
    or_buffer_finish(&plain);
    return fine;
}

/* url, email, phone_number: null empties them, an empty string is refused. */
static bool read_line(struct reading *r, yyjson_val *given)
{
    size_t max = r->property->type == OR_NSIM_URL ? URL_MAX : SHORT_MAX;
    if (yyjson_is_null(given)) {
        return true;
    }
    if (!yyjson_is_str(given)) {
        return or_nsim_invalid_value(r->call, r->path, "a string or `null`", given);
    }
    size_t len = or_nsim_utf16_length(or_nsim_string(given));
    if (len == 0) {
        return or_nsim_invalid(r->call, r->path, ".length should be ≥ `1`, instead was `0`.");
    }
    if (len > max) {
        return or_nsim_invalid(r->call, r->path, ".length should be ≤ `%zu`, instead was `%zu`.",
                               max, len);
    }
    set_text(r->value, or_nsim_string(given));
    return true;
}

/* ---- numbers, dates ------------------------------------------------------------------------ */

static bool read_number(struct reading *r, yyjson_val *given)
{
    if (yyjson_is_null(given)) {
        return true;
    }
    if (!yyjson_is_num(given)) {
        return or_nsim_invalid_value(r->call, r->path, "a number or `null`", given);
    }
    r->value->number = yyjson_get_num(given);
    r->value->set = true;
    return true;
}

static bool read_checkbox(struct reading *r, yyjson_val *given)
{
    if (!yyjson_is_bool(given)) {
        return or_nsim_invalid_value(r->call, r->path, "a boolean", given);
    }
    r->value->number = yyjson_get_bool(given);
    r->value->set = true;
    return true;
}

/* A date is answered as it came, a time as Notion writes it: with milliseconds and an offset. */
static void show_date(struct or_buffer *out, struct onerow_span text)
{
    if (text.len == 10) {
        or_buffer_json(out, text);
        return;
    }
    size_t zone = 16;
    while (zone < text.len && strchr("0123456789:.", text.data[zone])) {
        zone++;
    }
    char clock[] = ":00.000";
    size_t given = zone - 16;
    /* NOLINTNEXTLINE(clang-analyzer-core.NonNullParamChecker): a time that was read has data */
    memcpy(clock, text.data + 16, given < sizeof clock - 1 ? given : sizeof clock - 1);
    struct onerow_span offset = {text.data + zone, text.len - zone};
    or_buffer_printf(out, "\"%.10sT%.5s%s", text.data, text.data + 11, clock);
    if (offset.len < 2) {
        or_buffer_text(out, "+00:00\"");
    } else {
        or_buffer_printf(out, "%.3s:%.2s\"", offset.data, offset.data + offset.len - 2);
    }
}

static bool read_moment(struct reading *r, const struct or_nsim_path *path, yyjson_val *given)
{
    int64_t ms;
    return (yyjson_is_str(given) && or_nsim_read_time(or_nsim_string(given), &ms, NULL)) ||
           or_nsim_invalid_value(r->call, path, "a valid ISO 8601 date string", given);
}

static bool read_date(struct reading *r, yyjson_val *given)
{
    const struct or_nsim_path at_start = {r->path, "start", 0};
    const struct or_nsim_path at_end = {r->path, "end", 0};
    yyjson_val *start = yyjson_obj_get(given, "start");
    yyjson_val *end = yyjson_obj_get(given, "end");
    yyjson_val *zone = yyjson_obj_get(given, "time_zone");
    if (yyjson_is_null(given)) {
        return true;
    }
    if (!yyjson_is_obj(given)) {
        return or_nsim_invalid_value(r->call, r->path, "an object or `null`", given);
    }
    bool ends = end && !yyjson_is_null(end);
    if (!read_moment(r, &at_start, start) || (ends && !read_moment(r, &at_end, end))) {
        return false;
    }
    struct or_buffer out;
    or_buffer_init(&out);
    or_buffer_text(&out, "{\"start\":");
    show_date(&out, or_nsim_string(start));
    or_buffer_text(&out, ",\"end\":");
    if (ends) {
        show_date(&out, or_nsim_string(end));
    } else {
        or_buffer_text(&out, "null");
    }
    or_buffer_text(&out, ",\"time_zone\":");
    if (yyjson_is_str(zone)) {
        or_buffer_json(&out, or_nsim_string(zone));
    } else {
        or_buffer_text(&out, "null");
    }
    or_buffer_char(&out, '}');
    r->value->json = or_nsim_steal(&out);
    r->value->text = or_nsim_copy(or_nsim_string(start));
    return true;
}

/* ---- options ------------------------------------------------------------------------------- */

static void add_item(struct or_nsim_value *value, const char *id)
{
    for (size_t i = 0; i < value->n_items; i++) {
        if (strcmp(value->items[i], id) == 0) {
            return;
        }
    }
    memcpy(value->items[value->n_items++], id, OR_NSIM_ID);
}

/* The option of this name: one that exists, one that an earlier property of the request wants as
 * well, or a new one. */
static const char *wanted_option(struct reading *r, struct onerow_span name)
{
    const struct or_nsim_option *option = or_nsim_option_by_name(r->property, name);
    size_t place = (size_t)(r->property - r->writing->source->properties);
    if (option) {
        return option->id;
    }
    struct or_nsim_new_option **at = &r->writing->options;
    for (; *at; at = &(*at)->next) {
        if ((*at)->property == place && or_span_is(name, (*at)->name)) {
            return (*at)->id;
        }
    }
    struct or_nsim_new_option *fresh = or_arena_alloc(&r->call->arena, sizeof *fresh);
    struct onerow_span copy = or_arena_copy(&r->call->arena, name);
    if (!fresh || !copy.data) {
        or_nsim_no_memory();
    }
    *fresh = (struct or_nsim_new_option){.property = place, .name = (char *)(uintptr_t)copy.data};
    or_nsim_new_id(&r->call->rng, fresh->id);
    *at = fresh;
    return fresh->id;
}

static bool read_option_name(struct reading *r, const struct or_nsim_path *path,
                             struct onerow_span name)
{
    const struct or_nsim_path at = {path, "name", 0};
    size_t len = or_nsim_utf16_length(name);
    if (len == 0) {
        return or_nsim_invalid(r->call, &at, ".length should be ≥ `1`, instead was `0`.");
    }
    if (len > OPTION_MAX) {
        return or_nsim_invalid(r->call, &at, ".length should be ≤ `%u`, instead was `%zu`.",
                               OPTION_MAX, len);
    }
    if (r->property->type == OR_NSIM_STATUS) {
        const struct or_nsim_option *option = or_nsim_option_by_name(r->property, name);
        if (!option) {
            return or_nsim_fail(r->call, OR_NSIM_VALIDATION,
                                "Invalid status option. Status option \"%.*s\" does not exist.",
                                (int)name.len, name.data);
        }
        add_item(r->value, option->id);
        return true;
    }
    if (memchr(name.data, ',', name.len)) {
        return or_nsim_fail(r->call, OR_NSIM_VALIDATION,
                            "Invalid select option, commas not allowed: %.*s", (int)name.len,
                            name.data);
    }
    add_item(r->value, wanted_option(r, name));
    return true;
}

static bool read_option(struct reading *r, const struct or_nsim_path *path, yyjson_val *given)
{
    const struct or_nsim_path at = {path, "name", 0};
    yyjson_val *id = yyjson_obj_get(given, "id");
    yyjson_val *name = yyjson_obj_get(given, "name");
    if (!yyjson_is_obj(given)) {
        return or_nsim_invalid_value(r->call, path, "an object", given);
    }
    if (yyjson_is_str(name)) {
        return read_option_name(r, path, or_nsim_string(name));
    }
    if (!yyjson_is_str(id)) {
        return or_nsim_invalid_value(r->call, &at, "defined", name);
    }
    const struct or_nsim_option *option = or_nsim_option_by_id(r->property, yyjson_get_str(id));
    if (!option) {
        return or_nsim_fail(r->call, OR_NSIM_VALIDATION, "%s option \"%s\" does not exist.",
                            or_nsim_type_name(r->property->type), yyjson_get_str(id));
    }
    add_item(r->value, option->id);
    return true;
}

static bool read_choice(struct reading *r, yyjson_val *given)
{
    if (yyjson_is_null(given)) {
        return true;
    }
    r->value->items = or_nsim_take(OR_NSIM_ID);
    return read_option(r, r->path, given);
}

/* ---- lists --------------------------------------------------------------------------------- */

static bool begin_list(struct reading *r, yyjson_val *given)
{
    if (!yyjson_is_arr(given)) {
        return or_nsim_invalid_value(r->call, r->path, "an array", given);
    }
    size_t n = yyjson_arr_size(given);
    if (n > ITEMS_MAX) {
        return or_nsim_invalid(r->call, r->path, ".length should be ≤ `%u`, instead was `%zu`.",
                               ITEMS_MAX, n);
    }
    r->value->items = or_nsim_take(n * OR_NSIM_ID);
    return true;
}

static bool read_choices(struct reading *r, yyjson_val *given)
{
    yyjson_val *item;
    size_t i;
    size_t n;
    if (!begin_list(r, given)) {
        return false;
    }
    yyjson_arr_foreach(given, i, n, item)
    {
        const struct or_nsim_path at = {r->path, NULL, i};
        if (!read_option(r, &at, item)) {
            return false;
        }
    }
    return true;
}

static bool read_id_of(struct reading *r, const struct or_nsim_path *path, yyjson_val *item,
                       char id[OR_NSIM_ID])
{
    const struct or_nsim_path at = {path, "id", 0};
    yyjson_val *given = yyjson_obj_get(item, "id");
    return (yyjson_is_str(given) && or_nsim_read_id(or_nsim_string(given), id)) ||
           or_nsim_invalid_value(r->call, &at, "a valid uuid", given);
}

static bool read_people(struct reading *r, yyjson_val *given)
{
    yyjson_val *item;
    size_t i;
    size_t n;
    if (!begin_list(r, given)) {
        return false;
    }
    yyjson_arr_foreach(given, i, n, item)
    {
        const struct or_nsim_path at = {r->path, NULL, i};
        char id[OR_NSIM_ID];
        if (!read_id_of(r, &at, item, id)) {
            return false;
        }
        add_item(r->value, id);
    }
    return true;
}

static bool read_relation(struct reading *r, yyjson_val *given)
{
    yyjson_val *item;
    size_t i;
    size_t n;
    const struct or_nsim_object *other = or_nsim_find(&r->call->sim->model, r->property->related);
    if ((other && !or_nsim_single(r->call, other)) || !begin_list(r, given)) {
        return false;
    }
    yyjson_arr_foreach(given, i, n, item)
    {
        const struct or_nsim_path at = {r->path, NULL, i};
        char id[OR_NSIM_ID];
        if (!read_id_of(r, &at, item, id)) {
            return false;
        }
        const struct or_nsim_object *page = or_nsim_find(&r->call->sim->model, id);
        if (!page || page->kind != OR_NSIM_PAGE || !or_nsim_is_shared(page)) {
            return or_nsim_not_found(r->call, "page", id);
        }
        add_item(r->value, id);
    }
    return true;
}

/* Files by external URL; an upload's id is not known here. */
static bool read_files(struct reading *r, yyjson_val *given)
{
    if (!yyjson_is_arr(given)) {
        return or_nsim_invalid_value(r->call, r->path, "an array", given);
    }
    yyjson_val *item;
    size_t i;
    size_t n;
    yyjson_arr_foreach(given, i, n, item)
    {
        if (!yyjson_obj_get(item, "external")) {
            return or_nsim_fail(r->call, OR_NSIM_INVALID_REQUEST,
                                "Unsupported request: only external files are simulated.");
        }
    }
    r->value->json = or_nsim_json_copy(given);
    return true;
}

/* ---- one property -------------------------------------------------------------------------- */

static bool read_value(struct reading *r, yyjson_val *given)
{
    switch (r->property->type) {
    case OR_NSIM_TITLE:
    case OR_NSIM_RICH_TEXT: return read_rich(r, given);
    case OR_NSIM_URL:
    case OR_NSIM_EMAIL:
    case OR_NSIM_PHONE: return read_line(r, given);
    case OR_NSIM_NUMBER: return read_number(r, given);
    case OR_NSIM_CHECKBOX: return read_checkbox(r, given);
    case OR_NSIM_DATE: return read_date(r, given);
    case OR_NSIM_SELECT:
    case OR_NSIM_STATUS: return read_choice(r, given);
    case OR_NSIM_MULTI_SELECT: return read_choices(r, given);
    case OR_NSIM_PEOPLE: return read_people(r, given);
    case OR_NSIM_RELATION: return read_relation(r, given);
    case OR_NSIM_FILES: return read_files(r, given);
    default: return or_nsim_fail_plain(r->call, OR_NSIM_INVALID_REQUEST); /* not writable */
    }
}

/* Which of the writable types the request names; OR_NSIM_TYPES: none. */
static enum or_nsim_type given_type(yyjson_val *given)
{
    for (unsigned i = 0; i < OR_NSIM_TYPES; i++) {
        enum or_nsim_type type = (enum or_nsim_type)i;
        if (or_nsim_type_writable(type) && yyjson_obj_get(given, or_nsim_type_name(type))) {
            return type;
        }
    }
    return OR_NSIM_TYPES;
}

/* No writable type at all: formulas, rollups and what Notion fills in end here, too. */
static bool fail_untyped(struct or_nsim_call *call, const struct or_nsim_path *path)
{
    struct or_buffer text;
    struct or_buffer where;
    or_buffer_init(&text);
    or_buffer_init(&where);
    or_nsim_path_text(path, &where);
    or_buffer_text(&text, "body failed validation. Fix one:");
    for (unsigned i = 0; i < OR_NSIM_TYPES; i++) {
        if (or_nsim_type_writable((enum or_nsim_type)i)) {
            or_buffer_printf(&text, "\n%s.%s should be defined, instead was `undefined`.",
                             or_buffer_cstr(&where), or_nsim_type_name((enum or_nsim_type)i));
        }
    }
    (void)or_nsim_fail(call, OR_NSIM_VALIDATION, "%s", or_buffer_cstr(&text));
    or_buffer_finish(&text);
    or_buffer_finish(&where);
    return false;
}

static bool read_property(struct or_nsim_call *call, struct or_nsim_writing *writing,
                          const struct or_nsim_path *above, struct onerow_span name,
                          yyjson_val *given)
{
    const struct or_nsim_property *property = or_nsim_property_of(writing->source, name);
    struct onerow_span copy = or_arena_copy(&call->arena, name);
    const struct or_nsim_path path = {above, copy.data ? copy.data : "", 0};
    if (!property) {
        return or_nsim_fail(call, OR_NSIM_VALIDATION, "%.*s is not a property that exists.",
                            (int)name.len, name.data);
    }
    enum or_nsim_type type = given_type(given);
    if (type == OR_NSIM_TYPES) {
        return fail_untyped(call, &path);
    }
    if (type != property->type) {
        return or_nsim_fail(call, OR_NSIM_VALIDATION, "%s is expected to be %s.", property->name,
                            or_nsim_type_name(property->type));
    }
    const char *type_name = or_nsim_type_name(type);
    const struct or_nsim_path at = {&path, type_name, 0};
    struct reading r = {call, writing, property, &at, or_nsim_value_new()};
    if (!read_value(&r, yyjson_obj_get(given, type_name))) {
        or_nsim_value_unref(r.value);
        return false;
    }
    or_nsim_version_set(writing->version, property, r.value);
    return true;
}

bool or_nsim_read_properties(struct or_nsim_call *call, yyjson_val *properties,
                             struct or_nsim_writing *writing)
{
    const struct or_nsim_path body = {.name = "body"};
    const struct or_nsim_path path = {&body, "properties", 0};
    yyjson_val *name;
    yyjson_val *given;
    size_t i;
    size_t n;
    if (!yyjson_is_obj(properties)) {
        return or_nsim_invalid_value(call, &path, "an object", properties);
    }
    yyjson_obj_foreach(properties, i, n, name, given)
    {
        if (!read_property(call, writing, &path, or_nsim_string(name), given)) {
            return false;
        }
    }
    return true;
}

void or_nsim_options_commit(struct or_nsim_call *call, const struct or_nsim_writing *writing)
{
    for (const struct or_nsim_new_option *at = writing->options; at; at = at->next) {
        struct or_nsim_property *property = &writing->source->properties[at->property];
        (void)or_nsim_add_option(&call->sim->model, property, or_span(at->name), NULL);
        memcpy(property->options[property->n_options - 1].id, at->id, OR_NSIM_ID);
    }
}
