"""Ends a comparison early where one side is clearly slower, with a stopping rule that holds however often one looks.

The order of every round is drawn by lot, so its difference is symmetric around the truth whatever came before (see
`rounds.py`): a side that is not slower loses a round with probability 1/2 at most. Who bets on its losing round after
round has capital that on average does not grow, and by Ville's inequality that capital ever reaches 1 / (1 - level)
with probability 1 - level at most. So it is dropped when the capital gets there, and the drop is wrong in no more than
1 - level of the races in which it is not slower, no matter when they end. Several stakes bet at once, as which one pays
depends on how often it loses.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Stop = Callable[[np.ndarray], bool]
"""Is told log(baseline seconds / its seconds) of every round so far and says whether to stop."""

STAKES = np.linspace(0.2, 0.95, 16)
STOPPED_LEVEL = 0.95
"""What the 99 % interval of a race that was stopped is worth (simulated: 97 % in the worst case)."""


@dataclass(frozen=True, slots=True)
class ClearlySlower:
    """Stops when one side is slower at `level`, and by more than `margin`, as one may want to know where less is.

    Example:
        >>> stop = ClearlySlower()
        >>> stop(np.log([0.8] * 8)), stop(np.log([0.8] * 9)), stop(np.log([0.98] * 99))
        (False, True, False)
    """

    level: float = 0.99
    margin: float = 0.03

    def __call__(self, log_ratios: np.ndarray) -> bool:
        """Whether the rounds so far are enough to say so."""
        lost, won = int((log_ratios < 0).sum()), int((log_ratios > 0).sum())
        if lost <= won or float(np.median(log_ratios)) > -math.log1p(self.margin):
            return False
        return log_capital(lost, won) >= -math.log(1 - self.level)


def log_capital(lost: int, won: int) -> float:
    """Returns the logarithm of what 1 has become that was bet on its losing, in equal parts at each of STAKES."""
    parts = lost * np.log1p(STAKES) + won * np.log1p(-STAKES)
    most = float(parts.max())
    return most + math.log(float(np.exp(parts - most).mean()))
