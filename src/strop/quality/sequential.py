"""An accuracy comparison that may stop early, and still keeps its promise however often it is looked at.

Right and wrong answers are bet on. Let d be what a sample loses (1, 0 or -1) and m the limit. Who believes that more
than m is lost bets a share f of his money on each sample: it is multiplied by 1 + f (d - m). Were the true loss at most
m, the money would be a supermartingale, and would ever reach 1 / alpha with probability alpha at most (Ville's
inequality): so it may be looked at after every sample. The money is spread over shares f, so that none must be guessed
(Waudby-Smith and Ramdas, Estimating means of bounded random variables by betting, JRSS B 86, 2024). The other side bets
on 1 + f (m - d).

Metrics that are no yes or no are looked at a few times only, with an interval at 1 - alpha / looks (Bonferroni).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from strop.quality.comparison import compare_evaluations
from strop.quality.contract import DataSet, Decode, MetricFactory, Progress, Run
from strop.quality.evaluate import Evaluation, Evaluator
from strop.quality.hits import are_hits, losses

SHARES = np.array([0.95, 0.65, 0.45, 0.3, 0.2, 0.1])
"""Of the share that one lost bet would ruin. Large ones win soonest where nothing flips, small ones where much does."""
FIRST_LOOK = 32
"""Samples before the first look; before each further one there are twice as many as before the last."""
MOST_LOOKS = 8
ALPHA = 0.025

Outcome = Literal["beyond", "within"]


@dataclass(slots=True)
class Bets:
    """The money of both sides, in logarithms, after the samples so far.

    Example:
        >>> bets = Bets(limit=0.01)
        >>> bets.add([0.0] * 500)
        >>> bets.outcome(0.05)
        'within'
    """

    limit: float
    _on_beyond: np.ndarray = field(default_factory=lambda: np.zeros(len(SHARES)))
    _on_within: np.ndarray = field(default_factory=lambda: np.zeros(len(SHARES)))

    def add(self, losses: Sequence[float] | np.ndarray) -> None:
        """Adds samples: what each has lost, from -1 to 1."""
        surprise = np.asarray(losses, dtype=float)[:, np.newaxis] - self.limit
        # A loss of -1 costs the first side 1 + limit, one of 1 the other side 1 - limit.
        self._on_beyond += np.log1p(SHARES / (1 + self.limit) * surprise).sum(axis=0)
        self._on_within += np.log1p(-SHARES / max(1 - self.limit, 1e-9) * surprise).sum(axis=0)

    def outcome(self, alpha: float) -> Outcome | None:
        """Returns what is proved: each is wrong with probability `alpha` at most, whenever it is asked."""
        wanted = math.log(1 / alpha)
        if _log_mean(self._on_beyond) >= wanted:
            return "beyond"
        return "within" if _log_mean(self._on_within) >= wanted else None


@dataclass(frozen=True, slots=True)
class Early:
    """Two evaluations on the samples that were looked at, and what they proved before all were; None: nothing did."""

    a: Evaluation
    b: Evaluation
    outcome: Outcome | None


def evaluate_early(
    a: Run | Evaluation,
    run_b: Run,
    data: DataSet,
    *,
    decode: Decode,
    metric: MetricFactory,
    max_drop: float,
    relative: bool = False,
    alpha: float = ALPHA,
    seed: int = 0,
    on_progress: Progress | None = None,
) -> Early:
    """Returns b against a on as many samples as it takes to tell whether more than `max_drop` is lost.

    a: what runs the original, or its evaluation on all of `data`. Samples come in a random order (seeded), whatever
    order the data have. alpha: the chance that a drop above the limit is called within it, and the other way round.
    """
    first, second = Evaluator(decode, metric, where=data.name), Evaluator(decode, metric, where=data.name)
    bets: Bets | None = None
    positions: list[int] = []
    empty = metric()
    # Of a user's function, or a metric that takes long, a bootstrap at each look would cost more than it saves.
    looked_at = empty.per_sample() is not None or getattr(empty, "is_cheap", False)
    for part in parts(len(data), seed=seed) if looked_at else [list(range(len(data)))]:
        chosen, seen = data.subset(part), len(positions)
        if not isinstance(a, Evaluation):
            for _ in first.add_all(a, chosen):
                pass
        for count in second.add_all(run_b, chosen):
            if on_progress is not None:
                on_progress(count, len(data))
        positions += part
        before = a.part(positions) if isinstance(a, Evaluation) else first.result(data.fingerprint)
        after = second.result(data.fingerprint)
        if len(positions) == len(data):
            break
        if not (np.isfinite(before.value.point) and np.isfinite(after.value.point)):
            continue
        limit = max_drop * abs((a if isinstance(a, Evaluation) else before).value.point) if relative else max_drop
        fixed = isinstance(a, Evaluation) or not relative
        if fixed and limit < 1 and _are_yes_or_no(before, after):
            bets = bets or Bets(limit)
            bets.add(losses(before, after)[seen:])
            outcome = bets.outcome(alpha)
        else:
            outcome = _by_interval(before, after, limit, alpha / (MOST_LOOKS - 1))
        if outcome is not None:
            return Early(before, after, outcome)
    return Early(before, after, None)


def parts(total: int, *, first: int = FIRST_LOOK, most: int = MOST_LOOKS, seed: int = 0) -> Iterator[list[int]]:
    """Yields positions that together are 0 to `total`, drawn at random, each part twice the last, the last the rest.

    Within a part they ascend: bets do not mind the order of samples between two looks, and a stream is read only as
    often as there are parts.
    """
    order = np.random.default_rng(seed).permutation(total)
    start, size = 0, first
    for part in range(most):
        last = part == most - 1 or start + 2 * size > total
        end = total if last else start + size
        if start < end:
            yield sorted(order[start:end].tolist())
        start, size = end, 2 * size


def _are_yes_or_no(before: Evaluation, after: Evaluation) -> bool:
    return all(side.rows is not None and are_hits(side.rows) for side in (before, after))


def _by_interval(before: Evaluation, after: Evaluation, limit: float, alpha: float) -> Outcome | None:
    found = compare_evaluations(before, after, level=1 - 2 * alpha)
    ends = (-found.difference.high, -found.difference.low)
    low, high = ends if before.metric.higher_is_better else (found.difference.low, found.difference.high)
    if low > limit:
        return "beyond"
    return "within" if high <= limit else None


def _log_mean(logs: np.ndarray) -> float:
    highest = float(logs.max())
    return highest + math.log(float(np.exp(logs - highest).mean()))
