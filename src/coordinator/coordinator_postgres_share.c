/* SPDX-License-Identifier: Apache-2.0
 *
 * Shared records in PostgreSQL: read under a lock of their name, changed here by the caller's rule,
 * written, committed; two round trips. Whoever stops in between keeps the lock for no longer than
 * the server lets a transaction be idle (postgres_link.c).
 *
 * The table is unlogged: no write waits for the disk, and after a crash it is empty.
 */
#include <assert.h>

#include "base/status.h"
#include "coordinator/coordinator_postgres_lease.h"
#include "coordinator/lease_rules.h"

#define SHARED 0x7368617265640000U /* "shared", where leases have another number */

static const char read_sql[] =
    "SELECT (date_part('epoch', clock_timestamp()) * 1000)::bigint, s.body FROM (SELECT) one LEFT "
    "JOIN onerow.shared s ON s.name = $1";
static const char write_sql[] =
    "INSERT INTO onerow.shared(name, body) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET body = "
    "excluded.body";

struct share {
    struct onerow_span name;
    onerow_rule *rule;
    void *context;
};

static enum onerow_status read_it(struct or_remote *remote, const struct share *share,
                                  PGresult **result, struct onerow_error *error)
{
    struct or_lease_lock room;
    struct or_link_param name = or_remote_bytes(share->name);
    struct or_link_statement statements[] = {or_remote_lock(share->name, SHARED, &room),
                                             {.sql = read_sql, .params = &name, .n_params = 1}};
    enum onerow_status status = or_link_ready(&remote->link, error);
    if (status == ONEROW_OK) {
        status = or_link_begin(&remote->link, statements, 2, error);
    }
    *result = statements[1].result;
    statements[1].result = NULL;
    or_link_clear(statements, 2);
    return status;
}

static enum onerow_status write_it(struct or_remote *remote, const struct share *share,
                                   const struct or_buffer *becomes, struct onerow_error *error)
{
    const struct or_link_param params[] = {or_remote_bytes(share->name),
                                           or_remote_bytes(or_buffer_view(becomes))};
    struct or_link_statement write = {.sql = write_sql, .params = params, .n_params = 2};
    assert(becomes->len <= ONEROW_SHARED_MAX);
    enum onerow_status status = or_link_conclude(&remote->link, &write, 1, error);
    or_link_clear(&write, 1);
    return status;
}

static enum onerow_status try_share(struct or_remote *remote, void *context,
                                    struct onerow_error *error)
{
    const struct share *share = context;
    struct or_buffer becomes;
    PGresult *result = NULL;
    enum onerow_status status = read_it(remote, share, &result, error);
    if (status != ONEROW_OK) {
        return status;
    }
    or_buffer_init(&becomes);
    bool changes = share->rule(share->context, or_result_bytes(result, 0, 1),
                               or_result_int8(result, 0, 0), &becomes);
    if (becomes.failed) {
        status = or_fail(error, ONEROW_NOMEM, "out of memory");
    } else if (changes) {
        status = write_it(remote, share, &becomes, error);
    } else {
        or_link_rollback(&remote->link);
    }
    or_buffer_finish(&becomes);
    PQclear(result);
    return status;
}

enum onerow_status or_remote_share(struct onerow_coordinator *base, struct onerow_span name,
                                   onerow_rule *rule, void *context, struct onerow_error *error)
{
    struct or_remote *remote = or_remote_of(base);
    struct share share = {name, rule, context};
    or_book_check_name(name);
    enum onerow_status status = or_remote_lease_ready(remote, error);
    return status == ONEROW_OK ? or_remote_do(remote, try_share, &share, error) : status;
}
