"""The workload is what its ledger says: judged by reading its bytes, not by its own counting."""

from __future__ import annotations

import json

import pytest

from infra.bench.workload import CHUNK, RECENT, KeyedMessage, Workload, backlog

N = 3 * CHUNK


@pytest.fixture(scope="module")
def made() -> tuple[Workload, list[KeyedMessage]]:
    workload = Workload(seed=3, malformed=0.01, duplicates=0.02)
    return workload, [message for chunk in backlog(workload, N) for message in chunk]


def _read(value: bytes) -> dict | None:
    try:
        return json.loads(value)
    except ValueError:
        return None


def test_the_ledger_counts_what_the_bytes_say(made):
    workload, messages = made
    readings = [reading for _, value in messages if (reading := _read(value)) is not None]
    distinct = {reading["event_id"]: reading["seq"] for reading in readings}
    ledger, first_bits = workload.ledger, 0
    for event_id in distinct:
        first_bits ^= int(event_id.replace("-", "")[:16], 16)
    assert ledger.messages == len(messages) == N
    assert ledger.malformed == N - len(readings) > 0
    assert ledger.duplicates == len(readings) - len(distinct) > 0
    assert ledger.distinct == len(distinct)
    assert ledger.sum_seq == sum(distinct.values())
    assert ledger.xor_id == first_bits
    assert ledger.size_bytes == sum(len(value) for _, value in messages)


def test_a_repeated_message_has_the_bytes_and_key_of_a_recent_valid_one(made):
    _, messages = made
    valid = 0
    seen: dict[str, tuple[int, KeyedMessage]] = {}
    for message in messages:
        reading = _read(message[1])
        if reading is None:
            continue
        if reading["event_id"] in seen:
            first, original = seen[reading["event_id"]]
            assert message == original
            assert valid - first <= RECENT
        else:
            seen[reading["event_id"]] = valid, message
            valid += 1


def test_messages_are_malformed_in_four_ways(made):
    _, messages = made
    spoilt = [value for _, value in messages if _read(value) is None]
    assert {value == b"not json at all" for value in spoilt} == {True, False}
    assert any(len(value) == 60 for value in spoilt)
    assert any(b'"value"' in value and b'"value":' not in value for value in spoilt)
    assert any(value.startswith(b"{") and b'"seq":' in value and not value.endswith(b"}") for value in spoilt)


def test_a_message_is_as_long_as_those_of_the_peers(made):
    workload, _ = made
    assert 200 < workload.ledger.size_bytes / N < 215


def test_event_times_rise_evenly_over_two_days(made):
    _, messages = made
    times = [reading["event_time"] for _, value in messages if (reading := _read(value)) and reading["seq"] % 7 == 0]
    assert times[0].startswith("2026-11-20T00:00:")
    assert times[-1].startswith("2026-11-21T23:59:")


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others():
    first, same, other = (next(backlog(Workload(seed), 500)) for seed in (5, 5, 6))
    assert first == same != other
