"""A site's stream that serves research alone, for tests: a contract made of one that is much like it, and messages."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.pipelines.messages import reading
from warehouse.contract import FOLDER

STREAM, TABLE = "patient.app.events", "app_events"
CONSENTS = "patient.consent.updates"


def contract_of_research(folder: Path) -> Path:
    """The folder with its one contract."""
    text = (FOLDER / "iot.patient.odcs.yaml").read_text()
    text = text.replace("iot.patient", STREAM).replace("wearables", TABLE)
    text = text.replace(
        "{property: purpose, value: [care, operations, research]}", "{property: purpose, value: [research]}"
    )
    folder.mkdir(parents=True)
    (folder / f"{STREAM}.odcs.yaml").write_text(text)
    return folder


def event(number: int, patient: str, at: datetime, **changed: Any) -> dict[str, Any]:
    """A wearable's reading, as the app sends it."""
    told = {
        "event_id": f"app-{number}-{patient}",
        "patient_id": patient,
        "code": "8867-4",
        "value": 70.0,
        "unit": "/min",
    }
    return reading(**{**told, "event_time": iso(at), **changed})


def consent(patient: str, action: str, at: datetime, **more: Any) -> dict[str, Any]:
    said = {"patientId": patient, "action": action, "category": "research", "scope": "all", "timestamp": iso(at)}
    return {**said, **more}


def iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def ago(seconds: float) -> datetime:
    return datetime.now(UTC) - timedelta(seconds=seconds)
