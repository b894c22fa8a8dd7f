"""A small lake with readings and a registry, for tests on a real store."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pyarrow as pa

from tests.warehouse.consent.made import at, rows
from tests.warehouse.test_analytics import created
from warehouse.consent.decision import GRANT, REVOKE, Provision
from warehouse.contract import load_contracts
from warehouse.settings import Settings
from warehouse.tables import arrow_schema

CONTRACTS = load_contracts()
CONSENTING, REVOKED, SILENT = "t-consents", "t-revoked", "t-silent"
NOW = at(20)


def said(action: str, days: int, category: str = "research", scope: str = "all", **more: Any) -> Provision:
    return Provision(action, category, scope, at(days), at(days), **more)


HISTORIES = {CONSENTING: [said(GRANT, 5)], REVOKED: [said(GRANT, 1), said(REVOKE, 8)]}


def registry_rows(histories: dict[str, list[Provision]], first_offset: int = 0) -> pa.Table:
    """Rows of `consent_updates`, a second after they were appended."""
    told = [row for token, history in histories.items() for row in rows(history, token)]
    for number, row in enumerate(told):
        row |= {"kafka_offset": first_offset + number, "ingest_time": row["kafka_time"] + timedelta(seconds=1)}
    return pa.Table.from_pylist(told, arrow_schema(CONTRACTS.table("consent_updates")))


def reading(offset: int, token: str | None, days: int, value: float = 80.0) -> dict[str, Any]:
    position = {"topic_id": "vitals", "kafka_partition": 0, "kafka_offset": offset}
    times = {"event_time": at(days), "kafka_time": at(days), "ingest_time": at(days)}
    said_of = {"device_id": "M1", "ward": "W", "code": "8867-4", "numeric_value": value, "unit": "/min"}
    return {"event_id": f"e{offset}", "subject_token": token, **said_of, **times, **position}


READINGS = [
    reading(0, CONSENTING, 3), reading(1, CONSENTING, 6), reading(2, CONSENTING, 9), reading(3, REVOKED, 3),
    reading(4, REVOKED, 9), reading(5, SILENT, 9), reading(6, None, 9),
]  # fmt: skip


def made(settings: Settings, histories: dict[str, list[Provision]] | None = None) -> None:
    """The tables `vitals` and `consent_updates` with their rows."""
    vitals = created(settings, "vitals")
    vitals.append(pa.Table.from_pylist(READINGS, arrow_schema(CONTRACTS.table("vitals"))))
    created(settings, "consent_updates").append(registry_rows(HISTORIES if histories is None else histories))
