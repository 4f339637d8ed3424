# SPDX-License-Identifier: Apache-2.0
"""PostgreSQL's tables as people make them: names, keys and indexes, and what a table may have beside
its key: policies, privileges, partitions, constraints.
"""
import json

import harness
import postgres
from postgres import outcomes, put

CONFIGURATION = """stores:
  app: {{ url: "{url}" }}
tables:
  t:
    store: app
{more}"""
PREPARE = 'CREATE EXTENSION citext; CREATE SCHEMA "App"'


def place(t, *statements, more="    key: [k]\n"):
    database = postgres.shared().database(PREPARE, *statements)
    t.write("onerow.yaml", CONFIGURATION.format(url=postgres.shared().url(database), more=more))
    return database


def refused(t, fragment, command="put", code=78):
    """The command fails before it writes, and says why."""
    result = t.onerow(command, "t", *(["in.ndjson"] if command == "put" else []))
    assert result.code == code and fragment in result.err, (fragment, result)
    return result.err


# ---- names and keys -----------------------------------------------------------------------------

def test_mixed_case_names(t):
    """Schemas, tables and columns as they are spelt, with characters that SQL gives a meaning."""
    server = postgres.shared()
    database = place(t, 'CREATE TABLE "App"."My Items.all"("Key" text PRIMARY KEY, "a ""b"".c" int, '
                        '"select" int, "naïve" int)',
                     "CREATE TABLE my_items(key text PRIMARY KEY, v int)",
                     more="    location: '\"App\".\"My Items.all\"'\n    key: [Key]\n")
    record = {"Key": "x", 'a "b".c': 1, "select": 2, "naïve": 3}
    assert put(t, [record]) == [("created", None)]
    assert put(t, [record]) == [("unchanged", None)]
    assert put(t, [{**record, "select": 3}]) == [("updated", None)]
    assert outcomes(put(t, [{"key": "x"}])) == ["rejected"]
    assert server.sql(database, 'SELECT * FROM "App"."My Items.all"') == [["x", "1", "3", "3"]]
    t.write("onerow.yaml", CONFIGURATION.format(
        url=server.url(database), more="    location: public.MY_ITEMS\n    key: [key]\n"))
    assert put(t, [{"key": "y", "v": 1}]) == [("created", None)]


def test_composite_keys(t):
    """In any order, of any types, and in any spelling of the same moment, number or uuid."""
    server = postgres.shared()
    database = place(t, "CREATE TABLE t(v int, at timestamptz, seen timestamp, n numeric, who varchar(9), "
                        "day date, id uuid, flag boolean, PRIMARY KEY (who, n, day, at, seen, id, flag))",
                     more="    key: [day, who, n, at, seen, id, flag]\n")
    record = {"day": "2024-01-01", "who": "a", "n": 1.50, "at": "2024-01-01T01:00:00+01:00",
              "seen": "2024-01-01T00:30:00+02:00", "id": "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11",
              "flag": True, "v": 1}
    same = {**record, "n": "1.5", "at": "2024-01-01T00:00:00Z", "seen": "2023-12-31 22:30:00",
            "id": record["id"].lower()}
    told = put(t, [record, same, {**same, "v": 2}])
    assert outcomes(told) == ["created", "unchanged", "updated"], told
    assert outcomes(put(t, [{**same, column: value} for column, value in [
        ("n", 1.51), ("who", "A"), ("day", "2024-01-02"), ("flag", False),
        ("seen", "2024-01-01T00:30:00"), ("at", "2024-01-01T00:00:00.000001Z")]])) == ["created"] * 6
    for column in ("n", "flag"):
        told = put(t, [{**same, column: None}])
        assert outcomes(told) == ["rejected"] and f'"{column}"' in told[0][1], told
    assert server.count(database, "SELECT count(*) FROM t") == 7
    assert server.sql(database, "SELECT who, day, seen, n, v FROM t WHERE v = 2") == [
        ["a", "2024-01-01", "2023-12-31 22:30:00", "1.5", "2"]]


def test_keys_that_the_store_compares_otherwise(t):
    """Refused with the reason, unless the configuration names the override."""
    server = postgres.shared()
    t.ndjson("in.ndjson", [{"k": "a"}])
    for declared, why in [("citext", "upper"), ("char(5)", "spaces"), ("name", "63"),
                          ("double precision", "floating"),
                          ('text COLLATE "blind"', "nondeterministic")]:
        database = place(t, "CREATE COLLATION blind (provider = icu, locale = 'und-u-ks-level2', "
                            "deterministic = false)", f"CREATE TABLE t(k {declared} PRIMARY KEY, v int)")
        message = refused(t, why)
        assert "key_equality: store" in message, message
        assert server.count(database, "SELECT count(*) FROM t") == 0
    database = place(t, "CREATE TABLE t(k citext PRIMARY KEY, v int)",
                     more="    key: [k]\n    key_equality: store\n")
    told = put(t, [{"k": "Bob", "v": 1}, {"k": "bob", "v": 2}, {"k": "BOB", "v": 2}])
    assert outcomes(told) == ["created", "updated", "unchanged"], told
    assert server.sql(database, "SELECT v FROM t") == [["2"]]


def test_indexes_that_keep_no_key(t):
    """Deferrable, partial, invalid, of other columns, over an expression: each with its reason."""
    server = postgres.shared()
    t.ndjson("in.ndjson", [{"k": "a", "v": 1}])
    table = "CREATE TABLE t(k text, v int"
    for statements, fragment in [
            ([f"{table})"], "CREATE UNIQUE INDEX"),
            ([f"{table}, UNIQUE (k) DEFERRABLE)"], "DEFERRABLE"),
            ([f"{table}, UNIQUE (k) DEFERRABLE INITIALLY DEFERRED)"], "DEFERRABLE"),
            ([f"{table})", "CREATE UNIQUE INDEX part ON t(k) WHERE v > 0"], "partial"),
            ([f"{table})", "CREATE UNIQUE INDEX lowered ON t(lower(k))"], "expression"),
            ([f"{table}, UNIQUE (k, v))"], "k"),
            ([f"{table}, UNIQUE (v))"], "k"),
            ([f"{table})", "INSERT INTO t VALUES ('a'), ('a')"], "invalid"),
            ([f"{table}, UNIQUE (k) DEFERRABLE)", "CREATE UNIQUE INDEX bare ON t(k)"], "DEFERRABLE"),
    ]:
        database = place(t, *statements)
        if fragment == "invalid":
            failed = server.psql(database, "CREATE UNIQUE INDEX CONCURRENTLY broken ON t(k)")
            assert failed.returncode != 0
        before = server.count(database, "SELECT count(*) FROM t")
        message = refused(t, fragment)
        assert "run: " in message, message
        assert server.count(database, "SELECT count(*) FROM t") == before
    for statements, fragment in [
            (["CREATE TABLE base(k text PRIMARY KEY, v int)", "CREATE VIEW t AS SELECT * FROM base"],
             "view"),
            (["CREATE TABLE t(k text PRIMARY KEY, v int)", "CREATE TABLE child() INHERITS (t)"],
             "inherit"),
            (["CREATE TABLE t(k text PRIMARY KEY, v int)",
              "CREATE RULE odd AS ON INSERT TO t DO ALSO SELECT 1"], "rule")]:
        place(t, *statements)
        refused(t, fragment)


def test_an_index_named_as_constraint_or_not(t):
    """Each of these keeps the key, whatever else is there."""
    for statements in [
            ["CREATE TABLE t(k text NOT NULL, v int)", "CREATE UNIQUE INDEX i ON t(k)"],
            ["CREATE TABLE t(k text, v int, CONSTRAINT \"Odd name\" UNIQUE (k))"],
            ["CREATE TABLE t(k text, v int, UNIQUE (k) INCLUDE (v))"],
            ["CREATE TABLE t(k text, v int, UNIQUE (k), UNIQUE (v))",
             "CREATE UNIQUE INDEX extra ON t(k) WHERE v > 5"],
            ["CREATE TABLE t(id serial PRIMARY KEY, k varchar(50) COLLATE \"C\" UNIQUE, v int)"]]:
        place(t, *statements)
        assert outcomes(put(t, [{"k": "a", "v": 1}, {"k": "b", "v": 2}])) == ["created"] * 2
        assert outcomes(put(t, [{"k": "a", "v": 1}, {"k": "b", "v": 3}])) == ["unchanged", "updated"]


# ---- policies, partitions, constraints ----------------------------------------------------------

def test_row_security(t):
    """A row that a policy forbids is rejected with PostgreSQL's message; the others go in."""
    server = postgres.shared()
    database = place(t, "CREATE TABLE t(k text PRIMARY KEY, who text DEFAULT current_user, v int)",
                     "ALTER TABLE t ENABLE ROW LEVEL SECURITY",
                     "CREATE POLICY own ON t USING (who = current_user)",
                     "DROP ROLE IF EXISTS writer", "CREATE ROLE writer LOGIN",
                     "GRANT SELECT, INSERT, UPDATE ON t TO writer",
                     "INSERT INTO t VALUES ('hidden', 'other', 1)")
    t.write("onerow.yaml", CONFIGURATION.format(
        url=server.url(database).replace("postgres@", "writer@"), more="    key: [k]\n"))
    records = [{"k": "a", "who": "writer", "v": 1}, {"k": "b", "who": "other", "v": 1},
               {"k": "c", "who": "writer", "v": 1}, {"k": "hidden", "who": "writer", "v": 2}]
    told = put(t, records)
    assert outcomes(told) == ["created", "rejected", "created", "rejected"], told
    assert all("row-level security" in reason for _, reason in told[1::2]), told
    assert outcomes(put(t, records)) == ["unchanged", "rejected", "unchanged", "rejected"]
    assert server.sql(database, "SELECT k, v FROM t ORDER BY k") == [["a", "1"], ["c", "1"],
                                                                      ["hidden", "1"]]


def test_missing_privileges(t):
    """Exit 78, and the GRANT to run, from put and from check; who only reads is not kept from it."""
    server = postgres.shared()
    database = place(t, "CREATE TABLE t(k text PRIMARY KEY, v int)", "DROP ROLE IF EXISTS reader",
                     "CREATE ROLE reader LOGIN", "GRANT SELECT ON t TO reader")
    t.write("onerow.yaml", CONFIGURATION.format(
        url=server.url(database).replace("postgres@", "reader@"), more="    key: [k]\n"))
    t.ndjson("in.ndjson", [{"k": "a"}])
    assert "GRANT" in refused(t, "INSERT")
    check = t.onerow("check", "t")
    assert check.code == 78 and "REFUSED" in check.out and "GRANT" in check.out, check
    told = json.loads(t.onerow("check", "t", "--json").out)
    assert told["status"] == "CONFIG" and "GRANT" in told["error"] and told["key"] == "k:text", told
    assert t.onerow("get", "t", "k=a").code == 1
    assert t.onerow("audit", "t").code == 0
    server.sql(database, "GRANT INSERT, UPDATE ON t TO reader")
    assert t.onerow("check", "t").code == 0


def test_partitioned_tables(t):
    """created, updated and unchanged are told apart where there is no xmax to look at."""
    server = postgres.shared()
    database = place(t, "CREATE TABLE t(k text, day date, v int, PRIMARY KEY (k, day)) "
                        "PARTITION BY RANGE (day)",
                     "CREATE TABLE t1 PARTITION OF t FOR VALUES FROM ('2024-01-01') TO ('2024-02-01')",
                     "CREATE TABLE t2 PARTITION OF t FOR VALUES FROM ('2024-02-01') TO ('2024-03-01')",
                     more="    key: [k, day]\n")
    records = [{"k": f"k{i}", "day": f"2024-0{1 + i % 2}-1{i % 10}", "v": i} for i in range(40)]
    assert outcomes(put(t, records)) == ["created"] * 40
    for i in range(0, 40, 3):
        records[i]["v"] += 100
    told = put(t, records + [{"k": "new", "day": "2024-01-31", "v": 1},
                             {"k": "nowhere", "day": "2030-01-01", "v": 1}])
    assert outcomes(told[:40]) == ["unchanged" if i % 3 else "updated" for i in range(40)]
    assert outcomes(told[40:]) == ["created", "rejected"], told[40:]
    assert "partition" in told[41][1], told[41]
    assert server.count(database, "SELECT count(*) FROM t1") == 21
    assert t.onerow("audit", "t").code == 0
    place(t, "CREATE TABLE t(k text, day date, v int) PARTITION BY RANGE (day)")
    assert "day" in refused(t, "partitioned")


def test_second_unique_constraint(t):
    """A record that clashes with another row's value is rejected with PostgreSQL's own message."""
    server = postgres.shared()
    database = place(t, "CREATE TABLE t(k text PRIMARY KEY, mail text UNIQUE, v int CHECK (v > 0), "
                        "parent text REFERENCES t, need int NOT NULL DEFAULT 1)")
    told = put(t, [{"k": "a", "mail": "x"}, {"k": "b", "mail": "y"}, {"k": "c", "mail": "x"},
                   {"k": "d", "v": 0}, {"k": "e", "parent": "nobody"}, {"k": "f", "need": None},
                   {"k": "g", "parent": "a", "v": 1}])
    assert outcomes(told) == ["created", "created", "rejected", "rejected", "rejected", "rejected",
                              "created"], told
    for at, fragment in [(2, "t_mail_key"), (3, "t_v_check"), (4, "t_parent_fkey"), (5, "need")]:
        assert fragment in told[at][1], told[at]
    assert outcomes(put(t, [{"k": "b", "mail": "x"}])) == ["rejected"]
    assert server.sql(database, "SELECT k, mail FROM t ORDER BY k") == [["a", "x"], ["b", "y"],
                                                                         ["g", ""]]


def test_a_required_column_that_a_record_lacks(t):
    """Such records update what is there; what is not there is rejected, and says so."""
    server = postgres.shared()
    database = place(t, "CREATE TABLE t(k text PRIMARY KEY, need int NOT NULL, v int)",
                     "INSERT INTO t VALUES ('a', 1, 1), ('b', 1, 1)")
    told = put(t, [{"k": "a", "v": 2}, {"k": "b", "v": 1}, {"k": "c", "v": 1},
                   {"k": "d", "need": 4, "v": 1}])
    assert outcomes(told) == ["updated", "unchanged", "rejected", "created"], told
    assert "need" in told[2][1], told
    told = put(t, [{"k": "e", "need": 1}, {"k": "e", "v": 5}])
    assert outcomes(told) == ["created", "updated"], told
    assert server.sql(database, "SELECT k, need, v FROM t ORDER BY k") == [
        ["a", "1", "2"], ["b", "1", "1"], ["d", "4", "1"], ["e", "1", "5"]]


def test_nulls_in_keys(t):
    """NULL equals NULL where the index says so too; an index that does not is refused."""
    server = postgres.shared()
    more = "    key: [a, { column: n, nulls: equal }]\n"
    t.ndjson("in.ndjson", [{"a": "x", "n": None}])
    place(t, "CREATE TABLE t(a text NOT NULL, n int, v int, UNIQUE (a, n))", more=more)
    refused(t, "NULLS NOT DISTINCT")
    database = place(t, "CREATE TABLE t(a text NOT NULL, n int, v int, "
                        "UNIQUE NULLS NOT DISTINCT (a, n))", more=more)
    told = put(t, [{"a": "x", "n": None, "v": 1}, {"a": "x", "n": None, "v": 2},
                   {"a": "x", "n": 0, "v": 3}])
    assert outcomes(told) == ["created", "updated", "created"], told
    assert outcomes(put(t, [{"a": "x", "n": None, "v": 2}])) == ["unchanged"]
    assert server.sql(database, "SELECT n, v FROM t ORDER BY v") == [["", "2"], ["0", "3"]]


if __name__ == "__main__":
    harness.main()
