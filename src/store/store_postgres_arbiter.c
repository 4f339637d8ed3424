/* SPDX-License-Identifier: Apache-2.0
 *
 * Which unique index keeps one row per key, and what is promised for it.
 *
 * The arbiter of ON CONFLICT is a unique, valid, immediate, full index over the key's columns
 * and nothing else:
 *
 *   ON CONSTRAINT c   when a constraint owns the index. Whatever else is on these columns
 *                     (a deferrable twin, an index with another collation) has no say then
 *   (k1, k2)          for a bare index, and where several of them fit. PostgreSQL takes all
 *                     unique indexes over these columns then, whatever their collation and
 *                     operator class, and fails (55000) if one is deferrable: all must
 *                     agree. With several it is the better one: were only one of them the
 *                     arbiter, two writers of a new key could meet in another one first.
 *
 * An operator class agrees when it is PostgreSQL's own and has the equality operator of the
 * column type's default one, as varchar_ops and text_pattern_ops have: bpchar_ops on a text
 * column has another one, to which 'a' and 'a ' are one. Under `key_equality: store` the type's
 * default class agrees, too, whosever it is. NULLS NOT DISTINCT is read through to_jsonb, because
 * the catalog's column came with version 15.
 */
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "base/text.h"
#include "store/store_postgres_schema.h"

/* ---- indexes --------------------------------------------------------------------- */

enum {
    IDX_OID,
    IDX_NAME,
    IDX_QUOTED,
    IDX_UNIQUE,
    IDX_PRIMARY,
    IDX_VALID,
    IDX_IMMEDIATE,
    IDX_WHERE,
    IDX_CONSTRAINT,
    IDX_KIND,
    IDX_NULLS_EQUAL,
    IDX_ATTNUM,
    IDX_SHOWN,
    IDX_OPCLASS,
    IDX_OPCLASS_OID,
    IDX_BUILT_IN,
    IDX_EQUALITY,
    IDX_COLLATION,
    IDX_DETERMINISTIC,
};

/* One row for each key column of each index; constraints first, the primary key before all. */
static const char indexes_sql[] =
    "SELECT x.indexrelid, i.relname, pg_catalog.quote_ident(n.nspname) || '.' || "
    "pg_catalog.quote_ident(i.relname), x.indisunique AND NOT x.indisexclusion, x.indisprimary, "
    "x.indisvalid AND x.indisready, x.indimmediate, pg_catalog.pg_get_expr(x.indpred, x.indrelid), "
    "pg_catalog.quote_ident(k.conname), k.contype, coalesce(pg_catalog.to_jsonb(x) ->> "
    "'indnullsnotdistinct', 'false') = 'true', x.indkey[c.n - 1], "
    "pg_catalog.pg_get_indexdef(x.indexrelid, c.n, true), o.opcname, o.oid, "
    "on_.nspname = 'pg_catalog', (SELECT e.amopopr FROM pg_catalog.pg_amop AS e WHERE "
    "e.amopfamily = o.opcfamily AND e.amoplefttype = o.opcintype AND e.amoprighttype = "
    "o.opcintype AND e.amopstrategy = 3 AND e.amoppurpose = 's'), "
    "pg_catalog.quote_ident(ln.nspname) || '.' || pg_catalog.quote_ident(l.collname), "
    "l.collisdeterministic IS NOT FALSE "
    "FROM pg_catalog.pg_index AS x JOIN pg_catalog.pg_class AS i ON i.oid = x.indexrelid JOIN "
    "pg_catalog.pg_namespace AS n ON n.oid = i.relnamespace CROSS JOIN LATERAL "
    "pg_catalog.generate_series(1, x.indnkeyatts::integer) AS c(n) LEFT JOIN "
    "pg_catalog.pg_constraint AS k ON k.conindid = x.indexrelid AND k.conrelid = x.indrelid AND "
    "k.contype IN ('p', 'u', 'x') JOIN pg_catalog.pg_opclass AS o ON o.oid = x.indclass[c.n - 1] "
    "JOIN pg_catalog.pg_namespace AS on_ ON on_.oid = o.opcnamespace LEFT JOIN "
    "pg_catalog.pg_collation AS l ON l.oid = x.indcollation[c.n - 1] LEFT JOIN "
    "pg_catalog.pg_namespace AS ln ON ln.oid = l.collnamespace "
    "WHERE x.indrelid = $1::oid AND x.indislive ORDER BY NOT x.indisprimary, k.conname IS NULL, "
    "i.relname, x.indexrelid, c.n";

struct index {
    const PGresult *rows; /* not owned */
    int first;            /* its rows */
    int n;
    bool unique;
    bool matches; /* its columns are the key's */
    bool agrees;  /* its equality is the key's */
    bool fits;    /* as an arbiter */
};

static const char *index_field(const struct index *index, int field)
{
    return or_postgres_field(index->rows, index->first, field);
}

static bool index_flag(const struct index *index, int field)
{
    return or_postgres_flag(index->rows, index->first, field);
}

/* The table's column behind an index's nth one; -1: an expression. */
static int index_column(const struct or_postgres_look *look, const struct index *index, int n)
{
    long attnum = strtol(PQgetvalue(index->rows, index->first + n, IDX_ATTNUM), NULL, 10);
    for (size_t i = 0; i < look->table->base.n_columns; i++) {
        if (look->detail[i].attnum == attnum) {
            return (int)i;
        }
    }
    return -1;
}

static bool in_key(const struct or_postgres_table *table, int column)
{
    for (size_t k = 0; k < table->spec.n_key; k++) {
        if (table->base.key[k] == column) {
            return true;
        }
    }
    return false;
}

/* Whether its columns are the key's, in any order. */
static bool matches_key(const struct or_postgres_look *look, const struct index *index)
{
    if ((size_t)index->n != look->table->spec.n_key) {
        return false;
    }
    bool matches = true;
    for (int i = 0; i < index->n; i++) {
        int column = index_column(look, index, i);
        matches &= column >= 0 && in_key(look->table, column);
        for (int j = 0; j < i; j++) {
            matches &= index_column(look, index, j) != column;
        }
    }
    return matches;
}

static bool equal_texts(const char *a, const char *b)
{
    return a && b && strcmp(a, b) == 0;
}

static bool opclass_agrees(const struct or_postgres_look *look, const struct index *index, int n)
{
    int row = index->first + n;
    int column = index_column(look, index, n);
    if (column < 0) {
        return false;
    }
    const struct or_postgres_detail *own = &look->detail[column];
    bool same_class =
        equal_texts(or_postgres_field(index->rows, row, IDX_OPCLASS_OID), own->opclass);
    bool same_equality =
        equal_texts(or_postgres_field(index->rows, row, IDX_EQUALITY), own->equality);
    return (same_class && look->table->spec.store_key_equality) ||
           (same_equality && or_postgres_flag(index->rows, row, IDX_BUILT_IN));
}

/* Under `key_equality: store` the equality is the column's, by which rows are looked up. */
static bool column_agrees(const struct or_postgres_look *look, const struct index *index, int n)
{
    int row = index->first + n;
    int column = index_column(look, index, n);
    if (!opclass_agrees(look, index, n)) {
        return false;
    }
    const char *collation = or_postgres_field(index->rows, row, IDX_COLLATION);
    const char *own = column < 0 ? NULL : look->detail[column].collation;
    bool same = !collation || !own || strcmp(collation, own) == 0;
    bool deterministic = or_postgres_flag(index->rows, row, IDX_DETERMINISTIC);
    if (look->table->spec.store_key_equality) {
        return same || (deterministic && column >= 0 && look->detail[column].deterministic);
    }
    return deterministic;
}

static bool nulls_fit(const struct or_postgres_look *look, const struct index *index)
{
    return !look->table->nulls_equal || index_flag(index, IDX_NULLS_EQUAL);
}

static void judge(const struct or_postgres_look *look, struct index *index)
{
    index->unique = index_flag(index, IDX_UNIQUE);
    index->matches = index->unique && matches_key(look, index);
    index->agrees = true;
    for (int i = 0; i < index->n; i++) {
        index->agrees &= column_agrees(look, index, i);
    }
    index->fits = index->matches && index->agrees && index_flag(index, IDX_VALID) &&
                  index_flag(index, IDX_IMMEDIATE) && !index_field(index, IDX_WHERE) &&
                  nulls_fit(look, index);
}

/* Groups the rows; indexes have one row for each column, side by side. */
static size_t group(const struct or_postgres_look *look, const PGresult *rows,
                    struct index *indexes)
{
    size_t n = 0;
    for (int row = 0; row < PQntuples(rows); row++) {
        bool same = row > 0 &&
                    strcmp(PQgetvalue(rows, row, IDX_OID), PQgetvalue(rows, row - 1, IDX_OID)) == 0;
        if (!same) {
            indexes[n++] = (struct index){.rows = rows, .first = row};
        }
        indexes[n - 1].n++;
    }
    for (size_t i = 0; i < n; i++) {
        judge(look, &indexes[i]);
    }
    return n;
}

/* ---- the arbiter -------------------------------------------------------------------- */

struct choice {
    struct index *indexes;
    size_t n;
    const struct index *constraint; /* the first that fits, with its constraint */
    const struct index *bare;       /* the first that fits without one */
    const struct index *obstacle;   /* what inference would take and must not */
    size_t n_fit;
};

/* PostgreSQL infers from the columns alone: every valid, full, unique index over them. */
static bool is_inferred(const struct index *index)
{
    return index->matches && index_flag(index, IDX_VALID) && !index_field(index, IDX_WHERE);
}

static void choose(struct choice *choice)
{
    for (size_t i = 0; i < choice->n; i++) {
        const struct index *index = &choice->indexes[i];
        if (index->fits) {
            bool owned = index_field(index, IDX_CONSTRAINT) != NULL;
            const struct index **slot = owned ? &choice->constraint : &choice->bare;
            *slot = *slot ? *slot : index;
            choice->n_fit++;
        }
        if (!choice->obstacle && is_inferred(index) &&
            (!index->agrees || !index_flag(index, IDX_IMMEDIATE))) {
            choice->obstacle = index;
        }
    }
}

static void add_key_columns(struct or_buffer *sql, const struct or_postgres_table *table)
{
    or_buffer_char(sql, '(');
    for (size_t k = 0; k < table->spec.n_key; k++) {
        or_buffer_text(sql, k ? ", " : "");
        or_postgres_quote(sql, table->spec.key[k].name);
    }
    or_buffer_char(sql, ')');
}

static const char *describe(const struct index *index)
{
    const char *kind = index_field(index, IDX_KIND);
    if (!kind) {
        return "unique index";
    }
    return *kind == 'p' ? "primary key" : "unique constraint";
}

/* The index that keeps the key, with its arbiter in the table; NULL: there is none. */
static const struct index *choose_arbiter(struct or_postgres_look *look, struct choice *choice)
{
    choose(choice);
    bool infer = !choice->obstacle && (choice->n_fit > 1 || (choice->bare && !choice->constraint));
    const struct index *chosen =
        choice->constraint ? choice->constraint : (infer ? choice->bare : NULL);
    if (!chosen) {
        return NULL;
    }
    struct or_buffer sql;
    or_buffer_init(&sql);
    if (infer) {
        add_key_columns(&sql, look->table);
    } else {
        or_buffer_printf(&sql, "ON CONSTRAINT %s", index_field(chosen, IDX_CONSTRAINT));
    }
    look->table->arbiter = or_postgres_keep_made(look, &sql);
    return chosen;
}

/* ---- why there is none --------------------------------------------------------------- */

/* How far an index is from the key: the nearest one is explained. */
static int distance(const struct or_postgres_look *look, const struct index *index)
{
    if (!index->unique) {
        return 4;
    }
    if (index->matches) {
        return index_field(index, IDX_WHERE) || !index->agrees ? 1 : 0;
    }
    bool touches = false;
    bool expression = false;
    for (int i = 0; i < index->n; i++) {
        int column = index_column(look, index, i);
        touches |= column >= 0 && in_key(look->table, column);
        expression |= column < 0;
    }
    return touches || expression ? 2 : 3;
}

static const struct index *nearest(const struct or_postgres_look *look, const struct choice *choice)
{
    const struct index *best = NULL;
    for (size_t i = 0; i < choice->n; i++) {
        const struct index *index = &choice->indexes[i];
        if (!best || distance(look, index) < distance(look, best)) {
            best = index;
        }
    }
    return best && distance(look, best) < 3 ? best : NULL;
}

static const char *disagreeing_part(const struct or_postgres_look *look, const struct index *index)
{
    for (int i = 0; i < index->n; i++) {
        if (!column_agrees(look, index, i)) {
            int row = index->first + i;
            bool collation = opclass_agrees(look, index, i);
            return PQgetvalue(index->rows, row, collation ? IDX_COLLATION : IDX_OPCLASS);
        }
    }
    return "other rules";
}

static const char *what_disagrees(const struct or_postgres_look *look)
{
    return look->table->spec.store_key_equality ? "by other rules than the column's own equality"
                                                : "and takes keys that differ for one";
}

static void add_index_columns(struct or_buffer *text, const struct index *index)
{
    for (int i = 0; i < index->n; i++) {
        or_buffer_printf(text, "%s%s", i ? ", " : "(",
                         PQgetvalue(index->rows, index->first + i, IDX_SHOWN));
    }
    or_buffer_char(text, ')');
}

static void explain_columns(struct or_buffer *why, const struct or_postgres_look *look,
                            const struct index *index)
{
    const char *name = index_field(index, IDX_QUOTED);
    bool expression = false;
    for (int i = 0; i < index->n; i++) {
        expression |= index_column(look, index, i) < 0;
    }
    or_buffer_printf(why, ": unique index %s is over ", name);
    add_index_columns(why, index);
    or_buffer_text(why, expression ? ", an expression, not over " : ", not over ");
    add_key_columns(why, look->table);
}

/* What keeps the nearest index from being the arbiter. */
static void explain(struct or_buffer *why, const struct or_postgres_look *look,
                    const struct index *index)
{
    const char *name = index_field(index, IDX_QUOTED);
    const char *where = index_field(index, IDX_WHERE);
    if (!index->matches) {
        explain_columns(why, look, index);
    } else if (where) {
        or_buffer_printf(why,
                         ": index %s is partial: a row outside of its WHERE %s has no unique key",
                         name, where);
    } else if (!index_flag(index, IDX_VALID)) {
        or_buffer_printf(why, ": index %s is invalid: %s", name,
                         look->table->partitioned
                             ? "not every partition has its part of it"
                             : "its CREATE INDEX CONCURRENTLY has failed or is still running");
    } else if (!index_flag(index, IDX_IMMEDIATE)) {
        or_buffer_printf(why,
                         ": constraint %s is DEFERRABLE, and PostgreSQL takes no such one for ON "
                         "CONFLICT",
                         index_field(index, IDX_CONSTRAINT));
    } else if (!index->agrees) {
        or_buffer_printf(why, ": index %s compares with %s, %s", name,
                         disagreeing_part(look, index), what_disagrees(look));
    } else {
        or_buffer_printf(why,
                         ": index %s takes each NULL for another one (NULLS DISTINCT), and nulls: "
                         "equal takes all for one",
                         name);
    }
}

/* A bare index would do, but inference takes the obstacle along; a constraint is named instead. */
static enum onerow_status refuse_inference(struct or_postgres_look *look,
                                           const struct choice *choice)
{
    const char *name = index_field(choice->bare, IDX_QUOTED);
    const char *obstacle = index_field(choice->obstacle, IDX_QUOTED);
    struct or_buffer own;
    or_buffer_init(&own);
    or_postgres_quote(&own, index_field(choice->bare, IDX_NAME));
    struct or_buffer why;
    or_buffer_init(&why);
    if (index_flag(choice->obstacle, IDX_IMMEDIATE)) {
        or_buffer_printf(&why, "which compares with %s, %s",
                         disagreeing_part(look, choice->obstacle), what_disagrees(look));
    } else {
        or_buffer_text(&why, "whose constraint is DEFERRABLE, and fails (55000)");
    }
    enum onerow_status status = or_fail(
        look->error, ONEROW_CONFIG,
        "%s: table %s: unique index %s would keep the key, but PostgreSQL takes index %s on the "
        "same columns along, %s\n  run: ALTER TABLE %s ADD CONSTRAINT %s UNIQUE USING INDEX %s",
        look->store->shown, look->table->quoted, name, obstacle, or_buffer_cstr(&why),
        look->table->quoted, or_buffer_cstr(&own), or_buffer_cstr(&own));
    look->no_memory |= why.failed;
    or_buffer_finish(&why);
    look->no_memory |= own.failed;
    or_buffer_finish(&own);
    return status;
}

static void add_create_index(struct or_buffer *sql, const struct or_postgres_look *look)
{
    const struct or_postgres_table *table = look->table;
    or_buffer_printf(sql, "CREATE UNIQUE INDEX %sON %s ", table->partitioned ? "" : "CONCURRENTLY ",
                     table->quoted);
    add_key_columns(sql, table);
    or_buffer_text(sql, table->nulls_equal ? " NULLS NOT DISTINCT" : "");
}

/* The statement after which the index nearest to the key, or a new one, keeps it. A new one is a
 * constraint where inference would take along what must not be the arbiter. */
static void add_statement(struct or_buffer *sql, const struct or_postgres_look *look,
                          const struct choice *choice, const struct index *index)
{
    const struct or_postgres_table *table = look->table;
    const char *unique = table->nulls_equal ? "UNIQUE NULLS NOT DISTINCT" : "UNIQUE";
    bool mine = index && index->matches && index->agrees && !index_field(index, IDX_WHERE);
    bool valid = mine && index_flag(index, IDX_VALID);
    const char *constraint = mine ? index_field(index, IDX_CONSTRAINT) : NULL;
    if (mine && !valid && !table->partitioned && nulls_fit(look, index)) {
        or_buffer_printf(sql, "REINDEX INDEX CONCURRENTLY %s", index_field(index, IDX_QUOTED));
        return;
    }
    if (valid && constraint && !index_flag(index, IDX_IMMEDIATE)) {
        bool primary = *index_field(index, IDX_KIND) == 'p';
        or_buffer_printf(sql, "ALTER TABLE %s DROP CONSTRAINT %s, ADD CONSTRAINT %s %s ",
                         table->quoted, constraint, constraint, primary ? "PRIMARY KEY" : unique);
    } else if (choice->obstacle) {
        or_buffer_printf(sql, "ALTER TABLE %s ADD %s ", table->quoted, unique);
    } else {
        add_create_index(sql, look);
        return;
    }
    add_key_columns(sql, table);
}

/* The column by which the table is partitioned and that the key lacks; "" for an expression, NULL
 * when the key has them all. */
static const char *partition_column(const struct or_postgres_look *look)
{
    const struct or_postgres_table *table = look->table;
    const char *at = look->partition_attnums;
    while (at && *at) {
        char *end = NULL;
        long attnum = strtol(at, &end, 10);
        size_t column = 0;
        while (column < table->base.n_columns && look->detail[column].attnum != attnum) {
            column++;
        }
        if (column == table->base.n_columns) {
            return "";
        }
        if (!in_key(table, (int)column)) {
            return table->base.columns[column].name;
        }
        at = end + strspn(end, " ");
    }
    return NULL;
}

static enum onerow_status refuse_partition_key(struct or_postgres_look *look, const char *column)
{
    const char *quoted = look->table->quoted;
    if (!*column) {
        return or_fail(look->error, ONEROW_CONFIG,
                       "%s: table %s is partitioned by an expression, %s: PostgreSQL can make no "
                       "unique index over all of it\n  partition it by a column of the key",
                       look->store->shown, quoted, look->partition_by);
    }
    return or_fail(look->error, ONEROW_CONFIG,
                   "%s: nothing keeps table %s at one row per key: it is partitioned by %s, and "
                   "PostgreSQL makes unique indexes over columns that include \"%s\" only\n  add "
                   "\"%s\" to the key, or partition the table by a column of the key",
                   look->store->shown, quoted, look->partition_by, column, column);
}

/* A unique index over the key's columns that a partition has for itself; NULL: none. */
static const char *index_of_partition(struct or_postgres_look *look)
{
    static const char sql[] =
        "SELECT x.indexrelid::pg_catalog.regclass FROM pg_catalog.pg_partition_tree($1::oid) AS t "
        "JOIN pg_catalog.pg_index AS x ON x.indrelid = t.relid AND x.indisunique AND x.indpred IS "
        "NULL AND x.indexprs IS NULL WHERE t.relid <> $1::oid AND (SELECT "
        "pg_catalog.jsonb_agg(a.attname ORDER BY a.attname::text) FROM pg_catalog.pg_attribute AS "
        "a WHERE a.attrelid = x.indexrelid AND a.attnum <= x.indnkeyatts) = (SELECT "
        "pg_catalog.jsonb_agg(k ORDER BY k #>> '{}') FROM pg_catalog.jsonb_array_elements($2::"
        "pg_catalog.jsonb) AS k) ORDER BY 1 LIMIT 1";
    struct or_postgres_table *table = look->table;
    struct or_buffer names;
    or_buffer_init(&names);
    for (size_t k = 0; k < table->spec.n_key; k++) {
        or_buffer_char(&names, k ? ',' : '[');
        or_buffer_json(&names, or_span(table->spec.key[k].name));
    }
    or_buffer_char(&names, ']');
    const char *oid = or_arena_printf(&table->arena, "%u", table->oid);
    const char *const params[] = {oid, or_postgres_keep_made(look, &names)};
    PGresult *result = NULL;
    const char *found = NULL;
    look->no_memory |= !oid;
    if (or_postgres_ask(look->store, sql, params, 2, &result, NULL) == ONEROW_OK &&
        PQntuples(result)) {
        found = or_postgres_keep(look, PQgetvalue(result, 0, 0));
    }
    PQclear(result);
    return found;
}

static void add_partition_index(struct or_buffer *why, struct or_postgres_look *look)
{
    const char *index = index_of_partition(look);
    if (index) {
        or_buffer_printf(why,
                         ": %s is the index of one partition alone, and the same key may be in "
                         "another one",
                         index);
    }
}

static enum onerow_status refuse_old_server(struct or_postgres_look *look)
{
    return or_fail(look->error, ONEROW_CONFIG,
                   "%s: table %s: nulls: equal on a column that may be NULL needs a unique index "
                   "with NULLS NOT DISTINCT, which PostgreSQL has since version 15; this server is "
                   "%d\n  make the key columns NOT NULL, leave nulls: equal away, or update the "
                   "server",
                   look->store->shown, look->table->quoted, look->store->version / 10000);
}

static enum onerow_status refuse_unenforced(struct or_postgres_look *look,
                                            const struct choice *choice)
{
    struct or_postgres_table *table = look->table;
    const char *column = partition_column(look);
    if (choice->bare && choice->obstacle) {
        return refuse_inference(look, choice);
    }
    if (column) {
        return refuse_partition_key(look, column);
    }
    if (table->nulls_equal && look->store->version < OR_POSTGRES_NULLS_NOT_DISTINCT) {
        return refuse_old_server(look);
    }
    const struct index *index = nearest(look, choice);
    struct or_buffer why;
    struct or_buffer sql;
    or_buffer_init(&why);
    or_buffer_init(&sql);
    if (index) {
        explain(&why, look, index);
    } else if (table->partitioned) {
        add_partition_index(&why, look);
    }
    add_statement(&sql, look, choice, index);
    bool weaker = !table->partitioned && !table->spec.store_key_equality;
    enum onerow_status status = or_fail(
        look->error, ONEROW_CONFIG,
        "%s: nothing keeps table %s at one row per key%s\n  run: %s;\n  (if that fails, there are "
        "duplicates already: onerow audit lists them)%s",
        look->store->shown, table->quoted, or_buffer_cstr(&why), or_buffer_cstr(&sql),
        weaker ? "\n  or name the weaker promise in onerow.yaml: `unenforced: accept`" : "");
    look->no_memory |= why.failed || sql.failed;
    or_buffer_finish(&why);
    or_buffer_finish(&sql);
    return status;
}

/* ---- the row's id -------------------------------------------------------------------- */

static bool may_read_all(const struct or_postgres_look *look, const struct index *index)
{
    bool may = true;
    for (int i = 0; i < index->n; i++) {
        int column = index_column(look, index, i);
        may &= column >= 0 && look->detail[column].may_read;
    }
    return may;
}

static void choose_id(struct or_postgres_look *look, const struct choice *choice)
{
    struct or_postgres_table *table = look->table;
    const struct index *index = choice->n ? &choice->indexes[0] : NULL;
    if (!index || !index_flag(index, IDX_PRIMARY) || !may_read_all(look, index)) {
        return;
    }
    struct or_buffer sql;
    or_buffer_init(&sql);
    or_buffer_text(&sql, index->n > 1 ? "pg_catalog.json_build_array(" : "");
    for (int i = 0; i < index->n; i++) {
        int column = index_column(look, index, i);
        or_buffer_text(&sql, i ? ", t." : "t.");
        or_postgres_quote(&sql, table->base.columns[column].name);
    }
    or_buffer_text(&sql, index->n > 1 ? ")::text" : "::text");
    table->id_sql = or_postgres_keep_made(look, &sql);
    table->id_is_key = index->n == 1 && table->spec.n_key == 1 && index->matches;
}

/* ---- the promise --------------------------------------------------------------------- */

static void promise_enforced(struct or_postgres_look *look, const struct index *index)
{
    struct onerow_store_table *base = &look->table->base;
    bool by_store = look->table->spec.store_key_equality;
    struct or_buffer text;
    or_buffer_init(&text);
    base->guarantees |= ONEROW_ENFORCED;
    or_buffer_printf(&text,
                     "exactly one row per key, always%s: enforced by %s %s, written in one INSERT "
                     "… ON CONFLICT; ",
                     by_store ? ", by PostgreSQL's own equality" : "", describe(index),
                     index_field(index, IDX_NAME));
    if (look->not_durable) {
        or_buffer_printf(&text, "not durable: %s", look->not_durable);
    } else {
        or_buffer_text(&text, "an acknowledged write is durable");
    }
    base->promise = or_postgres_keep_made(look, &text);
}

static void promise_unenforced(struct or_postgres_look *look)
{
    struct or_postgres_table *table = look->table;
    struct or_buffer text;
    or_buffer_init(&text);
    or_buffer_printf(&text, "%s.onerow_keys", look->schema_sql);
    table->keys_table = or_postgres_keep_made(look, &text);
    or_buffer_init(&text);
    or_buffer_printf(&text,
                     "exactly one row per key among cooperating writers (unenforced: accept), "
                     "through %s; rows of others are found by onerow audit%s%s",
                     table->keys_table, look->not_durable ? "; not durable: " : "",
                     look->not_durable ? look->not_durable : "");
    table->base.promise = or_postgres_keep_made(look, &text);
}

static enum onerow_status refuse_weaker(struct or_postgres_look *look)
{
    const struct or_postgres_table *table = look->table;
    struct or_buffer sql;
    or_buffer_init(&sql);
    add_create_index(&sql, look);
    enum onerow_status status = or_fail(
        look->error, ONEROW_CONFIG,
        "%s: table %s: unenforced: accept does not go with %s\n  run: %s;\n  or leave %s",
        look->store->shown, table->quoted,
        table->partitioned ? "a partitioned table: a row may move to another partition "
                             "while its key is being looked for"
                           : "key_equality: store: only onerow's own equality can be "
                             "kept in onerow_keys",
        or_buffer_cstr(&sql),
        table->partitioned ? "the table to its partitions, named one by one" : "key_equality away");
    look->no_memory |= sql.failed;
    or_buffer_finish(&sql);
    return status;
}

/* Nothing enforces the key. */
static enum onerow_status settle_for_less(struct or_postgres_look *look,
                                          const struct choice *choice)
{
    struct or_postgres_table *table = look->table;
    const struct onerow_table_spec *spec = &table->spec;
    if (spec->only_look) {
        table->base.promise = "none: nothing keeps this table at one row per key";
        return ONEROW_OK;
    }
    if (!spec->accept_unenforced) {
        return refuse_unenforced(look, choice);
    }
    if (table->partitioned || spec->store_key_equality) {
        return refuse_weaker(look);
    }
    promise_unenforced(look);
    return or_postgres_check_keys(look);
}

/* ---- advice --------------------------------------------------------------------------- */

/* Whether a record has to bring values of its own into the index, so that they may clash. */
static bool may_clash(const struct or_postgres_look *look, const struct index *index)
{
    bool own = false;
    for (int i = 0; i < index->n; i++) {
        int column = index_column(look, index, i);
        own |= column < 0 || (!look->kinds[column].has_default && !in_key(look->table, column));
    }
    const char *kind = index_field(index, IDX_KIND);
    return (index->unique || (kind && *kind == 'x')) && own;
}

static bool begins_with_key(const struct or_postgres_look *look, const struct choice *choice)
{
    for (size_t i = 0; i < choice->n; i++) {
        const struct index *index = &choice->indexes[i];
        int column = index_column(look, index, 0);
        if (column >= 0 && in_key(look->table, column) && index_flag(index, IDX_VALID) &&
            !index_field(index, IDX_WHERE)) {
            return true;
        }
    }
    return false;
}

static void add_advice(struct or_buffer *text, const struct or_postgres_look *look,
                       const struct choice *choice)
{
    const struct or_postgres_table *table = look->table;
    if (!table->arbiter && !begins_with_key(look, choice)) {
        or_buffer_printf(text,
                         "no index begins with a key column: every record reads the whole table; "
                         "run: CREATE INDEX CONCURRENTLY ON %s ",
                         table->quoted);
        add_key_columns(text, table);
        return;
    }
    for (size_t i = 0; i < choice->n; i++) {
        if (may_clash(look, &choice->indexes[i])) {
            or_buffer_printf(text, "%s ",
                             text->len ? ","
                                       : "a record is rejected when it clashes "
                                         "with another row's");
            add_index_columns(text, &choice->indexes[i]);
        }
    }
}

/* ---- deciding ------------------------------------------------------------------------- */

static enum onerow_status decide(struct or_postgres_look *look, struct choice *choice)
{
    struct or_postgres_table *table = look->table;
    struct or_buffer advice;
    table->base.guarantees = ONEROW_TRANSACTIONS | ONEROW_SEQUENTIAL;
    table->base.guarantees |= look->not_durable ? 0U : (unsigned)ONEROW_DURABLE;
    table->base.guarantees |=
        table->spec.store_key_equality || look->temporary ? 0U : (unsigned)ONEROW_PARALLEL;
    choose_id(look, choice);
    const struct index *arbiter = choose_arbiter(look, choice);
    if (arbiter) {
        promise_enforced(look, arbiter);
    } else {
        enum onerow_status status = settle_for_less(look, choice);
        if (status != ONEROW_OK) {
            return status;
        }
    }
    or_postgres_note_grants(look);
    or_buffer_init(&advice);
    add_advice(&advice, look, choice);
    bool any = advice.len > 0;
    const char *kept = or_postgres_keep_made(look, &advice);
    table->base.advice = any ? kept : NULL;
    return ONEROW_OK;
}

enum onerow_status or_postgres_decide(struct or_postgres_look *look)
{
    const char *oid = or_arena_printf(&look->table->arena, "%u", look->table->oid);
    const char *const params[] = {oid};
    PGresult *rows = NULL;
    if (!oid) {
        return or_fail(look->error, ONEROW_NOMEM, "out of memory");
    }
    enum onerow_status status =
        or_postgres_ask(look->store, indexes_sql, params, 1, &rows, look->error);
    if (status != ONEROW_OK) {
        return status;
    }
    struct choice choice = {0};
    choice.indexes =
        or_arena_alloc(&look->table->arena, ((size_t)PQntuples(rows) + 1) * sizeof *choice.indexes);
    if (choice.indexes) {
        choice.n = group(look, rows, choice.indexes);
        status = decide(look, &choice);
    } else {
        status = or_fail(look->error, ONEROW_NOMEM, "out of memory");
    }
    PQclear(rows);
    return status;
}
