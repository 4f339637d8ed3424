/* SPDX-License-Identifier: Apache-2.0
 *
 * Values between onerow and SQLite, and the two functions that SQLite calls while it
 * writes.
 *
 * A number goes in as the integer or double that stands for it exactly; a decimal that
 * no double's shortest spelling equals is refused in INTEGER, NUMERIC and untyped
 * columns, because SQLite would drop its last digits without a word. A REAL column asks
 * for floating point and gets it; a TEXT column takes the digits as they were written.
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/number.h"
#include "base/status.h"
#include "base/text.h"
#include "store/store_sqlite.h"

#define INTEGER_DIGITS 18 /* that many fit 64 bits whatever they are */

/* ---- numbers ----------------------------------------------------------------- */

static bool parse_int64(const struct onerow_value *value, int64_t *number)
{
    char text[32];
    if (value->len == 0 || value->len >= sizeof text) {
        return false;
    }
    memcpy(text, value->data, value->len);
    text[value->len] = '\0';
    char *end = NULL;
    errno = 0;
    long long parsed = strtoll(text, &end, 10);
    *number = parsed;
    return !errno && *end == '\0';
}

static bool bind_double(const struct or_sqlite_table *table, sqlite3_stmt *stmt, int at,
                        const struct onerow_value *value, struct or_arena *arena,
                        const char **reason)
{
    const struct onerow_column *column = &table->base.columns[value->column];
    struct onerow_span text = or_arena_copy(arena, (struct onerow_span){value->data, value->len});
    if (!text.data) {
        *reason = or_sqlite_no_memory;
        return false;
    }
    double number = or_double_parse(text.data);
    bool floating = table->affinity[value->column] == OR_AFFINITY_REAL;
    if (floating ? !isfinite(number) : !or_double_is(text, number)) {
        *reason = or_arena_printf(arena,
                                  "\"%s\": the number does not fit a column of type %s exactly; a "
                                  "TEXT column keeps it",
                                  column->name, *column->declared ? column->declared : "(none)");
        return false;
    }
    return sqlite3_bind_double(stmt, at, number) == SQLITE_OK;
}

const char or_sqlite_no_memory[] = "could not be stored: out of memory";

/* ---- binding ------------------------------------------------------------------ */

static bool bind_text(sqlite3_stmt *stmt, int at, const char *data, size_t len)
{
    return sqlite3_bind_text64(stmt, at, data ? data : "", len, SQLITE_STATIC, SQLITE_UTF8) ==
           SQLITE_OK;
}

static bool bind_number(const struct or_sqlite_table *table, sqlite3_stmt *stmt, int at,
                        const struct onerow_value *value, struct or_arena *arena,
                        const char **reason)
{
    int64_t number = 0;
    if (table->affinity[value->column] == OR_AFFINITY_TEXT) {
        return bind_text(stmt, at, value->data, value->len);
    }
    if (value->len <= INTEGER_DIGITS + 2 && parse_int64(value, &number)) {
        return sqlite3_bind_int64(stmt, at, number) == SQLITE_OK;
    }
    return bind_double(table, stmt, at, value, arena, reason);
}

/* Passes over digits and counts them. */
static size_t skip_digits(struct onerow_span text, size_t *at)
{
    size_t first = *at;
    while (*at < text.len && text.data[*at] >= '0' && text.data[*at] <= '9') {
        (*at)++;
    }
    return *at - first;
}

static void skip_sign(struct onerow_span text, size_t *at)
{
    *at += *at < text.len && (text.data[*at] == '-' || text.data[*at] == '+');
}

/* Whether SQLite would take this text for a number, where the column prefers numbers. */
static bool spells_number(struct onerow_span text)
{
    size_t at = 0;
    skip_sign(text, &at);
    size_t digits = skip_digits(text, &at);
    if (at < text.len && text.data[at] == '.') {
        at++;
        digits += skip_digits(text, &at);
    }
    if (digits && at < text.len && (text.data[at] == 'e' || text.data[at] == 'E')) {
        at++;
        skip_sign(text, &at);
        digits = skip_digits(text, &at);
    }
    return digits && at == text.len;
}

static bool refuse_spelling(const struct or_sqlite_table *table, const struct onerow_value *value,
                            struct or_arena *arena, const char **reason)
{
    const struct onerow_column *column = &table->base.columns[value->column];
    *reason = or_arena_printf(arena,
                              "\"%s\": SQLite would keep the text as a number in a column of type "
                              "%s and lose its spelling; a TEXT column keeps it",
                              column->name, *column->declared ? column->declared : "(none)");
    return false;
}

/* Text goes in as it is; where SQLite would turn it into a number, only if no digit is lost. Text
 * of JSON must keep its spelling, too ("0012" is no 12); a CSV field is a number where its column
 * is. */
static bool bind_any_text(const struct or_sqlite_table *table, sqlite3_stmt *stmt, int at,
                          const struct onerow_value *value, struct or_arena *arena,
                          const char **reason)
{
    enum or_affinity affinity = table->affinity[value->column];
    enum onerow_type type = table->base.columns[value->column].type;
    struct onerow_span trimmed = or_span_trim((struct onerow_span){value->data, value->len});
    bool kept = affinity == OR_AFFINITY_TEXT || affinity == OR_AFFINITY_BLOB;
    if (kept || !spells_number(trimmed)) {
        return bind_text(stmt, at, value->data, value->len);
    }
    bool numeric = value->kind == ONEROW_UNTYPED && type != ONEROW_TYPE_DATE &&
                   type != ONEROW_TYPE_TIMESTAMP && type != ONEROW_TYPE_UUID;
    if (numeric) {
        struct onerow_value number = *value;
        number.data = trimmed.data;
        number.len = (uint32_t)trimmed.len;
        return bind_number(table, stmt, at, &number, arena, reason);
    }
    int64_t number = 0;
    char spelled[32] = "";
    if (value->len <= INTEGER_DIGITS + 2 && parse_int64(value, &number)) {
        snprintf(spelled, sizeof spelled, "%lld", (long long)number);
    }
    if (strlen(spelled) != value->len || memcmp(spelled, value->data, value->len) != 0) {
        return refuse_spelling(table, value, arena, reason);
    }
    return bind_text(stmt, at, value->data, value->len);
}

/* Whether SQLite takes the text for JSON; *no_memory: that cannot be told. */
static bool is_json(const struct or_sqlite_table *table, struct onerow_span text, bool *no_memory)
{
    struct or_sqlite_store *store = or_sqlite_store_of(table->base.store);
    if (!store->json_valid &&
        sqlite3_prepare_v3(store->db, "SELECT json_valid(?1)", -1, SQLITE_PREPARE_PERSISTENT,
                           &store->json_valid, NULL) != SQLITE_OK) {
        *no_memory = true;
        return false;
    }
    bool bound = bind_text(store->json_valid, 1, text.data, text.len);
    int code = bound ? sqlite3_step(store->json_valid) : SQLITE_NOMEM;
    bool valid = code == SQLITE_ROW && sqlite3_column_int(store->json_valid, 0);
    *no_memory = code != SQLITE_ROW;
    sqlite3_reset(store->json_valid);
    return valid;
}

/* A JSON column holds JSON: text goes in quoted, so that it comes out as text again. */
static bool bind_quoted(sqlite3_stmt *stmt, int at, const struct onerow_value *value)
{
    struct or_buffer json;
    or_buffer_init(&json);
    or_buffer_json(&json, (struct onerow_span){value->data, value->len});
    bool bound = !json.failed && sqlite3_bind_text64(stmt, at, json.data, json.len,
                                                     SQLITE_TRANSIENT, SQLITE_UTF8) == SQLITE_OK;
    or_buffer_finish(&json);
    return bound;
}

static bool bind_json(const struct or_sqlite_table *table, sqlite3_stmt *stmt, int at,
                      const struct onerow_value *value, struct or_arena *arena, const char **reason)
{
    if (value->kind == ONEROW_NUMBER) {
        return bind_number(table, stmt, at, value, arena, reason);
    }
    bool no_memory = false;
    bool quote = value->kind == ONEROW_TEXT ||
                 (value->kind == ONEROW_UNTYPED &&
                  !is_json(table, (struct onerow_span){value->data, value->len}, &no_memory));
    if (no_memory) {
        *reason = or_sqlite_no_memory;
        return false;
    }
    return quote ? bind_quoted(stmt, at, value) : bind_text(stmt, at, value->data, value->len);
}

static bool is_word(const struct onerow_value *value, const char *word)
{
    return or_ascii_equal_fold((struct onerow_span){value->data, value->len}, or_span(word));
}

/* A CSV field takes the column's type where it spells a value of it. */
static bool bind_untyped(const struct or_sqlite_table *table, sqlite3_stmt *stmt, int at,
                         const struct onerow_value *value, struct or_arena *arena,
                         const char **reason)
{
    enum onerow_type type = table->base.columns[value->column].type;
    if (type == ONEROW_TYPE_BOOL && (is_word(value, "true") || is_word(value, "false"))) {
        return sqlite3_bind_int(stmt, at, is_word(value, "true")) == SQLITE_OK;
    }
    return bind_any_text(table, stmt, at, value, arena, reason);
}

static bool bind_any(const struct or_sqlite_table *table, sqlite3_stmt *stmt, int at,
                     const struct onerow_value *value, struct or_arena *arena, const char **reason)
{
    bool truth = value->len == 4; /* "true" */
    if (value->kind == ONEROW_NULL) {
        return sqlite3_bind_null(stmt, at) == SQLITE_OK;
    }
    if (table->base.columns[value->column].type == ONEROW_TYPE_JSON) {
        return bind_json(table, stmt, at, value, arena, reason);
    }
    switch ((enum onerow_kind)value->kind) {
    case ONEROW_NULL: break;
    case ONEROW_NUMBER: return bind_number(table, stmt, at, value, arena, reason);
    case ONEROW_UNTYPED: return bind_untyped(table, stmt, at, value, arena, reason);
    case ONEROW_BOOL:
        return table->affinity[value->column] == OR_AFFINITY_TEXT
                   ? bind_text(stmt, at, value->data, value->len)
                   : sqlite3_bind_int(stmt, at, truth) == SQLITE_OK;
    case ONEROW_TEXT: return bind_any_text(table, stmt, at, value, arena, reason);
    case ONEROW_JSON: return bind_text(stmt, at, value->data, value->len);
    }
    return false;
}

bool or_sqlite_bind(const struct or_sqlite_table *table, sqlite3_stmt *stmt, int at,
                    const struct onerow_value *value, struct or_arena *arena, const char **reason)
{
    *reason = NULL;
    if (bind_any(table, stmt, at, value, arena, reason)) {
        return true;
    }
    bool too_big =
        value->len > (uint32_t)sqlite3_limit(sqlite3_db_handle(stmt), SQLITE_LIMIT_LENGTH, -1);
    if (!*reason) {
        *reason = too_big ? "the value is too big for SQLite" : or_sqlite_no_memory;
    }
    return false;
}

/* ---- reading ------------------------------------------------------------------- */

static void add_double(struct or_buffer *json, double number)
{
    char shown[OR_DOUBLE_TEXT];
    if (!isfinite(number)) {
        or_buffer_text(json, "null");
        return;
    }
    or_double_show(number, shown);
    or_buffer_text(json, shown);
}

static void add_blob(struct or_buffer *json, sqlite3_value *value)
{
    const unsigned char *data = sqlite3_value_blob(value);
    int len = sqlite3_value_bytes(value);
    or_buffer_text(json, "\"\\\\x");
    for (int i = 0; i < len; i++) {
        or_buffer_printf(json, "%02x", data[i]);
    }
    or_buffer_char(json, '"');
}

void or_sqlite_json(const struct or_sqlite_table *table, size_t column, sqlite3_value *value,
                    struct or_buffer *json)
{
    enum onerow_type type = table->base.columns[column].type;
    switch (sqlite3_value_type(value)) {
    case SQLITE_INTEGER: {
        int64_t number = sqlite3_value_int64(value);
        if (type == ONEROW_TYPE_BOOL && (number == 0 || number == 1)) {
            or_buffer_text(json, number ? "true" : "false");
        } else {
            or_buffer_printf(json, "%lld", (long long)number);
        }
        break;
    }
    case SQLITE_FLOAT: add_double(json, sqlite3_value_double(value)); break;
    case SQLITE_TEXT: {
        const char *text = (const char *)sqlite3_value_text(value);
        struct onerow_span span = {text ? text : "", (size_t)sqlite3_value_bytes(value)};
        bool no_memory = !text;
        if (type == ONEROW_TYPE_JSON && text && is_json(table, span, &no_memory)) {
            or_buffer_span(json, span);
        } else if (no_memory) {
            json->failed = true;
        } else {
            or_buffer_json(json, span);
        }
        break;
    }
    case SQLITE_BLOB: add_blob(json, value); break;
    default: or_buffer_text(json, "null");
    }
}

struct onerow_value or_sqlite_value(sqlite3_value *value, char digits[32])
{
    struct onerow_value out = {.kind = ONEROW_TEXT};
    switch (sqlite3_value_type(value)) {
    case SQLITE_NULL: out.kind = ONEROW_NULL; return out;
    case SQLITE_INTEGER:
        out.kind = ONEROW_NUMBER;
        out.len = (uint32_t)snprintf(digits, 32, "%lld", (long long)sqlite3_value_int64(value));
        out.data = digits;
        return out;
    case SQLITE_FLOAT:
        out.kind = ONEROW_NUMBER;
        or_double_show(sqlite3_value_double(value), digits);
        out.len = (uint32_t)strlen(digits);
        out.data = digits;
        return out;
    default:
        out.kind = sqlite3_value_type(value) == SQLITE_BLOB ? ONEROW_JSON : ONEROW_TEXT;
        out.data = (const char *)sqlite3_value_text(value);
        out.len = (uint32_t)sqlite3_value_bytes(value);
        return out;
    }
}

/* ---- functions ------------------------------------------------------------------ */

static bool same_image(sqlite3_value *a, sqlite3_value *b)
{
    int type = sqlite3_value_type(a);
    if (type != sqlite3_value_type(b)) {
        return false;
    }
    switch (type) {
    case SQLITE_INTEGER: return sqlite3_value_int64(a) == sqlite3_value_int64(b);
    case SQLITE_FLOAT: {
        double x = sqlite3_value_double(a);
        double y = sqlite3_value_double(b);
        return memcmp(&x, &y, sizeof x) == 0; /* NOLINT: the images are compared */
    }
    case SQLITE_NULL: return true;
    default: {
        const void *x = sqlite3_value_blob(a);
        const void *y = sqlite3_value_blob(b);
        int len = sqlite3_value_bytes(a);
        return len == sqlite3_value_bytes(b) && (len == 0 || memcmp(x, y, (size_t)len) == 0);
    }
    }
}

/* In an UPDATE the new value has not met its column yet; give it the column's affinity. */
static void convert(sqlite3_value *value, char affinity)
{
    if (affinity == OR_AFFINITY_INTEGER || affinity == OR_AFFINITY_NUMERIC ||
        affinity == OR_AFFINITY_REAL) {
        sqlite3_value_numeric_type(value);
    }
}

static bool same_number(sqlite3_value *a, sqlite3_value *b, char affinity)
{
    bool numbers =
        (sqlite3_value_type(a) == SQLITE_FLOAT && sqlite3_value_type(b) == SQLITE_INTEGER) ||
        (sqlite3_value_type(a) == SQLITE_INTEGER && sqlite3_value_type(b) == SQLITE_FLOAT);
    return numbers && affinity != OR_AFFINITY_BLOB && affinity != OR_AFFINITY_TEXT &&
           sqlite3_value_double(a) == sqlite3_value_double(b) &&
           (double)sqlite3_value_int64(a) == sqlite3_value_double(a);
}

/* onerow_differs(affinities, old, new, old, new, …): whether any pair differs as an image. The
 * first argument is '' in an upsert, where SQLite has converted the new values already. */
static void differs(sqlite3_context *context, int n, sqlite3_value **arguments)
{
    const char *affinities = (const char *)sqlite3_value_text(arguments[0]);
    size_t known = (size_t)sqlite3_value_bytes(arguments[0]);
    int differ = 0;
    for (int i = 1; i + 1 < n && !differ; i += 2) {
        size_t at = (size_t)(i - 1) / 2;
        char affinity = at < known ? affinities[at] : OR_AFFINITY_BLOB;
        convert(arguments[i + 1], affinity);
        differ = !same_image(arguments[i], arguments[i + 1]) &&
                 !same_number(arguments[i], arguments[i + 1], affinity);
    }
    sqlite3_result_int(context, differ);
}

/* newest: the later arrival wins when equal, NULL loses. */
static bool is_outdated(const struct or_sqlite_table *table, sqlite3_value *old, sqlite3_value *new)
{
    char old_digits[32];
    char new_digits[32];
    if (table->spec.policy != ONEROW_POLICY_NEWEST || sqlite3_value_type(old) == SQLITE_NULL) {
        return false;
    }
    struct onerow_value stored = or_sqlite_value(old, old_digits);
    struct onerow_value given = or_sqlite_value(new, new_digits);
    return table->spec.compare_order(&given, &stored) < 0;
}

/* onerow_seen(id, old order, new order, differing columns): called with the row that is there;
 * notes it and says whether it is to be written. */
static void seen(sqlite3_context *context, int n, sqlite3_value **arguments)
{
    (void)n;
    struct or_sqlite_store *store = sqlite3_user_data(context);
    const struct or_sqlite_table *table = store->active;
    struct or_sqlite_sight *sight = &store->sight;
    sight->there = true;
    sight->has_id = sqlite3_value_type(arguments[0]) == SQLITE_INTEGER;
    sight->id = sqlite3_value_int64(arguments[0]);
    sight->differs = sqlite3_value_int(arguments[3]) != 0;
    sight->outdated = is_outdated(table, arguments[1], arguments[2]);
    bool may = table->spec.policy != ONEROW_POLICY_KEEP && !sight->outdated;
    bool touch = table->spec.touch == ONEROW_TOUCH_WRITE;
    sqlite3_result_int(context, may && (sight->differs || touch));
}

enum onerow_status or_sqlite_functions(struct or_sqlite_store *store, struct onerow_error *error)
{
    int code =
        sqlite3_create_function_v2(store->db, "onerow_seen", 4, SQLITE_UTF8 | SQLITE_DIRECTONLY,
                                   store, seen, NULL, NULL, NULL);
    if (code == SQLITE_OK) {
        code = sqlite3_create_function_v2(store->db, "onerow_differs", -1,
                                          SQLITE_UTF8 | SQLITE_DIRECTONLY, store, differs, NULL,
                                          NULL, NULL);
    }
    return code == SQLITE_OK ? ONEROW_OK : or_sqlite_fail(store, code, "opening", error);
}
