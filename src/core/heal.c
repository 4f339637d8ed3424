/* SPDX-License-Identifier: Apache-2.0
 *
 * What a key may be left with, and what becomes of it:
 *
 *     PROBE ─> READ ─┬─ no page of its own, one that may be adopted ─> GET, adopt ──────┐
 *                    ├─ another page with the key ─> condemn ─> trash it, or move its   │ again
 *                    │                                         key out                 <┘
 *                    └─ doubtful, and everything has arrived ─> GET ─┬ equal ──> cleared
 *                                                                    └ not ────> WRITING again
 *
 *  - The ledger's page wins. A loser is condemned first, iff it is unrecorded or blank: what
 * belongs to a key is never taken from it. The key's record must still be as it was read, so that a
 * page does not lose against one that was given up meanwhile.
 *  - A loser that has children or relations, or that a person edited, is not thrown away: its key
 * is moved out. Both can be undone; the driver keeps a journal.
 *  - Values: while a version is doubtful, the ledger keeps its payload. Once everything has
 * arrived, a page that holds something else got it from a write that came late: the payload is
 * written again, as a new version, by whoever settles what is pending. What a person wrote stays.
 */
#include "core/heal.h"

#include <assert.h>
#include <string.h>

#include "base/text.h"
#include "base/u64.h"

#define STATE(state) (1U << (state))

void or_heal_init(struct or_heal *heal, struct onerow_span name, const struct or_bounds *bounds,
                  const struct or_retry_limits *limits, uint64_t number)
{
    memset(heal, 0, sizeof *heal);
    heal->name = name;
    heal->bounds = *bounds;
    heal->limits = limits;
    heal->nonce = (struct or_nonce){.number = number, .step = 1};
}

static void settle(struct or_heal *heal, struct or_command *command)
{
    heal->state = OR_HEAL_SETTLED;
    command->what = OR_DO_SETTLE;
    command->page = heal->key.page;
}

static void again(struct or_heal *heal, const struct or_event *event, struct or_command *command,
                  enum or_retry_class class)
{
    if (or_retry_next(&heal->retry, class, event->retry_after_ms, event->now_ms, event->random,
                      &command->wait_ms)) {
        heal->state = OR_HEAL_WAITING;
        command->what = OR_DO_WAIT;
    } else {
        heal->gave_up = true;
        settle(heal, command);
    }
}

static void probe(struct or_heal *heal, struct or_command *command)
{
    heal->state = OR_HEAL_PROBING;
    command->what = OR_DO_PROBE;
}

static void read_pages(struct or_heal *heal, struct or_command *command)
{
    heal->left = 0;
    heal->state = OR_HEAL_READING;
    command->what = OR_DO_READ;
    command->pages = heal->found;
    command->n_pages = heal->n_found;
}

static void after_probe(struct or_heal *heal, const struct or_event *event,
                        struct or_command *command)
{
    if (event->answer != OR_ANSWER_OK) {
        again(heal, event, command,
              event->answer == OR_ANSWER_RATE ? OR_RETRY_RATE : OR_RETRY_LOOKUP);
        return;
    }
    /* Of more pages the first ones have their turn now, the others when these are gone. */
    heal->n_found = event->n_pages < OR_ATTEMPT_PAGES ? event->n_pages : OR_ATTEMPT_PAGES;
    for (size_t i = 0; i < heal->n_found; i++) {
        heal->candidates[i] = event->pages[i];
        heal->found[i] = event->pages[i].id;
        heal->passed[i] = false;
    }
    read_pages(heal, command);
}

static void send_swap(struct or_heal *heal, struct or_command *command, enum or_heal_state state)
{
    heal->state = state;
    command->what = OR_DO_SWAP;
    command->swap = &heal->swap;
}

/* ---- twins ------------------------------------------------------------------------------------
 */

/* Looks at the page's order value first: an older record must not replace what it holds. */
static void weigh(struct or_heal *heal, const struct or_page_record *records,
                  const struct or_choice *choice, struct or_command *command)
{
    heal->winner = choice->winner;
    heal->winner_record = records[choice->winner];
    heal->state = OR_HEAL_WEIGHING;
    command->what = OR_DO_GET;
    command->page = heal->found[heal->winner];
}

static void after_weighing(struct or_heal *heal, const struct or_event *event,
                           struct or_command *command)
{
    if (event->answer == OR_ANSWER_OK && !event->in_trash && event->has_key) {
        heal->swap = or_pages_adopt(&heal->key, &heal->candidates[heal->winner],
                                    &heal->winner_record, &event->order);
        send_swap(heal, command, OR_HEAL_ADOPTING);
    } else {
        again(heal, event, command,
              event->answer == OR_ANSWER_RATE ? OR_RETRY_RATE : OR_RETRY_LOOKUP);
    }
}

static void dispose(struct or_heal *heal, struct or_command *command)
{
    const struct or_probe_page *page = &heal->candidates[heal->loser];
    heal->state = OR_HEAL_DISPOSING;
    command->what = page->edited || page->attached ? OR_DO_MOVE_KEY : OR_DO_TRASH;
    command->page = page->id;
}

/* A tombstone's page that came back after the key got another one. Its record still calls it this
 * key's; the key's own record, which says otherwise, is a condition of the swap. */
static bool is_left_over(const struct or_heal *heal, const struct or_page_record *record)
{
    return heal->key.state == OR_KEY_DONE && record->state == OR_PAGE_BOUND &&
           or_span_equal(record->key, heal->name);
}

static void condemn(struct or_heal *heal, const struct or_page_record *record,
                    struct or_command *command)
{
    heal->swap =
        (struct or_swap){.revision = heal->key.revision,
                         .becomes = heal->key,
                         .keep_key = true,
                         .page = heal->found[heal->loser],
                         .page_revision = record->revision,
                         .page_states = STATE(OR_PAGE_UNRECORDED) | STATE(OR_PAGE_BLANK) |
                                        (is_left_over(heal, record) ? STATE(OR_PAGE_BOUND) : 0),
                         .page_becomes = OR_PAGE_CONDEMNED};
    send_swap(heal, command, OR_HEAL_CONDEMNING);
}

/* The next page that is not the key's. False: there is none. */
static bool see_to_losers(struct or_heal *heal, const struct or_page_record *records,
                          struct or_command *command)
{
    for (size_t i = 0; i < heal->n_found; i++) {
        bool own = heal->key.page.data && or_span_equal(heal->found[i], heal->key.page);
        if (own || heal->passed[i]) {
            continue;
        }
        heal->loser = i;
        if (records[i].state == OR_PAGE_BOUND && !is_left_over(heal, &records[i])) {
            heal->left++;
            continue;
        }
        if (records[i].state == OR_PAGE_CONDEMNED) {
            dispose(heal, command);
        } else {
            condemn(heal, &records[i], command);
        }
        return true;
    }
    return false;
}

static void after_dispose(struct or_heal *heal, const struct or_event *event,
                          struct or_command *command)
{
    const struct or_probe_page *page = &heal->candidates[heal->loser];
    bool moves = page->edited || page->attached;
    switch (event->answer) {
    case OR_ANSWER_OK:
        heal->moved += moves;
        heal->trashed += !moves;
        break;
    case OR_ANSWER_TRASHED:
    case OR_ANSWER_NOT_FOUND: break;
    case OR_ANSWER_REFUSED: heal->gave_up = true; break; /* it stays as it is, and is reported */
    default: again(heal, event, command, or_answer_class(event->answer)); return;
    }
    heal->passed[heal->loser] = true; /* an index that lags would show it once more */
    read_pages(heal, command);
}

/* ---- values -------------------------------------------------------------------------------------
 */

static void look(struct or_heal *heal, struct or_command *command)
{
    heal->state = OR_HEAL_LOOKING;
    command->what = OR_DO_GET;
    command->page = heal->key.page;
    command->payload = heal->key.pending.text.data ? &heal->key.pending : NULL;
}

static void clear(struct or_heal *heal, bool known, struct or_command *command)
{
    heal->swap = (struct or_swap){.revision = heal->key.revision, .becomes = heal->key};
    struct or_key_record *becomes = &heal->swap.becomes;
    becomes->doubtful = false;
    becomes->known = becomes->known && known;
    becomes->nonce = (struct or_nonce){0};
    becomes->pending = (struct or_payload){0};
    send_swap(heal, command, OR_HEAL_CLEARING);
}

static void reopen(struct or_heal *heal, struct or_command *command)
{
    heal->swap = (struct or_swap){
        .revision = heal->key.revision, .becomes = heal->key, .stamp = true, .taken = heal->nonce};
    heal->swap.becomes.state = OR_KEY_WRITING;
    heal->swap.becomes.version++;
    heal->swap.becomes.nonce = heal->nonce;
    heal->swap.becomes.doubtful = false;
    send_swap(heal, command, OR_HEAL_REOPENING);
}

static void after_look(struct or_heal *heal, const struct or_event *event,
                       struct or_command *command)
{
    bool kept = heal->key.pending.text.data != NULL;
    if (event->answer == OR_ANSWER_NOT_FOUND ||
        (event->answer == OR_ANSWER_OK && (event->in_trash || !event->has_key))) {
        heal->gone = true;
        settle(heal, command);
    } else if (event->answer != OR_ANSWER_OK) {
        again(heal, event, command,
              event->answer == OR_ANSWER_RATE ? OR_RETRY_RATE : OR_RETRY_LOOKUP);
    } else if (!kept) { /* after a refused version: what the page holds cannot be told */
        clear(heal, false, command);
    } else if (event->edited ||
               memcmp(event->fingerprint, heal->key.pending.fingerprint, OR_FINGERPRINT_LEN) == 0) {
        clear(heal, true, command);
    } else {
        reopen(heal, command);
    }
}

/* ---- the step
 * ------------------------------------------------------------------------------------- */

/* An intent whose holder is late for good counts as no page. */
static bool is_pending(const struct or_heal *heal)
{
    const struct or_key_record *key = &heal->key;
    uint64_t over = or_u64_add(key->since_ms, or_bounds_seen(&heal->bounds));
    return key->state == OR_KEY_BOUND || key->state == OR_KEY_WRITING ||
           (key->state == OR_KEY_INTENT && heal->ledger_ms < over);
}

static void see_to_values(struct or_heal *heal, struct or_command *command)
{
    uint64_t arrived = or_u64_add(heal->key.since_ms, or_bounds_arrived(&heal->bounds));
    bool doubtful = heal->key.state == OR_KEY_DONE && heal->key.doubtful;
    if (doubtful && heal->ledger_ms >= arrived) {
        look(heal, command);
        return;
    }
    heal->doubtful = doubtful;
    settle(heal, command);
}

static void after_read(struct or_heal *heal, const struct or_event *event,
                       struct or_command *command)
{
    if (event->answer != OR_ANSWER_OK) {
        again(heal, event, command, OR_RETRY_BUSY);
        return;
    }
    heal->key = event->key;
    heal->ledger_ms = event->ledger_ms;
    heal->pending = is_pending(heal);
    struct or_choice choice =
        or_pages_choose(&heal->key, heal->name, heal->candidates, event->records, heal->n_found);
    if (!heal->pending && heal->key.state != OR_KEY_DONE && choice.found) {
        weigh(heal, event->records, &choice, command);
    } else if (heal->pending || !see_to_losers(heal, event->records, command)) {
        see_to_values(heal, command);
    }
}

static void after_swap(struct or_heal *heal, const struct or_event *event,
                       struct or_command *command)
{
    if (event->answer == OR_ANSWER_REFUSED) { /* somebody else was here: from the start */
        probe(heal, command);
        return;
    }
    if (event->answer != OR_ANSWER_OK) {
        again(heal, event, command, OR_RETRY_BUSY);
        return;
    }
    switch (heal->state) {
    case OR_HEAL_ADOPTING:
        heal->adopted = true;
        probe(heal, command);
        return;
    case OR_HEAL_CONDEMNING: dispose(heal, command); return;
    case OR_HEAL_REOPENING: heal->pending = true; break;
    default: break;
    }
    settle(heal, command);
}

void or_heal_step(struct or_heal *heal, const struct or_event *event, struct or_command *command)
{
    memset(command, 0, sizeof *command);
    switch (heal->state) {
    case OR_HEAL_START:
        or_retry_init(&heal->retry, heal->limits, event->now_ms);
        probe(heal, command);
        return;
    case OR_HEAL_WAITING: probe(heal, command); return;
    case OR_HEAL_PROBING: after_probe(heal, event, command); return;
    case OR_HEAL_READING: after_read(heal, event, command); return;
    case OR_HEAL_WEIGHING: after_weighing(heal, event, command); return;
    case OR_HEAL_ADOPTING:
    case OR_HEAL_CONDEMNING:
    case OR_HEAL_CLEARING:
    case OR_HEAL_REOPENING: after_swap(heal, event, command); return;
    case OR_HEAL_DISPOSING: after_dispose(heal, event, command); return;
    case OR_HEAL_LOOKING: after_look(heal, event, command); return;
    case OR_HEAL_SETTLED: break;
    }
    assert(!"or_heal_step after SETTLE");
}

struct or_swap or_heal_forget(const struct or_key_record *key)
{
    assert(key->page.data);
    return (struct or_swap){
        .revision = key->revision,
        .becomes = {.state = OR_KEY_ABSENT, .generation = key->generation + 1, .doubtful = true},
        .stamp = true,
        .page = key->page,
        .page_revision = ONEROW_LEDGER_ANY,
        .page_states = UINT32_MAX,
        .page_becomes = OR_PAGE_CONDEMNED,
    };
}

bool or_heal_may_let_go(const struct or_key_record *key, const struct or_bounds *bounds,
                        uint64_t ledger_ms)
{
    return key->state == OR_KEY_DONE &&
           (!key->doubtful || ledger_ms >= or_u64_add(key->since_ms, or_bounds_arrived(bounds)));
}

struct or_swap or_heal_let_go(const struct or_key_record *key)
{
    assert(key->page.data);
    return (struct or_swap){
        .revision = key->revision,
        .becomes = {.state = OR_KEY_ABSENT, .generation = key->generation + 1},
        .page = key->page,
        .page_revision = ONEROW_LEDGER_ANY,
        .page_states = STATE(OR_PAGE_BOUND),
        .page_becomes = OR_PAGE_BLANK,
    };
}
