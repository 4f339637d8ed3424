#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""onerow lease run on a terminal: a real shell with job control, on a real pseudo-terminal."""
import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time

import harness
from lease_run import (COORDINATOR, alive, group, is_free, kill, lease, parent, start_witness, stopped,
                       wait_for_end, wait_for_pid)

# Answers each line, in capitals, and tells of an interrupt.
ECHO = r"""
import os, sys
with open("echo.new", "w") as file:
    file.write(str(os.getpid()))
os.rename("echo.new", "echo.pid")
try:
    print("READY", flush=True)
    for line in iter(sys.stdin.readline, ""):
        print("<" + line.strip().upper() + ">", flush=True)
except KeyboardInterrupt:
    print("INTER" + "RUPTED", flush=True)
    sys.exit(5)
sys.exit(6)
"""


class Terminal:
    """A program on a terminal of its own, as its session's leader."""

    def __init__(self, t, *command):
        self.t, self.seen, self.read_to = t, "", 0
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.chdir(t.folder)
            os.execvpe(command[0], command, dict(t.env, PS1="$ ", TERM="xterm", HISTFILE=""))

    def type(self, text):
        os.write(self.fd, text.encode())

    def line(self, text):
        self.type(text + "\n")

    def more(self, seconds):
        """Reads what comes; False: nothing will come any more."""
        if not select.select([self.fd], [], [], seconds)[0]:
            return True
        try:
            data = os.read(self.fd, 65536)
        except OSError:
            return False
        self.seen += data.decode(errors="replace")
        return bool(data)

    def expect(self, pattern, seconds=60):
        """Waits for it behind what was expected before."""
        end = time.monotonic() + seconds
        while True:
            found = re.search(pattern, self.seen[self.read_to:])
            if found:
                self.read_to += found.end()
                return found
            assert time.monotonic() < end and self.more(0.5), \
                f"{pattern!r} did not come: {self.seen!r}"

    def until(self, condition, what):
        """Polls a condition, and reads meanwhile: a full terminal stops its writers."""
        end = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < end, f"{what} did not come true: {self.seen!r}"
            self.more(0.005)

    def close(self):
        os.close(self.fd)  # hangs up
        kill(self.pid, "SIGKILL")
        os.waitpid(self.pid, 0)


class Shell(Terminal):
    def __init__(self, t):
        super().__init__(t, harness.need("bash", "bash"), "--norc", "--noprofile", "-i")
        self.n = 0
        self.sync()

    def sync(self):
        """Waits until the shell has done everything that was typed, and gives its last code."""
        self.n += 1
        self.line(f"echo code=$? sync={self.n}")
        return int(self.expect(rf"code=(\d+) sync={self.n}\r").group(1))

    def lease(self, rest, *options):
        words = " ".join(options)
        self.line(f"{harness.ONEROW} lease run --coordinator {COORDINATOR} {words} job {rest}")


def in_shell(test):
    """Runs the test with a shell, which is gone afterwards with all that it has started."""
    def run(t):
        t.write("echo.py", ECHO)
        shell = Shell(t)
        try:
            test(t, shell)
        finally:
            shell.close()
    run.__name__ = test.__name__
    return run


def start_echo(t, shell, *options, rest="", ready="READY"):
    shell.lease(f"-- /usr/bin/python3 echo.py {rest}", *options)
    shell.expect(ready + "\r")
    return wait_for_pid(t, "echo")


def foreground(shell):
    return os.tcgetpgrp(shell.fd)


@in_shell
def test_the_command_has_the_terminal(t, shell):
    pid = start_echo(t, shell)
    assert foreground(shell) == pid == group(pid)
    shell.line("hello")
    shell.expect("<HELLO>")
    shell.type("\x04")
    assert shell.sync() == 6
    assert foreground(shell) == shell.pid and is_free(t, "job")


@in_shell
def test_interrupt_reaches_the_command(t, shell):
    start_echo(t, shell)
    shell.type("\x03")
    shell.expect("INTERRUPTED")
    assert shell.sync() == 5 and is_free(t, "job")


@in_shell
def test_interrupt_ends_the_command(t, shell):
    shell.lease("-- sh -c 'echo $$ >x.new; mv x.new x.pid; exec sleep 1000'")
    wait_for_pid(t, "x")
    shell.type("\x03")
    assert shell.sync() == 130 and is_free(t, "job")


@in_shell
def test_quit_ends_the_command(t, shell):
    shell.line("ulimit -c 0")
    shell.lease("-- sh -c 'echo $$ >x.new; mv x.new x.pid; exec sleep 1000'")
    wait_for_pid(t, "x")
    shell.type("\x1c")
    assert shell.sync() == 131 and is_free(t, "job")


@in_shell
def test_interrupt_ends_the_script_around_it(t, shell):
    """As it does without us: the terminal's interrupt is for all that is in the foreground."""
    for program in ("sh", "bash"):
        for wrapper in ("", f"{harness.ONEROW} lease run --coordinator {COORDINATOR} job "):
            t.write("script.sh", f"{wrapper}sh -c 'echo $$ >x.new; mv x.new x.pid; exec sleep 1000'\n"
                                 "echo went on\n")
            shell.line(f"{program} script.sh")
            wait_for_pid(t, "x")
            os.unlink(t.path("x.pid"))
            shell.type("\x03")
            assert shell.sync() == 130, shell.seen
            assert "went on" not in shell.seen, shell.seen


@in_shell
def test_stop_and_fetch(t, shell):
    pid = start_echo(t, shell)
    for _ in range(3):
        shell.type("\x1a")
        shell.expect("it is not renewed while stopped")
        shell.expect("Stopped")
        assert stopped(pid) and shell.sync() == 148 and foreground(shell) == shell.pid
        shell.line("fg")
        shell.expect("lease run")
        shell.until(lambda: foreground(shell) == pid, "the terminal is the command's")
        shell.line("again")
        shell.expect("<AGAIN>")
    shell.type("\x03")
    shell.expect("INTERRUPTED")
    assert shell.sync() == 5


@in_shell
def test_stop_and_go_on_in_the_background(t, shell):
    # no shell: one that is about to start something does not stop
    t.write("count.py", "import os, time\nopen('x.new', 'w').write(str(os.getpid()))\n"
                        "os.rename('x.new', 'x.pid')\nn = 0\nwhile True:\n    n += 1\n"
                        "    open('count', 'w').write(str(n))\n    time.sleep(0.01)\n")

    def count():
        with open(t.path("count"), encoding="ascii") as file:
            return file.read()
    shell.lease("/usr/bin/python3 count.py")
    pid = wait_for_pid(t, "x")
    shell.type("\x1a")
    shell.expect("Stopped")
    assert stopped(pid)
    shell.line("bg")
    shell.sync()
    before = count()
    shell.until(lambda: count() not in ("", before), "it goes on")
    assert foreground(shell) == shell.pid
    shell.line("fg")
    shell.until(lambda: foreground(shell) == group(pid), "the terminal is the command's")
    shell.type("\x03")
    assert shell.sync() == 130


@in_shell
def test_started_in_the_background(t, shell):
    """It does not get the terminal; reading from it stops the job, and fg gives it."""
    shell.lease("-- /usr/bin/python3 echo.py &")
    pid = wait_for_pid(t, "echo")
    shell.expect("READY")
    shell.until(lambda: stopped(pid) and stopped(parent(parent(pid))), "reading stops the job")
    while "Stopped" not in shell.seen:  # said at the next prompt, once the shell knows it
        shell.line("")
        shell.sync()
    assert foreground(shell) == shell.pid
    shell.line("fg")
    shell.until(lambda: foreground(shell) == pid, "the terminal is the command's")
    shell.line("hello")
    shell.expect("<HELLO>")
    shell.type("\x04")
    assert shell.sync() == 6


@in_shell
def test_a_pipeline_stops_as_a_whole(t, shell):
    pid = start_echo(t, shell, rest="| tr A-Z a-z", ready="ready")
    shell.type("\x1a")
    shell.expect("Stopped")
    assert stopped(pid)
    shell.line("fg")
    shell.until(lambda: foreground(shell) == pid, "the terminal is the command's")
    shell.line("Hello")
    shell.expect("<hello>")
    shell.type("\x04")
    assert shell.sync() == 0


@in_shell
def test_stopped_for_too_long(t, shell):
    """The lease runs out, and the command with it, before it is continued."""
    pid = start_echo(t, shell, "--ttl", "2")
    shell.type("\x1a")
    shell.expect("Stopped")
    shell.until(lambda: not alive(pid), "it was ended")
    shell.until(lambda: is_free(t, "job"), "the lease's end")
    shell.line("fg")
    shell.expect("it was lost")
    assert shell.sync() == 75 and foreground(shell) == shell.pid


@in_shell
def test_continued_after_the_lease_was_lost(t, shell):
    """Not a step more: it is told to end instead."""
    t.write("trap.sh", "trap 'echo told >told; exit 9' TERM\n"
                       "echo $$ >x.new; mv x.new x.pid; while :; do sleep 0.01; done\n")
    shell.lease("sh trap.sh", "--ttl", "2")
    pid = wait_for_pid(t, "x")
    guardian = parent(pid)
    kill(guardian, "SIGSTOP")  # it would have ended it before
    kill(pid, "SIGSTOP")
    kill(guardian, "SIGCONT")
    shell.expect("Stopped")
    kill(guardian, "SIGSTOP")
    shell.until(lambda: is_free(t, "job"), "the lease's end")
    assert stopped(pid)
    shell.line("fg")
    shell.expect("it was lost")
    assert shell.sync() == 75 and not alive(pid)


@in_shell
def test_killed_wrapper_leaves_the_terminal_to_the_shell(t, shell):
    pid = start_echo(t, shell)
    guardian = parent(pid)
    wrapper = parent(guardian)
    kill(wrapper, "SIGKILL")
    shell.expect("Killed")
    # what waits in a read may still get the next line, in the background or not
    shell.until(lambda: not alive(pid) and not alive(guardian), "both are gone")
    assert shell.sync() == 137 and foreground(shell) == shell.pid


@in_shell
def test_a_killed_command_leaves_the_terminal_as_it_was(t, shell):
    t.write("raw.py", "import tty, os, time\ntty.setraw(0)\nopen('x.new', 'w').write(str(os.getpid()))\n"
                      "os.rename('x.new', 'x.pid')\ntime.sleep(1000)\n")
    shell.line("cat")  # the shell's own editing of lines is not what is compared
    shell.expect("cat")
    shell.until(lambda: foreground(shell) != shell.pid, "cat has the terminal")
    before = termios.tcgetattr(shell.fd)[3]
    shell.type("\x04")
    shell.sync()
    shell.lease("-- /usr/bin/python3 raw.py")
    pid = wait_for_pid(t, "x")
    assert termios.tcgetattr(shell.fd)[3] != before
    kill(pid, "SIGKILL")
    shell.expect(r"\$ $")
    assert shell.sync() == 137
    shell.line("cat")
    shell.until(lambda: foreground(shell) != shell.pid, "cat has the terminal")
    assert termios.tcgetattr(shell.fd)[3] == before
    shell.type("\x04")


@in_shell
def test_interrupt_ends_what_is_left(t, shell):
    t.write("left.py", "import os, time\nopen('x.new', 'w').write(str(os.getpid()))\n"
                       "os.rename('x.new', 'x.pid')\ntry:\n    time.sleep(1000)\n"
                       "except KeyboardInterrupt:\n    pass\n")
    shell.lease("-- bash -mc '/usr/bin/python3 left.py & exit 3'")
    pid = wait_for_pid(t, "x")
    shell.expect("still run")
    wrapper = parent(parent(pid))
    shell.until(lambda: foreground(shell) == wrapper, "the terminal is the wrapper's")
    shell.type("\x03")
    assert shell.sync() == 3 and not alive(pid)


@in_shell
def test_hang_up(t, shell):
    """The terminal goes, and so does all."""
    pid = start_echo(t, shell)
    os.close(shell.fd)
    wait_for_end(t, pid)
    t.wait_until(lambda: is_free(t, "job"), what="the release")
    shell.fd = os.open("/dev/null", os.O_RDWR)


def test_without_a_shell_nothing_stops(t):
    """Nobody could continue it: as the leader of the session the command would not stop either."""
    t.write("echo.py", ECHO)
    terminal = Terminal(t, harness.ONEROW, "lease", "run", "--coordinator", COORDINATOR, "job", "--",
                        "/usr/bin/python3", "echo.py")
    try:
        terminal.expect("READY")
        terminal.type("\x1a")
        terminal.expect("no shell is there to continue us")
        terminal.line("hello")
        terminal.expect("<HELLO>")
        terminal.type("\x04")
        terminal.until(lambda: is_free(t, "job"), "its end")
    finally:
        terminal.close()


def set_width(shell, columns):
    fcntl.ioctl(shell.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))


@in_shell
def test_the_line_while_waiting(t, shell):
    set_width(shell, 200)
    _, pid = start_witness(t, "job")
    shell.lease("echo it is ours")
    shell.expect(r"\r\x1b\[Konerow: waiting for job, place 1, (\d m )?\d+ s left: \S+ pid \d+ "
                 r"\(/usr/bin/python3\) since \d{4}-\S+Z\r")  # and is written anew
    set_width(shell, 40)
    cut = shell.expect(r"\r\x1b\[K(onerow: waiting for job, place 1[^\r]{,20})\r").group(1)
    assert len(cut) < 40, cut
    kill(pid, "SIGTERM")
    shell.expect("\r\x1b\\[Kit is ours\r\n")
    assert shell.sync() == 0 and "left\r\n" not in shell.seen


@in_shell
def test_the_line_is_not_for_a_pipe(t, shell):
    _, pid = start_witness(t, "job")
    shell.lease("echo it is ours 2>err | cat")
    shell.until(lambda: lease(t, "job")["waiters"] == 1, "it waits")
    kill(pid, "SIGTERM")
    shell.expect("\rit is ours\r\n")
    with open(t.path("err"), encoding="utf-8") as file:
        assert file.read() == ""


@in_shell
def test_the_line_shows_no_control_characters(t, shell):
    """What a holder says of itself must not steer another's terminal."""
    os.symlink("/usr/bin/sleep", t.path("\x1b[31mred\u009b"))
    holder = t.start("lease", "run", "--coordinator", COORDINATOR, "job", "./\x1b[31mred\u009b", "1000")
    t.wait_until(lambda: not is_free(t, "job"), what="a holder")
    shell.lease("true")
    shell.expect(r"pid \d+ \(\./\?\[31mred\?\) s")
    shell.type("\x03")
    assert shell.sync() == 75
    holder.send_signal(signal.SIGTERM)


@in_shell
def test_not_had_is_said_on_a_terminal(t, shell):
    start_witness(t, "job")
    shell.lease("true", "-n")
    shell.expect("lease job: somebody else has it")
    assert shell.sync() == 1


if __name__ == "__main__":
    harness.main()
