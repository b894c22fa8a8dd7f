"""`wardstream sepsis`: train, score, card, on made-up stays."""

from __future__ import annotations

import json
import re
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from infra.cli import drift, sepsis
from pipelines.clinical.sepsis import model_files, train
from pipelines.clinical.sepsis.learn import learn
from pipelines.clinical.sepsis.learning_set import LearningSet
from pipelines.clinical.sepsis.panel import MEDICAL, SURGICAL
from pipelines.clinical.sepsis.variables import VARIABLES
from tests.pipelines.clinical.sepsis.stays import SMALL, psv_text, with_outcome
from tests.warehouse.conftest import lake_settings

STAYS = 30


@pytest.fixture(scope="module")
def learning() -> LearningSet:
    return with_outcome(STAYS, seed=5, longest=40)


@pytest.fixture(scope="module")
def model(learning: LearningSet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    model_files.write(folder, *learn(learning, SMALL, 1, 1, lambda line: None, {"source": "made-up stays"}))
    return folder


def stays_in(folder: Path, learning: LearningSet, hours: int | None = None) -> Path:
    folder.mkdir()
    for number in range(STAYS):
        length = int(learning.panel.starts[number + 1] - learning.panel.starts[number])
        (folder / f"p{number:06d}.psv").write_text(psv_text(learning, number, min(hours, length) if hours else None))
    return folder


def predictions(folder: Path) -> dict[str, list[str]]:
    return {path.name: path.read_text().splitlines() for path in sorted(folder.glob("*.psv"))}


@pytest.mark.parametrize("hours", [1, 7, 30])
def test_files_cut_short_get_the_predictions_of_the_whole_stays(
    learning: LearningSet, model: Path, tmp_path: Path, hours: int
) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert sepsis.score(stays_in(tmp_path / "stays", learning), model, whole) == 0
    assert sepsis.score(stays_in(tmp_path / "short", learning, hours), model, cut) == 0
    for name, lines in predictions(cut).items():
        assert lines == predictions(whole)[name][: len(lines)]


def test_every_hour_has_a_line_of_the_challenges_form(learning: LearningSet, model: Path, tmp_path: Path) -> None:
    assert sepsis.score(stays_in(tmp_path / "stays", learning), model, tmp_path / "out") == 0
    written = predictions(tmp_path / "out")
    assert len(written) == STAYS
    assert sum(map(len, written.values())) == learning.panel.rows + STAYS
    for header, *lines in written.values():
        assert header == "PredictedProbability|PredictedLabel"
        assert all(0 <= float(line.split("|")[0]) <= 1 and line.split("|")[1] in "01" for line in lines)


def test_many_files_are_scored_as_few_are(
    learning: LearningSet, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = stays_in(tmp_path / "stays", learning)
    assert sepsis.score(source, model, tmp_path / "one") == 0
    monkeypatch.setattr(sepsis, "FILES_AT_ONCE", 7)
    assert sepsis.score(source, model, tmp_path / "many") == 0
    assert predictions(tmp_path / "one") == predictions(tmp_path / "many")


def test_a_bad_file_among_many_is_named_and_nothing_is_predicted(
    learning: LearningSet,
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    source = stays_in(tmp_path / "stays", learning)
    last = sorted(source.iterdir())[-1]
    last.write_text("\n".join(line for at, line in enumerate(last.read_text().splitlines()) if at != 2))
    monkeypatch.setattr(sepsis, "FILES_AT_ONCE", 7)
    assert sepsis.score(source, model, tmp_path / "out") == 1
    assert f"{last}, line 3: ICULOS is not the hour after" in capsys.readouterr().err
    assert list((tmp_path / "out").iterdir()) == []


def test_stays_are_not_overwritten_by_their_predictions(
    learning: LearningSet, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = stays_in(tmp_path / "stays", learning)
    before = predictions(source)
    assert sepsis.score(source, model, source) == 1
    assert predictions(source) == before
    assert "--out is the folder of the stays" in capsys.readouterr().err


def test_without_a_model_the_champion_scores_and_says_so(
    learning: LearningSet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sepsis.score(stays_in(tmp_path / "stays", learning), None, tmp_path / "out", as_json=True) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["model"] == model_files.champion().version
    assert "built-in champion" in printed.err


def test_a_dry_run_writes_nothing(learning: LearningSet, model: Path, tmp_path: Path) -> None:
    source = stays_in(tmp_path / "stays", learning)
    assert sepsis.score(source, model, tmp_path / "out", dry_run=True) == 0
    assert sepsis.train(source, tmp_path / "model", folds_seed=1, threads=1, dry_run=True) == 0
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "model").exists()


def test_training_from_parquet_and_from_files_is_one(
    learning: LearningSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(train, "Recipe", lambda: SMALL)
    source, table = stays_in(tmp_path / "stays", learning), tmp_path / "stays.parquet"
    pq.write_table(as_table(source), table)
    answers = []
    for given in (source, table):
        assert sepsis.train(given, tmp_path / "model", folds_seed=1, threads=1, as_json=True) == 0
        answers.append(json.loads(capsys.readouterr().out))
    assert answers[0]["version"] == answers[1]["version"]
    assert {"utility", "clock_utility", "auroc", "auprc", "alert_hours_per_patient_day"} <= answers[0].keys()


@pytest.mark.parametrize("changed", [{"ward": [["W1"]]}, {"HR": ["n/a"]}])
def test_a_file_whose_drift_could_not_be_judged_is_refused_before_the_training(
    changed: dict, learning: LearningSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train, "Recipe", lambda: SMALL)
    given = as_table(stays_in(tmp_path / "stays", learning))
    kept = [name for name in given.column_names if name not in changed]
    columns = {name: pa.array(value * len(given)) for name, value in changed.items()}
    pq.write_table(pa.table({name: given[name] for name in kept} | columns), tmp_path / "stays.parquet")
    assert sepsis.train(tmp_path / "stays.parquet", tmp_path / "model", folds_seed=1, threads=1) == 1
    assert not (tmp_path / "model").exists()


def as_table(source: Path) -> pa.Table:
    tables = []
    for path in sorted(source.glob("*.psv")):
        header, *lines = path.read_text().splitlines()
        columns = zip(*[[float(cell) for cell in line.split("|")] for line in lines], strict=True)
        table = pa.table(dict(zip(header.split("|"), map(list, columns), strict=True)))
        tables.append(table.append_column("patient_id", pa.array([path.stem] * len(lines))))
    return pa.concat_tables(tables)


def test_the_card_is_written_anew_and_loads_nothing(model: Path, tmp_path: Path) -> None:
    kept = (model / "card.html").read_text()
    assert sepsis.card(model, tmp_path / "again.html") == 0
    page = (tmp_path / "again.html").read_text()
    assert page == kept
    assert "http" not in page
    assert "must not be used" in page
    assert page.count("<svg") == 3
    assert not re.search(r"\b(nan|None)\b", page)


@pytest.mark.parametrize(
    ("given", "says"), [("nothing.parquet", "no such file"), ("empty", "no .psv file"), ("junk.parquet", "parquet")]
)
def test_what_cannot_be_learnt_from_is_refused(
    tmp_path: Path, given: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "junk.parquet").write_text("this is no parquet")
    assert sepsis.train(tmp_path / given, tmp_path / "model", folds_seed=1, threads=1) == 1
    assert says in capsys.readouterr().err


def test_a_model_is_not_written_over_something_else(
    learning: LearningSet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = stays_in(tmp_path / "stays", learning)
    assert sepsis.train(source, source, folds_seed=1, threads=1) == 1
    assert "no model" in capsys.readouterr().err


def test_a_folder_that_is_no_model_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "stays").mkdir()
    (tmp_path / "stays" / "p1.psv").write_text("HR|ICULOS\n80|1\n")
    assert sepsis.score(tmp_path / "stays", tmp_path, tmp_path / "out") == 1
    assert "metadata.json is missing" in capsys.readouterr().err


def as_parquet(file: Path, learning: LearningSet, creatinine: float = 1.0) -> Path:
    """The stays as a parquet file, creatinine as another unit would have it."""
    panel = learning.panel
    owner = panel.stay_of_row()
    columns = {v.name: panel.values[:, at] / v.factor for at, v in enumerate(VARIABLES)}
    columns["Creatinine"] = columns["Creatinine"] * creatinine
    context = {"Age": panel.age, "Gender": panel.sex, "HospAdmTime": panel.admission_h, "ICULOS": panel.hour}
    units = {"Unit1": panel.unit == MEDICAL, "Unit2": panel.unit == SURGICAL}
    numbers = {name: np.asarray(column, dtype=np.float64) for name, column in {**columns, **context, **units}.items()}
    pq.write_table(pa.table({"patient_id": [f"p{n:05d}" for n in owner.tolist()], **numbers}), file)
    return file


def test_drift_names_the_unit_and_its_remedy_and_is_silent_without(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, after = with_outcome(700, seed=1, longest=50), with_outcome(150, seed=3, longest=50)
    reference = as_parquet(tmp_path / "reference.parquet", before)
    assert drift.of_files(as_parquet(tmp_path / "same.parquet", after), reference) == 0
    assert "no difference" in capsys.readouterr().out
    other = as_parquet(tmp_path / "other.parquet", after, creatinine=88.4)
    assert drift.of_files(other, reference, as_json=True) == 1
    (cause,) = json.loads(capsys.readouterr().out)["causes"]
    assert (cause["kind"], cause["items"], cause["unit"]) == ("unit_change", ["Creatinine"], "umol/L")
    assert not cause["retrains"]


def test_a_look_at_a_day_that_is_not_over_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = lake_settings(tmp_path / "home", f"file://{tmp_path}/lake", WARDSTREAM_S3_ENDPOINT="http://127.0.0.1:1")
    assert drift.of_lake(settings, day=date(2999, 1, 1), days=None, as_of=None) == 1
    assert "2999-01-01 is not over" in capsys.readouterr().err
