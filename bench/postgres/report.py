# SPDX-License-Identifier: Apache-2.0
"""Measurements -> the PostgreSQL part of docs/BENCHMARKS.md, its drawing, and the raw figures."""
import datetime
import importlib.metadata
import importlib.util
import json
import os
import platform
import statistics

HERE = os.path.dirname(os.path.abspath(__file__))
_spec = importlib.util.spec_from_file_location("bench_report", os.path.join(HERE, "../report.py"))
common = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(common)
commit = common.commit

WAYS = {
    "put_alone": "`onerow put`",
    "put_eight": "8 × `onerow put`",
    "put_burst": "8 × `onerow put`, the same new keys",
    "put_1000": "`onerow put --batch 1000`, all changed",
    "put_1000_new": "`onerow put --batch 1000`, all new",
    "put_empty": "`onerow put`, table empty",
    "put_full": "`onerow put`, table full, all changed",
    "put_same": "`onerow put`, 90% unchanged",
    "put_empty_results": "`onerow put --results`, table empty",
    "put_full_results": "`onerow put --results`, table full, all changed",
    "put_same_results": "`onerow put --results`, 90% unchanged",
    "check_alone": "SQLAlchemy, look then write",
    "check_eight": "the same, 8 processes",
    "check_burst": "the same, 8 processes, the same new keys",
    "upsert_alone": "SQLAlchemy `ON CONFLICT`",
    "upsert_eight": "the same, 8 processes",
    "upsert_burst": "the same, 8 processes, the same new keys",
    "pgbench_1": "pgbench, prepared `ON CONFLICT`, 1 client",
    "pgbench_8": "the same, 8 clients",
    "pgbench_32": "the same, 32 clients",
    "copy_empty": "psql: `COPY` to unlogged staging, `ON CONFLICT`; table empty",
    "copy_full": "the same, table full, all changed",
    "copy_same": "the same, 90% unchanged",
    "copy_empty_logged": "psql: `COPY` to logged staging, `ON CONFLICT`; table empty",
    "copy_full_logged": "the same, table full, all changed",
    "copy_same_logged": "the same, 90% unchanged",
    "merge_empty": "psql: `COPY` to unlogged staging, `MERGE`; table empty",
    "merge_full": "the same, table full, all changed",
    "merge_same": "the same, 90% unchanged",
    "merge_empty_logged": "psql: `COPY` to logged staging, `MERGE`; table empty",
    "merge_full_logged": "the same, table full, all changed",
    "merge_same_logged": "the same, 90% unchanged",
    "ours_changed": "put's statement, 1,000 rows, all changed",
    "plain_changed": "plain `ON CONFLICT` of `unnest`, 1,000 rows, all changed",
    "ours_same": "put's statement, 1,000 rows, 90% unchanged",
    "plain_same": "plain `ON CONFLICT` of `unnest`, 1,000 rows, 90% unchanged",
    "dlt_empty": "dlt, disposition merge, table empty",
    "dlt_full": "the same, table full, all changed",
}
# name: (what, ours, peer, measure, goal), a goal as in bench/report.py.
FIGURES = {
    "pgbench_8": ("batches of 1,000, all changed", "put_1000", "pgbench_8", "rows/s", "+5"),
    "pgbench_1": ("the same against 1 client", "put_1000", "pgbench_1", "rows/s", None),
    "pgbench_32": ("the same against 32 clients", "put_1000", "pgbench_32", "rows/s", None),
    "cpu": ("server CPU, batches of 1,000, all changed", "put_1000", "pgbench_8", "µs/row", "-12"),
    "new": ("batches of 1,000, all new", "put_1000_new", "pgbench_8", "rows/s", None),
    "cpu_new": ("server CPU, batches of 1,000, all new", "put_1000_new", "pgbench_8", "µs/row",
                "-12"),
    "empty": ("bulk, table empty", "put_empty", "copy_empty", "rows/s", "+1.9"),
    "full": ("bulk, table full, all changed", "put_full", "copy_full", "rows/s", "+1.15"),
    "same": ("bulk, table full, 90% unchanged", "put_same", "copy_same", "rows/s", "+2.2"),
    "empty_logged": ("table empty, against logged staging", "put_empty", "copy_empty_logged",
                     "rows/s", None),
    "full_logged": ("all changed, against logged staging", "put_full", "copy_full_logged",
                    "rows/s", None),
    "same_logged": ("90% unchanged, against logged staging", "put_same", "copy_same_logged",
                    "rows/s", None),
    "merge_empty": ("table empty, against `MERGE`", "put_empty", "merge_empty", "rows/s", None),
    "merge_full": ("all changed, against `MERGE`", "put_full", "merge_full", "rows/s", None),
    "merge_same": ("90% unchanged, against `MERGE`", "put_same", "merge_same", "rows/s", None),
    "dlt_empty": ("table empty, against dlt", "put_empty", "dlt_empty", "rows/s", None),
    "dlt_full": ("all changed, against dlt", "put_full", "dlt_full", "rows/s", None),
    "s1": ("the statement alone, all changed", "ours_changed", "plain_changed", "rows/s",
           "+0.85"),
    "s2": ("the statement alone, 90% unchanged", "ours_same", "plain_same", "rows/s", "+1.4"),
    "check": ("8 processes, {keys:,} keys, against look-then-write", "put_eight", "check_eight",
              "rows/s", "+25"),
    "upsert": ("the same against SQLAlchemy `ON CONFLICT`", "put_eight", "upsert_eight", "rows/s",
               None),
    "check_alone": ("1 process against look-then-write", "put_alone", "check_alone", "rows/s",
                    None),
    "upsert_alone": ("1 process against SQLAlchemy `ON CONFLICT`", "put_alone", "upsert_alone",
                     "rows/s", None),
    "burst": ("8 processes on the same new keys", "put_burst", "check_burst", "rows/s", None),
    "burst_upsert": ("the same against SQLAlchemy `ON CONFLICT`", "put_burst", "upsert_burst",
                     "rows/s", None),
    "errors": ("errors in it, against look-then-write", "put_burst", "check_burst",
               "% of the rows", "-0"),
    "errors_eight": ("errors of 8 processes on {keys:,} keys, all rounds", "put_eight",
                     "check_eight", "% of the rows", "-0"),
}
SHORT = {
    "pgbench_8": "batches of 1,000, against pgbench",
    "cpu": "server CPU per row, changed",
    "cpu_new": "server CPU per row, new",
    "empty": "bulk into an empty table",
    "full": "bulk into a full table",
    "same": "bulk, 90% unchanged",
    "s1": "the statement, all changed",
    "s2": "the statement, 90% unchanged",
    "check": "8 processes, against look-then-write",
    "errors": "errors in a burst",
    "errors_eight": "errors of 8 processes",
    "memory": "resident memory",
}


def facts(bench, rounds, commit_name):
    """What a reader needs to judge the figures; asked while the server runs."""
    asked = ("server_version", "fsync", "synchronous_commit", "shared_buffers", "max_wal_size")
    settings = {name: bench.control.execute(f"SHOW {name}").fetchone()[0] for name in asked}
    put_text = {}
    for name, path in bench.statements.items():
        with open(path, encoding="utf-8") as file:
            put_text[name] = file.read()
    return {
        "rounds": rounds, "commit": commit_name, "date": datetime.date.today().isoformat(),
        "load": round(os.getloadavg()[0], 1), "settings": settings, "statements": put_text,
        "machine": f"{os.cpu_count()} × {common.cpu()}, {common.memory_of_machine():.1f} GiB of "
                   f"memory; {common.distribution()}, Linux {platform.release()}",
        "versions": {name: importlib.metadata.version(name)
                     for name in ("SQLAlchemy", "psycopg", "dlt")},
        "rows": bench.rows, "keys": bench.keys, "alone": bench.alone, "slow": bench.slow,
        "burst": bench.burst, "seconds": bench.seconds,
    }


# ---- figures --------------------------------------------------------------------------------------

def rate(one):
    return one["rows"] / one["seconds"]


MEASURES = {
    "rows/s": rate,
    "µs/row": lambda one: one["server_cpu"] / one["rows"] * 1e6,
    "% of the rows": lambda one: 100 * sum(one["errors"].values()) / one["rows"],
}


def ratio_text(ours, peer):
    ratios = [a / b for a, b in zip(ours, peer) if b]
    if len(ratios) < len(peer):
        return "—", None
    middle = statistics.median(ratios)
    number = common.number
    return f"{number(min(ratios))} / **{number(middle)}** / {number(max(ratios))}", middle


def compared(name, series, known):
    """The row of a figure, or None when one of its ways was not measured."""
    what, ours_way, peer_way, unit, goal = FIGURES[name]
    if ours_way not in series or peer_way not in series:
        return None
    measure = MEASURES[unit]
    ours = [measure(one) for one in series[ours_way]]
    peer = [measure(one) for one in series[peer_way]]
    text, ratio = ratio_text(ours, peer)
    by_ratio = goal is not None and goal[0] == "+"
    value = ratio if by_ratio else max(ours) if goal == "-0" else statistics.median(ours)
    cells = [f"{WAYS[ours_way]}: {common.number(statistics.median(ours))} {unit}",
             f"{peer_name(peer_way)}: {common.number(statistics.median(peer))} {unit}", text]
    return common.Row(name, what.format(**known), cells, value, "×" if by_ratio else f" {unit}",
                      goal)


def peer_name(way):
    """A way's name where the one that it refers to ("the same, …") does not stand above."""
    name = WAYS[way]
    if not name.startswith("the same"):
        return name
    before = [text for text in list(WAYS.values())[:list(WAYS).index(way)]
              if not text.startswith("the same")][-1]
    return before.split("; table")[0].split(", 1 client")[0].split(", table")[0] + name[8:]


def of_memory(memory):
    cells = [f"`onerow put`: {memory['peak_mib']:.1f} MiB in {memory['seconds']:.0f} s", "—", "—"]
    return common.Row("memory", f"peak resident memory, {memory['records']:,} records from a pipe",
                      cells, memory["peak_mib"], " MiB", "-64")


# ---- every way ------------------------------------------------------------------------------------

def median_of(series, value):
    return statistics.median(value(one) for one in series)


def milliseconds(series, name):
    if not all(name in one for one in series):
        return "—"
    return common.number(median_of(series, lambda one: one[name] * 1000))


def errors_text(series):
    names = {}
    for one in series:
        for name, count in one["errors"].items():
            names[name] = names.get(name, 0) + count
    rows = sum(one["rows"] for one in series)
    return "; ".join(f"{name}: {100 * count / rows:.3g}%" for name, count in names.items()) or "0"


def detail(way, series):
    cells = [
        WAYS[way],
        common.number(median_of(series, rate)),
        milliseconds(series, "p50"),
        milliseconds(series, "p99"),
        f"{median_of(series, lambda one: one['statements'] / one['rows']):.3g}",
        common.number(median_of(series, MEASURES["µs/row"])),
        common.number(median_of(series, lambda one: one["client_cpu"] / one["rows"] * 1e6)),
        errors_text(series),
    ]
    return f"| {' | '.join(cells)} |"


# ---- the files ------------------------------------------------------------------------------------

def markdown(rows, series, known):
    table = "\n".join(row.line() for row in rows)
    ways = "\n".join(detail(way, series[way]) for way in WAYS if way in series)
    settings = dict(known["settings"])
    version = settings.pop("server_version")
    shown = ", ".join(f"`{name}` {value}" for name, value in settings.items())
    versions = ", ".join(f"{name} {value}" for name, value in known["versions"].items())
    return f"""
Written by `make bench-postgres`; not to be edited by hand. Reproduce it with:

```
BENCH_ROUNDS={known["rounds"]} make bench-postgres
```

- Machine: {known["machine"]}
- PostgreSQL {version}, TCP on loopback; {shown}
- Peers: {versions}; pgbench and psql of the same PostgreSQL
- Commit: {known["commit"]}
- Date: {known["date"]}; load average when the run ended: {known["load"]}
- Data: a text key and a JSON value of about 120 bytes in `items (k text PRIMARY KEY, v jsonb NOT \
NULL)`; {known["rows"]:,} rows, shuffled
- {known["rounds"]} rounds; each measures every way once, those that are compared one after the \
other

What counts is the ratio within a round: smallest / **median** / largest. The raw figures are in
[benchmarks-postgres.json](benchmarks-postgres.json).

![How far each goal is reached](benchmarks-postgres.svg)

| what | ours | peer | ratio | goal | reached |
|---|---|---|---|---|---|
{table}

Every way, as medians of the rounds. Latency is that of one transaction in ms (pgbench: of a tenth
of them); statements are those that `pg_stat_statements` counted; CPU time is µs per row, of all
processes of the server, and of the clients.

| way | rows/s | p50 | p99 | statements/row | server CPU | client CPU | errors, all rounds |
|---|---|---|---|---|---|---|---|
{ways}

How it is measured:

- *onerow* is the whole command, from its start to its end, reading NDJSON; psql's script likewise,
  in one transaction, reading the text that `COPY` takes. The Python peers begin when all of them
  are connected, and dlt when its input is in memory: their start is not counted.
- *8 processes*: each writes {known["keys"]:,} keys in an order of its own, with a value of its own;
  the slow peers only the first {known["slow"]:,} (alone: {known["alone"]:,}) of them. In the
  *burst* all 8 write the same {known["burst"]:,} new keys, the peers each of them in the same
  moment, as when an event is delivered 8 times.
- *pgbench* runs for {known["seconds"]} s on a full table, with random keys.
- *The statement alone* is sent by `bench/postgres/peers/unnest.c`, in binary, 1,000 rows sorted by
  key, each a transaction; put's is taken from the server's log of a real `put`.
- After each measurement the rows are counted, and where all or a tenth of them were to change,
  those that did.
{common.explanations(rows, os.path.join(HERE, "notes.md"), "###")}"""


def write(folder, series, memory, known):
    rows = [row for row in (compared(name, series, known) for name in FIGURES) if row]
    rows += [of_memory(memory)] if memory else []
    with open(os.path.join(folder, "benchmarks-postgres.json"), "w", encoding="utf-8") as file:
        json.dump({"facts": known, "memory": memory, "rounds": series}, file, indent=1)
        file.write("\n")
    common.write_part(folder, markdown(rows, series, known), common.PART)
    with open(os.path.join(folder, "benchmarks-postgres.svg"), "w", encoding="utf-8") as file:
        file.write(common.svg(rows, SHORT))
    print(f"bench: wrote {folder}/BENCHMARKS.md, benchmarks-postgres.svg and .json")
