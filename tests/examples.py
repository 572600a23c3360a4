"""How many examples a property is tried with."""

from __future__ import annotations

from hypothesis import settings


def at_least(count: int) -> settings:
    """Returns settings for `count` examples, or for as many as the profile wants, where that is more."""
    return settings(max_examples=max(count, settings().max_examples))
