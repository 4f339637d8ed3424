/* SPDX-License-Identifier: Apache-2.0
 *
 * A seat at the fake store of pages: one driver with all that it needs, for one thread or process.
 */
#ifndef OR_TESTS_SEAT_H
#define OR_TESTS_SEAT_H

#include "engine/driver_pages.h"
#include "tests/support/bench.h"
#include "tests/support/fake_pages.h"

struct seat {
    struct bench b;
    struct or_ledger ledger;
    struct or_governor *governor;
    struct or_pages pages;
};

extern struct fake_world *world; /* of the running test */
extern struct seat seat;         /* its own */

/* Short enough for a test, and long enough for a busy machine. */
extern const struct or_bounds seat_bounds;
extern const struct or_retry_limits seat_retry;
/* A breaker that stays closed. */
extern const struct or_breaker_limits seat_never;

/* Fixtures: a world, and a seat with a ledger in memory. */
int seat_start(void **state);
int seat_stop(void **state);

void sit_down(struct seat *at, const char *ledger);
void rise(struct seat *at);
/* Opens the ledger of this URL; the one before is to be closed. */
void enter(struct seat *at, const char *ledger);
/* Another governor. */
void govern(struct seat *at, const struct or_governor_options *options);
/* A ledger's URL that nobody else has; valid until the next call. */
const char *memory(void);
/* Puts records at `seat`; their outcomes. */
const char *say(const char *records);

/* Records on their way. */
struct feed {
    struct or_entry *entries;
    struct or_entry **sorted;
    size_t n;
};

/* n records: key number first + i of `keys`, a value, and an order value that rises. */
struct feed make_feed(struct seat *at, size_t n, size_t first, size_t keys, uint64_t order,
                      const char *value);
enum onerow_status put_feed(struct seat *at, struct feed *feed,
                            const struct or_drive_options *options);
size_t count(const struct feed *feed, enum onerow_outcome outcome);

#endif
