/* SPDX-License-Identifier: Apache-2.0
 *
 * Normalisation of text key columns. See the top of normalize.c.
 */
#ifndef OR_CORE_NORMALIZE_H
#define OR_CORE_NORMALIZE_H

#include "base/arena.h"
#include "onerow/extend.h"

/* *text is valid UTF-8 without U+0000, at most OR_KEY_MAX bytes; on success it is what `rules`
 * (enum onerow_normalize, or'ed) make of it: a part of the given text, or new bytes in `scratch`.
 * Returns NULL, or why the text was refused: a static sentence fragment that follows a column's
 * name (or_key_no_memory when it was for want of memory). */
const char *or_normalize(struct onerow_span *text, unsigned rules, struct or_arena *scratch);

#endif
