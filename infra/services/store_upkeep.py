"""Upkeep of the embedded store itself: what was deleted leaves its volumes, and its own logs of metadata end.

Holds: the two commands of SeaweedFS's shell that do it, and how many bytes that freed.
Does not hold: which objects are deleted (warehouse/upkeep), nor the store's start (store.py).

SeaweedFS keeps deleted bytes in its volume files until they are vacuumed, which by itself it does only where more than
three tenths are garbage; and it keeps a log of every change of metadata for ever.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from infra.services.ports import LOOPBACK, port
from infra.services.store import EmbeddedStore, require_version

GARBAGE_SHARE = 0.01
SHELL_SECONDS = 600


class StoreUpkeepError(RuntimeError):
    """The store's shell failed or did not end. The message says how."""


@dataclass(frozen=True, slots=True)
class StoreUpkeep:
    """Bytes that the store's data folder takes on disk, before and after."""

    bytes_before: int
    bytes_after: int
    commands: tuple[str, ...]

    @property
    def freed_bytes(self) -> int:
        return self.bytes_before - self.bytes_after


def commands(days_of_logs: int, garbage_share: float = GARBAGE_SHARE) -> tuple[str, ...]:
    """What is typed into the store's shell. `days_of_logs`: so many days of its metadata log stay. `garbage_share`:
    volumes with more of it are vacuumed."""
    return (
        "lock",
        f"volume.vacuum -garbageThreshold={garbage_share:.9f}".rstrip("0"),
        f"fs.log.purge -daysAgo {days_of_logs}",
        "unlock",
    )


def keep_up(store: EmbeddedStore, days_of_logs: int = 1, garbage_share: float = GARBAGE_SHARE) -> StoreUpkeep:
    """Vacuum the volumes of a running store and purge its logs. Reads and writes go on meanwhile.

    Raises `StoreUpkeepError`, `StoreVersionError`.
    """
    before, typed = size_on_disk(store.folder), commands(days_of_logs, garbage_share)
    try:
        answer = subprocess.run(
            _shell(store), input="\n".join([*typed, "exit", ""]), capture_output=True, text=True, timeout=SHELL_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise StoreUpkeepError(f"the store's shell did not end within {SHELL_SECONDS} s; is the store up?") from None
    if answer.returncode or "error:" in answer.stdout:
        raise StoreUpkeepError(f"the store's shell failed: {_last_line(answer.stdout + answer.stderr)}")
    return StoreUpkeep(before, size_on_disk(store.folder), typed)


def size_on_disk(folder: Path) -> int:
    """Bytes of all files under a folder, as the disk has them: a volume set aside and not written takes none."""
    return sum(file.stat().st_blocks * 512 for file in folder.rglob("*") if file.is_file())


def _shell(store: EmbeddedStore) -> list[str]:
    def address(part: str) -> str:
        return f"{LOOPBACK}:{port(store.port_base, part)}.{port(store.port_base, f'{part}_grpc')}"

    return [str(require_version()), "shell", f"-master={address('master')}", f"-filer={address('filer')}"]


def _last_line(text: str) -> str:
    return next((line for line in reversed(text.splitlines()) if line.strip()), "it said nothing")
