"""Labelled data of the zoo as `file.py:name`, for `strop optimize ... --data benchmarks/zoo_data.py:cifar10`.

`STROP_ZOO` names the folder. Each function yields (inputs, label) in a fixed, shuffled order.
"""

from __future__ import annotations

import csv
import gzip
import io
import os
import random
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

CIFAR_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
MEAN = np.array([0.485, 0.456, 0.406], np.float32)
DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)
Labelled = Iterator[tuple[np.ndarray, int]]


def _data() -> Path:
    return Path(os.environ["STROP_ZOO"]) / "data"


def cifar10(count: int = 2500) -> Labelled:
    """CIFAR-10 test images, normalized, [1, 3, 32, 32]."""
    from PIL import Image

    with zipfile.ZipFile(_data() / "cifar10_test_jpeg.zip") as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".jpg"))
        random.Random(0).shuffle(names)
        for name in names[:count]:
            image = np.asarray(Image.open(io.BytesIO(archive.read(name))).convert("RGB"), np.float32)
            yield ((image / 255 - MEAN) / DEVIATION).transpose(2, 0, 1)[None], CIFAR_CLASSES.index(name.split("/")[1])


def keywords() -> Labelled:
    """MFCC patches of spoken keywords, [1, 49, 10, 1]."""
    folder = _data() / "kws01"
    with (folder / "y_labels.csv").open() as file:
        rows = [row for row in csv.reader(file) if row]
    random.Random(0).shuffle(rows)
    for row in rows:
        raw = np.fromfile(folder / row[0].strip(), np.int8).astype(np.float32)
        yield ((raw - 83) * np.float32(0.5847029)).reshape(1, 49, 10, 1), int(row[2])


def write_imagenet_labels(path: Path) -> Path:
    """Writes the labels of the ImageNet images as the CSV that `--labels` takes; returns its path."""
    lines = (_data() / "imagenet_val1300" / "dataset.txt").read_text().splitlines()
    rows = [line.split(",") for line in lines if line.strip()]
    path.write_text("path,label\n" + "".join(f"{name.strip()},{int(label)}\n" for name, label in rows))
    return path


def digits(count: int = 3000) -> Labelled:
    """MNIST digits, 0 to 255, [1, 1, 28, 28]."""
    with gzip.open(_data() / "mnist5k" / "mnist_5k.csv.gz", "rt") as file:
        table = np.loadtxt(file, delimiter=",", dtype=np.float32)
    np.random.default_rng(0).shuffle(table)
    for row in table[:count]:
        yield row[:784].reshape(1, 1, 28, 28), int(row[784])


def photographs(count: int = 300) -> Iterator[dict[str, np.ndarray]]:
    """ImageNet images as the segmentation network takes them, uint8 [1, 513, 513, 3]; no labels."""
    from PIL import Image

    folder = _data() / "imagenet_val1300"
    names = [line.split(",")[0].strip() for line in (folder / "dataset.txt").read_text().splitlines() if line.strip()]
    random.Random(0).shuffle(names)
    for name in names[:count]:
        image = Image.open(folder / name).convert("RGB").resize((513, 513), Image.Resampling.BILINEAR)
        yield {"MobilenetV2/MobilenetV2/input": np.asarray(image)[None]}


def text_lines(count: int = 400) -> Iterator[tuple[np.ndarray, str]]:
    """The demo's rendered lines with their text, [1, 3, 48, width]."""
    from strop.demo import lines

    yield from lines(count)
