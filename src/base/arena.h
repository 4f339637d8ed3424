/* SPDX-License-Identifier: Apache-2.0
 *
 * A bump allocator: many small allocations with one lifetime. Memory comes in
 * chunks that are kept by or_arena_reset, so a loop that fills and resets an
 * arena stops allocating after its first rounds.
 */
#ifndef OR_BASE_ARENA_H
#define OR_BASE_ARENA_H

#include <stddef.h>

#include "onerow/onerow.h"

#define OR_ARENA_CHUNK (256U * 1024U)

struct or_arena_chunk;

struct or_arena {
    struct or_arena_chunk *first;   /* owned, linked in order of use */
    struct or_arena_chunk *current; /* the chunk being filled, or NULL */
    struct or_arena_chunk *taken;   /* owned, full: what was another arena's until the next reset */
    size_t used;                    /* bytes handed out since the last reset */
};

void or_arena_init(struct or_arena *arena);
void or_arena_finish(struct or_arena *arena);

/* Everything handed out becomes invalid. Chunks of the usual size are kept,
 * larger ones go back to the system. */
void or_arena_reset(struct or_arena *arena);

/* Hands everything of `child` to `parent`: what it gave out stays valid as long as the parent's
 * own. The child is empty then. At the parent's reset the chunks go back to the system: kept ones
 * would add up when there is a child in every round. */
void or_arena_absorb(struct or_arena *parent, struct or_arena *child);

/* `size` bytes, aligned for any object, not cleared; NULL when out of memory. */
void *or_arena_alloc(struct or_arena *arena, size_t size);

/* `size` bytes without alignment, for text; NULL when out of memory. */
char *or_arena_bytes(struct or_arena *arena, size_t size);

/* A copy with a closing NUL that is not counted; data is NULL when out of memory. */
struct onerow_span or_arena_copy(struct or_arena *arena, struct onerow_span text);

/* printf into the arena; NULL when out of memory. */
__attribute__((format(printf, 2, 3))) char *or_arena_printf(struct or_arena *arena,
                                                            const char *format, ...);

#endif
