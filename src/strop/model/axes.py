"""Which axis of which input is the batch."""

from __future__ import annotations

from collections.abc import Sequence

from strop.model.specs import TensorSpec


def batch_axes(inputs: Sequence[TensorSpec]) -> dict[str, int]:
    """Returns the batch axis by input name, for the inputs that have one.

    Where a symbol is called batch, that is it, on whichever axis. Else, where some input's axis 0 is free: the axis
    with the same symbol, or the first axis without any. Else axis 0 of the inputs that have there what the first has.
    """
    firsts = [spec.shape[0] for spec in inputs if spec.shape]
    called_batch = {size for spec in inputs for size in spec.shape if isinstance(size, str) and "batch" in size.lower()}
    symbols = called_batch or {size for size in firsts if isinstance(size, str)}
    is_free = bool(symbols) or None in firsts
    axes: dict[str, int] = {}
    for spec in inputs:
        named = [axis for axis, size in enumerate(spec.shape) if size in symbols]
        if named:
            axes[spec.name] = named[0]
        elif is_free and not called_batch and None in spec.shape:
            axes[spec.name] = spec.shape.index(None)
        elif not is_free and spec.shape and spec.shape[0] == firsts[0]:
            axes[spec.name] = 0
    return axes
