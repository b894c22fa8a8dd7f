"""How long a caller waits for a store or a catalog that does not answer.

Holds: the pauses, longer each time, and their end.
Does not hold: what is waited for, nor which failure passes by waiting (commit.py).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from warehouse.object_store import StoreUnavailableError

FIRST_WAIT_SECONDS = 0.1
LONGEST_WAIT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a caller wants to wait for store and catalog."""

    stop: threading.Event
    seconds: float
    progress: Callable[[str], None]

    def begin(self, name: str) -> Waiting:
        return Waiting(self, name)


class Waiting:
    """The waits of one call: longer each time, over when the caller says so or its patience ends."""

    def __init__(self, patience: Patience, name: str) -> None:
        self._patience, self._name = patience, name
        self._pause = FIRST_WAIT_SECONDS
        self._waited = 0.0

    def wait(self, error: Exception) -> None:
        """Wait a while. Raises `StoreUnavailableError` instead when there is no more waiting."""
        self._patience.progress("wait")
        stopped = self._patience.stop.wait(self._pause)
        self._waited += self._pause
        self._pause = min(2 * self._pause, LONGEST_WAIT_SECONDS)
        if stopped or self._waited >= self._patience.seconds:
            why = "told to stop" if stopped else f"after {self._waited:.0f} s of waiting"
            raise StoreUnavailableError(
                f"table {self._name}: store or catalog does not answer ({type(error).__name__}), {why}; what was "
                f"offered may be in or not, and may be offered again"
            ) from error
