"""Reading a study's JSON: what is odd is missing, and nothing is made up."""

from __future__ import annotations

import pytest
from tests import study_documents

from strop.report.metric_words import metric_words
from strop.report.reading import figure, positive_figure, words
from strop.report.record import record_of
from strop.report.sections.rerun import reruns


@pytest.mark.parametrize(
    "value",
    [
        None,
        3,
        "x",
        [],
        {},
        {"point": 1, "low": 2, "high": 3},
        {"point": "1", "low": "1", "high": "1"},
        {"point": 1, "low": 1},
    ],
)
def test_what_is_no_estimate_is_none(value: object) -> None:
    assert figure(value) is None


def test_a_time_of_zero_is_no_time() -> None:
    assert positive_figure({"point": 0.0, "low": 0.0, "high": 1.0}) is None


def test_half_a_character_can_be_written() -> None:
    words("a\ud800b").encode()


def test_a_confirmed_result_stays_confirmed_though_the_run_was_interrupted_before_it_went_on() -> None:
    contents = study_documents.whole()
    contents["facts"]["interrupted"] = True
    assert record_of(contents).state == "confirmed"


def test_an_unknown_metric_is_a_plain_number() -> None:
    metric = metric_words({"metric": "my.py:score"})
    assert metric.value(0.5) == "0.5000"
    assert metric_words({"metric": "cer"}).value(0.0354).startswith("3.54")


@pytest.mark.parametrize("command", ["", "strop demo --output demo", "strop optimize 'unclosed", "rm -rf /"])
def test_a_command_of_another_kind_gives_no_made_up_ones(command: str) -> None:
    contents = study_documents.whole()
    contents["facts"]["command"] = command
    given = [one.command for one in reruns(record_of(contents))]
    assert not any("verify" in one or "compare" in one for one in given)


def test_a_command_keeps_every_space() -> None:
    contents = study_documents.whole()
    command = "strop optimize 'two  spaces.onnx' --data images -o out.strop"
    contents["facts"]["command"] = command
    given = [one.command for one in reruns(record_of(contents))]
    assert given[0] == command
    assert "strop verify 'two  spaces.onnx' out.strop --data images" in given


def test_options_that_are_joined_by_an_equals_sign_are_understood() -> None:
    contents = study_documents.whole()
    contents["facts"]["command"] = "strop optimize --data='my images' --json m.onnx -o out.strop"
    given = {one.what: one.command for one in reruns(record_of(contents))}
    assert given["accuracy before and after"] == "strop verify m.onnx out.strop --data 'my images'"
