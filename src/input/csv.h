/* SPDX-License-Identifier: Apache-2.0
 *
 * CSV (RFC 4180): a header row, then a record per row.
 */
#ifndef OR_INPUT_CSV_H
#define OR_INPUT_CSV_H

#include <csv.h>

#include "base/buffer.h"
#include "input/lines.h"

#define OR_CSV_CELLS (ONEROW_COLUMNS_MAX + 1U) /* kept of a row; more are only counted */

/* A field of the row at hand. */
struct or_cell {
    size_t start; /* offset of its text in the row's text */
    size_t len;
    uint32_t at; /* column in its line, 0: not known */
    bool null;
};

struct or_csv {
    struct or_arena header; /* owns the names */
    struct onerow_span *names;
    size_t n_names;
    uint64_t shape; /* of every record */

    /* The row at hand. It may be spread over lines, and its reading over calls. */
    bool within;            /* it has begun, and has not ended */
    uint64_t line;          /* where it began */
    uint64_t open_line;     /* where the quoted field began that is open now */
    size_t length;          /* bytes of it so far */
    struct onerow_span row; /* the text that cells point into */
    struct or_cell cells[OR_CSV_CELLS];
    size_t n_cells; /* counts those, too, that are not kept */
    struct or_buffer raw;
    struct or_buffer text;

    /* The first fault in it. */
    const char *reason; /* NULL: none; in `said` or static */
    uint64_t bad_line;
    uint32_t bad_at;
    char said[256];

    struct csv_parser parser;
    bool row_over; /* the parser has seen the row's end, */
    bool stray;    /* and then more in the same line */

    struct or_arena *fields; /* where items' fields go; NULL: the items' own arena */
};

ONEROW_CHECKED bool or_csv_init(struct or_csv *csv);
void or_csv_finish(struct or_csv *csv);

/* Reads the header. INPUT: it is missing or cannot serve. *stopped: call again later. */
ONEROW_CHECKED enum onerow_status or_csv_header(struct or_csv *csv, struct or_lines *lines,
                                                bool *stopped, struct onerow_error *error);

/* After the header. */
ONEROW_CHECKED enum onerow_status or_csv_next(struct or_csv *csv, struct or_lines *lines,
                                              struct or_arena *arena, struct or_item *item,
                                              struct onerow_error *error);

#endif
