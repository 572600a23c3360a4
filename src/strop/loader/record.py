"""Values with named fields: what `typing.NamedTuple` is, made in a tenth of the time.

A fresh process that loads a bundle makes eleven such classes, which takes NamedTuple (or a dataclass) as long as
reading the bundle: each compiles source text and its annotations.
"""

from __future__ import annotations

from operator import itemgetter
from typing import Any, ClassVar, Self, dataclass_transform


@dataclass_transform(frozen_default=True)
class _Maker(type):
    """Makes the fields of a record from its annotations; what stands behind one is its default."""

    def __new__(cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> _Maker:
        if bases != (tuple,):
            fields = tuple(namespace["__annotations__"])
            namespace["_defaults"] = {field: namespace[field] for field in fields if field in namespace}
            namespace.update({field: property(itemgetter(place)) for place, field in enumerate(fields)})
            namespace.update(__slots__=(), _fields=fields, __match_args__=fields)
        return super().__new__(cls, name, bases, namespace)


class Record(tuple, metaclass=_Maker):  # type: ignore[type-arg]  # of fields with types of their own
    """The base of records: write fields as in a NamedTuple, in a module whose annotations are text.

    Example:
        >>> class Range(Record):
        ...     begin: int
        ...     end: int = 0
        >>> Range(1, end=3).changed(begin=2)
        Range(begin=2, end=3)
    """

    __slots__ = ()
    _fields: ClassVar[tuple[str, ...]] = ()
    _defaults: ClassVar[dict[str, Any]] = {}

    def __new__(cls, *values: Any, **named: Any) -> Self:  # noqa: D102 - each record has its own fields
        if named or len(values) != len(cls._fields):
            values = cls._completed(values, named)
        return tuple.__new__(cls, values)

    @classmethod
    def _completed(cls, values: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, ...]:
        others, given = cls._fields[len(values) :], {**cls._defaults, **named}
        if len(values) > len(cls._fields) or not named.keys() <= set(others) or not given.keys() >= set(others):
            raise TypeError(f"{cls.__name__} takes {cls._fields}, not {len(values)} values and {list(named)}")
        return (*values, *[given[field] for field in others])

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.to_dict().items())})"

    def __getnewargs__(self) -> tuple[Any, ...]:  # for copies
        return tuple(self)

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields by name."""
        return dict(zip(self._fields, self, strict=True))

    def changed(self, **fields: Any) -> Self:
        """Returns a copy in which these fields have other values."""
        return type(self)(**{**self.to_dict(), **fields})
