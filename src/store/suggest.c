/* SPDX-License-Identifier: Apache-2.0
 *
 * The tables of `onerow init` as YAML, whatever the store.
 *
 * Each suggestion is tried by opening the table, and what that says against it becomes a
 * comment: the one who edits the file should not have to run into it first.
 *
 * The file can be loaded as it is, whatever the database holds. Names are text that anybody
 * may have chosen: in values ${ is escaped, in comments whatever ends a line is replaced,
 * and a table that the configuration cannot name, or that has no key yet, is a comment.
 */
#include <string.h>

#include "base/arena.h"
#include "base/status.h"
#include "base/text.h"
#include "store/suggest.h"

/* What a configuration holds at most; a little less than its loader takes. */
#define TABLES_MAX 4000U
#define BYTES_MAX  1000000U

struct suggestion {
    const char *name;
    const char *location;
    struct onerow_key_column key[ONEROW_KEY_COLUMNS_MAX];
    size_t n;
};

struct suggestions {
    struct onerow_store *store;
    const char *store_name; /* in the configuration */
    struct or_arena *arena;
    const char **names; /* of the tables so far */
    size_t n;
    struct or_buffer *yaml;
    struct onerow_error *error;
};

/* ---- text of the database in YAML -------------------------------------------------------- */

/* Length of the character at `at` if YAML takes it and nobody takes it for the end of a line. 0 for
 * C0, DEL, C1, U+2028, U+2029, U+FEFF, U+FFFE, U+FFFF and for what is no UTF-8. */
static size_t plain_step(struct onerow_span text, size_t at)
{
    static const char *const refused[] = {"\xe2\x80\xa8", "\xe2\x80\xa9", "\xef\xbb\xbf",
                                          "\xef\xbf\xbe", "\xef\xbf\xbf"};
    unsigned char byte = (unsigned char)text.data[at];
    size_t step = or_utf8_step(text, at);
    bool plain = byte >= 0x20 && byte != 0x7f;
    if (step == 2 && byte == 0xc2) {
        plain = (unsigned char)text.data[at + 1] >= 0xa0;
    }
    for (size_t i = 0; step == 3 && i < sizeof refused / sizeof *refused; i++) {
        plain = plain && memcmp(text.data + at, refused[i], 3) != 0;
    }
    return plain ? step : 0;
}

static bool is_plain(const char *name)
{
    struct onerow_span text = or_span(name);
    for (size_t at = 0; at < text.len;) {
        size_t step = plain_step(text, at);
        if (!step) {
            return false;
        }
        at += step;
    }
    return true;
}

void or_comment(struct or_buffer *out, struct onerow_span text)
{
    for (size_t at = 0; at < text.len;) {
        size_t step = or_utf8_step(text, at);
        char byte = text.data[at];
        char before = at ? text.data[at - 1] : ' ';
        bool slash = (before == '*' && byte == '/') || (before == '/' && byte == '*');
        if (plain_step(text, at) && !slash) {
            or_buffer_add(out, text.data + at, step);
        } else {
            or_buffer_char(out, '?');
        }
        at += step ? step : 1;
    }
}

/* Several lines as comments. */
static void add_comment(struct or_buffer *yaml, const char *indent, const char *text)
{
    while (*text) {
        size_t line = strcspn(text, "\n");
        or_buffer_printf(yaml, "%s# ", indent);
        or_comment(yaml, (struct onerow_span){text, line});
        or_buffer_char(yaml, '\n');
        text += line;
        text += *text == '\n';
    }
}

/* A value: ${ would be taken for a variable. */
static void add_value(struct or_buffer *yaml, const char *text)
{
    struct or_buffer literal;
    or_buffer_init(&literal);
    for (; *text; text++) {
        if (text[0] == '$' && text[1] == '{') {
            or_buffer_char(&literal, '$');
        }
        or_buffer_char(&literal, *text);
    }
    or_buffer_json(yaml, or_buffer_view(&literal));
    yaml->failed |= literal.failed;
    or_buffer_finish(&literal);
}

/* ---- the configured name ------------------------------------------------------------------ */

/* A name has no variables, and nothing to escape them by. Others may have the name by then: they
 * are told apart by what is put behind it, for which the copy has room. */
static char *without_variables(struct or_arena *arena, const char *name)
{
    size_t len = strlen(name);
    char *copy = or_arena_bytes(arena, len + 2);
    for (size_t i = 0; copy && i <= len; i++) {
        bool variable = i && name[i] == '{' && name[i - 1] == '$';
        copy[i] = (char)(variable ? '(' : name[i]);
    }
    return copy;
}

static bool is_taken(const struct suggestions *all, const char *name)
{
    for (size_t i = 0; i < all->n; i++) {
        if (strcmp(all->names[i], name) == 0) {
            return true;
        }
    }
    return false;
}

static const char *choose_name(const struct suggestions *all, const char *wanted)
{
    char *name = without_variables(all->arena, wanted);
    while (name && is_taken(all, name)) {
        memcpy(name + strlen(name), "_", sizeof "_");
        name = without_variables(all->arena, name);
    }
    return name;
}

/* ---- one table ---------------------------------------------------------------------------- */

static void add_key(struct or_buffer *yaml, const struct suggestion *table)
{
    or_buffer_text(yaml, "    key: [");
    for (size_t k = 0; k < table->n; k++) {
        /* "a:text" would be read as column a of a type. */
        bool mapping = table->key[k].nulls_equal || strchr(table->key[k].name, ':');
        or_buffer_text(yaml, k ? ", " : "");
        or_buffer_text(yaml, mapping ? "{ \"column\": " : "");
        add_value(yaml, table->key[k].name);
        or_buffer_text(yaml, table->key[k].nulls_equal ? ", \"nulls\": \"equal\"" : "");
        or_buffer_text(yaml, mapping ? " }" : "");
    }
    or_buffer_text(yaml, table->n ? "]\n" : "]   # no unique index: name the key's columns\n");
}

/* Why a configuration with this table could not be loaded; NULL: it can. */
static const char *not_loadable(const struct suggestion *table)
{
    bool plain = is_plain(table->location);
    bool expression = false;
    for (size_t k = 0; k < table->n; k++) {
        plain = plain && is_plain(table->key[k].name);
        expression |= strchr(table->key[k].name, '(') != NULL;
    }
    if (!plain) {
        return "left out: a name has a control character in it, which no configuration can hold";
    }
    if (expression) {
        return "left out: a key column has a \"(\" in its name, which is taken for an expression";
    }
    return table->n ? NULL : "left out, for it has no key yet:";
}

/* Only what speaks against the table goes into the file; that the server is gone does not. */
static enum onerow_status try_key(struct suggestions *all, const struct suggestion *table)
{
    struct onerow_table_spec spec = {
        .name = table->name, .location = table->location, .key = table->key, .n_key = table->n};
    struct onerow_store_table *opened = NULL;
    struct onerow_error why = {0};
    enum onerow_status status = all->store->type->table_open(all->store, &spec, &opened, &why);
    all->store->type->table_close(opened);
    if (status == ONEROW_CONFIG) {
        add_comment(all->yaml, "    ", why.text);
        return ONEROW_OK;
    }
    bool gone = status == ONEROW_ABSENT; /* since it was listed */
    return status == ONEROW_OK || gone ? ONEROW_OK : or_fail(all->error, status, "%s", why.text);
}

static void add_head(struct or_buffer *yaml, const struct suggestions *all,
                     const struct suggestion *table)
{
    or_buffer_text(yaml, "  ");
    or_buffer_json(yaml, or_span(table->name));
    or_buffer_text(yaml, ":\n    store: ");
    or_buffer_json(yaml, or_span(all->store_name));
    or_buffer_text(yaml, "\n    location: ");
    add_value(yaml, table->location);
    or_buffer_char(yaml, '\n');
}

/* The table as a comment, to be finished by hand. */
static void add_left_out(struct suggestions *all, const struct suggestion *table, const char *why)
{
    struct or_buffer entry;
    or_buffer_init(&entry);
    add_comment(all->yaml, "  ", why);
    add_head(&entry, all, table);
    add_key(&entry, table);
    for (const char *at = or_buffer_cstr(&entry); *at;) {
        size_t line = strcspn(at, "\n");
        or_buffer_text(all->yaml, "  # ");
        or_comment(all->yaml, (struct onerow_span){at + 2, line - 2});
        or_buffer_char(all->yaml, '\n');
        at += line + 1;
    }
    all->yaml->failed |= entry.failed;
    or_buffer_finish(&entry);
}

static enum onerow_status add_table(struct suggestions *all, struct suggestion *table)
{
    table->name = choose_name(all, table->name);
    if (!table->name) {
        return or_fail(all->error, ONEROW_NOMEM, "out of memory");
    }
    const char *why = not_loadable(table);
    if (why) {
        add_left_out(all, table, why);
        return ONEROW_OK;
    }
    all->names[all->n++] = table->name;
    add_head(all->yaml, all, table);
    enum onerow_status status = try_key(all, table);
    add_key(all->yaml, table);
    return status;
}

/* Whether there is room for one more; where there is none, the file says so once. */
static bool has_room(struct suggestions *all)
{
    if (all->n < TABLES_MAX && all->yaml->len <= BYTES_MAX) {
        return true;
    }
    add_comment(all->yaml, "  ",
                "and more, for which a file has no room: onerow init STORE-URL TABLE -o - suggests "
                "one of them");
    return false;
}

/* A key of more columns than onerow takes is none that could be suggested. */
static void take_column(struct suggestion *table, const struct or_suggested *row)
{
    if (row->column && table->n < ONEROW_KEY_COLUMNS_MAX) {
        table->key[table->n] =
            (struct onerow_key_column){.name = row->column, .nulls_equal = row->nulls_equal};
    }
    table->n += row->column != NULL;
}

static struct suggestion read_table(const struct or_suggested *rows, size_t n, size_t *at)
{
    const struct or_suggested *first = &rows[*at];
    struct suggestion table = {.name = first->name, .location = first->location};
    for (; *at < n && strcmp(rows[*at].location, first->location) == 0; (*at)++) {
        take_column(&table, &rows[*at]);
    }
    table.n = table.n <= ONEROW_KEY_COLUMNS_MAX ? table.n : 0;
    return table;
}

static enum onerow_status add_tables(struct suggestions *all, const struct or_suggested *rows,
                                     size_t n)
{
    enum onerow_status status = ONEROW_OK;
    for (size_t at = 0; at < n && status == ONEROW_OK && has_room(all);) {
        struct suggestion table = read_table(rows, n, &at);
        status = add_table(all, &table);
    }
    return status;
}

enum onerow_status or_suggest_tables(struct onerow_store *store, const char *store_name,
                                     const struct or_suggested *rows, size_t n,
                                     struct or_buffer *yaml, struct onerow_error *error)
{
    struct or_arena arena;
    or_arena_init(&arena);
    const char **names = or_arena_alloc(&arena, TABLES_MAX * sizeof *names);
    struct suggestions all = {.store = store,
                              .store_name = store_name,
                              .arena = &arena,
                              .names = names,
                              .yaml = yaml,
                              .error = error};
    enum onerow_status status =
        names ? add_tables(&all, rows, n) : or_fail(error, ONEROW_NOMEM, "out of memory");
    or_arena_finish(&arena);
    return status;
}
