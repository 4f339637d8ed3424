# SPDX-License-Identifier: Apache-2.0
"""Four workers share two connections to the server through a pgbouncer in transaction mode: each
transaction may meet another session, and pgbouncer goes away in the middle."""
import functools
import json

import harness
import postgres

WORKERS = 4
TABLE = "CREATE TABLE t(name text PRIMARY KEY, ver int, at timestamptz, doc jsonb)"


@functools.cache
def pool():
    return postgres.Pgbouncer(postgres.shared(), size=2)


def place(t, records):
    database = postgres.shared().database(TABLE)
    t.write("onerow.yaml", f"""stores:
  app: {{ url: "{pool().url(database)}" }}
tables:
  t: {{ store: app, key: [name], on_conflict: newest(ver) }}
""")
    inputs = []
    for p in range(WORKERS):
        mine = [{"name": f"k{t.random.randrange(2000):05d}", "ver": i * WORKERS + p,
                 "at": "2024-01-01T12:00:00+02:00", "doc": {"by": p}} for i in range(records)]
        t.ndjson(f"in{p}.ndjson", mine)
        inputs.append(mine)
    return database, inputs


def start(t, p, attempt=0):
    return t.start("put", "t", "--json", "--wait", "60", "--batch", "50",
                   "--results", f"R{p}.{attempt}", f"in{p}.ndjson")


def check_end(database, inputs):
    newest = {}
    for mine in inputs:
        for record in mine:
            newest[record["name"]] = max(record["ver"], newest.get(record["name"], -1))
    rows = postgres.shared().sql(database, "SELECT name, ver, at AT TIME ZONE 'UTC', doc->>'by' FROM t")
    assert {name: int(ver) for name, ver, _, _ in rows} == newest
    assert all(at == "2024-01-01 10:00:00" and int(ver) % WORKERS == int(by)
               for _, ver, at, by in rows)


def sessions(database):
    return postgres.shared().count("postgres", "SELECT count(*) FROM pg_stat_activity "
                                               f"WHERE datname = '{database}'")


def test_workers_share_two_connections(t):
    """More connections than the pool has, no session state left behind, one row per key."""
    database, inputs = place(t, 1500)
    processes = [start(t, p) for p in range(WORKERS)]
    most = 0
    while any(process.poll() is None for process in processes):
        most = max(most, sessions(database))
    results = [t.finish(process) for process in processes]
    assert all(result.code == 0 for result in results), results
    opened = sum(json.loads(result.out)["connections"] for result in results)
    print(f"# {opened} connections of the workers, at most {most} sessions of the server")
    assert opened > most and most <= 2
    check_end(database, inputs)
    # What the transactions set is gone with them; nothing was prepared under a name.
    left = postgres.shared().psql_at(pool().url(database), "SELECT name FROM pg_prepared_statements "
                                     "UNION ALL SELECT current_setting('lock_timeout')")
    assert left.stdout.strip() == "0", left
    assert "prepared statement" not in postgres.shared().logged()


def test_pgbouncer_goes_away(t):
    """Killed and started again while workers write: they go on. The server lives, so no outcome is
    unknown."""
    database, inputs = place(t, 3000)
    processes = [start(t, p) for p in range(WORKERS)]
    total = WORKERS * 3000

    def written():
        lines = 0
        for p in range(WORKERS):
            try:
                with open(t.path(f"R{p}.0"), "rb") as file:
                    lines += file.read().count(b"\n")
            except FileNotFoundError:
                pass
        return lines

    killed = 0
    for part in (1, 2, 3):
        t.wait_until(lambda: written() > total * part // 5 or
                     all(process.poll() is not None for process in processes))
        if any(process.poll() is None for process in processes):
            killed += 1
            pool().kill()
            pool().start()
    results = [t.finish(process) for process in processes]
    for p, result in enumerate(results):
        assert result.code in (0, 69), result
        if result.code == 69:
            print(f"# {result.err}")
            result = t.finish(start(t, p, 1))
        assert result.code == 0, result
    print(f"# pgbouncer was killed {killed} times; exits {[result.code for result in results]}")
    assert killed > 0
    assert [letter for letter in t.letters() if letter["outcome"] == "unknown"] == []
    check_end(database, inputs)


if __name__ == "__main__":
    harness.main()
