/* SPDX-License-Identifier: Apache-2.0
 *
 * One record on its way into a store that cannot refuse a second row.
 *
 * A create that carries the key can never be made safe: a worker that pauses just before it sends
 * looks dead, another one creates, the first one wakes up and sends. So the row with the key is not
 * created, it is *published* onto a page that the ledger has given to the key before:
 *
 *            READ ───────────────────────────── every way back leads here
 *      ABSENT │  BOUND, WRITING │        DONE │         TOMBSTONE │
 *             v                 v             v                   v
 *           PROBE          wait, then       equal, kept,        PROBE
 *      none │   │ one     (7b) help with    older: unchanged    none: rejected
 *           v   └─> ADOPT  its payload      else WRITING(v+1)   one: ADOPT
 *        CREATE      DONE     │                │
 *        a blank      │       v                v
 *           v         └─> as DONE            PATCH values ──> DONE(v+1): updated
 *         BIND ──────────> PATCH key and payload ──> DONE(1): created
 *
 *  BIND     gives the page to the key: iff the key's record is as it was read (ABSENT, of this
 *           generation) and the page is unrecorded or blank
 *  UNBIND   takes it back, condemns the page and raises the generation; only once the page lies in
 *           the trash without the key: then no write that is still on its way can publish it
 *
 * What makes it right:
 *
 *  - Every change of the ledger is a compare-and-set against the revision that was read. Revisions
 *    never return, so a swap whose reply was lost can happen late only as long as its revision
 *    stands. Its nonce is kept for as long, and the attempt's record of that nonce tells afterwards
 *    whether it happened. A new nonce is taken only where the old swap can happen no more.
 *  - A write may arrive late, too: up to P + T + R after the swap that announced it (its writer
 *    pauses for P, its request takes T, and lives on for R). `since` is that swap's time, by the
 *    ledger's clock; `doubtful` says that more than one write, or one without a clean answer, was
 *    sent. The next version waits until since + P + T + R then. Before every write but the first of
 *    the swap's own writer a swap leaves this trace; so a helper's write is never unknown.
 *    For the page's identity none of these times matters: a late write puts the same key onto the
 *    page that has it.
 *  - P covers the time from the swap to the send. Half of it is checked: here, before the command
 * is given, and by the driver, which may have waited for a permit since (the command's deadline);
 * the other half is for pauses that nobody can check.
 *  - Help comes after since + P + T, with the payload that is pending, never with the helper's own.
 *    A payload that the store refuses for good is set aside, and its owner finds that in the record
 *    of its nonce.
 *  - A look-up that failed, or was not complete, is no absence: it is tried again. An empty one is
 *    believed only because nothing is created by it: BIND decides.
 *  - A published page is taken out of the trash only after a swap: whoever saw it there without the
 *    key, and has slept since, must not unbind it now.
 *  - Who saw the page of a pending payload in the trash, and was too late to say so, looks again
 * and does not write: each mark refuses what others are about to say of it, and among several slow
 *    workers that would go on for ever.
 *  - Only a page that answers "in the trash" was deleted. "Not found" proves nothing: unknown.
 *  - An outcome is told only after a read or an own swap showed DONE with this page and generation.
 *
 * direct (one write for a new row, right within its bounds):
 *
 *     ABSENT ─> PROBE ─none─> INTENT(nonce) ─> CREATE with the key ─> DONE
 *
 * The INTENT's holder alone may create, until since + lease - G. When the answer is lost, nobody
 * creates until S = P + R + L + D - G after the lease; then PROBE, and INTENT again.
 *
 * attempt_place.c has how a key comes to a page, attempt_write.c how the page comes to its values;
 * here is what a read of the ledger leads to.
 */
#include "core/attempt.h"

#include <assert.h>
#include <string.h>

#include "base/text.h"
#include "base/u64.h"
#include "core/attempt_internal.h"
#include "core/order.h"

const char *or_reason_text(enum or_reason reason)
{
    static const char *const TEXTS[] = {
        [OR_REASON_NONE] = "",
        [OR_REASON_KEPT] = "kept",
        [OR_REASON_OLDER] = "older",
        [OR_REASON_TOMBSTONE] = "the page was deleted, and stays deleted (when_trashed: tombstone)",
        [OR_REASON_RENAMED] = "the key of its page was changed by somebody",
        [OR_REASON_TAKEN] = "a page with this key belongs to another key",
        [OR_REASON_REFUSED] = "the store refuses it",
        [OR_REASON_SUSPECT] = "the ledger was rolled back: nothing is created before it is healed",
        [OR_REASON_TOO_MANY] = "too many pages carry this key",
        [OR_REASON_GAVE_UP] = "not written in the time allowed",
        [OR_REASON_GONE] = "the store does not find the page, which does not prove that it is gone",
        [OR_REASON_IN_DOUBT] = "not confirmed in the time allowed",
    };
    return TEXTS[reason];
}

void or_attempt_init(struct or_attempt *attempt, const struct or_attempt_options *options,
                     struct onerow_span name, const struct or_payload *own, uint64_t number,
                     struct onerow_span spare)
{
    assert(number != 0);
    memset(attempt, 0, sizeof *attempt);
    attempt->options = *options;
    attempt->name = name;
    attempt->own = own;
    attempt->number = number;
    attempt->blank = spare;
}

/* ---- ends and waits ----------------------------------------------------------------------- */

void or_attempt_settle(struct or_attempt *attempt, struct or_command *command,
                       enum onerow_outcome outcome, enum or_reason reason)
{
    attempt->state = OR_ATTEMPT_SETTLED;
    command->what = OR_DO_SETTLE;
    command->outcome = outcome;
    command->reason = reason;
    command->page = attempt->key.page;
    command->spare = attempt->blank;
    command->twins = attempt->twins;
}

/* Whether others would carry the claim out. */
static bool is_public(const struct or_attempt *attempt)
{
    return attempt->options.protocol != OR_PROTOCOL_DIRECT || !attempt->makes_the_row;
}

/* What the record's outcome is when time has run out: others publish what is bound, so a claim that
 * may have happened may yet be written; an INTENT is carried out by its holder alone. */
static void give_up(struct or_attempt *attempt, struct or_command *command)
{
    bool pending = attempt->claimed && is_public(attempt);
    if (pending || attempt->may_exist || !attempt->own) {
        or_attempt_settle(attempt, command, ONEROW_IN_DOUBT, OR_REASON_IN_DOUBT);
    } else {
        or_attempt_settle(attempt, command, ONEROW_REFUSED, OR_REASON_GAVE_UP);
    }
}

void or_attempt_wait(struct or_attempt *attempt, const struct or_event *event,
                     struct or_command *command, uint64_t ms)
{
    if (or_retry_expired(&attempt->retry, event->now_ms)) {
        give_up(attempt, command);
        return;
    }
    attempt->state = OR_ATTEMPT_WAITING;
    command->what = OR_DO_WAIT;
    command->wait_ms = ms;
}

void or_attempt_again(struct or_attempt *attempt, const struct or_event *event,
                      struct or_command *command, enum or_retry_class class)
{
    uint64_t wait_ms = 0;
    if (or_retry_next(&attempt->retry, class, event->retry_after_ms, event->now_ms, event->random,
                      &wait_ms)) {
        or_attempt_wait(attempt, event, command, wait_ms);
    } else {
        give_up(attempt, command);
    }
}

enum or_retry_class or_answer_class(enum or_answer answer)
{
    return answer == OR_ANSWER_RATE       ? OR_RETRY_RATE
           : answer == OR_ANSWER_CONFLICT ? OR_RETRY_CONFLICT
                                          : OR_RETRY_UNCERTAIN;
}

bool or_attempt_too_early(struct or_attempt *attempt, const struct or_event *event,
                          struct or_command *command, uint64_t span_ms, uint64_t most_ms)
{
    uint64_t until = or_u64_add(attempt->key.since_ms, span_ms);
    if (attempt->ledger_ms >= until) {
        return false;
    }
    uint64_t left = until - attempt->ledger_ms;
    or_attempt_wait(attempt, event, command, left < most_ms ? left : most_ms);
    return true;
}

/* ---- reading -------------------------------------------------------------------------------- */

void or_attempt_read(struct or_attempt *attempt, struct or_command *command)
{
    attempt->state = OR_ATTEMPT_READING;
    command->what = OR_DO_READ;
    command->nonce = attempt->claimed ? attempt->claim : (struct or_nonce){0};
}

void or_attempt_forget_claim(struct or_attempt *attempt)
{
    attempt->claimed = false;
    attempt->taken_version = 0;
    attempt->makes_the_row = false;
    attempt->create_sent = false;
    attempt->made = (struct onerow_span){0};
}

/* What the record of the claim's nonce says. False: it has settled the attempt. */
static bool judge_claim(struct or_attempt *attempt, const struct or_event *event,
                        struct or_command *command)
{
    if (!attempt->claimed) {
        return true;
    }
    switch (event->attempt.state) {
    case OR_ATTEMPT_NONE:
        if (attempt->key.revision != attempt->basis) { /* it can happen no more */
            or_attempt_forget_claim(attempt);
        } else if (attempt->bind_refused) { /* not by the key's record: by the page's */
            attempt->blank = (struct onerow_span){0};
        }
        attempt->bind_refused = false;
        return true;
    case OR_ATTEMPT_TAKEN:
        attempt->bind_refused = false;
        if (attempt->key.generation != event->attempt.generation) { /* its page was given up … */
            attempt->may_exist |= is_public(attempt); /* … and may have been written before */
            or_attempt_forget_claim(attempt);
        } else {
            attempt->taken_version = event->attempt.version;
        }
        return true;
    case OR_ATTEMPT_REFUSED: break;
    }
    or_attempt_settle(attempt, command, ONEROW_REFUSED, OR_REASON_REFUSED);
    return false;
}

bool or_attempt_take_read(struct or_attempt *attempt, const struct or_event *event,
                          struct or_command *command)
{
    if (event->answer != OR_ANSWER_OK) {
        or_attempt_again(attempt, event, command, OR_RETRY_BUSY);
        return false;
    }
    attempt->key = event->key;
    attempt->ledger_ms = event->ledger_ms;
    if (attempt->blank.data && attempt->key.page.data &&
        or_span_equal(attempt->blank, attempt->key.page)) {
        attempt->blank = (struct onerow_span){0}; /* bound after all */
    }
    return judge_claim(attempt, event, command);
}

/* ---- what a record of the ledger leads to -----------------------------------------------------
 */

bool or_attempt_owns_pending(const struct or_attempt *attempt)
{
    return attempt->claimed && or_nonce_equal(attempt->claim, attempt->key.nonce);
}

static void decide_absent(struct or_attempt *attempt, const struct or_event *event,
                          struct or_command *command)
{
    uint64_t arrived = or_bounds_arrived(&attempt->options.bounds);
    if (!attempt->own) {
        or_attempt_settle(attempt, command, ONEROW_UNCHANGED, OR_REASON_NONE);
        return;
    }
    /* Doubtful: the last page was given up without proof that nothing more arrives at it. */
    if (attempt->key.doubtful &&
        or_attempt_too_early(attempt, event, command, arrived, UINT64_MAX)) {
        return;
    }
    or_attempt_probe(attempt, command);
}

static void decide_pending(struct or_attempt *attempt, const struct or_event *event,
                           struct or_command *command)
{
    const struct or_bounds *bounds = &attempt->options.bounds;
    bool own = or_attempt_owns_pending(attempt) ||
               (attempt->traced_revision && attempt->traced_revision == attempt->key.revision);
    if (attempt->written.number && or_nonce_equal(attempt->written, attempt->key.nonce)) {
        or_attempt_finish(attempt, command);
    } else if (attempt->trashed.data && or_span_equal(attempt->trashed, attempt->key.page)) {
        or_attempt_look(attempt, command); /* its marks would refuse others' swaps, as theirs did */
    } else if (own || !or_attempt_too_early(attempt, event, command, or_bounds_sent(bounds),
                                            bounds->poll)) {
        or_attempt_patch(attempt, event, command);
    }
}

static bool is_equal(const struct or_attempt *attempt)
{
    if (attempt->options.verify_read) {
        return attempt->seen_equal;
    }
    return attempt->key.known &&
           memcmp(attempt->key.fingerprint, attempt->own->fingerprint, OR_FINGERPRINT_LEN) == 0;
}

/* Than what the ledger knows, or than what was just seen on the page: a person, or a write that
 * came late, may have put something newer there. */
static bool is_older(const struct or_attempt *attempt)
{
    const struct onerow_value *own = &attempt->own->order;
    return attempt->options.policy == ONEROW_POLICY_NEWEST &&
           (or_order_compare(own, &attempt->key.order) < 0 ||
            (attempt->options.verify_read && or_order_compare(own, &attempt->seen_order) < 0));
}

/* What was seen on the page before everything had arrived may be something else by now, without a
 * trace in the ledger. */
static bool is_out_of_date(const struct or_attempt *attempt)
{
    uint64_t arrived = or_bounds_arrived(&attempt->options.bounds);
    return attempt->options.verify_read && attempt->key.doubtful &&
           attempt->seen_ms < or_u64_add(attempt->key.since_ms, arrived);
}

static void decide_next_version(struct or_attempt *attempt, const struct or_event *event,
                                struct or_command *command)
{
    uint64_t arrived = or_bounds_arrived(&attempt->options.bounds);
    if (attempt->key.doubtful &&
        or_attempt_too_early(attempt, event, command, arrived, UINT64_MAX)) {
        return;
    }
    if (is_out_of_date(attempt)) {
        or_attempt_look(attempt, command);
    } else {
        or_attempt_open(attempt, event, command);
    }
}

/* Whether the page is looked at before anything is said of it. Of the own version: when it, or one
 * that came after it, was written while the page carried another key. */
static bool is_to_be_seen(const struct or_attempt *attempt)
{
    bool written = attempt->claimed && attempt->taken_version;
    bool wanted = written ? !attempt->key.known : attempt->own && attempt->options.verify_read;
    return wanted && attempt->seen_revision != attempt->key.revision;
}

static void decide_done(struct or_attempt *attempt, const struct or_event *event,
                        struct or_command *command)
{
    if (is_to_be_seen(attempt)) {
        or_attempt_look(attempt, command);
    } else if (attempt->claimed && attempt->taken_version) {
        or_attempt_settle(attempt, command,
                          attempt->makes_the_row ? ONEROW_CREATED : ONEROW_UPDATED, OR_REASON_NONE);
    } else if (!attempt->own || is_equal(attempt)) {
        or_attempt_settle(attempt, command, ONEROW_UNCHANGED, OR_REASON_NONE);
    } else if (attempt->options.policy == ONEROW_POLICY_KEEP) {
        or_attempt_settle(attempt, command, ONEROW_UNCHANGED, OR_REASON_KEPT);
    } else if (is_older(attempt)) {
        or_attempt_settle(attempt, command, ONEROW_UNCHANGED, OR_REASON_OLDER);
    } else {
        decide_next_version(attempt, event, command);
    }
}

void or_attempt_decide(struct or_attempt *attempt, const struct or_event *event,
                       struct or_command *command)
{
    switch (attempt->key.state) {
    case OR_KEY_NONE:
    case OR_KEY_ABSENT: decide_absent(attempt, event, command); return;
    case OR_KEY_BOUND:
    case OR_KEY_WRITING: decide_pending(attempt, event, command); return;
    case OR_KEY_DONE: decide_done(attempt, event, command); return;
    case OR_KEY_INTENT: or_attempt_decide_intent(attempt, event, command); return;
    case OR_KEY_TOMBSTONE:
        if (attempt->own) {
            or_attempt_probe(attempt, command);
        } else {
            or_attempt_settle(attempt, command, ONEROW_UNCHANGED, OR_REASON_TOMBSTONE);
        }
        return;
    }
    assert(!"a key's record has a state that or_key_decode does not let pass");
}

static void after_read(struct or_attempt *attempt, const struct or_event *event,
                       struct or_command *command)
{
    if (or_attempt_take_read(attempt, event, command)) {
        or_attempt_decide(attempt, event, command);
    }
}

/* ---- swaps -------------------------------------------------------------------------------------
 */

struct or_swap *or_attempt_new_swap(struct or_attempt *attempt, enum or_key_state becomes)
{
    struct or_swap *swap = &attempt->swap;
    *swap = (struct or_swap){.revision = attempt->key.revision, .becomes = attempt->key};
    swap->becomes.state = becomes;
    return swap;
}

void or_attempt_send_swap(struct or_attempt *attempt, struct or_command *command,
                          enum or_attempt_state state)
{
    attempt->state = state;
    command->what = OR_DO_SWAP;
    command->swap = &attempt->swap;
}

void or_attempt_claim(struct or_attempt *attempt, const struct or_event *event, bool makes_the_row)
{
    if (!attempt->claimed || attempt->basis != attempt->key.revision) {
        or_attempt_forget_claim(attempt);
        attempt->step++;
        attempt->claimed = true;
        attempt->claim_tried = false;
        attempt->claim = (struct or_nonce){attempt->number, attempt->step};
        attempt->basis = attempt->key.revision;
        attempt->stamped_ms = event->now_ms;
        attempt->traced = true;
    }
    attempt->makes_the_row = makes_the_row;
    attempt->swap.becomes.nonce = attempt->claim;
    attempt->swap.becomes.pending = *attempt->own;
    attempt->swap.stamp = true;
    attempt->swap.taken = attempt->claim;
}

/* The swap happened: the key's record is what it made of it. */
static void apply(struct or_attempt *attempt, const struct or_event *event)
{
    const struct or_swap *swap = &attempt->swap;
    uint64_t since_ms = swap->stamp ? event->ledger_ms : attempt->key.since_ms;
    attempt->key = swap->becomes;
    attempt->key.revision = swap->revision + 1;
    attempt->key.since_ms = since_ms;
    attempt->ledger_ms = event->ledger_ms;
    if (swap->taken.number) {
        attempt->taken_version = swap->becomes.version;
    }
}

/* What follows a swap that happened. */
static void after_swapped(struct or_attempt *attempt, const struct or_event *event,
                          struct or_command *command, enum or_attempt_state state)
{
    switch (state) {
    case OR_ATTEMPT_BINDING:
        attempt->blank = (struct onerow_span){0};
        or_attempt_patch(attempt, event, command);
        return;
    case OR_ATTEMPT_OPENING:
    case OR_ATTEMPT_REPLACING: or_attempt_patch(attempt, event, command); return;
    case OR_ATTEMPT_MARKING:
        attempt->traced = true;
        attempt->traced_revision = attempt->key.revision;
        or_attempt_patch(attempt, event, command);
        return;
    case OR_ATTEMPT_CLAIMING: or_attempt_decide_intent(attempt, event, command); return;
    case OR_ATTEMPT_DROPPING: or_attempt_after_drop(attempt, event, command); return;
    case OR_ATTEMPT_DELETING: or_attempt_after_deletion(attempt, event, command); return;
    case OR_ATTEMPT_ANNOUNCING: or_attempt_restore(attempt, command); return;
    case OR_ATTEMPT_RELEASING: or_attempt_after_release(attempt, event, command); return;
    case OR_ATTEMPT_ADOPTING:
        or_attempt_forget_claim(attempt); /* the revision it expected is over */
        or_attempt_decide(attempt, event, command);
        return;
    default: or_attempt_decide(attempt, event, command); return; /* DONE */
    }
}

static void after_swap(struct or_attempt *attempt, const struct or_event *event,
                       struct or_command *command)
{
    enum or_attempt_state state = attempt->state;
    if (attempt->swap.taken.number && event->answer != OR_ANSWER_FAILED) {
        attempt->claim_tried = true;
    } else if (attempt->swap.taken.number && !attempt->claim_tried) {
        or_attempt_forget_claim(attempt); /* it has never reached the ledger */
    }
    if (event->answer == OR_ANSWER_OK) {
        apply(attempt, event);
        after_swapped(attempt, event, command, state);
    } else if (event->answer == OR_ANSWER_REFUSED) { /* somebody else was faster: look again */
        attempt->bind_refused = state == OR_ATTEMPT_BINDING;
        if (state == OR_ATTEMPT_FINISHING) { /* direct: the made page is another key's by now */
            attempt->made = (struct onerow_span){0};
        }
        or_attempt_read(attempt, command);
    } else {
        or_attempt_again(attempt, event, command, OR_RETRY_BUSY);
    }
}

/* A swap that has been sent before, and may have happened then, keeps the time of that. */
void or_attempt_swap_sent(struct or_attempt *attempt, uint64_t now_ms)
{
    if (attempt->swap.stamp && attempt->stamped_ms == attempt->stepped_ms) {
        attempt->stamped_ms = or_u64_max(attempt->stamped_ms, now_ms);
    }
}

/* ---- the step
 * ------------------------------------------------------------------------------------ */

void or_attempt_step(struct or_attempt *attempt, const struct or_event *event,
                     struct or_command *command)
{
    memset(command, 0, sizeof *command);
    attempt->stepped_ms = event->now_ms;
    switch (attempt->state) {
    case OR_ATTEMPT_START:
        or_retry_init(&attempt->retry, attempt->options.retry, event->now_ms);
        or_attempt_read(attempt, command);
        return;
    case OR_ATTEMPT_WAITING: or_attempt_read(attempt, command); return;
    case OR_ATTEMPT_READING: after_read(attempt, event, command); return;
    case OR_ATTEMPT_PROBING: or_attempt_after_probe(attempt, event, command); return;
    case OR_ATTEMPT_VETTING: or_attempt_after_vetting(attempt, event, command); return;
    case OR_ATTEMPT_WEIGHING: or_attempt_after_weighing(attempt, event, command); return;
    case OR_ATTEMPT_CREATING: or_attempt_after_create(attempt, event, command); return;
    case OR_ATTEMPT_KEYING: or_attempt_after_keyed(attempt, event, command); return;
    case OR_ATTEMPT_PATCHING: or_attempt_after_patch(attempt, event, command); return;
    case OR_ATTEMPT_LOOKING: or_attempt_after_look(attempt, event, command); return;
    case OR_ATTEMPT_RESTORING: or_attempt_after_restore(attempt, event, command); return;
    case OR_ATTEMPT_ADOPTING:
    case OR_ATTEMPT_BINDING:
    case OR_ATTEMPT_CLAIMING:
    case OR_ATTEMPT_RELEASING:
    case OR_ATTEMPT_MARKING:
    case OR_ATTEMPT_FINISHING:
    case OR_ATTEMPT_OPENING:
    case OR_ATTEMPT_REPLACING:
    case OR_ATTEMPT_DROPPING:
    case OR_ATTEMPT_DELETING:
    case OR_ATTEMPT_ANNOUNCING: after_swap(attempt, event, command); return;
    case OR_ATTEMPT_SETTLED: break;
    }
    assert(!"or_attempt_step after SETTLE");
}
