"""What advice rests on: what the user has, and what was measured; every figure may be missing, with the reason."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from strop.measure.estimate import Estimate, Speedup, Verdict

SPARSE_SHARE = 0.8
"""How many weights are set to zero to see what sparsity gives: more than pruning usually leaves accuracy for."""

Goal = Literal["latency", "throughput", "mixed", "first-inference", "memory"]


@dataclass(frozen=True, slots=True)
class Resources:
    """What the user has. data, labels, preprocess: as given on the command line, None without.

    training: whether the model can be trained again; seconds: how long optimizing may take, None without end;
    max_drop: the largest loss of accuracy, as given; int8_instructions: whether the CPU multiplies 8-bit numbers in
    one instruction.
    """

    model: str
    data: str | None = None
    labels: str | None = None
    preprocess: str | None = None
    training: bool = False
    seconds: float | None = None
    max_drop: str | None = None
    goal: Goal = "latency"
    int8_instructions: bool = True
    labelled: bool = False

    @property
    def data_options(self) -> str:
        """Data, labels and preprocessing as options of a command."""
        given = (("--data", self.data), ("--labels", self.labels), ("--preprocess", self.preprocess))
        return " ".join(f"{name} {shlex.quote(value)}" for name, value in given if value)

    @property
    def quoted(self) -> str:
        """The model's path, as a shell takes it."""
        return shlex.quote(self.model)

    def named(self, ending: str) -> str:
        """Returns a name for what is made of the model: `resnet.strop`, `resnet.int8.onnx`."""
        return shlex.quote(self.model.rpartition("/")[2].removesuffix(".onnx") + ending)

    @property
    def objective(self) -> Literal["latency", "throughput"]:
        """What a search is to be after."""
        return "throughput" if self.goal == "throughput" else "latency"


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What the model is. macs: multiply-accumulates of one inference, None where they cannot be counted.

    int8_mac_share: the share of them in operators that 8 bits would reach; zero_share: of exact zeros in its weights.
    """

    name: str
    is_quantized: bool
    is_half: bool
    macs: int | None
    weight_bytes: int
    zero_share: float
    int8_operators: int
    int8_mac_share: float | None
    free_batch: bool


@dataclass(frozen=True, slots=True)
class EngineFigure:
    """An engine with its defaults: seconds of a request and speed-up against ONNX Runtime; or why there is none."""

    name: str
    latency: Estimate | None = None
    speedup: Speedup | None = None
    steady_bytes: int | None = None
    why_not: str = ""

    @property
    def is_faster(self) -> bool:
        """Whether it is measured faster than the baseline."""
        return self.speedup is not None and self.speedup.verdict is Verdict.FASTER


@dataclass(frozen=True, slots=True)
class Bound:
    """What a request's time goes into, in seconds on one thread.

    call: the whole; operations: the engine's operations together, None where its profile hides it; arithmetic and
    memory: the least that the multiply-accumulates and the reading of all weights take on this machine; level: the
    cache level that holds the weights, or "memory".
    """

    call: float
    operations: float | None
    arithmetic: float | None
    memory: float | None
    level: str

    @property
    def overhead(self) -> float | None:
        """Seconds of a call outside the operations."""
        return None if self.operations is None else max(0.0, self.call - self.operations)


@dataclass(frozen=True, slots=True)
class Int8Figure:
    """INT8 on the engine that runs it fastest: predicted speed-up, then measured; accuracy, where data were given.

    against: the engine that is fastest in float32, which the speed-up is against.

    rate: how many times as many 8-bit products as float products a second this CPU does; calibrated_on: how many of
    the user's samples, 0 for random ones (then nothing is known about accuracy); accuracy: "kept", "lost" or None.
    """

    engine: str
    predicted: float | None
    rate: float | None
    speedup: Speedup | None
    calibrated_on: int = 0
    available: int = 0
    accuracy: Literal["kept", "lost"] | None = None
    accuracy_words: str = ""
    against: str = ""


@dataclass(frozen=True, slots=True)
class FirstInference:
    """Milliseconds from nothing to the first result in fresh processes, by engine."""

    milliseconds: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Measured:
    """What the checks found; None where a check was not made, and `not_measured` says why, by the check's name.

    best: the engine that the single-engine checks were made on. one_thread: one thread against all, half: 16-bit floats
    against 32 by engine, sparse: most weights zero against as they are. streams: requests at once, one stream a core
    against one stream; batch: requests of `batch_size` against single ones; synchronous: as streams, but one request
    at a time. baseline_words: the accuracy of the baseline; near_chance: why it is no better than guessing.
    """

    engines: tuple[EngineFigure, ...] = ()
    best: str = ""
    one_thread: Speedup | None = None
    cores: int = 1
    half: Mapping[str, Speedup] = field(default_factory=dict)
    sparse: Speedup | None = None
    sparse_share: float = SPARSE_SHARE
    bound: Bound | None = None
    int8: Int8Figure | None = None
    streams: Speedup | None = None
    batch: Speedup | None = None
    batch_size: int = 4
    synchronous: Speedup | None = None
    first: FirstInference | None = None
    baseline_words: str = ""
    near_chance: str | None = None
    scatter: float | None = None
    not_measured: Mapping[str, str] = field(default_factory=dict)

    def engine(self, name: str) -> EngineFigure | None:
        """Returns the figures of an engine."""
        return next((one for one in self.engines if one.name == name), None)


@dataclass(frozen=True, slots=True)
class Situation:
    """All that a rule may look at."""

    resources: Resources
    model: ModelFacts
    measured: Measured

    def why_not(self, check: str) -> str:
        """Returns `not measured` with the reason."""
        return f"not measured: {self.measured.not_measured.get(check, 'the check was not made')}"


def times(speedup: Speedup) -> str:
    """Returns a speed-up with its interval: `1.52 x (1.47 to 1.55)`."""
    ratio = speedup.ratio
    return f"{ratio.point:.2f} x ({ratio.low:.2f} to {ratio.high:.2f})"


def duration(seconds: float) -> str:
    """Returns a time in a unit that suits it.

    Example:
        >>> duration(0.0123), duration(1.5e-5)
        ('12.3 ms', '15 us')
    """
    for unit, factor in (("s", 1.0), ("ms", 1e3), ("us", 1e6)):
        if seconds * factor >= 1 or unit == "us":
            return f"{seconds * factor:.3g} {unit}"
    raise AssertionError("a unit always fits")
