/* SPDX-License-Identifier: Apache-2.0
 *
 * Each process takes every jobs-th chunk of schedules and writes what came of it into its own pipe;
 * the parent reads the pipes in the order of the chunks:
 *
 *   process 0:  chunk 0, 3, 6, … ─┐
 *   process 1:  chunk 1, 4, 7, … ─┼─> 0, 1, 2, 3, … added up, until one fails
 *   process 2:  chunk 2, 5, 8, … ─┘
 *
 * A full pipe holds a process back, so that none runs far ahead. Which schedule a process is at
 * lies in shared memory: if it dies of an assertion, that is how its schedule is known.
 *
 * One schedule of a hundred runs once more when its chunk is through: what an earlier schedule left
 * behind in the world would show in the digest.
 */
#include "cli/simulate_run.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/status.h"
#include "sim/rng.h"

#define CHUNK       64U
#define AGAIN_ONE   100U /* in so many */
#define PROGRESS_US 200000U

struct jobs {
    const struct or_simulation *run;
    unsigned n;
    pid_t pids[OR_SIMULATE_JOBS];
    int pipes[OR_SIMULATE_JOBS];
    volatile uint64_t *at; /* shared: the schedule that each process is at */
};

static uint64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000U + (uint64_t)now.tv_nsec / 1000U;
}

void or_simulate_config(const struct or_simulation *run, uint64_t schedule,
                        struct sim_config *config)
{
    struct sim_rng rng = sim_rng_of(run->seed, schedule);
    *config = run->config;
    config->seed = sim_next(&rng);
    config->within_bounds =
        run->bounds == OR_SIMULATE_MIXED ? sim_one_in(&rng, 2) : run->bounds == OR_SIMULATE_WITHIN;
}

static bool runs_again(const struct or_simulation *run, uint64_t schedule)
{
    struct sim_rng rng = sim_rng_of(~run->seed, schedule);
    return sim_one_in(&rng, AGAIN_ONE);
}

/* ---- a chunk --------------------------------------------------------------------------------- */

static uint64_t chunk_end(const struct or_simulation *run, uint64_t chunk)
{
    uint64_t end = (chunk + 1) * CHUNK;
    return run->schedules && run->schedules < end ? run->schedules : end;
}

static void count(struct or_simulated *sum, const struct sim_result *result)
{
    sum->schedules++;
    sum->events += result->events;
    sum->injections += result->injections;
    for (unsigned i = 0; i < SIM_FAULTS; i++) {
        sum->by_class[i] += result->by_class[i];
    }
    sum->created += result->created;
    sum->updated += result->updated;
    sum->unchanged += result->unchanged;
    sum->rejected += result->rejected;
    sum->unknown += result->unknown;
    for (size_t i = 0; i < sizeof sum->sometimes / sizeof *sum->sometimes; i++) {
        sum->sometimes[i] |= result->sometimes[i];
    }
}

static void fail(struct or_simulated *sum, enum or_simulate_failure failure, uint64_t schedule)
{
    sum->failure = failure;
    sum->failed = schedule;
}

static void run_again(const struct or_simulation *run, uint64_t begin,
                      const uint64_t digests[CHUNK], struct or_simulated *sum)
{
    for (uint64_t i = 0; i < sum->schedules && sum->failure == OR_SIMULATE_CLEAN; i++) {
        struct sim_config config;
        struct sim_result result;
        if (!runs_again(run, begin + i)) {
            continue;
        }
        or_simulate_config(run, begin + i, &config);
        sim_run(&config, &result, NULL, NULL);
        sum->again++;
        if (result.digest != digests[i]) {
            fail(sum, OR_SIMULATE_DIFFERS, begin + i);
        }
    }
}

static void run_chunk(const struct or_simulation *run, uint64_t chunk, volatile uint64_t *at,
                      struct or_simulated *sum)
{
    uint64_t digests[CHUNK];
    uint64_t begin = chunk * CHUNK;
    uint64_t end = chunk_end(run, chunk);
    memset(sum, 0, sizeof *sum);
    for (uint64_t i = begin; i < end && sum->failure == OR_SIMULATE_CLEAN; i++) {
        struct sim_config config;
        struct sim_result result;
        *at = i;
        or_simulate_config(run, i, &config);
        sim_run(&config, &result, NULL, NULL);
        count(sum, &result);
        digests[i - begin] = result.digest;
        if (result.violation != SIM_VIOLATION_NONE) {
            fail(sum, OR_SIMULATE_VIOLATION, i);
        }
    }
    run_again(run, begin, digests, sum);
}

/* ---- a process ------------------------------------------------------------------------------- */

static bool write_all(int fd, const void *data, size_t len)
{
    const char *at = data;
    while (len > 0) {
        ssize_t n = write(fd, at, len);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return false; /* the parent has enough */
        }
        at += n;
        len -= (size_t)n;
    }
    return true;
}

static bool read_all(int fd, void *data, size_t len)
{
    char *at = data;
    while (len > 0) {
        ssize_t n = read(fd, at, len);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return false;
        }
        at += n;
        len -= (size_t)n;
    }
    return true;
}

_Noreturn static void run_process(const struct jobs *jobs, unsigned job, int fd)
{
    const struct or_simulation *run = jobs->run;
    struct or_simulated sum = {0};
    uint64_t chunk = job;
    while ((run->schedules == 0 || chunk * CHUNK < run->schedules) &&
           sum.failure == OR_SIMULATE_CLEAN) {
        run_chunk(run, chunk, &jobs->at[job], &sum);
        if (!write_all(fd, &sum, sizeof sum)) {
            break;
        }
        chunk += jobs->n;
    }
    _exit(0);
}

static bool start_process(struct jobs *jobs, unsigned job)
{
    int ends[2];
    if (pipe(ends) != 0) {
        return false;
    }
    jobs->pids[job] = fork();
    if (jobs->pids[job] == 0) {
        close(ends[0]);
        for (unsigned i = 0; i < job; i++) {
            close(jobs->pipes[i]);
        }
        run_process(jobs, job, ends[1]);
    }
    close(ends[1]);
    if (jobs->pids[job] < 0) {
        close(ends[0]);
        return false;
    }
    jobs->pipes[job] = ends[0];
    return true;
}

static int end_process(struct jobs *jobs, unsigned job)
{
    int status = 0;
    close(jobs->pipes[job]);
    while (waitpid(jobs->pids[job], &status, 0) < 0 && errno == EINTR) {
    }
    jobs->pids[job] = 0;
    return status;
}

/* Whoever still runs is ended by its closed pipe at the latest. */
static void end_processes(struct jobs *jobs, unsigned started)
{
    for (unsigned i = 0; i < started; i++) {
        if (jobs->pids[i] > 0) {
            kill(jobs->pids[i], SIGKILL);
            (void)end_process(jobs, i);
        }
    }
    munmap((void *)(uintptr_t)jobs->at, OR_SIMULATE_JOBS * sizeof *jobs->at);
}

static enum onerow_status start_processes(struct jobs *jobs, struct onerow_error *error)
{
    void *shared = mmap(NULL, OR_SIMULATE_JOBS * sizeof *jobs->at, PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) {
        return or_fail(error, ONEROW_NOMEM, "out of memory");
    }
    jobs->at = shared;
    for (unsigned i = 0; i < jobs->n; i++) {
        if (!start_process(jobs, i)) {
            int why = errno;
            end_processes(jobs, i);
            return or_fail(error, ONEROW_IO, "process %u cannot be started: %s", i + 1,
                           strerror(why));
        }
    }
    return ONEROW_OK;
}

/* ---- the whole ------------------------------------------------------------------------------- */

static void add_up(struct or_simulated *sum, const struct or_simulated *part)
{
    sum->schedules += part->schedules;
    sum->again += part->again;
    sum->events += part->events;
    sum->injections += part->injections;
    for (unsigned i = 0; i < SIM_FAULTS; i++) {
        sum->by_class[i] += part->by_class[i];
    }
    sum->created += part->created;
    sum->updated += part->updated;
    sum->unchanged += part->unchanged;
    sum->rejected += part->rejected;
    sum->unknown += part->unknown;
    for (size_t i = 0; i < sizeof sum->sometimes / sizeof *sum->sometimes; i++) {
        sum->sometimes[i] |= part->sometimes[i];
    }
    sum->failure = part->failure;
    sum->failed = part->failed;
}

static void bury(struct jobs *jobs, unsigned job, struct or_simulated *sum)
{
    int status = end_process(jobs, job);
    sum->signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    fail(sum, OR_SIMULATE_DEAD, jobs->at[job]);
    sum->schedules = sum->failed + 1;
}

static void tell_progress(const struct or_simulation *run, const struct or_simulated *sum,
                          uint64_t *told_us, bool last)
{
    if (!run->progress || (!last && sum->took_us - *told_us < PROGRESS_US)) {
        return;
    }
    *told_us = sum->took_us;
    if (last) {
        fputs("\r\033[K", stderr);
    } else {
        fprintf(stderr, "\r\033[K%llu schedules, %llu/s", (unsigned long long)sum->schedules,
                (unsigned long long)(sum->schedules * 1000000U / (sum->took_us + 1)));
    }
    fflush(stderr);
}

static void collect(struct jobs *jobs, struct or_simulated *sum)
{
    const struct or_simulation *run = jobs->run;
    uint64_t begun = now_us();
    uint64_t told = 0;
    for (uint64_t chunk = 0; sum->failure == OR_SIMULATE_CLEAN; chunk++) {
        bool all = run->schedules && chunk * CHUNK >= run->schedules;
        if (all || (run->limit_ms && sum->took_us >= run->limit_ms * 1000U)) {
            break;
        }
        struct or_simulated part;
        unsigned job = (unsigned)(chunk % jobs->n);
        if (read_all(jobs->pipes[job], &part, sizeof part)) {
            add_up(sum, &part);
        } else {
            bury(jobs, job, sum);
        }
        sum->took_us = now_us() - begun;
        tell_progress(run, sum, &told, false);
    }
    tell_progress(run, sum, &told, true);
}

enum onerow_status or_simulate(const struct or_simulation *run, struct or_simulated *sum,
                               struct onerow_error *error)
{
    struct jobs jobs = {.run = run, .n = run->jobs};
    memset(sum, 0, sizeof *sum);
    enum onerow_status status = start_processes(&jobs, error);
    if (status == ONEROW_OK) {
        collect(&jobs, sum);
        end_processes(&jobs, jobs.n);
    }
    return status;
}
