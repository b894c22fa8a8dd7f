"""What comes of doing what drift asks for: a model trained anew through the gate, or the sender mended.

Holds: the champion of a drawn world, its challenger, the gate's word, and utility before and after.
Does not hold: worlds (`drift_worlds.py`), looking for drift (`drift.py`), training and gate (the product's own).

Of each draw a champion learns from stays of the reference. Judged are the live stays since the shift, as they are sent:
none of them the champion has seen. Where the look asks for a retraining, they are dealt in two; for each half a
challenger learns from the champion's stays and from the other half, and the gate compares both models over both halves.
Where the look says that a unit or a sensor is to be mended, the items it names come as they should, to the same model.

Models are small ones (`RECIPE`, `LEARNT` stays or fewer), since each draw makes one to three: utilities are for
comparing before with after, not with those of the model that ships.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from infra.bench.drift_worlds import Ground, World, hours_as_sent
from pipelines.clinical.sepsis import gate, train
from pipelines.clinical.sepsis.drift import FROZEN, UNIT_CHANGE, Report
from pipelines.clinical.sepsis.evaluate import Outcome, of_stays, ranking, subgroups
from pipelines.clinical.sepsis.features import features
from pipelines.clinical.sepsis.panel import Integers, Panel, rows_of, with_values, without_implausible
from pipelines.clinical.sepsis.panel import of_stays as stays_of_panel
from pipelines.clinical.sepsis.train import Fitted, Learned, Recipe
from pipelines.clinical.sepsis.utility import Bools

RECIPE = Recipe(members=2, trees=60, keep_every=12)
LEARNT = 6000
RETRAIN, MEND, ASK = "retrain", "mend", "ask"
"""What a look asks for: `ASK` where it names what moved and neither retraining nor mending follows."""
MENDED = (UNIT_CHANGE, FROZEN)
SEED, HALVES = 0, 2


@dataclass(frozen=True, slots=True)
class Remedied:
    """What was done of one draw's last look, and what it did.

    Attributes:
        remedy: `RETRAIN`, `MEND` or `ASK`.
        stays, septic_stays: that were judged.
        before, after: utility of the champion as it is, and after the remedy; None where nothing was done.
        low, high: of the difference, by drawing stays again; of a retraining only.
        promoted: whether the gate let the challenger in; None where nobody asked. reason: what it said.
    """

    remedy: str
    stays: int
    septic_stays: int
    before: float | None
    after: float | None = None
    low: float | None = None
    high: float | None = None
    promoted: bool | None = None
    reason: str = ""


class Remedies:
    """Does what looks ask for. `labels`: bool, an hour of the ground each; features are made once for all draws."""

    def __init__(self, ground: Ground, labels: Bools, recipe: Recipe = RECIPE, learnt: int = LEARNT) -> None:
        self._ground, self._labels, self._recipe, self._learnt = ground, labels, recipe, learnt
        self._features = features(_plausible(ground.panel))

    def act(self, world: World, report: Report, seed: int) -> Remedied | None:
        """What the look asks for is done; None where it found nothing."""
        if not report.causes:
            return None
        random = np.random.default_rng(seed)
        known = self._known(np.sort(random.permutation(world.reference)[: self._learnt]))
        champion = train.fit(known, np.arange(known.stays), self._recipe, SEED, 1, _quiet)
        live = self._live(world)
        before = _said(champion, live)
        counts = live.stays, int(live.septic().sum())
        if report.retrains:
            after = self._retrained(known, live, random)
            groups = subgroups(stays_of_panel(self._ground.panel, world.live[world.since()]))
            decision = gate.decide(before, after, groups, SEED)
            interval = (decision.checks[0].low, decision.checks[0].high) if decision.checks else (None, None)
            return Remedied(
                RETRAIN, *counts, _utility(before), _utility(after), *interval, decision.promote, decision.reason
            )
        mended = frozenset(item for cause in report.causes if cause.kind in MENDED for item in cause.items)
        if not mended:
            return Remedied(ASK, *counts, _utility(before))
        return Remedied(MEND, *counts, _utility(before), _utility(_said(champion, self._live(world, mended))))

    def _known(self, stays: Integers) -> Learned:
        starts = self._ground.panel.starts
        rows = rows_of(starts, stays)
        return Learned(self._features[rows], self._labels[rows], _starts(starts, stays), self._ground.panel.hour[rows])

    def _live(self, world: World, mended: frozenset[str] = frozenset()) -> Learned:
        panel = hours_as_sent(self._ground, world, mended)
        rows = rows_of(self._ground.panel.starts, world.live[world.since()])
        return Learned(features(_plausible(panel)), self._labels[rows], panel.starts, panel.hour)

    def _retrained(self, known: Learned, live: Learned, random: np.random.Generator) -> Outcome:
        """What the challengers say, each of the half it did not learn from."""
        both = Learned(
            np.concatenate([known.features, live.features]),
            np.concatenate([known.labels, live.labels]),
            np.concatenate([known.starts, known.starts[-1] + live.starts[1:]]),
            np.concatenate([known.hour, live.hour]),
        )
        half = train.deal(live.septic(), HALVES, int(random.integers(2**31)))
        scores, risks = np.empty(len(live.labels)), np.empty(len(live.labels))
        alerts = np.empty(len(live.labels), dtype=bool)
        for number in range(HALVES):
            learnt = np.concatenate([np.arange(known.stays), known.stays + np.flatnonzero(half != number)])
            challenger = train.fit(both, learnt, self._recipe, SEED, 1, _quiet)
            judged = np.flatnonzero(half == number)
            rows, said = rows_of(live.starts, judged), of_stays(_said(challenger, live), judged)
            scores[rows], risks[rows], alerts[rows] = said.scores, said.risks, said.alerts
        return Outcome(live.labels, live.starts, scores, risks, alerts)


def _said(model: Fitted, live: Learned) -> Outcome:
    scores = train.predict(model.text, live.features, 1)
    return Outcome(live.labels, live.starts, scores, model.calibration.risk(scores), scores >= model.threshold)


def _utility(outcome: Outcome) -> float | None:
    return ranking(outcome)["utility"]


def _plausible(panel: Panel) -> Panel:
    return with_values(panel, without_implausible(panel.values))


def _starts(starts: Integers, stays: Integers) -> Integers:
    return np.concatenate([[0], np.cumsum(np.diff(starts)[stays])]).astype(np.int64)


def _quiet(line: str) -> None:
    return None
