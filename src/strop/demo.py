"""The demo: a real text recognizer, 400 rendered lines with their text, and the main job on them.

Does: finds the model that the wheel `rapidocr-onnxruntime` ships, renders seeded lines of words and numbers (rotated a
little, blurred, noisy), and runs `optimize` with the character error rate as the limit.
Does not: download anything. Start reading at: `run_demo`.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from strop.documents import to_text
from strop.errors import NotSupportedError
from strop.optimize.api import optimize
from strop.optimize.events import Listener, nobody
from strop.runtime.whole_file import write_whole

LINES = 400
BUDGET_SECONDS = 150
MAX_DROP = 0.005
"""Of the character error rate. What is kept in fact loses none."""
HEIGHT = 48
_WIDTH_STEP = 64
"""Lines are padded to a multiple of this, as applications do, so that few distinct widths occur."""
_WORDS = (
    "the quick brown fox jumps over lazy dog neural network latency memory budget kernel fused scale total invoice "
    "item price amount due paid order ship date street garden window market coffee paper bridge river stone silver "
    "north signal engine travel winter summer number model sharp blade table Berlin London Paris Tokyo Monday Friday"
).split()


def model_path() -> Path:
    """Returns the recognizer's path inside the installed wheel; NotSupportedError says how to get it."""
    spec = importlib.util.find_spec("rapidocr_onnxruntime")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder) / "models" / "ch_PP-OCRv4_rec_infer.onnx"
        if path.is_file():
            return path
    raise NotSupportedError(
        "unsupported.package-missing",
        "the demo's model is not installed",
        expected="the wheel rapidocr-onnxruntime 1.4.4, which ships it",
        hint="pip install --no-deps --ignore-requires-python rapidocr-onnxruntime==1.4.4",
    )


def lines(count: int = LINES, *, seed: int = 0) -> Iterator[tuple[np.ndarray, str]]:
    """Yields `count` pairs of input (float32 [1, 3, 48, width], -1..1, BGR) and text; the same for the same seed."""
    generator = np.random.default_rng(seed)
    for _ in range(count):
        text = _text(generator)
        image = _render(text, generator)
        values = (image.astype(np.float32) / 255 - 0.5) / 0.5
        yield np.ascontiguousarray(np.broadcast_to(values, (1, 3, *values.shape))), text


def _text(generator: np.random.Generator) -> str:
    words = []
    for _ in range(generator.integers(2, 6)):
        if generator.random() < 0.3:
            digits = generator.integers(0, 10, generator.integers(2, 6))
            words.append("".join(map(str, digits)))
        else:
            words.append(str(generator.choice(_WORDS)))
    return " ".join(words)


def _render(text: str, generator: np.random.Generator) -> np.ndarray:
    """Returns the line as grey levels, uint8 [48, width]."""
    from PIL import Image, ImageDraw, ImageFilter, ImageFont

    font = ImageFont.load_default(float(generator.integers(24, 31)))
    width = -(-(int(font.getlength(text)) + 24) // _WIDTH_STEP) * _WIDTH_STEP
    paper, ink = int(generator.integers(200, 256)), int(generator.integers(0, 70))
    image = Image.new("L", (width, HEIGHT), paper)
    ImageDraw.Draw(image).text((12, int(generator.integers(4, 9))), text, fill=ink, font=font)
    angle = float(generator.uniform(-1.2, 1.2)) * min(1.0, 300 / width)
    image = image.rotate(angle, Image.Resampling.BILINEAR, fillcolor=paper)
    image = image.filter(ImageFilter.GaussianBlur(float(generator.uniform(0.3, 1.1))))
    noisy = np.asarray(image, np.float32) + generator.normal(0, generator.uniform(4, 22), (HEIGHT, width))
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)


def run_demo(
    folder: Path, *, started: float | None = None, command: str = "", on_event: Listener = nobody
) -> dict[str, Any]:
    """Returns the document of the demo's `strop.optimize`; writes `out.strop` and `result.json` into `folder`."""
    model = model_path()
    folder.mkdir(parents=True, exist_ok=True)
    result = optimize(
        model,
        list(lines()),
        metric="cer",
        decode="ctc:metadata",
        max_drop=MAX_DROP,
        output=folder / "out.strop",
        started=started,
        budget=BUDGET_SECONDS,
        command=command,
        on_event=on_event,
    )
    write_whole(folder / "result.json", [to_text(result.document, indent=1).encode()])
    return result.document
