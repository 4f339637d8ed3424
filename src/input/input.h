/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading records: NDJSON or CSV, plain, gzip or zstd, from a file or a pipe, in
 * memory that does not grow with the input. What cannot be read as a record comes
 * back as an item of its own, with the place and the reason, and reading goes on.
 */
#ifndef OR_INPUT_INPUT_H
#define OR_INPUT_INPUT_H

#include "base/arena.h"
#include "onerow/extend.h"

#define OR_INPUT_DEPTH_MAX  64U                   /* nested JSON objects and arrays */
#define OR_INPUT_RECORD_MAX (64U * 1024U * 1024U) /* bytes in one record */

enum or_format { OR_FORMAT_AUTO, OR_FORMAT_NDJSON, OR_FORMAT_CSV };

struct or_field {
    struct onerow_span name; /* in the item's arena, or the header's (lives as long as the input) */
    struct onerow_value value; /* value.column is not set here */
    uint32_t at; /* column of the field's name (NDJSON) or value (CSV) in its line, 1-based, bytes;
                    0: not known (a CSV row with quotes) */
};

enum or_item_kind {
    OR_ITEM_RECORD,
    OR_ITEM_BAD,  /* one record that cannot be read; `reason` and `at` say why and where */
    OR_ITEM_END,  /* the input is over */
    OR_ITEM_STOP, /* stopped from outside while waiting for more */
};

struct or_item {
    enum or_item_kind kind;
    uint64_t line;          /* 1-based physical line where the record begins */
    uint64_t bad_line;      /* line of the fault (BAD), >= line */
    uint32_t at;            /* column of the fault, 1-based, bytes (BAD); 0: not known */
    const char *reason;     /* NUL-terminated, in the arena or static (BAD) */
    struct onerow_span raw; /* the record's bytes as they were read (BAD: up to 64 KiB of them);
                               in the arena; empty for a RECORD */
    uint64_t raw_len; /* how many they were; more than raw.len: only their beginning is kept */
    struct or_field *fields; /* in the arena */
    size_t n_fields;
    uint64_t shape; /* items of one shape have fields of the same names in the same order, whatever
                       input they come from; 0: nothing is known */
};

struct or_input;

struct or_input_options {
    const char *path;      /* "-" is standard input */
    enum or_format format; /* AUTO: by the name's ending (.csv, .ndjson, .jsonl, .json, each with
                              .gz or .zst), else by content: '{' or '[' begins NDJSON, else CSV */
    int stop_fd;           /* readable: stop waiting for input (OR_ITEM_STOP); -1: none */
};

/* INPUT: it cannot be read at all (no such file, a broken header, a corrupt archive, UTF-16).
 * INTERRUPTED: stopped while opening a named pipe. A regular file's format and CSV header are
 * read here, a pipe's only by or_input_next, since they may be long in coming. */
ONEROW_CHECKED enum onerow_status or_input_open(const struct or_input_options *options,
                                                struct or_input **input,
                                                struct onerow_error *error);
void or_input_close(struct or_input *input); /* NULL is accepted */

/* The next item; everything in it is allocated from `arena` and lives as long as that. A fault of
 * the input as a whole (read error, a truncated or corrupt archive) returns a status (INPUT, IO)
 * with the error filled; records before it have all been delivered. */
ONEROW_CHECKED enum onerow_status or_input_next(struct or_input *input, struct or_arena *arena,
                                                struct or_item *item, struct onerow_error *error);

/* From now on items' fields (not their texts) lie in this arena, which the caller may reset between
 * two items: most callers are through with a record's fields before its texts. NULL: as before. */
void or_input_fields_in(struct or_input *input, struct or_arena *fields);

/* Whether or_input_next would have to wait for a slow writer: time to flush what there is. */
bool or_input_would_wait(struct or_input *input);

/* CSV: the header's names, n of them (0 for NDJSON, and before the first or_input_next). */
const struct onerow_span *or_input_header(const struct or_input *input, size_t *n);

/* Compressed bytes read so far and in all (0: a pipe), for a progress bar. */
void or_input_progress(const struct or_input *input, uint64_t *read, uint64_t *total);

/* Parses one JSON object (library, `ensure`, replay) with the same rules as an NDJSON line, but it
 * may be spread over lines: bad_line and `at` say where in them, a field's `at` counts from the
 * text's beginning. NOMEM is the only failure. */
ONEROW_CHECKED enum onerow_status or_input_parse_json(struct onerow_span json,
                                                      struct or_arena *arena, struct or_item *item);

#endif
