/* SPDX-License-Identifier: Apache-2.0
 *
 * A regular file is simply read. Everything else (pipe, terminal, socket) may make
 * its reader wait for hours, so each read is preceded by a poll that also watches
 * stop_fd: a signal handler writes to its other end, and the wait is over. Signals
 * that interrupt a call are otherwise of no concern here; the call is made again.
 */
#include "input/source.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/status.h"

static bool is_readable(int fd)
{
    struct pollfd entry = {.fd = fd, .events = POLLIN};
    return fd >= 0 && poll(&entry, 1, 0) > 0;
}

static enum onerow_status status_of_errno(int code)
{
    switch (code) {
    case EIO: return ONEROW_IO;
    case ENOMEM: return ONEROW_NOMEM;
    default: return ONEROW_INPUT;
    }
}

/* Opening a named pipe would wait for its writer and not for a stop request; O_NONBLOCK opens it at
 * once, and the wait is then wait_readable's. */
static enum onerow_status open_path(struct or_source *source, const char *path,
                                    struct onerow_error *error)
{
    do {
        source->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    } while (source->fd < 0 && errno == EINTR);
    if (source->fd < 0) {
        return or_fail(error, status_of_errno(errno), "%s: cannot be opened: %m", path);
    }
    source->owns_fd = true;
    (void)fcntl(source->fd, F_SETFL, fcntl(source->fd, F_GETFL) & ~O_NONBLOCK);
    return ONEROW_OK;
}

/* What kind of thing the descriptor is, and how much of it is left. */
static enum onerow_status look_at(struct or_source *source, struct onerow_error *error)
{
    struct stat facts;
    /* NOLINTNEXTLINE(clang-analyzer-unix.StdCLibraryFunctions): open_path has seen to it */
    if (fstat(source->fd, &facts) != 0) {
        return or_fail(error, status_of_errno(errno), "%s: cannot be read: %m", source->name);
    }
    if (S_ISDIR(facts.st_mode)) {
        return or_fail(error, ONEROW_INPUT, "%s: is a directory; name the files in it",
                       source->name);
    }
    source->regular = S_ISREG(facts.st_mode);
    if (source->regular) {
        off_t start = lseek(source->fd, 0, SEEK_CUR);
        source->total = start < facts.st_size ? (uint64_t)(facts.st_size - start) : 0;
        (void)posix_fadvise(source->fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    }
    return ONEROW_OK;
}

enum onerow_status or_source_open(struct or_source *source, const char *path, int stop_fd,
                                  struct onerow_error *error)
{
    *source = (struct or_source){.fd = STDIN_FILENO, .stop_fd = stop_fd};
    bool standard = strcmp(path, "-") == 0;
    enum onerow_status status = standard ? ONEROW_OK : open_path(source, path, error);
    if (status != ONEROW_OK) {
        return status;
    }
    source->name = strdup(standard ? "standard input" : path);
    status = source->name ? look_at(source, error)
                          : or_fail(error, ONEROW_NOMEM, "%s: out of memory", path);
    if (status != ONEROW_OK) {
        or_source_close(source);
    }
    return status;
}

void or_source_close(struct or_source *source)
{
    if (source->owns_fd) {
        close(source->fd);
    }
    free(source->name);
    *source = (struct or_source){.fd = -1, .stop_fd = -1};
}

/* Waits until there is something to read. poll leaves a negative descriptor alone. */
static enum or_got wait_readable(struct or_source *source, struct onerow_error *error)
{
    for (;;) {
        struct pollfd both[] = {{.fd = source->fd, .events = POLLIN},
                                {.fd = source->stop_fd, .events = POLLIN}};
        if (poll(both, 2, -1) >= 0) {
            return both[1].revents ? OR_GOT_STOP : OR_GOT_BYTES;
        }
        if (errno != EINTR && errno != EAGAIN) {
            or_fail(error, status_of_errno(errno), "%s: cannot wait for it: %m", source->name);
            return OR_GOT_FAULT;
        }
    }
}

static enum or_got read_fault(const struct or_source *source, struct onerow_error *error)
{
    or_fail(error, status_of_errno(errno), "%s: read error after %llu bytes: %m", source->name,
            (unsigned long long)source->read);
    return OR_GOT_FAULT;
}

enum or_got or_source_read(struct or_source *source, char *into, size_t room, size_t *got,
                           struct onerow_error *error)
{
    for (;;) {
        enum or_got ready = source->regular ? OR_GOT_BYTES : wait_readable(source, error);
        if (ready != OR_GOT_BYTES) {
            return ready;
        }
        ssize_t count = read(source->fd, into, room);
        if (count > 0) {
            *got = (size_t)count;
            source->read += *got;
            return OR_GOT_BYTES;
        }
        if (count == 0) {
            return OR_GOT_END;
        }
        /* Somebody else may have taken what poll saw, or set the descriptor to not block. */
        if (errno != EINTR && errno != EAGAIN) {
            return read_fault(source, error);
        }
    }
}

bool or_source_idle(const struct or_source *source)
{
    return !source->regular && !is_readable(source->fd) && !is_readable(source->stop_fd);
}
