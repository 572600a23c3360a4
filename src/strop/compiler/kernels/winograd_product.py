"""The matrix product inside Winograd: one register tile of one place of the transformed tiles.

    m[row, lane] = sum over k of v[row, k] * u[k, lane]

A function of its own that layers share: `void product(ptr v, ptr u, ptr m, i64 passes, i64 rest, ptr next)`; k runs
over passes of UNROLL steps, then `rest` steps. Weights lie in panels of 16 lanes, [k][16 lanes].

Long sums are added up in runs of RUN passes: the transforms back magnify what a chain of additions rounds away, which
grows with its length. In a numpy model (128 channels behind a ReLU) runs of 32 channels bring the error of F(4x4) from
7.9e-7 to 4.7e-7, that of the direct convolution, for one more addition and store a register and run.
"""

from __future__ import annotations

from dataclasses import dataclass

from strop.compiler.emit import Module, Number, Value
from strop.compiler.isa.table import Isa

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
    """What its code depends on: rows and vectors of the tile, bytes between rows of v and of m, between panels of u.

    near: bytes of weights prefetched ahead into L1, 0 for none; far: cache lines of every panel prefetched into L2 at
    `next` in each pass.
    """

    rows: int
    vectors: int
    v_row: int
    m_row: int
    panel: int
    near: int = 0
    far: int = 0

    def symbol(self, isa: Isa) -> str:
        """Returns the function's name, its full description."""
        strides = f"{self.v_row}_{self.m_row}_{self.panel}"
        return f"winograd_product_f32_{isa.key}_{self.rows}x{self.vectors}_{strides}_n{self.near}f{self.far}"

    def emit(self, isa: Isa) -> str:
        """Returns its code, a module of one function."""
        module = Module(isa)
        f = module.function(self.symbol(isa), ["ptr", "ptr", "ptr", "i64", "i64", "ptr"])
        v, u, m, passes, rest, following = f.arguments
        panels = range(-(-self.vectors * isa.lanes // PANEL))
        count = self.rows * self.vectors

        def steps(number: int, carried: list[Value]) -> list[Value]:
            sums, (pixels, weights, ahead) = carried[:count], carried[count:]
            if self.far and number > 1:
                for panel in panels:
                    for line in range(self.far):
                        f.prefetch(ahead, panel * self.panel + line * _LINE, level=2)
                ahead = f.offset(ahead, self.far * _LINE)
            for step in range(number):
                lines = []
                for j in range(self.vectors):
                    panel, lane = divmod(j * isa.lanes, PANEL)
                    lines.append(f.load(isa.vector, weights, panel * self.panel + step * _STEP + lane * 4))
                if self.near:
                    for panel in panels:
                        f.prefetch(weights, panel * self.panel + step * _STEP + self.near)
                for row in range(self.rows):
                    value = f.splat(f.load("float", pixels, row * self.v_row + step * 4), isa.lanes)
                    for j, vector in enumerate(lines):
                        at = row * self.vectors + j
                        sums[at] = f.fma(value, vector, sums[at])
            return [*sums, f.offset(pixels, number * 4), f.offset(weights, number * _STEP), ahead]

        zeros = [f.zero(isa.vector)] * count
        places = [row * self.m_row + j * isa.vector_bytes for row in range(self.rows) for j in range(self.vectors)]
        # What is left over comes first, so that whole runs are added to something that is there.
        runs = f.divide(f.sub(f.call("i64", "llvm.umax.i64", passes, Value("1", "i64")), 1), RUN)
        left = f.sub(passes, f.mul(runs, RUN))
        state = [*zeros, v, u, following]
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
