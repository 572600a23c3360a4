"""The checks in the order they are made: the cheap and telling ones first, for as long as there is time."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from strop.machine import machine
from strop.optimize.advice.check_engines import check_engines, check_first_inference, check_threads
from strop.optimize.advice.check_forms import check_baseline, check_half_precision, check_int8, check_sparsity
from strop.optimize.advice.check_load import check_load
from strop.optimize.advice.examination import Examination
from strop.optimize.advice.situation import Measured

Check = tuple[Sequence[str], Callable[[Examination], None]]

CHECKS: Sequence[Check] = (
    (("baseline",), check_baseline),
    (("engines",), check_engines),
    (("one_thread", "bound"), check_threads),
    (("int8",), check_int8),
    (("streams", "batch", "synchronous"), check_load),
    (("half",), check_half_precision),
    (("sparse",), check_sparsity),
    (("first",), check_first_inference),
)
"""Each with the names of what it finds; fresh processes take longest and come last, where nobody asked for them."""

EXPECTED_SECONDS = 45.0
"""What all of them take on a model of some milliseconds, with three engines."""


def examine(examination: Examination) -> Measured:
    """Returns what all checks found; what is missing is in `not_measured`, with the reason."""
    wanted = examination.resources.goal == "first-inference"
    # Sorting keeps the order of equals: baseline and engines, then what was asked for, then the rest.
    for names, check in sorted(
        CHECKS, key=lambda one: wanted and one[0] not in (("baseline",), ("engines",), ("first",))
    ):
        if examination.found.get("near_chance"):  # nothing else is worth its time, nor would any of it be told
            break
        examination.check(names, check)
    found = {name: value for name, value in examination.found.items() if value is not None}
    return Measured(**found, cores=machine().cores, not_measured=examination.not_measured)
