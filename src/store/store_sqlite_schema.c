/* SPDX-License-Identifier: Apache-2.0
 *
 * Looking at a table: its columns, its id, and whether its unique index keeps one row per
 * key by the same equality as the canonical form k1.
 *
 * Pairs that agree (docs/STORES.md shows the table):
 *
 *   key type                        column                          stored as
 *   text                            TEXT affinity, BINARY           the text
 *   int                             INTEGER or NUMERIC affinity     64-bit integer
 *   bool                            INTEGER or NUMERIC affinity     0 or 1
 *   decimal, date, timestamp, uuid  declared "DECIMAL TEXT", …,     canonical text
 *                                   BINARY
 *
 * Everything else is refused: a NOCASE or RTRIM index joins keys that differ, NUMERIC
 * columns hold decimals as doubles, untyped columns keep 1 and '1' apart, and a plain
 * TEXT column may already hold '2024-01-01 00:00:00', which as a timestamp is the key
 * that would be stored as '2024-01-01T00:00:00Z' beside it.
 *
 * The last word has SQLite: the upsert is prepared with the conflict target, and a target
 * without a matching unique index, or with a partial one, is an error there.
 */
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "base/text.h"
#include "store/spec.h"
#include "store/store_sqlite.h"

/* ---- types ------------------------------------------------------------------- */

/* The same in every locale, unlike those of <ctype.h> and <strings.h>. */
static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool same_word(const char *a, const char *b)
{
    return or_ascii_equal_fold(or_span(a), or_span(b));
}

static bool mentions(const char *declared, const char *word)
{
    size_t len = strlen(word);
    for (size_t at = 0; at + len <= strlen(declared); at++) {
        if (or_ascii_equal_fold((struct onerow_span){declared + at, len}, or_span(word))) {
            return true;
        }
    }
    return false;
}

/* https://sqlite.org/datatype3.html, section 3.1: the rules in their order. */
static enum or_affinity affinity_of(const char *declared, bool strict)
{
    if (strict && same_word(declared, "ANY")) {
        return OR_AFFINITY_BLOB;
    }
    if (mentions(declared, "INT")) {
        return OR_AFFINITY_INTEGER;
    }
    if (mentions(declared, "CHAR") || mentions(declared, "CLOB") || mentions(declared, "TEXT")) {
        return OR_AFFINITY_TEXT;
    }
    if (mentions(declared, "BLOB") || !*declared) {
        return OR_AFFINITY_BLOB;
    }
    if (mentions(declared, "REAL") || mentions(declared, "FLOA") || mentions(declared, "DOUB")) {
        return OR_AFFINITY_REAL;
    }
    return OR_AFFINITY_NUMERIC;
}

static bool begins(const char *declared, const char *word)
{
    size_t len = strlen(word);
    return strlen(declared) >= len &&
           or_ascii_equal_fold((struct onerow_span){declared, len}, or_span(word)) &&
           !is_letter(declared[len]);
}

static enum onerow_type type_of(const char *declared, enum or_affinity affinity)
{
    if (begins(declared, "BOOL") || begins(declared, "BOOLEAN")) {
        return ONEROW_TYPE_BOOL;
    }
    if (begins(declared, "DECIMAL") || begins(declared, "NUMERIC")) {
        return ONEROW_TYPE_DECIMAL;
    }
    if (begins(declared, "DATE")) {
        return ONEROW_TYPE_DATE;
    }
    if (begins(declared, "TIMESTAMP") || begins(declared, "DATETIME") ||
        begins(declared, "TIMESTAMPTZ")) {
        return ONEROW_TYPE_TIMESTAMP;
    }
    if (begins(declared, "UUID")) {
        return ONEROW_TYPE_UUID;
    }
    if (begins(declared, "JSON") || begins(declared, "JSONB")) {
        return ONEROW_TYPE_JSON;
    }
    if (affinity == OR_AFFINITY_INTEGER) {
        return ONEROW_TYPE_INT;
    }
    return affinity == OR_AFFINITY_TEXT ? ONEROW_TYPE_TEXT : ONEROW_TYPE_UNKNOWN;
}

/* ---- columns ----------------------------------------------------------------- */

enum { XINFO_NAME = 1, XINFO_TYPE, XINFO_NOTNULL, XINFO_DEFAULT, XINFO_PK, XINFO_HIDDEN };

struct look {
    struct or_sqlite_store *store;
    struct or_sqlite_table *table;
    struct onerow_column *columns;
    struct onerow_error *error;
    bool without_rowid;
    int pk_columns;   /* of the primary key */
    int pk_column;    /* the last one seen of them */
    bool rowid_alias; /* that column is the rowid */
    bool no_memory;   /* a text was cut or not had: whatever was seen is worth nothing */
};

/* Keeps a text that SQLite gave, which is NULL only for want of memory. Never NULL. */
static const char *keep(struct look *look, const char *text)
{
    const char *kept = text ? or_arena_copy(&look->table->arena, or_span(text)).data : NULL;
    look->no_memory |= !kept;
    return kept ? kept : "";
}

/* The same for a text that was put together; finishes the buffer. */
static const char *keep_made(struct look *look, struct or_buffer *text)
{
    const char *kept = keep(look, or_buffer_cstr(text));
    look->no_memory |= text->failed;
    or_buffer_finish(text);
    return kept;
}

/* What SQLite answered to a question whose failure has no status of its own. */
static int heard(struct look *look, int code)
{
    look->no_memory |= (code & 0xff) == SQLITE_NOMEM || code == SQLITE_IOERR_NOMEM;
    return code;
}

static const char *why_not_writable(int hidden)
{
    switch (hidden) {
    case 0: return NULL;
    case 2:
    case 3: return "is a generated column";
    default: return "is a hidden column";
    }
}

static void look_at_column(struct look *look, sqlite3_stmt *row, size_t at)
{
    struct or_sqlite_table *table = look->table;
    struct onerow_column *column = &look->columns[at];
    column->name = keep(look, (const char *)sqlite3_column_text(row, XINFO_NAME));
    column->declared = keep(look, (const char *)sqlite3_column_text(row, XINFO_TYPE));
    table->affinity[at] = affinity_of(column->declared, table->strict);
    column->type = type_of(column->declared, table->affinity[at]);
    int hidden = sqlite3_column_int(row, XINFO_HIDDEN);
    column->not_writable = why_not_writable(hidden);
    bool in_pk = sqlite3_column_int(row, XINFO_PK) > 0;
    if (in_pk) {
        look->pk_columns++;
        look->pk_column = (int)at;
        look->rowid_alias = !look->without_rowid && same_word(column->declared, "INTEGER");
    }
    bool notnull = sqlite3_column_int(row, XINFO_NOTNULL) || (in_pk && look->without_rowid);
    table->nullable[at] = !notnull;
    column->required =
        notnull && hidden == 0 && sqlite3_column_type(row, XINFO_DEFAULT) == SQLITE_NULL;
}

/* INTEGER PRIMARY KEY DESC is no rowid (https://sqlite.org/lang_createtable.html#rowid): it has an
 * index of its own, as every other primary key of a rowid table. */
static bool has_pk_index(struct look *look)
{
    sqlite3_stmt *stmt = NULL;
    bool found = true;
    if (heard(look,
              sqlite3_prepare_v2(look->store->db,
                                 "SELECT 1 FROM pragma_index_list(?1, ?2) WHERE origin = 'pk'", -1,
                                 &stmt, NULL)) == SQLITE_OK) {
        sqlite3_bind_text(stmt, 1, look->table->name, -1, SQLITE_STATIC);
        sqlite3_bind_text(stmt, 2, look->table->schema, -1, SQLITE_STATIC);
        found = heard(look, sqlite3_step(stmt)) == SQLITE_ROW;
    }
    sqlite3_finalize(stmt);
    return found;
}

/* The rowid fills itself in, so a rowid alias is never required. */
static void free_rowid_alias(struct look *look)
{
    look->rowid_alias = look->rowid_alias && look->pk_columns == 1 && !has_pk_index(look);
    if (look->rowid_alias) {
        look->columns[look->pk_column].required = false;
        look->table->nullable[look->pk_column] = false;
    }
}

static enum onerow_status look_at_columns(struct look *look)
{
    struct or_sqlite_table *table = look->table;
    look->columns = or_arena_alloc(&table->arena, ONEROW_COLUMNS_MAX * sizeof *look->columns);
    table->affinity = or_arena_alloc(&table->arena, ONEROW_COLUMNS_MAX * sizeof *table->affinity);
    table->nullable = or_arena_alloc(&table->arena, ONEROW_COLUMNS_MAX * sizeof *table->nullable);
    if (!look->columns || !table->affinity || !table->nullable) {
        return or_fail(look->error, ONEROW_NOMEM, "out of memory");
    }
    sqlite3_stmt *stmt = NULL;
    enum onerow_status status = or_sqlite_prepare(
        look->store, "SELECT * FROM pragma_table_xinfo(?1, ?2)", &stmt, look->error);
    if (status != ONEROW_OK) {
        return status;
    }
    sqlite3_bind_text(stmt, 1, table->name, -1, SQLITE_STATIC);
    sqlite3_bind_text(stmt, 2, table->schema, -1, SQLITE_STATIC);
    size_t n = 0;
    int code = SQLITE_ROW;
    while ((code = sqlite3_step(stmt)) == SQLITE_ROW && n < ONEROW_COLUMNS_MAX) {
        look_at_column(look, stmt, n++);
    }
    if (code != SQLITE_DONE && code != SQLITE_ROW) {
        status = or_sqlite_fail(look->store, code, "reading the table's columns", look->error);
    }
    sqlite3_finalize(stmt);
    free_rowid_alias(look);
    table->base.columns = look->columns;
    table->base.n_columns = n;
    return status;
}

static int find_column(const struct or_sqlite_table *table, const char *name)
{
    for (size_t i = 0; i < table->base.n_columns; i++) {
        if (strcmp(table->base.columns[i].name, name) == 0) {
            return (int)i;
        }
    }
    return -1;
}

/* Whether it is a table at all, and which kind. ABSENT: there is none. */
static enum onerow_status look_at_kind(struct look *look)
{
    sqlite3_stmt *stmt = NULL;
    enum onerow_status status = or_sqlite_prepare(look->store,
                                                  "SELECT type, wr, strict FROM pragma_table_list "
                                                  "WHERE schema = ?1 AND name = ?2 COLLATE NOCASE",
                                                  &stmt, look->error);
    if (status != ONEROW_OK) {
        return status;
    }
    sqlite3_bind_text(stmt, 1, look->table->schema, -1, SQLITE_STATIC);
    sqlite3_bind_text(stmt, 2, look->table->name, -1, SQLITE_STATIC);
    int code = sqlite3_step(stmt);
    if (code == SQLITE_DONE) {
        status = or_fail(look->error, ONEROW_ABSENT,
                         "%s: there is no table \"%s\"\n  onerow put --create-table makes it",
                         look->store->path, look->table->name);
    } else if (code != SQLITE_ROW) {
        status = or_sqlite_fail(look->store, code, "reading the schema", look->error);
    } else if (!sqlite3_column_text(stmt, 0)) {
        status = or_fail(look->error, ONEROW_NOMEM, "out of memory");
    } else if (strcmp((const char *)sqlite3_column_text(stmt, 0), "table") != 0) {
        status = or_fail(look->error, ONEROW_CONFIG, "%s: \"%s\" is a %s; name a table",
                         look->store->path, look->table->name, sqlite3_column_text(stmt, 0));
    } else {
        look->without_rowid = sqlite3_column_int(stmt, 1);
        look->table->strict = sqlite3_column_int(stmt, 2);
    }
    sqlite3_finalize(stmt);
    return status;
}

/* ---- the row's id ------------------------------------------------------------ */

static void choose_id(struct look *look)
{
    struct or_sqlite_table *table = look->table;
    struct or_buffer sql;
    or_buffer_init(&sql);
    or_buffer_text(&sql, "r.");
    table->id_column = -1;
    if (look->pk_columns == 1) {
        table->id_column = look->pk_column;
        or_sqlite_quote(&sql, look->columns[look->pk_column].name);
        table->id_is_rowid = look->rowid_alias;
        table->id_sql = keep_made(look, &sql);
    } else if (!look->without_rowid) {
        static const char *const names[] = {"rowid", "_rowid_", "oid"};
        for (size_t i = 0; i < 3 && !table->id_sql; i++) {
            bool shadowed = false;
            for (size_t c = 0; c < table->base.n_columns; c++) {
                shadowed |= same_word(table->base.columns[c].name, names[i]);
            }
            if (!shadowed) {
                or_buffer_text(&sql, names[i]);
                table->id_is_rowid = true;
                table->id_sql = keep_made(look, &sql);
            }
        }
    }
    or_buffer_finish(&sql);
}

/* ---- the key ----------------------------------------------------------------- */

static bool text_in_canonical_form(enum onerow_type type)
{
    return type == ONEROW_TYPE_DECIMAL || type == ONEROW_TYPE_DATE ||
           type == ONEROW_TYPE_TIMESTAMP || type == ONEROW_TYPE_UUID;
}

/* NULL when the pair agrees, else why it does not (a clause behind the column's name). */
static const char *disagreement(const struct or_sqlite_table *table, size_t column,
                                enum onerow_type type)
{
    enum or_affinity affinity = table->affinity[column];
    const struct onerow_column *shown = &table->base.columns[column];
    switch (type) {
    case ONEROW_TYPE_TEXT:
        return affinity == OR_AFFINITY_TEXT
                   ? NULL
                   : "does not hold text as it is: SQLite keeps '1' and 1 apart there, or joins "
                     "'1' and '1.0'";
    case ONEROW_TYPE_INT:
    case ONEROW_TYPE_BOOL:
        return affinity == OR_AFFINITY_INTEGER || affinity == OR_AFFINITY_NUMERIC
                   ? NULL
                   : "does not hold whole numbers as numbers";
    default: break;
    }
    if (text_in_canonical_form(type) && affinity == OR_AFFINITY_TEXT && shown->type == type) {
        return NULL;
    }
    if (type == ONEROW_TYPE_DECIMAL && affinity != OR_AFFINITY_TEXT) {
        return "holds decimals as doubles: two that differ only behind the 15th digit become one";
    }
    return "compares by spelling: one value may be there in another spelling already";
}

static const char *marker_of(enum onerow_type type)
{
    switch (type) {
    case ONEROW_TYPE_DECIMAL: return "DECIMAL TEXT";
    case ONEROW_TYPE_DATE: return "DATE TEXT";
    case ONEROW_TYPE_TIMESTAMP: return "TIMESTAMP TEXT";
    case ONEROW_TYPE_UUID: return "UUID TEXT";
    case ONEROW_TYPE_INT: return "INTEGER";
    case ONEROW_TYPE_BOOL: return "BOOLEAN";
    default: return "TEXT";
    }
}

static enum onerow_status resolve_key_column(struct look *look, size_t i)
{
    struct or_sqlite_table *table = look->table;
    const struct onerow_key_column *key = &table->spec.key[i];
    int column = find_column(table, key->name);
    if (column < 0) {
        return or_fail(look->error, ONEROW_CONFIG, "table \"%s\" has no column \"%s\" for its key",
                       table->name, key->name);
    }
    const struct onerow_column *shown = &look->columns[column];
    if (shown->not_writable) {
        return or_fail(look->error, ONEROW_CONFIG,
                       "table \"%s\": key column \"%s\" %s; a key must be written", table->name,
                       key->name, shown->not_writable);
    }
    if (key->nulls_equal && look->rowid_alias && look->pk_column == column) {
        return or_fail(look->error, ONEROW_CONFIG,
                       "table \"%s\": key column \"%s\" is the rowid: SQLite makes a new number of "
                       "NULL, so nulls: equal cannot hold",
                       table->name, key->name);
    }
    enum onerow_type type = key->type == ONEROW_TYPE_UNKNOWN ? shown->type : key->type;
    bool store_rules = table->spec.store_key_equality || table->spec.only_look;
    if (store_rules && (type == ONEROW_TYPE_UNKNOWN || type == ONEROW_TYPE_JSON)) {
        type = ONEROW_TYPE_TEXT;
    }
    const char *why = store_rules ? NULL : disagreement(table, (size_t)column, type);
    if (why) {
        return or_fail(look->error, ONEROW_CONFIG,
                       "table \"%s\": key column \"%s\" (%s) as %s: it %s\n  declare it %s, give "
                       "the key another type (\"%s:text\"), or accept SQLite's own equality with "
                       "`key_equality: store` in onerow.yaml",
                       table->name, key->name, *shown->declared ? shown->declared : "no type",
                       or_spec_type_word(type), why, marker_of(type), key->name);
    }
    table->base.key[i] = (uint16_t)column;
    table->base.key_types[i] = type;
    return ONEROW_OK;
}

static enum onerow_status resolve_key(struct look *look)
{
    for (size_t i = 0; i < look->table->spec.n_key; i++) {
        enum onerow_status status = resolve_key_column(look, i);
        if (status != ONEROW_OK) {
            return status;
        }
    }
    return ONEROW_OK;
}

static bool null_is_a_key(const struct or_sqlite_table *table, size_t i)
{
    return table->spec.key[i].nulls_equal && table->nullable[table->base.key[i]];
}

/* The equality that the index must have: that of the canonical form, or, where the store's is
 * accepted, the column's own, by which rows are looked up. */
static const char *wanted_collation(struct look *look, size_t i)
{
    const struct or_sqlite_table *table = look->table;
    const char *collation = NULL;
    if (table->spec.store_key_equality) {
        heard(look, sqlite3_table_column_metadata(look->store->db, table->schema, table->name,
                                                  table->spec.key[i].name, NULL, &collation, NULL,
                                                  NULL, NULL));
    }
    return collation ? collation : "BINARY";
}

static void build_target(struct look *look)
{
    struct or_sqlite_table *table = look->table;
    /* A rowid has no collation, and SQLite does not know it again when one is named. */
    bool rowid =
        look->rowid_alias && table->spec.n_key == 1 && look->pk_column == table->base.key[0];
    struct or_buffer sql;
    or_buffer_init(&sql);
    for (size_t i = 0; i < table->spec.n_key; i++) {
        or_buffer_text(&sql, i ? ", " : "");
        or_sqlite_quote(&sql, table->spec.key[i].name);
        if (null_is_a_key(table, i)) {
            or_buffer_text(&sql, " IS NULL, ifnull(");
            or_sqlite_quote(&sql, table->spec.key[i].name);
            or_buffer_text(&sql, ", 0)");
        } else if (!rowid) {
            or_buffer_text(&sql, " COLLATE ");
            or_sqlite_quote(&sql, wanted_collation(look, i));
        }
    }
    table->target = keep_made(look, &sql);
}

/* Written so that the unique index answers it, expression indexes included. */
static void build_match(struct look *look)
{
    struct or_sqlite_table *table = look->table;
    const char *binary = table->spec.store_key_equality ? "" : " COLLATE BINARY";
    struct or_buffer name;
    struct or_buffer sql;
    or_buffer_init(&name);
    or_buffer_init(&sql);
    for (size_t i = 0; i < table->spec.n_key; i++) {
        unsigned at = (unsigned)i + 1;
        look->no_memory |= name.failed;
        or_buffer_clear(&name);
        or_buffer_text(&name, "r.");
        or_sqlite_quote(&name, table->spec.key[i].name);
        const char *column = or_buffer_cstr(&name);
        or_buffer_text(&sql, i ? " AND " : "");
        if (null_is_a_key(table, i)) {
            or_buffer_printf(&sql,
                             "(%s IS NULL) = (?%u IS NULL) AND ifnull(%s, 0) = ifnull(?%u, 0) "
                             "AND %s IS ?%u%s",
                             column, at, column, at, column, at, binary);
        } else {
            or_buffer_printf(&sql, "%s = ?%u%s", column, at, binary);
        }
    }
    look->no_memory |= name.failed;
    table->match = keep_made(look, &sql);
    or_buffer_finish(&name);
}

/* ---- the index --------------------------------------------------------------- */

/* Whether SQLite takes the conflict target: then a valid, full unique index stands behind it. */
static enum onerow_status enforced(struct look *look, bool *answer)
{
    const struct or_sqlite_table *table = look->table;
    struct or_buffer sql;
    sqlite3_stmt *stmt = NULL;
    or_buffer_init(&sql);
    or_buffer_printf(&sql, "INSERT INTO %s (", table->quoted);
    for (size_t i = 0; i < table->spec.n_key; i++) {
        or_buffer_text(&sql, i ? ", " : "");
        or_sqlite_quote(&sql, table->spec.key[i].name);
    }
    or_buffer_text(&sql, ") VALUES (NULL");
    for (size_t i = 1; i < table->spec.n_key; i++) {
        or_buffer_text(&sql, ", NULL");
    }
    or_buffer_printf(&sql, ") ON CONFLICT (%s) DO NOTHING", table->target);
    look->no_memory |= sql.failed;
    int code = sqlite3_prepare_v2(look->store->db, or_buffer_cstr(&sql), -1, &stmt, NULL);
    sqlite3_finalize(stmt);
    or_buffer_finish(&sql);
    *answer = code == SQLITE_OK;
    if (*answer || strstr(sqlite3_errmsg(look->store->db), "ON CONFLICT clause does not match")) {
        return ONEROW_OK;
    }
    if (code == SQLITE_ERROR) {
        return or_fail(look->error, ONEROW_CONFIG,
                       "%s: table \"%s\" cannot be written: %s\n  mend its triggers or views",
                       look->store->path, table->name, sqlite3_errmsg(look->store->db));
    }
    return or_sqlite_fail(look->store, code, "reading the schema", look->error);
}

/* A unique index on exactly the key's columns that SQLite did not take, and why. */
static char *rejected_index(struct look *look)
{
    static const char sql[] =
        "SELECT l.name, l.partial, (SELECT group_concat(DISTINCT x.coll) FROM "
        "pragma_index_xinfo(l.name, ?2) AS x WHERE x.key AND x.coll <> 'BINARY') "
        "FROM pragma_index_list(?1, ?2) AS l WHERE l.\"unique\" AND NOT EXISTS (SELECT 1 FROM "
        "pragma_index_xinfo(l.name, ?2) AS x WHERE x.key AND x.name NOT IN (SELECT value FROM "
        "json_each(?3))) AND (SELECT count(*) FROM pragma_index_xinfo(l.name, ?2) AS x WHERE "
        "x.key) "
        "= json_array_length(?3)";
    sqlite3_stmt *stmt = NULL;
    struct or_buffer names;
    or_buffer_init(&names);
    for (size_t i = 0; i < look->table->spec.n_key; i++) {
        or_buffer_char(&names, i ? ',' : '[');
        or_buffer_json(&names, or_span(look->table->spec.key[i].name));
    }
    or_buffer_char(&names, ']');
    char *why = NULL;
    look->no_memory |= names.failed;
    if (heard(look, sqlite3_prepare_v2(look->store->db, sql, -1, &stmt, NULL)) == SQLITE_OK) {
        sqlite3_bind_text(stmt, 1, look->table->name, -1, SQLITE_STATIC);
        sqlite3_bind_text(stmt, 2, look->table->schema, -1, SQLITE_STATIC);
        sqlite3_bind_text(stmt, 3, or_buffer_cstr(&names), -1, SQLITE_STATIC);
        if (heard(look, sqlite3_step(stmt)) == SQLITE_ROW) {
            const unsigned char *name = sqlite3_column_text(stmt, 0);
            const unsigned char *collations = sqlite3_column_text(stmt, 2);
            why =
                sqlite3_column_int(stmt, 1)
                    ? or_arena_printf(&look->table->arena,
                                      "index \"%s\" is partial: a row outside its WHERE has no "
                                      "unique key",
                                      name)
                    : or_arena_printf(&look->table->arena,
                                      "index \"%s\" compares with %s: it takes keys that differ "
                                      "for one",
                                      name, collations ? (const char *)collations : "other rules");
        }
    }
    sqlite3_finalize(stmt);
    or_buffer_finish(&names);
    return why;
}

/* Which of the key's columns may be NULL, for an index to be suggested. */
static void nullable_keys(const struct or_sqlite_table *table, bool nullable[])
{
    for (size_t i = 0; i < table->spec.n_key; i++) {
        nullable[i] = table->nullable[table->base.key[i]];
    }
}

/* A word for a shell, to be pasted. */
static void add_shell_word(struct or_buffer *command, const char *word)
{
    or_buffer_char(command, '\'');
    for (const char *at = word; *at; at++) {
        if (*at == '\'') {
            or_buffer_text(command, "'\\''");
        } else {
            or_buffer_char(command, *at);
        }
    }
    or_buffer_char(command, '\'');
}

static bool plain_word(const char *word)
{
    static const char plain[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./-+:@%,";
    return *word && *word != '-' && word[strspn(word, plain)] == '\0';
}

/* The command that makes the missing index, in the file that holds the table. */
static void add_index_command(struct look *look, struct or_buffer *command)
{
    const struct or_sqlite_table *table = look->table;
    bool in_main = strcasecmp(table->schema, "main") == 0;
    const char *file =
        in_main ? look->store->path : sqlite3_db_filename(look->store->db, table->schema);
    bool nullable[ONEROW_KEY_COLUMNS_MAX];
    struct or_buffer sql;
    or_buffer_init(&sql);
    nullable_keys(table, nullable);
    or_sqlite_index_sql(&sql, "main", table->name, table->spec.key, table->spec.n_key, nullable);
    or_buffer_text(command, "sqlite3 ");
    if (file && plain_word(file)) {
        or_buffer_text(command, file);
    } else {
        add_shell_word(command, file ? file : "");
    }
    or_buffer_char(command, ' ');
    add_shell_word(command, or_buffer_cstr(&sql));
    command->failed |= sql.failed;
    or_buffer_finish(&sql);
}

static enum onerow_status refuse_unenforced(struct look *look)
{
    const char *why = rejected_index(look);
    struct or_buffer command;
    or_buffer_init(&command);
    add_index_command(look, &command);
    look->no_memory |= command.failed;
    enum onerow_status status = or_fail(
        look->error, ONEROW_CONFIG,
        "%s: nothing keeps table \"%s\" at one row per key%s%s\n  run: %s\n  (if that fails, there "
        "are duplicates already: onerow audit lists them)\n  or name the weaker promise in "
        "onerow.yaml: `unenforced: accept`%s",
        look->store->path, look->table->name, why ? ": " : "", why ? why : "",
        or_buffer_cstr(&command),
        why && !look->table->spec.store_key_equality ? ", or `key_equality: store`" : "");
    or_buffer_finish(&command);
    return status;
}

/* The next token of SQL: a word, or one other character; quotes and comments are passed over. */
static const char *next_token(const char *at, const char **end)
{
    for (;;) {
        at += strspn(at, " \t\r\n\f");
        if (strncmp(at, "--", 2) == 0) {
            at += strcspn(at, "\n");
        } else if (strncmp(at, "/*", 2) == 0) {
            const char *close = strstr(at + 2, "*/");
            at = close ? close + 2 : at + strlen(at);
        } else if (*at && strchr("'\"`[", *at)) {
            const char *close = strchr(at + 1, *at == '[' ? ']' : *at);
            at = close ? close + 1 : at + strlen(at);
        } else {
            break;
        }
    }
    *end = at;
    while (is_letter(**end) || (**end >= '0' && **end <= '9') || **end == '_') {
        (*end)++;
    }
    *end += *end == at && *at;
    return at;
}

/* Whether the table was declared with UNIQUE … ON CONFLICT REPLACE, which deletes other rows. */
static bool declares_replace(const char *sql)
{
    static const char *const words[] = {"ON", "CONFLICT", "REPLACE"};
    size_t matched = 0;
    const char *end = sql;
    for (const char *at = next_token(sql, &end); *at && matched < 3; at = next_token(end, &end)) {
        size_t len = (size_t)(end - at);
        struct onerow_span token = {at, len};
        bool hit = or_ascii_equal_fold(token, or_span(words[matched]));
        matched = hit ? matched + 1 : or_ascii_equal_fold(token, OR_SPAN("ON"));
    }
    return matched == 3;
}

static enum onerow_status refuse_replace(struct look *look)
{
    struct or_buffer sql;
    sqlite3_stmt *stmt = NULL;
    or_buffer_init(&sql);
    or_buffer_text(&sql, "SELECT sql FROM ");
    or_sqlite_quote(&sql, look->table->schema);
    or_buffer_text(&sql, ".sqlite_schema WHERE type = 'table' AND name = ?1 COLLATE NOCASE");
    enum onerow_status status = or_sqlite_prepare_made(look->store, &sql, &stmt, look->error);
    or_buffer_finish(&sql);
    if (status != ONEROW_OK) {
        return status;
    }
    sqlite3_bind_text(stmt, 1, look->table->name, -1, SQLITE_STATIC);
    if (heard(look, sqlite3_step(stmt)) == SQLITE_ROW && sqlite3_column_text(stmt, 0) &&
        declares_replace((const char *)sqlite3_column_text(stmt, 0))) {
        status = or_fail(look->error, ONEROW_CONFIG,
                         "%s: table \"%s\" declares ON CONFLICT REPLACE: writing one row deletes "
                         "others, acknowledged ones too\n  make the table anew without it",
                         look->store->path, look->table->name);
    }
    sqlite3_finalize(stmt);
    return status;
}

/* Whether an index begins with a column of the key, so that a look-up need not read the table. */
static bool look_up_is_indexed(struct look *look)
{
    sqlite3_stmt *stmt = NULL;
    bool indexed = look->rowid_alias && look->pk_column == look->table->base.key[0];
    if (heard(look, sqlite3_prepare_v2(
                        look->store->db,
                        "SELECT 1 FROM pragma_index_list(?1, ?2) AS l, "
                        "pragma_index_info(l.name, ?2) AS i WHERE i.seqno = 0 AND i.cid = ?3",
                        -1, &stmt, NULL)) == SQLITE_OK) {
        sqlite3_bind_text(stmt, 1, look->table->name, -1, SQLITE_STATIC);
        sqlite3_bind_text(stmt, 2, look->table->schema, -1, SQLITE_STATIC);
        for (size_t i = 0; i < look->table->spec.n_key && !indexed; i++) {
            sqlite3_bind_int(stmt, 3, look->table->base.key[i]);
            indexed = heard(look, sqlite3_step(stmt)) == SQLITE_ROW;
            sqlite3_reset(stmt);
        }
    }
    sqlite3_finalize(stmt);
    return indexed;
}

static enum onerow_status decide_promise(struct look *look)
{
    struct onerow_store_table *base = &look->table->base;
    base->guarantees = ONEROW_TRANSACTIONS | ONEROW_DURABLE | ONEROW_SEQUENTIAL | ONEROW_EXCLUSIVE;
    bool unique = false;
    enum onerow_status status = enforced(look, &unique);
    if (status != ONEROW_OK && !look->table->spec.only_look) {
        return status;
    }
    if (unique) {
        base->guarantees |= ONEROW_ENFORCED;
        base->promise = look->table->spec.store_key_equality
                            ? "exactly one row per key, always, by SQLite's own equality: its "
                              "unique index refuses a second one"
                            : "exactly one row per key, always: the unique index refuses a second "
                              "one; an acknowledged write is durable";
        return ONEROW_OK;
    }
    if (!look->table->spec.accept_unenforced && !look->table->spec.only_look) {
        return refuse_unenforced(look);
    }
    base->promise = "exactly one row per key among cooperating writers (unenforced: accept); rows "
                    "of others are found by onerow audit";
    if (!look_up_is_indexed(look)) {
        base->advice = "no index begins with a key column: every record reads the whole table";
    }
    return ONEROW_OK;
}

/* ---- order and touch --------------------------------------------------------- */

static enum onerow_status resolve_order(struct look *look)
{
    struct or_sqlite_table *table = look->table;
    table->order = -1;
    table->touch = -1;
    if (table->spec.policy == ONEROW_POLICY_NEWEST) {
        table->order = find_column(table, table->spec.order_column);
        if (table->order < 0) {
            return or_fail(look->error, ONEROW_CONFIG,
                           "table \"%s\" has no column \"%s\" for on_conflict: newest(%s)",
                           table->name, table->spec.order_column, table->spec.order_column);
        }
    }
    if (table->spec.touch == ONEROW_TOUCH_NONE) {
        return ONEROW_OK;
    }
    table->touch = find_column(table, table->spec.touch_column);
    if (table->touch < 0 || look->columns[table->touch].not_writable) {
        return or_fail(look->error, ONEROW_CONFIG,
                       "table \"%s\" has no column \"%s\" that updated_at could set", table->name,
                       table->spec.touch_column);
    }
    enum or_affinity affinity = table->affinity[table->touch];
    bool number = affinity == OR_AFFINITY_INTEGER || affinity == OR_AFFINITY_REAL;
    table->touch_sql =
        number ? "CAST(strftime('%s', 'now') AS INTEGER)" : "strftime('%Y-%m-%dT%H:%M:%fZ', 'now')";
    look->columns[table->touch].required = false;
    return ONEROW_OK;
}

/* ---- opening and closing ------------------------------------------------------ */

static void quote_place(struct look *look)
{
    struct or_buffer sql;
    or_buffer_init(&sql);
    or_sqlite_quote(&sql, look->table->schema);
    or_buffer_char(&sql, '.');
    or_sqlite_quote(&sql, look->table->name);
    look->table->quoted = keep_made(look, &sql);
}

/* A trigger may end a statement with RAISE(FAIL), which keeps what the statement has done so far.
 * In doubt, there are some. */
static bool has_triggers(struct look *look)
{
    struct or_buffer sql;
    sqlite3_stmt *stmt = NULL;
    bool found = true;
    or_buffer_init(&sql);
    or_buffer_text(&sql, "SELECT 1 FROM ");
    or_sqlite_quote(&sql, look->table->schema);
    or_buffer_text(&sql, ".sqlite_schema WHERE type = 'trigger' UNION ALL SELECT 1 FROM "
                         "temp.sqlite_schema WHERE type = 'trigger'");
    look->no_memory |= sql.failed;
    if (heard(look, sqlite3_prepare_v2(look->store->db, or_buffer_cstr(&sql), -1, &stmt, NULL)) ==
        SQLITE_OK) {
        found = heard(look, sqlite3_step(stmt)) == SQLITE_ROW;
    }
    sqlite3_finalize(stmt);
    or_buffer_finish(&sql);
    return found;
}

static enum onerow_status look_at_table(struct look *look)
{
    struct or_sqlite_table *table = look->table;
    enum onerow_status status = or_sqlite_locate(look->store, table->spec.location, &table->arena,
                                                 &table->schema, &table->name, look->error);
    if (status == ONEROW_OK) {
        quote_place(look);
        status = look_at_kind(look);
    }
    status = status == ONEROW_OK ? look_at_columns(look) : status;
    status = status == ONEROW_OK ? resolve_key(look) : status;
    status = status == ONEROW_OK ? resolve_order(look) : status;
    status = status == ONEROW_OK ? refuse_replace(look) : status;
    if (status == ONEROW_OK) {
        choose_id(look);
        look->table->has_triggers = has_triggers(look);
        build_target(look);
        build_match(look);
        status = decide_promise(look);
    }
    return look->no_memory ? or_fail(look->error, ONEROW_NOMEM, "out of memory") : status;
}

enum onerow_status or_sqlite_table_open(struct onerow_store *base,
                                        const struct onerow_table_spec *spec,
                                        struct onerow_store_table **out, struct onerow_error *error)
{
    *out = NULL;
    struct or_sqlite_table *table = calloc(1, sizeof *table);
    if (!table) {
        return or_fail(error, ONEROW_NOMEM, "out of memory");
    }
    table->base.store = base;
    table->spec = *spec;
    or_arena_init(&table->arena);
    struct look look = {.store = or_sqlite_store_of(base), .table = table, .error = error};
    enum onerow_status status = look_at_table(&look);
    if (status != ONEROW_OK) {
        or_sqlite_table_close(&table->base);
        return status;
    }
    *out = &table->base;
    return ONEROW_OK;
}

void or_sqlite_table_close(struct onerow_store_table *base)
{
    if (!base) {
        return;
    }
    struct or_sqlite_table *table = or_sqlite_table_of(base);
    for (unsigned i = 0; i < table->n_plans; i++) {
        free(table->plans[i].columns);
        sqlite3_finalize(table->plans[i].upsert);
        sqlite3_finalize(table->plans[i].insert);
        sqlite3_finalize(table->plans[i].update);
    }
    sqlite3_finalize(table->find);
    sqlite3_finalize(table->count);
    sqlite3_finalize(table->identify);
    or_arena_finish(&table->arena);
    free(table);
}
