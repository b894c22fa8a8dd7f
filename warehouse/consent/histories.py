"""The decision over columns: many provisions of many people, asked about many rows at once.

Holds: `Histories`, provisions as arrays, and `Decisions`, what they come to for one category and stream.
Does not hold: what the rule is (`decision.py` says it in words and one at a time; tests hold the two together).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from warehouse.consent.decision import (
    ALL,
    CLOCKS,
    GRANT,
    NOT_UNDERSTOOD,
    Provision,
    canonical_category,
    canonical_scope,
)

_NEVER = np.iinfo(np.int64).max
_UNNUMBERED = np.iinfo(np.int64).min
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
CLOCKS_US = CLOCKS // _MICROSECOND
NEEDED = ("subject_token", "action", "category", "scope", "provision_time", "expires_at", "sequence", "kafka_time")
"""Columns of the registry that decide."""


@dataclass(frozen=True, slots=True)
class Decisions:
    """What holds of each person from each time on: sorted by person, then time.

    Attributes:
        people: string[m] of tokens; `person` int64[d] counts in it.
        from_us, until_us: int64[d], microseconds since 1970 UTC; a decision holds until the next of the person, and a
            permission no longer than `until_us`.
        permitted: bool[d].
    """

    people: pa.Array
    person: np.ndarray
    from_us: np.ndarray
    until_us: np.ndarray
    permitted: np.ndarray

    def permits(self, tokens: pa.Array | pa.ChunkedArray, times_us: np.ndarray, ahead_us: int = 0) -> np.ndarray:
        """bool[n]: whether each person's data of that time may be used for what this decides. Null tokens: no. What was
        said for up to `ahead_us` later counts as said for then."""
        asked = _codes(tokens, self.people)
        at = self._in_force(asked, times_us + ahead_us)
        found = at >= 0
        safe = np.where(found, at, 0)
        if not len(self.person):
            return np.zeros(len(asked), bool)
        return found & self.permitted[safe] & (times_us < self.until_us[safe])

    def _in_force(self, asked: np.ndarray, times_us: np.ndarray) -> np.ndarray:
        """int64[n]: the place of the decision in force, -1 for none."""
        n = len(self.person)
        person, time = np.concatenate([self.person, asked]), np.concatenate([self.from_us, times_us])
        is_question = np.concatenate([np.zeros(n, np.int8), np.ones(len(asked), np.int8)])
        order = np.lexsort((is_question, time, person))
        latest = np.maximum.accumulate(np.where(is_question[order] == 0, order, -1))
        in_force = np.empty(len(order), np.int64)
        in_force[order] = _of_same_person(latest, person, order)
        return in_force[n:]


def _of_same_person(latest: np.ndarray, person: np.ndarray, order: np.ndarray) -> np.ndarray:
    """`latest` where it is a decision about the person asked about. Decisions stand in order of person and time, so
    the greatest place so far is the latest one."""
    return np.where((latest >= 0) & (person[np.maximum(latest, 0)] == person[order]), latest, -1)


class Histories:
    """What was said, of anybody, in any order; more of it may be taken in at any time. Not thread-safe.

    Args:
        streams: names that a scope may mean.
    """

    def __init__(self, streams: Collection[str]) -> None:
        self._streams = frozenset(streams)
        self._said: dict[str, set[tuple[bool, str, str, int, int, int, int]]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._said.values()))

    def take(self, registry: pa.Table) -> None:
        """Rows with the columns `NEEDED`, known already or not. Rows without a person say nothing of anybody."""
        columns = (_plain(registry[name]).to_pylist() for name in NEEDED)
        for token, action, category, scope, at, until, sequence, known in zip(*columns, strict=True):
            if token is not None:
                said = (
                    action == GRANT,
                    _word(category),
                    canonical_scope(scope, self._streams),
                    at,
                    _NEVER if until is None else until,
                    _UNNUMBERED if sequence is None else sequence,
                    known,
                )
                self._said.setdefault(token, set()).add(said)

    def people(self) -> list[str]:
        """The tokens of everybody of whom something was said."""
        return list(self._said)

    def forget(self, tokens: Iterable[str]) -> None:
        """Nothing was said of these."""
        for token in tokens:
            self._said.pop(token, None)

    def decisions(
        self, category: str, stream: str, of: Collection[str] | None = None, known_us: int | None = None
    ) -> Decisions:
        """What holds for data of `stream` in `category`; of these people alone, by what was known at `known_us`, where
        given."""
        people = sorted(self._said if of is None else self._said.keys() & set(of))
        rows = [
            (number, at, granting, until, sequence)
            for number, token in enumerate(people)
            for granting, what, scope, at, until, sequence, known in self._said[token]
            if _concerns(granting, what, scope, category, stream) and (known_us is None or known <= known_us)
        ]
        return _decided(pa.array(people, pa.string()), rows)

    def permits_use(
        self,
        tokens: pa.Array | pa.ChunkedArray,
        times_us: np.ndarray,
        category: str,
        stream: str,
        now_us: int,
        known_us: int | None = None,
    ) -> np.ndarray:
        """bool[n]: consented to at the time of the row, and now; by what was known at `known_us`, by all that was taken
        in where that is None. Times in microseconds since 1970 UTC."""
        distinct = {token for token in tokens.unique().to_pylist() if token is not None}
        decided = self.decisions(category, stream, distinct, known_us)
        now = np.full(len(decided.people), now_us, np.int64)
        # Twice for now: what is said for the next hour may take away, and gives nothing yet.
        may = decided.permits(decided.people, now) & decided.permits(decided.people, now, CLOCKS_US)
        # The place of nobody, -1, is the last one: no.
        return decided.permits(tokens, times_us) & np.append(may, False)[_codes(tokens, decided.people)]


def _decided(people: pa.Array, rows: list[tuple[int, int, bool, int, int]]) -> Decisions:
    if not rows:
        none = np.empty(0, np.int64)
        return Decisions(people, none, none, none, np.empty(0, bool))
    person, at, granting, until, sequence = (np.array(column) for column in zip(*rows, strict=True))
    order = np.lexsort((at, person))
    person, at, granting, until, sequence = (each[order] for each in (person, at, granting, until, sequence))
    is_first = np.concatenate([[True], (np.diff(person) != 0) | (np.diff(at) != 0)])
    starts = np.flatnonzero(is_first)
    group = np.cumsum(is_first) - 1
    unnumbered = np.logical_or.reduceat(sequence == _UNNUMBERED, starts)
    decides = unnumbered[group] | (sequence == np.maximum.reduceat(sequence, starts)[group])
    return Decisions(
        people,
        person[starts],
        at[starts],
        np.minimum.reduceat(np.where(decides, until, _NEVER), starts),
        np.logical_and.reduceat(granting | ~decides, starts),
    )


def _concerns(granting: bool, what: str, scope: str, category: str, stream: str) -> bool:
    if granting:
        return what == category and scope in (ALL, stream)
    return what in (category, ALL, NOT_UNDERSTOOD) and scope in (ALL, stream, NOT_UNDERSTOOD)


def _codes(tokens: pa.Array | pa.ChunkedArray, people: pa.Array) -> np.ndarray:
    """int64[n]: each token's place in `people`, -1 where it is not there or null."""
    places = pc.index_in(tokens.cast(pa.string()), people)
    if isinstance(places, pa.ChunkedArray):
        places = places.combine_chunks()
    return places.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Times as microseconds since 1970 UTC."""
    if not pa.types.is_timestamp(column.type):
        return column
    return column.cast(pa.timestamp("us", "UTC")).cast(pa.int64())


@lru_cache(maxsize=1_000)
def _word(category: str) -> str:
    return canonical_category(category)


def provisions(registry: Iterable[Mapping[str, Any]], streams: Collection[str]) -> list[Provision]:
    """Rows of the registry, of one person, as `decision.py` takes them."""
    return [
        Provision(
            action=row["action"],
            category=canonical_category(row["category"]),
            scope=canonical_scope(row["scope"], streams),
            at=row["provision_time"],
            known_at=row["kafka_time"],
            until=row["expires_at"],
            sequence=row["sequence"],
            reason=row["reason"],
            position=(row["topic_id"], row["kafka_partition"], row["kafka_offset"]),
        )
        for row in registry
    ]


def microseconds(moment: datetime) -> int:
    """Since 1970 UTC, exactly."""
    return (moment - _EPOCH) // _MICROSECOND
