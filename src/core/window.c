/* SPDX-License-Identifier: Apache-2.0
 *
 * A store counts in windows of its own, whose beginnings nobody knows. So each window slides: a
 * request is granted iff the one COUNT grants before it is at least SPAN ago. Then no interval of
 * SPAN, wherever it begins, holds more than COUNT; and a burst of COUNT is still granted at once.
 * (A counter that begins anew every SPAN lets twice as many pass around its border.)
 *
 * A request that was reserved, and is not sent yet, counts as one that is sent at the moment of
 * each grant: should all of them be sent then, the COUNT of that interval still holds; and sent
 * later, they have left the older ones further behind.
 *
 * For that the last COUNT grants are remembered, in one ring for all windows. Times are cut to
 * whole milliseconds, so that two of them that are SPAN apart may be less: one more makes it sure.
 */
#include "core/window.h"

#include <assert.h>
#include <stddef.h>
#include <string.h>

#include "base/u64.h"

/* ---- "COUNT/SPAN" ---------------------------------------------------------------------------- */

/* Digits; 0 when there are none or too many. */
static uint64_t take_number(struct onerow_span *text)
{
    uint64_t number = 0;
    while (text->len && *text->data >= '0' && *text->data <= '9') {
        number = number > OR_WINDOW_SPAN_MAX ? number : 10 * number + (uint64_t)(*text->data - '0');
        text->data++;
        text->len--;
    }
    return number > OR_WINDOW_SPAN_MAX ? 0 : number;
}

/* Milliseconds in a unit; 0: no such unit. */
static uint64_t unit_ms(struct onerow_span unit)
{
    static const struct {
        const char *name;
        uint64_t ms;
    } UNITS[] = {{"", 1000}, {"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}};
    for (size_t i = 0; i < sizeof UNITS / sizeof *UNITS; i++) {
        if (strlen(UNITS[i].name) == unit.len && memcmp(UNITS[i].name, unit.data, unit.len) == 0) {
            return UNITS[i].ms;
        }
    }
    return 0;
}

static bool fail(const char **reason, const char *why)
{
    *reason = why;
    return false;
}

bool or_window_span_parse(struct onerow_span text, uint64_t *ms, const char **reason)
{
    uint64_t span = take_number(&text);
    uint64_t unit = unit_ms(text);
    if (unit == 0) {
        return fail(reason, "SPAN's unit must be ms, s, m or h");
    }
    if (span == 0 || span > OR_WINDOW_SPAN_MAX / unit) {
        return fail(reason, "SPAN must be longer than nothing and not longer than a day");
    }
    *ms = span * unit;
    return true;
}

bool or_window_parse(struct onerow_span text, struct or_window *window, const char **reason)
{
    uint64_t count = take_number(&text);
    if (count == 0 || count > OR_WINDOW_COUNT_MAX) {
        return fail(reason, "COUNT must be a number from 1 to 4096");
    }
    if (text.len == 0 || *text.data != '/') {
        return fail(reason, "it must be COUNT/SPAN, as in 180/60s");
    }
    text.data++;
    text.len--;
    window->count = (uint32_t)count;
    return or_window_span_parse(text, &window->span_ms, reason);
}

/* ---- the budget ---------------------------------------------------------------------------------
 */

void or_windows_init(struct or_windows *windows, const struct or_window *list, unsigned n)
{
    assert(n <= OR_WINDOWS_MAX);
    memset(windows, 0, offsetof(struct or_windows, sent_ms));
    for (unsigned i = 0; i < n; i++) {
        assert(list[i].count > 0 && list[i].count <= OR_WINDOW_COUNT_MAX);
        windows->windows[i] = list[i];
    }
    windows->n = n;
}

/* When the grant was made that is `back` grants ago; 1: the last one. */
static uint64_t grant(const struct or_windows *windows, uint32_t back)
{
    return windows->sent_ms[(windows->next + OR_WINDOW_LOG - back) % OR_WINDOW_LOG];
}

uint64_t or_windows_earliest(const struct or_windows *windows, uint64_t slack_ms)
{
    uint64_t until = windows->blocked_until_ms;
    for (unsigned i = 0; i < windows->n; i++) {
        const struct or_window *window = &windows->windows[i];
        if (windows->reserved >= window->count) {
            return UINT64_MAX;
        }
        if (windows->held + windows->reserved >= window->count) {
            uint64_t span_ms = or_u64_add(window->span_ms + 1, slack_ms);
            uint64_t last_ms = grant(windows, window->count - windows->reserved);
            until = or_u64_max(until, or_u64_add(last_ms, span_ms));
        }
    }
    return until;
}

void or_windows_push(struct or_windows *windows, uint64_t at_ms)
{
    windows->sent_ms[windows->next] = at_ms;
    windows->next = (windows->next + 1) % OR_WINDOW_LOG;
    windows->held += windows->held < OR_WINDOW_LOG;
}

bool or_windows_reserve(struct or_windows *windows, uint64_t now_ms, uint64_t *until_ms)
{
    windows->now_ms = or_u64_max(now_ms, windows->now_ms);
    *until_ms = or_windows_earliest(windows, 0);
    if (windows->now_ms < *until_ms) {
        return false;
    }
    windows->reserved++;
    return true;
}

void or_windows_sent(struct or_windows *windows, uint64_t now_ms)
{
    assert(windows->reserved);
    windows->now_ms = or_u64_max(now_ms, windows->now_ms);
    windows->reserved--;
    or_windows_push(windows, windows->now_ms);
}

void or_windows_release(struct or_windows *windows)
{
    assert(windows->reserved);
    windows->reserved--;
}

bool or_windows_take(struct or_windows *windows, uint64_t now_ms, uint64_t *until_ms)
{
    if (!or_windows_reserve(windows, now_ms, until_ms)) {
        return false;
    }
    or_windows_sent(windows, now_ms);
    return true;
}

void or_windows_give_back(struct or_windows *windows)
{
    if (windows->held) {
        windows->next = (windows->next + OR_WINDOW_LOG - 1) % OR_WINDOW_LOG;
        windows->held--;
    }
}

void or_windows_block(struct or_windows *windows, uint64_t until_ms)
{
    if (until_ms > windows->blocked_until_ms) {
        windows->blocked_until_ms = until_ms;
    }
}
