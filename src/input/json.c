/* SPDX-License-Identifier: Apache-2.0
 *
 * A text is copied once, into the item's arena, and parsed there in place: names
 * and values of the record point into that copy, unescaped where they lie. The
 * parser's own values live in a block that is used again for every record; a record
 * that needs more gets it from the system, up to SCRATCH_MAX.
 *
 * yyjson accepts what a database cannot, or what two readers would understand in
 * two ways. These are checked here:
 *   - a name that occurs twice in one object, at any depth
 *   - more than OR_INPUT_DEPTH_MAX nested objects and arrays
 *   - U+0000, written as \u0000, in any string
 *   - names, values and numbers that are too long
 * None of it recurses, and none is quadratic in what a stranger may send: yyjson
 * keeps a text's values in one array, in the order of the text, and a container
 * knows where it ends, so a loop over that array sees everything.
 */
#include "input/json.h"

#include <stdlib.h>
#include <yyjson.h>

#include "base/buffer.h"
#include "base/text.h"
#include "input/json_fault.h"
#include "input/lines.h"

#define SCRATCH_BLOCK ((size_t)64 * 1024)
#define SCRATCH_MAX   ((size_t)256 * 1024 * 1024)
#define NUMBER_MAX    1000U /* digits, as many as a decimal key may have */
#define FEW_NAMES     16U   /* so few are compared each with each */
#define SHOWN_NAME    60U   /* bytes of a name in a message */

/* ---- working memory --------------------------------------------------------- */

static bool in_block(const struct or_json *json, const void *memory)
{
    return (uintptr_t)memory - (uintptr_t)json->block < SCRATCH_BLOCK;
}

static void *scratch_take(void *context, size_t size)
{
    struct or_json *json = context;
    size_t whole = (size + 15) & ~(size_t)15;
    if (whole <= SCRATCH_BLOCK - json->used) {
        void *memory = json->block + json->used;
        json->used += whole;
        return memory;
    }
    if (size > SCRATCH_MAX) {
        json->exhausted = true;
        return NULL;
    }
    return malloc(size);
}

static void *scratch_grow(void *context, void *memory, size_t old_size, size_t size)
{
    struct or_json *json = context;
    if (size <= old_size) {
        return memory;
    }
    if (in_block(json, memory)) {
        void *larger = scratch_take(json, size);
        return larger ? memcpy(larger, memory, old_size) : NULL;
    }
    if (size > SCRATCH_MAX) {
        json->exhausted = true;
        return NULL;
    }
    return realloc(memory, size);
}

/* The block is emptied as a whole, before the next record. */
static void scratch_give(void *context, void *memory)
{
    if (!in_block(context, memory)) {
        free(memory);
    }
}

static yyjson_alc scratch_of(struct or_json *json)
{
    return (yyjson_alc){scratch_take, scratch_grow, scratch_give, json};
}

bool or_json_init(struct or_json *json)
{
    *json = (struct or_json){.block = malloc(SCRATCH_BLOCK)};
    return json->block;
}

void or_json_finish(struct or_json *json)
{
    free(json->block);
    *json = (struct or_json){0};
}

/* ---- one text --------------------------------------------------------------- */

struct parse {
    struct or_json *json;
    struct or_arena *arena;
    struct onerow_span text; /* as it came */
    const char *copy;        /* of it, parsed in place */
    bool escapes;            /* there is a backslash in the text, so U+0000 may be, too */
    struct or_item *item;
    enum onerow_status status;
};

static bool no_memory(struct parse *parse)
{
    parse->status = ONEROW_NOMEM;
    return false;
}

/* The item becomes a BAD one. The place is given as line and column within the text. Returns
 * false, so that a check can end in it. */
static bool refuse(struct parse *parse, size_t at, const char *reason)
{
    size_t kept = parse->text.len < OR_INPUT_RAW_MAX ? parse->text.len : OR_INPUT_RAW_MAX;
    struct onerow_span raw =
        or_arena_copy(parse->arena, (struct onerow_span){parse->text.data, kept});
    if (!reason || !raw.data) {
        return no_memory(parse);
    }
    size_t line = 1;
    size_t start = 0;
    const char *lf;
    while ((lf = memchr(parse->text.data + start, '\n', at - start))) {
        start = (size_t)(lf + 1 - parse->text.data);
        line++;
    }
    *parse->item = (struct or_item){.kind = OR_ITEM_BAD,
                                    .bad_line = line,
                                    .at = (uint32_t)(at - start + 1),
                                    .reason = reason,
                                    .raw = raw};
    return false;
}

static bool refuse_fault(struct parse *parse, struct or_json_fault fault)
{
    return refuse(parse, fault.at, fault.reason);
}

/* A name as a message shows it: quoted, escaped, and not too long. */
static const char *show_name(struct parse *parse, struct onerow_span name)
{
    struct or_buffer shown;
    or_buffer_init(&shown);
    bool cut = name.len > SHOWN_NAME;
    or_buffer_json(&shown, (struct onerow_span){name.data, cut ? SHOWN_NAME : name.len});
    or_buffer_text(&shown, cut ? "…" : "");
    struct onerow_span copy = or_arena_copy(parse->arena, or_buffer_view(&shown));
    or_buffer_finish(&shown);
    return copy.data ? copy.data : "";
}

static struct onerow_span string_of(yyjson_val *value)
{
    return (struct onerow_span){value->uni.str, unsafe_yyjson_get_len(value)};
}

static yyjson_val *end_of(yyjson_val *value)
{
    return unsafe_yyjson_get_next(value);
}

/* Where a string, number or name begins in the text: in place, unescaping moves ends, not
 * beginnings. Strings are pointed at behind their quote. */
static size_t offset_of(const struct parse *parse, const char *data)
{
    return (size_t)(data - parse->copy);
}

/* ---- names ------------------------------------------------------------------- */

/* By length, then bytes, then place, so that of equal names the later one stands second. */
static int compare_names(const void *left, const void *right)
{
    const struct onerow_span *a = left;
    const struct onerow_span *b = right;
    if (a->len != b->len) {
        return a->len < b->len ? -1 : 1;
    }
    int order = memcmp(a->data, b->data, a->len);
    return order ? order : (a->data > b->data) - (a->data < b->data);
}

static const char *twice_among_few(const struct onerow_span *names, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        for (size_t j = 0; j < i; j++) {
            if (names[i].len == names[j].len &&
                memcmp(names[i].data, names[j].data, names[i].len) == 0) {
                return names[i].data;
            }
        }
    }
    return NULL;
}

/* Sorts the names. Of several that occur twice, the one whose repetition comes first in the text
 * is the answer, as everywhere here. */
static const char *twice_by_sorting(struct onerow_span *names, size_t n)
{
    qsort(names, n, sizeof *names, compare_names);
    const char *first = NULL;
    for (size_t i = 1; i < n; i++) {
        bool equal = or_span_equal(names[i - 1], names[i]);
        if (equal && (!first || names[i].data < first)) {
            first = names[i].data;
        }
    }
    return first;
}

static uint64_t hash_name(struct onerow_span name)
{
    if (name.len < sizeof(uint64_t)) {
        return or_hash_text(name);
    }
    uint64_t head;
    uint64_t tail;
    memcpy(&head, name.data, sizeof head);
    memcpy(&tail, name.data + name.len - sizeof tail, sizeof tail);
    uint64_t hash = (head ^ (tail * 0x9e3779b97f4a7c15U) ^ name.len) * 0xff51afd7ed558ccdU;
    return hash ^ (hash >> 32);
}

/* An open hash table of name numbers. Names that were chosen to collide would make it quadratic,
 * so it gives up (false) when its searches get long. */
static bool twice_by_hashing(struct onerow_span *names, size_t n, uint32_t *slots, size_t mask,
                             const char **twice)
{
    size_t patience = 16 * n;
    for (size_t i = 0; i < n; i++) {
        size_t slot = hash_name(names[i]) & mask;
        for (; slots[slot]; slot = (slot + 1) & mask) {
            if (or_span_equal(names[slots[slot] - 1], names[i])) {
                *twice = names[i].data;
                return true;
            }
            if (patience-- == 0) {
                return false;
            }
        }
        slots[slot] = (uint32_t)(i + 1);
    }
    return true;
}

static const char *twice_among_many(struct parse *parse, struct onerow_span *names, size_t n)
{
    size_t count = 64;
    while (count < 2 * n) {
        count *= 2;
    }
    const char *twice = NULL;
    uint32_t *slots = scratch_take(parse->json, count * sizeof *slots);
    if (slots) {
        memset(slots, 0, count * sizeof *slots);
    }
    bool sure = slots && twice_by_hashing(names, n, slots, count - 1, &twice);
    scratch_give(parse->json, slots);
    return sure ? twice : twice_by_sorting(names, n);
}

/* Whether all names of an object differ; `names` may be sorted on the way. */
static bool check_twice(struct parse *parse, struct onerow_span *names, size_t n)
{
    const char *twice =
        n <= FEW_NAMES ? twice_among_few(names, n) : twice_among_many(parse, names, n);
    if (!twice) {
        return true;
    }
    struct onerow_span name = {twice, 0};
    for (size_t i = 0; i < n; i++) {
        name.len = names[i].data == twice ? names[i].len : name.len;
    }
    return refuse(parse, offset_of(parse, twice) - 1,
                  or_arena_printf(parse->arena, "the name %s occurs twice in one object",
                                  show_name(parse, name)));
}

static bool check_names(struct parse *parse, yyjson_val *object)
{
    size_t n = unsafe_yyjson_get_len(object);
    struct onerow_span few[FEW_NAMES];
    struct onerow_span *names = n <= FEW_NAMES ? few : scratch_take(parse->json, n * sizeof *names);
    if (!names) {
        return no_memory(parse);
    }
    yyjson_val *key = object + 1;
    for (size_t i = 0; i < n; i++) {
        names[i] = string_of(key);
        key = end_of(key + 1);
    }
    bool fine = check_twice(parse, names, n);
    if (names != few) {
        scratch_give(parse->json, names);
    }
    return fine;
}

/* ---- values ------------------------------------------------------------------ */

static bool refuse_long(struct parse *parse, size_t at, const char *what)
{
    return refuse(parse, at,
                  or_arena_printf(parse->arena, "%s of more than %u MiB", what,
                                  ONEROW_VALUE_MAX / (1024U * 1024U)));
}

static bool check_string(struct parse *parse, yyjson_val *value, const char *what)
{
    struct onerow_span text = string_of(value);
    if (text.len > ONEROW_VALUE_MAX) {
        return refuse_long(parse, offset_of(parse, text.data) - 1, what);
    }
    if (parse->escapes && memchr(text.data, '\0', text.len)) {
        return refuse(parse, or_json_nul_escape(parse->text, offset_of(parse, text.data)),
                      "U+0000 (\\u0000), which no field may hold");
    }
    return true;
}

static bool check_number(struct parse *parse, yyjson_val *value)
{
    struct onerow_span text = string_of(value);
    return text.len <= NUMBER_MAX ||
           refuse(parse, offset_of(parse, text.data),
                  or_arena_printf(parse->arena, "a number of %zu digits; at most %u are taken",
                                  text.len, NUMBER_MAX));
}

static bool check_scalar(struct parse *parse, yyjson_val *value)
{
    switch (unsafe_yyjson_get_type(value)) {
    case YYJSON_TYPE_STR: return check_string(parse, value, "a string");
    case YYJSON_TYPE_RAW: return check_number(parse, value);
    default: return true;
    }
}

/* Everything inside a nested value, in the order of the text. `ends` are the open containers. */
static bool check_nested(struct parse *parse, yyjson_val *value)
{
    yyjson_val *ends[OR_INPUT_DEPTH_MAX];
    size_t depth = 1; /* the record itself */
    ends[0] = end_of(value);
    for (yyjson_val *end = ends[0]; value < end; value++) {
        /* NOLINTNEXTLINE(clang-analyzer-core.UndefinedBinaryOperatorResult): ends[0] stops it */
        while (value >= ends[depth - 1]) {
            depth--;
        }
        if (!unsafe_yyjson_is_ctn(value)) {
            if (!check_scalar(parse, value)) {
                return false;
            }
            continue;
        }
        if (depth == OR_INPUT_DEPTH_MAX) {
            return refuse(parse, or_json_too_deep(parse->text),
                          or_arena_printf(parse->arena,
                                          "objects and arrays nested more than %u deep",
                                          OR_INPUT_DEPTH_MAX));
        }
        ends[depth++] = end_of(value);
        if (unsafe_yyjson_is_obj(value) && !check_names(parse, value)) {
            return false;
        }
    }
    return true;
}

/* A nested value as compact JSON. */
static bool read_nested(struct parse *parse, yyjson_val *value, struct or_field *field)
{
    if (!check_nested(parse, value)) {
        return false;
    }
    yyjson_alc scratch = scratch_of(parse->json);
    size_t len = 0;
    char *json = yyjson_val_write_opts(value, YYJSON_WRITE_NOFLAG, &scratch, &len, NULL);
    if (!json && !parse->json->exhausted) {
        return no_memory(parse);
    }
    if (!json || len > ONEROW_VALUE_MAX) {
        scratch_give(parse->json, json);
        return refuse_long(parse, field->at - 1, "a nested value");
    }
    struct onerow_span copy = or_arena_copy(parse->arena, (struct onerow_span){json, len});
    scratch_give(parse->json, json);
    field->value = (struct onerow_value){copy.data, (uint32_t)len, 0, ONEROW_JSON};
    return copy.data ? true : no_memory(parse);
}

static bool read_value(struct parse *parse, yyjson_val *value, struct or_field *field)
{
    struct onerow_span text = string_of(value);
    switch (unsafe_yyjson_get_type(value)) {
    case YYJSON_TYPE_STR:
        field->value = (struct onerow_value){text.data, (uint32_t)text.len, 0, ONEROW_TEXT};
        return check_string(parse, value, "a value");
    case YYJSON_TYPE_RAW:
        field->value = (struct onerow_value){text.data, (uint32_t)text.len, 0, ONEROW_NUMBER};
        return check_number(parse, value);
    case YYJSON_TYPE_BOOL:
        text = unsafe_yyjson_is_true(value) ? OR_SPAN("true") : OR_SPAN("false");
        field->value = (struct onerow_value){text.data, (uint32_t)text.len, 0, ONEROW_BOOL};
        return true;
    case YYJSON_TYPE_NULL: field->value = (struct onerow_value){.kind = ONEROW_NULL}; return true;
    default: return read_nested(parse, value, field);
    }
}

uint64_t or_shape_id(void)
{
    static _Atomic uint64_t last;
    return ++last;
}

static bool is_of_shape(const struct or_shape *shape, const struct or_field *fields, size_t n)
{
    if (shape->id == 0 || shape->n != n) {
        return false;
    }
    const char *at = shape->names;
    for (size_t i = 0; i < n; i++) {
        if (fields[i].name.len != shape->len[i] ||
            memcmp(fields[i].name.data, at, shape->len[i]) != 0) {
            return false;
        }
        at += shape->len[i];
    }
    return true;
}

/* Remembers names that have been checked. */
static void keep_shape(struct or_shape *shape, const struct or_field *fields, size_t n)
{
    size_t used = 0;
    shape->id = 0;
    if (n > OR_SHAPE_NAMES) {
        return;
    }
    for (size_t i = 0; i < n; i++) {
        if (fields[i].name.len > OR_SHAPE_BYTES - used) {
            return;
        }
        memcpy(shape->names + used, fields[i].name.data, fields[i].name.len);
        shape->len[i] = (uint16_t)fields[i].name.len;
        used += fields[i].name.len;
    }
    shape->n = n;
    shape->id = or_shape_id();
}

static bool check_fields(struct parse *parse, yyjson_val *object, const struct or_field *fields,
                         size_t n)
{
    yyjson_val *key = object + 1;
    for (size_t i = 0; i < n; i++) {
        if (!check_string(parse, key, "a name")) {
            return false;
        }
        key = end_of(key + 1);
    }
    if (!check_names(parse, object)) {
        return false;
    }
    keep_shape(&parse->json->shape, fields, n);
    return true;
}

static bool read_fields(struct parse *parse, yyjson_val *object)
{
    size_t n = unsafe_yyjson_get_len(object);
    struct or_arena *arena = parse->json->fields ? parse->json->fields : parse->arena;
    struct or_field *fields = or_arena_alloc(arena, n * sizeof *fields);
    if (!fields) {
        return no_memory(parse);
    }
    yyjson_val *key = object + 1;
    for (size_t i = 0; i < n; i++) {
        fields[i].name = string_of(key);
        fields[i].at = (uint32_t)offset_of(parse, fields[i].name.data);
        if (!read_value(parse, key + 1, &fields[i])) {
            return false;
        }
        key = end_of(key + 1);
    }
    struct or_shape *shape = &parse->json->shape;
    if (!is_of_shape(shape, fields, n) && !check_fields(parse, object, fields, n)) {
        return false;
    }
    *parse->item = (struct or_item){
        .kind = OR_ITEM_RECORD, .fields = fields, .n_fields = n, .shape = shape->id};
    return true;
}

/* The parser ran out of what a record may use, or the system out of memory. */
static bool refuse_exhausted(struct parse *parse)
{
    if (!parse->json->exhausted) {
        return no_memory(parse);
    }
    size_t deep = or_json_too_deep(parse->text);
    return deep < parse->text.len
               ? refuse(parse, deep, "objects and arrays nested too deep")
               : refuse(parse, 0, "too many values in one record (they would fill 256 MiB)");
}

static bool parse_copy(struct parse *parse, char *copy)
{
    yyjson_alc scratch = scratch_of(parse->json);
    yyjson_read_err error;
    yyjson_doc *doc = yyjson_read_opts(
        copy, parse->text.len, YYJSON_READ_INSITU | YYJSON_READ_NUMBER_AS_RAW, &scratch, &error);
    if (!doc) {
        return error.code == YYJSON_READ_ERROR_MEMORY_ALLOCATION
                   ? refuse_exhausted(parse)
                   : refuse_fault(parse, or_json_explain(parse->text, &error, parse->arena));
    }
    bool fine = read_fields(parse, yyjson_doc_get_root(doc));
    yyjson_doc_free(doc);
    return fine;
}

static bool is_space(char byte)
{
    return byte == ' ' || byte == '\t' || byte == '\r' || byte == '\n';
}

/* Only objects are worth a parser's time. */
static bool begins_object(struct parse *parse)
{
    struct onerow_span text = parse->text;
    size_t at = 0;
    while (at < text.len && is_space(text.data[at])) {
        at++;
    }
    if (at == text.len) {
        return refuse(parse, at, "nothing, where an object is expected, {\"name\": value, …}");
    }
    return text.data[at] == '{' || refuse_fault(parse, or_json_not_object(text, at, parse->arena));
}

enum onerow_status or_json_parse(struct or_json *json, struct onerow_span text,
                                 struct or_arena *arena, struct or_item *item)
{
    struct parse parse = {.json = json, .arena = arena, .text = text, .item = item};
    json->used = 0;
    json->exhausted = false;
    if (text.len > (size_t)OR_INPUT_RECORD_MAX) {
        refuse(&parse, 0, "a record of more than 64 MiB");
        return parse.status;
    }
    if (!begins_object(&parse)) {
        return parse.status;
    }
    char *copy = or_arena_bytes(arena, text.len + YYJSON_PADDING_SIZE);
    if (!copy) {
        return ONEROW_NOMEM;
    }
    memcpy(copy, text.data, text.len);
    /* Without zeros here yyjson reads on: `{` and whatever lay in this memory would be `{}`. */
    memset(copy + text.len, 0, YYJSON_PADDING_SIZE);
    parse.copy = copy;
    parse.escapes = memchr(text.data, '\\', text.len);
    parse_copy(&parse, copy);
    return parse.status;
}

enum onerow_status or_input_parse_json(struct onerow_span text, struct or_arena *arena,
                                       struct or_item *item)
{
    struct or_json json;
    if (!or_json_init(&json)) {
        return ONEROW_NOMEM;
    }
    enum onerow_status status = or_json_parse(&json, text, arena, item);
    or_json_finish(&json);
    item->shape = 0; /* nobody will meet it again */
    item->line = 1;
    return status;
}
