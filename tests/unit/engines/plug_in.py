"""What a package that brings an engine would hold."""

from __future__ import annotations

from tests.unit.engines.doubling import FakeEngine


def make() -> FakeEngine:
    return FakeEngine("twice")
