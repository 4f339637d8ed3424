/* SPDX-License-Identifier: Apache-2.0
 *
 * `onerow init`: the tables that there are, each with the key that a unique index suggests.
 *
 * The narrowest full unique index that is not merely the rowid; else the primary key.
 */
#include "base/arena.h"
#include "base/status.h"
#include "base/text.h"
#include "store/store_sqlite.h"
#include "store/suggest.h"

/* A row for each key column, or one without a column. */
static const char tables_sql[] =
    "SELECT s.name, k.value FROM (SELECT t.name, coalesce((SELECT (SELECT json_group_array(i.name) "
    "FROM pragma_index_info(l.name) AS i) FROM pragma_index_list(t.name) AS l WHERE l.\"unique\" "
    "AND NOT l.partial AND NOT EXISTS (SELECT 1 FROM pragma_index_info(l.name) AS i WHERE i.cid < "
    "0) ORDER BY l.origin = 'pk', (SELECT count(*) FROM pragma_index_info(l.name)), l.seq LIMIT "
    "1), "
    "(SELECT CASE count(*) WHEN 0 THEN NULL ELSE json_group_array(c.name) END FROM "
    "pragma_table_info(t.name) AS c WHERE c.pk)) AS columns FROM pragma_table_list AS t WHERE "
    "t.schema = 'main' AND t.type = 'table' AND t.name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND "
    "(?1 IS NULL OR t.name = ?1 COLLATE NOCASE)) AS s LEFT JOIN json_each(s.columns) AS k ORDER BY "
    "s.name, k.key";

#define ROWS_MAX 1000000U /* key columns of a database's tables */

struct rows {
    struct or_suggested *list; /* in the arena */
    size_t n;
    size_t room;
};

static bool has_room(struct rows *rows, struct or_arena *arena)
{
    if (rows->n < rows->room) {
        return true;
    }
    size_t room = rows->room ? 2 * rows->room : 64;
    struct or_suggested *list =
        room <= ROWS_MAX ? or_arena_alloc(arena, room * sizeof *list) : NULL;
    for (size_t i = 0; list && i < rows->n; i++) {
        list[i] = rows->list[i];
    }
    rows->list = list ? list : rows->list;
    rows->room = list ? room : rows->room;
    return list != NULL;
}

/* False: out of memory. */
static bool add_row(struct rows *rows, sqlite3_stmt *stmt, struct or_arena *arena)
{
    const char *name = (const char *)sqlite3_column_text(stmt, 0);
    const char *column = (const char *)sqlite3_column_text(stmt, 1);
    if (!name || !has_room(rows, arena)) {
        return false;
    }
    name = or_arena_copy(arena, or_span(name)).data;
    column = column ? or_arena_copy(arena, or_span(column)).data : NULL;
    rows->list[rows->n++] = (struct or_suggested){.name = name, .location = name, .column = column};
    return name && (column || sqlite3_column_type(stmt, 1) == SQLITE_NULL);
}

/* All of them at once: the tables are opened later, one by one. */
static enum onerow_status read_rows(struct or_sqlite_store *store, const char *location,
                                    struct or_arena *arena, struct rows *rows,
                                    struct onerow_error *error)
{
    sqlite3_stmt *stmt = NULL;
    enum onerow_status status = or_sqlite_prepare(store, tables_sql, &stmt, error);
    if (status != ONEROW_OK) {
        return status;
    }
    sqlite3_bind_text(stmt, 1, location, -1, SQLITE_STATIC);
    int code = SQLITE_ROW;
    while (status == ONEROW_OK && (code = sqlite3_step(stmt)) == SQLITE_ROW) {
        status =
            add_row(rows, stmt, arena) ? ONEROW_OK : or_fail(error, ONEROW_NOMEM, "out of memory");
    }
    if (status == ONEROW_OK && code != SQLITE_DONE) {
        status = or_sqlite_fail(store, code, "listing the tables", error);
    }
    sqlite3_finalize(stmt);
    return status;
}

enum onerow_status or_sqlite_suggest(struct onerow_store *base, const char *name,
                                     const char *location, struct or_buffer *yaml,
                                     struct onerow_error *error)
{
    struct or_sqlite_store *store = or_sqlite_store_of(base);
    struct rows rows = {0};
    struct or_arena arena;
    or_arena_init(&arena);
    enum onerow_status status = read_rows(store, location, &arena, &rows, error);
    if (status == ONEROW_OK && rows.n == 0) {
        status = or_fail(error, ONEROW_ABSENT, "%s: there is no table%s%s", store->path,
                         location ? " " : "", location ? location : "");
    }
    if (status == ONEROW_OK) {
        status = or_suggest_tables(base, name, rows.list, rows.n, yaml, error);
    }
    or_arena_finish(&arena);
    return status;
}
