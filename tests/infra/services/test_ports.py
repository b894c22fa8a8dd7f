"""Every port follows from one base and stays a port."""

from __future__ import annotations

import socket
from contextlib import ExitStack

import pytest

from infra.services.ports import (
    PortTakenError,
    dagster_ports,
    is_free,
    kafka_ports,
    occupied,
    prism_ports,
    require_free,
    store_ports,
)
from warehouse.settings import Settings


@pytest.mark.parametrize("base", [1024, 10_000, 19_000, 55_000, 60_000, 64_000])
def test_all_ports_of_a_base_differ_and_can_be_listened_on(base: int) -> None:
    groups = [kafka_ports(base), store_ports(base), dagster_ports(base), prism_ports(base)]
    numbers = [number for group in groups for number in group]
    assert len(set(numbers)) == len(numbers) == 15
    assert all(1024 <= number <= 65_535 for number in numbers)


def test_settings_and_parts_agree_on_addresses() -> None:
    settings = Settings.from_environment({"WARDSTREAM_PORT_BASE": "23000"})
    assert int(settings.kafka_bootstrap.split(":")[1]) in kafka_ports(23000)
    assert int(settings.s3_endpoint.rsplit(":", 1)[1]) in store_ports(23000)
    assert int(settings.prism_endpoint.split(":")[1]) in prism_ports(23000)


def test_a_port_that_is_listened_on_is_named_with_its_purpose() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        number = holder.getsockname()[1]
        assert not is_free(number)
        with pytest.raises(PortTakenError, match=f"{number} for Kafka.*WARDSTREAM_PORT_BASE"):
            require_free({number: "Kafka"})
    assert is_free(number)


def test_the_line_on_taken_ports_has_the_base_in_force_and_names_few_or_tells_many_as_a_range(free_port_base) -> None:
    base = free_port_base()
    wanted = kafka_ports(base) | store_ports(base)
    assert occupied(base, wanted) == ""
    with ExitStack() as held:
        for number in [*kafka_ports(base), base + 33]:
            held.enter_context(_listening(number))
        assert occupied(base, wanted).startswith(f"in use: port {base + 92} for Kafka (kafka), port {base + 93}")
        held.enter_context(_listening(base + 34))
        line = occupied(base, wanted)
    assert line.startswith(f"ports {base + 33} to {base + 93} are in use")
    assert line.endswith(f"WARDSTREAM_PORT_BASE (now {base})")


def _listening(number: int) -> socket.socket:
    holder = socket.socket()
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind(("127.0.0.1", number))
    holder.listen()
    return holder
