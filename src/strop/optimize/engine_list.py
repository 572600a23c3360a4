"""Reads `A,B:threads=2,streams=1,C`: engines by name, each with settings of its own where it carries some."""

from __future__ import annotations

from typing import Literal

from strop.engines.contract import Settings
from strop.engines.registry import automatic_engines, parse_engine
from strop.errors import UsageError
from strop.model.model import Model


def split_engines(text: str) -> list[str]:
    """Returns each engine with its settings, in order.

    A part without a colon and with an equals sign belongs to the engine before it.

    Example:
        >>> split_engines("onnxruntime,openvino:threads=2,streams=1")
        ['onnxruntime', 'openvino:threads=2,streams=1']
    """
    engines: list[str] = []
    for part in (piece.strip() for piece in text.split(",")):
        if not part:
            continue
        if "=" in part and ":" not in part and engines and ":" in engines[-1]:
            engines[-1] += f",{part}"
        else:
            engines.append(part)
    if not engines:
        raise UsageError(
            "usage.bad-option",
            "no engine is named",
            got=text,
            hint="--engines onnxruntime,openvino; `strop doctor` lists them",
        )
    return engines


def chosen_engine(
    text: str, model: Model, *, threads: int | None = None, objective: Literal["latency", "throughput"] = "latency"
) -> tuple[list[str], Settings]:
    """Returns the engine that `text` names, or for "auto" those that `strop.compile` would try, and the settings."""
    if text == "auto":
        engines, settings = automatic_engines(model), Settings()
    else:
        named, settings = parse_engine(text)
        engines = [named]
    given: dict[str, object] = {"objective": objective}
    if threads is not None and settings.threads is None:
        given["threads"] = threads
    if settings.precision is None:
        given["precision"] = "int8" if model.is_quantized else "f32"
    return [engine.name for engine in engines], settings.updated(given)
