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

from strop.quality.contract import DataSet

SHARES = np.array([0.95, 0.65, 0.45, 0.3, 0.2, 0.1])
"""Of the share that one lost bet would ruin. Large ones win soonest where nothing flips, small ones where much does."""
FIRST_LOOK = 32
MOST_LOOKS = 6

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


def in_parts(data: DataSet, *, first: int = FIRST_LOOK, most: int = MOST_LOOKS, seed: int = 0) -> Iterator[DataSet]:
    """Yields parts of `data` that together are all of it, each drawn at random from what is left, and twice the last.

    Looks after each part see what a random order would show, whatever order the data have; within a part the order is
    the data's own, so that a stream is read a few times only.
    """
    order = np.random.default_rng(seed).permutation(len(data))
    start, size = 0, first
    for part in range(most):
        end = len(order) if part == most - 1 or start + 2 * size > len(order) else start + size
        if start < end:
            yield data.subset(sorted(order[start:end].tolist()))
        start, size = end, 2 * size


def _log_mean(logs: np.ndarray) -> float:
    highest = float(logs.max())
    return highest + math.log(float(np.exp(logs - highest).mean()))
