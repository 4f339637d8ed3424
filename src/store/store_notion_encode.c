/* SPDX-License-Identifier: Apache-2.0
 *
 * A record's values as properties, in the API's structures, and every limit before anything is
 * sent. A payload is the JSON object of the properties that are not of the key, each once, by
 * rising column; the same values give the same bytes, whatever way they were written in.
 *
 * What Notion would round, cut or refuse is refused here, with the property's name.
 */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/number.h"
#include "base/status.h"
#include "base/text.h"
#include "store/store_notion_encode.h"

bool or_notion_refuse(struct or_notion_encoding *e, const char *format, ...)
{
    char what[512];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(what, sizeof what, format, arguments);
    va_end(arguments);
    e->reason = or_arena_printf(e->arena, "\"%s\" %s", e->name, what);
    e->no_memory |= !e->reason;
    return false;
}

bool or_notion_refuse_kind(struct or_notion_encoding *e)
{
    static const char *const KINDS[] = {
        [ONEROW_NULL] = "null",
        [ONEROW_BOOL] = "true or false",
        [ONEROW_NUMBER] = "a number",
        [ONEROW_TEXT] = "text",
        [ONEROW_JSON] = "a JSON object or array",
        [ONEROW_UNTYPED] = "text that does not fit",
    };
    return or_notion_refuse(e, "is %s, and the property is of type %s", KINDS[e->value->kind],
                            e->type);
}

bool or_notion_check_units(struct or_notion_encoding *e, struct onerow_span text, size_t max,
                           const char *what)
{
    size_t units = or_notion_units(text);
    return units <= max ||
           or_notion_refuse(e, "%s %zu characters; Notion takes %zu", what, units, max);
}

/* ---- text ------------------------------------------------------------------------------------ */

/* The beginning of the text that is one run: 2,000 units, never half a character. */
static size_t run_length(struct onerow_span text)
{
    size_t units = 0;
    size_t at = 0;
    while (at < text.len) {
        unsigned char byte = (unsigned char)text.data[at];
        size_t step = byte < 0x80 ? 1 : byte < 0xe0 ? 2 : byte < 0xf0 ? 3 : 4;
        units += step == 4 ? 2 : 1;
        if (units > OR_NOTION_TEXT_MAX) {
            break;
        }
        at += step;
    }
    return at < text.len ? at : text.len;
}

static void add_runs(struct or_buffer *json, struct onerow_span text)
{
    or_buffer_char(json, '[');
    for (size_t at = 0; at < text.len;) {
        struct onerow_span rest = {text.data + at, text.len - at};
        struct onerow_span run = {rest.data, run_length(rest)};
        or_buffer_text(json, at ? "," : "");
        or_buffer_text(json, "{\"type\":\"text\",\"text\":{\"content\":");
        or_buffer_json(json, run);
        or_buffer_text(json, "}}");
        at += run.len;
    }
    or_buffer_char(json, ']');
}

/* How many runs it takes; a character of two units may leave the last unit of a run empty. */
static size_t count_runs(struct onerow_span text)
{
    size_t n = 0;
    for (size_t at = 0; at < text.len; n++) {
        at += run_length((struct onerow_span){text.data + at, text.len - at});
    }
    return n;
}

static bool add_text(struct or_notion_encoding *e)
{
    if (e->value->kind != ONEROW_NULL && !or_notion_is_text(e->value)) {
        return or_notion_refuse_kind(e);
    }
    if (e->property->type == OR_NOTION_TITLE && or_notion_reserved(e->text)) {
        return or_notion_refuse(e, "begins with \"onerow:\" as only the protocol's own titles do");
    }
    size_t runs = count_runs(e->text);
    if (runs > OR_NOTION_LIST_MAX) {
        return or_notion_refuse(e, "is %zu characters long; Notion takes %u",
                                or_notion_units(e->text), OR_NOTION_LIST_MAX * OR_NOTION_TEXT_MAX);
    }
    add_runs(e->json, e->text);
    return true;
}

/* url, email and phone_number refuse empty text. */
static bool add_line(struct or_notion_encoding *e, size_t max)
{
    if (e->value->kind != ONEROW_NULL && !or_notion_is_text(e->value)) {
        return or_notion_refuse_kind(e);
    }
    if (!or_notion_check_units(e, e->text, max, "is")) {
        return false;
    }
    if (e->text.len) {
        or_buffer_json(e->json, e->text);
    } else {
        or_buffer_text(e->json, "null");
    }
    return true;
}

/* ---- numbers and words ---------------------------------------------------------------------- */

static size_t digits(struct onerow_span text, size_t at)
{
    while (at < text.len && text.data[at] >= '0' && text.data[at] <= '9') {
        at++;
    }
    return at;
}

/* JSON's own notation; leading zeros may pass, which some people's spreadsheets write. */
static bool is_number(struct onerow_span text)
{
    size_t start = text.len && text.data[0] == '-';
    size_t at = digits(text, start);
    bool good = at > start;
    if (good && at < text.len && text.data[at] == '.') {
        size_t end = digits(text, at + 1);
        good = end > at + 1;
        at = end;
    }
    if (good && at < text.len && (text.data[at] == 'e' || text.data[at] == 'E')) {
        at++;
        at += at < text.len && (text.data[at] == '-' || text.data[at] == '+');
        size_t end = digits(text, at);
        good = end > at;
        at = end;
    }
    return good && at == text.len;
}

static bool add_number(struct or_notion_encoding *e)
{
    char shown[OR_DOUBLE_TEXT];
    if (e->value->kind == ONEROW_NULL) {
        or_buffer_text(e->json, "null");
        return true;
    }
    if (e->value->kind != ONEROW_NUMBER &&
        (e->value->kind != ONEROW_UNTYPED || !is_number(e->text))) {
        return or_notion_refuse_kind(e);
    }
    struct onerow_span text = or_arena_copy(e->arena, e->text);
    if (!text.data) {
        e->no_memory = true;
        return false;
    }
    double number = or_double_parse(text.data);
    if (!isfinite(number) || !or_double_is(text, number)) {
        return or_notion_refuse(e,
                                "is a number that Notion cannot keep exactly; a text property can");
    }
    or_double_show(number == 0 ? 0 : number, shown);
    or_buffer_text(e->json, shown);
    return true;
}

/* An empty checkbox is not ticked: Notion has no third state. */
static bool add_checkbox(struct or_notion_encoding *e)
{
    static const char *const words[][2] = {{"false", "true"}, {"0", "1"}, {"no", "yes"}};
    bool truth = or_span_is(e->text, "true");
    bool known = e->value->kind == ONEROW_NULL || e->value->kind == ONEROW_BOOL;
    for (size_t i = 0; e->value->kind == ONEROW_UNTYPED && i < sizeof words / sizeof *words; i++) {
        for (size_t word = 0; word < 2; word++) {
            if (or_ascii_equal_fold(e->text, or_span(words[i][word]))) {
                known = true;
                truth = word;
            }
        }
    }
    if (!known) {
        return or_notion_refuse_kind(e);
    }
    or_buffer_text(e->json, truth ? "true" : "false");
    return true;
}

/* ---- a record ----------------------------------------------------------------------------------
 */

static bool add_value(struct or_notion_encoding *e)
{
    switch (e->property->type) {
    case OR_NOTION_TITLE:
    case OR_NOTION_RICH_TEXT: return add_text(e);
    case OR_NOTION_URL: return add_line(e, OR_NOTION_TEXT_MAX);
    case OR_NOTION_EMAIL:
    case OR_NOTION_PHONE: return add_line(e, OR_NOTION_SHORT_MAX);
    case OR_NOTION_NUMBER: return add_number(e);
    case OR_NOTION_CHECKBOX: return add_checkbox(e);
    case OR_NOTION_SELECT:
    case OR_NOTION_STATUS: return or_notion_add_choice(e);
    case OR_NOTION_MULTI_SELECT:
    case OR_NOTION_PEOPLE:
    case OR_NOTION_RELATION: return or_notion_add_list(e);
    case OR_NOTION_DATE: return or_notion_add_date(e);
    default: return or_notion_refuse(e, "cannot be written");
    }
}

static void add_name(const struct or_notion_table *table, uint16_t column, struct or_buffer *json)
{
    or_buffer_json(json, or_span(table->columns[column].name));
    or_buffer_printf(json, ":{\"%s\":", or_notion_trait(table->properties[column].type)->name);
}

bool or_notion_encode_value(const struct or_notion_table *table, const struct onerow_value *value,
                            struct or_buffer *json, struct or_arena *arena, const char **reason)
{
    struct or_notion_encoding e = {
        .property = &table->properties[value->column],
        .name = table->columns[value->column].name,
        .type = or_notion_trait(table->properties[value->column].type)->name,
        .value = value,
        .text = {value->data ? value->data : "", value->data ? value->len : 0},
        .json = json,
        .arena = arena};
    add_name(table, value->column, json);
    bool good = add_value(&e);
    or_buffer_char(json, '}');
    *reason = e.no_memory ? NULL : e.reason;
    return good && !e.no_memory;
}

bool or_notion_encode_empty(const struct or_notion_table *table, uint16_t column,
                            struct or_buffer *json)
{
    const struct onerow_value none = {.kind = ONEROW_NULL, .column = column};
    const char *reason = NULL;
    enum or_notion_type type = table->properties[column].type;
    return type != OR_NOTION_CHECKBOX && !table->columns[column].not_writable &&
           or_notion_encode_value(table, &none, json, NULL, &reason);
}

void or_notion_encode_text(const struct or_notion_table *table, uint16_t column,
                           struct onerow_span text, struct or_buffer *json)
{
    add_name(table, column, json);
    add_runs(json, text);
    or_buffer_char(json, '}');
}

/* A key is found again by a filter of one text, and Notion does not tell "" from nothing. */
static bool check_key(const struct or_notion_table *table, const struct onerow_value *part,
                      struct or_arena *arena, const char **reason)
{
    struct onerow_span text = {part->data, part->kind == ONEROW_NULL ? 0 : part->len};
    const char *name = table->columns[part->column].name;
    *reason = NULL;
    if (part->kind == ONEROW_TEXT && text.len == 0) {
        *reason = or_arena_printf(
            arena, "key column \"%s\" is empty, which Notion does not tell from nothing", name);
        return false;
    }
    if (or_notion_units(text) > OR_NOTION_TEXT_MAX) {
        *reason = or_arena_printf(arena,
                                  "key column \"%s\" is longer than %u characters, and cannot be "
                                  "looked for",
                                  name, OR_NOTION_TEXT_MAX);
        return false;
    }
    return true;
}

/* What the requests of a record may have around its payload: the key, and the other columns' names
 * with nothing in them. */
static size_t size_around(const struct or_notion_table *table, size_t key_size)
{
    size_t size = key_size + 1024U;
    for (size_t i = 0; i < table->base.n_columns; i++) {
        size += 2 * strlen(table->columns[i].name) + 40U;
    }
    return size;
}

/* The key is tried, too, and then left out. */
static bool encode_all(const struct or_notion_table *table, const struct onerow_record *record,
                       struct or_buffer *json, struct or_arena *arena, const char **reason)
{
    size_t n_key = table->spec.n_key;
    size_t key_size = 0;
    for (size_t i = 0; i < record->n_values; i++) {
        const struct onerow_value *value = &record->values[i];
        if (i < n_key && !check_key(table, value, arena, reason)) {
            return false;
        }
        or_buffer_text(json, i > n_key ? "," : "");
        if (!or_notion_encode_value(table, value, json, arena, reason)) {
            return false;
        }
        if (i < n_key) {
            key_size += json->len;
            or_buffer_clear(json);
            or_buffer_char(json, '{');
        }
    }
    or_buffer_char(json, '}');
    if (json->len + size_around(table, key_size) > OR_NOTION_BODY_MAX) {
        *reason =
            or_arena_printf(arena, "the record takes %zu bytes; Notion takes 500 KB in a request",
                            json->len + key_size);
        return false;
    }
    return true;
}

enum onerow_status or_notion_encode(struct onerow_store_table *base,
                                    const struct onerow_record *record, struct or_arena *arena,
                                    struct onerow_span *payload, const char **reason,
                                    struct onerow_error *error)
{
    struct or_buffer json;
    or_buffer_init(&json);
    or_buffer_char(&json, '{');
    *reason = NULL;
    bool good = encode_all(or_notion_table_of(base), record, &json, arena, reason);
    if (good && !json.failed) {
        *payload = or_arena_copy(arena, or_buffer_view(&json));
    }
    bool kept = good && !json.failed && payload->data;
    or_buffer_finish(&json);
    if (kept) {
        return ONEROW_OK;
    }
    return !good && *reason ? ONEROW_REJECTED : or_fail(error, ONEROW_NOMEM, "out of memory");
}
