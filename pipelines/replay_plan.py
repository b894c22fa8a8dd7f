"""Which positions a replay wants, where each can still be had, and which nobody has any more.

Holds: that arithmetic, pure. Does not hold: any reading (rebuild.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from warehouse.offsets import Interval

Ranges = Mapping[int, tuple[int, int]]
"""partition -> [start, end) of offsets"""

AUTO, KAFKA, RAW = "auto", "kafka", "raw"
SOURCES = (AUTO, KAFKA, RAW)


@dataclass(frozen=True, slots=True)
class Stretch:
    """The positions of one partition that a replay wants, parted by where they are: first what is kept raw, then what
    Kafka has, without a hole. What lies before or behind is gone.

    Attributes:
        raw, kafka: [start, end); empty where start == end.
    """

    wanted: Interval
    raw: tuple[int, int]
    kafka: tuple[int, int]

    @property
    def covered(self) -> Interval | None:
        """What can be made again."""
        parts = [part for part in (self.raw, self.kafka) if part[0] < part[1]]
        if not parts:
            return None
        return Interval(self.wanted.topic_id, self.wanted.partition, parts[0][0], parts[-1][1])

    @property
    def gone(self) -> tuple[Interval, ...]:
        """What cannot."""
        wanted, covered = self.wanted, self.covered
        if covered is None:
            return (wanted,)
        parts = ((wanted.start, covered.start), (covered.end, wanted.end))
        return tuple(Interval(wanted.topic_id, wanted.partition, a, b) for a, b in parts if a < b)


def stretches(topic_id: str, wanted: Ranges, kafka: Ranges, raw: Ranges, source: str = AUTO) -> list[Stretch]:
    """Each wanted partition of a topic, parted.

    `kafka`, `raw`: what the topic and the table of raw messages have. `source`: which of them may be read; of both,
    Kafka is read where it can be, and what is kept raw before it where that reaches up to it.
    """
    kafka, raw = (kafka if source != RAW else {}), (raw if source != KAFKA else {})
    return [
        _stretch(Interval(topic_id, p, *span), kafka.get(p, (0, 0)), raw.get(p, (0, 0)))
        for p, span in sorted(wanted.items())
        if span[0] < span[1]
    ]


def _stretch(wanted: Interval, kafka: tuple[int, int], raw: tuple[int, int]) -> Stretch:
    from_kafka = _within(wanted, *kafka)
    if from_kafka[0] == from_kafka[1]:
        return Stretch(wanted, _within(wanted, *raw), (wanted.end, wanted.end))
    from_raw = _within(wanted, raw[0], min(raw[1], from_kafka[0]))
    if from_raw[1] != from_kafka[0]:  # a hole between them: what comes behind it can be made again, what is before not
        from_raw = (from_kafka[0], from_kafka[0])
    return Stretch(wanted, from_raw, from_kafka)


def _within(wanted: Interval, start: int, end: int) -> tuple[int, int]:
    first, past = max(wanted.start, start), min(wanted.end, end)
    return (first, past) if first < past else (wanted.end, wanted.end)


def widest(parts: Iterable[Ranges]) -> dict[int, tuple[int, int]]:
    """For each partition the least stretch that holds all of its stretches."""
    found: dict[int, tuple[int, int]] = {}
    for ranges in parts:
        for partition, (start, end) in ranges.items():
            if start < end:
                first, past = found.get(partition, (start, end))
                found[partition] = (min(first, start), max(past, end))
    return found


def below(ranges: Ranges, ends: Mapping[int, int]) -> dict[int, tuple[int, int]]:
    """The part of each stretch below a partition's end; a partition without one has none."""
    cut = {p: (start, min(end, ends.get(p, 0))) for p, (start, end) in ranges.items()}
    return {p: span for p, span in cut.items() if span[0] < span[1]}
