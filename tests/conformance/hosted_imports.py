"""Hosted by a worker in `test_remote_models.py`: which heavy packages does a hosted model import, and when?"""

from __future__ import annotations

import sys
from typing import Any


def _heavy() -> list[str]:
    return [name for name in ("onnx", "onnx_ir", "onnxruntime", "openvino", "torch", "PIL") if name in sys.modules]


class Imports:
    def __init__(self, arguments: dict[str, Any]):
        self._before = _heavy()
        from strop.engines.hosted import open_model

        open_model(**arguments)
        self._after = _heavy()

    def before(self) -> list[str]:
        return self._before

    def after(self) -> list[str]:
        return self._after


def open_and_list(arguments: dict[str, Any]) -> Imports:
    return Imports(arguments)
