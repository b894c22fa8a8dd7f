"""Who lies where, told by admissions in any order of arrival."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from pipelines.alerts.bedside import UNKNOWN, Bedside, Bedsides

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
BORN = date(1950, 2, 28)
SCHEMA = pa.schema(
    [
        ("patient_id", pa.string()),
        ("type", pa.string()),
        ("ward", pa.string()),
        ("bed", pa.string()),
        ("birth_year", pa.date32()),
        ("event_time", pa.timestamp("us", "UTC")),
    ]
)


def event(type_: str, minute: int, ward: str | None = None, bed: str | None = None, **said: Any) -> dict[str, Any]:
    return {"patient_id": "P1", "type": type_, "event_time": NOON + timedelta(minutes=minute), "ward": ward, "bed": bed,
            "birth_year": BORN, **said}  # fmt: skip


def after(*events: dict[str, Any]) -> Bedside:
    bedsides = Bedsides()
    for one in events:
        bedsides.take(pa.Table.from_pylist([one], schema=SCHEMA))
    return bedsides.of("P1")


ADMITTED, MOVED = event("A01", 0, "ER", "1"), event("A02", 10, "ICU-1", "7")


def test_a_patient_lies_where_the_last_movement_put_them() -> None:
    known = after(ADMITTED, MOVED)
    assert (known.birth_date, known.bed_in("ICU-1"), known.bed_in("ER")) == (BORN, "7", None)


def test_a_movement_told_late_moves_nobody_back() -> None:
    assert after(MOVED, ADMITTED) == after(ADMITTED, MOVED)


@pytest.mark.parametrize("type_", ["A03", "A11"])
def test_who_left_has_no_bed_and_is_still_known(type_: str) -> None:
    known = after(ADMITTED, MOVED, event(type_, 20, "ICU-1", "7"))
    assert (known.bed_in("ICU-1"), known.birth_date) == (None, BORN)


def test_an_update_corrects_the_bed_and_the_birth_date_and_moves_nobody() -> None:
    born = date(1950, 3, 1)
    known = after(ADMITTED, MOVED, event("A08", 20, bed="8", birth_year=born), event("A08", 21, birth_year=None))
    assert (known.bed_in("ICU-1"), known.birth_date) == ("8", born)


def test_a_discharge_that_was_cancelled_leaves_the_patient_where_it_says() -> None:
    known = after(ADMITTED, event("A03", 20), event("A13", 25, "ER", "1"))
    assert known.bed_in("ER") == "1"


def test_others_are_unknown() -> None:
    bedsides = Bedsides()
    bedsides.take(pa.Table.from_pylist([ADMITTED], schema=SCHEMA))
    assert bedsides.of("P2") == UNKNOWN
