"""The baseline file of a gate: a `.strop` bundle that holds, beside the old form itself, what it was measured on.

It is a bundle like every other (so one format, one set of checks; `strop run` takes it, too), with further members:

    gate/record.json            when, where and how it was measured (`RECORD_FORM`), and the ratios to probe kernels
    gate/<n>/input-<i>.npy      the inputs of sample n that are timed, in the order of the model's inputs
    gate/<n>/output-<i>.npy     what the old form gave for them

Every byte is compared with its hash before anything of it is used, and arrays are read without pickle.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from strop.documents import to_text
from strop.errors import BundleError, FileError
from strop.loader import Bundle, open_bundle
from strop.loader.arrays import npy_bytes
from strop.loader.format import MANIFEST, damaged
from strop.loader.manifest import dump_manifest
from strop.measure.estimate import Estimate
from strop.runtime.container import write_container

SCHEMA = "strop.baseline/1"
PREFIX = "gate/"
RECORD = PREFIX + "record.json"
MOST_SAMPLES = 64

RECORD_FORM: Mapping[str, type | tuple[type, ...]] = {
    "schema": str,
    "created": str,
    "strop": str,
    "command": str,
    "machine": dict,  # fingerprint, cpu_name, cores
    "source": dict,  # name, sha256
    "engine": dict,  # name, version
    "settings": dict,  # as they were in force
    "objective": str,
    "latency_ms": dict,  # an estimate; under the objective throughput of one inference with many in flight
    "probes": dict,  # the time over each probe kernel's: estimates by name
    "peak_memory_mb": (int, float),
    "samples": int,
}

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True, slots=True)
class Baseline:
    """A checked baseline: where it lies, its record, the samples it is timed on and the outputs it gave for them."""

    path: Path
    record: Mapping[str, Any]
    manifest: Mapping[str, Any]
    samples: tuple[Arrays, ...]
    outputs: tuple[Arrays, ...]

    @property
    def probes(self) -> dict[str, Estimate]:
        """The model's time over each probe kernel's."""
        return {name: Estimate(**ratio) for name, ratio in self.record["probes"].items()}

    def to_json(self) -> dict[str, object]:
        """Returns what a report says of it."""
        shown = ("created", "strop", "machine", "source", "engine", "latency_ms", "peak_memory_mb")
        return {"file": str(self.path), **{name: self.record[name] for name in shown}}


def read_baseline(path: Path) -> Baseline:
    """Returns the baseline in the file at `path`, all of it checked.

    Raises FileError `file.read` where there is none yet, BundleError where it is no baseline or damaged.
    """
    if not path.exists():
        raise FileError(
            "file.read",
            "there is no baseline yet",
            where=str(path),
            hint=f"make it on this machine: strop gate MODEL --baseline {path} --update",
        )
    with open_bundle(path) as bundle:
        if RECORD not in bundle.names:
            raise BundleError(
                "bundle.not-a-bundle",
                "this is a bundle, but no baseline of a gate",
                where=str(path),
                expected="a file written by `strop gate ... --update`",
                hint=f"strop gate {path} --baseline NAME.baseline --update makes one of it",
            )
        bundle.verify()
        record = _record(bundle)
        samples, outputs = (
            tuple(_arrays(bundle, number, kind) for number in range(record["samples"])) for kind in ("input", "output")
        )
        return Baseline(path, record, bundle.manifest, samples, outputs)


def write_baseline(
    path: Path, bundle_path: Path, *, record: Mapping[str, object], samples: Sequence[Arrays], outputs: Sequence[Arrays]
) -> Path:
    """Writes the bundle and what was measured on it as a baseline, whole or not at all, and returns the path."""
    with open_bundle(bundle_path) as bundle:
        kept = [name for name in bundle.names if name != MANIFEST and not name.startswith(PREFIX)]
        members: dict[str, bytes | memoryview] = {name: bundle.member(name) for name in kept}
        members[RECORD] = to_text({**record, "samples": len(samples)}, indent=1, sort_keys=True).encode()
        for number, pair in enumerate(zip(samples, outputs, strict=True)):
            for kind, arrays in zip(("input", "output"), pair, strict=True):
                for position, spec in enumerate(bundle.manifest[f"{kind}s"]):
                    members[f"{PREFIX}{number}/{kind}-{position}.npy"] = npy_bytes(arrays[spec["name"]])
        hashes = {name: hashlib.sha256(data).hexdigest() for name, data in members.items()}
        manifest = {**bundle.manifest, "hashes": hashes}
        return write_container(path, {MANIFEST: dump_manifest(manifest), **members})


def _record(bundle: Bundle) -> Mapping[str, Any]:
    try:
        record = json.loads(bytes(bundle.member(RECORD)).decode("utf8"))
    except (ValueError, RecursionError) as error:
        raise damaged(bundle.file, "its record is not JSON", got=error) from error
    if not isinstance(record, dict) or record.get("schema") != SCHEMA:
        raise BundleError(
            "bundle.version",
            "the baseline was written for another version of Strop",
            where=bundle.file,
            got=record.get("schema") if isinstance(record, dict) else type(record).__name__,
            expected=SCHEMA,
            hint="make it again with --update",
        )
    for name, kind in RECORD_FORM.items():
        if not isinstance(record.get(name), kind) or isinstance(record.get(name), bool):
            raise damaged(bundle.file, f"its record has no proper {name!r}", got=type(record.get(name)).__name__)
    if not 1 <= record["samples"] <= MOST_SAMPLES:
        raise damaged(bundle.file, "its record counts impossible samples", got=record["samples"])
    for name, ratio in {**record["probes"], "latency_ms": record["latency_ms"]}.items():
        _check_estimate(bundle.file, name, ratio)
    for name, field in (("machine", "fingerprint"), ("source", "sha256"), ("engine", "name"), ("engine", "version")):
        if not isinstance(record[name].get(field), str):
            raise damaged(bundle.file, f"its record has no proper {name}.{field}")
    return record


def _check_estimate(path: str, name: str, value: object) -> None:
    try:
        estimate = Estimate(**value)  # type: ignore[arg-type]  # its fields are checked here
        if not 0 < estimate.low <= estimate.point <= estimate.high < float("inf"):
            raise ValueError(f"{estimate.low} to {estimate.high}")
    except (TypeError, ValueError) as error:
        raise damaged(path, f"its record has no proper estimate of {name!r}", got=error) from error


def _arrays(bundle: Bundle, number: int, kind: str) -> Arrays:
    found = {}
    for position, spec in enumerate(bundle.manifest[f"{kind}s"]):
        member = f"{PREFIX}{number}/{kind}-{position}.npy"
        if member not in bundle.names:
            raise damaged(bundle.file, f"it has no {kind} {spec['name']!r} of sample {number}")
        array = bundle.array(member)
        found[spec["name"]] = array.astype(object) if array.dtype.kind == "U" else array.copy()
    return found
