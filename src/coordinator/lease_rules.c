/* SPDX-License-Identifier: Apache-2.0
 *
 * Who gets a lease, and under which token: the rules of extend.h over a *book*, which holds a row
 * for each lease and a queue for each name. An adapter keeps the book, and makes each call one step
 * that nobody else comes into.
 *
 *     to be had         nobody has it, or it has run out, or its holder's session is dead
 *     live              patience not over, session not dead
 *     acquire, mine     keeps it, under its token
 *     acquire           takes it, iff it is to be had and nobody older in the queue is live
 *     release, cancel, force of what is held
 *                       to the first live waiter, for its patience at most; nobody's without one
 *
 * A token is the last one of its name + 1, or more: it is above the book's base, which rises when
 * tokens may have been forgotten, and above the floor of whoever gets it.
 */
#include "coordinator/lease_rules.h"

#include <assert.h>
#include <string.h>

#include "base/u64.h"
#include "coordinator/ledger_rules.h"

/* ---- small words -----------------------------------------------------------------------------
 */

static bool is_of(const struct or_book_lease *lease, const struct onerow_lease_claim *claim)
{
    return lease->taken && memcmp(lease->nonce, claim->nonce, ONEROW_NONCE) == 0;
}

static bool runs(const struct or_book *book, const struct or_book_lease *lease)
{
    return lease->taken && lease->expires_ms > book->now_ms;
}

static uint64_t next_token(const struct or_book *book, uint64_t last, uint64_t floor)
{
    return or_u64_max(or_u64_max(last, floor), book->base) + 1;
}

static uint64_t left(const struct or_book *book, const struct or_book_lease *lease)
{
    return lease->taken ? or_u64_sub(lease->expires_ms, book->now_ms) : 0;
}

static void held(struct onerow_lease_claim *claim, uint64_t token)
{
    claim->answer = ONEROW_LEASE_HELD;
    claim->token = token;
    claim->left_ms = claim->ttl_ms;
    claim->place = 0;
}

static int not_held(struct or_book *book, const struct or_book_lease *lease,
                    struct onerow_lease_claim *claim, enum onerow_lease_answer answer)
{
    claim->answer = answer;
    claim->left_ms = left(book, lease);
    return book->ops->count(book, claim->name, UINT64_MAX, &claim->place);
}

/* ---- acquire ---------------------------------------------------------------------------------
 */

/* The holder asks again: the lease runs anew. A floor that it has met with since is respected. */
static int confirm(struct or_book *book, const struct or_book_lease *lease,
                   struct onerow_lease_claim *claim)
{
    uint64_t token =
        claim->floor < lease->token ? lease->token : next_token(book, lease->token, claim->floor);
    held(claim, token);
    return book->ops->keep(book, claim, token);
}

static int take(struct or_book *book, const struct or_book_lease *lease, uint64_t place,
                struct onerow_lease_claim *claim)
{
    held(claim, next_token(book, lease->token, claim->floor));
    return book->ops->take(book, claim, claim->token, place);
}

static int line_up(struct or_book *book, const struct or_book_lease *lease, uint64_t place,
                   struct onerow_lease_claim *claim)
{
    uint64_t before = 0;
    int code = book->ops->line_up(book, claim, &place);
    if (code == 0) {
        code = book->ops->count(book, claim->name, place, &before);
    }
    claim->answer = ONEROW_LEASE_WAITING;
    claim->left_ms = left(book, lease);
    claim->place = before + 1;
    return code;
}

/* Without a queue: who had lined up before has changed his mind. */
static int turn_away(struct or_book *book, const struct or_book_lease *lease, uint64_t place,
                     struct onerow_lease_claim *claim)
{
    int code = place ? book->ops->leave(book, claim->name, place) : 0;
    return code == 0 ? not_held(book, lease, claim, ONEROW_LEASE_TAKEN) : code;
}

int or_book_acquire(struct or_book *book, struct onerow_lease_claim *claim)
{
    const struct or_book_ops *ops = book->ops;
    struct or_book_lease lease;
    struct or_book_waiter front = {0};
    uint64_t place = 0;
    int code = ops->find(book, claim->name, &lease);
    if (code == 0 && is_of(&lease, claim) && runs(book, &lease)) {
        return confirm(book, &lease, claim);
    }
    code = code == 0 ? ops->front(book, claim->name, &front) : code;
    code = code == 0 ? ops->own(book, claim, &place) : code;
    if (code != 0) {
        return code;
    }
    bool first = front.place == 0 || front.place == place;
    if (first && runs(book, &lease) && !ops->lives(book, &lease.session)) {
        lease.taken = false;
    }
    if (first && !runs(book, &lease)) {
        return take(book, &lease, place, claim);
    }
    return claim->queue ? line_up(book, &lease, place, claim)
                        : turn_away(book, &lease, place, claim);
}

/* ---- renew, release, cancel ------------------------------------------------------------------
 */

int or_book_renew(struct or_book *book, struct onerow_lease_claim *claim)
{
    struct or_book_lease lease;
    int code = book->ops->find(book, claim->name, &lease);
    if (code != 0) {
        return code;
    }
    if (!is_of(&lease, claim) || lease.token != claim->token || !runs(book, &lease)) {
        return not_held(book, &lease, claim, ONEROW_LEASE_LOST);
    }
    held(claim, lease.token);
    return book->ops->keep(book, claim, lease.token);
}

static void note_news(struct or_book *book, const struct or_book_waiter *waiter, uint64_t token)
{
    struct or_book_news *news = &book->news;
    *news = (struct or_book_news){
        .any = true,
        .wake_len = waiter->wake_len,
        .message = {.token = token, .granted_ms = waiter->granted_ms, .sent_ms = book->now_ms}};
    memcpy(news->wake, waiter->wake, waiter->wake_len);
    memcpy(news->message.nonce, waiter->nonce, ONEROW_NONCE);
}

/* What somebody had goes to the next one. */
static int pass_on(struct or_book *book, struct onerow_span name, uint64_t last)
{
    struct or_book_waiter front = {0};
    int code = book->ops->front(book, name, &front);
    if (code == 0 && front.place == 0) {
        return book->ops->give_up(book, name);
    }
    if (code == 0) {
        uint64_t token = next_token(book, last, front.floor);
        note_news(book, &front, token);
        code = book->ops->hand(book, name, &front, token);
    }
    return code;
}

int or_book_release(struct or_book *book, struct onerow_lease_claim *claim)
{
    struct or_book_lease lease;
    int code = book->ops->find(book, claim->name, &lease);
    if (code != 0) {
        return code;
    }
    if (!is_of(&lease, claim) || lease.token != claim->token) {
        return not_held(book, &lease, claim, ONEROW_LEASE_LOST);
    }
    claim->answer = ONEROW_LEASE_HELD;
    claim->left_ms = 0;
    claim->place = 0;
    return pass_on(book, claim->name, lease.token);
}

int or_book_cancel(struct or_book *book, struct onerow_lease_claim *claim)
{
    struct or_book_lease lease;
    uint64_t place = 0;
    int code = book->ops->find(book, claim->name, &lease);
    code = code == 0 ? book->ops->own(book, claim, &place) : code;
    if (code == 0 && place) {
        code = book->ops->leave(book, claim->name, place);
    }
    if (code == 0 && is_of(&lease, claim)) {
        code = pass_on(book, claim->name, lease.token);
        lease.taken = false;
    }
    return code == 0 ? not_held(book, &lease, claim, ONEROW_LEASE_LOST) : code;
}

/* ---- force -----------------------------------------------------------------------------------
 */

int or_book_force(struct or_book *book, struct onerow_lease_forced *forced, struct or_arena *arena,
                  bool *found)
{
    struct or_book_lease lease;
    int code = book->ops->find(book, forced->name, &lease);
    *found = code == 0 && runs(book, &lease) && book->ops->lives(book, &lease.session);
    if (!*found) {
        return code;
    }
    forced->token = lease.token;
    forced->at_ms = book->wall_ms;
    code = book->ops->note(book, forced, arena);
    return code == 0 ? pass_on(book, forced->name, lease.token) : code;
}

/* ---- around a step ---------------------------------------------------------------------------
 */

void or_book_begin(struct or_book *book)
{
    book->now_ms = or_wake_now_ms();
    book->wall_ms = or_ledger_wall_ms();
    book->news = (struct or_book_news){0};
}

void or_book_tell(const struct or_book *book)
{
    if (book->news.any) {
        or_wake_send((struct onerow_span){book->news.wake, book->news.wake_len},
                     &book->news.message);
    }
}

void or_book_check_name(struct onerow_span name)
{
    assert(name.len >= 1 && name.len <= ONEROW_LEASE_NAME_MAX);
}

void or_book_check(const struct onerow_lease_claim *claim)
{
    or_book_check_name(claim->name);
    assert(claim->who.len <= ONEROW_LEASE_WHO_MAX);
    assert(claim->wake.len <= ONEROW_LEASE_WAKE_MAX);
    assert(claim->ttl_ms >= 1 && claim->ttl_ms <= ONEROW_LEASE_TTL_MAX);
    assert(claim->patience_ms <= ONEROW_LEASE_TTL_MAX);
    assert(claim->floor < ONEROW_LEASE_TOKEN_MAX);
}
