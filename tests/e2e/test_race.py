# SPDX-License-Identifier: Apache-2.0
"""Eight processes write one SQLite file at the same time, and everything is counted from outside.

Every process has its own shuffled file of some 3,000 of the same 5,000 keys, several versions of
many of them. `by` names process and line, so that the row of a key tells which record it came from.
The negative controls at the end do what everybody does without onerow, and are seen to fail.
"""
import collections
import multiprocessing
import os
import signal
import sqlite3

import harness

PROCESSES = 8
KEYS = 5000
RECORDS = 3000
DATABASE = "x.db"
WHERE = ["--store", "sqlite:" + DATABASE, "--table", "t", "--key", "name", "--create-table"]


# ---- inputs -----------------------------------------------------------------------------------

def make_inputs(t, processes=PROCESSES, keys=KEYS, records=RECORDS):
    """One list of records per process, each also a file; every version is unique in all of them."""
    versions = list(range(processes * records))
    t.random.shuffle(versions)
    inputs = []
    for p in range(processes):
        mine = []
        while len(mine) < records:
            key = f"k{t.random.randrange(keys):05d}"
            for _ in range(t.random.choice((1, 1, 1, 2, 4))):
                mine.append({"name": key})
        t.random.shuffle(mine)
        mine = mine[:records]
        for i, record in enumerate(mine):
            record.update(ver=versions.pop(), by=f"{p}:{i + 1}")
        t.ndjson(f"in{p}.ndjson", mine)
        inputs.append(mine)
    return inputs


def command(t, p, *more, attempt=0):
    """Half of the processes write small batches, so that turns change often."""
    batch = ["--batch", str(50 if p % 2 else 400)]
    return ["put", *WHERE, "--results", f"R{p}.{attempt}", *batch, *more, f"in{p}.ndjson"]


def result_lines(t, p, attempt):
    path = f"R{p}.{attempt}"
    return t.results(path) if os.path.exists(t.path(path)) else []


# ---- the checks -------------------------------------------------------------------------------

def duplicates(t, database):
    """Keys with more than one row, counted with the sqlite3 client."""
    return t.count(database, "SELECT count(*) FROM (SELECT 1 FROM t GROUP BY name "
                             "HAVING count(*) > 1)")


def table_of(t):
    rows = t.sql(DATABASE, "SELECT rowid, name, ver, by FROM t")
    return {name: (rowid, int(ver), by) for rowid, name, ver, by in rows}


def check_rows(t, inputs):
    """One row for each distinct key, none lost, the file whole; the rows."""
    keys = {record["name"] for mine in inputs for record in mine}
    t.sound(DATABASE)
    assert duplicates(t, DATABASE) == 0
    assert t.count(DATABASE, "SELECT count(*) FROM t") == len(keys)
    rows = table_of(t)
    assert rows.keys() == keys, sorted(keys ^ rows.keys())[:10]
    return rows


def check_lines(inputs, lines, rows):
    """Every result line names the row that its key has, whoever wrote it and whenever."""
    for p, line in lines:
        record = inputs[p][line["line"] - 1]
        assert line["outcome"] in harness.ACKNOWLEDGED, line
        assert line["key"] == {"name": record["name"]}, (line, record)
        assert line["id"] == rows[record["name"]][0], (line, rows[record["name"]])


def check_newest(inputs, rows):
    newest = {}
    for mine in inputs:
        for record in mine:
            if record["ver"] > newest.get(record["name"], {"ver": -1})["ver"]:
                newest[record["name"]] = record
    for name, record in newest.items():
        assert rows[name][1:] == (record["ver"], record["by"]), (record, rows[name])


def check_not_behind(inputs, lines, rows):
    """Under `newest` no row is ever older than a version that was acknowledged for its key."""
    for p, line in lines:
        record = inputs[p][line["line"] - 1]
        assert rows[record["name"]][1] >= record["ver"], (line, record, rows[record["name"]])


def check_update(inputs, rows):
    """The row of a key is the last record that some process had for it: no process ends earlier."""
    last = collections.defaultdict(set)
    for mine in inputs:
        for name, record in {record["name"]: record for record in mine}.items():
            last[name].add((record["ver"], record["by"]))
    for name, row in rows.items():
        assert row[1:] in last[name], (name, row, last[name])


def check_keep(inputs, lines, rows):
    """The record that was created is the row, for good."""
    for p, line in lines:
        record = inputs[p][line["line"] - 1]
        if line["outcome"] == "created":
            assert rows[record["name"]][1:] == (record["ver"], record["by"]), (line, record)


CHECKS = {"update": lambda i, l, r: check_update(i, r), "keep": check_keep,
          "newest(ver)": lambda i, l, r: check_newest(i, r)}


def check_created_once(inputs, lines):
    created = collections.Counter(inputs[p][line["line"] - 1]["name"]
                                  for p, line in lines if line["outcome"] == "created")
    assert set(created.values()) == {1}, created.most_common(5)
    assert created.keys() == {record["name"] for mine in inputs for record in mine}


def check_balance(result, lines):
    """The summary and the result lines tell the same story."""
    balance = result.balance
    told = collections.Counter(line["outcome"] for line in lines)
    assert balance["read"] == len(lines), (result, len(lines))
    assert all(balance[outcome] == told[outcome] for outcome in harness.OUTCOMES), (result, told)


def run_all(t, inputs, policy, attempt):
    """All processes at once, to their normal end; the result lines as (process, line)."""
    processes = [t.start(*command(t, p, "--on-conflict", policy, attempt=attempt))
                 for p in range(len(inputs))]
    lines = []
    for p, process in enumerate(processes):
        result = t.finish(process)
        mine = result_lines(t, p, attempt)
        assert result.code == 0 and result.balance["read"] == len(inputs[p]), result
        check_balance(result, mine)
        lines += [(p, line) for line in mine]
    return lines


# ---- normal exits ------------------------------------------------------------------------------

def race(t, policy):
    inputs = make_inputs(t)
    lines = run_all(t, inputs, policy, 0)
    rows = check_rows(t, inputs)
    check_lines(inputs, lines, rows)
    check_created_once(inputs, lines)
    CHECKS[policy](inputs, lines, rows)


def test_race_update(t):
    race(t, "update")


def test_race_keep(t):
    race(t, "keep")


def test_race_newest(t):
    race(t, "newest(ver)")


# ---- kills, stops, interruptions ------------------------------------------------------------------

def lines_written(t, p, attempt):
    try:
        with open(t.path(f"R{p}.{attempt}"), "rb") as file:
            return file.read().count(b"\n")
    except FileNotFoundError:
        return 0


def hit_at_random(t, process, p, attempt, number, records=RECORDS):
    """Sends a signal once a random number of lines is out, sometimes before the first one, and then
    at a random moment of the batch that follows. False: it had ended."""
    wanted = t.random.choice((0, t.random.randrange(records), t.random.randrange(records)))
    t.wait_until(lambda: process.poll() is not None or lines_written(t, p, attempt) >= wanted)
    for _ in range(t.random.randrange(40)):
        lines_written(t, p, attempt)
    if process.poll() is not None:
        return False
    process.send_signal(number)
    return True


def test_race_with_kills(t):
    """Six of eight are killed with -9, three times over; then all run once more."""
    policy = "newest(ver)"
    inputs = make_inputs(t)
    lines, killed, rounds = [], 0, 3
    for attempt in range(rounds):
        processes = [t.start(*command(t, p, "--on-conflict", policy, attempt=attempt))
                     for p in range(PROCESSES)]
        victims = t.random.sample(range(PROCESSES), 6)
        for p in victims:
            hit_at_random(t, processes[p], p, attempt, signal.SIGKILL)
        for p, process in enumerate(processes):
            result = t.finish(process)
            killed += result.code == -signal.SIGKILL
            assert result.code == (-signal.SIGKILL if p in victims and result.code else 0), result
            lines += [(p, line) for line in result_lines(t, p, attempt)]
        t.sound(DATABASE)
        assert duplicates(t, DATABASE) == 0
        rows = table_of(t)
        check_lines(inputs, lines, rows)
        check_not_behind(inputs, lines, rows)
    print(f"# {killed} processes were killed, {len(lines)} lines were out before the last round")
    assert killed > 0, "no process was killed: the test shows nothing"
    lines += run_all(t, inputs, policy, rounds)
    rows = check_rows(t, inputs)
    check_lines(inputs, lines, rows)
    check_newest(inputs, rows)


def test_race_with_kills_keep(t):
    """A row that `keep` has acknowledged as created is never another record's afterwards."""
    inputs = make_inputs(t)
    processes = [t.start(*command(t, p, "--on-conflict", "keep")) for p in range(PROCESSES)]
    for p in t.random.sample(range(PROCESSES), 5):
        hit_at_random(t, processes[p], p, 0, signal.SIGKILL)
    for process in processes:
        t.finish(process)
    lines = [(p, line) for p in range(PROCESSES) for line in result_lines(t, p, 0)]
    check_keep(inputs, lines, table_of(t))
    lines += run_all(t, inputs, "keep", 1)
    rows = check_rows(t, inputs)
    check_lines(inputs, lines, rows)
    check_keep(inputs, lines, rows)


def test_race_with_stops(t):
    """Stopped processes, even one in the middle of a transaction, only make the others wait."""
    inputs = make_inputs(t)
    processes = [t.start(*command(t, p)) for p in range(PROCESSES)]
    stopped = []
    for p in t.random.sample(range(PROCESSES), 3):
        # Only the first one is waited for: once it is stopped with the lock in its hands, no other
        # one writes a line until it goes on.
        if not stopped and hit_at_random(t, processes[p], p, 0, signal.SIGSTOP):
            stopped.append(p)
        elif processes[p].poll() is None:
            processes[p].send_signal(signal.SIGSTOP)
            stopped.append(p)
    others = [p for p in range(PROCESSES) if p not in stopped]
    written = sum(lines_written(t, p, 0) for p in others)
    try:  # the others go on, unless a stopped one holds the lock; then it is let go after a while
        t.wait_until(lambda: sum(lines_written(t, p, 0) for p in others) > written + 500 or
                     all(processes[p].poll() is not None for p in others), seconds=1)
    except AssertionError:
        print("# a stopped process holds the database")
    for p in stopped:
        processes[p].send_signal(signal.SIGCONT)
    print(f"# {len(stopped)} processes were stopped")
    lines = []
    for p, process in enumerate(processes):
        result = t.finish(process)
        assert result.code == 0, result
        mine = result_lines(t, p, 0)
        check_balance(result, mine)
        lines += [(p, line) for line in mine]
    rows = check_rows(t, inputs)
    check_lines(inputs, lines, rows)
    check_created_once(inputs, lines)
    check_update(inputs, rows)


def test_race_with_interruptions(t):
    """SIGINT and SIGTERM: exit 75, a balance of what was done, and nothing done that is not told."""
    inputs = make_inputs(t)
    processes = [t.start(*command(t, p)) for p in range(PROCESSES)]
    for p in range(0, PROCESSES, 2):
        hit_at_random(t, processes[p], p, 0, signal.SIGINT if p % 4 else signal.SIGTERM)
    lines, interrupted = [], 0
    for p, process in enumerate(processes):
        result = t.finish(process)
        if result.code < 0:  # the signal came before the program could take it
            assert p % 2 == 0 and not result_lines(t, p, 0), result
            continue
        assert result.code in ((0, 75) if p % 2 == 0 else (0,)), result
        interrupted += result.code == 75
        mine = result_lines(t, p, 0)
        check_balance(result, mine)
        if result.code == 75:
            assert "the same command again goes on" in result.err, result
        lines += [(p, line) for line in mine]
    print(f"# {interrupted} processes were interrupted")
    rows = table_of(t)
    check_lines(inputs, lines, rows)
    created = [inputs[p][line["line"] - 1]["name"] for p, line in lines
               if line["outcome"] == "created"]
    assert sorted(created) == sorted(rows), "a row is there that no line tells of, or twice"
    lines += run_all(t, inputs, "update", 1)
    rows = check_rows(t, inputs)
    check_lines(inputs, lines, rows)
    check_created_once(inputs, lines)
    check_update(inputs, rows)


# ---- a table that nothing enforces ----------------------------------------------------------------

UNENFORCED = """stores:
  app: { url: "sqlite:x.db" }
tables:
  t:
    store: app
    key: [name]
    unenforced: accept
    on_conflict: newest(ver)
"""


def test_race_unenforced(t):
    """Without any unique index: one row per key among writers that all go through onerow."""
    t.sql(DATABASE, "CREATE TABLE t(name TEXT NOT NULL, ver INTEGER, by TEXT); "
                    "CREATE INDEX no_unique_one ON t(name)")
    t.write("onerow.yaml", UNENFORCED)
    inputs = make_inputs(t, keys=400, records=600)
    processes = [t.start("put", "t", "--batch", "60", "--results", f"R{p}.0", f"in{p}.ndjson")
                 for p in range(PROCESSES)]
    victims = t.random.sample(range(PROCESSES), 3)
    for p in victims:
        hit_at_random(t, processes[p], p, 0, signal.SIGKILL, RECORDS // 5)
    for process in processes:
        t.finish(process)
    lines = [(p, line) for p in range(PROCESSES) for line in result_lines(t, p, 0)]
    check_not_behind(inputs, lines, table_of(t))
    for p in victims:
        result = t.onerow("put", "t", "--results", f"R{p}.1", f"in{p}.ndjson")
        assert result.code == 0, result
        lines += [(p, line) for line in result_lines(t, p, 1)]
    rows = check_rows(t, inputs)
    check_lines(inputs, lines, rows)
    check_newest(inputs, rows)


# ---- ensure --------------------------------------------------------------------------------------

def test_ensure_raced(t):
    """Sixteen processes want the same new row: one row, one id, told to all of them."""
    t.sql(DATABASE, "CREATE TABLE t(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE)")
    where = ["--store", "sqlite:" + DATABASE, "--table", "t", "--key", "name"]
    for name in ("HOME", "Work", "Ärger"):
        processes = [t.start("ensure", *where, "name=" + name) for _ in range(16)]
        results = [t.finish(process) for process in processes]
        assert all(result.code == 0 for result in results), results
        ids = {result.out for result in results}
        assert len(ids) == 1, ids
        assert t.sql(DATABASE, f"SELECT id FROM t WHERE name = '{name}'") == [[ids.pop().strip()]]
    assert t.count(DATABASE, "SELECT count(*) FROM t") == 3


# ---- what happens without onerow --------------------------------------------------------------------

def check_then_insert(path, event, names, errors):
    """What everybody writes first: look, and when there is none, insert. Every job gets the same
    events at the same time, as webhooks and schedulers have it."""
    database = sqlite3.connect(path, timeout=60, isolation_level=None)
    for name in names:
        event.wait()
        if not database.execute("SELECT 1 FROM t WHERE name = ?", (name,)).fetchone():
            try:
                database.execute("INSERT INTO t(name) VALUES (?)", (name,))
            except sqlite3.IntegrityError as error:
                errors.put(str(error))
    database.close()


def naive(t, index):
    t.sql(DATABASE, "PRAGMA journal_mode=WAL; CREATE TABLE t(name TEXT NOT NULL)")
    if index:
        t.sql(DATABASE, "CREATE UNIQUE INDEX i ON t(name)")
    names = [f"k{i}" for i in range(150)]
    context = multiprocessing.get_context("fork")
    event, errors = context.Barrier(PROCESSES), context.SimpleQueue()
    workers = [context.Process(target=check_then_insert,
                               args=(t.path(DATABASE), event, names, errors))
               for _ in range(PROCESSES)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    seen = []
    while not errors.empty():
        seen.append(errors.get())
    return seen


def test_control_check_then_insert_duplicates(t):
    """Without an index the naive way leaves keys with several rows; the same count finds them."""
    naive(t, index=False)
    found = duplicates(t, DATABASE)
    print(f"# check-then-insert: {found} of 150 keys have more than one row")
    assert found > 0


def test_control_check_then_insert_dies_on_the_index(t):
    """With the index no duplicate, but an error that would have ended the job."""
    errors = naive(t, index=True)
    print(f"# check-then-insert with a unique index: {len(errors)} errors")
    assert errors and set(errors) == {"UNIQUE constraint failed: t.name"}, errors
    assert duplicates(t, DATABASE) == 0


def test_control_check_lines_sees_a_lie(t):
    """The checks of this file are not blind: a false line and a lost row are found."""
    inputs = [[{"name": "a", "ver": 1, "by": "0:1"}, {"name": "b", "ver": 2, "by": "0:2"}]]
    rows = {"a": ("1", 1, "0:1")}
    line = {"line": 2, "key": {"name": "b"}, "outcome": "created", "id": "2"}
    for check in (lambda: check_lines(inputs, [(0, line)], rows), lambda: check_newest(inputs, rows),
                  lambda: check_created_once(inputs, [(0, line)])):
        try:
            check()
        except (AssertionError, KeyError):
            continue
        raise AssertionError("a check took a lie for the truth")


if __name__ == "__main__":
    harness.main()
