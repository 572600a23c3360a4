"""What lives in a worker process when a bundle is confirmed: the bundle, loaded as a deployed process would load it."""

from __future__ import annotations

from pathlib import Path

from strop.engines.hosted import Hosted, stored_inputs
from strop.engines.registry import get_engine
from strop.loader import open_bundle
from strop.runtime.load import load


def open_hosted_bundle(*, path: str, inputs: str | None = None) -> Hosted:
    """Returns the bundle in the file `path`, loaded; `inputs` is an .npz of arrays in the order of its inputs."""
    with open_bundle(path) as bundle:
        engine = get_engine(bundle.manifest["engine"]["name"])
    return Hosted(
        load=engine.load,
        compile=lambda: load(path),
        version=engine.available().version,
        inputs=None if inputs is None else stored_inputs(Path(inputs)),
    )
