"""What of a topic can go at once, and when the rest has gone: the arithmetic, without a broker."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from infra.erasure.identifiers import identifiers_of
from infra.erasure.topics import Seen, TopicStore, deletable, gone_by, keeps_for_ever
from warehouse.contract import load_contracts
from warehouse.erasure.ledger import mark_of
from warehouse.erasure.stores import Subject
from warehouse.identity import subject_token
from warehouse.settings import Settings
from warehouse.vault import LEDGER_KEY, SqliteVault, open_vault

READ = {0: 100, 1: 100, 2: 100}


def seen(**places: dict[int, int]) -> Seen:
    return Seen(lows={0: 10, 1: 10, 2: 10}, ends={0: 50, 1: 50, 2: 50}, **places)


def test_what_stands_before_everybody_elses_can_be_deleted_and_no_more() -> None:
    assert deletable(seen(last={0: 40, 1: 40}, first_others={0: 30, 1: 10}), READ) == {0: 30}


def test_a_partition_that_is_all_theirs_can_be_deleted_whole() -> None:
    assert deletable(seen(last={2: 49}), READ) == {2: 50}


def test_nothing_is_deleted_that_a_table_has_yet_to_read() -> None:
    assert deletable(seen(last={0: 49, 1: 49}), {0: 25}) == {0: 25}


def test_a_partition_without_them_is_left_alone() -> None:
    assert deletable(seen(last={}, first_others={0: 10}), READ) == {}


def test_the_last_instant_is_a_roll_a_retention_and_a_look_after_the_newest() -> None:
    at = datetime(2026, 11, 22, 12, tzinfo=UTC)
    topic = {"segment.ms": "60000", "retention.ms": "600000", "file.delete.delay.ms": "1000"}
    broker = {"log.retention.check.interval.ms": "5000"}
    assert gone_by(int(at.timestamp() * 1000), topic, broker) == at + timedelta(seconds=666)
    assert gone_by(int(at.timestamp() * 1000), topic, {}) == at + timedelta(seconds=961)


def test_of_a_topic_that_keeps_for_ever_no_instant_is_named() -> None:
    plain = {"retention.ms": "600000", "cleanup.policy": "delete"}
    assert keeps_for_ever(plain) == keeps_for_ever(plain | {"cleanup.policy": "compact,delete"}) == ""
    assert "for ever" in keeps_for_ever(plain | {"retention.ms": "-1"})
    assert "compact" in keeps_for_ever(plain | {"cleanup.policy": "compact"})
    assert "its broker's" in keeps_for_ever(plain | {"remote.storage.enable": "true"})


# --- somebody who was erased, came back, and is erased again

PATIENT, SYSTEM = "P000002", "urn:wardstream:patient-id"


class Standing:
    """A message of the patient, as the client gives it."""

    def __init__(self, offset: int) -> None:
        self._offset = offset

    def key(self) -> bytes:
        return PATIENT.encode()

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return self._offset

    def timestamp(self) -> tuple[int, int]:
        return 2, 1_763_800_000_000


@pytest.fixture
def vault(tmp_path: Path) -> Iterator[SqliteVault]:
    """One in which the patient was erased and has come back."""
    made = open_vault(f"sqlite:///{tmp_path}/vault.sqlite", lambda: 0.0)
    mark = mark_of(made.house_key(LEDGER_KEY), token(made, 0))
    made.fence([mark])
    made.readmit(mark, 1, 0)
    yield made
    made.close()


def token(vault: SqliteVault, epoch: int) -> str:
    return subject_token(vault.token_key(), SYSTEM, PATIENT, epoch)


def store(vault: SqliteVault, monkeypatch: pytest.MonkeyPatch, deleted: list[object]) -> TopicStore:
    """A topic on which a hundred messages of the patient stand; the client is the one stand-in."""

    def standing(self: TopicStore, consumer: object, seen: Seen) -> Iterator[Standing]:
        seen.lows[0], seen.ends[0] = 0, 100
        yield from map(Standing, range(100))

    monkeypatch.setattr(TopicStore, "_messages", standing)
    kept = int(datetime(2026, 12, 1, tzinfo=UTC).timestamp() * 1000) - Standing(0).timestamp()[1]
    topic_configuration = {"segment.ms": "0", "retention.ms": str(kept), "file.delete.delay.ms": "0"}
    configs = topic_configuration, {"log.retention.check.interval.ms": "0"}
    monkeypatch.setattr(TopicStore, "_configs", lambda self: configs)
    monkeypatch.setattr(TopicStore, "_delete", lambda self, marks: deleted.append(dict(marks)))
    topic = next(each for each in load_contracts().topics() if each.stream == "device.vitals")
    settings = Settings.from_environment({"WARDSTREAM_KAFKA_BOOTSTRAP": "127.0.0.1:1"})
    return TopicStore(settings, topic, identifiers_of(vault, SYSTEM), lambda: {0: 1000})


def test_the_second_erasure_of_who_came_back_finds_all_that_stands_under_their_key(
    vault: SqliteVault, monkeypatch: pytest.MonkeyPatch
) -> None:
    deleted: list[object] = []
    again = [Subject("e-2", (token(vault, 1),))]
    assert store(vault, monkeypatch, deleted).locate(again).counts == {"e-2": 100}
    done = store(vault, monkeypatch, deleted).erase(again)
    assert deleted == [{0: 100}]
    # Where they stood and until when their bytes lie there: nobody can read it from the topic any more.
    assert (done.evidence["last_offsets"], done.evidence["until"]) == ({"0": 99}, "2026-12-01T00:00:00+00:00")


def test_a_first_erasure_that_is_open_still_deletes_no_message_of_who_came_back(
    vault: SqliteVault, monkeypatch: pytest.MonkeyPatch
) -> None:
    deleted: list[object] = []
    done = store(vault, monkeypatch, deleted).erase([Subject("e-1", (token(vault, 0),))])
    assert (done.left, deleted) == (100, [])
