"""Makes machine code of LLVM IR text, one object a symbol, several at once where there are cores."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import logging
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from strop.compiler.isa.table import Isa
from strop.compiler.object_cache import ObjectCache
from strop.errors import EngineError
from strop.machine import usable_cores

_log = logging.getLogger(__name__)

_VERSION: Final = 1  # of how LLVM is asked: options that are in neither the IR nor the ISA table


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


def compile_objects(irs: Mapping[str, str], isa: Isa, cache: ObjectCache | None = None) -> dict[str, bytes]:
    """Returns the object of each module of IR, by the same names: from the cache, or generated and kept there.

    What is to be generated is shared out over the usable cores; LLVM needs no lock of Python's for it.
    """
    keys = {symbol: object_key(ir, isa) for symbol, ir in irs.items()}
    found: dict[str, bytes] = {}
    for symbol, key in keys.items():
        kept = cache.get(key) if cache is not None else None
        if kept is not None:
            found[symbol] = kept
        _log.debug("object %s: %s", symbol, "miss" if kept is None else "hit")
    missing = sorted((symbol for symbol in irs if symbol not in found), key=lambda symbol: -len(irs[symbol]))
    workers = min(usable_cores(), len(missing))
    if workers > 1:
        with ThreadPoolExecutor(workers, "strop-codegen") as pool:
            made = dict(zip(missing, pool.map(lambda symbol: generate(irs[symbol], isa), missing), strict=True))
    else:
        made = {symbol: generate(irs[symbol], isa) for symbol in missing}
    if cache is not None:
        for symbol, data in made.items():
            cache.put(keys[symbol], data)
        cache.finish(hits=len(found), misses=len(made))
        _log.info("object cache %s: %d hits, %d misses", cache.folder, len(found), len(made))
    return {symbol: found[symbol] if symbol in found else made[symbol] for symbol in irs}


def object_key(ir: str, isa: Isa) -> str:
    """Returns what names an object in the cache: everything that decides its bytes, hashed."""
    return hashlib.sha256(f"{toolchain()}\n{isa.triple}\n{isa.cpu}\n{isa.features}\n{ir}".encode()).hexdigest()


@functools.cache
def toolchain() -> str:
    """Returns what names the code generator in the keys of caches."""
    # A release of llvmlite holds one LLVM; asking LLVM itself would load it even where every object is in the cache.
    return f"{_VERSION} llvmlite {importlib.metadata.version('llvmlite')}"


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
