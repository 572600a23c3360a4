"""Checks the words that name a choice, so that every command refuses a wrong one alike."""

from __future__ import annotations

from typing import Literal

from strop.errors import UsageError


def checked_precision(text: str) -> Literal["f32", "int8"]:
    """Returns the precision that `text` names; raises UsageError (`usage.bad-option`)."""
    if text == "f32":
        return "f32"
    if text == "int8":
        return "int8"
    raise UsageError("usage.bad-option", "unknown precision", got=text, expected="f32 or int8", hint="--precision f32")


def checked_objective(text: str) -> Literal["latency", "throughput"]:
    """Returns the objective that `text` names (`tput` is short for throughput); raises UsageError."""
    if text == "latency":
        return "latency"
    if text in ("throughput", "tput"):
        return "throughput"
    raise UsageError(
        "usage.bad-option", "unknown objective", got=text, expected="latency or throughput", hint="--objective latency"
    )
