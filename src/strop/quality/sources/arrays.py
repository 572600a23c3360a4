"""Samples in arrays whose axis 0 counts them: .npz (one array per input), .npy (the only input), or in memory.

Arrays that lie uncompressed in the file are memory-mapped, so that a set larger than memory can be read; compressed
ones are unpacked once. Nothing is ever unpickled.
"""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from strop.errors import DataError
from strop.quality.fingerprint import fingerprint_of, fingerprint_of_files
from strop.quality.form import names_error
from strop.quality.sources.contract import Raw

_LOCAL_HEADER = struct.Struct("<4s22xHH")  # signature, ..., length of the name, length of the extra field


class ArraySource:
    """Arrays by input name, all with the same axis 0; `targets` has one entry per sample."""

    notes: tuple[str, ...] = ()

    def __init__(
        self,
        arrays: Mapping[str, np.ndarray],
        *,
        name: str,
        targets: np.ndarray | None,
        fingerprint: Callable[[], str],
    ):
        self.name = name
        self.has_targets = targets is not None
        self.fingerprint = fingerprint
        self._arrays, self._targets = arrays, targets
        self._length = _common_length(arrays, name)
        if targets is not None and len(targets) != self._length:
            raise DataError(
                "data.labels",
                "there is not one label per sample",
                where=name,
                got=f"{len(targets)} labels",
                expected=f"{self._length} (the number of samples)",
                hint="check that labels and data belong together and are in the same order",
            )

    def __len__(self) -> int:
        return self._length

    def read(self, indices: Sequence[int]) -> Iterator[Raw]:
        """Yields the slices `array[i]`."""
        for index in indices:
            target = None if self._targets is None else self._targets[index]
            if isinstance(target, np.generic):
                target = target.item()
            yield Raw(str(index), {name: array[index] for name, array in self._arrays.items()}, target)


def arrays_source(arrays: Mapping[str, object], *, inputs: Sequence[str], name: str) -> ArraySource:
    """Returns a source of arrays in memory, by input name, with optional `labels`."""
    converted = {key: np.asarray(value) for key, value in arrays.items()}
    return _named_source(converted, inputs, name, lambda: fingerprint_of(converted))


def npz_source(path: Path, inputs: Sequence[str]) -> ArraySource:
    """Returns a source of a .npz file: one array per input by name, with optional `labels`."""
    return _named_source(_read_npz(path), inputs, str(path), lambda: fingerprint_of_files([path], ["npz"]))


def npy_source(path: Path, inputs: Sequence[str]) -> ArraySource:
    """Returns a source of a .npy file, for models of one input."""
    if len(inputs) != 1:
        raise DataError(
            "data.names",
            "a .npy file holds one array, the model has several inputs",
            where=str(path),
            expected=", ".join(inputs),
            hint="save them as .npz, one array per input by name",
        )
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise _not_numpy(path, error) from error
    return _named_source({inputs[0]: array}, inputs, str(path), lambda: fingerprint_of_files([path], ["npy"]))


def _named_source(
    arrays: dict[str, np.ndarray], inputs: Sequence[str], name: str, fingerprint: Callable[[], str]
) -> ArraySource:
    targets = arrays.pop("labels", None) if "labels" not in inputs else None
    if set(arrays) != set(inputs):
        raise names_error(name, got=list(arrays), expected=[*inputs, "labels (optional)"])
    return ArraySource(arrays, name=name, targets=targets, fingerprint=fingerprint)


def _common_length(arrays: Mapping[str, np.ndarray], where: str) -> int:
    for name, array in arrays.items():
        if array.ndim == 0:
            raise DataError(
                "data.shape",
                f"{name!r} is a single value",
                where=where,
                expected="an array whose axis 0 counts the samples",
                hint="repeat it for every sample: np.full(n, value)",
            )
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        raise DataError(
            "data.shape",
            "the arrays hold different numbers of samples",
            where=where,
            got=", ".join(f"{name}: {length}" for name, length in lengths.items()),
            hint="axis 0 counts the samples in every array",
        )
    return next(iter(lengths.values()), 0)


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    try:
        with zipfile.ZipFile(path) as archive:
            members = [info for info in archive.infolist() if info.filename.endswith(".npy")]
            mapped = {
                info.filename.removesuffix(".npy"): _mapped(path, info)
                for info in members
                if info.compress_type == zipfile.ZIP_STORED
            }
        with np.load(path, allow_pickle=False) as archive_of_arrays:
            names = [info.filename.removesuffix(".npy") for info in members]
            return {name: mapped[name] if name in mapped else archive_of_arrays[name] for name in names}
    except (zipfile.BadZipFile, ValueError, OSError, EOFError, struct.error) as error:
        raise _not_numpy(path, error) from error


def _mapped(path: Path, info: zipfile.ZipInfo) -> np.ndarray:
    with path.open("rb") as stream:
        stream.seek(info.header_offset)
        _, name_length, extra_length = _LOCAL_HEADER.unpack(stream.read(_LOCAL_HEADER.size))
        stream.seek(info.header_offset + _LOCAL_HEADER.size + name_length + extra_length)
        version = np.lib.format.read_magic(stream)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran_order, dtype = read_header(stream)
        if dtype.hasobject:
            raise ValueError("it holds Python objects, which are never loaded")
        if 0 in shape:
            return np.empty(shape, dtype)  # nothing to map
        order: Literal["F", "C"] = "F" if fortran_order else "C"
        mapped: np.ndarray = np.memmap(path, dtype, "r", stream.tell(), tuple(shape), order)
        return mapped


def _not_numpy(path: Path, error: Exception) -> DataError:
    return DataError(
        "data.format",
        "not a file of numpy arrays that can be read",
        where=str(path),
        got=str(error),
        hint="write it with np.savez(path, input_name=array) or np.save, without Python objects",
    )
