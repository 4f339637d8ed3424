/* SPDX-License-Identifier: Apache-2.0
 *
 * Why a text is not JSON, in words for the person who wrote it.
 */
#ifndef OR_INPUT_JSON_FAULT_H
#define OR_INPUT_JSON_FAULT_H

#include <yyjson.h>

#include "base/arena.h"

struct or_json_fault {
    size_t at;          /* offset in the text */
    const char *reason; /* in the arena or static; NULL: out of memory */
};

/* Explains what the parser stumbled over. */
struct or_json_fault or_json_explain(struct onerow_span text, const yyjson_read_err *error,
                                     struct or_arena *arena);

/* Why a text whose first byte is not '{' is no record. */
struct or_json_fault or_json_not_object(struct onerow_span text, size_t at, struct or_arena *arena);

/* Offset of the bracket that opens level OR_INPUT_DEPTH_MAX + 1, or text.len: there is none. */
size_t or_json_too_deep(struct onerow_span text);

/* Offset of the first escape \u0000 at or after `from`, which lies outside an escape; text.len:
 * there is none. */
size_t or_json_nul_escape(struct onerow_span text, size_t from);

#endif
