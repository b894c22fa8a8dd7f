"""Codes, units and ranges: hand-worked conversions, and what must hold of every entry."""

from __future__ import annotations

import math

import pytest

from warehouse.vocabulary import ACVPU, CODES, CONSCIOUSNESS, HEART_RATE, LOINC, SUPPLEMENTAL_OXYGEN, ObservationCode

EVERY = pytest.mark.parametrize("vital", CODES.values(), ids=lambda vital: vital.name)


@pytest.mark.parametrize(
    ("code", "unit", "value", "canonical"),
    [
        ("8310-5", "[degF]", 98.6, 37.0),
        ("8310-5", "[degF]", 104.0, 40.0),
        ("8310-5", "K", 310.15, 37.0),
        ("8480-6", "kPa", 16.0, 120.0099),
        ("8867-4", "{beats}/min", 72.0, 72.0),
        ("3151-8", "mL/min", 2000.0, 2.0),
    ],
)
def test_a_value_is_converted_as_worked_by_hand(code: str, unit: str, value: float, canonical: float) -> None:
    conversion = CODES[code].units[unit]
    assert value * conversion.factor + conversion.offset == pytest.approx(canonical, abs=1e-3)


@pytest.mark.parametrize(("code", "unit"), [("8310-5", "cel"), ("8480-6", "mmHg"), ("59408-5", "1"), ("8867-4", "bpm")])
def test_a_unit_in_another_spelling_is_unknown(code: str, unit: str) -> None:
    assert unit not in CODES[code].units


@EVERY
def test_the_canonical_unit_is_taken_as_it_is(vital: ObservationCode) -> None:
    if vital.unit is not None:
        assert (vital.units[vital.unit].factor, vital.units[vital.unit].offset) == (1.0, 0.0)


@EVERY
def test_every_code_takes_a_number_with_a_range_or_a_word_and_names_its_source(vital: ObservationCode) -> None:
    assert vital.numeric or vital.coded or vital.sampled
    assert (vital.numeric or vital.sampled) == (vital.low is not None) == (vital.high is not None) == bool(vital.units)
    assert vital.source


@EVERY
def test_both_ends_of_a_range_are_plausible_and_nothing_beyond(vital: ObservationCode) -> None:
    if vital.low is None or vital.high is None:
        assert not vital.plausible(1.0)
        return
    assert vital.plausible(vital.low)
    assert vital.plausible(vital.high)
    assert not vital.plausible(math.nextafter(vital.low, -math.inf))
    assert not vital.plausible(math.nextafter(vital.high, math.inf))
    assert not vital.plausible(math.nan)


@pytest.mark.parametrize("vital", [vital for vital in CODES.values() if vital.system == LOINC], ids=lambda v: v.name)
def test_a_code_is_a_loinc_code_with_its_check_digit(vital: ObservationCode) -> None:
    number, _, digit = vital.code.partition("-")
    assert int(digit) == _mod_10(number)


def _mod_10(number: str) -> int:
    """LOINC's check digit (Luhn): every second digit from the right is doubled."""
    doubled = [int(d) * (2 if i % 2 == 0 else 1) for i, d in enumerate(reversed(number))]
    return -sum(d - 9 if d > 9 else d for d in doubled) % 10


def test_consciousness_is_charted_in_words_alone_and_oxygen_in_either() -> None:
    assert CODES[CONSCIOUSNESS].values == ACVPU
    assert not CODES[CONSCIOUSNESS].numeric
    assert CODES[SUPPLEMENTAL_OXYGEN].coded
    assert CODES[SUPPLEMENTAL_OXYGEN].plausible(0.0), "no flow is air, not a fault"
    assert not CODES[HEART_RATE].plausible(0.0), "a probe that is off is no heart rate"
