"""The research cohort on a real lake: only who consented when the reading was taken, and does when the day is made."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from assets.derive import derive
from assets.gate import Lake as Opened
from assets.gate import run_gate
from tests.assets.conftest import Lake
from tests.expectations.day import DAY, TOPIC_ID, at, reading, table
from tests.warehouse.conftest import lake_settings
from warehouse.catalog import create_table, open_catalog, table_lock
from warehouse.contract import load_contracts
from warehouse.erasure.ledger import mark_of
from warehouse.offsets import Interval
from warehouse.vault import LEDGER_KEY, open_vault
from warehouse.vocabulary import HEART_RATE, SPO2

CONTRACTS = load_contracts()
NOW = datetime(2026, 11, 22, 3, tzinfo=UTC)
TOPIC = "topic-of-consents"
TIMES = {"day": at(0), "first_at": at(0), "last_at": at(60), "consented_at": at(-3600), "asked_at": at(90)}
COUNTED = {"readings": 8, "hours": 2, "codes": 2, **TIMES}


NEEDED = (
    "vitals", "rejects", "duplicates", "quality_results", "consent_updates", "research_cohort", "erasure_receipts",
)  # fmt: skip


@pytest.fixture
def consents(tmp_path: Path) -> Lake:
    """A lake in a folder, two readings of three patients every half hour from midnight on, and nothing said yet."""
    settings = lake_settings(tmp_path / "home", f"file://{tmp_path}/lake")
    for name in NEEDED:
        create_table(open_catalog(settings), settings.namespace, CONTRACTS.table(name), table_lock(settings))
    lake = Lake(settings)
    for name in ("vitals", "rejects", "duplicates"):
        lake.fenced(name).establish(TOPIC_ID, dict.fromkeys(range(4), 0))
    lake.fenced("consent_updates").establish(TOPIC, dict.fromkeys(range(4), 0))
    rows = [
        reading(1800 * n, code, patient, kafka_offset=2 * n + place, event_id=f"{patient}-{n}-{place}")
        for patient in range(3)
        for n in range(4)
        for place, code in enumerate((HEART_RATE, SPO2))
    ]
    lake.commit(rows)
    assert run_gate(lake.settings, "vitals", DAY, now=NOW).passed
    return lake


def say(lake: Lake, offset: int, token: str, action: str, seconds: float) -> None:
    """One thing said, at that time of the day."""
    row: dict[str, Any] = {
        "subject_token": token, "action": action, "category": "research", "scope": "all", "provision_time": at(seconds),
        "topic_id": TOPIC, "kafka_partition": 0, "kafka_offset": offset, "kafka_time": at(seconds + 1),
        "ingest_time": at(seconds + 2),
    }  # fmt: skip
    lake.fenced("consent_updates").commit(table([row], "consent_updates"), [Interval(TOPIC, 0, offset, offset + 1)])


def cohort(lake: Lake) -> dict[str, tuple[int, int, int, datetime, datetime]]:
    receipt = derive(lake.settings, CONTRACTS, "research_cohort", [DAY])
    assert receipt.refused == ()
    return {
        row["subject_token"]: (row["readings"], row["hours"], row["codes"], row["first_at"], row["consented_at"])
        for row in lake.rows("research_cohort")
    }


def test_only_readings_covered_by_a_consent_that_still_holds_are_counted(consents: Lake) -> None:
    assert cohort(consents) == {}
    say(consents, 0, "TOKEN0", "GRANT", -3600)
    say(consents, 1, "TOKEN1", "GRANT", 3600)
    say(consents, 2, "TOKEN2", "GRANT", -3600)
    say(consents, 3, "TOKEN2", "REVOKE", 5000)
    assert cohort(consents) == {
        "TOKEN0": (8, 2, 2, at(0), at(-3600)),
        "TOKEN1": (4, 1, 2, at(3600), at(3600)),
    }


def test_a_day_made_again_after_a_revoke_has_nobody_who_revoked(consents: Lake) -> None:
    say(consents, 0, "TOKEN0", "GRANT", -3600)
    assert set(cohort(consents)) == {"TOKEN0"}
    say(consents, 1, "TOKEN0", "REVOKE", 86400)
    assert cohort(consents) == {}
    say(consents, 2, "TOKEN0", "GRANT", 86400 + 60)
    assert set(cohort(consents)) == {"TOKEN0"}


def reckoned(*tokens: str) -> Any:
    """Rows of the cohort as somebody reckoned them before."""
    return table([{**COUNTED, "subject_token": token} for token in tokens], "research_cohort")


def test_who_is_on_the_list_of_the_erased_is_in_no_derived_day(consents: Lake) -> None:
    """Rows of theirs were read before, as they are where an erasure runs through while a day is made."""
    say(consents, 0, "TOKEN0", "GRANT", -3600)
    say(consents, 1, "TOKEN1", "GRANT", -3600)
    vault = open_vault(consents.settings.vault_uri, lambda: 0.0)
    vault.fence([mark_of(vault.house_key(LEDGER_KEY), "TOKEN0")])
    vault.close()
    with Opened(consents.settings) as lake:
        assert lake.replace("research_cohort", reckoned("TOKEN0", "TOKEN1"), {"u": 1}, [DAY]).rows == 1
    assert [row["subject_token"] for row in consents.rows("research_cohort")] == ["TOKEN1"]


def test_who_took_a_consent_back_while_a_day_was_made_is_not_in_it(consents: Lake) -> None:
    """As it is where a purge runs through between the reading of the day and its commit."""
    for offset, token in enumerate(("TOKEN0", "TOKEN1")):
        say(consents, offset, token, "GRANT", -3600)
    say(consents, 2, "TOKEN0", "REVOKE", 5000)
    with Opened(consents.settings) as lake:
        assert lake.replace("research_cohort", reckoned("TOKEN0", "TOKEN1", "TOKEN2"), {"u": 1}, [DAY]).rows == 1
    assert [row["subject_token"] for row in consents.rows("research_cohort")] == ["TOKEN1"]


def test_a_cohort_waits_for_no_verdict_on_consent_but_for_one_on_readings(consents: Lake) -> None:
    tomorrow = DAY + timedelta(days=1)
    say(consents, 0, "TOKEN0", "GRANT", -3600)
    assert "vitals" in derive(consents.settings, CONTRACTS, "research_cohort", [tomorrow]).refused[0]
