"""Runs a bundle over a file of inputs and writes a file of outputs: what `strop run` does."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from strop.errors import DataError
from strop.loader.arrays import npy_bytes
from strop.model.specs import TensorSpec
from strop.runtime.load import load
from strop.runtime.whole_file import write_whole

ArrayFile = str | os.PathLike[str]


def run_bundle(
    path: ArrayFile,
    inputs: ArrayFile | Mapping[str, np.ndarray],
    *,
    output: ArrayFile | None = None,
    threads: int | None = None,
    fallback: bool = False,
) -> dict[str, np.ndarray]:
    """Returns the outputs of one request to the bundle at `path`, by name; writes them to `output` where that is given.

    inputs: arrays by input name, an `.npz` file of such arrays, or an `.npy` file for a model of one input.
    output: an `.npz` file, written whole or not at all. threads, fallback: as `strop.load` takes them.

    Raises:
        DataError: `data.missing`, `data.format`, the file of inputs is not there or cannot be read safely.
        InputError: `input.*`, names, types or shapes are not the model's.
        FileError: `file.write`.
    """
    with load(path, threads=threads, fallback=fallback) as model:
        arrays = dict(inputs) if isinstance(inputs, Mapping) else read_inputs(inputs, model.inputs)
        outputs = model(arrays)
    if output is not None:
        write_npz(output, outputs)
    return outputs


def read_inputs(path: ArrayFile, specs: tuple[TensorSpec, ...]) -> dict[str, np.ndarray]:
    """Returns the arrays in an `.npz` file by name, or the one in an `.npy` file under the only input's name."""
    path = Path(path)
    try:
        with path.open("rb") as file:
            # Never pickle: an array of objects could run code when it is read.
            found = np.load(file, allow_pickle=False)
            if not isinstance(found, np.ndarray):
                return {name: found[name] for name in found.files}
        if len(specs) != 1:
            raise ValueError(f"one array, for a model of {len(specs)} inputs")
        return {specs[0].name: found}
    except FileNotFoundError as error:
        raise DataError(
            "data.missing", "the file of inputs is not there", where=str(path), hint="check the path"
        ) from error
    except Exception as error:  # numpy, zipfile and zlib raise many kinds on files that are none of theirs
        names = ", ".join(f"{spec.name}={spec.name}" for spec in specs)
        raise DataError(
            "data.format",
            "the file of inputs cannot be read",
            where=str(path),
            got=error,
            expected="an .npz file with one array of numbers per input",
            hint=f"write it with np.savez({str(path)!r}, {names})",
        ) from error


def write_npz(path: ArrayFile, arrays: Mapping[str, np.ndarray]) -> Path:
    """Writes arrays to an `.npz` file, whole or not at all, the same bytes for the same arrays; returns its path."""
    buffer = io.BytesIO()
    # Not np.savez: it cannot write an array called "file".
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), npy_bytes(array))
    return write_whole(path, [buffer.getbuffer()])
