/* SPDX-License-Identifier: Apache-2.0
 *
 * Physical lines over the unpacked input: LF ends a line. Memory is one buffer
 * that holds the longest line, up to OR_INPUT_RECORD_MAX.
 */
#ifndef OR_INPUT_LINES_H
#define OR_INPUT_LINES_H

#include "input/input.h"
#include "input/unpack.h"

#define OR_INPUT_RAW_MAX ((size_t)64 * 1024) /* kept of a record that cannot be read */

enum or_line_kind {
    OR_LINE_WHOLE,
    OR_LINE_LONG, /* longer than OR_INPUT_RECORD_MAX: only its beginning is there */
    OR_LINE_END,
    OR_LINE_STOP,
    OR_LINE_FAULT, /* the error is filled */
};

struct or_line {
    char *data; /* valid, and the reader's to change, until the next call */
    size_t len; /* without LF; data[len] is '\n' when `ended` */
    uint64_t number;
    bool ended; /* false: the input's last line, without LF */
};

struct or_lines {
    struct or_unpack unpack;
    char *data; /* owned */
    size_t room;
    size_t begin; /* data[begin .. end) is not yet given out */
    size_t end;
    size_t seen;     /* data[begin .. seen) holds no LF */
    size_t last;     /* where the last line given out began */
    uint64_t number; /* of the last line given out */
    bool skipping;   /* inside a line that is too long, whose beginning is kept */
    bool over;
};

/* On failure there is nothing to close. */
ONEROW_CHECKED enum onerow_status or_lines_open(struct or_lines *lines, const char *path,
                                                int stop_fd, struct onerow_error *error);
void or_lines_close(struct or_lines *lines);

/* A UTF-8 byte order mark before line 1 is taken off; one of UTF-16 or UTF-32 is a FAULT. */
enum or_line_kind or_lines_next(struct or_lines *lines, struct or_line *line,
                                struct onerow_error *error);

/* Gives the line of the last call, a WHOLE one, back: the next call returns it again. */
void or_lines_unread(struct or_lines *lines);

/* Whether or_lines_next would have to wait now. */
bool or_lines_idle(const struct or_lines *lines);

#endif
