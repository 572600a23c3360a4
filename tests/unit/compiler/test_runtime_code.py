"""The runtime that every image carries, on every instruction set."""

from __future__ import annotations

import pytest

from strop.compiler.isa import ISAS, Isa
from strop.compiler.link import PAGE, link
from strop.compiler.link import check_closed as check_that_nothing_is_missing
from strop.compiler.machine_code import generate
from strop.compiler.runtime_code import emit_runtime
from strop.loader.structs import DATA_BYTES, RUNTIME


@pytest.mark.parametrize("isa", ISAS, ids=lambda isa: isa.key)
def test_the_runtime_needs_nothing_from_outside(isa: Isa) -> None:
    check_that_nothing_is_missing([generate(text, isa) for text in emit_runtime(isa).values()])


@pytest.mark.parametrize("isa", [isa for isa in ISAS if isa.is_x86], ids=lambda isa: isa.key)
def test_the_page_of_data_holds_nothing_else(isa: Isa) -> None:
    blob = link([generate(text, isa) for text in emit_runtime(isa).values()], isa)
    assert set(RUNTIME) <= set(blob.symbols)
    start = blob.symbols["strop_data"]
    assert start % PAGE == 0 and DATA_BYTES == PAGE
    assert blob.data[start : start + PAGE] == bytes(PAGE)
    inside = [name for name, place in blob.symbols.items() if start <= place < start + PAGE]
    assert inside == ["strop_data"]


def test_the_same_isa_gives_the_same_text() -> None:
    for isa in ISAS:
        assert emit_runtime(isa) == emit_runtime(isa)
