/* SPDX-License-Identifier: Apache-2.0
 *
 * A ledger in this process's memory (and leases: coordinator_memory_lease.c): for tests, for trying
 * things out, and as the pattern for a new coordinator (docs/ADD_A_COORDINATOR.md).
 *
 * "memory:NAME" is one ledger for everybody in the process who opens that name, until the process
 * ends: a ledger that forgot when the last one closes it would be one that rolls back. "memory:" is
 * the opener's own. A mutex makes each call one step.
 *
 * A swap first makes everything that it may need: copies of the bodies, and empty records (state 0)
 * for names that were never written. Only then it looks at conditions and changes records, which
 * can no longer fail, so that out of memory means that nothing happened.
 */
#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/status.h"
#include "base/text.h"
#include "coordinator/coordinator_memory.h"
#include "coordinator/ledger_rules.h"

/* uthash ends the process when it finds no memory; this says it to us instead. */
#define HASH_NONFATAL_OOM            1
#define uthash_nonfatal_oom(element) ((element)->lost = true)
#include <uthash.h>

#define SCHEME     "memory:"
#define PAGE       256U                      /* records that list copies at a time, and */
#define PAGE_BYTES ((size_t)4 * 1024 * 1024) /* where it stops before */

struct record {
    UT_hash_handle hh;
    uint64_t serial; /* rises in the order of making, which is that of the hash's list */
    uint64_t revision;
    uint64_t since_ms;
    char *body; /* owned; NULL: empty */
    size_t body_len;
    uint8_t state;
    bool lost;    /* uthash had no memory for it */
    size_t len;   /* of name */
    char named[]; /* the kind as one byte, then the name */
};

struct space {
    struct space *next;
    uint64_t number;
    char *name; /* owned */
    size_t name_len;
    char *definition; /* owned */
    size_t definition_len;
    struct or_ledger_doubt doubt;
    struct record *records;
};

struct ledger {
    struct ledger *next; /* in `shared` */
    char *name;          /* owned; NULL: private */
    pthread_mutex_t lock;
    char id[OR_LEDGER_ID];
    struct or_memory_leases *leases; /* owned; with a lock of their own */
    struct space *spaces;
    uint64_t last_space;
    uint64_t last_serial;
    uint64_t next_number;
};

struct memory_coordinator {
    struct onerow_coordinator base;
    struct ledger *ledger; /* owned when it is private */
    struct or_ledger_entries entries;
};

extern const struct onerow_coordinator_type or_coordinator_memory;

static pthread_mutex_t shared_lock = PTHREAD_MUTEX_INITIALIZER;
static struct ledger *shared;

static struct memory_coordinator *memory_of(struct onerow_coordinator *base)
{
    return (struct memory_coordinator *)base;
}

static enum onerow_status no_memory(struct onerow_error *error)
{
    return or_fail(error, ONEROW_NOMEM, "out of memory");
}

static char *copy(struct onerow_span bytes)
{
    char *made = malloc(bytes.len + 1);
    if (made && bytes.len) {
        memcpy(made, bytes.data, bytes.len);
    }
    return made;
}

/* ---- records --------------------------------------------------------------------------------- */

static size_t named_len(size_t name_len)
{
    return name_len + 1;
}

static struct record *find_record(const struct space *space, enum onerow_ledger_kind kind,
                                  struct onerow_span name)
{
    char named[ONEROW_LEDGER_NAME_MAX + 1];
    struct record *found = NULL;
    named[0] = (char)kind;
    if (name.len) {
        memcpy(named + 1, name.data, name.len);
    }
    HASH_FIND(hh, space->records, named, named_len(name.len), found);
    return found;
}

static void drop_record(struct space *space, struct record *record)
{
    HASH_DEL(space->records, record);
    free(record->body);
    free(record);
}

/* The record with this name, made with state 0 when there is none; NULL: out of memory. */
static struct record *want_record(struct ledger *ledger, struct space *space,
                                  enum onerow_ledger_kind kind, struct onerow_span name)
{
    struct record *record = find_record(space, kind, name);
    if (record) {
        return record;
    }
    record = calloc(1, sizeof *record + named_len(name.len));
    if (!record) {
        return NULL;
    }
    record->len = name.len;
    record->named[0] = (char)kind;
    if (name.len) {
        memcpy(record->named + 1, name.data, name.len);
    }
    HASH_ADD_KEYPTR(hh, space->records, record->named, named_len(name.len), record);
    if (record->lost) {
        free(record);
        return NULL;
    }
    record->serial = ++ledger->last_serial;
    return record;
}

/* ---- ledgers and opening --------------------------------------------------------------------- */

static void free_space(struct space *space)
{
    struct record *record = NULL;
    struct record *next = NULL;
    HASH_ITER(hh, space->records, record, next)
    {
        drop_record(space, record); /* NOLINT(clang-analyzer-unix.Malloc): follows no list */
    }
    free(space->name);
    free(space->definition);
    free(space);
}

static void free_ledger(struct ledger *ledger)
{
    while (ledger->spaces) {
        struct space *space = ledger->spaces;
        ledger->spaces = space->next;
        free_space(space);
    }
    or_memory_leases_destroy(ledger->leases);
    pthread_mutex_destroy(&ledger->lock);
    free(ledger->name);
    free(ledger);
}

static struct ledger *make_ledger(const char *name)
{
    struct ledger *ledger = calloc(1, sizeof *ledger);
    if (!ledger) {
        return NULL;
    }
    pthread_mutex_init(&ledger->lock, NULL);
    ledger->next_number = 1;
    ledger->name = *name ? strdup(name) : NULL;
    ledger->leases = or_memory_leases_create();
    if ((*name && !ledger->name) || !ledger->leases || !or_ledger_make_id(ledger->id)) {
        free_ledger(ledger);
        return NULL;
    }
    return ledger;
}

static struct ledger *find_shared(const char *name)
{
    pthread_mutex_lock(&shared_lock);
    struct ledger *found = shared;
    while (found && strcmp(found->name, name) != 0) {
        found = found->next;
    }
    if (!found && (found = make_ledger(name))) {
        found->next = shared;
        shared = found;
    }
    pthread_mutex_unlock(&shared_lock);
    return found;
}

static enum onerow_status memory_open(const struct onerow_coordinator_options *options,
                                      struct onerow_coordinator **out, struct onerow_error *error)
{
    const char *name = options->url + strlen(SCHEME);
    struct memory_coordinator *made = calloc(1, sizeof *made);
    struct ledger *ledger = *name ? find_shared(name) : make_ledger(name);
    *out = NULL;
    if (!made || !ledger) {
        free(made);
        if (ledger && !ledger->name) {
            free_ledger(ledger);
        }
        return no_memory(error);
    }
    made->base.type = &or_coordinator_memory;
    made->ledger = ledger;
    *out = &made->base;
    return ONEROW_OK;
}

static void memory_close(struct onerow_coordinator *base)
{
    if (!base) {
        return;
    }
    struct memory_coordinator *coordinator = memory_of(base);
    if (!coordinator->ledger->name) {
        free_ledger(coordinator->ledger);
    }
    or_ledger_entries_finish(&coordinator->entries);
    free(coordinator);
}

/* ---- namespaces ------------------------------------------------------------------------------ */

static struct space *space_numbered(const struct ledger *ledger, uint64_t number)
{
    struct space *space = ledger->spaces;
    while (space && space->number != number) {
        space = space->next;
    }
    return space;
}

static struct space *space_named(const struct ledger *ledger, struct onerow_span name)
{
    struct space *space = ledger->spaces;
    while (space && !or_span_equal((struct onerow_span){space->name, space->name_len}, name)) {
        space = space->next;
    }
    return space;
}

static struct space *add_space(struct ledger *ledger, struct onerow_span name,
                               struct onerow_span definition)
{
    struct space *space = calloc(1, sizeof *space);
    if (!space) {
        return NULL;
    }
    *space = (struct space){.number = ledger->last_space + 1,
                            .name = copy(name),
                            .name_len = name.len,
                            .definition = copy(definition),
                            .definition_len = definition.len};
    if (!space->name || !space->definition) {
        free_space(space);
        return NULL;
    }
    ledger->last_space++;
    space->next = ledger->spaces;
    ledger->spaces = space;
    return space;
}

static enum onerow_status tell_space(struct memory_coordinator *coordinator,
                                     const struct space *space, struct onerow_ledger_namespace *out,
                                     struct onerow_error *error)
{
    enum onerow_ledger_standing standing = or_ledger_standing(&space->doubt);
    *out = (struct onerow_ledger_namespace){
        .number = space->number,
        .standing = standing,
        .why = standing == ONEROW_LEDGER_SUSPECT
                   ? "the store shows a number that this ledger has never given out"
                   : NULL};
    memcpy(out->ledger_id, coordinator->ledger->id, sizeof out->ledger_id);
    return or_ledger_entered(&coordinator->entries, space->number,
                             or_ledger_generation(&space->doubt))
               ? ONEROW_OK
               : no_memory(error);
}

static enum onerow_status enter_locked(struct memory_coordinator *coordinator,
                                       struct onerow_span name, struct onerow_span definition,
                                       struct onerow_ledger_namespace *out,
                                       struct onerow_error *error)
{
    struct space *space = space_named(coordinator->ledger, name);
    if (!space) {
        space = add_space(coordinator->ledger, name, definition);
    }
    if (!space) {
        return no_memory(error);
    }
    struct onerow_span made = {space->definition, space->definition_len};
    return or_span_equal(made, definition)
               ? tell_space(coordinator, space, out, error)
               : or_ledger_refuse_definition(name, made, definition, error);
}

static enum onerow_status memory_enter(struct onerow_coordinator *base, struct onerow_span name,
                                       struct onerow_span definition,
                                       struct onerow_ledger_namespace *out,
                                       struct onerow_error *error)
{
    struct memory_coordinator *coordinator = memory_of(base);
    pthread_mutex_lock(&coordinator->ledger->lock);
    enum onerow_status status = enter_locked(coordinator, name, definition, out, error);
    pthread_mutex_unlock(&coordinator->ledger->lock);
    return status;
}

/* Locks the ledger for a call on a namespace; NULL (and nothing locked): it became SUSPECT. */
static struct space *lock_space(struct memory_coordinator *coordinator, uint64_t number,
                                struct onerow_error *error)
{
    uint64_t entered = or_ledger_generation_of(&coordinator->entries, number);
    pthread_mutex_lock(&coordinator->ledger->lock);
    struct space *space = space_numbered(coordinator->ledger, number);
    if (or_ledger_generation(&space->doubt) != entered) {
        pthread_mutex_unlock(&coordinator->ledger->lock);
        or_ledger_changed("memory", error);
        return NULL;
    }
    return space;
}

static void unlock(struct memory_coordinator *coordinator)
{
    pthread_mutex_unlock(&coordinator->ledger->lock);
}

/* ---- reading --------------------------------------------------------------------------------- */

static bool read_one(const struct space *space, struct onerow_ledger_record *out,
                     struct or_arena *arena)
{
    const struct record *record = find_record(space, out->kind, out->name);
    struct onerow_span body = {NULL, 0};
    if (record && record->body_len) {
        body = or_arena_copy(arena, (struct onerow_span){record->body, record->body_len});
        if (!body.data) {
            return false;
        }
    }
    *out = (struct onerow_ledger_record){.kind = out->kind,
                                         .name = out->name,
                                         .revision = record ? record->revision : 0,
                                         .state = record ? record->state : 0,
                                         .since_ms = record ? record->since_ms : 0,
                                         .body = body};
    return true;
}

static enum onerow_status memory_read(struct onerow_coordinator *base, uint64_t number,
                                      struct onerow_ledger_record *records, size_t n,
                                      uint64_t *now_ms, struct or_arena *arena,
                                      struct onerow_error *error)
{
    struct memory_coordinator *coordinator = memory_of(base);
    for (size_t i = 0; i < n; i++) {
        or_ledger_check_name(records[i].kind, records[i].name);
    }
    struct space *space = lock_space(coordinator, number, error);
    if (!space) {
        return ONEROW_VANISHED;
    }
    bool read = true;
    *now_ms = or_ledger_wall_ms();
    for (size_t i = 0; read && i < n; i++) {
        read = read_one(space, &records[i], arena);
        or_ledger_note_stamp(now_ms, records[i].since_ms);
    }
    unlock(coordinator);
    return read ? ONEROW_OK : no_memory(error);
}

/* ---- swaps ----------------------------------------------------------------------------------- */

/* One change of the call, with everything that it may need. */
struct planned {
    struct record *record;
    char *body; /* owned until it is the record's */
};

static bool plan_one(struct ledger *ledger, struct space *space,
                     const struct onerow_ledger_change *change, struct planned *planned)
{
    planned->record = want_record(ledger, space, change->kind, change->name);
    if (!planned->record) {
        return false;
    }
    planned->body = change->state && change->body.len ? copy(change->body) : NULL;
    return planned->body || !change->state || !change->body.len;
}

static void change_record(const struct onerow_ledger_change *change, struct planned *planned,
                          uint64_t *now_ms)
{
    struct record *record = planned->record;
    if (!change->state) {
        return;
    }
    free(record->body);
    record->body = planned->body;
    record->body_len = change->body.len;
    planned->body = NULL;
    record->revision++;
    record->state = change->state;
    record->since_ms = or_ledger_stamp(change, record->since_ms, *now_ms);
}

static void swap_one(struct onerow_ledger_swap *swap, struct planned *planned, uint64_t *now_ms)
{
    swap->done = true;
    for (size_t i = 0; i < swap->n; i++) {
        const struct record *record = planned[i].record;
        assert(record);
        or_ledger_note_stamp(now_ms, record->since_ms);
        swap->done &= or_ledger_holds(&swap->changes[i], record->revision, record->state);
    }
    for (size_t i = 0; swap->done && i < swap->n; i++) {
        change_record(&swap->changes[i], &planned[i], now_ms);
    }
}

/* Bodies that nobody took, and records that stayed unwritten. A record may be there twice. */
static void tidy(struct space *space, const struct onerow_ledger_swap *swaps, size_t n,
                 struct planned *planned)
{
    for (size_t s = 0; s < n; s++) {
        for (size_t i = 0; i < swaps[s].n; i++) {
            const struct onerow_ledger_change *change = &swaps[s].changes[i];
            struct record *record = find_record(space, change->kind, change->name);
            if (record && !record->state) {
                drop_record(space, record);
            }
            free(planned++->body);
        }
    }
}

static bool plan_all(struct ledger *ledger, struct space *space,
                     const struct onerow_ledger_swap *swaps, size_t n, struct planned *planned)
{
    for (size_t s = 0; s < n; s++) {
        for (size_t i = 0; i < swaps[s].n; i++) {
            if (!plan_one(ledger, space, &swaps[s].changes[i], planned++)) {
                return false;
            }
        }
    }
    return true;
}

static enum onerow_status swap_locked(struct ledger *ledger, struct space *space,
                                      struct onerow_ledger_swap *swaps, size_t n, uint64_t *now_ms,
                                      struct onerow_error *error)
{
    struct planned *all = calloc(n * ONEROW_LEDGER_CHANGES + 1, sizeof *all);
    bool planned = all && plan_all(ledger, space, swaps, n, all);
    size_t at = 0;
    *now_ms = or_ledger_wall_ms();
    for (size_t s = 0; planned && s < n; s++) {
        swap_one(&swaps[s], all + at, now_ms);
        at += swaps[s].n;
    }
    if (all) {
        tidy(space, swaps, n, all);
    }
    free(all);
    return planned ? ONEROW_OK : no_memory(error);
}

static enum onerow_status memory_swap(struct onerow_coordinator *base, uint64_t number,
                                      struct onerow_ledger_swap *swaps, size_t n, uint64_t *now_ms,
                                      struct onerow_error *error)
{
    struct memory_coordinator *coordinator = memory_of(base);
    or_ledger_check(swaps, n);
    or_ledger_undo(swaps, n);
    struct space *space = lock_space(coordinator, number, error);
    if (!space) {
        return ONEROW_VANISHED;
    }
    enum onerow_status status = swap_locked(coordinator->ledger, space, swaps, n, now_ms, error);
    unlock(coordinator);
    return status;
}

/* ---- listing and forgetting ------------------------------------------------------------------ */

struct wanted {
    enum onerow_ledger_kind kind;
    uint32_t states;
    uint64_t before_ms;
};

static bool is_wanted(const struct record *record, const struct wanted *wanted)
{
    return record->state && (enum onerow_ledger_kind)record->named[0] == wanted->kind &&
           (wanted->states >> record->state & 1U) && record->since_ms < wanted->before_ms;
}

static bool copy_record(const struct record *record, struct or_arena *arena,
                        struct onerow_ledger_record *out)
{
    struct onerow_span name = {record->named + 1, record->len};
    struct onerow_span body = {record->body, record->body_len};
    *out = (struct onerow_ledger_record){.kind = (enum onerow_ledger_kind)record->named[0],
                                         .name = or_arena_copy(arena, name),
                                         .revision = record->revision,
                                         .state = record->state,
                                         .since_ms = record->since_ms,
                                         .body = or_arena_copy(arena, body)};
    return out->name.data && out->body.data;
}

/* Copies the next records after *serial; how many. 0 without `read`: out of memory. */
static size_t copy_page(const struct space *space, const struct wanted *wanted, uint64_t *serial,
                        struct onerow_ledger_record page[PAGE], struct or_arena *arena, bool *read)
{
    size_t n = 0;
    *read = true;
    for (struct record *at = space->records; *read && at && n < PAGE && arena->used < PAGE_BYTES;
         at = at->hh.next) {
        if (at->serial > *serial && is_wanted(at, wanted)) {
            *read = copy_record(at, arena, &page[n++]);
            *serial = at->serial;
        }
    }
    return *read ? n : 0;
}

static enum onerow_status memory_list(struct onerow_coordinator *base, uint64_t number,
                                      enum onerow_ledger_kind kind, uint32_t states,
                                      uint64_t before_ms, onerow_visit_ledger *visit, void *context,
                                      struct onerow_error *error)
{
    struct memory_coordinator *coordinator = memory_of(base);
    struct wanted wanted = {kind, states, before_ms};
    struct onerow_ledger_record page[PAGE];
    struct or_arena arena;
    uint64_t serial = 0;
    bool read = true;
    enum onerow_status status = ONEROW_OK;
    or_arena_init(&arena);
    for (size_t n = 1; n;) {
        or_arena_reset(&arena);
        struct space *space = lock_space(coordinator, number, error);
        if (!space) {
            status = ONEROW_VANISHED;
            break;
        }
        n = copy_page(space, &wanted, &serial, page, &arena, &read);
        unlock(coordinator);
        for (size_t i = 0; i < n; i++) {
            n = visit(context, &page[i]) ? n : 0;
        }
    }
    or_arena_finish(&arena);
    return read ? status : no_memory(error);
}

static enum onerow_status memory_forget(struct onerow_coordinator *base, uint64_t number,
                                        uint64_t before_ms, uint64_t *n, struct onerow_error *error)
{
    struct memory_coordinator *coordinator = memory_of(base);
    struct wanted wanted = {ONEROW_LEDGER_ATTEMPT, UINT32_MAX, before_ms};
    struct space *space = lock_space(coordinator, number, error);
    struct record *record = NULL;
    struct record *next = NULL;
    *n = 0;
    if (!space) {
        return ONEROW_VANISHED;
    }
    HASH_ITER(hh, space->records, record, next)
    {
        if (record->since_ms && is_wanted(record, &wanted)) {
            drop_record(space, record);
            ++*n;
        }
    }
    unlock(coordinator);
    return ONEROW_OK;
}

/* ---- numbers and standing -------------------------------------------------------------------- */

static enum onerow_status memory_reserve(struct onerow_coordinator *base, uint64_t n,
                                         uint64_t *first, struct onerow_error *error)
{
    struct ledger *ledger = memory_of(base)->ledger;
    pthread_mutex_lock(&ledger->lock);
    bool enough = n <= ONEROW_LEDGER_NUMBERS - ledger->next_number;
    *first = ledger->next_number;
    ledger->next_number += enough ? n : 0;
    pthread_mutex_unlock(&ledger->lock);
    return enough ? ONEROW_OK : or_ledger_out_of_numbers(error);
}

static enum onerow_status memory_witness(struct onerow_coordinator *base, uint64_t number,
                                         uint64_t seen, struct onerow_ledger_namespace *state,
                                         struct onerow_error *error)
{
    struct memory_coordinator *coordinator = memory_of(base);
    struct ledger *ledger = coordinator->ledger;
    if (seen >= ONEROW_LEDGER_NUMBERS) {
        return or_ledger_refuse_number(seen, error);
    }
    pthread_mutex_lock(&ledger->lock);
    struct space *space = space_numbered(ledger, number);
    if (seen >= ledger->next_number) {
        ledger->next_number = seen + 1;
        space->doubt.doubts++;
    }
    enum onerow_status status = tell_space(coordinator, space, state, error);
    pthread_mutex_unlock(&ledger->lock);
    return status;
}

static enum onerow_status memory_confirm(struct onerow_coordinator *base, uint64_t number,
                                         struct onerow_error *error)
{
    struct memory_coordinator *coordinator = memory_of(base);
    struct space *space = lock_space(coordinator, number, error);
    if (!space) {
        return ONEROW_VANISHED;
    }
    space->doubt.confirmed = or_ledger_generation(&space->doubt);
    unlock(coordinator);
    return ONEROW_OK;
}

/* ---- leases ---------------------------------------------------------------------------------- */

struct or_memory_leases *or_memory_leases_of(struct onerow_coordinator *base)
{
    return memory_of(base)->ledger->leases;
}

/* ---- the vtable ------------------------------------------------------------------------------ */

static const struct onerow_ledger_ops ledger_ops = {
    .enter = memory_enter,
    .read = memory_read,
    .swap = memory_swap,
    .list = memory_list,
    .reserve = memory_reserve,
    .witness = memory_witness,
    .confirm = memory_confirm,
    .forget = memory_forget,
};

const struct onerow_coordinator_type or_coordinator_memory = {
    .name = "memory",
    .summary = "this process's memory: for tests; nothing is kept after the process",
    .url = "memory:[NAME]",
    .schemes = (const char *const[]){SCHEME, NULL},
    .open = memory_open,
    .close = memory_close,
    .forgets = true,
    .ledger = &ledger_ops,
    .leases = &or_memory_lease_ops,
};
