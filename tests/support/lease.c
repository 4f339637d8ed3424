/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/lease.h"

#include <stdio.h>
#include <string.h>

#include "base/buffer.h"

#define PATIENCE_MS 60000U /* of a test that asks until something has happened */

int lease_start(void **state)
{
    bench = *state;
    bench_start(&b);
    url = bench->url(&b);
    c = another();
    return 0;
}

struct onerow_lease_claim claim_of(const char *whose, const char *name)
{
    struct onerow_lease_claim claim = {.name = or_span(name),
                                       .who = or_span(text(&b, "{\"who\":\"%s\"}", whose)),
                                       .ttl_ms = LONG_MS,
                                       .patience_ms = LONG_MS};
    memcpy(claim.nonce, whose, strnlen(whose, ONEROW_NONCE));
    return claim;
}

/* ---- calls ----------------------------------------------------------------------------------- */

typedef enum onerow_status call(struct onerow_coordinator *coordinator,
                                struct onerow_lease_claim *claim, struct onerow_error *error);

static enum onerow_lease_answer ask(call *how, struct onerow_coordinator *at,
                                    struct onerow_lease_claim *claim)
{
    b.status = how(at, claim, &b.error);
    assert_status(&b, ONEROW_OK);
    return claim->answer;
}

enum onerow_lease_answer acquire_at(struct onerow_coordinator *at, struct onerow_lease_claim *claim)
{
    return ask(at->type->leases->acquire, at, claim);
}

enum onerow_lease_answer acquire(struct onerow_lease_claim *claim)
{
    return acquire_at(c, claim);
}

enum onerow_lease_answer line_up(struct onerow_lease_claim *claim)
{
    claim->queue = true;
    return acquire_at(c, claim);
}

enum onerow_lease_answer renew(struct onerow_lease_claim *claim)
{
    return ask(c->type->leases->renew, c, claim);
}

enum onerow_lease_answer release(struct onerow_lease_claim *claim)
{
    return ask(c->type->leases->release, c, claim);
}

enum onerow_lease_answer cancel(struct onerow_lease_claim *claim)
{
    return ask(c->type->leases->cancel, c, claim);
}

struct onerow_lease_forced force(const char *name, const char *by)
{
    struct onerow_lease_forced forced = {.name = or_span(name), .by = or_span(by)};
    b.status = c->type->leases->force(c, &forced, &b.arena, &b.error);
    return forced;
}

/* ---- looking --------------------------------------------------------------------------------- */

struct wanted {
    struct onerow_span name;
    struct onerow_lease_view found;
};

static bool find_view(void *context, const struct onerow_lease_view *view)
{
    struct wanted *wanted = context;
    if (!or_span_equal(view->name, wanted->name)) {
        return true;
    }
    wanted->found = *view;
    wanted->found.name = or_arena_copy(&b.arena, view->name);
    wanted->found.who = or_arena_copy(&b.arena, view->who);
    return false;
}

struct onerow_lease_view seen_lease(const char *name)
{
    struct wanted wanted = {.name = or_span(name)};
    b.status = c->type->leases->list(c, wanted.name, true, find_view, &wanted, &b.error);
    assert_status(&b, ONEROW_OK);
    return wanted.found;
}

static bool write_view(void *context, const struct onerow_lease_view *view)
{
    struct or_buffer *all = context;
    or_buffer_span(all, view->name);
    or_buffer_char(all, ' ');
    or_buffer_span(all, view->held ? view->who : OR_SPAN("-"));
    if (view->waiters) {
        or_buffer_printf(all, "+%llu", (unsigned long long)view->waiters);
    }
    or_buffer_text(all, ",");
    return true;
}

const char *listed(const char *prefix, bool free_too)
{
    struct or_buffer all;
    or_buffer_init(&all);
    b.status = c->type->leases->list(c, or_span(prefix), free_too, write_view, &all, &b.error);
    assert_status(&b, ONEROW_OK);
    const char *kept = text(&b, "%s", or_buffer_cstr(&all));
    or_buffer_finish(&all);
    return kept;
}

void until_over(const char *name)
{
    uint64_t end = or_wake_now_ms() + PATIENCE_MS;
    while (seen_lease(name).held) {
        assert_true(or_wake_now_ms() < end);
    }
}

void until_waiters(const char *name, uint64_t n)
{
    uint64_t end = or_wake_now_ms() + PATIENCE_MS;
    while (seen_lease(name).waiters > n) {
        assert_true(or_wake_now_ms() < end);
    }
}
