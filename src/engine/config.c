/* SPDX-License-Identifier: Apache-2.0
 *
 * The configuration: its file, the command line's flags, and what is asked of it.
 *
 * --store, --table and --key together say what an entry under `tables:` would.
 * They add one table to those of the file; its place has line 0. When --store is
 * absent, $DATABASE_URL stands in for it. A table of the same name in the file is
 * refused, because either of the two would silently win.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/status.h"
#include "base/text.h"
#include "coordinator/coordinator.h"
#include "core/key.h"
#include "engine/config_internal.h"

#define DEFAULT_FILE "onerow.yaml"
#define LISTED_MAX   20U /* names in a message */

/* ---- the file ------------------------------------------------------------------ */

static enum onerow_status fail_file(struct onerow_error *error, const char *path, const char *why)
{
    return or_fail(error, ONEROW_CONFIG, "%s: %s", OR_SHOW(or_span(path)), why);
}

/* Reads all of it; a pipe has no size to ask for. */
static enum onerow_status read_text(int file, const char *path, struct or_buffer *text,
                                    struct onerow_error *error)
{
    char block[16 * 1024];
    while (text->len <= OR_CONFIG_FILE_MAX) {
        ssize_t got = read(file, block, sizeof block);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return fail_file(error, path, strerror(errno));
        }
        if (got == 0) {
            return text->failed ? or_config_nomem(error) : ONEROW_OK;
        }
        or_buffer_add(text, block, (size_t)got);
        if (text->failed) {
            return or_config_nomem(error);
        }
    }
    return fail_file(error, path, "longer than 1 MiB, which no configuration needs");
}

static enum onerow_status load_open_file(struct or_config *config, int file, const char *path,
                                         struct onerow_error *error)
{
    config->path = or_arena_copy(&config->arena, or_span(path)).data;
    if (!config->path) {
        return or_config_nomem(error);
    }
    struct or_buffer text;
    or_buffer_init(&text);
    enum onerow_status status = read_text(file, path, &text, error);
    if (status == ONEROW_OK) {
        status = or_config_read_yaml(config, or_buffer_view(&text), error);
    }
    or_buffer_finish(&text);
    return status;
}

/* `required` false: a file that does not exist is an empty configuration. */
static enum onerow_status load_file(struct or_config *config, const char *path, bool required,
                                    struct onerow_error *error)
{
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (file < 0 && errno == ENOENT) {
        return required ? fail_file(error, path,
                                    "there is no such file; give --config an existing one, or "
                                    "write one with: onerow init STORE-URL")
                        : ONEROW_OK;
    }
    if (file < 0) {
        return fail_file(error, path, strerror(errno));
    }
    enum onerow_status status = load_open_file(config, file, path, error);
    close(file);
    return status;
}

/* ---- the command line ------------------------------------------------------------ */

static enum onerow_status check_flags(const struct or_config_flags *flags,
                                      struct onerow_error *error)
{
    if (flags->table && flags->key) {
        return ONEROW_OK;
    }
    if (flags->table) {
        return or_fail(error, ONEROW_USAGE,
                       "command line: --table is given without --key; give --key COLUMN[,COLUMN…] "
                       "as well, or name a table of onerow.yaml without --table");
    }
    if (flags->key) {
        return or_fail(error, ONEROW_USAGE,
                       "command line: --key is given without --table; give --table NAME as well");
    }
    if (flags->store || flags->on_conflict) {
        return or_fail(error, ONEROW_USAGE,
                       "command line: %s is given without --table and --key; give --table NAME and "
                       "--key COLUMN[,COLUMN…] as well",
                       flags->store ? "--store" : "--on-conflict");
    }
    return ONEROW_OK;
}

static struct or_site flag_site(struct or_config *config, const char *flag,
                                struct onerow_error *error)
{
    return (struct or_site){config, error, {0}, flag, ONEROW_USAGE};
}

/* A flag's text, copied into the configuration. */
static enum onerow_status flag_text(const struct or_site *site, struct onerow_span flag,
                                    struct or_text *text)
{
    text->value = or_arena_copy(&site->config->arena, flag);
    text->raw = text->value;
    return text->value.data ? or_value_check(site, text) : or_config_nomem(site->error);
}

/* The store that --store or $DATABASE_URL names. */
static enum onerow_status flag_store(struct or_config *config, const struct or_config_flags *flags,
                                     struct or_config_store *store, struct onerow_error *error)
{
    const char *variable = getenv("DATABASE_URL");
    struct or_site site = flag_site(config, "--store", error);
    struct or_text text;
    *store = (struct or_config_store){.name = "--store", .bounds = OR_BOUNDS_DEFAULT};
    if (flags->store) {
        enum onerow_status status = flag_text(&site, or_span(flags->store), &text);
        return status == ONEROW_OK ? or_value_url(&site, &text, &store->url) : status;
    }
    if (!variable || !*variable) {
        return or_site_fail(&site, "is missing, and DATABASE_URL is not set; give --store URL, "
                                   "such as --store sqlite:app.db");
    }
    store->name = site.path = "$DATABASE_URL";
    site.status = ONEROW_CONFIG;
    text.raw = or_span(store->name);
    text.value = or_arena_copy(&config->arena, or_span(variable));
    return text.value.data ? or_value_url(&site, &text, &store->url) : or_config_nomem(error);
}

static enum onerow_status flag_coordinator(struct or_config *config, const char *flag,
                                           struct onerow_error *error)
{
    struct or_site site = flag_site(config, "--coordinator", error);
    struct or_text text;
    enum onerow_status status = flag_text(&site, or_span(flag), &text);
    if (status == ONEROW_OK) {
        status = or_value_url(&site, &text, &config->coordinator);
    }
    return status == ONEROW_OK ? or_value_coordinator(&site, config->coordinator) : status;
}

/* One `name` or `name:type` of --key. */
static enum onerow_status flag_column(const struct or_site *site, struct onerow_span part,
                                      struct onerow_key_column *column)
{
    const char *colon = part.len ? memrchr(part.data, ':', part.len) : NULL;
    struct onerow_span name = {part.data, colon ? (size_t)(colon - part.data) : part.len};
    struct or_text text;
    enum onerow_status status = flag_text(site, or_span_trim(name), &text);
    if (status != ONEROW_OK) {
        return status;
    }
    *column = (struct onerow_key_column){.name = text.value.data};
    if (!colon) {
        return ONEROW_OK;
    }
    struct onerow_span type =
        or_span_trim((struct onerow_span){colon + 1, part.len - name.len - 1});
    text = (struct or_text){.raw = type, .value = type};
    struct onerow_error why = {0};
    struct or_site listed = *site;
    listed.error = site->error ? &why : NULL;
    status = or_value_type(&listed, &text, &column->type);
    if (status != ONEROW_OK) {
        or_fail(site->error, status,
                "%s. A column whose name holds a colon is named in onerow.yaml: key: [{column: "
                "\"%s\"}]",
                why.text, OR_SHOW(part));
    }
    return status;
}

static enum onerow_status flag_key(struct or_config *config, const char *flag,
                                   struct onerow_table_spec *spec, struct onerow_error *error)
{
    struct or_site site = flag_site(config, "--key", error);
    struct or_key_draft draft = {.n = 0};
    struct or_text whole;
    /* An expression holds commas, so it is looked for before the list is taken apart. */
    enum onerow_status status = flag_text(&site, or_span(flag), &whole);
    if (status == ONEROW_OK) {
        status = or_value_key_column(&site, &whole);
    }
    for (const char *part = flag; part && status == ONEROW_OK;) {
        const char *end = strchrnul(part, ',');
        struct onerow_key_column column;
        struct onerow_span name = or_span_trim((struct onerow_span){part, (size_t)(end - part)});
        status = name.len ? flag_column(&site, name, &column)
                          : or_site_fail(&site, "a column's name is empty; write "
                                                "COLUMN[,COLUMN…]");
        if (status == ONEROW_OK) {
            status = or_key_draft_add(&site, &draft, &column);
        }
        part = *end ? end + 1 : NULL;
    }
    return status == ONEROW_OK ? or_key_draft_finish(&site, &draft, spec) : status;
}

static enum onerow_status flag_policy(struct or_config *config, const char *flag,
                                      struct onerow_table_spec *spec, struct onerow_error *error)
{
    struct or_site site = flag_site(config, "--on-conflict", error);
    struct or_text text;
    enum onerow_status status = flag_text(&site, or_span(flag), &text);
    return status == ONEROW_OK ? or_value_policy(&site, &text, spec) : status;
}

static const struct or_config_table *find_table(const struct or_config *config, const char *name)
{
    for (size_t i = 0; i < config->n_tables; i++) {
        if (strcmp(config->tables[i].spec.name, name) == 0) {
            return &config->tables[i];
        }
    }
    return NULL;
}

/* --table: the configured name and the location in one. */
static enum onerow_status flag_name(struct or_config *config, const char *flag,
                                    struct onerow_table_spec *spec, struct onerow_error *error)
{
    struct or_site site = flag_site(config, "--table", error);
    struct or_text text;
    enum onerow_status status = flag_text(&site, or_span(flag), &text);
    if (status != ONEROW_OK) {
        return status;
    }
    spec->name = spec->location = text.value.data;
    const struct or_config_table *same = find_table(config, flag);
    site.status = ONEROW_CONFIG;
    return same ? or_site_fail(&site,
                               "%s is a table of %s (line %u), too; use one of both: leave out "
                               "--store, --table and --key, or give another name",
                               OR_SHOW(or_span(flag)), config->path, same->place.line)
                : ONEROW_OK;
}

/* An array with one more element, in the arena; the old one stays as it is. */
static void *grown(struct or_arena *arena, const void *old, size_t n, size_t size, const void *more)
{
    char *new = or_arena_alloc(arena, (n + 1) * size);
    if (!new) {
        return NULL;
    }
    if (n) {
        memcpy(new, old, n * size);
    }
    memcpy(new + n *size, more, size);
    return new;
}

static enum onerow_status add_table(struct or_config *config, const struct or_config_store *store,
                                    const struct or_config_table *table, struct onerow_error *error)
{
    struct or_config_store *stores =
        grown(&config->arena, config->stores, config->n_stores, sizeof *stores, store);
    struct or_config_table *tables =
        grown(&config->arena, config->tables, config->n_tables, sizeof *tables, table);
    if (!stores || !tables) {
        return or_config_nomem(error);
    }
    for (size_t i = 0; i < config->n_tables; i++) {
        tables[i].store = &stores[tables[i].store - config->stores];
    }
    tables[config->n_tables++].store = &stores[config->n_stores++];
    config->stores = stores;
    config->tables = tables;
    return ONEROW_OK;
}

static enum onerow_status add_flags(struct or_config *config, const struct or_config_flags *flags,
                                    struct onerow_error *error)
{
    struct or_config_store store;
    struct or_config_table table = {0};
    enum onerow_status status = flag_name(config, flags->table, &table.spec, error);
    if (status == ONEROW_OK) {
        status = flag_store(config, flags, &store, error);
    }
    if (status == ONEROW_OK) {
        status = flag_key(config, flags->key, &table.spec, error);
    }
    if (status == ONEROW_OK && flags->on_conflict) {
        status = flag_policy(config, flags->on_conflict, &table.spec, error);
    }
    return status == ONEROW_OK ? add_table(config, &store, &table, error) : status;
}

/* ---- coordinators ------------------------------------------------------------------- */

/* A table's own ledger, or the file's, or the coordinator that serves everything. */
static void hand_down_coordinators(struct or_config *config)
{
    const char *ledger = config->ledger ? config->ledger : config->coordinator;
    for (size_t i = 0; i < config->n_tables; i++) {
        struct or_config_table *table = &config->tables[i];
        table->ledger = table->ledger ? table->ledger : ledger;
        table->coordinator = config->coordinator;
    }
}

/* ---- relations ------------------------------------------------------------------------- */

static enum onerow_status fail_relation(struct or_config *config,
                                        const struct or_config_relation *relation,
                                        struct onerow_error *error)
{
    struct or_site site = {config, error, relation->place, relation->path, ONEROW_CONFIG};
    struct or_nearest nearest = {.word = or_span(relation->name)};
    for (size_t i = 0; i < config->n_tables; i++) {
        or_nearest_try(&nearest, config->tables[i].spec.name);
    }
    return or_site_fail(
        &site, "there is no table \"%s\"" OR_NEAREST_FORMAT "Name one of those under tables:",
        OR_SHOW(nearest.word), OR_NEAREST_ARGS(nearest));
}

/* Finds the tables that relations name; now, because a later table may be meant. */
static enum onerow_status link_relations(struct or_config *config, struct or_config_table *table,
                                         struct onerow_error *error)
{
    struct or_config_relation *linked =
        or_arena_alloc(&config->arena, (table->n_relations + 1) * sizeof *linked);
    if (!linked) {
        return or_config_nomem(error);
    }
    for (size_t i = 0; i < table->n_relations; i++) {
        linked[i] = table->relations[i];
        linked[i].target = find_table(config, linked[i].name);
        linked[i].where =
            or_arena_printf(&config->arena, "%s:%u:%u: %s", config->path, linked[i].place.line,
                            linked[i].place.column, linked[i].path);
        if (!linked[i].target) {
            return fail_relation(config, &linked[i], error);
        }
        if (!linked[i].where) {
            return or_config_nomem(error);
        }
    }
    table->relations = linked;
    return ONEROW_OK;
}

static enum onerow_status link_tables(struct or_config *config, struct onerow_error *error)
{
    enum onerow_status status = ONEROW_OK;
    for (size_t i = 0; i < config->n_tables && status == ONEROW_OK; i++) {
        status = link_relations(config, &config->tables[i], error);
    }
    return status;
}

/* ---- entry points ------------------------------------------------------------------- */

enum onerow_status or_config_load(struct or_config *config, const struct or_config_flags *flags,
                                  struct onerow_error *error)
{
    *config = (struct or_config){0};
    or_arena_init(&config->arena);
    enum onerow_status status = check_flags(flags, error);
    if (status == ONEROW_OK && flags->config) {
        status = load_file(config, flags->config, true, error);
    } else if (status == ONEROW_OK && !flags->store && !flags->no_file) {
        status = load_file(config, DEFAULT_FILE, false, error);
    }
    status = status == ONEROW_OK && flags->table ? add_flags(config, flags, error) : status;
    if (status == ONEROW_OK && flags->coordinator) {
        status = flag_coordinator(config, flags->coordinator, error);
    }
    if (status == ONEROW_OK) {
        hand_down_coordinators(config);
        status = link_tables(config, error);
    }
    return status;
}

void or_config_finish(struct or_config *config)
{
    or_arena_finish(&config->arena);
    *config = (struct or_config){0};
}

/* The table that no name is needed for: --table's, or the only one. */
static const struct or_config_table *default_table(const struct or_config *config)
{
    for (size_t i = 0; i < config->n_tables; i++) {
        if (config->tables[i].place.line == 0) {
            return &config->tables[i];
        }
    }
    return config->n_tables == 1 ? config->tables : NULL;
}

static void add_names(const struct or_config *config, struct or_buffer *names)
{
    for (size_t i = 0; i < config->n_tables && i < LISTED_MAX; i++) {
        or_buffer_printf(names, "%s%s", i ? ", " : "",
                         OR_SHOW(or_span(config->tables[i].spec.name)));
    }
    if (config->n_tables > LISTED_MAX) {
        or_buffer_printf(names, " and %zu more", config->n_tables - LISTED_MAX);
    }
}

static enum onerow_status fail_no_table(const struct or_config *config, const char *name,
                                        struct onerow_error *error)
{
    const char *path = config->path ? OR_SHOW(or_span(config->path)) : "";
    if (config->n_tables == 0) {
        return or_fail(error, ONEROW_CONFIG,
                       "%s%s; give --store URL --table NAME --key COLUMN, or write onerow.yaml "
                       "with: onerow init STORE-URL",
                       config->path ? path
                                    : "no table is configured: there is no " DEFAULT_FILE " here",
                       config->path ? ": no table is configured" : "");
    }
    struct or_nearest nearest = {.word = or_span(name)};
    for (size_t i = 0; name && i < config->n_tables; i++) {
        or_nearest_try(&nearest, config->tables[i].spec.name);
    }
    struct or_buffer names;
    or_buffer_init(&names);
    add_names(config, &names);
    enum onerow_status status =
        name ? or_fail(error, ONEROW_CONFIG,
                       "%s%sthere is no table \"%s\"" OR_NEAREST_FORMAT "The tables are %s", path,
                       *path ? ": " : "", OR_SHOW(or_span(name)), OR_NEAREST_ARGS(nearest),
                       or_buffer_cstr(&names))
             : or_fail(error, ONEROW_CONFIG, "%s%sname one of its tables: %s", path,
                       *path ? ": " : "", or_buffer_cstr(&names));
    or_buffer_finish(&names);
    return status;
}

enum onerow_status or_config_table(const struct or_config *config, const char *name,
                                   const struct or_config_table **table, struct onerow_error *error)
{
    *table = name ? find_table(config, name) : default_table(config);
    return *table ? ONEROW_OK : fail_no_table(config, name, error);
}

static enum onerow_status fail_no_ledger(const struct or_config_table *config,
                                         struct onerow_error *error)
{
    bool in_file = config->place.line != 0;
    return or_fail(error, ONEROW_CONFIG,
                   "table \"%s\": its store takes a second row with the same key, and there is no "
                   "ledger on which all writers could agree\n  for writers on this host only: "
                   "%ssqlite:onerow-ledger.db\n  for writers on several hosts: "
                   "%spostgres://HOST/DATABASE%s",
                   config->spec.name, in_file ? "coordinator: " : "--coordinator ",
                   in_file ? "coordinator: " : "--coordinator ",
                   in_file ? "\n  add one of these lines to the configuration" : "");
}

enum onerow_status or_config_check_ledger(const struct or_config_table *config,
                                          struct onerow_error *error)
{
    if (!config->ledger) {
        return fail_no_ledger(config, error);
    }
    const struct onerow_coordinator_type *type = or_coordinator_type_of(config->ledger);
    return type && type->forgets
               ? or_fail(
                     error, ONEROW_CONFIG,
                     "table \"%s\": a ledger in %s is forgotten when the process ends, and what "
                     "it had begun would be begun a second time\n  name another one: "
                     "coordinator: sqlite:onerow-ledger.db",
                     config->spec.name, config->ledger)
               : ONEROW_OK;
}

void or_config_coordinator_text(const char *url, struct or_buffer *out)
{
    const struct onerow_coordinator_type *type = or_coordinator_type_of(url);
    or_url_mask(url, out);
    or_buffer_printf(out, " (%s)", type ? type->summary : "");
}

bool or_config_is_secret(const struct or_config_table *table, struct onerow_span column)
{
    for (const char *const *secret = table->secrets; secret && *secret; secret++) {
        if (or_ascii_equal_fold(or_span(*secret), column)) {
            return true;
        }
    }
    return false;
}

void or_config_key_text(const struct onerow_table_spec *spec, struct or_buffer *out)
{
    for (size_t i = 0; i < spec->n_key; i++) {
        const struct onerow_key_column *column = &spec->key[i];
        bool typed = column->type != ONEROW_TYPE_UNKNOWN;
        or_buffer_printf(out, "%s%s%s%s", i ? "," : "", column->name, typed ? ":" : "",
                         typed ? or_type_name(column->type) : "");
    }
}

void or_config_policy_text(const struct onerow_table_spec *spec, struct or_buffer *out)
{
    switch (spec->policy) {
    case ONEROW_POLICY_UPDATE: or_buffer_text(out, "update"); break;
    case ONEROW_POLICY_KEEP: or_buffer_text(out, "keep"); break;
    case ONEROW_POLICY_NEWEST: or_buffer_printf(out, "newest(%s)", spec->order_column); break;
    }
}
