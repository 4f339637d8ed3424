/* SPDX-License-Identifier: Apache-2.0
 *
 * Bytes as they lie in a file or come down a pipe, before any unpacking.
 */
#ifndef OR_INPUT_SOURCE_H
#define OR_INPUT_SOURCE_H

#include "onerow/onerow.h"

enum or_got {
    OR_GOT_BYTES,
    OR_GOT_END,
    OR_GOT_STOP,  /* stop_fd became readable while there was nothing else to do */
    OR_GOT_FAULT, /* the error is filled */
};

struct or_source {
    int fd;
    int stop_fd;  /* -1: none */
    bool owns_fd; /* standard input is not ours to close */
    bool regular; /* a regular file never makes a reader wait */
    char *name;   /* owned; for messages */
    uint64_t read;
    uint64_t total; /* 0: not known */
};

/* On failure there is nothing to close. */
ONEROW_CHECKED enum onerow_status or_source_open(struct or_source *source, const char *path,
                                                 int stop_fd, struct onerow_error *error);
void or_source_close(struct or_source *source);

/* At least one byte into `into` when it says BYTES. */
enum or_got or_source_read(struct or_source *source, char *into, size_t room, size_t *got,
                           struct onerow_error *error);

/* Whether a read would have to wait now. */
bool or_source_idle(const struct or_source *source);

#endif
