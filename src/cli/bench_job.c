/* SPDX-License-Identifier: Apache-2.0
 *
 * Every job is done by processes that are forked for it, so that one and several writers
 * are measured in the same way; they tell through shared memory. The records of a put are
 * generated into unlinked files before the clock runs.
 */
#include "cli/bench_job.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/status.h"
#include "engine/put_run.h"
#include "engine/single.h"

#define SLOW_US    UINT64_C(5000000) /* records are put one by one for so long at most */
#define RECORD_MAX 256U

/* ---- records --------------------------------------------------------------------------------- */

static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 31) * 0x7fb5d329728ea185ULL;
    x = (x ^ x >> 27) * 0x81dadef4bc2dd44dULL;
    return x ^ x >> 33;
}

/* The i-th key of n in an order that is not the index's, and begins elsewhere for each process. */
static uint64_t scatter(uint64_t i, uint64_t n, uint64_t process)
{
    uint64_t stride = n % 1000003 ? 1000003 : 999983; /* a prime that does not divide n */
    return (i * stride + process * (n / OR_BENCH_PROCESSES + 1)) % n;
}

static size_t make_record(const struct or_bench_job *job, uint64_t i, uint64_t process,
                          char record[RECORD_MAX])
{
    uint64_t at = scatter(i, job->n, process);
    unsigned version = job->version + (unsigned)process;
    version -= job->tenth && at % 10 != 7;
    uint64_t key = job->first + at;
    uint64_t r = mix(key * 1000 + version);
    int len = snprintf(record, RECORD_MAX,
                       "{\"name\":\"item-%010llu\",\"version\":%u,\"price\":%u.%02u,\"stock\":%u,"
                       "\"note\":\"%016llx\",\"seen\":\"2024-%02u-%02uT12:00:00Z\"}\n",
                       (unsigned long long)key, version, (unsigned)(r & 1023),
                       (unsigned)(r >> 10 & 63), (unsigned)(r >> 16 & 65535), (unsigned long long)r,
                       (unsigned)(r >> 32) % 12 + 1, (unsigned)(r >> 48) % 28 + 1);
    return (size_t)len;
}

/* The input of one process; an unlinked file, so that nothing is left behind. NULL: no room. */
static FILE *make_input(const struct or_bench_job *job, uint64_t process)
{
    FILE *file = tmpfile();
    char record[RECORD_MAX];
    for (uint64_t i = 0; file && i < job->n; i++) {
        size_t len = make_record(job, i, process, record);
        if (fwrite(record, 1, len, file) != len) {
            break;
        }
    }
    if (file && (fflush(file) != 0 || ferror(file))) {
        fclose(file);
        return NULL;
    }
    return file;
}

/* ---- one process ----------------------------------------------------------------------------- */

static void put(const struct or_bench_place *place, FILE *file, struct or_bench_figures *figures)
{
    char path[64];
    const char *inputs[] = {path};
    struct or_run_stats stats = {0};
    struct or_run_options how = {.config = place->config,
                                 .table = place->table,
                                 .inputs = inputs,
                                 .n_inputs = 1,
                                 .format = OR_FORMAT_NDJSON,
                                 .wait_ms = place->wait_ms,
                                 .stop_fd = -1};
    snprintf(path, sizeof path, "/proc/self/fd/%d", fileno(file));
    enum onerow_status status = or_run_put(&how, &stats, &figures->error);
    figures->status = status == ONEROW_LEFT ? ONEROW_OK : status;
    figures->rows = stats.read;
    figures->errors = stats.outcome[ONEROW_REFUSED] + stats.outcome[ONEROW_IN_DOUBT];
    figures->round_trips = stats.round_trips;
    figures->latency = stats.latency;
}

/* One record: looked for first, where that is the way, and then put. */
static enum onerow_status put_one(struct or_table *table, enum or_bench_way way,
                                  struct onerow_span json, struct or_arena *arena,
                                  struct onerow_error *error)
{
    struct or_item item;
    struct or_entry entry = {.line = 1};
    struct onerow_span row;
    enum onerow_status status = or_input_parse_json(json, arena, &item);
    if (status == ONEROW_OK && way == OR_BENCH_CHECK_THEN_CREATE) {
        status = or_entry_bind(&entry, table, &item, arena)
                     ? or_single_get(table, &entry, arena, &row, error)
                     : ONEROW_NOMEM;
    }
    if (status == ONEROW_OK || status == ONEROW_ABSENT) {
        status = or_single_put(table, &item, NULL, &entry, arena, error);
    }
    return status;
}

static void one_by_one(const struct or_bench_place *place, const struct or_bench_job *job,
                       uint64_t process, struct or_bench_figures *figures)
{
    struct or_table *table = NULL;
    struct or_table_options how = {.wait_ms = place->wait_ms};
    struct or_arena arena;
    char record[RECORD_MAX];
    struct or_latency latency = {0};
    or_arena_init(&arena);
    figures->status = or_table_open(place->table, &how, &table, &figures->error);
    uint64_t before = table ? table->store->round_trips : 0;
    uint64_t begun = or_latency_now();
    uint64_t end = begun;
    for (uint64_t i = 0; table && i < job->n && end - begun < SLOW_US; i++) {
        struct onerow_span json = {record, make_record(job, i, process, record)};
        uint64_t start = end;
        enum onerow_status status = put_one(table, job->way, json, &arena, &figures->error);
        or_arena_reset(&arena);
        end = or_latency_now();
        or_latency_add(&latency, end - start);
        figures->rows++;
        figures->errors += status != ONEROW_OK;
        if (onerow_status_exit(status) > 1) {
            figures->status = status;
            break;
        }
    }
    figures->round_trips = table ? table->store->round_trips - before : 0;
    figures->latency = or_latency_summarise(&latency);
    or_table_close(table);
    or_arena_finish(&arena);
}

/* ---- several processes ----------------------------------------------------------------------- */

static void run_process(const struct or_bench_place *place, const struct or_bench_job *job,
                        uint64_t process, FILE *input, struct or_bench_figures *figures)
{
    if (job->way == OR_BENCH_PUT) {
        put(place, input, figures);
    } else {
        one_by_one(place, job, process, figures);
    }
    _exit(0);
}

static void add_up(struct or_bench_figures *sum, const struct or_bench_figures *part)
{
    sum->rows += part->rows;
    sum->errors += part->errors;
    sum->round_trips += part->round_trips;
    if (part->latency.p50 >= sum->latency.p50) {
        sum->latency = part->latency;
    }
    if (part->status != ONEROW_OK && sum->status == ONEROW_OK) {
        sum->status = part->status;
        sum->error = part->error;
    }
}

enum onerow_status or_bench_measure(const struct or_bench_place *place,
                                    const struct or_bench_job *job, struct or_bench_figures *sum)
{
    FILE *files[OR_BENCH_PROCESSES] = {NULL};
    pid_t pids[OR_BENCH_PROCESSES];
    uint64_t n = 0;
    struct or_bench_figures *parts =
        mmap(NULL, job->processes * sizeof *parts, PROT_READ | PROT_WRITE,
             MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    *sum = (struct or_bench_figures){0};
    if (parts == MAP_FAILED) {
        return or_fail(&sum->error, ONEROW_NOMEM, "out of memory");
    }
    for (uint64_t i = 0; i < job->processes; i++) {
        parts[i].status = /* of one that is not even started, or dies */
            or_fail(&parts[i].error, ONEROW_IO, "a writer could not be started, or died");
        if (job->way == OR_BENCH_PUT && !(files[i] = make_input(job, i))) {
            sum->status = or_fail(&sum->error, ONEROW_FULL, "%llu records do not go into %s: %s",
                                  (unsigned long long)job->n, P_tmpdir, strerror(errno));
        }
    }
    uint64_t begun = or_latency_now();
    while (sum->status == ONEROW_OK && n < job->processes && (pids[n] = fork()) > 0) {
        n++;
    }
    if (sum->status == ONEROW_OK && n < job->processes && pids[n] == 0) {
        run_process(place, job, n, files[n], &parts[n]);
    }
    for (uint64_t i = 0; i < n; i++) {
        while (waitpid(pids[i], NULL, 0) < 0 && errno == EINTR) {
        }
    }
    sum->seconds = (double)(or_latency_now() - begun) / 1e6;
    for (uint64_t i = 0; i < job->processes; i++) {
        add_up(sum, &parts[i]);
        if (files[i]) {
            fclose(files[i]);
        }
    }
    munmap(parts, job->processes * sizeof *parts);
    return sum->status;
}
