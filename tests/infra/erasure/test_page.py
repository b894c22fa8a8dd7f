"""What the privacy officer reads: deadlines, what waits for whom, proof, coverage; and nobody's name."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest

from infra.erasure.overview import overview
from infra.erasure.page import page, write
from infra.erasure.verdicts import verdict_file
from tests.warehouse.conftest import lake_settings
from tests.warehouse.erasure.made import PEOPLE, TABLES, Ward
from tests.warehouse.retention.made import filled
from warehouse.erasure.run import Surroundings, certificate_file
from warehouse.erasure.states import REFUSED
from warehouse.erasure.stores import Coverage, Erased, Found, Place
from warehouse.retention.holds import Hold, HoldRegister

DONE, TREATED, FRESH, OLD = PEOPLE[:4]
WROTE = "a letter by Mrs Sample of the third"


class LateStore:
    """A store that lets go of what it has in three days."""

    name = "topic:device.vitals"

    def __init__(self, clock: Callable) -> None:
        self.clock, self.until = clock, clock() + timedelta(days=3)

    def locate(self, subjects) -> Found:
        if self.clock() >= self.until:
            return Found({})
        return Found({each.request: 7 for each in subjects}, {"topic": "t", "last_offsets": {"0": 9}}, self.until)

    def erase(self, subjects) -> Erased:
        return Erased(7, 7)

    prove = locate


@pytest.fixture(scope="module")
def ward(tmp_path_factory: pytest.TempPathFactory) -> Ward:
    """One certified, one restricted, one fresh, one past its deadline; a purge of research; a hold; a place nobody
    answers for since."""
    folder = tmp_path_factory.mktemp("officer")
    made = Ward(
        lake_settings(folder / "home", f"file://{folder}/home/lake"), tables=(*TABLES, "consent_updates", "labs")
    )
    made.ingest(days=[date(2026, 11, 18)])
    made.ask(OLD, verified=False, name="e-old")
    made.clock.now += timedelta(days=30)
    made.ask(DONE, name="e-done")
    made.ask(DONE, "research", name="consent-00000000-1111-2222-3333-444444444444")
    made.admit(TREATED, "A01")
    made.ask(TREATED, name="e-treated")
    made.erasure(Surroundings(stores=[LateStore(made.clock)])).run()
    made.ask(FRESH, name="e-fresh", verified=False)
    holds = HoldRegister(made.catalog, made.settings.namespace, made.contracts.table("retention_holds"), "test")
    holds.place(Hold("h-1", "labs", None, None, WROTE, "test", made.clock()))
    if keep := os.environ.get("WARDSTREAM_TEST_PAGE"):
        write(Path(keep), overview(made.erasure(AROUND)))
    return made


AROUND = Surroundings(
    coverage=lambda: Coverage(
        (Place("table:vitals", "column subject_token"), Place("vault", "a data key a person")),
        (Place("table:ward_summary", ""),),
        (Place("table:copy_for_a_study", "column patient_id, and no contract"),),
    )
)


def test_open_requests_come_by_their_deadline_and_say_what_they_wait_for(ward: Ward) -> None:
    found = overview(ward.erasure(AROUND))
    assert [each.request for each in found.open] == ["e-old", "e-treated", "e-fresh"]
    assert [each.request for each in found.overdue] == ["e-old"]
    assert {each.request: each.waits_for()[:8] for each in found.open} == {
        "e-old": "somebody", "e-treated": "a stay o", "e-fresh": "somebody",
    }  # fmt: skip
    text = page(found)
    assert 'Request <code title="e-old">e-old</code> is past its deadline' in text
    assert "day 30 of 28, 2 days late" in text


def test_the_deadline_is_a_setting(ward: Ward) -> None:
    erasure = ward.erasure(AROUND)
    erasure.settings = replace(ward.settings, erasure_deadline_days=60)
    found = overview(erasure)
    assert not found.overdue
    assert "day 30 of 60" in page(found)


def test_a_certificate_is_verified_and_says_when_the_last_byte_goes(ward: Ward) -> None:
    found = overview(ward.erasure(AROUND))
    line = next(each for each in found.certificates if each.request == "e-done")
    assert line.verdict is not None
    assert (line.verdict.so, line.verdict.waiting) == (True, 1)
    assert line.last_byte_at is not None
    assert line.last_byte_at > found.now
    assert line.objects == 1
    text = page(found)
    assert "in 2 days: topic:device.vitals" in text
    stores = text[text.index("e-done</code>, store by store") :]
    assert "<code>table:vitals</code></td><td class=n>4</td><td>deleted, sealed, expired, purged</td>" in stores


def test_a_certificate_that_is_not_so_is_an_alarm(ward: Ward) -> None:
    overview(ward.erasure(AROUND))
    kept = verdict_file(ward.settings, "e-done")
    good, document = kept.read_text(), certificate_file(ward.settings, "e-done")
    signed = document.read_text()
    try:
        kept.unlink()
        document.write_text(signed.replace('"before": 4', '"before": 3'))
        text = page(overview(ward.erasure(AROUND)))
        assert '<code title="e-done">e-done</code> is not so' in text
    finally:
        document.write_text(signed)
        kept.write_text(good)


def test_what_could_not_be_looked_at_is_neither_so_nor_an_alarm(ward: Ward) -> None:
    overview(ward.erasure(AROUND))
    kept = verdict_file(ward.settings, "e-done")
    good = kept.read_text()
    try:
        kept.write_text(json.dumps(json.loads(good) | {"untold": ["the vault is elsewhere"]}))
        found = overview(ward.erasure(AROUND))
    finally:
        kept.write_text(good)
    line = next(each for each in found.certificates if each.request == "e-done")
    assert line.verdict is not None
    assert not line.verdict.so
    text = page(found)
    assert "1 cannot be told here" in text
    assert '<code title="e-done">e-done</code> is not so' not in text


def test_a_senders_word_that_is_no_use_of_the_house_stops_nothing_and_is_not_repeated(ward: Ward) -> None:
    book = ward.erasure().book
    book.enter([replace(book.get("e-fresh"), request_id="e-odd", category="Mrs Sample wants out", state=REFUSED)])
    found = overview(ward.erasure(AROUND))
    assert [each.scope for each in found.requests if each.request == "e-odd"] == ["no use of ours"]
    assert "Sample" not in page(found)


def test_it_is_verified_again_when_the_last_byte_should_have_gone(ward: Ward) -> None:
    before = overview(ward.erasure(AROUND))
    clock = ward.clock.now
    try:
        ward.clock.now += timedelta(days=4)
        found = overview(ward.erasure(AROUND))
    finally:
        ward.clock.now = clock
        verdict_file(ward.settings, "e-done").unlink()
    first, again = (
        next(each.verdict for each in lines.certificates if each.request == "e-done") for lines in (before, found)
    )
    assert first is not None
    assert again is not None
    assert again.at - first.at > timedelta(days=3)
    assert again.waiting == 0
    assert "gone by" in page(found)


def test_coverage_holds_and_consents_are_told(ward: Ward) -> None:
    text = page(overview(ward.erasure(AROUND)))
    assert "<code>table:copy_for_a_study</code> holds people, and no store for erasure answers for it" in text
    assert "NO STORE" in text
    assert "<code>h-1</code>" in text
    research = text[text.index("<td>research</td>") :]
    assert research.startswith("<td>research</td><td class=n>0</td><td class=n>0</td><td class=n>1</td>")
    assert "research_cohort" in research


def test_nobody_is_named_and_nothing_is_loaded(ward: Ward, tmp_path: Path) -> None:
    file = write(tmp_path, overview(ward.erasure(AROUND)))
    text = file.read_text()
    assert file == tmp_path / "index.html"
    for person in PEOPLE:
        assert person not in text
        assert ward.token(person) not in text
    # Reasons are written by people, who may write a name.
    assert "Sample" not in text
    assert "passport" not in text
    assert "privacy-desk" not in text
    assert "http" not in text.replace("http-equiv", "")
    assert "src=" not in text


def test_a_lake_without_requests_has_a_page_too(tmp_path: Path) -> None:
    settings = lake_settings(tmp_path / "home", f"file://{tmp_path}/lake")
    empty = Ward(settings, tables=("erasure_requests", "erasure_receipts", "retention_holds"))
    text = page(overview(empty.erasure()))
    assert "None yet." in text
    assert "alarm" not in text[text.index("<body>") :]


def test_an_admission_of_an_erased_person_is_an_alarm_and_other_messages_of_theirs_are_counted(ward: Ward) -> None:
    ward.create("rejects")
    quiet = overview(ward.erasure(AROUND))
    assert quiet.refused == ()
    assert "Nothing came" in page(quiet)
    now = ward.clock()
    rows = filled(
        "rejects", [date(2026, 11, 18)] * 5, ward.contracts,
        stream=["adt.events", "device.vitals", "device.vitals", "adt.events", "adt.events"],
        reason=["erased", "erased", "erased", "malformed", "erased"],
        kafka_time=[now, now, now, now, now - timedelta(days=31)], subject_token=[None] * 5,
    )  # fmt: skip
    ward.fenced("rejects").append_derived(rows, {"u": 1})
    told = overview(ward.erasure(AROUND))
    assert [(each.stream, each.messages) for each in told.refused] == [("adt.events", 1), ("device.vitals", 2)]
    alarm = page(told).partition('class="alarm"')[2].partition("</div>")[0]
    assert "1 event of admission came and was refused" in alarm
    assert "readmit" in alarm
