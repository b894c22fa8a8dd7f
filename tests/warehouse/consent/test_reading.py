"""A session for a purpose on a real lake: whose rows it shows, and which tables it refuses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.warehouse.conftest import lake_settings
from tests.warehouse.consent.lake import CONSENTING, NOW, REVOKED, made, registry_rows, said
from tests.warehouse.consent.made import at
from tests.warehouse.test_analytics import created
from warehouse.analytics import Analytics
from warehouse.catalog import open_catalog
from warehouse.consent.decision import GRANT, REVOKE
from warehouse.consent.filters import Purpose
from warehouse.consent.registry import consenting
from warehouse.settings import Settings
from warehouse.statement_guard import StatementRefused

RESEARCH, CARE, MARKETING = (Purpose(name, NOW) for name in ("research", "care", "marketing"))
OFFSETS = "SELECT kafka_offset AS n FROM vitals ORDER BY n"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return lake_settings(tmp_path / "home", f"file://{tmp_path}/lake")


@pytest.fixture
def analytics(settings: Settings) -> Iterator[Analytics]:
    made(settings)
    with Analytics(settings) as opened:
        yield opened


def offsets(analytics: Analytics, statement: str = OFFSETS, **options) -> list[int]:
    return analytics.query(statement, **options).table["n"].to_pylist()


def test_research_sees_only_rows_consented_to_then_and_now(analytics: Analytics) -> None:
    assert offsets(analytics, purpose=RESEARCH) == [1, 2]


def test_care_sees_every_row_and_never_asks_the_registry(analytics: Analytics) -> None:
    answer = analytics.query(OFFSETS, purpose=CARE)
    assert answer.table["n"].to_pylist() == list(range(7))
    assert set(answer.snapshots) == {"vitals"}
    assert offsets(analytics) == list(range(7))


def test_a_revoke_counts_for_the_next_statement(analytics: Analytics, settings: Settings) -> None:
    assert offsets(analytics, purpose=RESEARCH) == [1, 2]
    table = open_catalog(settings).load_table((settings.namespace, "consent_updates"))
    table.append(registry_rows({CONSENTING: [said(REVOKE, 19)]}, 10))
    assert offsets(analytics, purpose=RESEARCH) == []
    table.append(registry_rows({REVOKED: [said(GRANT, 19)]}, 11))
    assert offsets(analytics, purpose=RESEARCH) == [3], "what lies between revoke and grant stays out"


def test_as_of_shows_what_was_known_then_and_asks_for_consent_now(analytics: Analytics) -> None:
    assert offsets(analytics, purpose=RESEARCH, as_of=at(7)) == [1]
    assert offsets(analytics, as_of=at(7)) == [0, 1, 3]


def test_views_over_a_table_show_what_the_table_shows(analytics: Analytics, settings: Settings) -> None:
    created(settings, "sensor_faults")
    assert offsets(analytics, "SELECT kafka_offset AS n FROM vitals_checked ORDER BY n", purpose=RESEARCH) == [1, 2]


def test_a_table_that_does_not_serve_is_refused_by_name(analytics: Analytics) -> None:
    for name, wanted in (("rejects", RESEARCH), ("population_by_day", RESEARCH), ("vitals", MARKETING)):
        with pytest.raises(StatementRefused, match=f"table {name} does not serve {wanted.name}"):
            analytics.query(f"SELECT count(*) FROM {name}", purpose=wanted)
    with pytest.raises(StatementRefused):
        analytics.query('SELECT * FROM "consent to device.vitals"', purpose=RESEARCH)


def test_where_nothing_was_ever_said_nothing_is_shown(settings: Settings) -> None:
    made(settings, {})
    with Analytics(settings) as analytics:
        assert offsets(analytics, purpose=RESEARCH) == []
        assert analytics.query("SELECT count(*) AS n FROM labs", purpose=RESEARCH).table["n"].to_pylist() == [0]


def test_who_may_train_a_model_is_who_consents_now_and_at_the_time_of_the_row(analytics: Analytics) -> None:
    people = [CONSENTING, REVOKED, "nobody", None, CONSENTING]

    def asked(**options) -> list[bool]:
        told = consenting(analytics, ["device.vitals"], people, "research", NOW, of=["device.vitals"], **options)
        return told.tolist()

    assert asked() == [True, False, False, False, True]
    assert asked(times=[at(9), at(3), at(9), at(9), at(3)]) == [True, False, False, False, False]
    (marketing,) = consenting(analytics, [], [CONSENTING], "marketing", NOW, of=["device.vitals"])
    assert not marketing
    both = consenting(analytics, ["lab.results"], [CONSENTING], "research", NOW, of=["device.vitals", "lab.results"])
    assert both.tolist() == [True]
