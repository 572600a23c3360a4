from __future__ import annotations

import pytest

from strop.engines.registry import engine_names, get_engine
from strop.testing import check_engine


@pytest.mark.parametrize("name", engine_names())
def test_every_installed_engine_keeps_the_contract(name: str) -> None:
    found = get_engine(name).available()
    if not found.available:
        pytest.skip(f"{name} is {found.why}")
    assert len(check_engine(name)) == 24
