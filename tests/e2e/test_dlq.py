# SPDX-License-Identifier: Apache-2.0
"""Dead letters from the command: they are listed, exported and replayed; none is lost, none is
written twice, and no row that changed since is written over unasked."""
import base64
import csv
import io
import json
import os
import shutil
import signal
import sqlite3
import subprocess

import harness

WHERE = ["--store", "sqlite:x.db", "--table", "t", "--key", "name"]
CHECKED = "CREATE TABLE t(name TEXT NOT NULL UNIQUE, v INTEGER CHECK (v < 100), w TEXT)"
UNCHECKED = ("ALTER TABLE t RENAME TO old; CREATE TABLE t(name TEXT NOT NULL UNIQUE, v INTEGER, "
             "w TEXT); INSERT INTO t SELECT * FROM old; DROP TABLE old")
CONFIGURATION = """stores:
  app: { url: "sqlite:x.db" }
tables:
  t:
    store: app
    key: [name]
    secret: [w]
"""


def reject(t, records, *more, name="in.ndjson"):
    """A put of which everything is rejected."""
    result = t.onerow("put", *WHERE, *more, t.ndjson(name, records))
    assert result.code == 1 and result.balance["rejected"] == len(records), result


def rows(t):
    return t.sql("x.db", "SELECT name, v, w FROM t ORDER BY name")


def replay(t, *more):
    result = t.onerow("dlq", "replay", "--json", *more)
    return result, json.loads(result.out)


def listed(t, *more):
    result = t.onerow("dlq", "list", "--json", *more)
    assert result.code == 0, result
    return [json.loads(line) for line in result.out.splitlines()]


# ---- list and export --------------------------------------------------------------------------------

def test_list(t):
    t.sql("x.db", CHECKED)
    assert t.onerow("dlq", "list").out == "no dead letters\n"
    reject(t, [{"name": "a", "v": 100}, {"name": None}])
    text = t.onerow("dlq", "list")
    assert text.code == 0 and "CHECK constraint failed" in text.out and '{"name":"a"}' in text.out
    letters = listed(t)
    assert [letter["line"] for letter in letters] == [1, 2], letters
    assert letters[0]["record"] == {"name": "a", "v": 100} and letters[0]["row"] == "absent"
    assert letters == t.letters(), (letters, t.letters())
    assert listed(t, "--table", "other") == []


def test_export(t):
    """JSONL is lossless; CSV is defused, and rejoins text, empty text and nothing."""
    t.sql("x.db", CHECKED)
    evil = ["=1+1", "+1", "-1", "@SUM(A1)", " =1", "\t=1", "\r=1", "=cmd|' /C calc'!A0", "＝1"]
    records = [{"name": text, "v": 100, "w": text} for text in evil]
    records += [{"name": "plain", "v": 100, "w": ""}, {"name": "null", "v": 100, "w": None},
                {"name": "négatif, \"quoted\"\nline", "v": -12.5, "w": "x"}]
    t.sql("x.db", "DROP TABLE t; CREATE TABLE t(name TEXT NOT NULL UNIQUE, v INTEGER CHECK (0), "
                  "w TEXT)")
    reject(t, records)
    lossless = t.onerow("dlq", "export")
    assert [json.loads(line) for line in lossless.out.splitlines()] == t.letters()
    assert [json.loads(line)["record"] for line in lossless.out.splitlines()] == records
    made = t.onerow("dlq", "export", "--format", "csv", "-o", "out.csv")
    assert made.code == 0 and not made.out, made
    with open(t.path("out.csv"), newline="", encoding="utf-8") as file:
        text = file.read()
    table = list(csv.DictReader(io.StringIO(text, newline="")))
    assert len(table) == len(records) and "\r\n" in text
    for row, record in zip(table, records):
        for cell in row.values():
            dangerous = cell.lstrip(" \t\r\n")[:1] in ("=", "+", "-", "@", "＝") and \
                cell not in ("-12.5", "-1") or cell[:1] in ("\t", "\r", "\n")
            assert not dangerous, (record, row)
        assert row["name"].removeprefix("'") == record["name"], (record, row)
    cells = {line.split(",")[-3]: line for line in text.split("\r\n") if "plain" in line or
             "null" in line}
    assert cells["plain"].endswith(',plain,100,""') and cells["null"].endswith(",null,100,"), cells
    mode = os.stat(t.path("out.csv")).st_mode & 0o777
    assert mode == 0o600, oct(mode)


def test_raw_bytes_are_lossless(t):
    t.sql("x.db", CHECKED)
    lines = [b'{"name":"\xff\xfe"}', b"hello", b'{"name":"a\x00"}', b'{"name":"x"', b'{"a":1,"a":2}']
    t.write("in.ndjson", b"\n".join(lines))
    result = t.onerow("put", *WHERE, "in.ndjson")
    assert result.code == 1 and result.balance["rejected"] == len(lines), result
    exported = [json.loads(line) for line in t.onerow("dlq", "export").out.splitlines()]
    kept = [letter["raw"].encode() if "raw" in letter else base64.b64decode(letter["raw_base64"])
            for letter in exported]
    assert kept == lines, kept
    result, summary = replay(t)
    assert result.code == 1 and summary["stayed"] == len(lines), (result, summary)
    assert len(listed(t)) == len(lines)


def test_secrets(t):
    """Masked in record, key and reason, in every form, unless --reveal says otherwise; a replay has
    them all the same."""
    t.sql("x.db", "CREATE TABLE t(name TEXT NOT NULL UNIQUE, v INTEGER, w TEXT "
                  "CHECK (w <> 'hunter2'))")
    t.write("onerow.yaml", CONFIGURATION)
    path = t.write("in.ndjson", '{"name":"a","w":"hunter2"}\n{"name":"b","w":"hunter2"\n')
    assert t.onerow("put", "t", path).code == 1
    for command in (["list"], ["list", "--json"], ["export"], ["export", "--format", "csv"]):
        hidden = t.onerow("dlq", *command)
        assert hidden.code == 0 and "hunter2" not in hidden.out + hidden.err, hidden
        if command != ["list"]:
            assert "***" in hidden.out, hidden
            shown = t.onerow("dlq", *command, "--reveal")
            assert "hunter2" in shown.out, shown
    os.rename(t.path("onerow.yaml"), t.path("gone.yaml"))
    blind = t.onerow("dlq", "export")
    assert "hunter2" not in blind.out + blind.err and "--reveal" in blind.err, blind
    os.rename(t.path("gone.yaml"), t.path("onerow.yaml"))
    t.sql("x.db", "DROP TABLE t; CREATE TABLE t(name TEXT NOT NULL UNIQUE, v INTEGER, w TEXT)")
    _, summary = replay(t)
    assert summary["created"] == 1 and summary["stayed"] == 1, summary
    assert rows(t) == [["a", "", "hunter2"]]


# ---- replay -------------------------------------------------------------------------------------------

def test_replay_after_the_table_was_mended(t):
    """The CHECK goes, a missing column comes: the letters go in and disappear, file and all."""
    t.sql("x.db", CHECKED + "; INSERT INTO t VALUES ('b', 1, 'old')")
    reject(t, [{"name": "a", "v": 100}, {"name": "b", "v": 200}, {"name": "c", "colour": "red"}])
    stuck, summary = replay(t)
    assert stuck.code == 1 and summary["stayed"] == 3 and len(t.letters()) == 3, stuck
    assert "CHECK constraint failed" in stuck.err, stuck
    t.sql("x.db", UNCHECKED)
    some, summary = replay(t)
    assert some.code == 1, some
    assert (summary["created"], summary["updated"], summary["stayed"]) == (1, 1, 1), summary
    assert [letter["line"] for letter in t.letters()] == [3]
    t.sql("x.db", "ALTER TABLE t ADD COLUMN colour TEXT")
    rest, summary = replay(t)
    assert rest.code == 0 and summary["created"] == 1, rest
    assert t.letters() == [] and os.listdir(t.path("state", "dead-letters")) == []
    assert t.sql("x.db", "SELECT name, v, w, colour FROM t ORDER BY 1") == \
        [["a", "100", "", ""], ["b", "200", "old", ""], ["c", "", "", "red"]]
    again, summary = replay(t)
    assert again.code == 0 and summary["replayed"] == 0, again


def test_a_row_that_changed_since(t):
    """Refused, also when it was made or deleted since; --force writes over it."""
    t.sql("x.db", CHECKED + "; INSERT INTO t VALUES ('b', 1, 'old'), ('c', 1, 'old'), ('d', 1, 'x')")
    reject(t, [{"name": "a", "v": 100}, {"name": "b", "v": 200}, {"name": "c", "v": 300},
               {"name": "d", "v": 400}])
    t.sql("x.db", UNCHECKED + "; INSERT INTO t VALUES ('a', 5, 'made since'); "
                              "UPDATE t SET w = 'changed since' WHERE name = 'b'; "
                              "DELETE FROM t WHERE name = 'd'")
    result, summary = replay(t)
    assert result.code == 1 and result.err.count("--force") == 3, result
    assert (summary["updated"], summary["changed_since"]) == (1, 3), summary
    assert rows(t) == [["a", "5", "made since"], ["b", "1", "changed since"], ["c", "300", "old"]]
    letters = t.letters()
    assert [letter["line"] for letter in letters] == [1, 2, 4], letters
    result, summary = replay(t, "--force", "--id", letters[1]["id"])
    assert result.code == 0 and summary == {**summary, "replayed": 1, "updated": 1}, summary
    assert rows(t)[1] == ["b", "200", "changed since"]
    result, summary = replay(t, "--force")
    assert result.code == 0 and (summary["created"], summary["updated"]) == (1, 1), summary
    assert rows(t) == [["a", "100", "made since"], ["b", "200", "changed since"],
                       ["c", "300", "old"], ["d", "400", ""]]
    assert t.letters() == []


def test_letters_of_one_key(t):
    """In their order: the last one stands, whether the row was there before or not."""
    t.sql("x.db", CHECKED + "; INSERT INTO t VALUES ('b', 1, 'old')")
    reject(t, [{"name": key, "v": v} for v in (100, 101, 102) for key in ("a", "b")])
    reject(t, [{"name": key, "v": v} for v in (103, 104) for key in ("b", "a")], name="later.ndjson")
    t.sql("x.db", UNCHECKED)
    result, summary = replay(t)
    assert result.code == 0 and summary["replayed"] == 10 and summary["created"] == 1, summary
    assert rows(t) == [["a", "104", ""], ["b", "104", "old"]]


def test_letters_of_csv(t):
    """Text from CSV takes the columns' types at a replay, too; empty text stays apart from NULL."""
    t.sql("x.db", "CREATE TABLE t(name TEXT NOT NULL UNIQUE, v INTEGER, d REAL, w TEXT, "
                  "u CHECK (0))")
    path = t.write("in.csv", 'name,v,d,w,u\n007,5,1.5,"",1\nb,,,,1\nc,6,2,008,1\n')
    result = t.onerow("put", *WHERE, path)
    assert result.code == 1 and result.balance["rejected"] == 3, result
    t.sql("x.db", "DROP TABLE t; CREATE TABLE t(name TEXT NOT NULL UNIQUE, v INTEGER, d REAL, w TEXT,"
                  " u INTEGER)")
    result, summary = replay(t)
    assert result.code == 0 and summary["created"] == 3, (result, summary)
    assert t.sql("x.db", "SELECT name, quote(v), quote(d), quote(w), quote(u) FROM t ORDER BY 1") == \
        [["007", "5", "1.5", "''", "1"], ["b", "NULL", "NULL", "NULL", "1"],
         ["c", "6", "2.0", "'008'", "1"]]


def test_replay_from_elsewhere(t):
    """A letter knows its store and its configuration by absolute paths."""
    t.sql("x.db", CHECKED)
    t.write("onerow.yaml", CONFIGURATION)
    assert t.onerow("put", "t", t.ndjson("in.ndjson", [{"name": "a", "v": 100}])).code == 1
    reject(t, [{"name": "b", "v": 100}])
    t.sql("x.db", UNCHECKED)
    os.mkdir(t.path("elsewhere"))
    t.sql("elsewhere/x.db", "CREATE TABLE t(name TEXT NOT NULL UNIQUE, v INTEGER, w TEXT)")
    result = subprocess.run([harness.ONEROW, "dlq", "replay"], cwd=t.path("elsewhere"), env=t.env,
                            capture_output=True, text=True)
    assert result.returncode == 0, result
    assert rows(t) == [["a", "100", ""], ["b", "100", ""]]
    assert t.count("elsewhere/x.db", "SELECT count(*) FROM t") == 0, "written into another file"


# ---- replays that are killed, or race ---------------------------------------------------------------------

MANY = [{"name": f"k{i:03}", "v": 100 + i} for i in range(40)]


def many_letters(t, *others):
    t.sql("x.db", CHECKED)
    reject(t, [*others, *MANY[:25]])
    reject(t, MANY[25:], name="more.ndjson")
    t.sql("x.db", UNCHECKED)
    t.sql("x.db", "CREATE TABLE log(name TEXT); CREATE TRIGGER i AFTER INSERT ON t BEGIN "
                  "INSERT INTO log VALUES (new.name); END")


def check_rows(t):
    assert rows(t) == [[record["name"], str(record["v"]), ""] for record in MANY]
    assert t.count("x.db", "SELECT count(*) FROM log") == len(MANY), "a row was inserted twice"
    t.sound("x.db")


def check_all_there(t):
    check_rows(t)
    assert t.letters() == []


def killed_replay(t, call, n):
    """A replay that is killed at its n-th call, if it comes that far."""
    return subprocess.run([*harness.strace(*harness.kill_at(call, n)), harness.ONEROW, "dlq",
                           "replay"], cwd=t.folder, env=t.env, capture_output=True)


def test_replay_killed(t):
    """Killed at writes, syncs, renames and unlinks: no letter is lost before its row is there, and
    a letter that nobody can write outlives it all."""
    points = [("fdatasync", 1), ("fdatasync", 2), ("fdatasync", 9), ("fdatasync", 20),
              ("fdatasync", 33), ("write", 1), ("write", 2), ("rename", 1), ("unlink", 1),
              ("unlink", 2), ("fsync", 1), ("fsync", 2), ("pwrite64", 15), ("ftruncate", 1)]
    wanted, killed = {record["name"] for record in MANY} | {None}, set()
    for call, n in points:
        for name in os.listdir(t.folder):
            shutil.rmtree(t.path(name), ignore_errors=True)
            if os.path.exists(t.path(name)):
                os.remove(t.path(name))
        many_letters(t, {"name": None})
        done = killed_replay(t, call, n)
        if done.returncode == -signal.SIGKILL:
            killed.add(call)
        there = {name for name, _, _ in rows(t)} | {x["record"]["name"] for x in t.letters()}
        assert there == wanted, (call, n, done)
        result, summary = replay(t)
        assert result.code == 1 and summary["stayed"] == 1, (call, n, result)
        assert [x["record"] for x in t.letters()] == [{"name": None}]
        check_rows(t)
    print(f"# replays were killed at {', '.join(sorted(killed))}")
    assert killed >= {"fdatasync", "write", "unlink", "fsync", "pwrite64", "rename"}, killed


def test_replay_killed_among_letters_of_one_key(t):
    """Killed after some letters of a key: none is lost, and an old one never ends as the row."""
    t.sql("x.db", CHECKED)
    reject(t, [{"name": "a", "v": v} for v in range(100, 110)])
    t.sql("x.db", UNCHECKED)
    done = killed_replay(t, "fdatasync", 8)
    assert done.returncode == -signal.SIGKILL, done
    value = int(rows(t)[0][1])
    assert 100 <= value < 109, rows(t)
    kept = [letter["record"]["v"] for letter in t.letters()]
    assert kept in (list(range(value, 110)), list(range(value + 1, 110))), (value, kept)
    result, summary = replay(t)
    if value in kept:  # the letter of the row's own value takes the row for the replay's again
        assert result.code == 0, result
    else:  # nothing tells any more that the row is the replay's own work
        assert result.code == 1 and int(rows(t)[0][1]) == value, (result, rows(t))
        result = t.onerow("dlq", "replay", "--force")
    assert result.code == 0 and t.letters() == [] and rows(t)[0][1] == "109", (result, rows(t))


def test_two_replays_at_once(t):
    """They share the files; what the other one holds is told, and everything is written once."""
    many_letters(t)
    processes = [t.start("dlq", "replay") for _ in range(4)]
    results = [t.finish(process) for process in processes]
    assert all(result.code in (0, 1) for result in results), results
    result, _ = replay(t)
    assert result.code == 0, (results, result)
    check_all_there(t)


def test_replay_beside_a_run(t):
    """A run that is still writing letters keeps its file; the others are replayed."""
    t.sql("x.db", CHECKED)
    reject(t, [{"name": "a", "v": 100}])
    process = t.start("put", *WHERE, "-", stdin=subprocess.PIPE)
    process.stdin.write(b'{"name":"b","v":100}\n')
    process.stdin.flush()
    t.wait_until(lambda: len(t.letters()) == 2)
    t.sql("x.db", "PRAGMA writable_schema=1; UPDATE sqlite_schema SET sql = replace(sql, "
                  "'v < 100', 'v < 101') WHERE name = 't'; PRAGMA writable_schema=RESET")
    result, summary = replay(t)
    assert result.code == 1 and summary["created"] == 1, (result, summary)
    assert "in use by another run" in result.err and len(t.letters()) == 1, result
    ended = t.finish(process)
    assert ended.code == 1, ended
    result, summary = replay(t)
    assert result.code == 0 and summary["created"] == 1 and t.letters() == [], result


def test_replay_interrupted_and_locked(t):
    """75 while somebody holds the database; the letters stay."""
    many_letters(t)
    holder = sqlite3.connect(t.path("x.db"), isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    result = t.onerow("dlq", "replay", "--wait", "0.2")
    assert result.code == 75 and len(t.letters()) == len(MANY), result
    holder.close()
    assert replay(t)[0].code == 0
    check_all_there(t)


if __name__ == "__main__":
    harness.main()
