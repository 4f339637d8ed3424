/* SPDX-License-Identifier: Apache-2.0
 *
 * In this order:
 *
 *   blanks   live pages with a blank's title and this ledger's id. A number that the ledger has
 * never given proves that it was rolled back. Those that are old enough are swept pages    the keys
 * of all live pages. A key that two of them carry is healed; all keys are, when the ledger was
 * rolled back, so that it knows every page again ledger   keys of which something is being written,
 * or may still arrive keys     each is settled, then healed, and that again as long as it helps
 *
 * A ledger that was rolled back is confirmed when every key was healed and no blank is left: what
 * was bound in the part that it lost might still be published.
 *
 * A page that is put away is named in a journal first, $ONEROW_STATE/heal.jsonl, so that a person
 * can find it.
 */
#include "engine/page_heal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/flag.h"
#include "base/status.h"
#include "base/text.h"
#include "base/u64.h"
#include "base/wake.h"
#include "core/key.h"
#include "engine/dead_letter_internal.h"
#include "engine/pages.h"

#define PASSES     4U /* over one key */
#define ASK_TRIES  5U
#define PAUSE_MS   1000U
#define TURN_MS    50U
#define MINUTE_MS  60000U                       /* to which a store may round a page's age */
#define ATTEMPT_MS (7ULL * 24 * 60 * 60 * 1000) /* no attempt takes so long */
#define LEDGER_ID  (sizeof((struct onerow_ledger_namespace *)0)->ledger_id - 1)

struct heal_key {
    struct onerow_record record;
    unsigned passes;
    bool settling; /* its present task is to bring to an end what is pending */
};

struct heal {
    struct or_table *table;
    struct or_pages *pages;
    struct or_heal_report *report;
    const volatile bool *stop;
    struct or_arena arena;     /* of keys and blanks */
    struct onerow_span *names; /* canonical keys; malloc'ed, as are the others */
    size_t n_names, room;
    struct heal_key *keys;
    size_t n_keys, next_key;
    const struct onerow_page *blanks;
    size_t n_blanks, next_blank;
    int journal; /* -1: not open */
    bool no_memory;
    struct or_arena scratch; /* of the row at hand */
};

static enum onerow_status no_memory(struct onerow_error *error)
{
    return or_fail(error, ONEROW_NOMEM, "out of memory");
}

/* ---- single requests --------------------------------------------------------------------------
 */

static bool sleep_for(const struct heal *heal, uint64_t ms)
{
    uint64_t until_ms = or_u64_add(or_wake_now_ms(), ms);
    while (!or_flag_is_set(heal->stop) && or_wake_now_ms() < until_ms) {
        uint64_t left_ms = or_u64_sub(until_ms, or_wake_now_ms());
        (void)poll(NULL, 0, (int)or_u64_min(left_ms, TURN_MS));
    }
    return !or_flag_is_set(heal->stop);
}

/* False: *stop was set. */
static bool get_leave(struct heal *heal, struct or_leave *leave)
{
    struct or_governor *governor = heal->pages->governor;
    for (;;) {
        uint64_t now_ms = or_wake_now_ms();
        *leave = or_governor_ask(governor, 1, now_ms);
        if (leave->given && or_governor_use(governor, leave, or_wake_now_ms())) {
            return true;
        }
        if (!sleep_for(heal, or_u64_sub(leave->until_ms, now_ms))) {
            return false;
        }
    }
}

static enum onerow_status send_and_wait(struct heal *heal, struct onerow_page_call *call,
                                        struct or_leave *leave, struct onerow_error *error)
{
    const struct onerow_page_ops *ops = heal->table->store->type->pages;
    enum onerow_status status = ops->start(heal->table->store, call, error);
    if (status != ONEROW_OK) {
        return status;
    }
    while (!ops->finish(heal->table->store, TURN_MS)) {
    }
    uint64_t now_ms = or_wake_now_ms();
    or_governor_tell(heal->pages->governor, leave, or_page_job_result(call), call->retry_after_ms,
                     now_ms);
    heal->report->pages.requests++;
    return ONEROW_OK;
}

/* All parts of the answer. */
static enum onerow_status ask(struct heal *heal, struct onerow_page_call *call,
                              struct onerow_error *error)
{
    enum onerow_status status = ONEROW_OK;
    call->more = NULL;
    do {
        struct or_leave leave = {0};
        status = get_leave(heal, &leave) ? send_and_wait(heal, call, &leave, error)
                                         : or_fail(error, ONEROW_INTERRUPTED, "interrupted");
    } while (status == ONEROW_OK && call->answer == ONEROW_PAGE_MORE);
    return status;
}

/* A request that only looks, a few times if need be. UNAVAILABLE: no answer. */
static enum onerow_status look(struct heal *heal, struct onerow_page_call *call,
                               struct onerow_error *error)
{
    enum onerow_status status = ONEROW_OK;
    call->table = heal->table->table;
    call->timeout_ms = heal->pages->attempt.bounds.request;
    call->arena = &heal->arena;
    for (unsigned i = 0; i < ASK_TRIES && status == ONEROW_OK; i++) {
        if (i && !sleep_for(heal, PAUSE_MS)) {
            return or_fail(error, ONEROW_INTERRUPTED, "interrupted");
        }
        status = ask(heal, call, error);
        if (status == ONEROW_OK && call->answer == ONEROW_PAGE_OK) {
            return ONEROW_OK;
        }
    }
    return status == ONEROW_OK
               ? or_fail(error, ONEROW_UNAVAILABLE, "table \"%s\": %s", heal->table->spec.name,
                         call->reason ? call->reason : "no answer")
               : status;
}

/* ---- blanks ------------------------------------------------------------------------------------
 */

/* The number in a blank's title. False: it is none of this ledger's. */
static bool read_title(const struct heal *heal, struct onerow_span title, uint64_t *number)
{
    const char *ledger_id = heal->pages->ledger->space.ledger_id;
    size_t head = strlen(ONEROW_BLANK_TITLE);
    struct or_nonce nonce;
    if (title.len < head + LEDGER_ID + 1 || memcmp(title.data + head, ledger_id, LEDGER_ID) != 0 ||
        title.data[head + LEDGER_ID] != '-') {
        return false;
    }
    struct onerow_span text = {title.data + head + LEDGER_ID + 1, title.len - head - LEDGER_ID - 1};
    bool good = or_nonce_parse(text, &nonce);
    *number = good ? nonce.number : 0;
    return good;
}

/* One that waits for a window is not left behind. */
static bool is_old(const struct heal *heal, const struct onerow_page *page)
{
    const struct or_config_store *store = heal->table->config->store;
    struct timespec now;
    uint64_t age_ms = heal->pages->attempt.bounds.request;
    uint64_t span_ms = 0;
    for (unsigned i = 0; i < store->n_windows; i++) {
        span_ms = or_u64_max(span_ms, store->windows[i].span_ms);
    }
    clock_gettime(CLOCK_REALTIME, &now);
    uint64_t now_ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
    age_ms = or_u64_add(age_ms, or_u64_add(span_ms, MINUTE_MS));
    return or_u64_add(page->created_ms, age_ms) < now_ms;
}

static enum onerow_status witness(struct heal *heal, uint64_t number, struct onerow_error *error)
{
    struct or_ledger *ledger = heal->pages->ledger;
    enum onerow_status status = ONEROW_OK;
    unsigned left = ASK_TRIES;
    do {
        status = ledger->ops->witness(ledger->coordinator, ledger->space.number, number,
                                      &ledger->space, error);
    } while (status == ONEROW_UNKNOWN && --left);
    return status;
}

/* Keeps those that are to be swept. */
static enum onerow_status find_blanks(struct heal *heal, struct onerow_error *error)
{
    struct onerow_page_call call = {.what = ONEROW_PAGE_BLANKS,
                                    .title = OR_SPAN(ONEROW_BLANK_TITLE)};
    enum onerow_status status = look(heal, &call, error);
    struct onerow_page *blanks = or_arena_alloc(&heal->arena, (call.n_found + 1) * sizeof *blanks);
    uint64_t highest = 0;
    if (status == ONEROW_OK && !blanks) {
        return no_memory(error);
    }
    for (size_t i = 0; i < call.n_found && status == ONEROW_OK; i++) {
        uint64_t number = 0;
        if (!read_title(heal, call.found[i].title, &number)) {
            heal->report->foreign++;
            continue;
        }
        highest = or_u64_max(highest, number);
        if (is_old(heal, &call.found[i])) {
            blanks[heal->n_blanks++] = call.found[i];
        } else {
            heal->report->young++;
        }
    }
    heal->blanks = blanks;
    return status == ONEROW_OK && highest ? witness(heal, highest, error) : status;
}

/* ---- keys --------------------------------------------------------------------------------------
 */

static bool add_name(struct heal *heal, struct onerow_span name)
{
    if (heal->n_names == heal->room) {
        size_t room = heal->room ? 2 * heal->room : 256;
        struct onerow_span *names = realloc(heal->names, room * sizeof *names);
        if (!names) {
            return false;
        }
        heal->names = names;
        heal->room = room;
    }
    struct onerow_span kept = or_arena_copy(&heal->arena, name);
    heal->names[heal->n_names] = kept;
    heal->n_names += kept.data != NULL;
    return kept.data != NULL;
}

/* Of every live page, by the audit. */
static bool see_row(void *context, const struct onerow_value *parts, struct or_buffer *key,
                    const char **reason)
{
    struct heal *heal = context;
    const struct or_table *table = heal->table;
    struct onerow_value canonical[ONEROW_KEY_COLUMNS_MAX];
    bool good = true;
    or_arena_reset(&heal->scratch);
    for (size_t k = 0; k < table->spec.n_key && good; k++) {
        good = or_key_part(&table->spec.key[k], table->table->key_types[k], &parts[k],
                           &heal->scratch, &canonical[k], reason);
        key->failed |= !good && *reason == or_key_no_memory;
    }
    size_t before = key->len;
    good = good && or_key_append(key, canonical, table->table->key_types, table->spec.n_key);
    if (good && !add_name(heal, (struct onerow_span){key->data + before, key->len - before})) {
        heal->no_memory = true;
    }
    return good;
}

static void see_twins(void *context, const struct onerow_twins *twins)
{
    struct heal *heal = context;
    heal->report->keyless += twins->reason ? twins->rows : 0;
}

static int by_name(const void *left, const void *right)
{
    return or_span_compare(*(const struct onerow_span *)left, *(const struct onerow_span *)right);
}

/* Leaves each name once, and only those that are there at least `least` times. */
static void thin_out(struct heal *heal, size_t least)
{
    size_t kept = 0;
    if (heal->n_names) {
        qsort(heal->names, heal->n_names, sizeof *heal->names, by_name);
    }
    for (size_t i = 0, end = 0; i < heal->n_names; i = end) {
        for (end = i + 1; end < heal->n_names && or_span_equal(heal->names[i], heal->names[end]);
             end++) {
        }
        if (end - i >= least) {
            heal->names[kept++] = heal->names[i];
        }
    }
    heal->n_names = kept;
}

static enum onerow_status find_pages(struct heal *heal, struct onerow_error *error)
{
    struct onerow_store *store = heal->table->store;
    uint64_t before = store->round_trips;
    enum onerow_status status =
        store->type->audit(heal->table->table, see_row, heal, see_twins, heal, error);
    heal->report->pages.requests += store->round_trips - before;
    if (status != ONEROW_OK || heal->no_memory) {
        return status != ONEROW_OK ? status : no_memory(error);
    }
    heal->report->suspect = heal->pages->ledger->space.standing != ONEROW_LEDGER_SOUND;
    thin_out(heal, heal->report->suspect ? 1 : 2);
    return ONEROW_OK;
}

/* Keys of which something is being written, or may still arrive. */
static bool see_record(void *context, const struct onerow_ledger_record *record)
{
    struct heal *heal = context;
    struct or_key_record key;
    if (!or_key_decode(record, &key)) {
        heal->report->undone++;
        return true;
    }
    if (key.state == OR_KEY_DONE && !key.doubtful) {
        return true;
    }
    heal->no_memory = !add_name(heal, record->name);
    return !heal->no_memory;
}

static enum onerow_status find_doubts(struct heal *heal, struct onerow_error *error)
{
    const struct or_ledger *ledger = heal->pages->ledger;
    uint32_t states =
        1U << OR_KEY_BOUND | 1U << OR_KEY_WRITING | 1U << OR_KEY_INTENT | 1U << OR_KEY_DONE;
    enum onerow_status status =
        ledger->ops->list(ledger->coordinator, ledger->space.number, ONEROW_LEDGER_KEY, states,
                          UINT64_MAX, see_record, heal, error);
    if (status == ONEROW_OK && heal->no_memory) {
        return no_memory(error);
    }
    thin_out(heal, 1);
    return status;
}

/* The names as records. Of a key that is too long for a name only the digest is known. */
static enum onerow_status make_keys(struct heal *heal, struct onerow_error *error)
{
    const struct or_table *table = heal->table;
    heal->keys = calloc(heal->n_names + 1, sizeof *heal->keys);
    if (!heal->keys) {
        return no_memory(error);
    }
    for (size_t i = 0; i < heal->n_names; i++) {
        struct heal_key *key = &heal->keys[heal->n_keys];
        struct onerow_value *parts =
            or_arena_alloc(&heal->arena, table->spec.n_key * sizeof *parts);
        if (!parts) {
            return no_memory(error);
        }
        if (!or_key_parse(heal->names[i], table->table->key_types, table->spec.n_key, &heal->arena,
                          parts)) {
            heal->report->undone++;
            continue;
        }
        for (size_t k = 0; k < table->spec.n_key; k++) {
            parts[k].column = table->table->key[k];
        }
        key->record = (struct onerow_record){
            .values = parts, .n_values = (uint16_t)table->spec.n_key, .key = heal->names[i]};
        key->settling = true;
        heal->n_keys++;
    }
    return ONEROW_OK;
}

/* ---- the work ----------------------------------------------------------------------------------
 */

static void set_task(struct or_page_job *job, struct heal_key *key)
{
    job->task = key->settling ? OR_PAGE_TASK_ATTEMPT : OR_PAGE_TASK_HEAL;
    job->key = &key->record;
    job->owner = key;
}

static enum onerow_status next(void *context, struct or_page_job *job, struct onerow_error *error)
{
    struct heal *heal = context;
    (void)error;
    if (heal->next_blank < heal->n_blanks) {
        job->task = OR_PAGE_TASK_SWEEP;
        job->page = heal->blanks[heal->next_blank++].id;
        job->owner = NULL;
        return ONEROW_OK;
    }
    if (heal->next_key == heal->n_keys) {
        return ONEROW_ABSENT;
    }
    set_task(job, &heal->keys[heal->next_key++]);
    return ONEROW_OK;
}

/* What the last healing of a key leaves. */
static void count_left(struct or_heal_report *report, const struct or_heal *heal)
{
    report->early += heal->pending || heal->doubtful;
    report->taken += heal->left;
    report->gone += heal->gone;
    report->undone += heal->gave_up;
}

static bool is_over(const struct heal_key *key, const struct or_heal *heal)
{
    bool did = heal->trashed || heal->moved || heal->adopted || heal->pending;
    return !did || heal->gave_up || key->passes >= PASSES;
}

static void settled(void *context, struct or_page_job *job, bool ended)
{
    struct heal *heal = context;
    struct or_heal_report *report = heal->report;
    struct heal_key *key = job->owner;
    if (job->task == OR_PAGE_TASK_SWEEP) {
        report->swept += job->as.sweep.swept;
        report->undone += !job->as.sweep.swept && job->as.sweep.record.state !=
                                                      OR_PAGE_BOUND; /* that is no blank any more */
    } else if (job->task == OR_PAGE_TASK_ATTEMPT) {
        report->settled += job->as.attempt.written.number != 0;
    } else {
        key->passes++;
        report->trashed += job->as.heal.trashed;
        report->moved += job->as.heal.moved;
        report->adopted += job->as.heal.adopted;
        if (ended || is_over(key, &job->as.heal)) {
            count_left(report, &job->as.heal);
            key->passes = PASSES;
        }
    }
}

/* A key is settled, then healed; and once more, as long as that did something. */
static enum onerow_status again(void *context, struct or_page_job *job, struct onerow_error *error)
{
    struct heal_key *key = job->owner;
    (void)context;
    (void)error;
    if (!key || key->passes >= PASSES) {
        return ONEROW_ABSENT;
    }
    key->settling = !key->settling;
    set_task(job, key);
    return ONEROW_OK;
}

/* ---- the journal -------------------------------------------------------------------------------
 */

static enum onerow_status open_journal(struct heal *heal, struct onerow_error *error)
{
    char *folder = NULL;
    enum onerow_status status = or_letter_folder(NULL, &folder, error);
    status = status == ONEROW_OK ? or_letter_folder_make(folder, error) : status;
    if (status == ONEROW_OK) {
        *strrchr(folder, '/') = '\0'; /* beside the folder of letters */
        (void)snprintf(heal->report->journal, sizeof heal->report->journal, "%s/heal.jsonl",
                       folder);
        heal->journal =
            open(heal->report->journal, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        status = heal->journal >= 0 ? ONEROW_OK
                                    : or_letter_errno(error, errno, "open", heal->report->journal);
    }
    free(folder);
    return status;
}

static void describe(const struct heal *heal, struct onerow_span page, const char *what,
                     const struct onerow_record *key, struct or_buffer *line)
{
    char time_text[32];
    time_t now = time(NULL);
    struct tm parts;
    (void)strftime(time_text, sizeof time_text, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &parts));
    or_buffer_printf(line, "{\"time\":\"%s\",\"table\":", time_text);
    or_buffer_json(line, or_span(heal->table->spec.name));
    or_buffer_text(line, ",\"page\":");
    or_buffer_json(line, page);
    or_buffer_printf(line, ",\"what\":\"%s\",\"key\":", what);
    if (key) {
        or_table_key_json(heal->table, key->values, line);
    } else {
        or_buffer_text(line, "null");
    }
    or_buffer_text(line, "}\n");
}

static enum onerow_status note(struct heal *heal, struct onerow_span page, const char *what,
                               const struct onerow_record *key, struct onerow_error *error)
{
    struct or_buffer line;
    or_buffer_init(&line);
    describe(heal, page, what, key, &line);
    enum onerow_status status = line.failed ? no_memory(error) : ONEROW_OK;
    if (status == ONEROW_OK && heal->journal < 0) {
        status = open_journal(heal, error);
    }
    int number = status == ONEROW_OK ? or_letter_write(heal->journal, line.data, line.len) : 0;
    if (status == ONEROW_OK && (number || fdatasync(heal->journal) != 0)) {
        status = or_letter_errno(error, number ? number : errno, "write", heal->report->journal);
    }
    or_buffer_finish(&line);
    return status;
}

static enum onerow_status before(void *context, struct or_page_job *job, struct onerow_error *error)
{
    const char *what = job->task == OR_PAGE_TASK_SWEEP          ? "sweep"
                       : job->call.what == ONEROW_PAGE_MOVE_KEY ? "move"
                                                                : "trash";
    return note(context, job->call.page, what, job->key, error);
}

/* ---- everything ---------------------------------------------------------------------------------
 */

static enum onerow_status run(struct heal *heal, struct onerow_error *error)
{
    struct or_pages_work work = {
        .next = next, .settled = settled, .again = again, .before = before, .context = heal};
    return or_pages_loop(heal->pages, heal->table, &work, heal->stop, &heal->report->pages, error);
}

static bool is_left(const struct or_heal_report *report)
{
    return report->young || report->early || report->taken || report->gone || report->undone ||
           report->foreign || (report->suspect && !report->confirmed);
}

/* Every page is known again. */
static enum onerow_status confirm(struct heal *heal, struct onerow_error *error)
{
    struct or_heal_report *report = heal->report;
    struct or_ledger *ledger = heal->pages->ledger;
    unsigned left = ASK_TRIES;
    enum onerow_status status = ONEROW_OK;
    if (!report->suspect || report->young || report->undone || report->early) {
        return ONEROW_OK;
    }
    do {
        status = ledger->ops->confirm(ledger->coordinator, ledger->space.number, error);
    } while (status == ONEROW_UNKNOWN && --left);
    report->confirmed = status == ONEROW_OK;
    ledger->space.standing = report->confirmed ? ONEROW_LEDGER_SOUND : ledger->space.standing;
    return status;
}

/* The key's record, as of now. */
static enum onerow_status read_key(struct heal *heal, struct onerow_span name,
                                   struct or_event *event, struct onerow_error *error)
{
    const struct or_command command = {.what = OR_DO_READ};
    struct or_ledger_question question = {
        .key = name, .command = &command, .event = event, .arena = &heal->arena};
    return or_ledger_read(heal->pages->ledger, &question, 1, error);
}

static enum onerow_status forget_attempts(struct heal *heal, struct onerow_error *error)
{
    struct or_ledger *ledger = heal->pages->ledger;
    struct or_event event = {0};
    uint64_t n = 0;
    enum onerow_status status = read_key(heal, OR_SPAN("k1"), &event, error);
    if (status == ONEROW_OK && event.ledger_ms > ATTEMPT_MS) {
        status = ledger->ops->forget(ledger->coordinator, ledger->space.number,
                                     event.ledger_ms - ATTEMPT_MS, &n, error);
    }
    return status == ONEROW_UNKNOWN ? ONEROW_OK : status; /* the next time */
}

static enum onerow_status heal_everything(struct heal *heal, struct onerow_error *error)
{
    enum onerow_status status = find_blanks(heal, error);
    status = status == ONEROW_OK ? find_pages(heal, error) : status;
    status = status == ONEROW_OK ? find_doubts(heal, error) : status;
    status = status == ONEROW_OK ? make_keys(heal, error) : status;
    status = status == ONEROW_OK ? run(heal, error) : status;
    if (status == ONEROW_OK && or_flag_is_set(heal->stop)) {
        status = or_fail(error, ONEROW_INTERRUPTED, "interrupted");
    }
    status = status == ONEROW_OK ? confirm(heal, error) : status;
    return status == ONEROW_OK ? forget_attempts(heal, error) : status;
}

/* ---- forget ------------------------------------------------------------------------------------
 */

static enum onerow_status swap_one(struct heal *heal, struct onerow_span name,
                                   const struct or_swap *swap, struct onerow_error *error)
{
    const struct or_command command = {.what = OR_DO_SWAP, .swap = swap};
    struct or_event event = {0};
    struct or_ledger_question question = {
        .key = name, .command = &command, .event = &event, .arena = &heal->arena};
    enum onerow_status status = or_ledger_swap(heal->pages->ledger, &question, 1, error);
    return status == ONEROW_OK && event.answer != OR_ANSWER_OK
               ? or_fail(error, ONEROW_BUSY,
                         "table \"%s\": somebody else wrote this key meanwhile; run again",
                         heal->table->spec.name)
               : status;
}

static enum onerow_status forget(struct heal *heal, const struct or_entry *entry,
                                 struct onerow_error *error)
{
    struct onerow_span name = {0};
    struct or_event event = {0};
    if (!or_ledger_name(entry->record.key, &heal->arena, &name)) {
        return no_memory(error);
    }
    enum onerow_status status = read_key(heal, name, &event, error);
    if (status == ONEROW_OK && !event.key.page.data) {
        return or_fail(error, ONEROW_ABSENT, "table \"%s\": the ledger knows no page of this key",
                       heal->table->spec.name);
    }
    status =
        status == ONEROW_OK ? note(heal, event.key.page, "forget", &entry->record, error) : status;
    if (status == ONEROW_OK) {
        struct or_swap swap = or_heal_forget(&event.key);
        status = swap_one(heal, name, &swap, error);
    }
    return status;
}

/* ---- rekey -------------------------------------------------------------------------------------
 */

/* The ledger's record of a page. */
static enum onerow_status read_page(struct heal *heal, struct onerow_span page,
                                    struct or_page_record *record, struct onerow_error *error)
{
    const struct or_command command = {.what = OR_DO_READ, .pages = &page, .n_pages = 1};
    struct or_event event = {0};
    struct or_ledger_question question = {
        .command = &command, .event = &event, .pages = record, .arena = &heal->arena};
    return or_ledger_read(heal->pages->ledger, &question, 1, error);
}

/* The key that the page has in the ledger lets it go. ABSENT: it is none, or this one. */
static enum onerow_status let_go(struct heal *heal, struct onerow_span page,
                                 struct onerow_span name, const struct onerow_record *key,
                                 struct onerow_error *error)
{
    struct or_page_record record = {0};
    struct or_event event = {0};
    enum onerow_status status = read_page(heal, page, &record, error);
    if (status != ONEROW_OK || record.state != OR_PAGE_BOUND || or_span_equal(record.key, name)) {
        return status == ONEROW_OK ? ONEROW_ABSENT : status;
    }
    status = read_key(heal, record.key, &event, error);
    if (status != ONEROW_OK || !event.key.page.data || !or_span_equal(event.key.page, page)) {
        return status == ONEROW_OK ? ONEROW_ABSENT : status;
    }
    if (!or_heal_may_let_go(&event.key, &heal->pages->attempt.bounds, event.ledger_ms)) {
        return or_fail(
            error, ONEROW_BUSY,
            "table \"%s\": a write of the old key may still arrive at that page; run "
            "again in %llu s",
            heal->table->spec.name,
            (unsigned long long)(or_bounds_arrived(&heal->pages->attempt.bounds) / 1000));
    }
    struct or_swap swap = or_heal_let_go(&event.key);
    status = note(heal, page, "rekey", key, error);
    return status == ONEROW_OK ? swap_one(heal, record.key, &swap, error) : status;
}

static enum onerow_status rekey(struct heal *heal, const struct or_entry *entry,
                                struct onerow_error *error)
{
    const struct onerow_record *key = &entry->record;
    struct onerow_page_call call = {.what = ONEROW_PAGE_PROBE, .keys = &key, .n_keys = 1};
    struct onerow_span name = {0};
    enum onerow_status status = look(heal, &call, error);
    bool any = false;
    bool failed = status == ONEROW_OK && !or_ledger_name(key->key, &heal->arena, &name);
    for (size_t i = 0; i < call.n_found && status == ONEROW_OK && !failed; i++) {
        const struct onerow_page *page = &call.found[i];
        if (!or_page_owns(heal->table, page, key->key, &heal->arena, &failed)) {
            continue;
        }
        status = let_go(heal, page->id, name, key, error);
        any |= status == ONEROW_OK;
        status = status == ONEROW_ABSENT ? ONEROW_OK : status;
    }
    if (failed || status != ONEROW_OK) {
        return failed ? no_memory(error) : status;
    }
    if (!any) {
        return or_fail(error, ONEROW_ABSENT,
                       "table \"%s\": no page with this key belongs to another one",
                       heal->table->spec.name);
    }
    heal->keys = calloc(1, sizeof *heal->keys);
    if (!heal->keys) {
        return no_memory(error);
    }
    heal->keys[heal->n_keys++] = (struct heal_key){.record = *key};
    return run(heal, error); /* and so it is adopted */
}

/* ---- entry -------------------------------------------------------------------------------------
 */

enum onerow_status or_page_heal(struct or_table *table, enum or_heal_what what,
                                const struct or_entry *key, const volatile bool *stop,
                                struct or_heal_report *report, struct onerow_error *error)
{
    struct heal heal = {
        .table = table, .pages = table->pages, .report = report, .stop = stop, .journal = -1};
    *report = (struct or_heal_report){0};
    or_arena_init(&heal.arena);
    or_arena_init(&heal.scratch);
    enum onerow_status status = what == OR_HEAL_FORGET  ? forget(&heal, key, error)
                                : what == OR_HEAL_REKEY ? rekey(&heal, key, error)
                                                        : heal_everything(&heal, error);
    if (heal.journal >= 0) {
        close(heal.journal);
    }
    free(heal.names);
    free(heal.keys);
    or_arena_finish(&heal.arena);
    or_arena_finish(&heal.scratch);
    return status == ONEROW_OK && is_left(report) ? ONEROW_LEFT : status;
}
