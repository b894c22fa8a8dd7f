"""A retraining on a real lake in a folder: what it learns from, what is recorded, and what a refusal leaves behind."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipelines import retraining
from pipelines.clinical.sepsis import gate, model_files, promotion
from pipelines.clinical.sepsis.lake_set import held_out
from pipelines.clinical.sepsis.model_files import NAME
from pipelines.clinical.sepsis.promotion import TooFewOutcomesError
from pipelines.model_source import files_of, row_of
from pipelines.retraining import Retraining, TooFewStaysError
from tests.pipelines.clinical.sepsis.stays import SMALL
from tests.warehouse.conftest import lake_settings
from warehouse.catalog import create_table, load_table, open_catalog, table_lock
from warehouse.commit import FencedTable
from warehouse.contract import load_contracts
from warehouse.models.people import models_that_knew
from warehouse.models.registry import LEAD, RELOAD
from warehouse.settings import Settings
from warehouse.tables import arrow_schema
from warehouse.vault import LEARNERS_KEY, open_vault

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
DECIDED = NOW + timedelta(minutes=20)
BEGUN = NOW - timedelta(days=5)
PATIENTS, HOURS = 60, 16
FILL = {"string": "x", "int": 0, "long": 0, "double": 0.0, "boolean": False, "binary": b"", "timestamptz": BEGUN}
TABLES = ("vitals", "wearables", "labs", "adt_events", "alert_feedback", "models", "model_roles", "drift_profiles",
          "drift_reports", "drift_monitors", "scores", "consent_updates")  # fmt: skip


def put(settings: Settings, name: str, rows: list[dict[str, Any]]) -> None:
    """Rows into a table, whatever they do not say filled in."""
    contract = load_contracts().table(name)
    required = {c.name: FILL.get(c.iceberg, []) for c in contract.columns if c.required}
    whole = [{**required, **row} for row in rows]
    load_table(open_catalog(settings), settings.namespace, name).append(
        pa.Table.from_pylist(whole, schema=arrow_schema(contract))
    )


def readings() -> list[dict[str, Any]]:
    """Every third patient's heart rate rises from hour 8 on."""
    random, rows = np.random.default_rng(0), []
    for number in range(PATIENTS):
        for hour in range(HOURS):
            high = 60 if number % 3 == 0 and hour >= 8 else 0
            moment = BEGUN + timedelta(hours=hour, minutes=5)
            rows.append(
                {
                    "event_id": f"{number}-{hour}", "subject_token": f"token{number:03d}", "code": "8867-4",
                    "numeric_value": 80.0 + high + float(random.integers(0, 9)), "unit": "/min", "event_time": moment,
                    "ward": f"ICU-{number % 2}", "device_id": f"MON-{number % 20}",
                    "kafka_time": moment, "kafka_offset": number * HOURS + hour,
                }
            )  # fmt: skip
    return rows


def outcomes() -> list[dict[str, Any]]:
    return [
        {
            "event_id": f"o{number}", "subject_token": f"token{number:03d}", "action": "outcome",
            "outcome": "sepsis" if number % 3 == 0 else "no_sepsis",
            "onset_at": BEGUN + timedelta(hours=14) if number % 3 == 0 else None,
            "event_time": BEGUN + timedelta(hours=HOURS + 2), "kafka_offset": number,
        }
        for number in range(PATIENTS)
    ]  # fmt: skip


@pytest.fixture
def lake(tmp_path: Path) -> Settings:
    settings = lake_settings(tmp_path / "home", f"file://{tmp_path}/lake")
    catalog, contracts = open_catalog(settings), load_contracts()
    for name in TABLES:
        create_table(catalog, settings.namespace, contracts.table(name), table_lock(settings))
    return settings


def work(settings: Settings) -> Retraining:
    return Retraining(settings, load_contracts(), open_catalog(settings), "test", SMALL, clock=lambda: DECIDED)


def test_without_outcomes_nothing_is_learnt_and_it_is_said(lake: Settings) -> None:
    put(lake, "vitals", readings())
    with pytest.raises(TooFewStaysError, match="0 stays"):
        work(lake).run("a test", NOW, progress=lambda line: None)


def test_a_refused_model_is_on_record_with_its_reason_snapshots_and_people(
    lake: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retraining, "LEAST_STAYS", 30)
    put(lake, "vitals", readings())
    put(lake, "alert_feedback", outcomes())
    made = work(lake)
    done = made.run("drift, other patients", NOW, progress=lambda line: None)
    assert (done.decision.promote, done.role.role) == (False, "refused")
    assert "drift, other patients; " in done.role.reason
    assert done.role.in_force_at == DECIDED + LEAD + RELOAD, "dated when it is decided, however long the training took"
    assert "septic stays with an outcome" in done.role.reason
    assert done.stays + done.held == PATIENTS
    assert made.registry.champion(NAME, NOW + timedelta(days=1)) is None

    row = made.registry.model(done.model.version)
    tables = {name: open_catalog(lake).load_table((lake.namespace, name)) for name in ("vitals", "alert_feedback")}
    for name, table in tables.items():
        assert row.snapshots[name] == table.metadata.refs[f"model-{row.version}"].snapshot_id
    assert made.registry.load(row.version)["model.onnx"] == done.model.onnx

    vault = open_vault(lake.vault_uri, time.monotonic)
    try:
        key = vault.house_key(LEARNERS_KEY)
        knew = [bool(models_that_knew(made.registry, key, [f"token{n:03d}"])) for n in range(PATIENTS)]
    finally:
        vault.close()
    assert sum(knew) == done.stays
    profile = made.looks.profile(row.version)
    assert {each["scope"] for each in profile} >= {"all", "ward:ICU-0", "ward:ICU-1", "device:MON-7"}
    (rate,) = (each for each in profile if (each["scope"], each["item"]) == ("all", "HR"))
    assert rate["of_stays"] == done.stays


def allow_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(promotion, "LEAST_OUTCOMES", PATIENTS)
    monkeypatch.setattr(promotion, "LEAST_FITTED", 30)


def test_a_recalibration_refuses_below_500_outcomes_and_says_how_many_there_are(lake: Settings) -> None:
    with pytest.raises(TooFewOutcomesError, match="0 stays"):
        work(lake).recalibrate("a test of it", NOW)
    put(lake, "vitals", readings())
    put(lake, "alert_feedback", outcomes())
    with pytest.raises(TooFewOutcomesError, match=f"{PATIENTS} stays .* 500 at least"):
        work(lake).recalibrate("a test of it", NOW)
    assert work(lake).registry.models() == {}


@pytest.mark.parametrize("measured", [False, True])
def test_outcomes_without_a_measurement_before_them_are_told_as_too_few(measured: bool, lake: Settings) -> None:
    """Nobody was measured, or each only when their sepsis had begun."""
    put(lake, "alert_feedback", [each for each in outcomes() if each["outcome"] == "sepsis"])
    if measured:
        put(lake, "vitals", [each for each in readings() if each["event_time"] > BEGUN + timedelta(hours=9)])
    with pytest.raises(TooFewOutcomesError, match="0 stays"):
        work(lake).recalibrate("a test of it", NOW)
    with pytest.raises(TooFewStaysError, match="0 stays"):
        work(lake).run("a test", NOW, progress=lambda line: None)


def test_a_recalibration_is_another_version_through_the_same_gate(
    lake: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    allow_few(monkeypatch)
    monkeypatch.setattr(gate, "LEAST_SEPTIC", 10)
    put(lake, "vitals", readings())
    put(lake, "alert_feedback", outcomes())
    made = work(lake)
    tried = made.recalibrate("a test of it", NOW, dry_run=True)
    assert tried.role is None
    assert made.registry.models() == {}
    done = made.recalibrate("a test of it", NOW)
    assert done.role is not None
    assert done.model.version == tried.model.version
    assert done.role.role == ("champion" if done.decision.promote else "refused")
    assert done.decision.promote, done.decision.reason
    built_in = model_files.champion()
    assert (done.model.text, done.model.threshold) == (built_in.text, built_in.threshold)
    champion = made.registry.champion(NAME, NOW + timedelta(days=1))
    assert champion is not None
    assert champion.version == done.model.version
    assert made.registry.load(champion.version)["model.onnx"] == built_in.onnx


def test_what_a_champion_was_fitted_to_counts_no_second_time(lake: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    allow_few(monkeypatch)
    monkeypatch.setattr(gate, "LEAST_SEPTIC", 10)
    put(lake, "vitals", readings())
    put(lake, "alert_feedback", outcomes())
    done = work(lake).recalibrate("a test of it", NOW)
    kept = sum(held_out([f"token{number:03d}" for number in range(PATIENTS)]))
    with pytest.raises(TooFewOutcomesError, match=f"{kept} stays"):
        work(lake).recalibrate("a second test", NOW + timedelta(days=1))
    assert done.model.metadata["recalibrated"]["fitted_to"] == PATIENTS - kept


# --- beside a lake that goes on


def commits(settings: Settings, many: int) -> None:
    """As a stream makes them: each trims the oldest snapshot."""
    stream = FencedTable(open_catalog(settings), (settings.namespace, "vitals"), writer="stream")
    contract = load_contracts().table("vitals")
    required = {c.name: FILL.get(c.iceberg, []) for c in contract.columns if c.required}
    for number in range(many):
        row = {**required, **readings()[0], "event_id": f"later-{number}"}
        stream.append_derived(pa.Table.from_pylist([row], schema=arrow_schema(contract)), {})


def tags(settings: Settings) -> dict[str, set[str]]:
    catalog = open_catalog(settings)
    loaded = {name: load_table(catalog, settings.namespace, name) for name in ("vitals", "alert_feedback")}
    return {name: set(table.metadata.refs) - {"main"} for name, table in loaded.items()}


@pytest.fixture
def ready(lake: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr(retraining, "LEAST_STAYS", 30)
    put(lake, "vitals", readings())
    put(lake, "alert_feedback", outcomes())
    return lake


def test_what_was_read_is_kept_while_the_stream_commits_and_the_model_learns(ready: Settings) -> None:
    made = work(ready)
    done = made.run(
        "a test", NOW, progress=lambda line: commits(ready, 55) if line == "the model of all stays" else None
    )
    table = load_table(open_catalog(ready), ready.namespace, "vitals")
    kept = table.metadata.refs[f"model-{done.model.version}"].snapshot_id
    assert kept == done.snapshots["vitals"]
    assert table.scan(snapshot_id=kept).count() == PATIENTS * HOURS
    assert tags(ready) == {name: {f"model-{done.model.version}"} for name in ("vitals", "alert_feedback")}


def test_rows_whose_snapshot_was_trimmed_before_it_was_kept_are_read_again(
    ready: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, times = retraining.read_training_rows, []

    def slowly(*given: Any, **named: Any) -> Any:
        rows = read(*given, **named)
        times.append(rows.snapshots["vitals"])
        if len(times) == 1:
            commits(ready, 55)
        return rows

    monkeypatch.setattr(retraining, "read_training_rows", slowly)
    done = work(ready).run("a test", NOW, progress=lambda line: None)
    assert len(set(times)) == 2
    assert done.snapshots["vitals"] == times[1]


def test_a_training_that_fails_leaves_no_tag_and_no_list_of_people(
    ready: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*given: Any, **named: Any) -> Any:
        raise OSError("the store is gone")

    made = work(ready)
    put_before: list[bytes] = []
    monkeypatch.setattr(made.registry.files, "put", lambda content: put_before.append(content) or "")
    monkeypatch.setattr(made.registry, "register", fails)
    with pytest.raises(OSError, match="gone"):
        made.run("a test", NOW, progress=lambda line: None)
    assert put_before == []
    assert not [tag for each in tags(ready).values() for tag in each if tag.startswith("training-")]


def registered(made: Retraining, threshold: float) -> str:
    """A model of the built-in one's trees."""
    real = model_files.champion()
    about = {name: value for name, value in real.metadata.items() if name not in promotion._MADE}
    model = model_files.assemble(real.text, real.onnx, real.calibration, threshold, about)
    files = files_of(model, "page")
    made.registry.register(row_of(model, files, snapshots={}, learnt_from="", at=NOW, who="test"), files)
    return model.version


def test_a_model_is_judged_against_who_reigns_when_it_is_decided_and_not_when_it_was_begun(
    ready: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = work(ready)
    before, meanwhile = registered(made, 0.01), registered(made, 0.5)
    made.registry.give(NAME, before, "champion", "by hand before", {}, "t", NOW - timedelta(days=2))
    judged, outcome_of = [], retraining.outcome_of

    def judging(model: Any, *given: Any) -> Any:
        judged.append(model.version)
        if judged[-1] == before:  # somebody promotes while the gate is at work
            made.registry.give(
                NAME, meanwhile, "champion", "by hand meanwhile", {}, "t", DECIDED - timedelta(minutes=1)
            )
        return outcome_of(model, *given)

    monkeypatch.setattr(retraining, "outcome_of", judging)
    decide = gate.decide
    monkeypatch.setattr(gate, "decide", lambda *given: replace(decide(*given), promote=True))
    done = made.run("a test", NOW, progress=lambda line: None)
    assert judged == [done.model.version, before, meanwhile]
    assert done.role.evidence["against"] == meanwhile
    assert made.registry.heir(NAME) == done.model.version
