/* SPDX-License-Identifier: Apache-2.0
 *
 * Dates, times, timestamps and ranges of them.
 *
 * Types without a zone hold UTC, and PostgreSQL drops what they cannot hold without a word. So
 * nothing is sent that it would drop:
 *
 *     2024-01-01T00:30:00+02:00    timestamp    2023-12-31 22:30:00
 *     2024-01-01 00:30:00          timestamp    as it is, and so without its Z or UTC
 *     2024-01-01 00:30 CET         timestamp    refused, as is a zone in another form than
 *                                               ISO 8601's
 *     2024-01-01T00:00:00Z         date         as it is: midnight in UTC is the day
 *     2024-01-01T00:30:00Z         date         refused, as is midnight elsewhere: which day it is
 *                                               depends on who asks
 *     12:00:00+02:00               time         refused: without a day it has no time in UTC
 *     2024-01-01 12:00             time         refused: it has a day
 *     [2024-01-01 00:30+02,)       tsrange      refused; bounds are given in UTC
 *
 * Words that stand for a moment (now, today, infinity) pass; what is no known word could be a zone
 * and is refused.
 */
#include <string.h>

#include "base/text.h"
#include "store/store_postgres_moment.h"

#define SECOND_DIGITS 6 /* of a fraction of a second that PostgreSQL keeps */

/* ---- moments ----------------------------------------------------------------------------- */

/* How many digits follow the point. */
static size_t fraction_digits(struct onerow_span text)
{
    const char *point = memchr(text.data, '.', text.len);
    size_t n = 0;
    for (const char *at = point; at && at + 1 < text.data + text.len && or_postgres_is_digit(at[1]);
         at++) {
        n++;
    }
    return n;
}

bool or_postgres_moment_text(const struct or_postgres_conversion *to,
                             const struct onerow_value *value, struct onerow_span *text)
{
    if (!or_postgres_is_text(value)) {
        return or_postgres_refuse_kind(to, value);
    }
    *text = or_postgres_span_of(value);
    bool modified = to->typmod >= 0 && to->typmod < SECOND_DIGITS;
    size_t kept = modified ? (size_t)to->typmod : SECOND_DIGITS;
    if (to->key && fraction_digits(*text) > kept) {
        return or_postgres_refuse_value(
            to,
            "is finer than the column keeps (%zu digits of a second's fraction): the key "
            "would be another one",
            kept);
    }
    return true;
}

static bool is_signed_infinity(struct onerow_span text)
{
    return (or_postgres_take(&text, "-") || or_postgres_take(&text, "+")) &&
           or_ascii_equal_fold(text, OR_SPAN("infinity"));
}

static bool refuse_zone(const struct or_postgres_conversion *to)
{
    return or_postgres_refuse_value(
        to,
        "has a time zone, or a word that could be one, which %s does not hold; give "
        "it as YYYY-MM-DDTHH:MM:SS with Z or ±HH:MM",
        or_postgres_declared(to));
}

/* *moment has an offset that is not 0 when the text is not to be sent as it is. */
static bool check_timestamp(const struct or_postgres_conversion *to, struct onerow_span text,
                            struct or_postgres_moment *moment)
{
    text = or_span_trim(text);
    if (!or_postgres_read_moment(text, moment)) {
        *moment = (struct or_postgres_moment){0};
        return is_signed_infinity(text) || !or_postgres_see(text).zone || refuse_zone(to);
    }
    return moment->offset == 0 || or_postgres_moment_exists(moment) ||
           or_postgres_refuse_value(to, "is a moment that the calendar does not have");
}

bool or_postgres_timestamp_text(const struct or_postgres_conversion *to,
                                const struct onerow_value *value, struct onerow_span *text)
{
    struct or_postgres_moment moment;
    if (!or_postgres_moment_text(to, value, text) || !check_timestamp(to, *text, &moment)) {
        return false;
    }
    bool bc = moment.year <= 0;
    if (moment.offset == 0) {
        if (moment.seconds.data && !bc) { /* a zone that says UTC */
            *text = (struct onerow_span){
                text->data, (size_t)(moment.seconds.data + moment.seconds.len - text->data)};
        }
        return true;
    }
    or_postgres_to_utc(&moment);
    bc = moment.year <= 0;
    *text = or_span(or_arena_printf(to->arena, "%04d-%02d-%02d %02d:%02d%.*s%s",
                                    bc ? 1 - moment.year : moment.year, moment.month, moment.day,
                                    moment.minute / 60, moment.minute % 60, (int)moment.seconds.len,
                                    moment.seconds.data, bc ? " BC" : ""));
    return text->data || or_postgres_value_no_memory(to);
}

/* A day is one number (2024-02-29), or two beside a month's name (29 Feb 2024). One more, and
 * PostgreSQL reads a time of day without colons. */
static bool is_day(const struct or_postgres_sight *sight)
{
    unsigned most = sight->whole ? 0 : sight->month ? 2 : 1;
    return !sight->clock && !sight->zone && sight->numbers <= most;
}

static bool check_date(const struct or_postgres_conversion *to, struct onerow_span text)
{
    struct or_postgres_moment moment = {0};
    struct onerow_span rest = text = or_span_trim(text);
    if ((or_postgres_take_date(&rest, &moment) && rest.len == 0) || is_signed_infinity(text)) {
        return true;
    }
    struct or_postgres_sight sight = or_postgres_see(text);
    bool day = or_postgres_read_moment(text, &moment)
                   ? !moment.minute && or_postgres_no_seconds(moment.seconds) && !moment.offset
                   : is_day(&sight);
    return day || or_postgres_refuse_value(
                      to,
                      "has more than a day (a time of day, a zone or a word that is not "
                      "known), which %s does not hold; give it as YYYY-MM-DD",
                      or_postgres_declared(to));
}

bool or_postgres_date_text(const struct or_postgres_conversion *to,
                           const struct onerow_value *value, struct onerow_span *text)
{
    return or_postgres_moment_text(to, value, text) && check_date(to, *text);
}

bool or_postgres_time_text(const struct or_postgres_conversion *to,
                           const struct onerow_value *value, struct onerow_span *text)
{
    struct or_postgres_moment moment = {0};
    if (!or_postgres_moment_text(to, value, text)) {
        return false;
    }
    struct onerow_span rest = or_span_trim(*text);
    if (or_postgres_take_clock(&rest, &moment) && or_postgres_take_zone(&rest, &moment) &&
        rest.len == 0 && moment.offset == 0) {
        return true;
    }
    struct or_postgres_sight sight = or_postgres_see(or_span_trim(*text));
    return !(sight.zone || sight.day || sight.numbers > 1 || moment.offset) ||
           or_postgres_refuse_value(
               to,
               "has more than a time of day (a day, a zone or a word that is not known), "
               "which %s does not hold; give it as HH:MM:SS",
               or_postgres_declared(to));
}

/* ---- ranges ------------------------------------------------------------------------------ */

static bool is_bracket(char byte)
{
    return byte != '\0' && strchr("[](){},\"\\", byte) != NULL;
}

static bool check_bound(const struct or_postgres_conversion *to, struct onerow_span text)
{
    struct or_postgres_moment moment;
    if (to->type == OR_OID_DATERANGE || to->type == OR_OID_DATEMULTIRANGE) {
        return check_date(to, text);
    }
    return check_timestamp(to, text, &moment) &&
           (moment.offset == 0 ||
            or_postgres_refuse_value(
                to,
                "has a bound in another time zone than UTC, which %s does not hold; give "
                "the bounds in UTC",
                or_postgres_declared(to)));
}

/* Looks at what lies between brackets, commas and quotes: the bounds, or parts of them. */
bool or_postgres_range_text(const struct or_postgres_conversion *to,
                            const struct onerow_value *value, struct onerow_span *text)
{
    if (!or_postgres_plain_text(to, value, text)) {
        return false;
    }
    if (or_ascii_equal_fold(or_span_trim(*text), OR_SPAN("empty"))) {
        return true;
    }
    struct onerow_span rest = *text;
    while (rest.len) {
        struct onerow_span bound = {rest.data, 0};
        while (bound.len < rest.len && !is_bracket(rest.data[bound.len])) {
            bound.len++;
        }
        if (!check_bound(to, bound)) {
            return false;
        }
        or_postgres_skip(&rest, bound.len + (bound.len < rest.len));
    }
    return true;
}
