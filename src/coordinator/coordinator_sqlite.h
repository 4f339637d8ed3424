/* SPDX-License-Identifier: Apache-2.0
 *
 * What the parts of the SQLite coordinator share. Its rules are at the top of coordinator_sqlite.c.
 */
#ifndef OR_COORDINATOR_SQLITE_H
#define OR_COORDINATOR_SQLITE_H

#include <sqlite3.h>
#include <sys/stat.h>

#include "base/turn.h"
#include "coordinator/ledger_rules.h"

#define OR_FILE_PLACE 64U /* bytes of a place's text */
#define OR_FILE_WHY   400U

/* Which file it is (coordinator_sqlite_place.c). */
struct or_file_place {
    dev_t device;
    ino_t inode;
    char text[OR_FILE_PLACE]; /* as it is stored */
};

/* The statements that are kept ready, in the order of their texts in coordinator_sqlite.c. */
enum or_file_sql {
    OR_FILE_BEGIN_READ,
    OR_FILE_BEGIN_WRITE,
    OR_FILE_COMMIT,
    OR_FILE_ROLLBACK,
    OR_FILE_META,
    OR_FILE_COUNT,
    OR_FILE_DOUBT_ALL,
    OR_FILE_SPACE_NAMED,
    OR_FILE_SPACE_NUMBERED,
    OR_FILE_SPACE_ADD,
    OR_FILE_SPACE_DOUBT,
    OR_FILE_SPACE_CONFIRM,
    OR_FILE_NUMBERS,
    OR_FILE_FIND,
    OR_FILE_READ,
    OR_FILE_WRITE,
    OR_FILE_LIST,
    OR_FILE_FORGET,
    OR_FILE_STATEMENTS, /* how many */
};

/* The ledger's own row, as the running transaction sees it. */
struct or_file_meta {
    char id[OR_LEDGER_ID];
    char place[OR_FILE_PLACE];
    char why[OR_FILE_WHY]; /* of the last doubt; "" */
    uint64_t next_number;
    uint64_t epoch;
    uint64_t commits;
};

struct or_file_leases;

struct or_file {
    struct onerow_coordinator base;
    sqlite3 *db;
    char *path; /* owned */
    struct or_turn *turn;
    bool turn_held;
    bool writing; /* in a transaction that writes */
    uint64_t wait_ms;
    uint64_t deadline_ms; /* of the lock that is being waited for */
    const volatile bool *stop;
    struct or_file_place place;
    int mark;        /* descriptor of the mark, or -1 */
    uint64_t marked; /* what it said before the running transaction began */
    struct or_file_meta meta;
    struct or_ledger_entries entries;
    char why[OR_FILE_WHY]; /* of the last enter or witness */
    sqlite3_stmt *statements[OR_FILE_STATEMENTS];
    struct or_file_leases *leases; /* owned; NULL until the first call on leases */
};

static inline struct or_file *or_file_of(struct onerow_coordinator *coordinator)
{
    return (struct or_file *)coordinator;
}

/* ---- coordinator_sqlite.c -------------------------------------------------------------------- */

/* What a result code means, with the error filled; of the ledger's connection, or of another. */
enum onerow_status or_file_fail(struct or_file *file, int code, const char *doing,
                                struct onerow_error *error);
enum onerow_status or_file_fail_on(struct or_file *file, sqlite3 *db, int code, const char *doing,
                                   struct onerow_error *error);
/* Whether a COMMIT that answered this has kept nothing, for certain. */
bool or_file_kept_nothing(int code);
/* Fills the error of a file that is no longer at its path, and returns `status`. */
enum onerow_status or_file_gone(const struct or_file *file, enum onerow_status status,
                                struct onerow_error *error);
/* The statement, ready to be bound; NULL: it could not be prepared, which or_file_step tells. */
sqlite3_stmt *or_file_sql(struct or_file *file, enum or_file_sql which);
/* The same for a statement of another connection, prepared into *stmt when it is first used. */
sqlite3_stmt *or_file_prepared(sqlite3 *db, sqlite3_stmt **stmt, const char *text);
/* Runs it for one row: SQLITE_ROW, SQLITE_DONE or what went wrong. */
int or_file_step(sqlite3_stmt *stmt);
/* Runs a bound statement that answers nothing, to its end: SQLITE_OK or what went wrong. */
int or_file_finish(sqlite3_stmt *stmt);
void or_file_bind(sqlite3_stmt *stmt, int at, struct onerow_span bytes);
struct onerow_span or_file_column(sqlite3_stmt *stmt, int column);

/* Another connection to the same file, which waits for locks as the ledger's does. */
ONEROW_CHECKED int or_file_connect(struct or_file *file, sqlite3 **db);
/* Locks are waited for until wait_ms from now. To write, waits for the turn first; false: *stop was
 * set meanwhile. */
ONEROW_CHECKED bool or_file_take_turn(struct or_file *file, bool write);
void or_file_give_turn(struct or_file *file);

/* One transaction. `begin` waits its turn for the lock where it is to write, and reads the ledger's
 * row; after a failure of anything in between, `rollback` ends it. UNKNOWN comes from commit alone;
 * with anything but OK nothing is left open. */
ONEROW_CHECKED enum onerow_status or_file_begin(struct or_file *file, bool write,
                                                struct onerow_error *error);
ONEROW_CHECKED enum onerow_status or_file_commit(struct or_file *file, struct onerow_error *error);
void or_file_rollback(struct or_file *file);

/* ---- coordinator_sqlite_place.c -------------------------------------------------------------- */

/* Finds out which file is open. */
ONEROW_CHECKED enum onerow_status or_file_find_place(struct or_file *file,
                                                     struct onerow_error *error);
/* Whether the file at the path is another one than the one that is open. */
bool or_file_moved(const struct or_file *file);
void or_file_open_mark(struct or_file *file);
/* How many commits the mark knows of for this ledger; 0: it knows none. */
uint64_t or_file_read_mark(const struct or_file *file);
void or_file_write_mark(const struct or_file *file);
/* Why this may not be the ledger that it was, in `why`; false: nothing says so. Within a
 * transaction. */
bool or_file_is_suspect(const struct or_file *file, char why[OR_FILE_WHY]);

/* ---- coordinator_sqlite_ledger.c ------------------------------------------------------------- */

extern const struct onerow_ledger_ops or_file_ledger;

/* ---- coordinator_sqlite_lease.c -------------------------------------------------------------- */

extern const struct onerow_lease_ops or_file_lease_ops;
void or_file_leases_close(struct or_file_leases *leases); /* NULL is accepted */

#endif
