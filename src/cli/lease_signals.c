/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/lease_signals.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/flag.h"

volatile bool or_signals_stop;

static int ends[2] = {-1, -1};
static volatile sig_atomic_t continued;

static const int ENDING[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM};
static const int OTHERS[] = {SIGUSR1, SIGUSR2, SIGALRM, SIGWINCH, SIGTSTP, SIGCONT};

static bool is_ending(int number)
{
    return number == SIGHUP || number == SIGINT || number == SIGQUIT || number == SIGTERM;
}

static void on_signal(int number)
{
    int before = errno;
    unsigned char byte = (unsigned char)number;
    if (is_ending(number)) {
        or_flag_set(&or_signals_stop);
    }
    continued |= number == SIGCONT;
    ssize_t written = write(ends[1], &byte, 1);
    (void)written; /* full: so many signals have come that one more tells nothing new */
    errno = before;
}

static void catch_one(int number)
{
    struct sigaction before;
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigaction(number, NULL, &before);
    if (before.sa_handler != SIG_IGN) {
        sigaction(number, &action, NULL);
    }
}

int or_signals_catch(void)
{
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0) {
        return -1;
    }
    for (size_t i = 0; i < sizeof ENDING / sizeof *ENDING; i++) {
        catch_one(ENDING[i]);
    }
    return ends[0];
}

void or_signals_catch_all(void)
{
    for (size_t i = 0; i < sizeof OTHERS / sizeof *OTHERS; i++) {
        catch_one(OTHERS[i]);
    }
}

int or_signals_next(void)
{
    unsigned char byte = 0;
    ssize_t n = 0;
    do {
        n = read(ends[0], &byte, 1);
    } while (n < 0 && errno == EINTR);
    return n == 1 ? byte : 0;
}

/* Sends it to the whole group, ourselves included, with what it does by default. */
static void raise_by_default(int number)
{
    struct sigaction before;
    struct sigaction action = {.sa_handler = SIG_DFL};
    sigset_t one;
    sigaction(number, NULL, &before);
    if (before.sa_handler == SIG_IGN) {
        return;
    }
    sigemptyset(&one);
    sigaddset(&one, number);
    sigaction(number, &action, NULL);
    sigprocmask(SIG_UNBLOCK, &one, NULL);
    kill(0, number);
    sigaction(number, &before, NULL);
}

bool or_signals_stop_us(void)
{
    continued = 0;
    raise_by_default(SIGTSTP);
    return continued;
}

void or_signals_interrupt_us(void)
{
    raise_by_default(SIGINT);
}
