"""Tunes a model before it is measured: in this process, so that who waits sees how far it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from strop.engines.contract import Settings
from strop.engines.registry import get_engine
from strop.errors import UsageError
from strop.model.model import Model
from strop.optimize.events import Event, Listener, nobody

if TYPE_CHECKING:
    from strop.compiler.tune import Progress


def tune_first(model: Model, engines: Sequence[str], settings: Settings, *, on_event: Listener = nobody) -> Settings:
    """Returns the settings with tune=True, after measuring what that needs; the image is in the cache then.

    engines: those to be tried; only the first can be tuned for, and has to be native, else UsageError
    `usage.bad-option` is raised.
    """
    from strop.engines.native.engine import NativeEngine

    engine = get_engine(engines[0])
    if not isinstance(engine, NativeEngine):
        raise UsageError(
            "usage.bad-option",
            "only the engine native can be tuned",
            got=engines[0],
            expected="native",
            hint="--engine native --tune",
        )

    def tell(progress: Progress) -> None:
        left = max(0.0, progress.budget - progress.seconds)
        on_event(Event("progress", progress.message, progress.done / progress.problems, left))

    on_event(Event("stage", "tune: kernels are measured here"))
    tuned = settings.updated({"tune": True})
    engine.tune(model, tuned, tell)
    return tuned
