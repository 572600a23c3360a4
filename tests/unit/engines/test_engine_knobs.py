from __future__ import annotations

import pytest

from strop.engines.contract import Knob, KnobValue, Settings
from strop.engines.knobs import check_precision, check_streams, did_you_mean, knob_values
from strop.engines.source import StoredModel
from strop.errors import NotSupportedError, UsageError

KNOBS = (
    Knob("spin", "bool", True, "threads spin"),
    Knob("level", "choice", "all", "how far", choices=("none", "all")),
    Knob("depth", "int", 4, "how deep", low=1, high=8),
    Knob("pin", "bool", None, "left to the engine"),
    Knob("label", "text", None, "any text"),
)


def test_defaults_fill_in_what_is_not_given_and_none_stays_the_engines_choice() -> None:
    assert knob_values("e", KNOBS, {"depth": 2}) == {"spin": True, "level": "all", "depth": 2}


@pytest.mark.parametrize(
    ("name", "given", "taken"),
    [("spin", False, False), ("spin", 0, False), ("level", "NONE", "none"), ("depth", 8, 8), ("label", 3, "3")],
)
def test_values_are_taken_as_users_type_them(name: str, given: KnobValue, taken: KnobValue) -> None:
    assert knob_values("e", KNOBS, {name: given})[name] == taken


@pytest.mark.parametrize(
    ("name", "given"),
    [("spin", "yes"), ("spin", 2), ("spin", 0.0), ("level", "most"), ("depth", 0), ("depth", 9), ("depth", True)],
)
def test_values_out_of_range_are_refused(name: str, given: KnobValue) -> None:
    with pytest.raises(UsageError, match=name) as raised:
        knob_values("e", KNOBS, {name: given})
    assert raised.value.code == "usage.bad-option"


def test_a_near_name_is_suggested() -> None:
    assert did_you_mean("sgin", ["spin", "level"]) == "did you mean 'spin'? (there are: spin, level)"
    assert did_you_mean("zzz", ["spin"]) == "there are: spin"
    assert did_you_mean("zzz", []) == "there are: none"


@pytest.mark.parametrize(
    ("is_quantized", "asked", "runs"),
    [(False, None, "f32"), (False, "f32", "f32"), (True, None, "int8"), (True, "int8", "int8")],
)
def test_precision_is_the_models_own(is_quantized: bool, asked: object, runs: str) -> None:
    model = StoredModel("m", (), (), is_quantized, read=bytes)
    assert check_precision("e", model, Settings(precision=asked)) == runs  # type: ignore[arg-type]


@pytest.mark.parametrize(("is_quantized", "asked"), [(False, "int8"), (True, "f32")])
def test_another_precision_than_the_models_is_refused(is_quantized: bool, asked: object) -> None:
    model = StoredModel("m", (), (), is_quantized, read=bytes)
    with pytest.raises(NotSupportedError) as raised:
        check_precision("e", model, Settings(precision=asked))  # type: ignore[arg-type]
    assert raised.value.code == "unsupported.precision"


def test_each_stream_needs_a_thread() -> None:
    check_streams("e", 2, 2)
    with pytest.raises(UsageError, match="3 streams with 2 threads"):
        check_streams("e", 2, 3)


def test_settings_survive_text_and_json() -> None:
    settings = Settings.parse("threads=2,streams=1,precision=int8,spin=false,level=none")
    assert settings == Settings(2, 1, "int8", knobs={"spin": False, "level": "none"})
    assert Settings().updated(settings.to_json()) == settings


@pytest.mark.parametrize("text", ["threads", "threads=0", "threads=two", "precision=bf16", "objective=speed", "=1"])
def test_settings_that_cannot_be_are_refused(text: str) -> None:
    with pytest.raises(UsageError) as raised:
        Settings.parse(text)
    assert raised.value.code == "usage.bad-option"
