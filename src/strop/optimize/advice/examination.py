"""A model under examination: its file, its inputs, the time left, and what was found or could not be."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from strop.engines.contract import Settings
from strop.engines.remote import RemoteModel, open_remote
from strop.errors import LimitError, StropError
from strop.measure.comparison import Compared, compare_blocks
from strop.measure.estimate import Estimate, Speedup
from strop.measure.rounds import rounds_needed, verdict
from strop.measure.turns import Turn
from strop.model.model import Model
from strop.optimize.accuracy import Judge
from strop.optimize.advice.situation import EngineFigure, Resources
from strop.optimize.budget import Budget
from strop.optimize.events import Event, Listener
from strop.quality.contract import DataSet

RACE_SECONDS = 1.5
"""Of each contender in a race."""
LEAST_ROUNDS = rounds_needed(0.99)


@dataclass(slots=True)
class Examination:
    """What the checks share. found: fields of `Measured` by name; request_seconds: of the baseline, once known."""

    model: Model
    resources: Resources
    inputs: Mapping[str, np.ndarray]
    folder: Path
    budget: Budget
    on_event: Listener
    data: DataSet | None = None
    judge: Judge | None = None
    int8_operators: int = 0
    int8_mac_share: float | None = None
    request_seconds: float = 0.0
    found: dict[str, Any] = field(default_factory=dict)
    not_measured: dict[str, str] = field(default_factory=dict)

    @property
    def best(self) -> str:
        """The engine that was fastest; raises LimitError where none ran."""
        name = self.found.get("best")
        if not name:
            raise LimitError("limit.budget", "no engine was timed", hint="see why the engines were not compared")
        return str(name)

    def check(self, names: Sequence[str], run: Callable[[Examination], None]) -> None:
        """Runs a check; what keeps it from its findings is noted under their names. Ctrl-C ends all."""
        if self.budget.remaining <= 0:
            self._miss(names, "the time for checks was used up")
            return
        self.on_event(Event("stage", f"check: {', '.join(names).replace('_', ' ')}"))
        try:
            run(self)
        except StropError as error:
            self._miss(names, error.in_a_line)
        except Exception as error:  # a mistake in one check must not cost what the others find
            self._miss(names, f"the check failed: {type(error).__name__}: {error}")

    def miss(self, name: str, why: str) -> None:
        """Notes why one finding is missing."""
        self._miss([name], why)

    def path(self, model: Model) -> Path:
        """Returns the file of a model, written once."""
        file = self.folder / f"{model.sha256[:16]}.onnx"
        return file if file.exists() else model.save(file)

    def open(
        self, stack: ExitStack, engine: str, model: Model | None = None, *, batch: int = 1, **settings: object
    ) -> RemoteModel:
        """Returns the model on an engine, in a worker that `stack` ends."""
        path = self.path(model or self.model)
        chosen = Settings().updated(settings)
        remote = open_remote(path, engine, chosen, inputs=self.inputs, batch=batch, timeout=self.budget.patience)
        return stack.enter_context(remote)

    def race(self, turns: Mapping[str, Turn], *, requests: int = 1) -> dict[str, Compared]:
        """Returns each against the first; raises LimitError where a verdict would take longer than is left.

        requests: how many a turn takes at least.
        """
        needed = LEAST_ROUNDS * requests * self.request_seconds * len(turns)
        if needed > max(self.budget.remaining, RACE_SECONDS):
            raise LimitError(
                "limit.budget",
                "it would take longer than the checks may",
                got=f"about {needed:.0f} s of requests, {max(0.0, self.budget.remaining):.0f} s left",
                hint="give more --time",
            )
        return compare_blocks(turns, seconds=RACE_SECONDS * len(turns))

    def engine(self, name: str) -> EngineFigure | None:
        """Returns an engine's figures, once they are there."""
        return next((one for one in self.found.get("engines", ()) if one.name == name), None)

    def _miss(self, names: Sequence[str], why: str) -> None:
        for name in names:
            if self.found.get(name) in (None, {}, ()):
                self.not_measured[name] = why


def inverted(speedup: Speedup) -> Speedup:
    """Returns the speed-up of the first against the second, from that of the second against the first."""
    ratio = speedup.ratio
    turned = Estimate(1 / ratio.point, 1 / ratio.high, 1 / ratio.low, ratio.level, ratio.n, ratio.statistic)
    return replace(speedup, ratio=turned, verdict=verdict(turned, margin=speedup.margin))
