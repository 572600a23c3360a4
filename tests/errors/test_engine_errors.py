"""Each error of the engines' room: its code, message and hint."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint

import numpy as np
import pytest

from strop.engines import _onnxruntime_door, registry
from strop.engines.compile import compile
from strop.engines.contract import CompiledModel, Settings
from strop.engines.registry import get_engine, parse_engine
from strop.errors import EngineError, InputError, NotSupportedError, StropError, UsageError
from strop.model.load import load_model
from strop.testing import models

X = np.zeros((2, 4), np.float32)
needs_openvino = pytest.mark.skipif(importlib.util.find_spec("openvino") is None, reason="openvino is not installed")


def _raised(call: Callable[[], object]) -> StropError:
    with pytest.raises(StropError) as raised:
        call()
    return raised.value


def _two(**settings: object) -> CompiledModel:
    return compile(models.stateful(), engine="onnxruntime", threads=1, **settings)  # type: ignore[arg-type]


def test_unknown_engine() -> None:
    error = _raised(lambda: parse_engine("onxruntime:threads=2"))
    assert isinstance(error, UsageError)
    assert (error.code, error.what) == ("usage.unknown-engine", "no engine is called 'onxruntime'")
    assert error.hint == "did you mean 'onnxruntime'? (there are: native, onnxruntime, openvino, reference)"


def test_unknown_knob() -> None:
    error = _raised(lambda: _two(allow_spining=True))
    assert (error.code, error.what) == ("usage.unknown-knob", "onnxruntime has no knob 'allow_spining'")
    assert error.hint.startswith("did you mean 'allow_spinning'? (there are: allow_spinning, stop_spinning, graph_opti")
    assert error.hint.endswith("threads, streams, precision, objective, device, cache)")


def test_a_knobs_value_out_of_range() -> None:
    error = _raised(lambda: _two(graph_optimization="most"))
    assert (error.code, error.got) == ("usage.bad-option", "most")
    assert error.expected == "disable, basic, extended, all"
    assert error.hint == "graph_optimization=all: how far the graph is optimized"


def test_more_streams_than_threads() -> None:
    error = _raised(lambda: _two(streams=2))
    assert (error.code, error.what) == ("usage.bad-option", "onnxruntime cannot serve 2 streams with 1 thread")
    assert error.hint == "threads=2,streams=2 or streams=1"


@pytest.mark.parametrize(("name", "package"), [("onnxruntime", "onnxruntime"), ("openvino", "'strop[openvino]'")])
def test_engine_missing(monkeypatch: pytest.MonkeyPatch, name: str, package: str) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    engine = get_engine(name)
    assert not engine.available().available
    assert engine.available().why == f"not installed: pip install {package}"
    model = load_model(models.stateful())
    error = _raised(lambda: engine.compile(model, Settings()))
    assert isinstance(error, NotSupportedError)
    assert error.code == "unsupported.engine-missing"
    assert error.hint == f"pip install {package}"


@pytest.mark.parametrize("name", ["onnxruntime", pytest.param("openvino", marks=needs_openvino)])
def test_an_engine_whose_library_does_not_load_is_missing_too(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setitem(sys.modules, f"strop.engines._{name}_door", None)  # importing it raises ImportError
    error = _raised(get_engine(name).load)
    assert isinstance(error, NotSupportedError)
    assert error.code == "unsupported.engine-missing"
    assert "cannot be imported" in error.what
    assert error.hint == f"install it again: pip install --force-reinstall {name}"


@pytest.mark.parametrize("engine", ["onnxruntime", pytest.param("openvino", marks=needs_openvino), "reference"])
def test_device_missing_names_those_that_are_there(engine: str) -> None:
    error = _raised(lambda: compile(models.stateful(), engine=engine, device="TPU"))
    assert (error.code, error.what) == ("unsupported.device-missing", f"{engine} has no device 'TPU' here")
    assert "CPU" in str(error.expected)
    assert error.hint.startswith("use device=CPU")


def test_precision_int8_without_quantized_activations() -> None:
    error = _raised(lambda: _two(precision="int8"))
    assert (error.code, error.what) == (
        "unsupported.precision",
        "onnxruntime cannot run a model in int8 that is there in f32",
    )
    assert error.hint.startswith("quantize it first: strop quantize MODEL --data DATA")


def test_precision_f32_of_a_quantized_model() -> None:
    error = _raised(lambda: compile(models.quantized(), engine="onnxruntime", precision="f32"))
    assert error.code == "unsupported.precision"
    assert error.hint == "give the float model it was made from"


@pytest.mark.parametrize("engine", ["onnxruntime", pytest.param("openvino", marks=needs_openvino), "reference"])
def test_a_refused_model_is_refused_in_the_engines_own_words(engine: str) -> None:
    error = _raised(lambda: compile(models.custom_operator(), engine=engine))
    assert isinstance(error, NotSupportedError)
    assert error.code == "unsupported.model"
    assert "refuses this model" in error.what
    assert "Magic" in str(error.got)
    assert error.hint.startswith("try another engine")


@pytest.mark.parametrize("engine", ["onnxruntime", "reference"])
def test_a_cache_where_the_engine_keeps_none(engine: str) -> None:
    error = _raised(lambda: compile(models.stateful(), engine=engine, cache="folder"))
    assert (error.code, error.got) == ("unsupported.feature", "folder")
    assert "cache" in error.what
    assert error.hint.startswith("leave")


def test_a_profile_where_the_engine_has_none() -> None:
    compiled = compile(models.stateful(), engine="reference")
    error = _raised(lambda: compiled.profile([X, X]))
    assert (error.code, error.what) == ("unsupported.feature", "reference cannot tell where its time goes")
    assert error.hint == "profile the model with onnxruntime or openvino"


def test_a_failure_of_the_engine_while_it_compiles(monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*arguments: object) -> object:
        raise MemoryError("bad allocation")

    monkeypatch.setattr(_onnxruntime_door, "Session", crash)
    error = _raised(_two)
    assert isinstance(error, EngineError)
    assert (error.code, error.what) == ("engine.compile", "ONNX Runtime failed to open the model")
    assert (error.where, error.got) == ("tiny", "bad allocation")
    assert error.hint == "try graph_optimization=disable, or another engine"


@needs_openvino
def test_a_failure_of_openvino_while_it_compiles(monkeypatch: pytest.MonkeyPatch) -> None:
    from strop.engines import _openvino_door

    def crash(*arguments: object) -> object:
        raise RuntimeError("Exception from src/plugins/x.cpp:1:\nstd::bad_alloc")

    monkeypatch.setattr(_openvino_door, "Program", crash)
    error = _raised(lambda: compile(models.stateful(), engine="openvino"))
    assert isinstance(error, EngineError)
    assert (error.code, error.got) == ("engine.compile", "std::bad_alloc")
    assert error.hint.startswith("try another engine")


@needs_openvino
def test_openvino_computing_in_less_than_float32_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from strop.engines._openvino_door import Program

    read_back = Program.read_back
    monkeypatch.setattr(
        Program, "read_back", lambda self, name: "bf16" if "PRECISION" in name else read_back(self, name)
    )
    error = _raised(lambda: compile(models.stateful(), engine="openvino"))
    assert (error.code, error.got, error.expected) == ("unsupported.precision", "bf16", "f32")
    assert error.hint == "use device=CPU"


@pytest.mark.parametrize("engine", ["onnxruntime", pytest.param("openvino", marks=needs_openvino), "reference"])
def test_a_failure_of_the_engine_while_it_runs(engine: str) -> None:
    compiled = compile(models.stateful(), engine=engine)
    error = _raised(lambda: compiled({"x": X, "state": np.zeros((3, 4), np.float32)}))
    assert isinstance(error, EngineError)
    assert (error.code, error.what) == ("engine.run", f"{engine} failed to run the model")
    assert error.got
    assert error.hint.startswith("check that the inputs' sizes fit each other")


def test_a_plug_in_that_does_not_load(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = EntryPoint("mine", "no_such_package:make", registry.ENTRY_POINTS)
    monkeypatch.setattr(registry, "_plug_ins", lambda: {"mine": broken})
    error = _raised(lambda: get_engine("mine"))
    assert (error.code, error.where) == ("engine.compile", "no_such_package:make")
    assert error.hint == "update or uninstall the package that brings it"


@pytest.mark.parametrize(
    ("inputs", "code", "what", "hint"),
    [
        ({"x": X}, "input.missing", "input 'state' was not given", "add it: {..., 'state': array}"),
        ({"x": X, "stat": X}, "input.unknown", "the model has no input 'stat'", "did you mean 'state'? (there are: x,"),
        ([X], "input.missing", "the call gave too few inputs", "give them in this order, or by name: {'x': ..., 'sta"),
        ([X.astype("float64"), X], "input.dtype", "input 'x' has the wrong element type", "convert it: x.astype('fl"),
        ([X[0], X], "input.rank", "input 'x' has the wrong number of dimensions", "add or remove the batch axis"),
        ([X[:, :3], X], "input.shape", "input 'x' has the wrong shape", "resize or pad the data"),
        (None, "input.form", "the inputs of a call must be arrays", "give a dict of arrays by name, a list of them"),
        ([[[1], [2, 3]], X], "input.form", "input 'x' is no array", "give a numpy array, or something that numpy"),
    ],
)
def test_bad_inputs(inputs: object, code: str, what: str, hint: str) -> None:
    error = _raised(lambda: _two()(inputs))  # type: ignore[arg-type]
    assert isinstance(error, InputError)
    assert (error.code, error.what) == (code, what)
    assert error.hint.startswith(hint)


def test_a_bad_buffer() -> None:
    buffers = {"y": np.zeros((2, 4), np.float32), "new_state": np.zeros((2, 3), np.float32)}
    error = _raised(lambda: _two().run_into([X, X], buffers))
    assert (error.code, error.what) == ("output.buffer", "the buffer for output 'new_state' has the wrong shape")
    assert (error.got, error.expected) == ((2, 3), (2, 4))
    assert error.hint.startswith("allocate it like the result of a call")


def test_a_closed_model() -> None:
    compiled = _two()
    compiled.close()
    error = _raised(lambda: compiled([X, X]))
    assert (error.code, error.what) == ("usage.closed", "this model on onnxruntime was closed")
    assert error.hint == "compile it again"


def test_a_pytorch_file_is_refused_by_compile() -> None:
    error = _raised(lambda: compile("model.pt"))
    assert error.code == "usage.refused-file"
    assert "ONNX" in error.hint
