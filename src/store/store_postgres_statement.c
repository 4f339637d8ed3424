/* SPDX-License-Identifier: Apache-2.0
 *
 * `onerow sql`: the upsert of one record for a caller's own transaction, as text for psql,
 * for SQLAlchemy's text() and for psycopg. The three differ in how a parameter is spelled:
 * :'name', :name and %(name)s. Without a form all are printed; those for Python stand in
 * comment lines then, so that the whole can be piped to psql.
 *
 * Names come from the database, and whoever made a table may have named a column anything:
 * within the statement they are quoted for SQL, and what the form would do to quoted text
 * (%, :, Python's backslashes) is prevented; in comments whatever could end them is replaced.
 */
#include <string.h>

#include "base/status.h"
#include "base/text.h"
#include "store/store_postgres.h"
#include "store/suggest.h"

enum form { PSQL, SQLALCHEMY, PSYCOPG };

static const char *const forms[] = {"psql", "sqlalchemy", "psycopg"};
static const char *const marks[] = {"-- ", "# ", "# "}; /* of a comment */

/* Columns that the statement gives: the key, and whatever a record may carry and has no default of
 * its own; the order column, too, without which `newest` has nothing to go by. */
static bool is_given(const struct or_postgres_table *table, size_t column)
{
    return or_postgres_in_key(table, column) || (int)column == table->order ||
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

/* Whether the form can spell it. psql has variables of its own in capitals (USER, HOST, ENCODING),
 * and sets them when it connects. */
static bool is_spelled(const char *name, enum form form)
{
    static const char word[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789abcdefghijklmnopqrstuvwxyz";
    static const size_t capitals = 26 + 1 + 10;
    bool own = form == PSQL && strcspn(name, word + capitals) == strlen(name);
    return strspn(name, word) == strlen(name) && !(*name >= '0' && *name <= '9') && !own;
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

/* The parameter's name: the column's, or else one that no column has. */
static void add_parameter_name(struct or_buffer *sql, const struct or_postgres_table *table,
                               size_t column, enum form form)
{
    const char *name = table->base.columns[column].name;
    struct or_buffer other;
    or_buffer_init(&other);
    if (!is_spelled(name, form)) {
        or_buffer_printf(&other, "column_%zu", column + 1);
        while (is_column(table, or_buffer_cstr(&other)) && !other.failed) {
            or_buffer_char(&other, '_');
        }
        name = or_buffer_cstr(&other);
    }
    or_buffer_text(sql, name);
    sql->failed |= other.failed;
    or_buffer_finish(&other);
}

static void add_parameter(struct or_buffer *sql, const struct or_postgres_table *table,
                          size_t column, enum form form)
{
    static const char *const before[] = {":'", ":", "%("};
    static const char *const behind[] = {"'", "", ")s"};
    or_buffer_text(sql, before[form]);
    add_parameter_name(sql, table, column, form);
    or_buffer_text(sql, behind[form]);
}

/* Times without a zone are UTC, as everywhere in onerow, not the session's. */
static void add_clock(struct or_buffer *sql, const struct or_postgres_table *table)
{
    bool zoned = table->columns[table->touch].base_type != OR_OID_TIMESTAMP;
    or_buffer_text(sql, zoned ? "clock_timestamp()" : "clock_timestamp() AT TIME ZONE 'UTC'");
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
                add_clock(sql, table);
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
        if (or_postgres_in_key(table, i) || (!is_given(table, i) && (int)i != table->touch)) {
            continue;
        }
        if (any) {
            or_buffer_text(sql, ", ");
        } else {
            add_conflict(sql, table, form);
            or_buffer_text(sql, " DO UPDATE SET ");
        }
        add_name(sql, table, i, form);
        or_buffer_text(sql, " = ");
        if ((int)i == table->touch) {
            add_clock(sql, table);
        } else {
            or_buffer_text(sql, "excluded.");
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
        if (!or_postgres_in_key(table, i) && is_given(table, i)) {
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

/* ---- what the reader should know ----------------------------------------------------------- */

static void add_comment(struct or_buffer *sql, const char *text)
{
    or_comment(sql, or_span(text));
}

static void add_left_out(struct or_buffer *sql, const struct or_postgres_table *table,
                         enum form form)
{
    bool any = false;
    for (size_t i = 0; i < table->base.n_columns; i++) {
        if (!is_given(table, i) && (int)i != table->touch && !table->base.columns[i].not_writable) {
            or_buffer_text(sql, any ? ", \"" : marks[form]);
            or_buffer_text(sql, any ? "" : "left out, because they have defaults: \"");
            add_comment(sql, table->base.columns[i].name);
            or_buffer_char(sql, '"');
            any = true;
        }
    }
    or_buffer_text(sql, any ? "\n" : "");
}

/* The parameters that are not named as their columns. */
static void add_renamed(struct or_buffer *sql, const struct or_postgres_table *table,
                        enum form form)
{
    for (size_t i = 0; i < table->base.n_columns; i++) {
        const char *name = table->base.columns[i].name;
        if (is_given(table, i) && !is_spelled(name, form)) {
            or_buffer_printf(sql, "%sparameter ", marks[form]);
            add_parameter_name(sql, table, i, form);
            or_buffer_text(sql, ": column \"");
            add_comment(sql, name);
            or_buffer_text(sql, "\"\n");
        }
    }
}

/* What put checks of a key before it is written, and PostgreSQL does not: a value that the column
 * rounds or cuts is another key, NULL is none, and a time without a zone is UTC. */
static void add_key_notes(struct or_buffer *sql, const struct or_postgres_table *table,
                          enum form form)
{
    for (size_t k = 0; k < table->spec.n_key; k++) {
        const struct or_postgres_column *column = &table->columns[table->base.key[k]];
        const char *const notes[] = {
            column->typmod >= 0 ? "PostgreSQL rounds or cuts what does not fit, and may find "
                                  "another row; onerow put rejects it"
                                : NULL,
            column->base_type == OR_OID_TIMESTAMP
                ? "give UTC; PostgreSQL drops an offset without a word"
                : NULL,
            column->nullable && !table->spec.key[k].nulls_equal
                ? "never give NULL: each makes another row; onerow put rejects it"
                : NULL};
        for (size_t i = 0; i < sizeof notes / sizeof *notes; i++) {
            if (notes[i]) {
                or_buffer_printf(sql, "%skey column \"", marks[form]);
                add_comment(sql, table->base.columns[table->base.key[k]].name);
                or_buffer_text(sql, "\" (");
                add_comment(sql, table->base.columns[table->base.key[k]].declared);
                or_buffer_printf(sql, "): %s\n", notes[i]);
            }
        }
    }
}

static void add_notes(struct or_buffer *sql, const struct or_postgres_table *table, enum form form)
{
    add_left_out(sql, table, form);
    add_key_notes(sql, table, form);
}

/* ---- the forms ---------------------------------------------------------------------------- */

static void add_form(struct or_buffer *sql, const struct or_postgres_table *table, enum form form)
{
    switch (form) {
    case PSQL:
        or_buffer_text(sql, "-- psql: give the values with --set NAME=VALUE or \\set\n");
        add_renamed(sql, table, form);
        add_upsert(sql, table, form);
        or_buffer_text(sql, ";\n");
        return;
    case SQLALCHEMY:
        or_buffer_text(sql, "# SQLAlchemy, inside session.begin() or engine.begin():\n"
                            "from sqlalchemy import text\n");
        add_renamed(sql, table, form);
        or_buffer_text(sql, "UPSERT = text(");
        add_python(sql, table, form);
        or_buffer_text(sql, ")\nrow = connection.execute(UPSERT, record).first()\n");
        break;
    case PSYCOPG:
        or_buffer_text(sql, "# psycopg, inside connection.transaction():\n");
        add_renamed(sql, table, form);
        or_buffer_text(sql, "UPSERT = ");
        add_python(sql, table, form);
        or_buffer_text(sql, "\nrow = connection.execute(UPSERT, record).fetchone()\n");
        break;
    }
    or_buffer_text(
        sql, table->partitioned ? "" : "# row is None: unchanged; row[0]: created, else updated\n");
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
            add_notes(sql, table, (enum form)i);
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
        add_notes(sql, table, PSQL);
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
