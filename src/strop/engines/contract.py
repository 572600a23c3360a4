"""What an engine is, and what it gives: the two protocols every engine fulfils, and the data they speak in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

import numpy as np

from strop.errors import UsageError
from strop.model.specs import TensorSpec

if TYPE_CHECKING:
    from concurrent.futures import Future

    from strop.machine import Machine

Inputs = Mapping[str, np.ndarray] | Sequence[np.ndarray] | np.ndarray
"""A dict by input name, arrays in the order of the model's inputs, or the array of the only input."""

Objective = Literal["latency", "throughput"]
KnobValue = str | int | float | bool


class ModelSource(Protocol):
    """What an engine needs of a model: a `strop.model.model.Model` is one, a `StoredModel` is one without ONNX."""

    @property
    def name(self) -> str:
        """The name people know it by."""

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """What must be given, in the model's order."""

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """What it gives, in the model's order."""

    @property
    def is_quantized(self) -> bool:
        """Whether activations are quantized (QDQ)."""

    def to_bytes(self) -> bytes:
        """Returns the model as one ONNX file's bytes."""

    def save(self, path: str | Path) -> Path:
        """Writes the model to `path` and returns it."""


@dataclass(frozen=True, slots=True)
class Availability:
    """Whether an engine can be used here; `why` says what is missing and how to get it, `version` what is there."""

    available: bool
    why: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True)
class Knob:
    """A runtime setting that may be tuned: `kind` "int", "bool", "choice" or "text"; the range for "int" is inclusive.

    `read_back` says whether `CompiledModel.settings` reports what the engine really uses for it.
    """

    name: str
    kind: Literal["int", "bool", "choice", "text"]
    default: KnobValue | None
    summary: str
    low: int | None = None
    high: int | None = None
    choices: tuple[str, ...] = ()
    read_back: bool = True


@dataclass(frozen=True, slots=True)
class Settings:
    """How a model is to be compiled; None leaves the choice to Strop.

    threads: all threads of the engine together, None the usable cores; streams: requests that run at once, sharing the
    threads, None 1 (under the objective "throughput" what the engine thinks best); device: "CPU" or the engine's name
    for another; precision: "f32" (no silent lower precision), "int8" (the model is QDQ), or None (as the model is, f32
    enforced); cache: folder for the engine's own compile cache; share_cores: whether requests take turns with those of
    other open models of this process where they would not fit on its cores side by side (`thread_budget.py`); knobs:
    what only this engine has, by name.

    Example:
        >>> Settings.parse("threads=2,streams=1").threads
        2
    """

    threads: int | None = None
    streams: int | None = None
    precision: Literal["f32", "int8"] | None = None
    objective: Objective = "latency"
    device: str = "CPU"
    cache: str | None = None
    share_cores: bool = True
    knobs: Mapping[str, KnobValue] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> Settings:
        """Returns settings from `name=value,...`; what is not a field of Settings becomes a knob."""
        if not text.strip():
            return cls()
        pairs: dict[str, KnobValue] = {}
        for part in text.split(","):
            name, separator, value = part.partition("=")
            if not separator or not name.strip():
                raise UsageError(
                    "usage.bad-option",
                    "a setting is not of the form name=value",
                    got=part,
                    hint="write them as threads=2,streams=1",
                )
            pairs[name.strip()] = _value(value.strip())
        return cls().updated(pairs)

    def updated(self, values: Mapping[str, object]) -> Settings:
        """Returns a copy with `values` set: fields by name, everything else as knobs."""
        fields: dict[str, Any] = {}
        knobs = dict(self.knobs)
        for name, value in values.items():
            if name in ("threads", "streams"):
                if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                    raise UsageError(
                        "usage.bad-option", f"{name} must be a whole number above 0", got=value, hint=f"{name}=1"
                    )
                fields[name] = value
            elif name in ("precision", "objective"):
                allowed = ("f32", "int8") if name == "precision" else ("latency", "throughput")
                if value not in allowed:
                    raise UsageError(
                        "usage.bad-option",
                        f"unknown {name}",
                        got=value,
                        expected=" or ".join(allowed),
                        hint="choose one",
                    )
                fields[name] = value
            elif name == "share_cores":
                if value not in (True, False):
                    raise UsageError(
                        "usage.bad-option", "share_cores is true or false", got=value, hint="share_cores=false"
                    )
                fields[name] = bool(value)
            elif name in ("device", "cache"):
                fields[name] = str(value)
            elif isinstance(value, (str, int, float, bool)):
                knobs[name] = value
            else:
                raise UsageError(
                    "usage.bad-option",
                    f"setting {name!r} is not text, number or bool",
                    got=value,
                    hint="see `strop doctor`",
                )
        return replace(self, **fields, knobs=knobs)

    def to_json(self) -> dict[str, object]:
        """Returns what is set as a flat JSON object (knobs by their names); `updated` reads it back."""
        named: dict[str, object] = {
            "threads": self.threads,
            "streams": self.streams,
            "precision": self.precision,
            "objective": self.objective,
            "device": self.device,
            "cache": self.cache,
            "share_cores": None if self.share_cores else False,
        }
        return {name: value for name, value in named.items() if value is not None} | dict(self.knobs)


@dataclass(frozen=True, slots=True)
class OperationTime:
    """One row of a profile: the engine's `name` and `kind` of it, `origin` nodes of the model, milliseconds per call.

    status is "EXECUTED" or "NOT_RUN" (fused away; milliseconds 0); execution the engine's kernel, with its precision.
    """

    name: str
    kind: str
    status: Literal["EXECUTED", "NOT_RUN"]
    execution: str
    milliseconds: float
    cpu_milliseconds: float | None = None
    origin: tuple[str, ...] = ()


@runtime_checkable
class CompiledModel(Protocol):
    """A model ready to run. Thread-safe: requests may come from any thread at once."""

    @property
    def engine(self) -> str:
        """The name of the engine that runs it."""

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """The inputs, in the model's order."""

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """The outputs, in the model's order."""

    @property
    def settings(self) -> Mapping[str, KnobValue]:
        """What is in force, read back: engine and every field of Settings, knobs by their names."""

    def __call__(self, inputs: Inputs) -> dict[str, np.ndarray]:
        """Runs one request; the outputs are fresh arrays that the caller owns."""

    def run_into(self, inputs: Inputs, outputs: Mapping[str, np.ndarray]) -> None:
        """Runs one request and writes the results into the caller's arrays (C order, exact dtype and shape)."""

    def submit(self, inputs: Inputs) -> Future[dict[str, np.ndarray]]:
        """Queues one request; its inputs may be reused as soon as this returns."""

    def profile(self, inputs: Inputs, *, repeats: int = 10) -> list[OperationTime]:
        """Returns time per operation; raises NotSupportedError where the engine cannot."""

    def close(self) -> None:
        """Gives threads and memory back; calls after it raise UsageError (`usage.closed`)."""


@runtime_checkable
class Engine(Protocol):
    """A way to run models."""

    @property
    def name(self) -> str:
        """The name users type."""

    def available(self) -> Availability:
        """Says whether it can be used here; imports nothing heavy where that can be avoided."""

    def knobs(self, machine: Machine) -> tuple[Knob, ...]:
        """Returns what may be set beyond the fields of Settings."""

    def load(self) -> None:
        """Imports what it needs, so that this can be timed apart; raises NotSupportedError where it is missing."""

    def compile(self, model: ModelSource, settings: Settings) -> CompiledModel:
        """Compiles `model`; raises NotSupportedError for a graph it refuses, EngineError where it fails."""


def _value(text: str) -> KnobValue:
    lowered = text.lower()
    if lowered in ("true", "false"):
        return lowered == "true"
    try:
        return int(text)
    except ValueError:
        return text
