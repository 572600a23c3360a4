"""Forms that were not tried for want of time."""

from __future__ import annotations

from strop.report.phrases import counted
from strop.report.record import Record
from strop.report.why.contract import Explanation


def explain(record: Record) -> Explanation | None:
    """Speaks up where trials, or INT8 as a whole, were left out."""
    left = [trial.label for trial in record.trials if trial.status == "not tried"]
    quantizing = [one.words for one in record.decisions if one.words.startswith("INT8 for") and "budget" in one.words]
    if not left and not quantizing:
        return None
    named = ["; ".join(left[:4]) + (" ..." if len(left) > 4 else "")] if left else []
    return Explanation(
        "budget used up",
        f"{counted(len(left), 'form was', 'forms were')} not tried: the budget was used up."
        if left
        else "INT8 was not tried for some engines: the budget was used up.",
        (*named, *quantizing),
        "a longer `--budget`",
    )
