"""Tasks from the command line and from Python: a tiny decoder, and two real models of the zoo."""

from __future__ import annotations

import importlib
import importlib.util
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from strop.model.load import load_model
from strop.optimize.api import optimize
from strop.optimize.samples import open_samples
from strop.quality.decoders.identity import identity
from strop.quality.evaluate import evaluate
from tests.end_to_end.conftest import Strop

ROOT = Path(__file__).parents[2]
GREEDY = f"{ROOT}/docs/examples/greedy_decoding.py:GreedyDecoding"


def _decoder(path: Path, *, confused: bool = False) -> Path:
    """Writes a model [1, tokens] -> [1, tokens, 10] whose next token is one less, or, confused, one more."""
    tokens = np.arange(10)
    following = np.eye(10, dtype=np.float32)[np.minimum(tokens + 1, 9) if confused else np.maximum(tokens - 1, 0)]
    vectors = np.random.default_rng(0).normal(size=(10, 32)).astype(np.float32)
    weights = [
        numpy_helper.from_array(vectors, "vectors"),
        numpy_helper.from_array(8 * np.linalg.pinv(vectors).astype(np.float32) @ following, "w"),
    ]
    nodes = [
        helper.make_node("Gather", ["vectors", "ids"], ["found"], "embed"),
        helper.make_node("MatMul", ["found", "w"], ["logits"], "head"),
    ]
    inputs = [helper.make_tensor_value_info("ids", TensorProto.INT64, [1, "tokens"])]
    outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, "tokens", 10])]
    graph = helper.make_graph(nodes, "decoder", inputs, outputs, weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def test_verify_runs_a_task_with_both_models(strop: Strop, tmp_path: Path) -> None:
    right, wrong = _decoder(tmp_path / "right.onnx"), _decoder(tmp_path / "wrong.onnx", confused=True)
    ran = strop("verify", right, wrong, "--task", GREEDY, "--max-drop", "1%", "--json")
    assert ran.code == 1, ran.stderr
    document = ran.document
    assert document["metric"] == "GreedyDecoding" and document["n"] == 5
    assert document["a"]["point"] == 1.0 and document["b"]["point"] == 0.0 and document["verdict"] == "limit exceeded"
    assert document["flips"]["total"] == 5 and document["flips"]["rows"][0]["before"] == [4, 3, 2, 1, 0]
    assert "5 of 5 predictions changed" in ran.stderr
    both = strop("verify", right, wrong, "--task", GREEDY, "--data", "x.npz", "--json")
    assert both.code == 2 and both.document["error"]["code"] == "usage.bad-option"
    none = strop("verify", right, wrong, "--json")
    assert none.code == 2 and "--task" in none.document["error"]["hint"]


def test_a_search_times_what_a_task_feeds(tmp_path: Path) -> None:
    class Shortest:
        higher_is_better = True
        fed: list[int] = []

        def samples(self):
            return [((3,), [2, 1, 0]), ((5, 2), [1, 0]), ((4,), [3, 2, 1, 0])]

        def predict(self, run, sample):
            tokens = list(sample)
            while tokens[-1] != 0 and len(tokens) < 9:
                self.fed.append(len(tokens))
                tokens.append(int(run({"ids": np.array([tokens], np.int64)})["logits"][0, -1].argmax()))
            return tokens[len(sample) :]

        def score(self, predictions, targets):
            return float(np.mean([p == t for p, t in zip(predictions, targets, strict=True)]))

    task = Shortest()
    model = _decoder(tmp_path / "decoder.onnx")
    result = optimize(model, task=task, engines=["onnxruntime"], output=tmp_path / "d.strop", budget=15)
    assert result.bundle.exists() and result.document["confirmed"]
    assert result.document["accuracy"]["metric"] == "Shortest"
    assert result.document["accuracy"]["before"]["point"] == 1.0
    assert set(task.fed) == {1, 2, 3, 4}


def _benchmark(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT))
    return importlib.import_module(f"benchmarks.tasks.{name}")


def _value(model: Path, task: object) -> float:
    with ExitStack() as stack:
        loaded = load_model(model)
        data = open_samples(None, inputs=loaded.inputs, original=loaded, stack=stack, task=task)
        assert len(data.calls(limit=20)) == 20
        return evaluate(data._run, data, decode=identity, metric=data.metric).value.point


def test_sentence_pairs_of_a_real_encoder(zoo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = _benchmark("sentence_pairs", monkeypatch)
    if importlib.util.find_spec("tokenizers") is None:
        pytest.skip("tokenizers is not installed")
    try:
        model = pairs.model_path()
    except FileNotFoundError as error:
        pytest.skip(str(error))
    assert 0.7 < _value(model, pairs.SentencePairs(60)) < 0.95  # 0.82 on the whole test set


def test_voice_activity_with_the_state_threaded(zoo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    voice = _benchmark("voice_activity", monkeypatch)
    task = voice.VoiceActivity(3)
    assert 0.1 < np.concatenate([target for _, target in task.samples()]).mean() < 0.9  # it hears speech, and pauses
    assert _value(voice.model_path(), task) == 1.0
