# SPDX-License-Identifier: Apache-2.0
"""What the end-to-end tests share: a folder of their own, the command, the sqlite3 client, and TAP.

A test file defines functions test_*(t), each with a Place `t`, and ends with harness.main().
Every check is an assert whose message shows what was seen. Random choices come from t.random,
whose seed is printed; ONEROW_TEST_SEED=N repeats a run.
"""
import glob
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback

ONEROW = os.environ.get("ONEROW") or os.path.abspath("build/onerow")
OUTCOMES = ("created", "updated", "unchanged", "rejected", "unknown")


def need(program, package):
    """The path of a program that the test cannot do without."""
    path = shutil.which(program)
    assert path, f"{program} is missing: apt-get install {package}"
    return path


def strace(*options, log="/dev/null"):
    """The beginning of a command that runs another one, and its threads, under strace. Leaks cannot
    be looked for meanwhile: a sanitizer would have to trace the process as well."""
    return ["env", "ASAN_OPTIONS=" + os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0",
            need("strace", "strace"), "-f", "-o", log, *options]


def kill_at(call, n, path=None):
    """Options of strace: kill -9 at the n-th call of each thread, counting only those of one file."""
    only = ["-P", path] if path else []
    return [*only, "-e", f"trace={call}", "-e", f"inject={call}:signal=KILL:when={n}"]


class Place:
    """A temporary folder in which one test runs."""

    def __init__(self, seed):
        self.folder = tempfile.mkdtemp(prefix="onerow-test-")
        self.random = random.Random(seed)
        self.env = dict(os.environ, ONEROW_STATE=self.path("state"), LC_ALL="C.UTF-8")
        self.env.pop("DATABASE_URL", None)
        self.running = []

    def path(self, *parts):
        return os.path.join(self.folder, *parts)

    def write(self, name, content):
        data = content if isinstance(content, bytes) else content.encode()
        with open(self.path(name), "wb") as file:
            file.write(data)
        return self.path(name)

    def ndjson(self, name, records):
        return self.write(name, "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in records))

    def start(self, *arguments, **options):
        """Starts onerow and returns the process; it is killed at the end of the test at the latest."""
        options.setdefault("stdout", subprocess.PIPE)
        options.setdefault("stderr", subprocess.PIPE)
        options.setdefault("stdin", subprocess.DEVNULL)
        process = subprocess.Popen([ONEROW, *arguments], cwd=self.folder, env=self.env, **options)
        self.running.append(process)
        return process

    def onerow(self, *arguments, input=None, timeout=120):
        """Runs onerow to its end: an object with code, out, err, and the balance by outcome."""
        options = {"stdin": subprocess.PIPE} if input is not None else {}
        process = self.start(*arguments, **options)
        data = input.encode() if isinstance(input, str) else input
        out, err = process.communicate(data, timeout=timeout)
        return Result(process.returncode, out.decode(errors="replace"), err.decode(errors="replace"))

    def sql(self, database, statement):
        """Rows of a statement, asked through the sqlite3 client; each a list of texts."""
        client = need("sqlite3", "sqlite3")
        answer = subprocess.run([client, "-cmd", ".timeout 60000", "-separator", "\x1f",
                                 self.path(database), statement],
                                capture_output=True, text=True, cwd=self.folder)
        assert answer.returncode == 0, answer.stderr
        return [line.split("\x1f") for line in answer.stdout.splitlines()]

    def count(self, database, statement):
        return int(self.sql(database, statement)[0][0])

    def results(self, name):
        """Complete result lines; a torn last one (of a killed process) is left out."""
        with open(self.path(name), "rb") as file:
            lines = file.read().split(b"\n")[:-1]
        return [json.loads(line) for line in lines]

    def letters(self, folder="state"):
        """The dead letters of a state folder, as they lie in its files; torn lines are left out."""
        found = []
        for path in sorted(glob.glob(os.path.join(self.path(folder), "dead-letters", "*.jsonl"))):
            with open(path, "rb") as file:
                for line in file.read().split(b"\n"):
                    try:
                        found.append(json.loads(line))
                    except ValueError:
                        continue
        return found

    def finish(self, process, timeout=120):
        """Waits for a started process and gives its Result."""
        out, err = process.communicate(timeout=timeout)
        return Result(process.returncode, out.decode(errors="replace"), err.decode(errors="replace"))

    def sound(self, database):
        """The file passes SQLite's own check; nothing is to be said of one that is not there yet."""
        if os.path.exists(self.path(database)):
            answer = self.sql(database, "PRAGMA integrity_check")
            assert answer == [["ok"]], answer

    def wait_until(self, condition, seconds=180, what="the condition"):
        """Polls a condition that another process makes true; never a substitute for order."""
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f"{what} did not come true in {seconds} s"
            time.sleep(0.002)

    def close(self):
        for process in self.running:
            if process.poll() is None:
                process.kill()
                process.wait()
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe:
                    pipe.close()
        shutil.rmtree(self.folder, ignore_errors=True)


ACKNOWLEDGED = ("created", "updated", "unchanged")


def untrue(lines, records, rows, letters):
    """What is wrong with the result lines of one writer: a list of sentences, empty when all is true.

    `records` are the input's, in its order (None: a line that is no record); `rows` maps a key to
    the record that the table holds now. A row may be ahead of the last line, never behind it.
    """
    wrong, last = [], {}
    kept = {letter["line"] for letter in letters}
    for line in lines:
        if line["outcome"] in ACKNOWLEDGED:
            last[records[line["line"] - 1]["name"]] = line["line"]
        elif line["line"] not in kept:
            wrong.append(f"line {line['line']} is {line['outcome']} and has no dead letter")
    for key, at in last.items():
        allowed = [r for r in records[at - 1:] if r and r.get("name") == key]
        if key not in rows:
            wrong.append(f"{key} was acknowledged at line {at} and is not there")
        elif rows[key] not in allowed:
            wrong.append(f"{key} was acknowledged at line {at} and holds {rows[key]}")
    return wrong


class Result:
    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err

    @property
    def balance(self):
        """The summary's numbers, checked to add up."""
        for line in (self.out + self.err).splitlines():
            if line.startswith(("read ", "dry run: read ")):
                words = line.removeprefix("dry run: ").split()
                numbers = {"read": int(words[1])}
                numbers.update({words[i + 1]: int(words[i]) for i in range(3, len(words), 3)})
                assert numbers["read"] == sum(numbers[o] for o in OUTCOMES), line
                return numbers
        raise AssertionError(f"no balance in: {self.out!r} {self.err!r}")

    def __repr__(self):
        return f"exit {self.code}\nstdout: {self.out}\nstderr: {self.err}"


def hear_signals():
    """What whoever started the tests ignores (nohup does) would be ignored by all that they start."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)


def main():
    """Runs the test functions of the calling file, in their order, as TAP."""
    hear_signals()
    module = sys.modules["__main__"]
    tests = [f for name, f in vars(module).items() if name.startswith("test_") and callable(f)]
    wanted = sys.argv[1:]
    tests = [f for f in tests if not wanted or f.__name__ in wanted]
    seed = int(os.environ.get("ONEROW_TEST_SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"# ONEROW_TEST_SEED={seed}")
    print(f"1..{len(tests)}", flush=True)
    failed = 0
    for number, test in enumerate(tests, 1):
        place = Place(seed)
        try:
            test(place)
            print(f"ok {number} - {test.__name__}", flush=True)
        except BaseException:
            failed += 1
            for line in traceback.format_exc().splitlines():
                print(f"# {line}")
            print(f"not ok {number} - {test.__name__}", flush=True)
        finally:
            place.close()
    sys.exit(1 if failed else 0)
