/* SPDX-License-Identifier: Apache-2.0
 *
 * Who wants to send books a time: the earliest at which all windows have room after everything that
 * was booked before. Bookings are in the order of asking, so nobody starves: a process that has one
 * permit at a time gets one in turn with all others. Whoever dies with a booking wastes it, and
 * nothing is left behind that others would wait for.
 *
 * A permit is good from its time on, for `slack`; the windows are stretched by as much, so that two
 * permits that are SPAN + slack apart are SPAN apart in the sending, whichever was used late.
 *
 * The log is kept as bytes: a version, the clock when it was written, until when all is blocked,
 * and the times, each as the difference to the one before. What no window can see any more is left
 * out. A clock that went back (somebody set it; the machine has booted) is taken as one that stood:
 * everything moves with it, and nobody waits for longer than they would have.
 */
#include "core/budget.h"

#include <assert.h>
#include <string.h>

#include "base/u64.h"

#define VERSION 1U

bool or_budget_parse(struct onerow_span text, struct or_window *list, unsigned *n,
                     const char **reason)
{
    *n = 0;
    while (true) {
        const char *comma = text.len ? memchr(text.data, ',', text.len) : NULL;
        size_t len = comma ? (size_t)(comma - text.data) : text.len;
        if (*n == OR_WINDOWS_MAX) {
            *reason = "there are more than 4 windows";
            return false;
        }
        if (!or_window_parse((struct onerow_span){text.data, len}, &list[*n], reason)) {
            return false;
        }
        ++*n;
        if (!comma) {
            return true;
        }
        text = (struct onerow_span){comma + 1, text.len - len - 1};
    }
}

/* ---- bytes -------------------------------------------------------------------------------------
 */

static char *write_number(char *at, uint64_t number)
{
    while (number >= 128) {
        *at++ = (char)(number % 128 + 128);
        number /= 128;
    }
    *at++ = (char)number;
    return at;
}

static bool read_number(struct onerow_span *body, uint64_t *number)
{
    *number = 0;
    for (unsigned shift = 0; shift < 64 && body->len; shift += 7) {
        unsigned byte = (unsigned char)*body->data;
        uint64_t part = byte & 127U;
        body->data++;
        body->len--;
        if (shift == 63 && part > 1) {
            return false;
        }
        *number |= part << shift;
        if (byte < 128) {
            return true;
        }
    }
    return false;
}

static uint64_t longest_span(const struct or_windows *windows)
{
    uint64_t span_ms = 0;
    for (unsigned i = 0; i < windows->n; i++) {
        span_ms = or_u64_max(span_ms, windows->windows[i].span_ms);
    }
    return span_ms;
}

/* The time that is `back` before the end; 1: the last one. */
static uint64_t time_at(const struct or_windows *windows, uint32_t back)
{
    return windows->sent_ms[(windows->next + OR_WINDOW_LOG - back) % OR_WINDOW_LOG];
}

/* How many of the last times are to be kept. Slack is at most another span. */
static uint32_t times_kept(const struct or_windows *windows)
{
    uint64_t old_ms = or_u64_sub(windows->now_ms, 2 * longest_span(windows) + 1);
    uint32_t kept = 0;
    while (kept < windows->held && time_at(windows, kept + 1) >= old_ms) {
        kept++;
    }
    return kept;
}

size_t or_budget_encode(const struct or_windows *windows, char *body)
{
    uint32_t kept = times_kept(windows);
    uint64_t before = 0;
    char *at = write_number(body, VERSION);
    at = write_number(at, windows->now_ms);
    at = write_number(at, windows->blocked_until_ms);
    at = write_number(at, kept);
    for (uint32_t back = kept; back > 0; back--) {
        at = write_number(at, time_at(windows, back) - before);
        before = time_at(windows, back);
    }
    return (size_t)(at - body);
}

/* A clock that went back by so much. */
static void move_back(struct or_windows *windows, uint64_t by_ms)
{
    for (uint32_t i = 0; i < windows->held; i++) { /* a log that was just read begins at 0 */
        windows->sent_ms[i] = or_u64_sub(windows->sent_ms[i], by_ms);
    }
    windows->blocked_until_ms = or_u64_sub(windows->blocked_until_ms, by_ms);
    windows->now_ms -= by_ms;
}

static bool read_times(struct or_windows *windows, struct onerow_span *body, uint64_t n)
{
    uint64_t at_ms = 0;
    for (uint64_t i = 0; i < n; i++) {
        uint64_t difference = 0;
        if (!read_number(body, &difference) || difference > UINT64_MAX - at_ms) {
            return false;
        }
        at_ms += difference;
        or_windows_push(windows, at_ms);
    }
    return true;
}

bool or_budget_decode(struct or_windows *windows, const struct or_window *list, unsigned n,
                      struct onerow_span body, uint64_t now_ms)
{
    uint64_t version = 0;
    uint64_t times = 0;
    or_windows_init(windows, list, n);
    windows->now_ms = now_ms;
    if (body.len == 0) {
        return true;
    }
    bool good = read_number(&body, &version) && version == VERSION &&
                read_number(&body, &windows->now_ms) &&
                read_number(&body, &windows->blocked_until_ms) && read_number(&body, &times) &&
                times <= OR_WINDOW_LOG && read_times(windows, &body, times) && body.len == 0;
    if (good && now_ms < windows->now_ms) {
        move_back(windows, windows->now_ms - now_ms);
    }
    windows->now_ms = now_ms;
    return good;
}

void or_budget_restart(struct or_windows *windows, const struct or_window *list, unsigned n,
                       uint64_t now_ms)
{
    or_windows_init(windows, list, n);
    windows->now_ms = now_ms;
    or_windows_block(windows, or_u64_add(now_ms, longest_span(windows)));
}

/* ---- booking -----------------------------------------------------------------------------------
 */

/* No earlier than the booking before it. */
static uint64_t next_time(const struct or_windows *windows, uint64_t slack_ms)
{
    uint64_t at_ms = or_u64_max(windows->now_ms, or_windows_earliest(windows, slack_ms));
    return windows->held ? or_u64_max(at_ms, time_at(windows, 1)) : at_ms;
}

void or_budget_book(struct or_windows *windows, struct or_permit *permit, uint64_t now_ms)
{
    assert(permit->wanted > 0 && permit->wanted <= OR_PERMITS_MAX);
    windows->now_ms = or_u64_max(windows->now_ms, now_ms);
    if (permit->block_ms) {
        or_windows_block(windows, or_u64_add(windows->now_ms, permit->block_ms));
    }
    uint64_t slack_ms = or_u64_min(permit->slack_ms, longest_span(windows));
    uint64_t at_ms = next_time(windows, slack_ms);
    uint64_t wait_ms = at_ms - windows->now_ms;
    permit->granted = 0;
    if (wait_ms > permit->most_wait_ms) {
        permit->wait_ms = wait_ms - permit->most_wait_ms;
        return;
    }
    permit->wait_ms = wait_ms;
    while (permit->granted < permit->wanted && next_time(windows, slack_ms) == at_ms) {
        or_windows_push(windows, at_ms);
        permit->granted++;
    }
}
