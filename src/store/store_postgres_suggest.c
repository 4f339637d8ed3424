/* SPDX-License-Identifier: Apache-2.0
 *
 * `onerow init`: the tables that there are, each with the key that a unique index suggests.
 *
 * A primary key that fills itself in (serial, identity, a default) identifies rows and says
 * nothing about what may be there only once, so that any other unique index is preferred to
 * it. Each suggestion is tried by opening the table, and what that says against it becomes
 * a comment: the one who edits the file should not have to run into it first.
 */
#include <string.h>

#include "base/status.h"
#include "base/text.h"
#include "store/store_postgres_schema.h"

/* A part of a location is quoted where it would be read as two, or as quoted. */
#define PART(name)                                                                                 \
    "CASE WHEN " name "::text ~ '[.\"]' THEN '\"' || pg_catalog.replace(" name                     \
    "::text, '\"', '\"\"') || '\"' ELSE " name "::text END"

#define LOCATION PART("n.nspname") " || '.' || " PART("c.relname")

enum { ROW_NAME, ROW_LOCATION, ROW_COLUMN, ROW_NULLS_EQUAL };

/* One row for each key column, or one without a column. Partitions belong to their table, and
 * extensions' tables to their extension. Names that a configuration cannot hold are left out. */
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
    "AND c.relname::text !~ '[[:cntrl:]]|[$][{]' AND NOT EXISTS (SELECT 1 FROM "
    "pg_catalog.pg_depend AS d WHERE d.classid = "
    "'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid AND d.deptype "
    "= 'e') AND CASE WHEN $2::text IS NULL THEN NOT c.relispartition ELSE c.oid = "
    "(SELECT c.oid" OR_POSTGRES_FIND ") END ORDER BY n.nspname, c.relname, a.n";

struct suggestion {
    const char *store; /* its name in the configuration */
    const char *name;
    const char *location;
    struct onerow_key_column key[ONEROW_KEY_COLUMNS_MAX];
    size_t n;
};

/* A name as a value: ${ would be taken for a variable. */
static void add_value(struct or_buffer *yaml, const char *text)
{
    struct or_buffer literal;
    or_buffer_init(&literal);
    for (; *text; text++) {
        if (text[0] == '$' && text[1] == '{') {
            or_buffer_char(&literal, '$');
        }
        or_buffer_char(&literal, *text);
    }
    or_buffer_json(yaml, or_buffer_view(&literal));
    yaml->failed |= literal.failed;
    or_buffer_finish(&literal);
}

static void add_key(struct or_buffer *yaml, const struct suggestion *table)
{
    or_buffer_text(yaml, "    key: [");
    for (size_t k = 0; k < table->n; k++) {
        or_buffer_text(yaml, k ? ", " : "");
        or_buffer_text(yaml, table->key[k].nulls_equal ? "{ \"column\": " : "");
        add_value(yaml, table->key[k].name);
        or_buffer_text(yaml, table->key[k].nulls_equal ? ", \"nulls\": \"equal\" }" : "");
    }
    or_buffer_text(yaml, table->n ? "]\n" : "]   # no unique index: name the key's columns\n");
}

/* What YAML takes for the end of a line, and other control characters, at `at`: their length. */
static size_t line_break(const char *at)
{
    static const char *const breaks[] = {"\xc2\x85", "\xe2\x80\xa8", "\xe2\x80\xa9"};
    for (size_t i = 0; i < sizeof breaks / sizeof *breaks; i++) {
        if (strncmp(at, breaks[i], strlen(breaks[i])) == 0) {
            return strlen(breaks[i]);
        }
    }
    return (unsigned char)*at < 0x20 || *at == 0x7f ? 1 : 0;
}

/* A message as comment lines. It quotes names, and a name must not end the comment. */
static void add_comment(struct or_buffer *yaml, const char *text)
{
    or_buffer_text(yaml, "    # ");
    while (*text) {
        size_t skip = line_break(text);
        if (*text == '\n') {
            or_buffer_text(yaml, text[1] ? "\n    # " : "");
        } else {
            or_buffer_char(yaml, skip ? '?' : *text);
        }
        text += skip ? skip : 1;
    }
    or_buffer_char(yaml, '\n');
}

/* Only what speaks against the table goes into the file; that the server is gone does not. */
static enum onerow_status try_key(struct onerow_store *store, const struct suggestion *table,
                                  struct or_buffer *yaml, struct onerow_error *error)
{
    struct onerow_table_spec spec = {
        .name = table->name, .location = table->location, .key = table->key, .n_key = table->n};
    struct onerow_store_table *opened = NULL;
    struct onerow_error why = {0};
    enum onerow_status status = or_postgres_table_open(store, &spec, &opened, &why);
    or_postgres_table_close(opened);
    if (status == ONEROW_CONFIG) {
        add_comment(yaml, why.text);
        return ONEROW_OK;
    }
    bool gone = status == ONEROW_ABSENT; /* since it was listed */
    return status == ONEROW_OK || gone ? ONEROW_OK : or_fail(error, status, "%s", why.text);
}

static enum onerow_status suggest_table(struct onerow_store *store, const struct suggestion *table,
                                        struct or_buffer *yaml, struct onerow_error *error)
{
    or_buffer_text(yaml, "  ");
    or_buffer_json(yaml, or_span(table->name));
    or_buffer_text(yaml, ":\n    store: ");
    or_buffer_json(yaml, or_span(table->store));
    or_buffer_text(yaml, "\n    location: ");
    add_value(yaml, table->location);
    or_buffer_char(yaml, '\n');
    enum onerow_status status = table->n ? try_key(store, table, yaml, error) : ONEROW_OK;
    add_key(yaml, table);
    return status;
}

/* A key of more columns than onerow takes is none that could be suggested. */
static int read_table(const PGresult *rows, int row, struct suggestion *table)
{
    const char *location = PQgetvalue(rows, row, ROW_LOCATION);
    size_t n = 0;
    table->name = PQgetvalue(rows, row, ROW_NAME);
    table->location = location;
    for (; row < PQntuples(rows) && strcmp(PQgetvalue(rows, row, ROW_LOCATION), location) == 0;
         row++) {
        const char *column = or_postgres_field(rows, row, ROW_COLUMN);
        if (column && n++ < ONEROW_KEY_COLUMNS_MAX) {
            table->key[n - 1] = (struct onerow_key_column){
                .name = column, .nulls_equal = or_postgres_flag(rows, row, ROW_NULLS_EQUAL)};
        }
    }
    table->n = n <= ONEROW_KEY_COLUMNS_MAX ? n : 0;
    return row;
}

static enum onerow_status suggest_tables(struct onerow_store *store, const char *name,
                                         const PGresult *rows, struct or_buffer *yaml,
                                         struct onerow_error *error)
{
    struct suggestion table = {.store = name};
    enum onerow_status status = ONEROW_OK;
    int row = 0;
    while (row < PQntuples(rows) && status == ONEROW_OK) {
        row = read_table(rows, row, &table);
        status = suggest_table(store, &table, yaml, error);
    }
    return status;
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
        status = suggest_tables(base, name, rows, yaml, error);
    }
    PQclear(rows);
    or_arena_finish(&arena);
    return status;
}
