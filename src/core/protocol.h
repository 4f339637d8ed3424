/* SPDX-License-Identifier: Apache-2.0
 *
 * What a table that cannot help itself is configured with. See the top of attempt.c.
 */
#ifndef OR_CORE_PROTOCOL_H
#define OR_CORE_PROTOCOL_H

enum or_protocol {
    OR_PROTOCOL_GUARDED, /* prepare a blank, bind, publish: no timing assumption */
    OR_PROTOCOL_DIRECT,  /* one create with the key: right within its bounds */
};

enum or_deletion { /* when_trashed: what it means that somebody deleted the page */
                   OR_DELETION_TOMBSTONE,
                   OR_DELETION_RESTORE,
                   OR_DELETION_RECREATE,
};

#endif
