from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest
from tests.unit.engines.doubling import FakeEngine

from strop.engines import registry
from strop.engines.compile import compile_model
from strop.engines.contract import Engine, Settings
from strop.engines.source import StoredModel
from strop.errors import EngineError, NotSupportedError, UsageError

MODEL = StoredModel("m", (), (), False, read=bytes)


def test_the_built_in_engines_are_engines() -> None:
    found = registry.engines()
    assert list(found) == ["native", "onnxruntime", "openvino", "reference"]
    for name, engine in found.items():
        assert isinstance(engine, Engine)
        assert engine.name == name


def test_an_engine_may_carry_settings() -> None:
    engine, settings = registry.parse_engine("openvino:threads=2,cpu_pinning=false")
    assert engine.name == "openvino"
    assert settings == Settings(threads=2, knobs={"cpu_pinning": False})


def test_a_misspelt_engine_is_found_again() -> None:
    with pytest.raises(UsageError) as raised:
        registry.get_engine("opnvino")
    assert raised.value.code == "usage.unknown-engine"
    assert "did you mean 'openvino'" in raised.value.hint


def test_a_plug_in_is_listed_without_being_loaded_and_loaded_when_named(monkeypatch: pytest.MonkeyPatch) -> None:
    good = EntryPoint("twice", "tests.unit.engines.plug_in:make", registry.ENTRY_POINTS)
    broken = EntryPoint("broken", "tests.unit.engines.no_such_module:make", registry.ENTRY_POINTS)
    monkeypatch.setattr(registry, "_plug_ins", lambda: {"twice": good, "broken": broken})
    sys.modules.pop("tests.unit.engines.plug_in", None)
    assert registry.engine_names() == ("native", "onnxruntime", "openvino", "reference", "broken", "twice")
    assert "tests.unit.engines.plug_in" not in sys.modules
    assert registry.get_engine("twice").name == "twice"
    with pytest.raises(EngineError, match="'broken' failed to load"):
        registry.get_engine("broken")


def test_a_plug_in_cannot_replace_a_built_in_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    bad = EntryPoint("openvino", "tests.unit.engines.plug_in:make", registry.ENTRY_POINTS)
    monkeypatch.setattr(registry, "_plug_ins", lambda: {"openvino": bad})
    assert registry.engine_names() == ("native", "onnxruntime", "openvino", "reference")
    assert type(registry.get_engine("openvino")).__name__ == "OpenVinoEngine"


@pytest.mark.parametrize(("installed", "chosen"), [(True, "openvino"), (False, "onnxruntime")])
def test_auto_is_openvino_where_it_is_installed(monkeypatch: pytest.MonkeyPatch, installed: bool, chosen: str) -> None:
    fakes = {
        "native": FakeEngine("native"),
        "openvino": FakeEngine("openvino", installed=installed),
        "onnxruntime": FakeEngine("onnxruntime"),
    }
    monkeypatch.setattr(registry, "get_engine", lambda name: fakes[name])
    assert registry.choose_engine(MODEL).name == chosen
    assert compile_model(MODEL).settings["engine"] == chosen


def test_auto_goes_on_where_an_engine_refuses_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    fakes = {
        "native": FakeEngine("native"),
        "openvino": FakeEngine("openvino", refusal="unsupported.model"),
        "onnxruntime": FakeEngine("onnxruntime"),
    }
    monkeypatch.setattr(registry, "get_engine", lambda name: fakes[name])
    assert compile_model(MODEL, settings=Settings(threads=1)).engine == "onnxruntime"
    assert fakes["onnxruntime"].asked == [Settings(threads=1)]


def test_auto_does_not_hide_other_refusals(monkeypatch: pytest.MonkeyPatch) -> None:
    fakes = {
        "native": FakeEngine("native"),
        "openvino": FakeEngine("openvino", refusal="unsupported.device-missing"),
        "onnxruntime": FakeEngine("onnxruntime"),
    }
    monkeypatch.setattr(registry, "get_engine", lambda name: fakes[name])
    with pytest.raises(NotSupportedError) as raised:
        compile_model(MODEL)
    assert raised.value.code == "unsupported.device-missing"


class Covering(FakeEngine):
    """Runs all of some models itself."""

    def __init__(self, covered: bool):
        super().__init__("native")
        self.covered = covered

    def covers(self, model: object) -> bool:
        return self.covered


@pytest.mark.parametrize(
    ("covered", "settings", "chosen"),
    [
        (True, Settings(), "native"),
        (False, Settings(), "openvino"),
        (True, Settings(device="GPU"), "openvino"),
        (True, Settings(knobs={"cpu_pinning": True}), "openvino"),
    ],
)
def test_auto_is_native_where_that_runs_all_of_the_model(
    monkeypatch: pytest.MonkeyPatch, covered: bool, settings: Settings, chosen: str
) -> None:
    fakes = {"native": Covering(covered), "openvino": FakeEngine("openvino"), "onnxruntime": FakeEngine("onnxruntime")}
    monkeypatch.setattr(registry, "get_engine", lambda name: fakes[name])
    assert compile_model(MODEL, settings=settings).engine == chosen


def test_knowing_the_engines_imports_none_of_them() -> None:
    script = (
        "import sys\n"
        "from strop.engines.registry import engines\n"
        "from strop.machine import machine\n"
        "for engine in engines().values():\n"
        "    engine.available(), engine.knobs(machine())\n"
        "heavy = ('onnx', 'onnx_ir', 'onnxruntime', 'openvino', 'torch', 'llvmlite')\n"
        "print([name for name in heavy if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
