"""The command lines that advice hands out, made from what the user gave; a test parses each with the real commands."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from strop.optimize.advice.situation import Resources

BASELINE = "onnxruntime"


def search_line(resources: Resources) -> str:
    """Returns the search that suits what there is: a limit by labels or by agreement, the objective, the time."""
    words = [f"strop optimize {resources.quoted} {resources.data_options}"]
    if not resources.labelled:
        words.append("--min-agreement 0.99")
    elif resources.max_drop:
        words.append(f"--max-drop {shlex.quote(resources.max_drop)}")
    if resources.objective == "throughput":
        words.append("--objective throughput")
    if resources.seconds is not None:
        words.append(f"--budget {resources.seconds:.0f}s")
    return " ".join([*words, f"-o {resources.named('.strop')}"])


def quantize_line(resources: Resources, samples: int) -> str:
    """Returns the line that quantizes with so many samples."""
    words = [f"strop quantize {resources.quoted} --data {shlex.quote(resources.data or '')}"]
    if resources.preprocess:
        words.append(f"--preprocess {shlex.quote(resources.preprocess)}")
    return " ".join([*words, f"--samples {samples} -o {resources.named('.int8.onnx')}"])


def verify_line(resources: Resources, ending: str) -> str:
    """Returns the line that says what another form of the model lost."""
    words = [f"strop verify {resources.quoted} {resources.named(ending)} {resources.data_options}"]
    if resources.max_drop and resources.labelled:
        words.append(f"--max-drop {shlex.quote(resources.max_drop)}")
    return " ".join(words)


def compare_line(resources: Resources, engines: Sequence[str]) -> str:
    """Returns the line that puts engines side by side."""
    return f"strop compare {resources.quoted} --engines {','.join(engines)}"


def benchmark_line(resources: Resources, engine: str = "", options: str = "") -> str:
    """Returns the line that benchmarks one engine."""
    chosen = f" --engine {engine}" if engine else ""
    return f"strop benchmark {resources.quoted}{chosen}{' ' if options else ''}{options}"
