# SPDX-License-Identifier: Apache-2.0
"""onerow bench: a table of its own, figures that add up, and nothing else touched."""
import json
import re

import harness

NAMES = ["new", "changed", "unchanged", "one_by_one", "check_then_create", "new_together",
         "check_then_create_together"]


def bench(t, *options):
    return t.onerow("bench", "--store", "sqlite:x.db", "--rows", "300", *options)


def tables(t):
    return [row[0] for row in t.sql("x.db", "SELECT name FROM sqlite_master WHERE type='table'")]


def test_figures(t):
    result = bench(t, "--processes", "3", "--json")
    assert result.code == 0, result
    told = json.loads(result.out)
    assert [one["name"] for one in told["measured"]] == NAMES, told
    assert told["duplicate_keys"] == 0, told
    by_name = {one["name"]: one for one in told["measured"]}
    for one in told["measured"]:
        assert one["rows_per_second"] > 0 and one["errors"] == 0, one
        assert 0 < one["p50_ms"] <= one["p99_ms"], one
        assert one["processes"] == (3 if one["name"].endswith("_together") else 1), one
    assert by_name["new"]["rows"] == by_name["changed"]["rows"] == 300, told
    assert by_name["check_then_create"]["ratio"] == 1, told
    assert tables(t) == [told["table"]], "the table is the only one, and is left behind"
    shared = by_name["new_together"]["rows"] + by_name["check_then_create_together"]["rows"]
    rows = 300 + by_name["one_by_one"]["rows"] + by_name["check_then_create"]["rows"] + shared // 3
    assert t.count("x.db", f"SELECT count(*) FROM {told['table']}") == rows
    assert t.count("x.db", f"SELECT count(DISTINCT name) FROM {told['table']}") == rows


def test_values_are_those_of_the_last_put(t):
    """A tenth of the first 300 rows was changed by the third put, all of them by the second."""
    table = json.loads(bench(t, "--processes", "1", "--json").out)["table"]
    versions = t.sql("x.db", f"SELECT version, count(*) FROM (SELECT * FROM {table} ORDER BY name "
                             f"LIMIT 300) GROUP BY version ORDER BY version")
    assert versions == [["1", "270"], ["2", "30"]], versions


def test_one_process_and_the_drop(t):
    """The figures as a table; the statement that is told drops what was made, and nothing else."""
    t.sql("x.db", "CREATE TABLE mine (a)")
    result = bench(t, "--processes", "1")
    assert result.code == 0 and "put, new" in result.out, result
    assert "Keys with more than one row: 0" in result.out and "same new keys" not in result.out
    drop = re.search(r"DROP TABLE onerow_bench_[0-9a-f]{8};", result.err).group()
    assert len(tables(t)) == 2
    t.sql("x.db", drop)
    assert tables(t) == ["mine"]


def test_each_run_has_a_table_of_its_own(t):
    assert bench(t, "--processes", "1").code == 0 and bench(t, "--processes", "1").code == 0
    assert len(tables(t)) == 2, tables(t)


def test_refusals(t):
    for arguments in (["--rows", "0"], ["--rows", "x"], ["--processes", "65"], ["--wait", "soon"],
                      ["more"]):
        result = bench(t, *arguments)
        assert result.code == 64 and result.err and not result.out, (arguments, result)
    assert t.onerow("bench").code == 64, "no store is named"
    result = t.onerow("bench", "--store", "memory:")
    assert result.code == 78 and "keeps nothing" in result.err, result
    result = t.onerow("bench", "--store", "sqlite:missing/x.db")
    assert result.code == 69 and not result.out, result


if __name__ == "__main__":
    harness.main()
