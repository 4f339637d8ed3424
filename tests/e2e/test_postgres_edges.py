# SPDX-License-Identifier: Apache-2.0
"""Places where the obvious way would lose, duplicate or misreport a record on PostgreSQL."""
import json
import subprocess

import harness
import postgres


def server():
    return postgres.shared()


def where(database, table, key="k"):
    return ["--store", server().url(database), "--table", table, "--key", key]


def outcomes(t, *arguments):
    result = t.onerow("put", *arguments, "--results", "R", "in.ndjson")
    return result, [(line["outcome"], line["reason"]) for line in t.results("R")]


def test_an_update_that_found_no_row_looks_again(t):
    """A record without a required column waits for one row while another session makes the other:
    it must not be called unchanged."""
    database = server().database("CREATE TABLE t(k text PRIMARY KEY, r int NOT NULL, a int)",
                                 "INSERT INTO t VALUES ('b', 1, 0)")
    t.ndjson("in.ndjson", [{"k": "a", "a": 5}, {"k": "b", "a": 5}])
    with server().connect(database) as holder:
        holder.execute("BEGIN")
        holder.execute("UPDATE t SET r = 1 WHERE k = 'b'")
        process = t.start("put", *where(database, "t"), "--results", "R", "in.ndjson")
        server().wait(lambda: server().count(
            database, "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"))
        server().sql(database, "INSERT INTO t VALUES ('a', 1, 0)")
        holder.execute("COMMIT")
    result = t.finish(process)
    assert result.code == 0, result
    assert [line["outcome"] for line in t.results("R")] == ["updated", "updated"], result
    assert server().sql(database, "SELECT k, a FROM t ORDER BY k") == [["a", "5"], ["b", "5"]]


def test_copy_makes_sure_of_the_index(t):
    """The unique index disappears while the input is open: nothing is copied without it."""
    database = server().database("CREATE TABLE t(k text, a int)", "CREATE UNIQUE INDEX i ON t(k)")
    t.write("onerow.yaml", f"""stores:
  app: {{ url: "{server().url(database)}", connections: 1 }}
tables:
  t: {{ store: app, key: [k] }}
""")
    process = t.start("put", "t", "--batch", "4000", stdin=subprocess.PIPE)
    lines = [json.dumps({"k": f"k{i}", "a": i}) + "\n" for i in range(8000)]
    process.stdin.write("".join(lines[:4000]).encode())
    process.stdin.flush()
    server().wait(lambda: server().count(database, "SELECT count(*) FROM t") == 4000)
    server().sql(database, "DROP INDEX i")
    process.stdin.write("".join(lines[4000:]).encode())
    process.stdin.close()
    process.stdin = None
    result = t.finish(process)
    assert result.code == 78, result
    assert server().count(database, "SELECT count(*) FROM t") == 4000


def test_class_42_may_be_a_record(t):
    """An input function or a trigger may raise what otherwise means a wrong statement."""
    database = server().database(
        "CREATE TABLE t(k int PRIMARY KEY, q tsquery, c regclass)",
        "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF new.k = 4 THEN "
        "RAISE 'not four' USING ERRCODE = '42703'; END IF; RETURN new; END $$",
        "CREATE TRIGGER x BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()")
    t.ndjson("in.ndjson", [{"k": 1, "q": "a & b"}, {"k": 2, "q": "a &"}, {"k": 3, "c": "nowhere"},
                           {"k": 4}, {"k": 5, "q": "c"}])
    result, told = outcomes(t, *where(database, "t"))
    assert result.code == 1, result
    assert [outcome for outcome, _ in told] == ["created"] + ["rejected"] * 3 + ["created"], told


def test_equal_keys_need_not_be_neighbours(t):
    """What is tried again in the order of arrival has equal keys apart from each other."""
    database = server().database(
        "CREATE TABLE t(k text PRIMARY KEY, parent text REFERENCES t(k), a int)")
    records = []
    for turn in (1, 2):
        records += [{"k": f"a{i:03d}", "parent": "z", "a": turn} for i in range(300)]
    t.ndjson("in.ndjson", [{"k": "z"}] + records)
    result, _ = outcomes(t, *where(database, "t"))
    assert result.code == 0 and result.balance["rejected"] == 0, result
    assert server().sql(database, "SELECT a, count(*) FROM t WHERE k <> 'z' GROUP BY 1") == \
        [["2", "300"]]


def test_timestamps_keep_their_moment(t):
    """One spelling is one moment, with a time zone in the column or without; and in bulk."""
    table = "CREATE TABLE t(k text PRIMARY KEY, o timestamp, z timestamptz, a timestamp[])"
    for size in (3, 5000):
        database = server().database(table)
        spelled = "2024-01-01T00:30:00+02:00"
        t.ndjson("in.ndjson", [{"k": f"k{i}", "o": spelled, "z": spelled, "a": [spelled, None]}
                               for i in range(size)])
        for wanted in ("created", "unchanged"):
            result, told = outcomes(t, *where(database, "t"))
            assert {outcome for outcome, _ in told} == {wanted}, result
        assert server().sql(database, "SELECT DISTINCT o, z AT TIME ZONE 'UTC', a[1] FROM t") == \
            [["2023-12-31 22:30:00"] * 3]
    t.ndjson("in.ndjson", [{"k": "k1", "o": "2023-12-31T23:00:00Z"}])
    _, told = outcomes(t, *where(database, "t"), "--on-conflict", "newest(o)")
    assert told == [("updated", None)], told


def test_a_name_writes_no_configuration(t):
    """`onerow init` quotes names in comments, and a name may hold what YAML takes for a new line."""
    database = server().database(
        "CREATE TABLE t(k text NOT NULL, v int)",
        'CREATE UNIQUE INDEX "i\r    unenforced: accept # " ON t(k) WHERE v > 0',
        'CREATE TABLE "a.t"("${HOME}" text PRIMARY KEY)', "CREATE SCHEMA a",
        "CREATE TABLE a.t(k text PRIMARY KEY)")
    made = t.onerow("init", server().url(database))
    assert made.code == 0, made
    checked = t.onerow("check", "t")
    assert checked.code == 78 and "unenforced" not in checked.out.split("REFUSED")[0], checked
    loaded = t.onerow("check")
    assert "${HOME}" in loaded.out and "line" not in loaded.err.lower(), loaded


def test_a_normalized_key_has_no_statement(t):
    database = server().database("CREATE TABLE t(k text PRIMARY KEY, v int)")
    t.write("onerow.yaml", f"""stores:
  app: {{ url: "{server().url(database)}" }}
tables:
  t: {{ store: app, key: [{{ column: k, normalize: [trim, casefold] }}] }}
""")
    refused = t.onerow("sql", "t")
    assert refused.code == 78 and "normalize" in refused.err, refused


if __name__ == "__main__":
    harness.main()
