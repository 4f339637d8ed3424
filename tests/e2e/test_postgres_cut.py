# SPDX-License-Identifier: Apache-2.0
"""A proxy cuts the connection at every place of a transaction, in both directions, and the server is
left alone, or restarted, or crashes before the client can come back.

While the server lives on, everything is settled: each record has the very outcome that it would have
had without the cut. Only where the server went down with a COMMIT under way, those records are
unknown, all of them and no others. What is told is compared with what psql sees.
"""
import collections
import contextlib
import functools

import harness
import postgres

BATCH, BATCHES = 20, 3
DATABASE = "cut"
TABLE = """DROP TABLE IF EXISTS t;
CREATE TABLE t(name text PRIMARY KEY, v int);
INSERT INTO t SELECT 'k' || lpad(i::text, 3, '0'), i + (i % 3) * 1000
FROM generate_series(0, 59) i WHERE i % 3 < 2"""
EXPECTED = ("unchanged", "updated", "created")
CONFIGURATION = """stores:
  app: {{ url: "{url}", connections: {connections} }}
tables:
  t: {{ store: app, key: [name] }}
"""
is_data = postgres.carries("INSERT INTO")


@functools.cache
def server():
    """What is not flushed is lost in a crash: the next transactions get the lost ones' numbers."""
    made = postgres.Server(wal_writer_delay="10s", max_wal_senders="4")
    made.sql("postgres", f"CREATE DATABASE {DATABASE}")
    return made


@functools.cache
def proxy():
    return postgres.Proxy(server())


def before_run():
    """What TABLE holds."""
    return {f"k{i:03d}": i + i % 3 * 1000 for i in range(BATCH * BATCHES) if i % 3 < 2}


def records():
    return [{"name": f"k{i:03d}", "v": i} for i in range(BATCH * BATCHES)]


class Case:
    """One put through the proxy, into a table of which a third of the rows is there, a third has other
    values, and a third is missing."""

    def __init__(self, t, port=None, connections=1):
        self.t = harness.Place(t.random.random())
        server().sql(DATABASE, TABLE)
        self.t.ndjson("in.ndjson", records())
        self.t.write("onerow.yaml", CONFIGURATION.format(
            url=server().url(DATABASE, port or proxy().port), connections=connections))
        self.at = server()  # where the rows are to be looked for

    def start(self, *options):
        self.process = self.t.start("put", "t", "--batch", str(BATCH), "--results", "R",
                                    "--wait", "30", *options, "in.ndjson")

    def rows(self):
        return {name: int(v) for name, v in self.at.sql(DATABASE, "SELECT name, v FROM t")}

    def finish(self, doubtful=()):
        """Ends the run and judges what it told; `doubtful` are the numbers of the batches that must be
        unknown. The numbers of lines whose record the table holds, among those."""
        self.result = self.t.finish(self.process)
        lines, rows = self.t.results("R"), self.rows()
        unknown = {BATCH * n + i for n in doubtful for i in range(1, BATCH + 1)}
        assert self.result.code == (1 if unknown else 0), self.result
        told = {line["line"]: line for line in lines}
        assert len(lines) == len(told) == BATCH * BATCHES, self.result
        letters = {letter["line"] for letter in self.t.letters()}
        assert letters == unknown, (sorted(letters), sorted(unknown), self.result)
        there = []
        for number, record in enumerate(records(), 1):
            line, row = told[number], rows.get(record["name"])
            if number in unknown:
                there += [number] if row == record["v"] else []
                self.check_doubt(line, record, row)
            else:
                assert line["outcome"] == EXPECTED[(number - 1) % 3], (line, self.result)
                assert row == record["v"], (line, row, self.result)
        return there

    def check_doubt(self, line, record, row):
        """What is said of a record in doubt is what the table holds."""
        assert line["outcome"] == "unknown", (line, self.result)
        says = ("there is no such row" if row is None else
                "the row now holds these values" if row == record["v"] else "the row now differs")
        assert says in line["reason"], (line, row)

    def replay(self):
        """The letters bring the rest in."""
        result = self.t.onerow("dlq", "replay", "--force")
        assert result.code == 0, result
        assert self.rows() == {record["name"]: record["v"] for record in records()}

    def close(self):
        self.t.close()


@contextlib.contextmanager
def case(t, **options):
    made = Case(t, **options)
    try:
        yield made
    finally:
        made.close()


# ---- what happens between the cut and the next connection ---------------------------------------

def take_ids(xid):
    """Another client commits transactions until one has had this id. The status now speaks of it."""
    for _ in range(20):
        server().sql(DATABASE, "DO $$BEGIN FOR i IN 1..100 LOOP PERFORM pg_current_xact_id(); COMMIT; "
                               "END LOOP; END$$")
        if server().count(DATABASE, "SELECT pg_snapshot_xmax(pg_current_snapshot())::text") > xid:
            break
    return server().sql(DATABASE, f"SELECT pg_xact_status('{xid}')")[0][0]


def open_transaction():
    """The id of the one transaction that is open, or None."""
    found = server().sql(DATABASE, "SELECT backend_xid FROM pg_stat_activity "
                                   "WHERE backend_xid IS NOT NULL")
    return int(found[0][0]) if found else None


UPSETS = {
    "nothing": lambda: None,
    "fast": lambda: server().restart("fast"),
    "immediate": lambda: server().restart("immediate"),
    "kill": lambda: server().restart("kill"),
    "backend": lambda: server().crash_backend(),
}


def run_cut(t, place, match, upset, reuse):
    """One case; whether the commit happened, and whether the status of its id was a stranger's."""
    nth = t.random.randrange(1, BATCHES + 1)
    size = t.random.randrange(1, 20)  # the reply to a COMMIT has more
    with case(t) as one:
        cut = proxy().cut(place, match, nth, size)
        one.start()
        cut.wait()
        xid = open_transaction() if place in ("before", "inside") else None
        if place in ("after", "reply") and t.random.random() < 0.5:
            cut.answered.wait(60)  # else it is seen while the server may still be at work
        UPSETS[upset]()
        trapped = reuse and xid and take_ids(xid) == "committed"
        cut.release()
        doubtful = [nth - 1] if match is postgres.is_commit and upset != "nothing" else []
        there = one.finish(doubtful)
        if doubtful:
            kept = len(there) == BATCH
            new = [line for line in there if line % 3 == 0]  # rows that only this commit made
            assert kept or not new, (there, place, upset)
            if place in ("before", "inside"):
                assert not kept, (place, upset)
            one.replay()
            return kept, trapped
        return None, trapped


def test_cut_commit(t):
    """Before it, inside it, after it, inside its reply, after its reply; then nothing, a stop, a crash,
    a crash of one backend; and other transactions that take the same ids at once."""
    kept, trapped = [], 0
    for place in postgres.PLACES:
        for upset in UPSETS:
            happened, trap = run_cut(t, place, postgres.is_commit, upset, reuse=True)
            if happened is not None:
                kept.append(happened)
            trapped += bool(trap)
    print(f"# unknown: {kept.count(True)} commits had happened, {kept.count(False)} had not; the "
          f"status of {trapped} ids spoke of another transaction")
    assert True in kept and False in kept
    assert trapped > 0, "no id was handed out twice: the test shows too little"


def test_cut_data(t):
    """The same places of the data's statement: nothing is ever unknown, the batch runs again."""
    for place in postgres.PLACES:
        for upset in UPSETS:
            run_cut(t, place, is_data, upset, reuse=False)


# ---- a COMMIT that takes its time ---------------------------------------------------------------

SLOW_COMMIT = """CREATE OR REPLACE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN
PERFORM pg_advisory_xact_lock(1);
{fails}
RETURN NULL; END$$;
DROP SEQUENCE IF EXISTS times; CREATE SEQUENCE times;
CREATE CONSTRAINT TRIGGER slow AFTER INSERT OR UPDATE ON t DEFERRABLE INITIALLY DEFERRED
FOR EACH ROW EXECUTE FUNCTION slow()"""


def run_slow_commit(t, fails):
    """The cut comes while the COMMIT waits for a lock that this test holds; the lock is let go only
    when the client has asked what became of the transaction."""
    with case(t) as one, server().connect(DATABASE) as holder:
        server().sql(DATABASE, SLOW_COMMIT.format(fails=fails))
        holder.execute("SELECT pg_advisory_lock(1)")
        cut = proxy().cut("after")
        one.start()
        cut.wait()
        server().wait(lambda: server().count(
            DATABASE, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"))
        asked = proxy().notice(postgres.carries("pg_xact_status"))
        cut.release()
        assert asked.wait(60) and one.process.poll() is None
        holder.execute("SELECT pg_advisory_unlock(1)")
        one.finish()


def test_commit_in_progress(t):
    """In progress, then committed."""
    run_slow_commit(t, "")


def test_commit_in_progress_that_fails(t):
    """In progress, then aborted: the batch runs again."""
    run_slow_commit(t, "IF nextval('times') = 1 THEN RAISE 'not this time'; END IF;")


def test_commit_that_nobody_answers(t):
    """The connection hangs before the COMMIT gets through. It is unknown, since the server cannot say
    what will become of it; in the end nothing but what was told is there."""
    with case(t) as one:
        cut = proxy().cut("before", nth=2)
        one.start("--wait", "1")
        cut.wait()
        result = one.t.finish(one.process)
        cut.release()
        lines = one.t.results("R")
        assert result.code in (1, 69, 75), result
        assert [line["outcome"] for line in lines[:BATCH]] == [*EXPECTED * 7][:BATCH], result
        assert all(line["outcome"] == "unknown" for line in lines[BATCH:2 * BATCH]), lines
        server().wait(lambda: open_transaction() is None)
        rows = one.rows()
        for line in lines:
            if line["outcome"] in harness.ACKNOWLEDGED:
                record = records()[line["line"] - 1]
                assert rows[record["name"]] == record["v"], (line, rows[record["name"]])


# ---- another server in its place ----------------------------------------------------------------

def run_failover(t, place):
    """The primary dies with a COMMIT under way, and its standby, on another timeline, takes over."""
    primary = server()
    with case(t, port=None) as one:
        standby = postgres.Server(copy_of=primary)
        try:
            cut = proxy().cut(place, nth=2)
            one.start()
            cut.wait()
            end = primary.sql("postgres", "SELECT pg_current_wal_flush_lsn()")[0][0]
            primary.wait(lambda: standby.sql(
                "postgres", f"SELECT pg_last_wal_replay_lsn() >= '{end}'") == [["t"]])
            primary.kill()
            standby.promote()
            proxy().target = standby.port
            cut.release()
            one.at = standby
            there = one.finish([1])
            assert len(there) == (BATCH if place == "swallowed" else 7), there
        finally:
            standby.remove()
            primary.start()
            proxy().target = primary.port


def test_failover(t):
    run_failover(t, "before")
    run_failover(t, "swallowed")


# ---- cuts at random -----------------------------------------------------------------------------

def test_cuts_at_random(t):
    """Every connection is cut after a random number of bytes, again and again, wherever that is. The
    server lives, so nothing is unknown, and what is acknowledged is there. A run whose first
    connection does not come about ends with 69 before it has read anything, and is repeated."""
    cutting = postgres.Proxy(server())
    many = [{"name": f"n{i % 1500:05d}", "v": i} for i in range(3000)]
    with case(t, port=cutting.port, connections=2) as one:
        one.t.ndjson("in.ndjson", many)
        cutting.cut_at_random(t.random, 20000)
        ends = collections.Counter()
        while not ends[0]:
            one.start()
            result = one.t.finish(one.process)
            ends[result.code] += 1
            assert result.code == 0 or result.code == 69 and result.balance["read"] == 0, result
            assert sum(ends.values()) < 100, ends
        rows = one.rows()
        assert rows == {**{r["name"]: r["v"] for r in many}, **before_run()}
        told = collections.Counter(line["outcome"] for line in one.t.results("R"))
        assert sum(told.values()) == told["created"] + told["updated"] == 3000, told
    print(f"# {cutting.random_cuts} cuts, runs ended with {dict(ends)}")
    assert cutting.random_cuts > 5
    cutting.close()


def test_control_the_status_alone_lies(t):
    """The status of an id, believed without a look at the server's incarnation, says `committed` of a
    row that is not there."""
    for _ in range(5):
        server().sql(DATABASE, TABLE)
        with server().connect(DATABASE) as lost:
            lost.execute("BEGIN")
            xid = int(lost.execute("SELECT pg_current_xact_id()::text").fetchone()[0])
            lost.execute("INSERT INTO t VALUES ('lost', 1)")
            server().restart("immediate")
        status = take_ids(xid)
        rows = server().count(DATABASE, "SELECT count(*) FROM t WHERE name = 'lost'")
        assert rows == 0
        print(f"# transaction {xid}: {status}, and its row is not there")
        if status == "committed":
            return
    raise AssertionError("the id was not handed out again")


if __name__ == "__main__":
    harness.main()
