"""Each error of quality: code, message, hint."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from strop.errors import StropError
from strop.model.specs import TensorSpec
from strop.quality.chance import refuse_near_chance
from strop.quality.data import open_data
from strop.quality.decoders.registry import get_decoder
from strop.quality.defaults import choose_quality
from strop.quality.evaluate import evaluate
from strop.quality.metrics.registry import get_metric
from strop.quality.split import split

INPUTS = (TensorSpec("x", "float32", (1, 4)),)
SCORES = np.eye(4, dtype=np.float32)


def _open(source: object = SCORES, **options: object):
    return open_data(source, inputs=INPUTS, **options)


def _evaluate(labels: object, decode: str, metric: str, source: object = SCORES):
    data = _open(source, labels=labels)
    run = {"decode": get_decoder(decode), "metric": get_metric(metric)}
    return evaluate(lambda inputs: {"y": inputs["x"]}, data, **run)


def _missing(folder: Path) -> None:
    _open(folder / "no.npz")


def _format(folder: Path) -> None:
    (folder / "x.npz").write_text("not an archive")
    _open(folder / "x.npz")


def _corrupt_image(folder: Path) -> None:
    (folder / "a.png").write_bytes(b"\x89PNG\r\n\x1a\nrest")
    _open(folder, preprocess="unit")


def _empty(folder: Path) -> None:
    np.savez(folder / "x.npz", x=np.zeros((0, 4), np.float32))
    _open(folder / "x.npz")


def _names(folder: Path) -> None:
    np.savez(folder / "x.npz", image=SCORES)
    _open(folder / "x.npz")


def _shape(folder: Path) -> None:
    _open(np.zeros((5, 3), np.float32))


def _not_finite(folder: Path) -> None:
    samples = SCORES.copy()
    samples[2, 1] = np.nan
    list(_open(samples))


def _labels(folder: Path) -> None:
    (folder / "labels.txt").write_text("0\n1\n2\n")
    _open(labels=folder / "labels.txt")


def _preprocess(folder: Path) -> None:
    Image.new("RGB", (4, 4)).save(folder / "a.png")
    _open(folder)


def _preprocess_of_one_image(folder: Path) -> None:
    Image.new("RGB", (4, 4)).save(folder / "a.png")
    _open(folder, preprocess="imagenet,resize=none")


def _plugin(folder: Path) -> None:
    (folder / "mine.py").write_text("def samples():\n    raise OSError('disk on fire')\n    yield\n")
    _open(f"{folder}/mine.py:samples")


def _metric(folder: Path) -> None:
    _evaluate(["a", "b", "c", "d"], "argmax", "cer")


def _decode(folder: Path) -> None:
    data = _open(labels=[0, 1, 2, 3])
    output = {"y": np.zeros((1, 3, 8, 8))}
    evaluate(lambda inputs: output, data, decode=get_decoder("argmax"), metric=get_metric("top1"))


def _near_chance(folder: Path) -> None:
    refuse_near_chance(_evaluate([0, 1, 2, 3] * 20, "argmax", "top1", np.tile(SCORES[[1, 2, 3, 0]], (20, 1))))


def _missing_labels(folder: Path) -> None:
    choose_quality(_open())


def _bad_option(folder: Path) -> None:
    split(_open(), calibration=3, choosing=1, confirmation=1)


CASES: list[tuple[Callable[[Path], None], str, str, str]] = [
    (_missing, "data.missing", "no.npz: the data are not there", "check the path"),
    (_format, "data.format", "not a file of numpy arrays that can be read", "np.savez"),
    (_corrupt_image, "data.format", "a.png: the image cannot be read", "repair or remove the file"),
    (_empty, "data.empty", "x.npz: the data hold no samples", "give at least one"),
    (_names, "data.names", "got: image\n  expected: x, labels (optional)", "strop inspect"),
    (_shape, "data.shape", "sample 0: the sample does not fit input 'x'\n  got: [1, 3]\n  expected: [1, 4]", "--shape"),
    (_not_finite, "data.not-finite", "sample 2: input 'x' holds NaN or infinity\n  got: 1 of 4", "remove the sample"),
    (_labels, "data.labels", "got: 3 labels\n  expected: 4 (the number of samples)", "belong together"),
    (_preprocess, "data.preprocess", "images need to be told how", "--preprocess imagenet"),
    (_preprocess_of_one_image, "data.preprocess", "sample 0 (a.png): the image is smaller than the crop", "--preproc"),
    (_plugin, "data.plugin", "mine.py:samples: your code raised an exception\n  got: OSError: disk on fire", "run it"),
    (_metric, "quality.metric", "cer: the prediction is no text\n  got: int", "decode with ctc"),
    (_decode, "quality.decode", "the first output is no list of class scores\n  got: [1, 3, 8, 8]", "argmax:axis=1"),
    (_near_chance, "quality.near-chance", "no better than guessing", "order of the labels are probably wrong"),
    (_missing_labels, "usage.missing-labels", "a metric needs labels", "--min-agreement"),
    (_bad_option, "usage.bad-option", "got: 3 + 1 + 1\n  expected: at most 4 samples together", "give more data"),
]


@pytest.mark.parametrize(("fail", "code", "message", "hint"), CASES, ids=[case[0].__name__[1:] for case in CASES])
def test_the_error_says_what_where_and_what_to_try(
    tmp_path: Path, fail: Callable[[Path], None], code: str, message: str, hint: str
) -> None:
    with pytest.raises(StropError) as caught:
        fail(tmp_path)
    assert caught.value.code == code
    assert message in str(caught.value)
    assert hint in caught.value.hint
