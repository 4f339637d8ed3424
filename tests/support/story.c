/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/story.h"

#include <assert.h>
#include <string.h>

#include "base/text.h"

const struct onerow_span story_pages[4] = {{"p1", 2}, {"p2", 2}, {"p3", 2}, {"p4", 2}};

struct or_payload story_payload(const char *text)
{
    struct or_payload made = {.text = or_span(text)};
    memset(made.fingerprint, text[0], sizeof made.fingerprint);
    made.order = (struct onerow_value){.data = text, .len = 1, .kind = ONEROW_TEXT};
    return made;
}

static size_t number_of(struct onerow_span id)
{
    size_t number = (size_t)(id.data[1] - '1');
    assert(number < 4);
    return number;
}

void story_read(const struct story_ledger *ledger, const struct or_command *command,
                struct or_event *event)
{
    static struct or_page_record records[OR_ATTEMPT_PAGES];
    event->key = ledger->key;
    event->ledger_ms = ledger->now_ms;
    for (size_t i = 0; i < ledger->n_taken; i++) {
        if (or_nonce_equal(ledger->taken[i], command->nonce)) {
            event->attempt = ledger->takes[i];
        }
    }
    for (size_t i = 0; i < command->n_pages; i++) {
        records[i] = ledger->pages[number_of(command->pages[i])];
    }
    event->records = records;
}

static void note(struct story_ledger *ledger, struct or_nonce nonce, enum or_attempt_mark mark,
                 const struct or_swap *swap)
{
    size_t at = 0;
    while (at < ledger->n_taken && !or_nonce_equal(ledger->taken[at], nonce)) {
        at++;
    }
    ledger->n_taken += at == ledger->n_taken;
    assert(ledger->n_taken <= 8);
    ledger->taken[at] = nonce;
    ledger->takes[at] =
        (struct or_attempt_record){mark, swap->becomes.generation, swap->becomes.version};
}

static void change_key(struct story_ledger *ledger, const struct or_swap *swap)
{
    uint64_t since = swap->stamp ? ledger->now_ms : ledger->key.since_ms;
    ledger->key = swap->becomes;
    ledger->key.revision = swap->revision + 1;
    ledger->key.since_ms = since;
}

enum or_answer story_swap(struct story_ledger *ledger, const struct or_swap *swap)
{
    struct or_page_record *page = swap->page.data ? &ledger->pages[number_of(swap->page)] : NULL;
    bool page_fits =
        !page ||
        ((swap->page_states >> page->state & 1) &&
         (swap->page_revision == ONEROW_LEDGER_ANY || swap->page_revision == page->revision));
    if (!page_fits || (!swap->no_key && swap->revision != ledger->key.revision)) {
        return OR_ANSWER_REFUSED;
    }
    if (!swap->no_key && !swap->keep_key) {
        change_key(ledger, swap);
    }
    if (page && swap->page_becomes) {
        bool bound = swap->page_becomes == OR_PAGE_BOUND;
        *page = (struct or_page_record){page->revision + 1, swap->page_becomes, ledger->now_ms,
                                        bound ? OR_SPAN("key") : (struct onerow_span){0},
                                        swap->becomes.generation};
    }
    if (swap->taken.number) {
        note(ledger, swap->taken, OR_ATTEMPT_TAKEN, swap);
    }
    if (swap->refused.number) {
        note(ledger, swap->refused, OR_ATTEMPT_REFUSED, swap);
    }
    return OR_ANSWER_OK;
}
