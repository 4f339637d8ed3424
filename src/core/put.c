/* SPDX-License-Identifier: Apache-2.0
 *
 * A batch of records goes into the store in one transaction. What can happen:
 *
 *            +--------------------- next range ------------------------+
 *            v                                                         |
 *   IDLE -> BEGINNING -ok-> APPLYING -ok-> COMMITTING -ok-> settle: the verdicts
 *             ^  |             |               |                 ^
 *             |  +-- failed ---+--- failed ----+                 |
 *             |                v                                 |
 *             |             UNDOING                              |
 *             +--- retry ------+                                 |
 *                              +-- refused, many records         |     -> two halves, IDLE
 *                              +-- refused, one record           |     -> settle: rejected, IDLE
 *                              +-- retried often enough          |     -> settle: rejected, IDLE
 *                              +-- interrupted                   |     -> ENDED
 *                              +-- the store failed              |     -> settle: rejected,
 *                              |                                 |        ABANDONING
 *                              +-- unknown -> RESOLVING          |
 *                                               +-- was kept ----+
 *                                               +-- was not kept       -> as after a retry
 *                                               +-- cannot be told     -> LOOKING, then
 *                                               |                         settle: in doubt, IDLE
 *                                               +-- nobody answers     -> settle: in doubt,
 *                                                                         ABANDONING
 *
 * The rules behind it:
 *  - An outcome is settled only after the COMMIT that made it durable has answered, or
 *    after the store has said that this very transaction was kept. Verdicts of a
 *    transaction that was undone are worth nothing.
 *  - A group that fails as a whole is halved until the record that makes it fail
 *    stands alone. The halves keep their order, so equal keys keep theirs. At most
 *    2 log2(n) transactions per bad record.
 *  - RETRY says that the store undid the transaction and that no record is to blame. The
 *    range is tried again, and from the third time in a row on it is halved first. The
 *    halves inherit the count, so that the number of transactions has a limit. What the
 *    store undid OR_PUT_RETRIES times in a row is refused, and the next range has its
 *    turn: the store is there. BEGIN waits in the adapter, so no clock is needed.
 *  - CLASH is a refusal that may be over in a moment: one record alone is tried once more
 *    in a new transaction before it is refused.
 *  - A COMMIT whose answer is unknown is asked after. Its records are tried again only
 *    when the store says that nothing of it was kept, and nothing will be. When the store
 *    is there and cannot tell, this range stays in doubt and the others go on; when
 *    nobody answers, the store has failed.
 *  - When the store fails, what was not written is settled as rejected, with the
 *    store's reason, so that it reaches the dead letters. Nothing is retried blindly.
 *  - INTERRUPTED leaves the records pending: they were never sent, or undone, count as
 *    not read, and the next run takes them.
 */
#include "core/put.h"

#include <assert.h>

#include "base/status.h"

void or_put_init(struct or_put *put, size_t n, bool dry_run)
{
    assert(n > 0);
    *put = (struct or_put){.state = OR_PUT_IDLE, .dry_run = dry_run};
    put->stack[put->depth++] = (struct or_put_range){.first = 0, .count = n};
}

static void command_on_range(struct or_put *put, struct or_put_command *command,
                             enum or_put_do what)
{
    *command =
        (struct or_put_command){.what = what, .first = put->now.first, .count = put->now.count};
}

static void end(struct or_put *put, struct or_put_command *command)
{
    put->state = OR_PUT_ENDED;
    *command = (struct or_put_command){.what = OR_PUT_END, .status = put->status};
}

static void next_range(struct or_put *put, struct or_put_command *command)
{
    if (put->depth == 0) {
        end(put, command);
        return;
    }
    put->now = put->stack[--put->depth];
    put->state = OR_PUT_BEGINNING;
    command_on_range(put, command, OR_PUT_BEGIN);
}

/* The current range has its outcome; afterwards `then` goes on. */
static void settle(struct or_put *put, struct or_put_command *command, enum onerow_outcome outcome,
                   enum onerow_status why, enum or_put_state then)
{
    command_on_range(put, command, OR_PUT_SETTLE);
    command->outcome = outcome;
    command->status = why;
    put->status = or_status_worse(put->status, why);
    put->state = then;
}

static void undo(struct or_put *put, struct or_put_command *command, enum onerow_status why)
{
    put->failed = why;
    put->state = OR_PUT_UNDOING;
    command_on_range(put, command, OR_PUT_ROLLBACK);
}

static void push(struct or_put *put, size_t first, size_t count, unsigned retried)
{
    assert(put->depth < OR_PUT_DEPTH);
    put->stack[put->depth++] =
        (struct or_put_range){.first = first, .count = count, .retried = retried};
}

/* Goes on with the first half of the current range. */
static void halve(struct or_put *put, struct or_put_command *command)
{
    struct or_put_range whole = put->now;
    size_t left = whole.count / 2;
    put->bisects++;
    push(put, whole.first + left, whole.count - left, whole.retried);
    push(put, whole.first, left, whole.retried);
    next_range(put, command);
}

static void once_more(struct or_put *put, struct or_put_command *command)
{
    put->retries++;
    put->state = OR_PUT_BEGINNING;
    command_on_range(put, command, OR_PUT_BEGIN);
}

/* The store undid the transaction, and no record is to blame. */
static void retry(struct or_put *put, struct or_put_command *command)
{
    unsigned retried = ++put->now.retried;
    if (retried >= OR_PUT_RETRIES) {
        settle(put, command, ONEROW_REFUSED, ONEROW_RETRY, OR_PUT_IDLE);
    } else if (retried >= OR_PUT_RETRIES_WHOLE && put->now.count > 1) {
        halve(put, command);
    } else {
        once_more(put, command);
    }
}

/* A record of the range made the transaction fail. */
static void refuse(struct or_put *put, struct or_put_command *command, enum onerow_status why)
{
    put->now.retried = 0;
    if (put->now.count > 1) {
        halve(put, command);
    } else if (why == ONEROW_CLASH && !put->now.clashed) {
        put->now.clashed = true;
        once_more(put, command);
    } else {
        settle(put, command, ONEROW_REFUSED, ONEROW_REJECTED, OR_PUT_IDLE);
    }
}

/* The failed transaction is undone: decide what becomes of its records. */
static void after_undo(struct or_put *put, struct or_put_command *command)
{
    switch (put->failed) {
    case ONEROW_OK: /* a dry run: the verdicts say what would have happened */
        settle(put, command, ONEROW_PENDING, ONEROW_OK, OR_PUT_IDLE);
        return;
    case ONEROW_RETRY: retry(put, command); return;
    case ONEROW_REJECTED:
    case ONEROW_CLASH: refuse(put, command, put->failed); return;
    case ONEROW_INTERRUPTED:
        put->status = or_status_worse(put->status, ONEROW_INTERRUPTED);
        end(put, command);
        return;
    case ONEROW_UNKNOWN:
        put->state = OR_PUT_RESOLVING;
        command_on_range(put, command, OR_PUT_RESOLVE);
        return;
    default: settle(put, command, ONEROW_REFUSED, put->failed, OR_PUT_ABANDONING); return;
    }
}

/* The store has been asked what became of the transaction. */
static void after_resolve(struct or_put *put, enum onerow_status answer,
                          struct or_put_command *command)
{
    if (answer == ONEROW_OK) {
        settle(put, command, ONEROW_PENDING, ONEROW_OK, OR_PUT_IDLE);
    } else if (answer == ONEROW_ABSENT) {
        retry(put, command);
    } else if (answer == ONEROW_UNKNOWN) {
        put->state = OR_PUT_LOOKING;
        command_on_range(put, command, OR_PUT_LOOK);
    } else {
        put->failed = answer;
        put->status = or_status_worse(put->status, answer);
        settle(put, command, ONEROW_IN_DOUBT, ONEROW_UNKNOWN, OR_PUT_ABANDONING);
    }
}

/* The store failed: every range that is left was never sent. An interruption is no failure, and
 * leaves them pending. */
static void abandon(struct or_put *put, struct or_put_command *command)
{
    if (put->depth == 0 || put->failed == ONEROW_INTERRUPTED) {
        end(put, command);
        return;
    }
    put->now = put->stack[--put->depth];
    settle(put, command, ONEROW_REFUSED, put->failed, OR_PUT_ABANDONING);
}

static void after_begin(struct or_put *put, enum onerow_status answer,
                        struct or_put_command *command)
{
    if (answer != ONEROW_OK) {
        undo(put, command, answer);
        return;
    }
    put->state = OR_PUT_APPLYING;
    command_on_range(put, command, OR_PUT_APPLY);
}

static void after_apply(struct or_put *put, enum onerow_status answer,
                        struct or_put_command *command)
{
    if (answer != ONEROW_OK || put->dry_run) {
        undo(put, command, answer);
        return;
    }
    put->transactions++;
    put->state = OR_PUT_COMMITTING;
    command_on_range(put, command, OR_PUT_COMMIT);
}

static void after_commit(struct or_put *put, enum onerow_status answer,
                         struct or_put_command *command)
{
    if (answer == ONEROW_OK) {
        settle(put, command, ONEROW_PENDING, ONEROW_OK, OR_PUT_IDLE);
    } else {
        undo(put, command, answer);
    }
}

void or_put_step(struct or_put *put, enum onerow_status answer, struct or_put_command *command)
{
    switch (put->state) {
    case OR_PUT_IDLE: next_range(put, command); return;
    case OR_PUT_BEGINNING: after_begin(put, answer, command); return;
    case OR_PUT_APPLYING: after_apply(put, answer, command); return;
    case OR_PUT_COMMITTING: after_commit(put, answer, command); return;
    case OR_PUT_UNDOING: after_undo(put, command); return;
    case OR_PUT_RESOLVING: after_resolve(put, answer, command); return;
    case OR_PUT_LOOKING: settle(put, command, ONEROW_IN_DOUBT, ONEROW_UNKNOWN, OR_PUT_IDLE); return;
    case OR_PUT_ABANDONING: abandon(put, command); return;
    case OR_PUT_ENDED: break;
    }
    assert(!"or_put_step after END");
}
