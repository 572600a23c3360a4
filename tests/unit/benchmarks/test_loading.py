"""The figures of compiling, loading and calling: what is counted, and that nothing forbidden is imported."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from benchmarks import loading
from benchmarks.latency.probe import Probe
from benchmarks.loading_child import Refusal


def test_a_figure_is_the_tenth_percentile_with_the_probes_rates(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter(np.arange(11) / 1000)
    monkeypatch.setattr(loading, "ask_child", lambda question, cache: {"total": next(answers), "peak_mb": 7.0})
    probe = Probe(lambda: 2e9)
    figure = loading.Figure("a load", dict, "total", "ms", 3.0, lambda: Path("cache"))
    for _ in range(11):
        figure.measure(probe)
    found = figure.to_json()
    assert found["p10"] == pytest.approx(1.0)
    assert found["median"] == pytest.approx(5.0)
    assert found["probe_gflops"] == {"median": 2.0, "each": [2.0] * 11}
    assert found["peak_mb"] == 7.0
    text = loading.table([found])
    assert "1 ms" in text and "3 ms" in text


def test_fewer_than_five_repeats_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        loading.main(["call", "--repeats", "3"])
    assert "at least 5" in capsys.readouterr().err


def test_refused_packages_cannot_be_imported() -> None:
    refusal = Refusal("onnx,llvmlite")
    with pytest.raises(ModuleNotFoundError, match=r"onnx\.helper must not be needed"):
        refusal.find_spec("onnx.helper")
    assert refusal.find_spec("onnx_of_another_name") is None
    assert refusal.find_spec("json") is None
