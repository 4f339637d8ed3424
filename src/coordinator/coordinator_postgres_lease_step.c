/* SPDX-License-Identifier: Apache-2.0
 *
 * What the calls of leases in PostgreSQL are made of: parameters, and transactions under the lock
 * of a name.
 */
#include <string.h>

#include "base/status.h"
#include "coordinator/coordinator_postgres_lease.h"

#define LEASES 0x6c65617365730000U /* "leases" */

/* ---- parameters ------------------------------------------------------------------------------ */

void or_remote_set_bytes(struct or_lease_params *params, unsigned at, struct onerow_span bytes)
{
    params->list[at] = or_remote_bytes(bytes);
}

void or_remote_set_text(struct or_lease_params *params, unsigned at, struct onerow_span text)
{
    or_remote_set_bytes(params, at, text);
    params->list[at].type = OR_LINK_TEXT_OID;
}

void or_remote_set_number(struct or_lease_params *params, unsigned at, uint64_t number)
{
    or_int8_encode(number, params->numbers[at]);
    params->list[at] = (struct or_link_param){params->numbers[at], OR_LINK_INT8_OID, 8};
}

void or_remote_set_nonce(struct or_lease_params *params, unsigned at,
                         const struct onerow_lease_claim *claim)
{
    or_remote_set_bytes(params, at, (struct onerow_span){(const char *)claim->nonce, ONEROW_NONCE});
}

struct or_link_param or_remote_bytes(struct onerow_span bytes)
{
    return (struct or_link_param){bytes.len ? bytes.data : "", OR_LINK_BYTEA_OID, (int)bytes.len};
}

struct or_link_statement or_remote_lock(struct onerow_span name, uint64_t what,
                                        struct or_lease_lock *room)
{
    unsigned char digest[OR_SHA256_LEN];
    or_remote_digest(name, digest);
    for (unsigned i = 0; i < sizeof room->number; i++) {
        room->number[i] = (char)(digest[i] ^ (unsigned char)(what >> 8 * i));
    }
    room->param = (struct or_link_param){room->number, OR_LINK_INT8_OID, sizeof room->number};
    return (struct or_link_statement){
        .sql = or_remote_lock_sql, .params = &room->param, .n_params = 1, .often = true};
}

/* ---- calls ----------------------------------------------------------------------------------- */

struct or_link_statement or_remote_step(const char *sql, const struct or_lease_params *params,
                                        unsigned n)
{
    return (struct or_link_statement){
        .sql = sql, .params = params->list, .n_params = n, .often = true};
}

enum onerow_status or_remote_run_locked(struct or_remote *remote, struct onerow_span name,
                                        struct or_link_statement *steps, unsigned n,
                                        struct onerow_error *error)
{
    struct or_lease_lock room;
    struct or_link_statement all[OR_LEASE_STEPS + 1U] = {or_remote_lock(name, LEASES, &room)};
    memcpy(all + 1, steps, n * sizeof *steps);
    enum onerow_status status = or_link_once(&remote->link, all, n + 1, error);
    for (unsigned i = 0; i < n; i++) {
        steps[i].result = all[i + 1].result;
    }
    or_link_clear(all, 1);
    return status;
}

enum onerow_status or_remote_begin_life(struct or_remote *remote, struct onerow_error *error)
{
    struct or_link_statement begin = {.sql = or_remote_life_sql};
    enum onerow_status status = or_link_once(&remote->link, &begin, 1, error);
    or_link_clear(&begin, 1);
    bool again = status == ONEROW_OK || status == ONEROW_UNKNOWN;
    return again
               ? or_fail(error, ONEROW_RETRY, "%s: the server has just started", remote->link.shown)
               : status;
}

void or_remote_is_held(struct onerow_lease_claim *claim, uint64_t token, uint64_t left_ms)
{
    claim->answer = ONEROW_LEASE_HELD;
    claim->token = token;
    claim->left_ms = left_ms;
    claim->place = 0;
}

enum onerow_status or_remote_lease_call(struct or_remote *remote, or_remote_try *attempt,
                                        void *call, struct onerow_error *error)
{
    enum onerow_status status = or_remote_lease_ready(remote, error);
    return status == ONEROW_OK ? or_remote_do(remote, attempt, call, error) : status;
}
