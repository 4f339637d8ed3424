/* SPDX-License-Identifier: Apache-2.0
 *
 * What is SQLite's own: schemas as people write them, keys that its indexes would join,
 * constraints and triggers, values as they are stored, and how it fails. What is asked of
 * every store is in tests/contract. Rows are counted with the sqlite3 client.
 */
#include <fcntl.h>
#include <grp.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buffer.h"
#include "base/text.h"
#include "store/store_sqlite.h"
#include "tests/support/bench.h"

static struct bench b;
static const char *url;

static int start(void **state)
{
    (void)state;
    bench_start(&b);
    url = text(&b, "sqlite:%s", b.path);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    bench_stop(&b);
    return 0;
}

static void remove_database(void)
{
    static const char *const endings[] = {"", "-wal", "-shm", "-journal", "-onerow"};
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        unlink(text(&b, "%s%s", b.path, endings[i]));
    }
}

/* A new database with what the statements make, and its table t looked at. */
static enum onerow_status look(const char *statements, const char *location, const char *key)
{
    bench_close(&b);
    remove_database();
    sql(&b, statements);
    assert_int_equal(bench_store(&b, url), ONEROW_OK);
    return bench_look(&b, location, key);
}

static void table(const char *statements, const char *key)
{
    look(statements, "t", key);
    assert_status(&b, ONEROW_OK);
}

static void refused(const char *statements, const char *key, const char *why)
{
    look(statements, "t", key);
    assert_status(&b, ONEROW_CONFIG);
    assert_contains(b.error.text, why);
}

#define assert_sql(statement, wanted) assert_string_equal(sql(&b, statement), wanted)
#define assert_put(records, wanted)   assert_string_equal(put(&b, records), wanted)

/* ---- names ------------------------------------------------------------------------------- */

static void odd_names(void **state)
{
    (void)state;
    look("CREATE TABLE \"we\"\"ird. na'me\" (\"sel\"\"ect\" TEXT PRIMARY KEY, \"a.b\" INT, "
         "\"from\" TEXT, "
         "\" \" TEXT, \"ü\" TEXT, \"[x]\" TEXT, \"?1\" INT)",
         "we\"ird. na'me", "sel\"ect");
    assert_status(&b, ONEROW_OK);
    const char *row =
        "{\"sel\\\"ect\":\"k\",\"a.b\":1,\"from\":\"f\",\" \":\"s\",\"ü\":\"u\",\"[x]\":"
        "\"x\",\"?1\":5}";
    assert_string_equal(put_raw(&b, row), "created");
    assert_string_equal(put_raw(&b, row), "unchanged");
    assert_string_equal(put_raw(&b, "{\"sel\\\"ect\":\"k\",\"a.b\":2}"), "updated");
    assert_contains(get_raw(&b, "{\"sel\\\"ect\":\"k\"}"), "\"a.b\":2");
    assert_string_equal(audit(&b), "0 0");
    assert_sql("SELECT \"a.b\" || \"from\" FROM \"we\"\"ird. na'me\"", "2f");
}

/* Columns called like the names that the statements use themselves. */
static void names_of_our_own(void **state)
{
    (void)state;
    table(
        "CREATE TABLE t (k TEXT, n INT, r INT, key INT, ids INT, excluded INT, rowid INT, c0 INT, "
        "onerow_seen INT, UNIQUE (k, n))",
        "k,n");
    assert_put("{'k':'a','n':1,'r':2,'key':3,'ids':4,'excluded':5,'rowid':6,'onerow_seen':7}\n"
               "{'k':'a','n':1,'r':2,'key':3,'ids':4,'excluded':5,'rowid':7}\n{'k':'a','n':2}",
               "created,updated,created");
    assert_string_equal(audit(&b), "0 0");
    assert_contains(get(&b, "{'k':'a','n':1}"), "\"rowid\":7");
}

static void keywords_and_cases(void **state)
{
    (void)state;
    look("CREATE TABLE \"Select\" (\"Group\" TEXT UNIQUE, \"order\" INT)", "select", "Group");
    assert_status(&b, ONEROW_OK);
    assert_put("{'Group':'a','order':1}", "created");
    assert_contains(put(&b, "{'group':'a'}"), "the table's column is \"Group\"");
    assert_sql("SELECT count(*) FROM \"Select\"", "1");
    bench_look(&b, "MAIN.SELECT", "Group");
    assert_status(&b, ONEROW_OK);
    assert_put("{'Group':'a','order':1}", "unchanged");
    bench_look(&b, "\"main\".\"Select\"", "Group");
    assert_status(&b, ONEROW_OK);
    bench_look(&b, "\"main\".\"Select", "Group");
    assert_status(&b, ONEROW_CONFIG);
    bench_look(&b, "\"nowhere\".\"Select\"", "Group");
    assert_status(&b, ONEROW_CONFIG);
    bench_look(&b, "", "Group");
    assert_status(&b, ONEROW_CONFIG);
}

static void attached_schemas(void **state)
{
    (void)state;
    const char *more = bench_file(&b, "more.db");
    sql(&b, "CREATE TABLE t (k TEXT UNIQUE, v INT)");
    sql_in(&b, more, "CREATE TABLE t (k TEXT UNIQUE, v INT); CREATE TABLE only (k TEXT UNIQUE)");
    assert_int_equal(bench_store(&b, text(&b, "%s?attach=more:%s", url, more)), ONEROW_OK);
    bench_look(&b, "more.t", "k");
    assert_status(&b, ONEROW_OK);
    assert_put("{'k':'a','v':1}\n{'k':'a','v':2}", "created,updated");
    bench_look(&b, "t", "k");
    assert_put("{'k':'b'}", "created");
    bench_look(&b, "only", "k");
    assert_put("{'k':'c'}", "created");
    assert_string_equal(sql_in(&b, more, "SELECT k, v FROM t"), "a|2");
    assert_string_equal(sql_in(&b, more, "SELECT count(*) FROM only"), "1");
    assert_sql("SELECT group_concat(k) FROM t", "b");
    bench_create(&b, "more.made", "k", "k:text,v:int");
    assert_status(&b, ONEROW_OK);
    assert_string_equal(sql_in(&b, more, "SELECT count(*) FROM made"), "0");
}

static int pragma_number(sqlite3 *db, const char *name)
{
    sqlite3_stmt *stmt = NULL;
    assert_int_equal(sqlite3_prepare_v2(db, text(&b, "PRAGMA %s", name), -1, &stmt, NULL),
                     SQLITE_OK);
    assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
    int number = strcmp((const char *)sqlite3_column_text(stmt, 0), "wal") == 0
                     ? -1
                     : sqlite3_column_int(stmt, 0);
    sqlite3_finalize(stmt);
    return number;
}

/* FULL is enough with a log; without one only EXTRA keeps a commit through a power loss. */
static void assert_durable(const char *schema)
{
    sqlite3 *db = or_sqlite_store_of(b.table.store)->db;
    int synchronous = pragma_number(db, text(&b, "%s.synchronous", schema));
    bool wal = pragma_number(db, text(&b, "%s.journal_mode", schema)) == -1;
    assert_true(synchronous == 3 || (wal && synchronous == 2));
}

/* An attached file keeps its own journal, which must be synced as the main one is. */
static void every_schema_is_durable(void **state)
{
    (void)state;
    const char *more = bench_file(&b, "more.db");
    sql_in(&b, more, "CREATE TABLE t (k TEXT UNIQUE)");
    assert_int_equal(bench_store(&b, text(&b, "%s?attach=more:%s", url, more)), ONEROW_OK);
    assert_durable("main");
    assert_durable("more");
    bench_close(&b);
    sqlite3 *plain = NULL; /* SQLite's own default is less */
    assert_int_equal(sqlite3_open(bench_file(&b, "plain.db"), &plain), SQLITE_OK);
    assert_int_equal(pragma_number(plain, "main.synchronous"), 2);
    assert_int_not_equal(pragma_number(plain, "main.journal_mode"), -1);
    sqlite3_close(plain);
}

static void attachments_that_cannot_be(void **state)
{
    (void)state;
    sql(&b, "CREATE TABLE t (k TEXT UNIQUE)");
    bench_store(&b, text(&b, "%s?attach=more:%s/missing.db", url, b.folder));
    assert_status(&b, ONEROW_UNAVAILABLE);
    assert_contains(b.error.text, "missing.db");
    bench_store(&b, text(&b, "%s?attach=more", url));
    assert_status(&b, ONEROW_CONFIG);
    bench_store(&b, text(&b, "%s?attach=main:%s", url, b.path));
    assert_int_not_equal(b.status, ONEROW_OK);
    bench_store(&b, "sqlite:");
    assert_status(&b, ONEROW_CONFIG);
}

/* ---- kinds of tables and columns ------------------------------------------------------------- */

static void generated_columns(void **state)
{
    (void)state;
    table(
        "CREATE TABLE t (k TEXT UNIQUE, v INT, virt INT AS (v + 1), stored INT AS (v + 2) STORED)",
        "k");
    assert_put("{'k':'a','v':1}", "created");
    assert_put("{'k':'a','v':1}", "unchanged");
    assert_string_equal(get(&b, "{'k':'a'}"), "{\"k\":\"a\",\"v\":1,\"virt\":2,\"stored\":3}");
    assert_contains(put(&b, "{'k':'a','virt':1}"), "\"virt\" is a generated column");
    assert_contains(put(&b, "{'k':'a','stored':1}"), "\"stored\" is a generated column");
    refused("CREATE TABLE t (v TEXT, k TEXT AS (v) STORED UNIQUE)", "k", "is a generated column");
}

static void default_columns(void **state)
{
    (void)state;
    table("CREATE TABLE t (k TEXT UNIQUE, v INT NOT NULL DEFAULT 7, w TEXT DEFAULT ('x' || 'y'), "
          "u TEXT DEFAULT NULL)",
          "k");
    assert_put("{'k':'a'}\n{'k':'b','v':1}", "created,created");
    assert_sql("SELECT k, v, w, u IS NULL FROM t ORDER BY k", "a|7|xy|1\nb|1|xy|1");
    assert_put("{'k':'b','w':'z'}", "updated"); /* and v stays: the default is for new rows */
    assert_put("{'k':'b'}", "unchanged");
    assert_sql("SELECT v, w FROM t WHERE k = 'b'", "1|z");
}

static void without_rowid(void **state)
{
    (void)state;
    table("CREATE TABLE t (k TEXT PRIMARY KEY, v INT) WITHOUT ROWID", "k");
    assert_put("{'k':'a','v':1}\n{'k':'a','v':2}\n{'k':'b'}", "created,updated,created");
    assert_string_equal(b.ids, "a,a,b");
    assert_string_equal(audit(&b), "0 0");
    table("CREATE TABLE t (a INT, k TEXT, v INT, PRIMARY KEY (a, k)) WITHOUT ROWID", "k,a");
    assert_put("{'k':'a','a':1,'v':1}\n{'k':'a','a':1,'v':2}\n{'k':'a','a':2}",
               "created,updated,created");
    assert_string_equal(b.ids, "-,-,-");
    assert_string_equal(get(&b, "{'k':'a','a':1}"), "{\"a\":1,\"k\":\"a\",\"v\":2}");
}

static void strict_tables(void **state)
{
    (void)state;
    table("CREATE TABLE t (k TEXT UNIQUE, v INTEGER, w ANY) STRICT", "k");
    assert_put("{'k':'a','v':1}\n{'k':'b','v':'x'}\n{'k':'c','v':3,'w':'1'}",
               "created,rejected:cannot store TEXT value in INTEGER column t.v,created");
    assert_sql("SELECT group_concat(k) FROM t", "a,c");
    assert_put("{'k':'c','w':1}\n{'k':'c','w':1}\n{'k':'c','w':1.0}", "updated,unchanged,updated");
}

static void integer_primary_key(void **state)
{
    (void)state;
    table("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)", "id");
    assert_put("{'id':5,'v':'a'}\n{'id':5,'v':'b'}\n{'id':9223372036854775807}\n{'id':-1}",
               "created,updated,created,created");
    assert_string_equal(b.ids, "5,5,9223372036854775807,-1");
    assert_sql("SELECT group_concat(id) FROM t", "-1,5,9223372036854775807");
    assert_string_equal(audit(&b), "0 0");
}

static void row_ids(void **state)
{
    (void)state;
    table("CREATE TABLE t (id INTEGER PRIMARY KEY, k TEXT UNIQUE, v INT)", "k");
    assert_put("{'k':'a'}\n{'k':'b','id':70}\n{'k':'a','v':1}", "created,created,updated");
    assert_string_equal(b.ids, "1,70,1");
    table("CREATE TABLE t (id TEXT PRIMARY KEY, k TEXT UNIQUE, v INT)", "k");
    assert_put("{'k':'a','id':'one'}\n{'k':'a','v':1}", "created,updated");
    assert_string_equal(b.ids, "one,one");
    table("CREATE TABLE t (rowid TEXT, _rowid_ TEXT, k TEXT UNIQUE)", "k");
    assert_put("{'k':'a','rowid':'x'}", "created");
    assert_string_equal(b.ids, "1"); /* oid is still the row's own */
    table("CREATE TABLE t (rowid TEXT, _rowid_ TEXT, oid TEXT, k TEXT UNIQUE)", "k");
    assert_put("{'k':'a','rowid':'x'}", "created");
    assert_string_equal(b.ids, "-");
}

/* A trigger's own inserts must not be taken for the row's id. */
static void row_ids_beside_triggers(void **state)
{
    (void)state;
    table("CREATE TABLE t (id INTEGER PRIMARY KEY, k TEXT UNIQUE); CREATE TABLE log (n INTEGER "
          "PRIMARY "
          "KEY); INSERT INTO log VALUES (100); CREATE TRIGGER x AFTER INSERT ON t BEGIN INSERT "
          "INTO log "
          "VALUES (NULL); END",
          "k");
    assert_put("{'k':'a'}\n{'k':'b'}", "created,created");
    assert_string_equal(b.ids, "1,2");
}

static void what_is_no_table(void **state)
{
    (void)state;
    refused("CREATE TABLE x (k TEXT UNIQUE); CREATE VIEW t AS SELECT * FROM x", "k", "is a view");
    refused("CREATE VIRTUAL TABLE t USING fts5 (k)", "k", "is a virtual");
}

/* ---- the unique index ------------------------------------------------------------------------ */

static void every_way_to_say_unique(void **state)
{
    (void)state;
    static const char *const ways[] = {
        "CREATE TABLE t (k TEXT PRIMARY KEY, a INT)",
        "CREATE TABLE t (k TEXT UNIQUE, a INT)",
        "CREATE TABLE t (k TEXT, a INT, CONSTRAINT name UNIQUE (k))",
        "CREATE TABLE t (k TEXT, a INT); CREATE UNIQUE INDEX i ON t (k DESC)",
        "CREATE TABLE t (k TEXT COLLATE NOCASE, a INT); CREATE UNIQUE INDEX i ON t (k COLLATE "
        "BINARY)",
        "CREATE TABLE t (k VARCHAR(10), a INT); CREATE UNIQUE INDEX i ON t (\"k\")",
    };
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        table(ways[i], "k:text");
        assert_true(b.table.table->guarantees & ONEROW_ENFORCED);
        assert_put("{'k':'a'}\n{'k':'A'}\n{'k':'a','a':1}", "created,created,updated");
        assert_string_equal(get(&b, "{'k':'a'}"), "{\"k\":\"a\",\"a\":1}");
        assert_string_equal(audit(&b), "0 0");
    }
    table("CREATE TABLE t (a INT, k TEXT, l TEXT, UNIQUE (l, a, k))", "k,l,a"); /* another order */
    assert_put("{'k':'x','l':'y','a':1}\n{'k':'x','l':'y','a':1}", "created,unchanged");
}

static void indexes_that_do_not_do(void **state)
{
    (void)state;
    refused("CREATE TABLE t (k TEXT, a INT); CREATE UNIQUE INDEX i ON t (k) WHERE a > 0", "k",
            "index \"i\" is partial");
    refused("CREATE TABLE t (k TEXT, a INT); CREATE UNIQUE INDEX i ON t (k COLLATE NOCASE)", "k",
            "compares with NOCASE");
    refused("CREATE TABLE t (k TEXT, a INT); CREATE UNIQUE INDEX i ON t (k COLLATE RTRIM)", "k",
            "compares with RTRIM");
    refused("CREATE TABLE t (k TEXT COLLATE NOCASE UNIQUE)", "k", "compares with NOCASE");
    refused("CREATE TABLE t (k TEXT, a INT); CREATE INDEX i ON t (k)", "k", "nothing keeps table");
    refused("CREATE TABLE t (k TEXT, a INT, UNIQUE (k, a))", "k", "nothing keeps table");
    refused("CREATE TABLE t (k TEXT UNIQUE, a INT)", "k,a", "nothing keeps table");
    refused("CREATE TABLE t (k TEXT); CREATE UNIQUE INDEX i ON t (lower(k))", "k",
            "nothing keeps table");
}

/* The naive way joins or splits keys there: 'a' and 'A' become one row. */
static void store_equality_is_the_named_override(void **state)
{
    (void)state;
    refused("CREATE TABLE t (k TEXT COLLATE NOCASE UNIQUE, v INT)", "k", "compares with NOCASE");
    assert_contains(b.error.text, "or `key_equality: store`");
    b.table.spec.store_key_equality = true;
    bench_look(&b, "t", "k");
    assert_status(&b, ONEROW_OK);
    assert_contains(b.table.table->promise, "SQLite's own equality");
    assert_put("{'k':'a','v':1}\n{'k':'A','v':2}", "created,updated"); /* in their order */
    assert_sql("SELECT k, v FROM t", "a|2");
    assert_contains(get(&b, "{'k':'A'}"), "\"k\":\"a\"");
    assert_string_equal(audit(&b), "0 0");
    /* An index that joins what the column keeps apart: rows would be written by one equality and
     * looked up by another. */
    refused("CREATE TABLE t (k TEXT, v INT); CREATE UNIQUE INDEX i ON t (k COLLATE NOCASE)", "k",
            "compares with NOCASE");
    assert_null(strstr(b.error.text, "key_equality"));
}

static void missing_index_names_the_statement(void **state)
{
    (void)state;
    static const struct {
        const char *made, *location, *key;
        bool nulls_equal;
    } tables[] = {
        {"CREATE TABLE t (k TEXT, v INT)", "t", "k", false},
        {"CREATE TABLE t (k TEXT, v INT)", "t", "k,v:int", true},
        {"CREATE TABLE \"it's \"\"x\"\"\" (\"a b\" TEXT, \"c'd\" INT)", "it's \"x\"", "a b,c'd",
         false},
        {"CREATE TABLE \"it's \"\"x\"\"\" (\"a b\" TEXT, \"c'd\" INT)", "it's \"x\"", "a b,c'd",
         true},
    };
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
        b.nulls_equal = tables[i].nulls_equal;
        look(tables[i].made, tables[i].location, tables[i].key);
        assert_status(&b, ONEROW_CONFIG);
        assert_contains(b.error.text, "CREATE UNIQUE INDEX");
        char *command = strstr(b.error.text, "run: ");
        assert_non_null(command);
        command[strcspn(command, "\n")] = '\0';
        assert_int_equal(system(command + strlen("run: ")), 0); /* as a person would paste it */
        bench_look(&b, tables[i].location, tables[i].key);
        assert_status(&b, ONEROW_OK);
        assert_true(b.table.table->guarantees & ONEROW_ENFORCED);
    }
    b.nulls_equal = false;
}

static void nulls_need_an_expression_index(void **state)
{
    (void)state;
    b.nulls_equal = true;
    /* A plain unique index takes NULLs for different: the same row is inserted again and again. */
    refused("CREATE TABLE t (k TEXT, v INT, UNIQUE (k))", "k", "nothing keeps table");
    sql(&b, "INSERT INTO t VALUES (NULL, 1), (NULL, 2)");
    assert_sql("SELECT count(*) FROM t", "2");
    table("CREATE TABLE t (k TEXT NOT NULL UNIQUE, v INT)", "k"); /* no NULL can be there */
    table("CREATE TABLE t (k TEXT, v INT); CREATE UNIQUE INDEX i ON t (k IS NULL, ifnull(k, 0))",
          "k");
    assert_put("{'k':null,'v':1}\n{'k':null,'v':2}\n{'k':'0','v':3}\n{'k':'','v':4}",
               "created,updated,created,created");
    assert_sql("SELECT count(*) FROM t", "3");
    assert_string_equal(audit(&b), "0 0");
    b.nulls_equal = false;
}

/* ---- types of keys
 * --------------------------------------------------------------------------------- */

static void key_types_that_agree(void **state)
{
    (void)state;
    static const char *const good[][3] = {
        {"TEXT", "text", "'a'"},
        {"VARCHAR(3)", "text", "'a'"},
        {"INTEGER", "int", "1"},
        {"BIGINT", "int", "1"},
        {"NUMERIC", "int", "1"},
        {"BOOLEAN", "bool", "true"},
        {"INTEGER", "bool", "true"},
        {"DECIMAL TEXT", "decimal", "24.5"},
        {"NUMERIC TEXT", "decimal", "24.5"},
        {"DATE TEXT", "date", "'2024-01-01'"},
        {"TIMESTAMP TEXT", "timestamp", "'2024-01-01T00:00:00Z'"},
        {"UUID TEXT", "uuid", "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'"},
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        table(text(&b, "CREATE TABLE t (k %s UNIQUE, v INT)", good[i][0]),
              text(&b, "k:%s", good[i][1]));
        assert_string_equal(
            put(&b, text(&b, "{'k':%s,'v':1}\n{'k':%s,'v':2}", good[i][2], good[i][2])),
            "created,updated");
        assert_sql("SELECT count(*) FROM t", "1");
        assert_string_equal(audit(&b), "0 0");
    }
}

static void key_types_that_do_not(void **state)
{
    (void)state;
    static const char *const bad[][3] = {
        {"", "text", "does not hold text as it is"},
        {"BLOB", "text", "does not hold text as it is"},
        {"INTEGER", "text", "does not hold text as it is"},
        {"NUMERIC", "text", "does not hold text as it is"},
        {"TEXT", "int", "does not hold whole numbers"},
        {"", "int", "does not hold whole numbers"},
        {"REAL", "int", "does not hold whole numbers"},
        {"TEXT", "bool", "does not hold whole numbers"},
        {"NUMERIC", "decimal", "holds decimals as doubles"},
        {"DECIMAL(10,2)", "decimal", "holds decimals as doubles"},
        {"REAL", "decimal", "holds decimals as doubles"},
        {"TEXT", "decimal", "compares by spelling"},
        {"TEXT", "timestamp", "compares by spelling"},
        {"TIMESTAMP", "timestamp", "compares by spelling"},
        {"DATE", "date", "compares by spelling"},
        {"TEXT", "uuid", "compares by spelling"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        refused(text(&b, "CREATE TABLE t (k %s UNIQUE, v INT)", bad[i][0]),
                text(&b, "k:%s", bad[i][1]), bad[i][2]);
        assert_contains(b.error.text, "declare it");
    }
    /* What would go wrong: two keys in one NUMERIC cell, one key in two untyped ones. */
    sql(&b, "CREATE TABLE n (k NUMERIC); INSERT INTO n VALUES ('0.1'), ('0.10000000000000001')");
    assert_sql("SELECT count(DISTINCT k) FROM n", "1");
    sql(&b, "CREATE TABLE u (k UNIQUE); INSERT INTO u VALUES (1), ('1')");
    assert_sql("SELECT count(*) FROM u", "2");
}

/* ---- conflict clauses
 * ---------------------------------------------------------------------------------- */

static void replace_is_refused(void **state)
{
    (void)state;
    static const char *const ways[] = {
        "CREATE TABLE t (k TEXT UNIQUE, w INT UNIQUE ON CONFLICT REPLACE)",
        "CREATE TABLE t (k TEXT UNIQUE ON CONFLICT REPLACE, w INT)",
        "CREATE TABLE t (k TEXT PRIMARY KEY ON CONFLICT REPLACE, w INT)",
        "CREATE TABLE t (k TEXT UNIQUE, w INT, UNIQUE (w) on /* x */ conflict -- y\n replace)",
        "CREATE TABLE t (k TEXT UNIQUE, \"on\" INT, w INT UNIQUE ON CONFLICT REPLACE)",
        "CREATE TABLE t (k TEXT UNIQUE, x TEXT DEFAULT 'it''s', w INT UNIQUE ON CONFLICT REPLACE)",
    };
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        refused(ways[i], "k", "ON CONFLICT REPLACE");
    }
    /* What it would do: the upsert of one row deletes another, acknowledged one. */
    sql(&b,
        "DROP TABLE t; CREATE TABLE t (k TEXT UNIQUE, w INT UNIQUE ON CONFLICT REPLACE); "
        "INSERT INTO t VALUES ('a', 1), ('b', 2); INSERT INTO t VALUES ('c', 2) ON CONFLICT (k) DO "
        "UPDATE SET w = excluded.w");
    assert_sql("SELECT group_concat(k) FROM t", "a,c");
    table("CREATE TABLE t (k TEXT UNIQUE, \"on\" INT, \"conflict\" INT, \"replace\" INT, c TEXT "
          "DEFAULT "
          "'ON CONFLICT REPLACE' /* ON CONFLICT REPLACE */)",
          "k");
}

static void other_conflict_clauses_hide_nothing(void **state)
{
    (void)state;
    static const char *const clauses[] = {"IGNORE", "FAIL", "ABORT", "ROLLBACK"};
    for (size_t i = 0; i < sizeof clauses / sizeof *clauses; i++) {
        table(text(&b,
                   "CREATE TABLE t (k TEXT UNIQUE ON CONFLICT %s, w INT UNIQUE ON CONFLICT %s, n "
                   "INT NOT "
                   "NULL ON CONFLICT %s DEFAULT 0)",
                   clauses[i], clauses[i], clauses[i]),
              "k");
        assert_put("{'k':'a','w':1}\n{'k':'b','w':1}\n{'k':'c','w':3}\n{'k':'d','n':null}",
                   "created,rejected:UNIQUE constraint failed: t.w,created,"
                   "rejected:NOT NULL constraint failed: t.n");
        assert_put("{'k':'a','w':3}\n{'k':'c','w':4}\n{'k':'e','w':5}",
                   "rejected:UNIQUE constraint failed: t.w,updated,created");
        assert_sql("SELECT group_concat(k || w) FROM t", "a1,c4,e5");
    }
}

/* ---- unenforced: accept
 * ------------------------------------------------------------------------------------ */

static void unenforced_by_name(void **state)
{
    (void)state;
    b.table.spec.accept_unenforced = true;
    table("CREATE TABLE t (k TEXT, v INT, n INT)", "k");
    assert_false(b.table.table->guarantees & ONEROW_ENFORCED);
    assert_contains(b.table.table->promise, "cooperating writers");
    assert_contains(b.table.table->advice, "reads the whole table");
    assert_put("{'k':'a','v':1,'n':5}\n{'k':'a','v':1}\n{'k':'a','v':2}\n{'k':'b'}",
               "created,unchanged,updated,created");
    assert_string_equal(b.ids, "1,1,1,2");
    assert_sql("SELECT k, v, n FROM t ORDER BY k", "a|2|5\nb||");
    sql(&b, "INSERT INTO t VALUES ('twin', 1, 1), ('twin', 2, 2)");
    assert_put("{'k':'twin','v':3}\n{'k':'c','v':1}",
               "rejected:several rows have this key already; run: onerow audit,created");
    assert_string_equal(audit(&b), "1 0");
    table("CREATE TABLE t (k TEXT, v INT); CREATE INDEX i ON t (k)", "k");
    assert_null(b.table.table->advice);
}

static void unenforced_policies(void **state)
{
    (void)state;
    b.table.spec.accept_unenforced = true;
    b.table.spec.policy = ONEROW_POLICY_KEEP;
    table("CREATE TABLE t (k TEXT, v INT)", "k");
    assert_put("{'k':'a','v':1}\n{'k':'a','v':2}\n{'k':'a','v':1}",
               "created,unchanged:kept,unchanged");
    b.table.spec.policy = ONEROW_POLICY_NEWEST;
    b.table.spec.order_column = "v";
    bench_look(&b, "t", "k");
    assert_put("{'k':'a','v':0}\n{'k':'a','v':5}\n{'k':'a'}", "unchanged:older,updated,unchanged");
    assert_sql("SELECT k, v FROM t", "a|5");
}

static void unenforced_images(void **state)
{
    (void)state;
    b.table.spec.accept_unenforced = true;
    table("CREATE TABLE t (k TEXT, r REAL, i INTEGER, n NUMERIC, s TEXT COLLATE NOCASE, x, b "
          "BOOLEAN)",
          "k");
    assert_put("{'k':'a','r':1,'i':2,'n':3,'s':'Bob','x':1,'b':true}", "created");
    assert_put("{'k':'a','r':1,'i':2,'n':3,'s':'Bob','x':1,'b':true}", "unchanged");
    assert_put("{'k':'a','r':1.0,'i':2.0,'n':3.0}", "unchanged");
    assert_put("{'k':'a','s':'bob'}\n{'k':'a','x':1.0}\n{'k':'a','x':'1'}\n{'k':'a','s':null}",
               "updated,updated,updated,updated");
    b.untyped = true;
    assert_put("{'k':'a','r':'1','i':'2','n':'3','b':'TRUE'}", "unchanged");
    assert_put("{'k':'a','i':'abc'}\n{'k':'a','i':'abc'}", "updated,unchanged");
    b.untyped = false;
}

/* ---- constraints
 * --------------------------------------------------------------------------------------------- */

static void one_bad_record_stands_alone(void **state)
{
    (void)state;
    table("CREATE TABLE t (k TEXT UNIQUE, w INT UNIQUE, c INT CHECK (c > 0), n INT NOT NULL "
          "DEFAULT 1)",
          "k");
    assert_put(
        "{'k':'a','w':1}\n{'k':'b','w':1}\n{'k':'c','c':0}\n{'k':'d','n':null}\n{'k':'e','w':2}",
        "created,rejected:UNIQUE constraint failed: t.w,"
        "rejected:CHECK constraint failed: c > 0,"
        "rejected:NOT NULL constraint failed: t.n,created");
    assert_int_equal(b.status, ONEROW_REJECTED);
    assert_sql("SELECT group_concat(k) FROM t", "a,e");
    assert_put("{'k':'e','w':1}\n{'k':'a','c':5}",
               "rejected:UNIQUE constraint failed: t.w,updated");
}

static void foreign_keys_are_on(void **state)
{
    (void)state;
    table(
        "CREATE TABLE p (id INTEGER PRIMARY KEY); INSERT INTO p VALUES (1); CREATE TABLE t (k TEXT "
        "UNIQUE, p INT REFERENCES p)",
        "k");
    assert_put("{'k':'a','p':1}\n{'k':'b','p':2}\n{'k':'c','p':null}",
               "created,rejected:FOREIGN KEY constraint failed,created");
    assert_sql("SELECT group_concat(k) FROM t", "a,c");
    /* The client's default, off, takes the orphan. */
    sql(&b, "PRAGMA foreign_keys=OFF; INSERT INTO t VALUES ('b', 2)");
    assert_sql("SELECT count(*) FROM pragma_foreign_key_check", "1");
}

static const char *numbered(unsigned n, const char *format)
{
    struct or_buffer lines;
    or_buffer_init(&lines);
    for (unsigned i = 0; i < n; i++) {
        or_buffer_text(&lines, i ? "\n" : "");
        or_buffer_printf(&lines, format, i, i);
    }
    const char *kept = text(&b, "%s", or_buffer_cstr(&lines));
    or_buffer_finish(&lines);
    return kept;
}

static unsigned count_of(const char *outcomes, const char *outcome)
{
    unsigned n = 0;
    for (const char *at = outcomes; (at = strstr(at, outcome)); at++) {
        n++;
    }
    return n;
}

static void deferred_foreign_keys_fail_the_commit(void **state)
{
    (void)state;
    table("CREATE TABLE p (id INTEGER PRIMARY KEY); WITH RECURSIVE n(i) AS (VALUES (0) UNION ALL "
          "SELECT "
          "i + 1 FROM n WHERE i < 999) INSERT INTO p SELECT i FROM n WHERE i NOT IN (5, 63); "
          "CREATE TABLE "
          "t (k TEXT UNIQUE, p INT REFERENCES p DEFERRABLE INITIALLY DEFERRED)",
          "k");
    const char *said = put(&b, numbered(100, "{'k':'%u','p':%u}"));
    assert_int_equal(count_of(said, "created"), 98);
    assert_int_equal(count_of(said, "rejected:FOREIGN KEY constraint failed"), 2);
    assert_sql("SELECT count(*), sum(k IN ('5', '63')) FROM t", "98|0");
    assert_int_equal(b.status, ONEROW_REJECTED);
    assert_put("{'k':'0','p':5}\n{'k':'1','p':2}",
               "rejected:FOREIGN KEY constraint failed,updated");
}

/* ---- triggers
 * ----------------------------------------------------------------------------------------------------
 */

static void triggers_that_raise(void **state)
{
    (void)state;
    static const char *const raises[][2] = {
        {"RAISE(ABORT, 'no b')", "rejected:no b"},
        {"RAISE(FAIL, 'no b')", "rejected:no b"},
        {"RAISE(ROLLBACK, 'no b')", "rejected:no b"},
        {"RAISE(IGNORE)", "rejected:a trigger of the table swallowed the row (RAISE(IGNORE))"},
    };
    static const char *const times[] = {"BEFORE", "AFTER"};
    for (size_t i = 0; i < 2 * sizeof raises / sizeof *raises; i++) {
        const char *const *raise = raises[i / 2];
        bool swallowed = strstr(raise[0], "IGNORE") != NULL;
        if (swallowed && i % 2) {
            continue; /* the row is in by then */
        }
        table(text(&b,
                   "CREATE TABLE t (k TEXT UNIQUE, v INT); CREATE TRIGGER x %s INSERT ON t WHEN "
                   "NEW.k = "
                   "'b' BEGIN SELECT %s; END",
                   times[i % 2], raise[0]),
              "k");
        assert_string_equal(put(&b, "{'k':'a'}\n{'k':'b'}\n{'k':'c'}"),
                            text(&b, "created,%s,created", raise[1]));
        assert_sql("SELECT group_concat(k) FROM t", "a,c");
    }
}

static void triggers_on_updates(void **state)
{
    (void)state;
    table("CREATE TABLE t (k TEXT UNIQUE, v INT); CREATE TRIGGER x BEFORE UPDATE ON t WHEN NEW.v = "
          "2 BEGIN "
          "SELECT RAISE(IGNORE); END; CREATE TRIGGER y BEFORE UPDATE ON t WHEN NEW.v = 3 BEGIN "
          "SELECT "
          "RAISE(ROLLBACK, 'no 3'); END",
          "k");
    assert_put("{'k':'a','v':1}\n{'k':'b','v':1}", "created,created");
    assert_put("{'k':'a','v':2}\n{'k':'b','v':3}\n{'k':'c','v':3}\n{'k':'b','v':4}",
               "rejected:a trigger of the table swallowed the change (RAISE(IGNORE)),rejected:no 3,"
               "created,updated");
    assert_sql("SELECT k, v FROM t ORDER BY k", "a|1\nb|4\nc|3");
}

/* A trigger that puts another value in: the record is written, and found different again next time.
 */
static void triggers_that_change_the_value(void **state)
{
    (void)state;
    table(
        "CREATE TABLE t (k TEXT UNIQUE, v TEXT); CREATE TRIGGER i AFTER INSERT ON t BEGIN UPDATE t "
        "SET v = "
        "upper(NEW.v) WHERE k = NEW.k; END; CREATE TRIGGER u AFTER UPDATE OF v ON t WHEN NEW.v <> "
        "upper(NEW.v) BEGIN UPDATE t SET v = upper(NEW.v) WHERE k = NEW.k; END",
        "k");
    assert_put("{'k':'a','v':'x'}", "created");
    assert_put("{'k':'a','v':'X'}", "unchanged");
    assert_put("{'k':'a','v':'y'}", "updated");
    assert_sql("SELECT v FROM t", "Y");
}

/* What a trigger does elsewhere, even in the same table, is not taken for the record's outcome. */
static void triggers_beside_the_row(void **state)
{
    (void)state;
    table("CREATE TABLE log (k TEXT); CREATE TABLE t (k TEXT UNIQUE, v INT); CREATE TRIGGER i "
          "AFTER INSERT ON "
          "t BEGIN INSERT INTO log VALUES (NEW.k); UPDATE t SET v = coalesce(v, 0) + 1 WHERE k = "
          "'total'; "
          "END",
          "k");
    assert_put("{'k':'total','v':0}\n{'k':'a','v':7}\n{'k':'b','v':8}", "created,created,created");
    assert_sql("SELECT group_concat(k || v) FROM t", "a7,b8,total1");
    assert_sql("SELECT count(*) FROM log", "3");
}

/* ---- unchanged
 * ------------------------------------------------------------------------------------------------------
 */

static void images_are_compared(void **state)
{
    (void)state;
    table("CREATE TABLE t (k TEXT UNIQUE, s TEXT COLLATE NOCASE, r REAL, i INTEGER, n NUMERIC, x, "
          "j JSON, d "
          "DATE, b BOOLEAN)",
          "k");
    assert_put("{'k':'a','s':'Bob','r':1,'i':1,'n':1,'x':1,'j':{'a':1},'d':'2024-01-01','b':true}",
               "created");
    assert_put(
        "{'k':'a','s':'Bob','r':1.0,'i':1.0,'n':1.0,'x':1,'j':{'a':1},'d':'2024-01-01','b':true}",
        "unchanged");
    assert_put("{'k':'a','s':'bob'}\n{'k':'a','s':'bob '}\n{'k':'a','s':''}\n{'k':'a','s':null}",
               "updated,updated,updated,updated");
    assert_put("{'k':'a','x':1.0}\n{'k':'a','x':'1'}\n{'k':'a','x':true}\n{'k':'a','x':1}",
               "updated,updated,updated,unchanged");
    assert_put(
        "{'k':'a','j':{'a':2}}\n{'k':'a','j':'text'}\n{'k':'a','j':'text'}\n{'k':'a','j':[]}\n"
        "{'k':'a','j':null}\n{'k':'a','j':null}\n{'k':'a'}",
        "updated,updated,unchanged,updated,updated,unchanged,unchanged");
    /* The naive comparison takes Bob for bob, and says "unchanged". */
    assert_sql("SELECT s IS NOT 'bob', s IS NULL FROM t", "1|1");
    assert_sql("CREATE TABLE z (s TEXT COLLATE NOCASE); INSERT INTO z VALUES ('Bob'); SELECT s IS "
               "'bob' FROM "
               "z",
               "1");
}

static void json_text_comes_out_as_text(void **state)
{
    (void)state;
    table("CREATE TABLE t (k TEXT UNIQUE, j JSON)", "k");
    static const char *const values[] = {"\"text\"", "{\"a\":[1,2.50,null]}", "[]",   "\"{}\"",
                                         "\"[1]\"",  "\"\\\"quoted\\\"\"",    "\"\"", "null",
                                         "17"};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        const char *row = text(&b, "{\"k\":\"%zu\",\"j\":%s}", i, values[i]);
        assert_string_equal(put_raw(&b, row), "created");
        assert_string_equal(put_raw(&b, row), "unchanged");
        assert_string_equal(get_raw(&b, text(&b, "{\"k\":\"%zu\"}", i)), row);
    }
    assert_sql("SELECT count(*) FROM t WHERE j IS NOT NULL AND NOT json_valid(j)", "0");
}

static void unchanged_rows_are_not_rewritten(void **state)
{
    (void)state;
    table("CREATE TABLE log (k TEXT); CREATE TABLE t (k TEXT UNIQUE, v INT, w TEXT); CREATE "
          "TRIGGER x AFTER "
          "UPDATE ON t BEGIN INSERT INTO log VALUES (NEW.k); END",
          "k");
    put(&b, numbered(100, "{'k':'%u','v':%u}"));
    assert_int_equal(count_of(put(&b, numbered(100, "{'k':'%u','v':%u}")), "unchanged"), 100);
    assert_put("{'k':'1'}\n{'k':'2','w':null}", "unchanged,unchanged");
    assert_sql("SELECT count(*) FROM log", "0");
    assert_put("{'k':'1','v':7}", "updated");
    assert_sql("SELECT count(*) FROM log", "1");
    /* The naive upsert rewrites each. */
    sql(&b, "INSERT INTO t (k, v) SELECT k, v FROM t WHERE true ON CONFLICT (k) DO UPDATE SET v = "
            "excluded.v");
    assert_sql("SELECT count(*) FROM log", "101");
}

/* ---- records that lack a required column
 * ------------------------------------------------------------------------------ */

static void required_columns(void **state)
{
    (void)state;
    table("CREATE TABLE t (k TEXT UNIQUE, must TEXT NOT NULL, v INT)", "k");
    assert_put("{'k':'a','v':1}",
               "rejected:no row has this key, and a new one needs column \"must\"");
    assert_put("{'k':'a','must':'x','v':1}\n{'k':'a','v':2}\n{'k':'a','v':2}\n{'k':'b','v':1}",
               "created,updated,unchanged,"
               "rejected:no row has this key, and a new one needs column \"must\"");
    assert_string_equal(b.ids, "1,1,1,-");
    assert_sql("SELECT k, must, v FROM t", "a|x|2");
    assert_put("{'k':'a'}", "unchanged");
    /* The naive upsert fails on the existing row. */
    assert_contains(
        sql_error(&b, "INSERT INTO t (k, v) VALUES ('a', 3) ON CONFLICT (k) DO UPDATE SET v = "
                      "excluded.v"),
        "NOT NULL constraint failed: t.must");
}

static void required_columns_and_policies(void **state)
{
    (void)state;
    b.table.spec.policy = ONEROW_POLICY_NEWEST;
    b.table.spec.order_column = "v";
    table("CREATE TABLE t (k TEXT UNIQUE, must TEXT NOT NULL, v INT, s TEXT COLLATE NOCASE)", "k");
    assert_put("{'k':'a','must':'x','v':5,'s':'Bob'}\n{'k':'a','v':4}\n{'k':'a','v':5,'s':'bob'}\n"
               "{'k':'a','s':'zed'}\n{'k':'a','v':6}",
               "created,unchanged:older,updated,unchanged:older,updated");
    assert_sql("SELECT v, s FROM t", "6|bob");
}

/* ---- updated_at
 * -----------------------------------------------------------------------------------------------------------
 */

#define OLD      "1999-01-01T00:00:00.000Z"
#define SET_OLD  "UPDATE t SET at = '" OLD "'"
#define IS_FRESH "SELECT at > '2020' AND at GLOB '[0-9]*T*Z' AND julianday(at) IS NOT NULL FROM t"

static void updated_at_change(void **state)
{
    (void)state;
    b.table.spec.touch = ONEROW_TOUCH_CHANGE;
    b.table.spec.touch_column = "at";
    table("CREATE TABLE t (k TEXT UNIQUE, v INT, at TEXT NOT NULL)", "k");
    assert_put("{'k':'a','v':1}", "created");
    assert_sql(IS_FRESH, "1");
    sql(&b, SET_OLD);
    assert_put("{'k':'a','v':1}", "unchanged");
    assert_sql("SELECT at FROM t", OLD);
    assert_put("{'k':'a','v':2}", "updated");
    assert_sql(IS_FRESH, "1");
    assert_put("{'k':'a','v':2,'at':'given'}", "updated"); /* the record's own value wins */
    assert_sql("SELECT at FROM t", "given");
}

static void updated_at_write(void **state)
{
    (void)state;
    b.table.spec.touch = ONEROW_TOUCH_WRITE;
    b.table.spec.touch_column = "at";
    table("CREATE TABLE t (k TEXT UNIQUE, v INT, at TEXT, must INT NOT NULL)", "k");
    assert_put("{'k':'a','v':1,'must':1}", "created");
    sql(&b, SET_OLD);
    assert_put("{'k':'a','v':1,'must':1}", "unchanged");
    assert_sql(IS_FRESH, "1");
    sql(&b, SET_OLD);
    assert_put("{'k':'a'}", "unchanged"); /* lacks a required column */
    assert_sql(IS_FRESH, "1");
}

static void updated_at_and_policies(void **state)
{
    (void)state;
    b.table.spec.touch = ONEROW_TOUCH_CHANGE;
    b.table.spec.touch_column = "at";
    b.table.spec.policy = ONEROW_POLICY_KEEP;
    table("CREATE TABLE t (k TEXT UNIQUE, v INT, at TEXT)", "k");
    put(&b, "{'k':'a','v':1}");
    sql(&b, SET_OLD);
    assert_put("{'k':'a','v':2}", "unchanged:kept");
    assert_sql("SELECT at FROM t", OLD);
    b.table.spec.policy = ONEROW_POLICY_UPDATE;
    table("CREATE TABLE t (k TEXT UNIQUE, at INTEGER)", "k");
    assert_put("{'k':'a'}", "created");
    assert_sql("SELECT typeof(at), at > 1500000000 FROM t", "integer|1");
    refused("CREATE TABLE t (k TEXT UNIQUE)", "k", "no column \"at\"");
    refused("CREATE TABLE t (k TEXT UNIQUE, at TEXT AS (k))", "k", "no column \"at\"");
    bench_close(&b);
    remove_database();
    bench_store(&b, url);
    bench_create(&b, "t", "k", "k:text,v:int");
    bench_look(&b, "t", "k");
    assert_status(&b, ONEROW_OK);
    assert_put("{'k':'a','v':1}", "created");
    assert_sql(IS_FRESH, "1");
}

/* ---- numbers
 * ---------------------------------------------------------------------------------------------------------------
 */

static void assert_number(const char *type, const char *number, const char *stored)
{
    table(text(&b, "CREATE TABLE t (k TEXT UNIQUE, v %s)", type), "k");
    const char *record = text(&b, "{'k':'a','v':%s}", number);
    const char *said = put(&b, record);
    if (!stored) {
        assert_contains(said, "rejected:\"v\": ");
        assert_contains(said, "a TEXT column keeps it");
        assert_sql("SELECT count(*) FROM t", "0");
        return;
    }
    assert_string_equal(said, "created");
    assert_string_equal(
        sql(&b, "SELECT typeof(v) || ' ' || iif(typeof(v) = 'real', printf('%!.17g', v), quote(v)) "
                "FROM t"),
        stored);
    assert_string_equal(put(&b, record), "unchanged");
}

static void numbers_are_exact_or_refused(void **state)
{
    (void)state;
    static const char *const numbers[][3] = {
        {"INTEGER", "9223372036854775807", "integer 9223372036854775807"},
        {"INTEGER", "-9223372036854775808", "integer -9223372036854775808"},
        {"INTEGER", "9223372036854775808", NULL},
        {"INTEGER", "9007199254740993", "integer 9007199254740993"},
        {"INTEGER", "18446744073709551617", NULL},
        {"INTEGER", "1e2", "integer 100"},
        {"INTEGER", "-0", "integer 0"},
        {"INTEGER", "0.5", "real 0.5"},
        {"INTEGER", "1e400", NULL},
        {"NUMERIC", "0.1", "real 0.10000000000000001"},
        {"NUMERIC", "0.30000000000000004", "real 0.30000000000000004"},
        {"NUMERIC", "0.1000000000000000055", NULL},
        {"NUMERIC", "123456789012345678901234567890", NULL},
        {"NUMERIC", "24.10", "real 24.100000000000001"},
        {"NUMERIC", "1e-400", NULL},
        {"REAL", "0.1", "real 0.10000000000000001"},
        {"REAL", "1", "real 1.0"},
        {"REAL", "9007199254740993", "real 9007199254740992.0"},
        {"REAL", "0.1000000000000000055", "real 0.10000000000000001"},
        {"REAL", "1e400", NULL},
        {"TEXT", "24.10", "text '24.10'"},
        {"TEXT", "1e400", "text '1e400'"},
        {"TEXT", "9223372036854775808", "text '9223372036854775808'"},
        {"TEXT", "-0", "text '-0'"},
        {"", "0.1", "real 0.10000000000000001"},
        {"", "1.0", "real 1.0"},
        {"", "9223372036854775808", NULL},
        {"BLOB", "1", "integer 1"},
    };
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        assert_number(numbers[i][0], numbers[i][1], numbers[i][2]);
    }
    /* SQLite by itself rounds without a word. */
    assert_sql(
        "CREATE TABLE n (v INTEGER); INSERT INTO n VALUES (9223372036854775808); SELECT typeof(v) "
        "FROM n",
        "real");
}

static void numbers_come_back(void **state)
{
    (void)state;
    table("CREATE TABLE t (k TEXT UNIQUE, n NUMERIC, r REAL, s TEXT)", "k");
    put(&b, "{'k':'a','n':0.30000000000000004,'r':1e-7,'s':24.10}");
    assert_string_equal(get(&b, "{'k':'a'}"),
                        "{\"k\":\"a\",\"n\":0.30000000000000004,\"r\":1e-07,\"s\":\"24.10\"}");
}

/* ---- CSV
 * ---------------------------------------------------------------------------------------------------------------------
 */

static void untyped_fields_take_the_type(void **state)
{
    (void)state;
    table("CREATE TABLE t (k TEXT UNIQUE, b BOOLEAN, i INTEGER, r REAL, n NUMERIC, s TEXT, j JSON)",
          "k");
    b.untyped = true;
    assert_put("{'k':'1','b':'true','i':'17','r':'2','n':'24.5','s':'007','j':'hello'}", "created");
    assert_sql("SELECT typeof(k), b, typeof(b), typeof(i), typeof(r), typeof(n), s, j FROM t",
               "text|1|integer|integer|real|real|007|\"hello\"");
    assert_put("{'k':'1','b':'TRUE','i':'17','r':'2.0','n':'24.50','s':'007','j':'hello'}",
               "unchanged");
    assert_put("{'k':'1','b':'False'}\n{'k':'1','j':'{\\\"a\\\":1}'}\n{'k':'1','i':''}",
               "updated,updated,updated");
    assert_sql("SELECT b, json_extract(j, '$.a'), quote(i) FROM t", "0|1|''");
    b.untyped = false;
    assert_put("{'k':'1','b':false}", "unchanged");
}

/* What no double holds must not be rounded because it came from CSV. */
static void untyped_numbers_are_exact_or_refused(void **state)
{
    (void)state;
    table("CREATE TABLE t (k TEXT UNIQUE, i INTEGER, n NUMERIC)", "k");
    b.untyped = true;
    assert_put("{'k':'a','i':'9223372036854775807'}", "created");
    assert_sql("SELECT i FROM t", "9223372036854775807");
    assert_contains(put(&b, "{'k':'b','i':'9223372036854775808'}"), "rejected:\"i\": ");
    assert_contains(put(&b, "{'k':'b','n':'0.1000000000000000055'}"), "rejected:\"n\": ");
    b.untyped = false;
    assert_contains(put(&b, "{'k':'b','n':'0.1000000000000000055'}"), "rejected:\"n\": ");
    assert_sql("SELECT count(*) FROM t", "1");
}

/* ---- many shapes
 * -----------------------------------------------------------------------------------------------------------------
 */

static void more_column_sets_than_plans(void **state)
{
    (void)state;
    struct or_buffer made;
    struct or_buffer lines;
    or_buffer_init(&made);
    or_buffer_init(&lines);
    or_buffer_text(&made, "CREATE TABLE t (k TEXT UNIQUE");
    for (unsigned i = 0; i < 200; i++) {
        or_buffer_printf(&made, ", c%u INT", i);
        or_buffer_printf(&lines, "%s{\"k\":\"%u\",\"c%u\":%u}", i ? "\n" : "", i, i, i);
    }
    or_buffer_char(&made, ')');
    table(or_buffer_cstr(&made), "k");
    assert_int_equal(count_of(put_raw(&b, or_buffer_cstr(&lines)), "created"), 200);
    assert_int_equal(count_of(put_raw(&b, or_buffer_cstr(&lines)), "unchanged"), 200);
    assert_sql("SELECT count(*), sum(c0), sum(c199) FROM t", "200|0|199");
    or_buffer_finish(&made);
    or_buffer_finish(&lines);
}

/* More columns than one call of a function may have arguments: the last pair counts, too. */
static void every_column_is_compared(void **state)
{
    (void)state;
    struct or_buffer made;
    struct or_buffer record;
    or_buffer_init(&made);
    or_buffer_init(&record);
    or_buffer_text(&made, "CREATE TABLE t (k TEXT UNIQUE");
    or_buffer_text(&record, "{\"k\":\"a\"");
    for (unsigned i = 0; i < 1000; i++) {
        or_buffer_printf(&made, ", c%u INT", i);
        or_buffer_printf(&record, ",\"c%u\":%u", i, i);
    }
    or_buffer_char(&made, ')');
    or_buffer_char(&record, '}');
    table(or_buffer_cstr(&made), "k");
    assert_string_equal(put_raw(&b, or_buffer_cstr(&record)), "created");
    assert_string_equal(put_raw(&b, or_buffer_cstr(&record)), "unchanged");
    for (unsigned i = 0; i < 1000; i += 37) {
        sql(&b, text(&b, "UPDATE t SET c%u = -1", i));
        assert_string_equal(put_raw(&b, or_buffer_cstr(&record)), "updated");
    }
    or_buffer_finish(&made);
    or_buffer_finish(&record);
}

/* The schema changes under an open table: each batch is written, or fails as a whole. */
static void the_schema_changes_meanwhile(void **state)
{
    (void)state;
    table("CREATE TABLE t (k TEXT UNIQUE, v INT)", "k");
    assert_put("{'k':'a','v':1}", "created");
    sql(&b, "ALTER TABLE t ADD COLUMN w INT");
    assert_put("{'k':'b','v':1}\n{'k':'a','v':2}", "created,updated");
    sql(&b, "ALTER TABLE t DROP COLUMN v");
    assert_contains(put(&b, "{'k':'c','v':1}"), "rejected:");
    assert_sql("SELECT group_concat(k) FROM t", "a,b");
    table("CREATE TABLE t (k TEXT, v INT); CREATE UNIQUE INDEX i ON t (k)", "k");
    assert_put("{'k':'a','v':1}", "created");
    sql(&b, "DROP INDEX i");
    assert_contains(put(&b, "{'k':'a','v':2}\n{'k':'b','v':2}"), "rejected:");
    assert_sql("SELECT group_concat(k || v) FROM t", "a1"); /* never a second row */
}

/* ---- failures
 * -------------------------------------------------------------------------------------------------------------------
 */

#define PLAIN "CREATE TABLE t (k TEXT UNIQUE, v TEXT); INSERT INTO t VALUES ('old', 'x')"

struct ends {
    int ready[2];
    int go[2];
};

/* Another program that holds the write lock until it is told to go. */
static int hold_the_lock(void *context)
{
    struct ends *ends = context;
    sqlite3 *db = NULL;
    char byte = 'x';
    if (sqlite3_open(b.path, &db) != SQLITE_OK ||
        sqlite3_exec(db, "BEGIN IMMEDIATE; INSERT INTO t VALUES ('other', 'x')", NULL, NULL,
                     NULL) ||
        write(ends->ready[1], &byte, 1) != 1 || read(ends->go[0], &byte, 1) != 1) {
        return 1;
    }
    int code = sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
    sqlite3_close(db);
    return code;
}

static void a_lock_of_others(void **state)
{
    (void)state;
    struct ends ends;
    char byte = 'x';
    assert_int_equal(pipe(ends.ready) | pipe(ends.go), 0);
    b.wait_ms = 30;
    table(PLAIN, "k");
    bench_close(&b);
    pid_t holder = child(hold_the_lock, &ends);
    assert_int_equal(read(ends.ready[0], &byte, 1), 1);
    assert_int_equal(bench_store(&b, url), ONEROW_OK);
    assert_int_equal(bench_look(&b, "t", "k"), ONEROW_OK);
    assert_contains(put(&b, "{'k':'a'}\n{'k':'b'}"), "rejected:");
    assert_status(&b, ONEROW_BUSY);
    assert_contains(b.error.text, "--wait");
    assert_string_equal(get(&b, "{'k':'other'}"), "ABSENT"); /* reading goes on */
    assert_int_equal(write(ends.go[1], &byte, 1), 1);
    assert_int_equal(child_code(holder), 0);
    assert_put("{'k':'a'}\n{'k':'b'}", "created,created"); /* the store is fit for use again */
    assert_sql("SELECT count(*) FROM t", "4");
    for (int i = 0; i < 2; i++) {
        close(ends.ready[i]);
        close(ends.go[i]);
    }
}

static void become_nobody(void)
{
    if (geteuid() == 0 && (setgroups(0, NULL) || setgid(65534) || setuid(65534))) {
        _exit(99);
    }
}

/* Opens and puts as somebody without rights; the exit code is the status. */
static int put_as_nobody(void *context)
{
    (void)context;
    become_nobody();
    if (bench_store(&b, url) != ONEROW_OK || bench_look(&b, "t", "k") != ONEROW_OK) {
        return (int)b.status;
    }
    put(&b, "{'k':'a'}");
    return (int)b.status;
}

static void assert_refused_to_nobody(mode_t folder, mode_t file, enum onerow_status one,
                                     enum onerow_status or_another)
{
    table(PLAIN, "k");
    bench_close(&b);
    unlink(text(&b, "%s-onerow", b.path));
    assert_int_equal(chmod(b.path, file), 0);
    assert_int_equal(chmod(b.folder, folder), 0);
    int code = child_code(child(put_as_nobody, NULL));
    chmod(b.folder, 0700);
    chmod(b.path, 0600);
    if (code != (int)one && code != (int)or_another) {
        fail_msg("%s with a folder %o, a file %o", onerow_status_name((enum onerow_status)code),
                 folder, file);
    }
    assert_sql("SELECT group_concat(k) FROM t", "old");
}

static void files_without_permission(void **state)
{
    (void)state;
    assert_refused_to_nobody(0777, 0444, ONEROW_READONLY, ONEROW_READONLY);
    assert_refused_to_nobody(0555, 0444, ONEROW_READONLY, ONEROW_READONLY);
    assert_refused_to_nobody(0555, 0666, ONEROW_READONLY, ONEROW_UNAVAILABLE);
    assert_refused_to_nobody(0777, 0000, ONEROW_UNAVAILABLE, ONEROW_UNAVAILABLE);
}

static void what_is_no_database(void **state)
{
    (void)state;
    int fd = open(b.path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    char junk[4096];
    memset(junk, 'j', sizeof junk);
    assert_int_equal(write(fd, junk, sizeof junk), sizeof junk);
    close(fd);
    bench_store(&b, url);
    assert_status(&b, ONEROW_CORRUPT);
    assert_contains(b.error.text, b.path);
    remove_database();
    bench_store(&b, text(&b, "sqlite:%s/no/folder/x.db", b.folder));
    assert_status(&b, ONEROW_UNAVAILABLE);
    bench_store(&b, text(&b, "sqlite:%s", b.folder));
    assert_status(&b, ONEROW_UNAVAILABLE);
}

static void a_missing_file_is_not_made(void **state)
{
    (void)state;
    struct onerow_store_options options = {.url = url, .wait_ms = 1000};
    struct onerow_store *store = NULL;
    for (int read_only = 0; read_only <= 1; read_only++) {
        options.read_only = read_only;
        assert_int_equal(or_store_open(url, &options, &store, &b.error), ONEROW_UNAVAILABLE);
        assert_null(store);
        assert_int_not_equal(access(b.path, F_OK), 0);
    }
    assert_contains(b.error.text, "--create-table");
}

/* Pages in the middle of the file are overwritten. */
static void corrupt_pages(void **state)
{
    (void)state;
    table("PRAGMA journal_mode=DELETE; CREATE TABLE t (k TEXT UNIQUE, v TEXT); WITH RECURSIVE n(i) "
          "AS "
          "(VALUES (0) UNION ALL SELECT i + 1 FROM n WHERE i < 2000) INSERT INTO t SELECT i, "
          "hex(i) FROM n",
          "k");
    bench_close(&b);
    int fd = open(b.path, O_RDWR | O_CLOEXEC);
    char junk[4096];
    memset(junk, 0xff, sizeof junk);
    for (off_t page = 2; page < 20; page++) {
        assert_int_equal(pwrite(fd, junk, sizeof junk, page * 4096), sizeof junk);
    }
    close(fd);
    assert_int_equal(bench_store(&b, url), ONEROW_OK);
    assert_int_equal(bench_look(&b, "t", "k"), ONEROW_OK);
    put(&b, numbered(500, "{'k':'%u','v':'%u'}"));
    assert_status(&b, ONEROW_CORRUPT);
    assert_contains(b.error.text, "integrity_check");
}

static void replace_file(void)
{
    const char *other = bench_file(&b, "other.db");
    sql_in(&b, other, "CREATE TABLE t (k TEXT UNIQUE, v TEXT)");
    unlink(text(&b, "%s-wal", b.path)); /* else it would be taken for the other file's own */
    unlink(text(&b, "%s-shm", b.path));
    assert_int_equal(rename(other, b.path), 0);
}

static void remove_file(void)
{
    assert_int_equal(unlink(b.path), 0);
}

static void vanished_between_batches(void **state)
{
    (void)state;
    static void (*const ways[])(void) = {remove_file, replace_file};
    for (size_t i = 0; i < 2; i++) {
        table(PLAIN, "k");
        assert_put("{'k':'a'}", "created");
        ways[i]();
        assert_contains(put(&b, "{'k':'b'}"), "rejected:");
        assert_status(&b, ONEROW_VANISHED);
        assert_contains(b.error.text, "moved or deleted");
    }
    assert_sql("SELECT count(*) FROM t", "0");
}

/* COMMIT says OK into a file that nobody will find: no such record is acknowledged. */
static void vanished_during_a_batch(void **state)
{
    (void)state;
    static void (*const ways[])(void) = {remove_file, replace_file};
    for (size_t i = 0; i < 2; i++) {
        table(PLAIN, "k");
        struct onerow_store *store = b.table.store;
        assert_int_equal(store->type->begin(store, NULL, &b.error), ONEROW_OK);
        assert_string_equal(apply(&b, "{'k':'a'}"), "created");
        ways[i]();
        assert_int_equal(store->type->commit(store, &b.error), ONEROW_UNKNOWN);
        assert_int_equal(b.error.status, ONEROW_VANISHED);
        store->type->rollback(store);
    }
    /* The naive writer hears OK. */
    sqlite3 *db = NULL;
    remove_database();
    sql(&b, PLAIN);
    assert_int_equal(sqlite3_open(b.path, &db), SQLITE_OK);
    assert_int_equal(
        sqlite3_exec(db, "BEGIN IMMEDIATE; INSERT INTO t VALUES ('a', 1)", NULL, NULL, NULL), 0);
    remove_file();
    assert_int_equal(sqlite3_exec(db, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    assert_int_not_equal(access(b.path, F_OK), 0);
}

static void limit_pages(int more)
{
    sqlite3 *db = or_sqlite_store_of(b.table.store)->db;
    sqlite3_stmt *stmt = NULL;
    sqlite3_prepare_v2(db, "PRAGMA page_count", -1, &stmt, NULL);
    assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
    int pages = sqlite3_column_int(stmt, 0);
    sqlite3_finalize(stmt);
    assert_int_equal(
        sqlite3_exec(db, text(&b, "PRAGMA max_page_count=%d", pages + more), NULL, NULL, NULL),
        SQLITE_OK);
}

static const char *fat(unsigned n)
{
    static const char filler[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
                                 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    return numbered(n, text(&b, "{'k':'%%u','v':'%%u %s'}", filler));
}

static void a_full_database_keeps_nothing_of_the_batch(void **state)
{
    (void)state;
    table(PLAIN, "k");
    assert_put("{'k':'before'}", "created");
    limit_pages(3);
    assert_int_equal(count_of(put(&b, fat(2000)), "rejected:"), 2000);
    assert_status(&b, ONEROW_FULL);
    assert_sql("SELECT group_concat(k) FROM t", "before,old");
    assert_sql("PRAGMA integrity_check", "ok");
    limit_pages(1000);
    assert_int_equal(count_of(put(&b, fat(2000)), "created"), 2000);
}

/* 1 MiB of memory as a disk, in name spaces of the child's own. */
static bool mount_small_disk(void)
{
    return (unshare(CLONE_NEWNS) == 0 || unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0) &&
           mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
           mount("small", b.folder, "tmpfs", 0, "size=1m") == 0;
}

static int fill_the_disk(void *context)
{
    (void)context;
    if (!mount_small_disk()) {
        return 50;
    }
    table(PLAIN, "k");
    assert_put("{'k':'before'}", "created");
    const char *said = put(&b, fat(20000));
    assert_status(&b, ONEROW_FULL);
    assert_int_equal(count_of(said, "rejected:"), 20000);
    assert_contains(b.error.text, "free some space");
    bench_close(&b);
    assert_sql("SELECT group_concat(k) FROM t", "before,old");
    assert_sql("PRAGMA integrity_check", "ok");
    assert_int_equal(bench_store(&b, url), ONEROW_OK);
    assert_int_equal(bench_look(&b, "t", "k"), ONEROW_OK);
    assert_int_equal(count_of(put(&b, fat(500)), "created"), 500);
    bench_close(&b);
    return 0;
}

static void a_full_disk_keeps_nothing_of_the_batch(void **state)
{
    (void)state;
    int code = child_code(child(fill_the_disk, NULL));
    if (code == 50) {
        fail_msg("no small disk could be mounted; run as root or: sysctl "
                 "kernel.unprivileged_userns_clone=1");
    }
    assert_int_equal(code, 0);
}

/* A limit on the size of files: writes fail with EFBIG. */
static int write_against_a_limit(void *context)
{
    (void)context;
    signal(SIGXFSZ, SIG_IGN);
    struct rlimit limit = {256 * 1024, 256 * 1024};
    table(PLAIN, "k");
    assert_put("{'k':'before'}", "created");
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    const char *said = put(&b, fat(20000));
    assert_int_equal(count_of(said, "created"), 0);
    assert_true(b.status == ONEROW_FULL || b.status == ONEROW_IO || b.status == ONEROW_UNKNOWN);
    unsigned doubtful = count_of(said, "unknown");
    bench_close(&b);
    assert_true(doubtful || strcmp(sql(&b, "SELECT group_concat(k) FROM t"), "before,old") == 0);
    assert_sql("PRAGMA integrity_check", "ok");
    return b.status == ONEROW_FULL || b.status == ONEROW_IO ? 0 : 1;
}

static void a_file_size_limit_is_a_failure_of_the_store(void **state)
{
    (void)state;
    assert_int_equal(child_code(child(write_against_a_limit, NULL)), 0);
}

static void read_only_stores_write_nothing(void **state)
{
    (void)state;
    table(PLAIN, "k");
    bench_close(&b);
    remove(text(&b, "%s-onerow", b.path));
    struct onerow_store_options options = {.wait_ms = 1000, .read_only = true};
    assert_int_equal(or_store_open(url, &options, &b.table.store, &b.error), ONEROW_OK);
    assert_int_equal(bench_look(&b, "t", "k"), ONEROW_OK);
    assert_string_equal(get(&b, "{'k':'old'}"), "{\"k\":\"old\",\"v\":\"x\"}");
    assert_string_equal(audit(&b), "0 0");
    assert_contains(put(&b, "{'k':'a'}"), "rejected:");
    assert_status(&b, ONEROW_READONLY);
    assert_int_not_equal(access(text(&b, "%s-onerow", b.path), F_OK), 0);
}

/* ---- rows of others
 * --------------------------------------------------------------------------------------------------------------
 */

static void audit_finds_twins_and_keyless_rows(void **state)
{
    (void)state;
    b.table.spec.accept_unenforced = true;
    table("CREATE TABLE t (k TEXT, v INT); INSERT INTO t VALUES ('a', 1), ('b', 1), ('a', 2), "
          "('A', 1), "
          "(NULL, 1), ('a', 3), ('c', 1), ('c', 1)",
          "k");
    assert_string_equal(audit(&b), "2 1");
    table("CREATE TABLE t (k DECIMAL TEXT); INSERT INTO t VALUES ('1.5'), ('1.50'), ('x'), ('2')",
          "k");
    assert_string_equal(audit(&b), "1 1"); /* 1.5 and 1.50 are one key, x is none */
}

/* Check, then create, in four processes without an index: the disease itself. */
struct race {
    pthread_barrier_t *barrier;
};

static int check_then_create(void *context)
{
    struct race *race = context;
    sqlite3 *db = NULL;
    sqlite3_stmt *find = NULL;
    sqlite3_open(b.path, &db);
    sqlite3_busy_timeout(db, 60000);
    sqlite3_prepare_v2(db, "SELECT 1 FROM t WHERE k = ?1", -1, &find, NULL);
    for (int i = 0; i < 20; i++) {
        sqlite3_bind_int(find, 1, i);
        bool absent = sqlite3_step(find) == SQLITE_DONE;
        sqlite3_reset(find);
        pthread_barrier_wait(race->barrier);
        char insert[64];
        snprintf(insert, sizeof insert, "INSERT INTO t (k) VALUES ('%d')", i);
        if (absent && sqlite3_exec(db, insert, NULL, NULL, NULL) != SQLITE_OK) {
            return 1;
        }
        pthread_barrier_wait(race->barrier);
    }
    sqlite3_finalize(find);
    sqlite3_close(db);
    return 0;
}

static int put_at_once(void *context)
{
    struct race *race = context;
    if (bench_store(&b, url) != ONEROW_OK || bench_look(&b, "t", "k") != ONEROW_OK) {
        return 1;
    }
    for (int i = 0; i < 20; i++) {
        pthread_barrier_wait(race->barrier);
        put(&b, text(&b, "{'k':'%d'}", i));
        if (b.status != ONEROW_OK) {
            return 1;
        }
    }
    bench_close(&b);
    return 0;
}

static void run_race(int (*run)(void *))
{
    pthread_barrierattr_t shared;
    pthread_barrier_t *barrier = share(sizeof *barrier);
    pthread_barrierattr_init(&shared);
    pthread_barrierattr_setpshared(&shared, PTHREAD_PROCESS_SHARED);
    pthread_barrier_init(barrier, &shared, 4);
    struct race race = {.barrier = barrier};
    pid_t pids[4];
    for (int i = 0; i < 4; i++) {
        pids[i] = child(run, &race);
    }
    for (int i = 0; i < 4; i++) {
        assert_int_equal(child_code(pids[i]), 0);
    }
    give_back(barrier, sizeof *barrier);
}

static void the_disease_and_the_cure(void **state)
{
    (void)state;
    sql(&b, "CREATE TABLE t (k TEXT)");
    run_race(check_then_create);
    assert_sql("SELECT count(*), count(DISTINCT k) FROM t", "80|20");
    b.table.spec.accept_unenforced = true; /* even without an index, among cooperating writers */
    table("CREATE TABLE t (k TEXT)", "k");
    bench_close(&b);
    run_race(put_at_once);
    assert_sql("SELECT count(*), count(DISTINCT k) FROM t", "20|20");
    b.table.spec.accept_unenforced = false;
    table("CREATE TABLE t (k TEXT UNIQUE)", "k");
    bench_close(&b);
    run_race(put_at_once);
    assert_sql("SELECT count(*), count(DISTINCT k) FROM t", "20|20");
}

/* ---- onerow sql, onerow init
 * -----------------------------------------------------------------------------------------------------------
 */

static const char *statement_of(void)
{
    struct or_buffer out;
    or_buffer_init(&out);
    assert_int_equal(b.table.store->type->statement(b.table.table, NULL, &out, &b.error),
                     ONEROW_OK);
    const char *kept = text(&b, "%s", or_buffer_cstr(&out));
    or_buffer_finish(&out);
    return kept;
}

/* The printed statement, run by the client, does what put does. */
static void the_statement_works_in_the_client(void **state)
{
    (void)state;
    table("CREATE TABLE t (k TEXT UNIQUE, s TEXT COLLATE NOCASE, g INT AS (1))", "k");
    const char *statement = statement_of();
    assert_null(strstr(statement, "\"g\""));
    sql(&b, text(&b, "CREATE TABLE log (n); CREATE TRIGGER x AFTER UPDATE ON t BEGIN INSERT INTO "
                     "log VALUES (1); "
                     "END"));
    static const char *const values[] = {"Bob", "Bob", "bob"};
    for (size_t i = 0; i < 3; i++) {
        sqlite3 *db = NULL;
        sqlite3_stmt *stmt = NULL;
        assert_int_equal(sqlite3_open(b.path, &db), SQLITE_OK);
        assert_int_equal(sqlite3_prepare_v2(db, statement, -1, &stmt, NULL), SQLITE_OK);
        sqlite3_bind_text(stmt, 1, "a", -1, SQLITE_STATIC);
        sqlite3_bind_text(stmt, 2, values[i], -1, SQLITE_STATIC);
        assert_int_equal(sqlite3_step(stmt), SQLITE_DONE);
        sqlite3_finalize(stmt);
        sqlite3_close(db);
    }
    assert_sql("SELECT k, s, (SELECT count(*) FROM log) FROM t", "a|bob|1");
}

static void every_statement_prepares(void **state)
{
    (void)state;
    static const enum onerow_policy policies[] = {ONEROW_POLICY_UPDATE, ONEROW_POLICY_KEEP,
                                                  ONEROW_POLICY_NEWEST};
    static const char *const tables[] = {
        "CREATE TABLE t (k TEXT UNIQUE, v INT, at TEXT)",
        "CREATE TABLE t (k TEXT PRIMARY KEY, v INT, at TEXT) WITHOUT ROWID",
        "CREATE TABLE t (k TEXT UNIQUE, v INT, at TEXT) STRICT",
        "CREATE TABLE t (v INT UNIQUE, k TEXT UNIQUE, g INT AS (v), at TEXT DEFAULT 'x')",
    };
    b.table.spec.order_column = "v";
    b.table.spec.touch_column = "at";
    for (size_t i = 0; i < 3 * 2 * sizeof tables / sizeof *tables; i++) {
        b.table.spec.policy = policies[i % 3];
        b.table.spec.touch = i / 3 % 2 ? ONEROW_TOUCH_CHANGE : ONEROW_TOUCH_NONE;
        table(tables[i / 6], "k");
        sqlite3_stmt *stmt = NULL;
        sqlite3 *db = or_sqlite_store_of(b.table.store)->db;
        if (sqlite3_prepare_v2(db, statement_of(), -1, &stmt, NULL) != SQLITE_OK) {
            fail_msg("%s\n%s", sqlite3_errmsg(db), statement_of());
        }
        sqlite3_finalize(stmt);
    }
}

#define sqlite_test(name) cmocka_unit_test_setup_teardown(name, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        sqlite_test(odd_names),
        sqlite_test(names_of_our_own),
        sqlite_test(keywords_and_cases),
        sqlite_test(attached_schemas),
        sqlite_test(every_schema_is_durable),
        sqlite_test(attachments_that_cannot_be),
        sqlite_test(generated_columns),
        sqlite_test(default_columns),
        sqlite_test(without_rowid),
        sqlite_test(strict_tables),
        sqlite_test(integer_primary_key),
        sqlite_test(row_ids),
        sqlite_test(row_ids_beside_triggers),
        sqlite_test(what_is_no_table),
        sqlite_test(every_way_to_say_unique),
        sqlite_test(indexes_that_do_not_do),
        sqlite_test(store_equality_is_the_named_override),
        sqlite_test(missing_index_names_the_statement),
        sqlite_test(nulls_need_an_expression_index),
        sqlite_test(key_types_that_agree),
        sqlite_test(key_types_that_do_not),
        sqlite_test(replace_is_refused),
        sqlite_test(other_conflict_clauses_hide_nothing),
        sqlite_test(unenforced_by_name),
        sqlite_test(unenforced_policies),
        sqlite_test(unenforced_images),
        sqlite_test(one_bad_record_stands_alone),
        sqlite_test(foreign_keys_are_on),
        sqlite_test(deferred_foreign_keys_fail_the_commit),
        sqlite_test(triggers_that_raise),
        sqlite_test(triggers_on_updates),
        sqlite_test(triggers_that_change_the_value),
        sqlite_test(triggers_beside_the_row),
        sqlite_test(images_are_compared),
        sqlite_test(json_text_comes_out_as_text),
        sqlite_test(unchanged_rows_are_not_rewritten),
        sqlite_test(required_columns),
        sqlite_test(required_columns_and_policies),
        sqlite_test(updated_at_change),
        sqlite_test(updated_at_write),
        sqlite_test(updated_at_and_policies),
        sqlite_test(numbers_are_exact_or_refused),
        sqlite_test(numbers_come_back),
        sqlite_test(untyped_fields_take_the_type),
        sqlite_test(untyped_numbers_are_exact_or_refused),
        sqlite_test(more_column_sets_than_plans),
        sqlite_test(every_column_is_compared),
        sqlite_test(the_schema_changes_meanwhile),
        sqlite_test(a_lock_of_others),
        sqlite_test(files_without_permission),
        sqlite_test(what_is_no_database),
        sqlite_test(a_missing_file_is_not_made),
        sqlite_test(corrupt_pages),
        sqlite_test(vanished_between_batches),
        sqlite_test(vanished_during_a_batch),
        sqlite_test(a_full_database_keeps_nothing_of_the_batch),
        sqlite_test(a_full_disk_keeps_nothing_of_the_batch),
        sqlite_test(a_file_size_limit_is_a_failure_of_the_store),
        sqlite_test(read_only_stores_write_nothing),
        sqlite_test(audit_finds_twins_and_keyless_rows),
        sqlite_test(the_disease_and_the_cure),
        sqlite_test(the_statement_works_in_the_client),
        sqlite_test(every_statement_prepares),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
