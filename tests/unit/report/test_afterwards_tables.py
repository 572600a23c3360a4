"""Tables of what a search found after its confirmation, and of advice."""

from __future__ import annotations

from typing import Any

from rich.console import Console

from strop.report.advice import advice_lines
from strop.report.afterwards import ablation_table, afterwards_tables
from strop.report.curve import curve_notes, curve_table


def shown(table: Any) -> str:
    console = Console(width=140, record=True, file=None, quiet=False, force_terminal=False)
    with console.capture() as capture:
        console.print(table)
    return capture.get()


def figure(point: float) -> dict[str, float]:
    return {"point": point, "low": point * 0.9, "high": point * 1.1}


def step(name: str, words: str, alone: float | None, added: float | None, why_not: str | None) -> dict[str, Any]:
    figures = {"alone": alone and figure(alone), "added": added and figure(added)}
    return {"name": name, "words": words, **figures, "why_not": why_not}


ABLATION = {
    "steps": [
        step("engine", "onnxruntime -> native", 1.5, 1.5, None),
        step("precision", "the precision is f32", None, None, "the precision is f32"),
        step("settings", "threads [2]", None, 1.6, "it does not run"),
    ],
    "together": figure(1.6),
    "interaction": None,
    "words": "engine alone 1.50 x; together 1.60 x",
}
POINT = {
    "streams": 2,
    "batch": 1,
    "requests": 4,
    "automatic": True,
    "throughput_per_second": figure(312.0),
    "latency_ms": {"p50": 3.0, "p90": 4.0, "p99": None, "why": {"p99": "p99 needs 299, have 100"}},
}
CURVE = {"points": [POINT], "sweet_spot": 0, "limit": None, "words": "most throughput: 312", "sentences": ["most: 312"]}


def test_an_ablation_shows_every_step_and_why_one_has_no_figure() -> None:
    text = shown(ablation_table(ABLATION))
    assert "onnxruntime -> native" in text
    assert "1.5 (1.35 to 1.65)" in text
    assert "threads [2] (alone: it does not run)" in text
    assert "times -" in text
    assert text.count("the precision is f32") == 1


def test_a_curve_marks_its_spot_and_leaves_out_what_is_not_earned() -> None:
    document = {"curve": CURVE, "model": {"name": "net"}, "engine": "native", "threads": 2}
    text = shown(curve_table(document))
    assert "automatic <- sweet spot" in text
    assert "312 (281 to 343)" in text
    assert curve_notes(CURVE) == ["most: 312"]


def test_only_findings_that_are_there_have_tables() -> None:
    assert list(afterwards_tables({"label": "native f32"})) == []
    both = list(afterwards_tables({"label": "native f32", "ablation": ABLATION, "curve": CURVE}))
    assert len(both) == 2
    assert "most throughput: 312" in shown(both[1])


def test_advice_puts_what_to_do_first_and_shows_reasons_and_commands() -> None:
    document = {
        "model": {"name": "net"},
        "recommendations": [
            {"kind": "know", "text": "Know this.", "reason": "", "command": None, "python": None},
            {
                "kind": "do",
                "text": "Do this.",
                "reason": "1.5 x",
                "command": "strop doctor",
                "python": "strop.compile()",
            },
        ],
        "path": [{"text": "First.", "command": "strop doctor"}, {"text": "Second.", "command": None}],
    }
    lines = "\n".join(advice_lines(document))
    assert lines.index("Do this.") < lines.index("Know this.")
    assert "why: 1.5 x" in lines
    assert "command: strop doctor" in lines
    assert "2. Second." in lines
