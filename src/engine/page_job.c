/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/page_job.h"

#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "base/text.h"
#include "base/wake.h"
#include "core/key.h"

/* ---- stepping ------------------------------------------------------------------------------- */

void or_page_job_begin(struct or_page_job *job, uint64_t number)
{
    const struct or_attempt_options *options = job->options;
    job->event = (struct or_event){0};
    job->kept = (struct or_ledger_kept){0};
    job->reason = NULL;
    job->state = OR_PAGE_JOB_STEP;
    switch (job->task) {
    case OR_PAGE_TASK_ATTEMPT:
        or_attempt_init(&job->as.attempt, options, job->name, job->own, number, job->spare);
        return;
    case OR_PAGE_TASK_SWEEP: or_sweep_init(&job->as.sweep, job->page, options->retry); return;
    case OR_PAGE_TASK_HEAL:
        or_heal_init(&job->as.heal, job->name, &options->bounds, options->retry, number);
        return;
    }
}

static uint64_t chance(void)
{
    uint64_t random = 0;
    if (getrandom(&random, sizeof random, 0) != (ssize_t)sizeof random) {
        random = or_wake_now_ms(); /* only spreads load */
    }
    return random;
}

void or_page_job_step(struct or_page_job *job)
{
    struct or_event event = job->event;
    event.now_ms = or_wake_now_ms();
    event.random = chance();
    job->event = (struct or_event){0};
    switch (job->task) {
    case OR_PAGE_TASK_ATTEMPT: or_attempt_step(&job->as.attempt, &event, &job->command); return;
    case OR_PAGE_TASK_SWEEP: or_sweep_step(&job->as.sweep, &event, &job->command); return;
    case OR_PAGE_TASK_HEAL: or_heal_step(&job->as.heal, &event, &job->command); return;
    }
}

void or_page_job_hurry(struct or_page_job *job)
{
    static const struct or_retry_limits NO_MORE = {.total_ms = 1};
    struct or_retry *const retries[] = {[OR_PAGE_TASK_ATTEMPT] = &job->as.attempt.retry,
                                        [OR_PAGE_TASK_SWEEP] = &job->as.sweep.retry,
                                        [OR_PAGE_TASK_HEAL] = &job->as.heal.retry};
    retries[job->task]->limits = &NO_MORE;
}

/* ---- from command to request ---------------------------------------------------------------- */

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

static struct onerow_span title_of(struct or_page_job *job)
{
    const struct or_command *command = &job->command;
    if (command->what == OR_DO_CREATE) {
        char nonce[OR_NONCE_TEXT];
        (void)or_nonce_text(command->nonce, nonce);
        (void)snprintf(job->title, sizeof job->title, "%s%s-%s", ONEROW_BLANK_TITLE, job->ledger_id,
                       nonce);
        return or_span(job->title);
    }
    if (command->what == OR_DO_MOVE_KEY) {
        (void)snprintf(job->title, sizeof job->title, "%s%.*s", ONEROW_MOVED_TITLE,
                       (int)command->page.len, command->page.data);
        return or_span(job->title);
    }
    return (struct onerow_span){0};
}

/* Four bytes for the length of `plain`, lowest first, then both. */
#define PLAIN_LEN 4U

struct onerow_span or_page_payload(struct onerow_span plain, struct onerow_span full,
                                   struct or_arena *arena)
{
    size_t len = PLAIN_LEN + plain.len + full.len;
    char *bytes = or_arena_bytes(arena, len);
    if (!bytes) {
        return (struct onerow_span){0};
    }
    for (unsigned i = 0; i < PLAIN_LEN; i++) {
        bytes[i] = (char)(plain.len >> 8 * i & 255U);
    }
    memcpy(bytes + PLAIN_LEN, plain.data ? plain.data : "", plain.len);
    memcpy(bytes + PLAIN_LEN + plain.len, full.data ? full.data : "", full.len);
    return (struct onerow_span){bytes, len};
}

/* The part of it that such a request writes, or compares with. */
static struct onerow_span part_for(enum or_do what, struct onerow_span text)
{
    size_t plain = 0;
    if (text.len < PLAIN_LEN) {
        return (struct onerow_span){0};
    }
    for (unsigned i = 0; i < PLAIN_LEN; i++) {
        plain |= (size_t)(unsigned char)text.data[i] << 8 * i;
    }
    struct onerow_span rest = {text.data + PLAIN_LEN, text.len - PLAIN_LEN};
    plain = plain < rest.len ? plain : rest.len;
    bool is_new = what == OR_DO_PUBLISH || what == OR_DO_CREATE_KEYED;
    return is_new && rest.len > plain ? (struct onerow_span){rest.data + plain, rest.len - plain}
                                      : (struct onerow_span){rest.data, plain};
}

static void fill_call(struct or_page_job *job, enum or_do what, struct onerow_span page,
                      const struct or_payload *payload)
{
    job->call = (struct onerow_page_call){
        .what = WHAT[what],
        .table = job->table->table,
        .keys = &job->key,
        .n_keys = job->key ? 1 : 0,
        .title = title_of(job),
        .page = page,
        .payload = payload ? part_for(what, payload->text) : (struct onerow_span){0},
        .timeout_ms = job->options->bounds.request,
        .arena = &job->arena,
        .owner = job,
    };
}

void or_page_job_call(struct or_page_job *job)
{
    const struct or_command *command = &job->command;
    fill_call(job, command->what, command->page, command->payload);
}

bool or_page_job_announces(struct or_page_job *job)
{
    const struct or_swap *swap = job->command.swap;
    if (job->task != OR_PAGE_TASK_ATTEMPT || !swap->stamp) {
        return false;
    }
    const struct or_key_record *becomes = &swap->becomes;
    switch (becomes->state) {
    case OR_KEY_BOUND: fill_call(job, OR_DO_PUBLISH, becomes->page, &becomes->pending); return true;
    case OR_KEY_WRITING: fill_call(job, OR_DO_WRITE, becomes->page, &becomes->pending); return true;
    case OR_KEY_INTENT:
        fill_call(job, OR_DO_CREATE_KEYED, becomes->page, &becomes->pending);
        return true;
    default: return false;
    }
}

/* ---- whose page it is ----------------------------------------------------------------------- */

bool or_page_owns(const struct or_table *table, const struct onerow_page *page,
                  struct onerow_span wanted, struct or_arena *arena, bool *failed)
{
    struct onerow_value parts[ONEROW_KEY_COLUMNS_MAX];
    struct or_buffer key;
    bool valid = page->parts != NULL;
    for (size_t k = 0; valid && k < table->spec.n_key; k++) {
        const char *why = NULL;
        valid = or_key_part(&table->spec.key[k], table->table->key_types[k], &page->parts[k], arena,
                            &parts[k], &why);
        *failed |= !valid && why == or_key_no_memory;
    }
    or_buffer_init(&key);
    valid = valid && or_key_append(&key, parts, table->table->key_types, table->spec.n_key) &&
            or_span_equal(or_buffer_view(&key), wanted);
    *failed |= key.failed;
    or_buffer_finish(&key);
    return valid;
}

static bool owns(struct or_page_job *job, const struct onerow_page *page, bool *failed)
{
    return or_page_owns(job->table, page, job->key->key, &job->arena, failed);
}

static bool begins_with(const struct onerow_value *value, struct onerow_span prefix)
{
    return value->kind == ONEROW_TEXT && value->len >= prefix.len &&
           or_ascii_equal_fold((struct onerow_span){value->data, prefix.len}, prefix);
}

bool or_page_key_is_reserved(const struct onerow_value *parts, size_t n)
{
    bool reserved = false;
    for (size_t k = 0; k < n; k++) {
        reserved |= begins_with(&parts[k], OR_SPAN(ONEROW_BLANK_TITLE)) ||
                    begins_with(&parts[k], OR_SPAN(ONEROW_MOVED_TITLE));
    }
    return reserved;
}

/* ---- from answer to event ------------------------------------------------------------------- */

static const enum or_answer ANSWERS[] = {
    [ONEROW_PAGE_OK] = OR_ANSWER_OK,
    [ONEROW_PAGE_REFUSED] = OR_ANSWER_REFUSED,
    [ONEROW_PAGE_TRASHED] = OR_ANSWER_TRASHED,
    [ONEROW_PAGE_NOT_FOUND] = OR_ANSWER_NOT_FOUND,
    [ONEROW_PAGE_RATE] = OR_ANSWER_RATE,
    [ONEROW_PAGE_CONFLICT] = OR_ANSWER_CONFLICT,
    [ONEROW_PAGE_UNCERTAIN] = OR_ANSWER_UNCERTAIN,
    [ONEROW_PAGE_FAILED] = OR_ANSWER_FAILED,
    [ONEROW_PAGE_MORE] = OR_ANSWER_FAILED, /* nobody asked for the rest */
};

enum or_breaker_result or_page_job_result(const struct onerow_page_call *call)
{
    return call->answer == ONEROW_PAGE_CONFLICT ? OR_BREAKER_CONFLICT : OR_BREAKER_OK;
}

/* A copy in the job's arena; what is empty stays so. *failed: out of memory. */
static struct onerow_span keep(struct or_page_job *job, struct onerow_span text, bool *failed)
{
    struct onerow_span kept = text.data ? or_arena_copy(&job->arena, text) : text;
    *failed |= text.data && !kept.data;
    return kept;
}

static void take_found(struct or_page_job *job, const struct onerow_page_call *call, bool *failed)
{
    struct or_event *event = &job->event;
    event->n_pages = 0;
    event->pages = job->found;
    for (size_t i = 0; i < call->n_found; i++) {
        const struct onerow_page *page = &call->found[i];
        if (!owns(job, page, failed)) {
            continue;
        }
        if (event->n_pages < OR_ATTEMPT_PAGES) {
            job->found[event->n_pages] = (struct or_probe_page){.id = keep(job, page->id, failed),
                                                                .created_ms = page->created_ms,
                                                                .edited = page->edited,
                                                                .attached = page->attached};
        }
        event->n_pages++;
    }
}

static void take_page(struct or_page_job *job, const struct onerow_page_call *call, bool *failed)
{
    struct or_event *event = &job->event;
    event->in_trash = call->in_trash;
    event->order = call->order;
    if (call->n_found) {
        event->has_key = owns(job, &call->found[0], failed);
        event->edited = call->found[0].edited;
    }
    if (call->same && job->command.payload) {
        memcpy(event->fingerprint, job->command.payload->fingerprint, OR_FINGERPRINT_LEN);
    }
}

bool or_page_job_take(struct or_page_job *job, const struct onerow_page_call *call)
{
    bool failed = false;
    struct onerow_span reason =
        call->answer == ONEROW_PAGE_OK ? (struct onerow_span){0} : or_span(call->reason);
    job->event = (struct or_event){.answer = ANSWERS[call->answer],
                                   .retry_after_ms = call->retry_after_ms,
                                   .page = keep(job, call->made, &failed)};
    job->reason = keep(job, reason, &failed).data;
    if (call->answer == ONEROW_PAGE_OK && call->what == ONEROW_PAGE_PROBE) {
        take_found(job, call, &failed);
    } else if (call->answer == ONEROW_PAGE_OK && call->what == ONEROW_PAGE_GET) {
        take_page(job, call, &failed);
    } else if (call->answer == ONEROW_PAGE_OK && call->what == ONEROW_PAGE_WRITE && call->n_found) {
        job->event.renamed = !owns(job, &call->found[0], &failed) && !failed;
    }
    return !failed;
}
