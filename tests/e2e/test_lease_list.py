#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""onerow lease list and release: who holds what, and what was taken away."""
import json
import os
import re
import socket

import harness
from lease_run import COORDINATOR, force, kill, lease, leases, run, start, start_witness

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


def listing(t, *arguments):
    result = t.onerow("lease", "list", "--coordinator", COORDINATOR, *arguments)
    assert result.code == 0 and not result.err, result
    return result.out


def test_nothing_is_held(t):
    assert listing(t) == "no leases\n"
    assert listing(t, "--json") == ""
    assert listing(t, "--forced") == "nothing was taken away\n"


def test_what_is_held(t):
    holder, pid = start_witness(t, "nightly job")
    waiter = start(t, "nightly job", "true")
    t.wait_until(lambda: lease(t, "nightly job")["waiters"] == 1, what="a waiter")
    one = lease(t, "nightly job")
    assert one["held"] and one["token"] > 0 and 0 < one["left_ms"] <= 300000, one
    assert one["who"] == {"host": socket.gethostname(), "pid": holder.pid,
                          "command": "/usr/bin/python3"}, one
    assert TIME.fullmatch(one["since"]), one
    heading, line = listing(t).splitlines()
    assert heading.split() == ["NAME", "TOKEN", "HOLDER", "SINCE", "LEFT", "WAITERS"], heading
    assert line.startswith(f"nightly job {one['token']} ") and one["since"] in line, line
    assert f"{socket.gethostname()} pid {holder.pid} (/usr/bin/python3)" in line, line
    assert re.search(r" \d m \d+ s +1$", line), line
    kill(pid, "SIGTERM")
    assert t.finish(holder).code == 0 and t.finish(waiter).code == 0
    assert leases(t) == [] and not lease(t, "nightly job")["held"]
    assert listing(t, "--all").splitlines()[1].split()[-4:] == ["-", "-", "-", "0"]


def test_check_asks_the_coordinator(t):
    t.write("onerow.yaml", "coordinator: \"sqlite:locks.db\"\n")
    result = t.onerow("check")
    assert result.code == 0 and "sqlite:locks.db" in result.out and "the processes of this machine" in result.out, result
    t.write("onerow.yaml", "coordinator: \"postgres://127.0.0.1:1/none\"\n")
    result = t.onerow("check", "--json")
    assert result.code == 69 and json.loads(result.out)["status"] == "UNAVAILABLE", result


def test_by_prefix(t):
    for name in ("a/1", "a/2", "b", "a%"):
        assert run(t, name, "true").code == 0
    assert sorted(one["name"] for one in leases(t, "--all", "a")) == ["a%", "a/1", "a/2"]
    assert [one["name"] for one in leases(t, "--all", "a%")] == ["a%"]
    assert len(leases(t, "--all")) == 4


def test_only_by_force(t):
    start_witness(t, "job")
    gentle = t.onerow("lease", "release", "--coordinator", COORDINATOR, "job")
    assert gentle.code == 64 and "--force" in gentle.err, gentle
    nameless = t.onerow("lease", "release", "--coordinator", COORDINATOR, "--force")
    assert nameless.code == 64 and "which NAME?" in nameless.err, nameless
    merge = t.onerow("lease", "release", "--force", "--table", "t", "--scope", "x")
    assert merge.code == 64 and "onerow lease list" in merge.err, merge
    assert lease(t, "job")["held"]


def test_nobody_to_take_it_from(t):
    assert force(t, "job").code == 1
    assert run(t, "job", "true").code == 0
    result = force(t, "job")
    assert result.code == 1 and "nobody holds it" in result.err and not result.out, result
    assert listing(t, "--forced") == "nothing was taken away\n"


def test_what_was_taken_is_kept(t):
    holder, _ = start_witness(t, "--ttl", "3", "job")
    token = lease(t, "job")["token"]
    result = force(t, "job", "--by", "ops: it hangs\n\x1b[31m")
    assert result.code == 0, result
    assert result.out == (f"job: token {token} was taken from {socket.gethostname()} pid {holder.pid} "
                          "(/usr/bin/python3)\n"), result
    assert t.finish(holder).code == 75
    again, _ = start_witness(t, "--ttl", "3", "job", name="again")
    answer = json.loads(force(t, "job", "--json").out)
    assert t.finish(again).code == 75
    newest, oldest = [json.loads(line) for line in listing(t, "--forced", "--json").splitlines()]
    assert newest == answer and newest["token"] > token and newest["who"]["pid"] == again.pid
    assert f"uid {os.getuid()}, pid " in newest["by"] and TIME.fullmatch(newest["at"]), newest
    assert (oldest["token"], oldest["by"]) == (token, "ops: it hangs??[31m"), oldest
    heading, first, second = listing(t, "--forced", "job").splitlines()
    assert heading.split()[:3] == ["WHEN", "NAME", "TOKEN"] and "ops: it hangs" in second, second
    assert newest["at"] in first and listing(t, "--forced", "other") == "nothing was taken away\n"


def test_the_next_in_line_gets_it(t):
    holder, _ = start_witness(t, "--ttl", "3", "job")
    waiter = start(t, "job", "--", "sh", "-c", "echo $ONEROW_TOKEN")
    t.wait_until(lambda: lease(t, "job")["waiters"] == 1, what="a waiter")
    taken = json.loads(force(t, "job", "--json").out)
    result = t.finish(waiter)
    assert result.code == 0 and int(result.out) == taken["token"] + 1, result
    assert t.finish(holder).code == 75


if __name__ == "__main__":
    harness.main()
