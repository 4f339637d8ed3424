# SPDX-License-Identifier: Apache-2.0
"""Running the ways to write, ours and the peers', and what each of them cost.

A measurement is a dictionary: rows, seconds, server_cpu and client_cpu (seconds), statements,
errors (by name), and, where a way tells them, latencies of single transactions (seconds).
"""
import contextlib
import json
import os
import re
import resource
import subprocess
import sys
import time

import psycopg

import data

PEERS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "peers")
PROCESSES = 8
TABLE = "CREATE TABLE {} (k text PRIMARY KEY, v jsonb NOT NULL)"


def children_cpu():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


class Bench:
    """Where things are and how large they are to be."""

    def __init__(self, server, place, onerow, scale):
        self.server = server
        self.place = place
        self.onerow = onerow
        self.seconds = max(1, round(4 * min(1, scale)))   # of a pgbench run
        self.rows = max(2000, int(100000 * scale))        # of the large table
        self.keys = max(1000, int(10000 * min(1, scale))) # that 8 processes share
        self.alone = max(100, int(1000 * scale))          # written by one slow process
        self.slow = max(50, int(500 * scale))             # by each of 8 slow processes
        self.burst = max(25, int(150 * scale))            # new keys that all 8 write at once
        self.memory_records = int(os.environ.get("BENCH_MEMORY", max(20000, 1000000 * scale)))
        self.environment = dict(os.environ, **server.environment,
                                ONEROW_STATE=os.path.join(place, "state"))
        self.environment.pop("DATABASE_URL", None)
        os.environ.update(server.environment)
        psycopg.connect(server.url(), autocommit=True).execute("CREATE DATABASE bench")
        self.control = psycopg.connect(server.url("bench"), autocommit=True)
        self.control.execute("CREATE EXTENSION pg_stat_statements")
        self.control.execute("SET pg_stat_statements.track = 'none'")
        self.statements = {}

    def path(self, name):
        return os.path.join(self.place, name)

    def url(self, scheme="postgres"):
        return self.server.url("bench", scheme)

    # ---- tables and records ---------------------------------------------------------------

    def prepare(self):
        large, shared = range(self.rows), range(self.keys)
        self.base = data.Records(self.place, "base", large, data.first, 1)
        self.changed = data.Records(self.place, "changed", large, data.all_changed, 2)
        self.same = data.Records(self.place, "same", large, data.tenth_changed, 3)
        self.shares = [data.Records(self.place, f"share-{worker}", shared,
                                    lambda _, version=worker: version, worker)
                       for worker in range(PROCESSES)]
        burst = range(self.rows, self.rows + self.burst)
        self.new = data.Records(self.place, "burst", burst, data.first, 4)
        self.control.execute("CREATE TABLE filled (k text, v jsonb)")
        with self.control.cursor().copy("COPY filled FROM STDIN") as copy, \
                open(self.base.tsv, "rb") as file:
            while block := file.read(1 << 20):
                copy.write(block)
        self.learn_statements()

    def empty(self):
        self.control.execute("DROP TABLE IF EXISTS items")
        self.control.execute(TABLE.format("items"))

    def full(self):
        """Every key is there, in a heap whose order is not that of the keys."""
        self.control.execute("DROP TABLE IF EXISTS items")
        self.control.execute("CREATE TABLE items AS TABLE filled")
        self.control.execute("ALTER TABLE items ADD PRIMARY KEY (k), ALTER v SET NOT NULL")
        self.control.execute("VACUUM (ANALYZE) items")

    def expect(self, rows, changed=None):
        """What is in the table afterwards: a way that loses rows is no peer."""
        seen = self.control.execute(
            "SELECT count(*), count(*) FILTER (WHERE v->>'worker' = '1') FROM items").fetchone()
        if seen[0] != rows or changed not in (None, seen[1]):
            raise SystemExit(f"bench: {seen[0]} rows, {seen[1]} of them changed; there should be "
                             f"{rows} and {changed}")

    # ---- measuring --------------------------------------------------------------------------

    def alone_there(self):
        """Waits until the measured connections are gone: their CPU time is complete then."""
        end = time.monotonic() + 30
        while self.control.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' "
                "AND pid <> pg_backend_pid()").fetchone()[0]:
            if time.monotonic() > end:
                raise SystemExit("bench: a connection was left behind")
            time.sleep(0.01)

    @contextlib.contextmanager
    def watched(self):
        """Adds what the server did meanwhile to the dictionary that it gives."""
        figures = {}
        self.alone_there()
        self.control.execute("SELECT pg_stat_statements_reset()")
        without = (self.control.info.backend_pid,)
        cpu = self.server.cpu(without)
        yield figures
        self.alone_there()
        figures["server_cpu"] = self.server.cpu(without) - cpu
        figures["statements"] = int(self.control.execute(
            "SELECT coalesce(sum(calls), 0) FROM pg_stat_statements").fetchone()[0])

    def start(self, command, out, **options):
        return subprocess.Popen(command, stdout=out, stderr=out, env=self.environment, **options)

    def commands(self, commands):
        """Runs whole commands at the same time: seconds from the first one's start to the last
        one's end, CPU seconds of all, and what each of them printed."""
        outs = [open(self.path(f"out-{i}"), "w+", encoding="utf-8") for i in range(len(commands))]
        with self.watched() as figures:
            cpu, start = children_cpu(), time.perf_counter()
            running = [self.start(command, out, stdin=subprocess.DEVNULL)
                       for command, out in zip(commands, outs)]
            codes = [process.wait() for process in running]
            figures["seconds"] = time.perf_counter() - start
            figures["client_cpu"] = children_cpu() - cpu
        printed = []
        for out in outs:
            out.seek(0)
            printed.append(out.read())
            out.close()
        return figures, codes, printed

    # ---- ours ---------------------------------------------------------------------------------

    def put_command(self, path, *options):
        return [self.onerow, "put", "--store", self.url(), "--table", "items", "--key", "k",
                "--json", *options, path]

    def put(self, paths, *options):
        """One onerow put for each file, all at once."""
        figures, codes, printed = self.commands(
            [self.put_command(path, *options) for path in paths])
        told = [json.loads(text.splitlines()[-1]) for text in printed if text.startswith("{")]
        if any(codes) or len(told) != len(paths):
            raise SystemExit(f"bench: onerow put: exit {codes}\n" + "\n".join(printed))
        figures["rows"] = sum(one["read"] for one in told)
        figures["errors"] = {name: sum(one[name] for one in told)
                             for name in ("rejected", "unknown") if any(one[name] for one in told)}
        figures["told"] = told
        for name in ("p50", "p99"):  # of transactions; of several processes the slowest one's
            figures[name] = max(one["latency_us"][name] for one in told) / 1e6
        return figures

    def learn_statements(self):
        """The texts that put sends for batches of 1,000, from the server's log."""
        for name, records in (("changed", self.changed), ("same", self.same)):
            self.full()
            for setting in ("log_statement = 'all'", "log_parameter_max_length = 0"):
                self.control.execute(f"ALTER DATABASE bench SET {setting}")
            begin = os.path.getsize(self.server.log)
            self.put([records.ndjson], "--batch", "1000")
            self.control.execute("ALTER DATABASE bench RESET ALL")
            with open(self.server.log, encoding="utf-8", errors="replace") as log:
                log.seek(begin)
                sent = re.findall(r"^LOG:  (?:execute \S+|statement): (INSERT.*(?:\n\t.*)*)",
                                  log.read(), re.MULTILINE)
            sent = [text.replace("\n\t", "\n") for text in sent
                    if "unnest(" in text and "ON CONFLICT" in text]
            if not sent:
                raise SystemExit("bench: put's statement is not in the server's log")
            self.statements[name] = self.path(f"put-{name}.sql")
            with open(self.statements[name], "w", encoding="utf-8") as file:
                file.write(sent[-1])

    # ---- peers ----------------------------------------------------------------------------------

    def python(self, script, *argument_lists):
        """Python peers, all at once; each begins when all are ready."""
        running = [subprocess.Popen([sys.executable, os.path.join(PEERS, script), *arguments],
                                    stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                    stderr=open(self.path("err"), "ab"), text=True,
                                    env=self.environment) for arguments in argument_lists]
        for process in running:
            if process.stdout.readline() != "ready\n":
                raise SystemExit(f"bench: {script} did not begin; see {self.path('err')}")
        return running

    def finish(self, running):
        """Lets them begin; the lines that each of them printed."""
        for process in running:
            process.stdin.close()
            process.stdin = None
        lines = [process.communicate()[0].splitlines() for process in running]
        if any(process.returncode for process in running):
            raise SystemExit(f"bench: a peer failed; see {self.path('err')}")
        return [[json.loads(line) for line in one] for one in lines]

    def sqlalchemy(self, script, records, limit, burst=1):
        """A process for each set of records; or, in a burst, workers that are given each record in
        the same moment."""
        url = self.url("postgresql+psycopg")
        running = self.python(script, *[(url, one.ndjson, str(limit), str(burst))
                                        for one in records])
        # The connections are there already, so the server is watched around them.
        self.control.execute("SELECT pg_stat_statements_reset()")
        without = (self.control.info.backend_pid,)
        cpu = self.server.cpu(without)
        told = [one[0] for one in self.finish(running)]
        self.alone_there()
        errors = {}
        for one in told:
            for name, count in one["errors"].items():
                errors[name] = errors.get(name, 0) + count
        return {"rows": sum(one["rows"] for one in told), "errors": errors,
                "seconds": max(one["seconds"] for one in told),
                "client_cpu": sum(one["cpu"] for one in told),
                "server_cpu": self.server.cpu(without) - cpu,
                "statements": int(self.control.execute(
                    "SELECT sum(calls) FROM pg_stat_statements").fetchone()[0]),
                "latencies": [value for one in told for value in one["latencies"]]}

    def pgbench(self, clients):
        log = self.path("pgbench_log")
        figures, codes, printed = self.commands([[
            self.server.program("pgbench"), "-n", "-M", "prepared", "-c", str(clients),
            "-j", str(min(clients, 2)), "-T", str(self.seconds), "-D", f"keys={self.rows}",
            "-f", os.path.join(PEERS, "pgbench.sql"), "-l", f"--log-prefix={log}",
            "--sampling-rate=0.1", self.url()]])
        found = re.search(r"actually processed: (\d+).*?tps = ([\d.]+)", printed[0], re.DOTALL)
        if codes[0] or not found:
            raise SystemExit(f"bench: pgbench: exit {codes[0]}\n{printed[0]}")
        figures["rows"] = int(found.group(1))
        figures["seconds"] = figures["rows"] / float(found.group(2))  # without connecting
        figures["errors"] = {}
        figures["latencies"] = []
        for name in os.listdir(self.place):
            if name.startswith("pgbench_log"):
                with open(self.path(name), encoding="utf-8") as file:
                    figures["latencies"] += [int(line.split()[2]) / 1e6 for line in file]
                os.remove(self.path(name))
        return figures

    def psql(self, script, rows):
        with open(self.path("staging.sql"), "w", encoding="utf-8") as file:
            file.write(script)
        figures, codes, printed = self.commands([[
            "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", self.url(),
            "-f", self.path("staging.sql")]])
        if codes[0]:
            raise SystemExit(f"bench: psql: exit {codes[0]}\n{printed[0]}")
        return dict(figures, rows=rows, errors={})

    def unnest(self, statement, records):
        figures, codes, printed = self.commands([[
            self.path("unnest"), self.url(), records.tsv, "1000", statement]])
        if codes[0]:
            raise SystemExit(f"bench: unnest: exit {codes[0]}\n{printed[0]}")
        told = json.loads(printed[0])
        return dict(figures, rows=told["rows"], seconds=told["seconds"], client_cpu=told["cpu"],
                    errors={}, latencies=told["latencies"])

    def dlt(self, *records):
        """A measurement for each set of records, in turn."""
        credentials = (f"postgresql://postgres:{self.server.password}@127.0.0.1:"
                       f"{self.server.port}/bench")
        self.control.execute("DROP SCHEMA IF EXISTS dlt_bench CASCADE")
        self.control.execute("DROP SCHEMA IF EXISTS dlt_bench_staging CASCADE")
        running = self.python("dlt_merge.py", (credentials, self.path("dlt"),
                                               *[one.ndjson for one in records]))
        with self.watched() as figures:
            told = self.finish(running)[0]
        rows = sum(one["rows"] for one in told)
        seen = self.control.execute("SELECT count(*) FROM dlt_bench.items").fetchone()[0]
        if seen != self.rows:
            raise SystemExit(f"bench: dlt left {seen} rows of {self.rows}")
        return [{"rows": one["rows"], "seconds": one["seconds"], "client_cpu": one["cpu"],
                 "errors": {}, # the server's work is known for all loads together
                 "server_cpu": figures["server_cpu"] * one["rows"] / rows,
                 "statements": figures["statements"] * one["rows"] / rows} for one in told]
