/* SPDX-License-Identifier: Apache-2.0
 *
 * A store that others write to at the same time locks rows in the order in which a
 * transaction meets them. Sorted by key, two transactions that overlap wait for each
 * other; unsorted, they deadlock. One statement writes records of one column set, so a
 * transaction of several sets is several sorted runs, which together are not sorted. So
 * each set gets a phase, which is a transaction of its own:
 *
 *     a{k,v} b{k,w} c{k,v} d{k,w} d{k,v}   ->   a c   |   b d   |   d
 *                                               k,v       k,w       the rest
 *
 *  - The most frequent sets have the first phases; the last phase takes all others. An
 *    adapter writes mixed sets correctly, only less well.
 *  - Equal keys keep their order: a record never goes to an earlier phase than the record
 *    of its key before it. When its set's phase is over by then, it goes to the last one,
 *    as {k,v} of d above.
 *
 * Which sets are frequent is counted with a bounded number of counters (space-saving:
 * Metwally, Agrawal and El Abbadi, 2005). With more sets than counters, a count may be too
 * high; then another set has the phase, and nothing else is different.
 */
#include "core/columns.h"

#include "base/text.h"

#define COUNTERS 64U

struct set {
    const struct onerow_record *like; /* a record that carries it */
    uint64_t hash;
    size_t count;
};

struct sets {
    struct set set[COUNTERS];
    size_t n;
};

bool or_columns_same(const struct onerow_record *a, const struct onerow_record *b)
{
    if (a->n_values != b->n_values) {
        return false;
    }
    for (size_t i = 0; i < a->n_values; i++) {
        if (a->values[i].column != b->values[i].column) {
            return false;
        }
    }
    return true;
}

static uint64_t hash_columns(const struct onerow_record *record)
{
    uint64_t hash = 0xcbf29ce484222325U;
    for (size_t i = 0; i < record->n_values; i++) {
        hash = (hash ^ record->values[i].column) * 0x100000001b3U;
    }
    return hash;
}

/* The counter of the record's set; sets->n when it has none. */
static size_t find_set(const struct sets *sets, const struct onerow_record *record, uint64_t hash)
{
    size_t at = 0;
    while (at < sets->n &&
           (sets->set[at].hash != hash || !or_columns_same(sets->set[at].like, record))) {
        at++;
    }
    return at;
}

static size_t rarest(const struct sets *sets)
{
    size_t least = 0;
    for (size_t i = 1; i < sets->n; i++) {
        least = sets->set[i].count < sets->set[least].count ? i : least;
    }
    return least;
}

static size_t most_frequent(const struct sets *sets)
{
    size_t most = 0;
    for (size_t i = 1; i < sets->n; i++) {
        most = sets->set[i].count > sets->set[most].count ? i : most;
    }
    return most;
}

/* Counts one record more; returns its set's counter. */
static size_t count_record(struct sets *sets, const struct onerow_record *record)
{
    uint64_t hash = hash_columns(record);
    size_t at = find_set(sets, record, hash);
    if (at == sets->n && sets->n == COUNTERS) {
        at = rarest(sets);
        sets->set[at] = (struct set){.like = record, .hash = hash, .count = sets->set[at].count};
    } else if (at == sets->n) {
        sets->set[sets->n++] = (struct set){.like = record, .hash = hash};
    }
    sets->set[at].count++;
    return at;
}

static void count_sets(const struct onerow_record *const *records, size_t n, struct sets *sets)
{
    size_t at = 0;
    sets->n = 0;
    for (size_t i = 0; i < n; i++) {
        if (i && or_columns_same(records[i], records[i - 1])) {
            sets->set[at].count++;
        } else {
            at = count_record(sets, records[i]);
        }
    }
}

/* The sets with phases of their own, the most frequent one first. */
static void choose(struct sets *sets, struct sets *chosen)
{
    chosen->n = 0;
    while (chosen->n < OR_COLUMN_SETS && sets->n) {
        size_t most = most_frequent(sets);
        chosen->set[chosen->n++] = sets->set[most];
        sets->set[most] = sets->set[--sets->n];
    }
}

void or_columns_phases(const struct onerow_record *const *records, size_t n, uint8_t *phases)
{
    struct sets sets;
    struct sets chosen;
    count_sets(records, n, &sets);
    choose(&sets, &chosen);
    size_t own = 0; /* the phase of the record's set; chosen.n: it has none */
    for (size_t i = 0; i < n; i++) {
        if (i == 0 || !or_columns_same(records[i], records[i - 1])) {
            own = find_set(&chosen, records[i], hash_columns(records[i]));
        }
        bool follows = i && or_span_equal(records[i]->key, records[i - 1]->key);
        bool over = follows && own < phases[i - 1];
        phases[i] = (uint8_t)(over || own == chosen.n ? OR_COLUMN_SETS : own);
    }
}
