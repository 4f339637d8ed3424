/* SPDX-License-Identifier: Apache-2.0
 *
 *     source ─► unpack ─► lines ─► ndjson ─► json
 *                            └───► csv
 *
 * The format is known by the name's ending or by the first line that is not blank.
 * A regular file is looked at, and a CSV header read, while it is opened, so that a
 * file that cannot serve is refused before anything is written. A pipe may stay
 * silent for long, so there the same happens at the first call for an item.
 */
#include "input/input.h"

#include <stdlib.h>

#include "base/status.h"
#include "base/text.h"
#include "input/csv.h"
#include "input/ndjson.h"

struct or_input {
    struct or_lines lines;
    enum or_format format; /* AUTO: not yet known */
    bool ready;            /* the format is known, and the header read */
    struct or_ndjson ndjson;
    struct or_csv csv;
    struct onerow_error fault; /* of the input as a whole; it stays */
};

static bool ends_with(struct onerow_span *name, const char *ending)
{
    struct onerow_span wanted = or_span(ending);
    if (name->len < wanted.len) {
        return false;
    }
    struct onerow_span tail = {name->data + name->len - wanted.len, wanted.len};
    if (!or_ascii_equal_fold(tail, wanted)) {
        return false;
    }
    name->len -= wanted.len;
    return true;
}

static enum or_format format_of_name(const char *path)
{
    struct onerow_span name = or_span(path);
    (void)(ends_with(&name, ".gz") || ends_with(&name, ".zst"));
    if (ends_with(&name, ".csv")) {
        return OR_FORMAT_CSV;
    }
    bool json =
        ends_with(&name, ".ndjson") || ends_with(&name, ".jsonl") || ends_with(&name, ".json");
    return json ? OR_FORMAT_NDJSON : OR_FORMAT_AUTO;
}

/* Passes over blank lines and looks at the next one. WHOLE: the format is known; it may have
 * been a line too long to be given back, which both formats would only call bad. */
static enum or_line_kind detect(struct or_input *input)
{
    for (;;) {
        struct or_line line;
        enum or_line_kind kind = or_lines_next(&input->lines, &line, &input->fault);
        if (kind != OR_LINE_WHOLE && kind != OR_LINE_LONG) {
            return kind;
        }
        struct onerow_span text = or_span_trim((struct onerow_span){line.data, line.len});
        if (kind == OR_LINE_WHOLE && text.len == 0) {
            continue;
        }
        if (kind == OR_LINE_LONG) {
            or_fail(&input->fault, ONEROW_INPUT,
                    "%s:%llu: a first line of more than 64 MiB: is this NDJSON or CSV? Say so with "
                    "the name's ending",
                    input->lines.unpack.source.name, (unsigned long long)line.number);
            return OR_LINE_FAULT;
        }
        bool json = text.data[0] == '{' || text.data[0] == '[';
        input->format = json ? OR_FORMAT_NDJSON : OR_FORMAT_CSV;
        or_lines_unread(&input->lines);
        return OR_LINE_WHOLE;
    }
}

/* Finds out the format and reads the header. *item is set when there will be no record now. */
static enum onerow_status prepare(struct or_input *input, struct or_item *item)
{
    *item = (struct or_item){.kind = OR_ITEM_RECORD};
    if (input->format == OR_FORMAT_AUTO) {
        switch (detect(input)) {
        case OR_LINE_FAULT: return input->fault.status;
        case OR_LINE_STOP: item->kind = OR_ITEM_STOP; return ONEROW_OK;
        case OR_LINE_END: item->kind = OR_ITEM_END; return ONEROW_OK;
        default: break;
        }
    }
    bool stopped = false;
    if (input->format == OR_FORMAT_CSV) {
        enum onerow_status status =
            or_csv_header(&input->csv, &input->lines, &stopped, &input->fault);
        if (status != ONEROW_OK) {
            return status;
        }
    }
    item->kind = stopped ? OR_ITEM_STOP : OR_ITEM_RECORD;
    input->ready = !stopped;
    return ONEROW_OK;
}

static enum onerow_status open_all(struct or_input *input, const struct or_input_options *options,
                                   struct onerow_error *error)
{
    if (!or_ndjson_init(&input->ndjson) || !or_csv_init(&input->csv)) {
        return or_fail(error, ONEROW_NOMEM, "%s: out of memory", options->path);
    }
    enum onerow_status status =
        or_lines_open(&input->lines, options->path, options->stop_fd, error);
    if (status != ONEROW_OK || !input->lines.unpack.source.regular) {
        return status;
    }
    struct or_item item;
    status = prepare(input, &item);
    if (status != ONEROW_OK && error) {
        *error = input->fault;
    }
    return status;
}

enum onerow_status or_input_open(const struct or_input_options *options, struct or_input **input,
                                 struct onerow_error *error)
{
    *input = NULL;
    struct or_input *made = calloc(1, sizeof *made);
    if (!made) {
        return or_fail(error, ONEROW_NOMEM, "%s: out of memory", options->path);
    }
    made->format =
        options->format == OR_FORMAT_AUTO ? format_of_name(options->path) : options->format;
    enum onerow_status status = open_all(made, options, error);
    if (status != ONEROW_OK) {
        or_input_close(made);
        return status;
    }
    *input = made;
    return ONEROW_OK;
}

void or_input_close(struct or_input *input)
{
    if (!input) {
        return;
    }
    or_csv_finish(&input->csv);
    or_ndjson_finish(&input->ndjson);
    or_lines_close(&input->lines);
    free(input);
}

static enum onerow_status next_item(struct or_input *input, struct or_arena *arena,
                                    struct or_item *item)
{
    if (!input->ready) {
        enum onerow_status status = prepare(input, item);
        if (status != ONEROW_OK || !input->ready) {
            return status;
        }
    }
    return input->format == OR_FORMAT_CSV
               ? or_csv_next(&input->csv, &input->lines, arena, item, &input->fault)
               : or_ndjson_next(&input->ndjson, &input->lines, arena, item, &input->fault);
}

enum onerow_status or_input_next(struct or_input *input, struct or_arena *arena,
                                 struct or_item *item, struct onerow_error *error)
{
    enum onerow_status status = input->fault.status;
    if (status == ONEROW_OK) {
        status = next_item(input, arena, item);
    }
    if (status != ONEROW_OK) {
        *item = (struct or_item){.kind = OR_ITEM_END};
        if (error) {
            *error = input->fault;
        }
    }
    return status;
}

void or_input_fields_in(struct or_input *input, struct or_arena *fields)
{
    input->ndjson.json.fields = fields;
    input->csv.fields = fields;
}

bool or_input_would_wait(struct or_input *input)
{
    return input->fault.status == ONEROW_OK && or_lines_idle(&input->lines);
}

const struct onerow_span *or_input_header(const struct or_input *input, size_t *n)
{
    *n = input->csv.n_names;
    return input->csv.names;
}

void or_input_progress(const struct or_input *input, uint64_t *read, uint64_t *total)
{
    *read = input->lines.unpack.source.read;
    *total = input->lines.unpack.source.total;
}
