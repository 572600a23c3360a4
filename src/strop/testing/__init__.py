"""What users and Strop's own tests test with: tiny models, a fake clock, the engines' conformance suite.

Does: give `models` (built in code), `FakeClock`, `check_engine`, `check_pass`.
Does not: import anything heavy on import; each name is imported when it is first used.
Start reading at: `models.py`.
"""

from __future__ import annotations

import importlib

_HOMES = {
    "FakeClock": "strop.testing.clock",
    "check_engine": "strop.testing.engines",
    "check_pass": "strop.testing.passes",
    "models": "strop.testing.models",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = importlib.import_module(_HOMES[name])
    return home if _HOMES[name].endswith(f".{name}") else getattr(home, name)
