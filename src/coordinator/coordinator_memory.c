/* SPDX-License-Identifier: Apache-2.0
 *
 * A coordinator in this process's memory, for tests and for trying things out. "memory:NAME" is one
 * and the same for everybody in the process who opens it while somebody has it open; "memory:" is
 * its opener's alone. It dies with the process, which is why nothing may rely on it.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/status.h"
#include "base/text.h"
#include "coordinator/ledger_common.h"

#define BUCKETS    4096U
#define SPACES_MAX 256U

struct record {
    struct record *next; /* in its bucket */
    uint64_t space;
    enum onerow_ledger_kind kind;
    uint64_t revision;
    uint8_t state;
    uint64_t since_ms;
    char *name; /* owned */
    size_t name_len;
    char *body; /* owned; NULL: empty */
    size_t body_len;
};

struct space {
    char *name; /* owned, like the definition */
    size_t name_len;
    char *definition;
    size_t definition_len;
    const char *suspect; /* static: why, or NULL */
};

struct ledger {
    struct ledger *next; /* among the named ones */
    char *url;           /* owned */
    unsigned users;
    pthread_mutex_t lock;
    char id[33];
    uint64_t next_number;
    uint64_t clock_ms; /* the latest stamp */
    struct space spaces[SPACES_MAX];
    size_t n_spaces;
    struct record *buckets[BUCKETS];
};

struct memory {
    struct onerow_coordinator base;
    struct ledger *ledger;
};

static pthread_mutex_t shared_lock = PTHREAD_MUTEX_INITIALIZER;
static struct ledger *shared; /* guarded by shared_lock */

static struct ledger *ledger_of(struct onerow_coordinator *coordinator)
{
    return ((struct memory *)coordinator)->ledger;
}

static enum onerow_status no_memory(struct onerow_error *error)
{
    return or_fail(error, ONEROW_NOMEM, "out of memory");
}

/* ---- opening ----------------------------------------------------------------------------- */

static void ledger_free(struct ledger *ledger)
{
    for (size_t i = 0; i < BUCKETS; i++) {
        while (ledger->buckets[i]) {
            struct record *record = ledger->buckets[i];
            ledger->buckets[i] = record->next;
            free(record->name);
            free(record->body);
            free(record);
        }
    }
    for (size_t i = 0; i < ledger->n_spaces; i++) {
        free(ledger->spaces[i].name);
        free(ledger->spaces[i].definition);
    }
    pthread_mutex_destroy(&ledger->lock);
    free(ledger->url);
    free(ledger);
}

static struct ledger *ledger_make(const char *url)
{
    struct ledger *ledger = calloc(1, sizeof *ledger);
    char *copy = strdup(url);
    if (!ledger || !copy || !or_ledger_random_id(ledger->id)) {
        free(ledger);
        free(copy);
        return NULL;
    }
    ledger->url = copy;
    ledger->next_number = 1;
    pthread_mutex_init(&ledger->lock, NULL);
    return ledger;
}

/* The named ledger, made when it is new. NULL: out of memory. */
static struct ledger *find_shared(const char *url)
{
    pthread_mutex_lock(&shared_lock);
    struct ledger *ledger = shared;
    while (ledger && strcmp(ledger->url, url) != 0) {
        ledger = ledger->next;
    }
    if (!ledger) {
        ledger = ledger_make(url);
        if (ledger) {
            ledger->next = shared;
            shared = ledger;
        }
    }
    if (ledger) {
        ledger->users++;
    }
    pthread_mutex_unlock(&shared_lock);
    return ledger;
}

static enum onerow_status memory_open(const struct onerow_coordinator_options *options,
                                      struct onerow_coordinator **coordinator,
                                      struct onerow_error *error)
{
    extern const struct onerow_coordinator_type or_coordinator_memory;
    struct memory *memory = calloc(1, sizeof *memory);
    bool named = strcmp(options->url, "memory:") != 0;
    if (memory) {
        memory->base.type = &or_coordinator_memory;
        memory->ledger = named ? find_shared(options->url) : ledger_make(options->url);
    }
    if (!memory || !memory->ledger) {
        free(memory);
        return no_memory(error);
    }
    *coordinator = &memory->base;
    return ONEROW_OK;
}

static void memory_close(struct onerow_coordinator *coordinator)
{
    if (!coordinator) {
        return;
    }
    struct ledger *ledger = ledger_of(coordinator);
    pthread_mutex_lock(&shared_lock);
    bool last = ledger->users <= 1;
    ledger->users -= ledger->users > 0;
    for (struct ledger **at = &shared; last && *at; at = &(*at)->next) {
        if (*at == ledger) {
            *at = ledger->next;
            break;
        }
    }
    pthread_mutex_unlock(&shared_lock);
    if (last) {
        ledger_free(ledger);
    }
    free(coordinator);
}

/* ---- records ------------------------------------------------------------------------------- */

static struct record **bucket_of(struct ledger *ledger, uint64_t space,
                                 enum onerow_ledger_kind kind, struct onerow_span name)
{
    uint64_t hash = or_hash_text(name) ^ space * 0x9e3779b97f4a7c15ULL ^ (uint64_t)kind << 7;
    return &ledger->buckets[(hash ^ hash >> 32) % BUCKETS];
}

static struct record *find(struct ledger *ledger, uint64_t space, enum onerow_ledger_kind kind,
                           struct onerow_span name)
{
    struct record *record = *bucket_of(ledger, space, kind, name);
    while (record && (record->space != space || record->kind != kind ||
                      !or_span_equal((struct onerow_span){record->name, record->name_len}, name))) {
        record = record->next;
    }
    return record;
}

static uint64_t clock_now(const struct ledger *ledger)
{
    uint64_t ms = or_ledger_wall_ms();
    return ms > ledger->clock_ms ? ms : ledger->clock_ms;
}

static struct onerow_ledger_record shown(const struct record *record)
{
    return (struct onerow_ledger_record){
        .kind = record->kind,
        .name = {record->name, record->name_len},
        .revision = record->revision,
        .state = record->state,
        .since_ms = record->since_ms,
        .body = {record->body ? record->body : "", record->body_len}};
}

static enum onerow_status memory_read(struct onerow_coordinator *coordinator, uint64_t space,
                                      struct onerow_ledger_record *records, size_t n,
                                      uint64_t *now_ms, struct or_arena *arena,
                                      struct onerow_error *error)
{
    struct ledger *ledger = ledger_of(coordinator);
    enum onerow_status status = ONEROW_OK;
    coordinator->round_trips++;
    pthread_mutex_lock(&ledger->lock);
    *now_ms = clock_now(ledger);
    for (size_t i = 0; i < n && status == ONEROW_OK; i++) {
        const struct record *record = find(ledger, space, records[i].kind, records[i].name);
        struct onerow_span name = records[i].name;
        records[i] =
            record ? shown(record) : (struct onerow_ledger_record){.kind = records[i].kind};
        records[i].name = name;
        if (record) {
            records[i].body = or_arena_copy(arena, records[i].body);
            status = records[i].body.data ? ONEROW_OK : no_memory(error);
        }
    }
    pthread_mutex_unlock(&ledger->lock);
    return status;
}

/* ---- swaps ------------------------------------------------------------------------------------
 */

static bool holds(struct ledger *ledger, uint64_t space, const struct onerow_ledger_change *change)
{
    const struct record *record = find(ledger, space, change->kind, change->name);
    uint64_t revision = record ? record->revision : 0;
    unsigned state = record ? record->state : 0;
    return (change->revision == ONEROW_LEDGER_ANY || change->revision == revision) &&
           (change->states >> state & 1U);
}

static struct record *add(struct ledger *ledger, uint64_t space,
                          const struct onerow_ledger_change *change)
{
    struct record **bucket = bucket_of(ledger, space, change->kind, change->name);
    struct record *record = calloc(1, sizeof *record);
    char *name = malloc(change->name.len + 1);
    if (!record || !name) {
        free(record);
        free(name);
        return NULL;
    }
    memcpy(name, change->name.data, change->name.len);
    *record = (struct record){.next = *bucket,
                              .space = space,
                              .kind = change->kind,
                              .name = name,
                              .name_len = change->name.len};
    *bucket = record;
    return record;
}

static void write_record(struct ledger *ledger, uint64_t space,
                         const struct onerow_ledger_change *change, char *body)
{
    struct record *record = find(ledger, space, change->kind, change->name);
    free(record->body);
    record->body = body;
    record->body_len = change->body.len;
    record->state = change->state;
    record->revision++;
    if (change->stamp) {
        record->since_ms = ledger->clock_ms;
    }
}

/* All memory first, so that the swap happens as a whole or not at all. A record that is added has
 * revision 0, which reads as never written. False: out of memory. */
static bool prepare(struct ledger *ledger, uint64_t space, const struct onerow_ledger_swap *swap,
                    char *bodies[ONEROW_LEDGER_CHANGES])
{
    bool made = true;
    for (size_t i = 0; i < swap->n; i++) {
        const struct onerow_ledger_change *change = &swap->changes[i];
        bodies[i] = NULL;
        if (!change->state || !made) {
            continue;
        }
        bodies[i] = malloc(change->body.len + 1);
        made = bodies[i] &&
               (find(ledger, space, change->kind, change->name) || add(ledger, space, change));
        if (made && change->body.len) {
            memcpy(bodies[i], change->body.data, change->body.len);
        }
    }
    for (size_t i = 0; i < swap->n && !made; i++) {
        free(bodies[i]);
    }
    return made;
}

static enum onerow_status try_swap(struct ledger *ledger, uint64_t space,
                                   struct onerow_ledger_swap *swap)
{
    char *bodies[ONEROW_LEDGER_CHANGES];
    swap->done = true;
    for (size_t i = 0; i < swap->n; i++) {
        swap->done &= holds(ledger, space, &swap->changes[i]);
    }
    if (!swap->done) {
        return ONEROW_OK;
    }
    if (!prepare(ledger, space, swap, bodies)) {
        swap->done = false;
        return ONEROW_NOMEM;
    }
    for (size_t i = 0; i < swap->n; i++) {
        if (swap->changes[i].state) {
            write_record(ledger, space, &swap->changes[i], bodies[i]);
        }
    }
    return ONEROW_OK;
}

static enum onerow_status memory_swap(struct onerow_coordinator *coordinator, uint64_t space,
                                      struct onerow_ledger_swap *swaps, size_t n, uint64_t *now_ms,
                                      struct onerow_error *error)
{
    struct ledger *ledger = ledger_of(coordinator);
    enum onerow_status status = ONEROW_OK;
    coordinator->round_trips++;
    pthread_mutex_lock(&ledger->lock);
    ledger->clock_ms = clock_now(ledger);
    *now_ms = ledger->clock_ms;
    for (size_t i = 0; i < n && status == ONEROW_OK; i++) {
        status = try_swap(ledger, space, &swaps[i]);
    }
    pthread_mutex_unlock(&ledger->lock);
    /* Some of them may have happened. */
    return status == ONEROW_OK ? ONEROW_OK : or_fail(error, ONEROW_UNKNOWN, "out of memory");
}

static enum onerow_status memory_list(struct onerow_coordinator *coordinator, uint64_t space,
                                      enum onerow_ledger_kind kind, uint32_t states,
                                      uint64_t before_ms, onerow_visit_ledger *visit, void *context,
                                      struct onerow_error *error)
{
    struct ledger *ledger = ledger_of(coordinator);
    bool on = true;
    (void)error;
    pthread_mutex_lock(&ledger->lock);
    for (size_t i = 0; i < BUCKETS && on; i++) {
        for (const struct record *record = ledger->buckets[i]; record && on;
             record = record->next) {
            if (record->space == space && record->kind == kind && record->revision &&
                (states >> record->state & 1U) && record->since_ms < before_ms) {
                struct onerow_ledger_record copy = shown(record);
                on = visit(context, &copy);
            }
        }
    }
    pthread_mutex_unlock(&ledger->lock);
    return ONEROW_OK;
}

static enum onerow_status memory_forget(struct onerow_coordinator *coordinator, uint64_t space,
                                        uint64_t before_ms, uint64_t *n, struct onerow_error *error)
{
    struct ledger *ledger = ledger_of(coordinator);
    (void)error;
    *n = 0;
    pthread_mutex_lock(&ledger->lock);
    for (size_t i = 0; i < BUCKETS; i++) {
        for (struct record **at = &ledger->buckets[i]; *at;) {
            struct record *record = *at;
            if (record->space == space && record->kind == ONEROW_LEDGER_ATTEMPT &&
                record->since_ms < before_ms) {
                *at = record->next;
                free(record->name);
                free(record->body);
                free(record);
                (*n)++;
            } else {
                at = &record->next;
            }
        }
    }
    pthread_mutex_unlock(&ledger->lock);
    return ONEROW_OK;
}

/* ---- namespaces and numbers -------------------------------------------------------------------
 */

static void tell(const struct ledger *ledger, uint64_t number,
                 struct onerow_ledger_namespace *space)
{
    const struct space *one = &ledger->spaces[number - 1];
    *space = (struct onerow_ledger_namespace){.number = number, .why = one->suspect};
    space->standing = one->suspect ? ONEROW_LEDGER_SUSPECT : ONEROW_LEDGER_SOUND;
    memcpy(space->ledger_id, ledger->id, sizeof space->ledger_id);
}

static char *copy_of(struct onerow_span text)
{
    char *copy = malloc(text.len + 1);
    if (copy && text.len) {
        memcpy(copy, text.data, text.len);
    }
    return copy;
}

static enum onerow_status make_space(struct ledger *ledger, struct onerow_span name,
                                     struct onerow_span definition, struct onerow_error *error)
{
    if (ledger->n_spaces == SPACES_MAX) {
        return or_fail(error, ONEROW_CONFIG, "more than %u namespaces in one ledger", SPACES_MAX);
    }
    struct space *space = &ledger->spaces[ledger->n_spaces];
    *space = (struct space){copy_of(name), name.len, copy_of(definition), definition.len, NULL};
    if (!space->name || !space->definition) {
        free(space->name);
        free(space->definition);
        return no_memory(error);
    }
    ledger->n_spaces++;
    return ONEROW_OK;
}

static enum onerow_status find_space(struct ledger *ledger, struct onerow_span name,
                                     struct onerow_span definition, size_t *at,
                                     struct onerow_error *error)
{
    for (*at = 0; *at < ledger->n_spaces; (*at)++) {
        const struct space *space = &ledger->spaces[*at];
        struct onerow_span was = {space->definition, space->definition_len};
        if (!or_span_equal((struct onerow_span){space->name, space->name_len}, name)) {
            continue;
        }
        return or_span_equal(was, definition)
                   ? ONEROW_OK
                   : or_ledger_other_definition(name, was, definition, error);
    }
    return make_space(ledger, name, definition, error);
}

static enum onerow_status memory_enter(struct onerow_coordinator *coordinator,
                                       struct onerow_span name, struct onerow_span definition,
                                       struct onerow_ledger_namespace *space,
                                       struct onerow_error *error)
{
    struct ledger *ledger = ledger_of(coordinator);
    size_t at = 0;
    pthread_mutex_lock(&ledger->lock);
    enum onerow_status status = find_space(ledger, name, definition, &at, error);
    if (status == ONEROW_OK) {
        tell(ledger, at + 1, space);
    }
    pthread_mutex_unlock(&ledger->lock);
    return status;
}

static enum onerow_status memory_reserve(struct onerow_coordinator *coordinator, uint64_t n,
                                         uint64_t *first, struct onerow_error *error)
{
    struct ledger *ledger = ledger_of(coordinator);
    (void)error;
    pthread_mutex_lock(&ledger->lock);
    *first = ledger->next_number;
    ledger->next_number += n;
    pthread_mutex_unlock(&ledger->lock);
    return ONEROW_OK;
}

static enum onerow_status memory_witness(struct onerow_coordinator *coordinator, uint64_t space,
                                         uint64_t number, struct onerow_ledger_namespace *state,
                                         struct onerow_error *error)
{
    struct ledger *ledger = ledger_of(coordinator);
    (void)error;
    pthread_mutex_lock(&ledger->lock);
    if (number >= ledger->next_number) {
        ledger->next_number = number + 1;
        ledger->spaces[space - 1].suspect = or_ledger_seen_above;
    }
    tell(ledger, space, state);
    pthread_mutex_unlock(&ledger->lock);
    return ONEROW_OK;
}

static enum onerow_status memory_confirm(struct onerow_coordinator *coordinator, uint64_t space,
                                         struct onerow_error *error)
{
    struct ledger *ledger = ledger_of(coordinator);
    (void)error;
    pthread_mutex_lock(&ledger->lock);
    ledger->spaces[space - 1].suspect = NULL;
    pthread_mutex_unlock(&ledger->lock);
    return ONEROW_OK;
}

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

static const char *const schemes[] = {"memory:", NULL};

const struct onerow_coordinator_type or_coordinator_memory = {
    .name = "memory",
    .summary = "this process's memory, for tests",
    .url = "memory:",
    .schemes = schemes,
    .open = memory_open,
    .close = memory_close,
    .ledger = &ledger_ops,
};
