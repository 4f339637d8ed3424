/* SPDX-License-Identifier: Apache-2.0
 *
 * The ledger, as extend.h asks for it: records that change by compare-and-set alone. It never loses
 * what it has answered; what it has not answered, or its answer, may be lost. Its clock never runs
 * back.
 */
#include <assert.h>
#include <string.h>

#include "sim/parts.h"

/* ---- records ------------------------------------------------------------------------------- */

static struct sim_mark *find_mark(struct sim_ledger *ledger, struct or_nonce nonce)
{
    for (unsigned i = ledger->n_marks; i > 0; i--) {
        if (or_nonce_equal(ledger->marks[i - 1].nonce, nonce)) {
            return &ledger->marks[i - 1];
        }
    }
    return NULL;
}

struct or_attempt_record sim_ledger_mark(const struct sim_world *world, struct or_nonce nonce)
{
    const struct sim_ledger *ledger = &world->ledger;
    for (unsigned i = ledger->n_marks; i > 0; i--) {
        if (or_nonce_equal(ledger->marks[i - 1].nonce, nonce)) {
            return ledger->marks[i - 1].record;
        }
    }
    return (struct or_attempt_record){0};
}

struct or_page_record sim_ledger_page(const struct sim_world *world, unsigned page)
{
    const struct sim_ledger_page *from = &world->ledger.pages[page];
    bool bound = from->state == OR_PAGE_BOUND;
    return (struct or_page_record){.revision = from->revision,
                                   .state = from->state,
                                   .since_ms = from->since_ms,
                                   .key = bound ? sim_key_name(from->key) : (struct onerow_span){0},
                                   .generation = from->generation};
}

/* ---- swaps -------------------------------------------------------------------------------------
 */

static bool holds(struct sim_world *world, unsigned key, const struct or_swap *swap)
{
    struct sim_ledger *ledger = &world->ledger;
    if (!swap->no_key && swap->revision != ONEROW_LEDGER_ANY &&
        swap->revision != ledger->keys[key].revision) {
        return false;
    }
    if (swap->page.data) {
        const struct sim_ledger_page *page = &ledger->pages[sim_page_of(swap->page)];
        if ((swap->page_revision != ONEROW_LEDGER_ANY && swap->page_revision != page->revision) ||
            !(swap->page_states >> page->state & 1U)) {
            return false;
        }
    }
    return !swap->taken.number || !find_mark(ledger, swap->taken);
}

static void mark(struct sim_world *world, struct or_nonce nonce, enum or_attempt_mark state,
                 const struct or_swap *swap)
{
    struct sim_ledger *ledger = &world->ledger;
    struct sim_mark *found = find_mark(ledger, nonce);
    if (!found) {
        if (ledger->n_marks == SIM_MARKS_MAX) {
            sim_violate(world, SIM_VIOLATION_BOUNDS);
            return;
        }
        found = &ledger->marks[ledger->n_marks++];
    }
    *found = (struct sim_mark){nonce, {state, swap->becomes.generation, swap->becomes.version}};
}

static void change_key(struct sim_world *world, unsigned key, const struct or_swap *swap)
{
    struct or_key_record *record = &world->ledger.keys[key];
    uint64_t revision = record->revision + 1;
    uint64_t since_ms = swap->stamp ? sim_ledger_ms(world) : record->since_ms;
    *record = swap->becomes;
    record->revision = revision;
    record->since_ms = since_ms;
}

static void change_page(struct sim_world *world, unsigned key, const struct or_swap *swap)
{
    unsigned at = sim_page_of(swap->page);
    struct sim_ledger_page *page = &world->ledger.pages[at];
    sim_oracle_page_record(world, at, swap->page_becomes);
    page->revision++;
    page->state = swap->page_becomes;
    page->since_ms = sim_ledger_ms(world);
    page->key = swap->page_becomes == OR_PAGE_BOUND ? (uint8_t)key : SIM_KEY_NONE;
    page->generation = swap->becomes.generation;
}

bool sim_ledger_swap(struct sim_world *world, unsigned key, const struct or_swap *swap)
{
    bool happens = holds(world, key, swap);
    if (world->ledger.through_bytes && !sim_bytes_agree(world, key, swap, happens)) {
        sim_violate(world, SIM_VIOLATION_DISAGREE);
    }
    if (!happens) {
        return false;
    }
    struct or_key_record before;
    memset(&before, 0, sizeof before);
    if (!swap->no_key) {
        before = world->ledger.keys[key];
        if (!swap->keep_key) {
            change_key(world, key, swap);
        }
    }
    if (swap->page.data && swap->page_becomes != OR_PAGE_UNRECORDED) {
        change_page(world, key, swap);
    }
    if (swap->taken.number) {
        mark(world, swap->taken, OR_ATTEMPT_TAKEN, swap);
    }
    if (swap->refused.number) {
        mark(world, swap->refused, OR_ATTEMPT_REFUSED, swap);
    }
    sim_oracle_swapped(world, key, &before, swap);
    return true;
}

/* ---- leases, for the protocols that are wrong --------------------------------------------------
 */

static bool lease(struct sim_world *world, const struct sim_message *message)
{
    struct sim_lease *held = &world->ledger.leases[message->key];
    uint64_t now_ms = sim_ledger_ms(world);
    uint8_t who = (uint8_t)(message->worker + 1);
    bool own = held->holder == who && held->attempt == message->nonce.number;
    if (held->holder && !own && now_ms < held->until_ms) {
        return false;
    }
    SOMETIMES(world, LEASE_TAKEN_OVER, held->holder && !own);
    held->token += !own;
    held->holder = who;
    held->attempt = (uint32_t)message->nonce.number;
    held->until_ms = now_ms + world->options.bounds.lease;
    return true;
}

static void release(struct sim_world *world, const struct sim_message *message)
{
    struct sim_lease *held = &world->ledger.leases[message->key];
    if (held->holder == message->worker + 1 && held->attempt == message->nonce.number) {
        held->holder = 0;
    }
}

/* ---- messages ---------------------------------------------------------------------------------
 */

static void read(struct sim_world *world, struct sim_message *message)
{
    struct or_event *answer = &message->answer;
    if (message->key) {
        answer->key = world->ledger.keys[message->key];
    }
    if (message->nonce.number) {
        answer->attempt = sim_ledger_mark(world, message->nonce);
    }
    for (unsigned i = 0; i < message->n_pages; i++) {
        message->records[i] = sim_ledger_page(world, message->pages[i]);
    }
    answer->records = message->records;
}

static void tell_late(struct sim_world *world, const struct sim_message *message, bool happened)
{
    if (message->what == OR_DO_SWAP && sim_network_is_late(world, message)) {
        SOMETIMES(world, LATE_SWAP, happened);
        SOMETIMES(world, LATE_SWAP_VOID, !happened);
        sim_say(world, SIM_LANE_LEDGER, message->worker, "late: a swap %s",
                happened ? "happens" : "comes too late");
    }
}

static enum or_answer perform(struct sim_world *world, struct sim_message *message)
{
    bool done = true;
    switch (message->what) {
    case OR_DO_READ: read(world, message); break;
    case OR_DO_SWAP:
        done = sim_ledger_swap(world, message->key, &message->swap);
        tell_late(world, message, done);
        break;
    case SIM_ASK_LEASE: done = lease(world, message); break;
    case SIM_ASK_RELEASE: release(world, message); break;
    default: assert(!"no message for the ledger");
    }
    message->answer.ledger_ms = sim_ledger_ms(world);
    return done ? OR_ANSWER_OK : OR_ANSWER_REFUSED;
}

/* Within bounds, direct has allowed for D in all, and guarded for a clock that does not jump. */
static uint64_t longest_jump_ms(const struct sim_world *world)
{
    if (!world->bounded) {
        return 60000;
    }
    return world->config->protocol == SIM_DIRECT && world->ledger.clock_ahead_ms == 0
               ? world->options.bounds.skew / 2
               : 0;
}

static bool is_down(struct sim_world *world, struct sim_message *message)
{
    struct sim_rng *rng = &world->workers[message->worker].rng;
    unsigned who = message->worker;
    if (sim_inject(world, rng, SIM_CLOCK, SIM_LANE_LEDGER, who)) {
        world->ledger.clock_ahead_ms += sim_scale(world->size, longest_jump_ms(world) + 1);
    }
    if (sim_inject(world, rng, SIM_LEDGER_CRASH, SIM_LANE_LEDGER, who)) {
        world->ledger.down_until = world->now + sim_scale(world->size, 10U * SIM_SECOND);
        sim_network_ledger_crash(world, message);
    }
    if (sim_inject(world, rng, SIM_LEDGER_DOWN, SIM_LANE_LEDGER, who)) {
        world->ledger.down_until = world->now + sim_scale(world->size, 20U * SIM_SECOND);
    }
    return world->now < world->ledger.down_until;
}

void sim_ledger_take(struct sim_world *world, struct sim_message *message)
{
    memset(&message->answer, 0, sizeof message->answer);
    message->answer.answer = is_down(world, message) ? OR_ANSWER_FAILED : perform(world, message);
}
