"""16-bit floats: half the bytes, and on most CPUs no speed (W7)."""

from __future__ import annotations

from strop.measure.estimate import Verdict
from strop.optimize.advice.recommendation import Recommendation
from strop.optimize.advice.situation import Situation, times


def advise_on_half_precision(situation: Situation) -> list[Recommendation]:
    """Says what a copy of the model in float16 gave on each engine."""
    half, model = situation.measured.half, situation.model
    if model.is_half:
        return [
            Recommendation(
                "half.export",
                "do",
                "Export the model in float32: this one computes in 16-bit floats, which most CPUs widen again.",
                "its weights or inputs are float16 or bfloat16",
                command=f"strop inspect {situation.resources.quoted}",
            )
        ]
    if not half:
        return [Recommendation("half.unknown", "know", "FP16 was not tried.", situation.why_not("half"))]
    reason = "measured against float32: " + "; ".join(f"{name} {times(one)}" for name, one in half.items())
    if "half" in situation.measured.not_measured:
        reason += f"; {situation.measured.not_measured['half']} (not measured)"
    evidence = {name: one.to_json() for name, one in half.items()}
    faster = [name for name, one in half.items() if one.verdict is Verdict.FASTER]
    if faster:
        text = f"FP16 is faster on {', '.join(faster)}: verify its accuracy before you use it."
        return [Recommendation("half.faster", "know", text, reason, evidence)]
    if any(one.verdict is Verdict.CANNOT_TELL for one in half.values()):
        return [Recommendation("half.unclear", "know", "Whether FP16 helps cannot be told.", reason, evidence)]
    return [
        Recommendation(
            "half.no-speed",
            "do not",
            "Do not convert to FP16 for speed: it does not speed up this CPU.",
            reason,
            evidence,
        )
    ]
