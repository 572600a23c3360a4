"""Packs a model, the engine and settings it was measured with, and what it gave, into one `.strop` file."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np

import strop
from strop.documents import plain, to_text
from strop.engines.contract import ModelSource, Settings
from strop.engines.registry import get_engine
from strop.errors import UsageError
from strop.loader.arrays import npy_bytes
from strop.loader.format import CODE, FORMAT_VERSION, MANIFEST, MODEL, PLAN, READER_VERSION, REPORT, TESTS, WEIGHTS
from strop.loader.manifest import Manifest, dump_manifest
from strop.model.preprocess import Preprocess
from strop.runtime.container import write_container

TOLERANCES: Mapping[bool, float] = {False: 1e-3, True: 0.1}
"""How far outputs may lie from the recorded ones (relative L2), by whether the model is quantized.

Another version of the engine or another CPU sums in another order; in int8 that moves values by whole steps.
"""

MOST_SHAPES = 32
"""How many sets of input shapes of a model with free sizes may have code in the bundle."""

TestVector = tuple[Mapping[str, np.ndarray], Mapping[str, np.ndarray]]
"""Inputs by name, and the outputs by name that the compiled model gave for them."""


def write_bundle(
    path: str | os.PathLike[str],
    *,
    model: ModelSource,
    engine: str,
    settings: Settings,
    test_vectors: Sequence[TestVector],
    created: str,
    report: object = None,
    preprocess: str | Preprocess | None = None,
    metadata: Mapping[str, object] | None = None,
    tolerance: float | None = None,
    shapes: Sequence[Mapping[str, tuple[int, ...]]] = (),
) -> Path:
    """Writes a bundle, whole or not at all, and returns its path; the same arguments give the same bytes.

    model: what is shipped, at most 2 GB; engine, settings: how it is to be run; test_vectors: at least one, made with
    that engine; created: an ISO timestamp (`strop.measure.clock.timestamp()`); report: any JSON value; preprocess: as
    `--preprocess` takes it, or parsed; metadata: any JSON object; tolerance: of the self-test, None that of TOLERANCES;
    shapes: those of the inputs, by name, that a model with free sizes is to have code for beside those of the test
    vectors, the most frequent first; MOST_SHAPES in all.

    Raises:
        FileError: `file.write`; what was at `path` before is still there.
        UsageError: no test vector, or one with other names than the model's.
        InputError: a test vector's input does not fit the model.
        DataError: `data.preprocess`, the preprocessing cannot be read.
        ModelError: `model.too-large`.
    """
    if not test_vectors:
        raise UsageError(
            "usage.bad-option",
            "a bundle needs at least one test vector",
            hint="give test_vectors=[(inputs, compiled(inputs))]",
        )
    members: dict[str, bytes | memoryview] = {MODEL: model.to_bytes()}
    vectors = [_add_vector(members, model, number, vector) for number, vector in enumerate(test_vectors)]
    if report is not None:
        members[REPORT] = to_text(report, indent=1, sort_keys=True).encode()
    level = _add_code(members, model, settings) if engine == "native" else None
    specialized = []
    if engine == "native" and level is None:
        wanted = [{name: np.shape(array) for name, array in inputs.items()} for inputs, _ in test_vectors]
        specialized = _add_specialized(members, model, settings, _distinct([*wanted, *shapes]))
    hashes = {name: sha256(data).hexdigest() for name, data in members.items()}
    version = get_engine(engine).available().version
    # The cache is a folder of this machine; a bundle of another's making must not name where to write.
    kept = {name: value for name, value in settings.to_json().items() if name != "cache"}
    manifest: Manifest = {
        "format": {"version": FORMAT_VERSION, "reader": READER_VERSION},
        "strop": strop.__version__,
        "created": created,
        "model": {"name": model.name, "sha256": hashes[MODEL], "quantized": model.is_quantized},
        "engine": {"name": engine, "settings": kept},
        "needs": {"engine": engine, "version": version, "isa": [] if level is None else [level]},
        "inputs": [spec.to_json() for spec in model.inputs],
        "outputs": [spec.to_json() for spec in model.outputs],
        # Spelled out, so that a preset that changes one day does not change the bundle.
        "preprocess": None if preprocess is None else str(Preprocess.parse(str(preprocess))),
        "tests": {
            "tolerance": TOLERANCES[model.is_quantized] if tolerance is None else tolerance,
            "vectors": vectors,
        },
        "native": level is not None,
        "specialized": specialized,
        "hashes": hashes,
        "metadata": plain(metadata or {}),
    }
    return write_container(path, {MANIFEST: dump_manifest(manifest), **members})


def _add_code(members: dict[str, bytes | memoryview], model: ModelSource, settings: Settings) -> str | None:
    """Adds plan, code and weights where all of the model is machine code; returns their ISA level, else None."""
    from strop.engines.native.engine import NativeEngine

    image = NativeEngine().image(model, settings)
    if image is None:
        return None
    level = image.plan.level
    members |= {PLAN + level: image.plan.to_bytes(), CODE + level: image.read_code(), WEIGHTS + level: image.weights}
    return level


def _distinct(shapes: Sequence[Mapping[str, tuple[int, ...]]]) -> list[Mapping[str, tuple[int, ...]]]:
    """Returns the first MOST_SHAPES that differ."""
    found: list[Mapping[str, tuple[int, ...]]] = []
    for each in shapes:
        if each not in found:
            found.append(each)
    return found[:MOST_SHAPES]


def _add_specialized(
    members: dict[str, bytes | memoryview],
    model: ModelSource,
    settings: Settings,
    shapes: Sequence[Mapping[str, tuple[int, ...]]],
) -> list[dict[str, object]]:
    """Adds what a model with free sizes needs for these shapes; returns what belongs together, as the manifest has it.

    Nothing where it is not native as a whole. Plans have code and weights in common where those are equal.
    """
    from strop.engines.native.engine import NativeEngine

    if all(spec.is_static for spec in model.inputs):
        return []
    pieces: list[dict[str, object]] = []
    kept: dict[str, str] = {}  # members by the hash of their content
    for number, image in enumerate(NativeEngine().images(model, shapes, settings)):
        level, piece = image.plan.level, {}
        parts = (("plan", PLAN, image.plan.to_bytes()), ("code", CODE, image.read_code()))
        for kind, prefix, data in (*parts, ("weights", WEIGHTS, image.weights)):
            piece[kind] = kept.setdefault(f"{kind} {sha256(data).hexdigest()}", f"{prefix}{level}/{number}")
            members.setdefault(piece[kind], data)
        sizes = {tensor.name: list(tensor.shape) for tensor in image.plan.inputs}
        pieces.append({"level": level, "shapes": sizes, **piece})
    return pieces


def _add_vector(
    members: dict[str, bytes | memoryview], model: ModelSource, number: int, vector: TestVector
) -> dict[str, dict[str, str]]:
    """Adds a test vector's arrays to `members`; returns which array lies where."""
    places: dict[str, dict[str, str]] = {}
    for kind, specs, arrays in zip(("inputs", "outputs"), (model.inputs, model.outputs), vector, strict=True):
        if set(arrays) != {spec.name for spec in specs}:
            raise UsageError(
                "usage.bad-option",
                f"the {kind} of a test vector are not the model's",
                got=", ".join(arrays),
                expected=", ".join(spec.name for spec in specs),
                hint="give test_vectors=[(inputs, compiled(inputs))], inputs as a dict",
            )
        places[kind] = {}
        for position, spec in enumerate(specs):
            array = np.asarray(arrays[spec.name])
            if kind == "inputs":
                spec.check(array)
            member = f"{TESTS}{number}/{kind.removesuffix('s')}-{position}.npy"
            members[member] = npy_bytes(array)
            places[kind][spec.name] = member
    return places
