/* SPDX-License-Identifier: Apache-2.0
 *
 * The contract of every ledger when many use it at once: eight workers, in processes where the
 * ledger is durable (some are killed at any moment) and in threads otherwise. What they were told
 * is noted in shared memory, and compared with what the ledger holds.
 */
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "tests/support/ledger.h"

/* ---- workers --------------------------------------------------------------------------------- */

#define WORKERS  8U
#define COUNTERS 3U
#define LOGGED   4096U

struct worker {
    unsigned who;
    struct onerow_coordinator *at;
    uint64_t space;
    struct or_arena arena;
    uint64_t dice;
};

/* What workers share with the test. */
struct board {
    unsigned workers;         /* how many meet */
    _Atomic unsigned arrived; /* at meetings, so far */
    _Atomic bool failed;      /* one of them did, and will not come */
    _Atomic unsigned turns;   /* worked off so far, all together */
    _Atomic unsigned refused; /* swaps that came too late */
    _Atomic unsigned wrong;
    _Atomic bool over;
    bool meet;                            /* the first increments are made at once */
    _Atomic unsigned counted[COUNTERS];   /* acknowledged increments */
    _Atomic unsigned logged;              /* of them, how many nonces are in the log */
    char log[LOGGED][32];                 /* nonces of acknowledged increments */
    uint64_t numbers[LOGGED];             /* reserved */
    _Atomic uint64_t generation[WORKERS]; /* how often a worker was started again */
};

static struct board *board;

static uint64_t roll(struct worker *worker)
{
    worker->dice ^= worker->dice << 13;
    worker->dice ^= worker->dice >> 7;
    worker->dice ^= worker->dice << 17;
    return worker->dice * 0x2545f4914f6cdd1dU;
}

/* Each worker opens the ledger for itself. */
static bool worker_start(struct worker *worker)
{
    struct onerow_error error;
    struct onerow_ledger_namespace made;
    struct onerow_coordinator_options options = {.url = url, .wait_ms = 60000};
    const struct onerow_coordinator_type *type = or_coordinator_type_of(url);
    or_arena_init(&worker->arena);
    if (type->open(&options, &worker->at, &error) != ONEROW_OK ||
        type->ledger->enter(worker->at, OR_SPAN("things"), OR_SPAN("key: name"), &made, &error) !=
            ONEROW_OK) {
        printf("# a worker cannot start: %s\n", error.text);
        return false;
    }
    worker->space = made.number;
    return true;
}

static void worker_end(struct worker *worker)
{
    close_it(worker->at);
    or_arena_finish(&worker->arena);
}

/* Both print what went wrong: an assertion may not be used in a thread. */
static bool worker_read(struct worker *worker, struct onerow_ledger_record *records, size_t n)
{
    struct onerow_error error;
    uint64_t now = 0;
    or_arena_reset(&worker->arena);
    enum onerow_status status = worker->at->type->ledger->read(worker->at, worker->space, records,
                                                               n, &now, &worker->arena, &error);
    if (status != ONEROW_OK) {
        printf("# read: %s: %s\n", onerow_status_name(status), error.text);
    }
    return status == ONEROW_OK;
}

static bool worker_swap(struct worker *worker, const struct onerow_ledger_change *changes, size_t n,
                        bool *done)
{
    struct onerow_error error;
    uint64_t now = 0;
    struct onerow_ledger_swap one = {.changes = changes, .n = n};
    enum onerow_status status =
        worker->at->type->ledger->swap(worker->at, worker->space, &one, 1, &now, &error);
    if (status != ONEROW_OK) {
        printf("# swap: %s: %s\n", onerow_status_name(status), error.text);
    }
    *done = one.done;
    atomic_fetch_add(&board->refused, status == ONEROW_OK && !one.done);
    return status == ONEROW_OK;
}

/* Waits until all have come. */
static void meet(void)
{
    unsigned place = atomic_fetch_add(&board->arrived, 1);
    unsigned last = (place / board->workers + 1) * board->workers;
    while (atomic_load(&board->arrived) < last && !atomic_load(&board->failed)) {
        sched_yield();
    }
}

typedef int work(struct worker *worker);

struct job {
    work *run;
    struct worker worker;
    struct hand hand;
};

static int run_job(void *context)
{
    struct job *job = context;
    int code = worker_start(&job->worker) ? job->run(&job->worker) : 90;
    if (code != 0) {
        atomic_store(&board->failed, true);
        atomic_store(&board->over, true);
    }
    worker_end(&job->worker);
    fflush(stdout);
    return code;
}

static void start_job(struct job *job, work *run, unsigned who)
{
    *job = (struct job){.run = run, .worker = {.who = who, .dice = dice() | 1}};
    start_hand(&job->hand, run_job, job);
}

static void run_workers(work *run, unsigned n)
{
    struct job jobs[WORKERS];
    board->workers = n;
    for (unsigned i = 0; i < n; i++) {
        start_job(&jobs[i], run, i);
    }
    for (unsigned i = 0; i < n; i++) {
        assert_int_equal(end_hand(&jobs[i].hand), 0);
    }
}

/* Nothing is opened: a connection must not be shared with children, and the first ones to open are
 * to be the workers. */
static int start_apart(void **state)
{
    bench = *state;
    bench_start(&b);
    url = bench->url(&b);
    board = share(sizeof *board);
    return 0;
}

static int stop_apart(void **state)
{
    give_back(board, sizeof *board);
    return ledger_stop(state);
}

static void come_back(void)
{
    c = another();
    space = enter(c).number;
}

static unsigned number_in(struct onerow_span body)
{
    char digits[16] = "";
    memcpy(digits, body.len ? body.data : "", body.len < 15 ? body.len : 15);
    return (unsigned)strtoul(digits, NULL, 10);
}

static unsigned value_of(const char *name)
{
    return number_in(read_one(KEY, or_span(name)).body);
}

/* ---- increments ------------------------------------------------------------------------------ */

#define LOOKS 20U
#define TURNS 400U

/* With `together`, all workers read before any of them writes. */
static bool increment(struct worker *worker, unsigned counter, const char *nonce, bool together,
                      bool *done)
{
    char name[16];
    char body[16];
    snprintf(name, sizeof name, "counter %u", counter);
    struct onerow_ledger_record record = {.kind = KEY, .name = or_span(name)};
    if (!worker_read(worker, &record, 1)) {
        return false;
    }
    if (together) {
        meet();
    }
    snprintf(body, sizeof body, "%u", number_in(record.body) + 1);
    struct onerow_ledger_change both[] = {change(KEY, name, record.revision, 1, body),
                                          change(ATTEMPT, nonce, 0, (uint8_t)(1 + counter), "")};
    return worker_swap(worker, both, 2, done);
}

static int count_up(struct worker *worker)
{
    char nonce[32];
    uint64_t generation = atomic_fetch_add(&board->generation[worker->who], 1);
    for (unsigned i = 0; !atomic_load(&board->over); i++) {
        bool together = board->meet && i == 0;
        unsigned counter = together ? 0 : (unsigned)(roll(worker) % COUNTERS);
        bool done = false;
        snprintf(nonce, sizeof nonce, "%u.%llu.%u", worker->who, (unsigned long long)generation, i);
        if (!increment(worker, counter, nonce, together, &done)) {
            return 1;
        }
        if (done) {
            unsigned at = atomic_fetch_add(&board->logged, 1);
            memcpy(board->log[at % LOGGED], nonce, sizeof nonce);
            atomic_fetch_add(&board->counted[counter], 1);
        }
        if (atomic_fetch_add(&board->turns, done) >= TURNS) {
            atomic_store(&board->over, true);
        }
    }
    return 0;
}

/* Every nonce of the log is in the ledger, and each counter is as high as it has nonces.
 * `in_flight`: how many increments may have happened without being acknowledged. */
static void check_counters(unsigned in_flight)
{
    unsigned there = 0;
    unsigned acknowledged = 0;
    come_back();
    for (unsigned i = 0; i < COUNTERS; i++) {
        unsigned value = value_of(text(&b, "counter %u", i));
        assert_int_equal(list(ATTEMPT, 1U << (1 + i), UINT64_MAX).n, value);
        assert_int_equal(read_one(KEY, or_span(text(&b, "counter %u", i))).revision, value);
        assert_true(value >= board->counted[i]);
        there += value;
        acknowledged += board->counted[i];
    }
    printf("# %s: %u increments acknowledged, %u in the ledger, %u refused\n", bench->name,
           acknowledged, there, board->refused);
    assert_true(there - acknowledged <= in_flight);
    assert_true(board->logged <= LOGGED);
    for (unsigned i = 0; i < board->logged; i++) {
        if (*board->log[i]) { /* killed between the number and the text: not in the log */
            assert_int_equal(read_one(ATTEMPT, or_span(board->log[i])).revision, 1);
        }
    }
}

static void eight_workers_count_without_a_loss(void **state)
{
    (void)state;
    board->meet = true;
    run_workers(count_up, WORKERS);
    assert_true(board->refused >= WORKERS - 1); /* those who met, but for one */
    check_counters(0);
}

/* A new name every now and then: who comes first inserts it under the eyes of all others. */
#define ROUNDS 40U
#define NAMES  8U
static const char *const naive_names[NAMES] = {"n0", "n1", "n2", "n3", "n4", "n5", "n6", "n7"};

static int count_without_a_condition(struct worker *worker)
{
    for (unsigned i = 0; i < ROUNDS; i++) {
        const char *name = naive_names[i * NAMES / ROUNDS];
        bool done = false;
        struct onerow_ledger_record record = {.kind = KEY, .name = or_span(name)};
        char body[16];
        if (!worker_read(worker, &record, 1)) {
            return 1;
        }
        snprintf(body, sizeof body, "%u", number_in(record.body) + 1);
        struct onerow_ledger_change one = change(KEY, name, ANY, 1, body);
        meet(); /* everybody has read */
        if (!worker_swap(worker, &one, 1, &done) || !done) {
            return 2;
        }
        atomic_fetch_add(&board->turns, 1);
        meet();
    }
    return 0;
}

/* Negative control: the same increments without the revision as a condition. Each write is one
 * revision all the same. */
static void without_the_condition_increments_are_lost(void **state)
{
    (void)state;
    run_workers(count_without_a_condition, WORKERS);
    come_back();
    printf("# %s: %u increments acknowledged, %u in the ledger\n", bench->name, board->turns,
           NAMES * value_of(naive_names[0]));
    assert_int_equal(board->turns, ROUNDS * WORKERS);
    for (unsigned i = 0; i < NAMES; i++) {
        assert_int_equal(value_of(naive_names[i]), ROUNDS / NAMES);
        assert_int_equal(read_one(KEY, or_span(naive_names[i])).revision, ROUNDS / NAMES * WORKERS);
    }
}

/* Kills workers at random, and starts others in their place, until the turns are over. */
static unsigned run_and_kill(work *run)
{
    struct job jobs[WORKERS];
    unsigned kills = 0;
    for (unsigned i = 0; i < WORKERS; i++) {
        start_job(&jobs[i], run, i);
    }
    for (unsigned next = 5; !atomic_load(&board->over);) {
        if (atomic_load(&board->turns) < next) {
            sched_yield();
            continue;
        }
        unsigned who = (unsigned)(dice() % WORKERS);
        kill(jobs[who].hand.pid, SIGKILL);
        kills += end_hand(&jobs[who].hand) == 128 + SIGKILL;
        start_job(&jobs[who], run, who);
        next = atomic_load(&board->turns) + 1 + (unsigned)(dice() % 20);
    }
    for (unsigned i = 0; i < WORKERS; i++) {
        assert_int_equal(end_hand(&jobs[i].hand), 0);
    }
    printf("# %s: %u kills\n", bench->name, kills);
    assert_true(kills > 5);
    return kills;
}

static void killed_workers_lose_nothing_acknowledged(void **state)
{
    (void)state;
    check_counters(run_and_kill(count_up));
}

/* ---- numbers of many ------------------------------------------------------------------------- */

static int take_numbers(struct worker *worker)
{
    struct onerow_error error;
    while (!atomic_load(&board->over)) {
        uint64_t first = 0;
        uint64_t n = 1 + roll(worker) % 3;
        if (worker->at->type->ledger->reserve(worker->at, n, &first, &error) != ONEROW_OK) {
            return 1;
        }
        for (uint64_t i = 0; i < n; i++) {
            unsigned at = atomic_fetch_add(&board->logged, 1);
            board->numbers[at % LOGGED] = first + i;
        }
        if (atomic_fetch_add(&board->turns, 1) >= TURNS / 2) {
            atomic_store(&board->over, true);
        }
    }
    return 0;
}

static int compare_numbers(const void *a, const void *b_)
{
    uint64_t left = *(const uint64_t *)a;
    uint64_t right = *(const uint64_t *)b_;
    return left < right ? -1 : left > right;
}

static void check_numbers(void)
{
    unsigned n = board->logged;
    assert_true(n <= LOGGED);
    qsort(board->numbers, n, sizeof *board->numbers, compare_numbers);
    for (unsigned i = 1; i < n; i++) {
        if (board->numbers[i]) { /* 0: killed before it was written down */
            assert_true(board->numbers[i] != board->numbers[i - 1]);
        }
    }
    come_back();
    assert_true(reserve(c, 1) > board->numbers[n - 1]);
}

static void many_take_numbers(void **state)
{
    (void)state;
    run_workers(take_numbers, WORKERS);
    check_numbers();
}

static void killed_workers_take_numbers(void **state)
{
    (void)state;
    run_and_kill(take_numbers);
    check_numbers();
}

/* ---- one moment ------------------------------------------------------------------------------ */

#define ACCOUNTS 6U
#define MONEY    100U

static const char *const accounts[ACCOUNTS] = {"acc 0", "acc 1", "acc 2",
                                               "acc 3", "acc 4", "acc 5"};

/* Worker 0 only looks: whatever the others move, the sum stays. */
static int look_at_accounts(struct worker *worker)
{
    while (!atomic_load(&board->over)) {
        struct onerow_ledger_record records[ACCOUNTS];
        unsigned sum = 0;
        for (unsigned i = 0; i < ACCOUNTS; i++) {
            records[i] = (struct onerow_ledger_record){.kind = KEY, .name = or_span(accounts[i])};
        }
        if (!worker_read(worker, records, ACCOUNTS)) {
            return 1;
        }
        for (unsigned i = 0; i < ACCOUNTS; i++) {
            sum += number_in(records[i].body);
        }
        atomic_fetch_add(&board->counted[0], 1);
        atomic_fetch_add(&board->wrong, sum != ACCOUNTS * MONEY);
    }
    return 0;
}

static int move_money(struct worker *worker)
{
    while (worker->who && !atomic_load(&board->over)) {
        unsigned from = (unsigned)(roll(worker) % ACCOUNTS);
        unsigned to = (from + 1 + (unsigned)(roll(worker) % (ACCOUNTS - 1))) % ACCOUNTS;
        struct onerow_ledger_record records[] = {{.kind = KEY, .name = or_span(accounts[from])},
                                                 {.kind = KEY, .name = or_span(accounts[to])}};
        char less[16];
        char more[16];
        bool done = false;
        if (!worker_read(worker, records, 2)) {
            return 1;
        }
        unsigned left = number_in(records[0].body);
        unsigned moved = left < 3 ? left : 3;
        snprintf(less, sizeof less, "%u", left - moved);
        snprintf(more, sizeof more, "%u", number_in(records[1].body) + moved);
        struct onerow_ledger_change both[] = {
            change(KEY, accounts[from], records[0].revision, 1, less),
            change(KEY, accounts[to], records[1].revision, 1, more)};
        if (!worker_swap(worker, both, 2, &done)) {
            return 2;
        }
        bool enough = atomic_fetch_add(&board->turns, done) >= TURNS;
        if (enough && atomic_load(&board->counted[0]) >= LOOKS) { /* whoever looks may be late */
            atomic_store(&board->over, true);
        }
    }
    return worker->who ? 0 : look_at_accounts(worker);
}

static void a_read_is_one_moment(void **state)
{
    (void)state;
    come_back();
    for (unsigned i = 0; i < ACCOUNTS; i++) {
        set(accounts[i], 0, 1, text(&b, "%u", MONEY));
    }
    close_it(c);
    run_workers(move_money, WORKERS);
    come_back();
    unsigned sum = 0;
    for (unsigned i = 0; i < ACCOUNTS; i++) {
        sum += value_of(accounts[i]);
    }
    printf("# %s: %u moves, %u looks\n", bench->name, board->turns, board->counted[0]);
    assert_int_equal(sum, ACCOUNTS * MONEY);
    assert_int_equal(board->wrong, 0);
    assert_true(board->counted[0] >= LOOKS);
}

/* Each name may be created by one; all others are refused. Names come in another order for each. */
static int create_names(struct worker *worker)
{
    unsigned order[60] = {0};
    for (unsigned i = 0; i < 60; i++) {
        unsigned at = (unsigned)(roll(worker) % (i + 1));
        order[i] = order[at];
        order[at] = i;
    }
    meet();
    for (unsigned i = 0; i < 60; i += 3) {
        char names[3][16];
        struct onerow_ledger_change changes[3];
        bool done = false;
        for (unsigned k = 0; k < 3; k++) {
            snprintf(names[k], sizeof names[k], "%u", order[i + k]);
            changes[k] = change(KEY, names[k], 0, 1, "mine");
        }
        if (!worker_swap(worker, changes, 3, &done)) {
            return 1;
        }
        atomic_fetch_add(&board->turns, done);
        for (unsigned k = 0; !done && k < 3; k++) {
            if (!worker_swap(worker, &changes[k], 1, &done)) {
                return 2;
            }
            atomic_fetch_add(&board->counted[0], done);
            done = false;
        }
    }
    return 0;
}

static void each_name_is_created_once(void **state)
{
    (void)state;
    run_workers(create_names, WORKERS);
    come_back();
    struct collected all = list(KEY, ALL, UINT64_MAX);
    assert_int_equal(all.n, 60);
    for (unsigned i = 0; i < 60; i++) {
        assert_string_equal(seen(text(&b, "%u", i)), "1/1:mine");
    }
    printf("# %s: %u swaps of three, %u of one\n", bench->name, board->turns, board->counted[0]);
    assert_int_equal(3 * board->turns + board->counted[0], 60);
}

/* A swap that rests on an absent name excludes the one that writes it, and the other way round: of
 * each pair at most one may happen. */
static int rest_on_absence(struct worker *worker)
{
    for (unsigned i = 0; i < 60; i++) {
        char mine[16];
        char theirs[16];
        bool done = false;
        snprintf(mine, sizeof mine, "%c%u", worker->who % 2 ? 'l' : 'r', i);
        snprintf(theirs, sizeof theirs, "%c%u", worker->who % 2 ? 'r' : 'l', i);
        struct onerow_ledger_change both[] = {change(KEY, mine, ANY, 1, "x"),
                                              change(KEY, theirs, 0, 0, "")};
        meet();
        if (!worker_swap(worker, both, 2, &done)) {
            return 1;
        }
    }
    return 0;
}

static void an_absence_is_kept_until_the_commit(void **state)
{
    (void)state;
    run_workers(rest_on_absence, 4);
    come_back();
    for (unsigned i = 0; i < 60; i++) {
        bool left = read_one(KEY, or_span(text(&b, "l%u", i))).state;
        bool right = read_one(KEY, or_span(text(&b, "r%u", i))).state;
        assert_true(left != right);
    }
}

/* Many at once open a ledger that is not there yet. */
static int open_first(struct worker *worker)
{
    struct onerow_error error;
    uint64_t first = 0;
    if (worker->at->type->ledger->reserve(worker->at, 1, &first, &error) != ONEROW_OK) {
        return 1;
    }
    board->numbers[worker->who] = first;
    atomic_fetch_add(&board->logged, 1);
    return 0;
}

static void the_first_ones_make_one_ledger(void **state)
{
    (void)state;
    run_workers(open_first, WORKERS);
    check_numbers();
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
    RUNS(eight_workers_count_without_a_loss),
    RUNS(without_the_condition_increments_are_lost),
    KILLS(killed_workers_lose_nothing_acknowledged),
    RUNS(many_take_numbers),
    KILLS(killed_workers_take_numbers),
    RUNS(a_read_is_one_moment),
    RUNS(each_name_is_created_once),
    RUNS(an_absence_is_kept_until_the_commit),
    RUNS(the_first_ones_make_one_ledger),
};

int main(void)
{
    return run_ledger_tests("ledger_race", suite, sizeof suite / sizeof *suite, start_apart,
                            stop_apart);
}
