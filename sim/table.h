/* SPDX-License-Identifier: Apache-2.0
 *
 * A run as a time table in text, as people draw races on a whiteboard: a column for each worker,
 * time from top to bottom.
 */
#ifndef SIM_TABLE_H
#define SIM_TABLE_H

#include "base/buffer.h"
#include "sim/trace.h"

#define SIM_TABLE_WIDTH_MIN 80U
#define SIM_TABLE_WIDTH_MAX 120U

struct sim_table_style {
    unsigned width; /* characters; kept to the range above */
    bool ascii;     /* nothing but ASCII: the locale is not UTF-8 */
};

/* Adds the table, and below it what was wrong. */
void sim_table_draw(const struct sim_trace *trace, const struct sim_table_style *style,
                    struct or_buffer *out);

#endif
