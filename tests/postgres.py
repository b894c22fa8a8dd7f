"""A PostgreSQL of our own for tests: its cluster in a temporary folder, on a loopback port, ended with its starter.

Holds: making a cluster, and how its server is started. Does not hold: any fixture (tests/conftest.py) or harness.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from infra.cli.doctor import find_postgresql
from infra.services.processes import Child, Program

LOOPBACK = "127.0.0.1"


class PostgresMissingError(RuntimeError):
    """There is no server to start here; the message says what to install."""


@dataclass(frozen=True, slots=True)
class Postgres:
    """One cluster on a loopback port. Its folder belongs to `postgres`, for the server refuses to run as root."""

    folder: Path
    port: int

    def uri(self, port: int | None = None) -> str:
        """What `WARDSTREAM_CATALOG_URI` takes, through another port if one is given. The wire is plain, so that a
        proxy can read it."""
        return f"postgresql+psycopg2://ward@{LOOPBACK}:{port or self.port}/postgres?sslmode=disable&gssencmode=disable"

    def program(self, log: Path) -> Program:
        """Make the cluster if it is new, and say how to start. Raises `PostgresMissingError`."""
        programs = find_postgresql()
        if programs is None:
            raise PostgresMissingError("install Debian's package postgresql")
        as_owner = ("setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups") if os.geteuid() == 0 else ()
        cluster = self.folder / "cluster"
        if not cluster.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            if as_owner:
                shutil.chown(self.folder, "postgres", "postgres")
            initialise = [*as_owner, programs / "initdb", "-D", cluster, "-U", "ward", "-A", "trust", "-N"]
            subprocess.run(initialise, check=True, capture_output=True, cwd=self.folder)
        address = ("-p", str(self.port), "-h", LOOPBACK, "-k", str(self.folder))
        return Program(
            name="postgresql",
            command=(*as_owner, str(programs / "postgres"), "-D", str(cluster), *address),
            log=log,
            folder=self.folder,
            forks=True,
            ready=lambda logged: b"ready to accept connections" in logged,
        )


class LocalPostgres:
    """A running server in a folder of its own. `uri` is what `WARDSTREAM_CATALOG_URI` takes.

    Raises `PostgresMissingError`, `ChildError`.
    """

    def __init__(self, port: int) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="wardstream-postgres-"))
        cluster = Postgres(self._folder, port)
        self.uri = cluster.uri()
        try:
            self._server = Child.start(cluster.program(self._folder / "server.log"))
            self._server.wait_ready()
        except BaseException:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise

    def stop(self) -> None:
        """End the server and delete its cluster."""
        self._server.kill()
        shutil.rmtree(self._folder, ignore_errors=True)
