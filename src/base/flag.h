/* SPDX-License-Identifier: Apache-2.0
 *
 * A flag that a signal handler or another thread sets, once, and that nothing else hangs
 * on: no order with other memory is promised, only that the set flag is seen in the end.
 */
#ifndef OR_BASE_FLAG_H
#define OR_BASE_FLAG_H

#include <stdbool.h>

static inline void or_flag_set(volatile bool *flag)
{
    __atomic_store_n(flag, true, __ATOMIC_RELAXED);
}

/* NULL is a flag that is never set. */
static inline bool or_flag_is_set(const volatile bool *flag)
{
    return flag && __atomic_load_n(flag, __ATOMIC_RELAXED);
}

#endif
