/* SPDX-License-Identifier: Apache-2.0
 *
 * A simulator from its options: tokens, limits, faults, the clock, and a workspace with one page.
 */
#include "notion_sim/nsim.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/status.h"
#include "base/u64.h"
#include "notion_sim/nsim_call.h"

#define VIRTUAL_START_MS 1767225600000U /* 2026-01-01T00:00:00Z */

struct or_nsim_token *or_nsim_add_token(struct or_nsim *sim, const char *secret, const char *name,
                                        unsigned can)
{
    struct or_nsim_token *token = NULL;
    HASH_FIND_STR(sim->tokens, secret, token);
    if (token) {
        return token;
    }
    token = or_nsim_take(sizeof *token);
    token->secret = or_nsim_copy_text(secret);
    token->name = or_nsim_copy_text(name ? name : "Simulated bot");
    token->can = can;
    or_nsim_new_id(&sim->model.ids, token->bot);
    or_nsim_meter_init(&token->meter, sim->options.windows, sim->options.n_windows);
    HASH_ADD_KEYPTR(hh, sim->tokens, token->secret, strlen(token->secret), token);
    return token;
}

/* The workspace's own author: it made what is there at the beginning, and no request comes as it.
 */
static struct or_nsim_token *new_author(struct or_nsim *sim)
{
    struct or_nsim_token *author = or_nsim_take(sizeof *author);
    author->name = or_nsim_copy_text("A person");
    author->can = OR_NSIM_CAN_ALL;
    or_nsim_new_id(&sim->model.ids, author->bot);
    return author;
}

static void free_token(struct or_nsim_token *token)
{
    free(token->secret);
    free(token->name);
    free(token);
}

static void add_root(struct or_nsim *sim)
{
    struct or_nsim_model *model = &sim->model;
    uint64_t now = or_nsim_now(sim);
    struct or_nsim_version *version = or_nsim_version_new(NULL, model->plain->n_slots);
    struct or_nsim_value *title = or_nsim_plain_value(or_span(sim->workspace));
    or_nsim_version_set(version, or_nsim_title_of(model->plain), title);
    const struct or_nsim_object o = {
        .created_ms = now, .edited_ms = now, .created_by = sim->first, .edited_by = sim->first};
    sim->root = or_nsim_add_page(model, &o, model->plain, version);
}

static void begin_clock(struct or_nsim *sim)
{
    struct timespec wall = {0};
    clock_gettime(CLOCK_REALTIME, &wall);
    sim->started_ms = or_nsim_real_ms();
    sim->started_wall_ms = (uint64_t)wall.tv_sec * 1000 + (uint64_t)wall.tv_nsec / 1000000;
    sim->started_wall_ms = or_u64_sub(sim->started_wall_ms, sim->options.behind_ms);
    sim->clock_ms = sim->options.virtual_clock ? VIRTUAL_START_MS : 0;
}

enum onerow_status or_nsim_open(const struct or_nsim_options *options, struct or_nsim **out,
                                struct onerow_error *error)
{
    struct or_nsim *sim = or_nsim_take(sizeof *sim);
    const char *reason = NULL;
    *out = NULL;
    sim->options = *options;
    or_nsim_model_init(&sim->model, options->seed);
    sim->faults.seed = options->seed;
    sim->workspace = or_nsim_copy_text("Simulated workspace");
    sim->first = new_author(sim);
    begin_clock(sim);
    or_nsim_meter_init(&sim->space, options->space, options->n_space);
    add_root(sim);
    for (size_t i = 0; options->tokens && options->tokens[i]; i++) {
        (void)or_nsim_add_token(sim, options->tokens[i], NULL, OR_NSIM_CAN_ALL);
    }
    enum onerow_status status = ONEROW_OK;
    if (options->faults && !or_nsim_faults_read(&sim->faults, or_span(options->faults), &reason)) {
        status = or_fail(error, ONEROW_USAGE, "--faults: %s", reason);
    }
    if (status == ONEROW_OK && options->setup) {
        status =
            or_nsim_setup(sim, (struct onerow_span){options->setup, options->setup_len}, error);
    }
    if (status != ONEROW_OK) {
        or_nsim_close(sim);
        return status;
    }
    sim->open = !sim->tokens;
    *out = sim;
    return ONEROW_OK;
}

void or_nsim_close(struct or_nsim *sim)
{
    if (!sim) {
        return;
    }
    or_nsim_http_close(sim);
    or_nsim_model_finish(&sim->model);
    or_nsim_faults_finish(&sim->faults);
    struct or_nsim_token *token;
    struct or_nsim_token *next;
    HASH_ITER(hh, sim->tokens, token, next)
    {
        HASH_DEL(sim->tokens, token); /* NOLINT(clang-analyzer-unix.Malloc): not freed yet */
        free_token(token);
    }
    free_token(sim->first);
    while (sim->tasks) {
        struct or_nsim_task *task = sim->tasks;
        sim->tasks = task->next;
        free(task);
    }
    free(sim->workspace);
    free(sim);
}

const char *or_nsim_root(const struct or_nsim *sim)
{
    return sim->root->o.id;
}

const char *or_nsim_address(const struct or_nsim *sim)
{
    return sim->address;
}
