"""A plan comes back as it was written, and nothing that points outside its memory is taken."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strop.loader.plan import SLACK, Argument, Plan, Task, Tensor, parse_plan, plan_from_json
from strop.loader.structs import RUNTIME

CODE, WEIGHTS = 8192, 1000

PLAN = Plan(
    level="x86-64-v3",
    inputs=(Tensor("x", "float32", (1, 4)), Tensor("mask", "bool", ())),
    outputs=(Tensor("y", "float32", (1, 2)),),
    tasks=(
        Task(
            "conv1",
            "convolution_f32",
            (
                Argument("input", 0, 0),
                Argument("input", 0, 1),
                Argument("arena", 64),
                Argument("weights", 128),
                Argument("workspace", 0),
                Argument("number", -3),
                Argument("begin"),
                Argument("end"),
            ),
            offset=128,
            units=7,
            grain=2,
            thread=3,
            wait=False,
            origin=("/conv1/Conv", "/relu"),
            kernel="convolution_direct",
            tile="14x2",
            flops=100.0,
            bytes=20.0,
        ),
        Task("last", "copy", (Argument("arena", 199), Argument("output", 4, 0)), offset=4000),
    ),
    arena=200,
    workspace=64,
    weights=WEIGHTS - SLACK,
    zeroed=((0, 64), (192, 8)),
    runtime={**dict.fromkeys(RUNTIME, 64), "strop_data": 4096},
)


def parse(document: Any) -> Plan:
    return plan_from_json(document, code_bytes=CODE, weights_bytes=WEIGHTS)


def test_a_plan_is_what_was_written() -> None:
    assert parse_plan(PLAN.to_bytes(), code_bytes=CODE, weights_bytes=WEIGHTS) == PLAN
    assert parse(json.loads(PLAN.to_bytes())).to_bytes() == PLAN.to_bytes()


def test_a_record_is_written_as_the_form_says() -> None:
    assert PLAN.to_json()["tasks"][0]["arguments"] == [
        ["input", 0, 0],
        ["input", 1, 0],
        ["arena", 64],
        ["weights", 128],
        ["workspace", 0],
        ["number", -3],
        ["begin"],
        ["end"],
    ]


def put(*path: str | int, value: object) -> Callable[[Any], None]:
    """An edit of the document at this path."""

    def edit(document: Any) -> None:
        for step in path[:-1]:
            document = document[step]
        document[path[-1]] = value

    edit.__name__ = "/".join(map(str, path)) + f"={value!r}"[:40]
    return edit


WRONG = [
    put("version", value=99),
    put("version", value="1"),
    put("level", value=3),
    put("arena", value=-1),
    put("arena", value=1 << 41),
    put("arena", value=199),
    put("arena", value=True),
    put("arena", value=200.0),
    put("weights", value=WEIGHTS - SLACK + 1),
    put("alignment", value=32),
    put("zeroed", 0, value=[190, 20]),
    put("zeroed", 0, value=[-1, 2]),
    put("zeroed", 0, value=[1]),
    put("runtime", "strop_run", value=CODE),
    put("runtime", "strop_run", value=-1),
    put("runtime", "strop_data", value=64),
    put("runtime", value={}),
    put("runtime", value=[]),
    put("inputs", 0, "dtype", value="object"),
    put("inputs", 0, "dtype", value="O"),
    put("inputs", 0, "shape", value=[1, "n"]),
    put("inputs", 0, "shape", value=[1, -4]),
    put("inputs", 0, "shape", value=[1 << 20, 1 << 20, 1 << 20]),
    put("inputs", 0, "shape", value=[1] * 33),
    put("inputs", 0, "name", value="mask"),
    put("inputs", 0, value=None),
    put("outputs", value={}),
    put("tasks", 0, "offset", value=CODE),
    put("tasks", 0, "offset", value=-8),
    put("tasks", 0, "units", value=0),
    put("tasks", 0, "grain", value=0),
    put("tasks", 0, "thread", value=-1),
    put("tasks", 0, "wait", value=1),
    put("tasks", 0, "origin", value=[1]),
    put("tasks", 0, "flops", value=-1.0),
    put("tasks", 0, "bytes", value="3"),
    put("tasks", 0, "name", value=None),
    put("tasks", 0, "arguments", 0, value=["input", 2, 0]),
    put("tasks", 0, "arguments", 0, value=["input", 0, 16]),
    put("tasks", 0, "arguments", 0, value=["input", 0]),
    put("tasks", 0, "arguments", 1, value=["input", 1, 1]),
    put("tasks", 0, "arguments", 2, value=["arena", 200]),
    put("tasks", 0, "arguments", 2, value=["arena", -1]),
    put("tasks", 0, "arguments", 2, value=["arena", 1, 1]),
    put("tasks", 0, "arguments", 3, value=["weights", WEIGHTS]),
    put("tasks", 0, "arguments", 4, value=["workspace", 64]),
    put("tasks", 0, "arguments", 5, value=["number", 1 << 63]),
    put("tasks", 0, "arguments", 5, value=["number", 1.5]),
    put("tasks", 0, "arguments", 5, value=["address", 4096]),
    put("tasks", 0, "arguments", 5, value=[]),
    put("tasks", 0, "arguments", 5, value=[["begin"]]),
    put("tasks", 0, "arguments", 6, value=["begin", 0]),
    put("tasks", 1, "arguments", 1, value=["output", 0, 8]),
    put("tasks", 1, "arguments", 1, value=["output", -1, 0]),
    put("tasks", 1, value=[]),
]


@pytest.mark.parametrize("edit", WRONG, ids=lambda edit: edit.__name__)
def test_a_plan_that_is_off_is_refused(edit: Callable[[Any], None]) -> None:
    document = json.loads(json.dumps(PLAN.to_json()))
    parse(copy.deepcopy(document))
    edit(document)
    with pytest.raises(ValueError):
        parse(document)


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000, b'{"version": NaN}'])
def test_what_is_no_plan_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        parse_plan(data, code_bytes=CODE, weights_bytes=WEIGHTS)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.sampled_from(["arena", "begin"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.data())
@settings(max_examples=300)
def test_any_value_in_any_place_is_refused_or_harmless(data: st.DataObject) -> None:
    document = json.loads(json.dumps(PLAN.to_json()))
    place, key = None, None
    here: Any = document
    while isinstance(here, (dict, list)) and here and (place is None or data.draw(st.booleans())):
        place = here
        key = data.draw(st.sampled_from(sorted(here)) if isinstance(here, dict) else st.integers(0, len(here) - 1))
        here = here[key]
    place[key] = data.draw(VALUES)  # type: ignore[index]
    try:
        plan = parse(document)
    except ValueError:
        return
    for task in plan.tasks:
        assert 0 <= task.offset < CODE
        sizes = {"arena": plan.arena, "weights": WEIGHTS - SLACK, "workspace": plan.workspace}
        for argument in task.arguments:
            if argument.kind in sizes:
                assert 0 <= argument.value < sizes[argument.kind]
