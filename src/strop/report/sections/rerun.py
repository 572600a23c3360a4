"""How to rerun every number: commands to copy."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from strop.report.reading import mapping, verbatim, words
from strop.report.record import Record

_SHARED = ("--data", "--labels", "--preprocess", "--decode", "--metric", "--max-drop")


@dataclass(frozen=True, slots=True)
class Rerun:
    """A command, and which figures it gives again."""

    what: str
    command: str


def reruns(record: Record, study: str = "") -> list[Rerun]:
    """Returns the commands that give the figures again, as far as the study's own command says how it was called."""
    command = verbatim(record.facts.get("command"))
    found = [Rerun("the whole search", command)] if command else []
    found += [Rerun("this page", shlex.join(["strop", "report", study]))] if study else []
    called = _called(command)
    bundle = verbatim(record.facts.get("bundle")) or called.get("--output", "")
    model = called.get("model", "")
    shared = [part for name in _SHARED if name in called for part in (name, called[name])]
    if model and bundle and "--data" in called and record.gained:
        found.append(Rerun("accuracy before and after", shlex.join(["strop", "verify", model, bundle, *shared])))
    if model and record.gained and record.confirmation.get("precision") == "f32":
        compared = f"onnxruntime,{_engine_with_settings(record)}"
        found.append(
            Rerun(
                "latency and first inference, in turns", shlex.join(["strop", "compare", model, "--engines", compared])
            )
        )
    elif model:
        found.append(Rerun("the engines side by side", shlex.join(["strop", "compare", model])))
    if model and mapping(record.facts.get("layers")).get("engine") == "native":
        found.append(Rerun("time per operation", shlex.join(["strop", "explain", model, "--engine", "native"])))
    found.append(Rerun("the machine, and how quiet it is", "strop doctor"))
    return found


def _engine_with_settings(record: Record) -> str:
    """Returns the engine as `--engines` takes it, with the settings that the trial chose."""
    chosen = next((trial for trial in reversed(record.trials) if trial.label == record.label), None)
    engine = words(record.confirmation.get("engine"))
    settings = ",".join(f"{words(name)}={words(value)}" for name, value in chosen.settings.items()) if chosen else ""
    return f"{engine}:{settings}" if settings else engine


def _called(command: str) -> dict[str, str]:
    """Returns what `strop optimize` was called with: the model, and its options by name."""
    try:
        parts = shlex.split(command)
    except ValueError:
        return {}
    if parts[:2] != ["strop", "optimize"]:
        return {}
    found: dict[str, str] = {}
    rest = iter(parts[2:])
    for part in rest:
        name, joined, value = part.partition("=")
        if part in ("--json", "--relative", "--resume"):
            continue
        if part.startswith("-"):
            key = {"-o": "--output", "--hint": "--objective"}.get(name, name)
            found[key] = value if joined else next(rest, "")
        else:
            found.setdefault("model", part)
    return found
