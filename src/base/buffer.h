/* SPDX-License-Identifier: Apache-2.0
 *
 * A growing run of bytes with a named limit. Failure sticks: after an append
 * that found no memory or reached the limit, `failed` is set, further appends
 * do nothing, and the owner checks once at the end.
 */
#ifndef OR_BASE_BUFFER_H
#define OR_BASE_BUFFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "onerow/onerow.h"

#define OR_BUFFER_LIMIT ((size_t)512 * 1024 * 1024) /* a record of 64 MiB, each byte escaped */

struct or_buffer {
    char *data; /* owned; NUL-terminated whenever it is not NULL */
    size_t len;
    size_t room;
    bool failed;
};

void or_buffer_init(struct or_buffer *buffer);
void or_buffer_finish(struct or_buffer *buffer);
void or_buffer_clear(
    struct or_buffer *buffer); /* empties it, keeps the memory, forgives a failure */

void or_buffer_add(struct or_buffer *buffer, const void *data, size_t len);
void or_buffer_text(struct or_buffer *buffer, const char *text); /* NUL-terminated */
void or_buffer_span(struct or_buffer *buffer, struct onerow_span span);
void or_buffer_char(struct or_buffer *buffer, char byte);
__attribute__((format(printf, 2, 3))) void or_buffer_printf(struct or_buffer *buffer,
                                                            const char *format, ...);

/* The text with each of its bytes that is among `specials` doubled, as SQL has quotes within
 * quotes. */
void or_buffer_doubled(struct or_buffer *buffer, const char *text, const char *specials);
/* An identifier of SQL: in double quotes, those inside doubled. */
void or_buffer_quoted(struct or_buffer *buffer, const char *name);

/* A JSON string with its quotes. Bytes that are not UTF-8 become U+FFFD. */
void or_buffer_json(struct or_buffer *buffer, struct onerow_span text);

/* The text; "" when nothing was ever added. Invalid after the next append. */
const char *or_buffer_cstr(const struct or_buffer *buffer);
struct onerow_span or_buffer_view(const struct or_buffer *buffer);

/* Hands the memory to the caller (free), as NUL-terminated text, and empties the
 * buffer. NULL when it failed or there is no memory. */
char *or_buffer_steal(struct or_buffer *buffer);

#endif
