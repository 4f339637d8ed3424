# SPDX-License-Identifier: Apache-2.0
"""What goes into PostgreSQL's types, what comes back, and what a table may have beside its key.

Values are read back by psql. Every type goes in from JSON and from CSV, is found unchanged when it is
put again, and updated when it differs; what is bad is refused by itself, between neighbours.
"""
import csv
import io
import json

import harness
import postgres

CONFIGURATION = """stores:
  app: {{ url: "{url}" }}
tables:
  t:
    store: app
{more}"""
PREPARE = """CREATE EXTENSION citext; CREATE EXTENSION hstore; CREATE SCHEMA "App";
CREATE TYPE mood AS ENUM ('sad', 'ok', 'so "so"'); CREATE TYPE "App"."Size" AS ENUM ('S', 'L');
CREATE TYPE pair AS (a int, b text);
CREATE DOMAIN positive AS int CHECK (VALUE > 0); CREATE DOMAIN "App".tag AS varchar(5);
CREATE DOMAIN tags AS text[]"""


def place(t, *statements, more="    key: [k]\n"):
    database = postgres.shared().database(PREPARE, *statements)
    t.write("onerow.yaml", CONFIGURATION.format(url=postgres.shared().url(database), more=more))
    return database


def put(t, records, *options):
    """Puts records; (outcome, reason) of each, in the order of the input."""
    path = t.ndjson("in.ndjson", records)
    return put_file(t, path, *options)


def put_file(t, path, *options):
    result = t.onerow("put", "t", "--results", "R", *options, path)
    assert result.code in (0, 1), result
    lines = sorted(t.results("R"), key=lambda line: line["line"])
    return [(line["outcome"], line["reason"]) for line in lines]


def outcomes(told):
    return [outcome for outcome, _ in told]


def refused(t, fragment, command="put", code=78):
    """The command fails before it writes, and says why."""
    result = t.onerow(command, "t", *(["in.ndjson"] if command == "put" else []))
    assert result.code == code and fragment in result.err, (fragment, result)
    return result.err


# ---- values -------------------------------------------------------------------------------------

# type, JSON, as CSV, as psql shows it, another value, as psql shows that
TYPES = [
    ("smallint", -32768, "-32768", "-32768", 7, "7"),
    ("integer", 2147483647, "2147483647", "2147483647", 1.0, "1"),
    ("bigint", 9223372036854775807, "9223372036854775807", "9223372036854775807",
     9007199254740993, "9007199254740993"),
    ("oid", 4294967295, "4294967295", "4294967295", 1, "1"),
    ("numeric", 0.1, "0.1", "0.1", "123456789012345678901234567890.5",
     "123456789012345678901234567890.5"),
    ("numeric(10,2)", 1.5, "1.5", "1.50", 1.25, "1.25"),
    ("real", 1.5, "1.5", "1.5", -2, "-2"),
    ("double precision", 1e-300, "1e-300", "1e-300", "NaN", "NaN"),
    ("money", "$1,234.50", "$1,234.50", "$1,234.50", "$0.01", "$0.01"),
    ("boolean", True, "true", "t", False, "f"),
    ("text", "ä \"'\\ \n,{}", "ä \"'\\ \n,{}", "ä \"'\\ \n,{}", "", ""),
    ("varchar(3)", "äöü", "äöü", "äöü", "", ""),
    ("char(3)", "ab", "ab", "ab ", "c", "c  "),
    ("citext", "Bob", "Bob", "Bob", "bob", "bob"),
    ("name", "n", "n", "n", "N", "N"),
    ("mood", 'so "so"', 'so "so"', 'so "so"', "sad", "sad"),
    ('"App"."Size"', "L", "L", "L", "S", "S"),
    ("positive", 5, "5", "5", 6, "6"),
    ('"App".tag', "abc", "abc", "abc", "", ""),
    ("tags", ["a"], "{a}", "{a}", [], "{}"),
    ("uuid", "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", "a0eebc999c0b4ef8bb6d6bb9bd380a11",
     "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "00000000-0000-0000-0000-000000000000",
     "00000000-0000-0000-0000-000000000000"),
    ("date", "2024-02-29", "2024-02-29", "2024-02-29", "infinity", "infinity"),
    ("time", "23:59:59.5", "23:59:59.5", "23:59:59.5", "00:00", "00:00:00"),
    ("timetz", "12:00:00+02:00", "12:00:00+02:00", "12:00:00+02", "12:00Z", "12:00:00+00"),
    ("timestamp", "2024-02-29T12:00:00", "2024-02-29 12:00:00", "2024-02-29 12:00:00",
     "2024-02-29T12:00:00.000001", "2024-02-29 12:00:00.000001"),
    ("timestamptz", "2024-02-29T12:00:00+02:00", "2024-02-29T10:00:00Z", "2024-02-29 10:00:00+00",
     "2024-02-29T12:00:00", "2024-02-29 12:00:00+00"),
    ("timestamptz(0)", "2024-02-29T12:00:00Z", "2024-02-29T12:00:00Z", "2024-02-29 12:00:00+00",
     "2024-02-29T12:00:01Z", "2024-02-29 12:00:01+00"),
    ("interval", "1 day 2 hours", "1 day 2 hours", "1 day 02:00:00", "PT1S", "00:00:01"),
    ("inet", "10.0.0.1/8", "10.0.0.1/8", "10.0.0.1/8", "::1", "::1"),
    ("cidr", "10.0.0.0/8", "10.0.0.0/8", "10.0.0.0/8", "::1/128", "::1/128"),
    ("macaddr", "08:00:2b:01:02:03", "08:00:2b:01:02:03", "08:00:2b:01:02:03",
     "08002b010204", "08:00:2b:01:02:04"),
    ("int4range", "[1,5)", "[1,5)", "[1,5)", "(1,5]", "[2,6)"),
    ("tstzrange", '["2024-01-01 00:00:00+00",)', '["2024-01-01 00:00:00+00",)',
     '["2024-01-01 00:00:00+00",)', "empty", "empty"),
    ("int4multirange", "{[1,2),[5,6)}", "{[1,2),[5,6)}", "{[1,2),[5,6)}", "{}", "{}"),
    ("xml", "<a>1</a>", "<a>1</a>", "<a>1</a>", "<b/>", "<b/>"),
    ("point", "(1,2)", "(1,2)", "(1,2)", "(1,2.5)", "(1,2.5)"),
    ("box", "(3,4),(1,2)", "(3,4),(1,2)", "(3,4),(1,2)", "(3,4),(1,1)", "(3,4),(1,1)"),
    ("bytea", "\\x00ff", "\\x00ff", "\\x00ff", "\\x", "\\x"),
    ("bit(3)", "101", "101", "101", "111", "111"),
    ("varbit(5)", "101", "101", "101", "", ""),
    ("json", {"b": [1, None], "a": 1.50}, '{"b": 1}', None, {"a": 1.5, "b": [1, None]}, None),
    ("jsonb", {"b": [1, None], "a": "ä"}, '{"b": [1, null], "a": "ä"}',
     '{"a": "ä", "b": [1, null]}', [], "[]"),
    ("int[]", [1, None, -3], "{1,NULL,-3}", "{1,NULL,-3}", [], "{}"),
    ("int[][]", [[1, 2], [3, 4]], "{{1,2},{3,4}}", "{{1,2},{3,4}}", [[5]], "{{5}}"),
    ("text[]", ["a b", 'q"\\', "", "NULL", None, "{,}"], None,
     '{"a b","q\\"\\\\","","NULL",NULL,"{,}"}', ["ä"], "{ä}"),
    ("numeric(4,1)[]", [1, 2.5], "{1,2.5}", "{1.0,2.5}", [3], "{3.0}"),
    ("mood[]", ["ok", 'so "so"'], None, '{ok,"so \\"so\\""}', ["sad"], "{sad}"),
    ("boolean[]", [True, False], "{t,f}", "{t,f}", [None], "{NULL}"),
    ("jsonb[]", [{"a": 1}, [2]], None, '{"{\\"a\\": 1}",[2]}', [], "{}"),
    ("timestamptz[]", ["2024-01-01T00:00:00Z"], None, '{"2024-01-01 00:00:00+00"}', [], "{}"),
    ("tsvector", "'a':1 'b':2", "'a':1 'b':2", "'a':1 'b':2", "'c'", "'c'"),
    ("hstore", '"a"=>"1"', '"a"=>"1"', '"a"=>"1"', '"a"=>NULL', '"a"=>NULL'),
    ("pair", '(1,"a b")', '(1,"a b")', '(1,"a b")', "(2,)", "(2,)"),
]


def columns_of(index):
    return ", ".join(f"c{i} {row[0]}" for i, row in enumerate(TYPES) if row[index] is not None)


def row_of(server, database, key):
    columns = ", ".join(f"c{i}" for i in range(len(TYPES)))
    rows = server.sql(database, f"SET TimeZone = 'UTC'; SELECT {columns} FROM t WHERE k = '{key}'")
    assert len(rows) == 1, rows
    return rows[0]


def test_every_type_from_json(t):
    """In, unchanged, another value, unchanged, NULL: each column alone decides."""
    server = postgres.shared()
    database = place(t, f"CREATE TABLE t(k text PRIMARY KEY, {columns_of(0)})")
    first = {"k": "a", **{f"c{i}": row[1] for i, row in enumerate(TYPES)}}
    assert put(t, [first]) == [("created", None)]
    assert put(t, [first]) == [("unchanged", None)]
    stored = row_of(server, database, "a")
    for (name, _, _, shown, _, _), text in zip(TYPES, stored):
        assert shown is None or text == shown, (name, text, shown)
    for i, (name, _, _, _, other, shown) in enumerate(TYPES):
        told = put(t, [{"k": "a", f"c{i}": other}, {"k": "b", f"c{i}": other}])
        assert told == [("updated", None), ("created" if i == 0 else "updated", None)], (name, told)
        text = server.sql(database, f"SET TimeZone = 'UTC'; SELECT c{i} FROM t WHERE k = 'a'")[0][0]
        assert shown is None or text == shown, (name, text, shown)
    second = {"k": "a", **{f"c{i}": row[4] for i, row in enumerate(TYPES)}}
    assert put(t, [second, {**second, "k": "b"}]) == [("unchanged", None)] * 2
    empty = {"k": "a", **{f"c{i}": None for i in range(len(TYPES))}}
    assert outcomes(put(t, [empty])) == ["updated"]
    assert outcomes(put(t, [empty])) == ["unchanged"]
    assert server.count(database, "SELECT num_nulls(" + ", ".join(
        f"c{i}" for i in range(len(TYPES))) + ") FROM t WHERE k = 'a'") == len(TYPES)


def test_every_type_from_csv(t):
    server = postgres.shared()
    database = place(t, f"CREATE TABLE t(k text PRIMARY KEY, {columns_of(0)})")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    at = [i for i, row in enumerate(TYPES) if row[2] is not None]
    writer.writerow(["k", *(f"c{i}" for i in at)])
    writer.writerow(["a", *(TYPES[i][2] for i in at)])
    path = t.write("in.csv", text.getvalue())
    assert put_file(t, path) == [("created", None)]
    assert put_file(t, path) == [("unchanged", None)]
    stored = row_of(server, database, "a")
    for i in at:
        assert TYPES[i][3] is None or stored[i] == TYPES[i][3], (TYPES[i], stored[i])


def test_get_gives_back_what_was_put(t):
    """The row as JSON can be put again, and is unchanged then."""
    place(t, f"CREATE TABLE t(k text PRIMARY KEY, {columns_of(0)})")
    first = {"k": "a", **{f"c{i}": row[1] for i, row in enumerate(TYPES)}}
    put(t, [first])
    got = t.onerow("get", "t", "k=a", "--json")
    assert got.code == 0, got
    path = t.write("again.ndjson", got.out.strip().split("\n")[-1] + "\n")
    row = json.loads(open(path, encoding="utf-8").read())
    row = row.get("record", row.get("row", row))
    assert row["c2"] == 9223372036854775807 and row["c9"] is True, row
    for i, (name, *_) in enumerate(TYPES):
        if name in ("hstore", "pair"):  # which PostgreSQL shows as JSON and does not read so
            del row[f"c{i}"]
    assert put(t, [row]) == [("unchanged", None)], row


# column: values that are refused there
BAD = {
    "smallint": [32768, "x", 1.5, True, "", [1]],
    "integer": [2147483648, 1e10, "1.5", {}],
    "bigint": [9223372036854775808, -9223372036854775809, 0.5],
    "numeric(4,2)": [100, "abc", True],
    "real": ["x", 1e99],
    "double precision": ["1e999", "x"],
    "boolean": ["perhaps", 2, 0.5],
    "varchar(3)": ["abcd", "ääää"],
    "char(2)": ["abc"],
    "mood": ["happy", "SAD", 1],
    "positive": [0, -1],
    '"App".tag': ["too long"],
    "uuid": ["a0eebc99", 5],
    "date": ["2023-02-29", "tomorrow morning", 20240101.5],
    "time": ["25:00"],
    "timestamptz": ["2024-13-01T00:00:00Z", "yesterday evening"],
    "interval": ["one fortnight"],
    "inet": ["10.0.0.256"],
    "int4range": ["[5,1]", "1-5"],
    "xml": ["<a>"],
    "bytea": ["\\x0", 5],
    "bit(3)": ["10", "1010", "abc"],
    "int[]": [[1, "x"], [[1], [2, 3]], {"a": 1}, 5, "1,2"],
    "text[]": ["a", 5],
    "mood[]": [["ok", "happy"]],
}


def test_bad_values_are_refused_singly(t):
    """Each between two good neighbours of the same batch, with a reason that names what is wrong."""
    server = postgres.shared()
    columns = ", ".join(f"c{i} {name}" for i, name in enumerate(BAD))
    database = place(t, f"CREATE TABLE t(k text PRIMARY KEY, {columns})")
    records, bad = [], []
    for i, values in enumerate(BAD.values()):
        for j, value in enumerate(values):
            records.append({"k": f"good {i} {j}"})
            records.append({"k": f"bad {i} {j}", f"c{i}": value})
            bad.append((list(BAD)[i], value))
    told = put(t, records)
    assert outcomes(told[::2]) == ["created"] * len(bad)
    for (name, value), (outcome, reason) in zip(bad, told[1::2]):
        assert outcome == "rejected" and reason, (name, value, outcome, reason)
    assert server.count(database, "SELECT count(*) FROM t") == len(bad)
    assert len(t.letters()) == len(bad)
    assert outcomes(put(t, records)) == ["unchanged", "rejected"] * len(bad)


def test_bad_values_in_csv(t):
    """A field takes its column's type: what JSON gives as text and JSON is JSON here."""
    server = postgres.shared()
    database = place(t, "CREATE TABLE t(k text PRIMARY KEY, j json, b jsonb, n int, f boolean)")
    path = t.write("in.csv", 'k,j,b,n,f\na,"{",,,\nb,,plain,,\nc,"""x""",[1],7,yes\nd,,,7.5,\n'
                             'e,,,,perhaps\nf,,,,\n')
    told = put_file(t, path)
    assert outcomes(told) == ["rejected", "rejected", "created", "rejected", "rejected", "created"]
    assert all(reason for outcome, reason in told if outcome == "rejected"), told
    assert server.sql(database, "SELECT j, b, n, f FROM t ORDER BY k") == [
        ['"x"', "[1]", "7", "t"], ["", "", "", ""]]
    assert put(t, [{"k": "c", "j": "x", "b": [1], "n": 7, "f": True}]) == [("unchanged", None)]


def test_generated_columns(t):
    """GENERATED columns in a record are refused by name; left out, they are filled."""
    server = postgres.shared()
    database = place(t, "CREATE TABLE t(k text PRIMARY KEY, v int, double int GENERATED ALWAYS AS "
                        "(v * 2) STORED, number int GENERATED ALWAYS AS IDENTITY, "
                        "choice int GENERATED BY DEFAULT AS IDENTITY, s serial, d int DEFAULT 9)")
    told = put(t, [{"k": "a", "v": 1}, {"k": "b", "double": 2}, {"k": "c", "number": 1},
                   {"k": "d", "choice": 77, "s": 88}, {"k": "e", "nothing": 1}])
    assert outcomes(told) == ["created", "rejected", "rejected", "created", "rejected"]
    assert "double" in told[1][1] and "generated" in told[1][1].lower(), told
    assert "number" in told[2][1] and "identity" in told[2][1].lower(), told
    assert "nothing" in told[4][1], told
    assert server.sql(database, "SELECT k, v, double, d FROM t ORDER BY k") == [
        ["a", "1", "2", "9"], ["d", "", "", "9"]]
    assert server.sql(database, "SELECT choice, s FROM t WHERE k = 'd'") == [["77", "88"]]
    assert put(t, [{"k": "a", "v": 2}]) == [("updated", None)]
    assert server.sql(database, "SELECT double FROM t WHERE k = 'a'") == [["4"]]


# ---- names and keys -----------------------------------------------------------------------------

def test_mixed_case_names(t):
    """Schemas, tables and columns as they are spelt, with characters that SQL gives a meaning."""
    server = postgres.shared()
    database = place(t, 'CREATE TABLE "App"."My Items"("Key" text PRIMARY KEY, "a ""b"".c" int, '
                        '"select" int, "naïve" int)',
                     "CREATE TABLE my_items(key text PRIMARY KEY, v int)",
                     more="    location: '\"App\".\"My Items\"'\n    key: [Key]\n")
    record = {"Key": "x", 'a "b".c': 1, "select": 2, "naïve": 3}
    assert put(t, [record]) == [("created", None)]
    assert put(t, [record]) == [("unchanged", None)]
    assert put(t, [{**record, "select": 3}]) == [("updated", None)]
    assert outcomes(put(t, [{"key": "x"}])) == ["rejected"]
    assert server.sql(database, 'SELECT * FROM "App"."My Items"') == [["x", "1", "3", "3"]]
    t.write("onerow.yaml", CONFIGURATION.format(
        url=server.url(database), more="    location: public.MY_ITEMS\n    key: [key]\n"))
    assert put(t, [{"key": "y", "v": 1}]) == [("created", None)]


def test_composite_keys(t):
    server = postgres.shared()
    database = place(t, "CREATE TABLE t(v int, at timestamptz, n numeric, who text, day date, id uuid, "
                        "flag boolean, PRIMARY KEY (who, n, day, at, id, flag))",
                     more="    key: [day, who, n, at, id, flag]\n")
    record = {"day": "2024-01-01", "who": "a", "n": 1.50, "at": "2024-01-01T01:00:00+01:00",
              "id": "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", "flag": True, "v": 1}
    same = {**record, "n": "1.5", "at": "2024-01-01T00:00:00Z", "id": record["id"].lower(), "v": 2}
    assert put(t, [record]) == [("created", None)]
    assert put(t, [same]) == [("updated", None)]
    assert outcomes(put(t, [{**same, column: value} for column, value in [
        ("n", 1.51), ("who", "A"), ("day", "2024-01-02"), ("flag", False),
        ("at", "2024-01-01T00:00:00.000001Z")]])) == ["created"] * 5
    assert outcomes(put(t, [{**same, "flag": None}])) == ["rejected"]
    assert server.count(database, "SELECT count(*) FROM t") == 6


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
