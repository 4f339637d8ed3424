/* SPDX-License-Identifier: Apache-2.0
 *
 * Leases in the ledger's SQLite file: the book of lease_rules.h as tables. Each call is one BEGIN
 * IMMEDIATE transaction, taken in turn as the ledger's are, on a connection of its own.
 *
 * That connection commits with synchronous=NORMAL, which does not wait for the disk: what is told
 * survives the death of every process, but not that of the machine. Nobody holds a lease after
 * that, and so all that must outlive it is how far the tokens had come:
 *
 *   ceiling   No token is above it. It is raised by BLOCK in a transaction that does wait
 *             (synchronous=EXTRA, as the ledger's), before a token above it is told.
 *   base      All tokens are above it. After a restart of the machine it is the old ceiling,
 *             whatever the last rows may have lost.
 *
 * What is to be durable is found out within a transaction: then it is rolled back, and run again on
 * a connection that waits. A lease taken by force is noted durably, too.
 *
 * Time is the boot's clock. So the boot is recorded; at another one all that ran is void. But
 * another boot may be another machine, which reaches the file over a network: its clock says
 * nothing, and SQLite's locks do not reach it. So the machine's id is recorded, too, and another
 * boot is taken for a restart only where the id is the same. Within one boot it may differ:
 * containers have ids of their own, and one kernel. An empty boot is nobody's: whoever comes next
 * is taken.
 *
 * In a file that was copied or restored tokens go on far above those that it remembers.
 */
#include "coordinator/coordinator_sqlite.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "base/status.h"
#include "base/text.h"
#include "base/u64.h"
#include "coordinator/coordinator_sqlite_session.h"

#define BLOCK         1000U /* tokens that are reserved at once */
#define TO_BE_DURABLE (-1)  /* a code of the book's: run again, and wait for the disk */

#define WAL_PAGES     4000  /* copy the log from here on, outside of the turn; */
#define WAL_PAGES_MAX 16000 /* and from here on within it, so that the log can begin anew */

enum sql {
    BEGIN_READ,
    BEGIN_WRITE,
    COMMIT,
    ROLLBACK,
    META,
    SET_META,
    SET_CEILING,
    VOID_LEASES,
    VOID_WAITERS,
    VOID_SHARED,
    FIND,
    TAKE,
    KEEP,
    HAND,
    GIVE_UP,
    FRONT,
    DROP_BEFORE,
    OWN,
    LAST_PLACE,
    LINE_UP,
    LEAVE,
    COUNT,
    WHO,
    NOTE,
    LIST,
    LIVE_WAITERS,
    TRAIL,
    SHARED,
    SHARE,
    STATEMENTS, /* how many */
};

static const char *const texts[STATEMENTS] = {
    [BEGIN_READ] = "BEGIN",
    [BEGIN_WRITE] = "BEGIN IMMEDIATE",
    [COMMIT] = "COMMIT",
    [ROLLBACK] = "ROLLBACK",
    [META] = "SELECT boot, machine, place, base, ceiling FROM onerow_lease_meta",
    [SET_META] =
        "UPDATE onerow_lease_meta SET boot = ?1, machine = ?2, place = ?3, base = ?4, ceiling = ?5",
    [SET_CEILING] = "UPDATE onerow_lease_meta SET ceiling = ?1",
    [VOID_LEASES] = "UPDATE onerow_lease SET nonce = NULL WHERE nonce IS NOT NULL",
    [VOID_WAITERS] = "DELETE FROM onerow_lease_wait",
    [VOID_SHARED] = "DELETE FROM onerow_shared",
    [FIND] =
        "SELECT nonce, token, expires, session, inode, device FROM onerow_lease WHERE name = ?1",
    [TAKE] = "INSERT INTO onerow_lease(name, nonce, token, expires, since, session, inode, device, "
             "who) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT(name) DO UPDATE SET "
             "nonce = ?2, token = ?3, expires = ?4, since = ?5, session = ?6, inode = ?7, device = "
             "?8, who = ?9",
    [KEEP] = "UPDATE onerow_lease SET token = ?2, expires = ?3, session = ?4, inode = ?5, device = "
             "?6 WHERE name = ?1",
    [HAND] = "UPDATE onerow_lease SET nonce = w.nonce, token = ?3, expires = ?4, since = ?5, "
             "session = w.session, inode = w.inode, device = w.device, who = w.who "
             "FROM onerow_lease_wait w WHERE onerow_lease.name = ?1 AND w.name = ?1 AND w.place = "
             "?2",
    [GIVE_UP] = "UPDATE onerow_lease SET nonce = NULL WHERE name = ?1",
    [FRONT] = "SELECT place, nonce, until, granted, floor, session, inode, device, wake "
              "FROM onerow_lease_wait WHERE name = ?1 ORDER BY place",
    [DROP_BEFORE] = "DELETE FROM onerow_lease_wait WHERE name = ?1 AND place < ?2",
    [OWN] = "SELECT place FROM onerow_lease_wait WHERE name = ?1 AND nonce = ?2",
    [LAST_PLACE] = "SELECT max(place) FROM onerow_lease_wait WHERE name = ?1",
    [LINE_UP] = "INSERT OR REPLACE INTO onerow_lease_wait(name, place, nonce, until, granted, "
                "floor, session, inode, device, wake, who) "
                "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
    [LEAVE] = "DELETE FROM onerow_lease_wait WHERE name = ?1 AND place = ?2",
    [COUNT] = "SELECT count(*) FROM onerow_lease_wait WHERE name = ?1 AND place < ?2 AND until > "
              "?3",
    [WHO] = "SELECT who FROM onerow_lease WHERE name = ?1",
    [NOTE] = "INSERT INTO onerow_lease_forced(name, who, by, token, at) VALUES (?1, ?2, ?3, ?4, "
             "?5)",
    [LIST] = "SELECT nonce, token, expires, session, inode, device, since, name, who "
             "FROM onerow_lease WHERE name >= ?1 ORDER BY name",
    [LIVE_WAITERS] = "SELECT session, inode, device FROM onerow_lease_wait WHERE name = ?1 AND "
                     "until > ?2",
    [TRAIL] = "SELECT name, who, by, token, at FROM onerow_lease_forced "
              "WHERE substr(name, 1, length(?1)) = ?1 ORDER BY number DESC",
    [SHARED] = "SELECT body FROM onerow_shared WHERE name = ?1",
    [SHARE] = "INSERT OR REPLACE INTO onerow_shared(name, body) VALUES (?1, ?2)",
};

struct or_file_leases {
    struct or_book book;
    struct or_file *file;
    sqlite3 *db;
    bool waits;   /* the connection waits for the disk */
    bool durable; /* the running transaction does */
    int wal_pages;
    uint64_t ceiling;
    struct or_alive alive;
    struct or_machine machine;
    sqlite3_stmt *statements[STATEMENTS];
};

static struct or_file_leases *leases_of(struct or_book *book)
{
    return (struct or_file_leases *)book;
}

static sqlite3_int64 limited(uint64_t number)
{
    return number > INT64_MAX ? INT64_MAX : (sqlite3_int64)number;
}

/* ---- statements ------------------------------------------------------------------------------
 */

static sqlite3_stmt *sql(struct or_file_leases *leases, enum sql which)
{
    return or_file_prepared(leases->db, &leases->statements[which], texts[which]);
}

static sqlite3_stmt *sql_of(struct or_file_leases *leases, enum sql which, struct onerow_span name)
{
    sqlite3_stmt *stmt = sql(leases, which);
    or_file_bind(stmt, 1, name);
    return stmt;
}

static int run(struct or_file_leases *leases, enum sql which)
{
    return or_file_finish(sql(leases, which));
}

static void bind_number(sqlite3_stmt *stmt, int at, uint64_t number)
{
    sqlite3_bind_int64(stmt, at, limited(number));
}

static void bind_nonce(sqlite3_stmt *stmt, int at, const unsigned char nonce[ONEROW_NONCE])
{
    sqlite3_bind_blob(stmt, at, nonce, ONEROW_NONCE, SQLITE_STATIC);
}

/* Three columns from `at` on; inodes and devices are bits. */
static void bind_session(sqlite3_stmt *stmt, int at, const struct or_book_session *session)
{
    sqlite3_bind_int64(stmt, at, (sqlite3_int64)session->number);
    sqlite3_bind_int64(stmt, at + 1, (sqlite3_int64)session->inode);
    sqlite3_bind_int64(stmt, at + 2, (sqlite3_int64)session->device);
}

static uint64_t number_at(sqlite3_stmt *stmt, int column)
{
    return (uint64_t)sqlite3_column_int64(stmt, column);
}

static struct or_book_session session_at(sqlite3_stmt *stmt, int column)
{
    return (struct or_book_session){.number = number_at(stmt, column),
                                    .inode = number_at(stmt, column + 1),
                                    .device = number_at(stmt, column + 2)};
}

/* As much of the column as there is room for; how much. */
static size_t copy_bytes(sqlite3_stmt *stmt, int column, void *to, size_t room)
{
    struct onerow_span bytes = or_file_column(stmt, column);
    size_t len = bytes.len < room ? bytes.len : room;
    if (len) {
        memcpy(to, bytes.data, len);
    }
    return len;
}

/* Ends a look at one row. */
static int done(sqlite3_stmt *stmt, int code)
{
    if (stmt) {
        sqlite3_reset(stmt);
    }
    return code == SQLITE_ROW || code == SQLITE_DONE ? SQLITE_OK : code;
}

/* ---- tokens ----------------------------------------------------------------------------------
 */

/* The token may be given. */
static int reserve(struct or_file_leases *leases, uint64_t token)
{
    if (token <= leases->ceiling) {
        return SQLITE_OK;
    }
    if (!leases->durable) {
        return TO_BE_DURABLE;
    }
    leases->ceiling = token + BLOCK - 1;
    sqlite3_stmt *stmt = sql(leases, SET_CEILING);
    bind_number(stmt, 1, leases->ceiling);
    return or_file_finish(stmt);
}

/* ---- the book --------------------------------------------------------------------------------
 */

/* The columns nonce, token, expires, session. */
static void read_lease(sqlite3_stmt *stmt, struct or_book_lease *lease)
{
    lease->taken = copy_bytes(stmt, 0, lease->nonce, ONEROW_NONCE) == ONEROW_NONCE;
    lease->token = number_at(stmt, 1);
    lease->expires_ms = number_at(stmt, 2);
    lease->session = session_at(stmt, 3);
}

static int book_find(struct or_book *book, struct onerow_span name, struct or_book_lease *lease)
{
    sqlite3_stmt *stmt = sql_of(leases_of(book), FIND, name);
    int code = or_file_step(stmt);
    *lease = (struct or_book_lease){0};
    if (code == SQLITE_ROW) {
        read_lease(stmt, lease);
    }
    return done(stmt, code);
}

static int book_leave(struct or_book *book, struct onerow_span name, uint64_t place)
{
    sqlite3_stmt *stmt = sql_of(leases_of(book), LEAVE, name);
    bind_number(stmt, 2, place);
    return or_file_finish(stmt);
}

static int book_take(struct or_book *book, const struct onerow_lease_claim *claim, uint64_t token,
                     uint64_t place)
{
    struct or_file_leases *leases = leases_of(book);
    int code = reserve(leases, token);
    if (code != SQLITE_OK) {
        return code;
    }
    sqlite3_stmt *stmt = sql_of(leases, TAKE, claim->name);
    bind_nonce(stmt, 2, claim->nonce);
    bind_number(stmt, 3, token);
    bind_number(stmt, 4, book->now_ms + claim->ttl_ms);
    bind_number(stmt, 5, book->wall_ms);
    bind_session(stmt, 6, &leases->alive.session);
    or_file_bind(stmt, 9, claim->who);
    code = or_file_finish(stmt);
    return code == SQLITE_OK && place ? book_leave(book, claim->name, place) : code;
}

static int book_keep(struct or_book *book, const struct onerow_lease_claim *claim, uint64_t token)
{
    struct or_file_leases *leases = leases_of(book);
    int code = reserve(leases, token);
    if (code != SQLITE_OK) {
        return code;
    }
    sqlite3_stmt *stmt = sql_of(leases, KEEP, claim->name);
    bind_number(stmt, 2, token);
    bind_number(stmt, 3, book->now_ms + claim->ttl_ms);
    bind_session(stmt, 4, &leases->alive.session);
    return or_file_finish(stmt);
}

static int book_hand(struct or_book *book, struct onerow_span name,
                     const struct or_book_waiter *waiter, uint64_t token)
{
    struct or_file_leases *leases = leases_of(book);
    int code = reserve(leases, token);
    if (code != SQLITE_OK) {
        return code;
    }
    sqlite3_stmt *stmt = sql_of(leases, HAND, name);
    bind_number(stmt, 2, waiter->place);
    bind_number(stmt, 3, token);
    bind_number(stmt, 4, book->now_ms + waiter->granted_ms);
    bind_number(stmt, 5, book->wall_ms);
    code = or_file_finish(stmt);
    return code == SQLITE_OK ? book_leave(book, name, waiter->place) : code;
}

static int book_give_up(struct or_book *book, struct onerow_span name)
{
    return or_file_finish(sql_of(leases_of(book), GIVE_UP, name));
}

/* The columns of FRONT. */
static void read_waiter(sqlite3_stmt *stmt, struct or_book_waiter *waiter)
{
    waiter->place = number_at(stmt, 0);
    (void)copy_bytes(stmt, 1, waiter->nonce, ONEROW_NONCE);
    waiter->granted_ms = number_at(stmt, 3);
    waiter->floor = number_at(stmt, 4);
    waiter->session = session_at(stmt, 5);
    waiter->wake_len = copy_bytes(stmt, 8, waiter->wake, sizeof waiter->wake);
}

static int book_front(struct or_book *book, struct onerow_span name, struct or_book_waiter *waiter)
{
    struct or_file_leases *leases = leases_of(book);
    sqlite3_stmt *stmt = sql_of(leases, FRONT, name);
    uint64_t live_from = 0;
    bool any_dead = false;
    int code = SQLITE_DONE;
    *waiter = (struct or_book_waiter){0};
    while ((code = or_file_step(stmt)) == SQLITE_ROW) {
        read_waiter(stmt, waiter);
        live_from = waiter->place;
        if (number_at(stmt, 2) > book->now_ms && or_alive_lives(&leases->alive, &waiter->session)) {
            break;
        }
        any_dead = true;
    }
    if (code == SQLITE_DONE) {
        *waiter = (struct or_book_waiter){0};
        live_from++;
    }
    code = done(stmt, code);
    if (code != SQLITE_OK || !any_dead) {
        return code;
    }
    stmt = sql_of(leases, DROP_BEFORE, name);
    bind_number(stmt, 2, live_from);
    return or_file_finish(stmt);
}

/* The only number of an answer, 0 where it is none. */
static int ask(sqlite3_stmt *stmt, uint64_t *answer)
{
    int code = or_file_step(stmt);
    *answer = code == SQLITE_ROW ? number_at(stmt, 0) : 0;
    return done(stmt, code);
}

static int book_own(struct or_book *book, const struct onerow_lease_claim *claim, uint64_t *place)
{
    sqlite3_stmt *stmt = sql_of(leases_of(book), OWN, claim->name);
    bind_nonce(stmt, 2, claim->nonce);
    return ask(stmt, place);
}

static int book_line_up(struct or_book *book, const struct onerow_lease_claim *claim,
                        uint64_t *place)
{
    struct or_file_leases *leases = leases_of(book);
    int code = SQLITE_OK;
    if (*place == 0) {
        code = ask(sql_of(leases, LAST_PLACE, claim->name), place);
        ++*place;
    }
    if (code != SQLITE_OK) {
        return code;
    }
    sqlite3_stmt *stmt = sql_of(leases, LINE_UP, claim->name);
    bind_number(stmt, 2, *place);
    bind_nonce(stmt, 3, claim->nonce);
    bind_number(stmt, 4, book->now_ms + claim->patience_ms);
    bind_number(stmt, 5, or_u64_min(claim->patience_ms, claim->ttl_ms));
    bind_number(stmt, 6, claim->floor);
    bind_session(stmt, 7, &leases->alive.session);
    or_file_bind(stmt, 10, claim->wake);
    or_file_bind(stmt, 11, claim->who);
    return or_file_finish(stmt);
}

static int book_count(struct or_book *book, struct onerow_span name, uint64_t place, uint64_t *n)
{
    sqlite3_stmt *stmt = sql_of(leases_of(book), COUNT, name);
    bind_number(stmt, 2, place);
    bind_number(stmt, 3, book->now_ms);
    return ask(stmt, n);
}

static bool book_lives(struct or_book *book, const struct or_book_session *session)
{
    return or_alive_lives(&leases_of(book)->alive, session);
}

static int book_note(struct or_book *book, struct onerow_lease_forced *forced,
                     struct or_arena *arena)
{
    struct or_file_leases *leases = leases_of(book);
    sqlite3_stmt *stmt = sql_of(leases, WHO, forced->name);
    int code = or_file_step(stmt);
    if (code == SQLITE_ROW) {
        forced->who = or_arena_copy(arena, or_file_column(stmt, 0));
        code = forced->who.data ? SQLITE_DONE : SQLITE_NOMEM;
    }
    code = done(stmt, code);
    if (code != SQLITE_OK) {
        return code;
    }
    stmt = sql_of(leases, NOTE, forced->name);
    or_file_bind(stmt, 2, forced->who);
    or_file_bind(stmt, 3, forced->by);
    bind_number(stmt, 4, forced->token);
    bind_number(stmt, 5, forced->at_ms);
    return or_file_finish(stmt);
}

static const struct or_book_ops book_ops = {
    .find = book_find,
    .take = book_take,
    .keep = book_keep,
    .hand = book_hand,
    .give_up = book_give_up,
    .front = book_front,
    .own = book_own,
    .line_up = book_line_up,
    .leave = book_leave,
    .count = book_count,
    .lives = book_lives,
    .note = book_note,
};

/* ---- the machine, and the file ---------------------------------------------------------------
 */

/* What is recorded, as the running transaction sees it. */
struct meta {
    bool same_boot;
    bool no_boot;
    bool same_machine;
    bool same_place;
};

static bool column_is(sqlite3_stmt *stmt, int column, const char *text)
{
    return or_span_is(or_file_column(stmt, column), text);
}

static int load_meta(struct or_file_leases *leases, struct meta *meta)
{
    const struct or_machine *machine = &leases->machine;
    sqlite3_stmt *stmt = sql(leases, META);
    int code = or_file_step(stmt);
    if (code == SQLITE_ROW) {
        *meta =
            (struct meta){.same_boot = *machine->boot && column_is(stmt, 0, machine->boot),
                          .no_boot = column_is(stmt, 0, ""),
                          .same_machine = *machine->machine && column_is(stmt, 1, machine->machine),
                          .same_place = column_is(stmt, 2, leases->file->place.text)};
        leases->book.base = number_at(stmt, 3);
        leases->ceiling = number_at(stmt, 4);
    }
    code = code == SQLITE_DONE ? SQLITE_CORRUPT : code;
    return done(stmt, code);
}

static enum onerow_status refuse_machine(const struct or_file *file, struct onerow_error *error)
{
    return or_fail(
        error, ONEROW_CONFIG,
        "%s: its leases were given on another machine, or this one has no id by which it could be "
        "told from another after a restart (/etc/machine-id)\n  an SQLite file coordinates the "
        "processes of one machine; for several: coordinator: postgres://…\n  if the file was moved "
        "here, or the machine was only restarted, and nobody uses the file elsewhere, run:\n  "
        "  sqlite3 '%s' \"UPDATE onerow_lease_meta SET boot = ''\"",
        file->path, file->path);
}

/* What ran before the machine was restarted. */
static int void_all(struct or_file_leases *leases)
{
    int code = run(leases, VOID_LEASES);
    code = code == SQLITE_OK ? run(leases, VOID_WAITERS) : code;
    return code == SQLITE_OK ? run(leases, VOID_SHARED) : code;
}

/* From here on it is of this boot, in this place, and its tokens are above all that were given. */
static int begin_anew(struct or_file_leases *leases, const struct meta *meta)
{
    uint64_t leap = meta->same_place || leases->ceiling == 0 ? 0 : OR_LEDGER_LEAP;
    leases->book.base = leases->ceiling + leap;
    leases->ceiling = leases->book.base + BLOCK;
    sqlite3_stmt *stmt = sql(leases, SET_META);
    sqlite3_bind_text(stmt, 1, leases->machine.boot, -1, SQLITE_STATIC);
    sqlite3_bind_text(stmt, 2, leases->machine.machine, -1, SQLITE_STATIC);
    sqlite3_bind_text(stmt, 3, leases->file->place.text, -1, SQLITE_STATIC);
    bind_number(stmt, 4, leases->book.base);
    bind_number(stmt, 5, leases->ceiling);
    int code = or_file_finish(stmt);
    return code == SQLITE_OK && !meta->same_boot ? void_all(leases) : code;
}

/* Sees to it that what is recorded is of this boot and this file. *code: of SQLite's, or
 * TO_BE_DURABLE. */
static enum onerow_status settle(struct or_file_leases *leases, int *code,
                                 struct onerow_error *error)
{
    struct meta meta = {0};
    *code = load_meta(leases, &meta);
    if (*code != SQLITE_OK || (meta.same_boot && meta.same_place)) {
        return ONEROW_OK;
    }
    if (!*leases->machine.boot) {
        return or_fail(error, ONEROW_CONFIG,
                       "%s: leases need to know when the machine was restarted, and "
                       "/proc/sys/kernel/random/boot_id cannot be read\n  mount /proc",
                       leases->file->path);
    }
    if (!meta.same_boot && !meta.no_boot && !meta.same_machine) {
        return refuse_machine(leases->file, error);
    }
    *code = leases->durable ? begin_anew(leases, &meta) : TO_BE_DURABLE;
    return ONEROW_OK;
}

/* ---- transactions ----------------------------------------------------------------------------
 */

/* Within a transaction the setting cannot be changed. */
static int set_durable(struct or_file_leases *leases, bool durable)
{
    int code = SQLITE_OK;
    if (leases->waits != durable) {
        code = sqlite3_exec(leases->db,
                            durable ? "PRAGMA synchronous=EXTRA" : "PRAGMA synchronous=NORMAL",
                            NULL, NULL, NULL);
        leases->waits = code == SQLITE_OK ? durable : leases->waits;
    }
    leases->durable = durable;
    return code;
}

static void end(struct or_file_leases *leases)
{
    if (!sqlite3_get_autocommit(leases->db)) {
        (void)run(leases, ROLLBACK);
    }
    or_file_give_turn(leases->file);
}

static enum onerow_status fail(struct or_file_leases *leases, int code, const char *doing,
                               struct onerow_error *error)
{
    enum onerow_status status = code == SQLITE_NOMEM
                                    ? or_fail(error, ONEROW_NOMEM, "out of memory")
                                    : or_file_fail_on(leases->file, leases->db, code, doing, error);
    end(leases);
    return status;
}

/* As the ledger's begin, without what only the ledger needs. *code: see settle. */
static enum onerow_status begin(struct or_file_leases *leases, bool write, int *code,
                                struct onerow_error *error)
{
    struct or_file *file = leases->file;
    bool goes_on = or_file_take_turn(file, write);
    if (or_file_moved(file)) {
        or_file_give_turn(file);
        return or_file_gone(file, ONEROW_VANISHED, error);
    }
    *code = goes_on ? run(leases, write ? BEGIN_WRITE : BEGIN_READ) : SQLITE_BUSY;
    if (*code != SQLITE_OK) {
        return fail(leases, *code, "starting a transaction", error);
    }
    or_book_begin(&leases->book);
    enum onerow_status status = settle(leases, code, error);
    if (status != ONEROW_OK) {
        end(leases);
    }
    return status;
}

/* Copies the log into the database as far as nobody is in the way; see store_sqlite.c. */
static void end_turn(struct or_file_leases *leases)
{
    int pages = leases->wal_pages;
    leases->wal_pages = 0;
    if (pages < WAL_PAGES_MAX) {
        or_file_give_turn(leases->file);
    }
    if (pages >= WAL_PAGES) {
        sqlite3_wal_checkpoint_v2(leases->db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
    }
    or_file_give_turn(leases->file);
}

static enum onerow_status commit(struct or_file_leases *leases, struct onerow_error *error)
{
    int code = run(leases, COMMIT);
    if (code == SQLITE_OK) {
        or_book_tell(&leases->book);
        end_turn(leases);
        return ONEROW_OK;
    }
    enum onerow_status status = fail(leases, code, "committing", error);
    return or_file_kept_nothing(code) ? status : ONEROW_UNKNOWN;
}

typedef int step(struct or_file_leases *leases, void *context);

/* One try of a step that changes something. *again: it is to be durable. */
static enum onerow_status try_step(struct or_file_leases *leases, bool durable, step *run_step,
                                   void *context, bool *again, struct onerow_error *error)
{
    int code = set_durable(leases, durable);
    *again = false;
    if (code != SQLITE_OK) {
        return fail(leases, code, "opening", error);
    }
    enum onerow_status status = begin(leases, true, &code, error);
    if (status != ONEROW_OK) {
        return status;
    }
    code = code == SQLITE_OK ? run_step(leases, context) : code;
    if (code == TO_BE_DURABLE) {
        assert(!durable);
        end(leases);
        *again = true;
        return ONEROW_OK;
    }
    return code == SQLITE_OK ? commit(leases, error) : fail(leases, code, "writing", error);
}

static int note_wal(void *context, sqlite3 *db, const char *name, int pages)
{
    (void)db;
    (void)name;
    ((struct or_file_leases *)context)->wal_pages = pages;
    return SQLITE_OK;
}

/* ---- opening and closing ---------------------------------------------------------------------
 */

void or_file_leases_close(struct or_file_leases *leases)
{
    if (!leases) {
        return;
    }
    for (size_t i = 0; i < STATEMENTS; i++) {
        sqlite3_finalize(leases->statements[i]);
    }
    sqlite3_close_v2(leases->db);
    or_alive_end(&leases->alive);
    free(leases);
}

static void begin_session(struct or_file_leases *leases)
{
    struct stat info;
    struct or_buffer path;
    const char *name = sqlite3_db_filename(leases->db, "main");
    unsigned mode = stat(leases->file->path, &info) == 0 ? info.st_mode & 0666U : 0644U;
    or_buffer_init(&path);
    or_buffer_printf(&path, "%s-sessions", name && *name ? name : leases->file->path);
    if (!path.failed) {
        or_alive_begin(&leases->alive, or_buffer_cstr(&path), mode);
    }
    or_buffer_finish(&path);
}

static enum onerow_status open_leases(struct or_file *file, struct onerow_error *error)
{
    struct or_file_leases *leases = calloc(1, sizeof *leases);
    if (!leases) {
        return or_fail(error, ONEROW_NOMEM, "out of memory");
    }
    *leases = (struct or_file_leases){
        .book = {.ops = &book_ops}, .file = file, .waits = true, .alive = {.fd = -1}};
    int code = or_file_connect(file, &leases->db);
    if (!leases->db || code != SQLITE_OK) {
        enum onerow_status status =
            leases->db ? or_file_fail_on(file, leases->db, code, "opening", error)
                       : or_fail(error, ONEROW_NOMEM, "%s: out of memory", file->path);
        or_file_leases_close(leases);
        return status;
    }
    sqlite3_wal_hook(leases->db, note_wal, leases);
    or_machine_find(&leases->machine);
    begin_session(leases);
    file->leases = leases;
    return ONEROW_OK;
}

/* ---- the calls -------------------------------------------------------------------------------
 */

static enum onerow_status run_step(struct onerow_coordinator *base, bool durable, step *how,
                                   void *context, struct onerow_error *error)
{
    struct or_file *file = or_file_of(base);
    bool again = false;
    enum onerow_status status = file->leases ? ONEROW_OK : open_leases(file, error);
    if (!file->leases) {
        return status;
    }
    base->round_trips++;
    status = try_step(file->leases, durable, how, context, &again, error);
    return again ? try_step(file->leases, true, how, context, &again, error) : status;
}

static int acquire(struct or_file_leases *leases, void *context)
{
    return or_book_acquire(&leases->book, context);
}

static enum onerow_status sqlite_acquire(struct onerow_coordinator *base,
                                         struct onerow_lease_claim *claim,
                                         struct onerow_error *error)
{
    or_book_check(claim);
    return run_step(base, false, acquire, claim, error);
}

static int renew(struct or_file_leases *leases, void *context)
{
    return or_book_renew(&leases->book, context);
}

static enum onerow_status sqlite_renew(struct onerow_coordinator *base,
                                       struct onerow_lease_claim *claim, struct onerow_error *error)
{
    or_book_check(claim);
    return run_step(base, false, renew, claim, error);
}

static int release(struct or_file_leases *leases, void *context)
{
    return or_book_release(&leases->book, context);
}

static enum onerow_status sqlite_release(struct onerow_coordinator *base,
                                         struct onerow_lease_claim *claim,
                                         struct onerow_error *error)
{
    or_book_check_name(claim->name);
    return run_step(base, false, release, claim, error);
}

static int cancel(struct or_file_leases *leases, void *context)
{
    return or_book_cancel(&leases->book, context);
}

static enum onerow_status sqlite_cancel(struct onerow_coordinator *base,
                                        struct onerow_lease_claim *claim,
                                        struct onerow_error *error)
{
    or_book_check_name(claim->name);
    return run_step(base, false, cancel, claim, error);
}

struct forcing {
    struct onerow_lease_forced *forced;
    struct or_arena *arena;
    bool found;
};

static int force(struct or_file_leases *leases, void *context)
{
    struct forcing *forcing = context;
    return or_book_force(&leases->book, forcing->forced, forcing->arena, &forcing->found);
}

static enum onerow_status sqlite_force(struct onerow_coordinator *base,
                                       struct onerow_lease_forced *forced, struct or_arena *arena,
                                       struct onerow_error *error)
{
    struct forcing forcing = {.forced = forced, .arena = arena};
    or_book_check_name(forced->name);
    enum onerow_status status = run_step(base, true, force, &forcing, error);
    return status == ONEROW_OK && !forcing.found ? or_fail(error, ONEROW_ABSENT, "nobody holds it")
                                                 : status;
}

/* ---- lists -----------------------------------------------------------------------------------
 */

static int no_change(struct or_file_leases *leases, void *context)
{
    (void)leases;
    (void)context;
    return SQLITE_OK;
}

/* Begins to read. What is of another boot is made void by a transaction that writes, before. */
static enum onerow_status read_settled(struct onerow_coordinator *base, struct onerow_error *error)
{
    struct or_file_leases *leases = or_file_of(base)->leases;
    int code = SQLITE_OK;
    base->round_trips++;
    leases->durable = false;
    enum onerow_status status = begin(leases, false, &code, error);
    if (status == ONEROW_OK && code == TO_BE_DURABLE) {
        end(leases);
        status = run_step(base, true, no_change, NULL, error);
        status = status == ONEROW_OK ? begin(leases, false, &code, error) : status;
    }
    return status != ONEROW_OK || code == SQLITE_OK ? status : fail(leases, code, "reading", error);
}

/* A transaction that reads; NULL: *status says why there is none. */
static struct or_file_leases *begin_reading(struct onerow_coordinator *base,
                                            enum onerow_status *status, struct onerow_error *error)
{
    struct or_file *file = or_file_of(base);
    *status = file->leases ? ONEROW_OK : open_leases(file, error);
    if (file->leases) {
        *status = read_settled(base, error);
    }
    return *status == ONEROW_OK ? file->leases : NULL;
}

static enum onerow_status end_reading(struct or_file_leases *leases, int code,
                                      struct onerow_error *error)
{
    if (code != SQLITE_OK) {
        return fail(leases, code, "reading", error);
    }
    end(leases);
    return ONEROW_OK;
}

static bool begins_with(struct onerow_span text, struct onerow_span prefix)
{
    return text.len >= prefix.len &&
           or_span_equal((struct onerow_span){text.data, prefix.len}, prefix);
}

static int count_live(struct or_file_leases *leases, struct onerow_span name, uint64_t *n)
{
    sqlite3_stmt *stmt = sql_of(leases, LIVE_WAITERS, name);
    int code = SQLITE_DONE;
    bind_number(stmt, 2, leases->book.now_ms);
    *n = 0;
    while ((code = or_file_step(stmt)) == SQLITE_ROW) {
        struct or_book_session session = session_at(stmt, 0);
        *n += or_alive_lives(&leases->alive, &session);
    }
    return done(stmt, code);
}

/* The columns of LIST. */
static int read_view(struct or_file_leases *leases, sqlite3_stmt *stmt,
                     struct onerow_lease_view *view)
{
    struct or_book_lease lease = {0};
    read_lease(stmt, &lease);
    bool lives = lease.taken && or_alive_lives(&leases->alive, &lease.session);
    *view = (struct onerow_lease_view){
        .name = or_file_column(stmt, 7),
        .who = or_file_column(stmt, 8),
        .token = lease.token,
        .since_ms = number_at(stmt, 6),
        .left_ms = lives ? or_u64_sub(lease.expires_ms, leases->book.now_ms) : 0};
    view->held = view->left_ms > 0;
    return count_live(leases, view->name, &view->waiters);
}

static enum onerow_status sqlite_list(struct onerow_coordinator *base, struct onerow_span prefix,
                                      bool free_too, onerow_visit_lease *visit, void *context,
                                      struct onerow_error *error)
{
    enum onerow_status status = ONEROW_OK;
    struct or_file_leases *leases = begin_reading(base, &status, error);
    if (!leases) {
        return status;
    }
    sqlite3_stmt *stmt = sql_of(leases, LIST, prefix);
    int code = SQLITE_OK;
    for (bool more = true; more && (code = or_file_step(stmt)) == SQLITE_ROW;) {
        struct onerow_lease_view view;
        code = read_view(leases, stmt, &view);
        bool wanted = free_too || view.held || view.waiters;
        more = code == SQLITE_OK && begins_with(view.name, prefix) &&
               (!wanted || visit(context, &view));
    }
    return end_reading(leases, done(stmt, code), error);
}

static enum onerow_status sqlite_trail(struct onerow_coordinator *base, struct onerow_span prefix,
                                       onerow_visit_forced *visit, void *context,
                                       struct onerow_error *error)
{
    enum onerow_status status = ONEROW_OK;
    struct or_file_leases *leases = begin_reading(base, &status, error);
    if (!leases) {
        return status;
    }
    sqlite3_stmt *stmt = sql_of(leases, TRAIL, prefix);
    int code = SQLITE_OK;
    for (bool more = true; more && (code = or_file_step(stmt)) == SQLITE_ROW;) {
        struct onerow_lease_forced forced = {.name = or_file_column(stmt, 0),
                                             .who = or_file_column(stmt, 1),
                                             .by = or_file_column(stmt, 2),
                                             .token = number_at(stmt, 3),
                                             .at_ms = number_at(stmt, 4)};
        more = visit(context, &forced);
    }
    return end_reading(leases, done(stmt, code), error);
}

/* ---- shared records --------------------------------------------------------------------------
 */

struct sharing {
    struct onerow_span name;
    onerow_rule *rule;
    void *context;
    struct or_buffer becomes;
};

static int share(struct or_file_leases *leases, void *context)
{
    struct sharing *sharing = context;
    sqlite3_stmt *stmt = sql_of(leases, SHARED, sharing->name);
    int code = or_file_step(stmt);
    struct onerow_span body =
        code == SQLITE_ROW ? or_file_column(stmt, 0) : (struct onerow_span){NULL, 0};
    or_buffer_clear(&sharing->becomes);
    bool changes = (code == SQLITE_ROW || code == SQLITE_DONE) &&
                   sharing->rule(sharing->context, body, leases->book.now_ms, &sharing->becomes);
    code = done(stmt, code);
    if (code != SQLITE_OK || !changes) {
        return code;
    }
    assert(sharing->becomes.len <= ONEROW_SHARED_MAX);
    stmt = sql_of(leases, SHARE, sharing->name);
    or_file_bind(stmt, 2, or_buffer_view(&sharing->becomes));
    return sharing->becomes.failed ? SQLITE_NOMEM : or_file_finish(stmt);
}

static enum onerow_status sqlite_share(struct onerow_coordinator *base, struct onerow_span name,
                                       onerow_rule *rule, void *context, struct onerow_error *error)
{
    struct sharing sharing = {.name = name, .rule = rule, .context = context};
    or_book_check_name(name);
    or_buffer_init(&sharing.becomes);
    enum onerow_status status = run_step(base, false, share, &sharing, error);
    or_buffer_finish(&sharing.becomes);
    return status;
}

/* ---- descriptors -----------------------------------------------------------------------------
 */

/* Whose turn it is comes to base/wake.h's socket. */
static int sqlite_wake_fd(struct onerow_coordinator *base)
{
    (void)base;
    return -1;
}

static enum onerow_status sqlite_woken(struct onerow_coordinator *base, onerow_visit_woken *visit,
                                       void *context, struct onerow_error *error)
{
    (void)base;
    (void)visit;
    (void)context;
    (void)error;
    return ONEROW_OK;
}

static int sqlite_keep_fd(struct onerow_coordinator *base)
{
    struct or_file *file = or_file_of(base);
    return file->leases ? file->leases->alive.fd : -1;
}

const struct onerow_lease_ops or_file_lease_ops = {
    .acquire = sqlite_acquire,
    .renew = sqlite_renew,
    .release = sqlite_release,
    .cancel = sqlite_cancel,
    .force = sqlite_force,
    .list = sqlite_list,
    .trail = sqlite_trail,
    .share = sqlite_share,
    .wake_fd = sqlite_wake_fd,
    .woken = sqlite_woken,
    .keep_fd = sqlite_keep_fd,
};
