"""A demonstration's ledger lets go of one person and stays a ledger; whose an identifier is, under every epoch."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from infra.erasure.identifiers import Identifiers
from infra.erasure.ledgers import LedgerStore
from infra.simulator.ledger import FAILED, OK, Ledger
from infra.simulator.ward import Event, play_ward
from tests.oracle.ledger import read_ledger
from warehouse.erasure.stores import NotYetError, Subject
from warehouse.identity import subject_token

KEY, SYSTEM = b"k" * 32, "urn:wardstream:patient-id"


def subject(person: str, epoch: int = 0) -> Subject:
    return Subject("e-1", (subject_token(KEY, SYSTEM, person, epoch),))


def store(folder: Path) -> LedgerStore:
    return LedgerStore(folder, Identifiers(KEY, SYSTEM), r"^P[0-9]{6}$")


@pytest.fixture
def events() -> list[Event]:
    return list(play_ward(3, 1_795_000_000_000, 60_000, 3))


@pytest.fixture
def played(tmp_path: Path, events: list[Event]) -> Path:
    """A ledger of a ward, finished: the first message went wrong, the last was never heard of."""
    path = tmp_path / "ledger-1.jsonl"
    people = sorted({event.patient for event in events if event.patient})
    ledger = Ledger(path, {"expected_alerts": [{"patient_id": each, "rule": "r"} for each in people]})
    ledger.plan(events)
    ledger.outcome(0, FAILED)
    for n in range(1, len(events) - 1):
        ledger.outcome(n, OK, 1, 100 + n)
    ledger.close()
    return path


def test_a_ledger_loses_one_persons_lines_and_keeps_everybody_elses(played: Path, events: list[Event]) -> None:
    gone = next(event.patient for event in events if event.patient)
    theirs = [event for event in events if event.patient == gone]
    before = read_ledger(played)
    found = store(played.parent).locate([subject(gone)])
    assert found.counts == {"e-1": len(theirs)}
    done = store(played.parent).erase([subject(gone)])
    assert (done.found, done.left) == (len(theirs), 0)
    after = read_ledger(played)
    others = [row for row in before.sent.to_pylist() if row["patient"] != gone]
    assert after.sent.to_pylist() == others
    assert after.finished
    assert after.heading["erased"] == len(theirs)
    text = played.read_text()
    assert gone not in text
    assert not any(event.event_id in text for event in theirs)
    ending = json.loads(text.splitlines()[-1])
    results = [row["result"] for row in others]
    assert {name: ending[name] for name in ("planned", "ok", "failed", "unknown")} == {
        "planned": len(others), **{name: results.count(name) for name in ("ok", "failed", "unknown")},
    }  # fmt: skip
    assert store(played.parent).erase([subject(gone)]).found == 0
    assert played.read_text() == text


def test_whoever_is_named_anywhere_in_the_folder_is_found(played: Path, events: list[Event]) -> None:
    gone = next(event.patient for event in events if event.patient)
    store(played.parent).erase([subject(gone)])
    assert store(played.parent).prove([subject(gone)]).total == 0
    (played.parent / "notes.txt").write_text(f"asked about {gone}, twice: {gone}\n")
    assert store(played.parent).prove([subject(gone)]).total == 2


def test_a_ledger_that_is_being_written_is_waited_for(tmp_path: Path, events: list[Event]) -> None:
    ledger = Ledger(tmp_path / "ledger-1.jsonl", {"expected_alerts": []})
    ledger.plan(events)
    gone = next(event.patient for event in events if event.patient)
    with pytest.raises(NotYetError, match="being written"):
        store(tmp_path).erase([subject(gone)])
    ledger.close()
    assert store(tmp_path).erase([subject(gone)]).left == 0


def test_a_folder_that_is_not_there_has_nobody(tmp_path: Path) -> None:
    nothing = store(tmp_path / "none")
    assert (nothing.locate([subject("P000001")]).total, nothing.prove([subject("P000001")]).total) == (0, 0)


def test_who_returned_and_is_erased_again_is_known_by_the_key_of_both_times() -> None:
    identifiers = Identifiers(KEY, SYSTEM, lambda: [None, 2])
    identifiers.about([subject("P000001", epoch=2)])
    assert identifiers.request_of("P000001") == "e-1"
    assert identifiers.request_of("P000002") is None
    # Whom one asks about may change: what was answered before does not stand.
    identifiers.about([subject("P000002")])
    assert (identifiers.request_of("P000001"), identifiers.request_of("P000002")) == (None, "e-1")
