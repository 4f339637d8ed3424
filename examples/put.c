/* SPDX-License-Identifier: Apache-2.0
 *
 * The whole library in one file: open a table, put one record, put several of which two
 * have the same key, find a row, find or create one, close.
 *
 *     cc put.c $(pkg-config --cflags --libs onerow) -o put
 *     sqlite3 app.db 'CREATE TABLE areas (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE,
 *                                         status TEXT)'
 *     ./put
 *
 * Run it twice: the second time nothing is created, because every key has its row.
 */
#include <onerow/onerow.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Spans are not NUL-terminated; the library reads them during the call and keeps nothing. */
static struct onerow_span span(const char *text)
{
    struct onerow_span span = {text, strlen(text)};
    return span;
}

static int fail(const char *doing, const struct onerow_error *error)
{
    /* The text says what went wrong, where, and which command to run next. */
    fprintf(stderr, "put: %s: %s: %s\n", doing, onerow_status_name(error->status), error->text);
    return onerow_status_exit(error->status);
}

/* Prints what became of a record, and gives back what its result holds. */
static void show(const char *json, struct onerow_result *result)
{
    printf("%-9s  id %s", onerow_outcome_name(result->outcome), result->id ? result->id : "-");
    if (result->reason) {
        printf("  (%s)", result->reason);
    }
    printf("  %s\n", json);
    onerow_result_finish(result);
}

static enum onerow_status put_one(struct onerow_table *areas, struct onerow_error *error)
{
    static const char home[] = "{\"name\": \"HOME\", \"status\": \"Active\"}";
    struct onerow_result result;
    /* OK: the row is on the disk. REJECTED: it is not written, and the result says why.
     * UNKNOWN: nobody can tell, so look (onerow_get) before you try again. */
    enum onerow_status status = onerow_put(areas, span(home), &result, error);
    show(home, &result);
    return status;
}

static enum onerow_status put_several(struct onerow_table *areas, struct onerow_error *error)
{
    /* The second and the third record have the same key, so they share a row: they are written
     * in their order, and `folded_into` tells which of them carried the row's last value. The
     * last one has no key; it is rejected, and the others are written all the same. */
    static const char *const json[] = {
        "{\"name\": \"WORK\", \"status\": \"Active\"}",
        "{\"name\": \"GARDEN\", \"status\": \"Active\"}",
        "{\"name\": \"GARDEN\", \"status\": \"Paused\"}",
        "{\"status\": \"Active\"}",
    };
    enum { N = sizeof json / sizeof *json };
    struct onerow_span records[N];
    struct onerow_result results[N];
    for (size_t i = 0; i < N; i++) {
        records[i] = span(json[i]);
    }
    enum onerow_status status = onerow_put_many(areas, records, N, results, error);
    for (size_t i = 0; i < N; i++) {
        if (results[i].folded_into != i) {
            printf("carried by record %zu: ", results[i].folded_into);
        }
        show(json[i], &results[i]); /* every result is filled, whatever the status */
    }
    return status;
}

static enum onerow_status find(struct onerow_table *areas, struct onerow_error *error)
{
    char *row;
    enum onerow_status status = onerow_get(areas, span("{\"name\": \"GARDEN\"}"), &row, error);
    if (status == ONEROW_OK) {
        printf("found      %s\n", row);
        free(row);
    }
    return status;
}

static enum onerow_status find_or_create(struct onerow_table *areas, struct onerow_error *error)
{
    char *id;
    enum onerow_status status = onerow_ensure(areas, span("{\"name\": \"HOME\"}"), &id, error);
    if (status == ONEROW_OK) {
        printf("id of HOME %s\n", id);
        free(id);
    }
    return status;
}

int main(void)
{
    struct onerow_table_options options = {
        .store = "sqlite:app.db",
        .table = "areas",
        .key = "name",
    };
    struct onerow_table *areas;
    struct onerow_error error;
    /* A table without a unique index on its key is refused here, not written. */
    if (onerow_table_open(&options, &areas, &error) != ONEROW_OK) {
        return fail("opening", &error);
    }
    enum onerow_status status = put_one(areas, &error);
    if (status == ONEROW_OK) {
        status = put_several(areas, &error);
    }
    if (status == ONEROW_LEFT) { /* done, but not every record: expected in this example */
        status = find(areas, &error);
    }
    if (status == ONEROW_OK) {
        status = find_or_create(areas, &error);
    }
    onerow_table_close(areas);
    return status == ONEROW_OK ? EXIT_SUCCESS : fail("putting", &error);
}
