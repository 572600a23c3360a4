"""What tuning measured, on disk: found again, merged, and never the reason why something fails."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path

import pytest

from strop.compiler.choose import choose
from strop.compiler.isa import get_isa
from strop.compiler.kernels.contract import Convolution
from strop.compiler.layouts import Halo, channels_last, dense
from strop.compiler.records import Record, Records, name_of
from strop.machine import machine

ISA = get_isa("x86-64-v4")
RECORD = Record({("convolution_direct", "t14x2b4n512f"): 2e-3, ("winograd_4x4", "14x2b1n512"): 1e-3}, 30)


def convolution(inputs: int = 64, outputs: int = 64, extent: int = 28, kernel: int = 3) -> Convolution:
    pads = (kernel // 2,) * 4
    image = channels_last((1, inputs, extent, extent), halo=Halo(*pads))
    output = channels_last((1, outputs, extent, extent))
    return Convolution((image,), output, weights=(outputs, inputs, kernel, kernel), pads=pads)


def test_a_record_that_was_saved_is_found_again_and_the_quickest_is_known(tmp_path: Path) -> None:
    first = Records(ISA, tmp_path)
    first.add(convolution(), RECORD)
    first.save()
    found = Records(ISA, tmp_path).find(convolution())
    assert found == RECORD
    assert found is not None and found.best == ("winograd_4x4", "14x2b1n512")
    assert Records(ISA, tmp_path).find(convolution(32)) is None


def test_layouts_are_told_by_their_order_of_axes_alone() -> None:
    plain = convolution()
    wide = replace(plain, inputs=(channels_last(plain.inputs[0].shape, pixel=1024),))  # a part of a concatenation
    assert name_of(plain) == name_of(wide)
    others = [
        replace(plain, inputs=(dense(plain.inputs[0].shape),)),
        replace(plain, strides=(2, 2)),
        replace(plain, inputs=(plain.inputs[0], plain.output)),
        convolution(extent=14),
    ]
    assert len({name_of(problem) for problem in (plain, *others)}) == 5


def test_records_hold_for_one_machine_and_one_level(tmp_path: Path) -> None:
    here = machine()
    paths = {
        Records(isa, tmp_path, here=each).path
        for isa in (ISA, get_isa("x86-64-v3"))
        for each in (here, replace(here, cpu_name="another"), replace(here, caches={"L2": 1}))
    }
    assert len(paths) == 6


def test_two_processes_add_to_the_same_records(tmp_path: Path) -> None:
    one, other = Records(ISA, tmp_path), Records(ISA, tmp_path)
    one.add(convolution(8), RECORD)
    other.add(convolution(16), RECORD)
    one.save()
    other.save()
    assert len(Records(ISA, tmp_path).kept) == 2
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize(
    "line",
    [
        "no JSON",
        "[]",
        '"schema"',
        "{}",
        '{"problem": "a"}',
        '{"problem": "a", "rounds": 3, "tried": []}',
        '{"problem": "a", "rounds": 3, "tried": [["f", "s", -1.0]]}',
        '{"problem": "a", "rounds": 3, "tried": [["f", "s", NaN]]}',
        '{"problem": "a", "rounds": 3, "tried": [["f", "s"]]}',
        '{"schema": "strop.records/9"}',
        "\0\ufffd",
    ],
)
def test_a_damaged_line_is_a_warning_and_the_others_count(
    tmp_path: Path, line: str, caplog: pytest.LogCaptureFixture
) -> None:
    records = Records(ISA, tmp_path)
    records.add(convolution(), RECORD)
    records.save()
    records.path.write_text(f"{records.path.read_text(encoding='utf8')}{line}\n", encoding="utf8")
    again = Records(ISA, tmp_path)
    assert list(again.kept.values()) == [RECORD]
    assert any(record.levelno == logging.WARNING for record in caplog.records)
    again.save()
    caplog.clear()
    assert len(Records(ISA, tmp_path).kept) == 1
    assert not caplog.records


def test_records_of_others_are_not_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    records = Records(ISA, tmp_path)
    records.add(convolution(), RECORD)
    records.save()
    records.path.chmod(0o666)
    assert not Records(ISA, tmp_path).kept
    assert "cannot be used" in caplog.text


def test_a_folder_that_cannot_be_written_costs_only_the_records(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf8")
    records = Records(ISA, tmp_path / "file" / "records")
    records.add(convolution(), RECORD)
    records.save()
    assert "not kept" in caplog.text


def test_a_file_of_records_is_plain_json_lines_that_say_where_they_hold(tmp_path: Path) -> None:
    records = Records(ISA, tmp_path)
    records.add(convolution(), RECORD)
    records.save()
    first, second = (json.loads(line) for line in records.path.read_text(encoding="utf8").splitlines())
    assert (first["schema"], first["isa"], first["threads"]) == ("strop.records/1", ISA.level, 1)
    assert {"cpu", "caches", "strop", "toolchain", "kernels"} <= set(first)
    assert second["tried"][1] == ["winograd_4x4", "14x2b1n512", 1e-3]


def test_what_was_measured_wins_over_the_estimate_and_what_was_not_comes_last(tmp_path: Path) -> None:
    problem = convolution()
    untuned = choose(problem, ISA)
    slower = next(
        str(schedule) for schedule in untuned.kernel.candidates(problem, ISA) if str(schedule) != str(untuned.schedule)
    )
    records = Records(ISA, tmp_path)
    records.add(problem, Record({(untuned.kernel.family, slower): 1.0}, 9))
    tuned = choose(problem, ISA, records=records)
    assert (str(tuned.schedule), tuned.seconds) == (slower, 1.0)
    assert choose(problem, ISA).schedule == untuned.schedule
    other = convolution(16)
    assert choose(other, ISA, records=records).schedule == choose(other, ISA).schedule


def test_a_record_of_schedules_that_are_gone_changes_nothing(tmp_path: Path) -> None:
    records = Records(ISA, tmp_path)
    records.add(convolution(), Record({("convolution_direct", "t99x9"): 1e-9, ("gone", "t1"): 1e-9}, 9))
    assert choose(convolution(), ISA, records=records).schedule == choose(convolution(), ISA).schedule


def test_the_digest_is_of_what_was_used(tmp_path: Path) -> None:
    records = Records(ISA, tmp_path)
    empty = records.used_digest
    records.add(convolution(), RECORD)
    assert records.used_digest == empty
    choose(convolution(32), ISA, records=records)
    assert records.used_digest == empty
    choose(convolution(), ISA, records=records)
    used = records.used_digest
    assert used != empty
    records.add(convolution(), Record({("winograd_4x4", "14x2b1n512"): 3e-3}, 30))
    choose(convolution(), ISA, records=records)
    assert records.used_digest not in (used, empty)
