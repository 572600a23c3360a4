from __future__ import annotations

import pytest
from tests.unit.optimize.world import World, make_world


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """Engines of made-up speed on a clock that only they move."""
    return make_world(monkeypatch)
