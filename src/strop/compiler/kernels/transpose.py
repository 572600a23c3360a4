"""Transpositions of small blocks inside registers: rows of vectors in, columns of vectors out."""

from __future__ import annotations

from collections.abc import Sequence

from strop.compiler.emit import Function, Value, lanes_of


def transpose_square(f: Function, rows: Sequence[Value]) -> list[Value]:
    """Returns the transpose of n vectors of n lanes, n a power of two, in log2(n) rounds of n shuffles."""
    count = len(rows)
    values, step = list(rows), 1
    while step < count:
        upper = [lane if not lane & step else count + lane - step for lane in range(count)]
        lower = [lane + step if not lane & step else count + lane for lane in range(count)]
        for i in range(count):
            if not i & step:
                a, b = values[i], values[i + step]
                values[i], values[i + step] = f.shuffle(a, b, upper), f.shuffle(a, b, lower)
        step *= 2
    return values


def interleave(f: Function, planes: Sequence[Value]) -> list[Value]:
    """Returns what n planes (2 to 4 vectors) are as pixels: element e of the result is lane e // n of plane e % n."""
    count, width = len(planes), lanes_of(planes[0].type)
    results = []
    for number in range(count):
        places = [divmod(number * width + lane, count) for lane in range(width)]  # lane of the plane, plane
        results.append(_gather(f, planes, [(plane, lane) for lane, plane in places]))
    return results


def deinterleave(f: Function, pixels: Sequence[Value]) -> list[Value]:
    """Returns the n planes of n vectors (2 to 4) that hold pixels of n elements: undoes `interleave`."""
    count, width = len(pixels), lanes_of(pixels[0].type)
    return [
        _gather(f, pixels, [divmod(lane * count + plane, width) for lane in range(width)]) for plane in range(count)
    ]


def _gather(f: Function, sources: Sequence[Value], places: Sequence[tuple[int, int]]) -> Value:
    """Returns the vector whose lanes are (source, lane of it), of at most four sources."""
    width = len(places)

    def pair(first: int) -> Value:
        if first + 1 == len(sources):
            return sources[first]
        lanes = [lane + (width if source == first + 1 else 0) for source, lane in places]
        return f.shuffle(sources[first], sources[first + 1], lanes)

    if len(sources) <= 2:
        return pair(0)
    low, high = pair(0), pair(2)
    is_alone = len(sources) == 3
    lanes = [at if source < 2 else width + (lane if is_alone else at) for at, (source, lane) in enumerate(places)]
    return f.shuffle(low, high, lanes)
