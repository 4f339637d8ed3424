/* SPDX-License-Identifier: Apache-2.0
 *
 * The driver: performs the commands of a step function, one at a time, and gives it the answers. A
 * peer of the engine's drivers, in a world where a worker may stand still or die at every step.
 *
 *   START ─> step ─> command ─┬─ SETTLE ─> the next record
 *              ^              ├─ WAIT ────> WAKE ───────────────────────────────────────┐
 *              │              └─ permit ─> [pause] ─> check ─> [pause] ─> send ─> answer ┤
 *              └─────────────────────────────────────────────────────────────────────────┘
 *
 * Permits are the governor's, for requests to the store; waiting for one may take long. So the
 * check, which is the driver's own, comes after it: what has a deadline is not sent from then on. A
 * pause before it is harmless; one after it is what P is for.
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
    if (!sim_network_to_ledger(world->workers[i].command.what)) {
        sim_governor_sent(world, i);
    }
    sim_network_send(world, i);
}

static void drop_permit(struct sim_world *world, unsigned i)
{
    if (world->workers[i].permit) {
        sim_governor_unsent(world, i);
        sim_oracle_unsent(world, i);
    }
}

static void leave_unsent(struct sim_world *world, unsigned i)
{
    bool keyed = world->workers[i].command.what == OR_DO_CREATE_KEYED;
    struct or_event event = {.answer = OR_ANSWER_FAILED};
    SOMETIMES(world, INTENT_UNSENT, keyed);
    SOMETIMES(world, WRITE_UNSENT, !keyed);
    drop_permit(world, i);
    step(world, i, &event);
}

static bool is_too_late(const struct sim_world *world, unsigned i)
{
    const struct or_command *command = &world->workers[i].command;
    return command->deadline_ms && sim_local_ms(world, &world->workers[i]) >= command->deadline_ms;
}

static void check(struct sim_world *world, unsigned i)
{
    if (is_too_late(world, i)) {
        leave_unsent(world, i);
    } else if (!pauses(world, i, SIM_EVENT_SEND)) {
        send(world, i);
    }
}

/* Before the check. An announced write does so only now and then, or few would be left to be late
 * after it. */
static bool pauses_early(struct sim_world *world, unsigned i)
{
    struct sim_worker *worker = &world->workers[i];
    bool keyed = worker->command.what == OR_DO_CREATE_KEYED;
    bool may = keyed || (worker->command.deadline_ms && sim_one_in(&worker->rng, 4));
    return may && pauses(world, i, SIM_EVENT_CHECK);
}

/* The command is on its way, if nothing comes between. */
static void go(struct sim_world *world, unsigned i)
{
    struct sim_worker *worker = &world->workers[i];
    if (crashes(world, i)) {
        world->crashes++;
        if ((world->size & 1U) && !is_too_late(world, i)) {
            send(world, i);
        }
        sim_process_crash(world, worker->process);
    } else if (!pauses_early(world, i)) {
        check(world, i);
    }
}

/* An intent's create has a short deadline. If its permit were asked for only afterwards, a slow
 * window would let one intent after the other grow too old for its create, and each new one would
 * refuse whatever others have found out and want to swap. */
static bool needs_permit(const struct or_command *command)
{
    return !sim_network_to_ledger(command->what) ||
           (command->what == OR_DO_SWAP && command->swap->becomes.state == OR_KEY_INTENT);
}

static void perform(struct sim_world *world, unsigned i)
{
    struct sim_worker *worker = &world->workers[i];
    const struct or_command *command = &worker->command;
    if (command->what == OR_DO_SETTLE) {
        drop_permit(world, i);
        settle(world, i);
    } else if (command->what == OR_DO_WAIT) {
        drop_permit(world, i);
        worker->epoch++;
        sim_worker_plan(world, i, SIM_EVENT_WAKE, local_delay(worker, command->wait_ms));
    } else if (world->governed && !worker->permit && needs_permit(command)) {
        sim_worker_ask(world, i);
    } else {
        go(world, i);
    }
}

/* ---- events -------------------------------------------------------------------------------------
 */

void sim_worker_ask(struct sim_world *world, unsigned i)
{
    struct sim_worker *worker = &world->workers[i];
    uint64_t delay = 0;
    enum sim_permission permission = sim_governor_ask(world, i, &delay);
    if (permission == SIM_PERMITTED) {
        sim_oracle_granted(world, i);
        go(world, i);
        return;
    }
    sim_oracle_held(world, i, permission);
    sim_say(world, SIM_LANE_WORKER, i, "waits for the %s",
            permission == SIM_HELD_BY_BREAKER ? "breaker" : "rate window");
    worker->epoch++;
    sim_worker_plan(world, i, SIM_EVENT_ASK, delay);
}

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

static void take_answer(struct sim_world *world, unsigned i, struct or_event *event)
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

void sim_worker_answer(struct sim_world *world, unsigned i, struct or_event *event)
{
    if (world->workers[i].calls) {
        sim_governor_tell(world, i, event);
        sim_oracle_told(world, i, event);
    }
    take_answer(world, i, event);
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
    if (worker->calls) {
        sim_governor_silence(world, i);
        sim_oracle_told(world, i, NULL);
    }
    take_answer(world, i, &event);
}
