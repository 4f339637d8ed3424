/* SPDX-License-Identifier: Apache-2.0
 *
 * A letter as one JSON object on one line, and back, without loss.
 *
 * Text that is UTF-8 without NUL stands under its own name, any other bytes under
 * NAME_base64: file names, too, may hold any bytes. `key` and `record` are objects
 * and are copied verbatim, in both directions: a number keeps its digits, a string
 * its escapes, a doubled name both its values. (Only a line break between tokens
 * becomes a space, since a letter is one line.) Should one of them be no JSON
 * object, it is kept as text or base64 like the others. What is empty or zero is
 * left out. Members that this version does not know are passed over.
 */
#include <stddef.h>
#include <string.h>

#include "base/buffer.h"
#include "base/text.h"
#include "engine/dead_letter_internal.h"

enum field_kind { TEXT, OBJECT, NUMBER };

struct field {
    const char *name;
    enum field_kind kind;
    size_t offset; /* in struct or_letter */
};

#define FIELD(name, kind)                                                                          \
    {                                                                                              \
#name, kind, offsetof(struct or_letter, name)                                              \
    }

static const struct field FIELDS[] = {
    FIELD(id, TEXT),        FIELD(time, TEXT),     FIELD(config, TEXT),   FIELD(store, TEXT),
    FIELD(table, TEXT),     FIELD(location, TEXT), FIELD(key_spec, TEXT), FIELD(policy, TEXT),
    FIELD(input, TEXT),     FIELD(line, NUMBER),   FIELD(outcome, TEXT),  FIELD(reason, TEXT),
    FIELD(key, OBJECT),     FIELD(row, TEXT),      FIELD(record, OBJECT), FIELD(raw, TEXT),
    FIELD(raw_len, NUMBER), FIELD(format, TEXT),
};
#define N_FIELDS (sizeof FIELDS / sizeof *FIELDS)

static const char BASE64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
#define BASE64_SUFFIX "_base64"

/* ---- writing ----------------------------------------------------------------- */

static void add_base64(struct or_buffer *json, struct onerow_span bytes)
{
    const unsigned char *at = (const unsigned char *)bytes.data;
    or_buffer_char(json, '"');
    for (size_t left = bytes.len; left > 0;) {
        size_t n = left < 3 ? left : 3;
        unsigned group = (unsigned)at[0] << 16 | (n > 1 ? (unsigned)at[1] << 8 : 0) |
                         (n > 2 ? (unsigned)at[2] : 0);
        char four[4] = {BASE64[group >> 18], BASE64[group >> 12 & 63],
                        n > 1 ? BASE64[group >> 6 & 63] : '=', n > 2 ? BASE64[group & 63] : '='};
        or_buffer_add(json, four, sizeof four);
        at += n;
        left -= n;
    }
    or_buffer_char(json, '"');
}

static void add_text(struct or_buffer *json, const char *name, struct onerow_span text)
{
    if (or_utf8_valid(text, NULL) && !memchr(text.data, '\0', text.len)) {
        or_buffer_printf(json, "\"%s\":", name);
        or_buffer_json(json, text);
    } else {
        or_buffer_printf(json, "\"%s" BASE64_SUFFIX "\":", name);
        add_base64(json, text);
    }
}

yyjson_doc *or_letter_json(struct onerow_span text, bool *no_memory)
{
    /* yyjson writes into its input under YYJSON_READ_INSITU only, which is not given. */
    char *data = (char *)(uintptr_t)text.data;
    yyjson_read_err why;
    yyjson_doc *doc = yyjson_read_opts(data, text.len, YYJSON_READ_NUMBER_AS_RAW, NULL, &why);
    *no_memory = !doc && why.code == YYJSON_READ_ERROR_MEMORY_ALLOCATION;
    return doc;
}

static bool is_object(struct onerow_span text, bool *no_memory)
{
    yyjson_doc *doc = or_letter_json(text, no_memory);
    bool object = yyjson_is_obj(yyjson_doc_get_root(doc));
    yyjson_doc_free(doc);
    return object;
}

/* Inside JSON strings there are no line breaks, so that these stand between tokens. */
static void add_one_line(struct or_buffer *json, struct onerow_span text)
{
    size_t from = json->len;
    or_buffer_span(json, text);
    for (size_t i = from; !json->failed && i < json->len; i++) {
        if (json->data[i] == '\n' || json->data[i] == '\r') {
            json->data[i] = ' ';
        }
    }
}

static void add_object(struct or_buffer *json, const char *name, struct onerow_span text)
{
    bool no_memory;
    if (is_object(text, &no_memory)) {
        or_buffer_printf(json, "\"%s\":", name);
        add_one_line(json, text);
    } else if (no_memory) {
        json->failed = true;
    } else {
        add_text(json, name, text);
    }
}

static const void *member(const struct or_letter *letter, const struct field *field)
{
    return (const char *)letter + field->offset;
}

static bool is_empty(const struct or_letter *letter, const struct field *field)
{
    if (field->kind == NUMBER) {
        return *(const uint64_t *)member(letter, field) == 0;
    }
    return ((const struct onerow_span *)member(letter, field))->len == 0;
}

static void add_field(struct or_buffer *json, const struct or_letter *letter,
                      const struct field *field)
{
    const void *value = member(letter, field);
    switch (field->kind) {
    case TEXT: add_text(json, field->name, *(const struct onerow_span *)value); break;
    case OBJECT: add_object(json, field->name, *(const struct onerow_span *)value); break;
    case NUMBER:
        or_buffer_printf(json, "\"%s\":%llu", field->name,
                         (unsigned long long)*(const uint64_t *)value);
        break;
    }
}

void or_letter_to_json(const struct or_letter *letter, struct or_buffer *json)
{
    const char *before = "{";
    for (size_t i = 0; i < N_FIELDS; i++) {
        if (!is_empty(letter, &FIELDS[i])) {
            or_buffer_text(json, before);
            add_field(json, letter, &FIELDS[i]);
            before = ",";
        }
    }
    or_buffer_text(json, *before == '{' ? "{}" : "}");
}

/* ---- reading ----------------------------------------------------------------- */

/* 0 .. 63, or -1. */
static int digit64(char byte)
{
    const char *at = byte ? strchr(BASE64, byte) : NULL;
    return at ? (int)(at - BASE64) : -1;
}

/* Decodes four characters of which the last `padding` are '='. */
static bool decode_group(const char *four, size_t padding, char *bytes)
{
    unsigned group = 0;
    for (size_t i = 0; i < 4; i++) {
        int digit = i < 4 - padding ? digit64(four[i]) : 0;
        if (digit < 0) {
            return false;
        }
        group = group << 6 | (unsigned)digit;
    }
    for (size_t i = 0; i < 3 - padding; i++) {
        bytes[i] = (char)(group >> (16 - 8 * i) & 0xff);
    }
    return true;
}

static enum onerow_status decode_base64(struct onerow_span text, struct or_arena *arena,
                                        struct onerow_span *bytes)
{
    if (text.len == 0 || text.len % 4 != 0) {
        return ONEROW_INPUT;
    }
    size_t padding = text.data[text.len - 1] != '=' ? 0 : text.data[text.len - 2] != '=' ? 1 : 2;
    char *data = or_arena_bytes(arena, text.len / 4 * 3);
    if (!data) {
        return ONEROW_NOMEM;
    }
    for (size_t at = 0; at < text.len; at += 4) {
        if (!decode_group(text.data + at, at + 4 == text.len ? padding : 0, data + at / 4 * 3)) {
            return ONEROW_INPUT;
        }
    }
    *bytes = (struct onerow_span){data, text.len / 4 * 3 - padding};
    return ONEROW_OK;
}

/* Digits only: the reader never made anything else of a uint64_t. */
static enum onerow_status take_number(yyjson_val *value, uint64_t *number)
{
    const char *digits = yyjson_get_raw(value);
    uint64_t sum = 0;
    for (size_t i = 0; digits && i < yyjson_get_len(value); i++) {
        if (digits[i] < '0' || digits[i] > '9' || __builtin_mul_overflow(sum, (uint64_t)10, &sum) ||
            __builtin_add_overflow(sum, (uint64_t)(digits[i] - '0'), &sum)) {
            return ONEROW_INPUT;
        }
    }
    *number = sum;
    return digits ? ONEROW_OK : ONEROW_INPUT;
}

static enum onerow_status take_text(yyjson_val *value, bool base64, struct or_arena *arena,
                                    struct onerow_span *text)
{
    if (!yyjson_is_str(value)) {
        return ONEROW_INPUT;
    }
    struct onerow_span string = {yyjson_get_str(value), yyjson_get_len(value)};
    if (base64) {
        return decode_base64(string, arena, text);
    }
    *text = or_arena_copy(arena, string);
    return text->data ? ONEROW_OK : ONEROW_NOMEM;
}

/* The field of this member's name; *base64: it is the name's other form. */
static const struct field *field_of(struct onerow_span name, bool *base64)
{
    for (size_t i = 0; i < N_FIELDS; i++) {
        size_t len = strlen(FIELDS[i].name);
        /* NOLINTNEXTLINE(clang-analyzer-core.NonNullParamChecker): a member's name has data */
        if (name.len < len || memcmp(name.data, FIELDS[i].name, len) != 0) {
            continue;
        }
        struct onerow_span rest = {name.data + len, name.len - len};
        *base64 = or_span_is(rest, BASE64_SUFFIX);
        if (rest.len == 0 || (*base64 && FIELDS[i].kind != NUMBER)) {
            return &FIELDS[i];
        }
    }
    return NULL;
}

/* `verbatim` is the value as it stands in the line. */
static enum onerow_status take_member(struct or_letter *letter, struct onerow_span name,
                                      yyjson_val *value, struct onerow_span verbatim,
                                      struct or_arena *arena)
{
    bool base64;
    const struct field *field = field_of(name, &base64);
    if (!field || yyjson_is_null(value)) {
        return ONEROW_OK;
    }
    char *place = (char *)letter + field->offset;
    if (field->kind == NUMBER) {
        return take_number(value, (uint64_t *)(void *)place);
    }
    if (field->kind == OBJECT && yyjson_is_obj(value)) {
        *(struct onerow_span *)(void *)place = verbatim;
        return ONEROW_OK;
    }
    return take_text(value, base64, arena, (struct onerow_span *)(void *)place);
}

/* The first colon, comma or closing bracket from `at` on that belongs to the level of `at`. The
 * text has been parsed before: its quotes and brackets match. */
static size_t token_end(struct onerow_span text, size_t at)
{
    size_t depth = 0;
    bool quoted = false;
    for (; at < text.len; at++) {
        char byte = text.data[at];
        if (quoted) {
            at += byte == '\\';
            quoted = byte != '"';
        } else if (byte == '"') {
            quoted = true;
        } else if (depth == 0 && (byte == ':' || byte == ',' || byte == '}' || byte == ']')) {
            return at;
        } else if (byte == '{' || byte == '[') {
            depth++;
        } else if (byte == '}' || byte == ']') {
            depth--;
        }
    }
    return text.len;
}

/* Goes through the parsed members and the text side by side: yyjson unescapes the strings, the
 * text gives the verbatim values. */
static enum onerow_status take_members(yyjson_val *root, struct onerow_span line,
                                       struct or_arena *arena, struct or_letter *letter)
{
    enum onerow_status status = ONEROW_OK;
    size_t at = (size_t)((const char *)memchr(line.data, '{', line.len) - line.data) + 1;
    yyjson_obj_iter members = yyjson_obj_iter_with(root);
    yyjson_val *name;
    while (!status && (name = yyjson_obj_iter_next(&members))) {
        size_t from = token_end(line, at) + 1;
        size_t to = token_end(line, from);
        struct onerow_span verbatim =
            or_span_trim((struct onerow_span){line.data + from, to - from});
        struct onerow_span text = {yyjson_get_str(name), yyjson_get_len(name)};
        status = take_member(letter, text, yyjson_obj_iter_get_val(name), verbatim, arena);
        at = to + 1;
    }
    return status;
}

enum onerow_status or_letter_parse(struct onerow_span line, struct or_arena *arena,
                                   struct or_letter *letter)
{
    *letter = (struct or_letter){0};
    bool no_memory;
    yyjson_doc *doc = or_letter_json(line, &no_memory);
    if (!doc) {
        return no_memory ? ONEROW_NOMEM : ONEROW_INPUT;
    }
    yyjson_val *root = yyjson_doc_get_root(doc);
    enum onerow_status status = ONEROW_INPUT;
    if (yyjson_is_obj(root)) {
        status = take_members(root, line, arena, letter);
    }
    yyjson_doc_free(doc);
    return status == ONEROW_OK && letter->id.len == 0 ? ONEROW_INPUT : status;
}
