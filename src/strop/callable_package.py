"""Lets a package be called: `strop.quantize` is a room of the house and a public function at once.

Importing any module of a room makes the room an attribute of `strop` and hides a function of the same name, so the
room itself answers the call. See "Customizing module attribute access" in Python's language reference.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import Any


def make_callable(package: str, home: str) -> None:
    """Makes calls of `package` calls of the function of the same name in the module `home`, imported when called."""
    name = package.rpartition(".")[2]

    class CallablePackage(ModuleType):
        """A package that answers calls."""

        def __call__(self, *arguments: Any, **options: Any) -> Any:
            return getattr(import_module(home), name)(*arguments, **options)

    sys.modules[package].__class__ = CallablePackage
