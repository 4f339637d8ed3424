/* SPDX-License-Identifier: Apache-2.0
 *
 * What `onerow bench` measures: records that are generated, and processes that write them.
 */
#ifndef OR_CLI_BENCH_JOB_H
#define OR_CLI_BENCH_JOB_H

#include "engine/config.h"
#include "engine/latency.h"

#define OR_BENCH_PROCESSES 64U /* at most, in one job */

/* Where to write. The table has the columns name (its key, text), version, price, stock, note and
 * seen. */
struct or_bench_place {
    const struct or_config *config;
    const struct or_config_table *table;
    uint64_t wait_ms;
};

enum or_bench_way {
    OR_BENCH_PUT,               /* as `onerow put` does */
    OR_BENCH_ONE_BY_ONE,        /* a transaction for each record */
    OR_BENCH_CHECK_THEN_CREATE, /* the same, each record being looked for before */
};

struct or_bench_job {
    const char *name; /* in JSON */
    const char *what;
    enum or_bench_way way;
    uint64_t first; /* its keys: [first, first + n), each once */
    uint64_t n;
    unsigned version; /* of the values; process i of several writes version + i */
    bool tenth;       /* only one of ten records is of that version, the others of the one before */
    uint64_t processes; /* each with all the keys, at most OR_BENCH_PROCESSES */
    size_t against;     /* index of the job that this one is compared with */
};

struct or_bench_figures {
    uint64_t rows;   /* records that have an outcome */
    uint64_t errors; /* those that are rejected or unknown */
    uint64_t round_trips;
    double seconds;
    struct or_latency_summary
        latency;               /* of transactions; of several processes, the slowest one's */
    enum onerow_status status; /* other than OK: a process ended early, and `error` says why */
    struct onerow_error error;
};

/* Does the job, in forked processes: the caller must have no store open. Returns figures->status.
 */
ONEROW_CHECKED enum onerow_status or_bench_measure(const struct or_bench_place *place,
                                                   const struct or_bench_job *job,
                                                   struct or_bench_figures *figures);

#endif
