/* SPDX-License-Identifier: Apache-2.0
 *
 * ensure_bench CONFIG TABLE PREFIX N: ensures PREFIX 1 … PREFIX N through libonerow and prints how
 * long that took, in ms: p50 p95 max. The first one, which opens the table, is not counted.
 */
#include <onerow/onerow.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

static double ensure(struct onerow_table *table, const char *prefix, unsigned number)
{
    char json[256];
    char *id = NULL;
    struct onerow_error error;
    int len =
        snprintf(json, sizeof json, "{\"Name\":\"%s %u\",\"Rank\":%u}", prefix, number, number);
    double begin = now_ms();
    if (onerow_ensure(table, (struct onerow_span){json, (size_t)len}, &id, &error) != ONEROW_OK) {
        fprintf(stderr, "ensure_bench: %s\n", error.text);
        exit(1);
    }
    free(id);
    return now_ms() - begin;
}

int main(int argc, char **argv)
{
    struct onerow_table *table = NULL;
    struct onerow_error error;
    if (argc != 5) {
        return 64;
    }
    struct onerow_table_options options = {.config = argv[1], .table = argv[2]};
    if (onerow_table_open(&options, &table, &error) != ONEROW_OK) {
        fprintf(stderr, "ensure_bench: %s\n", error.text);
        return 1;
    }
    unsigned n = (unsigned)strtoul(argv[4], NULL, 10);
    double *took = calloc(n, sizeof *took);
    if (!took || n == 0) {
        return 64;
    }
    (void)ensure(table, "the first", 0);
    for (unsigned i = 0; i < n; i++) {
        took[i] = ensure(table, argv[3], i + 1);
    }
    qsort(took, n, sizeof *took, by_size);
    printf("%.3f %.3f %.3f\n", took[n / 2], took[n * 95 / 100], took[n - 1]);
    free(took);
    onerow_table_close(table);
    return 0;
}
