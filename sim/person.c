/* SPDX-License-Identifier: Apache-2.0
 *
 * People who use the same store, and respect nothing. They come when a request arrives, for that is
 * when it matters; half of the time it is that request's page which they take.
 */
#include <assert.h>

#include "sim/parts.h"

static bool may_act(struct sim_world *world, struct sim_rng *rng, enum sim_fault fault)
{
    if (world->hands[fault] == SIM_HANDS_MAX ||
        !sim_inject(world, rng, fault, SIM_LANE_PERSON, 0)) {
        return false;
    }
    world->hands[fault]++;
    return true;
}

/* The request's page, or any other one; NULL: there is none. */
static struct sim_page *some_page(struct sim_world *world, const struct sim_message *message)
{
    if (world->n_pages == 0) {
        return NULL;
    }
    bool other = world->size & 1U || message->what == OR_DO_PROBE;
    return &world->pages[other ? sim_scale(world->size, world->n_pages) : message->page];
}

static unsigned written_by_hand(const struct sim_world *world)
{
    return SIM_VALUE_PERSON + (unsigned)(world->size >> 8 & 3U);
}

static void make(struct sim_world *world, const struct sim_message *message, struct sim_rng *rng)
{
    struct sim_page *page = sim_store_add(world, rng);
    if (page) {
        page->key = message->key;
        page->value = (uint8_t)written_by_hand(world);
        page->hand_made = page->hand_edited = page->edited = world->size & 2U;
        page->hand_made = true;
        page->attached = world->size & 4U;
        sim_say(world, SIM_LANE_PERSON, 0, "makes P%02u with key %c",
                (unsigned)(page - world->pages), sim_key_letter(page->key));
    }
}

static void trash(struct sim_world *world, struct sim_page *page, struct sim_rng *rng)
{
    if (!page->trashed) {
        sim_store_touch(world, page, rng);
        page->trashed = true;
        page->hand_trashed = true;
        sim_say(world, SIM_LANE_PERSON, 0, "trashes P%02u", (unsigned)(page - world->pages));
    }
}

static void untrash(struct sim_world *world, struct sim_rng *rng)
{
    unsigned n = world->n_pages;
    for (unsigned i = 0; i < n; i++) {
        unsigned at = (unsigned)(sim_scale(world->size, n) + i) % n;
        struct sim_page *page = &world->pages[at];
        if (page->trashed) {
            sim_store_touch(world, page, rng);
            page->trashed = false;
            page->hand_trashed = page->hand_untrashed = true;
            sim_say(world, SIM_LANE_PERSON, 0, "restores P%02u", at);
            return;
        }
    }
}

static void rename_key(struct sim_world *world, struct sim_page *page, struct sim_rng *rng)
{
    unsigned key =
        world->size & 8U ? 1U + (unsigned)(world->size >> 4) % world->n_keys : SIM_KEY_OTHER;
    sim_store_touch(world, page, rng);
    page->key = (uint8_t)key;
    page->key_by_onerow = false;
    page->hand_renamed = true;
    page->blank_title = false;
    sim_store_place(world, page);
    sim_say(world, SIM_LANE_PERSON, 0, "gives P%02u the key %c", (unsigned)(page - world->pages),
            sim_key_letter(key));
}

static void edit(struct sim_world *world, struct sim_page *page)
{
    page->value = (uint8_t)written_by_hand(world);
    page->edited = page->hand_edited = true;
    sim_say(world, SIM_LANE_PERSON, 0, "edits P%02u", (unsigned)(page - world->pages));
}

void sim_person_act(struct sim_world *world, const struct sim_message *message)
{
    struct sim_rng *rng = &world->workers[message->worker].rng;
    struct sim_page *page = NULL;
    if (may_act(world, rng, SIM_FOREIGN)) {
        make(world, message, rng);
    }
    if (may_act(world, rng, SIM_TRASH) && (page = some_page(world, message))) {
        trash(world, page, rng);
    }
    if (may_act(world, rng, SIM_UNTRASH)) {
        untrash(world, rng);
    }
    if (may_act(world, rng, SIM_RENAME) && (page = some_page(world, message)) && !page->trashed) {
        rename_key(world, page, rng);
    }
    if (may_act(world, rng, SIM_EDIT) && (page = some_page(world, message)) && !page->trashed) {
        edit(world, page);
    }
}
