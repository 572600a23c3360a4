"""A machine that is too noisy to tell."""

from __future__ import annotations

import re

from strop.report.phrases import counted, percent
from strop.report.reading import mapping, words
from strop.report.record import Record
from strop.report.why.contract import Explanation

LEAST_SHARE = 0.25
_SCATTER = re.compile(r"the machine is noisy \(calls scatter by (\d+)%\)")


def explain(record: Record) -> Explanation | None:
    """Speaks up where a quarter of the verdicts is `cannot tell`."""
    raced = [trial for trial in record.trials if trial.ratio is not None]
    unsure = [trial for trial in raced if trial.ratio and trial.ratio.verdict == "cannot tell"]
    if not unsure or len(unsure) < LEAST_SHARE * len(raced):
        return None
    scatter = _SCATTER.search(words(mapping(record.facts.get("plan")).get("words")))
    evidence = [f"{counted(len(unsure), 'race')} of {len(raced)} ended with `cannot tell`"]
    if scatter:
        evidence.append(f"the baseline's own calls scattered by {percent(int(scatter[1]) / 100)} (middle half)")
    return Explanation(
        "noise",
        "The machine was too noisy to tell some forms apart.",
        tuple(evidence),
        "a quiet machine (`strop doctor` says how quiet it is), or a longer `--budget`: intervals shrink with time",
    )
