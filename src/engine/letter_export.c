/* SPDX-License-Identifier: Apache-2.0
 *
 * Exporting dead letters.
 *
 * JSONL is the letter as it is stored. CSV (RFC 4180: CRLF, quotes doubled) has the
 * columns id, time, table, key, line, outcome, reason and input, then one for each
 * name at the top of any record, in the order in which they first appear; a name
 * that is taken gets "record." before it. An empty cell is NULL or absent, "" is
 * empty text, objects and arrays are JSON text. CSV cannot tell the text 1 from the
 * number 1, nor NULL from absent, and has no place for bytes that are no record.
 *
 * Formulas. A spreadsheet runs a cell that begins with = + - or @, in some locales
 * their full-width forms as well, also behind blanks that it strips. Such a cell, and
 * one that begins with a tab or a line break, gets an apostrophe in front, which
 * shows the cell as text; the header's names, too. A plain JSON number (-12.5) is
 * harmless, and stays a number.
 *
 * Secrets are masked in the letter before either format sees it: in the record, in
 * the key, and where a value of the record is repeated in the reason, as the messages
 * of databases do.
 */
#include "engine/letter_export.h"

#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "base/text.h"
#include "engine/dead_letter_internal.h"

#define MASKED OR_SPAN("***")

/* ---- secrets ----------------------------------------------------------------------------- */

/* A letter without its secrets, and the memory behind it. */
struct masked {
    struct or_letter letter;
    struct or_buffer record;
    struct or_buffer key;
    struct or_buffer reason;
};

static bool hides(const struct or_mask *mask, struct onerow_span table, struct onerow_span column)
{
    return mask->is_secret(mask->context, table, column);
}

static struct onerow_span text_of(yyjson_val *value)
{
    const char *raw = yyjson_get_raw(value);
    return (struct onerow_span){raw ? raw : yyjson_get_str(value), yyjson_get_len(value)};
}

static void add_json(struct or_buffer *out, yyjson_val *value)
{
    size_t len;
    char *text = yyjson_val_write(value, YYJSON_WRITE_NOFLAG, &len);
    if (text) {
        or_buffer_add(out, text, len);
    } else {
        out->failed = true;
    }
    free(text);
}

/* Replaces every place of `secret` in the reason. */
static void redact_reason(struct masked *masked, struct onerow_span secret)
{
    struct onerow_span old = masked->letter.reason;
    struct or_buffer made;
    or_buffer_init(&made);
    const char *end = old.data + old.len;
    const char *at = old.data;
    const char *hit;
    while ((hit = memmem(at, (size_t)(end - at), secret.data, secret.len))) {
        or_buffer_add(&made, at, (size_t)(hit - at));
        or_buffer_span(&made, MASKED);
        at = hit + secret.len;
    }
    or_buffer_add(&made, at, (size_t)(end - at));
    or_buffer_finish(&masked->reason);
    masked->reason = made;
    masked->letter.reason = or_buffer_view(&made);
}

static void add_member(struct masked *masked, const struct or_mask *mask, yyjson_val *name,
                       struct or_buffer *out)
{
    yyjson_val *value = yyjson_obj_iter_get_val(name);
    bool secret = hides(mask, masked->letter.table, text_of(name));
    or_buffer_json(out, text_of(name));
    or_buffer_char(out, ':');
    if (!secret) {
        add_json(out, value);
        return;
    }
    or_buffer_text(out, "\"***\"");
    if (text_of(value).data && text_of(value).len && masked->letter.reason.len) {
        redact_reason(masked, text_of(value));
    }
}

static bool has_secrets(const struct or_mask *mask, struct onerow_span table, yyjson_val *object)
{
    yyjson_obj_iter members = yyjson_obj_iter_with(object);
    yyjson_val *name;
    while ((name = yyjson_obj_iter_next(&members))) {
        if (hides(mask, table, text_of(name))) {
            return true;
        }
    }
    return false;
}

static void add_members(struct masked *masked, const struct or_mask *mask, yyjson_val *object,
                        struct or_buffer *out)
{
    yyjson_obj_iter members = yyjson_obj_iter_with(object);
    const char *before = "{";
    yyjson_val *name;
    while ((name = yyjson_obj_iter_next(&members))) {
        or_buffer_text(out, before);
        add_member(masked, mask, name, out);
        before = ",";
    }
    or_buffer_char(out, '}');
}

/* Bytes that are no object may hold any column's value. */
static void mask_bytes(const struct masked *masked, const struct or_mask *mask,
                       struct onerow_span *bytes)
{
    if (bytes->len && hides(mask, masked->letter.table, (struct onerow_span){0})) {
        *bytes = MASKED;
    }
}

/* Masks the secret values of an object; one without any is left alone, to the byte. */
static void mask_object(struct masked *masked, const struct or_mask *mask,
                        struct onerow_span *object, struct or_buffer *out)
{
    if (object->len == 0) {
        return;
    }
    bool no_memory;
    yyjson_doc *doc = or_letter_json(*object, &no_memory);
    yyjson_val *root = yyjson_doc_get_root(doc);
    if (no_memory) {
        out->failed = true;
    } else if (!yyjson_is_obj(root)) {
        mask_bytes(masked, mask, object);
    } else if (has_secrets(mask, masked->letter.table, root)) {
        add_members(masked, mask, root, out);
        *object = or_buffer_view(out);
    }
    yyjson_doc_free(doc);
}

/* False: out of memory, and nothing may be shown. masked_finish follows in any case. */
static bool masked_init(struct masked *masked, const struct or_letter *letter,
                        const struct or_mask *mask)
{
    *masked = (struct masked){.letter = *letter};
    if (!mask || !mask->is_secret) {
        return true;
    }
    mask_object(masked, mask, &masked->letter.record, &masked->record);
    mask_object(masked, mask, &masked->letter.key, &masked->key);
    mask_bytes(masked, mask, &masked->letter.raw);
    return !masked->record.failed && !masked->key.failed && !masked->reason.failed;
}

static void masked_finish(struct masked *masked)
{
    or_buffer_finish(&masked->record);
    or_buffer_finish(&masked->key);
    or_buffer_finish(&masked->reason);
}

/* ---- JSONL --------------------------------------------------------------------------------- */

void or_export_jsonl(const struct or_letter *letter, const struct or_mask *mask,
                     struct or_buffer *out)
{
    struct masked masked;
    if (masked_init(&masked, letter, mask)) {
        or_letter_to_json(&masked.letter, out);
        or_buffer_char(out, '\n');
    } else {
        out->failed = true;
    }
    masked_finish(&masked);
}

/* ---- cells ----------------------------------------------------------------------------------- */

static size_t digits(struct onerow_span text, size_t at)
{
    size_t from = at;
    while (at < text.len && text.data[at] >= '0' && text.data[at] <= '9') {
        at++;
    }
    return at - from;
}

/* The grammar of RFC 8259. */
static bool is_json_number(struct onerow_span text)
{
    size_t at = text.len && text.data[0] == '-';
    size_t n = digits(text, at);
    if (n == 0 || (n > 1 && text.data[at] == '0')) {
        return false;
    }
    at += n;
    if (at < text.len && text.data[at] == '.') {
        n = digits(text, ++at);
        at += n;
    }
    if (n && at < text.len && (text.data[at] | 0x20) == 'e') {
        at++;
        at += at < text.len && (text.data[at] == '+' || text.data[at] == '-');
        n = digits(text, at);
        at += n;
    }
    return n && at == text.len;
}

/* The well-formed sequence at `at`, `step` bytes long, as a code point. */
static unsigned code_point(struct onerow_span text, size_t at, size_t step)
{
    static const unsigned char lead_bits[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    unsigned code = (unsigned char)text.data[at] & lead_bits[step];
    for (size_t i = 1; i < step; i++) {
        code = code << 6 | ((unsigned char)text.data[at + i] & 0x3fU);
    }
    return code;
}

/* What programs strip or do not show at the beginning of a cell: controls, spaces, and marks of
 * no width. */
static bool is_blank(unsigned code)
{
    return code <= 0x20 || (code >= 0x7f && code <= 0xa0) || code == 0xad || code == 0x1680 ||
           code == 0x180e || (code >= 0x2000 && code <= 0x200f) ||
           (code >= 0x2028 && code <= 0x202f) || (code >= 0x205f && code <= 0x206f) ||
           code == 0x3000 || code == 0xfeff;
}

static bool begins_formula(unsigned code)
{
    switch (code) {
    case '=':
    case '+':
    case '-':
    case '@':
    case 0xff1d: /* ＝ */
    case 0xff0b: /* ＋ */
    case 0xff0d: /* － */
    case 0xff20: /* ＠ */ return true;
    default: return false;
    }
}

static bool is_dangerous(struct onerow_span text)
{
    if (text.len && strchr("\t\r\n", text.data[0]) && text.data[0]) {
        return true;
    }
    for (size_t at = 0; at < text.len;) {
        size_t step = or_utf8_step(text, at);
        unsigned code = step ? code_point(text, at, step) : 0; /* a bad byte is not trusted */
        if (!is_blank(code)) {
            return begins_formula(code) && !is_json_number(text);
        }
        at += step ? step : 1;
    }
    return false;
}

/* Semicolons and tabs divide cells in some locales. */
static bool needs_quotes(struct onerow_span text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] && strchr(",;\"\t\r\n", text.data[i])) {
            return true;
        }
    }
    return text.len == 0;
}

/* The text with quotes doubled; bytes that are not UTF-8 become U+FFFD. */
static void add_doubled(struct or_buffer *out, struct onerow_span text)
{
    for (size_t at = 0; at < text.len;) {
        size_t step = or_utf8_step(text, at);
        if (step == 0) {
            or_buffer_text(out, "\xef\xbf\xbd");
        } else {
            or_buffer_add(out, text.data + at, step);
        }
        if (text.data[at] == '"') {
            or_buffer_char(out, '"');
        }
        at += step ? step : 1;
    }
}

/* A cell with text, be it empty; the empty cell is no text at all. */
static void add_cell(struct or_buffer *out, struct onerow_span text)
{
    const char *quote = needs_quotes(text) ? "\"" : "";
    or_buffer_text(out, quote);
    if (is_dangerous(text)) {
        or_buffer_char(out, '\'');
    }
    add_doubled(out, text);
    or_buffer_text(out, quote);
}

static void add_value(struct or_buffer *out, yyjson_val *value)
{
    if (!value || yyjson_is_null(value)) {
        return;
    }
    if (yyjson_is_bool(value)) {
        or_buffer_text(out, yyjson_get_bool(value) ? "true" : "false");
    } else if (yyjson_is_ctn(value)) {
        struct or_buffer json;
        or_buffer_init(&json);
        add_json(&json, value);
        add_cell(out, or_buffer_view(&json));
        out->failed = out->failed || json.failed;
        or_buffer_finish(&json);
    } else {
        add_cell(out, text_of(value));
    }
}

/* ---- columns ----------------------------------------------------------------------------------
 */

static const char *const FIXED[] = {"id",   "time",    "table",  "key",
                                    "line", "outcome", "reason", "input"};
#define N_FIXED (sizeof FIXED / sizeof *FIXED)

#define SLOTS (4U * OR_CSV_COLUMNS_MAX) /* a power of two, never more than half full */

struct column {
    struct onerow_span name;  /* in the records */
    struct onerow_span label; /* in the header: like no other's */
};

/* Columns by a text: open addressing; 0 is a free slot, else the column's index + 1. */
struct or_letter_csv {
    const struct or_mask *mask;
    struct or_arena arena; /* names and labels */
    struct column *columns;
    yyjson_val **cells; /* of the row at hand, one for each column */
    size_t n;
    size_t room;
    uint16_t by_name[SLOTS];
    uint16_t by_label[SLOTS];
};

static bool is_fixed(struct onerow_span label)
{
    for (size_t i = 0; i < N_FIXED; i++) {
        if (or_span_is(label, FIXED[i])) {
            return true;
        }
    }
    return false;
}

/* The slot of this name or label: its column's, or the free one where it would go. */
static uint16_t *slot_of(struct or_letter_csv *csv, bool label, struct onerow_span text)
{
    uint16_t *slots = label ? csv->by_label : csv->by_name;
    size_t at = or_hash_text(text) % SLOTS;
    while (slots[at]) {
        const struct column *column = &csv->columns[slots[at] - 1];
        if (or_span_equal(label ? column->label : column->name, text)) {
            break;
        }
        at = (at + 1) % SLOTS;
    }
    return &slots[at];
}

static bool make_room(struct or_letter_csv *csv)
{
    if (csv->n < csv->room) {
        return true;
    }
    size_t room = csv->room ? 2 * csv->room : 64;
    struct column *columns = reallocarray(csv->columns, room, sizeof *columns);
    if (columns) {
        csv->columns = columns;
    }
    yyjson_val **cells = reallocarray(csv->cells, room, sizeof *cells);
    if (cells) {
        csv->cells = cells;
    }
    csv->room = columns && cells ? room : csv->room;
    return columns && cells;
}

/* The name, or with "record." before it as often as it takes to be new. */
static bool give_label(struct or_letter_csv *csv, struct column *column)
{
    static const struct onerow_span prefix = {"record.", 7};
    column->label = column->name;
    while (is_fixed(column->label) || *slot_of(csv, true, column->label)) {
        size_t len = column->label.len + prefix.len;
        char *longer = or_arena_bytes(&csv->arena, len);
        if (!longer) {
            return false;
        }
        memcpy(longer, prefix.data, prefix.len);
        memcpy(longer + prefix.len, column->label.data, column->label.len);
        column->label = (struct onerow_span){longer, len};
    }
    return true;
}

static enum onerow_status add_column(struct or_letter_csv *csv, struct onerow_span name,
                                     struct onerow_error *error)
{
    if (csv->n + N_FIXED >= OR_CSV_COLUMNS_MAX) {
        return or_fail(error, ONEROW_INPUT,
                       "the records have more than %u different columns, and a spreadsheet holds "
                       "no more\nexport them as JSONL",
                       (unsigned)(OR_CSV_COLUMNS_MAX - N_FIXED));
    }
    struct column column = {.name = or_arena_copy(&csv->arena, name)};
    if (!column.name.data || !make_room(csv) || !give_label(csv, &column)) {
        return or_fail(error, ONEROW_NOMEM, "export of dead letters: out of memory");
    }
    csv->columns[csv->n++] = column;
    *slot_of(csv, false, column.name) = (uint16_t)csv->n;
    *slot_of(csv, true, column.label) = (uint16_t)csv->n;
    return ONEROW_OK;
}

struct or_letter_csv *or_letter_csv_create(const struct or_mask *mask)
{
    struct or_letter_csv *csv = calloc(1, sizeof *csv);
    if (csv) {
        csv->mask = mask;
        or_arena_init(&csv->arena);
    }
    return csv;
}

void or_letter_csv_destroy(struct or_letter_csv *csv)
{
    if (csv) {
        or_arena_finish(&csv->arena);
        free(csv->columns);
        free(csv->cells);
        free(csv);
    }
}

/* ---- the two passes
 * ------------------------------------------------------------------------------ */

enum onerow_status or_letter_csv_see(struct or_letter_csv *csv, const struct or_letter *letter,
                                     struct onerow_error *error)
{
    bool no_memory = false;
    yyjson_doc *doc = letter->record.len ? or_letter_json(letter->record, &no_memory) : NULL;
    if (no_memory) {
        return or_fail(error, ONEROW_NOMEM, "export of dead letters: out of memory");
    }
    enum onerow_status status = ONEROW_OK;
    yyjson_obj_iter members = yyjson_obj_iter_with(yyjson_doc_get_root(doc));
    yyjson_val *name;
    while (!status && (name = yyjson_obj_iter_next(&members))) {
        if (!*slot_of(csv, false, text_of(name))) {
            status = add_column(csv, text_of(name), error);
        }
    }
    yyjson_doc_free(doc);
    return status;
}

void or_letter_csv_header(const struct or_letter_csv *csv, struct or_buffer *out)
{
    for (size_t i = 0; i < N_FIXED; i++) {
        or_buffer_text(out, i ? "," : "");
        or_buffer_text(out, FIXED[i]);
    }
    for (size_t i = 0; i < csv->n; i++) {
        or_buffer_char(out, ',');
        add_cell(out, csv->columns[i].label);
    }
    or_buffer_text(out, "\r\n");
}

/* Puts each value of the record under its column; of a doubled name the last counts. */
static bool fill_cells(struct or_letter_csv *csv, yyjson_val *record)
{
    if (csv->n) {
        memset(csv->cells, 0, csv->n * sizeof *csv->cells);
    }
    yyjson_obj_iter members = yyjson_obj_iter_with(record);
    yyjson_val *name;
    while ((name = yyjson_obj_iter_next(&members))) {
        uint16_t column = *slot_of(csv, false, text_of(name));
        if (!column) {
            return false;
        }
        csv->cells[column - 1] = yyjson_obj_iter_get_val(name);
    }
    return true;
}

static void add_fixed(struct or_buffer *out, struct onerow_span text, const char *before)
{
    or_buffer_text(out, before);
    if (text.len) {
        add_cell(out, text);
    }
}

static void add_row(const struct or_letter_csv *csv, const struct or_letter *letter,
                    struct or_buffer *out)
{
    add_fixed(out, letter->id, "");
    add_fixed(out, letter->time, ",");
    add_fixed(out, letter->table, ",");
    add_fixed(out, letter->key, ",");
    or_buffer_char(out, ',');
    if (letter->line) {
        or_buffer_printf(out, "%llu", (unsigned long long)letter->line);
    }
    add_fixed(out, letter->outcome, ",");
    add_fixed(out, letter->reason, ",");
    add_fixed(out, letter->input, ",");
    for (size_t i = 0; i < csv->n; i++) {
        or_buffer_char(out, ',');
        add_value(out, csv->cells[i]);
    }
    or_buffer_text(out, "\r\n");
}

bool or_letter_csv_row(struct or_letter_csv *csv, const struct or_letter *letter,
                       struct or_buffer *out)
{
    struct masked masked;
    bool no_memory = !masked_init(&masked, letter, csv->mask);
    yyjson_doc *doc = NULL;
    if (!no_memory && masked.letter.record.len) {
        doc = or_letter_json(masked.letter.record, &no_memory);
    }
    bool seen = !no_memory && fill_cells(csv, yyjson_doc_get_root(doc));
    if (seen) {
        add_row(csv, &masked.letter, out);
    }
    out->failed = out->failed || no_memory;
    yyjson_doc_free(doc);
    masked_finish(&masked);
    return seen || no_memory;
}
