"""Tables of instruction sets: how wide a vector is, how many there are, which instructions and tiles to use.

Does: say what code for an ISA level may use; nothing here runs anything.
Does not: know what this machine is (`strop.loader.cpu` does).
Start reading at: `table.py`.
"""

from strop.compiler.isa.table import ISAS, Isa, get_isa

__all__ = ["ISAS", "Isa", "get_isa"]
