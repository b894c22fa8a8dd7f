"""Whom anything keeps back nothing is done to that has no way back; where nothing does, the key goes at once."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

import pytest

from tests.warehouse.consent.lake import registry_rows
from tests.warehouse.erasure.made import DAYS, PEOPLE, START, Ward
from tests.warehouse.retention.made import filled
from warehouse.consent.decision import GRANT, REVOKE, Provision
from warehouse.erasure.ledger import Ledger
from warehouse.erasure.open_stays import is_open
from warehouse.erasure.requests import Asked, RequestError
from warehouse.erasure.run import NotCoveredError, Surroundings, certificate_file
from warehouse.erasure.scope import NOT_KNOWN
from warehouse.erasure.states import CERTIFIED, RECEIVED, REFUSED, RESTRICTED, SHREDDED, VERIFIED, StateError
from warehouse.erasure.stores import Coverage, NotYetError, PinnedError, Place
from warehouse.identity import Tokenizer
from warehouse.retention.holds import Hold, HoldRegister
from warehouse.settings import Settings
from warehouse.vault import SqliteVault, VaultUnavailableError

GONE, SYSTEM = PEOPLE[2], "urn:wardstream:patient-id"


@pytest.fixture
def ward(folder_lake: Settings) -> Ward:
    made = Ward(folder_lake)
    made.ingest()
    return made


def states(ward: Ward) -> dict[str, str]:
    return {name: each.state for name, each in ward.erasure().book.current().items()}


def reached(ward: Ward, request: str) -> list[str]:
    return [each.state for each in ward.erasure().book.history() if each.request_id == request]


# --- the key


def test_the_key_goes_with_the_verification_whatever_else_has_to_be_waited_for(ward: Ward) -> None:
    request = ward.ask(GONE)
    assert reached(ward, request) == [RECEIVED, VERIFIED, "fenced", SHREDDED]
    assert ward.vault.standing([ward.token(GONE)]) == set()
    around = Surroundings(coverage=lambda: Coverage((), (), (Place("table:new", "column subject_token"),)))
    with pytest.raises(NotCoveredError):
        ward.erasure(around).run()
    ward.clock.sleep(86_400)
    ward.erasure().run()
    said = json.loads(certificate_file(ward.settings, request).read_text())["certificate"]
    assert said["key"]["seconds_after_verification"] < 10
    assert said["key"]["counted_from"] == VERIFIED


def test_a_vault_that_is_away_at_verification_leaves_the_next_run_to_destroy_the_key(
    ward: Ward, monkeypatch: pytest.MonkeyPatch
) -> None:
    ward.vault.data_keys([ward.token(GONE)])
    request = ward.ask(GONE, verified=False)

    def away(self: SqliteVault, tokens: object) -> None:
        raise VaultUnavailableError("the vault's log is in use and could not be emptied; do it again")

    with monkeypatch.context() as patched:
        patched.setattr(SqliteVault, "destroy_all", away)
        patched.setattr("warehouse.erasure.keys.PAUSE_SECONDS", 0.0)
        with pytest.raises(VaultUnavailableError):
            ward.erasure().verify(request, "passport seen")
    assert states(ward) == {request: "fenced"}
    with pytest.raises(StateError):
        ward.erasure().refuse(request, "changed their mind")
    assert [each.state for each in ward.erasure().run()] == [CERTIFIED]
    assert ward.vault.standing([ward.token(GONE)]) == set()


# --- what keeps back


@pytest.mark.parametrize(
    ("types", "expected"),
    [
        ("A01", True), ("A01 A03", False), ("A01 A03 A13", True), ("A01 A03 A03 A13", True), ("A02", True),
        ("A01 A03 A13 A03", False), ("A04", False), ("A01 A11", False), ("A01 A11 A01", True), ("A03", False),
        ("A01 A02 A03", False), ("A01 A03 A08", False), ("A01 A03 A01", True),
    ],
)  # fmt: skip
def test_whoever_may_still_be_here_is_here(types: str, expected: bool) -> None:
    at = [START + timedelta(hours=n) for n in range(len(types.split()))]
    events = [{"type": t, "event_time": a, "recorded_at": None} for t, a in zip(types.split(), at, strict=True)]
    assert is_open(events) is is_open(events[::-1]) is expected
    entered = [event | {"recorded_at": event["event_time"] + timedelta(hours=9)} for event in events]
    assert is_open(entered) is expected


def test_what_is_entered_late_opens_no_stay_and_a_cancellation_of_the_same_moment_does() -> None:
    def event(kind: str, hour: int, entered: int | None = None) -> dict[str, object]:
        said = None if entered is None else START + timedelta(hours=entered)
        return {"type": kind, "event_time": START + timedelta(hours=hour), "recorded_at": said}

    assert not is_open([event("A01", 0), event("A03", 5), event("A02", 2, entered=7)])
    assert is_open([event("A01", 0), event("A03", 5, entered=6), event("A13", 5)])


def test_both_requests_about_one_person_who_is_being_treated_are_kept_back(ward: Ward) -> None:
    ward.admit(GONE, "A01")
    ward.ask(GONE, name="by-desk")
    ward.ask(GONE, name="by-portal")
    ward.erasure().run()
    assert states(ward) == {"by-desk": RESTRICTED, "by-portal": RESTRICTED}
    assert ward.vault.erased() == {}


def test_a_hold_keeps_a_category_back_though_a_stay_is_open_and_the_stay_alone_does_not(
    ward: Ward, monkeypatch: pytest.MonkeyPatch
) -> None:
    ward.create("research_cohort")
    rows = filled("research_cohort", [DAYS[0]], ward.contracts, subject_token=[ward.token(GONE)])
    ward.fenced("research_cohort").append_derived(rows, {"u": 1}, DAYS[0])
    ward.admit(GONE, "A01")
    holds = HoldRegister(ward.catalog, ward.settings.namespace, ward.contracts.table("retention_holds"), "test")
    holds.place(Hold("h1", "research_cohort", DAYS[0], DAYS[0], "the court asks", "test", ward.clock()))
    request = ward.ask(GONE, category="research")
    (found,) = ward.erasure().run()
    assert (found.state, "hold h1" in found.reason) == (RESTRICTED, True)
    assert ward.of(GONE, "research_cohort") == 1
    holds.lift("h1", "the court is done", "test", ward.clock())
    assert [each.state for each in ward.erasure().run()] == [CERTIFIED]
    assert states(ward) == {request: CERTIFIED}
    assert (ward.of(GONE, "research_cohort"), ward.of(GONE)) == (0, 12)


def test_a_category_for_which_nothing_is_kept_is_told_so_and_certified_by_nobody(ward: Ward) -> None:
    request = ward.ask(GONE, category="marketing")
    (found,) = ward.erasure().run()
    assert (found.state, "nothing to erase" in found.reason) == (REFUSED, True)
    assert not certificate_file(ward.settings, request).exists()
    book = ward.erasure().book
    assert book.subjects([book.get(request)]) == []  # whom it was about nobody can open any more


# --- consent that is in force again


def asked(ward: Ward, at: datetime, name: str) -> str:
    """The request that a revoke of research leads to, as it is known at that time."""
    book = ward.erasure().book
    book.receive([book.new(Asked(name, ward.token(GONE), "research", "consent revoked", at, "x"), "x", at)])
    ward.erasure().verify(name, "by message")
    return name


def test_a_revoke_that_no_longer_holds_purges_nothing_and_one_that_holds_does(ward: Ward) -> None:
    ward.create("consent_updates")
    registry, ten = ward.fenced("consent_updates"), START.replace(hour=10)

    def say(offset: int, action: str, hour: int, known: int) -> datetime:
        at, known_at = ten.replace(hour=hour), ten.replace(hour=known)
        told = Provision(action, "Research", "all", at, known_at)
        registry.append_derived(registry_rows({ward.token(GONE): [told]}, offset), {"u": offset})
        return known_at

    say(0, GRANT, 1, 1)
    early = asked(ward, ten.replace(hour=2), "r-before-it-is-kept")
    (waiting,) = ward.erasure().run()
    assert (waiting.state, "in force" in waiting.reason) == (RESTRICTED, True)
    assert (waiting.request_id, ten.replace(hour=2)) == (early, say(1, REVOKE, 2, 2))
    assert [each.state for each in ward.erasure().run()] == [CERTIFIED]
    say(2, GRANT, 9, 9)
    late = asked(ward, say(3, REVOKE, 8, 11), "r-late")
    ward.erasure().run()
    assert states(ward)[late] == REFUSED
    assert "granted again" in ward.erasure().book.get(late).reason


# --- two requests, two operators, two runs


def test_an_old_request_about_somebody_who_came_back_refuses_nobody_anything(ward: Ward) -> None:
    ward.ask(GONE, name="by-desk")
    forgotten = ward.ask(GONE, name="by-portal", verified=False)
    ward.erasure().run()
    ward.erasure().readmit(ward.token(GONE))
    tokens = Tokenizer(ward.vault.token_key(), SYSTEM, Ledger(ward.vault, lambda: 0.0))
    (today,) = tokens.tokens([GONE])
    assert today not in (None, ward.token(GONE))
    ward.erasure().verify(forgotten, "passport seen")
    assert states(ward) == {"by-desk": CERTIFIED, "by-portal": REFUSED}
    assert "ask anew" in ward.erasure().book.get(forgotten).reason
    assert Tokenizer(ward.vault.token_key(), SYSTEM, Ledger(ward.vault, lambda: 0.0)).tokens([GONE]) == [today]
    ward.vault.fence([bytes.fromhex(ward.erasure().book.mark(ward.token(GONE)))])
    assert Tokenizer(ward.vault.token_key(), SYSTEM, Ledger(ward.vault, lambda: 0.0)).tokens([GONE]) == [today]


def test_who_was_fenced_by_a_killed_run_and_comes_back_is_erased_under_the_old_pseudonym(ward: Ward) -> None:
    request = ward.ask(GONE, verified=False)

    def kill(step: str) -> None:
        if step == "done fenced":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ward.erasure(progress=kill).verify(request, "passport seen")
    assert states(ward) == {request: VERIFIED}
    ward.erasure().readmit(ward.token(GONE))
    tokens = Tokenizer(ward.vault.token_key(), SYSTEM, Ledger(ward.vault, lambda: 0.0))
    (today,) = tokens.tokens([GONE])
    assert [each.state for each in ward.erasure().run()] == [CERTIFIED]
    assert ward.of(GONE) == 0
    assert Tokenizer(ward.vault.token_key(), SYSTEM, Ledger(ward.vault, lambda: 0.0)).tokens([GONE]) == [today]


def test_what_was_begun_cannot_be_refused_and_what_was_refused_is_not_begun(ward: Ward) -> None:
    request = ward.ask(GONE, category="research")
    refused = []

    def meddle(step: str) -> None:
        if step == "begin deleted":
            refused.append(ward.erasure().refuse(request, "changed their mind").state)

    ward.erasure(progress=meddle).run()
    assert refused == [REFUSED]
    assert reached(ward, request) == [RECEIVED, VERIFIED, REFUSED]

    begun = ward.ask(PEOPLE[3], category="research")

    def meddle_later(step: str) -> None:
        if step == "tell deleted":
            with pytest.raises(StateError, match="no way back"):
                ward.erasure().refuse(begun, "changed their mind")

    ward.erasure(progress=meddle_later).run()
    assert states(ward)[begun] == CERTIFIED


def test_a_clock_that_was_set_back_makes_no_older_state_the_present(ward: Ward) -> None:
    request = ward.ask(GONE, verified=False)
    ward.clock.now = datetime(2026, 1, 1, tzinfo=UTC)
    ward.erasure().verify(request, "passport seen")
    assert states(ward) == {request: SHREDDED}


def test_what_stops_one_run_of_requests_does_not_stop_the_next(ward: Ward) -> None:
    pinned = ward.ask(GONE)
    table = ward.table()
    table.manage_snapshots().create_tag(table.current_snapshot().snapshot_id, "for-a-study").commit()
    with pytest.raises(PinnedError, match="for-a-study"):
        ward.erasure().run()
    ward.ingest([DAYS[-1]], ["P777777"])
    free = ward.ask("P777777")
    with pytest.raises(PinnedError, match="for-a-study"):
        ward.erasure().run()
    assert states(ward) == {pinned: "models", free: CERTIFIED}


def test_two_people_whose_senders_gave_one_name_are_two_requests(ward: Ward) -> None:
    rows = filled(
        "data_deletions", [DAYS[0]] * 3, ward.contracts, request_id=["m-1"] * 3, category=[None] * 3,
        subject_token=[ward.token(GONE), ward.token(PEOPLE[1]), ward.token(GONE)],
    )  # fmt: skip
    ward.fenced("data_deletions").append_derived(rows, {"u": 1})
    assert len(ward.erasure().intake()) == 2
    assert ward.erasure().intake() == []
    assert len({each.subject_mark for each in ward.erasure().book.current().values()}) == 2


def test_what_a_message_says_of_somebody_is_in_no_list_no_certificate_and_no_name_of_a_file(ward: Ward) -> None:
    rows = filled(
        "data_deletions", [DAYS[0]], ward.contracts, request_id=[f"portal.{GONE}"], category=[None],
        subject_token=[ward.token(GONE)], reason=[f"asked by {GONE}"], requested_by=[f"son of {GONE}"],
    )  # fmt: skip
    ward.fenced("data_deletions").append_derived(rows, {"u": 1})
    (taken,) = ward.erasure().intake()
    ward.erasure().verify(taken.request_id, "passport seen")
    ward.erasure().run()
    assert states(ward) == {taken.request_id: CERTIFIED}
    said = repr(ward.erasure().book.history()) + repr(ward.erasure().book.receipts())
    written = [file for file in ward.settings.home.rglob("*") if file.is_file() and file.suffix == ".json"]
    assert [file.name for file in written if file.name == f"{taken.request_id}.json"]
    assert GONE not in said + repr(written) + "".join(file.read_text() for file in written)


def test_a_reason_or_a_name_that_holds_an_identifier_is_taken_nowhere(ward: Ward) -> None:
    with pytest.raises(RequestError, match="name nobody"):
        ward.ask(GONE, name=f"by-{GONE}")
    request = ward.ask(GONE, verified=False)
    for act in (ward.erasure().verify, ward.erasure().refuse):
        with pytest.raises(RequestError, match="name nobody") as refused:
            act(request, f"passport of ({GONE}) seen")
        assert GONE not in str(refused.value)
    assert states(ward) == {request: "received"}


def test_one_name_for_two_things_that_one_person_asks_for_is_two_requests(ward: Ward) -> None:
    rows = filled(
        "data_deletions", [DAYS[0]] * 5, ward.contracts, request_id=["m-1"] * 5,
        category=["research", None, "research", "marketing", "a whim"], subject_token=[ward.token(GONE)] * 5,
    )  # fmt: skip
    ward.fenced("data_deletions").append_derived(rows, {"u": 1})
    assert len(ward.erasure().intake()) == 4
    assert ward.erasure().intake() == []
    found = ward.erasure().book.current().values()
    assert {each.category for each in found} == {"research", None, "marketing", NOT_KNOWN}
    assert len({each.subject_mark for each in found}) == 1


class Admissions:
    """How far the table of admissions has read: behind for so many looks, in which somebody is told meanwhile."""

    def __init__(self, looks: int, then: Callable[[], None] = lambda: None) -> None:
        self.looks, self.then = looks, then

    def ends(self) -> dict[str, dict[int, int]]:
        return {"topic": {0: 1}}

    def behind(self, ends: Mapping[str, Mapping[int, int]]) -> list[str]:
        assert ends == self.ends()
        self.looks -= 1
        if self.looks == 0:
            self.then()
        return ["1 positions of adt.events for adt_events"] if self.looks >= 0 else []


def test_an_admission_that_is_read_while_an_approval_waits_keeps_the_patient(ward: Ward) -> None:
    request = ward.ask(GONE, verified=False)
    unread = Admissions(3, then=lambda: ward.admit(GONE, "A01"))
    ward.erasure(Surroundings(admissions=unread)).verify(request, "passport seen")
    assert states(ward) == {request: RESTRICTED}
    assert ward.vault.erased() == {}


def test_nobody_is_approved_while_admissions_stay_unread(ward: Ward) -> None:
    request = ward.ask(GONE, verified=False)
    with pytest.raises(NotYetError, match=r"adt\.events"):
        ward.erasure(Surroundings(admissions=Admissions(1_000_000))).verify(request, "passport seen")
    assert states(ward) == {request: RECEIVED}
    assert ward.vault.erased() == {}


def test_who_was_fenced_goes_on_while_admissions_stay_unread_and_who_was_kept_back_waits(ward: Ward) -> None:
    fenced, end = ward.ask(GONE), ward.ask(PEOPLE[2], category="research")
    ward.admit(PEOPLE[1], "A01")
    kept = ward.ask(PEOPLE[1])
    ward.admit(PEOPLE[1], "A03")
    with pytest.raises(NotYetError, match=r"adt\.events"):
        ward.erasure(Surroundings(admissions=Admissions(1_000_000))).run()
    assert states(ward) == {fenced: CERTIFIED, end: CERTIFIED, kept: RESTRICTED}
    ward.erasure().run()
    assert states(ward)[kept] == CERTIFIED
