"""The page in headless Chromium: it fits a phone, asks nobody, and nothing goes wrong in either colour scheme.

The page is put into a frame of the width under test; a script of the frame's owner measures it and leaves what it found
in a document that `--dump-dom` prints. No driver, no network.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from strop.report.page import page
from strop.report.record import record_of
from tests import study_documents

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed (apt-get install chromium)")

WIDTHS = (390, 1280)
OWNER = """<!doctype html><meta charset="utf-8"><style>html { color-scheme: light dark }</style><pre id="found"></pre>
<script>
const pages = PAGES, found = {}, frames = [];
const measure = (frame, name) => {
  const page = frame.contentDocument, root = page.documentElement, width = frame.clientWidth;
  const style = frame.contentWindow.getComputedStyle(page.body);
  const inside = node => node.closest("svg") && node.tagName !== "svg";
  found[name] = {
    overflow: root.scrollWidth - width,
    beyond: [...page.body.querySelectorAll("*")].filter(
      node => !inside(node) && !node.matches(".skip, .spoken, .spoken *")
        && node.getBoundingClientRect().right > width + 1
    ).map(node => node.tagName + "." + node.className.toString()),
    requests: frame.contentWindow.performance.getEntriesByType("resource").map(entry => entry.name),
    background: style.backgroundColor,
    colour: style.color,
    title: page.title,
    height: root.scrollHeight,
    tabbable: page.querySelectorAll("a[href]").length,
    small: [...page.body.querySelectorAll("*")].filter(
      node => node.children.length === 0 && node.textContent.trim() && !inside(node)
        && parseFloat(frame.contentWindow.getComputedStyle(node).fontSize) < 11
    ).length,
  };
};
let left = pages.length;
for (const [name, width, text] of pages) {
  const frame = document.createElement("iframe");
  frame.style = `width: ${width}px; height: 800px; border: 0`;
  frame.onload = () => {
    measure(frame, name);
    left -= 1;
    if (left === 0) document.getElementById("found").textContent = JSON.stringify(found);
  };
  frame.srcdoc = text;
  document.body.append(frame);
}
</script>
"""


def look(folder: Path, pages: dict[str, tuple[int, str]], *, dark: bool = False) -> tuple[dict[str, Any], list[str]]:
    """Returns what was measured of each page by name, and the console's messages."""
    listed = json.dumps([[name, width, text] for name, (width, text) in pages.items()]).replace("</", "<\\/")
    owner = folder / "owner.html"
    owner.write_text(OWNER.replace("PAGES", listed), "utf8")
    done = subprocess.run(
        [
            str(CHROMIUM),
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--enable-logging=stderr",
            f"--blink-settings=preferredColorScheme={0 if dark else 1}",
            f"--user-data-dir={folder / 'profile'}",
            "--window-size=1400,900",
            "--virtual-time-budget=5000",
            "--dump-dom",
            owner.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    held = re.search(r'<pre id="found">(.+?)</pre>', done.stdout, re.DOTALL)
    assert held, done.stderr[-2000:]
    return json.loads(unescape(held[1])), re.findall(r"CONSOLE[^\n]*", done.stderr)


def luminance(colour: str) -> float:
    """Returns the relative luminance of `rgb(...)`, as WCAG defines it."""
    parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_page_fits_asks_nobody_and_can_be_read(tmp_path: Path, dark: bool) -> None:
    long_names = study_documents.whole()
    long_names["facts"]["model"]["name"] = "a_very_long_name_without_any_place_to_break_it_" * 3
    long_names["facts"]["layers"]["rows"][0]["name"] = "/model/" + "block.attention/" * 12
    long_names["facts"]["confirmation"]["label"] = "engine:" + "x" * 120
    states = {
        "whole": study_documents.whole(),
        "nothing gained": study_documents.nothing_gained(),
        "interrupted": study_documents.unfinished(interrupted=True),
        "long names": long_names,
    }
    pages = {
        f"{state}, {width}": (width, page(record_of(contents), study="net.study.db"))
        for state, contents in states.items()
        for width in WIDTHS
    }
    found, console = look(tmp_path, pages, dark=dark)
    assert console == []
    assert set(found) == set(pages)
    for name, one in found.items():
        assert one["overflow"] <= 0, (name, one)
        assert one["beyond"] == [], name
        assert one["requests"] == [], name
        assert one["small"] == 0, name
        assert one["tabbable"] > 4
        assert one["title"].endswith(" - Strop")
        light, text = luminance(one["background"]), luminance(one["colour"])
        assert (light < 0.05) == dark
        assert (max(light, text) + 0.05) / (min(light, text) + 0.05) > 7


def test_what_is_looked_for_is_found_on_a_bad_page(tmp_path: Path) -> None:
    body = '<body style="font-size: 8px"><p style="width: 900px">wide</p>'
    bad = f'{body}<img src="http://127.0.0.1:9/x"><script>oops()</script>'
    found, console = look(tmp_path, {"bad": (390, f"<!doctype html><title>bad</title>{bad}")})
    assert found["bad"]["overflow"] > 0
    assert found["bad"]["beyond"]
    assert found["bad"]["small"]
    assert found["bad"]["requests"]
    assert console
