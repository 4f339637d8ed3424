/* SPDX-License-Identifier: Apache-2.0
 *
 * Rate windows: at most COUNT requests in any SPAN, several of them at once. See the top of
 * window.c.
 */
#ifndef OR_CORE_WINDOW_H
#define OR_CORE_WINDOW_H

#include "onerow/onerow.h"

#define OR_WINDOWS_MAX      4U
#define OR_WINDOW_COUNT_MAX 4096U
#define OR_WINDOW_LOG       (OR_WINDOW_COUNT_MAX + 1U) /* one more, to be given back */
#define OR_WINDOW_SPAN_MAX  (24ULL * 60 * 60 * 1000)   /* ms */

struct or_window {
    uint32_t count;
    uint64_t span_ms;
};

/* "60s", "15m", "10" (seconds), "1000ms", "1h", at most a day. False: it is none, and *reason
 * (static) says why. */
ONEROW_CHECKED bool or_window_span_parse(struct onerow_span text, uint64_t *ms,
                                         const char **reason);

/* "COUNT/SPAN": "180/60s", "2700/15m", "60/10" (seconds), "3/1000ms", "5000/1h". False: it is
 * none, and *reason (static) says why. */
ONEROW_CHECKED bool or_window_parse(struct onerow_span text, struct or_window *window,
                                    const char **reason);

/* One budget. Windows share one log of the last requests, which is as long as the largest count. */
struct or_windows {
    struct or_window windows[OR_WINDOWS_MAX];
    unsigned n;
    uint32_t next;                   /* place of the next request in sent_ms */
    uint32_t held;                   /* how many are in it: no other place of it is ever read */
    uint32_t reserved;               /* granted, and not sent yet: at any time from now on */
    uint64_t now_ms;                 /* the latest time that was seen */
    uint64_t blocked_until_ms;       /* the store said so */
    uint64_t sent_ms[OR_WINDOW_LOG]; /* a ring: when the last requests were granted */
};

/* n windows, each as or_window_parse lets it pass. */
void or_windows_init(struct or_windows *windows, const struct or_window *list, unsigned n);

/* Whether a request may be sent now; it counts as sent then. Otherwise *until_ms is the earliest
 * time to ask again. A clock that runs backwards counts as one that stands. */
ONEROW_CHECKED bool or_windows_take(struct or_windows *windows, uint64_t now_ms,
                                    uint64_t *until_ms);

/* The same in two steps, for a request that something comes before: it counts as one that may be
 * sent at any time from now on, until it is sent, or given back. Where *until_ms is UINT64_MAX,
 * that comes first. */
ONEROW_CHECKED bool or_windows_reserve(struct or_windows *windows, uint64_t now_ms,
                                       uint64_t *until_ms);
void or_windows_sent(struct or_windows *windows, uint64_t now_ms);
void or_windows_release(struct or_windows *windows);

/* What take is made of, for a log that is kept elsewhere (core/budget.h): when the next request may
 * be sent at the earliest if each was sent up to slack_ms after its time; and one that was granted
 * for a time, no earlier than the one before. */
uint64_t or_windows_earliest(const struct or_windows *windows, uint64_t slack_ms);
void or_windows_push(struct or_windows *windows, uint64_t at_ms);

/* The last request that was granted was not sent after all. At once, or not at all: only the latest
 * grant can be given back. */
void or_windows_give_back(struct or_windows *windows);

/* The store's own word leads: nothing before `until_ms` (Retry-After, or none remaining until a
 * reset). It narrows, and never widens. */
void or_windows_block(struct or_windows *windows, uint64_t until_ms);

#endif
