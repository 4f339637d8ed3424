# SPDX-License-Identifier: Apache-2.0
"""The simulator of the Notion API, and the official clients that talk to it."""
import glob
import http.client
import json
import logging
import os
import re
import signal
import sys
import urllib.parse

import harness

CLIENTS = os.path.join(os.environ.get("ONEROW_SOURCE_ROOT") or os.path.abspath("."), "build",
                       "clients")
VERSION = "2025-09-03"


def part(*path):
    """A file of the official clients, or the way to get it."""
    found = glob.glob(os.path.join(CLIENTS, *path))
    assert found, f"{os.path.join(CLIENTS, *path)} is missing: run scripts/setup"
    return found[0]


def library():
    """The Python client's module."""
    sys.path.insert(0, part("python", "lib", "python3*", "site-packages"))
    import notion_client  # pylint: disable=import-outside-toplevel
    logging.getLogger("notion_client").setLevel(logging.CRITICAL)
    return notion_client


class Answer:
    """What a plain HTTP request got."""

    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def code(self):
        return self.json.get("code")

    @property
    def message(self):
        return self.json.get("message")

    def __repr__(self):
        return f"{self.status} {self.headers} {self.body[:1000]!r}"


class Sim:
    """A running `onerow notion-sim`; with t's end it is gone."""

    def __init__(self, t, *options, setup=None, seed=1):
        self.seed = seed
        if setup is not None:
            options += ("--setup", t.write("setup.json", json.dumps(setup)))
        self.process = t.start("notion-sim", "--seed", str(seed), *options)
        self.line = self.process.stdout.readline().decode()
        match = re.fullmatch(r"listening on (http://[^/]+)/ seed (\d+) page (\S+)\n", self.line)
        if not match:
            raise AssertionError(f"{self.line!r} {self.process.communicate(timeout=60)}")
        self.url, self.root = match[1], match[3]
        self.address = urllib.parse.urlsplit(self.url).netloc

    def client(self, token="secret", **options):
        module = library()
        options.setdefault("log_level", logging.CRITICAL)
        return module.Client(auth=token, base_url=self.url, **options)

    def ask(self, method, path, body=None, token="secret", version=VERSION, headers=None,
            timeout=60):
        """One request on a connection of its own; a body that is no text is sent as JSON."""
        sent = {"Connection": "close"}
        if token:
            sent["Authorization"] = f"Bearer {token}"
        if version:
            sent["Notion-Version"] = version
        if body is not None and not isinstance(body, (str, bytes)):
            body = json.dumps(body)
        if body is not None:
            sent["Content-Type"] = "application/json"
        sent.update(headers or {})
        connection = http.client.HTTPConnection(self.address, timeout=timeout)
        try:
            connection.request(method, path, body, sent)
            answer = connection.getresponse()
            return Answer(answer.status, dict(answer.getheaders()), answer.read())
        finally:
            connection.close()

    def control(self, path, body=None):
        """A call that is not Notion's; it must be understood."""
        answer = self.ask("GET" if body is None else "POST", "/_sim/" + path, body, None, None)
        assert answer.status == 200, answer
        return answer.json

    def state(self, keys=True):
        return self.control("state" if keys else "state?keys=none")

    def source_state(self, source):
        return next(s for s in self.state()["data_sources"] if s["id"] == source)

    def advance(self, ms):
        return self.control("clock", {"advance_ms": ms})

    def order(self, fault, **how):
        """The next request that fits meets this fault."""
        return self.control("faults", {"next": [{"fault": fault, **how}]})

    def data_source(self, properties=None, title="Areas", version=VERSION, token="secret"):
        """A new database with one data source: the ids of both."""
        schema = {"Name": {"title": {}}, **(properties or {})}
        body = {"parent": {"type": "page_id", "page_id": self.root},
                "title": [{"text": {"content": title}}],
                "initial_data_source": {"properties": schema}}
        answer = self.ask("POST", "/v1/databases", body, token=token, version=version)
        assert answer.status == 200, answer
        return answer.json["id"], answer.json["data_sources"][0]["id"]

    def page(self, source, name, **properties):
        answer = self.ask("POST", "/v1/pages", create_body(source, name, **properties))
        assert answer.status == 200, answer
        return answer.json

    def query(self, source, body=None, **how):
        answer = self.ask("POST", f"/v1/data_sources/{source}/query", body or {}, **how)
        assert answer.status == 200, answer
        return answer.json

    def end(self):
        """Ends it as a person would: it must go in peace, with nothing to complain about."""
        self.process.send_signal(signal.SIGTERM)
        out, err = self.process.communicate(timeout=60)
        assert self.process.returncode == 0, (self.process.returncode, out, err)
        assert err == b"", err.decode()


def title(text):
    return {"title": [{"text": {"content": text}}]}


def create_body(source, name, **properties):
    return {"parent": {"type": "data_source_id", "data_source_id": source},
            "properties": {"Name": title(name), **properties}}


def names(result, name="Name"):
    """The titles of a query's results."""
    return ["".join(run["plain_text"] for run in page["properties"][name]["title"])
            for page in result["results"]]


def node(t, script, *arguments):
    """Runs an ES module of this folder with the official JavaScript client: what it prints as JSON."""
    package = part("node", "node_modules", "@notionhq", "client")
    folder = os.path.dirname(os.path.abspath(__file__))
    process = harness.subprocess.run(
        [harness.need("node", "nodejs"), os.path.join(folder, script), package, *arguments],
        capture_output=True, text=True, timeout=120, cwd=t.folder, check=False)
    assert process.returncode == 0, process.stderr + process.stdout
    return json.loads(process.stdout)
