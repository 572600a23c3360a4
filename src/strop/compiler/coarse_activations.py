"""Code for activations whose result becomes 8 bits at once: right to 12 bits, in fewer instructions.

A result of 8 bits has at most 255 steps, so an error of 2**-12 of the result is at most a sixteenth of a step. Only
AVX-512 has a shorter way (no Newton step behind `vrcp14ps`, shorter polynomials); elsewhere these are the exact ones.
Errors are promised and measured with the exact ones, in tests/numerics/kernels/test_activations.py.
"""

from __future__ import annotations

import math

from strop.compiler import activations
from strop.compiler.activations import estimate, exponent_parts, is_avx512
from strop.compiler.arithmetic import polynomial
from strop.compiler.emit import Function, Value, constant

# 2**f for 0 <= f < 1, to 7.5e-5 of it
_EXP2 = (0.9999252557754517, 0.6958333253860474, 0.2260679304599762, 0.07802388817071915)
# the normal distribution function less 1/2, as x times a quotient in x * x, for |x| <= 3.75, to 1.6e-4
_PHI = (
    (0.39866748452186584, 0.10432268679141998, 0.0029375432059168816),
    (1.0, 0.42393338680267334, 0.05757344886660576),
)
_FAR = 3.75


def sigmoid(f: Function, x: Value) -> Value:
    """Returns 1 / (1 + e**-x) to 1.5e-4 of it. 9 instructions."""
    if not is_avx512(f, x):
        return activations.sigmoid(f, x)
    fraction, scale = exponent_parts(f, x, -math.log2(math.e))
    return estimate(f, f.fma(polynomial(f, fraction, _EXP2), scale, constant(x.type, 1)))


def silu(f: Function, x: Value) -> Value:
    """Returns x * sigmoid(x) to 1.5e-4 of it."""
    return f.fmul(x, sigmoid(f, x))


def gelu(f: Function, x: Value) -> Value:
    """Returns x times the normal distribution function to 2e-4 of |x|, and of 3.75 below -3.75. 12 instructions."""
    if not is_avx512(f, x):
        return activations.gelu(f, x)
    above = f.fmax(constant(x.type, -_FAR), x)
    near = f.fmin(constant(x.type, _FAR), above)
    square = f.fmul(near, near)
    inverse = estimate(f, polynomial(f, square, _PHI[1]))
    share = f.fmul(f.fmul(near, polynomial(f, square, _PHI[0])), inverse)
    return f.fmul(above, f.fadd(share, constant(x.type, 0.5)))
