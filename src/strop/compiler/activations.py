"""Code for functions that only approximations can give: exponentials, logarithms, sines, and activations made of them.

Each is a range reduction and a polynomial (or a quotient of two), in float32, for any number of lanes. Errors, in units
in the last place of the exact result (denormal results count as zero, as plans run), are measured for every instruction
set in tests/numerics/kernels/test_activations.py; the table there is what is promised. AVX-512 has its own way where
that is shorter: `vreduceps` and `vscalefps` split and scale by powers of two and are right for infinities as they are,
and a quotient is an estimate (`vrcp14ps`) with a Newton step, not a division. Instructions
are counted without loads of constants.
"""

from __future__ import annotations

import math

from strop.compiler import emit
from strop.compiler.arithmetic import absolute, negative, polynomial
from strop.compiler.emit import Function, Value, lanes_of, vector_of

_LOG2E = math.log2(math.e)
_LN2_HIGH, _LN2_LOW = 0.693359375, -2.12194440e-4  # few bits, so that whole numbers times the first are exact
_MAGIC = 1.5 * 2.0**23  # adding it rounds to a whole number, which then stands in the lowest bits

# exp(r) = 1 + r + r * r * polynomial(r) for |r| <= log(2) / 2, to 3e-9
_EXP = (0.4999999403953552, 0.1666652113199234, 0.04166838899254799, 0.00836870912462473, 0.0013814616249874234)
_EXP_SHORT = (0.499992311000824, 0.16667114198207855, 0.041890114545822144, 0.008312525227665901)  # to 1e-7
# 2**f = 1 + f * polynomial(f) for 0 <= f < 1, to 8e-8
_EXP2_ABOVE = (
    0.6931512951850891,
    0.24016444385051727,
    0.055799927562475204,
    0.00901701394468546,
    0.0018671370344236493,
)
# the same for -1/2 <= f <= 1/2, to 9e-8
_EXP2_AROUND = (0.6931470036506653, 0.24022242426872253, 0.05550733581185341, 0.009671512059867382, 0.00132647366262973)
# log(1 + r) = r - r * r / 2 + r**3 * polynomial(r) for sqrt(1/2) <= 1 + r <= sqrt(2), to 6e-9
_LOG = (
    0.3333333134651184,
    -0.2500081956386566,
    0.20001226663589478,
    -0.16623356938362122,
    0.14201761782169342,
    -0.13160188496112823,
    0.1276155263185501,
    -0.07634450495243073,
)
# log(1 + u) = u * polynomial(u) for 0 <= u <= 1, to 5e-9
_LOG1P = (
    1.0,
    -0.4999990165233612,
    0.3332996368408203,
    -0.24954135715961456,
    0.1967594474554062,
    -0.1530560702085495,
    0.10603674501180649,
    -0.056959692388772964,
    0.019851529970765114,
    -0.0032440375071018934,
)
# erf(x) = x * polynomial(x * x) / polynomial(x * x) for |x| <= 3.9, to 2e-8
_ERF = (
    (
        1.1283791065216064,
        0.18964260816574097,
        0.05266449972987175,
        0.0037372075021266937,
        0.0002850197197403759,
        2.0664349449361907e-06,
    ),
    (
        1.0,
        0.5013991594314575,
        0.11380860954523087,
        0.014912005513906479,
        0.0011570688802748919,
        3.826741158263758e-05,
    ),
)
# the normal distribution function less 1/2, likewise, for |x| <= 5.45, to 6e-9
_PHI = (
    (
        0.398942232131958,
        0.03359438478946686,
        0.004662764724344015,
        0.0001663696311879903,
        6.352676336973673e-06,
        2.306839697041596e-08,
    ),
    (
        1.0,
        0.25087466835975647,
        0.028501471504569054,
        0.0018705542897805572,
        7.294849638128653e-05,
        1.2068167052348144e-06,
    ),
)
_SIN = (-0.16666655242443085, 0.00833217240869999, -0.0001951647864188999)  # sin(r) = r + r**3 * polynomial(r * r)
_COS = (0.04166664555668831, -0.0013887359527871013, 2.4437527827103622e-05)  # 1 - r * r / 2 + r**4 * polynomial


def exp(f: Function, x: Value) -> Value:
    """Returns e**x; 0 below the least normal number, infinity above the largest. 14 instructions."""
    x = f.fmax(_is(x, -87.6), f.fmin(_is(x, 89.4), x))
    # Twice the power times half the scale: so the largest results do not need a scale of 2**128.
    shifted = f.fma(x, _is(x, _LOG2E), _is(x, _MAGIC + 126))
    whole = f.fsub(shifted, _is(x, _MAGIC + 126))
    r = _reduced(f, x, whole)
    tail = f.fmul(r, polynomial(f, r, [2 * c for c in _EXP]))
    power = f.fma(r, f.fadd(tail, _is(x, 2)), _is(x, 2))
    return f.fmul(power, _scale(f, shifted))


def expm1(f: Function, x: Value) -> Value:
    """Returns e**x - 1, without losing small results."""
    x = f.fmax(_is(x, -17.5), f.fmin(_is(x, 88.8), x))
    shifted = f.fma(x, _is(x, _LOG2E), _is(x, _MAGIC + 126))
    r = _reduced(f, x, f.fsub(shifted, _is(x, _MAGIC + 126)))
    less = f.fma(f.fmul(r, r), polynomial(f, r, _EXP), r)
    half = _scale(f, shifted)
    return f.fmul(f.fma(half, less, f.fsub(half, _is(x, 0.5))), _is(x, 2))


def sigmoid(f: Function, x: Value) -> Value:
    """Returns 1 / (1 + e**-x). 13 instructions on AVX-512, 15 and a division otherwise."""
    one = _is(x, 1)
    power, scale = _power(f, x, -1.0)
    return _over_one(f, f.fma(power, scale, one))


def silu(f: Function, x: Value) -> Value:
    """Returns x * sigmoid(x), also known as swish."""
    return f.fmul(x, sigmoid(f, x))


def quick_gelu(f: Function, x: Value) -> Value:
    """Returns x * sigmoid(1.702 * x)."""
    power, scale = _power(f, x, -1.702)
    return f.fmul(x, _over_one(f, f.fma(power, scale, _is(x, 1))))


def gelu_tanh(f: Function, x: Value) -> Value:
    """Returns x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x**3))), which is x times a sigmoid."""
    factor = 2 * math.sqrt(2 / math.pi)
    inner = f.fmul(x, f.fma(f.fmul(x, x), _is(x, factor * 0.044715), _is(x, factor)))
    power, scale = _power(f, inner, -1.0)
    return f.fmul(x, _over_one(f, f.fma(power, scale, _is(x, 1))))


def tanh(f: Function, x: Value) -> Value:
    """Returns the hyperbolic tangent: (e**2x - 1) / (e**2x + 1), small results as exact as large ones."""
    x = f.fmax(_is(x, -9.02), f.fmin(_is(x, 9.02), x))
    shifted = f.fma(x, _is(x, 2 * _LOG2E), _is(x, _MAGIC + 127))
    half = _reduced(f, x, f.fsub(shifted, _is(x, _MAGIC + 127)), 0.5)
    # e**2h - 1 = h * (2 + h * (4 * polynomial(2 * h)))
    tail = polynomial(f, half, [4 * 2.0**power * c for power, c in enumerate(_EXP)])
    less = f.fmul(half, f.fma(half, tail, _is(x, 2)))
    scale = _scale(f, shifted)
    above = f.fma(scale, less, f.fsub(scale, _is(x, 1)))
    return _quotient(f, above, f.fadd(above, _is(x, 2)))


def mish(f: Function, x: Value) -> Value:
    """Returns x * tanh(log(1 + e**x)), which is x * u / (u + 2) with u = e**x * (e**x + 2)."""
    power, scale = _power(f, f.fmin(_is(x, 20), x), 1.0)
    e = f.fmul(power, scale)
    above = f.fmul(e, f.fadd(e, _is(x, 2)))
    return f.fmul(x, _quotient(f, above, f.fadd(above, _is(x, 2))))


def softplus(f: Function, x: Value) -> Value:
    """Returns log(1 + e**x) as max(x, 0) + log(1 + e**-|x|)."""
    u = exp(f, negative(f, absolute(f, x)))
    return f.fma(u, polynomial(f, u, _LOG1P), f.fmax(f.zero(x.type), x))


def erf(f: Function, x: Value) -> Value:
    """Returns the error function."""
    x = f.fmax(_is(x, -3.9), f.fmin(_is(x, 3.9), x))
    return _odd_quotient(f, x, *_ERF)


def gelu(f: Function, x: Value) -> Value:
    """Returns x / 2 * (1 + erf(x / sqrt(2))), x times the normal distribution function. 20 instructions on AVX-512."""
    near = f.fmax(_is(x, -5.45), f.fmin(_is(x, 5.45), x))
    return f.fmul(x, f.fadd(_odd_quotient(f, near, *_PHI), _is(x, 0.5)))


def hard_swish(f: Function, x: Value) -> Value:
    """Returns x * max(0, min(1, x / 6 + 1/2))."""
    gate = f.fma(x, _is(x, 1 / 6), _is(x, 0.5))
    return f.fmul(x, f.fmax(f.zero(x.type), f.fmin(_is(x, 1), gate)))


def log(f: Function, x: Value) -> Value:
    """Returns the natural logarithm: minus infinity of zero, NaN of negative numbers."""
    integers = vector_of("i32", lanes_of(x.type))
    bits = f.convert("bitcast", x, integers)
    above = f.binary("sub", bits, emit.constant(integers, 0x3F3504F3))  # of sqrt(1/2)
    exponent = f.binary("ashr", above, emit.constant(integers, 23))
    mantissa = f.binary("sub", bits, f.binary("shl", exponent, emit.constant(integers, 23)))
    r = f.fsub(f.convert("bitcast", mantissa, x.type), _is(x, 1))
    whole = f.convert("sitofp", exponent, x.type)
    tail = f.fmul(f.fmul(r, r), f.fma(r, polynomial(f, r, _LOG), _is(x, -0.5)))
    result = f.fadd(f.fma(whole, _is(x, _LN2_LOW), tail), r)
    result = f.fma(whole, _is(x, _LN2_HIGH), result)
    result = f.select(f.compare("olt", x, _is(x, math.inf)), result, x)  # infinity and NaN stay
    outside = f.select(f.compare("olt", x, f.zero(x.type)), _is(x, math.nan), _is(x, -math.inf))
    return f.select(f.compare("olt", x, _is(x, 2.0**-126)), outside, result)


def power(f: Function, x: Value, y: Value) -> Value:
    """Returns x**y: e**(y * log |x|), negative for odd y; the error grows with |y * log x|."""
    size = absolute(f, x)
    one, zero = _is(x, 1), f.zero(x.type)
    result = exp(f, f.fmul(y, log(f, size)))
    near = _nearest(f, y)
    odd = f.compare("one", f.fmul(_nearest(f, f.fmul(y, _is(x, 0.5))), _is(x, 2)), near)
    odd = f.binary("and", odd, f.compare("olt", absolute(f, y), _is(x, 2.0**24)))
    odd = f.binary("and", odd, f.compare("olt", x, zero))
    result = f.select(odd, negative(f, result), result)
    nowhere = f.binary("and", f.compare("olt", x, zero), f.compare("one", near, y))
    nowhere = f.binary("and", nowhere, f.compare("olt", size, _is(x, math.inf)))
    result = f.select(nowhere, _is(x, math.nan), result)
    certain = f.binary("or", f.compare("oeq", x, one), f.compare("oeq", y, zero))
    return f.select(certain, one, result)


def sin(f: Function, x: Value) -> Value:
    """Returns the sine."""
    return _circular(f, x, 0)


def cos(f: Function, x: Value) -> Value:
    """Returns the cosine."""
    return _circular(f, x, 1)


# -- parts


def _is(x: Value, number: float) -> Value:
    return emit.constant(x.type, number)


def is_avx512(f: Function, x: Value) -> bool:
    """Whether AVX-512's own instructions take the value."""
    return f.isa.is_x86 and lanes_of(x.type) == 16 == f.isa.lanes


def _scale(f: Function, shifted: Value) -> Value:
    """Returns 2**n, where n + 127 stands in the lowest bits: 0 for n = -127, infinity for 128."""
    integers = vector_of("i32", lanes_of(shifted.type))
    bits = f.binary("shl", f.convert("bitcast", shifted, integers), emit.constant(integers, 23))
    return f.convert("bitcast", bits, shifted.type)


def _reduced(f: Function, x: Value, whole: Value, factor: float = 1.0) -> Value:
    """Returns x - whole * log(2) * factor."""
    r = f.fma(whole, _is(x, -_LN2_HIGH * factor), x)
    return f.fma(whole, _is(x, -_LN2_LOW * factor), r)


def _power(f: Function, x: Value, factor: float) -> tuple[Value, Value]:
    """Returns two numbers whose product is e**(factor * x), at most about 2**126, to about |factor * x| / 3 ulp.

    That is for sums with 1, which hide the error: where the power is large the result is not, and the other way round.
    """
    if is_avx512(f, x):
        fraction, scale = exponent_parts(f, x, factor * _LOG2E)
        return polynomial(f, fraction, (1.0, *_EXP2_ABOVE)), scale
    low, high = sorted((-87.0 / factor, 87.0 / factor))
    x = f.fmax(_is(x, low), f.fmin(_is(x, high), x))
    shifted = f.fma(x, _is(x, factor * _LOG2E), _is(x, _MAGIC + 127))
    whole = f.fsub(shifted, _is(x, _MAGIC + 127))
    if f.isa.fused:
        fraction = f.fma(x, _is(x, factor * _LOG2E), negative(f, whole))
        return polynomial(f, fraction, (1.0, *_EXP2_AROUND)), _scale(f, shifted)
    r = _reduced(f, x if factor == 1.0 else f.fmul(x, _is(x, factor)), whole)
    return polynomial(f, r, (1.0, 1.0, *_EXP_SHORT)), _scale(f, shifted)


def exponent_parts(f: Function, x: Value, factor: float) -> tuple[Value, Value]:
    """Returns how far factor * x, at most 126, is above the next lower whole number, and 2 to the power of that.

    For AVX-512.
    """
    exponent = f.fmin(_is(x, 126), f.fmul(x, _is(x, factor)))
    name, kind = "llvm.x86.avx512.mask.reduce.ps.512", x.type
    below = Value("9", "i32")  # what is above the next lower whole number; no exceptions
    every, current = Value("-1", "i16"), Value("4", "i32")
    fraction = f.call(kind, name, exponent, below, f.zero(kind), every, current)
    name = "llvm.x86.avx512.mask.scalef.ps.512"
    return fraction, f.call(kind, name, _is(x, 1), exponent, f.zero(kind), every, current)


def _over_one(f: Function, x: Value) -> Value:
    """Returns 1 / x for x between 2**-126 and 2**126."""
    one = _is(x, 1)
    if not is_avx512(f, x):
        return f.binary("fdiv", one, x)
    near = estimate(f, x)
    return f.fma(near, f.fma(negative(f, x), near, one), near)


def _quotient(f: Function, a: Value, b: Value) -> Value:
    """Returns a / b for b between 2**-126 and 2**126."""
    if not is_avx512(f, b):
        return f.binary("fdiv", a, b)
    near = estimate(f, b)
    first = f.fmul(a, near)
    return f.fma(near, f.fma(negative(f, b), first, a), first)


def estimate(f: Function, x: Value) -> Value:
    """Returns 1 / x to 14 bits."""
    return f.call(x.type, "llvm.x86.avx512.rcp14.ps.512", x, f.zero(x.type), Value("-1", "i16"))


def _odd_quotient(f: Function, x: Value, above: tuple[float, ...], below: tuple[float, ...]) -> Value:
    square = f.fmul(x, x)
    return _quotient(f, f.fmul(x, polynomial(f, square, above)), polynomial(f, square, below))


def _nearest(f: Function, x: Value) -> Value:
    """Returns x rounded to a whole number; what is that large already as it is."""
    magic = _is(x, _MAGIC)
    near = f.fsub(f.fadd(x, magic), magic)
    return f.select(f.compare("olt", absolute(f, x), _is(x, 2.0**22)), near, x)


def _circular(f: Function, x: Value, quarter: int) -> Value:
    """Returns the sine of x + quarter * pi / 2: x is reduced in float64, which holds up to 2**50."""
    lanes = lanes_of(x.type)
    wide, longs, integers = (vector_of(element, lanes) for element in ("double", "i64", "i32"))
    long = f.convert("fpext", x, wide)
    magic = emit.constant(wide, 1.5 * 2.0**52)
    shifted = f.fadd(f.fmul(long, emit.constant(wide, 2 / math.pi)), magic)
    turns = f.fsub(shifted, magic)
    # pi / 2 in two parts; the first is short, so that products with it are exact without fused multiply-adds, too.
    for part in (-1.5707963267341256, -6.077100506506192e-11):
        long = f.fma(turns, emit.constant(wide, part), long)
    r = f.convert("fptrunc", long, x.type)
    count = f.convert("trunc", f.convert("bitcast", shifted, longs), integers)
    count = f.binary("add", count, emit.constant(integers, quarter))
    square = f.fmul(r, r)
    sine = f.fma(f.fmul(r, square), polynomial(f, square, _SIN), r)
    cosine = f.fma(square, f.fma(square, polynomial(f, square, _COS), _is(x, -0.5)), _is(x, 1))
    bit = f.binary("and", count, emit.constant(integers, 1))
    value = f.select(f.compare("eq", bit, f.zero(integers)), sine, cosine)
    half = f.binary("shl", f.binary("and", count, emit.constant(integers, 2)), emit.constant(integers, 30))
    result = f.convert("bitcast", f.binary("xor", f.convert("bitcast", value, integers), half), x.type)
    return f.select(f.compare("olt", absolute(f, x), _is(x, 2.0**50)), result, f.fmul(f.fsub(x, x), x))
