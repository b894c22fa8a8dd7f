"""Consent through the running stream: what is kept, what is withheld, what a revoke leads to, and a restart in between.

The stream serves research alone (a site's contract); vitals go beside it, and no consent touches them.
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from assets.gate import run_gate
from assets.replay import Request, replay
from tests.deployment import Deployment
from tests.end_to_end.consented import CONSENTS, STREAM, TABLE, ago, consent, contract_of_research, event
from tests.oracle.consent import collect, judged, passed
from tests.oracle.lake import LakePlace
from tests.pipelines.messages import reading
from warehouse.analytics import Analytics
from warehouse.consent.filters import Purpose
from warehouse.contract import load_contracts
from warehouse.settings import Settings

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(900)]
CONSENTING, REVOKING, SILENT = "P000001", "P000002", "P000003"
PATIENCE_S = 400.0


def send(settings: Settings, stream: str, *messages: dict[str, Any] | bytes, key: str = "") -> None:
    producer = Producer(settings.kafka(partitioner="murmur2_random"))
    for message in messages:
        value = message if isinstance(message, bytes) else json.dumps(message)
        named = key or message.get("patient_id") or message["patientId"]
        producer.produce(settings.topic(stream), key=named, value=value)
    assert producer.flush(30) == 0


def verdict(settings: Settings) -> dict[str, int]:
    s = settings
    place = LakePlace(s.catalog_uri, s.namespace, s.s3_endpoint, s.s3_access_key, s.s3_secret_key, s.s3_region)
    return judged(collect({"bootstrap.servers": s.kafka_bootstrap}, s.topic_prefix, place, STREAM, TABLE, "research"))


def test_consent_is_kept_through_the_stream_and_a_restart(settings: Settings, tmp_path: Path) -> None:
    settings = replace(settings, contracts=contract_of_research(tmp_path / "contracts"))
    people = (CONSENTING, REVOKING, SILENT)
    with Deployment(settings) as deployment:

        def read(n: int) -> None:
            def has(said: dict[str, Any]) -> bool:
                return said.get("pid") == process.pid and said["counts"]["messages"] >= n

            deployment.wait_for(f"message {n}", has, PATIENCE_S)

        process = deployment.start_stream()
        send(settings, CONSENTS, consent(CONSENTING, "GRANT", ago(3600)), consent(REVOKING, "GRANT", ago(3600)))
        read(2)
        send(settings, STREAM, *(event(n, p, ago(1800 - n)) for n in range(4) for p in people))
        send(settings, STREAM, event(9, CONSENTING, ago(7200)), event(0, CONSENTING, ago(1800)))
        send(settings, STREAM, b"no json", key=CONSENTING)
        send(settings, "device.vitals", *(reading(event_id=f"v{n}", patient_id=SILENT, seq=n) for n in range(5)))
        read(22)
        deployment.drain(process)
        process = deployment.start_stream()
        send(settings, CONSENTS, consent(REVOKING, "REVOKE", ago(0)))
        read(2)  # the revoke, and the request that follows from it
        send(settings, STREAM, *(event(20 + n, p, ago(1800 - n)) for n in range(4) for p in people))
        read(14)
        deployment.drain(process)
    told = verdict(settings)
    assert passed(told), told
    # Who consents is kept but for what is older than the consent; who revoked, as far as it was read before the revoke.
    assert {name: told[f"+{name}"] for name in (TABLE, "consent_withheld", "rejects", "duplicates")} == {
        TABLE: 8 + 4, "consent_withheld": 8 + 4 + 1, "rejects": 1, "duplicates": 1
    }  # fmt: skip
    with Analytics(settings) as analytics:
        research = Purpose("research", datetime.now(UTC))
        seen = analytics.query(f"SELECT count(*) AS n FROM {TABLE}", purpose=research).table.to_pylist()
        vitals = analytics.query("SELECT count(*) AS n FROM vitals").table.to_pylist()
    assert (seen, vitals) == ([{"n": 8}], [{"n": 5}])
    assert group_offsets(settings) == 3, "what lag tools see of the group consent-processor"
    accounted_and_equal(settings)


def group_offsets(settings: Settings) -> int:
    """The messages of the consent topic that its group has committed."""
    partitions = [TopicPartition(settings.topic(CONSENTS), p) for p in range(4)]
    admin = AdminClient(settings.kafka())
    asked = ConsumerGroupTopicPartitions("consent-processor", partitions)
    (future,) = admin.list_consumer_group_offsets([asked]).values()
    return sum(max(0, each.offset) for each in future.result(30).topic_partitions)


def accounted_and_equal(settings: Settings) -> None:
    """The gate's account of positions is even, and a replay of the days says what the tables say."""
    contracts = load_contracts(own=settings.contracts)
    days = sorted({ago(7200).date(), ago(0).date()})
    for day in days:
        verdict = run_gate(settings, TABLE, day, now=datetime.now(UTC))
        assert "positions_reconcile" not in verdict.failed
    made = replay(settings, contracts, Request(TABLE, tuple(days), "test", "what was withheld stays withheld"))
    assert made.equal, made
    assert made.complete, made
