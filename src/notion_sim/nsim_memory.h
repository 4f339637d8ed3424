/* SPDX-License-Identifier: Apache-2.0
 *
 * Memory that is there, or the process ends (see nsim.h); and lists that grow.
 */
#ifndef OR_NOTION_SIM_NSIM_MEMORY_H
#define OR_NOTION_SIM_NSIM_MEMORY_H

#include "base/buffer.h"

_Noreturn void or_nsim_no_memory(void);

#define OR_NSIM_THERE __attribute__((returns_nonnull))

OR_NSIM_THERE void *or_nsim_take(size_t size); /* zeroed; free() gives it back */
OR_NSIM_THERE char *or_nsim_copy(struct onerow_span text);
char *or_nsim_copy_text(const char *text); /* NULL gives NULL */
OR_NSIM_THERE char *or_nsim_steal(struct or_buffer *buffer);

/* Makes room for one more element of `size` bytes in a list that holds n. */
OR_NSIM_THERE void *or_nsim_grow(void *list, size_t n, size_t *room, size_t size);

#define OR_NSIM_PUSH(list, n, room, element)                                                       \
    do {                                                                                           \
        (list) = or_nsim_grow((list), (n), &(room), sizeof *(list));                               \
        (list)[(n)++] = (element);                                                                 \
    } while (0)

#endif
