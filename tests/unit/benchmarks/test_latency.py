"""The benchmark's bookkeeping: ratios, means, what a stopped run goes on with, the table and the picture."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from benchmarks.latency import __main__ as command
from benchmarks.latency.picture import picture
from benchmarks.latency.probe import Probe
from benchmarks.latency.records import Records, geometric_means, summary
from benchmarks.latency.table import table
from benchmarks.networks.registry import NETWORKS


def ratio(point: float, half_width: float = 0.1) -> dict[str, float]:
    return {"point": point, "low": point / (1 + half_width), "high": point * (1 + half_width), "level": 0.99, "n": 20}


def document(network: str, threads: int = 1, *, faster: float = 1.5, fingerprint: str = "here") -> dict[str, Any]:
    engine = {"status": "ok", "version": "1", "p10_ms": 2.0, "percent_of_limit": 50.0, "relative_l2": 1e-6}
    return {
        "network": network,
        "title": NETWORKS[network].title,
        "threads": threads,
        "machine": {"fingerprint": fingerprint, "cpu_name": "a CPU", "isa": "x86-64-v4"},
        "engines": {"native": engine, "openvino": engine, "onnxruntime": {"status": "failed", "reason": "it broke"}},
        "ratios": {"openvino/native": ratio(faster)},
        "native": {"share": {"nodes": 0.5, "time": 0.25}, "segments": [{"nodes": ["a"], "reason": "no kernel: LSTM"}]},
        "probe": {"gflops": ratio(150.0)},
    }


def test_geometric_mean_leaves_the_perceptron_out() -> None:
    documents = [document("resnet18", faster=2.0), document("resnet50", faster=0.5), document("mlp", faster=20.0)]
    mean = geometric_means(documents)["openvino/native"]
    assert mean["point"] == pytest.approx(1.0)
    assert mean["networks"] == 2
    assert math.log(mean["high"]) == pytest.approx(math.log(1.1) * math.sqrt(2) / 2)
    assert mean["low"] == pytest.approx(1 / mean["high"])


def test_a_stopped_run_goes_on_and_another_one_begins_anew(tmp_path: Path) -> None:
    records = Records(tmp_path)
    run = {"wanted": [("resnet18", 1), ("mlp", 1)], "seconds": 5.0}
    assert records.begin(run, fresh=False) == set()
    records.add(document("resnet18"))
    assert Records(tmp_path).begin(run, fresh=False) == {("resnet18", 1)}
    assert Records(tmp_path).begin({**run, "seconds": 6.0}, fresh=False) == set()
    records.add(document("resnet18"))
    assert Records(tmp_path).begin({**run, "seconds": 6.0}, fresh=True) == set()


def test_a_finished_run_leaves_documents_and_summary_of_this_machine(tmp_path: Path) -> None:
    records = Records(tmp_path)
    records.begin({}, fresh=False)
    records.add(document("resnet50", fingerprint="elsewhere"))
    records.add(document("resnet18"))
    records.add(document("mlp", threads=2))
    records.finish("here")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "mlp-2.json",
        "resnet18-1.json",
        "resnet50-1.json",
        "summary.json",
    ]
    found = json.loads((tmp_path / "summary.json").read_text())
    assert [(row["network"], row["threads"]) for row in found["networks"]] == [("mlp", 2), ("resnet18", 1)]
    assert found["geometric_means"]["1"]["openvino/native"]["point"] == pytest.approx(1.5)
    assert records.begin({}, fresh=False) == set()


def test_a_summary_of_nothing_is_empty() -> None:
    assert summary([])["networks"] == []


def test_table_shows_times_ratios_and_what_does_not_run() -> None:
    text = table([document("mlp"), document("resnet18")], list(NETWORKS))
    lines = text.splitlines()
    assert lines[2].startswith("ResNet-18")
    assert "1.50 [1.36, 1.65]" in lines[2]
    assert "50% / 25%" in lines[2]
    assert lines[3].startswith("MLP 64-256-256-10*")
    assert lines[4].startswith("geometric mean of 1 ")
    assert "onnxruntime: it broke (all)" in text
    assert "not native: no kernel: LSTM (all)" in text


def test_command_measures_only_what_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[tuple[str, int]] = []
    broken = {("squeezenet11", 1)}

    def measure(network: Any, file: Path, *, threads: int, seconds: float, engines: Any) -> dict[str, Any]:
        if (network.name, threads) in broken:
            raise KeyboardInterrupt
        measured.append((network.name, threads))
        return document(network.name, threads, fingerprint=command.machine().fingerprint)

    monkeypatch.setattr(command, "measure_network", measure)
    monkeypatch.setattr(command, "network_file", lambda network, folder: Path("unused"))
    words = ["--networks", "mlp,squeezenet11", "--threads", "1", "--output", str(tmp_path)]
    with pytest.raises(KeyboardInterrupt):
        command.main(words)
    broken.clear()
    assert command.main(words) == 0
    assert measured == [("mlp", 1), ("squeezenet11", 1)]
    assert command.main(words) == 0
    assert measured == [("mlp", 1), ("squeezenet11", 1)] * 2


def test_unknown_networks_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(["--networks", "vgg16"])
    assert "'vgg16' is none of resnet18" in capsys.readouterr().err


def test_probe_remembers_the_rates_of_its_turns() -> None:
    rates = iter([1e9, 2e9, 3e9, 4e9])
    probe = Probe(lambda: next(rates))
    assert probe.rate is None
    assert len(probe.block(3)) == 3
    assert probe.rate is not None and probe.rate.point == 3e9


def test_picture_draws_a_bar_with_its_interval_for_each_network() -> None:
    text = picture([document("resnet18", faster=1.4), document("mlp", faster=9.0)])
    root = ElementTree.fromstring(text)
    words = " ".join("".join(node.itertext()) for node in root.iter("{http://www.w3.org/2000/svg}text"))
    assert "ResNet-18, 50% native" in words and "1.40" in words and "a CPU" in words
    bars = [node for node in root.iter("{http://www.w3.org/2000/svg}rect") if node.get("class") == "bar"]
    assert len(bars) == 3  # and the mean
    assert np.all([float(bar.get("width", "0")) > 0 for bar in bars])
    assert "prefers-color-scheme: dark" in text


def test_picture_needs_figures_of_ours() -> None:
    without = document("resnet18") | {"ratios": {"onnxruntime/openvino": ratio(1.1)}}
    with pytest.raises(ValueError, match="no figures"):
        picture([without])
