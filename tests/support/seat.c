/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/seat.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "core/order.h"

const struct or_bounds seat_bounds = {.pause = 1000,
                                      .request = 100,
                                      .life = 100,
                                      .lag = 50,
                                      .skew = 10,
                                      .guard = 10,
                                      .lease = 1000,
                                      .poll = 50};
const struct or_retry_limits seat_retry = {.classes = {[OR_RETRY_CONFLICT] = {2, 50, 0},
                                                       [OR_RETRY_RATE] = {2, 50, 0},
                                                       [OR_RETRY_UNCERTAIN] = {2, 50, 0},
                                                       [OR_RETRY_LOOKUP] = {2, 50, 0},
                                                       [OR_RETRY_BUSY] = {2, 50, 0}},
                                           .total_ms = 60000};
const struct or_breaker_limits seat_never = {
    .percent = 100, .least = 100, .cool_ms = 50, .cool_max_ms = 100, .probe_ms = 1000};

static const struct or_config_store store = {.name = "fake", .url = "fake:"};
static const struct or_config_table config = {.store = &store};

struct fake_world *world;
struct seat seat;

void enter(struct seat *at, const char *ledger)
{
    struct onerow_error error = {0};
    enum onerow_status status = or_ledger_open(&at->ledger, ledger, OR_SPAN("fake things"),
                                               OR_SPAN("k1 \"k\":text"), NULL, &error);
    if (status != ONEROW_OK) {
        print_error("%s\n", error.text);
    }
    assert_int_equal(status, ONEROW_OK);
}

void sit_down(struct seat *at, const char *ledger)
{
    struct or_governor_options options = {.breaker = &seat_never};
    *at = (struct seat){0};
    bench_start(&at->b);
    bench_close(&at->b);
    at->b.table.config = &config;
    at->b.table.spec = (struct onerow_table_spec){.compare_order = or_order_compare};
    fake_open(world, &at->b.table);
    enter(at, ledger);
    at->governor = or_governor_create(&options);
    assert_non_null(at->governor);
    at->pages = (struct or_pages){
        .ledger = &at->ledger,
        .governor = at->governor,
        .attempt = {.may_create = true, .bounds = seat_bounds, .retry = &seat_retry},
        .patience_ms = 60000};
    at->b.table.pages = &at->pages;
}

void govern(struct seat *at, const struct or_governor_options *options)
{
    or_governor_destroy(at->governor);
    at->governor = or_governor_create(options);
    assert_non_null(at->governor);
    at->pages.governor = at->governor;
}

void rise(struct seat *at)
{
    or_governor_destroy(at->governor);
    or_ledger_close(&at->ledger);
    bench_stop(&at->b);
}

const char *memory(void)
{
    static unsigned n;
    static char url[64];
    (void)snprintf(url, sizeof url, "memory:seat-%u", ++n);
    return url;
}

int seat_start(void **state)
{
    (void)state;
    world = fake_create(dice());
    sit_down(&seat, memory());
    return 0;
}

int seat_stop(void **state)
{
    (void)state;
    rise(&seat);
    fake_destroy(world);
    return 0;
}

const char *say(const char *records)
{
    return put(&seat.b, records);
}

struct feed make_feed(struct seat *at, size_t n, size_t first, size_t keys, uint64_t order,
                      const char *value)
{
    struct feed feed = {.entries = or_arena_alloc(&at->b.arena, n * sizeof(struct or_entry)),
                        .sorted = or_arena_alloc(&at->b.arena, n * sizeof(struct or_entry *)),
                        .n = n};
    assert_true(feed.entries && feed.sorted);
    for (size_t i = 0; i < n; i++) {
        const char *json = text(&at->b, "{\"k\":\"key-%zu\",\"v\":\"%s\",\"at\":%llu}",
                                (first + i) % keys, value, (unsigned long long)(order + i));
        struct or_item item = {0};
        assert_int_equal(or_input_parse_json(or_span(json), &at->b.arena, &item), ONEROW_OK);
        feed.entries[i] = (struct or_entry){.line = i + 1};
        feed.sorted[i] = &feed.entries[i];
        assert_true(or_entry_bind(&feed.entries[i], &at->b.table, &item, &at->b.arena));
    }
    or_entries_sort(feed.sorted, n);
    return feed;
}

enum onerow_status put_feed(struct seat *at, struct feed *feed,
                            const struct or_drive_options *options)
{
    at->b.error = (struct onerow_error){0};
    return or_drive_put(&at->b.table, feed->sorted, feed->n, options, &at->b.arena, &at->b.error);
}

size_t count(const struct feed *feed, enum onerow_outcome outcome)
{
    size_t n = 0;
    for (size_t i = 0; i < feed->n; i++) {
        n += feed->entries[i].outcome == outcome;
    }
    return n;
}
