/* SPDX-License-Identifier: Apache-2.0
 *
 * SQLite: a file that enforces the key by itself.
 *
 * Writing. Each batch is one BEGIN IMMEDIATE transaction; the turn among processes is
 * taken before it (turn.c), because SQLite's busy handler starves. Journal mode WAL and
 * synchronous=FULL: a commit that answered is on the disk (https://sqlite.org/pragma.html).
 * A file that cannot be switched to WAL is written with synchronous=EXTRA, which also
 * syncs the folder after the rollback journal is gone.
 *
 * One statement writes a record: INSERT … ON CONFLICT(key) DO UPDATE … WHERE onerow_seen(…).
 * onerow_seen is a function of ours that SQLite calls with the stored row when, and only
 * when, there is one. It compares the images (type and bytes, so that 'Bob' and 'bob'
 * differ in a NOCASE column, and 1 and 1.0 in an untyped one), decides by the policy and
 * notes what it saw; the outcome follows from that note and from sqlite3_changes().
 *
 * The conflict target names COLLATE BINARY, so that SQLite takes no index whose equality
 * differs from that of the key's canonical form. INSERT OR ABORT overrides whatever a
 * table's own ON CONFLICT clauses say.
 *
 * Failures. Each code is told apart (or_sqlite_fail). What COMMIT answers decides what is
 * claimed: OK is durable; BUSY, CONSTRAINT and FULL mean that nothing was kept (the frame
 * that commits is the last one written, and it was not); anything else, such as a failed
 * fsync, leaves frames behind that a later recovery may or may not take for a commit, so
 * the outcome is UNKNOWN. After each commit the file must still be the one at its path:
 * rows in a file that somebody has removed or replaced are not kept, whatever COMMIT said.
 */
#include "store/store_sqlite.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/flag.h"
#include "base/status.h"
#include "base/text.h"

#define JOURNAL_WAIT_MS 1000
#define BUSY_NAP_US     1000
#define CACHE_KIB       14336 /* page cache: locality for sorted batches within the memory bound */
#define WAL_PAGES       16000 /* checkpoint the log from here on, outside of the turn; */
#define WAL_PAGES_MAX   64000 /* and from here on within it, so that the log can begin anew */
#define ATTACH_MARK     "?attach="

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000U + (uint64_t)now.tv_nsec / 1000000U;
}

/* ---- errors ----------------------------------------------------------------- */

struct failure {
    enum onerow_status status;
    const char *advice;
};

static struct failure full_disk(void)
{
    return (struct failure){ONEROW_FULL,
                            "free some space on its disk, then run the same command again"};
}

static struct failure io_failure(int code, int os_error)
{
    if (os_error == ENOSPC || os_error == EDQUOT) {
        return full_disk();
    }
    if (code == SQLITE_IOERR_NOMEM) {
        return (struct failure){ONEROW_NOMEM, "give it more memory and run again"};
    }
    return (struct failure){ONEROW_IO, "look at the disk (dmesg), then run the same command again"};
}

static struct failure classify(int code, int os_error)
{
    switch (code & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return (struct failure){ONEROW_BUSY,
                                "find who holds it (fuser -v FILE), or give --wait more "
                                "seconds, and run again"};
    case SQLITE_FULL: return full_disk();
    case SQLITE_IOERR: return io_failure(code, os_error);
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return (struct failure){ONEROW_CORRUPT,
                                "look at it with: sqlite3 FILE 'PRAGMA integrity_check'"};
    case SQLITE_READONLY:
        if (code == SQLITE_READONLY_DBMOVED) {
            return (struct failure){ONEROW_VANISHED, "put the file back or run again"};
        }
        return (struct failure){ONEROW_READONLY, "give this user write permission on the file and "
                                                 "its folder"};
    case SQLITE_PERM:
    case SQLITE_AUTH:
    case SQLITE_CANTOPEN:
        return (struct failure){ONEROW_UNAVAILABLE, "see that the file and its folder exist and "
                                                    "that this user may read and write them"};
    case SQLITE_NOMEM: return (struct failure){ONEROW_NOMEM, "give it more memory and run again"};
    case SQLITE_INTERRUPT: return (struct failure){ONEROW_INTERRUPTED, "run again"};
    case SQLITE_CONSTRAINT:
    case SQLITE_MISMATCH:
    case SQLITE_TOOBIG:
    case SQLITE_RANGE:
    case SQLITE_ERROR: return (struct failure){ONEROW_REJECTED, NULL};
    default: return (struct failure){ONEROW_UNAVAILABLE, "run: onerow check"};
    }
}

enum onerow_status or_sqlite_fail(struct or_sqlite_store *store, int code, const char *doing,
                                  struct onerow_error *error)
{
    struct failure failure = classify(code, sqlite3_system_errno(store->db));
    if (!failure.advice) {
        return or_fail(error, failure.status, "%s", sqlite3_errmsg(store->db));
    }
    return or_fail(error, failure.status, "%s: %s: %s\n  %s", store->path, doing,
                   sqlite3_errmsg(store->db), failure.advice);
}

enum onerow_status or_sqlite_prepare(struct or_sqlite_store *store, const char *sql,
                                     sqlite3_stmt **stmt, struct onerow_error *error)
{
    int code = sqlite3_prepare_v3(store->db, sql, -1, SQLITE_PREPARE_PERSISTENT, stmt, NULL);
    if (code == SQLITE_ERROR) { /* no record is to blame: the statement does not fit the schema */
        return or_fail(error, ONEROW_CONFIG,
                       "%s: the table is not as it was when onerow looked at it: %s\n  run: onerow "
                       "check",
                       store->path, sqlite3_errmsg(store->db));
    }
    return code == SQLITE_OK ? ONEROW_OK : or_sqlite_fail(store, code, "reading the schema", error);
}

enum onerow_status or_sqlite_prepare_made(struct or_sqlite_store *store,
                                          const struct or_buffer *sql, sqlite3_stmt **stmt,
                                          struct onerow_error *error)
{
    return sql->failed ? or_fail(error, ONEROW_NOMEM, "out of memory")
                       : or_sqlite_prepare(store, or_buffer_cstr(sql), stmt, error);
}

/* ---- opening ---------------------------------------------------------------- */

static bool stopped(const struct or_sqlite_store *store)
{
    return or_flag_is_set(store->stop);
}

/* Called by SQLite while somebody else holds the lock: nap and try again until the time is over. */
static int on_busy(void *context, int tries)
{
    struct or_sqlite_store *store = context;
    (void)tries;
    if (stopped(store) || now_ms() >= store->deadline_ms) {
        return 0;
    }
    usleep(BUSY_NAP_US);
    return 1;
}

static void sqlite_close(struct onerow_store *base)
{
    if (!base) {
        return;
    }
    struct or_sqlite_store *store = or_sqlite_store_of(base);
    sqlite3_finalize(store->begin);
    sqlite3_finalize(store->commit);
    sqlite3_finalize(store->rollback);
    sqlite3_finalize(store->save);
    sqlite3_finalize(store->undo);
    sqlite3_finalize(store->keep);
    sqlite3_finalize(store->json_valid);
    sqlite3_close_v2(store->db);
    or_turn_close(store->turn);
    free(store->path);
    free(store);
}

/* Splits "PATH?attach=NAME:PATH&attach=…": ends the path in place and returns the rest. */
static char *split_attachments(char *path)
{
    char *mark = strstr(path, ATTACH_MARK);
    if (!mark) {
        return NULL;
    }
    *mark = '\0';
    return mark + 1;
}

static enum onerow_status attach_one(struct or_sqlite_store *store, char *item,
                                     struct onerow_error *error)
{
    char *colon = strchr(item, ':');
    if (strncmp(item, "attach=", 7) != 0 || !colon || colon == item + 7 || !colon[1]) {
        return or_fail(error, ONEROW_CONFIG,
                       "%s: \"%s\" in the store's URL is not understood; write "
                       "sqlite:PATH?attach=NAME:PATH",
                       store->path, item);
    }
    *colon = '\0';
    if (access(colon + 1, F_OK) != 0) {
        return or_fail(error, ONEROW_UNAVAILABLE, "%s: cannot attach %s: %s", store->path,
                       colon + 1, strerror(errno));
    }
    sqlite3_stmt *stmt = NULL;
    int code = sqlite3_prepare_v2(store->db, "ATTACH ?1 AS ?2", -1, &stmt, NULL);
    if (code == SQLITE_OK) {
        sqlite3_bind_text(stmt, 1, colon + 1, -1, SQLITE_STATIC);
        sqlite3_bind_text(stmt, 2, item + 7, -1, SQLITE_STATIC);
        code = sqlite3_step(stmt);
    }
    sqlite3_finalize(stmt);
    return code == SQLITE_DONE ? ONEROW_OK : or_sqlite_fail(store, code, "attaching", error);
}

static enum onerow_status attach(struct or_sqlite_store *store, char *list,
                                 struct onerow_error *error)
{
    char *rest = NULL;
    for (char *item = list ? strtok_r(list, "&", &rest) : NULL; item;
         item = strtok_r(NULL, "&", &rest)) {
        enum onerow_status status = attach_one(store, item, error);
        if (status != ONEROW_OK) {
            return status;
        }
    }
    return ONEROW_OK;
}

static void join_queue(struct or_sqlite_store *store)
{
    struct stat info;
    struct or_buffer path;
    or_buffer_init(&path);
    /* SQLite's own name of the file: every name that leads to it leads to one queue. */
    const char *file = sqlite3_db_filename(store->db, "main");
    or_buffer_printf(&path, "%s-onerow", file && *file ? file : store->path);
    unsigned mode = stat(store->path, &info) == 0 ? info.st_mode & 0666U : 0644U;
    store->turn = path.failed ? NULL : or_turn_open(or_buffer_cstr(&path), mode);
    or_buffer_finish(&path);
}

static int pragma(struct or_sqlite_store *store, const char *sql)
{
    sqlite3_stmt *stmt = NULL;
    int code = sqlite3_prepare_v2(store->db, sql, -1, &stmt, NULL);
    if (code == SQLITE_OK) {
        code = sqlite3_step(stmt);
        code = code == SQLITE_ROW || code == SQLITE_DONE ? SQLITE_OK : code;
    }
    sqlite3_finalize(stmt);
    return code;
}

/* WAL where the file can have it. SQLite does not call the busy handler for this switch when
 * somebody else is switching, so it is tried again here, for a short time: the mode that the file
 * has is written durably, too. */
static int journal(struct or_sqlite_store *store, const char *schema)
{
    struct or_buffer sql;
    or_buffer_init(&sql);
    or_buffer_text(&sql, "PRAGMA ");
    or_sqlite_quote(&sql, schema);
    or_buffer_text(&sql, ".journal_mode=WAL");
    uint64_t end = now_ms() + JOURNAL_WAIT_MS;
    store->deadline_ms = end < store->deadline_ms ? end : store->deadline_ms;
    int code = sql.failed ? SQLITE_NOMEM : pragma(store, or_buffer_cstr(&sql));
    while ((code & 0xff) == SQLITE_BUSY && now_ms() < end && !stopped(store)) {
        usleep(BUSY_NAP_US);
        code = pragma(store, or_buffer_cstr(&sql));
    }
    or_buffer_finish(&sql);
    return (code & 0xff) == SQLITE_BUSY ? SQLITE_OK : code;
}

/* EXTRA is FULL in WAL mode; with a rollback journal it syncs the folder, too, so that a journal
 * that was removed does not come back after a power loss and undo a commit. */
static int synchronous(struct or_sqlite_store *store, const char *schema)
{
    struct or_buffer sql;
    or_buffer_init(&sql);
    or_buffer_text(&sql, "PRAGMA ");
    or_sqlite_quote(&sql, schema);
    or_buffer_text(&sql, ".synchronous=EXTRA");
    int code = sql.failed ? SQLITE_NOMEM : pragma(store, or_buffer_cstr(&sql));
    or_buffer_finish(&sql);
    return code;
}

static int make_durable(struct or_sqlite_store *store)
{
    int code = SQLITE_OK;
    const char *schema = NULL;
    for (int i = 0; code == SQLITE_OK && (schema = sqlite3_db_name(store->db, i)); i++) {
        if (strcmp(schema, "temp") == 0) {
            continue;
        }
        code = store->leave_as_is ? SQLITE_OK : journal(store, schema);
        code = code == SQLITE_OK ? synchronous(store, schema) : code;
    }
    return code;
}

/* Called after each commit in WAL mode; takes the place of SQLite's own checkpoints, which would
 * keep the others waiting for the length of one. */
static int note_wal(void *context, sqlite3 *db, const char *schema, int pages)
{
    struct or_sqlite_store *store = context;
    (void)db;
    (void)schema;
    store->wal_pages = pages;
    return SQLITE_OK;
}

static enum onerow_status settle_pragmas(struct or_sqlite_store *store, struct onerow_error *error)
{
    char sql[64];
    store->deadline_ms = now_ms() + store->wait_ms;
    /* A first look at the file itself: is it a database at all? */
    int code = pragma(store, "PRAGMA schema_version");
    if (code == SQLITE_OK && !store->read_only) {
        code = make_durable(store);
    }
    if (code == SQLITE_OK) {
        code = pragma(store, "PRAGMA foreign_keys=ON");
    }
    snprintf(sql, sizeof sql, "PRAGMA cache_size=-%d", CACHE_KIB);
    if (code == SQLITE_OK) {
        code = pragma(store, sql);
    }
    sqlite3_wal_hook(store->db, note_wal, store);
    store->deadline_ms = now_ms() + store->wait_ms;
    if (code == SQLITE_OK) {
        return ONEROW_OK;
    }
    return stopped(store) && (code & 0xff) == SQLITE_BUSY
               ? or_fail(error, ONEROW_INTERRUPTED, "interrupted while waiting for the lock")
               : or_sqlite_fail(store, code, "opening", error);
}

/* Two names of one file have two logs beside them, and each loses what the other one wrote. */
static enum onerow_status refuse_hard_links(struct or_sqlite_store *store,
                                            struct onerow_error *error)
{
    struct stat facts;
    if (stat(store->path, &facts) != 0) {
        return or_fail(error, ONEROW_VANISHED, "%s: %s", store->path, strerror(errno));
    }
    store->device = facts.st_dev;
    store->inode = facts.st_ino;
    if (facts.st_nlink <= 1 || store->read_only) {
        return ONEROW_OK;
    }
    return or_fail(error, ONEROW_CONFIG,
                   "%s: the file has another name besides this one (a hard link): writers that use "
                   "both names lose rows\n  find it with: find / -xdev -inum %llu, and remove one",
                   store->path, (unsigned long long)facts.st_ino);
}

static enum onerow_status open_file(struct or_sqlite_store *store,
                                    const struct onerow_store_options *options,
                                    struct onerow_error *error)
{
    bool exists = access(store->path, F_OK) == 0;
    if (store->path[0] == ':' || strncmp(store->path, "file:", 5) == 0) {
        return or_fail(
            error, ONEROW_CONFIG,
            "sqlite:%s: name a file; nothing is kept in memory, and file: URIs can switch "
            "locks off\n  for a file of that very name: sqlite:./%s",
            store->path, store->path);
    }
    if (!exists && !options->may_create) {
        return or_fail(error, ONEROW_UNAVAILABLE,
                       "%s: there is no such database file\n  onerow put --create-table makes it",
                       store->path);
    }
    int flags = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
    flags |= options->read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE;
    flags |= exists ? 0 : SQLITE_OPEN_CREATE;
    int code = sqlite3_open_v2(store->path, &store->db, flags, NULL);
    if (code == SQLITE_OK) {
        sqlite3_busy_handler(store->db, on_busy, store);
        return refuse_hard_links(store, error);
    }
    if (!store->db) {
        return or_fail(error, ONEROW_NOMEM, "%s: out of memory", store->path);
    }
    return or_sqlite_fail(store, code, "opening", error);
}

static enum onerow_status set_up(struct or_sqlite_store *store,
                                 const struct onerow_store_options *options, char *attachments,
                                 struct onerow_error *error)
{
    enum onerow_status status = open_file(store, options, error);
    if (status == ONEROW_OK && !store->read_only && !store->leave_as_is) {
        join_queue(store);
    }
    if (status == ONEROW_OK) {
        status = attach(store, attachments, error);
    }
    if (status == ONEROW_OK) {
        status = settle_pragmas(store, error);
    }
    if (status == ONEROW_OK) {
        status = or_sqlite_functions(store, error);
    }
    return status;
}

static enum onerow_status sqlite_open(const struct onerow_store_options *options,
                                      struct onerow_store **out, struct onerow_error *error)
{
    extern const struct onerow_store_type or_store_sqlite;
    *out = NULL;
    struct or_sqlite_store *store = calloc(1, sizeof *store);
    char *path = strdup(options->url + strlen("sqlite:"));
    if (!store || !path) {
        free(store);
        free(path);
        return or_fail(error, ONEROW_NOMEM, "out of memory");
    }
    *store = (struct or_sqlite_store){.base = {&or_store_sqlite},
                                      .path = path,
                                      .wait_ms = options->wait_ms,
                                      .read_only = options->read_only,
                                      .leave_as_is = options->leave_as_is,
                                      .stop = options->stop};
    char *attachments = split_attachments(path);
    enum onerow_status status =
        *path ? set_up(store, options, attachments, error)
              : or_fail(error, ONEROW_CONFIG, "sqlite: needs a file: sqlite:app.db");
    if (status != ONEROW_OK) {
        sqlite_close(&store->base);
        return status;
    }
    *out = &store->base;
    return ONEROW_OK;
}

/* ---- transactions ----------------------------------------------------------- */

/* Whether the file at a path is another one than the one that is open. */
static bool moved(struct or_sqlite_store *store)
{
    struct stat facts;
    const char *name = NULL;
    if (stat(store->path, &facts) != 0 || facts.st_dev != store->device ||
        facts.st_ino != store->inode) {
        return true;
    }
    for (int i = 0; (name = sqlite3_db_name(store->db, i)); i++) {
        int answer = 0;
        int code = sqlite3_file_control(store->db, name, SQLITE_FCNTL_HAS_MOVED, &answer);
        if (code == SQLITE_OK && answer) {
            return true;
        }
    }
    return false;
}

static enum onerow_status vanished(struct or_sqlite_store *store, enum onerow_status status,
                                   struct onerow_error *error)
{
    or_fail(error, ONEROW_VANISHED,
            "%s: the database file was moved or deleted while it was being written\n  put it back, "
            "or run the same command again to write into the file that is there now",
            store->path);
    return status;
}

int or_sqlite_run(struct or_sqlite_store *store, sqlite3_stmt **stmt, const char *sql)
{
    int code = SQLITE_OK;
    if (!*stmt) {
        code = sqlite3_prepare_v3(store->db, sql, -1, SQLITE_PREPARE_PERSISTENT, stmt, NULL);
    }
    if (code == SQLITE_OK) {
        code = sqlite3_step(*stmt);
        sqlite3_reset(*stmt);
    }
    return code == SQLITE_DONE ? SQLITE_OK : code;
}

static void give_turn(struct or_sqlite_store *store)
{
    if (store->turn && store->turn_held) {
        or_turn_give(store->turn);
    }
    store->turn_held = false;
}

/* The turn is a courtesy: a writer that did not get it in time still tries the lock once. */
static void take_turn(struct or_sqlite_store *store)
{
    if (store->turn) {
        store->turn_held = or_turn_take(store->turn, store->wait_ms, store->stop);
    }
}

static enum onerow_status begin_in_turn(struct or_sqlite_store *store, struct onerow_error *error)
{
    store->deadline_ms = now_ms() + store->wait_ms;
    take_turn(store);
    if (moved(store)) {
        give_turn(store);
        return vanished(store, ONEROW_VANISHED, error);
    }
    int code =
        stopped(store) ? SQLITE_BUSY : or_sqlite_run(store, &store->begin, "BEGIN IMMEDIATE");
    if (code == SQLITE_OK) {
        return ONEROW_OK;
    }
    give_turn(store);
    if ((code & 0xff) == SQLITE_BUSY && stopped(store)) {
        return or_fail(error, ONEROW_INTERRUPTED, "interrupted while waiting for the lock");
    }
    return or_sqlite_fail(store, code, "starting a transaction", error);
}

/* `stop` may be gone after the call, so it is only lent to the store. */
static enum onerow_status sqlite_begin(struct onerow_store *base, const volatile bool *stop,
                                       struct onerow_error *error)
{
    struct or_sqlite_store *store = or_sqlite_store_of(base);
    const volatile bool *opened_with = store->stop;
    store->stop = stop ? stop : opened_with;
    enum onerow_status status = begin_in_turn(store, error);
    store->stop = opened_with;
    return status;
}

static void sqlite_rollback(struct onerow_store *base)
{
    struct or_sqlite_store *store = or_sqlite_store_of(base);
    if (!sqlite3_get_autocommit(store->db)) {
        or_sqlite_run(store, &store->rollback, "ROLLBACK");
    }
    give_turn(store);
}

/* Copies the log into the database as far as nobody is in the way. That it fails changes nothing:
 * the rows are in the log. Where writers never pause, the log is never copied to its end outside of
 * the turn and only grows; then it is done within. */
static void end_turn(struct or_sqlite_store *store)
{
    int pages = store->wal_pages;
    store->wal_pages = 0;
    if (pages < WAL_PAGES_MAX) {
        give_turn(store);
    }
    if (pages >= WAL_PAGES) {
        sqlite3_wal_checkpoint_v2(store->db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
    }
    give_turn(store);
}

static enum onerow_status sqlite_commit(struct onerow_store *base, struct onerow_error *error)
{
    struct or_sqlite_store *store = or_sqlite_store_of(base);
    int code = or_sqlite_run(store, &store->commit, "COMMIT");
    if (code == SQLITE_OK) {
        enum onerow_status status =
            moved(store) ? vanished(store, ONEROW_UNKNOWN, error) : ONEROW_OK;
        end_turn(store);
        return status;
    }
    enum onerow_status status = or_sqlite_fail(store, code, "committing", error);
    bool nothing_kept =
        status == ONEROW_BUSY || status == ONEROW_REJECTED || (code & 0xff) == SQLITE_FULL;
    return nothing_kept ? status : ONEROW_UNKNOWN;
}

/* ---- the vtable -------------------------------------------------------------- */

extern const struct onerow_store_type or_store_sqlite;

const struct onerow_store_type or_store_sqlite = {
    .name = "sqlite",
    .summary = "an SQLite file; its unique index keeps one row per key",
    .url = "sqlite:PATH",
    .schemes = (const char *const[]){"sqlite:", NULL},
    .open = sqlite_open,
    .close = sqlite_close,
    .table_open = or_sqlite_table_open,
    .table_close = or_sqlite_table_close,
    .table_create = or_sqlite_table_create,
    .begin = sqlite_begin,
    .apply = or_sqlite_apply,
    .commit = sqlite_commit,
    .rollback = sqlite_rollback,
    .get = or_sqlite_get,
    .audit = or_sqlite_audit,
    .statement = or_sqlite_statement,
    .suggest = or_sqlite_suggest,
};
