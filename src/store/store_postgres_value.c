/* SPDX-License-Identifier: Apache-2.0
 *
 * Values between onerow and PostgreSQL.
 *
 * A value goes out as text, in the spelling that the input function of the column's type
 * reads; the function decides. What it would take without a word although it is another
 * value is refused here: a key that rounding or cutting would turn into another key, a
 * name cut to 63 bytes, a number taken for bytes. So is what it is sure to refuse and easy
 * to see (an integer out of range, a text too long), because a server that refuses one
 * record refuses its whole batch, which then has to be taken apart.
 *
 * Each kind of type has a file of its own: _number, _time, _text, _array.
 *
 * A date or timestamp that is a key is read back through to_json, which writes ISO 8601
 * whatever DateStyle says, without trailing zeros: the canonical form but for its closing Z.
 */
#include <stdarg.h>
#include <stdio.h>

#include "base/text.h"
#include "store/store_postgres_value.h"

#define NAME_BYTES 63   /* in a value of type name */
#define REASON_MAX 256U /* bytes in a reason without the column's name */

const char or_postgres_no_memory[] = "could not be stored: out of memory";

/* ---- reasons ---------------------------------------------------------------------------- */

bool or_postgres_value_no_memory(const struct or_postgres_conversion *to)
{
    *to->reason = or_postgres_no_memory;
    return false;
}

__attribute__((format(printf, 2, 3))) bool
or_postgres_refuse_value(const struct or_postgres_conversion *to, const char *format, ...)
{
    char what[REASON_MAX];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(what, sizeof what, format, arguments);
    va_end(arguments);
    *to->reason =
        or_arena_printf(to->arena, "%s%scolumn \"%s\" %s", to->element ? "an element of " : "",
                        to->key ? "key " : "", to->table->base.columns[to->column].name, what);
    return *to->reason ? false : or_postgres_value_no_memory(to);
}

const char *or_postgres_kind_name(const struct onerow_value *value)
{
    switch ((enum onerow_kind)value->kind) {
    case ONEROW_NULL: return "NULL";
    case ONEROW_BOOL: return "true or false";
    case ONEROW_NUMBER: return "a number";
    case ONEROW_TEXT:
    case ONEROW_UNTYPED: return "text";
    case ONEROW_JSON: break;
    }
    return value->len && value->data[0] == '[' ? "a JSON array" : "a JSON object";
}

const char *or_postgres_declared(const struct or_postgres_conversion *to)
{
    return to->table->base.columns[to->column].declared;
}

bool or_postgres_refuse_kind(const struct or_postgres_conversion *to,
                             const struct onerow_value *value)
{
    return or_postgres_refuse_value(to, "is %s; its type is %s", or_postgres_kind_name(value),
                                    or_postgres_declared(to));
}

/* ---- to PostgreSQL ----------------------------------------------------------------------- */

bool or_postgres_plain_text(const struct or_postgres_conversion *to,
                            const struct onerow_value *value, struct onerow_span *text)
{
    const struct or_postgres_column *column = &to->table->columns[to->column];
    *text = or_postgres_span_of(value);
    if (value->kind == ONEROW_JSON && !to->element && column->typtype && column->typtype != 'b') {
        return or_postgres_refuse_value(to, "is %s; give it in PostgreSQL's text form of %s",
                                        or_postgres_kind_name(value), or_postgres_declared(to));
    }
    return true;
}

bool or_postgres_scalar_text(const struct or_postgres_conversion *to,
                             const struct onerow_value *value, struct onerow_span *text)
{
    switch (to->type) {
    case OR_OID_INT2:
    case OR_OID_INT4:
    case OR_OID_INT8: return or_postgres_integer_text(to, value, text);
    case OR_OID_NUMERIC: return or_postgres_numeric_text(to, value, text);
    case OR_OID_FLOAT4:
    case OR_OID_FLOAT8: return or_postgres_float_text(to, value, text);
    case OR_OID_BOOL: return or_postgres_truth_text(to, value, text);
    case OR_OID_DATE: return or_postgres_date_text(to, value, text);
    case OR_OID_TIME: return or_postgres_time_text(to, value, text);
    case OR_OID_TIMESTAMP: return or_postgres_timestamp_text(to, value, text);
    case OR_OID_TIMETZ:
    case OR_OID_TIMESTAMPTZ:
    case OR_OID_INTERVAL: return or_postgres_moment_text(to, value, text);
    case OR_OID_TSRANGE:
    case OR_OID_TSMULTIRANGE:
    case OR_OID_DATERANGE:
    case OR_OID_DATEMULTIRANGE: return or_postgres_range_text(to, value, text);
    case OR_OID_BIT:
    case OR_OID_VARBIT: return or_postgres_bits_text(to, value, text);
    case OR_OID_BPCHAR:
    case OR_OID_VARCHAR: return or_postgres_sized_text(to, value, text);
    case OR_OID_NAME: return or_postgres_short_text(to, value, NAME_BYTES, text);
    case OR_OID_CHAR: return or_postgres_short_text(to, value, 1, text);
    case OR_OID_BYTEA: return or_postgres_bytes_text(to, value, text);
    case OR_OID_JSON:
    case OR_OID_JSONB: return or_postgres_json_text(to, value, text);
    default: return or_postgres_plain_text(to, value, text);
    }
}

bool or_postgres_text(const struct or_postgres_table *table, const struct onerow_value *value,
                      struct or_arena *arena, struct onerow_span *text, const char **reason)
{
    const struct or_postgres_column *column = &table->columns[value->column];
    struct or_postgres_conversion to = {
        .table = table,
        .column = value->column,
        .key = or_postgres_in_key(table, value->column),
        .type = column->base_type,
        .typmod = column->typmod,
        .arena = arena,
        .reason = reason,
    };
    *text = (struct onerow_span){0};
    *reason = NULL;
    if (value->kind == ONEROW_NULL) {
        return true;
    }
    return column->element_type ? or_postgres_array_text(&to, value, text)
                                : or_postgres_scalar_text(&to, value, text);
}

/* ---- from PostgreSQL --------------------------------------------------------------------- */

bool or_postgres_same_key(enum onerow_type type, const struct onerow_value *sent,
                          struct onerow_span got, bool is_null)
{
    if (is_null || sent->kind == ONEROW_NULL) {
        return is_null && sent->kind == ONEROW_NULL;
    }
    struct onerow_span text = or_postgres_span_of(sent);
    if (type == ONEROW_TYPE_TIMESTAMP && text.len && text.data[text.len - 1] == 'Z') {
        text.len--;
    }
    return or_span_equal(text, got);
}

void or_postgres_key_sql(struct or_buffer *sql, const struct or_postgres_table *table, size_t k,
                         const char *alias)
{
    uint16_t column = table->base.key[k];
    const char *before = "";
    const char *behind = "::text";
    switch (table->columns[column].base_type) {
    case OR_OID_NUMERIC: before = "pg_catalog.trim_scale(", behind = ")::text"; break;
    case OR_OID_DATE:
    case OR_OID_TIMESTAMP: before = "(pg_catalog.to_json(", behind = ") #>> '{}')"; break;
    case OR_OID_TIMESTAMPTZ:
        before = "(pg_catalog.to_json(", behind = " AT TIME ZONE 'UTC') #>> '{}')";
        break;
    default: break;
    }
    or_buffer_printf(sql, "%s%s.", before, alias);
    or_postgres_quote(sql, table->base.columns[column].name);
    or_buffer_text(sql, behind);
}
