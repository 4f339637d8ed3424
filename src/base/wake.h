/* SPDX-License-Identifier: Apache-2.0
 *
 * Waking somebody on the same machine who waits for a lease: one datagram. See the top of wake.c.
 */
#ifndef OR_BASE_WAKE_H
#define OR_BASE_WAKE_H

#include "onerow/onerow.h"

#define OR_WAKE_HOST    16U /* characters that name a machine, as far as datagrams reach */
#define OR_WAKE_SESSION 32U /* characters that name a session on it */
#define OR_WAKE_ADDRESS (OR_WAKE_HOST + 1U + OR_WAKE_SESSION)
#define OR_WAKE_NONCE   16U /* bytes: ONEROW_NONCE */

/* A session's ear. */
struct or_wake {
    int fd;                            /* readable when a message has come; -1: deaf */
    char session[OR_WAKE_SESSION + 1]; /* hexadecimal, random */
    char address[OR_WAKE_ADDRESS + 1]; /* "HOST/SESSION", for or_wake_send */
};

/* What the releaser tells the next holder, after its release is acknowledged. It says enough to go
 * to work at once: the lease runs for granted_ms from a moment after sent_ms. */
struct or_wake_message {
    unsigned char nonce[OR_WAKE_NONCE];
    uint64_t token;
    uint64_t granted_ms;
    uint64_t sent_ms; /* or_wake_now_ms before the releaser sent its release */
};

/* Makes a session. Without a socket it is deaf (fd -1) and has an address all the same: whoever
 * waits then looks from time to time. False: no random numbers. */
ONEROW_CHECKED bool or_wake_open(struct or_wake *wake);
void or_wake_close(struct or_wake *wake);

/* The next message that has come, without waiting. False: there is none. */
ONEROW_CHECKED bool or_wake_take(const struct or_wake *wake, struct or_wake_message *message);

/* The first half of addresses of this machine, OR_WAKE_HOST characters and NUL; static. */
const char *or_wake_host(void);
/* Whether a message to the address can arrive from here. */
bool or_wake_is_here(struct onerow_span address);
/* Sends, or does not: whoever waits looks from time to time. */
void or_wake_send(struct onerow_span address, const struct or_wake_message *message);

/* The clock of sent_ms: the same for all processes of a machine, runs through sleep, and starts
 * anew when it boots. */
uint64_t or_wake_now_ms(void);

#endif
