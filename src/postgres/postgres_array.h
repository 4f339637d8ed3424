/* SPDX-License-Identifier: Apache-2.0
 *
 * PostgreSQL's binary forms of the few types that onerow's own tables are made of.
 */
#ifndef OR_POSTGRES_ARRAY_H
#define OR_POSTGRES_ARRAY_H

#include "base/buffer.h"
#include "postgres/postgres_link.h"

/* Append arrays of one dimension. */
void or_array_int8(struct or_buffer *out, const uint64_t *numbers, size_t n);
void or_array_int2(struct or_buffer *out, const uint64_t *numbers, size_t n);
void or_array_bytea(struct or_buffer *out, const struct onerow_span *spans, size_t n);

/* An int8 in the form in which it is sent. */
void or_int8_encode(uint64_t number, char bytes[8]);

/* One value of a binary result. A NULL is 0, false or empty. */
uint64_t or_result_int8(const PGresult *result, int row, int column);
uint64_t or_result_int2(const PGresult *result, int row, int column);
bool or_result_bool(const PGresult *result, int row, int column);
struct onerow_span or_result_bytes(const PGresult *result, int row, int column);

#endif
