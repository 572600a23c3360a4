"""Training-time compression: the last resort for accuracy in 8 bits; it takes hours and the training pipeline."""

from __future__ import annotations

from strop.optimize.advice.commands import verify_line
from strop.optimize.advice.quantization import progress_of
from strop.optimize.advice.quantization_order import Leaf, next_in_order
from strop.optimize.advice.recommendation import Recommendation
from strop.optimize.advice.situation import Situation, times

LEAST_SECONDS = 3600.0
"""Even a short fine-tuning with quantization takes about that long."""


def advise_on_training(situation: Situation) -> list[Recommendation]:
    """Says when to train again, and when not to; nothing where the model cannot be trained."""
    resources, int8 = situation.resources, situation.measured.int8
    if not resources.training or situation.model.is_quantized:
        return []
    if resources.seconds is not None and resources.seconds < LEAST_SECONDS:
        reason = f"it takes an hour and more, and there are {resources.seconds:.0f} s"
        return [Recommendation("training.no-time", "do not", "Do not train again within this time.", reason)]
    evidence: dict[str, object] = {"speedup": int8.speedup.to_json()} if int8 and int8.speedup else {}
    leaf = next_in_order(progress_of(situation))
    if leaf in (Leaf.NOTHING, Leaf.NOT_WORTH_IT):
        reason = f"8 bits: {times(int8.speedup)} measured" if int8 and int8.speedup else str(leaf)
        return [
            Recommendation(
                "training.not-worth-it", "do not", "Do not train for 8 bits: they gain nothing here.", reason, evidence
            )
        ]
    if int8 is not None and int8.accuracy == "lost":
        return [
            Recommendation(
                "training.quantization-aware",
                "do",
                "Where the repairs above do not hold the accuracy, train with quantization in your framework, export "
                "as QDQ ONNX, and verify (Strop itself does not train).",
                int8.accuracy_words,
                evidence,
                verify_line(resources, ".trained.onnx") if resources.data else None,
            )
        ]
    known = (
        "post-training quantization keeps the accuracy"
        if int8 and int8.accuracy == "kept"
        else ("what post-training quantization loses is not measured")
    )
    return [
        Recommendation(
            "training.later",
            "do not" if int8 is not None and int8.accuracy == "kept" else "know",
            "Do not train again yet: post-training quantization comes first, in minutes.",
            known,
            evidence,
        )
    ]
