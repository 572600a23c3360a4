"""Sets a model's batch size, or says which node cannot follow.

A model follows when the rows of a larger batch come out as they would alone; that is checked by running both. Usual
offenders are a Reshape whose target shape holds the old batch, and constant initial states of an LSTM.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
import onnx

from strop.errors import ModelError, StropError, UsageError
from strop.model.axes import batch_axes
from strop.model.model import Model
from strop.model.oracle import Unoptimized
from strop.model.random_inputs import make_inputs, runnable_inputs
from strop.model.shape_edit import Size, has_data_dependent_shapes, set_input_shapes, set_shape

_TOLERANCE = 2e-2  # mixed rows differ by as much as they are large; rounding may be magnified a lot by a normalization
Arrays = Mapping[str, np.ndarray]


def with_batch(model: Model, batch: int) -> Model:
    """Returns the model at this batch size; its other free sizes stay free.

    Raises ModelError `model.batch` that names the node where the model cannot follow.
    """
    if isinstance(batch, bool) or not isinstance(batch, int) or batch < 1:
        raise UsageError("usage.bad-option", "the batch must be a whole number above 0", got=batch, hint="--batch 8")
    axes = batch_axes(model.inputs)
    if not axes:
        raise ModelError(
            "model.batch",
            "no input of the model has a batch axis",
            where=model.name,
            got=", ".join(spec.name + spec.describe_shape() for spec in model.inputs) or "no inputs",
            expected="an input whose axis 0 is the batch",
            hint="set whole shapes instead: --shape name=...",
        )
    changed = model.with_proto(set_input_shapes(model.to_proto(), _shapes_at(model, axes, batch)))
    outputs = _RowCheck(model, changed, axes, batch).outputs()
    symbols = {spec.shape[axes[spec.name]] for spec in model.inputs if spec.name in axes}
    is_static = all(spec.is_static for spec in changed.inputs) and not has_data_dependent_shapes(model.to_proto())
    for spec, value in zip(model.outputs, changed.to_proto().graph.output, strict=True):
        seen = outputs[spec.name].shape
        if is_static:
            set_shape(value, seen)
        elif len(seen) == len(spec.shape):
            sizes: list[Size] = []
            for axis, (size, have) in enumerate(zip(spec.shape, seen, strict=True)):
                follows = isinstance(size, int) or (size is not None and size in symbols)
                sizes.append(have if follows or (axis == 0 and have == batch) else size)
            set_shape(value, sizes)
    return model.with_proto(changed.to_proto())


def _shapes_at(model: Model, axes: Mapping[str, int], batch: int) -> dict[str, tuple[Size, ...]]:
    return {
        spec.name: tuple(batch if axes.get(spec.name) == axis else size for axis, size in enumerate(spec.shape))
        for spec in model.inputs
    }


class _RowCheck:
    """Runs the model at the new batch and at the old one on rows of the same inputs, and compares."""

    def __init__(self, model: Model, changed: Model, axes: Mapping[str, int], batch: int) -> None:
        self.model, self.changed, self.axes, self.batch = model, changed, axes, batch
        single = runnable_inputs(model)
        name = next(iter(axes))
        self.old = single[name].shape[axes[name]]
        shapes = {
            key: tuple(batch if axes.get(key) == axis else size for axis, size in enumerate(shape))
            for key, shape in ((name, array.shape) for name, array in single.items())
        }
        self.inputs = make_inputs(changed, shapes=shapes)
        starts = {0} if batch <= self.old else {0, (batch - self.old) // 2, batch - self.old}
        self.windows = [(np.arange(self.old) + start) % batch for start in sorted(starts)]

    def outputs(self) -> dict[str, np.ndarray]:
        """Returns the outputs at the new batch; raises ModelError where they are not what the rows give alone."""
        try:
            outputs = Unoptimized(self.changed.to_proto(), where=self.model.name)(self.inputs)
        except StropError as error:
            failing = _node_named_in(str(error.got), self.changed.to_proto().graph)
            raise self._refusal(failing, str(error.got)) from error
        run = Unoptimized(self.model.to_proto(), where=self.model.name)
        for window in self.windows:
            alone = run(self._rows(window))
            if not all(self._agree(value, outputs[name], window) for name, value in alone.items()):
                raise self._refusal(self._first_difference(window), "its rows are not what they are alone")
        return outputs

    def _rows(self, window: np.ndarray) -> dict[str, np.ndarray]:
        return {
            name: np.take(array, window, axis=self.axes[name]) if name in self.axes else array
            for name, array in self.inputs.items()
        }

    def _agree(self, alone: np.ndarray, together: np.ndarray, window: np.ndarray) -> bool:
        """Whether `alone` (old batch) holds the rows `window` of `together`; the batch may be folded into an axis."""
        if alone.ndim != together.ndim or alone.dtype != together.dtype:
            return False
        axes = [axis for axis in range(alone.ndim) if alone.shape[axis] != together.shape[axis]]
        if len(axes) > 1:
            return False
        if axes:
            axis, each = axes[0], alone.shape[axes[0]] // self.old
            if alone.shape[axis] != each * self.old or together.shape[axis] != each * self.batch:
                return False
            rows = (window[:, None] * each + np.arange(each)).ravel()
            together = np.take(together, rows, axis=axis)
        if not np.issubdtype(alone.dtype, np.floating):
            return bool(np.array_equal(alone, together))
        scale = float(np.max(np.abs(alone), initial=0.0, where=np.isfinite(alone)))
        return bool(np.allclose(alone, together, rtol=_TOLERANCE, atol=_TOLERANCE * scale, equal_nan=True))

    def _first_difference(self, window: np.ndarray) -> onnx.NodeProto | None:
        """Returns the first node whose values are not what the rows give alone."""
        nodes: Sequence[onnx.NodeProto] = self.model.to_proto().graph.node
        names = [name for node in nodes for name in node.output if name]
        together = Unoptimized(self.changed.to_proto(), values=names)(self.inputs)
        alone = Unoptimized(self.model.to_proto(), values=names)(self._rows(window))
        for node in nodes:
            for name in filter(None, node.output):
                value = alone[name]
                holds_shape = not isinstance(value, np.ndarray) or (value.dtype.kind in "iu" and value.ndim <= 1)
                if not holds_shape and not self._agree(value, together[name], window):
                    return node
        return None

    def _refusal(self, failing: onnx.NodeProto | None, reason: str) -> ModelError:
        graph = self.model.to_proto().graph
        suspects = [node for node in _upstream(graph, failing) if _holds_batch(node, graph, self.old)]
        node = suspects[-1] if suspects else failing
        place = f"node {node.name!r} ({node.op_type})" if node is not None else "a node that has no name"
        holds = _holds_batch(node, graph, self.old) if node is not None else None
        return ModelError(
            "model.batch",
            f"the model cannot follow a batch of {self.batch}: {place} is made for {self.old}",
            where=self.model.name,
            got=holds or reason,
            hint="export the model with a free batch axis (torch.onnx.export: dynamic_shapes or dynamic_axes)",
        )


def _holds_batch(node: onnx.NodeProto, graph: onnx.GraphProto, old: int) -> str | None:
    """Returns how a constant of the node holds the batch, or None."""
    weights = {tensor.name: tensor for tensor in graph.initializer}
    if node.op_type == "Reshape" and node.input[1] in weights:
        target = onnx.numpy_helper.to_array(weights[node.input[1]]).tolist()
        return f"its target shape {target} begins with a constant batch" if target and target[0] == old else None
    if node.op_type in ("LSTM", "GRU", "RNN"):
        states = [name for name in node.input[5:7] if name in weights]
        if any(weights[name].dims[1] == old for name in states):
            return f"its initial state {states[0]!r} is a constant of batch {old}"
    return None


def _upstream(graph: onnx.GraphProto, node: onnx.NodeProto | None) -> Sequence[onnx.NodeProto]:
    """Returns the nodes that lead to `node`, itself included, in order; all where there is none."""
    if node is None:
        return list(graph.node)
    needed, found = set(node.output), []
    for candidate in reversed(graph.node):
        if needed.intersection(candidate.output):
            found.append(candidate)
            needed.update(candidate.input)
    return found[::-1]


def _node_named_in(message: str, graph: onnx.GraphProto) -> onnx.NodeProto | None:
    """Returns the node that ONNX Runtime's message blames."""
    named = re.findall(r"Name:'([^']*)'|Node \((.*?)\) Op|Node:(\S+)", message)
    names = {name for groups in named for name in groups if name}
    nodes: Sequence[onnx.NodeProto] = graph.node
    return next((node for node in nodes if node.name in names), None)
