/* SPDX-License-Identifier: Apache-2.0
 *
 * The rules of a ledger, apart from how one is kept: when a condition holds, what a change makes of
 * a record, and what a namespace's standing is. Every adapter asks here, so that they agree.
 *
 * Standing. Two counters only ever rise: the ledger's `epoch`, when it is found in another place
 * than the one it remembers (a copy, a restored backup, a promoted standby), and the namespace's
 * `doubts`, when the store shows a number that the ledger has never given out. Their sum is the
 * *generation*. `confirm` writes down the generation that was confirmed, and
 *
 *     SOUND  <=>  confirmed = generation
 *
 * A namespace begins with confirmed = 0: it is SOUND in a ledger that has never been in doubt, and
 * SUSPECT in one that has. Whoever entered at one generation is refused at the next one, so that a
 * process which has not heard of the doubt does not go on creating. A confirmation of an older
 * generation says nothing about the newer doubt, whichever of the two comes first.
 */
#include "coordinator/ledger_rules.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

#include "base/status.h"
#include "base/text.h"

#define DEFINITION_SHOWN 300U /* bytes of each in a message */
#define STATES           32U
#define ENTRIES_MIN      8U

/* ---- swaps ----------------------------------------------------------------------------------- */

void or_ledger_check_name(enum onerow_ledger_kind kind, struct onerow_span name)
{
    assert(kind >= ONEROW_LEDGER_KEY && kind <= ONEROW_LEDGER_ATTEMPT);
    assert(name.len <= ONEROW_LEDGER_NAME_MAX);
}

static bool same_name(const struct onerow_ledger_change *a, const struct onerow_ledger_change *b)
{
    return a->kind == b->kind && or_span_equal(a->name, b->name);
}

static void check_swap(const struct onerow_ledger_swap *swap)
{
    assert(swap->n >= 1 && swap->n <= ONEROW_LEDGER_CHANGES);
    for (size_t i = 0; i < swap->n; i++) {
        const struct onerow_ledger_change *change = &swap->changes[i];
        or_ledger_check_name(change->kind, change->name);
        assert(change->state < STATES);
        assert(change->body.len <= ONEROW_LEDGER_BODY_MAX);
        for (size_t j = 0; j < i; j++) {
            assert(!same_name(change, &swap->changes[j]));
        }
    }
}

void or_ledger_check(const struct onerow_ledger_swap *swaps, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        check_swap(&swaps[i]);
    }
}

bool or_ledger_holds(const struct onerow_ledger_change *change, uint64_t revision, uint8_t state)
{
    return (change->revision == ONEROW_LEDGER_ANY || change->revision == revision) &&
           (change->states >> state & 1U);
}

uint64_t or_ledger_stamp(const struct onerow_ledger_change *change, uint64_t since_ms,
                         uint64_t now_ms)
{
    return change->stamp && now_ms > since_ms ? now_ms : since_ms;
}

void or_ledger_note_stamp(uint64_t *now_ms, uint64_t since_ms)
{
    *now_ms = *now_ms < since_ms ? since_ms : *now_ms;
}

void or_ledger_undo(struct onerow_ledger_swap *swaps, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        swaps[i].done = false;
    }
}

/* ---- namespaces ------------------------------------------------------------------------------ */

uint64_t or_ledger_generation(const struct or_ledger_doubt *doubt)
{
    return doubt->epoch + doubt->doubts;
}

enum onerow_ledger_standing or_ledger_standing(const struct or_ledger_doubt *doubt)
{
    return doubt->confirmed == or_ledger_generation(doubt) ? ONEROW_LEDGER_SOUND
                                                           : ONEROW_LEDGER_SUSPECT;
}

struct or_ledger_entry {
    uint64_t number;
    uint64_t generation;
};

void or_ledger_entries_finish(struct or_ledger_entries *entries)
{
    free(entries->list);
    *entries = (struct or_ledger_entries){0};
}

static struct or_ledger_entry *find_entry(const struct or_ledger_entries *entries, uint64_t number)
{
    for (size_t i = 0; i < entries->n; i++) {
        if (entries->list[i].number == number) {
            return &entries->list[i];
        }
    }
    return NULL;
}

static bool make_room(struct or_ledger_entries *entries)
{
    if (entries->n < entries->room) {
        return true;
    }
    size_t room = entries->room ? 2 * entries->room : ENTRIES_MIN;
    struct or_ledger_entry *list = realloc(entries->list, room * sizeof *list);
    if (!list) {
        return false;
    }
    entries->list = list;
    entries->room = room;
    return true;
}

bool or_ledger_entered(struct or_ledger_entries *entries, uint64_t number, uint64_t generation)
{
    struct or_ledger_entry *found = find_entry(entries, number);
    if (!found) {
        if (!make_room(entries)) {
            return false;
        }
        found = &entries->list[entries->n++];
    }
    *found = (struct or_ledger_entry){number, generation};
    return true;
}

uint64_t or_ledger_generation_of(const struct or_ledger_entries *entries, uint64_t number)
{
    const struct or_ledger_entry *found = find_entry(entries, number);
    assert(found);
    return found->generation;
}

/* ---- messages -------------------------------------------------------------------------------- */

enum onerow_status or_ledger_refuse_definition(struct onerow_span name, struct onerow_span made,
                                               struct onerow_span wanted,
                                               struct onerow_error *error)
{
    name = or_span_cut(name, DEFINITION_SHOWN / 2);
    made = or_span_cut(made, DEFINITION_SHOWN);
    wanted = or_span_cut(wanted, DEFINITION_SHOWN);
    return or_fail(error, ONEROW_CONFIG,
                   "the ledger knows \"%.*s\" by another definition\n  the ledger: %.*s\n  here: "
                   "      %.*s\n  all who write there must agree: change the configuration back",
                   (int)name.len, name.data, (int)made.len, made.data, (int)wanted.len,
                   wanted.data);
}

enum onerow_status or_ledger_refuse_number(uint64_t number, struct onerow_error *error)
{
    return or_fail(
        error, ONEROW_CONFIG,
        "no ledger gives out the number %llu: somebody else wrote it\n  look at the page "
        "that carries it, and delete it if nobody needs it",
        (unsigned long long)number);
}

enum onerow_status or_ledger_out_of_numbers(struct onerow_error *error)
{
    return or_fail(error, ONEROW_FULL, "the ledger has given out all its numbers");
}

enum onerow_status or_ledger_changed(const char *where, struct onerow_error *error)
{
    return or_fail(error, ONEROW_VANISHED,
                   "%s: there is a reason to think that the ledger was rolled back, and it came up "
                   "while it was in use\n  run the same command again; it imports the rows first",
                   where);
}

/* ---- random and time ------------------------------------------------------------------------- */

bool or_ledger_make_id(char id[OR_LEDGER_ID])
{
    unsigned char random[(OR_LEDGER_ID - 1) / 2];
    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random) {
        return false;
    }
    for (size_t i = 0; i < sizeof random; i++) {
        snprintf(id + 2 * i, 3, "%02x", random[i]);
    }
    return true;
}

uint64_t or_ledger_wall_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000U + (uint64_t)now.tv_nsec / 1000000U;
}
