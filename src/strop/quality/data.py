"""The door for data: whatever a user names becomes a `Data` set, checked against the model's inputs.

x.npz              one array per model input, by name, axis 0 = samples; optional `labels`
x.npy              the array of the only input
folder/            images, with preprocessing; labels from class sub-folders or a CSV file (path,label)
file.py:name       a generator function (or an iterable) of inputs or (inputs, target)
objects            a dict of arrays, an array, an iterable of inputs or (inputs, target), a data set
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from strop.errors import DataError
from strop.model.specs import TensorSpec
from strop.quality.contract import DataSet, Sample
from strop.quality.fingerprint import fingerprint_of
from strop.quality.form import InputForm
from strop.quality.labels import Labels, read_labels
from strop.quality.plugin import is_plugin, load_plugin
from strop.quality.sources.arrays import arrays_source, npy_source, npz_source
from strop.quality.sources.contract import Raw, Source
from strop.quality.sources.images import ImageSource, image_source
from strop.quality.sources.samples import called, function_source, samples_source

if TYPE_CHECKING:
    from strop.model.preprocess import Preprocess


class Data:
    """A data set: a source of samples, the form they must have, labels, and which of them are meant.

    Samples are read and checked as they are iterated; nothing is kept.
    """

    def __init__(
        self,
        source: Source,
        form: InputForm,
        *,
        targets: Sequence[object] | None = None,
        indices: Sequence[int] | None = None,
        source_fingerprint: Callable[[], str] | None = None,
    ):
        self._source, self._form, self._targets = source, form, targets
        self._source_fingerprint = source_fingerprint or cache(source.fingerprint)  # shared with subsets
        self._indices = range(len(source)) if indices is None else tuple(indices)

    @property
    def name(self) -> str:
        """What the user called it."""
        return self._source.name

    @property
    def notes(self) -> tuple[str, ...]:
        """What people should be told about the data."""
        return self._source.notes

    @property
    def has_targets(self) -> bool:
        """Whether samples carry targets."""
        return self._targets is not None or self._source.has_targets

    @property
    def fingerprint(self) -> str:
        """A hash of content, labels, preprocessing and choice of samples."""
        which = None if isinstance(self._indices, range) else self._indices
        return fingerprint_of(self._source_fingerprint(), self._targets, str(self._form.preprocess), which)

    def __len__(self) -> int:
        return len(self._indices)

    def __iter__(self) -> Iterator[Sample]:
        for index, raw in self.raws():
            yield self.build(index, raw)

    def raws(self) -> Iterator[tuple[int, Raw]]:
        """Yields every sample as its source has it (a decoded image, say), with its index there: half of iterating."""
        return zip(self._indices, self._source.read(self._indices), strict=True)

    def build(self, index: int, raw: Raw) -> Sample:
        """Returns the sample in the model's form, preprocessed and checked: the other half of iterating."""
        where = f"{self.name}: sample {index}" + ("" if raw.key == str(index) else f" ({raw.key})")
        target = raw.target if self._targets is None else self._targets[index]
        return Sample(raw.key, self._form.build(raw.inputs, where), target)

    def keys(self) -> list[str]:
        """Returns the samples' names, in order."""
        known = getattr(self._source, "keys", None)
        return [str(index) if known is None else known[index] for index in self._indices]

    @property
    def preprocess(self) -> Preprocess | None:
        """How images become the model's input, None where the data are that already."""
        return self._form.preprocess

    def with_preprocess(self, preprocess: Preprocess) -> Data:
        """Returns the same samples, made the model's input in another way."""
        return Data(
            self._source,
            InputForm(self._form.inputs, preprocess),
            targets=self._targets,
            indices=None if isinstance(self._indices, range) else self._indices,
            source_fingerprint=self._source_fingerprint,
        )

    def subset(self, indices: Sequence[int]) -> Data:
        """Returns the data set of just these samples (positions in this one), in this order."""
        chosen = [self._indices[index] for index in indices]
        return Data(
            self._source,
            self._form,
            targets=self._targets,
            indices=chosen,
            source_fingerprint=self._source_fingerprint,
        )


def open_data(
    source: object,
    *,
    inputs: tuple[TensorSpec, ...],
    labels: str | Path | Sequence[object] | np.ndarray | None = None,
    preprocess: str | Preprocess | None = None,
) -> Data:
    """Returns the data set that `source` names or is, for a model with these inputs.

    The number of samples, the labels' number and the first sample are checked here, every sample when it is read.
    `preprocess` is applied to images, uint8 [height, width, 3]; a folder of images needs it.

    Example:
        >>> import numpy as np
        >>> data = open_data({"x": np.zeros((5, 3), np.float32)}, inputs=(TensorSpec("x", "float32", (None, 3)),))
        >>> len(data), next(iter(data)).inputs["x"].shape
        (5, (1, 3))
    """
    read = None if labels is None else read_labels(labels)
    form = InputForm(inputs, _parsed(preprocess))
    found = _source(source, inputs, read)
    if isinstance(found, ImageSource) and form.preprocess is None:
        raise DataError(
            "data.preprocess",
            "images need to be told how they become the model's input",
            where=found.name,
            hint="give --preprocess, such as --preprocess imagenet",
        )
    if len(found) == 0:
        raise DataError(
            "data.empty",
            "the data hold no samples",
            where=found.name,
            hint="give at least one; axis 0 of an array counts them",
        )
    targets = None
    if read is not None and not isinstance(found, ImageSource):  # those have matched them by path
        read.check_count(len(found))
        targets = read.values
    data = Data(found, form, targets=targets)
    next(iter(data))
    return data


def _parsed(preprocess: str | Preprocess | None) -> Preprocess | None:
    if not isinstance(preprocess, str):
        return preprocess
    from strop.model.preprocess import Preprocess

    return Preprocess.parse(preprocess)


def _source(source: object, inputs: tuple[TensorSpec, ...], labels: Labels | None) -> Source:
    names = [spec.name for spec in inputs]
    if isinstance(source, str) and is_plugin(source):
        return _object_source(load_plugin(source), names, source)
    if isinstance(source, (str, Path)):
        return _file_source(Path(source), names, labels)
    return _object_source(source, names, f"<{type(source).__name__}>")


def _file_source(path: Path, names: list[str], labels: Labels | None) -> Source:
    if path.is_dir():
        return image_source(path, labels)
    if not path.exists():
        raise DataError("data.missing", "the data are not there", where=str(path), hint="check the path")
    readers = {".npz": npz_source, ".npy": npy_source}
    if path.suffix.lower() not in readers:
        raise DataError(
            "data.format",
            "data of this kind cannot be read",
            where=str(path),
            got=path.suffix or "no suffix",
            expected=".npz, .npy, a folder of images, or file.py:name",
            hint="write a generator function that yields inputs or (inputs, target), and name it as file.py:name",
        )
    return readers[path.suffix.lower()](path, names)


def _object_source(value: object, names: list[str], name: str) -> Source:
    if _is_data_set(value):
        return _DataSetSource(cast(DataSet, value))
    if isinstance(value, Mapping):
        return arrays_source(value, inputs=names, name=name)
    if isinstance(value, np.ndarray):
        if len(names) != 1:
            raise DataError(
                "data.names",
                "one array, but the model has several inputs",
                where=name,
                expected=", ".join(names),
                hint="give a dict of arrays by input name",
            )
        return arrays_source({names[0]: value}, inputs=names, name=name)
    if callable(value):
        first = called(value, name)
        if isinstance(first, (Mapping, np.ndarray)) or _is_data_set(first):
            return _object_source(first, names, name)
        return function_source(value, first, name)
    return samples_source(value, name)


class _DataSetSource:
    """A data set as a source, so that a user's own is checked like every other."""

    def __init__(self, data: DataSet):
        self._data = data
        self.name, self.has_targets = data.name, data.has_targets
        self.notes: tuple[str, ...] = tuple(getattr(data, "notes", ()))

    def fingerprint(self) -> str:
        return self._data.fingerprint

    def __len__(self) -> int:
        return len(self._data)

    def read(self, indices: Sequence[int]) -> Iterator[Raw]:
        for sample in self._data.subset(indices):
            yield Raw(sample.key, sample.inputs, sample.target)


def _is_data_set(value: object) -> bool:
    return all(hasattr(type(value), name) for name in ("subset", "fingerprint", "has_targets", "__len__", "__iter__"))
