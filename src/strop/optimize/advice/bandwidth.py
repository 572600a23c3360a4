"""Whether arithmetic or memory is what a request waits for: it decides what 8 bits, threads and batching can give."""

from __future__ import annotations

from strop.optimize.advice.recommendation import Recommendation
from strop.optimize.advice.situation import Situation, duration

BOUND_SHARE = 0.4
"""Of a request's time that the least possible time must reach before the request is called bound by it."""


def advise_on_bound(situation: Situation) -> list[Recommendation]:
    """Returns what limits the operations, by the rates measured on this machine."""
    bound, model = situation.measured.bound, situation.model
    if bound is None or (bound.arithmetic is None and bound.memory is None):
        return []
    arithmetic, memory = bound.arithmetic or 0.0, bound.memory or 0.0
    megabytes = model.weight_bytes / 1e6
    evidence: dict[str, object] = {
        "call_ms": bound.call * 1e3,
        "arithmetic_ms": None if bound.arithmetic is None else bound.arithmetic * 1e3,
        "memory_ms": None if bound.memory is None else bound.memory * 1e3,
        "weights_mb": megabytes,
        "weights_in": bound.level,
    }
    figures = (
        f"of {duration(bound.call)} on one thread, reading {megabytes:.3g} MB of weights from {bound.level} takes at "
        f"least {duration(memory)}, the multiply-adds at least {duration(arithmetic)} (rates measured here)"
    )
    if memory >= BOUND_SHARE * bound.call and memory > arithmetic:
        int8 = "8-bit weights are a quarter of the bytes"
        batch = "; a batch reads the weights once for all its inputs" if model.free_batch else ""
        return [
            Recommendation(
                "bound.memory",
                "do" if not model.is_quantized else "know",
                f"Bound by memory bandwidth: {int8}{batch}. More threads share the same memory.",
                figures,
                evidence,
            )
        ]
    if arithmetic >= BOUND_SHARE * bound.call:
        return [
            Recommendation(
                "bound.arithmetic",
                "know",
                "Bound by arithmetic: only fewer or narrower products (a smaller model, 8 bits) or more cores make it "
                "much faster.",
                figures,
                evidence,
            )
        ]
    return [
        Recommendation(
            "bound.neither",
            "know",
            "Neither arithmetic nor weights explain the time: small operators, activations or calls do; see which.",
            figures,
            evidence,
            f"strop explain {situation.resources.quoted} --engine native",
        )
    ]
