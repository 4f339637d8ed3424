/* SPDX-License-Identifier: Apache-2.0
 *
 * What people write by hand, in its good and in its usual form, against a table that exists. The
 * rows are those of generate.c, read with getline and yyjson; statements are prepared once; WAL
 * and synchronous=FULL.
 *
 *   peer_sqlite DB upsert ROWS FILE SECONDS
 *       ROWS upserts per BEGIN IMMEDIATE … COMMIT (0: all of them), with a busy timeout, until the
 *       file or the time (0: no limit) is over
 *   peer_sqlite DB naive BUSY_MS SECONDS FILE
 *       BEGIN, look whether the row is there, UPDATE or INSERT, COMMIT; once more from the
 *       beginning when SQLite answers SQLITE_BUSY; until the time or the file is over
 *
 * Prints "ROWS BUSY": rows written, and how often SQLITE_BUSY was answered. Work begins when
 * standard input is at its end, so that several of them can begin at the same time.
 */
#include <math.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <yyjson.h>

#define COLUMNS      7
#define BUSY_TIMEOUT 60000

static const char upsert_sql[] =
    "INSERT INTO items (name, worker, city, price, stock, note, seen) "
    "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (name) DO UPDATE SET "
    "worker = excluded.worker, city = excluded.city, price = excluded.price, "
    "stock = excluded.stock, note = excluded.note, seen = excluded.seen";
static const char insert_sql[] = "INSERT INTO items (name, worker, city, price, stock, note, seen) "
                                 "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
static const char update_sql[] = "UPDATE items SET worker = ?2, city = ?3, price = ?4, stock = ?5, "
                                 "note = ?6, seen = ?7 WHERE name = ?1";
static const char select_sql[] = "SELECT 1 FROM items WHERE name = ?1";

struct peer {
    sqlite3 *db;
    FILE *file;
    char *line;
    size_t room;
    unsigned long rows;
    unsigned long busy;
};

static void die(struct peer *peer, const char *what)
{
    fprintf(stderr, "peer_sqlite: %s: %s\n", what, sqlite3_errmsg(peer->db));
    exit(1);
}

static void run(struct peer *peer, const char *sql)
{
    if (sqlite3_exec(peer->db, sql, NULL, NULL, NULL) != SQLITE_OK) {
        die(peer, sql);
    }
}

static sqlite3_stmt *prepare(struct peer *peer, const char *sql)
{
    sqlite3_stmt *stmt = NULL;
    if (sqlite3_prepare_v2(peer->db, sql, -1, &stmt, NULL) != SQLITE_OK) {
        die(peer, sql);
    }
    return stmt;
}

/* The next record; NULL at the end. */
static yyjson_doc *next(struct peer *peer)
{
    ssize_t len = getline(&peer->line, &peer->room, peer->file);
    if (len <= 0) {
        return NULL;
    }
    yyjson_doc *doc = yyjson_read(peer->line, (size_t)len, 0);
    if (!doc) {
        die(peer, "a line is no JSON");
    }
    return doc;
}

static void bind_value(sqlite3_stmt *stmt, int at, yyjson_val *value)
{
    if (yyjson_is_str(value)) {
        sqlite3_bind_text(stmt, at, yyjson_get_str(value), (int)yyjson_get_len(value),
                          SQLITE_STATIC);
    } else if (yyjson_is_real(value)) {
        sqlite3_bind_double(stmt, at, yyjson_get_real(value));
    } else {
        sqlite3_bind_int64(stmt, at, yyjson_get_sint(value));
    }
}

/* Binds the first n columns; generate.c writes the fields in the columns' order. */
static void bind_row(sqlite3_stmt *stmt, yyjson_doc *doc, int n)
{
    yyjson_obj_iter fields;
    yyjson_obj_iter_init(yyjson_doc_get_root(doc), &fields);
    for (int at = 1; at <= n; at++) {
        bind_value(stmt, at, yyjson_obj_iter_get_val(yyjson_obj_iter_next(&fields)));
    }
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static int step(sqlite3_stmt *stmt)
{
    int code = sqlite3_step(stmt);
    sqlite3_reset(stmt);
    return code;
}

/* ---- in its good form ------------------------------------------------------------------ */

static void upsert(struct peer *peer, unsigned long rows, double seconds)
{
    double end = seconds > 0 ? now() + seconds : INFINITY;
    sqlite3_stmt *begin = prepare(peer, "BEGIN IMMEDIATE");
    sqlite3_stmt *commit = prepare(peer, "COMMIT");
    sqlite3_stmt *stmt = prepare(peer, upsert_sql);
    unsigned long open_rows = 0;
    for (yyjson_doc *doc = next(peer); doc; doc = next(peer)) {
        if (open_rows == 0 && step(begin) != SQLITE_DONE) {
            die(peer, "BEGIN IMMEDIATE");
        }
        bind_row(stmt, doc, COLUMNS);
        if (step(stmt) != SQLITE_DONE) {
            die(peer, "INSERT");
        }
        yyjson_doc_free(doc);
        peer->rows++;
        if (++open_rows == rows) {
            if (step(commit) != SQLITE_DONE) {
                die(peer, "COMMIT");
            }
            open_rows = 0;
            if (now() >= end) {
                return;
            }
        }
    }
    if (open_rows && step(commit) != SQLITE_DONE) {
        die(peer, "COMMIT");
    }
}

/* ---- in its usual form ----------------------------------------------------------------- */

struct naive {
    sqlite3_stmt *begin;
    sqlite3_stmt *look;
    sqlite3_stmt *insert;
    sqlite3_stmt *update;
    sqlite3_stmt *commit;
    sqlite3_stmt *rollback;
};

static int check_then_write(struct naive *naive, yyjson_doc *doc)
{
    int code = step(naive->begin);
    if (code != SQLITE_DONE) {
        return code;
    }
    bind_row(naive->look, doc, 1);
    code = step(naive->look);
    if (code == SQLITE_ROW || code == SQLITE_DONE) {
        sqlite3_stmt *write = code == SQLITE_ROW ? naive->update : naive->insert;
        bind_row(write, doc, COLUMNS);
        code = step(write);
    }
    return code == SQLITE_DONE ? step(naive->commit) : code;
}

/* False: the time was over before the record was written. */
static int write_once(struct peer *peer, struct naive *naive, yyjson_doc *doc, double end)
{
    while (now() < end) {
        int code = check_then_write(naive, doc);
        if (code == SQLITE_DONE) {
            peer->rows++;
            return 1;
        }
        if ((code & 0xff) != SQLITE_BUSY) {
            die(peer, "check, then write");
        }
        peer->busy++;
        if (!sqlite3_get_autocommit(peer->db)) {
            step(naive->rollback);
        }
    }
    return 0;
}

static void naive(struct peer *peer, double seconds)
{
    struct naive statements = {
        .begin = prepare(peer, "BEGIN"),
        .look = prepare(peer, select_sql),
        .insert = prepare(peer, insert_sql),
        .update = prepare(peer, update_sql),
        .commit = prepare(peer, "COMMIT"),
        .rollback = prepare(peer, "ROLLBACK"),
    };
    double end = now() + seconds;
    yyjson_doc *doc = next(peer);
    while (doc && write_once(peer, &statements, doc, end)) {
        yyjson_doc_free(doc);
        doc = next(peer);
    }
    yyjson_doc_free(doc);
}

/* ---- both ------------------------------------------------------------------------------ */

static void open_all(struct peer *peer, const char *database, const char *file)
{
    peer->file = fopen(file, "r");
    if (!peer->file) {
        perror(file);
        exit(66);
    }
    if (sqlite3_open_v2(database, &peer->db, SQLITE_OPEN_READWRITE, NULL) != SQLITE_OK) {
        die(peer, database);
    }
    sqlite3_busy_timeout(peer->db, BUSY_TIMEOUT);
    run(peer, "PRAGMA journal_mode=WAL");
    run(peer, "PRAGMA synchronous=FULL");
}

static void wait_for_start(void)
{
    char byte;
    while (read(STDIN_FILENO, &byte, 1) > 0) {
    }
}

int main(int argc, char **argv)
{
    struct peer peer = {0};
    if (argc == 6 && strcmp(argv[2], "upsert") == 0) {
        open_all(&peer, argv[1], argv[4]);
        wait_for_start();
        upsert(&peer, strtoul(argv[3], NULL, 10), strtod(argv[5], NULL));
    } else if (argc == 6 && strcmp(argv[2], "naive") == 0) {
        open_all(&peer, argv[1], argv[5]);
        wait_for_start();
        sqlite3_busy_timeout(peer.db, atoi(argv[3]));
        naive(&peer, strtod(argv[4], NULL));
    } else {
        fputs("peer_sqlite DB upsert ROWS FILE SECONDS | DB naive BUSY_MS SECONDS FILE\n", stderr);
        return 64;
    }
    sqlite3_close_v2(peer.db); /* prepared statements end with the process */
    printf("%lu %lu\n", peer.rows, peer.busy);
    return 0;
}
