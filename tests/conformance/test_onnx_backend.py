"""What the ONNX project's own tests of operators say about the engine native."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from tests.conformance.onnx_backend import COUNTS, MUST_COVER, Outcome, document, node_tests, run_tests

pytestmark = pytest.mark.timeout(900)  # 1,900 models are compiled, for the first test of them


@pytest.fixture(scope="module")
def outcomes() -> list[Outcome]:
    return run_tests(node_tests())


def test_none_of_the_onnx_projects_node_tests_fails(outcomes: list[Outcome]) -> None:
    counts = Counter(outcome.status for outcome in outcomes)
    failed = [
        f"{outcome.name} ({outcome.operator}): {outcome.why}" for outcome in outcomes if outcome.status == "failed"
    ]
    assert not failed, "\n".join(failed)
    assert counts["passed"] >= 150
    assert counts["passed"] + counts["not covered"] >= 1300, "most of them are right, on ONNX Runtime where not native"


@pytest.mark.parametrize("operator", MUST_COVER)
def test_operators_of_convolutional_networks_are_covered(outcomes: list[Outcome], operator: str) -> None:
    own = [outcome for outcome in outcomes if outcome.operator == operator]
    passed = [outcome for outcome in own if outcome.status == "passed"]
    assert passed, [(outcome.name, outcome.status, outcome.why) for outcome in own]


def test_the_docs_claim_no_more_than_is_covered(outcomes: list[Outcome]) -> None:
    stored, found = json.loads(COUNTS.read_text(encoding="utf8")), document(outcomes)
    if stored["onnx"] != found["onnx"]:
        pytest.skip(f"the docs' counts are of onnx {stored['onnx']}, here is {found['onnx']}")
    hint = "write them anew: python -m tests.conformance.onnx_backend"
    assert stored["passed"] <= found["passed"], hint
    assert stored["failed"] == 0, hint
    for operator, count in stored["covered_operators"].items():
        assert count <= found["covered_operators"].get(operator, 0), f"{operator}; {hint}"
