/* SPDX-License-Identifier: Apache-2.0
 *
 * The entries of one key are written one after the other, by an attempt each: so equal keys come
 * out as if written one by one. Different keys go side by side (pages_loop.c).
 *
 * Defaults are for new pages alone. They are part of what is published, and not of what an entry is
 * compared by: written a second time, the same record changes nothing.
 *
 * An entry whose attempt was given up because the run was to stop, with nothing written, stays
 * PENDING: it was never tried to the end.
 */
#include "engine/driver_pages.h"

#include <string.h>

#include "base/digest.h"
#include "base/status.h"
#include "base/text.h"
#include "engine/known.h"
#include "engine/relation_order.h"
#include "engine/relations.h"

/* The ledger keeps what is being written, with what it knows of the key. */
#define PAYLOAD_MAX (ONEROW_LEDGER_BODY_MAX - 8192U)

struct put {
    struct or_pages *pages;
    struct or_table *table;
    const struct onerow_page_ops *ops;
    struct or_entry **entries;
    /* What they write, where that is not what they say: of tables with relations. Without values:
     * nothing. */
    struct onerow_record *records;
    size_t next, end; /* entries that are no job's yet */
    int order_column; /* newest's; -1: none */
    struct or_arena *arena;
};

/* A job's entries: those of one key. Lies in the batch's arena. */
struct key {
    size_t at, end; /* entries[at] is the one at hand */
    struct or_payload payload;
};

/* ---- payloads ------------------------------------------------------------------------------- */

static struct onerow_value value_of(const struct onerow_record *record, int column)
{
    for (size_t i = 0; column >= 0 && i < record->n_values; i++) {
        if (record->values[i].column == (uint16_t)column) {
            return record->values[i];
        }
    }
    return (struct onerow_value){0};
}

/* The record with the values that it lacks; both are sorted alike, the key's values first. */
static enum onerow_status add_defaults(const struct put *put, const struct onerow_record *record,
                                       struct or_arena *arena, struct onerow_record *whole,
                                       struct onerow_error *error)
{
    const struct or_pages *pages = put->pages;
    size_t room = record->n_values + pages->n_defaults;
    struct onerow_value *values = or_arena_alloc(arena, room * sizeof *values);
    if (!values) {
        return or_fail(error, ONEROW_NOMEM, "out of memory");
    }
    size_t n = 0;
    size_t next = 0;
    size_t n_key = put->table->spec.n_key;
    for (size_t i = 0; i < record->n_values || next < pages->n_defaults;) {
        bool own =
            i < n_key || next == pages->n_defaults ||
            (i < record->n_values && record->values[i].column <= pages->defaults[next].column);
        bool same = own && i >= n_key && next < pages->n_defaults &&
                    record->values[i].column == pages->defaults[next].column;
        values[n++] = own ? record->values[i] : pages->defaults[next];
        i += own;
        next += !own || same;
    }
    *whole = (struct onerow_record){.values = values, .n_values = (uint16_t)n, .key = record->key};
    return ONEROW_OK;
}

static enum onerow_status refuse(const struct put *put, struct or_entry *entry, const char *reason,
                                 struct onerow_error *error)
{
    struct onerow_span kept = or_arena_copy(put->arena, or_span(reason));
    or_entry_refuse(entry, kept.data);
    return kept.data ? ONEROW_REJECTED : or_fail(error, ONEROW_NOMEM, "out of memory");
}

/* What the record, which is the entry's, wants to be written. REJECTED: the entry is refused. */
static enum onerow_status make_payload(const struct put *put, struct or_entry *entry,
                                       const struct onerow_record *record, struct or_arena *arena,
                                       struct or_payload *payload, struct onerow_error *error)
{
    const char *reason = NULL;
    *payload = (struct or_payload){0};
    if (or_page_key_is_reserved(record->values, put->table->spec.n_key)) {
        return refuse(put, entry,
                      "its key begins with " ONEROW_BLANK_TITLE " or " ONEROW_MOVED_TITLE
                      ", which onerow keeps for pages without a key",
                      error);
    }
    struct onerow_span plain = {0};
    struct onerow_span full = {0};
    struct onerow_store_table *table = put->table->table;
    enum onerow_status status = put->ops->encode(table, record, arena, &plain, &reason, error);
    if (status == ONEROW_OK && put->pages->n_defaults) {
        struct onerow_record whole = {0};
        status = add_defaults(put, record, arena, &whole, error);
        status = status == ONEROW_OK ? put->ops->encode(table, &whole, arena, &full, &reason, error)
                                     : status;
    }
    if (status == ONEROW_REJECTED) {
        return refuse(put, entry, reason ? reason : "", error);
    }
    if (status != ONEROW_OK) {
        return status;
    }
    payload->order = value_of(record, put->order_column);
    if (plain.len + full.len + 2 * (size_t)payload->order.len > PAYLOAD_MAX) {
        return refuse(put, entry, "what it writes is too long for the ledger", error);
    }
    or_sha256(plain, payload->fingerprint);
    payload->text = or_page_payload(plain, full, arena);
    return payload->text.data ? ONEROW_OK : or_fail(error, ONEROW_NOMEM, "out of memory");
}

/* ---- the work ------------------------------------------------------------------------------- */

/* The entry's record, ready to be written; NULL: it is refused, or must wait. */
static const struct onerow_record *record_at(const struct put *put, size_t at)
{
    const struct onerow_record *record =
        put->records ? &put->records[at] : &put->entries[at]->record;
    return record->values ? record : NULL;
}

/* The job's next entry that is not refused at once. */
static enum onerow_status begin_entry(struct put *put, struct or_page_job *job,
                                      struct onerow_error *error)
{
    struct key *key = job->owner;
    enum onerow_status status = ONEROW_REJECTED;
    for (; status == ONEROW_REJECTED && key->at < key->end; key->at += status == ONEROW_REJECTED) {
        struct or_entry *entry = put->entries[key->at];
        const struct onerow_record *record = record_at(put, key->at);
        status = record ? make_payload(put, entry, record, &job->arena, &key->payload, error)
                        : ONEROW_REJECTED;
        job->key = &entry->record;
        job->own = &key->payload;
    }
    return status == ONEROW_REJECTED ? ONEROW_ABSENT : status;
}

static size_t end_of_key(const struct put *put, size_t at)
{
    struct onerow_span key = put->entries[at]->record.key;
    while (at < put->end && or_span_equal(put->entries[at]->record.key, key)) {
        at++;
    }
    return at;
}

static enum onerow_status next(void *context, struct or_page_job *job, struct onerow_error *error)
{
    struct put *put = context;
    enum onerow_status status = ONEROW_ABSENT;
    while (status == ONEROW_ABSENT && put->next < put->end) {
        struct key *key = or_arena_alloc(put->arena, sizeof *key);
        if (!key) {
            return or_fail(error, ONEROW_NOMEM, "out of memory");
        }
        *key = (struct key){.at = put->next, .end = end_of_key(put, put->next)};
        put->next = key->end;
        job->owner = key;
        status = begin_entry(put, job, error);
    }
    return status;
}

static enum onerow_status again(void *context, struct or_page_job *job, struct onerow_error *error)
{
    return begin_entry(context, job, error);
}

static const char *reason_of(const struct put *put, const struct or_page_job *job)
{
    const char *why = or_reason_text(job->command.reason);
    const char *text = job->command.reason == OR_REASON_NONE ? NULL : why;
    if (text && job->reason) {
        const char *both = or_arena_printf(put->arena, "%s: %s", why, job->reason);
        text = both ? both : why;
    }
    return text;
}

static void settled(void *context, struct or_page_job *job, bool ended)
{
    struct put *put = context;
    struct key *key = job->owner;
    struct or_entry *entry = put->entries[key->at++];
    const struct or_command *command = &job->command;
    if (ended && command->outcome == ONEROW_REFUSED && command->reason == OR_REASON_GAVE_UP) {
        return;
    }
    entry->outcome = (uint8_t)command->outcome;
    entry->twins = command->twins;
    entry->reason = reason_of(put, job);
    if (command->page.data) {
        entry->id = or_arena_copy(put->arena, command->page);
    }
}

/* ---- outcomes ------------------------------------------------------------------------------- */

/* What the entries' outcomes come to. The run has failed: those that were not written are refused.
 */
static enum onerow_status sum_up(struct put *put, enum onerow_status status,
                                 struct onerow_error *error)
{
    const char *failure = status == ONEROW_OK ? NULL : or_drive_reason(error, put->arena);
    const char *reason = NULL;
    enum onerow_status sum = status;
    for (size_t i = 0; i < put->end; i++) {
        struct or_entry *entry = put->entries[i];
        if (entry->outcome == ONEROW_PENDING && failure) {
            or_entry_refuse(entry, failure);
        }
        enum onerow_status one = entry->outcome == ONEROW_REFUSED    ? ONEROW_REJECTED
                                 : entry->outcome == ONEROW_IN_DOUBT ? ONEROW_UNKNOWN
                                 : entry->outcome == ONEROW_PENDING  ? ONEROW_INTERRUPTED
                                                                     : ONEROW_OK;
        enum onerow_status worse = or_status_worse(sum, one);
        reason = worse != sum ? entry->reason : reason;
        sum = worse;
    }
    if (sum != status) {
        (void)or_fail(error, sum, "%s", reason ? reason : onerow_status_text(sum));
    }
    return sum;
}

/* Those that would be refused anyhow are, before pages are made that they relate to. */
static enum onerow_status try_payloads(struct put *put, struct onerow_error *error)
{
    struct or_payload unwanted = {0};
    struct or_arena scratch;
    enum onerow_status status = ONEROW_OK;
    or_arena_init(&scratch);
    for (size_t i = 0; i < put->end && status == ONEROW_OK; i++) {
        struct or_entry *entry = put->entries[i];
        struct onerow_record rest = {0};
        or_arena_reset(&scratch);
        status = or_relations_leave_out(put->table, &entry->record, &scratch, &rest)
                     ? make_payload(put, entry, &rest, &scratch, &unwanted, error)
                     : or_fail(error, ONEROW_NOMEM, "out of memory");
        if (status == ONEROW_REJECTED) {
            or_known_note(put->table->known, entry);
            status = ONEROW_OK;
        }
    }
    or_arena_finish(&scratch);
    return status;
}

static enum onerow_status write_all(struct put *put, const struct or_drive_options *options,
                                    struct onerow_error *error)
{
    struct or_pages_work work = {.next = next, .settled = settled, .again = again, .context = put};
    struct or_pages_stats unwanted = {0};
    struct or_pages_stats *stats = options->stats ? &options->stats->pages : &unwanted;
    const volatile bool *stop = options->stop ? options->stop : put->table->opened_with.stop;
    return or_pages_loop(put->pages, put->table, &work, stop, stats, error);
}

/* There is no transaction to look in. Where the guard does not let the page be changed, the record
 * may still find it as it wants it. It is asked only now: pages that the record relates to are made
 * already, and one of them may be its own. */
static enum onerow_status write_guarded(struct put *put, const struct or_drive_options *options,
                                        struct onerow_error *error)
{
    const struct or_drive_guard *guard = options->guard;
    const struct onerow_verdict change = {.outcome = ONEROW_UPDATED};
    struct or_entry *entry = put->entries[0];
    struct onerow_error why = {0};
    enum onerow_policy policy = put->pages->attempt.policy;
    guard->before(guard->context, put->table, &entry->record);
    enum onerow_status refused = guard->after(guard->context, &change, &why);
    put->pages->attempt.policy = refused == ONEROW_OK ? policy : ONEROW_POLICY_KEEP;
    enum onerow_status status = write_all(put, options, error);
    put->pages->attempt.policy = policy;
    if (refused != ONEROW_OK && entry->outcome == ONEROW_UNCHANGED && entry->reason) {
        or_entry_refuse(entry, or_drive_reason(&why, put->arena));
    }
    return status;
}

static enum onerow_status write(struct put *put, const struct or_drive_options *options,
                                struct onerow_error *error)
{
    return options->guard ? write_guarded(put, options, error) : write_all(put, options, error);
}

/* What became of records is known to those that relate to them. */
static void note_all(const struct or_table *table, struct or_entry **entries, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        or_known_note(table->known, entries[i]);
    }
}

/* ---- records that relate to others ---------------------------------------------------------- */

/* Those of one wave, as a put of their own. */
static enum onerow_status write_wave(const struct put *put, const uint8_t *waves, unsigned wave,
                                     const struct or_drive_options *options,
                                     struct onerow_error *error)
{
    struct put part = *put;
    part.end = 0;
    part.entries = or_arena_alloc(put->arena, put->end * sizeof(struct or_entry *));
    part.records = or_arena_alloc(put->arena, put->end * sizeof *part.records);
    if (!part.entries || !part.records) {
        return or_fail(error, ONEROW_NOMEM, "out of memory");
    }
    for (size_t i = 0; i < put->end; i++) {
        if (waves[i] == wave) {
            part.entries[part.end++] = put->entries[i];
        }
    }
    enum onerow_status status = or_relations_resolve(part.table, part.entries, part.end, options,
                                                     part.arena, part.records, error);
    status = status == ONEROW_OK ? write(&part, options, error) : status;
    note_all(part.table, part.entries, part.end);
    return status;
}

static enum onerow_status write_waves(struct put *put, const struct or_drive_options *options,
                                      struct onerow_error *error)
{
    uint8_t *waves = or_arena_alloc(put->arena, put->end);
    enum onerow_status status = try_payloads(put, error);
    unsigned n = waves && status == ONEROW_OK
                     ? or_relations_order(put->table, put->entries, put->end, put->arena, waves)
                     : 0;
    if (status == ONEROW_OK && n == 0) {
        status = or_fail(error, ONEROW_NOMEM, "out of memory");
    }
    for (unsigned wave = 1; wave <= n && status == ONEROW_OK; wave++) {
        status = write_wave(put, waves, wave, options, error);
    }
    return status;
}

/* ---- all of it ------------------------------------------------------------------------------ */

static enum onerow_status put_all(struct or_pages *pages, struct or_table *table,
                                  struct or_entry **entries, size_t n, bool relates,
                                  const struct or_drive_options *options, struct or_arena *arena,
                                  struct onerow_error *error)
{
    const char *order = table->spec.order_column;
    struct put put = {.pages = pages,
                      .table = table,
                      .ops = table->store->type->pages,
                      .entries = entries,
                      .end = n,
                      .order_column = order ? or_table_column(table, or_span(order)) : -1,
                      .arena = arena};
    struct onerow_error why = {0};
    enum onerow_status status =
        relates ? write_waves(&put, options, &why) : write(&put, options, &why);
    status = sum_up(&put, status, &why);
    if (status != ONEROW_OK && error) {
        *error = why;
    }
    return status;
}

enum onerow_status or_pages_ensure(struct or_pages *pages, struct or_table *table,
                                   struct or_entry **entries, size_t n,
                                   const struct or_drive_options *options, struct or_arena *arena,
                                   struct onerow_error *error)
{
    return put_all(pages, table, entries, n, false, options, arena, error);
}

enum onerow_status or_pages_put(struct or_pages *pages, struct or_table *table,
                                struct or_entry **entries, size_t n,
                                const struct or_drive_options *options, struct or_arena *arena,
                                struct onerow_error *error)
{
    enum onerow_status status =
        put_all(pages, table, entries, n, table->n_relations > 0, options, arena, error);
    note_all(table, entries, n);
    return status;
}
