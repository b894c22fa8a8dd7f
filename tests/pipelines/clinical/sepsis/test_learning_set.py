"""What is learnt from: read as it is, named by its content; and the challenge's known answers on its set A."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from infra.loaders import physionet
from pipelines.clinical.sepsis.drift_set import read_as_sent
from pipelines.clinical.sepsis.learning_set import CONTEXT_COLUMNS, LABEL, LearningSetError, read_parquet
from pipelines.clinical.sepsis.utility import normalised_utility
from pipelines.clinical.sepsis.variables import BY_CODE, INDEX, NAMES, VARIABLES
from warehouse.vocabulary import CODES

SET_A = Path(__file__).parents[5] / "shared" / "data" / "physionet2019" / "training_setA.parquet"


def table(**changed: list) -> pa.Table:
    columns = {name: [None, 1.0, 2.0] for name in (*NAMES, *CONTEXT_COLUMNS)} | {
        "patient_id": ["b", "a", "a"],
        "ICULOS": [4, 2, 1],
        "HR": [80.0, 90.0, float("nan")],
        "FiO2": [0.5, None, 40.0],
        "Unit1": [None, 1, 1],
        "Unit2": [None, 0, 0],
        LABEL: [0, 1, 0],
    }
    return pa.table(columns | changed)


def test_rows_come_by_patient_and_hour_in_canonical_units(tmp_path: Path) -> None:
    pq.write_table(table(), tmp_path / "a.parquet")
    read = read_parquet(tmp_path / "a.parquet")
    assert read.patients.tolist() == ["a", "b"]
    assert read.panel.starts.tolist() == [0, 2, 3]
    assert read.panel.hour.tolist() == [1, 2, 4]
    assert read.labels.tolist() == [False, True, False]
    np.testing.assert_array_equal(read.panel.values[:, INDEX["HR"]], np.array([np.nan, 90, 80], np.float32))
    np.testing.assert_array_equal(read.panel.values[:, INDEX["FiO2"]], np.array([np.nan, np.nan, 50], np.float32))
    np.testing.assert_array_equal(read.panel.unit, np.array([1, 1, np.nan], np.float32))


def test_the_digest_names_the_content_and_not_the_order_of_rows(tmp_path: Path) -> None:
    for name, given in (("a", table()), ("b", table().take([2, 0, 1])), ("c", table(HR=[81.0, 90.0, None]))):
        pq.write_table(given, tmp_path / name)
    one, turned, changed = (read_parquet(tmp_path / name).digest for name in "abc")
    assert one == turned != changed


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"ICULOS": [4, 3, 1]}, "consecutive"),
        ({LABEL: [0, 2, 0]}, "neither 0 nor 1"),
        ({"ICULOS": [4, None, 1]}, "ICULOS is missing"),
    ],
)
def test_what_cannot_be_learnt_from_is_told(tmp_path: Path, changed: dict, says: str) -> None:
    pq.write_table(table(**changed), tmp_path / "a.parquet")
    with pytest.raises(LearningSetError, match=says):
        read_parquet(tmp_path / "a.parquet")


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"patient_id": ["b", None, "a"]}, "patient_id: 1, the first is row 2"),
        ({"patient_id": pa.array(["b", None, "a"]).dictionary_encode()}, "patient_id: 1, the first is row 2"),
        ({"patient_id": [1.0, 2.0, float("nan")]}, "patient_id: 1, the first is row 3"),
        ({"patient_id": [["b"], ["a"], ["a"]]}, "column patient_id cannot be read as text"),
        ({"HR": ["80", "PATIENT-SECRET", "90"]}, "column HR cannot be read as numbers"),
        ({"Lactate": [[1.0], [2.0], [3.0]]}, "column Lactate cannot be read as numbers"),
    ],
)
def test_a_column_of_another_kind_is_named_whoever_reads_the_file(tmp_path: Path, changed: dict, says: str) -> None:
    pq.write_table(table(**changed), tmp_path / "a.parquet")
    for read in (read_parquet, read_as_sent):
        with pytest.raises(LearningSetError, match=says) as refused:
            read(tmp_path / "a.parquet")
        assert "SECRET" not in f"{refused.value}{refused.value.__cause__}"


def test_a_ward_that_is_no_text_is_named(tmp_path: Path) -> None:
    pq.write_table(table(ward=[["W1"], ["W2"], ["W2"]]), tmp_path / "a.parquet")
    with pytest.raises(LearningSetError, match="column ward cannot be read as text"):
        read_as_sent(tmp_path / "a.parquet")


def test_patients_and_hours_may_be_kept_in_another_form(tmp_path: Path) -> None:
    hours, ids = [1, *range(1, 12)], ["b", *["a"] * 11]  # as text the tenth hour comes before the second
    blank = {name: [1.0] * 12 for name in (*NAMES, *CONTEXT_COLUMNS)} | {"patient_id": ids, LABEL: [0] * 12}
    words = {"patient_id": pa.array(ids).dictionary_encode(), "ICULOS": [str(hour) for hour in hours]}
    for name, given in (("a", {"ICULOS": hours}), ("b", words)):
        pq.write_table(table(**(blank | given)), tmp_path / name)
    assert read_parquet(tmp_path / "a").digest == read_parquet(tmp_path / "b").digest


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    pq.write_table(table().drop_columns(["Lactate"]), tmp_path / "a.parquet")
    with pytest.raises(LearningSetError, match="no column Lactate"):
        read_parquet(tmp_path / "a.parquet")


def test_the_mapping_is_that_of_the_vocabulary_and_of_the_loader() -> None:
    assert len(NAMES) == 34
    assert set(physionet.COLUMNS) == set(NAMES)
    for at, variable in enumerate(VARIABLES):
        assert {CODES[code].unit for code in variable.codes} == {variable.unit}
        assert all(BY_CODE[code] == at for code in variable.codes)
    assert {variable.name: variable.factor for variable in VARIABLES if variable.factor != 1} == {"FiO2": 100.0}


def test_known_answers_on_set_a() -> None:
    if not SET_A.is_file():
        pytest.skip(f"{SET_A} is not here (PhysioNet/CinC Challenge 2019, doi 10.13026/v64v-d857)")
    given = read_parquet(SET_A)
    panel = given.panel
    assert (panel.stays, panel.rows, int(given.labels.sum())) == (20_336, 790_215, 17_136)
    for alerts, known in (
        (np.ones(panel.rows, dtype=bool), -0.3105),
        (panel.hour >= 48, 0.3016),
        (panel.hour >= 54, 0.3069),
    ):
        assert normalised_utility(given.labels, panel.starts, alerts) == pytest.approx(known, abs=5e-5)
