"""What a gate's runs come to: ok, regressed, or cannot tell, and when another run is needed.

A run is *red* where the whole interval of the slow-down lies above the margin, *ok* where all of it lies below, and
says nothing where the margin lies inside. Red needs two runs in fresh processes: what one process keeps for its whole
life (where its memory and its threads came to lie) is no noise of a run, and no interval of one run covers it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import StrEnum

from strop.errors import UsageError
from strop.measure.estimate import Estimate

LEVEL = 0.99
"""Of a run's interval: a run is red by chance in at most (1 - LEVEL) / 2 of cases, and less below the margin."""

MOST_RUNS = 4
"""Runs of a gate at most; by probe kernels fewer, since longer ones tell no more where kernels disagree."""

_LONGEST = 4.0
"""A run is twice as long for each before it that could not tell, up to this many times the first."""


class Outcome(StrEnum):
    """What one run, or all of them, say."""

    OK = "ok"
    REGRESSED = "regressed"
    CANNOT_TELL = "cannot tell"


EXIT_CODES = {Outcome.OK: 0, Outcome.REGRESSED: 1, Outcome.CANNOT_TELL: 4}


def outcome(slowdown: Estimate, margin: float) -> Outcome:
    """Returns what one run says; slowdown: how many times as long the new one takes as the old one.

    Example:
        >>> outcome(Estimate(1.1, 1.08, 1.12, level=0.99, n=40), margin=0.05)
        <Outcome.REGRESSED: 'regressed'>
    """
    if slowdown.low > 1 + margin:
        return Outcome.REGRESSED
    if slowdown.high <= 1 + margin:
        return Outcome.OK
    return Outcome.CANNOT_TELL


def next_run(runs: Sequence[Outcome], *, most: int = MOST_RUNS) -> float | None:
    """Returns how long the next run is, as a multiple of the first; None where the runs so far have decided.

    Example:
        >>> next_run([]), next_run([Outcome.OK]), next_run([Outcome.REGRESSED]), next_run([Outcome.CANNOT_TELL])
        (1.0, None, 1.0, 2.0)
    """
    red, open_ = (sum(run is said for run in runs) for said in (Outcome.REGRESSED, Outcome.CANNOT_TELL))
    if len(runs) >= most or red == 2 or (runs and runs[-1] is Outcome.OK):
        return None
    return min(2.0**open_, _LONGEST)


def decide(runs: Sequence[Outcome]) -> Outcome:
    """Returns what all runs say together: red only where two of them are, ok where the last is.

    Example:
        >>> decide([Outcome.REGRESSED, Outcome.REGRESSED]), decide([Outcome.REGRESSED, Outcome.CANNOT_TELL])
        (<Outcome.REGRESSED: 'regressed'>, <Outcome.CANNOT_TELL: 'cannot tell'>)
    """
    if sum(run is Outcome.REGRESSED for run in runs) >= 2:
        return Outcome.REGRESSED
    return Outcome.OK if runs and runs[-1] is Outcome.OK else Outcome.CANNOT_TELL


def false_red_rate(level: float = LEVEL) -> dict[str, object]:
    """Returns how often chance alone makes a red of a model that is exactly as much slower as the margin allows.

    There are as many ways to a second red as pairs of runs, each at most the square of one run's chance.
    """
    run = (1 - level) / 2
    return {
        "one_run": run,
        "confirmed": math.comb(MOST_RUNS, 2) * run * run,
        "words": "at most, by a run's own noise, for a model exactly at the margin; an unchanged one is far below",
    }


def parse_margin(text: str | float) -> float:
    """Returns the margin that `5%` or `0.05` states; raises UsageError outside of (0, 1).

    Example:
        >>> parse_margin("5%"), parse_margin(0.1)
        (0.05, 0.1)
    """
    written = str(text).strip()
    try:
        value = float(written.rstrip("%")) / (100 if written.endswith("%") else 1)
    except ValueError:
        value = float("nan")
    if not 0 < value < 1:
        raise UsageError(
            "usage.bad-option",
            "not a margin",
            got=text,
            expected="a share above 0 and below 1: 5% or 0.05",
            hint="--margin 5%",
        )
    return value
