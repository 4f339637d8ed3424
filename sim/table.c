/* SPDX-License-Identifier: Apache-2.0
 *
 *    time s │ worker 1    │ worker 2    │ store
 *    ───────┼─────────────┼─────────────┼──────────────
 *     0.132 │ looks: none │             │
 *     0.140 │             │ looks: none │
 *     0.204 │ ↯ 5xx-after │             │ creates P00
 *    ⋮ 12 s │             │             │
 *    12.350 │             │ creates P01 │
 *    ═══════╧═════════════╧═════════════╧══════════════
 *    after 12.350 s: two live pages …
 */
#include "sim/table.h"

#include <string.h>

#include "base/text.h"
#include "sim/sheet.h"

#define CELL_MIN 6U /* the most columns fit into the greatest width */
#define CELL_MAX 30U

struct pen {
    const char *bar;
    const char *dash;
    const char *cross;
    const char *end_dash;
    const char *end_cross;
    const char *idle;
    const char *fault;
};

static const struct pen UNICODE = {"│", "─", "┼", "═", "╧", "⋮ ", "↯ "};
static const struct pen ASCII = {"|", "-", "+", "=", "=", "... ", "! "};

struct drawing {
    struct sim_sheet sheet;
    const struct pen *pen;
    struct or_buffer *out;
    size_t time_width;
    size_t cell_width;
    size_t width; /* of the whole */
};

/* The lines of a row's cells. */
struct cell {
    struct or_buffer text;
    struct onerow_span lines[SIM_SHEET_LINES];
    size_t n;
};

static void fill(struct or_buffer *out, const char *with, size_t times)
{
    for (size_t i = 0; i < times; i++) {
        or_buffer_text(out, with);
    }
}

static void add_left(struct or_buffer *out, struct onerow_span text, size_t width)
{
    size_t used = sim_sheet_width(text);
    or_buffer_span(out, text);
    fill(out, " ", used < width ? width - used : 0);
}

static void add_right(struct or_buffer *out, const char *text, size_t width)
{
    size_t used = sim_sheet_width(or_span(text));
    fill(out, " ", used < width ? width - used : 0);
    or_buffer_text(out, text);
}

/* A line's last blanks say nothing. */
static void end_line(struct or_buffer *out)
{
    while (out->len > 0 && out->data[out->len - 1] == ' ') {
        out->len--;
    }
    or_buffer_char(out, '\n');
}

static void draw_rule(struct drawing *drawing, const char *dash, const char *cross)
{
    fill(drawing->out, dash, drawing->time_width + 1);
    for (unsigned i = 0; i < drawing->sheet.n_columns; i++) {
        or_buffer_text(drawing->out, cross);
        bool last = i + 1 == drawing->sheet.n_columns;
        fill(drawing->out, dash, drawing->cell_width + (last ? 1 : 2));
    }
    end_line(drawing->out);
}

/* ---- rows ------------------------------------------------------------------------------------ */

static void draw_line(struct drawing *drawing, const char *time, const struct cell *cells,
                      size_t line)
{
    add_right(drawing->out, line == 0 ? time : "", drawing->time_width);
    for (unsigned i = 0; i < drawing->sheet.n_columns; i++) {
        struct onerow_span text = {NULL, 0};
        if (line < cells[i].n) {
            text = cells[i].lines[line];
        }
        or_buffer_printf(drawing->out, " %s ", drawing->pen->bar);
        add_left(drawing->out, text, drawing->cell_width);
    }
    end_line(drawing->out);
}

static void draw_idle(struct drawing *drawing, struct cell *cells, uint64_t idle_us)
{
    struct or_buffer text;
    or_buffer_init(&text);
    or_buffer_printf(&text, "%s%llu s", drawing->pen->idle,
                     (unsigned long long)(idle_us / 1000000));
    for (unsigned i = 0; i < drawing->sheet.n_columns; i++) {
        cells[i].n = 0;
    }
    draw_line(drawing, or_buffer_cstr(&text), cells, 0);
    or_buffer_finish(&text);
}

/* The cells' lines, side by side. */
static void draw_cells(struct drawing *drawing, const char *time, struct cell *cells)
{
    size_t height = 1;
    for (unsigned i = 0; i < drawing->sheet.n_columns; i++) {
        cells[i].n =
            sim_sheet_wrap(or_buffer_view(&cells[i].text), drawing->cell_width, cells[i].lines);
        height = cells[i].n > height ? cells[i].n : height;
    }
    for (size_t line = 0; line < height; line++) {
        draw_line(drawing, time, cells, line);
    }
}

static void draw_head(struct drawing *drawing, struct cell *cells)
{
    for (unsigned i = 0; i < drawing->sheet.n_columns; i++) {
        or_buffer_text(&cells[i].text, drawing->sheet.columns[i].title);
    }
    draw_cells(drawing, "time s", cells);
    draw_rule(drawing, drawing->pen->dash, drawing->pen->cross);
}

static void draw_row(struct drawing *drawing, struct cell *cells, const struct sim_row *row)
{
    char time[32];
    if (row->idle_us) {
        draw_idle(drawing, cells, row->idle_us);
    }
    for (unsigned i = 0; i < drawing->sheet.n_columns; i++) {
        or_buffer_clear(&cells[i].text);
        sim_sheet_cell(&drawing->sheet, row, i, &cells[i].text);
    }
    sim_sheet_seconds(row->at_us, time);
    draw_cells(drawing, time, cells);
}

static void draw_rows(struct drawing *drawing)
{
    struct cell cells[SIM_SHEET_COLUMNS];
    struct sim_row row = {0};
    for (unsigned i = 0; i < SIM_SHEET_COLUMNS; i++) {
        or_buffer_init(&cells[i].text);
    }
    draw_head(drawing, cells);
    while (sim_sheet_next(&drawing->sheet, &row)) {
        draw_row(drawing, cells, &row);
    }
    for (unsigned i = 0; i < SIM_SHEET_COLUMNS; i++) {
        drawing->out->failed |= cells[i].text.failed;
        or_buffer_finish(&cells[i].text);
    }
}

/* ---- the whole ------------------------------------------------------------------------------- */

static void draw_verdict(struct drawing *drawing)
{
    struct or_buffer text;
    struct onerow_span lines[SIM_SHEET_LINES];
    or_buffer_init(&text);
    sim_sheet_verdict(&drawing->sheet, &text);
    size_t n = sim_sheet_wrap(or_buffer_view(&text), drawing->width, lines);
    for (size_t i = 0; i < n; i++) {
        or_buffer_span(drawing->out, lines[i]);
        end_line(drawing->out);
    }
    or_buffer_finish(&text);
}

static void measure(struct drawing *drawing, unsigned width)
{
    unsigned columns = drawing->sheet.n_columns ? drawing->sheet.n_columns : 1;
    width = width < SIM_TABLE_WIDTH_MIN ? SIM_TABLE_WIDTH_MIN : width;
    width = width > SIM_TABLE_WIDTH_MAX ? SIM_TABLE_WIDTH_MAX : width;
    drawing->width = width;
    drawing->time_width = 9;
    size_t room = width - drawing->time_width;
    size_t cell = room / columns > 3 ? room / columns - 3 : 0; /* " │ " */
    cell = cell < CELL_MIN ? CELL_MIN : cell;
    drawing->cell_width = cell > CELL_MAX ? CELL_MAX : cell;
}

void sim_table_draw(const struct sim_trace *trace, const struct sim_table_style *style,
                    struct or_buffer *out)
{
    struct drawing drawing = {.pen = style->ascii ? &ASCII : &UNICODE, .out = out};
    sim_sheet_init(&drawing.sheet, trace, drawing.pen->fault);
    measure(&drawing, style->width);
    draw_rows(&drawing);
    draw_rule(&drawing, drawing.pen->end_dash, drawing.pen->end_cross);
    draw_verdict(&drawing);
    out->failed |= trace->failed;
}
