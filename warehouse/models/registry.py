"""The register of models: rows that are only added, and which model is in force when.

Holds: registering a model's files, decisions, and the roles that follow from them.
Does not hold: whether a model is promoted (the gate in `pipelines/clinical/sepsis/gate.py`), nor any scoring.

**A role holds from an append time on** which lies at least `LEAD` ahead when it is decided: each stream that polls
every `RELOAD` has then seen it twice before the first message it is for. So which model scored a message follows from
the rows and the message's append time, today and in a replay. Decisions are never changed: going back is another one.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa
from pyiceberg.catalog import Catalog
from pyiceberg.table import Table

from warehouse.catalog import load_table
from warehouse.commit import FencedTable
from warehouse.contract import Contracts
from warehouse.drafts import Fitting
from warehouse.models.artefacts import Artefacts, sha256
from warehouse.models.looks import Looks
from warehouse.settings import Settings
from warehouse.tables import arrow_schema

MODELS, ROLES = "models", "model_roles"
CHAMPION, SHADOW, CHALLENGER, REFUSED, RETIRED = "champion", "shadow", "challenger", "refused", "retired"
AGAINST = "against"
"""In the evidence of a promotion: the version that the model was judged against, empty for the built-in one."""
LEFT = "from"
"""In the evidence of going back: the version that is left."""
WITHDRAWN = "withdrawn"
"""The files are gone: the model had learned from somebody who was erased. Its place is taken by the `successor` that
the decision's evidence names, if any."""
RELOAD = timedelta(seconds=15)
LEAD = 2 * RELOAD
LEAST_REASON = 8


class RegistryError(ValueError):
    """What was asked of the register cannot be done. The message says what to do."""


class ChampionChangedError(RegistryError):
    """A model was judged against one, or was to be left for another, that is not the champion any more."""


@dataclass(frozen=True, slots=True)
class Model:
    """A registered model; fields are the contract's columns, JSON opened."""

    version: str
    name: str
    artefacts: Mapping[str, str]
    learnt_from: str
    learnt_stays: int
    source: str
    snapshots: Mapping[str, int]
    code: str
    parameters: Mapping[str, Any]
    metrics: Mapping[str, Any]
    registered_at: datetime
    registered_by: str


@dataclass(frozen=True, slots=True)
class Role:
    """A decision; fields are the contract's columns. Times aware."""

    act: str
    name: str
    version: str
    role: str
    in_force_at: datetime
    reason: str
    evidence: Mapping[str, Any]
    approved_by: str
    decided_at: datetime


def in_force(roles: Iterable[Role], name: str, role: str, at: datetime) -> Role | None:
    """The decision by which a model has this role for messages appended at `at`; None where none has.

    Of several the one that holds from the latest time, of two such the later decision. A model that was given another
    role since has this one no more.
    """
    roles = list(roles)
    begun = sorted((r for r in roles if r.name == name and r.in_force_at <= at and r.role != REFUSED), key=_order)
    if role == CHAMPION:
        line = [each for each in line_of(roles, name) if each[0].in_force_at <= at]
        return line[-1][0] if line and line[-1][1] else None
    last = {each.version: each for each in begun}
    held = [each for each in last.values() if each.role == role]
    return max(held, key=_order) if held else None


def line_of(roles: Iterable[Role], name: str) -> list[tuple[Role, str]]:
    """Every change of the champion in the order in which they hold, with the version that scores from then on; empty
    where that is the built-in model again, the champion having retired. In the place of a model that was withdrawn
    stands its successor, from the beginning: there is no other that could score what is read again."""
    line: list[tuple[Role, str]] = []
    own = sorted((each for each in roles if each.name == name), key=_order)
    instead = successors(own)
    for role in own:
        version = instead.get(role.version, role.version)
        if role.role == CHAMPION:
            line.append((replace(role, version=version), version))
        elif role.role == RETIRED and line and line[-1][1] == version:
            line.append((role, ""))
    return line


def reigns(roles: Iterable[Role], name: str) -> list[Role]:
    """The champions that going back leads through, the newest last, those to come among them: a promotion adds one, a
    rollback takes the last away, retirement takes all."""
    stack: list[Role] = []
    for role, version in line_of(roles, name):
        goes_back = LEFT in role.evidence
        while stack and (not version or (goes_back and stack[-1].version != version)):
            stack.pop()
        if version and (not stack or stack[-1].version != version):
            stack.append(role)
    return stack


def successors(roles: Iterable[Role]) -> dict[str, str]:
    """Withdrawn version -> the one that stands in its place now; empty where none does."""
    gone = {each.version: str(each.evidence.get("successor") or "") for each in roles if each.role == WITHDRAWN}
    return {version: _last(version, gone) for version in gone}


def _last(version: str, gone: Mapping[str, str]) -> str:
    seen: set[str] = set()
    while version in gone and version not in seen:
        seen.add(version)
        version = gone[version]
    return version


def _heir(roles: Iterable[Role], name: str) -> str:
    line = line_of(roles, name)
    return line[-1][1] if line else ""


def _require_sound(role: Role, decided: list[Role]) -> None:
    """Raises as `Registry.decide` where a decision does not follow from those that were made."""
    if role.role != WITHDRAWN and role.version in successors(decided):
        raise RegistryError(f"{role.version} was withdrawn: it had learned from somebody who was erased")
    heir = _heir(decided, role.name)
    if role.role == CHAMPION and role.evidence.get(AGAINST, heir) != heir:
        raise ChampionChangedError(f"{role.version} was judged against one that reigns no more; judge anew")
    if role.role in (CHAMPION, RETIRED) and role.evidence.get(LEFT, heir) != heir:
        raise ChampionChangedError(
            f"{role.evidence[LEFT]} was to be left and reigns no more; `wardstream models list` shows who does"
        )


def _order(role: Role) -> tuple[datetime, datetime, str]:
    return role.in_force_at, role.decided_at, role.act


_JSON = ("artefacts", "snapshots", "parameters", "metrics", "evidence")


class Registry:
    """The register of one lake, its files, and what its models' stays looked like. Anybody reads, and anybody decides:
    of several at a time each one's decision follows from those that stand before it."""

    def __init__(self, settings: Settings, contracts: Contracts, catalog: Catalog, writer: str) -> None:
        self._catalog, self._namespace, self._contracts = catalog, settings.namespace, contracts
        self._writer = writer
        self.files = Artefacts(settings, catalog)
        self.looks = Looks(catalog, settings.namespace, contracts, writer)
        self._seen: dict[str, tuple[int | None, list[dict[str, Any]]]] = {}

    def models(self) -> dict[str, Model]:
        """By version, oldest first. Raises `TableMismatchError` where the table is missing."""
        return {model.version: model for model in self.history()}

    def history(self) -> list[Model]:
        """Every row, oldest first; of a version with several the last one counts."""
        rows = sorted(self._rows(MODELS), key=lambda row: row["registered_at"])
        return [Model(**_opened(row)) for row in rows]

    def roles(self) -> list[Role]:
        """Every decision, in the order in which they were made."""
        found = {row["act"]: Role(**_opened(row)) for row in self._rows(ROLES)}
        return sorted(found.values(), key=lambda role: (role.decided_at, role.act))

    def model(self, version: str) -> Model:
        """The one of this version, or whose version begins so. Raises `RegistryError`."""
        found = [each for name, each in self.models().items() if version and name.startswith(version)]
        if len(found) != 1:
            problem = "several models are" if found else "no model is"
            raise RegistryError(f"{problem} registered as {version}; `wardstream models list` shows them")
        return found[0]

    def register(
        self, model: Model, files: Mapping[str, bytes], people: bytes = b"", learnt_anew: bool = False
    ) -> bool:
        """Put a model's files into the store, then its row, unless it is there. Whether it was new.

        `model.artefacts` and the files must agree, and `model.learnt_from` and `people`, the sealed list of whom it
        learned from: it comes last, since no erasure finds a list that no row names. To be repeated at will.
        `learnt_anew`: one of this very version may be there that learned from others. Raises OSError,
        `StoreUnavailableError`.
        """
        put = {name: self.files.put(content) for name, content in files.items()}
        if put != dict(model.artefacts) or (people and sha256(people) != model.learnt_from):
            raise RegistryError("the files are not those that the model's row names")
        known = self.models().get(model.version)
        if known and not (learnt_anew and known.learnt_from != model.learnt_from):
            return False
        if people:
            self.files.put(people)
        self._append(MODELS, _closed(asdict(model)))
        return True

    def decide(self, role: Role, now: datetime) -> Role:
        """Write a decision, unless one of this name is there; which it is. Raises `RegistryError` for one of a model
        that is not registered, without a reason, or that would hold too early for every stream to know of it;
        `ChampionChangedError` for a champion that was judged against another than the one whose place it takes, and
        for going back from one that does not reign."""
        if len(role.reason.strip()) < LEAST_REASON:
            raise RegistryError(f"a decision needs a reason of {LEAST_REASON} letters or more; it names no patient")
        self.model(role.version)
        if role.role in (CHAMPION, RETIRED) and role.in_force_at < now + LEAD:
            ahead = int(LEAD.total_seconds())
            raise RegistryError(f"it must hold from {ahead} s ahead at least, so that every stream knows of it by then")
        while not self._decided(role):
            continue  # somebody else decided meanwhile: what was found sound may be so no more
        return role

    def _decided(self, role: Role) -> bool:
        """Whether a decision is among the others now: it is written behind those only by which it was found sound.
        Raises as `decide`."""
        decided, seen = self.roles(), self._seen[ROLES][0]
        if any(each.act == role.act for each in decided):
            return True
        _require_sound(role, decided)
        return self._append(ROLES, _closed(asdict(role)), fits=lambda table: _state(table) == seen)

    def give(
        self, name: str, version: str, role: str, reason: str, evidence: Mapping[str, Any], by: str, now: datetime
    ) -> Role:
        """Decide what holds as soon as every stream knows of it. `now`: the moment of this call, not that at which the
        work before it began. Raises as `decide`."""
        act = f"{now:%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"
        # One poll more than the least: the row is seen only once it is written.
        return self.decide(Role(act, name, version, role, now + LEAD + RELOAD, reason, evidence, by, now), now)

    def champion(self, name: str, at: datetime) -> Role | None:
        """By which decision a registered model is the champion at an append time; None: the built-in one is."""
        return in_force(self.roles(), name, CHAMPION, at)

    def heir(self, name: str) -> str:
        """The version that scores once every decision holds; empty: the built-in one. Whoever is promoted takes its
        place, be it not the champion yet."""
        return _heir(self.roles(), name)

    def load(self, version: str) -> dict[str, bytes]:
        """A model's files, checked. Raises `ArtefactError`, `RegistryError`, OSError."""
        return self.files.get_all(self.model(version).artefacts)

    def _rows(self, table: str) -> list[dict[str, Any]]:
        loaded = load_table(self._catalog, self._namespace, table)
        number = _state(loaded)
        if table not in self._seen or self._seen[table][0] != number:
            self._seen[table] = (number, loaded.scan().to_arrow().to_pylist() if number is not None else [])
        return self._seen[table][1]

    def _append(self, table: str, row: Mapping[str, Any], fits: Fitting | None = None) -> bool:
        """Whether the row was written: it is not where it does not fit the table any more."""
        fenced = FencedTable(self._catalog, (self._namespace, table), writer=self._writer)
        schema = arrow_schema(self._contracts.table(table))
        rows = pa.Table.from_pylist([dict(row)], schema=schema)
        return fenced.append_derived(rows, {}, fits=fits).snapshot_id is not None


def _state(table: Table) -> int | None:
    """The snapshot a table is at; None for one that nothing was written to."""
    snapshot = table.current_snapshot()
    return snapshot.snapshot_id if snapshot else None


def _opened(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: json.loads(value) if name in _JSON else value for name, value in row.items()}


def _closed(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: json.dumps(value, sort_keys=True) if name in _JSON else value for name, value in row.items()}
