#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Collections in a Milvus 2.3.5 that is started here: milvus_test.py PROGRAM [TEST...], by a Python that has
milvus_requirements.txt. The last line is "N passed, N failed"."""
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import acceptance
import served
from milvus_server import Server


class Milvus(acceptance.Engine):
    kind = "milvus"
    ties_by_id = False
    locks = False
    push_items = 60_000  # two pieces

    def __init__(self, program, server):
        self.program, self.server, self.url = program, server, server.url
        self.stop = self.kill = server.kill

    def start(self):
        """Until it has read its data again: until then commands end with 75."""
        self.server.start()
        end = time.monotonic() + 120
        with tempfile.TemporaryDirectory() as folder:
            while True:
                done = subprocess.run([self.program, "index", "pull", "--engine", "milvus", self.url, "--collection", "s", "--out",
                                       os.path.join(folder, "s.csv")], capture_output=True)
                if done.returncode != acceptance.TRY_AGAIN:
                    return
                assert time.monotonic() < end, done.stderr
                time.sleep(.5)


def test_changes_outlive_the_server(t):
    """Rows that were replaced or deleted lie beside those that count, in files and in memory."""
    t.build(acceptance.some_items(20_000), "x")
    t.push("s", "x", "--overwrite")
    for turn in range(3):
        changed = acceptance.some_items(4000, first=1000 * turn, seed=20 + turn)
        t.run("index", "add", t.folder / "x", "--codes", t.write(changed, "items.csv"), "--replace")
        t.run("index", "delete", t.folder / "x", "--ids", ",".join(map(str, range(900 * turn, 900 * turn + 500))))
        t.push("s", "x")
        t.check_items("s", "x")
        t.engine.kill()
        t.engine.start()
        assert "nothing to do" in t.push("s", "x")
        t.check_items("s", "x")
        t.check_search("s", t.write(acceptance.some_items(100, seed=30), "queries.csv"), 50)


def test_limits(t):
    t.build(acceptance.some_items(50), "x")
    t.push("limits", "x")
    said = t.run("search", *t.of("limits"), "--id", 7, "-k", 16385, status=2)
    assert "16384" in said, said
    t.run("search", *t.of("limits"), "--id", 7, "-k", 16384, "--exclude-self")
    # An answer larger than a server gives at once: 1,000 items of 60 KB.
    large = {i: (*code[:2], code[2], '{"long": "' + "x" * 60_000 + '"}') for i, code in acceptance.some_items(2500).items()}
    t.build(large, "large")
    t.push("large", "large")
    t.check_items("large", "large")
    t.build({1: ("01" * 32, "", "a" * 3000, '{"long": "' + "x" * 64_000 + '"}')}, "x")
    said = t.push("limits", "x", "--overwrite", status=2)
    assert "item 1" in said and "65536" in said, said


def test_urls_and_tokens(t):
    own = t.engine.url
    try:
        for url, word in (("ftp://127.0.0.1:1", "http://"), ("http://127.0.0.1:99999", "65535"), ("http://u:p@127.0.0.1:1", "MILVUS_TOKEN")):
            t.engine.url = url
            assert word in t.run("search", *t.of("s"), "--id", 7, status=2), url
        t.engine.url = "http://127.0.0.1:1"  # nobody listens
        t.run("search", *t.of("s"), "--id", 7, status=acceptance.TRY_AGAIN)
        t.engine.url = own.removeprefix("http://")
        os.environ["MILVUS_TOKEN"] = "someone:secret word"
        assert "secret" not in t.run("search", *t.of("nosuch"), "--id", 7, status=2)
    finally:
        t.engine.url = own
        os.environ.pop("MILVUS_TOKEN", None)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="hh-milvus-") as folder, Server(pathlib.Path(folder) / "milvus") as started:
        engine = Milvus(os.path.abspath(sys.argv[1]), started)
        sys.exit(acceptance.run_all(sys.argv[1], engine,
                                    [*acceptance.COMMON, *served.TESTS, test_changes_outlive_the_server, test_limits, test_urls_and_tokens], sys.argv[2:]))
