"""Turns a plan into what threads walk: one table of resolved words for each thread of a stream."""

from __future__ import annotations

from strop.loader.memory import Words
from strop.loader.plan import Argument, Plan, Task
from strop.loader.record import Record
from strop.loader.structs import Walker


class Addresses(Record):
    """Where things lie for one thread of one stream; barrier: the runtime's function, team: what it is called with."""

    code: int
    arena: int
    weights: int
    workspace: int
    barrier: int
    team: int


class Entry(Record):
    """One call in a thread's table: of a task of the plan (by its number, from 1), or (0) of the barrier."""

    task: int
    begin: int = 0
    end: int = 0


class Table(Record):
    """A thread's table and its patches as words in memory, and what its entries are."""

    entries: tuple[Entry, ...]
    words: Words
    patches: Words
    patch_count: int


def divide(units: int, grain: int, thread: int, threads: int, alone: int = 0) -> tuple[int, int]:
    """Returns the range of units that a thread of a team runs; every bound but the last is a multiple of the grain.

    What cannot be divided is for thread `alone`, modulo the size of the team.

    Example:
        >>> [divide(100, 16, thread, 3) for thread in range(3)]
        [(0, 48), (48, 80), (80, 100)]
    """
    blocks = -(-units // grain)
    if blocks <= 1:
        end = units * (thread > alone % threads)
        return (0, units) if thread == alone % threads else (end, end)
    begin, end = (-(-blocks * place // threads) * grain for place in (thread, thread + 1))
    return min(begin, units), min(end, units)


def entries_of(plan: Plan, thread: int, threads: int) -> tuple[Entry, ...]:
    """Returns what a thread of a team of `threads` does, in order; all threads meet the same barriers.

    A barrier that nothing stands before since the last one is left out. That at the end is not in the tables: who has
    passed it must not touch the program's memory and code any more, which may go as soon as the request is served.
    """
    entries: list[Entry] = []
    pending = False  # whether any thread has run something since the last barrier
    for number, task in enumerate(plan.tasks, 1):
        if threads > 1 and task.wait and pending:
            entries.append(Entry(0))
            pending = False
        begin, end = divide(task.units, task.grain, thread, threads, task.thread) if threads > 1 else (0, task.units)
        if begin < end:
            entries.append(Entry(number, begin, end))
        pending = True
    return tuple(entries)


def is_divisible(plan: Plan) -> bool:
    """Whether a second thread would have anything to do."""
    return any(task.units > task.grain or task.thread for task in plan.tasks)


def build_table(plan: Plan, addresses: Addresses, thread: int, threads: int) -> Table:
    """Returns the table of one thread."""
    entries = entries_of(plan, thread, threads)
    words: list[int] = []
    patches: list[tuple[int, int, int]] = []  # place in the table, which pointer, bytes to add
    for entry in entries:
        if entry.task:
            task = plan.tasks[entry.task - 1]
            record = _record(plan, task, entry, addresses, patches, len(words) + 3)
            function = addresses.code + task.offset
        else:
            record, function = [addresses.team], addresses.barrier
        words += [function, 8 * (3 + len(record)), entry.task, *record]
    words.append(0)
    table, patched = Words(8 * len(words)), Words(24 * len(patches) + 8)
    table.put_all(0, words)
    patched.put_all(0, [word for place, which, by in patches for word in (table.address + 8 * place, which, by)])
    return Table(entries, table, patched, len(patches))


def fill_walker(walkers: Words, thread: int, stream: int, table: Table) -> None:
    """Points a thread's walker to its table."""
    at = thread * Walker.SIZE
    walkers.put(at + Walker.STREAM, stream)
    walkers.put(at + Walker.TABLE, table.words.address)
    walkers.put(at + Walker.PATCHES, table.patches.address)
    walkers.put(at + Walker.PATCH_COUNT, table.patch_count)


def _record(
    plan: Plan, task: Task, entry: Entry, addresses: Addresses, patches: list[tuple[int, int, int]], place: int
) -> list[int]:
    record = []
    for index, argument in enumerate(task.arguments):
        if argument.kind in ("input", "output"):
            which = argument.tensor + (len(plan.inputs) if argument.kind == "output" else 0)
            patches.append((place + index, which, argument.value))
        record.append(_word(argument, entry, addresses))
    return record


def _word(argument: Argument, entry: Entry, addresses: Addresses) -> int:
    match argument.kind:
        case "arena":
            return addresses.arena + argument.value
        case "weights":
            return addresses.weights + argument.value
        case "workspace":
            return addresses.workspace + argument.value
        case "begin":
            return entry.begin
        case "end":
            return entry.end
        case "number":
            return argument.value
    return 0  # inputs and outputs: filled in at every call
