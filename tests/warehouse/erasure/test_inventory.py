"""Whatever holds people is answered for, or the alarm goes: no list is kept by hand beside the contracts."""

from __future__ import annotations

from warehouse.contract import load_contracts
from warehouse.erasure.inventory import KEPT_LISTS, about_people, places, tables_for, token_column
from warehouse.erasure.stores import Place, coverage_of

ALL = load_contracts()
REGISTERED = {f"table:{table.name}" for table in tables_for(ALL, None)} | {
    f"topic:{topic.stream}" for topic in ALL.topics() if topic.key_system
}


def test_every_table_and_topic_of_the_contracts_that_holds_people_has_a_store() -> None:
    found = coverage_of(places(ALL, {}, ()), REGISTERED)
    assert [place.name for place in found.uncovered] == []
    names = {place.name for place in found.covered}
    assert {
        "table:vitals",
        "table:rejects",
        "table:duplicates",
        "topic:device.vitals",
        "topic:clinical.alerts",
    } <= names


def test_a_table_without_a_contract_that_looks_like_one_about_people_is_an_alarm() -> None:
    standing = {"copy_of_vitals": ["a", "Subject_Token"], "numbers": ["a", "b"], "vitals": ["subject_token"]}
    found = coverage_of(places(ALL, standing, ()), REGISTERED)
    assert [place.name for place in found.uncovered] == ["table:copy_of_vitals"]


def test_a_topic_without_a_contract_is_an_alarm() -> None:
    found = coverage_of(places(ALL, {}, ["device.vitals", "somebody.elses"]), REGISTERED)
    assert [place.name for place in found.uncovered] == ["topic:somebody.elses"]


def test_a_store_that_nobody_registered_is_an_alarm() -> None:
    found = coverage_of(places(ALL, {}, (), [Place("exports", "files of rows")]), REGISTERED)
    assert [place.name for place in found.uncovered] == ["exports"]
    assert not found.complete


def test_tables_without_a_token_hold_nobody_by_their_contracts() -> None:
    without = [table.name for table in ALL.tables() if not token_column(table)]
    assert [name for name in without if about_people(ALL.table(name), ALL)] == []
    assert set(KEPT_LISTS) <= set(without)


def test_the_end_of_a_category_concerns_what_serves_it_and_nothing_else() -> None:
    for category in ("research", "marketing"):
        for table in tables_for(ALL, category):
            assert ALL.stream(table.stream).purposes == (category,)
    assert len(tables_for(ALL, None)) > 10
