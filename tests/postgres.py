"""A PostgreSQL of our own for tests: its cluster in a temporary folder, on a loopback port, ended with its starter.

Holds: finding the server's programs, making a cluster, starting and ending it.
Does not hold: any fixture (tests/warehouse/conftest.py) or harness.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

START_SECONDS = 60.0


class PostgresMissingError(RuntimeError):
    """There is no server to start here; the message says what was looked for."""


class LocalPostgres:
    """A running server. `uri` is what `WARDSTREAM_CATALOG_URI` takes. Raises `PostgresMissingError`."""

    def __init__(self, port: int) -> None:
        programs = _programs()
        self._folder = Path(tempfile.mkdtemp(prefix="wardstream-postgres-"))
        self._as_owner = ["setpriv", "--pdeathsig=KILL"]
        if os.geteuid() == 0:  # the server refuses to run as root
            shutil.chown(self._folder, "postgres", "postgres")
            self._as_owner += ["--reuid=postgres", "--regid=postgres", "--init-groups"]
        self.uri = f"postgresql+psycopg2://ward@127.0.0.1:{port}/postgres"
        cluster = str(self._folder / "cluster")
        initdb = [programs / "initdb", "-D", cluster, "-U", "ward", "-A", "trust", "--no-sync", "-E", "UTF8"]
        subprocess.run([*self._as_owner, *initdb], check=True, capture_output=True, cwd=self._folder)
        options = ["-p", str(port), "-h", "127.0.0.1", "-k", str(self._folder), "-c", "max_connections=100"]
        with open(self._folder / "server.log", "ab") as log:
            self._server = subprocess.Popen(
                [*self._as_owner, programs / "postgres", "-D", cluster, *options],
                stdout=log,
                stderr=log,
                cwd=self._folder,
                start_new_session=True,
            )
        self._wait_ready([programs / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)])

    @property
    def pid(self) -> int:
        """The server's first process."""
        return self._server.pid

    def stop(self) -> None:
        """End the server and delete its cluster."""
        self._server.send_signal(signal.SIGQUIT)  # at once; the cluster is thrown away
        try:
            self._server.wait(10)
        except subprocess.TimeoutExpired:
            self._server.kill()
            self._server.wait(10)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _wait_ready(self, probe: list[str | Path]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while subprocess.run(probe, check=False).returncode:
            if self._server.poll() is not None or time.monotonic() > deadline:
                log = (self._folder / "server.log").read_text(errors="replace")[-500:]
                self.stop()
                raise RuntimeError(f"PostgreSQL did not start: {log}")
            time.sleep(0.05)


def _programs() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    on_path = shutil.which("initdb")
    if not found and on_path is None:
        raise PostgresMissingError("no initdb in /usr/lib/postgresql/*/bin nor on PATH: apt-get install postgresql")
    if shutil.which("setpriv") is None:
        raise PostgresMissingError("no setpriv on PATH: apt-get install util-linux")
    return found[-1].parent if found else Path(str(on_path)).parent
