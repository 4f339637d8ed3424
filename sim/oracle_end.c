/* SPDX-License-Identifier: Apache-2.0
 *
 * What must hold at rest: everything has arrived, what was pending is settled, the healer and the
 * sweeper have nothing left to do.
 */
#include "sim/parts.h"

/* ---- records ------------------------------------------------------------------------------------
 */

static void check_settled(struct sim_world *world)
{
    for (unsigned i = 0; i < world->n_records; i++) {
        const struct sim_record *record = &world->records[i];
        if (record->settled != 1 && !(record->settled == 0 && record->abandoned)) {
            sim_violate(world, SIM_VIOLATION_UNSETTLED);
        }
    }
}

/* Whether a record was said not to be written, without a reason that allows for it: a process that
 * died may have written it before, and what the store refused it may have accepted later. */
static bool must_not_be_there(const struct sim_record *record)
{
    bool told = record->reason == OR_REASON_GAVE_UP ||
                (record->reason == OR_REASON_REFUSED && !record->accepted_now);
    return record->outcome == ONEROW_REFUSED && told && !record->crashed;
}

static void check_rejected(struct sim_world *world, unsigned key)
{
    const struct or_key_record *record = &world->ledger.keys[key];
    bool beyond = world->config->protocol == SIM_DIRECT && !world->bounded;
    if (record->state != OR_KEY_DONE || beyond) {
        return; /* it may be on a page that was given up since, or made by a create that was late */
    }
    unsigned value = world->pages[sim_page_of(record->page)].value;
    bool of_record = value > SIM_VALUE_NONE && value < SIM_VALUE_PERSON;
    if (of_record && must_not_be_there(&world->records[value - 1])) {
        sim_violate(world, SIM_VIOLATION_FALSE_OUTCOME);
    }
}

/* ---- pages -------------------------------------------------------------------------------------
 */

/* BOUND to a payload that the store refuses: only another record of that key can go on from there,
 * so neither the resolver nor the healer can. */
static bool is_stuck(const struct sim_world *world, const struct or_key_record *record)
{
    return record->state == OR_KEY_BOUND &&
           world->records[sim_value_of(&record->pending) - 1].refused;
}

/* Pages with the key that no other key has a right to. */
static void check_one(struct sim_world *world, unsigned key)
{
    const struct or_key_record *record = &world->ledger.keys[key];
    unsigned n = 0;
    if (is_stuck(world, record)) {
        return; /* the page that it is to be is still a blank; people may have made others */
    }
    for (unsigned i = 0; i < world->n_pages; i++) {
        const struct sim_page *page = &world->pages[i];
        const struct sim_ledger_page *of = &world->ledger.pages[i];
        bool others = of->state == OR_PAGE_BOUND && of->key != key;
        n += page->key == key && !page->trashed && !others;
    }
    if (n > 1) {
        sim_violate(world, SIM_VIOLATION_TWO_PAGES);
    }
    if (n && record->state != OR_KEY_DONE && record->state != OR_KEY_TOMBSTONE) {
        sim_violate(world, SIM_VIOLATION_DISAGREE);
    }
}

static void check_acked(struct sim_world *world, unsigned key)
{
    unsigned at = world->facts[key].acked_page;
    if (at == 0) {
        return;
    }
    const struct sim_page *page = &world->pages[at - 1];
    if (!page->hand_trashed && !page->hand_renamed && (page->trashed || page->key != key)) {
        sim_violate(world, SIM_VIOLATION_LOST);
    }
}

static void check_no_blank(struct sim_world *world)
{
    for (unsigned i = 0; i < world->n_pages; i++) {
        if (world->pages[i].blank_title && !world->pages[i].trashed &&
            world->ledger.pages[i].state != OR_PAGE_BOUND) {
            sim_violate(world, SIM_VIOLATION_DISAGREE);
        }
    }
}

/* ---- ledger ------------------------------------------------------------------------------------
 */

/* What the ledger may be left with: a key without a page, one that is done or buried, one that was
 * given to a payload which the store refuses, or an intent whose holder is gone. */
static void check_ledger(struct sim_world *world, unsigned key)
{
    const struct or_key_record *record = &world->ledger.keys[key];
    bool refused =
        record->state == OR_KEY_BOUND && world->records[sim_value_of(&record->pending) - 1].refused;
    if (record->state == OR_KEY_WRITING || (record->state == OR_KEY_BOUND && !refused)) {
        sim_violate(world, SIM_VIOLATION_DISAGREE);
    }
    if (record->state != OR_KEY_DONE) {
        return;
    }
    const struct sim_page *page = &world->pages[sim_page_of(record->page)];
    bool taken = page->trashed && !page->hand_trashed;
    bool renamed = page->key != key && !page->hand_renamed && !page->hand_trashed;
    if (taken || renamed) {
        sim_violate(world, SIM_VIOLATION_DISAGREE);
    }
}

/* ---- values ------------------------------------------------------------------------------------
 */

/* Whether the store accepted a payload of the key after it had refused it for good. What was
 * dropped may then be on the page all the same, and nobody knows its order value. */
static bool was_fickle(const struct sim_world *world, unsigned key)
{
    bool fickle = false;
    for (unsigned i = 0; i < world->n_records; i++) {
        fickle |= world->records[i].key == key && world->records[i].accepted_now;
    }
    return fickle;
}

static bool is_newest(const struct sim_world *world, unsigned key, unsigned at)
{
    const struct sim_key_facts *facts = &world->facts[key];
    bool applies = world->options.policy == ONEROW_POLICY_NEWEST && facts->acked_page == at + 1 &&
                   !was_fickle(world, key);
    return !applies || sim_value_order(world, world->pages[at].value) >= facts->highest;
}

static void check_values(struct sim_world *world, unsigned key)
{
    const struct or_key_record *record = &world->ledger.keys[key];
    const struct sim_key_facts *facts = &world->facts[key];
    if (!world->bounded || record->state != OR_KEY_DONE) {
        return;
    }
    unsigned at = sim_page_of(record->page);
    const struct sim_page *page = &world->pages[at];
    if (page->trashed || page->hand_edited || page->hand_renamed || page->hand_made) {
        return;
    }
    unsigned holds = sim_value_content(world, page->value);
    bool right = is_newest(world, key, at);
    if (record->known) {
        right &= facts->held && holds == record->fingerprint[0] &&
                 holds == sim_value_content(world, facts->held);
    }
    if (record->known && world->options.policy == ONEROW_POLICY_KEEP && facts->first_held) {
        right &= holds == sim_value_content(world, facts->first_held);
    }
    if (!right) {
        sim_violate(world, SIM_VIOLATION_VALUES);
    }
}

void sim_oracle_end(struct sim_world *world)
{
    check_settled(world);
    for (unsigned key = 1; key <= world->n_keys; key++) {
        check_acked(world, key);
        if (world->core) {
            check_one(world, key);
            check_ledger(world, key);
            check_values(world, key);
            check_rejected(world, key);
        }
    }
    if (world->core) {
        check_no_blank(world);
    }
}
