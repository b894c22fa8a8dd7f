"""What a table contract means to Arrow and to Iceberg: schema, partition spec, properties.

Holds: the derivation and nothing else; the same contract always gives the same answer.
Does not hold: any table (catalog.py makes them), any row (staging.py writes them).
"""

from __future__ import annotations

import json

import pyarrow as pa
from pyiceberg.partitioning import PARTITION_FIELD_ID_START, PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.transforms import DayTransform, IdentityTransform, Transform
from pyiceberg.types import (
    BinaryType,
    BooleanType,
    DateType,
    DoubleType,
    IcebergType,
    IntegerType,
    ListType,
    LongType,
    NestedField,
    StringType,
    TimestamptzType,
)

from warehouse.contract import Column, TableContract

METRICS = "write.metadata.metrics.column."
CONTRACT_VERSION = "wardstream.contract-version"
CONTRACT_STREAM = "wardstream.contract"
UNITS = "wardstream.units"

_ARROW = {
    "string": pa.string(),
    "int": pa.int32(),
    "long": pa.int64(),
    "double": pa.float64(),
    "boolean": pa.bool_(),
    "date": pa.date32(),
    "timestamptz": pa.timestamp("us", "UTC"),
    "binary": pa.binary(),
}
_ICEBERG: dict[str, IcebergType] = {
    "string": StringType(),
    "int": IntegerType(),
    "long": LongType(),
    "double": DoubleType(),
    "boolean": BooleanType(),
    "date": DateType(),
    "timestamptz": TimestamptzType(),
    "binary": BinaryType(),
}
_TRANSFORMS: dict[str, Transform] = {"day": DayTransform(), "identity": IdentityTransform()}

# Bounds are kept where a query prunes by them. Those of tokens and sealed columns would outlive an erasure in the
# manifests, so for these nothing is kept at all.
_FULL_METRICS = frozenset({"event_time", "code", "minute", "kafka_partition", "kafka_offset", "kafka_time"})
_NO_METRICS = frozenset({"token", "sealed"})

_HOUSE_PROPERTIES = {
    # The library's own retry re-bases a stale append in silence; the fence decides instead.
    "commit.retry.num-retries": "0",
    "write.metadata.delete-after-commit.enabled": "true",
    "write.metadata.previous-versions-max": "20",
    "write.metadata.metrics.default": "counts",
    "write.parquet.compression-codec": "zstd",
    "write.parquet.compression-level": "1",
    # Compaction runs beside live appends.
    "write.delete.isolation-level": "snapshot",
    "write.update.isolation-level": "snapshot",
}


def arrow_schema(table: TableContract) -> pa.Schema:
    """Columns in contract order; timestamps are microseconds UTC, required columns not nullable."""
    return pa.schema([pa.field(c.name, arrow_type(c.iceberg), nullable=not c.required) for c in table.columns])


def arrow_type(iceberg: str) -> pa.DataType:
    """The Arrow type of an Iceberg type as the contract writes it, e.g. `list<string>`."""
    if iceberg.startswith("list<"):
        return pa.list_(pa.field("element", arrow_type(iceberg[5:-1]), nullable=False))
    return _ARROW[iceberg]


def iceberg_schema(table: TableContract) -> Schema:
    """Columns in contract order, field ids as the contract gives them, descriptions as docs."""
    return Schema(*(_field(column) for column in table.columns))


def _field(column: Column) -> NestedField:
    assert column.field_id is not None, "a table column without an id is refused at load"
    return NestedField(column.field_id, column.name, _type(column), column.required, doc=column.description)


def _type(column: Column) -> IcebergType:
    if column.element_id is None:
        return _ICEBERG[column.iceberg]
    return ListType(column.element_id, _ICEBERG[column.iceberg[5:-1]], element_required=True)


def partition_spec(table: TableContract) -> PartitionSpec:
    """One field named `<column>_<transform>`, or unpartitioned."""
    if table.partitioning is None:
        return PartitionSpec()
    column, transform = table.partitioning.column, table.partitioning.transform
    source = table.column(column).field_id
    assert source is not None, "a table column without an id is refused at load"
    name = column if transform == "identity" else f"{column}_{transform}"
    return PartitionSpec(PartitionField(source, PARTITION_FIELD_ID_START, _TRANSFORMS[transform], name))


def properties(table: TableContract) -> dict[str, str]:
    """Table properties, the contract's stream, version and units among them. Format is v2 (pyiceberg's default)."""
    units = {column.name: column.unit for column in table.columns if column.unit}
    return {
        **_HOUSE_PROPERTIES,
        **{METRICS + column.name: mode for column in table.columns if (mode := _metrics(table, column))},
        CONTRACT_STREAM: table.stream,
        CONTRACT_VERSION: table.version,
        UNITS: json.dumps(units, sort_keys=True, separators=(",", ":")),
    }


def _metrics(table: TableContract, column: Column) -> str | None:
    if column.protection in _NO_METRICS:
        return "none"
    parted = table.partitioning is not None and column.name == table.partitioning.column
    return "full" if parted or column.name in _FULL_METRICS else None
