"""How exact the approximated functions are, on every ISA table, against float64; infinities and NaN included."""

from __future__ import annotations

import numpy as np
import pytest

from strop.compiler import expressions as ex
from strop.compiler.emit import Module
from strop.compiler.isa import Isa
from strop.compiler.operations import OPERATIONS
from tests.numerics.kernels.harness import Buffer, every_isa, run_kernel

EXACT: dict[str, float] = {
    "exp": 1.3,
    "expm1": 2.2,
    "log": 1.2,
    "erf": 6.5,
    "tanh": 3.5,
    "sqrt": 0.5,
    "softplus": 2.5,
    "sin": 1.5,
    "cos": 1.5,
}
"""Largest error in units in the last place of the exact result."""

SCALED: dict[str, float] = {
    "sigmoid": 2.0,
    "silu": 2.5,
    "quick_gelu": 2.5,
    "gelu": 4.0,
    "gelu_tanh": 2.5,
    "mish": 3.0,
    "hard_swish": 1.5,
    "coarse_sigmoid": 2500,
    "coarse_silu": 2500,
    "coarse_gelu": 3400,
}
"""Largest error in units of 2**-24, of 1 for sigmoid and of |x| for the others, which are x times a number up to 1."""

SPECIAL = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-39, -1e-39, 3.4e38, -3.4e38, 1e-30, -1e-30], np.float32)
NORMAL = 2.0**-126


def arguments(name: str) -> np.ndarray:
    """Returns many numbers of all sizes, more of them where the function is not trivial; a multiple of all vectors."""
    generator = np.random.default_rng(7)
    sizes = 2.0 ** generator.uniform(-30, 12 if name in ("sin", "cos") else 127, 4000)
    parts = [
        SPECIAL,
        generator.uniform(-1, 1, 10000),
        generator.uniform(-10, 10, 20000),
        generator.uniform(-110, 110, 10000),
        sizes,
        -sizes,
    ]
    whole = np.concatenate(parts).astype(np.float32)
    if name in ("sin", "cos"):
        whole = whole[~(np.abs(whole) > 2.0**20) | np.isinf(whole)]
    return np.resize(whole, -(-len(whole) // 16) * 16)


def compiled(expression: ex.Expression, isa: Isa, *arrays: np.ndarray) -> np.ndarray:
    module = Module(isa)
    f = module.function("expression", ["ptr"])
    output, *inputs = (f.load("ptr", f.arguments[0], 8 * i) for i in range(1 + len(arrays)))

    def body(index: object, _: object) -> None:
        at = f.mul(index, isa.vector_bytes)  # type: ignore[arg-type]
        values = [f.load(isa.vector, f.offset(pointer, at)) for pointer in inputs]
        f.store(ex.emit_expression(f, expression, values, [], isa.lanes), f.offset(output, at))

    f.loop(arrays[0].size // isa.lanes, body)
    f.ret()
    size = 4 * arrays[0].size
    written = Buffer(np.zeros(size, np.uint8), written=np.ones(size, bool))
    (data,) = run_kernel({"expression": module.text()}, isa, "expression", [written, *arrays])
    return data.view(np.float32)


def wanted(name: str, *arrays: np.ndarray) -> np.ndarray:
    """Returns the exact values; denormal arguments and results are zero, as where plans run."""
    wide = [np.where(np.abs(array) < NORMAL, 0, array).astype(np.float64) for array in arrays]
    return OPERATIONS[name].compute(*wide)


@every_isa
@pytest.mark.parametrize("name", EXACT)
def test_errors_in_units_in_the_last_place_are_as_promised(isa: Isa, name: str) -> None:
    x = arguments(name)
    got, exact = compiled(ex.apply(name, ex.operand(0)), isa, x).astype(np.float64), wanted(name, x)
    large = np.abs(exact) >= 2.0**128 * (1 - 2.0**-25)
    exact = np.where(large, np.copysign(np.inf, exact), exact)
    special = ~np.isfinite(exact)
    np.testing.assert_array_equal(got[special], exact[special])
    got, exact, x = got[~special], exact[~special], x[~special]
    # What is less than the least normal number, or half a power of two above it, may be zero.
    little = (np.abs(exact) < 1.5 * NORMAL) & (np.abs(got) < 1.5 * NORMAL)
    errors = np.abs(got - exact) / 2.0 ** (np.floor(np.log2(np.maximum(np.abs(exact), NORMAL))) - 23)
    errors[little] = 0
    worst = int(np.argmax(errors))
    assert errors[worst] <= EXACT[name], f"{name}({x[worst]!r}) = {got[worst]!r}, not {exact[worst]!r}: {errors[worst]}"


@every_isa
@pytest.mark.parametrize("name", SCALED)
def test_errors_of_gates_are_as_promised(isa: Isa, name: str) -> None:
    x = arguments(name)
    x = x[~np.isneginf(x)] if "sigmoid" not in name else x  # minus infinity times zero
    x = np.resize(x, -(-len(x) // 16) * 16)
    got, exact = compiled(ex.apply(name, ex.operand(0)), isa, x).astype(np.float64), wanted(name, x)
    special = ~np.isfinite(exact) | ~np.isfinite(x)
    np.testing.assert_allclose(got[special], exact[special], atol=1e-37)
    got, exact, x = got[~special], exact[~special], x[~special]
    scale = 1.0 if "sigmoid" in name else np.maximum(np.abs(x.astype(np.float64)), 2.0**-100)
    errors = np.abs(got - exact) / scale * 2.0**24
    worst = int(np.argmax(errors))
    assert errors[worst] <= SCALED[name], (
        f"{name}({x[worst]!r}) = {got[worst]!r}, not {exact[worst]!r}: {errors[worst]}"
    )


@every_isa
def test_powers_err_by_as_much_as_their_exponent(isa: Isa) -> None:
    generator = np.random.default_rng(3)
    x = np.exp(generator.uniform(-4, 4, 4096)).astype(np.float32)
    y = generator.uniform(-8, 8, 4096).astype(np.float32)
    x[::2] *= -1
    y[::4] = np.rint(y[::4])
    x[:12] = [0, 0, 0, -1, 1, np.inf, -np.inf, 2, np.nan, np.nan, -8, -8]
    y[:12] = [0, 2, -1, 3, np.nan, -1, 3, np.inf, 0, 1, 3, 1 / 3]
    got, exact = compiled(ex.apply("power", ex.operand(0), ex.operand(1)), isa, x, y), wanted("power", x, y)
    special = ~np.isfinite(exact) | ~np.isfinite(x) | ~np.isfinite(y)
    np.testing.assert_array_equal(got[special], exact[special])
    x, y, got, exact = (array[~special] for array in (x, y, got, exact))
    size = np.abs(y * np.log(np.maximum(np.abs(x), NORMAL)))
    errors = np.abs(got - exact) / np.maximum(np.abs(exact), NORMAL) * 2.0**23 / (2 + 2 * size)
    worst = int(np.argmax(errors))
    assert errors[worst] <= 1, f"{x[worst]!r} ** {y[worst]!r} = {got[worst]!r}, not {exact[worst]!r}: {errors[worst]}"


@every_isa
def test_sines_hold_for_large_arguments(isa: Isa) -> None:
    x = (2.0 ** np.random.default_rng(3).uniform(10, 20 if not isa.fused else 45, 4096)).astype(np.float32)
    for name in ("sin", "cos"):
        np.testing.assert_allclose(compiled(ex.apply(name, ex.operand(0)), isa, x), wanted(name, x), atol=2e-7)
