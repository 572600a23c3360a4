"""Too few samples to be sure of the accuracy."""

from __future__ import annotations

from strop.report.metric_words import metric_words
from strop.report.phrases import counted
from strop.report.reading import count, mapping, number
from strop.report.record import Record
from strop.report.why.contract import Explanation


def explain(record: Record) -> Explanation | None:
    """Speaks up where the limit is kept but not certified."""
    accuracy = mapping(record.confirmation.get("accuracy"))
    n, bound, limit = count(accuracy.get("n")), number(accuracy.get("bound")), number(accuracy.get("limit"))
    if (
        record.confirmation.get("certified") is not False
        or not record.gained
        or not n
        or bound is None
        or limit is None
    ):
        return None
    if bound <= limit:
        return None
    metric = metric_words(accuracy)
    needed = count(accuracy.get("needed_n"))
    return Explanation(
        "accuracy uncertain",
        "The accuracy limit is kept on these samples, but they are too few to certify it.",
        (
            f"{counted(n, 'sample')}: with 95 % confidence it loses at most {metric.at_most(bound)}",
            f"the limit is {metric.size(limit)}",
        ),
        f"about {counted(needed, 'confirmation sample')}" if needed else "many more samples, or a form that loses less",
    )
