/* SPDX-License-Identifier: Apache-2.0
 *
 * A run as a picture: the time table of table.h as SVG, with a life line for each column. It needs
 * no fonts of its own, is readable on light and dark ground, and the same run gives the same bytes.
 */
#ifndef SIM_SVG_H
#define SIM_SVG_H

#include "base/buffer.h"
#include "sim/trace.h"

/* `title` says what it shows; plain text. */
void sim_svg_draw(const struct sim_trace *trace, const char *title, struct or_buffer *out);

#endif
