"""Code for what is exact: arithmetic, comparisons, rounding, casts, on vectors of floats, integers and truth values.

Every function takes the function that is built and values of one type, and returns a value; it works for any number of
lanes on every instruction set, without a call. Truth values are i1 lanes; in memory they are bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from strop.compiler import emit
from strop.compiler.emit import Function, Value, element_of, lanes_of, vector_of


def is_float(value: Value) -> bool:
    """Whether its lanes are float32."""
    return element_of(value.type) == "float"


def numeric(floats: str, integers: str) -> Callable[[Function, Value, Value], Value]:
    """Returns the code of LLVM's binary operation `floats`, for integers `integers`."""
    return lambda f, a, b: f.binary(floats if is_float(a) else integers, a, b)


def compared(floats: str, integers: str) -> Callable[[Function, Value, Value], Value]:
    """Returns the code of LLVM's comparison `floats` (false where either is NaN), for integers `integers`."""
    return lambda f, a, b: f.compare(floats if is_float(a) else integers, a, b)


def maximum(f: Function, a: Value, b: Value) -> Value:
    """Returns the larger; NaN where either is NaN."""
    if not is_float(a):
        return f.select(f.compare("sgt", a, b), a, b)
    if _is_constant(b):
        a, b = b, a
    larger = f.fmax(a, b)  # NaN where b is NaN
    return larger if _is_constant(a) else f.select(f.compare("uno", a, a), a, larger)


def minimum(f: Function, a: Value, b: Value) -> Value:
    """Returns the smaller; NaN where either is NaN."""
    if not is_float(a):
        return f.select(f.compare("slt", a, b), a, b)
    if _is_constant(b):
        a, b = b, a
    smaller = f.fmin(a, b)
    return smaller if _is_constant(a) else f.select(f.compare("uno", a, a), a, smaller)


def negative(f: Function, x: Value) -> Value:
    """Returns -x."""
    return f.op(x.type, f"fneg {x.type} {x.text}") if is_float(x) else f.binary("sub", f.zero(x.type), x)


def absolute(f: Function, x: Value) -> Value:
    """Returns |x|."""
    if not is_float(x):
        return maximum(f, x, negative(f, x))
    return f.call(x.type, f"llvm.fabs.{mangled(x.type)}", x)


def square_root(f: Function, x: Value) -> Value:
    """Returns the square root, rounded to the nearest."""
    return f.call(x.type, f"llvm.sqrt.{mangled(x.type)}", x)


def rint(f: Function, x: Value) -> Value:
    """Returns the nearest whole number, ties to even."""
    if _has_rounding(f):
        return f.call(x.type, f"llvm.rint.{mangled(x.type)}", x)
    bits = vector_of("i32", lanes_of(x.type))
    sign = f.binary("and", f.convert("bitcast", x, bits), emit.constant(bits, -(2**31)))
    magic = f.binary("or", sign, emit.constant(bits, 0x4B000000))  # 2**23 with the sign of x
    large = f.convert("bitcast", magic, x.type)
    rounded = f.fsub(f.fadd(x, large), large)
    signed = f.binary("or", f.convert("bitcast", rounded, bits), sign)  # zeros lost it
    rounded = f.convert("bitcast", signed, x.type)
    return f.select(f.compare("olt", absolute(f, x), emit.constant(x.type, 2.0**23)), rounded, x)


def floor(f: Function, x: Value) -> Value:
    """Returns the largest whole number that is not larger."""
    if _has_rounding(f):
        return f.call(x.type, f"llvm.floor.{mangled(x.type)}", x)
    near = rint(f, x)
    one = emit.constant(x.type, 1)
    return f.fsub(near, f.select(f.compare("ogt", near, x), one, f.zero(x.type)))


def ceil(f: Function, x: Value) -> Value:
    """Returns the smallest whole number that is not smaller."""
    return negative(f, floor(f, negative(f, x)))


def cast(f: Function, value: Value, source: str, target: str) -> Value:
    """Returns `value` of dtype `source` as `target`: floats lose their fraction, integers their upper bits."""
    lanes = lanes_of(value.type)
    kind = vector_of("i1" if target == "bool" else f"i{_BITS[target]}", lanes)
    floats = vector_of("float", lanes)
    if source == target:
        return value
    if target == "bool":
        return f.compare("une" if source == "float32" else "ne", value, f.zero(value.type))
    if source == "bool":
        one = emit.constant(floats if target == "float32" else kind, 1)
        return f.select(value, one, f.zero(one.type))
    if target == "float32":
        if _BITS[source] < 32:
            value = f.convert("zext" if source == "uint8" else "sext", value, vector_of("i32", lanes))
        return f.convert("sitofp", value, floats)
    if source == "float32":
        whole = f.convert("fptosi", value, vector_of(f"i{max(32, _BITS[target])}", lanes))
        return f.convert("trunc", whole, kind) if _BITS[target] < 32 else whole
    if _BITS[target] == _BITS[source]:
        return value
    return f.convert("trunc" if _BITS[target] < _BITS[source] else "zext" if source == "uint8" else "sext", value, kind)


def saturated_bytes(f: Function, x: Value, zero: int) -> Value:
    """Returns uint8(min(255, rint(x) + zero)) for x of at least -zero, 16 lanes of AVX-512.

    Beyond what 32 bits hold the conversion gives 2**31, and the narrowing takes that for a large number, too.
    """
    kind = vector_of("i32", lanes_of(x.type))
    name = "llvm.x86.avx512.mask.cvtps2dq.512"
    whole = f.call(kind, name, x, f.zero(kind), Value("-1", "i16"), Value("4", "i32"))  # rounded to the nearest
    if zero:
        whole = f.binary("add", whole, emit.constant(kind, zero))
    held = f.call(kind, f"llvm.umin.{mangled(kind)}", whole, emit.constant(kind, 255))
    return f.convert("trunc", held, vector_of("i8", lanes_of(x.type)))


def polynomial(f: Function, x: Value, coefficients: Sequence[float]) -> Value:
    """Returns the polynomial with these coefficients, that of the highest power last."""
    *rest, last = (emit.constant(x.type, number) for number in coefficients)
    for coefficient in reversed(rest):
        last = f.fma(last, x, coefficient)
    return last


def mangled(kind: str) -> str:
    """Returns the type as names of intrinsics have it: "v16f32"."""
    element = {"float": "f32", "double": "f64"}.get(element_of(kind), element_of(kind))
    return element if lanes_of(kind) == 1 else f"v{lanes_of(kind)}{element}"


_BITS = {"float32": 32, "int64": 64, "int32": 32, "uint8": 8, "int8": 8}


def _has_rounding(f: Function) -> bool:
    return f.isa.level != "generic"


def _is_constant(value: Value) -> bool:
    return value.text.startswith(("splat", "zeroinitializer", "0x"))
