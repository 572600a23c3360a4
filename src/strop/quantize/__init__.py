"""Post-training quantization: a float model and some data in, a standard QDQ ONNX model in 8 bits out, and a report.

Does: choose what to quantize (`placement`), observe activations in constant memory (`calibrate`, `observers`), choose
their ranges (`ranges`), write QuantizeLinear and DequantizeLinear (`insert`), check the outputs (`sanity`).
Does not: measure speed or accuracy on labels (quality, optimize), or produce a form for one engine only.
Start reading at: `quantize.quantize_model`; `api.quantize` is the public door.
"""

from strop.callable_package import make_callable

make_callable(__name__, "strop.quantize.api")
