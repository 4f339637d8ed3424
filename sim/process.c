/* SPDX-License-Identifier: Apache-2.0
 *
 * Processes: what their workers share, and lose together. Requests on their way live on.
 */
#include <string.h>

#include "sim/parts.h"

static void kill_worker(struct sim_world *world, unsigned i, uint64_t until)
{
    struct sim_worker *worker = &world->workers[i];
    if (worker->job != SIM_JOB_NONE && worker->next != worker->first + worker->n_records &&
        worker->record == worker->next) {
        struct sim_record *record = &world->records[worker->record];
        sim_notice_crash(world, worker);
        record->crashed = true;
        if (!world->reruns && sim_one_in(&worker->rng, 2)) {
            record->abandoned = true;
            worker->next++;
        }
    }
    sim_say(world, SIM_LANE_WORKER, i, "dies");
    worker->dead = true;
    worker->waits = false;
    worker->job = SIM_JOB_NONE;
    worker->permit = 0;
    worker->calls = false;
    worker->epoch++;
    sim_worker_plan(world, i, SIM_EVENT_START, until);
}

void sim_process_begin(struct sim_world *world, unsigned process)
{
    if (world->governed) {
        sim_governor_begin(world, process);
        sim_oracle_begins(world, process);
    }
}

void sim_process_crash(struct sim_world *world, unsigned process)
{
    uint64_t until = SIM_SECOND + sim_scale(world->size, 40U * SIM_SECOND);
    memset(&world->processes[process], 0, sizeof world->processes[process]);
    sim_process_begin(world, process);
    for (unsigned i = 0; i < world->n_workers; i++) {
        if (world->workers[i].process == process) {
            kill_worker(world, i, until);
        }
    }
}

struct onerow_span sim_process_take_spare(struct sim_world *world, unsigned process)
{
    struct sim_process *from = &world->processes[process];
    if (from->n_spares == 0) {
        return (struct onerow_span){0};
    }
    return sim_page_id(from->spares[--from->n_spares]);
}

void sim_process_give_spare(struct sim_world *world, unsigned process, struct onerow_span spare)
{
    struct sim_process *to = &world->processes[process];
    if (spare.data && to->n_spares < SIM_SPARES_MAX) {
        to->spares[to->n_spares++] = (uint8_t)sim_page_of(spare);
    }
}
