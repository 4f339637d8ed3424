/* SPDX-License-Identifier: Apache-2.0
 *
 * One schedule, from its seed to its end: work under faults, calm, rest.
 */
#include "sim/parts.h"

static void calm(struct sim_world *world)
{
    world->active = 0;
    world->limited_until = 0;
    world->ledger.down_until = 0;
}

static void dispatch_worker(struct sim_world *world, const struct sim_planned *event)
{
    unsigned i = event->which;
    if (world->workers[i].epoch != event->epoch) {
        return; /* it does something else by now */
    }
    switch ((enum sim_event_kind)event->kind) {
    case SIM_EVENT_START: sim_worker_start(world, i); return;
    case SIM_EVENT_WAKE: sim_worker_wake(world, i); return;
    case SIM_EVENT_ASK: sim_worker_ask(world, i); return;
    case SIM_EVENT_SEND: sim_worker_send(world, i); return;
    case SIM_EVENT_CHECK: sim_worker_check(world, i); return;
    default: sim_worker_deadline(world, i); return;
    }
}

static void dispatch(struct sim_world *world, const struct sim_planned *event)
{
    switch ((enum sim_event_kind)event->kind) {
    case SIM_EVENT_ARRIVE: sim_network_arrive(world, event->which); return;
    case SIM_EVENT_REPLY: sim_network_reply(world, event->which); return;
    case SIM_EVENT_CALM: calm(world); return;
    default: dispatch_worker(world, event); return;
    }
}

void sim_run_events(struct sim_world *world)
{
    struct sim_planned event;
    while (!sim_violated(world) && sim_next_event(world, &event)) {
        if (world->result->events > SIM_EVENTS_MAX ||
            world->now > world->calm_at + SIM_ENDLESS_AFTER) {
            sim_violate(world, SIM_VIOLATION_ENDLESS);
            return;
        }
        dispatch(world, &event);
    }
}

static void finish(struct sim_world *world)
{
    for (unsigned i = 0; i < world->n_workers; i++) {
        sim_digest(world, world->workers[i].rng.state);
    }
    sim_digest(world, world->rng.state);
    sim_digest(world, world->result->violation);
    world->result->digest = world->digest;
}

void sim_run(const struct sim_config *config, struct sim_result *result, sim_watch *watch,
             void *context)
{
    static _Thread_local struct sim_world world;
    sim_world_init(&world, config, result, watch, context);
    sim_swarm_draw(&world);
    sim_run_events(&world);
    if (world.core && !sim_violated(&world)) {
        sim_janitor_close(&world);
        sim_run_events(&world);
    }
    if (!sim_violated(&world)) {
        sim_oracle_end(&world);
    }
    finish(&world);
}
