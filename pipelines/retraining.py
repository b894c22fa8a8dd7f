"""A retraining from beginning to end: rows of the lake, a model, the gate, the register. So is a recalibration: the
champion's trees with risks fitted to outcomes.

Holds: the order of the work and what is recorded, whatever the gate says.
Does not hold: any of the work, nor when it is due (`assets/training.py`), nor looks for drift (`drift_look.py`).

One patient of five is learnt from by no model; on them champion and challenger are held against each other. A model
that the gate refuses is registered all the same, with the reason. Pseudonyms of whom it learned from are sealed; a
recalibrated model names those its calibration was fitted to besides those its trees were learnt from.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, TypeVar

import numpy as np

from pipelines.clinical.sepsis import card, gate, model_files
from pipelines.clinical.sepsis.drift_profile import profile_of
from pipelines.clinical.sepsis.evaluate import subgroups
from pipelines.clinical.sepsis.gate import Decision
from pipelines.clinical.sepsis.intensive_care import IntensiveCare
from pipelines.clinical.sepsis.lake_set import CODES, NoStayError, held_out, learning_set, part
from pipelines.clinical.sepsis.learn import learn
from pipelines.clinical.sepsis.learning_set import LearningSet
from pipelines.clinical.sepsis.model_files import ModelFiles
from pipelines.clinical.sepsis.promotion import LEAST_OUTCOMES, TooFewOutcomesError, outcome_of, recalibrated
from pipelines.clinical.sepsis.recent_stays import facts_of_rows
from pipelines.clinical.sepsis.train import Recipe
from pipelines.drift_look import profile_rows
from pipelines.model_source import files_of, model_of, row_of
from warehouse.analytics import Analytics
from warehouse.consent.filters import Purpose
from warehouse.contract import Contracts
from warehouse.erasure.ledger import Ledger
from warehouse.erasure.models import Anew, ErasedMeanwhileError
from warehouse.models.artefacts import sha256
from warehouse.models.kept_snapshots import KeptSnapshots, SnapshotGoneError
from warehouse.models.people import open_people, seal_people
from warehouse.models.recent_rows import read_as_sent
from warehouse.models.registry import AGAINST, CHAMPION, REFUSED, ChampionChangedError, Model, Registry, Role
from warehouse.models.training_rows import TrainingRows, read_training_rows
from warehouse.settings import Settings
from warehouse.vault import LEARNERS_KEY, open_vault

T = TypeVar("T")

NAME = model_files.NAME
LEAST_STAYS = 200
TRIES = 3
PURPOSE = "operations"
"""What the model is for: care in this house, which rests on law. Under a purpose that rests on consent, only rows are
read whose patients allow it and did at the time of the row."""
FOLDS_SEED, GATE_SEED = 1, 0
ORIGIN = {"source": "tables of the lake"}
"""Snapshots are named by the register and not in a model's files: the same stays give the same bytes in any lake."""
AS_OF, PURPOSE_OF, RECALIBRATED = "as_of", "purpose", "recalibrated"
"""Parameters of a row that say which rows a model learned from: those known by then, of those who allowed this use; and
whether these only fitted the risks of another model."""


class TooFewStaysError(ValueError):
    """Not enough stays with an outcome to learn from. Says how many there are."""


@dataclass(frozen=True, slots=True)
class Retrained:
    """What came of it. `held`: stays that the gate judged on. `early_onsets`: those left out, septic too early."""

    model: ModelFiles
    decision: Decision
    role: Role
    snapshots: Mapping[str, int]
    stays: int
    septic_stays: int
    held: int
    early_onsets: int
    withheld: int


@dataclass(frozen=True, slots=True)
class Recalibration:
    """What came of it. `stays`: with an outcome, of people the champion did not learn from; `role`: None where it was
    only tried."""

    model: ModelFiles
    decision: Decision
    role: Role | None
    snapshots: Mapping[str, int]
    stays: int
    septic_stays: int
    withheld: int


class Retraining:
    """Of one lake. `writer`: who commits; names no person. `clock`: UTC; a decision is dated when it is made, and what
    leads to it may take an hour."""

    def __init__(
        self,
        settings: Settings,
        contracts: Contracts,
        catalog: Any,
        writer: str,
        recipe: Recipe | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._settings, self._catalog, self._writer = settings, catalog, writer
        self._recipe, self._clock = recipe or Recipe(), clock
        self._snapshots = KeptSnapshots(catalog, settings.namespace)
        self.registry = Registry(settings, contracts, catalog, writer)
        self.looks = self.registry.looks

    def run(
        self, why: str, now: datetime, purpose: str = PURPOSE, progress: Callable[[str], None] = print
    ) -> Retrained:
        """Train, judge, register, decide. Raises `TooFewStaysError`, `LakeUnavailable` and what the store raises."""
        with self._kept_rows(purpose, now) as (rows, tag):
            given, learnt, held = _sets(rows, self._settings)
            model, page = learn(learnt, self._recipe, FOLDS_SEED, 1, progress, ORIGIN)
            terms, people = {AS_OF: now, PURPOSE_OF: purpose}, learnt.patients.tolist()
            row, files, sealed = self._row(model, page, rows.snapshots, people, now, terms)
            self._register(row, files, sealed, tag)
        self.looks.keep_profile(model.version, self._profile(model.version, rows.outcomes, people, now))
        progress("the gate")
        decision, role = self._judged(model, held, why)
        septic = int(np.maximum.reduceat(given.labels, given.panel.starts[:-1]).sum())
        return Retrained(
            model, decision, role, rows.snapshots, learnt.panel.stays, septic, held.panel.stays, given.early_onsets,
            rows.withheld,
        )  # fmt: skip

    def recalibrate(self, why: str, now: datetime, purpose: str = PURPOSE, dry_run: bool = False) -> Recalibration:
        """The champion with risks fitted to outcomes, judged by what they were not fitted to, registered, decided.

        With `dry_run` nothing is written. Raises `TooFewOutcomesError`, `ChampionChangedError`, `LakeUnavailable` and
        what the store raises.
        """
        if dry_run:
            return self._recalibrated(self._rows(purpose, now, now), "", why, now, purpose)
        with self._kept_rows(purpose, now) as (rows, tag):
            return self._recalibrated(rows, tag, why, now, purpose)

    def _recalibrated(self, rows: TrainingRows, tag: str, why: str, now: datetime, purpose: str) -> Recalibration:
        """Registered and decided where a `tag` keeps the rows' snapshots, else only tried."""
        given, (against, champion, knew) = _stays_of(rows, self._settings), self._champion_and_people()
        unseen = None if given is None else np.array([token not in knew for token in given.patients.tolist()])
        if given is None or unseen is None or not unseen.any():
            raise TooFewOutcomesError(
                "0 stays that the model did not learn from have an outcome, and a measurement before it; "
                f"a calibration rests on {LEAST_OUTCOMES}"
            )
        judged = part(given, np.flatnonzero(unseen))
        aside = held_out(judged.patients.tolist())
        about = {"source": "outcomes of the lake", "snapshots": dict(rows.snapshots)}
        made = recalibrated(champion, judged, aside, about)
        decision = gate.decide(made.before, made.after, subgroups(judged.panel), GATE_SEED)
        role = None
        if tag:
            people = sorted(knew | set(judged.patients[~aside].tolist()))
            page, terms = card.page(made.model), {AS_OF: now, PURPOSE_OF: purpose, RECALIBRATED: True}
            self._register(*self._row(made.model, page, rows.snapshots, people, now, terms), tag)
            role = self._decide(made.model, decision, why, against)
        septic = int(made.model.metadata["recalibrated"]["septic_stays"])
        return Recalibration(made.model, decision, role, rows.snapshots, judged.panel.stays, septic, rows.withheld)

    def _judged(self, model: ModelFiles, held: LearningSet, why: str) -> tuple[Decision, Role]:
        """The gate's word against whoever is to reign by then, and what follows of it; anew where that changed while
        the gate was at work."""
        mine, groups = outcome_of(model, held.panel, held.labels), subgroups(held.panel)

        def judged() -> tuple[Decision, Role]:
            against, champion = self._champion()
            decision = gate.decide(outcome_of(champion, held.panel, held.labels), mine, groups, GATE_SEED)
            return decision, self._decide(model, decision, why, against)

        return _again_after(ChampionChangedError, judged)

    def _champion_and_people(self) -> tuple[str, ModelFiles, set[str]]:
        """The champion's version and files, as `_champion`, and whom of this lake it learned from."""
        against, model = self._champion()
        row = self.registry.model(against) if against else None
        if row is None or not row.learnt_from:
            return against, model, set()
        vault = open_vault(self._settings.vault_uri, time.monotonic)
        try:
            key = vault.house_key(LEARNERS_KEY)
        finally:
            vault.close()
        return against, model, open_people(key, row.version, self.registry.files.get(row.learnt_from))

    def _register(self, row: Model, files: Mapping[str, bytes], sealed: bytes, tag: str) -> None:
        self._snapshots.hand_over(tag, row.snapshots, row.version)
        self.registry.register(row, files, sealed)

    def again(self, old: Model, now: datetime, progress: Callable[[str], None] = print) -> Anew:
        """The model that `old` would be, had it learned from those only who are still in the tables: the rows that were
        known when it was trained, its recipe and its seeds. Nothing is registered. Raises `LakeUnavailable`."""
        told = old.parameters
        if told.get(RECALIBRATED) or old.source != ORIGIN["source"]:
            return Anew(None, why="it was made of more than stays of this lake, or its risks were fitted anew")
        as_of = datetime.fromisoformat(told[AS_OF]) if AS_OF in told else old.registered_at
        purpose = told.get(PURPOSE_OF, PURPOSE)
        rows, tag = self._read(purpose, now, as_of)
        try:
            anew = self._learnt_again(rows, told, {AS_OF: as_of, PURPOSE_OF: purpose}, now, progress)
        except BaseException:
            self._snapshots.release(tag, rows.snapshots)
            raise
        if anew.row is None:
            self._snapshots.release(tag, rows.snapshots)
            return anew
        return replace(anew, kept=tag)

    def _learnt_again(
        self,
        rows: TrainingRows,
        told: Mapping[str, Any],
        terms: Mapping[str, Any],
        now: datetime,
        progress: Callable[[str], None],
    ) -> Anew:
        try:
            recipe = Recipe(**told["recipe"])
            _, learnt, _ = _sets(rows, self._settings)
            model, page = learn(learnt, recipe, FOLDS_SEED, 1, progress, ORIGIN)
        except TooFewStaysError as error:
            return Anew(None, why=f"without them {error}")
        except (KeyError, TypeError, ValueError):
            return Anew(None, why="its recipe cannot be followed any more, or what is left cannot be learnt from")
        people = learnt.patients.tolist()
        row, files, sealed = self._row(model, page, rows.snapshots, people, now, terms)
        return Anew(row, files, sealed, profile=self._profile(model.version, rows.outcomes, people, now))

    @contextmanager
    def _kept_rows(self, purpose: str, now: datetime) -> Generator[tuple[TrainingRows, str]]:
        """What is to be learnt from, and the tag that keeps its snapshots as long as this is open."""
        rows, tag = self._read(purpose, now, now)
        try:
            yield rows, tag
        finally:
            self._snapshots.release(tag, rows.snapshots)

    def _read(self, purpose: str, now: datetime, as_of: datetime) -> tuple[TrainingRows, str]:
        """Rows, and the tag that keeps the snapshots they were read at; read again where one was trimmed meanwhile."""

        def read() -> tuple[TrainingRows, str]:
            rows = self._rows(purpose, now, as_of)
            return rows, self._snapshots.keep(rows.snapshots, now)

        return _again_after(SnapshotGoneError, read)

    def _rows(self, purpose: str, now: datetime, as_of: datetime) -> TrainingRows:
        with Analytics(self._settings) as analytics:
            return read_training_rows(analytics, CODES, Purpose(purpose, now), as_of=as_of, left_out=self._erased)

    def _erased(self, people: list[str]) -> set[str]:
        """Those who are on the list of the erased, though their rows may be there yet."""
        vault = open_vault(self._settings.vault_uri, time.monotonic)
        try:
            return Ledger(vault, time.monotonic).erased(people)
        finally:
            vault.close()

    def _champion(self) -> tuple[str, ModelFiles]:
        """Whose place a promotion takes that is decided now: a version, empty for the built-in model, and its files."""
        version = self.registry.heir(NAME)
        return version, model_of(self.registry.load(version)) if version else model_files.champion()

    def _row(
        self,
        model: ModelFiles,
        page: str,
        snapshots: Mapping[str, int],
        people: list[str],
        now: datetime,
        terms: Mapping[str, object],
    ) -> tuple[Model, dict[str, bytes], bytes]:
        """The register's row, its files, and whom it learned from, sealed. Raises `ErasedMeanwhileError`."""
        if self._erased(people):
            raise ErasedMeanwhileError("somebody a model learned from was erased meanwhile; run this again")
        vault = open_vault(self._settings.vault_uri, time.monotonic)
        try:
            sealed = seal_people(vault.house_key(LEARNERS_KEY), model.version, people)
        finally:
            vault.close()
        files = files_of(model, page)
        row = row_of(model, files, snapshots=snapshots, learnt_from=sha256(sealed), at=now, who=self._writer)
        said = {name: each.isoformat() if isinstance(each, datetime) else each for name, each in terms.items()}
        return replace(row, parameters={**row.parameters, **said}), files, sealed

    def _decide(self, model: ModelFiles, decision: Decision, why: str, against: str) -> Role:
        crowned = CHAMPION if decision.promote else REFUSED
        said, evidence = f"{why}; {decision.reason}", {"gate": decision.as_json(), AGAINST: against}
        return self.registry.give(NAME, model.version, crowned, said, evidence, self._writer, self._clock())

    def _profile(self, version: str, outcomes: Any, people: list[str], now: datetime) -> list[dict[str, Any]]:
        """The profile of those it learned from, values as sent, with their wards and monitors."""
        said = dict(zip(outcomes["subject_token"].to_pylist(), outcomes["said_at"].to_pylist(), strict=True))
        with Analytics(self._settings) as analytics:
            rows = read_as_sent(analytics, people, [said[token] for token in people], CODES)
        facts = facts_of_rows(
            {"vitals": rows.vitals, "wearables": rows.wearables, "labs": rows.results, "adt_events": rows.admissions},
            rows.places,
            wards=IntensiveCare(self._settings.intensive_care),
        )
        return [] if facts is None else profile_rows(profile_of(facts), version, now)


def _again_after(overtaken: type[Exception], act: Callable[[], T]) -> T:
    """What the act gives, tried anew where somebody overtook it, `TRIES` times in all."""
    for _ in range(TRIES - 1):
        with suppress(overtaken):
            return act()
    return act()


def _stays_of(rows: TrainingRows, settings: Settings) -> LearningSet | None:
    """The stays with an outcome and a measurement before it; None where there is none."""
    if not len(rows.outcomes):
        return None
    try:
        return learning_set(_by_table(rows), rows.outcomes, IntensiveCare(settings.intensive_care))
    except NoStayError:
        return None


def _sets(rows: TrainingRows, settings: Settings) -> tuple[LearningSet, LearningSet, LearningSet]:
    """All stays, those that are learnt from, and those kept for the gate. Raises `TooFewStaysError`."""
    given = _stays_of(rows, settings)
    if given is None or given.panel.stays < LEAST_STAYS:
        there = given.panel.stays if given else 0
        raise TooFewStaysError(f"{there} stays have an outcome and a measurement before it, {LEAST_STAYS} are needed")
    aside = held_out(given.patients.tolist())
    return given, part(given, np.flatnonzero(~aside)), part(given, np.flatnonzero(aside))


def _by_table(rows: TrainingRows) -> dict[str, Any]:
    return {"vitals": rows.vitals, "wearables": rows.wearables, "labs": rows.results, "adt_events": rows.admissions}
