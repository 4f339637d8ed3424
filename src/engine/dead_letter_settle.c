/* SPDX-License-Identifier: Apache-2.0
 *
 * Settling dead letters. The locks and the order of the steps are explained at the
 * top of dead_letter.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/status.h"
#include "engine/dead_letter_internal.h"

#define COPY_ROOM   ((size_t)64 * 1024)
#define LOCK_ROUNDS 100 /* files renamed under our hands before it counts as held */

struct settling {
    const char *folder;
    or_letter_decide *decide;
    void *context;
    size_t held;
    bool stopped;
};

/* Bytes of a file that stay. */
struct range {
    off_t from;
    off_t to;
};

/* What was decided of one file. */
struct decided {
    struct or_buffer ranges; /* struct range, rising, never touching */
    bool done;               /* at least one letter is */
};

/* ---- the lock ----------------------------------------------------------------------- */

enum lock_state { LOCKED, HELD, GONE, AGAIN, REFUSED };

/* Opens and locks what the name leads to now. REFUSED: see errno. */
static enum lock_state try_lock(const char *path, int *fd)
{
    struct stat open_file, named;
    *fd = open(path, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (*fd < 0) {
        return errno == ENOENT || errno == ELOOP || errno == EISDIR ? GONE : REFUSED;
    }
    if (fstat(*fd, &open_file) || !S_ISREG(open_file.st_mode)) {
        return GONE;
    }
    if (flock(*fd, LOCK_EX | LOCK_NB)) {
        return errno == EWOULDBLOCK ? HELD : REFUSED;
    }
    if (lstat(path, &named)) {
        return errno == ENOENT ? GONE : REFUSED;
    }
    return open_file.st_dev == named.st_dev && open_file.st_ino == named.st_ino ? LOCKED : AGAIN;
}

/* *fd is -1 unless it is LOCKED. */
static enum lock_state lock_file(const char *path, int *fd)
{
    enum lock_state state = AGAIN;
    for (int i = 0; i < LOCK_ROUNDS && state == AGAIN; i++) {
        state = try_lock(path, fd);
        if (state != LOCKED && *fd >= 0) {
            int number = errno;
            close(*fd);
            *fd = -1;
            errno = number;
        }
    }
    return state == AGAIN ? HELD : state;
}

/* ---- deciding ------------------------------------------------------------------------ */

static void keep(struct decided *decided, off_t from, off_t to)
{
    struct range *last = NULL;
    if (decided->ranges.len) {
        last = (struct range *)(void *)(decided->ranges.data + decided->ranges.len) - 1;
    }
    if (last && last->to == from) {
        last->to = to;
        return;
    }
    struct range range = {from, to};
    or_buffer_add(&decided->ranges, &range, sizeof range);
}

/* What is not looked at stays: all from this line to the end of the file. */
static void keep_rest(struct decided *decided, struct or_letter_reader *reader)
{
    struct stat file;
    off_t end = fstat(fileno(reader->stream), &file) == 0 ? file.st_size : reader->to;
    keep(decided, reader->from, end > reader->to ? end : reader->to);
}

/* Crosses the letter out where it stands, so that a settler that dies before it can write the file
 * anew leaves no DONE letter to be replayed over its successors. That it fails changes little. */
static void cross_out(struct or_letter_reader *reader)
{
    const char cross = OR_LETTER_CROSS;
    (void)!pwrite(fileno(reader->stream), &cross, 1, reader->from);
}

static void decide_letter(struct settling *settling, struct decided *decided,
                          struct or_letter_reader *reader)
{
    switch (settling->decide(settling->context, &reader->letter)) {
    case OR_LETTER_DONE:
        decided->done = true;
        cross_out(reader);
        break;
    case OR_LETTER_STAYS: keep(decided, reader->from, reader->to); break;
    case OR_LETTER_STOP:
        keep_rest(decided, reader);
        settling->stopped = true;
        break;
    }
}

static enum onerow_status decide_all(struct settling *settling, struct decided *decided,
                                     struct or_letter_reader *reader, struct onerow_error *error)
{
    while (!settling->stopped) {
        enum onerow_status status = or_letter_reader_next(reader, error);
        if (status) {
            return status;
        }
        switch (reader->kind) {
        case OR_LINE_LETTER: decide_letter(settling, decided, reader); break;
        case OR_LINE_DAMAGED: keep(decided, reader->from, reader->to); break;
        case OR_LINE_CROSSED: decided->done = true; break;
        case OR_LINE_TORN: break;
        case OR_LINE_END: return ONEROW_OK;
        }
    }
    return ONEROW_OK;
}

/* ---- taking the decided letters out ---------------------------------------------------- */

/* Copies a range; 0 or an errno. *last is its last byte. */
static int copy_range(int from, int to, struct range range, char *room, char *last)
{
    while (range.from < range.to) {
        size_t left = (size_t)(range.to - range.from);
        ssize_t got = pread(from, room, left < COPY_ROOM ? left : COPY_ROOM, range.from);
        if (got <= 0) {
            return got < 0 ? errno : EIO;
        }
        int number = or_letter_write(to, room, (size_t)got);
        if (number) {
            return number;
        }
        *last = room[got - 1];
        range.from += got;
    }
    return 0;
}

static int copy_ranges(int from, int to, const struct decided *decided)
{
    char *room = malloc(COPY_ROOM);
    if (!room) {
        return ENOMEM;
    }
    const struct range *ranges = (const void *)decided->ranges.data;
    size_t n = decided->ranges.len / sizeof *ranges;
    int number = 0;
    char last = '\n';
    for (size_t i = 0; i < n && !number; i++) {
        number = copy_range(from, to, ranges[i], room, &last);
    }
    free(room);
    if (!number && last != '\n') {
        number = or_letter_write(to, "\n", 1);
    }
    return number;
}

/* A replay by the administrator must not take a user's letters from that user. */
static int keep_owner(int from, int to)
{
    struct stat old;
    if (fstat(from, &old)) {
        return errno;
    }
    return old.st_uid == geteuid() || fchown(to, old.st_uid, old.st_gid) == 0 ? 0 : errno;
}

/* Writes what stays into a new file, durably; 0 or an errno. */
static int write_anew(int from, const char *anew, const struct decided *decided)
{
    if (unlink(anew) && errno != ENOENT) {
        return errno;
    }
    int to = open(anew, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (to < 0) {
        return errno;
    }
    int number = copy_ranges(from, to, decided);
    if (!number) {
        number = keep_owner(from, to);
    }
    if (!number && fsync(to)) {
        number = errno;
    }
    close(to);
    return number;
}

static int replace(int fd, const char *path, const char *anew, const struct decided *decided)
{
    int number = write_anew(fd, anew, decided);
    if (!number && rename(anew, path)) {
        number = errno;
    }
    if (number) {
        unlink(anew); /* what a crash left of it is unlinked by the next settling */
    }
    return number;
}

static int removed(const char *path, const char *anew)
{
    if (unlink(anew) && errno != ENOENT) {
        return errno;
    }
    return unlink(path) ? errno : 0;
}

/* The locked file without its DONE letters. */
static enum onerow_status take_out(const struct settling *settling, int fd, const char *path,
                                   const struct decided *decided, struct onerow_error *error)
{
    char *anew = NULL;
    if (asprintf(&anew, "%s.tmp", path) < 0) {
        return or_letter_errno(error, ENOMEM, "take the settled letters out of", path);
    }
    int number = decided->ranges.len ? replace(fd, path, anew, decided) : removed(path, anew);
    free(anew);
    if (number) {
        return or_letter_errno(error, number, "take the settled letters out of", path);
    }
    return or_letter_folder_sync(settling->folder, false, error);
}

/* ---- the walk ---------------------------------------------------------------------------- */

/* Owns fd, which is locked, until the reader closes it: nothing else may work on the name before
 * the new file is in its place. */
static enum onerow_status settle_locked(struct settling *settling, int fd, const char *path,
                                        struct onerow_error *error)
{
    struct or_letter_reader reader;
    struct decided decided = {0};
    or_buffer_init(&decided.ranges);
    enum onerow_status status = or_letter_reader_init(&reader, fd, path, error);
    if (!status) {
        status = decide_all(settling, &decided, &reader, error);
    }
    if (!status && decided.ranges.failed) {
        status = or_letter_errno(error, ENOMEM, "take the settled letters out of", path);
    }
    if (!status && (decided.done || decided.ranges.len == 0)) {
        status = take_out(settling, fd, path, &decided, error);
    }
    or_buffer_finish(&decided.ranges);
    or_letter_reader_finish(&reader);
    return status;
}

static enum onerow_status settle_file(struct settling *settling, const char *path,
                                      struct onerow_error *error)
{
    int fd;
    switch (lock_file(path, &fd)) {
    case LOCKED: return settle_locked(settling, fd, path, error);
    case REFUSED: return or_letter_errno(error, errno, "settle", path);
    case GONE: return ONEROW_OK;
    default: settling->held++; return ONEROW_OK;
    }
}

/* A file that cannot be settled does not stop the others: emptied ones make room on a full disk.
 * The first failure is reported. */
static enum onerow_status settle_all(struct settling *settling, const struct or_letter_names *names,
                                     struct onerow_error *error)
{
    enum onerow_status status = ONEROW_OK;
    for (size_t i = 0; i < names->n && !settling->stopped; i++) {
        char *path = or_letter_path(settling->folder, names->names[i]);
        struct onerow_error *first = status ? NULL : error;
        enum onerow_status one = path ? settle_file(settling, path, first)
                                      : or_letter_errno(first, ENOMEM, "settle", settling->folder);
        status = status ? status : one;
        free(path);
    }
    return status;
}

enum onerow_status or_letters_settle(const char *folder, or_letter_decide *decide, void *context,
                                     size_t *held, struct onerow_error *error)
{
    struct settling settling = {.decide = decide, .context = context};
    struct or_letter_names names = {0};
    char *path;
    enum onerow_status status = or_letter_folder(folder, &path, error);
    if (!status) {
        settling.folder = path;
        status = or_letter_names_read(path, &names, error);
    }
    if (!status) {
        status = settle_all(&settling, &names, error);
    }
    or_letter_names_finish(&names);
    free(path);
    if (held) {
        *held = settling.held;
    }
    return status;
}
