"""What every source of samples is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Raw:
    """One sample as it was found, before any check: its key, its inputs in whatever form, its target or None."""

    key: str
    inputs: object
    target: object = None


class Source(Protocol):
    """Samples in a fixed order, read when they are wanted."""

    @property
    def name(self) -> str:
        """What the user called it."""

    @property
    def has_targets(self) -> bool:
        """Whether it carries targets of its own."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What people should be told about it."""

    def fingerprint(self) -> str:
        """Returns the hash that identifies the content."""

    def __len__(self) -> int:
        """The number of samples."""

    def read(self, indices: Sequence[int]) -> Iterator[Raw]:
        """Yields the samples `indices`, in that order."""
