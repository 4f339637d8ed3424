/* SPDX-License-Identifier: Apache-2.0 */
#include "postgres/postgres_array.h"

static void add_number(struct or_buffer *out, uint64_t number, unsigned bytes)
{
    for (unsigned i = bytes; i > 0; i--) {
        or_buffer_char(out, (char)(number >> (8 * (i - 1)) & 0xff));
    }
}

/* Dimensions, whether there are NULLs, the elements' type, their number, and the first index. */
static void add_header(struct or_buffer *out, Oid type, size_t n)
{
    add_number(out, n ? 1 : 0, 4);
    add_number(out, 0, 4);
    add_number(out, type, 4);
    if (n) {
        add_number(out, n, 4);
        add_number(out, 1, 4);
    }
}

static void add_numbers(struct or_buffer *out, Oid type, unsigned bytes, const uint64_t *numbers,
                        size_t n)
{
    add_header(out, type, n);
    for (size_t i = 0; i < n; i++) {
        add_number(out, bytes, 4);
        add_number(out, numbers[i], bytes);
    }
}

void or_array_int8(struct or_buffer *out, const uint64_t *numbers, size_t n)
{
    add_numbers(out, OR_LINK_INT8_OID, 8, numbers, n);
}

void or_array_int2(struct or_buffer *out, const uint64_t *numbers, size_t n)
{
    add_numbers(out, OR_LINK_INT2_OID, 2, numbers, n);
}

void or_array_bytea(struct or_buffer *out, const struct onerow_span *spans, size_t n)
{
    add_header(out, OR_LINK_BYTEA_OID, n);
    for (size_t i = 0; i < n; i++) {
        add_number(out, spans[i].len, 4);
        or_buffer_span(out, spans[i]);
    }
}

void or_int8_encode(uint64_t number, char bytes[8])
{
    for (unsigned i = 0; i < 8; i++) {
        bytes[i] = (char)(number >> (56 - 8 * i) & 0xff);
    }
}

static uint64_t read_number(const PGresult *result, int row, int column, int bytes)
{
    uint64_t number = 0;
    const char *data = PQgetvalue(result, row, column);
    for (int i = 0; i < bytes && !PQgetisnull(result, row, column); i++) {
        number = number << 8 | (unsigned char)data[i];
    }
    return number;
}

uint64_t or_result_int8(const PGresult *result, int row, int column)
{
    return read_number(result, row, column, 8);
}

uint64_t or_result_int2(const PGresult *result, int row, int column)
{
    return read_number(result, row, column, 2);
}

bool or_result_bool(const PGresult *result, int row, int column)
{
    return read_number(result, row, column, 1) != 0;
}

struct onerow_span or_result_bytes(const PGresult *result, int row, int column)
{
    return (struct onerow_span){PQgetvalue(result, row, column),
                                (size_t)PQgetlength(result, row, column)};
}
