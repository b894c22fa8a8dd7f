"""`wardstream models`: register, promote, refuse, go back, on a lake in a folder."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from infra.cli import models
from pipelines import shadow_comparison
from pipelines.clinical.sepsis import model_files
from pipelines.clinical.sepsis.gate import Decision
from pipelines.clinical.sepsis.learn import learn
from pipelines.clinical.sepsis.learning_set import LABEL, LearningSet, read_parquet, sample_of
from pipelines.clinical.sepsis.panel import MEDICAL, SURGICAL
from pipelines.clinical.sepsis.variables import VARIABLES
from pipelines.model_source import files_in, row_of
from pipelines.retraining import Retraining
from tests.pipelines.clinical.sepsis.stays import SMALL, with_outcome
from tests.warehouse.conftest import lake_settings
from tests.warehouse.models.conftest import model, with_tables
from warehouse.catalog import create_table, open_catalog, table_lock
from warehouse.commit import OutcomeUnknownError, TableChangedError
from warehouse.contract import load_contracts
from warehouse.erasure.ledger import Ledger, mark_of
from warehouse.erasure.models import ErasedMeanwhileError
from warehouse.identity import SealError, subject_token
from warehouse.models.artefacts import sha256
from warehouse.models.kept_snapshots import OvertakenError, SnapshotGoneError
from warehouse.models.people import named_by, seal_people
from warehouse.models.registry import Registry
from warehouse.settings import Settings
from warehouse.vault import LEARNERS_KEY, LEDGER_KEY, VaultError, VaultUnavailableError, open_vault

PATIENT_ID = "urn:wardstream:patient-id"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("model")
    learnt = with_outcome(30, seed=5, longest=30)
    model_files.write(place, *learn(learnt, SMALL, 1, 1, lambda line: None, {"source": "made-up stays"}))
    return place


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    made = lake_settings(tmp_path / "home", f"file://{tmp_path}/lake", WARDSTREAM_S3_ENDPOINT="http://127.0.0.1:1")
    with_tables(made)
    return made


def said(capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    return json.loads(capsys.readouterr().out.strip().splitlines()[-1])


def registered(settings: Settings, folder: Path, capsys: pytest.CaptureFixture[str]) -> str:
    assert models.register(settings, folder, as_json=True) == 0
    return str(said(capsys)["version"])


def test_a_model_is_registered_once_and_listed(
    settings: Settings, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    version = registered(settings, folder, capsys)
    assert models.register(settings, folder, as_json=True) == 0
    assert said(capsys)["new"] is False
    assert models.list_models(settings, as_json=True) == 0
    listed = said(capsys)
    assert [(each["version"], each["role"]) for each in listed["models"]] == [(version, "")]  # type: ignore[attr-defined]
    assert listed["champion"] is None


def test_nothing_is_promoted_without_stays_to_judge_on(
    settings: Settings, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    version = registered(settings, folder, capsys)
    assert models.promote(settings, version, "it is a test", on=None) == 1
    assert "--on" in capsys.readouterr().err
    assert models.show(settings, version, as_json=True) == 0
    assert said(capsys)["decisions"] == []


def test_a_model_judged_against_a_champion_that_changed_meanwhile_is_not_promoted(
    settings: Settings, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    version = registered(settings, folder, capsys)
    registry = Registry(settings, load_contracts(), open_catalog(settings), "test")
    registry.register(*model("bb22"))
    others = [("bb22", datetime.now(UTC))]

    def judging(*given: object) -> Decision:
        for other, at in others:
            registry.give("sepsis", other, "champion", "by hand meanwhile", {}, "t", at)
        return Decision(True, "it is better", 600, 60, ())

    monkeypatch.setattr(models, "_judged", judging)
    assert models.promote(settings, version, "it is a test", on=folder) == 1
    out, err = capsys.readouterr()
    assert "judge anew" in err
    assert out == "", "nothing is reported that was not decided"
    assert registry.heir("sepsis") == "bb22"
    others.clear()
    assert models.promote(settings, version, "it is a test", on=folder) == 0
    assert registry.heir("sepsis") == version


@pytest.mark.parametrize("again", [27, 3])
def test_a_file_with_stays_that_a_model_learned_from_judges_nothing(
    again: int, settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Under other names, and beside stays it has not seen."""
    learnt, others = tmp_path / "learnt.parquet", tmp_path / "others.parquet"
    as_parquet(learnt, with_outcome(30, seed=5, longest=30), "p")
    as_parquet(others, with_outcome(20, seed=6, longest=30), "q")
    given = read_parquet(learnt)
    made = learn(given, SMALL, 1, 1, lambda line: None, {"source": "made-up stays", "sample": sample_of(given)})
    model_files.write(tmp_path / "model", *made)
    version = registered(settings, tmp_path / "model", capsys)
    mixed = pq.read_table(learnt).filter(pc.field("patient_id") < f"p{again:05d}")
    names = pc.replace_substring(mixed["patient_id"], "p", "another-name-")
    mixed = mixed.set_column(mixed.column_names.index("patient_id"), "patient_id", names)
    pq.write_table(pa.concat_tables([mixed, pq.read_table(others)]), tmp_path / "mixed.parquet")
    assert models.promote(settings, version, "it is a test", on=tmp_path / "mixed.parquet") == 1
    assert f"learned from stays of this file: from {again} of" in capsys.readouterr().err
    assert models.promote(settings, version, "it is a test", on=others) == 1
    assert "septic stays with an outcome" in capsys.readouterr().err, "strangers are judged, here by too few"


def learnt_in_the_lake(settings: Settings, folder: Path, numbers: range) -> str:
    """The folder's model, as one that learned from the patients of these numbers under their pseudonyms of the lake."""
    made, files = model_files.read(folder), files_in(folder)
    vault = open_vault(settings.vault_uri, time.monotonic)
    people = [subject_token(vault.token_key(), PATIENT_ID, f"P{n:06d}") for n in numbers]
    sealed = seal_people(vault.house_key(LEARNERS_KEY), made.version, people)
    vault.close()
    row = row_of(made, files, snapshots={}, learnt_from=sha256(sealed), at=datetime.now(UTC), who="test")
    Registry(settings, load_contracts(), open_catalog(settings), "test").register(row, files, sealed)
    return made.version


def in_pseudonyms(settings: Settings, file: Path) -> None:
    """The same file, as an export of the lake has it."""
    rows, vault = pq.read_table(file), open_vault(settings.vault_uri, time.monotonic)
    tokens = [subject_token(vault.token_key(), PATIENT_ID, each) for each in rows["patient_id"].to_pylist()]
    vault.close()
    pq.write_table(rows.set_column(0, "patient_id", pa.array(tokens)), file)


@pytest.mark.parametrize("as_exported", [False, True], ids=["numbers", "pseudonyms"])
def test_a_model_of_the_lake_is_not_judged_on_patients_it_knew_whatever_they_are_called(
    as_exported: bool, settings: Settings, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    version = learnt_in_the_lake(settings, folder, range(15, 40))
    known, others = tmp_path / "known.parquet", tmp_path / "others.parquet"
    as_parquet(known, with_outcome(20, seed=6, longest=30), "P0")
    as_parquet(others, with_outcome(20, seed=6, longest=30), "P9")
    if as_exported:
        in_pseudonyms(settings, known)
        in_pseudonyms(settings, others)
    assert models.promote(settings, version, "it is a test", on=known) == 1
    assert f"{version} learned from 5 of the 20 patients of this file" in capsys.readouterr().err
    assert models.promote(settings, version, "it is a test", on=others) == 1
    told = capsys.readouterr().err
    assert "septic stays with an outcome" in told, "strangers are judged, here by too few"
    assert "could not be checked" not in told


def test_what_could_not_be_asked_of_a_model_is_said_and_kept_with_the_reason(
    settings: Settings, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    version = learnt_in_the_lake(settings, folder, range(15, 40))
    public, mixed = tmp_path / "public.parquet", tmp_path / "mixed.parquet"
    as_parquet(public, with_outcome(20, seed=6, longest=30), "p")
    as_parquet(mixed, with_outcome(10, seed=7, longest=30), "P9")
    pq.write_table(pa.concat_tables([pq.read_table(public), pq.read_table(mixed)]), mixed)
    assert models.promote(settings, version, "it is a test", on=public, as_json=True) == 1
    told = f"whether {version} learned from 20 of the 20 patients could not be checked"
    assert told in str(said(capsys)["reason"])
    assert models.promote(settings, version, "it is a test", on=mixed) == 1
    assert "from 20 of the 30 patients could not be checked" in capsys.readouterr().err
    assert models.show(settings, version, as_json=True) == 0
    first, _ = said(capsys)["decisions"]  # type: ignore[misc]
    assert told in first["reason"]


def test_somebody_who_was_erased_and_came_back_is_known_by_either_pseudonym(settings: Settings) -> None:
    vault = open_vault(settings.vault_uri, time.monotonic)
    first, again = (subject_token(vault.token_key(), PATIENT_ID, "P000001", e) for e in (0, 1))
    mark = mark_of(vault.house_key(LEDGER_KEY), first)
    topics = [load_contracts().stream("device.vitals").topic]

    def named() -> dict[str, set[str]]:
        return named_by(["P000001", "p1", again], topics, vault.token_key(), Ledger(vault, time.monotonic))  # ty: ignore[invalid-argument-type]

    assert named() == {"P000001": {first}, "p1": set(), again: {again}}
    vault.fence([mark])
    assert named()["P000001"] == {first}, "a model that is still to be withdrawn knew them so"
    vault.readmit(mark, 1, 0)
    assert named()["P000001"] == {first, again}
    vault.close()


def as_parquet(file: Path, learning: LearningSet, prefix: str) -> None:
    panel = learning.panel
    columns = {v.name: panel.values[:, at] / v.factor for at, v in enumerate(VARIABLES)}
    context = {"Age": panel.age, "Gender": panel.sex, "HospAdmTime": panel.admission_h, "ICULOS": panel.hour}
    units = {"Unit1": panel.unit == MEDICAL, "Unit2": panel.unit == SURGICAL, LABEL: learning.labels}
    numbers = {name: np.asarray(each, dtype=np.float64) for name, each in {**columns, **context, **units}.items()}
    owner = [f"{prefix}{n:05d}" for n in panel.stay_of_row().tolist()]
    pq.write_table(pa.table({"patient_id": owner, **numbers}), file)


def test_an_override_is_kept_as_one_and_a_dry_run_decides_nothing(
    settings: Settings, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    version = registered(settings, folder, capsys)
    assert models.promote(settings, version, "it is a test", on=None, override=True, dry_run=True, as_json=True) == 0
    assert models.show(settings, version, as_json=True) == 0
    assert said(capsys)["decisions"] == []
    assert models.promote(settings, version[:6], "it is a test", on=None, override=True, as_json=True) == 0
    assert models.show(settings, version, as_json=True) == 0
    (decision,) = said(capsys)["decisions"]  # type: ignore[misc]
    assert (decision["role"], decision["evidence"]["overridden"]) == ("champion", True)


def test_there_is_nothing_to_go_back_from_under_the_built_in_model(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert models.rollback(settings, "it is a test") == 1
    assert "nothing to go back from" in capsys.readouterr().err


def test_going_back_twice_does_not_bring_the_bad_model_back(
    settings: Settings, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    version = registered(settings, folder, capsys)
    assert models.promote(settings, version, "it is a test", on=None, override=True) == 0
    assert models.rollback(settings, "it alerts on everybody", version="ffff") == 1
    assert models.rollback(settings, "it alerts on everybody", version=version, as_json=True) == 0
    assert '"version": "built-in"' in capsys.readouterr().out
    assert models.rollback(settings, "it alerts on everybody") == 1
    assert "decided to go back to built-in" in capsys.readouterr().err


def test_going_back_leaves_the_champion_that_was_seen_and_no_other(
    settings: Settings, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    version = registered(settings, folder, capsys)
    assert models.promote(settings, version, "it is a test", on=None, override=True) == 0
    registry = Registry(settings, load_contracts(), open_catalog(settings), "test")
    registry.register(*model("bb22"))
    decide = models._decide

    def somebody_was_first(*given: Any) -> None:
        registry.give("sepsis", "bb22", "champion", "it is better", {}, "t", datetime.now(UTC))
        decide(*given)

    monkeypatch.setattr(models, "_decide", somebody_was_first)
    assert models.rollback(settings, "it alerts on everybody") == 1
    assert f"{version} was to be left and reigns no more" in capsys.readouterr().err
    assert registry.heir("sepsis") == "bb22"


def test_a_recalibration_without_outcomes_is_refused_and_says_how_many_there_are(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    catalog, contracts = open_catalog(settings), load_contracts()
    for name in ("alert_feedback", "vitals", "wearables", "labs", "adt_events", "consent_updates"):
        create_table(catalog, settings.namespace, contracts.table(name), table_lock(settings))
    assert models.recalibrate(settings, "it is a test") == 1
    assert "0 stays" in capsys.readouterr().err
    assert models.recalibrate(settings, "so") == 1
    assert "reason" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("trouble", "code", "told"),
    [
        (ErasedMeanwhileError("somebody was erased meanwhile; run this again"), 1, "run this again"),
        (SnapshotGoneError("vitals has no snapshot 7 any more"), 1, "no snapshot 7"),
        (OutcomeUnknownError("an append may have landed"), 1, "may have landed"),
        (TableChangedError("table x is not in the catalog"), 1, "not in the catalog"),
        (OvertakenError("others wrote to vitals first"), 1, "others wrote"),
        (SealError("sealed bytes do not open"), 1, "whom a model learned from"),
        (VaultError("the vault's key is missing"), 1, "key is missing"),
        (VaultUnavailableError("the vault is locked"), 2, "vault is locked"),
        (OSError("no route"), 2, "does not answer"),
    ],
    ids=lambda each: type(each).__name__ if isinstance(each, Exception) else None,
)
def test_what_ends_a_recalibration_is_told_in_a_sentence(
    trouble: Exception, code: int, told: str,
    settings: Settings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def ends(*given: object, **named: object) -> None:
        raise trouble

    monkeypatch.setattr(Retraining, "recalibrate", ends)
    assert models.recalibrate(settings, "it is a test") == code
    assert told in capsys.readouterr().err


def test_a_page_that_cannot_be_written_is_not_blamed_on_the_store(
    settings: Settings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = Registry(settings, load_contracts(), open_catalog(settings), "test")
    registry.register(*model("bb22"))
    (settings.home / "shadow").mkdir(parents=True)
    monkeypatch.setattr(shadow_comparison, "compare", lambda analytics, version: SimpleNamespace(version=version))
    monkeypatch.setattr(shadow_comparison, "comparison_page", lambda found: "a page")
    monkeypatch.setattr(shadow_comparison, "page_path", lambda home, version: home / "shadow")
    assert models.compare(settings, "bb22") == 1
    assert "cannot be written (IsADirectoryError)" in capsys.readouterr().err


@pytest.mark.parametrize("reason", ["", "  so       "])
def test_no_fixed_text_makes_a_reason_of_none(
    reason: str, settings: Settings, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    version = registered(settings, folder, capsys)
    assert models.promote(settings, version, reason, on=None, override=True) == 1
    assert "needs a reason" in capsys.readouterr().err
    assert models.promote(settings, version, "it is a test", on=None, override=True) == 0
    assert models.rollback(settings, reason) == 1
    assert models.rollback(settings, reason, dry_run=True) == 1
    assert "needs a reason" in capsys.readouterr().err
    registry = Registry(settings, load_contracts(), open_catalog(settings), "test")
    assert [each.role for each in registry.roles()] == ["champion"]


def test_an_unknown_model_and_a_thin_reason_are_refused(
    settings: Settings, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert models.show(settings, "ffff") == 1
    version = registered(settings, folder, capsys)
    assert models.give_role(settings, version, "shadow", "so") == 1
    assert "reason" in capsys.readouterr().err
