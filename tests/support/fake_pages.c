/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/fake_pages.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/status.h"
#include "base/text.h"
#include "base/wake.h"

#define HELD 256U /* requests that are out */

struct held {
    struct onerow_page_call *call;
    uint64_t due_ms;
};

struct store {
    struct onerow_store base;
    struct fake_world *world;
    struct held held[HELD];
    size_t n;
};

extern const struct onerow_store_type fake_type;

enum { COLUMN_K, COLUMN_V, COLUMN_AT, COLUMN_UP, COLUMNS };

static const struct onerow_column columns[COLUMNS] = {
    {.name = "k", .declared = "title", .type = ONEROW_TYPE_TEXT, .required = true},
    {.name = "v", .declared = "text", .type = ONEROW_TYPE_TEXT},
    {.name = "at", .declared = "number", .type = ONEROW_TYPE_DECIMAL},
    {.name = "up", .declared = "relation", .type = ONEROW_TYPE_JSON, .related = "things"},
};

/* ---- the world ------------------------------------------------------------------------------ */

/* A process may have been killed while it held the lock; each change is one that may be left so. */
static void lock(struct fake_world *world)
{
    if (pthread_mutex_lock(&world->lock) == EOWNERDEAD) {
        pthread_mutex_consistent(&world->lock);
    }
}

static void unlock(struct fake_world *world)
{
    pthread_mutex_unlock(&world->lock);
}

struct fake_world *fake_create(uint64_t seed)
{
    struct fake_world *world =
        mmap(NULL, sizeof *world, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (world == MAP_FAILED) {
        abort();
    }
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&world->lock, &attributes);
    world->dice = seed | 1U;
    return world;
}

void fake_destroy(struct fake_world *world)
{
    munmap(world, sizeof *world);
}

static unsigned roll(struct fake_world *world, unsigned sides)
{
    world->dice ^= world->dice << 13;
    world->dice ^= world->dice >> 7;
    world->dice ^= world->dice << 17;
    return (unsigned)(world->dice * 0x2545f4914f6cdd1dU >> 33) % sides;
}

static bool strikes(struct fake_world *world, unsigned per_mille)
{
    return per_mille && roll(world, 1000) < per_mille;
}

static void copy(char *to, size_t size, struct onerow_span text)
{
    size_t len = text.len < size ? text.len : size - 1;
    memmove(to, text.data ? text.data : "", len);
    to[len] = '\0';
}

static struct fake_page *new_page(struct fake_world *world)
{
    if (world->n_pages == FAKE_PAGES) {
        abort();
    }
    struct fake_page *page = &world->pages[world->n_pages++];
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    *page = (struct fake_page){.made_ms =
                                   (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000};
    return page;
}

static const char *id_of(const struct fake_world *world, const struct fake_page *page,
                         struct or_arena *arena)
{
    return or_arena_printf(arena, "p%zu", (size_t)(page - world->pages) + 1);
}

static struct fake_page *page_of(struct fake_world *world, struct onerow_span id)
{
    char text[32];
    copy(text, sizeof text, id);
    unsigned long n = text[0] == 'p' ? strtoul(text + 1, NULL, 10) : 0;
    return n && n <= world->n_pages ? &world->pages[n - 1] : NULL;
}

static size_t live(const struct fake_world *world, const char *key)
{
    size_t n = 0;
    for (size_t i = 0; i < world->n_pages; i++) {
        const struct fake_page *page = &world->pages[i];
        n += page->keyed && !page->trashed && strcmp(page->key, key) == 0;
    }
    return n;
}

static void set_key(struct fake_world *world, struct fake_page *page, const char *key)
{
    if (!page->keyed || strcmp(page->key, key) != 0) {
        page->keyed_ms = or_wake_now_ms();
    }
    page->keyed = true;
    page->title[0] = '\0';
    memmove(page->key, key, strlen(key) + 1);
    world->twins += !page->trashed && live(world, key) > 1;
}

static void do_late(struct fake_world *world)
{
    uint64_t now_ms = or_wake_now_ms();
    for (size_t i = 0; i < world->n_late;) {
        struct fake_page *page = &world->pages[world->late[i].page];
        if (now_ms < world->late[i].due_ms) {
            i++;
            continue;
        }
        if (!page->trashed) {
            if (world->late[i].key[0]) {
                set_key(world, page, world->late[i].key);
            }
            copy(page->text, sizeof page->text, or_span(world->late[i].text));
        }
        world->late[i] = world->late[--world->n_late];
    }
}

/* ---- what tests see and do ------------------------------------------------------------------ */

size_t fake_live(struct fake_world *world, const char *key)
{
    lock(world);
    size_t n = live(world, key);
    unlock(world);
    return n;
}

struct fake_page *fake_find(struct fake_world *world, const char *key)
{
    struct fake_page *found = NULL;
    lock(world);
    for (size_t i = 0; i < world->n_pages && !found; i++) {
        struct fake_page *page = &world->pages[i];
        found = page->keyed && !page->trashed && strcmp(page->key, key) == 0 ? page : NULL;
    }
    unlock(world);
    return found;
}

struct fake_page *fake_page(struct fake_world *world, struct onerow_span id)
{
    return page_of(world, id);
}

size_t fake_blanks(struct fake_world *world)
{
    size_t n = 0;
    lock(world);
    for (size_t i = 0; i < world->n_pages; i++) {
        n += !world->pages[i].keyed && !world->pages[i].trashed;
    }
    unlock(world);
    return n;
}

const char *fake_plant(struct fake_world *world, const char *key, const char *text)
{
    static __thread char id[32];
    lock(world);
    struct fake_page *page = new_page(world);
    page->made_ms -= 1000000;
    page->keyed = true;
    copy(page->key, sizeof page->key, or_span(key));
    copy(page->text, sizeof page->text, or_span(text));
    (void)snprintf(id, sizeof id, "p%zu", (size_t)(page - world->pages) + 1);
    unlock(world);
    return id;
}

static int compare_times(const void *left, const void *right)
{
    uint64_t a = *(const uint64_t *)left;
    uint64_t b = *(const uint64_t *)right;
    return (a > b) - (a < b);
}

bool fake_exceeds(struct fake_world *world, const struct or_window *window)
{
    bool exceeds = false;
    qsort(world->sent_ms, world->n_sent, sizeof *world->sent_ms, compare_times);
    for (size_t i = window->count; i < world->n_sent && !exceeds; i++) {
        exceeds = world->sent_ms[i] - world->sent_ms[i - window->count] < window->span_ms;
    }
    return exceeds;
}

/* ---- requests ------------------------------------------------------------------------------- */

static bool writes(enum onerow_page_do what)
{
    return what != ONEROW_PAGE_PROBE && what != ONEROW_PAGE_GET && what != ONEROW_PAGE_BLANKS;
}

static struct onerow_value text_value(enum onerow_kind kind, const char *text, uint16_t column)
{
    return (struct onerow_value){
        .data = text, .len = (uint32_t)strlen(text), .column = column, .kind = (uint8_t)kind};
}

static struct onerow_page show(const struct fake_world *world, const struct fake_page *page,
                               struct or_arena *arena)
{
    struct onerow_value *part = or_arena_alloc(arena, sizeof *part);
    *part = text_value(ONEROW_TEXT, or_arena_printf(arena, "%s", page->key), COLUMN_K);
    return (struct onerow_page){.id = or_span(id_of(world, page, arena)),
                                .title = or_span(or_arena_printf(arena, "%s", page->title)),
                                .parts = page->keyed ? part : NULL,
                                .created_ms = page->made_ms,
                                .edited = page->edited,
                                .attached = page->attached};
}

static bool wanted(const struct onerow_page_call *call, const struct fake_page *page)
{
    for (size_t i = 0; i < call->n_keys; i++) {
        const struct onerow_value *part = &call->keys[i]->values[0];
        if (or_span_is((struct onerow_span){part->data, part->len}, page->key)) {
            return true;
        }
    }
    return false;
}

static void look_for(struct fake_world *world, struct onerow_page_call *call)
{
    struct onerow_page *found = or_arena_alloc(call->arena, (world->n_pages + 1) * sizeof *found);
    uint64_t seen_ms = or_wake_now_ms() - world->faults.lag_ms;
    for (size_t i = 0; i < world->n_pages; i++) {
        const struct fake_page *page = &world->pages[i];
        if (page->trashed) {
            continue;
        }
        bool match =
            call->what == ONEROW_PAGE_BLANKS
                ? !page->keyed && strncmp(page->title, call->title.data, call->title.len) == 0
                : page->keyed && page->keyed_ms <= seen_ms && wanted(call, page);
        if (match) {
            found[call->n_found++] = show(world, page, call->arena);
        }
    }
    call->found = found;
    world->probed_keys += call->n_keys;
}

static void look_at(struct fake_world *world, struct fake_page *page, struct onerow_page_call *call)
{
    struct onerow_page *found = or_arena_alloc(call->arena, sizeof *found);
    *found = show(world, page, call->arena);
    call->found = found;
    call->n_found = 1;
    call->in_trash = page->trashed;
    call->same = call->payload.data && or_span_is(call->payload, page->text);
    const char *at = strstr(page->text, "at=");
    if (at) {
        struct onerow_span digits =
            or_arena_copy(call->arena, (struct onerow_span){at + 3, strcspn(at + 3, ";")});
        call->order = text_value(ONEROW_NUMBER, digits.data, COLUMN_AT);
    }
}

static void make(struct fake_world *world, struct onerow_page_call *call)
{
    struct fake_page *page = new_page(world);
    if (call->what == ONEROW_PAGE_CREATE) {
        copy(page->title, sizeof page->title, call->title);
    } else {
        const struct onerow_value *part = &call->keys[0]->values[0];
        char key[FAKE_KEY];
        copy(key, sizeof key, (struct onerow_span){part->data, part->len});
        copy(page->text, sizeof page->text, call->payload);
        set_key(world, page, key);
    }
    call->made = or_span(id_of(world, page, call->arena));
}

static void refuse(struct onerow_page_call *call, enum onerow_page_answer answer, const char *why)
{
    call->answer = answer;
    call->reason = or_arena_printf(call->arena, "%s", why);
}

static void put_late(struct fake_world *world, struct fake_page *page,
                     const struct onerow_page_call *call)
{
    if (world->n_late == sizeof world->late / sizeof *world->late) {
        return;
    }
    size_t i = world->n_late++;
    world->late[i].due_ms = or_wake_now_ms() + roll(world, (unsigned)world->faults.late_ms + 1);
    world->late[i].page = (size_t)(page - world->pages);
    world->late[i].key[0] = '\0';
    if (call->what == ONEROW_PAGE_PUBLISH) {
        const struct onerow_value *part = &call->keys[0]->values[0];
        copy(world->late[i].key, FAKE_KEY, (struct onerow_span){part->data, part->len});
    }
    copy(world->late[i].text, FAKE_TEXT, call->payload);
}

static void write_page(struct fake_world *world, struct fake_page *page,
                       struct onerow_page_call *call)
{
    if (page->trashed) {
        refuse(call, ONEROW_PAGE_TRASHED, "archived");
        return;
    }
    if (or_span_equal(
            (struct onerow_span){call->payload.data, call->payload.len < 8 ? call->payload.len : 8},
            OR_SPAN("v=poison"))) {
        refuse(call, ONEROW_PAGE_REFUSED, "validation_error: v must not be poison");
        return;
    }
    if (strikes(world, world->faults.late)) {
        put_late(world, page, call);
        refuse(call, ONEROW_PAGE_UNCERTAIN, "timed out");
        return;
    }
    if (call->what == ONEROW_PAGE_PUBLISH) {
        char key[FAKE_KEY];
        const struct onerow_value *part = &call->keys[0]->values[0];
        copy(key, sizeof key, (struct onerow_span){part->data, part->len});
        set_key(world, page, key);
    }
    copy(page->text, sizeof page->text, call->payload);
    page->edited = world->edit;
}

static void perform(struct fake_world *world, struct onerow_page_call *call)
{
    struct fake_page *page = call->page.data ? page_of(world, call->page) : NULL;
    call->answer = ONEROW_PAGE_OK;
    if (call->page.data && !page) {
        refuse(call, ONEROW_PAGE_NOT_FOUND, "object_not_found");
        return;
    }
    switch (call->what) {
    case ONEROW_PAGE_PROBE:
    case ONEROW_PAGE_BLANKS: look_for(world, call); return;
    case ONEROW_PAGE_CREATE:
    case ONEROW_PAGE_CREATE_KEYED: make(world, call); return;
    case ONEROW_PAGE_PUBLISH:
    case ONEROW_PAGE_WRITE: write_page(world, page, call); return;
    case ONEROW_PAGE_GET: look_at(world, page, call); return;
    case ONEROW_PAGE_RESTORE:
        page->trashed = false;
        world->twins += page->keyed && live(world, page->key) > 1;
        return;
    case ONEROW_PAGE_TRASH: page->trashed = true; return;
    case ONEROW_PAGE_MOVE_KEY:
        page->keyed = false;
        copy(page->title, sizeof page->title, call->title);
        return;
    }
}

/* Whether it goes wrong before it is done. */
static bool goes_wrong(struct fake_world *world, struct onerow_page_call *call)
{
    if (world->script[call->what] != ONEROW_PAGE_OK) {
        refuse(call, world->script[call->what], "as the test says");
    } else if (strikes(world, world->faults.rate)) {
        refuse(call, ONEROW_PAGE_RATE, "rate_limited");
    } else if (strikes(world, world->faults.before)) {
        refuse(call, ONEROW_PAGE_UNCERTAIN, "bad_gateway");
    } else if (!writes(call->what) && strikes(world, world->faults.incomplete)) {
        refuse(call, ONEROW_PAGE_FAILED, "incomplete");
    } else if (writes(call->what) && strikes(world, world->faults.conflict)) {
        refuse(call, ONEROW_PAGE_CONFLICT, "conflict_error");
    } else {
        return false;
    }
    if (call->answer == ONEROW_PAGE_RATE) {
        call->retry_after_ms = world->retry_ms;
    }
    return true;
}

static void forget_answer(struct onerow_page_call *call)
{
    call->made = (struct onerow_span){0};
    call->n_found = 0;
    refuse(call, ONEROW_PAGE_UNCERTAIN, "no answer");
}

static uint64_t line_of(const struct onerow_page_call *call)
{
    const struct store *store = (const struct store *)(const void *)call->table->store;
    return writes(call->what) ? store->world->line : 0;
}

static void note_sent(struct fake_world *world, const struct onerow_page_call *call)
{
    uint64_t now_ms = or_wake_now_ms();
    world->calls[call->what]++;
    if (world->n_sent < FAKE_SENT) {
        world->sent_ms[world->n_sent++] = now_ms;
    }
    world->too_early += now_ms < world->blocked_ms;
    world->out += writes(call->what);
    world->most_out = world->out > world->most_out ? world->out : world->most_out;
}

/* There is more to come: nothing is found before the last part. */
static bool is_part(const struct fake_world *world, struct onerow_page_call *call)
{
    bool looks = call->what == ONEROW_PAGE_PROBE || call->what == ONEROW_PAGE_BLANKS;
    unsigned *done = call->more ? call->more : or_arena_alloc(call->arena, sizeof *done);
    *done = call->more ? *done + 1 : 1;
    bool part = looks && *done < world->parts;
    call->more = part ? done : NULL;
    if (part) {
        refuse(call, ONEROW_PAGE_MORE, "there is more");
    }
    return part;
}

/* What is done is done here; the answer comes later. */
static enum onerow_status start(struct onerow_store *base, struct onerow_page_call *call,
                                struct onerow_error *error)
{
    struct store *store = (struct store *)(void *)base;
    struct fake_world *world = store->world;
    if (store->n == HELD) {
        return or_fail(error, ONEROW_NOMEM, "too many requests at a time");
    }
    lock(world);
    do_late(world);
    note_sent(world, call);
    if (!goes_wrong(world, call) && !is_part(world, call)) {
        perform(world, call);
        bool done = call->answer == ONEROW_PAGE_OK;
        if (done && writes(call->what) && strikes(world, world->faults.conflict / 2)) {
            forget_answer(call);
            refuse(call, ONEROW_PAGE_CONFLICT, "conflict_error");
        } else if (done && strikes(world, world->faults.lost)) {
            forget_answer(call);
        }
    }
    bool dies = world->dies && writes(call->what) && roll(world, 3) == 0;
    store->held[store->n++] =
        (struct held){.call = call, .due_ms = or_wake_now_ms() + roll(world, 4)};
    unlock(world);
    if (dies) {
        kill(getpid(), SIGKILL);
    }
    return ONEROW_OK;
}

/* One at random of those that are due. */
static struct onerow_page_call *answer(struct store *store, uint64_t *due_ms)
{
    struct fake_world *world = store->world;
    uint64_t now_ms = or_wake_now_ms();
    struct onerow_page_call *call = NULL;
    *due_ms = UINT64_MAX;
    lock(world);
    size_t first = store->n ? roll(world, (unsigned)store->n) : 0;
    for (size_t i = 0; i < store->n && !call && !world->hold; i++) {
        struct held *held = &store->held[(first + i) % store->n];
        if (now_ms >= held->due_ms) {
            call = held->call;
            world->out -= writes(call->what);
            if (call->answer == ONEROW_PAGE_RATE) {
                world->blocked_ms = or_wake_now_ms() + world->retry_ms;
            }
            *held = store->held[--store->n];
        } else if (held->due_ms < *due_ms) {
            *due_ms = held->due_ms;
        }
    }
    unlock(world);
    return call;
}

static struct onerow_page_call *finish(struct onerow_store *base, uint64_t timeout_ms)
{
    struct store *store = (struct store *)(void *)base;
    uint64_t until_ms = or_wake_now_ms() + timeout_ms;
    uint64_t due_ms = 0;
    struct onerow_page_call *call = answer(store, &due_ms);
    while (!call && or_wake_now_ms() < until_ms) {
        uint64_t now_ms = or_wake_now_ms();
        uint64_t most_ms = due_ms < until_ms ? due_ms : until_ms;
        (void)poll(NULL, 0, most_ms > now_ms ? (int)(most_ms - now_ms) : 1);
        call = answer(store, &due_ms);
    }
    return call;
}

/* ---- the adapter ---------------------------------------------------------------------------- */

static const char *target(const struct onerow_store_table *table)
{
    (void)table;
    return "things";
}

static enum onerow_status encode(struct onerow_store_table *table,
                                 const struct onerow_record *record, struct or_arena *arena,
                                 struct onerow_span *payload, const char **reason,
                                 struct onerow_error *error)
{
    struct or_buffer text;
    or_buffer_init(&text);
    for (size_t i = table->key[0] == COLUMN_K ? 1 : 0; i < record->n_values; i++) {
        const struct onerow_value *value = &record->values[i];
        or_buffer_printf(&text, "%s=%.*s;", columns[value->column].name, (int)value->len,
                         value->data ? value->data : "");
    }
    bool bad = or_span_equal(or_buffer_view(&text), OR_SPAN("v=bad;"));
    *payload = or_arena_copy(arena, or_buffer_view(&text));
    or_buffer_finish(&text);
    if (bad) {
        *reason = or_arena_printf(arena, "v cannot be bad");
        return ONEROW_REJECTED;
    }
    return payload->data ? ONEROW_OK : or_fail(error, ONEROW_NOMEM, "out of memory");
}

static const struct onerow_page_ops ops = {.probe_keys = 100,
                                           .target = target,
                                           .encode = encode,
                                           .line = line_of,
                                           .start = start,
                                           .finish = finish};

/* Pages without a key are no rows. */
static enum onerow_status audit_pages(struct onerow_store_table *table,
                                      onerow_canonical_key *canonical, void *canonical_context,
                                      onerow_visit_twins *visit, void *context,
                                      struct onerow_error *error)
{
    struct fake_world *world = ((struct store *)(void *)table->store)->world;
    struct or_buffer key;
    (void)visit;
    (void)context;
    (void)error;
    or_buffer_init(&key);
    lock(world);
    for (size_t i = 0; i < world->n_pages; i++) {
        const struct fake_page *page = &world->pages[i];
        const char *reason = NULL;
        if (page->keyed && !page->trashed) {
            struct onerow_value part = text_value(ONEROW_TEXT, page->key, COLUMN_K);
            or_buffer_clear(&key);
            (void)canonical(canonical_context, &part, &key, &reason);
        }
    }
    unlock(world);
    table->store->round_trips++;
    or_buffer_finish(&key);
    return ONEROW_OK;
}

static void close_store(struct onerow_store *store)
{
    free(store);
}

static void close_table(struct onerow_store_table *table)
{
    free(table);
}

const struct onerow_store_type fake_type = {.name = "fake",
                                            .close = close_store,
                                            .table_close = close_table,
                                            .audit = audit_pages,
                                            .pages = &ops};

void fake_open(struct fake_world *world, struct or_table *table)
{
    struct store *store = calloc(1, sizeof *store);
    struct onerow_store_table *opened = calloc(1, sizeof *opened);
    static const struct onerow_key_column key = {.name = "k", .type = ONEROW_TYPE_TEXT};
    if (!store || !opened) {
        abort();
    }
    store->base.type = &fake_type;
    store->world = world;
    opened->store = &store->base;
    opened->columns = columns;
    opened->n_columns = COLUMNS;
    opened->guarantees = ONEROW_PAGES;
    opened->key[0] = COLUMN_K;
    opened->key_types[0] = ONEROW_TYPE_TEXT;
    table->spec.name = "things";
    table->spec.location = "things";
    table->spec.key = &key;
    table->spec.n_key = 1;
    table->spec.want_ids = true;
    table->store = &store->base;
    table->table = opened;
    if (!or_table_index(table)) {
        abort();
    }
}
