/* SPDX-License-Identifier: Apache-2.0
 *
 * A task is an attempt, a sweep or a healing (core/); a job is a place for one. In each round,
 *
 *   fill     free jobs take new tasks, many at once, so that their look-ups go together
 *   step     every job whose event is there gives its next command
 *   send     requests that the governor gives leave to, one at a time where the store wants it so
 *   ledger   all READs go as one call, then all SWAPs as another one; while requests are out, those
 *            of some ms together: what a call costs (it waits for the disk), it costs for many
 *   probes   look-ups of many keys go as one request, once nobody is about to want one, too; what
 *            is answered in parts goes on before others begin
 *   wait     for the next answer, or until a job has slept enough
 *
 * Three things are seen to before a request, in this order: that no other one of its line is out,
 * the governor's leave, and that its time is not over: that is answered with FAILED. A swap that
 * announces a write needs line and leave first. Else the write would wait for its window after the
 * announcement, for longer than that is good for; the next announcement would do no better, and
 * each one refuses what others are about to swap. Who is nearest to the end of its task goes first,
 * so that blanks do not pile up.
 *
 * Who stops the run lets what is out come back, but nothing is tried again: each task says itself
 * what is known by then. The same happens when the run fails: everything that is still wanted is
 * answered with FAILED.
 *
 * When the ledger is not to be had, tasks hear FAILED, and wait and give up by their own rules. A
 * ledger that cannot be read, or that was rolled back, ends the run.
 */
#include "engine/pages_loop.h"

#include <assert.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "base/flag.h"
#include "base/status.h"
#include "base/text.h"
#include "base/u64.h"
#include "base/wake.h"
#include "engine/driver_blocking.h"

#define ACTIVE    200U /* jobs */
#define GROUP     100U /* that are free before they are filled again, unless nothing else goes on */
#define PROBES    8U   /* out at a time */
#define TURN_MS   100U /* a stop is seen within this */
#define ROUND_MS  1000U /* there is a round at least as often */
#define OUT_MAX   16U   /* requests at a time: each may need a connection of its own */
#define GATHER_MS 5U    /* the ledger is asked within this, or for … */
#define GATHERED  32U   /* … so many at once */

enum probe_state {
    PROBE_FREE,
    PROBE_OUT,
    PROBE_PART, /* there is more to be asked for */
};

/* A request that looks for several keys. */
struct probe {
    struct onerow_page_call call;
    struct or_leave leave;
    struct or_page_job *jobs[ACTIVE];
    const struct onerow_record *keys[ACTIVE];
    size_t n;
    struct or_arena arena;
    enum probe_state state;
};

struct loop {
    struct or_pages *pages;
    struct or_table *table;
    const struct onerow_page_ops *ops;
    const struct or_pages_work *work;
    const volatile bool *stop;
    struct or_pages_stats *stats;
    struct or_page_job jobs[ACTIVE];
    struct probe probes[PROBES];
    uint64_t turn;
    size_t n_out;        /* requests */
    uint64_t gather_ms;  /* since when somebody wants the ledger; 0: nobody does */
    uint64_t hold_ms;    /* there is no leave before; 0: there may be */
    uint64_t held_ms;    /* since when there is none; 0: there was, the last time */
    uint64_t blocked_ms; /* since when breaker or coordinator let nothing pass; 0: they do */
    bool once_more;      /* leave was given, and was good no more: at once */
    bool dry;            /* there are no more tasks */
    bool stopping;
    enum onerow_status status;   /* why the run ends, or OK */
    struct onerow_error failure; /* of that */
    struct or_arena arena;       /* of the reason */
    const char *reason;
    struct onerow_error error; /* of the last call */
};

void or_pages_stats_add(struct or_pages_stats *sum, const struct or_pages_stats *more)
{
    sum->requests += more->requests;
    sum->probes += more->probes;
    sum->conflicts += more->conflicts;
    sum->rated += more->rated;
    sum->uncertain += more->uncertain;
    sum->unsent += more->unsent;
    sum->held_ms += more->held_ms;
    sum->opened += more->opened;
    sum->twins += more->twins;
}

static void fail(struct loop *loop, enum onerow_status status)
{
    if (loop->status == ONEROW_OK) {
        loop->status = status;
        loop->failure = loop->error;
        loop->reason = or_drive_reason(&loop->failure, &loop->arena);
    }
}

static void no_memory(struct loop *loop)
{
    fail(loop, or_fail(&loop->error, ONEROW_NOMEM, "out of memory"));
}

/* Nothing more is begun, and nothing is tried again. */
static bool is_ending(const struct loop *loop)
{
    return loop->stopping || loop->status != ONEROW_OK;
}

/* ---- spares --------------------------------------------------------------------------------- */

static void give_spare(struct or_spares *spares, struct onerow_span id)
{
    if (id.data && id.len <= OR_PAGE_ID_MAX && spares->n < OR_SPARES) {
        memcpy(spares->ids[spares->n], id.data, id.len);
        spares->lens[spares->n++] = id.len;
    }
}

/* Without memory for it, another blank is made. */
static struct onerow_span take_spare(struct or_spares *spares, struct or_arena *arena)
{
    if (spares->n == 0) {
        return (struct onerow_span){0};
    }
    struct onerow_span id = {spares->ids[spares->n - 1], spares->lens[spares->n - 1]};
    struct onerow_span kept = or_arena_copy(arena, id);
    spares->n -= kept.data != NULL;
    return kept;
}

/* ---- tasks ---------------------------------------------------------------------------------- */

static enum onerow_status take_up(struct loop *loop, struct or_page_job *job)
{
    if (job->key && !or_ledger_name(job->key->key, &job->arena, &job->name)) {
        return or_fail(&loop->error, ONEROW_NOMEM, "out of memory");
    }
    job->ledger_id = loop->pages->ledger->space.ledger_id;
    job->table = loop->table;
    job->due_ms = 0;
    job->reason = NULL;
    job->state = OR_PAGE_JOB_BEGIN;
    or_retry_init(&job->begin, job->options->retry, or_wake_now_ms());
    return ONEROW_OK;
}

static bool take_task(struct loop *loop, struct or_page_job *job, bool again)
{
    const struct or_pages_work *work = loop->work;
    struct or_arena arena = job->arena;
    or_arena_reset(&arena);
    *job = (struct or_page_job){.arena = arena,
                                .owner = job->owner,
                                .options = &loop->pages->attempt,
                                .state = OR_PAGE_JOB_OVER};
    enum onerow_status status = again ? work->again(work->context, job, &loop->error)
                                      : work->next(work->context, job, &loop->error);
    status = status == ONEROW_OK ? take_up(loop, job) : status;
    if (status != ONEROW_OK && status != ONEROW_ABSENT) {
        fail(loop, status);
    }
    return status == ONEROW_OK;
}

static void settle(struct loop *loop, struct or_page_job *job)
{
    job->state = OR_PAGE_JOB_OVER;
    loop->stats->twins += job->command.twins;
    give_spare(&loop->pages->spares, job->command.spare);
    loop->work->settled(loop->work->context, job, is_ending(loop));
    if (!is_ending(loop)) {
        (void)take_task(loop, job, true);
    }
}

/* Before it had so much as a number: nothing was done. */
static void settle_unbegun(struct loop *loop, struct or_page_job *job)
{
    job->command = (struct or_command){
        .what = OR_DO_SETTLE, .outcome = ONEROW_REFUSED, .reason = OR_REASON_GAVE_UP};
    settle(loop, job);
}

/* How many tasks are to be begun: groups, as far as there is room, or what there is room for when
 * nothing else goes on. */
static size_t tasks_wanted(const struct loop *loop)
{
    size_t n_free = 0;
    bool idle = true;
    for (size_t i = 0; i < ACTIVE; i++) {
        enum or_page_job_state state = loop->jobs[i].state;
        n_free += state == OR_PAGE_JOB_OVER;
        idle &= state == OR_PAGE_JOB_OVER || state == OR_PAGE_JOB_SLEEP;
    }
    return idle ? n_free : n_free / GROUP * GROUP;
}

static void fill_up(struct loop *loop)
{
    size_t wanted = loop->dry || is_ending(loop) ? 0 : tasks_wanted(loop);
    for (size_t i = 0; wanted && !loop->dry; i++) {
        if (loop->jobs[i].state == OR_PAGE_JOB_OVER) {
            loop->dry = !take_task(loop, &loop->jobs[i], false);
            wanted--;
        }
    }
}

/* ---- the ledger ----------------------------------------------------------------------------- */

typedef enum onerow_status ask_ledger(struct or_ledger *ledger,
                                      struct or_ledger_question *questions, size_t n,
                                      struct onerow_error *error);

/* Whether tasks may go on after such an answer. */
static bool passes(enum onerow_status status)
{
    return status == ONEROW_OK || status == ONEROW_UNAVAILABLE || status == ONEROW_BUSY ||
           status == ONEROW_UNKNOWN || status == ONEROW_RETRY || status == ONEROW_INTERRUPTED;
}

static void explain(struct loop *loop, struct or_ledger_question *questions, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct or_page_job *job =
            (struct or_page_job *)(void *)((char *)questions[i].event -
                                           offsetof(struct or_page_job, event));
        job->reason = or_drive_reason(&loop->error, &job->arena);
    }
}

/* All jobs in this state, as one call. */
static void ask(struct loop *loop, enum or_page_job_state state, ask_ledger *how)
{
    struct or_ledger_question questions[ACTIVE];
    size_t n = 0;
    for (size_t i = 0; i < ACTIVE; i++) {
        struct or_page_job *job = &loop->jobs[i];
        if (job->state == state) {
            questions[n++] = (struct or_ledger_question){.key = job->name,
                                                         .command = &job->command,
                                                         .event = &job->event,
                                                         .pages = job->records,
                                                         .kept = &job->kept,
                                                         .arena = &job->arena};
            job->state = OR_PAGE_JOB_STEP;
        }
    }
    if (n) {
        enum onerow_status status = how(loop->pages->ledger, questions, n, &loop->error);
        if (!passes(status)) {
            fail(loop, status);
        } else if (status != ONEROW_OK) {
            explain(loop, questions, n);
        }
    }
}

/* A sweep needs no number. */
static void begin(struct loop *loop, struct or_page_job *job)
{
    uint64_t number = 0;
    uint64_t wait_ms = 0;
    enum onerow_status status = job->task == OR_PAGE_TASK_SWEEP
                                    ? ONEROW_OK
                                    : or_ledger_number(loop->pages->ledger, &number, &loop->error);
    if (status == ONEROW_OK) {
        if (job->task == OR_PAGE_TASK_ATTEMPT && job->own) {
            job->spare = take_spare(&loop->pages->spares, &job->arena);
        }
        or_page_job_begin(job, number);
        return;
    }
    job->reason = or_drive_reason(&loop->error, &job->arena);
    uint64_t now_ms = or_wake_now_ms();
    if (!passes(status)) {
        fail(loop, status);
    } else if (or_retry_next(&job->begin, OR_RETRY_BUSY, 0, now_ms, now_ms, &wait_ms)) {
        job->due_ms = or_u64_add(now_ms, wait_ms);
    } else {
        settle_unbegun(loop, job);
    }
}

/* One that does not get a number speaks for all. */
static void begin_all(struct loop *loop)
{
    uint64_t now_ms = or_wake_now_ms();
    uint64_t due_ms = 0;
    for (size_t i = 0; i < ACTIVE && loop->status == ONEROW_OK; i++) {
        struct or_page_job *job = &loop->jobs[i];
        if (job->state == OR_PAGE_JOB_BEGIN && loop->stopping) {
            settle_unbegun(loop, job);
        }
        if (job->state != OR_PAGE_JOB_BEGIN || now_ms < job->due_ms) {
            continue;
        }
        if (due_ms) {
            job->due_ms = due_ms;
            continue;
        }
        begin(loop, job);
        due_ms = job->state == OR_PAGE_JOB_BEGIN ? job->due_ms : 0;
    }
}

/* ---- stepping ------------------------------------------------------------------------------- */

static void drop_leave(struct loop *loop, struct or_page_job *job)
{
    if (job->leave.given) {
        or_governor_give_back(loop->pages->governor, &job->leave, or_wake_now_ms());
        loop->hold_ms = 0;
    }
}

static void queue(struct loop *loop, struct or_page_job *job, enum or_page_job_state state)
{
    uint64_t line = loop->ops->line(&job->call);
    if (line != job->line) {
        drop_leave(loop, job);
    }
    job->line = line;
    job->turn = loop->turn++;
    job->state = state;
}

static void follow_swap(struct loop *loop, struct or_page_job *job)
{
    if (!or_page_job_announces(job)) {
        drop_leave(loop, job);
        job->state = OR_PAGE_JOB_SWAP;
        return;
    }
    queue(loop, job, OR_PAGE_JOB_LEAVE);
}

static void follow(struct loop *loop, struct or_page_job *job)
{
    switch (job->command.what) {
    case OR_DO_SWAP: follow_swap(loop, job); return;
    case OR_DO_READ: job->state = OR_PAGE_JOB_READ; break;
    case OR_DO_WAIT:
        job->state = OR_PAGE_JOB_SLEEP;
        job->due_ms = or_u64_add(or_wake_now_ms(), job->command.wait_ms);
        break;
    case OR_DO_PROBE:
        job->line = 0;
        job->state = OR_PAGE_JOB_PROBE;
        break;
    case OR_DO_SETTLE:
        drop_leave(loop, job);
        settle(loop, job);
        return;
    default:
        or_page_job_call(job);
        queue(loop, job, OR_PAGE_JOB_SEND);
        return;
    }
    drop_leave(loop, job);
}

static void step_all(struct loop *loop)
{
    for (size_t i = 0; i < ACTIVE; i++) {
        struct or_page_job *job = &loop->jobs[i];
        while (job->state == OR_PAGE_JOB_STEP) {
            if (is_ending(loop)) {
                or_page_job_hurry(job);
            }
            or_page_job_step(job);
            follow(loop, job);
        }
    }
}

static void answer_failed(struct loop *loop, struct or_page_job *job)
{
    drop_leave(loop, job);
    job->event = (struct or_event){.answer = OR_ANSWER_FAILED};
    job->state = OR_PAGE_JOB_STEP;
}

/* ---- leave ---------------------------------------------------------------------------------- */

static void note_held(struct loop *loop, const struct or_leave *leave, uint64_t now_ms)
{
    loop->hold_ms = leave->until_ms;
    loop->held_ms = loop->held_ms ? loop->held_ms : now_ms;
    if (leave->hold != OR_HOLD_WINDOW && loop->blocked_ms == 0) {
        loop->blocked_ms = now_ms;
    }
}

static void note_given(struct loop *loop, const struct or_leave *leave, uint64_t now_ms)
{
    loop->stats->held_ms += loop->held_ms ? or_u64_sub(now_ms, loop->held_ms) : 0;
    loop->held_ms = 0;
    if (leave->probe == 0) { /* the breaker's probes do not say that it is closed */
        loop->blocked_ms = 0;
    }
}

static bool get_leave(struct loop *loop, struct or_leave *leave, uint32_t wanted)
{
    uint64_t now_ms = or_wake_now_ms();
    if (now_ms < loop->hold_ms || loop->n_out >= OUT_MAX) {
        return false;
    }
    *leave = or_governor_ask(loop->pages->governor, wanted, now_ms);
    if (leave->given) {
        note_given(loop, leave, now_ms);
    } else {
        note_held(loop, leave, now_ms);
    }
    return leave->given;
}

/* Too many calls met a conflict, or nobody keeps the windows, for too long. */
static void look_at_patience(struct loop *loop)
{
    uint64_t now_ms = or_wake_now_ms();
    if (loop->blocked_ms && now_ms >= or_u64_add(loop->blocked_ms, loop->pages->patience_ms)) {
        fail(loop,
             or_fail(&loop->error, ONEROW_UNAVAILABLE,
                     "table \"%s\": nothing could be sent for %llu s: too many requests met a "
                     "conflict, or the coordinator of the rate windows was not to be had",
                     loop->table->spec.name,
                     (unsigned long long)(loop->pages->patience_ms / 1000)));
    }
}

/* ---- requests ------------------------------------------------------------------------------- */

/* A set of lines; more than half of it stays empty. */
#define LINES 512U
struct lines {
    uint64_t taken[LINES];
};

static bool occupies_line(const struct or_page_job *job)
{
    return job->line && (job->state == OR_PAGE_JOB_OUT || job->leave.given);
}

/* A place for the line among those of the set: where it is, or where it would be. */
static size_t place_of(const struct lines *lines, uint64_t line)
{
    size_t at = line % LINES;
    while (lines->taken[at] && lines->taken[at] != line) {
        at = (at + 1) % LINES;
    }
    return at;
}

static bool is_free(const struct lines *lines, uint64_t line)
{
    return line == 0 || lines->taken[place_of(lines, line)] == 0;
}

/* False: somebody has it. */
static bool take_line(struct lines *lines, uint64_t line)
{
    bool was_free = is_free(lines, line);
    if (line) {
        lines->taken[place_of(lines, line)] = line;
    }
    return was_free;
}

static void take_lines(const struct loop *loop, struct lines *lines)
{
    memset(lines, 0, sizeof *lines);
    for (size_t i = 0; i < ACTIVE; i++) {
        if (occupies_line(&loop->jobs[i])) {
            (void)take_line(lines, loop->jobs[i].line);
        }
    }
}

static bool begin_call(struct loop *loop, struct onerow_page_call *call)
{
    enum onerow_status status = loop->ops->start(loop->table->store, call, &loop->error);
    if (status != ONEROW_OK) {
        fail(loop, status);
        return false;
    }
    loop->stats->requests++;
    loop->n_out++;
    return true;
}

/* Too late: it was not sent, and will not be. */
static bool expire(struct loop *loop, struct or_page_job *job)
{
    uint64_t deadline_ms = job->command.deadline_ms;
    if (job->state != OR_PAGE_JOB_SEND || deadline_ms == 0 || or_wake_now_ms() < deadline_ms) {
        return false;
    }
    loop->stats->unsent++;
    answer_failed(loop, job);
    return true;
}

static bool may_put_away(struct loop *loop, struct or_page_job *job)
{
    bool puts_away = job->call.what == ONEROW_PAGE_TRASH || job->call.what == ONEROW_PAGE_MOVE_KEY;
    if (!puts_away || !loop->work->before) {
        return true;
    }
    enum onerow_status status = loop->work->before(loop->work->context, job, &loop->error);
    if (status != ONEROW_OK) {
        fail(loop, status);
    }
    return status == ONEROW_OK;
}

static void send(struct loop *loop, struct or_page_job *job)
{
    if (!may_put_away(loop, job)) {
        drop_leave(loop, job);
        return;
    }
    uint64_t now_ms = or_wake_now_ms();
    if (!or_governor_use(loop->pages->governor, &job->leave, now_ms)) {
        loop->hold_ms = 0;
        loop->once_more = true;
        return;
    }
    if (job->command.what == OR_DO_CREATE_KEYED) { /* is to be over by then, not only sent */
        uint64_t left_ms = or_u64_sub(job->command.deadline_ms, now_ms);
        job->call.timeout_ms = or_u64_min(job->call.timeout_ms, left_ms);
    }
    if (begin_call(loop, &job->call)) {
        job->state = OR_PAGE_JOB_OUT;
    }
}

/* `wanted`: how many may be sent now, this one included; 0: not this one, because of its line. */
static void try_to_send(struct loop *loop, struct or_page_job *job, uint32_t wanted)
{
    if (expire(loop, job)) {
        return;
    }
    if (!job->leave.given && (!wanted || !get_leave(loop, &job->leave, wanted))) {
        if (is_ending(loop)) {
            answer_failed(loop, job);
        }
        return;
    }
    if (job->state == OR_PAGE_JOB_LEAVE) {
        or_attempt_swap_sent(&job->as.attempt, or_wake_now_ms());
        job->state = OR_PAGE_JOB_SWAP;
    } else if (!expire(loop, job)) { /* asking may have taken its time */
        send(loop, job);
    }
}

/* Those that are nearest to the end of their task first. */
static unsigned rank_of(const struct or_page_job *job)
{
    return job->state == OR_PAGE_JOB_LEAVE ? 1 : job->command.deadline_ms ? 0 : 2;
}

static int by_rank(const void *left, const void *right)
{
    const struct or_page_job *a = *(struct or_page_job *const *)left;
    const struct or_page_job *b = *(struct or_page_job *const *)right;
    unsigned rank_a = rank_of(a);
    unsigned rank_b = rank_of(b);
    return rank_a != rank_b ? (rank_a > rank_b) - (rank_a < rank_b)
                            : (a->turn > b->turn) - (a->turn < b->turn);
}

/* Those that may be sent, have leave, or may expire. */
static size_t collect(struct loop *loop, const struct lines *lines, struct or_page_job **list,
                      size_t *n_probes)
{
    bool held = (or_wake_now_ms() < loop->hold_ms || loop->n_out >= OUT_MAX) && !is_ending(loop);
    size_t n = 0;
    for (size_t i = 0; i < ACTIVE; i++) {
        struct or_page_job *job = &loop->jobs[i];
        *n_probes += job->state == OR_PAGE_JOB_PROBE;
        bool waits = job->state == OR_PAGE_JOB_SEND || job->state == OR_PAGE_JOB_LEAVE;
        bool may = !held && (is_ending(loop) || is_free(lines, job->line));
        if (waits && (may || job->leave.given || job->command.deadline_ms)) {
            list[n++] = job;
        }
    }
    return n;
}

static void send_all(struct loop *loop)
{
    struct or_page_job *list[ACTIVE];
    size_t n_probes = 0;
    bool may[ACTIVE];
    struct lines lines;
    loop->once_more = false;
    take_lines(loop, &lines);
    size_t n = collect(loop, &lines, list, &n_probes);
    if (n == 0) {
        return;
    }
    qsort(list, n, sizeof(struct or_page_job *), by_rank);
    uint32_t wanted = n_probes > 0;
    for (size_t i = 0; i < n; i++) {
        may[i] = !list[i]->leave.given && take_line(&lines, list[i]->line);
        wanted += may[i];
    }
    for (size_t i = 0; i < n; i++) {
        try_to_send(loop, list[i], may[i] ? wanted : 0);
        wanted -= may[i];
    }
}

/* ---- probes --------------------------------------------------------------------------------- */

static struct probe *free_probe(struct loop *loop)
{
    size_t i = 0;
    while (i < PROBES && loop->probes[i].state != PROBE_FREE) {
        i++;
    }
    return i < PROBES ? &loop->probes[i] : NULL;
}

static struct probe *probe_in_parts(struct loop *loop)
{
    size_t i = 0;
    while (i < PROBES && loop->probes[i].state != PROBE_PART) {
        i++;
    }
    return i < PROBES ? &loop->probes[i] : NULL;
}

/* As many as one request may look for. */
static void gather(struct loop *loop, struct probe *probe)
{
    size_t most = loop->ops->probe_keys < ACTIVE ? loop->ops->probe_keys : ACTIVE;
    probe->n = 0;
    for (size_t i = 0; i < ACTIVE && probe->n < most; i++) {
        struct or_page_job *job = &loop->jobs[i];
        if (job->state == OR_PAGE_JOB_PROBE) {
            probe->jobs[probe->n] = job;
            probe->keys[probe->n++] = job->key;
        }
    }
    probe->call = (struct onerow_page_call){.what = ONEROW_PAGE_PROBE,
                                            .table = loop->table->table,
                                            .keys = probe->keys,
                                            .n_keys = probe->n,
                                            .timeout_ms = loop->pages->attempt.bounds.request,
                                            .arena = &probe->arena};
}

static void set_probe(struct probe *probe, enum probe_state state, enum or_page_job_state jobs)
{
    probe->state = state;
    for (size_t i = 0; i < probe->n; i++) {
        probe->jobs[i]->state = jobs;
    }
}

static void send_probe(struct loop *loop, struct probe *probe)
{
    if (!or_governor_use(loop->pages->governor, &probe->leave, or_wake_now_ms())) {
        loop->hold_ms = 0;
        loop->once_more = true;
        return;
    }
    bool first = probe->state == PROBE_FREE;
    if (begin_call(loop, &probe->call)) {
        loop->stats->probes += first;
        set_probe(probe, PROBE_OUT, OR_PAGE_JOB_OUT);
    }
}

/* The next one to be sent; NULL: there is none. */
static struct probe *next_probe(struct loop *loop)
{
    struct probe *probe = probe_in_parts(loop);
    if (!probe && (probe = free_probe(loop))) {
        gather(loop, probe);
    }
    return probe && probe->n ? probe : NULL;
}

static void take(struct loop *loop, struct or_page_job *job, const struct onerow_page_call *call)
{
    if (!or_page_job_take(job, call)) {
        no_memory(loop);
        job->event = (struct or_event){.answer = OR_ANSWER_UNCERTAIN};
    }
    job->state = OR_PAGE_JOB_STEP;
}

static void end_probe(struct loop *loop, struct probe *probe)
{
    for (size_t i = 0; i < probe->n; i++) {
        take(loop, probe->jobs[i], &probe->call);
    }
    or_arena_reset(&probe->arena);
    probe->state = PROBE_FREE;
}

/* Nothing more is asked for, and no answer that is not complete is one. */
static void give_up_parts(struct loop *loop)
{
    struct probe *probe = is_ending(loop) ? probe_in_parts(loop) : NULL;
    while (probe) {
        probe->call.answer = ONEROW_PAGE_FAILED;
        end_probe(loop, probe);
        probe = probe_in_parts(loop);
    }
}

static void send_probes(struct loop *loop)
{
    bool going = true;
    give_up_parts(loop);
    while (going && loop->status == ONEROW_OK) {
        struct probe *probe = next_probe(loop);
        going = probe && !loop->once_more && get_leave(loop, &probe->leave, 1);
        if (going) {
            send_probe(loop, probe);
        }
    }
    for (size_t i = 0; i < ACTIVE && is_ending(loop); i++) {
        if (loop->jobs[i].state == OR_PAGE_JOB_PROBE) {
            answer_failed(loop, &loop->jobs[i]);
        }
    }
}

/* ---- answers -------------------------------------------------------------------------------- */

static void tell(struct loop *loop, const struct onerow_page_call *call,
                 const struct or_leave *leave)
{
    uint64_t retry_ms = call->answer == ONEROW_PAGE_RATE ? call->retry_after_ms : 0;
    or_governor_tell(loop->pages->governor, leave, or_page_job_result(call), retry_ms,
                     or_wake_now_ms());
    loop->hold_ms = 0; /* the breaker may have closed */
    loop->stats->conflicts += call->answer == ONEROW_PAGE_CONFLICT;
    loop->stats->rated += call->answer == ONEROW_PAGE_RATE;
    loop->stats->uncertain += call->answer == ONEROW_PAGE_UNCERTAIN;
}

static void answered(struct loop *loop, struct onerow_page_call *call)
{
    loop->n_out--;
    if (call->owner) {
        struct or_page_job *job = call->owner;
        tell(loop, call, &job->leave);
        take(loop, job, call);
        return;
    }
    struct probe *probe = (struct probe *)(void *)((char *)call - offsetof(struct probe, call));
    tell(loop, call, &probe->leave);
    if (call->answer == ONEROW_PAGE_MORE) {
        set_probe(probe, PROBE_PART, OR_PAGE_JOB_PART);
    } else {
        end_probe(loop, probe);
    }
}

/* ---- waiting -------------------------------------------------------------------------------- */

static bool any_out(const struct loop *loop)
{
    bool out = false;
    for (size_t i = 0; i < ACTIVE && !out; i++) {
        out = loop->jobs[i].state == OR_PAGE_JOB_OUT;
    }
    return out;
}

/* When something is to be done without an answer; 0: now. Who wants to send, and is not held, waits
 * for the answer to another request. */
static uint64_t next_due(const struct loop *loop)
{
    uint64_t hold_ms = loop->once_more ? 0 : loop->hold_ms ? loop->hold_ms : UINT64_MAX;
    uint64_t due_ms = !loop->dry && !is_ending(loop) && tasks_wanted(loop) ? 0 : UINT64_MAX;
    for (size_t i = 0; i < ACTIVE; i++) {
        const struct or_page_job *job = &loop->jobs[i];
        switch (job->state) {
        case OR_PAGE_JOB_OVER:
        case OR_PAGE_JOB_OUT: break;
        case OR_PAGE_JOB_BEGIN:
        case OR_PAGE_JOB_SLEEP: due_ms = or_u64_min(due_ms, job->due_ms); break;
        case OR_PAGE_JOB_READ:
        case OR_PAGE_JOB_SWAP:
            due_ms = or_u64_min(due_ms, or_u64_add(loop->gather_ms, GATHER_MS));
            break;
        case OR_PAGE_JOB_SEND:
            due_ms = or_u64_min(due_ms,
                                job->command.deadline_ms ? job->command.deadline_ms : UINT64_MAX);
            due_ms = or_u64_min(due_ms, hold_ms);
            break;
        case OR_PAGE_JOB_LEAVE:
        case OR_PAGE_JOB_PROBE:
        case OR_PAGE_JOB_PART: due_ms = or_u64_min(due_ms, hold_ms); break;
        default: return 0;
        }
    }
    return due_ms;
}

static void wake_up(struct loop *loop)
{
    uint64_t now_ms = or_wake_now_ms();
    for (size_t i = 0; i < ACTIVE; i++) {
        struct or_page_job *job = &loop->jobs[i];
        bool slept = now_ms >= job->due_ms || is_ending(loop);
        if (job->state == OR_PAGE_JOB_SLEEP && slept) {
            job->event = (struct or_event){0};
            job->state = OR_PAGE_JOB_STEP;
        }
    }
}

/* For as long as there is nothing else to do: a round only to see the stop would be waste. */
static void wait(struct loop *loop)
{
    struct onerow_page_call *call = NULL;
    uint64_t due_ms = or_u64_min(next_due(loop), or_u64_add(or_wake_now_ms(), ROUND_MS));
    uint64_t left_ms = or_u64_sub(due_ms, or_wake_now_ms());
    bool out = any_out(loop);
    do {
        uint64_t ms = or_u64_min(left_ms, TURN_MS);
        if (out) {
            call = loop->ops->finish(loop->table->store, ms);
        } else if (ms) {
            (void)poll(NULL, 0, (int)ms);
        }
        left_ms = or_u64_sub(due_ms, or_wake_now_ms());
    } while (!call && left_ms && loop->stopping == or_flag_is_set(loop->stop));
    while (call) {
        answered(loop, call);
        call = loop->ops->finish(loop->table->store, 0);
    }
    wake_up(loop);
}

/* ---- the loop ------------------------------------------------------------------------------- */

static bool any_left(const struct loop *loop)
{
    bool left = !loop->dry && !is_ending(loop);
    for (size_t i = 0; i < ACTIVE && !left; i++) {
        left = loop->jobs[i].state != OR_PAGE_JOB_OVER;
    }
    return left;
}

static size_t count_asking(const struct loop *loop)
{
    size_t n = 0;
    for (size_t i = 0; i < ACTIVE; i++) {
        enum or_page_job_state state = loop->jobs[i].state;
        n += state == OR_PAGE_JOB_READ || state == OR_PAGE_JOB_SWAP;
    }
    return n;
}

/* False: nobody wants the ledger, not even in a moment. */
static bool ask_ledger_for_all(struct loop *loop)
{
    size_t n = count_asking(loop);
    uint64_t now_ms = or_wake_now_ms();
    loop->gather_ms = n == 0 ? 0 : loop->gather_ms ? loop->gather_ms : now_ms;
    if (n && (n >= GATHERED || !any_out(loop) || is_ending(loop) ||
              now_ms >= or_u64_add(loop->gather_ms, GATHER_MS))) {
        ask(loop, OR_PAGE_JOB_READ, or_ledger_read);
        if (loop->status == ONEROW_OK) {
            ask(loop, OR_PAGE_JOB_SWAP, or_ledger_swap);
        }
        loop->gather_ms = 0;
    }
    return n > 0;
}

static void go_on(struct loop *loop)
{
    while (any_left(loop) && loop->status == ONEROW_OK) {
        loop->stopping = loop->stopping || or_flag_is_set(loop->stop);
        fill_up(loop);
        begin_all(loop);
        step_all(loop);
        send_all(loop);
        if (loop->status == ONEROW_OK && !ask_ledger_for_all(loop)) {
            send_probes(loop);
        }
        if (any_left(loop)) {
            wait(loop);
        }
        look_at_patience(loop);
    }
}

/* The run has failed. What is out is awaited, for it lies in the jobs' memory; everything else is
 * answered with FAILED, until each task has said what is known of it. */
static void end(struct loop *loop)
{
    give_up_parts(loop);
    for (size_t i = 0; i < ACTIVE; i++) {
        struct or_page_job *job = &loop->jobs[i];
        if (job->state == OR_PAGE_JOB_BEGIN) {
            job->reason = loop->reason;
            settle_unbegun(loop, job);
        } else if (job->state != OR_PAGE_JOB_OVER && job->state != OR_PAGE_JOB_OUT &&
                   job->state != OR_PAGE_JOB_STEP) {
            answer_failed(loop, job);
        }
        if (job->state != OR_PAGE_JOB_OVER && job->state != OR_PAGE_JOB_OUT) {
            job->reason = loop->reason;
        }
    }
    step_all(loop);
}

static void run(struct loop *loop)
{
    go_on(loop);
    while (any_left(loop)) {
        end(loop);
        if (any_out(loop)) {
            wait(loop);
        }
    }
}

enum onerow_status or_pages_loop(struct or_pages *pages, struct or_table *table,
                                 const struct or_pages_work *work, const volatile bool *stop,
                                 struct or_pages_stats *stats, struct onerow_error *error)
{
    struct loop *loop = calloc(1, sizeof *loop);
    if (!loop) {
        return or_fail(error, ONEROW_NOMEM, "out of memory");
    }
    uint64_t opened = or_governor_opened(pages->governor);
    loop->pages = pages;
    loop->table = table;
    loop->ops = table->store->type->pages;
    loop->work = work;
    loop->stop = stop;
    loop->stats = stats;
    run(loop);
    stats->opened += or_governor_opened(pages->governor) - opened;
    enum onerow_status status = loop->status;
    if (status != ONEROW_OK && error) {
        *error = loop->failure;
    }
    for (size_t i = 0; i < ACTIVE; i++) {
        or_arena_finish(&loop->jobs[i].arena);
    }
    for (size_t i = 0; i < PROBES; i++) {
        or_arena_finish(&loop->probes[i].arena);
    }
    or_arena_finish(&loop->arena);
    free(loop);
    return status;
}
