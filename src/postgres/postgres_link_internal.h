/* SPDX-License-Identifier: Apache-2.0
 *
 * What the parts of a link share: postgres_link.c (transactions), _wait (connecting and waiting),
 * _error (what errors mean).
 */
#ifndef OR_POSTGRES_LINK_INTERNAL_H
#define OR_POSTGRES_LINK_INTERNAL_H

#include "postgres/postgres_link.h"

#define OR_LINK_GRACE_MS 10000U /* beyond wait_ms, within which the server gives up a lock */

/* postgres_link_wait.c */
bool or_link_stopped(const struct or_link *link);
void or_link_disconnect(struct or_link *link);
/* The server has to be there: connects (again) when the connection is gone. */
ONEROW_CHECKED enum onerow_status or_link_connect(struct or_link *link, struct onerow_error *error);
/* The next result, or NULL after the last one; the caller's (PQclear). `finish`: what is waited for
 * is not cancelled by a stop, which only shortens the wait. RETRY: the connection is lost. */
ONEROW_CHECKED enum onerow_status or_link_next(struct or_link *link, bool finish, PGresult **result,
                                               struct onerow_error *error);

/* postgres_link_error.c */
/* What a failed result (NULL: the connection's state) means, with the error filled. */
enum onerow_status or_link_fail(struct or_link *link, const PGresult *result, const char *doing,
                                struct onerow_error *error);
/* RETRY: the connection is lost; hangs up. */
enum onerow_status or_link_lost(struct or_link *link, const char *doing,
                                struct onerow_error *error);

#endif
