/* SPDX-License-Identifier: Apache-2.0
 *
 * The order of things, for each batch, is the promise:
 *
 *   1. the store commits             (driver_blocking.c, core/put.c)
 *   2. the dead letters are flushed  of what it refused or left in doubt
 *   3. the result lines are written
 *
 * A result line is true when it is written, whatever happens next. A process that dies
 * before 3 has written rows without saying so, and a second run finds them unchanged.
 */
#include "engine/put_run.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/status.h"
#include "base/text.h"
#include "engine/batch.h"
#include "engine/infer.h"
#include "engine/kin.h"
#include "engine/letters.h"
#include "engine/pages_loop.h"
#include "engine/put_batch.h"
#include "store/store.h"

#define LARGE_BYTES   (1024L * 1024L)
#define PAGED_RECORDS 200U /* in a batch for a store of pages: what its driver does at a time */

struct run {
    const struct or_run_options *options;
    struct or_run_stats *stats;
    struct or_table *main_table; /* of options->table */
    struct or_kin kin;           /* all tables that are open */
    struct or_letter_box *box;   /* NULL until the first letter */
    int results;                 /* -1: none */
    struct or_buffer lines;
    struct or_drive_stats drive; /* of all batches */
    bool told_twins;
    enum onerow_status status;  /* worst so far */
    struct onerow_error *error; /* of the failure that decided it */
};

static void note_failure(struct run *run, enum onerow_status status,
                         const struct onerow_error *error)
{
    enum onerow_status worse = or_status_worse(run->status, status);
    if (worse != run->status && run->error) {
        *run->error = *error;
        run->error->status = status;
    }
    run->status = worse;
}

static void tell(const struct run *run, const char *text)
{
    if (run->options->notice) {
        run->options->notice(run->options->context, text);
    }
}

/* ---- tables ---------------------------------------------------------------------------- */

/* Whether files say that much is to come; what comes through a pipe does not. */
static bool is_large(const struct or_run_options *options)
{
    off_t bytes = 0;
    struct stat input;
    for (size_t i = 0; i < options->n_inputs; i++) {
        bool is_file = stat(options->inputs[i], &input) == 0 && S_ISREG(input.st_mode);
        bytes += is_file ? input.st_size : 0;
    }
    return bytes >= LARGE_BYTES;
}

static void tell_advice(const struct run *run, const struct or_table *table)
{
    if (table->table && table->table->advice) {
        tell(run, table->table->advice);
    }
    if (table->pages && table->pages->advice) {
        tell(run, table->pages->advice);
    }
}

static enum onerow_status open_table(struct run *run, const struct or_config_table *config,
                                     struct or_table **table, struct onerow_error *error)
{
    *table = or_kin_find(&run->kin, config);
    if (*table) {
        return ONEROW_OK;
    }
    struct or_table_options options = {.may_create = run->options->create_table &&
                                                     !run->options->dry_run &&
                                                     config == run->options->table,
                                       .leave_as_is = run->options->dry_run,
                                       .bulk = true,
                                       .large = is_large(run->options),
                                       .stop = run->options->stop,
                                       .want_ids = run->options->results != NULL,
                                       .wait_ms = run->options->wait_ms};
    size_t n = run->kin.n;
    enum onerow_status status = or_kin_open(&run->kin, config, &options, table, error);
    for (size_t i = n; i < run->kin.n; i++) {
        tell_advice(run, run->kin.tables[i]);
    }
    return status;
}

/* For the batcher: the table that a line's envelope names, or else that of the run. */
static enum onerow_status find_table(void *context, struct onerow_span name,
                                     struct or_table **table, struct onerow_error *error)
{
    struct run *run = context;
    *table = run->main_table;
    if (!name.data) {
        return ONEROW_OK;
    }
    char *copy = strndup(name.data, name.len);
    if (!copy) {
        return or_fail(error, ONEROW_NOMEM, "out of memory");
    }
    const struct or_config_table *config = NULL;
    enum onerow_status status = or_config_table(run->options->config, copy, &config, error);
    free(copy);
    return status == ONEROW_OK ? open_table(run, config, table, error) : ONEROW_ABSENT;
}

/* For the batcher: --create-table, once the first records are known. */
static enum onerow_status make_table(void *context, const struct or_item *items, size_t n,
                                     struct onerow_error *error)
{
    struct run *run = context;
    struct or_table *table = run->main_table;
    if (!table || table->table) {
        return ONEROW_OK;
    }
    struct or_arena arena;
    struct onerow_new_column *columns = NULL;
    size_t n_columns = 0;
    char *sql = NULL;
    or_arena_init(&arena);
    enum onerow_status status =
        or_infer_columns(items, n, &table->spec, &arena, &columns, &n_columns)
            ? ONEROW_OK
            : or_fail(error, ONEROW_NOMEM, "out of memory");
    for (size_t k = 0; status == ONEROW_OK && k < table->spec.n_key; k++) {
        bool there = false;
        for (size_t i = 0; i < n_columns; i++) {
            there |= or_span_is(columns[i].name, table->spec.key[k].name);
        }
        if (!there) {
            status = or_fail(error, ONEROW_CONFIG,
                             "table \"%s\" cannot be made: none of the first %zu records has its "
                             "key column \"%s\"",
                             table->spec.location, n, table->spec.key[k].name);
        }
    }
    if (status == ONEROW_OK) {
        status = or_table_create(table, columns, n_columns, &sql, error);
    }
    if (status == ONEROW_UNKNOWN) { /* no record is in doubt: the run ends with what broke it */
        status = error->status;
    }
    if (sql) {
        tell(run, sql);
    }
    free(sql);
    or_arena_finish(&arena);
    return status;
}

/* ---- result lines ------------------------------------------------------------------------ */

static void add_optional(struct or_buffer *out, const char *name, struct onerow_span text)
{
    or_buffer_printf(out, ",\"%s\":", name);
    if (text.data) {
        or_buffer_json(out, text);
    } else {
        or_buffer_text(out, "null");
    }
}

void or_result_line(const struct or_entry *entry, const char *input, const char *carrier_input,
                    struct or_buffer *out)
{
    or_buffer_printf(out, "{\"line\":%llu", (unsigned long long)entry->line);
    if (input) {
        add_optional(out, "input", or_span(input));
    }
    add_optional(out, "table", entry->table ? or_span(entry->table->spec.name) : entry->table_name);
    or_buffer_text(out, ",\"key\":");
    if (entry->has_key) {
        or_table_key_json(entry->table, entry->record.values, out);
    } else {
        or_buffer_text(out, "null");
    }
    or_buffer_printf(out, ",\"outcome\":\"%s\"",
                     onerow_outcome_name((enum onerow_outcome)entry->outcome));
    add_optional(out, "id", entry->id);
    add_optional(out, "reason", or_span(entry->reason));
    if (entry->folded_into) {
        or_buffer_printf(out, ",\"folded_into\":%llu",
                         (unsigned long long)entry->folded_into->line);
        if (carrier_input) {
            add_optional(out, "folded_into_input", or_span(carrier_input));
        }
        or_buffer_text(out, "}\n");
    } else {
        or_buffer_text(out, ",\"folded_into\":null}\n");
    }
}

static enum onerow_status write_all(int fd, const char *data, size_t len)
{
    while (len) {
        ssize_t n = write(fd, data, len);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0 && errno == EAGAIN) { /* somebody made the reader's end non-blocking */
            struct pollfd ready = {.fd = fd, .events = POLLOUT};
            poll(&ready, 1, -1);
            continue;
        }
        if (n < 0) {
            return errno == ENOSPC || errno == EDQUOT ? ONEROW_FULL : ONEROW_IO;
        }
        data += n;
        len -= (size_t)n;
    }
    return ONEROW_OK;
}

static const char *input_name(const struct run *run, const struct or_entry *entry)
{
    return run->options->n_inputs > 1 ? run->options->inputs[entry->input] : NULL;
}

static enum onerow_status write_results(struct run *run, const struct or_batch *batch,
                                        struct onerow_error *error)
{
    if (run->results < 0) {
        return ONEROW_OK;
    }
    or_buffer_clear(&run->lines);
    for (size_t i = 0; i < batch->n; i++) {
        const struct or_entry *entry = &batch->entries[i];
        if (entry->outcome != ONEROW_PENDING) {
            const struct or_entry *carrier = entry->folded_into;
            or_result_line(entry, input_name(run, entry), carrier ? input_name(run, carrier) : NULL,
                           &run->lines);
        }
    }
    if (run->lines.failed) {
        return or_fail(error, ONEROW_NOMEM, "out of memory for the result lines");
    }
    enum onerow_status status = write_all(run->results, run->lines.data, run->lines.len);
    return status == ONEROW_OK
               ? status
               : or_fail(
                     error, status,
                     "%s: writing result lines: %s\n  the records are written; make room, or name "
                     "another file, and run again",
                     run->options->results, strerror(errno));
}

/* Opening the results for writing would empty an input of that name. */
static bool is_input(const struct run *run, const char *path)
{
    struct stat results;
    struct stat input;
    if (stat(path, &results) != 0 || !S_ISREG(results.st_mode)) {
        return false;
    }
    for (size_t i = 0; i < run->options->n_inputs; i++) {
        const char *name = run->options->inputs[i];
        bool there =
            strcmp(name, "-") == 0 ? fstat(STDIN_FILENO, &input) == 0 : stat(name, &input) == 0;
        if (there && input.st_dev == results.st_dev && input.st_ino == results.st_ino) {
            return true;
        }
    }
    return false;
}

static enum onerow_status open_results(struct run *run, struct onerow_error *error)
{
    run->results = -1;
    const char *path = run->options->results;
    if (!path) {
        return ONEROW_OK;
    }
    if (is_input(run, path)) {
        return or_fail(error, ONEROW_USAGE, "--results %s: is an input, too; name another file",
                       path);
    }
    run->results = strcmp(path, "-") == 0
                       ? dup(STDOUT_FILENO)
                       : open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    return run->results >= 0
               ? ONEROW_OK
               : or_fail(error, ONEROW_USAGE, "--results %s: %s", path, strerror(errno));
}

/* ---- dead letters -------------------------------------------------------------------------- */

static bool needs_letter(const struct or_entry *entry)
{
    return entry->outcome == ONEROW_REFUSED || entry->outcome == ONEROW_IN_DOUBT;
}

static enum onerow_status add_letters(struct run *run, const struct or_batch *batch, bool look,
                                      uint64_t *added, struct onerow_error *error)
{
    for (size_t i = 0; i < batch->n; i++) {
        const struct or_entry *entry = &batch->entries[i];
        if (!needs_letter(entry)) {
            continue;
        }
        enum onerow_status status =
            run->box ? ONEROW_OK : or_letter_box_open(NULL, &run->box, error);
        if (status == ONEROW_OK) {
            status = or_letters_add(run->box, run->options->config,
                                    run->options->inputs[entry->input], entry, look, error);
        }
        if (status != ONEROW_OK) {
            return status;
        }
        ++*added;
    }
    return *added ? or_letter_flush(run->box, error) : ONEROW_OK;
}

/* Letters that could not be made durable are counted one by one: their records are nowhere, and
 * their result lines say so. */
static void count_unkept(struct run *run, struct or_batch *batch)
{
    for (size_t i = 0; i < batch->n; i++) {
        struct or_entry *entry = &batch->entries[i];
        if (needs_letter(entry)) {
            const char *reason = or_arena_printf(
                &batch->arena, "%s; the record could not be kept as a dead letter, either",
                entry->reason ? entry->reason : "no reason is known");
            entry->reason = reason ? reason : "the record could not be kept as a dead letter";
            run->stats->first_unkept =
                run->stats->unkept ? run->stats->first_unkept : batch->entries[i].line;
            run->stats->unkept++;
        }
    }
}

static void keep_letters(struct run *run, struct or_batch *batch, bool look)
{
    uint64_t added = 0;
    struct onerow_error error = {0};
    if (run->options->dry_run) {
        return;
    }
    enum onerow_status status = add_letters(run, batch, look, &added, &error);
    if (status != ONEROW_OK) {
        enum onerow_status before = run->status;
        note_failure(run, status, &error);
        if (run->status == before) { /* else it is told at the end */
            tell(run, error.text);
        }
        count_unkept(run, batch);
        return;
    }
    run->stats->letters += added;
    const char *path = added ? or_letter_box_path(run->box) : NULL;
    if (path) {
        snprintf(run->stats->letters_path, sizeof run->stats->letters_path, "%s", path);
    }
}

/* ---- batches --------------------------------------------------------------------------------- */

/* Those that never come to a driver may be what others relate to. */
static void note_refused(const struct or_batch *batch)
{
    for (size_t i = 0; i < batch->n; i++) {
        const struct or_entry *entry = &batch->entries[i];
        if (entry->outcome == ONEROW_REFUSED && entry->has_key) {
            or_known_note(entry->table->known, entry);
        }
    }
}

static void write_batch(struct run *run, struct or_batch *batch)
{
    struct or_drive_options options = {
        .dry_run = run->options->dry_run, .stop = run->options->stop, .stats = &run->drive};
    struct onerow_error error = {0};
    uint64_t start = or_latency_now();
    enum onerow_status status = ONEROW_OK;
    note_refused(batch);
    if (batch->n_sorted) {
        status = or_put_batch(batch->sorted, batch->n_sorted, &options, &batch->arena, &error);
        run->stats->batches++;
    }
    if (status != ONEROW_OK && status != ONEROW_REJECTED) {
        note_failure(run, status, &error);
    }
    uint64_t spent = or_latency_now() - start;
    run->stats->write_us += spent;
    run->stats->slowest_us = spent > run->stats->slowest_us ? spent : run->stats->slowest_us;
}

/* As soon as the first ones are seen: a long run ends long afterwards. */
static void tell_twins(struct run *run, struct or_batch *batch)
{
    const struct or_entry *entry = NULL;
    for (size_t i = 0; i < batch->n && !entry && !run->told_twins; i++) {
        entry = batch->entries[i].twins ? &batch->entries[i] : NULL;
    }
    if (entry) {
        const char *name = entry->table->spec.name;
        const char *text = or_arena_printf(
            &batch->arena,
            "table \"%s\": several pages carry the key of line %llu, and perhaps "
            "others; no further one is made, and the one that has the best right to "
            "the key is written\n  onerow audit %s lists them, onerow heal %s leaves "
            "one of each",
            name, (unsigned long long)entry->line, name, name);
        run->told_twins = text != NULL;
        tell(run, text ? text : "several pages carry one key: onerow audit");
    }
}

static void count_batch(struct run *run, const struct or_batch *batch)
{
    for (size_t i = 0; i < batch->n; i++) {
        const struct or_entry *entry = &batch->entries[i];
        if (entry->outcome == ONEROW_PENDING) {
            continue;
        }
        run->stats->read++;
        run->stats->outcome[entry->outcome]++;
        run->stats->folded += entry->folded_into != NULL;
        run->stats->last_line = entry->line;
        run->stats->input = run->options->inputs[entry->input];
    }
    run->stats->bytes_read = batch->bytes_read;
    run->stats->bytes_total = batch->bytes_total;
}

static bool failed(const struct run *run)
{
    return onerow_status_exit(run->status) > 1;
}

/* Whether the store can still be asked what rows it has: not while it is locked, gone or broken. */
static bool readable(const struct run *run)
{
    return !failed(run) || run->status == ONEROW_FULL || run->status == ONEROW_READONLY ||
           run->status == ONEROW_RETRY;
}

/* True when another batch is to be taken. */
static bool take_batch(struct run *run, struct or_batch *batch)
{
    if (batch->end == OR_BATCH_STOP) {
        run->status = or_status_worse(run->status, ONEROW_INTERRUPTED);
        return false;
    }
    write_batch(run, batch);
    tell_twins(run, batch);
    keep_letters(run, batch, readable(run));
    count_batch(run, batch);
    struct onerow_error error = {0};
    enum onerow_status status = write_results(run, batch, &error);
    if (status != ONEROW_OK) {
        note_failure(run, status, &error);
    }
    if (batch->status != ONEROW_OK) {
        note_failure(run, batch->status, &batch->error);
    }
    if (run->options->progress) {
        run->options->progress(run->options->context, run->stats);
    }
    return batch->end == OR_BATCH_MORE && batch->status == ONEROW_OK && !failed(run);
}

/* Where a request takes a page, a batch of the usual size would take hours, and nothing would be
 * said of it meanwhile. */
static size_t batch_records(const struct run *run)
{
    const struct or_config *config = run->options->config;
    bool paged = run->main_table && run->main_table->pages;
    for (size_t i = 0; i < config->n_tables && !run->main_table; i++) {
        const struct onerow_store_type *type = or_store_type_of(config->tables[i].store->url);
        paged |= type && type->pages;
    }
    return run->options->batch_records ? run->options->batch_records : paged ? PAGED_RECORDS : 0;
}

static enum onerow_status run_batches(struct run *run, struct onerow_error *error)
{
    const struct or_run_options *options = run->options;
    struct or_batch_options batching = {.inputs = options->inputs,
                                        .n_inputs = options->n_inputs,
                                        .format = options->format,
                                        .records = batch_records(run),
                                        .stop = options->stop,
                                        .stop_fd = options->stop_fd,
                                        .table = find_table,
                                        .head = options->create_table ? make_table : NULL,
                                        .context = run};
    struct or_batcher *batcher = NULL;
    enum onerow_status status = or_batcher_open(&batching, &batcher, error);
    if (status != ONEROW_OK) {
        return status;
    }
    bool more = true;
    while (more) {
        struct or_batch *batch = or_batcher_next(batcher);
        more = take_batch(run, batch);
        or_batcher_done(batcher, batch);
    }
    or_batcher_close(batcher);
    return ONEROW_OK;
}

static void fill_stats(const struct run *run)
{
    struct or_run_stats *stats = run->stats;
    stats->transactions = run->drive.transactions;
    stats->retries = run->drive.retries;
    stats->bisects = run->drive.bisects;
    stats->latency = or_latency_summarise(&run->drive.latency);
    stats->pages = run->drive.pages;
    for (size_t i = 0; i < run->kin.n; i++) {
        const struct or_table *table = run->kin.tables[i];
        stats->round_trips += or_table_round_trips(table);
        stats->connections += 1 + table->n_others;
        stats->paged |= table->pages != NULL;
    }
}

static void finish(struct run *run)
{
    fill_stats(run);
    or_kin_close(&run->kin);
    or_letter_box_close(run->box);
    or_buffer_finish(&run->lines);
    if (run->results >= 0) {
        close(run->results);
    }
}

enum onerow_status or_run_put(const struct or_run_options *options, struct or_run_stats *stats,
                              struct onerow_error *error)
{
    struct run run = {.options = options, .stats = stats, .error = error, .results = -1};
    *stats = (struct or_run_stats){0};
    enum onerow_status status = ONEROW_OK;
    if (options->table) {
        status = open_table(&run, options->table, &run.main_table, error);
    }
    status = status == ONEROW_OK ? open_results(&run, error) : status;
    status = status == ONEROW_OK ? run_batches(&run, error) : status;
    finish(&run);
    bool left = stats->outcome[ONEROW_REFUSED] || stats->outcome[ONEROW_IN_DOUBT];
    status = or_status_worse(status, run.status);
    return status == ONEROW_OK && left ? ONEROW_LEFT : status;
}
