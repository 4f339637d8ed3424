/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/page_job.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "core/key.h"

/* ---- from command to request -------------------------------------------------------------------
 */

static const enum onerow_page_do WHAT[] = {
    [OR_DO_PROBE] = ONEROW_PAGE_PROBE,
    [OR_DO_CREATE] = ONEROW_PAGE_CREATE,
    [OR_DO_CREATE_KEYED] = ONEROW_PAGE_CREATE_KEYED,
    [OR_DO_PUBLISH] = ONEROW_PAGE_PUBLISH,
    [OR_DO_WRITE] = ONEROW_PAGE_WRITE,
    [OR_DO_GET] = ONEROW_PAGE_GET,
    [OR_DO_RESTORE] = ONEROW_PAGE_RESTORE,
    [OR_DO_TRASH] = ONEROW_PAGE_TRASH,
    [OR_DO_MOVE_KEY] = ONEROW_PAGE_MOVE_KEY,
};

static void make_title(struct or_page_job *job)
{
    char nonce[OR_NONCE_TEXT];
    if (job->command.what == OR_DO_MOVE_KEY) {
        (void)snprintf(job->title, sizeof job->title, "%s", ONEROW_MOVED_TITLE);
        return;
    }
    (void)or_nonce_text(job->command.nonce, nonce);
    (void)snprintf(job->title, sizeof job->title, "%s%s-%s", ONEROW_BLANK_TITLE, job->ledger_id,
                   nonce);
}

void or_page_job_call(struct or_page_job *job)
{
    const struct or_command *command = &job->command;
    make_title(job);
    job->call = (struct onerow_page_call){.what = WHAT[command->what],
                                          .table = job->table->table,
                                          .keys = &job->key,
                                          .n_keys = 1,
                                          .title = or_span(job->title),
                                          .page = command->page,
                                          .payload = command->payload ? command->payload->text
                                                                      : (struct onerow_span){0},
                                          .timeout_ms = job->attempt.options.bounds.request,
                                          .arena = &job->arena,
                                          .owner = job};
}

/* ---- from answer to event ----------------------------------------------------------------------
 */

static const enum or_answer ANSWERS[] = {
    [ONEROW_PAGE_OK] = OR_ANSWER_OK,
    [ONEROW_PAGE_REFUSED] = OR_ANSWER_REFUSED,
    [ONEROW_PAGE_TRASHED] = OR_ANSWER_TRASHED,
    [ONEROW_PAGE_NOT_FOUND] = OR_ANSWER_NOT_FOUND,
    [ONEROW_PAGE_RATE] = OR_ANSWER_RATE,
    [ONEROW_PAGE_CONFLICT] = OR_ANSWER_CONFLICT,
    [ONEROW_PAGE_UNCERTAIN] = OR_ANSWER_UNCERTAIN,
    [ONEROW_PAGE_FAILED] = OR_ANSWER_FAILED,
};

enum or_breaker_result or_page_job_result(const struct onerow_page_call *call)
{
    return call->answer == ONEROW_PAGE_CONFLICT ? OR_BREAKER_CONFLICT : OR_BREAKER_OK;
}

bool or_page_job_owns(struct or_page_job *job, const struct onerow_page *page, bool *failed)
{
    const struct or_table *table = job->table;
    struct onerow_value parts[ONEROW_KEY_COLUMNS_MAX];
    struct or_buffer key;
    bool valid = page->parts != NULL;
    for (size_t k = 0; valid && k < table->spec.n_key; k++) {
        const char *why = NULL;
        valid = or_key_part(&table->spec.key[k], table->table->key_types[k], &page->parts[k],
                            &job->arena, &parts[k], &why);
        *failed |= !valid && why == or_key_no_memory;
    }
    or_buffer_init(&key);
    valid = valid && or_key_append(&key, parts, table->table->key_types, table->spec.n_key) &&
            or_span_equal(or_buffer_view(&key), job->key->key);
    *failed |= key.failed;
    or_buffer_finish(&key);
    return valid;
}

static bool take_found(struct or_page_job *job, const struct onerow_page_call *call)
{
    struct or_event *event = &job->event;
    bool failed = false;
    event->n_pages = 0;
    event->pages = job->found;
    for (size_t i = 0; i < call->n_found; i++) {
        const struct onerow_page *page = &call->found[i];
        if (!or_page_job_owns(job, page, &failed)) {
            continue;
        }
        if (event->n_pages < OR_ATTEMPT_PAGES) {
            job->found[event->n_pages] = (struct or_probe_page){.id = page->id,
                                                                .created_ms = page->created_ms,
                                                                .edited = page->edited,
                                                                .attached = page->attached};
        }
        event->n_pages++;
    }
    return !failed;
}

static bool take_page(struct or_page_job *job, const struct onerow_page_call *call)
{
    struct or_event *event = &job->event;
    bool failed = false;
    event->in_trash = call->in_trash;
    event->order = call->order;
    if (call->n_found) {
        event->has_key = or_page_job_owns(job, &call->found[0], &failed);
        event->edited = call->found[0].edited;
    }
    if (call->same && job->command.payload) {
        memcpy(event->fingerprint, job->command.payload->fingerprint, OR_FINGERPRINT_LEN);
    }
    return !failed;
}

bool or_page_job_take(struct or_page_job *job, const struct onerow_page_call *call)
{
    job->event = (struct or_event){.answer = ANSWERS[call->answer],
                                   .retry_after_ms = call->retry_after_ms,
                                   .page = call->made};
    job->reason = call->answer == ONEROW_PAGE_OK ? NULL : call->reason;
    if (call->answer != ONEROW_PAGE_OK) {
        return true;
    }
    switch (call->what) {
    case ONEROW_PAGE_PROBE: return take_found(job, call);
    case ONEROW_PAGE_GET: return take_page(job, call);
    default: return true;
    }
}
