/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/bench.h"

#include <errno.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/text.h"
#include "core/key.h"
#include "core/order.h"
#include "engine/audit.h"
#include "engine/driver_blocking.h"

/* ---- folder ------------------------------------------------------------------------ */

void bench_start(struct bench *b)
{
    *b = (struct bench){.wait_ms = 60000};
    or_arena_init(&b->arena);
    const char *base = getenv("TMPDIR");
    assert_true(asprintf(&b->folder, "%s/onerow-bench-XXXXXX", base ? base : "/tmp") > 0);
    assert_non_null(mkdtemp(b->folder));
    b->path = bench_file(b, "x.db");
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *place)
{
    (void)st;
    (void)type;
    (void)place;
    return remove(path);
}

void bench_stop(struct bench *b)
{
    bench_close(b);
    nftw(b->folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(b->folder);
    or_arena_finish(&b->arena);
}

const char *text(struct bench *b, const char *format, ...)
{
    struct or_buffer made;
    va_list args;
    char *line = NULL;
    va_start(args, format);
    int len = vasprintf(&line, format, args);
    va_end(args);
    assert_true(len >= 0);
    or_buffer_init(&made);
    or_buffer_add(&made, line, (size_t)len);
    const char *kept = or_arena_copy(&b->arena, or_buffer_view(&made)).data;
    or_buffer_finish(&made);
    free(line);
    assert_non_null(kept);
    return kept;
}

const char *bench_file(struct bench *b, const char *name)
{
    return text(b, "%s/%s", b->folder, name);
}

/* ---- store and table ------------------------------------------------------------------ */

static void close_table(struct bench *b)
{
    if (b->table.store) {
        b->table.store->type->table_close(b->table.table);
    }
    b->table.table = NULL;
    or_table_unindex(&b->table);
}

void bench_close(struct bench *b)
{
    close_table(b);
    if (b->table.store) {
        b->table.store->type->close(b->table.store);
    }
    b->table.store = NULL;
}

enum onerow_status bench_store(struct bench *b, const char *url)
{
    bench_close(b);
    struct onerow_store_options options = {.wait_ms = b->wait_ms, .may_create = true};
    b->error = (struct onerow_error){0};
    b->status = or_store_open(text(b, "%s", url), &options, &b->table.store, &b->error);
    return b->status;
}

/* The parts of "name[:type],…". */
static size_t split_columns(struct bench *b, const char *list, const char *names[],
                            enum onerow_type types[], size_t room)
{
    size_t n = 0;
    char *copy = (char *)(uintptr_t)or_arena_copy(&b->arena, or_span(list)).data;
    char *rest = NULL;
    assert_non_null(copy);
    for (char *part = strtok_r(copy, ",", &rest); part; part = strtok_r(NULL, ",", &rest)) {
        char *colon = strrchr(part, ':');
        types[n] = ONEROW_TYPE_UNKNOWN;
        if (colon) {
            *colon = '\0';
            types[n] = strcmp(colon + 1, "json") == 0 ? ONEROW_TYPE_JSON
                                                      : or_type_of_name(or_span(colon + 1));
        }
        assert_true(n < room);
        names[n++] = part;
    }
    return n;
}

static void set_spec(struct bench *b, const char *location, const char *key)
{
    const char *names[ONEROW_KEY_COLUMNS_MAX];
    enum onerow_type types[ONEROW_KEY_COLUMNS_MAX];
    struct onerow_table_spec *spec = &b->table.spec;
    spec->n_key = split_columns(b, key, names, types, ONEROW_KEY_COLUMNS_MAX);
    struct onerow_key_column *columns =
        or_arena_alloc(&b->arena, spec->n_key * sizeof(struct onerow_key_column));
    assert_non_null(columns);
    for (size_t i = 0; i < spec->n_key; i++) {
        columns[i] = (struct onerow_key_column){.name = names[i],
                                                .type = types[i],
                                                .normalize = b->normalize,
                                                .nulls_equal = b->nulls_equal};
    }
    spec->key = columns;
    spec->location = text(b, "%s", location);
    spec->name = spec->location;
    spec->compare_order = or_order_compare;
    spec->want_ids = true;
}

enum onerow_status bench_look(struct bench *b, const char *location, const char *key)
{
    close_table(b);
    set_spec(b, location, key);
    b->error = (struct onerow_error){0};
    b->status = b->table.store->type->table_open(b->table.store, &b->table.spec, &b->table.table,
                                                 &b->error);
    if (b->status != ONEROW_OK) {
        assert_null(b->table.table);
        return b->status;
    }
    assert_true(or_table_index(&b->table));
    return ONEROW_OK;
}

enum onerow_status bench_create(struct bench *b, const char *location, const char *key,
                                const char *columns)
{
    static const char *names[ONEROW_COLUMNS_MAX];
    static enum onerow_type types[ONEROW_COLUMNS_MAX];
    static struct onerow_new_column made[ONEROW_COLUMNS_MAX];
    size_t n = split_columns(b, columns, names, types, ONEROW_COLUMNS_MAX);
    for (size_t i = 0; i < n; i++) {
        made[i] = (struct onerow_new_column){or_span(names[i]), types[i]};
    }
    close_table(b);
    set_spec(b, location, key);
    b->error = (struct onerow_error){0};
    b->status = b->table.store->type->table_create(b->table.store, &b->table.spec, made, n, NULL,
                                                   &b->error);
    return b->status;
}

/* ---- records ----------------------------------------------------------------------------- */

struct pile {
    struct or_entry *entries;
    struct or_entry **sorted; /* those that may be written */
    size_t n;
    size_t n_sorted;
};

static struct onerow_span quotes_doubled(struct bench *b, const char *records)
{
    struct onerow_span copy = or_arena_copy(&b->arena, or_span(records));
    assert_non_null(copy.data);
    char *at = (char *)(uintptr_t)copy.data;
    for (; *at; at++) {
        *at = *at == '\'' ? '"' : *at;
    }
    return copy;
}

static void bind_line(struct bench *b, struct or_entry *entry, struct onerow_span line)
{
    struct or_item item = {0};
    assert_int_equal(or_input_parse_json(line, &b->arena, &item), ONEROW_OK);
    if (item.kind != OR_ITEM_RECORD) {
        or_entry_refuse(entry, item.reason);
        return;
    }
    for (size_t i = 0; i < item.n_fields && b->untyped; i++) {
        struct onerow_value *value = &item.fields[i].value;
        value->kind = value->kind == ONEROW_TEXT ? ONEROW_UNTYPED : value->kind;
    }
    assert_true(or_entry_bind(entry, &b->table, &item, &b->arena));
}

static struct pile bind_all(struct bench *b, struct onerow_span lines)
{
    size_t room = 1;
    for (size_t i = 0; i < lines.len; i++) {
        room += lines.data[i] == '\n';
    }
    struct pile pile = {.entries = or_arena_alloc(&b->arena, room * sizeof(struct or_entry)),
                        .sorted = or_arena_alloc(&b->arena, room * sizeof(struct or_entry *))};
    assert_true(pile.entries && pile.sorted);
    while (lines.len) {
        const char *end = memchr(lines.data, '\n', lines.len);
        size_t len = end ? (size_t)(end - lines.data) : lines.len;
        struct or_entry *entry = &pile.entries[pile.n++];
        *entry = (struct or_entry){.line = pile.n};
        bind_line(b, entry, (struct onerow_span){lines.data, len});
        if (entry->outcome == ONEROW_PENDING) {
            pile.sorted[pile.n_sorted++] = entry;
        }
        len += end != NULL;
        lines = (struct onerow_span){lines.data + len, lines.len - len};
    }
    or_entries_sort(pile.sorted, pile.n_sorted);
    return pile;
}

static const char *outcomes(struct bench *b, const struct pile *pile)
{
    struct or_buffer list;
    struct or_buffer ids;
    or_buffer_init(&list);
    or_buffer_init(&ids);
    for (size_t i = 0; i < pile->n; i++) {
        const struct or_entry *entry = &pile->entries[i];
        or_buffer_printf(&list, "%s%s%s%s", i ? "," : "",
                         onerow_outcome_name((enum onerow_outcome)entry->outcome),
                         entry->reason ? ":" : "", entry->reason ? entry->reason : "");
        or_buffer_text(&ids, i ? "," : "");
        or_buffer_span(&ids, entry->id.data ? entry->id : OR_SPAN("-"));
    }
    const char *kept = text(b, "%s", or_buffer_cstr(&list));
    b->ids = text(b, "%s", or_buffer_cstr(&ids));
    or_buffer_finish(&list);
    or_buffer_finish(&ids);
    return kept;
}

static enum onerow_status apply_pile(struct bench *b, struct pile *pile)
{
    size_t n = pile->n_sorted;
    const struct onerow_record **records = or_arena_alloc(&b->arena, (n + 1) * sizeof *records);
    struct onerow_verdict *verdicts = or_arena_alloc(&b->arena, (n + 1) * sizeof *verdicts);
    assert_true(records && verdicts);
    for (size_t i = 0; i < n; i++) {
        records[i] = &pile->sorted[i]->record;
    }
    struct onerow_store_table *table = b->table.table;
    enum onerow_status status =
        table->store->type->apply(table, records, n, verdicts, &b->arena, &b->error);
    for (size_t i = 0; i < n && status == ONEROW_OK; i++) {
        pile->sorted[i]->outcome = (uint8_t)verdicts[i].outcome;
        pile->sorted[i]->reason = verdicts[i].reason;
        pile->sorted[i]->id = verdicts[i].id;
    }
    return status;
}

static enum onerow_status put_by_hand(struct bench *b, struct pile *pile)
{
    struct onerow_store *store = b->table.store;
    enum onerow_status status = store->type->begin(store, NULL, &b->error);
    status = status == ONEROW_OK ? apply_pile(b, pile) : status;
    status = status == ONEROW_OK ? store->type->commit(store, &b->error) : status;
    if (status != ONEROW_OK) {
        store->type->rollback(store);
    }
    return status;
}

static const char *put_lines(struct bench *b, struct onerow_span lines)
{
    struct pile pile = bind_all(b, lines);
    struct or_drive_options options = {0};
    b->error = (struct onerow_error){0};
    b->status = ONEROW_OK;
    if (b->by_hand) {
        b->status = put_by_hand(b, &pile);
    } else if (pile.n_sorted) {
        b->status =
            or_drive_put(&b->table, pile.sorted, pile.n_sorted, &options, &b->arena, &b->error);
    }
    bool failed = b->by_hand && b->status != ONEROW_OK;
    return failed ? onerow_status_name(b->status) : outcomes(b, &pile);
}

const char *put(struct bench *b, const char *records)
{
    return put_lines(b, quotes_doubled(b, records));
}

const char *put_raw(struct bench *b, const char *records)
{
    return put_lines(b, or_span(records));
}

const char *apply(struct bench *b, const char *records)
{
    struct pile pile = bind_all(b, quotes_doubled(b, records));
    b->error = (struct onerow_error){0};
    b->status = apply_pile(b, &pile);
    return b->status == ONEROW_OK ? outcomes(b, &pile) : onerow_status_name(b->status);
}

static const char *get_line(struct bench *b, struct onerow_span key)
{
    struct or_entry entry = {0};
    struct onerow_span json = {0};
    struct onerow_span id = {0};
    bind_line(b, &entry, key);
    assert_true(entry.has_key);
    b->error = (struct onerow_error){0};
    b->status =
        b->table.store->type->get(b->table.table, &entry.record, &b->arena, &json, &id, &b->error);
    b->ids = id.data ? text(b, "%.*s", (int)id.len, id.data) : "-";
    return b->status == ONEROW_OK ? text(b, "%.*s", (int)json.len, json.data)
                                  : onerow_status_name(b->status);
}

const char *get(struct bench *b, const char *key)
{
    return get_line(b, quotes_doubled(b, key));
}

const char *get_raw(struct bench *b, const char *key)
{
    return get_line(b, or_span(key));
}

static void ignore_twins(void *context, const struct onerow_twins *twins)
{
    (void)context;
    (void)twins;
}

const char *audit(struct bench *b)
{
    struct or_audit_counts counts = {0};
    b->status = or_audit(&b->table, ignore_twins, NULL, &counts, &b->error);
    assert_int_equal(b->status, ONEROW_OK);
    return text(b, "%llu %llu", (unsigned long long)counts.keys,
                (unsigned long long)counts.keyless);
}

/* ---- the sqlite3 client --------------------------------------------------------------------- */

static const char *run_client(struct bench *b, const char *path, const char *statement, int *code)
{
    int ends[2];
    struct or_buffer out;
    or_buffer_init(&out);
    assert_int_equal(pipe(ends), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        dup2(ends[1], STDOUT_FILENO);
        dup2(ends[1], STDERR_FILENO);
        close(ends[0]);
        close(ends[1]);
        execlp("sqlite3", "sqlite3", "-batch", "-bail", "-cmd", ".timeout 20000", path, statement,
               (char *)NULL);
        dprintf(STDERR_FILENO, "sqlite3 is missing; run: apt-get install sqlite3");
        _exit(127);
    }
    close(ends[1]);
    char block[4096];
    for (ssize_t got = 0; (got = read(ends[0], block, sizeof block)) > 0;) {
        or_buffer_add(&out, block, (size_t)got);
    }
    close(ends[0]);
    *code = child_code(pid);
    struct onerow_span trimmed = or_span_trim(or_buffer_view(&out));
    const char *kept = text(b, "%.*s", (int)trimmed.len, trimmed.data);
    or_buffer_finish(&out);
    return kept;
}

const char *sql_in(struct bench *b, const char *path, const char *statement)
{
    int code = 0;
    const char *out = run_client(b, path, statement, &code);
    if (code != 0) {
        fail_msg("sqlite3 %s \"%s\": %s", path, statement, out);
    }
    return out;
}

const char *sql(struct bench *b, const char *statement)
{
    return sql_in(b, b->path, statement);
}

const char *sql_error(struct bench *b, const char *statement)
{
    int code = 0;
    const char *out = run_client(b, b->path, statement, &code);
    if (code == 0 || code == 127) {
        fail_msg("sqlite3 \"%s\" should have failed: %s", statement, out);
    }
    return out;
}

/* ---- processes ------------------------------------------------------------------------------- */

pid_t child(int (*run)(void *context), void *context)
{
    pid_t parent = getpid();
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid != 0) {
        return pid;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) {
        _exit(126);
    }
    setenv("CMOCKA_TEST_ABORT", "1", 1); /* a failed assertion ends the child */
    _exit(run(context));
}

int child_code(pid_t pid)
{
    int status = 0;
    while (waitpid(pid, &status, 0) < 0) {
        assert_int_equal(errno, EINTR);
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

void *share(size_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(memory != MAP_FAILED);
    return memory;
}

void give_back(void *memory, size_t size)
{
    munmap(memory, size);
}

static uint64_t dice_state = 1;

void seed_dice(void)
{
    const char *given = getenv("ONEROW_TEST_SEED");
    if (given) {
        dice_state = strtoull(given, NULL, 0);
    } else if (getrandom(&dice_state, sizeof dice_state, 0) != sizeof dice_state) {
        dice_state = (uint64_t)getpid();
    }
    dice_state = dice_state ? dice_state : 1;
    printf("# ONEROW_TEST_SEED=%llu\n", (unsigned long long)dice_state);
    fflush(stdout);
}

uint64_t dice(void)
{
    dice_state ^= dice_state << 13;
    dice_state ^= dice_state >> 7;
    dice_state ^= dice_state << 17;
    return dice_state * 0x2545f4914f6cdd1dU;
}

/* ---- assertions -------------------------------------------------------------------------------
 */

void assert_contains_at(const char *whole, const char *part, const char *file, int line)
{
    if (!strstr(whole, part)) {
        print_error("\"%s\"\n  does not contain \"%s\"\n", whole, part);
        _fail(file, line);
    }
}

void assert_status_at(struct bench *b, enum onerow_status wanted, const char *file, int line)
{
    if (b->status != wanted) {
        print_error("%s instead of %s: %s\n", onerow_status_name(b->status),
                    onerow_status_name(wanted), b->error.text);
        _fail(file, line);
    }
}
