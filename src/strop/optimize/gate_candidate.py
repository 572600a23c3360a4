"""The new form in a gate: a bundle as it is, or an ONNX file packed into one, so that both sides load the same way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from strop.engines.contract import Settings
from strop.engines.registry import get_engine
from strop.errors import ModelError, UsageError
from strop.loader import open_bundle
from strop.loader.format import MAGIC
from strop.measure.clock import timestamp
from strop.model.load import load_model
from strop.model.model import Model
from strop.model.preprocess import Preprocess
from strop.model.specs import TensorSpec
from strop.optimize.baseline import MOST_SAMPLES, Arrays, Baseline
from strop.optimize.benchmarking import open_first
from strop.optimize.engine_list import chosen_engine
from strop.optimize.sample_inputs import inputs_for
from strop.quality.data import open_data
from strop.runtime.bundle import write_bundle
from strop.runtime.run import read_inputs


@dataclass(frozen=True, slots=True)
class Timed:
    """What both sides are timed on, as a user says it: an `.npz` file of one request, or data; None: the baseline's."""

    input_file: Path | None = None
    data: object = None
    preprocess: str | Preprocess | None = None
    samples: int = 8


@dataclass(frozen=True, slots=True)
class EngineChoice:
    """How an ONNX file is to be run; None leaves it as the baseline has it, and to `auto` where there is none."""

    engine: str | None = None
    threads: int | None = None
    objective: Literal["latency", "throughput"] | None = None

    @property
    def is_given(self) -> bool:
        """Whether anything was chosen."""
        return any(value is not None for value in (self.engine, self.threads, self.objective))


@dataclass(frozen=True, slots=True)
class Candidate:
    """The new form as a bundle: where it lies, its manifest, and what it is timed on."""

    path: Path
    manifest: Mapping[str, Any]
    samples: tuple[Arrays, ...]

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """What the model takes."""
        return _specs(self.manifest)

    @property
    def engine(self) -> str:
        """The engine that it is run with."""
        return str(self.manifest["engine"]["name"])

    @property
    def version(self) -> str:
        """That engine's version here."""
        return get_engine(self.engine).available().version


def make_candidate(
    model: str,
    folder: Path,
    *,
    baseline: Baseline | None,
    choice: EngineChoice,
    timed: Timed,
    shapes: Mapping[str, Sequence[int]] | None = None,
    reuse_samples: bool = True,
) -> Candidate:
    """Returns the model in the file `model`, packed into `folder` where it is no bundle yet.

    Samples are the user's, else the baseline's (reuse_samples), else those in the bundle's self-test, else random ones.
    Raises ModelError `gate.other-model` where the baseline's samples are not for this model.
    """
    reused = baseline if reuse_samples else None
    if is_bundle_file(model):
        if choice.is_given or shapes:
            raise UsageError(
                "usage.bad-option",
                "a bundle has its engine, settings and shapes in it",
                got="--engine, --threads, --objective or --shape",
                hint="leave them away, or give the ONNX file",
            )
        with open_bundle(model) as bundle:
            manifest = bundle.manifest
            known = replace(timed, preprocess=timed.preprocess or manifest["preprocess"])
            samples = _given(known, _specs(manifest)) or _of_baseline(reused, _specs(manifest), model)
            if not samples:
                vector = manifest["tests"]["vectors"][0]["inputs"]
                samples = ({name: bundle.array(member).copy() for name, member in vector.items()},)
        return Candidate(Path(model), manifest, samples)
    loaded = load_model(model, shapes=shapes)
    if reused is not None and not shapes:
        loaded = _with_shapes_of(reused, loaded, model)
    samples = _given(timed, loaded.inputs) or _of_baseline(reused, loaded.inputs, model)
    samples = samples or (inputs_for(loaded, None),)
    if choice.is_given or baseline is None:
        engines, settings = chosen_engine(
            choice.engine or "auto", loaded, threads=choice.threads, objective=choice.objective or "latency"
        )
    else:
        recorded = baseline.manifest["engine"]
        engines = [recorded["name"]]
        settings = Settings().updated({name: value for name, value in recorded["settings"].items() if name != "cache"})
        settings = settings.updated({"precision": "int8" if loaded.is_quantized else "f32"})
    saved = loaded.save(folder / "model.onnx")
    with open_first(saved, engines, settings, samples[0]) as remote:
        engine, outputs = remote.engine, remote(samples[0])
    path = write_bundle(
        folder / "candidate.strop",
        model=loaded,
        engine=engine,
        settings=settings,
        test_vectors=[(samples[0], outputs)],
        created=timestamp(),
    )
    with open_bundle(path) as bundle:
        return Candidate(path, bundle.manifest, samples)


def is_bundle_file(model: str) -> bool:
    """Whether the file begins as a bundle does, whatever it is called."""
    try:
        with Path(model).open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError:
        return False  # loading it as a model says what is wrong


def _given(timed: Timed, inputs: tuple[TensorSpec, ...]) -> tuple[Arrays, ...]:
    """Returns the user's samples, none where the user gave none; evenly spread over the data."""
    if timed.input_file is not None:
        return (read_inputs(timed.input_file, inputs),)
    if timed.data is None:
        return ()
    if not 1 <= timed.samples <= MOST_SAMPLES:
        raise UsageError(
            "usage.bad-option",
            "a gate times a few samples",
            got=timed.samples,
            expected=f"1 to {MOST_SAMPLES}",
            hint="--samples 8",
        )
    data = open_data(timed.data, inputs=inputs, preprocess=timed.preprocess)
    chosen = np.unique(np.linspace(0, len(data) - 1, min(timed.samples, len(data))).astype(int))
    return tuple(sample.inputs for sample in data.subset([int(index) for index in chosen]))


def _of_baseline(baseline: Baseline | None, inputs: tuple[TensorSpec, ...], model: str) -> tuple[Arrays, ...]:
    if baseline is None:
        return ()
    for sample in baseline.samples:
        if set(sample) != {spec.name for spec in inputs} or any(not _fits(sample[spec.name], spec) for spec in inputs):
            raise ModelError(
                "gate.other-model",
                "the model takes other inputs than the baseline's",
                where=model,
                got=", ".join(f"{spec.name} {spec.dtype} {spec.describe_shape()}" for spec in inputs),
                expected=", ".join(f"{name} {array.dtype} {list(array.shape)}" for name, array in sample.items()),
                hint="if that is meant, accept it as the new baseline: --update; or give --input that fits both",
            )
    return baseline.samples


def _with_shapes_of(baseline: Baseline, loaded: Model, model: str) -> Model:
    """Returns the model with the sizes that were fixed for the baseline where its own are free: `--shape` said so."""
    fixed = {
        spec["name"]: spec["shape"]
        for spec in baseline.manifest["inputs"]
        if all(isinstance(size, int) for size in spec["shape"])
    }
    free = {spec.name: fixed[spec.name] for spec in loaded.inputs if not spec.is_static and spec.name in fixed}
    return load_model(model, shapes=free) if free else loaded


def _fits(array: np.ndarray, spec: TensorSpec) -> bool:
    return (
        np.dtype(spec.dtype) == array.dtype
        and len(spec.shape) == array.ndim
        and all(not isinstance(want, int) or want == have for want, have in zip(spec.shape, array.shape, strict=True))
    )


def _specs(manifest: Mapping[str, Any]) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(spec["name"], spec["dtype"], tuple(spec["shape"])) for spec in manifest["inputs"])
