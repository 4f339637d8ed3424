/* SPDX-License-Identifier: Apache-2.0
 *
 *              WAITING in line           HELD, or woken
 *    TRYING ───────────────────> WAITING ──────────────> HOLDING ──not renewed in time──> STOPPED
 *      │ TAKEN, time over           │ time over           │    └──LOST──> GONE               │
 *      v                            v                     v                │                 v
 *    OVER <─────────────────────────┴────── LEAVING <─────┴── the caller leaves ─────────────┘
 *
 * The holder stops before others may start. Whoever sent a request does not know when it was
 * granted, only that it was not before it was sent: so the time that a lease runs is counted from
 * before the sending of the last request that was answered. Of that time,
 *
 *   2/15   the next renewal is sent, and after a failure again,
 *   10/15  without a renewal it is lost: the holder is told, once, and renews no more,
 *   14/15  what still works under it is ended by force,
 *   15/15  somebody else may have it. The last part is for clocks of different speed.
 *
 * These are the proportions of Kubernetes' leader election (lease 15 s, renew deadline 10 s, retry
 * 2 s; k8s.io/client-go/tools/leaderelection). A holder that is paused in between knows nothing of
 * that: the token is for it.
 *
 * An acquire without an answer may have succeeded, or have joined the queue. It is asked again
 * under the same nonce; and who gives up after such a failure cancels.
 */
#include "core/lease.h"

#include <assert.h>
#include <string.h>

#include "base/u64.h"

#define PARTS       15U
#define RENEW_PARTS 2U
#define STOP_PARTS  10U
#define END_PARTS   14U

#define RETRY_MS   200U  /* the first wait after a failure is at most this; each further one */
#define RETRY_MOST 5000U /* twice the one before, and at most this */
#define FRONT      16U   /* the first ones in line, who look often: their turn comes soon */

/* ---- times -------------------------------------------------------------------------------------
 */

/* A part of the time that the lease runs; rounded down, which is early. */
static uint64_t at_part(const struct or_lease *lease, unsigned parts)
{
    uint64_t span = lease->span_ms / PARTS * parts + lease->span_ms % PARTS * parts / PARTS;
    return or_u64_add(lease->sent_ms, span);
}

/* Between half of it and all of it. */
static uint64_t jitter(uint64_t ms, uint64_t random)
{
    return ms - (ms / 2 ? random % (ms / 2 + 1) : 0);
}

static uint64_t retry_wait(const struct or_lease *lease, uint64_t random)
{
    unsigned doublings = lease->failures < 6 ? lease->failures : 6;
    uint64_t most = or_u64_min((uint64_t)RETRY_MS << doublings, RETRY_MOST);
    return jitter(most, random);
}

/* When to look again. The first in line looks when the holder's time is over. */
static uint64_t next_look(const struct or_lease *lease, const struct or_lease_event *event)
{
    uint64_t wait = lease->place <= FRONT ? lease->limits.poll_ms : lease->limits.patience_ms / 3;
    wait = jitter(or_u64_min(wait, lease->limits.patience_ms / 3), event->random);
    if (lease->place <= 1 && event->left_ms) {
        wait = or_u64_min(wait, event->left_ms + 1);
    }
    return or_u64_add(event->now_ms, wait ? wait : 1);
}

/* ---- events ------------------------------------------------------------------------------------
 */

static void hold(struct or_lease *lease, const struct or_lease_event *event)
{
    lease->state = OR_LEASE_HOLDING;
    lease->token = event->token;
    lease->sent_ms = event->sent_ms;
    lease->span_ms = event->left_ms;
    lease->next_ms = at_part(lease, RENEW_PARTS);
}

static void finish(struct or_lease *lease, enum or_lease_end end)
{
    lease->state = OR_LEASE_OVER;
    lease->end = end;
}

static void acquired(struct or_lease *lease, const struct or_lease_event *event)
{
    if (event->answer == ONEROW_LEASE_HELD) {
        hold(lease, event);
        return;
    }
    lease->place = event->place;
    lease->others_ms = event->left_ms;
    if (event->answer == ONEROW_LEASE_WAITING) {
        lease->state = OR_LEASE_WAITING;
        lease->next_ms = next_look(lease, event);
    } else {
        finish(lease, OR_LEASE_END_TAKEN);
    }
}

static void renewed(struct or_lease *lease, const struct or_lease_event *event)
{
    if (event->answer == ONEROW_LEASE_HELD) {
        hold(lease, event);
    } else {
        lease->state = OR_LEASE_GONE;
        lease->end = OR_LEASE_END_LOST;
        lease->gone_ms = event->now_ms;
    }
}

static void answered(struct or_lease *lease, const struct or_lease_event *event)
{
    lease->failures = 0;
    switch (lease->state) {
    case OR_LEASE_TRYING:
    case OR_LEASE_WAITING: acquired(lease, event); break;
    case OR_LEASE_HOLDING: renewed(lease, event); break;
    case OR_LEASE_LEAVING:
        if (lease->end == OR_LEASE_END_RELEASED && event->answer == ONEROW_LEASE_LOST) {
            lease->end = OR_LEASE_END_LOST;
        }
        lease->state = OR_LEASE_OVER;
        break;
    case OR_LEASE_STOPPED:
    case OR_LEASE_GONE:
    case OR_LEASE_OVER: assert(!"nothing was asked");
    }
}

static void failed(struct or_lease *lease, const struct or_lease_event *event)
{
    uint64_t wait = retry_wait(lease, event->random);
    if (lease->state == OR_LEASE_HOLDING) {
        wait = or_u64_min(wait, lease->span_ms / PARTS * RENEW_PARTS + 1);
    }
    lease->failures++;
    lease->next_ms = or_u64_add(event->now_ms, wait);
}

/* A hand-over whose time is nearly over, or is not known, is as good as a hint to look. */
static void woken(struct or_lease *lease, const struct or_lease_event *event)
{
    if (lease->state != OR_LEASE_WAITING && lease->state != OR_LEASE_TRYING) {
        return;
    }
    uint64_t half = or_u64_add(event->sent_ms, event->left_ms / 2);
    if (event->token && event->sent_ms <= event->now_ms && event->now_ms < half) {
        hold(lease, event);
    } else {
        lease->next_ms = event->now_ms;
    }
}

/* ---- commands ----------------------------------------------------------------------------------
 */

static struct or_lease_command sleep_until(uint64_t until_ms)
{
    return (struct or_lease_command){OR_LEASE_DO_SLEEP, until_ms};
}

static struct or_lease_command leave(struct or_lease *lease, enum or_lease_end end)
{
    bool holds = lease->state == OR_LEASE_HOLDING || lease->state == OR_LEASE_STOPPED;
    lease->state = OR_LEASE_LEAVING;
    lease->end = end;
    return (struct or_lease_command){.what = holds ? OR_LEASE_DO_RELEASE : OR_LEASE_DO_CANCEL};
}

static struct or_lease_command go_on_trying(struct or_lease *lease, uint64_t now_ms)
{
    if (lease->wants_out) {
        return leave(lease, OR_LEASE_END_LEFT);
    }
    bool asked = lease->state == OR_LEASE_WAITING || lease->failures;
    if (asked && now_ms >= lease->give_up_ms) {
        return leave(lease, lease->failures ? OR_LEASE_END_FAILED : OR_LEASE_END_TIMEOUT);
    }
    if (now_ms >= lease->next_ms) {
        return (struct or_lease_command){.what = OR_LEASE_DO_ACQUIRE};
    }
    return sleep_until(or_u64_min(lease->next_ms, lease->give_up_ms));
}

static struct or_lease_command go_on_holding(struct or_lease *lease, uint64_t now_ms)
{
    if (now_ms >= at_part(lease, STOP_PARTS)) {
        lease->state = OR_LEASE_STOPPED;
        lease->end = OR_LEASE_END_LOST;
    }
    if (lease->wants_out) {
        return leave(lease, lease->end ? lease->end : OR_LEASE_END_RELEASED);
    }
    if (lease->state == OR_LEASE_STOPPED) {
        return sleep_until(OR_LEASE_FOREVER);
    }
    if (now_ms >= lease->next_ms) {
        return (struct or_lease_command){.what = OR_LEASE_DO_RENEW};
    }
    return sleep_until(or_u64_min(lease->next_ms, at_part(lease, STOP_PARTS)));
}

/* A release or cancel that failed is sent again while it can save others a wait: until the lease,
 * or the patience of the place in the queue, is over by itself. */
static struct or_lease_command go_on_leaving(struct or_lease *lease, uint64_t now_ms)
{
    bool held = lease->token != 0;
    uint64_t over_ms = held ? or_u64_add(lease->sent_ms, lease->span_ms)
                            : or_u64_add(lease->give_up_ms, lease->limits.patience_ms);
    if (lease->failures >= 3 || now_ms >= over_ms) {
        lease->state = OR_LEASE_OVER;
        return (struct or_lease_command){.what = OR_LEASE_DO_NOTHING};
    }
    if (now_ms < lease->next_ms) {
        return sleep_until(lease->next_ms);
    }
    return (struct or_lease_command){.what = held ? OR_LEASE_DO_RELEASE : OR_LEASE_DO_CANCEL};
}

static struct or_lease_command decide(struct or_lease *lease, uint64_t now_ms)
{
    switch (lease->state) {
    case OR_LEASE_TRYING:
    case OR_LEASE_WAITING: return go_on_trying(lease, now_ms);
    case OR_LEASE_HOLDING:
    case OR_LEASE_STOPPED: return go_on_holding(lease, now_ms);
    case OR_LEASE_GONE: lease->state = lease->wants_out ? OR_LEASE_OVER : OR_LEASE_GONE; break;
    case OR_LEASE_LEAVING: return go_on_leaving(lease, now_ms);
    case OR_LEASE_OVER: break;
    }
    return lease->state == OR_LEASE_OVER ? (struct or_lease_command){.what = OR_LEASE_DO_NOTHING}
                                         : sleep_until(OR_LEASE_FOREVER);
}

/* ---- for callers -------------------------------------------------------------------------------
 */

void or_lease_begin(struct or_lease *lease, const struct or_lease_limits *limits, uint64_t now_ms)
{
    assert(limits->ttl_ms > 0 && limits->ttl_ms <= ONEROW_LEASE_TTL_MAX);
    *lease = (struct or_lease){.limits = *limits,
                               .state = OR_LEASE_TRYING,
                               .next_ms = now_ms,
                               .give_up_ms = or_u64_add(now_ms, limits->wait_ms)};
}

struct or_lease_command or_lease_step(struct or_lease *lease, const struct or_lease_event *event)
{
    switch (event->kind) {
    case OR_LEASE_TIME: break;
    case OR_LEASE_ANSWER: answered(lease, event); break;
    case OR_LEASE_FAILED: failed(lease, event); break;
    case OR_LEASE_WOKEN: woken(lease, event); break;
    }
    return decide(lease, event->now_ms);
}

void or_lease_leave(struct or_lease *lease)
{
    lease->wants_out = true;
}

/* One that is gone may be somebody else's already: what is left is a fifteenth, for good manners.
 */
static enum or_lease_right watch_gone(const struct or_lease *lease, uint64_t now_ms,
                                      uint64_t *until_ms)
{
    uint64_t grace = or_u64_add(lease->gone_ms, lease->span_ms / PARTS);
    *until_ms = or_u64_min(grace, at_part(lease, END_PARTS));
    return now_ms < *until_ms ? OR_LEASE_RIGHT_STOP : OR_LEASE_RIGHT_END;
}

uint64_t or_lease_last_ms(const struct or_lease *lease)
{
    uint64_t until_ms = 0;
    if (lease->gone_ms) {
        (void)watch_gone(lease, lease->gone_ms, &until_ms);
        return until_ms;
    }
    return lease->token ? at_part(lease, END_PARTS) : 0;
}

enum or_lease_right or_lease_watch(const struct or_lease *lease, uint64_t now_ms,
                                   uint64_t *until_ms)
{
    *until_ms = OR_LEASE_FOREVER;
    if (lease->token == 0) {
        return OR_LEASE_RIGHT_NONE;
    }
    if (lease->gone_ms) {
        return watch_gone(lease, now_ms, until_ms);
    }
    bool works = lease->state == OR_LEASE_HOLDING;
    if (works && now_ms < at_part(lease, STOP_PARTS)) {
        *until_ms = at_part(lease, STOP_PARTS);
        return OR_LEASE_RIGHT_WORK;
    }
    if (now_ms < at_part(lease, END_PARTS)) {
        *until_ms = at_part(lease, END_PARTS);
        return OR_LEASE_RIGHT_STOP;
    }
    return OR_LEASE_RIGHT_END;
}
