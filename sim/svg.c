/* SPDX-License-Identifier: Apache-2.0
 *
 * Everything is placed on a grid of characters: the font is whatever monospace there is, and each
 * line of text is stretched to its grid (textLength), so that no box is too small for its text.
 * Lengths are whole numbers, which no locale spells in its own way.
 */
#include "sim/svg.h"

#include "base/text.h"
#include "sim/sheet.h"

#define LETTER       7U /* of a character, in a font of 12 */
#define LINE         16U
#define MARGIN       16U
#define TIME_LETTERS 10U
#define CELL_LETTERS 22U
#define CELL         (CELL_LETTERS * LETTER + 14U) /* with the box's inner margin */
#define GAP          14U                           /* between columns */
#define HEAD         66U                           /* title and column titles */
#define ROW_GAP      6U
#define IDLE         26U
#define LEFT         (MARGIN + TIME_LETTERS * LETTER + GAP)

static const char STYLE[] =
    "<style>\n"
    "text{font:12px ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;fill:#1f2328}\n"
    ".title{font-weight:bold}\n"
    ".time,.idle{fill:#59636e}\n"
    ".page{fill:#ffffff}\n"
    ".life{stroke:#d1d9e0;stroke-width:2}\n"
    ".box{fill:#f6f8fa;stroke:#818b98}\n"
    ".struck{fill:#fff1e5;stroke:#bc4c00}\n"
    ".fault{fill:#bc4c00;font-weight:bold}\n"
    ".verdict{fill:#ffebe9;stroke:#d1242f;stroke-width:2}\n"
    "@media (prefers-color-scheme:dark){\n"
    "text{fill:#e6edf3}\n"
    ".time,.idle{fill:#9198a1}\n"
    ".page{fill:#0d1117}\n"
    ".life{stroke:#3d444d}\n"
    ".box{fill:#151b23;stroke:#656c76}\n"
    ".struck{fill:#301d0d;stroke:#db6d28}\n"
    ".fault{fill:#f0883e}\n"
    ".verdict{fill:#33161a;stroke:#f85149}\n"
    "}\n"
    "</style>\n";

static const char FAULT[] = "↯ ";

struct picture {
    struct sim_sheet sheet;
    struct or_buffer *out;
    unsigned width;
    unsigned y; /* where the next row begins */
};

/* ---- marks ----------------------------------------------------------------------------------- */

static void add_escaped(struct or_buffer *out, struct onerow_span text)
{
    for (size_t i = 0; i < text.len; i++) {
        switch (text.data[i]) {
        case '&': or_buffer_text(out, "&amp;"); break;
        case '<': or_buffer_text(out, "&lt;"); break;
        case '>': or_buffer_text(out, "&gt;"); break;
        default: or_buffer_char(out, text.data[i]);
        }
    }
}

static void draw_text(struct or_buffer *out, const char *class, unsigned x, unsigned y,
                      struct onerow_span text)
{
    if (text.len == 0) {
        return;
    }
    or_buffer_printf(out, "<text class=\"%s\" x=\"%u\" y=\"%u\" textLength=\"%u\">", class, x, y,
                     (unsigned)sim_sheet_width(text) * LETTER);
    add_escaped(out, text);
    or_buffer_text(out, "</text>\n");
}

static void draw_box(struct or_buffer *out, const char *class, unsigned x, unsigned y,
                     unsigned width, unsigned height)
{
    or_buffer_printf(out,
                     "<rect class=\"%s\" x=\"%u\" y=\"%u\" width=\"%u\" height=\"%u\" rx=\"4\"/>\n",
                     class, x, y, width, height);
}

static unsigned column_x(unsigned column)
{
    return LEFT + column * (CELL + GAP);
}

/* ---- rows ------------------------------------------------------------------------------------ */

static bool is_fault(struct onerow_span line)
{
    size_t len = sizeof FAULT - 1;
    return line.len >= len && memcmp(line.data, FAULT, len) == 0;
}

static void draw_lines(struct picture *picture, unsigned x, const struct onerow_span *lines,
                       size_t n, bool struck)
{
    unsigned height = (unsigned)n * LINE + 8;
    draw_box(picture->out, struck ? "box struck" : "box", x, picture->y, CELL, height);
    for (size_t i = 0; i < n; i++) {
        draw_text(picture->out, is_fault(lines[i]) ? "fault" : "does", x + 7,
                  picture->y + 16 + (unsigned)i * LINE, lines[i]);
    }
}

/* Returns the cell's height. */
static unsigned draw_cell(struct picture *picture, const struct sim_row *row, unsigned column)
{
    struct or_buffer text;
    struct onerow_span lines[SIM_SHEET_LINES];
    or_buffer_init(&text);
    sim_sheet_cell(&picture->sheet, row, column, &text);
    size_t n = sim_sheet_wrap(or_buffer_view(&text), CELL_LETTERS, lines);
    bool struck = false;
    for (size_t i = 0; i < n; i++) {
        struck |= is_fault(lines[i]);
    }
    if (n > 0) {
        draw_lines(picture, column_x(column), lines, n, struck);
    }
    picture->out->failed |= text.failed;
    or_buffer_finish(&text);
    return n > 0 ? (unsigned)n * LINE + 8 : 0;
}

static void draw_idle(struct picture *picture, uint64_t idle_us)
{
    struct or_buffer text;
    or_buffer_init(&text);
    or_buffer_printf(&text, "⋮ %llu s", (unsigned long long)(idle_us / 1000000));
    draw_text(picture->out, "idle", MARGIN, picture->y + 16, or_buffer_view(&text));
    or_buffer_finish(&text);
    picture->y += IDLE;
}

static void draw_row(struct picture *picture, const struct sim_row *row)
{
    char time[32];
    unsigned height = 0;
    if (row->idle_us) {
        draw_idle(picture, row->idle_us);
    }
    sim_sheet_seconds(row->at_us, time);
    draw_text(picture->out, "time", MARGIN, picture->y + 16, or_span(time));
    for (unsigned i = 0; i < picture->sheet.n_columns; i++) {
        unsigned cell = draw_cell(picture, row, i);
        height = cell > height ? cell : height;
    }
    picture->y += height + ROW_GAP;
}

/* ---- the whole ------------------------------------------------------------------------------- */

static void draw_head(struct picture *picture, const char *title)
{
    draw_text(picture->out, "title", MARGIN, 26, or_span(title));
    draw_text(picture->out, "time", MARGIN, 54, OR_SPAN("time s"));
    for (unsigned i = 0; i < picture->sheet.n_columns; i++) {
        draw_text(picture->out, "title", column_x(i) + 7, 54,
                  or_span(picture->sheet.columns[i].title));
    }
}

static void draw_verdict(struct picture *picture)
{
    struct or_buffer text;
    struct onerow_span lines[SIM_SHEET_LINES];
    or_buffer_init(&text);
    sim_sheet_verdict(&picture->sheet, &text);
    size_t n =
        sim_sheet_wrap(or_buffer_view(&text), (picture->width - 2 * MARGIN - 14) / LETTER, lines);
    if (n > 0) {
        draw_box(picture->out, "verdict", MARGIN, picture->y, picture->width - 2 * MARGIN,
                 (unsigned)n * LINE + 8);
    }
    for (size_t i = 0; i < n; i++) {
        draw_text(picture->out, "does", MARGIN + 7, picture->y + 16 + (unsigned)i * LINE, lines[i]);
    }
    picture->y += (unsigned)n * LINE + 8;
    picture->out->failed |= text.failed;
    or_buffer_finish(&text);
}

/* The ground and the life lines lie below the boxes, but their length is known last. */
static void draw_ground(const struct picture *picture, unsigned end, const char *title,
                        struct or_buffer *out)
{
    unsigned height = picture->y + MARGIN;
    or_buffer_printf(out,
                     "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%u\" height=\"%u\" "
                     "viewBox=\"0 0 %u %u\" role=\"img\">\n<title>",
                     picture->width, height, picture->width, height);
    add_escaped(out, or_span(title));
    or_buffer_text(out, "</title>\n");
    or_buffer_text(out, STYLE);
    or_buffer_printf(out, "<rect class=\"page\" width=\"%u\" height=\"%u\"/>\n", picture->width,
                     height);
    for (unsigned i = 0; i < picture->sheet.n_columns; i++) {
        unsigned x = column_x(i) + CELL / 2;
        or_buffer_printf(out, "<line class=\"life\" x1=\"%u\" y1=\"%u\" x2=\"%u\" y2=\"%u\"/>\n", x,
                         HEAD - 4, x, end);
    }
}

void sim_svg_draw(const struct sim_trace *trace, const char *title, struct or_buffer *out)
{
    struct or_buffer marks;
    struct picture picture = {.out = &marks, .y = HEAD};
    struct sim_row row = {0};
    or_buffer_init(&marks);
    sim_sheet_init(&picture.sheet, trace, FAULT);
    unsigned columns = picture.sheet.n_columns ? picture.sheet.n_columns : 1;
    picture.width = column_x(columns) - GAP + MARGIN;
    draw_head(&picture, title);
    while (sim_sheet_next(&picture.sheet, &row)) {
        draw_row(&picture, &row);
    }
    unsigned end = picture.y;
    draw_verdict(&picture);
    draw_ground(&picture, end, title, out);
    or_buffer_span(out, or_buffer_view(&marks));
    or_buffer_text(out, "</svg>\n");
    out->failed |= marks.failed || trace->failed;
    or_buffer_finish(&marks);
}
