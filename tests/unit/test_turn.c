/* SPDX-License-Identifier: Apache-2.0
 *
 * base/turn.c with real processes. The order of arrival is known from the outside: the
 * queue file begins with the counter of tickets handed out, and the next process is
 * only let go when it has moved.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/turn.h"
#include "tests/support/bench.h"

#define LONG_MS 60000U /* longer than any test should take: running into it is a failure */

static struct bench b;
static const char *path;

struct board { /* between the processes of a test */
    _Atomic unsigned taken;
    _Atomic unsigned order[64];
    _Atomic unsigned inside; /* holders at this moment */
    _Atomic unsigned most;   /* of them ever */
    _Atomic bool leave;      /* holders may go */
    _Atomic unsigned failures;
};

static struct board *board;

static int start(void **state)
{
    (void)state;
    bench_start(&b);
    path = bench_file(&b, "x.db-onerow");
    board = share(sizeof *board);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    give_back(board, sizeof *board);
    bench_stop(&b);
    return 0;
}

/* ---- from the outside ------------------------------------------------------------------ */

/* Tickets handed out so far. */
static uint32_t tickets(void)
{
    uint32_t next = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        next = pread(fd, &next, sizeof next, 0) == sizeof next ? next : 0;
        close(fd);
    }
    return next;
}

#define until(condition)                                                                           \
    while (!(condition)) {                                                                         \
        sched_yield();                                                                             \
    }

static void enter(unsigned who)
{
    board->order[atomic_fetch_add(&board->taken, 1)] = who;
    unsigned inside = atomic_fetch_add(&board->inside, 1) + 1;
    unsigned most = atomic_load(&board->most);
    while (inside > most && !atomic_compare_exchange_weak(&board->most, &most, inside)) {
    }
}

/* A process that takes one turn and keeps it until it may leave. */
static int one_turn(void *context)
{
    struct or_turn *turn = or_turn_open(path, 0644);
    if (!turn || !or_turn_take(turn, LONG_MS, NULL)) {
        return 1;
    }
    enter(*(const unsigned *)context);
    until(atomic_load(&board->leave));
    atomic_fetch_sub(&board->inside, 1);
    or_turn_give(turn);
    or_turn_close(turn);
    return 0;
}

static pid_t start_turn(unsigned who)
{
    uint32_t before = tickets();
    pid_t pid = child(one_turn, &who);
    until(tickets() != before);
    return pid;
}

/* ---- order ------------------------------------------------------------------------------ */

#define WRITERS  8U
#define ROTATING 4U
#define TURNS    64U

/* Queues up one process after the other; whether they were served in that order. */
static bool served_in_order(void)
{
    pid_t pids[WRITERS];
    bool in_order = true;
    *board = (struct board){0};
    for (unsigned i = 0; i < WRITERS; i++) {
        pids[i] = start_turn(i);
    }
    until(atomic_load(&board->taken) >= 1);
    atomic_store(&board->leave, true);
    for (unsigned i = 0; i < WRITERS; i++) {
        assert_int_equal(child_code(pids[i]), 0);
    }
    assert_int_equal(board->taken, WRITERS);
    assert_int_equal(board->most, 1);
    for (unsigned i = 0; i < WRITERS; i++) {
        in_order &= board->order[i] == i;
    }
    return in_order;
}

/* A process that the machine does not let run for 100 ms is passed over, rightly; so a crowded
 * machine has three tries. */
static void assert_served_in_order(void)
{
    bool in_order = false;
    for (int tries = 0; tries < 3 && !in_order; tries++) {
        in_order = served_in_order();
    }
    assert_true(in_order);
}

static void first_come_first_served(void **state)
{
    (void)state;
    assert_served_in_order();
}

/* Each asks again as soon as it has given, and nobody gives before all the others wait: with a
 * queue they then take turns in one rotation, whoever is the fastest. */
static int many_turns(void *context)
{
    unsigned who = *(const unsigned *)context;
    struct or_turn *turn = or_turn_open(path, 0644);
    for (unsigned i = 0; turn && i < TURNS / ROTATING; i++) {
        if (!or_turn_take(turn, LONG_MS, NULL)) {
            return 1;
        }
        enter(who);
        unsigned others = atomic_load(&board->taken) + ROTATING - 1;
        until(tickets() >= (others < TURNS ? others : TURNS));
        atomic_fetch_sub(&board->inside, 1);
        or_turn_give(turn);
    }
    or_turn_close(turn);
    return turn == NULL;
}

static bool rotates(void)
{
    unsigned names[ROTATING];
    pid_t pids[ROTATING];
    bool rotation = true;
    *board = (struct board){0};
    unlink(path);
    for (unsigned i = 0; i < ROTATING; i++) {
        names[i] = i;
        pids[i] = child(many_turns, &names[i]);
    }
    for (unsigned i = 0; i < ROTATING; i++) {
        assert_int_equal(child_code(pids[i]), 0);
    }
    assert_int_equal(board->taken, TURNS);
    assert_int_equal(board->most, 1);
    for (unsigned i = ROTATING; i < TURNS; i++) {
        rotation &= board->order[i] == board->order[i - ROTATING];
    }
    return rotation;
}

static void nobody_starves(void **state)
{
    (void)state;
    bool rotation = false;
    for (int tries = 0; tries < 3 && !rotation; tries++) { /* as in assert_served_in_order */
        rotation = rotates();
    }
    assert_true(rotation);
}

/* The naive queue, a lock that whoever asks first gets: one that asks again at once is served many
 * times while the others wait. Seen from the counts, not from a clock. */
static int greedy(void *context)
{
    unsigned who = *(const unsigned *)context;
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 1};
    struct flock unlock = {.l_type = F_UNLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 1};
    for (;;) {
        while (fcntl(fd, F_OFD_SETLK, &lock) != 0) {
            usleep(1000); /* as a busy handler does */
        }
        unsigned at = atomic_fetch_add(&board->taken, 1);
        if (at >= 64) {
            return 0;
        }
        board->order[at] = who;
        fcntl(fd, F_OFD_SETLK, &unlock);
    }
}

static void a_busy_loop_starves(void **state)
{
    (void)state;
    unsigned names[4] = {0, 1, 2, 3};
    pid_t pids[4];
    for (unsigned i = 0; i < 4; i++) {
        pids[i] = child(greedy, &names[i]);
    }
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(child_code(pids[i]), 0);
    }
    unsigned again = 0; /* times that the one who had it got it again */
    for (unsigned i = 1; i < 64; i++) {
        again += board->order[i] == board->order[i - 1];
    }
    printf("# a busy loop: %u of 63 turns went to the one that had just had it\n", again);
    assert_true(again > 32);
}

/* ---- deaths and stops --------------------------------------------------------------------- */

static void kill_and_reap(pid_t pid)
{
    kill(pid, SIGKILL);
    assert_int_equal(child_code(pid), 128 + SIGKILL);
}

/* What a healthy writer gets while the test's other processes hold it up. */
static void assert_served(unsigned wait_ms)
{
    struct or_turn *turn = or_turn_open(path, 0644);
    assert_non_null(turn);
    assert_true(or_turn_take(turn, wait_ms, NULL));
    or_turn_give(turn);
    or_turn_close(turn);
}

static void a_killed_holder_holds_nobody_up(void **state)
{
    (void)state;
    pid_t holder = start_turn(0);
    until(atomic_load(&board->taken) == 1);
    pid_t waiter = start_turn(1);
    kill_and_reap(holder);
    atomic_store(&board->leave, true);
    assert_int_equal(child_code(waiter), 0);
    assert_served(LONG_MS);
}

static void a_killed_waiter_is_passed_over(void **state)
{
    (void)state;
    pid_t holder = start_turn(0);
    until(atomic_load(&board->taken) == 1);
    pid_t dead = start_turn(1);
    pid_t waiter = start_turn(2);
    kill_and_reap(dead);
    atomic_store(&board->leave, true);
    assert_int_equal(child_code(holder), 0);
    assert_int_equal(child_code(waiter), 0);
    assert_int_equal(board->order[1], 2);
}

static void stop_and_see(pid_t pid)
{
    int how = 0;
    kill(pid, SIGSTOP);
    assert_int_equal(waitpid(pid, &how, WUNTRACED), pid);
    assert_true(WIFSTOPPED(how));
}

static void a_stopped_waiter_is_passed_over(void **state)
{
    (void)state;
    pid_t holder = start_turn(0);
    until(atomic_load(&board->taken) == 1);
    pid_t stopped = start_turn(1);
    pid_t waiter = start_turn(2);
    stop_and_see(stopped);
    atomic_store(&board->leave, true);
    assert_int_equal(child_code(holder), 0);
    assert_int_equal(child_code(waiter), 0);
    assert_served(LONG_MS);
    kill(stopped, SIGCONT); /* it was passed over, draws a new ticket and is served after all */
    assert_int_equal(child_code(stopped), 0);
    assert_int_equal(board->taken, 3);
}

static void a_stopped_holder_does_not_hold_up_for_ever(void **state)
{
    (void)state;
    pid_t holder = start_turn(0);
    until(atomic_load(&board->taken) == 1);
    stop_and_see(holder);
    assert_served(LONG_MS);
    atomic_store(&board->leave, true);
    kill(holder, SIGCONT);
    assert_int_equal(child_code(holder), 0); /* giving late harms nobody: */
    assert_served(LONG_MS);
}

/* A naive queue, which waits for its predecessor whatever becomes of it, is held up for ever: the
 * same file, without the look after the owner. */
static void without_looking_after_it_a_dead_holder_blocks(void **state)
{
    (void)state;
    pid_t holder = start_turn(0);
    until(atomic_load(&board->taken) == 1);
    kill_and_reap(holder);
    uint32_t counters[2] = {0};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_int_equal(pread(fd, counters, sizeof counters, 0), sizeof counters);
    close(fd);
    assert_int_equal(counters[0], 1);
    assert_int_equal(counters[1], 0); /* still serving the dead one: nobody else would move it on */
    assert_served(LONG_MS);
}

/* ---- giving up ------------------------------------------------------------------------------ */

static void time_is_over(void **state)
{
    (void)state;
    pid_t holder = start_turn(0);
    until(atomic_load(&board->taken) == 1);
    struct or_turn *turn = or_turn_open(path, 0644);
    assert_false(or_turn_take(turn, 20, NULL));
    or_turn_give(turn); /* harmless without one */
    pid_t waiter = start_turn(1);
    atomic_store(&board->leave, true);
    assert_int_equal(child_code(holder), 0);
    assert_int_equal(child_code(waiter), 0); /* the ticket that was given up is passed over */
    assert_true(or_turn_take(turn, LONG_MS, NULL));
    or_turn_close(turn); /* gives it up, too */
    assert_served(LONG_MS);
}

static void stop_is_obeyed(void **state)
{
    (void)state;
    pid_t holder = start_turn(0);
    until(atomic_load(&board->taken) == 1);
    struct or_turn *turn = or_turn_open(path, 0644);
    volatile bool stopped = true;
    assert_false(or_turn_take(turn, LONG_MS, &stopped));
    or_turn_close(turn);
    atomic_store(&board->leave, true);
    assert_int_equal(child_code(holder), 0);
}

/* ---- one process, odd places ------------------------------------------------------------------
 */

static void *take_in_thread(void *context)
{
    bool got = or_turn_take(context, LONG_MS, NULL);
    if (got) {
        enter(1);
        atomic_fetch_sub(&board->inside, 1);
        or_turn_give(context);
    }
    return got ? context : NULL;
}

static void two_handles_in_one_process(void **state)
{
    (void)state;
    struct or_turn *one = or_turn_open(path, 0644);
    struct or_turn *two = or_turn_open(path, 0644);
    assert_true(one && two);
    assert_true(or_turn_take(one, LONG_MS, NULL));
    enter(0);
    assert_false(or_turn_take(two, 20, NULL)); /* the other handle is another owner */
    uint32_t before = tickets();
    pthread_t thread;
    void *got = NULL;
    assert_int_equal(pthread_create(&thread, NULL, take_in_thread, two), 0);
    until(tickets() > before);
    atomic_fetch_sub(&board->inside, 1);
    or_turn_give(one);
    assert_int_equal(pthread_join(thread, &got), 0);
    assert_ptr_equal(got, two);
    assert_int_equal(board->most, 1);
    or_turn_close(one);
    or_turn_close(two);
}

static void a_turn_can_be_taken_again_and_again(void **state)
{
    (void)state;
    struct or_turn *turn = or_turn_open(path, 0644);
    for (int i = 0; i < 100000; i++) {
        if (!or_turn_take(turn, LONG_MS, NULL)) {
            fail_msg("no turn in round %d", i);
        }
        or_turn_give(turn);
        or_turn_give(turn); /* twice is once */
    }
    or_turn_close(turn);
    or_turn_close(NULL);
}

/* The counters are 32 bits wide and run over. */
static void the_counter_runs_over(void **state)
{
    (void)state;
    or_turn_close(or_turn_open(path, 0644));
    uint32_t near_the_end[3] = {UINT32_MAX - 3, UINT32_MAX - 3, UINT32_MAX - 4};
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_int_equal(pwrite(fd, near_the_end, sizeof near_the_end, 0), sizeof near_the_end);
    close(fd);
    assert_served_in_order();
    assert_true(tickets() < UINT32_MAX - 3);
}

static void no_queue_where_there_can_be_none(void **state)
{
    (void)state;
    assert_null(or_turn_open(bench_file(&b, "missing/x.db-onerow"), 0644));
    assert_int_equal(mkdir(bench_file(&b, "folder"), 0755), 0);
    assert_null(or_turn_open(bench_file(&b, "folder"), 0644));
    assert_int_equal(symlink("elsewhere", bench_file(&b, "link")), 0);
    assert_null(or_turn_open(bench_file(&b, "link"), 0644)); /* never follows a planted link */
    assert_int_not_equal(access(bench_file(&b, "elsewhere"), F_OK), 0);
}

/* A full disk must show at open, not as a signal in the middle of a write. */
static int open_without_room(void *context)
{
    (void)context;
    signal(SIGXFSZ, SIG_IGN);
    struct rlimit none = {0, 0};
    if (setrlimit(RLIMIT_FSIZE, &none) != 0) {
        return 2;
    }
    return or_turn_open(path, 0644) != NULL;
}

static void no_queue_on_a_full_disk(void **state)
{
    (void)state;
    assert_int_equal(child_code(child(open_without_room, NULL)), 0);
}

static void the_file_has_the_asked_permissions(void **state)
{
    (void)state;
    struct stat info;
    mode_t before = umask(0);
    or_turn_close(or_turn_open(path, 0660));
    umask(before);
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0660);
}

static void removing_the_file_makes_a_new_queue(void **state)
{
    (void)state;
    pid_t holder = start_turn(0);
    until(atomic_load(&board->taken) == 1);
    assert_int_equal(unlink(path), 0);
    assert_served(20); /* nobody is in the new one */
    atomic_store(&board->leave, true);
    assert_int_equal(child_code(holder), 0);
}

#define turn_test(name) cmocka_unit_test_setup_teardown(name, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        turn_test(first_come_first_served),
        turn_test(nobody_starves),
        turn_test(a_busy_loop_starves),
        turn_test(a_killed_holder_holds_nobody_up),
        turn_test(a_killed_waiter_is_passed_over),
        turn_test(a_stopped_waiter_is_passed_over),
        turn_test(a_stopped_holder_does_not_hold_up_for_ever),
        turn_test(without_looking_after_it_a_dead_holder_blocks),
        turn_test(time_is_over),
        turn_test(stop_is_obeyed),
        turn_test(two_handles_in_one_process),
        turn_test(a_turn_can_be_taken_again_and_again),
        turn_test(the_counter_runs_over),
        turn_test(no_queue_where_there_can_be_none),
        turn_test(no_queue_on_a_full_disk),
        turn_test(the_file_has_the_asked_permissions),
        turn_test(removing_the_file_makes_a_new_queue),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
