/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/lease_show.h"

#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/text.h"
#include "base/wake.h"
#include "input/input.h"

#define SAID_MAX      1024U
#define LOOK_MS       1000U /* the holder is asked for at most this often */
#define WIDTH_DEFAULT 80U

void or_lease_say(const char *format, ...)
{
    char text[SAID_MAX];
    struct pollfd out = {.fd = STDERR_FILENO, .events = POLLOUT};
    va_list arguments;
    va_start(arguments, format);
    int len = snprintf(text, sizeof text, "onerow: ");
    int said = vsnprintf(text + len, sizeof text - (size_t)len - 1, format, arguments);
    va_end(arguments);
    if (said < 0 || poll(&out, 1, 0) <= 0) {
        return;
    }
    len = (int)strlen(text);
    text[len++] = '\n';
    ssize_t written = write(STDERR_FILENO, text, (size_t)len);
    (void)written;
}

/* ---- texts ------------------------------------------------------------------------------------
 */

/* U+0000 to U+001F, U+007F, U+0080 to U+009F, and what is no UTF-8. */
static bool is_plain(struct onerow_span text, size_t at, size_t step)
{
    unsigned char byte = (unsigned char)text.data[at];
    bool c1 = step == 2 && byte == 0xc2 && (unsigned char)text.data[at + 1] < 0xa0;
    return step > 0 && byte >= 0x20 && byte != 0x7f && !c1;
}

void or_lease_add_plain(struct or_buffer *text, struct onerow_span plain)
{
    for (size_t at = 0; at < plain.len;) {
        size_t step = or_utf8_step(plain, at);
        if (is_plain(plain, at, step)) {
            or_buffer_add(text, plain.data + at, step);
        } else {
            or_buffer_char(text, '?');
        }
        at += step ? step : 1;
    }
}

static struct onerow_span member(const struct or_item *item, const char *name)
{
    for (size_t i = 0; i < item->n_fields; i++) {
        const struct onerow_value *value = &item->fields[i].value;
        if (value->data && value->len && or_span_is(item->fields[i].name, name)) {
            return (struct onerow_span){value->data, value->len};
        }
    }
    return (struct onerow_span){0};
}

/* False: it is no JSON object. */
static bool read_who(struct onerow_span who, struct or_arena *arena, struct or_item *item)
{
    *item = (struct or_item){0};
    return who.len && or_input_parse_json(who, arena, item) == ONEROW_OK &&
           item->kind == OR_ITEM_RECORD;
}

static void add_part(struct or_buffer *text, const char *before, struct onerow_span part,
                     const char *after)
{
    if (part.len) {
        or_buffer_text(text, text->len ? " " : "");
        or_buffer_text(text, before);
        or_lease_add_plain(text, part);
        or_buffer_text(text, after);
    }
}

void or_lease_add_who(struct or_buffer *text, struct onerow_span who)
{
    struct or_buffer shown;
    struct or_arena arena;
    struct or_item item;
    or_buffer_init(&shown);
    or_arena_init(&arena);
    if (read_who(who, &arena, &item)) {
        add_part(&shown, "", member(&item, "host"), "");
        add_part(&shown, "pid ", member(&item, "pid"), "");
        add_part(&shown, "(", member(&item, "command"), ")");
    }
    if (!shown.len) {
        or_lease_add_plain(&shown, who.len ? who : OR_SPAN("somebody"));
    }
    or_buffer_span(text, or_buffer_view(&shown));
    or_arena_finish(&arena);
    or_buffer_finish(&shown);
}

void or_lease_add_who_json(struct or_buffer *json, struct onerow_span who)
{
    struct or_arena arena;
    struct or_item item;
    or_arena_init(&arena);
    if (read_who(who, &arena, &item)) {
        or_buffer_span(json, or_span_trim(who));
    } else {
        or_buffer_json(json, who);
    }
    or_arena_finish(&arena);
}

void or_lease_add_forced_json(struct or_buffer *json, const struct onerow_lease_forced *forced)
{
    or_buffer_text(json, "{\"name\":");
    or_buffer_json(json, forced->name);
    or_buffer_printf(json, ",\"token\":%llu,\"who\":", (unsigned long long)forced->token);
    or_lease_add_who_json(json, forced->who);
    or_buffer_text(json, ",\"by\":");
    or_buffer_json(json, forced->by);
    or_buffer_text(json, ",\"at\":\"");
    or_lease_add_time(json, forced->at_ms);
    or_buffer_text(json, "\"}");
}

void or_lease_add_span(struct or_buffer *text, uint64_t ms)
{
    unsigned long long s = ms / 1000;
    if (s >= 86400) {
        or_buffer_printf(text, "%llu d %llu h", s / 86400, s / 3600 % 24);
    } else if (s >= 3600) {
        or_buffer_printf(text, "%llu h %llu m", s / 3600, s / 60 % 60);
    } else if (s >= 60) {
        or_buffer_printf(text, "%llu m %llu s", s / 60, s % 60);
    } else {
        or_buffer_printf(text, "%llu s", s);
    }
}

void or_lease_add_time(struct or_buffer *text, uint64_t ms)
{
    char shown[64] = "?";
    time_t seconds = (time_t)(ms / 1000);
    struct tm parts;
    if (gmtime_r(&seconds, &parts)) {
        (void)strftime(shown, sizeof shown, "%Y-%m-%dT%H:%M:%SZ", &parts);
    }
    or_buffer_text(text, shown);
}

/* ---- the line ----------------------------------------------------------------------------------
 */

struct holder {
    const struct or_lease_line *line;
    struct or_buffer *text;
};

/* The listing is of all names that begin with ours. */
static bool add_holder(void *context, const struct onerow_lease_view *view)
{
    struct holder *holder = context;
    if (!or_span_equal(view->name, holder->line->name)) {
        return true;
    }
    if (view->held) {
        or_buffer_text(holder->text, ": ");
        or_lease_add_who(holder->text, view->who);
        or_buffer_text(holder->text, " since ");
        or_lease_add_time(holder->text, view->since_ms);
    }
    return false;
}

/* Who it is, is for people: not to know it is no reason to stop waiting. */
static void look(struct or_lease_line *line, struct or_buffer *text)
{
    struct holder holder = {line, text};
    if (!line->desk && or_lease_desk_open(line->coordinator, &line->desk, NULL) != ONEROW_OK) {
        return;
    }
    enum onerow_status status =
        or_lease_desk_list(line->desk, line->name, false, add_holder, &holder, NULL);
    (void)status;
}

static size_t width(void)
{
    struct winsize size;
    bool known = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1;
    return known ? size.ws_col : WIDTH_DEFAULT;
}

void or_lease_line_show(struct or_lease_line *line, uint64_t place, uint64_t left_ms)
{
    uint64_t now_ms = or_wake_now_ms();
    struct or_buffer text;
    bool due = !line->shown || (line->terminal && now_ms - line->looked_ms >= LOOK_MS);
    if (!due || (!line->terminal && !line->verbose)) {
        return;
    }
    line->looked_ms = now_ms;
    line->shown = true;
    or_buffer_init(&text);
    or_buffer_text(&text, "onerow: waiting for ");
    or_lease_add_plain(&text, line->name);
    or_buffer_printf(&text, ", place %llu, ", (unsigned long long)place);
    or_lease_add_span(&text, left_ms);
    or_buffer_text(&text, " left");
    look(line, &text);
    struct onerow_span shown = or_buffer_view(&text);
    shown = line->terminal ? or_span_cut(shown, width() - 1) : shown;
    fprintf(stderr, "%s%.*s%s", line->terminal ? "\r\033[K" : "", (int)shown.len, shown.data,
            line->terminal ? "" : "\n");
    or_buffer_finish(&text);
}

void or_lease_line_finish(struct or_lease_line *line)
{
    if (line->terminal && line->shown) {
        fputs("\r\033[K", stderr);
    }
    line->shown = false;
    or_lease_desk_close(line->desk);
    line->desk = NULL;
}
