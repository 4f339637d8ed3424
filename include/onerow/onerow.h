/* SPDX-License-Identifier: Apache-2.0
 *
 * onerow: exactly one row per business key, however many workers write it,
 * retry it, or crash while writing it.
 *
 * This is the header for users of the library. Adapter authors want extend.h.
 *
 * Conventions
 *  - Handles are opaque. `onerow_X_close` frees handle X and accepts NULL.
 *  - Every function that can fail returns an enum onerow_status and, where it
 *    takes a `struct onerow_error *`, fills it with what was wrong, where, and
 *    what to do. The pointer may be NULL when the caller does not care.
 *  - Text is UTF-8. Spans are not NUL-terminated.
 *  - Ownership is said per argument. "borrowed" means the callee only reads it
 *    during the call; "owned by the caller" means the caller frees it, with the
 *    function named there.
 *  - Every handle may be used by several threads at once; calls on one table
 *    wait for each other.
 */
#ifndef ONEROW_H
#define ONEROW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define ONEROW_API     __attribute__((visibility("default")))
#define ONEROW_CHECKED __attribute__((warn_unused_result))

/* One table makes the codes, names, exit codes of the command and texts.
 *          name         code exit text */
#define ONEROW_STATUS_MAP(X)                                                                       \
    X(OK, 0, 0, "done")                                                                            \
    X(ABSENT, 1, 1, "no row has this key")                                                         \
    X(REJECTED, 2, 1, "the record was refused")                                                    \
    X(UNKNOWN, 3, 1, "whether the record was written is not known")                                \
    X(LEFT, 4, 1, "done, but something is left")                                                   \
    X(USAGE, 5, 64, "the call or command line is wrong")                                           \
    X(INPUT, 6, 65, "the input cannot be read at all")                                             \
    X(UNAVAILABLE, 7, 69, "the store is unavailable")                                              \
    X(FULL, 8, 69, "the disk is full")                                                             \
    X(IO, 9, 69, "the disk failed")                                                                \
    X(CORRUPT, 10, 69, "the database is corrupt")                                                  \
    X(READONLY, 11, 69, "the database is read-only")                                               \
    X(VANISHED, 12, 69, "the database was moved or deleted while in use")                          \
    X(NOMEM, 13, 69, "out of memory")                                                              \
    X(BUSY, 14, 75, "the database stayed locked by another program")                               \
    X(INTERRUPTED, 15, 75, "interrupted; run again")                                               \
    X(CONFIG, 16, 78, "the configuration is wrong or unsafe")                                      \
    X(RETRY, 17, 75, "the store undid the transaction; run again")                                 \
    X(CLASH, 18, 1, "a unique column other than the key has this value already")

enum onerow_status {
#define ONEROW_STATUS_ENUM(name, code, exit, text) ONEROW_##name = (code),
    ONEROW_STATUS_MAP(ONEROW_STATUS_ENUM)
#undef ONEROW_STATUS_ENUM
};

/* What became of one record. UNKNOWN is an answer, never a guess: the write may
 * or may not have happened, and nobody may retry it without looking first. */
#define ONEROW_OUTCOME_MAP(X)                                                                      \
    X(CREATED, 1, "created")                                                                       \
    X(UPDATED, 2, "updated")                                                                       \
    X(UNCHANGED, 3, "unchanged")                                                                   \
    X(REFUSED, 4, "rejected")                                                                      \
    X(IN_DOUBT, 5, "unknown")

enum onerow_outcome {
    ONEROW_PENDING = 0, /* not decided yet; never reported */
#define ONEROW_OUTCOME_ENUM(name, code, text) ONEROW_##name = (code),
    ONEROW_OUTCOME_MAP(ONEROW_OUTCOME_ENUM)
#undef ONEROW_OUTCOME_ENUM
};

#define ONEROW_ERROR_TEXT 1024 /* bytes, the closing NUL included */

/* What went wrong, in the caller's memory. `text` is one or more lines for a
 * person: what, where, and the next command to run. */
struct onerow_error {
    enum onerow_status status;
    char text[ONEROW_ERROR_TEXT];
};

/* Bytes that somebody else owns. */
struct onerow_span {
    const char *data;
    size_t len;
};

/* A static string, never NULL: "OK", "ABSENT", … */
ONEROW_API const char *onerow_status_name(enum onerow_status status);
/* A static sentence, never NULL. */
ONEROW_API const char *onerow_status_text(enum onerow_status status);
/* The exit code that the command gives this status (sysexits.h values). */
ONEROW_API int onerow_status_exit(enum onerow_status status);
/* A static string, never NULL: "created", "updated", "unchanged", "rejected", "unknown". */
ONEROW_API const char *onerow_outcome_name(enum onerow_outcome outcome);
/* The library's version, "MAJOR.MINOR.PATCH"; static. */
ONEROW_API const char *onerow_version(void);

/* A place for rows: one table in one store, its key and its policy. */
struct onerow_table;

/* How to open a table without a configuration file. Zero-initialise, then set
 * what is needed. All strings are borrowed. */
struct onerow_table_options {
    const char *config;      /* an onerow.yaml; with it, `table` names an entry there */
    const char *store;       /* a store URL, such as "sqlite:app.db"; instead of config */
    const char *table;       /* required: the table's name */
    const char *key;         /* "name[,name:type…]"; instead of config */
    const char *on_conflict; /* "update" (default), "keep" or "newest(column)" */
    unsigned wait_ms;        /* longest wait for a locked store; 0: 300,000 */
};

/* Opens the table and checks what the store promises for its key. On success
 * *table is owned by the caller (onerow_table_close); on failure it is NULL.
 * CONFIG: the options, the configuration or the table's index are unsafe or
 * wrong. 69-class statuses: the store is not to be had. */
ONEROW_API ONEROW_CHECKED enum onerow_status
onerow_table_open(const struct onerow_table_options *options, struct onerow_table **table,
                  struct onerow_error *error);

/* Closes the table and frees the handle. NULL is accepted. No other thread may
 * be inside a call on it. */
ONEROW_API void onerow_table_close(struct onerow_table *table);

/* What became of one record of a put. `reason` and `id` live until the result
 * is given back with onerow_result_finish. */
struct onerow_result {
    enum onerow_outcome outcome;
    char *id;           /* the row's id as text, or NULL; freed by onerow_result_finish */
    char *reason;       /* why, for rejected, unknown and kept; or NULL; freed likewise */
    size_t folded_into; /* index of the record that carried an equal key's last value in
                           the same call; its own index when it stands for itself */
};

/* Frees what a result holds; the struct itself is the caller's. NULL is accepted. */
ONEROW_API void onerow_result_finish(struct onerow_result *result);

/* Puts one record: a JSON object in `json` (borrowed). Returns OK when the
 * record is durable (created, updated or unchanged), REJECTED or UNKNOWN when
 * the result says so, another status when the store failed: then the result,
 * too, is `rejected` (nothing was written) or `unknown`. *result is always
 * filled and is the caller's to finish. */
ONEROW_API ONEROW_CHECKED enum onerow_status onerow_put(struct onerow_table *table,
                                                        struct onerow_span json,
                                                        struct onerow_result *result,
                                                        struct onerow_error *error);

/* Puts `n` records, in arrival order, with as few transactions as possible.
 * `json` and `results` hold n entries each; json is borrowed, every result is
 * filled and the caller's to finish. OK: all are durable. LEFT: some were
 * rejected or are unknown. Other statuses: the store failed on the way. */
ONEROW_API ONEROW_CHECKED enum onerow_status
onerow_put_many(struct onerow_table *table, const struct onerow_span *json, size_t n,
                struct onerow_result *results, struct onerow_error *error);

/* Finds the row whose key columns equal those of the JSON object `key`
 * (borrowed); never creates. OK: *row is the row as a JSON object, NUL-terminated,
 * owned by the caller (free). ABSENT: there is none, and *row is NULL. */
ONEROW_API ONEROW_CHECKED enum onerow_status onerow_get(struct onerow_table *table,
                                                        struct onerow_span key, char **row,
                                                        struct onerow_error *error);

/* Finds or creates the row of the JSON object `record` (borrowed) and never
 * changes an existing one. OK: *id is its id as text, NUL-terminated, owned by
 * the caller (free). */
ONEROW_API ONEROW_CHECKED enum onerow_status onerow_ensure(struct onerow_table *table,
                                                           struct onerow_span record, char **id,
                                                           struct onerow_error *error);

/* ---- leases ----------------------------------------------------------------
 *
 * A lease is a named right for some time, so that one process at a time does a
 * piece of work. It is no guarantee: a process that was paused while its lease
 * ran out does not know that. Hand the token on to whatever is written, and let
 * that refuse a token below one that it has seen (docs/leases.md). */

/* Leases of one coordinator, kept by threads of its own. */
struct onerow_leases;
/* A lease that is held. */
struct onerow_lease;

/* Opens a coordinator by its URL ("sqlite:locks.db", "postgres://…", "memory:").
 * On success *leases is owned by the caller (onerow_leases_close). CONFIG: there
 * is no such coordinator. 69-class statuses: it is not to be had. */
ONEROW_API ONEROW_CHECKED enum onerow_status onerow_leases_open(const char *coordinator,
                                                                struct onerow_leases **leases,
                                                                struct onerow_error *error);
/* Releases what is still held and frees the handle. NULL is accepted. No other
 * thread may be inside a call on it. */
ONEROW_API void onerow_leases_close(struct onerow_leases *leases);

/* What is wanted. Zero-initialise, then set what is needed; strings are borrowed. */
struct onerow_lease_options {
    const char *name; /* required: UTF-8, 1 to 512 bytes, no control characters */
    const char *who;  /* for people: a JSON object; NULL: host, process and program */
    uint64_t ttl_ms;  /* how long it runs without a renewal, from 1,000; 0: 300,000 */
    uint64_t wait_ms; /* how long to wait for it; UINT64_MAX: for ever; 0: not at all */
    uint64_t floor;   /* the token is above it: the highest one that the target has seen */
    /* NULL, or called once, by a thread of the library's, when nothing may be done
     * under the lease any more. It returns soon and calls nothing of the library's
     * but onerow_lease_token. */
    void (*lost)(void *context, struct onerow_lease *lease);
    void *context; /* lives as long as the lease */
};

/* Waits for the lease and keeps it by renewals in the background. OK: *lease is
 * the caller's until onerow_lease_release. ABSENT: somebody else has it. USAGE:
 * the options are wrong. 69-class statuses, BUSY, UNKNOWN: the coordinator was
 * not to be had; nothing is held then. */
ONEROW_API ONEROW_CHECKED enum onerow_status
onerow_lease_acquire(struct onerow_leases *leases, const struct onerow_lease_options *options,
                     struct onerow_lease **lease, struct onerow_error *error);
/* The fencing token: above every one that was given for this name. */
ONEROW_API uint64_t onerow_lease_token(const struct onerow_lease *lease);
/* For how many ms something may still be done under it if no renewal succeeds;
 * 0: nothing may be done any more. To be asked before each step. Never waits. */
ONEROW_API uint64_t onerow_lease_left_ms(struct onerow_lease *lease);
/* Gives it up and frees the handle in any case. OK; LEFT: it had been lost. Other
 * statuses: it may still be held, and runs out by itself. */
ONEROW_API ONEROW_CHECKED enum onerow_status onerow_lease_release(struct onerow_lease *lease,
                                                                  struct onerow_error *error);

#ifdef __cplusplus
}
#endif

#endif
