"""The long form: `python -m tests.crash.committer --kills 1000 --pauses 300 [--catalog postgres]`.

Starts a store, and a PostgreSQL if asked for, in a temporary folder; ends with 1 unless nothing was lost or doubled.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from infra.services import ports
from infra.services.processes import Child
from infra.services.store import EmbeddedStore
from tests.crash.committer.harness import HISTORY, Plan, unleash
from tests.postgres import LocalPostgres
from warehouse.settings import EMBEDDED_ACCESS_KEY, EMBEDDED_READER_KEY

PORTS = (20_000, 26_000)


def main() -> int:
    """Parse the command line, run, print the report."""
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that writers and servers end
    with ExitStack() as servers:
        folder = Path(servers.enter_context(tempfile.TemporaryDirectory(prefix="wardstream-crash-")))
        environment = _environment(folder, options.catalog, servers)
        plan = Plan(
            options.kills, options.pauses, options.seed, options.lost_answers, options.longest_pause,
            options.pauses_beyond, options.seconds,
        )  # fmt: skip
        report = unleash(environment, folder / "traces", plan)
        if options.keep:
            shutil.copytree(folder / "traces", options.keep, dirs_exist_ok=True)
        if options.history:
            shutil.copy(folder / "traces" / HISTORY, options.history)
    sys.stdout.write("\n".join([f"catalog {options.catalog}", *report.lines(), ""]))
    return 0 if report.verdict is not None and report.verdict.clean else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.crash.committer", description=__doc__)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--pauses", type=int, default=300)
    parser.add_argument("--catalog", choices=("sqlite", "postgres"), default="sqlite")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--lost-answers", type=float, default=0.02, help="share of answers that get lost")
    parser.add_argument("--longest-pause", type=float, default=5.0, help="seconds")
    parser.add_argument("--pauses-beyond", type=float, default=0.1, help="share that outlasts every time limit")
    parser.add_argument("--seconds", type=float, default=7200.0, help="give up after so long")
    parser.add_argument("--history", type=Path, help="a file for every kill and pause, a line of JSON each")
    parser.add_argument("--keep", type=Path, help="a folder for the writers' traces and the report")
    return parser.parse_args()


def _environment(folder: Path, catalog: str, servers: ExitStack) -> dict[str, str]:
    bases = ports.free_bases(*PORTS)
    store_folder = folder / "store"
    store_folder.mkdir()
    writer, reader = (EMBEDDED_ACCESS_KEY, "embedded-loopback-only"), (EMBEDDED_READER_KEY, "embedded-read-only")
    store = EmbeddedStore(store_folder, next(bases), "warehouse", writer, reader)
    child = Child.start(store.program(folder / "store.log"))
    servers.callback(child.kill)
    child.wait_ready()
    environment = {"WARDSTREAM_HOME": str(folder / "home"), "WARDSTREAM_S3_ENDPOINT": store.endpoint}
    if catalog == "postgres":
        server = LocalPostgres(next(bases))
        servers.callback(server.stop)
        environment["WARDSTREAM_CATALOG_URI"] = server.uri
    return environment


if __name__ == "__main__":
    sys.exit(main())
