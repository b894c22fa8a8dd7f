"""Lineage as OpenLineage run events: which run read what and wrote what.

Holds: the events, made of contracts and runs, and the telling of a run's states.
Does not hold: Kafka's client (`pipelines/lineage_producer.py`). That nobody takes the events stops no run: it is a
warning in the run's log.

Spec: OpenLineage 2-0-2, RunEvent; datasets are named as it recommends for Kafka and Iceberg. Our own facet
`wardstream` says the event's id and the names of what was read and written, which is what our table keeps.
"""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from warehouse.contract import Column, Contracts
from warehouse.settings import Settings

STREAM = "lineage.events"
PRODUCER = "urn:wardstream:assets"
START, COMPLETE, FAIL = "START", "COMPLETE", "FAIL"
KAFKA = "kafka/"
"""Before a stream's name, where topics and tables are named together."""

_SPEC = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent"
_FACETS = "https://openlineage.io/spec/facets"
_OURS = uuid.UUID("6f1c1f0a-6a0e-5b8e-9a51-7a3d8d6b0c11")

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Job:
    """A job and what it reads and writes: names of tables, and of streams behind `kafka/`."""

    name: str
    inputs: Sequence[str]
    outputs: Sequence[str]


class Lineage:
    """The events of one lake and its topics."""

    def __init__(self, settings: Settings, contracts: Contracts) -> None:
        self._settings, self._contracts = settings, contracts

    def event(
        self, kind: str, job: Job, run_id: str, at: datetime, snapshots: Mapping[str, int] | None = None
    ) -> dict[str, Any]:
        """A RunEvent. `at` is aware; `snapshots`: table -> snapshot that was written or read."""
        known = snapshots or {}
        ours = {"event_id": f"{run_id}:{kind}", "inputs": list(job.inputs), "outputs": list(job.outputs)}
        return {
            "eventType": kind,
            "eventTime": at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "producer": PRODUCER,
            "schemaURL": _SPEC,
            "run": {"runId": run_id, "facets": {"wardstream": {**_facet("urn:wardstream:run-facet"), **ours}}},
            "job": {"namespace": self._settings.namespace, "name": job.name},
            "inputs": [self._dataset(name, known) for name in job.inputs],
            "outputs": [self._dataset(name, known) for name in job.outputs],
        }

    def tell(self, events: Sequence[Mapping[str, Any]]) -> bool:
        """Send events; False, and a warning in the log, where the broker does not take them."""
        from pipelines.lineage_producer import LineageUndeliveredError, send_lineage

        if not events:
            return True
        messages = [(f"job:{event['job']['name']}".encode(), json.dumps(event).encode()) for event in events]
        try:
            send_lineage(self._settings, self._settings.topic(STREAM), messages)
        except LineageUndeliveredError as error:
            _LOG.warning("lineage is not told: %s", error)
            return False
        return True

    @contextmanager
    def of_run(self, job: Job, seed: str) -> Generator[None]:
        """Tell that a run starts, and how it ends. `seed` names the run: the same gives the same id."""
        run_id = run_id_of(job.name, seed)
        self.tell([self.event(START, job, run_id, datetime.now(UTC))])
        try:
            yield
        except Exception:
            self.tell([self.event(FAIL, job, run_id, datetime.now(UTC))])
            raise
        self.tell([self.event(COMPLETE, job, run_id, datetime.now(UTC))])

    def commits(self, table: str, snapshot_id: int, at: datetime) -> dict[str, Any]:
        """The stream's commits to a table up to a snapshot, as one run that is complete."""
        topics = [KAFKA + stream for stream in self._contracts.table(table).fed_by]
        job = Job(f"stream/{table}", topics, [table])
        return self.event(COMPLETE, job, run_id_of(job.name, str(snapshot_id)), at, {table: snapshot_id})

    def _dataset(self, name: str, snapshots: Mapping[str, int]) -> dict[str, Any]:
        if name.startswith(KAFKA):
            stream = self._contracts.stream(name.removeprefix(KAFKA))
            namespace = f"kafka://{self._settings.kafka_bootstrap}"
            return _dataset(namespace, self._settings.topic(stream.name), stream.message)
        columns = self._contracts.table(name).columns
        return _dataset(self._settings.warehouse, f"{self._settings.namespace}.{name}", columns, snapshots.get(name))


def run_id_of(job: str, seed: str) -> str:
    """A run's UUID, the same for the same job and seed."""
    return str(uuid.uuid5(_OURS, f"{job}\n{seed}"))


def _dataset(namespace: str, name: str, columns: Sequence[Column], snapshot: int | None = None) -> dict[str, Any]:
    fields = [
        {"name": each.path or each.name, "type": each.iceberg, "description": each.description} for each in columns
    ]
    facets: dict[str, Any] = {"schema": {**_facet(f"{_FACETS}/1-1-1/SchemaDatasetFacet.json"), "fields": fields}}
    if snapshot is not None:
        version = {**_facet(f"{_FACETS}/1-0-1/DatasetVersionDatasetFacet.json"), "datasetVersion": str(snapshot)}
        facets["version"] = version
    return {"namespace": namespace, "name": name, "facets": facets}


def _facet(schema: str) -> dict[str, str]:
    return {"_producer": PRODUCER, "_schemaURL": schema}
