"""Which tables and topics hold people, as contracts and catalog say.

Holds: the reading of contracts, and of tables that have none. Pure but for the list it is given.
Does not hold: what is done with a place (stores.py, tables.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from warehouse.contract import Contracts, StreamContract, TableContract
from warehouse.erasure.scope import category_of
from warehouse.erasure.stores import Place

TOKEN = "token"
KEPT_LISTS = ("erasure_requests", "erasure_receipts", "exports")
"""Tables of erasure itself, and of files that left: people stand there as an HMAC, or sealed under a key that is
destroyed."""
SUSPECT = ("subject_token", "patient_id", "patientid", "mrn", "person_id", "subject_id", "patient", "sealed_payload")
"""Columns by which a table without a contract is taken for one about people."""


def token_column(table: TableContract) -> str | None:
    """The column that says whose a row is; None where none does."""
    return next((column.name for column in table.columns if column.protection == TOKEN), None)


def about_people(table: TableContract, contracts: Contracts) -> str:
    """Why a table holds people; empty where it does not."""
    if table.name in KEPT_LISTS:
        return ""
    if token := token_column(table):
        return f"column {token}"
    if sealed := [column.name for column in table.columns if column.protection == "sealed"]:
        return f"sealed column {sealed[0]}"
    named = [column.name for column in table.columns if column.classification in ("identifying", "pseudonymous")]
    if named:
        return f"column {named[0]} is {table.column(named[0]).classification}"
    return "its contract names a subject" if contracts.stream(table.stream).subject else ""


def places(
    contracts: Contracts,
    standing_tables: Mapping[str, Iterable[str]],
    standing_topics: Iterable[str],
    others: Iterable[Place] = (),
) -> list[Place]:
    """Every table and topic, declared or merely there, and the other places that are known.

    `standing_tables`: table -> its columns, as the catalog has them. `standing_topics`: streams the broker has.
    """
    found = [Place(f"table:{table.name}", about_people(table, contracts)) for table in contracts.tables()]
    known = {table.name for table in contracts.tables()}
    for name, columns in standing_tables.items():
        if name not in known:
            suspect = [column for column in columns if column.lower() in SUSPECT]
            found.append(Place(f"table:{name}", f"column {suspect[0]}, and no contract" if suspect else ""))
    topics = {topic.stream: topic for topic in contracts.topics()}
    found += [
        Place(f"topic:{name}", f"keys of {topic.key_system}" if topic.key_system else "")
        for name, topic in topics.items()
    ]
    found += [
        Place(f"topic:{name}", "no contract says what is in it") for name in standing_topics if name not in topics
    ]
    return [*found, *others]


def tables_for(contracts: Contracts, category: str | None) -> list[TableContract]:
    """The tables that a request concerns: all with a token, or those kept for that category of use alone, or for it and
    others that rest on consent too (whose rows of a person go with the last of them: still_serving.py). Raises
    `ScopeError` for a category that no consent governs."""
    category = category_of(category)
    return [
        table
        for table in contracts.tables()
        if token_column(table) and (category is None or _rests_on(contracts.stream(table.stream), category))
    ]


def _rests_on(stream: StreamContract, category: str) -> bool:
    return stream.purposes == (category,) or category in stream.consented
