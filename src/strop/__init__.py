"""Strop takes a trained neural network and gives back its fastest deployable form, with the evidence.

Example:
    >>> import strop
    >>> strop.__version__
    '0.1.0'
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from strop import measure as measure
    from strop.errors import StropError as StropError
    from strop.measure.stages import stage as stage
    from strop.model.preprocess import Preprocess as Preprocess
    from strop.optimize.api import optimize as optimize
    from strop.quantize.api import quantize as quantize
    from strop.quantize.compiling import compile as compile
    from strop.runtime.load import load as load

__version__ = "0.1.0"

__all__ = ["Preprocess", "StropError", "compile", "load", "measure", "optimize", "quantize", "stage"]

_HOMES = {
    "Preprocess": "strop.model.preprocess",
    "StropError": "strop.errors",
    "compile": "strop.quantize.compiling",
    "load": "strop.runtime.load",
    "stage": "strop.measure.stages",
}
"""Where each public name lives; it is imported when it is first asked for, so that `import strop` stays light."""

_PACKAGES = ("measure", "optimize", "quantize")
"""Public packages; `optimize` and `quantize` can be called (see `callable_package.py`)."""


def __getattr__(name: str) -> object:
    if name in _PACKAGES:
        return import_module(f"strop.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module 'strop' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
