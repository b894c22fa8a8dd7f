"""Seeded bedside readings as Kafka messages, and the ledger of what was made.

Holds: the messages of P1 and P2 (about 209 bytes of JSON, some malformed, some sent twice) and `Ledger`, order-free
fingerprints from which a table can be judged.
Does not hold: patients who fall ill (`ward`), their sending (`send`), or the judgement (`check`).

A workload is the same for the same seed and the same sizes of its chunks, on every machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

FIRST_DAY = "2026-11-20"
"""Event times begin with this day, UTC. It must not lie ahead of the broker's clock by more than a day."""
SPAN_S = 2 * 86_400

CHUNK = 10_000
RECENT = 1_000
"""A message sent twice repeats one of this many valid ones before it."""

_CODES = (
    (b"8867-4", b"/min", 50.0, 140.0),
    (b"9279-1", b"/min", 8.0, 35.0),
    (b"59408-5", b"%", 85.0, 100.0),
    (b"8480-6", b"mm[Hg]", 80.0, 190.0),
    (b"8462-4", b"mm[Hg]", 45.0, 110.0),
    (b"8310-5", b"Cel", 35.0, 41.0),
)
_WARDS = (b"ICU-1", b"ICU-2", b"CCU-1", b"ED-1", b"STEP-1", b"NEO-1")
READING = (
    b'{"event_id":"%b","patient_id":"%b","device_id":"%b","ward":"%b","code":"%b","value":%.1f,"unit":"%b",'
    b'"event_time":"%b","seq":%d}'
)
_FAULTS = (
    lambda value: value[:60],
    lambda value: b"not json at all",
    lambda value: value.replace(b'"value":', b'"value"', 1),
    lambda value: value[:-1],
)
_DASHES = np.array([8, 13, 18, 23])
_DIGITS = np.setdiff1d(np.arange(36), _DASHES)

KeyedMessage = tuple[bytes, bytes]
Readings = Callable[[np.random.Generator, np.ndarray, int, Sequence[bytes]], list[KeyedMessage]]
"""(randomness, uint64[n, 2] ids, number of the first message, n event times) -> n valid messages"""


@dataclass(slots=True)
class Ledger:
    """What was made. `sum_seq` and `xor_id` (of the ids' first 64 bits) are over the distinct valid events."""

    messages: int = 0
    malformed: int = 0
    duplicates: int = 0
    sum_seq: int = 0
    xor_id: int = 0
    size_bytes: int = 0

    @property
    def distinct(self) -> int:
        """Valid events, each counted once."""
        return self.messages - self.malformed - self.duplicates


class Workload:
    """Messages one chunk after another.

    Args:
        malformed, duplicates: shares of all messages.
    """

    def __init__(
        self, seed: int, readings: Readings | None = None, malformed: float = 0.001, duplicates: float = 0.01
    ) -> None:
        self.ledger = Ledger()
        self._rng = np.random.default_rng(seed)
        self._readings = readings or RandomReadings(patients=2_000)
        self._malformed, self._duplicates = malformed, duplicates
        self._recent: list[KeyedMessage] = []

    def next(self, event_times: Sequence[bytes]) -> list[KeyedMessage]:
        """One message for each event time (ISO 8601), with its key, in order."""
        n = len(event_times)
        draws = self._rng.random(n)
        twice = draws < self._duplicates
        twice[: 0 if self._recent else 1] = False
        spoilt = ~twice & (draws > 1 - self._malformed)
        ids = self._rng.integers(0, 1 << 64, (n, 2), np.uint64)
        messages = self._readings(self._rng, ids, self.ledger.messages, event_times)
        self._spoil(messages, np.flatnonzero(spoilt))
        self._repeat(messages, twice, ~twice & ~spoilt)
        self._note(messages, ids, spoilt, twice)
        return messages

    def _spoil(self, messages: list[KeyedMessage], at: np.ndarray) -> None:
        for nth, index in enumerate(at.tolist(), self.ledger.malformed):
            key, value = messages[index]
            messages[index] = key, _FAULTS[nth % len(_FAULTS)](value)

    def _repeat(self, messages: list[KeyedMessage], twice: np.ndarray, valid: np.ndarray) -> None:
        """Put a recent valid message in the place of each that is to be a duplicate."""
        known = self._recent + [messages[index] for index in np.flatnonzero(valid).tolist()]
        before = len(self._recent) + np.cumsum(valid)
        for index in np.flatnonzero(twice).tolist():
            back = int(self._rng.integers(1, RECENT + 1))
            messages[index] = known[max(0, int(before[index]) - back)]
        self._recent = known[-RECENT:]

    def _note(self, messages: list[KeyedMessage], ids: np.ndarray, spoilt: np.ndarray, twice: np.ndarray) -> None:
        ledger, valid = self.ledger, np.flatnonzero(~spoilt & ~twice)
        ledger.sum_seq += int(valid.sum()) + len(valid) * ledger.messages
        ledger.xor_id ^= int(np.bitwise_xor.reduce(ids[valid, 0], initial=np.uint64(0)))
        ledger.messages += len(messages)
        ledger.malformed += int(spoilt.sum())
        ledger.duplicates += int(twice.sum())
        ledger.size_bytes += sum(len(value) for _, value in messages)


class RandomReadings:
    """Any patient, any signal, any value of its range, each message anew."""

    def __init__(self, patients: int) -> None:
        self._beds = Beds(patients)

    def __call__(
        self, rng: np.random.Generator, ids: np.ndarray, first: int, event_times: Sequence[bytes]
    ) -> list[KeyedMessage]:
        n = len(ids)
        patients = rng.integers(0, len(self._beds), n)
        kinds = rng.integers(0, len(_CODES), n)
        low, high = (np.array([code[at] for code in _CODES])[kinds] for at in (2, 3))
        values = low + rng.random(n) * (high - low)
        codes, units = ([_CODES[kind][at] for kind in kinds.tolist()] for at in (0, 1))
        return self._beds.messages(patients, ids, codes, values, units, event_times, first)


class Beds:
    """Patients by number, each with key, monitor and ward."""

    def __init__(self, patients: int) -> None:
        self.keys = [b"P%06d" % number for number in range(patients)]
        self._devices = [b"MON-%04d" % (number % 997) for number in range(patients)]
        self._wards = [_WARDS[number % len(_WARDS)] for number in range(patients)]

    def __len__(self) -> int:
        return len(self.keys)

    def messages(
        self,
        patients: np.ndarray,
        ids: np.ndarray,
        codes: Sequence[bytes],
        values: np.ndarray,
        units: Sequence[bytes],
        event_times: Sequence[bytes],
        first: int,
    ) -> list[KeyedMessage]:
        """One message each; all arguments but `first`, the first one's `seq`, are of one length."""
        at = patients.tolist()
        keys = [self.keys[patient] for patient in at]
        devices, wards = map(self._devices.__getitem__, at), map(self._wards.__getitem__, at)
        seq = range(first, first + len(at))
        fields = zip(id_texts(ids), keys, devices, wards, codes, values.tolist(), units, event_times, seq, strict=True)
        return list(zip(keys, map(READING.__mod__, fields), strict=True))


def id_texts(ids: np.ndarray) -> list[bytes]:
    """uint64[n, 2] as n UUID texts."""
    texts = np.full((len(ids), 36), ord("-"), np.uint8)
    texts[:, _DIGITS] = np.frombuffer(ids.astype(">u8").tobytes().hex().encode(), np.uint8).reshape(-1, 32)
    return texts.view("S36").ravel().tolist()


def backlog(workload: Workload, messages: int, first_day: str = FIRST_DAY) -> Iterator[list[KeyedMessage]]:
    """Chunks of a backlog whose event times rise evenly over `SPAN_S`."""
    start = np.datetime64(f"{first_day}T00:00:00.000", "ms")
    for first in range(0, messages, CHUNK):
        steps = np.arange(first, min(first + CHUNK, messages), dtype=np.int64) * (SPAN_S * 1000) // messages
        yield workload.next(iso_texts(start + steps.astype("timedelta64[ms]")))


def iso_texts(moments: np.ndarray) -> list[bytes]:
    """datetime64[ms][n], UTC, as n ISO 8601 texts ending in `Z`."""
    return [text + b"Z" for text in np.datetime_as_string(moments, unit="ms").astype("S23").tolist()]
