# SPDX-License-Identifier: Apache-2.0
"""The measurements: each round runs every one of them once, ours and its peer in turn."""
import json
import os
import subprocess
import time

PROCESSES = 8
SCHEMA = """
PRAGMA journal_mode=WAL;
CREATE TABLE items (name TEXT NOT NULL, worker INTEGER, city TEXT, price NUMERIC, stock INTEGER,
                    note TEXT, seen TIMESTAMP);
CREATE UNIQUE INDEX items_name ON items (name);
"""


class Bench:
    """Where things are and how large they are to be."""

    def __init__(self, place, onerow, scale):
        self.place = place
        self.onerow = onerow
        self.scale = scale
        self.seconds = max(0.5, 3 * min(1, scale))   # of a measurement by the clock
        self.shared_keys = self.scaled(66667)        # each given to 3 of 8 processes: 8 x 25,000
        self.bulk_records = self.scaled(1000000)
        self.memory_records = self.scaled(10000000)

    def scaled(self, number):
        return max(1000, int(number * self.scale))

    def path(self, name):
        return os.path.join(self.place, name)

    def run(self, *command, **options):
        answer = subprocess.run(command, text=True, capture_output=True, check=False, **options)
        if answer.returncode != 0:
            raise SystemExit(f"bench: {' '.join(command)}: exit {answer.returncode}\n"
                             f"{answer.stdout}{answer.stderr}")
        return answer.stdout

    def database(self):
        """A new database with an empty table."""
        name = self.path("bench.db")
        for suffix in ("", "-wal", "-shm", "-journal", "-onerow"):
            if os.path.exists(name + suffix):
                os.remove(name + suffix)
        return name

    def table(self):
        name = self.database()
        self.run("sqlite3", name, SCHEMA)
        return name

    def count(self, database):
        rows, keys = self.run(
            "sqlite3", database, "SELECT count(*), count(DISTINCT name) FROM items").split("|")
        return int(rows), int(keys)

    def expect(self, database, rows):
        seen = self.count(database)
        if seen != (rows, rows):
            raise SystemExit(f"bench: {seen[0]} rows and {seen[1]} keys where {rows} should be")

    def generate(self, name, *arguments):
        with open(self.path(name), "wb") as file:
            subprocess.run([self.path("generate"), *map(str, arguments)], stdout=file, check=True)

    def prepare(self):
        for worker in range(PROCESSES):
            self.generate(f"share-{worker}.ndjson", self.shared_keys, 1, worker)
        self.generate("bulk.ndjson", self.bulk_records, 3)

    def put(self, database, file, *options):
        return [self.onerow, "put", "--store", "sqlite:" + database, "--table", "items",
                "--key", "name", *options, file]

    def together(self, commands, gated):
        """Runs commands at the same time: what they print, and the seconds they took."""
        pipe = subprocess.PIPE
        running = [subprocess.Popen(command, stdin=pipe if gated else subprocess.DEVNULL,
                                    stdout=pipe, stderr=pipe, text=True) for command in commands]
        start = time.perf_counter()
        for process in running if gated else []:  # all of them, before the first is waited for
            process.stdin.close()
            process.stdin = None
        outputs = [process.communicate() for process in running]
        seconds = time.perf_counter() - start
        for process, (out, err) in zip(running, outputs):
            if process.returncode != 0:
                raise SystemExit(f"bench: {' '.join(process.args)}: {out}{err}")
        return [out for out, _ in outputs], seconds


# ---- 8 processes -----------------------------------------------------------------------------

def share(bench, worker):
    return bench.path(f"share-{worker}.ndjson")


def shared_put(bench, *options):
    """Rows per second of 8 x onerow put."""
    database = bench.table()
    commands = [bench.put(database, share(bench, worker), *options) for worker in range(PROCESSES)]
    _, seconds = bench.together(commands, gated=False)
    bench.expect(database, bench.shared_keys)
    return 3 * bench.shared_keys / seconds


def shared_upsert(bench, rows, limit=0):
    """Rows per second of 8 peers with BEGIN IMMEDIATE and a busy timeout; limit: seconds after
    which they stop."""
    database = bench.table()
    commands = [[bench.path("peer_sqlite"), database, "upsert", str(rows), share(bench, worker),
                 str(limit)] for worker in range(PROCESSES)]
    outputs, seconds = bench.together(commands, gated=True)
    if not limit:
        bench.expect(database, bench.shared_keys)
    return sum(int(out.split()[0]) for out in outputs) / seconds


def naive(bench, busy_ms):
    """Rows per second of 8 peers that look and then write."""
    database = bench.table()
    commands = [[bench.path("peer_sqlite"), database, "naive", str(busy_ms), str(bench.seconds),
                 share(bench, worker)] for worker in range(PROCESSES)]
    outputs, seconds = bench.together(commands, gated=True)
    rows = sum(int(out.split()[0]) for out in outputs)
    return max(rows, 1) / seconds


def eight_processes(bench):
    ours = shared_put(bench)
    one = shared_upsert(bench, 1, 2 * bench.seconds)
    ours_64 = shared_put(bench, "--batch", "64")
    by_64 = shared_upsert(bench, 64)
    ours_1000 = shared_put(bench, "--batch", "1000")
    by_1000 = shared_upsert(bench, 1000)
    return {
        "eight": (ours, one),
        "eight_64": (ours_64, by_64),
        "eight_1000": (ours_1000, by_1000),
        "naive": (ours, naive(bench, 0)),
        "naive_wait": (ours, naive(bench, 5000)),
    }


# ---- turns ------------------------------------------------------------------------------------

def jain(values):
    squares = sum(value * value for value in values)
    return sum(values) ** 2 / (len(values) * squares) if squares else 0.0


def turns(bench, way, rows):
    """(Jain index, worst wait and longest transaction in seconds, worst wait in rounds)."""
    output = bench.run(bench.path("turn_bench"), way, bench.database(), str(PROCESSES), str(rows),
                       str(bench.seconds))
    lines = [[int(word) for word in line.split()] for line in output.splitlines()]
    transactions = sum(line[0] for line in lines)
    one = sum(line[2] for line in lines) / transactions
    worst = max(line[1] for line in lines)
    longest = max(line[3] for line in lines)
    return (jain([line[0] for line in lines]), worst / 1e6, longest / 1e6,
            worst / (PROCESSES * one))


def fairness(bench):
    figures = {}
    for rows in (1, 64):
        ours = turns(bench, "onerow", rows)
        peer = turns(bench, "busy", rows)
        figures[f"jain_{rows}"] = (ours[0], peer[0])
        figures[f"wait_{rows}"] = (ours[3], peer[3])
        figures[f"seconds_{rows}"] = (ours[1], peer[1])
        figures[f"longest_{rows}"] = (ours[2], peer[2])
    return figures


# ---- bulk, parsing, memory ----------------------------------------------------------------------

def timed(bench, *command):
    start = time.perf_counter()
    bench.run(*command, stdin=subprocess.DEVNULL)
    return time.perf_counter() - start


def bulk(bench):
    file = bench.path("bulk.ndjson")
    n = bench.bulk_records
    database = bench.table()
    ours = n / timed(bench, *bench.put(database, file))
    bench.expect(database, n)
    database = bench.table()
    peer = n / timed(bench, bench.path("peer_sqlite"), database, "upsert", "0", file, "0")
    bench.expect(database, n)
    database = bench.table()
    ours_lines = n / timed(bench, *bench.put(database, file, "--results",
                                             bench.path("results.ndjson")))
    database = bench.table()
    python = n / timed(bench, "/usr/bin/python3", "bench/python_bulk.py", database, file)
    return {"bulk": (ours, peer), "bulk_results": (ours_lines, peer), "bulk_python": (ours, python)}


def parsing(bench):
    file = bench.path("bulk.ndjson")
    ours = bench.run(bench.path("parse_bench"), file).split()
    python = bench.run("/usr/bin/python3", "bench/python_parse.py", file).split()
    return {"parse": (int(ours[1]) / float(ours[2]) / 1e6,
                      int(python[1]) / float(python[2]) / 1e6)}


def memory(bench):
    """Peak resident MiB of one put that reads records from a pipe; its seconds; the records."""
    database = bench.database()
    generator = subprocess.Popen([bench.path("generate"), str(bench.memory_records), "4"],
                                 stdout=subprocess.PIPE)
    start = time.perf_counter()
    with open(bench.path("memory.out"), "wb") as out:
        put = subprocess.Popen(bench.put(database, "-", "--create-table", "--json"),
                               stdin=generator.stdout, stdout=out, stderr=subprocess.DEVNULL)
    generator.stdout.close()
    _, status, usage = os.wait4(put.pid, 0)
    put.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - start
    generator.wait()
    with open(bench.path("memory.out"), encoding="utf-8") as file:
        created = json.load(file)["created"]
    if put.returncode != 0 or created != bench.memory_records:
        raise SystemExit(f"bench: memory: exit {put.returncode}, {created} created")
    bench.database()
    return usage.ru_maxrss / 1024, seconds, created


GROUPS = (eight_processes, fairness, bulk, parsing)
