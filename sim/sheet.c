/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/sheet.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"

#define JANITOR SIM_WORKERS_MAX /* the number under which the engine sweeps and heals */

/* ---- columns --------------------------------------------------------------------------------- */

static void add_column(struct sim_sheet *sheet, enum sim_lane lane, unsigned worker,
                       const char *title)
{
    struct sim_column *column = &sheet->columns[sheet->n_columns++];
    *column = (struct sim_column){.lane = lane, .worker = worker};
    snprintf(column->title, sizeof column->title, "%s", title);
}

static bool has_lane(const struct sim_trace *trace, enum sim_lane lane)
{
    for (size_t i = 0; i < trace->n; i++) {
        if (trace->entries[i].lane == lane) {
            return true;
        }
    }
    return false;
}

static void add_workers(struct sim_sheet *sheet)
{
    unsigned n = 0;
    bool healer = false;
    for (size_t i = 0; i < sheet->trace->n; i++) {
        const struct sim_trace_entry *entry = &sheet->trace->entries[i];
        bool worker = entry->lane == SIM_LANE_WORKER && entry->worker < JANITOR;
        n = worker && entry->worker >= n ? entry->worker + 1 : n;
        healer |= entry->lane == SIM_LANE_WORKER && entry->worker == JANITOR;
    }
    for (unsigned i = 0; i < n; i++) {
        char title[16];
        snprintf(title, sizeof title, "worker %u", i + 1);
        add_column(sheet, SIM_LANE_WORKER, i, title);
    }
    if (healer) {
        add_column(sheet, SIM_LANE_WORKER, JANITOR, "healer");
    }
}

void sim_sheet_init(struct sim_sheet *sheet, const struct sim_trace *trace, const char *fault)
{
    static const struct {
        enum sim_lane lane;
        const char *title;
    } OTHERS[] = {
        {SIM_LANE_STORE, "store"}, {SIM_LANE_LEDGER, "ledger"}, {SIM_LANE_PERSON, "people"}};
    *sheet = (struct sim_sheet){.trace = trace, .fault = fault};
    add_workers(sheet);
    for (size_t i = 0; i < sizeof OTHERS / sizeof *OTHERS; i++) {
        if (has_lane(trace, OTHERS[i].lane)) {
            add_column(sheet, OTHERS[i].lane, 0, OTHERS[i].title);
        }
    }
}

/* ---- rows ------------------------------------------------------------------------------------ */

bool sim_sheet_next(const struct sim_sheet *sheet, struct sim_row *row)
{
    const struct sim_trace *trace = sheet->trace;
    struct sim_row next = {.first = row->end};
    while (next.first < trace->n && trace->entries[next.first].lane == SIM_LANE_ORACLE) {
        next.first++;
    }
    if (next.first == trace->n) {
        return false;
    }
    next.at_us = trace->entries[next.first].at_us;
    next.idle_us = next.at_us - row->at_us >= SIM_SHEET_IDLE_US ? next.at_us - row->at_us : 0;
    for (next.end = next.first; next.end < trace->n; next.end++) {
        if (trace->entries[next.end].at_us != next.at_us) {
            break;
        }
    }
    *row = next;
    return true;
}

/* ---- cells ----------------------------------------------------------------------------------- */

static bool is_in(const struct sim_trace_entry *entry, const struct sim_column *column)
{
    return entry->lane == column->lane &&
           (entry->lane != SIM_LANE_WORKER || entry->worker == column->worker);
}

static void add_line(struct or_buffer *text)
{
    if (text->len > 0) {
        or_buffer_char(text, '\n');
    }
}

void sim_sheet_cell(const struct sim_sheet *sheet, const struct sim_row *row, unsigned column,
                    struct or_buffer *text)
{
    for (size_t i = row->first; i < row->end; i++) {
        const struct sim_trace_entry *entry = &sheet->trace->entries[i];
        if (!is_in(entry, &sheet->columns[column])) {
            continue;
        }
        add_line(text);
        or_buffer_text(text, entry->is_fault ? sheet->fault : "");
        or_buffer_text(text, entry->text);
    }
}

void sim_sheet_verdict(const struct sim_sheet *sheet, struct or_buffer *text)
{
    for (size_t i = 0; i < sheet->trace->n; i++) {
        const struct sim_trace_entry *entry = &sheet->trace->entries[i];
        if (entry->lane != SIM_LANE_ORACLE) {
            continue;
        }
        char at[32];
        sim_sheet_seconds(entry->at_us, at);
        if (text->len == 0) {
            or_buffer_printf(text, "after %s s: ", at);
        } else {
            add_line(text);
        }
        or_buffer_text(text, entry->text);
    }
}

/* ---- lines ----------------------------------------------------------------------------------- */

/* Bytes of the character at `at`; those of a broken one stand alone. */
static size_t step(struct onerow_span text, size_t at)
{
    size_t bytes = or_utf8_step(text, at);
    return bytes ? bytes : 1;
}

size_t sim_sheet_width(struct onerow_span text)
{
    size_t width = 0;
    for (size_t at = 0; at < text.len; at += step(text, at)) {
        width++;
    }
    return width;
}

/* Bytes of the first line, without what separates it from the next one. */
static size_t first_line(struct onerow_span text, size_t width)
{
    size_t at = 0;
    size_t best = 0; /* before a blank, after a hyphen */
    for (size_t n = 0; at < text.len && text.data[at] != '\n'; n++) {
        best = text.data[at] == ' ' ? at : best;
        if (n == width) {
            return best ? best : at;
        }
        at += step(text, at);
        best = text.data[at - 1] == '-' ? at : best;
    }
    return at;
}

size_t sim_sheet_wrap(struct onerow_span text, size_t width,
                      struct onerow_span lines[SIM_SHEET_LINES])
{
    size_t n = 0;
    while (text.len > 0 && n < SIM_SHEET_LINES) {
        size_t len = first_line(text, width);
        lines[n++] = (struct onerow_span){text.data, len};
        len += len < text.len && (text.data[len] == '\n' || text.data[len] == ' ');
        text.data += len;
        text.len -= len;
    }
    return n;
}

void sim_sheet_seconds(uint64_t us, char text[32])
{
    uint64_t ms = us / 1000;
    snprintf(text, 32, "%llu.%03u", (unsigned long long)(ms / 1000), (unsigned)(ms % 1000));
}
