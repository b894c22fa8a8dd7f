"""Requests that came by `patient.data.deletions`, taken into the list.

Holds: which rows are new, and what each becomes. Does not hold: the stream that wrote them, nor any step.

What a message says in its own words is not taken over: its name for the request, its reason, who it says asks. The
lists stay for good, a certificate is signed and a file is named after its request, and a sender may have written a
patient's number into any of them. The words are in `data_deletions`, which leaves with the person; here a request has a
name of the house's own, made of the sender's, the person's mark and the scope: so one that is sent again is known, and
one name given to two people, or to two things that one person asks for, is two requests.

The end of a category of use needs nobody's verification: who takes a consent back need not say why. Anybody who may
write to the topic can ask, so a message can end what rests on consent and nothing else; whatever asks for all of a
person waits for somebody to verify it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

from pyiceberg.catalog import Catalog

from warehouse.catalog import TableMismatchError, load_table
from warehouse.erasure.requests import Asked, Book, Request
from warehouse.erasure.scope import NOT_KNOWN, ScopeError, category_of
from warehouse.erasure.states import REFUSED, VERIFIED

DELETIONS = "data_deletions"
REASON, ASKED_BY = "asked by message", "message"
_FIELDS = ("request_id", "subject_token", "category", "requested_at", "kafka_time")


def take_in(catalog: Catalog, namespace: str, book: Book, who: str, clock: Callable[[], datetime]) -> list[Request]:
    """Take up what is not known yet; the new requests, in the states they are in now."""
    try:
        rows = load_table(catalog, namespace, DELETIONS).scan(selected_fields=_FIELDS).to_arrow().to_pylist()
    except TableMismatchError:
        return []
    known, taken = set(book.current()), []
    for row in sorted(rows, key=lambda row: (row["requested_at"], row["kafka_time"])):
        if not row["subject_token"]:
            continue
        name = book.own_name(row["request_id"], row["subject_token"], _scope(row["category"]))
        if name not in known:
            taken.append(_taken(row | {"request_id": name}, book, who, clock))
            known.add(name)
    book.enter(state for states in taken for state in states)
    return [states[-1] for states in taken]


def _scope(category: str | None) -> str | None:
    try:
        return category_of(category)
    except ScopeError:
        return NOT_KNOWN


def _taken(row: dict[str, Any], book: Book, who: str, clock: Callable[[], datetime]) -> list[Request]:
    """The states that a message's request goes through at once."""
    try:
        request = book.new(_asked(row, row["category"]), who, clock())
    except ScopeError as error:
        refused = replace(book.new(_asked(row, None), who, clock()), category=NOT_KNOWN)
        return [refused, refused.moved(REFUSED, clock(), who, reason=str(error))]
    return [request] if request.category is None else [request, request.moved(VERIFIED, clock(), who)]


def _asked(row: dict[str, Any], category: str | None) -> Asked:
    return Asked(row["request_id"], row["subject_token"], category, REASON, row["requested_at"], ASKED_BY)
