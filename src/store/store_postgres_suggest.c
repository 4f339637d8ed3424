/* SPDX-License-Identifier: Apache-2.0
 *
 * `onerow init`: the tables that there are, each with the key that a unique index suggests.
 *
 * A primary key that fills itself in (serial, identity, a default) identifies rows and says
 * nothing about what may be there only once, so that any other unique index is preferred to
 * it.
 */
#include "base/status.h"
#include "store/store_postgres_schema.h"
#include "store/suggest.h"

/* A part of a location is quoted where it would be read as two, or as quoted. */
#define PART(name)                                                                                 \
    "CASE WHEN " name "::text ~ '[.\"]' THEN '\"' || pg_catalog.replace(" name                     \
    "::text, '\"', '\"\"') || '\"' ELSE " name "::text END"

#define LOCATION PART("n.nspname") " || '.' || " PART("c.relname")

enum { ROW_NAME, ROW_LOCATION, ROW_COLUMN, ROW_NULLS_EQUAL };

/* One row for each key column, or one without a column. Partitions belong to their table, and
 * extensions' tables to their extension. */
static const char tables_sql[] =
    "SELECT CASE WHEN pg_catalog.pg_table_is_visible(c.oid) AND c.relname::text !~ '[.\"]' THEN "
    "c.relname::text ELSE " LOCATION " END, " LOCATION ", a.attname, a.nullable AND x.nulls_equal "
    "FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = "
    "c.relnamespace LEFT JOIN LATERAL (SELECT i.indkey, i.indnkeyatts, "
    "coalesce(pg_catalog.to_jsonb(i) ->> 'indnullsnotdistinct', 'false') = 'true' "
    "AS nulls_equal FROM pg_catalog.pg_index AS i CROSS JOIN LATERAL (SELECT "
    "bool_and(b.atthasdef OR b.attidentity <> '') AS filled, "
    "bool_or(b.attgenerated <> '' OR b.attidentity = 'a') AS generated FROM "
    "pg_catalog.pg_attribute AS b WHERE b.attrelid = c.oid AND b.attnum = ANY "
    "((i.indkey::int2[])[0:i.indnkeyatts - 1])) AS b WHERE i.indrelid = c.oid AND "
    "i.indisunique AND i.indislive AND i.indexprs IS NULL ORDER BY i.indisvalid "
    "AND i.indimmediate AND i.indpred IS NULL AND NOT b.generated DESC, b.filled, "
    "NOT i.indisprimary, i.indnkeyatts, i.indexrelid LIMIT 1) AS x ON true "
    "LEFT JOIN LATERAL (SELECT b.attname, NOT b.attnotnull AS nullable, k.n FROM "
    "pg_catalog.generate_series(1, x.indnkeyatts::integer) AS k(n) JOIN "
    "pg_catalog.pg_attribute AS b ON b.attrelid = c.oid AND b.attnum = "
    "x.indkey[k.n - 1]) AS a ON true "
    "WHERE c.relkind IN ('r', 'p') AND n.nspname !~ '^pg_' AND n.nspname <> "
    "'information_schema' AND c.relname NOT IN ('onerow_keys', 'onerow_fence') "
    "AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend AS d WHERE d.classid = "
    "'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid AND d.deptype "
    "= 'e') AND CASE WHEN $2::text IS NULL THEN NOT c.relispartition ELSE c.oid = "
    "(SELECT c.oid" OR_POSTGRES_FIND ") END ORDER BY n.nspname, c.relname, a.n";

/* The rows as they are suggested, in the arena. NULL: out of memory. */
static struct or_suggested *take_rows(struct or_arena *arena, const PGresult *rows)
{
    size_t n = (size_t)PQntuples(rows);
    struct or_suggested *taken = or_arena_alloc(arena, (n + 1) * sizeof *taken);
    for (int row = 0; taken && row < PQntuples(rows); row++) {
        taken[row] =
            (struct or_suggested){.name = PQgetvalue(rows, row, ROW_NAME),
                                  .location = PQgetvalue(rows, row, ROW_LOCATION),
                                  .column = or_postgres_field(rows, row, ROW_COLUMN),
                                  .nulls_equal = or_postgres_flag(rows, row, ROW_NULLS_EQUAL)};
    }
    return taken;
}

enum onerow_status or_postgres_suggest(struct onerow_store *base, const char *name,
                                       const char *location, struct or_buffer *yaml,
                                       struct onerow_error *error)
{
    struct or_postgres_store *store = or_postgres_store_of(base);
    struct or_postgres_place place = {0};
    struct or_arena arena;
    PGresult *rows = NULL;
    or_arena_init(&arena);
    enum onerow_status status =
        location ? or_postgres_read_place(location, &arena, &place, error) : ONEROW_OK;
    const char *const params[] = OR_POSTGRES_PLACE_PARAMS(place);
    if (status == ONEROW_OK) {
        status = or_postgres_ask(store, tables_sql, params, 4, &rows, error);
    }
    if (status == ONEROW_OK && PQntuples(rows) == 0) {
        status = or_fail(error, ONEROW_ABSENT, "%s: there is no table%s%s", store->shown,
                         location ? " " : "", location ? location : "");
    }
    if (status == ONEROW_OK) {
        struct or_suggested *taken = take_rows(&arena, rows);
        status = taken ? or_suggest_tables(base, name, taken, (size_t)PQntuples(rows), yaml, error)
                       : or_fail(error, ONEROW_NOMEM, "out of memory");
    }
    PQclear(rows);
    or_arena_finish(&arena);
    return status;
}
