"""One trial against the best so far: opened in a worker, checked for agreement, raced in turns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from strop.engines.contract import Objective
from strop.engines.remote import RemoteModel, open_remote
from strop.errors import EngineError
from strop.measure.blocks import Progress
from strop.measure.comparison import Compared, compare_blocks
from strop.measure.sequential import ClearlySlower
from strop.measure.turns import Turn
from strop.measure.worker import DEFAULT_TIMEOUT, Timeout
from strop.optimize.trial import TrialSpec
from strop.quality.agreement import tensor_distance

F32_TOLERANCE = 1e-3
"""Largest relative L2 distance between two engines that run the same float model."""


@dataclass(frozen=True, slots=True)
class Contender:
    """A trial that runs: its spec, the worker that holds the compiled model, what that gives for the first inputs."""

    spec: TrialSpec
    remote: RemoteModel
    outputs_of_first: Mapping[str, np.ndarray]

    def turn(self, kind: Objective) -> Turn:
        """Returns how it is timed: by single requests, or by windows with many in flight."""
        return self.remote if kind == "latency" else self.remote.throughput_turn()

    def close(self) -> None:
        """Ends its worker; closing twice is fine."""
        self.remote.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def open_contender(
    spec: TrialSpec, path: Path, inputs: Sequence[Mapping[str, np.ndarray]], *, timeout: Timeout = DEFAULT_TIMEOUT
) -> Contender:
    """Returns the trial, compiled in a fresh worker process, with `inputs` as what it is timed on.

    timeout: seconds that compiling, and each later call, may take.
    """
    remote = open_remote(path, spec.engine, spec.engine_settings(), inputs=inputs, batch=spec.batch, timeout=timeout)
    return contend(spec, remote, inputs)


def contend(spec: TrialSpec, remote: RemoteModel, inputs: Sequence[Mapping[str, np.ndarray]]) -> Contender:
    """Returns the trial that `remote` holds, after its first request; a remote that fails it is closed."""
    try:
        return Contender(spec, remote, remote(inputs[0]))
    except BaseException:
        remote.close()
        raise


def check_agreement(
    contender: Contender, checked: Sequence[tuple[Mapping[str, np.ndarray], Mapping[str, np.ndarray]]]
) -> None:
    """Raises EngineError `engine.disagrees` unless a trial gives the baseline's outputs, for each pair of both."""
    for sample, expected in checked:
        distance = tensor_distance(expected, contender.remote(sample))
        if not distance.finite or distance.relative_l2 > F32_TOLERANCE:
            raise EngineError(
                "engine.disagrees",
                f"{contender.spec.label} gives other outputs than the baseline",
                where=distance.output,
                got=f"relative L2 {distance.relative_l2:.2g}",
                expected=f"at most {F32_TOLERANCE:g}",
                hint="report it to the engine's makers with this model; the search goes on without it",
            )


def race(
    contenders: Mapping[str, Contender],
    *,
    seconds: float,
    kind: Objective | None = None,
    further_seconds: float = 0.0,
    early: bool = False,
    on_progress: Progress | None = None,
) -> dict[str, Compared]:
    """Returns each contender compared with the first, in interleaved turns of `seconds` together.

    kind: what is compared, single requests ("latency") or wall time per inference with many in flight ("throughput");
    by default what the trials are after. further_seconds: how much longer it may take where the others seem faster and
    it cannot tell. early: ends as soon as all others are clearly slower.
    """
    turns = {name: contender.turn(kind or contender.spec.objective) for name, contender in contenders.items()}
    stop = ClearlySlower() if early else None
    return compare_blocks(turns, seconds=seconds, stop=stop, further_seconds=further_seconds, on_progress=on_progress)
