"""Whatever the stream takes for a right message passes the gate: else one message would hold a whole day for ever."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from expectations.suites import suite_for
from expectations.validate import Day, validate_day
from pipelines.lake_rows import table_rows
from tests.pipelines.messages import (
    ADT,
    APPENDED_MS,
    LABS,
    MEDICATION,
    VITALS,
    adt,
    lab,
    medication,
    reading,
    wave,
    worked,
)
from tests.warehouse.fake_keys import FakeKeys
from warehouse.contract import StreamContract
from warehouse.tables import arrow_schema
from warehouse.vocabulary import CODES, DOSE_UNITS

MESSAGES = 400
NUMBERS = (0.0, -0.0, -1.0, 1e-9, 0.5, 7.4, 37.0, 98.6, 120.0, 1e5, 1e300, -1e300)
WORDS = (None, "", "A", "air", "oxygen", "x" * 32)
PLACES = (None, "", "ICU-1", "W" * 32)
TIMES = ("2026-11-22T01:00:00Z", "2026-11-22T00:00:00.000001+05:30", "2001-01-01T00:00:00Z", "2026-11-22T01:59:59Z")


def _reading(chance: random.Random) -> dict[str, Any]:
    code = chance.choice(list(CODES.values()))
    said = {"code": code.code, "ward": chance.choice(PLACES), "event_time": chance.choice(TIMES)}
    unit = chance.choice([*code.units, None, "%"])
    if chance.random() < 0.3:
        return wave(**said, unit=unit, values=[chance.choice(NUMBERS) for _ in range(chance.randrange(4))])
    if chance.random() < 0.2:
        return reading(**said, value=..., unit=None, text_value=chance.choice(WORDS))
    return reading(**said, unit=unit, value=chance.choice(NUMBERS), device_id=chance.choice([None, "MON-1"]))


def _result(chance: random.Random) -> dict[str, Any]:
    code = chance.choice(list(CODES.values()))
    status = chance.choice("PFCX")
    value = {"value": ..., "unit": ...} if status == "X" else {"value": chance.choice(NUMBERS)}
    times = {"collected_at": chance.choice(TIMES), "reported_at": chance.choice(TIMES)}
    unit = chance.choice([*code.units, None])
    return lab(code=code.code, comparator=chance.choice([None, "<", ">"]), unit=unit, status=status, **times) | value


def _admission(chance: random.Random) -> dict[str, Any]:
    born = chance.choice([None, "0001-01-01", "1066-10-14", "1800-01-01", "1958-03-02", "2026-11-22", "2999-01-01"])
    said = {"type": chance.choice(["A01", "A02", "A03", "A04", "A08", "A11", "A12", "A13"]), "birth_date": born}
    said |= {"ward": chance.choice(PLACES), "bed": chance.choice(PLACES), "sex": chance.choice([None, *"FMOUAN"])}
    return adt(**said, event_time=chance.choice(TIMES), recorded_at=chance.choice([None, *TIMES]))


def _dose(chance: random.Random) -> dict[str, Any]:
    unit = chance.choice([None, *DOSE_UNITS])
    action = chance.choice(["ordered", "administered", "started", "rate_changed", "stopped"])
    return medication(unit=unit, dose=chance.choice([None, *NUMBERS]), action=action, event_time=chance.choice(TIMES))


@pytest.mark.parametrize(
    ("contract", "made"),
    [(VITALS, _reading), (LABS, _result), (ADT, _admission), (MEDICATION, _dose)],
    ids=lambda given: getattr(given, "name", None),
)
def test_what_the_steps_let_through_passes_every_blocking_expectation(
    contract: StreamContract, made: Callable[[random.Random], dict[str, Any]]
) -> None:
    chance = random.Random(5)
    sent = [
        {name: value for name, value in {**made(chance), "event_id": f"e{number}"}.items() if value is not ...}
        for number in range(MESSAGES)
    ]
    (table,) = contract.tables
    rows = table_rows(worked(sent, contract), FakeKeys(), table, (APPENDED_MS + 3000) * 1000).cast(arrow_schema(table))
    verdict = validate_day(Day(rows), suite_for(table))
    assert rows.num_rows > MESSAGES / 10
    assert dict(verdict.failed) == {}, dict(verdict.failed)
