"""Every error code is raised by the code and tested for what it says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from strop.errors import CODES, StropError

ROOT = Path(__file__).parents[2]
SOURCE = "\n".join(path.read_text(encoding="utf8") for path in (ROOT / "src").rglob("*.py") if path.name != "errors.py")
TESTS = "\n".join(
    path.read_text(encoding="utf8") for path in (ROOT / "tests").rglob("test_*.py") if path.name != Path(__file__).name
)


@pytest.mark.parametrize("code", CODES)
def test_a_code_is_raised_somewhere_and_tested(code: str) -> None:
    assert f'"{code}"' in SOURCE, f"nothing raises {code}"
    assert re.search(rf"['\"]{re.escape(code)}['\"]", TESTS), f"no test looks at {code}"


def test_an_unknown_code_is_a_mistake_in_the_code() -> None:
    with pytest.raises(AssertionError):
        StropError("no.such-code", "what", hint="hint")


def test_an_error_says_what_where_got_expected_and_what_to_try() -> None:
    error = StropError("model.shape", "it does not fit", where="x", got=1, expected=2, hint="resize it")
    assert str(error).splitlines() == ["x: it does not fit", "  got: 1", "  expected: 2", "  try: resize it"]
    assert error.to_json()["code"] == "model.shape"
