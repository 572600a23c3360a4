"""A trial: one way to run the model, as a JSON spec whose hash is its key, and what came of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np

from strop.engines.contract import Settings
from strop.measure.estimate import Estimate, Speedup

Status = Literal["kept", "dropped", "unsupported", "failed", "not tried"]
Role = Literal["challenger", "best", "before", "after"]


@dataclass(frozen=True, slots=True)
class Samples:
    """The raw samples of one contender of a race: a trial's `challenger` and `best`, or `before` and `after`.

    seconds: of a request ("latency"), or per inference with many in flight ("throughput"), in the order taken.
    """

    role: Role
    kind: Literal["latency", "throughput"]
    seconds: Sequence[float] | np.ndarray


@dataclass(frozen=True, slots=True)
class TrialSpec:
    """What is tried: which model (hash), engine, precision, settings, for which objective, on which data (hash)."""

    model: str
    data: str
    engine: str
    precision: Literal["f32", "int8"]
    objective: Literal["latency", "throughput"]
    settings: Mapping[str, object] = field(default_factory=dict)
    batch: int = 1

    @property
    def key(self) -> str:
        """16 hexadecimal digits: the same spec has the same key everywhere."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]

    @property
    def label(self) -> str:
        """How people are told of it: `openvino int8, threads 2`."""
        shown = {name: value for name, value in self.settings.items() if name not in ("precision", "objective")}
        if self.batch != 1:
            shown["batch"] = self.batch
        return ", ".join([f"{self.engine} {self.precision}", *(f"{name} {value}" for name, value in shown.items())])

    def engine_settings(self) -> Settings:
        """Returns how its engine is to compile it; without settings, by its defaults whatever the objective."""
        return Settings().updated({**self.settings, "objective": self.objective}) if self.settings else Settings()

    def to_json(self) -> dict[str, object]:
        """Returns the spec with its key as a JSON object; `from_json` reads it back."""
        return {"key": self.key, **asdict(self)}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> TrialSpec:
        """Returns the spec that `to_json` wrote; raises ValueError for anything else, its key included."""
        try:
            found = cls(**{name: value for name, value in record.items() if name != "key"})
            key = found.key
            plain = [isinstance(value, str) for value in (found.model, found.data, found.engine)]
        except (AttributeError, TypeError) as error:
            raise ValueError("no spec of a trial") from error
        sound = (
            all(plain)
            and found.precision in ("f32", "int8")
            and found.objective in ("latency", "throughput")
            and isinstance(found.settings, dict)
            and isinstance(found.batch, int)
            and found.batch > 0
        )
        if not sound or key != record.get("key"):
            raise ValueError("no spec of a trial, or one that was changed")
        return found


@dataclass(frozen=True, slots=True)
class TrialResult:
    """What came of a trial: its status with the reason in words, and what was measured before it was decided.

    latency: seconds per inference (at the throughput objective: seconds of wall time per inference completed);
    speedup: against the best so far at that moment (`against`); doubtful: kept for the confirmation to decide.
    """

    spec: TrialSpec
    status: Status
    reason: str
    latency: Estimate | None = None
    speedup: Speedup | None = None
    against: str | None = None
    accuracy: Mapping[str, object] | None = None
    limits: Sequence[Mapping[str, object]] | None = None
    doubtful: bool = False
    settings: Mapping[str, object] | None = None
    seconds: float = 0.0
    samples: Sequence[Samples] = field(default=(), repr=False)

    def to_json(self) -> dict[str, object]:
        """Returns everything but the samples as a JSON object; latency in milliseconds."""
        return {
            "trial": self.spec.to_json(),
            "label": self.spec.label,
            "status": self.status,
            "reason": self.reason,
            "latency_ms": self.latency.scaled(1e3).to_json() if self.latency else None,
            "speedup": self.speedup.to_json() if self.speedup else None,
            "against": self.against,
            "accuracy": dict(self.accuracy) if self.accuracy else None,
            "limits": list(self.limits) if self.limits else None,
            "doubtful": self.doubtful,
            "settings": dict(self.settings) if self.settings else None,
            "seconds": round(self.seconds, 3),
        }
