"""Shared by all tests: deterministic hypothesis, and the zoo where it is there."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # Started in the background by a shell, as CI may do: then what the tests start would ignore Ctrl-C, too.
    signal.signal(signal.SIGINT, signal.default_int_handler)

CORES = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()

settings.register_profile(
    "ci", derandomize=True, deadline=None, max_examples=30, suppress_health_check=[HealthCheck.too_slow]
)
# A kernel's properties are tried on three ISA tables: over 1000 examples a kernel.
settings.register_profile(
    "long", derandomize=True, deadline=None, max_examples=340, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile(os.environ.get("STROP_HYPOTHESIS", "ci"))


@pytest.fixture(scope="session", autouse=True)
def _cache_of_the_run(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Fixtures of modules come before those of functions: they must not reach the user's cache either."""
    os.environ["STROP_CACHE_DIR"] = str(tmp_path_factory.getbasetemp() / "cache")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STROP_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(autouse=True)
def _own_cores() -> None:
    """A module that binds the process to a core when it is imported would bind the whole run."""
    if hasattr(os, "sched_getaffinity"):
        assert os.sched_getaffinity(0) == CORES, "a test, or what tests import, left the process on other cores"


@pytest.fixture(scope="session")
def zoo() -> Path:
    """The folder of real models and data, or a skip that says why."""
    folder = os.environ.get("STROP_ZOO")
    if not folder:
        pytest.skip("STROP_ZOO is not set: no folder of real models")
    path = Path(folder)
    if not (path / "models").is_dir():
        pytest.skip(f"STROP_ZOO={folder} holds no models")
    return path
