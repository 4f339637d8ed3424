/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/latency.h"

#include <time.h>

uint64_t or_latency_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000U + (uint64_t)now.tv_nsec / 1000U;
}

/* Values below 2^BITS have a slot each; from there on each power of two has 2^BITS slots. */
static unsigned slot_of(uint64_t us)
{
    if (us < 1U << OR_LATENCY_BITS) {
        return (unsigned)us;
    }
    unsigned power = 63U - (unsigned)__builtin_clzll(us);
    if (power >= OR_LATENCY_RANGE) {
        return OR_LATENCY_SLOTS - 1;
    }
    unsigned shift = power - OR_LATENCY_BITS;
    return ((shift + 1) << OR_LATENCY_BITS) + (unsigned)(us >> shift) - (1U << OR_LATENCY_BITS);
}

static uint64_t middle_of(unsigned slot)
{
    unsigned octave = slot >> OR_LATENCY_BITS;
    if (octave == 0) {
        return slot;
    }
    unsigned shift = octave - 1;
    uint64_t first = (uint64_t)((slot & ((1U << OR_LATENCY_BITS) - 1)) | 1U << OR_LATENCY_BITS)
                     << shift;
    return first + ((1ULL << shift) >> 1);
}

void or_latency_add(struct or_latency *latency, uint64_t us)
{
    latency->slots[slot_of(us)]++;
    latency->n++;
    latency->max = us > latency->max ? us : latency->max;
}

void or_latency_merge(struct or_latency *sum, const struct or_latency *more)
{
    for (unsigned i = 0; i < OR_LATENCY_SLOTS; i++) {
        sum->slots[i] += more->slots[i];
    }
    sum->n += more->n;
    sum->max = more->max > sum->max ? more->max : sum->max;
}

uint64_t or_latency_percentile(const struct or_latency *latency, unsigned percent)
{
    uint64_t wanted = latency->n / 100 * percent + (latency->n % 100 * percent + 99) / 100;
    uint64_t seen = 0;
    for (unsigned i = 0; i < OR_LATENCY_SLOTS && latency->n; i++) {
        seen += latency->slots[i];
        if (seen >= wanted) {
            uint64_t value = middle_of(i);
            return value < latency->max ? value : latency->max;
        }
    }
    return latency->max;
}

struct or_latency_summary or_latency_summarise(const struct or_latency *latency)
{
    return (struct or_latency_summary){.p50 = or_latency_percentile(latency, 50),
                                       .p90 = or_latency_percentile(latency, 90),
                                       .p99 = or_latency_percentile(latency, 99),
                                       .max = latency->max};
}
