/* SPDX-License-Identifier: Apache-2.0
 *
 * Whether each process keeps its rate windows and its breaker. Told of every permit, every send and
 * every answer, it keeps books of its own, and knows nothing of how the core keeps them:
 *
 *  - a log of grants: none of the intervals that end with a grant holds more than COUNT of those
 *    that were sent or may yet be; and whoever must wait has a full window, or Retry-After, to
 * blame
 *  - the last calls' results since the breaker was last closed: after too many conflicts nothing is
 *    granted before the cool time is over, then one call, and nothing beside it until its result
 *  - each request has one permit, and each permit at most one request
 *
 * Windows and Retry-After are counted in microseconds, the breaker in the milliseconds in which its
 * times are meant.
 */
#include <string.h>

#include "sim/parts.h"

static uint64_t local_ms(const struct sim_world *world, unsigned process)
{
    return sim_process_us(world, process) / SIM_MS;
}

static struct sim_pace *pace_of(struct sim_world *world, unsigned i)
{
    return &world->paces[world->workers[i].process];
}

static bool has(uint16_t bits, unsigned worker)
{
    return bits >> worker & 1U;
}

static void set(uint16_t *bits, unsigned worker, bool value)
{
    *bits = (uint16_t)((*bits & ~(1U << worker)) | (unsigned)value << worker);
}

void sim_oracle_begins(struct sim_world *world, unsigned process)
{
    struct sim_pace *pace = &world->paces[process];
    pace->n_grants = 0;
    pace->n_calls = 0;
    pace->permits = pace->probers = 0;
    pace->not_before_us = 0;
    pace->open = world->probe_first;
    pace->probe = 0;
    pace->until_ms = 0;
    pace->cool_ms = world->breaker.cool_ms;
}

/* ---- windows -----------------------------------------------------------------------------------
 */

/* How many grants of the last `span` µs there are, with those that were not sent or without. */
static unsigned grants_within(const struct sim_pace *pace, uint64_t now_us, uint64_t span,
                              bool unsent_too)
{
    unsigned n = 0;
    unsigned held = pace->n_grants < SIM_GRANTS ? pace->n_grants : SIM_GRANTS;
    for (unsigned back = 1; back <= held; back++) {
        const struct sim_grant *grant = &pace->grants[(pace->n_grants - back) % SIM_GRANTS];
        if (now_us - grant->at_us > span) {
            break;
        }
        n += unsent_too || !grant->unsent;
    }
    return n;
}

static void log_grant(struct sim_world *world, struct sim_pace *pace, unsigned i, uint64_t now_us)
{
    pace->grants[pace->n_grants++ % SIM_GRANTS] =
        (struct sim_grant){.at_us = now_us, .worker = (uint8_t)i};
    for (unsigned k = 0; k < world->n_windows; k++) {
        const struct or_window *window = &world->windows[k];
        if (grants_within(pace, now_us, window->span_ms * SIM_MS, false) > window->count) {
            sim_violate(world, SIM_VIOLATION_WINDOW);
        }
    }
}

/* It asks the store for nothing: the latest was given back, any other one is spent. */
static void withdraw_grant(struct sim_world *world, struct sim_pace *pace, unsigned i)
{
    unsigned at = pace->n_grants - 1;
    while (pace->grants[at % SIM_GRANTS].worker != i) {
        at--;
    }
    bool latest = at == pace->n_grants - 1;
    pace->grants[at % SIM_GRANTS].unsent = true;
    pace->n_grants -= latest;
    SOMETIMES(world, PERMIT_RETURNED, latest);
    SOMETIMES(world, PERMIT_SPENT, !latest);
}

/* Times are cut to milliseconds: the last one of a wait may be for nothing. */
static bool a_window_is_full(const struct sim_world *world, const struct sim_pace *pace,
                             uint64_t now_us)
{
    for (unsigned k = 0; k < world->n_windows; k++) {
        const struct or_window *window = &world->windows[k];
        if (grants_within(pace, now_us, window->span_ms * SIM_MS + SIM_MS, true) >= window->count) {
            return true;
        }
    }
    return false;
}

static void held_by_windows(struct sim_world *world, const struct sim_pace *pace, unsigned i)
{
    const struct sim_worker *worker = &world->workers[i];
    uint64_t now_us = sim_process_us(world, worker->process);
    bool told = now_us < pace->not_before_us + SIM_MS;
    bool full = a_window_is_full(world, pace, now_us);
    if (!told && !full) {
        sim_violate(world, SIM_VIOLATION_NEEDLESS);
    }
    SOMETIMES(world, WINDOW_WAIT, full);
    SOMETIMES(world, RETRY_AFTER_SHARED,
              told && !full && worker->not_before_ms <= sim_local_ms(world, worker));
}

/* ---- the breaker -------------------------------------------------------------------------------
 */

static void open_breaker(struct sim_world *world, struct sim_pace *pace, uint64_t from_ms)
{
    uint64_t longest = world->breaker.cool_max_ms;
    pace->open = true;
    pace->probe = 0;
    pace->until_ms = from_ms + pace->cool_ms;
    pace->cool_ms = pace->cool_ms < longest / 2 ? pace->cool_ms * 2 : longest;
}

static void lose_probe(struct sim_world *world, struct sim_pace *pace, uint64_t now_ms)
{
    if (pace->probe && now_ms >= pace->probe_until_ms) {
        open_breaker(world, pace, pace->probe_until_ms);
        sim_reach(world, SIM_PLACE_PROBE_LOST);
    }
}

static void grant_call(struct sim_world *world, struct sim_pace *pace, unsigned i, uint64_t now_ms)
{
    lose_probe(world, pace, now_ms);
    set(&pace->probers, i, pace->open);
    if (!pace->open) {
        return;
    }
    if (pace->probe || now_ms < pace->until_ms) {
        sim_violate(world, SIM_VIOLATION_BREAKER);
    }
    pace->probe = (uint8_t)(i + 1);
    pace->probe_until_ms = now_ms + world->breaker.probe_ms;
}

static void held_by_breaker(struct sim_world *world, struct sim_pace *pace, uint64_t now_ms)
{
    lose_probe(world, pace, now_ms);
    if (!pace->open || (!pace->probe && now_ms >= pace->until_ms)) {
        sim_violate(world, SIM_VIOLATION_NEEDLESS);
    }
}

/* A probe that was lost says nothing more. */
static void probe_result(struct sim_world *world, struct sim_pace *pace, unsigned i, bool conflict,
                         uint64_t now_ms)
{
    if (pace->probe != i + 1) {
        return;
    }
    if (conflict) {
        open_breaker(world, pace, now_ms);
    } else {
        pace->open = false;
        pace->probe = 0;
        pace->n_calls = 0;
        pace->cool_ms = world->breaker.cool_ms;
    }
    SOMETIMES(world, PROBE_FAILED, conflict);
    SOMETIMES(world, BREAKER_CLOSED, !conflict);
}

static void call_result(struct sim_world *world, struct sim_pace *pace, bool conflict,
                        uint64_t now_ms)
{
    if (pace->open) {
        return; /* it was sent into what made it open */
    }
    pace->conflicts[pace->n_calls++ % OR_BREAKER_CALLS] = conflict;
    unsigned held = pace->n_calls < OR_BREAKER_CALLS ? pace->n_calls : OR_BREAKER_CALLS;
    unsigned met = 0;
    for (unsigned k = 0; k < held; k++) {
        met += pace->conflicts[k];
    }
    if (held >= world->breaker.least && met * 100 > held * world->breaker.percent) {
        open_breaker(world, pace, now_ms);
        sim_reach(world, SIM_PLACE_BREAKER_OPENED);
    }
}

/* ---- what happens ------------------------------------------------------------------------------
 */

void sim_oracle_granted(struct sim_world *world, unsigned i)
{
    struct sim_pace *pace = pace_of(world, i);
    unsigned process = world->workers[i].process;
    uint64_t now_us = sim_process_us(world, process);
    if (has(pace->permits, i)) {
        sim_violate(world, SIM_VIOLATION_PERMIT);
    }
    if (now_us < pace->not_before_us) {
        sim_violate(world, SIM_VIOLATION_BLOCKED);
    }
    set(&pace->permits, i, true);
    log_grant(world, pace, i, now_us);
    grant_call(world, pace, i, now_us / SIM_MS);
}

void sim_oracle_held(struct sim_world *world, unsigned i, enum sim_permission permission)
{
    struct sim_pace *pace = pace_of(world, i);
    if (permission == SIM_HELD_BY_BREAKER) {
        held_by_breaker(world, pace, local_ms(world, world->workers[i].process));
    } else {
        held_by_windows(world, pace, i);
    }
}

void sim_oracle_permit_used(struct sim_world *world, unsigned i)
{
    struct sim_pace *pace = pace_of(world, i);
    if (!has(pace->permits, i)) {
        sim_violate(world, SIM_VIOLATION_PERMIT);
    }
    set(&pace->permits, i, false);
}

void sim_oracle_unsent(struct sim_world *world, unsigned i)
{
    struct sim_pace *pace = pace_of(world, i);
    lose_probe(world, pace, local_ms(world, world->workers[i].process));
    set(&pace->permits, i, false);
    withdraw_grant(world, pace, i);
    if (pace->probe == i + 1) {
        pace->probe = 0;
        sim_reach(world, SIM_PLACE_PROBE_RETURNED);
    }
}

void sim_oracle_told(struct sim_world *world, unsigned i, const struct or_event *event)
{
    struct sim_pace *pace = pace_of(world, i);
    uint64_t now_us = sim_process_us(world, world->workers[i].process);
    bool conflict = event && event->answer == OR_ANSWER_CONFLICT;
    lose_probe(world, pace, now_us / SIM_MS);
    if (!has(pace->probers, i)) {
        call_result(world, pace, conflict, now_us / SIM_MS);
    } else if (event) { /* a probe without an answer is out until it is lost */
        probe_result(world, pace, i, conflict, now_us / SIM_MS);
    }
    if (event && event->answer == OR_ANSWER_RATE && event->retry_after_ms) {
        uint64_t until_us = now_us + event->retry_after_ms * SIM_MS;
        pace->not_before_us = until_us > pace->not_before_us ? until_us : pace->not_before_us;
    }
}
