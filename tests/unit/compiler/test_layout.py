"""Where values are placed: in place, in slices of a concatenation, dense where the caller looks."""

from __future__ import annotations

import numpy as np
from tests.numerics.compiler import graphs
from tests.numerics.compiler.levels import planned

from strop.compiler.layouts import Halo, Layout, channels_last, dense
from strop.compiler.plan import ProgramPlan
from strop.compiler.views import reshaped_strides
from strop.testing.models import multilayer_perceptron


def steps(plan: ProgramPlan) -> list[str]:
    return [task.step.name for task in plan.tasks]


def test_an_operand_that_dies_is_overwritten() -> None:
    plan = planned(graphs.residual_block())
    views = plan.views.views
    assert views["t"] == views["r"]
    assert views["t"].layout.halo == Halo(1, 1, 1, 1)


def test_a_border_is_written_once_for_all_who_live_in_a_buffer() -> None:
    borders = [name for name in steps(planned(graphs.residual_block())) if name.startswith("border")]
    # x has few channels and its kernel needs no halo, or has one; r and t share theirs; rb has its own.
    assert sorted(set(borders)) == sorted(borders)
    assert sum(name in ("border of t", "border of rb") for name in borders) == 2


def test_operands_of_a_concatenation_are_written_in_its_slices() -> None:
    plan = planned(graphs.fire_module())
    views = plan.views.views
    whole = views["c0"]
    assert views["a0r"].buffer == views["b0r"].buffer == whole.buffer
    assert views["b0r"].offset - views["a0r"].offset == 5 * 4
    assert not any(step.is_copy for step in plan.views.steps if step.output.buffer == whole.buffer)


def test_slices_of_a_concatenation_wait_for_no_one() -> None:
    tasks = {task.step.name: task for task in planned(graphs.fire_module()).tasks}
    assert not tasks["b0"].wait or not tasks["a0"].wait


def test_a_flattened_output_is_written_where_the_caller_wants_it() -> None:
    plan = planned(graphs.fire_module())
    assert plan.views.views["g"].buffer == "output 0"
    assert plan.views.copies <= 1  # the image of the caller, where its kernel wants channels together


def test_rows_need_no_copies() -> None:
    plan = planned(multilayer_perceptron(1))
    assert plan.views.copies == 0
    assert len(plan.tasks) == 2


def test_a_shuffle_of_channels_costs_a_copy_and_is_counted() -> None:
    plan = planned(graphs.shuffled_channels())
    assert plan.views.copies >= 1
    assert any(name.startswith("copy") for name in steps(plan))


def test_buffers_that_never_meet_share_memory() -> None:
    plan = planned(graphs.fire_module())
    arena = [buffer.bytes for buffer in plan.views.buffers.values() if buffer.kind == "arena"]
    assert plan.arena.bytes < sum(arena)
    assert plan.arena.bytes >= max(arena)


def test_strides_say_a_reshape_or_they_do_not() -> None:
    assert reshaped_strides(dense((2, 3, 4)), (6, 4)) == (16, 4)
    assert reshaped_strides(dense((2, 3, 4)), (2, 1, 12)) == (48, 48, 4)
    assert reshaped_strides(channels_last((1, 8, 3, 2)), (1, 2, 4, 3, 2)) == (32, 16, 4, 64, 32)
    assert reshaped_strides(channels_last((1, 8, 3, 2)), (1, 48)) is None
    assert reshaped_strides(channels_last((1, 8, 3, 2)), (1, 8, 6)) == (32, 4, 32)
    assert reshaped_strides(dense((1, 1)), (1, 1, 1)) == (4, 4, 4)


def test_reshaped_strides_agree_with_numpy() -> None:
    array = np.arange(2 * 3 * 4 * 5, dtype=np.float32).reshape(2, 3, 4, 5)
    for source in (array, array.transpose(0, 2, 3, 1), array.transpose(3, 1, 0, 2)):
        layout = Layout(source.shape, source.strides)
        for shape in ((6, 20), (2, 60), (120,), (2, 3, 20), (40, 3), (5, 3, 8), (5, 24), (2, 2, 2, 15), (8, 15)):
            if np.prod(shape) != source.size:
                continue
            strides = reshaped_strides(layout, shape)
            if strides is not None:
                viewed = np.lib.stride_tricks.as_strided(source, shape, strides)
                np.testing.assert_array_equal(viewed, source.reshape(shape))
            else:
                assert not np.shares_memory(source.reshape(shape), source)
