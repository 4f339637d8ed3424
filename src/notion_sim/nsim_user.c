/* SPDX-License-Identifier: Apache-2.0
 *
 * Users, of which there are only the tokens' own bots, and tasks: the answer 202 to a create whose
 * body has allow_async. The page is made at once; the task says "running" when it is first asked
 * for, and "succeeded" from then on.
 */
#include <stdlib.h>
#include <string.h>

#include "notion_sim/nsim_call.h"

static void show_bot(struct or_nsim_call *call, const struct or_nsim_token *token)
{
    struct or_buffer *out = &call->out;
    or_buffer_printf(out, "{\"object\":\"user\",\"id\":\"%s\",\"name\":", token->bot);
    or_nsim_show_text(out, token->name);
    or_buffer_text(out, ",\"avatar_url\":null,\"type\":\"bot\",\"bot\":{\"owner\":{\"type\":"
                        "\"workspace\",\"workspace\":true},\"workspace_name\":");
    or_nsim_show_text(out, call->sim->workspace);
    or_buffer_text(out, "}}");
}

bool or_nsim_user_me(struct or_nsim_call *call)
{
    show_bot(call, call->token);
    return true;
}

bool or_nsim_user_get(struct or_nsim_call *call)
{
    char id[OR_NSIM_ID];
    struct or_nsim_token *token;
    struct or_nsim_token *next;
    if (!or_nsim_read_id(call->args[0], id)) {
        return or_nsim_fail(call, OR_NSIM_VALIDATION,
                            "path failed validation: path.user_id should be a valid uuid, instead "
                            "was `\"%.*s\"`.",
                            (int)or_span_cut(call->args[0], 100).len, call->args[0].data);
    }
    HASH_ITER(hh, call->sim->tokens, token, next)
    {
        if (strcmp(token->bot, id) == 0) {
            show_bot(call, token);
            return true;
        }
    }
    return or_nsim_not_found(call, "user", id);
}

bool or_nsim_user_list(struct or_nsim_call *call)
{
    struct or_nsim_token *token;
    struct or_nsim_token *next;
    size_t shown = 0;
    or_buffer_text(&call->out, "{\"object\":\"list\",\"results\":[");
    HASH_ITER(hh, call->sim->tokens, token, next)
    {
        or_buffer_text(&call->out, shown++ ? "," : "");
        show_bot(call, token);
    }
    or_buffer_text(&call->out, "],");
    or_nsim_show_cursor(call, NULL);
    or_buffer_text(&call->out, ",\"type\":\"user\",\"user\":{}}");
    return true;
}

/* ---- tasks --------------------------------------------------------------------------------- */

static void show_task(struct or_nsim_call *call, const struct or_nsim_task *task,
                      const char *status)
{
    char time[OR_NSIM_TIME];
    or_nsim_time_exact(task->created_ms, time);
    or_buffer_printf(
        &call->out,
        "{\"object\":\"async_task\",\"id\":\"%s\",\"status_url\":\"%s/v1/async_tasks/%s\","
        "\"created_time\":\"%s\",\"operation\":{\"surface\":\"rest\",\"name\":"
        "\"create_page\"},\"status\":\"%s\",",
        task->id, call->sim->address, task->id, time, status);
    if (strcmp(status, "succeeded") == 0) {
        or_buffer_printf(&call->out, "\"result\":{\"object\":\"page\",\"id\":\"%s\"}}",
                         task->result);
    } else {
        or_buffer_text(&call->out, "\"poll_after_seconds\":1}");
    }
}

void or_nsim_task_start(struct or_nsim_call *call)
{
    struct or_nsim_task *task = or_nsim_take(sizeof *task);
    or_nsim_new_id(&call->rng, task->id);
    memcpy(task->result, call->made, OR_NSIM_ID);
    task->created_ms = call->now_ms;
    task->next = call->sim->tasks;
    call->sim->tasks = task;
    call->sim->faults.rates[OR_NSIM_FAULT_ASYNC].struck++;
    call->status = 202;
    show_task(call, task, "queued");
}

bool or_nsim_task_get(struct or_nsim_call *call)
{
    char id[OR_NSIM_ID] = "";
    bool known = or_nsim_read_id(call->args[0], id);
    for (struct or_nsim_task *task = call->sim->tasks; known && task; task = task->next) {
        if (strcmp(task->id, id) == 0) {
            show_task(call, task, task->polls++ ? "succeeded" : "running");
            return true;
        }
    }
    return or_nsim_not_found(call, "async_task", id);
}
