"""How soon a revoke counts, on a real broker, store and stream.

Run as `python -m tests.end_to_end.revoke_latency --people 20`. It brings its own servers and a stream for research
alone: people consent; their events flow; one after another revokes. Of each revoke, in seconds from its append (the
broker's clock):

- written: the append of the last event that still became a row, 0 where none did;
- shown: until a session for research no longer shows the person;
- requested: until the request to end the category stands on `patient.data.deletions`.

Nothing is reported where the oracle of consent finds anything wrong.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from confluent_kafka import Message, Producer

from infra.bench.surroundings import surroundings
from tests.deployment import Deployment
from tests.end_to_end.consented import CONSENTS, STREAM, TABLE, ago, consent, contract_of_research, event
from tests.oracle.consent import collect, judged, passed
from tests.oracle.kafka_log import read_topic
from tests.oracle.lake import LakePlace
from warehouse.analytics import Analytics
from warehouse.consent.filters import Purpose
from warehouse.settings import Settings

BOUND_S = 5.0
PATIENCE_S = 300.0
PACE_S = 0.1
"""An event of each person so often."""


@dataclass
class Sender:
    """Sends acknowledged messages and keeps when the broker appended them. One for events and one for what patients
    say, so that nobody waits for the other's queue."""

    settings: Settings
    appended: dict[str, float] = field(default_factory=dict)
    events: int = 0

    def __post_init__(self) -> None:
        self._producer = Producer(self.settings.kafka(partitioner="murmur2_random", **{"linger.ms": 0}))

    def send(self, stream: str, person: str, said: Mapping[str, Any], name: str = "") -> None:
        def delivered(error: object, message: Message) -> None:
            assert error is None, "the broker takes no messages"
            if name:
                self.appended[name] = message.timestamp()[1] / 1000

        self._producer.produce(self.settings.topic(stream), json.dumps(said), person, on_delivery=delivered)
        self.events += stream == STREAM
        self._producer.poll(0)

    def flush(self) -> None:
        assert self._producer.flush(60) == 0, "the broker takes no messages"


def measure(people: int) -> dict[str, Any]:
    """Seconds of each revoke by kind, and what the oracle counted."""
    with tempfile.TemporaryDirectory() as folder, surroundings(lambda line: print(line, file=sys.stderr)) as around:
        contracts = contract_of_research(Path(folder) / "contracts")
        settings = around.settings("revoke", WARDSTREAM_CONTRACTS=str(contracts))
        names = [f"P{n:06}" for n in range(1, people + 1)]
        sender, saying = Sender(settings), Sender(settings)
        with Deployment(settings) as deployment:
            process = deployment.start_stream()
            for name in names:
                sender.send(CONSENTS, name, consent(name, "GRANT", ago(60)))
            sender.flush()
            _read(deployment, people)
            with _events(sender, names), Analytics(settings) as analytics:
                shown = {name: _revoked(saying, analytics, settings, name) for name in names}
            deployment.wait_for(
                "the last event", lambda s: sum(s["read"][STREAM].values()) == sender.events, PATIENCE_S
            )
            deployment.drain(process)
        return _figures(settings, saying, names, shown)


def _read(deployment: Deployment, messages: int) -> None:
    deployment.wait_for("the stream", lambda s: s.get("counts", {}).get("messages", 0) >= messages, PATIENCE_S)


@contextmanager
def _events(sender: Sender, names: list[str]) -> Iterator[None]:
    """An event of everybody, again and again."""
    over = threading.Event()

    def keep_sending() -> None:
        number = 0
        while not over.wait(PACE_S):
            for name in names:
                sender.send(STREAM, name, event(number, name, datetime.now(UTC)))
            number += 1

    thread = threading.Thread(target=keep_sending, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        sender.flush()


def _revoked(sender: Sender, analytics: Analytics, settings: Settings, name: str) -> float:
    """When (Unix time) a session for research no longer showed the person. They are shown first."""
    token = _token(settings, name)
    _wait(lambda: _rows(analytics, token) > 0)
    sender.send(CONSENTS, name, consent(name, "REVOKE", datetime.now(UTC)), name)
    sender.flush()
    _wait(lambda: _rows(analytics, token) == 0)
    return time.time()


def _rows(analytics: Analytics, token: str) -> int:
    asked = f"SELECT count(*) AS n FROM {TABLE} WHERE subject_token = $token"
    research = Purpose("research", datetime.now(UTC))
    return analytics.query(asked, parameters={"token": token}, purpose=research).table["n"][0].as_py()


def _token(settings: Settings, name: str) -> str:
    from infra.cli.consent import _token as token_of

    return token_of(settings, name)


def _wait(holds: Any) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"nothing changed in {PATIENCE_S:g} s")
        time.sleep(0.05)


def _figures(settings: Settings, sender: Sender, names: list[str], shown: Mapping[str, float]) -> dict[str, Any]:
    s = settings
    place = LakePlace(s.catalog_uri, s.namespace, s.s3_endpoint, s.s3_access_key, s.s3_secret_key, s.s3_region)
    kafka = {"bootstrap.servers": s.kafka_bootstrap}
    told = judged(collect(kafka, s.topic_prefix, place, STREAM, TABLE, "research"))
    if not passed(told):
        raise RuntimeError(f"no figures: the oracle finds something wrong: {told}")
    with Analytics(settings) as analytics:
        rows = analytics.query(f"SELECT subject_token, max(kafka_time) AS last FROM {TABLE} GROUP BY ALL").table
    last = {row["subject_token"]: row["last"].timestamp() for row in rows.to_pylist()}
    requested = _requested(settings)
    at = sender.appended
    return {
        "written": [max(0.0, last[_token(settings, name)] - at[name]) for name in names],
        "shown": [shown[name] - at[name] for name in names],
        "requested": [requested[name] - at[name] for name in names],
        "oracle": told,
    }


def _requested(settings: Settings) -> dict[str, float]:
    """Person -> when the first request of theirs was appended."""
    import pyarrow as pa

    def reader(keys: Any, values: Any, _: Any) -> pa.Table:
        return pa.table({"key": pa.array(keys, pa.binary())})

    kafka, topic = {"bootstrap.servers": settings.kafka_bootstrap}, settings.topic("patient.data.deletions")
    log = read_topic(kafka, "deletions", topic, reader).log
    first: dict[str, float] = {}
    for key, appended in zip(log["key"].to_pylist(), log["appended"].to_pylist(), strict=True):
        first.setdefault(key.decode(), appended.timestamp())
    return first


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--people", type=int, default=20)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    figures = measure(given.people)
    if given.json:
        print(json.dumps(figures))
    kinds = ("written", "shown", "requested")
    for name in kinds:
        seconds = sorted(figures[name])
        print(f"{name:<10} p50 {seconds[len(seconds) // 2]:6.2f} s   max {seconds[-1]:6.2f} s   n {len(seconds)}")
    counts = ", ".join(f"{name.lstrip('+')} {count:,}" for name, count in figures["oracle"].items() if count)
    print(f"oracle: {counts}")
    return 0 if all(max(figures[name]) <= BOUND_S for name in kinds) else 1


if __name__ == "__main__":
    sys.exit(main())
