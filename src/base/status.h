/* SPDX-License-Identifier: Apache-2.0
 *
 * Filling a struct onerow_error. The status table itself is in onerow.h.
 */
#ifndef OR_BASE_STATUS_H
#define OR_BASE_STATUS_H

#include "onerow/onerow.h"

/* Sets *error (NULL is accepted) and returns the status, so that a failure is
 * one statement: return or_fail(error, ONEROW_CONFIG, "…", …). A text that is too
 * long ends in "…". */
__attribute__((format(printf, 3, 4))) enum onerow_status
or_fail(struct onerow_error *error, enum onerow_status status, const char *format, ...);

/* The one of two statuses that decides the exit code: 78 > 69 > 75 > 65 > 64 > 1 > 0. UNKNOWN goes
 * before the others of its code, BUSY and INTERRUPTED before RETRY; else the first one stays. */
enum onerow_status or_status_worse(enum onerow_status a, enum onerow_status b);

#endif
