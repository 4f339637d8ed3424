/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading moments. The form that RFC 3339 has of ISO 8601 is read in full, so that an offset can be
 * taken off. Of any other form that PostgreSQL understands only so much is read as tells whether
 * it holds a day, a time of day, or what could be a zone: an unknown word could be one.
 */
#include <string.h>

#include "base/text.h"
#include "store/store_postgres_moment.h"

#define YEAR_DIGITS     6 /* at most, in a timestamp */
#define MINUTES_PER_DAY (24 * 60)

/* ---- ISO 8601's form --------------------------------------------------------------------- */

static bool take_number(struct onerow_span *text, size_t least, size_t most, int *number)
{
    size_t n = 0;
    *number = 0;
    for (; n < most && n < text->len && or_postgres_is_digit(text->data[n]); n++) {
        *number = *number * 10 + (text->data[n] - '0');
    }
    or_postgres_skip(text, n);
    return n >= least;
}

bool or_postgres_take_date(struct onerow_span *text, struct or_postgres_moment *moment)
{
    return take_number(text, 4, YEAR_DIGITS, &moment->year) && or_postgres_take(text, "-") &&
           take_number(text, 2, 2, &moment->month) && or_postgres_take(text, "-") &&
           take_number(text, 2, 2, &moment->day);
}

bool or_postgres_take_clock(struct onerow_span *text, struct or_postgres_moment *moment)
{
    int hour = 0;
    int minute = 0;
    int second = 0;
    bool taken = take_number(text, 2, 2, &hour) && or_postgres_take(text, ":") &&
                 take_number(text, 2, 2, &minute);
    const char *from = text->data;
    if (taken && or_postgres_take(text, ":")) {
        taken = take_number(text, 2, 2, &second);
        if (taken && or_postgres_take(text, ".")) {
            taken = text->len && or_postgres_is_digit(text->data[0]);
            while (text->len && or_postgres_is_digit(text->data[0])) {
                or_postgres_skip(text, 1);
            }
        }
    }
    moment->minute = hour * 60 + minute;
    moment->seconds = (struct onerow_span){from, (size_t)(text->data - from)};
    return taken && minute < 60;
}

bool or_postgres_take_zone(struct onerow_span *text, struct or_postgres_moment *moment)
{
    int hours = 0;
    int minutes = 0;
    or_postgres_skip_spaces(text);
    bool west = or_postgres_take(text, "-");
    if (!west && !or_postgres_take(text, "+")) {
        return or_postgres_take(text, "Z") || or_postgres_take(text, "UTC") || true;
    }
    if (!take_number(text, 2, 2, &hours)) {
        return false;
    }
    if (or_postgres_take(text, ":") || (text->len && or_postgres_is_digit(text->data[0]))) {
        if (!take_number(text, 2, 2, &minutes)) {
            return false;
        }
    }
    moment->offset = (hours * 60 + minutes) * (west ? -1 : 1);
    return hours < 24 && minutes < 60;
}

static bool take_era(struct onerow_span *text, struct or_postgres_moment *moment)
{
    or_postgres_skip_spaces(text);
    if (or_postgres_take(text, "BC")) {
        moment->year = 1 - moment->year;
        return moment->year <= 0;
    }
    return or_postgres_take(text, "AD") || moment->year > 0;
}

bool or_postgres_read_moment(struct onerow_span text, struct or_postgres_moment *moment)
{
    *moment = (struct or_postgres_moment){0};
    if (!or_postgres_take_date(&text, moment) ||
        (!or_postgres_take(&text, "T") && !or_postgres_take(&text, " "))) {
        return false;
    }
    or_postgres_skip_spaces(&text);
    return or_postgres_take_clock(&text, moment) && or_postgres_take_zone(&text, moment) &&
           take_era(&text, moment) && text.len == 0;
}

bool or_postgres_no_seconds(struct onerow_span seconds)
{
    size_t i = 0;
    while (i < seconds.len && strchr(":.0", seconds.data[i])) {
        i++;
    }
    return i == seconds.len;
}

static int days_in(int year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return month == 2 && leap ? 29 : days[month - 1];
}

bool or_postgres_moment_exists(const struct or_postgres_moment *moment)
{
    bool within = moment->minute < MINUTES_PER_DAY ||
                  (moment->minute == MINUTES_PER_DAY && or_postgres_no_seconds(moment->seconds));
    return within && moment->month >= 1 && moment->month <= 12 && moment->day >= 1 &&
           moment->day <= days_in(moment->year, moment->month);
}

void or_postgres_to_utc(struct or_postgres_moment *moment)
{
    moment->minute -= moment->offset;
    if (moment->minute < 0) {
        moment->minute += MINUTES_PER_DAY;
        moment->day--;
    } else if (moment->minute >= MINUTES_PER_DAY) {
        moment->minute -= MINUTES_PER_DAY;
        moment->day++;
    }
    int month = moment->month;
    if (moment->day == 0) {
        moment->year -= month == 1;
        moment->month = month == 1 ? 12 : month - 1;
        moment->day = days_in(moment->year, moment->month);
    } else if (moment->day > days_in(moment->year, month)) {
        moment->year += month == 12;
        moment->month = month == 12 ? 1 : month + 1;
        moment->day = 1;
    }
}

/* ---- any other form ------------------------------------------------------------------------ */

enum word {
    WORD_UNKNOWN,
    WORD_ALONE, /* stands for a moment, or is the zone UTC */
    WORD_WHOLE, /* stands for a day, or makes one of a number */
    WORD_MONTH,
    WORD_DAY, /* tells more of a day */
    WORD_CLOCK,
};

/* What PostgreSQL reads in dates and times, but for zones. */
static enum word word_of(struct onerow_span text)
{
    static const struct {
        const char *words; /* a space before and behind each */
        enum word word;
    } known[] = {
        {" now infinity z utc ", WORD_ALONE},
        {" today tomorrow yesterday epoch j ", WORD_WHOLE},
        {" january february march april may june july august september october november december "
         "jan feb mar apr jun jul aug sep sept oct nov dec ",
         WORD_MONTH},
        {" monday tuesday wednesday thursday friday saturday sunday mon tue tues wed weds thu thur "
         "thurs fri sat sun bc ad ",
         WORD_DAY},
        {" am pm t allballs ", WORD_CLOCK},
    };
    for (size_t k = 0; k < sizeof known / sizeof *known; k++) {
        for (const char *at = known[k].words + 1; *at;) {
            size_t len = strcspn(at, " ");
            if (or_ascii_equal_fold(text, (struct onerow_span){at, len})) {
                return known[k].word;
            }
            at += len + 1;
        }
    }
    return WORD_UNKNOWN;
}

/* The words of a part; whether one of them or a colon makes it a time of day. */
static bool see_words(struct onerow_span part, struct or_postgres_sight *sight)
{
    bool clock = memchr(part.data, ':', part.len) != NULL;
    for (size_t i = 0; i < part.len; i++) {
        size_t from = i;
        while (i < part.len && or_postgres_is_letter(part.data[i])) {
            i++;
        }
        if (i > from) {
            enum word word = word_of((struct onerow_span){part.data + from, i - from});
            sight->zone |= word == WORD_UNKNOWN;
            sight->whole |= word == WORD_WHOLE;
            sight->month |= word == WORD_MONTH && i - from == part.len;
            sight->day |= word == WORD_WHOLE || word == WORD_MONTH || word == WORD_DAY;
            clock |= word == WORD_CLOCK;
        }
    }
    sight->clock |= clock;
    return clock;
}

/* A dash is a date's where it joins, as in 2024-02-29 and 29-Feb-2024. Elsewhere it begins an
 * offset, as a plus does. */
static void see_part(struct onerow_span part, struct or_postgres_sight *sight)
{
    bool clock = see_words(part, sight);
    size_t dashes = 0;
    bool joins = true;
    for (size_t i = 0; i < part.len; i++) {
        if (part.data[i] == '-') {
            joins &= i && i + 1 < part.len && or_postgres_is_alnum(part.data[i - 1]) &&
                     or_postgres_is_alnum(part.data[i + 1]);
            dashes++;
        }
    }
    sight->zone |= memchr(part.data, '+', part.len) || !joins;
    sight->zone |= dashes && (dashes != 2 || clock);
    sight->day |= dashes || memchr(part.data, '/', part.len);
    sight->numbers += or_postgres_is_digit(part.data[0]);
}

struct or_postgres_sight or_postgres_see(struct onerow_span text)
{
    struct or_postgres_sight sight = {0};
    while (or_postgres_skip_spaces(&text), text.len) {
        struct onerow_span part = {text.data, 0};
        while (part.len < text.len && !or_postgres_is_space(text.data[part.len])) {
            part.len++;
        }
        see_part(part, &sight);
        or_postgres_skip(&text, part.len);
    }
    return sight;
}
