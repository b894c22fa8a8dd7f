"""What may be away for a while, and how it is waited for; and which words about an error may be logged.

Does not hold: the committers' own waiting (committer.py), which commits nothing twice.
"""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable
from typing import TypeVar

from pipelines.source import BrokerUnavailableError, SourceError
from warehouse.analytics import LakeUnavailable
from warehouse.commit import StoreUnavailableError
from warehouse.coordination import CoordinationUnavailableError
from warehouse.offsets import OffsetsError
from warehouse.vault import VaultError, VaultUnavailableError

T = TypeVar("T")

RETRY_S = 1.0
UNAVAILABLE = (
    StoreUnavailableError,
    LakeUnavailable,
    VaultUnavailableError,
    BrokerUnavailableError,
    CoordinationUnavailableError,
)
"""What is waited for. Everything else ends the process."""
NO_MESSAGES_FAULT = (OffsetsError, SourceError, VaultError)
"""What ends the process for good: starting again does not help, a person has to decide."""


def tried(action: Callable[[], T], stop: threading.Event, tell: Callable[[Exception], None]) -> T | None:
    """Do it, again while something is away, telling each time what; None when `stop` is set before it succeeded."""
    while not stop.is_set():
        try:
            return action()
        except UNAVAILABLE as error:
            tell(error)
            stop.wait(RETRY_S)
    return None


def told(error: BaseException) -> str:
    """An error in words that may be logged: the text of our own exceptions, of others only kind and place, for theirs
    may hold values."""
    kind = type(error)
    if kind.__module__.partition(".")[0] in ("pipelines", "warehouse"):
        return f"{kind.__name__}: {error}"
    frames = traceback.extract_tb(error.__traceback__)
    return f"{kind.__name__} at {frames[-1].filename}:{frames[-1].lineno}" if frames else kind.__name__
