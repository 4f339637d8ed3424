/* SPDX-License-Identifier: Apache-2.0
 *
 * `onerow init`: the tables that there are, each with the key that a unique index suggests.
 *
 * A primary key that fills itself in (serial, identity, a default) identifies rows and says
 * nothing about what may be there only once, so that any other unique index is preferred to
 * it. Each suggestion is tried by opening the table, and what that says against it becomes
 * a comment: the one who edits the file should not have to run into it first.
 *
 * The file can be loaded as it is, whatever the database holds. Names are text that anybody
 * may have chosen: in values ${ is escaped, in comments whatever ends a line is replaced,
 * and a table that the configuration cannot name, or that has no key yet, is a comment.
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

/* What a configuration holds at most; a little less than its loader takes. */
#define TABLES_MAX 4000U
#define BYTES_MAX  1000000U

struct suggestion {
    const char *name;
    const char *location;
    struct onerow_key_column key[ONEROW_KEY_COLUMNS_MAX];
    size_t n;
};

struct suggestions {
    struct onerow_store *store;
    const char *store_name; /* in the configuration */
    struct or_arena *arena;
    const char **names; /* of the tables so far */
    size_t n;
    struct or_buffer *yaml;
    struct onerow_error *error;
};

/* ---- text of the database in YAML -------------------------------------------------------- */

/* Length of the character at `at` if YAML takes it and nobody takes it for the end of a line. 0 for
 * C0, DEL, C1, U+2028, U+2029, U+FEFF, U+FFFE, U+FFFF and for what is no UTF-8. */
static size_t plain_step(struct onerow_span text, size_t at)
{
    static const char *const refused[] = {"\xe2\x80\xa8", "\xe2\x80\xa9", "\xef\xbb\xbf",
                                          "\xef\xbf\xbe", "\xef\xbf\xbf"};
    unsigned char byte = (unsigned char)text.data[at];
    size_t step = or_utf8_step(text, at);
    bool plain = byte >= 0x20 && byte != 0x7f;
    if (step == 2 && byte == 0xc2) {
        plain = (unsigned char)text.data[at + 1] >= 0xa0;
    }
    for (size_t i = 0; step == 3 && i < sizeof refused / sizeof *refused; i++) {
        plain = plain && memcmp(text.data + at, refused[i], 3) != 0;
    }
    return plain ? step : 0;
}

static bool is_plain(const char *name)
{
    struct onerow_span text = or_span(name);
    for (size_t at = 0; at < text.len;) {
        size_t step = plain_step(text, at);
        if (!step) {
            return false;
        }
        at += step;
    }
    return true;
}

void or_postgres_comment(struct or_buffer *out, struct onerow_span text)
{
    for (size_t at = 0; at < text.len;) {
        size_t step = or_utf8_step(text, at);
        char byte = text.data[at];
        char before = at ? text.data[at - 1] : ' ';
        bool slash = (before == '*' && byte == '/') || (before == '/' && byte == '*');
        if (plain_step(text, at) && !slash) {
            or_buffer_add(out, text.data + at, step);
        } else {
            or_buffer_char(out, '?');
        }
        at += step ? step : 1;
    }
}

/* Several lines as comments. */
static void add_comment(struct or_buffer *yaml, const char *indent, const char *text)
{
    while (*text) {
        size_t line = strcspn(text, "\n");
        or_buffer_printf(yaml, "%s# ", indent);
        or_postgres_comment(yaml, (struct onerow_span){text, line});
        or_buffer_char(yaml, '\n');
        text += line;
        text += *text == '\n';
    }
}

/* A value: ${ would be taken for a variable. */
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

/* ---- the configured name ------------------------------------------------------------------ */

/* A name has no variables, and nothing to escape them by. Others may have the name by then: they
 * are told apart by what is put behind it, for which the copy has room. */
static char *without_variables(struct or_arena *arena, const char *name)
{
    size_t len = strlen(name);
    char *copy = or_arena_bytes(arena, len + 2);
    for (size_t i = 0; copy && i <= len; i++) {
        bool variable = i && name[i] == '{' && name[i - 1] == '$';
        copy[i] = (char)(variable ? '(' : name[i]);
    }
    return copy;
}

static bool is_taken(const struct suggestions *all, const char *name)
{
    for (size_t i = 0; i < all->n; i++) {
        if (strcmp(all->names[i], name) == 0) {
            return true;
        }
    }
    return false;
}

static const char *choose_name(const struct suggestions *all, const char *wanted)
{
    char *name = without_variables(all->arena, wanted);
    while (name && is_taken(all, name)) {
        memcpy(name + strlen(name), "_", sizeof "_");
        name = without_variables(all->arena, name);
    }
    return name;
}

/* ---- one table ---------------------------------------------------------------------------- */

static void add_key(struct or_buffer *yaml, const struct suggestion *table)
{
    or_buffer_text(yaml, "    key: [");
    for (size_t k = 0; k < table->n; k++) {
        /* "a:text" would be read as column a of a type. */
        bool mapping = table->key[k].nulls_equal || strchr(table->key[k].name, ':');
        or_buffer_text(yaml, k ? ", " : "");
        or_buffer_text(yaml, mapping ? "{ \"column\": " : "");
        add_value(yaml, table->key[k].name);
        or_buffer_text(yaml, table->key[k].nulls_equal ? ", \"nulls\": \"equal\"" : "");
        or_buffer_text(yaml, mapping ? " }" : "");
    }
    or_buffer_text(yaml, table->n ? "]\n" : "]   # no unique index: name the key's columns\n");
}

/* Why a configuration with this table could not be loaded; NULL: it can. */
static const char *not_loadable(const struct suggestion *table)
{
    bool plain = is_plain(table->location);
    bool expression = false;
    for (size_t k = 0; k < table->n; k++) {
        plain = plain && is_plain(table->key[k].name);
        expression |= strchr(table->key[k].name, '(') != NULL;
    }
    if (!plain) {
        return "left out: a name has a control character in it, which no configuration can hold";
    }
    if (expression) {
        return "left out: a key column has a \"(\" in its name, which is taken for an expression";
    }
    return table->n ? NULL : "left out, for it has no key yet:";
}

/* Only what speaks against the table goes into the file; that the server is gone does not. */
static enum onerow_status try_key(struct suggestions *all, const struct suggestion *table)
{
    struct onerow_table_spec spec = {
        .name = table->name, .location = table->location, .key = table->key, .n_key = table->n};
    struct onerow_store_table *opened = NULL;
    struct onerow_error why = {0};
    enum onerow_status status = or_postgres_table_open(all->store, &spec, &opened, &why);
    or_postgres_table_close(opened);
    if (status == ONEROW_CONFIG) {
        add_comment(all->yaml, "    ", why.text);
        return ONEROW_OK;
    }
    bool gone = status == ONEROW_ABSENT; /* since it was listed */
    return status == ONEROW_OK || gone ? ONEROW_OK : or_fail(all->error, status, "%s", why.text);
}

static void add_head(struct or_buffer *yaml, const struct suggestions *all,
                     const struct suggestion *table)
{
    or_buffer_text(yaml, "  ");
    or_buffer_json(yaml, or_span(table->name));
    or_buffer_text(yaml, ":\n    store: ");
    or_buffer_json(yaml, or_span(all->store_name));
    or_buffer_text(yaml, "\n    location: ");
    add_value(yaml, table->location);
    or_buffer_char(yaml, '\n');
}

/* The table as a comment, to be finished by hand. */
static void add_left_out(struct suggestions *all, const struct suggestion *table, const char *why)
{
    struct or_buffer entry;
    or_buffer_init(&entry);
    add_comment(all->yaml, "  ", why);
    add_head(&entry, all, table);
    add_key(&entry, table);
    for (const char *at = or_buffer_cstr(&entry); *at;) {
        size_t line = strcspn(at, "\n");
        or_buffer_text(all->yaml, "  # ");
        or_postgres_comment(all->yaml, (struct onerow_span){at + 2, line - 2});
        or_buffer_char(all->yaml, '\n');
        at += line + 1;
    }
    all->yaml->failed |= entry.failed;
    or_buffer_finish(&entry);
}

static enum onerow_status suggest_table(struct suggestions *all, struct suggestion *table)
{
    table->name = choose_name(all, table->name);
    if (!table->name) {
        return or_fail(all->error, ONEROW_NOMEM, "out of memory");
    }
    const char *why = not_loadable(table);
    if (why) {
        add_left_out(all, table, why);
        return ONEROW_OK;
    }
    all->names[all->n++] = table->name;
    add_head(all->yaml, all, table);
    enum onerow_status status = try_key(all, table);
    add_key(all->yaml, table);
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

static enum onerow_status suggest_tables(struct suggestions *all, const PGresult *rows)
{
    struct suggestion table = {0};
    enum onerow_status status = ONEROW_OK;
    int row = 0;
    all->names = or_arena_alloc(all->arena, TABLES_MAX * sizeof *all->names);
    if (!all->names) {
        return or_fail(all->error, ONEROW_NOMEM, "out of memory");
    }
    while (row < PQntuples(rows) && status == ONEROW_OK) {
        if (all->n == TABLES_MAX || all->yaml->len > BYTES_MAX) {
            add_comment(all->yaml, "  ",
                        "and more, for which a file has no room: onerow init "
                        "STORE-URL TABLE -o - suggests one of them");
            break;
        }
        row = read_table(rows, row, &table);
        status = suggest_table(all, &table);
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
        struct suggestions all = {
            .store = base, .store_name = name, .arena = &arena, .yaml = yaml, .error = error};
        status = suggest_tables(&all, rows);
    }
    PQclear(rows);
    or_arena_finish(&arena);
    return status;
}
