# SPDX-License-Identifier: Apache-2.0
"""The package index of a Debian machine as records."""
import glob
import os
import shutil
import subprocess

ENOUGH = 1000  # stanzas; a machine whose index was never fetched lists only what is installed
KEY = ("name", "version", "architecture")
FIELDS = {
    "Package": "name",
    "Version": "version",
    "Architecture": "architecture",
    "Section": "section",
    "Priority": "priority",
    "Maintainer": "maintainer",
    "Installed-Size": "installed_size",
    "Size": "size",
    "SHA256": "sha256",
    "Description": "description",
}
NUMBERS = ("installed_size", "size")


def output_of(*command):
    """What a command prints; nothing when it is missing or fails."""
    if not shutil.which(command[0]):
        return ""
    answer = subprocess.run(command, capture_output=True, check=False)
    return answer.stdout.decode("utf-8", "replace") if answer.returncode == 0 else ""


def lists():
    """The index files themselves, which apt may keep compressed."""
    files = glob.glob("/var/lib/apt/lists/*_Packages*")
    return output_of("/usr/lib/apt/apt-helper", "cat-file", *files) if files else ""


def fetch():
    """Has apt fetch the index, where this user may."""
    sudo = [] if os.geteuid() == 0 else ["sudo", "-n"]
    if not sudo or shutil.which("sudo"):
        subprocess.run([*sudo, "apt-get", "update", "-qq"], check=False,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def installed():
    with open("/var/lib/dpkg/status", encoding="utf-8", errors="replace") as file:
        return file.read()


def parse(text):
    """Records by key: stanzas of "Name: value" lines, divided by empty ones."""
    records = {}
    for stanza in text.split("\n\n"):
        record = {}
        for line in stanza.split("\n"):
            name, colon, value = line.partition(": ")
            column = FIELDS.get(name)
            if colon and column:
                record[column] = int(value) if column in NUMBERS else value
        if all(part in record for part in KEY):
            records.setdefault(tuple(record[part] for part in KEY), record)
    return list(records.values())


def read():
    """(where they come from, records): the largest source that this machine has."""
    attempts = [
        ("apt-cache dumpavail", lambda: output_of("apt-cache", "dumpavail")),
        ("/var/lib/apt/lists", lists),
        ("apt-get update; apt-cache dumpavail",
         lambda: fetch() or output_of("apt-cache", "dumpavail")),
        ("/var/lib/dpkg/status", installed),
    ]
    best = ("", [])
    for source, get in attempts:
        records = parse(get())
        if len(records) > len(best[1]):
            best = (source, records)
        if len(records) >= ENOUGH:
            break
    return best
