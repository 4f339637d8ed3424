/* SPDX-License-Identifier: Apache-2.0
 *
 * A blank is left behind when its create's answer was lost, when its maker died, or when somebody
 * else bound the key first. Its maker may still be about to bind it, so it is condemned before it
 * is trashed: one swap, iff the page is unrecorded or blank. Whoever comes second, BIND or the
 * sweeper, finds the page as the other one left it.
 *
 *     READ ── unrecorded, blank ─> condemn ─> TRASH ─> swept
 *       ├──── condemned ──────────────────────> TRASH
 *       └──── bound ─> left alone
 *
 * Trashed first, it could be bound between the two, and its key would have a page in the trash.
 */
#include "core/sweep.h"

#include <assert.h>
#include <string.h>

#define STATE(state) (1U << (state))

void or_sweep_init(struct or_sweep *sweep, struct onerow_span page,
                   const struct or_retry_limits *limits)
{
    memset(sweep, 0, sizeof *sweep);
    sweep->page = page;
    sweep->limits = limits;
}

static void settle(struct or_sweep *sweep, struct or_command *command, bool swept)
{
    sweep->state = OR_SWEEP_SETTLED;
    sweep->swept = swept;
    command->what = OR_DO_SETTLE;
}

static void read_page(struct or_sweep *sweep, struct or_command *command)
{
    sweep->state = OR_SWEEP_READING;
    command->what = OR_DO_READ;
    command->pages = &sweep->page;
    command->n_pages = 1;
}

static void again(struct or_sweep *sweep, const struct or_event *event, struct or_command *command,
                  enum or_retry_class class)
{
    if (or_retry_next(&sweep->retry, class, event->retry_after_ms, event->now_ms, event->random,
                      &command->wait_ms)) {
        sweep->state = OR_SWEEP_WAITING;
        command->what = OR_DO_WAIT;
    } else {
        settle(sweep, command, false); /* condemned or not, the next sweep goes on with it */
    }
}

static void trash(struct or_sweep *sweep, struct or_command *command)
{
    sweep->state = OR_SWEEP_TRASHING;
    command->what = OR_DO_TRASH;
    command->page = sweep->page;
}

static void condemn(struct or_sweep *sweep, struct or_command *command)
{
    sweep->swap = (struct or_swap){.no_key = true,
                                   .page = sweep->page,
                                   .page_revision = sweep->record.revision,
                                   .page_states = STATE(OR_PAGE_UNRECORDED) | STATE(OR_PAGE_BLANK),
                                   .page_becomes = OR_PAGE_CONDEMNED};
    sweep->state = OR_SWEEP_CONDEMNING;
    command->what = OR_DO_SWAP;
    command->swap = &sweep->swap;
}

static void after_read(struct or_sweep *sweep, const struct or_event *event,
                       struct or_command *command)
{
    if (event->answer != OR_ANSWER_OK) {
        again(sweep, event, command, OR_RETRY_BUSY);
        return;
    }
    sweep->record = event->records[0];
    switch (sweep->record.state) {
    case OR_PAGE_UNRECORDED:
    case OR_PAGE_BLANK: condemn(sweep, command); return;
    case OR_PAGE_CONDEMNED: trash(sweep, command); return;
    case OR_PAGE_BOUND: settle(sweep, command, false); return;
    }
}

static void after_condemn(struct or_sweep *sweep, const struct or_event *event,
                          struct or_command *command)
{
    if (event->answer == OR_ANSWER_OK) {
        trash(sweep, command);
    } else if (event->answer == OR_ANSWER_REFUSED) {
        read_page(sweep, command);
    } else {
        again(sweep, event, command, OR_RETRY_BUSY);
    }
}

static void after_trash(struct or_sweep *sweep, const struct or_event *event,
                        struct or_command *command)
{
    switch (event->answer) {
    case OR_ANSWER_OK:
    case OR_ANSWER_TRASHED:
    case OR_ANSWER_NOT_FOUND: settle(sweep, command, true); return;
    case OR_ANSWER_REFUSED: settle(sweep, command, false); return;
    default: again(sweep, event, command, or_answer_class(event->answer)); return;
    }
}

void or_sweep_step(struct or_sweep *sweep, const struct or_event *event, struct or_command *command)
{
    memset(command, 0, sizeof *command);
    switch (sweep->state) {
    case OR_SWEEP_START:
        or_retry_init(&sweep->retry, sweep->limits, event->now_ms);
        read_page(sweep, command);
        return;
    case OR_SWEEP_WAITING: read_page(sweep, command); return;
    case OR_SWEEP_READING: after_read(sweep, event, command); return;
    case OR_SWEEP_CONDEMNING: after_condemn(sweep, event, command); return;
    case OR_SWEEP_TRASHING: after_trash(sweep, event, command); return;
    case OR_SWEEP_SETTLED: break;
    }
    assert(!"or_sweep_step after SETTLE");
}
