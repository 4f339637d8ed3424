/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/ledger.h"

#include <stdlib.h>
#include <string.h>

#include "base/digest.h"
#include "base/status.h"
#include "base/text.h"
#include "coordinator/coordinator.h"
#include "core/key.h"

#define NUMBERS     256U   /* reserved at a time: each reservation waits for the disk */
#define WAIT_MS     10000U /* for the coordinator's own locks */
#define ENTER_TRIES 5U     /* after answers that got lost */

/* ---- opening -------------------------------------------------------------------------------- */

static enum onerow_status fail_coordinator(const char *url, struct onerow_error *error)
{
    struct or_buffer list;
    or_buffer_init(&list);
    or_coordinator_list(&list);
    enum onerow_status status = or_fail(
        error, ONEROW_CONFIG, "coordinator: %.*s: is none that keeps a ledger; there are %s",
        (int)strcspn(url, ":"), url, or_buffer_cstr(&list));
    or_buffer_finish(&list);
    return status;
}

static enum onerow_status enter(struct or_ledger *ledger, struct onerow_span target,
                                struct onerow_span definition, struct onerow_error *error)
{
    enum onerow_status status = ONEROW_UNKNOWN;
    for (unsigned i = 0; i < ENTER_TRIES && status == ONEROW_UNKNOWN; i++) {
        status = ledger->ops->enter(ledger->coordinator, target, definition, &ledger->space, error);
    }
    return status;
}

enum onerow_status or_ledger_open(struct or_ledger *ledger, const char *coordinator,
                                  struct onerow_span target, struct onerow_span definition,
                                  const volatile bool *stop, struct onerow_error *error)
{
    const struct onerow_coordinator_type *type = or_coordinator_type_of(coordinator);
    *ledger = (struct or_ledger){0};
    if (!type || !type->ledger) {
        return fail_coordinator(coordinator, error);
    }
    struct onerow_coordinator_options options = {
        .url = coordinator, .wait_ms = WAIT_MS, .stop = stop};
    enum onerow_status status = type->open(&options, &ledger->coordinator, error);
    ledger->ops = type->ledger;
    status = status == ONEROW_OK ? enter(ledger, target, definition, error) : status;
    if (status != ONEROW_OK) {
        or_ledger_close(ledger);
    }
    return status;
}

enum onerow_status or_ledger_enter(struct or_ledger *ledger, struct onerow_coordinator *coordinator,
                                   struct onerow_span target, struct onerow_span definition,
                                   struct onerow_error *error)
{
    *ledger = (struct or_ledger){
        .coordinator = coordinator, .borrowed = true, .ops = coordinator->type->ledger};
    return enter(ledger, target, definition, error);
}

void or_ledger_close(struct or_ledger *ledger)
{
    if (ledger->coordinator && !ledger->borrowed) {
        ledger->coordinator->type->close(ledger->coordinator);
    }
    *ledger = (struct or_ledger){0};
}

enum onerow_status or_ledger_number(struct or_ledger *ledger, uint64_t *number,
                                    struct onerow_error *error)
{
    if (ledger->numbers_left == 0) {
        enum onerow_status status =
            ledger->ops->reserve(ledger->coordinator, NUMBERS, &ledger->next_number, error);
        if (status != ONEROW_OK) {
            return status;
        }
        ledger->numbers_left = NUMBERS;
    }
    *number = ledger->next_number++;
    ledger->numbers_left--;
    return ONEROW_OK;
}

bool or_ledger_name(struct onerow_span key, struct or_arena *arena, struct onerow_span *name)
{
    char hex[OR_SHA256_HEX];
    *name = key;
    if (key.len <= ONEROW_LEDGER_NAME_MAX) {
        return true;
    }
    or_sha256_hex(key, hex);
    const char *made = or_arena_printf(arena, "k1#%s", hex); /* canonical forms begin with k1| */
    *name = or_span(made);
    return made != NULL;
}

void or_ledger_definition(const struct onerow_table_spec *spec, const enum onerow_type *key_types,
                          enum or_protocol protocol, enum or_deletion deletion,
                          struct or_buffer *definition)
{
    static const char *const PROTOCOLS[] = {"guarded", "direct"};
    static const char *const DELETIONS[] = {"tombstone", "restore", "recreate"};
    or_buffer_text(definition, "k1");
    for (size_t i = 0; i < spec->n_key; i++) {
        const struct onerow_key_column *column = &spec->key[i];
        or_buffer_text(definition, i ? ", " : " ");
        or_buffer_json(definition, or_span(column->name));
        or_buffer_printf(definition, ":%s%s%s%s%s", or_type_name(key_types[i]),
                         column->normalize & ONEROW_NFC ? " nfc" : "",
                         column->normalize & ONEROW_TRIM ? " trim" : "",
                         column->normalize & ONEROW_CASEFOLD ? " casefold" : "",
                         column->nulls_equal ? " nulls" : "");
    }
    or_buffer_printf(definition, "; %s; when_trashed: %s", PROTOCOLS[protocol],
                     DELETIONS[deletion]);
}

/* ---- reading -------------------------------------------------------------------------------- */

struct records {
    struct onerow_ledger_record *list;
    size_t n;
};

static void want(struct records *records, enum onerow_ledger_kind kind, struct onerow_span name)
{
    records->list[records->n++] = (struct onerow_ledger_record){.kind = kind, .name = name};
}

static size_t records_of(const struct or_ledger_question *question)
{
    const struct or_command *command = question->command;
    return (question->key.data ? 1U : 0U) + (command->nonce.number ? 1U : 0U) + command->n_pages;
}

static bool want_all(struct records *records, const struct or_ledger_question *question)
{
    const struct or_command *command = question->command;
    if (question->key.data) {
        want(records, ONEROW_LEDGER_KEY, question->key);
    }
    if (command->nonce.number) {
        char *text = or_arena_alloc(question->arena, OR_NONCE_TEXT);
        if (!text) {
            return false;
        }
        want(records, ONEROW_LEDGER_ATTEMPT,
             (struct onerow_span){text, or_nonce_text(command->nonce, text)});
    }
    for (size_t i = 0; i < command->n_pages; i++) {
        want(records, ONEROW_LEDGER_PAGE, command->pages[i]);
    }
    return true;
}

/* Bodies lie in the arena of the whole reading, which ends before the attempt does. */
static bool keep_body(const struct or_ledger_question *question,
                      struct onerow_ledger_record *record)
{
    struct or_ledger_kept *kept = record->kind == ONEROW_LEDGER_KEY ? question->kept : NULL;
    if (record->body.len == 0) {
        return true;
    }
    if (kept && kept->body.data && kept->revision == record->revision) {
        record->body = kept->body;
        return true;
    }
    record->body = or_arena_copy(question->arena, record->body);
    if (kept && record->body.data) {
        *kept = (struct or_ledger_kept){record->revision, record->body};
    }
    return record->body.data != NULL;
}

static bool keep_all(const struct or_ledger_question *question,
                     struct onerow_ledger_record *records)
{
    bool kept = true;
    for (size_t i = 0; i < records_of(question) && kept; i++) {
        kept = keep_body(question, &records[i]);
    }
    return kept;
}

static bool take_record(const struct or_ledger_question *question,
                        const struct onerow_ledger_record *record, size_t *page)
{
    struct or_event *event = question->event;
    switch (record->kind) {
    case ONEROW_LEDGER_KEY: return or_key_decode(record, &event->key);
    case ONEROW_LEDGER_ATTEMPT: return or_attempt_decode(record, &event->attempt);
    case ONEROW_LEDGER_PAGE: break;
    }
    return or_page_decode(record, &question->pages[(*page)++]);
}

static bool take_all(const struct or_ledger_question *question,
                     const struct onerow_ledger_record *records, uint64_t now_ms)
{
    size_t page = 0;
    bool good = true;
    for (size_t i = 0; i < records_of(question) && good; i++) {
        good = take_record(question, &records[i], &page);
    }
    question->event->records = question->pages;
    question->event->ledger_ms = now_ms;
    question->event->answer = OR_ANSWER_OK;
    return good;
}

static void answer_all(struct or_ledger_question *questions, size_t n, enum or_answer answer)
{
    for (size_t i = 0; i < n; i++) {
        questions[i].event->answer = answer;
    }
}

static enum onerow_status read_into(struct or_ledger *ledger, struct or_ledger_question *questions,
                                    size_t n, struct records *records, struct or_arena *arena,
                                    struct onerow_error *error)
{
    uint64_t now_ms = 0;
    for (size_t i = 0; i < n; i++) {
        if (!want_all(records, &questions[i])) {
            return or_fail(error, ONEROW_NOMEM, "out of memory");
        }
    }
    enum onerow_status status = ledger->ops->read(ledger->coordinator, ledger->space.number,
                                                  records->list, records->n, &now_ms, arena, error);
    size_t at = 0;
    for (size_t i = 0; i < n && status == ONEROW_OK; i++) {
        if (!keep_all(&questions[i], records->list + at)) {
            status = or_fail(error, ONEROW_NOMEM, "out of memory");
        } else if (!take_all(&questions[i], records->list + at, now_ms)) {
            status = or_fail(error, ONEROW_CORRUPT,
                             "ledger: a record was written by a later version, or is damaged");
        }
        at += records_of(&questions[i]);
    }
    return status;
}

enum onerow_status or_ledger_read(struct or_ledger *ledger, struct or_ledger_question *questions,
                                  size_t n, struct onerow_error *error)
{
    struct or_arena arena;
    struct records records = {0};
    size_t total = 0;
    for (size_t i = 0; i < n; i++) {
        total += records_of(&questions[i]);
    }
    or_arena_init(&arena);
    records.list = or_arena_alloc(&arena, (total + 1) * sizeof *records.list);
    enum onerow_status status = records.list
                                    ? read_into(ledger, questions, n, &records, &arena, error)
                                    : or_fail(error, ONEROW_NOMEM, "out of memory");
    or_arena_finish(&arena);
    if (status != ONEROW_OK) {
        answer_all(questions, n, OR_ANSWER_FAILED);
    }
    return status;
}

/* ---- swapping ------------------------------------------------------------------------------- */

static bool encode(const struct or_ledger_question *question, struct onerow_ledger_swap *swap,
                   struct or_arena *arena)
{
    const struct or_swap *wanted = question->command->swap;
    struct onerow_ledger_change *changes =
        or_arena_alloc(arena, ONEROW_LEDGER_CHANGES * sizeof *changes);
    char *room = or_arena_alloc(arena, or_swap_room(wanted, question->key));
    if (!changes || !room) {
        return false;
    }
    *swap = (struct onerow_ledger_swap){.changes = changes,
                                        .n = or_swap_encode(wanted, question->key, changes, room)};
    return true;
}

static enum onerow_status swap_in(struct or_ledger *ledger, struct or_ledger_question *questions,
                                  size_t n, struct or_arena *arena, struct onerow_error *error)
{
    struct onerow_ledger_swap *swaps = or_arena_alloc(arena, n * sizeof *swaps);
    uint64_t now_ms = 0;
    for (size_t i = 0; i < n; i++) {
        if (!swaps || !encode(&questions[i], &swaps[i], arena)) {
            return or_fail(error, ONEROW_NOMEM, "out of memory");
        }
    }
    enum onerow_status status =
        ledger->ops->swap(ledger->coordinator, ledger->space.number, swaps, n, &now_ms, error);
    for (size_t i = 0; i < n && status == ONEROW_OK; i++) {
        questions[i].event->answer = swaps[i].done ? OR_ANSWER_OK : OR_ANSWER_REFUSED;
        questions[i].event->ledger_ms = now_ms;
    }
    return status;
}

enum onerow_status or_ledger_swap(struct or_ledger *ledger, struct or_ledger_question *questions,
                                  size_t n, struct onerow_error *error)
{
    struct or_arena arena;
    or_arena_init(&arena);
    enum onerow_status status = swap_in(ledger, questions, n, &arena, error);
    or_arena_finish(&arena);
    if (status != ONEROW_OK) {
        answer_all(questions, n, status == ONEROW_UNKNOWN ? OR_ANSWER_UNCERTAIN : OR_ANSWER_FAILED);
    }
    return status;
}
