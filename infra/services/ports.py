"""Which loopback port each embedded part listens on, all derived from one base, and whether they are free.

Does not hold: who listens there (kafka, store, dagster) nor the addresses of parts that a site runs itself.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping

LOOPBACK = "127.0.0.1"
SPAN = 100
"""How many consecutive ports a base claims. SeaweedFS's admin gRPC lies outside, see `ADMIN_GRPC_DISTANCE`."""

NAMED_PORTS = 3
"""More taken ports than this are told as a range."""

ADMIN_GRPC_DISTANCE = 10_000
"""SeaweedFS's embedded worker dials admin + 10000 whatever `-admin.port.grpc` says, so that is where it must be."""

_OFFSETS = {
    "s3": 33,
    "s3_grpc": 34,
    "master": 35,
    "master_grpc": 36,
    "filer": 37,
    "filer_grpc": 38,
    "volume": 39,
    "volume_grpc": 40,
    "admin": 41,
    "dagster": 80,
    "dagster_code": 81,
    "prism": 73,
    "kafka": 92,
    "controller": 93,
}
KAFKA_PORTS = ("kafka", "controller")
STORE_PORTS = ("s3", "s3_grpc", "master", "master_grpc", "filer", "filer_grpc", "volume", "volume_grpc", "admin")


class PortTakenError(RuntimeError):
    """Somebody else listens where an embedded part should. The message names port, part and variable."""


def port(base: int, name: str) -> int:
    """The port of one listener of the embedded parts. `KeyError` for a name that is not one."""
    if name == "admin_grpc":
        return port(base, "admin") + ADMIN_GRPC_DISTANCE
    number = base + _OFFSETS[name]
    too_high = name == "admin" and number + ADMIN_GRPC_DISTANCE > 65_535
    return number - 2 * ADMIN_GRPC_DISTANCE if too_high else number


def kafka_ports(base: int) -> dict[int, str]:
    """Port to purpose, of the embedded broker."""
    return {port(base, name): f"Kafka ({name})" for name in KAFKA_PORTS}


def store_ports(base: int) -> dict[int, str]:
    """Port to purpose, of the embedded store."""
    return {port(base, name): f"SeaweedFS ({name})" for name in (*STORE_PORTS, "admin_grpc")}


def prism_ports(base: int) -> dict[int, str]:
    """Port to purpose, of the Prism runner."""
    return {port(base, "prism"): "Prism (jobs)"}


def dagster_ports(base: int) -> dict[int, str]:
    """Port to purpose, of Dagster's web server and code server."""
    return {port(base, "dagster"): "Dagster (web)", port(base, "dagster_code"): "Dagster (code server)"}


def is_free(number: int) -> bool:
    """Whether one could listen on this loopback port now. Connections that are only closing do not count."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, number))
            probe.listen(1)
        except OSError:
            return False
        return True


def accepts(host: str, number: int, seconds: float = 1.0) -> bool:
    """Whether somebody accepts a TCP connection there. That a server can be used says only a question to it."""
    try:
        socket.create_connection((host, number), seconds).close()
    except OSError:
        return False
    return True


def taken(wanted: Mapping[int, str]) -> list[str]:
    """`port (purpose)` of every wanted port that somebody listens on."""
    return [f"{number} for {purpose}" for number, purpose in wanted.items() if not is_free(number)]


def occupied(base: int, wanted: Mapping[int, str]) -> str:
    """One line on the wanted ports that somebody listens on and how to get round it; empty where all are free."""
    found = [number for number in wanted if not is_free(number)]
    if not found:
        return ""
    near = [number for number in found if base <= number < base + SPAN]
    which = (
        f"ports {min(near)} to {max(near)} are in use (another Wardstream home?)"
        if len(near) > NAMED_PORTS
        else "in use: port " + ", port ".join(taken({number: wanted[number] for number in found}))
    )
    return f"{which}; end what listens there, or move all ports with WARDSTREAM_PORT_BASE (now {base})"


def require_free(wanted: Mapping[int, str]) -> None:
    """Raise `PortTakenError` naming every wanted port that is taken."""
    if found := taken(wanted):
        raise PortTakenError(
            f"port already taken on {LOOPBACK}: {', '.join(found)}. "
            "End the program that listens there, or move all ports with WARDSTREAM_PORT_BASE"
        )


def free_bases(start: int, stop: int) -> Iterator[int]:
    """Bases between the two whose every port is free, for tests and trials that run beside others."""
    for base in range(start, stop, SPAN):
        if not taken(kafka_ports(base) | store_ports(base) | dagster_ports(base)):
            yield base
