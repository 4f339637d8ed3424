/* SPDX-License-Identifier: Apache-2.0
 *
 * Threads that take no signals: those are for the threads that were there before.
 */
#ifndef OR_BASE_THREAD_H
#define OR_BASE_THREAD_H

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>

static inline bool or_thread_start(pthread_t *thread, void *(*run)(void *context), void *context)
{
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    bool started = pthread_create(thread, NULL, run, context) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return started;
}

#endif
