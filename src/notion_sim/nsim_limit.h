/* SPDX-License-Identifier: Apache-2.0
 *
 * Fixed windows. See the top of nsim_limit.c.
 */
#ifndef OR_NOTION_SIM_NSIM_LIMIT_H
#define OR_NOTION_SIM_NSIM_LIMIT_H

#include "notion_sim/nsim.h"

#define OR_NSIM_PAST 64U /* ended windows that the state shows */

struct or_nsim_used {
    uint64_t from_ms;
    uint32_t used;
};

/* One window of one token, or of the workspace. */
struct or_nsim_frame {
    struct or_nsim_window window;
    bool open;
    struct or_nsim_used now;
    struct or_nsim_used past[OR_NSIM_PAST]; /* a ring */
    uint64_t ended;                         /* how many have been in it */
    uint32_t most;
};

struct or_nsim_meter {
    struct or_nsim_frame frames[OR_NSIM_WINDOWS_MAX];
    unsigned n;
    uint64_t requests;
    uint64_t refused;
    uint64_t until_ms;     /* Retry-After: nothing before this time */
    uint64_t told_real_ms; /* when that was told, by the real clock */
};

void or_nsim_meter_init(struct or_nsim_meter *meter, const struct or_nsim_window *windows,
                        unsigned n);
/* Whether a request has room in every window; false: *wait_ms is until the last of those that are
 * full ends. Takes nothing. */
ONEROW_CHECKED bool or_nsim_meter_room(struct or_nsim_meter *meter, uint64_t now_ms,
                                       uint64_t *wait_ms);
/* It counts in every window. */
void or_nsim_meter_take(struct or_nsim_meter *meter, uint64_t now_ms);
/* Retry-After was told. A later end stays. */
void or_nsim_meter_block(struct or_nsim_meter *meter, uint64_t until_ms, uint64_t real_ms);

#endif
