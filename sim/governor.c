/* SPDX-License-Identifier: Apache-2.0
 *
 * How fast a process may be, and when it stops: the core's breaker and its rate windows, asked
 * before each request to the store. A peer of what the engine's drivers do.
 *
 *   command ─> breaker ─┬─ wait: ask again then
 *                       └─ go, or probe ─> windows ─┬─ wait: ask again then, without the probe
 *                                                   └─ a permit ─> last check ─┬─> send ─> tell
 *                                                                              └─> give it back
 *
 * A permit is for one send. One that is not used is given back if it is the latest, for the windows
 * know no other; otherwise it is spent. A probe that is not sent is given back, too, so that
 * another call may go ahead in its place. A probe without an answer is not told at all: it is lost
 * in time.
 *
 * A process has a clock of its own. It forgets everything when it dies.
 */
#include "sim/parts.h"

uint64_t sim_process_us(const struct sim_world *world, unsigned process)
{
    return world->governors[process].ahead_us + world->now;
}

static uint64_t local_ms(const struct sim_world *world, const struct sim_worker *worker)
{
    return sim_process_us(world, worker->process) / SIM_MS;
}

static struct sim_governor *governor_of(struct sim_world *world, const struct sim_worker *worker)
{
    return &world->governors[worker->process];
}

void sim_governor_begin(struct sim_world *world, unsigned process)
{
    struct sim_governor *governor = &world->governors[process];
    governor->granted = 0;
    or_breaker_init(&governor->breaker, &world->breaker, world->probe_first);
    or_windows_init(&governor->windows, world->windows, world->n_windows);
}

static void give_probe_back(struct sim_governor *governor, struct sim_worker *worker,
                            uint64_t now_ms)
{
    if (worker->probe) {
        or_breaker_give_back(&governor->breaker, worker->probe, now_ms);
        worker->probe = 0;
    }
}

enum sim_permission sim_governor_ask(struct sim_world *world, unsigned i, uint64_t *delay)
{
    struct sim_worker *worker = &world->workers[i];
    struct sim_governor *governor = governor_of(world, worker);
    uint64_t now_us = sim_process_us(world, worker->process);
    uint64_t now_ms = now_us / SIM_MS;
    uint64_t until_ms = 0;
    enum sim_permission permission = SIM_PERMITTED;
    enum or_breaker_answer answer = or_breaker_ask(&governor->breaker, now_ms, &until_ms);
    worker->probe = answer == OR_BREAKER_PROBE ? governor->breaker.probe : 0;
    if (answer == OR_BREAKER_WAIT) {
        permission = SIM_HELD_BY_BREAKER;
    } else if (!or_windows_take(&governor->windows, now_ms, &until_ms)) {
        permission = SIM_HELD_BY_WINDOWS;
        give_probe_back(governor, worker, now_ms);
    } else {
        worker->permit = ++governor->granted;
    }
    *delay = until_ms * SIM_MS > now_us ? until_ms * SIM_MS - now_us : 0;
    return permission;
}

void sim_governor_unsent(struct sim_world *world, unsigned i)
{
    struct sim_worker *worker = &world->workers[i];
    struct sim_governor *governor = governor_of(world, worker);
    give_probe_back(governor, worker, local_ms(world, worker));
    if (worker->permit == governor->granted) {
        or_windows_give_back(&governor->windows);
        governor->granted--;
    }
    worker->permit = 0;
}

void sim_governor_sent(struct sim_world *world, unsigned i)
{
    struct sim_worker *worker = &world->workers[i];
    worker->calls = worker->permit != 0;
    worker->permit = 0;
}

void sim_governor_tell(struct sim_world *world, unsigned i, const struct or_event *event)
{
    struct sim_worker *worker = &world->workers[i];
    struct sim_governor *governor = governor_of(world, worker);
    uint64_t now_ms = local_ms(world, worker);
    bool conflict = event->answer == OR_ANSWER_CONFLICT;
    enum or_breaker_result result = conflict ? OR_BREAKER_CONFLICT : OR_BREAKER_OK;
    if (worker->probe) {
        or_breaker_tell_probe(&governor->breaker, worker->probe, result, now_ms);
    } else {
        or_breaker_tell(&governor->breaker, result, now_ms);
    }
    if (event->answer == OR_ANSWER_RATE && event->retry_after_ms) { /* times are cut: one more */
        or_windows_block(&governor->windows, now_ms + event->retry_after_ms + 1);
    }
    worker->calls = false;
}

void sim_governor_silence(struct sim_world *world, unsigned i)
{
    struct sim_worker *worker = &world->workers[i];
    if (!worker->probe) {
        or_breaker_tell(&governor_of(world, worker)->breaker, OR_BREAKER_OK,
                        local_ms(world, worker));
    }
    worker->calls = false;
}
