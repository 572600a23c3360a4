"""Times callables and says how sure the figures are.

Does: latency, throughput, interleaved comparison with a verdict, memory, first inference in fresh processes, and the
statistics under them; hosts what is measured in this process or in a worker process.
Does not: know models or engines; read a clock outside `clock.py`; print.
Start reading at: `comparison.py`, then `rounds.py` (its interval) and `turns.py` (why engines wait for each other).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from strop.measure.comparison import Compared as Compared
    from strop.measure.comparison import compare as compare
    from strop.measure.comparison import compare_blocks as compare_blocks
    from strop.measure.estimate import Estimate as Estimate
    from strop.measure.estimate import Speedup as Speedup
    from strop.measure.estimate import Verdict as Verdict
    from strop.measure.latency import Latency as Latency
    from strop.measure.latency import measure_latency as measure_latency

_HOMES = {
    "Compared": "comparison",
    "compare": "comparison",
    "compare_blocks": "comparison",
    "Estimate": "estimate",
    "Speedup": "estimate",
    "Verdict": "estimate",
    "Latency": "latency",
    "measure_latency": "latency",
}

__all__ = [
    "Compared",
    "Estimate",
    "Latency",
    "Speedup",
    "Verdict",
    "compare",
    "compare_blocks",
    "measure_latency",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
