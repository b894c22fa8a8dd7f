"""Broker, store and PostgreSQL of a harness's own, each to be killed, paused, starved of disk and started again.

Holds: a server as such, and how each of the three is run here: the broker has two doors, one for the harness and one
whose advertised address is the proxy's. Does not hold: the proxy (proxy.py) or when a fault strikes (scenarios/).
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

from infra.services.kafka import EmbeddedKafka
from infra.services.ports import LOOPBACK
from infra.services.processes import Child, Program


class MissingError(RuntimeError):
    """This machine lacks something that a scenario needs; the message says what to get."""


class Server:
    """A program that can be started again on what it left behind. Starts only from the main thread."""

    def __init__(self, name: str, program: Callable[[], Program]) -> None:
        self.name = name
        self._program = program
        self._child: Child | None = None

    def start(self) -> None:
        """Start and wait until it can be used."""
        self._child = Child.start(self._program())
        self._child.wait_ready()

    @property
    def alive(self) -> bool:
        return self._child is not None and self._child.alive

    def kill(self) -> None:
        """SIGKILL to it and all that it started; returns when it is gone."""
        if self._child is not None:
            self._child.kill()

    def pause(self) -> None:
        """SIGSTOP to it and all that it started."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def ensure(self) -> None:
        """Running and not paused, whatever was done to it."""
        self.resume()
        if not self.alive:
            self.start()

    def _signal(self, how: signal.Signals) -> None:
        if self._child is None or not self._child.alive:
            return
        tether = psutil.Process(self._child.pid)
        below = tether.children(recursive=True)
        for process in below or [tether]:
            try:
                process.send_signal(how)
            except psutil.NoSuchProcess:
                continue


@dataclass(frozen=True, slots=True)
class TwoDoorKafka(EmbeddedKafka):
    """The embedded broker with a second listener that clients reach through a proxy, and only through it."""

    proxied_port: int
    proxy_port: int

    def properties(self) -> dict[str, object]:
        given = EmbeddedKafka.properties(self)
        return {
            **given,
            "listeners": f"{given['listeners']},PROXIED://{LOOPBACK}:{self.proxied_port}",
            "advertised.listeners": f"{given['advertised.listeners']},PROXIED://{LOOPBACK}:{self.proxy_port}",
            "listener.security.protocol.map": f"{given['listener.security.protocol.map']},PROXIED:PLAINTEXT",
            # A topic that is deleted, or records that are, must be gone within a scenario.
            "log.segment.delete.delay.ms": 1000,
        }


class Disk:
    """A folder on a small tmpfs of its own, to be filled to the last byte and freed again. Needs root."""

    def __init__(self, folder: Path, size_bytes: int) -> None:
        self._folder, self._size_bytes = folder, size_bytes
        self._ballast = folder / "ballast"
        self.mounted = False

    def mount(self) -> None:
        """Where it cannot be mounted the folder stays an ordinary one; `fill` says so."""
        self._folder.mkdir(parents=True, exist_ok=True)
        command = ["mount", "-t", "tmpfs", "-o", f"size={self._size_bytes}", "tmpfs", str(self._folder)]
        self.mounted = os.geteuid() == 0 and subprocess.run(command, capture_output=True, check=False).returncode == 0

    def unmount(self) -> None:
        if self.mounted:
            subprocess.run(["umount", "--lazy", str(self._folder)], capture_output=True, check=False)
            self.mounted = False

    def fill(self) -> None:
        """Leave no byte. Raises `MissingError`."""
        if not self.mounted:
            raise MissingError("no disk of limited size: run as root, where a tmpfs may be mounted")
        with open(self._ballast, "wb", buffering=0) as ballast, contextlib.suppress(OSError):
            while True:
                ballast.write(bytes(1 << 20))
        with open(self._ballast, "ab", buffering=0) as ballast, contextlib.suppress(OSError):
            while True:
                ballast.write(bytes(512))

    def free(self) -> None:
        self._ballast.unlink(missing_ok=True)


def wait_until(what: str, holds: Callable[[], bool], seconds: float, pause_s: float = 0.2) -> None:
    """Wait until `holds()`. Raises `TimeoutError` naming what did not come."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not come within {seconds:.0f} s")
        time.sleep(pause_s)
