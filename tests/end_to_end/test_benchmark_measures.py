"""The benchmark runs engines against each other on a network of the suite."""

from __future__ import annotations

from pathlib import Path

import pytest
from benchmarks import loading
from benchmarks.latency import measuring
from benchmarks.latency.table import table
from benchmarks.networks.registry import NETWORKS


def test_networks_are_measured_without_an_engine_that_is_not_there(tmp_path: Path) -> None:
    network = NETWORKS["mlp"]
    file = tmp_path / "mlp.onnx"
    file.write_bytes(network.build().SerializeToString())
    found = measuring.measure_network(network, file, threads=1, seconds=0.2, engines=("onnxruntime", "nowhere"))
    assert found["engines"]["onnxruntime"]["status"] == "ok"
    assert found["engines"]["onnxruntime"]["rounds"] >= 8
    assert 0 < found["engines"]["onnxruntime"]["p10_ms"] <= found["engines"]["onnxruntime"]["latency_ms"]["high"]
    assert found["engines"]["nowhere"]["status"] == "unsupported"
    assert found["ratios"] == {}
    assert found["probe"]["gflops"]["point"] > 0
    assert table([found], list(NETWORKS))


def test_ratios_are_of_seconds_over_ours(tmp_path: Path) -> None:
    network = NETWORKS["mlp"]
    file = tmp_path / "mlp.onnx"
    file.write_bytes(network.build().SerializeToString())
    found = measuring.measure_network(network, file, threads=1, seconds=0.2, engines=("onnxruntime", "reference"))
    slower = found["ratios"]["reference/onnxruntime"]
    medians = {name: engine["latency_ms"]["point"] for name, engine in found["engines"].items()}
    assert slower["low"] <= slower["point"] <= slower["high"]
    assert slower["point"] == pytest.approx(medians["reference"] / medians["onnxruntime"], rel=0.5)


def test_a_fresh_process_times_compiling_loading_and_calling(tmp_path: Path) -> None:
    place = loading.Workplace(tmp_path, "onnxruntime")
    compiled = loading.ask_child(place.question("mlp", "compile", copied=True), place.empty_cache())
    assert compiled["compile"] > 0 and compiled["import"] > 0 and compiled["first_run"] > 0
    loaded = loading.ask_child(place.bundle("mlp"), place.warm_cache())
    assert loaded["total"] == pytest.approx(loaded["warm"] + loaded["beyond_warm"])
    assert 0 < loaded["warm"] < loaded["total"]
    assert 0 < loading.ask_child(place.question("mlp", "call"), place.warm_cache())["call"] < 0.1
