/* SPDX-License-Identifier: Apache-2.0
 *
 * The parser knows a place and a terse message. Here the text itself is looked at
 * around that place, since a person wants to hear "NaN is not JSON; use null", not
 * "unexpected character". Only texts that are refused come here, so nothing in this
 * file needs to be fast, but nothing may take more than a pass or two over a text.
 */
#include "input/json_fault.h"

#include "base/text.h"
#include "input/input.h"

/* What the brackets of a text look like. */
struct shape {
    size_t too_deep; /* as or_json_too_deep says */
    size_t depth;    /* still open at the end */
    bool in_string;  /* still open at the end */
};

static void shape_bracket(struct shape *shape, char byte, size_t at, size_t len)
{
    if (byte == '{' || byte == '[') {
        shape->depth++;
        if (shape->depth > OR_INPUT_DEPTH_MAX && shape->too_deep == len) {
            shape->too_deep = at;
        }
    } else if ((byte == '}' || byte == ']') && shape->depth > 0) {
        shape->depth--;
    }
}

static struct shape shape_of(struct onerow_span text)
{
    struct shape shape = {.too_deep = text.len};
    for (size_t i = 0; i < text.len; i++) {
        char byte = text.data[i];
        if (byte == '"') {
            shape.in_string = !shape.in_string;
        } else if (!shape.in_string) {
            shape_bracket(&shape, byte, i, text.len);
        } else if (byte == '\\') {
            i++;
        }
    }
    return shape;
}

size_t or_json_too_deep(struct onerow_span text)
{
    return shape_of(text).too_deep;
}

size_t or_json_nul_escape(struct onerow_span text, size_t from)
{
    for (size_t i = from; i + 5 < text.len; i++) {
        if (text.data[i] != '\\') {
            continue;
        }
        if (memcmp(text.data + i, "\\u0000", 6) == 0) {
            return i;
        }
        i++; /* the escaped byte may be a backslash itself */
    }
    return text.len;
}

/* The character at `at` as a message shows it. */
static const char *show(struct onerow_span text, size_t at, struct or_arena *arena)
{
    size_t len = or_utf8_step(text, at);
    unsigned byte = (unsigned char)text.data[at];
    bool printable = len > 1 || (byte > 0x20 && byte < 0x7f);
    const char *shown = printable ? or_arena_printf(arena, "'%.*s'", (int)len, text.data + at)
                                  : or_arena_printf(arena, "byte 0x%02x", byte);
    return shown ? shown : "a byte";
}

static bool follows(struct onerow_span text, size_t at, const char *word)
{
    struct onerow_span wanted = or_span(word);
    return at <= text.len && text.len - at >= wanted.len &&
           or_ascii_equal_fold((struct onerow_span){text.data + at, wanted.len}, wanted);
}

/* Whether \uD800 … \uDFFF stands at `at`. */
static bool is_surrogate(struct onerow_span text, size_t at)
{
    return follows(text, at, "\\ud") && text.len - at >= 6 &&
           memchr("89abcdefABCDEF", text.data[at + 3], 14);
}

static struct or_json_fault explain_string(struct onerow_span text, size_t at,
                                           struct or_arena *arena)
{
    /* That a second half is missing shows only behind the first one. */
    size_t before = !is_surrogate(text, at) && at >= 6 && is_surrogate(text, at - 6) ? 6 : 0;
    if (is_surrogate(text, at - before)) {
        return (struct or_json_fault){
            at - before, "half of a surrogate pair: \\uD800 to \\uDFFF stand only in pairs"};
    }
    if ((unsigned char)text.data[at] < 0x20) {
        return (struct or_json_fault){
            at, or_arena_printf(arena, "a control character in a string (%s): escape it",
                                show(text, at, arena))};
    }
    return (struct or_json_fault){
        at,
        "an invalid escape in a string: \\\" \\\\ \\/ \\b \\f \\n \\r \\t and \\uXXXX are valid"};
}

/* The parser met the end of the text. It says so, too, of a number such as `1.` or `1e` right
 * before the last brackets. */
static struct or_json_fault explain_end(struct onerow_span text)
{
    struct shape shape = shape_of(text);
    if (shape.in_string) {
        return (struct or_json_fault){
            text.len, "it ends inside a string: cut off, or a closing quote is missing"};
    }
    if (shape.depth > 0) {
        return (struct or_json_fault){text.len,
                                      "it ends inside the object: cut off, or an object spread "
                                      "over several lines (one line each: jq -c . FILE)"};
    }
    size_t at = text.len;
    while (at > 0 && memchr(" \t\r\n]}", text.data[at - 1], 6)) {
        at--;
    }
    return (struct or_json_fault){at, "an incomplete number"};
}

/* What people write that is not JSON. */
static const char *explain_habit(struct onerow_span text, size_t at)
{
    static const struct {
        const char *word;
        const char *reason;
    } habits[] = {
        {"\xef\xbb\xbf", "a byte order mark within the input: remove it"},
        {"nan", "NaN is not JSON: write null, or text"},
        {"infinity", "Infinity is not JSON: write null, or text"},
        {"-infinity", "Infinity is not JSON: write null, or text"},
        {"inf", "Infinity is not JSON: write null, or text"},
        {"-inf", "Infinity is not JSON: write null, or text"},
        {"//", "a comment, which JSON does not have"},
        {"/*", "a comment, which JSON does not have"},
        {"#", "a comment, which JSON does not have"},
        {"'", "a single quote: JSON strings stand in double quotes"},
        {"true", "not JSON: true is written in lower case"},
        {"false", "not JSON: false is written in lower case"},
        {"none", "not JSON: write null"},
        {"undefined", "not JSON: write null, or leave the field out"},
    };
    for (size_t i = 0; i < sizeof habits / sizeof *habits; i++) {
        if (follows(text, at, habits[i].word)) {
            return habits[i].reason;
        }
    }
    return NULL;
}

static struct or_json_fault explain_number(struct onerow_span text, const yyjson_read_err *error,
                                           struct or_arena *arena)
{
    /* The parser points behind the sign of `-x`. */
    size_t at = error->pos;
    size_t sign = at > 0 && text.data[at - 1] == '-' ? 1 : 0;
    const char *habit = explain_habit(text, at - sign);
    return (struct or_json_fault){
        at - sign, habit ? habit : or_arena_printf(arena, "an invalid number: %s", error->msg)};
}

static struct or_json_fault explain_rest(struct onerow_span text, size_t at, struct or_arena *arena)
{
    if (text.data[at] == '{') {
        return (struct or_json_fault){at, "a second object follows: one object per line"};
    }
    const char *habit = explain_habit(text, at);
    return (struct or_json_fault){
        at, habit ? habit : or_arena_printf(arena, "%s follows the object", show(text, at, arena))};
}

static struct or_json_fault explain_character(struct onerow_span text, const yyjson_read_err *error,
                                              struct or_arena *arena)
{
    size_t at = error->pos;
    const char *habit = explain_habit(text, at);
    const char *expected = strstr(error->msg, "expected a");
    return (struct or_json_fault){at, habit ? habit
                                            : or_arena_printf(arena, "unexpected %s: %s",
                                                              show(text, at, arena),
                                                              expected ? expected : "not JSON")};
}

/* Whether a byte that is not UTF-8 is what the parser stumbled over, or stumbled over first. A
 * character that the end cuts off is not meant. */
static bool is_encoding_fault(struct onerow_span text, const yyjson_read_err *error, size_t *at)
{
    if (or_utf8_valid(text, at) || *at > error->pos) {
        return false;
    }
    return error->code != YYJSON_READ_ERROR_UNEXPECTED_END || text.len - *at >= 4;
}

struct or_json_fault or_json_explain(struct onerow_span text, const yyjson_read_err *error,
                                     struct or_arena *arena)
{
    size_t at = error->pos;
    if (is_encoding_fault(text, error, &at)) {
        return (struct or_json_fault){
            at, or_arena_printf(arena, "invalid UTF-8 (%s)", show(text, at, arena))};
    }
    if (error->code == YYJSON_READ_ERROR_UNEXPECTED_END || at >= text.len) {
        return explain_end(text);
    }
    if (text.data[at] == '\0') {
        return (struct or_json_fault){at, "a NUL byte (U+0000)"};
    }
    switch (error->code) {
    case YYJSON_READ_ERROR_INVALID_STRING: return explain_string(text, at, arena);
    case YYJSON_READ_ERROR_INVALID_NUMBER: return explain_number(text, error, arena);
    case YYJSON_READ_ERROR_UNEXPECTED_CONTENT: return explain_rest(text, at, arena);
    case YYJSON_READ_ERROR_JSON_STRUCTURE:
        return (struct or_json_fault){at, "a trailing comma, which JSON does not have"};
    default: return explain_character(text, error, arena);
    }
}

static const char *name_kind(struct onerow_span text, size_t at)
{
    static const struct {
        const char *begins;
        const char *what;
    } kinds[] = {{"[", "an array"},
                 {"\"", "a string"},
                 {"true", "a boolean"},
                 {"false", "a boolean"},
                 {"null", "null"}};
    if (text.data[at] == '-' || (text.data[at] >= '0' && text.data[at] <= '9')) {
        return "a number";
    }
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        size_t len = strlen(kinds[i].begins);
        if (text.len - at >= len && memcmp(text.data + at, kinds[i].begins, len) == 0) {
            return kinds[i].what;
        }
    }
    return NULL;
}

struct or_json_fault or_json_not_object(struct onerow_span text, size_t at, struct or_arena *arena)
{
    const char *kind = name_kind(text, at);
    const char *habit = explain_habit(text, at);
    const char *reason;
    if (kind) {
        reason =
            or_arena_printf(arena, "%s where an object is expected, {\"name\": value, …}", kind);
    } else if (habit) {
        reason = habit;
    } else {
        reason =
            or_arena_printf(arena, "unexpected %s: an object is expected, {\"name\": value, …}",
                            show(text, at, arena));
    }
    return (struct or_json_fault){at, reason};
}
