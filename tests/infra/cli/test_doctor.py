"""The doctor names what is missing and how to get it."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from infra.cli import doctor
from infra.services.ports import port
from warehouse.settings import Settings


def _settings(tmp_path: Path, **given: str) -> Settings:
    fixed = {"WARDSTREAM_HOME": str(tmp_path / "home"), "WARDSTREAM_CACHE": str(tmp_path / "cache")}
    return Settings.from_environment({**fixed, **given})


def _states(settings: Settings) -> dict[str, str]:
    return {check.name: check.state for check in doctor.examine(settings)}


def test_jars_that_are_not_cached_are_missing_only_where_the_broker_is_embedded(tmp_path: Path) -> None:
    assert _states(_settings(tmp_path))["Kafka"] == "missing"
    assert _states(_settings(tmp_path, WARDSTREAM_KAFKA_BOOTSTRAP="b:1"))["Kafka"] == "optional"


def test_every_missing_thing_comes_with_a_remedy_and_exit_code_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert doctor.doctor(_settings(tmp_path), as_json=True) == 1
    checks = json.loads(capsys.readouterr().out)
    assert all(check["remedy"] for check in checks if check["state"] != "ok")
    assert any("doctor --install" in check["remedy"] for check in checks)


def test_a_taken_port_is_named(tmp_path: Path, free_port_base) -> None:
    base = free_port_base()
    settings = _settings(tmp_path, WARDSTREAM_PORT_BASE=str(base))
    assert _states(settings)["ports"] == "ok"
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", port(base, "s3")))
        holder.listen()
        found = next(check for check in doctor.examine(settings) if check.name == "ports")
    assert found.state == "taken"
    assert f"port {port(base, 's3')} for SeaweedFS" in found.found
    assert f"now {base}" in found.remedy


def test_a_home_that_cannot_be_written_names_its_variable(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file")
    found = next(check for check in doctor.examine(_settings(tmp_path)) if check.name == "home")
    assert (found.state, "WARDSTREAM_HOME" in found.remedy) == ("missing", True)
