# SPDX-License-Identifier: Apache-2.0
"""The serve page in headless Chromium: page_in_browser.py PROGRAM | --url URL | --pictures URL FOLDER. Builds a small index of
codes, serves it, opens links to searches, uses it by the keyboard alone, in both themes and at two widths, and looks at what
the page then shows. Without Chromium it says so and passes. --pictures makes screenshots of any server's page instead."""
import base64
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
import urllib.request
from pathlib import Path

ROWS = 200
TOKEN = "a-secret"
# Elements whose own text stands out too little from what is behind it, by WCAG's formula.
CONTRAST = """(() => {
  const numbers = (c) => c.match(/[\\d.]+/g).map(Number);
  const light = (c) => c.slice(0, 3).map((v) => v / 255).map((v) => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  const behind = (e) => {
    for (; e; e = e.parentElement) {
      const c = numbers(getComputedStyle(e).backgroundColor);
      if (c.length < 4 || c[3] > 0) return c;
    }
    return [255, 255, 255];
  };
  return [...document.querySelectorAll("body *")].filter((e) => e.offsetParent && !e.disabled && [...e.childNodes].some(
    (n) => n.nodeType == 3 && n.textContent.trim())).map((e) => {
      const a = light(numbers(getComputedStyle(e).color)), b = light(behind(e));
      return [(Math.max(a, b) + .05) / (Math.min(a, b) + .05), e.textContent.trim().slice(0, 30)];
    }).filter(([ratio]) => ratio < 4.5).map(([ratio, text]) => `${ratio.toFixed(1)} ${text}`).join("; ");
})()"""


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

    def look(self, width, theme, height=900):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": theme}])

    def press(self, key, code, text=None):
        common = {"key": key, "code": key if len(key) > 1 else "", "windowsVirtualKeyCode": code}
        self.call("Input.dispatchKeyEvent", type="keyDown", **common, **({"text": text} if text else {}))
        self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    def tab_to(self, wanted):
        """Presses the tabulator until what has the focus fits this condition of JavaScript, of `e`."""
        for _ in range(200):
            self.press("Tab", 9)
            if self.run(f"(e => Boolean({wanted}))(document.activeElement)"):
                return
        raise SystemExit(f"FAILED: the tabulator doesn't come to {wanted}")

    def enter(self):
        self.press("Enter", 13, "\r")

    def picture(self, path):
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))

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


def check_by_keyboard(browser, profile, url):
    """A search, full size and a deletion without a pointer."""
    tab = Tab(browser, profile)
    try:
        tab.look(1280, "light")
        tab.call("Page.navigate", url=url)
        tab.page_with('class="card')
        tab.tab_to("e.className == 'skip'")
        tab.tab_to("e.id == 'id'")
        tab.call("Input.insertText", text="14")
        tab.enter()
        page = tab.page_with(r"20 results by")
        expect(page.count('class="card') == 20, "Enter searches", page)
        tab.tab_to("e.className == 'enlarge'")
        shown_id = tab.run("document.activeElement.parentElement.dataset.id")
        tab.enter()
        expect(tab.run("document.getElementById('large').open"), "Enter shows the full size", tab.page_with("x"))
        tab.press("Escape", 27)
        expect(not tab.run("document.getElementById('large').open"), "Escape closes it", tab.page_with("x"))
        tab.enter()
        tab.tab_to("e.id == 'delete'")
        tab.enter()
        expect("Really delete" in tab.page_with("Really delete"), "deleting asks once more", tab.page_with("x"))
        tab.enter()
        page = tab.page_with("isn't the token|need the token")
        expect("need the token" in page, "without a token nothing is deleted", page)
        tab.run("document.getElementById('changes').open = false; document.body.focus()")
        tab.tab_to("e.tagName == 'SUMMARY'")
        tab.enter()
        tab.tab_to("e.id == 'token'")
        tab.call("Input.insertText", text=TOKEN)
        tab.tab_to(f"e.className == 'enlarge' && e.parentElement.dataset.id == {shown_id}")
        tab.enter()
        tab.tab_to("e.id == 'delete'")
        tab.enter()
        tab.enter()
        page = tab.page_with(f"Deleted item {shown_id}")
        expect(f"Deleted item {shown_id}" in page and page.count('class="card') == 19 and f"{ROWS - 1} items" in page,
               "with the token it is deleted", page)
        stored = tab.run("JSON.stringify([Object.values(sessionStorage), Object.values(localStorage), document.cookie])")
        expect(json.loads(stored) == [[TOKEN], [], ""], f"the token is kept in the tab alone: {stored}", page)
    finally:
        tab.close()


def check_layout(browser, profile, url):
    """Nothing is wider than the window, no text is cut, and text stands out, at both widths and in both themes."""
    tab = Tab(browser, profile)
    try:
        for width in (1280, 390):
            for theme in ("light", "dark"):
                tab.look(width, theme)
                tab.call("Page.navigate", url="about:blank")
                tab.call("Page.navigate", url=f"{url}#id=15&k=9")
                page = tab.page_with('class="card')
                at = f"at {width} pixels, {theme}"
                expect(tab.run("document.documentElement.scrollWidth") <= width, f"nothing is wider than the window {at}", page)
                cut = tab.run("[...document.querySelectorAll('.card span, h2, #status, label, button')].filter("
                              "e => e.offsetParent && !e.classList.contains('frame') && e.scrollWidth > e.clientWidth + 1 && "
                              "getComputedStyle(e).display != 'inline').map(e => e.className + e.textContent).join()")
                expect(cut == "", f"no text is cut {at}: {cut}", page)
                low = tab.run(CONTRAST)
                expect(low == "", f"text stands out 4.5 to 1 {at}: {low}", page)
    finally:
        tab.close()


def take_pictures(browser, profile, url, folder):
    """Of the page as it opens, of a search and of a picture in full size, at 1280 and 390 pixels, in both themes."""
    tab = Tab(browser, profile)
    with urllib.request.urlopen(f"{url}api/v1/items?limit=1") as answer:
        item = json.load(answer)["items"][0]["id"]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        for width in (1280, 390):
            for theme in ("light", "dark"):
                tab.look(width, theme)
                for name, place in (("start", ""), ("search", f"#id={item}&k=24"), ("large", f"#id={item}&k=24")):
                    tab.call("Page.navigate", url="about:blank")
                    tab.call("Page.navigate", url=url + place)
                    tab.page_with('class="card')
                    if name == "start":
                        tab.run("document.getElementById('changes').open = true")
                    if name == "large":
                        tab.run("document.querySelector('.enlarge').click()")
                    time.sleep(1.5)
                    tab.picture(folder / f"{name}_{width}_{theme}.png")
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
    check_layout(browser, f"{profile}_layout", url)


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
        if sys.argv[1] == "--pictures":
            take_pictures(browser, folder / "profile", sys.argv[2], Path(sys.argv[3]))
            return
        write_codes(folder / "codes.npy")
        subprocess.run([sys.argv[1], "index", "build", "--codes", folder / "codes.npy", "--out", folder / "index"],
                       check=True, stdout=subprocess.DEVNULL)
        with subprocess.Popen([sys.argv[1], "serve", "--index", folder / "index", "--port", "0", "--token", TOKEN],
                              stdout=subprocess.PIPE, text=True) as server:
            try:
                url = re.search(r"http://\S+", server.stdout.readline()).group()
                check(browser, folder / "profile", url)
                check_by_keyboard(browser, folder / "profile_keys", url)  # the last: it changes the index
            finally:
                server.terminate()


if __name__ == "__main__":
    main()
