"""The page: what stands on it, for every state of a study, and that nothing in a study can break out of it."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests import study_documents

from strop.report.page import page
from strop.report.record import record_of

VOID = {"meta", "link", "br", "input", "img", "hr"}
HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(1)>{{ 7*7 }}{% raw %}</style></title>&amp;\u202e'


class Reader(HTMLParser):
    """Checks that tags are closed in order, and keeps what the page holds."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        self.ids += [value or "" for name, value in attrs if name == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "title"):
            self.text.append(data)

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())


def read(contents: dict[str, Any]) -> Reader:
    reader = Reader()
    reader.feed(page(record_of(contents), study="net.study.db"))
    reader.close()
    assert reader.open == []
    return reader


STATES = {
    "whole": study_documents.whole(),
    "as written today": study_documents.as_written_today(),
    "nothing gained": study_documents.nothing_gained(),
    "interrupted": study_documents.unfinished(interrupted=True),
    "unfinished": study_documents.unfinished(interrupted=False),
    "empty": {"facts": {}, "trials": [], "decisions": [], "samples": []},
}


@pytest.mark.parametrize("state", STATES)
def test_every_state_of_a_study_gives_a_sound_page(state: str) -> None:
    reader = read(STATES[state])
    assert len(reader.ids) == len(set(reader.ids))
    targets = {value[1:] for name, value in reader.attributes if name == "href" and value.startswith("#")}
    assert targets <= set(reader.ids)
    assert "script" not in reader.tags
    assert not re.search(r"\bnan\b|\binf\b|\bNone\b|undefined", reader.words)


def test_the_verdict_comes_first_with_its_interval_and_the_accuracy() -> None:
    words = read(STATES["whole"]).words
    assert words.index("net runs 2.50 times as fast as before.") < 120
    assert "2.38 to 2.62 times (99 % interval)" in words
    assert "top1 went from 80.00 % to 79.50 % on 600 samples" in words
    assert "within the limit of 1 point, not certified" in words


def test_a_vague_interval_claims_its_low_end_only() -> None:
    contents = study_documents.whole()
    contents["facts"]["confirmation"]["speedup"] |= {"point": 3.9, "low": 1.76, "high": 9.1}
    words = read(contents).words
    assert "net runs at least 1.76 times as fast as before." in words
    assert "3.90 times is the middle of 1.76 to 9.10" in words


def test_a_bound_is_never_rounded_below_the_limit_it_exceeds() -> None:
    contents = study_documents.whole()
    contents["facts"]["confirmation"]["accuracy"]["bound"] = 0.0100386
    assert "at most 1.01 points" in read(contents).words


LIMIT = {"kind": "latency", "statistic": "p99", "bound": 0.003, "words": "p99 latency at most 3 ms"}


@pytest.mark.parametrize(("met", "state"), [(True, "kept"), (False, "not kept"), (None, "cannot tell")])
def test_limits_are_told_before_and_now(met: bool | None, state: str) -> None:
    contents = study_documents.whole()
    check = {"limit": LIMIT, "value": None if met is None else 0.0019, "met": met, "words": "..."}
    contents["facts"]["confirmation"]["limits"] = [check | {"before": {"value": 0.0048, "met": False}}]
    words = read(contents).words
    now = "not measured" if met is None else "1.90 ms"
    assert f"p99 latency at most 3 ms 4.80 ms {now} {state}" in words
    assert ("Every limit is kept." in words) == (met is True)


def test_a_form_that_keeps_a_limit_is_not_called_faster_where_it_is_not() -> None:
    contents = study_documents.whole()
    check = {"limit": LIMIT, "value": 0.0019, "met": True, "words": "...", "before": {"value": 0.0048, "met": False}}
    contents["facts"]["confirmation"] |= {"limits": [check], "speedup": study_documents.speedup(0.9, "slower")}
    words = read(contents).words
    assert "net keeps a limit that was not kept" in words
    assert "0.90 times as fast as before, 0.85 to 0.95 times" in words


def test_what_limits_the_speed_comes_first_where_nothing_was_gained() -> None:
    words = read(STATES["nothing gained"]).words
    assert words.index("What would change it") < words.index("Speed, before and after")
    words = read(STATES["whole"]).words
    assert words.index("What would change it") > words.index("Speed, before and after")


def test_without_labels_the_agreement_is_the_accuracy() -> None:
    contents = study_documents.whole()
    agreeing = {"point": 0.992, "low": 0.981, "high": 0.997, "level": 0.95, "n": 500, "statistic": "proportion"}
    accuracy = {"agreeing": agreeing, "criterion": "decision", "relative_l2": 0.031, "n": 500, "limit": 0.99}
    contents["facts"]["confirmation"] |= {"accuracy": accuracy, "certified": None}
    words = read(contents).words
    assert "It answers as the original does on 99.20 % of 500 samples kept apart." in words
    assert "within the limit" in words and "certified" not in words
    assert "The solid line is the least that is accepted, 99.00 %" in words
    accuracy["criterion"] = "relative_l2"
    words = read(contents).words
    assert "Its outputs lie within 10 % of the original's (relative L2) on 99.20 % of 500 samples" in words
    assert "same answers" not in words


def test_slices_that_lost_nothing_are_one_sentence() -> None:
    contents = study_documents.whole()
    del contents["facts"]["slices"]["rows"][0]
    contents["facts"]["slices"]["words"] = "no class lost anything"
    words = read(contents).words
    assert "No class lost anything." in words
    assert "goldfish" not in words


def test_a_disturbed_profile_says_so() -> None:
    contents = study_documents.whole()
    assert "ran beside this profile" not in read(contents).words
    contents["facts"]["layers"]["rows"][0]["ms"] = 9.0
    assert "Something else ran beside this profile" in read(contents).words


def test_long_names_are_told_by_their_end() -> None:
    contents = study_documents.whole()
    contents["facts"]["layers"]["rows"][0]["name"] = "a/" * 60 + "the_end"
    reader = read(contents)
    assert "/the_end" in reader.words and "a/" * 60 not in reader.words
    assert ("title", "a/" * 60 + "the_end") in reader.attributes


def test_a_batch_is_told_where_latencies_are_compared() -> None:
    contents = study_documents.whole()
    contents["trials"][4]["trial"]["batch"] = 4
    assert "A request of the new form holds 4 samples." in read(contents).words


def test_the_whole_study_is_on_the_page() -> None:
    words = read(STATES["whole"]).words
    for expected in (
        "What was gained by what",
        "the default already",
        "after: p50 1.6",
        "import 40.0",
        "sweet spot",
        "features/conv0",
        "What would change it",
        "no kernel for it",
        "strop replay net.study.db c3",
        "tench 75.00 % \u2192 50.00 %, n = 60",
        "+25.00 +5.00 to +40.00",
        "13 more in the study",
        "a.png",
        "97 %",
        "7 more in the study",
        "A CPU",
        "strop verify net.onnx net.strop --data images --labels labels.csv",
        "strop report net.study.db",
    ):
        assert expected in words, expected


def test_what_was_not_measured_is_said_and_never_zero() -> None:
    contents = study_documents.as_written_today()
    confirmation = contents["facts"]["confirmation"]
    confirmation["first_inference_ms"] = None
    confirmation["after"] = confirmation["after"] | {"throughput_per_second": None, "peak_memory_mb": None}
    words = read(contents).words
    assert words.count("not measured") >= 3
    assert "The study holds no ablation" in words
    assert "this study holds no raw samples" in words
    assert not re.search(r"\b0(\.0+)? (ms|MB|per second)\b", words)


def test_nothing_gained_says_what_was_tried_and_what_limits_it() -> None:
    words = read(STATES["nothing gained"]).words
    assert "Nothing gained: net stays as it is." in words
    assert "1 other form was tried, and none was measured faster." in words
    assert "INT8 was tried, and cost more accuracy than the limit allows." in words
    assert "14 % of the steps differ" in words
    assert "times as fast as before" not in words


def test_an_interrupted_search_is_not_confirmed_and_says_so() -> None:
    words = read(STATES["interrupted"]).words
    assert "Interrupted: best so far, not confirmed." in words
    assert "Best so far: openvino int8, threads 2" in words
    assert "confirmed on" not in words


def test_a_search_without_an_end_is_not_called_interrupted() -> None:
    words = read(STATES["unfinished"]).words
    assert "Unfinished: net has no confirmed result." in words


@pytest.mark.parametrize(
    "change", [{"speedup": None}, {"speedup": {"point": 0, "low": 0, "high": 0}}, {"gained": "no"}]
)
def test_a_confirmation_that_cannot_be_read_is_neither_a_gain_nor_none(change: dict[str, Any]) -> None:
    contents = study_documents.whole()
    contents["facts"]["confirmation"] |= change
    words = read(contents).words
    assert "Unreadable: the study of net is damaged." in words
    assert "Nothing gained" not in words and "as fast as before" not in words


def test_hostile_names_stay_text() -> None:
    contents = study_documents.whole()
    facts = contents["facts"]
    for fact in ("command", "baseline", "strop"):
        facts[fact] = HOSTILE
    facts["model"] = {"name": HOSTILE, "sha256": HOSTILE}
    facts["machine"] = {"cpu_name": HOSTILE, "flags": [HOSTILE], "caches": {HOSTILE: 1}}
    facts["confirmation"]["label"] = HOSTILE
    facts["confirmation"]["settings"] = {HOSTILE: HOSTILE}
    facts["confirmation"]["accuracy"]["metric"] = HOSTILE
    facts["layers"]["rows"][0]["name"] = facts["layers"]["rows"][0]["kind"] = HOSTILE
    facts["ablation"]["steps"][0]["name"] = facts["ablation"]["words"] = HOSTILE
    facts["curve"]["points"][0]["engine"] = facts["curve"]["words"] = HOSTILE
    facts["slices"]["rows"][0]["slice"] = facts["slices"]["metric"] = HOSTILE
    facts["flips"]["rows"][0] = {HOSTILE: HOSTILE}
    for row in contents["trials"]:
        row["label"] = row["reason"] = row["status"] = row["against"] = HOSTILE
    for decision in contents["decisions"]:
        decision["words"] = decision["command"] = HOSTILE
    reader = read(contents)
    assert not {"script", "img"} & set(reader.tags)
    assert not any(name.startswith("on") for name, _ in reader.attributes)
    assert "{{ 7*7 }}" in reader.words and "49" not in re.findall(r"\b\d+\b", reader.words.split("runs")[0])


def test_the_page_asks_nothing_of_anybody() -> None:
    text = page(record_of(study_documents.whole()))
    assert "default-src 'none'" in text
    assert not re.search(r"https?://|\bsrc=|url\(|@import|<script", text)
    loaded = re.findall(r'<link [^>]*href="([^"]*)"', text)
    assert loaded == ["data:,"]


def test_the_same_study_gives_the_same_bytes() -> None:
    first, second = (page(record_of(study_documents.whole()), study="s") for _ in range(2))
    assert first == second


def test_every_chart_says_in_words_what_it_shows() -> None:
    text = page(record_of(study_documents.whole()))
    for opening in re.findall(r'<svg class="chart[^>]*>', text):
        assert 'aria-hidden="true"' in opening or re.search(r'role="img" aria-label="[^"]+', opening), opening
    for table in re.findall(r"<table.*?</table>", text, re.DOTALL):
        assert "<caption" in table and 'scope="col"' in table


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


@given(st.data())
def test_no_value_of_another_kind_breaks_the_page(data: st.DataObject) -> None:
    contents = study_documents.whole()
    places = list(_places(contents))
    for _ in range(data.draw(st.integers(1, 6))):
        holder, key = data.draw(st.sampled_from(places))
        holder[key] = data.draw(values)
    reader = read(contents)
    assert "script" not in reader.tags


def _places(value: Any) -> Any:
    """Yields every place of a JSON value where another could stand, the samples' many numbers aside."""
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
        yield value, key
        if isinstance(inner, (dict, list)) and key != "seconds":
            yield from _places(inner)
