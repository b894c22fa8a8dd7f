"""The Prism that is built here listens on the loopback only."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from infra.services import prism as prism_service
from infra.services.ports import port
from infra.services.prism import PrismError, build_prism, prism_program
from infra.services.processes import Child


def test_prism_listens_on_the_loopback_only(prism: Path, tmp_path: Path, free_port_base: Callable[[], int]) -> None:
    base = free_port_base()
    child = Child.start(prism_program(prism, base, tmp_path / "prism.log"))
    try:
        child.wait_ready()
        listening = [c.laddr for c in psutil.Process(child.pid).net_connections("tcp") if c.status == "LISTEN"]
        assert {address.ip for address in listening} == {"127.0.0.1"}
        assert port(base, "prism") in {address.port for address in listening}
    finally:
        child.kill()


def test_without_go_the_message_names_go_and_the_way_around(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prism_service, "find_go", lambda: None)
    with pytest.raises(PrismError, match=r"Go is missing.*WARDSTREAM_RUNNER=embedded"):
        build_prism(tmp_path / "cache", lambda line: None)
