/* SPDX-License-Identifier: Apache-2.0
 *
 * What is not Notion's: the state, what people do behind a client's back, faults to order, the
 * clock. No token, no limits, no faults; none of it counts as a request.
 *
 *   GET  /                            the state as a page
 *   GET  /_sim/state[?keys=none]      the state as JSON
 *   GET  /_sim/routes                 what is simulated
 *   POST /_sim/pages/{id}/VERB        trash, restore, rename, purge, share, unshare
 *   POST /_sim/faults                 {"rates": TEXT, "next": [ORDER…], "clear": true}
 *   POST /_sim/clock                  {"advance_ms": N}
 */
#include <stdlib.h>
#include <string.h>

#include "notion_sim/nsim_call.h"

static void fail(struct or_nsim_call *call, unsigned status, const char *message)
{
    call->status = status;
    or_buffer_clear(&call->out);
    or_buffer_text(&call->out, "{\"error\":");
    or_nsim_show_text(&call->out, message);
    or_buffer_char(&call->out, '}');
}

static void done(struct or_nsim_call *call)
{
    or_buffer_text(&call->out, "{\"done\":true}");
}

/* ---- people -------------------------------------------------------------------------------- */

static void touch(struct or_nsim_call *call, struct or_nsim_object *object)
{
    object->edited_ms = call->now_ms;
    object->edited_by = call->sim->first;
}

/* {"title": TEXT}, or {"property": NAME, "value": TEXT} for any property of text. */
static bool rename_page(struct or_nsim_call *call, struct or_nsim_page *page)
{
    yyjson_val *name = yyjson_obj_get(call->json, "property");
    yyjson_val *text = yyjson_obj_get(call->json, name ? "value" : "title");
    const struct or_nsim_property *property =
        name ? or_nsim_property_of(page->source, or_nsim_string(name))
             : or_nsim_title_of(page->source);
    if (!property || or_nsim_type_filter(property->type) != OR_NSIM_FILTER_TEXT ||
        !yyjson_is_str(text)) {
        return false;
    }
    struct or_nsim_version *version = or_nsim_version_new(page->now, page->source->n_slots);
    or_nsim_version_set(version, property, or_nsim_plain_value(or_nsim_string(text)));
    touch(call, &page->o);
    or_nsim_change(page, version, call->now_ms);
    return true;
}

static bool act(struct or_nsim_call *call, struct or_nsim_object *object, struct onerow_span verb)
{
    struct or_nsim_page *page = object->kind == OR_NSIM_PAGE ? (struct or_nsim_page *)object : NULL;
    if (or_span_is(verb, "trash") || or_span_is(verb, "restore")) {
        touch(call, object);
        or_nsim_set_trash(object, or_span_is(verb, "trash"), call->now_ms);
        return true;
    }
    if (or_span_is(verb, "share") || or_span_is(verb, "unshare")) {
        object->unshared = or_span_is(verb, "unshare");
        return true;
    }
    if (or_span_is(verb, "purge") && page && page != call->sim->root) {
        or_nsim_purge(&call->sim->model, page, call->now_ms);
        return true;
    }
    return or_span_is(verb, "rename") && page && rename_page(call, page);
}

static void people(struct or_nsim_call *call, struct onerow_span rest)
{
    char id[OR_NSIM_ID];
    const char *slash = memchr(rest.data, '/', rest.len);
    struct onerow_span first = {rest.data, slash ? (size_t)(slash - rest.data) : rest.len};
    struct onerow_span verb = {slash ? slash + 1 : "", slash ? rest.len - first.len - 1 : 0};
    struct or_nsim_object *object =
        or_nsim_read_id(first, id) ? or_nsim_find(&call->sim->model, id) : NULL;
    if (!object) {
        fail(call, 404, "nothing has this id");
    } else if (act(call, object, verb)) {
        done(call);
    } else {
        fail(call, 400,
             "trash, restore, share, unshare; of pages purge and rename, with "
             "{\"title\": TEXT} or {\"property\": NAME, \"value\": TEXT}");
    }
}

/* ---- faults -------------------------------------------------------------------------------- */

static char *text_of(yyjson_val *order, const char *name)
{
    yyjson_val *value = yyjson_obj_get(order, name);
    return yyjson_is_str(value) ? or_nsim_copy(or_nsim_string(value)) : NULL;
}

static bool add_order(struct or_nsim *sim, yyjson_val *given)
{
    yyjson_val *parameter = yyjson_obj_get(given, "parameter");
    yyjson_val *times = yyjson_obj_get(given, "times");
    enum or_nsim_fault_id fault = or_nsim_fault_of(or_nsim_string(yyjson_obj_get(given, "fault")));
    if (fault == OR_NSIM_FAULTS || (parameter && !yyjson_is_uint(parameter)) ||
        (times && yyjson_get_uint(times) == 0) ||
        (fault == OR_NSIM_FAULT_LAG && yyjson_get_uint(parameter) > OR_NSIM_LAG_MAX_MS)) {
        return false;
    }
    struct or_nsim_order *order = or_nsim_take(sizeof *order);
    order->fault = fault;
    order->parameter = parameter ? yyjson_get_uint(parameter) : or_nsim_faults[fault].parameter;
    order->times = times ? yyjson_get_uint(times) : 1;
    order->skip = yyjson_get_uint(yyjson_obj_get(given, "skip"));
    order->method = text_of(given, "method");
    order->path = text_of(given, "path");
    struct or_nsim_order **end = &sim->faults.orders;
    while (*end) {
        end = &(*end)->next;
    }
    *end = order;
    return true;
}

static void faults(struct or_nsim_call *call)
{
    yyjson_val *rates = yyjson_obj_get(call->json, "rates");
    yyjson_val *next = yyjson_obj_get(call->json, "next");
    const char *reason = "an order is {\"fault\": NAME} with times, skip, parameter, method, path";
    yyjson_val *order;
    size_t i;
    size_t n;
    bool fine = true;
    if (yyjson_get_bool(yyjson_obj_get(call->json, "clear"))) {
        or_nsim_faults_finish(&call->sim->faults);
        for (i = 0; i < OR_NSIM_FAULTS; i++) {
            call->sim->faults.rates[i].rate = 0;
        }
    }
    if (yyjson_is_str(rates)) {
        fine = or_nsim_faults_read(&call->sim->faults, or_nsim_string(rates), &reason);
    }
    yyjson_arr_foreach(next, i, n, order)
    {
        fine = fine && add_order(call->sim, order);
    }
    if (fine) {
        done(call);
    } else {
        fail(call, 400, reason);
    }
}

static void move_clock(struct or_nsim_call *call)
{
    yyjson_val *ms = yyjson_obj_get(call->json, "advance_ms");
    if (!yyjson_is_uint(ms)) {
        fail(call, 400, "{\"advance_ms\": N}");
        return;
    }
    or_nsim_advance(call->sim, yyjson_get_uint(ms));
    or_buffer_printf(&call->out, "{\"now_ms\":%llu}", (unsigned long long)or_nsim_now(call->sim));
}

/* ---- which --------------------------------------------------------------------------------- */

static bool begins(struct onerow_span *path, const char *with)
{
    size_t len = strlen(with);
    if (path->len < len || memcmp(path->data, with, len) != 0) {
        return false;
    }
    *path = (struct onerow_span){path->data + len, path->len - len};
    return true;
}

static void run(struct or_nsim_call *call, struct onerow_span rest)
{
    bool get = call->method == OR_NSIM_GET;
    bool post = call->method == OR_NSIM_POST;
    if (get && or_span_is(rest, "state")) {
        bool keys = !or_span_is(or_nsim_parameter(call, "keys"), "none");
        or_nsim_show_state(call->sim, keys, &call->out);
    } else if (get && or_span_is(rest, "routes")) {
        or_nsim_routes_show(&call->out);
    } else if (post && !or_nsim_read_body(call)) {
        fail(call, 400, "the body is no JSON object");
    } else if (post && or_span_is(rest, "faults")) {
        faults(call);
    } else if (post && or_span_is(rest, "clock")) {
        move_clock(call);
    } else if (post && begins(&rest, "pages/")) {
        people(call, rest);
    } else {
        fail(call, 404,
             "there are GET / and /_sim/state, /_sim/routes, POST /_sim/pages/ID/VERB, "
             "/_sim/faults and /_sim/clock");
    }
}

bool or_nsim_control(struct or_nsim_call *call)
{
    struct onerow_span rest = call->path;
    bool page = or_span_is(rest, "/");
    if (!page && !begins(&rest, "/_sim/")) {
        return false;
    }
    call->now_ms = or_nsim_now(call->sim);
    call->status = 200;
    call->edge = true;
    call->content_type = page ? "text/html; charset=utf-8" : "application/json; charset=utf-8";
    if (page) {
        or_nsim_show_html(call->sim, &call->out);
    } else {
        run(call, rest);
    }
    return true;
}
