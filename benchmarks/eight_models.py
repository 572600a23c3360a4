"""`strop optimize` on eight real models: which steps were kept, which dropped, and why.

    STROP_ZOO=... python -m benchmarks.eight_models [NAME ...] [--budget 3m]

Runs the command as a user would, one model after the other, keeps each document in `benchmarks/results/optimize/`, and
writes the table `docs/eight-models.md` from the documents that are there (`--show`: writes the table only).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.tasks.sentence_pairs import model_path as sentence_encoder
from benchmarks.zoo_data import write_imagenet_labels
from strop.demo import model_path as text_recognizer

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "optimize"
PAGE = HERE.parent / "docs" / "eight-models.md"


@dataclass(frozen=True, slots=True)
class Case:
    """A model with its data: what it does, where it is, and the options that name data and limit."""

    name: str
    what: str
    model: Callable[[], Path]
    options: Callable[[Path], list[str]]


def _zoo(name: str) -> Callable[[], Path]:
    return lambda: Path(os.environ["STROP_ZOO"]) / "models" / f"{name}.onnx"


def _samples(name: str, *limit: str) -> Callable[[Path], list[str]]:
    return lambda folder: ["--data", f"{HERE / 'zoo_data.py'}:{name}", *(limit or ("--max-drop", "1%"))]


def _task(name: str, *limit: str) -> Callable[[Path], list[str]]:
    return lambda folder: ["--task", f"{HERE / 'tasks'}/{name}", *limit]


def _imagenet(folder: Path) -> list[str]:
    images = Path(os.environ["STROP_ZOO"]) / "data" / "imagenet_val1300"
    labels = write_imagenet_labels(folder / "labels.csv")
    options = ["--data", str(images), "--labels", str(labels), "--preprocess", "imagenet,resize=none"]
    return [*options, "--max-drop", "1%"]


CASES = (
    Case("mobilenet_v2", "photographs, 1000 classes", _zoo("mobilenet_v2"), _imagenet),
    Case("cifar10_resnet56", "small photographs, 10 classes", _zoo("cifar10_resnet56"), _samples("cifar10")),
    Case("kws_dscnn", "spoken keywords, 12 classes", _zoo("kws_dscnn"), _samples("keywords")),
    Case("mnist_cnn", "handwritten digits", _zoo("mnist_cnn"), _samples("digits")),
    Case(
        "ppocrv4_rec",
        "lines of text, read (character error rate)",
        text_recognizer,
        _samples("text_lines", "--decode", "ctc:metadata", "--metric", "cer", "--max-drop", "0.005"),
    ),
    Case(
        "minilm_l3",
        "sentence pairs (Spearman against people's scores)",
        sentence_encoder,
        _task("sentence_pairs.py:SentencePairs", "--max-drop", "1%"),
    ),
    Case(
        "deeplabv3",
        "segmentation, by agreement with the original",
        _zoo("deeplabv3_mnv2_dm05"),
        _samples("photographs", "--min-agreement", "0.95"),
    ),
    Case(
        "silero_vad",
        "voice activity with a state, by agreement with the original",
        _zoo("silero_vad_ifless"),
        _task("voice_activity.py:VoiceActivity", "--max-drop", "1%"),
    ),
)


def optimize(case: Case, budget: str) -> dict[str, Any]:
    """Returns the document of the command; no path of this machine is in it."""
    with tempfile.TemporaryDirectory() as folder:
        model = case.model()
        command = [sys.executable, "-m", "strop.cli", "optimize", str(model), *case.options(Path(folder))]
        command += ["--budget", budget, "-o", str(Path(folder) / f"{case.name}.strop"), "--json"]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, cwd=HERE.parent)
        if done.returncode not in (0, 1):
            raise SystemExit(done.returncode)
        text = done.stdout
    for path, name in (
        (os.environ["STROP_ZOO"], "$STROP_ZOO"),
        (str(HERE), "benchmarks"),
        (str(model.parent), "WHEEL"),
        (folder, "OUT"),
        (sys.prefix, ".venv"),
    ):
        text = text.replace(path, name)
    document: dict[str, Any] = json.loads(text)
    return document


def page(documents: dict[str, dict[str, Any]]) -> str:
    """Returns the page, from the documents by name."""
    rows = [_row(case, documents[case.name]) for case in CASES if case.name in documents]
    parts = [_trials(case, documents[case.name]) for case in CASES if case.name in documents]
    machine = next(iter(documents.values()))["machine"]
    return "\n".join(
        [
            "# Eight models through `strop optimize`",
            "",
            f"Measured on {machine['cpu_name']}, {machine['cores']} cores. Each gain is that of the saved bundle in a "
            "fresh process against ONNX Runtime with its defaults, on samples that chose nothing, with its 99 % "
            "interval. Rerun: `STROP_ZOO=... python -m benchmarks.eight_models`.",
            "",
            "| model | what it does | handed over | gain | accuracy before -> after | n | certified |",
            "|---|---|---|---|---|---|---|",
            *rows,
            "",
            *parts,
        ]
    )


def _row(case: Case, document: dict[str, Any]) -> str:
    gain = document["speedup"]
    gained = f"{gain['point']:.2f} x ({gain['low']:.2f} to {gain['high']:.2f})" if document["gained"] else "nothing"
    certified = {True: "yes", False: "no", None: "-"}[document["certified"]]
    accuracy = document["accuracy"]
    n = accuracy.get("n") or accuracy.get("before", {}).get("n") or "-"
    words = [case.name, case.what, document["label"], gained, document["accuracy_words"].replace("|", "/")]
    return "| " + " | ".join([*words, str(n), certified]) + " |"


def _trials(case: Case, document: dict[str, Any]) -> str:
    lines = [f"## {case.name}", "", "| step | kept? | why |", "|---|---|---|"]
    for trial in document["trials"]:
        reason = trial["reason"].replace("|", "/")
        lines.append(f"| {trial['label']} | {trial['status']} | {reason} |")
    for refused in document.get("not_confirmed", []):
        lines.append(f"| {refused['label']} | not confirmed | {refused['reason'].replace('|', '/')} |")
    return "\n".join([*lines, ""])


def main(words: Sequence[str] | None = None) -> None:
    """Runs the models and writes the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[[], *(case.name for case in CASES)])
    parser.add_argument("--budget", default="3m", help="of each model")
    parser.add_argument("--show", action="store_true", help="write the page from the documents that are there")
    options = parser.parse_args(words)
    RESULTS.mkdir(parents=True, exist_ok=True)
    for case in CASES:
        if not options.show and (not options.names or case.name in options.names):
            print(f"== {case.name}", file=sys.stderr, flush=True)
            document = optimize(case, options.budget)
            (RESULTS / f"{case.name}.json").write_text(json.dumps(document, indent=1) + "\n")
    documents = {file.stem: json.loads(file.read_text()) for file in sorted(RESULTS.glob("*.json"))}
    PAGE.write_text(page(documents))
    print(f"written: {PAGE}")


if __name__ == "__main__":
    main()
