# SPDX-License-Identifier: Apache-2.0
"""What the Python peers share: the gate, the clock, and the line in which a worker tells.

A worker reads its records, prints "ready", and begins when its standard input is closed, so that
neither the interpreter's start nor the imports are measured. At the end it prints one JSON object.
"""
import json
import multiprocessing
import resource
import sys
import time


def records(path, limit):
    found = []
    with open(path, encoding="utf-8") as file:
        for line in file:
            if len(found) == limit:
                break
            found.append(json.loads(line))
    return found


def cpu():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def wait_for_start():
    print("ready", flush=True)
    sys.stdin.read()


def main(connect, failures):
    """For peers that are called with URL, FILE, LIMIT and the number of workers in a burst (1: no
    burst); connect(url) gives the function that writes a row."""
    url, path, limit, workers = sys.argv[1:]
    rows = records(path, int(limit))
    if workers == "1":
        alone(lambda: connect(url), rows, failures)
    else:
        burst(int(workers), lambda: connect(url), rows, failures)


def one_by_one(rows, write, failures, before=None):
    """Calls write(row) for each row; what it raises of `failures` is counted, not repeated."""
    latencies, errors = [], {}
    begun, cpu_before = time.perf_counter(), cpu()
    for row in rows:
        if before:
            before()
        start = time.perf_counter()
        try:
            write(row)
        except failures as failure:
            cause = type(getattr(failure, "orig", None) or failure).__name__
            errors[cause] = errors.get(cause, 0) + 1
        latencies.append(time.perf_counter() - start)
    return len(rows), time.perf_counter() - begun, cpu() - cpu_before, latencies, errors


def alone(connect, rows, failures):
    """One worker; connect() gives the function that writes a row."""
    write = connect()
    wait_for_start()
    told(*one_by_one(rows, write, failures))


def burst(n, connect, rows, failures):
    """n workers that are given each row in the same moment, as an event is that is delivered n
    times. They tell together."""
    context = multiprocessing.get_context("fork")
    barrier, answers = context.Barrier(n + 1), context.Queue()
    each = context.Barrier(n)

    def work():
        write = connect()
        barrier.wait()  # connected
        barrier.wait()  # started
        answers.put(one_by_one(rows, write, failures, each.wait))

    workers = [context.Process(target=work, daemon=True) for _ in range(n)]
    for process in workers:
        process.start()
    barrier.wait()
    wait_for_start()
    barrier.wait()
    parts = [answers.get() for _ in workers]
    errors = {}
    for part in parts:
        for name, count in part[4].items():
            errors[name] = errors.get(name, 0) + count
    told(sum(part[0] for part in parts), max(part[1] for part in parts),
         sum(part[2] for part in parts), [value for part in parts for value in part[3]], errors)


def told(rows, seconds, spent, latencies=(), errors=None):
    print(json.dumps({"rows": rows, "seconds": seconds, "cpu": spent, "errors": errors or {},
                      "latencies": [round(value, 6) for value in latencies]}), flush=True)
