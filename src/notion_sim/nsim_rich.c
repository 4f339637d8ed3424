/* SPDX-License-Identifier: Apache-2.0
 *
 * Rich text: an array of runs, as it comes and as it is answered. Limits: 100 runs, 2,000
 * characters of text, 2,000 of a link, 1,000 of an equation
 * (developers.notion.com/reference/request-limits).
 */
#include <stdlib.h>
#include <string.h>

#include "notion_sim/nsim_call.h"

#define RUNS_MAX     100U
#define TEXT_MAX     2000U
#define LINK_MAX     2000U
#define EQUATION_MAX 1000U

static bool check_length(struct or_nsim_call *call, const struct or_nsim_path *path,
                         yyjson_val *value, size_t max)
{
    if (!yyjson_is_str(value)) {
        return or_nsim_invalid_value(call, path, "a string", value);
    }
    size_t len = or_nsim_utf16_length(or_nsim_string(value));
    return len <= max ||
           or_nsim_invalid(call, path, ".length should be ≤ `%zu`, instead was `%zu`.", max, len);
}

static void show_annotations(yyjson_val *item, struct or_buffer *out)
{
    static const char *const names[] = {"bold", "italic", "strikethrough", "underline", "code"};
    yyjson_val *given = yyjson_obj_get(item, "annotations");
    yyjson_val *color = yyjson_obj_get(given, "color");
    or_buffer_text(out, "\"annotations\":{");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        or_buffer_printf(out, "\"%s\":%s,", names[i],
                         yyjson_get_bool(yyjson_obj_get(given, names[i])) ? "true" : "false");
    }
    or_buffer_text(out, "\"color\":");
    or_buffer_json(out, yyjson_is_str(color) ? or_nsim_string(color) : OR_SPAN("default"));
    or_buffer_char(out, '}');
}

static void show_rest(yyjson_val *item, struct onerow_span plain, struct onerow_span href,
                      struct or_buffer *out)
{
    or_buffer_char(out, ',');
    show_annotations(item, out);
    or_buffer_text(out, ",\"plain_text\":");
    or_buffer_json(out, plain);
    or_buffer_text(out, ",\"href\":");
    if (href.data) {
        or_buffer_json(out, href);
    } else {
        or_buffer_text(out, "null");
    }
    or_buffer_char(out, '}');
}

/* A run without text is not kept: Notion answers [] for it. */
static bool read_text(struct or_nsim_call *call, const struct or_nsim_path *path, yyjson_val *item,
                      struct or_buffer *out, struct or_buffer *plain)
{
    const struct or_nsim_path at = {path, "text", 0};
    const struct or_nsim_path at_content = {&at, "content", 0};
    const struct or_nsim_path at_link = {&at, "link", 0};
    const struct or_nsim_path at_url = {&at_link, "url", 0};
    yyjson_val *text = yyjson_obj_get(item, "text");
    yyjson_val *content = yyjson_obj_get(text, "content");
    yyjson_val *link = yyjson_obj_get(text, "link");
    yyjson_val *url = yyjson_obj_get(link, "url");
    if (!check_length(call, &at_content, content, TEXT_MAX) ||
        (link && !yyjson_is_null(link) && !check_length(call, &at_url, url, LINK_MAX))) {
        return false;
    }
    struct onerow_span shown = or_nsim_string(content);
    if (!shown.len) {
        return true;
    }
    or_buffer_text(out, out->len > 1 ? "," : "");
    or_buffer_text(out, "{\"type\":\"text\",\"text\":{\"content\":");
    or_buffer_json(out, shown);
    or_buffer_text(out, ",\"link\":");
    if (url) {
        or_buffer_text(out, "{\"url\":");
        or_buffer_json(out, or_nsim_string(url));
        or_buffer_char(out, '}');
    } else {
        or_buffer_text(out, "null");
    }
    or_buffer_char(out, '}');
    show_rest(item, shown, url ? or_nsim_string(url) : (struct onerow_span){0}, out);
    if (plain) {
        or_buffer_span(plain, shown);
    }
    return true;
}

static bool read_equation(struct or_nsim_call *call, const struct or_nsim_path *path,
                          yyjson_val *item, struct or_buffer *out, struct or_buffer *plain)
{
    const struct or_nsim_path at = {path, "equation", 0};
    const struct or_nsim_path at_expression = {&at, "expression", 0};
    yyjson_val *expression = yyjson_obj_get(yyjson_obj_get(item, "equation"), "expression");
    if (!check_length(call, &at_expression, expression, EQUATION_MAX)) {
        return false;
    }
    or_buffer_text(out, out->len > 1 ? "," : "");
    or_buffer_text(out, "{\"type\":\"equation\",\"equation\":{\"expression\":");
    or_buffer_json(out, or_nsim_string(expression));
    or_buffer_char(out, '}');
    show_rest(item, or_nsim_string(expression), (struct onerow_span){0}, out);
    if (plain) {
        or_buffer_span(plain, or_nsim_string(expression));
    }
    return true;
}

/* Mentions are answered as they came; the name that Notion would show is not looked up. */
static bool read_mention(struct or_nsim_call *call, const struct or_nsim_path *path,
                         yyjson_val *item, struct or_buffer *out, struct or_buffer *plain)
{
    const struct or_nsim_path at = {path, "mention", 0};
    yyjson_val *mention = yyjson_obj_get(item, "mention");
    if (!yyjson_is_obj(mention)) {
        return or_nsim_invalid_value(call, &at, "defined", mention);
    }
    char *json = or_nsim_json_copy(mention);
    or_buffer_text(out, out->len > 1 ? "," : "");
    or_buffer_printf(out, "{\"type\":\"mention\",\"mention\":%s", json);
    free(json);
    show_rest(item, OR_SPAN("@mention"), (struct onerow_span){0}, out);
    if (plain) {
        or_buffer_text(plain, "@mention");
    }
    return true;
}

static bool read_run(struct or_nsim_call *call, const struct or_nsim_path *path, yyjson_val *item,
                     struct or_buffer *out, struct or_buffer *plain)
{
    if (!yyjson_is_obj(item)) {
        return or_nsim_invalid_value(call, path, "an object", item);
    }
    if (yyjson_obj_get(item, "text")) {
        return read_text(call, path, item, out, plain);
    }
    if (yyjson_obj_get(item, "equation")) {
        return read_equation(call, path, item, out, plain);
    }
    if (yyjson_obj_get(item, "mention")) {
        return read_mention(call, path, item, out, plain);
    }
    struct or_buffer where;
    or_buffer_init(&where);
    or_nsim_path_text(path, &where);
    const char *at = or_buffer_cstr(&where);
    (void)or_nsim_fail(call, OR_NSIM_VALIDATION,
                       "body failed validation. Fix one:\n"
                       "%s.text should be defined, instead was `undefined`.\n"
                       "%s.mention should be defined, instead was `undefined`.\n"
                       "%s.equation should be defined, instead was `undefined`.",
                       at, at, at);
    or_buffer_finish(&where);
    return false;
}

bool or_nsim_rich_text(struct or_nsim_call *call, const struct or_nsim_path *path,
                       yyjson_val *value, struct or_buffer *out, struct or_buffer *plain)
{
    if (!yyjson_is_arr(value)) {
        return or_nsim_invalid_value(call, path, "an array", value);
    }
    if (yyjson_arr_size(value) > RUNS_MAX) {
        return or_nsim_invalid(call, path, ".length should be ≤ `%u`, instead was `%zu`.", RUNS_MAX,
                               yyjson_arr_size(value));
    }
    or_buffer_clear(out);
    or_buffer_char(out, '[');
    yyjson_val *item;
    size_t i;
    size_t n;
    yyjson_arr_foreach(value, i, n, item)
    {
        const struct or_nsim_path at = {path, NULL, i};
        if (!read_run(call, &at, item, out, plain)) {
            return false;
        }
    }
    or_buffer_char(out, ']');
    return true;
}
