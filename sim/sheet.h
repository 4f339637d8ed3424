/* SPDX-License-Identifier: Apache-2.0
 *
 * The time table of a run, before it is drawn as text (table.c) or as a picture (svg.c): which
 * columns it has, which entries make a row, what stands in a cell and how that is wrapped.
 */
#ifndef SIM_SHEET_H
#define SIM_SHEET_H

#include "base/buffer.h"
#include "sim/trace.h"

#define SIM_SHEET_COLUMNS (SIM_WORKERS_MAX + 4U) /* the healer, the store, the ledger, people */
#define SIM_SHEET_LINES   64U                    /* of a cell; what is beyond is not shown */
#define SIM_SHEET_IDLE_US 5000000U               /* a stretch without entries that is collapsed */

struct sim_column {
    enum sim_lane lane;
    unsigned worker; /* WORKER */
    char title[16];
};

struct sim_sheet {
    const struct sim_trace *trace; /* borrowed */
    const char *fault;             /* the mark before a fault; borrowed */
    struct sim_column columns[SIM_SHEET_COLUMNS];
    unsigned n_columns;
};

/* Entries [first, end) of one moment. */
struct sim_row {
    size_t first;
    size_t end;
    uint64_t at_us;
    uint64_t idle_us; /* since the row before, if that is long enough to be said; else 0 */
};

/* All the workers that do something, and what else is used. */
void sim_sheet_init(struct sim_sheet *sheet, const struct sim_trace *trace, const char *fault);

/* The row behind *row, or the first one if *row is all zeros. False: there is none. */
bool sim_sheet_next(const struct sim_sheet *sheet, struct sim_row *row);

/* Adds what stands in the cell, a line for each entry. */
void sim_sheet_cell(const struct sim_sheet *sheet, const struct sim_row *row, unsigned column,
                    struct or_buffer *text);

/* Adds what the oracle said, a line each; nothing if nothing was wrong. */
void sim_sheet_verdict(const struct sim_sheet *sheet, struct or_buffer *text);

/* Breaks text into lines of at most `width` characters, at blanks and hyphens where
 * that is possible. */
size_t sim_sheet_wrap(struct onerow_span text, size_t width,
                      struct onerow_span lines[SIM_SHEET_LINES]);

/* Characters, not bytes. */
size_t sim_sheet_width(struct onerow_span text);

/* "12.345". */
void sim_sheet_seconds(uint64_t us, char text[32]);

#endif
