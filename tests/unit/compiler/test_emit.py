from __future__ import annotations

import pytest

from strop.compiler.emit import Function, Module, Value, constant, lanes_of, vector_of
from strop.compiler.isa import ISAS, get_isa
from strop.errors import UsageError

AVX2 = get_isa("x86-64-v3")


def function() -> Function:
    return Module(AVX2).function("f", ["ptr", "i64"])


def test_numbers_that_are_known_are_folded() -> None:
    f = function()
    n = f.arguments[1]
    assert f.add(2, 3) == 5 and f.mul(4, 5) == 20 and f.sub(7, 7) == 0
    assert f.add(n, 0) is n and f.mul(1, n) is n and f.mul(n, 0) == 0 and f.divide(n, 1) is n
    assert "add i64" not in f.text() and "mul i64" not in f.text()


def test_an_address_is_computed_once_in_a_block() -> None:
    f = function()
    f.load("float", f.arguments[0], 16)
    f.load("float", f.arguments[0], 16)
    assert f.text().count("getelementptr") == 1


def test_a_loop_of_one_turn_is_no_loop_and_none_is_nothing() -> None:
    f = function()
    turns: list[object] = []
    f.loop(1, lambda index, carried: turns.append(index))
    f.loop(0, lambda index, carried: turns.append(index))
    assert turns == [0] and "phi" not in f.text()


def test_what_a_loop_carries_comes_out_of_it() -> None:
    f = function()
    (end,) = f.loop(f.arguments[1], lambda index, carried: [f.offset(carried[0], 4)], [f.arguments[0]])
    f.ret()
    text = f.text()
    assert text.count("phi ptr") == 1 and end.type == "ptr"
    assert text.index("phi ptr") < text.index("getelementptr")


def test_float_constants_are_rounded_to_float32_once() -> None:
    assert constant("float", 0.1).text == "0x3FB99999A0000000"
    assert constant("<8 x float>", 1.0).text == "splat (float 0x3FF0000000000000)"


def test_types_of_vectors_are_read_and_written() -> None:
    assert vector_of("float", 16) == "<16 x float>" and vector_of("i32", 1) == "i32"
    assert lanes_of("<16 x float>") == 16 and lanes_of("ptr") == 1


def test_a_function_of_another_object_is_declared_and_an_own_one_is_not() -> None:
    module = Module(AVX2)
    f = module.function("f", ["ptr"])
    f.call("void", "elsewhere", f.arguments[0])
    f.call("void", "own", f.arguments[0])
    f.ret()
    own = module.function("own", ["ptr"])
    own.ret()
    text = module.text()
    assert "declare void @elsewhere(ptr)" in text and "declare void @own" not in text


@pytest.mark.parametrize("isa", ISAS, ids=lambda isa: isa.key)
def test_lanes_that_are_not_there_are_masked(isa) -> None:
    f = Module(isa).function("f", ["ptr"])
    f.store_lanes(f.load_lanes(isa.vector, f.arguments[0], lanes=3), f.arguments[0], lanes=3)
    text = f.text()
    assert "masked.load" in text and "masked.store" in text and text.count("i1 true") == 6


def test_an_isa_level_that_is_none_is_refused_with_those_there_are() -> None:
    with pytest.raises(UsageError) as error:
        get_isa("sse9")
    assert error.value.code == "usage.bad-option" and "x86-64-v3" in str(error.value)


def test_levels_are_those_of_the_loader() -> None:
    from strop.loader.cpu import LEVELS

    assert {isa.level for isa in ISAS} == set(LEVELS)


def test_values_are_told_apart_by_text_and_type() -> None:
    assert Value("%v1", "i64") != Value("%v1", "ptr")
