/* SPDX-License-Identifier: Apache-2.0
 *
 * Where dead letters lie, and what a person is told when the disk refuses them.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/status.h"
#include "engine/dead_letter_internal.h"

#define SUBFOLDER "dead-letters"

static bool is_set(const char *text)
{
    return text && *text;
}

/* The folder of letters as it was named, perhaps relative; NULL with errno 0: no name. */
static char *named_folder(const char *state)
{
    const char *xdg = getenv("XDG_STATE_HOME");
    const char *home = getenv("HOME");
    char *folder = NULL;
    int len = -1;
    errno = 0;
    if (!is_set(state)) {
        state = getenv("ONEROW_STATE");
    }
    if (is_set(state)) {
        len = asprintf(&folder, "%s/" SUBFOLDER, state);
    } else if (is_set(xdg) && xdg[0] == '/') { /* the XDG rules ignore a relative one */
        len = asprintf(&folder, "%s/onerow/" SUBFOLDER, xdg);
    } else if (is_set(home)) {
        len = asprintf(&folder, "%s/.local/state/onerow/" SUBFOLDER, home);
    } else {
        return NULL;
    }
    if (len < 0) {
        errno = ENOMEM;
        return NULL;
    }
    return folder;
}

/* A relative folder would move with the process's working directory. Frees `folder`. */
static char *made_absolute(char *folder)
{
    /* NOLINTNEXTLINE(clang-analyzer-unix.StdCLibraryFunctions): glibc and musl allocate */
    char *here = getcwd(NULL, 0);
    char *whole = here ? or_letter_path(here, folder) : NULL;
    free(here);
    free(folder);
    return whole;
}

enum onerow_status or_letter_folder(const char *state, char **folder, struct onerow_error *error)
{
    *folder = named_folder(state);
    if (!*folder && errno == 0) {
        return or_fail(error, ONEROW_CONFIG,
                       "there is no place for dead letters: ONEROW_STATE, XDG_STATE_HOME and HOME "
                       "are all unset\n  set one, such as ONEROW_STATE=/var/lib/onerow");
    }
    if (*folder && (*folder)[0] != '/') {
        *folder = made_absolute(*folder);
    }
    return *folder ? ONEROW_OK
                   : or_letter_errno(error, errno, "find", "the folder of dead letters");
}

char *or_letter_path(const char *folder, const char *name)
{
    char *path = NULL;
    return asprintf(&path, "%s/%s", folder, name) < 0 ? NULL : path;
}

struct refusal {
    int number;
    enum onerow_status status;
    const char *advice;
};

#define ELSEWHERE "set ONEROW_STATE to a folder on another disk"

static const struct refusal REFUSALS[] = {
    {ENOSPC, ONEROW_FULL, "free some space there, or " ELSEWHERE ", and run again"},
    {EDQUOT, ONEROW_FULL, "raise the quota, or " ELSEWHERE ", and run again"},
    {EFBIG, ONEROW_FULL, "raise the limit on a file's size (ulimit -f) and run again"},
    {EACCES, ONEROW_READONLY,
     "let this user read and write there (ls -ld shows the owner), or set ONEROW_STATE to a "
     "folder of this user, and run again"},
    {EPERM, ONEROW_READONLY,
     "let this user read and write there (ls -ld shows the owner), or set ONEROW_STATE to a "
     "folder of this user, and run again"},
    {EROFS, ONEROW_READONLY, "mount it writable, or " ELSEWHERE ", and run again"},
    {EIO, ONEROW_IO,
     "check the disk (the kernel's log says more), or " ELSEWHERE ", and run again"},
    {ENOLCK, ONEROW_IO, "this file system has no locks: set ONEROW_STATE to a local folder"},
    {EOPNOTSUPP, ONEROW_IO, "this file system has no locks: set ONEROW_STATE to a local folder"},
    {ENOMEM, ONEROW_NOMEM, "run again with more memory"},
};

static const struct refusal *refusal_of(int number)
{
    static const struct refusal other = {0, ONEROW_IO,
                                         "look at that path, or " ELSEWHERE ", and run again"};
    for (size_t i = 0; i < sizeof REFUSALS / sizeof *REFUSALS; i++) {
        if (REFUSALS[i].number == number) {
            return &REFUSALS[i];
        }
    }
    return &other;
}

enum onerow_status or_letter_errno(struct onerow_error *error, int number, const char *action,
                                   const char *path)
{
    const struct refusal *refusal = refusal_of(number);
    char text[128];
    return or_fail(error, refusal->status, "dead letters: cannot %s %s: %s\n  %s", action, path,
                   strerror_r(number, text, sizeof text), refusal->advice);
}

enum onerow_status or_letter_folder_make(const char *folder, struct onerow_error *error)
{
    char *path = strdup(folder);
    if (!path) {
        return or_letter_errno(error, ENOMEM, "make", folder);
    }
    enum onerow_status status = ONEROW_OK;
    for (char *slash = path; slash && !status;) {
        slash = strchr(slash + 1, '/');
        if (slash) {
            *slash = '\0';
        }
        if (mkdir(path, 0700) && errno != EEXIST) {
            status = or_letter_errno(error, errno, "make the folder", path);
        }
        if (slash) {
            *slash = '/';
        }
    }
    free(path);
    return status;
}

/* Some file systems have nothing to flush for a folder and say EINVAL. */
static bool sync_one(int fd)
{
    return fsync(fd) == 0 || errno == EINVAL;
}

/* The folder above; -1 at the root, at the mount's own top, and where reading is not allowed:
 * in none of these could a run of ours have made the folder that we come from. */
static int above(int fd)
{
    struct stat here, there;
    int up = openat(fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (up < 0) {
        return -1;
    }
    if (fstat(fd, &here) || fstat(up, &there) || here.st_dev != there.st_dev ||
        here.st_ino == there.st_ino) {
        close(up);
        return -1;
    }
    return up;
}

/* Going upwards does not stop at folders that this run found: another run may have made them a
 * moment ago and not have flushed them yet. */
enum onerow_status or_letter_folder_sync(const char *folder, bool upwards,
                                         struct onerow_error *error)
{
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return or_letter_errno(error, errno, "open the folder", folder);
    }
    while (fd >= 0) {
        if (!sync_one(fd)) {
            int number = errno;
            close(fd);
            return or_letter_errno(error, number, "flush the folder", folder);
        }
        int up = upwards ? above(fd) : -1;
        close(fd);
        fd = up;
    }
    return ONEROW_OK;
}

int or_letter_write(int fd, const char *data, size_t len)
{
    while (len) {
        ssize_t wrote = write(fd, data, len);
        if (wrote < 0 && errno == EINTR) {
            continue;
        }
        if (wrote <= 0) {
            return wrote < 0 ? errno : EIO;
        }
        data += wrote;
        len -= (size_t)wrote;
    }
    return 0;
}
