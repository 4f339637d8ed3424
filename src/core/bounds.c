/* SPDX-License-Identifier: Apache-2.0 */
#include "core/bounds.h"

uint64_t or_time_add(uint64_t a, uint64_t b)
{
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

uint64_t or_bounds_sent(const struct or_bounds *bounds)
{
    return or_time_add(bounds->pause, bounds->request);
}

uint64_t or_bounds_arrived(const struct or_bounds *bounds)
{
    return or_time_add(or_bounds_sent(bounds), bounds->life);
}

uint64_t or_bounds_usable(const struct or_bounds *bounds)
{
    return bounds->lease > bounds->guard ? bounds->lease - bounds->guard : 0;
}

uint64_t or_bounds_seen(const struct or_bounds *bounds)
{
    uint64_t seen = or_time_add(or_time_add(bounds->pause, bounds->life),
                                or_time_add(bounds->lag, bounds->skew));
    return or_time_add(or_bounds_usable(bounds), seen);
}
