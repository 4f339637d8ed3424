/* SPDX-License-Identifier: Apache-2.0
 *
 * The EVP interface of OpenSSL 3.0 makes and frees a context for every digest, which takes
 * three times as long as the digest of a key; these functions, deprecated and not going
 * away before the next major version, do not.
 */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "base/digest.h"

#include <openssl/sha.h>

void or_sha256(struct onerow_span data, unsigned char digest[OR_SHA256_LEN])
{
    SHA256_CTX context;
    SHA256_Init(&context);
    SHA256_Update(&context, data.data, data.len);
    SHA256_Final(digest, &context);
}

void or_sha256_hex(struct onerow_span data, char hex[OR_SHA256_HEX])
{
    static const char digits[] = "0123456789abcdef";
    unsigned char digest[OR_SHA256_LEN];
    or_sha256(data, digest);
    for (size_t i = 0; i < OR_SHA256_LEN; i++) {
        hex[2 * i] = digits[digest[i] >> 4];
        hex[2 * i + 1] = digits[digest[i] & 15];
    }
    hex[OR_SHA256_HEX - 1] = '\0';
}
