"""The one door to llvmlite: LLVM IR text in, an object file or assembly out.

llvmlite guards each of its calls with one lock, so that two threads never compile at once, although LLVM itself allows
it where they share no context. The two calls that take long therefore go round that lock, through a handle of the same
library of our own; everything else goes through llvmlite. (ctypes releases Python's lock either way.)
"""

from __future__ import annotations

import ctypes
import functools
import threading
from typing import Any

import llvmlite.binding as llvm
from llvmlite.binding import ffi


def compile_ir(ir: str, *, triple: str, cpu: str, features: str, as_object: bool) -> bytes:
    """Returns the object file (or the assembly) LLVM makes of a module; safe to call from several threads at once.

    No IR passes run: our IR is written as it is to be executed. Code is position independent, of the small code model.
    Raises ValueError with LLVM's words where the text is not valid IR.
    """
    machine = _target_machine(triple, cpu, features)
    with llvm.create_context() as context:
        try:
            with _parse(ir, context) as module:
                module.verify()
                return _emit(machine, module, as_object=as_object)
        except RuntimeError as error:
            raise ValueError(str(error).strip()) from error


def _parse(ir: str, context: Any) -> Any:
    with ffi.OutputString() as message:
        pointer = _unlocked("LLVMPY_ParseAssembly")(context, ir.encode(), message)
        if not pointer:
            raise RuntimeError(str(message))
        return llvm.ModuleRef(pointer, context)


def _emit(machine: Any, module: Any, *, as_object: bool) -> bytes:
    with ffi.OutputString() as message:
        buffer = _unlocked("LLVMPY_TargetMachineEmitToMemory")(machine, module, int(as_object), message)
        if not buffer:
            raise RuntimeError(str(message))
    try:
        return ctypes.string_at(ffi.lib.LLVMPY_GetBufferStart(buffer), ffi.lib.LLVMPY_GetBufferSize(buffer))
    finally:
        ffi.lib.LLVMPY_DisposeMemoryBuffer(buffer)


@functools.cache
def _unlocked(name: str) -> Any:
    """Returns a function of llvmlite's library as ctypes sees it, without llvmlite's lock."""
    function = _library()[name]
    locked = getattr(ffi.lib, name)
    function.argtypes, function.restype = locked.argtypes, locked.restype
    return function


@functools.cache
def _library() -> ctypes.CDLL:
    return ctypes.CDLL(ffi.lib._name)


_own = threading.local()  # a target machine may serve one thread at a time
_starting = threading.Lock()


def _target_machine(triple: str, cpu: str, features: str) -> Any:
    machines: dict[tuple[str, str, str], Any] = _own.__dict__.setdefault("machines", {})
    key = (triple, cpu, features)
    if key not in machines:
        _start()
        target = llvm.Target.from_triple(triple)
        machines[key] = target.create_target_machine(cpu=cpu, features=features, opt=3, reloc="pic", codemodel="small")
    return machines[key]


def _start() -> None:
    with _starting:
        _start_once()


@functools.cache
def _start_once() -> None:
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    llvm.initialize_native_asmparser()  # for inline assembly
