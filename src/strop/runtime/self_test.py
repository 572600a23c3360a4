"""Whether a loaded model still gives what it gave when its bundle was made."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from strop.errors import BundleError
from strop.loader import Bundle
from strop.model.specs import TensorSpec

_FLOOR = 1e-6  # outputs whose root mean square is smaller count as this large: a zero has no relative error


def run_self_test(
    bundle: Bundle, run: Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]], inputs: tuple[TensorSpec, ...]
) -> dict[str, float]:
    """Returns the largest distance per output between `run` and the bundle's test vectors (`distance`).

    Raises BundleError `bundle.self-test` where one lies beyond the tolerance in the manifest.
    """
    tests = bundle.manifest["tests"]
    largest: dict[str, float] = {}
    for vector in tests["vectors"]:
        outputs = run({spec.name: _typed(bundle.array(vector["inputs"][spec.name]), spec) for spec in inputs})
        for name, member in vector["outputs"].items():
            found = distance(outputs[name], bundle.array(member)) if name in outputs else np.inf
            largest[name] = max(largest.get(name, 0.0), found)
    if not largest:
        raise BundleError(
            "bundle.self-test",
            "the bundle holds no test vectors",
            where=bundle.file,
            hint="make it again with `strop optimize`",
        )
    worst = max(largest, key=lambda name: largest[name])
    if not largest[worst] <= tests["tolerance"]:
        raise BundleError(
            "bundle.self-test",
            f"output {worst!r} is not what it was when the bundle was made",
            where=bundle.file,
            got=f"a distance of {largest[worst]:.3g}",
            expected=f"at most {tests['tolerance']:.3g}",
            hint=f"install the engine it was made with ({_engine(bundle.manifest)}), or optimize on this machine",
        )
    return largest


def distance(found: np.ndarray, expected: np.ndarray) -> float:
    """Returns the relative L2 distance for floats, the share of different elements for everything else.

    Infinite where dtype or shape differ, or where NaN or infinity stand in different places.
    """
    if found.dtype.kind in "OU" and expected.dtype.kind in "OU":
        found, expected = found.astype(np.str_), expected.astype(np.str_)
    elif found.dtype != expected.dtype:
        return np.inf
    if found.shape != expected.shape:
        return np.inf
    if expected.dtype.kind not in "fc":
        return float(np.mean(found != expected)) if expected.size else 0.0
    finite = np.isfinite(expected)
    if not np.array_equal(found[~finite], expected[~finite], equal_nan=True) or not np.isfinite(found[finite]).all():
        return np.inf
    wide = np.result_type(expected.dtype, np.float64)
    want, have = expected[finite].astype(wide), found[finite].astype(wide)
    return float(np.linalg.norm(have - want) / max(float(np.linalg.norm(want)), _FLOOR * max(1, want.size) ** 0.5))


def _typed(array: np.ndarray, spec: TensorSpec) -> np.ndarray:
    """Text is stored with a fixed width and given to engines as objects."""
    return array.astype(np.dtype(spec.dtype)) if array.dtype.kind == "U" else array


def _engine(manifest: Mapping[str, Mapping[str, str]]) -> str:
    return f"{manifest['needs']['engine']} {manifest['needs']['version']}".strip()
