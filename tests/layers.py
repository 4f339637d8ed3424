# SPDX-License-Identifier: Apache-2.0
"""The layer rule, executable: base <- core <- engine; adapters and input see base alone.

Symbols: what each layer's archive leaves undefined must belong to a layer below it, or to the
outside that is allowed to it. The core is held to a list of pure functions: no I/O, no clock, no
randomness, no memory of its own. Includes: the same rule over the #include lines, which also sees
inline functions and types. Each rule has a negative control with a planted violation.
"""
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "e2e"))
import harness  # noqa: E402

SOURCE = os.environ.get("ONEROW_SOURCE_ROOT") or os.path.abspath(".")
BUILD = os.environ.get("ONEROW_BUILD_ROOT") or os.path.abspath("build")

LIBC = "libc"  # stands for everything that the C library, its maths and its loader export

# Functions without state and effect; the digits of __*_chk are gcc's checked forms of the same.
PURE = {
    "memchr", "memcmp", "memcpy", "memmove", "memset", "strlen", "strchr", "strcmp", "strncmp",
    "bcmp", "__memcpy_chk", "__memmove_chk", "__memset_chk",
    "__assert_fail",     # a bug in the core ends the program
    "__stack_chk_fail",  # likewise
    "_GLOBAL_OFFSET_TABLE_",
    "utf8proc_category", "utf8proc_decompose_char", "utf8proc_get_property", "utf8proc_iterate",
    "utf8proc_reencode", "utf8proc_unicode_version",
}
# What -fsanitize and gcov put into every object.
INSTRUMENTS = re.compile(r"__(asan|ubsan|tsan|lsan|sanitizer|gcov|llvm)_|__sanitizer|mcount$")

# layer: (layers whose symbols it may use, outside functions it may use)
SYMBOLS = {
    "base": ({"base"}, [LIBC, r"SHA256_"]),
    "core": ({"core", "base"}, [PURE]),
    "postgres": ({"postgres", "base"}, [LIBC, r"PQ"]),
    "net": ({"net", "base"}, [LIBC, r"curl_"]),
    "store": ({"store", "postgres", "net", "base"}, [LIBC, r"sqlite3_", r"PQ", r"yyjson_"]),
    "coordinator": ({"coordinator", "postgres", "base"}, [LIBC, r"sqlite3_", r"PQ"]),
    "input": ({"input", "base"}, [LIBC, r"yyjson_", r"csv_", r"inflate", r"ZSTD_"]),
    "notion_sim": ({"notion_sim", "base"},
                   [LIBC, r"yyjson_", r"MHD_", r"utf8proc_", r"deflate"]),
    "engine": ({"engine", "store", "coordinator", "input", "core", "base"},
               [LIBC, r"yyjson_", r"yaml_"]),
}
# layer: the folders and files that it may include
INCLUDES = {
    "base": ["base/", "onerow/onerow.h", "version.h"],
    "core": ["core/", "base/", "onerow/"],
    "postgres": ["postgres/", "base/", "onerow/"],
    "net": ["net/", "base/", "onerow/onerow.h"],
    "store": ["store/", "postgres/", "net/", "base/", "onerow/"],
    "coordinator": ["coordinator/", "postgres/", "base/", "onerow/"],
    "input": ["input/", "base/", "onerow/"],
    "engine": ["engine/", "input/", "core/", "base/", "onerow/", "store/store.h",
               "coordinator/coordinator.h"],
    # sim/rng.h holds inline functions only.
    "notion_sim": ["notion_sim/", "base/", "onerow/", "sim/rng.h"],
    "cli": ["cli/", "sim/", "notion_sim/nsim.h", "engine/", "input/", "core/", "base/", "onerow/", "store/store.h"],
}
# What only the library itself is made of.
PUBLIC = {("engine", "onerow.c"), ("engine", "onerow_lease.c")}
# System headers that could bring I/O, a clock or threads into the core.
CORE_SYSTEM = {"assert.h", "limits.h", "stdbool.h", "stddef.h", "stdint.h", "string.h",
               "utf8proc.h"}


def nm(*arguments):
    answer = subprocess.run([harness.need("nm", "binutils"), *arguments], capture_output=True,
                            text=True)
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


def symbols(path, *kind):
    """Names in an archive or object. Undefined ones: those that no object of it defines."""
    found = set()
    for line in nm(*kind, path).splitlines():
        words = line.split()
        if len(words) >= 2 and not line.endswith(":"):
            found.add(words[-1].split("@")[0])
    return found


def undefined(path):
    return symbols(path, "-u") - symbols(path, "--defined-only", "-g")


def archive(layer):
    path = os.path.join(BUILD, f"libor_{layer}.a")
    assert os.path.exists(path), f"{path} is missing: build it first (make)"
    return path


def owners():
    """Which layer defines each or_ and onerow_ function."""
    return {name: layer for layer in SYMBOLS
            for name in symbols(archive(layer), "--defined-only", "-g")}


def c_library():
    compiler = harness.need("cc", "build-essential")
    names = set()
    for library in ("libc.so.6", "libm.so.6", "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1"):
        path = subprocess.run([compiler, "-print-file-name=" + library], capture_output=True,
                              text=True).stdout.strip()
        if os.path.isabs(path):
            names |= symbols(path, "-D", "--defined-only")
    assert {"malloc", "open", "clock_gettime"} <= names, "the C library's symbols were not found"
    return names | {"_GLOBAL_OFFSET_TABLE_"}


def allowed_outside(name, rules, libc):
    for rule in rules:
        if rule is PURE and name in PURE or rule is LIBC and name in libc:
            return True
        if isinstance(rule, str) and rule is not LIBC and re.match(rule, name):
            return True
    return False


def symbol_violations(layer, names, owner_of, libc):
    """What of the undefined names the layer may not use, each with its owner."""
    below, outside = SYMBOLS[layer]
    bad = []
    for name in sorted(names):
        if INSTRUMENTS.match(name):
            continue
        owner = owner_of.get(name)
        if owner is None and re.match(r"(or|onerow)_", name):
            owner = "no layer"
        if owner not in below and (owner or not allowed_outside(name, outside, libc)):
            bad.append(f"{layer} uses {name} of {owner or 'outside'}")
    return bad


def include_violations(layer, path):
    bad = []
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            match = re.match(r'\s*#\s*include\s*([<"])([^>"]+)', line)
            if not match:
                continue
            kind, name = match.groups()
            if kind == '"' and not name.startswith(tuple(INCLUDES[layer])):
                bad.append(f"{path}:{number}: {layer} includes {name}")
            if kind == "<" and layer == "core" and name not in CORE_SYSTEM:
                bad.append(f"{path}:{number}: core includes <{name}>")
    return bad


def sources(layer):
    folder = os.path.join(SOURCE, "src", layer)
    return [os.path.join(folder, name) for name in sorted(os.listdir(folder))
            if name.endswith((".c", ".h"))]


def objects_of(t, text):
    """The undefined names of a little C file."""
    source, target = t.write("planted.c", text), t.path("planted.o")
    subprocess.run([harness.need("cc", "build-essential"), "-w", "-O1", "-c", source, "-o", target],
                   check=True)
    return undefined(target)


def test_every_archive_uses_only_what_is_below_it(t):
    owner_of, libc = owners(), c_library()
    bad = []
    for layer in SYMBOLS:
        bad += symbol_violations(layer, undefined(archive(layer)), owner_of, libc)
    assert not bad, "\n".join(bad)


def test_the_archives_are_what_they_seem(t):
    """An empty listing would pass everything."""
    owner_of = owners()
    for name, layer in (("or_fail", "base"), ("or_put_step", "core"), ("or_input_next", "input"),
                        ("or_store_sqlite", "store"), ("or_coordinator_sqlite", "coordinator"),
                        ("or_link_begin", "postgres"), ("or_http_start", "net"),
                        ("or_drive_put", "engine"), ("or_nsim_open", "notion_sim")):
        assert owner_of.get(name) == layer, (name, owner_of.get(name))
    assert {"or_buffer_add", "memcpy"} <= undefined(archive("core"))
    assert "sqlite3_step" in undefined(archive("store"))
    for layer in INCLUDES:
        assert len(sources(layer)) > 1, layer


def test_every_include_line_stays_within_its_layer(t):
    bad = [violation for layer in INCLUDES for path in sources(layer)
           for violation in include_violations(layer, path)]
    assert not bad, "\n".join(bad)


def test_every_folder_of_src_has_a_rule(t):
    folders = {name for name in os.listdir(os.path.join(SOURCE, "src"))
               if os.path.isdir(os.path.join(SOURCE, "src", name))}
    assert folders == set(INCLUDES), folders ^ set(INCLUDES)


def test_every_source_is_in_its_archive(t):
    """A file that is built past its archive would escape the rule."""
    for layer in SYMBOLS:
        members = set(subprocess.run([harness.need("ar", "binutils"), "t", archive(layer)],
                                     capture_output=True, text=True, check=True).stdout.split())
        for path in sources(layer):
            name = os.path.basename(path)
            if path.endswith(".c") and (layer, name) not in PUBLIC:
                assert any(member.endswith("_" + name + ".o") for member in members), (layer, name)


PLANTED = {
    "core": ["time(0)", "malloc(1)", "printf(\"x\")", "getrandom(0, 0, 0)", "or_table_open(0)",
             "or_store_type_of(0)", "or_input_next(0)", "or_nobody_has_this(0)"],
    "base": ["or_key_part(0)", "or_drive_put(0)", "sqlite3_open(0)"],
    "store": ["or_put_step(0)", "or_table_open(0)", "yaml_parser_load(0)", "or_input_next(0)"],
    "coordinator": ["or_put_step(0)", "or_store_type_of(0)", "or_table_open(0)"],
    "net": ["or_store_type_of(0)", "or_retry_next(0)", "yyjson_read_opts(0)"],
    "postgres": ["or_store_type_of(0)", "or_coordinator_type_of(0)", "sqlite3_open(0)"],
    "input": ["or_entry_bind(0)", "or_key_part(0)", "sqlite3_open(0)"],
    "notion_sim": ["or_window_parse(0)", "or_table_open(0)", "sqlite3_open(0)"],
}


def test_a_planted_use_is_seen(t):
    """Negative control: one function that the layer may not use, compiled for real."""
    owner_of, libc = owners(), c_library()
    for layer, calls in PLANTED.items():
        for call in calls:
            name = call.split("(")[0]
            text = f"long {name}();\nlong or_planted(void) {{ return {call} != 0; }}\n"
            bad = symbol_violations(layer, objects_of(t, text), owner_of, libc)
            assert len(bad) == 1 and f" {name} " in bad[0], (layer, call, bad)


def test_a_planted_include_is_seen(t):
    """Negative control of the include rule; a comment that speaks of a header is none."""
    for layer, line in (("core", '#include "engine/table.h"'), ("core", "#include <time.h>"),
                        ("core", '#  include "store/store.h"'), ("base", '#include "core/key.h"'),
                        ("base", '#include "onerow/extend.h"'),
                        ("store", '#include "engine/config.h"'),
                        ("store", '#include "coordinator/coordinator.h"'),
                        ("coordinator", '#include "store/store.h"'),
                        ("postgres", '#include "coordinator/coordinator.h"'),
                        ("net", '#include "store/store.h"'), ("net", '#include "onerow/extend.h"'),
                        ("input", '#include "store/store.h"'),
                        ("notion_sim", '#include "core/window.h"'),
                        ("notion_sim", '#include "sim/sim.h"'),
                        ("engine", '#include "store/store_sqlite.h"'),
                        ("engine", '#include "coordinator/ledger_rules.h"')):
        path = t.write("planted.h", f"/* A file. */\n{line}\n")
        assert len(include_violations(layer, path)) == 1, (layer, line)
    path = t.write("planted.h", '/* like #include "engine/table.h" */\n#include "base/text.h"\n')
    assert not include_violations("core", path)


if __name__ == "__main__":
    harness.main()
