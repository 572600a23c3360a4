"""Samples one by one: a list in memory, or whatever a user's `file.py:name` gives.

An item is a sample's inputs (a dict by name, an array, or a list of arrays in the model's order), or the tuple
(inputs, target), or a `Sample`. Shapes may differ from sample to sample.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise

from strop.errors import DataError
from strop.quality.contract import Sample
from strop.quality.fingerprint import Fingerprint, fingerprint_of
from strop.quality.plugin import guarded, running
from strop.quality.sources.contract import Raw

LONGEST = 1_000_000
"""More samples than this are taken for a generator that never ends."""


class ListSource:
    """Samples that are all in memory."""

    notes: tuple[str, ...] = ()

    def __init__(self, items: Sequence[object], name: str):
        self.name = name
        self._raws = [_raw(item, index) for index, item in enumerate(items)]
        self.keys = tuple(raw.key for raw in self._raws)
        self.has_targets = _have_targets((raw.target is not None for raw in self._raws), name)

    def fingerprint(self) -> str:
        """Returns the hash of inputs and targets."""
        return fingerprint_of([(raw.inputs, raw.target) for raw in self._raws])

    def __len__(self) -> int:
        return len(self._raws)

    def read(self, indices: Sequence[int]) -> Iterator[Raw]:
        """Yields the samples."""
        for index in indices:
            yield self._raws[index]


class StreamSource:
    """Samples from an iterable that can be started again; none are kept.

    Opening it walks through all samples once, to count and to hash them.
    """

    notes: tuple[str, ...] = ()

    def __init__(self, start: Callable[[], Iterable[object]], name: str):
        self.name = name
        self._start = start
        fingerprint, labelled = Fingerprint(), []
        for raw in self._all():
            fingerprint.add((raw.inputs, raw.target))
            labelled.append(raw.target is not None)
            if len(labelled) > LONGEST:
                raise DataError(
                    "data.plugin",
                    f"more than {LONGEST} samples",
                    where=name,
                    hint="end the generator: return after one pass over the data",
                )
        self._length, self._fingerprint = len(labelled), fingerprint.text
        self.has_targets = _have_targets(labelled, name)

    def fingerprint(self) -> str:
        """Returns the hash of inputs and targets, as they were when it was opened."""
        return self._fingerprint

    def __len__(self) -> int:
        return self._length

    def read(self, indices: Sequence[int]) -> Iterator[Raw]:
        """Yields the samples; where `indices` do not ascend, those asked for are kept in memory meanwhile."""
        if all(first < second for first, second in pairwise(indices)):
            yield from self._pick(indices)
        else:
            kept = dict(zip(ordered := sorted(set(indices)), self._pick(ordered), strict=True))
            for index in indices:
                yield kept[index]

    def _pick(self, ascending: Sequence[int]) -> Iterator[Raw]:
        if not ascending:
            return
        wanted = iter(ascending)
        next_index = next(wanted)
        for index, raw in enumerate(self._all()):
            if index == next_index:
                yield raw
                following = next(wanted, None)
                if following is None:
                    return
                next_index = following
        raise DataError(
            "data.plugin",
            "it gave fewer samples than when it was opened",
            where=self.name,
            got=f"no sample {next_index}",
            expected=f"{self._length} samples each time",
            hint="make it start anew on every call: a generator function, without state outside it",
        )

    def _all(self) -> Iterator[Raw]:
        for index, item in enumerate(guarded(self._start(), self.name)):
            yield _raw(item, index)


def samples_source(value: object, name: str) -> ListSource | StreamSource:
    """Returns the source for a list or another iterable; one that can run only once is read into memory."""
    iterable = _iterable(value, name)
    if isinstance(iterable, (list, tuple)):
        return ListSource(iterable, name)
    if isinstance(iterable, Iterator):
        return ListSource(list(guarded(iterable, name)), name)
    return StreamSource(lambda: iterable, name)


def function_source(function: Callable[[], object], first: object, name: str) -> ListSource | StreamSource:
    """Returns the source for a function whose first call gave `first`; called anew for each pass over the data."""
    if isinstance(first, (list, tuple)):
        return ListSource(first, name)
    _iterable(first, name)
    return StreamSource(lambda: _iterable(called(function, name), name), name)


def called(function: Callable[[], object], name: str) -> object:
    """Returns what a user's function returns; an exception in it becomes DataError (`data.plugin`)."""
    with running(name):
        return function()


def _iterable(value: object, name: str) -> Iterable[object]:
    if isinstance(value, Iterable) and not isinstance(value, (str, bytes)):
        return value
    raise DataError(
        "data.plugin",
        "it is no data: neither an iterable of samples nor a function that returns one",
        where=name,
        got=type(value).__name__,
        hint="write a generator function that yields inputs or (inputs, target)",
    )


def _raw(item: object, index: int) -> Raw:
    if isinstance(item, Sample):
        return Raw(item.key, item.inputs, item.target)
    if isinstance(item, tuple) and len(item) == 2:
        return Raw(str(index), item[0], item[1])
    return Raw(str(index), item)


def _have_targets(labelled: Iterable[bool], name: str) -> bool:
    labelled = list(labelled)
    count = sum(labelled)
    if 0 < count < len(labelled):
        raise DataError(
            "data.labels",
            "some samples have a target and some have none",
            where=name,
            got=f"{count} targets",
            expected=f"{len(labelled)} (the number of samples), or none",
            hint="yield (inputs, target) for every sample",
        )
    return count > 0
