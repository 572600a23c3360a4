"""The options that several commands share, so that they read the same everywhere."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from strop.errors import UsageError

ModelPath = Annotated[str, typer.Argument(metavar="MODEL", help="an ONNX file")]
Json = Annotated[bool, typer.Option("--json", help="one JSON document on stdout")]
Shapes = Annotated[list[str] | None, typer.Option("--shape", help="shape of an input: x=1,3,224,224 (may be repeated)")]
Threads = Annotated[int | None, typer.Option("--threads", min=1, help="threads (default: the usable cores)")]
Tune = Annotated[bool, typer.Option("--tune", help="native: choose kernels by measuring them here first (about 30 s)")]
Data = Annotated[
    str,
    typer.Option("--data", help=".npz, .npy, a folder of images, or file.py:name yielding inputs or (inputs, target)"),
]
OptionalData = Annotated[
    str | None,
    typer.Option("--data", help=".npz, .npy, a folder of images, or file.py:name yielding inputs or (inputs, target)"),
]
Task = Annotated[
    str | None,
    typer.Option(
        "--task",
        help="instead of --data, for several calls a sample: file.py:Task with samples(), predict(run, sample), "
        "score(predictions, targets), higher_is_better",
    ),
]
Labels = Annotated[str | None, typer.Option("--labels", help="labels: CSV with header path,label; .npy; or .txt")]
PreprocessText = Annotated[
    str | None,
    typer.Option("--preprocess", help="for images: a preset (imagenet) or resize=256,crop=224,mean=...,std=..."),
]
Groups = Annotated[
    str | None,
    typer.Option("--groups", help="for the worst slice: CSV with header path,group (or group); .npy; or .txt"),
]
DecodeText = Annotated[
    str | None,
    typer.Option("--decode", help="argmax, threshold, identity, classmap, ctc:dictionary, or file.py:function"),
]
MetricText = Annotated[
    str | None,
    typer.Option(
        "--metric",
        help="top1, top5, accuracy, f1, precision, recall (each also NAME_macro), mse, mae, rmse, cosine, pearson, "
        "spearman, cer, wer, perplexity, miou, map, map50, voc_map, or file.py:function",
    ),
]
MaxDrop = Annotated[str | None, typer.Option("--max-drop", help="largest loss of the metric: 1% or 0.01 (default 1%)")]


def check_output(path: Path, *, keep: Sequence[str] = ()) -> None:
    """Raises UsageError where nothing can be written at `path`, or only over one of the files to `keep`."""
    folder = path.parent
    if not folder.is_dir():
        raise UsageError(
            "usage.bad-option",
            "the output's folder does not exist",
            got=folder,
            hint=f"mkdir -p {folder}, or another -o",
        )
    if path.is_dir():
        raise UsageError(
            "usage.bad-option", "the output is a folder", got=path, hint=f"name a file in it: -o {path / 'NAME'}"
        )
    if any(path.exists() and Path(name).exists() and path.samefile(name) for name in keep):
        raise UsageError(
            "usage.bad-option",
            "the output would be written over a file that is read",
            got=path,
            hint="give another name with -o",
        )
