"""`python -m tests.spark`: does Spark read what DuckDB and pyiceberg read? Exit code 0 if so, 1 if not, 3 not asked.

Holds: arguments, a small lake to read where none is named, the table that is printed.

The deployment is the one the environment names (WARDSTREAM_HOME and so on), which must be up; with `--small` a lake of
its own on a store of its own, with every kind of column, two commits a table, catalog in SQLite, or in PostgreSQL with
`--postgres`. Spark is not ours to bring: `python3 -m venv V && V/bin/pip install "pyspark>=4.1,<4.2"`, then
`--spark V/bin/python` or WARDSTREAM_STACK_SPARK. The jars are fetched by their lock file, once.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path

from infra.cli.answers import aligned
from infra.services import ports
from infra.services.jars import JarError
from infra.services.processes import Child
from infra.services.store import EmbeddedStore
from tests.conftest import READER, WRITER
from tests.postgres import Postgres, PostgresMissingError
from tests.spark.engines import Compared, SparkError, compare
from tests.spark.small_lake import fill
from warehouse.analytics import LakeUnavailable
from warehouse.settings import Settings

EQUAL, DIFFERENT, NOT_ASKED = 0, 1, 3
BASES = (20_000, 28_000)


def main(arguments: list[str] | None = None) -> int:
    given = _parse(arguments)
    try:
        with ExitStack() as stack:
            settings = stack.enter_context(_small(given.postgres)) if given.small else Settings.from_environment()
            compared, version = compare(settings, given.spark, given.table)
    except (SparkError, JarError, LakeUnavailable, PostgresMissingError) as error:
        print(f"not compared: {error}", file=sys.stderr)
        return NOT_ASKED
    print(json.dumps([asdict(each) for each in compared]) if given.json else _shown(compared, version))
    return EQUAL if compared and all(each.equal for each in compared) else DIFFERENT


@contextmanager
def _small(postgres: bool) -> Generator[Settings]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="wardstream-spark-")))
        bases = ports.free_bases(*BASES)
        embedded = EmbeddedStore(folder / "store", next(bases), "warehouse", WRITER, READER)
        programs = [embedded.program(folder / "store.log")]
        environment = {
            "WARDSTREAM_HOME": str(folder / "home"),
            "WARDSTREAM_S3_ENDPOINT": embedded.endpoint,
            "WARDSTREAM_WAREHOUSE": "s3://warehouse/small",
        }
        if postgres:
            folder.chmod(0o755)
            database = Postgres(folder / "postgres", next(bases))
            programs.append(database.program(folder / "postgres.log"))
            environment["WARDSTREAM_CATALOG_URI"] = database.uri()
        for program in programs:
            child = Child.start(program)
            stack.callback(child.kill)
            child.wait_ready()
        settings = Settings.from_environment(environment)
        fill(settings)
        yield settings


def _shown(compared: list[Compared], version: str) -> str:
    names = ["table", "snapshot", "rows", "digest", "read alike by"]
    cells = [[each.table, str(each.snapshot), *_read(each)] for each in compared]
    return "\n".join([*aligned(names, cells, [False, True, True, True, False]), f"Spark {version}"])


def _read(each: Compared) -> list[str]:
    if each.equal:
        reading = next(iter(each.readings.values()))
        return [f"{reading.rows:,}", reading.digest, ", ".join(each.readings)]
    told = {name: (reading.rows, reading.digest) for name, reading in each.readings.items()}
    return ["-", "-", f"NOT ALIKE: {told}"]


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.spark", description=__doc__.splitlines()[0])
    default = os.environ.get("WARDSTREAM_STACK_SPARK", "/tmp/spark/bin/python")
    parser.add_argument("--spark", type=Path, default=Path(default), help="a Python that has pyspark")
    parser.add_argument("--small", action="store_true", help="a small lake of its own instead of a deployment")
    parser.add_argument("--postgres", action="store_true", help="with --small: the catalog in PostgreSQL")
    parser.add_argument("--table", action="append", default=[], help="only this one; may be repeated")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
