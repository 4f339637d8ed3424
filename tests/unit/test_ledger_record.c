/* SPDX-License-Identifier: Apache-2.0
 *
 * core/ledger.c: what is written is read again, and nothing else is. Random records make the round
 * trip; every shorter, longer or altered body is refused or read as another valid record, never
 * beyond its end (the address sanitizer watches).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/text.h"
#include "core/ledger.h"
#include "tests/support/bench.h"

#define BYTES 64U

struct made {
    char page[BYTES];
    char order[BYTES];
    char text[BYTES];
    char pending_order[BYTES];
    struct or_swap swap;
};

static struct onerow_span random_span(char room[BYTES])
{
    size_t len = dice() % BYTES;
    for (size_t i = 0; i < len; i++) {
        room[i] = (char)dice();
    }
    return (struct onerow_span){room, len};
}

static struct onerow_value random_value(char room[BYTES])
{
    if (dice() % 3 == 0) {
        return (struct onerow_value){0};
    }
    struct onerow_span text = random_span(room);
    return (struct onerow_value){.data = text.data, .len = (uint32_t)text.len, .kind = ONEROW_TEXT};
}

static void random_fingerprint(uint8_t fingerprint[OR_FINGERPRINT_LEN])
{
    for (size_t i = 0; i < OR_FINGERPRINT_LEN; i++) {
        fingerprint[i] = (uint8_t)dice();
    }
}

/* A key's record in some state, with the fields that the state must have. */
static void make_random(struct made *made)
{
    static const enum or_key_state STATES[] = {OR_KEY_ABSENT, OR_KEY_BOUND,     OR_KEY_WRITING,
                                               OR_KEY_DONE,   OR_KEY_TOMBSTONE, OR_KEY_INTENT};
    struct or_key_record *key = &made->swap.becomes;
    memset(made, 0, sizeof *made);
    key->state = STATES[dice() % 6];
    key->doubtful = dice() % 2;
    key->known = dice() % 2;
    key->generation = dice();
    key->version = dice();
    random_fingerprint(key->fingerprint);
    key->order = random_value(made->order);
    if (key->state != OR_KEY_ABSENT && key->state != OR_KEY_INTENT) {
        key->page = random_span(made->page);
        key->page.len += key->page.len == 0;
    }
    bool pending = key->state == OR_KEY_BOUND || key->state == OR_KEY_WRITING ||
                   key->state == OR_KEY_INTENT || dice() % 2;
    if (pending) {
        key->nonce = (struct or_nonce){dice() | 1, (uint32_t)dice()};
        key->pending.text = random_span(made->text);
        random_fingerprint(key->pending.fingerprint);
        key->pending.order = random_value(made->pending_order);
    }
    made->swap.revision = dice() % 1000;
    made->swap.stamp = dice() % 2;
    made->swap.taken = (struct or_nonce){dice() | 1, (uint32_t)dice()};
    made->swap.refused = (struct or_nonce){dice() | 1, (uint32_t)dice()};
    made->swap.page = OR_SPAN("page");
    made->swap.page_becomes = OR_PAGE_BOUND;
}

static bool equal_spans(struct onerow_span a, struct onerow_span b)
{
    return !a.data == !b.data && or_span_equal(a, b);
}

static bool equal_values(const struct onerow_value *a, const struct onerow_value *b)
{
    return a->kind == b->kind && equal_spans((struct onerow_span){a->data, a->len},
                                             (struct onerow_span){b->data, b->len});
}

static void assert_same_key(const struct or_key_record *a, const struct or_key_record *b)
{
    assert_int_equal(a->state, b->state);
    assert_int_equal(a->doubtful, b->doubtful);
    assert_int_equal(a->known, b->known);
    assert_true(a->generation == b->generation && a->version == b->version);
    assert_true(equal_spans(a->page, b->page));
    assert_memory_equal(a->fingerprint, b->fingerprint, OR_FINGERPRINT_LEN);
    assert_true(equal_values(&a->order, &b->order));
    assert_true(or_nonce_equal(a->nonce, b->nonce));
    assert_true(equal_spans(a->pending.text, b->pending.text));
    assert_memory_equal(a->pending.fingerprint, b->pending.fingerprint, OR_FINGERPRINT_LEN);
    assert_true(equal_values(&a->pending.order, &b->pending.order));
}

static struct onerow_ledger_record stored(const struct onerow_ledger_change *change)
{
    return (struct onerow_ledger_record){.kind = change->kind,
                                         .name = change->name,
                                         .revision = 7,
                                         .state = change->state,
                                         .since_ms = 9,
                                         .body = change->body};
}

static void what_is_written_is_read(void **state)
{
    seed_dice();
    (void)state;
    for (unsigned i = 0; i < 20000; i++) {
        struct made made;
        struct onerow_ledger_change changes[ONEROW_LEDGER_CHANGES];
        make_random(&made);
        size_t most = or_swap_room(&made.swap, OR_SPAN("key"));
        char *room = malloc(most);
        assert_non_null(room);
        assert_int_equal(or_swap_encode(&made.swap, OR_SPAN("key"), changes, room), 4);
        struct onerow_ledger_record records[4];
        for (size_t c = 0; c < 4; c++) {
            records[c] = stored(&changes[c]);
        }
        struct or_key_record key;
        struct or_page_record page;
        struct or_attempt_record attempt;
        assert_true(or_key_decode(&records[0], &key));
        assert_same_key(&key, &made.swap.becomes);
        assert_true(key.revision == 7 && key.since_ms == 9);
        assert_true(or_page_decode(&records[1], &page));
        assert_true(or_span_is(page.key, "key"));
        assert_true(page.generation == made.swap.becomes.generation);
        assert_true(or_attempt_decode(&records[2], &attempt));
        assert_int_equal(attempt.state, OR_ATTEMPT_TAKEN);
        assert_true(attempt.version == made.swap.becomes.version);
        assert_true(or_attempt_decode(&records[3], &attempt));
        assert_int_equal(attempt.state, OR_ATTEMPT_REFUSED);
        free(room);
    }
}

/* In memory of its own length, so that a step beyond its end is seen. */
static bool decodes(struct onerow_ledger_record record, const char *body, size_t len)
{
    char *copy = malloc(len ? len : 1);
    struct or_key_record key;
    struct or_page_record page;
    struct or_attempt_record attempt;
    assert_non_null(copy);
    memcpy(copy, body, len);
    record.body = (struct onerow_span){copy, len};
    bool decoded = record.kind == ONEROW_LEDGER_KEY    ? or_key_decode(&record, &key)
                   : record.kind == ONEROW_LEDGER_PAGE ? or_page_decode(&record, &page)
                                                       : or_attempt_decode(&record, &attempt);
    free(copy);
    return decoded;
}

static void bodies_of_another_length_are_refused(void **state)
{
    seed_dice();
    (void)state;
    for (unsigned i = 0; i < 100; i++) {
        struct made made;
        struct onerow_ledger_change changes[ONEROW_LEDGER_CHANGES];
        make_random(&made);
        char *room = malloc(or_swap_room(&made.swap, OR_SPAN("key")) + 1);
        assert_non_null(room);
        or_swap_encode(&made.swap, OR_SPAN("key"), changes, room);
        for (size_t c = 0; c < 4; c++) {
            struct onerow_ledger_record record = stored(&changes[c]);
            char longer[2048];
            assert_true(record.body.len < sizeof longer);
            memcpy(longer, record.body.data, record.body.len);
            longer[record.body.len] = 0;
            assert_true(decodes(record, longer, record.body.len));
            assert_false(decodes(record, longer, record.body.len + 1));
            for (size_t len = 0; len < record.body.len; len++) {
                assert_false(decodes(record, longer, len));
            }
        }
        free(room);
    }
}

static void altered_bodies_do_no_harm(void **state)
{
    seed_dice();
    (void)state;
    unsigned refused = 0;
    for (unsigned i = 0; i < 5000; i++) {
        struct made made;
        struct onerow_ledger_change changes[ONEROW_LEDGER_CHANGES];
        make_random(&made);
        char *room = malloc(or_swap_room(&made.swap, OR_SPAN("key")));
        assert_non_null(room);
        or_swap_encode(&made.swap, OR_SPAN("key"), changes, room);
        struct onerow_ledger_record record = stored(&changes[dice() % 4]);
        char altered[2048];
        memcpy(altered, record.body.data, record.body.len);
        altered[dice() % record.body.len] ^= (char)(1U << dice() % 8);
        refused += !decodes(record, altered, record.body.len);
        free(room);
    }
    assert_true(refused > 0);
}

static void states_that_do_not_fit_are_refused(void **state)
{
    (void)state;
    struct made made;
    struct onerow_ledger_change changes[ONEROW_LEDGER_CHANGES];
    char room[2048];
    memset(&made, 0, sizeof made);
    made.swap.becomes = (struct or_key_record){.state = OR_KEY_DONE, .page = OR_SPAN("p")};
    or_swap_encode(&made.swap, OR_SPAN("key"), changes, room);
    struct onerow_ledger_record record = stored(&changes[0]);
    struct or_key_record key;
    assert_true(or_key_decode(&record, &key));
    static const uint8_t WRONG[] = {OR_KEY_NONE,    OR_KEY_ABSENT, OR_KEY_BOUND,
                                    OR_KEY_WRITING, OR_KEY_INTENT, OR_KEY_INTENT + 1};
    for (size_t i = 0; i < sizeof WRONG; i++) { /* none of these has a page and nothing pending */
        record.state = WRONG[i];
        assert_false(or_key_decode(&record, &key));
    }
    made.swap.becomes.nonce = (struct or_nonce){7, 1};
    made.swap.becomes.pending = (struct or_payload){.text = OR_SPAN("text")};
    or_swap_encode(&made.swap, OR_SPAN("key"), changes, room);
    record = stored(&changes[0]);
    record.state = OR_KEY_BOUND;
    assert_true(or_key_decode(&record, &key));
    record.state = OR_KEY_INTENT; /* has no page yet */
    assert_false(or_key_decode(&record, &key));
    struct onerow_ledger_record never = {.kind = ONEROW_LEDGER_KEY};
    assert_true(or_key_decode(&never, &key));
    assert_int_equal(key.state, OR_KEY_NONE);
}

static void swaps_that_name_less(void **state)
{
    struct onerow_ledger_change changes[ONEROW_LEDGER_CHANGES];
    char room[2048];
    struct or_page_record page;
    struct or_attempt_record attempt;
    (void)state;
    struct or_swap swap = {.no_key = true,
                           .page = OR_SPAN("p"),
                           .page_revision = 3,
                           .page_states = 1U << OR_PAGE_BLANK,
                           .page_becomes = OR_PAGE_CONDEMNED};
    assert_int_equal(or_swap_encode(&swap, OR_SPAN("key"), changes, room), 1);
    assert_int_equal(changes[0].kind, ONEROW_LEDGER_PAGE);
    assert_true(changes[0].revision == 3 && changes[0].states == 1U << OR_PAGE_BLANK);
    struct onerow_ledger_record record = stored(&changes[0]);
    assert_true(or_page_decode(&record, &page));
    assert_null(page.key.data);
    record.state = OR_PAGE_BOUND; /* to which key? */
    assert_false(or_page_decode(&record, &page));
    record.state = OR_PAGE_CONDEMNED + 1;
    assert_false(or_page_decode(&record, &page));
    record.state = 0;
    assert_false(or_page_decode(&record, &page));

    swap = (struct or_swap){.keep_key = true, .revision = 4, .page = OR_SPAN("p")};
    assert_int_equal(or_swap_encode(&swap, OR_SPAN("key"), changes, room), 2);
    assert_int_equal(changes[0].state, 0); /* only conditions */
    assert_int_equal(changes[1].state, 0);
    assert_true(changes[0].revision == 4);

    struct onerow_ledger_record never = {.kind = ONEROW_LEDGER_PAGE};
    assert_true(or_page_decode(&never, &page));
    assert_int_equal(page.state, OR_PAGE_UNRECORDED);
    assert_true(or_attempt_decode(&never, &attempt));
    assert_int_equal(attempt.state, OR_ATTEMPT_NONE);
    never.state = 1;
    assert_false(or_page_decode(&never, &page));
    assert_false(or_attempt_decode(&never, &attempt));
}

static void attempts_of_no_known_kind(void **state)
{
    struct onerow_ledger_change changes[ONEROW_LEDGER_CHANGES];
    char room[2048];
    struct or_attempt_record attempt;
    (void)state;
    struct or_swap swap = {.no_key = true, .taken = {1, 2}};
    assert_int_equal(or_swap_encode(&swap, OR_SPAN("key"), changes, room), 1);
    struct onerow_ledger_record record = stored(&changes[0]);
    assert_true(or_attempt_decode(&record, &attempt));
    record.state = OR_ATTEMPT_REFUSED + 1;
    assert_false(or_attempt_decode(&record, &attempt));
}

/* A page's id and a value have their limits in a record, too. */
static void what_is_too_long_is_refused(void **state)
{
    struct onerow_ledger_change changes[ONEROW_LEDGER_CHANGES];
    static char room[4096];
    static char id[OR_PAGE_ID_MAX + 1];
    struct or_key_record key;
    (void)state;
    memset(id, 'x', sizeof id);
    struct or_swap swap = {.becomes = {.state = OR_KEY_DONE, .page = {id, OR_PAGE_ID_MAX}}};
    or_swap_encode(&swap, OR_SPAN("key"), changes, room);
    struct onerow_ledger_record record = stored(&changes[0]);
    assert_true(or_key_decode(&record, &key));
    /* the length of the id: format, flags, two numbers, then its own number */
    char *length = room + 2 + 16;
    length[0] = (char)(OR_PAGE_ID_MAX + 1);
    assert_false(or_key_decode(&record, &key));
    length[0] = 0;
    assert_false(or_key_decode(&record, &key));
}

static void nonces(void **state)
{
    (void)state;
    static const struct or_nonce NONCES[] = {{1, 0}, {1, 1}, {42, 7}, {UINT64_MAX, UINT32_MAX}};
    for (size_t i = 0; i < 4; i++) {
        char text[OR_NONCE_TEXT];
        struct or_nonce nonce;
        size_t len = or_nonce_text(NONCES[i], text);
        assert_int_equal(len, strlen(text));
        assert_true(or_nonce_parse((struct onerow_span){text, len}, &nonce));
        assert_true(or_nonce_equal(nonce, NONCES[i]));
    }
    static const char *const WRONG[] = {
        "1x1",         "x",    "",     "1",     ".",    "1.",   ".1",   "0.1",
        "01.1",        "1.01", "1.1x", "1.1.1", "-1.1", "+1.1", " 1.1", "18446744073709551616.1",
        "1.4294967296"};
    for (size_t i = 0; i < sizeof WRONG / sizeof *WRONG; i++) {
        struct or_nonce nonce;
        assert_false(or_nonce_parse(or_span(WRONG[i]), &nonce));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(bodies_of_another_length_are_refused),
        cmocka_unit_test(altered_bodies_do_no_harm),
        cmocka_unit_test(states_that_do_not_fit_are_refused),
        cmocka_unit_test(swaps_that_name_less),
        cmocka_unit_test(attempts_of_no_known_kind),
        cmocka_unit_test(what_is_too_long_is_refused),
        cmocka_unit_test(nonces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
