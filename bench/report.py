# SPDX-License-Identifier: Apache-2.0
"""Figures -> docs/BENCHMARKS.md and docs/benchmarks.svg."""
import datetime
import os
import platform
import re
import statistics
import subprocess
import xml.sax.saxutils

# name: (what, ours, peer, unit, goal). A goal is "+N": the ratio ours / peer is to be at least N;
# "=N": our own value is to be at least N; "-N": at most N; None: for information.
FIGURES = {
    "eight": ("8 processes, the same keys", "8 × `onerow put`",
              "`BEGIN IMMEDIATE`, busy timeout, one row per transaction", "rows/s", "+2.5"),
    "eight_64": ("the same, 64 rows per transaction on both sides", "`onerow put --batch 64`",
                 "by hand, 64 rows per transaction", "rows/s", None),
    "eight_1000": ("the same, 1,000 rows per transaction on both sides",
                   "`onerow put --batch 1000`", "by hand, 1,000 rows per transaction", "rows/s",
                   None),
    "naive": ("8 processes against check-then-write", "8 × `onerow put`",
              "`BEGIN`, look, write; again at `SQLITE_BUSY`", "rows/s", "+200"),
    "naive_wait": ("the same, with a busy timeout of 5 s", "8 × `onerow put`",
                   "the same with `busy_timeout` 5000", "rows/s", None),
    "jain_1": ("fairness among 8 processes, 1 row per transaction (Jain, 1 is even)",
               "onerow's store", "busy timeout", "", "=0.8"),
    "jain_64": ("fairness, 64 rows per transaction", "onerow's store", "busy timeout", "", "=0.8"),
    "wait_1": ("worst wait, in rounds of all 8 processes, 1 row per transaction",
               "onerow's store", "busy timeout", "rounds", "-3"),
    "wait_64": ("worst wait in rounds, 64 rows per transaction", "onerow's store", "busy timeout",
                "rounds", "-3"),
    "seconds_1": ("worst wait, 1 row per transaction", "onerow's store", "busy timeout", "s", None),
    "seconds_64": ("worst wait, 64 rows per transaction", "onerow's store", "busy timeout", "s",
                   None),
    "longest_1": ("longest transaction, 1 row", "onerow's store", "busy timeout", "s", None),
    "longest_64": ("longest transaction, 64 rows", "onerow's store", "busy timeout", "s", None),
    "bulk": ("bulk: {bulk:,} shuffled records into an empty table", "`onerow put`",
             "prepared upserts, one transaction", "rows/s", "+1.5"),
    "bulk_results": ("the same, a result line written for each record", "`onerow put --results`",
                     "prepared upserts, one transaction", "rows/s", None),
    "bulk_python": ("the same against Python", "`onerow put`",
                    "Python `executemany`, one transaction", "rows/s", None),
    "parse": ("NDJSON → record → key → SHA-256", "input, binding and key of `put`",
              "Python `json.loads`, `hashlib`", "MB/s", "+18"),
}
BAR_HEIGHT, BAR_GAP, LEFT, SCALE_WIDTH, RIGHT = 18, 14, 300, 400, 180
PART = "\n## PostgreSQL\n"  # begins what bench/postgres/run writes
LONGEST = 4  # goals that a bar can show; a longer one is cut off there


def number(value):
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


class Row:
    """A line of the table and, where there is a goal, a bar of the drawing."""

    def __init__(self, name, what, cells, value, unit, goal):
        self.name = name
        self.what = what
        self.cells = cells  # ours, peer, ratio
        self.value = value  # what the goal is about
        self.unit = unit
        self.kind = goal[0] if goal else None
        self.goal = float(goal[1:]) if goal else None

    def progress(self):
        """How many times the goal is reached; below 1 it is not."""
        if self.kind == "-":
            return self.goal / self.value if self.value else LONGEST
        return self.value / self.goal

    def reached(self):
        return self.progress() >= 1

    def goal_text(self):
        if not self.kind:
            return "—"
        return {"+": "≥ {:g}×", "=": "≥ {:g}", "-": "≤ {:g}"}[self.kind].format(self.goal)

    def line(self):
        verdict = "—" if not self.kind else "yes" if self.reached() else "**no**"
        return f"| {self.what} | {' | '.join(self.cells)} | {self.goal_text()} | {verdict} |"


def compared(name, pairs, bench):
    """The row of a figure that was taken against a peer in each round."""
    what, ours_name, peer_name, unit, goal = FIGURES[name]
    ours = statistics.median(pair[0] for pair in pairs)
    peer = statistics.median(pair[1] for pair in pairs)
    ratios = [pair[0] / pair[1] if pair[1] else 0 for pair in pairs]
    ratio = statistics.median(ratios)
    cells = [f"{ours_name}: {number(ours)} {unit}".strip(),
             f"{peer_name}: {number(peer)} {unit}".strip(),
             f"{number(min(ratios))} / **{number(ratio)}** / {number(max(ratios))}"]
    by_ratio = goal is not None and goal[0] == "+"
    return Row(name, what.format(bulk=bench.bulk_records), cells, ratio if by_ratio else ours,
               "×" if by_ratio else f" {unit}".rstrip(), goal)


def of_memory(memory):
    peak, seconds, records = memory
    cells = [f"`onerow put`: {peak:.1f} MiB in {seconds:.0f} s", "—", "—"]
    return Row("memory", f"peak resident memory, {records:,} records from a pipe", cells, peak,
               " MiB", "-64")


# ---- the machine --------------------------------------------------------------------------------

def first_line(*command):
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "not known"
    return (answer.stdout.splitlines() or ["not known"])[0]


def cpu():
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        found = re.search(r"model name\s*: (.*)", file.read())
    return found.group(1) if found else platform.machine()


def distribution():
    with open("/etc/os-release", encoding="utf-8") as file:
        found = re.search(r'PRETTY_NAME="(.*)"', file.read())
    return found.group(1) if found else platform.system()


def commit():
    name = first_line("git", "rev-parse", "--short=12", "HEAD")
    places = ("src", "include", "bench", "meson.build")
    changed = subprocess.run(["git", "status", "--porcelain", "--", *places], capture_output=True,
                             check=False).stdout
    return name + (" with uncommitted changes" if changed else "")


def memory_of_machine():
    with open("/proc/meminfo", encoding="utf-8") as file:
        return int(file.readline().split()[1]) / 1024 / 1024


def machine(rounds, bench, commit_name):
    today = datetime.date.today().isoformat()
    return f"""- Machine: {os.cpu_count()} × {cpu()}, {memory_of_machine():.1f} GiB of memory; \
{distribution()}, Linux {platform.release()}
- Versions: {first_line("cc", "--version")}; SQLite \
{first_line("pkg-config", "--modversion", "sqlite3")}; yyjson \
{first_line("pkg-config", "--modversion", "yyjson")}; Python {platform.python_version()}
- Settings: WAL and `synchronous=FULL` on all sides; the rest as each side sets it by itself
- Commit: {commit_name}
- Date: {today}; load average when the run ended: {os.getloadavg()[0]:.1f}
- Data: {bench.shared_keys:,} keys, each given with other values to 3 of 8 processes (one-row \
transactions by hand: for {2 * bench.seconds:g} s); {bench.bulk_records:,} records of 139 bytes \
for bulk and parsing
- {rounds} rounds; each measures everything once, ours and the peer one after the other
"""


# ---- notes --------------------------------------------------------------------------------------

def notes(path):
    """{figure: text} from a file of notes."""
    try:
        with open(path, encoding="utf-8") as file:
            parts = re.split(r"^## +(\S+) *$", file.read(), flags=re.MULTILINE)
    except FileNotFoundError:
        return {}
    return {name: text.strip() for name, text in zip(parts[1::2], parts[2::2])}


def explanations(rows, path="bench/notes.md", heading="##"):
    known = notes(path)
    missed = [row for row in rows if row.kind and not row.reached()]
    if not missed:
        return ""
    text = f"\n{heading} Goals that are not reached\n"
    for row in missed:
        text += f"\n**{row.what}.** {known.get(row.name, 'Not explained yet.')}\n"
    return text


# ---- the two files --------------------------------------------------------------------------------

def markdown(rows, rounds, bench, commit_name):
    table = "\n".join(row.line() for row in rows)
    return f"""# Benchmarks

Written by `make bench`; not to be edited by hand. Reproduce it with:

```
BENCH_ROUNDS={rounds} make bench
```

{machine(rounds, bench, commit_name)}
Values are medians of the rounds. What counts is the ratio within a round: smallest / **median** /
largest.

![How far each goal is reached](benchmarks.svg)

| what | ours | peer | ratio | goal | reached |
|---|---|---|---|---|---|
{table}

What is measured:

- *8 processes* are whole commands on overlapping shuffled NDJSON, from their start to the end of
  the last one; the peer (`bench/peer_sqlite.c`) is a C program with prepared statements that reads
  the same files with yyjson.
- *check-then-write* runs by the clock, since most of its tries are answered `SQLITE_BUSY`.
- *Fairness and waits* come from `bench/turn_bench.c`, {bench.seconds:g} s each. A *round of all
  processes* is 8 times the mean duration of a transaction: with perfect turns nobody waits longer
  than about one.
- *bulk* is the whole command: reading, sorting, writing, telling outcomes, closing.
- *memory* is `ru_maxrss` of one `onerow put`, measured once.
{explanations(rows)}"""


SHORT = {
    "eight": "8 processes, against one-row transactions",
    "naive": "8 processes, against check-then-write",
    "jain_1": "fairness, 1 row per transaction",
    "jain_64": "fairness, 64 rows per transaction",
    "wait_1": "worst wait, 1 row per transaction",
    "wait_64": "worst wait, 64 rows per transaction",
    "bulk": "bulk, against one transaction",
    "parse": "NDJSON to key to hash, against Python",
    "memory": "resident memory",
}


def bar(row, top, short):
    escape = xml.sax.saxutils.escape
    width = min(row.progress(), LONGEST) / LONGEST * SCALE_WIDTH
    colour = "#3a7d5d" if row.reached() else "#c2703d"
    middle = top + BAR_HEIGHT - 5
    more = " →" if row.progress() > LONGEST else ""
    value = f"{number(row.value)}{row.unit}{more} (goal {row.goal_text()})"
    return (f'<text x="{LEFT - 10}" y="{middle}" text-anchor="end">{escape(short[row.name])}'
            f'</text>\n<rect x="{LEFT}" y="{top}" width="{width:.1f}" height="{BAR_HEIGHT}" rx="2" '
            f'fill="{colour}"/>\n'
            f'<text x="{LEFT + width + 8:.1f}" y="{middle}">{escape(value)}</text>\n')


def svg(rows, short):
    rows = [row for row in rows if row.kind]
    step = BAR_HEIGHT + BAR_GAP
    height = 60 + step * len(rows)
    width = LEFT + SCALE_WIDTH + RIGHT
    line = LEFT + SCALE_WIDTH / LONGEST
    bars = "".join(bar(row, 50 + step * at, short) for at, row in enumerate(rows))
    return f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" \
width="{width}" height="{height}" font-family="sans-serif" font-size="13" fill="#222">
<rect width="100%" height="100%" fill="#fff"/>
<text x="{line}" y="24" text-anchor="middle" fill="#666">goal</text>
<line x1="{line}" y1="32" x2="{line}" y2="{height - 10}" stroke="#999" stroke-dasharray="4 3"/>
{bars}</svg>
"""


def write_part(folder, text, part):
    """Writes the first part of BENCHMARKS.md, or the one under the heading PART; the other one,
    which was measured by another run, stays as it is."""
    path = os.path.join(folder, "BENCHMARKS.md")
    before = ""
    if os.path.exists(path):
        with open(path, encoding="utf-8") as file:
            before = file.read()
    first, heading, second = before.partition(PART)
    if part == PART:
        text = (first.rstrip() or "# Benchmarks") + "\n" + PART + text
    else:
        text = text.rstrip() + "\n" + heading + second
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def write(folder, series, memory, bench, rounds, commit_name):
    rows = [compared(name, series[name], bench) for name in FIGURES]
    rows.append(of_memory(memory))
    write_part(folder, markdown(rows, rounds, bench, commit_name), None)
    with open(os.path.join(folder, "benchmarks.svg"), "w", encoding="utf-8") as file:
        file.write(svg(rows, SHORT))
