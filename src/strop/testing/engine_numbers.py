"""Checks that an engine computes what ONNX says, on models of many kinds and on inputs of changing sizes."""

from __future__ import annotations

import numpy as np

from strop.engines.contract import Settings
from strop.errors import NotSupportedError
from strop.model.load import load_model
from strop.model.random_inputs import make_inputs
from strop.testing import models
from strop.testing.engine_subject import Subject, assert_close, assert_raises, rows

_EVERY_ENGINE = (models.multilayer_perceptron, models.convolution_classifier, models.initializers_as_inputs)
_MAY_BE_REFUSED = (
    models.depthwise_network,
    models.unfused_batch_norm,
    models.transposed_convolution,
    models.dynamic_width,
    models.lstm,
    models.stateful,
    models.embedding,
    models.branching,
)
_QUANTIZED_TOLERANCE = 0.05
"""An engine may round a quantized value to the neighbouring step."""


def computes_what_the_reference_computes(subject: Subject) -> None:
    """Float models, against the reference; a refusal is allowed where it is an error of the right kind."""
    for build in (*_EVERY_ENGINE, *_MAY_BE_REFUSED):
        model = load_model(build())
        inputs = make_inputs(model)
        try:
            compiled = subject.compile(model)
        except NotSupportedError as refusal:
            assert build in _MAY_BE_REFUSED, f"refuses {build.__name__}, which every engine must run: {refusal}"
            assert refusal.code == "unsupported.model", f"refuses {build.__name__} with {refusal.code}"
            continue
        try:
            assert_close(compiled(inputs), subject.expected(model, inputs))
        except AssertionError as violation:
            raise AssertionError(f"on {build.__name__}: {violation}") from None


def computes_quantized_models(subject: Subject) -> None:
    """A QDQ model runs, says "int8", and is at most a step off."""
    model = load_model(models.quantized())
    inputs = make_inputs(model)
    try:
        compiled = subject.compile(model, Settings(threads=1, precision="int8"))
    except NotSupportedError as refusal:
        assert refusal.code == "unsupported.model", f"refuses a quantized model with {refusal.code}"
        return
    assert compiled.settings["precision"] == "int8", f"says precision {compiled.settings['precision']}"
    assert_close(compiled(inputs), subject.expected(model, inputs), tolerance=_QUANTIZED_TOLERANCE)


def takes_free_sizes_as_they_come(subject: Subject) -> None:
    """One compiled model, batches of 1, 3 and 2: every row comes out as it would alone."""
    array = rows(3, 16)
    whole = subject.single(array)["y"]
    for count in (1, 3, 2):
        assert_close(subject.single(array[:count]), {"y": whole[:count]})


def keeps_rows_apart(subject: Subject) -> None:
    """A NaN or an infinity in one row reaches no other."""
    for value in (np.nan, np.inf):
        array = rows(3, 16)
        clean = subject.single(array)["y"]
        array[1] = value
        result = subject.single(array)["y"]
        assert_close({"y": result[[0, 2]]}, {"y": clean[[0, 2]]})


def refuses_foreign_operators(subject: Subject) -> None:
    """A model with an operator nobody knows is refused, with the operator's name."""
    assert_raises("unsupported.model", lambda: subject.compile(models.custom_operator()), saying="Magic")


NUMBER_CHECKS = (
    computes_what_the_reference_computes,
    computes_quantized_models,
    takes_free_sizes_as_they_come,
    keeps_rows_apart,
    refuses_foreign_operators,
)
