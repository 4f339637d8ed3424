/* SPDX-License-Identifier: Apache-2.0
 *
 * Doubles and text, whatever the process's locale says about decimal points.
 */
#ifndef OR_BASE_NUMBER_H
#define OR_BASE_NUMBER_H

#define OR_DOUBLE_TEXT 32U

/* strtod of NUL-terminated text in the "C" locale. */
double or_double_parse(const char *text);

/* The shortest decimal spelling that reads back as this very (finite) double. */
void or_double_show(double number, char text[OR_DOUBLE_TEXT]);

#endif
