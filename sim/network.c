/* SPDX-License-Identifier: Apache-2.0
 *
 * Messages between workers and the store or the ledger. What becomes of a message is drawn when it
 * is sent:
 *
 *   send ──out──> arrive: it is done ──back──> reply        the sender waits no longer than its
 *     │                                                     deadline; a message lives on after it
 *     └───────────────────────────── deadline ─> no answer
 *
 * Within bounds a message is done by its deadline + R; the copy that a proxy sends again is done
 * before its sender has an answer, or by then.
 */
#include <assert.h>
#include <string.h>

#include "sim/parts.h"

#define LEDGER_DEADLINE (5U * SIM_SECOND)

bool sim_network_to_ledger(unsigned what)
{
    return what == OR_DO_READ || what == OR_DO_SWAP || what >= SIM_ASK_LEASE;
}

static struct sim_message *take_message(struct sim_world *world)
{
    if (world->n_free == 0) {
        sim_violate(world, SIM_VIOLATION_BOUNDS);
        return NULL;
    }
    unsigned i = world->free_messages[--world->n_free];
    world->message_used[i] = true;
    return &world->messages[i];
}

static unsigned index_of(const struct sim_world *world, const struct sim_message *message)
{
    return (unsigned)(message - world->messages);
}

static void free_message(struct sim_world *world, unsigned i)
{
    assert(world->message_used[i]);
    world->message_used[i] = false;
    world->free_messages[world->n_free++] = (uint8_t)i;
}

bool sim_network_is_late(const struct sim_world *world, const struct sim_message *message)
{
    const struct sim_worker *worker = &world->workers[message->worker];
    return worker->epoch != message->epoch || !worker->waits;
}

/* ---- sending ---------------------------------------------------------------------------------
 */

static void address(struct sim_message *message, const struct or_command *command)
{
    message->page = command->page.data ? (uint8_t)sim_page_of(command->page) : 0;
    message->nonce = command->nonce;
    message->n_pages = (uint8_t)command->n_pages;
    for (size_t i = 0; i < command->n_pages; i++) {
        message->pages[i] = (uint8_t)sim_page_of(command->pages[i]);
    }
    if (command->swap) {
        message->swap = *command->swap;
    }
    if (command->payload) {
        message->value = (uint8_t)sim_value_of(command->payload);
    }
}

static struct sim_message *new_message(struct sim_world *world, unsigned i)
{
    const struct sim_worker *worker = &world->workers[i];
    struct sim_message *message = take_message(world);
    if (message) {
        memset(message, 0, offsetof(struct sim_message, pages));
        message->what = (uint8_t)worker->command.what;
        message->worker = (uint8_t)i;
        message->key = worker->key;
        message->epoch = worker->epoch;
        message->to_ledger = sim_network_to_ledger(message->what);
        address(message, &worker->command);
    }
    return message;
}

/* How long a message travels, there and back; what becomes of it otherwise. */
struct fate {
    uint64_t deadline; /* the sender's */
    uint64_t out;
    uint64_t back;
    bool arrives;
    bool answers;
    bool twice;
    uint64_t again; /* when the copy arrives */
};

static uint64_t pick(uint64_t random, uint64_t low, uint64_t high)
{
    return low + sim_scale(random, high - low + 1);
}

/* A create under an intent is given up at its own deadline, however late it was sent: S knows of no
 * T. Other requests have theirs in full. */
static uint64_t request_deadline(const struct sim_world *world, const struct sim_worker *worker)
{
    uint64_t most = world->options.bounds.request * SIM_MS;
    if (worker->job != SIM_JOB_PUT || worker->command.what != OR_DO_CREATE_KEYED) {
        return most;
    }
    uint64_t now_ms = sim_local_ms(world, worker);
    uint64_t until_ms = worker->command.deadline_ms;
    uint64_t left = until_ms > now_ms ? (until_ms - now_ms) * SIM_MS : 1;
    return left < most ? left : most;
}

static struct fate store_fate(struct sim_world *world, struct sim_worker *worker, unsigned i)
{
    const uint64_t deadline = request_deadline(world, worker);
    const uint64_t life = world->options.bounds.life * SIM_MS - SIM_SECOND;
    struct sim_rng *rng = &worker->rng;
    struct fate fate = {.deadline = deadline, .arrives = true, .answers = true};
    uint64_t random = sim_next(rng);
    fate.out = pick(random, 20U * SIM_MS, 300U * SIM_MS);
    fate.back = pick(random << 32, 20U * SIM_MS, 300U * SIM_MS);
    if (sim_inject(world, rng, SIM_SLOW, SIM_LANE_WORKER, i)) {
        *(world->size & 1U ? &fate.out : &fate.back) += sim_scale(world->size, deadline);
    }
    if (sim_inject(world, rng, SIM_LATE, SIM_LANE_WORKER, i)) {
        fate.out = deadline + sim_stretch(world->size, world->bounded ? life : 10 * life);
    }
    if (sim_inject(world, rng, SIM_LOST_REQUEST, SIM_LANE_WORKER, i)) {
        fate.arrives = false;
    }
    if (sim_inject(world, rng, SIM_LOST_REPLY, SIM_LANE_WORKER, i)) {
        fate.answers = false;
    }
    bool keyed = world->bounded && (unsigned)worker->command.what == OR_DO_CREATE_KEYED;
    if (!keyed && sim_inject(world, rng, SIM_TWICE, SIM_LANE_WORKER, i)) {
        fate.twice = true;
        fate.again =
            fate.out + sim_scale(world->size, world->bounded ? fate.back : deadline + life);
    }
    fate.answers &= fate.arrives && fate.out + fate.back < deadline;
    return fate;
}

static struct fate ledger_fate(struct sim_world *world, struct sim_worker *worker, unsigned i)
{
    struct sim_rng *rng = &worker->rng;
    struct fate fate = {.deadline = LEDGER_DEADLINE, .arrives = true, .answers = true};
    uint64_t random = sim_next(rng);
    fate.out = pick(random, 1U * SIM_MS, 15U * SIM_MS);
    fate.back = pick(random << 32, 1U * SIM_MS, 15U * SIM_MS);
    if (sim_inject(world, rng, SIM_LEDGER_LATE, SIM_LANE_WORKER, i)) {
        fate.out = LEDGER_DEADLINE + sim_scale(world->size, 60U * SIM_SECOND);
    }
    if (sim_inject(world, rng, SIM_LEDGER_LOST, SIM_LANE_WORKER, i)) {
        fate.answers = false;
    }
    fate.answers &= fate.out + fate.back < LEDGER_DEADLINE;
    return fate;
}

static void send_copy(struct sim_world *world, unsigned worker, uint64_t after)
{
    struct sim_message *copy = new_message(world, worker);
    if (copy) {
        copy->copy = SIM_COPY_AGAIN;
        sim_plan(world, after, SIM_EVENT_ARRIVE, index_of(world, copy), 0);
    }
}

void sim_network_send(struct sim_world *world, unsigned i)
{
    struct sim_worker *worker = &world->workers[i];
    worker->epoch++;
    worker->waits = true;
    bool to_ledger = sim_network_to_ledger((unsigned)worker->command.what);
    struct fate fate = to_ledger ? ledger_fate(world, worker, i) : store_fate(world, worker, i);
    if (fate.arrives) {
        struct sim_message *message = new_message(world, i);
        if (!message) {
            return;
        }
        message->answers = fate.answers;
        message->reply_delay = fate.back;
        sim_plan(world, fate.out, SIM_EVENT_ARRIVE, index_of(world, message), 0);
    }
    if (fate.twice) {
        send_copy(world, i, fate.again);
    }
    if (!fate.answers) {
        sim_plan(world, fate.deadline, SIM_EVENT_DEADLINE, i, worker->epoch);
    }
}

/* ---- arriving and answering ------------------------------------------------------------------ */

void sim_network_arrive(struct sim_world *world, unsigned i)
{
    struct sim_message *message = &world->messages[i];
    if (message->delivered) { /* it was lost with the ledger */
        free_message(world, i);
        return;
    }
    if (message->to_ledger) {
        sim_ledger_take(world, message);
    } else {
        sim_store_take(world, message);
    }
    sim_digest(world, (uint64_t)message->answer.answer << 8 ^ message->what ^
                          (uint64_t)message->worker << 16);
    message->delivered = true;
    if (message->answers) {
        sim_plan(world, message->reply_delay, SIM_EVENT_REPLY, i, 0);
    } else {
        free_message(world, i);
    }
}

void sim_network_reply(struct sim_world *world, unsigned i)
{
    struct sim_message *message = &world->messages[i];
    if (message->answers && !sim_network_is_late(world, message)) {
        uint64_t delay = 0;
        if (!message->held && sim_worker_sleeps(world, message->worker, &delay)) {
            message->held = true; /* it lies there until the worker wakes up */
            sim_plan(world, delay, SIM_EVENT_REPLY, i, 0);
            return;
        }
        sim_worker_answer(world, message->worker, &message->answer);
    }
    free_message(world, i);
}

void sim_network_ledger_crash(struct sim_world *world, const struct sim_message *but)
{
    for (unsigned i = 0; i < SIM_MESSAGES_MAX; i++) {
        struct sim_message *message = &world->messages[i];
        if (!world->message_used[i] || !message->to_ledger || message == but) {
            continue;
        }
        bool arrived = message->delivered;
        if (message->answers) {
            sim_plan(world, LEDGER_DEADLINE, SIM_EVENT_DEADLINE, message->worker, message->epoch);
        }
        message->answers = false;
        message->delivered = true;
        SOMETIMES(world, LEDGER_CRASHED, !arrived && message->what == OR_DO_SWAP);
    }
}
