/* SPDX-License-Identifier: Apache-2.0
 *
 * A key is known by a digest of its table's target and of its canonical form: two tables at one
 * place mean the same pages, and what is kept does not grow with the key.
 *
 * A page is believed for a short time only. Another process may give the key another page, and the
 * ledger is the one who knows; to ask it costs no request.
 */
#include "engine/known.h"

#include <stdlib.h>
#include <string.h>

#include "base/digest.h"
#include "base/text.h"
#include "base/u64.h"
#include "base/wake.h"
#include "core/ledger.h"

#define HASH_NONFATAL_OOM            1
#define uthash_nonfatal_oom(element) ((element)->lost = true)
#include <uthash.h>

struct or_known_key {
    UT_hash_handle hh;
    uint8_t digest[OR_SHA256_LEN];
    uint64_t until_ms;
    size_t page_len;
    char page[OR_PAGE_ID_MAX];
    char made[OR_ROW_STATE_LEN]; /* of one that was made for its key alone; "" otherwise */
    bool rejected;
    bool lost; /* uthash had no memory for it */
};

static bool digest_of(const struct or_table *table, struct onerow_span key,
                      uint8_t digest[OR_SHA256_LEN])
{
    const struct onerow_store_type *type = table->store->type;
    struct or_buffer text;
    or_buffer_init(&text);
    or_buffer_printf(&text, "%s %s\n", type->name, type->pages->target(table->table));
    or_buffer_span(&text, key);
    bool whole = !text.failed;
    if (whole) {
        or_sha256(or_buffer_view(&text), digest);
    }
    or_buffer_finish(&text);
    return whole;
}

static struct or_known_key *find(struct or_known *known, const struct or_table *table,
                                 struct onerow_span key)
{
    uint8_t digest[OR_SHA256_LEN];
    struct or_known_key *found = NULL;
    if (digest_of(table, key, digest)) {
        HASH_FIND(hh, known->keys, digest, sizeof digest, found);
    }
    return found;
}

static void forget(struct or_known *known, struct or_known_key *key)
{
    HASH_DEL(known->keys, key); /* NOLINT(clang-analyzer-unix.Malloc): follows no list */
    free(key);
}

void or_known_finish(struct or_known *known)
{
    struct or_known_key *key = NULL;
    struct or_known_key *next = NULL;
    HASH_ITER(hh, known->keys, key, next)
    {
        forget(known, key);
    }
}

struct onerow_span or_known_page(struct or_known *known, const struct or_table *table,
                                 struct onerow_span key, struct or_arena *arena, bool *no_memory)
{
    const struct or_known_key *found = find(known, table, key);
    if (!found || found->page_len == 0 || or_wake_now_ms() >= found->until_ms) {
        return (struct onerow_span){0};
    }
    struct onerow_span page =
        or_arena_copy(arena, (struct onerow_span){found->page, found->page_len});
    *no_memory |= !page.data;
    return page;
}

bool or_known_rejected(struct or_known *known, const struct or_table *table, struct onerow_span key)
{
    const struct or_known_key *found = find(known, table, key);
    return found && found->rejected;
}

bool or_known_made(struct or_known *known, const struct or_table *table, struct onerow_span key,
                   const char *state)
{
    const struct or_known_key *found = find(known, table, key);
    return found && *found->made && strcmp(found->made, state) == 0;
}

/* One for the key, behind all others. NULL: no memory. */
static struct or_known_key *renew(struct or_known *known, const struct or_entry *entry)
{
    struct or_known_key *key = find(known, entry->table, entry->record.key);
    if (key) {
        forget(known, key);
    } else if (HASH_COUNT(known->keys) >= OR_KNOWN_MAX) {
        forget(known, known->keys);
    }
    key = calloc(1, sizeof *key);
    if (!key || !digest_of(entry->table, entry->record.key, key->digest)) {
        free(key);
        return NULL;
    }
    /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): forget has set the head anew */
    HASH_ADD(hh, known->keys, digest, sizeof key->digest, key);
    if (key->lost) {
        free(key);
        return NULL;
    }
    return key;
}

/* A record whose end is not known leaves nothing known of its page. */
void or_known_note(struct or_known *known, const struct or_entry *entry)
{
    if (!known || !entry->table->pages || !entry->has_key || entry->outcome == ONEROW_PENDING) {
        return;
    }
    struct or_known_key *key = renew(known, entry);
    if (!key) {
        return;
    }
    bool there = entry->outcome != ONEROW_REFUSED && entry->outcome != ONEROW_IN_DOUBT;
    key->rejected = entry->outcome == ONEROW_REFUSED;
    if (there && entry->id.len <= sizeof key->page) {
        memcpy(key->page, entry->id.data ? entry->id.data : "", entry->id.len);
        key->page_len = entry->id.len;
        key->until_ms = or_u64_add(or_wake_now_ms(), OR_KNOWN_MS);
    }
}

void or_known_note_made(struct or_known *known, struct or_entry *entry)
{
    struct or_known_key *key =
        known && known->states ? find(known, entry->table, entry->record.key) : NULL;
    if (key) {
        or_row_state(entry->table, &entry->record, key->made);
    }
}
