"""A place in a contract file that knows its file and its name, so that every refusal can say where and how to mend.

Holds: reading of single fields with their checks, and the error.
Does not hold: what a contract must say (contract.py).
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from typing import Any


class ContractError(ValueError):
    """A contract cannot be used. The message names the file, the field and what to write there."""

    def __init__(self, file: str, field: str, remedy: str) -> None:
        super().__init__(f"{file}: {field}: {remedy}")
        self.file, self.field, self.remedy = file, field, remedy


@dataclass(frozen=True, slots=True)
class Place:
    """A place in a contract that knows its file and its name, so that every refusal can say where."""

    file: str
    place: str
    value: Any

    def refuse(self, remedy: str, field: str = "") -> ContractError:
        return ContractError(self.file, ".".join(filter(None, (self.place, field))) or "file", remedy)

    def at(self, field: str, remedy: str) -> Place:
        value = self.value.get(field) if isinstance(self.value, dict) else None
        if value in (None, "", [], {}):
            raise self.refuse(remedy, field)
        return Place(self.file, f"{self.place}.{field}" if self.place else field, value)

    def get(self, field: str, default: Any = None) -> Any:
        value = self.value.get(field) if isinstance(self.value, dict) else None
        return default if value is None else value

    def text(self, field: str, remedy: str) -> str:
        node = self.at(field, remedy)
        if not isinstance(node.value, str):
            raise node.refuse(f"must be text: {remedy}")
        return node.value.strip()

    def choice(self, field: str, allowed: tuple[str, ...], remedy: str) -> str:
        node = self.at(field, f"{remedy}: one of {', '.join(allowed)}")
        if node.value not in allowed:
            raise node.refuse(f"{remedy}: one of {', '.join(allowed)}")
        return node.value

    def whole(self, field: str, remedy: str, least: int = 1) -> int:
        node = self.at(field, remedy)
        if not isinstance(node.value, int) or isinstance(node.value, bool) or node.value < least:
            raise node.refuse(f"must be a whole number of at least {least}: {remedy}")
        return node.value

    def items(self, field: str, remedy: str) -> list[Place]:
        node = self.at(field, remedy)
        if not isinstance(node.value, list):
            raise node.refuse(f"must be a list: {remedy}")
        return [Place(self.file, f"{node.place}[{_label(item, i)}]", item) for i, item in enumerate(node.value)]

    def custom(self, known: Set[str]) -> Place:
        """The customProperties as one mapping, name -> the whole entry. Refuses names that are not known."""
        entries = {str(e.get("property")): e for e in self.get("customProperties", []) if isinstance(e, dict)}
        unknown = sorted(set(entries) - known)
        if unknown:
            raise self.refuse(f"knows only {', '.join(sorted(known))}", f"customProperties[{unknown[0]}]")
        return Place(self.file, f"{self.place}.customProperties" if self.place else "customProperties", entries)


def _label(item: Any, index: int) -> str:
    names = ("name", "property", "role", "username", "server", "channel")
    found = next((item[name] for name in names if isinstance(item, dict) and item.get(name)), index)
    return str(found)
