/* SPDX-License-Identifier: Apache-2.0
 *
 * Doubles and text, whatever the process's locale says about decimal points.
 */
#ifndef OR_BASE_NUMBER_H
#define OR_BASE_NUMBER_H

#include "onerow/onerow.h"

#define OR_DOUBLE_TEXT 32U

/* strtod of NUL-terminated text in the "C" locale. */
double or_double_parse(const char *text);

/* The shortest decimal spelling that reads back as this very (finite) double. */
void or_double_show(double number, char text[OR_DOUBLE_TEXT]);

/* Whether the double's shortest spelling is the very number that was written: JSON's notation,
 * NUL-terminated. */
bool or_double_is(struct onerow_span text, double number);

#endif
