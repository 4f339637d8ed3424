/* SPDX-License-Identifier: Apache-2.0
 *
 * How a key without a page comes to one: an attempt's look-up, and what follows it. See the top of
 * attempt.c.
 *
 * A page that carries the key already is adopted (pages.h says which). A blank that an earlier try
 * made is used before another one is made.
 */
#include "core/attempt_internal.h"

#include <string.h>

#include "base/text.h"
#include "base/u64.h"

#define STATE(state) (1U << (state))

/* ---- looking ------------------------------------------------------------------------------- */

void or_attempt_probe(struct or_attempt *attempt, struct or_command *command)
{
    attempt->state = OR_ATTEMPT_PROBING;
    attempt->probed_revision = attempt->key.revision;
    command->what = OR_DO_PROBE;
}

static void vet(struct or_attempt *attempt, struct or_command *command)
{
    or_attempt_read(attempt, command);
    attempt->state = OR_ATTEMPT_VETTING;
    command->pages = attempt->found;
    command->n_pages = attempt->n_found;
}

static void no_page(struct or_attempt *attempt, const struct or_event *event,
                    struct or_command *command);

void or_attempt_after_probe(struct or_attempt *attempt, const struct or_event *event,
                            struct or_command *command)
{
    if (event->answer != OR_ANSWER_OK) { /* a failed look-up is no absence */
        or_attempt_again(attempt, event, command,
                         event->answer == OR_ANSWER_RATE ? OR_RETRY_RATE : OR_RETRY_LOOKUP);
    } else if (event->n_pages > OR_ATTEMPT_PAGES) {
        attempt->twins = true;
        or_attempt_settle(attempt, command, ONEROW_REFUSED, OR_REASON_TOO_MANY);
    } else if (event->n_pages == 0) {
        no_page(attempt, event, command);
    } else {
        attempt->n_found = event->n_pages;
        for (size_t i = 0; i < event->n_pages; i++) {
            attempt->candidates[i] = event->pages[i];
            attempt->found[i] = event->pages[i].id;
        }
        vet(attempt, command);
    }
}

/* ---- adopting -------------------------------------------------------------------------------- */

static void adopt(struct or_attempt *attempt, struct or_command *command,
                  const struct onerow_value *order)
{
    attempt->swap = or_pages_adopt(&attempt->key, &attempt->candidates[attempt->winner],
                                   &attempt->winner_record, order);
    or_attempt_send_swap(attempt, command, OR_ATTEMPT_ADOPTING);
}

void or_attempt_after_vetting(struct or_attempt *attempt, const struct or_event *event,
                              struct or_command *command)
{
    if (!or_attempt_take_read(attempt, event, command)) {
        return;
    }
    if (attempt->key.revision != attempt->probed_revision) { /* what was found is out of date */
        or_attempt_decide(attempt, event, command);
        return;
    }
    struct or_choice choice = or_pages_choose(&attempt->key, attempt->name, attempt->candidates,
                                              event->records, attempt->n_found);
    attempt->twins |= choice.live > 1;
    if (choice.found) {
        attempt->winner = choice.winner;
        attempt->winner_record = event->records[choice.winner];
    }
    if (!choice.found && choice.taken) {
        or_attempt_settle(attempt, command, ONEROW_REFUSED, OR_REASON_TAKEN);
    } else if (!choice.found) {
        no_page(attempt, event, command);
    } else if (attempt->options.policy == ONEROW_POLICY_NEWEST) {
        attempt->state = OR_ATTEMPT_WEIGHING;
        command->what = OR_DO_GET;
        command->page = attempt->candidates[attempt->winner].id;
    } else {
        adopt(attempt, command, &(struct onerow_value){0});
    }
}

void or_attempt_after_weighing(struct or_attempt *attempt, const struct or_event *event,
                               struct or_command *command)
{
    if (event->answer == OR_ANSWER_OK && !event->in_trash && event->has_key) {
        adopt(attempt, command, &event->order);
    } else {
        or_attempt_again(attempt, event, command,
                         event->answer == OR_ANSWER_RATE ? OR_RETRY_RATE : OR_RETRY_LOOKUP);
    }
}

/* ---- guarded: a blank, and BIND -----------------------------------------------------------------
 */

static void bind(struct or_attempt *attempt, const struct or_event *event,
                 struct or_command *command)
{
    const struct or_key_record was = attempt->key;
    struct or_swap *swap = or_attempt_new_swap(attempt, OR_KEY_BOUND);
    swap->becomes = (struct or_key_record){
        .state = OR_KEY_BOUND, .page = attempt->blank, .generation = was.generation, .version = 1};
    or_attempt_claim(attempt, event, true);
    swap->page = attempt->blank;
    swap->page_revision = ONEROW_LEDGER_ANY;
    swap->page_states = STATE(OR_PAGE_UNRECORDED) | STATE(OR_PAGE_BLANK);
    swap->page_becomes = OR_PAGE_BOUND;
    or_attempt_send_swap(attempt, command, OR_ATTEMPT_BINDING);
}

static void create(struct or_attempt *attempt, struct or_command *command)
{
    attempt->step++;
    attempt->state = OR_ATTEMPT_CREATING;
    command->what = OR_DO_CREATE;
    command->nonce = (struct or_nonce){attempt->number, attempt->step};
}

void or_attempt_after_create(struct or_attempt *attempt, const struct or_event *event,
                             struct or_command *command)
{
    if (event->answer == OR_ANSWER_OK) {
        attempt->blank = event->page;
        bind(attempt, event, command);
    } else if (event->answer == OR_ANSWER_REFUSED) {
        or_attempt_settle(attempt, command, ONEROW_REFUSED, OR_REASON_REFUSED);
    } else { /* a blank may be left behind: it carries no key, and the sweeper finds it */
        or_attempt_again(attempt, event, command, or_answer_class(event->answer));
    }
}

/* ---- direct: INTENT, and a create with the key
 * ---------------------------------------------------- */

static void claim_intent(struct or_attempt *attempt, const struct or_event *event,
                         struct or_command *command)
{
    const struct or_key_record was = attempt->key;
    bool given_up = was.state == OR_KEY_INTENT; /* its holder's page must not be this one's */
    struct or_swap *swap = or_attempt_new_swap(attempt, OR_KEY_INTENT);
    swap->becomes = (struct or_key_record){
        .state = OR_KEY_INTENT, .generation = was.generation + given_up, .version = 1};
    or_attempt_claim(attempt, event, true);
    or_attempt_send_swap(attempt, command, OR_ATTEMPT_CLAIMING);
}

/* The made page is the key's. */
static void finish_intent(struct or_attempt *attempt, struct or_command *command)
{
    struct or_swap *swap = or_attempt_new_swap(attempt, OR_KEY_DONE);
    struct or_key_record *becomes = &swap->becomes;
    becomes->page = attempt->made;
    becomes->known = true;
    memcpy(becomes->fingerprint, becomes->pending.fingerprint, OR_FINGERPRINT_LEN);
    becomes->order = becomes->pending.order;
    becomes->nonce = (struct or_nonce){0};
    becomes->pending = (struct or_payload){0};
    swap->page = attempt->made;
    swap->page_revision = ONEROW_LEDGER_ANY;
    swap->page_states = STATE(OR_PAGE_UNRECORDED) | STATE(OR_PAGE_BLANK);
    swap->page_becomes = OR_PAGE_BOUND;
    or_attempt_send_swap(attempt, command, OR_ATTEMPT_FINISHING);
}

/* Gives the own INTENT back: nothing was sent under it, or the store refused it. */
static void release(struct or_attempt *attempt, struct or_command *command)
{
    const struct or_key_record was = attempt->key;
    struct or_swap *swap = or_attempt_new_swap(attempt, OR_KEY_ABSENT);
    swap->becomes =
        (struct or_key_record){.state = OR_KEY_ABSENT, .generation = was.generation + 1};
    or_attempt_send_swap(attempt, command, OR_ATTEMPT_RELEASING);
}

/* Only a refusal releases. */
void or_attempt_after_release(struct or_attempt *attempt, const struct or_event *event,
                              struct or_command *command)
{
    (void)event;
    or_attempt_settle(attempt, command, ONEROW_REFUSED, OR_REASON_REFUSED);
}

/* Under the own INTENT, with nothing sent yet. Too late for the request's own deadline: the claim
 * is made again, which nobody else can have sent anything under. */
static void create_keyed(struct or_attempt *attempt, const struct or_event *event,
                         struct or_command *command)
{
    const struct or_bounds *bounds = &attempt->options.bounds;
    uint64_t deadline = or_u64_add(attempt->stamped_ms, or_bounds_usable(bounds));
    if (or_u64_add(event->now_ms, bounds->request) > deadline) {
        claim_intent(attempt, event, command);
        return;
    }
    attempt->create_sent = true;
    attempt->state = OR_ATTEMPT_KEYING;
    command->what = OR_DO_CREATE_KEYED;
    command->payload = &attempt->key.pending;
    command->deadline_ms = deadline;
}

void or_attempt_after_keyed(struct or_attempt *attempt, const struct or_event *event,
                            struct or_command *command)
{
    switch (event->answer) {
    case OR_ANSWER_OK:
        attempt->may_exist = true;
        attempt->made = event->page;
        finish_intent(attempt, command);
        return;
    case OR_ANSWER_REFUSED: release(attempt, command); return;
    case OR_ANSWER_RATE:
    case OR_ANSWER_FAILED: /* not done; an earlier one may lie in the trash, where no look-up sees
                              it */
        attempt->create_sent = false;
        break;
    default: attempt->may_exist = true; break;
    }
    or_attempt_again(attempt, event, command, or_answer_class(event->answer));
}

void or_attempt_decide_intent(struct or_attempt *attempt, const struct or_event *event,
                              struct or_command *command)
{
    const struct or_bounds *bounds = &attempt->options.bounds;
    bool own = or_attempt_owns_pending(attempt);
    if (own && attempt->made.data) {
        finish_intent(attempt, command);
    } else if (own && !attempt->create_sent) {
        create_keyed(attempt, event, command);
    } else if (!attempt->own) { /* its holder may still be at it */
        or_attempt_settle(attempt, command, ONEROW_IN_DOUBT, OR_REASON_IN_DOUBT);
    } else if (!or_attempt_too_early(attempt, event, command, or_bounds_seen(bounds),
                                     bounds->poll)) {
        or_attempt_probe(attempt, command);
    }
}

/* ---- nobody carries the key
 * ---------------------------------------------------------------------- */

static void no_page(struct or_attempt *attempt, const struct or_event *event,
                    struct or_command *command)
{
    if (attempt->key.state == OR_KEY_TOMBSTONE) {
        or_attempt_settle(attempt, command, ONEROW_REFUSED, OR_REASON_TOMBSTONE);
    } else if (!attempt->options.may_create) {
        or_attempt_settle(attempt, command, ONEROW_REFUSED, OR_REASON_SUSPECT);
    } else if (attempt->options.protocol == OR_PROTOCOL_DIRECT) {
        claim_intent(attempt, event, command);
    } else if (attempt->blank.data) {
        bind(attempt, event, command);
    } else {
        create(attempt, command);
    }
}
