/* SPDX-License-Identifier: Apache-2.0
 *
 * A ledger in a PostgreSQL database, for the processes of many machines. (Leases are explained at
 * the top of coordinator_postgres_lease.c.)
 *
 * - It lies in a schema of its own, `onerow`, and nowhere else: tables that were found by the
 *   search path would be other ones for another role, and two ledgers are as good as none.
 * - No session state, so that a pooler may stand between: see postgres_link.c.
 * - READ COMMITTED with row locks, taken in one order by all (kind, then digest of the name). The
 *   statement that reads comes after the one that locks: see coordinator_postgres_swap.c.
 * - A commit is acknowledged when it is on the disk (synchronous_commit is set for each
 *   transaction), and, where the server is told so, on its standbys.
 * - What passes (a deadlock, a connection that was lost before COMMIT) is tried again here, because
 *   nothing happened. A COMMIT whose answer was lost is UNKNOWN; the core reads its ATTEMPT record.
 *
 * Found out when it was rolled back. The ledger remembers its *place*: the oids of the database and
 * of its table, the server's timeline, and the server's system identifier where the role may read
 * that. A dump that was loaded has another table; a copied database another oid; a server that was
 * restored to a point in time, or a promoted standby, another timeline; another server another
 * identifier. The timeline is taken from where the server writes now: the control file names the
 * old one until the first checkpoint after a promotion. Every transaction compares, because a
 * pooler may lead to another server from one to the next. What this does not see is a server whose
 * files were put back as they were, without recovery from an archive; then the numbers on the
 * target's pages tell (witness).
 */
#include "coordinator/coordinator_postgres.h"

#include <stdlib.h>
#include <string.h>

#include "base/flag.h"
#include "base/status.h"

/* ---- transactions ---------------------------------------------------------------------------- */

/* What a failure of a statement on our own tables means beyond its class. */
static enum onerow_status explain(struct or_remote *remote, enum onerow_status status,
                                  struct onerow_error *error)
{
    struct or_link *link = &remote->link;
    if (status != ONEROW_CONFIG) {
        return status;
    }
    if (strcmp(link->code, "42501") == 0) {
        return or_fail(
            error, ONEROW_CONFIG,
            "%s: this role may not use onerow's tables\n  run, as their owner: GRANT USAGE ON "
            "SCHEMA onerow TO ROLE; GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES "
            "IN SCHEMA onerow TO ROLE",
            link->shown);
    }
    if (strcmp(link->code, "42P01") == 0 || strcmp(link->code, "3F000") == 0) {
        return or_fail(
            error, ONEROW_VANISHED,
            "%s: tables are gone from the schema onerow\n  bring them back from a backup, or "
            "run the same command again, which makes new ones",
            link->shown);
    }
    return status;
}

static enum onerow_status out_of_time(const struct or_remote *remote, struct onerow_error *error)
{
    if (or_flag_is_set(remote->link.stop)) {
        return or_fail(error, ONEROW_INTERRUPTED, "interrupted while waiting for %s",
                       remote->link.shown);
    }
    return or_link_rename(error, *remote->link.code ? ONEROW_BUSY : ONEROW_UNAVAILABLE);
}

enum onerow_status or_remote_do(struct or_remote *remote, or_remote_try *attempt, void *call,
                                struct onerow_error *error)
{
    uint64_t deadline = or_link_now_ms() + remote->link.wait_ms;
    unsigned length = OR_LINK_NAP_MIN_MS;
    for (;;) {
        enum onerow_status status = attempt(remote, call, error);
        if (status == ONEROW_OK) {
            return status;
        }
        or_link_rollback(&remote->link);
        if (status != ONEROW_RETRY) {
            return explain(remote, status, error);
        }
        if (!or_link_nap(&remote->link, &length, deadline)) {
            return out_of_time(remote, error);
        }
    }
}

/* ---- opening and closing --------------------------------------------------------------------- */

extern const struct onerow_coordinator_type or_coordinator_postgres;

static void postgres_close(struct onerow_coordinator *base)
{
    if (base) {
        struct or_remote *remote = or_remote_of(base);
        or_link_finish(&remote->link);
        or_ledger_entries_finish(&remote->entries);
        free(remote);
    }
}

static enum onerow_status postgres_open(const struct onerow_coordinator_options *options,
                                        struct onerow_coordinator **out, struct onerow_error *error)
{
    *out = NULL;
    struct or_remote *remote = calloc(1, sizeof *remote);
    if (!remote) {
        return or_fail(error, ONEROW_NOMEM, "out of memory");
    }
    remote->base.type = &or_coordinator_postgres;
    enum onerow_status status = or_link_init(&remote->link, options->url, options->wait_ms,
                                             options->stop, &remote->base.round_trips, error);
    if (status == ONEROW_OK) {
        status = or_remote_prepare(remote, error);
    }
    if (status != ONEROW_OK) {
        postgres_close(&remote->base);
        return status;
    }
    *out = &remote->base;
    return ONEROW_OK;
}

/* ---- the vtable ------------------------------------------------------------------------------ */

const struct onerow_coordinator_type or_coordinator_postgres = {
    .name = "postgres",
    .summary = "a PostgreSQL database, for the processes of many machines",
    .url = "postgres://HOST/DATABASE",
    .schemes = (const char *const[]){"postgres:", "postgresql:", "postgresql+", NULL},
    .open = postgres_open,
    .close = postgres_close,
    .ledger = &or_remote_ledger,
    .leases = &or_remote_leases,
};
