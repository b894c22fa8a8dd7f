"""The whole ward: every stream with its hazards, and that its own word on each message's fate is right."""

from __future__ import annotations

from collections import Counter, defaultdict

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from infra.simulator.hazards import ADMISSIONS, LABORATORY, OF_STREAM, PHARMACY, VITALS, WEARABLES, Hazards
from infra.simulator.hospital import SENDERS, STREAMS, play_hospital
from infra.simulator.ward import DUPLICATE, REJECT, Event, Troubles, play_ward
from infra.simulator.wearables import AHEAD_MS, BEHIND_MS
from tests.oracle.oracle import READERS

START_MS = 1_795_000_000_000
TWO_HOURS_MS = 7_200_000
DEMO = (7, START_MS, TWO_HOURS_MS, 24)
OTHERS = tuple(stream for stream in STREAMS if stream != VITALS)


@pytest.fixture(scope="module")
def demo() -> list[Event]:
    return list(play_hospital(*DEMO))


@pytest.fixture(scope="module")
def said(demo: list[Event]) -> dict[str, tuple[list[Event], pa.Table]]:
    """Stream -> its messages, and what the oracle's own reading makes of them, appended when they are due."""
    of_stream: dict[str, list[Event]] = defaultdict(list)
    for event in demo:
        of_stream[event.stream].append(event)
    return {
        stream: (
            events,
            READERS[stream](
                [e.key for e in events], [e.value for e in events], np.array([e.due_ms * 1000 for e in events])
            ),
        )
        for stream, events in of_stream.items()
    }


def test_all_streams_are_played(said) -> None:
    assert said.keys() == set(STREAMS)
    assert all(len(events) > 50 for events, _ in said.values())


def test_the_monitors_numbers_stay_those_of_the_ward_byte_for_byte(demo: list[Event]) -> None:
    waves = {event.event_id for event in demo if event.stream == VITALS} - {e.event_id for e in play_ward(*DEMO)}
    numbers = [event for event in demo if event.stream == VITALS and event.event_id not in waves]

    assert numbers == list(play_ward(*DEMO))
    assert 100 < len(waves) < 1_000


def test_the_same_seed_plays_the_same_bytes(demo: list[Event]) -> None:
    assert list(play_hospital(*DEMO)) == demo


def test_messages_leave_in_order_and_within_the_ward_s_time(demo: list[Event]) -> None:
    due = [event.due_ms for event in demo]

    assert due == sorted(due)
    assert due[-1] <= START_MS + TWO_HOURS_MS


@pytest.mark.parametrize("stream", STREAMS)
def test_what_is_to_be_rejected_is_faulty_and_nothing_else_is(said, stream: str) -> None:
    events, read = said[stream]
    faulty = pc.is_valid(read["fault"]).to_pylist()
    wrong = [(e.kind, e.fate) for e, fault in zip(events, faulty, strict=True) if fault != (e.fate == REJECT)]

    assert not wrong
    assert all((event.reason is not None) == (event.fate == REJECT) for event in events)


@pytest.mark.parametrize("stream", OTHERS)
def test_every_hazard_befalls_every_stream(said, stream: str) -> None:
    events, read = said[stream]
    kinds = Counter(event.kind for event in events)

    assert kinds["repeated"]
    assert kinds["late"]
    assert kinds["truncated"]
    assert pc.is_valid(read["unknown_size"]).to_pylist().count(True) > 0
    assert {fault.kind for fault in OF_STREAM[stream][:3]} <= kinds.keys()


def test_without_hazards_every_message_is_a_row(said) -> None:
    calm = list(play_hospital(*DEMO, Troubles.none(), Hazards.none()))

    assert not [event for event in calm if event.fate != "row"]
    assert len({event.event_id for event in calm}) == len(calm)


def test_an_event_id_is_used_once_but_for_repetitions(demo: list[Event]) -> None:
    ids = Counter(event.event_id for event in demo if event.fate != DUPLICATE)

    assert ids.most_common(1)[0][1] == 1


def test_results_come_in_versions(said) -> None:
    events, read = said[LABORATORY]
    rows = read.filter(pa.array([event.fate == "row" for event in events])).to_pylist()
    versions = defaultdict(list)
    for row in rows:
        versions[row["patient_id"], row["order_id"], row["code"]].append(row["status"])

    assert {"P", "F", "C", "X"} == {status for each in versions.values() for status in each}
    assert ["P", "F", "C"] in list(versions.values())
    assert {"mg/dL", "umol/L"} <= {
        unit for event in events for unit in ("mg/dL", "umol/L") if unit.encode() in (event.value or b"")
    }


def test_one_transfer_one_discharge_and_one_admission_are_cancelled(said) -> None:
    events, read = said[ADMISSIONS]
    rows = read.filter(pa.array([event.fate == "row" for event in events]))
    types = Counter(rows["type"].to_pylist())

    assert (types["A11"], types["A12"], types["A13"]) == (1, 1, 1)
    assert types["A01"] == 25
    assert types["A02"] > 5
    assert types["A03"] > 3


def test_doses_come_in_several_kinds_of_units_with_exact_times(said) -> None:
    events, read = said[PHARMACY]
    rows = read.filter(pa.array([event.fate == "row" for event in events]))

    assert len(set(rows["unit"].to_pylist())) >= 6
    assert set(rows["action"].to_pylist()) == {"ordered", "fulfilled", "administered", "stopped"}
    assert any(at.microsecond % 1000 for at in rows["event_time"].to_pylist())


def test_some_wear_devices_at_home_and_two_clocks_are_wrong(said) -> None:
    events, read = said[WEARABLES]
    rows = read.append_column("due", pa.array([e.due_ms for e in events])).append_column(
        "kind", pa.array([e.kind for e in events])
    )
    rows = [row for row in rows.to_pylist() if row["kind"] == "cuff"]
    ahead = {row["device_id"]: row["event_time"].timestamp() * 1000 - row["due"] for row in rows}

    assert "HOME-DIABETES" in {row["ward"] for row in read.to_pylist()}
    assert {round(ms / 60_000) for ms in ahead.values()} >= {AHEAD_MS // 60_000, BEHIND_MS // 60_000, 0}


def test_a_lead_that_fell_off_is_a_flat_line_and_waves_have_many_values(said) -> None:
    events, read = said[VITALS]
    waves = [
        (event.kind, samples)
        for event, samples in zip(events, read["samples"].to_pylist(), strict=True)
        if samples is not None and event.kind in ("ecg", "pleth", "lead_off")
    ]

    assert {kind for kind, _ in waves} == {"ecg", "pleth", "lead_off"}
    assert all((set(samples) == {0.0}) == (kind == "lead_off") for kind, samples in waves)
    assert min(len(samples) for _, samples in waves) >= 250


def test_every_sender_keys_by_the_patient_or_the_device(demo: list[Event]) -> None:
    assert len(SENDERS) == 5
    assert all(event.key == (event.patient or "").encode() or event.key.startswith(b"device:") for event in demo)
