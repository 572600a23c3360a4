"""Compiles a model for one engine: what `strop.compile` is, and what the rooms above use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from strop.engines.contract import CompiledModel, Engine, KnobValue, ModelSource, Objective, Settings
from strop.engines.registry import automatic_engines, get_engine, parse_engine
from strop.engines.source import ModelFile, StoredModel
from strop.errors import NotSupportedError

if TYPE_CHECKING:
    import onnx
    import onnx_ir

    from strop.model.model import Model


def compile(
    model: str | Path | bytes | onnx.ModelProto | onnx_ir.Model | Model | Any,
    *,
    engine: str | Engine = "auto",
    threads: int | None = None,
    objective: Objective = "latency",
    precision: Literal["f32", "int8"] | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    example_inputs: Sequence[Any] | None = None,
    **settings: KnobValue,
) -> CompiledModel:
    """Returns the model, compiled and ready to be called.

    Args:
        model: a path, the bytes, or an object: onnx.ModelProto, onnx_ir.Model, or with `example_inputs` a PyTorch
            module or ExportedProgram.
        engine: "native", "onnxruntime", "openvino", "reference", "name:setting=value,...", or "auto": "native" where
            it has a kernel for every node, else the first of OpenVINO and ONNX Runtime that is installed and takes the
            model; nothing is measured.
        threads: threads of the engine together; None is every core this process may use. Requests of several open
            models take turns where they would not fit on the cores together; `share_cores=False` lets them run anyhow.
        objective: "latency" for one request at a time, "throughput" for many at once.
        precision: "f32" never computes in less; "int8" needs a model with quantized activations; None is what it is.
        shapes: sizes for inputs whose size is free, by input name.
        example_inputs: inputs that PyTorch traces the module with.
        settings: streams, device, cache, share_cores, and the engine's own knobs by name.

    Raises:
        UsageError: an engine, setting or knob that does not exist.
        NotSupportedError: the engine or device is not here, or the engine refuses the model.
        ModelError: the model is bad.

    Example:
        >>> import numpy as np, strop
        >>> from strop.testing.models import multilayer_perceptron
        >>> compiled = strop.compile(multilayer_perceptron(), engine="onnxruntime", threads=1)
        >>> compiled(np.zeros((1, 16), np.float32))["y"].shape
        (1, 4)
    """
    if isinstance(engine, str) and ":" in engine:
        engine, chosen = parse_engine(engine)
    else:
        chosen = Settings()
    given: dict[str, object] = {"threads": threads, "precision": precision}
    chosen = chosen.updated({name: value for name, value in given.items() if value is not None})
    chosen = chosen.updated({"objective": objective, **settings} if objective != "latency" else settings)
    return compile_model(
        open_source(model, shapes=shapes, example_inputs=example_inputs), engine=engine, settings=chosen
    )


def compile_model(
    model: ModelSource, *, engine: str | Engine = "auto", settings: Settings | None = None
) -> CompiledModel:
    """Returns `model` compiled; "auto" goes on to the next engine where one refuses the model."""
    settings = settings or Settings()
    if not isinstance(engine, str):
        return engine.compile(model, settings)
    if engine != "auto":
        return get_engine(engine).compile(model, settings)
    *candidates, last = automatic_engines(model, settings)
    for candidate in candidates:
        try:
            return candidate.compile(model, settings)
        except NotSupportedError as error:
            if error.code != "unsupported.model":
                raise
    return last.compile(model, settings)


def open_source(
    model: Any,
    *,
    shapes: Mapping[str, Sequence[int]] | None = None,
    example_inputs: Sequence[Any] | None = None,
) -> ModelSource:
    """Returns what engines compile, from all that `compile` takes; a file is read when an engine wants its content."""
    if isinstance(model, (StoredModel, ModelFile)):
        return model
    if isinstance(model, (str, Path)) and example_inputs is None:
        return ModelFile(Path(model), shapes or {})
    from strop.model.load import load_model  # imports onnx, which a stored model does without

    if example_inputs is not None or _is_torch(model):
        from strop.frontends.torch import to_onnx

        return load_model(to_onnx(model, example_inputs), shapes=shapes)
    return load_model(model, shapes=shapes)


def _is_torch(model: object) -> bool:
    """Whether `model` is an object of PyTorch, told without importing it."""
    return any(kind.__module__.partition(".")[0] == "torch" for kind in type(model).__mro__)
