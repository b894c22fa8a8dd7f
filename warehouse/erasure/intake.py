"""Requests that came by `patient.data.deletions`, taken into the list.

Holds: which rows are new, and what each becomes. Does not hold: the stream that wrote them, nor any step.

The end of a category of use needs nobody's verification: who takes a consent back need not say why. Anybody who may
write to the topic can ask, so a message can end what rests on consent and nothing else; whatever asks for all of a
person waits for somebody to verify it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from pyiceberg.catalog import Catalog

from warehouse.catalog import TableMismatchError, load_table
from warehouse.erasure.requests import Asked, Book, Request
from warehouse.erasure.scope import NOT_KNOWN, ScopeError
from warehouse.erasure.states import REFUSED, VERIFIED

DELETIONS = "data_deletions"
_FIELDS = ("request_id", "subject_token", "category", "reason", "requested_at", "requested_by", "kafka_time")


def take_in(catalog: Catalog, namespace: str, book: Book, who: str, clock: Callable[[], datetime]) -> list[Request]:
    """Take up what is not known yet; the new requests, in the states they are in now."""
    try:
        rows = load_table(catalog, namespace, DELETIONS).scan(selected_fields=_FIELDS).to_arrow().to_pylist()
    except TableMismatchError:
        return []
    whose = {name: request.subject_mark for name, request in book.current().items()}
    taken = []
    for row in sorted(rows, key=lambda row: (row["requested_at"], row["kafka_time"])):
        if row["subject_token"] and (name := _own_name(row["request_id"], book.mark(row["subject_token"]), whose)):
            taken.append(_taken(row | {"request_id": name}, book, who, clock))
            whose[name] = taken[-1][0].subject_mark
    book.enter(state for states in taken for state in states)
    return [states[-1] for states in taken]


def _own_name(name: str, mark: str, whose: Mapping[str, str]) -> str:
    """What the request is called here; empty where it is known. The name is the sender's, and two senders may give one
    to two people: the second is called by the person's mark too, so that nobody's request is lost in another's."""
    if whose.get(name, mark) != mark:
        name = f"{name}.{mark[:12]}"
    return "" if name in whose else name


def _taken(row: dict[str, Any], book: Book, who: str, clock: Callable[[], datetime]) -> list[Request]:
    """The states that a message's request goes through at once."""
    try:
        request = book.new(_asked(row, row["category"]), who, clock())
    except ScopeError as error:
        refused = replace(book.new(_asked(row, None), who, clock()), category=NOT_KNOWN)
        return [refused, refused.moved(REFUSED, clock(), who, reason=str(error))]
    return [request] if request.category is None else [request, request.moved(VERIFIED, clock(), who)]


def _asked(row: dict[str, Any], category: str | None) -> Asked:
    reason = f"by message: {row['reason']}"
    return Asked(row["request_id"], row["subject_token"], category, reason, row["requested_at"], row["requested_by"])
