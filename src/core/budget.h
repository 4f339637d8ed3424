/* SPDX-License-Identifier: Apache-2.0
 *
 * A rate budget that several processes share: windows (core/window.h) whose log is kept between
 * calls by a coordinator. See the top of budget.c.
 */
#ifndef OR_CORE_BUDGET_H
#define OR_CORE_BUDGET_H

#include "core/window.h"

#define OR_BUDGET_BODY_MAX (64U + 10U * (size_t)OR_WINDOW_LOG) /* bytes that are kept */

/* Requests that may be sent under a budget that several processes share. */
struct or_permit {
    uint32_t wanted;       /* permits, 1 to OR_PERMITS_MAX */
    uint64_t most_wait_ms; /* takes none that would have to wait for longer */
    uint64_t slack_ms;     /* they are used within this time after they become valid */
    uint64_t block_ms;     /* the store said that nothing may be sent for so long; or 0 */
    /* filled */
    uint32_t granted; /* 0 to wanted, all valid at the same time */
    uint64_t wait_ms; /* until they are valid (0: now), from the answer; granted 0: until it is
                         worth asking again */
};
#define OR_PERMITS_MAX 64U

/* "180/60s,2700/15m". False: *reason (static) says why. */
ONEROW_CHECKED bool or_budget_parse(struct onerow_span text, struct or_window *list, unsigned *n,
                                    const char **reason);

/* The log as it was kept (an empty body: a new one), for the windows that hold now, at the
 * coordinator's clock. False: the body is none of or_budget_encode's. */
ONEROW_CHECKED bool or_budget_decode(struct or_windows *windows, const struct or_window *list,
                                     unsigned n, struct onerow_span body, uint64_t now_ms);
/* A log whose past is not known: nothing may be sent for the longest window. */
void or_budget_restart(struct or_windows *windows, const struct or_window *list, unsigned n,
                       uint64_t now_ms);
/* Writes at most OR_BUDGET_BODY_MAX bytes, and returns how many. */
size_t or_budget_encode(const struct or_windows *windows, char *body);

/* Books up to permit->wanted permits and fills the answer. */
void or_budget_book(struct or_windows *windows, struct or_permit *permit, uint64_t now_ms);

#endif
