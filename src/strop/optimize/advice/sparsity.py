"""Sparse weights: smaller when packed, and no faster without kernels that skip zeros (W7)."""

from __future__ import annotations

from strop.measure.estimate import Verdict
from strop.optimize.advice.recommendation import Recommendation
from strop.optimize.advice.situation import Situation, times


def advise_on_sparsity(situation: Situation) -> list[Recommendation]:
    """Says how sparse the weights are, and what zeros would give on the engine that is fastest here."""
    measured, model = situation.measured, situation.model
    now = f"{model.zero_share:.0%} of the weights are zero"
    if measured.sparse is None:
        return [
            Recommendation(
                "sparsity.unknown",
                "know",
                "What sparse weights would give was not tried.",
                f"{now}; {situation.why_not('sparse')}",
                {"zero_share": model.zero_share},
            )
        ]
    evidence: dict[str, object] = {"zero_share": model.zero_share, "sparse": measured.sparse.to_json()}
    reason = (
        f"{now}; with {measured.sparse_share:.0%} zero, {measured.best} is {times(measured.sparse)} as fast (measured)"
    )
    if measured.sparse.verdict is Verdict.FASTER:
        return [
            Recommendation(
                "sparsity.pays", "know", "Sparse weights are faster here: pruning could pay.", reason, evidence
            )
        ]
    if measured.sparse.verdict is Verdict.CANNOT_TELL:
        return [Recommendation("sparsity.unclear", "know", "Whether zeros help cannot be told.", reason, evidence)]
    return [
        Recommendation(
            "sparsity.no-speed",
            "do not",
            "Do not prune for speed: no kernel here skips zeros.",
            reason,
            evidence,
        )
    ]
