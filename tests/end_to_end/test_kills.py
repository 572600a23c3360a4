"""Searches that are killed at random moments: never a lost finished trial, never a torn file."""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path

import pytest

from strop.optimize.study import read_study
from tests.end_to_end.killing import Killing

KINDS = ("main", "worker", "interrupt")

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has other signals")


def kill_often(classifier: Path, times: int, seed: int) -> Killing:
    """Kills a search so many times, in every way, and then lets it finish."""
    killing = Killing(classifier, random.Random(seed))
    for number in range(times):
        killing.run(KINDS[number % len(KINDS)])
    assert killing.run("finish") == 0
    found = read_study(killing.study)
    assert "confirmation" in found.facts()
    found.close()
    leftovers = [path.name for path in classifier.parent.iterdir() if path.name.startswith(".out")]
    assert not leftovers
    return killing


def test_a_search_survives_one_kill_of_each_kind(classifier: Path) -> None:
    killing = kill_often(classifier, 3, seed=int(os.environ.get("STROP_SEED", "1")))
    assert killing.keys, "the baseline at least; how many more depends on the machine"
    assert sum(killing.killed.values()) >= 2


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_a_search_survives_50_kills(classifier: Path, tmp_path: Path) -> None:
    done = 0
    for series in range(10):
        folder = tmp_path / f"series{series}"
        folder.mkdir()
        for name in ("classifier.onnx", "data.npz"):
            (folder / name).write_bytes((tmp_path / name).read_bytes())
        done += sum(kill_often(folder / "classifier.onnx", 5, seed=100 + series).killed.values())
    assert done >= 45
