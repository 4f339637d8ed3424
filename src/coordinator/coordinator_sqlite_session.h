/* SPDX-License-Identifier: Apache-2.0
 *
 * Who is alive on this machine, and which machine this is. See the top of
 * coordinator_sqlite_session.c.
 */
#ifndef OR_COORDINATOR_SQLITE_SESSION_H
#define OR_COORDINATOR_SQLITE_SESSION_H

#include "coordinator/lease_rules.h"

/* A session of this process's. */
struct or_alive {
    int fd; /* -1: it keeps no lock, and nobody can tell whether it lives */
    struct or_book_session session;
};

/* Begins a session in the file at `path`, made when missing with the permissions `mode`. */
void or_alive_begin(struct or_alive *alive, const char *path, unsigned mode);
void or_alive_end(struct or_alive *alive);
/* False: whoever began this session is dead, for certain, and so is all that inherited it. */
bool or_alive_lives(const struct or_alive *alive, const struct or_book_session *session);

#define OR_BOOT_ID    64U /* bytes, with the NUL */
#define OR_MACHINE_ID 33U

/* "": not known. */
struct or_machine {
    char boot[OR_BOOT_ID];       /* changes with each start of the kernel */
    char machine[OR_MACHINE_ID]; /* a digest of what the machine calls itself */
};

void or_machine_find(struct or_machine *machine);

#endif
