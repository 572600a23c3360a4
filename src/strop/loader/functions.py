"""The runtime's functions in mapped code, as Python can call them, and the builtin that calls a program quickest."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Mapping
from typing import Any, Final

from strop.loader.code import MappedCode
from strop.loader.structs import API, DATA_BYTES

_READ_WRITE: Final = 3
_METH_FASTCALL: Final = 0x80

_RUN: Final = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint64)
_ACQUIRE: Final = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p, ctypes.c_uint64, ctypes.c_int64)
_RELEASE: Final = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64)
_WAKE: Final = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)


class Functions:
    """What the loader calls in an image's code; keeps the code mapped. Calls release Python's lock.

    run(program, pointers, streams) -> structs.DONE, ...; acquire(pool, streams, wait) -> number; release(pool, number);
    wake(word, sleepers); worker, barrier: addresses.
    """

    def __init__(self, code: MappedCode, runtime: Mapping[str, int]) -> None:
        self.code = code
        self.run: Callable[[int, int, int], int] = _RUN(code.address_of(runtime["strop_run"]))
        self.acquire: Callable[[int, int, int], int] = _ACQUIRE(code.address_of(runtime["strop_acquire"]))
        self.release: Callable[[int, int], None] = _RELEASE(code.address_of(runtime["strop_release"]))
        self.wake: Callable[[int, int], None] = _WAKE(code.address_of(runtime["strop_wake"]))
        self.worker = code.address_of(runtime["strop_worker"])
        self.barrier = code.address_of(runtime["strop_barrier"])
        self._call = code.address_of(runtime["strop_call"])
        self._data = code.address_of(runtime["strop_data"])

    def builtin(self, program: int, owner: object) -> Callable[..., Any]:
        """Returns the builtin that calls the program at this address; it keeps `owner` alive, who keeps the memory."""
        make = ctypes.pythonapi.PyCFunction_NewEx
        make.restype, make.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_void_p, ctypes.py_object]
        self._put_program(program)
        self._definition = _MethodDefinition(b"call", self._call, _METH_FASTCALL, b"Runs the model.")
        function: Callable[..., Any] = make(ctypes.addressof(self._definition), None, owner)
        return function

    def _put_program(self, program: int) -> None:
        """Writes the program's address into the code's page of data, the only one that may be written."""
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.mprotect(ctypes.c_void_p(self._data), ctypes.c_size_t(DATA_BYTES), _READ_WRITE):
            raise OSError(ctypes.get_errno(), "mprotect")
        ctypes.c_uint64.from_address(self._data).value = program


class _MethodDefinition(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char_p),
        ("method", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("text", ctypes.c_char_p),
    ]


def has_builtin() -> bool:
    """Whether this Python takes our builtin: CPython with its lock, as the emitted code expects."""
    return sys.implementation.name == "cpython" and getattr(sys, "_is_gil_enabled", lambda: True)()


def api_addresses() -> list[int]:
    """Returns the addresses of the functions of Python's C API, in the order of `structs.API`."""
    return [ctypes.cast(getattr(ctypes.pythonapi, name), ctypes.c_void_p).value or 0 for name in API]
