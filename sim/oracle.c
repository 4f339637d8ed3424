/* SPDX-License-Identifier: Apache-2.0
 *
 * What must hold at every event and at every acknowledgement. Pages that people made, and those
 * that they took out of the trash, are counted apart; what people did to a page is no fault of
 * onerow's.
 *
 * direct promises one page at every instant only within its bounds; beyond them, one at rest.
 */
#include "sim/parts.h"

/* ---- pages -------------------------------------------------------------------------------------
 */

/* Under direct a page that lost against a person's is condemned while it lives, until the healer
 * has taken it away; what is created meanwhile is no twin of its making. */
static bool counts(const struct sim_world *world, unsigned at, unsigned key)
{
    const struct sim_page *page = &world->pages[at];
    bool given_up =
        world->config->protocol == SIM_DIRECT && world->ledger.pages[at].state == OR_PAGE_CONDEMNED;
    return page->key == key && !page->trashed && page->key_by_onerow && !page->hand_untrashed &&
           !given_up;
}

void sim_oracle_page(struct sim_world *world, const struct sim_page *page)
{
    unsigned n = 0;
    for (unsigned i = 0; i < world->n_pages; i++) {
        n += counts(world, i, page->key);
    }
    if (n > 1 && (world->config->protocol != SIM_DIRECT || world->bounded)) {
        sim_violate(world, SIM_VIOLATION_TWO_PAGES);
    }
}

void sim_oracle_taken_away(struct sim_world *world, const struct sim_page *page)
{
    if (page->acked_key && page->acked_key == page->key && !page->hand_trashed &&
        !page->hand_renamed) {
        sim_violate(world, SIM_VIOLATION_LOST);
    }
}

/* ---- swaps -------------------------------------------------------------------------------------
 */

static void check_condemned(struct sim_world *world)
{
    for (unsigned key = 1; key <= world->n_keys; key++) {
        const struct or_key_record *record = &world->ledger.keys[key];
        bool has_page = record->state == OR_KEY_BOUND || record->state == OR_KEY_WRITING ||
                        record->state == OR_KEY_DONE;
        if (has_page && world->ledger.pages[sim_page_of(record->page)].state == OR_PAGE_CONDEMNED) {
            sim_violate(world, SIM_VIOLATION_CONDEMNED);
        }
    }
}

/* What was given up is given up for ever. */
void sim_oracle_page_record(struct sim_world *world, unsigned page, enum or_page_state becomes)
{
    if (world->ledger.pages[page].state == OR_PAGE_CONDEMNED && becomes != OR_PAGE_CONDEMNED) {
        sim_violate(world, SIM_VIOLATION_CONDEMNED);
    }
}

/* What the page of the key should hold from now on. */
static void follow_done(struct sim_world *world, unsigned key, const struct or_key_record *before,
                        const struct or_swap *swap)
{
    struct sim_key_facts *facts = &world->facts[key];
    if (swap->refused.number || before->state == OR_KEY_DONE) {
        return; /* what it held before */
    }
    if (!swap->becomes.known) { /* adopted */
        facts->held = facts->first_held = facts->highest = 0;
        return;
    }
    if (!before->pending.text.data) { /* nothing was pending that could be done */
        sim_violate(world, SIM_VIOLATION_DISAGREE);
        return;
    }
    facts->held = (uint8_t)sim_value_of(&before->pending);
    if (before->state != OR_KEY_WRITING) {
        facts->first_held = facts->held;
        facts->highest = 0;
    }
}

void sim_oracle_swapped(struct sim_world *world, unsigned key, const struct or_key_record *before,
                        const struct or_swap *swap)
{
    if (!swap->no_key && !swap->keep_key) {
        struct sim_key_facts *facts = &world->facts[key];
        if (swap->becomes.state == OR_KEY_DONE) {
            follow_done(world, key, before, swap);
        } else if (swap->becomes.state == OR_KEY_ABSENT) {
            facts->held = facts->first_held = facts->highest = 0;
        }
    }
    check_condemned(world);
}

/* ---- requests ----------------------------------------------------------------------------------
 */

/* Within bounds nobody else's intent can stand when a create is sent under one's own. */
static bool holds_intent(const struct sim_world *world, const struct sim_worker *worker)
{
    const struct or_key_record *key = &world->ledger.keys[worker->key];
    return key->state == OR_KEY_INTENT && or_nonce_equal(key->nonce, worker->as.attempt.claim);
}

/* A claim may turn out to have been taken long after the look-up behind it, and is renewed without
 * another one: nobody else can have made anything meanwhile. */
static void follow_claim(struct sim_worker *worker)
{
    const struct or_swap *swap = worker->command.swap;
    const struct or_key_record *key = &worker->as.attempt.key;
    if (swap->becomes.state != OR_KEY_INTENT || or_nonce_equal(swap->taken, worker->claim)) {
        return;
    }
    bool renewed = key->state == OR_KEY_INTENT && or_nonce_equal(key->nonce, worker->claim);
    worker->claim_ok = renewed ? worker->claim_ok : worker->probe_ok;
    worker->claim = swap->taken;
}

static bool is_blind(const struct sim_worker *worker)
{
    return (worker->command.what == OR_DO_CREATE && !worker->probe_ok) ||
           (worker->command.what == OR_DO_CREATE_KEYED && !worker->claim_ok);
}

void sim_oracle_send(struct sim_world *world, unsigned i)
{
    struct sim_worker *worker = &world->workers[i];
    unsigned what = (unsigned)worker->command.what;
    if (!world->core || what == OR_DO_READ) {
        return;
    }
    if (what == OR_DO_SWAP) {
        follow_claim(worker);
        return;
    }
    if (world->governed) {
        sim_oracle_permit_used(world, i);
    }
    if (sim_local_ms(world, worker) < worker->not_before_ms) {
        sim_violate(world, SIM_VIOLATION_TOO_SOON);
    }
    if (what == OR_DO_RESTORE && world->options.deletion != OR_DELETION_RESTORE) {
        sim_violate(world, SIM_VIOLATION_POLICY);
    }
    if (is_blind(worker)) {
        sim_violate(world, SIM_VIOLATION_BLIND_CREATE);
    }
    if (what == OR_DO_CREATE_KEYED && world->bounded && !holds_intent(world, worker)) {
        sim_violate(world, SIM_VIOLATION_TWO_HOLDERS);
    }
}

/* ---- acknowledgements --------------------------------------------------------------------------
 */

static void check_page(struct sim_world *world, unsigned key, const struct sim_page *page)
{
    if (page->trashed && !page->hand_trashed) {
        sim_violate(world, SIM_VIOLATION_LOST);
    }
    if (page->key != key && !page->hand_renamed && !page->hand_trashed) {
        sim_violate(world, SIM_VIOLATION_NOT_THERE);
    }
}

/* Another page than the one that was acknowledged: only if a person took that away, and if pages
 * that people delete are made anew; or else this one is a person's work, or came back from the
 * trash. Under direct a create beside a person's page may have left one, too. */
static bool may_be_another(const struct sim_world *world, const struct sim_page *was,
                           const struct sim_page *is)
{
    bool anew =
        world->config->protocol != SIM_GUARDED || world->options.deletion == OR_DELETION_RECREATE;
    bool by_hand = is->hand_made || is->hand_renamed || is->hand_trashed;
    return was->hand_renamed || (was->hand_trashed && (anew || by_hand)) || is->hand_trashed;
}

static void check_id(struct sim_world *world, unsigned key, unsigned page)
{
    unsigned was = world->facts[key].acked_page;
    if (was && was != page + 1 &&
        !may_be_another(world, &world->pages[was - 1], &world->pages[page])) {
        sim_violate(world, SIM_VIOLATION_OTHER_ID);
    }
}

/* A page is created once, and what was written was written, onto a page with the key. */
static void check_truth(struct sim_world *world, unsigned record, enum onerow_outcome outcome,
                        struct sim_page *page)
{
    bool written = page->placed >> record & 1U;
    if (outcome == ONEROW_CREATED && page->created_acked++ > 0) {
        sim_violate(world, SIM_VIOLATION_FALSE_OUTCOME);
    }
    if (outcome != ONEROW_UNCHANGED && !written) {
        sim_violate(world, SIM_VIOLATION_FALSE_OUTCOME);
    }
}

/* An answer that was read late may speak of a page that a person has taken away since. */
static void follow_acked(struct sim_key_facts *facts, const struct sim_record *record, unsigned at,
                         const struct sim_page *page)
{
    bool other = facts->acked_page != at + 1;
    if (other && facts->acked_page && page->trashed) {
        return;
    }
    if (other) {
        facts->highest = 0;
    }
    facts->acked_page = (uint8_t)(at + 1);
    facts->highest = record->order > facts->highest ? record->order : facts->highest;
}

static void acknowledge(struct sim_world *world, unsigned i, enum onerow_outcome outcome,
                        struct onerow_span id)
{
    struct sim_record *record = &world->records[i];
    struct sim_key_facts *facts = &world->facts[record->key];
    if (!id.data) {
        sim_violate(world, SIM_VIOLATION_NOT_THERE);
        return;
    }
    unsigned at = sim_page_of(id);
    struct sim_page *page = &world->pages[at];
    check_page(world, record->key, page);
    check_id(world, record->key, at);
    check_truth(world, i, outcome, page);
    follow_acked(facts, record, at, page);
    record->acked_page = (uint8_t)(at + 1);
    page->acked_key = record->key;
}

/* "Belongs to another key" is no word for pages that were given up. They were by then: a condemned
 * page's record is stamped for the last time when it is condemned. */
void sim_oracle_taken(struct sim_world *world, const struct or_attempt *attempt)
{
    for (size_t i = 0; i < attempt->n_found; i++) {
        const struct sim_ledger_page *page = &world->ledger.pages[sim_page_of(attempt->found[i])];
        if (page->state != OR_PAGE_CONDEMNED || page->since_ms >= attempt->ledger_ms) {
            return;
        }
    }
    sim_violate(world, SIM_VIOLATION_FALSE_OUTCOME);
}

void sim_oracle_outcome(struct sim_world *world, unsigned i, enum onerow_outcome outcome,
                        enum or_reason reason, struct onerow_span page)
{
    struct sim_record *record = &world->records[i];
    if (record->settled++ > 0) {
        sim_violate(world, SIM_VIOLATION_FALSE_OUTCOME);
    }
    record->outcome = (uint8_t)outcome;
    record->reason = (uint8_t)reason;
    if (outcome == ONEROW_CREATED || outcome == ONEROW_UPDATED || outcome == ONEROW_UNCHANGED) {
        acknowledge(world, i, outcome, page);
    }
}
