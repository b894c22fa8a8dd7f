"""The challenge's files: read as they are meant, refused where they are none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipelines.clinical.sepsis import psv
from pipelines.clinical.sepsis.learning_set import LearningSet
from pipelines.clinical.sepsis.psv import StayFileError
from pipelines.clinical.sepsis.variables import INDEX
from tests.pipelines.clinical.sepsis.stays import psv_text


def folder_of(learning: LearningSet, folder: Path, stays: int) -> Path:
    for number in range(stays):
        (folder / f"p{number:06d}.psv").write_text(psv_text(learning, number))
    return folder


def test_stays_come_back_as_they_were_written(learning: LearningSet, tmp_path: Path) -> None:
    read = psv.read(psv.stay_files(folder_of(learning, tmp_path, 4)))
    rows = read.panel.rows
    assert read.names == ("p000000.psv", "p000001.psv", "p000002.psv", "p000003.psv")
    np.testing.assert_allclose(read.panel.values, learning.panel.values[:rows], rtol=1e-6)
    assert np.array_equal(read.panel.hour, learning.panel.hour[:rows])
    assert np.array_equal(read.panel.unit, learning.panel.unit[:rows], equal_nan=True)
    assert read.labels is not None
    assert np.array_equal(read.labels, learning.labels[:rows])


def test_a_file_to_be_predicted_has_no_label(learning: LearningSet, tmp_path: Path) -> None:
    lines = psv_text(learning, 0).splitlines()
    (tmp_path / "p1.psv").write_text("\n".join(line.rsplit("|", 1)[0] for line in lines))
    assert psv.read(psv.stay_files(tmp_path)).labels is None


def test_units_and_implausible_values(tmp_path: Path) -> None:
    (tmp_path / "p1.psv").write_text("ICULOS|HR|FiO2|Temp\n1|80|0.5|3.7\n2|0|10|37\n")
    values = psv.read(psv.stay_files(tmp_path)).panel.values
    assert values[:, INDEX["FiO2"]].tolist()[0] == 50.0
    assert np.isnan(values[1, INDEX["FiO2"]])
    assert np.isnan(values[0, INDEX["Temp"]])
    assert np.isnan(values[1, INDEX["HR"]])


def test_hours_that_are_missing_count_on(tmp_path: Path) -> None:
    (tmp_path / "p1.psv").write_text("HR|ICULOS\n80|NaN\n81|NaN\n82|3\n")
    assert psv.read(psv.stay_files(tmp_path)).panel.hour.tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "empty"),
        ("HR|ICULOS\n", "no hour"),
        ("Puls|ICULOS\n80|1\n", "names no column HR"),
        ("HR|ICULOS\n80|1\n81\n", "line 3: 1 values for 2 columns"),
        ("HR|ICULOS\nPATIENT-SECRET|1\n", "line 2: a value is no number"),
        ("HR|ICULOS\n80|1\n81|5\n", r"p1\.psv, line 3: ICULOS is not the hour after"),
        ("HR|ICULOS\n80|1\n\n81|1\n", r"p1\.psv, line 4: ICULOS is not the hour after"),
        ("HR|ICULOS\n80|1.5\n", "line 2: ICULOS is no whole hour"),
        ("HR|ICULOS\n80|0\n", "line 2: ICULOS is no whole hour"),
        ("HR|ICULOS\n80|-3\n", "line 2: ICULOS is no whole hour"),
        ("HR|ICULOS\n80|1e300\n", "line 2: ICULOS is no whole hour"),
        ("HR|ICULOS\n80|inf\n", "line 2: ICULOS is no whole hour"),
        ("HR|ICULOS\n80|999999999\n", "from 1 to 100,000"),
        ("HR|ICULOS|HR\n80|1|90\n", "names column HR twice"),
    ],
)
def test_what_is_no_stay_is_refused_with_its_place_and_not_its_content(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "p1.psv").write_text(text)
    with pytest.raises(StayFileError, match=says) as refused:
        psv.read(psv.stay_files(tmp_path))
    assert "SECRET" not in str(refused.value)


def test_a_mark_of_byte_order_belongs_to_no_column(tmp_path: Path) -> None:
    (tmp_path / "p1.psv").write_text("Temp|HR|ICULOS\n38.5|80|1\n", encoding="utf-8-sig")
    assert psv.read(psv.stay_files(tmp_path)).panel.values[0, INDEX["Temp"]] == np.float32(38.5)


def test_who_nobody_is_counts_as_unknown(tmp_path: Path) -> None:
    lines = ["-50|7", "131|0", "18|1", "89|0"]
    for number, line in enumerate(lines):
        (tmp_path / f"p{number}.psv").write_text(f"HR|ICULOS|Age|Gender\n80|1|{line}\n")
    panel = psv.read(psv.stay_files(tmp_path)).panel
    assert np.array_equal(panel.age, np.array([np.nan, np.nan, 18, 89], np.float32), equal_nan=True)
    assert np.array_equal(panel.sex, np.array([np.nan, 0, 1, 0], np.float32), equal_nan=True)


def _write_half(out: Path) -> None:
    with psv.whole_folder(out) as work:
        (work / "p1.psv").write_text("half")
        raise StayFileError("p2.psv: no hour")


def test_a_folder_is_whole_or_has_nothing_new(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "p1.psv").write_text("of before")
    with pytest.raises(StayFileError):
        _write_half(out)
    assert {each.name: each.read_text() for each in out.iterdir()} == {"p1.psv": "of before"}
    with psv.whole_folder(out) as work:
        (work / "p1.psv").write_text("whole")
    assert {each.name: each.read_text() for each in out.iterdir()} == {"p1.psv": "whole"}


def test_a_folder_without_stays_is_told(tmp_path: Path) -> None:
    with pytest.raises(StayFileError, match=r"no \.psv file"):
        psv.stay_files(tmp_path)
