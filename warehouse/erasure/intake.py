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
from warehouse.erasure.scope import NOT_KNOWN, ScopeError, category_of
from warehouse.erasure.states import REFUSED, VERIFIED

DELETIONS = "data_deletions"
_FIELDS = ("request_id", "subject_token", "category", "reason", "requested_at", "requested_by", "kafka_time")


def take_in(catalog: Catalog, namespace: str, book: Book, who: str, clock: Callable[[], datetime]) -> list[Request]:
    """Take up what is not known yet; the new requests, in the states they are in now."""
    try:
        rows = load_table(catalog, namespace, DELETIONS).scan(selected_fields=_FIELDS).to_arrow().to_pylist()
    except TableMismatchError:
        return []
    known = {name: (request.subject_mark, request.category) for name, request in book.current().items()}
    taken = []
    for row in sorted(rows, key=lambda row: (row["requested_at"], row["kafka_time"])):
        if not row["subject_token"]:
            continue
        asked = book.mark(row["subject_token"]), _scope(row["category"])
        if name := _own_name(row["request_id"], *asked, known):
            taken.append(_taken(row | {"request_id": name}, book, who, clock))
            known[name] = asked
    book.enter(state for states in taken for state in states)
    return [states[-1] for states in taken]


def _scope(category: str | None) -> str | None:
    try:
        return category_of(category)
    except ScopeError:
        return NOT_KNOWN


def _own_name(name: str, mark: str, scope: str | None, known: Mapping[str, tuple[str, str | None]]) -> str:
    """What the request is called here; empty where it is known. The name is the sender's, who may give one to two
    people, or to two things that one person asks for: then the person's mark and the scope are added, so that no
    request is lost in another."""
    marked = f"{name}.{mark[:12]}"
    for called in (name, marked, f"{marked}.{(scope or 'all').replace(' ', '-')}"):
        if known.get(called, (mark, scope)) == (mark, scope):
            return "" if called in known else called
    return ""


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
