/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/batch.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/flag.h"
#include "base/status.h"
#include "base/text.h"

#define BATCHES    2
#define HEAD_ITEMS 1000U
#define HEAD_BYTES (4U * 1024U * 1024U)

/* A queue of batches that cannot overflow: it has room for all there are. */
struct line {
    struct or_batch *items[BATCHES];
    unsigned n;
};

struct or_batcher {
    struct or_batch_options options;
    size_t records;
    size_t limit; /* of the next batch: the first ones are smaller, so that the store is not idle
                     while the first 40,000 are being read */
    struct or_batch batches[BATCHES];
    pthread_t reader;
    bool reading; /* the thread exists */
    pthread_mutex_t lock;
    pthread_cond_t moved;
    struct line free;
    struct line full;
    bool closing;
    /* the reader's own */
    struct or_input *input;
    size_t at;              /* index of the present input */
    struct or_arena fields; /* of the item at hand */
    struct or_arena head_arena;
    struct or_item *head; /* read before the table was there */
    size_t n_head;
    size_t head_at;
    bool begun; /* a record has been seen */
};

/* ---- the two lines ------------------------------------------------------------------- */

static void line_push(struct line *line, struct or_batch *batch)
{
    line->items[line->n++] = batch;
}

static struct or_batch *line_take(struct line *line)
{
    struct or_batch *first = line->items[0];
    line->n--;
    for (unsigned i = 0; i < line->n; i++) {
        line->items[i] = line->items[i + 1];
    }
    return first;
}

static void hand_over(struct or_batcher *batcher, struct line *line, struct or_batch *batch)
{
    pthread_mutex_lock(&batcher->lock);
    line_push(line, batch);
    pthread_cond_broadcast(&batcher->moved);
    pthread_mutex_unlock(&batcher->lock);
}

/* NULL only when closing. */
static struct or_batch *wait_for(struct or_batcher *batcher, struct line *line)
{
    pthread_mutex_lock(&batcher->lock);
    while (line->n == 0 && !batcher->closing) {
        pthread_cond_wait(&batcher->moved, &batcher->lock);
    }
    struct or_batch *batch = line->n && !batcher->closing ? line_take(line) : NULL;
    pthread_mutex_unlock(&batcher->lock);
    return batch;
}

/* ---- items ---------------------------------------------------------------------------- */

static bool stopped(const struct or_batcher *batcher)
{
    return or_flag_is_set(batcher->options.stop);
}

static enum onerow_status next_item(struct or_batcher *batcher, struct or_arena *arena,
                                    struct or_item *item, struct onerow_error *error)
{
    if (batcher->head_at < batcher->n_head) {
        *item = batcher->head[batcher->head_at++];
        return ONEROW_OK;
    }
    return or_input_next(batcher->input, arena, item, error);
}

static enum onerow_status open_input(struct or_batcher *batcher, struct onerow_error *error)
{
    struct or_input_options options = {.path = batcher->options.inputs[batcher->at],
                                       .format = batcher->options.format,
                                       .stop_fd = batcher->options.stop_fd};
    return or_input_open(&options, &batcher->input, error);
}

/* Gives the first records to the one who makes the table. None is no reason to make one: a later
 * input may have some. */
static enum onerow_status make_head(struct or_batcher *batcher, struct onerow_error *error)
{
    struct or_item *records = batcher->head + HEAD_ITEMS; /* a copy without the others */
    size_t n = 0;
    for (size_t i = 0; i < batcher->n_head; i++) {
        if (batcher->head[i].kind == OR_ITEM_RECORD) {
            records[n++] = batcher->head[i];
        }
    }
    batcher->begun = n > 0;
    return n ? batcher->options.head(batcher->options.context, records, n, error) : ONEROW_OK;
}

/* Reads the first records, so that a missing table can be made from them. */
static enum onerow_status read_head(struct or_batcher *batcher, struct onerow_error *error)
{
    if (!batcher->head) {
        batcher->head =
            or_arena_alloc(&batcher->head_arena, 2UL * HEAD_ITEMS * sizeof *batcher->head);
    }
    if (!batcher->head) {
        return or_fail(error, ONEROW_NOMEM, "out of memory");
    }
    batcher->n_head = 0; /* an earlier input's head had no record and is used up */
    batcher->head_at = 0;
    while (batcher->n_head < HEAD_ITEMS && batcher->head_arena.used < HEAD_BYTES) {
        struct or_item *item = &batcher->head[batcher->n_head];
        if (batcher->n_head && or_input_would_wait(batcher->input)) {
            break;
        }
        enum onerow_status status =
            or_input_next(batcher->input, &batcher->head_arena, item, error);
        if (status != ONEROW_OK) {
            return batcher->n_head ? ONEROW_OK : status; /* met again behind the head */
        }
        batcher->n_head++;
        if (item->kind == OR_ITEM_END || item->kind == OR_ITEM_STOP) {
            break;
        }
    }
    return make_head(batcher, error);
}

/* ---- entries ---------------------------------------------------------------------------- */

static const struct or_field *field_named(const struct or_item *item, const char *name)
{
    for (size_t i = 0; i < item->n_fields; i++) {
        if (or_span_is(item->fields[i].name, name)) {
            return &item->fields[i];
        }
    }
    return NULL;
}

/* {"table": T, "record": {…}}, with "parent" and "content" at most besides. */
static bool is_envelope(const struct or_item *item)
{
    if (item->n_fields < 2 || item->n_fields > 4) {
        return false;
    }
    const struct or_field *table = field_named(item, "table");
    const struct or_field *record = field_named(item, "record");
    size_t known = 2;
    known += field_named(item, "parent") != NULL;
    known += field_named(item, "content") != NULL;
    return table && record && item->n_fields == known && table->value.kind == ONEROW_TEXT &&
           record->value.kind == ONEROW_JSON && record->value.data[0] == '{';
}

/* The record inside an envelope becomes the item; its places are those inside the record. */
static const char *open_envelope(struct or_item *item, struct onerow_span *table,
                                 struct or_arena *arena)
{
    const struct or_field *name = field_named(item, "table");
    const struct or_field *record = field_named(item, "record");
    if (item->n_fields > 2) {
        return "\"parent\" and \"content\" are for stores with pages; this one has none";
    }
    *table = (struct onerow_span){name->value.data, name->value.len};
    struct or_item inner = {0};
    struct onerow_span json = {record->value.data, record->value.len};
    if (or_input_parse_json(json, arena, &inner) != ONEROW_OK || inner.kind != OR_ITEM_RECORD) {
        return inner.reason ? inner.reason : "out of memory";
    }
    for (size_t i = 0; i < inner.n_fields; i++) {
        inner.fields[i].at = record->at;
    }
    item->fields = inner.fields;
    item->n_fields = inner.n_fields;
    item->shape = inner.shape; /* all envelopes have one shape, whatever is in them */
    return NULL;
}

/* Refuses a line that never became a record of a table. */
static enum onerow_status refuse_line(struct or_entry *entry, const struct or_item *item,
                                      struct or_arena *arena, uint32_t at, const char *reason)
{
    const char *text = at ? or_arena_printf(arena, "column %u: %s", at, reason) : reason;
    if (at && item->bad_line > item->line) {
        text = or_arena_printf(arena, "line %llu, column %u: %s",
                               (unsigned long long)item->bad_line, at, reason);
    }
    or_entry_refuse(entry, text);
    entry->raw = item->raw;
    entry->raw_len = item->raw_len;
    return ONEROW_OK;
}

/* A line that cannot be read was meant for the run's own table, if there is one. */
static enum onerow_status refuse_bad(struct or_batcher *batcher, struct or_batch *batch,
                                     struct or_entry *entry, const struct or_item *item)
{
    struct onerow_span none = {0};
    refuse_line(entry, item, &batch->arena, item->at, item->reason);
    return batcher->options.table(batcher->options.context, none, &entry->table, &batch->error);
}

/* Refuses a record that no table takes, and keeps it as it was read. */
static enum onerow_status refuse_homeless(struct or_batch *batch, struct or_entry *entry,
                                          const struct or_item *item, const char *reason)
{
    or_entry_refuse(entry, reason);
    return or_entry_keep(entry, item, &batch->arena)
               ? ONEROW_OK
               : or_fail(&batch->error, ONEROW_NOMEM, "out of memory for a record");
}

/* The table of a line: the run's own, or the one that its envelope names (the item is then the
 * record inside). *table stays NULL when the line was refused. */
static enum onerow_status route(struct or_batcher *batcher, struct or_batch *batch,
                                struct or_entry *entry, struct or_item *item,
                                struct or_table **table)
{
    struct onerow_span name = {0};
    or_batch_table *find = batcher->options.table;
    enum onerow_status status = find(batcher->options.context, name, table, &batch->error);
    if (status != ONEROW_OK || !is_envelope(item) ||
        (*table && (*table)->table && or_table_column(*table, OR_SPAN("record")) >= 0)) {
        return status == ONEROW_OK && !*table
                   ? refuse_homeless(batch, entry, item,
                                     "no TABLE was named, and the line is no envelope "
                                     "{\"table\": …, \"record\": {…}}")
                   : status;
    }
    *table = NULL;
    const char *reason = open_envelope(item, &name, &batch->arena);
    if (reason) {
        return refuse_homeless(batch, entry, item, reason);
    }
    status = find(batcher->options.context, name, table, &batch->error);
    if (status != ONEROW_ABSENT) {
        return status;
    }
    struct onerow_span line = {batch->error.text, strcspn(batch->error.text, "\n")};
    entry->table_name = name;
    return refuse_homeless(batch, entry, item, or_arena_copy(&batch->arena, line).data);
}

static enum onerow_status bind_record(struct or_batcher *batcher, struct or_batch *batch,
                                      struct or_entry *entry, struct or_item *item)
{
    struct or_table *table = NULL;
    enum onerow_status status = route(batcher, batch, entry, item, &table);
    if (status == ONEROW_OK && table && !table->table) { /* the first records were no records */
        status = batcher->options.head(batcher->options.context, item, 1, &batch->error);
    }
    if (status != ONEROW_OK || !table) {
        return status;
    }
    return or_entry_bind(entry, table, item, &batch->arena)
               ? ONEROW_OK
               : or_fail(&batch->error, ONEROW_NOMEM, "out of memory");
}

static enum onerow_status add_item(struct or_batcher *batcher, struct or_batch *batch,
                                   struct or_item *item)
{
    struct or_entry *entry = &batch->entries[batch->n];
    *entry = (struct or_entry){.line = item->line, .input = (uint16_t)batcher->at};
    size_t names = 0;
    or_input_header(batcher->input, &names);
    entry->untyped = names > 0;
    enum onerow_status status = item->kind == OR_ITEM_BAD
                                    ? refuse_bad(batcher, batch, entry, item)
                                    : bind_record(batcher, batch, entry, item);
    batch->n += status == ONEROW_OK;
    return status;
}

/* ---- filling ----------------------------------------------------------------------------- */

static enum onerow_status begin_input(struct or_batcher *batcher, struct or_batch *batch)
{
    enum onerow_status status = open_input(batcher, &batch->error);
    if (status == ONEROW_OK && !batcher->begun && batcher->options.head) {
        status = read_head(batcher, &batch->error);
    }
    if (status == ONEROW_OK) {
        or_input_fields_in(batcher->input, &batcher->fields);
    }
    return status;
}

static void end_input(struct or_batcher *batcher, struct or_batch *batch)
{
    or_input_close(batcher->input);
    batcher->input = NULL;
    batcher->at++;
    if (batcher->at == batcher->options.n_inputs) {
        batch->end = OR_BATCH_LAST;
    }
}

/* One step of filling; false when the batch is to be handed over. */
static bool fill_step(struct or_batcher *batcher, struct or_batch *batch)
{
    if (stopped(batcher)) {
        batch->end = OR_BATCH_STOP;
        return false;
    }
    if (!batcher->input) {
        batch->status = begin_input(batcher, batch);
        return batch->status == ONEROW_OK;
    }
    bool head_left = batcher->head_at < batcher->n_head;
    if (batch->n && !head_left && or_input_would_wait(batcher->input)) {
        return false;
    }
    struct or_item item = {0};
    or_arena_reset(&batcher->fields);
    batch->status = next_item(batcher, &batch->arena, &item, &batch->error);
    if (batch->status != ONEROW_OK) {
        return false;
    }
    switch (item.kind) {
    case OR_ITEM_STOP: batch->end = OR_BATCH_STOP; return false;
    case OR_ITEM_END: end_input(batcher, batch); return batch->end == OR_BATCH_MORE;
    case OR_ITEM_RECORD:
    case OR_ITEM_BAD: batch->status = add_item(batcher, batch, &item); break;
    }
    return batch->status == ONEROW_OK;
}

static void sort_batch(struct or_batch *batch)
{
    for (size_t i = 0; i < batch->n; i++) {
        if (batch->entries[i].outcome == ONEROW_PENDING) {
            batch->sorted[batch->n_sorted++] = &batch->entries[i];
        }
    }
    or_entries_sort(batch->sorted, batch->n_sorted);
}

static void fill(struct or_batcher *batcher, struct or_batch *batch)
{
    or_arena_reset(&batch->arena);
    batch->n = 0;
    batch->n_sorted = 0;
    batch->end = OR_BATCH_MORE;
    batch->status = ONEROW_OK;
    while (batch->n < batcher->limit && batch->arena.used < OR_BATCH_BYTES &&
           fill_step(batcher, batch)) {
    }
    batcher->limit = batcher->limit < batcher->records / 2 ? batcher->limit * 2 : batcher->records;
    if (batcher->input) {
        or_input_progress(batcher->input, &batch->bytes_read, &batch->bytes_total);
        batch->input = batcher->options.inputs[batcher->at];
    }
    sort_batch(batch);
}

static void *read_inputs(void *context)
{
    struct or_batcher *batcher = context;
    for (;;) {
        struct or_batch *batch = wait_for(batcher, &batcher->free);
        if (!batch) {
            return NULL;
        }
        fill(batcher, batch);
        bool over = batch->end != OR_BATCH_MORE || batch->status != ONEROW_OK;
        hand_over(batcher, &batcher->full, batch);
        if (over) {
            return NULL;
        }
    }
}

/* ---- opening and closing ------------------------------------------------------------------- */

static bool make_batch(struct or_batcher *batcher, struct or_batch *batch)
{
    or_arena_init(&batch->arena);
    batch->entries = calloc(batcher->records, sizeof *batch->entries);
    batch->sorted = calloc(batcher->records, sizeof *batch->sorted);
    line_push(&batcher->free, batch);
    return batch->entries && batch->sorted;
}

enum onerow_status or_batcher_open(const struct or_batch_options *options, struct or_batcher **out,
                                   struct onerow_error *error)
{
    *out = NULL;
    struct or_batcher *batcher = calloc(1, sizeof *batcher);
    if (!batcher) {
        return or_fail(error, ONEROW_NOMEM, "out of memory");
    }
    batcher->options = *options;
    batcher->records = options->records ? options->records : OR_BATCH_RECORDS;
    batcher->limit = options->records ? options->records : OR_BATCH_FIRST;
    pthread_mutex_init(&batcher->lock, NULL);
    pthread_cond_init(&batcher->moved, NULL);
    or_arena_init(&batcher->fields);
    or_arena_init(&batcher->head_arena);
    bool room = true;
    for (unsigned i = 0; i < BATCHES; i++) {
        room = make_batch(batcher, &batcher->batches[i]) && room;
    }
    batcher->reading = room && pthread_create(&batcher->reader, NULL, read_inputs, batcher) == 0;
    if (!batcher->reading) {
        or_batcher_close(batcher);
        return or_fail(error, ONEROW_NOMEM, "no memory for a batch, or no thread to read with");
    }
    *out = batcher;
    return ONEROW_OK;
}

struct or_batch *or_batcher_next(struct or_batcher *batcher)
{
    return wait_for(batcher, &batcher->full);
}

void or_batcher_done(struct or_batcher *batcher, struct or_batch *batch)
{
    hand_over(batcher, &batcher->free, batch);
}

/* A reader that waits for a silent pipe would keep a failed run from ending. */
static void wake_reader(const struct or_batcher *batcher)
{
    uint64_t one = 1;
    if (batcher->options.stop_fd >= 0 &&
        write(batcher->options.stop_fd, &one, sizeof one) != (ssize_t)sizeof one) {
        return; /* it is awake: the descriptor is readable already, and full */
    }
}

void or_batcher_close(struct or_batcher *batcher)
{
    if (!batcher) {
        return;
    }
    pthread_mutex_lock(&batcher->lock);
    batcher->closing = true;
    pthread_cond_broadcast(&batcher->moved);
    pthread_mutex_unlock(&batcher->lock);
    if (batcher->reading) {
        wake_reader(batcher);
        pthread_join(batcher->reader, NULL);
    }
    for (unsigned i = 0; i < BATCHES; i++) {
        free(batcher->batches[i].entries);
        free(batcher->batches[i].sorted);
        or_arena_finish(&batcher->batches[i].arena);
    }
    or_input_close(batcher->input);
    or_arena_finish(&batcher->fields);
    or_arena_finish(&batcher->head_arena);
    pthread_cond_destroy(&batcher->moved);
    pthread_mutex_destroy(&batcher->lock);
    free(batcher);
}
