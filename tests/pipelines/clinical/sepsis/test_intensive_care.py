"""Which wards are intensive care, and when a stay there began."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipelines.clinical.sepsis.history import HourlyHistory
from pipelines.clinical.sepsis.intensive_care import IntensiveCare
from pipelines.clinical.sepsis.panel import MEDICAL, SURGICAL
from tests.pipelines.clinical.sepsis.stream_rows import admission, reading, table

HR = "8867-4"
WARDS = st.text(alphabet="MSICUTNX-1 x", max_size=7)


def _hours(wards: IntensiveCare | None, ward: str) -> tuple[list[int], float]:
    """Numbers of the hours, and the kind of unit, of someone who came to the ward an hour after the first reading."""
    history = HourlyHistory(window_h=6, reach_h=4, wards=wards)
    history.take_readings(table([reading("t", HR, 80.0, h) for h in (1.0, 2.0, 3.0)]))
    told = [admission("t", "A01", 1.0, "ED-1", "a1"), admission("t", "A02", 2.0, ward, "a2")]
    history.take_admissions(table(told))
    slots = history.patients.slots_of(["t"])
    panel = history.panel(slots, history.newest[slots].astype(int) - 5).panel
    return panel.hour.tolist(), float(panel.unit[0])


@given(WARDS)
@example("ICU")
@example("MICU-1")
@example("SICUX")
@example("CCU 2")
def test_the_usual_names_are_those_that_were_always_known(ward: str) -> None:
    was = bool(re.match(r"^(?:[A-Z]?ICU|CCU|ITU)(?![A-Z])", ward))
    kind = {"M": MEDICAL, "S": SURGICAL}.get(ward[:1]) if was and "ICU" in ward else None
    assert IntensiveCare().has(ward) is was
    unit = IntensiveCare().unit(ward)
    assert (unit == kind) if kind is not None else unit != unit


def test_a_site_s_own_list_is_all_there_is() -> None:
    own = IntensiveCare({"INT-?": "", "CHIR-INT": "surgical", "*-INT": "medical"})
    assert [own.has(ward) for ward in ("INT-1", "INT-12", "CHIR-INT", "int-1", "ICU-1", None)] == [
        True, False, True, False, False, False,
    ]  # fmt: skip
    assert (own.unit("CHIR-INT"), own.unit("NEURO-INT")) == (SURGICAL, MEDICAL)


@pytest.mark.parametrize(
    ("wards", "ward", "hours", "unit"),
    [
        (None, "MICU-1", [1, 2], MEDICAL),
        (None, "CHIR-INT", [1, 2, 3], None),
        (IntensiveCare({"CHIR-INT": "surgical"}), "CHIR-INT", [1, 2], SURGICAL),
        (IntensiveCare({"CHIR-INT": "surgical"}), "MICU-1", [1, 2, 3], None),
    ],
)
def test_hours_count_from_the_ward_that_the_site_calls_intensive_care(
    wards: IntensiveCare | None, ward: str, hours: list[int], unit: float | None
) -> None:
    told, of_unit = _hours(wards, ward)
    assert told == hours
    assert of_unit == unit if unit is not None else of_unit != of_unit
