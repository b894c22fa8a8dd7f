"""The same question put to DuckDB (through the product), pyiceberg and Spark, at the same snapshots.

Holds: the asking of each, and the comparison. Does not hold: any server, or the SQL (`digests.py`).
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import duckdb
import pyarrow as pa

from infra.services import jars
from tests.spark.digests import DUCKDB, SPARK, count_and_digest
from warehouse.analytics import VOCABULARY, Analytics
from warehouse.catalog import CATALOG_NAME, open_catalog
from warehouse.settings import Settings

LOCK_FILE = Path(__file__).with_name("spark-4.1.lock.tsv")
PYSPARK = "pyspark>=4.1,<4.2"
SPARK_SECONDS = 900.0
HEAP = "1g"


class SparkError(RuntimeError):
    """Spark cannot be asked here, or did not answer. The message says why."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What one engine read of a table: how many rows, and their digest."""

    rows: int
    digest: str


@dataclass(frozen=True, slots=True)
class Compared:
    """A table at a snapshot, as each engine read it."""

    table: str
    snapshot: int
    readings: dict[str, Reading]

    @property
    def equal(self) -> bool:
        return len(set(self.readings.values())) == 1


def compare(settings: Settings, spark: Path, tables: Iterable[str] = ()) -> tuple[list[Compared], str]:
    """Read every table that has a snapshot (or those named) with all three; also Spark's version. `spark` is a Python
    that has pyspark. Raises `SparkError`."""
    by_duckdb = _duckdb(settings, tables)
    snapshots = {name: snapshot for name, (snapshot, _, _) in by_duckdb.items()}
    schemas = {name: schema for name, (_, schema, _) in by_duckdb.items()}
    by_spark, version = _spark(settings, spark, snapshots, schemas)
    compared = [
        Compared(
            name,
            snapshot,
            {
                "duckdb": by_duckdb[name][2],
                "pyiceberg": _pyiceberg(settings, name, snapshot, schemas[name]),
                "spark": by_spark[name],
            },
        )
        for name, snapshot in snapshots.items()
    ]
    return compared, version


def _duckdb(settings: Settings, wanted: Iterable[str]) -> dict[str, tuple[int, pa.Schema, Reading]]:
    """Snapshot, columns and reading of each table that has a snapshot."""
    found = {}
    with Analytics(settings) as analytics:
        names = list(wanted) or sorted(analytics.tables.keys() - analytics.views.keys() - {VOCABULARY})
        for name in names:
            schema = analytics.tables[name]
            answer = analytics.query(count_and_digest(schema, name, DUCKDB))
            if (snapshot := answer.snapshots[name]) is not None:
                found[name] = (snapshot, schema, _reading(answer.table.to_pylist()[0]))
    return found


def _pyiceberg(settings: Settings, name: str, snapshot: int, schema: pa.Schema) -> Reading:
    """Rows as pyiceberg reads them, added up by a DuckDB that sees nothing else."""
    table = open_catalog(settings).load_table((settings.namespace, name))
    batches = table.scan(snapshot_id=snapshot, selected_fields=tuple(schema.names)).to_arrow_batch_reader()
    with duckdb.connect(":memory:") as session:
        session.register("read", batches)
        rows = session.execute(count_and_digest(schema, "read", DUCKDB)).to_arrow_table().to_pylist()
    return _reading(rows[0])


def _spark(
    settings: Settings, python: Path, snapshots: Mapping[str, int], schemas: Mapping[str, pa.Schema]
) -> tuple[dict[str, Reading], str]:
    places = {name: f"{CATALOG_NAME}.{settings.namespace}.{name} VERSION AS OF {at}" for name, at in snapshots.items()}
    selects = {name: count_and_digest(schemas[name], place, SPARK) for name, place in places.items()}
    jdbc, login = _jdbc(settings.catalog_uri)
    told = {
        "catalog": CATALOG_NAME,
        "jars": [str(jar) for jar in _jars(settings.cache)],
        "jdbc": jdbc,
        "login": login,
        "warehouse": settings.warehouse,
        "endpoint": settings.s3_endpoint,
        "key": settings.s3_reader_key,
        "secret": settings.s3_reader_secret,
        "region": settings.s3_region,
        "selects": selects,
    }
    answered = _run(python, told)
    return {name: _reading(rows[0]) for name, rows in answered["answers"].items()}, answered["version"]


def _run(python: Path, told: dict[str, Any]) -> dict[str, Any]:
    program = Path(__file__).with_name("spark_answers.py")
    environment = {
        **os.environ,
        "SPARK_LOCAL_IP": "127.0.0.1",
        "PYSPARK_SUBMIT_ARGS": f"--driver-memory {HEAP} pyspark-shell",
    }
    try:
        done = subprocess.run(
            [str(python), str(program)], input=json.dumps(told), env=environment, capture_output=True, text=True,
            timeout=SPARK_SECONDS, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SparkError(
            f"Spark did not answer ({type(error).__name__}); {python} must be a Python with {PYSPARK}"
        ) from None
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if "xception" in line or "rror" in line]
        raise SparkError("Spark failed:\n" + "\n".join(said[:12] or done.stderr.splitlines()[-5:]))
    return json.loads(done.stdout.splitlines()[-1])


def _jars(cache: Path) -> list[Path]:
    """Iceberg's runtime for Spark, its AWS part and the JDBC drivers, fetched and checked like the broker's jars."""
    locked = jars.read_lock(LOCK_FILE)
    folder = jars.fetch(cache / "spark-4.1", "Iceberg for Spark", locked, lambda line: None)
    return [folder / jar.file_name for jar in locked]


def _jdbc(catalog_uri: str) -> tuple[str, dict[str, str]]:
    """Java's address of the catalog, and its login. Raises `SparkError` for a catalog that is no database."""
    parts = urlsplit(catalog_uri)
    if parts.scheme == "sqlite":
        return f"jdbc:sqlite:{parts.path[1:]}", {}
    if not parts.scheme.startswith("postgresql"):
        raise SparkError("this catalog speaks REST; Spark is only asked through a database here")
    login = {"user": parts.username or "", "password": parts.password or ""}
    return f"jdbc:postgresql://{parts.hostname}:{parts.port or 5432}{parts.path}", {k: v for k, v in login.items() if v}


def _reading(row: dict[str, Any]) -> Reading:
    return Reading(row["n"], row["d"])
