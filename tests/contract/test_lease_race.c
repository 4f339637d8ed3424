/* SPDX-License-Identifier: Apache-2.0
 *
 * The contract of all leases when many want one at once: sixteen workers, in processes where the
 * coordinator is durable (some are killed or stopped at any moment) and in threads otherwise. Each
 * has turns to do; a turn is done under the lease, on a counter that knows tokens. The counter is
 * one word of shared memory, so that whoever is killed leaves it whole.
 *
 *     read    raises the token that the counter has seen, or is refused by a higher one
 *     write   is refused by a higher one
 *
 * That is what every target has to do, and what a lease alone cannot: the control writes without.
 */
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/support/lease.h"

#define WORKERS     16U
#define TURNS       40U /* of each worker; ONEROW_LEASE_TURNS says otherwise (make soak) */
#define TOKENS      (1U << 20)
#define VALUE_BITS  24U
#define POLL_MS     5
#define SHORT_TTL   20U  /* runs out under whoever is paused */
#define MIDDLE_TTL  200U /* runs out under whoever is stopped */
#define AT_MOST     15U  /* turns that go by without a kill or a stop, beyond a few */
#define LONGEST_NAP 300  /* ms that somebody is stopped */

struct board {
    _Atomic uint64_t counter;  /* token seen << VALUE_BITS | value */
    _Atomic uint64_t released; /* the highest token that was given back, and that acknowledged */
    _Atomic unsigned done;     /* turns that were acknowledged */
    _Atomic unsigned refused;  /* by the counter */
    _Atomic unsigned lost;     /* leases that were no longer there to be released */
    _Atomic unsigned releases; /* calls that may wake somebody */
    _Atomic unsigned messages; /* that woke somebody */
    _Atomic unsigned wrong;
    _Atomic unsigned arrived; /* who has opened the coordinator; they begin together */
    _Atomic unsigned working; /* who has turns left */
    _Atomic unsigned left[WORKERS];
    _Atomic uint32_t actors[TOKENS]; /* who has acted under a token */
    _Atomic unsigned limit;          /* of turns, until something else has happened */
    unsigned ttl_ms;
    unsigned turns;
    bool pauses; /* some hold the lease until it is somebody else's, and then write */
    bool checks; /* the counter looks at tokens */
};

static struct board *board;

struct worker {
    unsigned who;
    uint32_t life; /* no two lives are the same */
    uint64_t dice;
    struct onerow_coordinator *at;
    const struct onerow_lease_ops *ops;
    struct or_wake wake;
};

static uint64_t roll(struct worker *worker)
{
    worker->dice ^= worker->dice << 13;
    worker->dice ^= worker->dice >> 7;
    worker->dice ^= worker->dice << 17;
    return worker->dice * 0x2545f4914f6cdd1dU;
}

static void went_wrong(const char *what, uint64_t a, uint64_t b_)
{
    printf("# wrong: %s (%llu, %llu)\n", what, (unsigned long long)a, (unsigned long long)b_);
    fflush(stdout);
    atomic_fetch_add(&board->wrong, 1);
}

/* ---- the counter ----------------------------------------------------------------------------- */

static uint64_t token_seen(void)
{
    return atomic_load(&board->counter) >> VALUE_BITS;
}

static unsigned value_of(uint64_t counter)
{
    return (unsigned)(counter & ((1U << VALUE_BITS) - 1));
}

static bool read_counter(uint64_t token, unsigned *value)
{
    uint64_t seen = atomic_load(&board->counter);
    do {
        *value = value_of(seen);
        if (board->checks && seen >> VALUE_BITS > token) {
            return false;
        }
    } while (!atomic_compare_exchange_weak(&board->counter, &seen, token << VALUE_BITS | *value));
    return true;
}

static bool write_counter(uint64_t token, unsigned value)
{
    uint64_t seen = atomic_load(&board->counter);
    do {
        if (board->checks && seen >> VALUE_BITS > token) {
            return false;
        }
    } while (!atomic_compare_exchange_weak(&board->counter, &seen, token << VALUE_BITS | value));
    return true;
}

/* ---- the lease ------------------------------------------------------------------------------- */

static bool ask(struct worker *worker,
                enum onerow_status (*call)(struct onerow_coordinator *, struct onerow_lease_claim *,
                                           struct onerow_error *),
                struct onerow_lease_claim *claim)
{
    struct onerow_error error;
    enum onerow_status status = call(worker->at, claim, &error);
    if (status != ONEROW_OK) {
        printf("# a call: %s: %s\n", onerow_status_name(status), error.text);
        fflush(stdout);
    }
    return status == ONEROW_OK;
}

/* Whether one of the messages that have come says that the claim has the lease. */
static bool is_woken(struct worker *worker, struct onerow_lease_claim *claim)
{
    struct or_wake_message message;
    bool woken = false;
    while (or_wake_take(&worker->wake, &message)) {
        atomic_fetch_add(&board->messages, 1);
        if (memcmp(message.nonce, claim->nonce, ONEROW_NONCE) == 0) {
            claim->token = message.token;
            claim->answer = HELD;
            woken = true;
        }
    }
    return woken;
}

/* Waits until the claim has the lease. False: a call failed. */
static bool get_lease(struct worker *worker, struct onerow_lease_claim *claim)
{
    if (!ask(worker, worker->ops->acquire, claim)) {
        return false;
    }
    while (claim->answer != HELD) {
        struct pollfd wait = {.fd = worker->wake.fd, .events = POLLIN};
        if (claim->answer != WAITING) {
            went_wrong("not in the queue", claim->answer, 0);
            return false;
        }
        (void)poll(&wait, 1, POLL_MS + (int)(roll(worker) % POLL_MS));
        if (!is_woken(worker, claim) && !ask(worker, worker->ops->acquire, claim)) {
            return false;
        }
    }
    return true;
}

static void raise_to(_Atomic uint64_t *highest, uint64_t token)
{
    uint64_t seen = atomic_load(highest);
    while (seen < token && !atomic_compare_exchange_weak(highest, &seen, token)) {
    }
}

static bool give_back_lease(struct worker *worker, struct onerow_lease_claim *claim)
{
    uint64_t token = claim->token;
    atomic_fetch_add(&board->releases, 1);
    if (!ask(worker, worker->ops->release, claim)) {
        return false;
    }
    if (claim->answer == HELD) {
        raise_to(&board->released, token);
    } else {
        atomic_fetch_add(&board->lost, 1);
    }
    return true;
}

static unsigned progress(void)
{
    return atomic_load(&board->done) + atomic_load(&board->refused);
}

/* ---- turns ----------------------------------------------------------------------------------- */

static void sign(const struct worker *worker, uint64_t token)
{
    uint32_t nobody = 0;
    uint32_t me = worker->life;
    if (token >= TOKENS ||
        (!atomic_compare_exchange_strong(&board->actors[token], &nobody, me) && nobody != me)) {
        went_wrong("two act under one token", token, nobody);
    }
}

/* As if the process were paused, until the lease is somebody else's. The last one would wait for
 * ever. */
static void pause_until_it_is_lost(uint64_t token)
{
    while (token_seen() <= token && atomic_load(&board->working) > 1) {
        sched_yield();
    }
}

/* What is done under the lease. False: the counter refused it. */
static bool count_one(struct worker *worker, uint64_t token)
{
    unsigned value = 0;
    sign(worker, token);
    if (!read_counter(token, &value)) {
        return false;
    }
    if (board->pauses && roll(worker) % 8 == 0) {
        pause_until_it_is_lost(token);
    }
    return write_counter(token, value + 1);
}

static bool take_turn(struct worker *worker, uint32_t number)
{
    struct onerow_lease_claim claim = {.name = OR_SPAN("job"),
                                       .who = OR_SPAN("{}"),
                                       .wake = or_span(worker->wake.address),
                                       .ttl_ms = board->ttl_ms,
                                       .patience_ms = board->ttl_ms,
                                       .queue = true};
    memcpy(claim.nonce, &worker->life, sizeof worker->life);
    memcpy(claim.nonce + sizeof worker->life, &number, sizeof number);
    uint64_t before = atomic_load(&board->released);
    if (!get_lease(worker, &claim)) {
        return false;
    }
    if (claim.token <= before) {
        went_wrong("a token is not above one that was given back before", claim.token, before);
    }
    bool done = count_one(worker, claim.token);
    atomic_fetch_add(&board->refused, !done);
    if (done) {
        atomic_fetch_add(&board->done, 1);
        atomic_fetch_sub(&board->left[worker->who], 1);
    }
    return give_back_lease(worker, &claim);
}

static bool open_worker(struct worker *worker)
{
    struct onerow_error error;
    struct onerow_coordinator_options options = {.url = url, .wait_ms = 60000};
    if (or_coordinator_type_of(url)->open(&options, &worker->at, &error) != ONEROW_OK) {
        printf("# a worker cannot start: %s\n", error.text);
        return false;
    }
    worker->ops = worker->at->type->leases;
    return or_wake_open(&worker->wake);
}

static int work(void *context)
{
    struct worker *worker = context;
    bool works = open_worker(worker);
    atomic_fetch_add(&board->arrived, 1);
    while (atomic_load(&board->arrived) < WORKERS) {
        sched_yield();
    }
    for (uint32_t number = 0; works && atomic_load(&board->left[worker->who]); number++) {
        while (progress() >= atomic_load(&board->limit)) {
            sched_yield();
        }
        works = take_turn(worker, number);
    }
    atomic_fetch_sub(&board->working, 1);
    or_wake_close(&worker->wake);
    close_it(worker->at);
    fflush(stdout);
    return works ? 0 : 1;
}

/* ---- running them ---------------------------------------------------------------------------- */

/* Nothing is opened: a connection must not be shared with children. */
static unsigned turns_wanted(void)
{
    const char *text = getenv("ONEROW_LEASE_TURNS");
    unsigned turns = text ? (unsigned)strtoul(text, NULL, 10) : TURNS;
    assert_in_range(turns, 1, (TOKENS / WORKERS) / 4);
    return turns;
}

static int start_apart(void **state)
{
    bench = *state;
    bench_start(&b);
    url = bench->url(&b);
    board = share(sizeof *board);
    board->ttl_ms = LONG_MS;
    board->turns = turns_wanted();
    board->limit = UINT32_MAX;
    board->checks = true;
    return 0;
}

static int stop_apart(void **state)
{
    give_back(board, sizeof *board);
    return ledger_stop(state);
}

struct job {
    struct worker worker;
    struct hand hand;
};

static uint32_t lives;

static void start_job(struct job *job, unsigned who)
{
    job->worker =
        (struct worker){.who = who, .life = ++lives, .dice = dice() | 1, .wake = {.fd = -1}};
    start_hand(&job->hand, work, &job->worker);
}

static void start_all(struct job jobs[WORKERS])
{
    board->working = WORKERS;
    for (unsigned i = 0; i < WORKERS; i++) {
        board->left[i] = board->turns;
    }
    for (unsigned i = 0; i < WORKERS; i++) {
        start_job(&jobs[i], i);
    }
}

static void report(void)
{
    printf("# %s: %u turns acknowledged, counter %u, refused %u, lost %u, releases %u, messages "
           "%u, highest token %llu\n",
           bench->name, board->done, value_of(board->counter), board->refused, board->lost,
           board->releases, board->messages, (unsigned long long)token_seen());
    fflush(stdout);
    assert_int_equal(board->wrong, 0);
    assert_true(board->messages <= board->releases);
}

static void run_all(void)
{
    struct job jobs[WORKERS];
    start_all(jobs);
    for (unsigned i = 0; i < WORKERS; i++) {
        assert_int_equal(end_hand(&jobs[i].hand), 0);
    }
    report();
    assert_int_equal(board->done, WORKERS * board->turns);
}

static void workers_take_turns(void **state)
{
    (void)state;
    run_all();
    assert_int_equal(value_of(board->counter), WORKERS * board->turns);
    assert_int_equal(board->refused, 0);
    assert_int_equal(board->lost, 0);
    assert_int_equal(board->releases, WORKERS * board->turns); /* one lease for each turn */
}

static void the_token_stops_whoever_was_paused(void **state)
{
    (void)state;
    board->ttl_ms = SHORT_TTL;
    board->pauses = true;
    run_all();
    assert_int_equal(value_of(board->counter), WORKERS * board->turns);
    assert_true(board->refused > 0);
    assert_true(board->lost > 0);
}

/* Negative control: the lease alone. */
static void without_the_token_updates_are_lost(void **state)
{
    (void)state;
    board->ttl_ms = SHORT_TTL;
    board->pauses = true;
    board->checks = false;
    run_all();
    assert_int_equal(board->refused, 0);
    assert_true(value_of(board->counter) < WORKERS * board->turns);
}

/* ---- killing and stopping -------------------------------------------------------------------- */

/* Stops a process until others have gone on without it; for some time at most, because it may have
 * been stopped where nobody can (in a transaction). */
static void stop_for_a_while(pid_t pid)
{
    unsigned before = progress();
    kill(pid, SIGSTOP);
    for (int ms = 0; ms < LONGEST_NAP && progress() < before + 3; ms++) {
        usleep(1000);
    }
    kill(pid, SIGCONT);
}

static void killed_and_stopped_workers_lose_nothing(void **state)
{
    (void)state;
    struct job jobs[WORKERS];
    unsigned kills = 0;
    unsigned stops = 0;
    board->ttl_ms = MIDDLE_TTL;
    start_all(jobs);
    unsigned next = 5;
    for (unsigned round = 0; atomic_load(&board->working) > 0;) {
        atomic_store(&board->limit, next + AT_MOST);
        if (progress() < next) {
            sched_yield();
            continue;
        }
        unsigned who = (unsigned)(dice() % WORKERS);
        if (round++ % 2) {
            stop_for_a_while(jobs[who].hand.pid);
            stops++;
        } else if (atomic_load(&board->left[who])) {
            kill(jobs[who].hand.pid, SIGKILL);
            int code = end_hand(&jobs[who].hand);
            assert_true(code == 128 + SIGKILL || code == 0);
            kills += code != 0;
            atomic_fetch_add(&board->working, code == 0); /* it had just ended */
            start_job(&jobs[who], who);
        }
        next = progress() + 1 + (unsigned)(dice() % 12);
    }
    for (unsigned i = 0; i < WORKERS; i++) {
        assert_int_equal(end_hand(&jobs[i].hand), 0);
    }
    printf("# %s: %u kills, %u stops\n", bench->name, kills, stops);
    report();
    assert_true(kills > 2 && stops > 2);
    /* Whoever was killed may have counted, and not been heard. */
    assert_true(value_of(board->counter) >= board->done);
    assert_true(value_of(board->counter) <= board->done + kills);
    for (unsigned i = 0; i < WORKERS; i++) {
        assert_int_equal(board->left[i], 0);
    }
}

/* ---- the suite ------------------------------------------------------------------------------- */

static const struct ledger_test suite[] = {
#define RUNS(name)                                                                                 \
    {                                                                                              \
#name, name, false                                                                         \
    }
#define KILLS(name)                                                                                \
    {                                                                                              \
#name, name, true                                                                          \
    }
    RUNS(workers_take_turns),
    RUNS(the_token_stops_whoever_was_paused),
    RUNS(without_the_token_updates_are_lost),
    KILLS(killed_and_stopped_workers_lose_nothing),
};

int main(void)
{
    return run_lease_tests("lease_race", suite, sizeof suite / sizeof *suite, start_apart,
                           stop_apart);
}
