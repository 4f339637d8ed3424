/* SPDX-License-Identifier: Apache-2.0
 *
 * What is particular to leases in an SQLite file: sessions that die with their process, restarts of
 * the machine, and what is durable. What all leases do is in tests/contract/test_lease.c.
 *
 * A restart is played by writing another boot into the file; a loss of power by putting back what
 * each file held when it was last synced, which a fdatasync of the test's own notes.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/support/lease.h"

static const char *sqlite_url(struct bench *at)
{
    return text(at, "sqlite:%s", at->path);
}

static const struct ledger_bench sqlite_bench = {"sqlite", sqlite_url, true};

static int start(void **state)
{
    *state = (void *)(uintptr_t)&sqlite_bench;
    return lease_start(state);
}

static void come_back(void)
{
    close_it(c);
    c = another();
}

static void copy_file(const char *from, const char *to)
{
    char block[65536];
    FILE *in = fopen(from, "rb");
    FILE *out = fopen(to, "wb");
    if (!in || !out) {
        abort();
    }
    for (size_t got = 0; (got = fread(block, 1, sizeof block, in)) > 0;) {
        if (fwrite(block, 1, got, out) != got) {
            abort();
        }
    }
    fclose(in);
    fclose(out);
}

/* ---- the disk -------------------------------------------------------------------------------- */

static unsigned syncs;  /* of any file */
static bool keep_image; /* copies what is synced to FILE.durable */

/* SQLite finds this one before the C library's. */
__attribute__((visibility("default"))) int fdatasync(int fd)
{
    char link[64];
    char path[4096];
    syncs++;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t len = readlink(link, path, sizeof path - sizeof ".durable");
    if (keep_image && len > 0) {
        char image[4096 + sizeof ".durable"];
        path[len] = '\0';
        snprintf(image, sizeof image, "%s.durable", path);
        copy_file(path, image);
    }
    return (int)syscall(SYS_fdatasync, fd);
}

static unsigned writes_left = UINT32_MAX; /* until one fails */

static ssize_t write_or_fail(int fd, const void *data, size_t len, off_t at)
{
    if (writes_left == 0) {
        errno = EIO;
        return -1;
    }
    writes_left--;
    return pwrite(fd, data, len, at);
}

/* ---- sessions -------------------------------------------------------------------------------- */

struct scene {
    _Atomic bool ready;
    bool queue;
    int command[2]; /* a pipe: what runs under the lease ends when nobody writes */
    bool runs;      /* a command does */
    bool inherits;  /* and has the descriptor */
};

static struct scene *scene;

/* Returns when it is the command that runs, and no longer a copy of this process. */
static void run_command(int keep)
{
    int begun[2];
    char byte = 0;
    if (pipe2(begun, O_CLOEXEC) != 0) {
        abort();
    }
    if (fork() == 0) {
        if (scene->inherits) {
            fcntl(keep, F_SETFD, 0);
        }
        dup2(scene->command[0], 0);
        execlp("cat", "cat", (char *)NULL);
        _exit(127);
    }
    close(begun[1]);
    if (read(begun[0], &byte, 1) != 0) {
        abort();
    }
    close(begun[0]);
}

/* Holds the lease, or stands in line, until it is killed. */
static int stay(void *context)
{
    struct onerow_error error;
    struct onerow_coordinator *at = NULL;
    struct onerow_lease_claim claim = claim_of(context, "job");
    claim.queue = scene->queue;
    if (open_at(url, &at) != ONEROW_OK ||
        at->type->leases->acquire(at, &claim, &error) != ONEROW_OK) {
        return 1;
    }
    if (scene->runs) {
        run_command(at->type->leases->keep_fd(at));
    }
    atomic_store(&scene->ready, true);
    for (;;) {
        pause();
    }
}

static pid_t stand_in(const char *whose)
{
    atomic_store(&scene->ready, false);
    pid_t pid = child(stay, (void *)(uintptr_t)whose);
    while (!atomic_load(&scene->ready)) {
        assert_int_equal(kill(pid, 0), 0);
    }
    return pid;
}

static void kill_it(pid_t pid)
{
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(child_code(pid), 128 + SIGKILL);
}

static int start_scene(void **state)
{
    start(state);
    scene = share(sizeof *scene);
    return 0;
}

static int stop_scene(void **state)
{
    give_back(scene, sizeof *scene);
    return ledger_stop(state);
}

static void what_a_killed_process_held_is_free_at_once(void **state)
{
    (void)state;
    struct onerow_lease_claim a = claim_of("a", "job");
    pid_t holder = stand_in("child");
    assert_int_equal(acquire(&a), TAKEN); /* while it lives */
    assert_true(seen_lease("job").held);
    kill_it(holder);
    assert_false(seen_lease("job").held);
    force("job", "me");
    assert_status(&b, ONEROW_ABSENT);
    assert_int_equal(acquire(&a), HELD);
    assert_int_equal(a.token, 2);
}

static void the_first_in_line_has_it_first(void **state)
{
    (void)state;
    struct onerow_lease_claim z = claim_of("z", "job");
    struct onerow_lease_claim out = claim_of("out", "job");
    pid_t holder = stand_in("child");
    assert_int_equal(line_up(&z), WAITING);
    kill_it(holder);
    assert_int_equal(acquire(&out), TAKEN);
    assert_int_equal(line_up(&z), HELD);
}

static void a_killed_waiter_is_passed_over(void **state)
{
    (void)state;
    struct onerow_lease_claim a = claim_of("a", "job");
    struct onerow_lease_claim z = claim_of("z", "job");
    assert_int_equal(acquire(&a), HELD);
    scene->queue = true;
    pid_t waiter = stand_in("child");
    assert_int_equal(line_up(&z), WAITING);
    assert_int_equal(seen_lease("job").waiters, 2);
    kill_it(waiter);
    assert_int_equal(seen_lease("job").waiters, 1);
    assert_int_equal(release(&a), HELD);
    assert_true(or_span_is(seen_lease("job").who, z.who.data));
}

/* Neither a dead waiter nor a dead holder is in the way, the one behind the other. */
static void who_waits_behind_the_dead_has_it_at_once(void **state)
{
    (void)state;
    struct onerow_lease_claim z = claim_of("z", "job");
    pid_t holder = stand_in("holder");
    scene->queue = true;
    pid_t waiter = stand_in("waiter");
    assert_int_equal(line_up(&z), WAITING);
    assert_int_equal(z.place, 2);
    kill_it(holder);
    kill_it(waiter);
    assert_int_equal(line_up(&z), HELD);
}

/* A wrapper is killed; what it ran goes on, and so does the lease. */
static void a_command_keeps_the_lease_of_its_wrapper(void **state)
{
    (void)state;
    struct onerow_lease_claim a = claim_of("a", "job");
    assert_int_equal(pipe2(scene->command, O_CLOEXEC), 0);
    scene->runs = true;
    scene->inherits = true;
    pid_t wrapper = stand_in("child");
    kill_it(wrapper);
    assert_int_equal(acquire(&a), TAKEN);
    assert_true(seen_lease("job").held);
    close(scene->command[0]);
    close(scene->command[1]); /* the command ends */
    uint64_t end = or_wake_now_ms() + 60000;
    while (acquire(&a) != HELD) {
        assert_true(or_wake_now_ms() < end);
    }
}

/* Negative control: the same command without the descriptor. */
static void a_command_without_the_descriptor_keeps_nothing(void **state)
{
    (void)state;
    struct onerow_lease_claim a = claim_of("a", "job");
    assert_int_equal(pipe2(scene->command, O_CLOEXEC), 0);
    scene->runs = true;
    pid_t wrapper = stand_in("child");
    kill_it(wrapper);
    assert_int_equal(acquire(&a), HELD);
    close(scene->command[0]);
    close(scene->command[1]);
}

static void a_missing_file_of_sessions_proves_nothing(void **state)
{
    (void)state;
    struct onerow_lease_claim a = claim_of("a", "job");
    pid_t holder = stand_in("child");
    assert_int_equal(unlink(text(&b, "%s-sessions", b.path)), 0);
    come_back();
    assert_int_equal(acquire(&a), TAKEN); /* it lives, and locks what is no longer to be found */
    kill_it(holder);
    assert_int_equal(acquire(&a), TAKEN);
    assert_true(a.left_ms > 0);
    sql(&b, "UPDATE onerow_lease SET expires = 1"); /* its time decides */
    assert_int_equal(acquire(&a), HELD);
}

static void without_a_file_of_sessions_time_decides(void **state)
{
    (void)state;
    struct onerow_lease_claim a = claim_of("a", "job");
    const char *path = text(&b, "%s-sessions", b.path);
    assert_int_equal(symlink("/dev/null", path), 0); /* is not followed */
    pid_t holder = stand_in("child");
    assert_int_equal(acquire(&a), TAKEN);
    assert_int_equal(c->type->leases->keep_fd(c), -1);
    kill_it(holder);
    assert_int_equal(acquire(&a), TAKEN);
}

/* ---- restarts -------------------------------------------------------------------------------- */

static bool keep_text(void *context, struct onerow_span body, uint64_t now,
                      struct or_buffer *becomes)
{
    (void)now;
    *(size_t *)context = body.len;
    or_buffer_text(becomes, "x");
    return true;
}

static size_t shared_len(void)
{
    size_t len = 0;
    b.status = c->type->leases->share(c, OR_SPAN("rate"), keep_text, &len, &b.error);
    assert_status(&b, ONEROW_OK);
    return len;
}

static void restart(void)
{
    sql(&b, "UPDATE onerow_lease_meta SET boot = 'an earlier one'");
}

static void a_restart_voids_what_ran(void **state)
{
    (void)state;
    struct onerow_lease_claim a = claim_of("a", "job");
    struct onerow_lease_claim z = claim_of("z", "job");
    struct onerow_lease_claim out = claim_of("out", "job");
    assert_int_equal(acquire(&a), HELD);
    assert_int_equal(line_up(&z), WAITING);
    assert_int_equal(shared_len(), 0);
    assert_int_equal(shared_len(), 1);
    restart();
    assert_string_equal(listed("", false), "");
    assert_string_equal(listed("", true), "job -,");
    assert_int_equal(shared_len(), 0);
    uint64_t token = a.token;
    assert_int_equal(renew(&a), LOST);
    assert_int_equal(acquire(&out), HELD);
    assert_true(out.token > token + 900); /* above all that may have been given */
    assert_int_equal(line_up(&z), WAITING);
    assert_int_equal(z.place, 1);
    restart();
    assert_int_equal(acquire(&a), HELD);
    assert_true(a.token > out.token + 900);
}

/* The last thing that was written before the power failed was the row, and it is not there. */
static void after_a_restart_a_lost_row_lowers_no_token(void **state)
{
    (void)state;
    struct onerow_lease_claim a = claim_of("a", "job");
    for (unsigned i = 0; i < 5; i++) {
        assert_int_equal(acquire(&a), HELD);
        assert_int_equal(release(&a), HELD);
    }
    uint64_t last = a.token;
    sql(&b, "DELETE FROM onerow_lease");
    restart();
    assert_int_equal(acquire(&a), HELD);
    assert_true(a.token > last);
}

static void assert_refused(void)
{
    struct onerow_lease_claim a = claim_of("a", "job");
    assert_int_equal(c->type->leases->acquire(c, &a, &b.error), ONEROW_CONFIG);
    assert_contains(b.error.text, "another machine");
    assert_contains(b.error.text, "sqlite3 '");
    struct onerow_lease_forced forced = {.name = OR_SPAN("job")};
    assert_int_equal(c->type->leases->force(c, &forced, &b.arena, &b.error), ONEROW_CONFIG);
    size_t len = 0;
    assert_int_equal(c->type->leases->share(c, OR_SPAN("rate"), keep_text, &len, &b.error),
                     ONEROW_CONFIG);
    assert_int_equal(c->type->leases->trail(c, OR_SPAN(""), NULL, NULL, &b.error), ONEROW_CONFIG);
    assert_int_equal(c->type->leases->list(c, OR_SPAN(""), true, NULL, NULL, &b.error),
                     ONEROW_CONFIG);
}

static void another_machine_is_refused(void **state)
{
    (void)state;
    struct onerow_lease_claim a = claim_of("a", "job");
    assert_int_equal(acquire(&a), HELD);
    uint64_t token = a.token;
    const char *machine = sql(&b, "SELECT machine FROM onerow_lease_meta");
    sql(&b, "UPDATE onerow_lease_meta SET boot = 'another', machine = 'another'");
    assert_refused();
    sql(&b, "UPDATE onerow_lease_meta SET machine = ''"); /* nobody knows which */
    assert_refused();
    come_back();
    assert_refused();
    const char *advice = strstr(b.error.text, "sqlite3 '"); /* what the error says to do */
    assert_int_equal(system(advice), 0);
    assert_int_equal(acquire(&a), HELD);
    assert_true(a.token > token);
    assert_string_equal(sql(&b, "SELECT machine FROM onerow_lease_meta"), machine);
}

/* Containers share the kernel, its boot and its clock. */
static void another_machine_with_the_same_boot_is_the_same(void **state)
{
    (void)state;
    struct onerow_lease_claim a = claim_of("a", "job");
    assert_int_equal(acquire(&a), HELD);
    uint64_t token = a.token;
    sql(&b, "UPDATE onerow_lease_meta SET machine = 'another'");
    assert_int_equal(renew(&a), HELD);
    sql(&b, "UPDATE onerow_lease_meta SET machine = ''");
    assert_int_equal(acquire(&a), HELD);
    assert_int_equal(a.token, token);
}

/* ---- what is durable ------------------------------------------------------------------------- */

#define GRANTS 2600U

struct told {
    uint64_t last[3]; /* tokens that somebody was told, by lease */
};

static int grant_until_the_power_fails(void *context)
{
    struct told *told = context;
    struct onerow_error error;
    struct onerow_coordinator *at = NULL;
    keep_image = true;
    if (open_at(url, &at) != ONEROW_OK) {
        return 1;
    }
    for (unsigned i = 0; i < 3 * GRANTS; i++) {
        struct onerow_lease_claim claim = {
            .name = {"abc" + i % 3, 1}, .nonce = "n", .ttl_ms = LONG_MS, .patience_ms = LONG_MS};
        if (at->type->leases->acquire(at, &claim, &error) != ONEROW_OK ||
            claim.answer != ONEROW_LEASE_HELD) {
            return 2;
        }
        told->last[i % 3] = claim.token;
        if (at->type->leases->release(at, &claim, &error) != ONEROW_OK) {
            return 3;
        }
    }
    _exit(0); /* closing would bring everything to the disk */
}

static void lose_power(struct told *told)
{
    close_it(c);
    c = NULL;
    assert_int_equal(child_code(child(grant_until_the_power_fails, told)), 0);
    static const char *const files[] = {"", "-wal"};
    for (size_t i = 0; i < 2; i++) {
        const char *path = text(&b, "%s%s", b.path, files[i]);
        copy_file(text(&b, "%s.durable", path), path);
    }
    assert_int_equal(unlink(text(&b, "%s-shm", b.path)), 0);
}

/* The next token of each lease, and whether it is above what was told. */
static unsigned count_repeated(const struct told *told)
{
    unsigned repeated = 0;
    c = another();
    for (unsigned i = 0; i < 3; i++) {
        struct onerow_lease_claim claim = claim_of("next", text(&b, "%c", "abc"[i]));
        assert_int_equal(acquire(&claim), HELD);
        assert_true(told->last[i] >= GRANTS);
        repeated += claim.token <= told->last[i];
    }
    return repeated;
}

static void tokens_outlive_a_loss_of_power(void **state)
{
    (void)state;
    struct told *told = share(sizeof *told);
    lose_power(told);
    restart();
    assert_int_equal(count_repeated(told), 0);
    give_back(told, sizeof *told);
}

/* Negative control: what was lost is lost, and but for the other boot it would go on from there. */
static void without_the_restart_tokens_repeat(void **state)
{
    (void)state;
    struct told *told = share(sizeof *told);
    lose_power(told);
    assert_int_equal(count_repeated(told), 3);
    give_back(told, sizeof *told);
}

static void a_hand_over_waits_for_no_disk(void **state)
{
    (void)state;
    struct onerow_lease_claim a = claim_of("a", "job");
    struct onerow_lease_claim z = claim_of("z", "job");
    assert_int_equal(acquire(&a), HELD); /* with the first block of tokens */
    syncs = 0;
    for (unsigned i = 0; i < 200; i++) {
        assert_int_equal(line_up(&z), WAITING);
        assert_int_equal(release(&a), HELD);
        assert_int_equal(line_up(&z), HELD);
        struct onerow_lease_claim next = a;
        a = z;
        z = next;
    }
    assert_int_equal(syncs, 0);
    shared_len();
    assert_int_equal(syncs, 0);
    force("job", "me");
    assert_status(&b, ONEROW_OK);
    assert_true(syncs > 0);
    syncs = 0;
    a.floor = 100000; /* past the block */
    assert_int_equal(acquire(&a), HELD);
    assert_true(syncs > 0);
    syncs = 0;
    assert_int_equal(release(&a), HELD);
    assert_int_equal(acquire(&a), HELD);
    assert_int_equal(syncs, 0); /* it does not stay so */
}

/* Negative control: the ledger's changes do. */
static void a_swap_of_the_ledger_waits_for_the_disk(void **state)
{
    (void)state;
    space = enter(c).number;
    syncs = 0;
    assert_true(set("a", 0, 1, "x"));
    assert_true(syncs > 0);
}

/* Each write of a call fails in turn. Whatever the call says, asking again finds out. */
static void a_write_that_fails_is_not_guessed_about(void **state)
{
    (void)state;
    sqlite3_vfs *vfs = sqlite3_vfs_find(NULL);
    struct onerow_coordinator *other = another();
    struct onerow_lease_claim warm = claim_of("warm", "warm");
    assert_int_equal(acquire(&warm), HELD);
    const char *call = vfs->xGetSystemCall(vfs, "pwrite64") ? "pwrite64" : "pwrite";
    assert_int_equal(vfs->xSetSystemCall(vfs, call, (sqlite3_syscall_ptr)write_or_fail), SQLITE_OK);
    unsigned failed = 0;
    for (enum onerow_status status = ONEROW_UNKNOWN; status != ONEROW_OK; failed++) {
        struct onerow_lease_claim a = claim_of("a", text(&b, "job %u", failed));
        writes_left = failed;
        status = c->type->leases->acquire(c, &a, &b.error);
        writes_left = UINT32_MAX;
        assert_true(status == ONEROW_OK || status == ONEROW_UNKNOWN || status == ONEROW_IO);
        struct onerow_lease_claim again = claim_of("a", a.name.data);
        assert_int_equal(acquire_at(other, &again), HELD);
        assert_true(status != ONEROW_OK || again.token == a.token);
        assert_int_equal(release(&again), HELD);
        assert_int_equal(acquire(&a), HELD);
        assert_true(a.token > again.token);
    }
    assert_int_equal(vfs->xSetSystemCall(vfs, call, NULL), SQLITE_OK);
    assert_true(failed > 2); /* it was not the first write that went through */
    close_it(other);
}

/* ---- files ----------------------------------------------------------------------------------- */

static void in_a_copy_tokens_go_on_far_above(void **state)
{
    (void)state;
    struct onerow_lease_claim a = claim_of("a", "job");
    assert_int_equal(acquire(&a), HELD);
    uint64_t token = a.token;
    close_it(c);
    c = NULL;
    copy_file(b.path, bench_file(&b, "copy.db"));
    url = text(&b, "sqlite:%s", bench_file(&b, "copy.db"));
    c = another();
    assert_int_equal(seen_lease("job").token, token);
    struct onerow_lease_claim other = claim_of("a", "other");
    assert_int_equal(acquire(&other), HELD);
    assert_true(other.token > (uint64_t)1 << 39);
    assert_int_equal(release(&other), HELD);
    uint64_t first = other.token;
    assert_int_equal(acquire(&other), HELD);
    assert_int_equal(other.token, first + 1); /* once */
}

static void a_file_taken_away_is_noticed(void **state)
{
    (void)state;
    struct onerow_lease_claim a = claim_of("a", "job");
    assert_int_equal(acquire(&a), HELD);
    assert_int_equal(rename(b.path, bench_file(&b, "away.db")), 0);
    assert_int_equal(c->type->leases->renew(c, &a, &b.error), ONEROW_VANISHED);
    assert_int_equal(rename(bench_file(&b, "away.db"), b.path), 0);
    assert_int_equal(renew(&a), HELD);
}

/* Version 1 had a ledger, and no leases. */
static void an_older_file_gets_leases(void **state)
{
    (void)state;
    struct onerow_lease_claim a = claim_of("a", "job");
    space = enter(c).number;
    set("a", 0, 1, "kept");
    close_it(c);
    c = NULL;
    sql(&b, "DROP TABLE onerow_lease; DROP TABLE onerow_lease_wait; DROP TABLE onerow_lease_meta; "
            "DROP TABLE onerow_lease_forced; DROP TABLE onerow_shared; PRAGMA user_version = 1");
    c = another();
    assert_string_equal(sql(&b, "PRAGMA user_version"), "2");
    assert_int_equal(acquire(&a), HELD);
    space = enter(c).number;
    assert_string_equal(seen("a"), "1/1:kept");
    come_back();
    assert_true(seen_lease("job").token == a.token);
}

static int hold_the_lock(void *context)
{
    sqlite3 *db = NULL;
    (void)context;
    if (sqlite3_open(b.path, &db) != SQLITE_OK ||
        sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL) != SQLITE_OK) {
        return 1;
    }
    atomic_store(&scene->ready, true);
    for (;;) {
        pause();
    }
}

static void a_lock_that_stays(void **state)
{
    (void)state;
    volatile bool stop_now = true;
    struct onerow_lease_claim a = claim_of("a", "job");
    assert_string_equal(listed("", true), "");
    pid_t holder = child(hold_the_lock, NULL);
    while (!atomic_load(&scene->ready)) {
    }
    struct onerow_coordinator_options options = {.url = url, .wait_ms = 30};
    struct onerow_coordinator *other = NULL;
    assert_int_equal(c->type->open(&options, &other, &b.error), ONEROW_OK);
    assert_int_equal(c->type->leases->acquire(other, &a, &b.error), ONEROW_BUSY);
    close_it(other);
    options = (struct onerow_coordinator_options){.url = url, .wait_ms = 60000, .stop = &stop_now};
    assert_int_equal(c->type->open(&options, &other, &b.error), ONEROW_OK);
    assert_int_equal(c->type->leases->acquire(other, &a, &b.error), ONEROW_INTERRUPTED);
    close_it(other);
    assert_string_equal(listed("", true),
                        ""); /* nothing happened, and who looks waits for nobody */
    kill_it(holder);
    assert_int_equal(acquire(&a), HELD);
}

#define lease_case(name) cmocka_unit_test_setup_teardown(name, start_scene, stop_scene)

int main(void)
{
    const struct CMUnitTest tests[] = {
        lease_case(what_a_killed_process_held_is_free_at_once),
        lease_case(the_first_in_line_has_it_first),
        lease_case(a_killed_waiter_is_passed_over),
        lease_case(who_waits_behind_the_dead_has_it_at_once),
        lease_case(a_command_keeps_the_lease_of_its_wrapper),
        lease_case(a_command_without_the_descriptor_keeps_nothing),
        lease_case(a_missing_file_of_sessions_proves_nothing),
        lease_case(without_a_file_of_sessions_time_decides),
        lease_case(a_restart_voids_what_ran),
        lease_case(after_a_restart_a_lost_row_lowers_no_token),
        lease_case(another_machine_is_refused),
        lease_case(another_machine_with_the_same_boot_is_the_same),
        lease_case(tokens_outlive_a_loss_of_power),
        lease_case(without_the_restart_tokens_repeat),
        lease_case(a_hand_over_waits_for_no_disk),
        lease_case(a_swap_of_the_ledger_waits_for_the_disk),
        lease_case(a_write_that_fails_is_not_guessed_about),
        lease_case(in_a_copy_tokens_go_on_far_above),
        lease_case(a_file_taken_away_is_noticed),
        lease_case(an_older_file_gets_leases),
        lease_case(a_lock_that_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
