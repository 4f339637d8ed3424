# SPDX-License-Identifier: Apache-2.0
"""The command on PostgreSQL as a person and a script meet it: every verb, every way to say which
database, and what it says when it cannot get there. No password is ever shown."""
import functools
import json
import os
import re
import subprocess
import sys

import harness
import postgres

PASSWORD = "s3cr3t/pass:word"
ESCAPED = "s3cr3t%2Fpass%3Aword"
TABLE = "CREATE TABLE t(id serial PRIMARY KEY, name text NOT NULL UNIQUE, v int, w text)"


@functools.cache
def server():
    made = postgres.shared()
    made.require_password("locked", PASSWORD)
    return made


def where(database, url=None):
    return ["--store", url or server().url(database), "--table", "t", "--key", "name"]


def locked(database, password=ESCAPED, port=None, scheme="postgres"):
    secret = f":{password}" if password else ""
    return f"{scheme}://locked{secret}@127.0.0.1:{port or server().port}/{database}"


# ---- every verb ---------------------------------------------------------------------------------

def test_ensure_and_get(t):
    database = server().database(TABLE)
    first = t.onerow("ensure", *where(database), "name=HOME", "v=1")
    again = t.onerow("ensure", *where(database), "name=HOME", "v=2")
    assert first.code == again.code == 0 and first.out == again.out == "1\n", (first, again)
    assert t.onerow("ensure", *where(database), "--returning", "v", "name=HOME").out == "1\n"
    found = t.onerow("get", *where(database), "name=HOME")
    assert found.code == 0, found
    assert json.loads(found.out) == {"id": 1, "name": "HOME", "v": 1, "w": None}, found
    absent = t.onerow("get", *where(database), "name=home")
    assert absent.code == 1 and not absent.out, absent
    bad = t.onerow("ensure", *where(database), "name=x", "v=many")
    assert bad.code == 1 and "v" in bad.err and not bad.out, bad
    assert server().count(database, "SELECT count(*) FROM t") == 1


def test_ensure_raced(t):
    """Sixteen processes want the same new row: one row, one id, told to all of them."""
    database = server().database(TABLE)
    for name in ("HOME", "Ärger"):
        processes = [t.start("ensure", *where(database), "name=" + name) for _ in range(16)]
        results = [t.finish(process) for process in processes]
        assert all(result.code == 0 for result in results), results
        ids = {result.out.strip() for result in results}
        assert [list(ids)] == server().sql(database, f"SELECT id FROM t WHERE name = '{name}'")
    assert server().count(database, "SELECT count(*) FROM t") == 2


def test_audit(t):
    """Duplicates and rows without a key are found, by every key type."""
    database = server().database("CREATE TABLE t(name text, at timestamptz, n numeric, v int)")
    keys = ["--store", server().url(database), "--table", "t", "--key", "name,at:timestamp,n:decimal"]
    server().sql(database, "INSERT INTO t SELECT i::text, '2024-01-01', i, 0 "
                           "FROM generate_series(1, 5000) i")
    clean = t.onerow("audit", *keys, "--json")
    assert clean.code == 0 and json.loads(clean.out)["duplicate_keys"] == 0, clean
    server().sql(database, "INSERT INTO t VALUES ('7', '2024-01-01', 7.00), "
                           "('7', '2024-01-01 00:00+00', 7), (NULL, now(), 1)")
    found = t.onerow("audit", *keys, "--json")
    assert found.code == 1, found
    total = json.loads(found.out.strip().split("\n")[-1])
    assert total["duplicate_keys"] == 1 and total["duplicate_rows"] == 3, found
    assert total["keyless_rows"] == 1, found


def test_check(t):
    """What each table is promised, and what to run where it is refused."""
    database = server().database(TABLE, "CREATE TABLE bare(name text)",
                                 "CREATE UNLOGGED TABLE fast(name text PRIMARY KEY)")
    t.write("onerow.yaml", "stores:\n  app: { url: \"%s\" }\ntables:\n" % server().url(database) +
            "".join(f"  {name}: {{ store: app, key: [name] }}\n" for name in ("t", "bare", "fast")))
    good = t.onerow("check", "t")
    assert good.code == 0 and "exactly one row per key, always" in good.out, good
    assert "t_name_key" in good.out and "durable" in good.out, good
    fast = t.onerow("check", "fast")
    assert fast.code == 0 and "not durable" in fast.out and "UNLOGGED" in fast.out, fast
    bare = t.onerow("check")
    assert bare.code == 78, bare
    advice = re.search(r"run: (CREATE UNIQUE INDEX .*);", bare.out + bare.err)
    assert advice, bare
    server().sql(database, advice.group(1))
    assert t.onerow("check").code == 0


def test_init(t):
    """The first configuration is one that check accepts; the password goes into no file."""
    database = server().database(TABLE, 'CREATE SCHEMA "App"',
                                 'CREATE TABLE "App"."Stats"("User" text, day date, v int, '
                                 'PRIMARY KEY ("User", day))')
    made = t.onerow("init", server().url(database))
    assert made.code == 0, made
    text = open(t.path("onerow.yaml"), encoding="utf-8").read()
    assert "Stats" in text and "name" in text, text
    checked = t.onerow("check")
    assert checked.code == 0, (checked, text)
    again = t.onerow("init", server().url(database))
    assert again.code != 0 and open(t.path("onerow.yaml"), encoding="utf-8").read() == text, again
    shown = t.onerow("init", "-o", "-", server().url(database), "t")
    assert shown.code == 0 and "Stats" not in shown.out, shown


def test_create_table(t):
    """Made with its unique index, once, by several processes at the same time."""
    database = server().database()
    records = [{"name": f"n{i}", "v": i, "price": 1.5, "day": "2024-01-01", "ok": True,
                "at": "2024-01-01T00:00:00Z", "doc": {"a": [1]}} for i in range(200)]
    t.ndjson("in.ndjson", records)
    processes = [t.start("put", *where(database), "--create-table", "in.ndjson") for _ in range(4)]
    results = [t.finish(process) for process in processes]
    assert all(result.code == 0 for result in results), results
    assert sum(result.balance["created"] for result in results) == 200, results
    assert server().count(database, "SELECT count(*) FROM t") == 200
    assert t.onerow("check", *where(database)).code == 0
    assert t.onerow("put", *where(database), "in.ndjson").balance["unchanged"] == 200


def run_python(t, code):
    path = t.write("program.py", code)
    answer = subprocess.run([sys.executable, path], capture_output=True, text=True, cwd=t.folder,
                            check=False)
    assert answer.returncode == 0, (code, answer.stderr)
    return answer.stdout.split()


def test_sql(t):
    """The statement in each notation, run as its user would: created, unchanged, updated."""
    database = server().database(TABLE.replace("w text", "\"odd %:name\" text"))
    forms = {form: t.onerow("sql", *where(database), "--for", form)
             for form in ("psql", "sqlalchemy", "psycopg")}
    assert all(result.code == 0 for result in forms.values()), forms
    unknown = t.onerow("sql", *where(database), "--for", "cobol")
    assert unknown.code == 64 and "psycopg" in unknown.err, unknown
    whole = t.onerow("sql", *where(database))
    assert whole.code == 0 and forms["psql"].out in whole.out, whole

    server().sql(database, 'ALTER TABLE t DROP COLUMN "odd %:name"')
    forms = {form: t.onerow("sql", *where(database), "--for", form).out for form in forms}
    script = t.write("upsert.sql", forms["psql"])

    def through_psql(value):
        answer = subprocess.run([harness.need("psql", "postgresql-client"), "-XqAt", "-d",
                                 server().url(database), "--set", "name=it's", "--set", f"v={value}",
                                 "-f", script], capture_output=True, text=True, check=False)
        assert answer.returncode == 0, answer.stderr
        return answer.stdout.strip()

    assert [through_psql(1), through_psql(1), through_psql(2)] == ["t", "", "f"]
    rest = '\n    print("none" if row is None else row[0])\n'
    body = "for value in (1, 1, 2):\n    record = {'name': 'NAME', 'v': value}\n    "
    code = (forms["psycopg"].replace("row = ", body.replace("NAME", "p") + "row = ")
            .replace(".fetchone()", ".fetchone()" + rest))
    said = run_python(t, "import psycopg\nconnection = psycopg.connect(\"%s\", autocommit=True)\n%s"
                      % (server().url(database), code))
    assert said == ["True", "none", "False"], said
    code = (forms["sqlalchemy"].replace("row = ", body.replace("NAME", "s") + "row = ")
            .replace(".first()", ".first()" + rest))
    said = run_python(t, "import sqlalchemy\nengine = sqlalchemy.create_engine(\"%s\")\n"
                         "connection = engine.connect()\n%s"
                      % (server().url(database, scheme="postgresql"), code))
    assert said == ["True", "none", "False"], said


def test_dead_letters(t):
    """What PostgreSQL refused is listed with its reason, and goes in once the cause is gone."""
    database = server().database(TABLE.replace("v int", "v int CHECK (v < 100)"))
    t.write("onerow.yaml", "stores:\n  app: { url: \"%s\" }\ntables:\n"
                           "  t: { store: app, key: [name], secret: [w] }\n" % server().url(database))
    t.ndjson("in.ndjson", [{"name": f"n{i}", "v": i * 30, "w": "hidden"} for i in range(6)])
    result = t.onerow("put", "t", "in.ndjson")
    assert result.code == 1 and result.balance["rejected"] == 2, result
    listed = t.onerow("dlq", "list", "--json")
    assert "t_v_check" in listed.out and "hidden" not in listed.out, listed
    stuck = t.onerow("dlq", "replay", "--json")
    assert stuck.code == 1 and json.loads(stuck.out)["created"] == 0, stuck
    server().sql(database, "ALTER TABLE t DROP CONSTRAINT t_v_check")
    replayed = t.onerow("dlq", "replay", "--json")
    assert replayed.code == 0 and json.loads(replayed.out)["created"] == 2, replayed
    assert server().count(database, "SELECT count(*) FROM t WHERE w = 'hidden'") == 6


def test_measures(t):
    """--json tells how the writing went."""
    database = server().database(TABLE)
    t.ndjson("in.ndjson", [{"name": f"n{i}", "v": i} for i in range(500)])
    result = t.onerow("put", *where(database), "--json", "in.ndjson")
    told = json.loads(result.out)
    assert told["read"] == told["created"] == 500 and told["batches"] >= 1, told
    assert 0 < told["round_trips"] < 100 and told["retries"] == told["bisects"] == 0, told
    assert 0 < told["latency_us"]["p50"] <= told["latency_us"]["p99"] <= told["latency_us"]["max"]


def test_dry_run(t):
    database = server().database(TABLE, "INSERT INTO t(name, v) VALUES ('a', 1), ('b', 1)")
    t.ndjson("in.ndjson", [{"name": "a", "v": 1}, {"name": "b", "v": 2}, {"name": "c", "v": 3},
                           {"name": "d", "v": "x"}])
    result = t.onerow("put", *where(database), "--dry-run", "in.ndjson")
    balance = result.balance
    assert [balance[o] for o in ("created", "updated", "unchanged", "rejected")] == [1] * 4, result
    assert server().sql(database, "SELECT name, v FROM t ORDER BY 1") == [["a", "1"], ["b", "1"]]


def test_interrupted(t):
    """SIGTERM while a lock is held by somebody else: 75, and nothing is written."""
    database = server().database(TABLE, "INSERT INTO t(name, v) VALUES ('n5', 0)")
    t.ndjson("in.ndjson", [{"name": f"n{i}", "v": i + 1} for i in range(10)])
    with server().connect(database) as holder:
        holder.execute("BEGIN")
        holder.execute("SELECT 1 FROM t FOR UPDATE")
        process = t.start("put", *where(database), "in.ndjson")
        server().wait(lambda: server().count(
            database, "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"))
        process.terminate()
        result = t.finish(process)
        assert result.code == 75 and "goes on" in result.err, result
        blocked = t.onerow("put", *where(database), "--wait", "0.2", "in.ndjson")
        assert blocked.code == 75, blocked
        holder.execute("ROLLBACK")
    assert server().count(database, "SELECT count(*) FROM t") == 1
    assert t.onerow("put", *where(database), "in.ndjson").code == 0


# ---- ways to the database -----------------------------------------------------------------------

def grant(database):
    server().sql(database, "GRANT ALL ON t, t_id_seq TO locked")
    return database


def test_ways_to_say_where(t):
    """libpq's and SQLAlchemy's spellings, PG* variables, ~/.pgpass, $DATABASE_URL, a socket."""
    database = grant(server().database(TABLE))
    port = str(server().port)
    t.ndjson("in.ndjson", [{"name": "a", "v": 1}])
    home = t.path("home")
    os.mkdir(home)
    t.write("home/.pgpass", "*:*:*:locked:" + PASSWORD.replace(":", "\\:") + "\n")
    os.chmod(t.path("home/.pgpass"), 0o600)
    everything = {"PGHOST": "127.0.0.1", "PGPORT": port, "PGUSER": "locked", "PGDATABASE": database,
                  "PGPASSWORD": PASSWORD}
    plain = f"127.0.0.1:{port}/{database}"
    for url, variables in [
            (locked(database), {}),
            (locked(database, scheme="postgresql"), {}),
            (locked(database, scheme="postgresql+psycopg"), {}),
            (locked(database, scheme="postgresql+psycopg2"), {}),
            (locked(database, scheme="postgresql+asyncpg") + "?ssl=false", {}),
            (locked(database) + "?sslmode=disable&application_name=me", {}),
            (locked(database, password=None), {"PGPASSWORD": PASSWORD}),
            (locked(database, password=None), {"HOME": home}),
            (f"postgres://{plain}", {"PGUSER": "locked", "HOME": home}),
            (f"postgres://{plain}?user=locked", {"HOME": home}),
            ("postgres://", everything),
            ("postgresql:", everything),
            (None, {"DATABASE_URL": locked(database)}),
            (f"postgres://postgres@/{database}?host={server().folder}&port={port}", {}),
            (f"postgres://127.0.0.1:1,127.0.0.1:{port}/{database}?user=locked&"
             "target_session_attrs=read-write", {"HOME": home})]:
        before = dict(t.env)
        t.env.update(variables)
        store = ["--store", url] if url else []
        result = t.onerow("put", *store, "--table", "t", "--key", "name", "in.ndjson")
        t.env.clear()
        t.env.update(before)
        assert result.code == 0 and result.balance["read"] == 1, (url, result)
        assert "s3cr3t" not in result.out + result.err, result
    t.write("url", locked(database) + "\n")
    os.chmod(t.path("url"), 0o600)
    t.write("onerow.yaml", "stores:\n  app: { url: \"file:url\" }\n  env: { url: \"%s\" }\ntables:\n"
                           "  t: { store: app, key: [name] }\n  t2: { store: env, location: t, "
                           "key: [name] }\n" % locked(database, "${DB_PASSWORD}"))
    t.env["DB_PASSWORD"] = ESCAPED
    for table in ("t", "t2"):
        result = t.onerow("put", table, "in.ndjson")
        assert result.code == 0, result


def test_no_way_there(t):
    """69 or 78, with what to do, and without the password: not in messages, letters or JSON."""
    database = grant(server().database(TABLE))
    wrong = "wr0ng%2Fs3cr3t"
    t.ndjson("in.ndjson", [{"name": "a", "v": 1}])
    for url, code, fragment in [
            (locked(database, wrong), 69, "password"),
            (locked(database, None), 69, "password"),
            (locked("nowhere"), 69, "createdb"),
            (locked(database, port=1), 69, "pg_isready"),
            (f"postgres://locked:{ESCAPED}@no.such.host.invalid/x", 69, "no.such.host.invalid"),
            (locked(database) + "?sslmode=require", 69, "SSL"),
            (locked(database) + "?sslmod=require", 78, "sslmod"),
            (f"postgres://locked:s3cr3t@p@127.0.0.1/{database}", 78, "@"),
            (f"postgres://locked:s3cr3t/p@127.0.0.1/{database}", 78, "")]:
        for command in (["put", *where(database, url), "in.ndjson"],
                        ["put", *where(database, url), "--json", "in.ndjson"],
                        ["check", *where(database, url)], ["get", *where(database, url), "name=a"],
                        ["audit", *where(database, url), "--json"],
                        ["sql", *where(database, url)], ["init", url]):
            result = t.onerow(*command)
            said = result.out + result.err
            assert result.code == code and fragment in said, (url, command, result)
            assert "s3cr3t" not in said, (url, command, result)
    for letter in t.letters():
        assert "s3cr3t" not in json.dumps(letter), letter
    assert not os.path.exists(t.path("onerow.yaml"))


def test_letters_hold_no_password(t):
    """A replay takes it from where libpq looks."""
    database = grant(server().database(TABLE))
    t.ndjson("in.ndjson", [{"name": "a", "v": "x"}])
    result = t.onerow("put", *where(database, locked(database)), "in.ndjson")
    assert result.code == 1 and "s3cr3t" not in result.err, result
    for letter in t.letters():
        assert "s3cr3t" not in json.dumps(letter), letter
    t.env["PGPASSWORD"] = PASSWORD
    server().sql(database, "ALTER TABLE t ALTER v TYPE text")
    replayed = t.onerow("dlq", "replay", "--json")
    assert replayed.code == 0 and json.loads(replayed.out)["created"] == 1, replayed


def test_a_connection_begun_ahead(t):
    """A large file has a second connection from its first batch on; where there is none to be had,
    or no table to be seen, the run is none the worse."""
    database = grant(server().database(TABLE))
    t.ndjson("in.ndjson", [{"name": f"n{i:06}", "v": i, "w": "x" * 60} for i in range(20000)])
    assert os.path.getsize(t.path("in.ndjson")) > 1 << 20
    told = json.loads(t.onerow("put", *where(database), "--json", "in.ndjson").out)
    assert told["created"] == 20000 and told["connections"] == 2, told
    server().sql(database, "ALTER ROLE locked CONNECTION LIMIT 1; DELETE FROM t")
    t.env["PGPASSWORD"] = PASSWORD
    alone = t.onerow("put", *where(database, locked(database)), "--json", "in.ndjson")
    told = json.loads(alone.out)
    assert alone.code == 0 and told["created"] == 20000 and told["connections"] == 1, alone
    server().sql(database, "ALTER ROLE locked CONNECTION LIMIT -1; DROP TABLE t")
    missing = t.onerow("put", *where(database), "in.ndjson")
    assert missing.code == 78 and '"t"' in missing.err, missing


def test_a_server_that_is_not_there_yet(t):
    """A first connection that is refused is told at once; a server that starts is waited for."""
    database = server().database(TABLE)
    t.ndjson("in.ndjson", [{"name": "a", "v": 1}])
    server().stop()
    result = t.onerow("put", *where(database), "in.ndjson")
    server().start()
    assert result.code == 69, result
    assert t.onerow("put", *where(database), "in.ndjson").code == 0


if __name__ == "__main__":
    harness.main()
