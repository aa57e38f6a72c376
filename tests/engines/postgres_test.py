#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Collections in PostgreSQL: postgres_test.py PROGRAM [TEST...]. The last line is "N passed, N failed"."""
import json
import os
import random
import subprocess
import sys

import acceptance
import served
from postgres_server import Server


class Postgres(acceptance.Engine):
    kind = "postgres"
    push_items = 60_000  # two pieces

    def __init__(self, server):
        self.server = server
        self.url = server.url
        self.stop, self.kill, self.start = server.stop, server.kill, server.start


def test_tables_of_others(t):
    sql = t.engine.server.sql
    t.build(acceptance.some_items(50), "x")
    sql('CREATE TABLE "hh_items_theirs"(a int); INSERT INTO hh_items_theirs VALUES (1)')
    for more in ([], ["--full"], ["--overwrite"]):
        said = t.push("theirs", "x", *more, status=2)
        assert "hh_items_theirs" in said, said
    assert sql("SELECT count(*) FROM hh_items_theirs").strip() == "1"
    t.push("broken", "x")
    search = lambda status: t.run("search", *t.of("broken"), "--id", 7, status=status)
    for damage, mend in (("UPDATE hh_collections SET about = 'x' WHERE name = 'broken'", None),
                         ("ALTER TABLE hh_items_broken DROP COLUMN path_bytes", None),
                         ("ALTER TABLE hh_items_broken ALTER COLUMN code TYPE bit(65) USING (code || B'0')::bit(65)", None),
                         ("DROP TABLE hh_items_broken", None),
                         ("UPDATE hh_items_broken SET labels = '{3,1}' WHERE id = 7", None),
                         ("UPDATE hh_items_broken SET labels = '{{1},{2}}' WHERE id = 7", None),
                         ("UPDATE hh_items_broken SET labels = '{NULL}' WHERE id = 7", None),
                         ("UPDATE hh_items_broken SET labels = '{99}' WHERE id = 7", None)):
        sql(damage)
        search(2)
        t.run("index", "pull", *t.of("broken"), "--out", t.folder / "no.csv", status=2)
        assert not (t.folder / "no.csv").exists(), damage
        t.push("broken", "x", "--overwrite")
        t.check_items("broken", "x")
    sql("INSERT INTO hh_items_broken(id, code) VALUES (-5, (SELECT code FROM hh_items_broken LIMIT 1))")
    t.run("index", "pull", *t.of("broken"), "--out", t.folder / "no.csv", status=2)
    sql("DELETE FROM hh_items_broken WHERE id < 0; UPDATE hh_items_broken SET metadata = 'no json' WHERE id = 7")
    t.run("search", *t.of("broken"), "--id", 8, "--filter", "year=2003", "-k", 1000, status=2)
    # Rows that a user put there, and removed: strangers that --full takes away.
    sql("DELETE FROM hh_items_broken WHERE id = 3; INSERT INTO hh_items_broken(id, code) VALUES (2000, B'%s')" % ("1" * 64))
    t.push("broken", "x", "--full")
    t.check_items("broken", "x")


def test_globs(t):
    """Any pattern finds what SQLite's GLOB finds, in names that aren't UTF-8 too."""
    draw = random.Random(1)
    letters = ["a", "b", "]", "-", "^", "[", "?", "*", "é", "🦉", "\\", "%", "_", "x", "\\xff", "\\xc3", "z", ".", "\n"]
    names = ["".join(draw.choice(letters) for _ in range(draw.randrange(1, 6))) for _ in range(600)]
    t.build({i: ("1" * 64, "", name, "") for i, name in enumerate(names)}, "x")
    t.push("globs", "x")
    queries = t.write(acceptance.some_items(1), "queries.csv")
    for _ in range(30):
        glob = "".join(draw.choice([*letters, "*", "?", "[", "[^", "]"]) for _ in range(draw.randrange(1, 8)))
        asked = ["--codes", queries, "-k", 1000, "--json", "--filter", f"path~{glob}"]
        found = [json.loads(t.run("search", *of, *asked))["results"] for of in (t.of("globs"), ["--index", t.folder / "x"])]
        assert found[0] == found[1], repr(glob)


def test_endless_range(t):
    """Of what may be no letters at all; by the hexadecimal digits of paths that aren't UTF-8."""
    items = acceptance.some_items(20)
    items[3] = (items[3][0], "", "\\xff\\xfe", "")
    t.build(items, "x")
    t.push("range", "x")
    glob = b"path~[a\x01-\xff\xbf\xbf\xbf\xbf\xbf\xbf]"
    said = subprocess.run([t.program, "search", *t.of("range"), "--id", "7", "--filter", os.fsdecode(glob)], capture_output=True, timeout=20, check=False)
    assert said.returncode in (0, 2), said


def test_rights(t):
    sql = t.engine.server.sql
    t.build(acceptance.some_items(50), "x")
    t.push("rights", "x")
    sql("CREATE ROLE reader LOGIN; GRANT SELECT ON hh_collections, hh_items_rights TO reader")
    own = t.engine.url
    try:
        t.engine.url = own.replace("postgres@", "reader@")
        t.run("search", *t.of("rights"), "--id", 7)
        t.pulled("rights")
        for name, more in (("rights", ["--full"]), ("another", [])):
            assert "rights" in t.push(name, "x", *more, status=2)
        t.engine.url = own + "?options=-c%20default_transaction_read_only%3Don"
        t.run("search", *t.of("rights"), "--id", 7)
        assert "primary" in t.push("rights", "x", "--full", status=2)
        t.engine.url = own + "?options=-c%20statement_timeout%3D1"
        said = t.run("search", *t.of("rights"), "--codes", t.write(acceptance.some_items(1000), "queries.csv"), "--json", status=(0, 75))
        assert said.startswith("{") or "statement_timeout" in said, said
    finally:
        t.engine.url = own


def test_secrets(t):
    server = t.engine.server
    t.build(acceptance.some_items(50), "x")
    t.push("secret", "x")
    server.sql("SET password_encryption = 'scram-sha-256'; CREATE ROLE locked LOGIN PASSWORD 'hidden word'; GRANT SELECT ON hh_collections, hh_items_secret TO locked")
    hba = server.folder / "data" / "pg_hba.conf"
    old = hba.read_text()
    hba.write_text("host all locked 127.0.0.1/32 scram-sha-256\n" + old)
    server.sql("SELECT pg_reload_conf()")
    own = t.engine.url
    passwords = t.folder / "passwords"
    try:
        t.engine.url = own.replace("postgres@", "locked@")
        os.environ["PGPASSFILE"] = str(t.folder / "none")
        assert "PGPASSFILE" in t.run("search", *t.of("secret"), "--id", 7, status=2)
        os.environ["PGPASSFILE"] = str(passwords)
        for word, status in (("wrong word", 2), ("hidden word", 0)):
            passwords.write_text(f"127.0.0.1:{server.port}:*:locked:{word}\n")
            passwords.chmod(0o600)
            said = t.run("search", *t.of("secret"), "--id", 7, status=status)
            assert "word\n" not in said and word not in said, said
        for place in ("locked:top?secret@", "locked:top/secret@", "locked:%74op@"):
            t.engine.url = own.replace("postgres@", place)
            said = t.run("search", *t.of("secret"), "--id", 7, status=2)
            assert "top" not in said and "secret@" not in said, said
        t.engine.url = own + "?p%61ssword=topmost"
        said = t.run("search", *t.of("secret"), "--id", 7, status=2)
        assert "PGPASSFILE" in said and "topmost" not in said, said
        t.engine.url = own.replace("postgres@", "locked:hidden@")
        said = t.run("search", *t.of("secret"), "--id", 7, status=2)
        assert "PGPASSFILE" in said and "hidden" not in said, said
    finally:
        t.engine.url = own
        os.environ.pop("PGPASSFILE", None)
        hba.write_text(old)


if __name__ == "__main__":
    with Server() as started:
        sys.exit(acceptance.run_all(sys.argv[1], Postgres(started),
                                    [*acceptance.COMMON, *served.TESTS, test_tables_of_others, test_endless_range, test_globs, test_rights, test_secrets], sys.argv[2:]))
