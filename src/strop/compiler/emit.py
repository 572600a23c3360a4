"""Builds LLVM IR as text: functions, loops with phis, vectors, masks, prefetches.

Text is what LLVM reads quickest and people can read at all; no optimization passes run on it, so what is written
here is what is executed. Numbers are folded and equal constants and addresses are named once as the function is built.

    module = Module(get_isa("x86-64-v3"))
    f = module.function("twice", ["ptr"])
    x = f.load(f.isa.vector, f.arguments[0])
    f.store(f.fadd(x, x), f.arguments[0])
    f.ret()
    text = module.text()
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import NamedTuple

from strop.compiler.isa.table import Isa


class Value(NamedTuple):
    """An SSA value or a constant: what LLVM calls it, and its type ("i64", "ptr", "float", "<16 x float>", ...)."""

    text: str
    type: str


Number = int | Value
"""An i64 that may be known while the code is built."""


def lanes_of(kind: str) -> int:
    """Returns how many lanes a type has: 1 for a scalar."""
    return int(kind[1 : kind.index(" ")]) if kind.startswith("<") else 1


def element_of(kind: str) -> str:
    """Returns the type of one lane."""
    return kind[kind.index("x ") + 2 : -1] if kind.startswith("<") else kind


def vector_of(element: str, lanes: int) -> str:
    """Returns the type of `lanes` lanes of `element` (the element itself for one lane)."""
    return element if lanes == 1 else f"<{lanes} x {element}>"


def constant(kind: str, number: float | int) -> Value:
    """Returns `number` as a constant of `kind`, in every lane of a vector; float32 is rounded here, exactly once."""
    element = element_of(kind)
    if element == "float":
        single = struct.unpack("f", struct.pack("f", number))[0]
        text = "0x" + struct.pack(">d", single).hex().upper()  # LLVM writes a float as the double of the same value
    elif element == "double":
        text = "0x" + struct.pack(">d", number).hex().upper()
    elif element == "ptr":
        text = "null"
    else:
        text = str(int(number))
    return Value(text if lanes_of(kind) == 1 else f"splat ({element} {text})", kind)


class Module:
    """The functions of one object, for one ISA level."""

    def __init__(self, isa: Isa) -> None:
        self.isa = isa
        self.functions: list[Function] = []
        self._declared: dict[str, str] = {}
        self._globals: list[str] = []

    def function(
        self, name: str, arguments: Sequence[str], result: str = "void", *, internal: bool = False
    ) -> Function:
        """Returns a new function; `arguments` are types; an internal one is seen by this module only."""
        function = Function(self, name, arguments, result, internal=internal)
        self.functions.append(function)
        return function

    def declare(self, name: str, arguments: Sequence[str], result: str) -> None:
        """Notes an intrinsic, or a function of another object that the linker finds."""
        self._declared.setdefault(name, f"declare {result} @{name}({', '.join(arguments)})")

    def add_global(self, text: str) -> None:
        """Adds a line of IR before the functions: a constant table, say."""
        if text not in self._globals:
            self._globals.append(text)

    def text(self) -> str:
        """Returns the module as LLVM IR."""
        own = {function.name for function in self.functions}
        parts = [f'target triple = "{self.isa.triple}"', *self._globals]
        parts += [line for name, line in self._declared.items() if name not in own]
        parts += [function.text() for function in self.functions]
        return "\n".join([*parts, f"attributes #0 = {{ {self.isa.attributes} }}", ""])


class Function:
    """One function while it is built; code goes to the end of the current block."""

    def __init__(self, module: Module, name: str, arguments: Sequence[str], result: str, *, internal: bool) -> None:
        self.module, self.isa, self.name, self.result = module, module.isa, name, result
        self.arguments = [Value(f"%a{i}", kind) for i, kind in enumerate(arguments)]
        self._linkage = "internal " if internal else ""
        self._lines: list[str] = ["entry:"]
        self._block = "entry"
        self._count = 0
        self._addresses: dict[tuple[str, int], str] = {}  # in the current block only

    # -- building blocks

    def op(self, kind: str, text: str) -> Value:
        """Appends `text` as an instruction with a result of type `kind`."""
        self._count += 1
        name = f"%v{self._count}"
        self._lines.append(f"  {name} = {text}")
        return Value(name, kind)

    def line(self, text: str) -> None:
        """Appends an instruction without a result."""
        self._lines.append("  " + text)

    def call(self, result: str, name: str, *arguments: Value) -> Value:
        """Calls a function or intrinsic, declaring it; a void call returns a value nobody may use."""
        self.module.declare(name, [argument.type for argument in arguments], result)
        text = f"call {result} @{name}({', '.join(f'{a.type} {a.text}' for a in arguments)})"
        if result == "void":
            self.line(text)
            return Value("", "void")
        return self.op(result, text)

    def ret(self, value: Value | None = None) -> None:
        """Returns from the function."""
        self.line("ret void" if value is None else f"ret {value.type} {value.text}")

    # -- whole numbers and addresses

    def number(self, value: Number) -> Value:
        """Returns an i64 as a value."""
        return value if isinstance(value, Value) else Value(str(value), "i64")

    def add(self, a: Number, b: Number) -> Number:
        """Returns a + b."""
        if isinstance(a, int) and isinstance(b, int):
            return a + b
        if a == 0 or b == 0:
            return b if a == 0 else a
        return self.op("i64", f"add i64 {self.number(a).text}, {self.number(b).text}")

    def sub(self, a: Number, b: Number) -> Number:
        """Returns a - b."""
        if isinstance(a, int) and isinstance(b, int):
            return a - b
        return a if b == 0 else self.op("i64", f"sub i64 {self.number(a).text}, {self.number(b).text}")

    def mul(self, a: Number, b: Number) -> Number:
        """Returns a * b."""
        if isinstance(a, int) and isinstance(b, int):
            return a * b
        if a == 1 or b == 1:
            return b if a == 1 else a
        if a == 0 or b == 0:
            return 0
        return self.op("i64", f"mul i64 {self.number(a).text}, {self.number(b).text}")

    def divide(self, a: Number, b: Number) -> Number:
        """Returns a // b of numbers that are not negative."""
        if isinstance(a, int) and isinstance(b, int):
            return a // b
        return a if b == 1 else self.op("i64", f"udiv i64 {self.number(a).text}, {self.number(b).text}")

    def remainder(self, a: Number, b: Number) -> Number:
        """Returns a % b of numbers that are not negative."""
        if isinstance(a, int) and isinstance(b, int):
            return a % b
        return 0 if b == 1 else self.op("i64", f"urem i64 {self.number(a).text}, {self.number(b).text}")

    def minimum(self, a: Number, b: Number) -> Number:
        """Returns the smaller of two numbers that are not negative."""
        if isinstance(a, int) and isinstance(b, int):
            return min(a, b)
        return self.call("i64", "llvm.umin.i64", self.number(a), self.number(b))

    def offset(self, pointer: Value, by: Number) -> Value:
        """Returns the address `by` bytes behind `pointer`."""
        if isinstance(by, Value):
            return self.op("ptr", f"getelementptr i8, ptr {pointer.text}, i64 {by.text}")
        if by == 0:
            return pointer
        known = self._addresses.get((pointer.text, by))
        if known is None:
            known = self.op("ptr", f"getelementptr i8, ptr {pointer.text}, i64 {by}").text
            self._addresses[pointer.text, by] = known
        return Value(known, "ptr")

    def load(self, kind: str, pointer: Value, by: Number = 0, *, align: int = 1) -> Value:
        """Loads a value of `kind` from `by` bytes behind `pointer`."""
        return self.op(kind, f"load {kind}, ptr {self.offset(pointer, by).text}, align {align}")

    def store(self, value: Value, pointer: Value, by: Number = 0, *, align: int = 1) -> None:
        """Stores `value` at `by` bytes behind `pointer`."""
        self.line(f"store {value.type} {value.text}, ptr {self.offset(pointer, by).text}, align {align}")

    def load_lanes(self, kind: str, pointer: Value, by: Number = 0, *, lanes: int) -> Value:
        """Loads the first `lanes` lanes; the others are zero and their memory is not touched."""
        if lanes == lanes_of(kind):
            return self.load(kind, pointer, by)
        if element_of(kind) == "i8":
            return self._load_pieces(kind, pointer, by, lanes)
        name = f"llvm.masked.load.{_mangled(kind)}.p0"
        address, zero = self.offset(pointer, by), Value("zeroinitializer", kind)
        mask = _mask(lanes, lanes_of(kind))
        self.module.declare(name, ["ptr", mask.type, kind], kind)
        arguments = f"ptr align 1 {address.text}, {mask.type} {mask.text}, {kind} {zero.text}"
        return self.op(kind, f"call {kind} @{name}({arguments})")

    def store_lanes(self, value: Value, pointer: Value, by: Number = 0, *, lanes: int) -> None:
        """Stores the first `lanes` lanes and touches nothing behind them."""
        if lanes == lanes_of(value.type):
            self.store(value, pointer, by)
            return
        if element_of(value.type) == "i8":
            self._store_pieces(value, pointer, by, lanes)
            return
        name = f"llvm.masked.store.{_mangled(value.type)}.p0"
        address, mask = self.offset(pointer, by), _mask(lanes, lanes_of(value.type))
        self.module.declare(name, [value.type, "ptr", mask.type], "void")
        self.line(f"call void @{name}({value.type} {value.text}, ptr align 1 {address.text}, {mask.type} {mask.text})")

    def _load_pieces(self, kind: str, pointer: Value, by: Number, lanes: int) -> Value:
        """Loads bytes by 8, 4, 2 and 1: only AVX-512 masks bytes, and its widening loads need not mind the mask."""
        address, value, total = self.offset(pointer, by), self.zero(kind), lanes_of(kind)
        for place, size in _pieces(lanes):
            whole = vector_of(f"i{8 * size}", total // size)
            piece = self.load(f"i{8 * size}", address, place)
            wide = self.convert("bitcast", value, whole)
            text = f"insertelement {whole} {wide.text}, {piece.type} {piece.text}, i64 {place // size}"
            value = self.convert("bitcast", self.op(whole, text), kind)
        return value

    def _store_pieces(self, value: Value, pointer: Value, by: Number, lanes: int) -> None:
        """Stores bytes by 8, 4, 2 and 1: AVX-512's narrowing store (vpmovdb) faults on bytes its mask leaves out."""
        address, total = self.offset(pointer, by), lanes_of(value.type)
        for place, size in _pieces(lanes):
            whole = vector_of(f"i{8 * size}", total // size)
            wide = self.convert("bitcast", value, whole)
            piece = self.op(f"i{8 * size}", f"extractelement {whole} {wide.text}, i64 {place // size}")
            self.store(piece, address, place)

    def prefetch(self, pointer: Value, by: Number = 0, *, level: int = 1) -> None:
        """Asks for the cache line at `by` bytes behind `pointer`: level 1 into L1, level 2 into L2."""
        self.module.declare("llvm.prefetch.p0", ["ptr", "i32", "i32", "i32"], "void")
        address = self.offset(pointer, by)
        self.line(f"call void @llvm.prefetch.p0(ptr {address.text}, i32 0, i32 {4 - level}, i32 1)")

    def opaque(self, pointer: Value) -> Value:
        """Returns the same address as a pointer LLVM knows nothing about, so that it joins no loads through the two."""
        return self.op("ptr", f'call ptr asm "", "=r,0"(ptr {pointer.text})')

    # -- arithmetic on scalars and vectors

    def binary(self, operation: str, a: Value, b: Value) -> Value:
        """Returns an LLVM binary operation ("fadd", "fmul", "and", "add", ...) of two values of one type."""
        return self.op(a.type, f"{operation} {a.type} {a.text}, {b.text}")

    def fadd(self, a: Value, b: Value) -> Value:
        """Returns a + b."""
        return self.binary("fadd", a, b)

    def fsub(self, a: Value, b: Value) -> Value:
        """Returns a - b."""
        return self.binary("fsub", a, b)

    def fmul(self, a: Value, b: Value) -> Value:
        """Returns a * b."""
        return self.binary("fmul", a, b)

    def fma(self, a: Value, b: Value, c: Value) -> Value:
        """Returns a * b + c, in one rounding where the instruction set can, in two where it cannot."""
        if not self.isa.fused:
            return self.fadd(self.fmul(a, b), c)
        return self.call(a.type, f"llvm.fma.{_mangled(a.type)}", a, b, c)

    def fmax(self, a: Value, b: Value) -> Value:
        """Returns the larger; where either is NaN, b. So fmax(zero, x) keeps the NaN of x, in one instruction."""
        return self.select(self.compare("ogt", a, b), a, b)

    def fmin(self, a: Value, b: Value) -> Value:
        """Returns the smaller; where either is NaN, b."""
        return self.select(self.compare("olt", a, b), a, b)

    def compare(self, predicate: str, a: Value, b: Value) -> Value:
        """Returns i1 lanes: "ogt", "olt", "oeq", "uno" ... for floats, "eq", "slt", "ult" ... for integers."""
        word = "fcmp" if element_of(a.type) in ("float", "double") else "icmp"
        return self.op(vector_of("i1", lanes_of(a.type)), f"{word} {predicate} {a.type} {a.text}, {b.text}")

    def select(self, condition: Value, a: Value, b: Value) -> Value:
        """Returns a where `condition` holds, else b."""
        return self.op(a.type, f"select {condition.type} {condition.text}, {a.type} {a.text}, {b.type} {b.text}")

    def convert(self, operation: str, value: Value, kind: str) -> Value:
        """Returns an LLVM conversion ("sitofp", "zext", "trunc", "bitcast", "fptosi", ...) of `value` to `kind`."""
        return self.op(kind, f"{operation} {value.type} {value.text} to {kind}")

    def splat(self, value: Value, lanes: int) -> Value:
        """Returns a vector with `value` in every lane."""
        if lanes == 1:
            return value
        kind = vector_of(value.type, lanes)
        first = self.op(kind, f"insertelement {kind} poison, {value.type} {value.text}, i64 0")
        return self.shuffle(first, first, [0] * lanes)

    def shuffle(self, a: Value, b: Value, lanes: Sequence[int]) -> Value:
        """Returns the lanes of a, then b, that `lanes` names."""
        kind = vector_of(element_of(a.type), len(lanes))
        mask = f"<{len(lanes)} x i32> <{', '.join(f'i32 {lane}' for lane in lanes)}>"
        return self.op(kind, f"shufflevector {a.type} {a.text}, {b.type} {b.text}, {mask}")

    def zero(self, kind: str) -> Value:
        """Returns zero of any type."""
        return Value("zeroinitializer", kind) if lanes_of(kind) > 1 else constant(kind, 0)

    # -- control

    def loop(
        self,
        count: Number,
        body: Callable[[Number, list[Value]], Sequence[Value] | None],
        carried: Sequence[Value] = (),
        *,
        may_be_empty: bool = False,
    ) -> list[Value]:
        """Runs `body(index, carried) -> carried` for index 0 .. count - 1 and returns what is carried out.

        A count known to be 1 makes no loop, 0 nothing at all. A count known only at run time is taken to be at least
        1 unless `may_be_empty`.
        """
        values = list(carried)
        if isinstance(count, int) and count <= 1:
            return list(body(0, values) or []) if count == 1 else values
        before, skip = self._block, ""
        self._count += 1
        head, end = f"loop{self._count}", f"end{self._count}"
        if may_be_empty and not isinstance(count, int):
            some = self.compare("ne", count, Value("0", "i64"))
            self.line(f"br i1 {some.text}, label %{head}, label %{end}")
            skip = before
        else:
            self.line(f"br label %{head}")
        self._start(head)
        index = self._name("i64")
        inner = [self._name(value.type) for value in values]
        place = len(self._lines)
        after = list(body(index, list(inner)) or [])
        following = self.op("i64", f"add nuw nsw i64 {index.text}, 1")
        more = self.compare("ult", following, self.number(count))
        last = self._block
        self.line(f"br i1 {more.text}, label %{head}, label %{end}")
        phis = [f"  {index.text} = phi i64 [ 0, %{before} ], [ {following.text}, %{last} ]"]
        for name, first, then in zip(inner, values, after, strict=True):
            phis.append(f"  {name.text} = phi {name.type} [ {first.text}, %{before} ], [ {then.text}, %{last} ]")
        self._lines[place:place] = phis
        self._start(end)
        if not skip:
            return after
        return [
            self.op(first.type, f"phi {first.type} [ {first.text}, %{skip} ], [ {then.text}, %{last} ]")
            for first, then in zip(values, after, strict=True)
        ]

    def when(self, condition: Value, body: Callable[[], None]) -> None:
        """Runs `body` only where the i1 `condition` holds."""
        self._count += 1
        then, end = f"then{self._count}", f"after{self._count}"
        self.line(f"br i1 {condition.text}, label %{then}, label %{end}")
        self._start(then)
        body()
        self.line(f"br label %{end}")
        self._start(end)

    def label(self, name: str) -> None:
        """Begins the block `name`; the one before must have ended with `jump`, `branch` or `ret`."""
        self._start(name)

    def jump(self, name: str) -> None:
        """Goes on at the block `name`."""
        self.line(f"br label %{name}")

    def branch(self, condition: Value, then: str, otherwise: str) -> None:
        """Goes on at one block or the other."""
        self.line(f"br i1 {condition.text}, label %{then}, label %{otherwise}")

    def text(self) -> str:
        """Returns the function as LLVM IR."""
        arguments = ", ".join(f"{a.type} {a.text}" for a in self.arguments)
        lines = "\n".join(self._lines)
        return f"define {self._linkage}{self.result} @{self.name}({arguments}) #0 {{\n{lines}\n}}\n"

    def _name(self, kind: str) -> Value:
        self._count += 1
        return Value(f"%v{self._count}", kind)

    def _start(self, block: str) -> None:
        self._lines.append(f"{block}:")
        self._block = block
        self._addresses.clear()


def _pieces(lanes: int) -> list[tuple[int, int]]:
    """Returns where the powers of two that make up `lanes` (less than 16) begin, and how large they are."""
    pieces, place = [], 0
    for size in (8, 4, 2, 1):
        if lanes & size:
            pieces.append((place, size))
            place += size
    return pieces


def _mask(lanes: int, of: int) -> Value:
    return Value("<" + ", ".join(f"i1 {'true' if i < lanes else 'false'}" for i in range(of)) + ">", f"<{of} x i1>")


def _mangled(kind: str) -> str:
    element = {"float": "f32", "double": "f64"}.get(element_of(kind), element_of(kind))
    return element if lanes_of(kind) == 1 else f"v{lanes_of(kind)}{element}"
