# SPDX-License-Identifier: Apache-2.0
"""What every engine must do, through the program as users run it. A test of an engine makes an Engine and calls run_all()
with it. Searches are compared with the program's own over an index, of which each item comes at its id's place."""
import csv
import io
import json
import os
import pathlib
import random
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import traceback

LIMIT = 300  # seconds that a command may take
TRY_AGAIN = 75
csv.field_size_limit(1 << 20)


def without_gpu(err):
    """A program with CUDA says first that there is no GPU."""
    return b"".join(line for line in err.splitlines(keepends=True) if b"running on the CPU" not in line)


class Engine:
    """What is tested. A subclass, or an object with the same members, starts and stops the server."""
    kind = ""  # postgres or milvus
    url = ""
    ties_by_id = True  # items as far as the k-th are those of the smallest ids
    locks = True
    push_items = 100_000  # of pushes that are killed
    refuses = ()  # filters that it can't do, which it must say

    def stop(self):
        raise NotImplementedError

    def kill(self):
        raise NotImplementedError

    def start(self):
        raise NotImplementedError


class Acceptance:
    def __init__(self, program, engine):
        self.program = os.path.abspath(program)
        self.engine = engine
        self.holder = tempfile.TemporaryDirectory(prefix="hh-engine-")
        self.folder = pathlib.Path(self.holder.name)

    def of(self, name):
        return ["--engine", self.engine.kind, self.engine.url, "--collection", name]

    def start(self, *words):
        return subprocess.Popen([self.program, *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def end(self, process, status=0):
        """Of statuses (or of one) that may be; gives stdout, or stderr where it failed as it should."""
        out, err = process.communicate(timeout=LIMIT)
        wanted = status if isinstance(status, tuple) else (status,)
        assert process.returncode in wanted, f"{process.args}: {process.returncode}, not {status}\n{out!r}{err!r}"
        if process.returncode == 0:
            return out.decode()
        err = without_gpu(err)
        assert err.count(b"\n") == 1, f"{process.args}: not one line: {err!r}"
        return err.decode()

    def run(self, *words, status=0):
        return self.end(self.start(*words), status)

    def push(self, name, index, *more, status=0):
        return self.run("index", "push", self.folder / index, *self.of(name), *more, status=status)

    # Items: {id: (code, labels, path, metadata)}, all of them texts.
    def write(self, items, place):
        with open(self.folder / place, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["id", "bits", "labels", "path", "metadata"])
            for i, (code, labels, path, metadata) in items.items():
                writer.writerow([i, code, labels, path, metadata])
        return self.folder / place

    def read(self, place):
        with open(self.folder / place, newline="", encoding="utf-8") as file:
            rows = list(csv.reader(file))[1:]
        assert len({row[0] for row in rows}) == len(rows), f"{place}: an id comes twice"
        return {int(row[0]): tuple(row[1:]) for row in rows}

    def build(self, items, index):
        self.run("index", "build", "--codes", self.write(items, "items.csv"), "--out", self.folder / index, "--overwrite")

    def exported(self, index):
        self.run("index", "export", self.folder / index, "--out", self.folder / "export.csv")
        return self.read("export.csv")

    def pulled(self, name, place="pull.csv"):
        self.run("index", "pull", *self.of(name), "--out", self.folder / place)
        return self.read(place)

    def check_items(self, name, index):
        want, got = self.exported(index), self.pulled(name)
        wrong = [i for i in set(want) | set(got) if want.get(i) != got.get(i)]
        assert not wrong, f"{len(wrong)} items differ, as {wrong[0]}: {want.get(wrong[0])} and {got.get(wrong[0])}"
        assert list(got) == sorted(got), "not in the order of ids"

    def by_id(self, name, index="sorted"):
        """An index of what the collection has, in the order of ids, in which the program's own search breaks ties by id."""
        self.run("index", "pull", *self.of(name), "--out", self.folder / "sorted.csv")
        bits = json.loads(self.run("search", *self.of(name), "--id", next(iter(self.read("sorted.csv"))), "-k", 1, "--json"))["bits"]
        self.run("index", "build", "--codes", self.folder / "sorted.csv", "--bits", bits, "--out", self.folder / index, "--overwrite")
        return index

    def arrays(self, *words):
        self.run("search", *words, "--out", self.folder / "i.npy", "--out-distances", self.folder / "d.npy", "--json")
        found = []
        for place, code, size in (("i.npy", "q", 8), ("d.npy", "i", 4)):
            data = (self.folder / place).read_bytes()
            head = struct.unpack("<H", data[8:10])[0] + 10
            found.append(struct.unpack(f"<{(len(data) - head) // size}{code}", data[head:]))
        return found

    def check_search(self, name, queries, k, *more):
        index = self.by_id(name)
        asked = ["--codes", queries, "-k", k, *more]
        ids, distances = self.arrays("--index", self.folder / index, *asked)
        their_ids, their_distances = self.arrays(*self.of(name), *asked)
        assert distances == their_distances, "distances differ"
        if self.engine.ties_by_id:
            assert ids == their_ids, "ids differ"
        for begin in range(0, len(ids), k):
            last = distances[begin + k - 1]
            nearer = [i for i, d in zip(ids[begin:begin + k], distances[begin:begin + k]) if d < last or last < 0]
            theirs = [i for i, d in zip(their_ids[begin:begin + k], distances[begin:begin + k]) if d < last or last < 0]
            assert nearer == theirs, "ids below the last distance differ"


def some_items(count, bits=64, first=0, seed=1):
    """Around a few centres, so that there are ties and doubles."""
    draw = random.Random(seed)
    centres = [draw.getrandbits(bits) for _ in range(20)]
    items = {}
    for i in range(first, first + count):
        code = centres[draw.randrange(20)]
        for _ in range(draw.randrange(4)):
            code ^= 1 << draw.randrange(bits)
        labels = " ".join(str(c) for c in range(5) if draw.random() < .3)
        metadata = f'{{"year": {2000 + i % 25}, "camera": "X{i % 7}"}}' if i % 3 else ""
        items[i] = (f"{code:0{bits}b}", labels, f"photos/{i % 10}/img_{i}.jpg" if i % 11 else "", metadata)
    return items


STRANGE = [
    ("it's \"quoted\", with\nlines\tand {braces}", '{"a": "it\'s", "b": "x\\"y", "list": [1, 2, {"c": null}]}'),
    ("\\xff\\xfe/bytes", '{"year": 2.50, "year2": 1e3, "big": 9007199254740993, "a.b": 1}'),
    ("🦉/ユニコード/é", '{"z": 1, "a": 2,  "spaces" :  3 , "snow": "☃", "zero": "a\\u0000b"}'),
    ("-- ; DROP TABLE hh_collections; %_*?[a-z]", '{"deep": ' + '{"d":' * 60 + "1" + "}" * 60 + "}"),
    ("\\x5cxff is no byte", '{"flag": true, "none": null, "text": "true", "number": "17", "tiny": 1e-400}'),
    ("a" * 5000, '{"long": "' + "x" * 60000 + '"}'),
    ("", "{}"),
    ("holiday/[1].jpg", '{"year": -5, "huge": 123456789012345678901234567890, "shot": {"year": 1999}}'),
    ("holiday/a]b-c.jpg", '{"year": "2020", "shot": {"year": "x"}}'),
    ("C:\\new\\table", '{"shot": [1999], "year": [2020], "camera": ""}'),
]

FILTERS = [
    "label=1", "label=1,3", "label!=2", "label!=0,1,2,3,4", "id=7", "id!=7", "id<20", "id<=20", "id>990", "id>=990",
    "path=photos/3/img_23.jpg", "path!=photos/3/img_23.jpg", "path~photos/3/*", "path~*img_?.jpg", "path~*", "path~nothing*",
    "path~photos/[1-3]/*", "path~photos/[^1-3]/*", "path~*[[]1]*", "path~*[]]*", "path~*[^]]b-c*", "path~*[a-", "path~*🦉*", "path~?/ユ*",
    "path~*\\xfe/*", "path~\\xff?/bytes", "path~??/bytes", "path~*[\\xff]*", "path~*\\*", "path~C:\\new\\*", "path~*%_[*][?][[]a-z]",
    "path~*\n*", "path=\\xff\\xfe/bytes", "path=\\x5cxff is no byte", "path~?x5cxff*", "path~?xff is no byte", "path~photos/*/img_1*",
    "path=", "path!=", "year=2020", "year!=2020", "year>=2020", "year<2001", "year<=-5", "year>1e400", "year=inf", "year<nan", "camera=X3",
    "camera!=X3", "camera>=X5", "camera<X1", "camera=", "shot.year=1999", "shot.year>=1999", "shot.year=x", "flag=true", "flag!=true",
    "none=null", "text=true", "number=17", "number>=17", "tiny=0", "tiny<1e-300", "huge>1e29", "big=9007199254740993",
    "big=9007199254740992", "snow=☃", "zero=a", "a=it's", "b=x\"y", "year=2020 ", " year = 2.5", "nosuch=1", "nosuch!=1", "year>abc",
    "label=9", "label=nosuch", "id=x", "year", "label>1", "a'b=1", "a$1=2", "year=' OR 1=1 --", "deep.d.d.d=1", "list=[1,2,{\"c\":null}]", "shot=[1999]", "shot>[", "year<a"]


def test_pushes_and_searches(t):
    items = some_items(5000)
    t.build(items, "x")
    done = json.loads(t.push("a", "x", "--json"))
    assert done["made"] and done["put"] == 5000 and done["done"], done
    assert "nothing to do" in t.push("a", "x")
    t.check_items("a", "x")
    t.run("index", "export", t.folder / "x", "--out", t.folder / "export.codes")
    t.run("index", "pull", *t.of("a"), "--out", t.folder / "pull.codes")
    assert (t.folder / "export.codes").read_bytes() == (t.folder / "pull.codes").read_bytes(), "code files differ"
    queries = t.write(some_items(1000, seed=2), "queries.csv")
    t.check_search("a", queries, 20)
    few = t.write(some_items(20, seed=3), "few.csv")
    t.check_search("a", few, 6000)
    t.check_search("a", few, 10, "--filter", "label=1", "--filter", "year>=2010")
    one = json.loads(t.run("search", *t.of("a"), "--id", "7,8", "-k", 3, "--exclude-self", "--json"))
    own = json.loads(t.run("search", "--index", t.folder / "x", "--id", "7,8", "-k", 3, "--exclude-self", "--json"))
    assert [[r["distance"] for r in q["results"]] for q in one["results"]] == [[r["distance"] for r in q["results"]] for q in own["results"]]
    assert all(r["id"] != i for i, q in zip((7, 8), one["results"]) for r in q["results"])
    within = [json.loads(t.run("search", *of, "--id", 7, "--radius", 4, "--json"))["results"]
              for of in (t.of("a"), ["--index", t.folder / "x"])]
    assert within[0] == within[1], "within a radius"
    t.run("search", *t.of("a"), "--id", 7, "--html", t.folder / "page.html")
    assert "img_" in t.run("search", *t.of("a"), "--id", 7)


def test_changes(t):
    t.build(some_items(3000), "x")
    t.push("b", "x")
    t.run("index", "add", t.folder / "x", "--codes", t.write(some_items(500, first=3000), "items.csv"))
    t.run("index", "add", t.folder / "x", "--codes", t.write(some_items(300, first=100, seed=9), "items.csv"), "--replace")
    t.run("index", "delete", t.folder / "x", "--ids", "0,5,150,3100")
    t.run("index", "update", t.folder / "x", "--id", 77, "--path", "new.jpg", "--label", 4, "--metadata", '{"n": 1}')
    done = json.loads(t.push("b", "x", "--json"))
    assert done["put"] == 499 + 299 + 1 and done["removed"] == 3, done
    t.check_items("b", "x")
    t.check_search("b", t.write(some_items(200, seed=4), "queries.csv"), 15)
    t.run("index", "delete", t.folder / "x", "--filter", "label=2")
    t.push("b", "x")
    t.check_items("b", "x")
    t.run("index", "compact", t.folder / "x")
    assert "--full" in t.push("b", "x", status=2)
    t.push("b", "x", "--full")
    t.check_items("b", "x")


def test_filters(t):
    items = some_items(1000, seed=5)
    for n, (path, metadata) in enumerate(STRANGE):
        items[990 + n] = (items[990 + n][0], items[990 + n][1], path, metadata)
    t.build(items, "x")
    t.push("c", "x")
    t.check_items("c", "x")
    queries = t.write(some_items(3, seed=6), "queries.csv")
    for text in FILTERS:
        asked = ["--codes", queries, "-k", 2000, "--json", "--filter", text]
        if text in t.engine.refuses:
            assert "filter" in t.run("search", *t.of("c"), *asked, status=2), text
            continue
        own = t.start("search", "--index", t.folder / "x", *asked)
        out, err = own.communicate(timeout=LIMIT)
        theirs = t.run("search", *t.of("c"), *asked, status=own.returncode)
        if own.returncode != 0:
            assert theirs == without_gpu(err).decode(), f"{text}: {theirs!r} and {err!r}"
            continue
        want, got = json.loads(out)["results"], json.loads(theirs)["results"]
        ids = [sorted(r["id"] for r in q["results"]) for q in want]
        their_ids = [sorted(r["id"] for r in q["results"]) for q in got]
        assert ids == their_ids, f"{text}: {set(ids[0]) ^ set(their_ids[0])}"
        assert want == got, text
        assert own.returncode == 0


def test_widths(t):
    for bits in (1, 7, 64, 65, 512):
        items = some_items(300, bits=bits, seed=bits)
        t.build(items, "x")
        name = f"w{bits}"
        t.push(name, "x")
        t.check_items(name, "x")
        t.check_search(name, t.write(some_items(20, bits=bits, seed=bits + 1), "queries.csv"), 10)


def code_file(place, names, class_names, bits=64):
    """As docs/formats.md says: what tables of text can't have."""
    n = len(names)
    columns = {"codes": ("U8", [n, bits // 8], bytes(random.Random(1).randrange(256) for _ in range(n * bits // 8))),
               "ids": ("I64", [n], struct.pack(f"<{n}q", *range(n))),
               "labels": ("I64", [n, 1], struct.pack(f"<{n}q", *(1 << i % len(class_names) for i in range(n)))),
               "names": ("U8", [sum(map(len, names))], b"".join(names)),
               "name_offsets": ("I64", [n + 1], struct.pack(f"<{n + 1}q", *(sum(map(len, names[:i])) for i in range(n + 1))))}
    head, at = {"__metadata__": {"format": "hybridhash codes", "version": "1", "bits": str(bits), "classes": str(len(class_names)),
                                 "class_names": json.dumps(class_names), "model_hash": "", "source": "s\u00e9"}}, 0
    order = sorted(columns, key=lambda name: columns[name][0] != "I64")
    for name in order:
        kind, shape, data = columns[name]
        head[name] = {"dtype": kind, "shape": shape, "data_offsets": [at, at + len(data)]}
        at += len(data)
    text = json.dumps(head).encode()
    text += b" " * (-len(text) % 8)
    place.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(columns[name][2] for name in order))


def test_names(t):
    classes = ["o'neil", 'a"b', "\\x", "{,}", "🦉 owl", "% _", "NULL"]
    names = [b"zero\0byte", b"\xff\xfe", b"'; DROP TABLE hh_collections; --", "🦉".encode(), b"", b"\\N", b"\xc3", b"a\\xffb", b"x\ny", b"{}"]
    code_file(t.folder / "names.codes", names, classes)
    t.run("index", "build", "--codes", t.folder / "names.codes", "--out", t.folder / "x", "--overwrite")
    t.push("d", "x")
    t.run("index", "export", t.folder / "x", "--out", t.folder / "export.codes")
    t.run("index", "pull", *t.of("d"), "--out", t.folder / "pull.codes")
    assert (t.folder / "export.codes").read_bytes() == (t.folder / "pull.codes").read_bytes()
    for name in classes:
        if "," in name:
            continue
        found = [json.loads(t.run("search", *of, "--id", 0, "-k", 100, "--filter", f"label={name}", "--json"))["results"]
                 for of in (t.of("d"), ["--index", t.folder / "x"])]
        assert found[0] == found[1] and found[0][0]["results"], name
    for bad in ('x"; DROP TABLE y', "a b", "1a", "", "é", "x" * 49):
        assert "collection" in t.push(bad, "x", status=2)


def test_edges(t):
    code_file(t.folder / "empty.codes", [], ["c"])
    t.run("index", "build", "--codes", t.folder / "empty.codes", "--out", t.folder / "empty", "--overwrite")
    assert json.loads(t.push("e", "empty", "--json"))["made"]
    assert "nothing to do" in t.push("e", "empty")
    t.pulled("e")
    t.build({0: ("1" * 64, "", "", ""), 2**63 - 2: ("0" * 64, "3", "last", "{}"), 2**62: ("01" * 32, "", "", "")}, "x")
    t.push("f", "x")
    t.check_items("f", "x")
    t.check_search("f", t.write(some_items(5), "queries.csv"), 5)
    assert "there is no collection" in t.run("search", *t.of("nosuch"), "--id", 1, status=2)
    assert "no such collection" in t.run("index", "pull", *t.of("nosuch"), "--out", t.folder / "no.csv", status=2)
    for option in (["--method", "multi-index"], ["--rerank", "5"]):
        assert option[0] in t.run("search", *t.of("f"), "--id", 0, *option, status=2)


def test_others_are_refused(t):
    t.build(some_items(100), "x")
    t.push("g", "x")
    t.build(some_items(100, bits=32), "narrow")
    for more in ([], ["--full"]):
        assert "bits" in t.push("g", "narrow", *more, status=2)
    t.build(some_items(100, seed=8), "other")
    assert "--full" in t.push("g", "other", status=2)
    assert "bits" in t.run("search", *t.of("g"), "--codes", t.write(some_items(1, bits=32), "queries.csv"), status=2)
    t.push("g", "narrow", "--overwrite")
    t.check_items("g", "narrow")
    models = []
    for model in ("0123456789abcdef", "fedcba9876543210"):
        code_file(t.folder / "names.codes", [b"a", b"b"], ["c"])
        data = (t.folder / "names.codes").read_bytes()
        data = data.replace(b'"model_hash": ""', b'"model_hash": "%s"' % model.encode())
        size = struct.unpack("<Q", data[:8])[0] + 16
        (t.folder / "names.codes").write_bytes(struct.pack("<Q", size) + data[8:])
        t.run("index", "build", "--codes", t.folder / "names.codes", "--out", t.folder / f"m{len(models)}", "--overwrite")
        models.append(model)
    t.push("g", "m0", "--overwrite")
    for more in ([], ["--full"]):
        assert "model" in t.push("g", "m1", *more, status=2)


def big(t):
    """An index for pushes that take a moment; made once."""
    if not (t.folder / "big").exists():
        t.build(some_items(t.engine.push_items, seed=11), "big")
    shutil.rmtree(t.folder / "x", ignore_errors=True)
    shutil.copytree(t.folder / "big", t.folder / "x")
    return "x"


def test_kills_of_the_pusher(t):
    draw = random.Random(12)
    began = time.monotonic()
    t.push("k", big(t))
    usual = min(time.monotonic() - began, 2)
    for turn in range(4):
        # A name of its own: a copy of an index that changes by itself passes for a later state of the first one.
        index, name, first, more = big(t), f"k{turn}", t.engine.push_items, []
        for kill in range(5):
            pusher = t.start("index", "push", t.folder / index, *t.of(name), *more)
            time.sleep(draw.uniform(.02, 1) * usual * (.5 if kill else .8))
            pusher.kill()
            pusher.communicate()
            more = ["--full"] if turn == 3 and kill == 2 else []
            if kill % 2:  # a push never knows what comes of the index
                t.run("index", "delete", t.folder / index, "--ids", ",".join(str(draw.randrange(first)) for _ in range(50)))
                t.run("index", "add", t.folder / index, "--codes", t.write(some_items(100, first=first, seed=turn), "items.csv"))
                first += 100
        # The server may notice a moment later that the last one has gone.
        t.push(name, index)
        assert "nothing to do" in t.push(name, index)
        t.check_items(name, index)


def test_ctrl_c(t):
    pusher = t.start("index", "push", t.folder / big(t), *t.of("k"), "--overwrite")
    time.sleep(.5)
    pusher.send_signal(signal.SIGINT)
    said = t.end(pusher, (0, 130))
    assert pusher.returncode == 0 or "goes on" in said, said
    t.push("k", "x")
    t.check_items("k", "x")


def test_two_pushers(t):
    index = big(t)
    pushers = [t.start("index", "push", t.folder / index, *t.of("two"), "--wait", 60) for _ in range(2)]
    for pusher in pushers:
        t.end(pusher)
    t.check_items("two", index)
    if not t.engine.locks:
        return
    first = t.start("index", "push", t.folder / index, *t.of("two"), "--full")
    said = ""
    while first.poll() is None and not said:
        time.sleep(.05)
        second = t.start("index", "push", t.folder / index, *t.of("two"), "--full", "--wait", 0)
        out = t.end(second, (0, TRY_AGAIN))
        said = out if second.returncode else ""
    assert "another program" in said, said
    t.end(first)


def test_server_gone(t):
    index = big(t)
    t.push("s", index)
    t.engine.stop()
    try:
        t.push("s", index, status=TRY_AGAIN)
        t.run("search", *t.of("s"), "--id", 1, status=TRY_AGAIN)
        t.run("index", "pull", *t.of("s"), "--out", t.folder / "no.csv", status=TRY_AGAIN)
        assert not (t.folder / "no.csv").exists()
    finally:
        t.engine.start()
    t.check_items("s", index)
    for _ in range(2):  # in the middle of a push, and of a search
        pusher = t.start("index", "push", t.folder / index, *t.of("s"), "--full")
        time.sleep(random.Random(13).uniform(.2, .5))
        t.engine.kill()
        t.end(pusher, (0, TRY_AGAIN))
        t.engine.start()
    t.push("s", index)
    assert "nothing to do" in t.push("s", index)
    t.check_items("s", index)
    searcher = t.start("search", *t.of("s"), "--codes", t.write(some_items(5000), "queries.csv"), "--json")
    time.sleep(.4)
    t.engine.kill()
    t.end(searcher, (0, TRY_AGAIN))
    t.engine.start()
    t.check_items("s", index)


COMMON = [test_pushes_and_searches, test_changes, test_filters, test_widths, test_names, test_edges, test_others_are_refused,
          test_kills_of_the_pusher, test_ctrl_c, test_two_pushers, test_server_gone]


def run_all(program, engine, tests, chosen=()):
    """Those of `chosen` names, or all. Prints "N passed, N failed" as the last line; gives the exit status."""
    t = Acceptance(program, engine)
    passed = failed = 0
    for test in tests:
        if chosen and test.__name__.removeprefix("test_") not in chosen:
            continue
        began = time.monotonic()
        try:
            test(t)
            passed += 1
            print(f"{test.__name__.removeprefix('test_').replace('_', ' ')}: {time.monotonic() - began:.1f} s", flush=True)
        except Exception:  # of whatever kind: the others are to run too
            failed += 1
            print(f"FAILED {test.__name__}", flush=True)
            traceback.print_exc(file=sys.stdout)
    t.holder.cleanup()
    print(f"{passed} passed, {failed} failed")
    return 0 if passed and not failed else 1
