"""Other forms of the model on the fastest engine: 8 bits, sparse weights, 16-bit floats."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace

from strop.compiler.probe import attainable
from strop.engines.registry import engines
from strop.engines.remote import RemoteModel
from strop.errors import LimitError, StropError
from strop.machine import machine
from strop.measure.estimate import Speedup
from strop.measure.turns import Turn
from strop.model.half_precision import in_half_precision
from strop.model.model import Model
from strop.model.random_inputs import make_inputs
from strop.model.weights import with_zeros
from strop.optimize.advice.commands import BASELINE
from strop.optimize.advice.examination import Examination
from strop.optimize.advice.prediction import predict_int8
from strop.optimize.advice.situation import SPARSE_SHARE, Int8Figure
from strop.passes.base import run_passes
from strop.passes.pipeline import before_quantization
from strop.quality.contract import DataSet
from strop.quality.data import open_data
from strop.quality.split import evenly_spread
from strop.quantize.config import QuantizeConfig, config_for
from strop.quantize.quantize import quantize_model

RANDOM_SAMPLES = 4
CALIBRATION_SAMPLES = 100
JUDGED_SAMPLES = 200


def check_baseline(examination: Examination) -> None:
    """Finds `baseline_words` and `near_chance`: what the model reaches on labelled data."""
    if examination.data is None or examination.judge is None or not examination.judge.needs_labels:
        examination.miss("baseline", "no labelled data were given")
        return
    with ExitStack() as stack:
        remote = examination.open(stack, BASELINE)
        examination.request_seconds = min(remote.block(2))
        try:
            found = examination.judge.baseline(remote, _few(examination, examination.data))
        except LimitError as error:
            if error.code != "quality.near-chance":
                raise
            examination.found["near_chance"] = str(error.got)
            return
    examination.found["baseline_words"] = found.words
    examination.found["near_chance"] = found.near_chance


def check_int8(examination: Examination) -> None:
    """Finds `int8`: the prediction, noted before anything is quantized, then speed and, with data, accuracy.

    Each engine runs the form made for it; all race against float32 on the engine that is fastest with that.
    """
    if examination.model.is_quantized or examination.int8_operators == 0:
        return
    rates, here = attainable(), machine()
    rate = rates.int8[here.isa] / rates.flops[here.isa] if here.isa in rates.int8 else None
    bound = examination.found.get("bound")
    busy = bound.operations / bound.call if bound is not None and bound.operations is not None else 1.0
    predicted = predict_int8(examination.int8_mac_share, rate, busy_share=busy)
    found = Int8Figure(examination.best, predicted, rate, None)
    examination.found["int8"] = found
    data, forms = _calibration(examination), dict[QuantizeConfig, Model]()
    with ExitStack() as stack:
        before = examination.open(stack, examination.best)
        remotes: dict[str, RemoteModel] = {}
        for name in [one.name for one in examination.found["engines"] if one.speedup is not None or one.latency]:
            try:
                config = config_for(name)
                if config not in forms:
                    forms[config] = quantize_model(examination.model, data, samples=len(data), config=config).model
                remotes[name] = examination.open(stack, name, forms[config])
                remotes[name](examination.inputs)
            except StropError as error:
                remotes.pop(name, None)
                examination.not_measured["int8"] = f"{name}: {error.in_a_line}"
        if not remotes:
            return
        raced = examination.race({"f32": before, **remotes})
        engine = max(remotes, key=lambda name: raced[name].speedup.ratio.point)
        found = replace(found, engine=engine, speedup=raced[engine].speedup, against=examination.best)
        if examination.data is not None:
            found = replace(found, calibrated_on=len(data), available=len(examination.data))
        examination.found["int8"] = found
        if examination.data is None or examination.judge is None:
            return
        judged = examination.judge.judge(before, remotes[engine], _few(examination, examination.data))
        examination.found["int8"] = replace(
            found,
            accuracy="kept" if judged.within else "lost",
            accuracy_words=judged.words,
        )


def check_sparsity(examination: Examination) -> None:
    """Finds `sparse`: the model with most weights zero against the model as it is."""
    with ExitStack() as stack:
        sparse = with_zeros(examination.model, SPARSE_SHARE)
        turns: dict[str, Turn] = {
            "as it is": examination.open(stack, examination.best),
            "sparse": examination.open(stack, examination.best, sparse),
        }
        examination.found["sparse"] = examination.race(turns)["sparse"].speedup


def check_half_precision(examination: Examination) -> None:
    """Finds `half`: the model in float16 against float32, on the baseline and on OpenVINO where it is there."""
    if examination.model.is_quantized:
        raise LimitError("limit.budget", "the model is quantized", hint="give the float model")
    prepared, _ = run_passes(examination.model, before_quantization())  # weights stored in 8 bits become floats
    half = in_half_precision(prepared)
    found = {}
    names = [name for name in (BASELINE, "openvino") if engines()[name].available().available]
    for name in names:
        try:
            found[name] = _half_on(examination, name, half)
        except StropError as error:
            examination.not_measured["half"] = f"{name}: {error.in_a_line}"
    examination.found["half"] = found


def _half_on(examination: Examination, engine: str, half: Model) -> Speedup:
    with ExitStack() as stack:
        turns: dict[str, Turn] = {
            "f32": examination.open(stack, engine),
            "f16": examination.open(stack, engine, half),
        }
        return examination.race(turns)["f16"].speedup


def _calibration(examination: Examination) -> DataSet:
    """Returns the user's samples as far as time allows, else random ones: speed does not depend on the ranges."""
    if examination.data is None:
        shapes = {name: array.shape for name, array in examination.inputs.items()}
        samples = [make_inputs(examination.model, shapes=shapes, seed=seed) for seed in range(RANDOM_SAMPLES)]
        return open_data(samples, inputs=examination.model.inputs)
    affordable = int(0.2 * examination.budget.remaining / (4 * examination.request_seconds + 1e-9))
    return evenly_spread(examination.data, max(2, min(CALIBRATION_SAMPLES, affordable)))


def _few(examination: Examination, data: DataSet) -> DataSet:
    affordable = int(0.2 * examination.budget.remaining / (3 * examination.request_seconds + 1e-9))
    return evenly_spread(data, max(2, min(JUDGED_SAMPLES, affordable)))
