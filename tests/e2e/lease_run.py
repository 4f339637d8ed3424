# SPDX-License-Identifier: Apache-2.0
"""What the tests of `onerow lease run` share: commands that tell what happens to them, and a look at
processes from outside."""
import json
import os
import signal

COORDINATOR = "sqlite:leases.db"

# Writes its pid into FILE.pid and each signal that it gets into FILE.signals; ends at those of ENDING.
WITNESS = r"""
import os, signal, sys
name, ending = sys.argv[1], sys.argv[2].split(",")
all_of_them = [getattr(signal, "SIG" + one) for one in
               ("HUP", "INT", "QUIT", "TERM", "USR1", "USR2", "ALRM", "WINCH", "CONT", "TSTP")]
signal.pthread_sigmask(signal.SIG_BLOCK, all_of_them)
with open(name + ".new", "w") as file:
    file.write(str(os.getpid()))
os.rename(name + ".new", name + ".pid")
while True:
    number = signal.sigwait(all_of_them)
    with open(name + ".signals", "a") as file:
        file.write(signal.Signals(number).name + "\n")
    if signal.Signals(number).name in ending:
        os._exit(0)
"""


def lease_run(*arguments):
    return ["lease", "run", "--coordinator", COORDINATOR, *arguments]


def run(t, *arguments, **options):
    return t.onerow(*lease_run(*arguments), **options)


def start(t, *arguments, **options):
    return t.start(*lease_run(*arguments), **options)


def start_witness(t, *arguments, name="witness", ending="SIGTERM", **options):
    """The wrapper, and its command's pid."""
    t.write("witness.py", WITNESS)
    process = start(t, *arguments, "--", "/usr/bin/python3", "witness.py", name, ending, **options)
    return process, wait_for_pid(t, name)


def wait_for_pid(t, name):
    t.wait_until(lambda: os.path.exists(t.path(name + ".pid")), what=f"the start of {name}")
    with open(t.path(name + ".pid"), encoding="ascii") as file:
        return int(file.read())


def signals(t, name="witness"):
    try:
        with open(t.path(name + ".signals"), encoding="ascii") as file:
            return file.read().split()
    except FileNotFoundError:
        return []


def stat(pid):
    """Fields of /proc/PID/stat behind the name: state, parent, group, session, …; None: no such
    process."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rsplit(")", 1)[1].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def alive(pid):
    fields = stat(pid)
    return fields is not None and fields[0] not in "ZX"


def parent(pid):
    return int(stat(pid)[1])


def group(pid):
    return int(stat(pid)[2])


def stopped(pid):
    fields = stat(pid)
    return fields is not None and fields[0] == "T"


def wait_for_end(t, pid, what="the process"):
    t.wait_until(lambda: not alive(pid), what=f"the end of {what}")


def leases(t, *arguments):
    result = t.onerow("lease", "list", "--coordinator", COORDINATOR, "--json", *arguments)
    assert result.code == 0, result
    return [json.loads(line) for line in result.out.splitlines()]


def lease(t, name):
    found = [one for one in leases(t, "--all", name) if one["name"] == name]
    return found[0] if found else None


def is_free(t, name):
    found = lease(t, name)
    return found is None or not found["held"]


def force(t, name, *arguments):
    return t.onerow("lease", "release", "--coordinator", COORDINATOR, "--force", name, *arguments)


def kill(pid, number):
    os.kill(pid, getattr(signal, number))
