"""What the worker tests host in a fresh process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np

from strop.errors import ModelError


class Example:
    """Methods of every kind a hosted object may have."""

    def __init__(self, factor: float):
        self.factor = factor

    def scale(self, arrays: dict[str, np.ndarray]) -> tuple[dict[str, int], dict[str, np.ndarray]]:
        return {"count": len(arrays)}, {name: array * self.factor for name, array in arrays.items()}

    def echo(self, arrays: dict[str, np.ndarray]) -> tuple[None, dict[str, np.ndarray]]:
        return None, arrays

    def block(self, n: int) -> list[float]:
        return [0.001 * self.factor] * n

    def stages(self) -> dict[str, float]:
        heavy = float("onnx" in sys.modules or "psutil" in sys.modules)
        return {"import": heavy, "read": 2.0, "compile": 3.0, "first_run": 4.0}

    def chatter(self) -> str:
        sys.stdout.write("printed by Python\n")
        os.write(1, b"printed by an engine\n")
        return "heard"

    def fail(self) -> None:
        raise ModelError("model.invalid", "a loop", where="a.onnx", got=3, expected="no loop", hint="untie it")

    def crash(self) -> None:
        raise ZeroDivisionError("by nothing")

    def die(self, number: int) -> None:
        sys.stderr.write("my last words\n")
        sys.stderr.flush()
        os.kill(os.getpid(), number)

    def leave(self, code: int) -> None:
        os._exit(code)

    def hang(self) -> None:
        time.sleep(600)

    def unanswerable(self) -> object:
        return object()

    def spin(self, seconds: float) -> None:
        def run() -> None:
            start = time.thread_time()
            while time.thread_time() - start < seconds:
                pass

        threading.Thread(target=run, daemon=True).start()

    def child(self) -> int:
        return subprocess.Popen(["sleep", "600"]).pid

    def affinity(self) -> list[int]:
        return sorted(os.sched_getaffinity(0))

    def variable(self, name: str) -> str | None:
        return os.environ.get(name)

    def path(self) -> list[str]:
        return sys.path

    def ignores_interrupt(self) -> bool:
        return signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def example(factor: float = 1.0) -> Example:
    return Example(factor)


def broken() -> Example:
    raise ModelError("model.truncated", "the model file ends too early", where="b.onnx", hint="fetch it again")
