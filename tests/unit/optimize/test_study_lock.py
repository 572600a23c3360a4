from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from strop.errors import UsageError
from strop.optimize.study import Study, read_study
from strop.optimize.study_lock import StudyLock

pytest.importorskip("fcntl")

HOLD = """
import sys, time
from strop.optimize.study import Study
study = Study(sys.argv[1])
print("held", flush=True)
time.sleep(60)
"""


def test_a_study_that_is_being_written_is_opened_by_nobody_else_to_write(tmp_path: Path) -> None:
    path = tmp_path / "model.study.db"
    first = Study(path)
    first.decide("kept: native f32")
    with pytest.raises(UsageError) as caught:
        Study(path)
    assert caught.value.code == "study.busy"
    with pytest.raises(UsageError):
        StudyLock(path)
    reading = read_study(path)  # looking is free
    assert reading.decisions() == ["kept: native f32"]
    reading.close()
    first.close()
    Study(path).close()


def test_a_killed_run_holds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "model.study.db"
    with subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True) as held:
        assert held.stdout is not None and held.stdout.readline() == "held\n"
        with pytest.raises(UsageError):
            Study(path)
        held.send_signal(signal.SIGKILL)
    Study(path).close()


def test_what_is_not_there_or_in_memory_is_nobody_s(tmp_path: Path) -> None:
    StudyLock(tmp_path / "none.study.db").release()
    one, two = Study(":memory:"), Study(":memory:")
    one.close()
    two.close()
