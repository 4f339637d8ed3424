/* SPDX-License-Identifier: Apache-2.0 */
#include "base/text.h"

int or_span_compare(struct onerow_span a, struct onerow_span b)
{
    size_t common = a.len < b.len ? a.len : b.len;
    int order = common ? memcmp(a.data, b.data, common) : 0;
    return order ? order : (a.len > b.len) - (a.len < b.len);
}

static bool is_blank(char byte)
{
    return byte == ' ' || byte == '\t' || byte == '\r' || byte == '\n';
}

struct onerow_span or_span_trim(struct onerow_span text)
{
    while (text.len && is_blank(text.data[0])) {
        text.data++;
        text.len--;
    }
    while (text.len && is_blank(text.data[text.len - 1])) {
        text.len--;
    }
    return text;
}

struct onerow_span or_span_cut(struct onerow_span text, size_t max)
{
    size_t len = text.len < max ? text.len : max;
    while (len && len < text.len && ((unsigned char)text.data[len] & 0xc0) == 0x80) {
        len--;
    }
    return (struct onerow_span){text.data, len};
}

static char lower(char byte)
{
    return byte >= 'A' && byte <= 'Z' ? (char)(byte + ('a' - 'A')) : byte;
}

bool or_ascii_equal_fold(struct onerow_span a, struct onerow_span b)
{
    if (a.len != b.len) {
        return false;
    }
    for (size_t i = 0; i < a.len; i++) {
        if (lower(a.data[i]) != lower(b.data[i])) {
            return false;
        }
    }
    return true;
}

/* Whether `count` continuation bytes follow, the first of them in [low, high]. */
static bool continues(struct onerow_span text, size_t at, size_t count, unsigned low, unsigned high)
{
    if (text.len - at <= count) {
        return false;
    }
    const unsigned char *byte = (const unsigned char *)text.data + at + 1;
    if (byte[0] < low || byte[0] > high) {
        return false;
    }
    for (size_t i = 1; i < count; i++) {
        if ((byte[i] & 0xc0) != 0x80) {
            return false;
        }
    }
    return true;
}

size_t or_utf8_step(struct onerow_span text, size_t at)
{
    unsigned lead = (unsigned char)text.data[at];
    if (lead < 0x80) {
        return 1;
    }
    if (lead >= 0xc2 && lead <= 0xdf) {
        return continues(text, at, 1, 0x80, 0xbf) ? 2 : 0;
    }
    if (lead >= 0xe0 && lead <= 0xef) {
        unsigned low = lead == 0xe0 ? 0xa0 : 0x80;
        unsigned high = lead == 0xed ? 0x9f : 0xbf;
        return continues(text, at, 2, low, high) ? 3 : 0;
    }
    if (lead >= 0xf0 && lead <= 0xf4) {
        unsigned low = lead == 0xf0 ? 0x90 : 0x80;
        unsigned high = lead == 0xf4 ? 0x8f : 0xbf;
        return continues(text, at, 3, low, high) ? 4 : 0;
    }
    return 0;
}

bool or_utf8_valid(struct onerow_span text, size_t *at)
{
    size_t i = 0;
    while (i < text.len) {
        size_t step = or_utf8_step(text, i);
        if (step == 0) {
            if (at) {
                *at = i;
            }
            return false;
        }
        i += step;
    }
    return true;
}

uint64_t or_hash_text(struct onerow_span text)
{
    uint64_t hash = 0xcbf29ce484222325U;
    for (size_t i = 0; i < text.len; i++) {
        hash = (hash ^ (unsigned char)text.data[i]) * 0x100000001b3U;
    }
    return hash;
}
