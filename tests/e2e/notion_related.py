# SPDX-License-Identifier: Apache-2.0
"""Two tables in the simulator of the Notion API, of which one relates to the other and both to
themselves, for tests of the command."""
import json

from notion import Sim
from notion_areas import BOUNDS, TOKEN

AREAS = "aaaaaaaa-0000-4000-8000-000000000001"
TASKS = "aaaaaaaa-0000-4000-8000-000000000002"
LINES = "aaaaaaaa-0000-4000-8000-000000000003"


def related(source):
    return {"relation": {"data_source_id": source, "single_property": {}}}


SOURCES = [
    {"id": AREAS, "properties": {"Name": {"title": {}}, "Rank": {"number": {}}, "State": {"status": {}},
                                 "Kind": {"select": {}}, "Above": related(AREAS)}},
    {"id": TASKS, "properties": {"Name": {"title": {}}, "Rank": {"number": {}}, "State": {"status": {}},
                                 "Parent": related(AREAS), "Line": related(LINES),
                                 "Before": related(TASKS)}},
    {"id": LINES, "properties": {"Game": {"title": {}}, "At": {"number": {}}}},
]


class Related:
    """A simulator with the three data sources, and a configuration for them."""

    def __init__(self, t, *options, seed=1, **how):
        self.t = t
        self.sim = Sim(t, *options, seed=seed, setup={"databases": [
            {"title": source["id"], "data_sources": [source]} for source in SOURCES]})
        t.env["NOTION_TOKEN"] = TOKEN
        self.configure(**how)

    def configure(self, tasks="Parent: areas, Line: lines, Before: tasks", areas="Above: areas",
                  area=", defaults: { Kind: Active }", store="", more=""):
        self.t.write("onerow.yaml", f"""coordinator: sqlite:ledger.db
stores:
  notion:
    url: "notion+http://{self.sim.address}"
    token: "${{NOTION_TOKEN}}"
    bounds: {BOUNDS}
    {store}
tables:
  tasks:
    store: notion
    location: {TASKS}
    key: [Name]
    relations: {{ {tasks} }}
  areas: {{ store: notion, location: {AREAS}, key: [Name], relations: {{ {areas} }} {area} }}
  lines: {{ store: notion, location: {LINES}, key: [Game, {{ column: At, type: decimal }}] }}
{more}""")

    def put(self, table, records, *options):
        return self.t.onerow("put", table, "-", "--results", "results", *options,
                             input="".join(json.dumps(r) + "\n" for r in records))

    def put_all(self, records, *options):
        """Of several tables: pairs of a table's name and a record."""
        return self.t.onerow("put", "-", "--results", "results", *options, input="".join(
            json.dumps({"table": table, "record": record}) + "\n" for table, record in records))

    def pages(self, source, title="Name"):
        """The live pages with a key, by title; none may be there twice."""
        found, cursor = {}, None
        while True:
            body = {"page_size": 100, **({"start_cursor": cursor} if cursor else {})}
            answer = self.sim.query(source, body, token=TOKEN)
            for page in answer["results"]:
                name = "".join(r["plain_text"] for r in page["properties"][title]["title"])
                assert name not in found, name
                if not name.startswith("onerow:blank:"):
                    found[name] = page
            cursor = answer["next_cursor"]
            if not cursor:
                return found

    def one_each(self):
        for source in (AREAS, TASKS):
            state = self.sim.source_state(source)
            assert state["duplicates_ever"] == 0, state


def ids(page, column="Parent"):
    return [item["id"] for item in page["properties"][column]["relation"]]


def reasons(t):
    return [line["reason"] for line in t.results("results")]
