# SPDX-License-Identifier: Apache-2.0
"""Leases in PostgreSQL where the server or the way to it fails: a COMMIT whose answer is lost, crashes that
take back what was not on the disk, a standby that takes over; calls that meet in the middle; waiters of
another machine; poolers; roles and tables.

tests/support/lease_client.c makes the calls, each client in a process of its own. What many workers do
to one another is in test_postgres_lease_race.py.
"""
import contextlib
import functools
import os
import signal

import harness
import line
import postgres

CLIENT = os.environ.get("ONEROW_LEASE_CLIENT") or os.path.abspath("build/tests/lease_client")
LONG = 600000
ELSEWHERE = "0123456789abcdef"  # the first half of another machine's addresses
TABLES = ("lease", "lease_wait", "lease_life", "lease_forced", "shared")


class Client(line.Client):
    """A coordinator opened by another process, for one who wants leases."""

    def __init__(self, url, whose="a", wait_ms=60000, before=()):
        super().__init__(*before, CLIENT, url, str(wait_ms))
        self.whose = whose

    def told(self, *words):
        """("held", TOKEN, LEFT) and the like."""
        answer, first, second = self.ok(*words).split(" ")
        return answer, int(first), int(second)

    def words(self, name, ttl=LONG, patience=LONG, floor=0, queue=0, whose=None):
        return "acquire", name, whose or self.whose, ttl, patience, floor, queue

    def acquire(self, name, **options):
        return self.told(*self.words(name, **options))

    def hold(self, name, **options):
        """The token."""
        answer, token, _ = self.acquire(name, **options)
        assert answer == "held", answer
        return token

    def line_up(self, name, **options):
        """The place."""
        answer, place, _ = self.acquire(name, queue=1, **options)
        assert answer == "waiting", answer
        return place

    def release(self, name, token):
        return self.told("release", name, self.whose, token)[0]

    def renew(self, name, token):
        return self.told("renew", name, self.whose, token, LONG)[0]

    def cancel(self, name):
        assert self.told("cancel", name, self.whose)[0] == "lost"

    def heard(self, ms=60000):
        return self.ok("heard", ms)


@contextlib.contextmanager
def client(url, whose="a", opened="OK", **options):
    with line.ending(Client(url, whose, **options)) as made:
        assert made.opened[0] == opened, made.opened
        yield made


@contextlib.contextmanager
def clients(url, *names):
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(client(url, name)) for name in names]


@functools.cache
def server():
    return postgres.Server(max_wal_senders="4")


@functools.cache
def proxy():
    return postgres.Proxy(server())


def until_ok(one, *words):
    """Calls again after UNKNOWN; the first answer that is one."""
    status, told = one.call(*words)
    while status in ("UNKNOWN", "UNAVAILABLE"):
        status, told = one.call(*words)
    assert status == "OK", (words, status, told)
    return told


# ---- a COMMIT whose answer is lost --------------------------------------------------------------

UPSETS = {
    "nothing": lambda: None,
    "immediate": lambda: server().restart("immediate"),
    "backend": lambda: server().crash_backend(),
}


def cut_call(t, one, place, upset, *words, nth=1):
    """The call is cut at a COMMIT, and UNKNOWN; then it is made again."""
    cut = proxy().cut(place, nth=nth, size=t.random.randrange(1, 20))
    one.send(*words)
    cut.wait()
    UPSETS[upset]()
    cut.release()
    status, told = one.answer()
    assert status == "UNKNOWN", (place, upset, status, told)
    return until_ok(one, *words).split(" ")


def test_acquire_cut(t):
    """Made again under its nonce, it finds its lease, or gets it now."""
    database = server().database()
    with client(server().url(database, proxy().port)) as one, \
            client(server().url(database), "b") as other:
        for place in postgres.PLACES:
            for upset in UPSETS:
                name = f"{place}.{upset}"
                answer, token, _ = cut_call(t, one, place, upset, *one.words(name))
                assert answer == "held", (place, upset, answer)
                assert until_ok(other, *other.words(name)).startswith("taken"), (place, upset)
                assert one.hold(name) == int(token)
                assert one.release(name, token) == "held"
                assert other.hold(name) > int(token)


def test_release_cut(t):
    """Made again, it says whether it is still to be done; the waiter gets the lease in any case, and once."""
    database = server().database()
    handed = {}
    with client(server().url(database, proxy().port)) as one, \
            client(server().url(database), "b") as waiter:
        for place in postgres.PLACES:
            for upset in UPSETS:
                name = f"{place}.{upset}"
                token = one.hold(name)
                assert waiter.line_up(name) == 1
                # The first COMMIT is that of the short form, which does nothing where somebody waits.
                answer, _, _ = cut_call(t, one, place, upset, "release", name, "a", token, nth=2)
                handed[place, upset] = answer == "lost"
                told = until_ok(waiter, *waiter.words(name, queue=1)).split(" ")
                assert told[0] == "held" and int(told[1]) > token, (place, upset, told)
                assert one.renew(name, token) == "lost"
                assert waiter.release(name, told[1]) == "held"
    print(f"# {sum(handed.values())} of {len(handed)} releases had happened")
    for (place, upset), done in handed.items():
        if place in ("before", "inside"):
            assert not done, (place, upset)
        if place == "swallowed" and upset == "nothing":
            assert done, (place, upset)


def test_cut_before_the_commit(t):
    """The pipeline was on its way, so the server is not asked to say what it never told."""
    database = server().database()
    is_lock = postgres.carries("pg_advisory_xact_lock")
    with client(server().url(database, proxy().port)) as one:
        one.hold("first")
        for place in postgres.PLACES:
            cut = proxy().cut(place, is_lock)
            one.send(*one.words(place))
            cut.wait()
            cut.release()
            status, told = one.answer()
            assert status == "UNKNOWN", (place, status, told)
            assert one.hold(place) == 1


def test_share_cut(t):
    """Whatever was given away is lost, never given twice."""
    database = server().database()
    with client(server().url(database, proxy().port)) as one:
        assert one.ok("share", "sum", 1) == "1"
        before = 1
        for place in postgres.PLACES:
            cut = proxy().cut(place)
            one.send("share", "sum", 1)
            cut.wait()
            cut.release()
            status, told = one.answer()
            assert status == "UNKNOWN", (place, status, told)
            after = int(one.ok("share", "sum", 0))
            assert after in (before, before + 1), (place, before, after)
            assert place != "swallowed" or after == before + 1
            before = after


# ---- crashes ------------------------------------------------------------------------------------

def hand_over(one, other, name, times):
    """Two hand a lease to and fro, and never confirm it; the tokens."""
    tokens = [one.hold(name)]
    for _ in range(times):
        assert other.line_up(name) == 1
        assert one.release(name, tokens[-1]) == "held"
        how, whose, token = other.heard().split(" ")
        assert (how, whose) == ("datagram", other.whose)
        tokens.append(int(token))
        one, other = other, one
    assert tokens == sorted(set(tokens)), tokens
    return tokens


def tokens_through_a_crash(lazy, database, mode):
    """The tokens that were given before it, the row that is left of them, and the next token."""
    with clients(lazy.url(database), "a", "b", "c") as (one, other, next_one):
        next_one.hold("other")  # it has its own connection by now
        lazy.sql(database, "CHECKPOINT")
        given = hand_over(one, other, "job", 21)
        lazy.restart(mode)
        left = lazy.count(database, "SELECT token FROM onerow.lease WHERE name = 'job'")
        for who in (one, other):
            until_ok(who, "cancel", "job", who.whose)
        told = until_ok(next_one, *next_one.words("job")).split(" ")
        assert told[0] == "held", told
        return given, left, int(told[1])


def lazy_server():
    """Its log is written to the disk when somebody waits for that, and hardly ever else."""
    return postgres.Server(wal_writer_delay="10s", bgwriter_lru_maxpages="0")


def test_a_crash_takes_hand_overs_back_and_no_token(t):
    """Nobody waited for the disk: the row has an old token, and the next one is above all that were given."""
    lazy = lazy_server()
    try:
        lost = 0
        for mode in ("immediate", "kill"):
            given, left, token = tokens_through_a_crash(lazy, lazy.database(), mode)
            lost += left < given[-1]
            print(f"# {mode}: given up to {given[-1]}, {left} is left, the next one is {token}")
            assert token > given[-1], (given, left, token)
        assert lost, "no hand-over was lost: no test"
    finally:
        lazy.remove()


def test_control_without_a_life_tokens_are_given_twice(t):
    """Negative control: a table of lives that outlives the crash."""
    lazy = lazy_server()
    try:
        database = lazy.database()
        with client(lazy.url(database)):
            lazy.sql(database, "ALTER TABLE onerow.lease_life SET LOGGED")
            lazy.sql(database, "INSERT INTO onerow.lease_life(id) VALUES (gen_random_uuid())")
        with client(lazy.url(database)) as one:
            status, told = one.call(*one.words("job"))
            assert status == "CONFIG" and "SET UNLOGGED" in told, (status, told)
        lazy.sql(database, "ALTER TABLE onerow.lease_life SET UNLOGGED")
        with clients(lazy.url(database), "a", "b", "c") as (one, other, next_one):
            next_one.hold("other")
            one.hold("another")
            other.hold("more")
            lazy.sql(database, "ALTER TABLE onerow.lease_life SET LOGGED")
            lazy.sql(database, "CHECKPOINT")
            given = hand_over(one, other, "job", 21)
            lazy.restart("immediate")
            for who in (one, other):
                until_ok(who, "cancel", "job", who.whose)
            token = int(until_ok(next_one, *next_one.words("job")).split(" ")[1])
            print(f"# given up to {given[-1]}, the next one is {token}")
            assert token in given
    finally:
        lazy.remove()


def test_what_was_acquired_outlives_a_crash(t):
    """Its holder renews it afterwards; so does whoever had confirmed a hand-over."""
    lazy = lazy_server()
    try:
        database = lazy.database()
        with clients(lazy.url(database), "a", "b") as (one, other):
            token = one.hold("mine")
            given = hand_over(one, other, "job", 1)[-1]
            assert other.renew("job", given) == "held"
            lazy.restart("immediate")
            assert until_ok(one, "renew", "mine", "a", token, LONG).startswith("held")
            assert until_ok(other, "renew", "job", "b", given, LONG).startswith("held")
            assert one.acquire("job")[0] == "taken"
            assert other.release("job", given) == "held"
            assert one.hold("job") > given
            assert one.release("mine", token) == "held"
            assert other.hold("mine") > token
    finally:
        lazy.remove()


def test_a_clean_restart_forgets_nothing(t):
    """Whoever held holds, whoever waited waits."""
    clean = postgres.Server()
    try:
        with clients(clean.url(clean.database()), "a", "b") as (one, other):
            token = one.hold("job")
            assert other.line_up("job") == 1
            clean.restart("fast")
            assert until_ok(one, "release", "job", "a", token).startswith("held")
            told = until_ok(other, *other.words("job", queue=1)).split(" ")
            assert (told[0], int(told[1])) == ("held", token + 1)
    finally:
        clean.remove()


def test_failover(t):
    """The standby lacks the last hand-overs, but not the reservation that they were given from."""
    primary = postgres.Server(max_wal_senders="4")
    standby, way = None, postgres.Proxy(primary)
    try:
        database = primary.database()
        with clients(primary.url(database, way.port), "a", "b", "c") as (one, other, next_one):
            next_one.hold("other")
            standby = postgres.Server(copy_of=primary)
            assert one.release("job", one.hold("job")) == "held"
            end = primary.sql("postgres", "SELECT pg_current_wal_insert_lsn()")[0][0]
            primary.wait(lambda: standby.sql(
                "postgres", f"SELECT pg_last_wal_replay_lsn() >= '{end}'") == [["t"]])
            standby.sql("postgres", "ALTER SYSTEM SET primary_conninfo = ''")
            standby.sql("postgres", "SELECT pg_reload_conf()")
            standby.wait(lambda: standby.count(
                "postgres", "SELECT count(*) FROM pg_stat_wal_receiver") == 0)
            given = hand_over(one, other, "job", 10)
            primary.kill()
            standby.promote()
            way.target = standby.port
            left = standby.count(database, "SELECT token FROM onerow.lease WHERE name = 'job'")
            assert left < given[-1], "nothing is lost: no test"
            told = until_ok(next_one, *next_one.words("job")).split(" ")
            print(f"# given up to {given[-1]}, {left} is left, the next one is {told[1]}")
            assert told[0] == "held" and int(told[1]) > given[-1], told
            assert until_ok(one, "renew", "job", "a", given[-2], LONG).startswith("lost")
    finally:
        way.close()
        for made in (standby, primary):
            if made:
                made.remove()


# ---- calls that meet in the middle --------------------------------------------------------------

@contextlib.contextmanager
def held_before_commit(one, *words):
    """A call that has done everything but its COMMIT, until the end of the block."""
    cut = proxy().cut("before")
    one.send(*words)
    cut.wait()
    server().wait(lambda: server().count(  # the server has come to the end of what it was sent
        "postgres", "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND wait_event = "
                    "'ClientRead' AND backend_xid IS NOT NULL"))
    try:
        yield
    finally:
        cut.resume()


def waits_for_lock(database):
    server().wait(lambda: server().count(
        database, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"))


def test_a_release_and_somebody_who_lines_up(t):
    """Whoever is second sees what the first one did, though it began before that was committed."""
    database = server().database()
    with client(server().url(database, proxy().port)) as one, \
            client(server().url(database), "b") as other:
        token = one.hold("job")
        other.hold("elsewhere")
        with held_before_commit(one, "release", "job", "a", token):
            other.send(*other.words("job", queue=1))
            waits_for_lock(database)
        assert one.answer()[1].startswith("held")
        answer, given, _ = other.answer()[1].split(" ")
        assert (answer, int(given)) == ("held", token + 1)


def test_somebody_who_lines_up_and_a_release(t):
    database = server().database()
    with client(server().url(database), "a") as one, \
            client(server().url(database, proxy().port), "b") as other:
        token = one.hold("job")
        one.hold("elsewhere")
        other.line_up("elsewhere")  # the next time it lines up at once
        with held_before_commit(other, *other.words("job", queue=1)):
            one.send("release", "job", "a", token)
            waits_for_lock(database)
        assert other.answer()[1].startswith("waiting 1 ")
        assert one.answer()[1].startswith("held")
        assert other.heard() == f"datagram b {token + 1}"


def test_control_one_statement_without_the_lock_wakes_nobody(t):
    """Negative control: a hand-over in one statement that began before somebody who
    lined up was committed. The lease is free, and a live waiter waits."""
    database = server().database(
        "CREATE TABLE lease(name text PRIMARY KEY, holder text)",
        "CREATE TABLE waiters(seq serial, name text, who text)", "INSERT INTO lease VALUES ('job', 'a')")
    with server().connect(database) as holder, server().connect(database) as waiter:
        with waiter.transaction():
            waiter.execute("SELECT holder FROM lease WHERE name = 'job'")
            waiter.execute("INSERT INTO waiters(name, who) VALUES ('job', 'b')")
            holder.execute("UPDATE lease SET holder = (SELECT who FROM waiters WHERE name = 'job' ORDER BY "
                           "seq LIMIT 1) WHERE name = 'job' AND holder = 'a'")
        free = holder.execute("SELECT holder IS NULL FROM lease").fetchone()[0]
        queued = holder.execute("SELECT count(*) FROM waiters").fetchone()[0]
        assert free and queued == 1


def test_two_who_find_it_run_out(t):
    database = server().database()
    with client(server().url(database, proxy().port)) as one, \
            client(server().url(database), "b") as other:
        old = one.hold("job", ttl=1)
        other.hold("elsewhere")
        server().wait(lambda: one.ok("list", "job").startswith("job:-:"))
        with held_before_commit(one, *one.words("job", whose="c")):
            other.send(*other.words("job"))
            waits_for_lock(database)
        assert one.answer()[1].startswith(f"held {old + 1} ")
        assert other.answer()[1].startswith("taken 0 ")


def test_a_lock_that_stays(t):
    """An application that has locked the row keeps back what would change the lease, for as long as the
    coordinator is told to wait; others wait no longer than that, either."""
    database = server().database()
    with client(server().url(database), wait_ms=100) as one, \
            client(server().url(database), "b", wait_ms=100) as other, \
            server().connect(database) as holder:
        token = one.hold("job")
        with holder.transaction():
            holder.execute("SELECT * FROM onerow.lease WHERE name = 'job' AND token = %s FOR SHARE", [token])
            assert other.line_up("job") == 1
            status, told = one.call("release", "job", "a", token)
            assert status == "BUSY", (status, told)
        assert one.release("job", token) == "held"
        assert other.heard() == f"datagram b {token + 1}"


def test_a_client_that_stops_in_the_middle(t):
    """A rule is run between two round trips; whoever is stopped there keeps the record for a bounded time."""
    database = server().database()
    with client(server().url(database), wait_ms=100) as one, client(server().url(database), "b") as other:
        assert one.ok("share", "sum", 1) == "1"
        one.send("share", "sum", 1, "stop")
        os.waitid(os.P_PID, one.process.pid, os.WSTOPPED | os.WNOWAIT)
        its_backend = server().count(database, "SELECT pid FROM pg_stat_activity WHERE state = 'idle in "
                                               "transaction' AND datname = current_database()")
        assert other.ok("share", "sum", 5) == "6"
        server().wait(lambda: not os.path.exists(f"/proc/{its_backend}"))
        one.process.send_signal(signal.SIGCONT)
        status, told = one.answer()  # in its own time it has waited long enough
        assert status == "UNAVAILABLE", (status, told)
        assert one.ok("share", "sum", 1) == "7"


# ---- waiters of another machine -----------------------------------------------------------------

def test_a_waiter_of_another_machine_is_notified(t):
    """It alone: not the one behind it, nor one of this machine."""
    database = server().database()
    with clients(server().url(database), "a", "b", "c", "d") as (one, far, behind, near):
        for who in (far, behind):
            who.ok("host", ELSEWHERE)
        token = one.hold("job")
        assert [who.line_up("job") for who in (far, behind, near)] == [1, 2, 3]
        assert one.release("job", token) == "held"
        assert far.heard() == "notice b"
        assert far.hold("job") == token + 1
        assert far.release("job", token + 1) == "held"
        assert behind.heard() == "notice c"
        assert behind.hold("job", queue=1) == token + 2
        assert behind.release("job", token + 2) == "held"
        assert near.heard() == f"datagram d {token + 3}"
        for who in (one, far, behind, near):
            assert who.heard(0) == "nothing"


def test_another_network_namespace(t):
    """Where datagrams really do not arrive: a client in a network of its own, and the server's socket file."""
    database = server().database()
    os.chmod(server().folder, 0o755)
    url = f"postgres://postgres@/{database}?host={server().folder}&port={server().port}"
    alone = [harness.need("unshare", "util-linux"), "--net"]
    if os.geteuid() != 0:
        alone.append("--map-root-user")
    with client(server().url(database)) as one, client(url, "b", before=alone) as far:
        token = one.hold("job")
        assert far.line_up("job") == 1
        assert one.release("job", token) == "held"
        assert far.heard() == "notice b"
        assert far.hold("job", queue=1) == token + 1
        assert one.line_up("job") == 1
        assert far.release("job", token + 1) == "held"
        assert one.heard() == "notice a"


def test_wake_ups_of_many_releases(t):
    """At most one for each release, to the one who has the lease, whichever way it goes."""
    database = server().database()
    names = [f"w{i}" for i in range(6)]
    with clients(server().url(database), *names) as all_of_them:
        for who in all_of_them[::2]:
            who.ok("host", ELSEWHERE)
        token = all_of_them[0].hold("job")
        turn, waiting = all_of_them[0], list(all_of_them[1:])
        for who in waiting:
            who.line_up("job")
        for _ in range(60):
            assert turn.release("job", token) == "held"
            waiting.append(turn)
            turn.line_up("job")
            turn = waiting.pop(0)
            how = turn.heard().split(" ")
            assert how[:2] == ["notice" if turn in all_of_them[::2] else "datagram", turn.whose]
            answer, token, _ = turn.acquire("job", queue=1)
            assert answer == "held"
        for who in all_of_them:
            assert who.heard(0) == "nothing"


def notified(database, listener, channel):
    """What has been sent to the channels that a connection listens to."""
    server().sql(database, f"NOTIFY {channel}, 'end'")
    payloads = []
    for note in listener.notifies():
        if note.payload == "end":
            return payloads
        payloads.append(note.payload)


def test_nobody_is_notified_who_does_not_listen(t):
    """NOTIFY takes a lock of the whole server; there is none for waiters of this machine, nor for those who
    stand behind a pooler, nor when nobody waits."""
    database = server().database()
    pool = postgres.Pgbouncer(server(), size=3)
    try:
        with client(server().url(database)) as one, client(server().url(database), "b") as near, \
                client(pool.url(database), "c") as pooled, server().connect(database) as listener:
            pooled.ok("host", ELSEWHERE)
            token = one.hold("job")
            near.line_up("job")
            pooled.line_up("job")
            assert near.ok("ear") == "yes" and pooled.ok("ear") == "no"
            channels = [f"onerow_{wake[-32:]}" for (wake,) in listener.execute(
                "SELECT wake FROM onerow.lease_wait ORDER BY seq").fetchall()]
            assert len(channels) == 2
            for channel in channels:
                listener.execute(f"LISTEN {channel}")
            assert one.release("job", token) == "held"
            assert near.heard() == f"datagram b {token + 1}"
            assert near.release("job", token + 1) == "held"
            assert pooled.heard(0) == "nothing"
            assert pooled.hold("job", queue=1) == token + 2
            assert pooled.release("job", token + 2) == "held"
            assert notified(database, listener, channels[0]) == []
            near.ok("host", ELSEWHERE)
            token = one.hold("job")
            near.line_up("job")
            assert one.release("job", token) == "held"
            assert near.heard() == "notice b"
            assert notified(database, listener, channels[0]) == [b"b".ljust(16, b"\0").hex()]
    finally:
        pool.remove()


def test_a_connection_that_is_lost_listens_again(t):
    database = server().database()
    with client(server().url(database)) as one, client(server().url(database, proxy().port), "b") as far:
        far.ok("host", ELSEWHERE)
        for _ in range(3):
            token = one.hold("job")
            assert far.line_up("job") == 1
            for connection in list(proxy().connections):
                connection.close()
            assert far.heard(1000) == "nothing" and far.ok("ear") == "no"
            assert far.line_up("job") == 1 and far.ok("ear") == "yes"
            assert one.release("job", token) == "held"
            assert far.heard() == "notice b"
            assert far.release("job", far.hold("job", queue=1)) == "held"


# ---- poolers ------------------------------------------------------------------------------------

def test_through_a_pooler(t):
    """Each transaction may meet another session, and none finds anything that one left behind."""
    database = server().database()
    pool = postgres.Pgbouncer(server(), size=2)
    try:
        with clients(pool.url(database), "a", "b", "c", "d") as crowd:
            tokens = hand_over(crowd[0], crowd[1], "job", 20)
            assert len(tokens) == 21
            for i, who in enumerate(crowd):
                assert who.ok("share", "sum", i) == str(sum(range(i + 1)))
            assert crowd[1].cancel("job") is None
            assert crowd[0].cancel("job") is None
            token = crowd[2].hold("job")
            assert crowd[3].ok("force", "job", "me") == f"{token} c"
            assert crowd[2].renew("job", token) == "lost"
        left = server().count(
            database, "SELECT count(*) FROM pg_stat_activity a, pg_locks l WHERE a.pid = l.pid AND "
                      "l.locktype = 'advisory' AND a.datname = current_database()")
        assert left == 0
        for question, nothing in (("SELECT count(*) FROM pg_prepared_statements", "0"),
                                  ("SELECT count(*) FROM pg_listening_channels()", "0"),
                                  ("SHOW lock_timeout", "0"), ("SHOW plan_cache_mode", "auto")):
            said = postgres.Server.psql_at(pool.url(database), question)
            assert said.stdout.strip() == nothing, (question, said)
    finally:
        pool.remove()


def test_every_version(t):
    for version in postgres.VERSIONS:
        other = postgres.Server(version)
        try:
            with clients(other.url(other.database()), "a", "b") as (one, waiter):
                waiter.ok("host", ELSEWHERE)
                token = one.hold("job")
                assert waiter.line_up("job") == 1
                assert one.release("job", token) == "held"
                assert waiter.heard() == "notice b"
                assert waiter.hold("job", queue=1) == token + 1
                assert one.ok("force", "job", "me") == f"{token + 1} b"
                assert one.ok("list", "job") == f"job:-:{token + 1}:0 "
                assert one.ok("share", "sum", 3) == "3"
                other.restart("immediate")
                told = until_ok(one, *one.words("job")).split(" ")
                assert told[0] == "held" and int(told[1]) > token + 1, (version, told)
        finally:
            other.remove()


# ---- roles and tables ---------------------------------------------------------------------------

def test_roles(t):
    """What a role may not do is said with the statement to run, and that statement does it."""
    database = server().database("CREATE ROLE lease_maker LOGIN", "CREATE ROLE lease_user LOGIN")
    maker = server().url(database).replace("postgres@", "lease_maker@")
    user = server().url(database).replace("postgres@", "lease_user@")
    with client(maker, opened="CONFIG") as one:
        assert "CREATE SCHEMA onerow AUTHORIZATION lease_maker" in one.opened[1], one.opened
    server().sql(database, "CREATE SCHEMA onerow AUTHORIZATION lease_maker")
    with client(maker) as one:
        token = one.hold("job")
        server().sql(database, "GRANT USAGE ON SCHEMA onerow TO lease_user")
        server().sql(database, "GRANT SELECT ON onerow.ledger_meta TO lease_user")
        with client(user, "b") as other:
            status, told = other.call(*other.words("job"))
            assert status == "CONFIG" and "GRANT USAGE ON SCHEMA onerow" in told, (status, told)
            server().sql(database, "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA onerow "
                                   "TO lease_user")
            assert other.line_up("job") == 1
            assert one.release("job", token) == "held"
            assert other.release("job", other.hold("job", queue=1)) == "held"
            other.hold("job")
            assert other.ok("force", "job", "b").endswith(" b")
            assert other.ok("share", "sum", 1) == "1"


def test_a_ledger_from_before_there_were_leases(t):
    """It works on; the tables are added by whoever may, and whoever may not is told what to run."""
    database = server().database("CREATE ROLE old_user LOGIN")
    user = server().url(database).replace("postgres@", "old_user@")
    with client(server().url(database)):
        pass
    drop = "DROP TABLE " + ", ".join("onerow." + name for name in TABLES)
    server().sql(database, drop)
    server().sql(database, "GRANT USAGE ON SCHEMA onerow TO old_user")
    server().sql(database, "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA onerow TO old_user")
    with client(user, "b") as one:
        status, told = one.call(*one.words("job"))
        assert status == "CONFIG" and "GRANT USAGE, CREATE ON SCHEMA onerow TO old_user" in told, told
        server().sql(database, "GRANT USAGE, CREATE ON SCHEMA onerow TO old_user")
        assert one.hold("job") == 1
    server().sql(database, drop)
    with client(server().url(database)) as one:
        assert one.hold("job") == 1


def test_tables_that_are_missing(t):
    database = server().database()
    with client(server().url(database)) as one:
        one.hold("job")
        server().sql(database, "DROP TABLE onerow.lease_wait")
        status, told = one.call(*one.words("job", queue=1))
        assert status == "VANISHED", (status, told)
    with client(server().url(database)) as one:
        status, told = one.call(*one.words("job"))
        assert status == "VANISHED" and "onerow.lease" in told, (status, told)


def test_a_default_that_does_not_wait_for_the_disk(t):
    """synchronous_commit = off by default, and a crash right after the answer: what was acquired is there."""
    lax = postgres.Server(synchronous_commit="off", wal_writer_delay="10s")
    try:
        with client(lax.url(lax.database())) as one:
            for i in range(4):
                token = int(until_ok(one, *one.words(f"job{i}")).split(" ")[1])
                lax.restart("immediate")
                assert until_ok(one, "renew", f"job{i}", "a", token, LONG).startswith("held"), i
    finally:
        lax.remove()


def test_time_is_read_after_a_wait(t):
    """A lease begins when the lock of its name was had, not when its transaction began."""
    database = server().database()
    with client(server().url(database, proxy().port)) as one, \
            client(server().url(database), "b") as other, server().connect(database) as clock:
        token = one.hold("job")
        other.hold("elsewhere")
        with held_before_commit(one, "release", "job", "a", token):
            other.send(*other.words("job"))
            waits_for_lock(database)
            later = clock.execute("SELECT clock_timestamp()").fetchone()[0]
            began = clock.execute("SELECT xact_start FROM pg_stat_activity WHERE wait_event = 'advisory'"
                                  ).fetchone()[0]
        assert one.answer()[1].startswith("held") and other.answer()[1].startswith("held")
        since = clock.execute("SELECT since FROM onerow.lease WHERE token > 1").fetchone()[0]
        assert began < later <= since  # now() would have said when it began


if __name__ == "__main__":
    harness.main()
