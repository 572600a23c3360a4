"""Tuning where a model is compiled: what was measured before, what is measured now, and which image came of it.

An image's key holds a digest of the records it was made by. Which those were for a model is noted in the cache folder,
so that its image is found again before the model is read, whatever was measured for other models since.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING

from strop.engines.contract import KnobValue

if TYPE_CHECKING:
    from strop.compiler.program import CompileSettings
    from strop.compiler.records import Records
    from strop.compiler.tune import Listener
    from strop.engines.native.build import Caches
    from strop.model.model import Model


_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


@contextlib.contextmanager
def listening(listener: Listener | None) -> Iterator[None]:
    """Lets `listener` hear what is tuned meanwhile, in this thread."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def measured(model: Model, wanted: CompileSettings, caches: Caches, budget: float) -> Records:
    """Returns the records for a model, after measuring what they lacked; raises what planning raises."""
    from strop.compiler.isa.table import get_isa
    from strop.compiler.program import plan_program
    from strop.compiler.records import Records
    from strop.compiler.tune import tune_plan

    records = Records(get_isa(wanted.isa), caches.records)
    plan = plan_program(model, wanted)
    tune_plan(plan, records, budget=budget, cache=caches.objects, listener=_listener.get())
    records.used.clear()  # tuning looked at all of them; what counts is what compiling takes
    return records


class TunedNote:
    """Says which records the image of a model was made by; folder: of the notes."""

    def __init__(self, sha256: str, settings: Mapping[str, KnobValue], folder: Path) -> None:
        from strop.compiler.isa.table import get_isa
        from strop.compiler.records import origin_of
        from strop.machine import machine

        what = [
            sha256,
            settings["winograd"],
            settings["tune_seconds"],
            origin_of(get_isa(str(settings["isa"])), machine()),
        ]
        self._path = folder / f"{hashlib.sha256(json.dumps(what).encode()).hexdigest()[:32]}.tuned"

    def read(self) -> str:
        """Returns the digest of the records, "" where the model was not tuned here so."""
        try:
            text = self._path.read_text(encoding="ascii")
        except (OSError, UnicodeDecodeError):
            return ""
        return text if re.fullmatch("[0-9a-f]{64}", text) else ""

    def write(self, digest: str) -> None:
        """Notes the digest; does nothing where that cannot be written."""
        part = self._path.with_suffix(f".{os.getpid()}.part")
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            part.write_text(digest, encoding="ascii")
            part.replace(self._path)
