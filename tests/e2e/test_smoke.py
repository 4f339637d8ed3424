# SPDX-License-Identifier: Apache-2.0
"""The shortest way through the house."""
import harness


def test_create_put_again_and_get(t):
    records = t.ndjson("in.ndjson", [{"name": "a", "v": 1}, {"name": "b", "v": 2}])
    where = ["--store", "sqlite:x.db", "--table", "t", "--key", "name"]
    first = t.onerow("put", *where, "--create-table", records)
    assert first.code == 0 and first.balance["created"] == 2, first
    again = t.onerow("put", *where, records)
    assert again.code == 0 and again.balance["unchanged"] == 2, again
    assert t.count("x.db", "SELECT count(*) FROM t") == 2
    got = t.onerow("get", *where, "name=b")
    assert got.out == '{"name":"b","v":2}\n', got


if __name__ == "__main__":
    harness.main()
