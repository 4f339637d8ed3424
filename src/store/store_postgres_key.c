/* SPDX-License-Identifier: Apache-2.0
 *
 * The key of a table: whether PostgreSQL's equality is that of the canonical form k1.
 *
 * Pairs that agree (docs/STORES.md shows the table); domains over these types agree, too:
 *
 *   key type    column                        of different spellings, one key
 *   text        text, varchar, an enum;       none
 *               deterministic collation
 *   int         smallint, integer, bigint     none
 *   decimal     numeric                       1.0 and 1.00
 *   bool        boolean                       none
 *   date        date                          none
 *   timestamp   timestamptz, timestamp (UTC)  one instant at any offset
 *   uuid        uuid                          upper and lower case
 *
 * A modifier (varchar(5), numeric(10,2), timestamp(3)) does not change that: a value that it
 * would cut or round is rejected before it is written. Everything else is refused: citext,
 * char(n) and nondeterministic collations join texts that differ, float rounds, a text
 * column may hold a date or a number in another spelling already.
 */
#include <string.h>

#include "base/status.h"
#include "store/spec.h"
#include "store/store_postgres_schema.h"

/* ---- equality ------------------------------------------------------------------- */

static bool is_type(const struct or_postgres_look *look, size_t column, const char *name)
{
    const struct or_postgres_detail *detail = &look->detail[column];
    return detail->built_in && strcmp(detail->type_name, name) == 0;
}

static bool is_float(const struct or_postgres_look *look, size_t column)
{
    return is_type(look, column, "float4") || is_type(look, column, "float8");
}

/* Why a column that holds texts joins some of them; NULL: it does not. */
static const char *joins_texts(const struct or_postgres_look *look, size_t column)
{
    const struct or_postgres_detail *detail = &look->detail[column];
    if (!detail->built_in && strcmp(detail->type_name, "citext") == 0) {
        return "does not tell upper from lower case: 'Bob' and 'bob' are one to it";
    }
    if (is_type(look, column, "bpchar")) {
        return "does not count spaces at the end: 'a' and 'a ' are one to it";
    }
    if (is_type(look, column, "name")) {
        return "cuts texts after 63 bytes";
    }
    return detail->deterministic
               ? NULL
               : "has a nondeterministic collation, to which texts that differ are one";
}

/* NULL when the pair agrees, else why it does not (a clause behind the column's name). */
static const char *disagreement(const struct or_postgres_look *look, size_t column,
                                enum onerow_type type)
{
    enum onerow_type held = look->columns[column].type;
    bool key_type = type != ONEROW_TYPE_UNKNOWN && type != ONEROW_TYPE_JSON;
    const char *joins = held == ONEROW_TYPE_TEXT ? joins_texts(look, column) : NULL;
    if (joins) {
        return joins;
    }
    if (key_type && held == type) {
        return NULL;
    }
    if (is_float(look, column)) {
        return "holds binary floating point: decimals that differ behind its last digit are one "
               "to it";
    }
    if (key_type && held == ONEROW_TYPE_TEXT) {
        return "compares by spelling: one value may be there in another spelling already";
    }
    if (type == ONEROW_TYPE_TEXT && held != ONEROW_TYPE_UNKNOWN && held != ONEROW_TYPE_JSON) {
        return "compares values, not texts: two spellings of one value are one to it";
    }
    return key_type && held != ONEROW_TYPE_UNKNOWN && held != ONEROW_TYPE_JSON
               ? "holds other values than that"
               : "compares by rules of its own, which are those of no key type";
}

/* What to change so that they agree. */
static const char *remedy(struct or_postgres_look *look, size_t column, enum onerow_type type)
{
    const struct onerow_column *shown = &look->columns[column];
    struct or_buffer text;
    or_buffer_init(&text);
    if (shown->type != type && shown->type != ONEROW_TYPE_UNKNOWN &&
        !disagreement(look, column, shown->type)) {
        or_buffer_printf(&text, "give the key the column's type (\"%s:%s\")", shown->name,
                         or_spec_type_word(shown->type));
        return or_postgres_keep_made(look, &text);
    }
    or_buffer_printf(&text, "run: ALTER TABLE %s ALTER COLUMN ", look->table->quoted);
    or_postgres_quote(&text, shown->name);
    enum onerow_type meant = is_float(look, column)     ? ONEROW_TYPE_DECIMAL
                             : type == ONEROW_TYPE_JSON ? ONEROW_TYPE_TEXT
                                                        : type;
    or_buffer_printf(&text, " TYPE %s", or_postgres_declare(meant));
    if (type == ONEROW_TYPE_TEXT && !look->detail[column].deterministic) {
        or_buffer_text(&text, " COLLATE \"C\"");
    }
    return or_postgres_keep_made(look, &text);
}

/* What else to know of the store's equality: keys without a type of their own are texts. */
static const char *how_to_give(struct or_postgres_look *look, size_t column, enum onerow_type type)
{
    if (look->kinds[column].category != 'N' || type != ONEROW_TYPE_UNKNOWN) {
        return "";
    }
    if (!is_float(look, column)) {
        return " (its keys are texts then: quote the numbers)";
    }
    const char *text =
        or_arena_printf(&look->table->arena,
                        " (its keys are texts then; for numbers give the key type: \"%s:decimal\")",
                        look->columns[column].name);
    look->no_memory |= !text;
    return text ? text : "";
}

static enum onerow_status refuse_key_column(struct or_postgres_look *look, size_t column,
                                            enum onerow_type type, const char *why)
{
    const struct onerow_column *shown = &look->columns[column];
    return or_fail(look->error, ONEROW_CONFIG,
                   "table %s: key column \"%s\" (%s) as %s: it %s\n  %s,\n  or accept PostgreSQL's "
                   "own equality with `key_equality: store` in onerow.yaml%s",
                   look->table->quoted, shown->name, shown->declared, or_spec_type_word(type), why,
                   remedy(look, column, type), how_to_give(look, column, type));
}

/* The column must be there, and a record must be able to carry it. */
static enum onerow_status check_key_column(struct or_postgres_look *look, const char *name,
                                           int column)
{
    const char *quoted = look->table->quoted;
    if (column < 0) {
        return or_fail(look->error, ONEROW_CONFIG, "table %s has no column \"%s\" for its key%s",
                       quoted, name, or_postgres_near_names(look, name));
    }
    if (look->columns[column].not_writable) {
        return or_fail(look->error, ONEROW_CONFIG,
                       "table %s: key column \"%s\" %s; a key must be written", quoted, name,
                       look->columns[column].not_writable);
    }
    if (!look->detail[column].may_use) {
        return or_fail(look->error, ONEROW_CONFIG,
                       "table %s: role %s may not use key column \"%s\"\n  run: GRANT SELECT%s ON "
                       "%s TO %s",
                       quoted, look->role, name, look->writes ? ", INSERT, UPDATE" : "", quoted,
                       look->role);
    }
    return ONEROW_OK;
}

static enum onerow_status resolve_key_column(struct or_postgres_look *look, size_t i)
{
    struct or_postgres_table *table = look->table;
    const struct onerow_key_column *key = &table->spec.key[i];
    int column = or_postgres_find_column(table, key->name);
    enum onerow_status status = check_key_column(look, key->name, column);
    if (status != ONEROW_OK) {
        return status;
    }
    enum onerow_type type =
        key->type == ONEROW_TYPE_UNKNOWN ? look->columns[column].type : key->type;
    bool store_rules = table->spec.store_key_equality || table->spec.only_look;
    const char *why = store_rules ? NULL : disagreement(look, (size_t)column, type);
    if (why) {
        return refuse_key_column(look, (size_t)column, type, why);
    }
    if (type == ONEROW_TYPE_UNKNOWN || type == ONEROW_TYPE_JSON) {
        type = ONEROW_TYPE_TEXT;
    }
    table->base.key[i] = (uint16_t)column;
    table->base.key_types[i] = type;
    table->nulls_equal |= key->nulls_equal && look->kinds[column].nullable;
    return ONEROW_OK;
}

enum onerow_status or_postgres_resolve_key(struct or_postgres_look *look)
{
    for (size_t i = 0; i < look->table->spec.n_key; i++) {
        enum onerow_status status = resolve_key_column(look, i);
        if (status != ONEROW_OK) {
            return status;
        }
    }
    return ONEROW_OK;
}
