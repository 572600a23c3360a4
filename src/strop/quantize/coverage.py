"""How much of a model 8 bits would reach, told from the graph alone, before anything is calibrated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from strop.model.cost import node_costs
from strop.model.model import Model
from strop.passes.base import run_passes
from strop.passes.pipeline import before_quantization
from strop.quantize.config import QuantizeConfig
from strop.quantize.placement import place


@dataclass(frozen=True, slots=True)
class Coverage:
    """heavy: operator by name of each node with weights that would compute in 8 bits; skipped: name -> why it stays.

    mac_share: the share of all multiply-accumulates that lies in `heavy`, None where they cannot be counted.
    """

    heavy: Mapping[str, str]
    skipped: Mapping[str, str]
    mac_share: float | None


def quantization_coverage(
    model: Model,
    inputs: Mapping[str, np.ndarray] | None = None,
    config: QuantizeConfig = QuantizeConfig(),  # noqa: B008  frozen
) -> Coverage:
    """Returns what `quantize_model` would turn to 8 bits; costs are counted at the shapes of `inputs`."""
    prepared, _ = run_passes(model, before_quantization())
    placement = place(prepared.fresh_ir(), {}, every_convolution=config.every_convolution)
    heavy = {name: found.node.op_type for name, found in placement.heavy.items()}
    costs = node_costs(prepared, inputs)
    counted = [cost.macs for cost in costs]
    total = sum(macs or 0 for macs in counted)
    covered = sum(cost.macs or 0 for cost in costs if cost.name in heavy)
    share = None if total == 0 or None in counted else covered / total
    return Coverage(heavy, dict(placement.skipped), share)
