"""The public `strop.compile`: what `engines.compile` does, and INT8 from a float model where data are given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from strop.engines import compile as engines_compile
from strop.engines.contract import CompiledModel, Engine, KnobValue, Objective
from strop.quantize.config import config_for


def compile(
    model: Any,
    *,
    engine: str | Engine = "auto",
    threads: int | None = None,
    objective: Objective = "latency",
    precision: Literal["f32", "int8"] | None = None,
    data: object = None,
    samples: int = 300,
    shapes: Mapping[str, Sequence[int]] | None = None,
    example_inputs: Sequence[Any] | None = None,
    **settings: KnobValue,
) -> CompiledModel:
    """Returns the model, compiled and ready to be called with a dict, arrays in order, or one array.

    Args:
        model: a path, bytes, onnx.ModelProto, onnx_ir.Model, or with `example_inputs` a PyTorch module or
            ExportedProgram.
        engine: "native", "onnxruntime", "openvino", "reference", "name:setting=value,...", or "auto": "native" where
            it has a kernel for every node, else the first of OpenVINO and ONNX Runtime that is installed and takes the
            model; nothing is measured. `.settings` names it.
        threads: threads of the engine together; None is every core this process may use. Requests of several open
            models take turns where they would not fit on the cores together; `share_cores=False` lets them run anyhow.
        objective: "latency" for one request at a time, "throughput" for many at once.
        precision: "f32" never computes in less; "int8" needs a model with quantized activations, or `data`; None is
            what the model is.
        data: what a float model is calibrated with for "int8": a path or object, as `strop.quantize` takes it.
        samples: how many of them.
        shapes: sizes for inputs whose size is free, by input name.
        example_inputs: inputs that PyTorch traces the module with.
        settings: streams, device, cache, share_cores, and the engine's own knobs by name.

    Raises:
        UsageError: an engine, setting or knob that does not exist.
        NotSupportedError: the engine or device is not here, or the engine refuses the model or its precision.
        ModelError, DataError: the model or the data are bad.

    Example:
        >>> import numpy as np, strop
        >>> from strop.testing.models import multilayer_perceptron
        >>> compiled = strop.compile(multilayer_perceptron(), engine="onnxruntime", threads=1)
        >>> compiled(np.zeros((1, 16), np.float32))["y"].shape
        (1, 4)
    """
    source = engines_compile.open_source(model, shapes=shapes, example_inputs=example_inputs)
    if precision == "int8" and data is not None and not source.is_quantized:
        from strop.quantize.api import quantize

        name = engine if isinstance(engine, str) else engine.name
        proto = quantize(source.to_bytes(), data, samples=samples, config=config_for(name.partition(":")[0]))
        source = engines_compile.open_source(proto)
    return engines_compile.compile(
        source,
        engine=engine,
        threads=threads,
        objective=objective,
        precision=precision,
        shapes=None,
        example_inputs=None,
        **settings,
    )
