/* SPDX-License-Identifier: Apache-2.0
 *
 * Being told by PostgreSQL: a connection that leads straight to the server listens to the channel
 * of the session whose claims wait through it.
 */
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "coordinator/coordinator_postgres_lease.h"

#define ADDRESS (OR_WAKE_HOST + 1U + OR_WAKE_SESSION)

static bool is_hex(struct onerow_span text)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.data[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'))) {
            return false;
        }
    }
    return true;
}

/* The session's part of an address of base/wake.h's; empty: it is none. */
struct onerow_span or_remote_session_of(struct onerow_span wake)
{
    struct onerow_span none = {NULL, 0};
    if (wake.len != ADDRESS || wake.data[OR_WAKE_HOST] != '/' ||
        !is_hex((struct onerow_span){wake.data, OR_WAKE_HOST})) {
        return none;
    }
    struct onerow_span session = {wake.data + OR_WAKE_HOST + 1, OR_WAKE_SESSION};
    return is_hex(session) ? session : none;
}

bool or_remote_listens_to(const struct or_remote *remote, struct onerow_span session)
{
    return remote->ear.connection == remote->link.session.number &&
           memcmp(remote->ear.session, session.data, sizeof remote->ear.session) == 0;
}

void or_remote_listens_now(struct or_remote *remote, struct onerow_span session)
{
    remote->ear.connection = remote->link.session.number;
    memcpy(remote->ear.session, session.data, sizeof remote->ear.session);
}

/* ---- being told ------------------------------------------------------------------------------ */

static bool listens(const struct or_remote *remote)
{
    return remote->link.conn && remote->ear.connection &&
           remote->ear.connection == remote->link.session.number;
}

int or_remote_wake_fd(struct onerow_coordinator *base)
{
    struct or_remote *remote = or_remote_of(base);
    return listens(remote) ? PQsocket(remote->link.conn) : -1;
}

static bool read_nonce(const char *hex, unsigned char nonce[ONEROW_NONCE])
{
    if (strlen(hex) != (size_t)2 * ONEROW_NONCE || !is_hex(or_span(hex))) {
        return false;
    }
    for (size_t i = 0; i < ONEROW_NONCE; i++) {
        const char byte[] = {hex[2 * i], hex[2 * i + 1], '\0'};
        nonce[i] = (unsigned char)strtoul(byte, NULL, 16);
    }
    return true;
}

/* A connection that has ended is left here, or its descriptor would stay readable. */
enum onerow_status or_remote_woken(struct onerow_coordinator *base, onerow_visit_woken *visit,
                                   void *context, struct onerow_error *error)
{
    (void)error;
    struct or_remote *remote = or_remote_of(base);
    unsigned char nonce[ONEROW_NONCE];
    if (!listens(remote)) {
        return ONEROW_OK;
    }
    bool stands = or_link_take_in(&remote->link);
    for (PGnotify *note = NULL; (note = PQnotifies(remote->link.conn));) {
        if (strncmp(note->relname, OR_REMOTE_CHANNEL, sizeof OR_REMOTE_CHANNEL - 1) == 0 &&
            read_nonce(note->extra, nonce)) {
            visit(context, nonce);
        }
        PQfreemem(note);
    }
    if (!stands) {
        or_link_disconnect(&remote->link);
    }
    return ONEROW_OK;
}
