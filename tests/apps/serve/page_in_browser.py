# SPDX-License-Identifier: Apache-2.0
"""The serve page in headless Chromium: page_in_browser.py PROGRAM | --url URL. Builds a small index of codes, serves it,
opens links to searches, and looks at what the page then shows. Without Chromium it says so and passes."""
import json
import os
import random
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROWS = 200


def write_codes(path):
    """[ROWS, 4] uint8 as .npy, without numpy: tests need nothing but Python."""
    header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({ROWS}, 4), }}"
    header += " " * (-(10 + len(header) + 1) % 64) + "\n"
    data = random.Random(1).randbytes(ROWS * 4)
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + data)


def shown(browser, profile, url):
    """The page's elements once its requests are answered. --no-sandbox: containers run tests as root."""
    command = [browser, "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}",
               "--virtual-time-budget=5000", "--dump-dom", url]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


class Tab:
    """A page that stays open, told what to do by the DevTools protocol over the descriptors 3 and 4."""

    def __init__(self, browser, profile):
        read, self.to = os.pipe()
        self.answers, write = os.pipe()
        command = [browser, "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}",
                   "--remote-debugging-pipe", "about:blank"]
        self.process = subprocess.Popen(["bash", "-c", f'exec "$@" 3<&{read} 4>&{write}', "bash", *command],
                                        pass_fds=(read, write), stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL)
        os.close(read)
        os.close(write)
        self.rest, self.number, self.session = b"", 0, None
        target = next(t for t in self.call("Target.getTargets")["targetInfos"] if t["type"] == "page")
        self.session = self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)["sessionId"]

    def call(self, method, **parameters):
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.to, json.dumps(message).encode() + b"\0")
        while True:
            while b"\0" not in self.rest:
                some = os.read(self.answers, 1 << 16)
                if not some:
                    raise SystemExit("FAILED: the browser has gone")
                self.rest += some
            text, self.rest = self.rest.split(b"\0", 1)
            answer = json.loads(text)
            if answer.get("id") == self.number:  # others are events
                return answer["result"]

    def run(self, script):
        return self.call("Runtime.evaluate", expression=script)["result"].get("value")

    def page_with(self, wanted):
        """The page's elements as soon as they hold this, or after 20 s."""
        for _ in range(200):
            page = self.run("document.documentElement.outerHTML") or ""
            if re.search(wanted, page):
                break
            time.sleep(.1)
        return page

    def close(self):
        self.process.kill()
        self.process.wait()


def check_one_page_after_another(browser, profile, url):
    tab = Tab(browser, profile)
    try:
        tab.call("Page.navigate", url=f"{url}#id=14&k=7")
        page = tab.page_with('class="card')
        expect(page.count('class="card') == 7 and not re.search(r'<div id="query" hidden', page),
               "a search shows its query", page)
        tab.run("location.hash = '#id=99999999&k=7'")
        page = tab.page_with('class="error"')
        expect('class="error"' in page, "the second search is an error", page)
        expect(re.search(r'<div id="query" hidden', page) and 'class="card' not in page,
               "the first search has gone from beside the error", page)
        tab.run("location.hash = '#id=15&k=3'")
        page = tab.page_with('class="card')
        expect(page.count('class="card') == 3 and 'class="error"' not in page
               and not re.search(r'<div id="query" hidden', page), "the error has gone from beside results", page)
    finally:
        tab.close()


def expect(condition, what, page):
    if not condition:
        status = re.search(r'<p id="status".*?</p>', page, re.S)
        raise SystemExit(f"FAILED: {what}; the page says: {status.group() if status else page[:500]}")


def check(browser, profile, url):
    page = shown(browser, profile, url)
    expect(page.count('class="card') == 24 and "24 of 200 items, by chance: choose one" in page,
           "a page without a search shows items by chance", page)
    expect(page.count('class="enlarge"') == 24, "each has its full size", page)
    expect("no files of these pictures" in page and not re.search(r'<p id="no_pictures"[^>]* hidden', page),
           "a page without pictures says why", page)
    expect(re.search(r'id="facts"[^>]*>[\d,]+ items, codes of 32 bits', page), "items and bits are named", page)

    page = shown(browser, profile, f"{url}#id=14&k=7")
    expect(page.count('class="card') == 7, "seven results are asked for and shown", page)
    expect(re.search(r">7 results by (scanning all codes|multi-index hashing) \(search [\d.]+ ms", page),
           "the method and the time are named", page)
    far = [int(d) for d in re.findall(r">distance (\d+)<", page)]
    expect(len(far) == 7 and far == sorted(far), f"distances ascend: {far}", page)
    strips = re.findall(r'aria-label="(\d+) bits differ"><path d="([^"]*)"', page)
    expect([int(n) for n, _ in strips] == far, "a strip is named by its distance", page)
    expect(all(path.count("M") == int(n) for n, path in strips), "a strip shows as many bits as differ", page)

    page = shown(browser, profile, f"{url}#id=99999999&k=7")
    expect('class="error"' in page and 'class="card' not in page, "an item that isn't there is an error", page)
    expect(re.search(r'<div id="query" hidden', page), "no query is shown beside an error", page)
    check_one_page_after_another(browser, f"{profile}_tab", url)


def main():
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        print("skipped: the page in a browser, since Chromium is not installed")
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if sys.argv[1] == "--url":
            check(browser, folder / "profile", sys.argv[2])
            return
        write_codes(folder / "codes.npy")
        subprocess.run([sys.argv[1], "index", "build", "--codes", folder / "codes.npy", "--out", folder / "index"],
                       check=True, stdout=subprocess.DEVNULL)
        with subprocess.Popen([sys.argv[1], "serve", "--index", folder / "index", "--port", "0"],
                              stdout=subprocess.PIPE, text=True) as server:
            try:
                check(browser, folder / "profile", re.search(r"http://\S+", server.stdout.readline()).group())
            finally:
                server.terminate()


if __name__ == "__main__":
    main()
