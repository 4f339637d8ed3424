#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""docs/leases.md: the race is what its command prints, and the SQL that checks the token does so."""
import os
import re
import signal
import subprocess

import harness
import postgres
from lease_run import is_free, kill, parent, run, start, wait_for_pid

ROOT = os.environ.get("ONEROW_SOURCE_ROOT") or os.path.abspath(".")


def document():
    with open(os.path.join(ROOT, "docs", "leases.md"), encoding="utf-8") as file:
        return file.read()


def sql_blocks():
    """What makes the fence in PostgreSQL, in SQLite, and a step that checks it."""
    blocks = re.findall(r"^```sql\n(.*?)^```", document(), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 3 and ":token" in blocks[2], blocks
    return blocks


def unchecked(step):
    """The same without the check, for the controls."""
    naive = re.sub(r"INSERT INTO fence.*?;\n", "", step, flags=re.DOTALL)
    assert naive != step and "UPDATE totals" in naive
    return naive


# ---- the picture -------------------------------------------------------------------------------

def test_the_race_is_what_its_command_prints(t):
    shown = re.search(r"^\$ build/onerow (simulate --protocol lease .*)\n([^`]*)```", document(),
                      re.MULTILINE)
    assert shown, "the race is no longer in docs/leases.md"
    result = t.onerow(*shown.group(1).split(), "--svg", t.path("race.svg"))
    assert result.code == 1 and result.out.endswith(shown.group(2)), result
    with open(os.path.join(ROOT, "docs", "lease-pause.svg"), "rb") as kept:
        with open(t.path("race.svg"), "rb") as drawn:
            assert kept.read() == drawn.read(), "docs/lease-pause.svg is another picture"


def test_a_token_that_nobody_checks_fails_too(t):
    result = t.onerow("simulate", "--protocol", "lease-token", "--faults", "pause", "--schedules",
                      "1000", "--seed", "1")
    assert result.code == 1 and "carry one key" in result.out, result


# ---- PostgreSQL --------------------------------------------------------------------------------

def in_postgres(database, step, token):
    """The code of psql, as the document calls it."""
    return subprocess.run([harness.need("psql", "postgresql-client"), "-X", "-q", "-v",
                           "ON_ERROR_STOP=1", "-v", f"token={token}", "-f", "-",
                           postgres.shared().url(database)], input=step, capture_output=True, text=True)


def made_in_postgres():
    fence, _, step = sql_blocks()
    return postgres.shared().database(fence, "CREATE TABLE totals (n int)",
                                      "INSERT INTO totals VALUES (0)"), step


def test_postgres_refuses_an_older_token(t):
    database, step = made_in_postgres()
    for token, passes in ((5, True), (5, True), (7, True), (6, False), (5, False), (8, True)):
        before = postgres.shared().count(database, "SELECT n FROM totals")
        answer = in_postgres(database, step, token)
        assert (answer.returncode == 0) == passes, answer
        assert passes or f"token {token} of nightly is over" in answer.stderr, answer
        assert postgres.shared().count(database, "SELECT n FROM totals") == before + passes
    assert in_postgres(database, unchecked(step), 5).returncode == 0, "control: it would be written"


def test_postgres_lets_the_later_one_see_what_was_done(t):
    """It waits at the fence for the earlier one's COMMIT."""
    database, step = made_in_postgres()
    with postgres.shared().connect(database, autocommit=False) as earlier:
        begin, update, commit = [s for s in step.replace(":token", "5").split(";\n")
                                 if s.strip() and s != "BEGIN"]
        earlier.execute(begin)
        client = harness.need("psql", "postgresql-client")
        with subprocess.Popen([client, "-X", "-q", "-v", "ON_ERROR_STOP=1", "-v", "token=6", "-f", "-",
                               postgres.shared().url(database)], stdin=subprocess.PIPE,
                              text=True) as later:
            later.stdin.write(step)
            later.stdin.close()
            t.wait_until(lambda: postgres.shared().count(
                "postgres", "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' "
                f"AND datname = '{database}'") == 1, what="the later one waits")
            earlier.execute(update)
            earlier.execute(commit)
            assert later.wait(60) == 0
    assert postgres.shared().count(database, "SELECT n FROM totals") == 2


# ---- SQLite ------------------------------------------------------------------------------------

def in_sqlite(t, token, step="step.sql"):
    return subprocess.run([harness.need("sqlite3", "sqlite3"), "-bail", t.path("app.db"),
                           f".parameter set :token {token}", f".read {t.path(step)}"],
                          capture_output=True, text=True)


def made_in_sqlite(t):
    _, fence, step = sql_blocks()
    t.sql("app.db", fence + "CREATE TABLE totals (n INTEGER); INSERT INTO totals VALUES (0);")
    t.write("step.sql", step.replace("BEGIN;", "BEGIN IMMEDIATE;"))
    t.write("naive.sql", unchecked(step))


def total(t):
    return t.count("app.db", "SELECT n FROM totals")


def test_sqlite_refuses_an_older_token(t):
    made_in_sqlite(t)
    for token, passes in ((5, True), (5, True), (7, True), (6, False), (5, False), (8, True)):
        before = total(t)
        answer = in_sqlite(t, token)
        assert (answer.returncode == 0) == passes, answer
        assert passes or "a higher one was here" in answer.stderr, answer
        assert total(t) == before + passes
    assert in_sqlite(t, 5, "naive.sql").returncode == 0, "control: it would be written"


def test_a_paused_machine_is_stopped_by_the_token(t):
    """Wrapper, guardian and command stand still until somebody else has had the lease; then the
    command goes on first. With the check it writes nothing, without it it does."""
    made_in_sqlite(t)
    for step, writes in (("step.sql", False), ("naive.sql", True)):
        t.write("work.sh", "echo $$ >work.new; mv work.new work.pid\n"
                           "while [ ! -e go ]; do sleep 0.01; done\n"
                           f'sqlite3 -bail app.db ".parameter set :token $ONEROW_TOKEN" ".read {step}"\n'
                           "echo $? >code.new; mv code.new code; exec sleep 1000\n")
        process = start(t, "--ttl", "2", "nightly", "sh", "work.sh")
        pid = wait_for_pid(t, "work")
        guardian = parent(pid)
        for one in (process.pid, guardian):
            kill(one, "SIGSTOP")
        os.killpg(pid, signal.SIGSTOP)
        t.wait_until(lambda: is_free(t, "nightly"), what="the end of the lease's time")
        t.write("other.sh",
                'sqlite3 -bail app.db ".parameter set :token $ONEROW_TOKEN" ".read step.sql"\n')
        assert run(t, "nightly", "sh", "other.sh").code == 0
        before = total(t)
        t.write("go", "")
        os.killpg(pid, signal.SIGCONT)
        t.wait_until(lambda: os.path.exists(t.path("code")), what="the command's write")
        with open(t.path("code"), encoding="ascii") as file:
            assert (file.read() == "0\n") == writes
        assert total(t) == before + writes
        kill(guardian, "SIGCONT")
        kill(process.pid, "SIGCONT")
        assert t.finish(process).code == 75
        for name in ("go", "code", "work.pid"):
            os.unlink(t.path(name))


if __name__ == "__main__":
    harness.main()
