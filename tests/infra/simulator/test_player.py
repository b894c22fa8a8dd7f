"""The player: pace, and what the ledger says of every sending, against a real broker and against none."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from infra.simulator.ledger import Ledger
from infra.simulator.player import Pace, Player, PlayReceipt
from infra.simulator.ward import Event, play_ward
from tests.oracle.checks import check_sent
from tests.oracle.history import VITALS, History
from tests.oracle.kafka_log import read_topic
from tests.oracle.ledger import read_ledger
from tests.oracle.reading import read_messages

ROOT = Path(__file__).parents[3]
DUE_MS = [0, 1_000, 2_000, 3_000, 60_000]


def test_without_speed_and_rate_everything_past_is_ready() -> None:
    assert Pace().ready(DUE_MS, 0, 0, began=100.0, now=100.0) == 5


def test_nothing_is_sent_before_the_wall_clock_reaches_its_time() -> None:
    assert Pace().ready(DUE_MS, 0, 0, began=0.0, now=2.5) == 3


def test_speed_multiplies_the_ward_s_time() -> None:
    assert Pace(speed=2.0, catch_up=False).ready(DUE_MS, 0, 0, began=100.0, now=101.0) == 3


def test_rate_bounds_messages_a_second() -> None:
    pace = Pace(rate=2.0)

    assert pace.ready(DUE_MS, 0, 0, began=100.0, now=101.0) == 3
    assert pace.ready(DUE_MS, 0, 3, began=100.0, now=101.0) == 0


def _events() -> list[Event]:
    return list(play_ward(5, 1_795_000_000_000 - 90_000_000, 240_000, 8))


def _play(kafka: dict, topic: str, path: Path, **how: object) -> PlayReceipt:
    ledger = Ledger(path, {"expected_alerts": []})
    options = {name: how.pop(name) for name in ("stop", "flush_seconds") if name in how}
    return Player(kafka, topic, ledger, Pace(**how), time.time, time.sleep).play(_events(), **options)


def test_a_broker_that_is_away_leaves_every_sending_unknown(tmp_path: Path) -> None:
    away = {"bootstrap.servers": "127.0.0.1:1", "delivery.timeout.ms": 300, "log_level": 0}

    receipt = _play(away, "nowhere", tmp_path / "ledger.jsonl", flush_seconds=5.0)

    assert receipt.completed
    assert receipt.unknown == receipt.planned == len(_events())
    assert set(read_ledger(tmp_path / "ledger.jsonl").sent["result"].to_pylist()) == {"unknown"}


def test_a_play_can_be_stopped_and_says_so(tmp_path: Path) -> None:
    away = {"bootstrap.servers": "127.0.0.1:1", "delivery.timeout.ms": 300, "log_level": 0}

    receipt = _play(away, "nowhere", tmp_path / "ledger.jsonl", stop=lambda: True, flush_seconds=1.0)

    assert receipt == PlayReceipt(0, 0, 0, 0, completed=False)


@pytest.fixture
def topic(kafka: str, tmp_path: Path) -> str:
    name = f"{tmp_path.name}.device.vitals"
    admin = AdminClient({"bootstrap.servers": kafka})
    admin.create_topics([NewTopic(name, 4, config={"message.timestamp.type": "LogAppendTime"})])[name].result(30)
    return name


def test_what_the_ledger_says_is_what_kafka_has(kafka: str, topic: str, tmp_path: Path) -> None:
    receipt = _play({"bootstrap.servers": kafka}, topic, tmp_path / "ledger.jsonl")

    stream = read_topic({"bootstrap.servers": kafka}, VITALS, topic, read_messages)
    ledger = read_ledger(tmp_path / "ledger.jsonl")
    assert receipt.ok == receipt.planned == len(stream.log) == len(ledger.sent)
    assert stream.ends.keys() == {0, 1, 2, 3}
    history = History({VITALS: stream}, {}, (ledger,))
    assert not check_sent(history)


def test_the_ledger_of_a_killed_simulator_is_completed_from_kafka(kafka: str, topic: str, tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    where = ["--bootstrap", kafka, "--topic", topic, "--ledger", str(path), "--rate", "4000"]
    simulator = subprocess.Popen([sys.executable, "-m", "infra.simulator", "ward", *where], cwd=ROOT)
    try:
        _wait_until(lambda: path.exists() and path.stat().st_size > 500_000)
    finally:
        simulator.kill()
        simulator.wait()

    stream = read_topic({"bootstrap.servers": kafka}, VITALS, topic, read_messages)
    ledger = read_ledger(path)

    assert not ledger.finished
    assert len(stream.log) > 100
    assert "unknown" in ledger.sent["result"].to_pylist()
    assert not check_sent(History({VITALS: stream}, {}, (ledger,)))


def _wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)
