/* SPDX-License-Identifier: Apache-2.0
 *
 * Many schedules of the simulator, by one or several processes.
 *
 * Schedule i of a run is a function of the run's seed and of i, and what is counted is that of the
 * schedules up to the first one that fails, in their order: how many processes there are changes
 * nothing but the time it takes.
 */
#ifndef OR_CLI_SIMULATE_RUN_H
#define OR_CLI_SIMULATE_RUN_H

#include "onerow/onerow.h"
#include "sim/sim.h"

#define OR_SIMULATE_JOBS 64U
#define OR_SIMULATE_MAX  1000000000000U /* schedules */

enum or_simulate_bounds {
    OR_SIMULATE_MIXED, /* drawn for each schedule */
    OR_SIMULATE_WITHIN,
    OR_SIMULATE_OUTSIDE,
};

struct or_simulation {
    struct sim_config config; /* seed and within_bounds are each schedule's own */
    uint64_t seed;
    enum or_simulate_bounds bounds;
    uint64_t schedules; /* 0: as many as there is time for */
    uint64_t limit_ms;  /* 0: no limit */
    unsigned jobs;
    bool progress; /* tell on stderr how far it is */
};

enum or_simulate_failure {
    OR_SIMULATE_CLEAN,
    OR_SIMULATE_VIOLATION,
    OR_SIMULATE_DIFFERS, /* a schedule that ran twice did not do the same */
    OR_SIMULATE_DEAD,    /* an assertion of the code under test, or a signal, ended the process */
};

struct or_simulated {
    uint64_t schedules;
    uint64_t again; /* of these ran twice */
    uint64_t events;
    uint64_t injections;
    uint64_t by_class[SIM_FAULTS];
    uint64_t created, updated, unchanged, rejected, unknown;
    uint64_t sometimes[(SIM_SOMETIMES_MAX + 63) / 64];
    enum or_simulate_failure failure;
    uint64_t failed; /* number of the schedule, from 0 */
    int signal;      /* DEAD: what ended the process; 0: it ended by itself */
    uint64_t took_us;
};

/* The configuration of a schedule. */
void or_simulate_config(const struct or_simulation *run, uint64_t schedule,
                        struct sim_config *config);

/* Fills *sum; a failure of a schedule is no error here. */
ONEROW_CHECKED enum onerow_status or_simulate(const struct or_simulation *run,
                                              struct or_simulated *sum, struct onerow_error *error);

#endif
