/* SPDX-License-Identifier: Apache-2.0
 *
 * A table may relate to itself, as a tree does. Were all records of a batch written at a time, each
 * one that others relate to would be made for its key alone, and then written a second time, with
 * its values. So they go in waves: first those that relate to none of the batch, then those that
 * relate to these, and so on. What is left goes at last, all of it: circles, what hangs on them,
 * and what lies deeper than is worth while.
 *
 * It is about requests and about what outcomes are called; what relates to what is right in any
 * order.
 */
#include "engine/relation_order.h"

#include <string.h>

#include "base/text.h"
#include "engine/relation_value.h"
#include "engine/relations.h"

#define HASH_NONFATAL_OOM            1
#define uthash_nonfatal_oom(element) ((element)->lost = true)
#include <uthash.h>

/* The entries of one key. */
struct group {
    UT_hash_handle hh;
    bool lost;
    size_t first, end;
    struct link *links;
    unsigned wave; /* 0: it has none yet */
};

/* To a group that comes first. */
struct link {
    const struct group *to;
    struct link *next;
};

struct order {
    const struct or_table *table;
    struct or_entry **entries;
    size_t n;
    struct or_arena *arena;
    struct group *groups; /* a hash by key, in the order of the entries */
};

static bool add_groups(struct order *order)
{
    for (size_t i = 0; i < order->n;) {
        struct onerow_span key = order->entries[i]->record.key;
        struct group *group = or_arena_alloc(order->arena, sizeof *group);
        if (!group) {
            return false;
        }
        *group = (struct group){.first = i, .end = i};
        while (group->end < order->n &&
               or_span_equal(order->entries[group->end]->record.key, key)) {
            group->end++;
        }
        i = group->end;
        HASH_ADD_KEYPTR(hh, order->groups, key.data, key.len, group);
        if (group->lost) {
            return false;
        }
    }
    return true;
}

/* A value that cannot be read is refused later. */
static bool link_value(struct order *order, struct group *group, const struct onerow_value *value)
{
    struct or_related_key *keys = NULL;
    size_t n = 0;
    const char *reason = NULL;
    if (!or_relation_keys(order->table, value, order->arena, &keys, &n, &reason)) {
        return reason != NULL;
    }
    for (size_t i = 0; i < n; i++) {
        struct group *to = NULL;
        HASH_FIND(hh, order->groups, keys[i].key.data, keys[i].key.len, to);
        struct link *link = to && to != group ? or_arena_alloc(order->arena, sizeof *link) : NULL;
        if (link) {
            *link = (struct link){to, group->links};
            group->links = link;
        } else if (to && to != group) {
            return false;
        }
    }
    return true;
}

static bool relates_to_own(const struct or_table *table, uint16_t column)
{
    bool own = false;
    for (size_t r = 0; r < table->n_relations; r++) {
        own |= table->relations[r].column == column && table->relations[r].target == table;
    }
    return own;
}

static bool link_group(struct order *order, struct group *group)
{
    bool good = true;
    for (size_t i = group->first; i < group->end && good; i++) {
        const struct onerow_record *record = &order->entries[i]->record;
        for (size_t v = 0; v < record->n_values && good; v++) {
            good = !relates_to_own(order->table, record->values[v].column) ||
                   link_value(order, group, &record->values[v]);
        }
    }
    return good;
}

static bool is_ready(const struct group *group, unsigned wave)
{
    bool ready = group->wave == 0;
    for (const struct link *link = group->links; link && ready; link = link->next) {
        ready = link->to->wave && link->to->wave < wave;
    }
    return ready;
}

/* How many groups join the wave. */
static size_t fill_wave(struct order *order, unsigned wave)
{
    size_t joined = 0;
    for (struct group *group = order->groups; group; group = group->hh.next) {
        bool ready = is_ready(group, wave);
        group->wave = ready ? wave : group->wave;
        joined += ready;
    }
    return joined;
}

static unsigned set_waves(struct order *order, uint8_t *waves)
{
    unsigned n = 0;
    unsigned last = 0;
    while (n + 1 < OR_RELATION_WAVES && fill_wave(order, n + 1)) {
        n++;
    }
    for (const struct group *group = order->groups; group; group = group->hh.next) {
        unsigned wave = group->wave ? group->wave : n + 1;
        memset(waves + group->first, (int)wave, group->end - group->first);
        last = wave > last ? wave : last;
    }
    return last;
}

unsigned or_relations_order(const struct or_table *table, struct or_entry **entries, size_t n,
                            struct or_arena *arena, uint8_t *waves)
{
    struct order order = {.table = table, .entries = entries, .n = n, .arena = arena};
    bool good = add_groups(&order);
    for (struct group *group = order.groups; group && good; group = group->hh.next) {
        good = link_group(&order, group);
    }
    unsigned n_waves = good ? set_waves(&order, waves) : 0;
    HASH_CLEAR(hh, order.groups); /* the groups themselves lie in the arena */
    return n_waves;
}
