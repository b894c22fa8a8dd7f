"""What the processes of a verification do to a catalog.

Holds: the jobs, each a function of a `Post`, a `Subject` and its orders; the commit with a single attempt, made with
the committer's own parts. Entry points of processes: they read the clock.
Does not hold: any judgement of what they see.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.synchronize import Barrier
from threading import BrokenBarrierError
from typing import Protocol
from urllib.parse import urlsplit

import pyarrow as pa
from botocore.exceptions import BotoCoreError, ClientError
from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import CommitFailedException, RESTError, TableAlreadyExistsError
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot
from pyiceberg.table.update import AssertTableUUID, TableRequirement
from pyiceberg.types import LongType, NestedField, StringType
from requests import RequestException
from sqlalchemy.exc import SQLAlchemyError

from warehouse.object_store import SinglePutFileIO, StoreUnavailableError
from warehouse.snapshots import Draft, Head, Prepared, prepare, swap_request
from warehouse.staging import stage
from warehouse.verification.crew import Post, named
from warehouse.verification.plan import Subject
from warehouse.verification.reports import (
    Answered,
    Commit,
    Contents,
    Created,
    Demanded,
    Left,
    Loaded,
    Ready,
    Sending,
    Standing,
    Unreachable,
    Unreadable,
    Unsent,
)
from warehouse.verification.store_jobs import delete_below, open_store

TOKEN, COUNTER = "wardstream.verify-token", "wardstream.verify-counter"
"""In each snapshot's summary: whose commit it is, and the how-manieth of the table's line."""

SCHEMA = Schema(NestedField(1, "token", StringType(), required=True))
ANOTHER_SCHEMA = Schema(NestedField(1, "other", LongType(), required=False))
PROPERTIES = {"commit.retry.num-retries": "0", "format-version": "2"}
EVERY_SNAPSHOT = 1 << 30
MEETING_SECONDS = 30.0
WATCH_SECONDS = 0.1
AGAIN_SECONDS = 0.2
GO_SECONDS = 120.0

CATALOG_ERRORS = (SQLAlchemyError, RESTError, RequestException, StoreUnavailableError)
STORE_ERRORS = (OSError, BotoCoreError, ClientError)


class Tells(Protocol):
    """Whoever takes reports."""

    def tell(self, report: object) -> None: ...


@dataclass(frozen=True, slots=True)
class _Request:
    """A commit ready to be sent, once."""

    token: str
    counter: int
    head: Head
    prepared: Prepared


class _Deaf:
    """Tells everything but answers."""

    def __init__(self, post: Tells) -> None:
        self._post = post

    def tell(self, report: object) -> None:
        if not isinstance(report, Answered):
            self._post.tell(report)


def make_tables(post: Post, subject: Subject, tables: Sequence[str]) -> None:
    """Make the namespace and its tables, and write one object: whether catalog and store answer at all."""
    try:
        catalog = _opened(subject)
        catalog.create_namespace(subject.namespace)
        for table in tables:
            catalog.create_table(subject.identifier(table), SCHEMA, properties=PROPERTIES)
        made = catalog.load_table(subject.identifier(tables[0]))
    except (*CATALOG_ERRORS, *STORE_ERRORS) as error:
        # An SQL catalog writes a new table's metadata itself, so the store may be the one that failed.
        part = "store" if isinstance(error, STORE_ERRORS) and not isinstance(error, RequestException) else "catalog"
        post.tell(Unreachable(part, type(error.__cause__ or error).__name__))
        return
    try:
        stage(made, _row("trial"), _store_of(made))
    except STORE_ERRORS as error:
        post.tell(Unreachable("store", type(error).__name__))


def race(
    post: Post, subject: Subject, table: str, writer: int, target: int, meetings: int, barrier: Barrier, seconds: float
) -> None:
    """Commit as fast as it goes until the table's line counts `target`, with one attempt a commit and no retry.

    In the first `meetings` rounds all writers load the same head and send at the same moment.
    """
    catalog, until = _opened(subject), time.monotonic() + seconds
    counter = attempt = 0
    try:
        while time.monotonic() < until and (attempt < meetings or counter < target) and attempt < meetings + 3 * target:
            together = barrier if attempt < meetings else None
            counter = _race_once(post, catalog, subject.identifier(table), f"{writer}-{attempt}", together)
            attempt += 1
    finally:
        barrier.abort()


def watch(post: Post, subject: Subject, table: str, seconds: float) -> None:
    """Load the table and read all its rows, again and again until let go."""
    catalog, until = _opened(subject), time.monotonic() + seconds
    while time.monotonic() < until and not post.let_go(WATCH_SECONDS):
        try:
            loaded = catalog.load_table(subject.identifier(table))
            post.tell(Loaded(_counter(loaded), len(_tokens(loaded))))
        except Exception as error:
            post.tell(Unreadable(type(error).__name__))


def read(post: Post, subject: Subject, table: str) -> None:
    """The table as it stands, history and rows."""
    post.tell(_contents(_opened(subject).load_table(subject.identifier(table))))


def demand_the_impossible(post: Post, subject: Subject, table: str) -> None:
    """Send commits whose requirements cannot hold: made on no snapshot, on an older head, for another table."""
    catalog, identifier = _opened(subject), subject.identifier(table)
    empty = catalog.load_table(identifier)
    _commit(post, catalog, catalog.load_table(identifier), "first")
    older = catalog.load_table(identifier)
    _commit(post, catalog, catalog.load_table(identifier), "second")
    another = [AssertTableUUID(uuid=uuid.uuid4())]
    _demand(post, catalog, "no snapshot yet", empty, "on-none")
    _demand(post, catalog, "an older head", older, "on-older")
    _demand(post, catalog, "another table's uuid", catalog.load_table(identifier), "on-another", another)


def commit_when_let_go(post: Post, subject: Subject, table: str, token: str, deaf: bool) -> None:
    """One commit, begun when it is let go; whoever waits may kill this process at any moment of it. A deaf one never
    learns how it was answered."""
    catalog = _opened(subject)
    post.tell(Ready())
    if post.let_go(GO_SECONDS):
        told = _Deaf(post) if deaf else post
        _commit(told, catalog, catalog.load_table(subject.identifier(table)), token)


def create(post: Post, subject: Subject, tables: Sequence[str], barrier: Barrier) -> None:
    """Create each table at the same moment as the others who race for its name."""
    catalog = _opened(subject)
    for table in tables:
        _meet(barrier)
        post.tell(_created(catalog, subject, table, SCHEMA))


def look_up(post: Post, subject: Subject, tables: Sequence[str]) -> None:
    """Which table each name means."""
    catalog = _opened(subject)
    for table in tables:
        post.tell(_standing(catalog, subject, table))


def create_again(post: Post, subject: Subject, table: str) -> None:
    """Give a table a row, create its name again with another schema, and look which table stands then."""
    catalog = _opened(subject)
    _commit(post, catalog, catalog.load_table(subject.identifier(table)), "kept")
    post.tell(_standing(catalog, subject, table))
    post.tell(_created(catalog, subject, table, ANOTHER_SCHEMA))
    post.tell(_standing(catalog, subject, table))


def clean_up(post: Post, subject: Subject) -> None:
    """Drop the tables of the subject's own namespace and the namespace, and delete what lies below their locations."""
    catalog = _opened(subject)
    for identifier in catalog.list_tables(subject.namespace):
        with _told_if_left(post, f"table {'.'.join(identifier)}"):
            table = catalog.load_table(identifier)
            catalog.drop_table(identifier)
            _delete_below(table, subject)
    with _told_if_left(post, f"namespace {subject.namespace}"):
        catalog.drop_namespace(subject.namespace)


def _opened(subject: Subject) -> Catalog:
    return named(subject.open_catalog)(subject.settings)


def _race_once(post: Post, catalog: Catalog, identifier: tuple[str, str], token: str, together: Barrier | None) -> int:
    """One attempt; the counter of the head it was made on."""
    _meet(together)
    request = None
    try:
        table = catalog.load_table(identifier)
        post.tell(Loaded(_counter(table)))
        request = _prepared(table, token)
    except Exception as error:
        post.tell(Unsent(type(error).__name__))
    # Whoever has nothing to send comes to the meeting all the same: the others wait there.
    _meet(together)
    if request is None:
        time.sleep(AGAIN_SECONDS)
        return 0
    _send(post, catalog, request)
    return request.counter - 1


def _meet(barrier: Barrier | None) -> None:
    if barrier is not None:
        with suppress(BrokenBarrierError):
            barrier.wait(MEETING_SECONDS)


def _commit(post: Tells, catalog: Catalog, table: Table, token: str) -> Answered:
    return _send(post, catalog, _prepared(table, token))


def _prepared(table: Table, token: str) -> _Request:
    """One row in one file, its manifest and manifest list in the store; nothing is asked of the catalog yet."""
    snapshot = table.current_snapshot()
    head = Head(table, tuple(snapshot.manifests(table.io)) if snapshot else ())
    counter = _counter(table) + 1
    files = stage(table, _row(token), _store_of(table)).files
    draft = Draft({TOKEN: token, COUNTER: str(counter)}, files)
    return _Request(token, counter, head, prepare(head, draft, _store_of(table), time.time_ns() // 1_000_000))


def _send(post: Tells, catalog: Catalog, request: _Request, requirements: Sequence[TableRequirement] = ()) -> Answered:
    """Ask for the swap once, with its own requirements or those given instead."""
    own, updates = swap_request(catalog, request.head.metadata, request.prepared, EVERY_SNAPSHOT)
    post.tell(Sending(request.token, request.prepared.snapshot.parent_snapshot_id, request.counter))
    try:
        catalog.commit_table(request.head.table, tuple(requirements) or own, updates)
        answer = Answered(request.token, "acknowledged")
    except CommitFailedException:
        answer = Answered(request.token, "refused")
    except Exception as error:
        answer = Answered(request.token, "unknown", type(error).__name__)
    post.tell(answer)
    return answer


def _demand(
    post: Post,
    catalog: Catalog,
    requirement: str,
    seen: Table,
    token: str,
    requirements: Sequence[TableRequirement] = (),
) -> None:
    before = catalog.load_table(seen.name()).metadata.current_snapshot_id
    answer = _send(post, catalog, _prepared(seen, token), requirements)
    after = catalog.load_table(seen.name()).metadata.current_snapshot_id
    post.tell(Demanded(requirement, answer, before != after))


def _created(catalog: Catalog, subject: Subject, table: str, schema: Schema) -> Created:
    try:
        made = catalog.create_table(subject.identifier(table), schema, properties=PROPERTIES)
    except TableAlreadyExistsError:
        return Created(table, None, exists=True)
    except Exception as error:
        return Created(table, None, error=type(error).__name__)
    return Created(table, str(made.metadata.table_uuid))


def _standing(catalog: Catalog, subject: Subject, table: str) -> Standing:
    found = catalog.load_table(subject.identifier(table))
    columns = tuple(found.schema().column_names)
    tokens = tuple(_tokens(found)) if "token" in columns else ()
    return Standing(table, str(found.metadata.table_uuid), columns, tokens)


def _contents(table: Table) -> Contents:
    snapshots = tuple(
        Commit(s.snapshot_id, s.parent_snapshot_id, _said(s, TOKEN), _number(_said(s, COUNTER)))
        for s in table.metadata.snapshots
    )
    return Contents(table.metadata.current_snapshot_id, snapshots, tuple(_tokens(table)))


def _tokens(table: Table) -> list[str]:
    return table.scan(selected_fields=("token",)).to_arrow()["token"].to_pylist()


def _counter(table: Table) -> int:
    snapshot = table.current_snapshot()
    return (_number(_said(snapshot, COUNTER)) or 0) if snapshot else 0


def _said(snapshot: Snapshot, key: str) -> str | None:
    # `is not None`: a summary is a mapping, and asking for its truth counts its keys.
    return snapshot.summary.additional_properties.get(key) if snapshot.summary is not None else None


def _number(text: str | None) -> int | None:
    return int(text) if text else None


def _row(token: str) -> pa.Table:
    return pa.table({"token": [token]})


def _store_of(table: Table) -> SinglePutFileIO:
    if not isinstance(table.io, SinglePutFileIO):
        raise TypeError("the catalog does not give its tables the product's own file access")
    return table.io


@contextmanager
def _told_if_left(post: Post, what: str) -> Generator[None]:
    try:
        yield
    except Exception as error:
        post.tell(Left(f"{what} ({type(error).__name__})"))


def _delete_below(table: Table, subject: Subject) -> None:
    """Delete every object of a dropped table. Raises ValueError for a location that is not plainly its own."""
    place = urlsplit(table.location())
    if subject.namespace not in place.path:
        raise ValueError("the location does not name the namespace")
    if place.scheme == "s3":
        delete_below(open_store(subject.settings), place.netloc, place.path.strip("/") + "/")
    else:
        _store_of(table).fs_by_scheme(place.scheme, place.netloc).delete_dir(place.path)
