/* SPDX-License-Identifier: Apache-2.0
 *
 * Some schedules also take each swap through its bytes: what or_swap_encode makes of it must hold
 * when the swap holds, and what the decoders make of those bytes must be what the swap means.
 */
#include <string.h>

#include "base/text.h"
#include "sim/parts.h"

#define ROOM_MAX 1024U

static bool same_value(const struct onerow_value *a, const struct onerow_value *b)
{
    return a->kind == b->kind && or_span_equal((struct onerow_span){a->data, a->len},
                                               (struct onerow_span){b->data, b->len});
}

static bool same_payload(const struct or_payload *a, const struct or_payload *b)
{
    return !a->text.data == !b->text.data && or_span_equal(a->text, b->text) &&
           same_value(&a->order, &b->order) &&
           memcmp(a->fingerprint, b->fingerprint, OR_FINGERPRINT_LEN) == 0;
}

static bool same_key(const struct or_key_record *a, const struct or_key_record *b)
{
    return a->state == b->state && a->doubtful == b->doubtful && a->known == b->known &&
           a->generation == b->generation && a->version == b->version &&
           !a->page.data == !b->page.data && or_span_equal(a->page, b->page) &&
           memcmp(a->fingerprint, b->fingerprint, OR_FINGERPRINT_LEN) == 0 &&
           same_value(&a->order, &b->order) && or_nonce_equal(a->nonce, b->nonce) &&
           same_payload(&a->pending, &b->pending);
}

/* What is there of the record that a change names. */
static void current(const struct sim_world *world, const struct onerow_ledger_change *change,
                    uint64_t *revision, unsigned *state)
{
    struct or_nonce nonce = {0};
    if (change->kind == ONEROW_LEDGER_KEY) {
        unsigned key = (unsigned)(*change->name.data - 'A') + 1;
        *revision = world->ledger.keys[key].revision;
        *state = world->ledger.keys[key].state;
    } else if (change->kind == ONEROW_LEDGER_PAGE) {
        unsigned page = sim_page_of(change->name);
        *revision = world->ledger.pages[page].revision;
        *state = world->ledger.pages[page].state;
    } else {
        bool is_nonce = or_nonce_parse(change->name, &nonce);
        *state = is_nonce ? sim_ledger_mark(world, nonce).state : OR_ATTEMPT_NONE;
        *revision = *state != OR_ATTEMPT_NONE;
    }
}

static bool change_holds(const struct sim_world *world, const struct onerow_ledger_change *change)
{
    uint64_t revision = 0;
    unsigned state = 0;
    current(world, change, &revision, &state);
    return (change->revision == ONEROW_LEDGER_ANY || change->revision == revision) &&
           change->states >> state & 1U;
}

static bool means_the_same(const struct onerow_ledger_change *change, unsigned key,
                           const struct or_swap *swap)
{
    struct onerow_ledger_record record = {.kind = change->kind,
                                          .name = change->name,
                                          .revision = 1,
                                          .state = change->state,
                                          .body = change->body};
    struct or_key_record decoded;
    struct or_page_record page;
    struct or_attempt_record attempt;
    bool bound = swap->page_becomes == OR_PAGE_BOUND;
    switch (change->kind) {
    case ONEROW_LEDGER_KEY:
        return or_key_decode(&record, &decoded) && same_key(&decoded, &swap->becomes) &&
               change->stamp == swap->stamp;
    case ONEROW_LEDGER_PAGE:
        return or_page_decode(&record, &page) && page.state == swap->page_becomes &&
               (!bound || or_span_equal(page.key, sim_key_name(key)));
    case ONEROW_LEDGER_ATTEMPT: break;
    }
    return or_attempt_decode(&record, &attempt) && attempt.generation == swap->becomes.generation &&
           attempt.version == swap->becomes.version;
}

bool sim_bytes_agree(const struct sim_world *world, unsigned key, const struct or_swap *swap,
                     bool holds)
{
    struct onerow_ledger_change changes[ONEROW_LEDGER_CHANGES];
    char room[ROOM_MAX];
    struct onerow_span name = swap->no_key ? (struct onerow_span){0} : sim_key_name(key);
    if (or_swap_room(swap, name) > sizeof room) {
        return false;
    }
    size_t n = or_swap_encode(swap, name, changes, room);
    bool encoded_holds = true;
    bool same = true;
    for (size_t i = 0; i < n; i++) {
        encoded_holds &= change_holds(world, &changes[i]);
        same &= !changes[i].state || means_the_same(&changes[i], key, swap);
    }
    return same && encoded_holds == holds;
}
