"""Which engines there are: the built-in ones, and those that installed packages add by entry point."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Protocol, cast, runtime_checkable

from strop.engines.contract import Engine, ModelSource, Settings
from strop.engines.knobs import did_you_mean
from strop.errors import EngineError, UsageError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint


@runtime_checkable
class Covering(Protocol):
    """An engine that leaves part of some models to another one."""

    def covers(self, model: ModelSource) -> bool:
        """Whether it runs all of the model itself."""


BUILT_IN = {
    "native": "strop.engines.native.engine:NativeEngine",
    "onnxruntime": "strop.engines.onnxruntime:OnnxRuntimeEngine",
    "openvino": "strop.engines.openvino:OpenVinoEngine",
    "reference": "strop.engines.reference:ReferenceEngine",
}
"""The built-in engines by name; their modules import their library only when they are asked to."""

ENTRY_POINTS = "strop.engines"
"""The entry point group: each names a class (or a function without arguments) that gives an Engine."""


def engine_names() -> tuple[str, ...]:
    """Returns every engine's name, those of plug-ins last; loads none of them."""
    return (*BUILT_IN, *sorted(name for name in _plug_ins() if name not in BUILT_IN))


def engines() -> dict[str, Engine]:
    """Returns the built-in engines by name, installed or not. A plug-in's code is loaded only by `get_engine`."""
    return {name: get_engine(name) for name in BUILT_IN}


def get_engine(name: str) -> Engine:
    """Returns the engine of this name; raises UsageError `usage.unknown-engine`.

    Example:
        >>> get_engine("onnxruntime").name
        'onnxruntime'
    """
    if name in BUILT_IN:
        module, _, factory = BUILT_IN[name].partition(":")
        return cast(Engine, getattr(importlib.import_module(module), factory)())
    plug_in = _plug_ins().get(name)
    if plug_in is None:
        raise UsageError(
            "usage.unknown-engine", f"no engine is called {name!r}", hint=did_you_mean(name, engine_names())
        )
    try:
        return cast(Engine, plug_in.load()())
    except Exception as error:
        raise EngineError(
            "engine.compile",
            f"the plug-in engine {name!r} failed to load",
            where=plug_in.value,
            got=f"{type(error).__name__}: {error}",
            hint="update or uninstall the package that brings it",
        ) from error


def parse_engine(text: str) -> tuple[Engine, Settings]:
    """Returns engine and settings from `name` or `name:setting=value,...`.

    Example:
        >>> engine, settings = parse_engine("openvino:threads=2,streams=1")
        >>> engine.name, settings.threads
        ('openvino', 2)
    """
    name, _, settings = text.partition(":")
    return get_engine(name.strip()), Settings.parse(settings)


def automatic_engines(model: ModelSource, settings: Settings | None = None) -> list[Engine]:
    """Returns the engines that "auto" tries, best first: a fixed order, nothing is measured.

    The order is: our own compiler where it has a kernel for every node, OpenVINO where it is installed, ONNX Runtime.
    settings: one that names a device or knobs means an engine that has them, not ours.
    """
    native, openvino = get_engine("native"), get_engine("openvino")
    is_plain = settings is None or (settings.device.upper() == "CPU" and not settings.knobs)
    found: list[Engine] = []
    if is_plain and isinstance(native, Covering) and native.covers(model):
        found.append(native)
    if openvino.available().available:
        found.append(openvino)
    return [*found, get_engine("onnxruntime")]


def choose_engine(model: ModelSource) -> Engine:
    """Returns the engine that "auto" stands for; `automatic_engines` says how it is chosen."""
    return automatic_engines(model)[0]


def _plug_ins() -> dict[str, EntryPoint]:
    from importlib.metadata import entry_points  # takes longer to import than this whole room

    return {point.name: point for point in entry_points(group=ENTRY_POINTS)}
