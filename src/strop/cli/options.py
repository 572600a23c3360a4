"""The options that several commands share, so that they read the same everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from strop.errors import UsageError

ModelPath = Annotated[str, typer.Argument(metavar="MODEL", help="an ONNX file")]
Json = Annotated[bool, typer.Option("--json", help="one JSON document on stdout")]
Shapes = Annotated[list[str] | None, typer.Option("--shape", help="shape of an input: x=1,3,224,224 (may be repeated)")]
Threads = Annotated[int | None, typer.Option("--threads", min=1, help="threads (default: the usable cores)")]
Data = Annotated[
    str,
    typer.Option("--data", help=".npz, .npy, a folder of images, or file.py:name yielding inputs or (inputs, target)"),
]
Labels = Annotated[str | None, typer.Option("--labels", help="labels: CSV with header path,label; .npy; or .txt")]
PreprocessText = Annotated[
    str | None,
    typer.Option("--preprocess", help="for images: a preset (imagenet) or resize=256,crop=224,mean=...,std=..."),
]
DecodeText = Annotated[
    str | None, typer.Option("--decode", help="argmax, threshold, ctc:dictionary, or file.py:function")
]
MetricText = Annotated[
    str | None, typer.Option("--metric", help="top1, top5, accuracy, mse, cosine, cer, wer, or file.py:function")
]
MaxDrop = Annotated[str | None, typer.Option("--max-drop", help="largest loss of the metric: 1% or 0.01 (default 1%)")]


def check_folder(path: Path) -> None:
    """Raises UsageError where the folder that `path` is to be written into does not exist."""
    folder = path.parent
    if not folder.is_dir():
        raise UsageError(
            "usage.bad-option",
            "the output's folder does not exist",
            got=folder,
            hint=f"mkdir -p {folder}, or another -o",
        )
