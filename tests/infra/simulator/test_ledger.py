"""The ledger as the simulator writes it and as the oracle, with a reader of its own, reads it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from infra.simulator.ledger import FAILED, OK, Ledger
from infra.simulator.ward import Event, play_ward
from tests.oracle.ledger import read_ledger


@pytest.fixture
def events() -> list[Event]:
    return list(play_ward(3, 1_795_000_000_000, 60_000, 3))


HEADING = {"stream": "device.vitals", "expected_alerts": []}


def test_the_oracle_reads_what_the_simulator_wrote(tmp_path: Path, events: list[Event]) -> None:
    ledger = Ledger(tmp_path / "ledger.jsonl", HEADING)
    assert ledger.plan(events[:10]) == 0
    assert ledger.plan(events[10:]) == 10
    ledger.outcome(3, OK, 1, 77)
    ledger.outcome(4, FAILED)
    ledger.close()

    read = read_ledger(tmp_path / "ledger.jsonl")

    sent = read.sent.to_pylist()
    assert read.finished
    assert read.heading["stream"] == "device.vitals"
    assert [one["event_id"] for one in sent] == [event.event_id for event in events]
    assert [one["patient"] for one in sent] == [event.patient for event in events]
    assert [(one["fate"], one["reason"]) for one in sent] == [(event.fate, event.reason) for event in events]
    assert sent[3]["digest"] == hashlib.sha256(events[3].value or b"").digest()
    assert (sent[3]["result"], sent[3]["partition"], sent[3]["offset"]) == ("ok", 1, 77)
    assert (sent[4]["result"], sent[4]["offset"]) == ("failed", -1)
    assert sent[5]["result"] == "unknown"


def test_a_plan_is_on_disk_before_its_message_may_be_sent(tmp_path: Path, events: list[Event]) -> None:
    ledger = Ledger(tmp_path / "ledger.jsonl", HEADING)

    ledger.plan(events[:5])

    assert len((tmp_path / "ledger.jsonl").read_bytes().splitlines()) == 6


def test_a_torn_last_line_counts_for_nothing(tmp_path: Path, events: list[Event]) -> None:
    path = tmp_path / "ledger.jsonl"
    Ledger(path, HEADING).plan(events[:5])
    path.write_bytes(path.read_bytes()[:-20])

    read = read_ledger(path)

    assert len(read.sent) == 4
    assert not read.finished


def test_a_ledger_is_never_continued(tmp_path: Path) -> None:
    Ledger(tmp_path / "ledger.jsonl", HEADING).close()

    with pytest.raises(FileExistsError):
        Ledger(tmp_path / "ledger.jsonl", HEADING)


def test_a_file_that_is_no_ledger_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other").write_text('{"n":0}\n')

    with pytest.raises(ValueError, match="not a simulator's ledger"):
        read_ledger(tmp_path / "other")
