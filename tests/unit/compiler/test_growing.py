"""Memory that grows keeps what was written, and is zero elsewhere."""

from __future__ import annotations

import numpy as np

from strop.compiler.growing import Growing


def test_what_was_written_stays_where_it_was_while_memory_grows() -> None:
    growing, wanted = Growing(), {}
    for number in range(8):
        start = number * 3_000_000
        wanted[start] = np.full(1_000_001, number + 1, np.int16)
        growing.write(start, wanted[start].reshape(1, -1))
    data = growing.finish(24_000_100)
    assert len(data) == 24_000_100
    for start, array in wanted.items():
        assert (data[start : start + array.nbytes].view(np.int16) == array).all()
        assert not data[start + array.nbytes : start + 3_000_000].any()
