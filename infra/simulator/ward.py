"""The ward's monitors as a sequence of Kafka messages, by a pure generator: the same for the same arguments.

Holds: the ward's clock, what each monitor sends when, and when trouble strikes a message.
Does not hold: Kafka, files, or the wall clock (`player`, `ledger`), nor any stream but the monitors' (`hospital`).
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

from infra.simulator.faults import FAULTS, Fault
from infra.simulator.physiology import (
    HEART_RATE,
    MEASURED,
    OBSERVED,
    OXYGEN,
    SBP,
    SPO2,
    TEMPERATURE,
    Physiology,
    Signal,
)
from infra.simulator.reading import Reading, encode
from infra.simulator.script import MINUTE_MS, Patient, plan_ward

VITALS = "device.vitals"
TICK_MS = 1_000
ROW, REJECT, DUPLICATE = "row", "reject", "duplicate"


class Event(NamedTuple):
    """One message to send and what must become of it.

    Attributes:
        key, value: the bytes on the wire; `value` None is a tombstone.
        kind: what the message stands for (`reading`, `late`, `truncated` …).
        event_id: the reading's id, also where the bytes no longer carry it.
        patient: the patient of the key; None for a device key.
        due_ms: ward time at which it is handed to Kafka, never before its predecessor's.
        fate: `row`, `reject` or `duplicate`; `reason` is the reject's reason.
        stream: whose message it is.
    """

    key: bytes
    value: bytes | None
    kind: str
    event_id: str
    patient: str | None
    due_ms: int
    fate: str
    reason: str | None
    stream: str = VITALS


@dataclass(frozen=True, slots=True)
class Troubles:
    """How often trouble strikes, as shares of all readings (probe-off: episodes per patient and hour)."""

    faults: float = 0.003
    duplicates: float = 0.01
    late: float = 0.003
    out_of_order: float = 0.005
    artefacts: float = 0.001
    unassociated: float = 0.004
    probe_off_per_hour: float = 0.7

    @classmethod
    def none(cls) -> Troubles:
        """A ward in which every message is right and in time."""
        return cls(0, 0, 0, 0, 0, 0, 0)


def play_ward(
    seed: int, start_ms: int, duration_ms: int, patients: int, troubles: Troubles | None = None
) -> Iterator[Event]:
    """All messages of a ward in the order of sending. Times are milliseconds since 1970 UTC.

    A repeated message has the bytes and key of one sent before it, at most 30 s of ward time apart. Late messages are
    at most 40 minutes late and are never sent after the ward's end. No event time lies after its sending
    but the ones a fault put there.
    """
    return _Ward(seed, start_ms, duration_ms, patients, troubles or Troubles()).play()


class _Monitor:
    """One patient's monitor: its signals, its sequence numbers, and its share of the randomness."""

    def __init__(self, seed: int, patient: Patient, start_ms: int) -> None:
        self.patient = patient
        self.rng = Random(f"monitor/{seed}/{patient.patient_id}")
        self.physiology = Physiology(self.rng, patient.courses)
        self.next_due = {s: start_ms + self.rng.randrange(s.period_ms) for s in MEASURED}
        self.next_due |= {s: start_ms + self.rng.randrange(MINUTE_MS) for s in OBSERVED}
        self.seq = 0
        self.probe_off_until_ms = 0

    def read(self, signal: Signal, at_ms: int) -> Reading:
        patient, rng = self.patient, self.rng
        self.seq += 1
        value, text, unit = self._measure(signal, at_ms)
        received_ms = at_ms + rng.randrange(50, 900) if patient.has_gateway else None
        return Reading(
            _uuid(rng), patient.patient_id, patient.device_id, patient.ward, signal.code,
            value, text, unit, at_ms + patient.clock_skew_ms, received_ms, self.seq,
        )  # fmt: skip

    def _measure(self, signal: Signal, at_ms: int) -> tuple[float | None, str | None, str | None]:
        """Value, word, unit, as this monitor charts them."""
        if signal in OBSERVED:
            word = self.physiology.observation(signal, at_ms)
            if signal is OXYGEN and self.patient.charts_flow:
                return 6.0 if word == "oxygen" else 0.0, None, "L/min"
            return None, word, None
        value = self.physiology.value(signal, at_ms)
        if signal is TEMPERATURE and self.patient.sends_fahrenheit:
            return round(value * 9 / 5 + 32, 1), None, "[degF]"
        return value, None, signal.unit


class _Ward:
    """The state of a play: monitors, messages on their way, and whose turn it is to be damaged."""

    def __init__(self, seed: int, start_ms: int, duration_ms: int, patients: int, troubles: Troubles) -> None:
        self._start_ms, self._end_ms = start_ms, start_ms + duration_ms
        script = plan_ward(seed, start_ms, duration_ms, patients)
        self._monitors = [_Monitor(seed, patient, start_ms) for patient in script]
        self._troubles = troubles
        self._faults_so_far = 0
        self._outbox: list[tuple[int, int, Event]] = []
        self._sent = 0

    def play(self) -> Iterator[Event]:
        for now_ms in range(self._start_ms, self._end_ms, TICK_MS):
            for monitor in self._monitors:
                self._tick(monitor, now_ms)
            yield from self._due_before(now_ms + TICK_MS)
        yield from self._due_before(self._end_ms + 1)

    def _due_before(self, until_ms: int) -> Iterator[Event]:
        while self._outbox and self._outbox[0][0] < until_ms:
            yield heapq.heappop(self._outbox)[2]

    def _tick(self, monitor: _Monitor, now_ms: int) -> None:
        for signal, due_ms in monitor.next_due.items():
            if due_ms < now_ms + TICK_MS:
                monitor.next_due[signal] = due_ms + signal.period_ms
                self._send_reading(monitor, signal, due_ms)

    def _send_reading(self, monitor: _Monitor, signal: Signal, at_ms: int) -> None:
        rng = monitor.rng
        reading = monitor.read(signal, at_ms)
        due_ms = max(at_ms, reading.received_ms or 0)
        reading, kind = self._disturb(monitor, signal, reading, at_ms)
        if kind == "reading":
            kind = self._strike(rng)
        if kind == "damaged" and signal in MEASURED:
            self._send_damaged(reading, due_ms)
            return
        reading, kind, due_ms = _held_up(rng, reading, kind, due_ms)
        event = _whole(reading, kind, due_ms)
        self._post(event)
        if rng.random() < self._troubles.duplicates:
            again_ms = event.due_ms + rng.randrange(1, 30_000)
            self._post(event._replace(kind="repeated", fate=DUPLICATE, due_ms=again_ms))

    def _strike(self, rng: Random) -> str:
        """What befalls one message: at most one thing."""
        chance, troubles = rng.random(), self._troubles
        for kind, share in (
            ("damaged", troubles.faults),
            ("late", troubles.late),
            ("out_of_order", troubles.out_of_order),
            ("unassociated", troubles.unassociated),
        ):
            if chance < share:
                return kind
            chance -= share
        return "reading"

    def _disturb(self, monitor: _Monitor, signal: Signal, reading: Reading, at_ms: int) -> tuple[Reading, str]:
        """Sensor trouble: zeros while a probe is off, impossible spikes. The message stays a right one."""
        rng, troubles = monitor.rng, self._troubles
        if signal is SPO2 and rng.random() < troubles.probe_off_per_hour * signal.period_ms / (60 * MINUTE_MS):
            monitor.probe_off_until_ms = at_ms + rng.randrange(20_000, 90_000)
        if signal in (SPO2, HEART_RATE) and at_ms < monitor.probe_off_until_ms:
            return reading._replace(value=0.0), "probe_off"
        if signal in (HEART_RATE, SBP) and rng.random() < troubles.artefacts:
            return reading._replace(value=float(rng.randrange(420, 999))), "artefact"
        return reading, "reading"

    def _send_damaged(self, reading: Reading, due_ms: int) -> None:
        fault = FAULTS[self._faults_so_far % len(FAULTS)]
        self._faults_so_far += 1
        self._post(_damaged(reading, fault, due_ms))

    def _post(self, event: Event) -> None:
        """Into the outbox; what would leave after the ward's end leaves at its end, in its own order."""
        self._sent += 1
        if event.due_ms > self._end_ms:
            event = event._replace(due_ms=self._end_ms)
        heapq.heappush(self._outbox, (event.due_ms, self._sent, event))


def _held_up(rng: Random, reading: Reading, kind: str, due_ms: int) -> tuple[Reading, str, int]:
    """The reading as it leaves, after what befell it on its way."""
    if kind == "late":
        return reading, kind, due_ms + rng.randrange(2 * MINUTE_MS, 40 * MINUTE_MS)
    if kind == "out_of_order":
        return reading, kind, due_ms + rng.randrange(12_000, 26_000)
    if kind == "unassociated":
        return reading._replace(patient_id=None), kind, due_ms
    return reading, "reading" if kind == "damaged" else kind, due_ms


def _whole(reading: Reading, kind: str, due_ms: int) -> Event:
    patient = reading.patient_id
    key = patient or f"device:{reading.device_id}"
    return Event(key.encode(), encode(reading).encode(), kind, reading.event_id, patient, due_ms, ROW, None)


def _damaged(reading: Reading, fault: Fault, due_ms: int) -> Event:
    whole = _whole(reading, fault.kind, due_ms)
    return whole._replace(value=fault.spoil(reading), fate=ROW if fault.reason is None else REJECT, reason=fault.reason)


def _uuid(rng: Random) -> str:
    digits = f"{rng.getrandbits(128):032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
