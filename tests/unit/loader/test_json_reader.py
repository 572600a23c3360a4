"""JSON is read as the package `json` reads it, and refused where that refuses it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strop.loader import json_reader
from strop.loader.json_reader import read_json

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def outcome(read: Any, data: bytes) -> str:
    try:
        return repr(read(data))
    except (ValueError, RecursionError) as error:
        return "too deep" if isinstance(error, RecursionError) else "refused"


def by_json(data: bytes) -> Any:
    return json.loads(data.decode("utf8"))


@pytest.fixture(params=["built in", "by json"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "by json":
        monkeypatch.setattr(json_reader, "_SCAN", None)
    elif json_reader._SCAN is None:
        pytest.skip("this interpreter has no scanner of its own")


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "1", " 1 ", "\t[1]\r\n", "1 2", "[1,2", '{"a":1,}', '{"a" 1}', "nul", "null", "NaN", "-Infinity"),
        *("[1e5, 1.5, -0]", "01", "\ufeff1", '"\x01"', '"abc', '"\\u12"', '"\\ud800"', "[1]]", "1" * 5000, "[1\x0b]"),
        *("{", "\x0b1", "-", '{"a":1,"a":2}', "{1:2}", "[1e999]", "[" * 100_000, '{"a":' * 100_000, "'a'", "[1,]"),
    ],
)
def test_it_reads_what_json_reads(way: None, text: str) -> None:
    data = text.encode()
    assert outcome(read_json, data) == outcome(by_json, data)


def test_what_is_not_utf8_is_refused(way: None) -> None:
    assert outcome(read_json, b'"\xff"') == "refused"


@given(VALUES, st.sampled_from(["", " ", "\n"]))
def test_what_json_writes_comes_back(value: Any, space: str) -> None:
    data = (space + json.dumps(value) + space).encode()
    assert outcome(read_json, data) == outcome(by_json, data)


@given(st.text('[]{}",:0123456789.eE-+ntfu\\ \n', max_size=20))
def test_anything_else_is_refused_alike(text: str) -> None:
    assert outcome(read_json, text.encode()) == outcome(by_json, text.encode())
