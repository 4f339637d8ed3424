/* SPDX-License-Identifier: Apache-2.0
 *
 * The worker that sweeps and heals: in half of the schedules while the others work, at whatever it
 * draws, and in all of them at the end, until nothing is left to do.
 */
#include <string.h>

#include "sim/parts.h"

#define PASSES_MAX 24U /* of the final phase; more would go on for ever */

static struct sim_worker *janitor(struct sim_world *world)
{
    return &world->workers[SIM_JANITOR];
}

static void rest(struct sim_world *world, uint64_t delay)
{
    struct sim_worker *worker = janitor(world);
    worker->job = SIM_JOB_NONE;
    worker->epoch++;
    sim_worker_plan(world, SIM_JANITOR, SIM_EVENT_START, delay);
}

/* A blank that is old enough to be swept, from page `from` on; SIM_PAGES_MAX: there is none. At the
 * end those that are bound are left out: they are no blanks to the ledger. */
static unsigned find_blank(const struct sim_world *world, unsigned from)
{
    bool at_end = world->phase == SIM_PHASE_BLANKS;
    for (unsigned i = from; i < world->n_pages; i++) {
        const struct sim_page *page = &world->pages[i];
        bool old = page->created_ms + world->options.bounds.request < sim_store_ms(world);
        bool bound = world->ledger.pages[i].state == OR_PAGE_BOUND;
        if (page->blank_title && !page->trashed && old && !(bound && at_end)) {
            return i;
        }
    }
    return SIM_PAGES_MAX;
}

/* ---- while the others work --------------------------------------------------------------------
 */

static void work_along(struct sim_world *world)
{
    struct sim_worker *worker = janitor(world);
    unsigned blank = find_blank(world, (unsigned)sim_below(&worker->rng, world->n_pages + 1U));
    unsigned job = (unsigned)sim_below(&worker->rng, 4);
    worker->key = (uint8_t)sim_between(&worker->rng, 1, world->n_keys);
    if (job < 2 && blank < SIM_PAGES_MAX) {
        worker->page = (uint8_t)blank;
        worker->key = 0;
        sim_worker_begin(world, SIM_JANITOR, SIM_JOB_SWEEP);
    } else {
        sim_worker_begin(world, SIM_JANITOR, job == 2 ? SIM_JOB_RESOLVE : SIM_JOB_HEAL);
    }
}

/* ---- the final phase
 * -----------------------------------------------------------------------------
 */

static void close_blanks(struct sim_world *world)
{
    struct sim_worker *worker = janitor(world);
    unsigned blank = find_blank(world, 0);
    if (blank == SIM_PAGES_MAX) {
        worker->job = SIM_JOB_NONE;
        worker->finished = true;
    } else if (++worker->passes > SIM_PAGES_MAX) {
        sim_violate(world, SIM_VIOLATION_ENDLESS);
    } else {
        worker->page = (uint8_t)blank;
        sim_worker_begin(world, SIM_JANITOR, SIM_JOB_SWEEP);
    }
}

static void close_next_key(struct sim_world *world)
{
    struct sim_worker *worker = janitor(world);
    worker->passes = 0;
    if (worker->key < world->n_keys) {
        worker->key++;
        sim_worker_begin(world, SIM_JANITOR, SIM_JOB_RESOLVE);
    } else {
        worker->key = SIM_KEY_NONE;
        world->phase = SIM_PHASE_BLANKS;
        close_blanks(world);
    }
}

/* Settles what is pending, then heals, and that again until there is nothing to do. */
static void close_keys(struct sim_world *world)
{
    struct sim_worker *worker = janitor(world);
    if (worker->job == SIM_JOB_RESOLVE) {
        sim_worker_begin(world, SIM_JANITOR, SIM_JOB_HEAL);
    } else if (worker->job == SIM_JOB_NONE) {
        close_next_key(world);
    } else if (++worker->passes > PASSES_MAX) {
        sim_violate(world, SIM_VIOLATION_ENDLESS);
    } else {
        sim_worker_begin(world, SIM_JANITOR, SIM_JOB_RESOLVE);
    }
}

void sim_janitor_next(struct sim_world *world)
{
    struct sim_worker *worker = janitor(world);
    if (world->phase == SIM_PHASE_KEYS) {
        close_keys(world);
    } else if (world->phase == SIM_PHASE_BLANKS) {
        close_blanks(world);
    } else if (worker->finished || world->now >= world->calm_at) {
        worker->finished = true;
        worker->job = SIM_JOB_NONE;
    } else {
        work_along(world);
    }
}

void sim_janitor_close(struct sim_world *world)
{
    struct sim_worker *worker = janitor(world);
    world->phase = SIM_PHASE_KEYS;
    worker->finished = false;
    worker->key = SIM_KEY_NONE;
    rest(world, 70U * SIM_SECOND); /* until queries see what is */
}

/* ---- what came of it ----------------------------------------------------------------------------
 */

/* Its last swap was the one that ended the doubt. */
static void notice_doubt(struct sim_world *world, const struct or_heal *heal)
{
    bool ended = heal->key.state == OR_KEY_DONE && heal->key.doubtful && !heal->swap.keep_key &&
                 heal->swap.revision == heal->key.revision;
    SOMETIMES(world, HEAL_CLEARED, ended && heal->swap.becomes.state == OR_KEY_DONE);
    SOMETIMES(world, HEAL_REOPENED, ended && heal->swap.becomes.state == OR_KEY_WRITING);
}

static void notice(struct sim_world *world, const struct sim_worker *worker)
{
    const struct or_heal *heal = &worker->as.heal;
    switch ((enum sim_job)worker->job) {
    case SIM_JOB_RESOLVE: SOMETIMES(world, RESOLVED, worker->as.attempt.written.number); return;
    case SIM_JOB_SWEEP:
        SOMETIMES(world, SWEPT, worker->as.sweep.swept);
        SOMETIMES(world, SWEEP_BOUND, worker->as.sweep.record.state == OR_PAGE_BOUND);
        return;
    case SIM_JOB_HEAL:
        SOMETIMES(world, HEAL_TRASHED, heal->trashed);
        SOMETIMES(world, HEAL_MOVED, heal->moved);
        SOMETIMES(world, HEAL_ADOPTED, heal->adopted);
        notice_doubt(world, heal);
        return;
    default: return;
    }
}

/* BOUND to a payload that the store refuses: only a record of its own could take its place. */
static bool is_stuck(const struct sim_world *world, const struct or_key_record *key)
{
    return key->state == OR_KEY_BOUND && world->records[sim_value_of(&key->pending) - 1].refused;
}

/* Whether another pass over the key may do more. */
static bool is_healed(const struct sim_world *world, const struct sim_worker *worker)
{
    const struct or_heal *heal = &worker->as.heal;
    return !heal->trashed && !heal->moved && !heal->adopted && !heal->doubtful && !heal->gave_up &&
           (!heal->pending || is_stuck(world, &world->ledger.keys[worker->key]));
}

void sim_janitor_settled(struct sim_world *world)
{
    struct sim_worker *worker = janitor(world);
    uint64_t delay = 100U * SIM_MS;
    notice(world, worker);
    if (world->phase == SIM_PHASE_WORK) {
        rest(world, 2U * SIM_SECOND + sim_below(&worker->rng, 30) * SIM_SECOND);
        return;
    }
    if (worker->job == SIM_JOB_HEAL && !is_healed(world, worker)) {
        delay = 20U * SIM_SECOND; /* something may be too early */
    } else if (worker->job != SIM_JOB_RESOLVE) {
        worker->job = SIM_JOB_NONE;
    }
    worker->epoch++;
    sim_worker_plan(world, SIM_JANITOR, SIM_EVENT_START, delay);
}
