# SPDX-License-Identifier: Apache-2.0
"""A table of areas in the simulator of the Notion API, for tests of the command."""
import json

from notion import Sim, title

TOKEN = "ntn_a_token_that_nobody_must_see"
SCHEMA = {"Name": {"title": {}}, "Text": {"rich_text": {}}, "Rank": {"number": {}},
          "Kind": {"select": {"options": [{"name": "old"}]}}, "State": {"status": {}}}
# Small enough for a test, large enough for a busy machine.
BOUNDS = ("{ pause: 4s, request: 5s, life: 500ms, lag: 500ms, skew: 10ms, guard: 10ms, lease: 6s, "
          "poll: 100ms }")


class Areas:
    """A simulator with one data source, and a configuration for it."""

    def __init__(self, t, *options, ledger="coordinator: sqlite:ledger.db", store="", table="",
                 key="Name", rows=(), seed=1, bounds=BOUNDS):
        self.t = t
        self.key = key
        self.bounds = bounds
        self.sim = Sim(t, *options, seed=seed, setup={"databases": [
            {"title": "Areas", "data_sources": [
                {"properties": SCHEMA,
                 "rows": [{"properties": {"Name": title(row)}} for row in rows]}]}]})
        self.address = self.sim.address
        self.source = self.sim.state()["data_sources"][0]["id"]
        t.env["NOTION_TOKEN"] = TOKEN
        self.configure(ledger, store, table)

    def configure(self, ledger="coordinator: sqlite:ledger.db", store="", table=""):
        self.t.write("onerow.yaml", f"""{ledger}
stores:
  notion:
    url: "notion+http://{self.address}"
    token: "${{NOTION_TOKEN}}"
    bounds: {self.bounds}
    {store}
tables:
  areas: {{ store: notion, location: {self.source}, key: [{self.key}] {table} }}
""")

    def state(self):
        return self.sim.source_state(self.source)

    def pages(self):
        """The live pages with a key, by title, as the API shows them; none may be there twice."""
        found, cursor = {}, None
        while True:
            body = {"page_size": 100, **({"start_cursor": cursor} if cursor else {})}
            answer = self.sim.query(self.source, body, token=TOKEN)
            for page in answer["results"]:
                name = "".join(r["plain_text"] for r in page["properties"]["Name"]["title"])
                assert name not in found, name
                if not name.startswith("onerow:blank:"):
                    found[name] = page
            cursor = answer["next_cursor"]
            if not cursor:
                return found

    def one_each(self):
        state = self.state()
        assert state["duplicates_ever"] == 0, state
        return state


def rank(page):
    return page["properties"]["Rank"]["number"]


def text(page):
    return "".join(r["plain_text"] for r in page["properties"]["Text"]["rich_text"])


def put(t, records, *options):
    return t.onerow("put", "areas", "-", "--results", "results", *options,
                    input="".join(json.dumps(r) + "\n" for r in records))
