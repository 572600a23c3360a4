"""How much of a network our compiler runs itself, as `strop explain --engine native --json` says."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np


def native_share(file: Path, inputs: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Returns `share` (of nodes and time, 1 is all) and `segments` (what runs elsewhere, and why); None: not known."""
    command = [sys.executable, "-m", "strop.cli", "explain", str(file), "--engine", "native", "--json"]
    for name, array in inputs.items():
        command += ["--shape", f"{name}={','.join(map(str, array.shape))}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return {"share": None, "segments": None}
    document = json.loads(done.stdout)
    return {"share": document["native_share"], "segments": document["segments"]}
