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
#include "store/store_notion.h"

struct encoding {
    const struct or_notion_property *property;
    const char *name; /* of the column */
    const char *type; /* of the property */
    const struct onerow_value *value;
    struct onerow_span text; /* of the value */
    struct or_buffer *json;
    struct or_arena *arena;
    const char *reason;
    bool no_memory;
};

__attribute__((format(printf, 2, 3))) static bool refuse(struct encoding *e, const char *format,
                                                         ...)
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

static bool is_text(const struct onerow_value *value)
{
    return value->kind == ONEROW_TEXT || value->kind == ONEROW_UNTYPED;
}

/* The value is of another type than the property's. */
static bool refuse_kind(struct encoding *e)
{
    static const char *const KINDS[] = {
        [ONEROW_NULL] = "null",
        [ONEROW_BOOL] = "true or false",
        [ONEROW_NUMBER] = "a number",
        [ONEROW_TEXT] = "text",
        [ONEROW_JSON] = "a JSON object or array",
        [ONEROW_UNTYPED] = "text that does not fit",
    };
    return refuse(e, "is %s, and the property is of type %s", KINDS[e->value->kind], e->type);
}

static bool check_units(struct encoding *e, struct onerow_span text, size_t max, const char *what)
{
    size_t units = or_notion_units(text);
    return units <= max || refuse(e, "%s %zu characters; Notion takes %zu", what, units, max);
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

static bool add_text(struct encoding *e)
{
    if (e->value->kind != ONEROW_NULL && !is_text(e->value)) {
        return refuse_kind(e);
    }
    if (e->property->type == OR_NOTION_TITLE && or_notion_reserved(e->text)) {
        return refuse(e, "begins with \"onerow:\" as only the protocol's own titles do");
    }
    size_t runs = count_runs(e->text);
    if (runs > OR_NOTION_LIST_MAX) {
        return refuse(e, "is %zu characters long; Notion takes %u", or_notion_units(e->text),
                      OR_NOTION_LIST_MAX * OR_NOTION_TEXT_MAX);
    }
    add_runs(e->json, e->text);
    return true;
}

/* url, email and phone_number refuse empty text. */
static bool add_line(struct encoding *e, size_t max)
{
    if (e->value->kind != ONEROW_NULL && !is_text(e->value)) {
        return refuse_kind(e);
    }
    if (!check_units(e, e->text, max, "is")) {
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

static bool add_number(struct encoding *e)
{
    char shown[OR_DOUBLE_TEXT];
    if (e->value->kind == ONEROW_NULL) {
        or_buffer_text(e->json, "null");
        return true;
    }
    if (e->value->kind != ONEROW_NUMBER &&
        (e->value->kind != ONEROW_UNTYPED || !is_number(e->text))) {
        return refuse_kind(e);
    }
    struct onerow_span text = or_arena_copy(e->arena, e->text);
    if (!text.data) {
        e->no_memory = true;
        return false;
    }
    double number = or_double_parse(text.data);
    if (!isfinite(number) || !or_double_is(text, number)) {
        return refuse(e, "is a number that Notion cannot keep exactly; a text property can");
    }
    or_double_show(number == 0 ? 0 : number, shown);
    or_buffer_text(e->json, shown);
    return true;
}

/* An empty checkbox is not ticked: Notion has no third state. */
static bool add_checkbox(struct encoding *e)
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
        return refuse_kind(e);
    }
    or_buffer_text(e->json, truth ? "true" : "false");
    return true;
}

/* ---- options --------------------------------------------------------------------------------- */

static bool add_option(struct encoding *e, struct onerow_span name, bool commas)
{
    if (!check_units(e, name, OR_NOTION_OPTION_MAX, "names an option of")) {
        return false;
    }
    if (name.len == 0) {
        return refuse(e, "names an option without a name");
    }
    if (!commas && memchr(name.data, ',', name.len)) {
        return refuse(e, "names an option with a comma in it, which Notion refuses");
    }
    or_buffer_text(e->json, "{\"name\":");
    or_buffer_json(e->json, name);
    or_buffer_char(e->json, '}');
    return true;
}

static bool is_option(const struct or_notion_property *property, struct onerow_span name)
{
    for (size_t i = 0; i < property->n_options; i++) {
        if (or_span_is(name, property->options[i])) {
            return true;
        }
    }
    return false;
}

static bool refuse_status(struct encoding *e)
{
    struct onerow_span shown = or_span_cut(e->text, 80);
    struct or_buffer known;
    or_buffer_init(&known);
    for (size_t i = 0; i < e->property->n_options && known.len < 200; i++) {
        or_buffer_printf(&known, "%s\"%s\"", i ? ", " : "", e->property->options[i]);
    }
    (void)refuse(e, "is \"%.*s\", which is no option of this status (%s); Notion makes no new ones",
                 (int)shown.len, shown.data, or_buffer_cstr(&known));
    or_buffer_finish(&known);
    return false;
}

static bool add_choice(struct encoding *e)
{
    bool status = e->property->type == OR_NOTION_STATUS;
    if (e->value->kind != ONEROW_NULL && !is_text(e->value)) {
        return refuse_kind(e);
    }
    if (e->text.len == 0) {
        or_buffer_text(e->json, "null");
        return true;
    }
    if (status && !is_option(e->property, e->text)) {
        return refuse_status(e);
    }
    return add_option(e, e->text, status);
}

/* ---- lists -------------------------------------------------------------------------------------
 */

struct list {
    struct onerow_span items[OR_NOTION_LIST_MAX];
    size_t n;
};

static bool add_item(struct encoding *e, struct list *list, struct onerow_span item)
{
    for (size_t i = 0; i < list->n; i++) {
        if (or_span_equal(list->items[i], item)) {
            return true;
        }
    }
    if (list->n == OR_NOTION_LIST_MAX) {
        return refuse(e, "lists more than %u; Notion takes no more", OR_NOTION_LIST_MAX);
    }
    list->items[list->n++] = item;
    return true;
}

/* Ids come in any spelling, options as they are. */
static bool add_given(struct encoding *e, struct list *list, struct onerow_span item)
{
    char id[OR_NOTION_ID];
    if (e->property->type == OR_NOTION_MULTI_SELECT) {
        return add_item(e, list, item);
    }
    if (!or_notion_id(item, id)) {
        struct onerow_span shown = or_span_cut(item, 80);
        return refuse(e, "lists \"%.*s\", which is no id of Notion", (int)shown.len, shown.data);
    }
    struct onerow_span copy = or_arena_copy(e->arena, or_span(id));
    e->no_memory |= !copy.data;
    return copy.data && add_item(e, list, copy);
}

static bool read_array(struct encoding *e, struct list *list)
{
    yyjson_doc *doc = yyjson_read(e->text.data, e->text.len, YYJSON_READ_NUMBER_AS_RAW);
    yyjson_val *root = doc ? yyjson_doc_get_root(doc) : NULL;
    yyjson_val *item;
    size_t i;
    size_t n;
    bool good = yyjson_is_arr(root) || refuse_kind(e);
    yyjson_arr_foreach(root, i, n, item)
    {
        struct onerow_span text =
            or_arena_copy(e->arena, yyjson_is_str(item) ? or_notion_span(item) : OR_SPAN(""));
        good = good && (yyjson_is_str(item) || refuse(e, "is a list of texts or nothing"));
        e->no_memory |= !text.data;
        good = good && text.data && add_given(e, list, text);
    }
    yyjson_doc_free(doc);
    return good;
}

/* A CSV field: names or ids with commas between them, which neither can hold. */
static bool read_commas(struct encoding *e, struct list *list)
{
    for (size_t at = 0; at <= e->text.len;) {
        const char *start = e->text.data + at;
        const char *comma = memchr(start, ',', e->text.len - at);
        size_t len = comma ? (size_t)(comma - start) : e->text.len - at;
        struct onerow_span item = or_span_trim((struct onerow_span){start, len});
        if (item.len && !add_given(e, list, item)) {
            return false;
        }
        at += len + 1;
    }
    return true;
}

static bool read_list(struct encoding *e, struct list *list)
{
    bool array = e->text.len && e->text.data[0] == '[';
    switch ((enum onerow_kind)e->value->kind) {
    case ONEROW_NULL: return true;
    case ONEROW_JSON: return read_array(e, list);
    case ONEROW_TEXT: return e->text.len == 0 || add_given(e, list, e->text);
    case ONEROW_UNTYPED: return array ? read_array(e, list) : read_commas(e, list);
    default: return refuse_kind(e);
    }
}

static bool add_list(struct encoding *e)
{
    struct list list = {.n = 0};
    bool options = e->property->type == OR_NOTION_MULTI_SELECT;
    if (!read_list(e, &list)) {
        return false;
    }
    or_buffer_char(e->json, '[');
    for (size_t i = 0; i < list.n; i++) {
        or_buffer_text(e->json, i ? "," : "");
        if (options && !add_option(e, list.items[i], false)) {
            return false;
        }
        if (!options) {
            or_buffer_printf(e->json, "{\"id\":\"%.*s\"}", (int)list.items[i].len,
                             list.items[i].data);
        }
    }
    or_buffer_char(e->json, ']');
    return true;
}

/* ---- dates ------------------------------------------------------------------------------------
 */

/* A day, or an instant in UTC as fine as Notion keeps it. `local`: a zone is told beside it. */
static bool add_moment(struct encoding *e, struct onerow_span text, bool local)
{
    char canonical[OR_TIMESTAMP_MAX];
    size_t len = 0;
    if (or_date_check(text) == NULL) {
        or_buffer_json(e->json, text);
        return true;
    }
    const char *reason = or_timestamp_canonical(text, canonical, &len);
    if (reason) {
        return refuse(e, "is no date (YYYY-MM-DD) and no timestamp (YYYY-MM-DDTHH:MM:SS, then Z or "
                         "±HH:MM)");
    }
    if (len > sizeof "2024-02-29T12:00:00.123Z" - 1) {
        return refuse(e, "is finer than a millisecond, which Notion does not keep");
    }
    struct onerow_span moment = {canonical, local ? len - 1 : len};
    or_buffer_json(e->json, moment);
    return true;
}

static bool add_moment_of(struct encoding *e, yyjson_val *date, const char *name, bool local)
{
    yyjson_val *given = yyjson_obj_get(date, name);
    or_buffer_printf(e->json, "\"%s\":", name);
    if (yyjson_is_str(given)) {
        return add_moment(e, or_notion_span(given), local);
    }
    or_buffer_text(e->json, "null");
    return strcmp(name, "end") == 0 && (!given || yyjson_is_null(given)) ? true : refuse_kind(e);
}

static bool add_range_of(struct encoding *e, yyjson_val *date)
{
    yyjson_val *zone = yyjson_obj_get(date, "time_zone");
    bool local = yyjson_is_str(zone);
    size_t known = (yyjson_obj_get(date, "start") != NULL) + (yyjson_obj_get(date, "end") != NULL) +
                   (zone != NULL);
    if (!yyjson_is_obj(date) || yyjson_obj_size(date) != known ||
        (zone && !local && !yyjson_is_null(zone))) {
        return refuse(e, "is a date of other parts than start, end and time_zone");
    }
    or_buffer_char(e->json, '{');
    bool good = add_moment_of(e, date, "start", local);
    or_buffer_char(e->json, ',');
    good = good && add_moment_of(e, date, "end", local);
    if (local) {
        or_buffer_text(e->json, ",\"time_zone\":");
        or_buffer_json(e->json, or_notion_span(zone));
    }
    or_buffer_char(e->json, '}');
    return good;
}

static bool add_range(struct encoding *e)
{
    yyjson_doc *doc = yyjson_read(e->text.data, e->text.len, YYJSON_READ_NUMBER_AS_RAW);
    bool good = doc && add_range_of(e, yyjson_doc_get_root(doc));
    good = good || e->reason || refuse_kind(e);
    yyjson_doc_free(doc);
    return good && !e->reason;
}

static bool add_date(struct encoding *e)
{
    bool object = e->text.len && e->text.data[0] == '{';
    if (e->value->kind == ONEROW_NULL || (is_text(e->value) && e->text.len == 0)) {
        or_buffer_text(e->json, "null");
        return true;
    }
    if (e->value->kind == ONEROW_JSON || (e->value->kind == ONEROW_UNTYPED && object)) {
        return add_range(e);
    }
    if (!is_text(e->value)) {
        return refuse_kind(e);
    }
    or_buffer_text(e->json, "{\"start\":");
    bool good = add_moment(e, e->text, false);
    or_buffer_char(e->json, '}');
    return good;
}

/* ---- a record ----------------------------------------------------------------------------------
 */

static bool add_value(struct encoding *e)
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
    case OR_NOTION_STATUS: return add_choice(e);
    case OR_NOTION_MULTI_SELECT:
    case OR_NOTION_PEOPLE:
    case OR_NOTION_RELATION: return add_list(e);
    case OR_NOTION_DATE: return add_date(e);
    default: return refuse(e, "cannot be written");
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
    struct encoding e = {.property = &table->properties[value->column],
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

/* The key is tried, too, and then left out. */
static bool encode_all(const struct or_notion_table *table, const struct onerow_record *record,
                       struct or_buffer *json, struct or_arena *arena, const char **reason)
{
    size_t n_key = table->spec.n_key;
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
            or_buffer_clear(json);
            or_buffer_char(json, '{');
        }
    }
    or_buffer_char(json, '}');
    if (json->len > OR_NOTION_BODY_MAX - 64U * 1024U) { /* with room for the key */
        *reason =
            or_arena_printf(arena, "the record takes %zu bytes; Notion takes 500 KB", json->len);
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
