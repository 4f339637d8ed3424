#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Why put sends arrays instead of staging: the same 20,000 sorted records, both ways, on a full table.

    build/bench-venv/bin/python bench/postgres/staging_trial.py      (the venv is make bench-postgres's)

What counts is the server's CPU time per row: COPY into a temporary table and the statement over it,
against the statement over unnest; all in one transaction that is rolled back, the ways in turn. Both
statements tell outcomes and lock in key order. `filtered` leaves equal rows out beforehand.
"""
import os
import statistics
import sys

import psycopg

import data
import server

ROWS, BATCH, ROUNDS = 100000, 20000, int(os.environ.get("TRIAL_ROUNDS", "7"))
CHANGED = "ROW(t.v)::record *<> ROW(excluded.v)::record"
TAIL = (f"\nON CONFLICT (k) DO UPDATE SET v = excluded.v WHERE {CHANGED} "
        "RETURNING t.k, t.xmax = 0")
LOOK = ("\nLEFT JOIN LATERAL (SELECT ROW(t.v)::record *<> ROW({}.v)::record AS wanted FROM items t "
        "WHERE t.k = {}.k OFFSET 0) r ON true WHERE r.wanted IS NOT FALSE")
STATEMENTS = {
    ("staging", "plain"): "INSERT INTO items AS t (k, v) SELECT s.k, s.v FROM staged s ORDER BY s.o" + TAIL,
    ("staging", "filtered"): "INSERT INTO items AS t (k, v) SELECT s.k, s.v FROM staged s"
                             + LOOK.format("s", "s") + " ORDER BY s.o" + TAIL,
    ("arrays", "plain"): "INSERT INTO items AS t (k, v) SELECT u.k, u.w::jsonb FROM "
                         "unnest($1::text[], $2::text[]) WITH ORDINALITY AS u(k, w, o) ORDER BY u.o"
                         + TAIL,
    ("arrays", "filtered"): "INSERT INTO items AS t (k, v) SELECT u.k, u.w::jsonb FROM "
                            "unnest($1::text[], $2::text[]) WITH ORDINALITY AS u(k, w, o)"
                            + LOOK.format("u", "u").replace("ROW(u.v)", "ROW(u.w::jsonb)")
                            + " ORDER BY u.o" + TAIL,
}


def fill(connection):
    connection.execute("DROP TABLE IF EXISTS items")
    connection.execute("CREATE TABLE items (k text PRIMARY KEY, v jsonb NOT NULL)")
    with connection.cursor().copy("COPY items FROM STDIN") as copy:
        for key in range(ROWS):
            copy.write(f"item-{data.FIRST_KEY + key}\t{data.value(key, 0)}\n")
    connection.execute("VACUUM (ANALYZE) items")


def backend_cpu(connection):
    _, own, _ = server.times(connection.info.backend_pid)
    return own


def run(connection, way, kind, keys, values):
    """Seconds of the server's CPU time for one batch. Ticks are coarse: it is run several times."""
    cpu = backend_cpu(connection)
    for _ in range(5):
        connection.execute("BEGIN")
        if way == "staging":
            connection.execute("CREATE TEMPORARY TABLE staged (k text, v jsonb, o integer) "
                               "ON COMMIT DROP")
            with connection.cursor().copy("COPY staged FROM STDIN") as copy:
                copy.write("".join(f"{k}\t{v}\t{o}\n" for o, (k, v) in enumerate(zip(keys, values))))
            connection.execute(STATEMENTS[way, kind])
        else:
            cursor = psycopg.RawCursor(connection)
            for at in range(0, BATCH, 1000):
                cursor.execute(STATEMENTS[way, kind], (keys[at:at + 1000], values[at:at + 1000]))
        connection.execute("ROLLBACK")
    return (backend_cpu(connection) - cpu) / 5


def main():
    with server.Server() as postgres:
        os.environ.update(postgres.environment)
        connection = psycopg.connect(postgres.url(), autocommit=True)
        keys = [f"item-{data.FIRST_KEY + key}" for key in range(BATCH)]
        print(f"server CPU, µs/row, median of {ROUNDS} rounds (min-max); {BATCH:,} of {ROWS:,} rows")
        for name, version in (("all changed", data.all_changed), ("90% unchanged", data.tenth_changed)):
            values = [data.value(key, version(key)) for key in range(BATCH)]
            fill(connection)
            seen = {}
            for _ in range(ROUNDS):
                for way, kind in STATEMENTS:
                    seen.setdefault((way, kind), []).append(
                        run(connection, way, kind, keys, values) / BATCH * 1e6)
                connection.execute("VACUUM items")
            for (way, kind), figures in seen.items():
                print(f"  {name:14} {way:8} {kind:9} {statistics.median(figures):6.2f} "
                      f"({min(figures):.2f}-{max(figures):.2f})")


if __name__ == "__main__":
    sys.exit(main())
