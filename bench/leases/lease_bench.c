/* SPDX-License-Identifier: Apache-2.0
 *
 * How often, how soon and how evenly one lease goes from process to process:
 *
 *   lease_bench WAY URL PROCESSES SECONDS
 *
 *   onerow    sessions of onerow's leases, on any coordinator
 *   advisory  pg_advisory_lock and pg_advisory_unlock
 *   notify    a lease row and a NOTIFY to all on every release, as such things are written
 *   hand      the two statements of a lease row alone, for one process that nobody contends with
 *
 * Each process takes the lease, gives it back and takes it again. A hand-off is the time from the
 * beginning of a release to the moment at which another process has the lease. Prints
 *
 *   CYCLES SECONDS HANDOFF_P50_US HANDOFF_P99_US JAIN
 */
#include <libpq-fe.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "engine/lease.h"

#define NAME          "bench"
#define TTL_MS        30000U
#define PROCESSES_MAX 64U
#define SAMPLES       (1U << 20) /* hand-offs that are kept, of all processes */

struct shared {
    atomic_uint ready;
    atomic_bool go;
    atomic_bool over;
    _Atomic uint64_t released_ns; /* when the last release began */
    atomic_uint releaser;
    atomic_uint samples;
    uint32_t handoffs_us10[SAMPLES]; /* tenths of µs */
    uint64_t cycles[PROCESSES_MAX];
};

/* One process's end of the lease. */
struct job {
    const char *url;
    unsigned number;
    struct shared *shared;
    struct or_lease_session *session;
    struct or_lease_hold *hold;
    PGconn *conn;
};

struct way {
    const char *name;
    void (*open)(struct job *job);
    void (*take)(struct job *job);
    void (*give)(struct job *job);
};

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

static void die(const char *what, const char *why)
{
    fprintf(stderr, "lease_bench: %s: %s\n", what, why);
    exit(1);
}

/* ---- onerow -----------------------------------------------------------------------------------
 */

static void open_onerow(struct job *job)
{
    struct onerow_error error;
    if (or_lease_session_open(job->url, NULL, &job->session, &error) != ONEROW_OK) {
        die("open", error.text);
    }
}

static void take_onerow(struct job *job)
{
    struct onerow_error error;
    struct or_lease_wanted wanted = {
        .name = {NAME, sizeof NAME - 1}, .ttl_ms = TTL_MS, .wait_ms = OR_LEASE_FOREVER};
    if (or_lease_acquire(job->session, &wanted, &job->hold, &error) != ONEROW_OK) {
        die("acquire", error.text);
    }
}

static void give_onerow(struct job *job)
{
    struct onerow_error error;
    if (or_lease_release(job->hold, &error) != ONEROW_OK) {
        die("release", error.text);
    }
}

/* ---- by libpq ---------------------------------------------------------------------------------
 */

static PGresult *run(struct job *job, const char *name)
{
    PGresult *result = PQexecPrepared(job->conn, name, 0, NULL, NULL, NULL, 1);
    ExecStatusType status = PQresultStatus(result);
    if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK) {
        die(name, PQerrorMessage(job->conn));
    }
    return result;
}

static void exec(struct job *job, const char *sql)
{
    PGresult *result = PQexec(job->conn, sql);
    ExecStatusType status = PQresultStatus(result);
    if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK) {
        die(sql, PQerrorMessage(job->conn));
    }
    PQclear(result);
}

static void prepare(struct job *job, const char *name, const char *sql)
{
    PGresult *result = PQprepare(job->conn, name, sql, 0, NULL);
    if (PQresultStatus(result) != PGRES_COMMAND_OK) {
        die(sql, PQerrorMessage(job->conn));
    }
    PQclear(result);
}

static void open_libpq(struct job *job)
{
    job->conn = PQconnectdb(job->url);
    if (PQstatus(job->conn) != CONNECTION_OK) {
        die("connect", PQerrorMessage(job->conn));
    }
    exec(job, "SET client_min_messages = error");
    exec(job, "SET plan_cache_mode = force_generic_plan");
}

static void open_advisory(struct job *job)
{
    open_libpq(job);
    prepare(job, "take", "SELECT pg_advisory_lock(4711)");
    prepare(job, "give", "SELECT pg_advisory_unlock(4711)");
}

static void take_plain(struct job *job)
{
    PQclear(run(job, "take"));
}

static void give_plain(struct job *job)
{
    PQclear(run(job, "give"));
}

#define TABLE                                                                                      \
    "CREATE TABLE IF NOT EXISTS bench_lease(name text PRIMARY KEY, token bigint NOT NULL, holder " \
    "text, expires timestamptz NOT NULL) WITH (fillfactor = 50)"
#define TAKE                                                                                       \
    "INSERT INTO bench_lease AS l(name, token, holder, expires) VALUES ('%s', 1, '%u', "           \
    "clock_timestamp() + interval '30 s') ON CONFLICT (name) DO UPDATE SET token = l.token + 1, "  \
    "holder = excluded.holder, expires = clock_timestamp() + interval '30 s' WHERE l.holder IS "   \
    "NULL OR l.expires <= clock_timestamp() RETURNING token"
#define GIVE "UPDATE bench_lease SET holder = NULL WHERE name = '%s' AND holder = '%u' RETURNING %s"

static void open_rows(struct job *job, const char *then)
{
    char sql[1024];
    open_libpq(job);
    exec(job, "SELECT pg_advisory_lock(4712)");
    exec(job, TABLE);
    exec(job, "SELECT pg_advisory_unlock(4712)");
    snprintf(sql, sizeof sql, TAKE, NAME, job->number);
    prepare(job, "take", sql);
    snprintf(sql, sizeof sql, GIVE, NAME, job->number, then);
    prepare(job, "give", sql);
}

static void open_hand(struct job *job)
{
    open_rows(job, "token");
}

static void open_notify(struct job *job)
{
    open_rows(job, "pg_notify('bench_lease', name)");
    exec(job, "LISTEN bench_lease");
}

static void await_notify(struct job *job)
{
    struct pollfd socket = {.fd = PQsocket(job->conn), .events = POLLIN};
    PGnotify *note = PQnotifies(job->conn);
    if (!note && poll(&socket, 1, 1000) > 0) {
        PQconsumeInput(job->conn);
        note = PQnotifies(job->conn);
    }
    for (; note; note = PQnotifies(job->conn)) {
        PQfreemem(note);
    }
}

static void take_notify(struct job *job)
{
    for (bool had = false; !had;) {
        PGresult *result = run(job, "take");
        had = PQntuples(result) == 1;
        PQclear(result);
        if (!had && !job->shared->over) {
            await_notify(job);
        } else if (!had) {
            exit(0);
        }
    }
}

static const struct way ways[] = {
    {"onerow", open_onerow, take_onerow, give_onerow},
    {"advisory", open_advisory, take_plain, give_plain},
    {"notify", open_notify, take_notify, give_plain},
    {"hand", open_hand, take_plain, give_plain},
};

/* ---- a process --------------------------------------------------------------------------------
 */

static void note_handoff(struct job *job, uint64_t had_ns)
{
    struct shared *shared = job->shared;
    uint64_t released = shared->released_ns;
    if (released && shared->releaser != job->number && had_ns > released) {
        unsigned at = atomic_fetch_add(&shared->samples, 1);
        shared->handoffs_us10[at % SAMPLES] = (uint32_t)((had_ns - released) / 100);
    }
}

static void cycle(const struct way *way, struct job *job)
{
    way->take(job);
    note_handoff(job, now_ns());
    job->shared->releaser = job->number;
    job->shared->released_ns = now_ns();
    way->give(job);
    if (!job->shared->over) {
        job->shared->cycles[job->number]++;
    }
}

static void work(const struct way *way, struct job *job)
{
    way->open(job);
    job->shared->ready++;
    while (!job->shared->go) {
        usleep(200);
    }
    while (!job->shared->over) {
        cycle(way, job);
    }
    exit(0);
}

/* ---- all of them ------------------------------------------------------------------------------
 */

static int compare(const void *a, const void *b)
{
    uint32_t left = *(const uint32_t *)a;
    uint32_t right = *(const uint32_t *)b;
    return left < right ? -1 : left > right;
}

static double jain(const struct shared *shared, unsigned processes)
{
    double sum = 0;
    double squares = 0;
    for (unsigned i = 0; i < processes; i++) {
        sum += (double)shared->cycles[i];
        squares += (double)shared->cycles[i] * (double)shared->cycles[i];
    }
    return squares > 0 ? sum * sum / (processes * squares) : 0;
}

static void report(struct shared *shared, unsigned processes, double seconds)
{
    uint64_t cycles = 0;
    unsigned samples = shared->samples < SAMPLES ? shared->samples : SAMPLES;
    qsort(shared->handoffs_us10, samples, sizeof *shared->handoffs_us10, compare);
    for (unsigned i = 0; i < processes; i++) {
        cycles += shared->cycles[i];
    }
    double p50 = samples ? shared->handoffs_us10[samples / 2] / 10.0 : 0;
    double p99 = samples ? shared->handoffs_us10[(uint64_t)samples * 99 / 100] / 10.0 : 0;
    printf("%llu %.3f %.1f %.1f %.4f\n", (unsigned long long)cycles, seconds, p50, p99,
           jain(shared, processes));
}

static const struct way *way_of(const char *name)
{
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        if (strcmp(ways[i].name, name) == 0) {
            return &ways[i];
        }
    }
    return NULL;
}

int main(int argc, char **argv)
{
    const struct way *way = argc == 5 ? way_of(argv[1]) : NULL;
    unsigned processes = way ? (unsigned)atoi(argv[3]) : 0;
    if (!processes || processes > PROCESSES_MAX) {
        fputs("usage: lease_bench onerow|advisory|notify|hand URL PROCESSES SECONDS\n", stderr);
        return 64;
    }
    struct shared *shared =
        mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) {
        die("mmap", "no memory");
    }
    for (unsigned i = 0; i < processes; i++) {
        if (fork() == 0) {
            struct job job = {.url = argv[2], .number = i, .shared = shared};
            work(way, &job);
        }
    }
    while (shared->ready < processes && waitpid(-1, NULL, WNOHANG) == 0) {
        usleep(1000);
    }
    uint64_t start = now_ns();
    shared->go = true;
    usleep((useconds_t)(atof(argv[4]) * 1e6));
    shared->over = true;
    double seconds = (double)(now_ns() - start) / 1e9;
    int failed = shared->ready < processes;
    for (int code = 0; wait(&code) > 0;) {
        failed |= code;
    }
    report(shared, processes, seconds);
    return failed ? 1 : 0;
}
