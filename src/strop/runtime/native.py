"""A bundle all of which is machine code: mapped from its file and called, without any engine."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from strop.engines.native.program_model import ProgramModel
from strop.errors import UsageError
from strop.loader.bundle import Bundle, is_fully_native
from strop.loader.format import CODE, PLAN, WEIGHTS, damaged
from strop.loader.image import CodeFile, Image, image_of

if TYPE_CHECKING:
    from strop.engines.contract import KnobValue

_REPLACEABLE = ("threads", "streams", "objective", "share_cores")
"""Settings that need no other code than that in the bundle."""


def open_native(bundle: Bundle, given: Mapping[str, KnobValue]) -> ProgramModel | None:
    """Returns the model that runs the bundle's own code, None where it has none for this CPU or for these settings.

    given: what replaces recorded settings. Raises BundleError `bundle.damaged`, UsageError for a bad number.
    """
    if not is_fully_native(bundle) or not needs_no_other_code(given):
        return None
    level = bundle.code_level
    assert level is not None
    image = _image(bundle, level)
    model = ProgramModel(image, settings=settings_in_force(bundle, level, given), stages={"read": 0.0, "compile": 0.0})
    if not _is_still_there(bundle):
        model.close()
        raise damaged(bundle.file, "the file was replaced while it was loaded")
    return model


def needs_no_other_code(given: Mapping[str, KnobValue]) -> bool:
    """Whether a bundle's code runs with these settings."""
    return all(name in _REPLACEABLE for name in given)


def settings_in_force(bundle: Bundle, level: str, given: Mapping[str, KnobValue]) -> dict[str, KnobValue]:
    """Returns the bundle's settings with what `given` replaces of them; raises UsageError for a bad number."""
    recorded = bundle.manifest["engine"]["settings"]
    settings = {**recorded, "isa": level, "device": "CPU", **_counts(recorded, given)}
    if "share_cores" in given:
        settings["share_cores"] = bool(given["share_cores"])
    return settings


def _image(bundle: Bundle, level: str) -> Image:
    members = [prefix + level for prefix in (PLAN, CODE, WEIGHTS)]
    for name in members:
        if name not in bundle.names:
            raise damaged(bundle.file, f"its manifest says it is native, and there is no member {name!r}")
    plan, code, weights = (bundle.member(name) for name in members)  # found right, each of them
    bundle.populate(members[2])
    try:
        return image_of(plan, CodeFile(bundle.file, bundle.offset(members[1]), len(code)), weights)
    except ValueError as error:
        raise damaged(bundle.file, "its code, plan and weights do not fit each other", got=error) from error


def _counts(recorded: Mapping[str, KnobValue], given: Mapping[str, KnobValue]) -> dict[str, KnobValue]:
    """Returns objective, threads and streams: as given, else as recorded, at most the cores of this machine."""
    objective = given.get("objective", recorded.get("objective", "latency"))
    threads, streams = given.get("threads"), given.get("streams", recorded.get("streams"))
    for name, value in (("threads", threads), ("streams", streams)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            raise UsageError("usage.bad-option", f"{name} must be a whole number above 0", got=value, hint=f"{name}=1")
    if threads is None:
        threads = recorded.get("threads")
        if threads != 1:
            from strop.machine import usable_cores  # takes longer to import than one thread has to be counted

            threads = min(int(threads), usable_cores()) if threads else usable_cores()
        if streams is not None and "streams" not in given:
            streams = min(int(streams), int(threads))
    streams = streams or (threads if objective == "throughput" else 1)
    if int(streams) > int(threads):
        raise UsageError(
            "usage.bad-option",
            f"native cannot serve {streams} streams with {threads} threads",
            expected="at most as many streams as threads",
            hint=f"threads={streams},streams={streams}",
        )
    return {"objective": objective, "threads": threads, "streams": streams}


def _is_still_there(bundle: Bundle) -> bool:
    """Whether the code just mapped by the file's name came from the very file whose hashes were checked."""
    try:
        status = os.stat(bundle.file)  # noqa: PTH116 - pathlib is not imported here
    except OSError:
        return False
    before = bundle.status
    return (status.st_dev, status.st_ino, status.st_mtime_ns) == (before.st_dev, before.st_ino, before.st_mtime_ns)
