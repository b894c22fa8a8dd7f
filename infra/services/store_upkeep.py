"""Upkeep of the embedded store itself: what was deleted leaves its volumes, and its own logs of metadata end.

Holds: the commands of SeaweedFS's shell that do it, how many bytes that freed, and what no object claims any more.
Does not hold: which objects are deleted (warehouse/upkeep), nor the store's start (store.py).

SeaweedFS keeps deleted bytes in its volume files until they are vacuumed, which by itself it does only where more than
three tenths are garbage; and it keeps a log of every change of metadata for ever. A deletion reaches the volumes up to
seconds after it was answered, by a queue in memory: a vacuum that comes sooner leaves the bytes, and a kill leaves them
with nobody to claim them.
"""

from __future__ import annotations

import json
import re
import subprocess
import time
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from infra.services.ports import LOOPBACK, port
from infra.services.store import EmbeddedStore, answer_of, require_version

GARBAGE_SHARE = 0.01
SHELL_SECONDS = 600
LET_GO_SECONDS = 60
"""A deletion that has not reached the volumes by then has failed; the store itself tries again after five minutes."""
UPLOAD_SECONDS = 3600
"""Bytes older than this that no object claims are no upload still under way: they may go."""
YOUNG_SECONDS = 10
"""Bytes younger than this may belong to an object that is just being written."""
LOOKS = 3
"""So often, while something large is being written."""


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
    _typed(store, typed)
    return StoreUpkeep(before, size_on_disk(store.folder), typed)


def await_let_go(store: EmbeddedStore) -> None:
    """Wait until every deletion answered so far has reached the volumes: the store takes them in their order, so one of
    our own is sent behind them. Raises `StoreUpkeepError`."""
    filer, volume = (f"http://{LOOPBACK}:{port(store.port_base, part)}" for part in ("filer", "volume"))
    last = f"{filer}/ready/{uuid.uuid4().hex}"
    written, _ = answer_of(last, "PUT", b"deleted last")
    found, described = answer_of(f"{last}?metadata=true")
    deleted, _ = answer_of(last, "DELETE")
    if (written, found, deleted) != (201, 200, 204):
        raise StoreUpkeepError("the store takes no byte; is it up, and its disk not full?")
    bytes_of_it = f"{volume}/{json.loads(described)['chunks'][0]['file_id']}"
    deadline = time.monotonic() + LET_GO_SECONDS
    while answer_of(bytes_of_it)[0] != 404:
        if time.monotonic() > deadline:
            raise StoreUpkeepError(f"the store has not let go of what was deleted {LET_GO_SECONDS} s ago; see its log")
        time.sleep(0.2)


def purge_unclaimed(store: EmbeddedStore) -> None:
    """Delete bytes that no object claims and no upload can still be bringing. Raises `StoreUpkeepError`."""
    _checked(store, UPLOAD_SECONDS, "-reallyDeleteFromVolume")


def unclaimed(store: EmbeddedStore) -> int:
    """How many pieces lie in the volumes that no object claims. Raises `StoreUpkeepError`."""
    said = _checked(store, YOUNG_SECONDS)
    total = re.search(r"^Total\s.*\borphan:(\d+)", said, re.MULTILINE)
    if total is None and "no orphan data" not in said:
        raise StoreUpkeepError(f"the store's shell did not say what is unclaimed: {_last_line(said)}")
    return int(total[1]) if total else 0


def require_all_claimed(store: EmbeddedStore) -> None:
    """Raises `StoreUpkeepError` where bytes that no object claims stay in the volumes, however often one looks."""
    for look in range(LOOKS):
        time.sleep(YOUNG_SECONDS if look else 0)
        if not (pieces := unclaimed(store)):
            return
    raise StoreUpkeepError(
        f"{pieces} pieces of deleted objects are still in the store's volumes: it lets go of them within minutes, of "
        f"those that a killed store left once they are {UPLOAD_SECONDS // 60} minutes old; run this again then"
    )


def size_on_disk(folder: Path) -> int:
    """Bytes of all files under a folder, as the disk has them: a volume set aside and not written takes none."""
    return sum(file.stat().st_blocks * 512 for file in folder.rglob("*") if file.is_file())


def _checked(store: EmbeddedStore, older_than_s: int, *options: str) -> str:
    """What the store's shell says of bytes in the volumes that no object claims."""
    return _typed(store, ["lock", " ".join([f"volume.fsck -cutoffTimeAgo={older_than_s}s", *options]), "unlock"])


def _typed(store: EmbeddedStore, lines: Iterable[str]) -> str:
    """What the store's shell says to these lines."""
    try:
        answer = subprocess.run(
            _shell(store), input="\n".join([*lines, "exit", ""]), capture_output=True, text=True, timeout=SHELL_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise StoreUpkeepError(f"the store's shell did not end within {SHELL_SECONDS} s; is the store up?") from None
    if answer.returncode or "error:" in answer.stdout:
        raise StoreUpkeepError(f"the store's shell failed: {_last_line(answer.stdout + answer.stderr)}")
    return answer.stdout


def _shell(store: EmbeddedStore) -> list[str]:
    def address(part: str) -> str:
        return f"{LOOPBACK}:{port(store.port_base, part)}.{port(store.port_base, f'{part}_grpc')}"

    return [str(require_version()), "shell", f"-master={address('master')}", f"-filer={address('filer')}"]


def _last_line(text: str) -> str:
    return next((line for line in reversed(text.splitlines()) if line.strip()), "it said nothing")
