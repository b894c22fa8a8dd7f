"""Reads the Iceberg tables: through pyiceberg row by row, and through DuckDB once more to count.

Holds: catalog, snapshot, vector and rows of a table.
Does not hold: the product's own way of opening any of them.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import duckdb
import pyarrow as pa
from pyiceberg.catalog import Catalog, load_catalog
from pyiceberg.table import Table

from .history import LakeTable, Vector

CATALOG_NAME = "wardstream"
VECTOR_KEY = "wardstream.offsets"

REPEATING = frozenset(
    ("subject_token", "device_id", "ward", "code", "text_value", "unit", "quality_flag", "topic_id", "stream", "stage",
     "reason", "rule", "rule_version", "severity", "withheld_because", "sealed_under", "unknown_sealed_under", "status",
     "comparator", "lab", "type", "bed", "sex", "stay_id", "action", "route")
)  # fmt: skip
UNREAD = frozenset(("detail",))


@dataclass(frozen=True, slots=True)
class LakePlace:
    """Where the lake is. The secret stays out of `repr`."""

    catalog_uri: str = field(repr=False)
    namespace: str
    s3_endpoint: str
    s3_access_key: str
    s3_secret_key: str = field(repr=False)
    s3_region: str = "us-east-1"

    def properties(self) -> dict[str, str]:
        """pyiceberg's properties of catalog and store."""
        return {
            "type": "rest" if self.catalog_uri.startswith("http") else "sql",
            "uri": self.catalog_uri,
            "s3.endpoint": self.s3_endpoint,
            "s3.region": self.s3_region,
            "s3.access-key-id": self.s3_access_key,
            "s3.secret-access-key": self.s3_secret_key,
        }


def read_lake(place: LakePlace, names: list[str]) -> dict[str, LakeTable]:
    """The named tables, each at one snapshot; one whose files are not all there is read as a table in trouble. Raises
    pyiceberg's NoSuchTableError where one is missing."""
    catalog: Catalog = load_catalog(CATALOG_NAME, **place.properties())
    session = _duckdb(place)
    try:
        tables = {name: catalog.load_table((place.namespace, name)) for name in names}
        return {name: _read_or_tell(name, table, session) for name, table in tables.items()}
    finally:
        session.close()


def _read_or_tell(name: str, table: Table, session: duckdb.DuckDBPyConnection) -> LakeTable:
    try:
        return _read(name, table, session)
    except (FileNotFoundError, duckdb.IOException, duckdb.HTTPException) as error:
        none = _compact(table.schema().as_arrow().empty_table())
        return LakeTable(name, none, _vector(table), 0, type(error).__name__)


def _read(name: str, table: Table, session: duckdb.DuckDBPyConnection) -> LakeTable:
    if table.current_snapshot() is None:
        return LakeTable(name, _compact(table.scan().to_arrow()), {}, 0)
    columns = tuple(c for c in table.schema().column_names if c not in UNREAD and "." not in c)
    reader = table.scan(selected_fields=columns).to_arrow_batch_reader()
    chunks = [_compact(pa.Table.from_batches([batch])) for batch in reader]
    rows = pa.concat_tables(chunks).unify_dictionaries() if chunks else _compact(reader.schema.empty_table())
    counted = session.execute("SELECT count(*) FROM iceberg_scan(?)", [table.metadata_location]).fetchall()
    return LakeTable(name, rows, _vector(table), counted[0][0])


def _compact(chunk: pa.Table) -> pa.Table:
    """The same rows with narrow types: repeating strings as dictionaries, no 64-bit string offsets."""
    for i, column in enumerate(chunk.schema):
        if column.name in REPEATING:
            plain = chunk.column(i).cast(pa.string())
            chunk = chunk.set_column(i, column.name, plain.dictionary_encode())
        elif pa.types.is_large_string(column.type):
            chunk = chunk.set_column(i, column.name, chunk.column(i).cast(pa.string()))
    return chunk.replace_schema_metadata(None)


def _vector(table: Table) -> Vector:
    """The offset vector of the newest ancestor of the head that has one; empty where none has."""
    snapshot = table.current_snapshot()
    while snapshot is not None:
        told: Mapping[str, str] = snapshot.summary.additional_properties if snapshot.summary else {}
        if VECTOR_KEY in told:
            vector = json.loads(told[VECTOR_KEY])
            return {topic: {int(p): int(n) for p, n in nexts.items()} for topic, nexts in vector.items()}
        parent = snapshot.parent_snapshot_id
        snapshot = table.snapshot_by_id(parent) if parent is not None else None
    return {}


def _duckdb(place: LakePlace) -> duckdb.DuckDBPyConnection:
    session = duckdb.connect()
    for extension in ("avro", "httpfs", "iceberg"):
        package = importlib.import_module(f"duckdb_extension_{extension}")
        found = next(Path(str(package.__file__)).parent.glob(f"extensions/*/{extension}.duckdb_extension"))
        session.execute(f"LOAD '{found}'")
    endpoint = urlsplit(place.s3_endpoint)
    session.execute(
        "CREATE SECRET (TYPE s3, KEY_ID $key, SECRET $secret, REGION $region, ENDPOINT $endpoint, "
        "URL_STYLE 'path', USE_SSL $tls)",
        {"key": place.s3_access_key, "secret": place.s3_secret_key, "region": place.s3_region,
         "endpoint": endpoint.netloc, "tls": endpoint.scheme == "https"},
    )  # fmt: skip
    return session
