# SPDX-License-Identifier: Apache-2.0
"""Eight processes write one PostgreSQL table while the server crashes and restarts, workers are killed
and stopped, others delete and update rows, and everything is counted from outside by psql.

`newest(ver)` with versions that are unique in all inputs, and `by` made of the version, so that a row
says which record it came from: a row may be ahead of what was acknowledged, never behind.
The negative controls at the end do what everybody does without onerow, and are seen to fail.
"""
import collections
import contextlib
import json
import multiprocessing
import os
import random
import signal
import threading
import time

import harness
import postgres

PROCESSES = 8
TABLE = "CREATE TABLE t(name text PRIMARY KEY, ver int, by text)"
CONFIGURATION = """stores:
  app: {{ url: "{url}", connections: {connections} }}
tables:
  t:
    store: app
    key: [name]
{more}"""
NEWEST = "    on_conflict: newest(ver)\n"


def place(t, *statements, more=NEWEST, connections=2):
    """A database with these tables, and a configuration for `t` in it; the database's name."""
    database = postgres.shared().database(*statements)
    t.write("onerow.yaml", CONFIGURATION.format(url=postgres.shared().url(database), more=more,
                                                connections=connections))
    return database


# ---- inputs -------------------------------------------------------------------------------------

def make_inputs(t, keys, records):
    """One list of records per process, each also a file: new, changed and equal ones mixed."""
    versions = list(range(1, PROCESSES * records + 1))
    t.random.shuffle(versions)
    pool, inputs = [], []
    for p in range(PROCESSES):
        mine = []
        for _ in range(records):
            if pool and t.random.random() < 0.2:
                mine.append(t.random.choice(pool))  # another worker has the very same record
                continue
            ver = versions.pop()
            mine.append({"name": f"k{t.random.randrange(keys):05d}", "ver": ver, "by": f"v{ver}"})
        pool += t.random.sample(mine, len(mine) // 4)
        t.ndjson(f"in{p}.ndjson", mine)
        inputs.append(mine)
    return inputs


class Worker:
    """One input and the runs that are needed until it is through."""

    def __init__(self, t, p, records, *options):
        self.t, self.p, self.records, self.options = t, p, records, options
        self.attempt, self.process, self.done, self.lines = -1, None, False, []
        self.ends = collections.Counter()

    def start(self):
        self.attempt += 1
        self.process = self.t.start("put", "t", "--results", f"R{self.p}.{self.attempt}",
                                    *self.options, f"in{self.p}.ndjson")

    def written(self):
        """Result lines of the present run; cheap, and of a run that goes on."""
        try:
            with open(self.t.path(f"R{self.p}.{self.attempt}"), "rb") as file:
                return file.read().count(b"\n")
        except FileNotFoundError:
            return 0

    def end(self):
        """Takes the result of a run that has ended."""
        result = self.t.finish(self.process)
        name = f"R{self.p}.{self.attempt}"
        lines = self.t.results(name) if os.path.exists(self.t.path(name)) else []
        self.lines += lines
        self.ends[result.code] += 1
        if result.code == 69:  # it came while the server was down
            assert result.balance["read"] == 0, result
        assert result.code in (0, 1, 69, 75, -signal.SIGKILL), result
        self.done = result.code in (0, 1)
        if self.done:
            told = collections.Counter(line["outcome"] for line in lines)
            balance = result.balance
            assert balance["read"] == len(lines) == len(self.records), (result, len(lines))
            assert all(balance[outcome] == told[outcome] for outcome in harness.OUTCOMES), result
        return result

    def poll(self):
        """Restarts it when it has ended without being through. False: nothing is left to do."""
        if not self.done and self.process.poll() is not None:
            self.end()
            if not self.done:
                assert sum(self.ends.values()) < 50, self.ends
                self.start()
        return not self.done


def start_all(t, inputs, *options):
    workers = [Worker(t, p, mine, "--batch", str(40 if p % 2 else 150), *options)
               for p, mine in enumerate(inputs)]
    for worker in workers:
        worker.start()
    return workers


def finish_all(t, workers):
    t.wait_until(lambda: not any([worker.poll() for worker in workers]), seconds=120,
                 what="the end of all workers")


# ---- the checks ---------------------------------------------------------------------------------

def rows_of(database):
    """Key -> (version, by), after a look for duplicates that does not trust the index."""
    rows = postgres.shared().sql(database, "SET enable_indexscan = off; SET enable_bitmapscan = off; "
                                           "SET enable_indexonlyscan = off; SELECT name, ver, by FROM t")
    found = {name: (int(ver), by) for name, ver, by in rows}
    assert len(found) == len(rows), "a key has several rows"
    return found


def check_lines(t, workers, rows):
    """Nothing that was acknowledged is missing, or older than it was; what was not has a letter."""
    created = collections.Counter()
    letters = [letter for letter in t.letters() if letter["outcome"] == "unknown"]
    kept = {(letter["input"], letter["line"]) for letter in letters}
    unknown = 0
    for worker in workers:
        for line in worker.lines:
            record = worker.records[line["line"] - 1]
            if line["outcome"] == "unknown":
                unknown += 1
                assert any(name.endswith(f"in{worker.p}.ndjson") and at == line["line"]
                           for name, at in kept), line
                continue
            assert line["outcome"] in harness.ACKNOWLEDGED, line
            assert record["name"] in rows, (line, record)
            assert rows[record["name"]][0] >= record["ver"], (line, record, rows[record["name"]])
            created[record["name"]] += line["outcome"] == "created"
    assert max(created.values()) == 1, created.most_common(5)
    return unknown


def check_end(inputs, rows):
    """One row for each distinct key, of the newest record that anybody had for it."""
    newest = {}
    for record in (record for mine in inputs for record in mine):
        if record["ver"] > newest.get(record["name"], (0,))[0]:
            newest[record["name"]] = (record["ver"], record["by"])
    assert rows == newest, [(k, rows.get(k), newest.get(k)) for k in rows.keys() | newest.keys()
                            if rows.get(k) != newest.get(k)][:10]


# ---- crashes, kills, stops ----------------------------------------------------------------------

def run_through(t, inputs, workers, events, stopped=()):
    """Each event happens once the workers have written some more lines, all at random moments. A
    stopped worker with a transaction open may hold all others up: then it does not wait for them."""
    total = sum(len(mine) for mine in inputs)
    for number, event in enumerate(events):
        wanted = total * (number + 1) // (len(events) + 2)
        seen = [0, time.monotonic()]  # lines, and since when

        def due():
            left = [worker.poll() for worker in workers]
            written = sum(len(worker.lines) + (0 if worker.done else worker.written())
                          for worker in workers)
            if written > seen[0]:
                seen[:] = written, time.monotonic()
            held_up = stopped and time.monotonic() - seen[1] > 1
            return written >= wanted or held_up or not any(left)

        t.wait_until(due, seconds=120, what=f"{wanted} result lines")
        event(t.random.choice([worker for worker in workers if not worker.done] or workers))


def test_race_with_crashes(t):
    """The server is stopped at once and started again several times, workers die and pause."""
    database = place(t, TABLE)
    inputs = make_inputs(t, keys=3000, records=3000)
    workers = start_all(t, inputs, "--wait", "60")
    hits, stopped = collections.Counter(), []

    def crash(_):
        mode = t.random.choice(("immediate", "immediate", "kill"))
        postgres.shared().restart(mode)
        hits["crash"] += 1

    def kill(worker):
        if worker.process.poll() is None:
            worker.process.kill()
            hits["kill"] += 1

    def pause(worker):
        if worker.process.poll() is None:
            worker.process.send_signal(signal.SIGSTOP)
            stopped.append(worker.process)
            hits["stop"] += 1

    def go_on(_):
        while stopped:
            stopped.pop().send_signal(signal.SIGCONT)

    events = [crash, pause, crash, go_on, kill, kill, crash, pause, kill, go_on, crash]
    try:
        run_through(t, inputs, workers, events, stopped)
    finally:
        go_on(None)
    finish_all(t, workers)
    rows = rows_of(database)
    unknown = check_lines(t, workers, rows)
    ends = sum((worker.ends for worker in workers), collections.Counter())
    print(f"# {dict(hits)}, ends of runs {dict(ends)}, {unknown} records unknown")
    assert hits["crash"] >= 2 and hits["kill"] >= 1 and hits["stop"] >= 1, hits
    for worker in workers:
        worker.done = False
        worker.start()
    finish_all(t, workers)
    assert all(worker.ends[0] >= 1 for worker in workers)
    check_end(inputs, rows_of(database))


def test_race_with_kills_only(t):
    """As long as the server lives, nothing is ever unknown, however many workers die."""
    database = place(t, TABLE)
    inputs = make_inputs(t, keys=1500, records=1200)
    workers = start_all(t, inputs)

    def kill(worker):
        worker.process.kill()

    run_through(t, inputs, workers, [kill] * 8)
    finish_all(t, workers)
    rows = rows_of(database)
    assert check_lines(t, workers, rows) == 0
    assert t.letters() == []
    check_end(inputs, rows)


# ---- other writers ------------------------------------------------------------------------------

@contextlib.contextmanager
def others(database, n, seed, work):
    """Foreign programs that do work(connection, random) again and again; they give way to errors."""
    import psycopg
    over, counts = threading.Event(), collections.Counter()

    def run(number):
        dice = random.Random(seed * 100 + number)
        with postgres.shared().connect(database) as connection:
            while not over.is_set():
                try:
                    work(connection, dice)
                    counts["done"] += 1
                except psycopg.errors.DeadlockDetected:
                    counts["deadlocks"] += 1

    threads = [threading.Thread(target=run, args=(number,)) for number in range(n)]
    for thread in threads:
        thread.start()
    try:
        yield counts
    finally:
        over.set()
        for thread in threads:
            thread.join()


def put_all(t, inputs, *options, batch=100):
    """All processes at once, to a normal end; their results as JSON."""
    processes = [t.start("put", "t", "--json", "--results", f"R{p}", "--batch", str(batch),
                         *options, f"in{p}.ndjson") for p in range(len(inputs))]
    results = [t.finish(process) for process in processes]
    assert all(result.code == 0 for result in results), results
    return [json.loads(result.out) for result in results]


def unordered_updates(connection, dice):
    with connection.transaction():
        for key in dice.sample(range(200), 12):
            connection.execute("UPDATE t SET other = coalesce(other, 0) + 1 WHERE name = %s",
                               (f"k{key:05d}",))


def test_race_of_column_sets_and_foreign_writers(t):
    """Records with different columns of the same rows, beside programs that lock in any order:
    deadlocks are tried again, and nobody is refused."""
    server = postgres.shared()
    database = place(t, "CREATE TABLE t(name text PRIMARY KEY, a int, b int, other int)",
                     "INSERT INTO t SELECT 'k' || lpad(i::text, 5, '0') FROM generate_series(0, 199) i",
                     more="")
    columns, inputs = [("a",), ("b",), ("a", "b")], []
    for p in range(PROCESSES):
        mine = []
        for line in range(1500):
            record = {"name": f"k{t.random.randrange(200):05d}"}
            record.update({column: p * 10000 + line for column in t.random.choice(columns)})
            mine.append(record)
        t.ndjson(f"in{p}.ndjson", mine)
        inputs.append(mine)
    server.sql("postgres", "ALTER SYSTEM SET deadlock_timeout = '20ms'")
    server.sql("postgres", "SELECT pg_reload_conf()")
    with others(database, 3, t.random.randrange(1 << 30), unordered_updates) as counts:
        results = put_all(t, inputs)
    retries = sum(result["retries"] for result in results)
    print(f"# {retries} transactions of onerow were tried again; the others {dict(counts)}")
    assert counts["deadlocks"] + retries > 0, "there was no deadlock: the test shows nothing"
    assert t.letters() == []
    last = collections.defaultdict(set)  # what some process had as its last value of a field
    for mine in inputs:
        ends = {(r["name"], c): r[c] for r in mine for c in ("a", "b") if c in r}
        for place_of, value in ends.items():
            last[place_of].add(str(value))
    rows = server.sql(database, "SELECT name, a, b FROM t")
    assert len(rows) == 200
    for name, a, b in rows:
        assert a in last[name, "a"] and b in last[name, "b"], (name, a, b)


def test_race_with_foreign_deletes(t):
    """Rows vanish all the time: no error, and what is written after the last delete is there."""
    database = place(t, TABLE)
    inputs = make_inputs(t, keys=300, records=800)

    def delete(connection, dice):
        with connection.transaction():
            for key in dice.sample(range(300), 5):
                connection.execute("DELETE FROM t WHERE name = %s", (f"k{key:05d}",))

    with others(database, 3, t.random.randrange(1 << 30), delete) as counts:
        put_all(t, inputs)
    assert counts["done"] > 0 and t.letters() == []
    rows_of(database)
    put_all(t, inputs)
    check_end(inputs, rows_of(database))


# ---- a second unique index ----------------------------------------------------------------------

TWO_INDEXES = "CREATE TABLE t(name text PRIMARY KEY, u int UNIQUE)"
# PostgreSQL looks whether the key is there, then fills the indexes in the order of their making. One
# that takes its time, and comes before the key's, lets others in between.
SLOW_INDEX = ("CREATE FUNCTION slow(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS "
              "'BEGIN PERFORM pg_sleep(0.002); RETURN $1; END'",
              "CREATE TABLE t(name text NOT NULL, u int)",
              "CREATE UNIQUE INDEX t_u ON t(slow(u))",
              "ALTER TABLE t ADD PRIMARY KEY (name)")


def test_race_on_a_second_unique_index(t):
    """All processes put the same new records at once. PostgreSQL answers some of them with a
    violation of the second index, where the row that is in the way is the very same record."""
    database = place(t, *SLOW_INDEX, more="")
    records = [{"name": f"k{i:05d}", "u": i} for i in range(300)]
    for p in range(PROCESSES):
        t.ndjson(f"in{p}.ndjson", records)
    before = postgres.shared().logged().count("duplicate key")
    results = put_all(t, [records] * PROCESSES, batch=10)
    assert sum(result["created"] for result in results) == len(records)
    assert t.letters() == []
    clashes = postgres.shared().logged().count("duplicate key") - before
    print(f"# {clashes} violations of the second index were seen and settled")
    assert clashes > 0, "the race was not seen: the test shows nothing"


def test_race_of_moving_values(t):
    """A value of the second index moves to a row that comes first in the order of keys, so that the
    batch as written fails: still no record is refused that is right in the end."""
    database = place(t, TWO_INDEXES,
                     "INSERT INTO t SELECT 'z' || i, i FROM generate_series(0, 299) i", more="")
    records = []
    for i in range(300):
        records += [{"name": f"z{i}", "u": None}, {"name": f"a{i}", "u": i}]
    for p in range(4):
        t.ndjson(f"in{p}.ndjson", records)
    put_all(t, [records] * 4)
    assert t.letters() == []
    rows = dict(postgres.shared().sql(database, "SELECT name, u FROM t"))
    assert len(rows) == 600
    assert all(rows[f"a{i}"] == str(i) and rows[f"z{i}"] == "" for i in range(300))


# ---- a table that nothing enforces --------------------------------------------------------------

def test_race_unenforced(t):
    """Without any unique index: one row per key among writers that all go through onerow, while
    somebody deletes and workers die."""
    database = place(t, "CREATE TABLE t(name text NOT NULL, ver int, by text)",
                     "CREATE INDEX no_unique_one ON t(name)",
                     more=NEWEST + "    unenforced: accept\n")
    inputs = make_inputs(t, keys=300, records=600)

    def delete(connection, dice):
        connection.execute("DELETE FROM t WHERE name = %s", (f"k{dice.randrange(300):05d}",))

    with others(database, 2, t.random.randrange(1 << 30), delete):
        workers = start_all(t, inputs)
        run_through(t, inputs, workers, [lambda worker: worker.process.kill()] * 4)
        finish_all(t, workers)
    assert t.letters() == []
    rows_of(database)
    put_all(t, inputs)
    check_end(inputs, rows_of(database))


# ---- what happens without onerow ----------------------------------------------------------------

def in_processes(work, *arguments):
    """work(barrier, errors, …) in all processes; the errors that they put."""
    context = multiprocessing.get_context("fork")
    barrier, errors = context.Barrier(PROCESSES), context.SimpleQueue()
    workers = [context.Process(target=work, args=(barrier, errors, *arguments))
               for _ in range(PROCESSES)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    seen = []
    while not errors.empty():
        seen.append(errors.get())
    return seen


def check_then_insert(barrier, errors, database, names):
    """What everybody writes first, all with the same events at the same time."""
    import psycopg
    with postgres.shared().connect(database) as connection:
        for name in names:
            barrier.wait()
            if not connection.execute("SELECT 1 FROM t WHERE name = %s", (name,)).fetchone():
                try:
                    connection.execute("INSERT INTO t(name) VALUES (%s)", (name,))
                except psycopg.errors.UniqueViolation as error:
                    errors.put(error.diag.constraint_name)


def upsert(barrier, errors, database, names):
    """ON CONFLICT on the key alone."""
    import psycopg
    with postgres.shared().connect(database) as connection:
        for number, name in enumerate(names):
            barrier.wait()
            try:
                connection.execute("INSERT INTO t VALUES (%s, %s) ON CONFLICT (name) "
                                   "DO UPDATE SET u = excluded.u", (name, number))
            except psycopg.errors.UniqueViolation as error:
                errors.put(error.diag.constraint_name)


NAMES = [f"k{i}" for i in range(150)]


def test_control_check_then_insert_duplicates(t):
    database = postgres.shared().database("CREATE TABLE t(name text NOT NULL)")
    in_processes(check_then_insert, database, NAMES)
    found = postgres.shared().count(database, "SELECT count(*) FROM (SELECT 1 FROM t GROUP BY name "
                                              "HAVING count(*) > 1) d")
    print(f"# check-then-insert: {found} of {len(NAMES)} keys have more than one row")
    assert found > 0


def test_control_check_then_insert_dies_on_the_index(t):
    database = postgres.shared().database("CREATE TABLE t(name text PRIMARY KEY)")
    errors = in_processes(check_then_insert, database, NAMES)
    print(f"# check-then-insert with a unique index: {len(errors)} errors")
    assert errors and set(errors) == {"t_pkey"}, errors


def test_control_on_conflict_meets_the_second_index(t):
    """What the race on a second unique index does to a plain upsert of equal records."""
    database = postgres.shared().database(*SLOW_INDEX)
    errors = in_processes(upsert, database, NAMES)
    print(f"# ON CONFLICT beside a second unique index: {len(errors)} errors")
    assert errors and set(errors) == {"t_u"}, errors


if __name__ == "__main__":
    harness.main()
