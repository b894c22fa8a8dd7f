"""Patients of a script, one for each rule that looks at a bed: each falls ill in the one way that its rule watches.

Holds: what each of them is measured, drawn, given, when they are ill, and the alert that must come of it; and some who
stay well though a hasty rule would call them ill.
Does not hold: the sepsis model's patient (`sepsis`), the ward at large (`script`), hazards on the way (`hazards`), or
silence, which only the passing of real time makes.

Everybody is well in the first third of the play and ill in the second; what a story does not name stays as it is in
health. Numbers are far enough beyond a published limit that no rounding decides.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from random import Random

from infra.simulator.hazards import ADMISSIONS, LABORATORY, PHARMACY, VITALS, WEARABLES
from infra.simulator.message import Message, new_id, opaque_id
from infra.simulator.reading import iso_utc
from infra.simulator.script import MINUTE_MS, ExpectedAlert
from infra.simulator.ward import ROW, Event

WARD = "STEP-2"
HEALTH: Mapping[str, float] = {
    "8867-4": 74, "9279-1": 15, "59408-5": 98, "8480-6": 124, "8462-4": 76, "8478-0": 92, "8310-5": 36.8,
}  # fmt: skip
"""Code -> value of somebody well: pulse, breathing, saturation, pressures, temperature."""
UNITS = {
    "8867-4": "/min", "9279-1": "/min", "59408-5": "%", "8480-6": "mm[Hg]", "8462-4": "mm[Hg]", "8478-0": "mm[Hg]",
    "8310-5": "Cel", "2524-7": "mmol/L", "2160-0": "mg/dL", "1975-2": "mg/dL", "777-3": "10*3/uL", "6690-2": "10*3/uL",
}  # fmt: skip
EVERY_MS = 2 * MINUTE_MS
CONSCIOUSNESS, GLUCOSE, NOREPINEPHRINE = "80288-4", "99504-3", "7512"
_TREND_MS = 65 * MINUTE_MS


@dataclass(frozen=True, slots=True)
class Story:
    """One patient. Without a `rule` nothing may be told of them.

    Attributes:
        ill: code -> value of signals while ill; word: level of consciousness while ill.
        drawn: code -> result in health and while ill; corrected: what the laboratory puts in its place later.
        glucose: minutes after falling ill -> mg/dL, of a sensor that sends nothing else then; 110 before and after.
        rate: of norepinephrine while ill, ug/kg/min.
        calming: pulse varies less and less while pressure falls, over the last hour.
    """

    number: int
    rule: str | None
    level: int = 1
    ill: Mapping[str, float] = field(default_factory=dict)
    word: str = "A"
    drawn: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    corrected: Mapping[str, float] = field(default_factory=dict)
    glucose: Mapping[int, float] = field(default_factory=dict)
    rate: float | None = None
    calming: bool = False

    @property
    def patient_id(self) -> str:
        return f"P81{self.number:04d}"


_USUAL = {"2524-7": (1.1, 1.1), "2160-0": (0.9, 0.9), "1975-2": (0.6, 0.6), "777-3": (240, 240), "6690-2": (7.5, 7.5)}
TAKEN_BACK = "P810016"
"""Whose lactate was wrong, and is corrected: the alert is taken back."""
STORIES = (
    Story(1, "threshold.respiratory_rate", 2, {"9279-1": 26}),
    Story(2, "threshold.spo2", 2, {"59408-5": 89}),
    Story(3, "threshold.sbp", 2, {"8480-6": 87}),
    Story(4, "threshold.heart_rate", 2, {"8867-4": 36}),
    Story(5, "threshold.level_of_consciousness", 2, word="V"),
    Story(6, "threshold.temperature", 1, {"8310-5": 39.5}),
    Story(7, "threshold.map", 2, {"8478-0": 60}),
    Story(8, "threshold.lactate", 2, drawn={"2524-7": (1.1, 4.8)}),
    Story(9, "news2", 3, {"8867-4": 116, "9279-1": 23, "59408-5": 93, "8310-5": 38.5}),
    Story(10, "qsofa", 1, {"9279-1": 24, "8480-6": 97}),
    Story(11, "sirs", 1, {"8310-5": 38.6, "8867-4": 99}),
    Story(12, "shock_index", 2, {"8867-4": 109, "8480-6": 103}),
    Story(13, "sofa", 1, drawn={"2160-0": (0.9, 2.6), "1975-2": (0.6, 2.5)}, rate=0.05),
    Story(14, "shock_trend", 1, calming=True),
    Story(15, "threshold.lactate", 1, drawn={"2524-7": (1.2, 3.1)}),
    Story(16, "threshold.lactate", 2, drawn={"2524-7": (1.2, 4.9)}, corrected={"2524-7": 1.3}),
    # Eight minutes beyond, a gap that neither proves nor resets, then ten minutes: more than fifteen are proven.
    Story(17, "glucose.low", 1, glucose={0: 68, 4: 66, 8: 67, 30: 66, 35: 65, 40: 66}),
    Story(18, "glucose.low", 2, glucose={0: 51, 5: 74}),
    Story(19, "glucose.high", 1, glucose={0: 201, 5: 214, 10: 222, 15: 219, 20: 208}),
    Story(20, None, drawn=_USUAL),
    # Low for ten minutes, well above the limit, low for ten minutes again: never for fifteen.
    Story(21, None, glucose={0: 67, 5: 66, 10: 68, 15: 83, 20: 67, 25: 66, 30: 68}),
    # Two lows with a gap between: nobody knows what was in it.
    Story(22, None, glucose={0: 68, 25: 68}),
)
WELL = tuple(story.patient_id for story in STORIES if story.rule is None)


def play_rule_patients(seed: int, start_ms: int, end_ms: int) -> Iterator[Event]:
    """All messages of all of them in the order of sending; the same arguments give the same messages."""
    told = [message for story in STORIES for message in _Told(seed, story, start_ms, end_ms).messages()]
    for message in sorted(told, key=lambda each: each.due_ms):
        identity = message.fields["event_id"]
        yield Event(
            message.key, message.encode(), message.kind, identity, message.patient, message.due_ms, ROW, None,
            message.stream,
        )  # fmt: skip


def expected_alerts(start_ms: int, end_ms: int) -> tuple[ExpectedAlert, ...]:
    """What each story must cause, from falling ill (of a trend: from the start) to the end of the play."""
    onset_ms, _ = ill_between(start_ms, end_ms)
    return tuple(
        ExpectedAlert(story.patient_id, story.rule, story.level, start_ms if story.calming else onset_ms, end_ms)
        for story in STORIES
        if story.rule is not None
    )


def ill_between(start_ms: int, end_ms: int) -> tuple[int, int]:
    """The second third of the play."""
    third_ms = (end_ms - start_ms) // 3
    return start_ms + third_ms, start_ms + 2 * third_ms


class _Told:
    """One patient's messages."""

    def __init__(self, seed: int, story: Story, start_ms: int, end_ms: int) -> None:
        self._rng = Random(f"rules/{seed}/{story.patient_id}")
        self._seed, self._story, self._start_ms, self._end_ms = seed, story, start_ms, end_ms
        self._onset_ms, self._relief_ms = ill_between(start_ms, end_ms)
        self._seq = 0

    def messages(self) -> Iterator[Message]:
        yield self._admission()
        yield from self._vitals()
        yield from self._results()
        yield from self._glucose()
        if self._story.rate is not None:
            yield self._infusion("administered", self._onset_ms, self._story.rate)
            yield self._infusion("stopped", self._relief_ms, None)

    def _is_ill(self, at_ms: int) -> bool:
        return self._onset_ms <= at_ms < self._relief_ms

    def _vitals(self) -> Iterator[Message]:
        for at_ms in range(self._start_ms + 1_000 * self._story.number, self._end_ms, EVERY_MS):
            now = {**HEALTH, **(self._story.ill if self._is_ill(at_ms) else {})}
            for code, value in now.items():
                if not (self._story.calming and code in ("8867-4", "8478-0")):
                    yield self._reading(at_ms, code, {"value": value, "unit": UNITS[code]})
            word = self._story.word if self._is_ill(at_ms) else "A"
            yield self._reading(at_ms, CONSCIOUSNESS, {"text_value": word})
        if self._story.calming:
            yield from self._calming()

    def _calming(self) -> Iterator[Message]:
        """A pulse every twenty seconds around 88, and a mean pressure from 100 down to 78."""
        began_ms = self._end_ms - _TREND_MS
        for nth, at_ms in enumerate(range(self._start_ms, self._end_ms, 20_000)):
            share = min(1.0, max(0.0, (at_ms - began_ms) / _TREND_MS))
            swing = (6.0 - 4.8 * share) * (1, -1, 0.5, -0.5)[nth % 4]
            yield self._reading(at_ms, "8867-4", {"value": round(88 + swing, 1), "unit": "/min"})
            yield self._reading(at_ms, "8478-0", {"value": round(100 - 22 * share, 1), "unit": "mm[Hg]"})

    def _reading(self, at_ms: int, code: str, measured: Mapping[str, object], stream: str = VITALS) -> Message:
        self._seq += 1
        device = f"MON-81{self._story.number:02d}" if stream == VITALS else f"CGM-81{self._story.number:02d}"
        said = {"device_id": device, "ward": WARD, "code": code, **measured, "event_time": iso_utc(at_ms)}
        return self._message(stream, at_ms, said | {"received_at": iso_utc(at_ms + 400), "seq": self._seq}, 500)

    def _results(self) -> Iterator[Message]:
        """Drawn in health, while ill, and after; reported ten minutes later, corrected fifteen after that."""
        for nth, at_ms in enumerate((self._start_ms + 2 * MINUTE_MS, self._onset_ms, self._relief_ms)):
            for code, (well, ill) in self._story.drawn.items():
                value = ill if nth == 1 else well
                yield self._result(nth, code, value, "F", at_ms, at_ms + 8 * MINUTE_MS)
                if nth == 1 and code in self._story.corrected:
                    yield self._result(nth, code, self._story.corrected[code], "C", at_ms, at_ms + 18 * MINUTE_MS)

    def _result(self, nth: int, code: str, value: float, status: str, at_ms: int, reported_ms: int) -> Message:
        said = {
            "order_id": opaque_id("rules", self._seed, self._story.patient_id, self._start_ms, nth), "code": code,
            "value": value, "unit": UNITS[code], "status": status, "collected_at": iso_utc(at_ms),
            "reported_at": iso_utc(reported_ms), "lab": "CENTRAL-LAB",
        }  # fmt: skip
        return self._message(LABORATORY, reported_ms, said, 1_000)

    def _glucose(self) -> Iterator[Message]:
        if not self._story.glucose:
            return
        told = {self._onset_ms + minutes * MINUTE_MS: value for minutes, value in self._story.glucose.items()}
        told |= dict.fromkeys(range(self._start_ms, self._onset_ms - 2 * MINUTE_MS, 5 * MINUTE_MS), 110.0)
        after_ms = max(told) + 5 * MINUTE_MS
        told |= dict.fromkeys(range(after_ms, self._end_ms, 5 * MINUTE_MS), 110.0)
        for at_ms, value in sorted(told.items()):
            yield self._reading(at_ms, GLUCOSE, {"value": value, "unit": "mg/dL"}, WEARABLES)

    def _infusion(self, action: str, at_ms: int, rate: float | None) -> Message:
        dose = {} if rate is None else {"dose": rate, "unit": "ug/kg/min"}
        order = opaque_id("rules-drug", self._seed, self._story.patient_id, self._start_ms)
        said = {"order_id": order, "action": action, "code": NOREPINEPHRINE, **dose, "route": "IV"}
        return self._message(PHARMACY, at_ms, said | {"event_time": iso_utc(at_ms)}, 800)

    def _admission(self) -> Message:
        number, person = self._story.number, self._story.patient_id
        said = {
            "stay_id": opaque_id("rules-stay", self._seed, person, self._start_ms), "type": "A01", "ward": WARD,
            "bed": f"{number:02d}", "event_time": iso_utc(self._start_ms), "recorded_at": iso_utc(self._start_ms),
            "identifiers": [{"system": "urn:oid:2.16.840.1.113883.4.1", "value": f"999-81-{number:04d}"}],
            "name": {"family": "Example", "given": "Robin"}, "birth_date": f"{1940 + number}-03-09", "sex": "F",
        }  # fmt: skip
        return self._message(ADMISSIONS, self._start_ms, said, 0)

    def _message(self, stream: str, at_ms: int, said: Mapping[str, object], delay_ms: int) -> Message:
        whole = {"event_id": new_id(self._rng), "patient_id": self._story.patient_id, **said}
        return Message(stream, "scripted", self._story.patient_id, min(at_ms + delay_ms, self._end_ms), whole)
