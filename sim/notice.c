/* SPDX-License-Identifier: Apache-2.0
 *
 * Which places a step has reached, seen from outside: by an attempt's state before it and after.
 */
#include <stdio.h>

#include "base/text.h"
#include "sim/parts.h"

struct sim_before sim_notice_before(const struct or_attempt *attempt)
{
    return (struct sim_before){.state = attempt->state,
                               .key = attempt->key.state,
                               .traced = attempt->traced,
                               .taken_version = attempt->taken_version,
                               .page = attempt->swap.page,
                               .refused = attempt->swap.refused,
                               .becomes = attempt->swap.becomes.state};
}

static bool owns_pending(const struct or_attempt *attempt)
{
    return attempt->claimed && or_nonce_equal(attempt->claim, attempt->key.nonce);
}

/* ---- swaps -------------------------------------------------------------------------------------
 */

static void after_deletion(struct sim_world *world, const struct sim_before *before)
{
    if (before->becomes == OR_KEY_TOMBSTONE) {
        sim_reach(world, SIM_PLACE_BURIED);
        return;
    }
    bool published = world->pages[sim_page_of(before->page)].key != SIM_KEY_NONE;
    SOMETIMES(world, UNBOUND, !published);
    SOMETIMES(world, RECREATED, published);
}

static void after_swap_done(struct sim_world *world, const struct sim_worker *worker,
                            const struct sim_before *before)
{
    switch (before->state) {
    case OR_ATTEMPT_ADOPTING:
        sim_reach(world, SIM_PLACE_ADOPTED);
        SOMETIMES(world, ADOPTED_TOMBSTONE, before->key == OR_KEY_TOMBSTONE);
        SOMETIMES(world, INTENT_ADOPTED, before->key == OR_KEY_INTENT);
        return;
    case OR_ATTEMPT_BINDING:
        SOMETIMES(world, SPARE, worker->page && worker->page == sim_page_of(before->page) + 1);
        return;
    case OR_ATTEMPT_DELETING: after_deletion(world, before); return;
    case OR_ATTEMPT_MARKING: sim_reach(world, SIM_PLACE_MARKED); return;
    case OR_ATTEMPT_REPLACING: sim_reach(world, SIM_PLACE_SET_ASIDE); return;
    case OR_ATTEMPT_DROPPING: {
        bool own = or_nonce_equal(before->refused, worker->as.attempt.claim);
        SOMETIMES(world, DROPPED, own);
        SOMETIMES(world, DROPPED_OTHERS, !own);
        return;
    }
    default: return;
    }
}

static void after_swap_refused(struct sim_world *world, const struct sim_before *before)
{
    enum or_attempt_state state = before->state;
    SOMETIMES(world, BIND_LOST, state == OR_ATTEMPT_BINDING);
    SOMETIMES(world, ADOPT_LOST, state == OR_ATTEMPT_ADOPTING);
    SOMETIMES(world, INTENT_LOST, state == OR_ATTEMPT_CLAIMING);
    SOMETIMES(world, BIND_SWEPT,
              state == OR_ATTEMPT_BINDING &&
                  world->ledger.pages[sim_page_of(before->page)].state == OR_PAGE_CONDEMNED);
}

/* ---- other answers -----------------------------------------------------------------------------
 */

static void after_read(struct sim_world *world, const struct or_attempt *attempt,
                       const struct sim_before *before, const struct or_event *event)
{
    SOMETIMES(world, REFUSED_ELSEWHERE, event->attempt.state == OR_ATTEMPT_REFUSED);
    SOMETIMES(world, BIND_DOUBTFUL,
              !before->taken_version && attempt->taken_version && attempt->makes_the_row &&
                  attempt->options.protocol == OR_PROTOCOL_GUARDED);
}

static void after_patch(struct sim_world *world, const struct or_attempt *attempt,
                        const struct sim_before *before)
{
    bool own = owns_pending(attempt);
    SOMETIMES(world, HELPED, before->key == OR_KEY_BOUND && !own);
    SOMETIMES(world, WRITTEN_RENAMED, attempt->misplaced);
    SOMETIMES(world, HELPED_WRITING, before->key == OR_KEY_WRITING && !own);
}

static void after_look(struct sim_world *world, const struct or_attempt *attempt,
                       const struct or_event *event)
{
    bool looked = !event->in_trash && attempt->key.state == OR_KEY_DONE && event->has_key;
    SOMETIMES(world, VERIFIED, looked);
    SOMETIMES(world, VERIFIED_REPAIR, looked && !attempt->seen_equal);
}

static void after_ok(struct sim_world *world, const struct sim_worker *worker,
                     const struct sim_before *before, const struct or_event *event)
{
    const struct or_attempt *attempt = &worker->as.attempt;
    switch (before->state) {
    case OR_ATTEMPT_READING:
    case OR_ATTEMPT_VETTING: after_read(world, attempt, before, event); return;
    case OR_ATTEMPT_PATCHING: after_patch(world, attempt, before); return;
    case OR_ATTEMPT_LOOKING: after_look(world, attempt, event); return;
    case OR_ATTEMPT_RESTORING: sim_reach(world, SIM_PLACE_RESTORED); return;
    case OR_ATTEMPT_RELEASING: sim_reach(world, SIM_PLACE_INTENT_RELEASED); return;
    default: after_swap_done(world, worker, before); return;
    }
}

/* ---- what was begun
 * ------------------------------------------------------------------------------
 */

static void after_wait(struct sim_world *world, const struct or_attempt *attempt,
                       const struct or_event *event)
{
    const struct or_key_record *key = &attempt->key;
    if (event->answer != OR_ANSWER_OK) {
        return;
    }
    SOMETIMES(world, WAIT_PENDING, key->state == OR_KEY_BOUND || key->state == OR_KEY_WRITING);
    SOMETIMES(world, WAIT_DOUBTFUL, key->state == OR_KEY_DONE && key->doubtful);
    SOMETIMES(world, INTENT_WAIT, key->state == OR_KEY_INTENT);
}

static void now_sends(struct sim_world *world, const struct or_attempt *attempt,
                      const struct sim_before *before, const struct or_event *event)
{
    switch (attempt->state) {
    case OR_ATTEMPT_WAITING: after_wait(world, attempt, event); return;
    case OR_ATTEMPT_MARKING:
        SOMETIMES(world, MARKED_PAUSE, before->traced && owns_pending(attempt));
        return;
    case OR_ATTEMPT_CLAIMING:
        SOMETIMES(world, INTENT_LATE, before->state == OR_ATTEMPT_CLAIMING);
        return;
    default: return;
    }
}

void sim_notice_attempt(struct sim_world *world, unsigned i, const struct sim_before *before,
                        const struct or_event *event)
{
    const struct sim_worker *worker = &world->workers[i];
    const struct or_attempt *attempt = &worker->as.attempt;
    if (event->answer == OR_ANSWER_OK) {
        after_ok(world, worker, before, event);
    } else if (event->answer == OR_ANSWER_REFUSED) {
        after_swap_refused(world, before);
    }
    now_sends(world, attempt, before, event);
}

/* ---- ends --------------------------------------------------------------------------------------
 */

static void notice_reason(struct sim_world *world, enum or_reason reason)
{
    static const enum sim_place PLACES[] = {
        [OR_REASON_NONE] = SIM_PLACES,
        [OR_REASON_KEPT] = SIM_PLACE_KEPT,
        [OR_REASON_OLDER] = SIM_PLACE_OLDER,
        [OR_REASON_TOMBSTONE] = SIM_PLACE_REJECTED_TOMBSTONE,
        [OR_REASON_RENAMED] = SIM_PLACE_REJECTED_RENAMED,
        [OR_REASON_TAKEN] = SIM_PLACE_REJECTED_TAKEN,
        [OR_REASON_REFUSED] = SIM_PLACE_REJECTED_REFUSED,
        [OR_REASON_SUSPECT] = SIM_PLACES,
        [OR_REASON_TOO_MANY] = SIM_PLACES,
        [OR_REASON_GAVE_UP] = SIM_PLACE_GAVE_UP,
        [OR_REASON_GONE] = SIM_PLACE_UNKNOWN_GONE,
        [OR_REASON_IN_DOUBT] = SIM_PLACE_UNKNOWN_DOUBT,
    };
    if (PLACES[reason] != SIM_PLACES) {
        sim_reach(world, PLACES[reason]);
    }
}

void sim_notice_outcome(struct sim_world *world, const struct or_attempt *attempt,
                        const struct or_command *command)
{
    notice_reason(world, command->reason);
    SOMETIMES(world, CREATED, command->outcome == ONEROW_CREATED);
    SOMETIMES(world, UPDATED, command->outcome == ONEROW_UPDATED);
    SOMETIMES(world, EQUAL,
              command->outcome == ONEROW_UNCHANGED && command->reason == OR_REASON_NONE);
    SOMETIMES(world, TWINS, command->twins);
    SOMETIMES(world, HELPED_OWNER,
              command->outcome == ONEROW_CREATED &&
                  attempt->options.protocol == OR_PROTOCOL_GUARDED &&
                  !or_nonce_equal(attempt->written, attempt->claim));
}

void sim_notice_crash(struct sim_world *world, const struct sim_worker *worker)
{
    const struct or_attempt *attempt = &worker->as.attempt;
    if (worker->job != SIM_JOB_PUT || !owns_pending(attempt)) {
        return;
    }
    SOMETIMES(world, CRASH_BOUND, attempt->key.state == OR_KEY_BOUND);
    SOMETIMES(world, CRASH_WRITING, attempt->key.state == OR_KEY_WRITING);
    SOMETIMES(world, CRASH_INTENT, attempt->key.state == OR_KEY_INTENT);
}

/* ---- words -------------------------------------------------------------------------------------
 */

/* Live pages of the key, as many as go into the text. */
static void tell_pages(struct sim_world *world, unsigned key)
{
    char text[64];
    size_t len = 0;
    for (unsigned i = 0; i < world->n_pages && len + sizeof " and P00" < sizeof text; i++) {
        if (world->pages[i].key == key && !world->pages[i].trashed) {
            struct onerow_span id = sim_page_id(i);
            len += (size_t)snprintf(text + len, sizeof text - len, "%s%.*s", len ? " and " : "",
                                    (int)id.len, id.data);
        }
    }
    sim_say(world, SIM_LANE_ORACLE, 0, "now %c is carried by %s", sim_key_letter(key),
            len ? text : "no page");
}

void sim_notice_violation(struct sim_world *world)
{
    for (unsigned key = 1; world->watch && key <= world->n_keys; key++) {
        tell_pages(world, key);
    }
}

static const char *answer_words(enum or_answer answer)
{
    static const char *const WORDS[] = {
        [OR_ANSWER_OK] = "",
        [OR_ANSWER_REFUSED] = ": refused",
        [OR_ANSWER_TRASHED] = ": it is in the trash",
        [OR_ANSWER_NOT_FOUND] = ": 404",
        [OR_ANSWER_RATE] = ": 429",
        [OR_ANSWER_CONFLICT] = ": 409",
        [OR_ANSWER_UNCERTAIN] = ": no answer",
        [OR_ANSWER_FAILED] = ": failed",
    };
    return WORDS[answer];
}

static const char *swap_words(const struct or_swap *swap)
{
    if (swap->no_key || swap->keep_key) {
        return "condemns";
    }
    switch (swap->becomes.state) {
    case OR_KEY_BOUND: return swap->becomes.doubtful ? "marks" : "binds";
    case OR_KEY_WRITING: return swap->becomes.doubtful ? "marks" : "opens a version of";
    case OR_KEY_DONE: return "notes as done";
    case OR_KEY_TOMBSTONE: return "buries";
    case OR_KEY_INTENT: return "claims the key";
    default: return "gives up";
    }
}

static const char *command_words(const struct or_command *command)
{
    switch ((unsigned)command->what) {
    case OR_DO_CREATE: return "makes blank";
    case OR_DO_CREATE_KEYED: return "creates";
    case OR_DO_PUBLISH: return "publishes";
    case OR_DO_WRITE: return "writes";
    case OR_DO_GET: return "gets";
    case OR_DO_RESTORE: return "restores";
    case OR_DO_TRASH: return "trashes";
    case OR_DO_MOVE_KEY: return "moves the key out of";
    case OR_DO_SWAP: return swap_words(command->swap);
    case SIM_ASK_LEASE: return "takes the lease";
    case SIM_ASK_RELEASE: return "gives the lease back";
    default: return "reads the ledger";
    }
}

static void tell_look(struct sim_world *world, unsigned i, const struct or_event *event)
{
    if (event->answer != OR_ANSWER_OK) {
        sim_say(world, SIM_LANE_WORKER, i, "looks%s", answer_words(event->answer));
    } else if (event->n_pages == 0) {
        sim_say(world, SIM_LANE_WORKER, i, "looks: none");
    } else {
        sim_say(world, SIM_LANE_WORKER, i, "looks: %.3s%s", event->pages[0].id.data,
                event->n_pages > 1 ? " and others" : "");
    }
}

void sim_notice_answer(struct sim_world *world, unsigned i, const struct or_event *event)
{
    const struct or_command *command = &world->workers[i].command;
    if (!world->watch || command->what == OR_DO_READ) {
        return;
    }
    if (command->what == OR_DO_PROBE) {
        tell_look(world, i, event);
        return;
    }
    struct onerow_span page = command->what == OR_DO_SWAP ? command->swap->page : command->page;
    if (event->page.data) {
        page = event->page;
    } else if (command->what == OR_DO_SWAP && !page.data) {
        page = command->swap->becomes.page;
    }
    sim_say(world, SIM_LANE_WORKER, i, "%s%s%.3s%s", command_words(command), page.data ? " " : "",
            page.data ? page.data : "", answer_words(event->answer));
}
