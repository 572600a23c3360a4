"""The models of a folder, one after the other: a bundle and a study each; one that fails does not stop the others."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from strop import __version__
from strop.errors import StropError, UsageError
from strop.optimize.api import optimize
from strop.optimize.budget import Budget, parse_seconds
from strop.optimize.events import Event, Listener, nobody

SCHEMA = "strop.optimize-folder/1"
PLACE = "{model}"
"""Stands for the model's name in the options that name a file: --data data/{model}.npz."""
NAMING = ("data", "task", "labels", "groups", "preprocess", "decode", "metric")


def models_in(folder: Path) -> list[Path]:
    """Returns the ONNX files of a folder by name; raises UsageError where there is none."""
    found = sorted(path for path in folder.glob("*.onnx") if path.is_file())
    if not found:
        raise UsageError(
            "usage.bad-option", "the folder holds no models", got=folder, expected="files *.onnx", hint="name the model"
        )
    return found


def optimize_folder(
    folder: Path,
    *,
    output: Path,
    budget: str | float | None = None,
    started: float | None = None,
    resume: bool = False,
    command: str = "",
    on_event: Listener = nobody,
    **options: Any,
) -> dict[str, Any]:
    """Returns the document `strop.optimize-folder/1`: for each model its document, or its error.

    output: the folder for the bundles and studies; it is made where it is missing. budget: of all together; each gets
    an equal share of what is left. options: those of `optimize`; `{model}` in a path stands for the model's name.
    resume: a model with a study goes on with it, one without begins.
    """
    models = models_in(folder)
    if output.exists() and not output.is_dir():
        raise UsageError(
            "usage.bad-option",
            "a folder of models needs a folder for its bundles",
            got=output,
            hint="-o FOLDER",
        )
    whole = Budget(None if budget is None else parse_seconds(str(budget)), started=started)
    output.mkdir(parents=True, exist_ok=True)
    results: list[dict[str, Any]] = []
    for number, model in enumerate(models):
        share = None if whole.seconds is None else max(0.1, whole.remaining / (len(models) - number))
        on_event(Event("stage", f"{model.stem}: {number + 1} of {len(models)}"))
        bundle = output / f"{model.stem}.strop"
        try:
            found = optimize(
                str(model),
                **_named(options, model.stem),
                output=bundle,
                budget=share,
                resume=resume and bundle.with_suffix(".study.db").exists(),
                command=command,
                on_event=on_event,
            )
            results.append({"model": model.name, "status": "ok", "document": found.document})
        except StropError as error:
            on_event(Event("warning", f"{model.name} fails: {error.in_a_line}; try: {error.hint}"))
            results.append(
                {"model": model.name, "status": "failed", "error": error.to_json(), "exit_code": error.exit_code}
            )
    return {
        "schema": SCHEMA,
        "strop": __version__,
        "command": command,
        "folder": str(folder),
        "output": str(output),
        "seconds": round(whole.elapsed, 1),
        "results": results,
    }


def exit_code_of(document: Mapping[str, Any]) -> int:
    """Returns the exit code of one model's document: 1 where a limit is not kept, 4 where that cannot be told."""
    met = document.get("limits_met", True)
    return 0 if met else 4 if met is None else 1


def exit_code(document: Mapping[str, Any]) -> int:
    """Returns the exit code of a folder's document: the largest of its models'."""
    codes = [
        exit_code_of(result["document"]) if result["status"] == "ok" else int(result["exit_code"])
        for result in document["results"]
    ]
    return max(codes)


def _named(options: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Returns the options with the model's name where PLACE stands."""
    return {
        key: value.replace(PLACE, name) if key in NAMING and isinstance(value, str) else value
        for key, value in options.items()
    }
