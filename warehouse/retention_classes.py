"""Retention classes: how long a stream's messages and a table's days are kept where, and why.

Holds: the classes as objects, and the reading of `retention_classes.yaml` beside the contracts and of a site's own.
Does not hold: which table is of which class (its contract says), nor what is done about it (warehouse/retention/).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml

from warehouse.contract_document import ContractError, Place

FILE = "retention_classes.yaml"
COUNTED_BY = ("table", "calendar")
NEVER = "never"
DAY_MS = 86_400_000

_FIELDS = {
    "kept",
    "because",
    "hot_days",
    "local_days",
    "cold_after_days",
    "gone_after_days",
    "counted_by",
    "undo_days",
}


@dataclass(frozen=True, slots=True)
class RetentionClass:
    """One class.

    Attributes:
        kept: for how long, in words. because: what that rests on.
        hot_days: what Kafka keeps; None where no stream feeds tables of this class.
        local_days: of these, what brokers keep themselves with tiered storage; None: tiered storage is not used.
        cold_after_days, gone_after_days: age at which a day moves to the cold store, and leaves; None: never.
        counted_by: `table`: by the newest day of the table itself, never beyond now. `calendar`: by now.
        undo_days: how long what left can be taken back.
    """

    name: str
    kept: str
    because: str
    hot_days: int | None
    local_days: int | None
    cold_after_days: int | None
    gone_after_days: int | None
    counted_by: str
    undo_days: int

    @property
    def hot_ms(self) -> int | None:
        """What Kafka keeps, in milliseconds."""
        return None if self.hot_days is None else self.hot_days * DAY_MS


def load_classes(house: Path, *others: Path) -> dict[str, RetentionClass]:
    """The classes of the house's folder by name, in their place those of the same name in files of other folders.

    Raises `ContractError` for the first that is wanting.
    """
    files = [house / FILE, *(folder / FILE for folder in others if (folder / FILE).exists())]
    return {each.name: each for file in files for each in _classes(file)}


def _classes(file: Path) -> list[RetentionClass]:
    try:
        document = yaml.load(file.read_text("utf-8"), Loader=yaml.CSafeLoader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as failure:
        raise ContractError(file.name, "file", f"must be readable YAML in UTF-8 ({type(failure).__name__})") from None
    if not isinstance(document, dict):
        raise ContractError(file.name, "file", "must be a mapping: class -> what it says")
    return [_class(str(name), Place(file.name, str(name), value)) for name, value in document.items()]


def _class(name: str, node: Place) -> RetentionClass:
    if not isinstance(node.value, dict) or not set(node.value) <= _FIELDS:
        raise node.refuse(f"is a mapping of {', '.join(sorted(_FIELDS))}")
    read = RetentionClass(
        name=name,
        kept=node.text("kept", "say in words for how long"),
        because=node.text("because", "say what law or rule the times rest on"),
        hot_days=_days(node, "hot_days") if "hot_days" in node.value else None,
        local_days=_days(node, "local_days") if "local_days" in node.value else None,
        cold_after_days=_age(node, "cold_after_days"),
        gone_after_days=_age(node, "gone_after_days"),
        counted_by=node.choice("counted_by", COUNTED_BY, "say what ages are counted by"),
        undo_days=node.whole("undo_days", "how many days it can be taken back", least=0),
    )
    _refuse_contradictions(node, read)
    return read


def _days(node: Place, field: str) -> int:
    return node.whole(field, "a number of days")


def _age(node: Place, field: str) -> int | None:
    remedy = f"write an age in days, or {NEVER}"
    return None if node.at(field, remedy).value == NEVER else node.whole(field, remedy)


def _refuse_contradictions(node: Place, read: RetentionClass) -> None:
    cold, gone = read.cold_after_days, read.gone_after_days
    if cold is not None and gone is not None and cold >= gone:
        raise node.refuse("must be less than gone_after_days, or never", "cold_after_days")
    if gone is not None and read.hot_days is not None and gone < read.hot_days:
        raise node.refuse("Kafka would keep longer what the table no longer has: take less hot_days", "gone_after_days")
    if read.local_days is not None and (read.hot_days is None or read.local_days >= read.hot_days):
        raise node.refuse("must be less than hot_days", "local_days")
