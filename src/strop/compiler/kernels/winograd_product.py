"""The matrix product inside Winograd: one register tile of one place of the transformed tiles.

    m[row, lane] = sum over k of v[row, k] * u[k, lane]

A function of its own that layers share:

    void product(ptr v, ptr u, ptr m, i64 passes, i64 rest, ptr next, i64 row, i64 panel)

k runs over passes of UNROLL steps, then `rest` steps. row: bytes between rows of v; panel: between panels of u, which
hold 16 lanes each, [k][16 lanes].

Long sums are added up in runs of RUN passes: the transforms back magnify what a chain of additions rounds away, which
grows with its length. In a numpy model (128 channels behind a ReLU) runs of 32 channels bring the error of F(4x4) from
7.9e-7 to 4.7e-7, that of the direct convolution, for one more addition and store a register and run.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

from strop.compiler.emit import Module, Number, Value
from strop.compiler.isa.table import Isa
from strop.compiler.kernels.strided import StridedRows

PANEL = 16
"""Output channels of a panel of weights."""

UNROLL = 4
"""Steps of one pass of the inner loop."""

RUN = 8
"""Passes whose sum is added up before it is added to the sum of those before."""

_LINE = 64
_STEP = 4 * PANEL  # bytes of a panel that one step reads


@dataclass(frozen=True, slots=True)
class Product:
    """What its code depends on: rows and vectors of the tile, bytes between rows of m.

    near: bytes of weights prefetched ahead into L1, 0 for none; far: cache lines of every panel prefetched into L2 at
    `next` in each pass.
    """

    rows: int
    vectors: int
    m_row: int
    near: int = 0
    far: int = 0

    def symbol(self, isa: Isa) -> str:
        """Returns the function's name, its full description."""
        return f"winograd_product_f32_{isa.key}_{self.rows}x{self.vectors}_{self.m_row}_n{self.near}f{self.far}"

    @functools.lru_cache(maxsize=16)  # noqa: B019  many layers want the same text
    def emit(self, isa: Isa) -> str:
        """Returns its code, a module of one function."""
        module = Module(isa)
        f = module.function(self.symbol(isa), ["ptr", "ptr", "ptr", "i64", "i64", "ptr", "i64", "i64"])
        v, u, m, passes, rest, following, v_row, panel_bytes = f.arguments
        panels = -(-self.vectors * isa.lanes // PANEL)
        count = self.rows * self.vectors
        lines = StridedRows(f, v, v_row, self.rows)
        reach = len(lines.starts)

        def steps(number: int, carried: list[Value]) -> list[Value]:
            sums, pixels = carried[:count], carried[count : count + reach]
            weights, ahead = carried[count + reach : -panels], carried[-panels:]
            if self.far and number > 1:
                for panel in ahead:
                    for line in range(self.far):
                        f.prefetch(panel, line * _LINE, level=2)
                ahead = [f.offset(panel, self.far * _LINE) for panel in ahead]
            rows = lines.addresses(pixels)
            for step in range(number):
                vectors = []
                for j in range(self.vectors):
                    own, lane = divmod(j * isa.lanes, PANEL)
                    vectors.append(f.load(isa.vector, weights[own], step * _STEP + lane * 4))
                if self.near:
                    for pointer in weights:
                        f.prefetch(pointer, step * _STEP + self.near)
                for number_of_row, row in enumerate(rows):
                    value = f.splat(f.load("float", row, step * 4), isa.lanes)
                    for j, vector in enumerate(vectors):
                        at = number_of_row * self.vectors + j
                        sums[at] = f.fma(value, vector, sums[at])
            moved = [f.offset(start, number * 4) for start in pixels]
            return [*sums, *moved, *(f.offset(panel, number * _STEP) for panel in weights), *ahead]

        zeros = [f.zero(isa.vector)] * count
        places = [row * self.m_row + j * isa.vector_bytes for row in range(self.rows) for j in range(self.vectors)]
        # What is left over comes first, so that whole runs are added to something that is there.
        runs = f.divide(f.sub(f.call("i64", "llvm.umax.i64", passes, Value("1", "i64")), 1), RUN)
        left = f.sub(passes, f.mul(runs, RUN))
        weights = [f.offset(u, f.mul(panel_bytes, panel)) for panel in range(panels)]
        ahead = [f.offset(following, f.mul(panel_bytes, panel)) for panel in range(panels)]
        state = [*zeros, *lines.starts, *weights, *ahead]
        state = f.loop(left, lambda _, carried: steps(UNROLL, carried), state, may_be_empty=True)
        state = f.loop(rest, lambda _, carried: steps(1, carried), state, may_be_empty=True)
        for value, place in zip(state[:count], places, strict=True):
            f.store(value, m, place)

        def run(_: Number, pointers: list[Value]) -> list[Value]:
            state = f.loop(RUN, lambda _, carried: steps(UNROLL, carried), [*zeros, *pointers])
            for value, place in zip(state[:count], places, strict=True):
                f.store(f.fadd(f.load(isa.vector, m, place), value), m, place)
            return state[count:]

        f.loop(runs, run, state[count:], may_be_empty=True)
        f.ret()
        return module.text()
