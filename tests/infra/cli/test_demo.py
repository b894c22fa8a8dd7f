"""The demonstration refuses what it would disturb, and its hints can be typed as they stand."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from infra.cli import demo as demonstration
from infra.cli.demo import command, demo
from infra.services.home import PidFile
from infra.services.ports import port
from tests.infra.services.test_ports import _listening
from warehouse.settings import Settings


@pytest.fixture
def home(tmp_path: Path, free_port_base: Callable[[], int]) -> Settings:
    base = str(free_port_base())
    return Settings.from_environment({"WARDSTREAM_HOME": str(tmp_path / "home"), "WARDSTREAM_PORT_BASE": base})


def test_a_demonstration_beside_this_folders_up_names_down(home: Settings, capsys) -> None:
    supervisor = PidFile(home)
    supervisor.acquire()
    assert demo(home, keep=False, seed=7, quiet=False) == 2
    supervisor.release()
    err = capsys.readouterr().err
    assert f"process {os.getpid()}" in err
    assert "`wardstream down`" in err
    assert not (home.home / "demo").exists()


def test_taken_ports_are_told_before_anything_is_emptied(home: Settings, capsys) -> None:
    with _listening(port(home.port_base, "dagster")):
        assert demo(home, keep=False, seed=7, quiet=False) == 2
    assert f"port {home.port_base + 80} for Dagster (web)" in capsys.readouterr().err
    assert not (home.home / "demo").exists()


def test_the_hint_has_program_folder_and_port_base(home: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home.home.parent)
    assert command(home).startswith(f"WARDSTREAM_PORT_BASE={home.port_base} ")
    assert command(home).endswith("/wardstream --home home")
    assert not command(dataclasses.replace(home, port_base=19_000)).startswith("WARDSTREAM")


def test_who_stops_it_while_a_patient_is_being_erased_is_told_what_ends_that(
    home: Settings, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    class Asked:
        """A supervisor that was asked to stop."""

        stop_requested = True

        def tick(self) -> None:
            pass

    class HalfDone:
        def __init__(self, settings: Settings, tick: Callable[[], None]) -> None:
            self._tick = tick

        def erase(self, patient: str) -> None:
            self._tick()

    monkeypatch.setattr(demonstration, "Erasing", HalfDone)
    monkeypatch.setattr(demonstration.WardPlay, "at_home", ["P1"])
    play = demonstration._Demonstration(home, Asked(), seed=7, began=0.0, quiet=True)  # ty: ignore[invalid-argument-type]
    monkeypatch.setattr(play, "_perform", play._erase)
    assert play.run(keep=False) == demonstration.INTERRUPTED
    err = capsys.readouterr().err
    assert f"`{command(home)} up` lets Dagster end it" in err
    assert "erase status" in err
    monkeypatch.setattr(play, "_is_erasing", False)
    monkeypatch.setattr(play, "_perform", play._tick)
    assert play.run(keep=False) == demonstration.INTERRUPTED
    assert "erasure" not in capsys.readouterr().err
