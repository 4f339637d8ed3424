/* SPDX-License-Identifier: Apache-2.0
 *
 * Keys: the canonical form k1. See the top of key.c and docs/KEYS.md.
 */
#ifndef OR_CORE_KEY_H
#define OR_CORE_KEY_H

#include "base/arena.h"
#include "base/buffer.h"
#include "onerow/extend.h"

#define OR_KEY_MAX            (64U * 1024U) /* bytes in one canonical key */
#define OR_DECIMAL_DIGITS_MAX 1000U         /* characters in a canonical int or decimal */
#define OR_KEY_DIGEST_LEN     32U           /* SHA-256 */

/* "text", "int", "decimal", "bool", "date", "timestamp", "uuid"; "json" and "" for the others. */
const char *or_type_name(enum onerow_type type);
/* The key type of this name, or ONEROW_TYPE_UNKNOWN. */
enum onerow_type or_type_of_name(struct onerow_span name);

/* The reason that or_key_part gives when it ran out of memory: compare the address. The record is
 * not at fault then. */
extern const char or_key_no_memory[];

/* One key part: turns `value`, as it came from the input or the store, into its canonical
 * value (kind and text as struct onerow_record wants them). The text lies in `scratch`
 * or is value's own when that is canonical already. False: refused; *reason is a static
 * sentence fragment ("is not a decimal number", "is NULL", …) that follows the column's name.
 * `canonical` may be `value`. */
bool or_key_part(const struct onerow_key_column *column, enum onerow_type type,
                 const struct onerow_value *value, struct or_arena *scratch,
                 struct onerow_value *canonical, const char **reason);

/* Appends the canonical form k1 of n canonical parts; types[i] is part i's type. False when the
 * key would be longer than OR_KEY_MAX, a type is none for keys, or (key->failed) memory ran out;
 * the buffer is then as it was. */
bool or_key_append(struct or_buffer *key, const struct onerow_value *parts,
                   const enum onerow_type *types, size_t n);

/* The canonical parts of a canonical form, without their columns; what was escaped lies in the
 * arena. False: it is no canonical form of n parts of these types, or (key cannot be told from
 * that) memory ran out. */
ONEROW_CHECKED bool or_key_parse(struct onerow_span key, const enum onerow_type *types, size_t n,
                                 struct or_arena *arena, struct onerow_value *parts);

/* SHA-256 of a canonical key. */
void or_key_digest(struct onerow_span key, unsigned char digest[OR_KEY_DIGEST_LEN]);

/* The canonical decimal of a JSON number or of text that holds one ("1e2" -> "100",
 * "-0.50" -> "-0.5", "-0" -> "0"): no exponent, no leading or trailing zeros. False when it is
 * no number or would take more than OR_DECIMAL_DIGITS_MAX characters. */
bool or_decimal_canonical(struct onerow_span number, struct or_buffer *canonical);

/* A 64-bit prefix for sorting records roughly as an index stores them: for text its first
 * bytes, for int and decimal the numeric order. Equal prefixes say nothing. */
uint64_t or_key_sort_prefix(const struct onerow_value *first_part, enum onerow_type type);

/* The version of the Unicode tables behind `normalize`, to be kept with stored keys. */
const char *or_key_normalizer_version(void);

#endif
