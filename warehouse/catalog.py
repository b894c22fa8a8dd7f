"""The catalog: opening it, and making tables in one place.

Holds: which catalog a URI means, the store's properties for pyiceberg, creation of tables under a lock, and the
comparison of what stands in the catalog with what the contract says.
Does not hold: writing to a table (commit.py). Nothing here drops, renames or replaces a table: one catalog deletes the
data with it, and another gives the next table of that name the same folder.
"""

from __future__ import annotations

import fcntl
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit, urlunsplit

from pyiceberg.catalog import Catalog
from pyiceberg.catalog.rest import RestCatalog
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import (
    NamespaceAlreadyExistsError,
    NoSuchNamespaceError,
    NoSuchTableError,
    RESTError,
    ServerError,
    TableAlreadyExistsError,
)
from pyiceberg.partitioning import UNPARTITIONED_PARTITION_SPEC, PartitionSpec
from pyiceberg.schema import Schema, assign_fresh_schema_ids
from pyiceberg.table import Table
from requests import RequestException
from sqlalchemy import make_url
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError, SQLAlchemyError

from warehouse import tables
from warehouse.contract import TableContract
from warehouse.dialects import load_dialect
from warehouse.object_store import StoreUnavailableError
from warehouse.settings import Settings

CATALOG_NAME = "wardstream"
"""Rows of an SQL catalog are scoped by this name: another name is another, empty catalog. It never changes."""

BUSY_SECONDS = 30
CONNECT_SECONDS = 5
REQUEST_SECONDS = 10
"""After so long without a byte a request to the store is given up. A PUT of Arrow's repeats that three times more."""
STORE_ATTEMPTS = 2
_HALF_MADE_S = (0.1, 0.2, 0.4, 0.8)
"""How long what another host is making is waited for before each further look."""
_Made = TypeVar("_Made")


KEY_SYSTEM_PROPERTY = "wardstream.key-system"
"""Of the namespace, a stream each: the identifier system that tokens of its keys are made under."""


class TableMismatchError(Exception):
    """A table in the catalog is not what its contract says, or is not there. The message says in what."""


def open_catalog(settings: Settings) -> Catalog:
    """The catalog that `settings.catalog_uri` means: `sqlite:///…`, `postgresql…://…` or the http(s) address of a REST
    catalog (`http://id:secret@host/` for client credentials). Raises `StoreUnavailableError` if it does not answer.
    """
    try:
        return _opened(settings.catalog_uri, settings)
    except (SQLAlchemyError, RESTError, RequestException, OSError) as error:
        raise StoreUnavailableError(f"the catalog does not answer ({type(error).__name__})") from error


def table_lock(settings: Settings) -> AbstractContextManager[None]:
    """One creator at a time on this host; between hosts the catalog decides and the comparison afterwards tells."""
    return _file_lock(settings.home / "locks" / "tables.lock")


def ensure_namespace(catalog: Catalog, namespace: str) -> None:
    """Create the namespace unless it is there."""
    with suppress(NamespaceAlreadyExistsError, IntegrityError):
        _once_made(lambda: catalog.create_namespace(namespace))


def pinned_properties(catalog: Catalog, namespace: str, wanted: Mapping[str, str]) -> dict[str, str]:
    """Properties of the namespace that are set once and never changed: what stands there under the names of `wanted`,
    its values where nothing did. Raises `StoreUnavailableError` if the catalog does not answer.
    """
    try:
        there = catalog.load_namespace_properties((namespace,))
        if missing := {name: value for name, value in wanted.items() if name not in there}:
            catalog.update_namespace_properties((namespace,), updates=missing)
            there = catalog.load_namespace_properties((namespace,))
    except (SQLAlchemyError, RESTError, RequestException, OSError) as error:
        raise StoreUnavailableError(f"the catalog does not answer ({type(error).__name__})") from error
    return {name: there[name] for name in wanted}


def namespace_properties(catalog: Catalog, namespace: str) -> dict[str, str]:
    """All properties of the namespace; none where there is no such namespace yet."""
    try:
        return dict(catalog.load_namespace_properties((namespace,)))
    except NoSuchNamespaceError:
        return {}


def create_table(
    catalog: Catalog, namespace: str, contract: TableContract, lock: AbstractContextManager[None]
) -> Table:
    """The table of a contract, created if it is missing, read again and compared.

    Raises `TableMismatchError` if what stands in the catalog then differs from the contract.
    """
    identifier = (namespace, contract.name)
    schema, spec = tables.iceberg_schema(contract), tables.partition_spec(contract)
    properties = tables.properties(contract)
    with lock:
        ensure_namespace(catalog, namespace)
        try:
            _once_made(lambda: catalog.load_table(identifier))
        except NoSuchTableError:
            with suppress(TableAlreadyExistsError):
                catalog.create_table(identifier, schema, partition_spec=spec, properties=properties)
        table = _once_made(lambda: catalog.load_table(identifier))
    differences = table_differences(table, schema, spec, properties)
    if differences:
        raise TableMismatchError(f"table {namespace}.{contract.name} is not its contract: {'; '.join(differences)}")
    return table


def _once_made(ask: Callable[[], _Made]) -> _Made:
    """What is asked of the catalog about something that another host may be making now: a REST catalog that knows a
    namespace or table by name before it knows its metadata (SeaweedFS's does) answers 500 meanwhile."""
    for wait_s in _HALF_MADE_S:
        try:
            return ask()
        except ServerError:
            time.sleep(wait_s)
    return ask()


def load_table(catalog: Catalog, namespace: str, name: str) -> Table:
    """The table as it is now. Raises `TableMismatchError` if it has not been created."""
    try:
        return catalog.load_table((namespace, name))
    except NoSuchTableError as error:
        raise TableMismatchError(
            f"there is no table {namespace}.{name}; `wardstream contracts apply` makes it"
        ) from error


def table_differences(
    table: Table,
    schema: Schema,
    spec: PartitionSpec = UNPARTITIONED_PARTITION_SPEC,
    properties: Mapping[str, str] | None = None,
) -> list[str]:
    """In what a table differs from a schema, a partition spec and properties, one phrase each; field ids aside."""
    wanted = assign_fresh_schema_ids(schema)
    standing = assign_fresh_schema_ids(table.schema())
    found = [
        f"column {name} should be {_column(wanted, name)}, is {_column(standing, name)}"
        for name in dict.fromkeys([*wanted.column_names, *standing.column_names])
        if _column(wanted, name) != _column(standing, name)
    ]
    if not found and wanted.column_names != standing.column_names:
        found.append("its columns stand in another order")
    if _partitioning(spec, schema) != _partitioning(table.spec(), table.schema()):
        found.append(f"it is partitioned by {_partitioning(table.spec(), table.schema()) or 'nothing'}")
    for key, value in (properties or {}).items():
        standing_value = str(table.format_version) if key == "format-version" else table.properties.get(key)
        if standing_value != value:
            found.append(f"property {key} should be {value}, is {standing_value}")
    return found


def _opened(uri: str, settings: Settings) -> Catalog:
    if urlsplit(uri).scheme in ("http", "https"):
        return _rest_catalog(uri, settings)
    if not uri.startswith("sqlite:"):
        return _sql_catalog(_with_option(uri, "connect_timeout", CONNECT_SECONDS), settings)
    Path(make_url(uri).database or "").parent.mkdir(parents=True, exist_ok=True)
    with table_lock(settings):
        return _sql_catalog(_with_option(uri, "timeout", BUSY_SECONDS), settings)


def _sql_catalog(uri: str, settings: Settings) -> Catalog:
    load_dialect(uri)
    options = {"uri": uri, "pool_pre_ping": "true", **_store_properties(settings)}
    try:
        return SqlCatalog(CATALOG_NAME, **options)
    except (OperationalError, ProgrammingError, IntegrityError):
        # Another process may just have made the catalog's own tables; if not, the second try says what is wrong.
        return SqlCatalog(CATALOG_NAME, **options)


def _rest_catalog(uri: str, settings: Settings) -> Catalog:
    parts = urlsplit(uri)
    address = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])).rstrip("/")
    options = {"uri": address, **_store_properties(settings)}
    if parts.username:
        options |= {
            "credential": f"{parts.username}:{parts.password}",
            "oauth2-server-uri": f"{address}/v1/oauth/tokens",
        }
    return RestCatalog(CATALOG_NAME, **options)


def _store_properties(settings: Settings) -> dict[str, str]:
    return {
        "warehouse": settings.warehouse,
        "py-io-impl": "warehouse.object_store.SinglePutFileIO",
        "s3.endpoint": settings.s3_endpoint,
        "s3.region": settings.s3_region,
        "s3.access-key-id": settings.s3_access_key,
        "s3.secret-access-key": settings.s3_secret_key,
        "s3.connect-timeout": str(CONNECT_SECONDS),
        "s3.request-timeout": str(REQUEST_SECONDS),
        "s3.retry-attempts": str(STORE_ATTEMPTS),
    }


def _with_option(uri: str, name: str, value: int) -> str:
    if f"{name}=" in uri:
        return uri
    return f"{uri}{'&' if '?' in uri else '?'}{name}={value}"


@contextmanager
def _file_lock(path: Path) -> Generator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _column(schema: Schema, name: str) -> str:
    if name not in schema.column_names:
        return "absent"
    field = schema.find_field(name)
    return f"{field.field_type}{' required' if field.required else ''}"


def _partitioning(spec: PartitionSpec, schema: Schema) -> str:
    return ", ".join(f"{field.transform}({schema.find_column_name(field.source_id)})" for field in spec.fields)
