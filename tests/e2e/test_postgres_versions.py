# SPDX-License-Identifier: Apache-2.0
"""The same on every version of PostgreSQL that scripts/setup brings beside the distribution's: one
server each, and what may differ between them."""
import json

import harness
import postgres

CONFIGURATION = """stores:
  app: {{ url: "{url}" }}
tables:
{tables}"""
TABLES = """  plain: { store: app, key: [k] }
  keeps: { store: app, location: plain, key: [k], on_conflict: keep }
  news: { store: app, location: plain, key: [k], on_conflict: newest(at) }
  many: { store: app, key: [day, k] }
  quiet: { store: app, key: [k] }
  free: { store: app, key: [k], unenforced: accept }
"""
NULLS = """  nulls: { store: app, key: [a, { column: n, nulls: equal }] }
"""
SCHEMA = ("CREATE TABLE plain(k text PRIMARY KEY, v numeric(10,2), doc jsonb, plain json, "
          "at timestamptz, tags text[], number int GENERATED ALWAYS AS IDENTITY, "
          "twice numeric GENERATED ALWAYS AS (v * 2) STORED)",
          "CREATE TABLE many(k text, day date, v int, up date, PRIMARY KEY (k, day)) "
          "PARTITION BY RANGE (day)",
          "CREATE TABLE many1 PARTITION OF many FOR VALUES FROM ('2024-01-01') TO ('2024-07-01')",
          "CREATE TABLE many2 PARTITION OF many DEFAULT",
          "ALTER TABLE many ADD FOREIGN KEY (k, up) REFERENCES many (k, day)",
          "CREATE TABLE free(k text NOT NULL, v int)",
          "CREATE TABLE quiet(k text PRIMARY KEY, v int, w text)",
          "CREATE FUNCTION tidy() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN NEW.w := "
          "lower(NEW.w); IF NEW.v < 0 THEN RETURN NULL; END IF; RETURN NEW; END$$",
          "CREATE TRIGGER a BEFORE UPDATE ON quiet FOR EACH ROW EXECUTE FUNCTION tidy()",
          "CREATE TRIGGER b BEFORE UPDATE ON quiet FOR EACH ROW EXECUTE FUNCTION "
          "suppress_redundant_updates_trigger()",
          "CREATE TABLE nulls(a text NOT NULL, n int, v int, UNIQUE (a, n))")


class Version:
    """One server, one database, and one configuration for it."""

    def __init__(self, t, number):
        self.t, self.number = t, number
        self.server = postgres.Server(number)
        self.database = self.server.database(*SCHEMA)
        self.configure(self.server.port, TABLES)

    def configure(self, port, tables):
        self.t.write("onerow.yaml", CONFIGURATION.format(
            url=self.server.url(self.database, port), tables=tables))

    def put(self, table, records, *options):
        self.t.ndjson("in.ndjson", records)
        result = self.t.onerow("put", table, "--results", "R", *options, "in.ndjson")
        assert result.code in (0, 1), (self.number, result)
        lines = sorted(self.t.results("R"), key=lambda line: line["line"])
        return [line["outcome"] + (":" + line["reason"] if line["reason"] else "") for line in lines]

    def sql(self, statement):
        return self.server.sql(self.database, statement)

    def expect(self, got, wanted):
        assert got == wanted, (self.number, got, wanted)


def check_policies(version):
    record = {"k": "a", "v": 1.50, "doc": {"b": [1, None], "a": "x"}, "plain": {"z": 1},
              "at": "2024-01-02T00:00:00+01:00", "tags": ["x", None]}
    put, expect = version.put, version.expect
    expect(put("plain", [record, {"k": "b", "v": 2}]), ["created"] * 2)
    expect(put("plain", [record, {"k": "b", "v": 3}, {"k": "c"}]), ["unchanged", "updated", "created"])
    expect(put("plain", [{**record, "v": "1.5", "doc": {"a": "x", "b": [1, None]}}]), ["unchanged"])
    expect(put("plain", [{**record, "doc": {"a": "y"}}, {"k": "a", "number": 1}])[:1], ["updated"])
    expect(put("keeps", [{"k": "a", "v": 9}, {"k": "d", "v": 9}]), ["unchanged:kept", "created"])
    expect(put("news", [{"k": "a", "v": 7, "at": "2024-01-01T00:00:00Z"},
                        {"k": "b", "v": 7, "at": "2024-01-01T00:00:00Z"}]),
           ["unchanged:older", "updated"])
    expect(version.sql("SELECT k, v, twice, doc->>'a' FROM plain ORDER BY k"),
           [["a", "1.50", "3.00", "y"], ["b", "7.00", "14.00", ""], ["c", "", "", ""],
            ["d", "9.00", "18.00", ""]])
    told = put("plain", [{"k": "e", "v": "x"}, {"k": "f", "v": 1}, {"k": "g", "twice": 1}])
    expect([outcome.split(":")[0] for outcome in told], ["rejected", "created", "rejected"])
    got = version.t.onerow("get", "plain", "k=a")
    assert got.code == 0 and json.loads(got.out)["doc"] == {"a": "y"}, (version.number, got)


def check_partitions(version):
    records = [{"k": f"k{i}", "day": f"2024-{1 + i % 12:02}-01", "v": i} for i in range(36)]
    version.expect(version.put("many", records), ["created"] * 36)
    records[5]["v"] = 55
    version.expect(version.put("many", records),
                   ["unchanged"] * 5 + ["updated"] + ["unchanged"] * 30)
    told = version.put("many", [{"k": "new", "day": "2024-02-01"}, {"k": "k5", "day": "2024-06-01"},
                                {"k": "new", "day": "2024-09-01", "up": "2024-02-01"},
                                {"k": "k6", "day": "2024-09-01", "up": "2024-07-01", "v": 1}])
    version.expect(told, ["created", "unchanged", "created", "created"])


def check_suppressed(version):
    """PostgreSQL's own report tells what a trigger swallowed from what would not change."""
    records = [{"k": f"k{i:02}", "v": i, "w": f"Text {i}"} for i in range(12)]
    version.expect(version.put("quiet", records), ["created"] * 12)
    version.expect(version.put("quiet", records), ["unchanged"] * 12)
    version.sql("UPDATE quiet SET w = lower(w)")
    records[3]["v"], records[5]["w"] = -3, "Other"
    told = [outcome.split(":")[0] for outcome in version.put("quiet", records)]
    wanted = ["unchanged"] * 12
    wanted[3], wanted[5] = "rejected", "updated"
    version.expect(told, wanted)


def check_bulk(version):
    """Enough for every way of writing, into an empty table and over it."""
    records = [{"k": f"bulk {i:05d}", "v": i} for i in range(12000)]
    version.expect(set(version.put("plain", records)), {"created"})
    for record in records[::10]:
        record["v"] += 0.5
    told = version.put("plain", records)
    version.expect((told.count("updated"), told.count("unchanged")), (1200, 10800))
    version.expect(version.sql("SELECT count(*), sum(v) FROM plain WHERE k LIKE 'bulk%'"),
                   [["12000", f"{sum(range(12000)) + 600}.00"]])


def check_nulls(version):
    """NULLS NOT DISTINCT came with 15; what lacks it is refused by the version's name."""
    version.configure(version.server.port, NULLS)
    version.t.ndjson("in.ndjson", [{"a": "x", "n": None, "v": 1}])
    result = version.t.onerow("put", "nulls", "in.ndjson")
    assert result.code == 78, (version.number, result)
    if version.number < 15:
        assert "since version 15" in result.err and f"is {version.number}" in result.err, result
    else:
        assert "NULLS NOT DISTINCT" in result.err, result
        version.sql("ALTER TABLE nulls DROP CONSTRAINT nulls_a_n_key, "
                    "ADD UNIQUE NULLS NOT DISTINCT (a, n)")
        records = [{"a": "x", "n": None, "v": 1}, {"a": "x", "n": None, "v": 2}, {"a": "x", "n": 0}]
        version.expect(version.put("nulls", records), ["created", "updated", "created"])
    version.configure(version.server.port, TABLES)


def check_unenforced(version):
    version.expect(version.put("free", [{"k": "a", "v": 1}, {"k": "a", "v": 2}]),
                   ["created", "updated"])
    assert version.t.onerow("audit", "plain", "many", "free").code == 0
    version.sql("INSERT INTO free VALUES ('a', 3)")
    result = version.t.onerow("audit", "free")
    assert result.code == 1 and '"a"' in result.out, (version.number, result)


def check_cut(version):
    """A lost COMMIT is settled, or unknown after a crash that hands out the same ids again."""
    proxy = postgres.Proxy(version.server)
    version.configure(proxy.port, TABLES)
    for place in ("before", "swallowed"):
        for crash in (False, True):
            cut = proxy.cut(place)
            key = f"{place} {crash}"
            version.t.ndjson("in.ndjson", [{"k": key, "v": 1}])
            process = version.t.start("put", "plain", "--results", "R", "in.ndjson")
            cut.wait()
            if crash:
                version.server.crash_backend()
                version.sql("DO $$BEGIN FOR i IN 1..50 LOOP PERFORM pg_current_xact_id(); COMMIT; "
                            "END LOOP; END$$")
            cut.release()
            result = version.t.finish(process)
            wanted = "unknown" if crash else "created"
            assert version.t.results("R")[0]["outcome"] == wanted, (version.number, key, result)
            rows = version.sql(f"SELECT 1 FROM plain WHERE k = '{key}'")
            version.expect(len(rows), 0 if crash and place == "before" else 1)
    proxy.close()
    version.configure(version.server.port, TABLES)


def check_race(version):
    processes = []
    for p in range(4):
        records = [{"k": f"race {i:04d}", "v": p} for i in range(600)]
        version.t.random.shuffle(records)
        version.t.ndjson(f"race{p}.ndjson", records)
        processes.append(version.t.start("put", "plain", "--json", "--batch", "40",
                                         f"race{p}.ndjson"))
    results = [version.t.finish(process) for process in processes]
    assert all(result.code == 0 for result in results), (version.number, results)
    version.expect(sum(json.loads(result.out)["created"] for result in results), 600)
    version.expect(version.sql("SELECT count(*) FROM plain WHERE k LIKE 'race%'"), [["600"]])


def make_test(number):
    def test(t):
        version = Version(t, number)
        try:
            for check in (check_policies, check_partitions, check_suppressed,
                          check_bulk, check_nulls, check_unenforced, check_cut,
                          check_race):
                check(version)
        finally:
            version.server.remove()
    test.__name__ = f"test_postgres_{number}"
    return test


for supported in postgres.VERSIONS:
    globals()[f"test_postgres_{supported}"] = make_test(supported)

if __name__ == "__main__":
    harness.main()
