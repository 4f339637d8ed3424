/* SPDX-License-Identifier: Apache-2.0 */
#include "core/pages.h"

#include "base/text.h"

/* Whether page a has more right to the key than page b. */
static bool wins(const struct or_key_record *key, const struct or_probe_page *a,
                 const struct or_probe_page *b)
{
    if (key->page.data) {
        bool a_is_known = or_span_equal(a->id, key->page);
        if (a_is_known || or_span_equal(b->id, key->page)) {
            return a_is_known;
        }
    }
    if (a->edited != b->edited) {
        return a->edited;
    }
    if (a->created_ms != b->created_ms) {
        return a->created_ms < b->created_ms;
    }
    return or_span_compare(a->id, b->id) < 0;
}

/* A tombstone's own page, which somebody took out of the trash, may come back. */
static bool may_adopt(const struct or_key_record *key, struct onerow_span name,
                      const struct or_page_record *page)
{
    return page->state == OR_PAGE_UNRECORDED || page->state == OR_PAGE_BLANK ||
           (page->state == OR_PAGE_BOUND && key->state == OR_KEY_TOMBSTONE &&
            or_span_equal(page->key, name));
}

struct or_choice or_pages_choose(const struct or_key_record *key, struct onerow_span name,
                                 const struct or_probe_page *pages,
                                 const struct or_page_record *records, size_t n)
{
    struct or_choice choice = {0};
    for (size_t i = 0; i < n; i++) {
        if (records[i].state == OR_PAGE_CONDEMNED) {
            continue;
        }
        choice.live++;
        if (!may_adopt(key, name, &records[i])) {
            choice.taken = true;
        } else if (!choice.found || wins(key, &pages[i], &pages[choice.winner])) {
            choice.found = true;
            choice.winner = i;
        }
    }
    return choice;
}

struct or_swap or_pages_adopt(const struct or_key_record *key, const struct or_probe_page *page,
                              const struct or_page_record *record, const struct onerow_value *order)
{
    bool tombstone = key->state == OR_KEY_TOMBSTONE;
    bool other_page = tombstone && !or_span_equal(key->page, page->id);
    bool given_up = key->state == OR_KEY_INTENT; /* its holder did not make this page the key's */
    /* It was this key's before, and whatever was sent to it then may still arrive. */
    bool came_back = other_page && record->state == OR_PAGE_BOUND;
    return (struct or_swap){
        .revision = key->revision,
        .becomes = {.state = OR_KEY_DONE,
                    .page = page->id,
                    .generation = key->generation + (other_page || given_up),
                    .version = tombstone ? key->version + 1 : 1,
                    .order = *order,
                    .doubtful = came_back || (tombstone && !other_page && key->doubtful)},
        .stamp = came_back,
        .page = page->id,
        .page_revision = record->revision, /* and so in the state in which it was chosen */
        .page_states = UINT32_MAX,
        .page_becomes = OR_PAGE_BOUND,
    };
}
