/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/parts.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const struct or_bounds sim_bounds = {
    .pause = 10000,
    .request = 10000,
    .life = 20000,
    .lag = 5000,
    .skew = 2000,
    .guard = 2000,
    .lease = 30000,
    .poll = 3000,
};

void sim_world_init(struct sim_world *world, const struct sim_config *config,
                    struct sim_result *result, sim_watch *watch, void *context)
{
    memset(result, 0, sizeof *result);
    memset(world, 0, offsetof(struct sim_world, processes));
    memset(&world->ledger, 0, offsetof(struct sim_ledger, keys));
    world->config = config;
    world->result = result;
    world->watch = watch;
    world->watch_context = context;
    world->core = config->protocol == SIM_GUARDED || config->protocol == SIM_DIRECT;
    world->bounded = config->within_bounds;
    world->rng = sim_rng_of(config->seed, 0);
    world->next_number = 1;
    world->n_free = SIM_MESSAGES_MAX;
    for (unsigned i = 0; i < SIM_MESSAGES_MAX; i++) {
        world->free_messages[i] = (uint8_t)(SIM_MESSAGES_MAX - 1 - i);
    }
    memset(world->message_used, 0, sizeof world->message_used);
    sim_digest(world, config->seed);
}

void sim_violate(struct sim_world *world, enum sim_violation violation)
{
    if (!sim_violated(world)) {
        world->result->violation = violation;
        world->result->at_us = world->now;
        sim_say(world, SIM_LANE_ORACLE, 0, "%s", sim_violation_text(violation));
        sim_notice_violation(world);
    }
}

/* ---- the queue: a binary heap -------------------------------------------------------------- */

#define ORDER_BITS 20U

void sim_plan(struct sim_world *world, uint64_t delay, enum sim_event_kind kind, unsigned which,
              unsigned epoch)
{
    if (world->n_planned == SIM_QUEUE_MAX || world->planned_ever >> ORDER_BITS) {
        sim_violate(world, SIM_VIOLATION_BOUNDS);
        return;
    }
    struct sim_planned event = {.when = (world->now + delay) << ORDER_BITS | world->planned_ever++,
                                .kind = (uint16_t)kind,
                                .which = (uint16_t)which,
                                .epoch = (uint16_t)epoch};
    unsigned at = world->n_planned++;
    while (at > 0 && world->queue[(at - 1) / 2].when > event.when) {
        world->queue[at] = world->queue[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    world->queue[at] = event;
}

/* Fills the hole at the top with the last event. */
static void sift(struct sim_world *world)
{
    unsigned n = world->n_planned;
    struct sim_planned last = world->queue[n];
    unsigned at = 0;
    for (unsigned child = 1; child < n; child = 2 * at + 1) {
        child += child + 1 < n && world->queue[child + 1].when < world->queue[child].when;
        if (world->queue[child].when >= last.when) {
            break;
        }
        world->queue[at] = world->queue[child];
        at = child;
    }
    world->queue[at] = last;
}

bool sim_next_event(struct sim_world *world, struct sim_planned *event)
{
    if (world->n_planned == 0) {
        return false;
    }
    *event = world->queue[0];
    world->n_planned--;
    sift(world);
    world->now = event->when >> ORDER_BITS;
    world->result->events++;
    sim_digest(world, event->when ^ (uint64_t)event->kind << 56 ^ (uint64_t)event->which << 48);
    return true;
}

/* ---- faults ------------------------------------------------------------------------------------
 */

static bool is_muted(const struct sim_config *config, enum sim_fault fault, uint32_t number)
{
    if (!(config->faults >> fault & 1U)) {
        return true;
    }
    for (unsigned i = 0; i < config->n_muted; i++) {
        if (config->muted[i] == number) {
            return true;
        }
    }
    return false;
}

static void tell_injection(struct sim_world *world, enum sim_fault fault, enum sim_lane lane,
                           unsigned worker)
{
    if (world->watch) {
        struct sim_entry entry = {.at_us = world->now,
                                  .lane = lane,
                                  .worker = worker,
                                  .what = sim_fault_name(fault),
                                  .is_fault = true,
                                  .fault = fault,
                                  .number = world->numbered};
        world->watch(world->watch_context, &entry);
    }
}

bool sim_inject(struct sim_world *world, struct sim_rng *rng, enum sim_fault fault,
                enum sim_lane lane, unsigned worker)
{
    if (!(world->active >> fault & 1U) || sim_next(rng) >> 32 >= world->rates[fault]) {
        return false;
    }
    world->size = sim_next(rng);
    world->numbered++;
    sim_digest(world, world->size);
    if (is_muted(world->config, fault, world->numbered)) {
        return false;
    }
    world->result->injections++;
    world->result->by_class[fault]++;
    tell_injection(world, fault, lane, worker);
    return true;
}

/* ---- telling --------------------------------------------------------------------------------- */

#define TEXT_MAX 96U

void sim_say(struct sim_world *world, enum sim_lane lane, unsigned worker, const char *format, ...)
{
    if (!world->watch) {
        return;
    }
    char text[TEXT_MAX];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    struct sim_entry entry = {.at_us = world->now, .lane = lane, .worker = worker, .what = text};
    world->watch(world->watch_context, &entry);
}

/* ---- names and values -------------------------------------------------------------------------
 */

/* "P00" to "P99", and so on: static texts, so that spans may be kept anywhere. */
#define TEN(letter, tens)                                                                          \
    letter tens "0", letter tens "1", letter tens "2", letter tens "3", letter tens "4",           \
        letter tens "5", letter tens "6", letter tens "7", letter tens "8", letter tens "9"

static const char PAGES[][4] = {TEN("P", "0"), TEN("P", "1"), TEN("P", "2"), TEN("P", "3"),
                                TEN("P", "4"), TEN("P", "5"), TEN("P", "6"), TEN("P", "7"),
                                TEN("P", "8"), TEN("P", "9")};
static const char RECORDS[][4] = {TEN("r", "0"), TEN("r", "1"), TEN("r", "2"), TEN("r", "3"),
                                  TEN("r", "4")};
static const char DIGITS[] = "0123456789";

_Static_assert(SIM_PAGES_MAX <= sizeof PAGES / sizeof *PAGES, "a page has no name");
_Static_assert(SIM_RECORDS_MAX <= sizeof RECORDS / sizeof *RECORDS, "a record has no name");

static unsigned number_in(const char *name)
{
    return (unsigned)(name[1] - '0') * 10U + (unsigned)(name[2] - '0');
}

struct onerow_span sim_page_id(unsigned page)
{
    assert(page < SIM_PAGES_MAX);
    return (struct onerow_span){PAGES[page], 3};
}

unsigned sim_page_of(struct onerow_span id)
{
    assert(id.data && id.len == 3 && *id.data == 'P');
    return number_in(id.data);
}

struct onerow_span sim_record_text(unsigned record)
{
    assert(record < SIM_RECORDS_MAX);
    return (struct onerow_span){RECORDS[record], 3};
}

unsigned sim_value_of(const struct or_payload *payload)
{
    assert(payload->text.data && payload->text.len == 3 && *payload->text.data == 'r');
    return number_in(payload->text.data) + 1;
}

char sim_key_letter(unsigned key)
{
    return key == SIM_KEY_NONE ? '-' : key == SIM_KEY_OTHER ? '?' : (char)('A' + key - 1);
}

struct onerow_span sim_key_name(unsigned key)
{
    static const char NAMES[] = "?ABCD";
    assert(key >= 1 && key <= SIM_KEYS_MAX);
    return (struct onerow_span){NAMES + key, 1};
}

#define CONTENT_PERSON 100U /* and above: what no record holds */

unsigned sim_value_content(const struct sim_world *world, unsigned value)
{
    if (value == SIM_VALUE_NONE) {
        return 0;
    }
    return value >= SIM_VALUE_PERSON ? CONTENT_PERSON + value : world->records[value - 1].content;
}

unsigned sim_value_order(const struct sim_world *world, unsigned value)
{
    if (value == SIM_VALUE_NONE) {
        return 0;
    }
    return value >= SIM_VALUE_PERSON ? value - SIM_VALUE_PERSON : world->records[value - 1].order;
}

void sim_value_fingerprint(const struct sim_world *world, unsigned value,
                           uint8_t fingerprint[OR_FINGERPRINT_LEN])
{
    memset(fingerprint, (int)sim_value_content(world, value), OR_FINGERPRINT_LEN);
}

struct onerow_value sim_order(unsigned order)
{
    assert(order < 10);
    if (order == 0) {
        return (struct onerow_value){.kind = ONEROW_NULL};
    }
    return (struct onerow_value){.data = DIGITS + order, .len = 1, .kind = ONEROW_NUMBER};
}
