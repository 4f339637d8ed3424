/* SPDX-License-Identifier: Apache-2.0 */
#include "core/bounds.h"

#include "base/u64.h"

uint64_t or_bounds_sent(const struct or_bounds *bounds)
{
    return or_u64_add(bounds->pause, bounds->request);
}

uint64_t or_bounds_arrived(const struct or_bounds *bounds)
{
    return or_u64_add(or_bounds_sent(bounds), bounds->life);
}

uint64_t or_bounds_usable(const struct or_bounds *bounds)
{
    return or_u64_sub(bounds->lease, bounds->guard);
}

uint64_t or_bounds_seen(const struct or_bounds *bounds)
{
    uint64_t seen =
        or_u64_add(or_u64_add(bounds->pause, bounds->life), or_u64_add(bounds->lag, bounds->skew));
    return or_u64_add(or_bounds_usable(bounds), seen);
}
