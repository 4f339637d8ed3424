/* SPDX-License-Identifier: Apache-2.0
 *
 * The workspace: databases, their data sources, pages, blocks, users. Everything that has an id
 * begins with a struct or_nsim_object and is found by it. See the top of nsim_model.c.
 */
#ifndef OR_NOTION_SIM_NSIM_MODEL_H
#define OR_NOTION_SIM_NSIM_MODEL_H

#define HASH_NONFATAL_OOM     0
#define uthash_fatal(message) or_nsim_no_memory()
#include <uthash.h>

#include "notion_sim/nsim.h"
#include "notion_sim/nsim_memory.h"
#include "sim/rng.h"

#define OR_NSIM_ID      37U /* a UUID with dashes, and NUL */
#define OR_NSIM_TIME    25U /* 2024-02-29T23:59:59.123Z, and NUL */
#define OR_NSIM_OLD_MAX 64U /* versions of a page that lagging queries may still see */

/* Property types: name in the API, whether a request may write it, the kind of its filters. */
#define OR_NSIM_TYPE_MAP(X)                                                                        \
    X(TITLE, "title", true, TEXT)                                                                  \
    X(RICH_TEXT, "rich_text", true, TEXT)                                                          \
    X(NUMBER, "number", true, NUMBER)                                                              \
    X(URL, "url", true, TEXT)                                                                      \
    X(SELECT, "select", true, OPTION)                                                              \
    X(MULTI_SELECT, "multi_select", true, LIST)                                                    \
    X(PEOPLE, "people", true, LIST)                                                                \
    X(EMAIL, "email", true, TEXT)                                                                  \
    X(PHONE, "phone_number", true, TEXT)                                                           \
    X(DATE, "date", true, DATE)                                                                    \
    X(CHECKBOX, "checkbox", true, CHECKBOX)                                                        \
    X(RELATION, "relation", true, LIST)                                                            \
    X(FILES, "files", true, NONE)                                                                  \
    X(STATUS, "status", true, OPTION)                                                              \
    X(FORMULA, "formula", false, NONE)                                                             \
    X(ROLLUP, "rollup", false, NONE)                                                               \
    X(UNIQUE_ID, "unique_id", false, NUMBER)                                                       \
    X(CREATED_TIME, "created_time", false, DATE)                                                   \
    X(CREATED_BY, "created_by", false, LIST)                                                       \
    X(EDITED_TIME, "last_edited_time", false, DATE)                                                \
    X(EDITED_BY, "last_edited_by", false, LIST)

enum or_nsim_type {
#define OR_NSIM_TYPE_ENUM(name, text, writable, filter) OR_NSIM_##name,
    OR_NSIM_TYPE_MAP(OR_NSIM_TYPE_ENUM)
#undef OR_NSIM_TYPE_ENUM
        OR_NSIM_TYPES
};

enum or_nsim_filter_kind {
    OR_NSIM_FILTER_NONE,
    OR_NSIM_FILTER_TEXT,
    OR_NSIM_FILTER_NUMBER,
    OR_NSIM_FILTER_OPTION,
    OR_NSIM_FILTER_LIST,
    OR_NSIM_FILTER_DATE,
    OR_NSIM_FILTER_CHECKBOX,
};

const char *or_nsim_type_name(enum or_nsim_type type);
bool or_nsim_type_writable(enum or_nsim_type type);
enum or_nsim_filter_kind or_nsim_type_filter(enum or_nsim_type type);
/* OR_NSIM_TYPES: there is none of this name. */
enum or_nsim_type or_nsim_type_of(struct onerow_span name);

enum or_nsim_kind { OR_NSIM_PAGE, OR_NSIM_DATABASE, OR_NSIM_SOURCE, OR_NSIM_BLOCK };

struct or_nsim_token;

struct or_nsim_object {
    char id[OR_NSIM_ID];
    enum or_nsim_kind kind;
    bool in_trash;
    bool unshared;                 /* the API does not see it */
    struct or_nsim_object *parent; /* NULL: the workspace */
    uint64_t created_ms;
    uint64_t edited_ms;
    const struct or_nsim_token *created_by;
    const struct or_nsim_token *edited_by;
    char *icon;  /* JSON as it was given, or NULL */
    char *cover; /* likewise */
    /* blocks, and pages and databases that lie among them, in their order */
    struct or_nsim_object **children;
    size_t n_children;
    size_t room;
    UT_hash_handle hh;
};

struct or_nsim_option {
    char id[OR_NSIM_ID];
    char *name;
    const char *color; /* static */
};

struct or_nsim_property {
    char id[16];
    char *name;
    enum or_nsim_type type;
    size_t slot; /* of its values; never used again when the property goes */
    bool gone;
    char *extra; /* select's prefix, number's format, a formula's expression: JSON text or NULL */
    struct or_nsim_option *options;
    size_t n_options;
    size_t options_room;
    char related[OR_NSIM_ID]; /* relation: the other data source */
};

/* What a property holds on one page. Never changed: a write makes a new one. */
struct or_nsim_value {
    unsigned refs;
    char *text;                /* plain text, url, a date's beginning; NULL: empty */
    char *fold;                /* the text in lower case, for filters */
    char *json;                /* rich text and dates as the API answers them */
    double number;             /* number, checkbox */
    bool set;                  /* there is a number */
    char (*items)[OR_NSIM_ID]; /* options, related pages, people */
    size_t n_items;
};

struct or_nsim_version {
    struct or_nsim_value **values; /* by slot; NULL: empty */
    size_t n_values;
    bool in_trash;
    uint64_t from_ms;
    struct or_nsim_version *older;
};

/* What is known of one key: a property's text that tells pages apart. */
struct or_nsim_key {
    char *text;
    uint64_t creates; /* pages that were created with it */
    uint64_t taken;   /* pages that came to carry it, created or changed */
    uint64_t live;    /* pages that carry it and are not in the trash */
    uint64_t most;    /* the most that were at one moment */
    uint64_t most_ms; /* when that was first reached */
    uint64_t first_ms;
    UT_hash_handle hh;
};

struct or_nsim_source {
    struct or_nsim_object o; /* parent: its database */
    char *title;             /* rich text as it is answered */
    char *name;              /* its plain text */
    struct or_nsim_property *properties;
    size_t n_properties;
    size_t room;
    size_t n_slots;
    struct or_nsim_page **rows; /* by id, so that pages come in no useful order */
    size_t n_rows;
    size_t rows_room;
    uint64_t numbered;        /* the last unique id */
    char *key_name;           /* property that tells pages apart; NULL: the title */
    struct or_nsim_key *keys; /* hash by text */
    uint64_t duplicated;      /* keys that ever had more than one live page */
};

struct or_nsim_page {
    struct or_nsim_object o;
    struct or_nsim_source *source; /* of its properties; for a page outside of data sources a plain
                                      one that has only a title */
    struct or_nsim_version *now;
    uint64_t number;         /* its unique id */
    bool is_locked;          /* against people, not against the API */
    struct or_nsim_key *key; /* the one among whose pages it counts */
};

struct or_nsim_database {
    struct or_nsim_object o;
    char *title;       /* rich text as it is answered */
    char *description; /* likewise */
    char *name;
    bool is_inline;
    struct or_nsim_source **sources;
    size_t n_sources;
    size_t room;
};

struct or_nsim_block {
    struct or_nsim_object o;
    const char *type; /* static */
    char *content;    /* JSON of what stands under the type's name */
};

struct or_nsim_model {
    struct or_nsim_object *objects; /* hash by id */
    struct or_nsim_source *plain;   /* properties of pages outside of data sources */
    struct sim_rng ids;
    uint64_t n_pages;
};

void or_nsim_model_init(struct or_nsim_model *model, uint64_t seed);
void or_nsim_model_finish(struct or_nsim_model *model);

void or_nsim_new_id(struct sim_rng *rng, char id[OR_NSIM_ID]);
/* With or without dashes, in any case; false: the text is no id. */
ONEROW_CHECKED bool or_nsim_read_id(struct onerow_span text, char id[OR_NSIM_ID]);

struct or_nsim_object *or_nsim_find(struct or_nsim_model *model, const char *id);

/* Each is entered under the id in *o, which is a new one when it is empty. */
struct or_nsim_page *or_nsim_add_page(struct or_nsim_model *model, const struct or_nsim_object *o,
                                      struct or_nsim_source *source,
                                      struct or_nsim_version *version);
struct or_nsim_database *or_nsim_add_database(struct or_nsim_model *model,
                                              const struct or_nsim_object *o);
struct or_nsim_source *or_nsim_add_source(struct or_nsim_model *model,
                                          const struct or_nsim_object *o);
/* Behind the child `after`; NULL: at the end. */
struct or_nsim_block *or_nsim_add_block(struct or_nsim_model *model, const struct or_nsim_object *o,
                                        const struct or_nsim_object *after, bool first);
/* A page is gone for good: neither found nor counted. */
void or_nsim_purge(struct or_nsim_model *model, struct or_nsim_page *page, uint64_t now_ms);

/* Owned by the source until its next change; NULL: there is none. By id, or else by name. */
struct or_nsim_property *or_nsim_property_of(const struct or_nsim_source *source,
                                             struct onerow_span name);
/* Whether the text is the property's id (as it is, or decoded from URL encoding) or its name. */
bool or_nsim_property_is(const struct or_nsim_property *property, struct onerow_span text);
struct or_nsim_property *or_nsim_title_of(const struct or_nsim_source *source);
struct or_nsim_property *or_nsim_add_property(struct or_nsim_model *model,
                                              struct or_nsim_source *source, const char *name,
                                              enum or_nsim_type type);
/* The option of this id, or NULL. */
const struct or_nsim_option *or_nsim_option_by_id(const struct or_nsim_property *property,
                                                  const char *id);
const struct or_nsim_option *or_nsim_option_by_name(const struct or_nsim_property *property,
                                                    struct onerow_span name);
const struct or_nsim_option *or_nsim_add_option(struct or_nsim_model *model,
                                                struct or_nsim_property *property,
                                                struct onerow_span name, const char *color);

struct or_nsim_value *or_nsim_value_new(void); /* with one reference */
struct or_nsim_value *or_nsim_value_ref(struct or_nsim_value *value);
void or_nsim_value_unref(struct or_nsim_value *value); /* NULL is accepted */
const struct or_nsim_value *or_nsim_value_of(const struct or_nsim_version *version,
                                             const struct or_nsim_property *property);

/* A version with the same values as `from` (NULL: none), to be changed and then given to a page. */
struct or_nsim_version *or_nsim_version_new(const struct or_nsim_version *from, size_t n_slots);
void or_nsim_version_free(struct or_nsim_version *version);
/* Takes the value's reference. */
void or_nsim_version_set(struct or_nsim_version *version, const struct or_nsim_property *property,
                         struct or_nsim_value *value);
/* The page has this version from now on; counts its key. */
void or_nsim_change(struct or_nsim_page *page, struct or_nsim_version *version, uint64_t now_ms);
/* Of anything; a page gets a version. */
void or_nsim_set_trash(struct or_nsim_object *object, bool trash, uint64_t now_ms);
/* What the page was at a time; NULL: it was not there. */
const struct or_nsim_version *or_nsim_version_at(const struct or_nsim_page *page, uint64_t at_ms);

char *or_nsim_key_text(const struct or_nsim_page *page); /* owned; NULL: none */

/* ---- text --------------------------------------------------------------------------------- */

size_t or_nsim_utf16_length(struct onerow_span text);
OR_NSIM_THERE char *or_nsim_fold(struct onerow_span text);
/* To the minute below, as Notion does; or to the millisecond. */
void or_nsim_time_minute(uint64_t ms, char text[OR_NSIM_TIME]);
void or_nsim_time_exact(uint64_t ms, char text[OR_NSIM_TIME]);
/* ISO 8601, a date or a date and time: in ms since 1970 UTC. `day` (may be NULL): it has no time.
 */
ONEROW_CHECKED bool or_nsim_read_time(struct onerow_span text, int64_t *ms, bool *day);

#endif
