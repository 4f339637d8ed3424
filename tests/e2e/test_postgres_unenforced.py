# SPDX-License-Identifier: Apache-2.0
"""A PostgreSQL table that nothing enforces (`unenforced: accept`): one row per key among cooperating
writers, whatever others delete; and the interleavings that break the simpler ways, seen to break them.

Order is made, not waited for: a proxy holds a put before one of its statements, and the server tells
who waits for a lock.
"""
import collections
import contextlib
import functools
import json
import multiprocessing
import os
import random
import re
import threading

import harness
import postgres

PROCESSES = 8
TABLE = "CREATE TABLE t(name text NOT NULL, ver int, by text)"
INDEX = "CREATE INDEX no_unique_one ON t(name)"
BESIDE = ("CREATE TABLE onerow_keys(key text PRIMARY KEY)",
          "CREATE TABLE onerow_fence(scope text PRIMARY KEY, token bigint NOT NULL DEFAULT 0)")
CONFIGURATION = """stores:
  app: {{ url: "{url}" }}
tables:
  t:
    store: app
    key: [name]
{more}"""
ACCEPT = "    unenforced: accept\n"
NEWEST = "    on_conflict: newest(ver)\n"


@functools.cache
def server():
    """It may stop at once, its machine does not: what it has written is kept without fsync, too."""
    return postgres.Server(fsync="off", deadlock_timeout="20ms")


def configure(t, database, more=ACCEPT + NEWEST, name="onerow.yaml", port=None):
    t.write(name, CONFIGURATION.format(url=server().url(database, port), more=more))


def place(t, *statements, more=ACCEPT + NEWEST):
    """A database with the table and what else the statements make, and its configuration."""
    database = server().database("; ".join((TABLE, INDEX, *statements)))
    configure(t, database, more)
    return database


def put(t, records, *options):
    """One run to its end: its exit code and, for each line, outcome and reason."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(t.path("R"))
    result = t.onerow("put", "t", "--results", "R", *options,
                      input="".join(json.dumps(record) + "\n" for record in records))
    assert os.path.exists(t.path("R")), result
    lines = sorted(t.results("R"), key=lambda line: line["line"])
    return result.code, [(line["outcome"], line["reason"]) for line in lines]


def select(database, columns="name, ver, by"):
    return sorted(tuple(row) for row in server().sql(database, f"SELECT {columns} FROM t"))


def rows_of(database):
    """Key -> (version, by); no key has two rows."""
    rows = select(database)
    found = {name: (int(ver), by) for name, ver, by in rows}
    assert len(found) == len(rows), collections.Counter(row[0] for row in rows).most_common(3)
    return found


def waiting(database):
    """How many sessions of the database wait for a lock."""
    return server().count("postgres", "SELECT count(*) FROM pg_stat_activity WHERE "
                                      f"datname = '{database}' AND wait_event_type = 'Lock'")


class Background(threading.Thread):
    """work(…) in a thread; end() gives its result, or raises what it raised."""

    def __init__(self, work, *arguments):
        super().__init__(daemon=True)
        self.work, self.arguments, self.result, self.error = work, arguments, None, None
        self.start()

    def run(self):
        try:
            self.result = self.work(*self.arguments)
        except Exception as error:  # raised again by end()
            self.error = error

    def end(self):
        self.join(60)
        assert not self.is_alive(), "it hangs"
        if self.error:
            raise self.error
        return self.result


# ---- what it says -------------------------------------------------------------------------------

STEPS = ([{"name": "a", "ver": 1}, {"name": "b", "ver": 5, "by": "x"}],
         [{"name": "a", "ver": 1}, {"name": "b", "ver": 4, "by": "y"}],
         [{"name": "a", "ver": 2}, {"name": "a", "ver": 2}, {"name": "a", "ver": 3},
          {"name": "c", "ver": 1}, {"name": "c", "ver": 1}, {"name": "c", "ver": 0}],
         [{"name": "a"}, {"name": "b", "by": None}, {"name": "d"}, {"name": "d", "ver": 1}])
POLICIES = {"update": {("created", None), ("updated", None), ("unchanged", None)},
            "keep": {("created", None), ("unchanged", None), ("unchanged", "kept")},
            "newest(ver)": {("created", None), ("updated", None), ("unchanged", None),
                            ("unchanged", "older")}}


def test_outcomes_are_those_of_an_enforced_table(t):
    """Outcome, reason and rows are the same with and without a unique index, under each policy."""
    for policy, wanted in POLICIES.items():
        seen = []
        for index, more in (("ALTER TABLE t ADD UNIQUE (name)", ""), ("SELECT 1", ACCEPT)):
            database = place(t, index, more=f"    on_conflict: {policy}\n{more}")
            told = [put(t, step) for step in STEPS]
            assert [code for code, _ in told] == [0] * len(STEPS), told
            seen.append((told, select(database)))
        assert seen[0] == seen[1], (policy, seen)
        assert {pair for _, lines in seen[0][0] for pair in lines} == wanted, seen[0]


def test_check_says_the_weaker_promise(t):
    """Refused without its name, with the statement to run; check makes nothing, put makes both tables."""
    database = place(t, more="")
    refused = t.onerow("put", "t", input='{"name": "a"}\n')
    assert refused.code == 78, refused
    assert 'run: CREATE UNIQUE INDEX CONCURRENTLY ON public.t ("name");' in refused.err, refused
    assert "unenforced: accept" in refused.err and select(database) == [], refused
    check = t.onerow("check")
    assert check.code == 78 and "CREATE UNIQUE INDEX" in check.out, check
    configure(t, database)
    check = t.onerow("check")
    assert check.code == 0, check
    assert "exactly one row per key among cooperating writers" in check.out, check
    assert "public.onerow_keys" in check.out and "onerow audit" in check.out, check
    assert beside(database) == []
    assert put(t, [{"name": "a", "ver": 1}]) == (0, [("created", None)])
    assert beside(database) == ["onerow_fence", "onerow_keys"]
    assert server().sql(database, "SELECT scope FROM onerow_fence") == [["public.t"]]


def test_a_role_that_may_not_make_the_tables(t):
    """check and put say so before anything is written, with what to run; what reads goes on."""
    database = place(t)
    server().sql(database, "DROP ROLE IF EXISTS keyless; CREATE ROLE keyless LOGIN; "
                           "GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA public TO keyless; "
                           "GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO keyless; "
                           "REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    with open(t.path("onerow.yaml"), encoding="utf-8") as file:
        t.write("onerow.yaml", file.read().replace("postgres@", "keyless@"))
    check = t.onerow("check")
    assert check.code == 78 and "run: GRANT CREATE ON SCHEMA public TO keyless;" in check.out, check
    refused = t.onerow("put", "t", input='{"name": "a"}\n')
    assert refused.code == 78 and "GRANT CREATE ON SCHEMA public" in refused.err, refused
    assert select(database) == [] and t.letters() == []
    assert t.onerow("get", "t", "name=a").code == 1
    server().sql(database, "GRANT CREATE ON SCHEMA public TO keyless")
    assert t.onerow("check").code == 0
    assert put(t, [{"name": "a", "ver": 1}]) == (0, [("created", None)])


def beside(database):
    return [name for name, in server().sql(
        database, "SELECT relname FROM pg_class WHERE relname LIKE 'onerow%' AND relkind = 'r' "
                  "ORDER BY 1")]


def test_first_runs_race(t):
    """Eight first runs meet while somebody else is making the two tables, who then does or does not.
    Among themselves they take turns, and do not meet at all."""
    for number, ending in enumerate(("ROLLBACK", "COMMIT")):
        database = place(t)
        clashes = server().logged().count("duplicate key")
        with server().connect(database) as maker:
            maker.execute("BEGIN")
            for statement in BESIDE:
                maker.execute(statement)
            t.ndjson("in.ndjson", [{"name": "a", "ver": 1}])
            processes = [t.start("put", "t", "--results", f"R{number}.{p}", "in.ndjson")
                         for p in range(PROCESSES)]
            t.wait_until(lambda: waiting(database) >= PROCESSES, what="all of them waiting")
            maker.execute(ending)
        results = [t.finish(process) for process in processes]
        assert all(result.code == 0 for result in results), (ending, results)
        told = collections.Counter(line["outcome"] for p in range(PROCESSES)
                                   for line in t.results(f"R{number}.{p}"))
        assert told == {"created": 1, "unchanged": PROCESSES - 1}, (ending, told)
        assert len(rows_of(database)) == 1 and t.letters() == []
        if ending == "ROLLBACK":
            assert server().logged().count("duplicate key") == clashes, server().told()


def test_control_two_makers_meet(t):
    """CREATE TABLE IF NOT EXISTS without a turn of its own fails where two first runs meet."""
    import psycopg
    database = place(t)
    statement = BESIDE[0].replace("TABLE", "TABLE IF NOT EXISTS")
    with server().connect(database) as one, server().connect(database) as other:
        one.execute("BEGIN")
        one.execute(statement)
        second = Background(other.execute, statement)
        t.wait_until(lambda: waiting(database) == 1)
        one.execute("COMMIT")
        try:
            second.end()
        except psycopg.errors.UniqueViolation as error:
            print(f"# {str(error).splitlines()[0]}")
        else:
            raise AssertionError("two makers did not clash")


# ---- twins, values and names --------------------------------------------------------------------

def test_twins_are_rejected(t):
    """A key with two rows is left alone, and listed by audit; the rest of the batch goes in."""
    database = place(t, "INSERT INTO t VALUES ('b', 1, 'x'), ('b', 2, 'y'), ('c', 1, 'x')")
    records = [{"name": name, "ver": 9, "by": "z"} for name in "abcdb"]
    code, lines = put(t, records)
    assert code == 1 and [outcome for outcome, _ in lines] == \
        ["created", "rejected", "updated", "created", "rejected"], lines
    assert "onerow audit" in lines[1][1] and "onerow audit" in lines[4][1], lines
    assert [letter["line"] for letter in t.letters()] == [2, 5], t.letters()
    assert select(database) == [("a", "9", "z"), ("b", "1", "x"), ("b", "2", "y"),
                                ("c", "9", "z"), ("d", "9", "z")]
    audit = t.onerow("audit")
    assert audit.code == 1 and '{"name":"b"}' in audit.out, audit
    assert all(f'{{"name":"{name}"}}' not in audit.out for name in "acd"), audit
    server().sql(database, "DELETE FROM t WHERE by = 'x'")
    assert t.onerow("audit").code == 0
    assert put(t, records)[0] == 0
    assert rows_of(database) == {name: (9, "z") for name in "abcd"}


def test_long_keys(t):
    """Longer than an index entry can be, and equal but for their end; with one that spells a digest."""
    database = server().database(TABLE)
    configure(t, database)
    begin = "".join(t.random.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(60000))
    keys = [begin[:length] + end for length in (990, 1000, 1001, 3000, 60000) for end in "xyé"]
    keys += ["sha256:" + "0" * 64, "|", "\\|", "k1|t:x", "'", '"']
    inputs = []
    for p in range(PROCESSES):
        mine = [{"name": key, "ver": p} for key in t.random.sample(keys, len(keys))]
        t.ndjson(f"in{p}.ndjson", mine)
        inputs.append(mine)
    results = run_all(t, "--batch", "7")
    assert sum(result.balance["created"] for result in results) == len(keys), results
    assert rows_of(database) == {key: (PROCESSES - 1, "") for key in keys}
    assert server().count(database, "SELECT count(*) FROM onerow_keys") == len(keys)


def test_tables_whose_names_hold_bars(t):
    """The keys of two tables of one schema do not meet in onerow_keys: one writer is held with its key
    locked, and that of the other table goes through."""
    other = "t|k1|t:a"
    database = place(t, f'CREATE TABLE "{other}"(name text NOT NULL)', *BESIDE)
    configure(t, database, ACCEPT + f"    location: 'public.\"{other}\"'\n", "other.yaml")
    names = ["a", "b", "a|k1|t:b", "k1|t:a", "k1|t:a|k1|t:b"]
    with held(t, database, [{"name": name} for name in names], TO_INSERT) as writer:
        code, lines = put(t, [{"name": name} for name in names], "--config", "other.yaml")
        assert (code, lines) == (0, [("created", None)] * len(names)), lines
        assert [outcome for outcome, _ in writer.go_on()] == ["created"] * len(names)
    assert len(select(database, "name")) == len(names)
    count = server().count
    assert count(database, f'SELECT count(*) FROM "{other}"') == len(names)
    assert count(database, "SELECT count(*) FROM onerow_keys") == 2 * len(names)
    assert sorted(server().sql(database, "SELECT scope FROM onerow_fence")) == \
        [["public.t"], [f"public.{other}"]]


def test_a_schema_of_its_own(t):
    """The two tables lie beside the table, whatever the schema is called."""
    schema = 'Über "x".y'
    quoted = '"Über ""x"".y"'
    database = place(t, f"CREATE SCHEMA {quoted}", f'CREATE TABLE {quoted}."T"(name text NOT NULL)')
    configure(t, database, ACCEPT + f"    location: '{quoted}.\"T\"'\n")
    assert put(t, [{"name": "a"}, {"name": "a"}]) == (0, [("created", None), ("unchanged", None)])
    assert server().sql(database, f"SELECT scope FROM {quoted}.onerow_fence") == \
        [[f"{schema}.T"]]
    assert server().sql(database, f"SELECT key FROM {quoted}.onerow_keys") == \
        [[f"{schema}.T|k1|t:a"]]


def test_what_a_column_would_cut_is_rejected(t):
    """A value that its column takes only shortened is not equal to what it would be cut to."""
    for number, kind in enumerate(("bit(3)", "varbit(3)", "varchar(3)", "char(3)")):
        database = server().database(f"CREATE TABLE t(name text NOT NULL, v {kind})")
        configure(t, database, ACCEPT)
        assert put(t, [{"name": "a", "v": "101"}]) == (0, [("created", None)])
        code, lines = put(t, [{"name": "a", "v": "1011"}, {"name": "b", "v": "101"}])
        assert code == 1 and [outcome for outcome, _ in lines] == ["rejected", "created"], (kind, lines)
        assert len(t.letters()) == number + 1
        assert select(database, "name, v") == [("a", "101"), ("b", "101")]


def test_values_that_move(t):
    """A value of a unique index beside the key moves to a row that comes first in the order of keys,
    and keys come several times: the batch is tried again in the order of its arrival."""
    database = server().database(
        "CREATE TABLE t(name text NOT NULL, u int UNIQUE); CREATE INDEX ON t(name); "
        "INSERT INTO t SELECT 'z' || i, i FROM generate_series(0, 19) i")
    configure(t, database, ACCEPT)
    records = []
    for i in range(20):
        records += [{"name": f"z{i}", "u": None}, {"name": f"a{i}", "u": i},
                    {"name": f"z{i}", "u": None}]
    assert put(t, records) == (0, [("updated", None), ("created", None), ("unchanged", None)] * 20)
    rows = dict(select(database, "name, u"))
    assert len(rows) == 40 and all(rows[f"a{i}"] == str(i) and rows[f"z{i}"] == "" for i in range(20))


# ---- step by step -------------------------------------------------------------------------------

TO_LOCK = r"FOR UPDATE"
TO_SHARE = r"onerow_fence.*FOR SHARE"
TO_LOOK = r"^SELECT v\.o, r\.\*"
TO_INSERT = r"^INSERT INTO public\.t AS t"
TO_UPDATE = r"^WITH l AS .* UPDATE public\.t"


def parses(pattern):
    """The message that brings a statement; when it is held, the statement has no snapshot yet."""
    wanted = re.compile(pattern.encode(), re.S | re.M)
    return lambda message: (message.kind == b"P" and
                            wanted.search(message.data[5:].split(b"\0", 2)[1].replace(b"\n", b" ")))


class Held:
    """A put that a proxy holds before one of its statements."""

    def __init__(self, t, database, records, pattern):
        self.t, self.proxy = t, postgres.Proxy(server())
        configure(t, database, name="held.yaml", port=self.proxy.port)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(t.path("held.R"))
        t.ndjson("held.ndjson", records)
        self.cut = self.proxy.cut("before", parses(pattern))
        self.process = t.start("put", "t", "--config", "held.yaml", "--results", "held.R",
                               "held.ndjson")
        self.cut.wait()

    def go_on(self, code=0):
        """Its outcomes and reasons."""
        self.cut.resume()
        result = self.t.finish(self.process)
        assert result.code == code, result
        return [(line["outcome"], line["reason"]) for line in
                sorted(self.t.results("held.R"), key=lambda line: line["line"])]


@contextlib.contextmanager
def held(t, database, records, pattern):
    writer = Held(t, database, records, pattern)
    try:
        yield writer
    finally:
        writer.cut.resume()
        writer.proxy.close()


def test_a_put_waits_for_another(t):
    """The second put of a key looks only after the first has committed, also when the key was there
    before; and whatever the default isolation: under a higher level the look would show what was
    there before the lock was had."""
    for default in ("read committed", "repeatable read", "serializable"):
        database = place(t, *BESIDE, "INSERT INTO onerow_fence VALUES ('public.t')",
                         "INSERT INTO onerow_keys VALUES ('public.t|k1|t:a')")
        server().sql("postgres", f"ALTER DATABASE {database} SET default_transaction_isolation = "
                                 f"'{default}'")
        with held(t, database, [{"name": "a", "ver": 1}], TO_INSERT) as first:
            second = Background(put, t, [{"name": "b", "ver": 2}, {"name": "a", "ver": 2}])
            t.wait_until(lambda: waiting(database) == 1)
            assert first.go_on() == [("created", None)], default
            assert second.end() == (0, [("created", None), ("updated", None)]), default
        assert rows_of(database) == {"a": (2, ""), "b": (2, "")}, default


def test_a_key_deleted_before_it_was_locked(t):
    """The key was there for ON CONFLICT DO NOTHING and is not there to be locked: it is made again;
    or another writer made it meanwhile, with the row."""
    for others_first, wanted in ((False, "created"), (True, "updated")):
        database = place(t)
        assert put(t, [{"name": "a", "ver": 1}])[0] == 0
        with held(t, database, [{"name": "a", "ver": 3}], TO_LOCK) as writer:
            with server().connect(database) as foreign:
                assert foreign.execute("DELETE FROM onerow_keys").rowcount == 1
                assert foreign.execute("DELETE FROM t").rowcount == 1
            if others_first:
                assert put(t, [{"name": "a", "ver": 2}]) == (0, [("created", None)])
            assert writer.go_on() == [(wanted, None)]
        assert rows_of(database) == {"a": (3, "")}
        assert server().count(database, "SELECT count(*) FROM onerow_keys") == 1


def test_a_locked_key_cannot_be_deleted(t):
    """Once it is locked, neither the key nor the fence's row goes away before the commit, and a
    writer that comes after the deletion finds the row."""
    for table in ("onerow_keys", "onerow_fence"):
        database = place(t)
        assert put(t, [{"name": "a", "ver": 1}])[0] == 0
        server().sql(database, "DELETE FROM t")
        with held(t, database, [{"name": "a", "ver": 1}], TO_INSERT) as first:
            with server().connect(database) as foreign:
                deletion = Background(foreign.execute, f"DELETE FROM {table}")
                t.wait_until(lambda: waiting(database) == 1)
                second = Background(put, t, [{"name": "a", "ver": 2}])
                t.wait_until(lambda: waiting(database) == 2)
                assert first.go_on() == [("created", None)]
                assert deletion.end().rowcount == 1
            assert second.end() == (0, [("updated", None)])
        assert rows_of(database) == {"a": (2, "")}


def test_the_fence_row_deleted_before_it_was_shared(t):
    database = place(t)
    assert put(t, [{"name": "a", "ver": 1}])[0] == 0
    with held(t, database, [{"name": "a", "ver": 2}], TO_SHARE) as writer:
        server().sql(database, "DELETE FROM onerow_fence")
        assert writer.go_on() == [("updated", None)]
    assert server().sql(database, "SELECT scope FROM onerow_fence") == [["public.t"]]


def test_a_row_that_changes_between_look_and_update(t):
    """The look found one row; before the UPDATE others delete it, make it equal or newer, or make a
    second one. What is said is what is there at the commit."""
    foreign = {
        "DELETE FROM t": (0, ("created", None), [("a", "5", "me")]),
        "UPDATE t SET ver = 5, by = 'me'": (0, ("unchanged", None), [("a", "5", "me")]),
        "UPDATE t SET ver = 7": (0, ("unchanged", "older"), [("a", "7", "")]),
        "UPDATE t SET ver = 3": (0, ("updated", None), [("a", "5", "me")]),
        "INSERT INTO t VALUES ('a', 2, 'twin')":
            (1, ("rejected", "several rows have this key; onerow audit lists them"),
             [("a", "1", ""), ("a", "2", "twin")]),
    }
    database = place(t)
    for statement, (code, told, rows) in foreign.items():
        server().sql(database, "TRUNCATE t; INSERT INTO t VALUES ('a', 1, NULL)")
        with held(t, database, [{"name": "a", "ver": 5, "by": "me"}], TO_UPDATE) as writer:
            server().sql(database, statement)
            assert writer.go_on(code) == [told], statement
        assert select(database) == rows, statement


def do_nothing(connection, name):
    connection.execute("INSERT INTO onerow_keys VALUES (%s) ON CONFLICT DO NOTHING", (name,))


def is_there(connection, name):
    return connection.execute("SELECT 1 FROM t WHERE name = %s", (name,)).fetchone() is not None


def insert(connection, name, by):
    connection.execute("INSERT INTO t VALUES (%s, 0, %s)", (name, by))


def test_control_do_nothing_alone_locks_nothing(t):
    """ON CONFLICT DO NOTHING does not lock a key that is there: deleted in between, it lets a second
    writer in. With SELECT FOR UPDATE after it the deletion has to wait, and so does the writer."""
    for locks in (False, True):
        database = place(t, *BESIDE, "INSERT INTO onerow_keys VALUES ('a')")
        with contextlib.ExitStack() as stack:
            first, second, foreign = (stack.enter_context(server().connect(database))
                                      for _ in range(3))
            first.execute("BEGIN")
            do_nothing(first, "a")
            if locks:
                first.execute("SELECT FROM onerow_keys WHERE key = 'a' FOR UPDATE")
            assert not is_there(first, "a")
            deletion = Background(foreign.execute, "DELETE FROM onerow_keys")
            if locks:
                t.wait_until(lambda: waiting(database) == 1)
            else:
                deletion.end()

            def write():
                with second.transaction():
                    do_nothing(second, "a")
                    if locks:
                        second.execute("SELECT FROM onerow_keys WHERE key = 'a' FOR UPDATE")
                    if not is_there(second, "a"):
                        insert(second, "a", "second")

            if locks:
                insert(first, "a", "first")
                first.execute("COMMIT")
                deletion.end()
                write()
            else:
                write()
                insert(first, "a", "first")
                first.execute("COMMIT")
        assert len(select(database)) == (1 if locks else 2), (locks, select(database))


# ---- merges -------------------------------------------------------------------------------------

FENCE = "UPDATE onerow_fence SET token = token + 1 WHERE scope = 'public.t'"


def merge(connection, names, fence=True):
    """What a merge does: the fence first, then look and insert without the keys. How many it inserted."""
    inserted = 0
    with connection.transaction():
        if fence:
            assert connection.execute(FENCE).rowcount == 1
        for name in names:
            if not is_there(connection, name):
                insert(connection, name, "merge")
                inserted += 1
    return inserted


def test_a_merge_waits_for_a_put(t):
    database = place(t)
    assert put(t, [{"name": "z", "ver": 1}])[0] == 0
    with held(t, database, [{"name": "a", "ver": 1}], TO_INSERT) as writer, \
            server().connect(database) as merger:
        merging = Background(merge, merger, ["a", "b"])
        t.wait_until(lambda: waiting(database) == 1)
        assert writer.go_on() == [("created", None)]
        assert merging.end() == 1
    assert rows_of(database) == {"a": (1, ""), "b": (0, "merge"), "z": (1, "")}


def test_a_put_waits_for_a_merge(t):
    """Also with the merge's rows not inserted yet, and for the merge of this table alone."""
    database = place(t, "CREATE TABLE u(name text NOT NULL)")
    assert put(t, [{"name": "z", "ver": 1}])[0] == 0
    with server().connect(database) as merger:
        merger.execute("BEGIN")
        merger.execute(FENCE)
        assert not is_there(merger, "a")
        writer = Background(put, t, [{"name": "a", "ver": 1}])
        t.wait_until(lambda: waiting(database) == 1)
        configure(t, database, ACCEPT + "    location: u\n", "u.yaml")
        other = t.onerow("put", "t", "--config", "u.yaml", input='{"name": "a"}\n')
        assert other.code == 0 and other.balance["created"] == 1, other
        insert(merger, "a", "merge")
        merger.execute("COMMIT")
        assert writer.end() == (0, [("updated", None)])
    assert rows_of(database) == {"a": (1, "merge"), "z": (1, "")}


def test_control_a_merge_without_the_fence_duplicates(t):
    """The same as test_a_merge_waits_for_a_put, by somebody who does not take the fence."""
    database = place(t, *BESIDE)
    with held(t, database, [{"name": "a", "ver": 1}], TO_INSERT) as writer, \
            server().connect(database) as merger:
        assert merge(merger, ["a"], fence=False) == 1
        assert writer.go_on() == [("created", None)]
    assert select(database) == [("a", "0", "merge"), ("a", "1", "")]
    audit = t.onerow("audit")
    assert audit.code == 1 and '{"name":"a"}' in audit.out, audit


# ---- many at once -------------------------------------------------------------------------------

def make_inputs(t, keys, records):
    """One list of records per process, each also a file; versions are unique."""
    versions = list(range(1, PROCESSES * records + 1))
    t.random.shuffle(versions)
    inputs = []
    for p in range(PROCESSES):
        mine = [{"name": f"k{t.random.randrange(keys):05d}", "ver": ver, "by": f"v{ver}"}
                for ver in (versions.pop() for _ in range(records))]
        t.ndjson(f"in{p}.ndjson", mine)
        inputs.append(mine)
    return inputs


def start(t, p, attempt, *options):
    return t.start("put", "t", "--results", f"R{p}.{attempt}", *options, f"in{p}.ndjson")


def run_all(t, *options):
    """All processes at once, to a normal end; their results."""
    processes = [start(t, p, "end", *options) for p in range(PROCESSES)]
    results = [t.finish(process) for process in processes]
    assert all(result.code == 0 for result in results), results
    return results


def results_of(t, p):
    """The result lines of all runs over one input."""
    return [line for name in os.listdir(t.folder) if name.startswith(f"R{p}.")
            for line in t.results(name)]


def check_acknowledged(t, inputs, rows):
    """No row is behind what was acknowledged; the records that were not have dead letters."""
    kept = {(os.path.basename(letter["input"]), letter["line"]) for letter in t.letters()}
    created = collections.Counter()
    for p, mine in enumerate(inputs):
        for line in results_of(t, p):
            record = mine[line["line"] - 1]
            if line["outcome"] in harness.ACKNOWLEDGED:
                assert rows.get(record["name"], (0,))[0] >= record["ver"], (line, record)
                created[record["name"]] += line["outcome"] == "created"
            else:
                assert (f"in{p}.ndjson", line["line"]) in kept, line
    return created


def check_end(inputs, rows):
    """One row for each distinct key, of the newest record that anybody had for it."""
    newest = {}
    for record in (record for mine in inputs for record in mine):
        newest[record["name"]] = max((record["ver"], record["by"]), newest.get(record["name"], (0, "")))
    assert rows == newest, [(key, rows.get(key), newest.get(key)) for key in rows.keys() | newest.keys()
                            if rows.get(key) != newest.get(key)][:10]


@contextlib.contextmanager
def others(database, seed, *works):
    """Foreign programs, each doing work(connection, dice) again and again; what they did, by name."""
    import psycopg
    over, counts = threading.Event(), collections.Counter()

    def run(number, work):
        dice = random.Random(seed + number)
        with server().connect(database) as connection:
            while not over.is_set():
                try:
                    counts[work.__name__] += work(connection, dice)
                except psycopg.errors.DeadlockDetected:
                    counts["deadlocks"] += 1

    threads = [Background(run, number, work) for number, work in enumerate(works)]
    try:
        yield counts
    finally:
        over.set()
        for thread in threads:
            thread.end()


def test_race_with_kills(t):
    """Eight puts of overlapping inputs; two of them are killed while they hold their locks, and
    started again."""
    database = place(t, *BESIDE)
    inputs = make_inputs(t, keys=300, records=400)
    proxies = [postgres.Proxy(server()) for _ in range(2)]
    cuts, processes = [], []
    for p in range(PROCESSES):
        options = ["--batch", "20" if p % 2 else "40"]
        if p < len(proxies):
            configure(t, database, name=f"{p}.yaml", port=proxies[p].port)
            options += ["--config", f"{p}.yaml"]
            cuts.append(proxies[p].cut("before", parses(f"{TO_LOOK}|{TO_INSERT}|{TO_UPDATE}"),
                                       nth=t.random.randrange(1, 20)))
        processes.append(start(t, p, 0, *options))
    left = dict(enumerate(cuts))
    while left:  # whichever comes first: it may hold what the other one needs
        t.wait_until(lambda: any(cut.reached.is_set() for cut in left.values()))
        for p in [p for p, cut in left.items() if cut.reached.is_set()]:
            processes[p].kill()
            left.pop(p).release()
            processes.append(start(t, p, 1))
    results = [t.finish(process) for process in processes]
    assert [result.code for result in results] == [-9] * 2 + [0] * PROCESSES, results
    rows = rows_of(database)
    created = check_acknowledged(t, inputs, rows)
    assert max(created.values()) == 1 and t.letters() == []
    check_end(inputs, rows)


def test_race_with_foreign_deletes(t):
    """Rows and keys are deleted at random all the while: no record is refused, no deletion finds two
    rows, and what is written after the last deletion is there."""
    database = place(t)
    inputs = make_inputs(t, keys=60, records=250)
    assert put(t, [{"name": "k00000", "ver": 0}])[0] == 0

    def row(connection, dice):
        deleted = connection.execute("DELETE FROM t WHERE name = %s",
                                     (f"k{dice.randrange(60):05d}",)).rowcount
        assert deleted < 2, "a key had two rows"
        return deleted

    def key(connection, dice):
        return connection.execute("DELETE FROM onerow_keys WHERE key = %s",
                                  (f"public.t|k1|t:k{dice.randrange(60):05d}",)).rowcount

    def twins(connection, _):
        found = connection.execute("SELECT name FROM t GROUP BY 1 HAVING count(*) > 1").fetchall()
        assert found == [], found
        return 1

    with others(database, t.random.randrange(1 << 30), row, key, key, twins) as counts:
        run_all(t, "--batch", "10")
    print(f"# deleted and looked: {dict(counts)}")
    assert min(counts[name] for name in ("row", "key", "twins")) > 0 and t.letters() == []
    rows_of(database)
    run_all(t)
    check_end(inputs, rows_of(database))


def test_race_with_merges(t):
    """Merges take the fence and not the keys: together with puts never two rows for a key."""
    database = place(t)
    inputs = make_inputs(t, keys=200, records=200)
    assert put(t, [{"name": "k00000", "ver": 0}])[0] == 0

    def merges(connection, dice):
        merge(connection, [f"k{dice.randrange(200):05d}" for _ in range(5)])
        return 1

    def deletes(connection, dice):  # or there would soon be nothing left to insert
        return connection.execute("DELETE FROM t WHERE name = %s",
                                  (f"k{dice.randrange(200):05d}",)).rowcount

    with others(database, t.random.randrange(1 << 30), merges, merges, deletes) as counts:
        run_all(t, "--batch", "10")
    print(f"# merges and deletions: {dict(counts)}")
    assert counts["merges"] > 0 and t.letters() == []
    rows_of(database)
    run_all(t)
    rows = rows_of(database)
    merged = {name: row for name, row in rows.items() if row == (0, "merge")}
    check_end(inputs, {name: row for name, row in rows.items() if name not in merged})


def test_race_with_a_crash(t):
    """The server stops at once in the middle and comes back."""
    database = place(t)
    inputs = make_inputs(t, keys=300, records=400)
    processes = [start(t, p, 0, "--wait", "60", "--batch", "20") for p in range(PROCESSES)]
    for number in (1, 2):
        t.wait_until(lambda: sum(len(results_of(t, p)) for p in range(PROCESSES)) > 600 * number)
        assert any(process.poll() is None for process in processes)
        server().restart("immediate")
    results = [t.finish(process) for process in processes]
    assert all(result.code in (0, 1, 69) for result in results), results
    rows = rows_of(database)
    check_acknowledged(t, inputs, rows)
    unknown = sum(letter["outcome"] == "unknown" for letter in t.letters())
    print(f"# exits {[result.code for result in results]}, {unknown} records unknown")
    run_all(t)
    check_end(inputs, rows_of(database))


# ---- what happens without onerow ----------------------------------------------------------------

def check_then_insert(barrier, database, names):
    """What everybody writes first, all with the same events at the same time."""
    with server().connect(database) as connection:
        for name in names:
            barrier.wait()
            if not is_there(connection, name):
                insert(connection, name, "naive")


def test_control_check_then_insert_duplicates(t):
    database = place(t)
    names = [f"k{number}" for number in range(100)]
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(PROCESSES)
    processes = [context.Process(target=check_then_insert, args=(barrier, database, names))
                 for _ in range(PROCESSES)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    found = sum(count > 1 for count in collections.Counter(select(database, "name")).values())
    print(f"# check-then-insert: {found} of {len(names)} keys have more than one row")
    assert found > 0


if __name__ == "__main__":
    harness.main()
