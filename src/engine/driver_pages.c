/* SPDX-License-Identifier: Apache-2.0
 *
 * The entries of one key are a job, which runs them one after the other: an attempt each. Some jobs
 * are active at a time. In each round,
 *
 *   step     every job whose event is there gives its next command
 *   ledger   all READs go as one call, then all SWAPs as another one
 *   probes   look-ups of many keys go as one request
 *   send     requests that the governor gives leave to, one at a time where the store wants it so
 *   wait     for the next answer, or until the next job has slept enough
 *
 * A command that must not be sent after its deadline is looked at again when leave is given, which
 * may have taken long; it is answered with FAILED then. Who stops the run lets what is under way
 * come to an end, but not to another try: each attempt says itself what is known by then.
 *
 * When the ledger is not to be had, attempts hear FAILED, and wait and give up by their own rules.
 * A ledger that cannot be read, or that was rolled back, ends the run.
 */
#include "engine/driver_pages.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/digest.h"
#include "base/flag.h"
#include "base/status.h"
#include "base/text.h"
#include "base/u64.h"
#include "base/wake.h"
#include "engine/page_job.h"

#define ACTIVE  64U /* jobs at a time */
#define TURN_MS 50U /* a stop is seen within this */

/* Requests that look for several keys at a time. */
struct probe {
    struct onerow_page_call call;
    struct or_leave leave;
    struct or_page_job *jobs[ACTIVE];
    const struct onerow_record *keys[ACTIVE];
    size_t n;
    bool out;
};

struct run {
    const struct or_pages *pages;
    struct or_table *table;
    const struct onerow_page_ops *ops;
    const struct or_drive_options *options;
    struct or_arena *arena; /* the batch's */
    struct or_page_job jobs[ACTIVE];
    struct probe probes[ACTIVE];
    struct or_entry **entries;
    size_t next, end; /* entries that are no job's yet */
    bool stopping;
    enum onerow_status status; /* why the run ends, or OK */
    struct onerow_error error;
};

/* ---- small words -------------------------------------------------------------------------------
 */

static void fail_run(struct run *run, enum onerow_status status)
{
    run->status = run->status == ONEROW_OK ? status : run->status;
}

static void no_memory(struct run *run)
{
    fail_run(run, or_fail(&run->error, ONEROW_NOMEM, "out of memory"));
}

static uint64_t chance(void)
{
    uint64_t random = 0;
    if (getrandom(&random, sizeof random, 0) != (ssize_t)sizeof random) {
        random = or_wake_now_ms(); /* only spreads load */
    }
    return random;
}

/* ---- entries and attempts ----------------------------------------------------------------------
 */

static const struct onerow_value *value_of(const struct onerow_record *record, int column)
{
    for (size_t i = 0; column >= 0 && i < record->n_values; i++) {
        if (record->values[i].column == (uint16_t)column) {
            return &record->values[i];
        }
    }
    return NULL;
}

/* What the entry wants to be written. False: it is refused, or the run has failed. */
static bool make_payload(struct run *run, struct or_page_job *job, struct or_entry *entry)
{
    const char *reason = NULL;
    struct or_payload *payload = &job->payload;
    *payload = (struct or_payload){0};
    enum onerow_status status = run->ops->encode(run->table->table, &entry->record, run->arena,
                                                 &payload->text, &reason, &run->error);
    if (status == ONEROW_REJECTED) {
        or_entry_refuse(entry, reason);
    } else if (status != ONEROW_OK) {
        fail_run(run, status);
    }
    if (status != ONEROW_OK) {
        return false;
    }
    or_sha256(payload->text, payload->fingerprint);
    const char *order = run->table->spec.order_column;
    int column = order ? or_table_column(run->table, or_span(order)) : -1;
    const struct onerow_value *value = value_of(&entry->record, column);
    payload->order = value ? *value : (struct onerow_value){0};
    return true;
}

static bool begin_attempt(struct run *run, struct or_page_job *job, struct onerow_span spare)
{
    struct or_entry *entry = job->entries[job->at];
    uint64_t number = 0;
    if (!make_payload(run, job, entry)) {
        return false;
    }
    enum onerow_status status = or_ledger_number(run->pages->ledger, &number, &run->error);
    if (status != ONEROW_OK) {
        fail_run(run, status);
        return false;
    }
    job->key = &entry->record;
    job->reason = NULL;
    job->event = (struct or_event){0};
    job->state = OR_PAGE_JOB_STEP;
    or_attempt_init(&job->attempt, &run->pages->attempt, entry->record.key, &job->payload, number,
                    spare);
    return true;
}

/* The job's next entry that is not refused at once; without one the job is over. */
static void begin_next(struct run *run, struct or_page_job *job, struct onerow_span spare)
{
    while (job->at < job->end && run->status == ONEROW_OK && !run->stopping) {
        if (begin_attempt(run, job, spare)) {
            return;
        }
        job->at += run->status == ONEROW_OK;
    }
    job->state = OR_PAGE_JOB_OVER;
}

static size_t end_of_key(const struct run *run, size_t at)
{
    struct onerow_span key = run->entries[at]->record.key;
    while (at < run->end && or_span_equal(run->entries[at]->record.key, key)) {
        at++;
    }
    return at;
}

/* Places of jobs that are over are taken by new ones. No job is moved: requests point at them. */
static void fill_up(struct run *run)
{
    for (size_t i = 0; i < ACTIVE && run->next < run->end; i++) {
        struct or_page_job *job = &run->jobs[i];
        if (job->state != OR_PAGE_JOB_OVER || run->stopping || run->status != ONEROW_OK) {
            continue;
        }
        or_arena_finish(&job->arena);
        *job = (struct or_page_job){.entries = run->entries,
                                    .at = run->next,
                                    .end = end_of_key(run, run->next),
                                    .table = run->table,
                                    .ledger_id = run->pages->ledger->space.ledger_id};
        run->next = job->end;
        or_arena_init(&job->arena);
        begin_next(run, job, (struct onerow_span){0});
    }
}

/* ---- outcomes ----------------------------------------------------------------------------------
 */

static const char *reason_of(struct run *run, const struct or_page_job *job)
{
    const char *why = or_reason_text(job->command.reason);
    const char *text = job->command.reason == OR_REASON_NONE ? NULL : why;
    if (text && job->reason) {
        const char *both = or_arena_printf(run->arena, "%s: %s", why, job->reason);
        text = both ? both : why;
    }
    return text;
}

/* A blank that was made and not used serves the next attempt of the same job; its id is copied, for
 * the arena goes with the attempt. */
static void settle(struct run *run, struct or_page_job *job)
{
    struct or_entry *entry = job->entries[job->at++];
    const struct or_command *command = &job->command;
    struct onerow_span spare = {0};
    entry->outcome = (uint8_t)command->outcome;
    entry->reason = reason_of(run, job);
    if (command->page.data) {
        entry->id = or_arena_copy(run->arena, command->page);
    }
    if (command->spare.data) {
        spare = or_arena_copy(run->arena, command->spare);
    }
    or_arena_reset(&job->arena);
    begin_next(run, job, spare);
}

/* ---- stepping ----------------------------------------------------------------------------------
 */

static void follow(struct run *run, struct or_page_job *job)
{
    switch (job->command.what) {
    case OR_DO_READ: job->state = OR_PAGE_JOB_READ; return;
    case OR_DO_SWAP: job->state = OR_PAGE_JOB_SWAP; return;
    case OR_DO_PROBE: job->state = OR_PAGE_JOB_PROBE; break;
    case OR_DO_WAIT:
        job->state = OR_PAGE_JOB_SLEEP;
        job->due_ms = or_u64_add(or_wake_now_ms(), job->command.wait_ms);
        return;
    case OR_DO_SETTLE: settle(run, job); return;
    default: job->state = OR_PAGE_JOB_SEND; break;
    }
    or_page_job_call(job);
    job->due_ms = 0;
}

static void step(struct run *run, struct or_page_job *job)
{
    while (job->state == OR_PAGE_JOB_STEP && run->status == ONEROW_OK) {
        job->event.now_ms = or_wake_now_ms();
        job->event.random = chance();
        or_attempt_step(&job->attempt, &job->event, &job->command);
        job->event = (struct or_event){0};
        follow(run, job);
    }
}

static void step_all(struct run *run)
{
    for (size_t i = 0; i < ACTIVE; i++) {
        step(run, &run->jobs[i]);
    }
}

/* ---- the ledger --------------------------------------------------------------------------------
 */

typedef enum onerow_status ask_ledger(struct or_ledger *ledger,
                                      struct or_ledger_question *questions, size_t n,
                                      struct onerow_error *error);

/* Whether attempts may go on after such an answer. */
static bool passes(enum onerow_status status)
{
    return status == ONEROW_OK || status == ONEROW_UNAVAILABLE || status == ONEROW_BUSY ||
           status == ONEROW_UNKNOWN || status == ONEROW_RETRY;
}

/* All jobs in this state, as one call. Whether there were any. */
static bool ask(struct run *run, enum or_page_job_state state, ask_ledger *how)
{
    struct or_ledger_question questions[ACTIVE];
    size_t n = 0;
    for (size_t i = 0; i < ACTIVE; i++) {
        struct or_page_job *job = &run->jobs[i];
        if (job->state == state) {
            questions[n++] = (struct or_ledger_question){.key = job->key->key,
                                                         .command = &job->command,
                                                         .event = &job->event,
                                                         .pages = job->records,
                                                         .arena = &job->arena};
            job->state = OR_PAGE_JOB_STEP;
        }
    }
    if (n) {
        enum onerow_status status = how(run->pages->ledger, questions, n, &run->error);
        if (!passes(status)) {
            fail_run(run, status);
        }
    }
    return n > 0;
}

/* ---- requests ----------------------------------------------------------------------------------
 */

/* One that must wait for another one of its line, or for leave, stays as it is. */
static bool line_is_free(const struct run *run, const struct onerow_page_call *call)
{
    uint64_t line = run->ops->line(call);
    bool is_free = true;
    for (size_t i = 0; i < ACTIVE && line && is_free; i++) {
        const struct or_page_job *job = &run->jobs[i];
        bool out = job->state == OR_PAGE_JOB_OUT && job->command.what != OR_DO_PROBE;
        is_free = !out || run->ops->line(&job->call) != line;
    }
    return is_free;
}

static bool begin_call(struct run *run, struct onerow_page_call *call)
{
    enum onerow_status status = run->ops->start(run->table->store, call, &run->error);
    if (status != ONEROW_OK) {
        fail_run(run, status);
    }
    return status == ONEROW_OK;
}

/* Too late: it was not sent, and will not be. */
static bool expire(struct or_page_job *job, uint64_t now_ms)
{
    if (job->command.deadline_ms == 0 || now_ms < job->command.deadline_ms) {
        return false;
    }
    job->event = (struct or_event){.answer = OR_ANSWER_FAILED};
    job->state = OR_PAGE_JOB_STEP;
    return true;
}

static void send_one(struct run *run, struct or_page_job *job)
{
    struct or_governor *governor = run->pages->governor;
    uint64_t now_ms = or_wake_now_ms();
    if (expire(job, now_ms) || now_ms < job->due_ms || !line_is_free(run, &job->call)) {
        return;
    }
    job->leave = or_governor_ask(governor, now_ms);
    job->due_ms = job->leave.given ? 0 : job->leave.until_ms;
    if (!job->leave.given) {
        return;
    }
    now_ms = or_wake_now_ms(); /* asking may have taken its time */
    if (expire(job, now_ms)) {
        or_governor_give_back(governor, &job->leave, now_ms);
    } else if (begin_call(run, &job->call)) {
        job->state = OR_PAGE_JOB_OUT;
    }
}

static struct probe *free_probe(struct run *run)
{
    size_t i = 0;
    while (i < ACTIVE && run->probes[i].out) {
        i++;
    }
    return i < ACTIVE ? &run->probes[i] : NULL;
}

/* As many as one request may look for. */
static void gather(struct run *run, struct probe *probe)
{
    size_t most = run->ops->probe_keys < ACTIVE ? run->ops->probe_keys : ACTIVE;
    probe->n = 0;
    for (size_t i = 0; i < ACTIVE && probe->n < most; i++) {
        struct or_page_job *job = &run->jobs[i];
        if (job->state == OR_PAGE_JOB_PROBE) {
            probe->jobs[probe->n] = job;
            probe->keys[probe->n++] = job->key;
        }
    }
}

/* The answer's memory is that of the first job's attempt; the others copy what they keep. */
static void send_probe(struct run *run, struct probe *probe)
{
    struct or_page_job *first = probe->jobs[0];
    probe->call = first->call;
    probe->call.keys = probe->keys;
    probe->call.n_keys = probe->n;
    probe->call.arena = run->arena;
    probe->call.owner = NULL;
    probe->out = begin_call(run, &probe->call);
    for (size_t i = 0; i < probe->n && probe->out; i++) {
        probe->jobs[i]->state = OR_PAGE_JOB_OUT;
    }
}

static void send_probes(struct run *run)
{
    struct probe *probe = NULL;
    while (run->status == ONEROW_OK && (probe = free_probe(run)) != NULL) {
        gather(run, probe);
        if (probe->n == 0 || or_wake_now_ms() < probe->jobs[0]->due_ms) {
            return;
        }
        probe->leave = or_governor_ask(run->pages->governor, or_wake_now_ms());
        if (!probe->leave.given) {
            for (size_t i = 0; i < probe->n; i++) {
                probe->jobs[i]->due_ms = probe->leave.until_ms;
            }
            return;
        }
        send_probe(run, probe);
    }
}

static void send_all(struct run *run)
{
    for (size_t i = 0; i < ACTIVE && run->status == ONEROW_OK; i++) {
        if (run->jobs[i].state == OR_PAGE_JOB_SEND) {
            send_one(run, &run->jobs[i]);
        }
    }
    send_probes(run);
}

/* ---- answers -----------------------------------------------------------------------------------
 */

static void take(struct run *run, struct or_page_job *job, const struct onerow_page_call *call)
{
    if (!or_page_job_take(job, call)) {
        no_memory(run);
    }
    job->state = OR_PAGE_JOB_STEP;
}

static void tell(struct run *run, const struct onerow_page_call *call, const struct or_leave *leave)
{
    uint64_t retry_ms = call->answer == ONEROW_PAGE_RATE ? call->retry_after_ms : 0;
    or_governor_tell(run->pages->governor, leave, or_page_job_result(call), retry_ms,
                     or_wake_now_ms());
}

static void answered(struct run *run, struct onerow_page_call *call)
{
    if (call->owner) {
        struct or_page_job *job = call->owner;
        tell(run, call, &job->leave);
        take(run, job, call);
        return;
    }
    struct probe *probe = (struct probe *)(void *)((char *)call - offsetof(struct probe, call));
    tell(run, call, &probe->leave);
    for (size_t i = 0; i < probe->n; i++) {
        take(run, probe->jobs[i], call);
    }
    probe->out = false;
}

/* When something is to be done without an answer. */
static uint64_t next_due(const struct run *run)
{
    uint64_t due_ms = UINT64_MAX;
    for (size_t i = 0; i < ACTIVE; i++) {
        const struct or_page_job *job = &run->jobs[i];
        bool waits =
            job->state == OR_PAGE_JOB_SLEEP ||
            ((job->state == OR_PAGE_JOB_SEND || job->state == OR_PAGE_JOB_PROBE) && job->due_ms);
        due_ms = waits ? or_u64_min(due_ms, job->due_ms) : due_ms;
    }
    return due_ms;
}

static void wake_up(struct run *run)
{
    uint64_t now_ms = or_wake_now_ms();
    for (size_t i = 0; i < ACTIVE; i++) {
        struct or_page_job *job = &run->jobs[i];
        if (job->state == OR_PAGE_JOB_SLEEP && (now_ms >= job->due_ms || run->stopping)) {
            job->state = OR_PAGE_JOB_STEP;
        }
    }
}

static void wait(struct run *run)
{
    uint64_t ms = or_u64_min(or_u64_sub(next_due(run), or_wake_now_ms()), TURN_MS);
    struct onerow_page_call *call = run->ops->finish(run->table->store, ms);
    while (call) {
        answered(run, call);
        call = run->ops->finish(run->table->store, 0);
    }
    wake_up(run);
}

/* ---- a run -------------------------------------------------------------------------------------
 */

/* Nothing is tried again from now on. */
static void look_at_the_flag(struct run *run)
{
    static const struct or_retry_limits NO_MORE = {.total_ms = 1};
    if (run->stopping || !or_flag_is_set(run->options->stop)) {
        return;
    }
    run->stopping = true;
    for (size_t i = 0; i < ACTIVE; i++) {
        run->jobs[i].attempt.retry.limits = &NO_MORE;
    }
}

static bool any_left(const struct run *run)
{
    bool left = run->next < run->end && !run->stopping;
    for (size_t i = 0; i < ACTIVE && !left; i++) {
        left = run->jobs[i].state != OR_PAGE_JOB_OVER;
    }
    return left && run->status == ONEROW_OK;
}

static void go_on(struct run *run)
{
    while (any_left(run)) {
        look_at_the_flag(run);
        fill_up(run);
        step_all(run);
        bool asked = ask(run, OR_PAGE_JOB_READ, or_ledger_read);
        asked |= run->status == ONEROW_OK && ask(run, OR_PAGE_JOB_SWAP, or_ledger_swap);
        if (!asked && run->status == ONEROW_OK) {
            send_all(run);
            wait(run);
        }
    }
}

static bool any_out(const struct run *run)
{
    bool out = false;
    for (size_t i = 0; i < ACTIVE && !out; i++) {
        out = run->jobs[i].state == OR_PAGE_JOB_OUT;
    }
    return out;
}

/* The run has failed: what is out is awaited, for it lies in the run's memory. What it did is for
 * the ledger to find out; nobody has said so here. */
static void give_up(struct run *run)
{
    const char *reason = or_drive_reason(&run->error, run->arena);
    while (any_out(run)) {
        struct onerow_page_call *call = run->ops->finish(run->table->store, TURN_MS);
        if (call) {
            answered(run, call);
        }
    }
    for (size_t i = 0; i < ACTIVE; i++) {
        struct or_page_job *job = &run->jobs[i];
        if (job->state != OR_PAGE_JOB_OVER) {
            job->entries[job->at]->outcome = ONEROW_IN_DOUBT;
            job->entries[job->at]->reason = reason;
        }
    }
    for (size_t i = 0; i < run->end; i++) {
        if (run->entries[i]->outcome == ONEROW_PENDING && run->status != ONEROW_INTERRUPTED) {
            or_entry_refuse(run->entries[i], reason);
        }
    }
}

/* What the entries' outcomes come to. */
static enum onerow_status sum_up(struct run *run, struct onerow_error *error)
{
    enum onerow_status status = run->status;
    const char *reason = NULL;
    for (size_t i = 0; i < run->end; i++) {
        const struct or_entry *entry = run->entries[i];
        enum onerow_status one = entry->outcome == ONEROW_REFUSED    ? ONEROW_REJECTED
                                 : entry->outcome == ONEROW_IN_DOUBT ? ONEROW_UNKNOWN
                                 : entry->outcome == ONEROW_PENDING  ? ONEROW_INTERRUPTED
                                                                     : ONEROW_OK;
        enum onerow_status worse = or_status_worse(status, one);
        reason = worse != status ? entry->reason : reason;
        status = worse;
    }
    if (run->status != ONEROW_OK && error) {
        *error = run->error;
    } else if (status != ONEROW_OK) {
        (void)or_fail(error, status, "%s", reason ? reason : onerow_status_text(status));
    }
    return status;
}

enum onerow_status or_pages_put(const struct or_pages *pages, struct or_table *table,
                                struct or_entry **entries, size_t n,
                                const struct or_drive_options *options, struct or_arena *arena,
                                struct onerow_error *error)
{
    struct run *run = calloc(1, sizeof *run);
    if (!run) {
        return or_fail(error, ONEROW_NOMEM, "out of memory");
    }
    run->pages = pages;
    run->table = table;
    run->ops = table->store->type->pages;
    run->options = options;
    run->arena = arena;
    run->entries = entries;
    run->end = n;
    go_on(run);
    if (run->status != ONEROW_OK) {
        give_up(run);
    }
    enum onerow_status status = sum_up(run, error);
    for (size_t i = 0; i < ACTIVE; i++) {
        or_arena_finish(&run->jobs[i].arena);
    }
    free(run);
    return status;
}
