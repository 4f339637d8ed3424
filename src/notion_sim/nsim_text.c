/* SPDX-License-Identifier: Apache-2.0
 *
 * Lengths as JavaScript counts them, lower case, ids and times.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <utf8proc.h>

#include "base/text.h"
#include "notion_sim/nsim_model.h"

/* Notion counts what its own language calls characters: UTF-16 code units. */
size_t or_nsim_utf16_length(struct onerow_span text)
{
    size_t units = 0;
    for (size_t i = 0; i < text.len; i++) {
        unsigned char byte = (unsigned char)text.data[i];
        units += (byte & 0xc0U) != 0x80U;
        units += byte >= 0xf0U;
    }
    return units;
}

char *or_nsim_fold(struct onerow_span text)
{
    struct or_buffer out;
    or_buffer_init(&out);
    for (size_t at = 0; at < text.len;) {
        utf8proc_int32_t point = 0;
        utf8proc_ssize_t step = utf8proc_iterate((const utf8proc_uint8_t *)text.data + at,
                                                 (utf8proc_ssize_t)(text.len - at), &point);
        if (step <= 0) { /* JSON is UTF-8, so this is another one's text */
            or_buffer_char(&out, text.data[at++]);
            continue;
        }
        utf8proc_uint8_t bytes[4];
        utf8proc_ssize_t len = utf8proc_encode_char(utf8proc_tolower(point), bytes);
        or_buffer_add(&out, bytes, (size_t)len);
        at += (size_t)step;
    }
    return or_nsim_steal(&out);
}

/* ---- ids ---------------------------------------------------------------------------------- */

void or_nsim_new_id(struct sim_rng *rng, char id[OR_NSIM_ID])
{
    uint64_t high = (sim_next(rng) & ~0xf000ULL) | 0x4000ULL;
    uint64_t low = (sim_next(rng) >> 2) | 0x8000000000000000ULL;
    snprintf(id, OR_NSIM_ID, "%08x-%04x-%04x-%04x-%012llx", (unsigned)(high >> 32),
             (unsigned)(high >> 16) & 0xffffU, (unsigned)high & 0xffffU, (unsigned)(low >> 48),
             (unsigned long long)(low & 0xffffffffffffULL));
}

bool or_nsim_read_id(struct onerow_span text, char id[OR_NSIM_ID])
{
    static const size_t dashes[] = {8, 13, 18, 23};
    bool dashed = text.len == OR_NSIM_ID - 1;
    size_t from = 0;
    size_t dash = 0;
    if (!dashed && text.len != 32) {
        return false;
    }
    for (size_t to = 0; to < OR_NSIM_ID - 1; to++) {
        if (dash < 4 && to == dashes[dash]) {
            dash++;
            id[to] = '-';
            if (dashed && text.data[from++] != '-') {
                return false;
            }
            continue;
        }
        unsigned char byte = (unsigned char)text.data[from++];
        if (!isxdigit(byte)) {
            return false;
        }
        id[to] = (char)(byte >= 'A' && byte <= 'F' ? byte + ('a' - 'A') : byte);
    }
    id[OR_NSIM_ID - 1] = '\0';
    return true;
}

/* ---- times --------------------------------------------------------------------------------- */

void or_nsim_time_exact(uint64_t ms, char text[OR_NSIM_TIME])
{
    const time_t seconds = (time_t)(ms / 1000);
    struct tm parts;
    if (ms > 253402300799999U || !gmtime_r(&seconds, &parts)) { /* the end of year 9999 */
        snprintf(text, OR_NSIM_TIME, "9999-12-31T23:59:59.999Z");
        return;
    }
    snprintf(text, OR_NSIM_TIME, "%04u-%02u-%02uT%02u:%02u:%02u.%03uZ",
             (unsigned)(parts.tm_year + 1900) % 10000U, (unsigned)(parts.tm_mon + 1) % 100U,
             (unsigned)parts.tm_mday % 100U, (unsigned)parts.tm_hour % 100U,
             (unsigned)parts.tm_min % 100U, (unsigned)parts.tm_sec % 100U, (unsigned)(ms % 1000));
}

void or_nsim_time_minute(uint64_t ms, char text[OR_NSIM_TIME])
{
    or_nsim_time_exact(ms - ms % 60000, text);
}

static bool digits(struct onerow_span text, size_t at, size_t count, int *number)
{
    *number = 0;
    if (at + count > text.len) {
        return false;
    }
    for (size_t i = at; i < at + count; i++) {
        if (text.data[i] < '0' || text.data[i] > '9') {
            return false;
        }
        *number = *number * 10 + (text.data[i] - '0');
    }
    return true;
}

static bool byte_is(struct onerow_span text, size_t at, char byte)
{
    return at < text.len && text.data[at] == byte;
}

/* Z, ±HH:MM, ±HHMM or nothing, from `at` to the end. */
static bool read_zone(struct onerow_span text, size_t at, int *minutes)
{
    int hour = 0;
    int minute = 0;
    *minutes = 0;
    if (at == text.len || (byte_is(text, at, 'Z') && at + 1 == text.len)) {
        return true;
    }
    if (!byte_is(text, at, '+') && !byte_is(text, at, '-')) {
        return false;
    }
    size_t second = at + 3 + byte_is(text, at + 3, ':');
    if (!digits(text, at + 1, 2, &hour) || !digits(text, second, 2, &minute) ||
        second + 2 != text.len || hour > 14 || minute > 59) {
        return false;
    }
    *minutes = (hour * 60 + minute) * (text.data[at] == '-' ? -1 : 1);
    return true;
}

/* HH:MM[:SS[.fraction]] at 11; *end is where the zone begins. */
static bool read_clock(struct onerow_span text, struct tm *parts, int *ms, size_t *end)
{
    size_t at = 16;
    *ms = 0;
    if (!digits(text, 11, 2, &parts->tm_hour) || !byte_is(text, 13, ':') ||
        !digits(text, 14, 2, &parts->tm_min) || parts->tm_hour > 23 || parts->tm_min > 59) {
        return false;
    }
    if (byte_is(text, at, ':')) {
        if (!digits(text, at + 1, 2, &parts->tm_sec) || parts->tm_sec > 59) {
            return false;
        }
        at += 3;
    }
    if (byte_is(text, at, '.')) {
        int scale = 100;
        size_t first = ++at;
        for (; at < text.len && isdigit((unsigned char)text.data[at]); at++, scale /= 10) {
            *ms += (text.data[at] - '0') * scale;
        }
        if (at == first) {
            return false;
        }
    }
    *end = at;
    return true;
}

bool or_nsim_read_time(struct onerow_span text, int64_t *ms, bool *day)
{
    struct tm parts = {0};
    int year = 0;
    int month = 0;
    int fraction = 0;
    int zone = 0;
    size_t end = 0;
    if (!digits(text, 0, 4, &year) || !byte_is(text, 4, '-') || !digits(text, 5, 2, &month) ||
        !byte_is(text, 7, '-') || !digits(text, 8, 2, &parts.tm_mday)) {
        return false;
    }
    bool only_day = text.len == 10;
    if (!only_day && ((!byte_is(text, 10, 'T') && !byte_is(text, 10, ' ')) ||
                      !read_clock(text, &parts, &fraction, &end) || !read_zone(text, end, &zone))) {
        return false;
    }
    parts.tm_year = year - 1900;
    parts.tm_mon = month - 1;
    int wanted = parts.tm_mday;
    int64_t seconds = (int64_t)timegm(&parts);
    if (month < 1 || month > 12 || parts.tm_mday != wanted || parts.tm_mon != month - 1) {
        return false; /* such as February 30, which timegm takes for March 1 */
    }
    *ms = (seconds - (int64_t)zone * 60) * 1000 + fraction;
    if (day) {
        *day = only_day;
    }
    return true;
}
