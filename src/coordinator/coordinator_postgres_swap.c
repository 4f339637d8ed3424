/* SPDX-License-Identifier: Apache-2.0
 *
 * Swaps on PostgreSQL: many compare-and-sets in one transaction, and none of them ever waits for
 * somebody who waits for it.
 *
 *   1  lock     the rows of all names, in one order (kind, digest)      \
 *      find     a later statement: what the names are now                | one round trip
 *      guard    the ledger's place, the namespace's generation, the time /
 *      decide   here, swap after swap, on what was found and what the swaps before have made of it
 *   2  insert   names that were not there   \  another
 *      update   rows that were locked       /
 *   3  COMMIT
 *
 * - `find` is a statement of its own because of the snapshot: one that waits for a lock goes on to
 *   see rows that were committed meanwhile as they were before, or not at all.
 * - A row that `find` sees and `lock` did not was inserted in between: it is not locked, and may
 *   change before it is written. Then nothing is decided, and the transaction begins anew.
 * - A name that is not there cannot be locked. It is inserted, in the same order, after all locks
 *   are held; if somebody else was faster, nothing of the transaction is kept, and it begins anew.
 *   Whoever inserts waits only for others who insert, and those hold no lock that a third one could
 *   be waiting for before it comes to insert: there is no circle.
 * - A swap may rest on a name that it does not write being absent. For the length of the
 * transaction such a name is taken by a row without a state, which is deleted before the commit:
 * otherwise somebody could write it between `find` and COMMIT, and the condition would not hold at
 * the moment at which the swap happens.
 * - Swaps that are all refused need no commit.
 */
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "base/text.h"
#include "coordinator/coordinator_postgres.h"

#define NAMES    "unnest($2::smallint[], $3::bytea[])"
#define THIS_ROW "l.space = $1 AND l.kind = k.kind AND l.digest = k.digest"

static const char lock_sql[] =
    "SELECT 1 FROM " NAMES " AS k(kind, digest) CROSS JOIN LATERAL (SELECT 1 FROM onerow.ledger l "
    "WHERE " THIS_ROW " FOR UPDATE) locked";
static const char find_sql[] =
    "SELECT k.nr, l.revision, l.state, l.since FROM " NAMES " WITH ORDINALITY AS k(kind, digest, "
    "nr) JOIN onerow.ledger l ON " THIS_ROW;
static const char insert_sql[] =
    "INSERT INTO onerow.ledger(space, kind, digest, name, revision, state, since, body) SELECT $1, "
    "k.* FROM unnest($2::smallint[], $3::bytea[], $4::bytea[], $5::bigint[], $6::smallint[], "
    "$7::bigint[], $8::bytea[]) AS k ON CONFLICT (space, kind, digest) DO NOTHING";
static const char update_sql[] =
    "UPDATE onerow.ledger l SET revision = k.revision, state = k.state, since = k.since, body = "
    "k.body FROM unnest($2::smallint[], $3::bytea[], $4::bytea[], $5::bigint[], $6::smallint[], "
    "$7::bigint[], $8::bytea[]) AS k(kind, digest, name, revision, state, since, body) "
    "WHERE " THIS_ROW;
static const char delete_sql[] = "DELETE FROM onerow.ledger l USING " NAMES
                                 " AS k(kind, digest) WHERE " THIS_ROW " AND l.state = 0";

/* A name of the call: what was found, and what the swaps so far have made of it. */
struct entry {
    enum onerow_ledger_kind kind;
    unsigned char digest[OR_SHA256_LEN];
    struct onerow_span name;
    bool there;   /* a row was found */
    bool written; /* a swap changes it */
    bool needed;  /* a swap that happens rests on it */
    uint64_t revision;
    uint8_t state;
    uint64_t since_ms;
    struct onerow_span body;
};

struct swap_call {
    uint64_t space;
    struct onerow_ledger_swap *swaps;
    size_t n;
    uint64_t *now_ms;
    struct entry *entries; /* sorted, each name once; owned */
    size_t n_entries;
    char number[8]; /* the namespace, as a parameter */
};

/* ---- names ----------------------------------------------------------------------------------- */

static int compare_entries(const void *a, const void *b)
{
    const struct entry *left = a;
    const struct entry *right = b;
    if (left->kind != right->kind) {
        return left->kind < right->kind ? -1 : 1;
    }
    return memcmp(left->digest, right->digest, sizeof left->digest);
}

static struct entry *find_entry(const struct swap_call *call,
                                const struct onerow_ledger_change *change)
{
    struct entry wanted = {.kind = change->kind};
    or_remote_digest(change->name, wanted.digest);
    return bsearch(&wanted, call->entries, call->n_entries, sizeof wanted, compare_entries);
}

static void keep_each_once(struct swap_call *call)
{
    size_t kept = 0;
    for (size_t i = 0; i < call->n_entries; i++) {
        if (i == 0 || compare_entries(&call->entries[kept - 1], &call->entries[i]) != 0) {
            call->entries[kept++] = call->entries[i];
        }
    }
    call->n_entries = kept;
}

/* False: out of memory. */
static bool collect_names(struct swap_call *call)
{
    call->entries = calloc(call->n * ONEROW_LEDGER_CHANGES + 1, sizeof *call->entries);
    for (size_t s = 0; call->entries && s < call->n; s++) {
        for (size_t i = 0; i < call->swaps[s].n; i++) {
            const struct onerow_ledger_change *change = &call->swaps[s].changes[i];
            struct entry *entry = &call->entries[call->n_entries++];
            entry->kind = change->kind;
            entry->name = change->name;
            or_remote_digest(change->name, entry->digest);
        }
    }
    if (!call->entries) {
        return false;
    }
    qsort(call->entries, call->n_entries, sizeof *call->entries, compare_entries);
    keep_each_once(call);
    return true;
}

/* ---- arrays ---------------------------------------------------------------------------------- */

/* Columns of entries as arrays, the parameters of a statement. */
enum column { KIND, DIGEST, NAME, REVISION, STATE, SINCE, BODY, COLUMNS };

struct table {
    struct or_buffer columns[COLUMNS];
    struct or_link_param params[COLUMNS + 1];
    uint64_t *numbers;         /* room for one column */
    struct onerow_span *spans; /* likewise */
    size_t rows;
};

static void table_finish(struct table *table)
{
    for (size_t i = 0; i < COLUMNS; i++) {
        or_buffer_finish(&table->columns[i]);
    }
    free(table->numbers);
    free(table->spans);
}

static uint64_t number_of(const struct entry *entry, enum column column)
{
    switch (column) {
    case KIND: return entry->kind;
    case REVISION: return entry->revision;
    case STATE: return entry->state;
    default: return entry->since_ms;
    }
}

static struct onerow_span span_of(const struct entry *entry, enum column column)
{
    switch (column) {
    case DIGEST: return (struct onerow_span){(const char *)entry->digest, sizeof entry->digest};
    case NAME: return entry->name;
    default: return entry->body;
    }
}

typedef bool chooses(const struct entry *entry);

static void fill_column(struct table *table, const struct swap_call *call, chooses *chosen,
                        enum column column)
{
    static const Oid types[COLUMNS] = {
        [KIND] = OR_LINK_INT2S_OID,  [DIGEST] = OR_LINK_BYTEAS_OID,  [NAME] = OR_LINK_BYTEAS_OID,
        [STATE] = OR_LINK_INT2S_OID, [REVISION] = OR_LINK_INT8S_OID, [SINCE] = OR_LINK_INT8S_OID,
        [BODY] = OR_LINK_BYTEAS_OID};
    struct or_buffer *out = &table->columns[column];
    size_t n = 0;
    for (size_t i = 0; i < call->n_entries; i++) {
        if (chosen(&call->entries[i])) {
            table->numbers[n] = number_of(&call->entries[i], column);
            table->spans[n++] = span_of(&call->entries[i], column);
        }
    }
    if (types[column] == OR_LINK_BYTEAS_OID) {
        or_array_bytea(out, table->spans, n);
    } else if (types[column] == OR_LINK_INT8S_OID) {
        or_array_int8(out, table->numbers, n);
    } else {
        or_array_int2(out, table->numbers, n);
    }
    table->rows = n;
    table->params[column + 1] = (struct or_link_param){out->data, types[column], (int)out->len};
}

/* The first n_columns columns of the chosen entries. False: out of memory. */
static bool table_fill(struct table *table, const struct swap_call *call, chooses *chosen,
                       unsigned n_columns)
{
    bool filled = true;
    *table = (struct table){.numbers = calloc(call->n_entries + 1, sizeof *table->numbers),
                            .spans = calloc(call->n_entries + 1, sizeof *table->spans),
                            .params = {{call->number, OR_LINK_INT8_OID, sizeof call->number}}};
    for (unsigned i = 0; i < COLUMNS; i++) {
        or_buffer_init(&table->columns[i]);
    }
    if (!table->numbers || !table->spans) {
        return false;
    }
    for (unsigned i = 0; i < n_columns; i++) {
        fill_column(table, call, chosen, (enum column)i);
        filled &= !table->columns[i].failed;
    }
    return filled;
}

/* ---- finding and deciding -------------------------------------------------------------------- */

static bool is_any(const struct entry *entry)
{
    (void)entry;
    return true;
}

static void note_found(struct swap_call *call, const PGresult *result)
{
    for (size_t i = 0; i < call->n_entries; i++) {
        struct entry *entry = &call->entries[i];
        *entry = (struct entry){.kind = entry->kind, .name = entry->name};
        or_remote_digest(entry->name, entry->digest);
    }
    for (int row = 0; row < PQntuples(result); row++) {
        struct entry *entry = &call->entries[or_result_int8(result, row, 0) - 1];
        entry->there = true;
        entry->revision = or_result_int8(result, row, 1);
        entry->state = (uint8_t)or_result_int2(result, row, 2);
        entry->since_ms = or_result_int8(result, row, 3);
        or_ledger_note_stamp(call->now_ms, entry->since_ms);
    }
}

static void change_entry(struct entry *entry, const struct onerow_ledger_change *change,
                         uint64_t now_ms)
{
    entry->needed = true;
    if (change->state) {
        entry->written = true;
        entry->revision++;
        entry->state = change->state;
        entry->since_ms = or_ledger_stamp(change, entry->since_ms, now_ms);
        entry->body = change->body;
    }
}

static void decide_one(const struct swap_call *call, struct onerow_ledger_swap *swap)
{
    struct entry *named[ONEROW_LEDGER_CHANGES];
    swap->done = true;
    for (size_t i = 0; i < swap->n; i++) {
        named[i] = find_entry(call, &swap->changes[i]);
        swap->done &= or_ledger_holds(&swap->changes[i], named[i]->revision, named[i]->state);
    }
    for (size_t i = 0; swap->done && i < swap->n; i++) {
        change_entry(named[i], &swap->changes[i], *call->now_ms);
    }
}

/* Whether any swap happens. */
static bool decide(struct swap_call *call)
{
    bool any = false;
    for (size_t i = 0; i < call->n; i++) {
        decide_one(call, &call->swaps[i]);
        any |= call->swaps[i].done;
    }
    return any;
}

static enum onerow_status begin(struct or_remote *remote, struct swap_call *call,
                                const struct table *names, struct onerow_error *error)
{
    struct or_guard_room room;
    struct or_link_statement statements[] = {
        {.sql = lock_sql, .params = names->params, .n_params = 1 + DIGEST + 1},
        {.sql = find_sql, .params = names->params, .n_params = 1 + DIGEST + 1},
        or_remote_guard_sql(remote, call->space, &room)};
    enum onerow_status status = or_link_begin(&remote->link, statements, 3, error);
    if (status == ONEROW_OK && PQntuples(statements[2].result) != 1) {
        status = or_fail(error, ONEROW_CORRUPT, "%s: onerow.ledger_meta has lost its row",
                         remote->link.shown);
    }
    if (status == ONEROW_OK) {
        struct or_remote_guard guard = or_remote_guard_of(statements[2].result);
        *call->now_ms = guard.now_ms;
        status = or_remote_check(remote, call->space, &guard, error);
    }
    if (status == ONEROW_OK && PQntuples(statements[0].result) != PQntuples(statements[1].result)) {
        status = or_fail(error, ONEROW_RETRY, "%s: others write the same keys all the time",
                         remote->link.shown);
    }
    if (status == ONEROW_OK) {
        note_found(call, statements[1].result);
    }
    or_link_clear(statements, 3);
    return status;
}

/* ---- writing --------------------------------------------------------------------------------- */

static bool is_new(const struct entry *entry)
{
    return !entry->there && entry->needed;
}

static bool is_changed(const struct entry *entry)
{
    return entry->there && entry->written;
}

static bool is_placeholder(const struct entry *entry)
{
    return !entry->there && entry->needed && !entry->written;
}

/* Runs a statement over the chosen entries. RETRY: it met another number of rows, because somebody
 * else has inserted a name. */
static enum onerow_status write_chosen(struct or_remote *remote, const struct swap_call *call,
                                       const char *sql, chooses *chosen, unsigned columns,
                                       struct onerow_error *error)
{
    struct table table;
    enum onerow_status status = ONEROW_OK;
    if (!table_fill(&table, call, chosen, columns)) {
        status = or_fail(error, ONEROW_NOMEM, "out of memory");
    } else if (table.rows) {
        struct or_link_statement write = {
            .sql = sql, .params = table.params, .n_params = columns + 1};
        status = or_link_run(&remote->link, &write, 1, error);
        if (status == ONEROW_OK && strtoull(PQcmdTuples(write.result), NULL, 10) != table.rows) {
            status = or_fail(error, ONEROW_RETRY, "%s: others write the same keys all the time",
                             remote->link.shown);
        }
        or_link_clear(&write, 1);
    }
    table_finish(&table);
    return status;
}

static enum onerow_status write_all(struct or_remote *remote, const struct swap_call *call,
                                    struct onerow_error *error)
{
    enum onerow_status status = write_chosen(remote, call, insert_sql, is_new, COLUMNS, error);
    if (status == ONEROW_OK) {
        status = write_chosen(remote, call, update_sql, is_changed, COLUMNS, error);
    }
    if (status == ONEROW_OK) {
        status = write_chosen(remote, call, delete_sql, is_placeholder, DIGEST + 1, error);
    }
    return status;
}

static enum onerow_status try_swap(struct or_remote *remote, void *context,
                                   struct onerow_error *error)
{
    struct swap_call *call = context;
    struct table names;
    enum onerow_status status = table_fill(&names, call, is_any, DIGEST + 1)
                                    ? begin(remote, call, &names, error)
                                    : or_fail(error, ONEROW_NOMEM, "out of memory");
    table_finish(&names);
    if (status != ONEROW_OK) {
        return status;
    }
    if (!decide(call)) {
        or_link_rollback(&remote->link);
        return ONEROW_OK;
    }
    status = write_all(remote, call, error);
    return status == ONEROW_OK ? or_link_commit(&remote->link, error) : status;
}

enum onerow_status or_remote_swap(struct onerow_coordinator *base, uint64_t number,
                                  struct onerow_ledger_swap *swaps, size_t n, uint64_t *now_ms,
                                  struct onerow_error *error)
{
    struct swap_call call = {.space = number, .swaps = swaps, .n = n, .now_ms = now_ms};
    or_ledger_check(swaps, n);
    or_int8_encode(number, call.number);
    enum onerow_status status = collect_names(&call)
                                    ? or_remote_do(or_remote_of(base), try_swap, &call, error)
                                    : or_fail(error, ONEROW_NOMEM, "out of memory");
    if (status != ONEROW_OK) {
        or_ledger_undo(swaps, n);
    }
    free(call.entries);
    return status;
}
