/* SPDX-License-Identifier: Apache-2.0
 *
 * How a page that belongs to a key comes to its values: writing what is pending, and what follows
 * when the page does not take it. See the top of attempt.c.
 *
 *              MARK <──────────── every write but the claim's first
 *                │
 *   claim ───> PATCH ── ok ──────> DONE
 *                │  ── refused ──> own: rejected. Another's: set aside for the own (BOUND), or for
 *                │                 nothing (WRITING)
 *                │  ── in trash ─> GET ── the key is not on it, BOUND ─> UNBIND
 *                │                     └─ otherwise ─> what when_trashed says
 *                │  ── not found ─> unknown
 *                │  ── ok, and the page carries another key ─> DONE with unknown values; its owner
 *                │                  looks: rejected
 *                └  ── else ─────> READ, and so on
 *
 * A person who changed a page's key has taken it away from the key: who only writes values may not
 * say that the record is there. The next one writes again, and sees whether that still is so.
 *
 * A refused payload may have been accepted from another sender in the meantime, so the version that
 * follows it is doubtful.
 */
#include "core/attempt_internal.h"

#include <string.h>

#include "base/text.h"
#include "base/u64.h"

static void forget_pending(struct or_key_record *key)
{
    key->nonce = (struct or_nonce){0};
    key->pending = (struct or_payload){0};
}

/* ---- writing -------------------------------------------------------------------------------- */

/* The swap that tells everybody else that one more write is sent. */
static void mark(struct or_attempt *attempt, const struct or_event *event,
                 struct or_command *command)
{
    struct or_swap *swap = or_attempt_new_swap(attempt, attempt->key.state);
    swap->becomes.doubtful = true;
    swap->stamp = true;
    attempt->stamped_ms = event->now_ms;
    attempt->traced = false;
    or_attempt_send_swap(attempt, command, OR_ATTEMPT_MARKING);
}

void or_attempt_patch(struct or_attempt *attempt, const struct or_event *event,
                      struct or_command *command)
{
    bool own =
        or_attempt_owns_pending(attempt) || attempt->traced_revision == attempt->key.revision;
    uint64_t until_ms = or_u64_add(attempt->stamped_ms, attempt->options.bounds.pause / 2);
    if (!own || !attempt->traced || event->now_ms >= until_ms) {
        mark(attempt, event, command);
        return;
    }
    attempt->traced = false;
    attempt->state = OR_ATTEMPT_PATCHING;
    command->what = attempt->key.state == OR_KEY_BOUND ? OR_DO_PUBLISH : OR_DO_WRITE;
    command->page = attempt->key.page;
    command->payload = &attempt->key.pending;
    command->deadline_ms = until_ms;
}

void or_attempt_finish(struct or_attempt *attempt, struct or_command *command)
{
    struct or_key_record *becomes = &or_attempt_new_swap(attempt, OR_KEY_DONE)->becomes;
    becomes->known = !attempt->misplaced;
    memcpy(becomes->fingerprint, becomes->pending.fingerprint, OR_FINGERPRINT_LEN);
    becomes->order = becomes->pending.order;
    if (!becomes->doubtful) {
        forget_pending(becomes);
    }
    or_attempt_send_swap(attempt, command, OR_ATTEMPT_FINISHING);
}

void or_attempt_open(struct or_attempt *attempt, const struct or_event *event,
                     struct or_command *command)
{
    struct or_swap *swap = or_attempt_new_swap(attempt, OR_KEY_WRITING);
    swap->becomes.version++;
    swap->becomes.doubtful = false; /* whatever was doubtful has arrived or never will */
    or_attempt_claim(attempt, event, false);
    or_attempt_send_swap(attempt, command, OR_ATTEMPT_OPENING);
}

/* ---- refused for good -------------------------------------------------------------------------
 */

/* Another's payload was refused, and its page was never published: the own one takes its place. */
static void replace(struct or_attempt *attempt, const struct or_event *event,
                    struct or_command *command)
{
    struct or_nonce refused = attempt->key.nonce;
    struct or_swap *swap = or_attempt_new_swap(attempt, OR_KEY_BOUND);
    swap->becomes.doubtful = true;
    or_attempt_claim(attempt, event, true);
    swap->refused = refused;
    or_attempt_send_swap(attempt, command, OR_ATTEMPT_REPLACING);
}

/* The refused version holds what the one before it did. */
static void drop(struct or_attempt *attempt, struct or_command *command)
{
    struct or_swap *swap = or_attempt_new_swap(attempt, OR_KEY_DONE);
    swap->refused = swap->becomes.nonce;
    swap->becomes.doubtful = true;
    forget_pending(&swap->becomes);
    or_attempt_send_swap(attempt, command, OR_ATTEMPT_DROPPING);
}

void or_attempt_after_drop(struct or_attempt *attempt, const struct or_event *event,
                           struct or_command *command)
{
    if (attempt->claimed && or_nonce_equal(attempt->swap.refused, attempt->claim)) {
        or_attempt_settle(attempt, command, ONEROW_REFUSED, OR_REASON_REFUSED);
    } else {
        or_attempt_decide(attempt, event, command);
    }
}

static void refused(struct or_attempt *attempt, const struct or_event *event,
                    struct or_command *command)
{
    if (attempt->key.state == OR_KEY_WRITING) {
        drop(attempt, command);
    } else if (or_attempt_owns_pending(attempt)) {
        or_attempt_settle(attempt, command, ONEROW_REFUSED, OR_REASON_REFUSED);
    } else if (attempt->own) {
        replace(attempt, event, command);
    } else {
        or_attempt_settle(attempt, command, ONEROW_IN_DOUBT, OR_REASON_IN_DOUBT);
    }
}

void or_attempt_after_patch(struct or_attempt *attempt, const struct or_event *event,
                            struct or_command *command)
{
    switch (event->answer) {
    case OR_ANSWER_OK:
        or_retry_ok(&attempt->retry);
        attempt->written = attempt->key.nonce;
        attempt->misplaced = attempt->key.state == OR_KEY_WRITING && event->renamed;
        or_attempt_finish(attempt, command);
        return;
    case OR_ANSWER_TRASHED: or_attempt_look(attempt, command); return;
    case OR_ANSWER_REFUSED: refused(attempt, event, command); return;
    case OR_ANSWER_NOT_FOUND:
        or_attempt_settle(attempt, command, ONEROW_IN_DOUBT, OR_REASON_GONE);
        return;
    default: or_attempt_again(attempt, event, command, or_answer_class(event->answer)); return;
    }
}

/* ---- deleted ------------------------------------------------------------------------------------
 */

void or_attempt_look(struct or_attempt *attempt, struct or_command *command)
{
    attempt->state = OR_ATTEMPT_LOOKING;
    command->what = OR_DO_GET;
    command->page = attempt->key.page;
    command->payload = attempt->own;
}

/* The key gives its page up, for ever. */
static void unbind(struct or_attempt *attempt, struct or_command *command)
{
    const struct or_key_record was = attempt->key;
    struct or_swap *swap = or_attempt_new_swap(attempt, OR_KEY_ABSENT);
    swap->becomes =
        (struct or_key_record){.state = OR_KEY_ABSENT, .generation = was.generation + 1};
    swap->page = was.page;
    swap->page_revision = ONEROW_LEDGER_ANY;
    swap->page_states = UINT32_MAX; /* it is this key's, by the key's own record */
    swap->page_becomes = OR_PAGE_CONDEMNED;
    or_attempt_send_swap(attempt, command, OR_ATTEMPT_DELETING);
}

static void bury(struct or_attempt *attempt, struct or_command *command)
{
    struct or_swap *swap = or_attempt_new_swap(attempt, OR_KEY_TOMBSTONE);
    swap->becomes.generation++; /* should the page come back, what was pending was not written … */
    swap->becomes.doubtful |= attempt->key.state != OR_KEY_DONE; /* … and may still arrive then */
    forget_pending(&swap->becomes);
    or_attempt_send_swap(attempt, command, OR_ATTEMPT_DELETING);
}

/* Before a published page is taken out of the trash, a swap that changes nothing but the revision:
 * somebody may have seen the page there before it was published, and be about to unbind it. */
static void announce(struct or_attempt *attempt, struct or_command *command)
{
    or_attempt_new_swap(attempt, attempt->key.state);
    or_attempt_send_swap(attempt, command, OR_ATTEMPT_ANNOUNCING);
}

void or_attempt_restore(struct or_attempt *attempt, struct or_command *command)
{
    attempt->state = OR_ATTEMPT_RESTORING;
    command->what = OR_DO_RESTORE;
    command->page = attempt->key.page;
}

static void deleted(struct or_attempt *attempt, const struct or_event *event,
                    struct or_command *command)
{
    bool published = attempt->key.state != OR_KEY_BOUND || event->has_key;
    if (!published || attempt->options.deletion == OR_DELETION_RECREATE) {
        unbind(attempt, command);
    } else if (attempt->options.deletion == OR_DELETION_TOMBSTONE) {
        bury(attempt, command);
    } else {
        announce(attempt, command);
    }
}

void or_attempt_after_deletion(struct or_attempt *attempt, const struct or_event *event,
                               struct or_command *command)
{
    or_attempt_forget_claim(attempt);
    if (attempt->key.state == OR_KEY_TOMBSTONE) {
        or_attempt_settle(attempt, command, ONEROW_REFUSED, OR_REASON_TOMBSTONE);
    } else {
        or_attempt_decide(attempt, event, command);
    }
}

void or_attempt_after_restore(struct or_attempt *attempt, const struct or_event *event,
                              struct or_command *command)
{
    if (event->answer == OR_ANSWER_OK) {
        attempt->trashed = (struct onerow_span){0};
        or_attempt_read(attempt, command);
    } else if (event->answer == OR_ANSWER_NOT_FOUND) {
        or_attempt_settle(attempt, command, ONEROW_IN_DOUBT, OR_REASON_GONE);
    } else {
        or_attempt_again(attempt, event, command, or_answer_class(event->answer));
    }
}

/* A page that is not being written: is it as it should be? */
static void after_verify(struct or_attempt *attempt, const struct or_event *event,
                         struct or_command *command)
{
    if (!event->has_key) {
        or_attempt_settle(attempt, command, ONEROW_REFUSED, OR_REASON_RENAMED);
        return;
    }
    attempt->seen_revision = attempt->key.revision;
    attempt->seen_ms = attempt->ledger_ms;
    attempt->seen_order = event->order;
    attempt->seen_equal = attempt->own && memcmp(event->fingerprint, attempt->own->fingerprint,
                                                 OR_FINGERPRINT_LEN) == 0;
    or_attempt_read(attempt, command); /* is it the key's page still? */
}

void or_attempt_after_look(struct or_attempt *attempt, const struct or_event *event,
                           struct or_command *command)
{
    if (event->answer == OR_ANSWER_NOT_FOUND) {
        or_attempt_settle(attempt, command, ONEROW_IN_DOUBT, OR_REASON_GONE);
    } else if (event->answer != OR_ANSWER_OK) {
        or_attempt_again(attempt, event, command,
                         event->answer == OR_ANSWER_RATE ? OR_RETRY_RATE : OR_RETRY_LOOKUP);
    } else if (event->in_trash) {
        attempt->trashed = attempt->key.page;
        deleted(attempt, event, command);
    } else if (attempt->key.state == OR_KEY_DONE) {
        after_verify(attempt, event, command);
    } else { /* somebody took it out of the trash in the meantime */
        attempt->trashed = (struct onerow_span){0};
        or_attempt_again(attempt, event, command, OR_RETRY_UNCERTAIN);
    }
}
