#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Load on a running `hybridhash serve`, from this machine, bounded in count and time.

    load.py http://127.0.0.1:8080 [--image FILE] [--clients 4] [--requests 2000] [--seconds 20]

Three loads, one after the other: searches by item, searches by code and, with --image, searches by
picture (a twentieth as many). Each client keeps one connection. Prints requests/s and the latency's
p50, p99 and maximum as the clients see them; any answer but 200 makes it fail.
"""
import argparse
import http.client
import json
import random
import sys
import threading
import time
import urllib.parse


def connect(address):
    return http.client.HTTPConnection(address.hostname, address.port, timeout=60)


def ask(connection, request):
    method, path, body = request
    connection.request(method, path, body)
    answer = connection.getresponse()
    text = answer.read()
    if answer.status != 200:
        raise RuntimeError(f"{method} {path}: {answer.status} {text[:200]}")
    return text


def client(address, requests, until, latencies, errors):
    connection = connect(address)
    for request in requests:
        start = time.perf_counter()
        if start > until:
            return
        try:
            ask(connection, request)
        except Exception as error:  # counted, and the run fails for it
            errors.append(error)
            return
        latencies.append(time.perf_counter() - start)


def load(name, address, requests, options):
    shares = [requests[i :: options.clients] for i in range(options.clients)]
    latencies, errors = [], []
    start = time.perf_counter()
    threads = [
        threading.Thread(target=client, args=(address, s, start + options.seconds, latencies, errors))
        for s in shares
    ]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    seconds = time.perf_counter() - start
    latencies.sort()
    if latencies:
        at = lambda q: 1000 * latencies[min(int(q * len(latencies)), len(latencies) - 1)]
        print(
            f"{name:10} {len(latencies):6} answers {len(latencies) / seconds:9.1f} /s   "
            f"p50 {at(0.5):8.2f} ms   p99 {at(0.99):8.2f} ms   max {at(1):8.2f} ms"
        )
    for error in errors[:5]:
        print(f"{name}: {error}", file=sys.stderr)
    return not errors


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--image")
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--seconds", type=float, default=20)
    options = parser.parse_args()
    address = urllib.parse.urlparse(options.url)
    if address.hostname not in ("127.0.0.1", "localhost", "::1"):
        sys.exit("only for servers on this machine")
    info = json.loads(ask(connect(address), ("GET", "/api/info", None)))
    draw = random.Random(1)
    items = [("GET", f"/api/search?id={draw.randrange(info['items'])}&k=20", None)
             for _ in range(options.requests)]
    codes = [("GET", f"/api/search?code={draw.randbytes(info['bits'] // 8).hex()}&k=20", None)
             for _ in range(options.requests)]
    done = load("by item", address, items, options)
    done = load("by code", address, codes, options) and done
    if options.image:
        picture = open(options.image, "rb").read()
        pictures = [("POST", "/api/search?k=20", picture)] * max(1, options.requests // 20)
        done = load("by picture", address, pictures, options) and done
    return 0 if done else 1


if __name__ == "__main__":
    sys.exit(main())
