/* SPDX-License-Identifier: Apache-2.0
 *
 * How evenly processes come to write one SQLite file, and how long the unluckiest of them waits:
 *
 *   turn_bench onerow|busy DB PROCESSES ROWS SECONDS
 *
 * Each process writes transactions of ROWS records with random keys, one after the other: through
 * onerow's SQLite store, or by hand with BEGIN IMMEDIATE and a busy timeout. A wait is the time
 * from asking for the transaction until it has begun. Prints one line per process:
 *
 *   TRANSACTIONS WORST_WAIT_US SUM_OF_TRANSACTIONS_US LONGEST_TRANSACTION_US
 */
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/text.h"
#include "engine/entry.h"
#include "input/input.h"

#define KEYS          10000U
#define PROCESSES_MAX 64U
#define ROWS_MAX      10000U
#define BUSY_TIMEOUT  600000

struct tally {
    uint64_t transactions;
    uint64_t worst_wait_us;
    uint64_t sum_us;
    uint64_t longest_us;
};

struct shared {
    atomic_uint ready;
    atomic_bool go;
    struct tally tallies[PROCESSES_MAX];
};

struct job {
    const char *database;
    unsigned processes;
    unsigned rows;
    double seconds;
    struct shared *shared;
    struct tally *tally; /* this process's */
    uint64_t random;
};

static uint64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000U + (uint64_t)now.tv_nsec / 1000U;
}

static void die(const char *what, const char *why)
{
    fprintf(stderr, "turn_bench: %s: %s\n", what, why);
    exit(1);
}

static uint64_t draw(struct job *job)
{
    job->random = job->random * 6364136223846793005ULL + 1442695040888963407ULL;
    return job->random >> 33;
}

static void note(struct tally *tally, uint64_t asked, uint64_t begun, uint64_t ended)
{
    uint64_t wait = begun - asked;
    uint64_t spent = ended - begun;
    tally->transactions++;
    tally->sum_us += spent;
    tally->worst_wait_us = wait > tally->worst_wait_us ? wait : tally->worst_wait_us;
    tally->longest_us = spent > tally->longest_us ? spent : tally->longest_us;
}

/* Waits until all processes are ready; when the work is to end. */
static uint64_t start_together(struct job *job)
{
    atomic_fetch_add(&job->shared->ready, 1);
    while (!atomic_load(&job->shared->go)) {
        usleep(100);
    }
    return now_us() + (uint64_t)(job->seconds * 1e6);
}

/* ---- through onerow's store -------------------------------------------------------------- */

struct ours {
    struct or_config config;
    struct or_table *table;
    struct or_arena arena;
    struct or_entry entries[ROWS_MAX];
    struct or_entry *sorted[ROWS_MAX];
    const struct onerow_record *records[ROWS_MAX];
    struct onerow_verdict verdicts[ROWS_MAX];
    struct onerow_error error;
};

static void check(struct ours *ours, enum onerow_status status, const char *what)
{
    if (status != ONEROW_OK) {
        die(what, ours->error.text);
    }
}

static void open_ours(struct ours *ours, const char *database)
{
    struct or_buffer url;
    or_buffer_init(&url);
    or_buffer_printf(&url, "sqlite:%s", database);
    struct or_config_flags flags = {.store = or_buffer_cstr(&url), .table = "items", .key = "name"};
    struct or_table_options options = {0};
    const struct or_config_table *found = NULL;
    or_arena_init(&ours->arena);
    check(ours, or_config_load(&ours->config, &flags, &ours->error), "configuration");
    check(ours, or_config_table(&ours->config, NULL, &found, &ours->error), "table");
    check(ours, or_table_open(found, &options, &ours->table, &ours->error), "opening");
    or_buffer_finish(&url);
}

static void make_records(struct ours *ours, struct job *job)
{
    or_arena_reset(&ours->arena);
    for (unsigned i = 0; i < job->rows; i++) {
        struct or_item item = {0};
        const char *json = or_arena_printf(
            &ours->arena, "{\"name\":\"item-%06llu\",\"stock\":%llu,\"note\":\"%016llx\"}",
            (unsigned long long)(draw(job) % KEYS), (unsigned long long)draw(job),
            (unsigned long long)job->random);
        check(ours, or_input_parse_json(or_span(json), &ours->arena, &item), "parsing");
        ours->entries[i] = (struct or_entry){.line = i + 1};
        if (!or_entry_bind(&ours->entries[i], ours->table, &item, &ours->arena)) {
            die("binding", "out of memory");
        }
        ours->sorted[i] = &ours->entries[i];
    }
    or_entries_sort(ours->sorted, job->rows);
    for (unsigned i = 0; i < job->rows; i++) {
        ours->records[i] = &ours->sorted[i]->record;
    }
}

static void write_ours(struct job *job)
{
    static struct ours ours;
    open_ours(&ours, job->database);
    struct onerow_store *store = ours.table->store;
    uint64_t end = start_together(job);
    while (now_us() < end) {
        make_records(&ours, job);
        uint64_t asked = now_us();
        check(&ours, store->type->begin(store, NULL, &ours.error), "begin");
        uint64_t begun = now_us();
        check(&ours,
              store->type->apply(ours.table->table, ours.records, job->rows, ours.verdicts,
                                 &ours.arena, &ours.error),
              "apply");
        check(&ours, store->type->commit(store, &ours.error), "commit");
        note(job->tally, asked, begun, now_us());
    }
    or_table_close(ours.table);
    or_config_finish(&ours.config);
    or_arena_finish(&ours.arena);
}

/* ---- by hand ------------------------------------------------------------------------------- */

static sqlite3_stmt *prepare(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *stmt = NULL;
    if (sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) != SQLITE_OK) {
        die(sql, sqlite3_errmsg(db));
    }
    return stmt;
}

static void step(sqlite3 *db, sqlite3_stmt *stmt)
{
    int code = sqlite3_step(stmt);
    sqlite3_reset(stmt);
    if (code != SQLITE_DONE) {
        die(sqlite3_sql(stmt), sqlite3_errmsg(db));
    }
}

static sqlite3 *open_by_hand(const char *database)
{
    sqlite3 *db = NULL;
    if (sqlite3_open(database, &db) != SQLITE_OK) {
        die(database, sqlite3_errmsg(db));
    }
    sqlite3_busy_timeout(db, BUSY_TIMEOUT);
    sqlite3_exec(db, "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL", NULL, NULL, NULL);
    return db;
}

static void write_row(struct job *job, sqlite3 *db, sqlite3_stmt *upsert)
{
    char name[32];
    char text[32];
    snprintf(name, sizeof name, "item-%06llu", (unsigned long long)(draw(job) % KEYS));
    sqlite3_bind_text(upsert, 1, name, -1, SQLITE_STATIC);
    sqlite3_bind_int64(upsert, 2, (sqlite3_int64)draw(job));
    snprintf(text, sizeof text, "%016llx", (unsigned long long)job->random);
    sqlite3_bind_text(upsert, 3, text, -1, SQLITE_STATIC);
    step(db, upsert);
}

static void write_by_hand(struct job *job)
{
    sqlite3 *db = open_by_hand(job->database);
    sqlite3_stmt *begin = prepare(db, "BEGIN IMMEDIATE");
    sqlite3_stmt *commit = prepare(db, "COMMIT");
    sqlite3_stmt *upsert =
        prepare(db, "INSERT INTO items (name, stock, note) VALUES (?1, ?2, ?3) ON CONFLICT (name) "
                    "DO UPDATE SET stock = excluded.stock, note = excluded.note");
    uint64_t end = start_together(job);
    while (now_us() < end) {
        uint64_t asked = now_us();
        step(db, begin);
        uint64_t begun = now_us();
        for (unsigned i = 0; i < job->rows; i++) {
            write_row(job, db, upsert);
        }
        step(db, commit);
        note(job->tally, asked, begun, now_us());
    }
    sqlite3_close_v2(db);
}

/* ---- processes ------------------------------------------------------------------------------- */

static void set_up(const char *database)
{
    sqlite3 *db = open_by_hand(database);
    const char *sql = "CREATE TABLE items (name TEXT NOT NULL, stock INTEGER, note TEXT);"
                      "CREATE UNIQUE INDEX items_name ON items (name)";
    if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK) {
        die("set-up", sqlite3_errmsg(db));
    }
    sqlite3_close_v2(db);
}

static void run_all(struct job *job, void write(struct job *))
{
    for (unsigned i = 0; i < job->processes; i++) {
        pid_t pid = fork();
        if (pid < 0) {
            die("fork", "failed");
        }
        if (pid == 0) {
            job->tally = &job->shared->tallies[i];
            job->random = i + 1;
            write(job);
            _exit(0);
        }
    }
    while (atomic_load(&job->shared->ready) < job->processes) {
        int status = 0;
        if (waitpid(-1, &status, WNOHANG) > 0) {
            die("a process", "ended before it began");
        }
        usleep(1000);
    }
    atomic_store(&job->shared->go, true);
    int status = 0;
    while (wait(&status) > 0) {
        if (status != 0) {
            die("a process", "failed");
        }
    }
}

int main(int argc, char **argv)
{
    if (argc != 6) {
        fputs("turn_bench onerow|busy DB PROCESSES ROWS SECONDS\n", stderr);
        return 64;
    }
    struct job job = {.database = argv[2],
                      .processes = (unsigned)strtoul(argv[3], NULL, 10),
                      .rows = (unsigned)strtoul(argv[4], NULL, 10),
                      .seconds = strtod(argv[5], NULL)};
    job.shared =
        mmap(NULL, sizeof *job.shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (job.shared == MAP_FAILED || job.processes > PROCESSES_MAX || job.rows > ROWS_MAX) {
        die("arguments", "too large");
    }
    set_up(job.database);
    run_all(&job, strcmp(argv[1], "onerow") == 0 ? write_ours : write_by_hand);
    for (unsigned i = 0; i < job.processes; i++) {
        const struct tally *tally = &job.shared->tallies[i];
        printf("%llu %llu %llu %llu\n", (unsigned long long)tally->transactions,
               (unsigned long long)tally->worst_wait_us, (unsigned long long)tally->sum_us,
               (unsigned long long)tally->longest_us);
    }
    return 0;
}
