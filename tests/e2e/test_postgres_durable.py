# SPDX-License-Identifier: Apache-2.0
"""An acknowledgement outlives a crash of the server, whatever others and the defaults leave unflushed;
and defaults of the role change neither what is written nor what it means.

The server writes its log late, so that a commit that does not wait for the disk is lost when the
server stops at once: the controls see it happen.
"""
import functools
import json
import os
import re
import subprocess

import harness
import postgres

TRIES = 20  # of what a control has to see once
CONFIGURATION = """stores:
  app: {{ url: "{url}", connections: 1 }}
tables:
  t:
    store: app
    location: public.t
    key: [name]
{more}"""
ACCEPT = "    unenforced: accept\n"


@functools.cache
def server():
    """Writes its log when somebody waits for it, and otherwise as late as it may. It stops at once, its
    machine does not: what it has written is kept without fsync, too."""
    return postgres.Server(wal_writer_delay="10s", wal_writer_flush_after="1GB", autovacuum="off",
                           wal_level="minimal", max_wal_senders="0", checkpoint_timeout="1h",
                           bgwriter_lru_maxpages="0", fsync="off")


def configure(t, database, more="", role="postgres", port=None, name="onerow.yaml"):
    url = server().url(database, port).replace("postgres@", f"{role}@")
    t.write(name, CONFIGURATION.format(url=url, more=more))


def put(t, records, *options):
    """The outcomes of a run to its end, and their reasons."""
    result = t.onerow("put", "t", "--results", "-", *options,
                      input="".join(json.dumps(record) + "\n" for record in records))
    assert result.code == 0, result
    lines = [json.loads(line) for line in result.out.splitlines() if line.startswith("{")]
    assert len(lines) == len(records), result
    return {(line["outcome"], line["reason"]) for line in lines}


def flushed(connection, position):
    return connection.execute("SELECT pg_current_wal_flush_lsn() >= %s::pg_lsn",
                              (position,)).fetchone()[0]


def late(database, statement):
    """Commits the statement without waiting for the disk. True: it has not got there by now."""
    with server().connect(database) as connection:
        connection.execute("SET synchronous_commit = off")
        connection.execute(statement)
        position = connection.execute("SELECT pg_current_wal_insert_lsn()").fetchone()[0]
        return not flushed(connection, position)


def late_at_last(database, statements):
    """The first of the statements, each another one, that has not reached the disk: its number."""
    for number, statement in enumerate(statements):
        if late(database, statement):
            return number
    raise AssertionError("every commit was on disk at once: the test shows nothing")


# ---- unchanged ----------------------------------------------------------------------------------

TABLE = "CREATE TABLE t(name text NOT NULL, v int, w int)"
KEY = "ALTER TABLE t ADD UNIQUE (name)"
TRIGGER = ("CREATE FUNCTION pass() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
           "CREATE TRIGGER pass BEFORE INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION pass()")
PARTITIONS = ("CREATE TABLE t(name text PRIMARY KEY, v int, w int) PARTITION BY HASH (name)",
              "CREATE TABLE t0 PARTITION OF t FOR VALUES WITH (MODULUS 2, REMAINDER 0)",
              "CREATE TABLE t1 PARTITION OF t FOR VALUES WITH (MODULUS 2, REMAINDER 1)")
NEEDS = "ALTER TABLE t ALTER w SET NOT NULL"

KEEP, NEWEST = "    on_conflict: keep\n", "    on_conflict: newest(v)\n"
UPDATE, INSERT = "UPDATE t SET v = {}", "DELETE FROM t; INSERT INTO t VALUES ('a', {}, 1)"

# The table, its configuration, what others do, how far the record is ahead of it, and the reason.
WAYS = (
    ((TABLE, KEY), "", UPDATE, 0, None),
    ((TABLE, KEY), KEEP, INSERT, 1, "kept"),
    ((TABLE, KEY), NEWEST, UPDATE, -1, "older"),
    ((TABLE, KEY, NEEDS), "", UPDATE, 0, None),
    ((TABLE, KEY, NEEDS), KEEP, INSERT, 1, "kept"),
    ((TABLE, KEY, NEEDS), NEWEST, UPDATE, -1, "older"),
    ((TABLE, KEY, *TRIGGER), "", UPDATE, 0, None),
    (PARTITIONS, "", INSERT, 0, None),
    ((TABLE,), ACCEPT, UPDATE, 0, None),
    ((TABLE,), ACCEPT + KEEP, INSERT, 1, "kept"),
)


def test_unchanged_outlives_a_crash(t):
    """However it was found out that there is nothing to write: others write the row and do not wait
    for the disk, unchanged is said of it, and the server stops at once."""
    for way in WAYS:
        statements, more, change, shift, reason = way
        database = server().database("; ".join((*statements, "INSERT INTO t VALUES ('a', 1, 1)")))
        configure(t, database, more)
        v = 100 + late_at_last(database, (change.format(100 + n) for n in range(TRIES)))
        assert put(t, [{"name": "a", "v": v + shift}]) == {("unchanged", reason)}, way
        server().restart("immediate")
        rows = server().sql(database, "SELECT name, v FROM t")
        assert rows == [["a", str(v)]], (way, rows, v)


def test_ensure_unchanged_outlives_a_crash(t):
    database = server().database(TABLE, KEY, "INSERT INTO t VALUES ('a', 1, 1)")
    configure(t, database)
    v = 100 + late_at_last(database, (f"UPDATE t SET v = {100 + n}" for n in range(TRIES)))
    result = t.onerow("ensure", "t", "name=a", f"v={v}", "--json")
    assert result.code == 0 and "unchanged" in result.out, result
    server().restart("immediate")
    assert server().sql(database, "SELECT v FROM t") == [[str(v)]]


def filtered(message):
    """The message that brings the statement which leaves out what would change nothing."""
    return message.kind == b"P" and re.search(rb"INSERT INTO public\.t AS t.*LEFT JOIN LATERAL",
                                              message.data, re.S)


def test_unchanged_by_the_filtered_statement_outlives_a_crash(t):
    """The second batch is looked at before it is written, since the first one was unchanged. Others
    write its rows just before. So few that the page has room: to clear it would write to the log."""
    records = [{"name": f"k{10 + i}", "v": 1 + i // 20} for i in range(40)]
    t.ndjson("in.ndjson", records)
    for number in range(TRIES):
        proxy = postgres.Proxy(server())
        database = server().database(f"{TABLE}; {KEY}; INSERT INTO t SELECT 'k' || 10 + i, 1 "
                                     "FROM generate_series(0, 39) i")
        configure(t, database, port=proxy.port)
        cut = proxy.cut("before", filtered)
        process = t.start("put", "t", "--batch", "20", "--results", f"R{number}", "in.ndjson")
        cut.wait()
        is_late = late(database, "UPDATE t SET v = 2 WHERE name >= 'k30'")
        cut.resume()
        result = t.finish(process)
        server().restart("immediate")
        proxy.close()
        assert result.code == 0 and result.balance["unchanged"] == 40, result
        rows = server().sql(database, "SELECT name, v FROM t ORDER BY 1")
        assert rows == [[record["name"], str(record["v"])] for record in records]
        if is_late:
            return
    raise AssertionError("every commit was on disk at once: the test shows nothing")


def test_unchanged_in_bulk_outlives_a_crash(t):
    """So many records that a sample says which statement suits them. Others insert them just before:
    nothing is dead, so that reading clears nothing, which would write to the log."""
    for _ in range(TRIES):
        database = server().database(f"{TABLE}; {KEY}")
        configure(t, database)
        is_late = late(database, "INSERT INTO t SELECT i::text, 1 FROM generate_series(1, 3000) i")
        assert put(t, [{"name": str(i), "v": 1} for i in range(1, 3001)]) == {("unchanged", None)}
        server().restart("immediate")
        assert server().sql(database, "SELECT count(*), min(v), max(v) FROM t") == [["3000", "1", "1"]]
        if is_late:
            return
    raise AssertionError("every commit was on disk at once: the test shows nothing")


def test_control_a_commit_that_does_not_wait_is_lost(t):
    """The same without onerow in between."""
    database = server().database(TABLE, KEY, "INSERT INTO t VALUES ('a', 0, 1)")
    for number in range(1, TRIES):
        late(database, f"UPDATE t SET v = {number}")
        server().restart("immediate")
        if server().count(database, "SELECT v FROM t") < number:
            print(f"# lost in try {number}")
            return
    raise AssertionError("no commit was ever lost: the tests above show nothing")


# ---- created, under a default that does not wait ------------------------------------------------

def lax_database(*statements):
    database = server().database(*statements)
    server().sql("postgres", f"ALTER DATABASE {database} SET synchronous_commit = off")
    return database


def test_created_outlives_a_crash_under_a_lax_default(t):
    """The server stops at once when a result line is there, again and again under one run."""
    for more, statements in (("", (TABLE, KEY)), (ACCEPT, (TABLE,))):
        database = lax_database(*statements)
        configure(t, database, more)
        process = t.start("put", "t", "--wait", "60", "--results", f"R{len(more)}",
                          stdin=subprocess.PIPE)
        for number in range(3):
            process.stdin.write(json.dumps({"name": f"k{number}", "v": number}).encode() + b"\n")
            process.stdin.flush()
            t.wait_until(lambda: count_lines(t, f"R{len(more)}") > number)
            server().restart("immediate")
            rows = server().sql(database, "SELECT name, v FROM t ORDER BY 1")
            assert rows == [[f"k{i}", str(i)] for i in range(number + 1)], rows
        process.stdin.close()
        process.stdin = None
        result = t.finish(process)
        assert result.code == 0 and result.balance["created"] == 3, result


def count_lines(t, name):
    return len(t.results(name)) if os.path.exists(t.path(name)) else 0


def test_bulk_outlives_a_crash_under_a_lax_default(t):
    """Copied, then changed, in one batch each."""
    database = lax_database(TABLE, KEY)
    configure(t, database)
    for v, outcome in ((1, "created"), (2, "updated")):
        assert put(t, [{"name": str(i), "v": v} for i in range(3000)]) == {(outcome, None)}
        server().restart("immediate")
        assert server().sql(database, "SELECT count(*), min(v), max(v) FROM t") == \
            [["3000", str(v), str(v)]]


def test_control_the_lax_default_loses_rows(t):
    database = lax_database(TABLE, KEY)
    for number in range(1, TRIES):
        server().sql(database, f"INSERT INTO t VALUES ('k{number}')")
        server().restart("immediate")
        if server().count(database, f"SELECT count(*) FROM t WHERE name = 'k{number}'") == 0:
            print(f"# lost in try {number}")
            return
    raise AssertionError("no row was ever lost: the tests above show nothing")


# ---- defaults of the role -----------------------------------------------------------------------

ROLE_TABLE = ("CREATE TYPE mood AS ENUM ('sad', 'ok')",
              "CREATE TABLE t(name text NOT NULL, at timestamptz, seen timestamp, day date, m mood, "
              "f float8, b bytea, v int)", "CREATE SCHEMA other",
              "CREATE TABLE other.t(LIKE t)", "CREATE TYPE other.mood AS ENUM ('other')")
SETTINGS = (
    ("default_transaction_isolation = 'serializable'", "default_transaction_deferrable = on"),
    ("default_transaction_isolation = 'repeatable read'", "default_transaction_read_only = on"),
    ("statement_timeout = '20s'", "lock_timeout = '1ms'", "idle_session_timeout = '50ms'",
     "idle_in_transaction_session_timeout = '50ms'"),
    ("TimeZone = 'America/New_York'", "DateStyle = 'SQL, DMY'", "search_path = other"),
    ("TimeZone = 'Asia/Kathmandu'", "DateStyle = 'German, YMD'", "search_path = ''"),
    ("standard_conforming_strings = off", "backslash_quote = on", "client_encoding = 'LATIN1'",
     "bytea_output = 'escape'", "extra_float_digits = '-10'"),
)


def role_with(settings):
    if not server().count("postgres", "SELECT count(*) FROM pg_roles WHERE rolname = 'hurt'"):
        server().sql("postgres", "CREATE ROLE hurt LOGIN SUPERUSER")
    server().sql("postgres", "; ".join(["ALTER ROLE hurt RESET ALL"] +
                                       [f"ALTER ROLE hurt SET {setting}" for setting in settings]))


def of_role(name, v):
    return {"name": name, "at": "2024-01-02T23:04:05", "seen": "2024-01-02T21:04:05Z",
            "day": "03/02/2024", "m": "ok", "f": 0.1, "b": "\\x00ff", "v": v}


NAMES = ["a\\b", "é", "'", '"', "x"]
STORED = ["2024-01-02 23:04:05", "2024-01-02 21:04:05", "2024-03-02", "ok", "0.1", "\\x00ff"]


def stored(database):
    """What is there, as a session with the server's own defaults shows it."""
    return server().sql(database, "SELECT name, at AT TIME ZONE 'UTC', seen, day, m, f, b, v FROM t "
                                  "ORDER BY name COLLATE \"C\"")


def test_defaults_of_the_role(t):
    """Created, updated and unchanged as ever, with the same values in the row, with and without a
    unique index; the table of the same name that the search path finds is left alone."""
    databases = [(server().database("; ".join((*ROLE_TABLE, key))), more)
                 for key, more in ((KEY, ""), ("SELECT 1", ACCEPT))]
    for settings in SETTINGS:
        role_with(settings)
        for database, more in databases:
            server().sql(database, "TRUNCATE t")
            configure(t, database, more, role="hurt")
            for v, outcome in ((1, "created"), (2, "updated"), (2, "unchanged")):
                told = put(t, [of_role(name, v) for name in NAMES])
                assert told == {(outcome, None)}, (settings, told)
            rows = stored(database)
            assert rows == [[name, *STORED, "2"] for name in sorted(NAMES)], (settings, rows)
            assert server().count(database, "SELECT count(*) FROM other.t") == 0, settings
            got = t.onerow("get", "t", "name=é")
            assert got.code == 0 and json.loads(got.out)["v"] == 2, (settings, got)
            assert t.onerow("audit").code == 0
            # The same records by a role without such defaults: nothing to write.
            configure(t, database, more)
            assert put(t, [of_role(name, 2) for name in NAMES]) == {("unchanged", None)}, settings
    role_with(())


def test_lock_timeout_of_the_role(t):
    """--wait says how long to wait for a lock, not the role."""
    role_with(["lock_timeout = '1ms'"])
    for more, key in (("", KEY), (ACCEPT, "SELECT 1")):
        database = server().database(TABLE, key, "INSERT INTO t VALUES ('a', 1)")
        configure(t, database, more, role="hurt")
        with server().connect(database) as other:
            other.execute("BEGIN")
            other.execute("UPDATE t SET v = 2")
            t.write("in.ndjson", '{"name": "a", "v": 3}\n')
            process = t.start("put", "t", "--wait", "60", "in.ndjson")
            t.wait_until(lambda: server().count(
                "postgres", "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' "
                            f"AND datname = '{database}'") == 1)
            other.execute("COMMIT")
        result = t.finish(process)
        assert result.code == 0 and result.balance["updated"] == 1, result
    assert "due to lock timeout" not in server().logged()
    role_with(())


def test_statement_timeout_of_the_role(t):
    """A limit that the statement cannot keep ends the run with 75, and the same command goes on."""
    role_with(["statement_timeout = '200ms'"])
    database = server().database(TABLE, KEY, "INSERT INTO t VALUES ('a', 1)")
    configure(t, database, role="hurt")
    t.write("in.ndjson", '{"name": "a", "v": 3}\n')
    with server().connect(database) as other:
        other.execute("BEGIN")
        other.execute("UPDATE t SET v = 2")
        result = t.onerow("put", "t", "in.ndjson")
        assert result.code == 75 and "statement_timeout" in result.err, result
        other.execute("COMMIT")
    role_with(())
    result = t.onerow("put", "t", "in.ndjson")
    assert result.code == 0 and result.balance["updated"] == 1, result
    assert [(letter["line"], letter["outcome"]) for letter in t.letters()] == [(1, "rejected")]


if __name__ == "__main__":
    harness.main()
