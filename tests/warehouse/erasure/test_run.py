"""A person leaves every table and every layer of it; everybody else stays as they were; what is done is told once."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest

from tests.warehouse.erasure.made import DAYS, PEOPLE, Ward
from tests.warehouse.fenced import TOPIC
from warehouse.erasure.ledger import Ledger
from warehouse.erasure.requests import Asked
from warehouse.erasure.run import NotCoveredError, Surroundings, certificate_file
from warehouse.erasure.states import CERTIFIED, RECEIVED, REFUSED, RESTRICTED, StateError
from warehouse.erasure.stores import Coverage, PinnedError, Place
from warehouse.identity import Tokenizer
from warehouse.retention.holds import Hold
from warehouse.settings import Settings
from warehouse.snapshots import vector_of

GONE, OTHERS = PEOPLE[2], ("vitals", "rejects", "vitals_by_hour")


@pytest.fixture
def ward(folder_lake: Settings) -> Ward:
    made = Ward(folder_lake)
    made.ingest()
    made.reject()
    made.derive()
    return made


def test_nothing_of_a_person_is_left_in_any_object_and_others_are_as_before(ward: Ward) -> None:
    before = {name: ward.digest_without([GONE], name) for name in OTHERS}
    assert all(ward.of(GONE, name) for name in OTHERS)
    request = ward.ask(GONE, verified=False)
    located = ward.erasure().located(ward.erasure().book.get(request))
    assert located["table:vitals"] == 12
    assert located["vault"] == 1
    ward.erasure().verify(request, "passport seen")
    (done,) = ward.erasure().run()
    assert done.state == CERTIFIED
    assert {name: ward.of(GONE, name) for name in OTHERS} == dict.fromkeys(OTHERS, 0)
    assert {name: ward.digest_without([GONE], name) for name in OTHERS} == before
    assert vector_of(ward.table().metadata) == {TOPIC: {0: 72}}
    token = ward.token(GONE).encode()
    left = [path for path in _files(ward) if token in path.read_bytes() and path.suffix != ".log"]
    assert left == []


def test_the_key_goes_within_seconds_and_what_comes_later_is_refused(ward: Ward) -> None:
    ward.ask(GONE)
    ward.erasure().run()
    said = json.loads(certificate_file(ward.settings, f"e-{GONE}-all".replace("P", "x")).read_text())["certificate"]
    assert said["key"]["seconds_after_verification"] < 10
    assert ward.vault.data_keys([ward.token(GONE)]) == {}
    tokens = Tokenizer(ward.vault.token_key(), "urn:wardstream:patient-id", Ledger(ward.vault, lambda: 0.0))
    assert tokens.tokens([GONE, PEOPLE[1]]) == [None, ward.token(PEOPLE[1])]


def test_a_certificate_counts_before_and_after_and_names_nobody(ward: Ward) -> None:
    request = ward.ask(GONE)
    ward.erasure().run()
    text = certificate_file(ward.settings, request).read_text()
    assert GONE not in text
    assert ward.token(GONE) not in text
    stores = {each["store"]: each for each in json.loads(text)["certificate"]["stores"]}
    assert (stores["table:vitals"]["before"], stores["table:vitals"]["after"]) == (12, 0)
    assert (stores["table:rejects"]["before"], stores["table:rejects"]["after"]) == (1, 0)
    assert (stores["table:duplicates"]["before"], stores["table:duplicates"]["after"]) == (0, 0)


def test_whom_a_request_was_about_cannot_be_told_once_it_is_certified(ward: Ward) -> None:
    request = ward.ask(GONE)
    book = ward.erasure().book
    assert [each.tokens for each in book.subjects([book.get(request)])] == [(ward.token(GONE),)]
    ward.erasure().run()
    assert book.subjects([book.get(request)]) == []


def test_a_certificate_closes_every_ended_request_of_the_same_person(ward: Ward) -> None:
    """Requests that an older version refused still have their keys."""
    early, book = ward.ask(GONE, "marketing", name="e-early"), ward.erasure().book
    key = ward.vault.request_key(early)
    assert key is not None
    ward.vault.destroy_request_keys = lambda requests: None  # as the older version did
    assert [each.state for each in ward.erasure().run()] == [REFUSED]
    del ward.vault.destroy_request_keys
    assert book.subjects([book.get(early)])
    ward.ask(GONE)
    ward.erasure().run()
    assert book.subjects([book.get(early)]) == []


def test_nothing_is_done_before_somebody_verified_the_request(ward: Ward) -> None:
    request = ward.ask(GONE, verified=False)
    (found,) = ward.erasure().run()
    assert (found.request_id, found.state) == (request, RECEIVED)
    assert ward.of(GONE) == 12


def test_many_people_at_once_are_as_many_certificates_and_one_exchange_a_table(ward: Ward) -> None:
    for person in PEOPLE[:4]:
        ward.ask(person)
    others = ward.digest_without(PEOPLE[:4])
    snapshots = []
    done = ward.erasure(progress=lambda step: snapshots.append(step) if step == "exchange" else None).run()
    assert [each.state for each in done] == [CERTIFIED] * 4
    assert [ward.of(person) for person in PEOPLE[:4]] == [0] * 4
    assert ward.digest_without(PEOPLE[:4]) == others
    assert len(snapshots) == len(OTHERS)


def test_a_hundred_people_at_once_leave_in_one_exchange_a_table_and_each_certificate_counts_its_own(
    folder_lake: Settings,
) -> None:
    ward, everybody = Ward(folder_lake), [f"P{n:06d}" for n in range(120)]
    gone = everybody[:100]
    ward.ingest(people=everybody, each=2)
    ward.ingest(DAYS[:1], gone[:1])
    ward.reject(everybody[50:])
    steps: list[str] = []
    erasure = ward.erasure(progress=steps.append)
    asked = [Asked(f"e-{n}", ward.token(each), None, "by letter", ward.clock(), "desk") for n, each in enumerate(gone)]
    requests = erasure.book.receive(erasure.book.new(each, "test", ward.clock()) for each in asked)
    erasure.book.enter(each.moved("verified", ward.clock(), "test") for each in requests)
    others = {name: ward.digest_without(gone, name) for name in ("vitals", "rejects")}
    assert {each.state for each in erasure.run()} == {CERTIFIED}
    assert steps.count("exchange") == 2, "vitals and rejects, each once for all"
    assert {name: ward.digest_without([], name) for name in others} == others
    said = [json.loads(certificate_file(ward.settings, f"e-{n}").read_text())["certificate"] for n in range(100)]
    stores = [{each["store"]: (each["before"], each["after"]) for each in one["stores"]} for one in said]
    assert [each["table:vitals"] for each in stores] == [(10, 0), *[(6, 0)] * 99]
    assert [each["table:rejects"] for each in stores] == [*[(0, 0)] * 50, *[(1, 0)] * 50]
    assert len({one["subject"]["mark"] for one in said}) == 100


def test_a_patient_who_is_being_treated_is_restricted_until_the_stay_ends(ward: Ward) -> None:
    ward.admit(GONE, "A01", "A03", "A13")
    ward.ask(GONE)
    (found,) = ward.erasure().run()
    assert found.state == RESTRICTED
    assert "stay" in found.reason
    assert ward.vault.data_keys([ward.token(GONE)])
    assert ward.of(GONE) == 12
    ward.admit(GONE, "A03")
    (found,) = ward.erasure().run()
    assert found.state == CERTIFIED


def test_a_hold_restricts_those_who_have_rows_on_its_days_and_nobody_else(ward: Ward) -> None:
    from warehouse.retention.holds import HoldRegister

    other = date(2026, 11, 25)
    ward.ingest([other], ["P777777"])
    holds = HoldRegister(ward.catalog, ward.settings.namespace, ward.contracts.table("retention_holds"), "test")
    holds.place(Hold("h1", "vitals", other, other, "the court asks", "test", ward.clock()))
    held, free = ward.ask("P777777"), ward.ask(GONE)
    states = {each.request_id: each.state for each in ward.erasure().run()}
    assert states == {held: RESTRICTED, free: CERTIFIED}
    holds.lift("h1", "the court is done", "test", ward.clock())
    assert {each.state for each in ward.erasure().run()} == {CERTIFIED}


def test_a_tag_on_rows_of_the_person_stops_the_erasure_loudly_and_it_goes_on_once_it_is_dropped(ward: Ward) -> None:
    table = ward.table()
    table.manage_snapshots().create_tag(table.current_snapshot().snapshot_id, "model-7").commit()
    ward.ask(GONE)
    with pytest.raises(PinnedError, match="model-7"):
        ward.erasure().run()
    ward.table().manage_snapshots().remove_tag("model-7").commit()
    assert [each.state for each in ward.erasure().run()] == [CERTIFIED]


def test_nothing_is_begun_while_something_that_holds_people_is_not_covered(ward: Ward) -> None:
    ward.ask(GONE)
    around = Surroundings(coverage=lambda: Coverage((), (), (Place("table:new", "column subject_token"),)))
    with pytest.raises(NotCoveredError, match="table:new"):
        ward.erasure(around).run()
    assert ward.of(GONE) == 12


def test_behind_the_fence_a_request_cannot_be_refused(ward: Ward) -> None:
    request = ward.ask(GONE)
    ward.erasure().run()
    with pytest.raises(StateError, match="certified"):
        ward.erasure().refuse(request, "changed their mind")


def test_the_seal_leaves_no_manifest_that_names_what_left(ward: Ward) -> None:
    ward.ask(GONE)
    ward.erasure().run()
    for manifest in ward.table().current_snapshot().manifests(ward.table().io):
        assert not manifest.deleted_files_count
    assert len(DAYS) == 3


def _files(ward: Ward) -> list[Path]:
    place = Path(ward.settings.warehouse.removeprefix("file://"))
    return [path for root in (place, ward.settings.home) for path in root.rglob("*") if path.is_file()]
