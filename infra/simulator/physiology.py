"""How a simulated patient's vital signs move: a baseline, slow noise, and deteriorations that come and go.

Holds: the signals a bedside monitor sends (LOINC code, UCUM unit, period), baselines, deterioration profiles.
Does not hold: who falls ill when (`script`), what goes wrong with the messages (`faults`), nor any clinical rule:
the profiles only aim far beyond, or well inside, the published NEWS2 chart.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random


@dataclass(frozen=True, slots=True)
class Signal:
    """One kind of reading. `period_ms` is the time between two readings of one patient."""

    name: str
    code: str
    unit: str | None
    period_ms: int
    noise: float
    decimals: int = 0


HEART_RATE = Signal("heart_rate", "8867-4", "/min", 10_000, 2.0)
RESPIRATORY_RATE = Signal("respiratory_rate", "9279-1", "/min", 10_000, 0.6)
SPO2 = Signal("spo2", "59408-5", "%", 10_000, 0.4)
SBP = Signal("sbp", "8480-6", "mm[Hg]", 30_000, 2.5)
DBP = Signal("dbp", "8462-4", "mm[Hg]", 30_000, 2.0)
MAP = Signal("map", "8478-0", "mm[Hg]", 30_000, 2.0)
TEMPERATURE = Signal("temperature", "8310-5", "Cel", 300_000, 0.05, decimals=1)
CONSCIOUSNESS = Signal("level_of_consciousness", "80288-4", None, 600_000, 0.0)
OXYGEN = Signal("supplemental_oxygen", "3151-8", None, 600_000, 0.0)

MEASURED = (HEART_RATE, RESPIRATORY_RATE, SPO2, SBP, DBP, MAP, TEMPERATURE)
OBSERVED = (CONSCIOUSNESS, OXYGEN)
SIGNALS = MEASURED + OBSERVED


@dataclass(frozen=True, slots=True)
class Profile:
    """What a deterioration does at its full height: the value each signal is driven to.

    Signals not named stay at the patient's baseline. `consciousness` and `oxygen` take hold above 70 % of the height.
    """

    name: str
    targets: dict[str, float]
    consciousness: str = "A"
    oxygen: bool = False


EMERGENCY_SEPSIS = Profile(
    "emergency_sepsis",
    {"heart_rate": 138, "respiratory_rate": 29, "spo2": 90, "sbp": 82, "dbp": 44, "temperature": 39.5},
    consciousness="V",
    oxygen=True,
)
URGENT_INFECTION = Profile(
    "urgent_infection", {"heart_rate": 118, "respiratory_rate": 22.5, "spo2": 94.5, "temperature": 38.6}
)
RESPIRATORY_FAILURE = Profile(
    "respiratory_failure", {"heart_rate": 122, "respiratory_rate": 31, "spo2": 83}, oxygen=True
)
HAEMORRHAGE = Profile("haemorrhage", {"heart_rate": 142, "respiratory_rate": 24, "sbp": 76, "dbp": 42})
BRADYCARDIA = Profile("bradycardia", {"heart_rate": 33, "sbp": 96, "dbp": 55})
DESATURATION = Profile("desaturation", {"spo2": 86})

PROFILES = (
    EMERGENCY_SEPSIS,
    URGENT_INFECTION,
    RESPIRATORY_FAILURE,
    HAEMORRHAGE,
    BRADYCARDIA,
    DESATURATION,
)


@dataclass(frozen=True, slots=True)
class Course:
    """A deterioration in time: rises from `onset_ms`, full from `peak_ms` to `relief_ms`, gone at `end_ms`."""

    profile: Profile
    onset_ms: int
    peak_ms: int
    relief_ms: int
    end_ms: int

    def height(self, at_ms: int) -> float:
        """From 0 (well) to 1 (full height) at a ward time."""
        if not self.onset_ms < at_ms < self.end_ms:
            return 0.0
        if at_ms < self.peak_ms:
            return (at_ms - self.onset_ms) / (self.peak_ms - self.onset_ms)
        if at_ms <= self.relief_ms:
            return 1.0
        return (self.end_ms - at_ms) / (self.end_ms - self.relief_ms)


class Physiology:
    """The vital signs of one patient at any rising sequence of times. All randomness comes from `rng`."""

    def __init__(self, rng: Random, courses: tuple[Course, ...]) -> None:
        self._rng = rng
        self._courses = courses
        self._wander = {signal.name: 0.0 for signal in MEASURED}
        sbp = rng.uniform(122, 136)
        dbp = rng.uniform(68, 80)
        self._baseline = {
            "heart_rate": rng.uniform(64, 80),
            "respiratory_rate": rng.uniform(14, 17),
            "spo2": rng.uniform(97.6, 98.8),
            "sbp": sbp,
            "dbp": dbp,
            "temperature": rng.uniform(36.6, 37.2),
        }

    def value(self, signal: Signal, at_ms: int) -> float:
        """A measured signal at a ward time (milliseconds), in the signal's unit."""
        wander = 0.9 * self._wander[signal.name] + self._rng.gauss(0.0, signal.noise * 0.45)
        self._wander[signal.name] = wander
        value = self._drive(signal.name, at_ms) + wander
        return round(_within_sensor(signal.name, value), signal.decimals)

    def observation(self, signal: Signal, at_ms: int) -> str:
        """A coded observation at a ward time: ACVPU level, or `air` / `oxygen`."""
        ill = [course.profile for course in self._courses if course.height(at_ms) > 0.7]
        if signal is CONSCIOUSNESS:
            return next((profile.consciousness for profile in ill if profile.consciousness != "A"), "A")
        return "oxygen" if any(profile.oxygen for profile in ill) else "air"

    def _drive(self, name: str, at_ms: int) -> float:
        if name == "map":
            sbp, dbp = self._drive("sbp", at_ms), self._drive("dbp", at_ms)
            return dbp + (sbp - dbp) / 3
        value = self._baseline[name] + self._daily_rhythm(name, at_ms)
        for course in self._courses:
            target = course.profile.targets.get(name)
            if target is not None:
                value += (target - value) * course.height(at_ms)
        return value

    def _daily_rhythm(self, name: str, at_ms: int) -> float:
        """A small swing over the day, lowest at about four in the morning."""
        swing = {"heart_rate": 3.0, "sbp": 3.0, "temperature": 0.15}.get(name, 0.0)
        return -swing * math.cos((at_ms / 86_400_000 - 4 / 24) * 2 * math.pi) if swing else 0.0


def _within_sensor(name: str, value: float) -> float:
    return min(value, 100.0) if name == "spo2" else max(value, 1.0)
