# SPDX-License-Identifier: Apache-2.0
"""Many processes want one lease of a PostgreSQL coordinator, while they are killed, stopped for longer than
their lease runs, cut off, and the server crashes. Each adds unique integers to a set by reading it and
writing it back (tests/e2e/lease_worker.py). A target that checks the token loses none that it has
acknowledged; one that trusts the lease does, which is seen.
"""
import contextlib
import functools
import json
import os
import signal
import subprocess
import sys
import time

import harness
import postgres

LIBRARY = os.environ.get("ONEROW_LIBRARY") or os.path.abspath("build/libonerow.so")
WORKER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "lease_worker.py")
TABLES = ("CREATE TABLE target(members int[] NOT NULL, token bigint NOT NULL)",
          "INSERT INTO target VALUES ('{}', 0)",
          "CREATE TABLE acts(token bigint PRIMARY KEY, member int NOT NULL)")


@functools.cache
def server():
    return postgres.Server(max_connections="200")


class Crowd:
    """Workers in slots; a slot's worker that was killed is followed by another one."""

    def __init__(self, t, size, ttl_ms=1000, pause_s=0.002, checks=True, port=None):
        self.t, self.lives, self.checks = t, 0, checks
        self.database = server().database(*TABLES)
        self.log = t.path("log")
        self.wanted = {"library": LIBRARY, "coordinator": server().url(self.database, port),
                       "target": server().url(self.database), "name": "set", "ttl_ms": ttl_ms,
                       "pause_s": pause_s, "checks": checks, "log": self.log}
        self.slots = [self.start(slot) for slot in range(size)]

    def start(self, slot):
        self.lives += 1
        life = self.lives * 100 + slot
        process = subprocess.Popen([sys.executable, WORKER, json.dumps(dict(self.wanted, life=life))],
                                   stdin=subprocess.PIPE)
        process.life = life
        return process

    def lines(self):
        """[("ack", MEMBER, TOKEN)…], as far as they are complete."""
        with contextlib.suppress(FileNotFoundError):
            with open(self.log, encoding="utf-8") as file:
                lines = [line.split(" ") for line in file.read().split("\n")[:-1]]
            wrong = [" ".join(words) for words in lines if words[0] == "wrong"]
            assert not wrong, wrong
            return [(words[0], int(words[1]), int(words[2])) for words in lines]
        return []

    def acked(self):
        return [member for what, member, _ in self.lines() if what == "ack"]

    def go_on(self, acks, seconds=120):
        """Until so many more are acknowledged."""
        goal = len(self.acked()) + acks
        self.t.wait_until(lambda: len(self.acked()) >= goal, seconds, f"{goal} acknowledged turns")

    def kill(self, slot):
        self.slots[slot].kill()
        self.slots[slot].wait()
        self.slots[slot] = self.start(slot)

    def pause(self, slot, acks):
        """Stopped, until others have gone on without it."""
        self.slots[slot].send_signal(signal.SIGSTOP)
        self.go_on(acks)
        self.slots[slot].send_signal(signal.SIGCONT)

    def finish(self):
        """Their last turns; what was acknowledged and is not there, and how many turns each slot had."""
        for process in self.slots:
            process.stdin.close()
        for process in self.slots:
            assert process.wait(120) == 0
        members = server().sql(self.database, "SELECT unnest(members) FROM target")
        there = [int(row[0]) for row in members]
        assert len(there) == len(set(there))
        acked = self.acked()
        turns = [sum(member // 100000 % 100 == slot for member in acked)
                 for slot in range(len(self.slots))]
        self.tell(acked, turns)
        return sorted(set(acked) - set(there)), turns

    def tell(self, acked, turns):
        whats = [what for what, _, _ in self.lines()]
        print(f"# {len(acked)} acknowledged, {whats.count('refused')} refused, {whats.count('doubt')} in "
              f"doubt, {self.lives} lives, {min(turns)} to {max(turns)} turns of each slot, highest "
              f"token {server().count(self.database, 'SELECT max(token) FROM acts')}")

    def end(self):
        for process in self.slots:
            if process.poll() is None:
                process.kill()
                process.wait()


@contextlib.contextmanager
def crowd(*arguments, **options):
    made = Crowd(*arguments, **options)
    try:
        made.go_on(len(made.slots))
        yield made
    finally:
        made.end()


def assert_nothing_lost(them):
    lost, turns = them.finish()
    assert not lost, lost
    assert min(turns) * 4 >= sum(turns) / len(turns), turns  # nobody starves
    return turns


def test_killed_and_stopped(t):
    """Sixteen processes; one after the other is killed, or stopped for longer than its lease runs."""
    with crowd(t, 16) as them:
        for _ in range(12):
            them.kill(t.random.randrange(16))
            them.go_on(t.random.randrange(1, 30))
            them.pause(t.random.randrange(16), t.random.randrange(1, 30))
        them.go_on(160)
        assert_nothing_lost(them)


def test_crashes_of_the_server(t):
    """It is stopped at once, killed, restarted, and loses a backend, under sixteen processes."""
    with crowd(t, 16) as them:
        for upset in (lambda: server().restart("immediate"), server().crash_backend,
                      lambda: server().restart("fast"), lambda: server().restart("kill"),
                      lambda: server().restart("immediate")):
            upset()
            them.go_on(60)
            them.kill(t.random.randrange(16))
        them.go_on(160)
        assert_nothing_lost(them)
        lives = server().count(them.database,
                               "SELECT count(*) FROM onerow.lease WHERE ceiling > token + 2")
        assert lives == 1


def test_cut_off(t):
    """Every connection to the coordinator lives for a random number of bytes."""
    way = postgres.Proxy(server())
    try:
        with crowd(t, 8, port=way.port) as them:
            way.cut_at_random(t.random, 30000)
            for connection in list(way.connections):
                connection.close()
            for _ in range(4):
                them.go_on(60)
                them.kill(t.random.randrange(8))
            way.cut_at_random(t.random, 0)
            them.go_on(80)
            assert_nothing_lost(them)
            print(f"# {way.random_cuts} cuts")
            assert way.random_cuts > 0
    finally:
        way.close()


def test_through_a_pooler(t):
    """pgbouncer in transaction mode, with four connections for ten processes."""
    pool = postgres.Pgbouncer(server(), size=4)
    try:
        with crowd(t, 10, port=pool.port) as them:
            for _ in range(4):
                them.kill(t.random.randrange(10))
                them.go_on(40)
                them.pause(t.random.randrange(10), 20)
            them.go_on(100)
            assert_nothing_lost(them)
    finally:
        pool.remove()


# ---- the lock test that Jepsen is known for -----------------------------------------------------

LEASE_S, PAUSE_S = 2, 5


def stop_a_holder(them):
    """Between its reading and its writing, for five seconds, while others go on; whether it was there."""
    seen = len(them.lines())
    them.t.wait_until(lambda: any(line[0] == "read" for line in them.lines()[seen:]))
    _, member, _ = [line for line in them.lines()[seen:] if line[0] == "read"][-1]
    slot = member // 100000 % 100
    them.slots[slot].send_signal(signal.SIGSTOP)
    end = time.monotonic() + PAUSE_S
    settled = any(line[1] == member and line[0] != "read" for line in them.lines())
    them.go_on(2)
    time.sleep(max(0, end - time.monotonic()))  # the pause is the test's matter, not its order
    them.slots[slot].send_signal(signal.SIGCONT)
    them.go_on(2)
    return not settled


def test_jepsens_lock_with_tokens(t):
    """A lease of two seconds, and processes that are paused for five."""
    with crowd(t, 5, ttl_ms=LEASE_S * 1000, pause_s=0.05) as them:
        caught = sum(stop_a_holder(them) for _ in range(3))
        lost, _ = them.finish()
        refused = sum(what == "refused" for what, _, _ in them.lines())
        assert caught and refused and not lost, (caught, refused, lost)


def test_control_jepsens_lock_without_tokens(t):
    """Negative control: the same, and nobody looks at tokens."""
    with crowd(t, 5, ttl_ms=LEASE_S * 1000, pause_s=0.05, checks=False) as them:
        for _ in range(6):
            if stop_a_holder(them):
                break
        lost, _ = them.finish()
        print(f"# {len(lost)} of {len(them.acked())} acknowledged integers are lost")
        assert lost


if __name__ == "__main__":
    harness.main()
