from __future__ import annotations

import os
from pathlib import Path

import pytest

import strop.machine as house
from strop.machine import cache_directory, machine, quota_cores, usable_cores


def _cgroup(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.setattr(house, "_CGROUP", tmp_path)


@pytest.mark.parametrize(
    ("text", "quota", "cores"), [("150000 100000", 1.5, 1), ("50000 100000", 0.5, 1), ("max 100000", None, None)]
)
def test_the_cgroup_quota_limits_the_cores(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, quota: float | None, cores: int | None
) -> None:
    _cgroup(monkeypatch, tmp_path, {"cpu.max": text})
    assert quota_cores() == quota
    assert usable_cores() == (cores or len(house.usable_core_ids()))


def test_the_quota_of_version_1_counts_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _cgroup(monkeypatch, tmp_path, {"cpu.cfs_quota_us": "200000", "cpu.cfs_period_us": "100000"})
    assert quota_cores() == 2.0


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinity masks")
def test_the_affinity_mask_limits_the_cores() -> None:
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert usable_cores() == 1
    finally:
        os.sched_setaffinity(0, before)


def test_the_machine_has_a_stable_fingerprint() -> None:
    assert machine().fingerprint == machine().fingerprint
    assert len(machine().fingerprint) == 16
    assert machine().to_json()["fingerprint"] == machine().fingerprint


def test_the_cache_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("STROP_CACHE_DIR", str(tmp_path))
    assert cache_directory() == tmp_path
    monkeypatch.delenv("STROP_CACHE_DIR")
    assert cache_directory().name == "strop"
