/* SPDX-License-Identifier: Apache-2.0
 *
 * A bench for store tests: a folder of its own, one open store, one open table, and
 * records written as text. Outcomes come back as text, too, so that a test reads
 *
 *     assert_string_equal(put(&b, "{'k':'a'}\n{'k':'a','v':1}"), "created,updated");
 *
 * In records ' stands for "; the functions ending in _raw take JSON as it is. What a
 * function returns lives until bench_stop.
 */
#ifndef OR_TESTS_BENCH_H
#define OR_TESTS_BENCH_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <cmocka.h>

#include "base/arena.h"
#include "engine/table.h"

struct bench {
    char *folder;
    const char *path;      /* FOLDER/x.db */
    struct or_arena arena; /* everything that a test makes */
    struct or_table table; /* its spec may be set before bench_look; store and table are owned */
    uint64_t wait_ms;      /* for bench_store; 60 s unless set */
    bool nulls_equal;      /* of all key columns, for bench_look */
    unsigned normalize;    /* of all key columns, for bench_look */
    bool untyped;          /* texts travel as CSV fields do */
    bool by_hand;          /* put: begin, apply and commit of the vtable instead of the driver */
    enum onerow_status status; /* of the last call */
    struct onerow_error error; /* of the last call */
    const char *ids;           /* of the last put or get: "1,2,-" */
};

void bench_start(struct bench *b);
void bench_stop(struct bench *b);

/* printf that lives as long as the bench. */
__attribute__((format(printf, 2, 3))) const char *text(struct bench *b, const char *format, ...);
/* FOLDER/name */
const char *bench_file(struct bench *b, const char *name);

/* Opens (again) the store at a URL, which may be created. */
enum onerow_status bench_store(struct bench *b, const char *url);
/* Opens (again) the table; key is "name[:type],…". */
enum onerow_status bench_look(struct bench *b, const char *location, const char *key);
/* Makes the table of these columns ("name[:type],…"), without looking at it. */
enum onerow_status bench_create(struct bench *b, const char *location, const char *key,
                                const char *columns);
/* Closes both. */
void bench_close(struct bench *b);

/* Puts records, one a line; their outcomes in arrival order: "created,unchanged:kept". The status
 * of the whole is in b->status. */
const char *put(struct bench *b, const char *records);
const char *put_raw(struct bench *b, const char *records);
/* Only the vtable's apply, inside a transaction of the caller: the outcomes, or the failure's name.
 */
const char *apply(struct bench *b, const char *records);
/* The row as JSON, or the name of the status. */
const char *get(struct bench *b, const char *key);
const char *get_raw(struct bench *b, const char *key);

/* How many keys the audit finds with several rows, and rows without a key: "0 0". */
const char *audit(struct bench *b);

/* What the sqlite3 client prints for a statement on the bench's file; it must succeed. */
const char *sql(struct bench *b, const char *statement);
const char *sql_in(struct bench *b, const char *path, const char *statement);
/* The same, for a statement that must fail: its message. */
const char *sql_error(struct bench *b, const char *statement);

/* ---- processes ---------------------------------------------------------------- */

/* A child that dies with its parent and runs no tests of its own: `run` returns its exit code. */
pid_t child(int (*run)(void *context), void *context);
/* Its exit code, or 128 + the signal that ended it. */
int child_code(pid_t pid);
/* Memory that children share with their parent; given back by give_back. */
void *share(size_t size);
void give_back(void *memory, size_t size);

/* Random numbers from ONEROW_TEST_SEED, or from a seed that is printed. */
void seed_dice(void);
uint64_t dice(void);

#define assert_contains(text, part) assert_contains_at(text, part, __FILE__, __LINE__)
void assert_contains_at(const char *text, const char *part, const char *file, int line);

#define assert_status(b, wanted) assert_status_at(b, wanted, __FILE__, __LINE__)
void assert_status_at(struct bench *b, enum onerow_status wanted, const char *file, int line);

#endif
