# SPDX-License-Identifier: Apache-2.0
"""A PostgreSQL server of the tests' own, a proxy that cuts connections, and a pgbouncer.

Everything lives in a temporary folder, listens on the loopback alone, belongs to an unprivileged
user, is stopped by its pid, and does not outlive the test. A part that is missing is a failure.

    postgres.py --serve    starts a server for tests in another language: prints its URL, and stops
                           the server when its standard input ends
"""
import atexit
import collections
import contextlib
import functools
import glob
import os
import platform
import pwd
import random
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

import harness

PORTS = range(20000, 32000)  # below those that connections are given: a stopped server's stays free
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "shared_buffers": "64MB",
    "max_connections": "100",
    "log_line_prefix": "%m [%p] ",
    "log_checkpoints": "off",
}
FIELD, RECORD = "\x1f", "\x1e"
EXTRA_VERSIONS = os.path.join(os.environ.get("ONEROW_SOURCE_ROOT") or os.path.abspath("."),
                              "build", "deps", "postgres")
VERSIONS = (16, 17, 18) if platform.machine() == "aarch64" else (13, 14, 16, 17, 18)


for variable in [name for name in os.environ if name.startswith("PG")]:
    del os.environ[variable]  # they would send clients elsewhere than a test says


# ---- programs and processes ---------------------------------------------------------------------

def programs(version=None):
    """The folder of a server's programs: the distribution's, or a version of scripts/setup's."""
    if version:
        folder = os.path.join(EXTRA_VERSIONS, str(version), "bin")
        assert os.path.exists(os.path.join(folder, "postgres")), \
            f"PostgreSQL {version} is missing in {folder}: run scripts/setup"
        return folder
    folders = glob.glob("/usr/lib/postgresql/*/bin/postgres")
    if folders:
        return os.path.dirname(max(folders, key=lambda path: int(path.split("/")[4])))
    return os.path.dirname(os.path.realpath(harness.need("postgres", "postgresql")))


def owner():
    """Who runs servers: PostgreSQL and pgbouncer refuse root."""
    if os.geteuid() != 0:
        return pwd.getpwuid(os.geteuid())
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise AssertionError("no unprivileged user: apt-get install postgresql")


def as_owner(*command):
    """A command under the owner's name; it is told to stop when this process dies."""
    who = []
    if os.geteuid() == 0:
        who = [f"--reuid={owner().pw_uid}", f"--regid={owner().pw_gid}", "--clear-groups"]
    return [harness.need("setpriv", "util-linux"), *who, "--pdeathsig=QUIT", "--", *command]


def give_to_owner(path):
    if os.geteuid() == 0:
        os.chown(path, owner().pw_uid, owner().pw_gid)


def reachable(path):
    """The owner may go down to the path."""
    while os.geteuid() == 0 and path != "/":
        if not os.stat(path).st_mode & 0o001:
            return False
        path = os.path.dirname(path)
    return True


running = []  # everything that has a stop(), youngest last


@atexit.register
def stop_all():
    while running:
        running[-1].remove()


def stop_on_signals():
    def stop(number, _):
        stop_all()
        os._exit(128 + number)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)


class Daemon:
    """A process of the owner's, in a folder of its own, with a port and a log."""

    def __init__(self, prefix):
        self.folder = tempfile.mkdtemp(prefix=f"onerow-{prefix}-")
        give_to_owner(self.folder)
        self.log = os.path.join(self.folder, "log")
        self.port = None
        self.process = None
        running.append(self)
        if threading.current_thread() is threading.main_thread():
            stop_on_signals()

    def path(self, *parts):
        return os.path.join(self.folder, *parts)

    def write(self, name, content):
        with open(self.path(name), "w", encoding="utf-8") as file:
            file.write(content)
        give_to_owner(self.path(name))
        return self.path(name)

    def spawn(self, *command):
        """Only from the main thread: the kernel takes the end of a thread for the parent's death."""
        assert threading.current_thread() is threading.main_thread()
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(as_owner(*command), cwd=self.folder, stdout=log,
                                            stderr=log, stdin=subprocess.DEVNULL,
                                            start_new_session=True)

    def logged(self):
        with open(self.log, encoding="utf-8", errors="replace") as file:
            return file.read()

    def told(self):
        """The end of the log, for messages."""
        return self.logged()[-4000:]

    def start(self, seconds=60):
        """Starts it and waits until it answers; another port is taken while it never had one."""
        fixed, end = self.port, time.monotonic() + seconds
        while True:
            self.port = fixed or random.SystemRandom().choice(PORTS)
            self.spawn(*self.command())
            while self.process.poll() is None and time.monotonic() < end:
                if self.answers():
                    return self
                time.sleep(0.005)
            self.signal(signal.SIGKILL)
            assert time.monotonic() < end and re.search("in use|still", self.told()), self.told()
            time.sleep(0.02)

    def signal(self, number):
        """Sends a signal and waits for the end."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(number)
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise AssertionError(f"it did not stop:\n{self.told()}") from None

    def kill(self):
        self.signal(signal.SIGKILL)

    def remove(self):
        with contextlib.suppress(AssertionError):
            self.signal(signal.SIGQUIT)
        if self in running:
            running.remove(self)
        shutil.rmtree(self.folder, ignore_errors=True)


# ---- the server ---------------------------------------------------------------------------------

class Server(Daemon):
    """A PostgreSQL server; `version` names one of scripts/setup's instead of the distribution's."""

    STOPS = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}

    def __init__(self, version=None, copy_of=None, **settings):
        super().__init__("postgres")
        self.programs = programs(version)
        if not reachable(self.programs):
            tree = shutil.copytree(os.path.dirname(self.programs), self.path("pg"), symlinks=True)
            self.programs = os.path.join(tree, "bin")
        self.settings = dict(SETTINGS, unix_socket_directories=self.folder, **settings)
        self.databases = 0
        self.data = self.path("data")
        if copy_of:
            self.follow(copy_of)
        else:
            self.run("initdb", "-D", self.data, "-U", "postgres", "-E", "UTF8", "--locale=C.UTF-8",
                     "-A", "trust", "--no-sync")
        self.start()

    def run(self, program, *arguments):
        """One of the server's own programs, under the owner's name."""
        answer = subprocess.run(as_owner(os.path.join(self.programs, program), *arguments),
                                capture_output=True, text=True, cwd=self.folder, check=False)
        assert answer.returncode == 0, f"{program}: {answer.stdout}{answer.stderr}"

    def follow(self, primary):
        """Becomes a standby of another server."""
        self.run("pg_basebackup", "-D", self.data, "-d", primary.url("postgres"), "-R", "-X",
                 "stream", "-c", "fast", "--no-sync")

    def command(self):
        options = [word for name, value in dict(self.settings, port=self.port).items()
                   for word in ("-c", f"{name}={value}")]
        return [os.path.join(self.programs, "postgres"), "-D", self.data, *options]

    def answers(self):
        """As pg_ctl sees it: the server's own file says so."""
        try:
            with open(os.path.join(self.data, "postmaster.pid"), encoding="utf-8") as file:
                lines = file.read().split("\n")
        except FileNotFoundError:
            return False
        return (lines[0] == str(self.process.pid) and len(lines) > 7
                and lines[7].strip() in ("ready", "standby"))

    def stop(self, mode="fast"):
        self.signal(self.STOPS[mode])

    def restart(self, mode="immediate"):
        """`immediate` is a crash; so is `kill`, which leaves not even the postmaster a chance."""
        if mode == "kill":
            self.kill()
        else:
            self.stop(mode)
        self.start()

    def crash_backend(self):
        """kill -9 of one backend: the server restarts itself, and its start time stays."""
        with self.connect() as victim:
            before = self.logged().count("all server processes terminated")
            os.kill(victim.info.backend_pid, signal.SIGKILL)
            self.wait(lambda: self.logged().count("all server processes terminated") > before)
            self.wait(lambda: self.try_sql("SELECT 1"))

    def promote(self):
        self.run("pg_ctl", "promote", "-w", "-D", self.data)

    def require_password(self, role, password):
        """A role that may log in with its password alone."""
        self.sql("postgres", f"CREATE ROLE {role} LOGIN PASSWORD '{password}'")
        path = os.path.join(self.data, "pg_hba.conf")
        with open(path, encoding="utf-8") as file:
            rules = file.read()
        with open(path, "w", encoding="utf-8") as file:
            file.write(f"host all {role} 127.0.0.1/32 scram-sha-256\n{rules}")
        self.sql("postgres", "SELECT pg_reload_conf()")
        self.wait(lambda: self.count("postgres", "SELECT count(*) FROM pg_hba_file_rules "
                                     "WHERE auth_method = 'scram-sha-256'"))

    def wait(self, condition, seconds=60):
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, self.told()
            time.sleep(0.005)

    # -- its databases

    def url(self, database="postgres", port=None, scheme="postgres"):
        return f"{scheme}://postgres@127.0.0.1:{port or self.port}/{urllib.parse.quote(database)}"

    def database(self, *statements):
        """A fresh database, with what the statements make in it; its name."""
        self.databases += 1
        name = f"test{self.databases}"
        self.sql("postgres", f"CREATE DATABASE {name}")
        for statement in statements:
            self.sql(name, statement)
        return name

    def psql(self, database, statement):
        return self.psql_at(self.url(database), statement)

    @staticmethod
    def psql_at(url, statement):
        """The finished psql: returncode, stdout and stderr."""
        client = harness.need("psql", "postgresql-client")
        return subprocess.run([client, "-X", "-q", "-A", "-t", "-F", FIELD, "-R", RECORD, "-v",
                               "ON_ERROR_STOP=1", "-d", url, "-c", statement],
                              capture_output=True, text=True, check=False)

    def sql(self, database, statement):
        """Rows of a statement, asked through psql; each a list of texts."""
        answer = self.psql(database, statement)
        assert answer.returncode == 0, f"{statement}: {answer.stderr}\n{self.told()}"
        rows = answer.stdout.removesuffix("\n").split(RECORD) if answer.stdout else []
        return [row.split(FIELD) for row in rows]

    def try_sql(self, statement, database="postgres"):
        return self.psql(database, statement).returncode == 0

    def count(self, database, statement):
        return int(self.sql(database, statement)[0][0])

    def connect(self, database="postgres", **options):
        """A psycopg connection without a transaction of its own; closed at the end of `with`."""
        try:
            import psycopg
        except ImportError:
            raise AssertionError("psycopg is missing: apt-get install python3-psycopg") from None
        options.setdefault("autocommit", True)
        return contextlib.closing(psycopg.connect(self.url(database), **options))


@functools.cache
def shared():
    """The server that the tests of one file share."""
    return Server()


# ---- what put tells -----------------------------------------------------------------------------

def put(t, records, *options):
    """Puts records into table t of the configuration; (outcome, reason) of each, in the order of the
    input."""
    return put_file(t, t.ndjson("in.ndjson", records), *options)


def put_file(t, path, *options):
    result = t.onerow("put", "t", "--results", "R", *options, path)
    assert result.code in (0, 1), result
    lines = sorted(t.results("R"), key=lambda line: line["line"])
    return [(line["outcome"], line["reason"]) for line in lines]


def outcomes(told):
    return [outcome for outcome, _ in told]


# ---- the proxy ----------------------------------------------------------------------------------

Message = collections.namedtuple("Message", "kind data sql")

SSL_REQUEST, GSS_REQUEST, CANCEL_REQUEST = 80877103, 80877104, 80877102
PLACES = ("before", "inside", "after", "reply", "swallowed")


def is_commit(message):
    return bool(message.sql and re.match(r"\s*(COMMIT|END)\b", message.sql, re.I))


def carries(pattern):
    """Messages that run a statement which the pattern matches."""
    return lambda message: bool(message.sql and re.search(pattern, message.sql, re.I))


class Cut:
    """One cut of a connection, at a message of the client that runs a statement:

    before      the message is not forwarded
    inside      its first bytes are
    after       it is, up to the end of its pipeline, and nothing of the reply comes back
    reply       some bytes of the reply come back
    swallowed   the server has sent the whole reply, and nothing of it comes back

    When the place is reached, the server sees the end of the connection at once; the client sees it
    at release(), so that a test can do something in between.
    """

    def __init__(self, place, match, nth, size):
        assert place in PLACES, place
        self.place, self.match, self.left, self.size = place, match, nth, size
        self.reached = threading.Event()
        self.released = threading.Event()
        self.answered = threading.Event()  # the server's whole reply has been seen
        self.resumed = False

    def wait(self, seconds=60):
        assert self.reached.wait(seconds), f"the place \"{self.place}\" was not reached"
        return self

    def release(self):
        self.released.set()

    def resume(self):
        """Instead of a cut (before only): everything goes on."""
        assert self.place == "before"
        self.resumed = True
        self.released.set()


class Gone(Exception):
    """One of the two ends has closed, or the connection was cut."""


class Connection:
    """One client's connection through the proxy: two threads, one for each direction."""

    def __init__(self, proxy, client):
        self.proxy, self.client = proxy, client
        self.server = None
        self.statements, self.portals = {}, {}
        self.cut = None       # once reached: nothing more goes to the client
        self.allowed = 0      # bytes of the reply that still go there
        self.budget = proxy.draw_budget()
        threading.Thread(target=self.upwards, daemon=True).start()

    # -- bytes

    @staticmethod
    def read(end, size):
        data = b""
        while len(data) < size:
            got = end.recv(size - len(data))
            if not got:
                raise Gone
            data += got
        return data

    def spend(self, end, data):
        """Sends, unless the connection's random budget ends within these bytes."""
        if self.budget is not None:
            sent, self.budget = data[:max(self.budget, 0)], self.budget - len(data)
            if self.budget < 0:
                end.sendall(sent)
                self.proxy.random_cuts += 1
                raise Gone
        end.sendall(data)

    def close(self):
        """Both ends; what the server has been sent it may still read."""
        for end in (self.client, self.server):
            if end:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_WR if end is self.server else socket.SHUT_RDWR)
        self.client.close()

    # -- client to server

    def upwards(self):
        with contextlib.suppress(Gone, OSError):
            self.server = socket.create_connection(("127.0.0.1", self.proxy.target))
            for end in (self.client, self.server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.start_up():
                threading.Thread(target=self.downwards, daemon=True).start()
                while True:
                    self.message()
        self.close()
        self.proxy.connections.discard(self)

    def start_up(self):
        """Forwards the start-up packet; encryption is declined. False: it was no session."""
        while True:
            head = self.read(self.client, 8)
            size, code = struct.unpack("!II", head)
            rest = self.read(self.client, size - 8)
            if code not in (SSL_REQUEST, GSS_REQUEST):
                self.server.sendall(head + rest)
                return code != CANCEL_REQUEST
            self.client.sendall(b"N")

    def message(self):
        message = self.next_message()
        cut = self.proxy.claim(message)
        if not cut:
            self.spend(self.server, message.data)
        elif cut.place == "before":
            self.reach(cut)
            self.server.sendall(message.data)  # resumed
        elif cut.place == "inside":
            self.cut = cut
            self.server.sendall(message.data[:min(cut.size, len(message.data) - 1)])
            self.reach(cut)
        else:
            self.after(cut, message)

    def after(self, cut, message):
        """The rest of the pipeline goes to the server; what comes back is downwards' affair."""
        self.allowed = cut.size if cut.place == "reply" else 0
        self.cut = cut
        while True:
            self.server.sendall(message.data)
            if message.kind in b"QS":
                break
            message = self.next_message()
        if cut.place == "after":
            self.reach(cut)
        cut.reached.wait()
        self.reach(cut)

    def reach(self, cut):
        """Holds the client; the server is told the end, unless all may yet go on."""
        self.cut = cut
        if cut.place != "before":
            self.server.shutdown(socket.SHUT_WR)
        cut.reached.set()
        cut.released.wait()
        if not cut.resumed:
            raise Gone
        self.cut = None

    def next_message(self):
        head = self.read(self.client, 5)
        body = self.read(self.client, struct.unpack("!I", head[1:])[0] - 4)
        return Message(head[:1], head + body, self.statement_of(head[:1], body))

    def statement_of(self, kind, body):
        """The statement that a message runs; a pipeline names it in three messages."""
        parts = body.split(b"\0", 2)
        if kind == b"Q":
            return parts[0].decode(errors="replace")
        if kind == b"P":
            self.statements[parts[0]] = parts[1].decode(errors="replace")
        elif kind == b"B":
            self.portals[parts[0]] = self.statements.get(parts[1], "")
        elif kind == b"E":
            return self.portals.get(parts[0])
        return None

    # -- server to client

    def downwards(self):
        with contextlib.suppress(Gone, OSError):
            while True:
                head = self.read(self.server, 5)
                self.answer(head + self.read(self.server, struct.unpack("!I", head[1:])[0] - 4))
        if self.cut:
            self.cut.answered.set()  # there will be no more of it
            self.cut.reached.set()
        else:
            self.close()

    def answer(self, data):
        cut = self.cut
        if not cut:
            self.spend(self.client, data)
            return
        if self.allowed:
            self.client.sendall(data[:self.allowed])
            self.allowed -= min(self.allowed, len(data))
        if data[:1] == b"Z":
            cut.answered.set()
        if cut.place == "reply" and not self.allowed or cut.answered.is_set():
            cut.reached.set()


class Proxy:
    """Stands between clients and a server, understands the protocol's framing, and cuts.

    `target` may be changed at any time: new connections go there. With `budgets`, each connection is
    cut after a random number of bytes, whatever they are.
    """

    def __init__(self, target):
        self.target = target.port if isinstance(target, Daemon) else target
        self.lock = threading.Lock()
        self.cuts, self.notices, self.connections = [], [], set()
        self.dice, self.largest, self.random_cuts = None, 0, 0
        self.listening = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self.listening.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listening.accept()
                self.connections.add(Connection(self, client))

    def cut(self, place, match=is_commit, nth=1, size=1):
        """Arms a cut at the n-th message from now on that matches; size: bytes, where it counts."""
        cut = Cut(place, match, nth, size)
        with self.lock:
            self.cuts.append(cut)
        return cut

    def notice(self, match):
        """An event that is set once a message matches."""
        event = threading.Event()
        with self.lock:
            self.notices.append((match, event))
        return event

    def claim(self, message):
        """The armed cut whose turn a message is, or None."""
        with self.lock:
            for match, event in self.notices:
                if match(message):
                    event.set()
            for cut in self.cuts:
                if cut.match(message):
                    cut.left -= 1
                    if cut.left == 0:
                        self.cuts.remove(cut)
                        return cut
        return None

    def cut_at_random(self, dice, largest):
        """From now on a new connection lives for at most `largest` bytes; 0: for good."""
        with self.lock:
            self.dice, self.largest = random.Random(dice.random()), largest

    def draw_budget(self):
        with self.lock:
            return self.dice.randrange(self.largest) if self.largest else None

    def close(self):
        self.listening.close()
        for connection in list(self.connections):
            connection.close()


# ---- pgbouncer ----------------------------------------------------------------------------------

class Pgbouncer(Daemon):
    """In transaction mode, with a few connections to the server."""

    def __init__(self, server, size=2):
        super().__init__("pgbouncer")
        self.server, self.size = server, size
        self.program = shutil.which("pgbouncer", path=os.environ["PATH"] + ":/usr/sbin")
        assert self.program, "pgbouncer is missing: apt-get install pgbouncer"
        self.start()

    def command(self):
        self.write("pgbouncer.ini", f"""[databases]
* = host=127.0.0.1 port={self.server.port} user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {self.port}
unix_socket_dir = {self.folder}
auth_type = any
pool_mode = transaction
default_pool_size = {self.size}
max_client_conn = 100
server_login_retry = 1
""")
        return [self.program, self.path("pgbouncer.ini")]

    def answers(self):
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port)).close()
            return True
        return False

    def url(self, database):
        return self.server.url(database, self.port)


def serve():
    server = Server()
    print(server.url("postgres"), flush=True)
    sys.stdin.read()


if __name__ == "__main__" and sys.argv[1:] == ["--serve"]:
    serve()
