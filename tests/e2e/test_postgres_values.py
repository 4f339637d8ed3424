# SPDX-License-Identifier: Apache-2.0
"""Values through `onerow put` into PostgreSQL and back through psql: every type from JSON and from
CSV, in batches of any size, and moments in any spelling of their zone.

A row's version (ctid and xmin) tells whether it was written: what is unchanged is not. The server is
the oracle for time zones: what a `timestamp` holds is what `timestamptz` makes of the same text, in UTC.
"""
import datetime
import io
import json

import harness
import postgres
from postgres import put, put_file

CONFIGURATION = """stores:
  app: {{ url: "{url}" }}
tables:
  t:
    store: app
{more}"""
PREPARE = """CREATE EXTENSION citext; CREATE EXTENSION hstore; CREATE SCHEMA "App";
CREATE TYPE mood AS ENUM ('sad', 'ok', 'so "so"'); CREATE TYPE "App"."Size" AS ENUM ('S', 'L');
CREATE TYPE pair AS (a int, b text); CREATE DOMAIN "App".tag AS varchar(5);
CREATE DOMAIN tags AS text[];
CREATE DOMAIN positive AS int CHECK (VALUE > 0); CREATE DOMAIN seen AS timestamp;
CREATE DOMAIN moods AS mood[]"""
KEYED = "    key: [k]\n"
BULK = 4100  # records of one batch, which go in by COPY
SMALL = 500  # records of one batch, which do not


class Type:
    """A column's type; what goes in from JSON and CSV, what psql shows; another value; bad ones."""

    def __init__(self, name, value, text, shown, other, other_shown, *bad):
        self.name, self.value, self.text, self.shown = name, value, text, shown
        self.other, self.other_shown, self.bad = other, other_shown, bad


UUID = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"
TYPES = [
    Type("smallint", -32768, "-32768", "-32768", 7.0, "7", 32768, "x", 1.5, True, "", [1]),
    Type("integer", 1e3, "1000", "1000", 2147483647, "2147483647", 2147483648, True, "1.5", 1e10,
         {}),
    Type("bigint", 9007199254740993, "9007199254740993", "9007199254740993", -1, "-1",
         9223372036854775808, -9223372036854775809, 0.5, [1]),
    Type("bigint", 9223372036854775807, "9223372036854775807", "9223372036854775807", 0, "0"),
    Type("oid", 4294967295, "4294967295", "4294967295", 1, "1"),
    Type("numeric", 0.1, "0.1", "0.1", "123456789012345678901234567890.50",
         "123456789012345678901234567890.50", "1,5", False),
    Type("numeric(6,2)", -1234.5, "-1234.5", "-1234.50", 1, "1.00", 10000, "a", True),
    Type("real", 1.5, "1.5", "1.5", -2, "-2", "1e99", 1e99, "x"),
    Type("double precision", 1e-300, "1e-300", "1e-300", "NaN", "NaN", "1e999", "x", {}),
    Type("money", "$1,234.50", "$1,234.50", "$1,234.50", "$0.01", "$0.01"),
    Type("boolean", True, "t", "t", 0, "f", "maybe", 2),
    Type("boolean", False, "false", "f", True, "t", "perhaps", 0.5),
    Type("text", "ä \"'\\ \n,{}", "ä \"'\\ \n,{}", "ä \"'\\ \n,{}", "", ""),
    Type("varchar(3)", "äöü", "äöü", "äöü", "", "", "abcd", "ääää"),
    Type("char(3)", "ab", "ab", "ab ", "c", "c  ", "abcd"),
    Type("citext", "Bob", "Bob", "Bob", "bob", "bob"),
    Type("name", "n", "n", "n", "N", "N"),
    Type("mood", 'so "so"', 'so "so"', 'so "so"', "sad", "sad", "happy", "SAD", 1),
    Type('"App"."Size"', "L", "L", "L", "S", "S", "M"),
    Type("positive", 5, "5", "5", 6, "6", 0, -1, "five"),
    Type('"App".tag', "abc", "abc", "abc", "", "", "too long"),
    Type("seen", "2024-01-01T00:30:00+02:00", "2023-12-31 22:30", "2023-12-31 22:30:00",
         "2024-01-01T00:30:00", "2024-01-01 00:30:00", "2024-01-01 00:30:00 Europe/Berlin"),
    Type("uuid", UUID.upper(), UUID.replace("-", ""), UUID, UUID.replace("a", "b"),
         UUID.replace("a", "b"), UUID[1:], UUID[:8], 5),
    Type("date", "2024-02-29", "2024-02-29T00:00:00Z", "2024-02-29", "infinity", "infinity",
         "2023-02-29", "2024-02-29T12:00:00Z", "2024-02-29T00:00:00+02:00", "tomorrow morning",
         20240101.5),
    Type("time", "23:59:59.5", "23:59:59.5Z", "23:59:59.5", "00:00", "00:00:00", "25:00",
         "12:00:00+02:00", "2024-02-29 12:00:00"),
    Type("timetz", "12:00:00+02:00", "12:00+02", "12:00:00+02", "12:00Z", "12:00:00+00", "25:00Z"),
    Type("timestamp", "2024-03-01T01:30:00.25+02:00", "2024-02-29 23:30:00.25Z",
         "2024-02-29 23:30:00.25", "2024-02-29", "2024-02-29 00:00:00", "2024-01-01T00:00:00 CET",
         "2023-02-29T00:00:00+02:00", "2023-02-29T00:00:00", 1704067200),
    Type("timestamp", "2024-02-29T12:00:00.000001", "2024-02-29 12:00:00.000001",
         "2024-02-29 12:00:00.000001", "2024-02-29T12:00:00", "2024-02-29 12:00:00"),
    Type("timestamptz", "2024-02-29T12:00:00+02:00", "2024-02-29T10:00:00", "2024-02-29 10:00:00+00",
         "2024-07-01 12:00 Europe/Berlin", "2024-07-01 10:00:00+00", "2024-13-01T00:00:00Z",
         "yesterday evening"),
    Type("timestamptz(0)", "2024-02-29T12:00:00Z", "2024-02-29T12:00:00Z", "2024-02-29 12:00:00+00",
         "2024-02-29T12:00:01", "2024-02-29 12:00:01+00"),
    Type("interval", "1 day 2 hours", "P1DT2H", "1 day 02:00:00", "PT1S", "00:00:01",
         "one fortnight"),
    Type("inet", "10.0.0.1/8", "10.0.0.1/8", "10.0.0.1/8", "::1", "::1", "10.0.0.256"),
    Type("cidr", "10.0.0.0/8", "10.0.0.0/8", "10.0.0.0/8", "::1", "::1/128", "10.0.0.1/8"),
    Type("macaddr", "08:00:2b:01:02:03", "08002b010203", "08:00:2b:01:02:03", "08002b010204",
         "08:00:2b:01:02:04"),
    Type("int4range", "[1,5)", "[1,4]", "[1,5)", "empty", "empty", "[5,1]", "1-5"),
    Type("int4multirange", "{[1,2),[5,6)}", "{[1,2),[5,6)}", "{[1,2),[5,6)}", "{}", "{}"),
    Type("tsrange", "[2024-01-01 00:00:00,)", "[2024-01-01 00:00:00Z,)",
         '["2024-01-01 00:00:00",)', "(,)", "(,)", '["2024-01-01 00:00:00+02",)'),
    Type("tstzrange", '["2024-01-01 02:00:00+02",)', '["2024-01-01 00:00:00Z",)',
         '["2024-01-01 00:00:00+00",)', "empty", "empty", "[2024-13-01,)"),
    Type("daterange", "[2024-01-01,2024-02-01)", "[2024-01-01,2024-01-31]",
         "[2024-01-01,2024-02-01)", "empty", "empty", "[2024-01-01 12:00,)"),
    Type("xml", "<a>1</a>", "<a>1</a>", "<a>1</a>", "<b/>", "<b/>", "<a>"),
    Type("point", "(1,2)", "(1,2)", "(1,2)", "(1,2.5)", "(1,2.5)"),
    Type("box", "(3,4),(1,2)", "(3,4),(1,2)", "(3,4),(1,2)", "(3,4),(1,1)", "(3,4),(1,1)"),
    Type("tsvector", "'a':1 'b':2", "'a':1 'b':2", "'a':1 'b':2", "'c'", "'c'"),
    Type("hstore", '"a"=>"1"', '"a"=>"1"', '"a"=>"1"', '"a"=>NULL', '"a"=>NULL'),
    Type("pair", '(1,"a b")', '(1,"a b")', '(1,"a b")', "(2,)", "(2,)"),
    Type("bytea", "\\x00ff", "\\x00FF", "\\x00ff", "\\x", "\\x", "\\x0", 5),
    Type("bit(3)", "101", "b101", "101", "111", "111", "10", "1010", "abc"),
    Type("varbit(5)", "1010", "xA", "1010", "", "", "101010", "x1f"),
    Type("bit(2)[]", ["01", None], "{01,NULL}", "{01,NULL}", ["11"], "{11}", ["011"], "{1}"),
    Type("json", {"b": [1, None], "a": 1.5}, '{"b":[1,null],"a":1.5}', '{"b":[1,null],"a":1.5}',
         "x", '"x"'),
    Type("jsonb", {"b": [1, None], "a": "ä"}, '{"a": "ä", "b": [1, null]}',
         '{"a": "ä", "b": [1, null]}', [], "[]"),
    Type("int[]", [1, None, -3], "{1,null,-3}", "{1,NULL,-3}", [], "{}", [1, "x"], {"a": 1}, "1,2",
         [[1], [2, 3]], 5),
    Type("int[][]", [[1, None], [3, 4]], "{{1,NULL},{3,4}}", "{{1,NULL},{3,4}}", [[[5]]], "{{{5}}}",
         [[1], [2, 3]], [[]]),
    Type("text[]", ["a b", 'q"\\', "", "NULL", None, "{,}"],
         '{a b,"q\\"\\\\","","NULL",NULL,"{,}"}', '{"a b","q\\"\\\\","","NULL",NULL,"{,}"}', ["ä"],
         "{ä}", "a", 5, '{"a}'),
    Type("tags", ["a"], "{a}", "{a}", [], "{}"),
    Type("varchar(2)[]", ["ab", "c"], "{ab,c}", "{ab,c}", [None], "{NULL}", ["abc"], "{abc}"),
    Type("numeric(4,1)[]", [1, 2.5], "{1,2.5}", "{1.0,2.5}", [[3]], "{{3.0}}", [1000], "{1000}"),
    Type("boolean[]", [True, False, None], "{t,f,NULL}", "{t,f,NULL}", [1], "{t}", ["maybe"]),
    Type("mood[]", ["ok", 'so "so"'], '{ok,"so \\"so\\""}', '{ok,"so \\"so\\""}', [], "{}",
         ["happy"], [["ok", "happy"]]),
    Type("moods", ["ok", None], "{ok,NULL}", "{ok,NULL}", [], "{}", ["happy"]),
    Type("jsonb[]", [{"a": 1}, [2]], '{"{\\"a\\":1}",[2]}', '{"{\\"a\\": 1}",[2]}', [], "{}"),
    Type("date[]", ["2024-02-29"], "{2024-02-29}", "{2024-02-29}", [None], "{NULL}",
         ["2024-02-29T12:00:00"], "{2024-02-30}"),
    Type("timestamp[]", ["2024-01-01T00:30:00+02:00", None],
         '{"2023-12-31 22:30:00",NULL}', '{"2023-12-31 22:30:00",NULL}',
         [["2024-01-01 00:30:00", "-infinity"]], '{{"2024-01-01 00:30:00",-infinity}}',
         ["2024-01-01 00:30:00 CET"], "{2024-01-01 00:30:00 CET}"),
    Type("timestamptz[]", ["2024-01-01T00:30:00+02:00"], "{2023-12-31T22:30:00Z}",
         '{"2023-12-31 22:30:00+00"}', [], "{}", ["2024-13-01T00:00:00Z"]),
]


def table(kinds):
    columns = ", ".join(f"c{i} {kind.name}" for i, kind in enumerate(kinds))
    return f"{PREPARE}; CREATE TABLE t(k text PRIMARY KEY, {columns})"


TABLE = table(TYPES)


def place(t, *statements, more=KEYED):
    database = postgres.shared().database(*statements)
    t.write("onerow.yaml", CONFIGURATION.format(url=postgres.shared().url(database), more=more))
    return database


def csv_of(t, rows):
    """A CSV file; every field is quoted but for None, which is an empty field: NULL."""
    text = io.StringIO()
    for row in rows:
        fields = ("" if field is None else '"' + field.replace('"', '""') + '"' for field in row)
        text.write(",".join(fields) + "\n")
    return t.write("in.csv", text.getvalue())


def everything(database, columns="*"):
    return postgres.shared().sql(database, "SET TimeZone = 'UTC'; "
                                 f"SELECT {columns} FROM t ORDER BY k COLLATE \"C\"")


def versions(database):
    """Where each row lies and who wrote it: any write changes that."""
    return everything(database, "k, ctid, xmin")


def whole(key, attribute="value"):
    return {"k": key, **{f"c{i}": getattr(kind, attribute) for i, kind in enumerate(TYPES)}}


# ---- every type ---------------------------------------------------------------------------------

def test_every_type_from_json(t):
    """In, unchanged without a new version, changed in each column alone, unchanged, NULL."""
    database = place(t, TABLE)
    assert put(t, [whole("a")]) == [("created", None)]
    assert everything(database) == [["a", *(kind.shown for kind in TYPES)]]
    before = versions(database)
    assert put(t, [whole("a")]) == [("unchanged", None)]
    assert versions(database) == before
    changes = [{"k": "a", f"c{i}": kind.other} for i, kind in enumerate(TYPES)]
    for change, told in zip(changes, put(t, changes)):
        assert told == ("updated", None), (change, told)
    assert everything(database) == [["a", *(kind.other_shown for kind in TYPES)]]
    before = versions(database)
    assert put(t, changes + [whole("a", "other")]) == [("unchanged", None)] * (len(TYPES) + 1)
    assert versions(database) == before
    nothing = {"k": "a", **{f"c{i}": None for i in range(len(TYPES))}}
    assert put(t, [nothing, nothing]) == [("updated", None), ("unchanged", None)]
    nulls = ", ".join(f"c{i}" for i in range(len(TYPES)))
    assert everything(database, f"num_nulls({nulls})") == [[str(len(TYPES))]]


def test_every_type_from_csv(t):
    """The spelling may differ from JSON's, the value is the same: it is unchanged then."""
    database = place(t, TABLE)
    head = ["k", *(f"c{i}" for i in range(len(TYPES)))]
    path = csv_of(t, [head, ["a", *(kind.text for kind in TYPES)], ["b"] + [None] * len(TYPES)])
    assert put_file(t, path) == [("created", None)] * 2
    assert everything(database) == [["a", *(kind.shown for kind in TYPES)],
                                    ["b"] + [""] * len(TYPES)]
    before = versions(database)
    assert put_file(t, path) == [("unchanged", None)] * 2
    assert put(t, [whole("a")]) == [("unchanged", None)]
    assert versions(database) == before
    assert put(t, [whole("a", "other")]) == [("updated", None)]
    assert put_file(t, path) == [("updated", None), ("unchanged", None)]


def test_bad_values_alone_are_rejected(t):
    """Each between good neighbours of the same batch, which stay; the reason is not another's."""
    database = place(t, TABLE)
    cases = [(i, kind, bad) for i, kind in enumerate(TYPES) for bad in kind.bad]
    records = []
    for n, (i, kind, bad) in enumerate(cases):
        records.append({"k": f"good {n}", f"c{i}": kind.value})
        records.append({"k": f"bad {n}", f"c{i}": bad})
    told = put(t, records)
    good = [["good %d" % n] for n in range(len(cases))]
    for (_, kind, bad), neighbour, (outcome, reason) in zip(cases, told[::2], told[1::2]):
        assert neighbour == ("created", None), (kind.name, neighbour)
        assert outcome == "rejected" and reason, (kind.name, bad, outcome)
    assert everything(database, "k") == sorted(good)
    assert len(t.letters()) == len(cases)
    before = versions(database)
    again = put(t, records)
    assert again[::2] == [("unchanged", None)] * len(cases) and again[1::2] == told[1::2]
    assert versions(database) == before


def test_bad_values_in_csv_alone_are_rejected(t):
    database = place(t, TABLE)
    cases = [(i, kind, bad) for i, kind in enumerate(TYPES) for bad in kind.bad
             if isinstance(bad, str) and bad]
    cases += [(i, kind, "{") for i, kind in enumerate(TYPES) if kind.name in ("json", "jsonb")]
    rows = [["k", *(f"c{i}" for i in range(len(TYPES)))]]
    for n, (i, kind, bad) in enumerate(cases):
        for key, text in (("good", kind.text), ("bad", bad)):
            row = [f"{key} {n}"] + [None] * len(TYPES)
            row[i + 1] = text
            rows.append(row)
    told = put_file(t, csv_of(t, rows))
    for (_, kind, bad), neighbour, (outcome, reason) in zip(cases, told[::2], told[1::2]):
        assert neighbour == ("created", None), (kind.name, neighbour)
        assert outcome == "rejected" and reason, (kind.name, bad, outcome)
    assert len(everything(database)) == len(cases)


def test_get_gives_back_what_was_put(t):
    """The row as JSON can be put again, and is unchanged then."""
    database = place(t, TABLE)
    put(t, [whole("a")])
    got = t.onerow("get", "t", "k=a", "--json")
    assert got.code == 0, got
    row = json.loads(got.out.strip().split("\n")[-1])
    row = row.get("record", row.get("row", row))
    names = [kind.name for kind in TYPES]
    assert row[f"c{names.index('bigint')}"] == 9007199254740993, row
    assert row[f"c{names.index('boolean')}"] is True, row
    for name in ("hstore", "pair"):  # which PostgreSQL shows as JSON and does not read so
        del row[f"c{names.index(name)}"]
    before = versions(database)
    assert put(t, [row]) == [("unchanged", None)], row
    assert versions(database) == before


def test_json_in_csv(t):
    """A field takes its column's type: what JSON gives as text and JSON is JSON here."""
    database = place(t, "CREATE TABLE t(k text PRIMARY KEY, j json, b jsonb, n int, f boolean)")
    path = t.write("in.csv", 'k,j,b,n,f\na,"{",,,\nb,,plain,,\nc,"""x""",[1],7,yes\nd,,,7.5,\n'
                             'e,,,,perhaps\nf,,,,\n')
    told = put_file(t, path)
    assert [outcome for outcome, _ in told] == ["rejected", "rejected", "created", "rejected",
                                                "rejected", "created"]
    assert all(reason for outcome, reason in told if outcome == "rejected"), told
    assert everything(database, "j, b, n, f") == [['"x"', "[1]", "7", "t"], ["", "", "", ""]]
    assert put(t, [{"k": "c", "j": "x", "b": [1], "n": 7, "f": True}]) == [("unchanged", None)]


def test_generated_and_identity_columns(t):
    """In a record they are rejected by name; left out they are filled, in small batches and bulk."""
    database = place(t, "CREATE TABLE t(k text PRIMARY KEY, v int, "
                        "twice int GENERATED ALWAYS AS (v * 2) STORED, "
                        "serial int GENERATED ALWAYS AS IDENTITY, "
                        "choice int GENERATED BY DEFAULT AS IDENTITY, s serial, d text DEFAULT 'given')")
    told = put(t, [{"k": "a", "v": 1}, {"k": "b", "v": 1, "twice": 2},
                   {"k": "c", "v": 1, "serial": 1}, {"k": "d", "v": 1, "choice": 77, "s": 88},
                   {"k": "e", "nothing": 1}])
    assert [outcome for outcome, _ in told] == ["created", "rejected", "rejected", "created",
                                                "rejected"]
    assert '"twice"' in told[1][1] and "generated" in told[1][1], told
    assert '"serial"' in told[2][1] and "identity" in told[2][1], told
    assert "nothing" in told[4][1], told
    assert everything(database, "k, twice, d") == [["a", "2", "given"], ["d", "2", "given"]]
    assert everything(database, "choice, s")[1] == ["77", "88"]
    assert put(t, [{"k": "a", "v": 2}]) == [("updated", None)]
    assert everything(database, "twice")[0] == ["4"]
    many = [{"k": f"n{n:04d}", "v": n} for n in range(BULK)]
    assert put(t, many) == [("created", None)] * BULK
    server = postgres.shared()
    assert server.sql(database, "SELECT count(*), count(DISTINCT serial), bool_and(twice = 2 * v), "
                                "min(d) FROM t") == [[str(BULK + 2), str(BULK + 2), "t", "given"]]
    before = versions(database)
    assert put(t, many) == [("unchanged", None)] * BULK
    assert versions(database) == before


# ---- batches of any size ------------------------------------------------------------------------

# An explicit cast would cut these: they are compared by the statement that writes alone.
STAGED = [kind for kind in TYPES if "bit" not in kind.name and not kind.name.endswith(")[]")]


def wide(kinds, key, seed):
    """A record that takes each column's value or the other one, as the seed's bits say."""
    return {"k": key, **{f"c{i}": kind.other if seed >> i % 30 & 1 else kind.value
                         for i, kind in enumerate(kinds)}}


def bulk_and_small_batches_agree(t, kinds, stages):
    """COPY into an empty table, staging and INSERTs store the same, tell the same, and leave the same
    alone."""
    seeds = [t.random.randrange(1 << 30) for _ in range(BULK)]
    records = [wide(kinds, f"k{n:05d}", seed) for n, seed in enumerate(seeds)]
    some = [wide(kinds, f"k{n:05d}", seed ^ (n % 10 == 7)) for n, seed in enumerate(seeds)]
    changed = [{"k": record["k"], f"c{n % len(kinds)}": [kinds[n % len(kinds)].value,
                                                        kinds[n % len(kinds)].other][n // 3 % 2]}
               for n, record in enumerate(records)]
    stored, outcomes = [], []
    for size in (BULK, SMALL):
        database = place(t, table(kinds))
        postgres.shared().sql("postgres", f"ALTER DATABASE {database} SET log_statement = 'all'")
        logged = len(postgres.shared().logged())
        assert put(t, records, "--batch", str(size)) == [("created", None)] * BULK
        copied = "COPY " in postgres.shared().logged()[logged:]
        assert copied == (size == BULK), f"{size} records of a batch, COPY: {copied}"
        stored.append(everything(database))
        before = versions(database)
        logged = len(postgres.shared().logged())
        assert put(t, records, "--batch", str(size)) == [("unchanged", None)] * BULK
        staged = "COPY pg_temp.onerow_staged" in postgres.shared().logged()[logged:]
        assert staged == (stages and size == BULK), f"{size} records of a batch, staging: {staged}"
        assert versions(database) == before
        assert put(t, some, "--batch", str(size)) == \
            [("updated" if n % 10 == 7 else "unchanged", None) for n in range(BULK)]
        stored.append(everything(database))
        assert {new[0] for old, new in zip(before, versions(database)) if old != new} == \
            {f"k{n:05d}" for n in range(7, BULK, 10)}
        before = versions(database)
        outcomes.append(put(t, changed, "--batch", str(size)))
        stored.append(everything(database))
        moved = {new[0] for old, new in zip(before, versions(database)) if old != new}
        assert moved == {record["k"] for record, (outcome, _) in zip(changed, outcomes[-1])
                         if outcome == "updated"}
    assert stored[:3] == stored[3:] and outcomes[0] == outcomes[1]
    told = {outcome for outcome, _ in outcomes[0]}
    assert told == {"updated", "unchanged"}, told
    for row, seed in zip(stored[0], seeds):
        assert row[1:] == [kind.other_shown if seed >> i % 30 & 1 else kind.shown
                           for i, kind in enumerate(kinds)], row


def test_bulk_and_small_batches_agree(t):
    bulk_and_small_batches_agree(t, TYPES, stages=False)


def test_staging_and_small_batches_agree(t):
    bulk_and_small_batches_agree(t, STAGED, stages=True)


def test_a_role_without_temporary_tables(t):
    """It gets the statement over arrays: the same outcomes, and no error."""
    server = postgres.shared()
    database = place(t, "CREATE TABLE t (k text PRIMARY KEY, v integer)",
                     "DROP ROLE IF EXISTS clerk", "CREATE ROLE clerk LOGIN",
                     "GRANT SELECT, INSERT, UPDATE ON t TO clerk")
    server.sql("postgres", f"REVOKE TEMPORARY ON DATABASE {database} FROM PUBLIC")
    records = [{"k": f"k{n:05d}", "v": n} for n in range(BULK)]
    assert put(t, records) == [("created", None)] * BULK
    changed = [{"k": record["k"], "v": record["v"] + (n % 10 == 7)}
               for n, record in enumerate(records)]
    server.sql("postgres", f"ALTER DATABASE {database} SET log_statement = 'all'")
    logged = len(server.logged())
    url = server.url(database).replace("postgres@", "clerk@")
    t.write("onerow.yaml", CONFIGURATION.format(url=url, more=KEYED))
    told = put(t, changed)
    log = server.logged()[logged:]
    assert "CREATE TEMPORARY TABLE onerow_staged" in log and "unnest(" in log
    assert told == [("updated" if n % 10 == 7 else "unchanged", None) for n in range(BULK)]
    assert server.sql(database, "SELECT count(*), sum(v) FROM t") == \
        [[str(BULK), str(sum(record["v"] for record in changed))]]


def test_bad_values_in_bulk(t):
    """A few among thousands: those alone are rejected, be it here or by the server."""
    database = place(t, TABLE)
    cases = [(i, bad) for i, kind in enumerate(TYPES) for bad in kind.bad]
    at = dict(zip(t.random.sample(range(BULK), 12), t.random.sample(cases, 12)))
    records = [{"k": f"k{n:05d}", **({f"c{at[n][0]}": at[n][1]} if n in at else {"c0": n})}
               for n in range(BULK)]
    whole_record = {f"c{i}": None for i in range(len(TYPES))}
    records = [{**whole_record, **record} for record in records]
    for outcome in ("created", "unchanged"):
        told = put(t, records)
        assert {n for n, (found, reason) in enumerate(told) if found == "rejected" and reason} == \
            set(at), at
        assert all(found == outcome for n, (found, _) in enumerate(told) if n not in at)
    assert len(everything(database, "k")) == BULK - len(at)


# ---- moments ------------------------------------------------------------------------------------

def spelled(dice, moment):
    """A moment in UTC, in one of the many spellings of RFC 3339 and what is near to it."""
    offset = dice.choice([0, 0, 60, 120, 330, 345, 840, -60, -210, -480, -720, dice.randrange(-900, 900)])
    local = moment + datetime.timedelta(minutes=offset)
    text = local.strftime(f"%Y-%m-%d{dice.choice('T t')}%H:%M:%S")
    if local.microsecond or dice.random() < 0.2:
        text += f".{local.microsecond:06d}"
    if offset == 0:
        return text + dice.choice(["", "Z", "z", "+00:00", "-00:00", "+00"])
    sign, hours, minutes = "-" if offset < 0 else "+", abs(offset) // 60, abs(offset) % 60
    zones = [f"{hours:02d}:{minutes:02d}", f"{hours:02d}{minutes:02d}"]
    return text + sign + dice.choice(zones if minutes else zones + [f"{hours:02d}"])


CENTRES = [datetime.datetime(*date) for date in
           [(2024, 1, 1), (2024, 2, 29), (2024, 3, 1), (2023, 3, 1), (2000, 3, 1), (1900, 3, 1),
            (2024, 12, 31, 23, 59, 59), (1970, 1, 1), (1999, 12, 31, 12)]]


def near(dice):
    """Moments within two days, so that zones decide which is the later one."""
    centre = dice.choice(CENTRES)
    return centre + datetime.timedelta(seconds=dice.randrange(-86400, 86400),
                                       microseconds=dice.choice([0, 0, 1, 500000, 999999]))


def shown(moment):
    text = moment.strftime("%Y-%m-%d %H:%M:%S")
    return text + (f".{moment.microsecond:06d}".rstrip("0") if moment.microsecond else "")


def contest(t, records, keys, moments):
    """`keys` times `moments` distinct moments of each, spelled anyhow, in any order."""
    made = []
    for key in range(keys):
        centre, seen = near(t.random), set()
        while len(seen) < moments:
            seen.add(centre + datetime.timedelta(seconds=t.random.randrange(-50000, 50000),
                                                 microseconds=t.random.choice([0, 1, 250000])))
        made += [(f"k{key:04d}", moment, {"k": f"k{key:04d}", "o": spelled(t.random, moment),
                                          "v": shown(moment)}) for moment in seen]
    t.random.shuffle(made)
    records += [record for _, _, record in made]
    return made


def winners(policy, made):
    best = {}
    for key, moment, record in made:
        wins = {"newest(o)": lambda old: moment > old[0], "keep": lambda old: False,
                "update": lambda old: True}[policy]
        if key not in best or wins(best[key]):
            best[key] = (moment, record)
    return [[key, shown(best[key][0]), best[key][1]["v"]] for key in sorted(best)]


def test_moments_in_any_zone_compete(t):
    """One file, one record at a time, and a bulk: the same record wins, and the row holds its moment."""
    for declared in ("timestamp", "timestamptz"):
        for policy in ("newest(o)", "keep", "update"):
            sizes = [("40000", 40, 6), ("1", 4, 5)]
            for size, keys, moments in sizes + [("40000", 820, 5)] * (policy == "newest(o)"):
                database = place(t, f"CREATE TABLE t(k text PRIMARY KEY, o {declared}, v text)",
                                 more=f"{KEYED}    on_conflict: {policy}\n")
                records = []
                made = contest(t, records, keys, moments)
                cut = len(records) // 2 if keys > 4 else 0
                for part in (records[:cut], records[cut:]) if cut else (records,):
                    told = put(t, part, "--batch", size)
                    assert all(outcome in ("created", "updated", "unchanged")
                               for outcome, _ in told), told
                rows = everything(database, "k, o::timestamp, v")
                wrong = [(row, want) for row, want in zip(rows, winners(policy, made)) if row != want]
                assert len(rows) == keys and not wrong, (declared, policy, size, wrong[:3])
                before = versions(database)
                if policy != "update":
                    assert {o for o, _ in put(t, records)} == {"unchanged"}
                    assert versions(database) == before


def test_one_spelling_is_one_moment(t):
    """In `timestamp`, its array, `timestamptz` and a key: the same moment, from JSON and CSV."""
    database = place(t, "CREATE TABLE t(k text, at timestamp, o timestamp, l timestamp[], "
                        "z timestamptz, PRIMARY KEY (k, at))", more="    key: [k, at]\n")
    moments = [near(t.random) for _ in range(300)]
    records = []
    for n, moment in enumerate(moments):
        text = spelled(t.random, moment)
        records.append({"k": f"k{n:04d}", "at": text, "o": text, "l": [text], "z": text})
    assert put(t, records) == [("created", None)] * len(records)
    before = versions(database)
    assert put_file(t, csv_of(t, [["k", "at", "o", "l", "z"]] + [
        [r["k"], r["at"], r["o"], "{" + r["o"] + "}", r["z"]] for r in records])) == \
        [("unchanged", None)] * len(records)
    assert versions(database) == before
    for record, moment, row in zip(records, moments, everything(
            database, "at, o, l[1], z AT TIME ZONE 'UTC'")):
        assert row == [shown(moment)] * 4, (record, row)


DAYS = ["2024-02-29", "2023-12-31", "20240301", "29 Feb 2024", "Feb 29, 2024", "29-Feb-2024",
        "2/29/2024", "0044-03-15", "0001-01-01", "12345-06-07", "2024.060", "2024-060", "J2460370",
        "today", "tomorrow", "epoch", "24-02-29", "Feb 2024", "1 8 2024", "Thursday 29 February 2024", "2023-02-29"]
TIMES = ["", "", "00:30:00", "23:59:59.999999", "00:30", "12:30 AM", "003000", "0030", "24:00:00",
         "23:59:60", "allballs", "00:30:00.", "T00:30:00"]
ZONES = ["", "", "Z", " UTC", "+02", "-02:00", " +0530", " -08", "+2", "+00", "-00:00", " CET",
         " Europe/Berlin", " EST5EDT", "+02:00:30", " GMT", "+15:59", " zulu", "+14:00 BC", " BC", " AD",
         " UTC+2", " z BC", "-02 AD", " PST8PDT", "/+02", ",-02", " DST", " MET DST", " -2", "_02"]


def test_nothing_is_dropped_without_a_word(t):
    """Odd spellings at random: what is accepted is, in UTC, what `timestamptz` makes of the same text;
    a date has no time of day then, and a time no day and no offset."""
    database = place(t, "CREATE TABLE t(k text PRIMARY KEY, s text, o timestamp, d date, c time, "
                        "r tsrange)")
    spellings = {part + zone for part in TIMES + DAYS for zone in ZONES}
    while len(spellings) < 1500:
        day, time, zone = (t.random.choice(part) for part in (DAYS, TIMES, ZONES))
        parts = [day, t.random.choice([" ", " ", "T", "  "]) if time else "", time, zone]
        if t.random.random() < 0.15:
            parts = [time, zone, " ", day]
        if t.random.random() < 0.1:
            parts = parts[2:]
        spellings.add("".join(parts))
    records = []
    for n, text in enumerate(sorted(spellings)):
        for column in "odc":
            records.append({"k": f"{column}{n}", "s": text, column: text})
        records.append({"k": f"r{n}", "s": text, "r": f'["{text}",)'})
    told = put(t, records)
    accepted = {column: sum(record["k"][0] == column and outcome == "created"
                            for record, (outcome, _) in zip(records, told)) for column in "odcr"}
    print(f"# {len(spellings)} spellings; accepted {accepted}")
    assert all(count > 20 for count in accepted.values()), accepted
    server = postgres.shared()
    truth = "(s::timestamptz AT TIME ZONE 'UTC')"
    for column, wrong in [("o", f"o <> {truth}"), ("r", f"lower(r) <> {truth}"),
                          ("d", f"d::timestamp <> {truth}")]:
        rows = server.sql(database, f"SET TimeZone = 'UTC'; SELECT s, {column} FROM t "
                                    f"WHERE k LIKE '{column}%' AND {wrong}")
        assert rows == [], rows
    rows = server.sql(database, "SET TimeZone = 'UTC'; SELECT s, c FROM t WHERE k LIKE 'c%' AND "
                                "(s::timetz <> c::timetz OR s ~ '20[0-9][0-9][-/0-9]|Feb|[+-]0?[1-9]')")
    assert rows == [], rows


if __name__ == "__main__":
    harness.main()
