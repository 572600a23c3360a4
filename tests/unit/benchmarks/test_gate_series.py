"""The series that holds the gate to its promises: what is kept, what is counted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from benchmarks.gate_series import load, save, summary


def row(verdict: str, slowdown: float = 1.0) -> dict[str, Any]:
    return {"verdict": verdict, "runs": [verdict], "slowdowns": [slowdown], "half_widths": [0.01], "seconds": 9.0}


@pytest.mark.parametrize(
    ("series", "red", "kept"),
    [
        ("unchanged", 1, True),
        ("unchanged", 2, False),
        ("slowed", 28, True),
        ("slowed", 27, False),
        ("probes", 1, False),
    ],
)
def test_a_promise_is_kept_or_broken(series: str, red: int, kept: bool) -> None:
    rows = [row("regressed")] * red + [row("ok")] * (30 - red)
    found = summary(series, rows)
    assert (found["red"], found["runs"], found["kept"]) == (red, 30, kept)


def test_the_scatter_is_that_of_first_runs() -> None:
    found = summary("unchanged", [row("ok", 0.99), row("ok", 1.01)])
    assert found["scatter_of_first_runs"] == pytest.approx(0.0141, abs=1e-3)
    assert summary("unchanged", [row("ok")])["scatter_of_first_runs"] is None


def test_a_series_goes_on_where_it_was_and_only_for_the_same_subject(tmp_path: Path) -> None:
    path, subject = tmp_path / "series.json", {"model": "chain", "threads": 1}
    record = load(path, subject, fresh=False)
    record["rows"]["slowed"].append(row("regressed"))
    save(path, record)
    assert len(load(path, subject, fresh=False)["rows"]["slowed"]) == 1
    assert load(path, {**subject, "threads": 2}, fresh=False)["rows"]["slowed"] == []
    assert load(path, subject, fresh=True)["rows"]["slowed"] == []
