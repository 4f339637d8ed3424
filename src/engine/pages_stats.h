/* SPDX-License-Identifier: Apache-2.0
 *
 * What a run cost a store of pages.
 */
#ifndef OR_ENGINE_PAGES_STATS_H
#define OR_ENGINE_PAGES_STATS_H

#include <stdint.h>

struct or_pages_stats {
    uint64_t requests;  /* sent to the store */
    uint64_t probes;    /* look-ups among them */
    uint64_t conflicts; /* answered with 409 */
    uint64_t rated;     /* answered with 429 or 529 */
    uint64_t uncertain; /* without an answer that says what was done */
    uint64_t unsent;    /* not sent, because their time was over when leave came */
    uint64_t held_ms;   /* nothing could be sent for so long, because of windows or the breaker */
    uint64_t opened;    /* how often the breaker has opened */
    uint64_t twins;     /* records whose key several pages carry */
};

void or_pages_stats_add(struct or_pages_stats *sum, const struct or_pages_stats *more);

#endif
