"""Compares callables by turns in many short rounds, all against the first, with a verdict for each."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from strop.errors import UsageError
from strop.measure.blocks import Progress, block
from strop.measure.clock import SYSTEM, Clock
from strop.measure.estimate import Estimate, Speedup, Verdict
from strop.measure.rounds import rounds_needed, speedup
from strop.measure.sequential import STOPPED_LEVEL, Stop
from strop.measure.statistics import median_estimate
from strop.measure.turns import LocalTurn, Turn, wait_until_idle
from strop.measure.warmup import WarmUp, warm_up

DEFAULT_SECONDS_PER_CALLABLE = 2.5
"""A pair takes 5 s by default."""
BLOCK_SECONDS = 0.015
WARM_UP_SHARE = 0.1
SHORTEST = 1e-7


@dataclass(frozen=True, slots=True)
class Compared:
    """One callable of a comparison: median seconds of a call, speed-up against the first, all samples in order."""

    name: str
    estimate: Estimate
    speedup: Speedup
    samples: np.ndarray = field(repr=False)
    first_seconds: float
    stopped: bool = False
    """Whether the comparison ended early, as `stop` said so."""

    @property
    def verdict(self) -> Verdict:
        """Whether it is faster or slower than the first, the same, or cannot be told apart."""
        return self.speedup.verdict


def compare(
    callables: Mapping[str, Callable[[], object]],
    *,
    seconds: float | None = None,
    margin: float = 0.03,
    level: float = 0.99,
    clock: Clock = SYSTEM,
    on_progress: Progress | None = None,
    seed: int = 0,
) -> dict[str, Compared]:
    """Returns for each callable its time per call and its speed-up against the first, with a verdict.

    seconds: how long to measure, by default 2.5 s for each callable; slow ones take longer, as a verdict needs at least
    8 rounds (at level 0.99). margin: how far from 1 a ratio still counts as `same`. level: of the speed-up's interval;
    1 - level is the promised share of false alarms when two callables are the same. Medians have 95 % intervals.

    Raises UsageError for fewer than two callables or an option out of range, MeasurementError (`measure.not-idle`) when
    threads do not come to rest between turns.

    Example:
        >>> results = compare({"sum": lambda: sum(range(999)), "twice": lambda: sum(range(1998))}, seconds=0.2)
        >>> results["twice"].verdict
        <Verdict.SLOWER: 'slower'>
    """
    turns = {name: LocalTurn(block(function, clock), clock) for name, function in callables.items()}
    return compare_blocks(
        turns, seconds=seconds, margin=margin, level=level, clock=clock, on_progress=on_progress, seed=seed
    )


def compare_blocks(
    turns: Mapping[str, Turn],
    *,
    seconds: float | None = None,
    margin: float = 0.03,
    level: float = 0.99,
    clock: Clock = SYSTEM,
    on_progress: Progress | None = None,
    seed: int = 0,
    stop: Stop | None = None,
    further_seconds: float = 0.0,
) -> dict[str, Compared]:
    """Returns what `compare` returns, for blocks that run here or in worker processes.

    stop: says of every side but the first whether it need not be looked at any longer; where all agree, the comparison
    ends. further_seconds: how much longer it goes on where after `seconds` a side seems faster and the verdict is
    `cannot tell`. That is a second look, and the two share what may go wrong: `level` still is what is promised.
    """
    seconds = _checked(turns, seconds, margin, level)
    promised, level = level, level if further_seconds <= 0 else 1 - (1 - level) / 2
    start = clock.now()
    warm, waited = _warm_all(turns, seconds=seconds * WARM_UP_SHARE, clock=clock)
    least = rounds_needed(level)
    half_round = waited + sum(max(BLOCK_SECONDS, one.call_seconds) for one in warm.values())
    mirrored = 2 * least * half_round <= seconds
    generator = np.random.default_rng(seed)
    samples: dict[str, list[float]] = {name: [] for name in turns}
    names = list(turns)
    expected = [math.log(max(warm[name].call_seconds, SHORTEST)) for name in names]
    rounds: list[list[float]] = []
    previous: str | None = None
    stopped = False
    while (spent := clock.now() - start) < seconds or len(rounds) < least or further_seconds > 0:
        if spent >= seconds and len(rounds) >= least:
            if not _is_open(np.array(rounds), level=level, margin=margin):
                break
            seconds, further_seconds = max(seconds, spent) + further_seconds, 0.0
        if on_progress:
            on_progress(min(spent / seconds, len(rounds) / least, 1.0))
        order = [names[index] for index in generator.permutation(len(names))]
        counts = dict(zip(names, _calls_per_block(np.exp(np.median(rounds or [expected], axis=0))), strict=True))
        logs = dict.fromkeys(names, 0.0)
        for name in order + order[::-1] if mirrored else order:
            taken = _take_turn(turns, name, counts[name], settle=name != previous, clock=clock)
            samples[name].extend(taken)
            logs[name] += math.log(max(float(np.median(taken)), SHORTEST))
            previous = name
        rounds.append([logs[name] / (2 if mirrored else 1) for name in names])
        if stop and len(rounds) >= least and all(stop(differences) for differences in _differences(np.array(rounds))):
            stopped = True
            break
    if on_progress:
        on_progress(1.0)
    table = np.array(rounds)
    worth = STOPPED_LEVEL if stopped else promised
    return {
        name: Compared(
            name,
            median_estimate(samples[name]),
            _worth(speedup(table[:, 0] - table[:, column], level=level, margin=margin), worth),
            np.array(samples[name]),
            warm[name].first_seconds,
            stopped,
        )
        for column, name in enumerate(names)
    }


def _differences(table: np.ndarray) -> list[np.ndarray]:
    """Returns the log ratios of every side but the first."""
    return [table[:, 0] - table[:, column] for column in range(1, table.shape[1])]


def _is_open(table: np.ndarray, *, level: float, margin: float) -> bool:
    """Whether a side seems faster than the first and the rounds so far cannot tell."""
    found = [speedup(differences, level=level, margin=margin) for differences in _differences(table)]
    return any(one.verdict is Verdict.CANNOT_TELL and one.ratio.point > 1 for one in found)


def _worth(found: Speedup, level: float) -> Speedup:
    """Returns the speed-up with the level that its interval is worth, where that is less than it says."""
    ratio = found.ratio
    return replace(found, ratio=replace(ratio, level=min(ratio.level, level)))


def _warm_all(turns: Mapping[str, Turn], *, seconds: float, clock: Clock) -> tuple[dict[str, WarmUp], float]:
    """Warms all up in turn; returns also the seconds that waiting between the turns took."""
    warm, waited = {}, 0.0
    for name, turn in turns.items():
        waited += wait_until_idle(turns.values(), clock=clock)
        warm[name] = warm_up(turn.block, seconds=seconds / len(turns), clock=clock)
    return warm, waited


def _calls_per_block(call_seconds: np.ndarray) -> list[int]:
    """Returns how many calls make a block, the same for all that take about as long as the first.

    The median of few calls from a skewed distribution depends on how many they are, so what is nearly equal must not
    come to differ by that. For the same reason it follows what the rounds so far have shown: warm-up on a loaded
    machine can be wrong by any factor.
    """
    baseline = float(call_seconds[0])
    return [
        max(1, round(BLOCK_SECONDS / (baseline if baseline / 2 < seconds < baseline * 2 else float(seconds))))
        for seconds in call_seconds
    ]


def _take_turn(turns: Mapping[str, Turn], name: str, count: int, *, settle: bool, clock: Clock) -> list[float]:
    """Runs one block; on a change of turn waits for the others' threads, and drops a first call that wakes its own.

    A call as long as a block settles within itself, and dropping it would double the time.
    """
    if settle:
        wait_until_idle(turns.values(), clock=clock)
    dropped = 1 if settle and count > 1 else 0
    return list(turns[name].block(count + dropped)[dropped:])


def _checked(turns: Mapping[str, Turn], seconds: float | None, margin: float, level: float) -> float:
    if len(turns) < 2:
        raise UsageError(
            "usage.too-few-engines", "a comparison needs at least two callables", got=len(turns), hint="name two"
        )
    for what, value, low, high in (("margin", margin, 0.0, 1.0), ("level", level, 0.5, 1.0)):
        if not low < value < high:
            raise UsageError(
                "usage.bad-option",
                f"{what} is out of range",
                got=value,
                expected=f"above {low:g} and below {high:g}",
                hint=f"leave {what} out for the default",
            )
    if seconds is None:
        return DEFAULT_SECONDS_PER_CALLABLE * len(turns)
    if not seconds > 0:
        raise UsageError(
            "usage.bad-option", "seconds must be above 0", got=seconds, hint="leave it out for the default"
        )
    return seconds
