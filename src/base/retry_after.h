/* SPDX-License-Identifier: Apache-2.0
 *
 * The header Retry-After (RFC 9110, section 10.2.3): how long a server asks to be left alone.
 */
#ifndef OR_BASE_RETRY_AFTER_H
#define OR_BASE_RETRY_AFTER_H

#include "onerow/onerow.h"

/* 366 days. What is longer counts as this long, which is beyond every budget (retry.h), so that
 * nothing is ever sent early because of the limit. */
#define OR_RETRY_AFTER_MAX_MS (366ULL * 24U * 3600U * 1000U)

/* Reads the value of a Retry-After header into *ms, the time to wait from now on, rounded up:
 *
 *     120, 1.5                          seconds; some servers send decimals
 *     Sun, 06 Nov 1994 08:49:37 GMT     IMF-fixdate
 *     Sunday, 06-Nov-94 08:49:37 GMT    rfc850-date
 *     Sun Nov  6 08:49:37 1994          asctime-date
 *
 * A date that is over gives 0. `now_unix_ms` is the time that a date is compared with:
 * milliseconds since 1970, of the response's own Date header where it has one, because the server
 * named the date by its own clock. False: it is none of these, and *ms is left alone. */
ONEROW_CHECKED bool or_retry_after(struct onerow_span text, uint64_t now_unix_ms, uint64_t *ms);

#endif
