/* SPDX-License-Identifier: Apache-2.0
 *
 * Dead letters: how they are stored, and a run's own file.
 *
 *     STATE/dead-letters/                                  0700, made with the first letter
 *         20260131T120000Z-4711-0f3c…9a.jsonl              0600, one file per run
 *         20260131T120000Z-4711-0f3c…9a.jsonl.tmp          while letters are being settled
 *
 * One letter is one line: a JSON object and a newline (dead_letter_json.c).
 *
 * Writing. Only its own run writes to a file, at its end. Letters wait in memory
 * (OR_BOX_ROOM bytes at most) until a flush writes and fdatasyncs them; the first
 * flush also fsyncs the folders that lead to the file. A record is reported as
 * rejected or unknown after its flush, never before: what a crash tears off was
 * never reported, and its record is still in the input. After a failed write or
 * fsync the box is broken for good. A second fsync may answer OK although the
 * kernel has thrown the pages away, so it is not asked.
 *
 * Damage. A line carries no checksum; it must parse. A cut-off JSON object is never
 * a JSON object, and the blocks that a power cut leaves unwritten read as NULs,
 * which JSON does not allow anywhere: a torn letter is always noticed. Without
 * checksums a letter may be mended, split off or deleted with an ordinary editor,
 * grep and jq. A last line that parses counts even when its newline is missing: all
 * of it is there, and a replay of it is harmless. A last line without newline that
 * does not parse is torn, and goes when its file is rewritten. A line with newline
 * that does not parse was no accident of ours: it stays, and is counted.
 *
 * Locks. The run holds an exclusive flock on its file; it ends with the process,
 * however that ends. Settling takes the same lock without waiting, and passes over
 * a file that is taken. Between the creation of a file and its lock a settler may
 * take it for an abandoned empty file and remove it: the box therefore looks, once
 * it has the lock, whether the name still leads to its file, and otherwise starts
 * with another name.
 *
 * Settling, for each file: lock; make sure that the name still leads to the locked
 * file (a settler that was faster has renamed another over it, or removed it: then
 * open anew); read and decide letter by letter; then, if any letter is DONE,
 *
 *     unlink NAME.tmp · write what stays into NAME.tmp · fsync it ·
 *     rename it over NAME · fsync the folder
 *
 * or unlink NAME when nothing stays. A crash before the rename leaves the old file,
 * a crash after it the new one; both hold every letter that was not DONE. The file
 * is rewritten once, at its end; until then each DONE letter is crossed out where it
 * stands, its first byte overwritten, so that a replay that is killed leaves nothing
 * to be written again over a later letter of the same key. A power loss may take the
 * cross away: the letter is then replayed again, and refused if its row changed since.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/status.h"
#include "base/text.h"
#include "engine/dead_letter_internal.h"

#define OR_BOX_ROOM  ((size_t)1024 * 1024) /* bytes of letters that wait for a flush */
#define OR_BOX_NAMES 100                   /* names tried before the folder is given up */
#define OR_NAME_MAX  64U

struct or_letter_box {
    char *folder;
    char *path;             /* NULL before the first letter */
    char name[OR_NAME_MAX]; /* of the file, without its ending: the beginning of every id */
    int fd;
    uint64_t letters;
    char *waiting; /* OR_BOX_ROOM bytes, allocated with the first letter */
    size_t n_waiting;
    bool written; /* the file holds something */
    bool synced;  /* all that was added is durable */
    bool entered; /* the folders that lead to the file are durable */
    struct or_buffer line;
    struct onerow_error broken; /* status OK: it is not */
};

enum onerow_status or_letter_box_open(const char *folder, struct or_letter_box **box,
                                      struct onerow_error *error)
{
    *box = NULL;
    struct or_letter_box *made = calloc(1, sizeof *made);
    if (!made) {
        return or_letter_errno(error, ENOMEM, "open", "the box");
    }
    enum onerow_status status = or_letter_folder(folder, &made->folder, error);
    if (status) {
        free(made);
        return status;
    }
    made->fd = -1;
    made->synced = true;
    or_buffer_init(&made->line);
    *box = made;
    return ONEROW_OK;
}

void or_letter_box_close(struct or_letter_box *box)
{
    if (!box) {
        return;
    }
    if (box->fd >= 0) {
        if (!box->written) {
            unlink(box->path);
        }
        close(box->fd);
    }
    or_buffer_finish(&box->line);
    free(box->waiting);
    free(box->path);
    free(box->folder);
    free(box);
}

const char *or_letter_box_path(const struct or_letter_box *box)
{
    return box->path;
}

static enum onerow_status refuse(const struct or_letter_box *box, struct onerow_error *error)
{
    return or_fail(error, box->broken.status, "%s", box->broken.text);
}

static enum onerow_status break_box(struct or_letter_box *box, int number, const char *action,
                                    const char *path, struct onerow_error *error)
{
    or_letter_errno(&box->broken, number, action, path);
    return refuse(box, error);
}

/* ---- the file ------------------------------------------------------------------ */

static bool set_name(struct or_letter_box *box)
{
    uint64_t random;
    if (getrandom(&random, sizeof random, 0) != (ssize_t)sizeof random) {
        return false;
    }
    time_t now = time(NULL);
    struct tm utc;
    char stamp[32];
    if (!strftime(stamp, sizeof stamp, "%Y%m%dT%H%M%SZ", gmtime_r(&now, &utc))) {
        return false;
    }
    snprintf(box->name, sizeof box->name, "%s-%ld-%016llx", stamp, (long)getpid(),
             (unsigned long long)random);
    return true;
}

/* Whether the name leads to the open file, now that it is locked and nobody removes it. */
static bool is_ours(int fd, const char *path)
{
    struct stat open_file, named;
    return fstat(fd, &open_file) == 0 && lstat(path, &named) == 0 &&
           open_file.st_dev == named.st_dev && open_file.st_ino == named.st_ino;
}

/* Creates and locks a file under a fresh name. 0, EAGAIN: try another name, or an errno. */
static int try_name(struct or_letter_box *box)
{
    free(box->path);
    box->path = NULL;
    char file[OR_NAME_MAX + sizeof OR_LETTER_ENDING];
    if (!set_name(box)) {
        return errno;
    }
    snprintf(file, sizeof file, "%s" OR_LETTER_ENDING, box->name);
    box->path = or_letter_path(box->folder, file);
    if (!box->path) {
        return ENOMEM;
    }
    int fd = open(box->path, O_WRONLY | O_APPEND | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) {
        return errno == EEXIST ? EAGAIN : errno;
    }
    int number = flock(fd, LOCK_EX | LOCK_NB) == 0 ? 0 : errno;
    if (number == 0 && is_ours(fd, box->path)) {
        box->fd = fd;
        return 0;
    }
    close(fd);
    return number && number != EWOULDBLOCK ? number : EAGAIN;
}

static enum onerow_status begin(struct or_letter_box *box, struct onerow_error *error)
{
    if (!box->waiting) {
        box->waiting = malloc(OR_BOX_ROOM);
    }
    if (!box->waiting) {
        return or_letter_errno(error, ENOMEM, "begin a file in", box->folder);
    }
    enum onerow_status status = or_letter_folder_make(box->folder, &box->broken);
    if (status) {
        return refuse(box, error);
    }
    int number = EAGAIN;
    for (int i = 0; i < OR_BOX_NAMES && number == EAGAIN; i++) {
        number = try_name(box);
    }
    if (number) {
        free(box->path);
        box->path = NULL;
        return break_box(box, number, "begin a file in", box->folder, error);
    }
    return ONEROW_OK;
}

static enum onerow_status write_out(struct or_letter_box *box, const char *data, size_t len,
                                    struct onerow_error *error)
{
    box->written = box->written || len > 0;
    int number = or_letter_write(box->fd, data, len);
    return number ? break_box(box, number, "write", box->path, error) : ONEROW_OK;
}

static enum onerow_status write_waiting(struct or_letter_box *box, struct onerow_error *error)
{
    size_t len = box->n_waiting;
    box->n_waiting = 0;
    return write_out(box, box->waiting, len, error);
}

/* ---- letters ------------------------------------------------------------------- */

static enum onerow_status keep_line(struct or_letter_box *box, struct onerow_error *error)
{
    struct onerow_span line = or_buffer_view(&box->line);
    box->synced = false;
    if (line.len > OR_BOX_ROOM - box->n_waiting) {
        enum onerow_status status = write_waiting(box, error);
        if (status) {
            return status;
        }
    }
    if (line.len > OR_BOX_ROOM) {
        return write_out(box, line.data, line.len, error);
    }
    memcpy(box->waiting + box->n_waiting, line.data, line.len);
    box->n_waiting += line.len;
    return ONEROW_OK;
}

static struct onerow_span time_now(char *text, size_t room)
{
    struct timespec now;
    struct tm utc;
    clock_gettime(CLOCK_REALTIME, &now);
    size_t len = strftime(text, room, "%Y-%m-%dT%H:%M:%S", gmtime_r(&now.tv_sec, &utc));
    snprintf(text + len, room - len, ".%06ldZ", now.tv_nsec / 1000);
    return or_span(text);
}

static void compose(struct or_letter_box *box, const struct or_letter *letter)
{
    char id[OR_NAME_MAX + 24], time[40];
    struct or_letter own = *letter;
    snprintf(id, sizeof id, "%s-%llu", box->name, (unsigned long long)box->letters + 1);
    own.id = or_span(id);
    own.time = time_now(time, sizeof time);
    or_buffer_clear(&box->line);
    or_letter_to_json(&own, &box->line);
    or_buffer_char(&box->line, '\n');
}

enum onerow_status or_letter_add(struct or_letter_box *box, const struct or_letter *letter,
                                 struct onerow_error *error)
{
    if (box->broken.status) {
        return refuse(box, error);
    }
    if (box->fd < 0) {
        enum onerow_status status = begin(box, error);
        if (status) {
            return status;
        }
    }
    compose(box, letter);
    if (box->line.failed) {
        return or_letter_errno(error, ENOMEM, "add a letter to", box->path);
    }
    box->letters++;
    return keep_line(box, error);
}

/* Letters in a file that has been deleted would be flushed into nowhere. */
static bool is_deleted(int fd)
{
    struct stat file;
    return fstat(fd, &file) == 0 && file.st_nlink == 0;
}

static enum onerow_status make_durable(struct or_letter_box *box, struct onerow_error *error)
{
    if (fdatasync(box->fd)) {
        return break_box(box, errno, "flush", box->path, error);
    }
    if (!box->entered && or_letter_folder_sync(box->folder, true, &box->broken)) {
        return refuse(box, error);
    }
    box->entered = true;
    if (is_deleted(box->fd)) {
        or_fail(
            &box->broken, ONEROW_VANISHED,
            "dead letters: %s was deleted while this run was writing it\n  run again, and leave "
            "the folder alone meanwhile",
            box->path);
        return refuse(box, error);
    }
    box->synced = true;
    return ONEROW_OK;
}

enum onerow_status or_letter_flush(struct or_letter_box *box, struct onerow_error *error)
{
    if (box->broken.status) {
        return refuse(box, error);
    }
    if (box->synced) {
        return ONEROW_OK;
    }
    enum onerow_status status = write_waiting(box, error);
    return status ? status : make_durable(box, error);
}
