/* SPDX-License-Identifier: Apache-2.0
 *
 * NDJSON: one JSON object per line.
 */
#ifndef OR_INPUT_NDJSON_H
#define OR_INPUT_NDJSON_H

#include "input/json.h"
#include "input/lines.h"

struct or_ndjson {
    struct or_json json;
    bool begun; /* a line that is not blank has been seen */
};

ONEROW_CHECKED bool or_ndjson_init(struct or_ndjson *ndjson);
void or_ndjson_finish(struct or_ndjson *ndjson);

ONEROW_CHECKED enum onerow_status or_ndjson_next(struct or_ndjson *ndjson, struct or_lines *lines,
                                                 struct or_arena *arena, struct or_item *item,
                                                 struct onerow_error *error);

#endif
