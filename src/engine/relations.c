/* SPDX-License-Identifier: Apache-2.0
 *
 * Before records are written, the keys that they relate to become ids of pages:
 *
 *     values ──> keys      of all records of the batch, each key once (relation_value.c)
 *     keys ────> pages     known from a moment ago (known.c); or else all together, by the driver
 *                          of pages: a record of nothing but the key, under the policy keep
 *     pages ───> records   a list of ids in place of each value
 *
 * So there is no second way to find a page: what the ledger knows costs one read of it and no
 * request, what it does not know is looked for by hundreds, and made under the protocol when it is
 * not there; a failed look-up makes nothing. A key that has no page in the end takes its record
 * with it: a record is never written with a relation missing. Nothing of it was written, so it is
 * rejected, whatever is known of the other page.
 *
 * A record that would be refused all the same makes no pages for others. And where the last record
 * of a key was rejected, no page is made for the key alone: its record waits in the dead letters,
 * and its replay would find a page that it does not know.
 *
 * What is compared later are ids: a key that got another page makes its record a different one.
 */
#include "engine/relations.h"

#include <string.h>

#include "base/status.h"
#include "base/text.h"
#include "engine/driver_pages.h"
#include "engine/known.h"
#include "engine/relation_value.h"

#define HASH_NONFATAL_OOM            1
#define uthash_nonfatal_oom(element) ((element)->lost = true)
#include <uthash.h>

#define SHOWN_MAX 200U /* bytes of a key in a reason */

/* A key that some record relates to. */
struct wish {
    UT_hash_handle hh;
    bool lost;
    struct or_entry entry; /* what is put for it; its outcome and id are the answer */
};

/* What one value of one record names. */
struct named {
    struct wish **wishes;
    size_t n;
};

struct resolving {
    struct or_table *table;
    struct or_entry **entries;
    size_t n;
    const struct or_drive_options *options;
    struct or_arena *arena;
    struct onerow_record *records;
    struct named *named; /* of entry i and relation r: [i * n_relations + r] */
    struct wish *wishes; /* a hash: by table and key */
    struct onerow_error *error;
};

static enum onerow_status no_memory(struct onerow_error *error)
{
    return or_fail(error, ONEROW_NOMEM, "out of memory");
}

/* ---- the configuration ---------------------------------------------------------------------- */

enum onerow_status or_relation_check(const struct or_table *table,
                                     const struct or_config_relation *config,
                                     struct or_table *target, struct or_relation *relation,
                                     struct onerow_error *error)
{
    int at = or_table_column(table, or_span(config->column));
    if (at < 0) {
        return or_fail(error, ONEROW_CONFIG, "%s: there is no column \"%s\"", config->where,
                       config->column);
    }
    const struct onerow_column *column = &table->table->columns[at];
    if (!column->related) {
        return or_fail(error, ONEROW_CONFIG, "%s: column \"%s\" is %s, and relates to no pages",
                       config->where, column->name, column->declared);
    }
    const struct onerow_store_type *type = target->store->type;
    bool pages = target->table && (target->table->guarantees & ONEROW_PAGES);
    const char *place = pages ? type->pages->target(target->table) : "a store without pages";
    if (!pages || type != table->store->type || strcmp(place, column->related) != 0) {
        return or_fail(error, ONEROW_CONFIG,
                       "%s: column \"%s\" relates to the pages of %s, and table \"%s\" is %s\n  "
                       "name the table whose location that is",
                       config->where, column->name, *column->related ? column->related : "?",
                       config->name, place);
    }
    *relation = (struct or_relation){.column = (uint16_t)at, .target = target};
    return ONEROW_OK;
}

static const struct or_relation *relation_of(const struct or_table *table, uint16_t column)
{
    for (size_t r = 0; r < table->n_relations; r++) {
        if (table->relations[r].column == column) {
            return &table->relations[r];
        }
    }
    return NULL;
}

bool or_relations_leave_out(const struct or_table *table, const struct onerow_record *record,
                            struct or_arena *arena, struct onerow_record *rest)
{
    struct onerow_value *values = or_arena_alloc(arena, (record->n_values + 1U) * sizeof *values);
    *rest = (struct onerow_record){.values = values, .key = record->key};
    for (size_t i = 0; values && i < record->n_values; i++) {
        if (!relation_of(table, record->values[i].column)) {
            values[rest->n_values++] = record->values[i];
        }
    }
    return values != NULL;
}

/* ---- values to keys ------------------------------------------------------------------------- */

/* The wish for this key: a new one, or the one that there is. NULL: no memory. */
static struct wish *wish_for(struct resolving *all, struct or_table *target,
                             const struct or_related_key *key)
{
    struct wish *wish = NULL;
    size_t len = sizeof(struct or_table *) + key->key.len;
    char *name = or_arena_bytes(all->arena, len);
    if (!name) {
        return NULL;
    }
    memcpy(name, &target, sizeof(struct or_table *));
    memcpy(name + sizeof(struct or_table *), key->key.data, key->key.len);
    HASH_FIND(hh, all->wishes, name, len, wish);
    if (wish) {
        return wish;
    }
    wish = or_arena_alloc(all->arena, sizeof *wish);
    if (!wish) {
        return NULL;
    }
    *wish = (struct wish){.entry = {.record = {.values = key->parts,
                                               .n_values = (uint16_t)target->spec.n_key,
                                               .key = key->key},
                                    .table = target,
                                    .has_key = true}};
    HASH_ADD_KEYPTR(hh, all->wishes, name, len, wish);
    return wish->lost ? NULL : wish;
}

/* What the value names. REJECTED: *reason says what is wrong with it. */
static enum onerow_status name_keys(struct resolving *all, const struct or_relation *relation,
                                    const struct onerow_value *value, struct named *named,
                                    const char **reason)
{
    struct or_related_key *keys = NULL;
    size_t n = 0;
    if (!or_relation_keys(relation->target, value, all->arena, &keys, &n, reason)) {
        return *reason ? ONEROW_REJECTED : no_memory(all->error);
    }
    named->wishes = or_arena_alloc(all->arena, (n + 1) * sizeof(struct wish *));
    for (size_t i = 0; named->wishes && i < n; i++) {
        named->wishes[i] = wish_for(all, relation->target, &keys[i]);
        named->n += named->wishes[i] != NULL;
    }
    return named->wishes && named->n == n ? ONEROW_OK : no_memory(all->error);
}

static enum onerow_status refuse(struct resolving *all, struct or_entry *entry, uint16_t column,
                                 const char *reason)
{
    const char *text = or_arena_printf(all->arena, "column \"%s\" %s",
                                       all->table->table->columns[column].name, reason);
    if (text) {
        or_entry_refuse(entry, text);
    }
    return text ? ONEROW_OK : no_memory(all->error);
}

static enum onerow_status read_entry(struct resolving *all, size_t at)
{
    struct or_table *table = all->table;
    struct or_entry *entry = all->entries[at];
    enum onerow_status status = ONEROW_OK;
    for (size_t i = table->spec.n_key; status == ONEROW_OK && i < entry->record.n_values; i++) {
        const struct onerow_value *value = &entry->record.values[i];
        const struct or_relation *relation = relation_of(table, value->column);
        const char *reason = NULL;
        if (relation) {
            size_t r = (size_t)(relation - table->relations);
            status =
                name_keys(all, relation, value, &all->named[at * table->n_relations + r], &reason);
        }
        if (status == ONEROW_REJECTED) {
            return refuse(all, entry, value->column, reason);
        }
    }
    return status;
}

/* ---- keys to pages -------------------------------------------------------------------------- */

static bool is_there(const struct wish *wish)
{
    const struct or_entry *entry = &wish->entry;
    return entry->id.data &&
           (entry->outcome == ONEROW_CREATED || entry->outcome == ONEROW_UPDATED ||
            entry->outcome == ONEROW_UNCHANGED);
}

/* Wishes are put with a policy and a right of their own. Those for which nothing may be made are
 * tried once: what their own records could not find out in all their time is not waited for again.
 */
static enum onerow_status ensure(struct resolving *all, struct or_table *target,
                                 struct or_entry **entries, size_t n, bool may_create)
{
    static const struct or_retry_limits ONCE = {.total_ms = 1};
    struct or_attempt_options *attempt = &target->pages->attempt;
    const struct or_attempt_options usual = *attempt;
    struct or_drive_options options = *all->options;
    options.guard = NULL;
    attempt->policy = ONEROW_POLICY_KEEP;
    attempt->may_create &= may_create;
    attempt->retry = may_create ? usual.retry : &ONCE;
    enum onerow_status status =
        n ? or_pages_ensure(target->pages, target, entries, n, &options, all->arena, all->error)
          : ONEROW_OK;
    *attempt = usual;
    bool goes_on = status == ONEROW_INTERRUPTED || !or_drive_failed(status);
    return goes_on ? ONEROW_OK : status;
}

struct lists {
    struct or_entry **wanted;   /* may be made */
    struct or_entry **rejected; /* may not: the key's own record was rejected */
    size_t n_wanted, n_rejected;
};

/* False: out of memory. */
static bool sort_out(struct resolving *all, const struct or_table *target, struct lists *lists)
{
    size_t room = HASH_COUNT(all->wishes) + 1U;
    bool short_of = false;
    lists->wanted = or_arena_alloc(all->arena, room * sizeof(struct or_entry *));
    lists->rejected = or_arena_alloc(all->arena, room * sizeof(struct or_entry *));
    for (struct wish *wish = all->wishes; wish && lists->wanted && lists->rejected;
         wish = wish->hh.next) {
        struct or_entry *entry = &wish->entry;
        if (entry->table != target || entry->outcome != ONEROW_PENDING) {
            continue;
        }
        struct or_known *known = target->known;
        if (known) {
            entry->id = or_known_page(known, target, entry->record.key, all->arena, &short_of);
        }
        if (entry->id.data) {
            entry->outcome = ONEROW_UNCHANGED;
        } else if (known && or_known_rejected(known, target, entry->record.key)) {
            lists->rejected[lists->n_rejected++] = entry;
        } else {
            lists->wanted[lists->n_wanted++] = entry;
        }
    }
    return lists->wanted && lists->rejected && !short_of;
}

/* What kept a page from being made for it was not the ledger. */
static void tell_why(struct or_entry *rejected)
{
    const char *reason = rejected->reason ? rejected->reason : "";
    if (strcmp(reason, or_reason_text(OR_REASON_SUSPECT)) == 0) {
        rejected->reason = "its own record was rejected";
    }
}

static enum onerow_status find_pages(struct resolving *all, struct or_table *target)
{
    struct lists lists = {0};
    if (!sort_out(all, target, &lists)) {
        return no_memory(all->error);
    }
    enum onerow_status status = ensure(all, target, lists.wanted, lists.n_wanted, true);
    if (status == ONEROW_OK) {
        status = ensure(all, target, lists.rejected, lists.n_rejected, false);
    }
    for (size_t i = 0; i < lists.n_wanted; i++) {
        if (lists.wanted[i]->outcome != ONEROW_REFUSED) { /* that was no record of its own */
            or_known_note(target->known, lists.wanted[i]);
        }
        if (lists.wanted[i]->outcome == ONEROW_CREATED) {
            or_known_note_made(target->known, lists.wanted[i]);
        }
    }
    for (size_t i = 0; i < lists.n_rejected; i++) {
        tell_why(lists.rejected[i]);
    }
    return status;
}

/* ---- pages to records ----------------------------------------------------------------------- */

static enum onerow_status refuse_missing(struct resolving *all, struct or_entry *entry,
                                         uint16_t column, const struct wish *wish)
{
    const struct or_table *target = wish->entry.table;
    struct or_buffer key;
    or_buffer_init(&key);
    or_table_key_json(target, wish->entry.record.values, &key);
    struct onerow_span shown = or_span_cut(or_buffer_view(&key), SHOWN_MAX);
    const char *why = wish->entry.reason ? wish->entry.reason : "there is no page";
    const char *reason = or_arena_printf(all->arena, "relates to %s %.*s: %s", target->spec.name,
                                         (int)shown.len, shown.data ? shown.data : "", why);
    or_buffer_finish(&key);
    return reason ? refuse(all, entry, column, reason) : no_memory(all->error);
}

/* The first wish that did not come true; NULL: all did. */
static const struct wish *missing(const struct named *named)
{
    for (size_t i = 0; i < named->n; i++) {
        if (!is_there(named->wishes[i])) {
            return named->wishes[i];
        }
    }
    return NULL;
}

static enum onerow_status list_ids(struct resolving *all, const struct named *named,
                                   struct onerow_value *value)
{
    struct or_buffer json;
    or_buffer_init(&json);
    for (size_t i = 0; i < named->n; i++) {
        or_buffer_char(&json, i ? ',' : '[');
        or_buffer_json(&json, named->wishes[i]->entry.id);
    }
    or_buffer_text(&json, named->n ? "]" : "[]");
    struct onerow_span kept =
        json.failed ? (struct onerow_span){0} : or_arena_copy(all->arena, or_buffer_view(&json));
    or_buffer_finish(&json);
    value->data = kept.data;
    value->len = (uint32_t)kept.len;
    value->kind = ONEROW_JSON;
    return kept.data ? ONEROW_OK : no_memory(all->error);
}

/* Values: a copy of the entry's. Its relations become lists of ids, or the entry is refused, or
 * left PENDING with *whole false. */
static enum onerow_status relate_values(struct resolving *all, size_t at,
                                        struct onerow_value *values, bool *whole)
{
    struct or_table *table = all->table;
    struct or_entry *entry = all->entries[at];
    for (size_t i = table->spec.n_key; i < entry->record.n_values; i++) {
        const struct or_relation *relation = relation_of(table, values[i].column);
        if (!relation || values[i].kind == ONEROW_NULL) {
            continue;
        }
        size_t r = (size_t)(relation - table->relations);
        const struct named *named = &all->named[at * table->n_relations + r];
        const struct wish *gone = missing(named);
        if (gone) {
            *whole = false;
            return gone->entry.outcome == ONEROW_PENDING
                       ? ONEROW_OK
                       : refuse_missing(all, entry, values[i].column, gone);
        }
        enum onerow_status status = list_ids(all, named, &values[i]);
        if (status != ONEROW_OK) {
            return status;
        }
    }
    return ONEROW_OK;
}

static enum onerow_status make_record(struct resolving *all, size_t at)
{
    const struct onerow_record *given = &all->entries[at]->record;
    size_t size = given->n_values * sizeof(struct onerow_value);
    struct onerow_value *values = or_arena_alloc(all->arena, size + 1);
    bool whole = true;
    if (!values) {
        return no_memory(all->error);
    }
    memcpy(values, given->values, size);
    enum onerow_status status = relate_values(all, at, values, &whole);
    if (status == ONEROW_OK && whole) {
        all->records[at] = *given;
        all->records[at].values = values;
    }
    return status;
}

/* ---- all of it ------------------------------------------------------------------------------ */

typedef enum onerow_status visit_entry(struct resolving *all, size_t at);

static enum onerow_status for_each(struct resolving *all, visit_entry *visit)
{
    enum onerow_status status = ONEROW_OK;
    for (size_t i = 0; i < all->n && status == ONEROW_OK; i++) {
        if (all->entries[i]->outcome == ONEROW_PENDING) {
            status = visit(all, i);
        }
    }
    return status;
}

/* A target of several relations is asked once: its wishes are no longer PENDING then. */
static enum onerow_status resolve(struct resolving *all)
{
    enum onerow_status status = for_each(all, read_entry);
    for (size_t r = 0; status == ONEROW_OK && r < all->table->n_relations; r++) {
        status = find_pages(all, all->table->relations[r].target);
    }
    return status == ONEROW_OK ? for_each(all, make_record) : status;
}

enum onerow_status or_relations_resolve(struct or_table *table, struct or_entry **entries, size_t n,
                                        const struct or_drive_options *options,
                                        struct or_arena *arena, struct onerow_record *records,
                                        struct onerow_error *error)
{
    struct resolving all = {.table = table,
                            .entries = entries,
                            .n = n,
                            .options = options,
                            .arena = arena,
                            .records = records,
                            .error = error};
    size_t size = n * table->n_relations * sizeof *all.named;
    all.named = or_arena_alloc(arena, size);
    if (!all.named) {
        return no_memory(error);
    }
    memset(all.named, 0, size);
    memset(records, 0, n * sizeof *records);
    enum onerow_status status = resolve(&all);
    HASH_CLEAR(hh, all.wishes); /* the wishes themselves lie in the arena */
    return status;
}
