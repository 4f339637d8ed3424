# SPDX-License-Identifier: Apache-2.0
"""The simulator of the Notion API, asked by the official clients and by hand."""
import contextlib
import gzip
import http.client
import io
import json
import os
import re
import socket
import threading
import urllib.parse

import harness
import notion
from notion import Sim, create_body, names, title

TEXT = {"rich_text": [{"text": {"content": "text"}}]}
ALL_TYPES = {
    "Text": {"rich_text": {}}, "Url": {"url": {}}, "Mail": {"email": {}},
    "Phone": {"phone_number": {}}, "Rank": {"number": {}}, "Done": {"checkbox": {}},
    "Kind": {"select": {"options": [{"name": "old"}]}}, "Tags": {"multi_select": {}},
    "State": {"status": {}}, "When": {"date": {}}, "Who": {"people": {}},
    "Number": {"unique_id": {"prefix": "A"}}, "Made": {"created_time": {}},
    "Maker": {"created_by": {}}, "Sum": {"formula": {"expression": "1"}},
}


# ---- the official clients -----------------------------------------------------------------------

def test_the_python_client_creates_queries_updates_and_trashes(t):
    sim = Sim(t)
    client = sim.client()
    _, source = sim.data_source({"Rank": {"number": {}}})
    assert client.users.me()["type"] == "bot"
    page = client.pages.create(**create_body(source, "Home", Rank={"number": 1}))
    undashed = page["id"].replace("-", "")
    assert client.pages.retrieve(undashed)["id"] == page["id"]
    wanted = {"property": "Name", "title": {"equals": "Home"}}
    found = client.data_sources.query(source, filter=wanted)
    assert [row["id"] for row in found["results"]] == [page["id"]]
    changed = client.pages.update(page["id"], properties={"Rank": {"number": 2.5}})
    assert changed["properties"]["Rank"]["number"] == 2.5
    assert client.pages.retrieve(page["id"])["properties"]["Rank"]["number"] == 2.5
    client.blocks.children.append(page["id"], children=[{"paragraph": TEXT}])
    client.blocks.children.append(page["id"], children=[{"paragraph": TEXT}])
    assert len(client.blocks.children.list(page["id"])["results"]) == 2  # never idempotent
    assert client.pages.update(page["id"], in_trash=True)["in_trash"] is True
    assert client.data_sources.query(source)["results"] == []
    assert client.pages.retrieve(page["id"])["in_trash"] is True  # the query proved nothing
    assert client.pages.update(page["id"], in_trash=False)["in_trash"] is False
    assert len(client.data_sources.query(source, filter=wanted)["results"]) == 1
    sim.end()


def test_the_python_client_pages_through_everything_once(t):
    module = notion.library()
    rows = [{"properties": {"Name": title(f"row {i}"), "Rank": {"number": i}}} for i in range(250)]
    sim = Sim(t, setup={"databases": [{"title": "Rows", "data_sources": [
        {"properties": {"Name": {"title": {}}, "Rank": {"number": {}}}, "rows": rows}]}]})
    source = sim.state()["data_sources"][0]["id"]
    client = sim.client()
    every = list(module.helpers.iterate_paginated_api(client.data_sources.query,
                                                      data_source_id=source))
    assert sorted(page["properties"]["Rank"]["number"] for page in every) == list(range(250))
    ordered = list(module.helpers.iterate_paginated_api(
        client.data_sources.query, data_source_id=source, page_size=7,
        sorts=[{"property": "Rank", "direction": "descending"}],
        filter={"property": "Rank", "number": {"less_than": 100}}))
    assert [p["properties"]["Rank"]["number"] for p in ordered] == list(range(99, -1, -1))
    sim.end()


def test_the_python_client_knows_every_error(t):
    module = notion.library()
    sim = Sim(t, "--token", "secret")
    client = sim.client(retry=False)
    _, source = sim.data_source()

    def code(call, *arguments, **options):
        try:
            call(*arguments, **options)
        except module.APIResponseError as error:
            assert error.request_id and error.status, error
            return error.code.value
        except module.errors.UnknownHTTPResponseError as error:
            return error.status
        raise AssertionError("nothing was refused")

    assert code(sim.client("other", retry=False).users.me) == "unauthorized"
    assert code(client.pages.retrieve, source) == "object_not_found"
    assert code(client.pages.retrieve, "abc") == "validation_error"
    assert code(client.databases.retrieve, source) == "object_not_found"
    for fault, expected in (("409", "conflict_error"), ("row-limit", 409), ("503", "service_unavailable"),
                            ("block-limit", "restricted_resource"), ("500", "internal_server_error"),
                            ("504", "gateway_timeout"), ("429", "rate_limited"),
                            ("429-blocked", "rate_limited"), ("502", 502), ("529", 529),
                            ("503-database", 503), ("html", 502)):
        sim.order(fault, method="POST", path="/v1/pages")
        assert code(client.pages.create, **create_body(source, "x")) == expected, fault
    assert sim.source_state(source)["pages"] == 0
    sim.end()


def test_the_python_client_waits_after_429_and_creates_once(t):
    sim = Sim(t)
    _, source = sim.data_source()
    sim.order("429", method="POST", path="/v1/pages", parameter=1)
    assert sim.client().pages.create(**create_body(source, "Home"))["object"] == "page"
    state = sim.state()
    assert state["by_status"]["429"] == 1 and state["inside_retry_after"]["count"] == 0, state
    assert sim.source_state(source)["by_key"][0]["creates"] == 1
    # Negative control: who does not wait is counted.
    sim.order("429", method="POST", path="/v1/pages", parameter=300)
    refused = sim.ask("POST", "/v1/pages", create_body(source, "Home"))
    assert refused.status == 429 and refused.headers["Retry-After"] == "300", refused
    t.wait_until(lambda: sim.ask("GET", f"/v1/pages/{sim.root}").status == 200 and
                 sim.state()["inside_retry_after"]["count"] > 0, what="an early call")
    sim.end()


def test_the_javascript_client(t):
    sim = Sim(t)
    seen = notion.node(t, "notion_client.mjs", sim.url, sim.root)
    assert sorted(seen["schema"]) == ["Name", "Rank"]
    assert seen["ranks"] == [7, 6, 5, 4, 3, 2, 1]
    assert seen["found"] == [True] and seen["updated"] == 9 and seen["trashed"] is True
    assert seen["children"] == ["text"] and seen["me"] == "bot"
    assert seen["edited"]["code"] == "validation_error" and seen["edited"]["api"], seen["edited"]
    assert seen["missing"]["code"] == "object_not_found" and seen["missing"]["known"]
    assert seen["missing"]["request"]
    assert seen["after429"] == seen["after529"] == "page"
    assert seen["conflict"]["status"] == 409 and seen["conflictIsKnown"]
    saved = seen["saved"]["additional"]
    assert seen["saved"]["status"] == 503 and "Do not repeat the write." in saved["retry_guidance"]
    page = sim.ask("GET", "/v1/pages/" + saved["committed_resource_id"]).json
    assert page["properties"]["Name"]["title"][0]["plain_text"] == "Saved"
    assert seen["html"]["code"] == "notionhq_client_response_error" and seen["html"]["status"] == 502
    assert seen["slow"]["code"] == "notionhq_client_request_timeout"
    assert seen["reset"]["known"] is False  # a network error, which the client does not wrap
    creates = {key["key"]: key["creates"] for key in sim.source_state(seen["source"])["by_key"]}
    assert creates["After 429"] == creates["After 529"] == creates["Saved"] == 1, creates
    assert creates["Slow"] == creates["Reset"] == 1 and "Conflict" not in creates, creates
    assert sim.state()["inside_retry_after"]["count"] == 0
    sim.end()


# ---- Notion's own list ---------------------------------------------------------------------------

# Simulated, though Notion's file of 2025-09-03 does not list it: where it is known from.
BEYOND_THE_FILE = {
    ("POST", "/v1/databases"): "@notionhq/client databases.create",
    ("PATCH", "/v1/databases/{}"): "@notionhq/client databases.update",
    ("POST", "/v1/databases/{}/query"): "2022-06-28",
    ("GET", "/v1/async_tasks/{}"): "@notionhq/client asyncTasks.retrieve",
}
# Notion has these, the simulator has not, and says so.
NOT_SIMULATED = {
    ("GET", "/v1/comments"), ("POST", "/v1/comments"), ("POST", "/v1/pages/{}/move"),
    ("GET", "/v1/pages/{}/markdown"), ("PATCH", "/v1/pages/{}/markdown"),
    ("GET", "/v1/data_sources/{}/templates"),
}


def plain(path):
    return "/".join("{}" if part.startswith("{") else part for part in path.split("/"))


def test_the_routes_are_those_of_notions_own_file(t):
    with open(notion.part("notion-openapi.json"), encoding="utf-8") as file:
        listed = {(method.upper(), plain(path)) for path, methods in json.load(file)["paths"].items()
                  for method in methods}
    sim = Sim(t)
    routes = sim.control("routes")
    have = {(r["method"], plain(r["path"])) for r in routes if r["simulated"]}
    assert listed - have == NOT_SIMULATED, listed - have ^ NOT_SIMULATED
    assert have - listed == set(BEYOND_THE_FILE), have - listed
    for method, path in sorted(NOT_SIMULATED):
        answer = sim.ask(method, path.format(sim.root), {} if method != "GET" else None)
        assert answer.status == 400 and answer.code == "invalid_request", answer
        assert "not simulated" in answer.message, answer
    assert sim.ask("GET", "/v1/nonsense").code == "invalid_request_url"
    sim.end()


def test_the_error_envelope_is_that_of_notions_own_file(t):
    with open(notion.part("notion-openapi.json"), encoding="utf-8") as file:
        described = json.load(file)
    schemas = [operation["responses"]["400"]["content"]["application/json"]["schema"]
               for methods in described["paths"].values() for operation in methods.values()
               if "content" in operation["responses"].get("400", {})]
    members = {name for schema in schemas for name in schema.get("properties", {})}
    assert {"object", "status", "code", "message"} <= members, members
    sim = Sim(t)
    answer = sim.ask("POST", "/v1/pages", {})
    assert {"object", "status", "code", "message", "request_id"} == set(answer.json), answer
    assert answer.json["object"] == "error" and answer.json["status"] == answer.status == 400
    assert answer.headers["x-notion-request-id"] == answer.json["request_id"]
    sim.end()


# What the client sends and Notion's newest version no longer takes.
GONE = {("updatePage", "archived"), ("updateBlock", "archived"), ("updateDataSource", "archived"),
        ("queryDataSource", "archived")}


def test_every_member_of_a_body_is_understood_or_refused_by_name(t):
    """A member that is dropped in silence would make a test pass that Notion would not."""
    sim = Sim(t)
    database, source = sim.data_source()
    simulated = {(r["method"], plain(r["path"])) for r in sim.control("routes") if r["simulated"]}
    ids = {"pages": sim.root, "databases": database, "data_sources": source, "blocks": sim.root}
    understood, refused, gone = set(), set(), set()
    for endpoint in notion.node(t, "notion_endpoints.mjs"):
        if (endpoint["method"], endpoint["path"]) not in simulated:
            continue
        path = endpoint["path"].format(ids.get(endpoint["path"].split("/")[2]), "x")
        for member in endpoint["body"]:
            answer = sim.ask(endpoint["method"], path, {member: 7}, version="2026-03-11")
            at = (endpoint["name"], member)
            if answer.status == 400 and "should be not present, instead" in answer.message:
                gone.add(at)
            elif answer.status == 400 and answer.message.endswith(f"{member} is not simulated."):
                refused.add(at)
            else:
                understood.add(at)
    assert gone == GONE, (gone - GONE, GONE - gone)
    assert len(understood) > 60 and {("createPage", "markdown"), ("createPage", "template"),
                                     ("updatePage", "erase_content"), ("search", "filter")
                                     } <= understood | refused, (understood, refused)
    assert ("createPage", "markdown") in refused and ("createPage", "properties") in understood
    sim.end()


# ---- versions ------------------------------------------------------------------------------------

def test_versions_have_their_routes_and_names(t):
    sim = Sim(t)
    database, source = sim.data_source()
    page = sim.page(source, "Home")
    path = f"/v1/databases/{database}/query"
    for old in ("2022-06-28", "2021-05-13"):
        assert names(sim.ask("POST", path, {}, version=old).json) == ["Home"]
        refused = sim.ask("POST", f"/v1/data_sources/{source}/query", {}, version=old)
        assert refused.code == "invalid_request_url", refused
    for new in ("2025-09-03", "2026-03-11"):
        assert sim.ask("POST", path, {}, version=new).code == "invalid_request_url"
        assert names(sim.query(source, version=new)) == ["Home"]
    for none in (None, ""):
        assert sim.ask("GET", path, version=none).code == "missing_version"
    assert sim.ask("GET", path, version="2030-01-01").status == 400
    shown = {v: sim.ask("GET", "/v1/pages/" + page["id"], version=v).json
             for v in ("2022-06-28", "2025-09-03", "2026-03-11")}
    assert shown["2022-06-28"]["parent"] == {"type": "database_id", "database_id": database}
    assert shown["2025-09-03"]["parent"] == {"type": "data_source_id", "data_source_id": source,
                                            "database_id": database}
    assert ["archived" in p for p in shown.values()] == [True, True, False]
    assert all(p["in_trash"] is False for p in shown.values())
    old = sim.ask("GET", f"/v1/databases/{database}", version="2022-06-28").json
    new = sim.ask("GET", f"/v1/databases/{database}").json
    assert "properties" in old and "data_sources" not in old
    assert new["data_sources"] == [{"id": source, "name": "Areas"}] and "properties" not in new
    patch = f"/v1/pages/{page['id']}"
    refused = sim.ask("PATCH", patch, {"archived": True}, version="2026-03-11")
    assert refused.message == ("body failed validation: body.archived should be not present, "
                               "instead was `true`."), refused
    assert sim.ask("PATCH", patch, {"archived": True}, version="2022-06-28").json["archived"] is True
    sim.end()


def test_a_second_data_source_ends_the_old_version(t):
    sim = Sim(t)
    database, source = sim.data_source()
    page = sim.page(source, "Home")
    _, other = sim.data_source({"Area": {"relation": {"data_source_id": source,
                                                      "single_property": {}}}}, title="Tasks")
    task = sim.page(other, "Task")
    relate = {"properties": {"Area": {"relation": [{"id": page["id"]}]}}}
    calls = [("POST", f"/v1/databases/{database}/query", {}),
             ("GET", f"/v1/databases/{database}", None),
             ("PATCH", f"/v1/databases/{database}", {}),
             ("GET", f"/v1/pages/{page['id']}", None),
             ("PATCH", f"/v1/pages/{page['id']}", {}),
             ("PATCH", f"/v1/pages/{task['id']}", relate),
             ("POST", "/v1/pages", {"parent": {"database_id": database}, "properties": {}})]
    for call in calls:
        assert sim.ask(*call, version="2022-06-28").status == 200, call
    second = sim.ask("POST", "/v1/data_sources", {"parent": {"database_id": database},
                                                  "properties": {"Name": {"title": {}}}}).json
    for call in calls:
        answer = sim.ask(*call, version="2022-06-28")
        assert answer.status == 400 and answer.code == "validation_error", (call, answer)
        assert answer.json["additional_data"] == {
            "error_type": "multiple_data_sources_for_database", "database_id": database,
            "child_data_source_ids": [source, second["id"]],
            "minimum_api_version": "2025-09-03"}, answer
    assert len(sim.query(source)["results"]) == 2
    sim.end()


# ---- values and limits ---------------------------------------------------------------------------

def test_every_type_is_written_and_read(t):
    sim = Sim(t)
    _, source = sim.data_source(ALL_TYPES)
    _, tasks = sim.data_source({"Area": {"relation": {"data_source_id": source,
                                                      "single_property": {}}}}, title="Tasks")
    me = sim.ask("GET", "/v1/users/me").json["id"]
    page = sim.page(source, "Höme", Text=TEXT, Url={"url": "https://x"}, Mail={"email": "a@b"},
                    Phone={"phone_number": "1"}, Rank={"number": -1.25}, Done={"checkbox": True},
                    Kind={"select": {"name": "new"}},
                    Tags={"multi_select": [{"name": "a"}, {"name": "b"}]},
                    When={"date": {"start": "2024-02-29T10:00:00+02:00", "end": None}},
                    Who={"people": [{"id": me}]})
    got = sim.ask("GET", "/v1/pages/" + page["id"]).json
    del got["request_id"], page["request_id"]
    assert got == page
    values = page["properties"]
    assert {k: v[v["type"]] for k, v in values.items()
            if k in ("Url", "Mail", "Phone", "Rank", "Done")} == {
                "Url": "https://x", "Mail": "a@b", "Phone": "1", "Rank": -1.25, "Done": True}
    assert values["Text"]["rich_text"][0]["plain_text"] == "text"
    assert values["Kind"]["select"]["name"] == "new"
    assert [tag["name"] for tag in values["Tags"]["multi_select"]] == ["a", "b"]
    assert values["State"]["status"]["name"] == "Not started"
    assert values["When"]["date"] == {"start": "2024-02-29T10:00:00.000+02:00", "end": None,
                                      "time_zone": None}
    assert values["Who"]["people"] == [{"object": "user", "id": me}]
    assert values["Number"]["unique_id"] == {"prefix": "A", "number": 1}
    assert page["created_time"].endswith(":00.000Z") and values["Made"]["created_time"] == page[
        "created_time"]
    options = sim.ask("GET", f"/v1/data_sources/{source}").json["properties"]["Kind"]["select"]
    assert [o["name"] for o in options["options"]] == ["old", "new"]  # made by the write
    empty = {"Text": {"rich_text": []}, "Url": {"url": None}, "Mail": {"email": None},
             "Phone": {"phone_number": None}, "Rank": {"number": None}, "Kind": {"select": None},
             "Tags": {"multi_select": []}, "When": {"date": None}, "Who": {"people": []}}
    got = sim.ask("PATCH", "/v1/pages/" + page["id"], {"properties": empty}).json["properties"]
    assert all(not got[name][got[name]["type"]] for name in empty), got
    task = sim.page(tasks, "Task", Area={"relation": [{"id": page["id"].replace("-", "")}]})
    assert task["properties"]["Area"]["relation"] == [{"id": page["id"]}]
    item = task["properties"]["Area"]["id"]
    listed = sim.ask("GET", f"/v1/pages/{task['id']}/properties/{item}").json
    assert [r["relation"]["id"] for r in listed["results"]] == [page["id"]]
    sim.end()


def long_text(n):
    return [{"text": {"content": "x" * n}}]


REFUSED_PROPERTIES = [
    ({"Nope": {"number": 1}}, "Nope is not a property that exists."),
    ({"Rank": {"rich_text": []}}, "Rank is expected to be number."),
    ({"Rank": {"number": "1"}}, "body failed validation: body.properties.Rank.number should be a "
                                "number or `null`, instead was `\"1\"`."),
    ({"Name": {"title": long_text(2001)}},
     "body failed validation: body.properties.Name.title[0].text.content.length should be ≤ `2000`, "
     "instead was `2001`."),
    ({"Text": {"rich_text": long_text(1) * 101}},
     "body failed validation: body.properties.Text.rich_text.length should be ≤ `100`, instead was "
     "`101`."),
    ({"Text": {"rich_text": [{"text": {"content": "\U0001f600" * 1001}}]}},
     "body failed validation: body.properties.Text.rich_text[0].text.content.length should be ≤ "
     "`2000`, instead was `2002`."),
    ({"Text": {"rich_text": [{"text": {"content": "x", "link": {"url": "x" * 2001}}}]}},
     "body failed validation: body.properties.Text.rich_text[0].text.link.url.length should be ≤ "
     "`2000`, instead was `2001`."),
    ({"Text": {"rich_text": [{"equation": {"expression": "x" * 1001}}]}},
     "body failed validation: body.properties.Text.rich_text[0].equation.expression.length should "
     "be ≤ `1000`, instead was `1001`."),
    ({"Url": {"url": "x" * 2001}}, "body failed validation: body.properties.Url.url.length should "
                                   "be ≤ `2000`, instead was `2001`."),
    ({"Mail": {"email": "x" * 201}}, "body failed validation: body.properties.Mail.email.length "
                                     "should be ≤ `200`, instead was `201`."),
    ({"Mail": {"email": ""}}, "body failed validation: body.properties.Mail.email.length should be "
                              "≥ `1`, instead was `0`."),
    ({"Phone": {"phone_number": "1" * 201}},
     "body failed validation: body.properties.Phone.phone_number.length should be ≤ `200`, instead "
     "was `201`."),
    ({"Tags": {"multi_select": [{"name": str(i)} for i in range(101)]}},
     "body failed validation: body.properties.Tags.multi_select.length should be ≤ `100`, instead "
     "was `101`."),
    ({"Who": {"people": [{"id": "0" * 32}] * 101}},
     "body failed validation: body.properties.Who.people.length should be ≤ `100`, instead was "
     "`101`."),
    ({"Kind": {"select": {"name": "a,b"}}}, "Invalid select option, commas not allowed: a,b"),
    ({"State": {"status": {"name": "Nope"}}},
     "Invalid status option. Status option \"Nope\" does not exist."),
    ({"When": {"date": {"start": "2023-02-29"}}},
     "body failed validation: body.properties.When.date.start should be a valid ISO 8601 date "
     "string, instead was `\"2023-02-29\"`."),
]


def test_what_notion_refuses_is_refused_and_nothing_changes(t):
    sim = Sim(t)
    _, source = sim.data_source(ALL_TYPES)
    page = sim.page(source, "Home")
    for properties, message in REFUSED_PROPERTIES:
        for answer in (sim.ask("PATCH", "/v1/pages/" + page["id"], {"properties": properties}),
                       sim.ask("POST", "/v1/pages", create_body(source, "x", **properties))):
            assert (answer.status, answer.code) == (400, "validation_error"), answer
            assert answer.message == message, (answer.message, message)
    for name, value in (("Sum", {"formula": {"string": "1"}}), ("Made", {"created_time": "x"}),
                        ("Number", {"unique_id": {"number": 7}}), ("Maker", {"created_by": {}})):
        answer = sim.ask("PATCH", "/v1/pages/" + page["id"], {"properties": {name: value}})
        assert answer.message.startswith("body failed validation. Fix one:\n"), answer
        assert f"body.properties.{name}.title should be defined" in answer.message, answer
    unknown = sim.ask("POST", "/v1/pages", {**create_body(source, "x"), "nope": 1})
    assert unknown.message == ("body failed validation: body.nope should be not present, instead "
                               "was `1`."), unknown
    del page["request_id"]
    got = sim.ask("GET", "/v1/pages/" + page["id"]).json
    del got["request_id"]
    assert got == page and sim.source_state(source)["pages"] == 1
    options = sim.ask("GET", f"/v1/data_sources/{source}").json["properties"]["Tags"]
    assert options["multi_select"]["options"] == []  # a refused write makes no options
    sim.end()


def test_bodies_and_their_limits(t):
    sim = Sim(t)
    _, source = sim.data_source()
    page = sim.page(source, "Home")
    assert sim.ask("POST", "/v1/pages", "{").code == "invalid_json"
    assert sim.ask("POST", "/v1/pages", b'{"a":"\xff"}').code == "invalid_json"
    assert sim.ask("POST", "/v1/pages", "[]").code == "validation_error"
    assert sim.ask("POST", "/v1/search", "").status == 200
    for size in (500 * 1024 + 1, 3_000_000):
        answer = sim.ask("POST", "/v1/pages", json.dumps({"x": "y" * size}))
        assert answer.code == "validation_error" and "500 KB" in answer.message, answer
    assert sim.ask("PATCH", f"/v1/pages/{page['id']}", {"properties": {"Name": title("a\0b")}}
                   ).code == "validation_error"
    children = f"/v1/blocks/{page['id']}/children"
    block = {"paragraph": TEXT}
    many = sim.ask("PATCH", children, {"children": [block] * 101})
    assert many.message == ("body failed validation: body.children.length should be ≤ `100`, "
                            "instead was `101`."), many
    nested = {"toggle": {**TEXT, "children": [{"toggle": {**TEXT, "children": [block]}}]}}
    assert sim.ask("PATCH", children, {"children": [nested]}).code == "validation_error"
    wide = {"toggle": {**TEXT, "children": [block] * 100}}
    assert "1000 blocks" in sim.ask("PATCH", children, {"children": [wide] * 10}).message
    assert sim.ask("PATCH", children, {"children": [{"nope": {}}]}).code == "validation_error"
    assert sim.ask("GET", children).json["results"] == []
    for body in ({"page_size": 101}, {"page_size": 0}, {"page_size": "5"},
                 {"start_cursor": "nope"}, {"start_cursor": sim.root}, {"filter": {}},
                 {"filter": {"property": "Nope", "title": {"equals": "x"}}},
                 {"filter": {"property": "Name", "number": {"equals": 1}}},
                 {"filter": {"property": "Name", "title": {"greater_than": 1}}},
                 {"filter": {"or": [{"and": [{"or": []}]}]}},
                 {"sorts": [{"property": "Nope"}]}):
        answer = sim.ask("POST", f"/v1/data_sources/{source}/query", body)
        assert answer.code == "validation_error", (body, answer)
    sim.end()


def test_trash_refuses_every_edit(t):
    sim = Sim(t)
    database, source = sim.data_source()
    page = sim.page(source, "Home")
    block = sim.ask("PATCH", f"/v1/blocks/{page['id']}/children",
                    {"children": [{"paragraph": TEXT}]}).json["results"][0]
    message = "Can't edit block that is archived. You must unarchive the block before editing."

    def refused(method, path, body=None):
        answer = sim.ask(method, path, body)
        assert answer.status == 400 and answer.message == message, answer

    assert sim.ask("DELETE", "/v1/blocks/" + block["id"]).json["in_trash"] is True
    refused("DELETE", "/v1/blocks/" + block["id"])
    refused("PATCH", "/v1/blocks/" + block["id"], {"paragraph": TEXT})
    assert sim.ask("PATCH", "/v1/pages/" + page["id"], {"in_trash": True}).status == 200
    refused("PATCH", "/v1/pages/" + page["id"], {"properties": {"Name": title("x")}})
    refused("PATCH", "/v1/pages/" + page["id"], {"in_trash": True})
    refused("PATCH", f"/v1/blocks/{page['id']}/children", {"children": [{"paragraph": TEXT}]})
    back = sim.ask("PATCH", "/v1/pages/" + page["id"],
                   {"in_trash": False, "properties": {"Name": title("back")}})
    assert names({"results": [back.json]}) == ["back"]
    assert sim.ask("PATCH", "/v1/databases/" + database, {"in_trash": True}).status == 200
    refused("POST", "/v1/pages", create_body(source, "x"))
    sim.end()


def test_blocks_go_where_they_are_told(t):
    sim = Sim(t)

    def append(version, texts, **where):
        body = {"children": [{"paragraph": {"rich_text": [{"text": {"content": text}}]}}
                             for text in texts], **where}
        answer = sim.ask("PATCH", f"/v1/blocks/{sim.root}/children", body, version=version)
        assert answer.status == 200, answer
        return [b["id"] for b in answer.json["results"]]

    first = append("2025-09-03", ["a", "d"])
    append("2025-09-03", ["b", "c"], after=first[0])
    append("2026-03-11", ["0"], position={"type": "start"})
    append("2026-03-11", ["d+"], position={"type": "after_block", "after_block": {"id": first[1]}})
    append("2026-03-11", ["z"], position={"type": "end"})
    listed, cursor = [], ""
    while cursor is not None:
        found = sim.ask("GET", f"/v1/blocks/{sim.root}/children?page_size=2{cursor}").json
        listed += [b["paragraph"]["rich_text"][0]["plain_text"] for b in found["results"]]
        cursor = f"&start_cursor={found['next_cursor']}" if found["has_more"] else None
    assert listed == ["0", "a", "b", "c", "d", "d+", "z"], listed
    for version, name in (("2026-03-11", "after"), ("2025-09-03", "position")):
        answer = sim.ask("PATCH", f"/v1/blocks/{sim.root}/children",
                         {"children": [], name: first[0]}, version=version)
        assert answer.code == "validation_error", answer
    changed = sim.ask("PATCH", "/v1/blocks/" + first[0], {"paragraph": TEXT}).json
    assert changed["paragraph"]["rich_text"][0]["plain_text"] == "text"
    assert sim.ask("PATCH", "/v1/blocks/" + first[0], {"quote": TEXT}).status == 400
    sim.end()


# ---- queries -------------------------------------------------------------------------------------

def test_text_is_compared_without_case_and_twins_are_allowed(t):
    sim = Sim(t)
    _, source = sim.data_source()
    for name in ("Home", "home", "HOME", "Häuser", "HÄUSER", "Homes"):
        sim.page(source, name)

    def found(**condition):
        return sorted(names(sim.query(source, {"filter": {"property": "Name", "title": condition}})))

    assert found(equals="home") == ["HOME", "Home", "home"]
    assert found(contains="OME") == ["HOME", "Home", "Homes", "home"]
    assert found(starts_with="hä") == ["HÄUSER", "Häuser"]
    assert found(ends_with="S") == ["Homes"]
    assert found(does_not_contain="o") == ["HÄUSER", "Häuser"]
    state = sim.source_state(source)
    assert state["duplicates_now"] == 0, state  # keys are told apart exactly
    sim.page(source, "Home")
    state = sim.source_state(source)
    assert (state["duplicates_now"], state["most_live_per_key"]) == (1, 2), state
    sim.end()


def test_a_query_ends_at_ten_thousand(t):
    rows = [{"properties": {"Name": title(str(i))}} for i in range(10050)]
    sim = Sim(t, setup={"databases": [{"data_sources": [{"rows": rows}]}]})
    source = sim.state(keys=False)["data_sources"][0]["id"]
    count, body = 0, {}
    while True:
        found = sim.query(source, body)
        count += len(found["results"])
        if not found["has_more"]:
            break
        assert "request_status" not in found
        body = {"start_cursor": found["next_cursor"]}
    assert count == 10000 and found["next_cursor"] is None
    assert found["request_status"] == {"type": "incomplete",
                                       "incomplete_reason": "query_result_limit_reached"}
    sim.end()


def test_queries_and_search_lag_when_told_to(t):
    sim = Sim(t, "--clock", "virtual", "--lag", "1000", "--search-lag", "5000")
    _, source = sim.data_source()
    page = sim.page(source, "Home")
    search = {"query": "home", "filter": {"property": "object", "value": "page"}}
    assert names(sim.query(source)) == []
    assert sim.ask("GET", "/v1/pages/" + page["id"]).status == 200
    sim.advance(1000)
    assert names(sim.query(source)) == ["Home"]
    assert sim.ask("POST", "/v1/search", search).json["results"] == []
    sim.ask("PATCH", "/v1/pages/" + page["id"], {"properties": {"Name": title("House")}})
    assert names(sim.query(source)) == ["Home"]
    sim.ask("PATCH", "/v1/pages/" + page["id"], {"in_trash": True})
    sim.advance(999)
    assert names(sim.query(source)) == ["Home"]
    sim.advance(1)
    assert names(sim.query(source)) == []
    sim.advance(3000)
    assert len(sim.ask("POST", "/v1/search", search).json["results"]) == 1
    sim.end()


# ---- limits and time -----------------------------------------------------------------------------

def test_windows_on_a_virtual_clock(t):
    sim = Sim(t, "--clock", "virtual", "--windows", "180/60s,2700/15m", "--workspace-windows",
              "200/60s", "--latency", "10")
    page = f"/v1/pages/{sim.root}"
    for i in range(180):
        assert sim.ask("GET", page).status == 200, i
    refused = sim.ask("GET", page)
    assert refused.status == 429 and refused.code == "rate_limited", refused
    assert refused.json["additional_data"] == {"rate_limit_reason": "public_api_request_rate_limit"}
    # 180 requests of 10 ms are over: the window ends 60 s after the first of them.
    assert refused.headers["Retry-After"] == "59", refused
    for i in range(20):
        assert sim.ask("GET", page, token="other").status == 200, i
    shared = sim.ask("GET", page, token="other")
    assert shared.json["additional_data"] == {
        "rate_limit_reason": "public_api_space_request_rate_limit"}, shared
    state = sim.state()
    assert state["beyond_windows"]["count"] == 2 and len(state["beyond_windows"]["at"]) == 2
    sim.advance(int(refused.headers["Retry-After"]) * 1000)
    assert sim.ask("GET", page).status == 200
    state = sim.state()
    windows = state["tokens"][0]["limits"][0]["windows"]
    assert [w["used"] for w in windows] == [180, 1] and windows[0]["from"] < windows[1]["from"]
    assert state["tokens"][0]["refused"] == 1 and state["workspace"]["refused"] == 1
    sim.end()


def test_the_long_window_holds_beyond_the_short_one(t):
    sim = Sim(t, "--clock", "virtual", "--windows", "3/1s,7/60s")
    sent = 0
    while True:
        answer = sim.ask("GET", f"/v1/pages/{sim.root}")
        if answer.status == 429 and int(answer.headers["Retry-After"]) > 1:
            break
        sent += answer.status == 200
        sim.advance(400)
    assert sent == 7, sent
    sim.end()


def test_the_same_seed_gives_the_same_answers(t):
    def run(seed):
        sim = Sim(t, "--clock", "virtual", "--faults", "409=20%,503-after=10%,reset=5%,slow=5%",
                  "--latency", "5-50", seed=seed)
        database = {"parent": {"page_id": sim.root},
                    "initial_data_source": {"properties": {"Name": {"title": {}}}}}
        answers, source = [], None
        for i in range(80):
            try:
                answer = (sim.ask("POST", "/v1/pages", create_body(source, str(i))) if source else
                          sim.ask("POST", "/v1/databases", database))
                answers.append((answer.status, answer.body))
                if answer.status == 200 and not source:
                    source = answer.json["data_sources"][0]["id"]
            except (ConnectionResetError, http.client.RemoteDisconnected):
                answers.append("reset")
        answers.append(sim.state())
        sim.end()
        return answers

    first = run(7)
    assert first == run(7)
    assert first != run(8)
    assert len({a[0] if isinstance(a, tuple) else a for a in first[:-1]}) >= 4, first[:-1]


# ---- faults --------------------------------------------------------------------------------------

# fault: (status, code, whether the page is there)
OUTCOMES = {
    "409": (409, "conflict_error", False), "row-limit": (409, "row_limit_exceeded", False),
    "block-limit": (403, "restricted_resource", False), "503": (503, "service_unavailable", False),
    "503-database": (503, "database_connection_unavailable", False),
    "500": (500, "internal_server_error", False), "502": (502, "bad_gateway", False),
    "504": (504, "gateway_timeout", False), "529": (529, "service_overload", False),
    "html": (502, None, False), "reset": (None, None, False),
    "503-after-id": (503, "service_unavailable", True), "503-after": (503, "service_unavailable", True),
    "502-after": (502, "bad_gateway", True), "504-after": (504, "gateway_timeout", True),
    "html-after": (502, None, True), "reset-after": (None, None, True),
    "slow": (200, None, True), "429": (429, "rate_limited", False),
    "429-space": (429, "rate_limited", False), "429-endpoint": (429, "rate_limited", False),
    "429-blocked": (429, "rate_limited", False), "async": (202, None, True),
}
REASONS = {"429": "public_api_request_rate_limit", "429-space": "public_api_space_request_rate_limit",
           "429-endpoint": "public_api_endpoint_rate_limit",
           "429-blocked": "public_api_request_blocked"}


def test_every_fault_saves_or_does_not_as_its_name_says(t):
    sim = Sim(t, "--clock", "virtual")
    _, source = sim.data_source()
    for fault, (status, code, saved) in OUTCOMES.items():
        sim.order(fault, method="POST", path="/v1/pages")
        try:
            answer = sim.ask("POST", "/v1/pages", {**create_body(source, fault), "allow_async": True})
        except (ConnectionResetError, http.client.RemoteDisconnected):
            answer = None
        assert (answer.status if answer else None) == status, (fault, answer)
        there = names(sim.query(source, {"filter": {"property": "Name",
                                                    "title": {"equals": fault}}}))
        assert there == ([fault] if saved else []), (fault, there)
        if answer and answer.status not in (200, 202):
            kind = "text/html; charset=UTF-8" if "html" in fault else "application/json; charset=utf-8"
            assert answer.headers["Content-Type"] == kind, answer
            if code:
                assert answer.code == code, answer
            assert ("Retry-After" in answer.headers) == (fault in ("429", "429-space", "529",
                                                                   "429-endpoint")), answer
            if fault in REASONS:
                assert answer.json["additional_data"]["rate_limit_reason"] == REASONS[fault]
            if fault == "503-after-id":
                assert answer.json["additional_data"]["committed_resource_id"]
            if fault in ("503-after", "503"):
                assert "additional_data" not in answer.json
    state = sim.state()
    assert {name: f["struck"] for name, f in state["faults"].items()} == dict.fromkeys(OUTCOMES, 1)
    assert state["faults_ordered"] == 0
    sim.end()


def test_an_invalid_request_is_told_so_before_it_conflicts(t):
    sim = Sim(t)
    _, source = sim.data_source()
    sim.order("409")
    assert sim.ask("POST", "/v1/pages", create_body(source, "x", Nope={})).code == "validation_error"
    sim.end()


def test_appends_that_were_saved_tell_their_children(t):
    sim = Sim(t)
    sim.order("503-after-id", method="PATCH")
    body = {"children": [{"paragraph": TEXT}, {"quote": TEXT}]}
    told = sim.ask("PATCH", f"/v1/blocks/{sim.root}/children", body).json["additional_data"]
    there = sim.ask("GET", f"/v1/blocks/{sim.root}/children").json["results"]
    assert told["committed_resource_id"] == sim.root
    assert told["committed_child_ids"] == [block["id"] for block in there] and len(there) == 2
    sim.order("503-after-id", method="PATCH")
    update = sim.ask("PATCH", f"/v1/pages/{sim.root}", {"properties": {"title": title("x")}})
    assert set(update.json["additional_data"]) == {"retry_guidance"}, update
    sim.end()


def test_queries_that_fail_lag_or_end_early(t):
    sim = Sim(t, "--clock", "virtual")
    _, source = sim.data_source()
    for i in range(10):
        sim.page(source, str(i))
    sim.advance(2000)
    sim.page(source, "late")
    sim.order("lag", parameter=2000)
    assert len(sim.query(source)["results"]) == 10
    sim.order("incomplete")
    cut = sim.query(source, {"page_size": 4})
    assert len(cut["results"]) == 2 and cut["has_more"] is False
    assert cut["request_status"]["type"] == "incomplete"
    sim.order("query-failed")
    assert sim.ask("PATCH", f"/v1/pages/{sim.root}", {}).status == 200  # not its business
    assert sim.ask("POST", f"/v1/data_sources/{source}/query", {}).status in (500, 503)
    assert len(sim.query(source)["results"]) == 11
    sim.end()


def test_orders_pick_their_request(t):
    sim = Sim(t)
    page = f"/v1/pages/{sim.root}"
    sim.order("503", method="GET", path="/v1/pages/", skip=1, times=2)
    assert sim.ask("GET", "/v1/users/me").status == 200
    assert [sim.ask("GET", page).status for _ in range(4)] == [200, 503, 503, 200]
    sim.control("faults", {"rates": "503=100%"})
    assert sim.ask("GET", page).status == 503
    sim.control("faults", {"clear": True})
    assert sim.ask("GET", page).status == 200
    for wrong in ({"rates": "503=2"}, {"rates": "nope=1%"}, {"next": [{"fault": "nope"}]},
                  {"next": [{"fault": "lag", "parameter": 60001}]}):
        assert sim.ask("POST", "/_sim/faults", wrong).status == 400, wrong
    sim.end()


def test_rates_strike_about_as_often_as_they_say(t):
    sim = Sim(t, "--faults", "503=25%", seed=t.random.randrange(1 << 32))
    statuses = [sim.ask("GET", f"/v1/pages/{sim.root}").status for _ in range(400)]
    struck = statuses.count(503)
    assert 50 <= struck <= 150, (sim.seed, struck)  # six standard deviations
    assert sim.state()["faults"]["503"]["struck"] == struck
    sim.end()


def test_a_task_comes_to_its_end(t):
    sim = Sim(t)
    _, source = sim.data_source()
    sim.order("async", times=2)
    plain_create = sim.ask("POST", "/v1/pages", create_body(source, "x"))
    assert plain_create.status == 200  # it did not ask for it
    task = sim.ask("POST", "/v1/pages", {**create_body(source, "y"), "allow_async": True})
    assert task.status == 202 and task.json["object"] == "async_task", task
    path = urllib.parse.urlsplit(task.json["status_url"]).path
    assert sim.ask("GET", path).json["status"] == "running"
    ended = sim.ask("GET", path).json
    assert ended["status"] == "succeeded"
    assert sim.ask("GET", "/v1/pages/" + ended["result"]["id"]).status == 200
    sim.end()


def test_who_hangs_up_is_served_all_the_same(t):
    sim = Sim(t, "--latency", "300")
    _, source = sim.data_source()
    body = json.dumps(create_body(source, "Home")).encode()
    with socket.create_connection(sim.address.split(":")) as raw:
        raw.sendall(b"POST /v1/pages HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer secret\r\n"
                    b"Notion-Version: 2025-09-03\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        t.wait_until(lambda: sim.state()["requests"] == 2, what="the arrival")
        assert sim.source_state(source)["pages"] == 0
    t.wait_until(lambda: sim.source_state(source)["pages"] == 1, what="the page")
    sim.end()


def hammer(sim, source, worker, seen):
    for i in range(30):
        try:
            seen.append(sim.ask("POST", "/v1/pages", create_body(source, f"{worker}-{i}")).status)
        except (OSError, http.client.HTTPException):
            seen.append("reset")


def test_many_at_once_and_the_books_agree(t):
    sim = Sim(t, "--latency", "0-20", "--log", t.path("log.ndjson"),
              seed=t.random.randrange(1 << 32))
    _, source = sim.data_source()
    sim.control("faults", {"rates": "409=5%,503-after=5%,503-after-id=5%,reset=5%,reset-after=5%,"
                                    "slow=5%:50,500=5%,html=5%"})
    seen = []
    threads = [threading.Thread(target=hammer, args=(sim, source, w, seen)) for w in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = [line for line in t.results("log.ndjson") if line["path"] == "/v1/pages"]
    saved = [line for line in lines if line["saved"]]
    state = sim.source_state(source)
    assert len(lines) == len(seen) == 480, (sim.seed, len(lines), len(seen))
    assert len(saved) == len({line["made"] for line in saved}) == state["pages"], (sim.seed, state)
    assert {line["key"] for line in saved} == {k["key"] for k in state["by_key"]}, sim.seed
    assert seen.count(200) < len(saved) < 480, (sim.seed, seen.count(200), len(saved))
    assert state["most_live_per_key"] == 1, (sim.seed, state)
    assert seen.count("reset") == sim.state()["by_status"]["reset"], sim.seed
    sim.end()


# ---- people --------------------------------------------------------------------------------------

def test_what_people_do(t):
    sim = Sim(t)
    _, source = sim.data_source({"Text": {"rich_text": {}}})
    page = sim.page(source, "Home")
    path = f"/v1/pages/{page['id']}"
    people = f"pages/{page['id']}/"

    def live():
        return {k["key"]: k["live"] for k in sim.source_state(source)["by_key"]}

    sim.control(people + "trash", {})
    assert sim.ask("GET", path).json["in_trash"] is True and live() == {"Home": 0}
    sim.control(people + "restore", {})
    assert names(sim.query(source)) == ["Home"] and live() == {"Home": 1}
    sim.control(people + "rename", {"title": "House"})
    sim.control(people + "rename", {"property": "Text", "value": "note"})
    assert names(sim.query(source)) == ["House"] and live() == {"Home": 0, "House": 1}
    got = sim.ask("GET", path).json
    assert got["properties"]["Text"]["rich_text"][0]["plain_text"] == "note"
    assert got["last_edited_by"] != got["created_by"]
    sim.control(people + "unshare", {})
    assert sim.ask("GET", path).status == 404 and names(sim.query(source)) == []
    sim.control(people + "share", {})
    assert sim.ask("GET", path).status == 200
    sim.control(people + "purge", {})
    gone = sim.ask("GET", path)
    assert gone.status == 404 and gone.code == "object_not_found", gone
    assert f"Could not find page with ID: {page['id']}." in gone.message
    assert live() == {"Home": 0, "House": 0}
    assert sim.ask("POST", f"/_sim/{people}trash", {}).status == 404
    sim.end()


def test_a_setup_gives_ids_tokens_and_keys(t):
    database, source, row, page = (c * 8 + "-" + "-".join([c * 4] * 3) + "-" + c * 12 for c in "abcd")
    setup = {"workspace": "Ours",
             "tokens": [{"token": "reader", "capabilities": ["read"], "name": "Reader"},
                        {"token": "writer", "capabilities": ["insert", "update"]},
                        {"token": "secret"}],
             "pages": [{"id": page, "title": "Parent"}],
             "databases": [{"id": database, "title": "Areas", "page": page, "data_sources": [
                 {"id": source, "key": "Rank", "properties": {"Name": {"title": {}},
                                                              "Rank": {"number": {}}},
                  "rows": [{"id": row, "properties": {"Name": title("Home"),
                                                      "Rank": {"number": 7}}}]}]}]}
    sim = Sim(t, setup=setup)
    assert sim.ask("GET", "/v1/pages/" + row).json["properties"]["Rank"]["number"] == 7
    assert sim.source_state(source)["by_key"][0]["key"] == "7"
    assert sim.ask("GET", "/v1/users/me", token="reader").json["name"] == "Reader"
    assert sim.ask("GET", "/v1/users/me", token="nobody").code == "unauthorized"
    assert sim.ask("POST", "/v1/pages", create_body(source, "x"), token="reader"
                   ).code == "restricted_resource"
    assert sim.ask("GET", "/v1/pages/" + row, token="writer").code == "restricted_resource"
    made = sim.ask("POST", "/v1/pages", create_body(source, "x"), token="writer").json
    assert set(made) == {"object", "id", "request_id"} and made["object"] == "page"
    sim.end()
    for wrong, why in (({"pages": [{"id": "x"}]}, "no UUID"),
                       ({"databases": [{"data_sources": []}]}, "at least one"),
                       ({"databases": [{"data_sources": [{"properties": {}}]}]}, "Title"),
                       ({"databases": [{"data_sources": [{"rows": [
                           {"properties": {"Name": {"number": 1}}}]}]}]}, "expected to be title"),
                       ({"tokens": [{}]}, "token")):
        broken = t.onerow("notion-sim", "--setup", t.write("wrong.json", json.dumps(wrong)))
        assert broken.code == 64 and why in broken.err, broken


# ---- the race that it is for ---------------------------------------------------------------------

def check_then_create(client, source, barrier, key):
    """What people write: look, and create when nothing was found."""
    found = client.data_sources.query(source, filter={"property": "Name", "title": {"equals": key}})
    barrier.wait(60)
    if not found["results"]:
        client.pages.create(**create_body(source, key))


def race(sim, source, workers, key):
    barrier = threading.Barrier(workers)
    threads = [threading.Thread(target=check_then_create, args=(sim.client(), source, barrier, key))
               for _ in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return next(k for k in sim.source_state(source)["by_key"] if k["key"] == key)


def test_a_naive_client_makes_twins_and_the_state_shows_them(t):
    sim = Sim(t)
    _, source = sim.data_source()
    alone = race(sim, source, 1, "WORK")
    assert (alone["creates"], alone["most"]) == (1, 1), alone
    seen = race(sim, source, 3, "HOME")
    assert (seen["creates"], seen["live"], seen["most"]) == (3, 3, 3), seen
    state = sim.source_state(source)
    assert state["duplicates_now"] == state["duplicates_ever"] == 1, state
    for page in sim.query(source, {"filter": {"property": "Name", "title": {"equals": "HOME"}}})[
            "results"][:2]:
        sim.ask("PATCH", "/v1/pages/" + page["id"], {"in_trash": True})
    state = sim.source_state(source)  # cleaned up, and still not forgotten
    assert (state["duplicates_now"], state["duplicates_ever"], state["most_live_per_key"]) == (0, 1, 3)
    html = sim.ask("GET", "/").body.decode()
    assert "HOME (1, most 3)" in html, html
    sim.end()


# ---- the document --------------------------------------------------------------------------------

def document():
    root = os.environ.get("ONEROW_SOURCE_ROOT") or os.path.abspath(".")
    with open(os.path.join(root, "docs", "notion-sim.md"), encoding="utf-8") as file:
        return file.read()


def example(language, sim=None):
    """The only block of a language, turned to the simulator that runs."""
    blocks = re.findall(rf"^```{language}\n(.*?)^```", document(), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 1, (language, blocks)
    assert not sim or "http://127.0.0.1:8765" in blocks[0], blocks[0]
    return blocks[0].replace("http://127.0.0.1:8765", sim.url) if sim else blocks[0]


def test_the_documents_examples_run(t):
    harness.need("curl", "curl")
    sim = Sim(t, setup=json.loads(example("json")))
    answer = harness.subprocess.run(["sh", "-c", example("sh", sim)], capture_output=True, text=True,
                                    timeout=60, check=True)
    assert names(json.loads(answer.stdout)) == ["HOME"], answer.stdout
    notion.library()
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(example("python", sim), "docs/notion-sim.md", "exec"), {})  # pylint: disable=exec-used
    assert sim.ask("GET", "/v1/pages/" + printed.getvalue().strip()).status == 200
    folder = notion.part("node")
    script = t.write("example.mjs", example("js", sim))
    os.symlink(os.path.join(folder, "node_modules"), t.path("node_modules"))
    answer = harness.subprocess.run([harness.need("node", "nodejs"), script], capture_output=True,
                                    text=True, timeout=60, check=False)
    assert answer.stdout == "2\n", answer
    sim.end()


def test_the_document_names_every_fault_and_counter(t):
    text = document()
    help_lines = t.onerow("notion-sim", "--help").out.split("Faults, with their rate")[1].splitlines()
    faults = [line.split(":")[0].strip() for line in help_lines[1:] if line.startswith("  ")]
    assert len(faults) == 26, faults
    missing = [name for name in faults if f"`{name}`" not in text]
    sim = Sim(t)
    state = sim.state()
    _, source = sim.data_source()
    sim.page(source, "x")
    told = [*state, *sim.source_state(source), *sim.source_state(source)["by_key"][0]]
    obvious = {"seed", "clock", "root", "requests", "page_creates", "tokens", "workspace", "data_sources",
               "faults_ordered", "id", "name", "key", "pages", "live", "keys", "by_key"}
    missing += [name for name in told if name not in obvious and f"`{name}`" not in text
                and f".{name}`" not in text]
    assert not missing, missing
    sim.end()


# ---- the command ---------------------------------------------------------------------------------

def test_the_log_tells_each_request(t):
    sim = Sim(t, "--log", t.path("log.ndjson"), "--faults", "503-after=100%")
    _, source = "", None
    database = {"parent": {"page_id": sim.root}}
    sim.ask("POST", "/v1/databases", database)
    source = sim.state()["data_sources"][0]["id"]
    sim.ask("POST", "/v1/pages", create_body(source, "Home"))
    sim.ask("GET", "/v1/pages/" + sim.root, token=None)
    lines = t.results("log.ndjson")
    assert [line["request"] for line in lines] == [1, 2, 3]
    assert lines[1]["status"] == 503 and lines[1]["fault"] == "503-after" and lines[1]["saved"]
    assert lines[1]["key"] == "Home" and lines[1]["made"] and lines[1]["path"] == "/v1/pages"
    assert lines[2]["code"] == "unauthorized" and lines[2]["bot"] is None
    with open(t.path("log.ndjson"), encoding="utf-8") as file:
        assert "secret" not in file.read()
    sim.end()


def test_answers_are_compressed_for_those_who_take_it(t):
    sim = Sim(t, "--gzip")
    _, source = sim.data_source(ALL_TYPES)
    path = f"/v1/data_sources/{source}"
    packed = sim.ask("GET", path, headers={"Accept-Encoding": "gzip"})
    assert packed.headers["Content-Encoding"] == "gzip"
    plainly = sim.ask("GET", path)
    assert "Content-Encoding" not in plainly.headers
    assert json.loads(gzip.decompress(packed.body))["properties"] == plainly.json["properties"]
    assert sim.client().data_sources.retrieve(source)["id"] == source
    sim.end()


def test_it_ends_at_once_while_requests_wait(t):
    sim = Sim(t, "--latency", "600000")
    threads = [threading.Thread(target=wait_in_vain, args=(sim,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    t.wait_until(lambda: sim.state()["requests"] == 3, what="three requests")
    sim.end()
    for thread in threads:
        thread.join()


def wait_in_vain(sim):
    try:
        sim.ask("GET", "/v1/users/me", timeout=120)
    except (OSError, http.client.HTTPException):
        pass


def test_the_command_refuses_what_it_does_not_understand(t):
    for options, why in ((("--listen", "x"), "HOST:PORT"), (("--listen", "0.0.0.0:0"), "--anywhere"),
                         (("--faults", "nope=1"), "no such fault"), (("--faults", "409=2"), "rate"),
                         (("--windows", "x"), "--windows"), (("--clock", "x"), "--clock"),
                         (("--lag", "60001"), "--lag"), (("--latency", "9-1"), "--latency"),
                         (("--setup", "/nope"), "/nope")):
        answer = t.onerow("notion-sim", *options)
        assert answer.code == 64 and why in answer.err, (options, answer)
    sim = Sim(t, "--listen", "localhost:0", "--anywhere")
    port = sim.address.rsplit(":", 1)[1]
    busy = t.onerow("notion-sim", "--listen", f"127.0.0.1:{port}")
    assert busy.code == 69 and "in use" in busy.err, busy
    assert "503-after-id" in t.onerow("notion-sim", "--help").out
    sim.end()


def test_hostile_requests_do_not_end_it(t):
    sim = Sim(t)
    host, port = sim.address.rsplit(":", 1)
    for raw, complete in ((b"GARBAGE\r\n\r\n", True), (b"GET / HTTP/9.9\r\n\r\n", True),
                          (b"POST /v1/pages HTTP/1.1\r\n", False),
                          (b"POST /v1/pages HTTP/1.1\r\nContent-Length: 99999999\r\n\r\nx", False),
                          (b"GET /%00%ff%2f..//v1/pages/%zz HTTP/1.1\r\nHost: x\r\n\r\n", True),
                          (b"GET /v1/" + b"a" * 40000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", True),
                          (b"POST /v1/pages HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
                           True)):
        with socket.create_connection((host, int(port)), timeout=60) as connection:
            connection.sendall(raw)
            if complete:
                connection.recv(65536)  # an answer, or the end
    deep = "[" * 100000
    assert sim.ask("POST", "/v1/pages", '{"a":' + deep).code == "invalid_json"
    deep = '{"filter":' + '{"or":[' * 1000 + '{}' + ']}' * 1000 + '}'
    _, source = sim.data_source()
    assert sim.ask("POST", f"/v1/data_sources/{source}/query", deep).code == "validation_error"
    assert sim.ask("GET", "/v1/users/me").status == 200
    sim.end()


if __name__ == "__main__":
    harness.main()
