/* SPDX-License-Identifier: Apache-2.0
 *
 * PostgreSQL: tables as people make them, looked at. Which are taken, by which arbiter and
 * with which promise; which are refused, why, and what is to be run. What is advised is run
 * here, too, and must lead to a table that is taken.
 */
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/text.h"
#include "store/store_postgres.h"
#include "tests/support/postgres.h"

static struct bench b;
static const char *url;

static int start(void **state)
{
    (void)state;
    bench_start(&b);
    url = pg_database(&b);
    return bench_store(&b, url) == ONEROW_OK ? 0 : -1;
}

static int stop(void **state)
{
    (void)state;
    bench_stop(&b);
    return 0;
}

/* Whatever the test before asked for. */
static int forget(void **state)
{
    (void)state;
    b.table.spec = (struct onerow_table_spec){0};
    b.nulls_equal = false;
    return 0;
}

/* NULLS NOT DISTINCT came with version 15. */
static bool has_nulls_not_distinct(void)
{
    return or_postgres_store_of(b.table.store)->version >= 150000;
}

static void run(const char *statements)
{
    pg_sql(&b, url, statements);
}

/* An empty schema with what the statements make. */
static void make(const char *statements)
{
    run(text(&b,
             "SET client_min_messages = error; DROP SCHEMA IF EXISTS app, \"App\" CASCADE; DROP "
             "SCHEMA public CASCADE; CREATE SCHEMA public; %s",
             statements));
}

static struct or_postgres_table *looked_at(void)
{
    return or_postgres_table_of(b.table.table);
}

static void look(const char *location, const char *key)
{
    bench_look(&b, location, key);
    assert_status(&b, ONEROW_OK);
}

static void refuse(const char *location, const char *key, const char *why)
{
    bench_look(&b, location, key);
    assert_status(&b, ONEROW_CONFIG);
    assert_contains(b.error.text, why);
}

/* The table t is taken with this arbiter, and PostgreSQL takes the arbiter. */
static void taken(const char *statements, const char *key, const char *arbiter)
{
    make(statements);
    look("t", key);
    struct or_postgres_table *table = looked_at();
    assert_true(table->base.guarantees & ONEROW_ENFORCED);
    assert_string_equal(table->arbiter, arbiter);
    run(text(&b, "EXPLAIN INSERT INTO %s SELECT * FROM %s ON CONFLICT %s DO NOTHING", table->quoted,
             table->quoted, table->arbiter));
}

static void refused(const char *statements, const char *key, const char *why)
{
    make(statements);
    refuse("t", key, why);
}

/* What stands behind "run: " in the last refusal, up to the line's end. */
static const char *advised(void)
{
    const char *at = strstr(b.error.text, "run: ");
    assert_non_null(at);
    return text(&b, "%.*s", (int)strcspn(at + 5, "\n"), at + 5);
}

/* The table is refused for this reason, and taken after what the refusal says has been run. */
static void mended(const char *statements, const char *key, const char *why)
{
    refused(statements, key, why);
    run(advised());
    look("t", key);
    assert_true(b.table.table->guarantees & ONEROW_ENFORCED);
}

static const struct or_postgres_column *column(const char *name)
{
    for (size_t i = 0; i < b.table.table->n_columns; i++) {
        if (strcmp(b.table.table->columns[i].name, name) == 0) {
            return &looked_at()->columns[i];
        }
    }
    fail_msg("no column %s", name);
    return NULL;
}

static const struct onerow_column *shown(const char *name)
{
    return &b.table.table->columns[column(name) - looked_at()->columns];
}

/* ---- places ---------------------------------------------------------------------------------- */

static void places(void **state)
{
    (void)state;
    make("CREATE SCHEMA app; CREATE SCHEMA \"App\"; CREATE TABLE items (k text PRIMARY KEY); "
         "CREATE TABLE \"Items\" (\"Key\" text PRIMARY KEY); CREATE TABLE app.items (a text "
         "PRIMARY KEY); CREATE TABLE \"App\".\"Items\" (b text PRIMARY KEY); CREATE TABLE "
         "\"App\".\"we\"\"ird. na'me\" (\"sel\"\"ect\" text PRIMARY KEY); CREATE TABLE plain (k "
         "text PRIMARY KEY)");
    look("items", "k");
    assert_string_equal(looked_at()->quoted, "public.items");
    look("Items", "Key");
    assert_string_equal(looked_at()->quoted, "public.\"Items\"");
    look("\"Items\"", "Key");
    look("app.items", "a");
    look("App.Items", "b");
    assert_string_equal(looked_at()->quoted, "\"App\".\"Items\"");
    look("\"App\".\"Items\"", "b");
    look("APP.ITEMS", "a");
    look("PLAIN", "k");
    look("\"App\".\"we\"\"ird. na'me\"", "sel\"ect");
    assert_string_equal(looked_at()->quoted, "\"App\".\"we\"\"ird. na'me\"");
    assert_string_equal(looked_at()->id_sql, "t.\"sel\"\"ect\"::text");
    assert_true(looked_at()->id_is_key);
    refuse("items", "K", "has no column \"K\" for its key; did you mean \"k\"?");
    refuse("items", "zz", "it has \"k\"");
    refuse("pg_class", "oid", "one of PostgreSQL's own");
    refuse("a.b.c", "k", "not a name");
    refuse("\"items", "k", "not a name");
    refuse("", "k", "not a name");
}

static void absent(void **state)
{
    (void)state;
    static const char *const locations[] = {"nowhere",   "app.nowhere",     "nowhere.items",
                                            "\"ITEMS\"", "pg_temp_7.items", "items_pkey"};
    make("CREATE SCHEMA app; CREATE TABLE items (k text PRIMARY KEY)");
    for (size_t i = 0; i < sizeof locations / sizeof *locations; i++) {
        bench_look(&b, locations[i], "k");
        assert_status(&b, ONEROW_ABSENT);
        assert_contains(b.error.text, "onerow put --create-table makes it");
    }
}

/* ---- kinds of relations ---------------------------------------------------------------------- */

static void no_tables(void **state)
{
    (void)state;
    refused("CREATE TABLE s (k text PRIMARY KEY); CREATE VIEW t AS SELECT * FROM s", "k",
            "public.t is a view");
    refused("CREATE MATERIALIZED VIEW t AS SELECT 'a'::text AS k; CREATE UNIQUE INDEX ON t (k)",
            "k", "is a materialized view");
    refused("CREATE SEQUENCE t", "k", "is a sequence");
    refused("CREATE TABLE t (k text PRIMARY KEY); CREATE RULE r AS ON INSERT TO t DO ALSO NOTHING",
            "k", "has the rule \"r\"");
    run("DROP RULE r ON t");
    look("t", "k");
    refused("CREATE TABLE t (k text PRIMARY KEY); CREATE TABLE child () INHERITS (t)", "k",
            "has the inheriting table child");
    make("CREATE TABLE p (k text PRIMARY KEY); CREATE TABLE t (UNIQUE (k)) INHERITS (p)");
    look("t", "k");
}

static void foreign_tables(void **state)
{
    (void)state;
    make("CREATE FOREIGN DATA WRAPPER onerow_none; CREATE SERVER onerow_far FOREIGN DATA WRAPPER "
         "onerow_none; CREATE FOREIGN TABLE f (k text) SERVER onerow_far; CREATE TABLE t (k text) "
         "PARTITION BY LIST (k); CREATE FOREIGN TABLE t_far PARTITION OF t FOR VALUES IN ('a') "
         "SERVER onerow_far");
    refuse("f", "k", "is a foreign table");
    refuse("t", "k", "partition t_far of public.t is a foreign table");
    run("DROP FOREIGN DATA WRAPPER onerow_none CASCADE");
}

static void durability(void **state)
{
    (void)state;
    taken("CREATE TABLE t (k text PRIMARY KEY)", "k", "ON CONSTRAINT t_pkey");
    assert_int_equal(b.table.table->guarantees, ONEROW_ENFORCED | ONEROW_TRANSACTIONS |
                                                    ONEROW_DURABLE | ONEROW_SEQUENTIAL |
                                                    ONEROW_PARALLEL);
    assert_contains(b.table.table->promise, "enforced by primary key t_pkey");
    assert_contains(b.table.table->promise, "an acknowledged write is durable");
    assert_null(b.table.table->advice);
    taken("CREATE UNLOGGED TABLE t (k text PRIMARY KEY)", "k", "ON CONSTRAINT t_pkey");
    assert_false(b.table.table->guarantees & ONEROW_DURABLE);
    assert_contains(b.table.table->promise, "not durable: t is UNLOGGED");
    taken("CREATE TABLE t (k text PRIMARY KEY) PARTITION BY LIST (k); CREATE UNLOGGED TABLE tp "
          "PARTITION OF t DEFAULT",
          "k", "ON CONSTRAINT t_pkey");
    assert_contains(b.table.table->promise, "not durable: tp is UNLOGGED");
}

static void triggers(void **state)
{
    (void)state;
    static const char *const noop =
        "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; "
        "CREATE TABLE t (k text PRIMARY KEY);";
    static const struct {
        const char *when;
        bool row;
        bool insert;
    } cases[] = {
        {"BEFORE INSERT ON t FOR EACH ROW", true, true},
        {"BEFORE UPDATE ON t FOR EACH ROW", true, false},
        {"BEFORE DELETE ON t FOR EACH ROW", false, false},
        {"BEFORE INSERT ON t FOR EACH STATEMENT", false, true},
        {"AFTER INSERT ON t FOR EACH ROW", false, true},
        {"AFTER UPDATE ON t FOR EACH ROW", false, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        make(text(&b, "%s CREATE TRIGGER g %s EXECUTE FUNCTION f()", noop, cases[i].when));
        look("t", "k");
        assert_int_equal(looked_at()->has_row_triggers, cases[i].row);
        assert_int_equal(looked_at()->has_insert_triggers, cases[i].insert);
    }
    make(text(&b, "%s CREATE TRIGGER g %s EXECUTE FUNCTION f(); ALTER TABLE t DISABLE TRIGGER g",
              noop, cases[0].when));
    look("t", "k");
    assert_false(looked_at()->has_row_triggers);
    make("CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; CREATE "
         "TABLE t (k text PRIMARY KEY) PARTITION BY LIST (k); CREATE TABLE tp PARTITION OF t "
         "DEFAULT; CREATE TRIGGER g BEFORE INSERT ON tp FOR EACH ROW EXECUTE FUNCTION f()");
    look("t", "k");
    assert_true(looked_at()->partitioned);
    assert_true(looked_at()->has_row_triggers);
    make("CREATE TABLE o (k text PRIMARY KEY); CREATE TABLE t (k text PRIMARY KEY REFERENCES o)");
    look("t", "k");
    assert_false(looked_at()->has_insert_triggers);
}

/* ---- roles ----------------------------------------------------------------------------------- */

/* The URL of the same database for another role. */
static const char *url_of(const char *role)
{
    const char *at = strstr(url, "://") + 3;
    const char *host = strchr(at, '@') ? strchr(at, '@') + 1 : at;
    return text(&b, "%.*s%s@%s", (int)(at - url), url, role, host);
}

static void privileges(void **state)
{
    (void)state;
    make("CREATE ROLE onerow_clerk LOGIN; CREATE SCHEMA app; CREATE TABLE app.t (k text PRIMARY "
         "KEY, a int)");
    assert_int_equal(bench_store(&b, url_of("onerow_clerk")), ONEROW_OK);
    refuse("app.t", "k", "run: GRANT USAGE ON SCHEMA app TO onerow_clerk");
    run(advised());
    refuse("app.t", "k", "lacks SELECT, INSERT, UPDATE on table app.t");
    run("GRANT SELECT ON app.t TO onerow_clerk");
    refuse("app.t", "k", "lacks INSERT, UPDATE on table app.t");
    b.table.spec.only_look = true;
    look("app.t", "k");
    b.table.spec.only_look = false;
    or_postgres_store_of(b.table.store)->read_only = true;
    look("app.t", "k");
    assert_contains(b.table.table->refusal, "run: GRANT SELECT, INSERT, UPDATE ON app.t");
    or_postgres_store_of(b.table.store)->read_only = false;
    refuse("app.t", "k", "run: GRANT SELECT, INSERT, UPDATE ON app.t TO onerow_clerk");
    run(advised());
    look("app.t", "k");
    run("REVOKE ALL ON app.t FROM onerow_clerk; GRANT INSERT, UPDATE, SELECT (k, a) ON app.t TO "
        "onerow_clerk");
    refuse("app.t", "k", "lacks SELECT on table app.t (SELECT on some of its columns");
    refuse("app.t", "k", "run: GRANT SELECT, INSERT, UPDATE ON app.t TO onerow_clerk");
    b.table.spec.only_look = true;
    look("app.t", "k");
    b.table.spec.only_look = false;
    run("REVOKE ALL ON app.t FROM onerow_clerk; GRANT SELECT, INSERT (a), UPDATE (a) ON app.t TO "
        "onerow_clerk");
    refuse("app.t", "k", "role onerow_clerk may not use key column \"k\"");
    run("GRANT INSERT (k) ON app.t TO onerow_clerk");
    look("app.t", "k");
    assert_false(looked_at()->has_row_security);
    run("ALTER TABLE app.t ENABLE ROW LEVEL SECURITY");
    look("app.t", "k");
    assert_true(looked_at()->has_row_security);
    bench_store(&b, url);
    look("app.t", "k");
    assert_false(looked_at()->has_row_security);
    run("DROP SCHEMA app CASCADE; DROP ROLE onerow_clerk");
}

/* What is named as missing is what the advice grants, and after it the role can write. */
static void privileges_to_write(void **state)
{
    (void)state;
    make("CREATE ROLE onerow_clerk LOGIN; CREATE SCHEMA app; GRANT USAGE ON SCHEMA app TO "
         "onerow_clerk; CREATE TABLE app.t (id serial PRIMARY KEY, k text UNIQUE, a int GENERATED "
         "BY DEFAULT AS IDENTITY, b int)");
    assert_int_equal(bench_store(&b, url_of("onerow_clerk")), ONEROW_OK);
    or_postgres_store_of(b.table.store)->read_only = true;
    refuse("app.t", "k", "lacks SELECT, INSERT, UPDATE on table app.t");
    b.table.spec.only_look = true;
    refuse("app.t", "k", "lacks SELECT on table app.t\n  run: GRANT SELECT ON app.t");
    run("GRANT SELECT (k) ON app.t TO onerow_clerk");
    look("app.t", "k");
    assert_null(looked_at()->id_sql);
    assert_string_equal(audit(&b), "0 0");
    b.table.spec.only_look = false;
    look("app.t", "k");
    assert_contains(b.table.table->refusal,
                    "run: GRANT SELECT, INSERT, UPDATE ON app.t TO onerow_clerk; GRANT USAGE ON "
                    "SEQUENCE app.t_id_seq TO onerow_clerk");
    or_postgres_store_of(b.table.store)->read_only = false;
    refuse("app.t", "k", "lacks SELECT, INSERT, UPDATE on table app.t (");
    run(advised());
    refuse("app.t", "k",
           "the default of column \"id\"\n  run: GRANT USAGE ON SEQUENCE "
           "app.t_id_seq TO onerow_clerk");
    or_postgres_store_of(b.table.store)->read_only = true;
    look("app.t", "k");
    assert_contains(b.table.table->refusal, "cannot write table app.t\n  run: GRANT USAGE");
    or_postgres_store_of(b.table.store)->read_only = false;
    run("GRANT USAGE ON SEQUENCE app.t_id_seq TO onerow_clerk");
    look("app.t", "k");
    assert_null(b.table.table->refusal);
    assert_string_equal(looked_at()->id_sql, "t.\"id\"::text");
    assert_string_equal(put(&b, "{'k':'x','b':1}"), "created");
    assert_string_equal(put(&b, "{'k':'x','b':2}"), "updated");
    run("REVOKE ALL ON SEQUENCE app.t_id_seq FROM onerow_clerk");
    look("app.t", "id"); /* every record brings it */
    bench_store(&b, url);
    run("DROP SCHEMA app CASCADE; DROP ROLE onerow_clerk");
}

/* Tables in which keys are locked are made by whoever writes first, or were made for the role. */
static void privileges_to_lock_keys(void **state)
{
    (void)state;
    make("CREATE ROLE onerow_clerk LOGIN; CREATE SCHEMA app; GRANT USAGE ON SCHEMA app TO "
         "onerow_clerk; CREATE TABLE app.t (k text NOT NULL, a int); GRANT SELECT, INSERT, UPDATE "
         "ON app.t TO onerow_clerk");
    assert_int_equal(bench_store(&b, url_of("onerow_clerk")), ONEROW_OK);
    struct or_postgres_store *store = or_postgres_store_of(b.table.store);
    b.table.spec.accept_unenforced = true;
    refuse("app.t", "k", "run: GRANT CREATE ON SCHEMA app TO onerow_clerk;");
    store->read_only = true;
    look("app.t", "k");
    assert_contains(b.table.table->refusal, "run: GRANT CREATE ON SCHEMA app TO onerow_clerk;");
    b.table.spec.only_look = true;
    look("app.t", "k");
    assert_null(b.table.table->refusal);
    b.table.spec.only_look = false;
    run("CREATE TABLE app.onerow_keys (key text PRIMARY KEY)");
    look("app.t", "k"); /* one of them is missing */
    assert_contains(b.table.table->refusal, "CREATE TABLE IF NOT EXISTS app.onerow_fence");
    run(strstr(b.table.table->refusal, "CREATE TABLE"));
    look("app.t", "k");
    assert_null(b.table.table->refusal);
    store->read_only = false;
    look("app.t", "k");
    assert_string_equal(put(&b, "{'k':'x','a':1}"), "created");
    static const char *const privileges[] = {"SELECT", "INSERT", "UPDATE"};
    static const char *const tables[] = {"app.onerow_keys", "app.onerow_fence"};
    for (size_t i = 0; i < 6; i++) {
        run(text(&b, "REVOKE %s ON %s FROM onerow_clerk", privileges[i / 2], tables[i % 2]));
        refuse("app.t", "k", "run: GRANT SELECT, INSERT, UPDATE ON app.onerow_keys");
        run(advised());
        look("app.t", "k");
    }
    run("DROP TABLE app.onerow_keys, app.onerow_fence; GRANT CREATE ON SCHEMA app TO "
        "onerow_clerk");
    look("app.t", "k");
    assert_string_equal(put(&b, "{'k':'y','a':1}"), "created");
    bench_store(&b, url);
    run("DROP SCHEMA app CASCADE; DROP ROLE onerow_clerk");
}

/* ---- columns --------------------------------------------------------------------------------- */

static void required_columns(void **state)
{
    (void)state;
    make("CREATE DOMAIN must AS int NOT NULL; CREATE DOMAIN filled AS int NOT NULL DEFAULT 1; "
         "CREATE TABLE t (k text PRIMARY KEY, a int, gone int, b int NOT NULL, c int NOT NULL "
         "DEFAULT 1, d must, e filled, f int GENERATED ALWAYS AS (a + 1) STORED, g int GENERATED "
         "ALWAYS AS IDENTITY, h int GENERATED BY DEFAULT AS IDENTITY, i must[], j serial); ALTER "
         "TABLE t DROP COLUMN gone");
    look("t", "k");
    static const struct {
        const char *name;
        bool required;
        bool nullable;
        bool has_default;
        const char *not_writable;
    } cases[] = {
        {"k", true, false, false, NULL},
        {"a", false, true, false, NULL},
        {"b", true, false, false, NULL},
        {"c", false, false, true, NULL},
        {"d", true, false, false, NULL},
        {"e", false, false, true, NULL},
        {"f", false, true, true, "is a generated column"},
        {"g", false, false, true, "is an identity column that is GENERATED ALWAYS"},
        {"h", false, false, true, NULL},
        {"i", false, true, false, NULL},
        {"j", false, false, true, NULL},
    };
    assert_int_equal(b.table.table->n_columns, sizeof cases / sizeof *cases);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(shown(cases[i].name)->required, cases[i].required);
        assert_int_equal(column(cases[i].name)->nullable, cases[i].nullable);
        assert_int_equal(column(cases[i].name)->has_default, cases[i].has_default);
        const char *why = shown(cases[i].name)->not_writable;
        assert_string_equal(why ? why : "", cases[i].not_writable ? cases[i].not_writable : "");
    }
}

static const struct {
    const char *name;
    const char *declared; /* in SQL */
    const char *cast;
    const char *exact;
    enum onerow_type type;
    bool cuts;
} column_cases[] = {
    {"c0", "text", "text", "text", ONEROW_TYPE_TEXT, false},
    {"c1", "varchar(5)", "character varying", "character varying(5)", ONEROW_TYPE_TEXT, true},
    {"c2", "varchar", "character varying", "character varying", ONEROW_TYPE_TEXT, false},
    {"c3", "char(3)", "bpchar", "character(3)", ONEROW_TYPE_TEXT, true},
    {"c4", "bpchar", "bpchar", "bpchar", ONEROW_TYPE_TEXT, false},
    {"c5", "name", "name", "name", ONEROW_TYPE_TEXT, false},
    {"c6", "smallint", "smallint", "smallint", ONEROW_TYPE_INT, false},
    {"c7", "bigint", "bigint", "bigint", ONEROW_TYPE_INT, false},
    {"c8", "numeric", "numeric", "numeric", ONEROW_TYPE_DECIMAL, false},
    {"c9", "numeric(10,2)", "numeric", "numeric(10,2)", ONEROW_TYPE_DECIMAL, false},
    {"c10", "boolean", "boolean", "boolean", ONEROW_TYPE_BOOL, false},
    {"c11", "date", "date", "date", ONEROW_TYPE_DATE, false},
    {"c12", "timestamptz(3)", "timestamp with time zone", "timestamp(3) with time zone",
     ONEROW_TYPE_TIMESTAMP, false},
    {"c13", "timestamp", "timestamp without time zone", "timestamp without time zone",
     ONEROW_TYPE_TIMESTAMP, false},
    {"c14", "uuid", "uuid", "uuid", ONEROW_TYPE_UUID, false},
    {"c15", "jsonb", "jsonb", "jsonb", ONEROW_TYPE_JSON, false},
    {"c16", "json", "json", "json", ONEROW_TYPE_JSON, false},
    {"c17", "bytea", "bytea", "bytea", ONEROW_TYPE_UNKNOWN, false},
    {"c18", "double precision", "double precision", "double precision", ONEROW_TYPE_UNKNOWN, false},
    {"c19", "bit(4)", "\"bit\"", "bit(4)", ONEROW_TYPE_UNKNOWN, true},
    {"c20", "varbit(4)", "bit varying", "bit varying(4)", ONEROW_TYPE_UNKNOWN, true},
    {"c21", "int[]", "integer[]", "integer[]", ONEROW_TYPE_UNKNOWN, false},
    {"c22", "varchar(3)[]", "character varying[]", "character varying(3)[]", ONEROW_TYPE_UNKNOWN,
     true},
    {"c23", "numeric(4,1)[][]", "numeric[]", "numeric(4,1)[]", ONEROW_TYPE_UNKNOWN, false},
    {"c24", "mood", "app.\"Mood\"", "app.\"Mood\"", ONEROW_TYPE_TEXT, false},
    {"c25", "mood[]", "app.\"Mood\"[]", "app.\"Mood\"[]", ONEROW_TYPE_UNKNOWN, false},
    {"c26", "app.short", "character varying", "app.short", ONEROW_TYPE_TEXT, true},
    {"c27", "app.shorter", "character varying", "app.shorter", ONEROW_TYPE_TEXT, true},
    {"c28", "app.short[]", "character varying[]", "app.short[]", ONEROW_TYPE_UNKNOWN, true},
    {"c29", "app.list", "integer[]", "app.list", ONEROW_TYPE_UNKNOWN, false},
    {"c30", "app.price", "numeric", "app.price", ONEROW_TYPE_DECIMAL, false},
    {"c31", "app.pair", "app.pair", "app.pair", ONEROW_TYPE_UNKNOWN, false},
    {"c32", "int4range", "int4range", "int4range", ONEROW_TYPE_UNKNOWN, false},
    {"c33", "interval day to second(3)", "interval day to second(3)", "interval day to second(3)",
     ONEROW_TYPE_UNKNOWN, false},
    {"c37", "interval(3)", "interval", "interval(3)", ONEROW_TYPE_UNKNOWN, false},
    {"c38", "interval day[]", "interval day[]", "interval day[]", ONEROW_TYPE_UNKNOWN, false},
    {"c39", "app.days", "interval day", "app.days", ONEROW_TYPE_UNKNOWN, false},
    {"c34", "citext", "public.citext", "public.citext", ONEROW_TYPE_TEXT, false},
    {"c35", "\"char\"", "\"char\"", "\"char\"", ONEROW_TYPE_UNKNOWN, false},
    {"c36", "app.\"Mood_of_day\"", "app.\"Mood\"", "app.\"Mood_of_day\"", ONEROW_TYPE_TEXT, false},
};

#define COLUMN_CASES (sizeof column_cases / sizeof *column_cases)

/* The names mean the types whatever the search path, and a text cast to them is stored as it is. */
static void type_names(void **state)
{
    (void)state;
    struct or_buffer sql;
    or_buffer_init(&sql);
    or_buffer_text(
        &sql,
        "CREATE EXTENSION citext; CREATE SCHEMA app; CREATE TYPE app.\"Mood\" AS "
        "ENUM ('good', 'bad'); CREATE DOMAIN app.short AS varchar(3); CREATE "
        "DOMAIN app.shorter AS app.short CHECK (length(VALUE) < 3); CREATE DOMAIN "
        "app.list AS int[]; CREATE DOMAIN app.price AS numeric(8,2); CREATE TYPE "
        "app.pair AS (a int, b text); CREATE DOMAIN app.\"Mood_of_day\" AS "
        "app.\"Mood\"; CREATE DOMAIN app.days AS interval day; CREATE TABLE t (k int PRIMARY KEY");
    for (size_t i = 0; i < COLUMN_CASES; i++) {
        const char *declared = column_cases[i].declared;
        bool mood = strncmp(declared, "mood", 4) == 0;
        or_buffer_printf(&sql, ", %s %s%s", column_cases[i].name, mood ? "app.\"Mood\"" : declared,
                         mood ? declared + 4 : "");
    }
    or_buffer_char(&sql, ')');
    make(or_buffer_cstr(&sql));
    or_buffer_finish(&sql);
    look("t", "k");
    for (size_t i = 0; i < COLUMN_CASES; i++) {
        const struct or_postgres_column *kind = column(column_cases[i].name);
        assert_int_equal(shown(column_cases[i].name)->type, column_cases[i].type);
        assert_string_equal(kind->cast, column_cases[i].cast);
        assert_string_equal(kind->exact, column_cases[i].exact);
        assert_int_equal(kind->cuts, column_cases[i].cuts);
        run(text(&b,
                 "SET search_path = ''; INSERT INTO public.t (k, %s) VALUES (%zu, NULL::text::%s)",
                 column_cases[i].name, i, kind->cast));
        assert_string_equal(
            pg_sql(&b, url,
                   text(&b,
                        "SET search_path = ''; SELECT bool_or(ROW(t.%s)::record *<> "
                        "ROW(NULL::text::%s)::record) FROM public.t",
                        column_cases[i].name, kind->exact)),
            "f");
    }
}

/* By its modifier PostgreSQL reads '1' as a day; through COPY, the upsert and the update alike. */
static void intervals_with_fields(void **state)
{
    (void)state;
    make("CREATE DOMAIN days AS interval day; CREATE TABLE t (k text PRIMARY KEY, a interval day, "
         "b days, c interval day[], d interval(0), n int NOT NULL)");
    look("t", "k");
    static const char *const line = "'a':'1','b':'1','c':[['1',null],['2','3']],'d':'1.6'";
    static const char *const row =
        "1 day|1 day|{{\"1 day\",NULL},{\"2 days\",\"3 days\"}}|00:00:02";
    assert_string_equal(put(&b, text(&b, "{'k':'x','n':1,%s}", line)), "created");
    assert_string_equal(put(&b, text(&b, "{'k':'x','n':1,%s}", line)), "unchanged");
    assert_string_equal(put(&b, text(&b, "{'k':'x',%s}", line)), "unchanged");
    assert_string_equal(pg_sql(&b, url, "SELECT a, b, c, d FROM t"), row);
    run("UPDATE t SET a = NULL, b = NULL, c = NULL, d = NULL");
    assert_string_equal(put(&b, text(&b, "{'k':'x',%s}", line)), "updated");
    assert_string_equal(pg_sql(&b, url, "SELECT a, b, c, d FROM t"), row);
    assert_string_equal(put(&b, "{'k':'x','c':[],'a':null}"), "updated");
    assert_string_equal(pg_sql(&b, url, "SELECT a, c FROM t"), "|{}");
    b.table.spec.store_key_equality = true;
    make("CREATE TABLE t (k interval day PRIMARY KEY, a int)");
    look("t", "k");
    assert_string_equal(put(&b, "{'k':'1','a':1}"), "created");
    assert_string_equal(put(&b, "{'k':'24:00','a':1}"), "created");
    assert_string_equal(put(&b, "{'k':'1 day','a':1}"), "unchanged");
    assert_contains(get(&b, "{'k':'1'}"), "\"k\":\"1 day\"");
}

static void types_beneath(void **state)
{
    (void)state;
    make("CREATE DOMAIN short AS varchar(3); CREATE DOMAIN shorter AS short; CREATE TABLE t (k int "
         "PRIMARY KEY, a shorter, b short[], c varchar(4)[], e int4range)");
    look("t", "k");
    assert_int_equal(column("a")->base_type, 1043);
    assert_int_equal(column("a")->element_type, 0);
    assert_int_equal(column("a")->typmod, 3 + 4);
    assert_true(column("a")->type > 16383);
    assert_int_equal(column("b")->element_type, 1043);
    assert_int_equal(column("b")->typmod, 3 + 4);
    assert_int_equal(column("b")->category, 'A');
    assert_int_equal(column("c")->base_type, 1015);
    assert_int_equal(column("c")->element_type, 1043);
    assert_int_equal(column("c")->typmod, 4 + 4);
    assert_int_equal(column("e")->typtype, 'r');
    assert_int_equal(column("k")->category, 'N');
    assert_string_equal(shown("a")->declared, "shorter");
}

/* ---- keys that agree, and that do not -------------------------------------------------------- */

static void agreeing_keys(void **state)
{
    (void)state;
    static const struct {
        const char *declared;
        const char *key;
        enum onerow_type type;
    } cases[] = {
        {"text", "k", ONEROW_TYPE_TEXT},
        {"text COLLATE \"C\"", "k:text", ONEROW_TYPE_TEXT},
        {"varchar(5)", "k", ONEROW_TYPE_TEXT},
        {"mood", "k", ONEROW_TYPE_TEXT},
        {"small", "k:text", ONEROW_TYPE_TEXT},
        {"smallint", "k", ONEROW_TYPE_INT},
        {"int", "k:int", ONEROW_TYPE_INT},
        {"bigint", "k", ONEROW_TYPE_INT},
        {"numeric", "k", ONEROW_TYPE_DECIMAL},
        {"numeric(9,3)", "k:decimal", ONEROW_TYPE_DECIMAL},
        {"boolean", "k", ONEROW_TYPE_BOOL},
        {"date", "k", ONEROW_TYPE_DATE},
        {"timestamptz", "k", ONEROW_TYPE_TIMESTAMP},
        {"timestamp(0)", "k:timestamp", ONEROW_TYPE_TIMESTAMP},
        {"uuid", "k", ONEROW_TYPE_UUID},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        taken(text(&b,
                   "CREATE TYPE mood AS ENUM ('good'); CREATE DOMAIN small AS text CHECK "
                   "(length(VALUE) < 9); CREATE TABLE t (k %s PRIMARY KEY)",
                   cases[i].declared),
              cases[i].key, "ON CONSTRAINT t_pkey");
        assert_int_equal(b.table.table->key_types[0], cases[i].type);
    }
}

static void disagreeing_keys(void **state)
{
    (void)state;
    static const struct {
        const char *declared;
        const char *key;
        const char *why;
        const char *remedy; /* NULL: what is advised is run and helps */
    } cases[] = {
        {"citext", "k", "does not tell upper from lower case", NULL},
        {"char(3)", "k", "does not count spaces at the end", NULL},
        {"name", "k", "cuts texts after 63 bytes", NULL},
        {"text COLLATE nd", "k", "has a nondeterministic collation", NULL},
        {"folded", "k", "does not tell upper from lower case", NULL},
        {"text", "k:decimal", "compares by spelling", "\"k:text\""},
        {"text", "k:timestamp", "compares by spelling", "\"k:text\""},
        {"mood", "k:int", "compares by spelling", "\"k:text\""},
        {"uuid", "k:text", "compares values, not texts", "\"k:uuid\""},
        {"int", "k:text", "compares values, not texts", "\"k:int\""},
        {"int", "k:decimal", "holds other values", "\"k:int\""},
        {"numeric", "k:int", "holds other values", "\"k:decimal\""},
        {"date", "k:timestamp", "holds other values", "\"k:date\""},
        {"float8", "k", "binary floating point", "TYPE NUMERIC"},
        {"float4", "k:decimal", "binary floating point", NULL},
        {"jsonb", "k", "rules of its own", "TYPE TEXT"},
        {"bytea", "k:text", "rules of its own", "TYPE TEXT"},
        {"int[]", "k", "rules of its own", "TYPE TEXT"},
        {"int4range", "k:int", "rules of its own", "TYPE BIGINT"},
        {"inet", "k:text", "rules of its own", NULL},
        {"money", "k:decimal", "rules of its own", "TYPE NUMERIC"},
        {"interval", "k:text", "rules of its own", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *ddl =
            text(&b,
                 "CREATE EXTENSION citext; CREATE DOMAIN folded AS citext; CREATE TYPE mood AS "
                 "ENUM ('good'); CREATE COLLATION nd (provider = icu, locale = 'und-u-ks-level2', "
                 "deterministic = false); CREATE TABLE t (k %s PRIMARY KEY)",
                 cases[i].declared);
        refused(ddl, cases[i].key, cases[i].why);
        assert_contains(b.error.text, "`key_equality: store`");
        assert_int_equal(strstr(b.error.text, "keys are texts then") != NULL,
                         !strcmp(cases[i].key, "k") && !strcmp(cases[i].declared, "float8"));
        if (cases[i].remedy) {
            assert_contains(b.error.text, cases[i].remedy);
        } else {
            run(text(&b, "%.*s", (int)strcspn(advised(), ","), advised()));
            look("t", cases[i].key);
        }
        b.table.spec.store_key_equality = true;
        make(ddl);
        look("t", cases[i].key);
        assert_false(b.table.table->guarantees & ONEROW_PARALLEL);
        assert_contains(b.table.table->promise, "by PostgreSQL's own equality");
        b.table.spec.store_key_equality = false;
        b.table.spec.only_look = true;
        look("t", cases[i].key);
        b.table.spec.only_look = false;
    }
}

static void keys_that_no_record_carries(void **state)
{
    (void)state;
    refused("CREATE TABLE t (k int GENERATED ALWAYS AS IDENTITY PRIMARY KEY)", "k",
            "key column \"k\" is an identity column that is GENERATED ALWAYS; a key must be "
            "written");
    refused("CREATE TABLE t (a int, k int GENERATED ALWAYS AS (a) STORED PRIMARY KEY)", "k",
            "key column \"k\" is a generated column");
}

/* ---- the arbiter ----------------------------------------------------------------------------- */

static void arbiters(void **state)
{
    (void)state;
    taken("CREATE TABLE t (b int, a text, PRIMARY KEY (b, a))", "a,b", "ON CONSTRAINT t_pkey");
    taken("CREATE TABLE t (id serial PRIMARY KEY, k text CONSTRAINT \"K is one\" UNIQUE)", "k",
          "ON CONSTRAINT \"K is one\"");
    assert_string_equal(looked_at()->id_sql, "t.\"id\"::text");
    assert_false(looked_at()->id_is_key);
    taken("CREATE TABLE t (k text NOT NULL, a int); CREATE UNIQUE INDEX i ON t (k) INCLUDE (a)",
          "k", "(\"k\")");
    assert_null(looked_at()->id_sql);
    assert_contains(b.table.table->promise, "enforced by unique index i,");
    taken("CREATE TABLE t (k text, a int, PRIMARY KEY (k, a)); CREATE UNIQUE INDEX i ON t (k)", "k",
          "(\"k\")");
    assert_string_equal(looked_at()->id_sql, "pg_catalog.json_build_array(t.\"k\", t.\"a\")::text");
    taken("CREATE TABLE t (k text); CREATE UNIQUE INDEX ON t (k text_pattern_ops DESC)", "k",
          "(\"k\")");
    taken("CREATE TABLE t (k varchar); CREATE UNIQUE INDEX ON t (k varchar_ops)", "k", "(\"k\")");
    taken("CREATE TABLE t (k varchar); CREATE UNIQUE INDEX ON t (k COLLATE \"C\" "
          "varchar_pattern_ops)",
          "k", "(\"k\")");
}

static void twins(void **state)
{
    (void)state;
    static const char *const nd = "CREATE COLLATION nd (provider = icu, locale = 'und-u-ks-level2',"
                                  " deterministic = false);";
    taken("CREATE TABLE t (k text PRIMARY KEY, UNIQUE (k))", "k", "ON CONSTRAINT t_pkey");
    taken("CREATE TABLE t (k text PRIMARY KEY); CREATE UNIQUE INDEX i ON t (k)", "k", "(\"k\")");
    assert_contains(b.table.table->promise, "enforced by primary key t_pkey");
    taken("CREATE TABLE t (k text UNIQUE DEFERRABLE PRIMARY KEY)", "k", "ON CONSTRAINT t_pkey");
    taken(text(&b,
               "%s CREATE TABLE t (k text PRIMARY KEY); CREATE UNIQUE INDEX i ON t (k COLLATE "
               "nd)",
               nd),
          "k", "ON CONSTRAINT t_pkey");
    mended("CREATE TABLE t (k text UNIQUE DEFERRABLE); CREATE UNIQUE INDEX i ON t (k)", "k",
           "whose constraint is DEFERRABLE, and fails (55000)");
    assert_string_equal(looked_at()->arbiter, "ON CONSTRAINT i");
    mended(text(&b,
                "%s CREATE TABLE t (k text); CREATE UNIQUE INDEX i ON t (k); CREATE UNIQUE "
                "INDEX j ON t (k COLLATE nd)",
                nd),
           "k", "takes index public.j on the same columns along");
}

/* An index whose operator class is the default of another type than the column's. */
static void foreign_opclasses(void **state)
{
    (void)state;
    static const char *const columns[] = {"text", "varchar", "varchar(9)"};
    for (size_t i = 0; i < sizeof columns / sizeof *columns; i++) {
        mended(text(&b, "CREATE TABLE t (k %s, v int); CREATE UNIQUE INDEX i ON t (k bpchar_ops)",
                    columns[i]),
               "k", "index public.i compares with bpchar_ops, and takes keys that differ for one");
        assert_string_equal(looked_at()->arbiter, "ON CONSTRAINT t_k_key");
    }
    assert_string_equal(put(&b, "{'k':'a','v':1}"), "created");
    taken("CREATE TABLE t (k text PRIMARY KEY); CREATE UNIQUE INDEX i ON t (k bpchar_ops)", "k",
          "ON CONSTRAINT t_pkey");
    mended("CREATE TABLE t (k text); CREATE UNIQUE INDEX i ON t (k); CREATE UNIQUE INDEX j ON t (k "
           "bpchar_ops)",
           "k", "takes index public.j on the same columns along, which compares with bpchar_ops");
    assert_string_equal(looked_at()->arbiter, "ON CONSTRAINT i");
}

static void store_opclasses(void **state)
{
    (void)state;
    static const struct {
        const char *declared;
        const char *opclass;
    } good[] = {
        {"text", "text_pattern_ops"},
        {"varchar(9)", "varchar_ops"},
        {"varchar", "text_ops"},
        {"char(3)", "bpchar_ops"},
        {"char(3)", "bpchar_pattern_ops"},
        {"cidr", "inet_ops"},
        {"cidr", "cidr_ops"},
        {"citext", "citext_ops"},
        {"mood", "enum_ops"},
        {"int4range", "range_ops"},
        {"int[]", "array_ops"},
        {"citext[]", "array_ops"},
        {"pair", "record_ops"},
        {"folded", "citext_ops"},
        {"regclass", "oid_ops"},
        {"int4multirange", "multirange_ops"},
    };
    static const struct {
        const char *declared;
        const char *opclass;
    } bad[] = {
        {"citext", "text_ops"}, {"citext", "text_pattern_ops"}, {"folded", "text_ops"},
        {"text", "bpchar_ops"}, {"varchar", "bpchar_ops"},      {"pair", "record_image_ops"},
    };
    static const char *const ddl =
        "CREATE EXTENSION citext; CREATE DOMAIN folded AS citext; CREATE TYPE mood AS ENUM ('a'); "
        "CREATE TYPE pair AS (a int, b text); CREATE TABLE t (k %s); CREATE UNIQUE INDEX i ON t (k "
        "%s)";
    b.table.spec.store_key_equality = true;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        taken(text(&b, ddl, good[i].declared, good[i].opclass), "k", "(\"k\")");
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        mended(text(&b, ddl, bad[i].declared, bad[i].opclass), "k",
               text(&b, "index public.i compares with %s, by other rules than the column's own",
                    bad[i].opclass));
        assert_string_equal(looked_at()->arbiter, "ON CONSTRAINT t_k_key");
    }
}

/* "=" and ">=" would be those of text here: citext's own are not in the search path. */
static void operators_off_the_path(void **state)
{
    (void)state;
    static const char *const ddl =
        "CREATE SCHEMA \"App\"; CREATE EXTENSION citext "
        "SCHEMA \"App\"; CREATE TABLE t (id serial PRIMARY KEY, k \"App\".citext %s, a int, o "
        "\"App\".citext, must int NOT NULL)";
    b.table.spec.store_key_equality = true;
    make(text(&b, ddl, "UNIQUE"));
    look("t", "k");
    assert_string_equal(column("k")->equal, "OPERATOR(\"App\".=)");
    assert_string_equal(column("a")->equal, "=");
    assert_null(column("o")->at_least);
    assert_string_equal(put(&b, "{'k':'Bob','a':1,'must':1}"), "created");
    assert_contains(get(&b, "{'k':'bob'}"), "\"k\":\"Bob\"");
    assert_string_equal(put(&b, "{'k':'BOB','a':2}"), "updated");
    assert_string_equal(put(&b, "{'k':'bOB','a':2}"), "unchanged");
    assert_string_equal(put(&b, "{'k':'bob','a':2,'must':1}"), "unchanged");
    assert_string_equal(pg_sql(&b, url, "SELECT k, a FROM t"), "Bob|2");
    assert_string_equal(audit(&b), "0 0");
    assert_contains(
        pg_sql(&b, url,
               text(&b, "SET enable_seqscan = off; EXPLAIN SELECT FROM t WHERE k %s 'a'::text::%s",
                    column("k")->equal, column("k")->cast)),
        "Index Cond");
    b.table.spec.policy = ONEROW_POLICY_NEWEST;
    b.table.spec.order_column = "o";
    look("t", "k");
    assert_string_equal(column("o")->at_least, "OPERATOR(\"App\".>=)");
    assert_string_equal(put(&b, "{'k':'bob','a':3,'o':'b','must':1}"), "updated");
    assert_string_equal(put(&b, "{'k':'bob','a':4,'o':'B'}"), "updated");
    assert_string_equal(put(&b, "{'k':'bob','a':5,'o':'A'}"), "unchanged:older");
    b.table.spec.policy = ONEROW_POLICY_UPDATE;
    b.table.spec.only_look = true;
    make(text(&b, ddl, ""));
    look("t", "k");
    assert_string_equal(column("k")->equal, "OPERATOR(\"App\".=)");
}

/* Under the store's equality such keys are texts: rows and records must agree on it. */
static void text_keys_of_numbers(void **state)
{
    (void)state;
    static const struct {
        const char *declared;
        const char *value;
    } cases[] = {{"float8", "1.5"}, {"money", "$1.50"}, {"regclass", "pg_class"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        b.table.spec.store_key_equality = false;
        refused(text(&b, "CREATE TABLE t (k %s PRIMARY KEY, a int)", cases[i].declared), "k",
                "its keys are texts then");
        b.table.spec.store_key_equality = true;
        look("t", "k");
        const char *record = text(&b, "{'k':'%s','a':1}", cases[i].value);
        assert_string_equal(put(&b, record), "created");
        assert_string_equal(put(&b, record), "unchanged");
        assert_contains(get(&b, text(&b, "{'k':'%s'}", cases[i].value)), "\"a\":1");
        assert_string_equal(audit(&b), "0 0");
    }
    make("CREATE TABLE t (k float8 PRIMARY KEY, a int)");
    look("t", "k:decimal");
    assert_string_equal(put(&b, "{'k':1.5,'a':1}"), "created");
    assert_string_equal(put(&b, "{'k':1.50,'a':1}"), "unchanged");
    assert_string_equal(audit(&b), "0 0");
}

static void near_misses(void **state)
{
    (void)state;
    mended("CREATE TABLE t (k text)", "k", "nothing keeps table public.t at one row per key\n");
    mended("CREATE TABLE t (\"K 1\" text, b int); CREATE INDEX ON t (\"K 1\")", "K 1,b",
           "run: CREATE UNIQUE INDEX CONCURRENTLY ON public.t (\"K 1\", \"b\");");
    assert_string_equal(looked_at()->arbiter, "(\"K 1\", \"b\")");
    mended("CREATE TABLE t (k text UNIQUE DEFERRABLE INITIALLY DEFERRED)", "k",
           "constraint t_k_key is DEFERRABLE");
    mended("CREATE TABLE t (k text PRIMARY KEY DEFERRABLE)", "k",
           "constraint t_pkey is DEFERRABLE");
    assert_string_equal(looked_at()->id_sql, "t.\"k\"::text");
    mended("CREATE TABLE t (k text, gone bool); CREATE UNIQUE INDEX i ON t (k) WHERE NOT gone", "k",
           "index public.i is partial: a row outside of its WHERE (NOT gone)");
    mended("CREATE TABLE t (k text); CREATE UNIQUE INDEX i ON t (lower(k))", "k",
           "unique index public.i is over (lower(k)), an expression, not over (\"k\")");
    mended("CREATE TABLE t (k text, a int, UNIQUE (k, a))", "k",
           "unique index public.t_k_a_key is over (k, a), not over (\"k\")");
    mended("CREATE TABLE t (k text UNIQUE, a int)", "k,a",
           "unique index public.t_k_key is over (k), not over (\"k\", \"a\")");
    mended("CREATE TABLE t (k text); CREATE UNIQUE INDEX i ON t (k); UPDATE pg_index SET "
           "indisvalid = false WHERE indexrelid = 'i'::regclass",
           "k", "index public.i is invalid: its CREATE INDEX CONCURRENTLY has failed");
    mended("CREATE TABLE t (k text); CREATE COLLATION nd (provider = icu, locale = "
           "'und-u-ks-level2', deterministic = false); CREATE UNIQUE INDEX i ON t (k COLLATE nd)",
           "k", "index public.i compares with public.nd, and takes keys that differ for one");
    refused("CREATE TABLE t (k text); CREATE OPERATOR CLASS odd FOR TYPE text USING btree AS "
            "OPERATOR 1 ~<~, OPERATOR 2 ~<=~, OPERATOR 3 =, OPERATOR 4 ~>=~, OPERATOR 5 ~>~, "
            "FUNCTION 1 bttext_pattern_cmp(text, text); CREATE UNIQUE INDEX i ON t (k odd)",
            "k", "index public.i compares with odd");
    assert_contains(b.error.text, "`unenforced: accept`");
    b.table.spec.only_look = true;
    look("t", "k");
    assert_false(b.table.table->guarantees & ONEROW_ENFORCED);
    assert_null(looked_at()->arbiter);
    assert_null(looked_at()->keys_table);
}

static void nulls(void **state)
{
    (void)state;
    b.nulls_equal = true;
    taken("CREATE TABLE t (k text PRIMARY KEY)", "k", "ON CONSTRAINT t_pkey");
    assert_false(looked_at()->nulls_equal);
    b.table.spec.accept_unenforced = true;
    make("CREATE TABLE t (k text)");
    look("t", "k");
    assert_true(looked_at()->nulls_equal);
    b.table.spec.accept_unenforced = false;
    b.nulls_equal = false;
    taken("CREATE TABLE t (k text UNIQUE)", "k", "ON CONSTRAINT t_k_key");
    assert_false(looked_at()->nulls_equal);
}

static void nulls_not_distinct(void **state)
{
    (void)state;
    b.nulls_equal = true;
    if (has_nulls_not_distinct()) {
        taken("CREATE TABLE t (k text UNIQUE NULLS NOT DISTINCT)", "k", "ON CONSTRAINT t_k_key");
        assert_true(looked_at()->nulls_equal);
        mended("CREATE TABLE t (k text UNIQUE)", "k", "takes each NULL for another one");
        assert_string_equal(looked_at()->arbiter, "(\"k\")");
        mended("CREATE TABLE t (k text UNIQUE NULLS NOT DISTINCT DEFERRABLE)", "k",
               "is DEFERRABLE");
        mended("CREATE TABLE t (k text, a int NOT NULL)", "k,a", "NULLS NOT DISTINCT");
    }
    int version = or_postgres_store_of(b.table.store)->version;
    or_postgres_store_of(b.table.store)->version = 140005;
    refused("CREATE TABLE t (k text UNIQUE)", "k",
            "which PostgreSQL has since version 15; this server is 14");
    assert_int_equal(bench_create(&b, "older", "k", "k"), ONEROW_CONFIG);
    assert_contains(b.error.text, "since version 15; this server is 14");
    or_postgres_store_of(b.table.store)->version = version;
    if (has_nulls_not_distinct()) {
        assert_int_equal(bench_create(&b, "nullable", "k", "k"), ONEROW_OK);
        look("nullable", "k");
        assert_true(looked_at()->nulls_equal);
    }
}

static void partitions(void **state)
{
    (void)state;
    taken("CREATE TABLE t (k text, d date, PRIMARY KEY (k, d)) PARTITION BY RANGE (d); CREATE "
          "TABLE t1 PARTITION OF t DEFAULT",
          "k,d", "ON CONSTRAINT t_pkey");
    assert_true(looked_at()->partitioned);
    refused("CREATE TABLE t (k text, d date, PRIMARY KEY (k, d)) PARTITION BY RANGE (d)", "k",
            "partitioned by RANGE (d), and PostgreSQL makes unique indexes over columns that "
            "include \"d\" only");
    refused("CREATE TABLE t (k text) PARTITION BY HASH (lower(k))", "k",
            "is partitioned by an expression");
    mended("CREATE TABLE t (a int, k text) PARTITION BY LIST (k); CREATE TABLE t1 PARTITION OF t "
           "(UNIQUE (k, a)) DEFAULT",
           "a,k", "t1_k_a_key is the index of one partition alone");
    mended("CREATE TABLE t (k text) PARTITION BY LIST (k); CREATE TABLE t1 PARTITION OF t DEFAULT; "
           "CREATE UNIQUE INDEX i ON ONLY t (k)",
           "k", "index public.i is invalid: not every partition has its part of it");
    b.table.spec.accept_unenforced = true;
    refused("CREATE TABLE t (k text) PARTITION BY LIST (k)", "k",
            "unenforced: accept does not go with a partitioned table");
}

static void unenforced(void **state)
{
    (void)state;
    b.table.spec.accept_unenforced = true;
    make("CREATE SCHEMA \"App\"; CREATE TABLE \"App\".t (k text)");
    look("App.t", "k");
    assert_string_equal(looked_at()->keys_table, "\"App\".onerow_keys");
    assert_int_equal(b.table.table->guarantees,
                     ONEROW_TRANSACTIONS | ONEROW_DURABLE | ONEROW_SEQUENTIAL | ONEROW_PARALLEL);
    assert_contains(b.table.table->promise, "among cooperating writers");
    assert_contains(b.table.table->advice, "run: CREATE INDEX CONCURRENTLY ON \"App\".t (\"k\")");
    run("CREATE INDEX ON \"App\".t (k)");
    look("App.t", "k");
    assert_null(b.table.table->advice);
    taken("CREATE TABLE t (k text PRIMARY KEY)", "k", "ON CONSTRAINT t_pkey");
    assert_null(looked_at()->keys_table);
    b.table.spec.store_key_equality = true;
    refused("CREATE EXTENSION citext; CREATE TABLE t (k citext)", "k",
            "unenforced: accept does not go with key_equality: store");
}

static void second_constraints(void **state)
{
    (void)state;
    taken("CREATE TABLE t (id serial PRIMARY KEY, k text UNIQUE, mail text UNIQUE, a int, b int, "
          "UNIQUE (a, b), EXCLUDE USING gist (int4range(a, b) WITH &&))",
          "k", "ON CONSTRAINT t_k_key");
    assert_contains(b.table.table->advice, "clashes with another row's (a, b), ");
    assert_contains(b.table.table->advice, "(mail)");
    assert_contains(b.table.table->advice, "int4range(a, b)");
    assert_null(strstr(b.table.table->advice, "(id)"));
}

/* ---- order and touch ------------------------------------------------------------------------- */

static void order_and_touch(void **state)
{
    (void)state;
    static const char *const good[] = {"int",  "timestamptz", "text", "varchar(9)", "float8",
                                       "mood", "at",          "date", "int[]"};
    static const char *const bad[] = {"json", "point", "xml"};
    const char *ddl = "CREATE TYPE mood AS ENUM ('a'); CREATE DOMAIN at AS timestamptz; CREATE "
                      "TABLE t (k text PRIMARY KEY, o %s)";
    b.table.spec.policy = ONEROW_POLICY_NEWEST;
    b.table.spec.order_column = "o";
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        make(text(&b, ddl, good[i]));
        look("t", "k");
        assert_int_equal(looked_at()->order, 1);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        refused(text(&b, ddl, bad[i]), "k", "has no order");
    }
    refused("CREATE TABLE t (k text PRIMARY KEY, \"O\" int)", "k",
            "has no column \"o\" for on_conflict: newest(o); did you mean \"O\"?");
    b.table.spec.policy = ONEROW_POLICY_UPDATE;
    b.table.spec.touch = ONEROW_TOUCH_CHANGE;
    b.table.spec.touch_column = "o";
    static const char *const clocks[] = {"timestamptz", "timestamp(0)", "date", "text", "at"};
    for (size_t i = 0; i < sizeof clocks / sizeof *clocks; i++) {
        make(text(&b, ddl, text(&b, "%s NOT NULL", clocks[i])));
        look("t", "k");
        assert_int_equal(looked_at()->touch, 1);
        assert_false(shown("o")->required);
        run(text(&b, "SELECT clock_timestamp()::%s", column("o")->exact));
    }
    refused(text(&b, ddl, "int"), "k", "does not take the time that updated_at sets");
    refused(text(&b, ddl, "int GENERATED ALWAYS AS (1) STORED"), "k",
            "no column \"o\" that updated_at could set");
    refused("CREATE TABLE t (k text PRIMARY KEY)", "k",
            "no column \"o\" that updated_at could set; it has \"k\"");
}

/* ---- making tables --------------------------------------------------------------------------- */

static void creates(void **state)
{
    (void)state;
    static const char *const columns = "k:text,i:int,n:decimal,b:bool,d:date,z:timestamp,u:uuid,"
                                       "j:json,x";
    make("");
    assert_int_equal(bench_create(&b, "Made", "k,n", columns), ONEROW_OK);
    look("Made", "k,n");
    assert_string_equal(looked_at()->quoted, "public.made");
    assert_string_equal(looked_at()->arbiter, "ON CONSTRAINT made_pkey");
    assert_string_equal(
        pg_sql(&b, url,
               "SELECT string_agg(format_type(atttypid, atttypmod), ',' ORDER BY attnum) FROM "
               "pg_attribute WHERE attrelid = 'made'::regclass AND attnum > 0"),
        "text,bigint,numeric,boolean,date,timestamp with time zone,uuid,jsonb,text");
    assert_int_equal(bench_create(&b, "made", "k,n", columns), ONEROW_OK);
    assert_int_equal(bench_create(&b, "\"Made\"", "k", "k,\"odd. one"), ONEROW_OK);
    look("\"Made\"", "k");
    assert_string_equal(looked_at()->quoted, "public.\"Made\"");
    assert_int_equal(bench_create(&b, "nowhere.t", "k", "k"), ONEROW_CONFIG);
    assert_contains(b.error.text, "run: CREATE SCHEMA \"nowhere\"");
    assert_int_equal(bench_create(&b, "t", "k", "k,xmin"), ONEROW_CONFIG);
    assert_contains(b.error.text, "the statement was: CREATE TABLE");
    const char *longer = "a234567890123456789012345678901234567890123456789012345678901234";
    assert_int_equal(bench_create(&b, longer, "k", "k"), ONEROW_CONFIG);
    assert_contains(b.error.text, "longer than the 63 bytes");
    assert_int_equal(bench_create(&b, "t", "k", text(&b, "k,%s", longer)), ONEROW_CONFIG);
}

static void creates_what_updated_at_sets(void **state)
{
    (void)state;
    make("");
    b.table.spec.touch = ONEROW_TOUCH_CHANGE;
    b.table.spec.touch_column = "at";
    assert_int_equal(bench_create(&b, "t", "k", "k,a"), ONEROW_OK);
    look("t", "k");
    assert_string_equal(shown("at")->declared, "timestamp with time zone");
}

static int create_alone(void *context)
{
    (void)context;
    struct bench own;
    bench_start(&own);
    int code = bench_store(&own, url) == ONEROW_OK ? 0 : 1;
    for (int i = 0; i < 40 && code == 0; i++) {
        const char *name = text(&own, "raced_%d", i);
        code = bench_create(&own, name, "k", "k,a:int") == ONEROW_OK &&
                       bench_look(&own, name, "k") == ONEROW_OK
                   ? 0
                   : 2;
    }
    if (code) {
        fprintf(stderr, "%s\n", own.error.text);
    }
    bench_stop(&own);
    return code;
}

/* The second of two finds a unique violation in the catalogs, or the table; never a failure. */
static void creates_at_once(void **state)
{
    (void)state;
    pid_t makers[4];
    make("");
    for (size_t i = 0; i < 4; i++) {
        makers[i] = child(create_alone, NULL);
    }
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(child_code(makers[i]), 0);
    }
    assert_string_equal(
        pg_sql(&b, url, "SELECT count(*) FROM pg_tables WHERE tablename LIKE 'raced%'"), "40");
}

/* ---- onerow init ----------------------------------------------------------------------------- */

static const char *suggested(const char *location)
{
    struct or_buffer yaml;
    or_buffer_init(&yaml);
    b.error = (struct onerow_error){0};
    b.status = b.table.store->type->suggest(b.table.store, "app", location, &yaml, &b.error);
    const char *kept = text(&b, "%s", or_buffer_cstr(&yaml));
    or_buffer_finish(&yaml);
    return kept;
}

static void suggests(void **state)
{
    (void)state;
    make("CREATE EXTENSION citext; CREATE SCHEMA app; CREATE TABLE own (k text PRIMARY KEY, o "
         "int UNIQUE); CREATE TABLE surrogate (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, "
         "\"Na me\" text, b int, UNIQUE (\"Na me\", b)); CREATE TABLE \"we\"\"ird.\" (\"a\"\"b\" "
         "int UNIQUE); CREATE TABLE app.keyless (a int); CREATE TABLE "
         "app.late (k text UNIQUE DEFERRABLE); CREATE TABLE app.folded (k citext PRIMARY KEY); "
         "CREATE TABLE app.serial (id serial PRIMARY KEY); CREATE TABLE app.parted (k text PRIMARY "
         "KEY) PARTITION BY LIST (k); CREATE TABLE app.part PARTITION OF app.parted DEFAULT; "
         "CREATE TABLE app.onerow_keys (key text PRIMARY KEY); CREATE VIEW v AS SELECT 1");
    const char *yaml = suggested(NULL);
    assert_status(&b, ONEROW_OK);
    assert_contains(yaml, "  \"own\":\n    store: \"app\"\n    location: \"public.own\"\n"
                          "    key: [\"k\"]\n");
    assert_contains(yaml, "    location: \"public.surrogate\"\n    key: [\"Na me\", \"b\"]\n");
    assert_contains(yaml, "  \"public.\\\"we\\\"\\\"ird.\\\"\":\n    store: \"app\"\n    location: "
                          "\"public.\\\"we\\\"\\\"ird.\\\"\"\n    key: [\"a\\\"b\"]\n");
    assert_contains(yaml, "  # \"app.keyless\":\n  #   store: \"app\"\n  #   location: "
                          "\"app.keyless\"\n  #   key: []   # no unique index");
    assert_contains(yaml, "is DEFERRABLE");
    assert_contains(yaml, "    # table app.folded: key column \"k\" (citext) as text: it does not "
                          "tell");
    assert_contains(yaml, "    location: \"app.serial\"\n    key: [\"id\"]\n");
    assert_contains(yaml, "    location: \"app.parted\"\n    key: [\"k\"]\n");
    assert_null(strstr(yaml, "app.part\""));
    assert_null(strstr(yaml, "onerow_keys"));
    assert_null(strstr(yaml, "\"v\""));
    yaml = suggested("App.Late");
    assert_null(strstr(yaml, "\"own\""));
    assert_contains(yaml, "  \"app.late\":\n");
    suggested("app.part");
    assert_status(&b, ONEROW_OK);
    if (has_nulls_not_distinct()) {
        run("CREATE TABLE nullable (k text, a int, UNIQUE NULLS NOT DISTINCT (k, a))");
        assert_contains(suggested("nullable"),
                        "key: [{ \"column\": \"k\", \"nulls\": \"equal\" }, ");
    }
    suggested("nothing");
    assert_status(&b, ONEROW_ABSENT);
    make("");
    suggested(NULL);
    assert_status(&b, ONEROW_ABSENT);
}

/* ---- SQL text -------------------------------------------------------------------------------- */

static void quotes(void **state)
{
    (void)state;
    struct or_buffer sql;
    or_buffer_init(&sql);
    or_buffer_text(&sql, "SELECT ");
    or_postgres_literal(&sql, "it's");
    or_buffer_text(&sql, " || ");
    or_postgres_literal(&sql, "a\\'b\\\\");
    or_buffer_text(&sql, " AS ");
    or_postgres_quote(&sql, "a\"b");
    assert_string_equal(or_buffer_cstr(&sql),
                        "SELECT 'it''s' || E'a\\\\''b\\\\\\\\' AS \"a\"\"b\"");
    assert_string_equal(pg_sql(&b, url, or_buffer_cstr(&sql)), "it'sa\\'b\\\\");
    or_buffer_finish(&sql);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(places, forget),
        cmocka_unit_test_setup(absent, forget),
        cmocka_unit_test_setup(no_tables, forget),
        cmocka_unit_test_setup(foreign_tables, forget),
        cmocka_unit_test_setup(durability, forget),
        cmocka_unit_test_setup(triggers, forget),
        cmocka_unit_test_setup(privileges, forget),
        cmocka_unit_test_setup(privileges_to_write, forget),
        cmocka_unit_test_setup(privileges_to_lock_keys, forget),
        cmocka_unit_test_setup(required_columns, forget),
        cmocka_unit_test_setup(type_names, forget),
        cmocka_unit_test_setup(intervals_with_fields, forget),
        cmocka_unit_test_setup(types_beneath, forget),
        cmocka_unit_test_setup(agreeing_keys, forget),
        cmocka_unit_test_setup(disagreeing_keys, forget),
        cmocka_unit_test_setup(keys_that_no_record_carries, forget),
        cmocka_unit_test_setup(arbiters, forget),
        cmocka_unit_test_setup(twins, forget),
        cmocka_unit_test_setup(foreign_opclasses, forget),
        cmocka_unit_test_setup(store_opclasses, forget),
        cmocka_unit_test_setup(operators_off_the_path, forget),
        cmocka_unit_test_setup(text_keys_of_numbers, forget),
        cmocka_unit_test_setup(near_misses, forget),
        cmocka_unit_test_setup(nulls, forget),
        cmocka_unit_test_setup(nulls_not_distinct, forget),
        cmocka_unit_test_setup(partitions, forget),
        cmocka_unit_test_setup(unenforced, forget),
        cmocka_unit_test_setup(second_constraints, forget),
        cmocka_unit_test_setup(order_and_touch, forget),
        cmocka_unit_test_setup(creates, forget),
        cmocka_unit_test_setup(creates_what_updated_at_sets, forget),
        cmocka_unit_test_setup(creates_at_once, forget),
        cmocka_unit_test_setup(suggests, forget),
        cmocka_unit_test_setup(quotes, forget),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
