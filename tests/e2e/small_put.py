# SPDX-License-Identifier: Apache-2.0
"""A small put that is run again and again under strace, with something going wrong at its n-th call.

The put has five batches of seven lines: new rows, a row that changes later, one that is repeated,
and four lines that are rejected. What a run leaves behind is looked at in a copy, so that the run
that follows finds the file as the one before left it, write-ahead log and all.
"""
import json
import os
import re
import shutil
import subprocess

import harness

LINES = 35
REJECTED = {8: {"name": None, "v": 8}, 15: {"name": ["k15"], "v": 15},
            16: None, 29: {"v": 29}}
DATABASE = "x.db"
TELLS_UNKEPT = "could not be kept"


def records():
    """The input's records by line; None: a line that is no record at all."""
    made = [REJECTED.get(n, {"name": f"k{n}", "v": n}) for n in range(1, LINES + 1)]
    made[24] = {"name": "k1", "v": 100}  # a row that is there already changes
    made[25] = {"name": "k2", "v": 2}    # and one does not
    return made


def final_rows():
    rows = {}
    for n, record in enumerate(records(), 1):
        if n not in REJECTED:
            rows[record["name"]] = record
    return rows


def rows_of(t, database):
    """The table's rows, through the sqlite3 client; none when there is no table yet."""
    if not os.path.exists(t.path(database)):
        return {}
    if not t.count(database, "SELECT count(*) FROM sqlite_schema WHERE name = 't'"):
        return {}
    return {name: {"name": name, "v": int(v)}
            for name, v in t.sql(database, "SELECT name, v FROM t")}


class Case:
    """One run in a folder of its own, and what it left."""

    def __init__(self, t, name, state=None):
        self.t, self.folder = t, name
        os.mkdir(t.path(name))
        text = "".join("{\"name\": \n" if r is None else json.dumps(r) + "\n" for r in records())
        t.write(os.path.join(name, "in.ndjson"), text)
        self.env = dict(t.env, ONEROW_STATE=state or t.path(name, "state"))
        self.log = t.path(name, "strace.log")

    def put(self, results, strace=(), **options):
        """Runs the put; strace: options of strace, none for a run without it."""
        command = [harness.ONEROW, "put", "--store", "sqlite:" + DATABASE, "--table", "t", "--key",
                   "name", "--create-table", "--batch", "7", "--results", results, "in.ndjson"]
        return self.run(command, strace, **options)

    def run(self, command, strace=(), **options):
        if strace:
            command = [*harness.strace("-y", "-s", "0", *strace, log=self.log), *command]
        done = subprocess.run(command, cwd=self.t.path(self.folder), env=self.env, timeout=60,
                              stdin=subprocess.DEVNULL, capture_output=True, **options)
        return harness.Result(done.returncode, done.stdout.decode(errors="replace"),
                              done.stderr.decode(errors="replace"))

    def lines(self, results):
        name = os.path.join(self.folder, results)
        return self.t.results(name) if os.path.exists(self.t.path(name)) else []

    def letters(self):
        return self.t.letters(os.path.relpath(self.env["ONEROW_STATE"], self.t.folder))

    def copy(self):
        """The database as it is now, in another folder: looking at it must change nothing."""
        copied = os.path.join(self.folder, "copy")
        shutil.rmtree(self.t.path(copied), ignore_errors=True)
        os.mkdir(self.t.path(copied))
        for ending in ("", "-wal", "-journal"):
            path = self.t.path(self.folder, DATABASE + ending)
            if os.path.exists(path):
                shutil.copy(path, self.t.path(copied))
        return os.path.join(copied, DATABASE)

    def what_is_untrue(self, results):
        """Whether the file is whole, and each result line true."""
        database = self.copy()
        self.t.sound(database)
        kept = self.letters()
        lines = [line for line in self.lines(results)
                 if TELLS_UNKEPT not in (line["reason"] or "")]
        return harness.untrue(lines, records(), rows_of(self.t, database), kept)

    def check_end(self, result, results):
        """The put has run to its end, as if nothing had ever gone wrong."""
        assert result.code == 1, result
        balance = result.balance
        assert balance["read"] == LINES and balance["rejected"] == len(REJECTED), result
        assert balance["unknown"] == 0, result
        lines = self.lines(results)
        assert [line["line"] for line in lines] == list(range(1, LINES + 1)), lines
        assert self.what_is_untrue(results) == []
        database = os.path.join(self.folder, DATABASE)
        assert rows_of(self.t, database) == final_rows(), rows_of(self.t, database)
        self.t.sound(database)
        shutil.rmtree(self.t.path(self.folder), ignore_errors=True)


CALL = re.compile(r"^(?:\[pid +)?(\d+)\]? +(?:<\.\.\. )?(\w+)(\(| resumed)(.*)$")
TARGET = re.compile(r"^\d+<([^>]*)>")
ANSWER = re.compile(r"= (\d+)$")
SYNCS = ("fsync", "fdatasync")
DATABASE_FILES = ("-wal", "-journal")
LETTERS = ".jsonl"


def calls_of(log):
    """The calls in strace's log at the moment when they count: a flush when it is over, everything
    else when it begins. Each as (name, path, answer; None where there is none yet or it failed)."""
    begun = {}
    with open(log, errors="replace") as file:
        for line in file:
            call = CALL.match(line)
            if not call:
                continue
            thread, name, how, rest = call.groups()
            target = TARGET.match(rest)
            if how == "(":
                begun[thread] = target.group(1) if target else ""
            answer = ANSWER.search(rest)
            if name in SYNCS and "<unfinished" not in rest:
                yield name, begun[thread], int(answer.group(1)) if answer else None
            elif name not in SYNCS and how == "(":
                yield name, begun[thread], int(answer.group(1)) if answer else None


def told_too_early(log, results):
    """From strace's log: writes of result lines at which something they speak of was not flushed to
    the disk. A flush that failed is none. Acknowledged lines speak of the database, the others of
    the dead letters."""
    early, dirty, told = [], set(), 0
    with open(results, "rb") as file:
        text = file.read()
    for name, path, answer in calls_of(log):
        if name in SYNCS and answer == 0:
            dirty.discard(path)
        elif path == os.path.realpath(results) and name == "write":
            lines = text[told:told + (answer or len(text))]
            told += answer or 0
            spoken_of = [f for f in DATABASE_FILES if b"ed\",\"id\":\"" in lines or b"{}" in lines]
            spoken_of += [LETTERS] if b"\"rejected\"" in lines or b"\"unknown\"" in lines else []
            if TELLS_UNKEPT.encode() in lines:
                spoken_of.remove(LETTERS)
            early += [f"{path} was not flushed" for path in dirty if path.endswith(tuple(spoken_of))]
        elif name not in SYNCS and path.endswith((*DATABASE_FILES, LETTERS)):
            dirty.add(path)
    return early
