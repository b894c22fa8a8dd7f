"""The parts of one machine: which there are for given settings, what each needs, how each is started.

Does not hold: when a part is started, restarted or given up (supervisor).
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from infra.services import jars, java
from infra.services.dagster import DagsterServices
from infra.services.environment import environment_of
from infra.services.home import report_path, run_folder
from infra.services.kafka import EmbeddedKafka
from infra.services.ports import dagster_ports, kafka_ports, port, prism_ports, store_ports
from infra.services.prism import build_prism, prism_program
from infra.services.processes import Program
from infra.services.store import EmbeddedStore
from infra.services.stream_health import STARTING_SECONDS, read_report
from warehouse.settings import Settings

PARTS = ("kafka", "store", "contracts", "stream", "dagster")
"""What a person may ask for by name. Prism belongs to the stream."""

DRAIN_SECONDS = 60.0
CONTRACTS_SECONDS = 180.0


@dataclass(slots=True)
class Part:
    """One thing to run: `program` prepares it (files, jars), `needs` are the names that must be up before.

    `finishes` is true for a part that is done when its process has ended with 0.
    """

    name: str
    program: Callable[[], Program]
    needs: tuple[str, ...] = ()
    finishes: bool = False
    url: str = ""


def plan_parts(settings: Settings, wanted: tuple[str, ...], tell: Callable[[str], None]) -> tuple[Part, ...]:
    """The parts to run, in the order to start them. What settings say a site runs itself is left out."""
    chosen = [part for name in PARTS if name in wanted for part in _PLANNERS[name](settings, tell)]
    present = {part.name for part in chosen}
    for part in chosen:
        part.needs = tuple(name for name in part.needs if name in present)
    return tuple(chosen)


def ports_needed(settings: Settings, wanted: tuple[str, ...]) -> dict[int, str]:
    """Port to purpose, of all that `plan_parts` would start."""
    base, names = settings.port_base, {part.name for part in plan_parts(settings, wanted, lambda line: None)}
    of_part = {"kafka": kafka_ports, "store": store_ports, "prism": prism_ports, "dagster-web": dagster_ports}
    return {number: purpose for name, of in of_part.items() if name in names for number, purpose in of(base).items()}


def _kafka(settings: Settings, tell: Callable[[str], None]) -> list[Part]:
    if not settings.embedded_kafka:
        return []

    def program() -> Program:
        folder = jars.fetch_kafka(settings.cache, tell)
        broker = EmbeddedKafka(settings.home / "kafka", settings.port_base, java.find_java(), folder)
        return broker.program(run_folder(settings) / "kafka.log")

    return [Part("kafka", program, url=settings.kafka_bootstrap)]


def _store(settings: Settings, tell: Callable[[str], None]) -> list[Part]:
    if not settings.embedded_s3:
        return []
    store = EmbeddedStore.of(settings)
    return [Part("store", partial(store.program, run_folder(settings) / "store.log"), url=store.endpoint)]


def _contracts(settings: Settings, tell: Callable[[str], None]) -> list[Part]:
    def program() -> Program:
        return _module(settings, "contracts", "infra.services.bootstrap", ready_seconds=CONTRACTS_SECONDS)

    return [Part("contracts", program, needs=("kafka", "store"), finishes=True)]


def _stream(settings: Settings, tell: Callable[[str], None]) -> list[Part]:
    def program() -> Program:
        return _module(
            settings,
            "stream",
            "pipelines.stream",
            forks=True,
            ready=lambda logged: has_begun(settings),
            ready_seconds=STARTING_SECONDS,
            stop_seconds=DRAIN_SECONDS,
        )

    stream = Part("stream", program, needs=("kafka", "store", "contracts", "prism"))
    return [*_prism(settings, tell), stream]


def _prism(settings: Settings, tell: Callable[[str], None]) -> list[Part]:
    endpoint = f"127.0.0.1:{port(settings.port_base, 'prism')}"
    if settings.runner != "prism" or settings.prism_endpoint != endpoint:
        return []

    def program() -> Program:
        binary = build_prism(settings.cache, tell)
        return prism_program(binary, settings.port_base, run_folder(settings) / "prism.log")

    return [Part("prism", program, url=endpoint)]


def _dagster(settings: Settings, tell: Callable[[str], None]) -> list[Part]:
    services = DagsterServices(settings.home / "dagster", run_folder(settings), settings.port_base)
    environment = environment_of(settings)

    def code_server() -> Program:
        services.write_home()
        return services.code_server(environment)

    return [
        Part("dagster-code", code_server, needs=("kafka", "store", "contracts", "stream")),
        Part("dagster-web", partial(services.web_server, environment), needs=("dagster-code",), url=services.url),
        Part("dagster-daemon", partial(services.daemon, environment), needs=("dagster-code",)),
    ]


_PLANNERS = {"kafka": _kafka, "store": _store, "contracts": _contracts, "stream": _stream, "dagster": _dagster}


def _module(settings: Settings, name: str, module: str, **rest) -> Program:
    """A module of ours as a program. `-P`: the folder it runs in is no source of code."""
    return Program(
        name=name,
        command=(sys.executable, "-P", "-m", module),
        log=run_folder(settings) / f"{name}.log",
        environment=environment_of(settings),
        folder=settings.home,
        **rest,
    )


def has_begun(settings: Settings) -> bool:
    """Whether the stream has left its start behind. Waiting for the lake counts: it says so and goes on by itself."""
    report = read_report(report_path(settings))
    return report is not None and report.state in ("running", "waiting", "draining")
