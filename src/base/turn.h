/* SPDX-License-Identifier: Apache-2.0
 *
 * First come, first served among the processes (and threads) of one machine that
 * want to write one file. A turn is a courtesy, not a lock: correctness rests on
 * the database's own lock, and a writer that cannot queue simply goes ahead. See
 * the top of turn.c.
 */
#ifndef OR_BASE_TURN_H
#define OR_BASE_TURN_H

#include <stdbool.h>
#include <stdint.h>

struct or_turn;

/* Joins the queue in the sidecar file `path`, made when missing with the permissions `mode`.
 * NULL when there can be no queue (a read-only folder, a full disk): the writer goes without. */
struct or_turn *or_turn_open(const char *path, unsigned mode);
void or_turn_close(struct or_turn *turn); /* NULL is accepted; gives a held turn up */

/* Waits for the turn, at most wait_ms, or until *stop (NULL: never). True: it is ours, or the queue
 * is not to be relied on and the caller should try its luck. False: time is over or *stop was set.
 */
bool or_turn_take(struct or_turn *turn, uint64_t wait_ms, const volatile bool *stop);

/* Passes the turn to the next in line. Harmless without one. */
void or_turn_give(struct or_turn *turn);

#endif
