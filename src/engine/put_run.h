/* SPDX-License-Identifier: Apache-2.0
 *
 * A whole `put`: inputs in, result lines, dead letters and a balance out.
 */
#ifndef OR_ENGINE_PUT_RUN_H
#define OR_ENGINE_PUT_RUN_H

#include "engine/config.h"
#include "engine/latency.h"
#include "engine/pages_stats.h"
#include "input/input.h"

struct or_run_stats {
    uint64_t read;         /* records that have an outcome */
    uint64_t outcome[6];   /* by enum onerow_outcome */
    uint64_t folded;       /* carried by another record of their batch */
    uint64_t batches;      /* that reached the store */
    uint64_t letters;      /* kept as dead letters */
    uint64_t unkept;       /* neither written nor kept: the dead letters could not be written */
    uint64_t first_unkept; /* line of the first of them */
    uint64_t last_line;    /* of the last record that has an outcome */
    const char *input;     /* the input it came from */
    uint64_t bytes_read;   /* of the present input, as stored; for a progress bar */
    uint64_t bytes_total;
    uint64_t write_us;     /* time spent in the store, microseconds */
    uint64_t slowest_us;   /* the slowest batch */
    uint64_t transactions; /* sent to be committed */
    uint64_t retries;      /* transactions that were tried once more */
    uint64_t bisects;      /* transactions that were halved */
    uint64_t round_trips;  /* waits for an answer, as the stores count them; at the end */
    uint64_t connections;  /* to stores, of all tables; at the end */
    struct or_latency_summary latency; /* of transactions; at the end */
    bool paged;                        /* into a store of pages; at the end … */
    struct or_pages_stats pages;       /* … and what that cost */
    char letters_path[512];            /* the dead letters' file, when there is one */
};

struct or_run_options {
    const struct or_config *config;
    const struct or_config_table *table; /* NULL: every line is an envelope */
    const char *const *inputs;
    size_t n_inputs;
    enum or_format format;
    const char *results; /* file for result lines, "-" is standard output; NULL: none */
    bool create_table;
    bool dry_run;
    size_t batch_records; /* 0: the default */
    uint64_t wait_ms;     /* 0: the default */
    const volatile bool *stop;
    int stop_fd;
    /* Called after each batch, and with things that the user should be told. May be NULL. */
    void (*progress)(void *context, const struct or_run_stats *stats);
    void (*notice)(void *context, const char *text);
    void *context;
};

/* OK: everything is written. LEFT: done, but some records are rejected or unknown. INTERRUPTED,
 * 69-class, CONFIG, INPUT: the run ended early; the stats say how far it came. */
ONEROW_CHECKED enum onerow_status or_run_put(const struct or_run_options *options,
                                             struct or_run_stats *stats,
                                             struct onerow_error *error);

/* One result line, with its newline. The names of the inputs, of the entry and of its carrier, are
 * NULL when there is only one input. */
struct or_entry;
struct or_buffer;
void or_result_line(const struct or_entry *entry, const char *input, const char *carrier_input,
                    struct or_buffer *out);

#endif
