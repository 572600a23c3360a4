"""The limits a user sets: how much a candidate may lose, and what latency, memory and throughput it must keep."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from strop.errors import UsageError

_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}
_BYTES = {"kb": 1e3, "mb": 1e6, "gb": 1e9, "kib": 2.0**10, "mib": 2.0**20, "gib": 2.0**30}
_NUMBER = r"(\d+(?:\.\d*)?|\.\d+)"


@dataclass(frozen=True, slots=True)
class Limit:
    """What a form must keep: its latency (bound in seconds), memory (bytes) or throughput (inferences per second).

    statistic: which latency, "p50", "p99" or "mean"; of memory the peak; of throughput the rate.
    """

    kind: Literal["latency", "memory", "throughput"]
    statistic: str
    bound: float

    @property
    def words(self) -> str:
        """The limit as people say it.

        Example:
            >>> Limit("latency", "p99", 0.01).words
            'p99 latency at most 10 ms'
        """
        if self.kind == "latency":
            return f"{self.statistic} latency at most {self.bound * 1e3:g} ms"
        if self.kind == "memory":
            return f"peak memory at most {self.bound / 1e6:g} MB"
        return f"throughput at least {self.bound:g} per second"

    @property
    def percent(self) -> float | None:
        """Which percentile it is about, None for anything else."""
        return float(self.statistic[1:]) if self.kind == "latency" and self.statistic != "mean" else None

    def shown(self, value: float) -> str:
        """Returns a value in the limit's unit."""
        if self.kind == "latency":
            return f"{value * 1e3:.3g} ms"
        return f"{value / 1e6:.4g} MB" if self.kind == "memory" else f"{value:.3g} per second"

    def to_json(self) -> dict[str, object]:
        """Returns the fields and the words as a JSON object."""
        return {**asdict(self), "words": self.words}


def parse_limits(
    max_latency: str | Sequence[str] | None = None,
    max_memory: str | None = None,
    min_throughput: str | float | None = None,
) -> tuple[Limit, ...]:
    """Returns the limits that the options state: `p99=10ms,p50=5ms`, `200MB`, `100`; raises UsageError.

    Example:
        >>> [limit.words for limit in parse_limits("p99=10ms", "200MB")]
        ['p99 latency at most 10 ms', 'peak memory at most 200 MB']
    """
    texts = [max_latency] if isinstance(max_latency, str) else list(max_latency or ())
    found = [_latency(part.strip()) for text in texts for part in text.split(",")]
    if len({limit.statistic for limit in found}) < len(found):
        raise _bad("--max-latency", ",".join(texts), "each of p50, p99, mean at most once")
    if max_memory is not None:
        found.append(_memory(str(max_memory)))
    if min_throughput is not None:
        found.append(_throughput(str(min_throughput)))
    return tuple(found)


def _latency(text: str) -> Limit:
    match = re.fullmatch(rf"(?:(mean|p\d{{1,2}}(?:\.\d+)?)\s*=\s*)?{_NUMBER}\s*(us|ms|s)", text.lower())
    statistic = match[1] or "p50" if match else ""
    if not match or float(match[2]) <= 0 or statistic in ("p0", "p00"):
        raise _bad("--max-latency", text, "p99=10ms, p50=5ms or mean=5ms (a length of time in us, ms or s)")
    if statistic != "mean":
        statistic = f"p{float(statistic[1:]):g}"
    return Limit("latency", statistic, float(match[2]) * _SECONDS[match[3]])


def _memory(text: str) -> Limit:
    match = re.fullmatch(rf"{_NUMBER}\s*([kmg]i?b)", text.strip().lower())
    if not match or float(match[1]) <= 0:
        raise _bad("--max-memory", text, "200MB, 1.5GB or 200MiB")
    return Limit("memory", "peak", float(match[1]) * _BYTES[match[2]])


def _throughput(text: str) -> Limit:
    match = re.fullmatch(rf"{_NUMBER}\s*(?:/s)?", text.strip().lower())
    if not match or float(match[1]) <= 0:
        raise _bad("--min-throughput", text, "a number of inferences per second, as 100")
    return Limit("throughput", "rate", float(match[1]))


def _bad(option: str, got: object, expected: str) -> UsageError:
    return UsageError(
        "usage.bad-option",
        f"{option} cannot be read",
        got=got,
        expected=expected,
        hint={
            "--max-latency": "--max-latency p99=10ms",
            "--max-memory": "--max-memory 200MB",
            "--min-throughput": "--min-throughput 100",
        }[option],
    )


def parse_drop(text: str | float, *, is_fraction: bool, relative: bool = False) -> float:
    """Returns the limit that `text` states, in the metric's unit, or as a share of the baseline where `relative`.

    `1%` of a metric that is a fraction means 0.01 of it, absolute; of any other metric a percentage means nothing
    unless it is relative.

    Example:
        >>> parse_drop("1%", is_fraction=True)
        0.01
    """
    written = str(text).strip()
    percent = written.endswith("%")
    try:
        value = float(written.rstrip("%"))
    except ValueError:
        value = float("nan")
    if not 0 <= value < float("inf"):
        raise UsageError(
            "usage.bad-option", "not a limit for a drop", got=text, expected="1% or 0.01", hint="--max-drop 1%"
        )
    if percent and not relative and not is_fraction:
        raise UsageError(
            "usage.bad-option",
            "a percentage of a metric that is not a fraction is ambiguous",
            got=text,
            expected="a number in the metric's unit",
            hint="give the limit as a number, or add --relative for a share of the baseline",
        )
    return value / 100 if percent else value
