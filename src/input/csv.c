/* SPDX-License-Identifier: Apache-2.0
 *
 * Most lines hold no quote. Such a line is a row, its commas are its separators,
 * and it is split where it lies. Any other row goes through libcsv (strict), one
 * physical line at a time, since libcsv knows no positions: a line that leaves the
 * row open has left a quoted field open, and the row goes on in the next line.
 *
 * A fault is kept until its row is over, so that the rest of a row is never taken
 * for a row. Only after a quote error nobody can tell where the row ends; reading
 * goes on at the next physical line.
 *
 *     a line     ──no quote──────────────► split ──────────┐
 *                ──quote, or inside a row► libcsv ► cells  ├─► RECORD, or BAD
 *                                            └─ open: next line
 *
 * The row at hand is kept here, not in the caller's arena, since a stop request may
 * come between two of its lines.
 */
#include "input/csv.h"

#include "input/json.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/status.h"
#include "base/text.h"

#define PARSER_STEP ((size_t)16 * 1024)   /* by which libcsv enlarges its field, at least */
#define IDLE_MAX    ((size_t)1024 * 1024) /* memory kept from one row to the next */

/* ---- set-up ------------------------------------------------------------------- */

/* RFC 4180: spaces are part of a field. */
static int is_no_space(unsigned char byte)
{
    (void)byte;
    return 0;
}

bool or_csv_init(struct or_csv *csv)
{
    *csv = (struct or_csv){0};
    or_arena_init(&csv->header);
    or_buffer_init(&csv->raw);
    or_buffer_init(&csv->text);
    if (csv_init(&csv->parser, CSV_STRICT | CSV_EMPTY_IS_NULL) != 0) {
        return false;
    }
    csv_set_space_func(&csv->parser, is_no_space);
    return true;
}

void or_csv_finish(struct or_csv *csv)
{
    csv_free(&csv->parser);
    or_buffer_finish(&csv->text);
    or_buffer_finish(&csv->raw);
    or_arena_finish(&csv->header);
}

/* ---- the row at hand ----------------------------------------------------------- */

__attribute__((format(printf, 4, 5))) static void fault(struct or_csv *csv, uint64_t line,
                                                        size_t at, const char *format, ...)
{
    if (csv->reason) {
        return; /* the first one counts */
    }
    va_list args;
    va_start(args, format);
    vsnprintf(csv->said, sizeof csv->said, format, args);
    va_end(args);
    csv->reason = csv->said;
    csv->bad_line = line;
    csv->bad_at = (uint32_t)at;
}

static void begin_row(struct or_csv *csv, const struct or_line *line)
{
    csv->within = true;
    csv->line = line->number;
    csv->open_line = line->number;
    csv->length = 0;
    csv->n_cells = 0;
    csv->reason = NULL;
    csv->row_over = false;
    csv->stray = false;
    or_buffer_clear(&csv->raw);
    if (csv->text.room > IDLE_MAX) {
        or_buffer_finish(&csv->text); /* the last row was unusually long */
    }
    or_buffer_clear(&csv->text);
}

/* Keeps the beginning of the row as it was read. */
static void keep_raw(struct or_csv *csv, const struct or_line *line)
{
    size_t len = line->len + (line->ended ? 1 : 0);
    size_t room = OR_INPUT_RAW_MAX - csv->raw.len;
    or_buffer_add(&csv->raw, line->data, len < room ? len : room);
    csv->length += len;
}

static void add_cell(struct or_csv *csv, struct or_cell cell)
{
    if (csv->n_cells < OR_CSV_CELLS) {
        csv->cells[csv->n_cells] = cell;
    }
    csv->n_cells++;
}

static void end_row(struct or_csv *csv)
{
    csv->within = false;
    csv_fini(&csv->parser, NULL, NULL, NULL);
    if (csv_get_buffer_size(&csv->parser) > IDLE_MAX) {
        csv_free(&csv->parser);
    }
}

/* The column of the row's field number `index`; 0 when it lies beyond what is kept of the row.
 * Quotes come in pairs, so commas between them do not count. */
static size_t find_column(const struct or_csv *csv, size_t index)
{
    bool quoted = false;
    size_t at = 1;
    for (size_t i = 0; i < csv->raw.len && index > 0; i++) {
        char byte = csv->raw.data[i];
        quoted ^= byte == '"';
        index -= byte == ',' && !quoted;
        at = byte == '\n' ? 1 : at + 1;
    }
    return index == 0 ? at : 0;
}

static bool is_ascii(const char *data, size_t len)
{
    uint64_t word;
    uint64_t all = 0;
    for (; len >= sizeof word; data += sizeof word, len -= sizeof word) {
        memcpy(&word, data, sizeof word);
        all |= word;
    }
    while (len > 0) {
        all |= (uint64_t)(unsigned char)data[--len];
    }
    return (all & 0x8080808080808080U) == 0;
}

/* Faults of the line's bytes: a character never spans two lines. */
static void check_bytes(struct or_csv *csv, const struct or_line *line)
{
    size_t at = 0;
    const char *nul = memchr(line->data, '\0', line->len);
    if (nul) {
        fault(csv, line->number, (size_t)(nul - line->data) + 1, "a NUL byte (U+0000)");
    }
    if (!is_ascii(line->data, line->len) &&
        !or_utf8_valid((struct onerow_span){line->data, line->len}, &at)) {
        fault(csv, line->number, at + 1, "invalid UTF-8 (byte 0x%02x)",
              (unsigned char)line->data[at]);
    }
}

static void fault_return(struct or_csv *csv, uint64_t line, size_t at)
{
    fault(csv, line, at,
          "a carriage return inside a row: rows end in LF or CR LF, and a field with a line break "
          "stands in quotes");
}

/* ---- a row without quotes -------------------------------------------------------- */

/* Without the CRs before its LF. */
static size_t text_len(const struct or_line *line)
{
    size_t len = line->len;
    while (len > 0 && line->data[len - 1] == '\r') {
        len--;
    }
    return len;
}

static void split(struct or_csv *csv, const struct or_line *line)
{
    size_t len = text_len(line);
    const char *stray = memchr(line->data, '\r', len);
    if (stray) {
        fault_return(csv, line->number, (size_t)(stray - line->data) + 1);
    }
    csv->row = (struct onerow_span){line->data, len};
    size_t start = 0;
    for (;;) {
        const char *comma = memchr(line->data + start, ',', len - start);
        size_t end = comma ? (size_t)(comma - line->data) : len;
        add_cell(csv, (struct or_cell){start, end - start, (uint32_t)(start + 1), end == start});
        if (!comma) {
            return;
        }
        start = end + 1;
    }
}

/* ---- a row with quotes ------------------------------------------------------------ */

static void take_cell(void *data, size_t len, void *context)
{
    struct or_csv *csv = context;
    if (csv->row_over) {
        csv->stray = true; /* libcsv takes a lone CR for a row's end */
        return;
    }
    add_cell(csv, (struct or_cell){.start = csv->text.len, .len = len, .null = !data});
    or_buffer_add(&csv->text, data ? data : "", len);
}

static void take_end(int byte, void *context)
{
    (void)byte;
    struct or_csv *csv = context;
    csv->row_over = true;
}

/* libcsv enlarges its field by a fixed step. Half of what there is makes that cheap for fields of
 * any length. */
static void set_step(struct csv_parser *parser, size_t len)
{
    size_t room = csv_get_buffer_size(parser);
    size_t step = (room > len ? room : len) / 2;
    csv_set_blk_size(parser, step > PARSER_STEP ? step : PARSER_STEP);
}

/* One physical line. A last line without LF gets one, which ends its row unless it stands in
 * quotes. False: out of memory. */
static bool feed(struct or_csv *csv, const struct or_line *line)
{
    size_t cells = csv->n_cells;
    size_t len = line->len + (line->ended ? 1 : 0);
    set_step(&csv->parser, len);
    size_t done = csv_parse(&csv->parser, line->data, len, take_cell, take_end, csv);
    if (done == len && !line->ended) {
        done += csv_parse(&csv->parser, "\n", 1, take_cell, take_end, csv) - 1;
    }
    int code = csv_error(&csv->parser);
    if (code == CSV_EPARSE) {
        fault(csv, line->number, done + 1,
              "a quote in the wrong place: a field with a quote stands in quotes, and the quote "
              "in it is doubled");
        csv->row_over = true;
    } else if (code != CSV_SUCCESS) {
        return false;
    }
    if (csv->stray) {
        fault_return(csv, line->number, 0);
    }
    if (csv->n_cells > cells) {
        csv->open_line = line->number;
    }
    csv->row = or_buffer_view(&csv->text);
    return !csv->text.failed && !csv->raw.failed;
}

/* ---- rows -------------------------------------------------------------------------- */

enum row_kind { ROW_DONE, ROW_MORE, ROW_NOMEM };

static enum row_kind take_line(struct or_csv *csv, const struct or_line *line)
{
    bool first = !csv->within;
    if (first) {
        begin_row(csv, line);
    }
    check_bytes(csv, line);
    keep_raw(csv, line);
    if (first && !memchr(line->data, '"', line->len)) {
        split(csv, line);
        return csv->raw.failed ? ROW_NOMEM : ROW_DONE;
    }
    if (!feed(csv, line)) {
        return ROW_NOMEM;
    }
    if (!csv->row_over && csv->length > OR_INPUT_RECORD_MAX) {
        fault(csv, csv->open_line, find_column(csv, csv->n_cells),
              "the quoted field that begins here is not closed within 64 MiB");
        return ROW_DONE;
    }
    return csv->row_over ? ROW_DONE : ROW_MORE;
}

static void take_long(struct or_csv *csv, const struct or_line *line)
{
    if (!csv->within) {
        begin_row(csv, line);
    }
    fault(csv, line->number, 1, "a line of more than 64 MiB");
    keep_raw(csv, line);
}

/* The input is over within a row. */
static void take_unclosed(struct or_csv *csv, uint64_t last)
{
    char reason[160];
    snprintf(reason, sizeof reason,
             "the quoted field opened at line %llu is never closed; the row takes in all lines up "
             "to the last, %llu",
             (unsigned long long)csv->open_line, (unsigned long long)last);
    csv->reason = NULL; /* whatever else is wrong with it comes of this */
    fault(csv, csv->open_line, find_column(csv, csv->n_cells), "%s", reason);
}

/* Reads lines until a row is over: then its cells and its fault are set. */
static enum onerow_status next_row(struct or_csv *csv, struct or_lines *lines,
                                   enum or_line_kind *kind, struct onerow_error *error)
{
    for (;;) {
        struct or_line line;
        *kind = or_lines_next(lines, &line, error);
        if (*kind == OR_LINE_STOP || (*kind == OR_LINE_END && !csv->within)) {
            return ONEROW_OK;
        }
        if (*kind == OR_LINE_FAULT) {
            return error->status;
        }
        enum row_kind row = ROW_DONE;
        if (*kind == OR_LINE_END) {
            take_unclosed(csv, lines->number);
        } else if (*kind == OR_LINE_LONG) {
            take_long(csv, &line);
        } else if (!csv->within && text_len(&line) == 0) {
            continue;
        } else {
            row = take_line(csv, &line);
        }
        if (row == ROW_NOMEM) {
            return or_fail(error, ONEROW_NOMEM, "out of memory");
        }
        if (row == ROW_DONE) {
            *kind = OR_LINE_WHOLE;
            end_row(csv);
            return ONEROW_OK;
        }
    }
}

/* ---- the header ---------------------------------------------------------------------- */

__attribute__((format(printf, 5, 6))) static enum onerow_status
refuse_header(const struct or_lines *lines, uint64_t line, size_t at, struct onerow_error *error,
              const char *format, ...)
{
    char reason[512];
    va_list args;
    va_start(args, format);
    vsnprintf(reason, sizeof reason, format, args);
    va_end(args);
    return or_fail(error, ONEROW_INPUT, "%s:%llu:%zu: the CSV header: %s",
                   lines->unpack.source.name, (unsigned long long)line, at ? at : 1, reason);
}

/* A file with another separator has a header of one field. */
static const char *find_separator(const struct or_csv *csv)
{
    const struct onerow_span raw = or_buffer_view(&csv->raw);
    if (csv->n_cells != 1 || memchr(raw.data, '"', raw.len)) {
        return NULL;
    }
    return memchr(raw.data, ';', raw.len)    ? "';'"
           : memchr(raw.data, '\t', raw.len) ? "a TAB"
                                             : NULL;
}

static bool copy_names(struct or_csv *csv)
{
    struct onerow_span text = or_arena_copy(&csv->header, csv->row);
    csv->names = or_arena_alloc(&csv->header, csv->n_cells * sizeof *csv->names);
    if (!text.data || !csv->names) {
        return false;
    }
    for (size_t i = 0; i < csv->n_cells; i++) {
        csv->names[i] = (struct onerow_span){text.data + csv->cells[i].start, csv->cells[i].len};
    }
    csv->n_names = csv->n_cells;
    csv->shape = or_shape_id();
    return true;
}

static enum onerow_status check_name(const struct or_csv *csv, const struct or_lines *lines,
                                     size_t index, struct onerow_error *error)
{
    struct onerow_span name = csv->names[index];
    size_t at = find_column(csv, index);
    if (name.len == 0) {
        return refuse_header(lines, csv->line, at, error,
                             "field %zu has no name; give every field one", index + 1);
    }
    for (size_t i = 0; i < index; i++) {
        if (or_span_equal(csv->names[i], name)) {
            return refuse_header(lines, csv->line, at, error,
                                 "fields %zu and %zu have the same name, \"%.*s\"", i + 1,
                                 index + 1, name.len < 60 ? (int)name.len : 60, name.data);
        }
    }
    return ONEROW_OK;
}

static enum onerow_status take_header(struct or_csv *csv, const struct or_lines *lines,
                                      struct onerow_error *error)
{
    if (csv->reason) {
        return refuse_header(lines, csv->bad_line, csv->bad_at, error, "%s", csv->reason);
    }
    const char *separator = find_separator(csv);
    if (separator) {
        return refuse_header(lines, csv->line, 1, error,
                             "it is one field with %s in it; fields are separated by commas here, "
                             "so convert the file first",
                             separator);
    }
    if (csv->n_cells > ONEROW_COLUMNS_MAX) {
        return refuse_header(lines, csv->line, 1, error, "%zu fields; at most %u are taken",
                             csv->n_cells, ONEROW_COLUMNS_MAX);
    }
    if (!copy_names(csv)) {
        return or_fail(error, ONEROW_NOMEM, "out of memory");
    }
    enum onerow_status status = ONEROW_OK;
    for (size_t i = 0; i < csv->n_names && status == ONEROW_OK; i++) {
        status = check_name(csv, lines, i, error);
    }
    return status;
}

enum onerow_status or_csv_header(struct or_csv *csv, struct or_lines *lines, bool *stopped,
                                 struct onerow_error *error)
{
    enum or_line_kind kind;
    enum onerow_status status = next_row(csv, lines, &kind, error);
    *stopped = kind == OR_LINE_STOP;
    if (status != ONEROW_OK || *stopped) {
        return status;
    }
    if (kind == OR_LINE_END) {
        return or_fail(error, ONEROW_INPUT,
                       "%s: is empty; CSV begins with a header, the names of the fields",
                       lines->unpack.source.name);
    }
    return take_header(csv, lines, error);
}

/* ---- items ------------------------------------------------------------------------------ */

static const char *plural(size_t n)
{
    return n == 1 ? "" : "s";
}

/* What can be wrong with a row that was read well. */
static void check_cells(struct or_csv *csv)
{
    size_t n = csv->n_cells;
    if (n != csv->n_names) {
        fault(csv, csv->line, n > csv->n_names ? find_column(csv, csv->n_names) : 1,
              "%zu field%s, the header has %zu", n, plural(n), csv->n_names);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        if (csv->cells[i].len > ONEROW_VALUE_MAX) {
            fault(csv, csv->line, find_column(csv, i), "field %zu is longer than 16 MiB", i + 1);
        }
    }
}

static bool emit_bad(const struct or_csv *csv, struct or_arena *arena, struct or_item *item)
{
    struct onerow_span reason = or_arena_copy(arena, or_span(csv->reason));
    *item = (struct or_item){.kind = OR_ITEM_BAD,
                             .line = csv->line,
                             .bad_line = csv->bad_line,
                             .at = csv->bad_at,
                             .reason = reason.data,
                             .raw = or_arena_copy(arena, or_buffer_view(&csv->raw)),
                             .raw_len = csv->length};
    return reason.data && item->raw.data;
}

static bool emit_record(const struct or_csv *csv, struct or_arena *arena, struct or_item *item)
{
    size_t n = csv->n_cells;
    struct onerow_span text = or_arena_copy(arena, csv->row);
    struct or_field *fields = or_arena_alloc(csv->fields ? csv->fields : arena, n * sizeof *fields);
    if (!text.data || !fields) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        const struct or_cell *cell = &csv->cells[i];
        fields[i] = (struct or_field){
            .name = csv->names[i], .value = {.kind = ONEROW_NULL}, .at = cell->at};
        if (!cell->null) {
            fields[i].value = (struct onerow_value){text.data + cell->start, (uint32_t)cell->len, 0,
                                                    ONEROW_UNTYPED};
        }
    }
    *item = (struct or_item){.kind = OR_ITEM_RECORD,
                             .line = csv->line,
                             .fields = fields,
                             .n_fields = n,
                             .shape = csv->shape};
    return true;
}

enum onerow_status or_csv_next(struct or_csv *csv, struct or_lines *lines, struct or_arena *arena,
                               struct or_item *item, struct onerow_error *error)
{
    enum or_line_kind kind;
    enum onerow_status status = next_row(csv, lines, &kind, error);
    if (status != ONEROW_OK) {
        return status;
    }
    if (kind == OR_LINE_STOP || kind == OR_LINE_END) {
        *item = (struct or_item){.kind = kind == OR_LINE_STOP ? OR_ITEM_STOP : OR_ITEM_END};
        return ONEROW_OK;
    }
    if (!csv->reason) {
        check_cells(csv);
    }
    bool done = csv->reason ? emit_bad(csv, arena, item) : emit_record(csv, arena, item);
    return done ? ONEROW_OK : or_fail(error, ONEROW_NOMEM, "out of memory");
}
