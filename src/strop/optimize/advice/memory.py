"""Memory: which engine takes least, and what takes the rest (W6)."""

from __future__ import annotations

from strop.optimize.advice.commands import compare_line
from strop.optimize.advice.recommendation import Recommendation
from strop.optimize.advice.situation import Situation


def advise_on_memory(situation: Situation) -> list[Recommendation]:
    """Says what each engine keeps resident, where memory is what the user is after."""
    if situation.resources.goal != "memory":
        return []
    kept = {one.name: one.steady_bytes / 1e6 for one in situation.measured.engines if one.steady_bytes}
    if not kept:
        return [Recommendation("memory.unknown", "know", "Memory is not known.", situation.why_not("engines"))]
    least = min(kept, key=kept.__getitem__)
    weights = situation.model.weight_bytes / 1e6
    shown = ", ".join(f"{name} {megabytes:.0f} MB" for name, megabytes in sorted(kept.items(), key=lambda one: one[1]))
    narrower = (
        "" if situation.model.is_quantized else f", 8 bits take three quarters of the {weights:.3g} MB of weights"
    )
    names = [least, *(name for name in kept if name != least)]
    return [
        Recommendation(
            "memory.least",
            "do",
            f"Prefer {least} and one stream (each stream has buffers of its own){narrower}.",
            f"resident after warm requests, Python included (measured): {shown}",
            {"steady_memory_mb": kept, "weights_mb": weights},
            compare_line(situation.resources, names) if len(kept) > 1 else None,
        )
    ]
