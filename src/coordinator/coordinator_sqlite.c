/* SPDX-License-Identifier: Apache-2.0
 *
 * A coordinator in an SQLite file, for the processes of this host. The file is this coordinator's
 * own; it may be the application's database as well, since its tables begin with onerow_:
 *
 *   onerow_ledger_meta   one row: the ledger's id, the next number, the latest stamp, the file's
 *                        identity
 *   onerow_ledger_space  the namespaces and their definitions; why one is suspect
 *   onerow_ledger        the records
 *
 * Journal mode WAL and synchronous=FULL: what COMMIT has answered is on the disk. Every change is
 * one BEGIN IMMEDIATE transaction; writers take turns first (base/turn.c), because SQLite's busy
 * handler starves. A COMMIT that fails in a way that leaves its effect open is UNKNOWN.
 *
 * A file that was copied back from a backup has forgotten what happened since. It is known by its
 * inode and the time of its birth: a file with another identity than the one that was recorded
 * makes every namespace SUSPECT, and the new identity is recorded, in one transaction. (A backup
 * that was written into the old file keeps both: `witness` finds that out.)
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "base/flag.h"
#include "base/status.h"
#include "base/text.h"
#include "base/turn.h"
#include "coordinator/ledger_common.h"

#define FORMAT     "1"
#define FILE_MODE  0600U
#define LIST_ROWS  256 /* at a time, so that nobody waits for a listing's reader */
#define IDENTITY   64U
#define REASON_MAX 256U

enum statement {
    SQL_BEGIN_WRITE,
    SQL_BEGIN_READ,
    SQL_COMMIT,
    SQL_ROLLBACK,
    SQL_READ,
    SQL_WRITE,
    SQL_CLOCK,
    SQL_TICK,
    SQL_SPACE,
    SQL_SPACE_ADD,
    SQL_SPACE_STATE,
    SQL_SUSPECT,
    SQL_CONFIRM,
    SQL_NUMBER,
    SQL_RESERVE,
    SQL_LIST,
    SQL_FORGET,
    SQL_KINDS,
};

static const char *const TEXTS[SQL_KINDS] = {
    [SQL_BEGIN_WRITE] = "BEGIN IMMEDIATE",
    [SQL_BEGIN_READ] = "BEGIN",
    [SQL_COMMIT] = "COMMIT",
    [SQL_ROLLBACK] = "ROLLBACK",
    [SQL_READ] = "SELECT revision, state, since_ms, body FROM onerow_ledger "
                 "WHERE space = ?1 AND kind = ?2 AND name = ?3",
    [SQL_WRITE] = "INSERT INTO onerow_ledger (space, kind, name, revision, state, since_ms, body) "
                  "VALUES (?1, ?2, ?3, 1, ?4, coalesce(?5, 0), ?6) ON CONFLICT DO UPDATE SET "
                  "revision = revision + 1, state = excluded.state, body = excluded.body, "
                  "since_ms = coalesce(?5, since_ms)",
    [SQL_CLOCK] = "SELECT clock_ms FROM onerow_ledger_meta",
    [SQL_TICK] = "UPDATE onerow_ledger_meta SET clock_ms = ?1",
    [SQL_SPACE] = "SELECT number, definition, suspect FROM onerow_ledger_space WHERE name = ?1",
    [SQL_SPACE_ADD] = "INSERT INTO onerow_ledger_space (name, definition) VALUES (?1, ?2)",
    [SQL_SPACE_STATE] = "SELECT number, definition, suspect FROM onerow_ledger_space "
                        "WHERE number = ?1",
    [SQL_SUSPECT] = "UPDATE onerow_ledger_space SET suspect = ?2 WHERE ?1 IN (number, 0)",
    [SQL_CONFIRM] = "UPDATE onerow_ledger_space SET suspect = NULL WHERE number = ?1",
    [SQL_NUMBER] = "SELECT next_number FROM onerow_ledger_meta",
    [SQL_RESERVE] = "UPDATE onerow_ledger_meta SET next_number = ?1",
    [SQL_LIST] = "SELECT name, revision, state, since_ms, body FROM onerow_ledger WHERE "
                 "space = ?1 AND kind = ?2 AND name > ?3 AND (?4 >> state) & 1 AND since_ms < ?5 "
                 "ORDER BY name LIMIT ?6",
    [SQL_FORGET] = "DELETE FROM onerow_ledger WHERE space = ?1 AND kind = ?2 AND since_ms < ?3",
};

static const char SCHEMA[] =
    "CREATE TABLE IF NOT EXISTS onerow_ledger_meta (one INTEGER PRIMARY KEY CHECK (one = 1), "
    "format TEXT NOT NULL, ledger_id TEXT NOT NULL, next_number INTEGER NOT NULL, "
    "clock_ms INTEGER NOT NULL, file TEXT NOT NULL);"
    "CREATE TABLE IF NOT EXISTS onerow_ledger_space (number INTEGER PRIMARY KEY, "
    "name BLOB NOT NULL UNIQUE, definition BLOB NOT NULL, suspect TEXT);"
    "CREATE TABLE IF NOT EXISTS onerow_ledger (space INTEGER NOT NULL, kind INTEGER NOT NULL, "
    "name BLOB NOT NULL, revision INTEGER NOT NULL, state INTEGER NOT NULL, "
    "since_ms INTEGER NOT NULL, body BLOB NOT NULL, PRIMARY KEY (space, kind, name)) WITHOUT "
    "ROWID;";

struct sqlite {
    struct onerow_coordinator base;
    sqlite3 *db;
    char *path; /* owned */
    struct or_turn *turn;
    uint64_t wait_ms;
    const volatile bool *stop;
    char ledger_id[33];
    char why[REASON_MAX]; /* of the last namespace that was told to be suspect */
    sqlite3_stmt *statements[SQL_KINDS];
};

static struct sqlite *sqlite_of(struct onerow_coordinator *coordinator)
{
    return (struct sqlite *)coordinator;
}

/* ---- failures ---------------------------------------------------------------------------- */

static enum onerow_status classify(int code)
{
    switch (code & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED: return ONEROW_BUSY;
    case SQLITE_FULL: return ONEROW_FULL;
    case SQLITE_IOERR: return ONEROW_IO;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB: return ONEROW_CORRUPT;
    case SQLITE_READONLY:
        return code == SQLITE_READONLY_DBMOVED ? ONEROW_VANISHED : ONEROW_READONLY;
    case SQLITE_NOMEM: return ONEROW_NOMEM;
    case SQLITE_INTERRUPT: return ONEROW_INTERRUPTED;
    default: return ONEROW_UNAVAILABLE;
    }
}

static enum onerow_status fail(struct sqlite *sqlite, int code, const char *doing,
                               struct onerow_error *error)
{
    return or_fail(error, classify(code),
                   "the ledger %s: %s: %s\n  see that the file can be read "
                   "and written, then run the same command again",
                   sqlite->path, doing, sqlite3_errmsg(sqlite->db));
}

/* ---- statements ---------------------------------------------------------------------------- */

/* Prepared when first needed; NULL: it failed, and the connection says why. */
static sqlite3_stmt *statement(struct sqlite *sqlite, enum statement kind)
{
    if (!sqlite->statements[kind]) {
        sqlite3_prepare_v3(sqlite->db, TEXTS[kind], -1, SQLITE_PREPARE_PERSISTENT,
                           &sqlite->statements[kind], NULL);
    }
    return sqlite->statements[kind];
}

static int bind_span(sqlite3_stmt *sql, int at, struct onerow_span span)
{
    return sqlite3_bind_blob64(sql, at, span.len ? span.data : "", span.len, SQLITE_STATIC);
}

/* Steps a statement that gives no rows. */
static int finish(struct sqlite *sqlite, enum statement kind)
{
    sqlite3_stmt *sql = statement(sqlite, kind);
    if (!sql) {
        return sqlite3_extended_errcode(sqlite->db);
    }
    int code = sqlite3_step(sql);
    sqlite3_reset(sql);
    return code == SQLITE_DONE ? SQLITE_OK : code;
}

static int finish_with(struct sqlite *sqlite, enum statement kind, int64_t number)
{
    sqlite3_stmt *sql = statement(sqlite, kind);
    if (sql) {
        sqlite3_bind_int64(sql, 1, number);
    }
    return finish(sqlite, kind);
}

/* One number out of one row. */
static int ask_number(struct sqlite *sqlite, enum statement kind, uint64_t *number)
{
    sqlite3_stmt *sql = statement(sqlite, kind);
    int code = sql ? sqlite3_step(sql) : sqlite3_extended_errcode(sqlite->db);
    if (code == SQLITE_ROW) {
        *number = (uint64_t)sqlite3_column_int64(sql, 0);
        code = SQLITE_OK;
    } else if (code == SQLITE_DONE) {
        code = SQLITE_CORRUPT; /* the one row of meta is gone */
    }
    if (sql) {
        sqlite3_reset(sql);
    }
    return code;
}

/* As SQLite's integers go. */
static int64_t whole(uint64_t number)
{
    return number < INT64_MAX ? (int64_t)number : INT64_MAX;
}

static struct onerow_span column(sqlite3_stmt *sql, int at)
{
    const char *data = sqlite3_column_blob(sql, at);
    return (struct onerow_span){data ? data : "", (size_t)sqlite3_column_bytes(sql, at)};
}

/* ---- transactions -----------------------------------------------------------------------------
 */

static enum onerow_status begin(struct sqlite *sqlite, bool write, struct onerow_error *error)
{
    sqlite->base.round_trips++;
    if (write && sqlite->turn && !or_turn_take(sqlite->turn, sqlite->wait_ms, sqlite->stop)) {
        return sqlite->stop && or_flag_is_set(sqlite->stop)
                   ? or_fail(error, ONEROW_INTERRUPTED, "interrupted while waiting for the ledger")
                   : or_fail(error, ONEROW_BUSY, "the ledger %s stayed locked", sqlite->path);
    }
    int code = finish(sqlite, write ? SQL_BEGIN_WRITE : SQL_BEGIN_READ);
    if (code == SQLITE_OK) {
        return ONEROW_OK;
    }
    or_turn_give(sqlite->turn);
    return fail(sqlite, code, "starting a transaction", error);
}

static void undo(struct sqlite *sqlite)
{
    if (!sqlite3_get_autocommit(sqlite->db)) {
        finish(sqlite, SQL_ROLLBACK);
    }
    or_turn_give(sqlite->turn);
}

/* Ends the transaction that `code` came out of. A COMMIT that failed has an effect only if its last
 * frame was written, which BUSY and FULL exclude; of others nobody can tell. */
static enum onerow_status end(struct sqlite *sqlite, int code, const char *doing,
                              struct onerow_error *error)
{
    if (code != SQLITE_OK) {
        enum onerow_status status = fail(sqlite, code, doing, error);
        undo(sqlite);
        return status;
    }
    code = finish(sqlite, SQL_COMMIT);
    if (code == SQLITE_OK) {
        or_turn_give(sqlite->turn);
        return ONEROW_OK;
    }
    enum onerow_status status = fail(sqlite, code, "committing", error);
    undo(sqlite);
    return status == ONEROW_BUSY || status == ONEROW_FULL ? status
                                                          : or_fail(error, ONEROW_UNKNOWN,
                                                                    "the ledger %s: the commit "
                                                                    "failed, and may have happened",
                                                                    sqlite->path);
}

/* The clock in a transaction: never before the latest stamp. */
static int clock_now(struct sqlite *sqlite, uint64_t *now_ms)
{
    uint64_t stamped = 0;
    int code = ask_number(sqlite, SQL_CLOCK, &stamped);
    uint64_t wall = or_ledger_wall_ms();
    *now_ms = wall > stamped ? wall : stamped;
    return code;
}

/* ---- opening ------------------------------------------------------------------------------------
 */

static int on_busy(void *context, int count)
{
    struct sqlite *sqlite = context;
    if ((sqlite->stop && or_flag_is_set(sqlite->stop)) || (uint64_t)count >= sqlite->wait_ms) {
        return 0;
    }
    sqlite3_sleep(1);
    return 1;
}

/* What the file is known by. "" when it cannot be told, as for a file without a path. */
static void identify(const char *path, char identity[IDENTITY])
{
    struct statx file;
    identity[0] = '\0';
    if (statx(AT_FDCWD, path, 0, STATX_INO | STATX_BTIME, &file) == 0) {
        bool born = file.stx_mask & STATX_BTIME;
        snprintf(identity, IDENTITY, "%" PRIu64 "/%" PRId64 ".%09" PRIu32, (uint64_t)file.stx_ino,
                 born ? (int64_t)file.stx_btime.tv_sec : 0,
                 born ? (uint32_t)file.stx_btime.tv_nsec : 0);
    }
}

static int make_meta(struct sqlite *sqlite, const char *identity)
{
    char id[33];
    if (!or_ledger_random_id(id)) {
        return SQLITE_IOERR;
    }
    char *sql = sqlite3_mprintf("INSERT OR IGNORE INTO onerow_ledger_meta VALUES "
                                "(1, %Q, %Q, 1, 0, %Q)",
                                FORMAT, id, identity);
    int code = sql ? sqlite3_exec(sqlite->db, sql, NULL, NULL, NULL) : SQLITE_NOMEM;
    sqlite3_free(sql);
    return code;
}

/* The file is another one than the ledger was in: what it has forgotten cannot be known. */
static int note_identity(struct sqlite *sqlite, const char *was, const char *is)
{
    sqlite3_stmt *sql = statement(sqlite, SQL_SUSPECT);
    char *move = sqlite3_mprintf("UPDATE onerow_ledger_meta SET file = %Q", is);
    int code = sql && move ? sqlite3_exec(sqlite->db, move, NULL, NULL, NULL) : SQLITE_NOMEM;
    sqlite3_free(move);
    if (code == SQLITE_OK) {
        char why[REASON_MAX];
        snprintf(
            why, sizeof why,
            "the ledger's file is not the one that it was made in (%s, now %s): it was copied, "
            "or restored from a backup",
            was, is);
        sqlite3_bind_int64(sql, 1, 0);
        sqlite3_bind_text(sql, 2, why, -1, SQLITE_TRANSIENT);
        code = finish(sqlite, SQL_SUSPECT);
    }
    return code;
}

static int look_at_meta(struct sqlite *sqlite, const char *identity, bool *known)
{
    sqlite3_stmt *sql = NULL;
    char was[IDENTITY] = "";
    int code = sqlite3_prepare_v2(sqlite->db,
                                  "SELECT format, ledger_id, file FROM "
                                  "onerow_ledger_meta",
                                  -1, &sql, NULL);
    if (code == SQLITE_OK && sqlite3_step(sql) == SQLITE_ROW) {
        *known = strcmp((const char *)sqlite3_column_text(sql, 0), FORMAT) == 0;
        snprintf(sqlite->ledger_id, sizeof sqlite->ledger_id, "%s", sqlite3_column_text(sql, 1));
        snprintf(was, sizeof was, "%s", sqlite3_column_text(sql, 2));
    } else if (code == SQLITE_OK) {
        code = SQLITE_CORRUPT;
    }
    sqlite3_finalize(sql);
    return code == SQLITE_OK && *known && *identity && strcmp(was, identity) != 0
               ? note_identity(sqlite, was, identity)
               : code;
}

static enum onerow_status set_up(struct sqlite *sqlite, struct onerow_error *error)
{
    char identity[IDENTITY];
    bool known = true;
    enum onerow_status status = begin(sqlite, true, error);
    if (status != ONEROW_OK) {
        return status;
    }
    identify(sqlite->path, identity);
    int code = sqlite3_exec(sqlite->db, SCHEMA, NULL, NULL, NULL);
    code = code == SQLITE_OK ? make_meta(sqlite, identity) : code;
    code = code == SQLITE_OK ? look_at_meta(sqlite, identity, &known) : code;
    status = end(sqlite, code, "setting up", error);
    return status == ONEROW_OK && !known
               ? or_fail(error, ONEROW_CONFIG,
                         "the ledger %s was made by a newer version of onerow\n"
                         "  use that one",
                         sqlite->path)
               : status;
}

static void sqlite_close(struct onerow_coordinator *coordinator)
{
    if (!coordinator) {
        return;
    }
    struct sqlite *sqlite = sqlite_of(coordinator);
    for (size_t i = 0; i < SQL_KINDS; i++) {
        sqlite3_finalize(sqlite->statements[i]);
    }
    sqlite3_close(sqlite->db);
    or_turn_close(sqlite->turn);
    free(sqlite->path);
    free(sqlite);
}

static enum onerow_status connect_to(struct sqlite *sqlite, struct onerow_error *error)
{
    struct or_buffer queue;
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
    int code = sqlite3_open_v2(sqlite->path, &sqlite->db, flags, NULL);
    if (code != SQLITE_OK) {
        return or_fail(error, classify(code),
                       "the ledger %s: %s\n  see that its folder exists and "
                       "that this user may write there",
                       sqlite->path, sqlite->db ? sqlite3_errmsg(sqlite->db) : "out of memory");
    }
    sqlite3_extended_result_codes(sqlite->db, 1);
    sqlite3_busy_handler(sqlite->db, on_busy, sqlite);
    code = sqlite3_exec(sqlite->db, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL", NULL,
                        NULL, NULL);
    if (code != SQLITE_OK) {
        return fail(sqlite, code, "opening", error);
    }
    or_buffer_init(&queue);
    or_buffer_printf(&queue, "%s-onerow", sqlite->path);
    sqlite->turn = queue.failed ? NULL : or_turn_open(or_buffer_cstr(&queue), FILE_MODE);
    or_buffer_finish(&queue);
    return set_up(sqlite, error);
}

static enum onerow_status sqlite_open(const struct onerow_coordinator_options *options,
                                      struct onerow_coordinator **coordinator,
                                      struct onerow_error *error)
{
    extern const struct onerow_coordinator_type or_coordinator_sqlite;
    const char *path = strchr(options->url, ':') + 1;
    if (*path == '\0' || strcmp(path, ":memory:") == 0) {
        return or_fail(error, ONEROW_CONFIG,
                       "%s names no file\n  give a path, as in "
                       "sqlite:/var/lib/onerow/ledger.db",
                       options->url);
    }
    struct sqlite *sqlite = calloc(1, sizeof *sqlite);
    char *copy = strdup(path);
    if (!sqlite || !copy) {
        free(sqlite);
        free(copy);
        return or_fail(error, ONEROW_NOMEM, "out of memory");
    }
    *sqlite = (struct sqlite){.base = {.type = &or_coordinator_sqlite},
                              .path = copy,
                              .wait_ms = options->wait_ms,
                              .stop = options->stop};
    enum onerow_status status = connect_to(sqlite, error);
    if (status != ONEROW_OK) {
        sqlite_close(&sqlite->base);
        return status;
    }
    *coordinator = &sqlite->base;
    return ONEROW_OK;
}

/* ---- records
 * ------------------------------------------------------------------------------------- */

/* The record as it is; `body` borrowed until the statement is reset (reset_read). */
static int read_one(struct sqlite *sqlite, uint64_t space, struct onerow_ledger_record *record)
{
    sqlite3_stmt *sql = statement(sqlite, SQL_READ);
    if (!sql) {
        return sqlite3_extended_errcode(sqlite->db);
    }
    sqlite3_bind_int64(sql, 1, (int64_t)space);
    sqlite3_bind_int(sql, 2, (int)record->kind);
    bind_span(sql, 3, record->name);
    int code = sqlite3_step(sql);
    record->revision = 0;
    record->state = 0;
    record->since_ms = 0;
    record->body = (struct onerow_span){0};
    if (code == SQLITE_ROW) {
        record->revision = (uint64_t)sqlite3_column_int64(sql, 0);
        record->state = (uint8_t)sqlite3_column_int(sql, 1);
        record->since_ms = (uint64_t)sqlite3_column_int64(sql, 2);
        record->body = column(sql, 3);
    }
    return code == SQLITE_ROW || code == SQLITE_DONE ? SQLITE_OK : code;
}

static void reset_read(struct sqlite *sqlite)
{
    if (sqlite->statements[SQL_READ]) {
        sqlite3_reset(sqlite->statements[SQL_READ]);
    }
}

static enum onerow_status sqlite_read(struct onerow_coordinator *coordinator, uint64_t space,
                                      struct onerow_ledger_record *records, size_t n,
                                      uint64_t *now_ms, struct or_arena *arena,
                                      struct onerow_error *error)
{
    struct sqlite *sqlite = sqlite_of(coordinator);
    enum onerow_status status = begin(sqlite, false, error);
    if (status != ONEROW_OK) {
        return status;
    }
    int code = clock_now(sqlite, now_ms);
    for (size_t i = 0; i < n && code == SQLITE_OK; i++) {
        code = read_one(sqlite, space, &records[i]);
        if (code == SQLITE_OK && records[i].revision) {
            records[i].body = or_arena_copy(arena, records[i].body);
            code = records[i].body.data ? SQLITE_OK : SQLITE_NOMEM;
        }
        reset_read(sqlite);
    }
    return end(sqlite, code, "reading", error);
}

static int check(struct sqlite *sqlite, uint64_t space, const struct onerow_ledger_change *change,
                 bool *holds)
{
    struct onerow_ledger_record record = {.kind = change->kind, .name = change->name};
    int code = read_one(sqlite, space, &record);
    reset_read(sqlite);
    *holds = (change->revision == ONEROW_LEDGER_ANY || change->revision == record.revision) &&
             (change->states >> record.state & 1U);
    return code;
}

static int write_one(struct sqlite *sqlite, uint64_t space,
                     const struct onerow_ledger_change *change, uint64_t now_ms)
{
    sqlite3_stmt *sql = statement(sqlite, SQL_WRITE);
    if (!sql) {
        return sqlite3_extended_errcode(sqlite->db);
    }
    sqlite3_bind_int64(sql, 1, (int64_t)space);
    sqlite3_bind_int(sql, 2, (int)change->kind);
    bind_span(sql, 3, change->name);
    sqlite3_bind_int(sql, 4, change->state);
    if (change->stamp) {
        sqlite3_bind_int64(sql, 5, (int64_t)now_ms);
    } else {
        sqlite3_bind_null(sql, 5);
    }
    bind_span(sql, 6, change->body);
    int code = finish(sqlite, SQL_WRITE);
    sqlite3_clear_bindings(sql);
    return code;
}

static int try_swap(struct sqlite *sqlite, uint64_t space, struct onerow_ledger_swap *swap,
                    uint64_t now_ms)
{
    int code = SQLITE_OK;
    swap->done = true;
    for (size_t i = 0; i < swap->n && swap->done && code == SQLITE_OK; i++) {
        code = check(sqlite, space, &swap->changes[i], &swap->done);
    }
    for (size_t i = 0; i < swap->n && swap->done && code == SQLITE_OK; i++) {
        if (swap->changes[i].state) {
            code = write_one(sqlite, space, &swap->changes[i], now_ms);
        }
    }
    return code;
}

static enum onerow_status sqlite_swap(struct onerow_coordinator *coordinator, uint64_t space,
                                      struct onerow_ledger_swap *swaps, size_t n, uint64_t *now_ms,
                                      struct onerow_error *error)
{
    struct sqlite *sqlite = sqlite_of(coordinator);
    enum onerow_status status = begin(sqlite, true, error);
    if (status != ONEROW_OK) {
        return status;
    }
    int code = clock_now(sqlite, now_ms);
    code = code == SQLITE_OK ? finish_with(sqlite, SQL_TICK, (int64_t)*now_ms) : code;
    for (size_t i = 0; i < n && code == SQLITE_OK; i++) {
        code = try_swap(sqlite, space, &swaps[i], *now_ms);
    }
    return end(sqlite, code, "swapping", error);
}

/* ---- lists
 * --------------------------------------------------------------------------------------- */

struct page { /* of a listing */
    struct onerow_ledger_record records[LIST_ROWS];
    size_t n;
};

static int read_page(struct sqlite *sqlite, sqlite3_stmt *sql, struct onerow_span after,
                     struct or_arena *arena, struct page *page)
{
    int code = SQLITE_OK;
    page->n = 0;
    bind_span(sql, 3, after);
    while (page->n < LIST_ROWS && (code = sqlite3_step(sql)) == SQLITE_ROW) {
        struct onerow_ledger_record *record = &page->records[page->n++];
        record->name = or_arena_copy(arena, column(sql, 0));
        record->revision = (uint64_t)sqlite3_column_int64(sql, 1);
        record->state = (uint8_t)sqlite3_column_int(sql, 2);
        record->since_ms = (uint64_t)sqlite3_column_int64(sql, 3);
        record->body = or_arena_copy(arena, column(sql, 4));
        if (!record->name.data || !record->body.data) {
            code = SQLITE_NOMEM;
            break;
        }
    }
    sqlite3_reset(sql);
    (void)sqlite;
    return code == SQLITE_ROW || code == SQLITE_DONE ? SQLITE_OK : code;
}

static enum onerow_status sqlite_list(struct onerow_coordinator *coordinator, uint64_t space,
                                      enum onerow_ledger_kind kind, uint32_t states,
                                      uint64_t before_ms, onerow_visit_ledger *visit, void *context,
                                      struct onerow_error *error)
{
    struct sqlite *sqlite = sqlite_of(coordinator);
    sqlite3_stmt *sql = statement(sqlite, SQL_LIST);
    struct page *page = calloc(1, sizeof *page);
    struct or_arena arenas[2]; /* the page at hand, and the one before, where its first name lies */
    struct onerow_span after = {"", 0};
    int code = sql && page ? SQLITE_OK : SQLITE_NOMEM;
    bool on = true;
    or_arena_init(&arenas[0]);
    or_arena_init(&arenas[1]);
    if (code == SQLITE_OK) {
        sqlite3_bind_int64(sql, 1, (int64_t)space);
        sqlite3_bind_int(sql, 2, (int)kind);
        sqlite3_bind_int64(sql, 4, (int64_t)states);
        sqlite3_bind_int64(sql, 5, whole(before_ms));
        sqlite3_bind_int(sql, 6, LIST_ROWS);
    }
    for (unsigned turn = 0; on && code == SQLITE_OK; turn ^= 1U) {
        or_arena_reset(&arenas[turn]);
        code = read_page(sqlite, sql, after, &arenas[turn], page);
        for (size_t i = 0; i < page->n && on && code == SQLITE_OK; i++) {
            page->records[i].kind = kind;
            on = visit(context, &page->records[i]);
            after = page->records[i].name;
        }
        on = on && page->n == LIST_ROWS;
    }
    free(page);
    or_arena_finish(&arenas[0]);
    or_arena_finish(&arenas[1]);
    return code == SQLITE_OK ? ONEROW_OK : fail(sqlite, code, "listing", error);
}

static enum onerow_status sqlite_forget(struct onerow_coordinator *coordinator, uint64_t space,
                                        uint64_t before_ms, uint64_t *n, struct onerow_error *error)
{
    struct sqlite *sqlite = sqlite_of(coordinator);
    sqlite3_stmt *sql = statement(sqlite, SQL_FORGET);
    *n = 0;
    enum onerow_status status = begin(sqlite, true, error);
    if (status != ONEROW_OK) {
        return status;
    }
    if (sql) {
        sqlite3_bind_int64(sql, 1, (int64_t)space);
        sqlite3_bind_int(sql, 2, ONEROW_LEDGER_ATTEMPT);
        sqlite3_bind_int64(sql, 3, whole(before_ms));
    }
    int code = finish(sqlite, SQL_FORGET);
    *n = (uint64_t)sqlite3_changes(sqlite->db);
    return end(sqlite, code, "forgetting", error);
}

/* ---- namespaces and numbers --------------------------------------------------------------------
 */

/* The space that `kind` finds. *number 0: there is none. The definition is copied. */
static int find_space(struct sqlite *sqlite, enum statement kind, struct or_buffer *definition,
                      struct onerow_ledger_namespace *space)
{
    sqlite3_stmt *sql = statement(sqlite, kind);
    int code = sqlite3_step(sql);
    *space = (struct onerow_ledger_namespace){0};
    memcpy(space->ledger_id, sqlite->ledger_id, sizeof space->ledger_id);
    if (code == SQLITE_ROW) {
        space->number = (uint64_t)sqlite3_column_int64(sql, 0);
        or_buffer_span(definition, column(sql, 1));
        if (sqlite3_column_type(sql, 2) != SQLITE_NULL) {
            snprintf(sqlite->why, sizeof sqlite->why, "%s", sqlite3_column_text(sql, 2));
            space->why = sqlite->why;
            space->standing = ONEROW_LEDGER_SUSPECT;
        }
        code = SQLITE_DONE;
    }
    sqlite3_reset(sql);
    return definition->failed ? SQLITE_NOMEM : code == SQLITE_DONE ? SQLITE_OK : code;
}

static int add_space(struct sqlite *sqlite, struct onerow_span name, struct onerow_span definition)
{
    sqlite3_stmt *sql = statement(sqlite, SQL_SPACE_ADD);
    if (sql) {
        bind_span(sql, 1, name);
        bind_span(sql, 2, definition);
    }
    return finish(sqlite, SQL_SPACE_ADD);
}

static enum onerow_status sqlite_enter(struct onerow_coordinator *coordinator,
                                       struct onerow_span name, struct onerow_span definition,
                                       struct onerow_ledger_namespace *space,
                                       struct onerow_error *error)
{
    struct sqlite *sqlite = sqlite_of(coordinator);
    struct or_buffer was;
    sqlite3_stmt *sql = statement(sqlite, SQL_SPACE);
    enum onerow_status status = begin(sqlite, true, error);
    if (status != ONEROW_OK) {
        return status;
    }
    or_buffer_init(&was);
    int code = sql ? bind_span(sql, 1, name) : SQLITE_NOMEM;
    code = code == SQLITE_OK ? find_space(sqlite, SQL_SPACE, &was, space) : code;
    if (code == SQLITE_OK && space->number == 0) {
        code = add_space(sqlite, name, definition);
        code = code == SQLITE_OK ? find_space(sqlite, SQL_SPACE, &was, space) : code;
    }
    status = end(sqlite, code, "entering a namespace", error);
    if (status == ONEROW_OK && !or_span_equal(or_buffer_view(&was), definition)) {
        status = or_ledger_other_definition(name, or_buffer_view(&was), definition, error);
    }
    or_buffer_finish(&was);
    return status;
}

static enum onerow_status sqlite_reserve(struct onerow_coordinator *coordinator, uint64_t n,
                                         uint64_t *first, struct onerow_error *error)
{
    struct sqlite *sqlite = sqlite_of(coordinator);
    enum onerow_status status = begin(sqlite, true, error);
    if (status != ONEROW_OK) {
        return status;
    }
    int code = ask_number(sqlite, SQL_NUMBER, first);
    code = code == SQLITE_OK ? finish_with(sqlite, SQL_RESERVE, (int64_t)(*first + n)) : code;
    return end(sqlite, code, "reserving numbers", error);
}

static int suspect(struct sqlite *sqlite, uint64_t space, uint64_t number)
{
    sqlite3_stmt *sql = statement(sqlite, SQL_SUSPECT);
    int code = finish_with(sqlite, SQL_RESERVE, (int64_t)(number + 1));
    if (code == SQLITE_OK && sql) {
        sqlite3_bind_int64(sql, 1, (int64_t)space);
        sqlite3_bind_text(sql, 2, or_ledger_seen_above, -1, SQLITE_STATIC);
        code = finish(sqlite, SQL_SUSPECT);
    }
    return code;
}

static enum onerow_status sqlite_witness(struct onerow_coordinator *coordinator, uint64_t space,
                                         uint64_t number, struct onerow_ledger_namespace *state,
                                         struct onerow_error *error)
{
    struct sqlite *sqlite = sqlite_of(coordinator);
    struct or_buffer definition;
    uint64_t next = 0;
    sqlite3_stmt *sql = statement(sqlite, SQL_SPACE_STATE);
    enum onerow_status status = begin(sqlite, true, error);
    if (status != ONEROW_OK) {
        return status;
    }
    or_buffer_init(&definition);
    int code = ask_number(sqlite, SQL_NUMBER, &next);
    if (code == SQLITE_OK && number >= next) {
        code = suspect(sqlite, space, number);
    }
    if (code == SQLITE_OK) {
        code = sql ? sqlite3_bind_int64(sql, 1, (int64_t)space) : SQLITE_NOMEM;
    }
    code = code == SQLITE_OK ? find_space(sqlite, SQL_SPACE_STATE, &definition, state) : code;
    or_buffer_finish(&definition);
    return end(sqlite, code, "noting a number", error);
}

static enum onerow_status sqlite_confirm(struct onerow_coordinator *coordinator, uint64_t space,
                                         struct onerow_error *error)
{
    struct sqlite *sqlite = sqlite_of(coordinator);
    enum onerow_status status = begin(sqlite, true, error);
    if (status != ONEROW_OK) {
        return status;
    }
    int code = finish_with(sqlite, SQL_CONFIRM, (int64_t)space);
    return end(sqlite, code, "confirming", error);
}

static const struct onerow_ledger_ops ledger_ops = {
    .enter = sqlite_enter,
    .read = sqlite_read,
    .swap = sqlite_swap,
    .list = sqlite_list,
    .reserve = sqlite_reserve,
    .witness = sqlite_witness,
    .confirm = sqlite_confirm,
    .forget = sqlite_forget,
};

static const char *const schemes[] = {"sqlite:", NULL};

const struct onerow_coordinator_type or_coordinator_sqlite = {
    .name = "sqlite",
    .summary = "a file, for the processes of this host",
    .url = "sqlite:PATH",
    .schemes = schemes,
    .open = sqlite_open,
    .close = sqlite_close,
    .ledger = &ledger_ops,
};
