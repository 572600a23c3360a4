"""An engine that only doubles: these tests run no real engine."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np

from strop.engines.base import CompiledBase
from strop.engines.contract import Availability, Knob, Settings
from strop.errors import NotSupportedError
from strop.model.specs import TensorSpec

SPECS = (TensorSpec("x", "float32", ("batch", 3)), TensorSpec("state", "float32", (2,)))
OUTPUTS = (TensorSpec("y", "float32", ("batch", 3)), TensorSpec("next", "float32", (2,)))


class Doubling(CompiledBase[int]):
    """Doubles its inputs; notes which slots served, and waits for `gate` where one is set."""

    def __init__(self, *, slots: Sequence[int] = (0,), name: str = "doubling"):
        super().__init__(name, inputs=SPECS, outputs=OUTPUTS, settings={"streams": len(slots)}, slots=slots, stages={})
        self.served: list[int] = []
        self.most_at_once = self.at_once = 0
        self.gate: threading.Event | None = None
        self.released = False
        self._count = threading.Lock()

    def _run(self, slot: int, arrays: list[np.ndarray]) -> list[np.ndarray]:
        with self._count:
            self.served.append(slot)
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        if self.gate is not None:
            assert self.gate.wait(10)
        with self._count:
            self.at_once -= 1
        return [array * 2 for array in arrays]

    def _release(self) -> None:
        self.released = True


class FakeEngine:
    """Compiles everything into `Doubling`, or refuses it."""

    def __init__(self, name: str, *, refusal: str | None = None, installed: bool = True):
        self.name, self.refusal, self.installed = name, refusal, installed
        self.asked: list[Settings] = []

    def available(self) -> Availability:
        return Availability(self.installed, version="1.0")

    def knobs(self, machine: object) -> tuple[Knob, ...]:
        return ()

    def load(self) -> None:
        return None

    def compile(self, model: object, settings: Settings) -> Doubling:
        self.asked.append(settings)
        if self.refusal:
            raise NotSupportedError(self.refusal, "no", hint="try another engine")
        return Doubling(name=self.name)
