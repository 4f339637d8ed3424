/* SPDX-License-Identifier: Apache-2.0
 *
 * Numbers that never wrap: a time that jumps or a header that lies may hold any value, and
 * a sum that wrapped would turn the longest wait into none.
 */
#ifndef OR_BASE_U64_H
#define OR_BASE_U64_H

#include <stdint.h>

/* The sum, or UINT64_MAX when it would be larger. */
static inline uint64_t or_u64_add(uint64_t a, uint64_t b)
{
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

/* The difference, or 0 when it would be negative. */
static inline uint64_t or_u64_sub(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

static inline uint64_t or_u64_min(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static inline uint64_t or_u64_max(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

#endif
