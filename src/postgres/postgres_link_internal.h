/* SPDX-License-Identifier: Apache-2.0
 *
 * What the parts of a link share: postgres_link.c (transactions), _once (transactions in one round
 * trip), _wait (connecting and waiting), _error (what errors mean).
 */
#ifndef OR_POSTGRES_LINK_INTERNAL_H
#define OR_POSTGRES_LINK_INTERNAL_H

#include "postgres/postgres_link.h"

#define OR_LINK_GRACE_MS 10000U /* beyond wait_ms, within which the server gives up a lock */

/* postgres_link.c */
#define OR_LINK_BEGIN "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"
/* Sends a statement of a pipeline; with a name, the one that was prepared under it. */
bool or_link_send(struct or_link *link, const struct or_link_statement *statement,
                  const char *prepared);
/* The same for our settings: of the transaction, or of the session. */
bool or_link_send_settings(struct or_link *link, bool local);
/* Whether a statement has succeeded. */
bool or_link_is_answer(const PGresult *result);
/* ERROR says that the transaction was rolled back; FATAL and PANIC say that the session ended. */
bool or_link_rolled_back(const PGresult *result);
/* What an answer to COMMIT means. */
enum onerow_status or_link_judge_commit(struct or_link *link, const PGresult *result,
                                        struct onerow_error *error);
/* UNKNOWN: nobody has told what became of COMMIT; hangs up. */
enum onerow_status or_link_in_doubt(struct or_link *link, struct onerow_error *error);

/* postgres_link_wait.c */
bool or_link_stopped(const struct or_link *link);
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
