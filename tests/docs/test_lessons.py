"""The pages in docs/ that show code: it runs, and gives what they say."""

from __future__ import annotations

import doctest
from pathlib import Path

import pytest

PAGES = sorted(page for page in (Path(__file__).parents[2] / "docs").glob("*.md") if ">>>" in page.read_text("utf8"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_code_of_a_page_runs(page: Path) -> None:
    failures, examples = doctest.testfile(str(page), module_relative=False, encoding="utf8")
    assert examples > 0
    assert failures == 0


def test_there_are_pages_to_run() -> None:
    assert "how-a-convolution-becomes-machine-code" in [page.stem for page in PAGES]
