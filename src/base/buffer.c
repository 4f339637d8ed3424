/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buffer.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

void or_buffer_init(struct or_buffer *buffer)
{
    *buffer = (struct or_buffer){0};
}

void or_buffer_finish(struct or_buffer *buffer)
{
    free(buffer->data);
    or_buffer_init(buffer);
}

void or_buffer_clear(struct or_buffer *buffer)
{
    buffer->len = 0;
    buffer->failed = false;
    if (buffer->data) {
        buffer->data[0] = '\0';
    }
}

/* Room for `more` bytes and a closing NUL. */
static bool reserve(struct or_buffer *buffer, size_t more)
{
    if (buffer->failed || more > OR_BUFFER_LIMIT - buffer->len) {
        buffer->failed = true;
        return false;
    }
    size_t need = buffer->len + more + 1;
    if (need <= buffer->room) {
        return true;
    }
    size_t room = buffer->room ? buffer->room : 128;
    while (room < need) {
        room *= 2;
    }
    char *data = realloc(buffer->data, room);
    if (!data) {
        buffer->failed = true;
        return false;
    }
    buffer->data = data;
    buffer->room = room;
    return true;
}

void or_buffer_add(struct or_buffer *buffer, const void *data, size_t len)
{
    if (!reserve(buffer, len)) {
        return;
    }
    if (len) {
        memcpy(buffer->data + buffer->len, data, len);
    }
    buffer->len += len;
    buffer->data[buffer->len] = '\0';
}

void or_buffer_text(struct or_buffer *buffer, const char *text)
{
    or_buffer_add(buffer, text, strlen(text));
}

void or_buffer_span(struct or_buffer *buffer, struct onerow_span span)
{
    or_buffer_add(buffer, span.data, span.len);
}

void or_buffer_char(struct or_buffer *buffer, char byte)
{
    or_buffer_add(buffer, &byte, 1);
}

void or_buffer_printf(struct or_buffer *buffer, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    va_list again;
    va_copy(again, args);
    int len = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (len < 0) {
        buffer->failed = true;
    } else if (reserve(buffer, (size_t)len)) {
        vsnprintf(buffer->data + buffer->len, (size_t)len + 1, format, again);
        buffer->len += (size_t)len;
    }
    va_end(again);
}

void or_buffer_doubled(struct or_buffer *buffer, const char *text, const char *specials)
{
    for (const char *at = text; *at; at++) {
        if (strchr(specials, *at)) {
            or_buffer_char(buffer, *at);
        }
        or_buffer_char(buffer, *at);
    }
}

void or_buffer_quoted(struct or_buffer *buffer, const char *name)
{
    or_buffer_char(buffer, '"');
    or_buffer_doubled(buffer, name, "\"");
    or_buffer_char(buffer, '"');
}

static void add_escaped(struct or_buffer *buffer, unsigned char byte)
{
    switch (byte) {
    case '"': or_buffer_text(buffer, "\\\""); break;
    case '\\': or_buffer_text(buffer, "\\\\"); break;
    case '\n': or_buffer_text(buffer, "\\n"); break;
    case '\r': or_buffer_text(buffer, "\\r"); break;
    case '\t': or_buffer_text(buffer, "\\t"); break;
    default: or_buffer_printf(buffer, "\\u%04x", byte);
    }
}

void or_buffer_json(struct or_buffer *buffer, struct onerow_span text)
{
    or_buffer_char(buffer, '"');
    size_t plain = 0; /* start of the bytes that need no change */
    size_t at = 0;
    while (at < text.len) {
        unsigned char byte = (unsigned char)text.data[at];
        size_t step = byte < 0x80 ? 1 : or_utf8_step(text, at);
        if (step && byte >= 0x20 && byte != '"' && byte != '\\') {
            at += step;
            continue;
        }
        or_buffer_add(buffer, text.data + plain, at - plain);
        if (step) {
            add_escaped(buffer, byte);
        } else {
            or_buffer_text(buffer, "\xef\xbf\xbd");
        }
        plain = ++at;
    }
    if (text.len) {
        or_buffer_add(buffer, text.data + plain, text.len - plain);
    }
    or_buffer_char(buffer, '"');
}

const char *or_buffer_cstr(const struct or_buffer *buffer)
{
    return buffer->data ? buffer->data : "";
}

struct onerow_span or_buffer_view(const struct or_buffer *buffer)
{
    return (struct onerow_span){or_buffer_cstr(buffer), buffer->len};
}

char *or_buffer_steal(struct or_buffer *buffer)
{
    or_buffer_add(buffer, "", 0);
    char *data = buffer->failed ? NULL : buffer->data;
    if (!data) {
        free(buffer->data);
    }
    or_buffer_init(buffer);
    return data;
}
