# SPDX-License-Identifier: Apache-2.0
"""What is measured in each round: ways that are compared stand one after the other."""
import os
import subprocess
import time

from measure import PROCESSES
from peers import staging

PLAIN = """INSERT INTO items (k, v)
SELECT u.k, u.v::jsonb FROM unnest($1::text[], $2::text[]) AS u(k, v)
ON CONFLICT (k) DO UPDATE SET v = excluded.v
"""


def one_process(bench):
    bench.empty()
    yield "put_alone", bench.put([bench.shares[0].ndjson])
    bench.empty()
    yield "check_alone", bench.sqlalchemy("check_then_write.py", bench.shares[:1], bench.alone)
    bench.empty()
    yield "upsert_alone", bench.sqlalchemy("on_conflict.py", bench.shares[:1], bench.alone)


def eight_processes(bench):
    bench.empty()
    yield "put_eight", bench.put([share.ndjson for share in bench.shares])
    bench.expect(bench.keys)
    bench.empty()
    yield "check_eight", bench.sqlalchemy("check_then_write.py", bench.shares, bench.slow)
    bench.empty()
    yield "upsert_eight", bench.sqlalchemy("on_conflict.py", bench.shares, bench.slow)


def burst(bench):
    """All 8 at once, on the same new keys: the peers on each of them in the same moment."""
    bench.empty()
    yield "put_burst", bench.put([bench.new.ndjson] * PROCESSES)
    bench.expect(bench.burst)
    for way, script in (("check", "check_then_write.py"), ("upsert", "on_conflict.py")):
        bench.empty()
        yield f"{way}_burst", bench.sqlalchemy(script, [bench.new], bench.burst, PROCESSES)
        bench.expect(bench.burst)


def batches(bench):
    """put with batches of 1,000 against pgbench, on a table that has all keys."""
    for clients in (1, 8, 32):
        bench.full()
        yield f"pgbench_{clients}", bench.pgbench(clients)
        bench.expect(bench.rows)
        if clients == 8:
            bench.full()
            yield "put_1000", bench.put([bench.changed.ndjson], "--batch", "1000")
            bench.expect(bench.rows, bench.rows)
    bench.empty()
    yield "put_1000_new", bench.put([bench.base.ndjson], "--batch", "1000")
    bench.expect(bench.rows, 0)


def bulk(bench):
    cases = (("empty", bench.empty, bench.base, 0), ("full", bench.full, bench.changed, bench.rows),
             ("same", bench.full, bench.same, bench.rows // 10))
    for name, table, records, changed in cases:
        table()
        yield f"put_{name}", bench.put([records.ndjson])
        bench.expect(bench.rows, changed)
        table()
        yield f"put_{name}_results", bench.put([records.ndjson], "--results",
                                               bench.path("results.ndjson"))
        bench.expect(bench.rows, changed)
        for way, statement in (("copy", staging.ON_CONFLICT), ("merge", staging.MERGE)):
            for unlogged in (True, False):
                table()
                script = staging.script(records.tsv, statement, unlogged)
                suffix = "" if unlogged else "_logged"
                yield f"{way}_{name}{suffix}", bench.psql(script, bench.rows)
                bench.expect(bench.rows, changed)


def dlt(bench):
    new, changed = bench.dlt(bench.base, bench.changed)
    yield "dlt_empty", new
    yield "dlt_full", changed


def statements(bench):
    """put's own statement against the plain one, sent by the same program."""
    plain = bench.path("plain.sql")
    with open(plain, "w", encoding="utf-8") as file:
        file.write(PLAIN)
    for name, records, changed in (("changed", bench.changed, bench.rows),
                                   ("same", bench.same, bench.rows // 10)):
        for way, statement in (("ours", bench.statements[name]), ("plain", plain)):
            bench.full()
            yield f"{way}_{name}", bench.unnest(statement, records)
            bench.expect(bench.rows, changed)


def memory(bench):
    """Peak resident MiB of one put that reads records from a pipe; its seconds; the records."""
    bench.empty()
    n = bench.memory_records
    program = f"import sys, data; data.stream(sys.stdout.buffer, {n}, 5)"
    here = os.path.dirname(os.path.abspath(__file__))
    generator = subprocess.Popen([os.sys.executable, "-c", program], stdout=subprocess.PIPE,
                                 cwd=here)
    start = time.perf_counter()
    with open(bench.path("memory.out"), "wb") as out:
        put = bench.start(bench.put_command("-"), out, stdin=generator.stdout)
    generator.stdout.close()
    _, status, usage = os.wait4(put.pid, 0)
    put.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - start
    generator.wait()
    if put.returncode:
        with open(bench.path("memory.out"), encoding="utf-8") as file:
            raise SystemExit(f"bench: memory: exit {put.returncode}\n{file.read()}")
    bench.expect(n)
    return {"peak_mib": usage.ru_maxrss / 1024, "seconds": seconds, "records": n}


ALL = (one_process, eight_processes, burst, batches, bulk, statements, dlt)
