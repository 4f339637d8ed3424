/* SPDX-License-Identifier: Apache-2.0
 *
 * The signals that a command's wrapper gets, to be passed on.
 */
#ifndef OR_CLI_LEASE_SIGNALS_H
#define OR_CLI_LEASE_SIGNALS_H

#include <signal.h>
#include <stdbool.h>

/* Set by those that end a wait. */
extern volatile bool or_signals_stop;

/* From now on those that would end us are caught; what is ignored stays ignored. -1: no pipe is to
 * be had; else the descriptor that or_signals_next reads. */
int or_signals_catch(void);
/* Those that are passed on to a command, too. */
void or_signals_catch_all(void);
/* The next one; 0: none. */
int or_signals_next(void);

/* Stops this process group as the terminal's stop character does, until it is continued. False: it
 * cannot be stopped, because nobody would be there to continue it. */
bool or_signals_stop_us(void);
/* Ends this process group as the terminal's interrupt character does. Returns when it is ignored.
 */
void or_signals_interrupt_us(void);

#endif
