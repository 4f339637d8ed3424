# SPDX-License-Identifier: Apache-2.0
"""The disk fails, or is full: what is told, what is kept, and that nothing is told too early.

Failing calls are injected with strace into the small put of small_put.py, at every n-th call, and
its log shows whether a result line was written while something it speaks of was not on the disk.
"""
import collections
import concurrent.futures
import contextlib
import os
import resource
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))
import harness  # noqa: E402
import small_put  # noqa: E402

WAVE = 6
TRACE = ["-e", "trace=pwrite64,write,fsync,fdatasync"]


# ---- failing calls ------------------------------------------------------------------------------

def check_told(result, lines):
    """The balance adds up and is that of the result lines; what is not known is said to be so."""
    if "read " not in result.out:  # it failed before the first record
        assert not lines, (result, lines)
        return
    balance = result.balance
    told = collections.Counter(line["outcome"] for line in lines)
    assert all(balance[outcome] == told[outcome] for outcome in harness.OUTCOMES), (result, told)


def no_result_lines(t, case):
    """A run that failed before it opened the file of result lines has told nothing."""
    return not os.path.exists(t.path(case.folder, "R1"))


def fail_once(t, call, error, n, file):
    """One put whose n-th call fails, and the same put again: 'unmet', 'harmless' or 'failed'."""
    case = small_put.Case(t, f"{call}-{error}-{n}")
    only = ["-P", t.path(case.folder, file)] if file else []
    result = case.put("R1", [*only, *TRACE, "-e", f"inject={call}:error={error}:when={n}"])
    what = (call, error, n, result)
    with open(case.log, errors="replace") as log:
        met = "(INJECTED)" in log.read()
    if not met:
        case.check_end(result, "R1")
        return "unmet"
    assert result.code in (0, 1, 69), what
    if call != "write":  # a failing write may be that of the result lines themselves
        check_told(result, case.lines("R1"))
    if result.code == 69:
        assert "\n  " in result.err, what  # what to do is told with what went wrong
    assert no_result_lines(t, case) or \
        small_put.told_too_early(case.log, t.path(case.folder, "R1")) == [], what
    wrong = case.what_is_untrue("R1")
    assert wrong == [], (what, wrong)
    case.check_end(case.put("R2"), "R2")
    return "failed" if result.code == 69 else "harmless"


def failing_runs(t, call, error, least, file=None):
    met, n = collections.Counter(), 1
    with concurrent.futures.ThreadPoolExecutor(WAVE) as pool:
        while True:
            wave = list(pool.map(lambda n: fail_once(t, call, error, n, file), range(n, n + WAVE)))
            met.update(wave)
            n += WAVE
            if "unmet" in wave:
                break
    print(f"# {call} answers {error}: {met['failed']} runs ended with 69, {met['harmless']} went on")
    assert met["failed"] >= least, f"too few runs failed: {met}"


def test_fdatasync_fails(t):
    failing_runs(t, "fdatasync", "EIO", 10)


def test_fsync_fails(t):
    failing_runs(t, "fsync", "EIO", 2)


def test_pwrite_has_no_room(t):
    failing_runs(t, "pwrite64", "ENOSPC", 15)


def test_pwrite_of_the_log_has_no_room(t):
    failing_runs(t, "pwrite64", "ENOSPC", 15, "x.db-wal")


def test_pwrite_fails(t):
    failing_runs(t, "pwrite64", "EIO", 15)


def test_write_has_no_room(t):
    """Result lines and dead letters."""
    failing_runs(t, "write", "ENOSPC", 5)


# ---- the order of flushing and telling ------------------------------------------------------------

CARELESS = r'''
import os, sqlite3, sys
database = sqlite3.connect("x.db", isolation_level=None)
database.execute("PRAGMA journal_mode=WAL")
database.execute("PRAGMA synchronous=" + sys.argv[1])
database.execute("CREATE TABLE t(name TEXT PRIMARY KEY)")
results = os.open("R1", os.O_WRONLY | os.O_CREAT)
for n in range(5):
    database.execute("INSERT INTO t VALUES (?)", (n,))
    os.write(results, b"{}\n")
'''


def test_told_after_the_flush(t):
    """Every result line is written when database and dead letters are flushed. Control: the same
    look at SQLite's synchronous=NORMAL, under which a power cut takes what was told."""
    case = small_put.Case(t, "order")
    result = case.put("R1", TRACE)
    assert result.code == 1, result
    assert small_put.told_too_early(case.log, t.path(case.folder, "R1")) == []
    for mode, careless in (("FULL", False), ("NORMAL", True)):
        control = small_put.Case(t, mode)
        result = control.run([sys.executable, "-c", CARELESS, mode], TRACE)
        assert result.code == 0, result
        early = small_put.told_too_early(control.log, t.path(mode, "R1"))
        assert bool(early) == careless, (mode, early)


# ---- full disks -------------------------------------------------------------------------------------

@contextlib.contextmanager
def small_disk(t, name, size):
    """A disk of its own, of `size` bytes; yields a function that gives it another size."""
    path = t.path(name)
    os.mkdir(path)
    mount = harness.need("mount", "mount")
    done = subprocess.run([mount, "-t", "tmpfs", "-o", f"size={size}", "onerow-test", path],
                          capture_output=True, text=True)
    if done.returncode:
        raise PermissionError(done.stderr.strip())
    try:
        yield lambda more: subprocess.run([mount, "-o", f"remount,size={more}", path], check=True)
    finally:
        subprocess.run([harness.need("umount", "mount"), "-l", path], check=True)


def fill_records(t):
    records = [{"name": f"k{n}", "v": n, "text": "x" * 1000} for n in range(1, 4001)]
    return records, t.ndjson("in.ndjson", records)


def rows_of(t, database):
    return {name: {"name": name, "v": int(v), "text": text}
            for name, v, text in t.sql(database, "SELECT name, v, text FROM t")}


def check_full(t, result, database, records, put):
    """The run that met the full disk, and the one after there was room again."""
    assert result.code == 69, result
    assert "database or disk is full" in result.err or "disk I/O error" in result.err, result
    assert "same command again" in result.err, result
    lines = t.results("R1")
    check_told(result, lines)
    acknowledged = [line for line in lines if line["outcome"] in harness.ACKNOWLEDGED]
    assert 0 < len(acknowledged) < len(records), len(acknowledged)
    print(f"# {len(acknowledged)} of {len(records)} records were in when the disk was full")
    yield  # room is made
    assert harness.untrue(lines, records, rows_of(t, database), t.letters()) == []
    again = put("R2")
    assert again.code == 0 and again.balance["read"] == len(records), again
    assert again.balance["unchanged"] >= len(acknowledged), again
    assert rows_of(t, database) == {record["name"]: record for record in records}
    t.sound(database)


def put_to(t, database, path):
    def put(results):
        return t.onerow("put", "--store", "sqlite:" + database, "--table", "t", "--key", "name",
                        "--create-table", "--batch", "100", "--results", results, path)
    return put


def test_full_disk(t):
    records, path = fill_records(t)
    put = put_to(t, "disk/x.db", path)
    try:
        with small_disk(t, "disk", 2 << 20) as resize:
            for _ in check_full(t, put("R1"), "disk/x.db", records, put):
                resize(64 << 20)
    except PermissionError as error:
        print(f"# no mount here ({error}): a limit on the size of files instead")
        shutil.rmtree(t.path("disk"))
        file_size_limit(t, records, path)


def file_size_limit(t, records, path):
    def limited():
        resource.setrlimit(resource.RLIMIT_FSIZE, (2 << 20, resource.RLIM_INFINITY))
    put = put_to(t, "limited.db", path)
    process = t.start("put", "--store", "sqlite:limited.db", "--table", "t", "--key", "name",
                      "--create-table", "--batch", "100", "--results", "R1", path,
                      preexec_fn=limited)
    for _ in check_full(t, t.finish(process), "limited.db", records, put):
        pass


def test_file_size_limit(t):
    records, path = fill_records(t)
    file_size_limit(t, records, path)


def test_no_room_for_dead_letters(t):
    """Records that are neither written nor kept are told one by one; nothing else is lost."""
    records = [{"name": None, "text": "x" * 1000} if n % 2 else {"name": f"k{n}", "text": "y"}
               for n in range(1, 1001)]
    path = t.ndjson("in.ndjson", records)
    t.sql("x.db", "CREATE TABLE t(name TEXT NOT NULL UNIQUE, text TEXT)")
    command = ["put", "--store", "sqlite:x.db", "--table", "t", "--key", "name", "--batch", "50",
               path, "--results"]
    try:
        with small_disk(t, "state", 128 << 10) as resize:
            result = t.onerow(*command, "R1")
            lines = t.results("R1")
            check_no_letters(t, result, lines)
            resize(8 << 20)
            again = t.onerow(*command, "R2")
            assert again.code == 1 and again.balance["rejected"] == 500, again
            assert harness.untrue(t.results("R2"), records, {r["name"]: {"name": r["name"],
                                  "text": "y"} for r in records if r["name"]}, t.letters()) == []
    except PermissionError as error:
        print(f"# no mount here ({error}): the folder of letters is a file instead")
        shutil.rmtree(t.path("state"))
        t.write("state", "")
        check_no_letters(t, t.onerow(*command, "R1"), t.results("R1"))
    assert t.count("x.db", "SELECT count(*) FROM t") >= 25


def check_no_letters(t, result, lines):
    assert result.code == 69, result
    unkept = [line for line in lines if line["outcome"] == "rejected" and
              small_put.TELLS_UNKEPT in line["reason"]]
    assert unkept, result
    first = min(line["line"] for line in unkept)
    assert f"{len(unkept)} records are neither written nor kept, from line {first} on" in \
        result.err, result
    kept = {letter["line"] for letter in t.letters()}
    assert all(line["line"] in kept for line in lines
               if line["outcome"] == "rejected" and line not in unkept)
    check_told(result, lines)


if __name__ == "__main__":
    harness.main()
