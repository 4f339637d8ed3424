/* SPDX-License-Identifier: Apache-2.0
 *
 * Moments as they are read from a text (store_postgres_moment.c), for the types that hold them
 * (store_postgres_time.c).
 */
#ifndef OR_STORE_POSTGRES_MOMENT_H
#define OR_STORE_POSTGRES_MOMENT_H

#include "store/store_postgres_value.h"

/* In ISO 8601's form. */
struct or_postgres_moment {
    int year; /* 0 is 1 BC */
    int month;
    int day;
    int minute;                 /* of the day; 1440 is 24:00 */
    struct onerow_span seconds; /* ":SS.fraction" as given, or nothing */
    int offset;                 /* of its zone in minutes; 0: it is in UTC */
};

/* Reads a date with a time of day, in the form that RFC 3339 has of ISO 8601 and PostgreSQL's
 * output has. False: it is none. The calendar is not asked. */
bool or_postgres_read_moment(struct onerow_span text, struct or_postgres_moment *moment);
/* Its parts, taken off the beginning of a text: YYYY-MM-DD; HH:MM[:SS[.fraction]]; and Z, UTC, ±HH,
 * ±HH:MM, ±HHMM or nothing. */
bool or_postgres_take_date(struct onerow_span *text, struct or_postgres_moment *moment);
bool or_postgres_take_clock(struct onerow_span *text, struct or_postgres_moment *moment);
bool or_postgres_take_zone(struct onerow_span *text, struct or_postgres_moment *moment);
/* Whether a moment's seconds are ":00.000" or nothing. */
bool or_postgres_no_seconds(struct onerow_span seconds);
/* Whether the calendar has it. */
bool or_postgres_moment_exists(const struct or_postgres_moment *moment);
/* Takes the offset off: the seconds stay, and the date moves by one day at most. */
void or_postgres_to_utc(struct or_postgres_moment *moment);

/* What a text that is to be a moment holds, as far as that can be seen. */
struct or_postgres_sight {
    bool zone; /* or what could be one */
    bool day;
    bool clock;
    bool whole;       /* a WORD_WHOLE */
    bool month;       /* a part that is a month's name */
    unsigned numbers; /* parts that begin with a digit */
};

struct or_postgres_sight or_postgres_see(struct onerow_span text);

#endif
