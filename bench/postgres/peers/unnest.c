/* SPDX-License-Identifier: Apache-2.0
 *
 * One statement for each batch of rows, on one connection:
 *
 *   unnest CONNINFO FILE.tsv ROWS STATEMENT.sql
 *
 * The statement takes two text[] (keys and values), sent in binary; rows of a batch are sorted by
 * key, and encoded before the clock runs. Each statement is a transaction of its own. Prints a JSON
 * object in the form that the other peers use (worker.py).
 */
#include <arpa/inet.h>
#include <libpq-fe.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#define TEXT_OID       25U
#define TEXT_ARRAY_OID 1009
#define MAX_ROWS       100000U

struct row {
    char *key;
    char *value;
};

struct parameter {
    char *data;
    size_t len;
    size_t room;
};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double cpu(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static void fail(const char *what, const char *why)
{
    fprintf(stderr, "unnest: %s: %s\n", what, why);
    exit(1);
}

static char *read_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file) {
        fail(path, "cannot be opened");
    }
    fseek(file, 0, SEEK_END);
    size_t size = (size_t)ftell(file);
    rewind(file);
    char *text = malloc(size + 1);
    if (!text || fread(text, 1, size, file) != size) {
        fail(path, "cannot be read");
    }
    text[size] = '\0';
    fclose(file);
    return text;
}

static void add(struct parameter *out, const void *data, size_t len)
{
    if (out->len + len > out->room) {
        out->room = (out->len + len) * 2;
        out->data = realloc(out->data, out->room);
        if (!out->data) {
            fail("a parameter", "out of memory");
        }
    }
    memcpy(out->data + out->len, data, len);
    out->len += len;
}

static void add_int(struct parameter *out, uint32_t number)
{
    uint32_t wire = htonl(number);
    add(out, &wire, sizeof wire);
}

static void add_array(struct parameter *out, const struct row *rows, uint32_t n, int values)
{
    out->len = 0;
    add_int(out, 1); /* dimensions */
    add_int(out, 0); /* no NULLs */
    add_int(out, TEXT_OID);
    add_int(out, n);
    add_int(out, 1); /* lower bound */
    for (uint32_t i = 0; i < n; i++) {
        const char *text = values ? rows[i].value : rows[i].key;
        add_int(out, (uint32_t)strlen(text));
        add(out, text, strlen(text));
    }
}

static int by_key(const void *a, const void *b)
{
    return strcmp(((const struct row *)a)->key, ((const struct row *)b)->key);
}

/* The next lines "key TAB value" of a text, cut in place. */
static uint32_t next_rows(char **at, struct row *rows, uint32_t max)
{
    uint32_t n = 0;
    while (n < max && **at) {
        char *end = strchrnul(*at, '\n');
        char *tab = memchr(*at, '\t', (size_t)(end - *at));
        if (!tab) {
            fail("the input", "a line has no tab");
        }
        rows[n++] = (struct row){*at, tab + 1};
        *at = *end ? end + 1 : end;
        *tab = *end = '\0';
    }
    qsort(rows, n, sizeof *rows, by_key);
    return n;
}

static double run(PGconn *conn, const char *sql, const struct parameter *parameters)
{
    const Oid types[] = {TEXT_ARRAY_OID, TEXT_ARRAY_OID};
    const char *data[] = {parameters[0].data, parameters[1].data};
    const int lengths[] = {(int)parameters[0].len, (int)parameters[1].len};
    const int formats[] = {1, 1};
    double start = now();
    PGresult *result = PQexecParams(conn, sql, 2, types, data, lengths, formats, 1);
    double spent = now() - start;
    if (PQresultStatus(result) != PGRES_COMMAND_OK && PQresultStatus(result) != PGRES_TUPLES_OK) {
        fail("the statement", PQerrorMessage(conn));
    }
    PQclear(result);
    return spent;
}

int main(int argc, char **argv)
{
    static struct row rows[MAX_ROWS];
    struct parameter parameters[2] = {0};
    if (argc != 5) {
        fputs("unnest CONNINFO FILE.tsv ROWS STATEMENT.sql\n", stderr);
        return 64;
    }
    char *at = read_file(argv[2]);
    uint32_t max = (uint32_t)strtoul(argv[3], NULL, 10);
    const char *sql = read_file(argv[4]);
    PGconn *conn = PQconnectdb(argv[1]);
    if (PQstatus(conn) != CONNECTION_OK || max == 0 || max > MAX_ROWS) {
        fail("connecting", PQerrorMessage(conn));
    }
    double seconds = 0;
    double cpu_before = cpu();
    unsigned total = 0;
    printf("{\"latencies\": [");
    for (uint32_t n = next_rows(&at, rows, max); n; n = next_rows(&at, rows, max)) {
        add_array(&parameters[0], rows, n, 0);
        add_array(&parameters[1], rows, n, 1);
        double spent = run(conn, sql, parameters);
        printf("%s%.6f", total ? ", " : "", spent);
        seconds += spent;
        total += n;
    }
    printf("], \"rows\": %u, \"seconds\": %.6f, \"cpu\": %.6f, \"errors\": {}}\n", total, seconds,
           cpu() - cpu_before);
    PQfinish(conn);
    return 0;
}
