"""Makes machine code of LLVM IR text, one object a symbol, several at once where there are cores."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from strop.compiler.isa.table import Isa
from strop.errors import EngineError
from strop.machine import usable_cores

_log = logging.getLogger(__name__)


def generate(ir: str, isa: Isa) -> bytes:
    """Returns the ELF object LLVM makes of the module `ir`; may be called from several threads at once.

    No IR passes, code generation at its highest level, position-independent code of the small code model. The same
    text, level and version of LLVM give the same bytes on every machine.
    Raises EngineError `engine.machine-code` where LLVM refuses the text.
    """
    return _compile(ir, isa, as_object=True)


def assembly(ir: str, isa: Isa) -> str:
    """Returns what `generate` makes, as assembly text."""
    return _compile(ir, isa, as_object=False).decode()


def compile_objects(irs: Mapping[str, str], isa: Isa) -> dict[str, bytes]:
    """Returns the object of each module of IR, by the same names."""
    workers = min(usable_cores(), len(irs))
    if workers <= 1:
        return {symbol: generate(ir, isa) for symbol, ir in irs.items()}
    with ThreadPoolExecutor(workers, "strop-codegen") as pool:
        return dict(zip(irs, pool.map(lambda ir: generate(ir, isa), irs.values()), strict=True))


def _compile(ir: str, isa: Isa, *, as_object: bool) -> bytes:
    from strop.compiler._llvmlite_door import compile_ir

    try:
        return compile_ir(ir, triple=isa.triple, cpu=isa.cpu, features=isa.features, as_object=as_object)
    except ValueError as error:
        raise EngineError(
            "engine.machine-code",
            "LLVM refuses the code",
            got=str(error),
            hint="this is a mistake in Strop: report it with the model; engine onnxruntime runs it meanwhile",
        ) from error
