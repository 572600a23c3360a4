"""What a run was given, as far as it can be written down: so that a replay can open the same model and data again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from strop.errors import UsageError

PATHS = ("model", "data", "task", "labels", "metric", "decode")
"""Options that may name a file."""


def recorded_options(**options: Any) -> dict[str, object]:
    """Returns the options as JSON: paths made absolute, objects as what they are, so that nobody takes them for paths.

    Example:
        >>> recorded_options(metric="top1", data={"x": [1.0]}, labels=None)
        {'metric': 'top1', 'data': {'object': 'dict'}, 'labels': None}
    """
    return {name: _recorded(name, value) for name, value in options.items()}


def replayed_options(recorded: object, **given: Any) -> dict[str, Any]:
    """Returns the options of a run again, those that are `given` (not None) in their place.

    Raises UsageError (`study.no-trial`) where an option was an object, which no study can hold, or names code: a study
    may come from anywhere, and code runs only because who types the command names it.
    """
    options: dict[str, Any] = dict(recorded) if isinstance(recorded, Mapping) else {}
    options |= {name: value for name, value in given.items() if value is not None}
    for name in ("model", "data"):
        if options.get(name) is None and not (name == "data" and options.get("task")):
            options[name] = {"object": "nothing"}
    for name, value in options.items():
        if isinstance(value, Mapping) and set(value) == {"object"}:
            raise UsageError(
                "study.no-trial",
                f"the study does not say which {name} it was made with",
                got=f"an object of the kind {value['object']}",
                hint=f"name it: --{name} PATH" if name in ("model", "data", "task") else "replay it from Python",
            )
        if names_code(value) and given.get(name) is None:
            raise UsageError(
                "study.no-trial",
                f"the study names code as its {name}, which runs only where you name it yourself",
                got=value,
                hint=f"if you trust it: --{name} {value}",
            )
    return options


def names_code(value: object) -> bool:
    """Whether an option is of the form file.py:name."""
    return isinstance(value, str) and value.rpartition(":")[0].endswith(".py")


def replay_words(study: Path, options: Mapping[str, object]) -> list[str]:
    """Returns the command that replays a trial of the study, all but the trial: code is named in it anew."""
    named = [[f"--{name}", str(value)] for name, value in options.items() if names_code(value)]
    return ["strop", "replay", str(study), *(word for pair in named for word in pair)]


def _recorded(name: str, value: Any) -> object:
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, Path):
        value = str(value)
    if isinstance(value, str):
        return _absolute(value) if name in PATHS else value
    if name == "shapes" and isinstance(value, Mapping):
        return {key: list(shape) for key, shape in value.items()}
    if name == "preprocess":
        return str(value)
    return {"object": type(value).__name__}


def _absolute(text: str) -> str:
    """Returns a path made absolute where there is such a file, `file.py:name` included; anything else as it is."""
    path, separator, name = text.rpartition(":")
    if separator and path.endswith(".py") and Path(path).exists():
        return f"{Path(path).absolute()}:{name}"
    return str(Path(text).absolute()) if Path(text).exists() else text
