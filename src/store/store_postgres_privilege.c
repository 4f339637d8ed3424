/* SPDX-License-Identifier: Apache-2.0
 *
 * What the role may do beside the table itself, and how it is told: where rows will be written the
 * table is refused, with the statement to run; where they will not, the refusal stands beside the
 * promise, for `onerow check` to show.
 */
#include "base/status.h"
#include "store/store_postgres_schema.h"

/* A default is made for every record that lacks its column, be its row there or not: without the
 * sequence all of them would be rejected. */
enum onerow_status or_postgres_check_sequences(struct or_postgres_look *look)
{
    const struct or_postgres_table *table = look->table;
    struct or_buffer names;
    const char *column = NULL;
    or_buffer_init(&names);
    for (size_t i = 0; i < table->base.n_columns; i++) {
        if (look->detail[i].sequence && !or_postgres_in_key(table, i)) {
            or_buffer_printf(&names, "%s%s", names.len ? ", " : "", look->detail[i].sequence);
            column = column ? column : look->columns[i].name;
        }
    }
    look->sequences = or_postgres_keep_made(look, &names);
    if (!column || !look->writes) {
        return ONEROW_OK;
    }
    return or_fail(look->error, ONEROW_CONFIG,
                   "%s: table %s: role %s may not draw from the sequence that is the default of "
                   "column \"%s\"\n  run: GRANT USAGE ON SEQUENCE %s TO %s",
                   look->store->shown, table->quoted, look->role, column, look->sequences,
                   look->role);
}

void or_postgres_note_grants(struct or_postgres_look *look)
{
    struct or_postgres_table *table = look->table;
    struct or_buffer text;
    if (look->writes || table->spec.only_look || (!*look->missing && !*look->sequences)) {
        return;
    }
    or_buffer_init(&text);
    or_buffer_printf(&text, "%s: role %s cannot write table %s\n  run: ", look->store->shown,
                     look->role, table->quoted);
    if (*look->missing) {
        or_buffer_printf(&text, "GRANT SELECT, INSERT, UPDATE ON %s TO %s", table->quoted,
                         look->role);
    }
    if (*look->sequences) {
        or_buffer_printf(&text, "%sGRANT USAGE ON SEQUENCE %s TO %s", *look->missing ? "; " : "",
                         look->sequences, look->role);
    }
    table->base.refusal = or_postgres_keep_made(look, &text);
}

/* ---- the tables of keys ---------------------------------------------------------------- */

/* A table that is there needs no right to make it, and one that will be made belongs to the role.
 */
#define MAY_WRITE(alias)                                                                           \
    "(" alias ".oid IS NULL OR (pg_catalog.has_any_column_privilege(" alias ".oid, 'SELECT') AND " \
    "pg_catalog.has_any_column_privilege(" alias ".oid, 'INSERT') AND "                            \
    "pg_catalog.has_any_column_privilege(" alias ".oid, 'UPDATE')))"

static const char keys_sql[] =
    "SELECT (k.oid IS NOT NULL AND f.oid IS NOT NULL) OR "
    "pg_catalog.has_schema_privilege(c.relnamespace, 'CREATE'), " MAY_WRITE("k") " AND " MAY_WRITE(
        "f") " FROM pg_catalog.pg_class AS c LEFT JOIN pg_catalog.pg_class AS k ON k.relnamespace "
             "= "
             "c.relnamespace AND k.relname = 'onerow_keys' LEFT JOIN pg_catalog.pg_class AS f ON "
             "f.relnamespace = c.relnamespace AND f.relname = 'onerow_fence' WHERE c.oid = "
             "$1::text::oid";

static enum onerow_status refuse(struct or_postgres_look *look, const char *text)
{
    if (!text) {
        return or_fail(look->error, ONEROW_NOMEM, "out of memory");
    }
    if (look->writes) {
        return or_fail(look->error, ONEROW_CONFIG, "%s", text);
    }
    look->table->base.refusal = text;
    return ONEROW_OK;
}

static const char *not_makable(const struct or_postgres_look *look)
{
    const char *schema = look->schema_sql;
    return or_arena_printf(
        &look->table->arena,
        "%s: role %s may not make the tables in which keys are locked (unenforced: accept)\n  run: "
        "GRANT CREATE ON SCHEMA %s TO %s;\n  or make them: CREATE TABLE IF NOT EXISTS "
        "%s.onerow_keys " OR_POSTGRES_KEYS_COLUMNS
        "; CREATE TABLE IF NOT EXISTS %s.onerow_fence " OR_POSTGRES_FENCE_COLUMNS
        "; GRANT SELECT, INSERT, UPDATE ON %s.onerow_keys, %s.onerow_fence TO %s;",
        look->store->shown, look->role, schema, look->role, schema, schema, schema, schema,
        look->role);
}

static const char *not_writable(const struct or_postgres_look *look)
{
    return or_arena_printf(&look->table->arena,
                           "%s: role %s may not write the tables in which keys are locked "
                           "(unenforced: accept)\n  run: "
                           "GRANT SELECT, INSERT, UPDATE ON %s.onerow_keys, %s.onerow_fence TO %s;",
                           look->store->shown, look->role, look->schema_sql, look->schema_sql,
                           look->role);
}

enum onerow_status or_postgres_check_keys(struct or_postgres_look *look)
{
    const char *oid = or_arena_printf(&look->table->arena, "%u", look->table->oid);
    const char *const params[] = {oid};
    PGresult *result = NULL;
    if (!oid) {
        return or_fail(look->error, ONEROW_NOMEM, "out of memory");
    }
    enum onerow_status status =
        or_postgres_ask(look->store, keys_sql, params, 1, &result, look->error);
    if (status != ONEROW_OK) {
        return status;
    }
    bool there = PQntuples(result) == 1; /* else the table was dropped since it was looked at */
    bool makes = !there || or_postgres_flag(result, 0, 0);
    bool writes = !there || or_postgres_flag(result, 0, 1);
    PQclear(result);
    if (!makes) {
        return refuse(look, not_makable(look));
    }
    return writes ? ONEROW_OK : refuse(look, not_writable(look));
}
