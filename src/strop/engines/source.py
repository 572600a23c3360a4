"""Models that are not read yet, and how an engine gets at a model's file: without ONNX being imported."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from strop.engines.contract import ModelSource
from strop.errors import ModelError
from strop.model.specs import TensorSpec

if TYPE_CHECKING:
    from strop.model.model import Model


@dataclass(frozen=True, slots=True)
class StoredModel:
    """A model as an engine needs it, whose content stays in a file or wherever `read` finds it.

    Importing onnx costs a fresh process more than loading most models; a worker or a bundle knows the inputs and
    outputs already and needs no parse of its own. file: where the ONNX file lies, if it is a file of its own.
    """

    name: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    is_quantized: bool
    read: Callable[[], bytes]
    file: Path | None = None

    @classmethod
    def at(cls, file: Path, *, like: ModelSource) -> StoredModel:
        """Returns the model that lies in `file`, with name, inputs and outputs of `like`."""
        return cls(like.name, like.inputs, like.outputs, like.is_quantized, file.read_bytes, file)

    @classmethod
    def from_json(cls, record: Mapping[str, Any], file: Path) -> StoredModel:
        """Returns the model that `to_json` described, whose content lies in `file`."""
        inputs, outputs = (
            tuple(TensorSpec(spec["name"], spec["dtype"], tuple(spec["shape"])) for spec in record[kind])
            for kind in ("inputs", "outputs")
        )
        return cls(record["name"], inputs, outputs, record["is_quantized"], file.read_bytes, file)

    def to_json(self) -> dict[str, object]:
        """Returns everything but the content as a JSON object."""
        return {
            "name": self.name,
            "inputs": [spec.to_json() for spec in self.inputs],
            "outputs": [spec.to_json() for spec in self.outputs],
            "is_quantized": self.is_quantized,
        }

    def to_bytes(self) -> bytes:
        """Returns the model as one ONNX file's bytes."""
        return self.read()

    def save(self, path: str | Path) -> Path:
        """Writes the model's file to `path` and returns it."""
        if self.file is not None:
            import shutil

            return Path(shutil.copyfile(self.file, path))
        Path(path).write_bytes(self.read())
        return Path(path)


@dataclass(frozen=True)
class ModelFile:
    """An ONNX file that is read, checked and normalized when something of it is asked for, its name apart.

    An engine that knows the file from before need not read it. shapes: as `load_model` takes them.
    """

    path: Path
    shapes: Mapping[str, Sequence[int]] = field(default_factory=dict)

    @cached_property
    def model(self) -> Model:
        """The model; raises what `load_model` raises."""
        from strop.model.load import load_model

        return load_model(self.path, shapes=self.shapes)

    @property
    def name(self) -> str:
        """The name people know it by."""
        return self.path.stem

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """What must be given, in the model's order."""
        return self.model.inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """What it gives, in the model's order."""
        return self.model.outputs

    @property
    def is_quantized(self) -> bool:
        """Whether activations are quantized (QDQ)."""
        return self.model.is_quantized

    def to_bytes(self) -> bytes:
        """Returns the normalized model as one ONNX file's bytes."""
        return self.model.to_bytes()

    def save(self, path: str | Path) -> Path:
        """Writes the normalized model to `path` and returns it."""
        return self.model.save(path)


def as_model(source: ModelSource) -> Model:
    """Returns the model that `source` stands for; what is only stored is read now."""
    if isinstance(source, ModelFile):
        return source.model
    from strop.model.load import load_model
    from strop.model.model import Model

    if isinstance(source, Model):
        return source
    with readable(source) as content:
        return replace(load_model(content), name=source.name)


@contextmanager
def readable(model: ModelSource) -> Iterator[Path | bytes]:
    """Gives what an engine can read: the model's own file, its bytes, or a temporary file where it is above 2 GB."""
    if isinstance(model, StoredModel) and model.file is not None:
        yield model.file
        return
    try:
        content = model.to_bytes()
    except ModelError as error:
        if error.code != "model.too-large":
            raise
    else:
        yield content
        return
    import tempfile

    with tempfile.TemporaryDirectory(prefix="strop-") as folder:
        yield model.save(Path(folder) / "model.onnx")
