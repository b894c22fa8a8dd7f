"""The fold of admissions: worked by hand, and the same whatever the order of arrival."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.clinical.stays import Stay, movement_rows, stay_rows, stays
from tests.examples import tried

DAY = datetime(2026, 11, 21, tzinfo=UTC)


def at(hour: float) -> datetime:
    return DAY + timedelta(hours=hour)


def event(
    kind: str, hour: float, place: str | None = None, entered: float | None = None, **more: Any
) -> dict[str, Any]:
    """An event of a stay; `place` is ward/bed; `entered` an hour, by default that of the event."""
    ward, _, bed = (place or "").partition("/")
    return {
        "event_id": f"{kind}@{hour}+{entered}", "subject_token": "T", "stay_id": "S", "type": kind,
        "ward": ward or None, "bed": bed or None, "event_time": at(hour),
        "recorded_at": None if entered is None else at(entered), "birth_year": None, "sex": None, **more,
    }  # fmt: skip


def stay(*events: dict[str, Any]) -> Stay:
    (folded,) = stays(events)
    return folded


def places(folded: Stay) -> list[tuple[str | None, float, float | None]]:
    hours = lambda time: None if time is None else (time - DAY).total_seconds() / 3600  # noqa: E731
    return [
        (f"{s.ward}/{s.bed}", hours(s.started_at), hours(s.ended_at))  # type: ignore[misc]
        for s in folded.stretches
    ]


IN, MOVE, OUT = event("A01", 1, "ICU/1"), event("A02", 5, "WARD/7"), event("A03", 9)


def test_admitted_moved_and_discharged() -> None:
    folded = stay(IN, MOVE, OUT)
    assert (folded.state, folded.admitted_at, folded.discharged_at) == ("discharged", at(1), at(9))
    assert places(folded) == [("ICU/1", 1, 5), ("WARD/7", 5, 9)]


def test_who_is_there_has_an_open_stretch() -> None:
    folded = stay(IN, MOVE)
    assert (folded.state, folded.discharged_at) == ("admitted", None)
    assert places(folded) == [("ICU/1", 1, 5), ("WARD/7", 5, None)]


def test_a_registration_or_an_update_alone_is_expected() -> None:
    assert stay(event("A04", 1, "ED/")).state == "expected"
    assert stay(event("A08", 1, birth_year=1950)).state == "expected"


def test_a_cancelled_transfer_never_was() -> None:
    assert places(stay(IN, MOVE, event("A12", 5, entered=6))) == [("ICU/1", 1, None)]


def test_a_cancellation_of_another_time_takes_the_latest_of_its_kind() -> None:
    later = event("A02", 7, "WARD/8")
    assert places(stay(IN, MOVE, later, event("A12", 8))) == [("ICU/1", 1, 5), ("WARD/7", 5, None)]


def test_a_cancelled_discharge_leaves_the_patient_in() -> None:
    folded = stay(IN, OUT, event("A13", 9, entered=10))
    assert (folded.state, folded.discharged_at, places(folded)) == ("admitted", None, [("ICU/1", 1, None)])


@pytest.mark.parametrize("ids", [("a", "z"), ("z", "a")])
@pytest.mark.parametrize(("out_entered", "back_entered"), [(None, None), (9.5, 9.5), (9.5, None)])
def test_a_cancellation_entered_with_what_it_takes_back_or_at_no_known_time_takes_it_back(
    ids: tuple[str, str], out_entered: float | None, back_entered: float | None
) -> None:
    out = event("A03", 9, entered=out_entered, event_id=ids[0])
    folded = stay(IN, out, event("A13", 9, entered=back_entered, event_id=ids[1]))
    assert (folded.state, folded.discharged_at, folded.unmatched_cancels) == ("admitted", None, 0)


def test_an_admission_taken_back_takes_its_transfers_along() -> None:
    folded = stay(IN, MOVE, event("A11", 1, entered=6))
    assert (folded.state, folded.stretches) == ("cancelled", ())
    again = stay(IN, MOVE, event("A11", 1, entered=6), event("A01", 2, "ICU/1", entered=7))
    assert (again.state, places(again)) == ("admitted", [("ICU/1", 2, 5), ("WARD/7", 5, None)])


def test_a_cancelled_admission_is_a_cancelled_stay_until_it_is_entered_again() -> None:
    gone = [IN, event("A11", 1, entered=2)]
    assert (stay(*gone).state, stay(*gone).stretches) == ("cancelled", ())
    again = stay(*gone, event("A01", 3, "ICU/2", entered=3))
    assert (again.state, again.admitted_at) == ("admitted", at(3))


def test_a_cancellation_takes_back_only_what_was_entered_before_it() -> None:
    assert stay(event("A11", 1, entered=0.5), IN).state == "admitted"
    assert stay(event("A11", 1, entered=0.5), IN).unmatched_cancels == 1


def test_an_event_entered_again_replaces_the_first() -> None:
    folded = stay(IN, event("A01", 0.5, "ICU/9", entered=4))
    assert (folded.admitted_at, places(folded)) == (at(0.5), [("ICU/9", 0.5, None)])


def test_an_update_corrects_its_stretch_and_moves_nobody() -> None:
    assert places(stay(IN, MOVE, event("A08", 2, "ICU/3"))) == [("ICU/3", 1, 5), ("WARD/7", 5, None)]


def test_what_was_entered_last_about_a_person_holds() -> None:
    folded = stay(IN | {"birth_year": 1950, "sex": "U"}, event("A08", 2, sex="F"))
    assert (folded.birth_year, folded.sex) == (1950, "F")


def test_a_transfer_to_the_same_bed_is_no_movement() -> None:
    assert places(stay(IN, event("A02", 5, "ICU/1"))) == [("ICU/1", 1, None)]


def test_a_discharge_without_an_admission_is_told_as_it_is() -> None:
    folded = stay(OUT)
    assert (folded.state, folded.admitted_at, folded.stretches) == ("discharged", None, ())


def test_stays_are_kept_apart_and_rows_number_their_movements() -> None:
    folded = stays([IN, MOVE, event("A01", 2, "ICU/4", stay_id="S2")])
    assert [(row["stay_id"], row["movements"], row["ward"]) for row in stay_rows(folded)] == [
        ("S", 2, "WARD"),
        ("S2", 1, "ICU"),
    ]
    assert [(row["stay_id"], row["movement"]) for row in movement_rows(folded)] == [("S", 1), ("S", 2), ("S2", 1)]


ARRIVING = st.lists(
    st.builds(
        event,
        st.sampled_from(["A01", "A02", "A03", "A04", "A08", "A11", "A12", "A13"]),
        st.integers(0, 5),
        st.sampled_from([None, "ICU/1", "WARD/7"]),
        st.one_of(st.none(), st.integers(0, 5)),
        stay_id=st.sampled_from(["S", "S2"]),
        sex=st.sampled_from([None, "F", "M"]),
    ),
    max_size=8,
    unique_by=lambda each: (each["event_id"], each["stay_id"]),
)


@given(ARRIVING, st.randoms(use_true_random=False))
@tried(80)
def test_any_order_of_arrival_gives_the_same_stays(events: list[dict[str, Any]], chance: Any) -> None:
    shuffled = list(events)
    chance.shuffle(shuffled)
    assert stays(shuffled) == stays(events)


@given(ARRIVING)
@tried(50)
def test_stretches_follow_each_other_without_overlap(events: list[dict[str, Any]]) -> None:
    for folded in stays(events):
        ends = [stretch.ended_at for stretch in folded.stretches]
        assert all(end is not None for end in ends[:-1])
        assert all(s.ended_at is None or s.started_at < s.ended_at for s in folded.stretches)
        assert [s.started_at for s in folded.stretches][1:] == ends[:-1]
        assert not folded.stretches or ends[-1] == folded.discharged_at
