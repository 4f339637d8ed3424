/* SPDX-License-Identifier: Apache-2.0
 *
 * The sweeper: removes one blank that was made and never bound. See the top of sweep.c.
 */
#ifndef OR_CORE_SWEEP_H
#define OR_CORE_SWEEP_H

#include "core/attempt.h"

enum or_sweep_state {
    OR_SWEEP_START,
    OR_SWEEP_READING,    /* READ of the page's record */
    OR_SWEEP_CONDEMNING, /* SWAP */
    OR_SWEEP_TRASHING,   /* TRASH */
    OR_SWEEP_WAITING,    /* WAIT; afterwards READ */
    OR_SWEEP_SETTLED,
};

struct or_sweep {
    struct onerow_span page; /* borrowed */
    const struct or_retry_limits *limits;
    enum or_sweep_state state;
    struct or_retry retry;
    struct or_swap swap;
    struct or_page_record record;
    bool swept; /* once settled: it is in the trash; otherwise it was left alone */
};

/* For a live page with a blank's title that is older than a request's deadline: no attempt of its
 * maker's is about to bind it as a matter of course. One that does so all the same is right, too.
 */
void or_sweep_init(struct or_sweep *sweep, struct onerow_span page,
                   const struct or_retry_limits *limits);

/* As or_attempt_step; READ names no key, and SETTLE says nothing but that it is over. */
void or_sweep_step(struct or_sweep *sweep, const struct or_event *event,
                   struct or_command *command);

#endif
