"""How well kept a table is: one figure from 0 to 1, and why, in words. Pure.

Holds: the measures, what counts as much of each, and the figure.
Does not hold: the observing (observed.py), nor what is done about it (plan.py).

Each measure gives 1 where there is none of it and a half at its limit; the worst decides.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from warehouse.upkeep.plan import TableState, UpkeepPolicy, plan_compaction, plan_sweep

DUE = 0.5
"""At or below this a table's upkeep is due."""

FILES_LIMIT = 100
SNAPSHOTS_LIMIT = 60
MANIFESTS_LIMIT = 120
COMMITS_LIMIT = 2_000
RIPE = 0.4


@dataclass(frozen=True, slots=True)
class Measure:
    """One thing that accumulates. `figure`: 0 to 1; `reason`: in words, with its count."""

    name: str
    figure: float
    reason: str


@dataclass(frozen=True, slots=True)
class Health:
    """A table's health. `figure`: that of its worst measure; `reasons`: of all that are not at their best, worst
    first."""

    table: str
    figure: float
    measures: tuple[Measure, ...]
    refused: str = ""

    @property
    def due(self) -> bool:
        """Whether upkeep should run."""
        return not self.refused and self.figure <= DUE

    @property
    def reasons(self) -> tuple[str, ...]:
        worse = sorted((m for m in self.measures if m.figure < 1), key=lambda m: m.figure)
        return (self.refused,) if self.refused else tuple(measure.reason for measure in worse)

    @property
    def reason(self) -> str:
        """All reasons in one line."""
        return "; ".join(self.reasons) or "nothing to do"


def health_of(state: TableState, policy: UpkeepPolicy, now: datetime) -> Health:
    """The health of a table in this state. `now`: the store's time, aware."""
    if not state.sequence:
        return Health(state.name, 1.0, ())
    groups = plan_compaction(state.files, policy)
    surplus = sum(len(group.files) - 1 for group in groups)
    needed = -(-sum(state.manifests) // policy.manifest_files) + policy.manifests_beyond
    manifests = max(0, len(state.manifests) - needed)
    measures = (
        _measure("files", surplus, FILES_LIMIT, f"{surplus} of {len(state.files)} files are small and can be joined"),
        _measure(
            "snapshots",
            len(state.superseded),
            SNAPSHOTS_LIMIT,
            f"{len(state.superseded)} of {state.snapshots} snapshots may go",
        ),
        _measure(
            "manifests",
            manifests,
            MANIFESTS_LIMIT,
            f"{manifests} of {len(state.manifests)} manifests are more than needed",
        ),
        _sweep(state, policy, now),
    )
    return Health(state.name, min(m.figure for m in measures), measures, state.refused)


def _sweep(state: TableState, policy: UpkeepPolicy, now: datetime) -> Measure:
    what, why = plan_sweep(state, policy, now)
    if what in ("resume", "delete"):
        return Measure("unreferenced", RIPE, why)
    commits = state.commits_since_look
    if what == "wait":
        return _measure("unreferenced", commits // 2, COMMITS_LIMIT, why)
    return _measure("unreferenced", commits, COMMITS_LIMIT, f"{commits} commits since unreferenced objects were sought")


def _measure(name: str, count: int, limit: int, reason: str) -> Measure:
    return Measure(name, round(1 / (1 + count / limit), 3), reason)
