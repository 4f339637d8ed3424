/* SPDX-License-Identifier: Apache-2.0
 *
 *   ask ──> breaker ──> windows ──> leave
 *             │ wait       │ wait until the permit's time
 *
 * Windows that are shared are the coordinator's: a permit is booked there, with the time from which
 * it is good (core/budget.h). It is kept here until then, and used at once; one that nobody came
 * for within its slack is wasted. When the coordinator is not to be had, nothing is sent: a budget
 * that nobody keeps is none.
 */
#include "engine/governor.h"

#include <stdlib.h>

#include "base/buffer.h"
#include "base/u64.h"
#include "base/wake.h"

#define LOT      8U    /* permits that are booked at a time */
#define SLACK_MS 1000U /* a permit is good for so long */
#define AWAY_MS  1000U /* until a coordinator that was not to be had is asked again */

struct or_governor {
    struct or_breaker breaker;
    struct onerow_coordinator *coordinator;
    struct onerow_span budget;
    struct or_window list[OR_WINDOWS_MAX];
    unsigned n;
    struct or_windows own;  /* not shared */
    struct or_windows kept; /* a shared log, while it is changed */
    char body[OR_BUDGET_BODY_MAX];
    uint32_t permits;    /* booked and not used */
    uint64_t good_ms;    /* from when on they are good, counted from the answer … */
    uint64_t stale_ms;   /* … and from when on no more, counted from the question */
    uint64_t block_ms;   /* what the store said, and the coordinator has not heard */
    uint64_t blocked_ms; /* until when it said so */
};

struct or_governor *or_governor_create(const struct or_governor_options *options)
{
    struct or_governor *governor = calloc(1, sizeof *governor);
    if (!governor) {
        return NULL;
    }
    for (unsigned i = 0; i < options->n_windows; i++) {
        governor->list[i] = options->windows[i];
    }
    governor->n = options->n_windows;
    governor->coordinator = options->n_windows ? options->coordinator : NULL;
    governor->budget = options->budget;
    or_breaker_init(&governor->breaker, options->breaker, options->probe_first);
    or_windows_init(&governor->own, governor->list, governor->n);
    return governor;
}

void or_governor_destroy(struct or_governor *governor)
{
    free(governor);
}

/* ---- shared windows ----------------------------------------------------------------------------
 */

struct booking {
    struct or_governor *governor;
    struct or_permit permit;
};

static bool book(void *context, struct onerow_span body, uint64_t now_ms, struct or_buffer *becomes)
{
    struct booking *booking = context;
    struct or_governor *governor = booking->governor;
    struct or_windows *kept = &governor->kept;
    if (!or_budget_decode(kept, governor->list, governor->n, body, now_ms)) {
        or_budget_restart(kept, governor->list, governor->n, now_ms);
    }
    or_budget_book(kept, &booking->permit, now_ms);
    or_buffer_add(becomes, governor->body, or_budget_encode(kept, governor->body));
    return true;
}

static void book_permits(struct or_governor *governor, uint64_t now_ms)
{
    struct booking booking = {.governor = governor,
                              .permit = {.wanted = LOT,
                                         .most_wait_ms = UINT64_MAX,
                                         .slack_ms = SLACK_MS,
                                         .block_ms = governor->block_ms}};
    enum onerow_status status = governor->coordinator->type->leases->share(
        governor->coordinator, governor->budget, book, &booking, NULL);
    if (status == ONEROW_OK) {
        governor->permits = booking.permit.granted;
        governor->good_ms = or_u64_add(or_wake_now_ms(), booking.permit.wait_ms);
        governor->stale_ms = or_u64_add(now_ms, or_u64_add(booking.permit.wait_ms, SLACK_MS));
        governor->block_ms = 0;
    } else {
        governor->permits = 0;
        governor->good_ms = or_u64_add(now_ms, AWAY_MS);
    }
}

static bool take_shared(struct or_governor *governor, uint64_t now_ms, uint64_t *until_ms)
{
    bool stale = governor->permits && now_ms > governor->stale_ms;
    governor->permits = stale ? 0 : governor->permits;
    if (governor->permits == 0 && (stale || now_ms >= governor->good_ms)) {
        book_permits(governor, now_ms);
    }
    *until_ms = governor->good_ms;
    if (governor->permits == 0 || now_ms < governor->good_ms) {
        return false;
    }
    governor->permits--;
    return true;
}

/* ---- asking and telling ------------------------------------------------------------------------
 */

static bool take(struct or_governor *governor, uint64_t now_ms, uint64_t *until_ms)
{
    if (now_ms < governor->blocked_ms) {
        *until_ms = governor->blocked_ms;
        return false;
    }
    return governor->coordinator ? take_shared(governor, now_ms, until_ms)
                                 : or_windows_take(&governor->own, now_ms, until_ms);
}

struct or_leave or_governor_ask(struct or_governor *governor, uint64_t now_ms)
{
    struct or_leave leave = {0};
    enum or_breaker_answer answer = or_breaker_ask(&governor->breaker, now_ms, &leave.until_ms);
    if (answer == OR_BREAKER_WAIT) {
        return leave;
    }
    leave.probe = answer == OR_BREAKER_PROBE ? governor->breaker.probe : 0;
    leave.given = take(governor, now_ms, &leave.until_ms);
    if (!leave.given && leave.probe) {
        or_breaker_give_back(&governor->breaker, leave.probe, now_ms);
        leave.probe = 0;
    }
    return leave;
}

void or_governor_give_back(struct or_governor *governor, const struct or_leave *leave,
                           uint64_t now_ms)
{
    if (leave->probe) {
        or_breaker_give_back(&governor->breaker, leave->probe, now_ms);
    }
    if (!governor->coordinator) {
        or_windows_give_back(&governor->own);
    }
}

void or_governor_tell(struct or_governor *governor, const struct or_leave *leave,
                      enum or_breaker_result result, uint64_t retry_after_ms, uint64_t now_ms)
{
    if (leave->probe) {
        or_breaker_tell_probe(&governor->breaker, leave->probe, result, now_ms);
    } else {
        or_breaker_tell(&governor->breaker, result, now_ms);
    }
    if (retry_after_ms) {
        uint64_t until_ms = or_u64_add(now_ms, retry_after_ms);
        governor->blocked_ms = or_u64_max(governor->blocked_ms, until_ms);
        governor->block_ms = or_u64_max(governor->block_ms, retry_after_ms);
    }
}

uint64_t or_governor_opened(const struct or_governor *governor)
{
    return governor->breaker.opened;
}
