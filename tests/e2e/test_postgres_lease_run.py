#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""onerow lease run where the leases are in PostgreSQL, and the server goes away."""
import contextlib

import harness
import lease_run
import postgres
from lease_run import alive, is_free, kill, lease, run, signals, start, start_witness


@contextlib.contextmanager
def server():
    """One of its own, to be stopped; the leases are there."""
    one = postgres.Server()
    before = lease_run.COORDINATOR
    lease_run.COORDINATOR = one.url()
    try:
        yield one
    finally:
        lease_run.COORDINATOR = before
        one.remove()


def test_a_server_that_is_away(t):
    """The command is ended in time, a stubborn one killed; nobody takes silence for an answer. When the
    server is back, the lease has run out, and the next token is higher."""
    with server() as one:
        process, pid = start_witness(t, "--ttl", "2", "job", ending="")
        token = lease(t, "job")["token"]
        one.stop("immediate")
        result = t.finish(process)
        assert result.code == 75 and "it was lost" in result.err, result
        assert "SIGTERM" in signals(t) and not alive(pid)
        asked = run(t, "-n", "-E", "42", "job", "true")
        assert asked.code == 69 and asked.err, asked
        one.start()
        result = run(t, "job", "--", "sh", "-c", "echo $ONEROW_TOKEN")
        assert result.code == 0 and int(result.out) > token, result


def test_a_server_that_comes_back_in_time(t):
    with server() as one:
        process, pid = start_witness(t, "--ttl", "60", "job")
        token = lease(t, "job")["token"]
        one.restart("immediate")
        left = lease(t, "job")["left_ms"]
        t.wait_until(lambda: lease(t, "job")["left_ms"] > left, what="a renewal")
        assert lease(t, "job")["token"] == token and alive(pid)
        kill(pid, "SIGTERM")
        assert t.finish(process).code == 0
        assert is_free(t, "job")


def test_a_server_that_hangs(t):
    """It is stopped, and answers nothing, but its connections stand."""
    with server() as one:
        process, pid = start_witness(t, "--ttl", "2", "job", ending="")
        for backend in one.sql("postgres", "SELECT pid FROM pg_stat_activity WHERE backend_type = "
                                           "'client backend' AND pid <> pg_backend_pid()"):
            kill(int(backend[0]), "SIGSTOP")
        try:
            t.wait_until(lambda: not alive(pid), what="the command's end")
            assert "SIGTERM" in signals(t)
        finally:
            for backend in one.sql("postgres", "SELECT pid FROM pg_stat_activity WHERE backend_type = "
                                               "'client backend' AND pid <> pg_backend_pid()"):
                kill(int(backend[0]), "SIGCONT")
        assert t.finish(process).code == 75


def test_no_way_there(t):
    """Exit code 69, never 1, and no password in what is said."""
    lost = t.onerow("lease", "run", "--coordinator", "postgres://u:s3cr3t@127.0.0.1:1/app", "-n", "job",
                    "true")
    assert lost.code == 69 and lost.err and "s3cr3t" not in lost.err, lost


def test_several_wait_in_line(t):
    """Each gets its turn, in order, and none works beside another."""
    with server():
        holder, pid = start_witness(t, "job")
        waiters = []
        for n in range(5):
            waiters.append(start(t, "job", "--", "sh", "-c",
                                 f"[ ! -e busy ] && touch busy && echo {n} >>order && rm busy"))
            t.wait_until(lambda n=n: lease(t, "job")["waiters"] == n + 1, what="a waiter")
        kill(pid, "SIGTERM")
        assert t.finish(holder).code == 0
        assert [t.finish(one).code for one in waiters] == [0] * 5
        with open(t.path("order"), encoding="ascii") as file:
            assert file.read().split() == [str(n) for n in range(5)]


if __name__ == "__main__":
    harness.main()
