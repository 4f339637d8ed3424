#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""onerow lease run: exit codes, what the command inherits, signals, and what happens when the
wrapper, its guardian or the command is killed or stopped."""
import contextlib
import os
import signal
import subprocess

import harness
from lease_run import (COORDINATOR, alive, force, group, is_free, kill, lease, parent, run, signals,
                       start, start_witness, stopped, wait_for_end, wait_for_pid)

LONG = ["--ttl", "300"]  # nothing runs out within a test
SHORT = ["--ttl", "2"]


# ---- exit codes --------------------------------------------------------------------------------

def test_the_code_is_the_commands(t):
    for code in (0, 1, 7, 75, 255):
        assert run(t, "job", "--", "sh", "-c", f"exit {code}").code == code
    for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV):
        result = run(t, "job", "--", "sh", "-c", f"ulimit -c 0; kill -{int(number)} $$")
        assert result.code == 128 + number, result
    assert is_free(t, "job")


def test_a_command_that_cannot_be_run(t):
    missing = run(t, "job", "no-such-command")
    assert missing.code == 127 and "no-such-command: command not found" in missing.err, missing
    t.write("plain", "no program")
    plain = run(t, "job", "./plain")
    assert plain.code == 126 and "./plain: Permission denied" in plain.err, plain
    assert is_free(t, "job")


def test_not_had(t):
    holder, pid = start_witness(t, "job")
    assert run(t, "-n", "job", "true").code == 1
    assert run(t, "-w", "0", "job", "true").code == 1
    assert run(t, "--nonblock", "-E", "42", "job", "true").code == 42
    waited = run(t, "-w", "0.05", "--verbose", "-E", "0", "job", "--", "sh", "-c", "exit 9")
    assert waited.code == 0 and "still somebody else's after 50 ms" in waited.err, waited
    assert run(t, "-n", "other", "true").code == 0
    kill(pid, "SIGTERM")
    assert t.finish(holder).code == 0
    assert run(t, "-n", "job", "true").code == 0


def test_quiet_when_not_had(t):
    """A cron job's mail is for what went wrong."""
    start_witness(t, "job")
    result = run(t, "-w", "0.05", "job", "echo", "done")
    assert (result.code, result.out, result.err) == (1, "", ""), result


def test_usage(t):
    for arguments in ([], ["job"], ["--ttl", "0.5", "job", "true"], ["--ttl", "x", "job", "true"],
                      ["-E", "256", "job", "true"], ["-E", "-1", "job", "true"], ["a\nb", "true"],
                      ["", "true"], ["x" * 513, "true"], ["--ttl", "9999999", "job", "true"]):
        result = run(t, *arguments)
        assert result.code == 64 and result.err, (arguments, result)
    assert t.onerow("lease").code == 64
    assert t.onerow("lease", "steal").code == 64
    assert t.onerow("lease", "--help").code == 0


def test_where_the_leases_are(t):
    nowhere = t.onerow("lease", "run", "job", "true")
    assert nowhere.code == 78 and 'coordinator: "sqlite:' in nowhere.err, nowhere
    alone = t.onerow("lease", "run", "--coordinator", "memory:", "job", "true")
    assert alone.code == 78 and "one process alone" in alone.err, alone
    wrong = t.onerow("lease", "run", "--coordinator", "mysql://x", "job", "true")
    assert wrong.code == 64 and "sqlite:PATH" in wrong.err, wrong
    t.write("onerow.yaml", f'coordinator: "{COORDINATOR}"\n')
    assert t.onerow("lease", "run", "job", "--", "sh", "-c", "exit 3").code == 3
    t.write("other.yaml", 'coordinator: "sqlite:/nowhere/at/all.db"\n')
    away = t.onerow("lease", "run", "--config", "other.yaml", "-n", "job", "true")
    assert away.code == 69 and away.err, away


# ---- what the command inherits -----------------------------------------------------------------

def test_environment(t):
    tokens = []
    for _ in range(3):
        result = run(t, "a job", "--", "sh", "-c", 'echo "$ONEROW_TOKEN $ONEROW_LEASE"')
        token, name = result.out.rstrip("\n").split(" ", 1)
        assert name == "a job", result
        tokens.append(int(token))
    assert tokens == sorted(set(tokens)) and tokens[0] > 0, tokens


def test_options_of_the_command_are_its_own(t):
    assert run(t, "job", "printf", "%s|", "-n", "--ttl", "--", "x").out == "-n|--ttl|--|x|"
    assert run(t, "job", "-n", "--", "printf", "%s|", "-n").out == "-n|"


def test_streams(t):
    result = run(t, "job", "cat", input="hello\n")
    assert result.out == "hello\n", result
    chain = subprocess.run(f"yes | {harness.ONEROW} lease run --coordinator {COORDINATOR} job head -n 1"
                           " | cat", shell=True, cwd=t.folder, env=t.env, capture_output=True,
                           text=True, timeout=60)
    assert chain.stdout == "y\n", chain


def test_nobody_else_holds_its_output(t):
    """Whoever reads it sees its end when the command closes it, not when the command ends."""
    process = start(t, "job", "--", "sh", "-c", "echo said; exec >&-; exec sleep 1000")
    assert process.stdout.read() == b"said\n"
    assert process.poll() is None and not is_free(t, "job")


def test_signals_and_descriptors_are_as_without_us(t):
    look = ("import os; print([line for line in open('/proc/self/status') if line.startswith('Sig') "
            "or line.startswith('Shd')]); print(sorted(os.listdir('/proc/self/fd'), key=int))")
    command = ["/usr/bin/python3", "-c", look]
    for restore in (True, False):  # False: with SIGPIPE ignored, as Python has it
        plain = subprocess.run(command, capture_output=True, text=True, restore_signals=restore,
                               stdin=subprocess.DEVNULL).stdout.splitlines()
        process = start(t, "job", "--", *command, restore_signals=restore)
        wrapped = t.finish(process).out.splitlines()
        assert wrapped[0].split("SigCgt")[0] == plain[0].split("SigCgt")[0], (wrapped, plain)
        extra = len(wrapped[1].split(",")) - len(plain[1].split(","))
        assert extra in (0, 1), (wrapped, plain)  # what keeps the lease while it runs


def test_only_its_first_word_is_shown(t):
    start_witness(t, "job")
    who = lease(t, "job")["who"]
    assert who["command"] == "/usr/bin/python3" and "witness" not in str(who), who


# ---- signals -----------------------------------------------------------------------------------

def test_signals_are_passed_on(t):
    process, _ = start_witness(t, *LONG, "job", ending="SIGTERM")
    sent = ["SIGHUP", "SIGINT", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGWINCH", "SIGCONT",
            "SIGTERM"]
    for n, name in enumerate(sent, 1):
        process.send_signal(getattr(signal, name))
        t.wait_until(lambda n=n: len(signals(t)) >= n, what=f"{name} at the command")
    result = t.finish(process)
    assert signals(t) == sent and result.code == 0, (signals(t), result)


def test_what_is_ignored_stays_ignored(t):
    """nohup."""
    process = start(t, *LONG, "job", "--", "sh", "-c",
                    "echo $$ >x.new; mv x.new x.pid; exec sleep 1000",
                    preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    pid = wait_for_pid(t, "x")
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGTERM)
    assert t.finish(process).code == 128 + signal.SIGTERM
    wait_for_end(t, pid)


def test_interrupted_while_waiting(t):
    start_witness(t, *LONG, "job")
    for name in ("SIGTERM", "SIGINT", "SIGHUP"):
        process = start(t, "job", "true")
        t.wait_until(lambda: lease(t, "job")["waiters"] == 1, what="a waiter")
        process.send_signal(getattr(signal, name))
        result = t.finish(process)
        assert result.code == 75 and "interrupted" in result.err, result
        assert lease(t, "job")["waiters"] == 0


# ---- what is left behind -----------------------------------------------------------------------

def test_held_until_nothing_is_left(t):
    """Of the command's group, and of what has left the group: a daemon, a session of its own."""
    for name, way in (("group", "{} &"), ("other", "timeout 1000 {} &"), ("session", "setsid {} &"),
                      ("daemon", "(setsid {} &) &")):
        script = f"sh -c 'echo $$ >{name}.new; mv {name}.new {name}.pid; exec sleep 1000'"
        process = start(t, *LONG, "job", "--", "sh", "-c", way.format(script) + f" exit 3")
        pid = wait_for_pid(t, name)
        first = process.stderr.readline().decode()
        assert "sh has ended, and" in first and "still run" in first, first
        assert not is_free(t, "job") and process.poll() is None
        kill(pid, "SIGTERM")
        assert t.finish(process).code == 3
        assert is_free(t, "job")


def test_control_whoever_releases_at_the_commands_end_lets_two_work(t):
    """flock -o does so: the lock is free while what the command has started still works."""
    flock = [harness.need("flock", "util-linux"), "-o", "lock", "sh", "-c"]
    t.write("left.sh", "echo $$ >left.new; mv left.new left.pid; exec sleep 1000")
    subprocess.run([*flock, "setsid sh left.sh & exit 0"], cwd=t.folder, check=True)
    pid = wait_for_pid(t, "left")
    try:
        second = subprocess.run([*flock, f"kill -0 {pid} && echo overlap"], cwd=t.folder,
                                capture_output=True, text=True)
        assert second.stdout == "overlap\n", second
    finally:
        kill(pid, "SIGKILL")


def test_what_is_left_gets_the_signals(t):
    """Otherwise nothing but kill -9 would end it."""
    t.write("left.sh", "echo $$ >left.new; mv left.new left.pid; exec sleep 1000")
    process = start(t, *LONG, "job", "--", "sh", "-c", "setsid sh left.sh & exit 3")
    pid = wait_for_pid(t, "left")
    assert b"still run" in process.stderr.readline()
    process.send_signal(signal.SIGTERM)
    assert t.finish(process).code == 3 and not alive(pid)


# ---- killed ------------------------------------------------------------------------------------

def test_killed_command(t):
    process, pid = start_witness(t, *LONG, "job")
    kill(pid, "SIGKILL")
    assert t.finish(process).code == 137
    assert is_free(t, "job")


def test_killed_wrapper(t):
    process, pid = start_witness(t, *LONG, "job")
    guardian = parent(pid)
    process.kill()
    wait_for_end(t, pid)
    wait_for_end(t, guardian)
    assert signals(t) == ["SIGTERM"], signals(t)


def test_killed_with_its_group(t):
    """As `kill -9 %1` of a shell does: the guardian is in a group of its own."""
    process, pid = start_witness(t, *LONG, "job", start_new_session=True)
    guardian = parent(pid)
    assert len({group(process.pid), group(guardian), group(pid)}) == 3
    os.killpg(process.pid, signal.SIGKILL)
    wait_for_end(t, pid)
    wait_for_end(t, guardian)


def test_killed_wrapper_with_a_stubborn_command(t):
    """Nobody else begins before it is gone."""
    process, pid = start_witness(t, *SHORT, "job", ending="")
    process.kill()
    result = run(t, "job", "--", "sh", "-c", f"kill -0 {pid} && echo overlap; true")
    assert result.code == 0 and result.out == "", result
    assert "SIGTERM" in signals(t), signals(t)


def test_control_without_a_guardian_two_work_at_once(t):
    process, pid = start_witness(t, *SHORT, "job", ending="")
    guardian = parent(pid)
    kill(process.pid, "SIGSTOP")
    kill(guardian, "SIGKILL")
    process.kill()
    process.wait()
    try:
        result = run(t, "job", "--", "sh", "-c", f"kill -0 {pid} && echo overlap; true")
        assert result.code == 0 and result.out == "overlap\n", result
        assert "SIGTERM" in signals(t), "the kernel tells it"
    finally:
        kill(pid, "SIGKILL")


def test_killed_wrapper_and_guardian_with_a_command_that_runs_on(t):
    """SQLite: it keeps the session alive that it was started by; with it, the lease ends at once."""
    process, pid = start_witness(t, *LONG, "job", ending="")
    kill(process.pid, "SIGSTOP")
    kill(parent(pid), "SIGKILL")
    process.kill()
    process.wait()
    try:
        assert run(t, "-n", "job", "true").code == 1, "it still runs"
        kill(pid, "SIGKILL")
        wait_for_end(t, pid)
        assert run(t, "job", "true").code == 0, "long before its time is over"
    finally:
        kill(pid, "SIGKILL") if alive(pid) else None


def test_killed_wrapper_keeps_nobody_waiting(t):
    """SQLite: nothing is left, so nothing holds the lease."""
    process, pid = start_witness(t, *LONG, "job")
    waiter = start(t, "job", "--", "sh", "-c", f"kill -0 {pid} && echo overlap; true")
    t.wait_until(lambda: lease(t, "job")["waiters"] == 1, what="a waiter")
    process.kill()
    result = t.finish(waiter)
    assert result.code == 0 and result.out == "", result


def test_killed_wrapper_ends_everything(t):
    scripts = []
    for name in ("group", "other", "session", "daemon"):
        body = f"trap '' TERM; echo $$ >{name}.new; mv {name}.new {name}.pid; exec sleep 1000"
        scripts.append(t.write(f"{name}.sh", body))
    script = (f"sh {scripts[0]} & timeout 1000 sh {scripts[1]} & setsid sh {scripts[2]} & "
              f"(setsid sh {scripts[3]} &) & wait; sleep 1000")
    process = start(t, *SHORT, "job", "--", "sh", "-c", script)
    pids = [wait_for_pid(t, name) for name in ("group", "other", "session", "daemon")]
    process.kill()
    for pid in pids:
        wait_for_end(t, pid)


def test_killed_while_waiting(t):
    """Nothing is started, and the guardian goes."""
    _, pid = start_witness(t, *LONG, "job")
    waiter = start(t, "job", "--", "sh", "-c", "echo started >started")
    t.wait_until(lambda: lease(t, "job")["waiters"] == 1, what="a waiter")
    with open(f"/proc/{waiter.pid}/task/{waiter.pid}/children", encoding="ascii") as file:
        guardian = int(file.read())
    waiter.kill()
    wait_for_end(t, guardian)
    kill(pid, "SIGTERM")
    assert run(t, "job", "true").code == 0
    assert not os.path.exists(t.path("started"))


def test_killed_guardian(t):
    process, pid = start_witness(t, *LONG, "job")
    kill(parent(pid), "SIGKILL")
    result = t.finish(process)
    assert result.code == 75 and "the guardian was killed" in result.err, result
    assert not alive(pid) and "SIGTERM" in signals(t)
    assert is_free(t, "job")


def test_killed_guardian_with_a_stubborn_command(t):
    process, pid = start_witness(t, *SHORT, "job", ending="")
    kill(parent(pid), "SIGKILL")
    result = t.finish(process)
    assert result.code == 75 and not alive(pid), result
    assert is_free(t, "job")


def test_killed_guardian_while_waiting(t):
    holder, pid = start_witness(t, *LONG, "job")
    waiter = start(t, "job", "--", "sh", "-c", "echo started >started")
    t.wait_until(lambda: lease(t, "job")["waiters"] == 1, what="a waiter")
    with open(f"/proc/{waiter.pid}/task/{waiter.pid}/children", encoding="ascii") as file:
        kill(int(file.read()), "SIGKILL")
    kill(pid, "SIGTERM")
    assert t.finish(holder).code == 0
    result = t.finish(waiter)
    assert result.code == 75 and not os.path.exists(t.path("started")), result


# ---- lost --------------------------------------------------------------------------------------

def test_taken_by_force(t):
    process, pid = start_witness(t, "--ttl", "3", "job")
    assert force(t, "job").code == 0
    result = t.finish(process)
    assert result.code == 75 and "it was lost" in result.err, result
    assert signals(t) == ["SIGTERM"] and not alive(pid)


def test_taken_by_force_from_a_stubborn_command(t):
    process, pid = start_witness(t, "--ttl", "3", "job", ending="")
    assert force(t, "job").code == 0
    assert t.finish(process).code == 75
    assert not alive(pid)


def test_taken_by_force_just_before_the_end(t):
    """The command's work was not all done under the lease, whatever its code is."""
    process, pid = start_witness(t, *LONG, "job")
    assert force(t, "job").code == 0
    kill(pid, "SIGTERM")
    result = t.finish(process)
    assert result.code == 75 and "lost before" in result.err, result


@contextlib.contextmanager
def locked(t):
    """The coordinator is away: somebody holds its database, and nobody renews anything."""
    client = subprocess.Popen([harness.need("sqlite3", "sqlite3"), t.path("leases.db")],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        client.stdin.write(".timeout 60000\nBEGIN IMMEDIATE;\nSELECT 'locked';\n")
        client.stdin.flush()
        assert client.stdout.readline() == "locked\n"
        yield
    finally:
        client.communicate()


def test_coordinator_away(t):
    """The command is told to end, then killed; and whoever asks does not take that for an answer."""
    process, pid = start_witness(t, *SHORT, "job", ending="")
    with locked(t):
        result = t.finish(process)
        assert result.code == 75 and "it was lost" in result.err, result
        assert "SIGTERM" in signals(t) and not alive(pid)
        asked = run(t, "-n", "-E", "42", "job", "true")
        assert asked.code == 75 and "locked" in asked.err, asked


def test_stopped_wrapper(t):
    """Nobody renews, and nobody else begins before the command is gone."""
    process, pid = start_witness(t, *SHORT, "job", ending="")
    kill(process.pid, "SIGSTOP")
    result = run(t, "job", "--", "sh", "-c", f"kill -0 {pid} && echo overlap; true")
    assert result.code == 0 and result.out == "", result
    assert "SIGTERM" in signals(t) and stopped(process.pid)
    kill(process.pid, "SIGCONT")
    ended = t.finish(process)
    assert ended.code == 75 and "it was not renewed in time" in ended.err, ended


def test_stopped_wrapper_and_guardian(t):
    """Both go on later, and end what is left."""
    process, pid = start_witness(t, *SHORT, "job", ending="")
    guardian = parent(pid)
    kill(guardian, "SIGSTOP")
    kill(process.pid, "SIGSTOP")
    t.wait_until(lambda: is_free(t, "job"), what="the end of the lease's time")
    kill(process.pid, "SIGCONT")
    assert t.finish(process).code == 75
    assert not alive(pid) and not alive(guardian)


def test_stopped_command_without_a_terminal(t):
    """Somebody has stopped it; the lease is renewed, and it goes on when it is continued."""
    process, pid = start_witness(t, *SHORT, "job", start_new_session=True)
    kill(pid, "SIGSTOP")
    since = lease(t, "job")
    t.wait_until(lambda: lease(t, "job")["left_ms"] > since["left_ms"], what="a renewal")
    assert stopped(pid) and lease(t, "job")["token"] == since["token"]
    kill(pid, "SIGCONT")
    kill(pid, "SIGTERM")
    assert t.finish(process).code == 0


if __name__ == "__main__":
    harness.main()
