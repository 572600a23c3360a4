"""Makes an image of a plan, a blob and packed weights, and writes it as one file (the form: `strop.loader.image`)."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from strop.loader.image import HEADER_BYTES, PAGE, Image, image_of, pack_header
from strop.loader.plan import SLACK, Plan
from strop.loader.structs import RUNTIME

if TYPE_CHECKING:
    from collections.abc import Iterator

    from strop.compiler.link import Blob


def make_image(plan: Plan, blob: Blob, weights: bytes | memoryview) -> Image:
    """Returns the image of `plan`, its tasks' and the runtime's offsets taken from the blob's symbols.

    weights: as the plan counts them; the slack behind them is added here where it is missing. Objects of the runtime
    (`runtime_code.emit_runtime`) must have been linked into the blob. Raises ValueError where plan, blob and weights
    do not fit.
    """
    placed = placed_plan(plan, blob)
    view = memoryview(weights).cast("B")
    if len(view) < plan.weights + SLACK:
        view = memoryview(bytes(view).ljust(plan.weights + SLACK, b"\0"))
    return image_of(placed.to_bytes(), blob.data, view)


def placed_plan(plan: Plan, blob: Blob) -> Plan:
    """Returns the plan with the offsets of its tasks' and the runtime's code; ValueError where the blob lacks some."""
    missing = {name for name in (*RUNTIME, *(task.symbol for task in plan.tasks)) if name not in blob.symbols}
    if missing:
        raise ValueError(f"the blob lacks {', '.join(sorted(missing))}")
    return plan.changed(
        level=blob.level,
        tasks=tuple(task.changed(offset=blob.symbols[task.symbol]) for task in plan.tasks),
        runtime={name: blob.symbols[name] for name in RUNTIME},
    )


def image_parts(image: Image) -> dict[str, bytes | memoryview]:
    """Returns the bytes of an image by part: "plan", "code", "weights"; in a bundle each is a member."""
    if not isinstance(image.code, (bytes, memoryview)):
        raise ValueError("the image was read from a file: copy that instead")
    return {"plan": image.plan.to_bytes(), "code": image.code, "weights": image.weights}


def image_size(image: Image) -> int:
    """Returns how many bytes the image's file has, or a few less."""
    return PAGE + sum(len(data) for data in image_parts(image).values())


def image_pieces(image: Image) -> Iterator[bytes | memoryview]:
    """Yields the bytes of an image's file, piece by piece."""
    parts = image_parts(image)
    places, end = {}, PAGE
    for name, data in parts.items():
        end = -(-end // PAGE) * PAGE
        places[name] = (end, len(data), hashlib.sha256(data).digest())
        end += len(data)
    yield pack_header(places)
    end = HEADER_BYTES
    for name, data in parts.items():
        yield bytes(places[name][0] - end)
        yield data
        end = places[name][0] + len(data)


def write_image(path: str | os.PathLike[str], image: Image) -> Path:
    """Writes the image's file whole, under another name first, and returns its path; raises OSError."""
    path = Path(path)
    descriptor, hidden = tempfile.mkstemp(suffix=".part", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            for piece in image_pieces(image):
                file.write(piece)
        Path(hidden).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(hidden).unlink()
        raise
    return path
