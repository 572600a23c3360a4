"""The samples that a change of the model changed: from right to wrong first, then back, then other answers.

An average hides what a look at these samples shows: one and the same kind of image, a class that is always lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from strop.quality.agreement import AgreementReport
from strop.quality.contract import Prediction
from strop.quality.evaluate import Evaluation
from strop.quality.hits import losses

MOST_ROWS = 100
"""Of the JSON document; the number of all of them is said."""

Kind = Literal["lost", "gained", "changed"]


@dataclass(frozen=True, slots=True)
class Flip:
    """A sample that a and b judge differently; loss is positive where b is worse.

    confidence_before, confidence_after: the share of the best class, where the outputs are class scores.
    """

    key: str
    target: object
    before: Prediction
    after: Prediction
    loss: float
    confidence_before: float | None = None
    confidence_after: float | None = None

    @property
    def kind(self) -> Kind:
        """Whether b is worse here, better, or only different."""
        return "lost" if self.loss > 0 else "gained" if self.loss < 0 else "changed"

    def to_json(self) -> dict[str, object]:
        """Returns the fields that are known as a JSON object; confidences rounded."""
        found: dict[str, object] = {
            "sample": self.key,
            "change": self.kind,
            "target": self.target,
            "before": self.before,
            "after": self.after,
        }
        for name in ("confidence_before", "confidence_after"):
            share = getattr(self, name)
            if share is not None:
                found[name] = round(share, 4)
        return found


def list_flips(a: Evaluation, b: Evaluation) -> list[Flip]:
    """Returns the samples on which a and b differ in score or prediction, b's worst losses first.

    Of equal losses, those come first of which the original was surest.
    """
    nothing = (None,) * a.n
    flips = [
        Flip(key, target, before, after, loss, *confidences)
        for key, target, before, after, loss, *confidences in zip(
            a.keys,
            a.targets,
            a.predictions,
            b.predictions,
            losses(a, b).tolist(),
            a.confidences or nothing,
            b.confidences or nothing,
            strict=True,
        )
        if loss != 0 or before != after
    ]
    return sorted(flips, key=lambda flip: (-flip.loss, -(flip.confidence_before or 0.0)))


def flips_report(a: Evaluation, b: Evaluation) -> dict[str, object]:
    """Returns the changed predictions as a JSON object: how many of which kind, in words, and the first MOST_ROWS."""
    return _report(list_flips(a, b), a.n)


def agreement_flips(found: AgreementReport) -> dict[str, object]:
    """Returns the samples on which two models disagree, without labels, as a JSON object."""
    flips = [Flip(key, None, before, after, 0.0) for key, before, after in found.changes]
    rows = [{"sample": flip.key, "before": flip.before, "after": flip.after} for flip in flips[:MOST_ROWS]]
    words = f"{len(flips)} of {found.n} predictions changed" if flips else f"none of {found.n} predictions changed"
    return {"n": found.n, "total": len(flips), "rows": rows, "words": words}


def _report(flips: Sequence[Flip], n: int) -> dict[str, object]:
    counts = {kind: sum(flip.kind == kind for flip in flips) for kind in ("lost", "gained", "changed")}
    words = f"none of {n} predictions changed"
    if flips:
        words = (
            f"{len(flips)} of {n} predictions changed: {counts['lost']} for the worse, {counts['gained']} for the "
            f"better, {counts['changed']} with no change in score"
        )
    rows = [flip.to_json() for flip in flips[:MOST_ROWS]]
    return {"n": n, "total": len(flips), **counts, "rows": rows, "words": words}
