# SPDX-License-Identifier: Apache-2.0
"""The ledger in PostgreSQL where the server or the way to it fails: a COMMIT whose answer is lost, crashes,
a standby that takes over, dumps that are loaded, poolers, roles that may not do everything.

tests/support/ledger_client.c makes the calls, each client in a process of its own.
"""
import contextlib
import functools
import os
import re
import subprocess
import threading

import harness
import line
import postgres

CLIENT = os.environ.get("ONEROW_LEDGER_CLIENT") or os.path.abspath("build/tests/ledger_client")
KEY, ATTEMPT = 1, 3
is_insert = postgres.carries("INSERT INTO onerow.ledger\\(")


class Client(line.Client):
    """A ledger opened by another process."""

    def __init__(self, url, wait_ms=60000, name="things"):
        super().__init__(CLIENT, url, str(wait_ms))
        self.name = name

    def enter(self):
        """SOUND or SUSPECT, and why."""
        standing, _, why = self.ok("enter", self.name, "key").partition(" ")
        return standing, why

    def get(self, name, kind=KEY):
        """Revision and body."""
        words = self.ok("get", kind, name).split(" ")
        return int(words[0]), words[3]


@contextlib.contextmanager
def client(url, enter=True, **options):
    with line.ending(Client(url, **options)) as made:
        if enter:
            assert made.opened[0] == "OK", made.opened
            made.enter()
        yield made


@functools.cache
def server():
    return postgres.Server(max_wal_senders="4")


@functools.cache
def proxy():
    return postgres.Proxy(server())


# ---- a COMMIT whose answer is lost --------------------------------------------------------------

UPSETS = {
    "nothing": lambda: None,
    "immediate": lambda: server().restart("immediate"),
    "backend": lambda: server().crash_backend(),
}


def run_cut(t, database, place, upset):
    """A swap of a key and an attempt, cut at its COMMIT. It is unknown; the attempt's record tells what
    happened, and the swap, tried again, happens once. Whether it had happened."""
    nonce = f"{place}.{upset}"
    changes = (KEY, "a", "any", 1, nonce, ATTEMPT, nonce, 0, 1, nonce)
    with client(server().url(database, proxy().port)) as one:
        before, _ = one.get("a")
        cut = proxy().cut(place, size=t.random.randrange(1, 20))
        one.send("swap", *changes)
        cut.wait()
        UPSETS[upset]()
        cut.release()
        status, told = one.answer()
        assert status == "UNKNOWN", (place, upset, status, told)
        retried = one.ok("swap", *changes)
        revision, body = one.get("a")
        assert (revision, body) == (before + 1, nonce), (before, revision, body)
        assert one.get(nonce, ATTEMPT) == (1, nonce)
        return retried == "refused"


def test_commit_cut(t):
    """Before it, inside it, after it, inside and after its reply; the server lives on, or crashes."""
    database = server().database()
    happened = {}
    for place in postgres.PLACES:
        for upset in UPSETS:
            happened[place, upset] = run_cut(t, database, place, upset)
    print(f"# {sum(happened.values())} of {len(happened)} commits had happened")
    for (place, upset), kept in happened.items():
        if place in ("before", "inside"):
            assert not kept, (place, upset)
        if place == "swallowed":
            assert kept, (place, upset)


def test_cut_before_the_commit(t):
    """Nothing has happened yet, and the call says nothing of it: it is made again."""
    database = server().database()
    for place in postgres.PLACES:
        with client(server().url(database, proxy().port)) as one:
            cut = proxy().cut(place, is_insert)
            one.send("swap", KEY, place, 0, 1, "x")
            cut.wait()
            cut.release()
            assert one.answer() == ("OK", "done"), place
            assert one.get(place) == (1, "x")


def test_numbers_of_a_lost_commit_are_not_given_again(t):
    database = server().database()
    with client(server().url(database, proxy().port)) as one:
        first = int(one.ok("reserve", 10))
        cut = proxy().cut("swallowed")
        one.send("reserve", 10)
        cut.wait()
        cut.release()
        assert one.answer()[0] == "UNKNOWN"
        assert int(one.ok("reserve", 10)) == first + 20


# ---- crashes ------------------------------------------------------------------------------------

class Counter(threading.Thread):
    """Increments by compare-and-set; an unknown one is asked after by its attempt."""

    def __init__(self, url, who, over, progress):
        super().__init__()
        self.client = Client(url)
        self.client.enter()
        self.who, self.over, self.progress = who, over, progress
        self.acknowledged, self.unknown, self.failure = [], 0, None

    def turn(self, n):
        nonce = f"{self.who}.{n}"
        while True:
            revision, body = self.client.get("counter")
            status, told = self.client.call("swap", KEY, "counter", revision, 1, int(body or 0) + 1,
                                            ATTEMPT, nonce, 0, 1, "x")
            if status == "UNKNOWN":
                self.unknown += 1
                status, told = "OK", "done" if self.client.get(nonce, ATTEMPT)[0] else "refused"
            assert status == "OK", (status, told)
            if told == "done":
                self.acknowledged.append(nonce)
                self.progress.release()
                return

    def run(self):
        n = 0
        try:
            while not self.over.is_set():
                self.turn(n)
                n += 1
        except Exception as failure:
            self.failure = failure
            self.progress.release(100000)


def count_through(url, upsets):
    """Four clients count while things happen; what was acknowledged is there, and nothing twice."""
    over, progress = threading.Event(), threading.Semaphore(0)
    counters = [Counter(url, who, over, progress) for who in range(4)]
    for counter in counters:
        counter.start()
    for upset in (*upsets, lambda: None):
        for _ in range(30):
            progress.acquire()
        upset()
    over.set()
    for counter in counters:
        counter.join(120)
        assert counter.failure is None, counter.failure
    nonces = [nonce for counter in counters for nonce in counter.acknowledged]
    revision, body = counters[0].client.get("counter")
    assert revision == int(body) == len(nonces), (revision, body, len(nonces))
    for nonce in nonces:
        assert counters[0].client.get(nonce, ATTEMPT) == (1, "x")
    for counter in counters:
        counter.client.close()
    return len(nonces), sum(counter.unknown for counter in counters)


def test_crashes(t):
    """The server is stopped at once, killed, and loses a backend, while four clients count."""
    database = server().database()
    upsets = [lambda mode=mode: server().restart(mode) for mode in ("immediate", "kill", "fast")]
    upsets.append(lambda: server().crash_backend())
    turns, unknown = count_through(server().url(database), upsets * 2)
    print(f"# {turns} increments, {unknown} commits without an answer, 8 crashes")


def test_through_a_pooler(t):
    """Two connections in transaction mode for four clients, and no state that a session would keep."""
    pool = postgres.Pgbouncer(server(), size=2)
    try:
        turns, unknown = count_through(pool.url(server().database()), [])
        assert turns >= 30 and unknown == 0
    finally:
        pool.remove()


def test_cuts_at_random(t):
    """Every connection lives for a random number of bytes."""
    cutting = postgres.Proxy(server())
    url = server().url(server().database(), cutting.port)

    def begin():
        cutting.cut_at_random(t.random, 30000)
        for connection in list(cutting.connections):
            connection.close()

    turns, unknown = count_through(url, [begin, *[lambda: None] * 5,
                                         lambda: cutting.cut_at_random(t.random, 0)])
    print(f"# {turns} increments, {cutting.random_cuts} cuts, {unknown} commits without an answer")
    assert cutting.random_cuts > 0
    cutting.close()


# ---- another ledger in its place ----------------------------------------------------------------

def lose_the_end(primary, standby, database, one):
    """A standby that lacks the last swap takes over."""
    assert one.ok("swap", KEY, "a", 0, 1, "kept") == "done"
    end = primary.sql("postgres", "SELECT pg_current_wal_flush_lsn()")[0][0]
    primary.wait(lambda: standby.sql(
        "postgres", f"SELECT pg_last_wal_replay_lsn() >= '{end}'") == [["t"]])
    standby.sql("postgres", "ALTER SYSTEM SET primary_conninfo = ''")
    standby.sql("postgres", "SELECT pg_reload_conf()")
    standby.wait(lambda: standby.count("postgres", "SELECT count(*) FROM pg_stat_wal_receiver") == 0)
    assert one.ok("swap", KEY, "a", 1, 1, "lost") == "done"
    first = int(one.ok("reserve", 10))
    primary.kill()
    standby.promote()
    return first


def test_failover(t):
    """The standby lacks the last swap, which was acknowledged. Each client is told by its very next call,
    through a connection that it had not been told about; nothing is done until it enters again."""
    primary = postgres.Server(max_wal_senders="4")
    standby, way = None, postgres.Proxy(primary)
    try:
        database = primary.database()
        with client(primary.url(database, way.port)) as one, \
                client(primary.url(database, way.port), name="others") as other:
            standby = postgres.Server(copy_of=primary)
            first = lose_the_end(primary, standby, database, one)
            way.target = standby.port
            status, told = one.call("swap", KEY, "a", "any", 1, "x")
            assert status == "VANISHED" and "rolled back" in told, (status, told)
            assert other.call("get", KEY, "a")[0] == "VANISHED"
            assert one.call("reserve", 1)[0] == "VANISHED"
            standing, why = one.enter()
            assert standing == "SUSPECT" and "standby took over" in why, (standing, why)
            assert one.get("a") == (1, "kept"), "the acknowledged swap is not lost: no test"
            assert int(one.ok("reserve", 1)) > first + 1000000
            assert other.enter()[0] == "SUSPECT"
            one.ok("confirm")
            assert one.enter() == ("SOUND", "")
            assert other.enter()[0] == "SUSPECT"
            with client(standby.url(database)) as again:
                assert again.enter() == ("SOUND", "")
    finally:
        way.close()
        for made in (standby, primary):
            if made:
                made.remove()


def test_control_without_the_place_a_failover_is_not_seen(t):
    """Negative control: a ledger that remembers no timeline takes the older state for the present one."""
    primary = postgres.Server(max_wal_senders="4")
    standby, way = None, postgres.Proxy(primary)
    try:
        database = primary.database()
        with client(primary.url(database, way.port)) as one:
            standby = postgres.Server(copy_of=primary)
            lose_the_end(primary, standby, database, one)
            way.target = standby.port
            assert one.call("get", KEY, "a")[0] == "VANISHED"
            standby.sql(database, "UPDATE onerow.ledger_meta SET place = regexp_replace(place, "
                                  "'\\S+$', substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))")
            assert one.get("a") == (1, "kept")
            assert one.ok("swap", KEY, "a", 1, 1, "a second page") == "done"
    finally:
        way.close()
        for made in (standby, primary):
            if made:
                made.remove()


def dump(database):
    program = os.path.join(server().programs, "pg_dump")
    return subprocess.run([program, "-d", server().url(database), "--schema", "onerow"], check=True,
                          capture_output=True, text=True).stdout


def load(t, database, text):
    path = t.write("dump.sql", text)
    client_program = harness.need("psql", "postgresql-client")
    subprocess.run([client_program, "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", server().url(database),
                    "-f", path], check=True, capture_output=True)


def test_a_dump_that_was_loaded(t):
    """Into the database that it came from, or into another one."""
    database, elsewhere = server().database(), server().database()
    with client(server().url(database)) as one:
        one.ok("swap", KEY, "a", 0, 1, "kept")
        text = dump(database)
        one.ok("swap", KEY, "a", 1, 1, "lost")
        server().sql(database, "DROP SCHEMA onerow CASCADE")
        assert one.call("get", KEY, "a")[0] == "VANISHED"
        load(t, database, text)
        assert one.call("get", KEY, "a")[0] == "VANISHED"
        assert one.enter()[0] == "SUSPECT"
        assert one.get("a") == (1, "kept")
    load(t, elsewhere, text)
    with client(server().url(elsewhere)) as one:
        standing, why = one.enter()
        assert standing == "SUSPECT" and re.search("restored or copied", why), why


def test_a_copy_of_the_database(t):
    database = server().database()
    with client(server().url(database)) as one:
        one.ok("swap", KEY, "a", 0, 1, "x")
    server().sql("postgres", f"CREATE DATABASE copied TEMPLATE {database}")
    with client(server().url("copied")) as one:
        assert one.enter()[0] == "SUSPECT"
    with client(server().url(database)) as one:
        assert one.enter() == ("SOUND", "")


# ---- roles and locks ----------------------------------------------------------------------------

def test_roles(t):
    """What a role may not do is said with the statement to run, and that statement does it."""
    database = server().database("CREATE ROLE maker LOGIN; CREATE ROLE user2 LOGIN")
    maker = server().url(database).replace("postgres@", "maker@")
    user = server().url(database).replace("postgres@", "user2@")
    with client(maker, enter=False) as one:
        status, told = one.opened
        assert status == "CONFIG" and "CREATE SCHEMA onerow AUTHORIZATION maker" in told, told
    server().sql(database, "CREATE SCHEMA onerow AUTHORIZATION maker")
    with client(maker) as one:
        assert one.enter() == ("SOUND", "")
    with client(user, enter=False) as one:
        status, told = one.opened
        assert status == "CONFIG" and "GRANT USAGE ON SCHEMA onerow" in told, told
    server().sql(database, "GRANT USAGE ON SCHEMA onerow TO user2")
    server().sql(database, "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA onerow TO user2")
    with client(user, name="others") as one:
        assert one.enter() == ("SOUND", "")
        assert one.ok("swap", KEY, "a", 0, 1, "x") == "done"
        assert int(one.ok("reserve", 5)) > 0


def test_a_schema_that_others_own(t):
    database = server().database("CREATE SCHEMA onerow", "CREATE ROLE guest LOGIN")
    guest = server().url(database).replace("postgres@", "guest@")
    with client(guest, enter=False) as one:
        status, told = one.opened
        assert status == "CONFIG" and "GRANT USAGE, CREATE ON SCHEMA onerow TO guest" in told, told
    server().sql(database, "GRANT USAGE, CREATE ON SCHEMA onerow TO guest")
    with client(guest) as one:
        assert one.enter() == ("SOUND", "")


def test_a_role_that_may_not_know_the_server(t):
    """Everything works but one comparison, and it says so; whoever may know it, adds it."""
    database = server().database("CREATE ROLE blind LOGIN", "CREATE SCHEMA onerow AUTHORIZATION blind",
                                 "REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC")
    blind = server().url(database).replace("postgres@", "blind@")
    with client(blind) as one:
        standing, why = one.enter()
        assert standing == "SOUND" and "GRANT EXECUTE ON FUNCTION pg_control_system()" in why, why
    assert server().sql(database, "SELECT system IS NULL FROM onerow.ledger_meta") == [["t"]]
    with client(server().url(database)) as one:
        assert one.enter() == ("SOUND", "")
        server().sql(database, "UPDATE onerow.ledger_meta SET system = '1' WHERE system IS NOT NULL")
        assert one.call("get", KEY, "a")[0] == "VANISHED"
        assert one.enter()[0] == "SUSPECT"


def test_a_lock_that_stays(t):
    database = server().database()
    with client(server().url(database), wait_ms=100) as one, server().connect(database) as holder:
        one.ok("swap", KEY, "a", 0, 1, "x")
        with holder.transaction():
            holder.execute("SELECT * FROM onerow.ledger FOR UPDATE")
            status, told = one.call("swap", KEY, "a", 1, 1, "y")
            assert status == "BUSY", (status, told)
        assert one.ok("swap", KEY, "a", 1, 1, "y") == "done"


def test_a_newer_version(t):
    database = server().database()
    with client(server().url(database)) as one:
        server().sql(database, "UPDATE onerow.ledger_meta SET version = 2")
        assert one.get("a") == (0, "")
    with client(server().url(database), enter=False) as one:
        assert one.opened[0] == "CONFIG" and "version 2" in one.opened[1], one.opened


def test_a_default_that_does_not_wait_for_the_disk(t):
    """synchronous_commit = off by default, and a crash right after the answer."""
    lax = postgres.Server(synchronous_commit="off", wal_writer_delay="10s")
    try:
        url = lax.url(lax.database())
        with client(url) as one:
            for i in range(5):
                assert one.ok("swap", KEY, "a", i, 1, i) == "done"
                lax.restart("immediate")
            assert one.get("a") == (5, "4")
        lax.sql("postgres", "CREATE TABLE t(x int)")
        lax.sql("postgres", "CHECKPOINT")
        lax.sql("postgres", "INSERT INTO t VALUES (1)")
        lax.restart("immediate")
        lost = lax.count("postgres", "SELECT count(*) FROM t") == 0
        print(f"# control: a commit that does not wait was {'lost' if lost else 'kept'}")
        assert lost
    finally:
        lax.remove()


if __name__ == "__main__":
    harness.main()
