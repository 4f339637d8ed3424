/* SPDX-License-Identifier: Apache-2.0 */
#include "notion_sim/nsim_memory.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void or_nsim_no_memory(void)
{
    static const char text[] = "onerow: out of memory\n";
    ssize_t ignored = write(STDERR_FILENO, text, sizeof text - 1);
    (void)ignored;
    _exit(onerow_status_exit(ONEROW_NOMEM));
}

void *or_nsim_take(size_t size)
{
    void *memory = calloc(1, size ? size : 1);
    if (!memory) {
        or_nsim_no_memory();
    }
    return memory;
}

char *or_nsim_copy(struct onerow_span text)
{
    char *copy = or_nsim_take(text.len + 1);
    if (text.len) {
        memcpy(copy, text.data, text.len);
    }
    return copy;
}

char *or_nsim_copy_text(const char *text)
{
    return text ? or_nsim_copy((struct onerow_span){text, strlen(text)}) : NULL;
}

char *or_nsim_steal(struct or_buffer *buffer)
{
    char *text = buffer->failed ? NULL : or_buffer_steal(buffer);
    if (!text) {
        or_nsim_no_memory();
    }
    return text;
}

void *or_nsim_grow(void *list, size_t n, size_t *room, size_t size)
{
    if (n < *room) {
        return list;
    }
    size_t more = *room ? *room * 2 : 8;
    void *larger = realloc(list, more * size);
    if (!larger) {
        or_nsim_no_memory();
    }
    *room = more;
    return larger;
}
