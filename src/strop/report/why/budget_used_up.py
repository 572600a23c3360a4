"""Forms that were not tried for want of time."""

from __future__ import annotations

from strop.report.phrases import counted
from strop.report.record import Record
from strop.report.why.contract import Explanation


def explain(record: Record) -> Explanation | None:
    """Speaks up where trials were left out."""
    left = [trial.label for trial in record.trials if trial.status == "not tried"]
    if not left:
        return None
    named = "; ".join(left[:4]) + (" ..." if len(left) > 4 else "")
    return Explanation(
        "budget used up",
        f"{counted(len(left), 'form was', 'forms were')} not tried: the budget was used up.",
        (named,),
        "a longer --budget",
    )
