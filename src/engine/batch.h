/* SPDX-License-Identifier: Apache-2.0
 *
 * The batcher: reads inputs in a thread of its own into batches of entries, sorted and
 * ready to be written, while the caller writes the batch before. Two batches exist, so
 * memory is bounded whatever the input's size. A batch ends when it is full, when the
 * input is over, or when a slow writer of the input makes the reader wait: what is there
 * is then written at once (group commit).
 */
#ifndef OR_ENGINE_BATCH_H
#define OR_ENGINE_BATCH_H

#include "engine/entry.h"

#define OR_BATCH_RECORDS 40000U                /* in one transaction, as a rule */
#define OR_BATCH_FIRST   5000U                 /* in the first one; each is twice the one before */
#define OR_BATCH_BYTES   (10U * 1024U * 1024U) /* of records in memory, twice */
#define OR_BATCH_INPUTS  4096U                 /* files in one run */

enum or_batch_end {
    OR_BATCH_MORE, /* another batch follows */
    OR_BATCH_LAST, /* the inputs are over */
    OR_BATCH_STOP, /* stopped from outside; this batch must not be written */
};

struct or_batch {
    struct or_arena arena;
    struct or_entry *entries; /* in arrival order */
    size_t n;
    struct or_entry **sorted; /* those that are PENDING, by table and key */
    size_t n_sorted;
    enum or_batch_end end;
    enum onerow_status status; /* why reading ended early: INPUT, IO, CONFIG, NOMEM */
    struct onerow_error error;
    uint64_t bytes_read; /* of the present input, as stored */
    uint64_t bytes_total;
    const char *input; /* name of the input that the last entry came from */
};

struct or_batcher;

/* Finds (and opens, when need be) the table of a record. Called in the reader's thread. `name` is
 * empty for a record without an envelope. ABSENT: there is no such table; others end the run. */
typedef enum onerow_status or_batch_table(void *context, struct onerow_span name,
                                          struct or_table **table, struct onerow_error *error);

/* Called before the first record is bound, with the n > 0 first records, in the reader's thread:
 * the place to make a missing table. NULL: no table can be missing. */
typedef enum onerow_status or_batch_head(void *context, const struct or_item *items, size_t n,
                                         struct onerow_error *error);

struct or_batch_options {
    const char *const *inputs; /* paths; "-" is standard input */
    size_t n_inputs;
    enum or_format format;
    size_t records;            /* in a batch; 0: OR_BATCH_RECORDS */
    const volatile bool *stop; /* stop reading; may be NULL */
    int stop_fd; /* an eventfd, readable when *stop was set; closing sets it, too; -1: none */
    or_batch_table *table;
    or_batch_head *head;
    void *context;
};

ONEROW_CHECKED enum onerow_status or_batcher_open(const struct or_batch_options *options,
                                                  struct or_batcher **batcher,
                                                  struct onerow_error *error);
/* The next batch; it is the caller's until or_batcher_done. After one whose end is not MORE, or
 * whose status is not OK, there are no others. */
struct or_batch *or_batcher_next(struct or_batcher *batcher);
void or_batcher_done(struct or_batcher *batcher, struct or_batch *batch);
/* Ends the reader and frees everything. NULL is accepted. */
void or_batcher_close(struct or_batcher *batcher);

#endif
