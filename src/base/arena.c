/* SPDX-License-Identifier: Apache-2.0 */
#include "base/arena.h"

#include <stdalign.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct or_arena_chunk {
    struct or_arena_chunk *next;
    size_t size; /* of data */
    size_t used;
    alignas(max_align_t) char data[];
};

void or_arena_init(struct or_arena *arena)
{
    *arena = (struct or_arena){0};
}

static void free_chain(struct or_arena_chunk *chunk)
{
    while (chunk) {
        struct or_arena_chunk *next = chunk->next;
        free(chunk);
        chunk = next;
    }
}

void or_arena_finish(struct or_arena *arena)
{
    free_chain(arena->first);
    free_chain(arena->taken);
    or_arena_init(arena);
}

void or_arena_reset(struct or_arena *arena)
{
    struct or_arena_chunk **link = &arena->first;
    while (*link) {
        struct or_arena_chunk *chunk = *link;
        if (chunk->size > OR_ARENA_CHUNK) {
            *link = chunk->next;
            free(chunk);
            continue;
        }
        chunk->used = 0;
        link = &chunk->next;
    }
    free_chain(arena->taken);
    arena->taken = NULL;
    arena->current = arena->first;
    arena->used = 0;
}

static void append(struct or_arena_chunk **chain, struct or_arena_chunk *more)
{
    while (*chain) {
        chain = &(*chain)->next;
    }
    *chain = more;
}

void or_arena_absorb(struct or_arena *parent, struct or_arena *child)
{
    append(&child->first, child->taken);
    append(&child->first, parent->taken);
    parent->taken = child->first;
    parent->used += child->used;
    or_arena_init(child);
}

/* Makes a chunk with room for `size` bytes the current one. */
static struct or_arena_chunk *next_chunk(struct or_arena *arena, size_t size)
{
    struct or_arena_chunk *next = arena->current ? arena->current->next : arena->first;
    if (next && next->size >= size) {
        arena->current = next;
        return next;
    }
    size_t room = size > OR_ARENA_CHUNK ? size : OR_ARENA_CHUNK;
    if (room > SIZE_MAX - sizeof(struct or_arena_chunk)) {
        return NULL;
    }
    struct or_arena_chunk *made = malloc(sizeof *made + room);
    if (!made) {
        return NULL;
    }
    *made = (struct or_arena_chunk){.next = next, .size = room};
    if (arena->current) {
        arena->current->next = made;
    } else {
        arena->first = made;
    }
    arena->current = made;
    return made;
}

static void *take(struct or_arena *arena, size_t size, size_t align)
{
    struct or_arena_chunk *chunk = arena->current;
    size_t start = chunk ? (chunk->used + align - 1) & ~(align - 1) : 0;
    if (!chunk || start > chunk->size || chunk->size - start < size) {
        chunk = next_chunk(arena, size);
        start = 0;
        if (!chunk) {
            return NULL;
        }
    }
    chunk->used = start + size;
    arena->used += size;
    return chunk->data + start;
}

void *or_arena_alloc(struct or_arena *arena, size_t size)
{
    return take(arena, size, alignof(max_align_t));
}

char *or_arena_bytes(struct or_arena *arena, size_t size)
{
    return take(arena, size, 1);
}

struct onerow_span or_arena_copy(struct or_arena *arena, struct onerow_span text)
{
    char *copy = or_arena_bytes(arena, text.len + 1);
    if (!copy) {
        return (struct onerow_span){0};
    }
    if (text.len) {
        memcpy(copy, text.data, text.len);
    }
    copy[text.len] = '\0';
    return (struct onerow_span){copy, text.len};
}

char *or_arena_printf(struct or_arena *arena, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    va_list again;
    va_copy(again, args);
    int len = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *text = len < 0 ? NULL : or_arena_bytes(arena, (size_t)len + 1);
    if (text) {
        vsnprintf(text, (size_t)len + 1, format, again);
    }
    va_end(again);
    return text;
}
