/* SPDX-License-Identifier: Apache-2.0
 *
 * The error envelope: {"object":"error","status","code","message","additional_data"?,"request_id"}.
 * Messages are Notion's own where public bug reports or the documentation show them; which ones
 * those are is in docs/notion-sim.md.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "notion_sim/nsim_call.h"

#define SHOWN_VALUE 200U /* bytes of a refused value in a message */

static const struct {
    unsigned status;
    const char *text;
    const char *message;
} errors[] = {
#define ERROR_ROW(name, status, text, message) {status, text, message},
    OR_NSIM_ERROR_MAP(ERROR_ROW)
#undef ERROR_ROW
};

const char *or_nsim_code_text(enum or_nsim_code code)
{
    return errors[code].text;
}

void or_nsim_answer_error(struct or_nsim_call *call, enum or_nsim_code code, const char *message)
{
    call->status = errors[code].status;
    call->code = errors[code].text;
    call->content_type = "application/json; charset=utf-8";
    or_buffer_clear(&call->out);
    or_buffer_printf(&call->out, "{\"object\":\"error\",\"status\":%u,\"code\":\"%s\",\"message\":",
                     call->status, call->code);
    or_buffer_json(&call->out, or_span(message ? message : errors[code].message));
    if (call->additional.len) {
        or_buffer_printf(&call->out, ",\"additional_data\":{%s}",
                         or_buffer_cstr(&call->additional));
    }
    or_buffer_printf(&call->out, ",\"request_id\":\"%s\"}", call->request_id);
}

bool or_nsim_fail(struct or_nsim_call *call, enum or_nsim_code code, const char *format, ...)
{
    char *message = NULL;
    va_list arguments;
    va_start(arguments, format);
    int len = vasprintf(&message, format, arguments);
    va_end(arguments);
    if (len < 0) {
        or_nsim_no_memory();
    }
    or_nsim_answer_error(call, code, message);
    free(message);
    return false;
}

bool or_nsim_fail_plain(struct or_nsim_call *call, enum or_nsim_code code)
{
    or_nsim_answer_error(call, code, NULL);
    return false;
}

void or_nsim_path_text(const struct or_nsim_path *path, struct or_buffer *out)
{
    if (path->up) {
        or_nsim_path_text(path->up, out);
    }
    if (path->name) {
        or_buffer_text(out, path->up ? "." : "");
        or_buffer_text(out, path->name);
    } else {
        or_buffer_printf(out, "[%zu]", path->index);
    }
}

static const char *root_of(const struct or_nsim_path *path)
{
    while (path->up) {
        path = path->up;
    }
    return path->name ? path->name : "body";
}

bool or_nsim_invalid(struct or_nsim_call *call, const struct or_nsim_path *path, const char *format,
                     ...)
{
    struct or_buffer where;
    char *what = NULL;
    va_list arguments;
    va_start(arguments, format);
    int len = vasprintf(&what, format, arguments);
    va_end(arguments);
    if (len < 0) {
        or_nsim_no_memory();
    }
    or_buffer_init(&where);
    or_nsim_path_text(path, &where);
    (void)or_nsim_fail(call, OR_NSIM_VALIDATION, "%s failed validation: %s%s", root_of(path),
                       or_buffer_cstr(&where), what);
    or_buffer_finish(&where);
    free(what);
    return false;
}

bool or_nsim_invalid_value(struct or_nsim_call *call, const struct or_nsim_path *path,
                           const char *what, yyjson_val *value)
{
    size_t len = 0;
    char *json = value ? yyjson_val_write(value, YYJSON_WRITE_NOFLAG, &len) : NULL;
    struct onerow_span shown = or_span_cut((struct onerow_span){json, len}, SHOWN_VALUE);
    (void)or_nsim_invalid(call, path, " should be %s, instead was `%.*s%s`.", what,
                          json ? (int)shown.len : 9, json ? shown.data : "undefined",
                          shown.len < len ? "..." : "");
    free(json);
    return false;
}

bool or_nsim_not_found(struct or_nsim_call *call, const char *what, const char *id)
{
    return or_nsim_fail(call, OR_NSIM_NOT_FOUND,
                        "Could not find %s with ID: %s. Make sure the relevant pages and databases "
                        "are shared with your integration \"%s\".",
                        what, id, call->token ? call->token->name : "");
}
