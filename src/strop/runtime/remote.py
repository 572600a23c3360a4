"""The parent's side of a bundle that runs in a worker process: what is measured is byte for byte what is shipped."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from strop.engines.hosted import store_inputs
from strop.engines.remote import FirstInferenceTimes, RemoteModel, Samples
from strop.loader import open_bundle
from strop.measure.first_inference import first_inference
from strop.measure.worker import DEFAULT_TIMEOUT, Timeout, Worker

FACTORY = "strop.runtime.hosted:open_hosted_bundle"


def open_remote_bundle(
    path: Path, *, inputs: Samples, batch: int = 1, timeout: Timeout = DEFAULT_TIMEOUT
) -> RemoteModel:
    """Returns the bundle, loaded in a fresh worker process, to be timed on `inputs`; timeout: seconds of any call."""
    worker = Worker(FACTORY, {"path": str(path)}, timeout=timeout)
    try:
        remote = RemoteModel(worker)
        remote.set_inputs(inputs, batch=batch)
    except BaseException:
        worker.close()
        raise
    return remote


def first_inference_of_bundle(path: Path, *, inputs: Mapping[str, np.ndarray], repeats: int = 5) -> FirstInferenceTimes:
    """Returns the stages from nothing to the bundle's first result, each in `repeats` fresh processes."""
    with open_bundle(path) as bundle:
        names = [spec["name"] for spec in bundle.manifest["inputs"]]
    with tempfile.TemporaryDirectory(prefix="strop-") as folder:
        stored = store_inputs(Path(folder) / "inputs.npz", [inputs[name] for name in names])
        arguments = {"path": str(path), "inputs": str(stored)}
        return FirstInferenceTimes(first_inference(FACTORY, arguments, repeats=repeats))
