"""Each error of the compiler's room: its code, message and hint."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from strop.compiler.isa import get_isa
from strop.compiler.link import link
from strop.compiler.machine_code import generate
from strop.engines.compile import compile
from strop.errors import EngineError, NotSupportedError, UsageError
from strop.testing import models

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


def test_a_size_of_the_cache_that_is_none_is_said_before_anything_is_compiled(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("STROP_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("STROP_CACHE_SIZE", "much")
    with pytest.raises(UsageError) as raised:
        compile(models.multilayer_perceptron(), engine="native")
    error = raised.value
    assert (error.code, error.what, error.got) == ("usage.bad-option", "STROP_CACHE_SIZE is no size", "much")
    assert error.hint == "STROP_CACHE_SIZE=2G, or leave it unset for 1G"
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("engine", ["native", "auto"])
def test_a_value_of_terabytes_is_refused_before_anything_is_made(engine: str) -> None:
    wide, tall = (
        onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, s)
        for n, s in (("a", [1, 1 << 21]), ("b", [1 << 20, 1]))
    )
    total = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1 << 20, 1 << 21])
    graph = onnx.helper.make_graph([onnx.helper.make_node("Add", ["a", "b"], ["y"])], "outer", [wide, tall], [total])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    with pytest.raises(NotSupportedError) as raised:
        compile(model, engine=engine)
    error = raised.value
    assert (error.code, error.what) == ("unsupported.size", "a value is larger than any memory")
    assert (error.got, error.expected) == ("8.0 TiB", "at most 1 TiB")
    assert error.where is not None and "'y'" in error.where
    assert error.hint.startswith("look at the sizes that were given for free dimensions")
