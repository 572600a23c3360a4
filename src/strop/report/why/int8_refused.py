"""INT8 forms that cost too much accuracy."""

from __future__ import annotations

from strop.report.record import Record
from strop.report.why.contract import Explanation


def explain(record: Record) -> Explanation | None:
    """Speaks up where INT8 was dropped for its accuracy, before or after it was timed, and none was handed over."""
    if record.gained and record.confirmation.get("precision") == "int8":
        return None
    evidence = [one.words for one in record.decisions if " dropped before it was timed: " in one.words]
    evidence += [
        f"{trial.label}: {trial.reason}"
        for trial in record.trials
        if trial.precision == "int8" and trial.status == "dropped" and trial.is_judged
    ]
    evidence += [
        one.words for one in record.decisions if one.words.startswith("not confirmed:") and "int8" in one.words
    ]
    if not evidence:
        return None
    return Explanation(
        "INT8 refused",
        "INT8 was tried, and cost more accuracy than the limit allows.",
        tuple(dict.fromkeys(evidence)),
        "a looser limit (`--max-drop`) where the application bears it, more calibration samples, float32 for the most "
        "sensitive layers, or quantization-aware training",
    )
