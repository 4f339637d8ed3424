/* SPDX-License-Identifier: Apache-2.0 */
#include "base/digest.h"

#include <openssl/evp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

static pthread_once_t fetched = PTHREAD_ONCE_INIT;
static EVP_MD *sha256; /* lives as long as the process */
static _Thread_local EVP_MD_CTX *context;
static pthread_key_t context_key; /* frees a thread's context when the thread ends */

static void give_up(void)
{
    fputs("onerow: libcrypto has no SHA-256 here\n", stderr);
    abort();
}

static void free_context(void *thread_context)
{
    EVP_MD_CTX_free(thread_context);
}

static void fetch(void)
{
    sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    if (!sha256 || pthread_key_create(&context_key, free_context)) {
        give_up();
    }
}

static EVP_MD_CTX *thread_context(void)
{
    if (!context) {
        pthread_once(&fetched, fetch);
        context = EVP_MD_CTX_new();
        if (!context || pthread_setspecific(context_key, context)) {
            give_up();
        }
    }
    return context;
}

void or_sha256(struct onerow_span data, unsigned char digest[OR_SHA256_LEN])
{
    EVP_MD_CTX *ctx = thread_context();
    if (!EVP_DigestInit_ex2(ctx, sha256, NULL) || !EVP_DigestUpdate(ctx, data.data, data.len) ||
        !EVP_DigestFinal_ex(ctx, digest, NULL)) {
        give_up();
    }
}

void or_sha256_hex(struct onerow_span data, char hex[OR_SHA256_HEX])
{
    unsigned char digest[OR_SHA256_LEN];
    or_sha256(data, digest);
    for (size_t i = 0; i < OR_SHA256_LEN; i++) {
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    }
}
