/* SPDX-License-Identifier: Apache-2.0
 *
 * Finding a table by its configured place, and making one with its key.
 *
 * A table is made by one CREATE TABLE IF NOT EXISTS with the key inside, so that no moment
 * has the table without it. Two that make it at once meet in the system catalogs, where the
 * later one gets a unique violation instead of the notice it hoped for: after any failure
 * the table is looked for once more, and being there is all that was wanted.
 */
#include <string.h>

#include "base/status.h"
#include "base/text.h"
#include "store/spec.h"
#include "store/store_postgres_schema.h"

/* ---- SQL text ------------------------------------------------------------------ */

void or_postgres_literal(struct or_buffer *sql, const char *text)
{
    or_buffer_text(sql, strchr(text, '\\') ? "E'" : "'");
    or_buffer_doubled(sql, text, "'\\");
    or_buffer_char(sql, '\'');
}

/* ---- places ---------------------------------------------------------------------- */

static const char *fold(struct or_arena *arena, struct onerow_span text)
{
    struct onerow_span copy = or_arena_copy(arena, text);
    char *folded = or_arena_bytes(arena, text.len + 1);
    for (size_t i = 0; copy.data && folded && i <= copy.len; i++) {
        char c = copy.data[i];
        folded[i] = (char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
    }
    return copy.data ? folded : NULL;
}

enum onerow_status or_postgres_read_place(const char *location, struct or_arena *arena,
                                          struct or_postgres_place *place,
                                          struct onerow_error *error)
{
    struct or_location_part parts[2];
    const char *folded[2] = {NULL, NULL};
    enum onerow_status status = or_spec_location(location, arena, parts, error);
    for (size_t i = 0; i < 2 && status == ONEROW_OK && parts[i].text; i++) {
        folded[i] = parts[i].quoted ? parts[i].text : fold(arena, or_span(parts[i].text));
        status = folded[i] ? ONEROW_OK : or_fail(error, ONEROW_NOMEM, "out of memory");
    }
    *place = parts[1].text
                 ? (struct or_postgres_place){parts[0].text, parts[1].text, folded[0], folded[1]}
                 : (struct or_postgres_place){.name = parts[0].text, .folded_name = folded[0]};
    return status;
}

/* ---- making ------------------------------------------------------------------------ */

struct make {
    struct or_postgres_store *store;
    const struct onerow_table_spec *spec;
    struct or_arena arena;
    struct or_postgres_place place;
    const char *schema; /* that the new table will be in */
    struct onerow_error *error;
};

const char *or_postgres_declare(enum onerow_type type)
{
    switch (type) {
    case ONEROW_TYPE_INT: return "BIGINT";
    case ONEROW_TYPE_DECIMAL: return "NUMERIC";
    case ONEROW_TYPE_BOOL: return "BOOLEAN";
    case ONEROW_TYPE_DATE: return "DATE";
    case ONEROW_TYPE_TIMESTAMP: return "TIMESTAMPTZ";
    case ONEROW_TYPE_UUID: return "UUID";
    case ONEROW_TYPE_JSON: return "JSONB";
    case ONEROW_TYPE_TEXT:
    case ONEROW_TYPE_UNKNOWN: break;
    }
    return "TEXT";
}

static bool nulls_are_keys(const struct onerow_table_spec *spec)
{
    bool any = false;
    for (size_t i = 0; i < spec->n_key; i++) {
        any |= spec->key[i].nulls_equal;
    }
    return any;
}

static void add_column(struct or_buffer *sql, struct make *make,
                       const struct onerow_new_column *column)
{
    const struct onerow_key_column *key = or_spec_key_column(make->spec, column->name);
    enum onerow_type type = key && key->type != ONEROW_TYPE_UNKNOWN ? key->type : column->type;
    const char *name = or_arena_copy(&make->arena, column->name).data;
    or_postgres_quote(sql, name ? name : "");
    sql->failed |= !name;
    or_buffer_printf(sql, " %s%s, ", or_postgres_declare(type),
                     key && !key->nulls_equal ? " NOT NULL" : "");
}

/* The column of updated_at, where the records do not bring it along. */
static void add_touch_column(struct or_buffer *sql, const struct onerow_table_spec *spec,
                             const struct onerow_new_column *columns, size_t n)
{
    if (!spec->touch_column || or_spec_key_column(spec, or_span(spec->touch_column))) {
        return;
    }
    for (size_t i = 0; i < n; i++) {
        if (or_span_is(columns[i].name, spec->touch_column)) {
            return;
        }
    }
    or_postgres_quote(sql, spec->touch_column);
    or_buffer_text(sql, " TIMESTAMPTZ, ");
}

static void table_sql(struct or_buffer *sql, struct make *make,
                      const struct onerow_new_column *columns, size_t n)
{
    const struct onerow_table_spec *spec = make->spec;
    or_buffer_text(sql, "CREATE TABLE IF NOT EXISTS ");
    or_postgres_quote(sql, make->schema);
    or_buffer_char(sql, '.');
    or_postgres_quote(sql, make->place.folded_name);
    or_buffer_text(sql, " (");
    for (size_t i = 0; i < n; i++) {
        add_column(sql, make, &columns[i]);
    }
    add_touch_column(sql, spec, columns, n);
    or_buffer_text(sql, nulls_are_keys(spec) ? "UNIQUE NULLS NOT DISTINCT (" : "PRIMARY KEY (");
    for (size_t i = 0; i < spec->n_key; i++) {
        or_buffer_text(sql, i ? ", " : "");
        or_postgres_quote(sql, spec->key[i].name);
    }
    or_buffer_text(sql, "));");
}

/* Whether the table is there by now; if not, which schema it would go to. */
static enum onerow_status look_for(struct make *make, bool *there)
{
    static const char sql[] =
        "SELECT EXISTS (SELECT 1" OR_POSTGRES_FIND "), CASE WHEN $1::text IS NULL THEN "
        "pg_catalog.current_schema()::text ELSE (SELECT s.nspname::text FROM "
        "pg_catalog.pg_namespace AS s WHERE s.nspname IN ($1::text, $3::text) ORDER BY s.nspname "
        "<> $1::text LIMIT 1) END";
    const char *const params[] = OR_POSTGRES_PLACE_PARAMS(make->place);
    PGresult *result = NULL;
    enum onerow_status status = or_postgres_ask(make->store, sql, params, 4, &result, make->error);
    if (status != ONEROW_OK) {
        return status;
    }
    *there = or_postgres_flag(result, 0, 0);
    const char *schema = or_postgres_field(result, 0, 1);
    make->schema = schema ? or_arena_copy(&make->arena, or_span(schema)).data : NULL;
    bool no_memory = schema && !make->schema;
    PQclear(result);
    return no_memory ? or_fail(make->error, ONEROW_NOMEM, "out of memory") : ONEROW_OK;
}

static enum onerow_status no_schema(struct make *make)
{
    if (!make->place.schema) {
        return or_fail(make->error, ONEROW_CONFIG,
                       "%s: the search path names no schema that a table could be made in\n  "
                       "write the table as SCHEMA.%s",
                       make->store->shown, make->place.name);
    }
    struct or_buffer name;
    or_buffer_init(&name);
    or_postgres_quote(&name, make->place.folded_schema);
    enum onerow_status status =
        or_fail(make->error, ONEROW_CONFIG,
                "%s: there is no schema %s\n  run: CREATE SCHEMA %s; then again",
                make->store->shown, or_buffer_cstr(&name), or_buffer_cstr(&name));
    or_buffer_finish(&name);
    return status;
}

/* PostgreSQL would cut it with a notice, and nobody would find the table or column again. */
static enum onerow_status check_length(const struct make *make, struct onerow_span name)
{
    return name.len <= OR_POSTGRES_NAME_MAX
               ? ONEROW_OK
               : or_fail(make->error, ONEROW_CONFIG,
                         "%s: the name \"%.*s\" is longer than the %u bytes that PostgreSQL "
                         "keeps of a name",
                         make->store->shown, (int)name.len, name.data, OR_POSTGRES_NAME_MAX);
}

static enum onerow_status check_names(const struct make *make,
                                      const struct onerow_new_column *columns, size_t n)
{
    enum onerow_status status = check_length(make, or_span(make->place.folded_name));
    for (size_t i = 0; i < n && status == ONEROW_OK; i++) {
        status = check_length(make, columns[i].name);
    }
    if (status == ONEROW_OK && nulls_are_keys(make->spec) &&
        make->store->version < OR_POSTGRES_NULLS_NOT_DISTINCT) {
        return or_fail(make->error, ONEROW_CONFIG,
                       "%s: nulls: equal needs UNIQUE NULLS NOT DISTINCT, which PostgreSQL has "
                       "since version 15; this server is %d\n  leave nulls: equal away, or update "
                       "the server",
                       make->store->shown, make->store->version / 10000);
    }
    return status;
}

static enum onerow_status make_table(struct make *make, const struct or_buffer *sql)
{
    PGresult *result = NULL;
    enum onerow_status status =
        or_postgres_ask(make->store, or_buffer_cstr(sql), NULL, 0, &result, make->error);
    PQclear(result);
    if (status != ONEROW_REJECTED && status != ONEROW_CLASH && status != ONEROW_CONFIG) {
        return status;
    }
    struct onerow_error failure = {0};
    if (make->error) {
        failure = *make->error;
    }
    bool there = false;
    status = look_for(make, &there);
    if (status != ONEROW_OK || there) {
        return status;
    }
    return or_fail(make->error, ONEROW_CONFIG, "%s\n  the statement was: %s", failure.text,
                   or_buffer_cstr(sql));
}

static enum onerow_status make_missing(struct make *make, const struct onerow_new_column *columns,
                                       size_t n, struct or_buffer *sql)
{
    bool there = false;
    enum onerow_status status = look_for(make, &there);
    if (status != ONEROW_OK || there) {
        return status;
    }
    if (!make->schema) {
        return no_schema(make);
    }
    status = check_names(make, columns, n);
    if (status != ONEROW_OK) {
        return status;
    }
    table_sql(sql, make, columns, n);
    return sql->failed ? or_fail(make->error, ONEROW_NOMEM, "out of memory")
                       : make_table(make, sql);
}

enum onerow_status or_postgres_table_create(struct onerow_store *base,
                                            const struct onerow_table_spec *spec,
                                            const struct onerow_new_column *columns, size_t n,
                                            char **sql, struct onerow_error *error)
{
    struct make make = {.store = or_postgres_store_of(base), .spec = spec, .error = error};
    struct or_buffer text;
    or_arena_init(&make.arena);
    or_buffer_init(&text);
    enum onerow_status status =
        or_postgres_read_place(spec->location, &make.arena, &make.place, error);
    if (status == ONEROW_OK) {
        status = make_missing(&make, columns, n, &text);
    }
    if (sql) {
        *sql = status == ONEROW_OK && text.len ? or_buffer_steal(&text) : NULL;
    }
    or_buffer_finish(&text);
    or_arena_finish(&make.arena);
    return status;
}
