/* SPDX-License-Identifier: Apache-2.0
 *
 * A letter is replayed into the table it was meant for, by the configuration it names, or
 * by store, table and key when there was none. Time has passed since, so the rule is:
 *
 *   a row that is not as it was when the letter was written is not written over,
 *
 * unless --force says so. The letter holds the row's state then (its SHA-256, or
 * "absent"); the state now is read in the same transaction as the write, so nobody slips
 * in between. Three cases pass without --force although the states differ: the record
 * would change nothing (it has been written since, perhaps by a replay that died before
 * it could take the letter away); this very replay wrote the row, from an earlier letter
 * of the same key; or the letter knows no state and there is no row.
 */
#include "engine/replay.h"

#include <stdlib.h>
#include <string.h>

#include "base/flag.h"
#include "base/status.h"
#include "base/text.h"
#include "engine/known.h"
#include "engine/letters.h"
#include "engine/single.h"

#define HASH_NONFATAL_OOM            1
#define uthash_nonfatal_oom(element) ((element)->lost = true)
#include <uthash.h>

#define TARGETS_MAX 64U

/* A table that letters are meant for. */
struct target {
    char *config, *store, *table, *location, *key_spec, *policy; /* as the letters spell them */
    char *url; /* of a store without a configuration, with what password can be had; owned */
    struct or_config loaded;
    struct or_config_table meant; /* as loaded, with the store that was meant then */
    struct or_config_store meant_store;
    struct or_table *open;
};

/* A key that this replay has written, and the state it left. */
struct mine {
    UT_hash_handle hh;
    char state[OR_ROW_STATE_LEN];
    bool lost;
    size_t len;
    char key[];
};

struct replay {
    const struct or_replay_options *options;
    struct or_replay_stats *stats;
    struct target targets[TARGETS_MAX];
    size_t n_targets;
    struct mine *mine;
    struct or_known known; /* of all tables */
    enum onerow_status status;
    struct onerow_error *error;
    /* of the letter at hand */
    const struct or_letter *letter;
    struct target *target;
    char now[OR_ROW_STATE_LEN];
};

/* ---- targets -------------------------------------------------------------------------- */

static bool same(const char *text, struct onerow_span span)
{
    return or_span_equal(or_span(text), span);
}

static char *keep(struct onerow_span span)
{
    return strndup(span.data ? span.data : "", span.len);
}

static struct target *known_target(struct replay *replay, const struct or_letter *letter)
{
    for (size_t i = 0; i < replay->n_targets; i++) {
        struct target *target = &replay->targets[i];
        if (same(target->config, letter->config) && same(target->store, letter->store) &&
            same(target->table, letter->table) && same(target->location, letter->location) &&
            same(target->key_spec, letter->key_spec) && same(target->policy, letter->policy)) {
            return target;
        }
    }
    return NULL;
}

static void finish_target(struct target *target)
{
    or_table_close(target->open);
    or_config_finish(&target->loaded);
    free(target->url);
    free(target->config);
    free(target->store);
    free(target->table);
    free(target->location);
    free(target->key_spec);
    free(target->policy);
}

static const char *last_part(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* A configured "sqlite:app.db" is relative to the folder of the run, not to that of the replay:
 * there, another app.db may lie. The letter has the absolute path. */
static bool is_relative_now(const char *url, const char *then)
{
    static const char sqlite[] = "sqlite:";
    size_t scheme = strlen(sqlite);
    return strncmp(url, sqlite, scheme) == 0 && url[scheme] != '/' &&
           strncmp(then, sqlite, scheme) == 0 &&
           strcmp(last_part(url + scheme), last_part(then + scheme)) == 0;
}

static void resolve_store(struct target *target, const struct or_config_table *table)
{
    target->meant = *table;
    target->meant_store = *table->store;
    if (is_relative_now(table->store->url, target->store)) {
        target->meant_store.url = target->store;
        target->meant.store = &target->meant_store;
    }
}

/* The store's URL for --store: a letter holds no password. Where $DATABASE_URL is the same URL with
 * one, that is meant; else the masked one is left out, and the store looks elsewhere for it (a
 * password file, the environment). */
static char *unmasked_store(const char *store)
{
    static const char mask[] = ":***@";
    const char *at = strstr(store, mask);
    const char *variable = getenv("DATABASE_URL");
    struct or_buffer url;
    or_buffer_init(&url);
    if (at && variable) {
        or_url_mask(variable, &url);
    }
    bool same_store = at && variable && strcmp(or_buffer_cstr(&url), store) == 0;
    or_buffer_clear(&url);
    if (same_store) {
        or_buffer_text(&url, variable);
    } else if (at) {
        or_buffer_add(&url, store, (size_t)(at - store));
        or_buffer_text(&url, at + strlen(mask) - 1);
    } else {
        or_buffer_text(&url, store);
    }
    char *made = or_buffer_steal(&url);
    or_buffer_finish(&url);
    return made;
}

static enum onerow_status open_target(struct replay *replay, struct target *target,
                                      struct onerow_error *error)
{
    bool configured = *target->config != '\0';
    target->url = configured ? NULL : unmasked_store(target->store);
    if (!configured && !target->url) {
        return or_fail(error, ONEROW_NOMEM, "out of memory");
    }
    struct or_config_flags flags = {
        .config = configured ? target->config : NULL,
        .store = target->url,
        .table = configured ? NULL : target->location,
        .key = configured ? NULL : target->key_spec,
        .on_conflict = configured ? NULL : target->policy,
        .coordinator = replay->options->coordinator,
    };
    const struct or_config_table *table = NULL;
    enum onerow_status status = or_config_load(&target->loaded, &flags, error);
    if (status == ONEROW_OK) {
        status = or_config_table(&target->loaded, configured ? target->table : target->location,
                                 &table, error);
    }
    struct or_table_options options = {.wait_ms = replay->options->wait_ms,
                                       .stop = replay->options->stop,
                                       .known = &replay->known};
    if (status != ONEROW_OK) {
        return status;
    }
    resolve_store(target, table);
    return or_table_open(&target->meant, &options, &target->open, error);
}

static enum onerow_status find_target(struct replay *replay, const struct or_letter *letter,
                                      struct onerow_error *error)
{
    replay->target = known_target(replay, letter);
    if (replay->target) {
        return replay->target->open ? ONEROW_OK
                                    : or_fail(error, ONEROW_CONFIG, "its table cannot be opened");
    }
    if (replay->n_targets == TARGETS_MAX) {
        return or_fail(error, ONEROW_CONFIG, "letters of more than %u tables; use --table",
                       TARGETS_MAX);
    }
    struct target *target = &replay->targets[replay->n_targets++];
    *target = (struct target){.config = keep(letter->config),
                              .store = keep(letter->store),
                              .table = keep(letter->table),
                              .location = keep(letter->location),
                              .key_spec = keep(letter->key_spec),
                              .policy = keep(letter->policy)};
    if (!target->config || !target->store || !target->table || !target->location ||
        !target->key_spec || !target->policy) {
        return or_fail(error, ONEROW_NOMEM, "out of memory");
    }
    replay->target = target;
    return open_target(replay, target, error);
}

/* ---- what this replay wrote -------------------------------------------------------------- */

static struct mine *find_mine(struct replay *replay, struct onerow_span key)
{
    struct mine *mine = NULL;
    HASH_FIND(hh, replay->mine, key.data, key.len, mine);
    return mine;
}

/* Forgetting one for want of memory only makes a later letter of the key stay. */
static void note_mine(struct replay *replay, struct onerow_span key, const char *state)
{
    struct mine *mine = find_mine(replay, key);
    if (!mine) {
        mine = calloc(1, sizeof *mine + key.len + 1);
        if (!mine) {
            return;
        }
        memcpy(mine->key, key.data, key.len);
        mine->len = key.len;
        HASH_ADD_KEYPTR(hh, replay->mine, mine->key, mine->len, mine);
        if (mine->lost) {
            free(mine);
            return;
        }
    }
    memcpy(mine->state, state, OR_ROW_STATE_LEN);
}

/* The key of `mine`: the canonical key behind the target's number. */
static struct onerow_span mine_key(const struct replay *replay, struct onerow_span key,
                                   struct or_arena *arena)
{
    const char *text = or_arena_printf(
        arena, "%zu %.*s", (size_t)(replay->target - replay->targets), (int)key.len, key.data);
    return or_span(text ? text : "");
}

/* ---- the guard ------------------------------------------------------------------------------ */

static bool as_it_was(struct replay *replay, struct onerow_span key)
{
    struct onerow_span then = replay->letter->row;
    if (replay->options->force ||
        (then.len ? same(replay->now, then) : same(replay->now, OR_SPAN("absent")))) {
        return true;
    }
    const struct mine *mine = find_mine(replay, key);
    return mine && strcmp(mine->state, replay->now) == 0;
}

struct guard {
    struct replay *replay;
    struct onerow_span key;
    bool made; /* by this replay, because another letter relates to it */
    bool changed;
};

static void guard_before(void *context, struct or_table *table, const struct onerow_record *record)
{
    struct guard *guard = context;
    struct replay *replay = guard->replay;
    or_row_state(table, record, replay->now);
    guard->made = table->pages && same("absent", replay->letter->row) &&
                  or_known_made(&replay->known, table, record->key, replay->now);
}

/* A row that is there is locked by reading it; where others write at the same time, one that was
 * not there may appear before the write. */
static bool appeared_meanwhile(const struct guard *guard, const struct onerow_verdict *verdict)
{
    return verdict->outcome == ONEROW_UPDATED && same(guard->replay->now, OR_SPAN("absent"));
}

static enum onerow_status guard_after(void *context, const struct onerow_verdict *verdict,
                                      struct onerow_error *error)
{
    struct guard *guard = context;
    if (verdict->outcome == ONEROW_UNCHANGED || verdict->outcome == ONEROW_REFUSED || guard->made ||
        (appeared_meanwhile(guard, verdict) ? guard->replay->options->force
                                            : as_it_was(guard->replay, guard->key))) {
        return ONEROW_OK;
    }
    guard->changed = true;
    return or_fail(error, ONEROW_REJECTED, "%s",
                   guard->replay->letter->row.len
                       ? "the row changed since; --force writes over it"
                       : "a row is there, and whether it changed since is not known; --force "
                         "writes over it");
}

/* ---- one letter --------------------------------------------------------------------------------
 */

static bool is_asked_for(const struct replay *replay, const struct or_letter *letter)
{
    const struct or_replay_options *options = replay->options;
    if (options->table && !same(options->table, letter->table)) {
        return false;
    }
    bool listed = options->n_ids == 0;
    for (size_t i = 0; i < options->n_ids && !listed; i++) {
        listed = same(options->ids[i], letter->id);
    }
    return listed;
}

static enum or_letter_fate stay(struct replay *replay, const char *reason)
{
    if (replay->options->stays) {
        replay->options->stays(replay->options->context, replay->letter, reason);
    }
    return OR_LETTER_STAYS;
}

static enum onerow_status read_record(const struct or_letter *letter, struct or_arena *arena,
                                      struct or_item *item, struct onerow_error *error)
{
    if (!letter->record.len) {
        return or_fail(error, ONEROW_REJECTED,
                       "it is no record that can be read; mend it: onerow "
                       "dlq export, then onerow put");
    }
    if (or_input_parse_json(letter->record, arena, item) != ONEROW_OK ||
        item->kind != OR_ITEM_RECORD) {
        return or_fail(error, ONEROW_REJECTED, "%s", item->reason ? item->reason : "unreadable");
    }
    for (size_t i = 0; letter->format.len && i < item->n_fields; i++) {
        if (item->fields[i].value.kind == ONEROW_TEXT) {
            item->fields[i].value.kind = ONEROW_UNTYPED;
        }
    }
    return ONEROW_OK;
}

static enum onerow_status put_letter(struct replay *replay, struct or_arena *arena,
                                     struct guard *guard, struct or_entry *entry,
                                     struct onerow_error *error)
{
    struct or_item item = {0};
    enum onerow_status status = read_record(replay->letter, arena, &item, error);
    if (status == ONEROW_OK) {
        status = find_target(replay, replay->letter, error);
    }
    if (status != ONEROW_OK) {
        return status;
    }
    struct or_table *table = replay->target->open;
    struct or_entry probe = {0};
    if (or_entry_bind(&probe, table, &item, arena) && probe.has_key) {
        guard->key = mine_key(replay, probe.record.key, arena);
    }
    struct or_drive_guard drive = {guard_before, guard_after, guard};
    status = or_single_put(table, &item, &drive, entry, arena, error);
    if (status == ONEROW_OK) {
        char state[OR_ROW_STATE_LEN];
        or_row_state(table, &entry->record, state);
        note_mine(replay, guard->key, state);
    }
    return status;
}

static enum or_letter_fate decide(void *context, const struct or_letter *letter)
{
    struct replay *replay = context;
    if (or_flag_is_set(replay->options->stop)) {
        replay->status = ONEROW_INTERRUPTED;
        return OR_LETTER_STOP;
    }
    if (!is_asked_for(replay, letter)) {
        return OR_LETTER_STAYS;
    }
    struct or_arena arena;
    struct guard guard = {.replay = replay};
    struct or_entry entry = {0};
    struct onerow_error error = {0};
    or_arena_init(&arena);
    replay->letter = letter;
    replay->stats->tried++;
    enum onerow_status status = put_letter(replay, &arena, &guard, &entry, &error);
    enum or_letter_fate fate = OR_LETTER_DONE;
    if (status == ONEROW_OK) {
        replay->stats->outcome[entry.outcome]++;
    } else {
        fate = stay(replay, error.text);
        replay->stats->changed += guard.changed;
        replay->stats->rejected += !guard.changed;
        bool goes_on = status == ONEROW_REJECTED || status == ONEROW_CONFIG;
        replay->status = or_status_worse(replay->status, goes_on ? ONEROW_LEFT : status);
        if (!goes_on) {
            *replay->error = error;
            fate = OR_LETTER_STOP;
        }
    }
    or_arena_finish(&arena);
    return fate;
}

enum onerow_status or_replay(const struct or_replay_options *options, struct or_replay_stats *stats,
                             struct onerow_error *error)
{
    struct onerow_error unwanted;
    struct replay *replay = calloc(1, sizeof *replay);
    *stats = (struct or_replay_stats){0};
    if (!replay) {
        return or_fail(error, ONEROW_NOMEM, "out of memory");
    }
    replay->options = options;
    replay->known.states = true;
    replay->stats = stats;
    replay->error = error ? error : &unwanted;
    enum onerow_status status =
        or_letters_settle(options->folder, decide, replay, &stats->held, error);
    status = or_status_worse(status, replay->status);
    for (size_t i = 0; i < replay->n_targets; i++) {
        finish_target(&replay->targets[i]);
    }
    or_known_finish(&replay->known);
    struct mine *mine = NULL;
    struct mine *next = NULL;
    HASH_ITER(hh, replay->mine, mine, next)
    {
        HASH_DEL(replay->mine, mine); /* NOLINT(clang-analyzer-unix.Malloc): follows no list */
        free(mine);
    }
    free(replay);
    return status == ONEROW_OK && stats->held ? ONEROW_LEFT : status;
}
