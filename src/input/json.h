/* SPDX-License-Identifier: Apache-2.0
 *
 * One JSON text -> the fields of a record.
 */
#ifndef OR_INPUT_JSON_H
#define OR_INPUT_JSON_H

#include "input/input.h"

#define OR_SHAPE_NAMES 16U   /* objects of more fields have no shape */
#define OR_SHAPE_BYTES 1024U /* and those whose names are longer, all together */

/* The names of the last object that passed the checks: records mostly look alike, and the next one
 * need not be checked again. */
struct or_shape {
    uint64_t id; /* 0: none */
    size_t n;
    uint16_t len[OR_SHAPE_NAMES];
    char names[OR_SHAPE_BYTES]; /* one behind the other */
};

/* A number that no shape in this process has had. */
uint64_t or_shape_id(void);

/* What a parser keeps between records: its working memory. */
struct or_json {
    struct or_shape shape;
    char *block; /* owned */
    size_t used;
    bool exhausted;          /* a record asked for more than there may be */
    struct or_arena *fields; /* where items' fields go; NULL: the items' own arena */
};

ONEROW_CHECKED bool or_json_init(struct or_json *json);
void or_json_finish(struct or_json *json);

/* Fills the item as a RECORD or BAD one (bad_line counts within the text, from 1); its line is
 * the caller's to set. `text` is only read. NOMEM is the only failure. */
ONEROW_CHECKED enum onerow_status or_json_parse(struct or_json *json, struct onerow_span text,
                                                struct or_arena *arena, struct or_item *item);

#endif
