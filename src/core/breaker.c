/* SPDX-License-Identifier: Apache-2.0
 *
 *            more than `percent` of the last calls met a conflict
 *     CLOSED ───────────────────────────────────────────────────> OPEN <─────────────┐
 *       ^                                          after cool_ms │                   │ conflict,
 *       │                  OK: the calls are forgotten           v                   │ or no answer
 *       └────────────────────────────────────────────────────── PROBING ─────────────┘ (twice as
 * long)
 *
 * While it is open or probing nothing else is sent. Calls that were sent before it opened may still
 * tell their results; these count for nothing then: they were sent into what made it open.
 *
 * A probe is lost probe_ms after it went, whoever asks or tells at that time. Probes are numbered,
 * for the answer to one that was lost must not be taken for the answer to the next one.
 */
#include "core/breaker.h"

#include <assert.h>
#include <string.h>

#include "base/u64.h"

static void forget_calls(struct or_breaker *breaker)
{
    memset(breaker->conflicts, 0, sizeof breaker->conflicts);
    breaker->next = 0;
    breaker->held = 0;
    breaker->sum = 0;
}

void or_breaker_init(struct or_breaker *breaker, const struct or_breaker_limits *limits,
                     bool probe_first)
{
    assert(limits->least >= 1 && limits->least <= OR_BREAKER_CALLS);
    memset(breaker, 0, sizeof *breaker);
    breaker->limits = *limits;
    breaker->cool_ms = limits->cool_ms;
    breaker->state = probe_first ? OR_BREAKER_PROBING : OR_BREAKER_CLOSED;
}

static void open_it(struct or_breaker *breaker, uint64_t now_ms)
{
    breaker->state = OR_BREAKER_OPEN;
    breaker->probe_out = false;
    breaker->until_ms = or_u64_add(now_ms, breaker->cool_ms);
    breaker->opened++;
    uint64_t twice = or_u64_add(breaker->cool_ms, breaker->cool_ms);
    breaker->cool_ms = twice < breaker->limits.cool_max_ms ? twice : breaker->limits.cool_max_ms;
}

static void count_lost(struct or_breaker *breaker, uint64_t now_ms)
{
    if (breaker->probe_out && now_ms >= breaker->until_ms) {
        open_it(breaker, breaker->until_ms);
    }
}

enum or_breaker_answer or_breaker_ask(struct or_breaker *breaker, uint64_t now_ms,
                                      uint64_t *until_ms)
{
    count_lost(breaker, now_ms);
    if (breaker->state == OR_BREAKER_OPEN && now_ms >= breaker->until_ms) {
        breaker->state = OR_BREAKER_PROBING;
    }
    *until_ms = breaker->until_ms;
    if (breaker->state == OR_BREAKER_CLOSED) {
        return OR_BREAKER_GO;
    }
    if (breaker->state == OR_BREAKER_OPEN || breaker->probe_out) {
        return OR_BREAKER_WAIT;
    }
    breaker->probe_out = true;
    breaker->probe++;
    breaker->until_ms = or_u64_add(now_ms, breaker->limits.probe_ms);
    return OR_BREAKER_PROBE;
}

void or_breaker_tell(struct or_breaker *breaker, enum or_breaker_result result, uint64_t now_ms)
{
    if (breaker->state != OR_BREAKER_CLOSED) {
        return;
    }
    uint8_t conflict = result == OR_BREAKER_CONFLICT;
    breaker->sum += conflict;
    breaker->sum -= breaker->conflicts[breaker->next]; /* 0 while the ring is not full */
    breaker->conflicts[breaker->next] = conflict;
    breaker->next = (breaker->next + 1) % OR_BREAKER_CALLS;
    breaker->held += breaker->held < OR_BREAKER_CALLS;
    if (breaker->held >= breaker->limits.least &&
        100 * breaker->sum > breaker->limits.percent * breaker->held) {
        open_it(breaker, now_ms);
    }
}

static bool is_out(struct or_breaker *breaker, uint64_t probe, uint64_t now_ms)
{
    count_lost(breaker, now_ms);
    return breaker->probe_out && breaker->probe == probe;
}

void or_breaker_give_back(struct or_breaker *breaker, uint64_t probe, uint64_t now_ms)
{
    if (is_out(breaker, probe, now_ms)) {
        breaker->probe_out = false;
    }
}

void or_breaker_tell_probe(struct or_breaker *breaker, uint64_t probe,
                           enum or_breaker_result result, uint64_t now_ms)
{
    if (!is_out(breaker, probe, now_ms)) {
        return;
    }
    if (result == OR_BREAKER_CONFLICT) {
        open_it(breaker, now_ms);
        return;
    }
    breaker->state = OR_BREAKER_CLOSED;
    breaker->probe_out = false;
    breaker->cool_ms = breaker->limits.cool_ms;
    forget_calls(breaker);
}
