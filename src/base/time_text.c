/* SPDX-License-Identifier: Apache-2.0
 *
 * A timestamp is brought to UTC by its minutes alone: an offset is shorter than
 * a day, so the date moves by one day at most, and no calendar arithmetic beyond
 * "the day before" and "the day after" is needed. Seconds and their fraction
 * never change. Leap seconds are refused: they have no place in the stores' time.
 */
#include "base/time_text.h"

#include <string.h>

#define MINUTES_PER_DAY (24 * 60)

static const char NO_DATE[] = "is not a date (YYYY-MM-DD)";
static const char NO_SUCH_DAY[] = "is a day that the calendar does not have";
static const char NO_TIMESTAMP[] = "is not a timestamp (YYYY-MM-DDTHH:MM:SS, then Z or ±HH:MM)";
static const char NO_TIME_OF_DAY[] = "is a date without a time of day; the key column is timestamp";
static const char NO_SUCH_TIME[] = "is a time of day beyond 23:59:59";
static const char NO_SUCH_ZONE[] = "has a time zone offset beyond 23:59";
static const char TOO_FINE[] = "has more than 9 digits in its fraction of a second";
static const char NO_SUCH_YEAR[] = "is not within the years 0001 to 9999 in UTC";
static const char NO_UUID[] = "is not a UUID (32 hexadecimal digits, or 8-4-4-4-12 with dashes)";

struct cursor {
    const char *at;
    const char *end;
};

struct moment {
    int year, month, day;
    int minute; /* of the day; outside 0 … 1439 until it is in UTC */
    int second;
    const char *fraction; /* digits without trailing zeros */
    size_t fraction_len;
};

static bool is_digit(char byte)
{
    return byte >= '0' && byte <= '9';
}

/* Exactly `count` digits. */
static bool read_digits(struct cursor *cursor, int count, int *value)
{
    if (cursor->end - cursor->at < count) {
        return false;
    }
    int sum = 0;
    for (int i = 0; i < count; i++) {
        char byte = cursor->at[i];
        if (!is_digit(byte)) {
            return false;
        }
        sum = sum * 10 + (byte - '0');
    }
    cursor->at += count;
    *value = sum;
    return true;
}

/* One byte out of `any`. */
static bool skip_any(struct cursor *cursor, const char *any)
{
    if (cursor->at == cursor->end || *cursor->at == '\0' || !strchr(any, *cursor->at)) {
        return false;
    }
    cursor->at++;
    return true;
}

int or_days_in_month(int year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return month == 2 && leap ? 29 : days[month - 1];
}

int64_t or_days_since_1970(int year, int month, int day)
{
    int64_t gone = year - 1;
    int64_t gone_by_1970 = 719162;
    int64_t days = gone * 365 + gone / 4 - gone / 100 + gone / 400 - gone_by_1970 + day - 1;
    for (int past = 1; past < month; past++) {
        days += or_days_in_month(year, past);
    }
    return days;
}

static const char *read_date(struct cursor *cursor, struct moment *moment)
{
    if (!read_digits(cursor, 4, &moment->year) || !skip_any(cursor, "-") ||
        !read_digits(cursor, 2, &moment->month) || !skip_any(cursor, "-") ||
        !read_digits(cursor, 2, &moment->day)) {
        return NO_DATE;
    }
    if (moment->year < 1 || moment->month < 1 || moment->month > 12 || moment->day < 1 ||
        moment->day > or_days_in_month(moment->year, moment->month)) {
        return NO_SUCH_DAY;
    }
    return NULL;
}

const char *or_date_check(struct onerow_span text)
{
    if (text.len != 10) {
        return NO_DATE;
    }
    struct cursor cursor = {text.data, text.data + text.len};
    struct moment moment;
    return read_date(&cursor, &moment);
}

static const char *read_fraction(struct cursor *cursor, struct moment *moment)
{
    moment->fraction = cursor->at;
    while (cursor->at < cursor->end && is_digit(*cursor->at)) {
        cursor->at++;
    }
    size_t len = (size_t)(cursor->at - moment->fraction);
    if (len == 0) {
        return NO_TIMESTAMP;
    }
    if (len > 9) {
        return TOO_FINE;
    }
    while (len > 0 && moment->fraction[len - 1] == '0') {
        len--;
    }
    moment->fraction_len = len;
    return NULL;
}

static const char *read_time(struct cursor *cursor, struct moment *moment)
{
    int hour, minute;
    if (!read_digits(cursor, 2, &hour) || !skip_any(cursor, ":") ||
        !read_digits(cursor, 2, &minute)) {
        return NO_TIMESTAMP;
    }
    if (skip_any(cursor, ":")) {
        if (!read_digits(cursor, 2, &moment->second)) {
            return NO_TIMESTAMP;
        }
        const char *reason = skip_any(cursor, ".") ? read_fraction(cursor, moment) : NULL;
        if (reason) {
            return reason;
        }
    }
    if (hour > 23 || minute > 59 || moment->second > 59) {
        return NO_SUCH_TIME;
    }
    moment->minute = hour * 60 + minute;
    return NULL;
}

/* Reads the zone, which must be all that is left, and takes its offset off. */
static const char *read_zone(struct cursor *cursor, struct moment *moment)
{
    if (cursor->at == cursor->end) {
        return NULL;
    }
    bool west = *cursor->at == '-';
    if (skip_any(cursor, "+-")) {
        int hours;
        int minutes = 0;
        if (!read_digits(cursor, 2, &hours)) {
            return NO_TIMESTAMP;
        }
        bool more = skip_any(cursor, ":") || cursor->at < cursor->end;
        if (more && !read_digits(cursor, 2, &minutes)) {
            return NO_TIMESTAMP;
        }
        if (hours > 23 || minutes > 59) {
            return NO_SUCH_ZONE;
        }
        int offset = hours * 60 + minutes;
        moment->minute -= west ? -offset : offset;
    } else if (!skip_any(cursor, "Zz")) {
        return NO_TIMESTAMP;
    }
    return cursor->at == cursor->end ? NULL : NO_TIMESTAMP;
}

static void step_back(struct moment *moment)
{
    moment->minute += MINUTES_PER_DAY;
    if (--moment->day == 0) {
        if (--moment->month == 0) {
            moment->month = 12;
            moment->year--;
        }
        moment->day = or_days_in_month(moment->year, moment->month);
    }
}

static void step_on(struct moment *moment)
{
    moment->minute -= MINUTES_PER_DAY;
    if (++moment->day > or_days_in_month(moment->year, moment->month)) {
        moment->day = 1;
        if (++moment->month > 12) {
            moment->month = 1;
            moment->year++;
        }
    }
}

static char *put_number(char *out, int value, int width, char closing)
{
    for (int i = width - 1; i >= 0; i--) {
        out[i] = (char)('0' + value % 10);
        value /= 10;
    }
    out[width] = closing;
    return out + width + 1;
}

static size_t put_moment(const struct moment *moment, char *canonical)
{
    char *out = put_number(canonical, moment->year, 4, '-');
    out = put_number(out, moment->month, 2, '-');
    out = put_number(out, moment->day, 2, 'T');
    out = put_number(out, moment->minute / 60, 2, ':');
    out = put_number(out, moment->minute % 60, 2, ':');
    out = put_number(out, moment->second, 2, moment->fraction_len ? '.' : 'Z');
    if (moment->fraction_len) {
        memcpy(out, moment->fraction, moment->fraction_len);
        out += moment->fraction_len;
        *out++ = 'Z';
    }
    return (size_t)(out - canonical);
}

/* Reads all of the text, and brings it to UTC. */
static const char *read_moment(struct onerow_span text, struct moment *moment)
{
    struct cursor cursor = {text.data, text.data + text.len};
    const char *reason = read_date(&cursor, moment);
    if (reason) {
        return reason == NO_DATE ? NO_TIMESTAMP : reason;
    }
    if (cursor.at == cursor.end) {
        return NO_TIME_OF_DAY;
    }
    if (!skip_any(&cursor, "Tt ")) {
        return NO_TIMESTAMP;
    }
    if ((reason = read_time(&cursor, moment)) || (reason = read_zone(&cursor, moment))) {
        return reason;
    }
    if (moment->minute < 0) {
        step_back(moment);
    } else if (moment->minute >= MINUTES_PER_DAY) {
        step_on(moment);
    }
    return moment->year < 1 || moment->year > 9999 ? NO_SUCH_YEAR : NULL;
}

const char *or_timestamp_canonical(struct onerow_span text, char canonical[OR_TIMESTAMP_MAX],
                                   size_t *len)
{
    struct moment moment = {0};
    const char *reason = read_moment(text, &moment);
    if (!reason) {
        *len = put_moment(&moment, canonical);
    }
    return reason;
}

bool or_timestamp_ms(struct onerow_span text, uint64_t *ms)
{
    struct moment moment = {0};
    if (read_moment(text, &moment) || moment.year < 1970) {
        return false;
    }
    uint64_t days = (uint64_t)or_days_since_1970(moment.year, moment.month, moment.day);
    uint64_t seconds =
        (days * MINUTES_PER_DAY + (uint64_t)moment.minute) * 60 + (uint64_t)moment.second;
    unsigned fraction = 0;
    for (size_t i = 0; i < 3; i++) {
        bool there = i < moment.fraction_len;
        fraction = fraction * 10 + (there ? (unsigned)(moment.fraction[i] - '0') : 0);
    }
    *ms = seconds * 1000 + fraction;
    return true;
}

/* The digit in lower case, or NUL when it is no hexadecimal digit. */
static char hex_digit(char byte)
{
    if (is_digit(byte) || (byte >= 'a' && byte <= 'f')) {
        return byte;
    }
    return byte >= 'A' && byte <= 'F' ? (char)(byte + ('a' - 'A')) : '\0';
}

const char *or_uuid_canonical(struct onerow_span text, char canonical[OR_UUID_LEN])
{
    bool dashes = text.len == OR_UUID_LEN;
    if (!dashes && text.len != 32) {
        return NO_UUID;
    }
    const char *in = text.data;
    for (size_t i = 0; i < OR_UUID_LEN; i++) {
        bool dash_here = i == 8 || i == 13 || i == 18 || i == 23;
        if (dash_here && dashes && *in++ != '-') {
            return NO_UUID;
        }
        canonical[i] = dash_here ? '-' : hex_digit(*in++);
        if (canonical[i] == '\0') {
            return NO_UUID;
        }
    }
    return NULL;
}
