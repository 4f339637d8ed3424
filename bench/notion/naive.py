# SPDX-License-Identifier: Apache-2.0
"""naive.py CLIENTS URL SOURCE WORKERS PAUSE_MS FIRST N: what one writes by hand with the official
client: query by title, create when nothing was found. Each of the workers takes all N keys, and tries
again what met a conflict. Prints the seconds that it took and how many calls failed for good."""
import concurrent.futures
import glob
import logging
import os
import sys
import time

clients, url, source = sys.argv[1:4]
workers, pause_ms, first, count = map(int, sys.argv[4:])
sys.path.insert(0, glob.glob(os.path.join(clients, "python", "lib", "python3*", "site-packages"))[0])
import notion_client  # noqa: E402 (after the path to it)

TRIES = 10
failed = 0


def ensure(client, name):
    found = client.data_sources.query(
        data_source_id=source, filter={"property": "Name", "title": {"equals": name}})
    if not found["results"]:
        client.pages.create(parent={"type": "data_source_id", "data_source_id": source},
                            properties={"Name": {"title": [{"text": {"content": name}}]}})


def again(client, name):
    global failed
    for _ in range(TRIES):
        try:
            return ensure(client, name)
        except notion_client.errors.HTTPResponseError:
            time.sleep(0.05)
    failed += 1


def work(_):
    client = notion_client.Client(auth=os.environ["NOTION_TOKEN"], base_url=url,
                                  log_level=logging.CRITICAL)
    for number in range(first, first + count):
        again(client, f"quote {number}")
        time.sleep(pause_ms / 1000)


begin = time.monotonic()
with concurrent.futures.ThreadPoolExecutor(workers) as pool:
    list(pool.map(work, range(workers)))
print(f"{time.monotonic() - begin:.3f} {failed}")
