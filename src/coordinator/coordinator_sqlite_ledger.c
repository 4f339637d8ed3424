/* SPDX-License-Identifier: Apache-2.0
 *
 * The ledger's calls on an SQLite file. Each is one transaction, or, where it goes over many
 * records, a short one for each page of them, so that nobody waits for the length of a listing.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "base/status.h"
#include "base/text.h"
#include "coordinator/coordinator_sqlite.h"

#define PAGE       256                       /* records that list reads at a time, and */
#define PAGE_BYTES ((size_t)4 * 1024 * 1024) /* where it stops before */
#define FORGET     2000                      /* records in one transaction */

static sqlite3_int64 limited(uint64_t number)
{
    return number > INT64_MAX ? INT64_MAX : (sqlite3_int64)number;
}

/* Ends a transaction for a failure of SQLite's. */
static enum onerow_status undo(struct or_file *file, int code, const char *doing,
                               struct onerow_error *error)
{
    enum onerow_status status = or_file_fail(file, code, doing, error);
    or_file_rollback(file);
    return status;
}

/* ---- namespaces ------------------------------------------------------------------------------ */

struct space {
    uint64_t number;
    struct or_ledger_doubt doubt;
    char why[OR_FILE_WHY];
};

/* SQLITE_DONE: there is none. */
static int find_number(struct or_file *file, struct onerow_span name, uint64_t *number)
{
    sqlite3_stmt *stmt = or_file_sql(file, OR_FILE_SPACE_NAMED);
    or_file_bind(stmt, 1, name);
    int code = or_file_step(stmt);
    *number = code == SQLITE_ROW ? (uint64_t)sqlite3_column_int64(stmt, 0) : 0;
    sqlite3_reset(stmt);
    return code == SQLITE_ROW ? SQLITE_OK : code;
}

static int add_space(struct or_file *file, struct onerow_span name, struct onerow_span definition,
                     uint64_t *number)
{
    sqlite3_stmt *stmt = or_file_sql(file, OR_FILE_SPACE_ADD);
    or_file_bind(stmt, 1, name);
    or_file_bind(stmt, 2, definition);
    int code = or_file_finish(stmt);
    *number = (uint64_t)sqlite3_last_insert_rowid(file->db);
    return code;
}

/* Loads a namespace. With `definition`, CONFIG when it was made with another one. */
static enum onerow_status load_space(struct or_file *file, uint64_t number,
                                     const struct onerow_span *definition, struct space *space,
                                     struct onerow_error *error)
{
    sqlite3_stmt *stmt = or_file_sql(file, OR_FILE_SPACE_NUMBERED);
    sqlite3_bind_int64(stmt, 1, (sqlite3_int64)number);
    int code = or_file_step(stmt);
    if (code != SQLITE_ROW) {
        return or_file_fail(file, code == SQLITE_DONE ? SQLITE_CORRUPT : code, "reading", error);
    }
    *space = (struct space){.number = number,
                            .doubt = {.epoch = file->meta.epoch,
                                      .doubts = (uint64_t)sqlite3_column_int64(stmt, 0),
                                      .confirmed = (uint64_t)sqlite3_column_int64(stmt, 1)}};
    snprintf(space->why, sizeof space->why, "%s", (const char *)sqlite3_column_text(stmt, 2));
    enum onerow_status status = ONEROW_OK;
    struct onerow_span made = or_file_column(stmt, 4);
    if (definition && !or_span_equal(made, *definition)) {
        status = or_ledger_refuse_definition(or_file_column(stmt, 3), made, *definition, error);
    }
    sqlite3_reset(stmt);
    return status;
}

/* The ledger is not the one that it was, and says so from now on: every namespace is in doubt. */
static int doubt_all(struct or_file *file, const char *why)
{
    struct or_file_meta *meta = &file->meta;
    sqlite3_stmt *stmt = or_file_sql(file, OR_FILE_DOUBT_ALL);
    uint64_t left = ONEROW_LEDGER_NUMBERS - meta->next_number;
    meta->epoch++;
    meta->next_number += left > OR_LEDGER_LEAP ? OR_LEDGER_LEAP : left;
    meta->commits = meta->commits < file->marked ? file->marked : meta->commits;
    snprintf(meta->why, sizeof meta->why, "%s", why);
    sqlite3_bind_text(stmt, 1, file->place.text, -1, SQLITE_STATIC);
    sqlite3_bind_text(stmt, 2, meta->why, -1, SQLITE_STATIC);
    sqlite3_bind_int64(stmt, 3, (sqlite3_int64)meta->next_number);
    sqlite3_bind_int64(stmt, 4, (sqlite3_int64)meta->commits);
    return or_file_finish(stmt);
}

static enum onerow_status settle_doubt(struct or_file *file, struct onerow_error *error)
{
    char why[OR_FILE_WHY];
    int code = or_file_is_suspect(file, why) ? doubt_all(file, why) : SQLITE_OK;
    return code == SQLITE_OK ? ONEROW_OK : or_file_fail(file, code, "writing", error);
}

static enum onerow_status find_or_add(struct or_file *file, struct onerow_span name,
                                      struct onerow_span definition, uint64_t *number,
                                      struct onerow_error *error)
{
    int code = find_number(file, name, number);
    if (code == SQLITE_DONE) {
        code = add_space(file, name, definition, number);
    }
    return code == SQLITE_OK ? ONEROW_OK : or_file_fail(file, code, "entering", error);
}

/* Tells the caller, after the commit, what the namespace is. */
static enum onerow_status tell(struct or_file *file, const struct space *space,
                               struct onerow_ledger_namespace *out, struct onerow_error *error)
{
    enum onerow_ledger_standing standing = or_ledger_standing(&space->doubt);
    bool suspect = standing == ONEROW_LEDGER_SUSPECT;
    snprintf(file->why, sizeof file->why, "%s", *space->why ? space->why : file->meta.why);
    *out = (struct onerow_ledger_namespace){
        .number = space->number, .standing = standing, .why = suspect ? file->why : NULL};
    memcpy(out->ledger_id, file->meta.id, sizeof out->ledger_id);
    return or_ledger_entered(&file->entries, space->number, or_ledger_generation(&space->doubt))
               ? ONEROW_OK
               : or_fail(error, ONEROW_NOMEM, "out of memory");
}

static enum onerow_status sqlite_enter(struct onerow_coordinator *base, struct onerow_span name,
                                       struct onerow_span definition,
                                       struct onerow_ledger_namespace *out,
                                       struct onerow_error *error)
{
    struct or_file *file = or_file_of(base);
    struct space space = {0};
    uint64_t number = 0;
    enum onerow_status status = or_file_begin(file, true, error);
    if (status != ONEROW_OK) {
        return status;
    }
    status = settle_doubt(file, error);
    if (status == ONEROW_OK) {
        status = find_or_add(file, name, definition, &number, error);
    }
    if (status == ONEROW_OK) {
        status = load_space(file, number, &definition, &space, error);
    }
    if (status != ONEROW_OK) {
        or_file_rollback(file);
        return status;
    }
    status = or_file_commit(file, error);
    return status == ONEROW_OK ? tell(file, &space, out, error) : status;
}

/* Begins a transaction on a namespace that is as it was when it was entered. */
static enum onerow_status begin_in(struct or_file *file, bool write, uint64_t number,
                                   struct onerow_error *error)
{
    char why[OR_FILE_WHY];
    struct space space = {0};
    uint64_t entered = or_ledger_generation_of(&file->entries, number);
    enum onerow_status status = or_file_begin(file, write, error);
    if (status != ONEROW_OK) {
        return status;
    }
    status = load_space(file, number, NULL, &space, error);
    if (status == ONEROW_OK &&
        (or_file_is_suspect(file, why) || or_ledger_generation(&space.doubt) != entered)) {
        status = or_ledger_changed(file->path, error);
    }
    if (status != ONEROW_OK) {
        or_file_rollback(file);
    }
    return status;
}

/* ---- reading --------------------------------------------------------------------------------- */

static sqlite3_stmt *bind_name(struct or_file *file, enum or_file_sql which, uint64_t space,
                               enum onerow_ledger_kind kind, struct onerow_span name)
{
    sqlite3_stmt *stmt = or_file_sql(file, which);
    sqlite3_bind_int64(stmt, 1, (sqlite3_int64)space);
    sqlite3_bind_int64(stmt, 2, kind);
    or_file_bind(stmt, 3, name);
    return stmt;
}

/* The columns revision, state, since and body, from `first` on. False: out of memory. */
static bool take_record(sqlite3_stmt *stmt, int first, struct onerow_ledger_record *out,
                        struct or_arena *arena)
{
    out->revision = (uint64_t)sqlite3_column_int64(stmt, first);
    out->state = (uint8_t)sqlite3_column_int(stmt, first + 1);
    out->since_ms = (uint64_t)sqlite3_column_int64(stmt, first + 2);
    out->body = or_arena_copy(arena, or_file_column(stmt, first + 3));
    return out->body.data;
}

static int read_one(struct or_file *file, uint64_t space, struct onerow_ledger_record *out,
                    struct or_arena *arena)
{
    *out = (struct onerow_ledger_record){.kind = out->kind, .name = out->name};
    sqlite3_stmt *stmt = bind_name(file, OR_FILE_READ, space, out->kind, out->name);
    int code = or_file_step(stmt);
    if (code == SQLITE_ROW) {
        code = take_record(stmt, 0, out, arena) ? SQLITE_DONE : SQLITE_NOMEM;
    }
    sqlite3_reset(stmt);
    return code == SQLITE_DONE ? SQLITE_OK : code;
}

static enum onerow_status sqlite_read(struct onerow_coordinator *base, uint64_t number,
                                      struct onerow_ledger_record *records, size_t n,
                                      uint64_t *now_ms, struct or_arena *arena,
                                      struct onerow_error *error)
{
    struct or_file *file = or_file_of(base);
    for (size_t i = 0; i < n; i++) {
        or_ledger_check_name(records[i].kind, records[i].name);
    }
    enum onerow_status status = begin_in(file, false, number, error);
    if (status != ONEROW_OK) {
        return status;
    }
    int code = SQLITE_OK;
    for (size_t i = 0; code == SQLITE_OK && i < n; i++) {
        code = read_one(file, number, &records[i], arena);
    }
    if (code != SQLITE_OK) {
        return undo(file, code, "reading", error);
    }
    *now_ms = or_ledger_wall_ms();
    for (size_t i = 0; i < n; i++) {
        or_ledger_note_stamp(now_ms, records[i].since_ms);
    }
    return or_file_commit(file, error);
}

/* ---- swaps ----------------------------------------------------------------------------------- */

static int find(struct or_file *file, uint64_t space, const struct onerow_ledger_change *change,
                struct onerow_ledger_record *found)
{
    sqlite3_stmt *stmt = bind_name(file, OR_FILE_FIND, space, change->kind, change->name);
    int code = or_file_step(stmt);
    *found = (struct onerow_ledger_record){0};
    if (code == SQLITE_ROW) {
        found->revision = (uint64_t)sqlite3_column_int64(stmt, 0);
        found->state = (uint8_t)sqlite3_column_int(stmt, 1);
        found->since_ms = (uint64_t)sqlite3_column_int64(stmt, 2);
        code = SQLITE_DONE;
    }
    sqlite3_reset(stmt);
    return code == SQLITE_DONE ? SQLITE_OK : code;
}

static int write_one(struct or_file *file, uint64_t space,
                     const struct onerow_ledger_change *change,
                     const struct onerow_ledger_record *before, uint64_t now_ms)
{
    if (!change->state) {
        return SQLITE_OK;
    }
    sqlite3_stmt *stmt = bind_name(file, OR_FILE_WRITE, space, change->kind, change->name);
    sqlite3_bind_int64(stmt, 4, (sqlite3_int64)before->revision + 1);
    sqlite3_bind_int64(stmt, 5, change->state);
    sqlite3_bind_int64(stmt, 6, (sqlite3_int64)or_ledger_stamp(change, before->since_ms, now_ms));
    or_file_bind(stmt, 7, change->body);
    return or_file_finish(stmt);
}

static int swap_one(struct or_file *file, uint64_t space, struct onerow_ledger_swap *swap,
                    uint64_t *now_ms)
{
    struct onerow_ledger_record found[ONEROW_LEDGER_CHANGES];
    int code = SQLITE_OK;
    bool holds = true;
    for (size_t i = 0; code == SQLITE_OK && i < swap->n; i++) {
        code = find(file, space, &swap->changes[i], &found[i]);
        or_ledger_note_stamp(now_ms, found[i].since_ms);
        holds &= or_ledger_holds(&swap->changes[i], found[i].revision, found[i].state);
    }
    for (size_t i = 0; code == SQLITE_OK && holds && i < swap->n; i++) {
        code = write_one(file, space, &swap->changes[i], &found[i], *now_ms);
    }
    swap->done = code == SQLITE_OK && holds;
    return code;
}

static enum onerow_status sqlite_swap(struct onerow_coordinator *base, uint64_t number,
                                      struct onerow_ledger_swap *swaps, size_t n, uint64_t *now_ms,
                                      struct onerow_error *error)
{
    struct or_file *file = or_file_of(base);
    or_ledger_check(swaps, n);
    or_ledger_undo(swaps, n);
    enum onerow_status status = begin_in(file, true, number, error);
    if (status != ONEROW_OK) {
        return status;
    }
    int code = SQLITE_OK;
    bool any = false;
    *now_ms = or_ledger_wall_ms();
    for (size_t i = 0; code == SQLITE_OK && i < n; i++) {
        code = swap_one(file, number, &swaps[i], now_ms);
        any |= swaps[i].done;
    }
    if (code != SQLITE_OK) {
        status = undo(file, code, "writing", error);
    } else if (any) {
        status = or_file_commit(file, error);
    } else {
        or_file_rollback(file); /* all were refused: there is nothing to make durable */
    }
    if (status != ONEROW_OK) {
        or_ledger_undo(swaps, n);
    }
    return status;
}

/* ---- listing and forgetting ------------------------------------------------------------------ */

struct listing {
    uint64_t space;
    enum onerow_ledger_kind kind;
    uint32_t states;
    uint64_t before_ms;
    char from[ONEROW_LEDGER_NAME_MAX + 1]; /* the first name that is still to be visited */
    size_t from_len;
    struct onerow_ledger_record page[PAGE];
    size_t n;
};

/* The next name after this one in the order of bytes is this one and a zero byte. */
static void go_past(struct listing *listing, struct onerow_span name)
{
    memcpy(listing->from, name.data, name.len);
    listing->from[name.len] = '\0';
    listing->from_len = name.len + 1;
}

static int read_page(struct or_file *file, struct listing *listing, struct or_arena *arena)
{
    struct onerow_span from = {listing->from, listing->from_len};
    sqlite3_stmt *stmt = bind_name(file, OR_FILE_LIST, listing->space, listing->kind, from);
    sqlite3_bind_int64(stmt, 4, listing->states);
    sqlite3_bind_int64(stmt, 5, limited(listing->before_ms));
    sqlite3_bind_int64(stmt, 6, PAGE);
    int code = SQLITE_ROW;
    listing->n = 0;
    while (arena->used < PAGE_BYTES && (code = or_file_step(stmt)) == SQLITE_ROW) {
        struct onerow_ledger_record *out = &listing->page[listing->n++];
        *out = (struct onerow_ledger_record){.kind = listing->kind,
                                             .name = or_arena_copy(arena, or_file_column(stmt, 0))};
        if (!out->name.data || !take_record(stmt, 1, out, arena)) {
            code = SQLITE_NOMEM;
            break;
        }
    }
    if (stmt) {
        sqlite3_reset(stmt);
    }
    if (listing->n && code != SQLITE_NOMEM) {
        go_past(listing, listing->page[listing->n - 1].name);
    }
    return code == SQLITE_ROW || code == SQLITE_DONE ? SQLITE_OK : code;
}

static enum onerow_status list_page(struct or_file *file, struct listing *listing,
                                    struct or_arena *arena, struct onerow_error *error)
{
    enum onerow_status status = begin_in(file, false, listing->space, error);
    if (status != ONEROW_OK) {
        return status;
    }
    int code = read_page(file, listing, arena);
    return code == SQLITE_OK ? or_file_commit(file, error) : undo(file, code, "listing", error);
}

static enum onerow_status sqlite_list(struct onerow_coordinator *base, uint64_t number,
                                      enum onerow_ledger_kind kind, uint32_t states,
                                      uint64_t before_ms, onerow_visit_ledger *visit, void *context,
                                      struct onerow_error *error)
{
    struct listing listing = {
        .space = number, .kind = kind, .states = states, .before_ms = before_ms};
    struct or_arena arena;
    enum onerow_status status = ONEROW_OK;
    bool more = true;
    or_arena_init(&arena);
    while (status == ONEROW_OK && more) {
        or_arena_reset(&arena);
        status = list_page(or_file_of(base), &listing, &arena, error);
        more = status == ONEROW_OK && listing.n;
        for (size_t i = 0; more && i < listing.n; i++) {
            more = visit(context, &listing.page[i]);
        }
    }
    or_arena_finish(&arena);
    return status;
}

static enum onerow_status sqlite_forget(struct onerow_coordinator *base, uint64_t number,
                                        uint64_t before_ms, uint64_t *n, struct onerow_error *error)
{
    struct or_file *file = or_file_of(base);
    enum onerow_status status = ONEROW_OK;
    int forgotten = FORGET;
    *n = 0;
    while (status == ONEROW_OK && forgotten == FORGET) {
        status = begin_in(file, true, number, error);
        if (status != ONEROW_OK) {
            break;
        }
        sqlite3_stmt *stmt = or_file_sql(file, OR_FILE_FORGET);
        sqlite3_bind_int64(stmt, 1, (sqlite3_int64)number);
        sqlite3_bind_int64(stmt, 2, ONEROW_LEDGER_ATTEMPT);
        sqlite3_bind_int64(stmt, 3, limited(before_ms));
        sqlite3_bind_int64(stmt, 4, FORGET);
        int code = or_file_finish(stmt);
        forgotten = code == SQLITE_OK ? sqlite3_changes(file->db) : 0;
        status =
            code == SQLITE_OK ? or_file_commit(file, error) : undo(file, code, "forgetting", error);
        *n += status == ONEROW_OK ? (uint64_t)forgotten : 0;
    }
    return status;
}

/* ---- numbers and standing -------------------------------------------------------------------- */

static int set_next_number(struct or_file *file, uint64_t next)
{
    sqlite3_stmt *stmt = or_file_sql(file, OR_FILE_NUMBERS);
    sqlite3_bind_int64(stmt, 1, (sqlite3_int64)next);
    return or_file_finish(stmt);
}

static enum onerow_status sqlite_reserve(struct onerow_coordinator *base, uint64_t n,
                                         uint64_t *first, struct onerow_error *error)
{
    char why[OR_FILE_WHY];
    struct or_file *file = or_file_of(base);
    enum onerow_status status = or_file_begin(file, true, error);
    if (status != ONEROW_OK) {
        return status;
    }
    uint64_t next = file->meta.next_number;
    if (or_file_is_suspect(file, why)) {
        status = or_ledger_changed(file->path, error);
    } else if (n > ONEROW_LEDGER_NUMBERS - next) {
        status = or_ledger_out_of_numbers(error);
    }
    if (status != ONEROW_OK) {
        or_file_rollback(file);
        return status;
    }
    int code = set_next_number(file, next + n);
    *first = next;
    return code == SQLITE_OK ? or_file_commit(file, error) : undo(file, code, "writing", error);
}

static int doubt_space(struct or_file *file, struct space *space, uint64_t seen)
{
    snprintf(space->why, sizeof space->why,
             "the store shows the number %" PRIu64 ", which this ledger (next: %" PRIu64
             ") has never given out: it was rolled back, or another ledger writes there, too",
             seen, file->meta.next_number);
    space->doubt.doubts++;
    sqlite3_stmt *stmt = or_file_sql(file, OR_FILE_SPACE_DOUBT);
    sqlite3_bind_int64(stmt, 1, (sqlite3_int64)space->number);
    sqlite3_bind_text(stmt, 2, space->why, -1, SQLITE_STATIC);
    int code = or_file_finish(stmt);
    uint64_t next = file->meta.next_number > seen ? file->meta.next_number : seen + 1;
    return code == SQLITE_OK ? set_next_number(file, next) : code;
}

static enum onerow_status sqlite_witness(struct onerow_coordinator *base, uint64_t number,
                                         uint64_t seen, struct onerow_ledger_namespace *state,
                                         struct onerow_error *error)
{
    struct or_file *file = or_file_of(base);
    struct space space = {0};
    if (seen >= ONEROW_LEDGER_NUMBERS) {
        return or_ledger_refuse_number(seen, error);
    }
    enum onerow_status status = or_file_begin(file, true, error);
    if (status != ONEROW_OK) {
        return status;
    }
    bool news = seen >= file->meta.next_number;
    status = settle_doubt(file, error);
    if (status == ONEROW_OK) {
        status = load_space(file, number, NULL, &space, error);
    }
    if (status == ONEROW_OK && news) {
        int code = doubt_space(file, &space, seen);
        status = code == SQLITE_OK ? ONEROW_OK : or_file_fail(file, code, "writing", error);
    }
    if (status != ONEROW_OK) {
        or_file_rollback(file);
        return status;
    }
    status = or_file_commit(file, error);
    return status == ONEROW_OK ? tell(file, &space, state, error) : status;
}

static enum onerow_status sqlite_confirm(struct onerow_coordinator *base, uint64_t number,
                                         struct onerow_error *error)
{
    struct or_file *file = or_file_of(base);
    uint64_t entered = or_ledger_generation_of(&file->entries, number);
    enum onerow_status status = begin_in(file, true, number, error);
    if (status != ONEROW_OK) {
        return status;
    }
    sqlite3_stmt *stmt = or_file_sql(file, OR_FILE_SPACE_CONFIRM);
    sqlite3_bind_int64(stmt, 1, (sqlite3_int64)number);
    sqlite3_bind_int64(stmt, 2, (sqlite3_int64)entered);
    int code = or_file_finish(stmt);
    return code == SQLITE_OK ? or_file_commit(file, error) : undo(file, code, "writing", error);
}

/* ---- the table of calls ---------------------------------------------------------------------- */

const struct onerow_ledger_ops or_file_ledger = {
    .enter = sqlite_enter,
    .read = sqlite_read,
    .swap = sqlite_swap,
    .list = sqlite_list,
    .reserve = sqlite_reserve,
    .witness = sqlite_witness,
    .confirm = sqlite_confirm,
    .forget = sqlite_forget,
};
