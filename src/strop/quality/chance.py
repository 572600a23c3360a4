"""Whether a baseline is any good: a model no better than guessing is fed wrongly, or its labels are shifted.

Without this, "no accuracy lost" would be true of a model that had none.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from strop.errors import LimitError
from strop.measure.statistics import proportion
from strop.quality.evaluate import Evaluation

_BEST_CONSTANTS: Mapping[str, tuple[str, Callable[[np.ndarray], float]]] = {
    "mse": ("mean", lambda truth: float(np.var(truth))),
    "rmse": ("mean", lambda truth: float(np.std(truth))),
    "mae": ("median", lambda truth: float(np.abs(truth - np.median(truth)).mean())),
}
"""The number that is best where nothing is known, and its error."""
LEAST_CORRELATION = 0.2
"""Below this, and not surely above 0, a correlation says that outputs and labels have nothing to do with each other."""
_ERROR_RATES = {"cer": "characters", "wer": "words"}
GUESSING_ERROR_RATE = 0.9
"""A character or word error rate from here on says that the text is not read at all."""
FEWEST_FOR_CONSTANT = 10
"""Below this many samples, the same answer to all of them may be right."""


def near_chance(
    evaluation: Evaluation, targets: Sequence[object] | None = None, *, classes: int | None = None
) -> str | None:
    """Returns why the model is no better than guessing, or None where it is better, or cannot be told.

    Classes (top1, top5, accuracy): guessing is the better of drawing a class and always naming the most frequent one
    (each sample judged by the others' frequencies). The model is near chance when its share of hits is not above that
    by a one-sided test at 5 %, and its upper bound stays below halfway between guessing and perfect; or when it gives
    one answer to everything. cer, wer: from 0.9 on. mse, rmse, mae: not below what always naming the labels' mean or
    median gives. cosine: not above 0. Correlations: below 0.2, and not surely above 0. F1, precision, recall: one
    answer to everything. Boxes and pixels: nothing found at all.

    targets: the evaluation's own unless given; classes: what the model's output says unless given.
    """
    truth = list(evaluation.targets if targets is None else targets)
    name = evaluation.metric.name
    if evaluation.without_prediction == evaluation.n:
        return "the outputs hold NaN for every sample"
    if name in _ERROR_RATES:
        rate = evaluation.value.point
        if rate >= GUESSING_ERROR_RATE:
            return f"{name} is {rate:.2f}: hardly any of the {_ERROR_RATES[name]} are read"
        return None
    if name in _BEST_CONSTANTS:
        return _near_constant(evaluation, truth)
    if name in ("pearson", "spearman"):
        value = evaluation.value
        return f"{name} is {value.point:.2f}: about 0" if value.low <= 0 and value.point < LEAST_CORRELATION else None
    if name in ("map", "map50", "voc_map", "miou"):
        return f"{name} is 0: nothing is found" if evaluation.value.point == 0 else None
    if name.removesuffix("_macro") in ("f1", "precision", "recall"):
        return _one_answer(list(evaluation.predictions), truth)
    if name == "cosine":
        return None if evaluation.value.low > 0 else "the outputs do not point where the labels do (cosine about 0)"
    if name in ("top1", "top5", "accuracy") and _are_classes(truth) and evaluation.rows is not None:
        return _near_guess(evaluation, truth, evaluation.classes if classes is None else classes)
    return None


def refuse_near_chance(evaluation: Evaluation) -> None:
    """Raises LimitError (`quality.near-chance`) where the baseline is no better than guessing."""
    reason = near_chance(evaluation)
    if reason is not None:
        raise LimitError(
            "quality.near-chance",
            "the model is no better than guessing, so there is no accuracy to keep",
            got=reason,
            hint="preprocessing or the order of the labels are probably wrong: compare one sample with the original "
            "pipeline",
        )


def _near_guess(evaluation: Evaluation, truth: list[object], classes: int | None) -> str | None:
    assert evaluation.rows is not None
    answers = [_first(prediction) for prediction in evaluation.predictions]
    constant = _one_answer(answers, truth)
    if constant is not None:
        return constant
    hits, n = int(evaluation.rows[:, 0].sum()), evaluation.n
    count = 5 if evaluation.metric.name == "top5" else 1
    known = max(classes or 0, len(set(truth)) if classes is None else 0, 2)
    drawing = min(count / known, 1.0)
    guess = max(drawing, _most_frequent(truth, count))
    if _chance_of(hits, n, guess) <= 0.05 or proportion(hits, n, level=0.90).high >= (1 + guess) / 2:
        return None
    how = f"drawing one of {known} classes" if guess == drawing else "always naming the most frequent class"
    return f"{hits} of {n} are right ({hits / n:.1%}), {how} gives {guess:.1%}" + _shift(answers, truth, hits)


def _chance_of(hits: int, n: int, guess: float) -> float:
    """Returns the probability that guessing gives at least so many hits (the exact binomial tail)."""
    if hits == 0 or guess >= 1:
        return 1.0
    counts = range(hits, n + 1)
    logs = (
        math.lgamma(n + 1)
        - math.lgamma(k + 1)
        - math.lgamma(n - k + 1)
        + k * math.log(guess)
        + (n - k) * math.log1p(-guess)
        for k in counts
    )
    return min(1.0, math.fsum(map(math.exp, logs)))


def _most_frequent(truth: list[object], count: int) -> float:
    """Returns the hits of naming the `count` most frequent classes, each sample judged by all the others.

    Ties among the others are drawn by lot.
    """
    frequencies = Counter(truth)
    hits = 0.0
    for label, times in frequencies.items():
        others = [frequency for other, frequency in frequencies.items() if other != label]
        above = sum(frequency > times - 1 for frequency in others)
        level = sum(frequency == times - 1 for frequency in others)
        hits += times * min(1.0, max(0, count - above) / (level + 1))
    return hits / len(truth)


def _shift(answers: list[object], truth: list[object], hits: int) -> str:
    """Returns words for labels that are off by one throughout, or nothing."""
    pairs = [(a, t) for a, t in zip(answers, truth, strict=True) if isinstance(a, int) and isinstance(t, int)]
    for offset in (1, -1):
        shifted = sum(answer == target + offset for answer, target in pairs)
        if shifted > max(2 * hits, len(truth) // 3):
            return f"; with every label {offset:+d} it would be {shifted / len(truth):.1%}: the labels are off by one"
    return ""


def _one_answer(answers: list[object], truth: list[object]) -> str | None:
    if len(set(map(str, answers))) == 1 and len(set(map(str, truth))) > 1 and len(truth) >= FEWEST_FOR_CONSTANT:
        return f"the model answers {answers[0]} to all {len(truth)} samples"
    return None


def _near_constant(evaluation: Evaluation, truth: list[object]) -> str | None:
    if not all(isinstance(target, (int, float)) for target in truth) or len(truth) < FEWEST_FOR_CONSTANT:
        return None
    what, error_of = _BEST_CONSTANTS[evaluation.metric.name]
    error = float(error_of(np.array(truth, dtype=float)))
    if error == 0 or evaluation.value.point < error:
        return None
    name, value = evaluation.metric.name, evaluation.value.point
    return f"{name} is {value:.3g}, always naming the labels' {what} gives {error:.3g}"


def _first(prediction: object) -> object:
    return prediction[0] if isinstance(prediction, tuple) and prediction else prediction


def _are_classes(truth: list[object]) -> bool:
    return all(isinstance(target, (int, str)) for target in truth)
