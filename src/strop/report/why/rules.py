"""The rules, as one readable list: what limits the speed first, then what keeps the search from telling."""

from __future__ import annotations

from collections.abc import Callable

from strop.report.record import Record
from strop.report.why import (
    accuracy_uncertain,
    budget_used_up,
    call_overhead,
    first_inference,
    int8_missing,
    int8_no_faster,
    int8_refused,
    machine_limit,
    memory_bandwidth,
    noise,
    not_native,
    small_operations,
    thread_scaling,
)
from strop.report.why.contract import Explanation

RULES: tuple[Callable[[Record], Explanation | None], ...] = (
    machine_limit.explain,
    memory_bandwidth.explain,
    call_overhead.explain,
    not_native.explain,
    small_operations.explain,
    thread_scaling.explain,
    int8_refused.explain,
    int8_missing.explain,
    int8_no_faster.explain,
    accuracy_uncertain.explain,
    first_inference.explain,
    noise.explain,
    budget_used_up.explain,
)


def explanations(record: Record) -> list[Explanation]:
    """Returns what the rules have to say of a record, in their order.

    Example:
        >>> explanations(Record({}))
        []
    """
    return [found for rule in RULES if (found := rule(record)) is not None]
