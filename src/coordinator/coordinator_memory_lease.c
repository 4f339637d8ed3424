/* SPDX-License-Identifier: Apache-2.0
 *
 * Leases in this process's memory: the book of lease_rules.h as hashes and lists, behind a mutex
 * that makes each call one step. Nobody's session is known to be dead here: what a closed
 * coordinator held runs out.
 *
 * A part of a step allocates before it changes anything, and no step has two parts that allocate:
 * out of memory means that nothing happened.
 */
#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "base/status.h"
#include "base/text.h"
#include "base/u64.h"
#include "coordinator/coordinator_memory.h"
#include "coordinator/lease_rules.h"

/* uthash ends the process when it finds no memory; this says it to us instead. */
#define HASH_NONFATAL_OOM            1
#define uthash_nonfatal_oom(element) ((element)->lost = true)
#include <uthash.h>

#define NO_MEMORY 1 /* the code of the book's parts */

struct text {
    char *data; /* owned; NULL: empty */
    size_t len;
};

struct waiter {
    struct waiter *next;
    struct or_book_waiter told;
    uint64_t until_ms; /* of its patience */
    struct text who;
};

struct lease {
    UT_hash_handle hh;
    struct or_book_lease told;
    uint64_t since_ms;
    struct text who;
    struct waiter *queue;
    uint64_t last_place;
    bool lost; /* uthash had no memory for it */
    size_t len;
    char name[];
};

struct forced {
    struct forced *older;
    struct onerow_lease_forced told;
    char texts[]; /* name, who and by */
};

struct shared_record {
    UT_hash_handle hh;
    struct text body;
    bool lost;
    size_t len;
    char name[];
};

struct or_memory_leases {
    struct or_book book;
    pthread_mutex_t lock;
    struct lease *leases;
    struct forced *trail; /* newest first */
    struct shared_record *shared;
};

static struct or_memory_leases *leases_of(struct or_book *book)
{
    return (struct or_memory_leases *)book;
}

static enum onerow_status no_memory(struct onerow_error *error)
{
    return or_fail(error, ONEROW_NOMEM, "out of memory");
}

/* ---- texts -----------------------------------------------------------------------------------
 */

static struct onerow_span span_of(const struct text *text)
{
    return (struct onerow_span){text->data, text->len};
}

/* False: out of memory; nothing is changed. */
static bool set_text(struct text *text, struct onerow_span to)
{
    char *data = to.len ? malloc(to.len) : NULL;
    if (to.len && !data) {
        return false;
    }
    if (data) {
        memcpy(data, to.data, to.len);
    }
    free(text->data);
    *text = (struct text){data, to.len};
    return true;
}

/* ---- leases and waiters ----------------------------------------------------------------------
 */

static struct lease *find_lease(const struct or_memory_leases *leases, struct onerow_span name)
{
    struct lease *found = NULL;
    HASH_FIND(hh, leases->leases, name.data, name.len, found);
    return found;
}

static struct lease *add_lease(struct or_memory_leases *leases, struct onerow_span name)
{
    struct lease *lease = calloc(1, sizeof *lease + name.len);
    if (!lease) {
        return NULL;
    }
    lease->len = name.len;
    memcpy(lease->name, name.data, name.len);
    HASH_ADD_KEYPTR(hh, leases->leases, lease->name, lease->len, lease);
    if (lease->lost) {
        free(lease);
        return NULL;
    }
    return lease;
}

static void drop_waiter(struct waiter **at)
{
    struct waiter *waiter = *at;
    assert(waiter);
    *at = waiter->next;
    free(waiter->who.data);
    free(waiter);
}

/* Where the waiter with this place is linked, or would be. */
static struct waiter **link_of(struct lease *lease, uint64_t place)
{
    struct waiter **at = &lease->queue;
    while (*at && (*at)->told.place < place) {
        at = &(*at)->next;
    }
    return at;
}

/* ---- the book --------------------------------------------------------------------------------
 */

static int book_find(struct or_book *book, struct onerow_span name, struct or_book_lease *out)
{
    const struct lease *lease = find_lease(leases_of(book), name);
    *out = lease ? lease->told : (struct or_book_lease){0};
    return 0;
}

static void give_to(struct or_book *book, struct lease *lease,
                    const unsigned char nonce[ONEROW_NONCE], uint64_t token, uint64_t for_ms)
{
    lease->told =
        (struct or_book_lease){.taken = true, .token = token, .expires_ms = book->now_ms + for_ms};
    memcpy(lease->told.nonce, nonce, ONEROW_NONCE);
    lease->since_ms = book->wall_ms;
}

static int book_take(struct or_book *book, const struct onerow_lease_claim *claim, uint64_t token,
                     uint64_t place)
{
    struct or_memory_leases *leases = leases_of(book);
    struct lease *found = find_lease(leases, claim->name);
    struct lease *lease = found ? found : add_lease(leases, claim->name);
    if (!lease || !set_text(&lease->who, claim->who)) {
        return NO_MEMORY; /* a lease without a token is none */
    }
    give_to(book, lease, claim->nonce, token, claim->ttl_ms);
    if (place) {
        drop_waiter(link_of(lease, place));
    }
    return 0;
}

static int book_keep(struct or_book *book, const struct onerow_lease_claim *claim, uint64_t token)
{
    struct lease *lease = find_lease(leases_of(book), claim->name);
    lease->told.token = token;
    lease->told.expires_ms = book->now_ms + claim->ttl_ms;
    return 0;
}

static int book_hand(struct or_book *book, struct onerow_span name,
                     const struct or_book_waiter *waiter, uint64_t token)
{
    struct lease *lease = find_lease(leases_of(book), name);
    struct waiter **at = link_of(lease, waiter->place);
    struct text who = lease->who;
    lease->who = (*at)->who;
    (*at)->who = who;
    give_to(book, lease, waiter->nonce, token, waiter->granted_ms);
    drop_waiter(at);
    return 0;
}

static int book_give_up(struct or_book *book, struct onerow_span name)
{
    find_lease(leases_of(book), name)->told.taken = false;
    return 0;
}

static int book_front(struct or_book *book, struct onerow_span name, struct or_book_waiter *out)
{
    struct lease *lease = find_lease(leases_of(book), name);
    while (lease && lease->queue && lease->queue->until_ms <= book->now_ms) {
        drop_waiter(&lease->queue);
    }
    *out = lease && lease->queue ? lease->queue->told : (struct or_book_waiter){0};
    return 0;
}

static int book_own(struct or_book *book, const struct onerow_lease_claim *claim, uint64_t *place)
{
    const struct lease *lease = find_lease(leases_of(book), claim->name);
    const struct waiter *at = lease ? lease->queue : NULL;
    while (at && memcmp(at->told.nonce, claim->nonce, ONEROW_NONCE) != 0) {
        at = at->next;
    }
    *place = at ? at->told.place : 0;
    return 0;
}

static struct waiter *add_waiter(struct lease *lease)
{
    struct waiter *waiter = calloc(1, sizeof *waiter);
    struct waiter **end = link_of(lease, UINT64_MAX);
    if (waiter) {
        waiter->told.place = ++lease->last_place;
        *end = waiter;
    }
    return waiter;
}

static void describe(struct or_book *book, const struct onerow_lease_claim *claim,
                     struct waiter *waiter)
{
    struct or_book_waiter *told = &waiter->told;
    memcpy(told->nonce, claim->nonce, ONEROW_NONCE);
    told->granted_ms = or_u64_min(claim->patience_ms, claim->ttl_ms);
    told->floor = claim->floor;
    told->wake_len = claim->wake.len;
    if (claim->wake.len) {
        memcpy(told->wake, claim->wake.data, claim->wake.len);
    }
    waiter->until_ms = book->now_ms + claim->patience_ms;
}

static int book_line_up(struct or_book *book, const struct onerow_lease_claim *claim,
                        uint64_t *place)
{
    struct lease *lease = find_lease(leases_of(book), claim->name);
    struct waiter *waiter = *place ? *link_of(lease, *place) : add_waiter(lease);
    if (!waiter) {
        return NO_MEMORY;
    }
    *place = waiter->told.place;
    if (!set_text(&waiter->who, claim->who)) {
        return NO_MEMORY; /* one that is not live yet is none */
    }
    describe(book, claim, waiter);
    return 0;
}

static int book_leave(struct or_book *book, struct onerow_span name, uint64_t place)
{
    drop_waiter(link_of(find_lease(leases_of(book), name), place));
    return 0;
}

static uint64_t count_live(const struct lease *lease, uint64_t place, uint64_t now_ms)
{
    uint64_t n = 0;
    for (const struct waiter *at = lease->queue; at && at->told.place < place; at = at->next) {
        n += at->until_ms > now_ms;
    }
    return n;
}

static int book_count(struct or_book *book, struct onerow_span name, uint64_t place, uint64_t *n)
{
    const struct lease *lease = find_lease(leases_of(book), name);
    *n = lease ? count_live(lease, place, book->now_ms) : 0;
    return 0;
}

static bool book_lives(struct or_book *book, const struct or_book_session *session)
{
    (void)book;
    (void)session;
    return true;
}

static struct onerow_span put_text(char **at, struct onerow_span text)
{
    struct onerow_span kept = {*at, text.len};
    if (text.len) {
        memcpy(*at, text.data, text.len);
        *at += text.len;
    }
    return kept;
}

static int book_note(struct or_book *book, struct onerow_lease_forced *out, struct or_arena *arena)
{
    struct or_memory_leases *leases = leases_of(book);
    struct onerow_span who = span_of(&find_lease(leases, out->name)->who);
    out->who = or_arena_copy(arena, who);
    struct forced *made = malloc(sizeof *made + out->name.len + who.len + out->by.len);
    if (!made || !out->who.data) {
        free(made);
        return NO_MEMORY;
    }
    char *at = made->texts;
    made->told = *out;
    made->told.name = put_text(&at, out->name);
    made->told.who = put_text(&at, who);
    made->told.by = put_text(&at, out->by);
    made->older = leases->trail;
    leases->trail = made;
    return 0;
}

static const struct or_book_ops book_ops = {
    .find = book_find,
    .take = book_take,
    .keep = book_keep,
    .hand = book_hand,
    .give_up = book_give_up,
    .front = book_front,
    .own = book_own,
    .line_up = book_line_up,
    .leave = book_leave,
    .count = book_count,
    .lives = book_lives,
    .note = book_note,
};

/* ---- making and unmaking ---------------------------------------------------------------------
 */

struct or_memory_leases *or_memory_leases_create(void)
{
    struct or_memory_leases *leases = calloc(1, sizeof *leases);
    if (leases) {
        leases->book.ops = &book_ops;
        pthread_mutex_init(&leases->lock, NULL);
    }
    return leases;
}

static void drop_lease(struct or_memory_leases *leases, struct lease *lease)
{
    HASH_DEL(leases->leases, lease);
    while (lease->queue) {
        drop_waiter(&lease->queue);
    }
    free(lease->who.data);
    free(lease);
}

static void drop_shared(struct or_memory_leases *leases, struct shared_record *record)
{
    HASH_DEL(leases->shared, record);
    free(record->body.data);
    free(record);
}

void or_memory_leases_destroy(struct or_memory_leases *leases)
{
    if (!leases) {
        return;
    }
    while (leases->leases) {
        drop_lease(leases, leases->leases); /* NOLINT(clang-analyzer-unix.Malloc): the next one */
    }
    while (leases->shared) {
        drop_shared(leases, leases->shared); /* NOLINT(clang-analyzer-unix.Malloc): the next one */
    }
    while (leases->trail) {
        struct forced *newest = leases->trail;
        leases->trail = newest->older;
        free(newest);
    }
    pthread_mutex_destroy(&leases->lock);
    free(leases);
}

/* ---- the calls -------------------------------------------------------------------------------
 */

static struct or_memory_leases *begin(struct onerow_coordinator *base)
{
    struct or_memory_leases *leases = or_memory_leases_of(base);
    pthread_mutex_lock(&leases->lock);
    or_book_begin(&leases->book);
    return leases;
}

static enum onerow_status end(struct or_memory_leases *leases, int code, struct onerow_error *error)
{
    struct or_book told = leases->book;
    pthread_mutex_unlock(&leases->lock);
    if (code != 0) {
        return no_memory(error);
    }
    or_book_tell(&told);
    return ONEROW_OK;
}

static enum onerow_status memory_acquire(struct onerow_coordinator *base,
                                         struct onerow_lease_claim *claim,
                                         struct onerow_error *error)
{
    or_book_check(claim);
    struct or_memory_leases *leases = begin(base);
    return end(leases, or_book_acquire(&leases->book, claim), error);
}

static enum onerow_status memory_renew(struct onerow_coordinator *base,
                                       struct onerow_lease_claim *claim, struct onerow_error *error)
{
    or_book_check(claim);
    struct or_memory_leases *leases = begin(base);
    return end(leases, or_book_renew(&leases->book, claim), error);
}

static enum onerow_status memory_release(struct onerow_coordinator *base,
                                         struct onerow_lease_claim *claim,
                                         struct onerow_error *error)
{
    or_book_check_name(claim->name);
    struct or_memory_leases *leases = begin(base);
    return end(leases, or_book_release(&leases->book, claim), error);
}

static enum onerow_status memory_cancel(struct onerow_coordinator *base,
                                        struct onerow_lease_claim *claim,
                                        struct onerow_error *error)
{
    or_book_check_name(claim->name);
    struct or_memory_leases *leases = begin(base);
    return end(leases, or_book_cancel(&leases->book, claim), error);
}

static enum onerow_status memory_force(struct onerow_coordinator *base,
                                       struct onerow_lease_forced *forced, struct or_arena *arena,
                                       struct onerow_error *error)
{
    bool found = false;
    or_book_check_name(forced->name);
    struct or_memory_leases *leases = begin(base);
    enum onerow_status status =
        end(leases, or_book_force(&leases->book, forced, arena, &found), error);
    return status == ONEROW_OK && !found ? or_fail(error, ONEROW_ABSENT, "nobody holds it")
                                         : status;
}

/* ---- lists -----------------------------------------------------------------------------------
 */

static bool begins_with(struct onerow_span text, struct onerow_span prefix)
{
    return text.len >= prefix.len &&
           or_span_equal((struct onerow_span){text.data, prefix.len}, prefix);
}

static int by_name(const struct lease *a, const struct lease *b)
{
    return or_span_compare((struct onerow_span){a->name, a->len},
                           (struct onerow_span){b->name, b->len});
}

static struct onerow_lease_view view_of(const struct lease *lease, uint64_t now_ms)
{
    uint64_t left = lease->told.taken ? or_u64_sub(lease->told.expires_ms, now_ms) : 0;
    return (struct onerow_lease_view){.name = {lease->name, lease->len},
                                      .who = span_of(&lease->who),
                                      .held = left > 0,
                                      .token = lease->told.token,
                                      .since_ms = lease->since_ms,
                                      .left_ms = left,
                                      .waiters = count_live(lease, UINT64_MAX, now_ms)};
}

static enum onerow_status memory_list(struct onerow_coordinator *base, struct onerow_span prefix,
                                      bool free_too, onerow_visit_lease *visit, void *context,
                                      struct onerow_error *error)
{
    struct or_memory_leases *leases = begin(base);
    bool more = true;
    HASH_SORT(leases->leases, by_name);
    for (struct lease *at = leases->leases; at && more; at = at->hh.next) {
        struct onerow_lease_view view = view_of(at, leases->book.now_ms);
        bool wanted = view.token && (free_too || view.held || view.waiters);
        if (wanted && begins_with(view.name, prefix)) {
            more = visit(context, &view);
        }
    }
    return end(leases, 0, error);
}

static enum onerow_status memory_trail(struct onerow_coordinator *base, struct onerow_span prefix,
                                       onerow_visit_forced *visit, void *context,
                                       struct onerow_error *error)
{
    struct or_memory_leases *leases = begin(base);
    bool more = true;
    for (const struct forced *at = leases->trail; at && more; at = at->older) {
        if (begins_with(at->told.name, prefix)) {
            more = visit(context, &at->told);
        }
    }
    return end(leases, 0, error);
}

/* ---- shared records --------------------------------------------------------------------------
 */

static struct shared_record *want_shared(struct or_memory_leases *leases, struct onerow_span name)
{
    struct shared_record *record = NULL;
    HASH_FIND(hh, leases->shared, name.data, name.len, record);
    if (record) {
        return record;
    }
    record = calloc(1, sizeof *record + name.len);
    if (!record) {
        return NULL;
    }
    record->len = name.len;
    memcpy(record->name, name.data, name.len);
    HASH_ADD_KEYPTR(hh, leases->shared, record->name, record->len, record);
    if (record->lost) {
        free(record);
        return NULL;
    }
    return record;
}

static int share(struct or_memory_leases *leases, struct onerow_span name, onerow_rule *rule,
                 void *context, struct or_buffer *becomes)
{
    struct shared_record *record = want_shared(leases, name);
    if (!record) {
        return NO_MEMORY;
    }
    if (!rule(context, span_of(&record->body), leases->book.now_ms, becomes)) {
        return 0;
    }
    assert(becomes->len <= ONEROW_SHARED_MAX);
    return !becomes->failed && set_text(&record->body, or_buffer_view(becomes)) ? 0 : NO_MEMORY;
}

static enum onerow_status memory_share(struct onerow_coordinator *base, struct onerow_span name,
                                       onerow_rule *rule, void *context, struct onerow_error *error)
{
    struct or_buffer becomes;
    or_book_check_name(name);
    or_buffer_init(&becomes);
    struct or_memory_leases *leases = begin(base);
    enum onerow_status status = end(leases, share(leases, name, rule, context, &becomes), error);
    or_buffer_finish(&becomes);
    return status;
}

/* ---- what there is none of -------------------------------------------------------------------
 */

/* Whose turn it is comes to base/wake.h's socket. */
static enum onerow_status memory_woken(struct onerow_coordinator *base, onerow_visit_woken *visit,
                                       void *context, struct onerow_error *error)
{
    (void)base;
    (void)visit;
    (void)context;
    (void)error;
    return ONEROW_OK;
}

static int no_descriptor(struct onerow_coordinator *base)
{
    (void)base;
    return -1;
}

const struct onerow_lease_ops or_memory_lease_ops = {
    .acquire = memory_acquire,
    .renew = memory_renew,
    .release = memory_release,
    .cancel = memory_cancel,
    .force = memory_force,
    .list = memory_list,
    .trail = memory_trail,
    .share = memory_share,
    .wake_fd = no_descriptor,
    .woken = memory_woken,
    .keep_fd = no_descriptor,
};
