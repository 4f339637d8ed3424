/* SPDX-License-Identifier: Apache-2.0
 *
 * engine/lease.h's sessions over every coordinator that has leases: threads that acquire, wait,
 * hold and lose. Real threads race; what they hold is watched through a coordinator of the test's
 * own.
 */
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "engine/lease.h"
#include "tests/support/lease.h"

#define NAME "job"

static struct or_lease_session *session; /* of the running test */
static volatile bool stop_flag;

static struct or_lease_session *open_session(void)
{
    struct or_lease_session *made = NULL;
    b.status = or_lease_session_open(url, &stop_flag, &made, &b.error);
    assert_status(&b, ONEROW_OK);
    return made;
}

static int start(void **state)
{
    lease_start(state);
    stop_flag = false;
    session = open_session();
    return 0;
}

static int stop(void **state)
{
    or_lease_session_close(session);
    return ledger_stop(state);
}

static struct or_lease_wanted wanted(const char *name, uint64_t ttl_ms, uint64_t wait_ms)
{
    return (struct or_lease_wanted){.name = or_span(name), .ttl_ms = ttl_ms, .wait_ms = wait_ms};
}

static struct or_lease_hold *hold(const char *name, uint64_t ttl_ms, uint64_t wait_ms)
{
    struct or_lease_hold *made = NULL;
    struct or_lease_wanted want = wanted(name, ttl_ms, wait_ms);
    b.status = or_lease_acquire(session, &want, &made, &b.error);
    assert_status(&b, ONEROW_OK);
    return made;
}

static enum onerow_status let_go(struct or_lease_hold *held)
{
    return or_lease_release(held, &b.error);
}

/* ---- one at a time -----------------------------------------------------------------------------
 */

static void what_is_held_is_seen_and_released(void **state)
{
    (void)state;
    uint64_t until_ms = 0;
    struct or_lease_hold *held = hold(NAME, LONG_MS, 0);
    assert_int_equal(or_lease_token(held), seen_lease(NAME).token);
    assert_true(seen_lease(NAME).held);
    assert_int_equal(or_lease_right(held, &until_ms), OR_LEASE_RIGHT_WORK);
    assert_int_equal(let_go(held), ONEROW_OK);
    assert_false(seen_lease(NAME).held);
    struct or_lease_hold *again = hold(NAME, LONG_MS, 0);
    assert_true(or_lease_token(again) == 2);
    assert_int_equal(let_go(again), ONEROW_OK);
}

static void who_does_not_wait_is_turned_away(void **state)
{
    (void)state;
    struct or_lease_hold *held = hold(NAME, LONG_MS, 0);
    struct or_lease_hold *other = NULL;
    struct or_lease_wanted want = wanted(NAME, LONG_MS, 0);
    assert_int_equal(or_lease_acquire(session, &want, &other, &b.error), ONEROW_ABSENT);
    assert_null(other);
    assert_non_null(strstr(b.error.text, NAME));
    assert_int_equal(seen_lease(NAME).waiters, 0);
    assert_int_equal(let_go(held), ONEROW_OK);
}

static void who_waits_in_vain_leaves_the_queue(void **state)
{
    (void)state;
    struct or_lease_hold *held = hold(NAME, LONG_MS, 0);
    struct or_lease_hold *other = NULL;
    struct or_lease_wanted want = wanted(NAME, LONG_MS, 20);
    assert_int_equal(or_lease_acquire(session, &want, &other, &b.error), ONEROW_ABSENT);
    assert_int_equal(seen_lease(NAME).waiters, 0);
    assert_int_equal(let_go(held), ONEROW_OK);
}

static void what_is_wrong_is_named(void **state)
{
    (void)state;
    struct or_lease_hold *held = NULL;
    struct or_lease_session *none = NULL;
    struct or_lease_wanted wrong[] = {wanted("", LONG_MS, 0), wanted("a\nb", LONG_MS, 0),
                                      wanted("\xff", LONG_MS, 0), wanted(NAME, 999, 0),
                                      wanted(NAME, ONEROW_LEASE_TTL_MAX + 1, 0)};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_int_equal(or_lease_acquire(session, &wrong[i], &held, &b.error), ONEROW_USAGE);
        assert_null(held);
    }
    assert_int_equal(or_lease_session_open("mysql://x", NULL, &none, &b.error), ONEROW_CONFIG);
    assert_non_null(strstr(b.error.text, "sqlite:PATH"));
    assert_null(none);
}

static void who_it_is_can_be_read(void **state)
{
    (void)state;
    struct or_lease_hold *held = hold(NAME, LONG_MS, 0);
    struct onerow_lease_view view = seen_lease(NAME);
    assert_non_null(memmem(view.who.data, view.who.len, "\"pid\":", 6));
    assert_int_equal(let_go(held), ONEROW_OK);
    char text[ONEROW_LEASE_WHO_MAX];
    char *command = calloc(1, 5000);
    assert_non_null(command);
    memset(command, '"', 4999);
    struct onerow_span who = or_lease_who(command, text);
    assert_true(who.len > 0 && who.len <= sizeof text);
    free(command);
}

/* ---- keeping and losing ------------------------------------------------------------------------
 */

static atomic_uint lost_calls;

static void count_lost(void *context)
{
    (void)context;
    atomic_fetch_add(&lost_calls, 1);
}

/* Until it has outlived the time that it had at first; false: it was lost before. */
static bool outlives_its_time(struct or_lease_hold *held, uint64_t ttl_ms)
{
    uint64_t first_ms = 0;
    uint64_t until_ms = 0;
    bool works = or_lease_right(held, &first_ms) == OR_LEASE_RIGHT_WORK;
    while (works && until_ms <= first_ms + ttl_ms) {
        (void)poll(NULL, 0, 1);
        works = or_lease_right(held, &until_ms) == OR_LEASE_RIGHT_WORK;
    }
    return works;
}

/* A machine that stands still for longer than a lease loses it, and rightly: then a longer one is
 * tried. */
static void it_is_renewed_in_the_background(void **state)
{
    (void)state;
    bool renewed = false;
    for (uint64_t ttl_ms = OR_LEASE_TTL_MIN; !renewed && ttl_ms < LONG_MS; ttl_ms *= 2) {
        struct or_lease_hold *held = hold(NAME, ttl_ms, OR_LEASE_FOREVER);
        renewed = outlives_its_time(held, ttl_ms);
        assert_true(!renewed || seen_lease(NAME).held);
        enum onerow_status status = let_go(held);
        assert_true(status == ONEROW_OK || (!renewed && status == ONEROW_LEFT));
    }
    assert_true(renewed);
}

static void what_is_taken_away_is_told_once(void **state)
{
    (void)state;
    uint64_t until_ms = 0;
    struct or_lease_hold *held = NULL;
    struct or_lease_wanted want = wanted(NAME, OR_LEASE_TTL_MIN, 0);
    atomic_store(&lost_calls, 0);
    want.lost = count_lost;
    b.status = or_lease_acquire(session, &want, &held, &b.error);
    assert_status(&b, ONEROW_OK);
    (void)force(NAME, "the test");
    while (atomic_load(&lost_calls) == 0) {
        sched_yield();
    }
    assert_int_not_equal(or_lease_right(held, &until_ms), OR_LEASE_RIGHT_WORK);
    struct or_lease_hold *other = hold(NAME, LONG_MS, 0); /* and nothing takes it back */
    assert_int_equal(let_go(held), ONEROW_LEFT);
    assert_true(seen_lease(NAME).held);
    assert_int_equal(atomic_load(&lost_calls), 1);
    assert_int_equal(let_go(other), ONEROW_OK);
}

static void closing_releases_what_is_held(void **state)
{
    (void)state;
    (void)hold("one", LONG_MS, 0);
    (void)hold("two", LONG_MS, 0);
    or_lease_session_close(session);
    assert_false(seen_lease("one").held);
    assert_false(seen_lease("two").held);
    session = open_session();
}

/* ---- waiting -----------------------------------------------------------------------------------
 */

struct waiter {
    struct or_lease_session *session;
    pthread_t thread;
    uint64_t token;
    enum onerow_status status;
    atomic_bool waits;
    uint64_t place;
    struct onerow_error error;
};

static void note_place(void *context, uint64_t place, uint64_t left_ms)
{
    struct waiter *waiter = context;
    (void)left_ms;
    waiter->place = place;
    atomic_store(&waiter->waits, true);
}

static void *wait_for_it(void *context)
{
    struct waiter *waiter = context;
    struct or_lease_hold *held = NULL;
    struct or_lease_wanted want = wanted(NAME, LONG_MS, OR_LEASE_FOREVER);
    want.waiting = note_place;
    want.context = waiter;
    waiter->status = or_lease_acquire(waiter->session, &want, &held, &waiter->error);
    if (waiter->status == ONEROW_OK) {
        waiter->token = or_lease_token(held);
        waiter->status = or_lease_release(held, &waiter->error);
    }
    return NULL;
}

static void start_waiter(struct waiter *waiter, struct or_lease_session *where)
{
    pthread_attr_t attributes;
    *waiter = (struct waiter){.session = where};
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, (size_t)128 * 1024);
    assert_int_equal(pthread_create(&waiter->thread, &attributes, wait_for_it, waiter), 0);
    pthread_attr_destroy(&attributes);
    while (!atomic_load(&waiter->waits)) {
        sched_yield();
    }
}

/* All of them have ended before anything is said of one. */
static void join_waiters(struct waiter *waiters, unsigned n, enum onerow_status status)
{
    for (unsigned i = 0; i < n; i++) {
        assert_int_equal(pthread_join(waiters[i].thread, NULL), 0);
    }
    for (unsigned i = 0; i < n; i++) {
        if (waiters[i].status != status) {
            fail_msg("waiter %u: %s: %s", i, onerow_status_text(waiters[i].status),
                     waiters[i].error.text);
        }
    }
}

/* Through one session and through another one, first come, first served. */
static void it_goes_from_one_to_the_next(void **state)
{
    (void)state;
    struct waiter waiters[6];
    struct or_lease_session *other = open_session();
    struct or_lease_hold *held = hold(NAME, LONG_MS, 0);
    uint64_t token = or_lease_token(held);
    for (unsigned i = 0; i < 6; i++) {
        start_waiter(&waiters[i], i % 2 ? session : other);
        assert_int_equal(waiters[i].place, i + 1);
    }
    assert_int_equal(let_go(held), ONEROW_OK);
    join_waiters(waiters, 6, ONEROW_OK);
    for (unsigned i = 0; i < 6; i++) {
        assert_int_equal(waiters[i].token, token + 1 + i);
    }
    or_lease_session_close(other);
}

static void a_flag_ends_the_wait(void **state)
{
    (void)state;
    struct waiter waiters[2];
    struct or_lease_hold *held = hold(NAME, LONG_MS, 0);
    start_waiter(&waiters[0], session);
    start_waiter(&waiters[1], session);
    __atomic_store_n(&stop_flag, true, __ATOMIC_RELAXED);
    join_waiters(waiters, 2, ONEROW_INTERRUPTED);
    assert_int_equal(seen_lease(NAME).waiters, 0);
    assert_int_equal(let_go(held), ONEROW_OK);
}

/* Who has not asked again within its patience has lost its place; under a thread sanitizer a
 * thousand cannot ask so often on every machine. */
#ifdef __SANITIZE_THREAD__
#define MANY 200U
#else
#define MANY 1000U
#endif

/* A thousand of one process wait for one name: each of them gets it, in order, and they do not take
 * much room. */
static void a_thousand_threads_wait(void **state)
{
    (void)state;
    struct waiter *waiters = calloc(MANY, sizeof *waiters);
    struct rusage usage;
    assert_non_null(waiters);
    struct or_lease_hold *held = hold(NAME, LONG_MS, 0);
    uint64_t token = or_lease_token(held);
    for (unsigned i = 0; i < MANY; i++) {
        start_waiter(&waiters[i], session);
    }
    assert_int_equal(seen_lease(NAME).waiters, MANY);
    assert_int_equal(let_go(held), ONEROW_OK);
    join_waiters(waiters, MANY, ONEROW_OK);
    for (unsigned i = 0; i < MANY; i++) {
        assert_int_equal(waiters[i].token, token + 1 + i);
    }
    getrusage(RUSAGE_SELF, &usage);
    print_message("# %ld KiB at most, with %u threads that wait\n", usage.ru_maxrss, MANY);
    free(waiters);
}

/* ---- many at once ------------------------------------------------------------------------------
 */

#define WORKERS 8U
#define ROUNDS  40U

struct worker {
    struct or_lease_session *session;
    pthread_t thread;
    bool guarded;
    bool failed;
};

static struct {
    uint64_t counter;
    atomic_uint inside;
    atomic_uint most;
    atomic_ullong last_token;
    atomic_bool fell; /* a token did not rise */
} shared;

/* What only one at a time may do: two steps with a gap between them. */
static void add_one(void)
{
    unsigned inside = atomic_fetch_add(&shared.inside, 1) + 1;
    unsigned most = atomic_load(&shared.most);
    while (inside > most && !atomic_compare_exchange_weak(&shared.most, &most, inside)) {
    }
    uint64_t seen = __atomic_load_n(&shared.counter, __ATOMIC_SEQ_CST);
    for (unsigned i = 0; i < 20; i++) {
        sched_yield();
    }
    __atomic_store_n(&shared.counter, seen + 1, __ATOMIC_SEQ_CST);
    atomic_fetch_sub(&shared.inside, 1);
}

static void work_under(struct worker *worker)
{
    struct onerow_error error;
    struct or_lease_hold *held = NULL;
    struct or_lease_wanted want = wanted(NAME, LONG_MS, OR_LEASE_FOREVER);
    if (or_lease_acquire(worker->session, &want, &held, &error) != ONEROW_OK) {
        worker->failed = true;
        return;
    }
    uint64_t last = atomic_exchange(&shared.last_token, or_lease_token(held));
    if (last >= or_lease_token(held)) {
        atomic_store(&shared.fell, true);
    }
    add_one();
    worker->failed |= or_lease_release(held, &error) != ONEROW_OK;
}

static void *work(void *context)
{
    struct worker *worker = context;
    for (unsigned i = 0; i < ROUNDS && !worker->failed; i++) {
        if (worker->guarded) {
            work_under(worker);
        } else {
            add_one();
        }
    }
    return NULL;
}

static void race(bool guarded)
{
    struct worker workers[WORKERS];
    struct or_lease_session *other = open_session();
    memset(&shared, 0, sizeof shared);
    for (unsigned i = 0; i < WORKERS; i++) {
        workers[i] = (struct worker){.session = i % 2 ? session : other, .guarded = guarded};
        assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
    }
    for (unsigned i = 0; i < WORKERS; i++) {
        assert_int_equal(pthread_join(workers[i].thread, NULL), 0);
        assert_false(workers[i].failed);
    }
    or_lease_session_close(other);
}

static void one_at_a_time(void **state)
{
    (void)state;
    race(true);
    assert_int_equal(atomic_load(&shared.most), 1);
    assert_int_equal(shared.counter, WORKERS * ROUNDS);
    assert_false(atomic_load(&shared.fell));
}

static void without_it_work_is_lost(void **state)
{
    (void)state;
    race(false);
    assert_true(atomic_load(&shared.most) > 1);
    assert_true(shared.counter < WORKERS * ROUNDS);
}

/* ---- budgets -----------------------------------------------------------------------------------
 */

static void two_sessions_share_a_budget(void **state)
{
    (void)state;
    struct or_window windows[1] = {{3, 600000}};
    struct or_lease_session *other = open_session();
    struct or_permit permit = {.wanted = 2};
    b.status = or_lease_permit(session, or_span("api"), windows, 1, &permit, &b.error);
    assert_status(&b, ONEROW_OK);
    assert_int_equal(permit.granted, 2);
    b.status = or_lease_permit(other, or_span("api"), windows, 1, &permit, &b.error);
    assert_status(&b, ONEROW_OK);
    assert_int_equal(permit.granted, 1);
    b.status = or_lease_permit(other, or_span("api"), windows, 1, &permit, &b.error);
    assert_status(&b, ONEROW_OK);
    assert_int_equal(permit.granted, 0);
    assert_true(permit.wait_ms > 0);
    /* another one's has nothing to do with it */
    b.status = or_lease_permit(other, or_span("api2"), windows, 1, &permit, &b.error);
    assert_int_equal(permit.granted, 2);
    or_lease_session_close(other);
}

#define RUNS(name)                                                                                 \
    {                                                                                              \
#name, (name), false                                                                       \
    }

static const struct ledger_test suite[] = {
    RUNS(what_is_held_is_seen_and_released),
    RUNS(who_does_not_wait_is_turned_away),
    RUNS(who_waits_in_vain_leaves_the_queue),
    RUNS(what_is_wrong_is_named),
    RUNS(who_it_is_can_be_read),
    RUNS(it_is_renewed_in_the_background),
    RUNS(what_is_taken_away_is_told_once),
    RUNS(closing_releases_what_is_held),
    RUNS(it_goes_from_one_to_the_next),
    RUNS(a_flag_ends_the_wait),
    RUNS(a_thousand_threads_wait),
    RUNS(one_at_a_time),
    RUNS(without_it_work_is_lost),
    RUNS(two_sessions_share_a_budget),
};

int main(void)
{
    return run_lease_tests("lease_session", suite, sizeof suite / sizeof *suite, start, stop);
}
