# SPDX-License-Identifier: Apache-2.0
"""The command as a person and a script meet it: options, exit codes, messages, and what it prints."""
import hashlib
import json
import os
import pty
import re
import signal
import sqlite3
import subprocess

import harness

WHERE = ["--store", "sqlite:x.db", "--table", "t", "--key", "name"]
TABLE = "CREATE TABLE t(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, v INTEGER, w TEXT)"
CONFIGURATION = """stores:
  app: { url: "sqlite:x.db" }
tables:
  t:
    store: app
    key: [name]
"""
COMMON = ["--config", "--store", "--table", "--key", "--on-conflict", "--wait", "--json"]
OPTIONS = {
    "put": [*COMMON, "--results", "--create-table", "--dry-run", "--format", "--batch"],
    "ensure": [*COMMON, "--returning"],
    "get": [*COMMON, "--returning"],
    "audit": COMMON,
    "check": COMMON,
    "sql": COMMON,
    "init": ["--output"],
    "dlq": ["--table", "--json", "--format", "--output", "--reveal", "--id", "--force", "--wait"],
}


# ---- help and exit codes ------------------------------------------------------------------------

def test_help_and_version(t):
    overview = t.onerow("--help")
    assert overview.code == 0 and not overview.err, overview
    version = t.onerow("--version")
    assert version.code == 0 and re.fullmatch(r"onerow \d+\.\d+\.\d+\n", version.out), version
    for command, options in OPTIONS.items():
        assert re.search(rf"^  {command} ", overview.out, re.M), (command, overview)
        help_text = t.onerow(command, "--help")
        assert help_text.code == 0 and not help_text.err, help_text
        assert [option for option in options if option not in help_text.out] == [], help_text
        told = t.onerow(command, "--version")
        assert told.code == 0 and told.out == version.out, told
    assert t.onerow().code == 64


def test_usage_errors(t):
    t.write("in.ndjson", "{}\n")
    for arguments in (["frob"], ["put", "--frob"], ["put", *WHERE, "--wait", "soon", "in.ndjson"],
                      ["put", *WHERE, "--batch", "0", "in.ndjson"],
                      ["put", *WHERE, "--format", "xml", "in.ndjson"], ["get", *WHERE],
                      ["ensure", *WHERE, "name"], ["dlq"], ["dlq", "frob"], ["init"],
                      ["init", "sqlite:x.db", "t", "u"], ["dlq", "export", "--format", "xml"]):
        result = t.onerow(*arguments)
        assert result.code == 64 and result.err and not result.out, (arguments, result)


def test_a_store_that_is_not_there(t):
    t.ndjson("in.ndjson", [{"name": "a"}])
    result = t.onerow("put", *WHERE, "in.ndjson")
    assert result.code == 69 and "--create-table makes it" in result.err, result
    assert not os.path.exists(t.path("x.db")), "a mere attempt made a file"
    for command in (["get", *WHERE, "name=a"], ["ensure", *WHERE, "name=a"], ["check", *WHERE],
                    ["audit", *WHERE], ["sql", *WHERE], ["init", "sqlite:x.db"]):
        assert t.onerow(*command).code == 69, command
    t.write("x.db", b"no database at all" * 500)
    result = t.onerow("put", *WHERE, "in.ndjson")
    assert result.code == 69 and "not a database" in result.err, result
    result = t.onerow("put", "--store", "nosql:x", "--table", "t", "--key", "name", "in.ndjson")
    assert result.code == 78 and "is not one of" in result.err, result


def test_a_lock_that_stays(t):
    """75 once --wait is over, whatever the journal mode; nothing is written, and it goes on later."""
    t.ndjson("in.ndjson", [{"name": "a", "v": 1}])
    for mode in ("DELETE", "WAL"):
        database = f"{mode}.db"
        where = ["--store", f"sqlite:{database}", "--table", "t", "--key", "name"]
        t.sql(database, f"PRAGMA journal_mode={mode}; {TABLE}")
        holder = sqlite3.connect(t.path(database), isolation_level=None)
        holder.execute("BEGIN EXCLUSIVE")
        result = t.onerow("put", *where, "--wait", "0.2", "--results", "R", "in.ndjson")
        assert result.code == 75 and "run again" in result.err, result
        assert result.balance["created"] == 0, result
        ensured = t.onerow("ensure", *where, "--wait", "0.2", "name=b")
        assert ensured.code == 75 and not ensured.out, ensured
        holder.execute("ROLLBACK")
        holder.close()
        assert t.onerow("put", *where, "in.ndjson").balance["created"] == 1
        assert t.count(database, "SELECT count(*) FROM t") == 1


def test_configuration_errors(t):
    """Each with file, line and column, and exit code 78 before anything is read."""
    t.sql("x.db", TABLE)
    table = "tables:\n  t:\n    store: app\n    key: [name]\n"
    store = "stores:\n  app: { url: \"sqlite:x.db\" }\n"
    cases = [
        ("stores:\n  app: { ulr: \"sqlite:x.db\" }\n" + table, "2:10", "url"),
        (store + "tables:\n  t:\n    store: ap\n    key: [name]\n", "5:12", "app"),
        (store + table + "    on_conflict: upsert\n", "7:18", "update"),
        (store + table + "    on_conflit: keep\n", "7:5", "on_conflict"),
        (store + "tables:\n  t:\n    store: app\n", "4:3", "key"),
        (store + "tables:\n  t:\n    store: app\n    key: [\"CAST(name AS INT)\"]\n", "6:11", "decimal"),
        (store + table + "    unenforced: yes\n", "7:17", "accept"),
        (store + table + "  t:\n    store: app\n    key: [name]\n", "7:3", "t"),
        ("stores:\n  app: { url: \"sqlite:${NOT_SET_HERE}\" }\n" + table, "2:15", "NOT_SET_HERE"),
        (store + "tables: [\n", "", ""),
        (store + table + "    key: &x [v]\n", "7", ""),
    ]
    for text, place, fragment in cases:
        t.write("onerow.yaml", text)
        for command in (["put", "t", "--results", "R"], ["check"]):
            result = t.onerow(*command)
            assert result.code == 78 and f"onerow.yaml:{place}" in result.err, (text, result)
            assert fragment in result.err, (text, fragment, result)
        assert not os.path.exists(t.path("R"))
    os.remove(t.path("onerow.yaml"))
    for flags in (["--config", "none.yaml"], ["--store", "sqlite:x.db", "--table", "t"],
                  ["--store", "sqlite:x.db", "--key", "name"],
                  ["--store", "sqlite:x.db", "--table", "t", "--key", "nope"],
                  ["--store", "sqlite:x.db", "--table", "nope", "--key", "name"],
                  [*WHERE, "--on-conflict", "newest(nope)"], [*WHERE, "--on-conflict", "newest"]):
        result = t.onerow("put", *flags, "-")
        malformed = ("--table" in flags) != ("--key" in flags) or flags[-1] == "newest"
        assert result.code == (64 if malformed else 78) and result.err, (flags, result)


# ---- put ----------------------------------------------------------------------------------------

def test_inputs(t):
    """A configuration or flags, standard input or files, several files, DATABASE_URL."""
    t.sql("x.db", TABLE)
    one = t.ndjson("one.ndjson", [{"name": "a", "v": 1}])
    two = t.write("two.csv", "name,v\nb,2\nb,3\n")
    line = '{"name":"a","v":1}\n'
    assert t.onerow("put", *WHERE, input=line).balance["created"] == 1
    assert t.onerow("put", *WHERE, "-", input=line).balance["unchanged"] == 1
    result = t.onerow("put", *WHERE, "--results", "R", one, two)
    assert result.code == 0 and result.balance["read"] == 3, result
    lines = t.results("R")
    assert [(line["input"], line["line"]) for line in lines] == [(one, 1), (two, 2), (two, 3)]
    assert [line["folded_into"] for line in lines] == [None, 3, None], lines
    t.write("onerow.yaml", CONFIGURATION)
    assert t.onerow("put", "t", one, two).balance["unchanged"] == 1
    assert t.onerow("put", "t", input=line).balance["unchanged"] == 1
    os.rename(t.path("onerow.yaml"), t.path("other.yaml"))
    assert t.onerow("put", "--config", "other.yaml", "t", one).balance["unchanged"] == 1
    for url in ("sqlite:x.db", "sqlite:///x.db", "sqlite+pysqlite:///x.db",
                "sqlite:///" + t.path("x.db")):
        t.env["DATABASE_URL"] = url
        result = t.onerow("put", "--table", "t", "--key", "name", one)
        assert result.code == 0 and result.balance["unchanged"] == 1, (url, result)
    assert t.sql("x.db", "SELECT name, v FROM t ORDER BY 1") == [["a", "1"], ["b", "3"]]


def test_results_on_stdout(t):
    t.sql("x.db", TABLE)
    result = t.onerow("put", *WHERE, "--results", "-", input='{"name":"a"}\n{}\n')
    lines = [json.loads(line) for line in result.out.splitlines()]
    assert [line["outcome"] for line in lines] == ["created", "rejected"], result
    assert set(lines[0]) == {"line", "table", "key", "outcome", "id", "reason", "folded_into"}
    assert result.code == 1 and "read 2 = 1 created" in result.err, result


def test_json_summary(t):
    t.sql("x.db", TABLE)
    result = t.onerow("put", *WHERE, "--json", input='{"name":"a"}\n{}\n{"name":"a"}\n')
    summary = json.loads(result.out)
    assert summary["read"] == 3 == sum(summary[outcome] for outcome in harness.OUTCOMES), summary
    assert summary["exit"] == result.code == 1 and summary["dead_letters"] == 1, summary
    assert (summary["created"], summary["unchanged"], summary["rejected"]) == (1, 1, 1), summary


def digest(t, name):
    with open(t.path(name), "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def test_dry_run_writes_nothing(t):
    """It tells the very outcomes of the run that follows, and leaves every byte as it is."""
    t.sql("x.db", TABLE + "; INSERT INTO t(name, v) VALUES ('a', 1), ('b', 1)")
    path = t.ndjson("in.ndjson", [{"name": "a", "v": 1}, {"name": "b", "v": 2}, {"name": "c"},
                                  {"name": None}, {"name": "c", "v": 3}])
    before, files = digest(t, "x.db"), sorted(os.listdir(t.folder))
    dry = t.onerow("put", *WHERE, "--dry-run", path)
    assert dry.code == 1 and dry.out.startswith("dry run: "), dry
    assert digest(t, "x.db") == before, "the file has changed"
    assert not t.letters(), "a dry run has written dead letters"
    assert sorted(set(os.listdir(t.folder)) - {"x.db-onerow"}) == files, os.listdir(t.folder)
    real = t.onerow("put", *WHERE, path)
    assert real.balance == dry.balance, (dry, real)
    none = t.onerow("put", "--store", "sqlite:new.db", *WHERE[2:], "--create-table", "--dry-run", path)
    assert not os.path.exists(t.path("new.db")) or not t.sql("new.db", "SELECT 1 FROM sqlite_schema")
    assert none.code in (1, 69, 78), none


def test_create_table(t):
    """Types from the first records; the statement is said, and is the one that was run."""
    path = t.ndjson("in.ndjson", [
        {"name": "a", "i": 1, "d": 1.5, "b": True, "at": "2026-01-31T12:00:00Z", "j": {"a": [1]},
         "s": "x", "zip": "007", "n": None}, {"name": "b", "d": 2}])
    result = t.onerow("put", *WHERE, "--create-table", path)
    assert result.code == 0 and result.balance["created"] == 2, result
    types = dict(t.sql("x.db", "SELECT name, type FROM pragma_table_info('t')"))
    assert types == {"name": "TEXT", "i": "INTEGER", "d": "NUMERIC", "b": "BOOLEAN",
                     "at": "TIMESTAMP", "j": "JSON", "s": "TEXT", "zip": "TEXT", "n": "TEXT"}, types
    statement = re.sub(r"^onerow: ", "", result.err, flags=re.M)
    t.sql("again.db", statement)
    schema = "SELECT sql FROM sqlite_schema ORDER BY sql"
    assert t.sql("again.db", schema) == t.sql("x.db", schema), statement
    again = t.onerow("put", *WHERE, "--create-table", path)
    assert again.code == 0 and again.balance["unchanged"] == 2 and not again.err, again


def test_missing_index(t):
    """The refusal names the command that helps; a shell runs it as it stands."""
    t.sql("x.db", "CREATE TABLE t(name TEXT NOT NULL, v INTEGER)")
    path = t.ndjson("in.ndjson", [{"name": "a"}])
    result = t.onerow("put", *WHERE, path)
    assert result.code == 78 and result.balance["read"] == 0, result
    command = re.search(r"^  run: (.*)$", result.err, re.M).group(1)
    subprocess.run(command, shell=True, check=True, cwd=t.folder)
    assert t.onerow("put", *WHERE, path).balance["created"] == 1


def test_unenforced(t):
    """Refused without its name; with it one row among cooperating writers, others seen by audit."""
    t.sql("x.db", "CREATE TABLE t(name TEXT NOT NULL, v INTEGER)")
    path = t.ndjson("in.ndjson", [{"name": "a", "v": 1}, {"name": "b", "v": 1}, {"name": "a", "v": 2}])
    t.write("onerow.yaml", CONFIGURATION)
    assert t.onerow("put", "t", path).code == 78
    t.write("onerow.yaml", CONFIGURATION + "    unenforced: accept\n")
    result = t.onerow("put", "t", path)
    assert result.code == 0 and result.balance["created"] == 2, result
    assert t.onerow("put", "t", path).code == 0
    assert t.sql("x.db", "SELECT name, v FROM t ORDER BY 1") == [["a", "2"], ["b", "1"]]
    assert "cooperat" in t.onerow("check").out
    t.sql("x.db", "INSERT INTO t VALUES ('a', 9)")
    audit = t.onerow("audit")
    assert audit.code == 1 and '{"name":"a"}' in audit.out, audit
    result = t.onerow("put", "t", "--results", "R", path)
    assert result.code == 1 and result.balance["rejected"] == 2, result
    assert "onerow audit" in t.results("R")[0]["reason"], t.results("R")


def test_partial_records(t):
    """Absent stays, null is NULL, a new row takes the defaults."""
    t.sql("x.db", "CREATE TABLE t(name TEXT NOT NULL UNIQUE, v INTEGER DEFAULT 7, w TEXT, "
                  "twice AS (v * 2))")
    steps = [({"name": "a"}, "created", ["7", "", "14"]),
             ({"name": "a", "w": "x"}, "updated", ["7", "x", "14"]),
             ({"name": "a"}, "unchanged", ["7", "x", "14"]),
             ({"name": "a", "v": 8}, "updated", ["8", "x", "16"]),
             ({"name": "a", "v": None}, "updated", ["", "x", ""]),
             ({"name": "a", "v": None, "w": "x"}, "unchanged", ["", "x", ""])]
    for record, outcome, row in steps:
        result = t.onerow("put", *WHERE, input=json.dumps(record))
        assert result.balance[outcome] == 1, (record, result)
        assert t.sql("x.db", "SELECT v, w, twice FROM t") == [row], (record, row)


def test_policies(t):
    t.sql("x.db", TABLE)

    def put(policy, v, w):
        result = t.onerow("put", *WHERE, "--on-conflict", policy, "--results", "-",
                          input=json.dumps({"name": "a", "v": v, "w": w}))
        return json.loads(result.out)["outcome"], *t.sql("x.db", "SELECT v, w FROM t")[0]
    assert put("keep", 5, "x") == ("created", "5", "x")
    assert put("keep", 6, "y") == ("unchanged", "5", "x")
    assert put("newest(v)", 4, "old") == ("unchanged", "5", "x")
    assert put("newest(v)", None, "null") == ("unchanged", "5", "x")
    assert put("newest(v)", 5, "later") == ("updated", "5", "later")
    assert put("newest(v)", 10, "new") == ("updated", "10", "new")
    assert put("newest(v)", 9, "a number, no text") == ("unchanged", "10", "new")
    assert put("update", 1, "u") == ("updated", "1", "u")


def test_updated_at(t):
    """`change` touches on a change only, `write` at every write."""
    t.sql("x.db", "CREATE TABLE t(name TEXT NOT NULL UNIQUE, v INTEGER, at TEXT)")
    for when, touched in (("change", False), ("write", True)):
        t.write("onerow.yaml", CONFIGURATION + f"    updated_at: {{ column: at, when: {when} }}\n")
        t.sql("x.db", "DELETE FROM t")
        assert t.onerow("put", "t", input='{"name":"a","v":1}').balance["created"] == 1
        assert re.match(r"\d{4}-\d\d-\d\d", t.sql("x.db", "SELECT at FROM t")[0][0])
        t.sql("x.db", "UPDATE t SET at = 'then'")
        assert t.onerow("put", "t", input='{"name":"a","v":1}').balance["unchanged"] == 1
        assert (t.sql("x.db", "SELECT at FROM t") != [["then"]]) == touched, when
        t.sql("x.db", "UPDATE t SET at = 'then'")
        assert t.onerow("put", "t", input='{"name":"a","v":2}').balance["updated"] == 1
        assert t.sql("x.db", "SELECT at FROM t") != [["then"]], when


def test_names_that_need_quotes(t):
    table, key, column = "ta\"b'le; --", "k\"e'y", "select \" ; --"
    path = t.ndjson("in.ndjson", [{key: "a", column: 1}])
    where = ["--store", "sqlite:x y'.db", "--table", table, "--key", key]
    assert t.onerow("put", *where, "--create-table", path).balance["created"] == 1
    path = t.ndjson("in.ndjson", [{key: "a", column: 2}])
    assert t.onerow("put", *where, path).balance["updated"] == 1
    assert json.loads(t.onerow("get", *where, key + "=a").out) == {key: "a", column: 2}
    assert t.onerow("ensure", *where, key + "=b").code == 0
    assert t.onerow("audit", *where).code == 0
    statement = t.onerow("sql", *where).out
    t.sql("x y'.db", "".join(line for line in statement.splitlines(True) if line[:3] != "-- ")
          .replace("?1", "'a'").replace("?2", "3"))
    assert json.loads(t.onerow("get", *where, key + "=a").out) == {key: "a", column: 3}
    t.sql("x y'.db", "DROP INDEX " + t.sql("x y'.db", "SELECT '\"' || replace(name, '\"', '\"\"') || "
                                          "'\"' FROM sqlite_schema WHERE type = 'index'")[0][0])
    refused = t.onerow("put", *where, path)
    command = re.search(r"^  run: (.*)$", refused.err, re.M).group(1)
    subprocess.run(command, shell=True, check=True, cwd=t.folder)
    assert t.onerow("put", *where, path).code == 0


# ---- the other commands -----------------------------------------------------------------------------

def test_init_writes_what_can_be_loaded(t):
    """Whatever the database holds: a table without a key is a comment to be finished by hand, and
    what speaks against a key stands beside it."""
    t.sql("x.db", "CREATE TABLE good(k TEXT PRIMARY KEY); CREATE TABLE bare(v TEXT, \"odd\nname\" TEXT); "
                  "CREATE TABLE \"${HOME}\"(\"a: b\" TEXT UNIQUE NOT NULL); "
                  "CREATE TABLE \"a.b\"(k TEXT UNIQUE); CREATE TABLE \"bell\x07\"(k TEXT UNIQUE); "
                  "CREATE TABLE folded(k TEXT COLLATE NOCASE UNIQUE); "
                  "CREATE TABLE wide(" + ", ".join(f"c{i} INT" for i in range(40)) + ", UNIQUE(" +
          ", ".join(f"c{i}" for i in range(40)) + "))")
    made = t.onerow("init", "sqlite:x.db", "-o", "-")
    assert made.code == 0, made
    for entry in ("bare", "wide"):
        assert f"  # left out, for it has no key yet:\n  # \"{entry}\":\n" in made.out, made
    assert made.out.count("  #   key: []   # no unique index: name the key's columns\n") == 2, made
    assert "  # left out: a name has a control character in it" in made.out, made
    assert "\n    # x.db: nothing keeps table \"folded\" at one row per key: " in made.out, made
    t.write("onerow.yaml", made.out)
    told = {line["table"]: line for line in
            map(json.loads, t.onerow("check", "--json").out.splitlines())}
    assert {name for name, line in told.items() if line["status"] == "OK"} == \
        {"good", "$(HOME}", "a.b"}, told
    assert set(told) == {"good", "$(HOME}", "a.b", "folded"}, told
    assert told["$(HOME}"]["key"] == "a: b:text", told


def test_init_check_sql_audit(t):
    """What init writes passes check; what sql prints is an upsert; audit finds what no index stops."""
    t.sql("x.db", TABLE + "; CREATE TABLE u(a TEXT NOT NULL, b INTEGER NOT NULL, c TEXT, "
                          "PRIMARY KEY(a, b)) WITHOUT ROWID")
    made = t.onerow("init", "sqlite:x.db")
    assert made.code == 0 and os.path.exists(t.path("onerow.yaml")), made
    again = t.onerow("init", "sqlite:x.db")
    assert again.code == 78 and "left alone" in again.err, again
    check = t.onerow("check")
    assert check.code == 0 and check.out.count("exactly one row per key") == 2, check
    told = [json.loads(line) for line in t.onerow("check", "--json").out.splitlines()]
    assert {line["status"] for line in told} == {"OK"}, told
    statement = t.onerow("sql", "u").out
    for c in ("x", "y", "y"):
        bound = enumerate(("k", 1, c), 1)
        script = "".join(f".parameter set ?{i} \"'{value}'\"\n" for i, value in bound) + statement + "\nSELECT changes();"
        answer = subprocess.run([harness.need("sqlite3", "sqlite3"), t.path("x.db")], text=True,
                                input=script, capture_output=True)
        assert not answer.stderr, (script, answer.stderr)
    assert answer.stdout.strip() == "0", "an equal row was written again"
    assert t.sql("x.db", "SELECT * FROM u") == [["k", "1", "y"]]
    assert t.onerow("audit").code == 0
    t.sql("y.db", "CREATE TABLE t(name TEXT, v INTEGER); INSERT INTO t VALUES ('a', 1), ('a', 2), "
                  "('b', 1), (NULL, 1)")
    where = ["--store", "sqlite:y.db", "--table", "t", "--key", "name"]
    audit = t.onerow("audit", *where)
    assert audit.code == 1 and '{"name":"a"}' in audit.out and "2 rows" in audit.out, audit
    lines = [json.loads(line) for line in t.onerow("audit", *where, "--json").out.splitlines()]
    assert [line["rows"] for line in lines if line.get("key") == {"name": "a"}] == [2], lines
    assert lines[-1] == {"table": "t", "duplicate_keys": 1, "duplicate_rows": 2,
                         "keyless_rows": 1}, lines
    refused = t.onerow("check", *where)
    assert refused.code == 78 and "REFUSED" in refused.out, refused


def test_get_and_ensure(t):
    t.sql("x.db", TABLE)
    absent = t.onerow("get", *WHERE, "name=a")
    assert absent.code == 1 and not absent.out and not absent.err, absent
    assert t.count("x.db", "SELECT count(*) FROM t") == 0
    first = t.onerow("ensure", *WHERE, "name=a", "v=1")
    assert first.code == 0 and first.out == "1\n", first
    again = t.onerow("ensure", *WHERE, "name=a", "v=2")
    assert again.out == "1\n" and t.sql("x.db", "SELECT v FROM t") == [["1"]], again
    assert t.onerow("ensure", *WHERE, "name=a", "--returning", "v").out == "1\n"
    assert t.onerow("ensure", *WHERE, "name=b", "v=5", "--returning", "v").out == "5\n"
    line = json.loads(t.onerow("ensure", *WHERE, "--json", "name=c").out)
    assert line["outcome"] == "created" and line["id"] == "3", line
    assert json.loads(t.onerow("get", *WHERE, "name=b").out) == {"id": 2, "name": "b", "v": 5,
                                                                 "w": None}
    assert t.onerow("get", *WHERE, "name=b", "--returning", "v").out == "5\n"
    wrong = t.onerow("ensure", *WHERE, "name=d", "colour=red")
    assert wrong.code == 1 and not wrong.out, wrong
    assert not t.onerow("get", *WHERE, "v=1").code == 0
    assert t.count("x.db", "SELECT count(*) FROM t") == 3


# ---- terminals, pipes, signals -------------------------------------------------------------------------

def read_terminal(master):
    seen = b""
    while True:
        try:
            some = os.read(master, 65536)
        except OSError:  # EIO: the other side is closed
            return seen
        if not some:
            return seen
        seen += some


def test_progress(t):
    """A bar on a terminal, wiped at the end; not a word in a pipe."""
    t.sql("x.db", TABLE)
    path = t.ndjson("in.ndjson", [{"name": f"k{i}", "v": i} for i in range(5000)])
    command = ["put", *WHERE, "--batch", "500", path]
    quiet = t.onerow(*command)
    assert quiet.code == 0 and not quiet.err, quiet
    master, slave = pty.openpty()
    process = t.start(*command, stderr=slave)
    os.close(slave)
    seen = read_terminal(master)
    os.close(master)
    out, _ = process.communicate(timeout=60)
    assert re.search(rb"\d+ records .*\[[#.]{20}\] +\d+%", seen), seen
    assert seen.endswith(b"\r\x1b[K") and b"\x1b" not in out, (seen, out)


def rows(t):
    return t.count("x.db", "SELECT count(*) FROM t")


def say(process, *records):
    for record in records:
        process.stdin.write(json.dumps(record).encode() + b"\n")
    process.stdin.flush()


def test_slow_pipe(t):
    """What has arrived is written while the writer of the pipe takes its time; also with
    --create-table."""
    process = t.start("put", *WHERE, "--create-table", "--results", "R", "-", stdin=subprocess.PIPE)
    say(process, {"name": "a", "v": 1})
    t.wait_until(lambda: os.path.exists(t.path("R")) and len(t.results("R")) == 1)
    assert rows(t) == 1
    say(process, {"name": "b", "v": 1}, {"name": "c", "v": 1})
    t.wait_until(lambda: rows(t) == 3)
    assert process.poll() is None
    result = t.finish(process)
    assert result.code == 0 and result.balance["created"] == 3, result


def test_interrupted_while_waiting(t):
    """SIGINT and SIGTERM while the pipe is silent: 75 and the balance, without waiting for it."""
    t.sql("x.db", TABLE)
    for number, signum in enumerate((signal.SIGINT, signal.SIGTERM), 1):
        process = t.start("put", *WHERE, "-", stdin=subprocess.PIPE)
        say(process, {"name": f"k{number}"})
        t.wait_until(lambda: rows(t) == number)
        process.send_signal(signum)
        assert process.wait(timeout=30) == 75
        result = harness.Result(75, process.stdout.read().decode(), process.stderr.read().decode())
        assert result.balance["created"] == 1 and "interrupted" in result.err, result


def test_failure_while_the_pipe_is_silent(t):
    """A store that fails ends the run at once, although the writer of the pipe keeps it open."""
    t.sql("x.db", "PRAGMA journal_mode=WAL; " + TABLE)
    process = t.start("put", *WHERE, "--wait", "0.2", "-", stdin=subprocess.PIPE)
    say(process, {"name": "a"})
    t.wait_until(lambda: rows(t) == 1)
    holder = sqlite3.connect(t.path("x.db"), isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    say(process, {"name": "b"})
    assert process.wait(timeout=30) == 75
    holder.close()
    assert rows(t) == 1


def test_signals_while_waiting_for_the_lock(t):
    t.sql("x.db", "PRAGMA journal_mode=WAL; " + TABLE)
    holder = sqlite3.connect(t.path("x.db"), isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    process = t.start("put", *WHERE, t.ndjson("in.ndjson", [{"name": "a"}]))
    # It draws its ticket just before it waits for the lock.
    t.wait_until(lambda: os.path.exists(t.path("x.db-onerow")) and
                 open(t.path("x.db-onerow"), "rb").read(4) > b"\0\0\0\0")
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == 75
    holder.close()


def test_output_that_nobody_reads(t):
    """A closed or full standard output is told, not swallowed."""
    t.sql("x.db", TABLE)
    path = t.ndjson("in.ndjson", [{"name": "a"}])
    with open("/dev/full", "w") as full:
        process = t.start("put", *WHERE, "--results", "-", path, stdout=full)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 69 and b"cannot be written" in err or b"No space" in err, err
        process = t.start("get", *WHERE, "name=a", stdout=full)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 69 and b"cannot be written" in err, (process.returncode, err)


if __name__ == "__main__":
    harness.main()
