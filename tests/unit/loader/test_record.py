"""Records are what named tuples are: in order, by name, with defaults, equal by value, and not to be changed."""

from __future__ import annotations

import copy

import pytest

from strop.loader.record import Record


class Range(Record):
    """A range."""

    begin: int
    end: int = 10
    kinds: tuple[str, ...] = ()

    @property
    def length(self) -> int:
        return self.end - self.begin


def test_fields_are_given_in_order_or_by_name_and_default() -> None:
    assert Range(1) == Range(begin=1) == Range(1, 10) == Range(1, 10, kinds=()) == (1, 10, ())
    assert Range(end=3, begin=2).length == 1
    assert repr(Range(1)) == "Range(begin=1, end=10, kinds=())"


@pytest.mark.parametrize(
    "make",
    [
        lambda: Range(),  # type: ignore[call-arg]
        lambda: Range(end=3),  # type: ignore[call-arg]
        lambda: Range(1, 2, (), 3),  # type: ignore[call-arg]
        lambda: Range(1, begin=1),  # type: ignore[misc]
        lambda: Range(1, ends=2),  # type: ignore[call-arg]
        lambda: Range(1).changed(ends=2),
    ],
)
def test_what_does_not_fit_is_refused(make: object) -> None:
    with pytest.raises(TypeError, match="Range takes"):
        make()  # type: ignore[operator]


def test_a_record_cannot_be_changed_but_copied_with_changes() -> None:
    record = Range(1)
    for name in ("begin", "other"):
        with pytest.raises(AttributeError):
            setattr(record, name, 5)
    assert record.changed(end=4) == Range(1, 4) and record == Range(1)
    assert copy.copy(record) == copy.deepcopy(record) == record
    assert record.to_dict() == {"begin": 1, "end": 10, "kinds": ()}


def test_records_are_told_apart_by_their_values() -> None:
    assert len({Range(1), Range(1, 10), Range(2)}) == 2
    match Range(1, 2):
        case Range(begin, end):
            assert (begin, end) == (1, 2)
