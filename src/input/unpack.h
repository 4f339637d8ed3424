/* SPDX-License-Identifier: Apache-2.0
 *
 * The source's bytes with gzip or zstd taken off, told by their content.
 */
#ifndef OR_INPUT_UNPACK_H
#define OR_INPUT_UNPACK_H

#include <zlib.h>
#include <zstd.h>

#include "input/source.h"

#define OR_MAGIC_LEN 4U /* bytes that tell an archive */

enum or_packing { OR_PACKING_UNKNOWN, OR_PACKING_NONE, OR_PACKING_GZIP, OR_PACKING_ZSTD };

struct or_unpack {
    struct or_source source;
    enum or_packing packing;
    char magic[OR_MAGIC_LEN]; /* the first bytes, until the packing is known */
    char *in;                 /* owned; NULL unless packed */
    size_t in_begin;          /* in[in_begin .. in_end) or magic[…] is not yet consumed */
    size_t in_end;
    bool in_over;  /* the source has ended */
    bool inside;   /* a gzip member or zstd frame has begun and has not ended */
    bool full;     /* the last read filled its room or met a fault: ask the decoder again */
    size_t wanted; /* bytes of input that zstd asked for */
    z_stream gzip;
    ZSTD_DCtx *zstd; /* owned */
};

/* On failure there is nothing to finish. */
ONEROW_CHECKED enum onerow_status or_unpack_open(struct or_unpack *unpack, const char *path,
                                                 int stop_fd, struct onerow_error *error);
void or_unpack_close(struct or_unpack *unpack);

/* Like or_source_read. A corrupt or truncated archive is a FAULT, after all that could be
 * unpacked before it. */
enum or_got or_unpack_read(struct or_unpack *unpack, char *into, size_t room, size_t *got,
                           struct onerow_error *error);

/* Whether a read would have to wait now. */
bool or_unpack_idle(const struct or_unpack *unpack);

#endif
