/* SPDX-License-Identifier: Apache-2.0
 *
 * libFuzzer: any bytes as a line of a dead letter file. What is accepted must survive being
 * written and read again without a change, and must come out as one line of JSON and as a
 * CSV row that no spreadsheet takes for a formula.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/text.h"
#include "engine/dead_letter_internal.h"
#include "engine/letter_export.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define HOLDS(claim)                                                                               \
    do {                                                                                           \
        if (!(claim)) {                                                                            \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

static void same_letter(const struct or_letter *a, const struct or_letter *b)
{
    const struct onerow_span *left[] = {&a->id,    &a->time,     &a->config,   &a->store,
                                        &a->table, &a->location, &a->key_spec, &a->policy,
                                        &a->input, &a->key,      &a->outcome,  &a->reason,
                                        &a->row,   &a->record,   &a->raw,      &a->format};
    const struct onerow_span *right[] = {&b->id,    &b->time,     &b->config,   &b->store,
                                         &b->table, &b->location, &b->key_spec, &b->policy,
                                         &b->input, &b->key,      &b->outcome,  &b->reason,
                                         &b->row,   &b->record,   &b->raw,      &b->format};
    for (size_t i = 0; i < sizeof left / sizeof *left; i++) {
        HOLDS(or_span_equal(*left[i], *right[i]));
    }
    HOLDS(a->line == b->line && a->raw_len == b->raw_len);
}

static bool hide_secret(void *context, struct onerow_span table, struct onerow_span column)
{
    (void)context;
    (void)table;
    return or_ascii_equal_fold(column, OR_SPAN("secret"));
}

static void one_line(const struct or_buffer *text, const char *ending)
{
    size_t len = strlen(ending);
    HOLDS(!text->failed && text->len > len);
    HOLDS(memcmp(text->data + text->len - len, ending, len) == 0);
}

/* Every cell that begins like a formula is held back by a quote character. */
static void no_formulas(const struct or_buffer *csv)
{
    bool quoted = false;
    bool first = true; /* the next byte begins a cell's content */
    for (size_t i = 0; i < csv->len; i++) {
        char byte = csv->data[i];
        if (first && !quoted && byte == '"') {
            quoted = true;
            continue;
        }
        HOLDS(!first || !memchr("=+@\t", byte, 4));
        first = false;
        if (quoted && byte == '"' && i + 1 < csv->len && csv->data[i + 1] == '"') {
            i++;
        } else if (quoted && byte == '"') {
            quoted = false;
        } else if (!quoted && (byte == ',' || byte == '\n')) {
            first = true;
        }
    }
}

static void export_csv(const struct or_letter *letter, const struct or_mask *mask)
{
    struct or_letter_csv *csv = or_letter_csv_create(mask);
    struct or_buffer out;
    or_buffer_init(&out);
    if (csv && or_letter_csv_see(csv, letter, NULL) == ONEROW_OK) {
        HOLDS(or_letter_csv_row(csv, letter, &out));
        one_line(&out, "\r\n");
        no_formulas(&out);
        or_buffer_clear(&out);
        or_letter_csv_header(csv, &out);
        one_line(&out, "\r\n");
    }
    or_letter_csv_destroy(csv);
    or_buffer_finish(&out);
}

static void export_jsonl(const struct or_letter *letter, const struct or_mask *mask)
{
    struct or_buffer out;
    or_buffer_init(&out);
    or_export_jsonl(letter, mask, &out);
    one_line(&out, "\n");
    HOLDS(!memchr(out.data, '\n', out.len - 1));
    bool no_memory = false;
    yyjson_doc *doc = or_letter_json((struct onerow_span){out.data, out.len}, &no_memory);
    HOLDS(doc || no_memory);
    yyjson_doc_free(doc);
    or_buffer_finish(&out);
}

static void check_letter(const struct or_letter *letter, struct or_arena *arena)
{
    struct or_buffer written;
    struct or_letter again = {0};
    or_buffer_init(&written);
    or_letter_to_json(letter, &written);
    HOLDS(!written.failed && !memchr(written.data, '\n', written.len));
    HOLDS(or_letter_parse(or_buffer_view(&written), arena, &again) == ONEROW_OK);
    same_letter(letter, &again);
    struct or_mask mask = {hide_secret, NULL};
    export_jsonl(letter, NULL);
    export_jsonl(letter, &mask);
    export_csv(letter, NULL);
    export_csv(letter, &mask);
    or_buffer_finish(&written);
}

/* The bytes themselves as a letter's raw text and reason: nothing is too strange to be kept. */
static void check_any_bytes(struct onerow_span bytes, struct or_arena *arena)
{
    struct or_letter letter = {.id = OR_SPAN("20240101T000000Z-1-1"),
                               .table = OR_SPAN("t"),
                               .outcome = OR_SPAN("rejected"),
                               .line = 1,
                               .raw_len = bytes.len};
    if (bytes.len) {
        letter.raw = bytes;
        letter.reason = bytes;
    }
    check_letter(&letter, arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *line = malloc(size + 1);
    struct or_arena arena;
    struct or_letter letter = {0};
    if (!line) {
        return 0;
    }
    memcpy(line, data, size);
    line[size] = '\0';
    or_arena_init(&arena);
    if (or_letter_parse((struct onerow_span){line, size}, &arena, &letter) == ONEROW_OK) {
        check_letter(&letter, &arena);
    }
    check_any_bytes((struct onerow_span){line, size}, &arena);
    or_arena_finish(&arena);
    free(line);
    return 0;
}
