"""A shadow model on a lake in a folder: it scores the hours that were told, apart, and beside the champion."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from assets.derive import derive
from assets.gate import run_gate
from infra.cli import models
from pipelines.clinical.sepsis import model_files
from pipelines.clinical.sepsis.lake_set import panel_of_rows
from pipelines.clinical.sepsis.model_files import ModelFiles, assemble
from pipelines.clinical.sepsis.score import OnnxModel
from pipelines.clinical.sepsis.variables import VARIABLES
from pipelines.model_source import files_of, row_of
from tests.assets.conftest import Lake, topic_of
from tests.expectations.day import DAY, MIDNIGHT
from tests.pipelines.clinical.sepsis.test_lake_set import EMPTY_ADT, table
from tests.pipelines.test_retraining import FILL, put
from tests.warehouse.conftest import lake_settings
from warehouse.catalog import create_table, open_catalog, table_lock
from warehouse.contract import load_contracts
from warehouse.models.registry import SHADOW, Registry, Role

CONTRACTS = load_contracts()
NOW = datetime(2026, 11, 22, 3, tzinfo=UTC)
NEEDED = (
    "vitals", "wearables", "labs", "adt_events", "scores", "shadow_scores", "models", "model_roles", "quality_results",
    "rejects", "duplicates", "alert_feedback", "erasure_receipts",
)  # fmt: skip
PATIENTS, HOURS = 3, 10
CODE = {variable.name: variable.codes[0] for variable in VARIABLES}


def vitals() -> list[dict[str, Any]]:
    random, rows = np.random.default_rng(3), []
    for patient in range(PATIENTS):
        for hour in range(HOURS):
            moment = MIDNIGHT + timedelta(hours=hour, minutes=7)
            for name, usual in (("HR", 80 + 25 * patient), ("Resp", 16 + 5 * patient), ("SBP", 120 - 15 * patient)):
                rows.append(
                    {
                        "event_id": f"{patient}-{hour}-{name}", "subject_token": f"T{patient}", "code": CODE[name],
                        "numeric_value": usual + float(random.integers(0, 9)), "unit": "1", "event_time": moment,
                        "kafka_time": moment, "ward": "ICU-1", "device_id": "M1", "kafka_offset": len(rows),
                    }
                )  # fmt: skip
    return rows


def told(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Scores as the stream tells them of these rows, one of them of an hour that looked otherwise then."""
    read = table([row | {"quality_flag": None} for row in rows])
    nothing = read.slice(0, 0)
    panel, owners, at_hour = panel_of_rows(
        {"vitals": read, "wearables": nothing, "labs": nothing, "adt_events": EMPTY_ADT}
    )
    model = OnnxModel(model_files.champion())
    said = model.score_panel(panel)
    owner = np.array(owners)[panel.stay_of_row()].tolist()
    known = {c.name: FILL.get(c.iceberg, []) for c in CONTRACTS.table("scores").columns if c.required}
    optional = {c.name: None for c in CONTRACTS.table("scores").columns if not c.required}
    return [
        {
            **optional, **known, "score_id": f"s{at}", "subject_token": owner[at], "model": "sepsis",
            "model_version": model.version, "hour_start": datetime.fromtimestamp(int(at_hour[at]) * 3600, UTC),
            "hour_of_stay": int(panel.hour[at]), "score": float(said.score[at]) * (0.5 if at == 0 else 1.0),
            "risk": float(said.risk[at]), "threshold": model.threshold, "is_alerting": bool(said.alert[at]),
            "effective_at": MIDNIGHT, "scored_at": MIDNIGHT + timedelta(hours=20), "kafka_partition": 0,
            "kafka_offset": at, "kafka_time": MIDNIGHT + timedelta(hours=20),
            "ingest_time": MIDNIGHT + timedelta(hours=20),
        }
        for at in range(panel.rows)
    ]  # fmt: skip


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """Three patients' hours, scored by the stream, the day judged."""
    settings = lake_settings(tmp_path / "home", f"file://{tmp_path}/lake", WARDSTREAM_S3_ENDPOINT="http://127.0.0.1:1")
    for name in NEEDED:
        create_table(open_catalog(settings), settings.namespace, CONTRACTS.table(name), table_lock(settings))
    lake, rows = Lake(settings), vitals()
    put(settings, "vitals", rows)
    for name in ("scores", "rejects", "duplicates"):
        lake.fenced(name).establish(topic_of("scores"), {0: 0})
    lake.commit(told(rows), "scores")
    assert run_gate(settings, "scores", DAY, now=NOW).passed
    return lake


def shadowed(lake: Lake) -> ModelFiles:
    """The champion's trees with a threshold at which some hours alert, registered as the shadow."""
    own = model_files.champion()
    about = {name: value for name, value in own.metadata.items() if name in ("learning_set", "figures", "recipe")}
    scores = sorted(row["score"] for row in lake.rows("scores"))
    model = assemble(own.text, own.onnx, own.calibration, float(np.float32(scores[len(scores) // 2])), about)
    registry = Registry(lake.settings, CONTRACTS, open_catalog(lake.settings), "test")
    files = files_of(model, "a page")
    registry.register(row_of(model, files, snapshots={}, learnt_from="", at=NOW, who="test"), files)
    since = datetime(2026, 1, 1, tzinfo=UTC)
    registry.decide(Role("a1", "sepsis", model.version, SHADOW, since, "because it is a test", {}, "test", since), NOW)
    return model


def made(lake: Lake) -> list[dict[str, Any]]:
    receipt = derive(lake.settings, CONTRACTS, "shadow_scores", [DAY])
    assert receipt.refused == ()
    return lake.rows("shadow_scores")


def test_without_a_shadow_nothing_is_scored(lake: Lake) -> None:
    assert made(lake) == []


def test_a_shadow_scores_what_was_told_apart_and_is_compared(lake: Lake, capsys: pytest.CaptureFixture[str]) -> None:
    model, stream = shadowed(lake), {(row["subject_token"], row["hour_start"]): row for row in lake.rows("scores")}
    rows = {(row["subject_token"], row["hour_start"]): row for row in made(lake)}
    assert rows.keys() == stream.keys()
    assert {row["model_version"] for row in rows.values()} == {model.version}
    changed = [key for key, row in rows.items() if not row["told_again"]]
    assert changed == [key for key, row in stream.items() if row["score_id"] == "s0"]
    same = [key for key in rows if key not in changed]
    assert all(rows[key]["score"] == stream[key]["score"] == rows[key]["told_score"] for key in same)
    assert all(row["is_alerting"] is (row["score"] >= model.threshold) for row in rows.values())
    assert 0 < sum(row["is_alerting"] for row in rows.values()) < len(rows)
    assert made(lake) == list(lake.rows("shadow_scores"))
    assert len(lake.rows("shadow_scores")) == len(rows)

    put(lake.settings, "alert_feedback", [
        {"event_id": f"o{n}", "subject_token": f"T{n}", "action": "outcome", "outcome": word, "kafka_offset": n,
         "onset_at": MIDNIGHT + timedelta(hours=9) if word == "sepsis" else None, "event_time": NOW}
        for n, word in enumerate(("no_sepsis", "no_sepsis", "sepsis"))
    ])  # fmt: skip
    assert models.compare(lake.settings, None, as_json=True) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["version"], said["hours"], said["patients"]) == (model.version, PATIENTS * HOURS, PATIENTS)
    assert said["shadow_alert_hours"] == sum(row["is_alerting"] for row in rows.values())
    assert said["told_again"] == pytest.approx(1 - 1 / len(rows))
    assert said["outcomes"] == PATIENTS
    assert "septic stays with an outcome, at least 50 are needed" in said["decision"]["reason"]
    page = Path(said["page"]).read_text()
    assert model.version in page
    assert "http" not in page


def test_there_is_nothing_to_compare_without_a_shadow(lake: Lake, capsys: pytest.CaptureFixture[str]) -> None:
    assert models.compare(lake.settings, None) == 1
    assert "no model is the shadow" in capsys.readouterr().err
