/* SPDX-License-Identifier: Apache-2.0
 *
 * Entries are gathered in one block of memory. A full block is sorted and written to a file
 * of its own, a run. Runs are merged two by two, as a binary counter adds: a run of level n
 * holds 2^n blocks, and two of one level make one of the next.
 *
 *     blocks   1  2   3    4  5 …
 *     level 0  x      x       x
 *     level 1     x   x
 *     level 2              x  x
 *
 * So there are never more files than levels, each is written and read in order, and an entry
 * is copied as often as the number of blocks can be halved. Of two merged runs the one of the
 * higher level is the older: equal keys keep their order.
 *
 * An entry in memory and in a file: the lengths of key and rest, four bytes each, then both.
 */
#include "base/sort.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/status.h"
#include "base/text.h"

#define LEVELS 48 /* 2^48 blocks: more than any disk holds */
#define HEADER (2 * sizeof(uint32_t))

struct reader {
    FILE *file;
    struct or_buffer entry;
    struct onerow_span key; /* in the entry */
    struct onerow_span rest;
    bool ended;
};

struct or_sort {
    char *block;
    size_t room;
    size_t used;
    const char **entries; /* in the block */
    size_t n_entries;
    size_t room_entries;
    FILE *runs[LEVELS];
    bool reading;
    size_t next;       /* entry, when all of them are in memory */
    struct reader all; /* the last run, otherwise */
};

static struct onerow_span key_of(const char *entry)
{
    uint32_t len;
    memcpy(&len, entry, sizeof len);
    return (struct onerow_span){entry + HEADER, len};
}

static struct onerow_span rest_of(const char *entry)
{
    uint32_t lens[2];
    memcpy(lens, entry, sizeof lens);
    return (struct onerow_span){entry + HEADER + lens[0], lens[1]};
}

static int compare_entries(const void *left, const void *right)
{
    const char *a = *(const char *const *)left;
    const char *b = *(const char *const *)right;
    int order = or_span_compare(key_of(a), key_of(b));
    return order ? order : (a > b) - (a < b); /* entries lie in the order of their arrival */
}

static void sort_block(struct or_sort *sort)
{
    if (sort->n_entries) {
        qsort(sort->entries, sort->n_entries, sizeof *sort->entries, compare_entries);
    }
}

/* ---- files --------------------------------------------------------------------- */

static enum onerow_status fail_file(const char *doing, struct onerow_error *error)
{
    int code = errno;
    bool full = code == ENOSPC || code == EDQUOT;
    return or_fail(error, full ? ONEROW_FULL : ONEROW_IO,
                   "%s a temporary file: %s\n  give TMPDIR a folder with enough space, then run "
                   "the same command again",
                   doing, strerror(code));
}

static FILE *open_in(const char *folder)
{
    struct or_buffer path;
    or_buffer_init(&path);
    or_buffer_printf(&path, "%s/onerow-XXXXXX", folder);
    int fd = path.failed ? -1 : mkostemp(path.data, O_CLOEXEC);
    FILE *file = NULL;
    if (fd >= 0) {
        unlink(path.data);
        file = fdopen(fd, "w+b");
        if (!file) {
            close(fd);
        }
    }
    or_buffer_finish(&path);
    return file;
}

static enum onerow_status open_run(FILE **run, struct onerow_error *error)
{
    const char *wanted = getenv("TMPDIR");
    *run = open_in(wanted && *wanted ? wanted : "/var/tmp");
    if (!*run) {
        *run = open_in("/tmp");
    }
    return *run ? ONEROW_OK : fail_file("making", error);
}

static enum onerow_status end_run(FILE *file, struct onerow_error *error)
{
    if (fflush(file) != 0 || ferror(file)) {
        return fail_file("writing", error);
    }
    rewind(file);
    return ONEROW_OK;
}

/* A failure sticks to the file; end_run finds it. */
static void write_entry(FILE *file, struct onerow_span key, struct onerow_span rest)
{
    uint32_t lens[2] = {(uint32_t)key.len, (uint32_t)rest.len};
    (void)fwrite(lens, 1, sizeof lens, file);
    (void)fwrite(key.data, 1, key.len, file);
    (void)fwrite(rest.data, 1, rest.len, file);
}

/* A run that ends in the middle of an entry is as bad as one that cannot be read. */
static enum onerow_status fail_reading(const struct reader *reader, struct onerow_error *error)
{
    errno = ferror(reader->file) ? errno : EIO;
    return fail_file("reading", error);
}

static enum onerow_status read_entry(struct reader *reader, struct onerow_error *error)
{
    uint32_t lens[2];
    size_t got = fread(lens, 1, sizeof lens, reader->file);
    reader->ended = got == 0 && !ferror(reader->file);
    if (reader->ended) {
        return ONEROW_OK;
    }
    if (got < sizeof lens) {
        return fail_reading(reader, error);
    }
    or_buffer_clear(&reader->entry);
    char part[4096];
    for (size_t left = (size_t)lens[0] + lens[1]; left; left -= got) {
        got = fread(part, 1, left < sizeof part ? left : sizeof part, reader->file);
        if (got == 0) {
            return fail_reading(reader, error);
        }
        or_buffer_add(&reader->entry, part, got);
    }
    if (reader->entry.failed) {
        return or_fail(error, ONEROW_NOMEM, "out of memory");
    }
    const char *data = or_buffer_cstr(&reader->entry);
    reader->key = (struct onerow_span){data, lens[0]};
    reader->rest = (struct onerow_span){data + lens[0], lens[1]};
    return ONEROW_OK;
}

static void reader_finish(struct reader *reader)
{
    or_buffer_finish(&reader->entry);
    if (reader->file) {
        fclose(reader->file);
    }
    *reader = (struct reader){0};
}

/* ---- runs ------------------------------------------------------------------------ */

static enum onerow_status copy_in_order(struct reader *older, struct reader *newer, FILE *out,
                                        struct onerow_error *error)
{
    enum onerow_status status = read_entry(older, error);
    if (status == ONEROW_OK) {
        status = read_entry(newer, error);
    }
    while (status == ONEROW_OK && !(older->ended && newer->ended)) {
        bool from_older =
            newer->ended || (!older->ended && or_span_compare(older->key, newer->key) <= 0);
        struct reader *from = from_older ? older : newer;
        write_entry(out, from->key, from->rest);
        status = read_entry(from, error);
    }
    return status == ONEROW_OK ? end_run(out, error) : status;
}

/* Makes one run of two, which are closed; *newer becomes the new one, or NULL. */
static enum onerow_status merge(FILE *older, FILE **newer, struct onerow_error *error)
{
    struct reader a = {.file = older};
    struct reader b = {.file = *newer};
    enum onerow_status status = open_run(newer, error);
    if (status == ONEROW_OK) {
        status = copy_in_order(&a, &b, *newer, error);
    }
    reader_finish(&a);
    reader_finish(&b);
    if (status != ONEROW_OK && *newer) {
        fclose(*newer);
        *newer = NULL;
    }
    return status;
}

static enum onerow_status add_run(struct or_sort *sort, FILE *run, struct onerow_error *error)
{
    enum onerow_status status = ONEROW_OK;
    size_t level = 0;
    for (; status == ONEROW_OK && level < LEVELS - 1 && sort->runs[level]; level++) {
        FILE *older = sort->runs[level];
        sort->runs[level] = NULL;
        status = merge(older, &run, error);
    }
    sort->runs[level] = run;
    return status;
}

/* Writes the block as a run. */
static enum onerow_status spill(struct or_sort *sort, struct onerow_error *error)
{
    sort_block(sort);
    FILE *run = NULL;
    enum onerow_status status = open_run(&run, error);
    if (status != ONEROW_OK) {
        return status;
    }
    for (size_t i = 0; i < sort->n_entries; i++) {
        write_entry(run, key_of(sort->entries[i]), rest_of(sort->entries[i]));
    }
    status = end_run(run, error);
    if (status != ONEROW_OK) {
        fclose(run);
        return status;
    }
    sort->used = 0;
    sort->n_entries = 0;
    return add_run(sort, run, error);
}

/* ---- adding and reading -------------------------------------------------------------- */

struct or_sort *or_sort_create(size_t memory)
{
    struct or_sort *sort = calloc(1, sizeof *sort);
    if (sort) {
        sort->room = memory;
        sort->block = malloc(memory);
    }
    if (sort && !sort->block) {
        free(sort);
        return NULL;
    }
    return sort;
}

void or_sort_destroy(struct or_sort *sort)
{
    if (!sort) {
        return;
    }
    for (size_t level = 0; level < LEVELS; level++) {
        if (sort->runs[level]) {
            fclose(sort->runs[level]);
        }
    }
    reader_finish(&sort->all);
    free((void *)sort->entries);
    free(sort->block);
    free(sort);
}

/* The list of entries may take as much again as the block, not more. */
static bool list_has_room(struct or_sort *sort)
{
    if (sort->n_entries < sort->room_entries) {
        return true;
    }
    size_t room = sort->room_entries ? sort->room_entries * 2 : 1024;
    const char **entries = (const char **)realloc((void *)sort->entries, room * sizeof *entries);
    if (!entries) {
        return false;
    }
    sort->entries = entries;
    sort->room_entries = room;
    return true;
}

enum onerow_status or_sort_add(struct or_sort *sort, struct onerow_span key,
                               struct onerow_span rest, struct onerow_error *error)
{
    size_t len = HEADER + key.len + rest.len;
    if (len > sort->room - sort->used && sort->n_entries) {
        enum onerow_status status = spill(sort, error);
        if (status != ONEROW_OK) {
            return status;
        }
    }
    if (len > sort->room || !list_has_room(sort)) {
        return or_fail(error, ONEROW_NOMEM, "out of memory");
    }
    uint32_t lens[2] = {(uint32_t)key.len, (uint32_t)rest.len};
    char *entry = sort->block + sort->used;
    memcpy(entry, lens, sizeof lens);
    memcpy(entry + HEADER, key.len ? key.data : "", key.len);
    memcpy(entry + HEADER + key.len, rest.len ? rest.data : "", rest.len);
    sort->entries[sort->n_entries++] = entry;
    sort->used += len;
    return ONEROW_OK;
}

/* Brings everything into one run, unless it never left the memory. */
static enum onerow_status begin_reading(struct or_sort *sort, struct onerow_error *error)
{
    bool spilled = false;
    for (size_t level = 0; level < LEVELS; level++) {
        spilled |= sort->runs[level] != NULL;
    }
    sort->reading = true;
    if (!spilled) {
        sort_block(sort);
        return ONEROW_OK;
    }
    enum onerow_status status = sort->n_entries ? spill(sort, error) : ONEROW_OK;
    for (size_t level = 0; level < LEVELS && status == ONEROW_OK; level++) {
        FILE *older = sort->runs[level];
        sort->runs[level] = NULL;
        if (older && sort->all.file) {
            status = merge(older, &sort->all.file, error);
        } else if (older) {
            sort->all.file = older;
        }
    }
    return status;
}

enum onerow_status or_sort_next(struct or_sort *sort, struct onerow_span *key,
                                struct onerow_span *rest, struct onerow_error *error)
{
    enum onerow_status status = sort->reading ? ONEROW_OK : begin_reading(sort, error);
    if (status != ONEROW_OK) {
        return status;
    }
    if (!sort->all.file) {
        if (sort->next == sort->n_entries) {
            return ONEROW_ABSENT;
        }
        const char *entry = sort->entries[sort->next++];
        *key = key_of(entry);
        *rest = rest_of(entry);
        return ONEROW_OK;
    }
    status = read_entry(&sort->all, error);
    *key = sort->all.key;
    *rest = sort->all.rest;
    return status == ONEROW_OK && sort->all.ended ? ONEROW_ABSENT : status;
}
