/* SPDX-License-Identifier: Apache-2.0
 *
 * Out of memory, everywhere: each allocation of a run fails in turn, once alone and once
 * with all that follow it, until a run is through without having met the failure. Whatever
 * fails: no crash, nothing leaked, no row acknowledged that is not there, no record
 * rejected, no row called absent for want of memory alone.
 *
 * malloc, calloc, realloc and free of this program stand before those of the C library
 * (or of a sanitizer), so SQLite, yyjson, libyaml, libcsv and libc itself are served by them,
 * too. What a library keeps for the life of the process is made by unharmed runs first.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <sqlite3.h>
#include <zlib.h>
#include <zstd.h>

#include "base/buffer.h"
#include "base/text.h"
#include "coordinator/coordinator.h"
#include "engine/config.h"
#include "engine/dead_letter.h"
#include "engine/put_run.h"
#include "input/input.h"
#include "onerow/onerow.h"

/* ---- memory that ends ------------------------------------------------------------------ */

/* Seen by the libraries, although the build hides what is not said to be seen. */
#define SEEN __attribute__((visibility("default")))
/* A sanitizer asks for memory before it is able to watch anybody. */
#define UNWATCHED __attribute__((no_sanitize("address", "thread", "undefined")))

static void *(*real_malloc)(size_t);
static void *(*real_calloc)(size_t, size_t);
static void *(*real_realloc)(void *, size_t);
static void (*real_free)(void *);

static _Atomic long live;     /* blocks that are out */
static _Atomic long left;     /* allocations until the failure; below zero: it is over */
static _Atomic bool armed;    /* whether allocations are counted at all */
static _Atomic bool lasting;  /* the failure stays */
static _Atomic bool happened; /* an allocation did fail */
static void *blame;           /* who asked for the first one that did */

UNWATCHED static void resolve(void)
{
    *(void **)&real_malloc = dlsym(RTLD_NEXT, "malloc");
    *(void **)&real_calloc = dlsym(RTLD_NEXT, "calloc");
    *(void **)&real_realloc = dlsym(RTLD_NEXT, "realloc");
    *(void **)&real_free = dlsym(RTLD_NEXT, "free");
}

/* A sanitizer takes some blocks by ways of its own: then LeakSanitizer does the counting, at the
 * end of the process. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
static const bool sanitized = true;
#else
static const bool sanitized = false;
#endif

/* What a sanitizer does when a thread starts fails the whole process. */
UNWATCHED static bool out_of_bounds(void)
{
    return sanitized && gettid() != getpid();
}

UNWATCHED static bool refuses(void *caller)
{
    if (!real_malloc) {
        resolve();
    }
    if (!armed || out_of_bounds()) {
        return false;
    }
    long now = atomic_fetch_sub(&left, 1);
    bool refused = now == 0 || (now < 0 && lasting);
    if (refused && !happened) {
        happened = true;
        blame = caller;
    }
    if (refused) {
        errno = ENOMEM;
    }
    return refused;
}

UNWATCHED static void *counted(void *block)
{
    live += block != NULL;
    return block;
}

UNWATCHED SEEN void *malloc(size_t size)
{
    return refuses(__builtin_return_address(0)) ? NULL : counted(real_malloc(size));
}

UNWATCHED SEEN void *calloc(size_t n, size_t size)
{
    return refuses(__builtin_return_address(0)) ? NULL : counted(real_calloc(n, size));
}

UNWATCHED SEEN void *realloc(void *block, size_t size)
{
    if (refuses(__builtin_return_address(0))) {
        return NULL;
    }
    return block ? real_realloc(block, size) : counted(real_realloc(NULL, size));
}

UNWATCHED SEEN void free(void *block)
{
    if (block) {
        live--;
        real_free(block);
    }
}

/* A sanitizer's own would not ask the malloc above. */
SEEN char *strndup(const char *text, size_t most)
{
    size_t len = strnlen(text, most);
    char *copy = malloc(len + 1);
    if (copy) {
        memcpy(copy, text, len);
        copy[len] = '\0';
    }
    return copy;
}

SEEN char *strdup(const char *text)
{
    return strndup(text, strlen(text));
}

/* For a LeakSanitizer at the end of the process. */
SEEN const char *__lsan_default_suppressions(void);
SEEN const char *__lsan_default_suppressions(void)
{
    return "leak:yaml_parser_load\n";
}

/* ---- the torture --------------------------------------------------------------------------- */

/* A run does everything that may fail; `check` looks at what it said, with memory in plenty. */
struct scenario {
    const char *name;
    void (*prepare)(unsigned attempt); /* may be NULL */
    void (*run)(unsigned attempt);
    void (*check)(unsigned attempt, bool harmed);
    long at_least; /* allocations that it must have met, or the test tests nothing */
    bool keeps;    /* a handle stays open, and with it SQLite's cache: the caller counts blocks */
};

/* libyaml 0.2.5 itself forgets a block when the stack of its loader cannot grow. */
static bool is_libyamls(long leaked)
{
    Dl_info info;
    return leaked == 1 && happened && dladdr(blame, &info) && strstr(info.dli_fname, "libyaml");
}

static unsigned attempts; /* of all scenarios: makes keys and folders that are new each time */

static bool one_run(const struct scenario *scenario, long n, bool stays)
{
    unsigned attempt = ++attempts;
    if (scenario->prepare) {
        scenario->prepare(attempt);
    }
    long before = live;
    left = n;
    lasting = stays;
    happened = false;
    armed = n >= 0;
    scenario->run(attempt);
    armed = false;
    if (!sanitized && !scenario->keeps && live != before && !is_libyamls(live - before)) {
        fail_msg("%s: %ld blocks leaked when allocation %ld %s", scenario->name, live - before, n,
                 stays ? "and all after it failed" : "failed");
    }
    scenario->check(attempt, happened);
    return happened;
}

static void warm_up(const struct scenario *scenario)
{
    for (int i = 0; i < 2; i++) {
        unsigned attempt = ++attempts;
        if (scenario->prepare) {
            scenario->prepare(attempt);
        }
        scenario->run(attempt);
        scenario->check(attempt, false);
    }
    one_run(scenario, -1, false);
}

static void torture(const struct scenario *scenario)
{
    warm_up(scenario);
    for (int stays = 0; stays <= 1; stays++) {
        long n = 0;
        while (one_run(scenario, n, stays)) {
            n++;
        }
        print_message("# %s: %ld allocations failed in turn%s\n", scenario->name, n,
                      stays ? ", each with all that followed" : "");
        assert_true(n >= scenario->at_least);
    }
}

/* ---- places ---------------------------------------------------------------------------------- */

static char folder[64];

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *place)
{
    (void)st;
    (void)type;
    (void)place;
    return remove(path);
}

static int make_folder(void **state)
{
    (void)state;
    /* In memory where that is possible: thousands of databases are opened and flushed. */
    snprintf(folder, sizeof folder, "%s/onerow-oom-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    return mkdtemp(folder) && chdir(folder) == 0 ? 0 : -1;
}

static int drop_folder(void **state)
{
    (void)state;
    return chdir("/") == 0 ? nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS) : -1;
}

static void drop(const char *path)
{
    if (access(path, F_OK) == 0) {
        assert_int_equal(nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
    }
}

static void write_file(const char *name, const char *text)
{
    FILE *file = fopen(name, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static sqlite3 *outside; /* a connection of the test's own */

static void connect_outside(const char *sql)
{
    assert_int_equal(sqlite3_open("x.db", &outside), SQLITE_OK);
    assert_int_equal(sqlite3_exec(outside, sql, NULL, NULL, NULL), SQLITE_OK);
}

/* A number that the outside connection reads; -1: no row, or NULL. */
__attribute__((format(printf, 1, 2))) static int64_t number(const char *format, ...)
{
    char sql[512];
    va_list args;
    va_start(args, format);
    vsnprintf(sql, sizeof sql, format, args);
    va_end(args);
    sqlite3_stmt *stmt = NULL;
    assert_int_equal(sqlite3_prepare_v2(outside, sql, -1, &stmt, NULL), SQLITE_OK);
    int64_t answer = -1;
    if (sqlite3_step(stmt) == SQLITE_ROW && sqlite3_column_type(stmt, 0) != SQLITE_NULL) {
        answer = sqlite3_column_int64(stmt, 0);
    }
    sqlite3_finalize(stmt);
    return answer;
}

static bool acknowledged(enum onerow_outcome outcome)
{
    return outcome == ONEROW_CREATED || outcome == ONEROW_UPDATED || outcome == ONEROW_UNCHANGED;
}

/* ---- the library ------------------------------------------------------------------------------
 */

enum { RECORDS = 4 };

static struct {
    enum onerow_status opened;
    enum onerow_status put;
    enum onerow_outcome outcome[RECORDS];
    enum onerow_status got;
    bool right_row;
    enum onerow_status ensured;
    int64_t id;
} said;

static void put_get_ensure(struct onerow_table *table, unsigned attempt)
{
    char text[RECORDS][64];
    struct onerow_span json[RECORDS];
    struct onerow_result results[RECORDS];
    struct onerow_error error;
    for (int i = 0; i < RECORDS; i++) {
        /* Three keys: the first and the last record share one. */
        snprintf(text[i], sizeof text[i], "{\"name\":\"k%u-%d\",\"v\":%d,\"w\":{\"x\":[1]}}",
                 attempt, i % (RECORDS - 1), i);
        json[i] = or_span(text[i]);
    }
    said.put = onerow_put_many(table, json, RECORDS, results, &error);
    for (int i = 0; i < RECORDS; i++) {
        said.outcome[i] = results[i].outcome;
        onerow_result_finish(&results[i]);
    }
    char key[64];
    char *answer = NULL;
    snprintf(key, sizeof key, "{\"name\":\"k%u-0\"}", attempt);
    said.got = onerow_get(table, or_span(key), &answer, &error);
    said.right_row = answer && strstr(answer, "\"v\":3,");
    free(answer);
    snprintf(key, sizeof key, "{\"name\":\"k%u-new\",\"v\":9}", attempt);
    said.ensured = onerow_ensure(table, or_span(key), &answer, &error);
    said.id = answer ? strtol(answer, NULL, 10) : -1;
    free(answer);
}

static void library_run(unsigned attempt)
{
    struct onerow_table_options options = {.store = "sqlite:x.db", .table = "t", .key = "name"};
    struct onerow_table *table = NULL;
    struct onerow_error error;
    memset(&said, 0, sizeof said);
    said.opened = onerow_table_open(&options, &table, &error);
    if (said.opened == ONEROW_OK) {
        put_get_ensure(table, attempt);
    }
    onerow_table_close(table);
}

static void check_status(const char *call, enum onerow_status status, bool harmed)
{
    /* For want of memory nobody may blame the caller, the records or the disk. */
    static const enum onerow_status fair[] = {ONEROW_OK, ONEROW_NOMEM, ONEROW_UNKNOWN};
    for (size_t i = 0; i < (harmed ? sizeof fair / sizeof *fair : 1); i++) {
        if (status == fair[i]) {
            return;
        }
    }
    fail_msg("%s answered %s", call, onerow_status_name(status));
}

static void library_check(unsigned attempt, bool harmed)
{
    check_status("open", said.opened, harmed);
    if (said.opened != ONEROW_OK) {
        assert_int_equal(number("SELECT count(*) FROM t WHERE name LIKE 'k%u-%%'", attempt), 0);
        return;
    }
    check_status("put", said.put, harmed);
    check_status("get", said.got == ONEROW_ABSENT ? ONEROW_OK : said.got, harmed);
    check_status("ensure", said.ensured, harmed);
    for (int i = 0; i < RECORDS; i++) {
        int64_t v = number("SELECT v FROM t WHERE name = 'k%u-%d'", attempt, i % (RECORDS - 1));
        if (acknowledged(said.outcome[i])) {
            assert_int_equal(v, i % (RECORDS - 1) ? i : 3);
        } else {
            assert_true(said.outcome[i] == ONEROW_IN_DOUBT || v != i);
            assert_int_not_equal(said.put, ONEROW_OK);
        }
    }
    bool there = number("SELECT v FROM t WHERE name = 'k%u-0'", attempt) >= 0;
    assert_true(said.got != ONEROW_ABSENT || !there);
    assert_true(said.got != ONEROW_OK || (there && said.right_row));
    if (said.ensured == ONEROW_OK) {
        assert_int_equal(number("SELECT id FROM t WHERE name = 'k%u-new'", attempt), said.id);
    }
}

static void test_library(void **state)
{
    (void)state;
    connect_outside("PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF;"
                    "CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, "
                    "v INTEGER, w TEXT)");
    torture(&(struct scenario){"library", NULL, library_run, library_check, 200, false});
    sqlite3_close(outside);
}

/* ---- values beyond an arena's chunk -------------------------------------------------------------
 */

enum { BIG = 300 * 1024 };

static struct onerow_table *big_table; /* open throughout, so that only the put is tortured */
static char big_json[BIG + 128];
static struct onerow_result big_result;
static bool big_found;

static void big_prepare(unsigned attempt)
{
    int len = snprintf(big_json, sizeof big_json, "{\"name\":\"big\",\"v\":%u.5,\"w\":\"", attempt);
    memset(big_json + len, 'x', BIG);
    strcpy(big_json + len + BIG, "\\n\"}");
}

static void big_run(unsigned attempt)
{
    (void)attempt;
    struct onerow_error error;
    char *row = NULL;
    said.put = onerow_put(big_table, or_span(big_json), &big_result, &error);
    said.outcome[0] = big_result.outcome;
    onerow_result_finish(&big_result);
    said.got = onerow_get(big_table, OR_SPAN("{\"name\":\"big\"}"), &row, &error);
    big_found = row && strlen(row) > BIG;
    free(row);
}

static void big_check(unsigned attempt, bool harmed)
{
    check_status("put", said.put, harmed);
    check_status("get", said.got, harmed);
    assert_int_equal(said.put == ONEROW_OK, acknowledged(said.outcome[0]));
    assert_true(said.got != ONEROW_OK || big_found);
    if (said.put == ONEROW_OK) {
        assert_int_equal(number("SELECT v * 10 FROM big"), attempt * 10 + 5);
        assert_int_equal(number("SELECT length(w) FROM big"), BIG + 4); /* as JSON: "xxx\\n" */
    }
}

static void test_big_values(void **state)
{
    (void)state;
    long before = live;
    connect_outside("PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF;"
                    "CREATE TABLE big (name TEXT PRIMARY KEY NOT NULL, v REAL, w JSON)");
    struct onerow_table_options options = {.store = "sqlite:x.db", .table = "big", .key = "name"};
    struct onerow_error error;
    assert_int_equal(onerow_table_open(&options, &big_table, &error), ONEROW_OK);
    torture(&(struct scenario){"big values", big_prepare, big_run, big_check, 20, true});
    onerow_table_close(big_table);
    sqlite3_close(outside);
    assert_true(sanitized || live == before);
}

/* ---- input -------------------------------------------------------------------------------------
 */

static const char *input_path;
static const char *input_expected; /* "rb": a record, then a bad line */
static char input_seen[64];
static enum onerow_status input_status;

static void input_run(unsigned attempt)
{
    (void)attempt;
    struct or_input_options options = {.path = input_path, .stop_fd = -1};
    struct or_input *input = NULL;
    struct onerow_error error;
    struct or_arena arena;
    struct or_item item = {.kind = OR_ITEM_RECORD};
    size_t n = 0;
    or_arena_init(&arena);
    input_status = or_input_open(&options, &input, &error);
    while (input_status == ONEROW_OK && item.kind != OR_ITEM_END) {
        input_status = or_input_next(input, &arena, &item, &error);
        if (input_status == ONEROW_OK && item.kind != OR_ITEM_END) {
            input_seen[n++] = item.kind == OR_ITEM_RECORD ? 'r' : 'b';
        }
    }
    input_seen[n] = '\0';
    or_input_close(input);
    or_arena_finish(&arena);
}

static void input_check(unsigned attempt, bool harmed)
{
    (void)attempt;
    if (input_status == ONEROW_OK) {
        assert_string_equal(input_seen, input_expected);
    } else {
        assert_true(harmed);
        assert_string_equal(onerow_status_name(input_status), "NOMEM");
        assert_memory_equal(input_seen, input_expected, strlen(input_seen));
    }
}

#define NDJSON                                                                                     \
    "{\"a\":1,\"b\":[{\"c\":\"\\u00e9\"}]}\n{\"a\":1,\"a\":2}\n\n"                                 \
    "{\"a\":\"x\",\"long\":1234567890123456789012345678901234567890}\n"                            \
    "{\"a\":nonsense}\n{\"a\":null}\n{\"a\":\"\\ud800\"}\n{\"a\":"

static void test_ndjson(void **state)
{
    (void)state;
    write_file("in.ndjson", NDJSON);
    input_path = "in.ndjson";
    input_expected = "rbrbrbb";
    torture(&(struct scenario){"NDJSON", NULL, input_run, input_check, 5, false});
}

static void write_bytes(const char *name, const void *data, size_t len)
{
    int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, len), len);
    close(fd);
}

static void test_packed(void **state)
{
    (void)state;
    gzFile gzip = gzopen("in.ndjson.gz", "w");
    assert_true(gzip && gzwrite(gzip, NDJSON, sizeof NDJSON - 1) == sizeof NDJSON - 1);
    assert_int_equal(gzclose(gzip), Z_OK);
    input_path = "in.ndjson.gz";
    input_expected = "rbrbrbb";
    torture(&(struct scenario){"gzip", NULL, input_run, input_check, 7, false});
    char packed[1024];
    size_t len = ZSTD_compress(packed, sizeof packed, NDJSON, sizeof NDJSON - 1, 3);
    assert_false(ZSTD_isError(len));
    write_bytes("in.ndjson.zst", packed, len);
    input_path = "in.ndjson.zst";
    torture(&(struct scenario){"zstd", NULL, input_run, input_check, 7, false});
}

static void test_csv(void **state)
{
    (void)state;
    write_file("in.csv", "name,\"v\"\na,1\n\"b \"\"q\"\" \",\nc,1,2\n\"d\nd\",2\n");
    input_path = "in.csv";
    input_expected = "rrbr";
    torture(&(struct scenario){"CSV", NULL, input_run, input_check, 8, false});
}

/* ---- configuration
 * -------------------------------------------------------------------------------- */

static enum onerow_status config_status;
static enum onerow_status flags_status;
static size_t config_keys;

static void config_run(unsigned attempt)
{
    (void)attempt;
    struct or_config config;
    struct onerow_error error;
    struct or_config_flags file = {.config = "onerow.yaml"};
    const struct or_config_table *table = NULL;
    config_keys = 0;
    config_status = or_config_load(&config, &file, &error);
    if (config_status == ONEROW_OK) {
        config_status = or_config_table(&config, "predictions", &table, &error);
        config_keys = table ? table->spec.n_key : 0;
    }
    or_config_finish(&config);
    struct or_config_flags flags = {
        .store = "sqlite:///x.db", .table = "t", .key = "a,b:decimal", .on_conflict = "newest(c)"};
    flags_status = or_config_load(&config, &flags, &error);
    or_config_finish(&config);
}

static void config_check(unsigned attempt, bool harmed)
{
    (void)attempt;
    check_status("or_config_load", config_status, harmed);
    check_status("or_config_load with flags", flags_status, harmed);
    assert_true(config_status != ONEROW_OK || config_keys == 3);
}

static void test_config(void **state)
{
    (void)state;
    write_file("onerow.yaml",
               "stores:\n  app: { url: \"sqlite:${OOM_NAME}.db\" }\n"
               "tables:\n  areas: { store: app, key: Name, on_conflict: keep }\n"
               "  predictions:\n    store: app\n    location: main.predictions\n"
               "    key: [game, { column: player, type: text, normalize: [nfc, trim] },\n"
               "          { column: line, type: decimal, nulls: equal }]\n"
               "    on_conflict: newest(created_at)\n    secret: [token, password]\n"
               "    relations: { parent: areas, before: predictions }\n");
    assert_int_equal(setenv("OOM_NAME", "x", 1), 0);
    torture(&(struct scenario){"configuration", NULL, config_run, config_check, 50, false});
}

/* ---- dead letters
 * ------------------------------------------------------------------------------------ */

static struct {
    enum onerow_status written;
    enum onerow_status read;
    enum onerow_status settled;
    size_t seen;
    size_t decided;
} letters;

static bool count_letter(void *context, const struct or_letter *letter)
{
    (void)letter;
    ++*(size_t *)context;
    return true;
}

/* The first of the letters is done with. */
static enum or_letter_fate first_is_done(void *context, const struct or_letter *letter)
{
    ++*(size_t *)context;
    return letter->line == 1 ? OR_LETTER_DONE : OR_LETTER_STAYS;
}

static void letters_prepare(unsigned attempt)
{
    (void)attempt;
    drop("state");
}

static enum onerow_status write_letters(struct onerow_error *error)
{
    struct or_letter_box *box = NULL;
    enum onerow_status status = or_letter_box_open("state", &box, error);
    for (uint64_t line = 1; status == ONEROW_OK && line <= 2; line++) {
        struct or_letter letter = {.table = OR_SPAN("t"),
                                   .line = line,
                                   .outcome = OR_SPAN("rejected"),
                                   .reason = OR_SPAN("key column \"name\" is NULL"),
                                   .record = OR_SPAN("{\"name\":null,\"v\":[1,2]}")};
        status = or_letter_add(box, &letter, error);
    }
    if (status == ONEROW_OK) {
        status = or_letter_flush(box, error);
    }
    or_letter_box_close(box);
    return status;
}

static void letters_run(unsigned attempt)
{
    (void)attempt;
    struct onerow_error error;
    memset(&letters, 0, sizeof letters);
    letters.written = write_letters(&error);
    letters.read = or_letters_read("state", count_letter, &letters.seen, NULL, &error);
    letters.settled = or_letters_settle("state", first_is_done, &letters.decided, NULL, &error);
}

static void letters_check(unsigned attempt, bool harmed)
{
    (void)attempt;
    struct onerow_error error;
    size_t there = 0;
    check_status("writing letters", letters.written, harmed);
    check_status("reading letters", letters.read, harmed);
    check_status("settling letters", letters.settled, harmed);
    assert_int_equal(or_letters_read("state", count_letter, &there, NULL, &error), ONEROW_OK);
    if (letters.written == ONEROW_OK) { /* only the first may be gone, when it was settled */
        assert_true(letters.read != ONEROW_OK || letters.seen == 2);
        assert_true(letters.settled != ONEROW_OK || (letters.decided == 2 && there == 1));
        assert_true(there >= 1);
    }
}

static void test_letters(void **state)
{
    (void)state;
    torture(
        &(struct scenario){"dead letters", letters_prepare, letters_run, letters_check, 30, false});
}

/* ---- a whole put
 * ---------------------------------------------------------------------------------------- */

static enum onerow_status run_status;
static struct or_run_stats run_stats;

static void whole_prepare(unsigned attempt)
{
    (void)attempt;
    drop("y.db");
    drop("y.db-wal");
    drop("y.db-shm");
    drop("y.db-onerow");
    drop("state");
    drop("results");
}

static void whole_run(unsigned attempt)
{
    (void)attempt;
    struct or_config config;
    struct onerow_error error;
    struct or_config_flags flags = {.store = "sqlite:y.db", .table = "t", .key = "name"};
    const struct or_config_table *table = NULL;
    memset(&run_stats, 0, sizeof run_stats);
    run_status = or_config_load(&config, &flags, &error);
    if (run_status == ONEROW_OK) {
        run_status = or_config_table(&config, "t", &table, &error);
    }
    if (run_status == ONEROW_OK) {
        const char *inputs[] = {"in.ndjson"};
        struct or_run_options options = {.config = &config,
                                         .table = table,
                                         .inputs = inputs,
                                         .n_inputs = 1,
                                         .results = "results",
                                         .create_table = true,
                                         .stop_fd = -1};
        run_status = or_run_put(&options, &run_stats, &error);
    }
    or_config_finish(&config);
}

/* Whether a result line of this name acknowledges its record. */
static bool line_acknowledges(const char *line, const char *name)
{
    return strstr(line, name) &&
           (strstr(line, "\"outcome\":\"created\"") || strstr(line, "\"outcome\":\"updated\"") ||
            strstr(line, "\"outcome\":\"unchanged\""));
}

static void check_results(void)
{
    FILE *file = fopen("results", "r");
    if (!file) {
        return;
    }
    char line[1024];
    while (fgets(line, sizeof line, file)) {
        for (char name = 'a'; name <= 'c'; name++) {
            char quoted[] = {'"', name, '"', '\0'};
            if (line_acknowledges(line, quoted)) {
                assert_int_equal(number("SELECT count(*) FROM t WHERE name = '%c'", name), 1);
            }
        }
    }
    fclose(file);
}

static void whole_check(unsigned attempt, bool harmed)
{
    (void)attempt;
    uint64_t told = 0;
    for (int outcome = ONEROW_CREATED; outcome <= ONEROW_IN_DOUBT; outcome++) {
        told += run_stats.outcome[outcome];
    }
    assert_int_equal(told, run_stats.read);
    if (!harmed) {
        assert_string_equal(onerow_status_name(run_status), "LEFT");
        assert_int_equal(run_stats.outcome[ONEROW_CREATED], 3);
        assert_int_equal(run_stats.letters, 1);
    } else if (run_status == ONEROW_LEFT) { /* it came through all the same */
        assert_int_equal(run_stats.outcome[ONEROW_CREATED], 3);
        assert_int_equal(run_stats.outcome[ONEROW_REFUSED], 1);
    } else {
        check_status("or_run_put", run_status, harmed);
    }
    size_t kept = 0;
    struct onerow_error error;
    assert_int_equal(or_letters_read(NULL, count_letter, &kept, NULL, &error), ONEROW_OK);
    uint64_t lost = run_stats.outcome[ONEROW_REFUSED] + run_stats.outcome[ONEROW_IN_DOUBT];
    assert_int_equal(lost, run_stats.letters + run_stats.unkept);
    assert_true(kept >= run_stats.letters);
    if (access("y.db", F_OK) == 0) {
        assert_int_equal(sqlite3_open("y.db", &outside), SQLITE_OK);
        if (number("SELECT count(*) FROM sqlite_master WHERE name = 't'") == 1) {
            check_results();
        }
        sqlite3_close(outside);
    }
}

static void test_whole_put(void **state)
{
    (void)state;
    write_file("in.ndjson", "{\"name\":\"a\",\"v\":1}\n{\"name\":\"b\",\"v\":1}\n"
                            "{\"name\":null}\n{\"name\":\"c\",\"v\":2}\n"
                            "{\"name\":\"a\",\"v\":3}\n");
    assert_int_equal(setenv("ONEROW_STATE", "state", 1), 0);
    torture(&(struct scenario){"put", whole_prepare, whole_run, whole_check, 300, false});
}

/* ---- leases ----------------------------------------------------------------------------------
 */

static struct {
    const char *url;
    enum onerow_status opened;
    enum onerow_status called;
    bool held;        /* the first call said so */
    uint64_t token;   /* then */
    uint64_t highest; /* that was ever told */
} leased;

static bool see_lease(void *context, const struct onerow_lease_view *view)
{
    (void)context;
    return view->token > 0;
}

static bool see_forced(void *context, const struct onerow_lease_forced *forced)
{
    (void)context;
    return forced->token > 0;
}

static bool add_byte(void *context, struct onerow_span body, uint64_t now,
                     struct or_buffer *becomes)
{
    (void)context;
    (void)now;
    or_buffer_span(becomes, (struct onerow_span){body.data, body.len % 8});
    or_buffer_char(becomes, 'x');
    return true;
}

static struct onerow_lease_claim lease_claim(const char *whose, unsigned attempt)
{
    struct onerow_lease_claim claim = {.name = OR_SPAN("job"),
                                       .who = OR_SPAN("{}"),
                                       .ttl_ms = 60000,
                                       .patience_ms = 60000,
                                       .queue = true};
    snprintf((char *)claim.nonce, sizeof claim.nonce, "%s%u", whose, attempt);
    return claim;
}

/* Two who want one lease; how each call ends is looked at only where it matters. */
static enum onerow_status call_leases(struct onerow_coordinator *at, unsigned attempt)
{
    const struct onerow_lease_ops *ops = at->type->leases;
    struct onerow_error error;
    struct or_arena arena;
    struct onerow_lease_claim a = lease_claim("a", attempt);
    struct onerow_lease_claim z = lease_claim("z", attempt);
    struct onerow_lease_forced forced = {.name = OR_SPAN("job"), .by = OR_SPAN("the test")};
    enum onerow_status status = ops->acquire(at, &a, &error);
    leased.held = status == ONEROW_OK && a.answer == ONEROW_LEASE_HELD;
    leased.token = a.token;
    or_arena_init(&arena);
    enum onerow_status all[] = {status,
                                ops->acquire(at, &z, &error),
                                ops->release(at, &a, &error),
                                ops->force(at, &forced, &arena, &error),
                                ops->list(at, OR_SPAN(""), true, see_lease, NULL, &error),
                                ops->trail(at, OR_SPAN(""), see_forced, NULL, &error),
                                ops->share(at, OR_SPAN("rate"), add_byte, NULL, &error),
                                ops->cancel(at, &z, &error),
                                ops->cancel(at, &a, &error)};
    or_arena_finish(&arena);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        if (all[i] != ONEROW_OK && all[i] != ONEROW_ABSENT) {
            status = all[i];
        }
    }
    return status;
}

static void lease_run(unsigned attempt)
{
    struct onerow_error error;
    struct onerow_coordinator *at = NULL;
    struct onerow_coordinator_options options = {.url = leased.url, .wait_ms = 60000};
    const struct onerow_coordinator_type *type = or_coordinator_type_of(leased.url);
    leased.held = false;
    leased.opened = type->open(&options, &at, &error);
    leased.called = at ? call_leases(at, attempt) : ONEROW_OK;
    type->close(at);
}

/* Whatever failed: nobody else is told the same token, and the lease can be had again. */
static void lease_check(unsigned attempt, bool harmed)
{
    struct onerow_error error;
    struct onerow_coordinator *at = NULL;
    struct onerow_coordinator_options options = {.url = leased.url, .wait_ms = 60000};
    const struct onerow_coordinator_type *type = or_coordinator_type_of(leased.url);
    bool fine = leased.opened == ONEROW_OK && leased.called == ONEROW_OK && leased.held;
    assert_true(harmed || fine);
    assert_true(!leased.held || leased.token > leased.highest);
    leased.highest = leased.held ? leased.token : leased.highest;
    assert_int_equal(type->open(&options, &at, &error), ONEROW_OK);
    static const char *const whose[] = {"a", "z"};
    for (size_t i = 0; i < 2; i++) { /* whose nonces may still have it */
        struct onerow_lease_claim claim = lease_claim(whose[i], attempt);
        assert_int_equal(at->type->leases->cancel(at, &claim, &error), ONEROW_OK);
    }
    struct onerow_lease_claim claim = lease_claim("check", attempt);
    assert_int_equal(at->type->leases->acquire(at, &claim, &error), ONEROW_OK);
    assert_int_equal(claim.answer, ONEROW_LEASE_HELD);
    assert_true(claim.token > leased.highest);
    leased.highest = claim.token;
    assert_int_equal(at->type->leases->release(at, &claim, &error), ONEROW_OK);
    type->close(at);
}

static void torture_leases(const char *url, long at_least, bool keeps)
{
    memset(&leased, 0, sizeof leased);
    leased.url = url;
    torture(&(struct scenario){url, NULL, lease_run, lease_check, at_least, keeps});
}

static void test_leases_in_memory(void **state)
{
    (void)state;
    torture_leases("memory:oom", 6, true);
}

static void test_leases_in_sqlite(void **state)
{
    (void)state;
    torture_leases("sqlite:x.db", 100, false);
}

/* ---- negative control
 * ------------------------------------------------------------------------------------- */

static char *kept;

static void leaky_run(unsigned attempt)
{
    (void)attempt;
    kept = malloc(8);
    char *second = malloc(8);
    if (second) {
        free(kept); /* the naive way: what came before is forgotten when this one fails */
        kept = NULL;
    }
    free(second);
}

static void test_a_leak_is_seen(void **state)
{
    (void)state;
    long before = live;
    lasting = false;
    left = 1;
    happened = false;
    armed = true;
    leaky_run(0);
    armed = false;
    assert_true(happened);
    assert_int_equal(live - before, 1);
    free(kept);
    assert_int_equal(live, before);
    /* Another library's allocations are met, too. */
    left = 0;
    armed = true;
    char *copy = strdup("x");
    sqlite3 *db = NULL;
    lasting = true;
    int code = sqlite3_open(":memory:", &db);
    armed = false;
    assert_null(copy);
    assert_int_equal(code, SQLITE_NOMEM);
    sqlite3_close(db);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, make_folder, drop_folder)
    const struct CMUnitTest tests[] = {
        CASE(test_a_leak_is_seen),   CASE(test_ndjson),
        CASE(test_packed),           CASE(test_csv),
        CASE(test_config),           CASE(test_letters),
        CASE(test_library),          CASE(test_big_values),
        CASE(test_whole_put),        CASE(test_leases_in_memory),
        CASE(test_leases_in_sqlite),
    };
#undef CASE
    return cmocka_run_group_tests(tests, NULL, NULL);
}
