"""Buffers get places in the arena that never overlap while both are needed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from strop.compiler.memory import Span, place

spans = st.dictionaries(
    st.integers(0, 40).map(str),
    st.builds(
        lambda size, first, length: Span(size, first, first + length),
        st.integers(1, 5000),
        st.integers(0, 20),
        st.integers(0, 8),
    ),
)


@given(spans)
def test_buffers_in_use_together_lie_apart(buffers: dict[str, Span]) -> None:
    arena = place(buffers)
    for name, span in buffers.items():
        assert arena.offsets[name] % 64 == 0
        assert arena.offsets[name] + span.bytes <= arena.bytes
        for other, its in buffers.items():
            if name != other and span.meets(its):
                begin, end = arena.offsets[name], arena.offsets[name] + span.bytes
                assert arena.offsets[other] >= end or arena.offsets[other] + its.bytes <= begin


@given(spans)
def test_the_arena_is_no_larger_than_all_buffers_together(buffers: dict[str, Span]) -> None:
    assert place(buffers).bytes <= sum(-(-span.bytes // 64) * 64 for span in buffers.values())


def test_buffers_one_after_the_other_take_the_place_of_one() -> None:
    assert place({"a": Span(100, 0, 1), "b": Span(100, 2, 3), "c": Span(64, 4, 4)}).bytes == 100
