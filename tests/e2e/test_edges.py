# SPDX-License-Identifier: Apache-2.0
"""Edges where a record was once lost, duplicated or told wrongly, each by the way it was found."""
import os
import signal
import subprocess

import harness

WHERE = ["--store", "sqlite:x.db", "--table", "t", "--key", "k"]


def test_a_file_with_two_names_is_refused(t):
    t.sql("x.db", "CREATE TABLE t (k TEXT NOT NULL UNIQUE)")
    assert t.onerow("put", *WHERE, input='{"k":"a"}\n').code == 0
    os.link(t.path("x.db"), t.path("y.db"))
    refused = t.onerow("put", *WHERE, input='{"k":"b"}\n')
    assert refused.code == 78 and "hard link" in refused.err, refused
    os.unlink(t.path("y.db"))
    assert t.onerow("put", *WHERE, input='{"k":"b"}\n').code == 0


def test_what_only_the_sorted_order_refuses_is_written(t):
    t.sql("x.db", "CREATE TABLE t (k TEXT PRIMARY KEY, parent TEXT REFERENCES t (k), e TEXT UNIQUE);"
                  "INSERT INTO t VALUES ('b', NULL, 'x')")
    lines = ('{"k":"z"}\n{"k":"a","parent":"z"}\n'  # the parent's key sorts behind the child's
             '{"k":"b","e":"y"}\n{"k":"aa","e":"x"}\n'  # b lets go of x before aa takes it
             '{"k":"c","parent":"nobody"}\n')
    result = t.onerow("put", *WHERE, input=lines)
    assert result.code == 1 and result.balance["rejected"] == 1, result
    assert t.sql("x.db", "SELECT k, parent, e FROM t ORDER BY k") == [
        ["a", "z", ""], ["aa", "", "x"], ["b", "", "y"], ["z", "", ""]]


def test_results_never_empty_an_input(t):
    t.sql("x.db", "CREATE TABLE t (k TEXT NOT NULL UNIQUE)")
    path = t.ndjson("in.ndjson", [{"k": "a"}])
    result = t.onerow("put", *WHERE, "--results", path, path)
    assert result.code == 64 and os.path.getsize(path) > 0, result


def test_an_envelope_without_a_home_is_kept(t):
    t.sql("x.db", "CREATE TABLE t (k TEXT NOT NULL UNIQUE); CREATE TABLE u (k TEXT UNIQUE NOT NULL)")
    t.write("onerow.yaml", "stores:\n  s: { url: 'sqlite:x.db' }\ntables:\n"
                           "  t: { store: s, key: k }\n  u: { store: s, key: k }\n")
    result = t.onerow("put", input='{"table":"nope","record":{"k":"a"}}\n')
    assert result.code == 1, result
    listed = t.onerow("dlq", "export")
    assert '"record":{"k":"a"}' in listed.out and '"table":"nope"' in listed.out, listed


def test_nothing_is_put_into_thin_air(t):
    for url in ("sqlite::memory:", "sqlite:file:x?mode=memory"):
        result = t.onerow("put", "--store", url, "--table", "t", "--key", "k", "--create-table",
                          input='{"k":"a"}\n')
        assert result.code == 78, result


def test_a_pipe_without_a_writer_can_be_left(t):
    t.sql("x.db", "CREATE TABLE t (k TEXT NOT NULL UNIQUE)")
    os.mkfifo(t.path("pipe"))
    process = t.start("put", *WHERE, t.path("pipe"))
    caught = f"/proc/{process.pid}/status"  # wait until SIGINT is caught: bit 1 of SigCgt
    t.wait_until(lambda: any(line.startswith("SigCgt") and int(line.split()[1], 16) & 2
                             for line in open(caught)))
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == 75, process.returncode


def test_a_closed_standard_input_is_empty(t):
    t.sql("x.db", "CREATE TABLE t (k TEXT NOT NULL UNIQUE)")
    shell = subprocess.run(["sh", "-c", '"$0" "$@" <&-', harness.ONEROW, "put", *WHERE, "-"],
                           cwd=t.folder, env=t.env, capture_output=True, timeout=30)
    assert shell.returncode == 0 and b"read 0 =" in shell.stdout, shell


def test_a_table_is_made_from_the_first_file_with_records(t):
    t.write("empty.ndjson", "")
    records = t.ndjson("in.ndjson", [{"k": "a"}, {"k": "b", "v": 1}])
    result = t.onerow("put", *WHERE, "--create-table", t.path("empty.ndjson"), records)
    assert result.code == 0 and result.balance["created"] == 2, result


def test_leading_zeros_of_a_csv_key_count(t):
    rows = "".join(f"{n},x\n" for n in range(1, 1101))
    t.write("in.csv", "k,v\n" + rows + "007,y\n")
    result = t.onerow("put", *WHERE, "--create-table", t.path("in.csv"))
    assert result.code == 0 and t.count("x.db", "SELECT count(*) FROM t") == 1101, result


if __name__ == "__main__":
    harness.main()
