/* SPDX-License-Identifier: Apache-2.0
 *
 * `onerow sql`: the upsert of one record for a caller's own transaction, as text for psql,
 * for SQLAlchemy's text() and for psycopg. The three differ in how a parameter is spelled:
 * :'name', :name and %(name)s. Without a form all are printed; those for Python stand in
 * comment lines then, so that the whole can be piped to psql.
 *
 * Names come from the database, and whoever made a table may have named a column anything:
 * within the statement they are quoted for SQL, and what the form does to quoted text
 * (%, :, Python's backslashes) is undone; in comments control characters are replaced.
 */
#include <stdio.h>
#include <string.h>

#include "base/status.h"
#include "base/text.h"
#include "store/store_postgres.h"

enum form { PSQL, SQLALCHEMY, PSYCOPG };

static const char *const forms[] = {"psql", "sqlalchemy", "psycopg"};

static bool in_key(const struct or_postgres_table *table, size_t column)
{
    for (size_t k = 0; k < table->spec.n_key; k++) {
        if (table->base.key[k] == column) {
            return true;
        }
    }
    return false;
}

/* Columns that the statement gives: the key, and whatever a record may carry and has no default of
 * its own; the order column, too, without which `newest` has nothing to go by. */
static bool is_given(const struct or_postgres_table *table, size_t column)
{
    return in_key(table, column) || (int)column == table->order ||
           (!table->base.columns[column].not_writable && !table->columns[column].has_default &&
            (int)column != table->touch);
}

/* Text of the statement in which the form would see something of its own. */
static void add_escaped(struct or_buffer *sql, const char *text, enum form form)
{
    for (; *text; text++) {
        if (form == PSYCOPG && *text == '%') {
            or_buffer_char(sql, '%');
        } else if (form == SQLALCHEMY && *text == ':') {
            or_buffer_char(sql, '\\');
        }
        or_buffer_char(sql, *text);
    }
}

static void add_name(struct or_buffer *sql, const struct or_postgres_table *table, size_t column,
                     enum form form)
{
    struct or_buffer quoted;
    or_buffer_init(&quoted);
    or_postgres_quote(&quoted, table->base.columns[column].name);
    add_escaped(sql, or_buffer_cstr(&quoted), form);
    sql->failed |= quoted.failed;
    or_buffer_finish(&quoted);
}

static bool is_plain(const char *name)
{
    static const char word[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_";
    return *name && strspn(name, word) == strlen(name) && !(*name >= '0' && *name <= '9');
}

static bool is_column(const struct or_postgres_table *table, const char *name)
{
    for (size_t i = 0; i < table->base.n_columns; i++) {
        if (strcmp(table->base.columns[i].name, name) == 0) {
            return true;
        }
    }
    return false;
}

/* The parameter's name: the column's, where all three notations can spell it; else one that no
 * column has. */
static void add_parameter(struct or_buffer *sql, const struct or_postgres_table *table,
                          size_t column, enum form form)
{
    const char *name = table->base.columns[column].name;
    char other[32];
    char mark = 'p';
    if (!is_plain(name)) {
        do {
            snprintf(other, sizeof other, "%carameter_%zu", mark++, column + 1);
        } while (mark <= 'z' && is_column(table, other));
        name = other;
    }
    switch (form) {
    case PSQL: or_buffer_printf(sql, ":'%s'", name); return;
    case SQLALCHEMY: or_buffer_printf(sql, ":%s", name); return;
    case PSYCOPG: or_buffer_printf(sql, "%%(%s)s", name); return;
    }
}

static void add_columns(struct or_buffer *sql, const struct or_postgres_table *table, bool values,
                        enum form form)
{
    const char *comma = "";
    for (size_t i = 0; i < table->base.n_columns; i++) {
        if (is_given(table, i) || (int)i == table->touch) {
            or_buffer_text(sql, comma);
            comma = ", ";
            if (!values) {
                add_name(sql, table, i, form);
            } else if ((int)i == table->touch) {
                or_buffer_text(sql, "clock_timestamp()");
            } else {
                add_parameter(sql, table, i, form);
            }
        }
    }
}

static void add_conflict(struct or_buffer *sql, const struct or_postgres_table *table,
                         enum form form)
{
    or_buffer_text(sql, "\nON CONFLICT ");
    add_escaped(sql, table->arbiter, form);
}

/* The assignments, and whether there are any. */
static bool add_assignments(struct or_buffer *sql, const struct or_postgres_table *table,
                            enum form form)
{
    bool any = false;
    for (size_t i = 0; i < table->base.n_columns; i++) {
        if (in_key(table, i) || (!is_given(table, i) && (int)i != table->touch)) {
            continue;
        }
        if (any) {
            or_buffer_text(sql, ", ");
        } else {
            add_conflict(sql, table, form);
            or_buffer_text(sql, " DO UPDATE SET ");
        }
        add_name(sql, table, i, form);
        if ((int)i == table->touch) {
            or_buffer_text(sql, " = clock_timestamp()");
        } else {
            or_buffer_text(sql, " = excluded.");
            add_name(sql, table, i, form);
        }
        any = true;
    }
    return any;
}

static void add_row(struct or_buffer *sql, const struct or_postgres_table *table, const char *alias,
                    enum form form)
{
    const char *comma = "";
    or_buffer_text(sql, "CAST(ROW(");
    for (size_t i = 0; i < table->base.n_columns; i++) {
        if (!in_key(table, i) && is_given(table, i)) {
            or_buffer_printf(sql, "%s%s.", comma, alias);
            add_name(sql, table, i, form);
            comma = ", ";
        }
    }
    or_buffer_text(sql, ") AS record)");
}

static void add_condition(struct or_buffer *sql, const struct or_postgres_table *table,
                          enum form form)
{
    if (table->spec.touch == ONEROW_TOUCH_WRITE && table->order < 0) {
        return;
    }
    or_buffer_text(sql, "\nWHERE ");
    if (table->spec.touch != ONEROW_TOUCH_WRITE) {
        add_row(sql, table, "t", form);
        or_buffer_text(sql, " *<> ");
        add_row(sql, table, "excluded", form);
    }
    if (table->order >= 0) {
        or_buffer_text(sql, table->spec.touch == ONEROW_TOUCH_WRITE ? "(t." : "\n  AND (t.");
        add_name(sql, table, (size_t)table->order, form);
        or_buffer_text(sql, " IS NULL OR excluded.");
        add_name(sql, table, (size_t)table->order, form);
        or_buffer_printf(sql, "%s ", or_postgres_order_collation(table));
        add_escaped(sql, table->columns[table->order].at_least, form);
        or_buffer_text(sql, " t.");
        add_name(sql, table, (size_t)table->order, form);
        or_buffer_char(sql, ')');
    }
}

static void add_upsert(struct or_buffer *sql, const struct or_postgres_table *table, enum form form)
{
    or_buffer_text(sql, "INSERT INTO ");
    add_escaped(sql, table->quoted, form);
    or_buffer_text(sql, " AS t (");
    add_columns(sql, table, false, form);
    or_buffer_text(sql, ")\nVALUES (");
    add_columns(sql, table, true, form);
    or_buffer_char(sql, ')');
    if (table->spec.policy == ONEROW_POLICY_KEEP || !add_assignments(sql, table, form)) {
        add_conflict(sql, table, form);
        or_buffer_text(sql, " DO NOTHING");
    } else {
        add_condition(sql, table, form);
    }
    or_buffer_text(sql, table->partitioned ? "" : "\nRETURNING t.xmax = 0 AS created");
}

/* The statement as a Python string, whatever stands in its names. */
static void add_python(struct or_buffer *out, const struct or_postgres_table *table, enum form form)
{
    struct or_buffer sql;
    or_buffer_init(&sql);
    add_upsert(&sql, table, form);
    or_buffer_text(out, "\"\"\"\n");
    for (const char *at = or_buffer_cstr(&sql); *at; at++) {
        if ((unsigned char)*at < 0x20 && *at != '\n') {
            or_buffer_printf(out, "\\x%02x", (unsigned char)*at);
            continue;
        }
        if (*at == '\\' || (*at == '"' && at[1] == '"')) {
            or_buffer_char(out, '\\');
        }
        or_buffer_char(out, *at);
    }
    or_buffer_text(out, "\n\"\"\"");
    out->failed |= sql.failed;
    or_buffer_finish(&sql);
}

static void add_form(struct or_buffer *sql, const struct or_postgres_table *table, enum form form)
{
    switch (form) {
    case PSQL:
        or_buffer_text(sql, "-- psql: give the values with --set NAME=VALUE or \\set\n");
        add_upsert(sql, table, form);
        or_buffer_text(sql, ";\n");
        return;
    case SQLALCHEMY:
        or_buffer_text(sql, "# SQLAlchemy, inside session.begin() or engine.begin():\n"
                            "from sqlalchemy import text\n"
                            "UPSERT = text(");
        add_python(sql, table, form);
        or_buffer_text(sql, ")\nrow = connection.execute(UPSERT, record).first()\n");
        break;
    case PSYCOPG:
        or_buffer_text(sql, "# psycopg, inside connection.transaction():\nUPSERT = ");
        add_python(sql, table, form);
        or_buffer_text(sql, "\nrow = connection.execute(UPSERT, record).fetchone()\n");
        break;
    }
    or_buffer_text(
        sql, table->partitioned ? "" : "# row is None: unchanged; row[0]: created, else updated\n");
}

/* A name within a comment: nothing in it may end the line. */
static void add_comment_name(struct or_buffer *sql, const char *name)
{
    or_buffer_char(sql, '"');
    for (; *name; name++) {
        or_buffer_char(sql, (unsigned char)*name < 0x20 || *name == 0x7f ? '?' : *name);
    }
    or_buffer_char(sql, '"');
}

/* What the reader should know of columns that are not in the statement. */
static void add_left_out(struct or_buffer *sql, const struct or_postgres_table *table,
                         const char *mark)
{
    bool any = false;
    for (size_t i = 0; i < table->base.n_columns; i++) {
        if (!is_given(table, i) && (int)i != table->touch && !table->base.columns[i].not_writable) {
            or_buffer_printf(sql, "%s%s", any ? "" : mark,
                             any ? ", " : "left out, because they have defaults: ");
            add_comment_name(sql, table->base.columns[i].name);
            any = true;
        }
    }
    or_buffer_text(sql, any ? "\n" : "");
}

/* put rejects a key that the column would round or cut, and reads times in UTC; the bare statement
 * leaves that to its caller. */
static void add_key_notes(struct or_buffer *sql, const struct or_postgres_table *table,
                          const char *mark)
{
    for (size_t k = 0; k < table->spec.n_key; k++) {
        size_t column = table->base.key[k];
        bool time = table->base.key_types[k] == ONEROW_TYPE_TIMESTAMP;
        if (table->columns[column].typmod >= 0 || time) {
            or_buffer_printf(sql, "%skey column ", mark);
            add_comment_name(sql, table->base.columns[column].name);
            or_buffer_printf(sql, " is %s: give it %s\n", table->base.columns[column].declared,
                             time ? "in UTC and no finer than it keeps"
                                  : "no longer or finer than it keeps");
        }
    }
}

/* A text as comment lines of SQL. */
static void add_commented(struct or_buffer *sql, const char *text)
{
    for (const char *end = text; *text; text = end) {
        end = strchr(text, '\n');
        end = end ? end + 1 : text + strlen(text);
        or_buffer_text(sql, "-- ");
        or_buffer_add(sql, text, (size_t)(end - text));
    }
}

static enum onerow_status one_form(const struct or_postgres_table *table, const char *form,
                                   struct or_buffer *sql, struct onerow_error *error)
{
    for (unsigned i = 0; i < sizeof forms / sizeof *forms; i++) {
        if (strcmp(form, forms[i]) == 0) {
            add_left_out(sql, table, i == PSQL ? "-- " : "# ");
            add_key_notes(sql, table, i == PSQL ? "-- " : "# ");
            add_form(sql, table, (enum form)i);
            return ONEROW_OK;
        }
    }
    return or_fail(error, ONEROW_USAGE, "--for %s: is not one of psql, sqlalchemy, psycopg", form);
}

enum onerow_status or_postgres_statement(struct onerow_store_table *base, const char *form,
                                         struct or_buffer *sql, struct onerow_error *error)
{
    const struct or_postgres_table *table = or_postgres_table_of(base);
    enum onerow_status status = ONEROW_OK;
    if (!table->arbiter) {
        return or_fail(error, ONEROW_CONFIG,
                       "table \"%s\": there is no single statement for it while nothing enforces "
                       "its key\n  make the unique index; onerow check prints it",
                       table->name);
    }
    for (size_t k = 0; k < table->spec.n_key; k++) {
        if (table->spec.key[k].normalize) {
            return or_fail(error, ONEROW_CONFIG,
                           "table \"%s\": key column \"%s\" is normalized by onerow, which no "
                           "statement does: it would make a second row\n  use onerow put, or "
                           "normalize the key before and leave `normalize` out",
                           table->name, table->spec.key[k].name);
        }
    }
    if (form) {
        status = one_form(table, form, sql, error);
    } else {
        struct or_buffer python;
        or_buffer_init(&python);
        add_form(&python, table, SQLALCHEMY);
        or_buffer_text(&python, "\n");
        add_form(&python, table, PSYCOPG);
        add_left_out(sql, table, "-- ");
        add_key_notes(sql, table, "-- ");
        add_form(sql, table, PSQL);
        or_buffer_text(sql, "\n");
        add_commented(sql, or_buffer_cstr(&python));
        sql->failed |= python.failed;
        or_buffer_finish(&python);
    }
    if (status == ONEROW_OK && sql->failed) {
        return or_fail(error, ONEROW_NOMEM, "out of memory");
    }
    return status;
}
