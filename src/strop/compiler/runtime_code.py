"""The emitted code that every image carries: it walks the plan, keeps the thread team, and takes calls from Python.

    strop_call      a builtin of Python: model(inputs) -> dict of fresh arrays, model(inputs, outputs) -> None
    strop_run       the same for who has addresses already (ctypes): acquire a stream, execute, release it
    strop_worker    what a worker thread of a team runs: wait for a request, walk its part, wait again
    strop_walk      one thread's walk through its table of tasks
    strop_barrier   a task like any other: waits until every thread of the team is there
    strop_acquire, strop_release   take a free stream out of a pool, give it back
    strop_wake      count a word up and wake who sleeps on it
    strop_data      not code: the page that the loader makes writable, to put the program's address into

All of it works on the blocks of memory that `strop.loader.structs` describes. Whoever waits looks at a word for a
bounded time (looking costs a core, sleeping costs tens of microseconds), then lets the system put the thread to sleep
until the word changes (futex). Nobody sleeps while holding Python's lock.
"""

from __future__ import annotations

from typing import Final

from strop.compiler.emit import Function, Module, Value
from strop.compiler.isa.table import Isa
from strop.loader.structs import (
    API,
    CLOSED,
    DATA_BYTES,
    DONE,
    MASK_BYTES,
    NOT_STARTED,
    READ_FLAGS,
    WRITE_FLAGS,
    Buffer,
    Form,
    Pool,
    Program,
    Seat,
    Stream,
    Team,
    Walker,
)

_NULL: Final = Value("null", "ptr")
_ALL: Final = Value("2147483647", "i32")


def emit_runtime(isa: Isa) -> dict[str, str]:
    """Returns the runtime's objects as LLVM IR by name: code, and the page behind it.

    Example:
        >>> from strop.compiler.isa import get_isa
        >>> sorted(emit_runtime(get_isa("x86-64-v3")))
        ['strop_data', 'strop_runtime']
    """
    module = Module(isa)
    # In an object of its own, so that LLVM cannot know what it holds: at run time it is not the zeros of the file.
    module.add_global(f"@strop_data = external hidden constant [{DATA_BYTES} x i8], align {DATA_BYTES}")
    system = _System(module)
    _emit_wait(module, system)
    _emit_wake(module, system)
    _emit_barrier(module)
    _emit_walk(module, system)
    _emit_worker(module, system)
    _emit_acquire(module, system)
    _emit_release(module, system)
    _emit_execute(module, system)
    _emit_serve(module)
    _emit_run(module)
    _emit_views(module)
    _emit_fresh(module)
    _emit_overlap(module)
    _emit_drop(module)
    _emit_call(module)
    data = Module(isa)
    data.add_global(f"@strop_data = constant [{DATA_BYTES} x i8] zeroinitializer, align {DATA_BYTES}")
    return {"strop_runtime": module.text(), "strop_data": data.text()}


class _System:
    """What differs between architectures: pausing, the clock's ticks, sleeping on a word, the floating-point mode."""

    def __init__(self, module: Module) -> None:
        self.is_x86 = module.isa.is_x86

    def pause(self, f: Function) -> None:
        """Tells the core that this is a waiting loop."""
        if self.is_x86:
            f.call("void", "llvm.x86.sse2.pause")
        else:
            f.call("void", "llvm.aarch64.hint", Value("1", "i32"))

    def ticks(self, f: Function) -> Value:
        """Reads the clock that costs least."""
        return f.call("i64", "llvm.readcyclecounter" if self.is_x86 else "llvm.readsteadycounter")

    def sleep(self, f: Function, word: Value, expected: Value) -> None:
        """Sleeps until woken, if the word (i32) still holds what is expected; may return for no reason."""
        if self.is_x86:
            self._futex(f, word, 128, expected)  # FUTEX_WAIT_PRIVATE
        else:
            self.pause(f)  # so there are no teams there yet: the loader runs one thread

    def wake(self, f: Function, word: Value, count: Value) -> None:
        """Wakes up to `count` who sleep on the word."""
        if self.is_x86:
            self._futex(f, word, 129, count)  # FUTEX_WAKE_PRIVATE

    def _futex(self, f: Function, word: Value, operation: int, value: Value) -> None:
        text = '"syscall", "={rax},{rax},{rdi},{rsi},{rdx},{r10},~{rcx},~{r11},~{memory}"'
        f.op(
            "i64",
            f"call i64 asm sideeffect {text}"
            f"(i64 202, ptr {word.text}, i64 {operation}, {value.type} {value.text}, i64 0)",
        )

    def core(self, f: Function) -> Value | None:
        """Reads the number of the core this runs on; None where that takes a call of the system."""
        if not self.is_x86:
            return None
        text = 'call { i64, i64, i64 } asm sideeffect "rdtscp", "={rax},={rdx},={rcx},~{memory}"()'
        three = f.op("{ i64, i64, i64 }", text)
        known = f.op("i64", f"extractvalue {{ i64, i64, i64 }} {three.text}, 2")
        return f.binary("and", known, Value("1023", "i64"))  # Linux puts the node's number above the core's

    def keep_off(self, f: Function, seat: Value, core: Value) -> None:
        """Asks the system to run this thread on another core that its seat allows; in vain where there is none."""
        for word in range(0, MASK_BYTES, 8):
            f.store(f.load("i64", seat, Seat.ALLOWED + word, align=8), seat, Seat.CHOSEN + word, align=8)
        chosen = f.offset(seat, Seat.CHOSEN)
        place = f.offset(chosen, f.binary("lshr", core, Value("3", "i64")))
        bit = f.convert("trunc", f.binary("and", core, Value("7", "i64")), "i8")
        others = f.binary("xor", f.binary("shl", Value("1", "i8"), bit), Value("-1", "i8"))
        f.store(f.binary("and", f.load("i8", place), others), place)
        text = '"syscall", "={rax},{rax},{rdi},{rsi},{rdx},~{rcx},~{r11},~{memory}"'
        f.op("i64", f"call i64 asm sideeffect {text}(i64 203, i64 0, i64 {MASK_BYTES}, ptr {chosen.text})")

    def set_mode(self, f: Function, control: Value) -> None:
        """Sets the whole floating-point control word."""
        if self.is_x86:
            place = f.op("ptr", "alloca i32")
            f.store(control, place, align=4)
            f.call("void", "llvm.x86.sse.ldmxcsr", place)
        else:
            f.call("void", "llvm.aarch64.set.fpcr", f.convert("zext", control, "i64"))

    def mode(self, f: Function) -> Value:
        """Reads the floating-point control word."""
        if self.is_x86:
            place = f.op("ptr", "alloca i32")
            f.call("void", "llvm.x86.sse.stmxcsr", place)
            return f.load("i32", place, align=4)
        return f.convert("trunc", f.call("i64", "llvm.aarch64.get.fpcr"), "i32")


# -- waiting


def _emit_wait(module: Module, system: _System) -> None:
    """strop_wait(word, old, sleepers, ticks): returns when the word is no longer `old`."""
    f = module.function("strop_wait", ["ptr", "i32", "ptr", "i64"], internal=True)
    word, old, sleepers, limit = f.arguments
    start = system.ticks(f)
    f.jump("look")
    f.label("look")
    f.branch(f.compare("ne", _atomic_load(f, word), old), "gone", "spin")
    f.label("spin")
    system.pause(f)
    spent = f.binary("sub", system.ticks(f), start)
    f.branch(f.compare("ult", spent, limit), "look", "tired")
    f.label("tired")
    _atomic_add(f, sleepers, 1)
    f.jump("check")
    f.label("check")  # whoever changes the word looks for sleepers afterwards, so none is missed
    f.branch(f.compare("ne", _atomic_load(f, word), old), "awake", "sleep")
    f.label("sleep")
    system.sleep(f, word, old)
    f.jump("check")
    f.label("awake")
    _atomic_add(f, sleepers, -1)
    f.ret()
    f.label("gone")
    f.ret()


def _emit_wake(module: Module, system: _System) -> None:
    """strop_wake(word, sleepers): counts the word (i32) up by one and wakes who sleeps on it."""
    f = module.function("strop_wake", ["ptr", "ptr"])
    word, sleepers = f.arguments
    _atomic_add(f, word, 1)
    f.when(f.compare("ne", _atomic_load(f, sleepers), Value("0", "i32")), lambda: system.wake(f, word, _ALL))
    f.ret()


def _emit_barrier(module: Module) -> None:
    """strop_barrier(record): word 0 is the team. The last to come lets all go on; phase tells round from round."""
    f = module.function("strop_barrier", ["ptr"])
    team = f.load("ptr", f.arguments[0])
    arrived, phase = f.offset(team, Team.ARRIVED), f.offset(team, Team.PHASE)
    waiting = f.offset(team, Team.WAITING)
    now = _atomic_load(f, phase)  # before arriving: it cannot change until this thread has come
    before = _atomic_add(f, arrived, 1)
    others = f.binary("sub", f.load("i32", team, Team.THREADS, align=8), Value("1", "i32"))
    f.branch(f.compare("eq", before, others), "last", "wait")
    f.label("last")
    f.line(f"store atomic i32 0, ptr {arrived.text} monotonic, align 4")
    f.call("void", "strop_wake", phase, waiting)
    f.ret()
    f.label("wait")
    f.call("void", "strop_wait", phase, now, waiting, f.load("i64", team, Team.BARRIER_TICKS, align=8))
    f.ret()


# -- the plan


def _emit_walk(module: Module, system: _System) -> None:
    """strop_walk(walker): fills in this request's addresses, then runs one task after the other."""
    f = module.function("strop_walk", ["ptr"])
    walker = f.arguments[0]
    cursor, moment = f.op("ptr", "alloca ptr"), f.op("ptr", "alloca ptr")
    pointers = f.load("ptr", f.load("ptr", walker, Walker.STREAM), Stream.POINTERS)
    patches = f.load("ptr", walker, Walker.PATCHES)
    times = f.load("ptr", walker, Walker.TIMES)
    f.store(f.load("ptr", walker, Walker.TABLE), cursor)
    f.store(times, moment)

    def patch(index: int | Value, _: list[Value]) -> None:
        entry = f.offset(patches, f.mul(index, 24))
        start = f.load("ptr", f.offset(pointers, f.mul(f.load("i64", entry, 8), 8)))
        f.store(f.offset(start, f.load("i64", entry, 16)), f.load("ptr", entry))

    f.loop(f.load("i64", walker, Walker.PATCH_COUNT), patch, may_be_empty=True)
    f.jump("clock")
    f.label("clock")
    f.branch(f.compare("eq", times, _NULL), "next", "note")
    f.label("note")
    place = f.load("ptr", moment)
    f.store(system.ticks(f), place)
    f.store(f.offset(place, 8), moment)
    f.jump("next")
    f.label("next")
    entry = f.load("ptr", cursor)
    function = f.load("ptr", entry)
    f.branch(f.compare("eq", function, _NULL), "end", "run")
    f.label("run")
    f.line(f"store volatile i64 {f.load('i64', entry, 16).text}, ptr {f.offset(walker, Walker.CURRENT).text}, align 8")
    f.line(f"call void {function.text}(ptr {f.offset(entry, 24).text})")
    f.store(f.offset(entry, f.load("i64", entry, 8)), cursor)
    f.jump("clock")
    f.label("end")
    f.line(f"store volatile i64 0, ptr {f.offset(walker, Walker.CURRENT).text}, align 8")
    f.ret()


def _emit_worker(module: Module, system: _System) -> None:
    """strop_worker(seat) -> null: serves requests until the team stops."""
    f = module.function("strop_worker", ["ptr"], "ptr")
    seat = f.arguments[0]
    team = f.load("ptr", seat, Seat.TEAM)
    number = f.load("i64", seat, Seat.NUMBER)
    generation, sleepers = f.offset(team, Team.GENERATION), f.offset(team, Team.SLEEPERS)
    ticks = f.load("i64", team, Team.IDLE_TICKS)
    seen = f.op("ptr", "alloca i32")
    f.store(f.load("i32", seat, Seat.SEEN, align=8), seen, align=4)
    f.jump("wait")
    f.label("wait")
    f.call("void", "strop_wait", generation, f.load("i32", seen, align=4), sleepers, ticks)
    # The next request cannot come before this thread has met the others at the end of this one.
    f.store(_atomic_load(f, generation), seen, align=4)
    f.branch(f.compare("ne", f.load("i64", team, Team.STOP), Value("0", "i64")), "stop", "serve")
    f.label("serve")
    stream = f.load("ptr", team, Team.JOB)
    core = system.core(f)
    if core is not None:
        # The system may wake a thread on its waker's core, and leave both there, taking turns while another core idles.
        f.when(f.compare("eq", core, f.load("i64", team, Team.CORE)), lambda: system.keep_off(f, seat, core))
    f.call("void", "strop_set_mode", f.load("i32", stream, Stream.CONTROL, align=8))
    walkers = f.load("ptr", stream, Stream.WALKERS)
    f.call("void", "strop_walk", f.offset(walkers, f.mul(number, Walker.SIZE)))
    f.call("void", "strop_barrier", seat)  # whose first word is the team, as in a barrier's record
    f.jump("wait")
    f.label("stop")
    f.ret(_NULL)
    set_mode = module.function("strop_set_mode", ["i32"], internal=True)
    system.set_mode(set_mode, set_mode.arguments[0])
    set_mode.ret()


def _emit_execute(module: Module, system: _System) -> None:
    """strop_execute(stream, pointers): serves one request, as thread 0 of the stream's team."""
    f = module.function("strop_execute", ["ptr", "ptr"], internal=True)
    stream, pointers = f.arguments
    saved = system.mode(f)
    f.call("void", "strop_set_mode", f.load("i32", stream, Stream.CONTROL, align=8))
    f.store(pointers, stream, Stream.POINTERS)
    team = f.load("ptr", stream, Stream.TEAM)

    def start_the_others() -> None:
        core = system.core(f)
        if core is not None:
            f.store(core, team, Team.CORE)
        f.store(stream, team, Team.JOB)
        f.call("void", "strop_wake", f.offset(team, Team.GENERATION), f.offset(team, Team.SLEEPERS))

    def wait_for_the_others() -> None:
        f.call("void", "strop_barrier", f.offset(stream, Stream.TEAM))
        f.store(system.ticks(f), walker, Walker.ENDED)

    has_others = f.compare("ugt", f.load("i64", team, Team.THREADS), Value("1", "i64"))
    walker = f.load("ptr", stream, Stream.WALKERS)
    f.when(has_others, start_the_others)
    f.call("void", "strop_walk", walker)
    f.when(has_others, wait_for_the_others)
    f.call("void", "strop_set_mode", saved)
    f.ret()


# -- streams


def _emit_acquire(module: Module, system: _System) -> None:
    """strop_acquire(pool, streams, wait) -> the number of a free stream among those bits; -1: none, and not to wait."""
    f = module.function("strop_acquire", ["ptr", "i64", "i64"], "i64")
    pool, wanted, wait = f.arguments
    free, event, waiters = pool, f.offset(pool, Pool.EVENT), f.offset(pool, Pool.WAITERS)
    zero = Value("0", "i64")
    f.jump("try")
    f.label("try")
    now = _atomic_load(f, free, "i64")
    some = f.binary("and", now, wanted)
    f.branch(f.compare("eq", some, zero), "none", "take")
    f.label("take")
    number = f.op("i64", f"call i64 @llvm.cttz.i64(i64 {some.text}, i1 true)")
    module.declare("llvm.cttz.i64", ["i64", "i1"], "i64")
    bit = f.binary("shl", Value("1", "i64"), number)
    rest = f.binary("xor", now, bit)
    pair = f.op(
        "{ i64, i1 }",
        f"cmpxchg ptr {free.text}, i64 {now.text}, i64 {rest.text} seq_cst seq_cst, align 8",
    )
    f.branch(f.op("i1", f"extractvalue {{ i64, i1 }} {pair.text}, 1"), "mine", "try")
    f.label("mine")
    f.ret(number)
    f.label("none")
    f.branch(f.compare("eq", wait, zero), "leave", "wait")
    f.label("leave")
    f.ret(Value("-1", "i64"))
    f.label("wait")
    _atomic_add(f, waiters, 1)
    count = _atomic_load(f, event)
    again = f.binary("and", _atomic_load(f, free, "i64"), wanted)
    f.branch(f.compare("eq", again, zero), "sleep", "up")
    f.label("sleep")
    system.sleep(f, event, count)
    f.jump("up")
    f.label("up")
    _atomic_add(f, waiters, -1)
    f.jump("try")


def _emit_release(module: Module, system: _System) -> None:
    """strop_release(pool, number): gives a stream back; who waits for any stream looks again."""
    f = module.function("strop_release", ["ptr", "i64"])
    pool, number = f.arguments
    bit = f.binary("shl", Value("1", "i64"), number)
    f.op("i64", f"atomicrmw or ptr {pool.text}, i64 {bit.text} seq_cst, align 8")

    def tell() -> None:
        event = f.offset(pool, Pool.EVENT)
        _atomic_add(f, event, 1)
        system.wake(f, event, _ALL)  # all: those who wait may want different streams

    f.when(f.compare("ne", _atomic_load(f, f.offset(pool, Pool.WAITERS)), Value("0", "i32")), tell)
    f.ret()


def _emit_serve(module: Module) -> None:
    """strop_serve(program, number, pointers) -> DONE, NOT_STARTED or CLOSED; the caller holds the stream."""
    f = module.function("strop_serve", ["ptr", "i64", "ptr"], "i64", internal=True)
    program, number, pointers = f.arguments
    is_open = f.op("i64", f"load volatile i64, ptr {f.offset(program, Program.OPEN).text}, align 8")
    f.branch(f.compare("eq", is_open, Value("0", "i64")), "closed", "open")
    f.label("closed")
    f.ret(Value(str(CLOSED), "i64"))
    f.label("open")
    stream = f.load("ptr", f.offset(f.load("ptr", program, Program.STREAMS), f.mul(number, 8)))
    started = f.load("i64", f.load("ptr", stream, Stream.TEAM), Team.STARTED)
    f.branch(f.compare("eq", started, Value("0", "i64")), "idle", "go")
    f.label("idle")
    f.ret(Value(str(NOT_STARTED), "i64"))
    f.label("go")
    f.call("void", "strop_execute", stream, pointers)
    f.ret(Value(str(DONE), "i64"))


def _emit_run(module: Module) -> None:
    """strop_run(program, pointers, streams) -> DONE, NOT_STARTED or CLOSED; waits for a free one of those streams."""
    f = module.function("strop_run", ["ptr", "ptr", "i64"], "i64")
    program, pointers, streams = f.arguments
    pool = f.load("ptr", program, Program.POOL)
    number = f.call("i64", "strop_acquire", pool, streams, Value("1", "i64"))
    status = f.call("i64", "strop_serve", program, number, pointers)
    f.call("void", "strop_release", pool, number)
    f.ret(status)


# -- the call from Python


def _emit_views(module: Module) -> None:
    """strop_views(program, source, is_dict, forms, count, views, pointers, flags) -> how many views were taken.

    All fit; or some did not, and it returns -1 - how many are to be released.
    """
    f = module.function("strop_views", ["ptr", "ptr", "i1", "ptr", "i64", "ptr", "ptr", "i32"], "i64", internal=True)
    program, source, is_dict, forms, count, views, pointers, flags = f.arguments
    taken, item = f.op("ptr", "alloca i64"), f.op("ptr", "alloca ptr")
    f.store(Value("0", "i64"), taken)
    f.jump("next")
    f.label("next")
    index = f.load("i64", taken)
    form = f.offset(forms, f.mul(index, Form.SIZE))
    view = f.offset(views, f.mul(index, Buffer.SIZE))
    f.branch(f.compare("eq", index, count), "all", "look")
    f.label("all")
    f.ret(index)
    f.label("look")
    f.store(source, item)
    f.branch(is_dict, "named", "have")
    f.label("named")
    found = _api(f, program, "PyDict_GetItemWithError", "ptr", source, f.load("ptr", form, Form.NAME))
    f.store(found, item)
    f.branch(f.compare("eq", found, _NULL), "misfit", "have")
    f.label("have")
    failed = _api(f, program, "PyObject_GetBuffer", "i32", f.load("ptr", item), view, flags)
    f.branch(f.compare("ne", failed, Value("0", "i32")), "misfit", "view")
    f.label("view")
    f.store(f.op("i64", f"add i64 {index.text}, 1"), taken)
    letters = f.load("ptr", view, Buffer.FORMAT)
    f.branch(f.compare("eq", letters, _NULL), "misfit", "lettered")
    f.label("lettered")
    letter = f.convert("zext", f.load("i16", letters), "i32")  # with the zero behind it: exactly one letter
    same = f.compare("eq", letter, f.load("i32", form, Form.FORMAT, align=8))
    axes = f.convert("zext", f.load("i32", view, Buffer.AXES), "i64")
    same = f.binary("and", same, f.compare("eq", axes, f.load("i64", form, Form.AXES)))
    same = f.binary("and", same, f.compare("eq", f.load("i64", view, Buffer.LENGTH), f.load("i64", form, Form.BYTES)))
    f.branch(same, "sizes", "misfit")
    f.label("sizes")
    have, want = f.load("ptr", view, Buffer.SIZES), f.load("ptr", form, Form.SIZES)

    def differ(axis: int | Value, carried: list[Value]) -> list[Value]:
        by = f.mul(axis, 8)
        difference = f.binary("xor", f.load("i64", f.offset(have, by)), f.load("i64", f.offset(want, by)))
        return [f.binary("or", carried[0], difference)]

    (difference,) = f.loop(axes, differ, [Value("0", "i64")], may_be_empty=True)
    f.branch(f.compare("eq", difference, Value("0", "i64")), "fits", "misfit")
    f.label("fits")
    f.store(f.load("ptr", view, Buffer.START), f.offset(pointers, f.mul(index, 8)))
    f.jump("next")
    f.label("misfit")
    f.ret(f.binary("sub", Value("-1", "i64"), f.load("i64", taken)))


def _emit_fresh(module: Module) -> None:
    """strop_fresh(program, forms, views, pointers, dict) -> as strop_views, of new arrays, put into the dict."""
    f = module.function("strop_fresh", ["ptr", "ptr", "ptr", "ptr", "ptr"], "i64", internal=True)
    program, forms, views, pointers, result = f.arguments
    count = f.load("i64", program, Program.OUTPUTS)
    empty = f.load("ptr", program, Program.EMPTY)
    taken = f.op("ptr", "alloca i64")
    f.store(Value("0", "i64"), taken)
    f.jump("next")
    f.label("next")
    index = f.load("i64", taken)
    form = f.offset(forms, f.mul(index, Form.SIZE))
    view = f.offset(views, f.mul(index, Buffer.SIZE))
    f.branch(f.compare("eq", index, count), "all", "make")
    f.label("all")
    f.ret(index)
    f.label("make")
    array = _api(f, program, "PyObject_Call", "ptr", empty, f.load("ptr", form, Form.ARGUMENTS), _NULL)
    f.branch(f.compare("eq", array, _NULL), "failed", "made")
    f.label("made")
    kept = _api(f, program, "PyDict_SetItem", "i32", result, f.load("ptr", form, Form.NAME), array)
    refused = _api(f, program, "PyObject_GetBuffer", "i32", array, view, Value(str(WRITE_FLAGS), "i32"))
    _api(f, program, "Py_DecRef", "void", array)
    f.branch(f.compare("ne", refused, Value("0", "i32")), "failed", "viewed")
    f.label("viewed")
    f.store(f.load("ptr", view, Buffer.START), f.offset(pointers, f.mul(index, 8)))
    f.store(f.op("i64", f"add i64 {index.text}, 1"), taken)
    f.branch(f.compare("ne", kept, Value("0", "i32")), "failed", "next")
    f.label("failed")
    f.ret(f.binary("sub", Value("-1", "i64"), f.load("i64", taken)))


def _emit_overlap(module: Module) -> None:
    """strop_overlap(views, inputs, total) -> 1 where an output shares memory with an input or another output."""
    f = module.function("strop_overlap", ["ptr", "i64", "i64"], "i64", internal=True)
    views, inputs, total = f.arguments
    zero = Value("0", "i64")

    def ends(index: int | Value) -> tuple[Value, Value]:
        view = f.offset(views, f.mul(index, Buffer.SIZE))
        start = f.load("i64", view, Buffer.START)
        return start, f.binary("add", start, f.load("i64", view, Buffer.LENGTH))

    def output(index: int | Value, carried: list[Value]) -> list[Value]:
        place = f.add(inputs, index)
        start, end = ends(place)

        def other(before: int | Value, inner: list[Value]) -> list[Value]:
            first, last = ends(before)
            meet = f.binary("and", f.compare("ult", start, last), f.compare("ult", first, end))
            return [f.binary("or", inner[0], f.convert("zext", meet, "i64"))]

        return f.loop(place, other, carried, may_be_empty=True)

    (shared,) = f.loop(f.sub(total, inputs), output, [zero], may_be_empty=True)
    f.ret(shared)


def _emit_drop(module: Module) -> None:
    """strop_drop(program, views, count): releases the first `count` views."""
    f = module.function("strop_drop", ["ptr", "ptr", "i64"], internal=True)
    program, views, count = f.arguments

    def drop(index: int | Value, _: list[Value]) -> None:
        _api(f, program, "PyBuffer_Release", "void", f.offset(views, f.mul(index, Buffer.SIZE)))

    f.loop(count, drop, may_be_empty=True)
    f.ret()


def _emit_call(module: Module) -> None:
    """strop_call(self, arguments, count) -> a new reference: Python's METH_FASTCALL.

    One argument (inputs): a dict, or the only input's array; two (inputs, outputs): dicts. Whatever does not fit
    exactly is handed to the slow way, written in Python, which converts it or says what is wrong.
    """
    f = module.function("strop_call", ["ptr", "ptr", "i64"], "ptr")
    arguments, count = f.arguments[1:]
    zero, null_view = Value("0", "i64"), Value("-1", "i64")
    held, result, lock = f.op("ptr", "alloca i64"), f.op("ptr", "alloca ptr"), f.op("ptr", "alloca ptr")
    f.store(zero, held)
    f.store(_NULL, result)
    f.store(_NULL, lock)
    program = f.op("ptr", "load volatile ptr, ptr @strop_data, align 8")
    inputs, outputs = f.load("i64", program, Program.INPUTS), f.load("i64", program, Program.OUTPUTS)
    total = f.binary("add", inputs, outputs)
    views = f.op("ptr", f"alloca [{Buffer.SIZE} x i8], i64 {total.text}, align 16")
    pointers = f.op("ptr", f"alloca i64, i64 {total.text}, align 16")
    forms, dictionary = f.load("ptr", program, Program.FORMS), f.load("ptr", program, Program.DICT_TYPE)
    pool = f.load("ptr", program, Program.POOL)
    has_outputs = f.compare("eq", count, Value("2", "i64"))
    f.branch(f.binary("or", has_outputs, f.compare("eq", count, Value("1", "i64"))), "source", "slow")

    def is_dict(thing: Value) -> Value:
        kind = _api(f, program, "PyObject_Type", "ptr", thing)
        _api(f, program, "Py_DecRef", "void", kind)
        return f.compare("eq", kind, dictionary)

    f.label("source")
    source = f.load("ptr", arguments)
    named = is_dict(source)
    f.branch(named, "count_inputs", "one_input")
    f.label("count_inputs")
    size = _api(f, program, "PyDict_Size", "i64", source)
    f.branch(f.compare("eq", size, inputs), "inputs", "slow")
    f.label("one_input")
    f.branch(f.compare("eq", inputs, Value("1", "i64")), "inputs", "slow")
    f.label("inputs")
    flags = Value(str(READ_FLAGS), "i32")
    taken = f.call("i64", "strop_views", program, source, named, forms, inputs, views, pointers, flags)
    f.branch(f.compare("slt", taken, zero), "inputs_misfit", "inputs_fit")
    f.label("inputs_misfit")
    f.store(f.binary("sub", null_view, taken), held)
    f.jump("slow")
    f.label("inputs_fit")
    f.store(taken, held)
    output_forms = f.offset(forms, f.mul(inputs, Form.SIZE))
    output_views = f.offset(views, f.mul(inputs, Buffer.SIZE))
    output_pointers = f.offset(pointers, f.mul(inputs, 8))
    f.branch(has_outputs, "target", "fresh")

    f.label("fresh")
    new = _api(f, program, "PyDict_New", "ptr")
    f.store(new, result)
    f.branch(f.compare("eq", new, _NULL), "error", "arrays")
    f.label("arrays")
    made = f.call("i64", "strop_fresh", program, output_forms, output_views, output_pointers, new)
    f.branch(f.compare("slt", made, zero), "arrays_failed", "arrays_made")
    f.label("arrays_failed")
    f.store(f.binary("add", inputs, f.binary("sub", null_view, made)), held)
    f.jump("error")
    f.label("arrays_made")
    f.store(total, held)
    f.jump("go")

    f.label("target")
    target = f.load("ptr", arguments, 8)
    f.branch(is_dict(target), "count_outputs", "slow")
    f.label("count_outputs")
    size = _api(f, program, "PyDict_Size", "i64", target)
    f.branch(f.compare("eq", size, outputs), "outputs", "slow")
    f.label("outputs")
    true, flags = Value("true", "i1"), Value(str(WRITE_FLAGS), "i32")
    into = f.call(
        "i64", "strop_views", program, target, true, output_forms, outputs, output_views, output_pointers, flags
    )
    f.branch(f.compare("slt", into, zero), "outputs_misfit", "outputs_fit")
    f.label("outputs_misfit")
    f.store(f.binary("add", inputs, f.binary("sub", null_view, into)), held)
    f.jump("slow")
    f.label("outputs_fit")
    f.store(total, held)
    shared = f.call("i64", "strop_overlap", views, inputs, total)
    f.branch(f.compare("eq", shared, zero), "go", "slow")

    f.label("go")
    f.branch(f.compare("eq", f.load("i64", program, Program.RELEASES), zero), "try", "unlock")
    f.label("try")
    every = Value("-1", "i64")
    at_once = f.call("i64", "strop_acquire", pool, every, zero)
    f.branch(f.compare("slt", at_once, zero), "unlock", "serve")
    f.label("unlock")  # somebody may be about to run, or to give the stream back, with Python's lock
    f.store(_api(f, program, "PyEval_SaveThread", "ptr"), lock)
    waited = f.call("i64", "strop_acquire", pool, every, Value("1", "i64"))
    status_unlocked = f.call("i64", "strop_serve", program, waited, pointers)
    # The stream first: a daemon thread that wants the lock while Python ends never gets it.
    f.call("void", "strop_release", pool, waited)
    _api(f, program, "PyEval_RestoreThread", "void", f.load("ptr", lock))
    f.branch(f.compare("eq", status_unlocked, Value(str(DONE), "i64")), "done", "slow")
    f.label("serve")
    status = f.call("i64", "strop_serve", program, at_once, pointers)
    f.call("void", "strop_release", pool, at_once)
    f.branch(f.compare("eq", status, Value(str(DONE), "i64")), "done", "slow")

    f.label("done")
    f.call("void", "strop_drop", program, views, f.load("i64", held))
    f.branch(has_outputs, "nothing", "something")
    f.label("something")
    f.ret(f.load("ptr", result))
    f.label("nothing")
    none = f.load("ptr", program, Program.NONE)
    _api(f, program, "Py_IncRef", "void", none)
    f.ret(none)

    f.label("slow")
    f.call("void", "strop_drop", program, views, f.load("i64", held))
    _api(f, program, "Py_DecRef", "void", f.load("ptr", result))  # which takes NULL
    _api(f, program, "PyErr_Clear", "void")
    slow = f.load("ptr", program, Program.SLOW)
    f.ret(_api(f, program, "PyObject_Vectorcall", "ptr", slow, arguments, count, _NULL))
    f.label("error")
    f.call("void", "strop_drop", program, views, f.load("i64", held))
    _api(f, program, "Py_DecRef", "void", f.load("ptr", result))
    f.ret(_NULL)


def _api(f: Function, program: Value, name: str, result: str, *arguments: Value) -> Value:
    """Calls a function of Python's C API."""
    function = f.load("ptr", program, Program.API + 8 * API.index(name))
    text = f"call {result} {function.text}({', '.join(f'{a.type} {a.text}' for a in arguments)})"
    if result == "void":
        f.line(text)
        return Value("", "void")
    return f.op(result, text)


def _atomic_load(f: Function, word: Value, kind: str = "i32") -> Value:
    return f.op(kind, f"load atomic {kind}, ptr {word.text} seq_cst, align {4 if kind == 'i32' else 8}")


def _atomic_add(f: Function, word: Value, by: int) -> Value:
    """Adds to an i32 and returns what it was."""
    return f.op("i32", f"atomicrmw add ptr {word.text}, i32 {by} seq_cst, align 4")
