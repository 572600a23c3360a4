"""Each rule speaks up where the figures back it, and only there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from tests import study_documents

from strop.report.record import record_of
from strop.report.why.contract import Explanation
from strop.report.why.rules import RULES, explanations


def found(contents: Mapping[str, Any]) -> dict[str, Explanation]:
    return {one.rule: one for one in explanations(record_of(contents))}


def with_layers(rows: Sequence[Mapping[str, object]], **more: object) -> dict[str, Any]:
    contents = study_documents.whole()
    contents["facts"]["layers"] = {"engine": "native", "threads": 1, "rows": list(rows), "words": "", **more}
    return contents


def test_a_study_without_figures_explains_nothing() -> None:
    assert explanations(record_of({"facts": {}})) == []


def test_every_rule_is_its_own_file_with_its_own_name() -> None:
    modules = [rule.__module__ for rule in RULES]
    assert len(modules) == len(set(modules))
    said = [one.rule for one in explanations(record_of(study_documents.whole()))]
    assert len(said) == len(set(said))


@pytest.mark.parametrize(("percent", "words"), [(85.0, "nearly at its limit"), (25.0, "4.00 times as fast")])
def test_the_machine_limit_is_weighted_by_time(percent: float, words: str) -> None:
    rows = [{"name": "a", "kind": "Conv", "ms": 1.0, "percent_of_limit": percent, "bound": "arithmetic"}]
    one = found(with_layers(rows))["machine limit"]
    assert words in one.words


def test_the_machine_limit_is_silent_where_most_limits_are_unknown() -> None:
    rows = [
        {"name": "a", "kind": "Conv", "ms": 0.9, "percent_of_limit": None},
        {"name": "b", "kind": "Conv", "ms": 0.6, "percent_of_limit": 50.0},
    ]
    assert "machine limit" not in found(with_layers(rows))


def test_a_profile_that_took_longer_than_the_request_explains_nothing() -> None:
    rows = [{"name": "a", "kind": "Add", "ms": 9.0, "percent_of_limit": 5.0, "bound": "memory"}]
    assert not {"machine limit", "memory bandwidth", "small operations"} & set(found(with_layers(rows)))
    rows[0]["ms"] = 1.4
    assert {"machine limit", "memory bandwidth", "small operations"} <= set(found(with_layers(rows)))


def test_memory_bandwidth_needs_a_quarter_of_the_time() -> None:
    rows = [
        {"name": "a", "kind": "Conv", "ms": 1.0, "percent_of_limit": 50.0, "bound": "arithmetic"},
        {"name": "b", "kind": "Gemm", "ms": 0.5, "percent_of_limit": 50.0, "bound": "memory"},
    ]
    assert "33\N{NARROW NO-BREAK SPACE}%" in found(with_layers(rows))["memory bandwidth"].words
    rows[1]["ms"] = 0.1
    assert "memory bandwidth" not in found(with_layers(rows))


def test_call_overhead_is_what_a_request_takes_beside_its_operations() -> None:
    row = {"name": "a", "kind": "Conv", "ms": 0.76, "percent_of_limit": None}
    one = found(with_layers([row]))["call overhead"]
    assert "50\N{NARROW NO-BREAK SPACE}% of a request" in one.words  # 1.52 ms at least, 0.76 in operations
    assert "call overhead" not in found(with_layers([row | {"ms": 1.5}]))


def test_segments_of_another_engine_are_named_with_their_reason() -> None:
    rows = [{"name": "a", "kind": "Conv", "ms": 1.0}, {"name": "2 node(s)", "kind": "not native", "ms": 1.0}]
    foreign = [{"nodes": 2, "ms": 1.0, "engine": "onnxruntime", "reason": "no kernel for CumSum"}]
    one = found(with_layers(rows, foreign=foreign))["not native"]
    assert "50\N{NARROW NO-BREAK SPACE}%" in one.words
    assert "no kernel for CumSum" in one.evidence[0]
    assert "not native" not in found(with_layers(rows, foreign=[]))


def test_small_operations_are_summed_by_kind() -> None:
    rows = [
        {"name": "a", "kind": "Conv", "ms": 0.8},
        {"name": "b", "kind": "depthwise", "ms": 0.5},
        {"name": "c", "kind": "Add", "ms": 0.3},
    ]
    one = found(with_layers(rows))["small operations"]
    assert "50\N{NARROW NO-BREAK SPACE}%" in one.words
    assert "depthwise 0.500 ms, Add 0.300 ms" in one.evidence


def test_thread_scaling_needs_a_direct_race() -> None:
    contents = study_documents.whole()
    best, raced = contents["trials"][4], study_documents.speedup(0.9, "slower")
    contents["trials"].append(
        study_documents.trial(
            "h8", "openvino", "int8", 1, "dropped", "slower", speedup=raced, against=best["label"], latency_ms=None
        )
    )
    one = found(contents)["thread scaling"]
    assert one.words == "2 threads are only 1.11 times as fast as 1."
    contents["trials"][-1]["against"] = "openvino f32, threads 2"
    assert "thread scaling" not in found(contents)


def test_int8_that_lost_too_much_is_told_with_the_figures() -> None:
    one = found(study_documents.nothing_gained())["INT8 refused"]
    assert one.evidence == ("INT8 for onnxruntime dropped before it was timed: 14 % of the steps differ",)
    assert "INT8 refused" not in found(study_documents.whole())


def test_int8_that_is_no_faster_is_told_apart_from_int8_refused() -> None:
    contents = study_documents.nothing_gained()
    contents["decisions"] = []
    contents["trials"].append(
        study_documents.trial(
            "i9",
            "onnxruntime",
            "int8",
            2,
            "dropped",
            "slower",
            speedup=study_documents.speedup(0.8, "slower"),
            against="x",
        )
    )
    contents["facts"]["machine"] = study_documents.MACHINE | {"flags": ["avx2"]}
    said = found(contents)
    assert "INT8 refused" not in said
    assert "no 8-bit dot product" in said["INT8 no faster"].evidence[-1]


def test_a_later_start_is_paid_back_after_so_many_requests() -> None:
    one = found(study_documents.whole())["first inference"]
    assert "paid back after 208 requests" in one.evidence[1]  # 498 ms later, 2.4 ms saved by each
    assert "first inference" not in found(study_documents.nothing_gained())


def test_noise_counts_the_verdicts_that_cannot_tell() -> None:
    one = found(study_documents.whole())["noise"]
    assert one.evidence[0] == "1 race of 4 ended with `cannot tell`"
    assert "26\N{NARROW NO-BREAK SPACE}%" in one.evidence[1]


def test_an_uncertified_accuracy_says_how_many_samples_it_takes() -> None:
    assert "2,300" in found(study_documents.whole())["accuracy uncertain"].change
    assert "accuracy uncertain" not in found(study_documents.nothing_gained())


def test_int8_without_time_or_without_a_form_is_not_said_to_be_inaccurate() -> None:
    contents = study_documents.nothing_gained()
    contents["decisions"] = ["INT8 for native dropped: the budget's share for the search is used up (1% done)"]
    said = found(contents)
    assert not {"INT8 refused", "INT8 missing"} & set(said)
    assert said["budget used up"].evidence == tuple(contents["decisions"])
    contents["decisions"] = ["INT8 for native dropped: nothing in the model can be quantized"]
    said = found(contents)
    assert not {"INT8 refused", "budget used up"} & set(said)
    assert said["INT8 missing"].evidence == tuple(contents["decisions"])


def test_forms_that_were_not_tried_are_named() -> None:
    assert found(study_documents.whole())["budget used up"].evidence == ("native int8, threads 1",)
