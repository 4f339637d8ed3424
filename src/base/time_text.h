/* SPDX-License-Identifier: Apache-2.0
 *
 * Dates, timestamps and UUIDs: from the spellings that are accepted to the one
 * that is canonical. Each function returns NULL, or why the text was refused: a
 * static sentence fragment that follows a column's name.
 */
#ifndef OR_BASE_TIME_TEXT_H
#define OR_BASE_TIME_TEXT_H

#include "onerow/onerow.h"

#define OR_TIMESTAMP_MAX 30U /* 2024-02-29T23:59:59.123456789Z */
#define OR_UUID_LEN      36U

/* Of the proleptic Gregorian calendar; months count from 1. */
int or_days_in_month(int year, int month);
/* Negative before it. The year is 1 or later; the day may be one that the month does not have. */
int64_t or_days_since_1970(int year, int month, int day);

/* YYYY-MM-DD, proleptic Gregorian, years 0001 to 9999. What is accepted is canonical. */
const char *or_date_check(struct onerow_span text);

/* YYYY-MM-DD[T ]HH:MM[:SS[.fraction of 1 to 9 digits]][Z|±HH[:MM]|±HHMM], without a zone in
 * UTC; canonical is UTC, YYYY-MM-DDTHH:MM:SS[.fraction without trailing zeros]Z. */
const char *or_timestamp_canonical(struct onerow_span text, char canonical[OR_TIMESTAMP_MAX],
                                   size_t *len);

/* The instant of such a timestamp in milliseconds since 1970, what is finer cut off. False: it is
 * none, or before 1970. */
bool or_timestamp_ms(struct onerow_span text, uint64_t *ms);

/* 8-4-4-4-12 or 32 hexadecimal digits of any case; canonical is lower-case with dashes. */
const char *or_uuid_canonical(struct onerow_span text, char canonical[OR_UUID_LEN]);

#endif
