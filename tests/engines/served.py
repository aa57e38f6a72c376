# SPDX-License-Identifier: Apache-2.0
"""What `serve --engine` must do with every engine: it answers as `serve --index` over the same items does."""
import json
import signal
import subprocess
import time
import urllib.error
import urllib.request

import acceptance

TOKEN = "a-token"
ITS_OWN = ("method", "search_seconds", "encode_seconds")  # of each server


class Serve:
    def __init__(self, program, *of):
        self.process = subprocess.Popen([program, "serve", *map(str, of), "--port", "0", "--token", TOKEN], stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        assert " at http" in line, line + self.process.stderr.read()
        self.url = line.split(" at ")[1].strip().rstrip("/")

    def ask(self, path, body=None, method=None):
        request = urllib.request.Request(self.url + path, method=method, data=None if body is None else json.dumps(body).encode())
        request.add_header("Authorization", f"Bearer {TOKEN}")
        if body is not None:
            request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=acceptance.LIMIT) as answer:
                status, text = answer.status, answer.read()
        except urllib.error.HTTPError as error:
            status, text = error.code, error.read()
        value = json.loads(text) if text.startswith(b"{") else text.decode()
        for name in ITS_OWN:
            if isinstance(value, dict):
                value.pop(name, None)
        return status, value

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        _, self.said = self.process.communicate(timeout=acceptance.LIMIT)
        assert self.process.returncode == 0, self.said


def below_last(answer):
    """Results nearer than the last of a query: engines may choose among those as far as that."""
    def cut(one):
        results = one.get("results", [])
        return {**one, "precision": None, "results": [r for r in results if r["distance"] < results[-1]["distance"]],
                "distances": [r["distance"] for r in results]}
    status, value = answer
    if "answers" in value:
        return status, [cut(one) for one in value["answers"]]
    return status, cut(value)


def test_served(t):
    """Asked the same, an index and a collection of its items answer the same."""
    t.build(acceptance.some_items(2000, seed=9), "served")
    t.push("served", "served")
    index = Serve(t.program, "--index", t.folder / "served", "--method", "scan")
    collection = Serve(t.program, *t.of("served"))
    code = "0123456789abcdef"
    for path in ("/api/v1/search?id=7", f"/api/v1/search?code={code}&k=100", f"/api/v1/search?code={code}&filter=label=1&filter=year>=2010",
                 f"/api/v1/search?code={code}&radius=12&k=5&label=2", "/api/v1/search?id=7&filter=nosuch=1", "/api/v1/search?id=5000",
                 "/api/v1/search?code=xy", "/api/v1/search?id=7&filter=label=9"):
        path = path.replace(">", "%3E")
        assert below_last(collection.ask(path)) == below_last(index.ask(path)), path
    for path in ("/api/v1/items/7", "/api/v1/items/5000", "/api/v1/items?after=100&limit=7", "/api/v1/items?after=1990&filter=label!=1",
                 "/api/v1/info"):
        assert collection.ask(path) == index.ask(path), path
    many = {"queries": [{"id": i} for i in range(0, 2000, 25)] + [{"code": code}, {"id": 5000}, {"code": "xy"}], "k": 20}
    assert below_last(collection.ask("/api/v1/search/batch", many)) == below_last(index.ask("/api/v1/search/batch", many))
    status, drawn = collection.ask("/api/v1/items/random?limit=40&seed=3")
    assert status == 200 and len({item["id"] for item in drawn["items"]}) == 40 and drawn["count"] == 2000, drawn
    assert collection.ask("/readyz") == (200, "ready\n")
    status, said = collection.ask("/api/v1/search?id=7&rerank=10")
    assert status == 400 and "re-ranking" in said["error"], said
    index.end()
    change(t, collection)
    collection.end()


def change(t, collection):
    """Items are added, replaced and deleted there."""
    name = "it's \"quoted\" 🦉"
    new = {"items": [{"code": "ff" * 8, "label": "1", "name": name, "metadata": '{"year": 1999}'}, {"code": "fe" + "ff" * 7}]}
    status, added = collection.ask("/api/v1/items/batch", new)
    assert status == 201 and [item["id"] for item in added["added"]] == [2000, 2001], added
    _, nearest = collection.ask("/api/v1/search?code=" + "ff" * 8 + "&k=2")
    assert [(r["id"], r["distance"]) for r in nearest["results"]] == [(2000, 0), (2001, 1)], nearest
    _, item = collection.ask("/api/v1/items/2000")
    assert (item["name"], item["labels"], item["metadata"]) == (name, ["1"], {"year": 1999}), item
    assert collection.ask("/api/v1/items/batch", {"items": [{"code": "00" * 8, "id": 2000}]})[0] == 409
    assert collection.ask("/api/v1/items/batch", {"items": [{"code": "00" * 8, "id": 2000}], "replace": 1})[0] == 201
    assert collection.ask("/api/v1/items/2000")[1]["code"] == "00" * 8
    assert collection.ask("/api/v1/items/2001", method="DELETE")[0] == 200
    assert collection.ask("/api/v1/items/2001", method="DELETE")[0] == 404
    assert collection.ask("/api/v1/info")[1]["items"] == 2001
    # The old index would undo it.
    assert "--full" in t.push("served", "served", status=2)
    t.push("served", "served", "--full")
    t.check_items("served", "served")


def test_served_server_gone(t):
    """The page's server outlives the other one, which is gone for a while, and says nothing of where it is."""
    t.build(acceptance.some_items(500), "served")
    t.push("outage", "served", "--overwrite")
    serve = Serve(t.program, *t.of("outage"))
    before = serve.ask("/api/v1/search?id=7")
    t.engine.stop()
    host = t.engine.url.split("//")[1].split("@")[-1].split("/")[0]
    for path in ("/api/v1/search?id=7", "/api/v1/items/7", "/readyz"):
        status, said = serve.ask(path)
        assert status == 503 and host not in json.dumps(said), (path, said)
    assert serve.ask("/healthz")[0] == 200
    t.engine.start()
    end = time.monotonic() + 60
    while serve.ask("/readyz")[0] != 200:
        assert time.monotonic() < end, "not back after a minute"
        time.sleep(.2)
    assert below_last(serve.ask("/api/v1/search?id=7")) == below_last(before)
    serve.end()
    assert host.split(":")[-1] in serve.said, f"the log doesn't say who was gone: {serve.said}"


TESTS = [test_served, test_served_server_gone]
