/* SPDX-License-Identifier: Apache-2.0 */
#include "core/retry.h"

#include <string.h>

#include "base/u64.h"

void or_retry_init(struct or_retry *retry, const struct or_retry_limits *limits, uint64_t now_ms)
{
    memset(retry, 0, sizeof *retry);
    retry->limits = limits;
    retry->started_ms = now_ms;
}

void or_retry_ok(struct or_retry *retry)
{
    memset(retry->failed, 0, sizeof retry->failed);
}

static uint64_t end_of(const struct or_retry *retry)
{
    uint64_t total = retry->limits->total_ms;
    return total ? or_u64_add(retry->started_ms, total) : UINT64_MAX;
}

bool or_retry_expired(const struct or_retry *retry, uint64_t now_ms)
{
    return now_ms >= end_of(retry);
}

/* Uniform in [floor, base * 2^n], within the cap. */
static uint64_t jitter(const struct or_retry_class_limits *limits, unsigned n, uint64_t random)
{
    uint64_t most = limits->base_ms;
    for (unsigned i = 0; i < n && most < limits->cap_ms; i++) {
        most = or_u64_add(most, most);
    }
    most = most < limits->cap_ms ? most : limits->cap_ms;
    if (most <= OR_RETRY_FLOOR_MS) {
        return OR_RETRY_FLOOR_MS;
    }
    return OR_RETRY_FLOOR_MS + random % (most - OR_RETRY_FLOOR_MS + 1);
}

bool or_retry_next(struct or_retry *retry, enum or_retry_class class, uint64_t retry_after_ms,
                   uint64_t now_ms, uint64_t random, uint64_t *wait_ms)
{
    const struct or_retry_class_limits *limits = &retry->limits->classes[class];
    unsigned before = retry->failed[class];
    retry->failed[class] += before < UINT32_MAX;
    *wait_ms = or_u64_add(retry_after_ms, jitter(limits, before, random));
    /* A wait that would end too late is not cut short: what comes back early is refused again. */
    return !(limits->tries && before + 1 >= limits->tries) &&
           or_u64_add(now_ms, *wait_ms) < end_of(retry);
}
