/* SPDX-License-Identifier: Apache-2.0
 *
 * How long things took: a histogram of fixed size. Slots are as wide as 1/32 of what they
 * hold, so a quantile is off by at most 1/64 (the middle of its slot is told); the largest
 * value is kept as it is.
 */
#ifndef OR_ENGINE_LATENCY_H
#define OR_ENGINE_LATENCY_H

#include <stdint.h>

#define OR_LATENCY_BITS  5U  /* of a value that tell its slot within its power of two */
#define OR_LATENCY_RANGE 40U /* microseconds up to 2^40, which is 12 days; above, the last slot */
#define OR_LATENCY_SLOTS ((OR_LATENCY_RANGE - OR_LATENCY_BITS + 1U) << OR_LATENCY_BITS)

struct or_latency {
    uint64_t slots[OR_LATENCY_SLOTS];
    uint64_t n;
    uint64_t max;
};

struct or_latency_summary { /* microseconds; all 0 when nothing was measured */
    uint64_t p50;
    uint64_t p90;
    uint64_t p99;
    uint64_t max;
};

/* A monotonic clock, microseconds. */
uint64_t or_latency_now(void);

void or_latency_add(struct or_latency *latency, uint64_t us);
void or_latency_merge(struct or_latency *sum, const struct or_latency *more);
/* What `percent` of the values (1 to 100) do not exceed. */
uint64_t or_latency_percentile(const struct or_latency *latency, unsigned percent);
struct or_latency_summary or_latency_summarise(const struct or_latency *latency);

#endif
