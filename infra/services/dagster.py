"""Dagster's three processes on the loopback: code server, web server, daemon.

Holds: their home (no telemetry, few runs at once), the workspace that points at the one code server, readiness.
The code server is started here and not by Dagster, so that nothing is forked that nobody ends.
Does not hold: any asset (assets) nor Dagster itself.
"""

from __future__ import annotations

import sys
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from infra.services.ports import LOOPBACK, accepts, dagster_ports, port
from infra.services.processes import Program

DEFINITIONS = "assets.definitions"
RUNS_AT_ONCE = 1
LOOKED_AT_EVERY_SECONDS = 30
"""So long a run that was killed may hold back those behind it."""
_PLAIN = ("--log-format", "json")
"""Dagster's other formats write colour codes, into files too."""

_INSTANCE = f"""\
telemetry:
  enabled: false
nux:
  enabled: false
concurrency:
  runs:
    max_concurrent_runs: {RUNS_AT_ONCE}
run_launcher:
  module: assets.run_launcher
  class: WatchedRunLauncher
run_monitoring:
  enabled: true
  poll_interval_seconds: {LOOKED_AT_EVERY_SECONDS}
  max_resume_run_attempts: 0
"""


@dataclass(frozen=True, slots=True)
class DagsterServices:
    """Where Dagster keeps its home and logs, and its ports."""

    home: Path
    run_folder: Path
    port_base: int
    definitions: str = DEFINITIONS

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{port(self.port_base, 'dagster')}"

    def write_home(self) -> None:
        """Write instance and workspace files."""
        self.home.mkdir(parents=True, exist_ok=True)
        (self.home / "dagster.yaml").write_text(_INSTANCE)
        self._workspace.write_text(
            "load_from:\n  - grpc_server:\n"
            f"      host: {LOOPBACK}\n      port: {self._code_port}\n      location_name: wardstream\n"
        )

    def code_server(self, environment: dict[str, str]) -> Program:
        """Loads the definitions and runs what is launched, each run in a process below it."""
        arguments = ("api", "grpc", "-m", self.definitions, "-h", LOOPBACK, "-p", str(self._code_port))
        ports = {self._code_port: dagster_ports(self.port_base)[self._code_port]}
        return self._program(
            "dagster-code",
            ("dagster", *arguments, "--use-python-environment-entry-point", "--location-name", "wardstream"),
            environment,
            ports,
            lambda logged: accepts(LOOPBACK, self._code_port),
        )

    def web_server(self, environment: dict[str, str]) -> Program:
        """The pages and the API."""
        number = port(self.port_base, "dagster")
        arguments = ("-h", LOOPBACK, "-p", str(number), "-w", str(self._workspace), "--log-level", "warning")
        ports = {number: dagster_ports(self.port_base)[number]}
        return self._program(
            "dagster-web", ("dagster_webserver", *arguments), environment, ports, lambda logged: _answers(self.url)
        )

    def daemon(self, environment: dict[str, str]) -> Program:
        """Sensors, schedules, automation, the queue of runs."""
        arguments = ("run", "-w", str(self._workspace), "--log-level", "info")
        return self._program(
            "dagster-daemon",
            ("dagster._daemon", *arguments),
            environment,
            {},
            lambda logged: b"following daemons" in logged,
        )

    @property
    def _workspace(self) -> Path:
        return self.home / "workspace.yaml"

    @property
    def _code_port(self) -> int:
        return port(self.port_base, "dagster_code")

    def _program(
        self,
        name: str,
        module: tuple[str, ...],
        environment: dict[str, str],
        ports: dict[int, str],
        ready: Callable[[bytes], bool],
    ) -> Program:
        return Program(
            name=name,
            command=(sys.executable, "-P", "-m", *module, *_PLAIN),
            log=self.run_folder / f"{name}.log",
            environment={**environment, "DAGSTER_HOME": str(self.home), "DAGSTER_DISABLE_TELEMETRY": "1"},
            folder=self.home,
            ports=ports,
            forks=True,
            ready=ready,
            stop_seconds=15,
        )


def _answers(url: str) -> bool:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(f"{url}/server_info", timeout=2) as answer:
            return answer.status == 200
    except OSError:
        return False
