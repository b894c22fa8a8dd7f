"""A table kept for research and marketing loses a person with the last of both, and not before; care loses nobody."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pyarrow as pa
import pytest

from tests.warehouse.erasure.made import PEOPLE, TABLES, Ward
from tests.warehouse.retention.made import filled
from warehouse.contract_model import Contracts
from warehouse.erasure.inventory import tables_for
from warehouse.erasure.run import certificate_file
from warehouse.settings import Settings

GONE, OTHER = PEOPLE[2], PEOPLE[3]
SHARED = "vitals_by_hour"


@pytest.fixture
def ward(folder_lake: Settings) -> Ward:
    """`vitals_by_hour` serves research and marketing; everything else is as the contracts have it."""
    made = Ward(folder_lake, tables=(*TABLES, "consent_updates"))
    streams = tuple(_serving(each) if each.name == SHARED else each for each in made.contracts.values())
    made.contracts = Contracts(streams, made.contracts.retention_classes)
    made.derive()
    return made


def _serving(stream, purposes=("research", "marketing")):
    return replace(stream, purposes=purposes)


def say(ward: Ward, person: str, action: str, category: str, hours_ago: int = 1) -> None:
    """One message of the registry."""
    at = pa.array([ward.clock() - timedelta(hours=hours_ago)], pa.timestamp("us", "UTC"))
    day = ward.clock().date()
    rows = filled("consent_updates", [day], ward.contracts, subject_token=[ward.token(person)], action=[action])
    for name, values in (
        ("category", pa.array([category])),
        ("scope", pa.array(["all"])),
        ("provision_time", at),
        ("kafka_time", at),
        ("expires_at", pa.nulls(1, pa.timestamp("us", "UTC"))),
        ("sequence", pa.nulls(1, pa.int64())),
    ):
        place = rows.schema.get_field_index(name)
        rows = rows.set_column(place, rows.schema.field(name), values.cast(rows.schema.field(name).type))
    ward.fenced("consent_updates").append_derived(rows, {})


def steps(ward: Ward, request: str) -> list[str]:
    said = json.loads(certificate_file(ward.settings, request).read_text())["certificate"]
    (store,) = [each for each in said["stores"] if each["store"] == f"table:{SHARED}"]
    return [each["step"] for each in store["steps"]]


def test_rows_stay_while_another_use_of_the_table_is_consented_to_and_go_with_the_last(ward: Ward) -> None:
    for category in ("research", "marketing"):
        say(ward, GONE, "GRANT", category, hours_ago=5)
    others = ward.digest_without([GONE], SHARED)
    say(ward, GONE, "REVOKE", "research")
    first = ward.ask(GONE, "research")
    assert [each.state for each in ward.erasure().run()] == ["certified"]
    assert ward.of(GONE, SHARED) == 3
    assert "kept" in steps(ward, first)
    say(ward, GONE, "REVOKE", "marketing")
    last = ward.ask(GONE, "marketing")
    assert [each.state for each in ward.erasure().run([last])] == ["certified"]
    assert ward.of(GONE, SHARED) == 0
    assert ward.digest_without([GONE], SHARED) == others
    assert "kept" not in steps(ward, last)


def test_of_two_in_one_run_only_the_rows_of_whoever_consents_to_nothing_else_go(ward: Ward) -> None:
    say(ward, OTHER, "GRANT", "marketing", hours_ago=5)
    ward.ask(GONE, "research")
    ward.ask(OTHER, "research")
    assert {each.state for each in ward.erasure().run()} == {"certified"}
    assert (ward.of(GONE, SHARED), ward.of(OTHER, SHARED)) == (0, 3)


def test_a_consent_that_was_taken_back_too_keeps_nothing(ward: Ward) -> None:
    say(ward, OTHER, "GRANT", "marketing", hours_ago=5)
    say(ward, OTHER, "REVOKE", "marketing", hours_ago=2)
    ward.ask(OTHER, "research")
    ward.erasure().run()
    assert ward.of(OTHER, SHARED) == 0


def test_what_serves_care_too_is_left_alone(ward: Ward) -> None:
    streams = tuple(
        _serving(each, ("research", "care")) if each.name == SHARED else each for each in ward.contracts.values()
    )
    assert SHARED not in {table.name for table in tables_for(Contracts(streams), "research")}
    assert SHARED in {table.name for table in tables_for(ward.contracts, "research")}
