"""What a store must answer before a person can be erased from it, and how stores are known to be all.

Holds: the protocol, its words, and the comparison of what holds people with what is registered. Pure.
Does not hold: any store. Those of this floor are tables.py and vault.py; upper floors bring their own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

Evidence = Mapping[str, Any]
"""What a verifier can look up, as JSON takes it. Names nobody."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A person as the lake knows one. `tokens`: of every epoch; `request`: on whose behalf."""

    request: str
    tokens: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Found:
    """What a store has of each request's person, in its own measure (rows, messages, keys, files).

    Attributes:
        counts: request -> how much; requests of which it has nothing are left out.
        evidence: where, for the intent that is written before anything is changed.
        until: the last instant at which the store lets go of what it cannot delete at once; None where it can.
    """

    counts: Mapping[str, int]
    evidence: Evidence = field(default_factory=dict)
    until: datetime | None = None

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    def told(self) -> Evidence:
        """The evidence, with `until` where there is one."""
        return {**self.evidence, **({"until": self.until.isoformat()} if self.until else {})}


@dataclass(frozen=True, slots=True)
class Erased:
    """What a step did in a store. `size_bytes`: rewritten or freed. `left`: what of it must go by itself, and does."""

    found: int
    left: int
    size_bytes: int = 0
    evidence: Evidence = field(default_factory=dict)


class Store(Protocol):
    """One place where people's bytes lie. Every method may be repeated, by another process, after a kill anywhere."""

    @property
    def name(self) -> str:
        """`kind:what`, e.g. `table:vitals`."""
        ...

    def locate(self, subjects: Collection[Subject]) -> Found:
        """What there is of them now."""
        ...

    def erase(self, subjects: Collection[Subject]) -> Erased:
        """Take them out, as far as it can be done at once."""
        ...

    def prove(self, subjects: Collection[Subject]) -> Found:
        """What there is of them now, looked for in another way than `erase` does, in everything the store still has."""
        ...


class LayeredStore(Store, Protocol):
    """A store in which what was taken out lives on in older layers: snapshots, manifests, files."""

    def seal(self, subjects: Collection[Subject]) -> Erased:
        """Make a newest layer that says nothing of what was taken out."""
        ...

    def expire(self, subjects: Collection[Subject]) -> Erased:
        """Let every older layer go. Raises `PinnedError` where one is named and has them."""
        ...

    def purge(self, subjects: Collection[Subject]) -> Erased:
        """Delete the objects that only older layers named."""
        ...


class NotYetError(Exception):
    """A step has to wait for somebody else. The message says for whom; run it again then."""


class PinnedError(Exception):
    """A branch or tag names a snapshot that has somebody who is to be erased. Says which, and what to do."""


@dataclass(frozen=True, slots=True)
class Place:
    """Something that exists. `holds_people`: why it is one where people's bytes lie; empty where it is not."""

    name: str
    holds_people: str


@dataclass(frozen=True, slots=True)
class Coverage:
    """What erasure reaches: places by name with the reason they hold people, and those that nobody answers for."""

    covered: tuple[Place, ...]
    without_people: tuple[Place, ...]
    uncovered: tuple[Place, ...]

    @property
    def complete(self) -> bool:
        return not self.uncovered


def coverage_of(places: Iterable[Place], registered: Collection[str]) -> Coverage:
    """Which of the places that hold people have a store registered under their name, and which have not."""
    places = sorted(places, key=lambda place: place.name)
    with_people = [place for place in places if place.holds_people]
    return Coverage(
        covered=tuple(place for place in with_people if place.name in registered),
        without_people=tuple(place for place in places if not place.holds_people),
        uncovered=tuple(place for place in with_people if place.name not in registered),
    )


def by_token(subjects: Iterable[Subject]) -> dict[str, str]:
    """Token -> request."""
    return {token: subject.request for subject in subjects for token in subject.tokens}


def counted(tokens: Iterable[str], subjects: Iterable[Subject]) -> dict[str, int]:
    """Request -> how often one of its tokens comes."""
    requests = by_token(subjects)
    return dict(Counter(requests[token] for token in tokens if token in requests))


Progress = Callable[[str], None]
