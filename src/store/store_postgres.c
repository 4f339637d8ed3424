/* SPDX-License-Identifier: Apache-2.0
 *
 * PostgreSQL: opening and closing, and the store's entry in the registry. Where to read on:
 *
 *   connection   _connect (making one), _wait (stop flag and time-outs), _error (what errors
 *                mean), _run (statements in a pipeline), _commit (transactions, and what became of
 *                one whose COMMIT was not answered)
 *   tables       _schema (what the catalogs say), _key and _arbiter (which index keeps the key),
 *                _create, _suggest, _statement (`onerow sql`)
 *   values       _value, _number, _moment, _time, _text, _array: JSON to what input functions read
 *   writing      _apply (a batch in turns), _shape, _call, _sql (the statements), _judge (records
 *                for which no row came back), _bulk (COPY), _unenforced
 *   reading      _read
 */
#include <stdlib.h>

#include "base/status.h"
#include "postgres/postgres_url.h"
#include "store/store_postgres_session.h"

extern const struct onerow_store_type or_store_postgres;

static void postgres_close(struct onerow_store *base)
{
    if (base) {
        struct or_postgres_store *store = or_postgres_store_of(base);
        or_postgres_disconnect(store);
        free(store->conninfo);
        free(store->shown);
        free(store);
    }
}

static enum onerow_status postgres_open(const struct onerow_store_options *options,
                                        struct onerow_store **out, struct onerow_error *error)
{
    *out = NULL;
    struct or_postgres_store *store = calloc(1, sizeof *store);
    if (!store) {
        return or_fail(error, ONEROW_NOMEM, "out of memory");
    }
    *store = (struct or_postgres_store){.base = {.type = &or_store_postgres},
                                        .wait_ms = options->wait_ms,
                                        .read_only = options->read_only,
                                        .leave_as_is = options->leave_as_is,
                                        .stop = options->stop};
    enum onerow_status status =
        or_postgres_url(options->url, &store->conninfo, &store->shown, error);
    if (status == ONEROW_OK) {
        status = or_postgres_connect(store, error);
    }
    if (status != ONEROW_OK) {
        postgres_close(&store->base);
        return status;
    }
    *out = &store->base;
    return ONEROW_OK;
}

const struct onerow_store_type or_store_postgres = {
    .name = "postgres",
    .summary = "a PostgreSQL database; its unique index keeps one row per key",
    .url = "postgres://HOST/DATABASE",
    .schemes = (const char *const[]){"postgres:", "postgresql:", "postgresql+", NULL},
    .remote = true,
    .open = postgres_open,
    .close = postgres_close,
    .table_open = or_postgres_table_open,
    .table_close = or_postgres_table_close,
    .table_create = or_postgres_table_create,
    .begin = or_postgres_begin,
    .apply = or_postgres_apply,
    .commit = or_postgres_commit,
    .rollback = or_postgres_rollback,
    .resolve = or_postgres_resolve,
    .look = or_postgres_look,
    .get = or_postgres_get,
    .audit = or_postgres_audit,
    .statement = or_postgres_statement,
    .suggest = or_postgres_suggest,
};
