/* SPDX-License-Identifier: Apache-2.0
 *
 * A session holds a lock on one byte of FILE-sessions, an open file description lock: the kernel
 * drops it when the last descriptor of that description is closed, however its owners end. A
 * command that inherits the descriptor keeps the session alive. The byte is the session's number,
 * drawn at random; nothing is written. So
 *
 *   nobody locks the byte     the session is over, and so is all that ran under it
 *   somebody does             it lives (or another one drew the same of 2^62 numbers)
 *   another file              nothing is known: who finds FILE-sessions missing makes a new one,
 *                             and does not find in it what was locked in the old one
 *
 * A file is known by its inode and device, which live as long as somebody has it open: they are
 * compared before a byte is looked at. A missing lock in the right file is the only proof of death.
 *
 * Times and sessions mean something within one boot of one kernel. Containers share it, and may
 * have ids of machines that differ; another machine has another boot, and so has this one after a
 * restart.
 */
#include "coordinator/coordinator_sqlite_session.h"

#include <fcntl.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/text.h"

#define NUMBERS ((uint64_t)1 << 62)
#define TRIES   8U /* at numbers that somebody has */

/* ---- sessions --------------------------------------------------------------------------------
 */

static struct flock byte_of(uint64_t number)
{
    return (struct flock){
        .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = (off_t)number, .l_len = 1};
}

static bool draw(int fd, uint64_t *number)
{
    for (unsigned i = 0; i < TRIES; i++) {
        if (getrandom(number, sizeof *number, 0) != (ssize_t)sizeof *number) {
            return false;
        }
        *number = *number % (NUMBERS - 1) + 1;
        struct flock lock = byte_of(*number);
        if (fcntl(fd, F_OFD_SETLK, &lock) == 0) {
            return true;
        }
    }
    return false;
}

void or_alive_begin(struct or_alive *alive, const char *path, unsigned mode)
{
    struct stat info;
    *alive = (struct or_alive){.fd = -1};
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, (mode_t)mode & 0666U);
    if (fd < 0) {
        return;
    }
    uint64_t number = 0;
    if (fstat(fd, &info) != 0 || !draw(fd, &number)) {
        (void)close(fd);
        return;
    }
    *alive = (struct or_alive){.fd = fd,
                               .session = {.number = number,
                                           .inode = (uint64_t)info.st_ino,
                                           .device = (uint64_t)info.st_dev}};
}

void or_alive_end(struct or_alive *alive)
{
    if (alive->fd >= 0) {
        (void)close(alive->fd);
        alive->fd = -1;
    }
}

bool or_alive_lives(const struct or_alive *alive, const struct or_book_session *session)
{
    const struct or_book_session *mine = &alive->session;
    if (alive->fd < 0 || session->number == 0 || session->inode != mine->inode ||
        session->device != mine->device || session->number == mine->number) {
        return true;
    }
    struct flock lock = byte_of(session->number);
    return fcntl(alive->fd, F_OFD_GETLK, &lock) != 0 || lock.l_type != F_UNLCK;
}

/* ---- the machine -----------------------------------------------------------------------------
 */

/* The first line of a file, without its end; "" when it cannot be read or does not fit. */
static void read_line(const char *path, char *line, size_t room)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, line, room) : 0;
    if (fd >= 0) {
        (void)close(fd);
    }
    char *end = n > 0 ? memchr(line, '\n', (size_t)n) : NULL;
    size_t len = end ? (size_t)(end - line) : n > 0 ? (size_t)n : 0;
    line[len < room ? len : 0] = '\0';
}

static bool is_machine_id(const char *line)
{
    return strlen(line) == OR_MACHINE_ID - 1 &&
           strspn(line, "0123456789abcdef") == OR_MACHINE_ID - 1;
}

/* What machine-id(5) asks for: the id itself is not to be shown to others. */
static void hash_machine(const char *id, char machine[OR_MACHINE_ID])
{
    char salted[OR_MACHINE_ID + 16] = "onerow ";
    char digest[OR_SHA256_HEX];
    memcpy(salted + strlen("onerow "), id, OR_MACHINE_ID);
    or_sha256_hex(or_span(salted), digest);
    memcpy(machine, digest, OR_MACHINE_ID - 1);
    machine[OR_MACHINE_ID - 1] = '\0';
}

void or_machine_find(struct or_machine *machine)
{
    static const char *const places[] = {"/etc/machine-id", "/var/lib/dbus/machine-id"};
    *machine = (struct or_machine){0};
    read_line("/proc/sys/kernel/random/boot_id", machine->boot, sizeof machine->boot);
    for (size_t i = 0; i < sizeof places / sizeof *places && !*machine->machine; i++) {
        char id[OR_MACHINE_ID + 2];
        read_line(places[i], id, sizeof id);
        if (is_machine_id(id)) {
            hash_machine(id, machine->machine);
        }
    }
}
