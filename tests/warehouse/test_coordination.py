"""Leases change hands by compare-and-swap; positions of alerts are kept by topic id."""

from __future__ import annotations

import pytest

from warehouse.coordination import (
    NOBODY,
    Coordination,
    CoordinationUnavailableError,
    Lease,
    coordination_uri,
)
from warehouse.settings import Settings


@pytest.fixture
def uri(tmp_path) -> str:
    return f"sqlite:///{tmp_path / 'deep' / 'coordination.sqlite'}"


def test_of_two_that_saw_no_lease_one_gets_it(uri: str) -> None:
    one, two = Coordination(uri, "s", "one"), Coordination(uri, "s", "two")
    assert one.claim(3, None, at_home=True)
    assert not two.claim(3, None, at_home=True)
    assert one.leases() == {3: Lease("one", 1, True)}


def test_a_lease_that_beat_since_it_was_seen_is_not_taken(uri: str) -> None:
    one, two = Coordination(uri, "s", "one"), Coordination(uri, "s", "two")
    one.claim(0, None, at_home=True)
    seen = two.leases()[0]
    one.beat()
    assert not two.claim(0, seen, at_home=False)
    assert two.claim(0, two.leases()[0], at_home=False)
    assert two.leases()[0] == Lease("two", 3, False)


def test_who_lost_a_lease_does_not_keep_it_alive(uri: str) -> None:
    one, two = Coordination(uri, "s", "one"), Coordination(uri, "s", "two")
    one.claim(0, None, at_home=True)
    two.claim(0, two.leases()[0], at_home=False)
    before = two.leases()
    one.beat()
    one.release()
    assert two.leases() == before


def test_a_released_lease_is_nobodys(uri: str) -> None:
    one = Coordination(uri, "s", "one")
    one.claim(0, None, at_home=True)
    one.release()
    assert one.leases()[0].owner == NOBODY


def test_deployments_in_one_database_do_not_meet(uri: str) -> None:
    Coordination(uri, "s", "one").claim(0, None, at_home=True)
    assert Coordination(uri, "other", "one").leases() == {}


def test_alert_positions_are_those_of_one_topic_id(uri: str) -> None:
    one = Coordination(uri, "s", "one")
    one.record_alert_positions({("a", 0): 5, ("a", 1): 6, ("b", 0): 7})
    one.record_alert_positions({("a", 0): 9})
    assert one.alert_positions("a") == {0: 9, 1: 6}


def test_a_database_that_cannot_be_opened_is_said_to_be_away(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CoordinationUnavailableError):
        Coordination(f"sqlite:///{tmp_path / 'file' / 'c.sqlite'}", "s", "one").leases()


def test_the_leases_lie_beside_a_sqlite_catalog_and_within_a_postgresql_one(tmp_path) -> None:
    def where(**variables: str) -> str:
        return coordination_uri(Settings.from_environment({"WARDSTREAM_HOME": str(tmp_path), **variables}))

    assert where() == f"sqlite:///{tmp_path}/catalog/coordination.sqlite"
    assert where(WARDSTREAM_CATALOG_URI="postgresql+psycopg2://h/d") == "postgresql+psycopg2://h/d"
    assert where(WARDSTREAM_CATALOG_URI="http://h") == f"sqlite:///{tmp_path}/catalog/coordination.sqlite"
    assert where(WARDSTREAM_COORDINATION_URI="sqlite:////x") == "sqlite:////x"
