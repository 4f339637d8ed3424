# SPDX-License-Identifier: Apache-2.0
"""A private PostgreSQL server in a temporary folder: loopback only, a free port, a random password.

It runs as the user postgres when this is root (the server refuses to run as root), is a child of
this process, and is stopped by its pid. Its settings suit a measurement on an ordinary machine;
durability is PostgreSQL's default: fsync and synchronous_commit are on.
"""
import contextlib
import glob
import os
import pwd
import random
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

SETTINGS = {
    "shared_buffers": "1GB",
    "max_wal_size": "8GB",
    "checkpoint_timeout": "1h",  # a round begins with a checkpoint; none comes within one
    "max_connections": "100",
    "fsync": "on",
    "synchronous_commit": "on",
    "shared_preload_libraries": "pg_stat_statements",
    "log_line_prefix": "",
}
TICK = os.sysconf("SC_CLK_TCK")


def find_programs():
    """The folder of the newest server's programs, as Debian lays them out, or on the PATH."""
    folders = glob.glob("/usr/lib/postgresql/*/bin")
    folders.sort(key=lambda name: int(re.search(r"/(\d+)/bin$", name).group(1)))
    if folders:
        return folders[-1]
    found = shutil.which("postgres")
    if not found:
        sys.exit("PostgreSQL's server is missing: apt-get install postgresql")
    return os.path.dirname(os.path.realpath(found))


def free_port():
    """Below the ports that connections are given, so that a stopped server's stays free."""
    for port in random.SystemRandom().sample(range(20000, 32000), 100):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    sys.exit("no free port between 20000 and 32000")


def times(pid):
    """(parent, own seconds, seconds of children that were waited for) of a process, or None."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            fields = file.read().rsplit(")", 1)[1].split()
    except OSError:
        return None
    return int(fields[1]), sum(map(int, fields[11:13])) / TICK, sum(map(int, fields[13:15])) / TICK


class Server:
    """Use it as a context manager: made and started on the way in, stopped and removed on the
    way out."""

    def __init__(self, settings=None):
        self.programs = find_programs()
        self.settings = dict(SETTINGS, **(settings or {}))
        self.user = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
        self.folder = tempfile.mkdtemp(prefix="onerow-postgres-")
        self.data = os.path.join(self.folder, "data")
        self.log = os.path.join(self.folder, "log")
        self.password = secrets.token_hex(16)
        self.port = free_port()
        self.process = None
        # What libpq's clients need besides a URL.
        self.environment = {"PGUSER": "postgres", "PGPASSWORD": self.password}

    def url(self, database="postgres", scheme="postgres"):
        """Without the password, which is in the environment."""
        return f"{scheme}://127.0.0.1:{self.port}/{database}"

    def program(self, name):
        return os.path.join(self.programs, name)

    def as_owner(self, command, **options):
        """Starts a program as the user that owns the data; it stops when this process dies."""
        who = []
        if os.geteuid() == 0:
            owner = pwd.getpwnam(self.user)
            who = [f"--reuid={owner.pw_uid}", f"--regid={owner.pw_gid}", "--clear-groups"]
        return subprocess.Popen(["setpriv", *who, "--pdeathsig=QUIT", "--", *command],
                                cwd=self.folder, stdin=subprocess.DEVNULL, **options)

    def owner_runs(self, *command):
        process = self.as_owner(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                text=True)
        output, _ = process.communicate()
        if process.returncode != 0:
            raise SystemExit(f"{' '.join(command)}: exit {process.returncode}\n{output}")

    def make(self):
        secret = os.path.join(self.folder, "password")
        with open(secret, "w", encoding="utf-8") as file:
            file.write(self.password)
        if os.geteuid() == 0:
            owner = pwd.getpwnam(self.user)
            for name in (self.folder, secret):
                os.chown(name, owner.pw_uid, owner.pw_gid)
        os.chmod(secret, 0o600)
        self.owner_runs(self.program("initdb"), "-D", self.data, "-U", "postgres", "-E", "UTF8",
                        "--locale=C.UTF-8", "-A", "scram-sha-256", f"--pwfile={secret}", "--no-sync")
        os.remove(secret)

    def command(self):
        settings = dict(self.settings, listen_addresses="127.0.0.1", port=self.port,
                        unix_socket_directories=self.folder)
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return [self.program("postgres"), "-D", self.data, *options]

    def start(self, seconds=60):
        with open(self.log, "ab") as log:
            self.process = self.as_owner(self.command(), stdout=log, stderr=log,
                                         start_new_session=True)
        end = time.monotonic() + seconds
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > end:
                self.stop()
                with open(self.log, encoding="utf-8", errors="replace") as file:
                    raise SystemExit(f"the PostgreSQL server did not start:\n{file.read()[-2000:]}")
            time.sleep(0.02)

    def answers(self):
        return subprocess.run([self.program("pg_isready"), "-q", "-h", "127.0.0.1",
                               "-p", str(self.port)], check=False).returncode == 0

    def stop(self, how=signal.SIGINT):
        """SIGINT is pg_ctl's -m fast, SIGQUIT its -m immediate."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(how)
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def __enter__(self):
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the server is stopped
        try:
            self.make()
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.stop(signal.SIGQUIT)  # nothing of it is kept
        shutil.rmtree(self.folder, ignore_errors=True)

    def cpu(self, without=()):
        """CPU seconds that the server's processes have used, dead ones included. A process that ends
        meanwhile would be counted twice or not at all; it is counted again then."""
        while True:
            own = times(self.process.pid)
            found = [(pid, times(pid)) for pid in map(int, filter(str.isdigit, os.listdir("/proc")))
                     if pid not in without]
            if times(self.process.pid)[2] == own[2]:
                return own[1] + own[2] + sum(
                    one[1] for _, one in found if one and one[0] == self.process.pid)
