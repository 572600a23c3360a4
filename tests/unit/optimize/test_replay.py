from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strop.optimize.options import recorded_options, replay_words
from strop.optimize.replay import ratios_agree
from strop.optimize.trial import TrialSpec


def figure(point: float, width: float = 0.05) -> dict[str, Any]:
    return {"point": point, "low": point * (1 - width), "high": point * (1 + width)}


@given(st.floats(0.1, 10), st.floats(0.001, 0.3))
def test_a_figure_agrees_with_itself(point: float, width: float) -> None:
    assert ratios_agree(figure(point, width), figure(point, width))


@given(st.floats(0.1, 10), st.floats(1.0, 3.0))
def test_agreement_does_not_depend_on_which_came_first(point: float, factor: float) -> None:
    one, other = figure(point), figure(point * factor)
    assert ratios_agree(one, other) == ratios_agree(other, one)


def test_figures_farther_apart_than_their_intervals_differ() -> None:
    assert ratios_agree(figure(1.0), figure(1.09))
    assert not ratios_agree(figure(1.0), figure(1.2))


@pytest.mark.parametrize(
    "change",
    [
        {"engine": "another"},
        {"precision": "f16"},
        {"settings": [1]},
        {"batch": 0},
        {"model": 3},
        {"more": 1},
        {"key": "0" * 16},
    ],
)
def test_a_spec_that_was_changed_is_refused(change: dict[str, Any]) -> None:
    spec = TrialSpec("m", "d", "openvino", "f32", "latency", {"threads": 2})
    assert TrialSpec.from_json(spec.to_json()) == spec
    with pytest.raises(ValueError, match="no spec of a trial"):
        TrialSpec.from_json({**spec.to_json(), **change})


def test_paths_are_recorded_so_that_they_are_found_from_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "m.onnx").touch()
    (tmp_path / "my.py").touch()
    monkeypatch.chdir(tmp_path)
    found = recorded_options(model="m.onnx", data="my.py:samples", metric="top1", shapes={"x": (1, 3)}, relative=False)
    assert found == {
        "model": str(tmp_path / "m.onnx"),
        "data": f"{tmp_path / 'my.py'}:samples",
        "metric": "top1",
        "shapes": {"x": [1, 3]},
        "relative": False,
    }
    words = replay_words(Path("s.study.db"), found)
    assert words == ["strop", "replay", "s.study.db", "--data", f"{tmp_path / 'my.py'}:samples"]
