/* SPDX-License-Identifier: Apache-2.0
 *
 * `onerow heal` over a store of pages that goes wrong: blanks, twins, writes that nobody finished,
 * a ledger that was rolled back, pages that are not to be found, and keys that a person changed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/status.h"
#include "base/text.h"
#include "engine/page_heal.h"
#include "engine/single.h"
#include "tests/support/seat.h"

static struct or_heal_report report;

static int start(void **state)
{
    int code = seat_start(state);
    setenv("ONEROW_STATE", bench_file(&seat.b, "state"), 1);
    return code;
}

static enum onerow_status heal(void)
{
    seat.b.error = (struct onerow_error){0};
    return or_page_heal(&seat.b.table, OR_HEAL_EVERYTHING, NULL, NULL, &report, &seat.b.error);
}

static enum onerow_status heal_key(enum or_heal_what what, const char *key)
{
    struct or_item item = {0};
    struct or_entry entry = {0};
    const char *json = text(&seat.b, "{\"k\":\"%s\"}", key);
    assert_int_equal(or_input_parse_json(or_span(json), &seat.b.arena, &item), ONEROW_OK);
    assert_int_equal(or_single_bind_key(&seat.b.table, &item, &entry, &seat.b.arena, &seat.b.error),
                     ONEROW_OK);
    return or_page_heal(&seat.b.table, what, &entry, NULL, &report, &seat.b.error);
}

/* A blank of this ledger, or of another one, made so long ago. */
static struct fake_page *blank(const char *ledger_id, uint64_t number, uint64_t age_ms)
{
    const char *id = fake_plant(world, "", "");
    struct fake_page *page = fake_page(world, or_span(id));
    page->keyed = false;
    page->made_ms = page->made_ms + 1000000 - age_ms;
    (void)snprintf(page->title, sizeof page->title, "onerow:blank:%s-%llu.1", ledger_id,
                   (unsigned long long)number);
    return page;
}

static const char *journal(void)
{
    static char content[4096];
    FILE *file = fopen(bench_file(&seat.b, "state/heal.jsonl"), "r");
    content[0] = '\0';
    if (file) {
        content[fread(content, 1, sizeof content - 1, file)] = '\0';
        fclose(file);
    }
    return content;
}

/* ---- nothing, blanks ---------------------------------------------------------------------------
 */

static void nothing_to_heal(void **state)
{
    (void)state;
    assert_int_equal(heal(), ONEROW_OK);
    assert_string_equal(say("{'k':'a','v':'1'}\n{'k':'b','v':'1'}"), "created,created");
    assert_int_equal(heal(), ONEROW_OK);
    assert_int_equal(fake_live(world, "a") + fake_live(world, "b"), 2);
    assert_string_equal(journal(), "");
}

static void blanks_are_swept(void **state)
{
    (void)state;
    const char *own = seat.ledger.space.ledger_id;
    assert_string_equal(say("{'k':'a','v':'1'}"), "created"); /* numbers up to 256 are given */
    struct fake_page *old = blank(own, 7, 3600000);
    struct fake_page *young = blank(own, 8, 1000);
    struct fake_page *foreign = blank("00112233445566778899aabbccddeeff", 7, 3600000);
    struct fake_page *odd = blank(own, 7, 3600000);
    strcpy(odd->title, "onerow:blank:of somebody");
    assert_int_equal(heal(), ONEROW_LEFT);
    assert_int_equal(report.swept, 1);
    assert_int_equal(report.young, 1);
    assert_int_equal(report.foreign, 2);
    assert_true(old->trashed);
    assert_false(young->trashed || foreign->trashed || odd->trashed);
    assert_contains(journal(), "\"what\":\"sweep\",\"key\":null}");
    young->made_ms -= 3600000;
    foreign->trashed = odd->trashed = true;
    assert_int_equal(heal(), ONEROW_OK);
    assert_true(young->trashed);
    assert_int_equal(fake_live(world, "a"), 1);
}

/* The spare that an attempt holds is condemned first: it binds another one. */
static void a_blank_that_was_swept_is_not_bound(void **state)
{
    (void)state;
    struct fake_page *page = blank(seat.ledger.space.ledger_id, 0, 3600000);
    (void)snprintf(page->title, sizeof page->title, "onerow:blank:%s-1.1",
                   seat.ledger.space.ledger_id);
    seat.pages.spares.n = 1;
    strcpy(seat.pages.spares.ids[0], "p1");
    seat.pages.spares.lens[0] = 2;
    assert_string_equal(say("{'k':'a'}"), "created");
    assert_string_equal(seat.b.ids, "p1"); /* the control: without a sweep it is taken */
    page = blank(seat.ledger.space.ledger_id, 2, 3600000);
    assert_int_equal(heal(), ONEROW_OK);
    assert_true(page->trashed);
    seat.pages.spares.n = 1;
    strcpy(seat.pages.spares.ids[0], "p2");
    assert_string_equal(say("{'k':'b'}"), "created");
    assert_string_equal(seat.b.ids, "p3");
    assert_int_equal(world->twins, 0);
}

/* ---- twins -------------------------------------------------------------------------------------
 */

static void one_page_of_each_is_left(void **state)
{
    (void)state;
    assert_string_equal(say("{'k':'a','v':'1'}"), "created");
    const char *plain = text(&seat.b, "%s", fake_plant(world, "a", "v=2;"));
    const char *edited = text(&seat.b, "%s", fake_plant(world, "a", "v=3;"));
    fake_page(world, or_span(edited))->edited = true;
    fake_plant(world, "b", "v=1;"); /* twins that no ledger knows */
    fake_plant(world, "b", "v=2;");
    assert_int_equal(heal(), ONEROW_OK);
    assert_int_equal(report.trashed, 2);
    assert_int_equal(report.moved, 1);
    assert_int_equal(report.adopted, 1);
    assert_int_equal(fake_live(world, "a"), 1);
    assert_int_equal(fake_live(world, "b"), 1);
    assert_string_equal(fake_find(world, "a")->text, "v=1;");
    assert_true(fake_page(world, or_span(plain))->trashed);
    assert_false(fake_page(world, or_span(edited))->trashed);
    assert_string_equal(fake_page(world, or_span(edited))->title,
                        text(&seat.b, "onerow:moved:%s", edited));
    assert_contains(
        journal(),
        text(&seat.b, "\"page\":\"%s\",\"what\":\"trash\",\"key\":{\"k\":\"a\"}}", plain));
    assert_contains(journal(), text(&seat.b, "\"page\":\"%s\",\"what\":\"move\"", edited));
    assert_int_equal(heal(), ONEROW_OK);
    assert_int_equal(report.trashed + report.moved, 0);
}

static void without_a_journal_nothing_is_put_away(void **state)
{
    (void)state;
    fake_plant(world, "b", "v=1;");
    fake_plant(world, "b", "v=2;");
    setenv("ONEROW_STATE", "/proc/nowhere", 1);
    assert_true(onerow_status_exit(heal()) > 1);
    assert_int_equal(fake_live(world, "b"), 2);
}

static void through_all_faults(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 40; i++) {
        const char *key = text(&seat.b, "key-%u", i);
        fake_plant(world, key, "v=1;");
        fake_plant(world, key, "v=2;");
        fake_plant(world, key, "v=3;");
    }
    world->faults = (struct fake_faults){
        .lost = 80, .before = 80, .conflict = 80, .rate = 20, .incomplete = 80};
    world->retry_ms = 10;
    enum onerow_status status = heal();
    world->faults = (struct fake_faults){0};
    assert_true(status == ONEROW_OK || status == ONEROW_LEFT || status == ONEROW_UNAVAILABLE);
    assert_int_equal(heal(), ONEROW_OK);
    for (unsigned i = 0; i < 40; i++) {
        assert_int_equal(fake_live(world, text(&seat.b, "key-%u", i)), 1);
    }
}

/* ---- what nobody finished ----------------------------------------------------------------------
 */

static void what_was_begun_is_brought_to_an_end(void **state)
{
    (void)state;
    static const struct or_retry_limits short_limits = {
        .classes = {[OR_RETRY_UNCERTAIN] = {2, 20, 0}}, .total_ms = 200};
    assert_string_equal(say("{'k':'b','v':'1'}"), "created");
    seat.pages.attempt.retry = &short_limits;
    world->script[ONEROW_PAGE_PUBLISH] = world->script[ONEROW_PAGE_WRITE] = ONEROW_PAGE_UNCERTAIN;
    assert_string_equal(say("{'k':'a','v':'1'}\n{'k':'b','v':'2'}"),
                        "unknown:not confirmed in the time allowed: as the test says,"
                        "unknown:not confirmed in the time allowed: as the test says");
    world->script[ONEROW_PAGE_PUBLISH] = world->script[ONEROW_PAGE_WRITE] = ONEROW_PAGE_OK;
    seat.pages.attempt.retry = &seat_retry;
    assert_int_equal(heal(), ONEROW_LEFT); /* a write may still arrive */
    assert_int_equal(report.settled, 2);
    assert_int_equal(report.early, 2);
    assert_string_equal(fake_find(world, "a")->text, "v=1;");
    assert_string_equal(fake_find(world, "b")->text, "v=2;");
    strcpy(fake_find(world, "b")->text, "v=1;"); /* and does: one that came late */
    (void)usleep(1300000);                       /* the bounds of these writes */
    assert_int_equal(heal(), ONEROW_LEFT);
    assert_int_equal(report.settled, 1);
    assert_string_equal(fake_find(world, "b")->text, "v=2;");
    (void)usleep(1300000);
    assert_int_equal(heal(), ONEROW_OK);
    assert_string_equal(say("{'k':'a','v':'1'}\n{'k':'b','v':'2'}"), "unchanged,unchanged");
}

/* ---- a ledger that was rolled back -------------------------------------------------------------
 */

static void a_ledger_that_lost_its_end_learns_every_page(void **state)
{
    (void)state;
    const char *own = seat.ledger.space.ledger_id;
    for (unsigned i = 0; i < 250; i++) {
        fake_plant(world, text(&seat.b, "key-%u", i), "v=1;");
    }
    fake_plant(world, "twin", "v=1;");
    fake_plant(world, "twin", "v=2;");
    struct fake_page *young = blank(own, 5000, 1000); /* a number that was never given */
    assert_int_equal(heal(), ONEROW_LEFT);
    assert_true(report.suspect);
    assert_false(report.confirmed); /* the blank may be bound by what was lost */
    assert_int_equal(report.adopted, 251);
    assert_int_equal(report.trashed, 1);
    seat.pages.attempt.may_create = false;
    assert_contains(say("{'k':'new'}\n{'k':'key-7','v':'2'}"),
                    "rejected:the ledger was rolled back");
    assert_string_equal(fake_find(world, "key-7")->text, "v=2;");
    young->made_ms -= 3600000;
    assert_int_equal(heal(), ONEROW_OK);
    assert_true(report.confirmed && young->trashed);
    assert_int_equal(heal(), ONEROW_OK);
    assert_false(report.suspect);
    seat.pages.attempt.may_create = true;
    assert_string_equal(say("{'k':'new'}\n{'k':'key-8','v':'1'}"), "created,updated");
}

/* ---- forget, rekey -----------------------------------------------------------------------------
 */

static void a_page_that_is_not_found_is_forgotten(void **state)
{
    (void)state;
    assert_string_equal(say("{'k':'a','v':'1'}"), "created");
    assert_int_equal(heal_key(OR_HEAL_FORGET, "b"), ONEROW_ABSENT);
    fake_find(world, "a")->trashed = true;
    world->script[ONEROW_PAGE_WRITE] = ONEROW_PAGE_NOT_FOUND;
    assert_contains(say("{'k':'a','v':'2'}"), "unknown:the store does not find the page");
    world->script[ONEROW_PAGE_WRITE] = ONEROW_PAGE_OK;
    assert_int_equal(heal_key(OR_HEAL_FORGET, "a"), ONEROW_OK);
    assert_contains(journal(), "\"page\":\"p1\",\"what\":\"forget\",\"key\":{\"k\":\"a\"}}");
    assert_string_equal(say("{'k':'a','v':'2'}"), "created"); /* once nothing may arrive any more */
    assert_string_equal(seat.b.ids, "p2");
}

static void a_key_that_a_person_gave_takes_the_page_over(void **state)
{
    (void)state;
    assert_string_equal(say("{'k':'a','v':'1'}\n{'k':'c','v':'1'}"), "created,created");
    const char *id = text(&seat.b, "p%.1s", strchr(seat.b.ids, 'p') + 1);
    assert_int_equal(heal_key(OR_HEAL_REKEY, "b"), ONEROW_ABSENT);
    strcpy(fake_page(world, or_span(id))->key, "b");
    assert_contains(say("{'k':'b','v':'2'}"),
                    "rejected:a page with this key belongs to another key");
    assert_int_equal(heal_key(OR_HEAL_REKEY, "b"), ONEROW_OK);
    assert_int_equal(report.adopted, 1);
    assert_string_equal(say("{'k':'b','v':'2'}"), "updated");
    assert_string_equal(seat.b.ids, id);
    assert_string_equal(say("{'k':'a','v':'1'}"), "created"); /* it has none any more */
    assert_int_equal(fake_live(world, "a") + fake_live(world, "b") + fake_live(world, "c"), 3);
    assert_int_equal(heal_key(OR_HEAL_REKEY, "c"), ONEROW_ABSENT); /* its own is not taken */
    assert_int_equal(world->twins, 0);
}

static void not_while_a_write_may_arrive(void **state)
{
    (void)state;
    static const struct or_retry_limits once = {.total_ms = 40};
    assert_string_equal(say("{'k':'a','v':'1'}"), "created");
    seat.pages.attempt.retry = &once;
    world->script[ONEROW_PAGE_WRITE] = ONEROW_PAGE_UNCERTAIN;
    assert_contains(say("{'k':'a','v':'2'}"), "unknown");
    world->script[ONEROW_PAGE_WRITE] = ONEROW_PAGE_OK;
    seat.pages.attempt.retry = &seat_retry;
    assert_string_equal(say("{'k':'a','v':'2'}"), "unchanged"); /* helped, and doubtful */
    strcpy(fake_find(world, "a")->key, "b");
    assert_int_equal(heal_key(OR_HEAL_REKEY, "b"), ONEROW_BUSY);
    assert_contains(seat.b.error.text, "may still arrive");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, seat_stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(nothing_to_heal),
        TEST(blanks_are_swept),
        TEST(a_blank_that_was_swept_is_not_bound),
        TEST(one_page_of_each_is_left),
        TEST(without_a_journal_nothing_is_put_away),
        TEST(through_all_faults),
        TEST(what_was_begun_is_brought_to_an_end),
        TEST(a_ledger_that_lost_its_end_learns_every_page),
        TEST(a_page_that_is_not_found_is_forgotten),
        TEST(a_key_that_a_person_gave_takes_the_page_over),
        TEST(not_while_a_write_may_arrive),
    };
    seed_dice();
    return cmocka_run_group_tests_name("page_heal", tests, NULL, NULL);
}
