/* SPDX-License-Identifier: Apache-2.0
 *
 * The texts of the statements. Values travel as one text[] for each column and are cast to
 * the column's type in the statement, so that PostgreSQL's own input functions read them:
 *
 *   UPSERT           INSERT INTO tab AS t (k, a)
 *                    SELECT v.c1, v.c2::integer FROM unnest($1, $2) WITH ORDINALITY v(c1, c2, o)
 *                    ORDER BY v.o
 *                    ON CONFLICT … DO UPDATE SET a = excluded.a
 *                    WHERE ROW(t.a)::record *<> ROW(excluded.a)::record
 *                    RETURNING k, t.xmax = 0
 *   UPSERT_FILTERED  … FROM unnest(…) v LEFT JOIN LATERAL (SELECT … FROM tab WHERE k = v.c1
 *                    OFFSET 0) r ON true WHERE r.wanted IS NOT FALSE OR v.o = 1 …
 *   UPDATE           WITH v AS (…), l AS (SELECT … FOR NO KEY UPDATE OF t) UPDATE … FROM l
 *   LOOK             SELECT … FROM unnest(…) v, LATERAL (SELECT … FROM tab WHERE k = v.c1
 *                    OFFSET 0) r
 *
 * - Sorted by position, which is the order of the keys: locks are taken in one order by all
 *   writers, so that they wait for each other instead of dead-locking. RETURNING answers in
 *   that order, too, without the rows that were left alone.
 * - `*<>` compares the stored images (PostgreSQL's documentation, 9.24.6): json has no
 *   other equality, and citext's own calls 'Bob' and 'bob' equal.
 * - A row that a conflict found and the condition left alone is locked all the same.
 * - xmax is 0 in a row that this statement inserted; a row that it updated was locked by
 *   it first, which leaves a mark there. Partitioned tables have no system columns in
 *   RETURNING, and looking afterwards would not do: a new row may have been locked since, by
 *   a foreign key that refers to it. There the condition of DO UPDATE, which is evaluated
 *   for rows that a conflict found and for no other, notes the row's key in a setting of the
 *   transaction, and RETURNING, which is evaluated for each row before the next one is
 *   touched, tells by it. The note is taken off, so that it speaks of one row only.
 * - LATERAL with OFFSET 0 keeps the look-up a look-up, key by key through the index:
 *   statistics may say that the table is empty when it has long ceased to be.
 * - Keys are compared by the operator of the unique index, named with its schema unless it
 *   is PostgreSQL's own: "=" would be another one where the search path does not lead to it.
 * - An order column that the record lacks counts as NULL, which excluded would not show:
 *   it holds the column's default then.
 */
#include <stdio.h>

#include "store/store_postgres_write.h"

#define NOTE    "onerow.updated" /* of a transaction: the key of the row that is being updated */
#define EXPLAIN "EXPLAIN (ANALYZE, FORMAT JSON, COSTS OFF, TIMING OFF) "

static const char *column_name(const struct or_postgres_table *table, size_t column)
{
    return table->base.columns[column].name;
}

static void add_column(struct or_buffer *sql, const struct or_postgres_table *table,
                       const char *alias, size_t column)
{
    if (alias) {
        or_buffer_printf(sql, "%s.", alias);
    }
    or_postgres_quote(sql, column_name(table, column));
}

/* Position of a column in the set, from 1; 0: the set is without it. */
static unsigned place_of(const struct or_postgres_shape *shape, int column)
{
    for (unsigned i = 0; i < shape->n; i++) {
        if (shape->columns[i] == column) {
            return i + 1;
        }
    }
    return 0;
}

static bool touches(const struct or_postgres_table *table, const struct or_postgres_shape *shape)
{
    return table->touch >= 0 && !place_of(shape, table->touch);
}

static void add_clock(struct or_buffer *sql, const struct or_postgres_table *table)
{
    or_buffer_printf(sql, "pg_catalog.clock_timestamp()::%s", table->columns[table->touch].exact);
}

/* The value at place i of the set, as the column takes it: without the modifier, because an
 * explicit cast to varchar(3) would cut a text where the assignment refuses it. */
static void add_given(struct or_buffer *sql, const struct or_postgres_table *table,
                      const struct or_postgres_shape *shape, unsigned i)
{
    char text[sizeof "v.c" + 10];
    snprintf(text, sizeof text, "v.c%u", i);
    or_postgres_cast(sql, &table->columns[shape->columns[i - 1]], text);
}

/* The same as it will be stored, to compare with. Where an explicit cast would cut what was not
 * measured before (bit strings, elements of arrays), it goes without the modifier: at worst an
 * equal row is taken for a different one. */
static void add_stored(struct or_buffer *sql, const struct or_postgres_table *table,
                       const struct or_postgres_shape *shape, unsigned i)
{
    const struct or_postgres_column *column = &table->columns[shape->columns[i - 1]];
    bool domain = column->type != column->base_type;
    if (column->cuts && column->category != 'S' && !domain) {
        add_given(sql, table, shape, i);
        return;
    }
    if (column->has_fields) {
        add_given(sql, table, shape, i);
    } else {
        or_buffer_printf(sql, "v.c%u", i);
    }
    or_buffer_printf(sql, "::%s", column->exact);
}

/* "unnest($1, $2) WITH ORDINALITY AS v(c1, c2, o)" over the first n columns. */
static void add_source(struct or_buffer *sql, unsigned n)
{
    /* Of several arrays it is the parser's own; of one it is a function that could be shadowed. */
    or_buffer_text(sql, n == 1 ? "pg_catalog.unnest(" : "unnest(");
    for (unsigned i = 1; i <= n; i++) {
        or_buffer_printf(sql, "%s$%u::text[]", i > 1 ? ", " : "", i);
    }
    or_buffer_text(sql, ") WITH ORDINALITY AS v(");
    for (unsigned i = 1; i <= n; i++) {
        or_buffer_printf(sql, "c%u, ", i);
    }
    or_buffer_text(sql, "o)");
}

static bool null_is_a_key(const struct or_postgres_table *table, size_t k)
{
    return table->spec.key[k].nulls_equal && table->columns[table->base.key[k]].nullable;
}

/* "t.k = v.c1" for all parts of the key. */
static void add_match(struct or_buffer *sql, const struct or_postgres_table *table,
                      const struct or_postgres_shape *shape, const char *alias)
{
    for (unsigned k = 0; k < table->spec.n_key; k++) {
        size_t column = table->base.key[k];
        or_buffer_text(sql, k ? " AND " : "");
        or_buffer_text(sql, null_is_a_key(table, k) ? "(" : "");
        add_column(sql, table, alias, column);
        or_buffer_printf(sql, " %s ", table->columns[column].equal);
        add_given(sql, table, shape, k + 1);
        if (null_is_a_key(table, k)) {
            or_buffer_text(sql, " OR (");
            add_column(sql, table, alias, column);
            or_buffer_printf(sql, " IS NULL AND v.c%u IS NULL))", k + 1);
        }
    }
}

/* Whether the record differs from the row, image by image. `excluded`: the new values are those of
 * the running INSERT. */
static void add_differs(struct or_buffer *sql, const struct or_postgres_table *table,
                        const struct or_postgres_shape *shape, const char *alias, bool excluded)
{
    unsigned first = (unsigned)table->spec.n_key;
    if (first == shape->n) {
        or_buffer_text(sql, "false");
        return;
    }
    or_buffer_text(sql, "ROW(");
    for (unsigned i = first; i < shape->n; i++) {
        or_buffer_text(sql, i > first ? ", " : "");
        add_column(sql, table, alias, shape->columns[i]);
    }
    or_buffer_text(sql, ")::record *<> ROW(");
    for (unsigned i = first; i < shape->n; i++) {
        or_buffer_text(sql, i > first ? ", " : "");
        if (excluded) {
            add_column(sql, table, "excluded", shape->columns[i]);
        } else {
            add_stored(sql, table, shape, i + 1);
        }
    }
    or_buffer_text(sql, ")::record");
}

/* Text is ordered by its bytes, as by onerow in every store, not by a collation. */
const char *or_postgres_order_collation(const struct or_postgres_table *table)
{
    return table->columns[table->order].category == 'S' &&
                   table->base.columns[table->order].type == ONEROW_TYPE_TEXT
               ? " COLLATE \"C\""
               : "";
}

/* Whether the record is as new as the row: NULL is before everything, equal is new enough. */
static void add_newest(struct or_buffer *sql, const struct or_postgres_table *table,
                       const struct or_postgres_shape *shape, const char *alias, bool excluded)
{
    size_t order = (size_t)table->order;
    unsigned place = place_of(shape, table->order);
    or_buffer_char(sql, '(');
    add_column(sql, table, alias, order);
    or_buffer_text(sql, " IS NULL");
    if (place) {
        or_buffer_text(sql, " OR coalesce(");
        if (excluded) {
            add_column(sql, table, "excluded", order);
        } else {
            add_stored(sql, table, shape, place);
        }
        or_buffer_printf(sql, "%s %s ", or_postgres_order_collation(table),
                         table->columns[order].at_least);
        add_column(sql, table, alias, order);
        or_buffer_text(sql, ", false)");
    }
    or_buffer_char(sql, ')');
}

/* The condition under which a row that is there is written. */
static void add_condition(struct or_buffer *sql, const struct or_postgres_table *table,
                          const struct or_postgres_shape *shape, const char *alias, bool excluded)
{
    if (table->spec.policy == ONEROW_POLICY_KEEP) {
        or_buffer_text(sql, "false");
        return;
    }
    add_differs(sql, table, shape, alias, excluded);
    if (table->order >= 0) {
        or_buffer_text(sql, " AND ");
        add_newest(sql, table, shape, alias, excluded);
    }
}

/* `from`: the alias of the new values ("excluded", with the columns' names), or "l" (with c1 …). */
static void add_assignments(struct or_buffer *sql, const struct or_postgres_table *table,
                            const struct or_postgres_shape *shape, bool excluded)
{
    const char *comma = "";
    for (unsigned i = (unsigned)table->spec.n_key; i < shape->n; i++) {
        or_buffer_text(sql, comma);
        add_column(sql, table, NULL, shape->columns[i]);
        or_buffer_text(sql, " = ");
        if (excluded) {
            add_column(sql, table, "excluded", shape->columns[i]);
        } else {
            or_buffer_printf(sql, "l.c%u", i + 1);
        }
        comma = ", ";
    }
    if (touches(table, shape)) {
        or_buffer_text(sql, comma);
        add_column(sql, table, NULL, (size_t)table->touch);
        or_buffer_text(sql, " = ");
        add_clock(sql, table);
    } else if (!*comma) { /* nothing but a key: SQL wants an assignment all the same */
        add_column(sql, table, NULL, table->base.key[0]);
        or_buffer_text(sql, " = ");
        add_column(sql, table, "t", table->base.key[0]);
    }
}

static void add_id(struct or_buffer *sql, const struct or_postgres_table *table)
{
    or_buffer_printf(sql, ", %s",
                     table->spec.want_ids && table->id_sql ? table->id_sql : "NULL::text");
}

/* "ROW(t.k1, t.k2)::text": the key of the row that is there, in one text. */
static void add_row_key(struct or_buffer *sql, const struct or_postgres_table *table)
{
    or_buffer_text(sql, "ROW(");
    for (size_t k = 0; k < table->spec.n_key; k++) {
        or_buffer_text(sql, k ? ", " : "");
        add_column(sql, table, "t", table->base.key[k]);
    }
    or_buffer_text(sql, ")::text");
}

static void add_note(struct or_buffer *sql, const struct or_postgres_table *table)
{
    or_buffer_text(sql, " AND pg_catalog.set_config('" NOTE "', ");
    add_row_key(sql, table);
    or_buffer_text(sql, ", true) IS NOT NULL");
}

/* Whether the row that comes back is a new one. CASE evaluates in the order of its parts. */
static void add_created(struct or_buffer *sql, const struct or_postgres_table *table)
{
    if (!table->partitioned) {
        or_buffer_text(sql, "t.xmax = 0");
        return;
    }
    or_buffer_text(sql, "CASE WHEN pg_catalog.current_setting('" NOTE "', true) = ");
    add_row_key(sql, table);
    or_buffer_text(sql, " THEN pg_catalog.set_config('" NOTE "', '', true) IS NULL ELSE true END");
}

static void add_returning(struct or_buffer *sql, const struct or_postgres_table *table)
{
    or_buffer_text(sql, "\nRETURNING ");
    for (size_t k = 0; k < table->spec.n_key; k++) {
        or_buffer_text(sql, k ? ", " : "");
        or_postgres_key_sql(sql, table, k, "t");
    }
    or_buffer_text(sql, ", ");
    add_created(sql, table);
    add_id(sql, table);
}

/* "INSERT INTO tab AS t (…) SELECT … FROM …". `staged`: from the temporary table, whose columns
 * have the columns' types already, so that the casts cost nothing. */
static void add_insert(struct or_buffer *sql, const struct or_postgres_table *table,
                       const struct or_postgres_shape *shape, bool staged)
{
    or_buffer_printf(sql, "INSERT INTO %s AS t (", table->quoted);
    for (unsigned i = 0; i < shape->n; i++) {
        or_buffer_text(sql, i ? ", " : "");
        add_column(sql, table, NULL, shape->columns[i]);
    }
    if (touches(table, shape)) {
        or_buffer_text(sql, ", ");
        add_column(sql, table, NULL, (size_t)table->touch);
    }
    or_buffer_text(sql, ")\nSELECT ");
    for (unsigned i = 1; i <= shape->n; i++) {
        or_buffer_text(sql, i > 1 ? ", " : "");
        add_given(sql, table, shape, i);
    }
    if (touches(table, shape)) {
        or_buffer_text(sql, ", ");
        add_clock(sql, table);
    }
    or_buffer_text(sql, "\nFROM ");
    if (staged) {
        or_buffer_text(sql, "pg_temp.onerow_staged AS v");
    } else {
        add_source(sql, shape->n);
    }
}

/* Leaves out the records that would change nothing, but for the first: its row gets locked, which
 * writes to the log, so that the commit waits until the log is on disk. An equal row may come from
 * a commit of somebody who does not wait (synchronous_commit = off), and "unchanged" must outlive a
 * crash, too. A transaction's id alone makes no commit wait. */
static void add_filter(struct or_buffer *sql, const struct or_postgres_table *table,
                       const struct or_postgres_shape *shape)
{
    or_buffer_text(sql, "\nLEFT JOIN LATERAL (SELECT ");
    add_condition(sql, table, shape, "t", false);
    or_buffer_printf(sql, " AS wanted FROM %s AS t WHERE ", table->quoted);
    add_match(sql, table, shape, "t");
    or_buffer_text(sql, " OFFSET 0) AS r ON true\nWHERE r.wanted IS NOT FALSE OR v.o = 1");
}

static void upsert(struct or_buffer *sql, const struct or_postgres_table *table,
                   const struct or_postgres_shape *shape, enum or_postgres_sql kind)
{
    add_insert(sql, table, shape, kind == OR_SQL_UPSERT_STAGED);
    if (kind == OR_SQL_UPSERT_FILTERED || kind == OR_SQL_UPSERT_STAGED) {
        add_filter(sql, table, shape);
    }
    or_buffer_printf(sql, "\nORDER BY v.o\nON CONFLICT %s DO UPDATE SET ", table->arbiter);
    add_assignments(sql, table, shape, true);
    if (kind != OR_SQL_UPSERT_ALWAYS) {
        or_buffer_text(sql, "\nWHERE ");
        add_condition(sql, table, shape, "t", true);
        if (table->partitioned) {
            add_note(sql, table);
        }
    }
    add_returning(sql, table);
}

static void plain_insert(struct or_buffer *sql, const struct or_postgres_table *table,
                         const struct or_postgres_shape *shape)
{
    add_insert(sql, table, shape, false);
    or_buffer_text(sql, "\nORDER BY v.o");
    add_returning(sql, table);
}

/* The rows are locked in the order of their keys before any is written. */
static void update(struct or_buffer *sql, const struct or_postgres_table *table,
                   const struct or_postgres_shape *shape, bool always)
{
    or_buffer_text(sql, "WITH l AS MATERIALIZED (SELECT v.o");
    for (unsigned i = 1; i <= shape->n; i++) {
        or_buffer_text(sql, ", ");
        add_given(sql, table, shape, i);
        or_buffer_printf(sql, " AS c%u", i);
    }
    or_buffer_text(sql, "\nFROM ");
    add_source(sql, shape->n);
    or_buffer_printf(sql, "\nJOIN %s AS t ON ", table->quoted);
    add_match(sql, table, shape, "t");
    if (!always) {
        or_buffer_text(sql, "\nWHERE ");
        add_condition(sql, table, shape, "t", false);
    }
    or_buffer_printf(sql, "\nORDER BY v.o FOR NO KEY UPDATE OF t)\nUPDATE %s AS t SET ",
                     table->quoted);
    add_assignments(sql, table, shape, false);
    or_buffer_text(sql, "\nFROM l WHERE ");
    for (unsigned k = 0; k < table->spec.n_key; k++) {
        or_buffer_text(sql, k ? " AND " : "");
        or_buffer_text(sql, null_is_a_key(table, k) ? "(" : "");
        add_column(sql, table, "t", table->base.key[k]);
        or_buffer_printf(sql, " %s l.c%u", table->columns[table->base.key[k]].equal, k + 1);
        if (null_is_a_key(table, k)) {
            or_buffer_text(sql, " OR (");
            add_column(sql, table, "t", table->base.key[k]);
            or_buffer_printf(sql, " IS NULL AND l.c%u IS NULL))", k + 1);
        }
    }
    or_buffer_text(sql, "\nRETURNING l.o");
    add_id(sql, table);
}

static void look(struct or_buffer *sql, const struct or_postgres_table *table,
                 const struct or_postgres_shape *shape)
{
    or_buffer_text(sql, "SELECT v.o, r.* FROM ");
    add_source(sql, shape->n);
    or_buffer_text(sql, ",\nLATERAL (SELECT ");
    add_differs(sql, table, shape, "t", false);
    or_buffer_text(sql, " AS differs, ");
    if (table->order >= 0) {
        or_buffer_text(sql, "NOT ");
        add_newest(sql, table, shape, "t", false);
    } else {
        or_buffer_text(sql, "false");
    }
    or_buffer_text(sql, " AS older");
    add_id(sql, table);
    or_buffer_printf(sql, " AS id FROM %s AS t WHERE ", table->quoted);
    add_match(sql, table, shape, "t");
    or_buffer_text(sql, " OFFSET 0) AS r");
}

/* Of rows that are locked by now. */
static void touch(struct or_buffer *sql, const struct or_postgres_table *table,
                  const struct or_postgres_shape *shape)
{
    or_buffer_printf(sql, "UPDATE %s AS t SET ", table->quoted);
    add_column(sql, table, NULL, (size_t)table->touch);
    or_buffer_text(sql, " = ");
    add_clock(sql, table);
    or_buffer_text(sql, "\nFROM ");
    add_source(sql, (unsigned)table->spec.n_key);
    or_buffer_text(sql, " WHERE ");
    add_match(sql, table, shape, "t");
}

/* A lock on one of the rows, for the sake of what it writes to the log (see add_filter). */
static void lock(struct or_buffer *sql, const struct or_postgres_table *table,
                 const struct or_postgres_shape *shape)
{
    or_buffer_text(sql, "SELECT 1 FROM ");
    add_source(sql, (unsigned)table->spec.n_key);
    or_buffer_printf(sql, " JOIN %s AS t ON ", table->quoted);
    add_match(sql, table, shape, "t");
    or_buffer_text(sql, " LIMIT 1 FOR KEY SHARE OF t");
}

static void copy(struct or_buffer *sql, const struct or_postgres_table *table,
                 const struct or_postgres_shape *shape)
{
    or_buffer_printf(sql, "COPY %s (", table->quoted);
    for (unsigned i = 0; i < shape->n; i++) {
        or_buffer_text(sql, i ? ", " : "");
        add_column(sql, table, NULL, shape->columns[i]);
    }
    or_buffer_text(sql, ") FROM STDIN");
}

static void stage_create(struct or_buffer *sql, const struct or_postgres_table *table,
                         const struct or_postgres_shape *shape)
{
    or_buffer_text(sql, "CREATE TEMPORARY TABLE onerow_staged (");
    for (unsigned i = 0; i < shape->n; i++) {
        or_buffer_printf(sql, "c%u %s, ", i + 1, table->columns[shape->columns[i]].cast);
    }
    or_buffer_text(sql, "o bigint) ON COMMIT DROP");
}

const char *or_postgres_sql_of(const struct or_postgres_table *table,
                               struct or_postgres_shape *shape, enum or_postgres_sql kind)
{
    if (shape->sql[kind]) {
        return shape->sql[kind];
    }
    struct or_buffer sql;
    or_buffer_init(&sql);
    switch (kind) {
    case OR_SQL_UPSERT:
    case OR_SQL_UPSERT_FILTERED:
    case OR_SQL_UPSERT_STAGED:
    case OR_SQL_UPSERT_ALWAYS: upsert(&sql, table, shape, kind); break;
    case OR_SQL_UPDATE: update(&sql, table, shape, false); break;
    case OR_SQL_UPDATE_ALWAYS: update(&sql, table, shape, true); break;
    case OR_SQL_EXPLAIN_UPSERT:
        or_buffer_text(&sql, EXPLAIN);
        upsert(&sql, table, shape, OR_SQL_UPSERT);
        break;
    case OR_SQL_EXPLAIN_UPDATE:
        or_buffer_text(&sql, EXPLAIN);
        update(&sql, table, shape, true);
        break;
    case OR_SQL_INSERT: plain_insert(&sql, table, shape); break;
    case OR_SQL_LOOK: look(&sql, table, shape); break;
    case OR_SQL_TOUCH: touch(&sql, table, shape); break;
    case OR_SQL_LOCK: lock(&sql, table, shape); break;
    case OR_SQL_COPY: copy(&sql, table, shape); break;
    case OR_SQL_STAGE_CREATE: stage_create(&sql, table, shape); break;
    case OR_SQL_STAGE_COPY: or_buffer_text(&sql, "COPY pg_temp.onerow_staged FROM STDIN"); break;
    case OR_SQL_KINDS: break;
    }
    shape->sql[kind] = or_buffer_steal(&sql);
    or_buffer_finish(&sql);
    return shape->sql[kind];
}
