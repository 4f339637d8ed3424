/* SPDX-License-Identifier: Apache-2.0
 *
 * The first bytes tell what the input is, whatever it is called:
 *
 *     1f 8b                       gzip (RFC 1952), one or more members
 *     28 b5 2f fd                 zstd (RFC 8878), one or more frames
 *     50..5f 2a 4d 18             zstd, a skippable frame
 *     fd 37 7a 58, 50 4b 03 04    xz and zip: refused, with what to do
 *
 * They are read one by one only as long as they could still be one of these, so a
 * pipe that carries "{}\n" and then rests is not kept waiting for a fourth byte.
 *
 * The end of the source is the archive's end only between members or frames;
 * anywhere else the archive is truncated. What was unpacked before a fault is
 * handed out first; the fault follows at the next read.
 */
#include "input/unpack.h"

#include <stdlib.h>
#include <string.h>
#include <zstd_errors.h>

#include "base/status.h"

#define IN_ROOM         ((size_t)128 * 1024)
#define ZSTD_FIRST_WANT 5U /* what libzstd wants to see of a new frame first */

static const struct signature {
    unsigned char bytes[OR_MAGIC_LEN];
    unsigned char first_mask; /* applied to the first byte */
    unsigned char len;
    enum or_packing packing;
    const char *refused; /* what it is, when it is not unpacked here */
} signatures[] = {
    {.bytes = {0x1f, 0x8b}, .first_mask = 0xff, .len = 2, .packing = OR_PACKING_GZIP},
    {.bytes = {0x28, 0xb5, 0x2f, 0xfd}, .first_mask = 0xff, .len = 4, .packing = OR_PACKING_ZSTD},
    {.bytes = {0x50, 0x2a, 0x4d, 0x18}, .first_mask = 0xf0, .len = 4, .packing = OR_PACKING_ZSTD},
    {.bytes = {0xfd, 0x37, 0x7a, 0x58},
     .first_mask = 0xff,
     .len = 4,
     .refused = "an xz archive; unpack it first: xz -dc FILE | onerow …"},
    {.bytes = {0x50, 0x4b, 0x03, 0x04},
     .first_mask = 0xff,
     .len = 4,
     .refused = "a zip archive; unpack it first: unzip -p FILE | onerow …"},
};

enum onerow_status or_unpack_open(struct or_unpack *unpack, const char *path, int stop_fd,
                                  struct onerow_error *error)
{
    *unpack = (struct or_unpack){0};
    return or_source_open(&unpack->source, path, stop_fd, error);
}

void or_unpack_close(struct or_unpack *unpack)
{
    if (unpack->packing == OR_PACKING_GZIP) {
        inflateEnd(&unpack->gzip);
    }
    ZSTD_freeDCtx(unpack->zstd);
    free(unpack->in);
    or_source_close(&unpack->source);
    *unpack = (struct or_unpack){.source = unpack->source};
}

static enum or_got no_memory(const struct or_unpack *unpack, struct onerow_error *error)
{
    or_fail(error, ONEROW_NOMEM, "%s: out of memory", unpack->source.name);
    return OR_GOT_FAULT;
}

static bool agrees(const struct signature *signature, const char *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        unsigned char mask = i == 0 ? signature->first_mask : 0xff;
        if (((unsigned char)bytes[i] & mask) != signature->bytes[i]) {
            return false;
        }
    }
    return true;
}

/* The signature that the first bytes have, or (still = true) could yet turn out to have. */
static const struct signature *find_signature(const char *bytes, size_t count, bool still)
{
    for (size_t i = 0; i < sizeof signatures / sizeof *signatures; i++) {
        const struct signature *signature = &signatures[i];
        bool complete = count >= signature->len;
        if (complete != still && agrees(signature, bytes, complete ? signature->len : count)) {
            return signature;
        }
    }
    return NULL;
}

/* The bytes read so far become the decoder's first input. */
static bool begin_unpacking(struct or_unpack *unpack, enum or_packing packing)
{
    unpack->in = malloc(IN_ROOM);
    if (!unpack->in) {
        return false;
    }
    memcpy(unpack->in, unpack->magic, unpack->in_end);
    if (packing == OR_PACKING_ZSTD) {
        unpack->zstd = ZSTD_createDCtx();
        if (!unpack->zstd) {
            return false;
        }
    } else if (inflateInit2(&unpack->gzip, MAX_WBITS + 16) != Z_OK) {
        return false;
    }
    unpack->inside = true;
    unpack->wanted = ZSTD_FIRST_WANT;
    unpack->packing = packing;
    return true;
}

/* Reads first bytes until they tell the packing. */
static enum or_got detect(struct or_unpack *unpack, struct onerow_error *error)
{
    while (!unpack->in_over &&
           (unpack->in_end == 0 || find_signature(unpack->magic, unpack->in_end, true))) {
        size_t got = 0;
        enum or_got answer = or_source_read(&unpack->source, unpack->magic + unpack->in_end,
                                            OR_MAGIC_LEN - unpack->in_end, &got, error);
        if (answer == OR_GOT_STOP || answer == OR_GOT_FAULT) {
            return answer;
        }
        unpack->in_end += got;
        unpack->in_over = answer == OR_GOT_END;
    }
    const struct signature *signature = find_signature(unpack->magic, unpack->in_end, false);
    if (!signature) {
        unpack->packing = OR_PACKING_NONE;
        return OR_GOT_BYTES;
    }
    if (signature->refused) {
        or_fail(error, ONEROW_INPUT, "%s: is %s", unpack->source.name, signature->refused);
        return OR_GOT_FAULT;
    }
    return begin_unpacking(unpack, signature->packing) ? OR_GOT_BYTES : no_memory(unpack, error);
}

static enum or_got read_plain(struct or_unpack *unpack, char *into, size_t room, size_t *got,
                              struct onerow_error *error)
{
    size_t kept = unpack->in_end - unpack->in_begin;
    if (kept == 0) {
        return unpack->in_over ? OR_GOT_END
                               : or_source_read(&unpack->source, into, room, got, error);
    }
    *got = kept < room ? kept : room;
    memcpy(into, unpack->magic + unpack->in_begin, *got);
    unpack->in_begin += *got;
    return OR_GOT_BYTES;
}

/* How far into the archive the decoder has come. */
static unsigned long long offset(const struct or_unpack *unpack)
{
    return unpack->source.read - (unpack->in_end - unpack->in_begin);
}

static enum or_got corrupt(const struct or_unpack *unpack, const char *why,
                           struct onerow_error *error)
{
    or_fail(error, ONEROW_INPUT,
            "%s: the %s archive is corrupt at byte %llu (%s); the records before that place "
            "were read. Get the file again.",
            unpack->source.name, unpack->packing == OR_PACKING_GZIP ? "gzip" : "zstd",
            offset(unpack), why);
    return OR_GOT_FAULT;
}

static enum or_got truncated(const struct or_unpack *unpack, struct onerow_error *error)
{
    or_fail(error, ONEROW_INPUT,
            "%s: the %s archive is truncated: it ends at byte %llu, in the middle of its data; "
            "the records before that place were read. Get the file again.",
            unpack->source.name, unpack->packing == OR_PACKING_GZIP ? "gzip" : "zstd",
            offset(unpack));
    return OR_GOT_FAULT;
}

/* Between members: zero bytes may pad an archive (tapes and block devices do), a magic begins
 * the next member, all else is a fault. */
static enum or_got begin_member(struct or_unpack *unpack, struct onerow_error *error)
{
    while (unpack->in_begin < unpack->in_end && unpack->in[unpack->in_begin] == 0) {
        unpack->in_begin++;
    }
    if (unpack->in_begin == unpack->in_end) {
        return OR_GOT_BYTES;
    }
    if ((unsigned char)unpack->in[unpack->in_begin] != signatures[0].bytes[0]) {
        return corrupt(unpack, "bytes that are no gzip member follow", error);
    }
    unpack->inside = true;
    return inflateReset(&unpack->gzip) == Z_OK ? OR_GOT_BYTES : no_memory(unpack, error);
}

/* One step of zlib over what input there is; *got may stay 0. */
static enum or_got step_gzip(struct or_unpack *unpack, char *into, size_t room, size_t *got,
                             struct onerow_error *error)
{
    enum or_got ready = unpack->inside ? OR_GOT_BYTES : begin_member(unpack, error);
    if (ready != OR_GOT_BYTES || !unpack->inside) {
        unpack->full = false;
        return ready;
    }
    z_stream *gzip = &unpack->gzip;
    gzip->next_in = (unsigned char *)unpack->in + unpack->in_begin;
    gzip->avail_in = (unsigned)(unpack->in_end - unpack->in_begin);
    gzip->next_out = (unsigned char *)into;
    gzip->avail_out = (unsigned)room;
    int code = inflate(gzip, Z_NO_FLUSH);
    unpack->in_begin = unpack->in_end - gzip->avail_in;
    *got = room - gzip->avail_out;
    unpack->inside = code != Z_STREAM_END;
    bool fine = code == Z_OK || code == Z_STREAM_END || code == Z_BUF_ERROR;
    unpack->full = *got == room || !fine;
    if (fine || *got > 0) {
        return OR_GOT_BYTES; /* the same fault is met again, alone, at the next call */
    }
    return code == Z_MEM_ERROR
               ? no_memory(unpack, error)
               : corrupt(unpack, gzip->msg ? gzip->msg : "it needs a dictionary", error);
}

/* One step of libzstd. When a step fails, whatever it had decoded is lost, so a step is given no
 * more than the decoder asked for: about one block. */
static enum or_got step_zstd(struct or_unpack *unpack, char *into, size_t room, size_t *got,
                             struct onerow_error *error)
{
    size_t available = unpack->in_end - unpack->in_begin;
    size_t piece = available < unpack->wanted ? available : unpack->wanted;
    ZSTD_inBuffer in = {unpack->in + unpack->in_begin, piece, 0};
    ZSTD_outBuffer out = {into, room, 0};
    size_t code = ZSTD_decompressStream(unpack->zstd, &out, &in);
    unpack->in_begin += in.pos;
    *got = out.pos;
    if (ZSTD_getErrorCode(code) == ZSTD_error_memory_allocation) {
        return no_memory(unpack, error);
    }
    if (ZSTD_isError(code)) {
        return corrupt(unpack, ZSTD_getErrorName(code), error);
    }
    /* At the end of a frame libzstd answers 0, whether or not another one follows. */
    unpack->inside = code != 0;
    unpack->wanted = code ? code : ZSTD_FIRST_WANT;
    unpack->full = *got == room;
    return OR_GOT_BYTES;
}

static enum or_got refill(struct or_unpack *unpack, struct onerow_error *error)
{
    size_t got = 0;
    enum or_got answer = or_source_read(&unpack->source, unpack->in, IN_ROOM, &got, error);
    if (answer == OR_GOT_BYTES || answer == OR_GOT_END) {
        unpack->in_begin = 0;
        unpack->in_end = got;
        unpack->in_over = answer == OR_GOT_END;
        return OR_GOT_BYTES;
    }
    return answer;
}

/* The decoder is asked before the source is, since it may hold bytes of its own. */
static enum or_got read_packed(struct or_unpack *unpack, char *into, size_t room, size_t *got,
                               struct onerow_error *error)
{
    for (;;) {
        bool drained = unpack->in_begin == unpack->in_end && !unpack->full;
        if (drained && unpack->in_over) {
            return unpack->inside ? truncated(unpack, error) : OR_GOT_END;
        }
        enum or_got answer = drained ? refill(unpack, error) : OR_GOT_BYTES;
        if (answer != OR_GOT_BYTES) {
            return answer;
        }
        if (unpack->in_begin == unpack->in_end && !unpack->full) {
            continue;
        }
        answer = unpack->packing == OR_PACKING_GZIP ? step_gzip(unpack, into, room, got, error)
                                                    : step_zstd(unpack, into, room, got, error);
        if (answer != OR_GOT_BYTES || *got > 0) {
            return answer;
        }
    }
}

enum or_got or_unpack_read(struct or_unpack *unpack, char *into, size_t room, size_t *got,
                           struct onerow_error *error)
{
    *got = 0;
    if (unpack->packing == OR_PACKING_UNKNOWN) {
        enum or_got answer = detect(unpack, error);
        if (answer != OR_GOT_BYTES) {
            return answer;
        }
    }
    return unpack->packing == OR_PACKING_NONE ? read_plain(unpack, into, room, got, error)
                                              : read_packed(unpack, into, room, got, error);
}

bool or_unpack_idle(const struct or_unpack *unpack)
{
    bool holds = unpack->in_over || unpack->full || unpack->in_begin < unpack->in_end;
    return !holds && or_source_idle(&unpack->source);
}
