/* SPDX-License-Identifier: Apache-2.0
 *
 * SHA-256.
 */
#ifndef OR_BASE_DIGEST_H
#define OR_BASE_DIGEST_H

#include "onerow/onerow.h"

#define OR_SHA256_LEN 32U
#define OR_SHA256_HEX (2U * OR_SHA256_LEN + 1U)

void or_sha256(struct onerow_span data, unsigned char digest[OR_SHA256_LEN]);

/* Lower-case hexadecimal, NUL-terminated. */
void or_sha256_hex(struct onerow_span data, char hex[OR_SHA256_HEX]);

#endif
