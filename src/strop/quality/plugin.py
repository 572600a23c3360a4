"""Objects from a user's Python file, named `path/to/file.py:name`. Run only because the user names them."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from strop.errors import DataError, StropError

_NAMED = re.compile(r"^(?P<file>.+\.py):(?P<name>[A-Za-z_]\w*)$", re.DOTALL)


def is_plugin(text: object) -> bool:
    """Returns whether `text` has the form `file.py:name`."""
    return isinstance(text, str) and _NAMED.match(text) is not None


def load_plugin(text: str) -> object:
    """Returns the object `name` of `file.py:name`; raises DataError (`data.plugin`) where that fails.

    The file is run as a module of its own; while it runs, its folder comes first on the module search path.
    """
    return load_with_sibling(text, None)[0]


def load_with_sibling(text: str, sibling: str | None) -> tuple[object, object]:
    """Returns what `load_plugin` returns, and what the file calls `sibling`, None where it has none of that name."""
    match = _NAMED.match(text)
    if match is None:
        raise DataError(
            "data.plugin", "not of the form file.py:name", got=text, hint="name a Python file and a name in it"
        )
    path, name = Path(match["file"]), match["name"]
    if not path.is_file():
        raise DataError("data.plugin", "the Python file is not there", where=str(path), hint="check the path")
    module = _run(path)
    if not hasattr(module, name):
        public = [known for known in vars(module) if not known.startswith("_")]
        raise DataError(
            "data.plugin",
            f"the file has no {name!r}",
            where=str(path),
            got=", ".join(public[:20]) or "nothing",
            expected=name,
            hint="name a function or an iterable that the file defines",
        )
    value: object = getattr(module, name)
    return value, getattr(module, sibling, None) if sibling else None


@contextmanager
def running(where: str) -> Iterator[None]:
    """Turns an exception of a user's code into DataError (`data.plugin`); Strop's own errors pass."""
    try:
        yield
    except StropError:
        raise
    except Exception as error:
        raise DataError(
            "data.plugin",
            "your code raised an exception",
            where=where,
            got=f"{type(error).__name__}: {error}",
            hint="run it by itself to see the whole traceback",
        ) from error


def guarded(items: Iterable[object], where: str) -> Iterator[object]:
    """Yields what a user's iterable yields; an exception in it becomes DataError (`data.plugin`)."""
    with running(where):
        iterator = iter(items)
    end = object()
    while True:
        with running(where):
            item = next(iterator, end)
        if item is end:
            return
        yield item


def _run(path: Path) -> ModuleType:
    module_name = f"strop_plugin_{path.stem}"
    specification = importlib.util.spec_from_file_location(module_name, path)
    assert specification is not None and specification.loader is not None  # a .py file always has both
    module = importlib.util.module_from_spec(specification)
    folder = str(path.resolve().parent)
    sys.modules[module_name] = module  # dataclasses and typing look their module up while it runs
    sys.path.insert(0, folder)
    try:
        with running(str(path)):
            specification.loader.exec_module(module)
    finally:
        sys.path.remove(folder)
    return module
