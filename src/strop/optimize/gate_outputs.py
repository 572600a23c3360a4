"""Whether the new form of a model still gives what the old one gave: fast and wrong is no progress."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from strop.quality.agreement import tensor_distance
from strop.quality.decoders.scores import class_scores, first_output

Arrays = Mapping[str, np.ndarray]


def compare_outputs(old: Sequence[Arrays], new: Sequence[Arrays], *, tolerance: float) -> dict[str, Any]:
    """Returns how far the new outputs lie from the old ones: the worst sample's distance, and how many decide alike.

    same: whether every sample lies within `tolerance` (relative L2). same_decision: of how many samples the class with
    the highest score is the same, null where outputs are no scores.

    Example:
        >>> y = [{"y": np.array([[0.1, 0.9]], np.float32)}]
        >>> compare_outputs(y, y, tolerance=1e-3)["same"]
        True
    """
    distances = [tensor_distance(before, after) for before, after in zip(old, new, strict=True)]
    worst = max(distances, key=lambda one: one.relative_l2)
    decisions = [(_decision(before), _decision(after)) for before, after in zip(old, new, strict=True)]
    decided = all(before is not None for before, _ in decisions)
    return {
        "same": worst.finite and not worst.findings and worst.relative_l2 <= tolerance,
        "tolerance": tolerance,
        "relative_l2": worst.relative_l2,
        "max_abs": worst.max_abs,
        "output": worst.output,
        "findings": list(worst.findings),
        "samples": len(distances),
        "same_decision": sum(before == after for before, after in decisions) if decided else None,
    }


def in_words(found: Mapping[str, Any]) -> str:
    """Returns the sentence that says how outputs changed."""
    words = f"outputs changed: relative L2 {found['relative_l2']:.2g} at {found['output']!r}"
    words += f" (up to {found['tolerance']:.0e} is rounding)"
    if found["same_decision"] is not None:
        words += f", the same decision in {found['same_decision']} of {found['samples']}"
    return "; ".join([words, *found["findings"]])


def _decision(outputs: Arrays) -> int | None:
    first = first_output(outputs)
    scores = None if first is None else class_scores(np.asarray(first))
    return None if scores is None or np.isnan(scores).any() else int(np.argmax(scores))
