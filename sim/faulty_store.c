/* SPDX-License-Identifier: Apache-2.0
 *
 * A store that keeps what Notion keeps: nothing refuses a second page with a key, queries may see
 * what was, pages in the trash take no edits, and an error says little about what was done.
 */
#include <assert.h>
#include <string.h>

#include "sim/parts.h"

/* ---- pages ------------------------------------------------------------------------------------
 */

void sim_store_touch(struct sim_world *world, struct sim_page *page, struct sim_rng *rng)
{
    if (world->now < page->fresh_at) {
        return; /* queries still see what was before the last change, and no longer than so */
    }
    page->seen_key = page->key;
    page->seen_live = !page->trashed;
    if (sim_inject(world, rng, SIM_LAG, SIM_LANE_STORE, 0)) {
        uint64_t most = world->bounded ? world->options.bounds.lag * SIM_MS - 1 : 60U * SIM_SECOND;
        page->fresh_at = world->now + sim_stretch(world->size, most);
    }
}

struct sim_page *sim_store_add(struct sim_world *world, struct sim_rng *rng)
{
    if (world->n_pages == SIM_PAGES_MAX) {
        sim_violate(world, SIM_VIOLATION_BOUNDS);
        return NULL;
    }
    struct sim_page *page = &world->pages[world->n_pages];
    memset(page, 0, sizeof *page);
    memset(&world->ledger.pages[world->n_pages], 0, sizeof *world->ledger.pages);
    page->trashed = true; /* so that queries do not see it until they see it */
    sim_store_touch(world, page, rng);
    page->trashed = false;
    page->created_ms = sim_store_ms(world);
    world->n_pages++;
    return page;
}

/* ---- what a message does ----------------------------------------------------------------------
 */

static void write_values(struct sim_page *page, unsigned value)
{
    assert(value > 0);
    page->value = (uint8_t)value;
    page->edited = false;
    page->applied |= (uint64_t)1 << (value - 1);
}

void sim_store_place(const struct sim_world *world, struct sim_page *page)
{
    for (unsigned i = 0; i < world->n_records; i++) {
        bool placed = world->records[i].key == page->key;
        page->placed |= placed ? page->applied & (uint64_t)1 << i : 0;
    }
}

static void tell_late(struct sim_world *world, const struct sim_message *message, const char *what)
{
    if (sim_network_is_late(world, message) || message->copy == SIM_COPY_AGAIN) {
        sim_say(world, SIM_LANE_STORE, message->worker, "%s: %s P%02u",
                message->copy == SIM_COPY_AGAIN ? "again" : "late", what, message->page);
    }
}

/* The moment at which a page comes to a key is what a race is about. */
static void tell_key(struct sim_world *world, const struct sim_message *message)
{
    bool again = message->copy == SIM_COPY_AGAIN;
    bool late = sim_network_is_late(world, message);
    sim_say(world, SIM_LANE_STORE, message->worker, "%sP%02u carries %c, by worker %u",
            again  ? "again: "
            : late ? "late: "
                   : "",
            message->page, sim_key_letter(message->key), message->worker + 1U);
}

static void create(struct sim_world *world, struct sim_message *message, struct sim_rng *rng)
{
    struct sim_page *page = sim_store_add(world, rng);
    if (!page) {
        return;
    }
    message->page = (uint8_t)(page - world->pages);
    message->answer.page = sim_page_id(message->page);
    if (message->what == OR_DO_CREATE) {
        page->blank_title = true;
        page->nonce = message->nonce;
        tell_late(world, message, "makes blank");
    } else {
        page->key = message->key;
        page->key_by_onerow = true;
        write_values(page, message->value);
        sim_store_place(world, page);
        tell_key(world, message);
        sim_oracle_page(world, page);
    }
}

static void note_late_write(struct sim_world *world, const struct sim_message *message,
                            const struct sim_page *page)
{
    if (!sim_network_is_late(world, message)) {
        return;
    }
    SOMETIMES(world, LATE_TRASHED, page->trashed);
    SOMETIMES(world, LATE_PUBLISH, !page->trashed && message->what == OR_DO_PUBLISH);
    SOMETIMES(world, LATE_OTHER,
              !page->trashed && world->ledger.keys[message->key].state == OR_KEY_DONE &&
                  page->value != message->value);
}

/* PUBLISH and WRITE. */
static enum or_answer patch(struct sim_world *world, struct sim_message *message,
                            struct sim_page *page, struct sim_rng *rng)
{
    note_late_write(world, message, page);
    if (page->trashed) {
        return OR_ANSWER_TRASHED;
    }
    sim_store_touch(world, page, rng);
    if (message->what == OR_DO_PUBLISH) {
        page->key = message->key;
        page->key_by_onerow = true;
        page->blank_title = false;
        tell_key(world, message);
    } else {
        tell_late(world, message, "writes");
        message->answer.renamed = page->key != message->key;
    }
    write_values(page, message->value);
    sim_store_place(world, page);
    sim_oracle_page(world, page);
    return OR_ANSWER_OK;
}

static enum or_answer put_away(struct sim_world *world, const struct sim_message *message,
                               struct sim_page *page, struct sim_rng *rng)
{
    if (page->trashed) {
        return message->what == OR_DO_TRASH ? OR_ANSWER_OK : OR_ANSWER_TRASHED;
    }
    sim_oracle_taken_away(world, page);
    sim_store_touch(world, page, rng);
    if (message->what == OR_DO_TRASH) {
        page->trashed = true;
    } else {
        page->key = SIM_KEY_OTHER;
    }
    return OR_ANSWER_OK;
}

static void restore(struct sim_world *world, struct sim_page *page, struct sim_rng *rng)
{
    if (page->trashed) {
        sim_store_touch(world, page, rng);
        page->trashed = false;
        /* Under direct another page may have been made while this one lay in the trash and no
         * ledger knew of it; then a person had made two of them, which is the healer's. */
        page->hand_untrashed &= world->config->protocol == SIM_DIRECT;
        sim_oracle_page(world, page);
    }
}

static void get(const struct sim_world *world, struct sim_message *message,
                const struct sim_page *page)
{
    struct or_event *answer = &message->answer;
    answer->in_trash = page->trashed;
    answer->has_key = page->key == message->key;
    answer->edited = page->edited;
    answer->order = sim_order(sim_value_order(world, page->value));
    sim_value_fingerprint(world, page->value, answer->fingerprint);
}

static void probe(const struct sim_world *world, struct sim_message *message)
{
    struct or_event *answer = &message->answer;
    answer->n_pages = 0;
    answer->pages = message->found;
    for (unsigned i = 0; i < world->n_pages; i++) {
        const struct sim_page *page = &world->pages[i];
        bool fresh = world->now >= page->fresh_at;
        bool live = fresh ? !page->trashed : page->seen_live;
        if (!live || (fresh ? page->key : page->seen_key) != message->key) {
            continue;
        }
        if (answer->n_pages < OR_ATTEMPT_PAGES) {
            message->found[answer->n_pages] = (struct or_probe_page){.id = sim_page_id(i),
                                                                     .created_ms = page->created_ms,
                                                                     .edited = page->hand_edited,
                                                                     .attached = page->attached};
        }
        answer->n_pages++;
    }
}

static enum or_answer perform(struct sim_world *world, struct sim_message *message,
                              struct sim_rng *rng)
{
    struct sim_page *page = &world->pages[message->page];
    switch (message->what) {
    case OR_DO_PROBE: probe(world, message); return OR_ANSWER_OK;
    case OR_DO_CREATE:
    case OR_DO_CREATE_KEYED: create(world, message, rng); return OR_ANSWER_OK;
    case OR_DO_PUBLISH:
    case OR_DO_WRITE: return patch(world, message, page, rng);
    case OR_DO_TRASH:
    case OR_DO_MOVE_KEY: return put_away(world, message, page, rng);
    case OR_DO_RESTORE: restore(world, page, rng); return OR_ANSWER_OK;
    default: get(world, message, page); return OR_ANSWER_OK;
    }
}

/* ---- what goes wrong ---------------------------------------------------------------------------
 */

static bool is_look(const struct sim_message *message)
{
    return message->what == OR_DO_PROBE || message->what == OR_DO_GET;
}

static bool is_create(const struct sim_message *message)
{
    return message->what == OR_DO_CREATE || message->what == OR_DO_CREATE_KEYED;
}

/* The store is over its limit, and says how long; now and then it does not say. */
static bool is_limited(struct sim_world *world, struct sim_message *message, struct sim_rng *rng)
{
    if (sim_inject(world, rng, SIM_RATE, SIM_LANE_STORE, message->worker)) {
        world->limited_until = world->now + SIM_SECOND + sim_scale(world->size, 90U * SIM_SECOND);
    }
    if (world->now >= world->limited_until) {
        return false;
    }
    bool tells = !sim_one_in(rng, 4);
    uint64_t left_ms = (world->limited_until - world->now + SIM_MS - 1) / SIM_MS;
    message->answer.retry_after_ms = tells ? left_ms : 0;
    return true;
}

/* A payload that it refuses for good; of every other one an option that was missing is made at some
 * time. */
static bool is_refused(struct sim_world *world, const struct sim_message *message,
                       struct sim_rng *rng)
{
    bool trashed = !is_create(message) && world->pages[message->page].trashed;
    if (message->value == 0 || is_look(message) || trashed ||
        !world->records[message->value - 1].refused) {
        return false;
    }
    struct sim_record *record = &world->records[message->value - 1];
    if (record->order % 2 == 0 && record->content % 2 && sim_one_in(rng, 3)) {
        record->refused = false;
        record->accepted_now = record->refused_now;
        return false;
    }
    record->refused_now = true;
    return true;
}

/* Errors before anything was done. True: this is the answer. */
static bool fails_before(struct sim_world *world, struct sim_message *message, struct sim_rng *rng,
                         enum or_answer *answer)
{
    unsigned who = message->worker;
    if (is_limited(world, message, rng)) {
        *answer = OR_ANSWER_RATE;
    } else if (sim_inject(world, rng, SIM_ERROR_BEFORE, SIM_LANE_STORE, who)) {
        *answer = is_look(message) ? OR_ANSWER_FAILED : OR_ANSWER_UNCERTAIN;
    } else if ((is_look(message) &&
                sim_inject(world, rng, SIM_LOOKUP_ERROR, SIM_LANE_STORE, who)) ||
               (message->what == OR_DO_PROBE &&
                sim_inject(world, rng, SIM_INCOMPLETE, SIM_LANE_STORE, who))) {
        *answer = OR_ANSWER_FAILED;
    } else if (message->what != OR_DO_PROBE && !is_create(message) &&
               sim_inject(world, rng, SIM_FALSE_404, SIM_LANE_STORE, who)) {
        *answer = OR_ANSWER_NOT_FOUND;
    } else if (is_refused(world, message, rng)) {
        *answer = OR_ANSWER_REFUSED;
    } else {
        return false;
    }
    return true;
}

static enum or_answer answer_to(struct sim_world *world, struct sim_message *message,
                                struct sim_rng *rng)
{
    enum or_answer answer = OR_ANSWER_OK;
    unsigned who = message->worker;
    if (fails_before(world, message, rng, &answer)) {
        return answer;
    }
    if (!is_look(message) && sim_inject(world, rng, SIM_CONFLICT, SIM_LANE_STORE, who)) {
        if (world->size & 1U) {
            (void)perform(world, message, rng);
        }
        return OR_ANSWER_CONFLICT;
    }
    answer = perform(world, message, rng);
    if (!is_look(message) && sim_inject(world, rng, SIM_ERROR_AFTER, SIM_LANE_STORE, who)) {
        return OR_ANSWER_UNCERTAIN;
    }
    return answer;
}

void sim_store_take(struct sim_world *world, struct sim_message *message)
{
    struct sim_rng *rng = &world->workers[message->worker].rng;
    memset(&message->answer, 0, sizeof message->answer);
    bool before = sim_next(rng) >> 63;
    if (before) {
        sim_person_act(world, message);
    }
    message->answer.answer = answer_to(world, message, rng);
    if (!before) {
        sim_person_act(world, message);
    }
}
