"""The worker's side: `python -P -m strop.measure.worker_process`, started by `Worker`, hosts one object and serves it.

Order matters here: the pipes are taken and the cores are set before anything heavy is imported, since engines size
their thread pools by the cores they see and print what they like to standard output.
"""

from __future__ import annotations

import os
import signal
import sys
from importlib import import_module
from inspect import signature
from queue import SimpleQueue
from threading import Thread
from traceback import format_exception, print_exc
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    import numpy as np

    Frame = tuple[dict[str, Any], dict[str, np.ndarray]]


def main(arguments: list[str]) -> None:
    """Serves the object made by the first message's factory until told to close or until the parent is gone.

    arguments: the cores to stay on, as comma-separated numbers; none for all.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if arguments and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {int(core) for core in arguments[0].split(",")})
    incoming, outgoing = _take_pipes()

    from strop.measure.frames import read_frame, write_frame

    frames: SimpleQueue[Frame] = SimpleQueue()

    def receive() -> None:
        # In a thread of its own, so that a worker deep in an engine's call ends when its parent does.
        while True:
            try:
                frames.put(read_frame(incoming))
            except EOFError:
                os._exit(0)
            except BaseException:
                print_exc()
                os._exit(1)

    Thread(target=receive, daemon=True).start()
    hosted: object = None
    no_arrays: dict[str, np.ndarray] = {}
    while True:
        request, arrays = frames.get()
        if request["method"] == "close":
            break
        try:
            if request["method"] == "host":
                hosted = _make(request["factory"], request["arguments"])
                value, result = None, no_arrays
            else:
                value, result = _call(hosted, request["method"], request["arguments"], arrays)
            write_frame(outgoing, {"value": value}, result)
        except Exception as error:
            write_frame(outgoing, {"error": _described(error)})
    close = getattr(hosted, "close", None)
    if close is not None:
        close()
    # Engines' threads and destructors have been seen to hang or crash here, when everything is done.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _take_pipes() -> tuple[BinaryIO, BinaryIO]:
    """Returns the pipes to the parent under new numbers; what prints to standard output goes to standard error."""
    incoming, outgoing = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return incoming, outgoing


def _make(factory: str, arguments: dict[str, Any]) -> object:
    module, _, function = factory.partition(":")
    return getattr(import_module(module), function)(**arguments)


def _call(
    hosted: object, method: str, arguments: dict[str, Any], arrays: dict[str, np.ndarray]
) -> tuple[Any, dict[str, np.ndarray]]:
    function = getattr(hosted, method)
    result = (
        function(**arguments, arrays=arrays) if "arrays" in signature(function).parameters else function(**arguments)
    )
    if isinstance(result, tuple) and len(result) == 2 and isinstance(result[1], dict):
        return result
    return result, {}


def _described(error: Exception) -> dict[str, Any]:
    from strop.errors import StropError

    if isinstance(error, StropError):
        return {"class": type(error).__name__, **error.to_json()}
    return {"class": None, "what": f"{type(error).__name__}: {error}", "trace": "".join(format_exception(error))}


if __name__ == "__main__":
    main(sys.argv[1:])
