/* SPDX-License-Identifier: Apache-2.0
 *
 * Each session has a datagram socket in Linux's abstract namespace: no file to make, to clean up,
 * or to be longer than a socket's path may be. Whose name is known can be woken; nothing more is
 * in anybody's hands, and a waiter that is woken for nothing looks and waits on.
 *
 * The abstract namespace belongs to a network namespace, and the boot's clock to a kernel. So an
 * address begins with a digest of both: the kernel's boot id and the network namespace's inode.
 * Two containers on one machine may differ there, and then take each other for two machines.
 */
#include "base/wake.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/text.h"

#define NAME "onerow-" /* of sockets; the session follows */

/* ---- the machine -------------------------------------------------------------------------------
 */

static char host[OR_WAKE_HOST + 1];

static void find_host(void)
{
    char text[128] = "";
    char digest[OR_SHA256_HEX];
    struct stat space = {0};
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, text, 64) : 0;
    if (fd >= 0) {
        (void)close(fd);
    }
    size_t len = n > 0 ? (size_t)n : 0;
    (void)stat("/proc/self/ns/net", &space);
    (void)snprintf(text + len, sizeof text - len, " %llu", (unsigned long long)space.st_ino);
    or_sha256_hex(or_span(text), digest);
    memcpy(host, digest, OR_WAKE_HOST);
}

const char *or_wake_host(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, find_host);
    return host;
}

uint64_t or_wake_now_ms(void)
{
    struct timespec now = {0};
    (void)clock_gettime(CLOCK_BOOTTIME, &now);
    return (uint64_t)now.tv_sec * 1000U + (uint64_t)now.tv_nsec / 1000000U;
}

/* ---- addresses ---------------------------------------------------------------------------------
 */

static socklen_t socket_name(struct onerow_span session, struct sockaddr_un *name)
{
    *name = (struct sockaddr_un){.sun_family = AF_UNIX};
    char *at = name->sun_path + 1; /* a leading NUL: abstract */
    memcpy(at, NAME, sizeof NAME - 1);
    memcpy(at + sizeof NAME - 1, session.data, session.len);
    size_t path = 1 + sizeof NAME - 1 + session.len;
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + path);
}

bool or_wake_is_here(struct onerow_span address)
{
    return address.len == OR_WAKE_ADDRESS && address.data[OR_WAKE_HOST] == '/' &&
           memcmp(address.data, or_wake_host(), OR_WAKE_HOST) == 0;
}

/* ---- sessions ----------------------------------------------------------------------------------
 */

static bool name_session(struct or_wake *wake)
{
    unsigned char random[OR_WAKE_SESSION / 2];
    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random) {
        return false;
    }
    for (size_t i = 0; i < sizeof random; i++) {
        (void)snprintf(wake->session + 2 * i, 3, "%02x", random[i]);
    }
    (void)snprintf(wake->address, sizeof wake->address, "%s/%s", or_wake_host(), wake->session);
    return true;
}

bool or_wake_open(struct or_wake *wake)
{
    struct sockaddr_un name;
    *wake = (struct or_wake){.fd = -1};
    if (!name_session(wake)) {
        return false;
    }
    socklen_t len = socket_name(or_span(wake->session), &name);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0 && bind(fd, (const struct sockaddr *)&name, len) == 0) {
        wake->fd = fd;
    } else if (fd >= 0) {
        (void)close(fd);
    }
    return true;
}

void or_wake_close(struct or_wake *wake)
{
    if (wake->fd >= 0) {
        (void)close(wake->fd);
        wake->fd = -1;
    }
}

bool or_wake_take(const struct or_wake *wake, struct or_wake_message *message)
{
    ssize_t n = 0;
    while (wake->fd >= 0) {
        n = recv(wake->fd, message, sizeof *message, MSG_DONTWAIT | MSG_TRUNC);
        if (n == (ssize_t)sizeof *message) {
            return true;
        }
        if (n < 0 && errno != EINTR) {
            return false;
        } /* of another length: nobody of ours sent it */
    }
    return false;
}

static int mouth = -1; /* of the process, for all its threads */

static void open_mouth(void)
{
    mouth = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

/* A sender must not wait for a reader that is stopped, nor for one whose queue is full. */
void or_wake_send(struct onerow_span address, const struct or_wake_message *message)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct sockaddr_un name;
    if (!or_wake_is_here(address)) {
        return;
    }
    (void)pthread_once(&once, open_mouth);
    struct onerow_span session = {address.data + OR_WAKE_HOST + 1, OR_WAKE_SESSION};
    socklen_t len = socket_name(session, &name);
    (void)sendto(mouth, message, sizeof *message, MSG_DONTWAIT | MSG_NOSIGNAL,
                 (const struct sockaddr *)&name, len);
}
