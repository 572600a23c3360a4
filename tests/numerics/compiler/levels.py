"""Runs a model through every level of the compiler and compares each with the oracle."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import onnx

from strop.compiler.asking import asking, scheduling
from strop.compiler.fuse import fuse
from strop.compiler.interpret import run_graph
from strop.compiler.isa.table import get_isa
from strop.compiler.layout import lay_out
from strop.compiler.lower import lower, prepare
from strop.compiler.plan import ProgramPlan, make_plan
from strop.compiler.program import CompileSettings, compile_program
from strop.compiler.simulate import run_plan, run_views
from strop.compiler.verify import verify_graph, verify_plan, verify_views
from strop.loader.cpu import isa_levels
from strop.loader.native import NativeProgram
from strop.model.load import load_model
from strop.model.model import Model
from strop.model.oracle import run_unoptimized
from strop.model.random_inputs import make_inputs

TOLERANCE = 1e-5

Arrays = Mapping[str, np.ndarray]


def planned(proto: onnx.ModelProto, level: str = "x86-64-v4") -> ProgramPlan:
    """Returns the plan of a model, every level verified."""
    isa = get_isa(level)
    lowered = lower(prepare(load_model(proto)))
    assert not lowered.reasons, lowered.reasons
    fused = fuse(lowered.graph)
    for graph in (lowered.graph, fused):
        verify_graph(graph)
    views = lay_out(fused, asking(isa))
    verify_views(views)
    plan = make_plan(views, isa, scheduling(isa))
    verify_plan(plan)
    return plan


def runs(model: Model, inputs: Arrays, level: str = "x86-64-v4") -> Iterator[tuple[str, Arrays]]:
    """Yields the outputs at each level by its name, in numpy."""
    isa = get_isa(level)
    lowered = lower(prepare(model))
    assert not lowered.reasons, lowered.reasons
    operations, fused = lowered.graph, fuse(lowered.graph)
    for name, graph in (("operations", operations), ("fused", fused)):
        verify_graph(graph)
        yield name, run_graph(graph, inputs)
    views = lay_out(fused, asking(isa))
    verify_views(views)
    yield "views", run_views(views, inputs)
    plan = make_plan(views, isa, scheduling(isa))
    verify_plan(plan)
    yield "plan", run_plan(plan, inputs)


def compiled(model: Model, inputs: Arrays, level: str, threads: int = 1) -> Arrays:
    """Returns the outputs of the machine code."""
    program = compile_program(model, CompileSettings(level, verify=True))
    with NativeProgram(program.image, threads=threads, poison=True) as run:
        return run(dict(inputs))


def check_levels(proto: onnx.ModelProto, *, code: bool = True, inputs: Arrays | None = None) -> None:
    """Compares every level with the oracle, and machine code on every level of this CPU."""
    model = load_model(proto)
    inputs = make_inputs(model) if inputs is None else inputs
    expected = run_unoptimized(model, inputs)
    for name, outputs in runs(model, inputs):
        compare(name, outputs, expected)
    for level in isa_levels() if code else ():
        compare(level, compiled(model, inputs, level), expected)


def compare(name: str, outputs: Arrays, expected: Arrays) -> None:
    """Raises AssertionError where an output is further from what is expected than rounding goes."""
    for key, want in expected.items():
        have = outputs[key]
        assert (have.shape, have.dtype) == (want.shape, want.dtype), (name, key, have.shape, have.dtype)
        if want.dtype != np.float32:
            np.testing.assert_array_equal(have, want, err_msg=f"{key} at {name}")
            continue
        distance = float(np.linalg.norm((have - want).astype(np.float64)))
        size = float(np.linalg.norm(want.astype(np.float64)))
        assert distance <= TOLERANCE * max(size, 1e-3), f"{key} at {name}: {distance} of {size}"
