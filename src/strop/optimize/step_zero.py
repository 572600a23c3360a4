"""Step zero of a search: is the baseline as good as it is known to be? Else nothing measured against it means anything.

Where it is not, and the data are images, the usual ways to feed a model are tried, and what each gives is said.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from strop.errors import DataError, LimitError, UsageError
from strop.measure.estimate import Estimate
from strop.optimize.scoring import Scoring
from strop.quality.chance import near_chance
from strop.quality.contract import DataSet, Run
from strop.quality.data import Data
from strop.quality.evaluate import Evaluation, value_with_interval
from strop.quality.preprocess_trial import Tried, try_preprocessing

LEVEL = 0.99
"""Of the interval that the expected figure must lie in: a right baseline is refused in 1 of 100 searches."""
MOST_ROWS = 6
"""Of the table in the error's words; the JSON holds all."""


def parse_expected(text: str | float, *, is_fraction: bool) -> float:
    """Returns the figure that `71.9%` or `0.719` states, in the metric's unit.

    Example:
        >>> parse_expected("72%", is_fraction=True)
        0.72
    """
    written = str(text).strip()
    try:
        value = float(written.rstrip("%"))
    except ValueError:
        value = float("nan")
    percent = written.endswith("%")
    if value != value or (percent and not is_fraction) or (is_fraction and not percent and value > 1):
        raise UsageError(
            "usage.bad-option",
            "not a figure that the baseline could have",
            got=f"--expect {text}",
            expected="71.9% or 0.719" if is_fraction else "a number in the metric's unit",
            hint="give the figure that the model is published with, on data like these",
        )
    return value / 100 if percent else value


def check_reproduced(
    found: Evaluation,
    run: Run,
    data: DataSet,
    scoring: Scoring,
    *,
    expected: float | None = None,
    tell: Callable[[str], None] = lambda words: None,
) -> None:
    """Raises LimitError where the baseline is near chance, or where `expected` lies outside its 99 % interval.

    With the error comes what other ways to preprocess give, where the data are images.
    """
    if not math.isfinite(found.value.point):
        raise DataError(
            "quality.metric",
            f"{found.metric.name} of the baseline is not a finite number",
            got=found.value.point,
            hint="its outputs hold NaN or infinity, or the metric returns none: check model, preprocessing and metric",
        )
    chance = near_chance(found)
    interval = value_with_interval(found.metric, found.rows, found.n, level=LEVEL)
    missed = expected is not None and not interval.low <= expected <= interval.high
    if chance is None and not missed:
        return
    tried = _tried(run, data, scoring, tell)
    details = {"baseline": interval.to_json(), "expected": expected, "tried": [row.to_json() for row in tried]}
    table = "".join(f"\n    {row.words}" for row in tried[:MOST_ROWS])
    if tried:
        table = f"\n  {found.metric.name} with other preprocessing, the best of {len(tried)} first:{table}"
    if chance is not None:
        raise LimitError(
            "quality.near-chance",
            "the model is no better than guessing before anything was changed",
            got=chance + table,
            hint=_advice(tried, interval, expected)
            or "the preprocessing (mean, scale, channel order, layout) or the order of the labels is probably wrong",
            details=details,
        )
    assert expected is not None
    higher = (expected < interval.low) == found.metric.higher_is_better
    raise LimitError(
        "quality.not-reproduced",
        "the baseline does not reproduce the figure it is known for, so nothing can be said against it",
        got=f"{found.metric.name} {interval.point:.4g} ({interval.low:.4g} to {interval.high:.4g} with 99 %, "
        f"n={found.n}), {'better' if higher else 'worse'} than expected{table}",
        expected=f"{expected:.4g}",
        hint=_advice(tried, interval, expected)
        or (
            f"other data than the figure was measured on? If these are right, --expect {interval.point:.4g}"
            if higher
            else "check preprocessing, labels and the model file; or give the figure for these data"
        ),
        details=details,
    )


def _tried(run: Run, data: DataSet, scoring: Scoring, tell: Callable[[str], None]) -> list[Tried]:
    if not isinstance(data, Data) or data.preprocess is None or data.preprocess.dtype == "uint8":
        return []
    tell("the baseline is not what it should be: other preprocessing is tried")
    return try_preprocessing(run, data, decode=scoring.decode, metric=scoring.metric, on_try=tell)


def _advice(tried: list[Tried], now: Estimate, expected: float | None) -> str | None:
    """Returns which preprocessing to use, where one is clearly better than what was given."""
    if not tried or tried[0].near_chance is not None:
        return None
    best = tried[0]
    words = f'--preprocess "{best.preprocess}" gives {best.value.point:.4g} ({best.name})'
    level = [row.name for row in tried[1:] if row.value.low <= best.value.point <= row.value.high]
    if level:
        named = "; ".join(level[:3]) + (f" and {len(level) - 3} more" if len(level) > 3 else "")
        words += f"; on so few samples not told from it: {named}. Take what the training code did"
    if expected is not None and best.value.low <= expected <= best.value.high:
        return words
    overlap = best.value.low <= now.high and now.low <= best.value.high
    return None if overlap else words
