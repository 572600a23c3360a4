"""Checks what a user set: knobs by name, kind and range, precision against the model, streams against threads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from strop.engines.contract import Knob, KnobValue, ModelSource, Settings
from strop.errors import NotSupportedError, UsageError


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """Returns a hint: the nearest of `names` where one is near, and all of them."""
    import difflib

    known = list(names)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    listed = ", ".join(known) if known else "none"
    return f"did you mean {near[0]!r}? (there are: {listed})" if near else f"there are: {listed}"


def knob_values(engine: str, knobs: tuple[Knob, ...], given: Mapping[str, KnobValue]) -> dict[str, KnobValue]:
    """Returns the value of every knob of `engine`: what was given, checked, else its default (without None)."""
    known = {knob.name: knob for knob in knobs}
    for name in given:
        if name not in known:
            raise UsageError(
                "usage.unknown-knob",
                f"{engine} has no knob {name!r}",
                hint=did_you_mean(name, [*known, "threads", "streams", "precision", "objective", "device", "cache"]),
            )
    values = {name: _checked(engine, known[name], value) for name, value in given.items()}
    return {knob.name: knob.default for knob in knobs if knob.default is not None} | values


def check_precision(engine: str, model: ModelSource, settings: Settings) -> str:
    """Returns the precision the model runs in, "f32" or "int8"; raises where another one was asked for."""
    there = "int8" if model.is_quantized else "f32"
    if settings.precision in (None, there):
        return there
    quantize_first = "quantize it first: strop quantize MODEL --data DATA -o OUT.onnx, or strop.compile(..., data=...)"
    raise NotSupportedError(
        "unsupported.precision",
        f"{engine} cannot run a model in {settings.precision} that is there in {there}",
        where=model.name,
        got=f"a model {'with' if model.is_quantized else 'without'} quantized activations",
        expected="a QDQ model for int8, a float model for f32",
        hint=quantize_first if settings.precision == "int8" else "give the float model it was made from",
    )


def check_streams(engine: str, threads: int, streams: int) -> None:
    """Raises UsageError where there are more streams than threads: each stream needs a thread of its own."""
    if streams > threads:
        raise UsageError(
            "usage.bad-option",
            f"{engine} cannot serve {streams} streams with {threads} thread{'s' * (threads != 1)}",
            expected="at most as many streams as threads",
            hint=f"threads={streams},streams={streams} or streams={threads}",
        )


def device_missing(engine: str, wanted: str, present: Iterable[str]) -> NotSupportedError:
    """Returns the error for a device that is not there, naming those that are."""
    there = ", ".join(present)
    return NotSupportedError(
        "unsupported.device-missing",
        f"{engine} has no device {wanted!r} here",
        got=wanted,
        expected=there,
        hint=f"use device={there.split(', ')[0]}, or install the driver and the {engine} package for {wanted}",
    )


def _checked(engine: str, knob: Knob, value: KnobValue) -> KnobValue:
    if knob.kind == "bool" and value in (0, 1) and not isinstance(value, float):
        return bool(value)
    if knob.kind == "int" and isinstance(value, int) and not isinstance(value, bool):
        low, high = knob.low, knob.high
        if (low is None or value >= low) and (high is None or value <= high):
            return value
    if knob.kind == "choice" and str(value).lower() in knob.choices:
        return str(value).lower()
    if knob.kind == "text":
        return str(value)
    expected = {
        "bool": "true or false",
        "int": f"a whole number from {knob.low} to {knob.high}" if knob.high is not None else f"at least {knob.low}",
        "choice": ", ".join(knob.choices),
        "text": "text",
    }[knob.kind]
    raise UsageError(
        "usage.bad-option",
        f"{engine}'s knob {knob.name!r} cannot take this value",
        got=value,
        expected=expected,
        hint=f"{knob.name}={knob.default}: {knob.summary}",
    )


def broken_install(title: str, package: str, error: Exception) -> NotSupportedError:
    """Returns the error for an engine that is installed and cannot be imported."""
    return NotSupportedError(
        "unsupported.engine-missing",
        f"{title} is installed and cannot be imported",
        got=f"{type(error).__name__}: {error}",
        hint=f"install it again: pip install --force-reinstall {package}",
    )
