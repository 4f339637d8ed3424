/* SPDX-License-Identifier: Apache-2.0
 *
 * Dead letters: what goes in comes out, and no crash, full disk or second replay
 * loses one.
 *
 * The crash tests run this very program again under strace, which kills it at the
 * n-th call of a system call, for every n and every call that matters. Where strace
 * may not trace, they fail. The random tests print their seed; SEED=… repeats
 * a run.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buffer.h"
#include "base/text.h"
#include "engine/dead_letter.h"
#include "engine/letter_export.h"

static char self[4096];

/* ---- folders and files ---------------------------------------------------------- */

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *place)
{
    (void)st;
    (void)type;
    (void)place;
    return remove(path);
}

static char *make_folder(void)
{
    char *folder = NULL;
    const char *base = getenv("TMPDIR");
    assert_true(asprintf(&folder, "%s/letters-XXXXXX", base ? base : "/tmp") > 0);
    assert_non_null(mkdtemp(folder));
    return folder;
}

static void drop_folder(char *folder)
{
    nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(folder);
}

static char *joined(const char *folder, const char *name)
{
    char *path = NULL;
    assert_true(asprintf(&path, "%s/%s", folder, name) > 0);
    return path;
}

static size_t tally;
static const char *tally_ending;

static int count_one(const char *path, const struct stat *st, int type, struct FTW *place)
{
    (void)st;
    (void)place;
    size_t len = strlen(path), ending = strlen(tally_ending);
    tally += type == FTW_F && len >= ending && strcmp(path + len - ending, tally_ending) == 0;
    return 0;
}

/* Files below the folder whose names end so. */
static size_t files(const char *folder, const char *ending)
{
    tally = 0;
    tally_ending = ending;
    nftw(folder, count_one, 16, FTW_PHYS);
    return tally;
}

static void append_file(const char *path, const void *data, size_t len)
{
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, len), len);
    close(fd);
}

/* A child that does not outlive a failed test, and that ends at a failure of its own instead of
 * going on with the parent's tests. */
static pid_t child_of_test(void)
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        setenv("CMOCKA_TEST_ABORT", "1", 1);
        static const int caught[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL};
        for (size_t i = 0; i < sizeof caught / sizeof *caught; i++) {
            signal(caught[i], SIG_DFL);
        }
    }
    return child;
}

static uint64_t state = 1;

static uint64_t dice(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state * 0x2545f4914f6cdd1dU;
}

static void seed_dice(void)
{
    const char *given = getenv("SEED");
    state = given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL) * 2654435761U + 1;
    state = state ? state : 1;
    print_message("SEED=%llu\n", (unsigned long long)state);
}

/* ---- letters -------------------------------------------------------------------- */

/* Copies of letters, in the order of a walk. */
struct pile {
    struct or_arena arena;
    struct or_letter *letters;
    size_t n;
};

static struct onerow_span copied(struct or_arena *arena, struct onerow_span span)
{
    return span.len ? or_arena_copy(arena, span) : (struct onerow_span){0};
}

static bool pile_up(void *context, const struct or_letter *letter)
{
    struct pile *pile = context;
    struct or_letter own = *letter;
    struct onerow_span *spans[] = {&own.format, &own.id,    &own.time,     &own.config,
                                   &own.store,  &own.table, &own.location, &own.key_spec,
                                   &own.policy, &own.input, &own.key,      &own.outcome,
                                   &own.reason, &own.row,   &own.record,   &own.raw};
    for (size_t i = 0; i < sizeof spans / sizeof *spans; i++) {
        *spans[i] = copied(&pile->arena, *spans[i]);
    }
    pile->letters = reallocarray(pile->letters, pile->n + 1, sizeof own);
    pile->letters[pile->n++] = own;
    return true;
}

static void pile_finish(struct pile *pile)
{
    or_arena_finish(&pile->arena);
    free(pile->letters);
    *pile = (struct pile){0};
}

static struct pile pile_of(const char *folder, size_t *torn)
{
    struct pile pile = {0};
    struct onerow_error error = {0};
    enum onerow_status status = or_letters_read(folder, pile_up, &pile, torn, &error);
    if (status) {
        print_error("%s\n", error.text);
    }
    assert_int_equal(status, ONEROW_OK);
    return pile;
}

static struct or_letter numbered(uint64_t number, char room[static 64])
{
    snprintf(room, 64, "{\"n\":%llu}", (unsigned long long)number);
    return (struct or_letter){.table = OR_SPAN("items"),
                              .outcome = OR_SPAN("rejected"),
                              .reason = OR_SPAN("why not"),
                              .line = number,
                              .record = or_span(room)};
}

static struct or_letter_box *open_box(const char *folder)
{
    struct or_letter_box *box;
    struct onerow_error error;
    assert_int_equal(or_letter_box_open(folder, &box, &error), ONEROW_OK);
    return box;
}

static void add_numbers(struct or_letter_box *box, uint64_t from, uint64_t to)
{
    for (uint64_t i = from; i <= to; i++) {
        char room[64];
        struct or_letter letter = numbered(i, room);
        struct onerow_error error = {0};
        assert_int_equal(or_letter_add(box, &letter, &error), ONEROW_OK);
    }
}

/* A run that wrote the letters from .. to and ended. */
static void finished_run(const char *folder, uint64_t from, uint64_t to)
{
    struct or_letter_box *box = open_box(folder);
    add_numbers(box, from, to);
    assert_int_equal(or_letter_flush(box, NULL), ONEROW_OK);
    or_letter_box_close(box);
}

static char *only_file(const char *folder)
{
    char *lines = NULL;
    struct or_letter_box *box = open_box(folder);
    add_numbers(box, 1, 3);
    assert_int_equal(or_letter_flush(box, NULL), ONEROW_OK);
    lines = strdup(or_letter_box_path(box));
    or_letter_box_close(box);
    return lines;
}

/* ---- round trip ------------------------------------------------------------------ */

static void assert_span(struct onerow_span got, struct onerow_span want)
{
    assert_int_equal(got.len, want.len);
    if (want.len) {
        assert_memory_equal(got.data, want.data, want.len);
    }
}

static void assert_same(const struct or_letter *got, const struct or_letter *want)
{
    assert_span(got->config, want->config);
    assert_span(got->store, want->store);
    assert_span(got->table, want->table);
    assert_span(got->location, want->location);
    assert_span(got->key_spec, want->key_spec);
    assert_span(got->policy, want->policy);
    assert_span(got->input, want->input);
    assert_span(got->format, want->format);
    assert_span(got->key, want->key);
    assert_span(got->outcome, want->outcome);
    assert_span(got->reason, want->reason);
    assert_span(got->row, want->row);
    assert_span(got->record, want->record);
    assert_span(got->raw, want->raw);
    assert_int_equal(got->line, want->line);
    assert_int_equal(got->raw_len, want->raw_len);
}

static struct or_letter after_a_trip(const char *folder, const struct or_letter *letter,
                                     struct pile *pile)
{
    struct or_letter_box *box = open_box(folder);
    assert_int_equal(or_letter_add(box, letter, NULL), ONEROW_OK);
    assert_int_equal(or_letter_flush(box, NULL), ONEROW_OK);
    or_letter_box_close(box);
    size_t torn;
    *pile = pile_of(folder, &torn);
    assert_int_equal(torn, 0);
    assert_true(pile->n > 0);
    return pile->letters[pile->n - 1];
}

static void keeps_every_field_and_digit(void **unused)
{
    (void)unused;
    char *folder = make_folder();
    struct or_letter letter = {
        .config = OR_SPAN("/srv/app/onerow.yaml"),
        .store = OR_SPAN("sqlite:/srv/app.db"),
        .table = OR_SPAN("items"),
        .location = OR_SPAN("main.items"),
        .key_spec = OR_SPAN("sku,size:int"),
        .policy = OR_SPAN("newest(at)"),
        .format = OR_SPAN("csv"),
        .input = OR_SPAN("caf\xe9.ndjson"), /* a Latin-1 file name */
        .line = UINT64_MAX,
        .key = OR_SPAN("{\"sku\":\"A\",\"size\":12345678901234567890123456789}"),
        .outcome = OR_SPAN("unknown"),
        .reason = OR_SPAN("two\nlines, \"quotes\" and \xf0\x9f\x98\x80"),
        .row = OR_SPAN("absent"),
        .record = OR_SPAN("{\"a\":1.10e+400,\"a\":-0.0,\"b\\u0041\":\"\\/\\ud83d\\ude00 }{][\\\"\","
                          "\"c\":[{},[],\"\\\\\"],\"\":null}"),
    };
    struct pile pile;
    struct or_letter got = after_a_trip(folder, &letter, &pile);
    assert_same(&got, &letter);
    assert_int_equal(got.time.len, strlen("2026-01-31T12:00:00.000000Z"));
    assert_true(got.id.len > 20 && got.id.data[got.id.len - 1] == '1');
    pile_finish(&pile);
    drop_folder(folder);
}

static void keeps_what_is_no_object(void **unused)
{
    (void)unused;
    static const char *const texts[] = {"", "{\"a\":1", "[1]", "text", "{}{}", "{\"a\":\"\xff\"}"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        char *folder = make_folder();
        struct or_letter letter = {.record = or_span(texts[i]), .key = or_span(texts[i])};
        struct pile pile;
        struct or_letter got = after_a_trip(folder, &letter, &pile);
        assert_same(&got, &letter);
        pile_finish(&pile);
        drop_folder(folder);
    }
}

static void keeps_a_spread_out_record_on_one_line(void **unused)
{
    (void)unused;
    char *folder = make_folder();
    struct or_letter letter = {.record = OR_SPAN("{\n \"a\": \"\\n\",\r\n \"b\": 2\n}")};
    struct pile pile;
    struct or_letter got = after_a_trip(folder, &letter, &pile);
    assert_span(got.record, OR_SPAN("{  \"a\": \"\\n\",   \"b\": 2 }"));
    pile_finish(&pile);
    drop_folder(folder);
}

/* Random bytes, often with what JSON and base64 find hard. */
static struct onerow_span random_bytes(struct or_arena *arena)
{
    static const char hard[] = "\"\\\n\r\t{}[],:=\0\x7f\xc3\xa9\xed\xa0";
    size_t len = dice() % 4 ? dice() % 40 : dice() % 5000;
    char *data = or_arena_bytes(arena, len + 1);
    uint64_t mode = dice() % 3;
    for (size_t i = 0; i < len; i++) {
        data[i] = mode == 0 ? (char)dice() : mode == 1 ? hard[dice() % sizeof hard] : 'a';
    }
    return (struct onerow_span){data, len};
}

/* Blanks around and line breaks in an object are not kept: random bytes must not be one. */
static void spoil_object(struct onerow_span *bytes, struct or_arena *arena)
{
    if (or_span_trim(*bytes).len && or_span_trim(*bytes).data[0] == '{') {
        bytes->data = or_arena_printf(arena, "x%.*s", (int)bytes->len, bytes->data);
        bytes->len = strlen(bytes->data);
    }
}

static void random_letter(struct or_letter *letter, struct or_arena *arena)
{
    struct onerow_span *spans[] = {
        &letter->config, &letter->store,  &letter->table, &letter->location, &letter->key_spec,
        &letter->policy, &letter->input,  &letter->key,   &letter->outcome,  &letter->reason,
        &letter->row,    &letter->record, &letter->raw};
    *letter = (struct or_letter){.line = dice(), .raw_len = dice() % 3};
    for (size_t i = 0; i < sizeof spans / sizeof *spans; i++) {
        *spans[i] = dice() % 3 ? random_bytes(arena) : (struct onerow_span){0};
    }
    spoil_object(&letter->key, arena);
    spoil_object(&letter->record, arena);
    if (dice() % 2) {
        struct or_buffer json;
        or_buffer_init(&json);
        or_buffer_text(&json, "{\"t\":");
        or_buffer_json(&json, random_bytes(arena));
        or_buffer_printf(&json, ",\"n\":[-%llu.5e7,{\"}\":0}]}", (unsigned long long)dice());
        letter->record = or_arena_copy(arena, or_buffer_view(&json));
        or_buffer_finish(&json);
    }
}

static void keeps_any_bytes(void **unused)
{
    (void)unused;
    enum { N = 2000 };
    seed_dice();
    char *folder = make_folder();
    struct or_arena arena;
    or_arena_init(&arena);
    struct or_letter *letters = calloc(N, sizeof *letters);
    struct or_letter_box *box = open_box(folder);
    for (size_t i = 0; i < N; i++) {
        random_letter(&letters[i], &arena);
        assert_int_equal(or_letter_add(box, &letters[i], NULL), ONEROW_OK);
    }
    assert_int_equal(or_letter_flush(box, NULL), ONEROW_OK);
    or_letter_box_close(box);
    size_t torn;
    struct pile pile = pile_of(folder, &torn);
    assert_int_equal(torn, 0);
    assert_int_equal(pile.n, N);
    for (size_t i = 0; i < N; i++) {
        assert_same(&pile.letters[i], &letters[i]);
    }
    pile_finish(&pile);
    free(letters);
    or_arena_finish(&arena);
    drop_folder(folder);
}

static void keeps_letters_larger_than_the_box(void **unused)
{
    (void)unused;
    char *folder = make_folder();
    size_t len = (size_t)5 * 1024 * 1024;
    char *big = malloc(len);
    memset(big, 0xee, len);
    struct or_letter_box *box = open_box(folder);
    add_numbers(box, 1, 1);
    struct or_letter letter = {.raw = {big, len}};
    assert_int_equal(or_letter_add(box, &letter, NULL), ONEROW_OK);
    add_numbers(box, 3, 20000);
    assert_int_equal(or_letter_flush(box, NULL), ONEROW_OK);
    or_letter_box_close(box);
    struct pile pile = pile_of(folder, NULL);
    assert_int_equal(pile.n, 20000);
    assert_span(pile.letters[1].raw, letter.raw);
    assert_int_equal(pile.letters[19999].line, 20000);
    pile_finish(&pile);
    free(big);
    drop_folder(folder);
}

/* ---- the box ------------------------------------------------------------------------ */

static void makes_nothing_before_the_first_letter(void **unused)
{
    (void)unused;
    char *folder = make_folder();
    char *deep = joined(folder, "a/b");
    char *letters = joined(deep, "dead-letters");
    struct or_letter_box *box = open_box(deep);
    assert_int_equal(or_letter_flush(box, NULL), ONEROW_OK);
    assert_null(or_letter_box_path(box));
    assert_int_equal(access(deep, F_OK), -1);

    add_numbers(box, 1, 1);
    struct stat st;
    assert_int_equal(stat(letters, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    assert_int_equal(stat(or_letter_box_path(box), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(st.st_size, 0);
    or_letter_box_close(box); /* without a flush: nothing stays */
    assert_int_equal(files(folder, ""), 0);
    free(letters);
    free(deep);
    drop_folder(folder);
}

static void finds_the_state_folder(void **unused)
{
    (void)unused;
    char *folder = make_folder();
    const char *old_home = getenv("HOME");
    char *home = old_home ? strdup(old_home) : NULL;
    static const struct {
        const char *onerow, *xdg, *home, *below;
    } cases[] = {
        {"s", "x", "h", "s/dead-letters/"},
        {NULL, "x", "h", "x/onerow/dead-letters/"},
        {NULL, NULL, "h", "h/.local/state/onerow/dead-letters/"},
    };
    for (size_t i = 0; i < 3; i++) {
        const char *names[] = {"ONEROW_STATE", "XDG_STATE_HOME", "HOME"};
        const char *values[] = {cases[i].onerow, cases[i].xdg, cases[i].home};
        for (size_t v = 0; v < 3; v++) {
            char *path = values[v] ? joined(folder, values[v]) : NULL;
            assert_int_equal(path ? setenv(names[v], path, 1) : unsetenv(names[v]), 0);
            free(path);
        }
        struct or_letter_box *box = open_box(NULL);
        add_numbers(box, 1, 1);
        char *below = joined(folder, cases[i].below);
        assert_memory_equal(or_letter_box_path(box), below, strlen(below));
        free(below);
        or_letter_box_close(box);
    }
    unsetenv("HOME");
    struct or_letter_box *box;
    struct onerow_error error;
    assert_int_equal(or_letter_box_open(NULL, &box, &error), ONEROW_CONFIG);
    assert_non_null(strstr(error.text, "ONEROW_STATE="));
    assert_null(box);
    if (home) {
        setenv("HOME", home, 1);
    }
    free(home);
    drop_folder(folder);
}

static int by_text(const void *a, const void *b)
{
    const struct or_letter *left = a, *right = b;
    return or_span_compare(left->id, right->id);
}

static void four_processes_keep_all_letters(void **unused)
{
    (void)unused;
    enum { RUNS = 4, LETTERS = 500 };
    char *folder = make_folder();
    for (uint64_t run = 0; run < RUNS; run++) {
        if (child_of_test() == 0) {
            struct or_letter_box *box = open_box(folder);
            for (uint64_t i = 0; i < LETTERS; i += 50) {
                add_numbers(box, run * LETTERS + i + 1, run * LETTERS + i + 50);
                if (or_letter_flush(box, NULL)) {
                    _exit(1);
                }
            }
            _exit(0);
        }
    }
    for (int run = 0; run < RUNS; run++) {
        int status;
        wait(&status);
        assert_int_equal(status, 0);
    }
    size_t torn;
    struct pile pile = pile_of(folder, &torn);
    assert_int_equal(torn, 0);
    assert_int_equal(pile.n, RUNS * LETTERS);
    qsort(pile.letters, pile.n, sizeof *pile.letters, by_text);
    for (size_t i = 1; i < pile.n; i++) {
        assert_true(by_text(&pile.letters[i - 1], &pile.letters[i]) < 0);
    }
    pile_finish(&pile);
    drop_folder(folder);
}

static void tells_of_a_deleted_file(void **unused)
{
    (void)unused;
    char *folder = make_folder();
    struct or_letter_box *box = open_box(folder);
    add_numbers(box, 1, 1);
    assert_int_equal(or_letter_flush(box, NULL), ONEROW_OK);
    assert_int_equal(unlink(or_letter_box_path(box)), 0);
    add_numbers(box, 2, 2);
    struct onerow_error error = {0};
    assert_int_equal(or_letter_flush(box, &error), ONEROW_VANISHED);
    assert_int_equal(error.status, ONEROW_VANISHED);
    or_letter_box_close(box);
    drop_folder(folder);
}

static void refuses_a_folder_it_may_not_write(void **unused)
{
    (void)unused;
    char *folder = make_folder();
    char *file = joined(folder, "file");
    append_file(file, "", 0);
    struct or_letter_box *box = open_box(file); /* a file where a folder should be */
    char room[64];
    struct or_letter letter = numbered(1, room);
    struct onerow_error error = {0};
    assert_int_equal(or_letter_add(box, &letter, &error), ONEROW_IO);
    assert_non_null(strstr(error.text, file));
    assert_non_null(strstr(error.text, "Not a directory"));
    assert_non_null(strstr(error.text, "ONEROW_STATE"));
    assert_int_equal(or_letter_flush(box, NULL), ONEROW_IO);
    or_letter_box_close(box);
    free(file);
    drop_folder(folder);
}

/* Adds letters to a disk that fills up, in a process of its own. Exit code 0: all was as it
 * should be. */
static int fill_the_disk(const char *folder, const char *errno_text)
{
    struct or_letter_box *box = open_box(folder);
    struct onerow_error error = {0};
    enum onerow_status status = ONEROW_OK;
    for (uint64_t i = 1; i < 1000000 && !status; i++) {
        char room[64];
        struct or_letter letter = numbered(i, room);
        status = or_letter_add(box, &letter, &error);
        if (!status && i % 100 == 0) {
            status = or_letter_flush(box, &error);
        }
    }
    char room[64];
    struct or_letter more = numbered(1, room);
    bool good = status == ONEROW_FULL && error.status == ONEROW_FULL &&
                strstr(error.text, errno_text) && strstr(error.text, or_letter_box_path(box)) &&
                or_letter_add(box, &more, NULL) == ONEROW_FULL &&
                or_letter_flush(box, NULL) == ONEROW_FULL;
    if (!good) {
        fprintf(stderr, "%s: %s\n", onerow_status_name(status), error.text);
    }
    or_letter_box_close(box);
    return good ? 0 : 1;
}

static int waited(pid_t child)
{
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void says_when_a_file_may_not_grow(void **unused)
{
    (void)unused;
    char *folder = make_folder();
    pid_t child = child_of_test();
    if (child == 0) {
        struct rlimit limit = {200000, 200000};
        signal(SIGXFSZ, SIG_IGN);
        setrlimit(RLIMIT_FSIZE, &limit);
        _exit(fill_the_disk(folder, "File too large"));
    }
    assert_int_equal(waited(child), 0);
    size_t torn;
    struct pile pile = pile_of(folder, &torn);
    assert_true(torn <= 1);
    assert_true(pile.n > 100); /* what was flushed is there */
    pile_finish(&pile);
    drop_folder(folder);
}

/* Mounts a tmpfs that only this process sees. A user who is not root becomes root of a namespace
 * of their own for that. */
static bool mount_small_disk(const char *folder)
{
    uid_t user = getuid();
    if (user != 0) {
        if (unshare(CLONE_NEWUSER | CLONE_NEWNS)) {
            return false;
        }
        int map = open("/proc/self/uid_map", O_WRONLY | O_CLOEXEC);
        if (map < 0 || dprintf(map, "0 %u 1", (unsigned)user) < 0 || close(map)) {
            return false;
        }
    } else if (unshare(CLONE_NEWNS)) {
        return false;
    }
    return mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
           mount("none", folder, "tmpfs", 0, "size=256k,mode=0700") == 0;
}

static void says_when_the_disk_is_full(void **unused)
{
    (void)unused;
    char *folder = make_folder();
    pid_t child = child_of_test();
    if (child == 0) {
        if (!mount_small_disk(folder)) {
            _exit(77);
        }
        _exit(fill_the_disk(folder, "No space left on device"));
    }
    int code = waited(child);
    drop_folder(folder);
    if (code == 77) {
        fail_msg("%s", "no right to mount a tmpfs: run the tests as root");
    }
    assert_int_equal(code, 0);
}

/* ---- reading damage -------------------------------------------------------------------- */

#define TAIL(literal) (literal), sizeof(literal) - 1

static void skips_torn_and_damaged_lines(void **unused)
{
    (void)unused;
    static const struct {
        struct onerow_span tail;
        size_t letters, torn;
    } cases[] = {
        {{TAIL("{\"id\":\"x-9\",\"reas")}, 3, 1},
        {{TAIL("\0\0\0\0\0\0\0\0")}, 3, 1},
        {{TAIL("garbage\n")}, 3, 1},
        {{TAIL("{\"time\":\"no id\"}\n")}, 3, 1},
        {{TAIL("{\"id\":5}\n")}, 3, 1},
        {{TAIL("{\"id\":\"x\",\"line\":-1}\n")}, 3, 1},
        {{TAIL("{\"id\":\"x\",\"line\":99999999999999999999}\n")}, 3, 1},
        {{TAIL("{\"id\":\"x\",\"raw_base64\":\"A===\"}\n")}, 3, 1},
        {{TAIL("[]\n{\"id\":\"x-9\",\"ne\\u0077er\":[1,{\"id\":2}]}")}, 4, 1},
        {{TAIL(" {\"id\" : \"x-9\" , \"key\":null } \n")}, 4, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *folder = make_folder();
        char *path = only_file(folder);
        append_file(path, cases[i].tail.data, cases[i].tail.len);
        size_t torn;
        struct pile pile = pile_of(folder, &torn);
        assert_int_equal(pile.n, cases[i].letters);
        assert_int_equal(torn, cases[i].torn);
        pile_finish(&pile);
        free(path);
        drop_folder(folder);
    }
}

static bool stop_after_two(void *context, const struct or_letter *letter)
{
    (void)letter;
    return ++*(size_t *)context < 2;
}

static void reads_oldest_first_until_told_to_stop(void **unused)
{
    (void)unused;
    char *folder = make_folder();
    finished_run(folder, 10, 12);
    char *early = joined(folder, "dead-letters/19990101T000000Z-1-a.jsonl");
    char *other = joined(folder, "dead-letters/notes.txt");
    append_file(early, "{\"id\":\"old-1\"}\n", 15);
    append_file(other, "{\"id\":\"none\"}\n", 14);
    struct pile pile = pile_of(folder, NULL);
    assert_int_equal(pile.n, 4);
    assert_span(pile.letters[0].id, OR_SPAN("old-1"));
    pile_finish(&pile);
    size_t seen = 0;
    assert_int_equal(or_letters_read(folder, stop_after_two, &seen, NULL, NULL), ONEROW_OK);
    assert_int_equal(seen, 2);
    free(early);
    free(other);
    drop_folder(folder);
}

static void an_empty_folder_has_no_letters(void **unused)
{
    (void)unused;
    char *folder = make_folder();
    struct pile pile = pile_of(folder, NULL);
    assert_int_equal(pile.n, 0);
    pile_finish(&pile);
    drop_folder(folder);
}

/* ---- settling --------------------------------------------------------------------------- */

/* DONE: the letters whose number a set of rules names. */
struct rules {
    uint64_t modulo; /* DONE when line % modulo == 0 */
    uint64_t stop;   /* the line that ends the walk; 0: none */
    int log;         /* where the number of each DONE letter goes; -1: nowhere */
    unsigned pause;  /* microseconds for each letter */
};

static enum or_letter_fate by_rules(void *context, const struct or_letter *letter)
{
    const struct rules *rules = context;
    usleep(rules->pause);
    if (letter->line == rules->stop) {
        return OR_LETTER_STOP;
    }
    if (letter->line % rules->modulo) {
        return OR_LETTER_STAYS;
    }
    if (rules->log >= 0) {
        dprintf(rules->log, "%llu\n", (unsigned long long)letter->line);
    }
    return OR_LETTER_DONE;
}

static size_t settle(const char *folder, struct rules rules)
{
    size_t held = 0;
    struct onerow_error error = {0};
    if (or_letters_settle(folder, by_rules, &rules, &held, &error)) {
        fail_msg("%s", error.text);
    }
    return held;
}

static void takes_the_done_letters_out(void **unused)
{
    (void)unused;
    char *folder = make_folder();
    finished_run(folder, 1, 10);
    assert_int_equal(settle(folder, (struct rules){2, 0, -1, 0}), 0);
    struct pile pile = pile_of(folder, NULL);
    assert_int_equal(pile.n, 5);
    for (size_t i = 0; i < pile.n; i++) {
        assert_int_equal(pile.letters[i].line, 2 * i + 1);
    }
    pile_finish(&pile);
    assert_int_equal(settle(folder, (struct rules){1, 0, -1, 0}), 0);
    assert_int_equal(files(folder, ""), 0);
    drop_folder(folder);
}

static void a_stopped_walk_keeps_its_progress(void **unused)
{
    (void)unused;
    char *folder = make_folder();
    finished_run(folder, 1, 10);
    settle(folder, (struct rules){1, 4, -1, 0});
    struct pile pile = pile_of(folder, NULL);
    assert_int_equal(pile.n, 7);
    assert_int_equal(pile.letters[0].line, 4);
    pile_finish(&pile);
    drop_folder(folder);
}

static void keeps_damaged_lines_and_drops_torn_ones(void **unused)
{
    (void)unused;
    char *folder = make_folder();
    char *path = only_file(folder);
    append_file(path, "damaged\n{\"id\":\"to", 17);
    settle(folder, (struct rules){1, 0, -1, 0});
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    char text[64];
    size_t len = fread(text, 1, sizeof text, file);
    fclose(file);
    assert_span((struct onerow_span){text, len}, OR_SPAN("damaged\n"));
    free(path);
    drop_folder(folder);
}

static void gives_the_last_line_its_newline(void **unused)
{
    (void)unused;
    char *folder = make_folder();
    char *path = only_file(folder);
    append_file(path, "{\"id\":\"x\",\"line\":7}", 19);
    settle(folder, (struct rules){2, 0, -1, 0});
    append_file(path, "{\"id\":\"y\",\"line\":9}\n", 20);
    struct pile pile = pile_of(folder, NULL);
    assert_int_equal(pile.n, 4);
    assert_int_equal(pile.letters[2].line, 7);
    pile_finish(&pile);
    free(path);
    drop_folder(folder);
}

static void passes_over_a_run_that_lives(void **unused)
{
    (void)unused;
    char *folder = make_folder();
    struct or_letter_box *box = open_box(folder);
    add_numbers(box, 1, 5);
    assert_int_equal(or_letter_flush(box, NULL), ONEROW_OK);
    assert_int_equal(settle(folder, (struct rules){1, 0, -1, 0}), 1);
    add_numbers(box, 6, 7);
    assert_int_equal(or_letter_flush(box, NULL), ONEROW_OK);
    or_letter_box_close(box);
    struct pile pile = pile_of(folder, NULL);
    assert_int_equal(pile.n, 7);
    pile_finish(&pile);
    assert_int_equal(settle(folder, (struct rules){1, 0, -1, 0}), 0);
    assert_int_equal(files(folder, ""), 0);
    drop_folder(folder);
}

/* Counts in seen[] the numbers that a log holds. */
static void count_log(const char *path, unsigned *seen, size_t n)
{
    FILE *log = fopen(path, "r");
    assert_non_null(log);
    unsigned long long number;
    while (fscanf(log, "%llu", &number) == 1) {
        assert_true(number < n);
        seen[number]++;
    }
    fclose(log);
}

static void two_replays_never_share_a_letter(void **unused)
{
    (void)unused;
    enum { FILES = 12, EACH = 40, N = FILES * EACH + 1 };
    char *folder = make_folder();
    char *log = joined(folder, "log");
    for (uint64_t i = 0; i < FILES; i++) {
        finished_run(folder, i * EACH + 1, (i + 1) * EACH);
    }
    pid_t children[2];
    for (int i = 0; i < 2; i++) {
        children[i] = child_of_test();
        if (children[i] == 0) {
            int fd = open(log, O_WRONLY | O_APPEND | O_CREAT, 0600);
            state += (uint64_t)i;
            for (int round = 0; round < 10; round++) {
                settle(folder, (struct rules){1, dice() % N, fd, 100});
            }
            settle(folder, (struct rules){1, 0, fd, 0});
            _exit(0);
        }
    }
    assert_int_equal(waited(children[0]), 0);
    assert_int_equal(waited(children[1]), 0);
    unsigned seen[N] = {0};
    count_log(log, seen, N);
    struct pile pile = pile_of(folder, NULL); /* a file may have been held both times */
    for (size_t i = 0; i < pile.n; i++) {
        seen[pile.letters[i].line]++;
    }
    pile_finish(&pile);
    for (size_t i = 1; i < N; i++) {
        assert_int_equal(seen[i], 1);
    }
    free(log);
    drop_folder(folder);
}

/* Short runs begin files while replays empty the folder: the moment between a file's creation and
 * its lock is hit again and again. */
static void a_beginning_run_loses_nothing_to_a_replay(void **unused)
{
    (void)unused;
    enum { WRITERS = 3, RUNS = 150, N = WRITERS * RUNS + 1 };
    char *folder = make_folder();
    char *log = joined(folder, "log");
    pid_t writers[WRITERS], settlers[2];
    for (uint64_t w = 0; w < WRITERS; w++) {
        writers[w] = child_of_test();
        if (writers[w] == 0) {
            for (uint64_t i = 1; i <= RUNS; i++) {
                finished_run(folder, w * RUNS + i, w * RUNS + i);
            }
            _exit(0);
        }
    }
    for (int s = 0; s < 2; s++) {
        settlers[s] = child_of_test();
        if (settlers[s] == 0) {
            int fd = open(log, O_WRONLY | O_APPEND | O_CREAT, 0600);
            for (;;) {
                settle(folder, (struct rules){1, 0, fd, 0});
            }
        }
    }
    for (int w = 0; w < WRITERS; w++) {
        assert_int_equal(waited(writers[w]), 0);
    }
    for (int s = 0; s < 2; s++) {
        kill(settlers[s], SIGKILL);
        waited(settlers[s]);
    }
    int fd = open(log, O_WRONLY | O_APPEND | O_CREAT, 0600);
    settle(folder, (struct rules){1, 0, fd, 0});
    close(fd);
    unsigned seen[N] = {0};
    count_log(log, seen, N);
    for (size_t i = 1; i < N; i++) {
        assert_true(seen[i] >= 1); /* twice, when its replay was killed before the file was gone */
    }
    assert_int_equal(files(folder, ".jsonl"), 0);
    free(log);
    drop_folder(folder);
}

/* ---- crashes, under strace ------------------------------------------------------------------ */

/* What this program does instead of its tests when it is called with a role. */
static int play(const char *role, const char *folder)
{
    if (strcmp(role, "settle") == 0) {
        struct rules rules = {2, 0, -1, 0};
        return (int)or_letters_settle(folder, by_rules, &rules, NULL, NULL);
    }
    if (strcmp(role, "settle-all") == 0) {
        char *log = joined(folder, "log");
        struct rules rules = {1, 0, open(log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600), 0};
        free(log);
        return (int)or_letters_settle(folder, by_rules, &rules, NULL, NULL);
    }
    char *log = joined(folder, "flushed"); /* role "write": tells what is durable */
    struct or_letter_box *box = open_box(folder);
    for (uint64_t i = 1; i <= 6; i++) {
        char room[64];
        struct or_letter letter = numbered(i, room);
        enum onerow_status status = or_letter_add(box, &letter, NULL);
        status = status || i % 2 ? status : or_letter_flush(box, NULL);
        if (status) {
            return or_letter_flush(box, NULL) == status ? (int)status : 99;
        }
        if (i % 2 == 0) {
            append_file(log, "2\n", 2);
        }
    }
    or_letter_box_close(box);
    free(log);
    return 0;
}

static char watched[8][4096]; /* pairs of "-P" and a path, for execvp */

/* Calls that strace shall count: those on the letters, not those of the program's own start. */
static char **watch(char **arg, const char *folder)
{
    char *letters = joined(folder, "dead-letters");
    DIR *dir = opendir(letters);
    size_t n = 0;
    snprintf(watched[n++], sizeof *watched, "%s", letters);
    const struct dirent *entry;
    while (dir && n < 6 && (entry = readdir(dir))) {
        if (strstr(entry->d_name, ".jsonl")) {
            snprintf(watched[n++], sizeof *watched, "%s/%s", letters, entry->d_name);
            snprintf(watched[n++], sizeof *watched, "%s/%s.tmp", letters, entry->d_name);
        }
    }
    static char option[] = "-P";
    for (size_t i = 0; i < n; i++) {
        *arg++ = option;
        *arg++ = watched[i];
    }
    return arg; /* `dir` and `letters` end with this process, which becomes another program */
}

/* Becomes the role under strace. */
static void become_traced(char *role, char *folder, char *inject)
{
    static char words[][16] = {"strace", "-qq", "-o", "/dev/null", "-e"};
    char *args[32] = {words[0], words[1], words[2], words[3]};
    char **arg = args + 4;
    if (strcmp(role, "write") != 0) {
        arg = watch(arg, folder);
    }
    char *rest[] = {words[4], inject, self, role, folder, NULL};
    memcpy(arg, rest, sizeof rest);
    setenv("ASAN_OPTIONS", "detect_leaks=0", 1); /* the leak check cannot run traced */
    execvp(args[0], args);
    _exit(127);
}

/* Plays the role under strace, which injects `what` into the n-th call. The exit code; 137: the
 * role was killed. */
static int traced(const char *role, const char *folder, const char *call, const char *what, int n)
{
    pid_t child = child_of_test();
    if (child == 0) {
        char inject[128];
        snprintf(inject, sizeof inject, "inject=%s:%s:when=%d", call, what, n);
        become_traced(strdup(role), strdup(folder), inject);
    }
    return waited(child);
}

static void need_trace(void)
{
    char *folder = make_folder();
    int code = traced("settle", folder, "openat", "signal=KILL", 1000);
    drop_folder(folder);
    if (code != 0) {
        fail_msg("strace cannot trace here (%d): apt-get install strace, and allow ptrace", code);
    }
}

/* The undone letters are there, once; the next replay leaves them and nothing else. */
static void assert_odd_ones_left(const char *folder)
{
    unsigned seen[11] = {0};
    struct pile pile = pile_of(folder, NULL);
    for (size_t i = 0; i < pile.n; i++) {
        seen[pile.letters[i].line]++;
    }
    pile_finish(&pile);
    for (size_t i = 1; i <= 10; i++) {
        assert_true(seen[i] == 1 || (i % 2 == 0 && seen[i] == 0));
    }
    settle(folder, (struct rules){2, 0, -1, 0});
    pile = pile_of(folder, NULL);
    assert_int_equal(pile.n, 5);
    pile_finish(&pile);
    assert_int_equal(files(folder, ".tmp"), 0);
}

/* Kills a settling at the n-th call, for every n that it reaches. */
static int crash_at(const char *call)
{
    int n = 1;
    for (;; n++) {
        char *folder = make_folder();
        finished_run(folder, 1, 10);
        int code = traced("settle", folder, call, "signal=KILL", n);
        assert_true(code == 0 || code == 137);
        assert_odd_ones_left(folder);
        drop_folder(folder);
        if (code == 0) {
            return n - 1;
        }
    }
}

static void a_crash_while_settling_loses_nothing(void **unused)
{
    (void)unused;
    need_trace();
    static const char *const calls[] = {"openat", "flock", "read",     "pread64", "/^unlink",
                                        "write",  "fsync", "/^rename", "close"};
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        int crashes = crash_at(calls[i]);
        print_message("%s: %d crashes\n", calls[i], crashes);
        assert_true(crashes > 0);
    }
}

static void a_crash_while_emptying_loses_nothing(void **unused)
{
    (void)unused;
    need_trace();
    for (int n = 1; n <= 2; n++) {
        char *folder = make_folder();
        finished_run(folder, 1, 10);
        assert_int_equal(traced("settle-all", folder, "/^unlink", "signal=KILL", n), 137);
        struct pile pile = pile_of(folder, NULL);
        assert_int_equal(pile.n, 0); /* all were done, and are crossed out */
        pile_finish(&pile);
        settle(folder, (struct rules){1, 0, -1, 0});
        assert_int_equal(files(folder, ".jsonl"), 0);
        assert_int_equal(files(folder, ".tmp"), 0);
        drop_folder(folder);
    }
}

static void a_failure_while_settling_loses_nothing(void **unused)
{
    (void)unused;
    need_trace();
    static const struct {
        const char *call, *what;
        int n;
        enum onerow_status status;
    } cases[] = {
        {"write", "error=ENOSPC", 1, ONEROW_FULL},
        {"fsync", "error=EIO", 1, ONEROW_IO},
        {"fsync", "error=EIO", 2, ONEROW_IO},
        {"/^rename", "error=EROFS", 1, ONEROW_READONLY},
        {"pread64", "error=EIO", 1, ONEROW_IO},
        {"flock", "error=ENOLCK", 1, ONEROW_IO},
        {"/^unlink", "error=EACCES", 1, ONEROW_READONLY},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *folder = make_folder();
        finished_run(folder, 1, 10);
        int code = traced("settle", folder, cases[i].call, cases[i].what, cases[i].n);
        assert_int_equal(code, cases[i].status);
        assert_odd_ones_left(folder);
        drop_folder(folder);
    }
}

/* Plays the role with its first flock delayed by a second, and settles the folder as soon as the
 * event has happened to what `path` names: between the role's open and its lock. */
static int overtaken(const char *role, const char *folder, const char *path, uint32_t event,
                     struct rules rules)
{
    int watch = inotify_init1(IN_CLOEXEC);
    assert_true(watch >= 0 && inotify_add_watch(watch, path, event) >= 0);
    pid_t child = child_of_test();
    if (child == 0) {
        _exit(traced(role, folder, "flock", "delay_enter=1000000", 1));
    }
    struct pollfd wait_for = {.fd = watch, .events = POLLIN};
    assert_int_equal(poll(&wait_for, 1, 60000), 1);
    settle(folder, rules);
    close(watch);
    return waited(child);
}

static void a_replay_that_was_overtaken_looks_again(void **unused)
{
    (void)unused;
    need_trace();
    char *folder = make_folder();
    char *path = only_file(folder); /* letters 1 to 3 */
    char *log = joined(folder, "log");
    int fd = open(log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    struct rules rules = {2, 0, fd, 0};
    assert_int_equal(overtaken("settle-all", folder, path, IN_OPEN, rules), 0);
    close(fd);
    unsigned seen[4] = {0};
    count_log(log, seen, 4);
    for (size_t i = 1; i <= 3; i++) {
        assert_int_equal(seen[i], 1);
    }
    assert_int_equal(files(folder, ".jsonl"), 0);
    free(log);
    free(path);
    drop_folder(folder);
}

static void a_run_that_was_overtaken_takes_another_name(void **unused)
{
    (void)unused;
    need_trace();
    char *folder = make_folder();
    char *letters = joined(folder, "dead-letters");
    assert_int_equal(mkdir(letters, 0700), 0);
    struct rules rules = {1, 0, -1, 0};
    assert_int_equal(overtaken("write", folder, letters, IN_CREATE, rules), 0);
    struct pile pile = pile_of(folder, NULL);
    assert_int_equal(pile.n, 6);
    pile_finish(&pile);
    free(letters);
    drop_folder(folder);
}

static size_t flushed(const char *folder)
{
    char *log = joined(folder, "flushed");
    FILE *file = fopen(log, "r");
    size_t sum = 0, number;
    while (file && fscanf(file, "%zu", &number) == 1) {
        sum += number;
    }
    if (file) {
        fclose(file);
    }
    free(log);
    return sum;
}

static void a_crash_while_writing_keeps_what_was_flushed(void **unused)
{
    (void)unused;
    need_trace();
    static const char *const calls[] = {"write", "fdatasync", "fsync", "openat"};
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        int code = 137;
        for (int n = 1; code == 137; n++) {
            char *folder = make_folder();
            code = traced("write", folder, calls[i], "signal=KILL", n);
            assert_true(code == 0 || code == 137);
            struct pile pile = pile_of(folder, NULL);
            assert_true(pile.n >= flushed(folder));
            pile_finish(&pile);
            drop_folder(folder);
        }
    }
}

/* The call fails once; the box must not ask a second time and believe the answer. */
static void a_failed_flush_is_never_tried_again(void **unused)
{
    (void)unused;
    need_trace();
    static const struct {
        const char *call, *what;
        enum onerow_status status;
    } cases[] = {
        {"fdatasync", "error=EIO", ONEROW_IO},       {"fsync", "error=EIO", ONEROW_IO},
        {"write", "error=ENOSPC", ONEROW_FULL},      {"write", "error=EDQUOT", ONEROW_FULL},
        {"fdatasync", "error=ENOSPC", ONEROW_FULL},  {"/^mkdir", "error=EACCES", ONEROW_READONLY},
        {"/^mkdir", "error=EROFS", ONEROW_READONLY},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *folder = make_folder();
        int code = traced("write", folder, cases[i].call, cases[i].what, 1);
        assert_int_equal(code, cases[i].status);
        drop_folder(folder);
    }
}

/* ---- export ---------------------------------------------------------------------------------- */

static char *csv_of(const struct or_letter *letters, size_t n, const struct or_mask *mask)
{
    struct or_letter_csv *csv = or_letter_csv_create(mask);
    struct or_buffer out;
    or_buffer_init(&out);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(or_letter_csv_see(csv, &letters[i], NULL), ONEROW_OK);
    }
    or_letter_csv_header(csv, &out);
    for (size_t i = 0; i < n; i++) {
        assert_true(or_letter_csv_row(csv, &letters[i], &out));
    }
    or_letter_csv_destroy(csv);
    return or_buffer_steal(&out);
}

static void writes_csv_for_people(void **unused)
{
    (void)unused;
    struct or_letter letters[] = {
        {.id = OR_SPAN("f-1"),
         .table = OR_SPAN("items"),
         .key = OR_SPAN("{\"sku\":\"A\"}"),
         .line = 7,
         .outcome = OR_SPAN("rejected"),
         .reason = OR_SPAN("no, \"never\""),
         .record = OR_SPAN("{\"sku\":\"A\",\"n\":-12.50,\"empty\":\"\",\"gone\":null,\"id\":3}")},
        {.id = OR_SPAN("f-2"), .record = OR_SPAN("{\"tags\":[1.0,{\"a\":2}],\"ok\":true}")},
        {.id = OR_SPAN("f-3"), .raw = OR_SPAN("not json"), .input = OR_SPAN("\xff.csv")},
    };
    char *text = csv_of(letters, 3, NULL);
    assert_string_equal(
        text, "id,time,table,key,line,outcome,reason,input,sku,n,empty,gone,record.id,tags,ok\r\n"
              "f-1,,items,\"{\"\"sku\"\":\"\"A\"\"}\",7,rejected,\"no, \"\"never\"\"\",,"
              "A,-12.50,\"\",,3,,\r\n"
              "f-2,,,,,,,,,,,,,\"[1.0,{\"\"a\"\":2}]\",true\r\n"
              "f-3,,,,,,,\xef\xbf\xbd.csv,,,,,,,\r\n");
    free(text);
}

/* Whether a spreadsheet would run this cell: it strips blanks, and reads a lone number as one. */
static bool runs(const char *cell)
{
    static const char *const begins[] = {"=", "+", "-", "@", "＝", "＋", "－", "＠"};
    static const char *const blanks[] = {
        " ", "\t", "\r", "\n", "\xc2\xa0", "\xe3\x80\x80", "\xef\xbb\xbf", "\xe2\x80\x8b"};
    char *end;
    strtod(cell, &end);
    if (*cell && *end == '\0' && strspn(cell, "+-.0123456789eE") == strlen(cell)) {
        return false;
    }
    for (size_t i = 0; i < sizeof blanks / sizeof *blanks; i++) {
        if (strncmp(cell, blanks[i], strlen(blanks[i])) == 0) {
            return strchr("\t\r\n", cell[0]) || runs(cell + strlen(blanks[i]));
        }
    }
    for (size_t i = 0; i < sizeof begins / sizeof *begins; i++) {
        if (strncmp(cell, begins[i], strlen(begins[i])) == 0) {
            return true;
        }
    }
    return false;
}

static const char *const FORMULAS[] = {
    "=cmd|' /C calc'!A0",
    "+1+1",
    "-1+1",
    "@SUM(1)",
    "\t=1+1",
    "\r=1+1",
    "\n=1+1",
    "  =1",
    "-",
    "=",
    "＝1+1",
    "＋1",
    "－1",
    "＠A1",
    "-5 ",
    "--5",
    "+5",
    "-0x10",
    "-1e",
    "-.5",
    "-05",
    "\xc2\xa0=1+1",
    "\xe3\x80\x80＝1",
    "\xef\xbb\xbf=1",
    "\xe2\x80\x8b@A1",
    " \t-1",
};
static const char *const HARMLESS[] = {"-5",  "-12.5", "-1e-7", "0", "1.5E+3",
                                       "a=b", "",      "'=1",   "é"};

/* The text cell of a record, without its quotes. */
static char *cell_of(const char *text)
{
    struct or_buffer record;
    or_buffer_init(&record);
    or_buffer_text(&record, "{\"c\":");
    or_buffer_json(&record, or_span(text));
    or_buffer_text(&record, "}");
    struct or_letter letter = {.record = or_buffer_view(&record)};
    char *csv = csv_of(&letter, 1, NULL);
    char *row = strstr(csv, "\r\n") + 2 + 8; /* behind the empty fixed columns */
    row[strlen(row) - 2] = '\0';
    if (row[0] == '"') {
        row++;
        row[strlen(row) - 1] = '\0';
    }
    char *cell = strdup(row);
    free(csv);
    or_buffer_finish(&record);
    return cell;
}

static void defuses_formulas(void **unused)
{
    (void)unused;
    for (size_t i = 0; i < sizeof FORMULAS / sizeof *FORMULAS; i++) {
        char *cell = cell_of(FORMULAS[i]);
        assert_false(runs(cell));
        assert_int_equal(cell[0], '\'');
        assert_string_equal(cell + 1, FORMULAS[i]);
        free(cell);
    }
    for (size_t i = 0; i < sizeof HARMLESS / sizeof *HARMLESS; i++) {
        char *cell = cell_of(HARMLESS[i]);
        assert_string_equal(cell, HARMLESS[i]);
        free(cell);
    }
}

/* The check itself sees what a writer that only quotes lets through. */
static void a_naive_writer_would_be_caught(void **unused)
{
    (void)unused;
    size_t caught = 0;
    for (size_t i = 0; i < sizeof FORMULAS / sizeof *FORMULAS; i++) {
        caught += runs(FORMULAS[i]); /* quoting changes nothing about a cell's text */
    }
    assert_true(caught >= sizeof FORMULAS / sizeof *FORMULAS - 3); /* +5, -.5 and -05 are numbers */
    assert_true(runs("=cmd|' /C calc'!A0"));
}

static void defuses_names_and_keeps_them_apart(void **unused)
{
    (void)unused;
    struct or_letter letter = {
        .record = OR_SPAN("{\"=a\":1,\"id\":2,\"record.id\":3,\"x,y\":4,\"=a\":5,\"\":6}"),
        .reason = OR_SPAN("=HYPERLINK(1)"),
        .input = OR_SPAN("@in"),
        .table = OR_SPAN("-t")};
    char *text = csv_of(&letter, 1, NULL);
    assert_string_equal(text, "id,time,table,key,line,outcome,reason,input,'=a,record.id,"
                              "record.record.id,\"x,y\",\"\"\r\n"
                              ",,'-t,,,,'=HYPERLINK(1),'@in,5,2,3,4,6\r\n");
    free(text);
}

static void a_later_letter_waits_for_the_next_export(void **unused)
{
    (void)unused;
    struct or_letter first = {.record = OR_SPAN("{\"a\":1}")};
    struct or_letter later = {.record = OR_SPAN("{\"a\":1,\"b\":2}")};
    struct or_letter_csv *csv = or_letter_csv_create(NULL);
    struct or_buffer out;
    or_buffer_init(&out);
    assert_int_equal(or_letter_csv_see(csv, &first, NULL), ONEROW_OK);
    assert_false(or_letter_csv_row(csv, &later, &out));
    assert_int_equal(out.len, 0);
    assert_true(or_letter_csv_row(csv, &first, &out));
    or_buffer_finish(&out);
    or_letter_csv_destroy(csv);
}

static void refuses_more_columns_than_a_sheet_holds(void **unused)
{
    (void)unused;
    struct or_letter_csv *csv = or_letter_csv_create(NULL);
    struct or_buffer record;
    or_buffer_init(&record);
    or_buffer_text(&record, "{\"0\":0");
    for (unsigned i = 1; i < OR_CSV_COLUMNS_MAX - 8; i++) {
        or_buffer_printf(&record, ",\"%u\":0", i);
    }
    size_t full = record.len;
    or_buffer_text(&record, "}");
    struct onerow_error error;
    struct or_letter letter = {.record = or_buffer_view(&record)};
    assert_int_equal(or_letter_csv_see(csv, &letter, &error), ONEROW_OK);
    record.len = full;
    or_buffer_text(&record, ",\"x\":0}");
    letter.record = or_buffer_view(&record);
    assert_int_equal(or_letter_csv_see(csv, &letter, &error), ONEROW_INPUT);
    assert_non_null(strstr(error.text, "JSONL"));
    or_buffer_finish(&record);
    or_letter_csv_destroy(csv);
}

static bool token_is_secret(void *context, struct onerow_span table, struct onerow_span column)
{
    assert_string_equal(context, "context");
    return or_span_is(table, "items") && (column.len == 0 || or_span_is(column, "token"));
}

static void masks_secrets_in_both_forms(void **unused)
{
    (void)unused;
    char context[] = "context";
    struct or_mask mask = {token_is_secret, context};
    struct or_letter letters[] = {
        {.table = OR_SPAN("items"),
         .key = OR_SPAN("{\"token\":\"s3cret\"}"),
         .reason = OR_SPAN("Key (token)=(s3cret) exists, s3cret"),
         .record = OR_SPAN("{\"n\":1.50,\"tok\\u0065n\":\"s3cret\",\"token\":\"s3cret\"}")},
        {.table = OR_SPAN("items"), .raw = OR_SPAN("{\"token\":\"s3cret\"")},
        {.table = OR_SPAN("items"), .record = OR_SPAN("s3cret")},
        {.table = OR_SPAN("others"), .record = OR_SPAN("{ \"token\": \"shown\" }")},
    };
    struct or_buffer out;
    or_buffer_init(&out);
    for (size_t i = 0; i < 4; i++) {
        or_export_jsonl(&letters[i], &mask, &out);
    }
    assert_string_equal(or_buffer_cstr(&out),
                        "{\"table\":\"items\",\"reason\":\"Key (token)=(***) exists, ***\","
                        "\"key\":{\"token\":\"***\"},"
                        "\"record\":{\"n\":1.50,\"token\":\"***\",\"token\":\"***\"}}\n"
                        "{\"table\":\"items\",\"raw\":\"***\"}\n"
                        "{\"table\":\"items\",\"record\":\"***\"}\n"
                        "{\"table\":\"others\",\"record\":{ \"token\": \"shown\" }}\n");
    or_buffer_clear(&out);
    or_export_jsonl(&letters[0], NULL, &out);
    assert_non_null(strstr(or_buffer_cstr(&out), "tok\\u0065n\":\"s3cret"));
    or_buffer_finish(&out);
    char *csv = csv_of(letters, 4, &mask);
    assert_null(strstr(csv, "s3cret"));
    assert_non_null(strstr(csv, "shown"));
    free(csv);
}

int main(int argc, char **argv)
{
    if (argc == 3) {
        return play(argv[1], argv[2]);
    }
    ssize_t len = readlink("/proc/self/exe", self, sizeof self - 1);
    if (len < 0) {
        return 1;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_every_field_and_digit),
        cmocka_unit_test(keeps_what_is_no_object),
        cmocka_unit_test(keeps_a_spread_out_record_on_one_line),
        cmocka_unit_test(keeps_any_bytes),
        cmocka_unit_test(keeps_letters_larger_than_the_box),
        cmocka_unit_test(makes_nothing_before_the_first_letter),
        cmocka_unit_test(finds_the_state_folder),
        cmocka_unit_test(four_processes_keep_all_letters),
        cmocka_unit_test(tells_of_a_deleted_file),
        cmocka_unit_test(refuses_a_folder_it_may_not_write),
        cmocka_unit_test(says_when_a_file_may_not_grow),
        cmocka_unit_test(says_when_the_disk_is_full),
        cmocka_unit_test(skips_torn_and_damaged_lines),
        cmocka_unit_test(reads_oldest_first_until_told_to_stop),
        cmocka_unit_test(an_empty_folder_has_no_letters),
        cmocka_unit_test(takes_the_done_letters_out),
        cmocka_unit_test(a_stopped_walk_keeps_its_progress),
        cmocka_unit_test(keeps_damaged_lines_and_drops_torn_ones),
        cmocka_unit_test(gives_the_last_line_its_newline),
        cmocka_unit_test(passes_over_a_run_that_lives),
        cmocka_unit_test(two_replays_never_share_a_letter),
        cmocka_unit_test(a_beginning_run_loses_nothing_to_a_replay),
        cmocka_unit_test(a_crash_while_settling_loses_nothing),
        cmocka_unit_test(a_crash_while_emptying_loses_nothing),
        cmocka_unit_test(a_failure_while_settling_loses_nothing),
        cmocka_unit_test(a_replay_that_was_overtaken_looks_again),
        cmocka_unit_test(a_run_that_was_overtaken_takes_another_name),
        cmocka_unit_test(a_crash_while_writing_keeps_what_was_flushed),
        cmocka_unit_test(a_failed_flush_is_never_tried_again),
        cmocka_unit_test(writes_csv_for_people),
        cmocka_unit_test(defuses_formulas),
        cmocka_unit_test(a_naive_writer_would_be_caught),
        cmocka_unit_test(defuses_names_and_keeps_them_apart),
        cmocka_unit_test(a_later_letter_waits_for_the_next_export),
        cmocka_unit_test(refuses_more_columns_than_a_sheet_holds),
        cmocka_unit_test(masks_secrets_in_both_forms),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
