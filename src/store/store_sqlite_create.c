/* SPDX-License-Identifier: Apache-2.0
 *
 * Finding a table by its configured place, and making one with its unique index.
 *
 * Types of a table made here. Key columns whose canonical form is text (decimal, date,
 * timestamp, uuid) are declared "DECIMAL TEXT", "DATE TEXT", …: text affinity by SQLite's
 * rules, so that the store's equality is that of the canonical form, and a name by which
 * later runs know the type again.
 */
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "base/text.h"
#include "store/spec.h"
#include "store/store_sqlite.h"

/* ---- places ------------------------------------------------------------------ */

/* Whether the schema (NULL: any) has such a table; *found receives the schema's own name. ABSENT:
 * it has none. */
static enum onerow_status find_table(struct or_sqlite_store *store, const char *schema,
                                     const char *name, struct or_arena *arena, const char **found,
                                     struct onerow_error *error)
{
    sqlite3_stmt *stmt = NULL;
    const char *sql = "SELECT schema FROM pragma_table_list WHERE name = ?1 COLLATE NOCASE AND "
                      "(?2 IS NULL OR schema = ?2 COLLATE NOCASE) ORDER BY schema <> 'main'";
    enum onerow_status status = or_sqlite_prepare(store, sql, &stmt, error);
    if (status != ONEROW_OK) {
        return status;
    }
    sqlite3_bind_text(stmt, 1, name, -1, SQLITE_STATIC);
    sqlite3_bind_text(stmt, 2, schema, -1, SQLITE_STATIC);
    int code = sqlite3_step(stmt);
    if (code == SQLITE_ROW) {
        const char *text = (const char *)sqlite3_column_text(stmt, 0);
        const char *kept = text ? or_arena_copy(arena, or_span(text)).data : NULL;
        *found = kept ? kept : *found;
        status = kept ? ONEROW_OK : or_fail(error, ONEROW_NOMEM, "out of memory");
    } else {
        status = code == SQLITE_DONE ? ONEROW_ABSENT
                                     : or_sqlite_fail(store, code, "reading the schema", error);
    }
    sqlite3_finalize(stmt);
    return status;
}

static bool has_schema(struct or_sqlite_store *store, const char *schema)
{
    const char *name = NULL;
    for (int i = 0; (name = sqlite3_db_name(store->db, i)); i++) {
        if (or_ascii_equal_fold(or_span(name), or_span(schema))) {
            return true;
        }
    }
    return false;
}

enum onerow_status or_sqlite_locate(struct or_sqlite_store *store, const char *location,
                                    struct or_arena *arena, const char **schema, const char **name,
                                    struct onerow_error *error)
{
    *schema = "main";
    *name = location;
    enum onerow_status status = find_table(store, NULL, location, arena, schema, error);
    if (status != ONEROW_ABSENT) {
        return status; /* OK: the location as a whole is a name, dots and all */
    }
    struct or_location_part parts[2];
    status = or_spec_location(location, arena, parts, error);
    if (status != ONEROW_OK) {
        return status;
    }
    const char *first = parts[0].text;
    const char *second = parts[1].text;
    if (second && !has_schema(store, first)) {
        if (location[0] != '"') {
            return ONEROW_OK; /* a plain name with a dot in it */
        }
        return or_fail(error, ONEROW_CONFIG, "%s: there is no schema \"%s\"", store->path, first);
    }
    *name = second ? second : first;
    *schema = second ? first : "main";
    status = find_table(store, second ? first : NULL, *name, arena, schema, error);
    return status == ONEROW_ABSENT ? ONEROW_OK : status; /* missing as yet: it may be made */
}

/* ---- making ------------------------------------------------------------------ */

static const char *declare(enum onerow_type type, bool in_key)
{
    switch (type) {
    case ONEROW_TYPE_INT: return "INTEGER";
    case ONEROW_TYPE_DECIMAL: return in_key ? "DECIMAL TEXT" : "NUMERIC";
    case ONEROW_TYPE_BOOL: return "BOOLEAN";
    case ONEROW_TYPE_DATE: return in_key ? "DATE TEXT" : "DATE";
    case ONEROW_TYPE_TIMESTAMP: return in_key ? "TIMESTAMP TEXT" : "TIMESTAMP";
    case ONEROW_TYPE_UUID: return in_key ? "UUID TEXT" : "UUID";
    case ONEROW_TYPE_JSON: return "JSON";
    case ONEROW_TYPE_TEXT:
    case ONEROW_TYPE_UNKNOWN: break;
    }
    return "TEXT";
}

static void add_column(struct or_buffer *sql, const struct onerow_table_spec *spec,
                       const struct onerow_new_column *column, struct or_arena *arena)
{
    const struct onerow_key_column *key = or_spec_key_column(spec, column->name);
    enum onerow_type type = key && key->type != ONEROW_TYPE_UNKNOWN ? key->type : column->type;
    const char *name = or_arena_copy(arena, column->name).data;
    or_sqlite_quote(sql, name ? name : "");
    sql->failed |= !name;
    or_buffer_printf(sql, " %s%s", declare(type, key != NULL),
                     key && !key->nulls_equal ? " NOT NULL" : "");
}

static void table_sql(struct or_buffer *sql, const struct onerow_table_spec *spec,
                      const char *schema, const char *name, const struct onerow_new_column *columns,
                      size_t n, struct or_arena *arena)
{
    or_buffer_text(sql, "CREATE TABLE ");
    or_sqlite_quote(sql, schema);
    or_buffer_char(sql, '.');
    or_sqlite_quote(sql, name);
    for (size_t i = 0; i < n; i++) {
        or_buffer_text(sql, i ? ", " : " (");
        add_column(sql, spec, &columns[i], arena);
    }
    if (spec->touch_column && !or_spec_key_column(spec, or_span(spec->touch_column))) {
        bool given = false;
        for (size_t i = 0; i < n; i++) {
            given |= or_span_is(columns[i].name, spec->touch_column);
        }
        if (!given) {
            or_buffer_text(sql, ", ");
            or_sqlite_quote(sql, spec->touch_column);
            or_buffer_text(sql, " TIMESTAMP");
        }
    }
    or_buffer_text(sql, ");");
}

void or_sqlite_index_sql(struct or_buffer *sql, const char *schema, const char *name,
                         const struct onerow_key_column *key, size_t n, const bool *nullable)
{
    struct or_buffer index;
    or_buffer_init(&index);
    or_buffer_printf(&index, "onerow_%s_key", name);
    or_buffer_text(sql, "CREATE UNIQUE INDEX ");
    or_sqlite_quote(sql, schema);
    or_buffer_char(sql, '.');
    or_sqlite_quote(sql, or_buffer_cstr(&index));
    sql->failed |= index.failed;
    or_buffer_text(sql, " ON ");
    or_sqlite_quote(sql, name);
    or_buffer_text(sql, " (");
    for (size_t i = 0; i < n; i++) {
        or_buffer_text(sql, i ? ", " : "");
        or_sqlite_quote(sql, key[i].name);
        /* NOLINTNEXTLINE(clang-analyzer-core.uninitialized.Branch): the caller filled n of them */
        if (key[i].nulls_equal && nullable[i]) {
            or_buffer_text(sql, " IS NULL, ifnull(");
            or_sqlite_quote(sql, key[i].name);
            or_buffer_text(sql, ", 0)");
        }
    }
    or_buffer_text(sql, ");");
    or_buffer_finish(&index);
}

static enum onerow_status execute(struct or_sqlite_store *store, const char *sql,
                                  struct onerow_error *error)
{
    int code = sqlite3_exec(store->db, sql, NULL, NULL, NULL);
    if (code == SQLITE_OK) {
        return ONEROW_OK;
    }
    enum onerow_status status = or_sqlite_fail(store, code, "making the table", error);
    return status == ONEROW_REJECTED
               ? or_fail(error, ONEROW_CONFIG, "%s: %s\n  the statement was: %s", store->path,
                         sqlite3_errmsg(store->db), sql)
               : status;
}

/* Within a transaction: the table is still missing, so make it. */
static enum onerow_status make(struct or_sqlite_store *store, const struct onerow_table_spec *spec,
                               const struct onerow_new_column *columns, size_t n,
                               struct or_arena *arena, struct or_buffer *sql,
                               struct onerow_error *error)
{
    const char *schema = NULL;
    const char *name = NULL;
    enum onerow_status status =
        or_sqlite_locate(store, spec->location, arena, &schema, &name, error);
    const char *found = NULL;
    if (status == ONEROW_OK) {
        status = find_table(store, schema, name, arena, &found, error);
    }
    if (status != ONEROW_ABSENT) {
        return status;
    }
    bool nullable[ONEROW_KEY_COLUMNS_MAX];
    for (size_t i = 0; i < spec->n_key; i++) {
        nullable[i] = spec->key[i].nulls_equal;
    }
    table_sql(sql, spec, schema, name, columns, n, arena);
    or_buffer_char(sql, '\n');
    or_sqlite_index_sql(sql, schema, name, spec->key, spec->n_key, nullable);
    if (sql->failed) {
        return or_fail(error, ONEROW_NOMEM, "out of memory");
    }
    return execute(store, or_buffer_cstr(sql), error);
}

enum onerow_status or_sqlite_table_create(struct onerow_store *base,
                                          const struct onerow_table_spec *spec,
                                          const struct onerow_new_column *columns, size_t n,
                                          char **sql, struct onerow_error *error)
{
    struct or_sqlite_store *store = or_sqlite_store_of(base);
    struct or_arena arena;
    struct or_buffer text;
    or_arena_init(&arena);
    or_buffer_init(&text);
    enum onerow_status status = base->type->begin(base, NULL, error);
    if (status == ONEROW_OK) {
        status = make(store, spec, columns, n, &arena, &text, error);
        if (status == ONEROW_OK) {
            status = base->type->commit(base, error);
        }
        base->type->rollback(base);
    }
    if (sql) {
        *sql = status == ONEROW_OK && text.len ? or_buffer_steal(&text) : NULL;
    }
    or_buffer_finish(&text);
    or_arena_finish(&arena);
    return status;
}
