/* SPDX-License-Identifier: Apache-2.0
 *
 *     data   [ given out | begin … no LF … seen … | free ]
 *              last line   ^                      ^ end   ^ room
 *
 * A line is given out where it lies. Only when no LF is left does the rest move to
 * the front and more is read behind it, so a byte moves about once per buffer, and
 * `seen` spares it a second search. A line that outgrows the buffer doubles it; once
 * such a line is done with, the buffer shrinks back.
 *
 * A line that is too long is not buffered: its beginning stays at the front, and
 * what follows is read over the rest of the buffer until its LF comes.
 */
#include "input/lines.h"

#include <stdlib.h>
#include <string.h>

#include "base/status.h"

#define LINES_ROOM ((size_t)256 * 1024)
/* The longest line, its CR and LF, and the beginning of the next. */
#define LINES_ROOM_MAX ((size_t)OR_INPUT_RECORD_MAX + 4096)

enum onerow_status or_lines_open(struct or_lines *lines, const char *path, int stop_fd,
                                 struct onerow_error *error)
{
    *lines = (struct or_lines){.room = LINES_ROOM, .data = malloc(LINES_ROOM)};
    if (!lines->data) {
        return or_fail(error, ONEROW_NOMEM, "%s: out of memory", path);
    }
    enum onerow_status status = or_unpack_open(&lines->unpack, path, stop_fd, error);
    if (status != ONEROW_OK) {
        free(lines->data);
        lines->data = NULL;
    }
    return status;
}

void or_lines_close(struct or_lines *lines)
{
    or_unpack_close(&lines->unpack);
    free(lines->data);
    lines->data = NULL;
}

static bool starts(const struct or_line *line, const char *mark, size_t len)
{
    return line->len >= len && memcmp(line->data, mark, len) == 0;
}

/* What may stand before the first line. */
static enum or_line_kind check_mark(const struct or_lines *lines, struct or_line *line,
                                    enum or_line_kind kind, struct onerow_error *error)
{
    if (starts(line, "\xef\xbb\xbf", 3)) {
        line->data += 3;
        line->len -= 3;
    }
    bool wide = starts(line, "\0\0\xfe\xff", 4) || starts(line, "\xff\xfe\0\0", 4);
    if (wide || starts(line, "\xff\xfe", 2) || starts(line, "\xfe\xff", 2)) {
        const char *name = wide ? "UTF-32" : "UTF-16";
        or_fail(error, ONEROW_INPUT,
                "%s: is %s text, and UTF-8 is expected; convert it: iconv -f %s -t UTF-8 FILE",
                lines->unpack.source.name, name, name);
        return OR_LINE_FAULT;
    }
    return kind;
}

/* Gives out `len` bytes at `begin`, then passes over them and, if there is one, their LF. */
static enum or_line_kind give(struct or_lines *lines, size_t len, bool ended,
                              enum or_line_kind kind, struct or_line *line,
                              struct onerow_error *error)
{
    *line = (struct or_line){lines->data + lines->begin, len, ++lines->number, ended};
    lines->last = lines->begin;
    lines->begin += len + (ended ? 1 : 0);
    lines->seen = lines->begin;
    return lines->number == 1 ? check_mark(lines, line, kind, error) : kind;
}

static bool is_too_long(const char *data, size_t len)
{
    return len > OR_INPUT_RECORD_MAX &&
           !(len == (size_t)OR_INPUT_RECORD_MAX + 1 && data[len - 1] == '\r');
}

static enum or_line_kind give_whole(struct or_lines *lines, size_t len, bool ended,
                                    struct or_line *line, struct onerow_error *error)
{
    enum or_line_kind kind =
        is_too_long(lines->data + lines->begin, len) ? OR_LINE_LONG : OR_LINE_WHOLE;
    return give(lines, len, ended, kind, line, error);
}

/* The too long line is over; its kept beginning lies at the front, what follows it at `next`. */
static enum or_line_kind give_long(struct or_lines *lines, size_t next, struct or_line *line,
                                   struct onerow_error *error)
{
    lines->skipping = false;
    lines->begin = 0;
    enum or_line_kind kind = give(lines, OR_INPUT_RAW_MAX, false, OR_LINE_LONG, line, error);
    lines->begin = next;
    lines->seen = next;
    return kind;
}

static bool resize(struct or_lines *lines, size_t room)
{
    char *data = realloc(lines->data, room);
    if (data) {
        lines->data = data;
        lines->room = room;
    }
    return data;
}

/* Moves the unfinished line to the front and gives memory back that it does not need. */
static void compact(struct or_lines *lines)
{
    size_t rest = lines->end - lines->begin;
    if (lines->begin > 0) {
        memmove(lines->data, lines->data + lines->begin, rest);
        lines->begin = 0;
        lines->end = rest;
        lines->seen = rest;
    }
    if (lines->room > LINES_ROOM && rest < LINES_ROOM / 2) {
        (void)resize(lines, LINES_ROOM); /* a failure only leaves it larger */
    }
}

/* Room behind the unfinished line; a line that has used up all there may be is skipped from
 * here on. */
static bool make_room(struct or_lines *lines)
{
    compact(lines);
    if (lines->end < lines->room) {
        return true;
    }
    if (lines->room < LINES_ROOM_MAX) {
        size_t twice = lines->room * 2;
        return resize(lines, twice < LINES_ROOM_MAX ? twice : LINES_ROOM_MAX);
    }
    lines->skipping = true;
    lines->end = OR_INPUT_RAW_MAX;
    lines->seen = OR_INPUT_RAW_MAX;
    return true;
}

static enum or_line_kind fill(struct or_lines *lines, struct onerow_error *error)
{
    if (lines->skipping) {
        lines->end = OR_INPUT_RAW_MAX;
        lines->seen = OR_INPUT_RAW_MAX;
    } else if (!make_room(lines)) {
        or_fail(error, ONEROW_NOMEM, "%s: out of memory", lines->unpack.source.name);
        return OR_LINE_FAULT;
    }
    size_t got = 0;
    switch (or_unpack_read(&lines->unpack, lines->data + lines->end, lines->room - lines->end, &got,
                           error)) {
    case OR_GOT_BYTES: lines->end += got; return OR_LINE_WHOLE;
    case OR_GOT_END: lines->over = true; return OR_LINE_WHOLE;
    case OR_GOT_STOP: return OR_LINE_STOP;
    case OR_GOT_FAULT: break;
    }
    return OR_LINE_FAULT;
}

/* What is left when the input is over: perhaps a line without LF. */
static enum or_line_kind give_rest(struct or_lines *lines, struct or_line *line,
                                   struct onerow_error *error)
{
    if (lines->skipping) {
        return give_long(lines, lines->end, line, error);
    }
    size_t rest = lines->end - lines->begin;
    return rest ? give_whole(lines, rest, false, line, error) : OR_LINE_END;
}

enum or_line_kind or_lines_next(struct or_lines *lines, struct or_line *line,
                                struct onerow_error *error)
{
    for (;;) {
        const char *lf = memchr(lines->data + lines->seen, '\n', lines->end - lines->seen);
        if (lf && lines->skipping) {
            return give_long(lines, (size_t)(lf + 1 - lines->data), line, error);
        }
        if (lf) {
            size_t len = (size_t)(lf - lines->data) - lines->begin;
            return give_whole(lines, len, true, line, error);
        }
        lines->seen = lines->end;
        if (lines->over) {
            return give_rest(lines, line, error);
        }
        enum or_line_kind kind = fill(lines, error);
        if (kind != OR_LINE_WHOLE) {
            return kind;
        }
    }
}

void or_lines_unread(struct or_lines *lines)
{
    lines->begin = lines->last;
    lines->seen = lines->last;
    lines->number--;
}

bool or_lines_idle(const struct or_lines *lines)
{
    bool has_line = memchr(lines->data + lines->seen, '\n', lines->end - lines->seen);
    return !has_line && !lines->over && or_unpack_idle(&lines->unpack);
}
