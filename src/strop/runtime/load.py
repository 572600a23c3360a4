"""Loads a bundle: its own machine code runs it, or the engine it was measured with; ONNX is not imported.

What is imported here counts in the first inference of every deployed process: a fully native bundle needs neither the
engines nor the model room.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from strop.loader import Bundle, is_fully_native, open_bundle

if TYPE_CHECKING:
    from concurrent.futures import Future

    from strop.engines.contract import CompiledModel, Inputs, KnobValue, OperationTime
    from strop.loader.manifest import Manifest
    from strop.model.preprocess import Preprocess
    from strop.model.specs import TensorSpec


def load(
    path: str | os.PathLike[str], *, threads: int | None = None, fallback: bool = False, **settings: KnobValue
) -> LoadedModel:
    """Returns the model in the bundle at `path`, ready to run with the engine and settings it was measured with.

    Args:
        path: a `.strop` file; it is mapped, so it must not be changed in place while the model is open.
        threads: how many to use; None the recorded number, at most the cores this process may use.
        fallback: run on ONNX Runtime, with a warning, where the bundle's own engine, device or code is not there.
        settings: what replaces other recorded settings, by name: streams, device, cache, knobs of the engine.

    Raises:
        FileError: `file.read`, the file is not there or may not be read.
        BundleError: `bundle.not-a-bundle`, `bundle.damaged`, `bundle.version`.
        NotSupportedError: `bundle.needs`, its engine is not installed or its code is for another CPU.

    Example:
        >>> import strop, tempfile, numpy as np
        >>> from strop.runtime.bundle import Settings, write_bundle
        >>> from strop.model.load import load_model
        >>> from strop.testing.models import multilayer_perceptron
        >>> path = tempfile.mkdtemp() + "/tiny.strop"
        >>> x = np.ones((1, 16), np.float32)
        >>> y = strop.compile(multilayer_perceptron(), engine="onnxruntime")(x)
        >>> written = write_bundle(
        ...     path,
        ...     model=load_model(multilayer_perceptron()),
        ...     engine="onnxruntime",
        ...     settings=Settings(threads=1),
        ...     test_vectors=[({"x": x}, y)],
        ...     created="2026-01-02T03:04:05+00:00",
        ... )
        >>> with strop.load(path) as model:
        ...     print(model.engine, model(x)["y"].shape, model.self_test()["y"] < 1e-3)
        onnxruntime (1, 4) True
    """
    return load_bundle(path, threads=threads, fallback=fallback, **settings)


def load_bundle(
    source: str | os.PathLike[str] | Bundle,
    *,
    threads: int | None = None,
    fallback: bool = False,
    **settings: KnobValue,
) -> LoadedModel:
    """Returns what `load` returns; an open bundle may be given too, which belongs to the model from now on."""
    bundle = source if isinstance(source, Bundle) else open_bundle(source)
    given: dict[str, KnobValue] = settings if threads is None else {"threads": threads, **settings}
    try:
        compiled: CompiledModel | None = None
        if is_fully_native(bundle):
            from strop.runtime.native import open_native

            compiled = open_native(bundle, given)
        elif bundle.manifest["specialized"]:
            compiled = _specialized(bundle, given, fallback=fallback)
        if compiled is None:
            from strop.runtime.by_engine import compile_bundle

            compiled = compile_bundle(bundle, given, fallback=fallback)
    except BaseException:
        bundle.close()
        raise
    return LoadedModel(bundle, compiled)


def _specialized(bundle: Bundle, given: Mapping[str, KnobValue], *, fallback: bool) -> CompiledModel | None:
    """Returns a model with free sizes that runs the bundle's code, None where that is for other CPUs or settings."""
    from strop.runtime.native import needs_no_other_code
    from strop.runtime.specialized import SpecializedBundle, pieces_for_this_cpu

    if not needs_no_other_code(given) or not pieces_for_this_cpu(bundle):
        return None

    def compile() -> CompiledModel:
        from strop.runtime.by_engine import compile_bundle

        # The whole has its place in the budget of cores already.
        return compile_bundle(bundle, {**given, "share_cores": False}, fallback=fallback)

    return SpecializedBundle(bundle, given, compile=compile)


class LoadedModel:
    """A compiled model that came out of a bundle: a `CompiledModel`, and what the bundle knows about it."""

    def __init__(self, bundle: Bundle, compiled: CompiledModel) -> None:
        self.bundle = bundle
        self._compiled = compiled

    @property
    def engine(self) -> str:
        """The name of the engine that runs it."""
        return self._compiled.engine

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """The inputs, in the model's order."""
        return self._compiled.inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """The outputs, in the model's order."""
        return self._compiled.outputs

    @property
    def settings(self) -> Mapping[str, KnobValue]:
        """What is in force, read back from the engine."""
        return self._compiled.settings

    @property
    def manifest(self) -> Manifest:
        """What the bundle says it is and needs (`strop.loader.manifest` names the fields)."""
        return self.bundle.manifest

    @property
    def preprocess(self) -> Preprocess | None:
        """How an image becomes an input, None where the bundle does not say."""
        text = self.manifest["preprocess"]
        if text is None:
            return None
        from strop.model.preprocess import Preprocess

        return Preprocess.parse(text)

    @property
    def report(self) -> Any:
        """What was measured when the bundle was made, None where nothing was stored."""
        return self.bundle.report()

    def __call__(self, inputs: Inputs) -> dict[str, np.ndarray]:
        """Runs one request; the outputs are fresh arrays that the caller owns."""
        return self._compiled(inputs)

    def run_into(self, inputs: Inputs, outputs: Mapping[str, np.ndarray]) -> None:
        """Runs one request and writes the results into the caller's arrays (C order, exact dtype and shape)."""
        self._compiled.run_into(inputs, outputs)

    def submit(self, inputs: Inputs) -> Future[dict[str, np.ndarray]]:
        """Queues one request; its inputs may be reused as soon as this returns."""
        return self._compiled.submit(inputs)

    def profile(self, inputs: Inputs, *, repeats: int = 10) -> list[OperationTime]:
        """Returns time per operation; raises NotSupportedError where the engine cannot."""
        return self._compiled.profile(inputs, repeats=repeats)

    def self_test(self) -> dict[str, float]:
        """Returns, per output, how far it is from what it was when the bundle was made (relative L2 for floats).

        Raises BundleError `bundle.self-test` where that is more than the tolerance in the manifest.
        """
        from strop.runtime.self_test import run_self_test

        return run_self_test(self.bundle, self._compiled, self.inputs)

    def close(self) -> None:
        """Gives threads, memory and the mapped file back; calls after it raise UsageError (`usage.closed`)."""
        self._compiled.close()
        self.bundle.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
