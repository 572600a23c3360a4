"""Reads JSON with the scanner that is built into the interpreter, as `json.loads` does.

The package `json` compiles regular expressions for its Python half and its encoder when it is imported, which takes a
fresh process as long as reading a bundle's whole manifest and plan.
"""

from __future__ import annotations

from typing import Any, Final

_SPACE: Final = " \t\n\r"


class _Context:
    """What the scanner asks for: the rules of `json.loads` without arguments."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = float  # NaN, Infinity, -Infinity
    memo: Final[dict[str, str]] = {}


def _scanner() -> Any:
    """Returns the built-in scanner, None where this interpreter has none that takes these rules."""
    try:
        from _json import make_scanner

        return make_scanner(_Context)  # type: ignore[arg-type]  # typeshed wants its own attributes
    except (ImportError, AttributeError, TypeError):
        return None


_SCAN: Final = _scanner()


def read_json(data: bytes | memoryview) -> Any:
    """Returns what the UTF-8 text `data` says; raises ValueError where it is no JSON, RecursionError where too deep."""
    text = bytes(data).decode("utf8")
    if _SCAN is None:
        import json

        return json.loads(text)
    start = len(text) - len(text.lstrip(_SPACE))
    try:
        value, end = _SCAN(text, start)
    except StopIteration as error:
        raise ValueError(f"there is no value at character {error.value}") from None
    if text[end:].strip(_SPACE):
        raise ValueError(f"there is more behind the value, at character {end}")
    return value
