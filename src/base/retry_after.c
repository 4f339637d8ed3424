/* SPDX-License-Identifier: Apache-2.0
 *
 * Retry-After is a number of seconds or a date in one of the three forms of RFC 9110,
 * section 5.6.7. The forms are written down as patterns, in the letters of strftime:
 *
 *     %a Sun  %A Sunday  %d 06  %e " 6" or "16"  %b Nov  %Y 1994  %y 94  %H %M %S  08 49 37
 *
 * The rules behind it:
 *  - When in doubt, the longer wait. Fractions of a millisecond are rounded up, and a number that
 *    no integer holds is the longest wait, not garbage.
 *  - A reader of dates is to be robust (section 5.6.7): names are taken in any case, and whether
 *    the weekday fits the date is not asked. A server that computed the weekday wrongly still
 *    wants to be left alone.
 *  - A year of two digits is never more than 50 years ahead; such a date means the last century
 *    (section 5.6.7).
 *  - A leap second (60) is allowed there, and is the first second of the next minute here.
 */
#include "base/retry_after.h"

#include "base/text.h"
#include "base/time_text.h"
#include "base/u64.h"

#define MS_PER_S    1000U
#define S_PER_DAY   (24 * 3600)
#define YEARS_AHEAD 50              /* of a year of two digits */
#define LAST_SECOND 253402300799ULL /* 9999-12-31T23:59:59Z: HTTP dates end there, too */

static const char *const MONTHS[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                     "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
static const char *const DAYS[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
static const char *const LONG_DAYS[] = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                        "Thursday", "Friday", "Saturday"};

struct date {
    int year, month, day, hour, minute, second;
};

static bool is_digit(char byte)
{
    return byte >= '0' && byte <= '9';
}

static void skip(struct onerow_span *rest, size_t bytes)
{
    rest->data += bytes;
    rest->len -= bytes;
}

/* ---- seconds ------------------------------------------------------------------ */

/* Digits up to the first other byte; a number beyond `max` is `max`. False: there are none. */
static bool take_digits(struct onerow_span *rest, uint64_t max, uint64_t *number)
{
    size_t n = 0;
    *number = 0;
    while (n < rest->len && is_digit(rest->data[n])) {
        *number = or_u64_min(max, *number * 10 + (uint64_t)(rest->data[n++] - '0'));
    }
    skip(rest, n);
    return n > 0;
}

/* The digits behind a decimal point, as milliseconds, rounded up. */
static bool take_fraction(struct onerow_span *rest, uint64_t *ms)
{
    uint64_t unit = MS_PER_S;
    bool more = false;
    size_t n = 0;
    *ms = 0;
    while (n < rest->len && is_digit(rest->data[n])) {
        uint64_t digit = (uint64_t)(rest->data[n++] - '0');
        unit /= 10; /* 0 from the fourth digit on */
        *ms += digit * unit;
        more = more || (unit == 0 && digit > 0);
    }
    *ms += more;
    skip(rest, n);
    return n > 0;
}

static bool read_seconds(struct onerow_span text, uint64_t *ms)
{
    uint64_t seconds;
    uint64_t fraction = 0;
    if (!take_digits(&text, OR_RETRY_AFTER_MAX_MS / MS_PER_S, &seconds)) {
        return false;
    }
    if (text.len > 0 && text.data[0] == '.') {
        skip(&text, 1);
        if (!take_fraction(&text, &fraction)) {
            return false;
        }
    }
    if (text.len > 0) {
        return false;
    }
    *ms = or_u64_min(OR_RETRY_AFTER_MAX_MS, seconds * MS_PER_S + fraction);
    return true;
}

/* ---- dates -------------------------------------------------------------------- */

/* Exactly `digits` digits; of a padded number, the first one may be a space. */
static bool take_number(struct onerow_span *rest, size_t digits, bool padded, int *number)
{
    if (rest->len < digits) {
        return false;
    }
    *number = 0;
    for (size_t i = 0; i < digits; i++) {
        char byte = padded && i == 0 && rest->data[0] == ' ' ? '0' : rest->data[i];
        if (!is_digit(byte)) {
            return false;
        }
        *number = *number * 10 + (byte - '0');
    }
    skip(rest, digits);
    return true;
}

/* One of the names, in any case; *which counts from 1. */
static bool take_name(struct onerow_span *rest, const char *const *names, int n, int *which)
{
    for (int i = 0; i < n; i++) {
        struct onerow_span name = or_span(names[i]);
        struct onerow_span there = {rest->data, name.len};
        if (rest->len >= name.len && or_ascii_equal_fold(there, name)) {
            skip(rest, name.len);
            *which = i + 1;
            return true;
        }
    }
    return false;
}

/* What one letter of a pattern stands for. */
static bool take_field(struct onerow_span *rest, char field, struct date *date)
{
    int weekday;
    switch (field) {
    case 'a': return take_name(rest, DAYS, 7, &weekday);
    case 'A': return take_name(rest, LONG_DAYS, 7, &weekday);
    case 'b': return take_name(rest, MONTHS, 12, &date->month);
    case 'd': return take_number(rest, 2, false, &date->day);
    case 'e': return take_number(rest, 2, true, &date->day);
    case 'Y': return take_number(rest, 4, false, &date->year);
    case 'y': return take_number(rest, 2, false, &date->year);
    case 'H': return take_number(rest, 2, false, &date->hour);
    case 'M': return take_number(rest, 2, false, &date->minute);
    default: return take_number(rest, 2, false, &date->second); /* S */
    }
}

/* The one byte, in any case. */
static bool take_byte(struct onerow_span *rest, const char *byte)
{
    if (rest->len == 0 ||
        !or_ascii_equal_fold((struct onerow_span){rest->data, 1}, (struct onerow_span){byte, 1})) {
        return false;
    }
    skip(rest, 1);
    return true;
}

/* Whether all of the text has the form of the pattern. */
static bool take_date(struct onerow_span text, const char *pattern, struct date *date)
{
    *date = (struct date){0};
    for (const char *at = pattern; *at; at++) {
        bool fits = *at == '%' ? take_field(&text, *++at, date) : take_byte(&text, at);
        if (!fits) {
            return false;
        }
    }
    return text.len == 0;
}

/* Seconds since 1970; negative before it. The day may be one that the year does not have. */
static int64_t unix_seconds(const struct date *date, int year)
{
    return or_days_since_1970(year, date->month, date->day) * S_PER_DAY + date->hour * 3600 +
           date->minute * 60 + date->second;
}

static int year_of(int64_t now)
{
    int64_t days = now / S_PER_DAY;
    int year = 1970 + (int)(days / 366); /* never too late, and a few years early at most */
    while (or_days_since_1970(year + 1, 1, 1) <= days) {
        year++;
    }
    return year;
}

/* The latest year with these two digits that leaves the date within 50 years from now. */
static void give_century(struct date *date, int64_t now)
{
    int last = year_of(now) + YEARS_AHEAD;
    date->year = last - (last - date->year) % 100;
    if (unix_seconds(date, date->year - YEARS_AHEAD) > now) {
        date->year -= 100;
    }
}

static bool date_exists(const struct date *date)
{
    return date->year >= 1 && date->day >= 1 &&
           date->day <= or_days_in_month(date->year, date->month) && date->hour <= 23 &&
           date->minute <= 59 && date->second <= 60;
}

static bool read_date(struct onerow_span text, int64_t now, struct date *date)
{
    if (take_date(text, "%A, %d-%b-%y %H:%M:%S GMT", date)) {
        give_century(date, now);
        return date_exists(date);
    }
    return (take_date(text, "%a, %d %b %Y %H:%M:%S GMT", date) ||
            take_date(text, "%a %b %e %H:%M:%S %Y", date)) &&
           date_exists(date);
}

bool or_retry_after(struct onerow_span text, uint64_t now_unix_ms, uint64_t *ms)
{
    struct onerow_span value = or_span_trim(text);
    if (read_seconds(value, ms)) {
        return true;
    }
    uint64_t now = or_u64_min(now_unix_ms, LAST_SECOND * MS_PER_S);
    struct date date;
    if (!read_date(value, (int64_t)(now / MS_PER_S), &date)) {
        return false;
    }
    int64_t then = unix_seconds(&date, date.year);
    uint64_t then_ms = then > 0 ? (uint64_t)then * MS_PER_S : 0;
    *ms = or_u64_min(OR_RETRY_AFTER_MAX_MS, or_u64_sub(then_ms, now));
    return true;
}
