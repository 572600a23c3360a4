"""A blob is code and constants that work anywhere; what would not is refused by name."""

from __future__ import annotations

import ctypes
import platform

import numpy as np
import pytest

from strop.compiler.elf import read_object
from strop.compiler.emit import Module, Value, constant
from strop.compiler.isa import ISAS, Isa, get_isa
from strop.compiler.link import PAGE, Blob, check_closed, link
from strop.compiler.machine_code import generate
from strop.errors import EngineError
from strop.loader.code import map_code
from strop.loader.cpu import isa_levels

GENERIC = get_isa("generic")
X86 = [isa for isa in ISAS if isa.is_x86]
runs_x86 = pytest.mark.skipif(platform.machine() != "x86_64", reason="runs x86-64 code")


def text(isa: Isa, name: str, *, value: float = 1.5, calls: str = "") -> str:
    """Returns a function of one pointer that adds a constant to its numbers, then perhaps calls another function."""
    module = Module(isa)
    f = module.function(name, ["ptr"])
    pointer = f.arguments[0]
    f.store(f.fadd(f.load(isa.vector, pointer), constant(isa.vector, value)), pointer)
    if calls:
        f.call("void", calls, pointer)
    f.ret()
    return module.text()


def linked(*texts: str, isa: Isa = GENERIC) -> Blob:
    return link([generate(ir, isa) for ir in texts], isa)


def run(blob: Blob, name: str, array: np.ndarray) -> None:
    with map_code(blob.data) as code:
        ctypes.CFUNCTYPE(None, ctypes.c_void_p)(code.address_of(blob.symbols[name]))(array.ctypes.data)


def refusal(*objects: bytes, isa: Isa = GENERIC) -> EngineError:
    with pytest.raises(EngineError) as raised:
        link(objects, isa)
    assert raised.value.code == "engine.machine-code"
    return raised.value


@runs_x86
@pytest.mark.parametrize("isa", X86, ids=lambda isa: isa.key)
def test_functions_of_different_objects_call_each_other_and_find_their_constants(isa: Isa) -> None:
    if isa.level not in isa_levels():
        pytest.skip(f"this CPU has no {isa.level}")
    blob = linked(text(isa, "outer", value=1.5, calls="inner"), text(isa, "inner", value=10.25), isa=isa)
    numbers = np.zeros(isa.lanes, np.float32)
    run(blob, "outer", numbers)
    np.testing.assert_array_equal(numbers, np.full(isa.lanes, 11.75, np.float32))


def test_a_blob_is_whole_pages_and_the_same_every_time() -> None:
    blob, again = (linked(text(GENERIC, "a", calls="b"), text(GENERIC, "b", value=2)) for _ in range(2))
    assert blob == again
    assert len(blob.data) % PAGE == 0
    assert sorted(blob.symbols) == ["a", "b"]
    assert all(place % 64 == 0 for place in blob.symbols.values())


def test_an_object_given_twice_counts_once_and_equal_constants_are_shared() -> None:
    one, other = generate(text(GENERIC, "a"), GENERIC), generate(text(GENERIC, "b"), GENERIC)
    blob = link([one, other, one], GENERIC)
    constant_bytes = np.full(4, 1.5, np.float32).tobytes()
    assert blob.data.count(constant_bytes) == 1


@runs_x86
def test_the_address_of_a_function_in_another_object_needs_no_table() -> None:
    module = Module(GENERIC)
    f = module.function("address", ["ptr"])
    module.declare("b", ["ptr"], "void")
    f.store(Value("@b", "ptr"), f.arguments[0])
    f.ret()
    blob = linked(module.text(), text(GENERIC, "b"))
    found = np.zeros(1, np.uint64)
    with map_code(blob.data) as code:
        ctypes.CFUNCTYPE(None, ctypes.c_void_p)(code.address_of(blob.symbols["address"]))(found.ctypes.data)
        assert int(found[0]) == code.address_of(blob.symbols["b"])


@runs_x86
def test_a_table_of_jumps_works_anywhere() -> None:
    cases = "".join(f"case{i}:\n  store i64 {i * i + 7}, ptr %p\n  ret void\n" for i in range(12))
    jumps = " ".join(f"i64 {i}, label %case{i}" for i in range(12))
    ir = (
        'target triple = "x86_64-unknown-linux-gnu"\ndefine void @pick(ptr %p) nounwind {\n'
        f"  %n = load i64, ptr %p\n  switch i64 %n, label %other [ {jumps} ]\n{cases}other:\n  ret void\n}}\n"
    )
    blob = linked(ir)
    for number in range(12):
        value = np.array([number], np.int64)
        run(blob, "pick", value)
        assert value[0] == number * number + 7


def test_a_symbol_that_is_defined_nowhere_is_refused() -> None:
    error = refusal(generate(text(GENERIC, "a", calls="memcpy"), GENERIC))
    assert (error.what, error.got) == ("a symbol is defined nowhere", "memcpy")


def test_two_definitions_of_a_symbol_are_refused() -> None:
    error = refusal(*(generate(text(GENERIC, "a", value=value), GENERIC) for value in (1, 2)))
    assert (error.what, error.got) == ("two objects define the same symbol differently", "a")


@pytest.mark.parametrize(
    ("line", "section"), [("@counter = global i64 7", ".data"), ("@counter = global i64 0", ".bss")]
)
def test_writable_data_are_refused(line: str, section: str) -> None:
    module = Module(GENERIC)
    module.add_global(line)
    error = refusal(generate(module.text(), GENERIC))
    assert error.what == "an object has writable data"
    assert error.got == f"8 bytes in {section}"


def test_an_absolute_address_is_refused() -> None:
    module = Module(GENERIC)
    module.add_global('@table = constant [1 x ptr] [ptr @table], section ".rodata"')
    assert refusal(generate(module.text(), GENERIC)).what in (
        "an object has writable data",  # where LLVM puts what is to be relocated into a section of its own kind
        "an address is not relative to the program counter",
    )
    ir = 'target triple = "x86_64-unknown-linux-gnu"\nmodule asm ".text; .globl a; a: movabs $a, %rax; ret"\n'
    error = refusal(generate(ir, GENERIC))
    assert error.what == "an address is not relative to the program counter"
    assert error.got == "R_X86_64_64 of a"


def test_thread_local_data_are_refused() -> None:
    module = Module(GENERIC)
    module.add_global("@mine = thread_local global i64 7")
    assert refusal(generate(module.text(), GENERIC)).what == "an object has writable data"


def test_damaged_objects_are_refused() -> None:
    data = generate(text(GENERIC, "a"), GENERIC)
    for bad in (b"", b"hello", data[:40], data[:-100], data[: len(data) // 2], b"\x7fELF\x01\x01" + data[6:]):
        refusal(bad)


def test_code_for_arm_is_emitted_and_checked_but_not_linked() -> None:
    arm = get_isa("armv8.2+dotprod")
    closed = [generate(text(arm, "a", calls="b"), arm), generate(text(arm, "b"), arm)]
    check_closed(closed)
    assert refusal(*closed, isa=arm).what == "only x86-64 code is linked so far"
    with pytest.raises(EngineError) as raised:
        check_closed(closed[:1])
    assert raised.value.got == "b"


def test_an_object_is_read_with_its_symbols_and_constants() -> None:
    part = read_object(generate(text(GENERIC, "a", calls="b"), GENERIC))
    named = {symbol.name: symbol.section for symbol in part.symbols if not symbol.local}
    assert set(named) == {"a", "b"}
    assert named["b"] is None
    assert np.full(4, 1.5, np.float32).tobytes() in [section.data for section in part.sections]
