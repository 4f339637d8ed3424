/* SPDX-License-Identifier: Apache-2.0
 *
 * What is particular to a ledger in an SQLite file: how it finds out that it is not the one that it
 * was, and whose file it takes. What all ledgers do is in tests/contract/test_ledger.c.
 */
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/support/ledger.h"

static const char *sqlite_url(struct bench *at)
{
    return text(at, "sqlite:%s", at->path);
}

static const struct ledger_bench sqlite_bench = {"sqlite", sqlite_url, true};

static int start(void **state)
{
    *state = (void *)(uintptr_t)&sqlite_bench;
    return ledger_start(state);
}

static void copy_file(const char *from, const char *to)
{
    char block[65536];
    FILE *in = fopen(from, "rb");
    FILE *out = fopen(to, "wb");
    assert_true(in && out);
    for (size_t got = 0; (got = fread(block, 1, sizeof block, in)) > 0;) {
        assert_int_equal(fwrite(block, 1, got, out), got);
    }
    assert_int_equal(fclose(in), 0);
    assert_int_equal(fclose(out), 0);
}

static enum onerow_ledger_standing reopened(const char *where)
{
    close_it(c);
    url = where;
    c = another();
    struct onerow_ledger_namespace entered = enter(c);
    space = entered.number;
    assert_int_equal(entered.why != NULL, entered.standing == ONEROW_LEDGER_SUSPECT);
    b.ids = entered.why ? text(&b, "%s", entered.why) : "";
    return entered.standing;
}

static void a_copy_is_suspect(void **state)
{
    (void)state;
    set("a", 0, 1, "x");
    uint64_t first = reserve(c, 10);
    close_it(c); /* the log goes into the file */
    c = NULL;
    copy_file(b.path, bench_file(&b, "copy.db"));
    assert_int_equal(reopened(url), ONEROW_LEDGER_SOUND);
    assert_int_equal(reopened(text(&b, "sqlite:%s", bench_file(&b, "copy.db"))),
                     ONEROW_LEDGER_SUSPECT);
    assert_contains(b.ids, "copied, moved or restored");
    assert_string_equal(seen("a"), "1/1:x");
    assert_true(reserve(c, 1) > first + 1000000); /* far from what the other one gives out */
    /* A new namespace may be one that the lost part knew. */
    assert_int_equal(enter_as(c, "others", "x").standing, ONEROW_LEDGER_SUSPECT);
    assert_int_equal(confirm(c), ONEROW_OK);
    assert_int_equal(reopened(url), ONEROW_LEDGER_SOUND);
}

/* Puts an older state into the file, which keeps its inode: the second write is lost. */
static void lose_a_write(void)
{
    struct stat before;
    struct stat after;
    set("a", 0, 1, "x");
    close_it(c);
    c = NULL;
    copy_file(b.path, bench_file(&b, "backup"));
    assert_int_equal(reopened(url), ONEROW_LEDGER_SOUND);
    set("a", 1, 1, "lost");
    close_it(c);
    c = NULL;
    assert_int_equal(stat(b.path, &before), 0);
    copy_file(bench_file(&b, "backup"), b.path);
    assert_int_equal(stat(b.path, &after), 0);
    assert_int_equal(before.st_ino, after.st_ino);
}

static void an_older_state_in_the_same_file_is_suspect(void **state)
{
    (void)state;
    lose_a_write();
    assert_int_equal(reopened(url), ONEROW_LEDGER_SUSPECT);
    assert_contains(b.ids, "older state");
    assert_string_equal(seen("a"), "1/1:x");
    assert_int_equal(confirm(c), ONEROW_OK);
    assert_int_equal(reopened(url), ONEROW_LEDGER_SOUND);
}

/* Negative control. */
static void without_the_mark_an_older_state_is_not_seen(void **state)
{
    (void)state;
    lose_a_write();
    assert_int_equal(unlink(text(&b, "%s-mark", b.path)), 0);
    assert_int_equal(reopened(url), ONEROW_LEDGER_SOUND);
    assert_string_equal(seen("a"), "1/1:x");
}

/* The mark is a help, not a part: without it, and with another ledger's, all goes on. */
static void the_mark_may_be_missing(void **state)
{
    (void)state;
    const char *mark = text(&b, "%s-mark", b.path);
    set("a", 0, 1, "x");
    assert_int_equal(unlink(mark), 0);
    assert_int_equal(reopened(url), ONEROW_LEDGER_SOUND);
    assert_int_equal(access(mark, F_OK), 0);
    FILE *file = fopen(mark, "w");
    fputs("onerow 00112233445566778899aabbccddeeff 00000000000000009999\n", file);
    fclose(file);
    assert_int_equal(reopened(url), ONEROW_LEDGER_SOUND);
}

static enum onerow_status open_only(const char *where)
{
    struct onerow_coordinator *made = NULL;
    b.status = open_at(where, &made);
    close_it(made);
    return b.status;
}

static void foreign_files_are_refused(void **state)
{
    (void)state;
    const char *app = bench_file(&b, "app.db");
    sql_in(&b, app, "CREATE TABLE t(x)");
    assert_int_equal(open_only(text(&b, "sqlite:%s", app)), ONEROW_CONFIG);
    assert_contains(b.error.text, "a file of its own");
    const char *noise = bench_file(&b, "noise.db");
    FILE *file = fopen(noise, "w");
    for (unsigned i = 0; i < 2000; i++) {
        fputs("no database\n", file);
    }
    fclose(file);
    assert_int_equal(open_only(text(&b, "sqlite:%s", noise)), ONEROW_CORRUPT);
    assert_int_equal(open_only("sqlite:"), ONEROW_CONFIG);
    assert_int_equal(open_only("sqlite::memory:"), ONEROW_CONFIG);
    assert_int_equal(open_only(text(&b, "sqlite:%s/no/such.db", b.folder)), ONEROW_UNAVAILABLE);
    assert_int_equal(link(b.path, bench_file(&b, "second-name.db")), 0);
    assert_int_equal(open_only(url), ONEROW_CONFIG);
    assert_contains(b.error.text, "hard link");
}

static void a_newer_version_is_refused(void **state)
{
    (void)state;
    close_it(c);
    c = NULL;
    sql(&b, "PRAGMA user_version=3");
    assert_int_equal(open_only(url), ONEROW_CONFIG);
    assert_contains(b.error.text, "version 3");
}

static void a_file_taken_away_is_noticed(void **state)
{
    (void)state;
    struct onerow_ledger_change one = change(KEY, "a", 0, 1, "x");
    struct onerow_ledger_swap swaps[] = {{.changes = &one, .n = 1}};
    assert_int_equal(rename(b.path, bench_file(&b, "away.db")), 0);
    enum onerow_status status = c->type->ledger->swap(c, space, swaps, 1, &now_ms, &b.error);
    assert_int_equal(status, ONEROW_VANISHED);
    assert_false(swaps[0].done);
    assert_int_equal(rename(bench_file(&b, "away.db"), b.path), 0);
    assert_int_equal(c->type->ledger->swap(c, space, swaps, 1, &now_ms, &b.error), ONEROW_OK);
    assert_true(swaps[0].done);
}

static int hold_the_lock(void *context)
{
    int *ends = context;
    sqlite3 *db = NULL;
    bool held = sqlite3_open(b.path, &db) == SQLITE_OK &&
                sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL) == SQLITE_OK;
    char byte = (char)held;
    return write(ends[1], &byte, 1) == 1 && read(ends[2], &byte, 1) == 1 ? 0 : 1;
}

static void a_lock_that_stays(void **state)
{
    (void)state;
    int ends[4];
    char byte = 0;
    volatile bool stop_now = true;
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(pipe(ends + 2), 0);
    pid_t holder = child(hold_the_lock, ends);
    assert_int_equal(read(ends[0], &byte, 1), 1);
    assert_int_equal(byte, 1);
    struct onerow_coordinator_options options = {.url = url, .wait_ms = 30};
    struct onerow_coordinator *other = NULL;
    b.status = c->type->open(&options, &other, &b.error);
    assert_status(&b, ONEROW_OK);
    enter_as(other, "things", "key: name");
    assert_status(&b, ONEROW_BUSY);
    close_it(other);
    options = (struct onerow_coordinator_options){.url = url, .wait_ms = 60000, .stop = &stop_now};
    b.status = c->type->open(&options, &other, &b.error);
    assert_status(&b, ONEROW_OK);
    enter_as(other, "things", "key: name");
    assert_status(&b, ONEROW_INTERRUPTED);
    close_it(other);
    assert_int_equal(write(ends[3], &byte, 1), 1);
    assert_int_equal(child_code(holder), 0);
    for (unsigned i = 0; i < 4; i++) {
        close(ends[i]);
    }
}

#define ledger_case(name) cmocka_unit_test_setup_teardown(name, start, ledger_stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ledger_case(a_copy_is_suspect),
        ledger_case(an_older_state_in_the_same_file_is_suspect),
        ledger_case(without_the_mark_an_older_state_is_not_seen),
        ledger_case(the_mark_may_be_missing),
        ledger_case(foreign_files_are_refused),
        ledger_case(a_newer_version_is_refused),
        ledger_case(a_file_taken_away_is_noticed),
        ledger_case(a_lock_that_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
