/* SPDX-License-Identifier: Apache-2.0
 *
 * A batch of records goes into the store in one transaction. What can happen:
 *
 *            +--------------------- next range ------------------------+
 *            v                                                         |
 *   IDLE -> BEGINNING -ok-> APPLYING -ok-> COMMITTING -ok-> settle: the verdicts
 *             |                |               |    \
 *             |             failed          failed   unknown
 *             |                v               v        v
 *             |              UNDOING <---------+     settle: in doubt, then
 *             |                |                     ABANDONING
 *             |                +-- refused, many records -> two halves, IDLE
 *             |                +-- refused, one record   -> settle: rejected, IDLE
 *           failed             +-- the store failed      -> settle: rejected,
 *             +------------------------------------------>  ABANDONING
 *
 * The rules behind it:
 *  - An outcome is settled only after the COMMIT that made it durable has answered.
 *    Verdicts of a transaction that was undone are worth nothing.
 *  - A group that fails as a whole is halved until the record that makes it fail
 *    stands alone. The halves keep their order, so equal keys keep theirs. At most
 *    2 log2(n) transactions per bad record.
 *  - A COMMIT whose answer is unknown puts its records in doubt. They are not tried
 *    again here: a retry of a write whose result is unknown needs a look first, and
 *    a store that has just failed this way cannot be trusted with one.
 *  - When the store fails, what was not written is settled as rejected, with the
 *    store's reason, so that it reaches the dead letters. Nothing is retried blindly.
 *  - INTERRUPTED while waiting for the turn leaves the records pending: they were
 *    never sent, count as not read, and the next run takes them.
 */
#include "core/put.h"

#include <assert.h>

#include "base/status.h"

void or_put_init(struct or_put *put, size_t n, bool dry_run)
{
    assert(n > 0);
    *put = (struct or_put){.state = OR_PUT_IDLE, .dry_run = dry_run};
    put->stack[put->depth++] = (struct or_put_range){0, n};
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
    put->state = then;
}

static void undo(struct or_put *put, struct or_put_command *command, enum onerow_status why)
{
    put->failed = why;
    put->state = OR_PUT_UNDOING;
    command_on_range(put, command, OR_PUT_ROLLBACK);
}

static void halve(struct or_put *put)
{
    size_t left = put->now.count / 2;
    assert(put->depth + 2 <= OR_PUT_DEPTH);
    put->stack[put->depth++] = (struct or_put_range){put->now.first + left, put->now.count - left};
    put->stack[put->depth++] = (struct or_put_range){put->now.first, left};
}

/* The failed transaction is undone: decide what becomes of its records. */
static void after_undo(struct or_put *put, struct or_put_command *command)
{
    enum onerow_status why = put->failed;
    if (why == ONEROW_OK) { /* a dry run: the verdicts say what would have happened */
        settle(put, command, ONEROW_PENDING, ONEROW_OK, OR_PUT_IDLE);
        return;
    }
    if (why == ONEROW_REJECTED && put->now.count > 1) {
        halve(put);
        next_range(put, command);
        return;
    }
    put->status = or_status_worse(put->status, why);
    if (why == ONEROW_REJECTED) {
        settle(put, command, ONEROW_REFUSED, why, OR_PUT_IDLE);
    } else if (why == ONEROW_UNKNOWN) {
        settle(put, command, ONEROW_IN_DOUBT, why, OR_PUT_ABANDONING);
    } else {
        settle(put, command, ONEROW_REFUSED, why, OR_PUT_ABANDONING);
    }
}

/* The store failed: every range that is left was never sent. */
static void abandon(struct or_put *put, struct or_put_command *command)
{
    if (put->depth == 0) {
        end(put, command);
        return;
    }
    put->now = put->stack[--put->depth];
    settle(put, command, ONEROW_REFUSED, put->failed, OR_PUT_ABANDONING);
}

static void after_begin(struct or_put *put, enum onerow_status answer,
                        struct or_put_command *command)
{
    if (answer == ONEROW_INTERRUPTED) {
        put->status = or_status_worse(put->status, answer);
        end(put, command);
    } else if (answer != ONEROW_OK) {
        undo(put, command, answer);
    } else {
        put->state = OR_PUT_APPLYING;
        command_on_range(put, command, OR_PUT_APPLY);
    }
}

static void after_apply(struct or_put *put, enum onerow_status answer,
                        struct or_put_command *command)
{
    if (answer != ONEROW_OK || put->dry_run) {
        undo(put, command, answer);
        return;
    }
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
    case OR_PUT_ABANDONING: abandon(put, command); return;
    case OR_PUT_ENDED: break;
    }
    assert(!"or_put_step after END");
}
