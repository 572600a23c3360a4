"""How far two models' outputs lie apart, without labels: tensors, and decisions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Literal

import numpy as np

from strop.errors import DataError
from strop.measure.estimate import Estimate
from strop.measure.statistics import proportion
from strop.quality.compact import compact
from strop.quality.contract import DataSet, Decode, Outputs, Prediction, Progress, Run
from strop.quality.decoders.scores import class_scores

MOST_SAMPLES = 10
CLOSE = 0.1
"""The relative L2 distance within which outputs that decide nothing are taken to agree."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """The distance of outputs b from outputs a, for the output with the largest relative distance, `output`.

    relative_l2: |b - a| / |a|, Euclidean; max_abs: the largest difference of one element. finite: no output of b holds
    NaN or infinity that a has not in the same place. findings: what cannot be compared or differs in kind, in words
    (a missing output, another element type or shape); one that cannot be compared is infinitely far.
    """

    relative_l2: float
    max_abs: float
    output: str
    finite: bool
    findings: tuple[str, ...] = ()

    def to_json(self) -> dict[str, object]:
        """Returns the fields as a JSON object."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class OutputDistance:
    """The distance of one output over a data set: all its tensors taken as one, the worst sample, the error of each."""

    relative_l2: float
    max_abs: float
    mse: float
    worst_relative_l2: float
    worst_key: str
    mse_per_sample: tuple[float, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class AgreementReport:
    """How far b lies from a over a data set.

    agreeing: the share of samples on which both agree, by `criterion`: the same decision ("decision": the top class, or
    what the decoder says), or, where outputs decide nothing, all outputs within CLOSE ("relative_l2"). outputs: the
    distance by output. not_finite: the number of samples with NaN or infinity in b that a does not have. disagreeing:
    the keys of the samples on which they do not agree; changes: those keys with both decisions, where there are
    decisions. findings: outputs that cannot be compared, or differ in kind.
    """

    agreeing: Estimate
    criterion: Literal["decision", "relative_l2"]
    outputs: dict[str, OutputDistance]
    n: int
    not_finite: int
    disagreeing: tuple[str, ...]
    findings: tuple[str, ...]
    data: str
    changes: tuple[tuple[str, object, object], ...] = ()
    keys: tuple[str, ...] = field(default=(), repr=False)

    @property
    def top1(self) -> Estimate | None:
        """The share of samples with the same decision, None where outputs decide nothing."""
        return self.agreeing if self.criterion == "decision" else None

    @property
    def worst(self) -> str:
        """The output with the largest relative distance."""
        return max(self.outputs, key=lambda name: self.outputs[name].relative_l2)

    @property
    def relative_l2(self) -> float:
        """The relative distance of the worst output."""
        return self.outputs[self.worst].relative_l2

    def to_json(self) -> dict[str, object]:
        """Returns the fields, the worst output and its distance as a JSON object, without the error of each sample."""
        document = asdict(self) | {"worst": self.worst, "relative_l2": self.relative_l2}
        del document["changes"], document["keys"]
        for name, distance in document["outputs"].items():
            del distance["mse_per_sample"]
            distance["largest_mse"] = self.largest_mse(name)
        return document

    def largest_mse(self, output: str, count: int = MOST_SAMPLES) -> list[dict[str, object]]:
        """Returns the samples whose `output` moved most, by mean squared error, the worst first."""
        errors = self.outputs[output].mse_per_sample
        worst = sorted(range(len(errors)), key=lambda index: -errors[index])[:count]
        return [{"sample": self.keys[index], "mse": errors[index]} for index in worst if errors[index] > 0]


def tensor_distance(a: Outputs, b: Outputs) -> Agreement:
    """Returns how far outputs b lie from outputs a (the reference), the worst output named.

    Example:
        >>> found = tensor_distance({"y": np.array([3.0, 4.0])}, {"y": np.array([3.0, 4.5])})
        >>> found.relative_l2, found.max_abs, found.output
        (0.1, 0.5, 'y')
    """
    findings, comparable = _findings(a, b)
    distances = {name: _Distance.between(a[name], b[name]) for name in comparable}
    lost = [name for name in a if name not in comparable]
    if not a:
        return Agreement(math.inf, math.inf, "", False, ("the reference has no outputs",))
    finite = all(distance.finite for distance in distances.values())
    if lost:
        return Agreement(math.inf, math.inf, lost[0], finite, findings)
    worst = max(distances, key=lambda name: (distances[name].relative_l2, distances[name].max_abs))
    return Agreement(distances[worst].relative_l2, distances[worst].max_abs, worst, finite, findings)


def agreement(
    run_a: Run, run_b: Run, data: DataSet, *, decode: Decode | None = None, on_progress: Progress | None = None
) -> AgreementReport:
    """Returns how far b's outputs lie from a's over a data set, and how often both decide the same.

    decode: what makes a decision of outputs; without it, the class with the highest score where the first output is a
    list of class scores. Samples without decision by a (its outputs hold NaN) do not agree.
    """
    totals: dict[str, list[_Distance]] = {}
    keys: list[str] = []
    disagreeing: list[str] = []
    changes: list[tuple[str, object, object]] = []
    findings: dict[str, None] = {}
    criterion: Literal["decision", "relative_l2"] | None = None
    not_finite = 0
    for sample in data:
        # b may reuse a's buffers: the two may be one engine
        a = {name: np.array(value) for name, value in run_a(sample.inputs).items()}
        b = run_b(sample.inputs)
        found, comparable = _findings(a, b)
        findings.update(dict.fromkeys(found))
        distances = dict.fromkeys(a, _LOST) | {name: _Distance.between(a[name], b[name]) for name in comparable}
        for name, distance in distances.items():
            totals.setdefault(name, []).append(distance)
        not_finite += not all(distance.finite for distance in distances.values())
        criterion = criterion or ("relative_l2" if decode is None and _scores(a) is None else "decision")
        if criterion == "decision":
            first, second = (_decision(outputs, sample.inputs, decode) for outputs in (a, b))
            agrees = first is not None and np.array_equal(np.asarray(first), np.asarray(second))
            if not agrees:
                changes.append((sample.key, compact(first), compact(second)))
        else:
            agrees = all(distance.relative_l2 <= CLOSE for distance in distances.values())
            if not agrees:
                changes.append((sample.key, None, None))
        if not agrees:
            disagreeing.append(sample.key)
        keys.append(sample.key)
        if on_progress is not None:
            on_progress(len(keys), len(data))
    if criterion is None:
        raise DataError(
            "data.empty",
            "the data hold no samples",
            where=data.name,
            hint="give at least one; axis 0 of an array counts them",
        )
    return AgreementReport(
        agreeing=proportion(len(keys) - len(disagreeing), len(keys)),
        criterion=criterion,
        outputs={name: _over_all(distances, keys) for name, distances in totals.items()},
        n=len(keys),
        not_finite=not_finite,
        disagreeing=tuple(disagreeing),
        findings=tuple(findings),
        data=data.fingerprint,
        changes=tuple(changes),
        keys=tuple(keys),
    )


@dataclass(frozen=True, slots=True)
class _Distance:
    squared_error: float
    squared_norm: float
    max_abs: float
    count: int
    finite: bool

    @classmethod
    def between(cls, a: np.ndarray, b: np.ndarray) -> _Distance:
        first, second = (np.asarray(array).astype(np.float64).reshape(-1) for array in (a, b))
        with np.errstate(invalid="ignore"):
            equal = (first == second) | (np.isnan(first) & np.isnan(second))  # infinities of one sign, NaN in both
            error = np.where(equal, 0.0, second - first)
        finite = bool(np.isfinite(error).all())
        norm = np.where(np.isfinite(first), first, 0.0)
        if not finite:
            return cls(math.inf, float(norm @ norm), math.inf, first.size, False)
        return cls(float(error @ error), float(norm @ norm), float(np.abs(error).max(initial=0.0)), first.size, True)

    @property
    def mse(self) -> float:
        return self.squared_error / max(self.count, 1)

    @property
    def relative_l2(self) -> float:
        if self.squared_error == 0:
            return 0.0
        return math.sqrt(self.squared_error / self.squared_norm) if self.squared_norm else math.inf


_LOST = _Distance(math.inf, 0.0, math.inf, 1, True)
"""The distance of an output that cannot be compared."""


def _over_all(distances: list[_Distance], keys: list[str]) -> OutputDistance:
    whole = _Distance(
        sum(distance.squared_error for distance in distances),
        sum(distance.squared_norm for distance in distances),
        max(distance.max_abs for distance in distances),
        sum(distance.count for distance in distances),
        all(distance.finite for distance in distances),
    )
    worst = max(range(len(distances)), key=lambda index: distances[index].relative_l2)
    return OutputDistance(
        whole.relative_l2,
        whole.max_abs,
        whole.mse,
        distances[worst].relative_l2,
        keys[worst],
        tuple(distance.mse for distance in distances),
    )


def _findings(a: Outputs, b: Outputs) -> tuple[tuple[str, ...], list[str]]:
    """Returns what differs in kind, and the names that can be compared element by element."""
    findings = [f"output {name!r} is missing" for name in a if name not in b]
    findings += [f"output {name!r} is not in the reference" for name in b if name not in a]
    comparable = []
    for name in (name for name in a if name in b):
        first, second = np.asarray(a[name]), np.asarray(b[name])
        if first.dtype != second.dtype:
            findings.append(f"output {name!r} is {second.dtype}, not {first.dtype}")
        if first.shape != second.shape:
            findings.append(f"output {name!r} has shape {list(second.shape)}, not {list(first.shape)}")
        elif first.dtype.kind in "OUS" or second.dtype.kind in "OUS":
            findings.append(f"output {name!r} holds text, which has no distance")
        else:
            comparable.append(name)
    return tuple(findings), comparable


def _scores(outputs: Outputs) -> np.ndarray | None:
    return class_scores(np.asarray(next(iter(outputs.values())))) if outputs else None


def _decision(outputs: Outputs, inputs: Mapping[str, np.ndarray], decode: Decode | None) -> Prediction:
    if decode is not None:
        return decode(outputs, inputs)
    scores = _scores(outputs)
    return None if scores is None or np.isnan(scores).any() else int(np.argmax(scores))
