/* SPDX-License-Identifier: Apache-2.0
 *
 * Exact decimals as text. or_decimal_canonical, for everybody, is in key.h; this
 * is the same in steps, for callers that own the memory.
 */
#ifndef OR_CORE_DECIMAL_H
#define OR_CORE_DECIMAL_H

#include "onerow/onerow.h"

/* A number as it stands in its text: 0.<digits> times ten to the power of `point`. */
struct or_decimal {
    const char *digits; /* borrowed: from the first non-zero digit … */
    const char *end;    /* … to behind the last; one decimal point may lie between */
    int64_t n_digits;   /* 0: the number is zero */
    int64_t point;      /* digits before the decimal point; may be negative */
    bool negative;      /* never set for zero */
};

/* Reads -?digits[.digits][e[+-]digits], leading zeros allowed. False: it is no such number. */
bool or_decimal_parse(struct onerow_span number, struct or_decimal *decimal);

bool or_decimal_is_integer(const struct or_decimal *decimal);

/* Characters in the canonical text; 0 when they would be more than OR_DECIMAL_DIGITS_MAX. */
size_t or_decimal_length(const struct or_decimal *decimal);

/* Writes or_decimal_length characters, which must not be 0. */
void or_decimal_write(const struct or_decimal *decimal, char *canonical);

/* Whether the text is a canonical decimal (or, for `integer`, a canonical int) as it stands. */
bool or_decimal_is_canonical(struct onerow_span text, bool integer);

#endif
