/* SPDX-License-Identifier: Apache-2.0
 *
 * The queue is a ticket counter in a small shared file:
 *
 *   next     the next ticket to hand out
 *   serving  the ticket whose turn it is; a futex, on which waiters sleep
 *   taken    the last ticket whose owner has seen that it is its turn
 *
 * A writer draws a ticket, locks the byte of that ticket in the file (an open file
 * description lock, which the kernel drops when the process dies), sleeps until
 * `serving` reaches it, works, and moves `serving` on. The release wakes only the
 * next ticket: waiters sleep on the futex with a bit set that their ticket chooses.
 *
 * A writer that dies or stops must not hold the others up, so a sleeper looks up
 * every few milliseconds and moves `serving` on by itself
 *   - at once, when nobody holds the lock on the byte of the ticket being served:
 *     its owner is dead (or has not locked it yet; then it is merely passed over);
 *   - after NAP_LIMIT, when the owner lives but has not taken its turn: it is stopped
 *     or starved of CPU;
 *   - after HOLD_LIMIT, when the owner has taken it: a very long transaction, or a
 *     stopped process. Should it be in a transaction, the database's lock still
 *     holds everybody off.
 * A writer that was passed over draws a new ticket. Every step is a compare-and-swap
 * from the ticket that was observed, so two helpers move the queue only once. Two
 * writers at work at the same time are allowed at any moment: the database decides.
 *
 * The file is written out with write(2) before it is mapped, so that a full disk
 * shows as an error there and not as SIGBUS here. Removing the file is harmless:
 * the next writers form a new queue.
 */
#include "base/turn.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/flag.h"

#define QUEUE_SIZE   4096U
#define LOOK_UP_MS   10U /* a sleeper's rhythm of looking after the others */
#define NAP_LIMIT_MS 100U
#define QUEUE_LONGEST                                                                              \
    65536 /* tickets between the served one and ours; more is no queue of ours                     \
           */
#define HOLD_LIMIT_MS 5000U

struct queue {
    _Atomic uint32_t next;
    _Atomic uint32_t serving;
    _Atomic uint32_t taken;
};

struct or_turn {
    struct queue *queue;
    int fd;
    uint32_t ticket;
    bool holding;
};

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000U + (uint64_t)now.tv_nsec / 1000000U;
}

/* Locks or unlocks one byte of the file: F_OFD_SETLK with F_WRLCK or F_UNLCK. */
static bool lock_byte(int fd, int type, off_t at)
{
    struct flock lock = {.l_type = (short)type, .l_whence = SEEK_SET, .l_start = at, .l_len = 1};
    return fcntl(fd, F_OFD_SETLK, &lock) == 0;
}

/* Byte of a ticket's lock: behind the page, so that it meets no other use of the file. */
static off_t ticket_byte(uint32_t ticket)
{
    return (off_t)QUEUE_SIZE + (off_t)ticket;
}

static bool owner_lives(const struct or_turn *turn, uint32_t ticket)
{
    struct flock lock = {
        .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = ticket_byte(ticket), .l_len = 1};
    return fcntl(turn->fd, F_OFD_GETLK, &lock) != 0 || lock.l_type != F_UNLCK;
}

/* Gives the file its first page, in whichever process comes first. */
static bool prepare(int fd)
{
    struct stat info;
    if (fstat(fd, &info) != 0) {
        return false;
    }
    if (info.st_size >= (off_t)QUEUE_SIZE) {
        return true;
    }
    static const char zeros[QUEUE_SIZE];
    /* Zeros over zeros: a second process doing the same at the same time changes nothing, because
     * only a file that is still too short is written to, past its present end. */
    ssize_t missing = (ssize_t)QUEUE_SIZE - info.st_size;
    return pwrite(fd, zeros, (size_t)missing, info.st_size) == missing;
}

struct or_turn *or_turn_open(const char *path, unsigned mode)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, (mode_t)mode & 0666U);
    if (fd < 0) {
        return NULL;
    }
    struct or_turn *turn = malloc(sizeof *turn);
    void *page = MAP_FAILED;
    if (turn && prepare(fd)) {
        page = mmap(NULL, QUEUE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    }
    if (page == MAP_FAILED) {
        free(turn);
        close(fd);
        return NULL;
    }
    *turn = (struct or_turn){.queue = page, .fd = fd};
    return turn;
}

void or_turn_close(struct or_turn *turn)
{
    if (!turn) {
        return;
    }
    or_turn_give(turn);
    munmap(turn->queue, QUEUE_SIZE);
    close(turn->fd);
    free(turn);
}

static uint32_t wake_bit(uint32_t ticket)
{
    return 1U << (ticket % 32U);
}

/* Sleeps while `serving` is `seen`, for LOOK_UP_MS at most. */
static void sleep_on(struct queue *queue, uint32_t seen, uint32_t ticket)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += (long)LOOK_UP_MS * 1000000L;
    if (until.tv_nsec >= 1000000000L) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000L;
    }
    syscall(SYS_futex, &queue->serving, FUTEX_WAIT_BITSET, seen, &until, NULL, wake_bit(ticket));
}

/* Moves the queue on from `from`, if it still stands there, and wakes the next one. */
static void move_on(struct queue *queue, uint32_t from)
{
    uint32_t expected = from;
    if (atomic_compare_exchange_strong(&queue->serving, &expected, from + 1)) {
        syscall(SYS_futex, &queue->serving, FUTEX_WAKE_BITSET, INT32_MAX, NULL, NULL,
                wake_bit(from + 1));
    }
}

/* The ticket's number, with its byte locked. */
static uint32_t draw(struct or_turn *turn)
{
    uint32_t ticket = atomic_fetch_add(&turn->queue->next, 1);
    lock_byte(turn->fd, F_WRLCK, ticket_byte(ticket));
    return ticket;
}

static void drop(struct or_turn *turn)
{
    lock_byte(turn->fd, F_UNLCK, ticket_byte(turn->ticket));
    turn->holding = false;
}

/* How long the ticket being served may stand still before a sleeper moves the queue on. */
static uint64_t patience(const struct or_turn *turn, uint32_t serving)
{
    if (!owner_lives(turn, serving)) {
        return 0;
    }
    return atomic_load(&turn->queue->taken) == serving ? HOLD_LIMIT_MS : NAP_LIMIT_MS;
}

bool or_turn_take(struct or_turn *turn, uint64_t wait_ms, const volatile bool *stop)
{
    struct queue *queue = turn->queue;
    uint64_t start = now_ms();
    uint64_t since = start; /* when `watched` began to be served, as far as this process saw */
    if (!prepare(turn->fd)) {
        return true;
    }
    turn->ticket = draw(turn);
    turn->holding = true;
    uint32_t watched = turn->ticket;
    for (;;) {
        if (!prepare(turn->fd)) { /* cut short by somebody: touching the page would kill us */
            drop(turn);
            return true;
        }
        uint32_t serving = atomic_load(&queue->serving);
        int32_t ahead = (int32_t)(turn->ticket - serving);
        if (ahead > QUEUE_LONGEST || ahead < -QUEUE_LONGEST) { /* a damaged page: begin anew */
            atomic_store(&queue->serving, turn->ticket);
            continue;
        }
        if (ahead == 0) {
            atomic_store(&queue->taken, turn->ticket);
            return true;
        }
        uint64_t now = now_ms();
        if (now - start >= wait_ms || or_flag_is_set(stop)) {
            drop(turn);
            return false;
        }
        if (ahead < 0) { /* passed over */
            drop(turn);
            turn->ticket = draw(turn);
            turn->holding = true;
            continue;
        }
        if (serving != watched) {
            watched = serving;
            since = now;
        } else if (now - since >= LOOK_UP_MS && now - since >= patience(turn, serving)) {
            move_on(queue, serving);
            continue;
        }
        sleep_on(queue, serving, turn->ticket);
    }
}

void or_turn_give(struct or_turn *turn)
{
    if (turn->holding) {
        drop(turn);
        move_on(turn->queue, turn->ticket);
    }
}
