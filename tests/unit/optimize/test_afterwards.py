from __future__ import annotations

from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from strop.errors import EngineError
from strop.optimize.afterwards import run_afterwards
from strop.optimize.budget import Budget
from strop.optimize.events import nobody
from strop.optimize.narrator import Narrator
from strop.optimize.study import Study
from strop.testing.clock import FakeClock


def fails(*arguments: object) -> None:
    raise EngineError("engine.run", "the engine failed", hint="another engine")


def is_wrong(*arguments: object) -> None:
    raise ZeroDivisionError("a mistake")


def test_each_finding_is_a_fact_and_a_failure_costs_only_its_own(tmp_path: Path) -> None:
    clock = FakeClock()
    steps: Any = [
        ("ablation", lambda job, confirmed: {"together": confirmed}),
        ("silent", lambda job, confirmed: None),
        ("layers", fails),
        ("curve", is_wrong),
        ("long", lambda job, confirmed: clock.advance(20.0)),
        ("late", lambda job, confirmed: {"never": True}),
    ]
    with closing(Study(tmp_path / "s.study.db")) as study:
        budget = Budget(10.0, clock=clock)
        narrator = Narrator(study, budget, nobody)
        job: Any = SimpleNamespace(study=study, budget=budget, narrator=narrator)
        found = run_afterwards(job, "what was confirmed", steps)  # type: ignore[arg-type]
        assert found == {"ablation": {"together": "what was confirmed"}}
        assert study.facts() == found
    assert narrator.warnings == [
        "no layers: the engine failed",
        "no curve: ZeroDivisionError: a mistake",
        "no late: the budget is used up",
    ]
