"""Turns a PyTorch module or ExportedProgram, an object in memory, into ONNX."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from strop.errors import NotSupportedError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import onnx


def to_onnx(
    module: Any, example_inputs: Sequence[Any] | Mapping[str, Any] | Any | None = None, *, dynamic_shapes: Any = None
) -> onnx.ModelProto:
    """Returns the ONNX form of a `torch.nn.Module` or `torch.export.ExportedProgram`, as it behaves in evaluation.

    example_inputs: one tensor or array, a sequence of them in order, or a mapping by argument name; they fix the shapes
    that `dynamic_shapes` (as torch.onnx.export takes it) leaves out. An ExportedProgram may bring its own.
    Raises NotSupportedError: `unsupported.package-missing` without PyTorch or onnxscript, `unsupported.model` where
    PyTorch cannot export the module.
    """
    for package in ("torch", "onnxscript"):
        if importlib.util.find_spec(package) is None:
            raise NotSupportedError(
                "unsupported.package-missing",
                f"a PyTorch model needs the package {package}, which is not installed",
                hint="pip install 'strop[torch]', or export the model to ONNX where PyTorch is, and give that file",
            )
    import torch

    is_exported = isinstance(module, torch.export.ExportedProgram)
    if not is_exported and not isinstance(module, torch.nn.Module):
        raise UsageError(
            "usage.bad-option",
            "this is no PyTorch model",
            got=type(module).__name__,
            expected="a torch.nn.Module or a torch.export.ExportedProgram",
            hint="give the module itself, not its weights (state_dict)",
        )
    if example_inputs is None and not is_exported:
        raise UsageError(
            "usage.bad-option",
            "a PyTorch module needs example inputs, so that it can be traced",
            where=type(module).__name__,
            hint="strop.compile(module, example_inputs=(torch.zeros(1, 3, 224, 224),))",
        )
    positional, named = _arguments(torch, example_inputs)
    with _evaluating(module, is_exported):
        try:
            program = torch.onnx.export(
                module, positional, kwargs=named, dynamic_shapes=dynamic_shapes, dynamo=True, verbose=False
            )
        except Exception as error:  # the exporter raises whatever its passes raise
            raise NotSupportedError(
                "unsupported.model",
                "PyTorch cannot export this module to ONNX",
                where=type(module).__name__,
                got=f"{type(error).__name__}: {_first_line(error)}",
                hint="torch.onnx.export(module, inputs, report=True) writes a report of the operator that fails",
            ) from error
    proto: onnx.ModelProto = program.model_proto
    return proto


def _arguments(torch: Any, inputs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if inputs is None:
        return (), {}
    if isinstance(inputs, Mapping):
        return (), {name: _tensor(torch, value) for name, value in inputs.items()}
    if isinstance(inputs, (tuple, list)):
        return tuple(_tensor(torch, value) for value in inputs), {}
    return (_tensor(torch, inputs),), {}


def _tensor(torch: Any, value: Any) -> Any:
    return torch.from_numpy(value) if isinstance(value, np.ndarray) else value


@contextmanager
def _evaluating(module: Any, is_exported: bool) -> Iterator[None]:
    """Sets the module to evaluation (no dropout, fixed statistics), and back."""
    was_training = [] if is_exported else [part for part in module.modules() if part.training]
    if was_training:
        module.eval()
    try:
        yield
    finally:
        for part in was_training:
            part.training = True


def _first_line(error: Exception) -> str:
    return next((line for line in str(error).splitlines() if line.strip()), "")
