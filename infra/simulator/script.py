"""Who lies in the ward and who falls ill when: the script a seeded ward plays.

Holds: patients with their ward and monitor, the planned deteriorations, and which alert each of them must cause.
Does not hold: values (`physiology`) or messages (`ward`).
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from infra.simulator import physiology
from infra.simulator.physiology import Course, Profile

WARDS = ("ICU-1", "ICU-2", "CCU-1", "ED-1", "STEP-1", "NEO-1")

MINUTE_MS = 60_000


@dataclass(frozen=True, slots=True)
class Patient:
    """One bed: the patient, the monitor beside it, and what will happen to its occupant."""

    patient_id: str
    device_id: str
    ward: str
    courses: tuple[Course, ...]
    clock_skew_ms: int
    has_gateway: bool
    sends_fahrenheit: bool
    charts_flow: bool


@dataclass(frozen=True, slots=True)
class ExpectedAlert:
    """An alert the script must cause: at least one of this patient by this rule family, begun inside the window.

    `least_level` is the severity level that must be reached (1 single parameter, 2 urgent, 3 emergency).
    """

    patient_id: str
    rule: str
    least_level: int
    from_ms: int
    until_ms: int


def plan_ward(seed: int, start_ms: int, duration_ms: int, patients: int) -> tuple[Patient, ...]:
    """The ward of a seed: the same arguments give the same script. Two patients in three fall ill once or more."""
    return tuple(_plan_patient(seed, number, start_ms, duration_ms) for number in range(1, patients + 1))


def expected_alerts(ward: tuple[Patient, ...]) -> tuple[ExpectedAlert, ...]:
    """What a right product must have raised once the script is played out."""
    return tuple(
        ExpectedAlert(patient.patient_id, "news2", _LEAST_LEVEL[course.profile.name], course.onset_ms, course.end_ms)
        for patient in ward
        for course in patient.courses[:1]
        if course.relief_ms - course.peak_ms >= 5 * MINUTE_MS
    )


_LEAST_LEVEL = {
    physiology.EMERGENCY_SEPSIS.name: 3,
    physiology.RESPIRATORY_FAILURE.name: 3,
    physiology.HAEMORRHAGE.name: 3,
    physiology.URGENT_INFECTION.name: 2,
    physiology.BRADYCARDIA.name: 1,
    physiology.DESATURATION.name: 1,
}


def _plan_patient(seed: int, number: int, start_ms: int, duration_ms: int) -> Patient:
    rng = Random(f"script/{seed}/{number}")
    return Patient(
        patient_id=f"P{number:06d}",
        device_id=f"MON-{number:04d}",
        ward=WARDS[number % len(WARDS)],
        courses=_plan_courses(rng, number, start_ms, duration_ms),
        clock_skew_ms=-rng.randrange(0, 90_000) if rng.random() < 0.1 else -rng.randrange(0, 800),
        has_gateway=rng.random() < 0.5,
        sends_fahrenheit=rng.random() < 0.15,
        charts_flow=rng.random() < 0.4,
    )


def _plan_courses(rng: Random, number: int, start_ms: int, duration_ms: int) -> tuple[Course, ...]:
    """Every third patient stays well; the others fall ill, one in three of them again soon after getting better."""
    if number % 3 == 0:
        return ()
    ill = number - number // 3 - 1
    profile = physiology.PROFILES[ill % len(physiology.PROFILES)]
    share = rng.uniform(0.05, 0.4) if ill else 0.02
    onset = start_ms + int(share * duration_ms)
    first = _course(profile, onset, duration_ms)
    if ill % 3 != 2:
        return (first,)
    return first, _course(profile, first.end_ms + int(0.06 * duration_ms), duration_ms)


def _course(profile: Profile, onset_ms: int, duration_ms: int) -> Course:
    peak, relief, end = (onset_ms + int(share * duration_ms) for share in (0.05, 0.15, 0.20))
    return Course(profile, onset_ms, peak, relief, end)
