/* SPDX-License-Identifier: Apache-2.0
 *
 * How a ledger in a file finds out that it is not the one that it was. Files are copied and put
 * back, and nothing in the file itself can tell that. Two things outside of it can:
 *
 *   the place   The ledger remembers its inode, and when that was born (where the file system does
 *               not tell, the device). A copy, a restored file, a moved one have others.
 *   the mark    FILE-mark, beside the file, says how many commits there were. It is written after
 *               each commit, so it never runs ahead of the file; when it does, the file's content
 *               was put back into the same inode. It is not synced: after a power failure it may
 *               lag behind, which says nothing.
 *
 * What neither sees: the whole disk, or the folder with its inodes, put back as it was. Then the
 * numbers on the target's pages tell (witness).
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/status.h"
#include "coordinator/coordinator_sqlite.h"

#define MARK_WORD   "onerow "
#define MARK_DIGITS 20U /* of the number of commits */
#define MARK_FORMAT MARK_WORD "%s %020" PRIu64 "\n"
#define MARK_LEN    (sizeof MARK_WORD - 1 + OR_LEDGER_ID + MARK_DIGITS + 1)

/* ---- the place ------------------------------------------------------------------------------- */

static void describe(const struct statx *facts, const struct stat *info, char text[OR_FILE_PLACE])
{
    if (facts->stx_mask & STATX_BTIME) {
        snprintf(text, OR_FILE_PLACE, "inode %llu born %lld.%09u", (unsigned long long)info->st_ino,
                 (long long)facts->stx_btime.tv_sec, facts->stx_btime.tv_nsec);
    } else {
        snprintf(text, OR_FILE_PLACE, "inode %llu device %llu", (unsigned long long)info->st_ino,
                 (unsigned long long)info->st_dev);
    }
}

enum onerow_status or_file_find_place(struct or_file *file, struct onerow_error *error)
{
    struct stat info;
    struct statx facts;
    if (stat(file->path, &info) != 0 ||
        statx(AT_FDCWD, file->path, 0, STATX_BTIME | STATX_INO, &facts) != 0) {
        return or_fail(error, ONEROW_VANISHED, "%s: %s", file->path, strerror(errno));
    }
    file->place.device = info.st_dev;
    file->place.inode = info.st_ino;
    describe(&facts, &info, file->place.text);
    if (info.st_nlink > 1) {
        return or_fail(error, ONEROW_CONFIG,
                       "%s: the file has another name besides this one (a hard link): writers that "
                       "use both names lose records\n  find it with: find / -xdev -inum %llu, and "
                       "remove one",
                       file->path, (unsigned long long)info.st_ino);
    }
    return ONEROW_OK;
}

bool or_file_moved(const struct or_file *file)
{
    struct stat info;
    int answer = 0;
    if (stat(file->path, &info) != 0 || info.st_dev != file->place.device ||
        info.st_ino != file->place.inode) {
        return true;
    }
    int code = sqlite3_file_control(file->db, "main", SQLITE_FCNTL_HAS_MOVED, &answer);
    return code == SQLITE_OK && answer;
}

/* ---- the mark -------------------------------------------------------------------------------- */

void or_file_open_mark(struct or_file *file)
{
    struct stat info;
    struct or_buffer path;
    const char *name = sqlite3_db_filename(file->db, "main");
    mode_t mode = stat(file->path, &info) == 0 ? info.st_mode & 0666U : 0644U;
    or_buffer_init(&path);
    or_buffer_printf(&path, "%s-mark", name && *name ? name : file->path);
    file->mark = path.failed
                     ? -1
                     : open(or_buffer_cstr(&path), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, mode);
    or_buffer_finish(&path);
}

uint64_t or_file_read_mark(const struct or_file *file)
{
    char text[MARK_LEN + 1] = "";
    const char *number = text + MARK_LEN - 1 - MARK_DIGITS;
    if (file->mark < 0 || pread(file->mark, text, MARK_LEN, 0) != (ssize_t)MARK_LEN ||
        strncmp(text, MARK_WORD, strlen(MARK_WORD)) != 0 ||
        strncmp(text + strlen(MARK_WORD), file->meta.id, OR_LEDGER_ID - 1) != 0) {
        return 0; /* missing, damaged, or another ledger's */
    }
    return strtoull(number, NULL, 10);
}

void or_file_write_mark(const struct or_file *file)
{
    char text[MARK_LEN + 1];
    snprintf(text, sizeof text, MARK_FORMAT, file->meta.id, file->meta.commits);
    if (file->mark >= 0 && pwrite(file->mark, text, MARK_LEN, 0) != (ssize_t)MARK_LEN) {
        return; /* a full disk: the mark lags behind, which says nothing */
    }
}

/* ---- the verdict ----------------------------------------------------------------------------- */

bool or_file_is_suspect(const struct or_file *file, char why[OR_FILE_WHY])
{
    const struct or_file_meta *meta = &file->meta;
    if (strcmp(meta->place, file->place.text) != 0) {
        snprintf(why, OR_FILE_WHY,
                 "the ledger's file was copied, moved or restored: it is %s and was %s; see that "
                 "nobody uses the other one any more",
                 file->place.text, meta->place);
        return true;
    }
    if (file->marked > meta->commits) {
        snprintf(why, OR_FILE_WHY,
                 "the ledger's file holds %" PRIu64 " commits and held %" PRIu64
                 ": an older state was put back",
                 meta->commits, file->marked);
        return true;
    }
    return false;
}
