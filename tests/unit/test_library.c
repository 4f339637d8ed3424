/* SPDX-License-Identifier: Apache-2.0
 *
 * The library through its shared object: every function, every status that its header
 * documents, and what several threads may do at once. Rows are counted over a connection
 * of the test's own. Disk failures are made by replacing system calls of the SQLite
 * library (its VFS offers that) and fdatasync of this process.
 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "onerow/onerow.h"

#define TABLE "CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, v INTEGER)"

static char folder[] = "/tmp/onerow-library-XXXXXX";
static struct onerow_error error;

/* ---- files and rows ---------------------------------------------------------------- */

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *place)
{
    (void)st;
    (void)type;
    (void)place;
    return remove(path);
}

static int make_folder(void **state)
{
    (void)state;
    strcpy(folder + strlen(folder) - 6, "XXXXXX");
    return mkdtemp(folder) && chdir(folder) == 0 ? 0 : -1;
}

static int drop_folder(void **state)
{
    (void)state;
    return chdir("/") == 0 ? nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS) : -1;
}

static sqlite3 *connect(void)
{
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open("x.db", &db), SQLITE_OK);
    sqlite3_busy_timeout(db, 60000);
    return db;
}

static void sql(const char *statement)
{
    sqlite3 *db = connect();
    char *why = NULL;
    if (sqlite3_exec(db, statement, NULL, NULL, &why) != SQLITE_OK) {
        fail_msg("%s: %s", statement, why);
    }
    sqlite3_close(db);
}

/* The first column of the first row, as a number. */
static int64_t number(const char *query)
{
    sqlite3 *db = connect();
    sqlite3_stmt *stmt = NULL;
    assert_int_equal(sqlite3_prepare_v2(db, query, -1, &stmt, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
    int64_t answer = sqlite3_column_int64(stmt, 0);
    sqlite3_finalize(stmt);
    sqlite3_close(db);
    return answer;
}

static void write_file(const char *name, const char *text)
{
    FILE *file = fopen(name, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static struct onerow_span span(const char *text)
{
    return (struct onerow_span){text, strlen(text)};
}

/* ---- expectations -------------------------------------------------------------------- */

/* The status, its repetition in the error, and a text that holds `part`. */
static void expect(enum onerow_status status, enum onerow_status wanted, const char *part)
{
    if (status != wanted) {
        fail_msg("%s instead of %s: %s", onerow_status_name(status), onerow_status_name(wanted),
                 error.text);
    }
    if (status != ONEROW_OK) {
        assert_string_equal(onerow_status_name(error.status), onerow_status_name(status));
        if (!strstr(error.text, part)) {
            fail_msg("\"%s\" is not in: %s", part, error.text);
        }
    }
}

static struct onerow_table *table_with(const char *store, const char *key, const char *policy)
{
    struct onerow_table_options options = {
        .store = store, .table = "t", .key = key, .on_conflict = policy, .wait_ms = 20000};
    struct onerow_table *table = NULL;
    expect(onerow_table_open(&options, &table, &error), ONEROW_OK, "");
    assert_non_null(table);
    return table;
}

static struct onerow_table *open_table(void)
{
    return table_with("sqlite:x.db", "name", NULL);
}

/* Puts one record and expects status, outcome and a part of the reason ("": there is none). */
static void expect_put(struct onerow_table *table, const char *json, enum onerow_status status,
                       enum onerow_outcome outcome, const char *reason)
{
    struct onerow_result result;
    expect(onerow_put(table, span(json), &result, &error), status, "");
    assert_string_equal(onerow_outcome_name(result.outcome), onerow_outcome_name(outcome));
    assert_int_equal(result.folded_into, 0);
    if (*reason) {
        assert_non_null(result.reason);
        if (!strstr(result.reason, reason)) {
            fail_msg("\"%s\" is not in: %s", reason, result.reason);
        }
    } else if (result.reason) {
        fail_msg("an unexpected reason: %s", result.reason);
    }
    onerow_result_finish(&result);
}

static void expect_refused(const struct onerow_table_options *options, enum onerow_status status,
                           const char *part)
{
    struct onerow_table *table = (struct onerow_table *)&error; /* anything but NULL */
    memset(&error, 0, sizeof error);
    expect(onerow_table_open(options, &table, &error), status, part);
    assert_null(table);
    table = (struct onerow_table *)&error;
    assert_int_equal(onerow_table_open(options, &table, NULL), status);
    assert_null(table);
}

/* ---- names ------------------------------------------------------------------------------ */

static void test_names_and_texts(void **state)
{
    (void)state;
    static const struct {
        enum onerow_status status;
        const char *name;
        int code;
        int exit;
    } statuses[] = {
        {ONEROW_OK, "OK", 0, 0},
        {ONEROW_ABSENT, "ABSENT", 1, 1},
        {ONEROW_REJECTED, "REJECTED", 2, 1},
        {ONEROW_UNKNOWN, "UNKNOWN", 3, 1},
        {ONEROW_LEFT, "LEFT", 4, 1},
        {ONEROW_USAGE, "USAGE", 5, 64},
        {ONEROW_INPUT, "INPUT", 6, 65},
        {ONEROW_UNAVAILABLE, "UNAVAILABLE", 7, 69},
        {ONEROW_FULL, "FULL", 8, 69},
        {ONEROW_IO, "IO", 9, 69},
        {ONEROW_CORRUPT, "CORRUPT", 10, 69},
        {ONEROW_READONLY, "READONLY", 11, 69},
        {ONEROW_VANISHED, "VANISHED", 12, 69},
        {ONEROW_NOMEM, "NOMEM", 13, 69},
        {ONEROW_BUSY, "BUSY", 14, 75},
        {ONEROW_INTERRUPTED, "INTERRUPTED", 15, 75},
        {ONEROW_CONFIG, "CONFIG", 16, 78},
    };
    for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++) {
        assert_int_equal(statuses[i].status, statuses[i].code);
        assert_string_equal(onerow_status_name(statuses[i].status), statuses[i].name);
        assert_int_equal(onerow_status_exit(statuses[i].status), statuses[i].exit);
        assert_true(strlen(onerow_status_text(statuses[i].status)) > 3);
    }
    for (int code = -1; code <= 1000; code += 1001) {
        assert_string_equal(onerow_status_name((enum onerow_status)code), "UNLISTED");
        assert_true(strlen(onerow_status_text((enum onerow_status)code)) > 3);
        assert_int_equal(onerow_status_exit((enum onerow_status)code), 69);
        assert_string_equal(onerow_outcome_name((enum onerow_outcome)code), "pending");
    }
    static const char *const outcomes[] = {"pending",   "created",  "updated",
                                           "unchanged", "rejected", "unknown"};
    for (int outcome = ONEROW_PENDING; outcome <= ONEROW_IN_DOUBT; outcome++) {
        assert_string_equal(onerow_outcome_name((enum onerow_outcome)outcome), outcomes[outcome]);
    }
    unsigned part[3];
    assert_int_equal(sscanf(onerow_version(), "%u.%u.%u", &part[0], &part[1], &part[2]), 3);
}

/* ---- opening ------------------------------------------------------------------------------ */

static void test_open_wrong_options(void **state)
{
    (void)state;
    sql(TABLE);
    const char *store = "sqlite:x.db";
    expect_refused(&(struct onerow_table_options){0}, ONEROW_CONFIG, "table");
    expect_refused(&(struct onerow_table_options){.store = store, .key = "name"}, ONEROW_CONFIG,
                   "table");
    expect_refused(&(struct onerow_table_options){.store = store, .table = "t"}, ONEROW_CONFIG,
                   "key");
    expect_refused(&(struct onerow_table_options){.table = "t", .key = "name"}, ONEROW_CONFIG,
                   "store");
    expect_refused(&(struct onerow_table_options){.store = "nosuch:x", .table = "t", .key = "name"},
                   ONEROW_CONFIG, "sqlite:PATH");
    expect_refused(&(struct onerow_table_options){.store = "sqlite:", .table = "t", .key = "name"},
                   ONEROW_CONFIG, "sqlite:");
    expect_refused(
        &(struct onerow_table_options){.store = store, .table = "t", .key = "name:nonsense"},
        ONEROW_CONFIG, "nonsense");
    expect_refused(
        &(struct onerow_table_options){
            .store = store, .table = "t", .key = "name", .on_conflict = "sometimes"},
        ONEROW_CONFIG, "sometimes");
    expect_refused(&(struct onerow_table_options){.store = store, .table = "t", .key = "ghost"},
                   ONEROW_CONFIG, "ghost");
}

static void test_open_unsafe_or_missing(void **state)
{
    (void)state;
    const struct onerow_table_options options = {
        .store = "sqlite:x.db", .table = "t", .key = "name"};
    expect_refused(&options, ONEROW_UNAVAILABLE, "x.db");
    assert_int_equal(access("x.db", F_OK), -1); /* looking made no file */
    sql("CREATE TABLE other (a)");
    expect_refused(&options, ONEROW_CONFIG, "t");
    sql("CREATE TABLE t (name TEXT, v INTEGER)");
    expect_refused(&options, ONEROW_CONFIG, "CREATE UNIQUE INDEX");
    assert_int_equal(number("SELECT count(*) FROM sqlite_master WHERE name LIKE '%onerow%'"), 0);
    write_file("junk.db", "This is no database, however often it is opened. "
                          "It is only long enough to be taken for one at first sight, "
                          "since a header has one hundred bytes.");
    expect_refused(
        &(struct onerow_table_options){.store = "sqlite:junk.db", .table = "t", .key = "name"},
        ONEROW_CORRUPT, "junk.db");
}

static void test_open_with_a_configuration(void **state)
{
    (void)state;
    sql(TABLE);
    write_file("onerow.yaml", "stores:\n  app: { url: \"sqlite:x.db\" }\n"
                              "tables:\n  things:\n    store: app\n    location: t\n"
                              "    key: [name]\n    on_conflict: keep\n");
    struct onerow_table_options options = {.config = "onerow.yaml", .table = "things"};
    struct onerow_table *table = NULL;
    expect(onerow_table_open(&options, &table, &error), ONEROW_OK, "");
    expect_put(table, "{\"name\":\"a\",\"v\":1}", ONEROW_OK, ONEROW_CREATED, "");
    expect_put(table, "{\"name\":\"a\",\"v\":2}", ONEROW_OK, ONEROW_UNCHANGED, "kept");
    onerow_table_close(table);
    assert_int_equal(number("SELECT v FROM t"), 1);

    options.table = "thingz";
    expect_refused(&options, ONEROW_CONFIG, "things");
    options = (struct onerow_table_options){.config = "none.yaml", .table = "things"};
    expect_refused(&options, ONEROW_CONFIG, "none.yaml");
    write_file("bad.yaml", "stores:\n  app: { url: \"sqlite:x.db\" }\ntables:\n  things:\n"
                           "    store: app\n    kye: [name]\n");
    options = (struct onerow_table_options){.config = "bad.yaml", .table = "things"};
    expect_refused(&options, ONEROW_CONFIG, "bad.yaml:6:5");
}

/* ---- putting -------------------------------------------------------------------------------- */

static void test_put_outcomes(void **state)
{
    (void)state;
    sql(TABLE);
    struct onerow_table *table = open_table();
    expect_put(table, "{\"name\":\"a\",\"v\":1}", ONEROW_OK, ONEROW_CREATED, "");
    expect_put(table, "{\"name\":\"a\",\"v\":1}", ONEROW_OK, ONEROW_UNCHANGED, "");
    expect_put(table, " {\n\"v\" : 2, \"name\" : \"a\" } ", ONEROW_OK, ONEROW_UPDATED, "");
    expect_put(table, "{\"name\":\"a\"}", ONEROW_OK, ONEROW_UNCHANGED, "");
    expect_put(table, "{\"name\":\"a\",\"v\":null}", ONEROW_OK, ONEROW_UPDATED, "");
    assert_int_equal(number("SELECT count(*) FROM t WHERE name = 'a' AND v IS NULL"), 1);
    onerow_table_close(table);
}

static void test_put_rejections(void **state)
{
    (void)state;
    sql("CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, "
        "v INTEGER CHECK (v < 100))");
    static const struct {
        const char *json;
        const char *reason;
    } records[] = {
        {"", "column"},
        {"nonsense", "column 1"},
        {"[1]", "column 1"},
        {"{\"name\":\"a\"", "column"},
        {"{\"name\":\"a\"} {}", "column"},
        {"{\"name\":\"a\",\"name\":\"b\"}", "name"},
        {"{\"name\":\"\xff\"}", "UTF-8"},
        {"{\"name\":\"a\\u0000\"}", "U+0000"},
        {"{\"v\":1}", "name"},
        {"{\"name\":null}", "NULL"},
        {"{\"name\":7}", "text"},
        {"{\"name\":\"a\",\"ghost\":1}", "ghost"},
        {"{\"name\":\"a\",\"v\":100}", "CHECK"},
    };
    struct onerow_table *table = open_table();
    for (size_t i = 0; i < sizeof records / sizeof *records; i++) {
        expect_put(table, records[i].json, ONEROW_REJECTED, ONEROW_REFUSED, records[i].reason);
        struct onerow_result result;
        assert_int_equal(onerow_put(table, span(records[i].json), &result, NULL), ONEROW_REJECTED);
        assert_null(result.id);
        onerow_result_finish(&result);
    }
    assert_int_equal(number("SELECT count(*) FROM t"), 0);
    expect_put(table, "{\"name\":\"a\",\"v\":99}", ONEROW_OK, ONEROW_CREATED, "");
    onerow_table_close(table);
}

static void test_ids(void **state)
{
    (void)state;
    sql(TABLE);
    struct onerow_table *table = open_table();
    struct onerow_result result;
    sql("INSERT INTO t VALUES (41, 'old', 0)");
    expect(onerow_put(table, span("{\"name\":\"new\"}"), &result, &error), ONEROW_OK, "");
    assert_string_equal(result.id, "42");
    onerow_result_finish(&result);
    assert_null(result.id);
    expect(onerow_put(table, span("{\"name\":\"old\",\"v\":5}"), &result, &error), ONEROW_OK, "");
    assert_string_equal(result.id, "41");
    onerow_result_finish(&result);
    expect(onerow_put(table, span("{\"name\":\"old\",\"v\":5}"), &result, &error), ONEROW_OK, "");
    assert_int_equal(result.outcome, ONEROW_UNCHANGED);
    assert_string_equal(result.id, "41");
    onerow_result_finish(&result);
    onerow_table_close(table);
}

static void test_put_many_mixed(void **state)
{
    (void)state;
    sql(TABLE);
    struct onerow_table *table = open_table();
    const struct onerow_span json[] = {
        span("{\"name\":\"z\",\"v\":1}"), span("{\"name\":\"a\",\"v\":1}"),
        span("{\"name\":\"z\",\"v\":2}"), span("broken"),
        span("{\"name\":\"z\",\"v\":3}"), span("{\"name\":\"a\",\"v\":1}"),
    };
    static const enum onerow_outcome outcomes[] = {ONEROW_CREATED, ONEROW_CREATED,
                                                   ONEROW_UPDATED, ONEROW_REFUSED,
                                                   ONEROW_UPDATED, ONEROW_UNCHANGED};
    static const size_t folded_into[] = {4, 1, 4, 3, 4, 1};
    enum { N = sizeof json / sizeof *json };
    struct onerow_result results[N];
    expect(onerow_put_many(table, json, N, results, &error), ONEROW_LEFT, "record 3");
    for (size_t i = 0; i < N; i++) {
        assert_string_equal(onerow_outcome_name(results[i].outcome),
                            onerow_outcome_name(outcomes[i]));
        assert_int_equal(results[i].folded_into, folded_into[i]);
        assert_int_equal(results[i].id != NULL, i != 3);
        assert_int_equal(results[i].reason != NULL, i == 3);
        onerow_result_finish(&results[i]);
    }
    assert_int_equal(number("SELECT count(*) FROM t"), 2);
    assert_int_equal(number("SELECT v FROM t WHERE name = 'z'"), 3);
    onerow_table_close(table);
}

/* One record that the table refuses: the others of its batch are durable all the same. */
static void test_put_many_bisects(void **state)
{
    (void)state;
    sql("CREATE TABLE t (name TEXT NOT NULL UNIQUE, v INTEGER UNIQUE)");
    sql("INSERT INTO t VALUES ('taken', 500)");
    struct onerow_table *table = open_table();
    enum { N = 1000 };
    static char text[N][48];
    static struct onerow_span json[N];
    static struct onerow_result results[N];
    for (int i = 0; i < N; i++) {
        snprintf(text[i], sizeof text[i], "{\"name\":\"k%d\",\"v\":%d}", i, i);
        json[i] = span(text[i]);
    }
    expect(onerow_put_many(table, json, N, results, &error), ONEROW_LEFT, "record 500");
    for (int i = 0; i < N; i++) {
        assert_int_equal(results[i].outcome, i == 500 ? ONEROW_REFUSED : ONEROW_CREATED);
        assert_int_equal(results[i].folded_into, i);
        onerow_result_finish(&results[i]);
    }
    assert_int_equal(number("SELECT count(*) FROM t"), N);
    onerow_table_close(table);
}

static void test_nothing_to_do(void **state)
{
    (void)state;
    sql(TABLE);
    struct onerow_table *table = open_table();
    assert_int_equal(onerow_put_many(table, NULL, 0, NULL, &error), ONEROW_OK);
    assert_int_equal(onerow_put_many(table, NULL, 0, NULL, NULL), ONEROW_OK);
    onerow_table_close(table);
    onerow_table_close(NULL);
    onerow_result_finish(NULL);
    struct onerow_result empty = {0};
    onerow_result_finish(&empty);
    onerow_result_finish(&empty);
}

static void test_newest_and_keep(void **state)
{
    (void)state;
    sql(TABLE);
    struct onerow_table *newest = table_with("sqlite:x.db", "name", "newest(v)");
    expect_put(newest, "{\"name\":\"a\",\"v\":5}", ONEROW_OK, ONEROW_CREATED, "");
    expect_put(newest, "{\"name\":\"a\",\"v\":4}", ONEROW_OK, ONEROW_UNCHANGED, "older");
    expect_put(newest, "{\"name\":\"a\",\"v\":6}", ONEROW_OK, ONEROW_UPDATED, "");
    onerow_table_close(newest);
    struct onerow_table *keep = table_with("sqlite:x.db", "name", "keep");
    expect_put(keep, "{\"name\":\"a\",\"v\":7}", ONEROW_OK, ONEROW_UNCHANGED, "kept");
    onerow_table_close(keep);
    assert_int_equal(number("SELECT v FROM t"), 6);
}

/* ---- finding --------------------------------------------------------------------------------- */

static void test_get(void **state)
{
    (void)state;
    sql(TABLE);
    sql("INSERT INTO t VALUES (7, 'a', NULL)");
    struct onerow_table *table = open_table();
    char *row = NULL;
    expect(onerow_get(table, span("{\"name\":\"a\"}"), &row, &error), ONEROW_OK, "");
    assert_string_equal(row, "{\"id\":7,\"name\":\"a\",\"v\":null}");
    free(row);
    expect(onerow_get(table, span("{\"name\":\"b\"}"), &row, &error), ONEROW_ABSENT, "no row");
    assert_null(row);
    static const struct {
        const char *key;
        enum onerow_status status;
        const char *part;
    } wrong[] = {
        {"{\"name\":\"a\",\"v\":1}", ONEROW_USAGE, "\"v\""},
        {"{}", ONEROW_REJECTED, "name"},
        {"{\"name\":null}", ONEROW_REJECTED, "NULL"},
        {"{\"name\":", ONEROW_REJECTED, "column"},
        {"{\"name\":[1]}", ONEROW_REJECTED, "name"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        row = (char *)&error;
        expect(onerow_get(table, span(wrong[i].key), &row, &error), wrong[i].status, wrong[i].part);
        assert_null(row);
        assert_int_equal(onerow_get(table, span(wrong[i].key), &row, NULL), wrong[i].status);
    }
    assert_int_equal(onerow_get(table, span("{\"name\":\"b\"}"), &row, NULL), ONEROW_ABSENT);
    assert_int_equal(number("SELECT count(*) FROM t"), 1);
    onerow_table_close(table);
}

static void test_ensure(void **state)
{
    (void)state;
    sql(TABLE);
    sql("INSERT INTO t VALUES (7, 'a', 1)");
    struct onerow_table *table = open_table();
    char *id = NULL;
    expect(onerow_ensure(table, span("{\"name\":\"a\",\"v\":2}"), &id, &error), ONEROW_OK, "");
    assert_string_equal(id, "7");
    free(id);
    assert_int_equal(number("SELECT v FROM t WHERE id = 7"), 1);
    expect(onerow_ensure(table, span("{\"name\":\"b\",\"v\":2}"), &id, &error), ONEROW_OK, "");
    assert_string_equal(id, "8");
    free(id);
    assert_int_equal(number("SELECT v FROM t WHERE id = 8"), 2);
    /* The table's own policy is as it was. */
    expect_put(table, "{\"name\":\"a\",\"v\":3}", ONEROW_OK, ONEROW_UPDATED, "");
    static const char *const wrong[] = {"{\"v\":1}", "{\"name\":\"c\",\"ghost\":1}", "{"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        id = (char *)&error;
        expect(onerow_ensure(table, span(wrong[i]), &id, &error), ONEROW_REJECTED, "");
        assert_null(id);
        assert_int_equal(onerow_ensure(table, span(wrong[i]), &id, NULL), ONEROW_REJECTED);
    }
    assert_int_equal(number("SELECT count(*) FROM t"), 2);
    onerow_table_close(table);
}

/* A row that is named by two columns has no single id to answer with. */
static void test_ensure_without_an_id(void **state)
{
    (void)state;
    sql("CREATE TABLE t (a TEXT NOT NULL, b TEXT NOT NULL, PRIMARY KEY (a, b)) WITHOUT ROWID");
    struct onerow_table *table = table_with("sqlite:x.db", "a,b", NULL);
    char *id = (char *)&error;
    enum onerow_status status =
        onerow_ensure(table, span("{\"a\":\"x\",\"b\":\"y\"}"), &id, &error);
    if (status == ONEROW_OK) {
        assert_non_null(id);
        free(id);
    } else {
        expect(status, ONEROW_CONFIG, "id");
        assert_null(id);
    }
    onerow_table_close(table);
}

/* ---- failures of the store ------------------------------------------------------------------- */

static _Atomic int fdatasync_errno; /* 0: the real one */
static _Atomic int pwrite_errno;

/* Stands before libc's for the whole process, the SQLite library included. */
__attribute__((visibility("default"))) int fdatasync(int fd)
{
    if (fdatasync_errno) {
        errno = fdatasync_errno;
        return -1;
    }
    return (int)syscall(SYS_fdatasync, fd);
}

static ssize_t failing_pwrite(int fd, const void *data, size_t len, off_t at)
{
    if (pwrite_errno) {
        errno = pwrite_errno;
        return -1;
    }
    return pwrite(fd, data, len, at);
}

static void replace_pwrite(bool replaced)
{
    sqlite3_vfs *vfs = sqlite3_vfs_find(NULL);
    sqlite3_syscall_ptr call =
        replaced ? (sqlite3_syscall_ptr)(void (*)(void))failing_pwrite : NULL;
    assert_int_equal(vfs->xSetSystemCall(vfs, "pwrite64", call), SQLITE_OK);
    assert_int_equal(vfs->xSetSystemCall(vfs, "pwrite", call), SQLITE_OK);
}

static void test_disk_full(void **state)
{
    (void)state;
    sql(TABLE);
    replace_pwrite(true);
    struct onerow_table *table = open_table();
    expect_put(table, "{\"name\":\"a\"}", ONEROW_OK, ONEROW_CREATED, "");
    pwrite_errno = ENOSPC;
    expect_put(table, "{\"name\":\"b\"}", ONEROW_FULL, ONEROW_REFUSED, "x.db");
    char *id = NULL;
    expect(onerow_ensure(table, span("{\"name\":\"b\"}"), &id, &error), ONEROW_FULL, "x.db");
    assert_null(id);
    pwrite_errno = 0;
    assert_int_equal(number("SELECT count(*) FROM t"), 1);
    expect_put(table, "{\"name\":\"b\"}", ONEROW_OK, ONEROW_CREATED, "");
    onerow_table_close(table);
    replace_pwrite(false);
}

/* A flush that fails may or may not have kept the commit: nobody is told that it was written. */
static void test_unknown(void **state)
{
    (void)state;
    sql(TABLE);
    struct onerow_table *table = open_table();
    expect_put(table, "{\"name\":\"a\"}", ONEROW_OK, ONEROW_CREATED, "");
    const struct onerow_span json[] = {span("{\"name\":\"b\"}"), span("not a record")};
    struct onerow_result results[2];
    fdatasync_errno = EIO;
    enum onerow_status status = onerow_put_many(table, json, 2, results, &error);
    fdatasync_errno = 0;
    expect(status, ONEROW_IO, "x.db");
    assert_int_equal(results[0].outcome, ONEROW_IN_DOUBT);
    assert_non_null(results[0].reason);
    assert_int_equal(results[1].outcome, ONEROW_REFUSED);
    onerow_result_finish(&results[0]);
    onerow_result_finish(&results[1]);
    onerow_table_close(table);
    /* What the header says to do: look. Both answers are true ones. */
    table = open_table();
    char *row = NULL;
    status = onerow_get(table, span("{\"name\":\"b\"}"), &row, &error);
    assert_int_equal(status == ONEROW_OK, number("SELECT count(*) FROM t WHERE name = 'b'"));
    free(row);
    onerow_table_close(table);
}

static void test_busy(void **state)
{
    (void)state;
    sql(TABLE);
    struct onerow_table_options options = {
        .store = "sqlite:x.db", .table = "t", .key = "name", .wait_ms = 20};
    struct onerow_table *table = NULL;
    expect(onerow_table_open(&options, &table, &error), ONEROW_OK, "");
    sqlite3 *db = connect();
    assert_int_equal(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    expect_put(table, "{\"name\":\"a\"}", ONEROW_BUSY, ONEROW_REFUSED, "x.db");
    assert_int_equal(sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    expect_put(table, "{\"name\":\"a\"}", ONEROW_OK, ONEROW_CREATED, "");
    onerow_table_close(table);
}

static void test_vanished(void **state)
{
    (void)state;
    sql(TABLE);
    struct onerow_table *table = open_table();
    expect_put(table, "{\"name\":\"a\"}", ONEROW_OK, ONEROW_CREATED, "");
    assert_int_equal(rename("x.db", "y.db"), 0);
    expect_put(table, "{\"name\":\"b\"}", ONEROW_VANISHED, ONEROW_REFUSED, "moved or deleted");
    assert_int_equal(rename("y.db", "x.db"), 0);
    assert_int_equal(number("SELECT count(*) FROM t"), 1);
    onerow_table_close(table);
}

static void test_corrupt(void **state)
{
    (void)state;
    sql("PRAGMA page_size=1024");
    sql(TABLE);
    sql("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < 500) "
        "INSERT INTO t SELECT i, 'name-' || i, i FROM n");
    struct onerow_table *table = open_table();
    int fd = open("x.db", O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    static char junk[256 * 1024];
    memset(junk, 0xa5, sizeof junk);
    struct stat facts;
    assert_int_equal(fstat(fd, &facts), 0);
    off_t schema = 4096; /* the first page holds the schema, and stays */
    assert_true(facts.st_size > schema && facts.st_size - schema < (off_t)sizeof junk);
    size_t rest = (size_t)(facts.st_size - schema);
    assert_int_equal(pwrite(fd, junk, rest, schema), rest);
    close(fd);
    char *row = (char *)&error;
    expect(onerow_get(table, span("{\"name\":\"name-7\"}"), &row, &error), ONEROW_CORRUPT,
           "integrity_check");
    assert_null(row);
    expect_put(table, "{\"name\":\"name-7\",\"v\":0}", ONEROW_CORRUPT, ONEROW_REFUSED, "x.db");
    onerow_table_close(table);
}

/* ---- threads -----------------------------------------------------------------------------------
 */

enum { THREADS = 8, KEYS = 50, ROUNDS = 4 };

struct worker {
    struct onerow_table *table; /* NULL: one of its own */
    pthread_barrier_t *start;
    unsigned seed;
    atomic_uint *created;
    atomic_uint *failed;
};

static void put_share(struct onerow_table *table, struct worker *worker)
{
    char text[KEYS][48];
    struct onerow_span json[KEYS];
    struct onerow_result results[KEYS];
    for (unsigned i = 0; i < KEYS; i++) {
        unsigned key = (i * 7 + worker->seed * 13) % KEYS;
        snprintf(text[i], sizeof text[i], "{\"name\":\"k%u\",\"v\":%u}", key, worker->seed);
        json[i] = span(text[i]);
    }
    struct onerow_error own;
    enum onerow_status status = onerow_put_many(table, json, KEYS, results, &own);
    atomic_fetch_add(worker->failed, status != ONEROW_OK);
    for (unsigned i = 0; i < KEYS; i++) {
        atomic_fetch_add(worker->created, results[i].outcome == ONEROW_CREATED);
        onerow_result_finish(&results[i]);
    }
    char *answer = NULL;
    status = onerow_get(table, span("{\"name\":\"k0\"}"), &answer, &own);
    atomic_fetch_add(worker->failed, status != ONEROW_OK);
    free(answer);
    status = onerow_ensure(table, span("{\"name\":\"ensured\"}"), &answer, NULL);
    atomic_fetch_add(worker->failed, status != ONEROW_OK);
    free(answer);
}

static void *work(void *context)
{
    struct worker *worker = context;
    struct onerow_table *table = worker->table;
    struct onerow_table_options options = {
        .store = "sqlite:x.db", .table = "t", .key = "name", .wait_ms = 60000};
    pthread_barrier_wait(worker->start);
    if (!table && onerow_table_open(&options, &table, NULL) != ONEROW_OK) {
        atomic_fetch_add(worker->failed, 1);
        return NULL;
    }
    for (int round = 0; round < ROUNDS; round++) {
        put_share(table, worker);
    }
    if (!worker->table) {
        onerow_table_close(table);
    }
    return NULL;
}

static void race(struct onerow_table *shared)
{
    atomic_uint created = 0;
    atomic_uint failed = 0;
    pthread_barrier_t start;
    pthread_t threads[THREADS];
    struct worker workers[THREADS];
    pthread_barrier_init(&start, NULL, THREADS);
    for (unsigned i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){shared, &start, i, &created, &failed};
        assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    pthread_barrier_destroy(&start);
    assert_int_equal(failed, 0);
    assert_int_equal(created, KEYS);
    assert_int_equal(number("SELECT count(*) FROM t"), KEYS + 1);
    assert_int_equal(number("SELECT count(DISTINCT name) FROM t"), KEYS + 1);
}

static void test_threads_share_a_handle(void **state)
{
    (void)state;
    sql(TABLE);
    struct onerow_table *table = open_table();
    race(table);
    onerow_table_close(table);
}

static void test_threads_with_handles_of_their_own(void **state)
{
    (void)state;
    sql(TABLE);
    race(NULL);
}

/* Negative control: looking first and creating then, without a unique index. */
static void *look_then_create(void *context)
{
    int64_t there = number("SELECT count(*) FROM t WHERE name = 'k'");
    pthread_barrier_wait(context);
    if (!there) {
        sql("INSERT INTO t VALUES ('k')");
    }
    return NULL;
}

static void test_the_naive_way_duplicates(void **state)
{
    (void)state;
    sql("PRAGMA journal_mode=WAL");
    sql("CREATE TABLE t (name TEXT)");
    pthread_barrier_t looked;
    pthread_t threads[THREADS];
    pthread_barrier_init(&looked, NULL, THREADS);
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, look_then_create, &looked), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    pthread_barrier_destroy(&looked);
    assert_int_equal(number("SELECT count(*) FROM t"), THREADS);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, make_folder, drop_folder)
    const struct CMUnitTest tests[] = {
        CASE(test_names_and_texts),
        CASE(test_open_wrong_options),
        CASE(test_open_unsafe_or_missing),
        CASE(test_open_with_a_configuration),
        CASE(test_put_outcomes),
        CASE(test_put_rejections),
        CASE(test_ids),
        CASE(test_put_many_mixed),
        CASE(test_put_many_bisects),
        CASE(test_nothing_to_do),
        CASE(test_newest_and_keep),
        CASE(test_get),
        CASE(test_ensure),
        CASE(test_ensure_without_an_id),
        CASE(test_disk_full),
        CASE(test_unknown),
        CASE(test_busy),
        CASE(test_vanished),
        CASE(test_corrupt),
        CASE(test_threads_share_a_handle),
        CASE(test_threads_with_handles_of_their_own),
        CASE(test_the_naive_way_duplicates),
    };
#undef CASE
    return cmocka_run_group_tests(tests, NULL, NULL);
}
