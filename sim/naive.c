/* SPDX-License-Identifier: Apache-2.0
 *
 * What people write instead, as a step machine over the same store: the wrong ways.
 *
 *   naive         look; nothing, or no answer: create with the key; something: write onto it
 *   process-lock  the same under a lock of the process
 *   lease         the same under a lease with a time to live, and a look that must have succeeded
 *   lease-token   the lease has a number and is confirmed just before the create. The store cannot
 *                 compare numbers, so a create that was confirmed and then paused goes through
 */
#include <string.h>

#include "sim/parts.h"

#define RETRY_MS 1000U
#define LOCK_MS  500U

void sim_naive_init(struct sim_naive *naive)
{
    memset(naive, 0, sizeof *naive);
}

static bool has_lease(const struct sim_world *world)
{
    return world->config->protocol == SIM_LEASE || world->config->protocol == SIM_LEASE_TOKEN;
}

static void ask(struct sim_naive *naive, struct or_command *command, unsigned what,
                enum sim_naive_state state)
{
    naive->state = state;
    command->what = (enum or_do)what;
}

static void wait(struct sim_naive *naive, struct or_command *command, uint64_t ms)
{
    naive->state = SIM_NAIVE_WAITING;
    command->what = OR_DO_WAIT;
    command->wait_ms = ms;
}

static void ask_lease(struct sim_world *world, struct sim_worker *worker,
                      enum sim_naive_state state)
{
    struct sim_naive *naive = &worker->as.naive;
    if (naive->attempt == 0) {
        naive->attempt = (uint32_t)world->next_number++;
    }
    naive->lease_until_ms = sim_local_ms(world, worker) + world->options.bounds.lease;
    ask(naive, &worker->command, SIM_ASK_LEASE, state);
    worker->command.nonce = (struct or_nonce){naive->attempt, 1};
}

static void settle(struct sim_naive *naive, struct or_command *command)
{
    command->what = OR_DO_SETTLE;
    command->outcome = naive->outcome;
    command->page = naive->page ? sim_page_id(naive->page - 1U) : (struct onerow_span){0};
}

/* The work is done: gives back what it holds, and tells the outcome. */
static void finish(struct sim_world *world, struct sim_worker *worker, enum onerow_outcome outcome)
{
    struct sim_naive *naive = &worker->as.naive;
    naive->outcome = outcome;
    SOMETIMES(world, CREATED, outcome == ONEROW_CREATED);
    SOMETIMES(world, UPDATED, outcome == ONEROW_UPDATED);
    SOMETIMES(world, EQUAL, outcome == ONEROW_UNCHANGED);
    if (naive->locked) {
        world->processes[worker->process].locked[worker->key] = false;
    }
    if (has_lease(world)) {
        ask(naive, &worker->command, SIM_ASK_RELEASE, SIM_NAIVE_RELEASING);
        worker->command.nonce = (struct or_nonce){naive->attempt, 1};
    } else {
        settle(naive, &worker->command);
    }
}

static void begin(struct sim_world *world, struct sim_worker *worker)
{
    struct sim_naive *naive = &worker->as.naive;
    bool *locked = &world->processes[worker->process].locked[worker->key];
    if (world->config->protocol == SIM_PROCESS_LOCK && !naive->locked) {
        if (*locked) {
            wait(naive, &worker->command, LOCK_MS);
            return;
        }
        *locked = naive->locked = true;
    }
    if (has_lease(world)) {
        ask_lease(world, worker, SIM_NAIVE_LEASING);
    } else {
        ask(naive, &worker->command, OR_DO_PROBE, SIM_NAIVE_LOOKING);
    }
}

static void create(struct sim_world *world, struct sim_worker *worker)
{
    struct sim_naive *naive = &worker->as.naive;
    if (has_lease(world) && sim_local_ms(world, worker) >= naive->lease_until_ms) {
        ask_lease(world, worker, SIM_NAIVE_LEASING);
        return;
    }
    ask(naive, &worker->command, OR_DO_CREATE_KEYED, SIM_NAIVE_CREATING);
    worker->command.payload = &world->records[worker->record].payload;
}

static void write(struct sim_world *world, struct sim_worker *worker, struct onerow_span page)
{
    struct sim_naive *naive = &worker->as.naive;
    naive->page = (uint8_t)(sim_page_of(page) + 1);
    unsigned holds = world->pages[naive->page - 1].value;
    if (sim_value_content(world, holds) == sim_value_content(world, worker->record + 1U)) {
        finish(world, worker, ONEROW_UNCHANGED);
        return;
    }
    ask(naive, &worker->command, OR_DO_WRITE, SIM_NAIVE_WRITING);
    worker->command.page = page;
    worker->command.payload = &world->records[worker->record].payload;
}

static void after_look(struct sim_world *world, struct sim_worker *worker,
                       const struct or_event *event)
{
    if (event->answer == OR_ANSWER_OK && event->n_pages) {
        write(world, worker, event->pages[0].id);
    } else if (has_lease(world) && event->answer != OR_ANSWER_OK) {
        uint64_t told = event->retry_after_ms;
        wait(&worker->as.naive, &worker->command, told > RETRY_MS ? told : RETRY_MS);
    } else if (world->config->protocol == SIM_LEASE_TOKEN) {
        ask_lease(world, worker, SIM_NAIVE_RENEWING);
    } else {
        create(world, worker);
    }
}

/* What was sent is sent again, after another look. */
static void after_write(struct sim_world *world, struct sim_worker *worker,
                        const struct or_event *event, enum onerow_outcome outcome)
{
    struct sim_naive *naive = &worker->as.naive;
    if (event->answer == OR_ANSWER_OK) {
        if (event->page.data) {
            naive->page = (uint8_t)(sim_page_of(event->page) + 1);
        }
        finish(world, worker, outcome);
    } else if (event->answer == OR_ANSWER_REFUSED) {
        finish(world, worker, ONEROW_REFUSED);
    } else {
        uint64_t told = event->retry_after_ms;
        wait(naive, &worker->command, told > RETRY_MS ? told : RETRY_MS);
    }
}

void sim_naive_step(struct sim_world *world, unsigned i, const struct or_event *event,
                    struct or_command *command)
{
    struct sim_worker *worker = &world->workers[i];
    struct sim_naive *naive = &worker->as.naive;
    bool ok = event->answer == OR_ANSWER_OK;
    memset(command, 0, sizeof *command);
    switch (naive->state) {
    case SIM_NAIVE_START:
    case SIM_NAIVE_WAITING: begin(world, worker); return;
    case SIM_NAIVE_LEASING:
    case SIM_NAIVE_RENEWING:
        if (!ok) {
            wait(naive, command, RETRY_MS);
        } else if (naive->state == SIM_NAIVE_RENEWING) {
            create(world, worker);
        } else {
            ask(naive, command, OR_DO_PROBE, SIM_NAIVE_LOOKING);
        }
        return;
    case SIM_NAIVE_LOOKING: after_look(world, worker, event); return;
    case SIM_NAIVE_CREATING: after_write(world, worker, event, ONEROW_CREATED); return;
    case SIM_NAIVE_WRITING: after_write(world, worker, event, ONEROW_UPDATED); return;
    case SIM_NAIVE_RELEASING: settle(naive, command); return;
    }
}
