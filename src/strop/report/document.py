"""The page's contents as one JSON document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from strop.measure.statistics import percentile
from strop.report.record import SIDES, Record
from strop.report.sections.rerun import reruns
from strop.report.sections.verdict import verdict
from strop.report.why.rules import explanations

SCHEMA = "strop.report/1"
_QUANTILES = (50.0, 90.0, 99.0, 99.9)
_OWN = frozenset({"schema", "confirmation"})
"""Facts that are not repeated under `facts`."""


def report_document(record: Record, contents: Mapping[str, Any], *, study: str) -> dict[str, Any]:
    """Returns the document `strop.report/1`: verdict, explanations, percentiles, and what the study holds.

    contents: what `study_contents` gave; the raw samples are left out, their percentiles stand in for them.
    """
    said = verdict(record)
    return {
        "schema": SCHEMA,
        "study": study,
        "state": record.state,
        "gained": record.gained,
        "sentence": said.sentence,
        "notes": [note for note in said.notes if note],
        "explanations": [one.to_json() for one in explanations(record)],
        "confirmation": dict(record.confirmation) or None,
        "percentiles_ms": {side: _percentiles(record.confirmed_samples(side, "latency")) for side in SIDES},
        "rerun": [asdict(one) for one in reruns(record, study)],
        "facts": {name: fact for name, fact in record.facts.items() if name not in _OWN},
        "trials": contents["trials"],
        "decisions": contents["decisions"],
    }


def _percentiles(seconds: Sequence[float]) -> list[dict[str, object]] | None:
    """Returns each percentile, without value where the samples do not earn it; None without samples."""
    if not seconds:
        return None
    return [percentile([1e3 * one for one in seconds], q).to_json() for q in _QUANTILES]
