/* SPDX-License-Identifier: Apache-2.0
 *
 * A PostgreSQL server for tests in C: one per process, started when first asked for. It
 * is the fixture of the end-to-end tests (tests/e2e/postgres.py), run as a child that
 * stops the server as soon as this process is gone, however it went.
 */
#ifndef OR_TESTS_POSTGRES_H
#define OR_TESTS_POSTGRES_H

#include "tests/support/bench.h"

/* The URL of its database "postgres". Children (see child()) share their parent's server, if it
 * had one when they were made. */
const char *pg_server_url(void);

/* A fresh database; its URL lives as long as the bench. It is dropped some time after the bench. */
const char *pg_database(struct bench *b);

/* What psql prints for a statement: rows as lines, columns divided by |. It must succeed. */
const char *pg_sql(struct bench *b, const char *url, const char *statement);

#endif
