/* SPDX-License-Identifier: Apache-2.0
 *
 * The driver: performs the commands of a step function, one at a time, and gives it the answers. A
 * peer of the engine's drivers, in a world where a worker may stand still or die at every step.
 *
 *   START ─> step ─> command ─┬─ SETTLE ─> the next record
 *              ^              ├─ WAIT ────> WAKE ──────────────────────────────┐
 *              │              └─ [pause] ─> check ─> [pause] ─> send ─> answer ┤
 *              └───────────────────────────────────────────────────────────────┘
 *
 * The check is the driver's own: a create under an intent is not sent after its deadline. A pause
 * before it is harmless; one after it is what P is for.
 */
#include <assert.h>
#include <string.h>

#include "sim/parts.h"

void sim_worker_plan(struct sim_world *world, unsigned i, enum sim_event_kind kind, uint64_t delay)
{
    sim_plan(world, delay, kind, i, world->workers[i].epoch);
}

/* µs until the worker's own clock has gone on by this much. */
static uint64_t local_delay(const struct sim_worker *worker, uint64_t ms)
{
    uint64_t us = ms * SIM_MS;
    int64_t drift = (int64_t)(us >> 10) * worker->drift / 1024;
    int64_t squared = (int64_t)(us >> 10) * worker->drift / 1024 * worker->drift / 1048576;
    return (uint64_t)((int64_t)us - drift + squared) + SIM_MS;
}

/* ---- steps ---------------------------------------------------------------------------------- */

static void step_attempt(struct sim_world *world, unsigned i, const struct or_event *event)
{
    struct sim_worker *worker = &world->workers[i];
    struct sim_before before = sim_notice_before(&worker->as.attempt);
    or_attempt_step(&worker->as.attempt, event, &worker->command);
    sim_notice_attempt(world, i, &before, event);
}

static void perform(struct sim_world *world, unsigned i);

static void step(struct sim_world *world, unsigned i, struct or_event *event)
{
    struct sim_worker *worker = &world->workers[i];
    event->now_ms = sim_local_ms(world, worker);
    event->random = sim_next(&worker->rng);
    switch ((enum sim_job)worker->job) {
    case SIM_JOB_PUT:
    case SIM_JOB_RESOLVE: step_attempt(world, i, event); break;
    case SIM_JOB_SWEEP: or_sweep_step(&worker->as.sweep, event, &worker->command); break;
    case SIM_JOB_HEAL: or_heal_step(&worker->as.heal, event, &worker->command); break;
    case SIM_JOB_NAIVE: sim_naive_step(world, i, event, &worker->command); break;
    case SIM_JOB_NONE: assert(!"a worker without a job");
    }
    sim_digest(world, (uint64_t)worker->command.what << 32 ^ worker->command.wait_ms ^ i);
    perform(world, i);
}

/* ---- jobs -------------------------------------------------------------------------------------
 */

static void init_put(struct sim_world *world, struct sim_worker *worker)
{
    struct sim_record *record = &world->records[worker->record];
    struct onerow_span spare = sim_process_take_spare(world, worker->process);
    worker->page = spare.data ? (uint8_t)(sim_page_of(spare) + 1) : 0;
    record->taken_number = world->next_number;
    or_attempt_init(&worker->as.attempt, &world->options, sim_key_name(worker->key),
                    &record->payload, world->next_number++, spare);
}

/* The janitor gives up in time, and in the final phase never. */
static const struct or_retry_limits *janitors_limits(const struct sim_world *world)
{
    return world->phase != SIM_PHASE_WORK ? &world->patient : &world->limits;
}

static void init_resolve(struct sim_world *world, struct sim_worker *worker)
{
    struct or_attempt_options options = world->options;
    options.retry = janitors_limits(world);
    or_attempt_init(&worker->as.attempt, &options, sim_key_name(worker->key), NULL,
                    world->next_number++, (struct onerow_span){0});
}

static void init_job(struct sim_world *world, struct sim_worker *worker)
{
    switch ((enum sim_job)worker->job) {
    case SIM_JOB_PUT: init_put(world, worker); return;
    case SIM_JOB_RESOLVE: init_resolve(world, worker); return;
    case SIM_JOB_SWEEP:
        or_sweep_init(&worker->as.sweep, sim_page_id(worker->page), janitors_limits(world));
        return;
    case SIM_JOB_HEAL:
        or_heal_init(&worker->as.heal, sim_key_name(worker->key), &world->options.bounds,
                     janitors_limits(world), world->next_number++);
        return;
    case SIM_JOB_NAIVE: sim_naive_init(&worker->as.naive); return;
    case SIM_JOB_NONE: assert(!"a worker without a job");
    }
}

void sim_worker_begin(struct sim_world *world, unsigned i, enum sim_job job)
{
    struct sim_worker *worker = &world->workers[i];
    worker->job = (uint8_t)job;
    worker->probe_ok = false;
    worker->claim_ok = false;
    worker->claim = (struct or_nonce){0};
    worker->not_before_ms = 0;
    init_job(world, worker);
    struct or_event event;
    memset(&event, 0, sizeof event);
    step(world, i, &event);
}

void sim_worker_start(struct sim_world *world, unsigned i)
{
    struct sim_worker *worker = &world->workers[i];
    worker->dead = false;
    if (i == SIM_JANITOR) {
        sim_janitor_next(world);
        return;
    }
    if (worker->next == worker->first + worker->n_records) {
        worker->job = SIM_JOB_NONE;
        worker->finished = true;
        return;
    }
    worker->record = worker->next;
    worker->key = world->records[worker->record].key;
    sim_worker_begin(world, i, world->core ? SIM_JOB_PUT : SIM_JOB_NAIVE);
}

/* ---- outcomes ----------------------------------------------------------------------------------
 */

static void count(struct sim_result *result, enum onerow_outcome outcome)
{
    result->settled++;
    result->created += outcome == ONEROW_CREATED;
    result->updated += outcome == ONEROW_UPDATED;
    result->unchanged += outcome == ONEROW_UNCHANGED;
    result->rejected += outcome == ONEROW_REFUSED;
    result->unknown += outcome == ONEROW_IN_DOUBT;
}

static const char *outcome_name(enum onerow_outcome outcome)
{
    static const char *const NAMES[] = {
#define NAME(name, code, text) [code] = (text),
        ONEROW_OUTCOME_MAP(NAME)
#undef NAME
    };
    return NAMES[outcome];
}

static void settle(struct sim_world *world, unsigned i)
{
    struct sim_worker *worker = &world->workers[i];
    const struct or_command *command = &worker->command;
    if (i == SIM_JANITOR) {
        sim_janitor_settled(world);
        return;
    }
    if (worker->job == SIM_JOB_PUT) {
        sim_notice_outcome(world, &worker->as.attempt, command);
        if (command->reason == OR_REASON_TAKEN) {
            sim_oracle_taken(world, &worker->as.attempt);
        }
        sim_process_give_spare(world, worker->process, command->spare);
    }
    sim_say(world, SIM_LANE_WORKER, i, "%s%s%.3s", outcome_name(command->outcome),
            command->page.data ? ": " : "", command->page.data ? command->page.data : "");
    count(world->result, command->outcome);
    sim_oracle_outcome(world, worker->record, command->outcome, command->reason, command->page);
    worker->next++;
    worker->epoch++;
    sim_worker_plan(world, i, SIM_EVENT_START,
                    sim_below(&worker->rng, 4) * sim_below(&worker->rng, SIM_SECOND));
}

/* ---- performing --------------------------------------------------------------------------------
 */

static bool writes(enum or_do what)
{
    return what == OR_DO_CREATE || what == OR_DO_CREATE_KEYED || what == OR_DO_PUBLISH ||
           what == OR_DO_WRITE || what == OR_DO_RESTORE || what == OR_DO_TRASH ||
           what == OR_DO_MOVE_KEY;
}

static uint64_t any_pause(const struct sim_world *world)
{
    return sim_scale(world->size,
                     (world->size & 7U ? 2U : 20U) * world->options.bounds.lease * SIM_MS);
}

/* P is for pauses after the last check. Half of it was checked by the core, except for a create
 * under an intent, whose deadline is. */
static uint64_t pause_length(const struct sim_world *world, enum or_do what,
                             enum sim_event_kind then)
{
    if (!world->bounded || !writes(what) || then == SIM_EVENT_CHECK) {
        return any_pause(world);
    }
    uint64_t most = world->options.bounds.pause * SIM_MS;
    return sim_stretch(world->size, (what == OR_DO_CREATE_KEYED ? most : most / 2) * 9 / 10);
}

static bool strikes(struct sim_world *world, unsigned i)
{
    return sim_inject(world, &world->workers[i].rng, SIM_PAUSE, SIM_LANE_WORKER, i);
}

static void tell_pause(struct sim_world *world, unsigned i, uint64_t length)
{
    sim_say(world, SIM_LANE_WORKER, i, "paused for %u.%u s", (unsigned)(length / SIM_SECOND),
            (unsigned)(length / (SIM_SECOND / 10U) % 10U));
}

/* Whether the worker stands still here; it goes on with `then`. */
static bool pauses(struct sim_world *world, unsigned i, enum sim_event_kind then)
{
    struct sim_worker *worker = &world->workers[i];
    if (!strikes(world, i)) {
        return false;
    }
    uint64_t length = pause_length(world, worker->command.what, then);
    tell_pause(world, i, length);
    worker->epoch++;
    sim_worker_plan(world, i, then, length);
    return true;
}

bool sim_worker_sleeps(struct sim_world *world, unsigned i, uint64_t *delay)
{
    if (!sim_one_in(&world->workers[i].rng, 4) || !strikes(world, i)) {
        return false;
    }
    *delay = any_pause(world);
    tell_pause(world, i, *delay);
    return true;
}

static bool crashes(struct sim_world *world, unsigned i)
{
    struct sim_worker *worker = &world->workers[i];
    return i != SIM_JANITOR && world->crashes < SIM_CRASHES_MAX &&
           sim_inject(world, &worker->rng, SIM_CRASH, SIM_LANE_WORKER, i);
}

static void send(struct sim_world *world, unsigned i)
{
    sim_oracle_send(world, i);
    sim_network_send(world, i);
}

static void check(struct sim_world *world, unsigned i)
{
    const struct sim_worker *worker = &world->workers[i];
    bool keyed = worker->command.what == OR_DO_CREATE_KEYED && worker->job == SIM_JOB_PUT;
    if (keyed && sim_local_ms(world, worker) >= worker->command.deadline_ms) {
        struct or_event event = {.answer = OR_ANSWER_FAILED};
        sim_reach(world, SIM_PLACE_INTENT_UNSENT);
        step(world, i, &event);
    } else if (!pauses(world, i, SIM_EVENT_SEND)) {
        send(world, i);
    }
}

static void perform(struct sim_world *world, unsigned i)
{
    struct sim_worker *worker = &world->workers[i];
    const struct or_command *command = &worker->command;
    if (command->what == OR_DO_SETTLE) {
        settle(world, i);
    } else if (command->what == OR_DO_WAIT) {
        worker->epoch++;
        sim_worker_plan(world, i, SIM_EVENT_WAKE, local_delay(worker, command->wait_ms));
    } else if (crashes(world, i)) {
        world->crashes++;
        if (world->size & 1U) {
            send(world, i);
        }
        sim_process_crash(world, worker->process);
    } else if (command->what != OR_DO_CREATE_KEYED || !pauses(world, i, SIM_EVENT_CHECK)) {
        check(world, i);
    }
}

/* ---- events -------------------------------------------------------------------------------------
 */

void sim_worker_check(struct sim_world *world, unsigned i)
{
    check(world, i);
}

void sim_worker_send(struct sim_world *world, unsigned i)
{
    send(world, i);
}

void sim_worker_wake(struct sim_world *world, unsigned i)
{
    struct or_event event;
    memset(&event, 0, sizeof event);
    step(world, i, &event);
}

void sim_worker_answer(struct sim_world *world, unsigned i, struct or_event *event)
{
    struct sim_worker *worker = &world->workers[i];
    worker->waits = false;
    worker->epoch++;
    if (worker->command.what == OR_DO_PROBE) {
        worker->probe_ok = event->answer == OR_ANSWER_OK;
    }
    if (event->answer == OR_ANSWER_RATE && event->retry_after_ms) {
        worker->not_before_ms = sim_local_ms(world, worker) + event->retry_after_ms;
    }
    sim_notice_answer(world, i, event);
    step(world, i, event);
}

/* No answer: of what only looks that is a failure, of everything else a doubt. */
void sim_worker_deadline(struct sim_world *world, unsigned i)
{
    const struct sim_worker *worker = &world->workers[i];
    enum or_do what = worker->command.what;
    bool looks = what == OR_DO_READ || what == OR_DO_PROBE || what == OR_DO_GET;
    struct or_event event;
    memset(&event, 0, sizeof event);
    event.answer = looks ? OR_ANSWER_FAILED : OR_ANSWER_UNCERTAIN;
    sim_worker_answer(world, i, &event);
}
