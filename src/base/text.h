/* SPDX-License-Identifier: Apache-2.0
 *
 * Spans, UTF-8 and names. Nothing here depends on the locale.
 */
#ifndef OR_BASE_TEXT_H
#define OR_BASE_TEXT_H

#include <stdbool.h>
#include <string.h>

#include "onerow/onerow.h"

#define OR_SPAN(literal) ((struct onerow_span){(literal), sizeof(literal) - 1})

static inline struct onerow_span or_span(const char *text)
{
    return (struct onerow_span){text, text ? strlen(text) : 0};
}

static inline bool or_span_equal(struct onerow_span a, struct onerow_span b)
{
    /* NOLINTNEXTLINE(clang-analyzer-core.NonNullParamChecker): only an empty span has no data */
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

static inline bool or_span_is(struct onerow_span a, const char *text)
{
    return or_span_equal(a, or_span(text));
}

/* memcmp order, a prefix before what it begins. */
int or_span_compare(struct onerow_span a, struct onerow_span b);

/* Without spaces, tabs, CR and LF at both ends. */
struct onerow_span or_span_trim(struct onerow_span text);

/* At most `max` bytes of it, never half a UTF-8 sequence. */
struct onerow_span or_span_cut(struct onerow_span text, size_t max);

bool or_ascii_equal_fold(struct onerow_span a, struct onerow_span b);

/* Length of the well-formed UTF-8 sequence at `at` (Unicode 15, table 3-7: no
 * overlong forms, no surrogates, nothing above U+10FFFF); 0 when there is none. */
size_t or_utf8_step(struct onerow_span text, size_t at);

/* Whether all of it is well-formed. On false, *at (may be NULL) is the offset of
 * the first bad byte. */
bool or_utf8_valid(struct onerow_span text, size_t *at);

/* FNV-1a, for small tables and cache slots; never stored, never a key's identity. */
uint64_t or_hash_text(struct onerow_span text);

#endif
