/* SPDX-License-Identifier: Apache-2.0
 *
 * onerow for adapter authors: the store vtable and the shapes that cross it.
 * docs/ADD_A_STORE.md walks through an adapter; store_memory.c is the smallest.
 *
 * Division of labour. The engine parses, checks names, makes keys, sorts, folds,
 * retries, bisects and reports. An adapter knows one product: how to look at a
 * table, how to write a group of records in one transaction, and what the
 * product's errors mean. It never retries, never guesses: an error whose effect
 * it cannot tell is ONEROW_UNKNOWN.
 *
 * Threads: the engine calls one store from one thread at a time.
 */
#ifndef ONEROW_EXTEND_H
#define ONEROW_EXTEND_H

#include "onerow/onerow.h"

#ifdef __cplusplus
extern "C" {
#endif

struct or_arena;
struct or_buffer;

/* ---- values and records -------------------------------------------------- */

enum onerow_kind {
    ONEROW_NULL,
    ONEROW_BOOL,    /* text is "true" or "false" */
    ONEROW_NUMBER,  /* a JSON number, in the digits it was written with */
    ONEROW_TEXT,    /* UTF-8 without U+0000 */
    ONEROW_JSON,    /* an object or array, as compact JSON */
    ONEROW_UNTYPED, /* a CSV field: text that takes the column's type */
};

#define ONEROW_VALUE_MAX       (16U * 1024U * 1024U) /* bytes in one field */
#define ONEROW_COLUMNS_MAX     2000U /* SQLite's default limit, above PostgreSQL's 1,600 */
#define ONEROW_KEY_COLUMNS_MAX 16U
#define ONEROW_RELATED_MAX     100U /* pages that one value relates to */

struct onerow_value {
    const char *data; /* borrowed; not NUL-terminated; NULL only for ONEROW_NULL */
    uint32_t len;
    uint16_t column; /* index into the table's columns */
    uint8_t kind;    /* enum onerow_kind */
};

/* A record ready for a store. values[0 .. n_key) are the key's parts in the key's
 * order, already in canonical text: ONEROW_TEXT for text, date, timestamp and uuid,
 * ONEROW_NUMBER for int and decimal, ONEROW_BOOL, ONEROW_NULL. The others follow,
 * by rising column. */
struct onerow_record {
    const struct onerow_value *values;
    uint16_t n_values;
    struct onerow_span key; /* canonical form k1 (docs/KEYS.md) */
};

/* What a store says of one record. */
struct onerow_verdict {
    enum onerow_outcome outcome; /* PENDING when the group failed as a whole */
    const char *reason;          /* NUL-terminated, in the arena given to apply, or static; NULL */
    struct onerow_span id;       /* in that arena; data NULL when not asked for or unknown */
};

/* ---- tables --------------------------------------------------------------- */

enum onerow_type { /* of key columns, and as a hint for others */
                   ONEROW_TYPE_UNKNOWN,
                   ONEROW_TYPE_TEXT,
                   ONEROW_TYPE_INT,
                   ONEROW_TYPE_DECIMAL,
                   ONEROW_TYPE_BOOL,
                   ONEROW_TYPE_DATE,
                   ONEROW_TYPE_TIMESTAMP,
                   ONEROW_TYPE_UUID,
                   ONEROW_TYPE_JSON,
};

enum onerow_normalize {
    ONEROW_NFC = 1 << 0,
    ONEROW_TRIM = 1 << 1,
    ONEROW_CASEFOLD = 1 << 2,
};

struct onerow_key_column {
    const char *name;      /* as the table spells it */
    enum onerow_type type; /* UNKNOWN: take it from the table */
    unsigned normalize;    /* enum onerow_normalize, or'ed */
    bool nulls_equal;      /* NULL is a key value that equals NULL and nothing else */
};

enum onerow_policy {
    ONEROW_POLICY_UPDATE, /* the record's columns replace the row's */
    ONEROW_POLICY_KEEP,   /* an existing row stays as it is */
    ONEROW_POLICY_NEWEST, /* update, iff the order column is not older than the row's */
};

/* When the `updated_at` column is set to the store's clock. */
enum onerow_touch {
    ONEROW_TOUCH_NONE,
    ONEROW_TOUCH_CHANGE, /* on created and updated */
    ONEROW_TOUCH_WRITE,  /* on unchanged, too */
};

/* Compares two values of an order column as its type orders them: below zero, zero, above zero.
 * NULL is before everything. Made by the engine, so that all stores agree. */
typedef int onerow_compare(const struct onerow_value *a, const struct onerow_value *b);

/* What the user asked for. Strings are borrowed and outlive the table. */
struct onerow_table_spec {
    const char *name;     /* the configured name, for messages */
    const char *location; /* the table in the store, such as "main.items" */
    const struct onerow_key_column *key;
    size_t n_key;
    enum onerow_policy policy;
    const char *order_column;      /* for newest */
    onerow_compare *compare_order; /* for newest; set by the engine */
    enum onerow_touch touch;
    const char *touch_column;
    bool accept_unenforced;  /* `unenforced: accept` */
    bool store_key_equality; /* `key_equality: store` */
    bool want_ids;           /* verdicts should carry ids */
    bool only_look;          /* nothing will be written: refuse neither a key that nothing
                                enforces nor one that the store compares otherwise (audit) */
};

struct onerow_column {
    const char *name;         /* NUL-terminated, owned by the table */
    const char *declared;     /* the store's own type name, for messages; never NULL */
    enum onerow_type type;    /* what a value of it is, UNKNOWN where the store does not say */
    bool required;            /* an insert must give it: NOT NULL without a default */
    const char *not_writable; /* NULL, or why a record may not carry it ("a generated column") */
    /* NULL, or: its values are JSON arrays of the ids of pages, those of the target that names
     * itself so (struct onerow_page_ops, `target`); "" when that is not known. */
    const char *related;
};

/* What a store can promise for a table; the engine branches on these, never on a name. */
enum onerow_guarantee {
    ONEROW_ENFORCED = 1 << 0,     /* the store itself refuses a second row with the key */
    ONEROW_TRANSACTIONS = 1 << 1, /* begin … apply … commit is atomic */
    ONEROW_DURABLE = 1 << 2,      /* after commit answers OK the rows survive a crash */
    ONEROW_SEQUENTIAL = 1 << 3,   /* apply takes equal keys in one group, in their order */
    ONEROW_EXCLUSIVE = 1 << 4,    /* between begin and commit nobody else writes */
    ONEROW_PARALLEL = 1 << 5,     /* several stores opened on one URL add up; else they only wait
                                     for each other */
    ONEROW_PAGES = 1 << 6,        /* none of the above: see "the store: pages" */
};

struct onerow_store_type;

/* Base of every adapter's store; its first member. */
struct onerow_store {
    const struct onerow_store_type *type;
    uint64_t round_trips; /* counted by the adapter: how often it waited for an answer */
};

/* Base of every adapter's table; its first member. */
struct onerow_store_table {
    struct onerow_store *store;
    const struct onerow_column *columns;
    size_t n_columns;
    unsigned guarantees; /* enum onerow_guarantee, or'ed; for this very table */
    const char *promise; /* one line for `onerow check`: how one row per key is kept */
    const char *advice;  /* a line for the user (no index helps a look-up), or NULL */
    const char *refusal; /* opened to read: why the table could not be opened to write, and what to
                            run; or NULL */
    uint16_t key[ONEROW_KEY_COLUMNS_MAX];               /* columns of the key, in its order */
    enum onerow_type key_types[ONEROW_KEY_COLUMNS_MAX]; /* resolved: never UNKNOWN */
};

/* A column for create_table. */
struct onerow_new_column {
    struct onerow_span name;
    enum onerow_type type;
};

/* A row on its way to the user: JSON text of every column, in table order. */
typedef bool onerow_visit_row(void *context, struct onerow_span json);

/* One key with several rows, or rows that have no valid key. */
struct onerow_twins {
    struct onerow_span key; /* JSON object of the key columns, or `null` where a row has no key */
    uint64_t rows;          /* how many rows carry it */
    struct onerow_span ids; /* JSON array of the ids of up to 10 of them */
    const char *reason;     /* why the rows have no valid key; NULL for duplicates */
};
typedef void onerow_visit_twins(void *context, const struct onerow_twins *twins);

/* The canonical form of a stored row's key, made by the engine for the adapter's audit:
 * `parts` are n_key stored values. False: there is none, and reason says why;
 * or, when key->failed, memory ran out. */
typedef bool onerow_canonical_key(void *context, const struct onerow_value *parts,
                                  struct or_buffer *key, const char **reason);

/* ---- the store: pages --------------------------------------------------------
 *
 * For a store that changes one page by one request, without transactions or conditions, and takes a
 * second page with the same key. What is sent, and when, is the core's business (core/attempt.h),
 * which needs a ledger for it. The adapter sends requests and says what came back: it never tries
 * again, and never guesses. Requests are many at a time, in one thread: `start` begins one,
 * `finish` waits for the next one that is over.
 *
 * Such a store counts requests. Each one needs leave before it is sent: a call of `start` comes
 * with leave for one request, and whatever the adapter sends in other calls (open, table_open, get,
 * audit, suggest) it asks the gate for. */

/* How the protocol's own titles begin: of a page that has no key yet, and in place of a key that
 * was moved away. No record may write such a title, and such a page carries no key. */
#define ONEROW_BLANK_TITLE "onerow:blank:"
#define ONEROW_MOVED_TITLE "onerow:moved:"

enum onerow_page_do {
    ONEROW_PAGE_PROBE,        /* find the live pages that carry one of `keys` */
    ONEROW_PAGE_CREATE,       /* make a page with `title`, and nothing else */
    ONEROW_PAGE_CREATE_KEYED, /* make a page with key and payload */
    ONEROW_PAGE_PUBLISH,  /* write key and payload onto `page`; never take it out of the trash */
    ONEROW_PAGE_WRITE,    /* write the payload's values onto `page`, never the key */
    ONEROW_PAGE_GET,      /* `page` as it is */
    ONEROW_PAGE_RESTORE,  /* take `page` out of the trash */
    ONEROW_PAGE_TRASH,    /* put it there */
    ONEROW_PAGE_MOVE_KEY, /* write `title` in place of the key of `page` */
    ONEROW_PAGE_BLANKS,   /* find the live pages whose titles begin with `title` */
};

enum onerow_page_answer {
    ONEROW_PAGE_OK,        /* done; of PROBE and BLANKS: complete, and nothing left out */
    ONEROW_PAGE_REFUSED,   /* this request, for good (400): not done */
    ONEROW_PAGE_TRASHED,   /* PUBLISH, WRITE: not done, the page is in the trash */
    ONEROW_PAGE_NOT_FOUND, /* the store does not know the page (404), which proves nothing */
    ONEROW_PAGE_RATE,      /* not done (429, 529); retry_after_ms */
    ONEROW_PAGE_CONFLICT,  /* 409: it may have been done */
    ONEROW_PAGE_UNCERTAIN, /* time-out, 5xx, reset, an answer that cannot be read: so may this */
    ONEROW_PAGE_FAILED,    /* not done, and never sent in full; of what only looks: no answer */
    ONEROW_PAGE_MORE,      /* PROBE, BLANKS: a part of the answer; start the call once more, with
                              leave of its own, for the next one. `more` is set */
};

/* A page that was found. Spans lie in the call's arena. */
struct onerow_page {
    struct onerow_span id;
    struct onerow_span title;         /* BLANKS */
    const struct onerow_value *parts; /* its key columns' values; NULL: it has no valid key */
    uint64_t created_ms;              /* the store's clock, in ms since 1970 */
    bool edited;                      /* a person was the last to change it */
    bool attached;                    /* it has children, or others relate to it */
};

/* One request. What is given is borrowed until it is over. */
struct onerow_page_call {
    enum onerow_page_do what;
    struct onerow_store_table *table;
    const struct onerow_record *const *keys; /* PROBE: n_keys; CREATE_KEYED, PUBLISH: one. Their key
                                                values alone count */
    size_t n_keys;
    struct onerow_span title;
    struct onerow_span page;
    struct onerow_span payload; /* as `encode` made it; of GET: what to compare with, or no data */
    uint64_t timeout_ms;
    struct or_arena *arena; /* for what is filled */
    void *owner;            /* the caller's */
    /* filled */
    enum onerow_page_answer answer;
    uint64_t retry_after_ms; /* RATE: 0: the store did not say */
    const char *reason;      /* not OK: the store's own words, one line, in the arena or static */
    struct onerow_span made; /* CREATE, CREATE_KEYED: the new page's id. An error that names it
                                all the same says that it was made: that is OK */
    const struct onerow_page *found; /* PROBE, BLANKS: n_found; GET: one; WRITE: one, where the
                                        answer shows the page */
    size_t n_found;
    bool in_trash;             /* GET */
    bool same;                 /* GET: it holds the payload's values in the payload's columns */
    struct onerow_value order; /* GET: its value in newest's column */
    void *more; /* the adapter's, in the arena: how far a look-up has come; NULL: it begins */
    struct onerow_page_call *next; /* the adapter's */
};

#define ONEROW_ACCOUNT_MAX 65U /* bytes of an account's name */

struct onerow_store_options;

struct onerow_page_ops {
    size_t probe_keys; /* keys in one PROBE at most */
    /* A name for whoever the store counts requests of: the same for all that share its rate
     * windows, and no secret. Known without a request, for the first one needs leave, too. NULL:
     * there is only one. */
    void (*account)(const struct onerow_store_options *options, char name[ONEROW_ACCOUNT_MAX]);
    /* The target's own name for itself, the same whatever it is called by: the ledger's namespace.
     * The table's. */
    const char *(*target)(const struct onerow_store_table *table);
    /* Leaves the ledger's id at the target, for all who write there to see, and looks whether
     * another ledger's is there. It keeps nobody out: it tells who comes later. OK: it is there,
     * and no other one; CONFIG: another one is, and the error says what to do; ABSENT: it cannot be
     * left there, and the error says why. NULL: there is no place for it. */
    enum onerow_status (*mark)(struct onerow_store_table *table, const char *ledger_id,
                               struct onerow_error *error);
    /* What the record writes, as bytes that only this adapter reads: the same for records that
     * write the same. REJECTED: the store would refuse it; *reason says why, in the arena. */
    enum onerow_status (*encode)(struct onerow_store_table *table,
                                 const struct onerow_record *record, struct or_arena *arena,
                                 struct onerow_span *payload, const char **reason,
                                 struct onerow_error *error);
    /* Requests with the same number must not be out at the same time (the store would answer with
     * conflicts); 0: this one may go with any. */
    uint64_t (*line)(const struct onerow_page_call *call);
    /* Begins it; never waits. */
    enum onerow_status (*start)(struct onerow_store *store, struct onerow_page_call *call,
                                struct onerow_error *error);
    /* Waits for one that is over, at most timeout_ms; NULL: none is. */
    struct onerow_page_call *(*finish)(struct onerow_store *store, uint64_t timeout_ms);
};

/* ---- the store vtable ------------------------------------------------------ */

/* What stands before the requests of a store that counts them. */
struct onerow_gate {
    /* Waits until one request may be sent; it is sent at once. Not OK: it must not be: INTERRUPTED,
     * BUSY (not within wait_ms), UNAVAILABLE (nobody keeps the windows). */
    enum onerow_status (*pass)(struct onerow_gate *gate, struct onerow_error *error);
    /* The store said that it wants to hear nothing for so long (Retry-After). */
    void (*hold)(struct onerow_gate *gate, uint64_t retry_after_ms);
};

struct onerow_store_options {
    const char *url;           /* as configured; secrets are never in it */
    struct onerow_span token;  /* of stores that want one; data NULL: none is configured */
    const char *version;       /* of the store's interface; NULL: the adapter's choice */
    uint64_t wait_ms;          /* longest wait for a lock that somebody else holds */
    bool read_only;            /* get, audit, check: never create the store or a file */
    bool may_create;           /* --create-table: the store itself may be created, too */
    bool leave_as_is;          /* a dry run: not even the store's own settings may change */
    const volatile bool *stop; /* gives up waiting for a lock when set; NULL: never */
    struct onerow_gate *gate;  /* of stores that count requests; borrowed. NULL: there is none */
};

/* Statuses that an adapter's calls return:
 *   OK          done
 *   REJECTED    (apply, commit) a record made the whole group fail; nothing of the
 *               transaction was kept; the engine rolls back and bisects
 *   CLASH       (apply, commit) as REJECTED, but what a record met is a row with another key that
 *               has its value in a second unique column, and that row may be gone in a moment;
 *               the core tries such a record once more in a new transaction
 *   RETRY       (apply, commit) the store undid the transaction for a reason that is not in the
 *               records: a deadlock, a serialization failure, a connection that was lost before
 *               the commit was sent. Nothing was kept; the core tries again
 *   INTERRUPTED (begin, apply) *stop was set while waiting; nothing was kept
 *   BUSY        a lock was not had within wait_ms; nothing was kept
 *   FULL, IO, CORRUPT, READONLY, VANISHED, UNAVAILABLE
 *               the store failed; nothing of the transaction was kept
 *   UNKNOWN     (commit) whether the transaction was kept is not known; error->status is the
 *               store's failure behind it
 *   CONFIG      the table cannot be used this way; the error says what to run
 */
struct onerow_store_type {
    const char *name;           /* "sqlite" */
    const char *summary;        /* one line for --help */
    const char *url;            /* "sqlite:PATH" for --help */
    const char *const *schemes; /* URL beginnings, "sqlite:", NULL-terminated */
    bool remote; /* `open` and `table_open` wait for a server; for much work a further store is
                    opened at the same time, where its tables may turn out to be PARALLEL */

    enum onerow_status (*open)(const struct onerow_store_options *options,
                               struct onerow_store **store, struct onerow_error *error);
    void (*close)(struct onerow_store *store); /* NULL is accepted */

    /* Looks at the table and decides what it promises for the key. ABSENT: there is no such
     * table. CONFIG: the key is not enforced, or equality differs. *table is the caller's. */
    enum onerow_status (*table_open)(struct onerow_store *store,
                                     const struct onerow_table_spec *spec,
                                     struct onerow_store_table **table, struct onerow_error *error);
    void (*table_close)(struct onerow_store_table *table); /* NULL is accepted */

    /* Makes the table and its unique index in one step, unless it exists by now. *sql (may be
     * NULL) receives the statements, for the user to see; the caller's (free). */
    enum onerow_status (*table_create)(struct onerow_store *store,
                                       const struct onerow_table_spec *spec,
                                       const struct onerow_new_column *columns, size_t n,
                                       char **sql, struct onerow_error *error);

    /* One transaction: begin, any number of apply, then commit or rollback. `begin` waits its
     * turn among all processes of this machine, at most wait_ms, and gives up early with
     * INTERRUPTED when *stop becomes true (NULL: never). */
    enum onerow_status (*begin)(struct onerow_store *store, const volatile bool *stop,
                                struct onerow_error *error);
    /* Writes n records: sorted by key, equal keys adjacent in arrival order; or, when refused
     * records are tried once more and under store_key_equality, all in arrival order. Fills
     * verdicts[0..n) when it returns OK; a record may be REFUSED on its own, with a reason. */
    enum onerow_status (*apply)(struct onerow_store_table *table,
                                const struct onerow_record *const *records, size_t n,
                                struct onerow_verdict *verdicts, struct or_arena *arena,
                                struct onerow_error *error);
    enum onerow_status (*commit)(struct onerow_store *store, struct onerow_error *error);
    void (*rollback)(struct onerow_store *store); /* after any failure; may be called twice */

    /* After commit answered UNKNOWN, and rollback: what became of that transaction? OK: it was
     * kept. ABSENT: nothing of it was kept, and nothing will be. UNKNOWN: the store is there but
     * cannot tell. Others: it could not be asked. Waits at most wait_ms for an answer; *stop as in
     * begin. NULL: this store never can tell. */
    enum onerow_status (*resolve)(struct onerow_store *store, const volatile bool *stop,
                                  struct onerow_error *error);

    /* For records that stay in doubt, outside of any transaction: what does the table hold now?
     * verdicts[i].outcome: UNCHANGED: a row that equals the record in the record's columns;
     * UPDATED: a row that differs; REFUSED: no row. Equal keys are looked up one by one. NULL: not
     * worth a call of its own (the engine then says nothing of the row). */
    enum onerow_status (*look)(struct onerow_store_table *table,
                               const struct onerow_record *const *records, size_t n,
                               struct onerow_verdict *verdicts, struct or_arena *arena,
                               struct onerow_error *error);

    /* The row whose key parts equal those of `key` (only its key values count). OK: *json is the
     * row as a JSON object and *id its id, both in the arena. ABSENT: none. Between begin and
     * commit it is read in that transaction, and stays as it is until its end. */
    enum onerow_status (*get)(struct onerow_store_table *table, const struct onerow_record *key,
                              struct or_arena *arena, struct onerow_span *json,
                              struct onerow_span *id, struct onerow_error *error);

    /* Visits every key that more than one row carries by onerow's rule, and rows without a
     * valid key. Memory stays bounded. */
    enum onerow_status (*audit)(struct onerow_store_table *table, onerow_canonical_key *canonical,
                                void *canonical_context, onerow_visit_twins *visit, void *context,
                                struct onerow_error *error);

    /* The statement for a caller's own transaction (`onerow sql`). `form` is a notation that the
     * store knows ("psycopg"), or NULL for all that a user of it may want. USAGE: it does not know
     * that one; the error lists those it knows. */
    enum onerow_status (*statement)(struct onerow_store_table *table, const char *form,
                                    struct or_buffer *sql, struct onerow_error *error);

    /* For `onerow init`: the `tables:` part of a first configuration, a table for each one of the
     * store (or for `location` alone), with the key that its unique index suggests; two spaces of
     * indentation, `name` as the store's name. */
    enum onerow_status (*suggest)(struct onerow_store *store, const char *name,
                                  const char *location, struct or_buffer *yaml,
                                  struct onerow_error *error);

    /* For tables with ONEROW_PAGES, instead of begin, apply, commit, rollback, resolve and look.
     * NULL: there are none. */
    const struct onerow_page_ops *pages;
};

/* ---- the coordinator: the ledger ----------------------------------------------
 *
 * Where a store cannot refuse a second row, the ledger is what everybody agrees on: it holds, for
 * each key, what became of it. What the records mean is the core's business (core/ledger.h); for an
 * adapter they are rows with a name, a state and bytes, which change by compare-and-set alone.
 *
 * The ledger must be linearizable, durable when it answers, and never roll back. One that was
 * rolled back all the same (a backup was restored, a standby without the last transactions was
 * promoted) is to be found out: see `standing`.
 */

enum onerow_ledger_kind {
    ONEROW_LEDGER_KEY = 1,     /* named by the key's canonical form */
    ONEROW_LEDGER_PAGE = 2,    /* named by the page's id in the store */
    ONEROW_LEDGER_ATTEMPT = 3, /* named by a nonce: which step that try took */
};

#define ONEROW_LEDGER_NAME_MAX 4096U /* bytes of a name; canonical keys above are hashed */
#define ONEROW_LEDGER_BODY_MAX (1024U * 1024U)     /* bytes of a body */
#define ONEROW_LEDGER_CHANGES  4U                  /* records that one swap may name */
#define ONEROW_LEDGER_ANY      UINT64_MAX          /* a revision: whichever it is */
#define ONEROW_LEDGER_NUMBERS  ((uint64_t)1 << 62) /* numbers of `reserve` stay below it */

/* A record as it is. A name that was never written has revision, state and since_ms 0. */
struct onerow_ledger_record {
    enum onerow_ledger_kind kind; /* given by the caller of read */
    uint8_t state;                /* 0: never written; else 1 to 31, the core's */
    struct onerow_span name;      /* given by the caller of read; borrowed */
    uint64_t revision;            /* 1 more with every write of this record */
    uint64_t since_ms;            /* the ledger's clock when it was last stamped */
    struct onerow_span body;      /* in the arena given to read */
};

/* A condition on one record and, unless `state` is 0, what it becomes. */
struct onerow_ledger_change {
    enum onerow_ledger_kind kind;
    struct onerow_span name;
    uint64_t revision; /* must be the record's (0: never written), or ONEROW_LEDGER_ANY */
    uint32_t states;   /* a bit (1U << state) for each state that the record may have */
    uint8_t state;     /* 0: the record stays as it is */
    bool stamp;        /* since_ms becomes the ledger's clock; otherwise it stays */
    struct onerow_span body;
};

/* One compare-and-set over 1 to ONEROW_LEDGER_CHANGES records of different names: if all
 * conditions hold, all changes happen; otherwise nothing does. */
struct onerow_ledger_swap {
    const struct onerow_ledger_change *changes;
    size_t n;
    bool done; /* filled: it happened */
};

/* What the ledger knows of itself. */
enum onerow_ledger_standing {
    ONEROW_LEDGER_SOUND,
    ONEROW_LEDGER_SUSPECT, /* it may have been rolled back: nothing may be created by it until every
                              row has been imported and `confirm` was called */
};

struct onerow_ledger_namespace {
    uint64_t number;    /* for the calls below; of this coordinator's own */
    char ledger_id[33]; /* 32 hexadecimal digits, made once for each ledger, random */
    enum onerow_ledger_standing standing;
    const char *why; /* why it is SUSPECT; while SOUND, what cannot be found out here, or NULL.
                        Static, or valid until the next call of enter or witness */
};

/* A record on its way to `list`'s caller; false ends the listing. */
typedef bool onerow_visit_ledger(void *context, const struct onerow_ledger_record *record);

struct onerow_coordinator_type;

/* Base of every adapter's coordinator; its first member. */
struct onerow_coordinator {
    const struct onerow_coordinator_type *type;
    uint64_t round_trips;
};

/* Statuses: OK; UNAVAILABLE, BUSY, INTERRUPTED, FULL, IO, CORRUPT, READONLY, NOMEM as for stores:
 * nothing happened; VANISHED: the ledger is gone, or it, or the namespace, became SUSPECT after it
 * was entered: nothing happened, enter again; UNKNOWN (enter, swap, reserve, witness, confirm,
 * forget): it may have happened and may not, because the answer to the commit was lost (enter,
 * witness, confirm and forget may simply be called again; numbers in doubt are lost); CONFIG.
 *
 * `now_ms` is the ledger's clock, in ms since 1970, read within the call and after every record
 * that the call is about was read or locked. It is never less than the stamp of such a record, and
 * no record's stamp is less than the one that it had before. Between different records it may run
 * backwards, by as much as somebody sets the clock of the ledger's machine back, or as the clocks
 * of two machines differ when another one takes over. Set back, it makes waits longer; set forward,
 * shorter: that is the skew D of whoever relies on them. A stamp lies between the beginning of the
 * call and its answer: who counts from before the call never counts too little. */
struct onerow_ledger_ops {
    /* Enters a namespace (the store's kind and the target's canonical id), which is made when it is
     * new: SUSPECT where the ledger itself was once found to have been rolled back, because the
     * part that was lost may have known it. `definition` says what all users of it must agree on:
     * key columns with types and normalization, version of the canonical form, protocol, deletion
     * policy. CONFIG: it was made with another one; the error shows both. */
    enum onerow_status (*enter)(struct onerow_coordinator *coordinator, struct onerow_span name,
                                struct onerow_span definition,
                                struct onerow_ledger_namespace *space, struct onerow_error *error);
    /* The records with the given kinds and names, all as of one moment after the call began. */
    enum onerow_status (*read)(struct onerow_coordinator *coordinator, uint64_t space,
                               struct onerow_ledger_record *records, size_t n, uint64_t *now_ms,
                               struct or_arena *arena, struct onerow_error *error);
    /* Tries n swaps, one after the other, each atomic on its own, and makes them durable together.
     * OK: each one's `done` says whether it happened. Otherwise every `done` is false. */
    enum onerow_status (*swap)(struct onerow_coordinator *coordinator, uint64_t space,
                               struct onerow_ledger_swap *swaps, size_t n, uint64_t *now_ms,
                               struct onerow_error *error);
    /* Visits records of a kind whose state is among `states` and whose since_ms is below
     * `before_ms`, in an order of the adapter's, in bounded memory. A record that nobody writes
     * meanwhile is visited once; others may write, and `visit` itself may call the coordinator. */
    enum onerow_status (*list)(struct onerow_coordinator *coordinator, uint64_t space,
                               enum onerow_ledger_kind kind, uint32_t states, uint64_t before_ms,
                               onerow_visit_ledger *visit, void *context,
                               struct onerow_error *error);
    /* Numbers for nonces: *first … *first + n - 1 have never been given to anybody and never will
     * be, for the whole ledger. Durable before it answers. */
    enum onerow_status (*reserve)(struct onerow_coordinator *coordinator, uint64_t n,
                                  uint64_t *first, struct onerow_error *error);
    /* A number seen in the store (in a blank's title) that the ledger has never given out proves
     * that it was rolled back: the namespace becomes SUSPECT, and numbers go on above it. *state
     * is as enter fills it. CONFIG: no ledger gives out such a number, somebody else wrote it. */
    enum onerow_status (*witness)(struct onerow_coordinator *coordinator, uint64_t space,
                                  uint64_t number, struct onerow_ledger_namespace *state,
                                  struct onerow_error *error);
    /* Every row of the target has been imported: the namespace is SOUND again. VANISHED: another
     * reason for doubt has come up since it was entered. */
    enum onerow_status (*confirm)(struct onerow_coordinator *coordinator, uint64_t space,
                                  struct onerow_error *error);
    /* Forgets ATTEMPT records that were stamped before `before_ms` (one that never was stays); *n:
     * how many. A name that was forgotten is one that was never written. */
    enum onerow_status (*forget)(struct onerow_coordinator *coordinator, uint64_t space,
                                 uint64_t before_ms, uint64_t *n, struct onerow_error *error);
};

/* ---- the coordinator: leases ---------------------------------------------------
 *
 * A lease is a named right for some time. It keeps others from doing the same work; it is no
 * guarantee: whoever was paused while it ran out believes that it still holds it. So each grant has
 * a token, which rises with every grant of that name, and the target itself refuses a token that is
 * below one that it has seen.
 *
 * The rules, for every coordinator:
 *
 *   free ──acquire──> held (token + 1) ──release, nobody waits──> free
 *                       │ ^ renew                                   expired: as free
 *                       └──release, somebody waits──> held by the first live waiter (token + 1)
 *
 *  - Whoever acquires is known by a nonce, and the nonce makes each call repeatable: a second
 *    acquire of the holder's returns the same token and runs anew from now; one of a waiter's
 *    keeps its place. An acquire whose lease has run out is a new one, with a new token.
 *  - First come, first served: a lease that is free or has run out goes to nobody while an older
 *    live waiter is in the queue. A waiter is live for its patience after each of its acquires.
 *  - Release hands the lease over in the same step that takes it from the releaser: a new token,
 *    and only for the waiter's patience at first, because it may be dead. It is woken, and
 *    acquires or renews to have it for its whole time. Exactly one waiter is woken by a release.
 *  - Renew and release never make a lease, and touch nothing but what has this nonce and token.
 *  - The row that carries a token is never deleted. A token is above every one that was given for
 *    that name, through restarts and crashes of the coordinator, and above the floor of whoever
 *    gets it: a waiter's counts when it is handed the lease, and a holder that acquires again with
 *    a floor that its token has not passed gets a new token.
 *  - Time is the coordinator's, and is read in the step that uses it. */

#define ONEROW_NONCE           16U   /* bytes, random */
#define ONEROW_LEASE_NAME_MAX  512U  /* bytes of a name: UTF-8 without control characters */
#define ONEROW_LEASE_WHO_MAX   1024U /* bytes of a holder's or waiter's description */
#define ONEROW_LEASE_WAKE_MAX  64U   /* bytes of an address */
#define ONEROW_LEASE_TTL_MAX   (7ULL * 24 * 60 * 60 * 1000) /* ms */
#define ONEROW_LEASE_TOKEN_MAX ((uint64_t)1 << 62)          /* floors stay below it */

enum onerow_lease_answer {
    ONEROW_LEASE_HELD,    /* it is this nonce's */
    ONEROW_LEASE_WAITING, /* it is somebody else's, and this nonce is in the queue */
    ONEROW_LEASE_TAKEN,   /* it is somebody else's */
    ONEROW_LEASE_LOST,    /* of renew and release: it is not, or no longer, this nonce's */
};

/* One who wants, awaits or holds a lease. What is given is borrowed. */
struct onerow_lease_claim {
    struct onerow_span name;
    unsigned char nonce[ONEROW_NONCE]; /* of this acquisition, for all its calls */
    struct onerow_span who;            /* for people: a JSON object; may be empty */
    struct onerow_span wake;           /* base/wake.h's address of whoever waits; may be empty */
    uint64_t ttl_ms;                   /* 1 to ONEROW_LEASE_TTL_MAX */
    uint64_t patience_ms;              /* how long it is live in the queue without a further call */
    uint64_t floor;                    /* the token is to be above it */
    bool queue;                        /* of acquire: wait in line when it is not to be had */
    /* filled */
    enum onerow_lease_answer answer;
    uint64_t token;   /* HELD: the lease's. Given to renew and release */
    uint64_t left_ms; /* HELD: it runs for this long from some moment within the call; otherwise
                         that of whoever holds it, 0 when that has run out */
    uint64_t place;   /* WAITING: 1 for the first in line; otherwise how many wait */
};

/* A lease, for people. */
struct onerow_lease_view {
    struct onerow_span name;
    struct onerow_span who; /* of the holder, or of the last one; may be empty */
    bool held;              /* somebody has it, and it has not run out */
    uint64_t token;         /* the last one that was given */
    uint64_t since_ms;      /* when it was given, in ms since 1970 */
    uint64_t left_ms;       /* held: how long it still runs without a renewal */
    uint64_t waiters;       /* in the queue, live */
};

/* A lease that was taken from its holder by force. */
struct onerow_lease_forced {
    struct onerow_span name;
    struct onerow_span who; /* whose it was */
    struct onerow_span by;  /* who took it away, and why: the caller's words, as long as a who */
    uint64_t token;         /* the one that was taken away */
    uint64_t at_ms;         /* in ms since 1970 */
};

/* What a shared record becomes: reads `body` (empty: there is none yet), and appends the new one to
 * `becomes`. False: it stays as it is. It depends on what it is given alone, and may be called
 * several times. */
typedef bool onerow_rule(void *context, struct onerow_span body, uint64_t now_ms,
                         struct or_buffer *becomes);
#define ONEROW_SHARED_MAX ((size_t)64 * 1024) /* bytes of a body */

/* False ends the listing. */
typedef bool onerow_visit_lease(void *context, const struct onerow_lease_view *view);
typedef bool onerow_visit_forced(void *context, const struct onerow_lease_forced *forced);
typedef void onerow_visit_woken(void *context, const unsigned char nonce[ONEROW_NONCE]);

/* Statuses as the ledger's. UNKNOWN (all calls that change something): call again with the same
 * nonce, which finds out; of `share`: whatever the rule gave away is lost. CONFIG: other clocks or
 * another machine stand behind what is stored; the error says what to do. */
struct onerow_lease_ops {
    /* One try; never waits but for the coordinator's own locks. HELD, WAITING or TAKEN. */
    enum onerow_status (*acquire)(struct onerow_coordinator *coordinator,
                                  struct onerow_lease_claim *claim, struct onerow_error *error);
    /* Runs for ttl_ms from now. HELD or LOST. One that has run out is LOST, even if nobody has
     * taken it. */
    enum onerow_status (*renew)(struct onerow_coordinator *coordinator,
                                struct onerow_lease_claim *claim, struct onerow_error *error);
    /* Gives it up, run out or not. HELD: it was this nonce's until now; LOST: it was not. */
    enum onerow_status (*release)(struct onerow_coordinator *coordinator,
                                  struct onerow_lease_claim *claim, struct onerow_error *error);
    /* Leaves the queue, and releases what the nonce may have been given meanwhile, whatever its
     * token. LOST, always. */
    enum onerow_status (*cancel)(struct onerow_coordinator *coordinator,
                                 struct onerow_lease_claim *claim, struct onerow_error *error);
    /* Takes a held lease from whoever holds it, notes that durably, and hands it to the first live
     * waiter. ABSENT: nobody holds it. `name`, `by` are given; the rest of *forced is filled, who
     * in `arena`. */
    enum onerow_status (*force)(struct onerow_coordinator *coordinator,
                                struct onerow_lease_forced *forced, struct or_arena *arena,
                                struct onerow_error *error);
    /* Leases by name: those that begin with `prefix`; with `free`, also those that nobody holds or
     * awaits. The visitor must not call the coordinator. */
    enum onerow_status (*list)(struct onerow_coordinator *coordinator, struct onerow_span prefix,
                               bool free, onerow_visit_lease *visit, void *context,
                               struct onerow_error *error);
    /* What was taken by force, newest first, of leases that begin with `prefix`. */
    enum onerow_status (*trail)(struct onerow_coordinator *coordinator, struct onerow_span prefix,
                                onerow_visit_forced *visit, void *context,
                                struct onerow_error *error);
    /* Changes a shared record by a rule, in one step that nobody else's change comes into; now_ms
     * is the coordinator's clock in that step, of which only differences mean anything, and which
     * starts anew when the coordinator's machine does. It need not outlive a crash of that machine.
     * For rate windows that processes share (core/budget.h). */
    enum onerow_status (*share)(struct onerow_coordinator *coordinator, struct onerow_span name,
                                onerow_rule *rule, void *context, struct onerow_error *error);
    /* A descriptor that becomes readable when `woken` has something to tell, beyond what comes to
     * base/wake.h's socket; -1: there is none now. NULL, with `woken`: there never is. */
    int (*wake_fd)(struct onerow_coordinator *coordinator);
    /* Tells whose turn it is, as far as it has come in; never waits. */
    enum onerow_status (*woken)(struct onerow_coordinator *coordinator, onerow_visit_woken *visit,
                                void *context, struct onerow_error *error);
    /* A descriptor that a command run under a lease inherits, so that the lease is not free while
     * the command runs; -1: there is none. Owned by the coordinator. NULL: there never is. */
    int (*keep_fd)(struct onerow_coordinator *coordinator);
};

struct onerow_coordinator_options {
    const char *url;           /* as configured; secrets are never in it */
    uint64_t wait_ms;          /* longest wait for a lock that somebody else holds */
    const volatile bool *stop; /* gives up waiting when set; NULL: never */
};

struct onerow_coordinator_type {
    const char *name;           /* "sqlite" */
    const char *summary;        /* one line for --help */
    const char *url;            /* "sqlite:PATH" for --help */
    const char *const *schemes; /* URL beginnings, "sqlite:", NULL-terminated */
    /* One coordinator is used by one thread at a time. What it needs in the database is made by
     * open when it is missing; CONFIG: this role may not make it (the error says what to run), or
     * a newer version has made it. */
    enum onerow_status (*open)(const struct onerow_coordinator_options *options,
                               struct onerow_coordinator **coordinator, struct onerow_error *error);
    void (*close)(struct onerow_coordinator *coordinator); /* NULL is accepted */
    bool forgets;                                          /* what it keeps ends with the process */
    const struct onerow_ledger_ops *ledger;                /* NULL: it cannot keep a ledger */
    const struct onerow_lease_ops *leases;                 /* NULL: it has none */
};

#ifdef __cplusplus
}
#endif

#endif
