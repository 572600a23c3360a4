"""Advice over every combination of what a user may have, and the order of quantization leaf by leaf."""

from __future__ import annotations

import dataclasses
import importlib
import itertools
import shlex

import pytest
import typer
from typer.main import get_command

from strop.cli.app import build
from strop.measure.estimate import Estimate, Speedup, Verdict
from strop.optimize.advice.path import path_for
from strop.optimize.advice.quantization import pays, progress_of
from strop.optimize.advice.quantization_order import Leaf, Progress, next_in_order
from strop.optimize.advice.recommendation import Recommendation
from strop.optimize.advice.rules import recommend
from strop.optimize.advice.situation import (
    Bound,
    EngineFigure,
    FirstInference,
    Int8Figure,
    Measured,
    ModelFacts,
    Resources,
    Situation,
)
from strop.optimize.advice.streams import batch_for
from strop.quantize.config import QuantizeConfig

APPLICATION = get_command(build())
MODEL = ModelFacts(
    "net",
    is_quantized=False,
    is_half=False,
    macs=10**9,
    weight_bytes=14_000_000,
    zero_share=0.0,
    int8_operators=53,
    int8_mac_share=0.98,
    free_batch=True,
)


def speedup(ratio: float, *, spread: float = 0.01) -> Speedup:
    low, high = ratio * (1 - spread), ratio * (1 + spread)
    if low >= 0.97 and high <= 1.03:
        verdict = Verdict.SAME
    else:
        verdict = Verdict.FASTER if low > 1 else Verdict.SLOWER if high < 1 else Verdict.CANNOT_TELL
    return Speedup(Estimate(ratio, low, high, 0.99, 20, "ratio"), verdict, 0.03)


def engine(name: str, milliseconds: float, ratio: float) -> EngineFigure:
    seconds = milliseconds / 1e3
    return EngineFigure(name, Estimate(seconds, seconds, seconds, 0.95, 50), speedup(ratio), 90_000_000)


MEASURED = Measured(
    engines=(engine("onnxruntime", 8.0, 1.0), engine("native", 5.0, 1.6), engine("openvino", 7.0, 1.14)),
    best="native",
    one_thread=speedup(0.6),
    cores=2,
    half={"onnxruntime": speedup(0.45)},
    sparse=speedup(1.0),
    bound=Bound(0.009, 0.0089, 0.006, 0.001, "L2"),
    int8=Int8Figure("native", 2.4, 3.9, speedup(1.8), 0),
    streams=speedup(1.4),
    batch=speedup(1.0),
    synchronous=speedup(0.6),
    first=FirstInference({"onnxruntime": 140.0, "native": 60.0}),
)

COMBINATIONS = [
    Resources(
        model="a folder/net.onnx",
        data="data.npz" if data else None,
        labels="labels.csv" if labels else None,
        labelled=labels,
        training=training,
        seconds=seconds,
        max_drop=limit,
        int8_instructions=instructions,
        goal=goal,
    )
    for data, labels, training, seconds, limit, instructions, goal in itertools.product(
        (False, True),
        (False, True),
        (False, True),
        (None, 30.0, 600.0, 7200.0),
        (None, "1%"),
        (False, True),
        ("latency", "throughput", "mixed", "first-inference", "memory"),
    )
    if data or not labels
]


def check_command(line: str) -> None:
    """Parses a line with the real commands: a command or an option that is not there fails."""
    words = shlex.split(line)
    assert words[0] == "strop"
    assert isinstance(APPLICATION, typer.core.TyperGroup)
    command = APPLICATION.commands[words[1]]
    command.make_context(words[1], words[2:])  # raises for what it does not know


def check(recommendation: Recommendation) -> None:
    assert recommendation.text.endswith(".")
    if recommendation.command:
        check_command(recommendation.command)
    if recommendation.python and "QuantizeConfig(" in recommendation.python:
        options = recommendation.python.split("QuantizeConfig(")[1].rstrip(")")
        known = {field.name for field in dataclasses.fields(QuantizeConfig)}
        assert {part.split("=")[0].strip() for part in options.split(", ") if "=" in part} <= known


def test_every_combination_of_resources_has_a_path_of_commands_that_exist() -> None:
    reached = set()
    for resources in COMBINATIONS:
        steps = path_for(resources, MODEL)
        names = [step.name for step in steps]
        reached.update(names)
        assert names[0] == "convert"
        assert len(names) == len(set(names))
        lines = [step.command for step in steps if step.command]
        for line in lines:
            check_command(line)
            assert resources.data is not None or "--data" not in line
            assert resources.labelled or "--max-drop" not in line
        assert ("train with quantization" in names) == (
            resources.training and resources.data is not None and resources.seconds in (None, 7200.0)
        )
        assert ("collect data" in names) == (resources.data is None)
        if resources.data is not None and resources.max_drop and not resources.labelled:
            assert "get labels" in names
    assert reached == {
        "convert",
        "collect data",
        "expect size, not speed",
        "get labels",
        "search, held to labels",
        "search, held to agreement",
        "quantize",
        "verify",
        "accuracy control",
        "train with quantization",
        "no time to train",
        "curve",
        "threads",
        "first inference",
        "memory",
    }


def test_what_cannot_be_quantized_has_a_path_without_quantization() -> None:
    resources = Resources("net.onnx", data="d.npz", labelled=True, labels="l.csv", training=True)
    for changes, name in (
        ({"is_quantized": True}, "quantized already"),
        ({"int8_operators": 0}, "nothing to quantize"),
    ):
        names = [step.name for step in path_for(resources, dataclasses.replace(MODEL, **changes))]
        assert names == ["convert", name, "threads"]


@pytest.mark.parametrize(
    ("progress", "leaf"),
    [
        (Progress(quantized=True), Leaf.ALREADY),
        (Progress(operators=0), Leaf.NOTHING),
        (Progress(pays=False), Leaf.NOT_WORTH_IT),
        (Progress(data=False), Leaf.COLLECT_DATA),
        (Progress(), Leaf.POST_TRAINING),
        (Progress(post_training="kept"), Leaf.KEEP),
        (Progress(post_training="lost", samples=100, available=900), Leaf.MORE_SAMPLES),
        (Progress(post_training="lost", samples=100, available=100), Leaf.OTHER_RANGES),
        (Progress(post_training="lost", samples=300, available=900, ranges=True), Leaf.LAYERS_IN_FLOAT),
        (
            Progress(post_training="lost", samples=300, available=900, ranges=True, layers=True, labelled=True),
            Leaf.ACCURACY_CONTROL,
        ),
        (
            Progress(post_training="lost", samples=300, available=300, ranges=True, layers=True, training=True),
            Leaf.TRAINING,
        ),
        (Progress(post_training="lost", samples=300, available=300, ranges=True, layers=True), Leaf.STAY_FLOAT),
    ],
)
def test_each_leaf_of_the_order_of_quantization_is_reached(progress: Progress, leaf: Leaf) -> None:
    assert next_in_order(progress) is leaf


def test_all_leaves_are_reached_and_repairs_come_before_training() -> None:
    reached = set()
    flags = (False, True)
    for post, samples, ranges, layers, control, labelled, training in itertools.product(
        ("untried", "kept", "lost"), (50, 300), flags, flags, flags, flags, flags
    ):
        progress = Progress(
            post_training=post,
            samples=samples,
            available=300,
            ranges=ranges,
            layers=layers,
            control=control,
            labelled=labelled,
            training=training,
        )
        leaf = next_in_order(progress)
        reached.add(leaf)
        if leaf is Leaf.TRAINING:
            assert samples == 300
            assert ranges
            assert layers
            assert control or not labelled
    assert reached == set(Leaf) - {Leaf.ALREADY, Leaf.NOTHING, Leaf.NOT_WORTH_IT, Leaf.COLLECT_DATA}


def test_every_combination_gets_advice_whose_commands_exist() -> None:
    for resources in COMBINATIONS:
        found = recommend(Situation(resources, MODEL, MEASURED))
        codes = [one.code for one in found]
        assert len(codes) == len(set(codes))
        assert "conversion.engine" in codes
        for one in found:
            check(one)


def test_nothing_measured_gives_advice_that_says_so() -> None:
    missing = dict.fromkeys(
        ("engines", "one_thread", "bound", "int8", "streams", "batch", "half", "sparse", "first"),
        "the time for checks was used up",
    )
    measured = Measured(cores=2, not_measured=missing)
    for resources in COMBINATIONS:
        found = recommend(Situation(resources, MODEL, measured))
        for one in found:
            check(one)
            if one.kind == "do not":
                assert one.code == "training.no-time", f"{one.code} rests on nothing"
        assert "not measured: the time for checks was used up" in " ".join(one.reason for one in found)


def test_the_examples_of_the_guide_come_out() -> None:
    assert batch_for(16, 2) == 4
    assert batch_for(1, 4) == 1
    assert batch_for(64, 1) == 32


def test_a_measured_speed_overrules_a_predicted_one() -> None:
    assert pays(None) is None
    assert pays(Int8Figure("native", None, None, None)) is None
    assert pays(Int8Figure("native", 2.0, 4.0, None)) is True
    assert pays(Int8Figure("native", 1.01, 4.0, None)) is False
    assert pays(Int8Figure("native", 2.0, 4.0, speedup(0.8))) is False
    assert pays(Int8Figure("native", 1.0, 1.0, speedup(1.4))) is True
    assert pays(Int8Figure("native", 2.0, 4.0, speedup(1.0, spread=0.2))) is True


def codes(measured: Measured, model: ModelFacts = MODEL, **resources: object) -> dict[str, Recommendation]:
    given = Resources("net.onnx", **resources)  # type: ignore[arg-type]
    return {one.code: one for one in recommend(Situation(given, model, measured))}


def test_a_model_near_chance_gets_one_piece_of_advice() -> None:
    found = codes(dataclasses.replace(MEASURED, near_chance="top1 0.1 of 10 classes"), data="d.npz", labelled=True)
    assert list(found) == ["precondition.near-chance"]


def test_each_rule_carries_its_figures() -> None:
    found = codes(MEASURED)
    assert "native 1.60 x" in found["conversion.engine"].reason
    assert "onnxruntime 0.45 x" in found["half.no-speed"].reason
    assert found["half.no-speed"].kind == "do not"
    assert "0% of the weights are zero" in found["sparsity.no-speed"].reason
    assert "batch 4 gives 1.00 x" in found["batching.poor"].reason
    assert "use streams" in found["batching.poor"].text
    assert "0.60 x" in found["streams.synchronous"].reason
    assert "predicted before quantizing: at most 2.40 x" in found["quantization.collect-data"].reason
    assert "measured on native: 1.80 x" in found["quantization.collect-data"].reason
    assert "random inputs" in found["quantization.collect-data"].reason
    assert "98%" in found["quantization.collect-data"].reason
    assert found["bound.arithmetic"].evidence["call_ms"] == pytest.approx(9.0)


def test_overhead_and_bandwidth_are_told_apart() -> None:
    small = dataclasses.replace(MEASURED, bound=Bound(15e-6, 3e-6, 0.5e-6, 0.1e-6, "L2"))
    found = codes(small)
    assert "overhead: 12 us of 15 us" in found["overhead.bound"].reason
    large = dataclasses.replace(MEASURED, bound=Bound(0.010, 0.00999, 0.001, 0.008, "memory"))
    found = codes(large)
    assert found["bound.memory"].kind == "do"
    assert "quarter" in found["bound.memory"].text
    assert "overhead.small" in found
    hidden = dataclasses.replace(MEASURED, bound=Bound(0.010, None, None, None, "memory"))
    assert not any(code.startswith(("overhead", "bound")) for code in codes(hidden))


def test_what_pays_is_advised_and_what_is_unclear_is_not() -> None:
    better = dataclasses.replace(
        MEASURED,
        batch=speedup(1.5),
        sparse=speedup(1.4),
        half={"openvino": speedup(1.6)},
        one_thread=speedup(1.2),
        streams=speedup(0.9),
    )
    found = codes(better, goal="throughput")
    assert found["batching.pays"].kind == "do"
    assert {"sparsity.pays", "half.faster", "threads.one", "streams.none"} <= set(found)
    noisy = speedup(1.0, spread=0.3)
    unclear = dataclasses.replace(MEASURED, batch=noisy, sparse=noisy, half={"onnxruntime": noisy}, one_thread=noisy)
    found = codes(unclear)
    assert {"batching.unclear", "sparsity.unclear", "half.unclear", "threads.unclear"} <= set(found)


def test_lost_accuracy_goes_on_in_the_order_and_training_comes_last() -> None:
    lost = Int8Figure("native", 2.4, 3.9, speedup(1.8), 100, 900, "lost", "top1 0.72 -> 0.60, drop +0.12")
    given = {"data": "d.npz", "labels": "l.csv", "labelled": True, "max_drop": "1%", "training": True}
    found = codes(dataclasses.replace(MEASURED, int8=lost), **given)
    assert "drop +0.12" in found["quantization.more-samples"].reason
    assert "--samples 900" in str(found["quantization.more-samples"].command)
    assert found["training.quantization-aware"].kind == "do"
    kept = dataclasses.replace(lost, accuracy="kept", accuracy_words="top1 0.72 -> 0.72")
    found = codes(dataclasses.replace(MEASURED, int8=kept), **given)
    assert "strop optimize" in str(found["quantization.keep"].command)
    assert found["training.later"].kind == "do not"
    slower = dataclasses.replace(kept, speedup=speedup(0.7))
    found = codes(dataclasses.replace(MEASURED, int8=slower), **given)
    assert {"quantization.not-worth-it", "training.not-worth-it"} <= set(found)


def test_the_first_inference_is_told_where_it_dominates() -> None:
    slow = dataclasses.replace(MEASURED, first=FirstInference({"onnxruntime": 900.0}))
    assert "180 warm inferences" in codes(slow)["first-inference.dominates"].reason
    assert "first-inference.dominates" not in codes(MEASURED)
    assert codes(MEASURED, goal="first-inference")["first-inference.dominates"].kind == "do"
    assert "native" in codes(MEASURED, goal="memory")["memory.least"].reason


def test_a_model_in_16_bits_or_8_bits_is_told_so() -> None:
    assert codes(MEASURED, dataclasses.replace(MODEL, is_half=True))["half.export"].kind == "do"
    found = codes(dataclasses.replace(MEASURED, int8=None), dataclasses.replace(MODEL, is_quantized=True))
    assert "quantization.already" in found
    assert "batching.fixed" in codes(MEASURED, dataclasses.replace(MODEL, free_batch=False))


def test_progress_follows_the_checks() -> None:
    situation = Situation(Resources("net.onnx", data="d.npz"), MODEL, dataclasses.replace(MEASURED, int8=None))
    assert next_in_order(progress_of(situation)) is Leaf.POST_TRAINING


def test_every_rule_has_a_file_of_its_own() -> None:
    rules = importlib.import_module("strop.optimize.advice.rules")
    homes = [rule.__module__ for rule in rules.RULES]
    assert len(homes) == len(set(homes))
