/* SPDX-License-Identifier: Apache-2.0
 *
 * NDJSON -> record -> canonical key -> SHA-256, by the code that `put` runs:
 *
 *   parse_bench FILE
 *
 * Prints "RECORDS BYTES SECONDS DIGEST", the last one a sum over all digests.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/text.h"
#include "core/key.h"
#include "engine/entry.h"
#include "engine/infer.h"
#include "input/input.h"

#define BATCH      1000U /* records between two resets of the arena */
#define HEAD_ITEMS 100U  /* from which the table's columns are taken */

struct bench {
    struct or_config config;
    struct or_table *table;
    struct or_input *input;
    struct or_arena arena;
    struct onerow_error error;
    uint64_t records;
    uint64_t sum;
};

static void check(struct bench *bench, enum onerow_status status, const char *what)
{
    if (status != ONEROW_OK) {
        fprintf(stderr, "parse_bench: %s: %s\n", what, bench->error.text);
        exit(1);
    }
}

static void open_input(struct bench *bench, const char *path)
{
    struct or_input_options options = {.path = path, .format = OR_FORMAT_NDJSON, .stop_fd = -1};
    check(bench, or_input_open(&options, &bench->input, &bench->error), path);
}

static void open_table(struct bench *bench)
{
    struct or_config_flags flags = {.store = "memory:", .table = "items", .key = "name"};
    struct or_table_options options = {.may_create = true};
    const struct or_config_table *found = NULL;
    check(bench, or_config_load(&bench->config, &flags, &bench->error), "configuration");
    check(bench, or_config_table(&bench->config, NULL, &found, &bench->error), "table");
    check(bench, or_table_open(found, &options, &bench->table, &bench->error), "opening");
}

static void create_table(struct bench *bench)
{
    struct or_item items[HEAD_ITEMS];
    struct onerow_new_column *columns = NULL;
    size_t n = 0;
    size_t n_columns = 0;
    while (n < HEAD_ITEMS) {
        check(bench, or_input_next(bench->input, &bench->arena, &items[n], &bench->error), "head");
        if (items[n].kind != OR_ITEM_RECORD) {
            break;
        }
        n++;
    }
    if (!or_infer_columns(items, n, &bench->table->spec, &bench->arena, &columns, &n_columns)) {
        check(bench, ONEROW_NOMEM, "columns");
    }
    check(bench, or_table_create(bench->table, columns, n_columns, NULL, &bench->error), "table");
}

/* False at the end. */
static bool one_record(struct bench *bench)
{
    struct or_item item = {0};
    check(bench, or_input_next(bench->input, &bench->arena, &item, &bench->error), "reading");
    if (item.kind == OR_ITEM_END) {
        return false;
    }
    struct or_entry entry = {.line = item.line};
    if (item.kind != OR_ITEM_RECORD || !or_entry_bind(&entry, bench->table, &item, &bench->arena) ||
        !entry.has_key) {
        check(bench, ONEROW_REJECTED, item.reason ? item.reason : "a record was refused");
    }
    unsigned char digest[OR_KEY_DIGEST_LEN];
    or_key_digest(entry.record.key, digest);
    bench->sum += digest[0] | (uint64_t)digest[OR_KEY_DIGEST_LEN - 1] << 8;
    if (++bench->records % BATCH == 0) {
        or_arena_reset(&bench->arena);
    }
    return true;
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
    static struct bench bench;
    if (argc != 2) {
        fputs("parse_bench FILE\n", stderr);
        return 64;
    }
    or_arena_init(&bench.arena);
    open_input(&bench, argv[1]);
    open_table(&bench);
    create_table(&bench);
    or_input_close(bench.input);
    or_arena_reset(&bench.arena);

    double start = now();
    open_input(&bench, argv[1]);
    while (one_record(&bench)) {
    }
    double seconds = now() - start;
    uint64_t read = 0;
    uint64_t total = 0;
    or_input_progress(bench.input, &read, &total);
    printf("%llu %llu %.6f %llx\n", (unsigned long long)bench.records, (unsigned long long)read,
           seconds, (unsigned long long)bench.sum);
    or_input_close(bench.input);
    or_table_close(bench.table);
    or_config_finish(&bench.config);
    or_arena_finish(&bench.arena);
    return 0;
}
