"""Each error of the compiler's room: its code, message and hint."""

from __future__ import annotations

import pytest

from strop.compiler.isa import get_isa
from strop.compiler.link import link
from strop.compiler.machine_code import generate
from strop.errors import EngineError

GENERIC = get_isa("generic")
CALLS_OUT = "declare void @cosf()\ndefine void @f() {\n  call void @cosf()\n  ret void\n}"


def test_code_that_llvm_refuses() -> None:
    with pytest.raises(EngineError) as raised:
        generate("define void @f() {\n  return\n}", GENERIC)
    error = raised.value
    assert (error.code, error.what, error.exit_code) == ("engine.machine-code", "LLVM refuses the code", 5)
    assert "expected instruction opcode" in str(error.got)
    assert error.hint.startswith("this is a mistake in Strop: report it with the model")


def test_code_that_needs_something_from_outside() -> None:
    with pytest.raises(EngineError) as raised:
        link([generate(CALLS_OUT, GENERIC)], GENERIC)
    error = raised.value
    assert (error.code, error.what, error.got) == ("engine.machine-code", "a symbol is defined nowhere", "cosf")
    assert error.expected == "no symbol from outside"
    assert "engine onnxruntime runs it meanwhile" in error.hint
