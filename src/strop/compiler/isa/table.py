"""The instruction sets we emit code for. A new one is a row here and, where it needs them, its own intrinsics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from strop.errors import UsageError


@dataclass(frozen=True, slots=True)
class Isa:
    """What code for one ISA level may use.

    level: its name (`strop.loader.cpu.LEVELS`); key: the same inside a kernel's name; triple, cpu, features: LLVM's
    words for it (never the host's, so that the same model gives the same bytes); lanes: float32 lanes of a vector;
    registers: vector registers; fused: whether a multiply-add is one instruction; dot: the instruction that adds four
    u8 x s8 products to an i32 lane ("vnni"), or "widen": exact sums of 16-bit products (never saturating 8-bit pairs);
    tile: default rows x vectors of a matrix kernel's register tile.
    """

    level: str
    key: str
    triple: str
    cpu: str
    features: str
    lanes: int
    registers: int
    fused: bool
    dot: str
    tile: tuple[int, int]

    @property
    def vector_bytes(self) -> int:
        """Bytes of a vector register."""
        return 4 * self.lanes

    @property
    def vector(self) -> str:
        """LLVM's type of a vector of float32."""
        return f"<{self.lanes} x float>"

    @property
    def integers(self) -> str:
        """LLVM's type of a vector of int32 with as many lanes."""
        return f"<{self.lanes} x i32>"

    @property
    def is_x86(self) -> bool:
        """Whether this is an x86-64 level."""
        return self.triple.startswith("x86_64")

    @property
    def attributes(self) -> str:
        """The attributes every function of this level carries."""
        width = self.vector_bytes * 8
        return (
            f'nounwind "target-cpu"="{self.cpu}" "target-features"="{self.features}" '
            f'"no-trapping-math"="true" "prefer-vector-width"="{width}" "min-legal-vector-width"="{width}"'
        )


_LINUX: Final = "x86_64-unknown-linux-gnu"

ISAS: Final[tuple[Isa, ...]] = (
    Isa("x86-64-v4+vnni", "avx512vnni", _LINUX, "x86-64-v4", "+avx512vnni", 16, 32, True, "vnni", (14, 2)),
    Isa("x86-64-v4", "avx512", _LINUX, "x86-64-v4", "", 16, 32, True, "widen", (14, 2)),
    Isa("x86-64-v3", "avx2", _LINUX, "x86-64-v3", "", 8, 16, True, "widen", (6, 2)),
    Isa("generic", "generic", _LINUX, "x86-64", "", 4, 16, False, "widen", (6, 2)),
    Isa(
        "armv8.2+dotprod",
        "neon",
        "aarch64-unknown-linux-gnu",
        "generic",
        "+v8.2a,+dotprod",
        4,
        32,
        True,
        "widen",
        (8, 2),
    ),
)
"""Every level, best first within an architecture."""


def get_isa(level: str) -> Isa:
    """Returns the table of an ISA level; raises UsageError (`usage.bad-option`) for a name that is none.

    Example:
        >>> get_isa("x86-64-v3").lanes
        8
    """
    for isa in ISAS:
        if isa.level == level:
            return isa
    raise UsageError(
        "usage.bad-option",
        "there is no such ISA level",
        got=level,
        expected=", ".join(isa.level for isa in ISAS),
        hint="leave isa out to use the best level of this CPU",
    )
