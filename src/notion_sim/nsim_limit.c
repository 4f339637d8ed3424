/* SPDX-License-Identifier: Apache-2.0
 *
 * Rate limits as the documentation has them: "Each connection has a fixed budget of requests per
 * 60-second window … The budget can be spent at any pace within the window … the Retry-After value
 * is the time until the window resets", and a second one "shared across all of the workspace's
 * connections" (developers.notion.com/reference/request-limits).
 *
 *        first request           span later          next request
 *   ──────────┤ used 1, 2, … count ├───────────────────────┤ used 1 …
 *
 * Not documented, and chosen here: a window begins with the first request after the last one ended;
 * a request that is refused counts in no window.
 */
#include "notion_sim/nsim_limit.h"

#include "base/u64.h"

void or_nsim_meter_init(struct or_nsim_meter *meter, const struct or_nsim_window *windows,
                        unsigned n)
{
    *meter = (struct or_nsim_meter){.n = n};
    for (unsigned i = 0; i < n; i++) {
        meter->frames[i].window = windows[i];
    }
}

static void end_frame(struct or_nsim_frame *frame, uint64_t now_ms)
{
    if (frame->open && now_ms >= or_u64_add(frame->now.from_ms, frame->window.span_ms)) {
        frame->past[frame->ended++ % OR_NSIM_PAST] = frame->now;
        frame->open = false;
    }
}

bool or_nsim_meter_room(struct or_nsim_meter *meter, uint64_t now_ms, uint64_t *wait_ms)
{
    *wait_ms = 0;
    for (unsigned i = 0; i < meter->n; i++) {
        struct or_nsim_frame *frame = &meter->frames[i];
        end_frame(frame, now_ms);
        if (frame->open && frame->now.used >= frame->window.count) {
            uint64_t end = or_u64_add(frame->now.from_ms, frame->window.span_ms);
            *wait_ms = or_u64_max(*wait_ms, end - now_ms);
        }
    }
    return *wait_ms == 0;
}

void or_nsim_meter_take(struct or_nsim_meter *meter, uint64_t now_ms)
{
    for (unsigned i = 0; i < meter->n; i++) {
        struct or_nsim_frame *frame = &meter->frames[i];
        end_frame(frame, now_ms);
        if (!frame->open) {
            frame->now = (struct or_nsim_used){.from_ms = now_ms};
            frame->open = true;
        }
        frame->now.used++;
        frame->most = frame->now.used > frame->most ? frame->now.used : frame->most;
    }
}

void or_nsim_meter_block(struct or_nsim_meter *meter, uint64_t until_ms, uint64_t real_ms)
{
    if (until_ms > meter->until_ms) {
        meter->until_ms = until_ms;
        meter->told_real_ms = real_ms;
    }
}
