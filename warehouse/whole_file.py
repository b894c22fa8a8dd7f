"""Putting a file on disk whole or not at all.

Holds: `write_whole`. Does not hold: what is written, nor the folder it lies in (its maker knows who may read it). The
verifier has its own, as it shares no code with what it verifies.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path


def write_whole(path: Path, data: str | bytes, *, durable: bool = False) -> None:
    """Replace a file: readers see what was there before or all of `data` (text as UTF-8), also beside other writers.

    `durable`: also after the machine lost its power; otherwise it outlives the process, not the machine.

    Raises OSError where it cannot be written; what was there before then stands.
    """
    # Two writers with one name would take the file from under each other: the name is this thread's alone.
    part = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}.part")
    try:
        with part.open("wb") as handle:
            handle.write(data.encode() if isinstance(data, str) else data)
            if durable:
                handle.flush()
                os.fsync(handle.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    if durable:
        _force_names(path.parent)


def _force_names(folder: Path) -> None:
    """Onto the disk: a file's new name is its folder's to remember, not the file's."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
