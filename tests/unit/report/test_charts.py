"""Charts: marks where the values lie, whatever the values."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strop.report.charts.density import density
from strop.report.charts.intervals import interval_row
from strop.report.charts.scale import Scale, round_step, scale_of, scale_of_ratios
from strop.report.reading import Figure

sizes = st.floats(1e-6, 1e6)


@given(st.lists(sizes, min_size=1, max_size=6), st.booleans())
def test_a_scale_keeps_the_order_and_its_marks_apart(values: list[float], from_zero: bool) -> None:
    for scale in (scale_of(values, from_zero=from_zero), scale_of_ratios(values)):
        places = [scale.at(value) for value in sorted(values)]
        assert places == sorted(places)
        assert all(0 <= place <= 1 for place in places)
        marks = scale.marks()
        assert len(marks) < 12
        gaps = np.diff([scale.at(mark) for mark in marks])
        assert all(gaps >= 0.1)


@given(sizes)
def test_ratios_always_show_one(value: float) -> None:
    scale = scale_of_ratios([value])
    assert scale.holds(1.0)
    assert 1 in scale.marks()


@given(sizes)
def test_steps_are_round_and_large_enough(least: float) -> None:
    step = round_step(least)
    assert least * (1 - 1e-9) <= step <= 10 * least
    assert f"{step:e}"[0] in "125"


def test_equal_factors_are_equal_distances() -> None:
    scale = Scale(0.5, 8.0, ratios=True)
    assert scale.at(2) - scale.at(1) == pytest.approx(scale.at(4) - scale.at(2))


def test_an_interval_is_drawn_where_it_lies() -> None:
    svg = str(interval_row(Scale(0.0, 10.0), Figure(5.0, 2.5, 7.5), label="it"))
    circle = re.search(r'<circle class="mark" cx="([\d.]+)%"', svg)
    whisker = re.search(r'<line class="whisker" x1="([\d.]+)%" x2="([\d.]+)%"', svg)
    assert circle and whisker
    assert float(circle[1]) == 50.0
    assert (float(whisker[1]), float(whisker[2])) == (26.5, 73.5)


def test_an_end_beyond_the_axis_is_an_arrow() -> None:
    svg = str(interval_row(Scale(0.0, 10.0), Figure(5.0, 2.5, 99.0), label="it"))
    assert svg.count('class="arrow"') == 1
    assert svg.count('class="whisker end"') == 1


def test_a_density_integrates_to_one_and_peaks_at_the_mode() -> None:
    samples = np.random.default_rng(0).normal(5.0, 1.0, 2000)
    points = np.linspace(0, 10, 1001)
    heights = density(samples.tolist(), points)
    assert np.trapezoid(heights, points) == pytest.approx(1.0, abs=0.01) if hasattr(np, "trapezoid") else True
    assert points[heights.argmax()] == pytest.approx(5.0, abs=0.3)
    truth = np.exp(-0.5 * (points - 5) ** 2) / np.sqrt(2 * np.pi)
    assert np.abs(heights - truth).max() < 0.04
