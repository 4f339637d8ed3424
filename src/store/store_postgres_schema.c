/* SPDX-License-Identifier: Apache-2.0
 *
 * Opening a table: three questions to the catalogs, whatever the table's size. What kind of
 * relation it is and what surrounds it; its columns with their types; its indexes (those in
 * store_postgres_key.c, where the key is decided).
 *
 * A column's type is walked down to what lies beneath domains and arrays, in SQL. Two names
 * are made of it:
 *
 *   cast   the type beneath domains without its modifier. What is written is cast to it and
 *          then assigned, so that the assignment checks length and domain: an explicit cast
 *          to varchar(3), or to a domain over it, would cut instead. Only of interval day and
 *          its like it has the modifier, without which '1' would be a second.
 *   exact  the column's own type with its modifier: what a written value turns into, for
 *          comparing images, which wants the very same type on both sides.
 *
 * Both are qualified unless PostgreSQL's own, so that no search path matters, and bpchar
 * and "bit" stand for char and bit without a length, whose plain names mean a length of 1.
 * For the same reason the operators by which keys are found are named with their schema: where
 * citext's own is not in the search path, "=" between two citext is that of text.
 *
 * Refused here are relations of which no unique index could hold: views, foreign tables and
 * partitions, tables with inheriting children (an index covers the parent's rows only), and
 * tables with rules (ON CONFLICT is refused there).
 */
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "base/text.h"
#include "store/store_postgres_schema.h"

/* ---- small things ---------------------------------------------------------------- */

const char *or_postgres_keep(struct or_postgres_look *look, const char *text)
{
    const char *kept = or_arena_copy(&look->table->arena, or_span(text ? text : "")).data;
    look->no_memory |= !kept;
    return kept ? kept : "";
}

const char *or_postgres_keep_made(struct or_postgres_look *look, struct or_buffer *text)
{
    const char *kept = or_postgres_keep(look, or_buffer_cstr(text));
    look->no_memory |= text->failed;
    or_buffer_finish(text);
    return kept;
}

const char *or_postgres_field(const PGresult *result, int row, int column)
{
    return PQgetisnull(result, row, column) ? NULL : PQgetvalue(result, row, column);
}

bool or_postgres_flag(const PGresult *result, int row, int column)
{
    return PQgetvalue(result, row, column)[0] == 't';
}

/* The same, kept; NULL for NULL. */
static const char *kept_field(struct or_postgres_look *look, const PGresult *result, int row,
                              int column)
{
    const char *text = or_postgres_field(result, row, column);
    return text ? or_postgres_keep(look, text) : NULL;
}

static Oid oid_field(const PGresult *result, int row, int column)
{
    return (Oid)strtoul(PQgetvalue(result, row, column), NULL, 10);
}

int or_postgres_find_column(const struct or_postgres_table *table, const char *name)
{
    for (size_t i = 0; i < table->base.n_columns; i++) {
        if (strcmp(table->base.columns[i].name, name) == 0) {
            return (int)i;
        }
    }
    return -1;
}

#define NAMES_SHOWN 8U

const char *or_postgres_near_names(struct or_postgres_look *look, const char *name)
{
    const struct onerow_store_table *base = &look->table->base;
    struct or_buffer text;
    or_buffer_init(&text);
    for (size_t i = 0; i < base->n_columns; i++) {
        if (or_ascii_equal_fold(or_span(base->columns[i].name), or_span(name))) {
            or_buffer_printf(&text, "; did you mean \"%s\"?", base->columns[i].name);
            return or_postgres_keep_made(look, &text);
        }
    }
    or_buffer_text(&text, "; it has ");
    for (size_t i = 0; i < base->n_columns && i < NAMES_SHOWN; i++) {
        or_buffer_printf(&text, "%s\"%s\"", i ? ", " : "", base->columns[i].name);
    }
    if (base->n_columns > NAMES_SHOWN) {
        or_buffer_printf(&text, " and %zu more", base->n_columns - NAMES_SHOWN);
    } else if (base->n_columns == 0) {
        or_buffer_text(&text, "none");
    }
    return or_postgres_keep_made(look, &text);
}

/* ---- the relation ------------------------------------------------------------------- */

enum {
    REL_OID,
    REL_SCHEMA,
    REL_NAME,
    REL_QUOTED,
    REL_SCHEMA_SQL,
    REL_KIND,
    REL_PERSISTENCE,
    REL_IS_SYSTEM,
    REL_ROLE,
    REL_MAY_ENTER,
    REL_MAY_READ, /* some column at least */
    REL_MISSING,
    REL_ROW_SECURITY,
    REL_FSYNC,
    REL_RULE,
    REL_CHILD,
    REL_FOREIGN,
    REL_UNLOGGED,
    REL_ROW_TRIGGERS,
    REL_INSERT_TRIGGERS,
    REL_PARTITION_BY,
    REL_PARTITION_ATTNUMS,
};

/* Bits of pg_trigger.tgtype: 1 row, 2 before, 4 insert, 16 update. */
static const char relation_sql[] =
    "WITH c AS (SELECT c.*, n.nspname" OR_POSTGRES_FIND "), "
    "tree AS (SELECT p.relid::oid AS oid FROM c, pg_catalog.pg_partition_tree(c.oid) AS p "
    "WHERE c.relkind = 'p' UNION SELECT c.oid FROM c), "
    "fired AS (SELECT t.tgtype FROM pg_catalog.pg_trigger AS t JOIN tree ON tree.oid = t.tgrelid "
    "WHERE NOT t.tgisinternal AND t.tgenabled <> 'D') "
    "SELECT c.oid, c.nspname, c.relname, "
    "pg_catalog.quote_ident(c.nspname) || '.' || pg_catalog.quote_ident(c.relname), "
    "pg_catalog.quote_ident(c.nspname), c.relkind, c.relpersistence, "
    "c.nspname IN ('pg_catalog', 'information_schema', 'pg_toast'), "
    "pg_catalog.quote_ident(current_user), "
    "pg_catalog.has_schema_privilege(c.relnamespace, 'USAGE'), "
    "pg_catalog.has_any_column_privilege(c.oid, 'SELECT'), "
    "pg_catalog.concat_ws(', ', "
    "CASE WHEN NOT pg_catalog.has_table_privilege(c.oid, 'SELECT') THEN 'SELECT' END, "
    "CASE WHEN NOT pg_catalog.has_any_column_privilege(c.oid, 'INSERT') THEN 'INSERT' END, "
    "CASE WHEN NOT pg_catalog.has_any_column_privilege(c.oid, 'UPDATE') THEN 'UPDATE' END), "
    "pg_catalog.row_security_active(c.oid), pg_catalog.current_setting('fsync') = 'on', "
    "(SELECT r.rulename FROM pg_catalog.pg_rewrite AS r WHERE r.ev_class = c.oid AND r.ev_type IN "
    "('2', '3') AND r.ev_enabled <> 'D' ORDER BY 1 LIMIT 1), "
    "(SELECT i.inhrelid::pg_catalog.regclass FROM pg_catalog.pg_inherits AS i WHERE i.inhparent = "
    "c.oid AND c.relkind = 'r' ORDER BY 1 LIMIT 1), "
    "(SELECT f.oid::pg_catalog.regclass FROM tree JOIN pg_catalog.pg_class AS f ON f.oid = "
    "tree.oid WHERE f.relkind = 'f' ORDER BY 1 LIMIT 1), "
    "(SELECT u.oid::pg_catalog.regclass FROM tree JOIN pg_catalog.pg_class AS u ON u.oid = "
    "tree.oid WHERE u.relpersistence = 'u' ORDER BY 1 LIMIT 1), "
    "EXISTS (SELECT 1 FROM fired WHERE fired.tgtype & 3 = 3 AND fired.tgtype & 20 <> 0), "
    "EXISTS (SELECT 1 FROM fired WHERE fired.tgtype & 4 <> 0), "
    "pg_catalog.pg_get_partkeydef(c.oid), (SELECT p.partattrs FROM "
    "pg_catalog.pg_partitioned_table AS p WHERE p.partrelid = c.oid) FROM c";

static const char *kind_word(char kind)
{
    switch (kind) {
    case 'v': return "a view";
    case 'm': return "a materialized view";
    case 'f': return "a foreign table, whose server keeps its own keys";
    case 'S': return "a sequence";
    default: return "no ordinary table";
    }
}

static enum onerow_status refuse(struct or_postgres_look *look, const char *why)
{
    return or_fail(look->error, ONEROW_CONFIG, "%s: %s", look->store->shown, why);
}

/* Refuses what no unique index could keep, and what ON CONFLICT does not take. */
static enum onerow_status check_relation(struct or_postgres_look *look, const PGresult *result)
{
    struct or_arena *arena = &look->table->arena;
    const char *quoted = look->table->quoted;
    char kind = PQgetvalue(result, 0, REL_KIND)[0];
    const char *rule = or_postgres_field(result, 0, REL_RULE);
    const char *child = or_postgres_field(result, 0, REL_CHILD);
    const char *foreign = or_postgres_field(result, 0, REL_FOREIGN);
    const char *why = NULL;
    if (or_postgres_flag(result, 0, REL_IS_SYSTEM)) {
        why =
            or_arena_printf(arena, "%s is one of PostgreSQL's own; name a table of yours", quoted);
    } else if (kind != 'r' && kind != 'p') {
        why = or_arena_printf(arena, "%s is %s; name a table", quoted, kind_word(kind));
    } else if (foreign) {
        why = or_arena_printf(arena,
                              "partition %s of %s is a foreign table: no unique index reaches "
                              "into it\n  detach it, or name another table",
                              foreign, quoted);
    } else if (child) {
        why = or_arena_printf(arena,
                              "%s has the inheriting table %s: a unique index covers the rows of "
                              "%s alone, so both could hold one key\n  name %s itself, or make "
                              "%s a partitioned table",
                              quoted, child, quoted, child, quoted);
    } else if (rule) {
        why = or_arena_printf(arena,
                              "%s has the rule \"%s\", and PostgreSQL takes no INSERT … ON "
                              "CONFLICT on a table with INSERT or UPDATE rules\n  make a trigger "
                              "of it: DROP RULE \"%s\" ON %s",
                              quoted, rule, rule, quoted);
    } else {
        return ONEROW_OK;
    }
    return why ? refuse(look, why) : or_fail(look->error, ONEROW_NOMEM, "out of memory");
}

static enum onerow_status check_privileges(struct or_postgres_look *look, const PGresult *result)
{
    const char *quoted = look->table->quoted;
    const char *shown = look->store->shown;
    if (!or_postgres_flag(result, 0, REL_MAY_ENTER)) {
        return or_fail(look->error, ONEROW_CONFIG,
                       "%s: role %s may not use schema %s\n  run: GRANT USAGE ON SCHEMA %s TO %s",
                       shown, look->role, look->schema_sql, look->schema_sql, look->role);
    }
    bool reads = or_postgres_flag(result, 0, REL_MAY_READ);
    if (look->writes ? !*look->missing : reads) {
        return ONEROW_OK;
    }
    bool only_look = look->table->spec.only_look;
    bool some_columns = reads && strncmp(look->missing, "SELECT", 6) == 0;
    return or_fail(look->error, ONEROW_CONFIG,
                   "%s: role %s lacks %s on table %s%s\n  run: GRANT SELECT%s ON %s TO %s", shown,
                   look->role, only_look ? "SELECT" : look->missing, quoted,
                   some_columns ? " (SELECT on some of its columns is not enough: a system column "
                                  "tells which rows are new)"
                                : "",
                   only_look ? "" : ", INSERT, UPDATE", quoted, look->role);
}

static void note_durability(struct or_postgres_look *look, const PGresult *result)
{
    const char *unlogged = or_postgres_field(result, 0, REL_UNLOGGED);
    look->temporary = PQgetvalue(result, 0, REL_PERSISTENCE)[0] == 't';
    if (look->temporary) {
        look->not_durable = "the table is temporary and ends with the connection";
    } else if (unlogged) {
        const char *text = or_arena_printf(&look->table->arena,
                                           "%s is UNLOGGED and is emptied after a crash", unlogged);
        look->not_durable = or_postgres_keep(look, text);
        look->no_memory |= !text;
    } else if (!or_postgres_flag(result, 0, REL_FSYNC)) {
        look->not_durable = "the server runs with fsync = off";
    }
}

static void note_relation(struct or_postgres_look *look, const PGresult *result)
{
    struct or_postgres_table *table = look->table;
    table->oid = oid_field(result, 0, REL_OID);
    table->schema = kept_field(look, result, 0, REL_SCHEMA);
    table->name = kept_field(look, result, 0, REL_NAME);
    table->quoted = kept_field(look, result, 0, REL_QUOTED);
    table->partitioned = PQgetvalue(result, 0, REL_KIND)[0] == 'p';
    table->has_row_triggers = or_postgres_flag(result, 0, REL_ROW_TRIGGERS);
    table->has_insert_triggers = or_postgres_flag(result, 0, REL_INSERT_TRIGGERS);
    table->has_row_security = or_postgres_flag(result, 0, REL_ROW_SECURITY);
    look->schema_sql = kept_field(look, result, 0, REL_SCHEMA_SQL);
    look->role = kept_field(look, result, 0, REL_ROLE);
    look->missing = kept_field(look, result, 0, REL_MISSING);
    look->partition_by = kept_field(look, result, 0, REL_PARTITION_BY);
    look->partition_attnums = kept_field(look, result, 0, REL_PARTITION_ATTNUMS);
    note_durability(look, result);
}

static enum onerow_status look_at_relation(struct or_postgres_look *look)
{
    struct or_postgres_place place;
    const char *location = look->table->spec.location;
    enum onerow_status status =
        or_postgres_read_place(location, &look->table->arena, &place, look->error);
    if (status != ONEROW_OK) {
        return status;
    }
    const char *const params[] = OR_POSTGRES_PLACE_PARAMS(place);
    PGresult *result = NULL;
    status = or_postgres_ask(look->store, relation_sql, params, 4, &result, look->error);
    if (status != ONEROW_OK) {
        return status;
    }
    if (PQntuples(result) == 0) {
        status = or_fail(look->error, ONEROW_ABSENT,
                         "%s: there is no table \"%s\"%s\n  onerow put --create-table makes it",
                         look->store->shown, location, place.schema ? "" : " in the search path");
    } else {
        note_relation(look, result);
        status = check_relation(look, result);
        status = status == ONEROW_OK ? check_privileges(look, result) : status;
    }
    PQclear(result);
    return status;
}

/* ---- columns ---------------------------------------------------------------------------- */

enum {
    COL_ATTNUM,
    COL_NAME,
    COL_DECLARED,
    COL_TYPE,
    COL_BASE,
    COL_ELEMENT,
    COL_TYPMOD,
    COL_CAST,
    COL_EXACT,
    COL_CUTS,
    COL_NOT_NULL,
    COL_FILLS,
    COL_IDENTITY,
    COL_GENERATED,
    COL_TYPTYPE,
    COL_CATEGORY,
    COL_TYPE_NAME,
    COL_BUILT_IN,
    COL_COLLATION,
    COL_DETERMINISTIC,
    COL_MAY_READ,
    COL_MAY_INSERT,
    COL_SEQUENCE,
    COL_HAS_FIELDS,
    COL_OPCLASS,
    COL_EQUALITY,
    COL_EQUAL,
    COL_AT_LEAST,
};

/* A type's name with a modifier, and what stands for it of a type that is not PostgreSQL's own: the
 * modifier is what format_type writes behind the plain name. */
#define TYPE_NAME(type, space, typmod)                                                             \
    "CASE WHEN " space ".nspname = 'pg_catalog' THEN pg_catalog.format_type(" type ".oid, " typmod \
    ") ELSE pg_catalog.quote_ident(" space ".nspname) || '.' || pg_catalog.quote_ident(" type      \
    ".typname) || pg_catalog.substr(pg_catalog.format_type(" type ".oid, " typmod                  \
    "), pg_catalog.length(pg_catalog.format_type(" type ".oid, -1)) + 1) END"

/* The fields of an interval's modifier (interval.h of PostgreSQL): all of them is no restriction.
 */
#define HAS_FIELDS "(lt.oid = 1186 AND leaf.typmod >= 0 AND (leaf.typmod >> 16) & 32767 <> 32767)"

#define CAST_NAME  TYPE_NAME("lt", "ln", "CASE WHEN " HAS_FIELDS " THEN leaf.typmod ELSE -1 END")
#define EXACT_NAME TYPE_NAME("ot", "os", "a.atttypmod")

#define OPERATOR_NAME(operator, space)                                                             \
    "CASE WHEN " space ".nspname = 'pg_catalog' THEN "                                             \
    operator".oprname ELSE 'OPERATOR(' || pg_catalog.quote_ident(" space ".nspname) || '.' || "    \
    operator".oprname || ')' END"

/* The operator o in its schema s that stands at this place of the operator class own. */
#define OPERATOR_OF_OWN(place, a, o, s)                                                            \
    "LEFT JOIN pg_catalog.pg_amop AS " a " ON " a ".amopfamily = own.opcfamily AND " a             \
    ".amoplefttype = own.opcintype AND " a ".amoprighttype = own.opcintype AND " a                 \
    ".amopstrategy = " place " AND " a ".amoppurpose = 's' "                                       \
    "LEFT JOIN pg_catalog.pg_operator AS " o " ON " o ".oid = " a ".amopopr "                      \
    "LEFT JOIN pg_catalog.pg_namespace AS " s " ON " s ".oid = " o ".oprnamespace "

/* `chain` walks from each column's type to what lies beneath: a domain's base, an array's element.
 * An array is a type that its element's typarray names; vectors such as oidvector are none. `own`,
 * for the columns that $2 names (a JSON array), is the btree operator class that is the type's
 * default: its own one, or that of a type whose values it has (3500 anyenum, 3831 anyrange, 4537
 * anymultirange, 2249 record, 2277 anyarray), the preferred one first (varchar: text, not bpchar).
 * An identity column needs no privilege on its sequence. */
static const char columns_sql[] =
    "WITH RECURSIVE chain (attnum, depth, type, typmod, inside, not_null, fills) AS ("
    "SELECT a.attnum, 0, a.atttypid, a.atttypmod, false, a.attnotnull, "
    "a.atthasdef OR a.attidentity <> '' "
    "FROM pg_catalog.pg_attribute AS a "
    "WHERE a.attrelid = $1::oid AND a.attnum > 0 AND NOT a.attisdropped "
    "UNION ALL "
    "SELECT c.attnum, c.depth + 1, CASE t.typtype WHEN 'd' THEN t.typbasetype ELSE t.typelem END, "
    "CASE t.typtype WHEN 'd' THEN t.typtypmod ELSE c.typmod END, c.inside OR t.typtype <> 'd', "
    "c.not_null OR (NOT c.inside AND t.typnotnull), "
    "c.fills OR (NOT c.inside AND t.typtype = 'd' AND t.typdefault IS NOT NULL) "
    "FROM chain AS c JOIN pg_catalog.pg_type AS t ON t.oid = c.type "
    "LEFT JOIN pg_catalog.pg_type AS e ON e.oid = t.typelem AND e.typarray = t.oid "
    "WHERE t.typtype = 'd' OR (e.oid IS NOT NULL AND NOT c.inside)), "
    "base AS (SELECT DISTINCT ON (attnum) * FROM chain WHERE NOT inside "
    "ORDER BY attnum, depth DESC), "
    "leaf AS (SELECT DISTINCT ON (attnum) * FROM chain ORDER BY attnum, depth DESC), "
    "cuts AS (SELECT attnum, bool_or(type IN (1042, 1043, 1560, 1562) AND typmod >= 0) AS cuts "
    "FROM chain GROUP BY attnum) "
    "SELECT a.attnum, a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod), a.atttypid, "
    "base.type, CASE WHEN leaf.inside THEN leaf.type ELSE 0::oid END, leaf.typmod, " CAST_NAME
    " || CASE WHEN leaf.inside THEN '[]' ELSE '' END, " EXACT_NAME
    " || CASE WHEN ot.oid <> a.atttypid THEN '[]' ELSE '' END, "
    "cuts.cuts, leaf.not_null, leaf.fills, a.attidentity, a.attgenerated, bt.typtype, "
    "bt.typcategory, bt.typname, bn.nspname = 'pg_catalog', "
    "pg_catalog.quote_ident(cn.nspname) || '.' || pg_catalog.quote_ident(co.collname), "
    "co.collisdeterministic IS NOT FALSE, "
    "pg_catalog.has_column_privilege($1::oid, a.attnum, 'SELECT'), "
    "pg_catalog.has_column_privilege($1::oid, a.attnum, 'INSERT'), "
    "(SELECT CASE WHEN q.relkind = 'S' AND NOT pg_catalog.has_sequence_privilege(q.oid, "
    "'USAGE, UPDATE') THEN pg_catalog.quote_ident(qn.nspname) || '.' || "
    "pg_catalog.quote_ident(q.relname) END AS name FROM pg_catalog.pg_attrdef AS f "
    "JOIN pg_catalog.pg_depend AS p ON p.classid = 'pg_catalog.pg_attrdef'::regclass "
    "AND p.objid = f.oid AND p.refclassid = 'pg_catalog.pg_class'::regclass "
    "JOIN pg_catalog.pg_class AS q ON q.oid = p.refobjid "
    "JOIN pg_catalog.pg_namespace AS qn ON qn.oid = q.relnamespace "
    "WHERE a.atthasdef AND f.adrelid = a.attrelid AND f.adnum = a.attnum "
    "ORDER BY 1 NULLS LAST LIMIT 1), " HAS_FIELDS ", own.oid, eo.oid, " OPERATOR_NAME(
        "eo",
        "es") ", "
              "CASE WHEN bt.typtype <> 'c' THEN " OPERATOR_NAME(
                  "go",
                  "gs") " END "
                        "FROM pg_catalog.pg_attribute AS a "
                        "JOIN base ON base.attnum = a.attnum "
                        "JOIN leaf ON leaf.attnum = a.attnum "
                        "JOIN cuts ON cuts.attnum = a.attnum "
                        "JOIN pg_catalog.pg_type AS bt ON bt.oid = base.type "
                        "JOIN pg_catalog.pg_namespace AS bn ON bn.oid = bt.typnamespace "
                        "JOIN pg_catalog.pg_type AS lt ON lt.oid = leaf.type "
                        "JOIN pg_catalog.pg_namespace AS ln ON ln.oid = lt.typnamespace "
                        "JOIN pg_catalog.pg_type AS ct ON ct.oid = a.atttypid "
                        "LEFT JOIN pg_catalog.pg_type AS ce ON ce.oid = ct.typelem AND ce.typarray "
                        "= ct.oid "
                        "JOIN pg_catalog.pg_type AS ot ON ot.oid = coalesce(ce.oid, ct.oid) "
                        "JOIN pg_catalog.pg_namespace AS os ON os.oid = ot.typnamespace "
                        "LEFT JOIN pg_catalog.pg_collation AS co ON co.oid = a.attcollation "
                        "LEFT JOIN pg_catalog.pg_namespace AS cn ON cn.oid = co.collnamespace "
                        "LEFT JOIN LATERAL (SELECT o.oid, o.opcfamily, o.opcintype FROM "
                        "pg_catalog.pg_opclass AS o "
                        "JOIN pg_catalog.pg_am AS m ON m.oid = o.opcmethod AND m.amname = 'btree' "
                        "JOIN pg_catalog.pg_type AS i ON i.oid = o.opcintype "
                        "WHERE $2::jsonb ? a.attname::text AND o.opcdefault AND (o.opcintype = "
                        "base.type "
                        "OR EXISTS (SELECT 1 FROM pg_catalog.pg_cast AS k WHERE k.castsource = "
                        "base.type "
                        "AND k.casttarget = o.opcintype AND k.castmethod = 'b' AND k.castcontext = "
                        "'i') "
                        "OR o.opcintype = CASE WHEN leaf.inside THEN 2277 ELSE CASE bt.typtype "
                        "WHEN 'e' THEN 3500 "
                        "WHEN 'r' THEN 3831 WHEN 'm' THEN 4537 WHEN 'c' THEN 2249 END END) "
                        "ORDER BY o.opcintype <> base.type, NOT i.typispreferred, o.oid LIMIT 1) "
                        "AS own ON true " OPERATOR_OF_OWN("3", "ea", "eo", "es") OPERATOR_OF_OWN(
                            "4", "ga", "go", "gs") "WHERE a.attrelid = $1::oid AND a.attnum > 0 "
                                                   "AND NOT a.attisdropped ORDER BY a.attnum";

/* What a value of the type beneath domains is. */
static enum onerow_type type_of(const struct or_postgres_column *kind,
                                const struct or_postgres_detail *detail)
{
    static const struct {
        const char *name;
        enum onerow_type type;
    } types[] = {
        {"text", ONEROW_TYPE_TEXT},
        {"varchar", ONEROW_TYPE_TEXT},
        {"bpchar", ONEROW_TYPE_TEXT},
        {"name", ONEROW_TYPE_TEXT},
        {"int2", ONEROW_TYPE_INT},
        {"int4", ONEROW_TYPE_INT},
        {"int8", ONEROW_TYPE_INT},
        {"numeric", ONEROW_TYPE_DECIMAL},
        {"bool", ONEROW_TYPE_BOOL},
        {"date", ONEROW_TYPE_DATE},
        {"timestamp", ONEROW_TYPE_TIMESTAMP},
        {"timestamptz", ONEROW_TYPE_TIMESTAMP},
        {"uuid", ONEROW_TYPE_UUID},
        {"json", ONEROW_TYPE_JSON},
        {"jsonb", ONEROW_TYPE_JSON},
    };
    for (size_t i = 0; detail->built_in && i < sizeof types / sizeof *types; i++) {
        if (strcmp(detail->type_name, types[i].name) == 0) {
            return types[i].type;
        }
    }
    bool citext = !detail->built_in && strcmp(detail->type_name, "citext") == 0;
    return citext || kind->typtype == 'e' ? ONEROW_TYPE_TEXT : ONEROW_TYPE_UNKNOWN;
}

static const char *why_not_writable(char generated, char identity)
{
    if (generated) {
        return "is a generated column";
    }
    return identity == 'a' ? "is an identity column that is GENERATED ALWAYS" : NULL;
}

static void note_kind(struct or_postgres_look *look, const PGresult *result, int row,
                      struct or_postgres_column *kind)
{
    const char *equal = kept_field(look, result, row, COL_EQUAL);
    *kind = (struct or_postgres_column){
        .type = oid_field(result, row, COL_TYPE),
        .base_type = oid_field(result, row, COL_BASE),
        .element_type = oid_field(result, row, COL_ELEMENT),
        .typmod = (int32_t)strtol(PQgetvalue(result, row, COL_TYPMOD), NULL, 10),
        .cast = or_postgres_keep(look, PQgetvalue(result, row, COL_CAST)),
        .exact = or_postgres_keep(look, PQgetvalue(result, row, COL_EXACT)),
        .equal = equal ? equal : "=",
        .at_least = kept_field(look, result, row, COL_AT_LEAST),
        .has_fields = or_postgres_flag(result, row, COL_HAS_FIELDS),
        .cuts = or_postgres_flag(result, row, COL_CUTS),
        .nullable = !or_postgres_flag(result, row, COL_NOT_NULL),
        .has_default = or_postgres_flag(result, row, COL_FILLS),
        .typtype = PQgetvalue(result, row, COL_TYPTYPE)[0],
        .category = PQgetvalue(result, row, COL_CATEGORY)[0],
    };
}

static void note_detail(struct or_postgres_look *look, const PGresult *result, int row,
                        struct or_postgres_detail *detail)
{
    bool may_read = or_postgres_flag(result, row, COL_MAY_READ);
    *detail = (struct or_postgres_detail){
        .attnum = (int)strtol(PQgetvalue(result, row, COL_ATTNUM), NULL, 10),
        .type_name = or_postgres_keep(look, PQgetvalue(result, row, COL_TYPE_NAME)),
        .collation = kept_field(look, result, row, COL_COLLATION),
        .built_in = or_postgres_flag(result, row, COL_BUILT_IN),
        .deterministic = or_postgres_flag(result, row, COL_DETERMINISTIC),
        .opclass = kept_field(look, result, row, COL_OPCLASS),
        .equality = kept_field(look, result, row, COL_EQUALITY),
        .sequence = kept_field(look, result, row, COL_SEQUENCE),
        .may_read = may_read,
        .may_use = may_read && (!look->writes || or_postgres_flag(result, row, COL_MAY_INSERT)),
    };
}

static enum onerow_status note_columns(struct or_postgres_look *look, const PGresult *result)
{
    struct or_postgres_table *table = look->table;
    size_t n = (size_t)PQntuples(result);
    struct or_postgres_detail *detail =
        or_arena_alloc(&table->arena, (n + 1) * sizeof *look->detail);
    look->columns = or_arena_alloc(&table->arena, (n + 1) * sizeof *look->columns);
    look->kinds = or_arena_alloc(&table->arena, (n + 1) * sizeof *look->kinds);
    if (!look->columns || !look->kinds || !detail) {
        return or_fail(look->error, ONEROW_NOMEM, "out of memory");
    }
    for (size_t i = 0; i < n; i++) {
        struct or_postgres_column *kind = &look->kinds[i];
        struct onerow_column *column = &look->columns[i];
        int row = (int)i;
        note_kind(look, result, row, kind);
        note_detail(look, result, row, &detail[i]);
        column->name = or_postgres_keep(look, PQgetvalue(result, row, COL_NAME));
        column->declared = or_postgres_keep(look, PQgetvalue(result, row, COL_DECLARED));
        column->type = type_of(kind, &detail[i]);
        column->required = !kind->nullable && !kind->has_default;
        column->not_writable = why_not_writable(PQgetvalue(result, row, COL_GENERATED)[0],
                                                PQgetvalue(result, row, COL_IDENTITY)[0]);
    }
    table->base.columns = look->columns;
    table->base.n_columns = n;
    table->columns = look->kinds;
    look->detail = detail;
    return ONEROW_OK;
}

/* The columns whose operators count, as a JSON array. */
static const char *compared_columns(struct or_postgres_look *look)
{
    const struct onerow_table_spec *spec = &look->table->spec;
    struct or_buffer names;
    or_buffer_init(&names);
    for (size_t i = 0; i < spec->n_key; i++) {
        or_buffer_char(&names, i ? ',' : '[');
        or_buffer_json(&names, or_span(spec->key[i].name));
    }
    if (spec->policy == ONEROW_POLICY_NEWEST) {
        or_buffer_char(&names, spec->n_key ? ',' : '[');
        or_buffer_json(&names, or_span(spec->order_column));
    }
    or_buffer_text(&names, names.len ? "]" : "[]");
    return or_postgres_keep_made(look, &names);
}

static enum onerow_status look_at_columns(struct or_postgres_look *look)
{
    struct or_postgres_table *table = look->table;
    const char *oid = or_arena_printf(&table->arena, "%u", table->oid);
    const char *const params[] = {oid, compared_columns(look)};
    PGresult *result = NULL;
    if (!oid || look->no_memory) {
        return or_fail(look->error, ONEROW_NOMEM, "out of memory");
    }
    enum onerow_status status =
        or_postgres_ask(look->store, columns_sql, params, 2, &result, look->error);
    if (status != ONEROW_OK) {
        return status;
    }
    status = note_columns(look, result);
    PQclear(result);
    return status;
}

void or_postgres_cast(struct or_buffer *sql, const struct or_postgres_column *column,
                      const char *text)
{
    if (!column->has_fields) {
        or_buffer_printf(sql, "%s::%s", text, column->cast);
        return;
    }
    /* A cast from text reads without the modifier and cuts by it then; the fields of a JSON object
     * are read with it. */
    or_buffer_printf(sql,
                     "(SELECT f.v FROM pg_catalog.json_to_record(pg_catalog.json_build_object('v', "
                     "%s%s)) AS f(v %s))",
                     text, column->element_type ? "::text[]" : "", column->cast);
}

/* ---- order and touch ----------------------------------------------------------------------- */

static enum onerow_status resolve_order(struct or_postgres_look *look)
{
    struct or_postgres_table *table = look->table;
    const char *name = table->spec.order_column;
    table->order = -1;
    if (table->spec.policy != ONEROW_POLICY_NEWEST) {
        return ONEROW_OK;
    }
    int order = or_postgres_find_column(table, name);
    if (order < 0) {
        return or_fail(look->error, ONEROW_CONFIG,
                       "table %s has no column \"%s\" for on_conflict: newest(%s)%s", table->quoted,
                       name, name, or_postgres_near_names(look, name));
    }
    if (!look->kinds[order].at_least) {
        return or_fail(look->error, ONEROW_CONFIG,
                       "table %s: column \"%s\" (%s) has no order, so on_conflict: newest(%s) "
                       "cannot tell older from newer\n  name a column of a number or a time",
                       table->quoted, name, look->columns[order].declared, name);
    }
    table->order = order;
    return ONEROW_OK;
}

/* Whether the clock can be written there, cast to the column's type. */
static bool takes_clock(const struct or_postgres_look *look, int column)
{
    static const char *const names[] = {"timestamptz", "timestamp", "date", "text", "varchar"};
    const struct or_postgres_detail *detail = &look->detail[column];
    bool takes = false;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        takes |= strcmp(detail->type_name, names[i]) == 0;
    }
    return takes && detail->built_in && !look->kinds[column].cuts;
}

static enum onerow_status resolve_touch(struct or_postgres_look *look)
{
    struct or_postgres_table *table = look->table;
    const char *name = table->spec.touch_column;
    table->touch = -1;
    if (table->spec.touch == ONEROW_TOUCH_NONE) {
        return ONEROW_OK;
    }
    int touch = or_postgres_find_column(table, name);
    if (touch < 0 || look->columns[touch].not_writable) {
        return or_fail(look->error, ONEROW_CONFIG,
                       "table %s has no column \"%s\" that updated_at could set%s", table->quoted,
                       name, touch < 0 ? or_postgres_near_names(look, name) : "");
    }
    if (!takes_clock(look, touch)) {
        return or_fail(look->error, ONEROW_CONFIG,
                       "table %s: column \"%s\" (%s) does not take the time that updated_at sets\n "
                       " name a column of type timestamptz, timestamp, date or text",
                       table->quoted, name, look->columns[touch].declared);
    }
    look->columns[touch].required = false;
    table->touch = touch;
    return ONEROW_OK;
}

/* ---- opening and closing --------------------------------------------------------------------- */

static enum onerow_status look_at_table(struct or_postgres_look *look)
{
    enum onerow_status status = look_at_relation(look);
    status = status == ONEROW_OK ? look_at_columns(look) : status;
    status = status == ONEROW_OK ? or_postgres_resolve_key(look) : status;
    status = status == ONEROW_OK ? or_postgres_check_sequences(look) : status;
    status = status == ONEROW_OK ? resolve_order(look) : status;
    status = status == ONEROW_OK ? resolve_touch(look) : status;
    status = status == ONEROW_OK ? or_postgres_decide(look) : status;
    return look->no_memory ? or_fail(look->error, ONEROW_NOMEM, "out of memory") : status;
}

enum onerow_status or_postgres_table_open(struct onerow_store *base,
                                          const struct onerow_table_spec *spec,
                                          struct onerow_store_table **out,
                                          struct onerow_error *error)
{
    *out = NULL;
    struct or_postgres_table *table = calloc(1, sizeof *table);
    if (!table) {
        return or_fail(error, ONEROW_NOMEM, "out of memory");
    }
    table->base.store = base;
    table->spec = *spec;
    or_arena_init(&table->arena);
    struct or_postgres_store *store = or_postgres_store_of(base);
    struct or_postgres_look look = {.store = store,
                                    .table = table,
                                    .error = error,
                                    .writes = !spec->only_look && !store->read_only};
    enum onerow_status status = look_at_table(&look);
    if (status != ONEROW_OK) {
        or_postgres_table_close(&table->base);
        return status;
    }
    *out = &table->base;
    return ONEROW_OK;
}

void or_postgres_table_close(struct onerow_store_table *base)
{
    if (!base) {
        return;
    }
    struct or_postgres_table *table = or_postgres_table_of(base);
    or_postgres_writer_free(table->writer);
    or_arena_finish(&table->arena);
    free(table);
}
