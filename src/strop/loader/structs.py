"""The words that emitted code and the loader share: byte offsets in blocks of memory that the loader owns.

Every word has eight bytes unless said otherwise; "i32" words are what the system lets threads sleep on. Words that
different threads write lie on different cache lines. A change here is a change of VERSION: code in old images would
read other words.

    pool       which streams are free; a program with one thread has one to itself, programs with teams share theirs
    team       one a stream: its threads, the request they serve, and the barrier they meet at
    seat       one a worker thread: which team, which number
    program    what a call needs: how inputs and outputs look, Python's functions, the streams
    stream     one request's state: where its inputs and outputs lie, its walkers
    walker     one thread of a stream: its table of tasks
    form       one input or output
"""

from __future__ import annotations

from typing import Final

VERSION: Final = 2

LINE: Final = 64


class Pool:
    """free: a bit a stream; event: i32, counts what was given back while somebody waited; waiters: i32."""

    FREE: Final = 0
    EVENT: Final = LINE
    WAITERS: Final = 2 * LINE
    SIZE: Final = 3 * LINE


class Team:
    """What a team's threads share.

    generation: i32, counts requests; job: the stream to walk; stop: whether to end; core: where the caller of this
    request runs; sleepers: i32, idle workers that
    sleep; arrived, phase, waiting: i32, the barrier: who is there, how often it opened, who sleeps before it; threads:
    with the caller's; idle_ticks, barrier_ticks: how long to look before sleeping; started: whether there are workers.
    """

    GENERATION: Final = 0
    JOB: Final = 8
    STOP: Final = 16
    CORE: Final = 24
    SLEEPERS: Final = LINE
    ARRIVED: Final = 2 * LINE
    PHASE: Final = 3 * LINE
    WAITING: Final = 4 * LINE
    THREADS: Final = 5 * LINE
    IDLE_TICKS: Final = 5 * LINE + 8
    BARRIER_TICKS: Final = 5 * LINE + 16
    STARTED: Final = 5 * LINE + 24
    SIZE: Final = 6 * LINE


class Seat:
    """team; number: 1 ... threads - 1; seen: i32, the team's generation when the thread was made.

    allowed: a bit a core that the thread may run on, MASK_BYTES of them; chosen: as many, those it asks the system for.
    """

    TEAM: Final = 0
    NUMBER: Final = 8
    SEEN: Final = 16
    ALLOWED: Final = LINE
    CHOSEN: Final = LINE + 128
    SIZE: Final = LINE + 256


MASK_BYTES: Final = 128


class Program:
    """pool; streams: the first of its stream pointers; open: whether it may be called; releases: Python's lock or not.

    inputs, outputs: how many; forms: theirs, in that order. The rest are Python objects (empty: numpy's, slow: who is
    called where the quick way does not fit) and functions of Python's C API, in the order of API.
    """

    POOL: Final = 0
    STREAMS: Final = 8
    OPEN: Final = 16
    RELEASES: Final = 24
    INPUTS: Final = 32
    OUTPUTS: Final = 40
    FORMS: Final = 48
    DICT_TYPE: Final = 56
    NONE: Final = 64
    EMPTY: Final = 72
    SLOW: Final = 80
    API: Final = 88


API: Final = (
    "PyObject_GetBuffer",
    "PyBuffer_Release",
    "PyObject_Type",
    "PyObject_Call",
    "PyObject_Vectorcall",
    "PyDict_New",
    "PyDict_Size",
    "PyDict_SetItem",
    "PyDict_GetItemWithError",
    "PyErr_Clear",
    "PyEval_SaveThread",
    "PyEval_RestoreThread",
    "Py_IncRef",
    "Py_DecRef",
)
"""The functions of Python that a call uses; their addresses follow each other from Program.API on."""

PROGRAM_SIZE: Final = Program.API + 8 * len(API)


class Form:
    """name: a Python string; format: i32, the one letter that the buffer protocol has for the dtype; axes; bytes.

    sizes: the first of its dimensions; arguments: what numpy.empty is called with for a new one (a Python tuple).
    """

    NAME: Final = 0
    FORMAT: Final = 8
    AXES: Final = 16
    BYTES: Final = 24
    SIZES: Final = 32
    ARGUMENTS: Final = 40
    SIZE: Final = LINE


class Stream:
    """pointers: the first address of this request's inputs, then outputs; control: i32, the floating-point mode.

    team; walkers: the first of its walkers, which follow each other.
    """

    POINTERS: Final = 0
    CONTROL: Final = 8
    TEAM: Final = 16
    WALKERS: Final = 24
    SIZE: Final = LINE


class Walker:
    """stream; table: its entries; patches, patch_count: which words of it hold addresses of inputs and outputs.

    times: where to note the clock's ticks before the first task and after each, or 0; current: the number (from 1) of
    the plan's task that runs, 0 when none does: what a profiler or the reader of a crash dump asks for; ended: the
    ticks when thread 0 had met all others at the end.

    An entry is: the function, bytes to the next entry, the task's number, then the record it is called with; a zero
    ends the table. A patch is: the address of the word, which pointer, bytes to add.
    """

    STREAM: Final = 0
    TABLE: Final = 8
    PATCHES: Final = 16
    PATCH_COUNT: Final = 24
    TIMES: Final = 32
    CURRENT: Final = 40
    ENDED: Final = 48
    SIZE: Final = LINE


class Buffer:
    """Python's Py_buffer (fixed since Python 3.11), as far as it is looked at."""

    START: Final = 0
    LENGTH: Final = 16
    AXES: Final = 36  # i32
    FORMAT: Final = 40
    SIZES: Final = 48
    SIZE: Final = 80


RUNTIME: Final = (
    "strop_walk",
    "strop_barrier",
    "strop_worker",
    "strop_run",
    "strop_call",
    "strop_acquire",
    "strop_release",
    "strop_wake",
    "strop_data",
)
"""The functions that every image's code carries; strop_data is the page that the loader makes writable."""

DATA_BYTES: Final = 4096

READ_FLAGS: Final = 0x3C  # PyBUF_C_CONTIGUOUS | PyBUF_FORMAT
WRITE_FLAGS: Final = 0x3D  # ... | PyBUF_WRITABLE

DONE: Final = 0
NOT_STARTED: Final = 1
CLOSED: Final = 2
"""What `strop_run` returns."""
