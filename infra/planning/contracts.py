"""The contracts beside what really exists: topics on the broker, tables in the catalog. Plan, then apply.

Holds: the plan as one object, its text and JSON, and its execution.
Does not hold: what a single topic or table may become (topics.py, warehouse/evolution.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from itertools import groupby
from typing import Any, TypeVar

from infra.planning.topics import BrokerUnreachableError, ObservedTopic, TopicChange, Topics, plan_groups, plan_topic
from warehouse.catalog import KEY_SYSTEM_PROPERTY, TableMismatchError, create_table, namespace_properties, table_lock
from warehouse.contract import Contracts, TopicContract, load_contracts
from warehouse.evolution import Change, EvolutionError, ObservedTable, Refusal, evolve, observe_table, plan_table
from warehouse.opened_lake import LakeUnreachableError, opened_lake
from warehouse.settings import Settings

T = TypeVar("T")


class PlanningError(Exception):
    """What is declared was not made real. The message says why and what to do."""


class RefusedError(PlanningError):
    """A plan holds a refusal; nothing of it was done."""


class UnreachableError(PlanningError):
    """A part did not answer. The message names it with its address. The same call may be made again."""


@dataclass(frozen=True, slots=True)
class Observed:
    """What there is: topics by their full name, tables by name; what is missing is absent or None.

    `pinned`: properties of the namespace, among them the identifier systems that streams were read under.
    """

    topics: dict[str, ObservedTopic]
    tables: dict[str, ObservedTable | None]
    pinned: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ContractsPlan:
    """What apply would do, and what it refuses to do. Nothing of a plan with a refusal is applied."""

    topics: tuple[TopicChange, ...]
    tables: tuple[Change, ...]
    refusals: tuple[Refusal, ...]

    @property
    def empty(self) -> bool:
        return not (self.topics or self.tables or self.refusals)

    def as_json(self) -> dict[str, Any]:
        """For `--json`: three lists of plain objects."""
        return asdict(self)

    def as_text(self) -> str:
        """A line a change, `+` for new, `~` for changed, `!` for refused."""
        return "\n".join(_lines(self)) or "real is as declared"


@dataclass(frozen=True, slots=True)
class ContractsReceipt:
    """What apply did; empty the second time."""

    done: tuple[str, ...]


def observe(settings: Settings, contracts: Contracts) -> Observed:
    """Ask broker and catalog. Raises `BrokerUnreachableError`, `LakeUnreachableError`."""
    topics = Topics(settings).observe(settings.topic(topic.stream) for topic in contracts.topics())
    with opened_lake(settings) as catalog:
        tables = {table.name: observe_table(catalog, settings.namespace, table.name) for table in contracts.tables()}
        pinned = namespace_properties(catalog, settings.namespace)
    return Observed(topics, tables, pinned)


def plan_contracts(settings: Settings, contracts: Contracts, observed: Observed) -> ContractsPlan:
    """What leads from the observed to the declared. Pure."""
    topics, tables = [], []
    refusals = [*plan_groups(contracts.topics()), *_other_identifiers(contracts, observed.pinned)]
    for name, topic in _declared(settings, contracts).items():
        topic_changes, refused = plan_topic(name, topic, observed.topics.get(name))
        topics += topic_changes
        refusals += refused
    for table in contracts.tables():
        table_changes, refused = plan_table(table, observed.tables.get(table.name))
        tables += table_changes
        refusals += refused
    return ContractsPlan(tuple(topics), tuple(tables), tuple(refusals))


def _other_identifiers(contracts: Contracts, pinned: Mapping[str, str]) -> Iterator[Refusal]:
    """Streams whose patients would get a second token: their tables were written under another identifier system."""
    for topic in contracts.topics():
        system = pinned.get(f"{KEY_SYSTEM_PROPERTY}.{topic.stream}", topic.key_system)
        if system != topic.key_system:
            yield Refusal(
                topic.stream,
                f"its key names patients by {topic.key_system}, its tables were written under {system}",
                "put the identifier system back, or give the stream another name",
            )


def plan(settings: Settings, contracts: Contracts | None = None) -> ContractsPlan:
    """Observe and plan. Raises `UnreachableError`."""
    contracts = contracts or load_contracts(own=settings.contracts)
    try:
        return plan_contracts(settings, contracts, observe(settings, contracts))
    except (BrokerUnreachableError, LakeUnreachableError) as failure:
        raise UnreachableError(str(failure)) from None


def apply(
    settings: Settings, contracts: Contracts | None = None, progress: Callable[[str], None] = lambda line: None
) -> ContractsReceipt:
    """Make real what is declared, a line of progress a change. May be run again, and by two processes at once.

    Raises `RefusedError` (nothing is changed then), `UnreachableError`, and `PlanningError` if what stands afterwards
    still is not what is declared.
    """
    contracts = contracts or load_contracts(own=settings.contracts)
    wanted = plan(settings, contracts)
    if wanted.refusals:
        raise RefusedError("\n".join(_refused(refusal) for refusal in wanted.refusals))
    if wanted.empty:
        return ContractsReceipt(())
    try:
        _apply_topics(settings, contracts, wanted.topics, progress)
        _apply_tables(settings, contracts, wanted.tables, progress)
    except (BrokerUnreachableError, LakeUnreachableError) as failure:
        raise UnreachableError(str(failure)) from None
    except (TableMismatchError, EvolutionError) as failure:
        raise PlanningError(str(failure)) from None
    left = plan(settings, contracts)
    if not left.empty:
        raise PlanningError(f"after applying there is still to do:\n{left.as_text()}")
    return ContractsReceipt(tuple(_lines(wanted)))


def _declared(settings: Settings, contracts: Contracts) -> dict[str, TopicContract]:
    """Full name -> the topic, with tiered storage where the site has it."""
    return {settings.topic(topic.stream): replace(topic, tiered=settings.kafka_tiered) for topic in contracts.topics()}


def _apply_topics(
    settings: Settings, contracts: Contracts, changes: tuple[TopicChange, ...], progress: Callable[[str], None]
) -> None:
    declared = _declared(settings, contracts)
    topics = Topics(settings)
    if new := {change.topic: declared[change.topic] for change in changes if change.kind == "create"}:
        topics.create(new)
    for name, group in _by(changes, lambda change: change.topic):
        if name not in new:
            topics.configure(name, {change.key: change.after for change in group})
        for change in group:
            progress(_topic_line(change))


def _apply_tables(
    settings: Settings, contracts: Contracts, changes: tuple[Change, ...], progress: Callable[[str], None]
) -> None:
    with opened_lake(settings) as catalog:
        for name, group in _by(changes, lambda change: change.table):
            if group[0].kind == "create":
                create_table(catalog, settings.namespace, contracts.table(name), table_lock(settings))
            else:
                evolve(catalog, settings.namespace, contracts.table(name))
            for change in group:
                progress(_table_line(change))


def _by(changes: Iterable[T], name: Callable[[T], str]) -> Iterator[tuple[str, list[T]]]:
    """Changes by what they change; a plan has those of one thing side by side."""
    return ((key, list(group)) for key, group in groupby(changes, name))


def _lines(plan: ContractsPlan) -> Iterator[str]:
    for change in plan.topics:
        yield _topic_line(change)
    for change in plan.tables:
        yield _table_line(change)
    for refusal in plan.refusals:
        yield "! " + _refused(refusal)


def _topic_line(change: TopicChange) -> str:
    if change.kind == "create":
        return f"+ topic {change.topic}: {change.after}"
    return f"~ topic {change.topic}: {change.key} {change.before} -> {change.after}"


def _table_line(change: Change) -> str:
    if change.kind == "create":
        return f"+ table {change.table}: {change.after}"
    if change.kind == "add_column":
        return f"+ column {change.table}.{change.name}: {change.after}"
    return f"~ table {change.table}: {change.name} {change.before} -> {change.after}"


def _refused(refusal: Refusal) -> str:
    return f"{refusal.subject}: {refusal.reason}; {refusal.remedy}"
