"""The public door: paths or objects in, an ONNX model in 8 bits out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from strop.model.load import Source, load_model
from strop.quality.data import open_data
from strop.quantize.config import QuantizeConfig
from strop.quantize.quantize import DEFAULT_SAMPLES, quantize_model

if TYPE_CHECKING:
    import onnx


def quantize(
    model: Source, data: object, *, samples: int = DEFAULT_SAMPLES, config: QuantizeConfig | None = None
) -> onnx.ModelProto:
    """Returns `model` in 8 bits, as standard QDQ ONNX that every engine runs.

    Weights become int8 (symmetric, one scale per output channel), activations uint8, biases int32; what 8 bits cannot
    hold stays float. `data` needs no labels.

    Args:
        model: a path, bytes, onnx.ModelProto, onnx_ir.Model or Model, in float32.
        data: a path (.npz, .npy, folder, file.py:name) or an object (arrays by input name, an array, an iterable of
            inputs).
        samples: how many samples to calibrate with, taken evenly from all of `data`.
        config: how to quantize; None is the default of QuantizeConfig.

    Raises:
        ModelError: `model.already-quantized`, `quantize.nothing`, or the model cannot be loaded.
        DataError: `data.empty`, `data.not-finite`, or the data do not fit the model's inputs.

    Example:
        >>> import numpy as np
        >>> from strop.testing.models import multilayer_perceptron
        >>> inputs = np.random.default_rng(0).standard_normal((60, 16), dtype=np.float32)
        >>> small = quantize(multilayer_perceptron(), inputs)
        >>> any(node.op_type == "QuantizeLinear" for node in small.graph.node)
        True
    """
    loaded = load_model(model)
    opened = open_data(data, inputs=loaded.inputs)
    return quantize_model(loaded, opened, samples=samples, config=config or QuantizeConfig()).model.to_proto()
