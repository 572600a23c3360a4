from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.unit.optimize.world import World, run

from strop.optimize import int8_forms
from strop.optimize.events import Event
from strop.optimize.schedule import Part, Schedule

PARTS = ("trial", "refine", "confirm", "quantize", "plan", "accuracy of the baseline")


def test_what_is_left_follows_what_the_parts_turn_out_to_take() -> None:
    time = [0.0]
    schedule = Schedule(lambda: time[0], {"trials": Part(4, 2.0), "confirmation": Part(1, 10.0)})
    assert schedule.remaining() == 18.0
    with schedule.working("trials"):
        time[0] += 1.5
        assert schedule.remaining() == pytest.approx(16.5)
        time[0] += 2.5
        assert schedule.remaining() == pytest.approx(16.0), "longer than expected: nothing is left of it"
    assert schedule.remaining() == pytest.approx(3 * 3.0 + 10.0)
    schedule.skip("trials")
    schedule.skip("unknown")
    assert schedule.remaining(["trials"]) == pytest.approx(6.0)
    schedule.skip("trials", None)
    assert schedule.remaining() == 10.0


@pytest.mark.parametrize(("budget", "opening"), [(None, 0.3), (None, 3.0), ("50s", 3.0), ("300s", 0.3)])
def test_forecast_and_time_left_are_right_within_30_percent(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, budget: str | None, opening: float
) -> None:
    settings = [f"{engine} {kind}" for engine in ("onnxruntime", "openvino") for kind in ("f32", "int8")]
    labels = [*settings, *(f"{each}, threads 1" for each in settings)]
    world.opening = dict.fromkeys(labels, opening)
    world.speeds = {"openvino f32, threads 1": 0.0015, "onnxruntime int8, threads 1": 0.004}
    in_force: dict[str, object] = {"cpu_pinning": False, "partitioner": "static"}
    world.knobs = {"openvino f32, threads 1": in_force}
    for change in ({"cpu_pinning": True}, {"partitioner": "auto"}):
        label = "openvino f32, threads 1, " + ", ".join(f"{name} {value}" for name, value in change.items())
        world.knobs[label] = in_force | change
        world.speeds[label] = 0.0015
        world.opening[label] = opening
    quantize = int8_forms.quantize_model

    def slowly(*arguments: Any, **options: Any) -> Any:
        world.clock.advance(3.0)
        return quantize(*arguments, **options)

    def first_inference(*arguments: object, **options: object) -> Any:
        world.clock.advance(5 * opening)
        return type("First", (), {"total_ms": 1e3 * opening, "parts_ms": {}})

    monkeypatch.setattr(int8_forms, "quantize_model", slowly)
    for name in ("measure_first_inference", "first_inference_of_bundle"):
        monkeypatch.setattr(f"strop.optimize.confirm.{name}", first_inference)
    told: list[tuple[float, float, Event]] = []

    def listen(event: Event) -> None:
        if event.remaining_seconds is not None:
            told.append((world.clock.now(), event.remaining_seconds, event))

    result = run(world, tmp_path, budget=budget, on_event=listen)
    end = world.clock.now()
    forecast = result.document["forecast"]["whole_run_seconds"]
    assert forecast == pytest.approx(end, rel=0.3)
    assert len(told) > 10
    for moment, left, event in told:
        # Of the last tenth of a run, a third is a second or two, and nobody's concern.
        assert left == pytest.approx(end - moment, rel=0.3, abs=0.1 * end), event.message
        assert event.fraction is not None and 0 <= event.fraction <= 1
