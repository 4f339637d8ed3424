/* SPDX-License-Identifier: Apache-2.0
 *
 * Swarm testing (Groce and others, 2012): each fault class is off in half of the schedules, so that
 * a rare fault is not always drowned by a frequent one; the others have a rate of their own.
 */
#include <string.h>

#include "sim/parts.h"

struct range { /* of a rate, in 1/1000 */
    uint32_t low;
    uint32_t high;
};

static const struct range RANGES[SIM_FAULTS] = {
    [SIM_LOST_REQUEST] = {5, 150}, [SIM_LOST_REPLY] = {5, 150},   [SIM_LATE] = {5, 150},
    [SIM_TWICE] = {5, 100},        [SIM_ERROR_BEFORE] = {5, 150}, [SIM_ERROR_AFTER] = {5, 150},
    [SIM_CONFLICT] = {5, 200},     [SIM_RATE] = {2, 40},          [SIM_FALSE_404] = {5, 150},
    [SIM_REFUSAL] = {50, 300},     [SIM_SLOW] = {5, 200},         [SIM_LOOKUP_ERROR] = {20, 400},
    [SIM_INCOMPLETE] = {20, 400},  [SIM_LAG] = {50, 600},         [SIM_PAUSE] = {20, 400},
    [SIM_CRASH] = {5, 50},         [SIM_LEDGER_DOWN] = {5, 100},  [SIM_LEDGER_LOST] = {5, 150},
    [SIM_LEDGER_LATE] = {5, 100},  [SIM_LEDGER_CRASH] = {2, 20},  [SIM_CLOCK] = {5, 100},
    [SIM_FOREIGN] = {5, 60},       [SIM_TRASH] = {5, 60},         [SIM_UNTRASH] = {20, 200},
    [SIM_RENAME] = {5, 60},        [SIM_EDIT] = {5, 60},
};

#define BIT(fault) (1U << SIM_##fault)

/* Half of the schedules have a theme: a few classes that strike often, and hardly anything beside
 * them. Some mistakes show only when the same few things come together in one place, which any
 * other fault would upset. */
static const uint32_t THEMES[] = {
    BIT(LATE) | BIT(PAUSE) | BIT(LAG),
    BIT(LATE) | BIT(PAUSE) | BIT(FOREIGN) | BIT(TRASH) | BIT(UNTRASH) | BIT(RENAME),
    BIT(FOREIGN) | BIT(TRASH) | BIT(UNTRASH) | BIT(LATE),
    BIT(LATE) | BIT(REFUSAL) | BIT(LOST_REPLY) | BIT(SLOW),
    BIT(PAUSE) | BIT(LEDGER_LOST) | BIT(LEDGER_LATE) | BIT(LEDGER_CRASH),
};

/* 0: none. Drawn from a stream of its own, which moves no other draw. */
static uint32_t draw_theme(const struct sim_world *world)
{
    struct sim_rng rng = sim_rng_of(world->config->seed, SIM_ACTORS + 1);
    uint32_t theme = THEMES[sim_below(&rng, sizeof THEMES / sizeof *THEMES)];
    return sim_one_in(&rng, 2) ? theme : 0;
}

static void draw_faults(struct sim_world *world)
{
    uint32_t theme = draw_theme(world);
    for (unsigned i = 0; i < SIM_FAULTS; i++) {
        bool often = theme >> i & 1U;
        bool on = sim_next(&world->rng) >> (theme ? 61 : 63) == (theme ? 7 : 1) || often;
        uint64_t rate = sim_between(&world->rng, RANGES[i].low, RANGES[i].high);
        rate += often ? RANGES[i].high : 0;
        if (on) { /* even one that the configuration has switched off: see sim_inject */
            world->active |= 1U << i;
            world->rates[i] = (uint32_t)(rate * (UINT32_MAX / 1000U));
        }
    }
}

/* Counts and spans that a schedule's few calls can fill; a breaker that few conflicts open. Drawn
 * from a stream of its own, too. */
static void draw_windows(struct sim_world *world, struct sim_rng *rng)
{
    struct or_window fast = {.count = (uint32_t)sim_between(rng, 1, 4),
                             .span_ms = sim_between(rng, 200, 4000)};
    struct or_window slow = {.count = (uint32_t)sim_between(rng, 4, 16),
                             .span_ms = sim_between(rng, 8000, 40000)};
    bool slow_first = sim_one_in(rng, 2);
    world->n_windows = (unsigned)sim_below(rng, 3);
    world->windows[0] = slow_first ? slow : fast;
    world->windows[1] = slow_first ? fast : slow;
}

#define NO_BREAKER 100U /* percent: never more than all calls */

static void draw_breaker(struct sim_world *world, struct sim_rng *rng)
{
    static const unsigned PERCENTS[] = {10, 20, 25, 50, NO_BREAKER, NO_BREAKER};
    struct or_breaker_limits *breaker = &world->breaker;
    breaker->percent = PERCENTS[sim_below(rng, sizeof PERCENTS / sizeof *PERCENTS)];
    breaker->least = (unsigned)sim_between(rng, 1, 6);
    breaker->cool_ms = sim_between(rng, 500, 6000);
    breaker->cool_max_ms = breaker->cool_ms * sim_between(rng, 1, 5);
    breaker->probe_ms = sim_between(rng, 1000, 20000);
    world->probe_first = sim_one_in(rng, 8);
}

static void draw_governor(struct sim_world *world)
{
    struct sim_rng rng = sim_rng_of(world->config->seed, SIM_ACTORS + 2);
    world->governed = sim_one_in(&rng, 2) && world->core;
    draw_windows(world, &rng);
    draw_breaker(world, &rng);
    for (unsigned i = 0; i < SIM_PROCESSES; i++) {
        world->governors[i].ahead_us = sim_next(&rng) >> 24;
        sim_process_begin(world, i);
    }
}

static void draw_limits(struct sim_world *world)
{
    static const struct or_retry_limits LIMITS = {
        .classes = {[OR_RETRY_CONFLICT] = {500, 10000, 0},
                    [OR_RETRY_RATE] = {500, 20000, 0},
                    [OR_RETRY_UNCERTAIN] = {500, 15000, 0},
                    [OR_RETRY_LOOKUP] = {500, 10000, 0},
                    [OR_RETRY_BUSY] = {200, 5000, 0}}};
    world->patient = LIMITS;
    world->limits = LIMITS;
    uint64_t total = sim_between(&world->rng, 30, 300) * 1000;
    unsigned tries = (unsigned)sim_between(&world->rng, 3, 10);
    if (sim_one_in(&world->rng, 2)) {
        world->limits.total_ms = total;
    }
    if (sim_one_in(&world->rng, 4)) {
        for (unsigned i = 0; i < OR_RETRY_CLASSES; i++) {
            world->limits.classes[i].tries = tries;
        }
    }
}

/* Each of the bounds is the longest one in some schedules, so that a wait that leaves it out is too
 * short by much. */
static struct or_bounds draw_bounds(struct sim_world *world)
{
    static const uint64_t PAUSES[] = {1250, 10000, 30000};
    static const uint64_t LAGS[] = {1000, 5000, 15000};
    struct or_bounds bounds = sim_bounds;
    uint64_t drawn = sim_next(&world->rng);
    bounds.pause = PAUSES[(drawn >> 8 & 255U) % 3];
    bounds.lag = LAGS[(drawn >> 16 & 255U) % 3];
    bounds.request /= drawn & 2U ? 5 : 1;
    bounds.life /= drawn & 4U ? 6 : 1;
    if (drawn & 16U) { /* an intent that is just long enough for its create */
        bounds.lease = bounds.guard + bounds.request + 1000;
    }
    return bounds;
}

static void draw_options(struct sim_world *world)
{
    bool direct = world->config->protocol == SIM_DIRECT;
    world->options = (struct or_attempt_options){
        .protocol = direct ? OR_PROTOCOL_DIRECT : OR_PROTOCOL_GUARDED,
        .policy = (enum onerow_policy)sim_below(&world->rng, 3),
        .deletion = (enum or_deletion)sim_below(&world->rng, 3),
        .verify_read = sim_one_in(&world->rng, 3),
        .may_create = true,
        .bounds = draw_bounds(world),
        .retry = &world->limits,
    };
    world->ledger.through_bytes = sim_one_in(&world->rng, 100);
    world->reruns = !sim_one_in(&world->rng, 4);
    world->calm_at = sim_between(&world->rng, 20, 120) * SIM_SECOND;
}

/* The configured number, or one that is drawn; the draw happens anyway. */
static unsigned number_or(struct sim_world *world, unsigned configured, unsigned low, unsigned high)
{
    unsigned drawn = (unsigned)sim_between(&world->rng, low, high);
    return configured ? configured : drawn;
}

static void draw_record(struct sim_world *world, unsigned worker)
{
    unsigned i = world->n_records++;
    struct sim_record *record = &world->records[i];
    bool newest = world->options.policy == ONEROW_POLICY_NEWEST;
    memset(record, 0, sizeof *record);
    record->worker = (uint8_t)worker;
    record->key = (uint8_t)sim_between(&world->rng, 1, world->n_keys);
    record->content = (uint8_t)sim_between(&world->rng, 1, 6);
    record->order = newest ? record->content % 4 : 0;
    record->payload.text = sim_record_text(i);
    record->payload.order = sim_order(record->order);
    sim_value_fingerprint(world, i + 1, record->payload.fingerprint);
    record->refused = sim_inject(world, &world->rng, SIM_REFUSAL, SIM_LANE_WORKER, worker);
}

static void draw_clock(struct sim_world *world, unsigned i)
{
    struct sim_worker *worker = &world->workers[i];
    worker->ahead_us = sim_below(&world->rng, 1000000) * SIM_SECOND;
    if (sim_inject(world, &world->rng, SIM_CLOCK, SIM_LANE_WORKER, i)) {
        int32_t most = world->bounded ? 100 : 30000;
        worker->drift = (int32_t)sim_scale(world->size, 2U * (unsigned)most) - most;
    }
}

static void draw_worker(struct sim_world *world, unsigned i, unsigned n_records)
{
    struct sim_worker *worker = &world->workers[i];
    memset(worker, 0, offsetof(struct sim_worker, command));
    worker->rng = sim_rng_of(world->config->seed, i + 1U);
    worker->process =
        (uint8_t)(i == SIM_JANITOR ? SIM_JANITOR : sim_below(&world->rng, world->n_processes));
    worker->first = worker->next = (uint8_t)world->n_records;
    worker->n_records = (uint8_t)n_records;
    draw_clock(world, i);
    for (unsigned n = 0; n < n_records; n++) {
        draw_record(world, i);
    }
    sim_worker_plan(world, i, SIM_EVENT_START, sim_below(&worker->rng, 15) * SIM_SECOND);
}

void sim_swarm_draw(struct sim_world *world)
{
    const struct sim_config *config = world->config;
    draw_faults(world);
    draw_limits(world);
    draw_options(world);
    world->n_workers = number_or(world, config->workers, 2, 4);
    world->n_keys = number_or(world, config->keys, 1, 2);
    world->n_processes = number_or(world, config->processes, 1, world->n_workers);
    memset(world->processes, 0, sizeof world->processes);
    draw_governor(world);
    memset(world->ledger.keys, 0, sizeof *world->ledger.keys * (world->n_keys + 1));
    memset(world->ledger.leases, 0, sizeof *world->ledger.leases * (world->n_keys + 1));
    for (unsigned i = 0; i < world->n_workers; i++) {
        draw_worker(world, i, (unsigned)sim_between(&world->rng, 1, SIM_PER_WORKER));
    }
    draw_worker(world, SIM_JANITOR, 0);
    bool sweeps = sim_one_in(&world->rng, 2); /* while the others work */
    world->workers[SIM_JANITOR].finished = !sweeps || !world->core;
    sim_plan(world, world->calm_at, SIM_EVENT_CALM, 0, 0);
}
