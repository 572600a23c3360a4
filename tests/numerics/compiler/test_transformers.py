"""Attention is found however exporters write it, and models of any length share code and weights."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from strop.compiler import family as families
from strop.compiler.family import ProgramFamily
from strop.compiler.fuse import fuse
from strop.compiler.levels import Attend, Convolve, Graph, MatrixMultiply
from strop.compiler.lower import lower, prepare
from strop.compiler.object_cache import ObjectCache
from strop.compiler.program import CompileSettings
from strop.compiler.shape_template import NoTemplateError, ShapeTemplate, corners_of
from strop.errors import ModelError
from strop.loader.cpu import isa_levels
from strop.loader.native import NativeProgram
from strop.model.load import load_model
from strop.model.oracle import run_unoptimized
from strop.model.shapes import with_shapes
from strop.testing.models import multilayer_perceptron
from tests.numerics.compiler.levels import Arrays, compare, compiled, runs
from tests.numerics.compiler.transformers import HEADS, LONGEST, STYLES, WORDS, Style, encoder, layer


def numbers(model: onnx.ModelProto, seed: int = 0, *, batch: int = 2, length: int = 11) -> dict[str, np.ndarray]:
    """Returns inputs for a layer or an encoder: tokens left out are the last ones, and not all."""
    random = np.random.default_rng(seed)
    found: dict[str, np.ndarray] = {}
    for value in model.graph.input:
        if value.name == "x":
            found["x"] = random.standard_normal((batch, length, 24)).astype(np.float32)
        elif value.name == "mask":
            found["mask"] = np.triu(np.full((1, 1, length, length), -10000, np.float32), 1)
        elif value.name == "tokens":
            found["tokens"] = random.integers(-WORDS, WORDS, (batch, length))
        else:
            found["kept"] = (np.arange(length) < np.maximum(1, length - 3 * np.arange(batch)[:, None])).astype(np.int64)
    return found


def fused(model: onnx.ModelProto) -> Graph:
    lowered = lower(prepare(load_model(model)))
    assert not lowered.reasons
    return fuse(lowered.graph)


@pytest.mark.parametrize("style", STYLES, ids=str)
def test_attention_is_one_operation_and_right_at_every_level(style: Style) -> None:
    proto = layer(style)
    cores = [operation.core for operation in fused(proto).operations]
    assert sum(isinstance(core, Attend) for core in cores) == 1
    assert not any(isinstance(core, MatrixMultiply) for core in cores)
    assert sum(isinstance(core, Convolve) for core in cores) == 2  # queries, keys and values are one product
    model, inputs = load_model(proto), numbers(proto)
    expected = run_unoptimized(model, inputs)
    for name, outputs in runs(model, inputs):
        compare(name, outputs, expected)
    for level in isa_levels():
        compare(level, compiled(model, inputs, level), expected)


def test_threads_change_no_bit_of_attention() -> None:
    proto = layer(STYLES[3], length=70)
    model, inputs = load_model(proto), numbers(proto, length=70)
    one = compiled(model, inputs, isa_levels()[0])
    for name, array in compiled(model, inputs, isa_levels()[0], threads=3).items():
        np.testing.assert_array_equal(array, one[name])


def test_scores_that_somebody_else_reads_stay() -> None:
    proto = layer(Style())
    scores = next(node.output[0] for node in proto.graph.node if node.op_type == "Div")
    proto.graph.output.append(onnx.helper.make_tensor_value_info(scores, 1, (2, HEADS, 11, 11)))
    assert not any(isinstance(operation.core, Attend) for operation in fused(proto).operations)
    model, inputs = load_model(proto), numbers(proto)
    compare("code", compiled(model, inputs, isa_levels()[0]), run_unoptimized(model, inputs))


def family_of(proto: onnx.ModelProto, cache: ObjectCache | None = None) -> ProgramFamily:
    return ProgramFamily(load_model(proto), CompileSettings(isa_levels()[0]), cache=cache)


def run(family: ProgramFamily, inputs: Arrays) -> Arrays:
    image = family.image({name: array.shape for name, array in inputs.items()})
    with NativeProgram(image, threads=1, poison=True) as program:
        return program(dict(inputs))


def expected(proto: onnx.ModelProto, inputs: Arrays) -> Arrays:
    model = with_shapes(load_model(proto), {name: array.shape for name, array in inputs.items()})
    return run_unoptimized(model, dict(inputs))


SIZES = [(2, 20), (2, 19), (1, 20), (1, 1), (3, 1), (1, 7), (5, 13), (2, LONGEST)]


def test_every_length_is_computed_by_the_same_code_and_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    proto = encoder()
    family = family_of(proto)
    first = family.image(dict.fromkeys(("tokens", "kept"), (2, 20)))

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("code or weights for these sizes alone")

    for name in ("compile_objects", "pack_weights", "choose"):
        monkeypatch.setattr(families, name, refuse)
    for number, (batch, length) in enumerate(SIZES):
        inputs = numbers(proto, number, batch=batch, length=length)
        image = family.image({name: array.shape for name, array in inputs.items()})
        assert image.code is first.code
        assert np.shares_memory(np.frombuffer(image.weights, np.uint8), np.frombuffer(first.weights, np.uint8))
        compare(f"{batch} of {length}", run(family, inputs), expected(proto, inputs))


@pytest.mark.parametrize("start", [(1, 1), (1, 5), (4, 33)])
def test_it_does_not_matter_which_sizes_come_first(start: tuple[int, int]) -> None:
    proto = encoder(1)
    family = family_of(proto)
    for batch, length in (start, (2, 20), (1, 3)):
        inputs = numbers(proto, batch=batch, length=length)
        compare(f"{batch} of {length}", run(family, inputs), expected(proto, inputs))


def test_any_batch_of_a_perceptron_shares_code_and_weights() -> None:
    proto = multilayer_perceptron("batch")
    family, model = family_of(proto), load_model(proto)
    for batch in (3, 1, 17, 64):
        inputs = {
            spec.name: np.random.default_rng(batch).standard_normal((batch, 16)).astype(np.float32)
            for spec in model.inputs
        }
        compare(str(batch), run(family, inputs), expected(proto, inputs))


@pytest.mark.parametrize("shapes", [{"tokens": (1, 41), "kept": (1, 41)}, {"tokens": (1, 5), "kept": (1, 6)},
                                    {"tokens": (5,), "kept": (5,)}, {"tokens": (0, 5), "kept": (0, 5)}])  # fmt: skip
def test_shapes_that_the_model_cannot_take_are_refused_and_others_still_run(shapes: dict[str, tuple[int, ...]]) -> None:
    proto = encoder(1)
    family = family_of(proto)
    family.image(dict.fromkeys(shapes, (1, 9)))
    with pytest.raises(ModelError) as caught:
        family.image(shapes)
    assert caught.value.code == "model.shape"
    inputs = numbers(proto, length=6)
    compare("others", run(family, inputs), expected(proto, inputs))


def test_graphs_that_differ_in_more_than_sizes_have_no_template() -> None:
    def graph(style: Style, length: int) -> Graph:
        return fused(layer(style, length=length))

    same = [graph(STYLES[0], length) for length in (5, 6)]
    template = ShapeTemplate((5,), same)
    template.check((9,), graph(STYLES[0], 9))
    with pytest.raises(NoTemplateError):
        template.check((9,), graph(STYLES[0], 8))
    with pytest.raises(NoTemplateError):
        ShapeTemplate((5,), [same[0], graph(STYLES[2], 6)])
    assert corners_of((5, 7)) == [(5, 7), (5, 8), (6, 7), (6, 8)]
