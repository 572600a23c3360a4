"""Every error Strop raises: one tree, each with a stable code, what and where, got and expected, and what to try.

Does: names each failure once (`CODES`), and formats it the same way in a traceback, on the command line and in JSON.
Does not: import anything; decide what to do about an error.
Start reading at: `StropError`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

CODES: Mapping[str, str] = {
    # usage: the call itself is off
    "usage.bad-option": "an option has a value it cannot take",
    "usage.unknown-engine": "no engine has this name",
    "usage.unknown-knob": "the engine has no knob of this name",
    "usage.closed": "a closed model, worker or bundle was used",
    "usage.missing-labels": "the call needs labels and got none",
    "usage.refused-file": "a file of this kind could run code when it is loaded",
    "usage.too-few-engines": "a comparison needs at least two engines that ran",
    # not supported, not installed
    "unsupported.engine-missing": "the engine's package is not installed",
    "unsupported.device-missing": "the engine has no such device here",
    "unsupported.model": "the engine cannot run this model",
    "unsupported.size": "a value of the model is larger than any memory",
    "unsupported.precision": "the model is not there in this precision",
    "unsupported.feature": "the engine cannot do this",
    "unsupported.package-missing": "an optional package is not installed",
    # models
    "model.missing-file": "the model file is not there",
    "model.not-onnx": "the file is not an ONNX model",
    "model.truncated": "the model file ends too early or is damaged",
    "model.invalid": "the model breaks the rules of ONNX",
    "model.external-data": "the model's weights lie in another file that is missing, too short or outside its folder",
    "model.too-large": "the model is larger than what can be handled",
    "model.custom-operator": "the model uses operators from outside ONNX",
    "model.already-quantized": "the model is quantized already",
    "model.shape": "the model cannot take these shapes",
    "model.batch": "the model cannot follow another batch size",
    # inputs of a call
    "input.form": "the inputs of a call are no arrays",
    "input.missing": "an input of the model was not given",
    "input.unknown": "a name was given that is no input of the model",
    "input.dtype": "an input has the wrong element type",
    "input.rank": "an input has the wrong number of dimensions",
    "input.shape": "an input has the wrong shape",
    "output.buffer": "an output buffer does not fit the output",
    # data sets, labels, metrics
    "data.missing": "the data are not there",
    "data.format": "the data are not in a form that can be read",
    "data.empty": "the data hold no samples",
    "data.names": "the data's names are not the model's inputs",
    "data.shape": "the data do not fit the model's inputs",
    "data.not-finite": "the data hold NaN or infinity",
    "data.labels": "the labels do not match the samples",
    "data.preprocess": "the preprocessing cannot be applied",
    "data.plugin": "a user's function failed or is not there",
    "quality.metric": "the metric cannot be computed from these outputs",
    "quality.decode": "the outputs cannot be decoded",
    "quality.near-chance": "the baseline is no better than guessing",
    "quality.not-reproduced": "the baseline does not have the accuracy it is known for",
    # engines and workers
    "engine.compile": "the engine failed to compile the model",
    "engine.machine-code": "generated machine code breaks the rules it must keep",
    "engine.run": "the engine failed to run the model",
    "engine.disagrees": "the engine's outputs are not the model's",
    "worker.died": "a worker process ended by itself",
    "worker.timeout": "a worker process did not answer in time",
    "worker.failed": "code in a worker process raised an exception",
    "measure.not-idle": "another engine's threads would not come to rest",
    "measure.too-few": "the sample is too small for this figure",
    # bundles, caches, files
    "bundle.not-a-bundle": "the file is not a Strop bundle",
    "bundle.damaged": "the bundle is truncated or was changed",
    "bundle.version": "the bundle was written for another version of Strop",
    "bundle.self-test": "the bundle's outputs are not what they were when it was made",
    "bundle.needs": "the bundle needs something that is not here",
    "file.write": "a file could not be written",
    "file.read": "a file could not be read",
    # studies
    "study.not-a-study": "the file is not a Strop study",
    "study.busy": "another run is writing the study",
    "study.other": "the study is of another model, data, machine or limit",
    "study.no-trial": "the study holds no such trial, or not what is needed to run it again",
    # limits of a search
    "limit.budget": "the budget is too small to measure anything",
    "gate.other-model": "the model takes other inputs than the baseline that it is compared with",
    "quantize.nothing": "nothing in the model can be quantized",
}


class StropError(Exception):
    """The base of all errors: `code`, `what`, `where`, `got`, `expected`, `hint`, and `details` as JSON.

    Example:
        >>> from strop.errors import ModelError
        >>> error = ModelError("model.missing-file", "the model is not there", where="a.onnx", hint="check the path")
        >>> error.code
        'model.missing-file'
    """

    exit_code: ClassVar[int] = 5

    def __init__(
        self,
        code: str,
        what: str,
        *,
        hint: str,
        where: str | None = None,
        got: object = None,
        expected: object = None,
        details: object = None,
    ):
        if code not in CODES:
            raise AssertionError(f"errors.CODES does not name {code!r}")
        self.code, self.what, self.hint = code, what, hint
        self.where, self.got, self.expected, self.details = where, got, expected, details
        super().__init__(code, what)

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        lines = [f"{place}{self.what}"]
        if self.got is not None:
            lines.append(f"  got: {self.got}")
        if self.expected is not None:
            lines.append(f"  expected: {self.expected}")
        lines.append(f"  try: {self.hint}")
        return "\n".join(lines)

    @property
    def in_a_line(self) -> str:
        """What happened, and what was found, in one line."""
        return self.what + (f" ({self.got})" if self.got is not None else "")

    def to_json(self) -> dict[str, object]:
        """Returns the error as a JSON object; values that are not JSON are written as text.

        details: figures behind the error, as JSON, where there are any.
        """
        found: dict[str, object] = {
            "code": self.code,
            "what": self.what,
            "where": self.where,
            "got": None if self.got is None else str(self.got),
            "expected": None if self.expected is None else str(self.expected),
            "hint": self.hint,
        }
        return found if self.details is None else found | {"details": self.details}


class LimitError(StropError):
    """A limit the user set was not met (exit 1)."""

    exit_code = 1


class UsageError(StropError):
    """The call itself is off (exit 2)."""

    exit_code = 2


class NotSupportedError(StropError):
    """Not supported or not installed here (exit 3)."""

    exit_code = 3


class MeasurementError(StropError):
    """The machine is too noisy, or the sample too small, to tell (exit 4)."""

    exit_code = 4


class ModelError(StropError):
    """The model is bad (exit 5)."""


class InputError(StropError):
    """The inputs of a call are bad (exit 5)."""


class DataError(StropError):
    """Data, labels, preprocessing or a metric are bad (exit 5)."""


class EngineError(StropError):
    """An engine failed (exit 5)."""


class WorkerError(StropError):
    """A worker process failed (exit 5)."""


class BundleError(StropError):
    """A bundle is bad or cannot be used here (exit 5)."""


class FileError(StropError):
    """A file could not be read or written (exit 5)."""
