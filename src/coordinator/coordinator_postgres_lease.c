/* SPDX-License-Identifier: Apache-2.0
 *
 * Leases in PostgreSQL.
 *
 *     onerow.lease         a row per name, never deleted: its token, who has it, until when
 *     onerow.lease_wait    who waits, in order (unlogged)
 *     onerow.lease_life    one row: the server's present life (unlogged)
 *     onerow.lease_forced  what was taken away by force
 *
 * Each call is one transaction in one round trip: BEGIN; lock; do; COMMIT. No session state; where
 * a connection leads straight to the server, statements are prepared (postgres_link_once.c).
 *
 * One at a time. `lock` is an advisory lock on the name (64 bits of its digest) that ends with the
 * transaction. READ COMMITTED gives the statement behind it a snapshot that was taken after the
 * lock was had, and PostgreSQL makes a commit visible before it lets go of its locks: so `do` sees
 * everything that was done to the name before, and nothing is done to it meanwhile. That is why
 * there is not much to think about below:
 *
 *   - A release and somebody who lines up. Whoever is first with the lock is first. The release
 *     before: the other one finds the lease free and takes it. After: the release sees the waiter.
 *     In one statement without the lock the release could look at the queue, then wait for the
 *     lease's row, and give it back while somebody has just lined up: the re-check of the row after
 *     such a wait does not look at other tables again, and nobody would be woken.
 *   - Two who find it run out. The second one sees what the first one made of it.
 *   - A renewal on its way while the lease runs out: it is before the taking, or it is LOST. (The
 *     taking checks the row once more all the same, so that one by hand is not overrun.)
 *   - The order of the queue is that in which the lock was had.
 *
 * The lock is the first thing that a transaction takes, and the only one it takes by name; then
 * come rows of that name. Nobody waits in a circle, and nobody for longer than lock_timeout: BUSY.
 * A row of onerow.lease that an application has locked (FOR SHARE, to check its token) keeps back
 * what would change that lease, as it should, for as long.
 *
 * Time is clock_timestamp(), read by `do`, after the lock was had.
 *
 * Durability. Tokens must not go back, and the order of the queue may be lost. So a hand-over, or a
 * release, does not wait for the disk (synchronous_commit is off for it), and a crash may take it
 * back. It is not seen to give a token twice:
 *
 *   - Each row has a *ceiling*: no token above it was ever given. It is raised, a thousand at a
 *     time, by a commit that is on the disk before it is seen by anybody: a commit becomes visible
 *     after it was flushed, and the lock is held until then.
 *   - If a commit is lost, the server has recovered from a crash (or a standby has taken over), and
 *     recovery empties unlogged tables. So the row of onerow.lease_life is gone; the next one has
 *     another random number. A row of onerow.lease says in which life its token was given. When
 *     that is not the present one, the next token is above the ceiling.
 *   - As far as a commit is not lost, nor is anything that came before it.
 *
 * What is acquired or renewed is on the disk; so is what was handed over, as soon as it is
 * confirmed. After a crash a lease may be back with the one who had released it last, until it runs
 * out, and a waiter who got it then finds out when he renews it. Both of them may believe in it for
 * that time, and the tokens keep them apart. (What a crash leaves of a *ceiling* that a standby
 * without it has not got is the business of the caller's floor; so are backups that were restored.)
 *
 * Waking. The release says who has it now. It sends a datagram to whoever is on this machine, after
 * the commit; for one on another machine the transaction carries a NOTIFY to that session's own
 * channel. NOTIFY takes a lock of the whole server until the commit has ended, so it is sent when
 * such a waiter gets the lease, and never otherwise. Who stands behind a pooler cannot listen, and
 * is not notified: it looks from time to time.
 */
#include "coordinator/coordinator_postgres_lease.h"

#include <string.h>

#include "base/status.h"
#include "base/text.h"
#include "base/wake.h"
#include "coordinator/lease_rules.h"

/* ---- looking -------------------------------------------------------------------------------- */

/* How the lease stands, for a claim that does not have it, from the row of a look. */
static enum onerow_status take_look(struct or_remote *remote, struct onerow_lease_claim *claim,
                                    const struct or_link_statement *look,
                                    struct onerow_error *error)
{
    claim->answer = ONEROW_LEASE_LOST;
    claim->left_ms = or_result_int8(look->result, 0, SEEN_LEFT);
    claim->place = or_result_int8(look->result, 0, SEEN_WAITERS);
    return or_result_bool(look->result, 0, SEEN_LIFE) ? ONEROW_OK
                                                      : or_remote_begin_life(remote, error);
}

static enum onerow_status look(struct or_remote *remote, struct onerow_lease_claim *claim,
                               struct onerow_error *error)
{
    struct or_lease_params params;
    or_remote_set_bytes(&params, 0, claim->name);
    struct or_link_statement ask = or_remote_step(or_remote_look_sql, &params, 1);
    enum onerow_status status = or_link_once(&remote->link, &ask, 1, error);
    if (status == ONEROW_OK) {
        status = take_look(remote, claim, &ask, error);
    }
    or_link_clear(&ask, 1);
    return status;
}

/* ---- renew ----------------------------------------------------------------------------------- */

static enum onerow_status try_renew(struct or_remote *remote, void *context,
                                    struct onerow_error *error)
{
    struct onerow_lease_claim *claim = context;
    struct or_lease_params params;
    or_remote_set_bytes(&params, RENEW_NAME, claim->name);
    or_remote_set_nonce(&params, RENEW_NONCE, claim);
    or_remote_set_number(&params, RENEW_TOKEN, claim->token);
    or_remote_set_number(&params, RENEW_TTL, claim->ttl_ms);
    struct or_link_statement renew = or_remote_step(or_remote_renew_sql, &params, RENEW_PARAMS);
    enum onerow_status status = or_remote_run_locked(remote, claim->name, &renew, 1, error);
    if (status == ONEROW_OK && or_remote_has_row(&renew)) {
        or_remote_is_held(claim, claim->token, claim->ttl_ms);
    } else if (status == ONEROW_OK) {
        status = look(remote, claim, error);
    }
    or_link_clear(&renew, 1);
    return status;
}

static enum onerow_status remote_renew(struct onerow_coordinator *base,
                                       struct onerow_lease_claim *claim, struct onerow_error *error)
{
    or_book_check(claim);
    return or_remote_lease_call(or_remote_of(base), try_renew, claim, error);
}

/* ---- passing on ------------------------------------------------------------------------------ */

static void set_pass(struct or_lease_params *params, struct onerow_span name,
                     const struct onerow_lease_claim *claim, struct onerow_span by)
{
    static const struct onerow_span none = {NULL, 0};
    or_remote_set_bytes(params, PASS_NAME, name);
    or_remote_set_bytes(params, PASS_NONCE, none);
    if (claim) {
        or_remote_set_nonce(params, PASS_NONCE, claim);
    }
    or_remote_set_number(params, PASS_TOKEN, claim ? claim->token : 0);
    or_remote_set_text(params, PASS_HOST, or_span(or_wake_host()));
    or_remote_set_bytes(params, PASS_BY, by);
}

/* After the commit. */
static void wake_next(struct or_remote *remote, const struct or_link_statement *pass,
                      uint64_t sent_ms)
{
    struct onerow_span nonce = or_result_bytes(pass->result, 0, PASSED_NONCE);
    struct or_wake_message message = {.token = or_result_int8(pass->result, 0, PASSED_TOKEN),
                                      .granted_ms = or_result_int8(pass->result, 0, PASSED_GRANTED),
                                      .sent_ms = sent_ms};
    remote->crowded = nonce.len == sizeof message.nonce;
    if (remote->crowded) {
        memcpy(message.nonce, nonce.data, nonce.len);
        or_wake_send(or_result_bytes(pass->result, 0, PASSED_WAKE), &message);
    }
}

/* One of the forms of release. *done: it was the right one. */
static enum onerow_status run_release(struct or_remote *remote, struct onerow_lease_claim *claim,
                                      const char *sql, bool *done, struct onerow_error *error)
{
    static const struct onerow_span none = {NULL, 0};
    struct or_lease_params params;
    uint64_t sent_ms = or_wake_now_ms();
    set_pass(&params, claim->name, claim, none);
    struct or_link_statement pass = or_remote_step(sql, &params, PASS_PARAMS);
    enum onerow_status status = or_remote_run_locked(remote, claim->name, &pass, 1, error);
    *done = status == ONEROW_OK && or_remote_has_row(&pass);
    if (*done && sql == or_remote_release_sql) {
        wake_next(remote, &pass, sent_ms);
    }
    if (*done) {
        or_remote_is_held(claim, claim->token, 0);
    }
    or_link_clear(&pass, 1);
    return status;
}

static enum onerow_status try_release(struct or_remote *remote, void *context,
                                      struct onerow_error *error)
{
    struct onerow_lease_claim *claim = context;
    bool done = false;
    enum onerow_status status = ONEROW_OK;
    if (!remote->crowded) {
        status = run_release(remote, claim, or_remote_let_go_sql, &done, error);
    }
    if (status == ONEROW_OK && !done) {
        status = run_release(remote, claim, or_remote_release_sql, &done, error);
    }
    return status == ONEROW_OK && !done ? look(remote, claim, error) : status;
}

static enum onerow_status remote_release(struct onerow_coordinator *base,
                                         struct onerow_lease_claim *claim,
                                         struct onerow_error *error)
{
    or_book_check(claim);
    return or_remote_lease_call(or_remote_of(base), try_release, claim, error);
}

static enum onerow_status try_cancel(struct or_remote *remote, void *context,
                                     struct onerow_error *error)
{
    static const struct onerow_span none = {NULL, 0};
    struct onerow_lease_claim *claim = context;
    struct or_lease_params params;
    uint64_t sent_ms = or_wake_now_ms();
    set_pass(&params, claim->name, claim, none);
    struct or_link_statement steps[] = {
        or_remote_step(or_remote_leave_sql, &params, PASS_NONCE + 1),
        or_remote_step(or_remote_cancel_sql, &params, PASS_PARAMS),
        or_remote_step(or_remote_look_sql, &params, 1)};
    enum onerow_status status = or_remote_run_locked(remote, claim->name, steps, 3, error);
    if (status == ONEROW_OK && or_remote_has_row(&steps[1])) {
        wake_next(remote, &steps[1], sent_ms);
    }
    if (status == ONEROW_OK) {
        status = take_look(remote, claim, &steps[2], error);
    }
    or_link_clear(steps, 3);
    return status;
}

static enum onerow_status remote_cancel(struct onerow_coordinator *base,
                                        struct onerow_lease_claim *claim,
                                        struct onerow_error *error)
{
    or_book_check(claim);
    return or_remote_lease_call(or_remote_of(base), try_cancel, claim, error);
}

/* ---- force ----------------------------------------------------------------------------------- */

struct force {
    struct onerow_lease_forced *forced;
    struct or_arena *arena;
};

static enum onerow_status take_noted(const struct force *force,
                                     const struct or_link_statement *note,
                                     struct onerow_error *error)
{
    struct onerow_lease_forced *forced = force->forced;
    forced->who = or_arena_copy(force->arena, or_result_bytes(note->result, 0, NOTED_WHO));
    forced->token = or_result_int8(note->result, 0, NOTED_TOKEN);
    forced->at_ms = or_result_int8(note->result, 0, NOTED_AT);
    return forced->who.data ? ONEROW_OK : or_fail(error, ONEROW_NOMEM, "out of memory");
}

/* Nobody holds it, as far as a server can tell that has not just started. */
static enum onerow_status nobody(struct or_remote *remote, struct onerow_span name,
                                 struct onerow_error *error)
{
    struct onerow_lease_claim claim = {.name = name};
    enum onerow_status status = look(remote, &claim, error);
    return status == ONEROW_OK ? or_fail(error, ONEROW_ABSENT, "nobody holds the lease %.*s",
                                         (int)name.len, name.data)
                               : status;
}

static enum onerow_status try_force(struct or_remote *remote, void *context,
                                    struct onerow_error *error)
{
    const struct force *force = context;
    struct onerow_span name = force->forced->name;
    struct or_lease_params params;
    uint64_t sent_ms = or_wake_now_ms();
    set_pass(&params, name, NULL, force->forced->by);
    struct or_link_statement steps[] = {or_remote_step(or_remote_note_sql, &params, PASS_PARAMS),
                                        or_remote_step(or_remote_force_sql, &params, PASS_PARAMS)};
    enum onerow_status status = or_remote_run_locked(remote, name, steps, 2, error);
    if (status == ONEROW_OK && or_remote_has_row(&steps[1])) {
        wake_next(remote, &steps[1], sent_ms);
    }
    if (status == ONEROW_OK) {
        status = or_remote_has_row(&steps[0]) ? take_noted(force, &steps[0], error)
                                              : nobody(remote, name, error);
    }
    or_link_clear(steps, 2);
    return status;
}

static enum onerow_status remote_force(struct onerow_coordinator *base,
                                       struct onerow_lease_forced *forced, struct or_arena *arena,
                                       struct onerow_error *error)
{
    struct force force = {forced, arena};
    or_book_check_name(forced->name);
    return or_remote_lease_call(or_remote_of(base), try_force, &force, error);
}

static int remote_keep_fd(struct onerow_coordinator *base)
{
    (void)base;
    return -1; /* who holds a lease is known to the server by its calls alone */
}

/* ---- the table of calls ---------------------------------------------------------------------- */

const struct onerow_lease_ops or_remote_leases = {
    .acquire = or_remote_acquire,
    .renew = remote_renew,
    .release = remote_release,
    .cancel = remote_cancel,
    .force = remote_force,
    .list = or_remote_lease_list,
    .trail = or_remote_lease_trail,
    .share = or_remote_share,
    .wake_fd = or_remote_wake_fd,
    .woken = or_remote_woken,
    .keep_fd = remote_keep_fd,
};
