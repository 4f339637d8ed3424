/* SPDX-License-Identifier: Apache-2.0
 *
 * What the tests of ledgers share: a coordinator of each kind in a place of its own, small words
 * for its calls, and the runner that repeats a suite over all of them. What a function returns
 * lives until the test ends.
 */
#ifndef OR_TESTS_LEDGER_H
#define OR_TESTS_LEDGER_H

#include <pthread.h>

#include "base/text.h"
#include "coordinator/coordinator.h"
#include "tests/support/bench.h"

#define KEY     ONEROW_LEDGER_KEY
#define PAGE    ONEROW_LEDGER_PAGE
#define ATTEMPT ONEROW_LEDGER_ATTEMPT
#define ANY     ONEROW_LEDGER_ANY
#define ALL     UINT32_MAX /* states */

/* One kind of coordinator, and how to make a URL for a test. */
struct ledger_bench {
    const char *name;
    const char *(*url)(struct bench *b);
    bool durable; /* and so shared by processes */
};

/* ---- a test's place -------------------------------------------------------------------------- */

extern struct bench b;
extern const struct ledger_bench *bench; /* of the running test */
extern const char *url;
extern struct onerow_coordinator *c; /* opened, and `space` entered, by ledger_start */
extern uint64_t space;               /* the number of the namespace "things" */
extern uint64_t now_ms;              /* the ledger's clock, of the last call */

/* Fixtures. */
int ledger_start(void **state);
int ledger_stop(void **state);

enum onerow_status open_at(const char *where, struct onerow_coordinator **out);
/* Opens the test's URL (once more); must succeed. */
struct onerow_coordinator *another(void);
void close_it(struct onerow_coordinator *at); /* NULL is accepted */
/* The status is in b.status. */
struct onerow_ledger_namespace enter_as(struct onerow_coordinator *at, const char *name,
                                        const char *definition);
/* "things"; must succeed. */
struct onerow_ledger_namespace enter(struct onerow_coordinator *at);

/* ---- calls ----------------------------------------------------------------------------------- */

/* A change whose condition is the revision alone. */
struct onerow_ledger_change change(enum onerow_ledger_kind kind, const char *name,
                                   uint64_t revision, uint8_t state, const char *body);
/* One swap; whether it happened. The call must succeed. */
bool swap(const struct onerow_ledger_change *changes, size_t n);
/* The same for one KEY. */
bool set(const char *name, uint64_t revision, uint8_t state, const char *body);
struct onerow_ledger_record read_one(enum onerow_ledger_kind kind, struct onerow_span name);
/* "REVISION/STATE:BODY" */
const char *seen_as(enum onerow_ledger_kind kind, const char *name);
const char *seen(const char *name); /* KEY */

/* What a listing visited. */
struct collected {
    unsigned visits[64]; /* by the number in the name */
    unsigned n;
    unsigned limit; /* stop after so many; 0: never */
    unsigned writes;
};
onerow_visit_ledger collect; /* its context is a struct collected */
struct collected list(enum onerow_ledger_kind kind, uint32_t states, uint64_t before_ms);

/* The status is in b.status. */
uint64_t reserve(struct onerow_coordinator *at, uint64_t n);
struct onerow_ledger_namespace witness(struct onerow_coordinator *at, uint64_t number);
enum onerow_status confirm(struct onerow_coordinator *at);

/* ---- several at once ------------------------------------------------------------------------- */

/* One of several who work at the same time: a process where the coordinator is durable, and a
 * thread otherwise. */
struct hand {
    int (*run)(void *context); /* returns the exit code; may not assert */
    void *context;
    pthread_t thread;
    pid_t pid; /* of a process */
    int code;
};

void start_hand(struct hand *hand, int (*run)(void *context), void *context);
int end_hand(struct hand *hand); /* waits for its exit code, or 128 + the signal that ended it */

/* ---- the runner ------------------------------------------------------------------------------ */

struct ledger_test {
    const char *name;
    CMUnitTestFunction run;
    bool durable; /* only where the ledger outlives a process */
};

#define LEDGER_TESTS_MAX 256U

/* Runs the tests over every coordinator that keeps a ledger; how many failed. */
int run_ledger_tests(const char *group, const struct ledger_test *suite, size_t n,
                     CMFixtureFunction start, CMFixtureFunction stop);
/* The same over every coordinator that has leases. */
int run_lease_tests(const char *group, const struct ledger_test *suite, size_t n,
                    CMFixtureFunction start, CMFixtureFunction stop);

#endif
