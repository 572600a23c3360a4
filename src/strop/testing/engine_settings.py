"""Checks of settings: what is asked for is in force and read back, and what cannot be is refused by name."""

from __future__ import annotations

from functools import partial

from strop.engines.contract import Knob, KnobValue, Settings
from strop.errors import NotSupportedError
from strop.machine import machine
from strop.testing import models
from strop.testing.engine_subject import Subject, assert_close, assert_raises, rows


def says_what_it_is(subject: Subject) -> None:
    """Name, version, inputs and outputs, and the engine's name in the settings."""
    engine = subject.engine
    availability = engine.available()
    assert availability.available, f"is not available: {availability.why}"
    assert availability.version, "has no version"
    compiled = subject.double
    assert compiled.engine == engine.name, f"a compiled model says {compiled.engine!r}"
    assert [spec.name for spec in compiled.inputs] == ["x", "state"], f"inputs are {compiled.inputs}"
    assert [spec.name for spec in compiled.outputs] == ["y", "new_state"], f"outputs are {compiled.outputs}"
    assert compiled.settings["engine"] == engine.name, f"settings are {dict(compiled.settings)}"


def reads_every_setting_back(subject: Subject) -> None:
    """Threads, streams, precision, objective and device are in `.settings`, and one thread asked for is one."""
    settings = subject.single.settings
    for name in ("threads", "streams", "precision", "objective", "device"):
        assert name in settings, f"settings do not name {name}: {dict(settings)}"
    assert (settings["threads"], settings["streams"]) == (1, 1), f"asked for one thread, got {dict(settings)}"
    assert (settings["precision"], settings["device"]) == ("f32", "CPU"), f"settings are {dict(settings)}"
    throughput = subject.compile(models.multilayer_perceptron(), Settings(objective="throughput")).settings
    assert throughput["objective"] == "throughput", f"asked for throughput, got {dict(throughput)}"


def reads_every_knob_back(subject: Subject) -> None:
    """Each knob, set to another value than its default, is reported with it, and the numbers stay right.

    On a model of fixed sizes: what an engine does for fixed sizes only, it may leave out for others.
    """
    x = rows(2, 16)
    expected = subject.single(x)
    model = models.multilayer_perceptron(batch=2)
    for knob in subject.engine.knobs(machine()):
        current = subject.single.settings.get(knob.name, knob.default)
        value = _another_value(knob, current)
        compiled = subject.compile(model, Settings(threads=1, knobs={knob.name: value}))
        assert not knob.read_back or compiled.settings.get(knob.name) == value, (
            f"{knob.name} was set to {value!r} and is read back as {compiled.settings.get(knob.name)!r}"
        )
        assert_close(compiled(x), expected)
        compiled.close()


def refuses_unknown_knobs(subject: Subject) -> None:
    """A name that is no knob is `usage.unknown-knob`, and a value out of range `usage.bad-option`."""
    compile_with = partial(subject.compile, models.multilayer_perceptron())
    unknown, near = Settings(knobs={"no_such_knob": 1}), Settings(knobs={"thread": 1})
    assert_raises("usage.unknown-knob", partial(compile_with, unknown), saying="no_such_knob")
    assert_raises("usage.unknown-knob", partial(compile_with, near), saying="did you mean 'threads'")
    for knob in subject.engine.knobs(machine()):
        if knob.kind != "text":
            bad = Settings(knobs={knob.name: "no such value"})
            assert_raises("usage.bad-option", partial(compile_with, bad), saying=knob.name)


def refuses_another_precision(subject: Subject) -> None:
    """int8 without quantized activations, and f32 with them."""
    assert_raises(
        "unsupported.precision",
        lambda: subject.compile(models.multilayer_perceptron(), Settings(precision="int8")),
        saying="quantize it first",
    )
    assert_raises("unsupported.precision", lambda: subject.compile(models.quantized(), Settings(precision="f32")))


def refuses_devices_that_are_not_there(subject: Subject) -> None:
    """And names those that are."""
    absent = Settings(device="NO-SUCH-DEVICE")
    assert_raises(
        "unsupported.device-missing", lambda: subject.compile(models.multilayer_perceptron(), absent), saying="CPU"
    )


def says_where_time_goes_or_that_it_cannot(subject: Subject) -> None:
    """A profile has a row of each operation that ran, with time and origin; or `unsupported.feature`."""
    x = rows(2, 16)
    try:
        found = subject.single.profile(x, repeats=3)
    except NotSupportedError as error:
        assert error.code == "unsupported.feature", f"raised {error.code}"
        return
    ran = [row for row in found if row.status == "EXECUTED"]
    assert ran and sum(row.milliseconds for row in ran) > 0, f"nothing took time: {found}"
    assert any(row.origin for row in ran), "no operation says which nodes of the model it came from"


def _another_value(knob: Knob, current: KnobValue | None) -> KnobValue:
    if knob.kind == "bool":
        return not current
    if knob.kind == "choice":
        return next(choice for choice in knob.choices if choice != current)
    if knob.kind == "int":
        assert knob.low is not None and knob.high is not None, f"{knob.name} has no range"
        return knob.high if current != knob.high else knob.low
    return "another"


SETTING_CHECKS = (
    says_what_it_is,
    reads_every_setting_back,
    reads_every_knob_back,
    refuses_unknown_knobs,
    refuses_another_precision,
    refuses_devices_that_are_not_there,
    says_where_time_goes_or_that_it_cannot,
)
