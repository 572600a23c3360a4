"""The verifiers find faults that were put in on purpose, level by level."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.numerics.compiler import graphs
from tests.numerics.compiler.levels import planned

from strop.compiler.expressions import channel, operand
from strop.compiler.memory import Arena
from strop.compiler.plan import ProgramPlan
from strop.compiler.simulate import run_plan
from strop.compiler.verify import verify_graph, verify_plan, verify_views
from strop.compiler.views import ViewGraph
from strop.model.load import load_model
from strop.model.oracle import run_unoptimized
from strop.model.random_inputs import make_inputs


@pytest.fixture(scope="module")
def plan() -> ProgramPlan:
    return planned(graphs.residual_block())


def test_operations_out_of_order_are_found(plan: ProgramPlan) -> None:
    graph = plan.views.graph
    with pytest.raises(AssertionError, match="which nothing computed before"):
        verify_graph(replace(graph, operations=graph.operations[::-1]))


def test_a_value_computed_twice_is_found(plan: ProgramPlan) -> None:
    graph = plan.views.graph
    with pytest.raises(AssertionError, match="a second time"):
        verify_graph(replace(graph, operations=(*graph.operations, graph.operations[-1])))


def test_an_epilogue_without_its_operand_is_found(plan: ProgramPlan) -> None:
    graph = plan.views.graph
    first = graph.operations[0]
    for epilogue, message in ((operand(7), "has no operand"), (channel(3), "its vectors")):
        broken = (replace(first, epilogue=epilogue), *graph.operations[1:])
        with pytest.raises(AssertionError, match=message):
            verify_graph(replace(graph, operations=broken))


def test_a_view_beyond_its_buffer_is_found(plan: ProgramPlan) -> None:
    views = plan.views
    buffers = {name: replace(b, bytes=b.bytes - 4) if b.kind == "arena" else b for name, b in views.buffers.items()}
    with pytest.raises(AssertionError, match="reaches from"):
        verify_views(replace(views, buffers=buffers))


def test_a_missing_halo_is_found(plan: ProgramPlan) -> None:
    steps = list(plan.views.steps)
    index = next(i for i, step in enumerate(steps) if step.inputs and step.inputs[0].layout.halo)
    view = steps[index].inputs[0]
    bare = replace(view, layout=replace(view.layout, halo=type(view.layout.halo)()))
    steps[index] = replace(steps[index], inputs=(bare, *steps[index].inputs[1:]))
    with pytest.raises(AssertionError, match="there is"):
        verify_views(replace(plan.views, steps=tuple(steps)))


def test_overlapping_buffers_are_found(plan: ProgramPlan) -> None:
    arena = Arena(dict.fromkeys(plan.arena.offsets, 0), plan.arena.bytes)
    with pytest.raises(AssertionError, match="while both are in use"):
        verify_plan(replace(plan, arena=arena))


@pytest.mark.parametrize("fault", ["overlap", "no border", "wrong order"])
def test_a_wrong_plan_shows_in_numpy(plan: ProgramPlan, fault: str) -> None:
    model = load_model(graphs.residual_block())
    inputs = make_inputs(model)
    expected = run_unoptimized(model, inputs)["y"]
    np.testing.assert_allclose(run_plan(plan, inputs)["y"], expected, rtol=1e-4, atol=1e-5)
    tasks = list(plan.tasks)
    if fault == "overlap":
        broken = replace(plan, arena=Arena(dict.fromkeys(plan.arena.offsets, 0), plan.arena.bytes))
    elif fault == "no border":
        broken = replace(plan, tasks=tuple(task for task in tasks if task.step.operation is not None))
    else:
        tasks[-1], tasks[-2] = tasks[-2], tasks[-1]
        broken = replace(plan, tasks=tuple(tasks))
    with np.errstate(all="ignore"):
        outputs = run_plan(broken, inputs)["y"]
    assert not np.allclose(outputs, expected, rtol=1e-4, atol=1e-5)


def test_levels_print_what_they_hold(plan: ProgramPlan) -> None:
    views: ViewGraph = plan.views
    assert "then maximum(0, add(add(x0, c0), x1))" in str(views.graph)
    assert "border of" in str(views)
    assert "barriers" in str(plan)
