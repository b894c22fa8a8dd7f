"""The seeded ward: what it sends, in which order, and that its own word on each message's fate is right."""

from __future__ import annotations

from collections import Counter
from itertools import islice

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from infra.simulator.faults import FAULTS
from infra.simulator.script import expected_alerts, plan_ward
from infra.simulator.ward import DUPLICATE, REJECT, ROW, Event, Troubles, play_ward
from tests.oracle import alerts as offline
from tests.oracle.reading import read_messages

START_MS = 1_795_000_000_000
TWO_HOURS_MS = 7_200_000
DEMO = (7, START_MS, TWO_HOURS_MS, 24)


@pytest.fixture(scope="module")
def demo() -> list[Event]:
    return list(play_ward(*DEMO))


@pytest.fixture(scope="module")
def said(demo: list[Event]) -> pa.Table:
    """What the oracle's own reading makes of the demo's messages, appended when they are due."""
    appended_us = np.array([event.due_ms * 1000 for event in demo])
    return read_messages([event.key for event in demo], [event.value for event in demo], appended_us)


def test_the_same_seed_plays_the_same_bytes(demo: list[Event]) -> None:
    assert list(islice(play_ward(*DEMO), 5_000)) == demo[:5_000]


def test_another_seed_plays_another_ward(demo: list[Event]) -> None:
    assert list(islice(play_ward(8, *DEMO[1:]), 100)) != demo[:100]


def test_a_patient_more_changes_nobody_elses_readings() -> None:
    few, more = (play_ward(7, START_MS, 60_000, patients, Troubles.none()) for patients in (3, 4))

    assert [e.value for e in few] == [e.value for e in more if e.patient != "P000004"]


def test_the_demo_is_large_enough_to_show_and_small_enough_to_drain(demo: list[Event]) -> None:
    assert 60_000 <= len(demo) <= 120_000


def test_messages_leave_in_order_and_within_the_ward_s_time(demo: list[Event]) -> None:
    due = [event.due_ms for event in demo]

    assert due == sorted(due)
    assert due[0] >= START_MS
    assert due[-1] <= START_MS + TWO_HOURS_MS


def test_no_reading_is_from_the_future(demo: list[Event], said: pa.Table) -> None:
    event_ms = said["event_time"].cast(pa.int64()).fill_null(0).to_numpy() // 1000

    assert (event_ms <= np.array([event.due_ms for event in demo])).all()


def test_a_repetition_follows_its_first_with_the_same_bytes_and_key(demo: list[Event]) -> None:
    sent: dict[tuple[bytes, bytes | None], int] = {}
    repeated = 0
    for event in demo:
        if event.fate == DUPLICATE:
            repeated += 1
            assert 0 < event.due_ms - sent[event.key, event.value] <= 30_000 or event.due_ms == demo[-1].due_ms
        else:
            sent[event.key, event.value] = event.due_ms

    assert repeated > 500


def test_an_event_id_is_used_once_but_for_repetitions(demo: list[Event]) -> None:
    ids = Counter(event.event_id for event in demo if event.fate != DUPLICATE)

    assert ids.most_common(1)[0][1] == 1


def test_every_kind_of_trouble_happens(demo: list[Event]) -> None:
    kinds = {event.kind for event in demo}

    assert kinds >= {fault.kind for fault in FAULTS}
    assert kinds >= {"reading", "late", "out_of_order", "repeated", "probe_off", "artefact", "unassociated"}


def test_what_is_to_be_rejected_is_faulty_and_nothing_else_is(demo: list[Event], said: pa.Table) -> None:
    faulty = pc.is_valid(said["fault"]).to_pylist()
    wrong = [(e.kind, e.fate) for e, fault in zip(demo, faulty, strict=True) if fault != (e.fate == REJECT)]

    assert not wrong


def test_a_reject_has_a_reason_and_a_row_has_none(demo: list[Event]) -> None:
    assert all((event.reason is not None) == (event.fate == REJECT) for event in demo)


def test_sensor_trouble_is_flagged_and_never_scored(demo: list[Event], said: pa.Table) -> None:
    flags = said["quality_flag"].cast(pa.string()).to_pylist()
    found = {(event.kind, flag) for event, flag in zip(demo, flags, strict=True) if flag or event.kind == "artefact"}

    assert {kind for kind, _ in found} <= {"probe_off", "artefact", "repeated"}
    assert ("probe_off", "probe_off") in found
    assert {flag for kind, flag in found if kind == "artefact"} == {"out_of_range"}


def test_a_reading_without_patient_is_keyed_by_its_device(demo: list[Event]) -> None:
    alone = [event for event in demo if event.kind == "unassociated"]

    assert alone
    assert all(event.key.startswith(b"device:MON-") and event.patient is None for event in alone)


@pytest.fixture(scope="module")
def decided(demo: list[Event], said: pa.Table) -> list[offline.Decided]:
    """The alerts a right pipeline raises on the demo, worked out offline."""
    rows = said.append_column("subject_token", said["patient_id"])
    rows = rows.append_column("kafka_partition", pa.array([0] * len(rows), pa.int32()))
    rows = rows.append_column("kafka_offset", pa.array(range(len(rows)), pa.int64()))
    rows = rows.append_column("kafka_time", pa.array([e.due_ms * 1000 for e in demo], pa.timestamp("us", "UTC")))
    return offline.recompute(rows.filter(pa.array([event.fate == ROW for event in demo])), {})


def test_each_scripted_deterioration_raises_its_alert(decided: list[offline.Decided]) -> None:
    promised = expected_alerts(plan_ward(*DEMO))

    assert len(promised) >= 10
    for wanted in promised:
        levels = [
            alert.level
            for alert in decided
            if (alert.subject_token, alert.rule) == (wanted.patient_id, wanted.rule)
            and wanted.from_ms <= alert.episode_start_ms <= wanted.until_ms
        ]
        assert max(levels, default=0) >= wanted.least_level, wanted


def test_the_demo_alerts_by_several_rules_and_withholds_some(decided: list[offline.Decided]) -> None:
    assert len({alert.rule for alert in decided if not alert.withheld_because}) >= 4
    assert any(alert.withheld_because == offline.COOL_DOWN for alert in decided)


def test_patients_who_stay_well_raise_no_alert(decided: list[offline.Decided]) -> None:
    well = {patient.patient_id for patient in plan_ward(*DEMO) if not patient.courses}

    assert well
    assert not [alert for alert in decided if alert.subject_token in well]


def test_the_first_alert_comes_early(decided: list[offline.Decided]) -> None:
    """The demo has to show one long before the play is over."""
    assert min(alert.offset for alert in decided) < 5_000
