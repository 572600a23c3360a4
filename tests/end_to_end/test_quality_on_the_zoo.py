"""Real models on real labelled data, against figures computed independently of the package."""

from __future__ import annotations

import csv
import gzip
import importlib.util
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType

import numpy as np
import onnxruntime
import pytest
from PIL import Image, ImageDraw, ImageFont

from strop.model.specs import TensorSpec
from strop.quality.chance import near_chance
from strop.quality.comparison import compare_evaluations
from strop.quality.contract import DataSet
from strop.quality.data import open_data
from strop.quality.decoders.registry import get_decoder
from strop.quality.defaults import choose_quality
from strop.quality.evaluate import Evaluation, evaluate

ARITHMETIC = "mean=0.485:0.456:0.406,std=0.229:0.224:0.225"


@pytest.fixture
def reference(zoo: Path) -> ModuleType:
    """The zoo's own evaluation."""
    specification = importlib.util.spec_from_file_location("zoo_reference", zoo / "zoo.py")
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules["zoo_reference"] = module
    specification.loader.exec_module(module)
    return module


class Session:
    """A model on ONNX Runtime as it comes, without the package's engines."""

    def __init__(self, path: Path):
        self._session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        self.inputs = tuple(
            TensorSpec(i.name, "float32", tuple(d if isinstance(d, int) else str(d) for d in i.shape))
            for i in self._session.get_inputs()
        )
        self._outputs = [output.name for output in self._session.get_outputs()]
        self.metadata = self._session.get_modelmeta().custom_metadata_map

    def __call__(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return dict(zip(self._outputs, self._session.run(None, dict(inputs)), strict=True))


def _evaluate(run: Callable, data: DataSet, **options: object) -> Evaluation:
    decode, metric = choose_quality(data, **options)
    return evaluate(run, data, decode=decode, metric=metric)


def _expected(reference: ModuleType, name: str, run: Session, limit: int) -> float:
    pairs = [(run(inputs), target) for inputs, target in reference.TASKS[name].samples(limit=limit)]
    return reference.TASKS[name].score([outputs for outputs, _ in pairs], [target for _, target in pairs])


def test_mobilenet_on_a_folder_of_images_with_a_csv_of_labels(zoo: Path, reference, tmp_path: Path) -> None:
    folder = zoo / "data" / "imagenet_val1300"
    rows = [line.split(",") for line in (folder / "dataset.txt").read_text().splitlines() if line.strip()]
    chosen = reference._shuffled(rows, 100)
    (tmp_path / "labels.csv").write_text("path,label\n" + "".join(f"{p.strip()},{n.strip()}\n" for p, n in chosen))
    run = Session(zoo / "models" / "mobilenet_v2.onnx")
    # The zoo cuts pixels 1 to 224 of 227, the centred crop 2 to 225: an image or two may come out differently.
    data = open_data(
        folder, inputs=run.inputs, labels=tmp_path / "labels.csv", preprocess=f"crop=224,channels=RGB,{ARITHMETIC}"
    )
    found = _evaluate(run, data)
    assert found.n == 100 and found.classes == 1000
    assert found.value.point == pytest.approx(_expected(reference, "mobilenet_v2", run, 100), abs=0.03)
    assert near_chance(found) is None

    some = range(0, 100, 2)
    wrong = open_data(
        folder, inputs=run.inputs, labels=tmp_path / "labels.csv", preprocess=f"crop=224,channels=BGR,{ARITHMETIC}"
    )
    lost = compare_evaluations(_evaluate(run, data.subset(some)), _evaluate(run, wrong.subset(some)), max_drop=0.01)
    assert lost.n == 50 and lost.drop > 0.01 and not lost.within


def test_labels_counted_from_one_are_found_out(zoo: Path, tmp_path: Path) -> None:
    folder = zoo / "data" / "imagenet_val1300"
    rows = [line.split(",") for line in (folder / "dataset.txt").read_text().splitlines() if line.strip()][:600:10]
    shifted = [int(label) + 1 for _, label in rows]
    lines = [f"{path.strip()},{label}\n" for (path, _), label in zip(rows, shifted, strict=True)]
    (tmp_path / "labels.csv").write_text("path,label\n" + "".join(lines))
    run = Session(zoo / "models" / "mobilenet_v2.onnx")
    data = open_data(folder, inputs=run.inputs, labels=tmp_path / "labels.csv", preprocess=f"crop=224,{ARITHMETIC}")
    reason = near_chance(_evaluate(run, data))
    assert reason is not None and "off by one" in reason


KEYWORDS = """
import csv
import numpy as np
from pathlib import Path

FOLDER = Path({folder!r})

def samples():
    for path, _, label in csv.reader((FOLDER / "y_labels.csv").read_text().splitlines()[:200]):
        raw = np.fromfile(FOLDER / path.strip(), np.int8).astype(np.float32)
        yield ((raw - 83) * np.float32(0.5847029)).reshape(49, 10, 1), int(label)
"""


def test_keywords_through_a_users_file(zoo: Path, tmp_path: Path) -> None:
    folder = zoo / "data" / "kws01"
    (tmp_path / "keywords.py").write_text(KEYWORDS.format(folder=str(folder)))
    run = Session(zoo / "models" / "kws_dscnn.onnx")
    found = _evaluate(run, open_data(f"{tmp_path}/keywords.py:samples", inputs=run.inputs))
    hits = 0
    for path, _, label in list(csv.reader((folder / "y_labels.csv").read_text().splitlines()))[:200]:
        raw = np.fromfile(folder / path.strip(), np.int8).astype(np.float32)
        (scores,) = run({"input_1": ((raw - 83) * np.float32(0.5847029)).reshape(1, 49, 10, 1)}).values()
        hits += int(scores.argmax()) == int(label)
    assert found.n == 200 and found.value.point == hits / 200 > 0.8
    assert near_chance(found) is None


def test_digits_in_a_file_of_arrays(zoo: Path, tmp_path: Path) -> None:
    with gzip.open(zoo / "data" / "mnist5k" / "mnist_5k.csv.gz", "rt") as lines:
        table = np.loadtxt(lines, delimiter=",", dtype=np.float32)[::25]
    np.savez(tmp_path / "x.npz", Input3=table[:, :784].reshape(-1, 1, 28, 28), labels=table[:, 784].astype(int))
    run = Session(zoo / "models" / "mnist_cnn.onnx")
    found = _evaluate(run, open_data(tmp_path / "x.npz", inputs=run.inputs))
    images = table[:, :784].reshape(-1, 1, 1, 28, 28)
    hits = [
        int(run({"Input3": x})["Plus214_Output_0"].argmax()) == int(y)
        for x, y in zip(images, table[:, 784], strict=True)
    ]
    assert found.rows is not None and np.array_equal(found.rows[:, 0], hits) and found.value.point > 0.97


def _line(text: str) -> np.ndarray:
    font = ImageFont.load_default(30)
    image = Image.new("RGB", (int(font.getlength(text)) + 20, 48), (255, 255, 255))
    ImageDraw.Draw(image).text((10, 4), text, fill=(0, 0, 0), font=font)
    return np.asarray(image)


def _check_reading(run: Session, decode: str) -> None:
    texts = ["total invoice 2024", "the quick brown fox", "3.14 item", "latency"]
    name = run.inputs[0].name
    data = open_data(
        [({name: _line(text)}, text) for text in texts],
        inputs=run.inputs,
        preprocess="channels=BGR,mean=0.5,std=0.5",
    )
    found = _evaluate(run, data, decode=decode, metadata=run.metadata)
    assert found.metric.name == "cer" and found.value.point < 0.03
    assert [str(prediction).strip() for prediction in found.predictions] == texts  # one model sees a space in front


def test_text_is_read_through_a_dictionary_file_longer_than_the_model(zoo: Path) -> None:
    run = Session(zoo / "models" / "ppocrv6_rec_tiny.onnx")
    _check_reading(run, f"ctc:{zoo / 'models' / 'ppocrv6_rec_tiny.dict.txt'}")


def test_text_is_read_through_the_models_own_metadata() -> None:
    package = importlib.util.find_spec("rapidocr_onnxruntime")
    if package is None or package.origin is None:
        pytest.skip("rapidocr-onnxruntime is not installed: no recognizer that carries its dictionary")
    run = Session(Path(package.origin).parent / "models" / "ch_PP-OCRv4_rec_infer.onnx")
    _check_reading(run, "ctc:metadata")
    decoder = get_decoder("ctc:metadata", run.metadata)
    assert decoder({"y": np.eye(6625, dtype=np.float32)[None, [0, 6624, 6624, 0]]}, {}) == " "
