"""INT8 forms that were accurate enough to be raced, and no faster."""

from __future__ import annotations

from strop.report.phrases import ratio_interval
from strop.report.reading import items, mapping, words
from strop.report.record import Record
from strop.report.why.contract import Explanation


def explain(record: Record) -> Explanation | None:
    """Speaks up where INT8 forms were raced and none was faster than the best so far."""
    raced = [trial for trial in record.trials if trial.precision == "int8" and trial.ratio is not None]
    if not raced or not record.trials or record.trials[0].precision == "int8":
        return None
    if any(trial.status == "kept" or trial.is_judged or (trial.ratio and trial.ratio.low > 1) for trial in raced):
        return None
    evidence = [
        f"{trial.label}: {ratio_interval(trial.ratio)} times as fast as {trial.against}"
        for trial in raced
        if trial.ratio
    ]
    here = mapping(record.facts.get("machine"))
    flags = {words(flag) for flag in items(here.get("flags"))}
    change = "an engine with better INT8 kernels for these layers; large convolutions and matrix products gain most"
    if flags and not flags & {"avx512_vnni", "avx_vnni", "asimddp", "amx_int8"}:
        evidence.append("this CPU has no 8-bit dot product (VNNI, AMX), which is where INT8 gains most")
        change = "a CPU with VNNI or AMX; here float32 is the better form"
    return Explanation("INT8 no faster", "INT8 was raced, and is no faster here.", tuple(evidence), change)
