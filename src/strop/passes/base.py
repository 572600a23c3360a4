"""What a pass is: it checks what it requires and ensures, rewrites the graph, and says what came from what."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field

import onnx_ir

from strop.errors import ModelError
from strop.model.model import Model


@dataclass(frozen=True, slots=True)
class Origin:
    """The node called `node` does what the nodes `sources` did before; None: they are gone without a successor."""

    node: str | None
    sources: tuple[str, ...]


@dataclass(slots=True)
class Rewrites:
    """What a pass did: its name and the origins of what it changed, in order."""

    name: str
    origins: list[Origin] = field(default_factory=list)

    def add(self, node: onnx_ir.Node | None, *sources: onnx_ir.Node) -> None:
        """Notes that `node` took over the work of `sources`."""
        self.origins.append(
            Origin(None if node is None else node.name or "", tuple(source.name or "" for source in sources))
        )

    def __len__(self) -> int:
        return len(self.origins)


class Pass(ABC):
    """A rewrite of an onnx-ir model in place. Subclasses say what they need, do and promise; this class checks it.

    Example:
        >>> from strop.model.load import load_model
        >>> from strop.passes.fold_batch_norm import FoldBatchNorm
        >>> from strop.testing.models import multilayer_perceptron
        >>> len(FoldBatchNorm()(load_model(multilayer_perceptron()).fresh_ir()))
        0
    """

    @property
    def name(self) -> str:
        """The name in reports: the class's."""
        return type(self).__name__

    def __call__(self, model: onnx_ir.Model) -> Rewrites:
        """Rewrites `model` in place and returns what was changed; its inputs and outputs stay what they were."""
        self.requires(model)
        door = _door(model)
        rewrites = Rewrites(self.name)
        self._rewrite(model, rewrites)
        if _door(model) != door:
            raise AssertionError(f"{self.name} changed the model's inputs or outputs: {door} -> {_door(model)}")
        self.ensures(model)
        return rewrites

    def requires(self, model: onnx_ir.Model) -> None:  # noqa: B027  nothing, unless a subclass says so
        """Raises ModelError where the pass cannot work on `model`."""

    @abstractmethod
    def _rewrite(self, model: onnx_ir.Model, rewrites: Rewrites) -> None:
        """Changes `model` in place and notes in `rewrites` what became of which node."""

    def ensures(self, model: onnx_ir.Model) -> None:  # noqa: B027  as above
        """Raises AssertionError where the pass left something undone."""


def run_passes(model: Model, passes: Sequence[Pass]) -> tuple[Model, list[Rewrites]]:
    """Returns the rewritten model (the given one stays as it is) and what each pass did."""
    graph = model.fresh_ir()
    done = [each(graph) for each in passes]
    return Model.from_ir(graph, like=model), done


def opset_of(model: onnx_ir.Model) -> int:
    """Returns the version of the default operator set; raises ModelError where the model imports none."""
    version = model.opset_imports.get("") or model.opset_imports.get("ai.onnx")
    if version is None:
        raise ModelError(
            "model.opset",
            "the model names no version of the ONNX operators",
            where=model.graph.name,
            hint="export it again; load_model refuses such models",
        )
    return version


def _door(model: onnx_ir.Model) -> tuple[tuple[object, ...], tuple[object, ...]]:
    # Old models list initializers among the inputs: these may go.
    inputs = [value for value in model.graph.inputs if not value.is_initializer()]
    inside, outside = ([(v.name, v.dtype, str(v.shape)) for v in values] for values in (inputs, model.graph.outputs))
    return tuple(inside), tuple(outside)
