/* SPDX-License-Identifier: Apache-2.0
 *
 *   ask ──> breaker ──> windows ──> leave ──┬─> use ──> tell
 *             │ wait       │ wait           └─> give back
 *
 * Leave may be had before something that comes before the request (a step of the ledger), so that
 * the request does not wait after it. Windows of this process count it as one that is sent at any
 * time from then on. Windows that are shared are the coordinator's: a permit is booked there, with
 * the time from which it is good (core/budget.h); it is kept here until then, and is good for some
 * slack after it. When the coordinator is not to be had, nothing is sent: a budget that nobody
 * keeps is none.
 *
 * The store counts what arrives, and here is known what is sent. One request may take a moment more
 * on its way than a later one, and then the two are nearer to each other there than here. So each
 * window is made longer by a margin. Margin and slack are a hundredth of the shortest window each:
 * what they cost is 2% of the speed.
 *
 * Retry-After is the store's word to all who use the token: nothing is sent here until it is over,
 * whatever leave was given before, and the coordinator hears of it at once.
 */
#include "engine/governor.h"

#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/flag.h"
#include "base/status.h"
#include "base/text.h"
#include "base/u64.h"
#include "base/wake.h"

#define LOT     8U    /* permits that are booked at a time, at most */
#define AWAY_MS 1000U /* until a coordinator that was not to be had is asked again */
#define SOON_MS 10U   /* until those who have leave may have used it */
#define TURN_MS 50U   /* a stop is seen within this */

#define MARGIN_PART   100U /* of the shortest window */
#define MARGIN_MIN_MS 50U
#define MARGIN_MAX_MS 500U

/* Windows of this process: of all its tables whose requests the store counts together. Like that
 * store's counting, they outlive who opened them. */
struct own {
    struct own *next;
    char *budget; /* owned; "": of one governor alone */
    struct or_windows windows;
};

static pthread_mutex_t own_lock = PTHREAD_MUTEX_INITIALIZER; /* of all of them */
static struct own *owns;

struct or_governor {
    struct or_breaker breaker;
    struct onerow_coordinator *coordinator;
    struct onerow_span budget;
    struct or_window list[OR_WINDOWS_MAX];
    unsigned n;
    uint64_t slack_ms;      /* a permit is good for so long */
    struct own *own;        /* windows that no coordinator shares */
    struct or_windows kept; /* a shared log, while it is changed */
    char body[OR_BUDGET_BODY_MAX];
    uint32_t permits;    /* booked and not used */
    uint64_t good_ms;    /* from when on they are good, counted from the answer … */
    uint64_t stale_ms;   /* … and from when on no more, counted from the question */
    uint64_t blocked_ms; /* the store wants to hear nothing until then */
    bool told;           /* the coordinator knows that */
    bool away;           /* the coordinator did not answer the last time */
};

static uint64_t margin_of(const struct or_governor_options *options)
{
    uint64_t shortest_ms = UINT64_MAX;
    for (unsigned i = 0; i < options->n_windows; i++) {
        shortest_ms = or_u64_min(shortest_ms, options->windows[i].span_ms);
    }
    return or_u64_max(MARGIN_MIN_MS, or_u64_min(shortest_ms / MARGIN_PART, MARGIN_MAX_MS));
}

static void free_own(struct own *own)
{
    free(own->budget);
    free(own);
}

static struct own *make_own(const struct or_governor *governor)
{
    struct own *own = calloc(1, sizeof *own);
    if (!own) {
        return NULL;
    }
    const struct onerow_span *name = &governor->budget;
    own->budget = strndup(name->len ? name->data : "", name->len);
    or_windows_init(&own->windows, governor->list, governor->n);
    if (!own->budget) {
        free_own(own);
        return NULL;
    }
    return own;
}

/* Other windows under the same name would be those of another configuration. */
static bool is_own(const struct own *own, const struct or_governor *governor)
{
    bool same = or_span_is(governor->budget, own->budget) && own->windows.n == governor->n;
    for (unsigned i = 0; same && i < governor->n; i++) {
        same = own->windows.windows[i].count == governor->list[i].count &&
               own->windows.windows[i].span_ms == governor->list[i].span_ms;
    }
    return same;
}

/* NULL: out of memory. */
static struct own *own_of(const struct or_governor *governor)
{
    if (governor->budget.len == 0) {
        return make_own(governor);
    }
    pthread_mutex_lock(&own_lock);
    struct own *own = owns;
    while (own && !is_own(own, governor)) {
        own = own->next;
    }
    if (!own && (own = make_own(governor))) {
        own->next = owns;
        owns = own;
    }
    pthread_mutex_unlock(&own_lock);
    return own;
}

struct or_governor *or_governor_create(const struct or_governor_options *options)
{
    struct or_governor *governor = calloc(1, sizeof *governor);
    if (!governor) {
        return NULL;
    }
    uint64_t margin_ms = margin_of(options);
    for (unsigned i = 0; i < options->n_windows; i++) {
        governor->list[i] = options->windows[i];
        governor->list[i].span_ms += margin_ms;
    }
    governor->slack_ms = margin_ms;
    governor->n = options->n_windows;
    governor->coordinator = options->n_windows ? options->coordinator : NULL;
    governor->budget = options->budget;
    governor->told = true;
    or_breaker_init(&governor->breaker, options->breaker, options->probe_first);
    if (!governor->coordinator && !(governor->own = own_of(governor))) {
        or_governor_destroy(governor);
        return NULL;
    }
    return governor;
}

void or_governor_destroy(struct or_governor *governor)
{
    if (governor && governor->own && !*governor->own->budget) {
        free_own(governor->own);
    }
    free(governor);
}

/* ---- shared windows ------------------------------------------------------------------------- */

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

/* False: the coordinator is not to be had. */
static bool book_lot(struct or_governor *governor, uint32_t wanted, uint64_t block_ms,
                     struct or_permit *permit)
{
    struct booking booking = {.governor = governor,
                              .permit = {.wanted = wanted < LOT ? wanted : LOT,
                                         .most_wait_ms = UINT64_MAX,
                                         .slack_ms = governor->slack_ms,
                                         .block_ms = block_ms}};
    enum onerow_status status = governor->coordinator->type->leases->share(
        governor->coordinator, governor->budget, book, &booking, NULL);
    *permit = booking.permit;
    governor->away = status != ONEROW_OK;
    return !governor->away;
}

static void book_permits(struct or_governor *governor, uint32_t wanted, uint64_t now_ms)
{
    uint64_t block_ms = governor->told ? 0 : or_u64_sub(governor->blocked_ms, now_ms);
    struct or_permit permit;
    if (!book_lot(governor, wanted, block_ms, &permit)) {
        governor->permits = 0;
        governor->good_ms = or_u64_add(or_wake_now_ms(), AWAY_MS);
        return;
    }
    governor->permits = permit.granted;
    governor->good_ms = or_u64_add(or_wake_now_ms(), permit.wait_ms);
    governor->stale_ms = or_u64_add(now_ms, or_u64_add(permit.wait_ms, governor->slack_ms));
    governor->told = true;
}

static bool take_shared(struct or_governor *governor, uint32_t wanted, uint64_t now_ms,
                        struct or_leave *leave)
{
    bool stale = governor->permits && now_ms >= governor->stale_ms;
    governor->permits = stale ? 0 : governor->permits;
    if (governor->permits == 0 && (stale || now_ms >= governor->good_ms)) {
        book_permits(governor, wanted, now_ms);
        now_ms = or_wake_now_ms(); /* that may have taken its time */
    }
    leave->until_ms = governor->good_ms;
    leave->hold = governor->away ? OR_HOLD_AWAY : OR_HOLD_WINDOW;
    if (governor->permits == 0 || now_ms < governor->good_ms) {
        return false;
    }
    governor->permits--;
    leave->stale_ms = governor->stale_ms;
    return true;
}

/* ---- asking and telling --------------------------------------------------------------------- */

static bool take_own(struct or_governor *governor, uint64_t now_ms, struct or_leave *leave)
{
    leave->hold = OR_HOLD_WINDOW;
    leave->stale_ms = UINT64_MAX;
    pthread_mutex_lock(&own_lock);
    bool given = or_windows_reserve(&governor->own->windows, now_ms, &leave->until_ms);
    pthread_mutex_unlock(&own_lock);
    if (given) {
        return true;
    }
    if (leave->until_ms == UINT64_MAX) {
        leave->until_ms = or_u64_add(now_ms, SOON_MS);
    }
    return false;
}

static bool take(struct or_governor *governor, uint32_t wanted, uint64_t now_ms,
                 struct or_leave *leave)
{
    if (now_ms < governor->blocked_ms) {
        leave->hold = OR_HOLD_WINDOW;
        leave->until_ms = governor->blocked_ms;
        return false;
    }
    return governor->coordinator ? take_shared(governor, wanted, now_ms, leave)
                                 : take_own(governor, now_ms, leave);
}

struct or_leave or_governor_ask(struct or_governor *governor, uint32_t wanted, uint64_t now_ms)
{
    struct or_leave leave = {.hold = OR_HOLD_BREAKER};
    enum or_breaker_answer answer = or_breaker_ask(&governor->breaker, now_ms, &leave.until_ms);
    if (answer == OR_BREAKER_WAIT) {
        return leave;
    }
    leave.probe = answer == OR_BREAKER_PROBE ? governor->breaker.probe : 0;
    leave.given = take(governor, wanted, now_ms, &leave);
    if (leave.given) {
        leave.hold = OR_HOLD_NONE;
    } else if (leave.probe) {
        or_breaker_give_back(&governor->breaker, leave.probe, now_ms);
        leave.probe = 0;
    }
    return leave;
}

bool or_governor_use(struct or_governor *governor, struct or_leave *leave, uint64_t now_ms)
{
    if (now_ms >= leave->stale_ms || now_ms < governor->blocked_ms) {
        or_governor_give_back(governor, leave, now_ms);
        return false;
    }
    if (!governor->coordinator) {
        pthread_mutex_lock(&own_lock);
        or_windows_sent(&governor->own->windows, now_ms);
        pthread_mutex_unlock(&own_lock);
    }
    leave->given = false;
    return true;
}

/* A permit of shared windows that is not used is wasted: others may have booked behind it. */
void or_governor_give_back(struct or_governor *governor, struct or_leave *leave, uint64_t now_ms)
{
    if (!leave->given) {
        return;
    }
    if (leave->probe) {
        or_breaker_give_back(&governor->breaker, leave->probe, now_ms);
    }
    if (!governor->coordinator) {
        pthread_mutex_lock(&own_lock);
        or_windows_release(&governor->own->windows);
        pthread_mutex_unlock(&own_lock);
    }
    *leave = (struct or_leave){0};
}

static void block(struct or_governor *governor, uint64_t until_ms, uint64_t now_ms)
{
    if (until_ms <= governor->blocked_ms) {
        return;
    }
    governor->blocked_ms = until_ms;
    governor->permits = 0;
    governor->told = false;
    if (governor->coordinator) {
        book_permits(governor, 1, now_ms);
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
        or_governor_hold(governor, retry_after_ms, now_ms);
    }
}

/* ---- requests that are waited for ------------------------------------------------------------ */

static enum onerow_status give_up(const struct or_leave *leave, struct onerow_error *error)
{
    return leave->hold == OR_HOLD_AWAY
               ? or_fail(error, ONEROW_UNAVAILABLE,
                         "the coordinator of the rate windows is not to be had")
               : or_fail(error, ONEROW_BUSY,
                         "the rate windows are full for longer than this may wait; run it again "
                         "later, or with a longer --wait");
}

enum onerow_status or_governor_pass(struct or_governor *governor, uint64_t wait_ms,
                                    const volatile bool *stop, struct onerow_error *error)
{
    uint64_t now_ms = or_wake_now_ms();
    uint64_t until_ms = or_u64_add(now_ms, wait_ms);
    for (; !or_flag_is_set(stop); now_ms = or_wake_now_ms()) {
        struct or_leave leave = {0};
        leave.given = take(governor, 1, now_ms, &leave);
        if (leave.given && or_governor_use(governor, &leave, or_wake_now_ms())) {
            return ONEROW_OK;
        }
        if (leave.until_ms > until_ms) {
            return give_up(&leave, error);
        }
        uint64_t left_ms = or_u64_sub(leave.until_ms, or_wake_now_ms());
        (void)poll(NULL, 0, (int)or_u64_min(left_ms, TURN_MS));
    }
    return or_fail(error, ONEROW_INTERRUPTED, "interrupted");
}

void or_governor_hold(struct or_governor *governor, uint64_t retry_after_ms, uint64_t now_ms)
{
    block(governor, or_u64_add(now_ms + 1, retry_after_ms), now_ms); /* now is cut to ms */
}

uint64_t or_governor_opened(const struct or_governor *governor)
{
    return governor->breaker.opened;
}
