"""Which partitions this process reads: those it was given, and those of a process that died, until it is back.

Holds: when a lease counts as lapsed, who takes it, and the thread that keeps this process's own.
Does not hold: the leases themselves (warehouse/coordination.py), or what reading a partition means (state.py).

Leases spare work and alerts told twice; truth does not depend on them. So where their database is silent a process
keeps what it has, and one that starts reads what it was given: the fence makes double ownership safe.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from warehouse.coordination import NOBODY, Coordination, CoordinationUnavailableError, Lease

_LOG = logging.getLogger(__name__)

BEAT_S = 2.0
LAPSE_S = 8.0
"""A lease whose beat stood still for this long may be taken: four beats, so that one slow statement loses nothing."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do about the leases as they are.

    Attributes:
        home: partitions of our own that we have. stand_in: partitions of others that we read for them.
        claims: partition -> the lease to take over as it was seen (None: nobody ever had it).
        elsewhere: partitions of our own that a living process reads, by owner.
    """

    home: frozenset[int]
    stand_in: frozenset[int]
    claims: Mapping[int, Lease | None]
    elsewhere: Mapping[int, str]


class LeaseWatch:
    """Judges leases by how long, on our own clock, they have stood still.

    Args:
        owner: who we are. home: the partitions given to this process. every: all there are.
        clock: seconds that never run backwards.
    """

    def __init__(self, owner: str, home: Iterable[int], every: Iterable[int], clock: Callable[[], float]) -> None:
        self._owner, self._home, self._every = owner, frozenset(home), frozenset(every)
        self._clock = clock
        self._seen: dict[int, tuple[Lease | None, float]] = {}

    def judge(self, leases: Mapping[int, Lease]) -> Verdict:
        now = self._clock()
        for partition in self._every:
            lease = leases.get(partition)
            if partition not in self._seen or self._seen[partition][0] != lease:
                self._seen[partition] = (lease, now)
        ours = frozenset(p for p in self._every if p in leases and leases[p].owner == self._owner)
        claims = {p: leases.get(p) for p in self._every - ours if self._may_claim(p, leases.get(p), now)}
        return Verdict(
            home=ours & self._home,
            stand_in=ours - self._home,
            claims=claims,
            elsewhere={p: leases[p].owner for p in self._home - ours - set(claims)},
        )

    def _may_claim(self, partition: int, lease: Lease | None, now: float) -> bool:
        """Our own at once unless its other home owner lives; another's when its lease has lapsed."""
        at_home = partition in self._home
        if at_home and (lease is None or lease.owner == NOBODY or not lease.at_home):
            return True
        return now - self._seen[partition][1] >= LAPSE_S


class Ownership:
    """Keeps this process's leases in a thread of its own, and says which partitions it reads.

    Args:
        also: called at each beat, for what else wants to be written there.
    """

    def __init__(
        self,
        coordination: Coordination,
        home: Iterable[int],
        every: Iterable[int],
        clock: Callable[[], float],
        also: Callable[[], None] = lambda: None,
    ) -> None:
        self._coordination, self._also = coordination, also
        self._given = frozenset(home)
        self._watch = LeaseWatch(coordination.owner, self._given, every, clock)
        self._shares = True
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="leases", daemon=True)
        self.home: frozenset[int] = frozenset()
        self.stand_in: frozenset[int] = frozenset()
        self.elsewhere: Mapping[int, str] = {}
        self.trouble = ""

    def start(self, shares: bool) -> None:
        """Claim what can be claimed now, then keep it. Who shares with nobody has what it was given."""
        self._shares = shares
        self._turn(at_start=True)
        self._thread.start()

    def end(self) -> None:
        """Release everything, so that others need not wait for a lapse."""
        self._ending.set()
        self._thread.join(LAPSE_S)
        try:
            self._also()
            self._coordination.release()
        except CoordinationUnavailableError as error:
            _LOG.warning("leases were not released: %s", error)

    def said(self) -> dict[str, object]:
        """For the status file."""
        return {
            "own": sorted(self.home),
            "stand_in": sorted(self.stand_in),
            "elsewhere": {str(p): owner for p, owner in sorted(self.elsewhere.items())},
            "trouble": self.trouble,
        }

    def _keep(self) -> None:
        while not self._ending.wait(BEAT_S):
            self._turn()

    def _turn(self, at_start: bool = False) -> None:
        try:
            if not at_start:
                self._also()
                self._coordination.beat()
            if self._shares:
                self._take(self._watch.judge(self._coordination.leases()))
            else:
                self.home = self._given
            self.trouble = ""
        except CoordinationUnavailableError as error:
            self.trouble = str(error)
            _LOG.warning("leases are not kept: %s", error)
            if at_start:
                self.home = self._given

    def _take(self, verdict: Verdict) -> None:
        won = {p for p, seen in verdict.claims.items() if self._coordination.claim(p, seen, p in self._given)}
        home, stand_in = verdict.home | (won & self._given), verdict.stand_in | (won - self._given)
        if (home, stand_in) != (self.home, self.stand_in):
            _LOG.warning("this process reads partitions %s and stands in for %s", sorted(home), sorted(stand_in))
        self.home, self.stand_in, self.elsewhere = frozenset(home), frozenset(stand_in), verdict.elsewhere
