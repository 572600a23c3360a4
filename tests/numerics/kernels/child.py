"""The process that runs kernels for the harness: reads requests, places buffers between guard pages, calls, looks.

A request is a JSON header with its length before it, then the blob and the buffers' bytes. Answers are JSON headers,
too: where the buffers lie (before each run, in case it crashes), and what came of it, with the outputs' bytes.
"""

from __future__ import annotations

import ctypes
import json
import mmap
import os
import signal
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[3]))

from strop.loader.code import MappedCode, map_code
from tests.numerics.kernels.checks import CONTROL_WORD, REPORT, SENTINELS, STATE

PAGE = 4096
libc = ctypes.CDLL(None, use_errno=True)
libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]


class Room:
    """Whole pages for one buffer with a guard page on both sides."""

    def __init__(self, size: int) -> None:
        self.length = -(-size // PAGE) * PAGE
        self._mapping = mmap.mmap(-1, self.length + 2 * PAGE)
        every = np.frombuffer(self._mapping, np.uint8)
        self.address = int(every.ctypes.data) + PAGE
        self.bytes = every[PAGE:-PAGE]
        for guard in (self.address - PAGE, self.address + self.length):
            if libc.mprotect(guard, PAGE, 0):
                raise OSError(ctypes.get_errno(), "mprotect")


class Action(ctypes.Structure):
    """`struct sigaction` of glibc."""

    _fields_ = [
        ("handler", ctypes.c_void_p),
        ("mask", ctypes.c_char * 128),
        ("flags", ctypes.c_int),
        ("restorer", ctypes.c_void_p),
    ]


def place(size: int, specification: dict[str, Any], placement: str) -> tuple[Room, int]:
    """Returns a room for a buffer and where in it the buffer begins."""
    slack, alignment = specification["slack"], specification["alignment"]
    room = Room(size + slack + alignment)
    start = 0 if placement == "start" else (room.length - slack - size) // alignment * alignment
    return room, start


def run(
    header: dict[str, Any], code: MappedCode, pieces: list[tuple[np.ndarray, np.ndarray | None]], placement: str
) -> tuple[str, list[np.ndarray]]:
    """Runs the kernel with its buffers placed one way; returns what was wrong, or "", and what was written."""
    random = np.random.default_rng(len(pieces) + 1)
    rooms, before, starts, may = [], [], [], []
    for (memory, written), specification in zip(pieces, header["buffers"], strict=True):
        room, start = place(memory.size, specification, placement)
        fill = 0xFF if placement == "end" else random.integers(0, 256, room.length, dtype=np.uint8)
        room.bytes[:] = fill
        inside = room.bytes[start : start + memory.size]
        writable = np.zeros(room.length, bool)
        if specification["scratch"]:
            writable[start : start + memory.size] = True
        elif written is None:
            inside[:] = memory
        else:
            writable[start : start + memory.size] = written
            keep = ~written if specification["poison"] else slice(None)
            inside[keep] = memory[keep]
        rooms.append(room)
        starts.append(start)
        may.append(writable)
        before.append(room.bytes.copy())
    problem = call(header, code, rooms, starts, [memory.size for memory, _ in pieces], placement)
    for index, (room, start, was, writable) in enumerate(zip(rooms, starts, before, may, strict=True)):
        changed = np.flatnonzero((room.bytes != was) & ~writable)
        if changed.size and not problem:
            first, last = int(changed[0]) - start, int(changed[-1]) - start
            problem = (
                f"wrote what it may not: {changed.size} bytes between byte {first} and {last} of buffer {index}, "
                f"which has {pieces[index][0].size} bytes"
            )
    outputs = [
        room.bytes[start : start + memory.size].copy()
        for room, start, (memory, written) in zip(rooms, starts, pieces, strict=True)
        if written is not None
    ]
    return (f"{problem} (buffers flush with the {placement})" if problem else ""), outputs


def call(
    header: dict[str, Any], code: MappedCode, rooms: list[Room], starts: list[int], sizes: list[int], placement: str
) -> str:
    """Calls the kernel with each record; returns what it did not keep, or ""."""
    places = [room.address + start for room, start in zip(rooms, starts, strict=True)]
    records = []
    for words in header["records"]:
        record = Room(8 * len(words) or 8)
        numbers = [places[word[1]] + word[2] if word[0] == "buffer" else word[1] for word in words]
        at = record.length - 8 * len(numbers) if placement == "end" else 0
        record.bytes[at : at + 8 * len(numbers)] = np.frombuffer(
            b"".join((number % (1 << 64)).to_bytes(8, "little") for number in numbers), np.uint8
        )
        if libc.mprotect(record.address, record.length, mmap.PROT_READ):
            raise OSError(ctypes.get_errno(), "mprotect")
        records.append((record, at))
    placed = [[start, size] for start, size in zip(places, sizes, strict=True)]
    send({"buffers": placed, "code": code.address, "placement": placement})
    check = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)(code.address_of(header["check"]))
    state = np.zeros(STATE, np.uint8)
    control = np.zeros(1, np.uint16)
    for record, at in records:
        state[:] = 0
        state[72:76].view(np.uint32)[0] = CONTROL_WORD
        check(code.address_of(header["entry"]), record.address + at, state.ctypes.data)
        registers = state[:48].view(np.uint64)
        names = ("rbx", "rbp", "r12", "r13", "r14", "r15")
        lost = [n for n, got, put in zip(names, registers, SENTINELS, strict=True) if int(got) != put]
        if lost:
            return f"did not restore {', '.join(lost)}"
        after = int(state[48:52].view(np.uint32)[0]) & ~0x3F  # the low six bits only note what happened
        if after != CONTROL_WORD:
            return f"changed MXCSR from {CONTROL_WORD:#x} to {after:#x}"
        control[0] = state[52:54].view(np.uint16)[0]
        if control[0] != 0x37F:
            return f"changed the x87 control word to {int(control[0]):#x}"
        if int(state[56:64].view(np.uint64)[0]) & 0x400:
            return "left the direction flag set"
    return ""


def answer(header: dict[str, Any], data: memoryview) -> None:
    """Runs one request and sends what came of it."""
    lengths = iter(header["payload"])

    def take() -> memoryview:
        nonlocal data
        length = next(lengths)
        piece, data = data[:length], data[length:]
        return piece

    with map_code(take()) as code:
        watch(code.address_of(header["handler"]))
        pieces = []
        for specification in header["buffers"]:
            memory = np.frombuffer(take(), np.uint8)
            written = np.frombuffer(take(), np.uint8).astype(bool) if specification["masked"] else None
            pieces.append((memory, written))
        failure, outputs = run(header, code, pieces, "end")
        if not failure:
            failure, again = run(header, code, pieces, "start")
            for first, second, (_, written) in zip(
                outputs, again, [piece for piece in pieces if piece[1] is not None], strict=True
            ):
                assert written is not None
                if not failure and (first[written] != second[written]).any():
                    at = int(np.flatnonzero((first != second) & written)[0])
                    failure = (
                        f"gave two results: byte {at} of an output depends on where buffers lie, or on what they held"
                    )
        for signum in (signal.SIGSEGV, signal.SIGILL, signal.SIGFPE, signal.SIGBUS, signal.SIGTRAP):
            signal.signal(signum, signal.SIG_DFL)  # the handler goes with its blob
    send({"failure": failure, "outputs": [output.size for output in outputs]}, *outputs)


def watch(handler: int) -> None:
    """Lets the emitted handler report crashes."""
    action = Action(handler, b"", 4, None)  # 4: SA_SIGINFO
    for signum in (signal.SIGSEGV, signal.SIGILL, signal.SIGFPE, signal.SIGBUS, signal.SIGTRAP):
        if libc.sigaction(int(signum), ctypes.byref(action), None):
            raise OSError(ctypes.get_errno(), "sigaction")


def send(message: dict[str, Any], *arrays: np.ndarray) -> None:
    """Writes a message and the bytes behind it."""
    text = json.dumps(message).encode()
    data = memoryview(b"".join([struct.pack("<I", len(text)), text, *(array.tobytes() for array in arrays)]))
    while data:
        data = data[os.write(REPORT, data) :]


def main() -> None:
    """Serves until the other end is closed."""
    os.dup2(1, REPORT)
    os.dup2(2, 1)
    requests = sys.stdin.buffer
    while begin := requests.read(4):
        header = json.loads(requests.read(struct.unpack("<I", begin)[0]))
        answer(header, memoryview(requests.read(sum(header["payload"]))))


if __name__ == "__main__":
    main()
