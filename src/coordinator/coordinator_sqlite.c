/* SPDX-License-Identifier: Apache-2.0
 *
 * A ledger in an SQLite file, for the processes of one machine. The file is the coordinator's own.
 *
 * - Journal mode WAL and synchronous=FULL: what has been answered is on the disk. (EXTRA is set,
 *   which is FULL in WAL mode; a file system that cannot have WAL gets a rollback journal, and then
 *   EXTRA also syncs the folder.)
 * - Each write is one BEGIN IMMEDIATE transaction, taken in turn (base/turn.c): SQLite's own way of
 *   waiting starves. Many swaps of one call share the transaction, and its fsync.
 * - A read is one deferred transaction: a snapshot.
 * - What COMMIT answers decides what is claimed, as in the SQLite store: OK is durable; BUSY, FULL
 *   and CONSTRAINT mean that nothing was kept; anything else may come back after a crash, and is
 *   UNKNOWN. So is a commit into a file that is no longer the one at its path.
 * - Leases have a connection of their own, which does not wait for the disk:
 *   coordinator_sqlite_lease.c.
 * - Every write transaction counts itself in the ledger's row. coordinator_sqlite_place.c compares
 *   that with what is remembered outside of the file. To enter a namespace is a write, too: it
 *   makes durable whatever a process that was killed had left in the log.
 */
#include "coordinator/coordinator_sqlite.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/flag.h"
#include "base/status.h"
#include "base/text.h"

#define SCHEME          "sqlite:"
#define APPLICATION     0x6f6e726cU /* "onrl", in the file's header */
#define VERSION         2           /* of the tables; 1 had no leases */
#define JOURNAL_WAIT_MS 1000U
#define BUSY_NAP_US     1000

static const char *const texts[OR_FILE_STATEMENTS] = {
    [OR_FILE_BEGIN_READ] = "BEGIN",
    [OR_FILE_BEGIN_WRITE] = "BEGIN IMMEDIATE",
    [OR_FILE_COMMIT] = "COMMIT",
    [OR_FILE_ROLLBACK] = "ROLLBACK",
    [OR_FILE_META] = "SELECT ledger_id, place, coalesce(why, ''), next_number, epoch, commits "
                     "FROM onerow_ledger_meta",
    [OR_FILE_COUNT] = "UPDATE onerow_ledger_meta SET commits = ?1",
    [OR_FILE_DOUBT_ALL] = "UPDATE onerow_ledger_meta SET epoch = epoch + 1, place = ?1, why = ?2, "
                          "next_number = ?3, commits = ?4",
    [OR_FILE_SPACE_NAMED] = "SELECT number FROM onerow_ledger_space WHERE name = ?1",
    [OR_FILE_SPACE_NUMBERED] = "SELECT doubts, confirmed, coalesce(why, ''), name, definition "
                               "FROM onerow_ledger_space WHERE number = ?1",
    [OR_FILE_SPACE_ADD] = "INSERT INTO onerow_ledger_space(name, definition) VALUES (?1, ?2)",
    [OR_FILE_SPACE_DOUBT] = "UPDATE onerow_ledger_space SET doubts = doubts + 1, why = ?2 "
                            "WHERE number = ?1",
    [OR_FILE_SPACE_CONFIRM] = "UPDATE onerow_ledger_space SET confirmed = ?2, why = NULL "
                              "WHERE number = ?1",
    [OR_FILE_NUMBERS] = "UPDATE onerow_ledger_meta SET next_number = ?1",
    [OR_FILE_FIND] = "SELECT revision, state, since FROM onerow_ledger "
                     "WHERE space = ?1 AND kind = ?2 AND name = ?3",
    [OR_FILE_READ] = "SELECT revision, state, since, body FROM onerow_ledger "
                     "WHERE space = ?1 AND kind = ?2 AND name = ?3",
    [OR_FILE_WRITE] =
        "INSERT INTO onerow_ledger(space, kind, name, revision, state, since, body) "
        "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT(space, kind, name) DO UPDATE "
        "SET revision = ?4, state = ?5, since = ?6, body = ?7",
    [OR_FILE_LIST] =
        "SELECT name, revision, state, since, body FROM onerow_ledger WHERE space = ?1 "
        "AND kind = ?2 AND name >= ?3 AND (?4 >> state) & 1 AND since < ?5 "
        "ORDER BY name LIMIT ?6",
    [OR_FILE_FORGET] = "DELETE FROM onerow_ledger WHERE space = ?1 AND kind = ?2 AND name IN "
                       "(SELECT name FROM onerow_ledger WHERE space = ?1 AND kind = ?2 "
                       "AND since > 0 AND since < ?3 ORDER BY name LIMIT ?4)",
};

static const char ledger_tables[] =
    "CREATE TABLE onerow_ledger_meta(one INTEGER PRIMARY KEY CHECK (one = 1), ledger_id TEXT NOT "
    "NULL, place TEXT NOT NULL, why TEXT, next_number INTEGER NOT NULL DEFAULT 1, epoch INTEGER "
    "NOT NULL DEFAULT 0, commits INTEGER NOT NULL DEFAULT 0) STRICT;"
    "CREATE TABLE onerow_ledger_space(number INTEGER PRIMARY KEY AUTOINCREMENT, name BLOB NOT NULL "
    "UNIQUE, definition BLOB NOT NULL, doubts INTEGER NOT NULL DEFAULT 0, confirmed INTEGER NOT "
    "NULL DEFAULT 0, why TEXT) STRICT;"
    "CREATE TABLE onerow_ledger(space INTEGER NOT NULL, kind INTEGER NOT NULL, name BLOB NOT NULL, "
    "revision INTEGER NOT NULL, state INTEGER NOT NULL, since INTEGER NOT NULL, body BLOB NOT "
    "NULL, PRIMARY KEY(space, kind, name)) STRICT, WITHOUT ROWID;";

/* Where no boot is recorded, the next one that comes is taken: see coordinator_sqlite_lease.c. */
static const char lease_tables[] =
    "CREATE TABLE onerow_lease_meta(one INTEGER PRIMARY KEY CHECK (one = 1), boot TEXT NOT NULL, "
    "machine TEXT NOT NULL, place TEXT NOT NULL, base INTEGER NOT NULL, ceiling INTEGER NOT NULL) "
    "STRICT;"
    "INSERT INTO onerow_lease_meta VALUES (1, '', '', '', 0, 0);"
    "CREATE TABLE onerow_lease(name BLOB PRIMARY KEY, token INTEGER NOT NULL, nonce BLOB, expires "
    "INTEGER NOT NULL, since INTEGER NOT NULL, session INTEGER NOT NULL, inode INTEGER NOT NULL, "
    "device INTEGER NOT NULL, who BLOB NOT NULL) STRICT, WITHOUT ROWID;"
    "CREATE TABLE onerow_lease_wait(name BLOB NOT NULL, place INTEGER NOT NULL, nonce BLOB NOT "
    "NULL, until INTEGER NOT NULL, granted INTEGER NOT NULL, floor INTEGER NOT NULL, session "
    "INTEGER NOT NULL, inode INTEGER NOT NULL, device INTEGER NOT NULL, wake BLOB NOT NULL, who "
    "BLOB NOT NULL, PRIMARY KEY(name, place)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE onerow_lease_forced(number INTEGER PRIMARY KEY, name BLOB NOT NULL, who BLOB NOT "
    "NULL, by BLOB NOT NULL, token INTEGER NOT NULL, at INTEGER NOT NULL) STRICT;"
    "CREATE TABLE onerow_shared(name BLOB PRIMARY KEY, body BLOB NOT NULL) STRICT, WITHOUT ROWID;";

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000U + (uint64_t)now.tv_nsec / 1000000U;
}

/* ---- errors ---------------------------------------------------------------------------------- */

struct failure {
    enum onerow_status status;
    const char *advice;
};

static struct failure classify(int code, int os_error)
{
    switch (code & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED: return (struct failure){ONEROW_BUSY, "find who holds it: fuser -v FILE"};
    case SQLITE_FULL: return (struct failure){ONEROW_FULL, "free some space on its disk"};
    case SQLITE_IOERR:
        if (os_error == ENOSPC || os_error == EDQUOT) {
            return (struct failure){ONEROW_FULL, "free some space on its disk"};
        }
        return code == SQLITE_IOERR_NOMEM ? (struct failure){ONEROW_NOMEM, "give it more memory"}
                                          : (struct failure){ONEROW_IO, "look at the disk: dmesg"};
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return (struct failure){ONEROW_CORRUPT,
                                "look at it with: sqlite3 FILE 'PRAGMA integrity_check'"};
    case SQLITE_READONLY:
        if (code == SQLITE_READONLY_DBMOVED) {
            return (struct failure){ONEROW_VANISHED, "put the file back"};
        }
        return (struct failure){ONEROW_READONLY, "give this user write permission on the file and "
                                                 "its folder"};
    case SQLITE_NOMEM: return (struct failure){ONEROW_NOMEM, "give it more memory"};
    case SQLITE_INTERRUPT: return (struct failure){ONEROW_INTERRUPTED, "run again"};
    default:
        return (struct failure){ONEROW_UNAVAILABLE, "see that the file and its folder exist and "
                                                    "that this user may read and write them"};
    }
}

enum onerow_status or_file_fail(struct or_file *file, int code, const char *doing,
                                struct onerow_error *error)
{
    return or_file_fail_on(file, file->db, code, doing, error);
}

enum onerow_status or_file_fail_on(struct or_file *file, sqlite3 *db, int code, const char *doing,
                                   struct onerow_error *error)
{
    struct failure failure = classify(code, sqlite3_system_errno(db));
    if (failure.status == ONEROW_BUSY && or_flag_is_set(file->stop)) {
        return or_fail(error, ONEROW_INTERRUPTED, "interrupted while waiting for %s", file->path);
    }
    return or_fail(error, failure.status, "%s: %s: %s\n  %s", file->path, doing, sqlite3_errmsg(db),
                   failure.advice);
}

bool or_file_kept_nothing(int code)
{
    int kind = code & 0xff;
    return kind == SQLITE_BUSY || kind == SQLITE_CONSTRAINT || kind == SQLITE_FULL;
}

enum onerow_status or_file_gone(const struct or_file *file, enum onerow_status status,
                                struct onerow_error *error)
{
    or_fail(
        error, ONEROW_VANISHED,
        "%s: the ledger's file was moved or deleted while it was in use\n  put it back, and run "
        "again",
        file->path);
    return status;
}

/* ---- statements ------------------------------------------------------------------------------ */

sqlite3_stmt *or_file_prepared(sqlite3 *db, sqlite3_stmt **stmt, const char *text)
{
    if (*stmt) {
        sqlite3_reset(*stmt);
    } else if (sqlite3_prepare_v3(db, text, -1, SQLITE_PREPARE_PERSISTENT, stmt, NULL) !=
               SQLITE_OK) {
        return NULL;
    }
    return *stmt;
}

sqlite3_stmt *or_file_sql(struct or_file *file, enum or_file_sql which)
{
    return or_file_prepared(file->db, &file->statements[which], texts[which]);
}

int or_file_step(sqlite3_stmt *stmt)
{
    return stmt ? sqlite3_step(stmt) : SQLITE_ERROR;
}

void or_file_bind(sqlite3_stmt *stmt, int at, struct onerow_span bytes)
{
    sqlite3_bind_blob64(stmt, at, bytes.len ? bytes.data : "", bytes.len, SQLITE_STATIC);
}

struct onerow_span or_file_column(sqlite3_stmt *stmt, int column)
{
    const char *data = sqlite3_column_blob(stmt, column);
    return (struct onerow_span){data, (size_t)sqlite3_column_bytes(stmt, column)};
}

int or_file_finish(sqlite3_stmt *stmt)
{
    int code = or_file_step(stmt);
    if (stmt) {
        sqlite3_reset(stmt);
    }
    return code == SQLITE_DONE ? SQLITE_OK : code;
}

/* Runs a statement without parameters. */
static int run(struct or_file *file, enum or_file_sql which)
{
    return or_file_finish(or_file_sql(file, which));
}

/* ---- transactions ---------------------------------------------------------------------------- */

/* Called by SQLite while somebody else holds the lock: nap and try again until the time is over. */
static int on_busy(void *context, int tries)
{
    struct or_file *file = context;
    (void)tries;
    if (or_flag_is_set(file->stop) || now_ms() >= file->deadline_ms) {
        return 0;
    }
    usleep(BUSY_NAP_US);
    return 1;
}

/* The turn is a courtesy: who did not get it in time still tries the lock once. */
bool or_file_take_turn(struct or_file *file, bool write)
{
    file->deadline_ms = now_ms() + file->wait_ms;
    if (write && file->turn) {
        file->turn_held = or_turn_take(file->turn, file->wait_ms, file->stop);
    }
    return !write || file->turn_held || !or_flag_is_set(file->stop);
}

void or_file_give_turn(struct or_file *file)
{
    if (file->turn_held) {
        or_turn_give(file->turn);
    }
    file->turn_held = false;
}

static void copy_column(char *to, size_t room, sqlite3_stmt *stmt, int column)
{
    struct onerow_span text = or_file_column(stmt, column);
    size_t len = text.len < room ? text.len : room - 1;
    if (len) {
        memcpy(to, text.data, len);
    }
    to[len] = '\0';
}

static int load_meta(struct or_file *file)
{
    struct or_file_meta *meta = &file->meta;
    sqlite3_stmt *stmt = or_file_sql(file, OR_FILE_META);
    int code = or_file_step(stmt);
    if (code != SQLITE_ROW) {
        return code == SQLITE_DONE ? SQLITE_CORRUPT : code;
    }
    copy_column(meta->id, sizeof meta->id, stmt, 0);
    copy_column(meta->place, sizeof meta->place, stmt, 1);
    copy_column(meta->why, sizeof meta->why, stmt, 2);
    meta->next_number = (uint64_t)sqlite3_column_int64(stmt, 3);
    meta->epoch = (uint64_t)sqlite3_column_int64(stmt, 4);
    meta->commits = (uint64_t)sqlite3_column_int64(stmt, 5);
    sqlite3_reset(stmt);
    return SQLITE_OK;
}

void or_file_rollback(struct or_file *file)
{
    if (!sqlite3_get_autocommit(file->db)) {
        run(file, OR_FILE_ROLLBACK);
    }
    or_file_give_turn(file);
}

/* The mark is read before the snapshot is taken: read after it, it could know of commits that the
 * snapshot does not hold, and nothing would be wrong. */
enum onerow_status or_file_begin(struct or_file *file, bool write, struct onerow_error *error)
{
    bool goes_on = or_file_take_turn(file, write);
    file->writing = write;
    if (or_file_moved(file)) {
        or_file_give_turn(file);
        return or_file_gone(file, ONEROW_VANISHED, error);
    }
    file->marked = or_file_read_mark(file);
    int code = goes_on ? run(file, write ? OR_FILE_BEGIN_WRITE : OR_FILE_BEGIN_READ) : SQLITE_BUSY;
    code = code == SQLITE_OK ? load_meta(file) : code;
    if (code == SQLITE_OK) {
        return ONEROW_OK;
    }
    enum onerow_status status = or_file_fail(file, code, "starting a transaction", error);
    or_file_rollback(file);
    return status;
}

static int count_commit(struct or_file *file)
{
    sqlite3_stmt *stmt = or_file_sql(file, OR_FILE_COUNT);
    file->meta.commits++;
    sqlite3_bind_int64(stmt, 1, (sqlite3_int64)file->meta.commits);
    int code = or_file_step(stmt);
    return code == SQLITE_DONE ? SQLITE_OK : code;
}

static enum onerow_status judge_commit(struct or_file *file, int code, struct onerow_error *error)
{
    if (code == SQLITE_OK) {
        return file->writing && or_file_moved(file) ? or_file_gone(file, ONEROW_UNKNOWN, error)
                                                    : ONEROW_OK;
    }
    enum onerow_status status = or_file_fail(file, code, "committing", error);
    return !file->writing || or_file_kept_nothing(code) ? status : ONEROW_UNKNOWN;
}

enum onerow_status or_file_commit(struct or_file *file, struct onerow_error *error)
{
    file->base.round_trips++;
    int code = file->writing ? count_commit(file) : SQLITE_OK;
    if (code != SQLITE_OK) {
        enum onerow_status status = or_file_fail(file, code, "writing", error);
        or_file_rollback(file);
        return status;
    }
    enum onerow_status status = judge_commit(file, run(file, OR_FILE_COMMIT), error);
    if (status == ONEROW_OK && file->writing) {
        or_file_write_mark(file);
    }
    or_file_rollback(file); /* does nothing to what was committed */
    return status;
}

/* ---- opening and closing --------------------------------------------------------------------- */

static int ask(struct or_file *file, const char *sql, sqlite3_int64 *answer)
{
    sqlite3_stmt *stmt = NULL;
    int code = sqlite3_prepare_v2(file->db, sql, -1, &stmt, NULL);
    if (code == SQLITE_OK) {
        code = sqlite3_step(stmt);
        *answer = code == SQLITE_ROW ? sqlite3_column_int64(stmt, 0) : 0;
        code = code == SQLITE_ROW || code == SQLITE_DONE ? SQLITE_OK : code;
    }
    sqlite3_finalize(stmt);
    return code;
}

/* SQLite does not call the busy handler while somebody else is switching, so it is tried again. */
static int journal(struct or_file *file)
{
    sqlite3_int64 unused = 0;
    uint64_t end = now_ms() + JOURNAL_WAIT_MS;
    int code = ask(file, "PRAGMA journal_mode=WAL", &unused);
    while ((code & 0xff) == SQLITE_BUSY && now_ms() < end && !or_flag_is_set(file->stop)) {
        usleep(BUSY_NAP_US);
        code = ask(file, "PRAGMA journal_mode=WAL", &unused);
    }
    code = (code & 0xff) == SQLITE_BUSY ? SQLITE_OK : code;
    return code == SQLITE_OK ? ask(file, "PRAGMA synchronous=EXTRA", &unused) : code;
}

/* Whose the file is, by its header; *version: of its tables, 0 when it is nobody's yet, or somebody
 * is just making it. The tables are counted first: they come and the header changes in one
 * transaction, which may happen between these questions, so that whoever sees tables sees the
 * header that belongs to them. */
static enum onerow_status inspect(struct or_file *file, sqlite3_int64 *version,
                                  struct onerow_error *error)
{
    sqlite3_int64 application = 0;
    sqlite3_int64 tables_there = 0;
    int code = ask(file, "SELECT count(*) FROM sqlite_schema", &tables_there);
    code = code == SQLITE_OK ? ask(file, "PRAGMA application_id", &application) : code;
    code = code == SQLITE_OK ? ask(file, "PRAGMA user_version", version) : code;
    if (code != SQLITE_OK) {
        return or_file_fail(file, code, "opening", error);
    }
    if (tables_there == 0 && (application == 0 || application == APPLICATION)) {
        *version = 0;
        return ONEROW_OK;
    }
    if (application == APPLICATION && *version >= 1 && *version <= VERSION) {
        return ONEROW_OK;
    }
    if (application == APPLICATION) {
        return or_fail(
            error, ONEROW_CONFIG,
            "%s: was made by another version of onerow (tables of version %lld; this one "
            "knows %d)\n  use that version, or a newer one: onerow --version",
            file->path, (long long)*version, VERSION);
    }
    return or_fail(error, ONEROW_CONFIG,
                   "%s: is another program's database; the coordinator needs a file of its own\n  "
                   "write: coordinator: sqlite:%s-coordinator",
                   file->path, file->path);
}

static int add_meta(struct or_file *file)
{
    char id[OR_LEDGER_ID];
    sqlite3_stmt *stmt = NULL;
    int code = sqlite3_prepare_v2(
        file->db, "INSERT INTO onerow_ledger_meta(one, ledger_id, place) VALUES (1, ?1, ?2)", -1,
        &stmt, NULL);
    if (code == SQLITE_OK) {
        code = or_ledger_make_id(id) ? SQLITE_OK : SQLITE_NOMEM;
    }
    if (code == SQLITE_OK) {
        sqlite3_bind_text(stmt, 1, id, -1, SQLITE_STATIC);
        sqlite3_bind_text(stmt, 2, file->place.text, -1, SQLITE_STATIC);
        code = sqlite3_step(stmt);
        code = code == SQLITE_DONE ? SQLITE_OK : code;
    }
    sqlite3_finalize(stmt);
    return code;
}

/* Makes what a file of this version lacks. */
static int fill(struct or_file *file, sqlite3_int64 version)
{
    char header[96];
    sqlite3_snprintf(sizeof header, header, "PRAGMA application_id=%u; PRAGMA user_version=%d",
                     APPLICATION, VERSION);
    int code = SQLITE_OK;
    if (version < 1) {
        code = sqlite3_exec(file->db, ledger_tables, NULL, NULL, NULL);
        code = code == SQLITE_OK ? add_meta(file) : code;
    }
    if (code == SQLITE_OK && version < 2) {
        code = sqlite3_exec(file->db, lease_tables, NULL, NULL, NULL);
    }
    return code == SQLITE_OK ? sqlite3_exec(file->db, header, NULL, NULL, NULL) : code;
}

/* Whoever comes first makes the tables; the others wait for the lock and find them. */
static enum onerow_status make_tables(struct or_file *file, struct onerow_error *error)
{
    sqlite3_int64 version = 0;
    int code = run(file, OR_FILE_BEGIN_WRITE);
    if (code != SQLITE_OK) {
        return or_file_fail(file, code, "making its tables", error);
    }
    enum onerow_status status = inspect(file, &version, error);
    if (status == ONEROW_OK) {
        code = version < VERSION ? fill(file, version) : SQLITE_OK;
        code = code == SQLITE_OK ? run(file, OR_FILE_COMMIT) : code;
        status =
            code == SQLITE_OK ? ONEROW_OK : or_file_fail(file, code, "making its tables", error);
    }
    or_file_rollback(file);
    return status;
}

static void join_queue(struct or_file *file)
{
    struct stat info;
    struct or_buffer path;
    const char *name = sqlite3_db_filename(file->db, "main");
    unsigned mode = stat(file->path, &info) == 0 ? info.st_mode & 0666U : 0644U;
    or_buffer_init(&path);
    or_buffer_printf(&path, "%s-onerow", name && *name ? name : file->path);
    file->turn = path.failed ? NULL : or_turn_open(or_buffer_cstr(&path), mode);
    or_buffer_finish(&path);
}

int or_file_connect(struct or_file *file, sqlite3 **db)
{
    int code = sqlite3_open_v2(
        file->path, db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, NULL);
    if (*db) {
        sqlite3_busy_handler(*db, on_busy, file);
    }
    return code;
}

static enum onerow_status open_file(struct or_file *file, struct onerow_error *error)
{
    if (!*file->path || file->path[0] == ':' || strncmp(file->path, "file:", 5) == 0) {
        return or_fail(
            error, ONEROW_CONFIG,
            "sqlite:%s: name a file; nothing is kept in memory, and file: URIs can switch "
            "locks off",
            file->path);
    }
    int code = sqlite3_open_v2(file->path, &file->db,
                               SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX |
                                   SQLITE_OPEN_EXRESCODE,
                               NULL);
    if (!file->db) {
        return or_fail(error, ONEROW_NOMEM, "%s: out of memory", file->path);
    }
    sqlite3_busy_handler(file->db, on_busy, file);
    file->deadline_ms = now_ms() + file->wait_ms;
    return code == SQLITE_OK ? ONEROW_OK : or_file_fail(file, code, "opening", error);
}

static enum onerow_status set_up(struct or_file *file, struct onerow_error *error)
{
    sqlite3_int64 version = 0;
    enum onerow_status status = open_file(file, error);
    if (status == ONEROW_OK) {
        status = inspect(file, &version, error);
    }
    if (status == ONEROW_OK) {
        int code = journal(file);
        status = code == SQLITE_OK ? ONEROW_OK : or_file_fail(file, code, "opening", error);
    }
    if (status == ONEROW_OK) {
        status = or_file_find_place(file, error);
    }
    if (status == ONEROW_OK && version < VERSION) {
        status = make_tables(file, error);
    }
    if (status == ONEROW_OK) {
        join_queue(file);
        or_file_open_mark(file);
        /* Whose mark it is can be told only when the ledger's id is known. */
        status = or_file_begin(file, false, error);
    }
    return status == ONEROW_OK ? or_file_commit(file, error) : status;
}

static void sqlite_close(struct onerow_coordinator *base)
{
    if (!base) {
        return;
    }
    struct or_file *file = or_file_of(base);
    for (size_t i = 0; i < OR_FILE_STATEMENTS; i++) {
        sqlite3_finalize(file->statements[i]);
    }
    or_file_leases_close(file->leases);
    sqlite3_close_v2(file->db);
    or_turn_close(file->turn);
    if (file->mark >= 0) {
        close(file->mark);
    }
    or_ledger_entries_finish(&file->entries);
    free(file->path);
    free(file);
}

extern const struct onerow_coordinator_type or_coordinator_sqlite;

static enum onerow_status sqlite_open(const struct onerow_coordinator_options *options,
                                      struct onerow_coordinator **out, struct onerow_error *error)
{
    *out = NULL;
    struct or_file *file = calloc(1, sizeof *file);
    char *path = strdup(options->url + strlen(SCHEME));
    if (!file || !path) {
        free(file);
        free(path);
        return or_fail(error, ONEROW_NOMEM, "out of memory");
    }
    *file = (struct or_file){.base = {.type = &or_coordinator_sqlite},
                             .path = path,
                             .wait_ms = options->wait_ms,
                             .stop = options->stop,
                             .mark = -1};
    enum onerow_status status = set_up(file, error);
    if (status != ONEROW_OK) {
        sqlite_close(&file->base);
        return status;
    }
    *out = &file->base;
    return ONEROW_OK;
}

/* ---- the vtable ------------------------------------------------------------------------------ */

const struct onerow_coordinator_type or_coordinator_sqlite = {
    .name = "sqlite",
    .summary = "an SQLite file, for the processes of this machine",
    .url = "sqlite:PATH",
    .schemes = (const char *const[]){SCHEME, NULL},
    .open = sqlite_open,
    .close = sqlite_close,
    .ledger = &or_file_ledger,
    .leases = &or_file_lease_ops,
};
