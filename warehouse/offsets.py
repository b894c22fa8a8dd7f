"""Arithmetic of source positions: what a table has, what is offered to it, and what of that is still missing.

Holds: intervals, offset vectors, the rule of the fence (drop, trim, accept, gap) and their text forms.
Does not hold: anything that talks to a catalog, a store or a broker.

A position is (topic id, partition, offset). An interval is half open and counts positions, never messages: offsets
inside it may be missing from the log (transaction markers, compaction). A vector maps topic id -> partition -> next
offset: everything below it has been accounted for.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

Vector = dict[str, dict[int, int]]
Verdict = Literal["accept", "trim", "drop"]


class OffsetsError(Exception):
    """Positions and vector do not fit together: committing would lose or double something, so nothing is done."""


class GapError(OffsetsError):
    """Positions between the vector and the interval offered are missing."""


class RolledBackError(OffsetsError):
    """A table's vector is lower than this process left it: what it took for committed is not. A start reads again."""


class VectorMissingError(OffsetsError):
    """The table does not say how far it has read a topic, so no start can be derived from it."""


class PartitionAddedError(OffsetsError):
    """A partition appeared that the topic's first vector did not name."""


@dataclass(frozen=True, slots=True, order=True)
class Interval:
    """The positions [start, end) of one partition; never empty."""

    topic_id: str
    partition: int
    start: int
    end: int

    def __post_init__(self) -> None:
        if self.partition < 0 or self.start < 0 or self.end <= self.start:
            raise ValueError(
                f"an interval needs partition >= 0 and 0 <= start < end, got partition {self.partition}, "
                f"[{self.start}, {self.end})"
            )


@dataclass(frozen=True, slots=True)
class Placement:
    """What the fence says of one interval: `start` is the first position still missing (`interval.end` if none)."""

    interval: Interval
    verdict: Verdict
    start: int

    @property
    def remainder(self) -> Interval | None:
        """The part that is not in the table yet."""
        whole = self.interval
        return None if self.verdict == "drop" else Interval(whole.topic_id, whole.partition, self.start, whole.end)


def joined(intervals: Iterable[Interval]) -> list[Interval]:
    """The same positions in the fewest intervals, in order. Raises `ValueError` where two of them overlap."""
    result: list[Interval] = []
    for interval in sorted(intervals):
        last = result[-1] if result else None
        if last is None or (last.topic_id, last.partition) != (interval.topic_id, interval.partition):
            result.append(interval)
        elif interval.start < last.end:
            raise ValueError(
                f"partition {interval.partition} of topic {interval.topic_id} is offered twice from {interval.start} "
                f"to {min(interval.end, last.end)}; a commit must name each position once"
            )
        elif interval.start == last.end:
            result[-1] = Interval(last.topic_id, last.partition, last.start, interval.end)
        else:
            result.append(interval)
    return result


def place(vector: Mapping[str, Mapping[int, int]], intervals: Iterable[Interval]) -> list[Placement]:
    """Hold each interval against the vector, in order; accepting one moves the vector for the next.

    Raises `VectorMissingError` for an unknown topic, `PartitionAddedError` for an unknown partition of a known one,
    `GapError` where an interval begins above the vector, `ValueError` where intervals overlap each other.
    """
    reached: dict[tuple[str, int], int] = {}
    placements = []
    for interval in joined(intervals):
        key = (interval.topic_id, interval.partition)
        has = reached.get(key, _next_offset(vector, interval))
        if interval.start > has:
            raise GapError(
                f"topic {interval.topic_id} partition {interval.partition}: the table has everything below {has}, "
                f"offered is [{interval.start}, {interval.end}); [{has}, {interval.start}) would be lost. Start again "
                f"from the table's vector; if the broker no longer has these positions they are lost for good"
            )
        start = min(max(interval.start, has), interval.end)
        verdict: Verdict = "drop" if start == interval.end else "trim" if start > interval.start else "accept"
        placements.append(Placement(interval, verdict, start))
        reached[key] = max(has, interval.end)
    return placements


def advanced(vector: Mapping[str, Mapping[int, int]], intervals: Iterable[Interval]) -> Vector:
    """A copy of the vector that also covers the intervals; raises as `place` does."""
    result = {topic_id: dict(partitions) for topic_id, partitions in vector.items()}
    for placement in place(vector, intervals):
        if remainder := placement.remainder:
            result[remainder.topic_id][remainder.partition] = remainder.end
    return result


def started(vector: Mapping[str, Mapping[int, int]], topic_id: str, lows: Mapping[int, int]) -> Vector | None:
    """The vector with a start recorded for a topic; None if it has one already that fits.

    `lows` maps every partition of the topic to the first offset the log still has. Raises `PartitionAddedError` when
    the topic's partitions are not those of its first vector, `GapError` when the log begins above the vector.
    """
    if not lows or min(lows) < 0 or min(lows.values()) < 0:
        raise ValueError(f"topic {topic_id}: name every partition with its low watermark (>= 0), got {dict(lows)}")
    known = vector.get(topic_id)
    if known is None:
        return {**{name: dict(partitions) for name, partitions in vector.items()}, topic_id: dict(lows)}
    if set(known) != set(lows):
        raise PartitionAddedError(
            f"topic {topic_id} has partitions {sorted(lows)}, the table knows {sorted(known)}. Partitions of a stream "
            f"never change: make a new topic and replay into it"
        )
    for partition, low in lows.items():
        if low > known[partition]:
            raise GapError(
                f"topic {topic_id} partition {partition}: the log begins at {low}, the table has everything below "
                f"{known[partition]}; [{known[partition]}, {low}) left the log before it was read and is lost"
            )
    return None


def least(vectors: Iterable[Mapping[str, Mapping[int, int]]], topic_id: str) -> dict[int, int]:
    """Where a source must start so that every table it feeds misses nothing: the least next offset of each partition.

    Raises `VectorMissingError` if one of the tables does not know the topic or knows other partitions.
    """
    known = [vector.get(topic_id) for vector in vectors]
    if not known or any(partitions is None or set(partitions) != set(known[0] or ()) for partitions in known):
        raise VectorMissingError(f"topic {topic_id}: not every table it feeds has a start for each of its partitions")
    return {p: min(partitions[p] for partitions in known if partitions is not None) for p in sorted(known[0] or ())}


def encode_vector(vector: Mapping[str, Mapping[int, int]]) -> str:
    """Compact JSON, the same text for the same vector."""
    return json.dumps(
        {topic: {str(p): n for p, n in sorted(partitions.items())} for topic, partitions in sorted(vector.items())},
        separators=(",", ":"),
    )


def decode_vector(text: str) -> Vector:
    """The vector that `encode_vector` wrote. Raises `VectorMissingError` if the text is no vector."""
    try:
        return {
            topic: {int(partition): int(offset) for partition, offset in partitions.items()}
            for topic, partitions in json.loads(text).items()
        }
    except (ValueError, AttributeError, TypeError) as error:
        raise VectorMissingError(f"an offset vector of {len(text)} characters cannot be read") from error


def encode_intervals(intervals: Iterable[Interval]) -> str:
    """Compact JSON: a list of [topic id, partition, start, end], joined and in order."""
    return json.dumps([[i.topic_id, i.partition, i.start, i.end] for i in joined(intervals)], separators=(",", ":"))


def decode_intervals(text: str) -> list[Interval]:
    """The intervals that `encode_intervals` wrote."""
    return [Interval(*item) for item in json.loads(text)]


def commit_id(intervals: Iterable[Interval]) -> str:
    """32 hexadecimal digits that depend on nothing but the positions: whoever commits them computes the same."""
    return hashlib.sha256(encode_intervals(intervals).encode()).hexdigest()[:32]


def _next_offset(vector: Mapping[str, Mapping[int, int]], interval: Interval) -> int:
    partitions = vector.get(interval.topic_id)
    if partitions is None:
        raise VectorMissingError(
            f"topic {interval.topic_id}: the table has no start for it; establish one from the log's low watermarks"
        )
    if interval.partition not in partitions:
        raise PartitionAddedError(
            f"topic {interval.topic_id}: partition {interval.partition} is not among {sorted(partitions)}, which the "
            f"first vector named. Partitions of a stream never change: make a new topic and replay into it"
        )
    return partitions[interval.partition]
