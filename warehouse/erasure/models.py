"""Models as a store of people: whoever learned from somebody is trained anew without them, and the old files go.

Holds: which models are concerned, what takes their place and when, and what of them is taken away: files, the sealed
list of people, profiles, tags.
Does not hold: training (an upper floor brings it), the register (`warehouse/models/registry.py`).

The champion's reign has no hole: the old model scores until its successor does, and only then its files go. No gate is
asked, since nothing but the person is another. A model that nobody uses any more (refused, retired) gets no successor.
Where there is too little left to learn from, the model that comes with the product takes over; that one was learnt
from public data and knows nobody here. To be repeated after a kill anywhere: each call looks at the register as it is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from pyiceberg.catalog import Catalog

from warehouse.catalog import TableMismatchError
from warehouse.erasure.stores import Erased, Found, Progress, Subject, by_token
from warehouse.erasure.tables import TableStore
from warehouse.models.kept_snapshots import MODEL, KeptSnapshots, is_stale, is_training
from warehouse.models.looks import PROFILES
from warehouse.models.people import whom_models_knew
from warehouse.models.registry import (
    CHALLENGER,
    CHAMPION,
    LEAD,
    RELOAD,
    RETIRED,
    SHADOW,
    WITHDRAWN,
    Model,
    Registry,
    Role,
    in_force,
    reigns,
    successors,
)

INSTEAD_OF, ERASURES = "instead_of", "erasures"
"""Parameters of a successor's row: the version whose place it takes, and the requests for whose sake."""
NOBODY_USES_IT = "nobody used it any more"


class ErasedMeanwhileError(RuntimeError):
    """Somebody was erased while a model learned from them: it is not kept."""


@dataclass(frozen=True, slots=True)
class Anew:
    """What training anew came to: a model as the register takes it, not registered yet, the sealed list of its people,
    the tag that keeps what it learned from, and its profile for drift; or `why` there is none."""

    row: Model | None
    files: Mapping[str, bytes] = field(default_factory=dict)
    people: bytes = b""
    kept: str = ""
    profile: Sequence[Mapping[str, Any]] = ()
    why: str = ""


Retrain = Callable[[Model], Anew]
"""Trains a model anew on what it had learned from, as far as that is still there."""


@dataclass(slots=True)
class ModelStore:
    """The registered models of one lake.

    Attributes:
        key: of the vault, for the lists of people. tables: stores of the tables that models learn from.
        keep_profile: keeps a model's profile. clock: the time, aware. sleep: waits so many seconds.
    """

    registry: Registry
    catalog: Catalog
    namespace: str
    key: bytes
    tables: Callable[[], Sequence[TableStore]]
    retrain: Retrain
    keep_profile: Callable[[str, Sequence[Mapping[str, Any]]], None]
    who: str
    clock: Callable[[], datetime]
    sleep: Callable[[float], None]
    progress: Progress = lambda step: None

    @property
    def name(self) -> str:
        return "models"

    def locate(self, subjects: Collection[Subject]) -> Found:
        """Models that learned from them. Raises `SealError`, `ArtefactError`, OSError."""
        people = self._people()
        counts = {each.request: sum(bool(known & set(each.tokens)) for _, known in people) for each in subjects}
        tokens = by_token(subjects).keys()
        return Found({r: n for r, n in counts.items() if n}, {"models": [m.version for m, p in people if p & tokens]})

    def erase(self, subjects: Collection[Subject]) -> Erased:
        """Put others in their place, wait until these reign, take the old ones away, and move tags off the snapshots
        that have the people. Raises what training raises, and as `locate`."""
        requests = sorted(each.request for each in subjects)
        tokens = by_token(subjects).keys()
        knew = [model for model, people in self._people() if people & tokens]
        for model in knew:
            self._replace(model, requests)
        self._await_reigns()
        for model in knew:
            self._withdraw(model, requests)
        self._clear()
        tags = self._settle_tags(subjects)
        return Erased(len(knew), self.locate(subjects).total, evidence=self._told(requests, tags))

    def prove(self, subjects: Collection[Subject]) -> Found:
        """As `locate`: by the lists of people, which are read anew."""
        return self.locate(subjects)

    # --- another in its place

    def _replace(self, model: Model, requests: Sequence[str]) -> None:
        """Train a successor and give it the model's roles; a model in use of which there is none retires."""
        if not self._is_used(model):
            return
        successor = self._successor_of(model, requests) or self._registered(model, requests)
        if successor and successor != model.version:
            for role in self._roles_of(model):
                why = f"trained anew without somebody who was erased, in the place of {model.version}"
                self._decide(f"{role}-{successor}", successor, role, why, requests)

    def _registered(self, model: Model, requests: Sequence[str]) -> str | None:
        """The version of a successor that is trained and registered now; None where there can be none: a champion
        without one retires, so that the built-in model reigns."""
        self.progress("train")
        made = self.retrain(model)
        if made.row is None:
            self._decide(f"{RETIRED}-{model.version}", model.version, RETIRED, f"no successor: {made.why}", requests)
            return None
        row = replace(made.row, parameters={**made.row.parameters, INSTEAD_OF: model.version, ERASURES: list(requests)})
        if row.version == model.version:
            self._drop_profiles([model.version])
        self.keep_profile(row.version, made.profile)
        kept = KeptSnapshots(self.catalog, self.namespace)
        try:
            kept.hand_over(made.kept, row.snapshots, row.version)
            self.registry.register(row, made.files, made.people, learnt_anew=True)
        finally:
            kept.release(made.kept, row.snapshots)
        self.progress("registered")
        return row.version

    def _successor_of(self, model: Model, requests: Sequence[str]) -> str | None:
        """One that an earlier call made for the sake of these requests."""
        for each in self.registry.models().values():
            told = each.parameters
            if told.get(INSTEAD_OF) == model.version and set(told.get(ERASURES, ())) & set(requests):
                return each.version
        return None

    def _is_used(self, model: Model) -> bool:
        """Whether it scores, waits, or is what a rollback goes back to. One that is to reign later needs no decision:
        whoever stands in its place reigns then."""
        reigning = reigns(self.registry.roles(), model.name)[-2:]
        return bool(self._roles_of(model)) or model.version in {each.version for each in reigning}

    def _roles_of(self, model: Model) -> list[str]:
        """The roles it has."""
        roles, now = self.registry.roles(), self.clock()
        found = [
            role
            for role in (SHADOW, CHALLENGER)
            if (held := in_force(roles, model.name, role, now)) and held.version == model.version
        ]
        champion = self.registry.champion(model.name, now)
        return [CHAMPION, *found] if champion and champion.version == model.version else found

    def _decide(self, act: str, version: str, role: str, why: str, requests: Sequence[str]) -> None:
        now = self.clock()
        name = f"erasure-{act}"
        if any(each.act == name for each in self.registry.roles()):
            return
        evidence = {ERASURES: list(requests)}
        model = self.registry.model(version)
        self.registry.decide(
            Role(name, model.name, version, role, now + LEAD + RELOAD, why, evidence, self.who, now), now
        )

    def _await_reigns(self) -> None:
        """Until every stream has changed to what this made champion, or has gone back to the built-in model."""
        made = [r for r in self._decisions() if r.act.startswith("erasure-") and r.role in (CHAMPION, RETIRED)]
        until = max((each.in_force_at for each in made), default=self.clock()) + RELOAD
        if made and (left := (until - self.clock()).total_seconds()) > 0:
            self.progress("await reign")
            self.sleep(min(left, (LEAD + 3 * RELOAD).total_seconds()))

    # --- away with the old one

    def _withdraw(self, model: Model, requests: Sequence[str]) -> None:
        """Say for good that its files are gone, and who stands in its place."""
        successor = self._successor_of(model, requests) or ""
        act = f"erasure-{WITHDRAWN}-{model.version}"
        if successor == model.version or any(each.act == act for each in self.registry.roles()):
            return
        why = "it had learned from somebody who was erased"
        used = f"in its place: {successor}" if successor else (self._why_none(model) or NOBODY_USES_IT)
        evidence = {"successor": successor, ERASURES: list(requests), "why": used}
        now = self.clock()
        self.registry.decide(
            Role(act, model.name, model.version, WITHDRAWN, now, f"{why}; {used}", evidence, self.who, now), now
        )

    def _why_none(self, model: Model) -> str:
        return next((r.reason for r in self.registry.roles() if r.act == f"erasure-{RETIRED}-{model.version}"), "")

    def _clear(self) -> None:
        """Delete the files that only rows which do not count any more name, and the profiles of withdrawn models."""
        free = {digest for model in self._history() for digest in _digests(model)} - self._kept()
        if free:
            self.progress("delete files")
            self.registry.files.delete(sorted(free))
            self._drop_profiles(sorted(successors(self._decisions())))

    def _kept(self) -> set[str]:
        """Hashes of the files of models that are not withdrawn."""
        gone = successors(self._decisions())
        counts = {model.version: model for model in self._history() if model.version not in gone}
        return {digest for model in counts.values() for digest in _digests(model)}

    def _drop_profiles(self, versions: Sequence[str]) -> None:
        """Profiles have numbers of people in them: they leave as rows of people leave."""
        store = TableStore(
            self.catalog, (self.namespace, PROFILES), "version", self.who, self.clock, progress=self.progress
        )
        subjects = [Subject("models", tuple(versions))]
        if versions and store.prove(subjects).total:
            for step in (store.erase, store.seal, store.expire, store.purge):
                step(subjects)

    # --- tags

    def _settle_tags(self, subjects: Collection[Subject]) -> list[dict[str, Any]]:
        """Tags of withdrawn models go, and of trainings that died; those of others that keep a snapshot with the people
        move to one without. A training under way leaves out whom it finds erased when it ends."""
        moved = []
        gone, now = successors(self._decisions()), self.clock()
        ours = {f"{MODEL}{model.version}": model.version for model in self._history()}
        for store in self.tables():
            tags = {tag: at for tag, at in store.tagged().items() if tag in ours or is_training(tag)}
            for tag, at in tags.items():
                if ours.get(tag) in gone or is_stale(tag, now):
                    moved.append(self._move(store, tag, at, None))
                elif store.tells(at, subjects) and (clean := store.clean_head(subjects)) is not None:
                    moved.append(self._move(store, tag, at, clean))
        return moved

    def _move(self, store: TableStore, tag: str, at: int, to: int | None) -> dict[str, Any]:
        """Let a tag keep another snapshot, or none."""
        table_name = store.identifier[1]
        self.progress("move tag")
        kept = KeptSnapshots(self.catalog, self.namespace)
        if to is None:
            kept.release(tag, [table_name])
        else:
            kept.move(table_name, tag, to)
        return {"table": table_name, "tag": tag, "from": at, "to": to}

    # --- what is told

    def _told(self, requests: Sequence[str], tags: list[dict[str, Any]]) -> dict[str, Any]:
        """Old -> new with hashes, read from the register: the same however often this is done."""
        told = list(self._renewals(set(requests)))
        gone = {digest for each in told for digest in each["old"]["files"].values()} - self._kept()
        objects = [{"object": self.registry.files.location(each), "sha256": each} for each in sorted(gone)]
        return {"models": told, "objects": objects, "tags": tags}

    def _renewals(self, requests: Collection[str]) -> Iterator[dict[str, Any]]:
        history = self._history()
        for row in history:
            if set(requests) & set(row.parameters.get(ERASURES, ())):
                old = _before(history, str(row.parameters[INSTEAD_OF]), row)
                yield {"old": _named(old), "new": _named(row), "why": "trained anew"}
        for role in self._decisions():
            told = role.evidence
            if role.role == WITHDRAWN and set(requests) & set(told.get(ERASURES, ())) and not told["successor"]:
                yield {"old": _named(_before(history, role.version, None)), "new": None, "why": told["why"]}

    # --- the register, where there is one

    def _people(self) -> list[tuple[Model, set[str]]]:
        try:
            return whom_models_knew(self.registry, self.key)
        except TableMismatchError:  # a lake from before there were models
            return []

    def _history(self) -> list[Model]:
        try:
            return self.registry.history()
        except TableMismatchError:
            return []

    def _decisions(self) -> list[Role]:
        try:
            return self.registry.roles()
        except TableMismatchError:
            return []


def _digests(model: Model) -> list[str]:
    return [*model.artefacts.values(), *([model.learnt_from] if model.learnt_from else [])]


def _before(history: Sequence[Model], version: str, successor: Model | None) -> Model:
    """The row of a version that counted before the successor's was written."""
    until = history.index(successor) if successor and successor.version == version else len(history)
    return [each for each in history[:until] if each.version == version][-1]


def _named(model: Model) -> dict[str, Any]:
    """A model's version, its files (the sealed list of people among them) and one hash over all."""
    files = {**model.artefacts, **({"people": model.learnt_from} if model.learnt_from else {})}
    text = "".join(f"{name} {digest}\n" for name, digest in sorted(files.items()))
    return {"version": model.version, "sha256": hashlib.sha256(text.encode()).hexdigest(), "files": files}
