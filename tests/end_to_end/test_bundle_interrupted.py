"""A writer that is killed, cut off or out of room leaves the old bundle or none, never a part of one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from strop.loader import open_bundle

WRITE = """
import os, sys, time
import numpy as np
from strop.engines.contract import Settings
from strop.engines.source import StoredModel
from strop.model.specs import TensorSpec
from strop.runtime import whole_file
from strop.runtime.bundle import write_bundle

path, moment, size = sys.argv[1], sys.argv[2], int(sys.argv[3])

def stop_here(*arguments):
    print("there", flush=True)
    time.sleep(60)

def cut_pieces(pieces):
    for number, piece in enumerate(pieces):
        if number == 4:
            stop_here()
        yield piece

if moment == "pieces":
    import strop.runtime.container as container
    write_whole = container.write_whole
    container.write_whole = lambda path, pieces: write_whole(path, cut_pieces(pieces))
elif moment == "sync":
    os.fsync = stop_here
elif moment == "limit":
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

specs = (TensorSpec("x", "float32", (1,)),)
x = np.ones(1, np.float32)
write_bundle(
    path,
    model=StoredModel("new", specs, specs, False, read=lambda: bytes(size)),
    engine="onnxruntime",
    settings=Settings(),
    test_vectors=[({"x": x}, {"x": x})],
    created="now",
)
"""


def write(path: Path, moment: str, size: int = 1_000_000) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WRITE, str(path), moment, str(size)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def old(tmp_path: Path) -> bytes:
    writer = write(tmp_path / "model.strop", "no moment", size=1000)
    assert writer.communicate(timeout=60)[1] == ""
    return (tmp_path / "model.strop").read_bytes()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
@pytest.mark.parametrize("moment", ["pieces", "sync"])
@pytest.mark.parametrize("kind", [signal.SIGKILL, signal.SIGINT] if os.name != "nt" else [])
@pytest.mark.parametrize("is_new", [False, True])
def test_a_writer_stopped_in_the_middle_leaves_the_old_bundle_or_none(
    tmp_path: Path, old: bytes, moment: str, kind: signal.Signals, is_new: bool
) -> None:
    path = tmp_path / ("new.strop" if is_new else "model.strop")
    writer = write(path, moment)
    with writer:
        assert writer.stdout is not None and writer.stdout.readline() == "there\n"
        writer.send_signal(kind)
        writer.communicate(timeout=60)
    assert writer.returncode != 0
    if is_new:
        assert not path.exists()
    else:
        assert path.read_bytes() == old
    if kind == signal.SIGINT:  # only a kill cannot be cleaned up after
        assert [file.name for file in tmp_path.iterdir()] == ["model.strop"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no limit on the size of files")
def test_a_writer_out_of_room_says_so_and_leaves_the_old_bundle(tmp_path: Path, old: bytes) -> None:
    path = tmp_path / "model.strop"
    errors = write(path, "limit").communicate(timeout=60)[1]
    assert "what was there before is unchanged" in errors
    assert "free some space" in errors
    assert [file.name for file in tmp_path.iterdir()] == ["model.strop"]
    assert path.read_bytes() == old


def test_a_bundle_that_is_open_can_be_replaced(tmp_path: Path, old: bytes) -> None:
    if os.name == "nt":
        pytest.skip("Windows keeps mapped files from being replaced")
    path = tmp_path / "model.strop"
    with open_bundle(path) as bundle:
        assert write(path, "no moment", size=2000).communicate(timeout=60)[1] == ""
        assert len(bundle.member("model.onnx")) == 1000
        bundle.verify()
    with open_bundle(path) as bundle:
        assert len(bundle.member("model.onnx")) == 2000
