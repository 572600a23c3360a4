"""The decoders by the names users type."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import cast

import numpy as np

from strop.errors import DataError, UsageError
from strop.quality.contract import Decode, Outputs
from strop.quality.decoders.argmax import Argmax, Ranking
from strop.quality.decoders.class_map import class_map
from strop.quality.decoders.ctc import ctc_from_file, ctc_from_metadata
from strop.quality.decoders.identity import identity
from strop.quality.decoders.threshold import Threshold
from strop.quality.plugin import is_plugin, load_plugin, running

NAMES = (
    "argmax",
    "argmax:axis=N",
    "top5",
    "threshold",
    "threshold:LIMIT",
    "identity",
    "classmap",
    "ctc:FILE",
    "ctc:metadata",
)


def get_decoder(decoder: str | Decode, metadata: Mapping[str, str] | None = None) -> Decode:
    """Returns the decoder a user named: one of NAMES, `file.py:function`, or a function of (outputs, inputs).

    metadata: the model's, for `ctc:metadata`.

    Example:
        >>> import numpy as np
        >>> get_decoder("argmax")({"logits": np.array([[0.1, 0.7, 0.2]])}, {})
        1
    """
    if not isinstance(decoder, str):
        return _users(decoder, getattr(decoder, "__name__", "decode"))
    if is_plugin(decoder):
        return _users(load_plugin(decoder), decoder)
    name, _, option = decoder.partition(":")
    built_in: dict[str, Callable[[], Decode]] = {
        "argmax": lambda: Argmax(_axis(option) if option else None),
        "top5": lambda: Ranking(5),
        "threshold": lambda: Threshold(_number(option) if option else 0.5),
        "identity": lambda: identity,
        "classmap": lambda: class_map,
        "ctc": lambda: ctc_from_metadata(metadata or {}) if option == "metadata" else ctc_from_file(Path(option)),
    }
    if name not in built_in or (option and name in ("top5", "identity", "classmap")) or decoder.rstrip(":") == "ctc":
        raise _unknown(decoder)
    return built_in[name]()


def _users(function: object, name: str) -> Decode:
    if not callable(function):
        raise DataError(
            "data.plugin",
            "the decoder is no function",
            where=name,
            got=type(function).__name__,
            hint="write def decode(outputs, inputs): ... and return the prediction",
        )
    call = cast(Decode, function)

    def decode(outputs: Outputs, inputs: Mapping[str, np.ndarray]) -> object:
        with running(name):
            return call(outputs, inputs)

    return decode


def _axis(option: str) -> int:
    name, _, value = option.partition("=")
    try:
        if name != "axis":
            raise ValueError
        return int(value)
    except ValueError:
        raise _unknown(f"argmax:{option}") from None


def _number(option: str) -> float:
    try:
        return float(option)
    except ValueError:
        raise _unknown(f"threshold:{option}") from None


def _unknown(text: str) -> UsageError:
    return UsageError(
        "usage.bad-option",
        "no decoder has this name",
        got=text,
        expected=", ".join((*NAMES, "file.py:function")),
        hint="argmax is for classes, ctc for text, identity for numbers",
    )
