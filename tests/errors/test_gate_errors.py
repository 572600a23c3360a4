from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from strop.errors import ModelError
from strop.optimize.baseline import Baseline
from strop.optimize.gate_candidate import EngineChoice, Timed, make_candidate
from strop.testing.models import multilayer_perceptron


def test_a_model_of_other_inputs_than_its_baseline_says_what_both_take(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(multilayer_perceptron().SerializeToString())
    sample = {"image": np.zeros((1, 3, 8, 8), np.float32)}
    baseline = Baseline(tmp_path / "b", {}, {"inputs": []}, samples=(sample,), outputs=({},))
    with pytest.raises(ModelError) as caught:
        make_candidate(str(path), tmp_path, baseline=baseline, choice=EngineChoice(), timed=Timed())
    assert caught.value.code == "gate.other-model"
    assert "x float32" in str(caught.value.got) and "image float32 [1, 3, 8, 8]" in str(caught.value.expected)
    assert "--update" in caught.value.hint
