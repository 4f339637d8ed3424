/* SPDX-License-Identifier: Apache-2.0
 *
 * `onerow sql`: the upsert of one record for a caller's own transaction, as text for psql,
 * for SQLAlchemy's text() and for psycopg. The three differ in how a parameter is spelled:
 * :'name', :name and %(name)s. Without a form all are printed; those for Python stand in
 * comments then, so that the whole can be piped to psql.
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

static void add_name(struct or_buffer *sql, const struct or_postgres_table *table, size_t column)
{
    or_postgres_quote(sql, table->base.columns[column].name);
}

/* The parameter's name: the column's, where all three notations can spell it. */
static void add_parameter(struct or_buffer *sql, const struct or_postgres_table *table,
                          size_t column, enum form form)
{
    const char *name = table->base.columns[column].name;
    bool plain = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") ==
                     strlen(name) &&
                 !(*name >= '0' && *name <= '9');
    char other[32];
    snprintf(other, sizeof other, "column_%zu", column + 1);
    name = plain ? name : other;
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
                add_name(sql, table, i);
            } else if ((int)i == table->touch) {
                or_buffer_text(sql, "clock_timestamp()");
            } else {
                add_parameter(sql, table, i, form);
            }
        }
    }
}

/* The assignments, and whether there are any. */
static bool add_assignments(struct or_buffer *sql, const struct or_postgres_table *table)
{
    const char *before = "\nON CONFLICT %s DO UPDATE SET ";
    bool any = false;
    for (size_t i = 0; i < table->base.n_columns; i++) {
        if (in_key(table, i) || (!is_given(table, i) && (int)i != table->touch)) {
            continue;
        }
        if (any) {
            or_buffer_text(sql, ", ");
        } else {
            or_buffer_printf(sql, before, table->arbiter);
        }
        add_name(sql, table, i);
        if ((int)i == table->touch) {
            or_buffer_text(sql, " = clock_timestamp()");
        } else {
            or_buffer_text(sql, " = excluded.");
            add_name(sql, table, i);
        }
        any = true;
    }
    return any;
}

static void add_row(struct or_buffer *sql, const struct or_postgres_table *table, const char *alias)
{
    const char *comma = "";
    or_buffer_text(sql, "CAST(ROW(");
    for (size_t i = 0; i < table->base.n_columns; i++) {
        if (!in_key(table, i) && is_given(table, i)) {
            or_buffer_printf(sql, "%s%s.", comma, alias);
            add_name(sql, table, i);
            comma = ", ";
        }
    }
    or_buffer_text(sql, ") AS record)");
}

static void add_condition(struct or_buffer *sql, const struct or_postgres_table *table)
{
    if (table->spec.touch == ONEROW_TOUCH_WRITE && table->order < 0) {
        return;
    }
    or_buffer_text(sql, "\nWHERE ");
    if (table->spec.touch != ONEROW_TOUCH_WRITE) {
        add_row(sql, table, "t");
        or_buffer_text(sql, " *<> ");
        add_row(sql, table, "excluded");
    }
    if (table->order >= 0) {
        or_buffer_text(sql, table->spec.touch == ONEROW_TOUCH_WRITE ? "(t." : "\n  AND (t.");
        add_name(sql, table, (size_t)table->order);
        or_buffer_text(sql, " IS NULL OR excluded.");
        add_name(sql, table, (size_t)table->order);
        or_buffer_text(sql, " >= t.");
        add_name(sql, table, (size_t)table->order);
        or_buffer_char(sql, ')');
    }
}

static void add_upsert(struct or_buffer *sql, const struct or_postgres_table *table, enum form form)
{
    or_buffer_printf(sql, "INSERT INTO %s AS t (", table->quoted);
    add_columns(sql, table, false, form);
    or_buffer_text(sql, ")\nVALUES (");
    add_columns(sql, table, true, form);
    or_buffer_char(sql, ')');
    if (table->spec.policy == ONEROW_POLICY_KEEP || !add_assignments(sql, table)) {
        or_buffer_printf(sql, "\nON CONFLICT %s DO NOTHING", table->arbiter);
    } else {
        add_condition(sql, table);
    }
    or_buffer_text(sql, table->partitioned ? "" : "\nRETURNING t.xmax = 0 AS created");
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
                            "UPSERT = text(r\"\"\"\n");
        add_upsert(sql, table, form);
        or_buffer_text(sql, "\n\"\"\")\nrow = connection.execute(UPSERT, record).first()\n");
        break;
    case PSYCOPG:
        or_buffer_text(sql, "# psycopg, inside connection.transaction():\nUPSERT = r\"\"\"\n");
        add_upsert(sql, table, form);
        or_buffer_text(sql, "\n\"\"\"\nrow = connection.execute(UPSERT, record).fetchone()\n");
        break;
    }
    or_buffer_text(
        sql, table->partitioned ? "" : "# row is None: unchanged; row[0]: created, else updated\n");
}

/* What the reader should know of columns that are not in the statement. */
static void add_left_out(struct or_buffer *sql, const struct or_postgres_table *table,
                         const char *mark)
{
    const char *before = "left out, because they have defaults: ";
    for (size_t i = 0; i < table->base.n_columns; i++) {
        if (!is_given(table, i) && (int)i != table->touch && !table->base.columns[i].not_writable) {
            or_buffer_printf(sql, "%s%s", *before == 'l' ? mark : "", before);
            add_name(sql, table, i);
            before = ", ";
        }
    }
    or_buffer_text(sql, *before == ',' ? "\n" : "");
}

static enum onerow_status one_form(const struct or_postgres_table *table, const char *form,
                                   struct or_buffer *sql, struct onerow_error *error)
{
    for (unsigned i = 0; i < sizeof forms / sizeof *forms; i++) {
        if (strcmp(form, forms[i]) == 0) {
            add_left_out(sql, table, i == PSQL ? "-- " : "# ");
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
    if (form) {
        status = one_form(table, form, sql, error);
    } else {
        add_left_out(sql, table, "-- ");
        add_form(sql, table, PSQL);
        or_buffer_text(sql, "\n/*\n");
        add_form(sql, table, SQLALCHEMY);
        or_buffer_text(sql, "\n");
        add_form(sql, table, PSYCOPG);
        or_buffer_text(sql, "*/\n");
    }
    if (status == ONEROW_OK && sql->failed) {
        return or_fail(error, ONEROW_NOMEM, "out of memory");
    }
    return status;
}
