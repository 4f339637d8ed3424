# SPDX-License-Identifier: Apache-2.0
"""kill -9 at every n-th system call of a small put that changes something on the disk.

For each call there is one run for n = 1, 2, … until a run is no longer killed. After each: the file
is whole, what a result line says is so, and the same command again ends as if nothing had happened.
The negative control is a writer that tells before it commits; the same check finds its lie.
"""
import concurrent.futures
import sys

import harness
import small_put


WAVE = 6  # runs at the same time; they mostly wait for the disk


def kill_once(t, call, n, file):
    """One put, killed at its n-th call (of one file), and the same put again. False: not killed."""
    case = small_put.Case(t, f"{call}{n}")
    result = case.put("R1", harness.kill_at(call, n, t.path(case.folder, file) if file else None))
    if result.code != -9:
        case.check_end(result, "R1")
        return False
    wrong = case.what_is_untrue("R1")
    assert wrong == [], (call, n, wrong)
    case.check_end(case.put("R2"), "R2")
    return True


def killed_runs(t, call, least, file=None):
    """Kills a put at its n-th call, for every n; at least `least` runs must have been killed."""
    killed, n = 0, 1
    with concurrent.futures.ThreadPoolExecutor(WAVE) as pool:
        while True:
            wave = list(pool.map(lambda n: kill_once(t, call, n, file), range(n, n + WAVE)))
            killed += sum(wave)
            n += WAVE
            if not all(wave):
                break
    print(f"# killed at each of {killed} calls of {call}{' on ' + file if file else ''}")
    assert killed >= least, f"{killed} runs were killed: the test shows too little"


def test_kill_at_every_pwrite(t):
    killed_runs(t, "pwrite64", 20)


def test_kill_at_every_pwrite_of_the_log(t):
    """Calls are counted per thread: these are those of the thread that makes the table, too."""
    killed_runs(t, "pwrite64", 15, "x.db-wal")


def test_kill_at_every_write(t):
    killed_runs(t, "write", 8)


def test_kill_at_every_fdatasync(t):
    killed_runs(t, "fdatasync", 10)


def test_kill_at_every_fdatasync_of_the_log(t):
    killed_runs(t, "fdatasync", 4, "x.db-wal")


def test_kill_at_every_fsync(t):
    killed_runs(t, "fsync", 3)


def test_kill_at_every_unlink(t):
    killed_runs(t, "unlink", 2)


def test_kill_at_every_ftruncate(t):
    killed_runs(t, "ftruncate", 1)


def test_kill_at_every_mkdir(t):
    killed_runs(t, "mkdir", 1)


def test_kill_at_every_open(t):
    killed_runs(t, "openat", 20)


def test_kill_at_every_lock(t):
    """A dead owner of a lock holds nobody up."""
    killed_runs(t, "fcntl", 20)


# ---- the negative control -----------------------------------------------------------------------

LIAR = r'''
import json, os, sqlite3, sys
import small_put
database = sqlite3.connect("x.db", isolation_level=None)
database.execute("PRAGMA journal_mode=WAL")
database.execute("CREATE TABLE t(name TEXT PRIMARY KEY, v INTEGER)")
results = os.open("R1", os.O_WRONLY | os.O_CREAT)
for n, record in enumerate(small_put.records(), 1):
    if n in small_put.REJECTED:
        continue
    database.execute("BEGIN")
    database.execute("INSERT OR REPLACE INTO t VALUES (?, ?)", (record["name"], record["v"]))
    told = json.dumps({"line": n, "outcome": "created", "reason": None}) + "\n"
    if sys.argv[1] == "early":
        os.write(results, told.encode())
    database.execute("COMMIT")
    if sys.argv[1] != "early":
        os.write(results, told.encode())
'''


def lies_when_killed(t, when, n):
    case = small_put.Case(t, f"{when}{n}")
    case.env["PYTHONPATH"] = sys.path[0]
    result = case.run([sys.executable, "-c", LIAR, when], harness.kill_at("pwrite64", n))
    assert result.code == -9, result
    assert case.lines("R1"), "nothing was told: the control shows nothing"
    return case.what_is_untrue("R1")


def test_control_a_result_before_the_commit_is_found(t):
    """Tell, then commit: some kill shows the lie. Commit, then tell: none does."""
    points = range(40, 60, 3)
    lies = [wrong for n in points for wrong in lies_when_killed(t, "early", n)]
    print(f"# a writer that tells before it commits: {lies[:1]}")
    assert any("is not there" in wrong for wrong in lies), lies
    assert [lies_when_killed(t, "late", n) for n in points] == [[]] * len(points)


if __name__ == "__main__":
    harness.main()
